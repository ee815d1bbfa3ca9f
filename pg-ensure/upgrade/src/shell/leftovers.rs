//! Processes that an interrupted run left behind: programs and private servers.

use super::error::UpgradeError;
use super::journal::WorkFolder;
use super::server::running_pid_file;
use super::tools::MARK;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// Time limit for the end of all processes.
const END_TIMEOUT: Duration = Duration::from_secs(300);

/// Ends the processes of an earlier run of this upgrade: programs by SIGKILL, private servers (also those of pg_upgrade
/// on `folders`) by a fast shutdown. Waits for their end.
///
/// Only a postmaster gets the signal. To its children SIGINT means something else: the checkpointer of 18 would write
/// the checkpoint of a shutdown while others still write.
///
/// # Errors
/// Returns an [`UpgradeError`] if a process does not end within [`END_TIMEOUT`].
pub(super) fn stop(work: &WorkFolder, id: &str, folders: &[&Path]) -> Result<(), UpgradeError> {
    let began = Instant::now();
    loop {
        let programs = marked_processes(id, false);
        for pid in &programs {
            signal(*pid, Signal::KILL);
        }
        if programs.is_empty() {
            break;
        }
        wait(began, "programs of an earlier run do not end")?;
    }
    let private = work.private();
    let mut asked = Vec::new();
    loop {
        let marked = marked_processes(id, true);
        let mut servers =
            marked.iter().copied().filter(|pid| is_postmaster(*pid, &marked)).collect::<Vec<_>>();
        for folder in folders {
            // pg_upgrade's own servers have the same socket folder.
            servers.extend(
                running_pid_file(folder)
                    .filter(|file| Path::new(&file.socket) == private)
                    .map(|file| file.pid),
            );
        }
        servers.sort_unstable();
        servers.dedup();
        for pid in &servers {
            if !asked.contains(pid) {
                signal(*pid, Signal::INT);
                asked.push(*pid);
            }
        }
        // Children whose postmaster was killed end by themselves.
        if servers.is_empty() && marked.is_empty() {
            return Ok(());
        }
        wait(began, "a private server of an earlier run does not stop")?;
    }
}

/// Sleeps for 10 ms.
///
/// # Errors
/// Returns an [`UpgradeError`] if more than [`END_TIMEOUT`] has passed since `began`.
fn wait(began: Instant, what: &str) -> Result<(), UpgradeError> {
    if began.elapsed() > END_TIMEOUT {
        return Err(UpgradeError::Other(format!("{what}: end them, then run again")));
    }
    std::thread::sleep(Duration::from_millis(10));
    Ok(())
}

/// Sends a signal to a process. Errors are ignored.
fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // The process may have ended meanwhile.
        let _ = kill_process(pid, signal);
    }
}

/// Returns `true` for a server's first process: its parent is not one of the `servers`, and it has not the title of a
/// child.
fn is_postmaster(pid: u32, servers: &[u32]) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")?.trim().parse::<u32>().ok());
    let title = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    !parent.is_some_and(|parent| servers.contains(&parent)) && !title.starts_with(b"postgres: ")
}

/// Returns the ids of the processes with the mark of this upgrade in their environment, except this one: those that run
/// `postgres` if `servers` is `true`, otherwise all others.
fn marked_processes(id: &str, servers: bool) -> Vec<u32> {
    let mark = format!("{MARK}={id}");
    let own = std::process::id();
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    processes
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| *pid != own)
        .filter(|pid| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
        })
        .filter(|pid| {
            let program = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
            program.file_name().is_some_and(|name| name == "postgres") == servers
        })
        .collect()
}
