//! Where the password goes.

use crate::ini::{Ini, Unrepresentable, quote};
use secrecy::{ExposeSecret, SecretString};
use thiserror::Error;

/// The first Forgejo that reads `PASSWD_URI` of `[mailer]` and `PASSWORD_URI` of `[email.incoming]`: the release notes
/// of 13.0.0 have "add _URI entries for mail config" (pull request 8116) among the features, those of 12.0.0 do not,
/// and the sources of 11 do not have it.
pub const URI_SINCE: u32 = 13;

/// A way for the password to reach Forgejo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// `PASSWD_URI`: it never stands in app.ini.
    Uri(String),
    /// `PASSWD` in app.ini.
    AppIni,
    /// A variable with `__FILE`, which environment-to-ini writes into app.ini before Forgejo starts: in a container, or
    /// by `services.forgejo.secrets` of NixOS. It stands in app.ini, but in no configuration.
    EnvironmentFile(String),
}

/// Why a route cannot be taken.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Impossible {
    /// There is no `PASSWD_URI` yet.
    #[error("PASSWD_URI is read from Forgejo 13 on")]
    Version,
    /// The secret comes from no file.
    #[error("PASSWD_URI needs a secret in a file")]
    NoFile,
    /// Go decodes the path.
    #[error("PASSWD_URI needs an absolute path of letters, digits, and . _ / - only")]
    Path,
    /// The file's content is trimmed.
    #[error("the content of PASSWD_URI loses the white space around it")]
    Trimmed,
    /// The value itself.
    #[error("the password cannot be had by this route: {0}")]
    Value(#[from] Unrepresentable),
}

/// Whether a path is the same once Go has decoded it.
pub(crate) fn safe_path(path: &str) -> bool {
    path.starts_with('/')
        && !path.starts_with("//")
        && path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._/-".contains(&byte))
}

/// Whether `PASSWD_URI` can be had.
///
/// # Errors
///
/// The exact reason why not.
pub fn by_uri(forgejo: u32, password: &SecretString, file: Option<&str>) -> Result<Route, Impossible> {
    let (value, file) = (password.expose_secret(), file.ok_or(Impossible::NoFile)?);
    if forgejo < URI_SINCE {
        return Err(Impossible::Version);
    }
    if !safe_path(file) {
        return Err(Impossible::Path);
    }
    if value.trim() != value {
        return Err(Impossible::Trimmed);
    }
    if crate::ini::has_reference(value) {
        return Err(Unrepresentable::Reference.into());
    }
    Ok(Route::Uri(format!("file:{file}")))
}

/// Whether `PASSWD` in app.ini can be had.
///
/// # Errors
///
/// The exact reason why not.
pub fn by_app_ini(password: &SecretString) -> Result<Route, Impossible> {
    quote(password.expose_secret())?;
    Ok(Route::AppIni)
}

/// Whether a variable with `__FILE` can be had, whose file has the password and at most one line end behind it.
///
/// # Errors
///
/// The exact reason why not.
pub fn by_environment_file(password: &SecretString, file: Option<&str>) -> Result<Route, Impossible> {
    let file = file.ok_or(Impossible::NoFile)?;
    crate::environment::survives(password.expose_secret())?;
    Ok(Route::EnvironmentFile(file.to_owned()))
}

/// The route that keeps the password off app.ini, else app.ini.
///
/// # Errors
///
/// The reason of each, when there is none.
pub fn choose(
    forgejo: u32,
    password: &SecretString,
    file: Option<&str>,
) -> Result<Route, (Impossible, Impossible)> {
    by_uri(forgejo, password, file).or_else(|uri| by_app_ini(password).map_err(|ini| (uri, ini)))
}

/// Whether a file is read the same by Forgejo, its own writing included, but for the keys that are changed.
pub(crate) fn same_but(old: &Ini, new: &Ini, changed: &[(&str, &str)]) -> bool {
    let all = |ini: &Ini| -> Vec<(String, String, String)> {
        let sections = ini.sections().iter();
        let keys_of = sections.flat_map(|held| {
            let name = held.name();
            held.keys().iter().map(move |key| (name.to_owned(), key.name().to_owned(), key.raw().to_owned()))
        });
        keys_of.filter(|(name, key, _)| !changed.contains(&(name.as_str(), key.as_str()))).collect()
    };
    all(old) == all(new)
}
