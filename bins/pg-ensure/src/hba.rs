//! Installation of an authentication policy for the databases and owners of the manifest.

use crate::args::ServerArgs;
use crate::connect;
use crate::runtime::block_on;
use cli_support::finding::Findings;
use cli_support::outcome::{Failure, chain};
use cli_support::replace::replace;
use cli_support::words::Words;
use pg_ensure::DesiredState;
use pg_ensure::client::tls::TlsConnector;
use pg_ensure::desired::Presence;
use pg_hba::install::{self, InstallError};
use pg_hba::{Policy, PolicySpec, ServiceSpec};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio_postgres::{Client, Config};

/// Time limit of a login.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads a policy, and adds every declared database whose owner has LOGIN, and every declared role with SUPERUSER,
/// CREATEROLE, REPLICATION or BYPASSRLS as privileged. Roles that are privileged on the server are added by
/// [`install`].
///
/// # Errors
/// Returns a [`Failure`] if the file cannot be read or is not a valid policy.
pub(crate) fn read(path: &Path, desired: &DesiredState) -> Result<Policy, Failure> {
    let wrong = |why: String| Failure::Configuration(format!("{}: {why}", path.display()));
    let file = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|why| Findings::unreadable(&file, &why))?;
    let mut spec: PolicySpec = cli_support::document::read(&file, &text, Words::default())?;
    for (name, database) in &desired.databases {
        let Some(owner) = database.owner.as_ref().filter(|_| database.presence == Presence::Present) else {
            continue;
        };
        let logs_in = desired.roles.get(owner).is_some_and(|role| role.login == Some(true));
        let service = ServiceSpec { database: name.to_string(), role: owner.to_string() };
        if logs_in && !spec.services.contains(&service) {
            spec.services.push(service);
        }
    }
    for (name, role) in desired.roles.iter().filter(|(_, role)| role.presence == Presence::Present) {
        let powers = [role.superuser, role.createrole, role.replication, role.bypassrls];
        if powers.contains(&Some(true)) && !spec.privileged.iter().any(|known| *name == known.as_str()) {
            spec.privileged.push(name.to_string());
        }
    }
    Policy::try_from(spec).map_err(|why| wrong(chain(&why)))
}

/// Checks that the policy can be rendered for the server's major version. A version that is not known passes.
///
/// # Errors
/// Returns a [`Failure`] if a rule cannot be expressed in this version.
pub(crate) fn check(policy: &Policy, major: u32, path: &Path) -> Result<(), Failure> {
    let wrong = |why: String| Failure::Configuration(format!("{}: {why}", path.display()));
    // A version that pg-hba does not know is left to the server.
    let Ok(version) = major.to_string().parse::<pg_hba::Version>() else { return Ok(()) };
    pg_hba::render(&policy.compile(), version).map(drop).map_err(|why| wrong(chain(&why)))
}

/// The outcome of an installation, the file of the server, and its privileged roles that neither policy nor manifest
/// names as such.
pub(crate) struct Installed {
    pub(crate) result: &'static str,
    pub(crate) file: PathBuf,
    pub(crate) privileged: Vec<String>,
}

/// Installs the policy. Restores the old file if the server rejects the new one, or the login `canary` fails.
pub(crate) fn install(
    policy: &Policy,
    server: &ServerArgs,
    canary: Option<&str>,
) -> Result<Installed, Failure> {
    let session = connect::config(server)?;
    let canary = canary.map_or_else(|| Ok(session.clone()), |canary| connect::login(canary, server))?;
    block_on(put(policy, &session, &canary))?
}

/// Writes the policy to the server's file, reloads, verifies, and prints the result. An equal file is not written.
///
/// # Errors
/// Returns a [`Failure`] if the connection fails, the file cannot be read or written, or the server rejects the rules.
async fn put(
    policy: &Policy,
    (config, connector): &(Config, TlsConnector),
    (canary, canary_connector): &(Config, TlsConnector),
) -> Result<Installed, Failure> {
    let client = login(config, connector).await.map_err(Failure::Failed)?;
    let prepared = install::prepare(&client, policy).await.map_err(|why| install_failure(&why))?;
    let failed = |why: std::io::Error| Failure::Failed(format!("{}: {why}", prepared.path.display()));
    // A symbolic link is kept: its target is replaced.
    let path = prepared.path.canonicalize().map_err(failed)?;
    let old = std::fs::read(&path).map_err(failed)?;
    let write = |text: &[u8]| replace(&path, text).map_err(|why| Failure::because(&why));
    let mut result = "unchanged";
    if old != prepared.text.as_bytes() {
        write(prepared.text.as_bytes())?;
        let tried = async { login(canary, canary_connector).await.map(drop) };
        if let Err(why) = install::activate(&client, &prepared, tried).await {
            write(&old)?;
            install::reload(&client).await.map_err(|why| Failure::because(&why))?;
            return Err(Failure::Failed(format!("{why}; the old file is back")));
        }
        result = "installed";
    }
    Ok(Installed { result, file: path, privileged: prepared.privileged })
}

/// Converts an error of the installation. Errors that the policy causes are configuration errors.
fn install_failure(why: &InstallError) -> Failure {
    match why {
        InstallError::LockedOut(_) | InstallError::Refused { .. } | InstallError::Render(_) => {
            Failure::Configuration(chain(why))
        }
        _ => Failure::because(why),
    }
}

/// Logs in within [`LOGIN_TIMEOUT`], and spawns the task that drives the connection. The error is a description with
/// host and port, or the socket.
async fn login(config: &Config, connector: &TlsConnector) -> Result<Client, String> {
    let connect = config.connect(connector.clone());
    let connected = tokio::time::timeout(LOGIN_TIMEOUT, connect).await;
    let failed = |why: String| format!("cannot connect to {}: {why}", install::address(config));
    let connected = connected.map_err(|_| failed(format!("no answer in {} s", LOGIN_TIMEOUT.as_secs())))?;
    let (client, connection) = connected
        .map_err(|why| failed(why.as_db_error().map_or_else(|| chain(&why), ToString::to_string)))?;
    tokio::spawn(connection);
    Ok(client)
}
