//! Comparison of the certificate and key in place with the journal and the configuration.

use crate::lifetime::{CertificateInfo, Origin};
use crate::machine::{CertificateSpec, State};
use crate::time::Time;
use std::fmt;

/// Certificate and private key in place, as read from the store.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoredPair {
    /// The certificate's folder does not exist or contains neither file.
    Absent,
    /// The certificate chain is present, the private key is missing.
    WithoutKey,
    /// The private key is present, the certificate chain is missing.
    WithoutChain,
    /// A file cannot be read or parsed, with the reason.
    Unreadable(String),
    /// The private key does not match the certificate, whose properties are given.
    KeyMismatch(Box<CertificateInfo>),
    /// Chain and private key are present and match.
    Complete(Box<CertificateInfo>),
}

impl StoredPair {
    /// Returns the properties of the certificate in place if a key is in place too, even one that does not match.
    /// `None` if either is missing or cannot be read.
    #[must_use]
    pub fn info(&self) -> Option<&CertificateInfo> {
        match self {
            Self::KeyMismatch(info) | Self::Complete(info) => Some(info),
            Self::Absent | Self::WithoutKey | Self::WithoutChain | Self::Unreadable(_) => None,
        }
    }
}

/// Condition of the certificate and key in place, compared with the journal and the configuration. If several apply,
/// [`of`](Self::of) returns the first in the order of its checks: files, issuer, validity, revocation, identity,
/// configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Condition {
    /// There is neither certificate nor key, and the journal knows of none.
    Missing,
    /// A certificate was issued or lost before, but the folder is missing or contains neither file.
    FolderDeleted,
    /// The private key is missing.
    KeyMissing,
    /// The certificate chain is missing.
    ChainMissing,
    /// A file cannot be read or parsed, with the reason.
    Unreadable(String),
    /// The private key does not match the certificate.
    KeyMismatch,
    /// The certificate was not issued by a CA. The value is its origin.
    SelfSigned(Origin),
    /// The certificate has expired. The value is the end of its validity.
    Expired(Time),
    /// The certificate was revoked through this program, as the journal records.
    Revoked,
    /// The certificate is not the one in the journal (another serial number or public key), or the journal recorded the
    /// loss of its certificate. The value is the serial number of the certificate in place.
    Foreign(String),
    /// The certificate is the issued one, but the chain differs from the issued one.
    ChainAltered,
    /// The names differ from the configured ones. The value is the names in the certificate, separated by commas.
    WrongNames(String),
    /// The key type differs from the configured one. The value is the type of the key in place.
    WrongKeyType(String),
    /// The certificate in the journal was ordered with another ACME profile than the configured one.
    WrongProfile,
    /// The certificate was not issued by a configured CA. The value is the directory URL or the name of its CA.
    OtherIssuer(String),
    /// The certificate was issued by a staging environment, which clients do not trust.
    Staging,
    /// The certificate matches the journal and the configuration.
    Valid,
}

impl Condition {
    /// Compares the pair in place with the journal and the specification at the time `now`. While a certificate still
    /// has to be deployed, as after a roll-back, the pair in place is not compared with the issued one.
    #[must_use]
    pub fn of(spec: &CertificateSpec, state: &State, stored: &StoredPair, now: Time) -> Self {
        let info = match stored {
            StoredPair::Absent if state.held.is_some() || state.lost.is_some() => return Self::FolderDeleted,
            StoredPair::Absent => return Self::Missing,
            StoredPair::WithoutKey => return Self::KeyMissing,
            StoredPair::WithoutChain => return Self::ChainMissing,
            StoredPair::Unreadable(reason) => return Self::Unreadable(reason.clone()),
            StoredPair::KeyMismatch(_) => return Self::KeyMismatch,
            StoredPair::Complete(info) => info,
        };
        if info.origin != Origin::Authority {
            return Self::SelfSigned(info.origin);
        }
        if info.not_after <= now {
            return Self::Expired(info.not_after);
        }
        if state.revoked.as_ref() == Some(&info.serial) {
            return Self::Revoked;
        }
        // After a roll-back the previous certificate is in place.
        if let Some(issued) = state.held.as_ref().filter(|_| !state.undeployed) {
            if info.serial != issued.serial || info.public_key != issued.public_key {
                return Self::Foreign(info.serial.clone());
            }
            if info.chain.is_some() && issued.chain.is_some() && info.chain != issued.chain {
                return Self::ChainAltered;
            }
        }
        // A journal that lost its certificate cannot identify the one in place.
        if state.lost.is_some() {
            return Self::Foreign(info.serial.clone());
        }
        let requirements = spec.requirements();
        if info.names != requirements.names {
            let names: Vec<&str> = info.names.iter().map(crate::Name::as_str).collect();
            return Self::WrongNames(names.join(", "));
        }
        if info.key_type != requirements.key_type {
            return Self::WrongKeyType(info.key_type.clone());
        }
        // CA and profile of the order are recorded in the journal only.
        let known = state.held.as_ref().filter(|held| held.serial == info.serial).unwrap_or(info);
        let mut known = known.clone();
        known.issuer.clone_from(&info.issuer);
        let other = requirements.other_authority(&known);
        if known.is_staging() {
            return Self::Staging;
        }
        if let Some(other) = other {
            return Self::OtherIssuer(other);
        }
        if state.held.is_some() && known.profile.as_deref() != requirements.profile {
            return Self::WrongProfile;
        }
        Self::Valid
    }

    /// Returns the condition for which the previous pair must not be put in place again by a roll-back: it is incomplete,
    /// damaged or self-signed, has expired, or was revoked through this program. `None` if it can be served.
    pub(crate) fn flaw_of_previous(
        spec: &CertificateSpec,
        state: &State,
        previous: &StoredPair,
        now: Time,
    ) -> Option<Self> {
        // It is not the issued certificate.
        let unrelated = State { revoked: state.revoked.clone(), ..State::default() };
        let condition = Self::of(spec, &unrelated, previous, now);
        (!condition.is_usable() && condition != Self::Staging).then_some(condition)
    }

    /// Returns the stable, machine-readable name: `valid`, `missing`, `folder_deleted`, `key_missing` and so on;
    /// `placeholder`, `minica` or `self_signed` for a certificate that no CA issued.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::FolderDeleted => "folder_deleted",
            Self::KeyMissing => "key_missing",
            Self::ChainMissing => "chain_missing",
            Self::Unreadable(_) => "unreadable",
            Self::KeyMismatch => "key_mismatch",
            Self::SelfSigned(Origin::Placeholder) => "placeholder",
            Self::SelfSigned(Origin::Minica) => "minica",
            Self::SelfSigned(_) => "self_signed",
            Self::Expired(_) => "expired",
            Self::Revoked => "revoked",
            Self::Foreign(_) => "foreign",
            Self::ChainAltered => "chain_altered",
            Self::WrongNames(_) => "wrong_names",
            Self::WrongKeyType(_) => "wrong_key_type",
            Self::WrongProfile => "wrong_profile",
            Self::OtherIssuer(_) => "other_issuer",
            Self::Staging => "staging",
            Self::Valid => "valid",
        }
    }

    /// Returns `true` if the pair in place can be served: it is complete, was issued by a CA, and has neither expired
    /// nor been revoked. It may differ from the journal and the configuration. `false` for [`Staging`](Self::Staging);
    /// a staging certificate that also differs from the issued one or in its names or key type has that condition.
    #[must_use]
    pub const fn is_usable(&self) -> bool {
        match self {
            Self::Valid
            | Self::Foreign(_)
            | Self::ChainAltered
            | Self::WrongNames(_)
            | Self::WrongKeyType(_)
            | Self::WrongProfile
            | Self::OtherIssuer(_) => true,
            Self::Missing
            | Self::FolderDeleted
            | Self::KeyMissing
            | Self::ChainMissing
            | Self::Unreadable(_)
            | Self::KeyMismatch
            | Self::SelfSigned(_)
            | Self::Expired(_)
            | Self::Revoked
            | Self::Staging => false,
        }
    }

    /// Returns `true` if the pair in place is missing, damaged, self-signed or not the issued one, so that the issued
    /// one has to be restored or replaced. `false` for [`Missing`](Self::Missing), where none was issued.
    pub(crate) const fn is_lost(&self) -> bool {
        match self {
            Self::FolderDeleted
            | Self::KeyMissing
            | Self::ChainMissing
            | Self::Unreadable(_)
            | Self::KeyMismatch
            | Self::SelfSigned(_)
            | Self::Foreign(_)
            | Self::ChainAltered => true,
            Self::Missing
            | Self::Expired(_)
            | Self::Revoked
            | Self::WrongNames(_)
            | Self::WrongKeyType(_)
            | Self::WrongProfile
            | Self::OtherIssuer(_)
            | Self::Staging
            | Self::Valid => false,
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("there is no certificate yet"),
            Self::FolderDeleted => f.write_str("the folder was deleted"),
            Self::KeyMissing => f.write_str("key.pem is gone"),
            Self::ChainMissing => f.write_str("fullchain.pem is gone"),
            Self::Unreadable(reason) => write!(f, "unreadable: {reason}"),
            Self::KeyMismatch => f.write_str("key.pem belongs to another certificate"),
            Self::SelfSigned(origin) => write!(f, "{origin}"),
            Self::Expired(at) => write!(f, "expired {at}"),
            Self::Revoked => f.write_str("revoked"),
            Self::Foreign(serial) => write!(f, "not the certificate that was issued (serial {serial})"),
            Self::ChainAltered => f.write_str("the chain was changed"),
            Self::WrongNames(names) => write!(f, "for other names: {names}"),
            Self::WrongKeyType(kind) => write!(f, "another key type: {kind}"),
            Self::WrongProfile => f.write_str("another profile"),
            Self::OtherIssuer(other) => write!(f, "issued by {other}"),
            Self::Staging => f.write_str("issued by a staging environment"),
            Self::Valid => f.write_str("valid"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Record;
    use crate::time::DAY;

    const NOW: Time = Time::from_secs(1_800_000_000);

    fn spec() -> CertificateSpec {
        let mut spec = CertificateSpec::new(["a.test".parse().expect("a name")], "ca");
        spec.directories.insert("ca".into(), "https://ca.test/dir".into());
        spec
    }

    fn issued() -> CertificateInfo {
        let mut info = CertificateInfo::new(spec().names, NOW.before(DAY), NOW.after(DAY * 80));
        info.serial = "1".into();
        info.public_key = "k".into();
        info.authority = Some("ca".into());
        info.directory = Some("https://ca.test/dir".into());
        info.chain = Some("c".into());
        info
    }

    fn condition(stored: &StoredPair, change: impl FnOnce(&mut State)) -> Condition {
        let mut state = State { held: Some(issued()), ..State::default() };
        change(&mut state);
        Condition::of(&spec(), &state, stored, NOW)
    }

    fn complete(change: impl FnOnce(&mut CertificateInfo)) -> StoredPair {
        // As it is read from a file: nothing is known of its order.
        let mut info = issued();
        (info.authority, info.directory) = (Some(String::new()), None);
        change(&mut info);
        StoredPair::Complete(Box::new(info))
    }

    #[test]
    fn each_condition() {
        let same = complete(|_| {});
        assert_eq!(condition(&same, |_| {}), Condition::Valid);
        for (stored, wanted) in [
            (StoredPair::Absent, "folder_deleted"),
            (StoredPair::WithoutKey, "key_missing"),
            (StoredPair::WithoutChain, "chain_missing"),
            (StoredPair::Unreadable(String::new()), "unreadable"),
            (StoredPair::KeyMismatch(Box::new(issued())), "key_mismatch"),
            (complete(|info| info.origin = Origin::Placeholder), "placeholder"),
            (complete(|info| info.origin = Origin::Minica), "minica"),
            (complete(|info| info.origin = Origin::SelfSigned), "self_signed"),
            (complete(|info| info.not_after = NOW), "expired"),
            (complete(|info| info.serial = "2".into()), "foreign"),
            (complete(|info| info.public_key = "other".into()), "foreign"),
            (complete(|info| info.chain = Some("d".into())), "chain_altered"),
        ] {
            let found = condition(&stored, |_| {});
            assert_eq!(found.as_str(), wanted);
            assert!(found.is_lost() || wanted == "expired", "{wanted}");
            // Without a journal, only an empty folder is one in which nothing was issued yet.
            let missing = condition(&stored, |state| state.held = None) == Condition::Missing;
            assert_eq!(missing, stored == StoredPair::Absent, "{wanted}");
        }
        assert_eq!(condition(&StoredPair::Absent, |state| state.held = None), Condition::Missing);
        assert_eq!(condition(&same, |state| state.revoked = Some("1".into())), Condition::Revoked);
        assert_eq!(condition(&same, |state| state.lost = Some("gone".into())).as_str(), "foreign");
        // A certificate that was revoked stays so after it was replaced, or lost.
        let replaced = |record: Record| {
            let revoked = Record::Revoked { at: NOW, serial: "1".into(), compromised_key: None };
            let state = State::replay([&revoked, &record]);
            let undeployed = State { undeployed: true, ..state };
            Condition::of(&spec(), &undeployed, &same, NOW)
        };
        let mut other = issued();
        other.serial = "2".into();
        assert_eq!(replaced(Record::Installed { at: NOW, held: Box::new(other) }), Condition::Revoked);
        assert_eq!(replaced(Record::Lost { at: NOW, why: "gone".into() }), Condition::Revoked);
        let with = |change: &dyn Fn(&mut CertificateInfo)| {
            let stored = complete(|info| change(info));
            let state = State { held: None, ..State::default() };
            Condition::of(&spec(), &state, &stored, NOW).as_str()
        };
        assert_eq!(with(&|info| info.names.clear()), "wrong_names");
        assert_eq!(with(&|info| info.key_type = "rsa2048".into()), "wrong_key_type");
        assert_eq!(with(&|info| info.issuer = "(STAGING) x".into()), "staging");
        let other = |state: &mut State| {
            if let Some(held) = &mut state.held {
                held.directory = Some("https://other.test/dir".into());
            }
        };
        assert_eq!(condition(&same, other).as_str(), "other_issuer");
    }
}
