//! Cost of a contender: processor time and resident memory of its processes, as the kernel counts them.

use std::collections::HashMap;
use std::fs;

/// Returns the process IDs of a process and its descendants, the process itself first.
pub(crate) fn process_tree(root: u32) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        if let Some(parent) = parent_of(pid) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = vec![root];
    let mut at = 0;
    while at < found.len() {
        if let Some(more) = children.get(&found[at]) {
            found.extend(more);
        }
        at += 1;
    }
    found
}

/// Returns the process ID of the parent of a process. `None` if the process does not exist any more.
fn parent_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may contain any character, so that parsing begins after the last parenthesis.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// Returns the processor time of a process and its descendants in nanoseconds, which is more exact than the ticks of
/// `utime` and `stime`. Threads that have ended are not counted.
pub(crate) fn processor(root: u32) -> u64 {
    process_tree(root).into_iter().map(process_time).sum()
}

/// Returns the processor time of the running threads of a process in nanoseconds. 0 if it has ended.
fn process_time(pid: u32) -> u64 {
    let mut sum = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let said = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        sum += said.split_whitespace().next().and_then(|first| first.parse::<u64>().ok()).unwrap_or(0);
    }
    sum
}

/// Returns the proportional set size of a process and its descendants in bytes: a page that several processes share
/// counts once. Processes that have ended count 0.
pub(crate) fn resident(root: u32) -> u64 {
    let of = |pid: u32| {
        let said = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let line = said.lines().find(|line| line.starts_with("Pss:")).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|number| number.parse::<u64>().ok()).unwrap_or(0) * 1024
    };
    process_tree(root).into_iter().map(of).sum()
}

/// Returns the largest peak resident set of a process and its descendants in bytes.
pub(crate) fn peak(root: u32) -> u64 {
    let of = |pid: u32| {
        let said = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = said.lines().find(|line| line.starts_with("VmHWM:")).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|number| number.parse::<u64>().ok()).unwrap_or(0) * 1024
    };
    process_tree(root).into_iter().map(of).max().unwrap_or(0)
}
