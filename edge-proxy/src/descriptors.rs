//! File descriptors of the process, and those of them that clients may not take.

use std::os::fd::RawFd;

/// The share of all descriptors reserved for upstreams, health checks, the status page and the log: one in this many.
const SHARE: u64 = 4;
/// The least that is kept.
const LEAST: u64 = 16;

/// The number from which on descriptors are kept back from clients. The kernel gives out the lowest free number, so a connection
/// whose number is not below this shows that nearly all are in use.
pub(crate) fn ceiling() -> RawFd {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    below(limit)
}

/// [`ceiling`] for a limit; `None` is without one.
fn below(limit: Option<u64>) -> RawFd {
    let Some(limit) = limit else { return RawFd::MAX };
    let kept = (limit / SHARE).max(LEAST);
    RawFd::try_from(limit.saturating_sub(kept)).unwrap_or(RawFd::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn some_are_always_kept(limit in any::<u64>()) {
            let ceiling = u64::try_from(below(Some(limit))).unwrap();
            prop_assert!(ceiling <= limit.saturating_sub(LEAST));
            prop_assert!(ceiling >= (limit / 2).min(1 << 30).saturating_sub(LEAST));
        }
    }
}
