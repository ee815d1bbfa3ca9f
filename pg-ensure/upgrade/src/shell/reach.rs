//! Servers on the old and the new cluster: the running one, or a private one.

use super::account::account;
use super::condition::committed;
use super::error::UpgradeError;
use super::run::Run;
use super::server::{self, PrivateServer, ServerAddress, write_rules};

/// A server that accepts connections: the running one, or a private one that has to be stopped afterwards.
pub(super) enum ReachableServer {
    Public(ServerAddress),
    Private(PrivateServer),
}

impl ReachableServer {
    /// Returns the address of the server.
    pub(super) fn socket(&self) -> &ServerAddress {
        match self {
            Self::Public(socket) => socket,
            Self::Private(private) => &private.socket,
        }
    }

    /// Stops a private server. A public one continues to run.
    ///
    /// # Errors
    /// Returns an error if the server cannot be stopped.
    pub(super) fn stop_if_private(self) -> Result<(), UpgradeError> {
        match self {
            Self::Public(_) => Ok(()),
            Self::Private(private) => private.stop(),
        }
    }
}

/// Returns the old server: the running one, otherwise a private one, which is started with the settings `more`.
///
/// # Errors
/// Returns an error if the server is not reachable, or cannot be started.
pub(super) fn reach_old(run: &Run<'_>, more: &[&str]) -> Result<ReachableServer, UpgradeError> {
    let choices = &run.record.choices;
    let superuser = &run.catalog()?.superuser;
    if server::running_pid_file(&choices.old_data).is_some() {
        return server::running_server(&choices.old_data, superuser).map(ReachableServer::Public);
    }
    private_old(run, more).map(ReachableServer::Private)
}

/// Starts a private server on the old cluster, with the settings `more`.
///
/// # Errors
/// Returns an error if the rules cannot be written, or the server does not start.
pub(super) fn private_old(run: &Run<'_>, more: &[&str]) -> Result<PrivateServer, UpgradeError> {
    let superuser = &run.catalog()?.superuser;
    write_rules(run.work(), &account(), std::slice::from_ref(superuser))?;
    PrivateServer::start(
        &run.old_home(),
        run.work(),
        superuser,
        &run.record.id,
        run.record.choices.from,
        more,
    )
}

/// Starts a private server on the new cluster in the staging directory, with the settings `more`.
///
/// # Errors
/// Returns an error if the rules cannot be written, or the server does not start.
pub(super) fn private_new(run: &Run<'_>, more: &[&str]) -> Result<PrivateServer, UpgradeError> {
    let superuser = &run.catalog()?.superuser;
    write_rules(run.work(), &account(), std::slice::from_ref(superuser))?;
    PrivateServer::start(
        &run.staging_home(),
        run.work(),
        superuser,
        &run.record.id,
        run.record.choices.to,
        more,
    )
}

/// Returns the new server: the running one after the switch, otherwise a private one, which is started.
///
/// # Errors
/// Returns an error if the server is not reachable, or cannot be started.
pub(super) fn reach_new(run: &Run<'_>) -> Result<ReachableServer, UpgradeError> {
    if committed(&run.record.choices) {
        let superuser = &run.catalog()?.superuser;
        return server::running_server(&run.record.choices.new_data, superuser).map(ReachableServer::Public);
    }
    private_new(run, &[]).map(ReachableServer::Private)
}
