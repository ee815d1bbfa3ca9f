//! Programs that the crate runs: reloads, programs of a DNS provider, and commands for alerts.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::process::Command;

/// Time that a program's standard error may stay open after its exit, until what it said is taken as it is.
const GRACE: Duration = Duration::from_millis(100);
/// Bytes of standard error that are kept; the rest is read and dropped.
const MAX_SAID: usize = 4096;
/// Characters of standard error that an error shows.
const MAX_SHOWN: usize = 300;

/// Reason why a program did not exit by itself.
#[derive(Debug)]
pub(crate) enum RunError {
    /// It cannot be started, or its exit status cannot be read.
    Start(io::Error),
    /// It exceeded the time limit, and was killed.
    TimedOut,
}

/// Exit of a program.
#[derive(Debug)]
pub(crate) struct Exit {
    pub(crate) status: ExitStatus,
    /// The first 300 characters of its standard error, without surrounding white space.
    pub(crate) said: String,
}

/// Runs a program until it exits, without standard input and output. A process that it leaves running, and that keeps
/// its standard error open, is not waited for.
///
/// # Errors
/// Returns a [`RunError`] if the program cannot be started, or has not exited within the time limit.
pub(crate) async fn run(command: &mut Command, within: Duration) -> Result<Exit, RunError> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(RunError::Start)?;
    let mut errors = child.stderr.take();
    let mut said = Vec::new();
    let exit = async {
        loop {
            tokio::select! {
                status = child.wait() => return status,
                open = read_some(&mut errors, &mut said), if errors.is_some() => {
                    if !open {
                        errors = None;
                    }
                }
            }
        }
    };
    let status = tokio::time::timeout(within, exit).await.map_err(|_| RunError::TimedOut)?;
    let status = status.map_err(RunError::Start)?;
    let rest = async { while read_some(&mut errors, &mut said).await {} };
    // The pipe ends later than the program only if another process has it.
    let _ = tokio::time::timeout(GRACE, rest).await;
    let said = String::from_utf8_lossy(&said);
    Ok(Exit { status, said: said.trim().chars().take(MAX_SHOWN).collect() })
}

/// Reads what is in the pipe, and appends it to `said` up to [`MAX_SAID`] bytes. Returns `false` at its end.
async fn read_some(pipe: &mut Option<tokio::process::ChildStderr>, said: &mut Vec<u8>) -> bool {
    let Some(pipe) = pipe else { return false };
    let mut buffer = [0; 1024];
    let read = pipe.read(&mut buffer).await.unwrap_or(0);
    let left = MAX_SAID.saturating_sub(said.len());
    said.extend(buffer.iter().take(read.min(left)));
    read > 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    async fn shell(script: &str, within: Duration) -> Result<Exit, RunError> {
        run(Command::new("sh").args(["-c", script]), within).await
    }

    #[tokio::test]
    async fn a_process_that_is_left_running_is_not_waited_for() {
        let begin = Instant::now();
        let exit = shell("echo left >&2; sleep 20 & exit 3", Duration::from_secs(10)).await.expect("an exit");
        assert!(begin.elapsed() < Duration::from_secs(8), "{:?}", begin.elapsed());
        assert_eq!((exit.status.code(), exit.said.as_str()), (Some(3), "left"));
    }

    #[tokio::test]
    async fn much_that_is_said_blocks_no_program() {
        let script = "i=0; while [ $i -lt 3000 ]; do echo 0123456789012345678901234567890123456789 >&2; i=$((i+1)); done";
        let exit = shell(script, Duration::from_secs(20)).await.expect("an exit");
        assert!(exit.status.success());
        assert_eq!(exit.said.chars().count(), MAX_SHOWN);
    }

    #[tokio::test]
    async fn a_program_that_does_not_end_is_killed() {
        let error = shell("exec sleep 20", Duration::from_millis(200)).await.expect_err("it does not end");
        assert!(matches!(error, RunError::TimedOut));
        let error = run(&mut Command::new("/nowhere/program"), GRACE).await.expect_err("it does not exist");
        assert!(matches!(error, RunError::Start(_)));
    }
}
