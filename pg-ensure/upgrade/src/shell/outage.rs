//! The outage to expect after a rehearsal.
//!
//! The copy is upgraded while the running server works, and shares the processors with it; in the outage that server is
//! stopped. So each run is measured with the processor time that the server had meanwhile. Runs of the same work differ
//! by what the host does with memory and disk, so that a short one is repeated, and the median counts.

use super::request::Observer;
use super::server::running_pid_file;
use crate::step::Step;
use std::fs;
use std::num::NonZeroU32;
use std::path::Path;
use std::time::{Duration, Instant};

/// Processor times since the start of the host, in ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct ProcessorTime {
    /// Time of all processors together.
    total: u64,
    /// Time in which processors had nothing to do.
    idle: u64,
    /// Time of the running server with all its processes.
    server: u64,
}

impl ProcessorTime {
    /// Reads the times from `/proc`. What cannot be read is 0, also the time of the server that runs on `data` if there
    /// is none.
    fn now(data: &Path) -> Self {
        let text = fs::read_to_string("/proc/stat").unwrap_or_default();
        let (total, idle) = host_times(&text);
        Self { total, idle, server: running_pid_file(data).map_or(0, |file| server_time(file.pid)) }
    }
}

/// Returns the time of all processors, and their idle time with that of waiting for disks, from the text of
/// `/proc/stat`.
fn host_times(text: &str) -> (u64, u64) {
    let line = text.lines().find_map(|line| line.strip_prefix("cpu ")).unwrap_or_default();
    let times: Vec<u64> = line.split_whitespace().filter_map(|time| time.parse().ok()).collect();
    // The times of guests are in the first two.
    let total = times.iter().take(8).sum();
    (total, times.iter().skip(3).take(2).sum())
}

/// Returns the time of a process, of its children, and of those that have ended.
fn server_time(pid: u32) -> u64 {
    let children = fs::read_dir("/proc").into_iter().flatten().flatten();
    let stats = children.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    let times = stats.filter_map(|stat| process_times(&stat));
    times.filter(|(own, parent, _)| *own == pid || *parent == pid).map(|(_, _, time)| time).sum()
}

/// Returns the id of a process, that of its parent, and its time with that of its ended children, from the text of
/// `/proc/PID/stat`. `None` if the text is malformed.
fn process_times(stat: &str) -> Option<(u32, u32, u64)> {
    let (id, rest) = stat.split_once(' ')?;
    // The name may contain anything.
    let fields: Vec<&str> = rest.rsplit_once(") ")?.1.split_whitespace().collect();
    let time = fields.get(11..15)?.iter().filter_map(|time| time.parse::<u64>().ok()).sum();
    Some((id.parse().ok()?, fields.get(1)?.parse().ok()?, time))
}

/// One run of the steps without a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TimedRun {
    /// Time without a server, in milliseconds.
    pub(super) took: u64,
    /// Time that the run would have taken with the processors for itself, in milliseconds.
    pub(super) alone: u64,
}

impl TimedRun {
    /// Returns the run with the time that the processors' times before and after it give. The server delays the run by
    /// its share of the processors, as far as these were busy: where they were never idle, all that the server used is
    /// gained.
    fn new(took: u64, before: ProcessorTime, after: ProcessorTime) -> Self {
        let spent = |time: fn(&ProcessorTime) -> u64| u128::from(time(&after).saturating_sub(time(&before)));
        let total = spent(|time| time.total).max(1);
        let (idle, server) = (spent(|time| time.idle).min(total), spent(|time| time.server).min(total));
        let gained = u128::from(took) * server * (total - idle) / (total * total);
        let gained = u64::try_from(gained).unwrap_or(took);
        Self { took, alone: took.saturating_sub(gained) }
    }
}

/// An observer that times the steps without a server.
pub(super) struct Meter<'o> {
    /// Observer to which the steps and remarks are reported. `None` for a repetition.
    pub(super) observer: Option<&'o mut dyn Observer>,
    /// Data directory of the running server.
    data: &'o Path,
    /// Beginning of the steps.
    began: Option<(Instant, ProcessorTime)>,
    /// The run, once its steps have ended.
    pub(super) run: Option<TimedRun>,
}

impl<'o> Meter<'o> {
    /// Creates an observer for a run beside the server that runs on `data`.
    pub(super) fn new(data: &'o Path, observer: Option<&'o mut dyn Observer>) -> Self {
        Self { observer, data, began: None, run: None }
    }
}

impl Observer for Meter<'_> {
    fn begin(&mut self, step: Step) {
        if step == Step::Quiesce {
            self.began = Some((Instant::now(), ProcessorTime::now(self.data)));
        }
        if let Some(observer) = &mut self.observer {
            observer.begin(step);
        }
    }

    fn end(&mut self, step: Step, how: &str) {
        if step == Step::Start
            && let Some((began, before)) = self.began
        {
            let took = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.run = Some(TimedRun::new(took, before, ProcessorTime::now(self.data)));
        }
        if let Some(observer) = &mut self.observer {
            observer.end(step, how);
        }
    }

    fn note(&mut self, text: &str) {
        if let Some(observer) = &mut self.observer {
            observer.note(text);
        }
    }
}

/// Maximum number of runs of a rehearsal, unless its options have another.
pub(super) const RUNS: NonZeroU32 = NonZeroU32::new(3).expect("not 0");
/// Time that all runs of a rehearsal together may take, unless the first takes longer.
const ALL_RUNS: Duration = Duration::from_secs(60);

/// Returns `true` if another run is to be made after `runs` of at most `max_runs` runs, which have taken this time
/// together.
pub(super) fn is_repeated(runs: usize, max_runs: NonZeroU32, all: Duration) -> bool {
    let runs = u32::try_from(runs.max(1)).unwrap_or(u32::MAX);
    runs < max_runs.get() && all + all / runs <= ALL_RUNS
}

/// Returns the time without a server in the rehearsal, and the minimum and maximum of the outage to expect, in
/// milliseconds. The first is the median of the runs. The maximum is twice the minimum, which is at least 1; their
/// geometric mean is that of the medians with the running server beside the run and without it.
pub(super) fn expected_outage(runs: &[TimedRun]) -> (u64, (u64, u64)) {
    let median = |time: fn(&TimedRun) -> u64| {
        let mut times: Vec<u64> = runs.iter().map(time).collect();
        times.sort_unstable();
        times.get(times.len().saturating_sub(1) / 2).copied().unwrap_or_default()
    };
    let (took, alone) = (median(|run| run.took), median(|run| run.alone));
    let shortest = (u128::from(took) * u128::from(alone) / 2).isqrt();
    let shortest = u64::try_from(shortest).unwrap_or(u64::MAX / 2).max(1);
    (took, (shortest, shortest * 2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_of_the_host_and_of_processes() {
        let text = "cpu  10 1 20 400 5 0 2 3 7 1\ncpu0 1 2 3 4\nintr 5\n";
        assert_eq!(host_times(text), (441, 405));
        assert_eq!(host_times(""), (0, 0));
        let stat = "42 (postgres: a) b) S 7 42 42 0 -1 4194560 1 2 3 4 11 12 13 14 20 0 1 0 5 6 7 8 9";
        assert_eq!(process_times(stat), Some((42, 7, 50)));
        assert_eq!(process_times("42 (postgres"), None);
        // This process itself has used some time.
        assert!(process_times(&fs::read_to_string("/proc/self/stat").expect("Linux")).is_some());
    }

    #[test]
    fn what_the_running_server_used_is_gained_where_the_processors_are_busy() {
        let time = |total, idle, server| ProcessorTime { total, idle, server };
        let alone = |after| TimedRun::new(1000, time(500, 100, 50), after).alone;
        // Busy all the time, half of it with the server; idle for half of it; no server.
        assert_eq!(alone(time(700, 100, 150)), 500);
        assert_eq!(alone(time(700, 200, 100)), 875);
        assert_eq!(alone(time(700, 100, 50)), 1000);
        // A server that was stopped meanwhile, and times that cannot be read.
        assert_eq!(alone(time(700, 100, 0)), 1000);
        assert_eq!(TimedRun::new(1000, time(0, 0, 0), time(0, 0, 0)).alone, 1000);
    }

    #[test]
    fn a_single_long_run_does_not_count() {
        let run = |took| TimedRun { took, alone: took };
        let expected = |all: &[u64]| expected_outage(&all.iter().copied().map(run).collect::<Vec<_>>());
        assert_eq!(expected(&[3000]), (3000, (2121, 4242)));
        assert_eq!(expected(&[6000, 3000, 2500, 2900, 3100]).0, 3000);
        assert_eq!(expected(&[6000, 3000]).0, 3000);
        assert_eq!(expected_outage(&[TimedRun { took: 8000, alone: 2000 }]).1, (2828, 5656));
    }

    #[test]
    fn short_runs_are_repeated() {
        let repeated = |runs, seconds| is_repeated(runs, RUNS, Duration::from_secs(seconds));
        assert!(repeated(1, 5) && repeated(2, 40) && !repeated(3, 10));
        assert!(repeated(1, 30) && !repeated(1, 31) && !repeated(1, 36_000) && !repeated(2, 41));
        let at_most = |max_runs| NonZeroU32::new(max_runs).expect("not 0");
        assert!(!is_repeated(1, at_most(1), Duration::ZERO));
        assert!(is_repeated(4, at_most(5), Duration::from_secs(40)));
        assert!(!is_repeated(4, at_most(5), Duration::from_secs(49)));
        assert!(!is_repeated(5, at_most(5), Duration::ZERO));
    }

    proptest! {
        #[test]
        fn the_longest_outage_is_at_most_twice_the_shortest(
            runs in proptest::collection::vec((0_u64..1 << 40, 0_u64..=1000), 0..6)
        ) {
            let runs: Vec<TimedRun> =
                runs.iter().map(|(took, part)| TimedRun { took: *took, alone: took * part / 1000 }).collect();
            let (median, (shortest, longest)) = expected_outage(&runs);
            prop_assert!(shortest > 0 && longest <= 2 * shortest);
            prop_assert!(shortest <= median.max(1));
        }
    }
}
