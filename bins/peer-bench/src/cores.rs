//! Processor cores of the measurement.

/// Core of the measured proxy.
pub(crate) const PROXY_CORE: &str = "0";
/// Core of the load generator and the origin.
pub(crate) const LOAD_CORE: &str = "1";

/// Pins the calling thread to these cores, numbers separated by commas. A failure is ignored.
pub(crate) fn pin_this_thread(cores: &str) {
    let mut set = rustix::thread::CpuSet::new();
    for core in cores.split(',').filter_map(|core| core.parse().ok()) {
        set.set(core);
    }
    // A failure only makes the figures less exact.
    let _ = rustix::thread::sched_setaffinity(None, &set);
}
