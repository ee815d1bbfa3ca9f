//! Repeated download of an issued certificate whose chain was lost or damaged while its key is present.

use super::context::Context;
use super::error::{AcmeError, ErrorKind};
use super::journal::{Record, State};
use super::protocol::Action;
use super::spec::CertificateSpec;
use crate::condition::Condition;
use crate::time::Time;

/// Retries after transient errors, after which a new certificate is ordered instead.
const MAX_RETRIES: u32 = 3;

impl State {
    /// Returns the configured name of the authority and the URL from which the issued certificate can be downloaded
    /// again. `condition` is that of the pair in place. `None` if the key is missing there, the URL is not known, the
    /// authority is not configured any more, or the certificate does not meet the specification, is due for renewal,
    /// was revoked, or was rolled back.
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
        let wanted = self.roll_backs == 0 && self.revoked.as_ref() != Some(&held.serial);
        let due =
            crate::lifetime::due(Some(held), self.ari.as_ref(), &spec.requirements(), &spec.renewal_policy);
        (wanted && now < due.at && spec.authorities.iter().any(|name| name == authority))
            .then_some((authority, url))
    }
}

/// Restoration of the issued certificate under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Restoration {
    /// Configured name of the authority that issued the certificate.
    pub(super) authority: String,
    /// URL of the certificate.
    url: String,
}

impl Restoration {
    /// Returns the restoration of a certificate whose pair in place has this condition. `None` if it has to be replaced
    /// by a new one, as [`State::restorable`] decides.
    pub(super) fn of(
        spec: &CertificateSpec,
        state: &State,
        condition: &Condition,
        now: Time,
    ) -> Option<Self> {
        let (authority, url) = state.restorable(spec, condition, now)?;
        Some(Self { authority: authority.to_owned(), url: url.to_owned() })
    }

    /// Returns the action that downloads the certificate again.
    pub(super) fn action(&self) -> Action {
        Action::Restore { authority: self.authority.clone(), url: self.url.clone() }
    }
}

/// Handles an error of the restoration. A transient one is retried, at most `MAX_RETRIES` times. Otherwise the loss is
/// recorded, so that a new certificate is ordered, and `false` is returned: the restoration has ended.
pub(super) fn continues_after(error: AcmeError, context: &mut Context, now: Time) -> bool {
    if error.kind == ErrorKind::Transient && context.backoff.tries() < MAX_RETRIES {
        context.retry(error, now);
        return true;
    }
    context.outbox.write(Record::Lost { at: now, why: format!("it cannot be restored: {}", error.reason) });
    false
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
        assert!(!restorable(&|state| state.roll_backs = 1, &chain), "a server refused to serve it");
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
