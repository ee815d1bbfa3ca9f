//! The state of the renewals as the status reports it: the certificates that are held back.

use super::{AcmeSection, CertificateRenewer};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The state of the ACME engine of the process.
#[derive(Clone)]
enum RenewalState {
    /// The engine is being prepared. Nothing is known yet.
    Starting,
    /// The engine has not started. The text is the reason.
    Failed(String),
    /// The engine runs.
    Running(Arc<CertificateRenewer>),
}

/// The renewals of `[acme]`, shared by the task that runs them and the status.
#[derive(Clone)]
pub(crate) struct Renewals {
    /// The ids of the certificates of the section.
    certificates: Arc<[String]>,
    state: Arc<Mutex<RenewalState>>,
}

impl Renewals {
    /// Creates the renewals of a section, of which none is held back yet.
    pub(crate) fn new(section: &AcmeSection) -> Self {
        Self { certificates: section.ids().into(), state: Arc::new(Mutex::new(RenewalState::Starting)) }
    }

    /// Records that the engine has not started, for the reason `why`.
    pub(crate) fn fail(&self, why: &str) {
        self.set(RenewalState::Failed(why.to_owned()));
    }

    /// Records the engine that runs.
    pub(crate) fn run(&self, renewer: &Arc<CertificateRenewer>) {
        self.set(RenewalState::Running(renewer.clone()));
    }

    /// Replaces the state.
    fn set(&self, state: RenewalState) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    /// Returns all certificates of the section by id, each with the reason why nothing is ordered for it. The reason is
    /// `None` if the certificate is not held back, and for all while the engine is being prepared.
    pub(crate) fn held_back(&self) -> BTreeMap<String, Option<String>> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let blocked = match &state {
            RenewalState::Running(renewer) => renewer.blocked(),
            _ => BTreeMap::new(),
        };
        let reason = |id: &String| match &state {
            RenewalState::Starting => None,
            RenewalState::Failed(why) => Some(why.clone()),
            RenewalState::Running(_) => blocked.get(id).map(ToString::to_string),
        };
        self.certificates.iter().map(|id| (id.clone(), reason(id))).collect()
    }

    /// Returns the parts of the section whose secrets or files could not be read when the engine was built, each with
    /// the reason why it is not ready; `None` if it is by now. Empty unless the engine runs.
    pub(crate) fn parts(&self) -> Vec<(String, Option<String>)> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match &state {
            RenewalState::Running(renewer) => renewer.parts(),
            RenewalState::Starting | RenewalState::Failed(_) => Vec::new(),
        }
    }
}
