//! What a running proxy does, for whoever looks after it: a page, metrics for Prometheus, JSON, and the `status` command.
//! It is served where nobody else can reach it.

mod chart;
mod history;
mod page;
mod report;
mod serve;

pub(crate) use history::{History, STEP};
pub(crate) use report::Report;
/// How numbers are shown.
pub(crate) mod shown {
    pub(crate) use super::report::{bound, bytes, duration};
}
pub(crate) use serve::{Listener, run, run_later};

use crate::log::Writer;
use edge_proxy::{Certificates, ProxyHandle};
use std::sync::{Arc, Mutex, PoisonError};

/// What the page is made of.
pub(crate) struct Watched {
    pub(crate) proxy: Arc<ProxyHandle>,
    pub(crate) certificates: Option<Arc<Certificates>>,
    pub(crate) log: Arc<Writer>,
    pub(crate) history: Mutex<History>,
}

impl Watched {
    /// Everything as it is now.
    pub(crate) fn report(&self) -> Report {
        let certificates = self.certificates.as_ref().map(|found| found.list()).unwrap_or_default();
        Report::new(&self.proxy.metrics(), &self.proxy.config(), &certificates, self.log.lost())
    }

    /// Remembers the counters of this moment.
    pub(crate) fn sample(&self) {
        let metrics = self.proxy.metrics();
        self.history.lock().unwrap_or_else(PoisonError::into_inner).add(&metrics);
    }
}
