//! `reload`: makes the daemon of a systemd unit read its configuration again, and waits for the outcome.
//!
//! The daemon writes a record of its reloads to the unit's runtime folder (`RuntimeDirectory=`). The command is run by
//! the unit (`ExecReload=`), so that it runs as the same account, and finds the folder and the daemon's process id in
//! its environment.

use acme_dns01::engine::Certificate;
use cli_support::journal::Priority;
use cli_support::outcome::{Failure, counted};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Time limit for the outcome. The daemon first completes and records its current action.
const PATIENCE: Duration = Duration::from_secs(60);
/// Pause between two reads of the record.
const PAUSE: Duration = Duration::from_millis(50);

/// The effect of a reload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Effect {
    /// Number of certificates that are kept now, those with unchanged configuration included.
    certificates: usize,
    /// Ids of the certificates that were not kept before.
    added: Vec<String>,
    /// Ids of the certificates whose settings or deployment changed. An order under way that no longer fits is
    /// abandoned.
    changed: Vec<String>,
    /// Ids of the certificates that are not kept any more. Their folders stay.
    removed: Vec<String>,
    /// Names of the secrets in use that only a restart of the unit takes anew, since systemd hands them over at the
    /// start.
    waiting: Vec<String>,
}

impl Effect {
    /// Compares the former certificates with those kept now, by id. `waiting` is taken over.
    pub(crate) fn of(before: &[Certificate], now: &[Certificate], waiting: Vec<String>) -> Self {
        let id = |one: &Certificate| one.spec.id.clone();
        let other = |all: &[Certificate], one: &Certificate| {
            all.iter().find(|other| other.spec.id == one.spec.id).cloned()
        };
        let same = |one: &Certificate, other: &Certificate| {
            one.spec == other.spec && one.deployment == other.deployment
        };
        let changed = |one: &&Certificate| other(before, one).is_some_and(|former| !same(&former, one));
        Self {
            certificates: now.len(),
            added: now.iter().filter(|one| other(before, one).is_none()).map(id).collect(),
            changed: now.iter().filter(changed).map(id).collect(),
            removed: before.iter().filter(|one| other(now, one).is_none()).map(id).collect(),
            waiting,
        }
    }

    /// Returns the effect in words: one line, and a second one if secrets wait for a restart.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut first = format!("read again: keeps {}", counted(self.certificates, "certificate"));
        for (what, ids) in [("new", &self.added), ("changed", &self.changed)] {
            if !ids.is_empty() {
                first += &format!("; {what}: {}", ids.join(", "));
            }
        }
        if !self.removed.is_empty() {
            first += &format!("; no longer kept: {}, whose files stay in place", self.removed.join(", "));
        }
        let waiting = (!self.waiting.is_empty()).then(|| {
            format!(
                "as at the start of the unit: {}; for another value, systemctl restart acme-dns01",
                self.waiting.join(", ")
            )
        });
        std::iter::once(first).chain(waiting).collect()
    }
}

/// Credentials that systemd handed over, as they were at a time: device, inode, and time of modification in seconds and
/// nanoseconds of each, by `credential:NAME`.
#[derive(Debug, Default)]
pub(crate) struct Credentials(BTreeMap<String, (u64, u64, i64, i64)>);

impl Credentials {
    /// Looks at the folder of credentials (`CREDENTIALS_DIRECTORY`). Their contents are not read. Empty without a
    /// folder that can be read; a file without metadata or whose name is not UTF-8 is skipped.
    pub(crate) fn look() -> Self {
        let entries =
            std::env::var_os("CREDENTIALS_DIRECTORY").and_then(|folder| std::fs::read_dir(folder).ok());
        let file = |entry: std::fs::DirEntry| {
            let found = entry.metadata().ok()?;
            let stamp = (found.dev(), found.ino(), found.mtime(), found.mtime_nsec());
            Some((format!("credential:{}", entry.file_name().to_str()?), stamp))
        };
        Self(entries.into_iter().flatten().flatten().filter_map(file).collect())
    }

    /// Returns those of the names in use that a reload cannot have renewed: each `credential:NAME` whose file is the
    /// same as at this look (or missing both times), and everything else, such as `env:NAME`.
    pub(crate) fn unchanged(&self, given: &[String]) -> Vec<String> {
        let now = Self::look();
        let same = |name: &&String| !name.starts_with("credential:") || self.0.get(*name) == now.0.get(*name);
        given.iter().filter(same).cloned().collect()
    }
}

/// Record of a daemon's reloads.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Reloads {
    /// Id of the daemon's process.
    process: i32,
    /// Number of reloads since the daemon's start, including failed ones.
    count: u64,
    /// Effect of the last reload after which the new configuration is in use. Empty in the record of an older daemon.
    #[serde(default)]
    effect: Effect,
    /// Error of the last reload. `None` if the new configuration is in use.
    refused: Option<Refusal>,
}

/// Error of a reload: its exit code and message.
#[derive(Debug, Serialize, Deserialize)]
struct Refusal {
    /// Exit code of the error.
    code: u8,
    /// The error in words, as the daemon prints it.
    message: String,
}

impl Reloads {
    /// Creates and writes the record of this process, without a reload. SIGHUP must be handled already, since the
    /// command sends it as soon as the record exists.
    pub(crate) fn begin() -> Self {
        let process = rustix::process::getpid().as_raw_nonzero().get();
        let record = Self { process, count: 0, effect: Effect::default(), refused: None };
        record.keep();
        record
    }

    /// Counts a reload after which the new configuration is in use, and writes the record.
    pub(crate) fn add(&mut self, effect: Effect) {
        self.effect = effect;
        self.end(None);
    }

    /// Counts a failed reload, and writes the record.
    pub(crate) fn add_refused(&mut self, why: &Failure) {
        self.end(Some(Refusal { code: why.code(), message: why.to_string() }));
    }

    /// Ends a reload: counts it, stores its error (`None` if it succeeded), and writes the record.
    fn end(&mut self, refused: Option<Refusal>) {
        self.count += 1;
        self.refused = refused;
        self.keep();
    }

    /// Writes the record, if the process runs in a unit with a runtime folder. An error is printed as a warning.
    fn keep(&self) {
        let Some(path) = place() else { return };
        if let Err(why) = self.write(&path) {
            let line = format!("{}: {why}: `acme-dns01 reload` cannot tell its outcome", path.display());
            Priority::Warning.print("acme-dns01", line);
        }
    }

    /// Writes the record as JSON and atomically, by way of a file with the extension `new`.
    ///
    /// # Errors
    /// Returns an error if the file cannot be written or renamed.
    fn write(&self, path: &Path) -> io::Result<()> {
        let fresh = path.with_extension("new");
        std::fs::write(&fresh, serde_json::to_vec(self)?)?;
        std::fs::rename(&fresh, path)
    }

    /// Reads the record of the daemon with this process id. `None` if the file is missing, not valid, or of another
    /// process.
    fn of(process: i32, path: &Path) -> Option<Self> {
        let record: Self = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
        (record.process == process).then_some(record)
    }
}

/// Returns the path of the record, `reload.json` in the first runtime folder. `None` outside a unit with a runtime
/// folder (`RUNTIME_DIRECTORY`).
fn place() -> Option<PathBuf> {
    let folders = std::env::var_os("RUNTIME_DIRECTORY")?;
    std::env::split_paths(&folders).next().map(|folder| folder.join("reload.json"))
}

/// Waits for the record of the unit's daemon (`MAINPID`), sends SIGHUP to it, and waits until it has counted one more
/// reload. Returns the effect. Both waits share the limit [`PATIENCE`].
///
/// # Errors
/// Returns the daemon's error as [`Failure::Failed`] (exit code 1) or [`Failure::Configuration`] (other codes), a
/// [`Failure::Configuration`] outside a unit, and a [`Failure::Failed`] if the signal cannot be sent or there is no
/// outcome in time.
pub(crate) fn ask() -> Result<Effect, Failure> {
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
    // A daemon that has just been started does not handle the signal yet, and would be terminated by it.
    let before = wait(until, || Reloads::of(process, &path)).ok_or_else(silent)?.count;
    kill_process(main, Signal::HUP)
        .map_err(|why| Failure::Failed(format!("process {process} cannot be told: {why}")))?;
    let after = wait(until, || Reloads::of(process, &path).filter(|record| record.count > before));
    let Reloads { effect, refused, .. } = after.ok_or_else(silent)?;
    match refused {
        None => Ok(effect),
        Some(Refusal { code: 1, message }) => Err(Failure::Failed(message)),
        Some(Refusal { message, .. }) => Err(Failure::Configuration(message)),
    }
}

/// Calls `look` at once and then every 50 ms until it returns a value, which is returned. `None` if there is none when
/// `until` has passed; `look` is called at least once.
fn wait<T>(until: Instant, look: impl Fn() -> Option<T>) -> Option<T> {
    loop {
        let found = look();
        if found.is_some() || Instant::now() > until {
            return found;
        }
        std::thread::sleep(PAUSE);
    }
}
