//! The control socket, by which `edge-proxyd reload` and `edge-proxyd maintenance` send requests to the running
//! process.
//!
//! A request and its response are one line of JSON each. The socket is accessible only to the account of the process
//! and to root, and the process verifies the peer's user by `SO_PEERCRED`.

use crate::journal;
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// The name of the socket in the runtime folder (`RuntimeDirectory=`).
const NAME: &str = "control.sock";
/// The runtime folder of the packaged unit.
const FOLDER: &str = "/run/edge-proxyd";
/// The longest time from a connection to its complete request, and for sending the response.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest request, in bytes.
const MAX_REQUEST_LEN: u64 = 1024;

/// The condition under which a new process takes over on a reload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Takeover {
    /// In every case, such as after an upgrade of the program.
    Always,
    /// Only if the running process cannot apply the whole configuration.
    Needed,
    /// In no case: changes that need a new process wait for a restart.
    #[default]
    Never,
}

/// The request of `edge-proxyd reload`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct ReloadRequest {
    /// The condition under which a new process takes over.
    pub(crate) takeover: Takeover,
}

/// The request of `edge-proxyd maintenance`: to begin or end the maintenance of a site.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct MaintenanceRequest {
    /// The name of the site, or one of its hosts.
    pub(crate) site: String,
    /// True to begin maintenance, false to end it.
    pub(crate) on: bool,
}

/// The content of a request to the running process.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(untagged)]
pub(crate) enum ControlContent {
    /// A request of `edge-proxyd maintenance`.
    Maintenance { maintenance: MaintenanceRequest },
    /// A request of `edge-proxyd reload`.
    Reload(ReloadRequest),
}

/// The response of the running process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct ControlAnswer {
    /// True if the request succeeded: the new configuration is in effect, except for the sections in `waiting`, or a
    /// new process took over; or the site is in the requested state.
    pub(crate) ok: bool,
    /// True if the request failed because the configuration is not valid, or the site does not exist or cannot be
    /// switched.
    #[serde(default)]
    pub(crate) invalid: bool,
    /// The messages about the outcome that the command prints.
    pub(crate) lines: Vec<String>,
    /// The sections whose changes take effect in a new process only. Empty if all changes are in effect.
    #[serde(default)]
    pub(crate) waiting: Vec<String>,
    /// The process ID of the process that took over. `None` without a takeover.
    #[serde(default)]
    pub(crate) process: Option<u32>,
}

/// Returns the path of the control socket in the first folder of `RUNTIME_DIRECTORY`, which systemd sets. `None` if it
/// is not set or empty.
pub(crate) fn path_from_environment() -> Option<PathBuf> {
    let folders = std::env::var("RUNTIME_DIRECTORY").ok()?;
    folders.split(':').next().filter(|folder| !folder.is_empty()).map(|folder| Path::new(folder).join(NAME))
}

/// Returns the path at which a command expects the control socket: that of [`path_from_environment`], or else that of
/// the packaged unit.
pub(crate) fn default_path() -> PathBuf {
    path_from_environment().unwrap_or_else(|| Path::new(FOLDER).join(NAME))
}

/// The listening Unix socket for requests of commands.
pub(crate) struct ControlSocket(std::os::unix::net::UnixListener);

impl ControlSocket {
    /// Binds a socket at `path` with mode 0600. A socket file to which nothing can connect is replaced. It should be
    /// opened before the sandbox is entered, which then need not allow it.
    ///
    /// # Errors
    /// A stale socket file could not be removed, the socket could not be bound, as when a process listens at `path`, or
    /// its mode could not be set.
    fn bind(path: &Path) -> io::Result<Self> {
        let left = std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
        if left && UnixStream::connect(path).is_err() {
            std::fs::remove_file(path)?;
        }
        let listener = std::os::unix::net::UnixListener::bind(path)?;
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o600))?;
        Ok(Self(listener))
    }

    /// Returns a duplicate of the socket's descriptor, for a successor.
    ///
    /// # Errors
    /// The error of duplicating the descriptor.
    pub(crate) fn duplicate(&self) -> io::Result<OwnedFd> {
        self.0.as_fd().try_clone_to_owned()
    }

    /// Spawns a task that receives requests, and returns the channel on which they arrive. Must be called within a
    /// Tokio runtime.
    ///
    /// # Errors
    /// The error of duplicating the socket or registering it with the runtime.
    pub(crate) fn serve(&self) -> io::Result<Receiver<ControlRequest>> {
        let listener = self.0.try_clone()?;
        listener.set_nonblocking(true)?;
        let listener = tokio::net::UnixListener::from_std(listener)?;
        let (sender, receiver) = channel(8);
        tokio::spawn(async move {
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => drop(tokio::spawn(receive(stream, sender.clone()))),
                    // Out of descriptors.
                    Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
                }
            }
        });
        Ok(receiver)
    }
}

/// A request, with the connection of the command that waits for the response.
pub(crate) struct ControlRequest {
    /// The content of the request.
    pub(crate) content: ControlContent,
    /// The connection of the command.
    stream: tokio::net::UnixStream,
}

impl ControlRequest {
    /// Sends the response to the command, within [`EXCHANGE_TIMEOUT`]. A failure is ignored, since the command may have
    /// ended.
    pub(crate) async fn answer(mut self, answer: &ControlAnswer) {
        // Contains only text and numbers, so serialisation cannot fail.
        let mut line = serde_json::to_string(answer).unwrap_or_default();
        line.push('\n');
        // The sender may be gone.
        let _ = tokio::time::timeout(EXCHANGE_TIMEOUT, self.stream.write_all(line.as_bytes())).await;
    }
}

/// Returns true if the user of the peer is root or the effective user of this process.
fn may_ask(stream: &tokio::net::UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == 0 || peer.uid() == own)
}

/// Reads a request from a connection, and sends it to the channel. A connection is closed without a response if the
/// user of its peer is not permitted, or the request is not valid, longer than [`MAX_REQUEST_LEN`] or not complete
/// within [`EXCHANGE_TIMEOUT`].
async fn receive(stream: tokio::net::UnixStream, sender: Sender<ControlRequest>) {
    if !may_ask(&stream) {
        return;
    }
    let mut line = String::new();
    let mut reader = tokio::io::BufReader::new(stream).take(MAX_REQUEST_LEN);
    let read = tokio::time::timeout(EXCHANGE_TIMEOUT, reader.read_line(&mut line)).await;
    let (Ok(Ok(1..)), Ok(content)) = (read, serde_json::from_str(&line)) else { return };
    let stream = reader.into_inner().into_inner();
    let _ = sender.send(ControlRequest { content, stream }).await;
}

/// Sends a request to the process at this socket, and waits for the response, at most `within` for each read. Blocks
/// the thread.
///
/// # Errors
/// The process cannot be reached, ended without a response, or did not respond in time; or the response is not valid.
pub(crate) fn ask(path: &Path, request: &ControlContent, within: Duration) -> io::Result<ControlAnswer> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(within))?;
    let mut line = serde_json::to_string(request).map_err(io::Error::other)?;
    line.push('\n');
    stream.write_all(line.as_bytes())?;
    let mut answer = String::new();
    BufReader::new(stream.take(1 << 20)).read_line(&mut answer)?;
    if answer.is_empty() {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the process ended without an answer"));
    }
    serde_json::from_str(&answer).map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why.to_string()))
}

/// Opens the control socket: the inherited one, which needs no path, or one at `path`, or at that of
/// [`path_from_environment`]. `None` if there is neither, or if the socket cannot be opened, which is logged.
pub(crate) fn open(
    inherited: Option<std::os::unix::net::UnixListener>,
    path: Option<PathBuf>,
) -> Option<ControlSocket> {
    if let Some(listener) = inherited {
        return Some(ControlSocket(listener));
    }
    let path = path.or_else(path_from_environment)?;
    match ControlSocket::bind(&path) {
        Ok(socket) => Some(socket),
        Err(why) => {
            journal::warning(format_args!(
                "no control socket at {}: {why}; `edge-proxyd reload` cannot reach this process",
                path.display()
            ));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inherited_socket_needs_no_path() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(NAME);
        let listener = std::os::unix::net::UnixListener::bind(&path).expect("a socket");
        let socket = open(Some(listener), None).expect("the inherited socket");
        assert_eq!(socket.0.local_addr().expect("an address").as_pathname(), Some(path.as_path()));
        // A path at which nothing can be bound is of no matter either.
        let again = socket.0.try_clone().expect("a descriptor");
        assert!(open(Some(again), Some("/proc/nowhere/control.sock".into())).is_some());
        assert!(open(None, Some("/proc/nowhere/control.sock".into())).is_none());
    }
}
