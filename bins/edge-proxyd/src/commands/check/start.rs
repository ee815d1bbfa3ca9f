//! The check of everything else that `run` needs to start: the logs, the address of the status page, and the secrets of
//! `[shared]` and `[tracing]`. The secrets and the store of `[acme]` are checked too; without them `run` starts, but
//! renews nothing. The checks call the functions that `run` calls, or leave nothing behind.

use super::files::{is_missing_credentials, weigh};
use super::findings::Findings;
use crate::config::{Settings, StatusAddress, Traces};
use crate::key_fault::KeyFault;
use crate::shared;
use acme_dns01::store::FileStore;
use cli_support::document::Source;
use cli_support::finding::Severity;
use cli_support::words::Words;
use edge_proxy::config::Config;
use std::fs::OpenOptions;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

/// Adds a finding for each fault of the logs, the status page, and the secrets and store of `[shared]`, `[tracing]` and
/// `[acme]`. `file` and `text` are the name and the text of the main file; nothing is checked if that is not valid
/// TOML.
pub(super) fn find(settings: &Settings, (file, text): (&str, &str), findings: &mut Findings) {
    let Ok(source) = Source::parse(file, text, Words::default()) else { return };
    logs(settings, findings);
    status(settings, &source, findings);
    secrets(settings, &source, findings);
    renewal_secrets(settings, &source, findings);
    store(settings, &source, findings);
}

/// Tries to open the log files for appending, and adds a finding for each that cannot be. For one that does not exist,
/// it tries to create an unnamed temporary file in its folder instead.
fn logs(settings: &Settings, findings: &mut Findings) {
    let all = settings.log.file.iter().map(|file| ("log.file".to_owned(), file));
    let sites = settings.log.sites.iter().map(|(site, file)| (format!("log.sites.{site}"), file));
    for (key, path) in all.chain(sites) {
        let tried = match OpenOptions::new().append(true).open(path).map(drop) {
            Err(why) if why.kind() == io::ErrorKind::NotFound => make_nameless_file(folder_of(path)),
            tried => tried,
        };
        if let Err(why) = tried {
            let text = format!("cannot open the access log: {why}: {}", advice(&why));
            let (severity, text) = weigh(why.kind() == io::ErrorKind::PermissionDenied, text);
            findings.of_key(settings, (&key, path), severity, &text);
        }
    }
}

/// Tries to bind the address of the status page, and adds a finding if that fails. An address in use by another process
/// is no fault: it is most likely the running edge-proxyd.
fn status(settings: &Settings, source: &Source<'_>, findings: &mut Findings) {
    let fault = match &settings.status {
        None => return,
        Some(StatusAddress::Loopback(address)) => fault_of_address(*address, &settings.proxy),
        Some(StatusAddress::Unix(path)) => fault_of_socket(path),
    };
    if let Some(StatusFault { text, denied }) = fault {
        let (severity, text) = weigh(denied, text);
        findings.at_key(source, "status.address", severity, &text);
    }
}

/// A fault of the address of the status page.
struct StatusFault {
    /// The cause, and how to fix it.
    text: String,
    /// True if this process lacks a permission, which the service may have.
    denied: bool,
}

impl StatusFault {
    /// Creates the fault of an address that cannot be bound. `fix` is the advice at the end of the text.
    fn of_error(why: &io::Error, fix: &str) -> Self {
        let text = format!("cannot listen for the status page: {why}: {fix}");
        Self { text, denied: why.kind() == io::ErrorKind::PermissionDenied }
    }

    /// Creates a fault that is independent of permissions.
    const fn new(text: String) -> Self {
        Self { text, denied: false }
    }
}

/// Returns the fault of a loopback address for the status page: a listener of the proxy has the same address and port,
/// or it cannot be bound. `None` if it can be bound, or is in use by another process.
fn fault_of_address(address: SocketAddr, proxy: &Config) -> Option<StatusFault> {
    let takes = |other: SocketAddr| {
        let all = other.ip().is_unspecified() && other.is_ipv4() == address.is_ipv4();
        address.port() != 0 && other.port() == address.port() && (all || other.ip() == address.ip())
    };
    if let Some(listener) = proxy.listeners.iter().find(|listener| takes(listener.address)) {
        return Some(StatusFault::new(format!(
            "the listener at {} has this port: write another",
            listener.address
        )));
    }
    let why = TcpListener::bind(address).err()?;
    (why.kind() != io::ErrorKind::AddrInUse).then(|| StatusFault::of_error(&why, "write another"))
}

/// Returns the fault of a path for the Unix socket of the status page: it is too long, another kind of file is there,
/// or the folder is not writable. `None` if the socket can be created, if a process listens on it, or if the folder is
/// one below `/run` that systemd creates when it starts the service.
fn fault_of_socket(path: &Path) -> Option<StatusFault> {
    if let Err(why) = std::os::unix::net::SocketAddr::from_pathname(path) {
        return Some(StatusFault::of_error(&why, "write a shorter path"));
    }
    let there = std::fs::symlink_metadata(path);
    if there.as_ref().is_ok_and(|found| !found.file_type().is_socket()) {
        let text = "this file is there and is not a socket: remove it, or write another path";
        return Some(StatusFault::new(text.to_owned()));
    }
    if there.is_ok() && UnixStream::connect(path).is_ok() {
        return None;
    }
    let folder = folder_of(path);
    // systemd makes such a folder when it starts the service, and removes it with it.
    if folder.starts_with("/run") && !folder.exists() && std::env::var_os("INVOCATION_ID").is_none() {
        return None;
    }
    make_nameless_file(folder).err().map(|why| StatusFault::of_error(&why, advice(&why)))
}

/// Tries to read the secrets of `[shared]` and `[tracing]`, and adds a finding for each that cannot be read. A missing
/// `$CREDENTIALS_DIRECTORY` is no fault.
fn secrets(settings: &Settings, source: &Source<'_>, findings: &mut Findings) {
    let shared = settings.shared.iter().flat_map(shared::faults);
    let traces = settings.tracing.iter().flat_map(Traces::faults);
    for fault in shared.chain(traces) {
        let KeyFault { why, denied, .. } = &fault;
        if !is_missing_credentials(why) {
            let (severity, text) = weigh(*denied, why.clone());
            findings.at_key(source, &fault.path(), severity, &text);
        }
    }
}

/// Tries to read the secrets and files of `[acme]`, and adds a warning for each that cannot be read: the program starts
/// without, and holds back what needs it. A missing `$CREDENTIALS_DIRECTORY` is no fault.
fn renewal_secrets(settings: &Settings, source: &Source<'_>, findings: &mut Findings) {
    let faults = settings.acme.iter().flat_map(|acme| acme.settings.unreadable());
    for fault in faults {
        let Some(finding) = fault.finding(source, "acme") else { continue };
        if !is_missing_credentials(&finding.message) {
            let key = finding.place.key.strip_prefix("acme.").unwrap_or_default();
            let text = format!("{}: {}", finding.message, acme_dns01_config::consequence(key));
            findings.at_key(source, &finding.place.key, Severity::Warning, &text);
        }
    }
}

/// Tries to write to the folders in which `[acme]` stores certificates, accounts and journals, and adds a warning for
/// the first in which that fails. Does nothing without `[acme]`.
fn store(settings: &Settings, source: &Source<'_>, findings: &mut Findings) {
    let Some(acme) = &settings.acme else { return };
    let folder = acme.folder();
    let Some((part, why)) = FileStore::obstacle(&folder) else { return };
    let fix = match why.kind() {
        io::ErrorKind::NotADirectory => "it is a folder",
        io::ErrorKind::ReadOnlyFilesystem => "it is in ReadWritePaths= of the unit",
        _ => "it and what is in it belong to the account of the service (chown -R)",
    };
    let text = format!("cannot write to {}: {why}: nothing is renewed until {fix}", part.display());
    let (_, text) = weigh(why.kind() == io::ErrorKind::PermissionDenied, text);
    let key = if settings.certificates.is_some() { "certificates.folder" } else { "acme.folder" };
    findings.at_key(source, key, Severity::Warning, &text);
}

/// Creates an unnamed temporary file in a folder, which is deleted at once.
///
/// # Errors
/// The file could not be created.
fn make_nameless_file(folder: &Path) -> io::Result<()> {
    tempfile::tempfile_in(folder).map(drop)
}

/// Returns the folder of a file; `.` if the path has none.
fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Returns the advice for the error of creating a file.
fn advice(why: &io::Error) -> &'static str {
    match why.kind() {
        io::ErrorKind::IsADirectory => "write the path of a file, not of a folder",
        io::ErrorKind::NotADirectory | io::ErrorKind::NotFound => "make its folder",
        io::ErrorKind::ReadOnlyFilesystem => {
            "write a path in a folder that the unit may write to, or add the folder to ReadWritePaths= of the unit"
        }
        _ => "let the service write there",
    }
}
