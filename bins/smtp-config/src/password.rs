//! Passwords of the settings: their sources, and their routes to Forgejo.

use cli_support::account::Account;
use cli_support::outcome::Failure;
use cli_support::secret::Reference;
use secrecy::SecretString;
use smtp_config::{Credential, Route, RouteError, Version, by_app_ini, by_environment_file, choose};
use std::path::Path;

/// A password, the reference from which it was read, its route to Forgejo, and the path of the file from which Forgejo
/// may read it, `None` if there is none.
pub(crate) struct Secret {
    pub(crate) reference: Reference,
    pub(crate) secret: SecretString,
    pub(crate) route: Route,
    pub(crate) file: Option<String>,
}

/// Creates an error of the configuration.
fn usage(why: impl std::fmt::Display) -> Failure {
    Failure::Configuration(why.to_string())
}

/// Reader of passwords, which selects the route of each to Forgejo.
pub(crate) struct PasswordReader<'a> {
    pub(crate) version: Version,
    pub(crate) account: Option<&'a Account>,
}

impl PasswordReader<'_> {
    /// Reads a password, and selects its route. `named` is the path of the file from which Forgejo reads the password,
    /// if that is not the one of the reference. A route by a file that Forgejo's account cannot read becomes one by
    /// app.ini. Notes on standard error name such a change, and a reference to the environment.
    ///
    /// # Errors
    /// Returns a [`Failure`] if the password cannot be read, or no route is possible.
    pub(crate) fn read(&self, reference: Reference, named: Option<String>) -> Result<Secret, Failure> {
        let secret = match self.account {
            Some(account) => reference.read_shared(account)?,
            None => reference.read()?,
        };
        if matches!(reference, Reference::Environment(_)) {
            cli_support::verbosity::note(&format!(
                "{reference}: other programs of the same user can read the environment"
            ));
        }
        // A credential is readable by this program only, so that Forgejo needs another file.
        let own = matches!(reference, Reference::File(_)).then(|| reference.file()).flatten();
        let file = named.or(own.map(|path| path.display().to_string()));
        let chosen = choose(self.version, &secret, file.as_deref());
        let mut route = chosen.map_err(|(uri, ini): (RouteError, RouteError)| {
            usage(format!("password: by PASSWD_URI: {uri}; by app.ini: {ini}"))
        })?;
        if let (Route::Uri(_), Some(path), Some(account)) = (&route, &file, self.account)
            && let Ok(Some(why)) = account.read_obstacle(Path::new(path))
            && !path.starts_with("/run/credentials/")
        {
            let fix = format!("chown it to {} for PASSWD_URI", account.name);
            route = by_app_ini(&secret).map_err(|ini| {
                let name = &account.name;
                usage(format!("password: {path}: {name} cannot read it: {why}; by app.ini: {ini}: {fix}"))
            })?;
            cli_support::verbosity::note(&format!(
                "{path}: {} cannot read it: {why}; so the password goes to app.ini: {fix}",
                account.name
            ));
        }
        Ok(Secret { reference, secret, route, file })
    }
}

impl Secret {
    /// Returns the password with its route.
    pub(crate) fn credential(&self) -> Credential<'_> {
        Credential { secret: &self.secret, route: &self.route }
    }

    /// Returns the path of the file to which a variable with the suffix `__FILE` refers for this password.
    ///
    /// # Errors
    /// Returns a [`Failure`] if the password has no file, or Forgejo would not read it unchanged by that variable.
    pub(crate) fn environment_file(&self) -> Result<String, Failure> {
        match by_environment_file(&self.secret, self.file.as_deref()) {
            Ok(Route::EnvironmentFile(file)) => Ok(file),
            Ok(_) => Err(usage("the password has no file")),
            Err(why) => Err(usage(format!("by a variable with __FILE: {why}"))),
        }
    }
}
