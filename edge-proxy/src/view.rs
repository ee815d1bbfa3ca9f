//! The configuration as served by one worker.

use super::runtime::Runtime;
use super::tailscale::WhoIs;
use super::upstream::{Pool, Pools, set_budget};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

/// A configuration as one worker serves it: with the worker's connection pools, one per upstream, and its client of
/// tailscaled. A reload creates a new view.
pub(crate) struct View {
    /// The configuration, shared with the other workers.
    pub(crate) runtime: Arc<Runtime>,
    /// The connection pools of the upstreams, in the order of the configuration.
    pub(crate) pools: Pools,
    /// The client of tailscaled. `None` if no tailnet is configured.
    pub(crate) whois: Option<Rc<WhoIs>>,
}

impl View {
    /// Creates the view of a runtime, and sets the worker's budget of upstream buffers. Pools, and the client of
    /// tailscaled, are taken over from the view `before` if their settings are unchanged; `None` if there is no
    /// earlier view.
    pub(crate) fn new(runtime: Arc<Runtime>, before: Option<&Self>) -> Rc<Self> {
        let config = runtime.snapshot().config();
        set_budget(config.limits.upstream_buffer);
        let before_by_name: HashMap<&str, &Rc<Pool>> = before
            .map(|view| view.pools.iter().map(|pool| (pool.upstream().name.as_str(), pool)).collect())
            .unwrap_or_default();
        let pools = config
            .upstreams
            .iter()
            .zip(&runtime.upstream_tls)
            .zip(&runtime.targets)
            .map(|((upstream, tls), targets)| {
                let kept = before_by_name.get(upstream.name.as_str()).copied();
                let kept = kept.filter(|pool| pool.serves(upstream, tls.as_ref(), &config.limits));
                kept.cloned().unwrap_or_else(|| {
                    Rc::new(Pool::new(upstream.clone(), targets, tls.clone(), &config.limits))
                })
            })
            .collect();
        let whois = config.tailnet.as_ref().map(|tailnet| {
            let kept = before.and_then(|view| view.whois.clone()).filter(|whois| whois.serves(tailnet));
            kept.unwrap_or_else(|| Rc::new(WhoIs::new(tailnet)))
        });
        Rc::new(Self { runtime, pools, whois })
    }
}
