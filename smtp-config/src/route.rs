//! Routes on which a password reaches Forgejo.

use crate::ini::{Unrepresentable, quote};
use crate::version::Version;
use secrecy::{ExposeSecret, SecretString};
use thiserror::Error;

/// A route on which the password reaches Forgejo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// `PASSWD_URI`: app.ini holds only the path of the file.
    Uri(String),
    /// `PASSWD` in app.ini.
    AppIni,
    /// A variable with `__FILE`, which environment-to-ini resolves into app.ini before Forgejo starts: in a container, or
    /// by `services.forgejo.secrets` of NixOS. The password is in app.ini then, but in no configuration.
    EnvironmentFile(String),
}

/// A reason for which a route cannot be taken.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Impossible {
    /// The version does not read `PASSWD_URI` yet.
    #[error("PASSWD_URI is read from Forgejo 13 on")]
    Version,
    /// The secret does not come from a file.
    #[error("PASSWD_URI needs a password in a file")]
    NoFile,
    /// Go would encode the path.
    #[error("PASSWD_URI needs an absolute path of letters, digits, and . _ / - only")]
    Path,
    /// The file's content would be trimmed.
    #[error("the content of PASSWD_URI loses the white space around it")]
    Trimmed,
    /// The value cannot be written.
    #[error("{0}")]
    Value(#[from] Unrepresentable),
}

/// Tells if a path is the same once Go has decoded it.
pub(crate) fn safe_path(path: &str) -> bool {
    path.starts_with('/')
        && !path.starts_with("//")
        && path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._/-".contains(&byte))
}

/// Returns the route of `PASSWD_URI`.
///
/// # Errors
///
/// The reason for which it cannot be taken.
pub fn by_uri(version: Version, password: &SecretString, file: Option<&str>) -> Result<Route, Impossible> {
    let (value, file) = (password.expose_secret(), file.ok_or(Impossible::NoFile)?);
    if !version.knows_uri() {
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

/// Returns the route of `PASSWD` in app.ini.
///
/// # Errors
///
/// The reason for which it cannot be taken.
pub fn by_app_ini(password: &SecretString) -> Result<Route, Impossible> {
    quote(password.expose_secret())?;
    Ok(Route::AppIni)
}

/// Returns the route of a variable with `__FILE`; the file holds the password and at most one line end.
///
/// # Errors
///
/// The reason for which it cannot be taken.
pub fn by_environment_file(password: &SecretString, file: Option<&str>) -> Result<Route, Impossible> {
    let file = file.ok_or(Impossible::NoFile)?;
    crate::environment::survives(password.expose_secret())?;
    Ok(Route::EnvironmentFile(file.to_owned()))
}

/// Returns the route that keeps the password off app.ini, else app.ini.
///
/// # Errors
///
/// The reason of each, when neither can be taken.
pub fn choose(
    version: Version,
    password: &SecretString,
    file: Option<&str>,
) -> Result<Route, (Impossible, Impossible)> {
    by_uri(version, password, file).or_else(|uri| by_app_ini(password).map_err(|ini| (uri, ini)))
}
