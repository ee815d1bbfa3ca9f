//! Repeated download of an issued certificate whose chain was lost or damaged while its key is present.

use super::{AcmeError, Action, CertificateSpec, ErrorKind, Machine, Phase, Record, State};
use crate::condition::{Condition, StoredPair};
use crate::time::Time;

/// Retries after transient errors, after which a new certificate is ordered instead.
const MAX_RETRIES: u32 = 3;

impl State {
    /// Returns the authority and the URL from which the issued certificate can be downloaded again. `None` if its key
    /// is lost, the URL is not known, the authority is not configured any more, or the certificate does not meet the
    /// specification, is due for renewal, was revoked, or was rolled back.
    #[must_use]
    pub fn restorable(
        &self,
        spec: &CertificateSpec,
        condition: &Condition,
        now: Time,
    ) -> Option<(&str, &str)> {
        // Without its private key a chain is useless.
        if matches!(condition, Condition::FolderDeleted | Condition::KeyMissing) {
            return None;
        }
        let held = self.held.as_ref()?;
        let authority = held.authority.as_deref().filter(|authority| !authority.is_empty())?;
        let url = self.url.as_deref()?;
        let wanted = self.refused == 0 && self.revoked.as_ref() != Some(&held.serial);
        let due =
            crate::lifetime::due(Some(held), self.ari.as_ref(), &spec.requirements(), &spec.renewal_policy);
        (wanted && now < due.at && spec.authorities.iter().any(|name| name == authority))
            .then_some((authority, url))
    }
}

impl Machine {
    /// Enters [`Phase::Restore`] if the lost certificate can be downloaded again; otherwise records the loss, so that a
    /// new one is ordered. `condition` is the condition of the pair in place.
    pub(super) fn replace_lost(&mut self, condition: &Condition, now: Time) {
        let why = condition.to_string();
        if self.state.restorable(&self.spec, condition, now).is_none() {
            return self.write(Record::Lost { at: now, why });
        }
        if !self.state.restoring {
            self.write(Record::Restoring { at: now, why });
        }
        self.phase = Phase::Restore;
    }

    /// Returns the action that downloads the certificate again by its recorded URL.
    pub(super) fn restore(&self) -> Action {
        let held = self.state.held.as_ref();
        let authority = held.and_then(|held| held.authority.clone()).unwrap_or_default();
        Action::Restore { authority, url: self.state.url.clone().unwrap_or_default() }
    }

    /// Handles an error of the restoration: retries a transient one, at most `MAX_RETRIES` times; otherwise records the
    /// loss, so that a new certificate is ordered.
    pub(super) fn restore_error(&mut self, error: AcmeError, now: Time) {
        if error.kind == ErrorKind::Transient && self.tries < MAX_RETRIES {
            return self.pause(now, error);
        }
        self.write(Record::Lost { at: now, why: format!("it cannot be restored: {}", error.reason) });
        self.rest(now);
    }

    /// Returns `true` if the restored pair is in place, but the journal does not record the restoration yet.
    pub(super) fn restored(&self) -> bool {
        let issued = self.state.held.as_ref().map(|held| &held.serial);
        let in_place = match &self.stored {
            Some(StoredPair::Complete(info)) => Some(&info.serial),
            _ => None,
        };
        self.state.restoring && issued.is_some() && in_place == issued
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifetime::{CertificateInfo, Origin};
    use crate::time::DAY;

    const NOW: Time = Time::from_secs(1_800_000_000);

    #[test]
    fn what_is_worth_a_download() {
        let spec = CertificateSpec::new(["a.test".parse().expect("a name")], "ca");
        let state = |change: &dyn Fn(&mut State)| {
            let mut held = CertificateInfo::new(spec.names.clone(), NOW.before(DAY), NOW.after(DAY * 80));
            spec.key_type.as_str().clone_into(&mut held.key_type);
            held.authority = Some("ca".into());
            held.serial = "1".into();
            let url = Some("https://ca.test/1".into());
            let mut state = State { held: Some(held), url, ..State::default() };
            change(&mut state);
            state
        };
        let restorable = |change: &dyn Fn(&mut State), condition: &Condition| {
            state(change).restorable(&spec, condition, NOW).is_some()
        };
        let chain = Condition::ChainMissing;
        assert!(restorable(&|_| {}, &chain));
        assert!(restorable(&|_| {}, &Condition::SelfSigned(Origin::Placeholder)));
        // Its key is gone.
        assert!(
            !restorable(&|_| {}, &Condition::KeyMissing) && !restorable(&|_| {}, &Condition::FolderDeleted)
        );
        assert!(!restorable(&|state| state.url = None, &chain), "an old journal");
        assert!(!restorable(&|state| state.revoked = Some("1".into()), &chain));
        assert!(!restorable(&|state| state.refused = 1, &chain), "a server refused to serve it");
        let of = |state: &mut State, change: &dyn Fn(&mut CertificateInfo)| {
            if let Some(held) = &mut state.held {
                change(held);
            }
        };
        assert!(!restorable(&|state| of(state, &|held| held.authority = Some("other".into())), &chain));
        assert!(!restorable(&|state| of(state, &|held| held.authority = Some(String::new())), &chain));
        assert!(!restorable(&|state| of(state, &|held| held.key_type = "rsa2048".into()), &chain));
        // It is due for renewal anyway.
        assert!(!restorable(&|state| of(state, &|held| held.not_after = NOW.after(DAY)), &chain));
    }
}
