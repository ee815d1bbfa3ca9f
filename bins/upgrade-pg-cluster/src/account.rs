//! Root becomes the cluster's owner.
//!
//! Everything but a service is the owner's business: PostgreSQL's programs refuse root, and root writing into folders of
//! another account follows links that this account may have laid. So the program starts itself again as the owner, and
//! does nothing itself but stop and start the service when that process ends and asks for it. What that process had done
//! is in the journal, from which the next one goes on.

use crate::service::Systemd;
use cli_support::account::Account;
use cli_support::outcome::Failure;
use pg_upgrade::Services;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

/// Set for the process that root has started as the owner.
pub(crate) const CHILD: &str = "UPGRADE_PG_CLUSTER_CHILD";

/// The status by which that process asks for the service to be stopped.
pub(crate) const STOP: u8 = 100;

/// The status by which it asks for the service to be started.
pub(crate) const START: u8 = 101;

/// Returns true if this process is root.
pub(crate) fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|about| about.uid() == 0)
}

/// Returns true if root has started this process as the owner.
pub(crate) fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// Runs this program as the owner of a folder until it is done, and returns its exit code. Whenever it asks for that, the
/// service `stop` is stopped, or `start` started.
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
        // The name is where the versions may be.
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
