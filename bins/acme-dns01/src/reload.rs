//! `reload`: has the daemon of a unit read its configuration again, and waits for the outcome.
//!
//! The daemon keeps a record of its reloads in the folder that systemd makes for the unit (`RuntimeDirectory=`). The command is sent
//! by the unit itself (`ExecReload=`), so that it runs as the same account, and has the same folder and the number of the daemon in
//! its environment.

use cli_support::journal::Priority;
use cli_support::outcome::Failure;
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Time limit for the answer of the daemon. Its work comes to the next line of its journal first.
const PATIENCE: Duration = Duration::from_secs(60);
/// Pause between looks at the record.
const PAUSE: Duration = Duration::from_millis(50);

/// The reloads of a daemon.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Reloads {
    /// Number of the daemon's process.
    process: i32,
    /// Number of reloads since its start.
    count: u64,
    /// Number of certificates that it keeps.
    certificates: usize,
    /// Error of the last reload; `None` if it took effect.
    refused: Option<Refusal>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Refusal {
    /// Exit code of the error.
    code: u8,
    message: String,
}

impl Reloads {
    /// Creates the record of this process. It must handle SIGHUP already.
    pub(crate) fn begin(certificates: usize) -> Self {
        let process = rustix::process::getpid().as_raw_nonzero().get();
        let record = Self { process, count: 0, certificates, refused: None };
        record.keep();
        record
    }

    /// Adds a reload that took effect.
    pub(crate) fn add(&mut self, certificates: usize) {
        self.certificates = certificates;
        self.end(None);
    }

    /// Adds a reload that was refused.
    pub(crate) fn add_refused(&mut self, why: &Failure) {
        self.end(Some(Refusal { code: why.code(), message: why.to_string() }));
    }

    fn end(&mut self, refused: Option<Refusal>) {
        self.count += 1;
        self.refused = refused;
        self.keep();
    }

    /// Writes the record, if this is a unit with a folder for it.
    fn keep(&self) {
        let Some(path) = place() else { return };
        if let Err(why) = self.write(&path) {
            let line = format!("{}: {why}: `acme-dns01 reload` cannot tell its outcome", path.display());
            Priority::Warning.print("acme-dns01", line);
        }
    }

    fn write(&self, path: &Path) -> io::Result<()> {
        let fresh = path.with_extension("new");
        std::fs::write(&fresh, serde_json::to_vec(self)?)?;
        std::fs::rename(&fresh, path)
    }

    /// Returns the record of this process. `None` until it has one.
    fn of(process: i32, path: &Path) -> Option<Self> {
        let record: Self = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
        (record.process == process).then_some(record)
    }
}

/// Returns the path of the record. `None` outside a unit with a folder.
fn place() -> Option<PathBuf> {
    let folders = std::env::var_os("RUNTIME_DIRECTORY")?;
    std::env::split_paths(&folders).next().map(|folder| folder.join("reload.json"))
}

/// Has the daemon read its configuration again. Returns the number of certificates that it keeps then.
///
/// # Errors
/// What the daemon said against it, or that it gave no answer within [`PATIENCE`].
pub(crate) fn ask() -> Result<usize, Failure> {
    let main = std::env::var("MAINPID").ok().and_then(|text| text.parse().ok()).and_then(Pid::from_raw);
    let (Some(main), Some(path)) = (main, place()) else {
        return Err(Failure::Configuration(
            "reload: MAINPID or RUNTIME_DIRECTORY is not in the environment, as in the unit: write systemctl reload acme-dns01"
                .to_owned(),
        ));
    };
    let process = main.as_raw_nonzero().get();
    let silent = || {
        let seconds = PATIENCE.as_secs();
        Failure::Failed(format!(
            "process {process} gave no answer within {seconds} s: write systemctl restart acme-dns01"
        ))
    };
    let until = Instant::now() + PATIENCE;
    // One that has just been started does not handle the signal yet, and would end by it.
    let before = wait(until, || Reloads::of(process, &path)).ok_or_else(silent)?.count;
    kill_process(main, Signal::HUP)
        .map_err(|why| Failure::Failed(format!("process {process} cannot be told: {why}")))?;
    let after = wait(until, || Reloads::of(process, &path).filter(|record| record.count > before));
    let Reloads { certificates, refused, .. } = after.ok_or_else(silent)?;
    match refused {
        None => Ok(certificates),
        Some(Refusal { code: 1, message }) => Err(Failure::Failed(message)),
        Some(Refusal { message, .. }) => Err(Failure::Configuration(message)),
    }
}

/// Looks until there is something, at most until a time. Returns `None` if there is nothing by then.
fn wait<T>(until: Instant, look: impl Fn() -> Option<T>) -> Option<T> {
    loop {
        let found = look();
        if found.is_some() || Instant::now() > until {
            return found;
        }
        std::thread::sleep(PAUSE);
    }
}
