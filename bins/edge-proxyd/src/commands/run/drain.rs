//! The shutdown of the process, after the requests in flight.

use super::supervise::Signals;
use edge_proxy::{ProxyHandle, ShutdownReport};
use std::io;
use std::time::Duration;

/// Shuts the proxy down, and waits until the requests in flight are finished, at most for `grace`. If SIGTERM or SIGINT
/// arrives meanwhile, it waits at most for `stop` from then on. Returns what was aborted, or `None` if the time after the
/// signal did not suffice. Blocks the thread.
///
/// # Errors
/// A runtime, thread or signal handler could not be created.
pub(super) fn drain(
    proxy: ProxyHandle,
    grace: Duration,
    stop: Duration,
) -> io::Result<Option<ShutdownReport>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (done, mut ended) = tokio::sync::oneshot::channel();
    std::thread::Builder::new().name("drain".into()).spawn(move || {
        let _ = done.send(proxy.shutdown(grace));
    })?;
    runtime.block_on(async {
        let mut signals = Signals::new()?;
        Ok(tokio::select! {
            report = &mut ended => report.ok(),
            () = signals.stop() => tokio::time::timeout(stop, ended).await.ok().and_then(Result::ok),
        })
    })
}
