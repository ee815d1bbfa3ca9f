//! Replay of a journal to a state.

use super::attempt::Attempt;
use super::error::ErrorKind;
use super::journal::{Record, State};
use crate::time::Time;

impl State {
    /// Returns the state after all records of a journal, oldest first.
    pub fn replay<'r>(records: impl IntoIterator<Item = &'r Record>) -> Self {
        let mut state = Self::default();
        for record in records {
            state.apply(record);
        }
        state
    }

    /// Applies one further record, which must follow those applied before.
    pub fn apply(&mut self, record: &Record) {
        match record {
            Record::State(state) => *self = (**state).clone(),
            Record::Ari(ari) => self.ari = Some(ari.clone()),
            Record::Began { at, authority, replaces, request, .. } => {
                (self.until, self.paused_at) = (None, None);
                self.last_request.clone_from(request);
                self.attempt = Some(Attempt {
                    began: *at,
                    authority: authority.clone(),
                    replaces: replaces.clone(),
                    request: request.clone(),
                    ..Attempt::default()
                });
            }
            Record::Abandoned { .. } => {
                self.attempt = None;
                (self.until, self.paused_at) = (None, None);
                (self.failures, self.last_error, self.last_error_kind) = (0, None, None);
            }
            Record::Lost { why, .. } => {
                (self.held, self.ari) = (None, None);
                (self.url, self.restoring) = (None, false);
                (self.undeployed, self.roll_backs, self.deploy_failures) = (false, 0, 0);
                (self.deploy_until, self.deploy_paused_at, self.deploy_error) = (None, None, None);
                self.lost = Some(why.clone());
            }
            Record::Restoring { .. } => self.restoring = true,
            Record::Restored { .. } => {
                (self.restoring, self.undeployed) = (false, true);
                (self.deploy_until, self.deploy_paused_at, self.deploy_error) = (None, None, None);
                self.deploy_failures = 0;
            }
            Record::Revoked { serial, compromised_key, .. } => {
                self.reject(compromised_key.clone());
                self.revoked = Some(serial.clone());
                (self.until, self.paused_at) = (None, None);
            }
            Record::Undeployed { at, why, until, deployment } => {
                (self.deploy_until, self.deploy_paused_at) = (Some(*until), Some(*at));
                self.failed_deployment.clone_from(deployment);
                self.deploy_error = Some(why.clone());
                self.deploy_failures = self.deploy_failures.saturating_add(1);
            }
            Record::Key { public_key } => self.of_attempt(|attempt| attempt.key = Some(public_key.clone())),
            Record::Ordering { .. } => self.of_attempt(|attempt| attempt.ordering = true),
            Record::Ordered { url } => self.of_attempt(|attempt| attempt.order = Some(url.clone())),
            Record::Publishing(txt) => {
                if !self.txt.iter().any(|known| known.value == txt.value && known.name == txt.name) {
                    self.txt.push(txt.clone());
                }
            }
            Record::Published { value, id } => {
                for txt in self.txt.iter_mut().filter(|txt| txt.value == *value) {
                    txt.published = true;
                    txt.id.clone_from(id);
                }
            }
            Record::Removed { value } => self.txt.retain(|txt| txt.value != *value),
            Record::Triggering { authorization } => {
                self.of_attempt(|attempt| {
                    attempt.triggered.insert(authorization.clone());
                });
            }
            Record::Finalizing => self.of_attempt(|attempt| attempt.finalizing = true),
            Record::Issued { url } => self.of_attempt(|attempt| attempt.issued = Some(url.clone())),
            Record::Installed { held, .. } => {
                self.held = Some((**held).clone());
                self.url = self.attempt.take().and_then(|attempt| attempt.issued);
                self.restoring = false;
                self.ari = None;
                self.undeployed = true;
                (self.roll_backs, self.failures, self.deploy_failures) = (0, 0, 0);
                (self.until, self.deploy_until) = (None, None);
                (self.paused_at, self.deploy_paused_at) = (None, None);
                (self.last_error, self.last_error_kind, self.deploy_error) = (None, None, None);
                self.lost = None;
            }
            Record::Failed { at, why, until, kind } => {
                let key = self.attempt.take().and_then(|attempt| attempt.key);
                self.reject(key.filter(|_| *kind == Some(ErrorKind::KeyRefused)));
                self.fail(*at, why, *until, *kind);
            }
            Record::Stalled { at, until, pending: true, .. } => {
                (self.until, self.paused_at) = (Some(*until), Some(*at));
            }
            Record::Stalled { at, why, until, kind, pending: false } => self.fail(*at, why, *until, *kind),
            Record::Deployed { .. } => {
                self.undeployed = false;
                (self.roll_backs, self.deploy_failures) = (0, 0);
                (self.deploy_until, self.deploy_paused_at, self.deploy_error) = (None, None, None);
            }
            Record::RolledBack { at, why, until, deployment } => {
                self.roll_backs = self.roll_backs.saturating_add(1);
                self.failed_deployment.clone_from(deployment);
                (self.deploy_until, self.deploy_paused_at) = (Some(*until), Some(*at));
                self.deploy_error = Some(why.clone());
            }
        }
    }

    /// Records that the key with this digest is not used again, as one of the last eight. No effect without one.
    fn reject(&mut self, key: Option<String>) {
        self.rejected_keys.extend(key);
        let older = self.rejected_keys.len().saturating_sub(8);
        self.rejected_keys.drain(..older);
    }

    /// Counts a failed or suspended attempt, and records its reason and the pause until the next one.
    fn fail(&mut self, at: Time, why: &str, until: Time, kind: Option<ErrorKind>) {
        self.failures = self.failures.saturating_add(1);
        (self.until, self.paused_at) = (Some(until), Some(at));
        (self.last_error, self.last_error_kind) = (Some(why.to_owned()), kind);
    }

    /// Changes the attempt in progress. No effect without one.
    fn of_attempt(&mut self, change: impl FnOnce(&mut Attempt)) {
        if let Some(attempt) = &mut self.attempt {
            change(attempt);
        }
    }
}
