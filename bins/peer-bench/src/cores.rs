//! The processor cores of the measurement.

/// The core of the measured proxy.
pub(crate) const PROXY_CORE: &str = "0";
/// The core of the load generator and the origin.
pub(crate) const LOAD_CORE: &str = "1";

/// Pins the calling thread to these cores.
pub(crate) fn pin_this_thread(cores: &str) {
    let mut set = rustix::thread::CpuSet::new();
    for core in cores.split(',').filter_map(|core| core.parse().ok()) {
        set.set(core);
    }
    // A failure only makes the figures noisier.
    let _ = rustix::thread::sched_setaffinity(None, &set);
}
