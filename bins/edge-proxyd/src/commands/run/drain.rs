//! The shutdown of the process, after the requests in flight.

use super::supervise::Signals;
use edge_proxy::ProxyHandle;
use std::io;
use std::time::Duration;

/// Shuts the proxy down, and waits until the requests in flight are finished, at most for `grace`. If SIGTERM or SIGINT
/// arrives meanwhile, it waits at most for `stop` from then on. Blocks the thread.
///
/// # Errors
/// A runtime, thread or signal handler could not be created.
pub(super) fn drain(proxy: ProxyHandle, grace: Duration, stop: Duration) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (done, mut ended) = tokio::sync::oneshot::channel();
    std::thread::Builder::new().name("drain".into()).spawn(move || {
        proxy.shutdown(grace);
        let _ = done.send(());
    })?;
    runtime.block_on(async {
        let mut signals = Signals::new()?;
        tokio::select! {
            _ = &mut ended => {}
            () = signals.stop() => drop(tokio::time::timeout(stop, ended).await),
        }
        Ok(())
    })
}
