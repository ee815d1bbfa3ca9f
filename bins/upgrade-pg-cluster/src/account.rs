//! Running as the owner of the cluster when started by root.
//!
//! Everything except services is done as the owner: PostgreSQL's programs refuse to run as root, and writing as root
//! into folders of another account would follow links that the account may have placed there. The program starts itself
//! again as the owner, and itself only stops and starts the service when that process exits with a status that requests
//! it. The next process continues from the journal.

use crate::service::Systemd;
use cli_support::account::Account;
use cli_support::outcome::Failure;
use pg_upgrade::Services;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

/// Environment variable that marks the process that root started as the owner.
pub(crate) const CHILD: &str = "UPGRADE_PG_CLUSTER_CHILD";

/// Exit status by which the process of the owner requests that the service be stopped.
pub(crate) const STOP: u8 = 100;

/// Exit status by which the process of the owner requests that the service be started.
pub(crate) const START: u8 = 101;

/// Returns `true` if this process runs as root.
pub(crate) fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|about| about.uid() == 0)
}

/// Returns `true` if root has started this process as the owner.
pub(crate) fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// Runs this program as the owner of `folder`, with the same arguments, until it ends with a status that requests
/// nothing, and returns that status. On request, the unit `stop` is stopped, or the unit `start`, or else `stop`, is
/// started, and the program is run again.
///
/// # Errors
/// Returns a [`Failure`] if the folder does not exist, its owner is root or cannot run the program, the process is
/// killed, no unit is given, `systemctl` fails, or the same request is made twice in a row, so that setting the service
/// had no effect.
pub(crate) fn run_as_owner(
    folder: &Path,
    stop: Option<&str>,
    start: Option<&str>,
) -> Result<ExitCode, Failure> {
    let failed =
        |why: std::io::Error| Failure::Failed(format!("this program cannot be started again: {why}"));
    let about = std::fs::metadata(folder).map_err(|why| {
        Failure::Configuration(format!("{}: {why}; who owns the cluster is not known", folder.display()))
    })?;
    if about.uid() == 0 {
        return Err(Failure::Configuration(format!(
            "{} belongs to root, and PostgreSQL does not run as root; chown it to the account of the server",
            folder.display()
        )));
    }
    let program = std::env::current_exe().map_err(failed)?;
    // The owner runs the same file, which root can always read.
    let owner = Account::owner_of(folder);
    let unreadable = owner.as_ref().and_then(|owner| owner.read_obstacle(&program).ok().flatten());
    if let (Some(owner), Some(why)) = (owner, unreadable) {
        let (path, name) = (program.display(), owner.name);
        return Err(Failure::Configuration(format!(
            "{path}: the owner of the cluster, {name}, cannot run it: {why}: install it where {name} can read it, such as \
             /usr/local/bin"
        )));
    }
    let mut last = None;
    loop {
        let mut child = Command::new(&program);
        let mut given = std::env::args_os();
        // The versions may be part of the name.
        child.arg0(given.next().unwrap_or_default()).args(given).env(CHILD, "1");
        let status = child.uid(about.uid()).gid(about.gid()).current_dir("/").status().map_err(failed)?;
        let code = status.code().and_then(|code| u8::try_from(code).ok());
        let (unit, starts) = match code {
            Some(STOP) => (stop, false),
            Some(START) => (start.or(stop), true),
            Some(code) => return Ok(ExitCode::from(code)),
            None => {
                return Err(Failure::Failed(format!(
                    "it was killed ({status}); run it again and it goes on"
                )));
            }
        };
        let unit =
            unit.ok_or_else(|| Failure::Failed("a service is to be set, and none was named".to_owned()))?;
        if last.replace(starts) == Some(starts) {
            let (done, other) = if starts { ("started", "none runs") } else { ("stopped", "one still runs") };
            return Err(Failure::Failed(format!(
                "{unit} was {done}, but of the cluster's servers {other}: is it the right unit?"
            )));
        }
        Systemd.set(unit, starts).map_err(Failure::Failed)?;
    }
}
