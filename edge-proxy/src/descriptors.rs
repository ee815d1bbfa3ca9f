//! File descriptors of the process, and the share of them reserved from clients.

use std::os::fd::RawFd;

/// The divisor of the limit of descriptors: a fourth of them is reserved for upstreams, health checks, the status page
/// and the log.
const RESERVED_DIVISOR: u64 = 4;
/// The minimum number of reserved descriptors, also where a fourth is less.
const MIN_RESERVED: u64 = 16;

/// Returns the lowest descriptor number that is reserved, from the soft limit of open files (`RLIMIT_NOFILE`). The
/// kernel assigns the lowest free number, so a client connection with a number at or above this one shows that all
/// lower ones are in use. `RawFd::MAX` without a limit.
pub(crate) fn ceiling() -> RawFd {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    below(limit)
}

/// Returns the [`ceiling`] for a limit of descriptors: the limit less a fourth of it, but at least [`MIN_RESERVED`]
/// less. `None` means no limit, for which the result is `RawFd::MAX`.
fn below(limit: Option<u64>) -> RawFd {
    let Some(limit) = limit else { return RawFd::MAX };
    let kept = (limit / RESERVED_DIVISOR).max(MIN_RESERVED);
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
            prop_assert!(ceiling <= limit.saturating_sub(MIN_RESERVED));
            prop_assert!(ceiling >= (limit / 2).min(1 << 30).saturating_sub(MIN_RESERVED));
        }
    }
}
