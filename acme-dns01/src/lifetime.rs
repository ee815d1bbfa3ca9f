//! Renewal times of certificates, and their reasons.

use crate::name::Name;
use crate::time::{DAY, Time, format_duration};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Properties of a certificate, from its DER encoding and its order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct CertificateInfo {
    /// DNS names of the subjectAltName extension, sorted.
    pub names: Vec<Name>,
    /// Start of the validity period, inclusive (notBefore).
    pub not_before: Time,
    /// End of the validity period, inclusive (notAfter).
    pub not_after: Time,
    /// Serial number, in lowercase hexadecimal digits without leading zeros.
    pub serial: String,
    /// SHA-256 digest of the public key (SubjectPublicKeyInfo), in lowercase hexadecimal digits.
    pub public_key: String,
    /// Key type, as [`KeyType::as_str`](crate::KeyType::as_str) returns it.
    pub key_type: String,
    /// ARI identifier (RFC 9773 §4.1). `None` without an authority key identifier.
    pub ari: Option<String>,
    /// Configured name of the authority that issued the certificate. `None` for a self-signed one, empty if not known.
    pub authority: Option<String>,
    /// ACME profile of the order. `None` if it had none.
    pub profile: Option<String>,
    /// Directory URL of the authority that issued the certificate. `None` if not known.
    #[cfg_attr(feature = "serde", serde(default))]
    pub directory: Option<String>,
    /// Common name of the issuer, or its whole distinguished name if it has none.
    #[cfg_attr(feature = "serde", serde(default))]
    pub issuer: String,
    /// Kind of the issuer.
    #[cfg_attr(feature = "serde", serde(default))]
    pub origin: Origin,
    /// SHA-256 digest of the certificates of the chain in DER, concatenated, in lowercase hexadecimal digits. `None` if
    /// not known.
    #[cfg_attr(feature = "serde", serde(default))]
    pub chain: Option<String>,
}

/// Kind of the issuer of a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Origin {
    /// A certification authority.
    #[default]
    Authority,
    /// A placeholder that this crate generated, to be replaced by a certificate of a CA.
    Placeholder,
    /// A placeholder of NixOS, signed by minica, to be replaced by a certificate of a CA.
    Minica,
    /// Issuer and subject of the certificate are equal.
    SelfSigned,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Authority => "issued by a CA",
            Self::Placeholder => "self-signed by acme-dns01",
            Self::Minica => "issued by minica",
            Self::SelfSigned => "self-signed",
        })
    }
}

impl CertificateInfo {
    /// Creates the properties of a certificate with these names, which must be sorted, and this validity period. The
    /// key type is `ec256`; everything else is unknown.
    #[must_use]
    pub fn new(names: Vec<Name>, not_before: Time, not_after: Time) -> Self {
        Self {
            names,
            not_before,
            not_after,
            serial: String::new(),
            public_key: String::new(),
            key_type: "ec256".to_owned(),
            ari: None,
            authority: None,
            profile: None,
            directory: None,
            issuer: String::new(),
            origin: Origin::Authority,
            chain: None,
        }
    }

    /// Returns `true` if the issuer's name or the directory URL is that of a test environment, such as the staging
    /// environment of Let's Encrypt.
    #[must_use]
    pub fn is_staging(&self) -> bool {
        ["(STAGING)", "Fake LE", "STAGING "].iter().any(|mark| self.issuer.starts_with(mark))
            || self.directory.as_deref().is_some_and(is_staging_url)
    }

    /// Returns the length of the validity period.
    #[must_use]
    pub fn lifetime(&self) -> Duration {
        self.not_after.since(self.not_before)
    }
}

/// Renewal window suggested by the CA (RFC 9773 §4.2).
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct RenewalInfo {
    /// Start of the window.
    pub start: Time,
    /// End of the window.
    pub end: Time,
    /// URL of a page that explains the window, if the CA gives one.
    pub explanation: Option<String>,
}

/// Renewal information of one certificate, with the earliest time of the next query.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Ari {
    /// ARI identifier of the certificate.
    pub of: String,
    /// The suggested window. `None` if it was absent or malformed.
    pub info: Option<RenewalInfo>,
    /// Earliest time of the next query, at most a day after the previous one.
    pub next: Time,
}

impl Ari {
    /// Returns the time before which no further query may be made. `None` if a query may be made now: that time has
    /// come, or is more than a day ahead, as after a correction of the clock.
    #[must_use]
    pub fn next_query(&self, now: Time) -> Option<Time> {
        (now < self.next && self.next <= now.after(DAY)).then_some(self.next)
    }
}

/// Policy of renewal times.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RenewalPolicy {
    /// Part of the lifetime that remains at renewal without ARI, in thousandths, for lifetimes above ten days. Values
    /// above 1000 are treated as 1000. Default: 333.
    pub remaining: u16,
    /// Part of the lifetime that remains at renewal without ARI, in thousandths, for lifetimes of ten days or less.
    /// Values above 1000 are treated as 1000. Default: 500.
    pub remaining_short: u16,
    /// Position within the renewal window, in thousandths, 0 (start) to 1000 (end). Without ARI, it shifts the renewal
    /// by up to 2.5 % of the lifetime earlier or later. Different values spread the load of many certificates.
    pub turn: u16,
}

impl Default for RenewalPolicy {
    /// Returns the defaults: renewal with a third of the lifetime left, half of a short one, and in the middle of a
    /// renewal window.
    fn default() -> Self {
        Self { remaining: 333, remaining_short: 500, turn: 500 }
    }
}

/// Renewal time of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenewalTime {
    /// Time from which the certificate is due; 1970-01-01 for one that is due at once.
    pub at: Time,
    /// The reason for that time.
    pub reason: RenewalReason,
}

/// Reason for a renewal time.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RenewalReason {
    /// No certificate has been issued yet.
    Missing,
    /// The certificate in place was not issued by a CA.
    SelfSigned(Origin),
    /// The issued certificate is missing or cannot be used; the condition of the pair in place.
    Lost(String),
    /// The names differ from those required.
    Names,
    /// The key type differs from the one required.
    KeyType,
    /// The profile differs from the one required.
    Profile,
    /// The certificate was issued by an authority that is not configured for it; its configured name, directory URL or
    /// issuer.
    Authority(String),
    /// The certificate was revoked.
    Revoked,
    /// The user requested the renewal.
    Forced,
    /// The time is the policy's position within the renewal window of the CA.
    RenewalInfo(RenewalInfo),
    /// That position lies within the last tenth of the lifetime, so the beginning of that tenth is used.
    WindowTooLate(RenewalInfo),
    /// The time leaves this part of the lifetime.
    Lifetime(Duration),
}

/// Properties that the configuration requires of a certificate.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Requirements<'a> {
    /// Required names, sorted.
    pub names: &'a [Name],
    /// Key type, as [`KeyType::as_str`](crate::KeyType::as_str) returns it.
    pub key_type: &'a str,
    /// ACME profile, if any.
    pub profile: Option<&'a str>,
    /// Configured names of the authorities that may have issued the certificate. Any authority if empty.
    pub authorities: &'a [String],
    /// Directory URLs by the authority's configured name, as far as known. `None` if none is known.
    pub directories: Option<&'a BTreeMap<String, String>>,
}

impl<'a> Requirements<'a> {
    /// Creates requirements for these names and this key type, from any authority and without a profile.
    #[must_use]
    pub const fn new(names: &'a [Name], key_type: &'a str) -> Self {
        Self { names, key_type, profile: None, authorities: &[], directories: None }
    }

    /// Returns a description of the issuing authority if it is not among the required ones: its directory URL or
    /// configured name, or the issuer of a staging environment. `None` if it is among them, any is permitted, or it is
    /// not known.
    #[must_use]
    pub fn other_authority(&self, info: &CertificateInfo) -> Option<String> {
        if self.authorities.is_empty() {
            return None;
        }
        let url = |name: &String| self.directories.and_then(|all| all.get(name));
        let urls: Vec<&String> = self.authorities.iter().filter_map(url).collect();
        if info.is_staging()
            && urls.len() == self.authorities.len()
            && !urls.iter().any(|url| is_test_url(url))
        {
            return Some(format!("a staging environment ({})", info.issuer));
        }
        if let Some(directory) = &info.directory {
            let same = |name: &String| {
                url(name).map_or(info.authority.as_ref() == Some(name), |url| url == directory)
            };
            return (!self.authorities.iter().any(same)).then(|| directory.clone());
        }
        let name = info.authority.as_ref().filter(|name| !name.is_empty())?;
        (!self.authorities.contains(name)).then(|| name.clone())
    }
}

/// Returns `true` if a directory URL contains `staging`.
fn is_staging_url(url: &str) -> bool {
    url.contains("staging")
}

/// Returns `true` for a directory URL that names this host or contains `staging`, whose CA may issue from test roots.
fn is_test_url(url: &str) -> bool {
    is_staging_url(url) || ["localhost", "127.0.0.1", "[::1]"].iter().any(|host| url.contains(host))
}

/// Returns the time from which a certificate is due for renewal, with the reason.
///
/// A certificate that is missing, not from a CA, or not as required is due at once. Otherwise the policy's position
/// within the CA's renewal window decides, if the window is valid (`start < end`) and for this certificate, but a tenth
/// of the lifetime is reserved for retries. Without a window, the policy's part of the lifetime decides.
#[must_use]
pub fn due(
    held: Option<&CertificateInfo>,
    ari: Option<&Ari>,
    requirements: &Requirements<'_>,
    policy: &RenewalPolicy,
) -> RenewalTime {
    let at_once = |reason| RenewalTime { at: Time::default(), reason };
    let Some(held) = held else { return at_once(RenewalReason::Missing) };
    if held.origin != Origin::Authority {
        return at_once(RenewalReason::SelfSigned(held.origin));
    }
    if held.names != requirements.names {
        return at_once(RenewalReason::Names);
    }
    if held.key_type != requirements.key_type {
        return at_once(RenewalReason::KeyType);
    }
    if held.profile.as_deref() != requirements.profile {
        return at_once(RenewalReason::Profile);
    }
    if let Some(other) = requirements.other_authority(held) {
        return at_once(RenewalReason::Authority(other));
    }
    let lifetime = held.lifetime();
    let part = |thousandths: u16| {
        Duration::from_millis(
            (lifetime.as_millis() * u128::from(thousandths.min(1000)) / 1000).try_into().unwrap_or(u64::MAX),
        )
    };
    let info = ari
        .filter(|ari| held.ari.as_deref() == Some(&ari.of))
        .and_then(|ari| ari.info.clone())
        .filter(|info| info.start < info.end);
    if let Some(info) = info {
        let width = info.end.since(info.start).as_millis() * u128::from(policy.turn.min(1000)) / 1000;
        let turn = info.start.after(Duration::from_millis(width.try_into().unwrap_or(u64::MAX)));
        let latest = held.not_after.before(part(100));
        return if turn > latest {
            RenewalTime { at: latest, reason: RenewalReason::WindowTooLate(info) }
        } else {
            RenewalTime { at: turn, reason: RenewalReason::RenewalInfo(info) }
        };
    }
    let short = lifetime <= Duration::from_secs(10 * 86_400);
    let remaining = part(if short { policy.remaining_short } else { policy.remaining });
    // The renewal is shifted by up to half of a twentieth of the lifetime to either side, so that certificates ordered
    // together are not all renewed at the same time.
    let spread = part(policy.turn.min(1000) / 20);
    let at = held.not_after.before(remaining).before(part(25)).after(spread);
    RenewalTime { at: at.max(held.not_before), reason: RenewalReason::Lifetime(held.not_after.since(at)) }
}

impl fmt::Display for RenewalReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("there is no certificate yet"),
            Self::SelfSigned(origin) => write!(f, "the certificate in place is {origin}"),
            Self::Lost(what) => f.write_str(what),
            Self::Names => f.write_str("the names changed"),
            Self::KeyType => f.write_str("the key type changed"),
            Self::Profile => f.write_str("the profile changed"),
            Self::Authority(other) => write!(f, "the authority changed; it was issued by {other}"),
            Self::Revoked => f.write_str("it was revoked"),
            Self::Forced => f.write_str("it was asked for"),
            Self::RenewalInfo(info) => write!(f, "the CA suggests {} to {}", info.start, info.end),
            Self::WindowTooLate(info) => {
                write!(f, "the CA suggests {} to {}, which leaves too little", info.start, info.end)
            }
            Self::Lifetime(left) => write!(f, "{} of its lifetime remain then", format_duration(*left)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn held(days: u64) -> CertificateInfo {
        let begin = Time::from_secs(1_000_000_000);
        let names = vec!["a.test".parse().expect("a name")];
        let mut info =
            CertificateInfo::new(names, begin, begin.after(DAY * u32::try_from(days).expect("days")));
        info.ari = Some("a.b".into());
        info.authority = Some("ca".into());
        info
    }

    fn when(held: &CertificateInfo, ari: Option<&Ari>, policy: &RenewalPolicy) -> RenewalTime {
        due(Some(held), ari, &Requirements::new(&held.names, "ec256"), policy)
    }

    #[test]
    fn another_authority_is_due_at_once() {
        let authorities = ["prod".to_owned()];
        let directories = BTreeMap::from([
            ("prod".to_owned(), "https://prod.test/dir".to_owned()),
            ("old".to_owned(), "https://staging.test/dir".to_owned()),
        ]);
        let mut info = held(90);
        let of = |info: &CertificateInfo| {
            let requirements = Requirements {
                authorities: &authorities,
                directories: Some(&directories),
                ..Requirements::new(&info.names, "ec256")
            };
            due(Some(info), None, &requirements, &RenewalPolicy::default()).reason
        };
        // By name as long as the directory is not known; by the directory afterwards.
        assert!(matches!(of(&info), RenewalReason::Authority(_)));
        info.authority = Some("prod".into());
        assert!(matches!(of(&info), RenewalReason::Lifetime(_)));
        info.directory = Some("https://elsewhere.test/dir".into());
        assert!(matches!(of(&info), RenewalReason::Authority(_)));
        // A new name for the same directory is the same authority.
        info.authority = Some("formerly".into());
        info.directory = Some("https://prod.test/dir".into());
        assert!(matches!(of(&info), RenewalReason::Lifetime(_)));
        info.directory = None;
        info.authority = Some(String::new());
        info.issuer = "(STAGING) Counterfeit Cashew R10".into();
        assert!(matches!(of(&info), RenewalReason::Authority(_)));
    }

    #[test]
    fn a_query_time_from_a_clock_that_was_ahead_is_ignored() {
        let now = Time::from_secs(1_000_000);
        let ari = |next| Ari { of: "a".into(), info: None, next };
        assert_eq!(ari(now.after(DAY / 4)).next_query(now), Some(now.after(DAY / 4)));
        assert_eq!(ari(now.after(DAY * 200)).next_query(now), None);
        assert_eq!(ari(now.before(DAY)).next_query(now), None);
    }

    #[test]
    fn parts_of_the_lifetime() {
        for (days, left) in [(90, 30), (64, 21), (45, 15), (6, 3)] {
            let held = held(days);
            let due = when(&held, None, &RenewalPolicy::default());
            let remaining = held.not_after.since(due.at).as_secs() / 86_400;
            assert!(remaining.abs_diff(left) <= 1, "{days} days: {remaining} remain");
        }
    }

    #[test]
    fn what_is_no_window_is_not_believed() {
        let held = held(90);
        let window = |start: Time, end: Time| Ari {
            of: "a.b".into(),
            info: Some(RenewalInfo { start, end, explanation: None }),
            next: Time::default(),
        };
        let day = |n: u32| held.not_before.after(DAY * n);
        let policy = RenewalPolicy::default();
        assert!(matches!(
            when(&held, Some(&window(day(9), day(9))), &policy).reason,
            RenewalReason::Lifetime(_)
        ));
        assert!(matches!(
            when(&held, Some(&window(day(9), day(8))), &policy).reason,
            RenewalReason::Lifetime(_)
        ));
        let due = when(&held, Some(&window(day(10), day(12))), &policy);
        assert_eq!(due.at, day(11));
        assert!(matches!(
            when(&held, Some(&window(day(200), day(300))), &policy).reason,
            RenewalReason::WindowTooLate(_)
        ));
        let mut other = window(day(10), day(12));
        other.of = "c.d".into();
        assert!(matches!(when(&held, Some(&other), &policy).reason, RenewalReason::Lifetime(_)));
    }

    proptest! {
        /// Whatever the CA says and however long the certificate lives, it is due while it is valid.
        #[test]
        fn due_before_it_expires(days in 1_u64..400, turn in 0_u16..=1000, window in prop::option::of((0_u64..3_000_000_000, 0_u64..3_000_000_000))) {
            let held = held(days);
            let ari = window.map(|(start, end)| Ari {
                of: "a.b".into(),
                info: Some(RenewalInfo { start: Time::from_secs(start), end: Time::from_secs(end), explanation: None }),
                next: Time::default(),
            });
            let due = when(&held, ari.as_ref(), &RenewalPolicy { turn, ..RenewalPolicy::default() });
            prop_assert!(held.not_after.since(due.at) >= held.lifetime() / 11);
        }
    }
}
