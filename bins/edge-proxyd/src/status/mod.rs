//! The state of a running proxy for its administrator: a page, Prometheus metrics, JSON, and the command `status`. It
//! is not reachable from other hosts.

mod chart;
mod history;
mod metrics;
mod page;
mod reloads;
mod report;
mod serve;

pub(crate) use history::{History, STEP};
pub(crate) use reloads::Reloads;
pub(crate) use report::Report;
use report::{HeldBackCertificate, UnreadyPart};
/// Functions that format numbers for the page and the command `status`.
pub(crate) mod shown {
    pub(crate) use super::report::{bound, bytes, duration, state};
}
pub(crate) use serve::{StatusListener, run, run_later};

use crate::acme::Renewals;
use crate::log::Writer;
use edge_proxy::{Certificates, ProxyHandle};
use std::sync::{Arc, Mutex, PoisonError};

/// The parts of the process on which the status page reports.
pub(crate) struct StatusSources {
    /// The running proxy.
    pub(crate) proxy: Arc<ProxyHandle>,
    /// The server certificates. `None` if none are configured.
    pub(crate) certificates: Option<Arc<Certificates>>,
    /// The access log, for the number of lost lines.
    pub(crate) log: Arc<Writer>,
    /// The samples of the last hour.
    pub(crate) history: Mutex<History>,
    /// The outcome of the last reload and the time of the last successful one.
    pub(crate) reloads: Reloads,
    /// The renewals of `[acme]`. `None` without that section.
    pub(crate) renewals: Option<Renewals>,
}

impl StatusSources {
    /// Returns a report of the current state.
    pub(crate) fn report(&self) -> Report {
        let certificates = self.certificates.as_ref().map(|found| found.list()).unwrap_or_default();
        let mut report = Report::new(
            &self.proxy.metrics(),
            &self.proxy.config(),
            &certificates,
            &self.proxy.listeners(),
            self.log.lost(),
        );
        report.held_back = self.held_back();
        report.not_ready = self.not_ready();
        report
    }

    /// Returns the certificates of `[acme]` that are held back, each with the reason.
    fn held_back(&self) -> Vec<HeldBackCertificate> {
        let all = self.renewals.iter().flat_map(Renewals::held_back);
        all.filter_map(|(certificate, reason)| Some(HeldBackCertificate { certificate, reason: reason? }))
            .collect()
    }

    /// Returns the parts of `[acme]` that are not ready, each with the reason and the consequence.
    fn not_ready(&self) -> Vec<UnreadyPart> {
        let all = self.renewals.iter().flat_map(Renewals::parts);
        all.filter_map(|(part, reason)| Some(UnreadyPart { part, reason: reason? })).collect()
    }

    /// Adds a sample of the current counters to the history.
    pub(crate) fn sample(&self) {
        let metrics = self.proxy.metrics();
        self.history.lock().unwrap_or_else(PoisonError::into_inner).add(&metrics);
    }
}
