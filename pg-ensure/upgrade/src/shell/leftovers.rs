//! Processes that an interrupted run left behind: programs and private servers.

use super::error::UpgradeError;
use super::journal::WorkFolder;
use super::server::{pid_file, running_pid_file};
use super::tools::MARK;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// Time limit for the end of all processes.
const END_TIMEOUT: Duration = Duration::from_secs(300);

/// Time that processes without their postmaster have to end by themselves, and then again after SIGQUIT. A postmaster
/// gives its children the same time in an immediate shutdown (`SIGKILL_CHILDREN_AFTER_SECS` in postmaster.c).
const ORPHAN_TIMEOUT: Duration = Duration::from_secs(5);

/// Ends the processes of an earlier run of this upgrade: programs by SIGKILL, private servers (also those of pg_upgrade
/// on `folders`) by a fast shutdown, and what a postmaster that was killed left behind as in an immediate shutdown.
/// Waits for their end.
///
/// Only a postmaster gets SIGINT. To its children it means something else: the checkpointer of 18 would write the
/// checkpoint of a shutdown while others still write.
///
/// # Errors
/// Returns an [`UpgradeError`] with the process ids if a process does not end within [`END_TIMEOUT`].
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
        wait(began, "programs of an earlier run do not end", &programs)?;
    }
    let private = work.private();
    let (mut asked, mut alone, mut sent) = (Vec::new(), None, None);
    loop {
        let servers: Vec<u32> = processes().filter(|pid| is_server(*pid)).collect();
        let marked = marked_processes(id, true);
        // pg_upgrade's own servers have the same socket folder.
        let named = folders
            .iter()
            .filter_map(|folder| Some((folder, running_pid_file(folder)?)))
            .filter(|(_, file)| Path::new(&file.socket) == private)
            // The file stays if a postmaster is killed, and its id may be another process's now.
            .filter(|(folder, file)| is_server(file.pid) && works_in(file.pid, folder))
            .map(|(_, file)| file.pid);
        let first = marked.iter().copied().filter(|pid| is_postmaster(*pid, &marked));
        let mut postmasters: Vec<u32> = first.chain(named).collect();
        postmasters.sort_unstable();
        postmasters.dedup();
        for pid in &postmasters {
            if !asked.contains(pid) && is_server(*pid) {
                signal(*pid, Signal::INT);
                asked.push(*pid);
            }
        }
        let left_behind = folders.iter().filter(|folder| was_private(folder, &private));
        let mut left: Vec<u32> = left_behind.flat_map(|folder| orphans(folder, &servers)).collect();
        left.extend(marked.iter().chain(&postmasters));
        left.sort_unstable();
        left.dedup();
        if left.is_empty() {
            return Ok(());
        }
        // A child that had no title yet is taken for a postmaster, but has no children.
        postmasters.retain(|pid| servers.iter().any(|child| parent(*child) == Some(*pid)));
        if !postmasters.is_empty() {
            (alone, sent) = (None, None);
            wait(began, "a private server of an earlier run does not stop", &postmasters)?;
            continue;
        }
        let since = *alone.get_or_insert_with(Instant::now);
        let next = [(2 * ORPHAN_TIMEOUT, Signal::KILL), (ORPHAN_TIMEOUT, Signal::QUIT)];
        let next = next.into_iter().find(|(after, _)| since.elapsed() > *after).map(|(_, signal)| signal);
        if let Some(name) = next.filter(|_| next != sent) {
            left.iter().filter(|pid| is_server(**pid)).for_each(|pid| signal(*pid, name));
            sent = next;
        }
        wait(began, "processes of a private server outlive it", &left)?;
    }
}

/// Sleeps for 10 ms.
///
/// # Errors
/// Returns an [`UpgradeError`] with the ids of the processes if more than [`END_TIMEOUT`] has passed since `began`.
fn wait(began: Instant, what: &str, pids: &[u32]) -> Result<(), UpgradeError> {
    if began.elapsed() > END_TIMEOUT {
        let pids: Vec<String> = pids.iter().map(ToString::to_string).collect();
        return Err(UpgradeError::Other(format!(
            "{what} (process {}): end them, then run again",
            pids.join(", ")
        )));
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
    let title = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    !parent(pid).is_some_and(|parent| servers.contains(&parent)) && !title.starts_with(b"postgres: ")
}

/// Returns `true` if the last server on a data directory was a private one with its socket in `private`. The pid file
/// stays if a postmaster is killed.
fn was_private(folder: &Path, private: &Path) -> bool {
    pid_file(folder).is_some_and(|file| Path::new(&file.socket) == private)
}

/// Returns `true` if a folder is the working directory of a process, as the data directory is of a server.
fn works_in(pid: u32, folder: &Path) -> bool {
    let folder = folder.canonicalize().ok();
    folder.is_some() && fs::read_link(format!("/proc/{pid}/cwd")).ok() == folder
}

/// Returns the ids of those `servers` in a data directory whose postmaster has ended. Their title overwrites their
/// environment, and with it the mark.
fn orphans(folder: &Path, servers: &[u32]) -> Vec<u32> {
    let has_postmaster = |pid: u32| parent(pid).is_some_and(|parent| servers.contains(&parent));
    let of_nobody =
        |pid: &&u32| works_in(**pid, folder) && !has_postmaster(**pid) && !is_postmaster(**pid, servers);
    servers.iter().filter(of_nobody).copied().collect()
}

/// Returns the id of a process's parent. `None` if the process has ended.
fn parent(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:")?.trim().parse().ok())
}

/// Returns `true` if the program of a process is PostgreSQL's server.
fn is_server(pid: u32) -> bool {
    fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|program| is_postgres(&program))
}

/// Returns `true` if a target of `/proc/PID/exe` is the program `postgres`. The kernel appends ` (deleted)` if the file
/// was replaced, as an update of the package does.
fn is_postgres(program: &Path) -> bool {
    program.file_name().is_some_and(|name| name == "postgres" || name == "postgres (deleted)")
}

/// Returns the ids of all processes but this one.
fn processes() -> impl Iterator<Item = u32> {
    let own = std::process::id();
    let entries = fs::read_dir("/proc").into_iter().flatten();
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter(move |pid| *pid != own)
}

/// Returns the ids of the processes with the mark of this upgrade in their environment, except this one: those that run
/// `postgres` if `servers` is `true`, otherwise all others.
fn marked_processes(id: &str, servers: bool) -> Vec<u32> {
    let mark = format!("{MARK}={id}");
    processes()
        .filter(|pid| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
        })
        .filter(|pid| is_server(*pid) == servers)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_of_servers() {
        for (program, server) in [
            ("/usr/lib/postgresql/17/bin/postgres", true),
            ("/usr/lib/postgresql/17/bin/postgres (deleted)", true),
            ("/usr/lib/postgresql/17/bin/postgres_exporter", false),
            ("/usr/bin/psql", false),
        ] {
            assert_eq!(is_postgres(Path::new(program)), server, "{program}");
        }
        assert!(!is_server(std::process::id()));
    }
}
