//! The limit of open file descriptors.

use edge_proxy::config::Config;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit of open file descriptors to the hard limit. Returns the soft limit in effect, which is the
/// former one if raising it failed; `None` if it is unlimited.
pub(crate) fn raise_limit() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return limit.current;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    }
}

/// Returns a warning if the allowed connections may need more file descriptors than `limit`: two for each of
/// `limits.connections` of each worker, to the client and to the upstream. `None` if the limit suffices or is `None`,
/// unlimited.
pub(crate) fn shortage_warning(limit: Option<u64>, workers: usize, config: &Config) -> Option<String> {
    let limit = limit?;
    let connections = config.limits.connections as u64;
    let needed = 2 * connections * workers as u64;
    (needed > limit).then(|| {
        format!(
            "limits.connections = {connections} for each of {workers} workers may need {needed} file descriptors, and the limit is \
             {limit}: clients wait when three quarters of them are in use (raise LimitNOFILE=, or lower limits.connections)"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_is_too_low_is_reported() {
        let mut config = Config::default();
        config.limits.connections = 1000;
        assert_eq!(shortage_warning(None, 64, &config), None);
        assert_eq!(shortage_warning(Some(4000), 2, &config), None);
        let warning = shortage_warning(Some(3999), 2, &config).unwrap();
        assert!(warning.contains("4000 file descriptors, and the limit is 3999"), "{warning}");
    }
}
