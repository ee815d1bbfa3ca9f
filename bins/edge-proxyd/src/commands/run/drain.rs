//! The end of a process: requests in flight are finished.

use super::supervise::Signals;
use edge_proxy::ProxyHandle;
use std::io;
use std::time::Duration;

/// Finishes the requests in flight for as long as `grace`. If the service is stopped meanwhile, for `stop` at most from then
/// on.
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
