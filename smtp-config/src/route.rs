//! Routes by which Forgejo receives a password.

use crate::ini::{Unrepresentable, quote};
use crate::version::Version;
use secrecy::{ExposeSecret, SecretString};
use thiserror::Error;

/// Route by which Forgejo receives a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// `PASSWD_URI` with this `file:` URI. app.ini does not contain the password.
    Uri(String),
    /// `PASSWD` in app.ini.
    AppIni,
    /// An environment variable with the suffix `__FILE` that contains this path. environment-to-ini writes the password
    /// to app.ini before Forgejo starts, in containers or by `services.forgejo.secrets` of NixOS.
    EnvironmentFile(String),
}

/// Reason why a route is not possible.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum RouteError {
    /// The version does not read `PASSWD_URI`.
    #[error("PASSWD_URI is read from Forgejo 13 on")]
    Version,
    /// No path of a file with the password is given.
    #[error("PASSWD_URI needs a password in a file")]
    NoFile,
    /// The path is not absolute, begins with `//`, or contains characters other than ASCII letters, digits, and `. _ /
    /// -`.
    #[error("PASSWD_URI needs an absolute path of letters, digits, and . _ / - only")]
    Path,
    /// The password begins or ends with white space, which Forgejo removes.
    #[error("the content of PASSWD_URI loses the white space around it")]
    Trimmed,
    /// The password cannot be represented in app.ini.
    #[error("{0}")]
    Value(#[from] Unrepresentable),
}

/// Returns `true` if a path begins with a single slash and contains only ASCII letters, digits, and `. _ / -`, so that
/// Go's decoding of a URI leaves it unchanged.
pub(crate) fn safe_path(path: &str) -> bool {
    path.starts_with('/')
        && !path.starts_with("//")
        && path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._/-".contains(&byte))
}

/// Returns the route by `PASSWD_URI`. `file` is the absolute path of the file that contains the password, which is not
/// read.
///
/// # Errors
/// Returns the first reason why the route is not possible: no file, a version without `PASSWD_URI`, a path that is not
/// safe, white space around the password, or a reference `%(name)s` in it.
pub fn by_uri(version: Version, password: &SecretString, file: Option<&str>) -> Result<Route, RouteError> {
    let (value, file) = (password.expose_secret(), file.ok_or(RouteError::NoFile)?);
    if !version.knows_uri() {
        return Err(RouteError::Version);
    }
    if !safe_path(file) {
        return Err(RouteError::Path);
    }
    if value.trim() != value {
        return Err(RouteError::Trimmed);
    }
    if crate::ini::has_reference(value) {
        return Err(Unrepresentable::Reference.into());
    }
    Ok(Route::Uri(format!("file:{file}")))
}

/// Returns the route by `PASSWD` in app.ini.
///
/// # Errors
/// Returns [`RouteError::Value`] if the password cannot be represented in app.ini.
pub fn by_app_ini(password: &SecretString) -> Result<Route, RouteError> {
    quote(password.expose_secret())?;
    Ok(Route::AppIni)
}

/// Returns the route by an environment variable with the suffix `__FILE`. The file must contain the password and at
/// most one line ending. The path is not checked.
///
/// # Errors
/// Returns [`RouteError::NoFile`] without a path, and [`RouteError::Value`] if the password would not be read
/// unchanged.
pub fn by_environment_file(password: &SecretString, file: Option<&str>) -> Result<Route, RouteError> {
    let file = file.ok_or(RouteError::NoFile)?;
    crate::environment::survives(password.expose_secret())?;
    Ok(Route::EnvironmentFile(file.to_owned()))
}

/// Returns the route by `PASSWD_URI` if it is possible, or else the one by app.ini.
///
/// # Errors
/// Returns the reasons why both are not possible, in this order.
pub fn choose(
    version: Version,
    password: &SecretString,
    file: Option<&str>,
) -> Result<Route, (RouteError, RouteError)> {
    by_uri(version, password, file).or_else(|uri| by_app_ini(password).map_err(|ini| (uri, ini)))
}
