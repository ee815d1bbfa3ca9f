//! Commands that the steps run, and the folders in which they run.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Instant;

/// Steps that passed in this process, with their durations in seconds.
static DURATIONS: Mutex<Vec<(String, u64)>> = Mutex::new(Vec::new());

/// Shortest duration in seconds that [`print_durations`] prints.
const SHORTEST: u64 = 5;

/// Result of a step. The error is a message, mostly of one line.
pub(crate) type Outcome = Result<(), String>;

/// Returns the root folder of the workspace.
///
/// # Panics
/// Panics if it does not exist.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the workspace exists")
}

/// Returns the folder into which cargo builds: `CARGO_TARGET_DIR`, or else `target` in the root folder.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Returns the folder of installed tools, in that of cargo's output.
pub(crate) fn tools_folder() -> PathBuf {
    target().join("tools")
}

/// Returns `true` if this process runs as root.
pub(crate) fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n")
}

/// Returns a cargo command in the root folder of the workspace.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).current_dir(root());
    command
}

/// Runs a check, and once more if it fails: scenarios of many processes with time limits share the machine with other
/// steps. Both runs are printed, and a check that passed only at the second try is named.
///
/// # Errors
/// Returns the second failure.
pub(crate) fn with_second_try(what: &str, mut check: impl FnMut() -> Outcome) -> Outcome {
    let Err(first) = check() else { return Ok(()) };
    second_try(what, &first, check)
}

/// Runs a check that failed once more. Prints the first failure, and names a check that passes now.
///
/// # Errors
/// Returns the second failure.
pub(crate) fn second_try(what: &str, first: &str, check: impl FnOnce() -> Outcome) -> Outcome {
    println!("xtask: {what}: failed: {first}; once more …");
    check()?;
    println!("xtask: {what}: passed at the second try only");
    Ok(())
}

/// Runs a command with visible output, and prints the name and the duration in seconds.
///
/// # Errors
/// Returns the status if it fails, or that it cannot be run.
pub(crate) fn step(what: &str, mut command: impl std::borrow::BorrowMut<Command>) -> Outcome {
    let command = command.borrow_mut();
    println!("xtask: {what} …");
    let began = Instant::now();
    let status = command.status().map_err(|why| format!("{what}: cannot run {command:?}: {why}"))?;
    if !status.success() {
        return Err(format!("{what}: {command:?} ended with {status}"));
    }
    passed(what, began);
    Ok(())
}

/// Gives this thread, and the processes that it starts from now on, a lower priority than those of other threads.
/// Without `renice`, the priority remains as it is.
pub(crate) fn yield_to_others() {
    // `/proc/thread-self` is a link to `PID/task/TID`; the priority of Linux is that of a thread.
    if let Ok(thread) = std::fs::read_link("/proc/thread-self")
        && let Some(id) = thread.file_name()
    {
        let _ = Command::new("renice").args(["-n", "10", "-p"]).arg(id).stdout(Stdio::null()).status();
    }
}

/// Prints that a step passed, with its duration, and records the duration for [`print_durations`].
pub(crate) fn passed(what: &str, began: Instant) {
    let seconds = began.elapsed().as_secs();
    println!("xtask: {what}: passed in {seconds} s");
    DURATIONS.lock().expect("nobody panics with it").push((what.to_owned(), seconds));
}

/// Prints the durations of the recorded steps, the longest first. Steps of less than [`SHORTEST`] seconds are omitted, and
/// those that ran side by side overlap.
pub(crate) fn print_durations() {
    let mut durations = DURATIONS.lock().expect("nobody panics with it").clone();
    durations.sort_by_key(|(_, seconds)| std::cmp::Reverse(*seconds));
    println!("xtask: seconds of each step:");
    for (what, seconds) in durations.iter().filter(|(_, seconds)| *seconds >= SHORTEST) {
        println!("{seconds:>6}  {what}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_failure_fails() {
        let counted = |failures: u32| {
            let mut runs = 0;
            let outcome = with_second_try("a check", || {
                runs += 1;
                if runs <= failures { Err(format!("failure {runs}")) } else { Ok(()) }
            });
            (outcome, runs)
        };
        assert_eq!(counted(0), (Ok(()), 1));
        assert_eq!(counted(1), (Ok(()), 2));
        assert_eq!(counted(2), (Err("failure 2".to_owned()), 2));
    }
}
