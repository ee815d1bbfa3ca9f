//! When a certificate is to be renewed, and why then.

use crate::name::Name;
use crate::time::{Time, spoken};
use std::fmt;
use std::time::Duration;

/// What is known of a certificate that is in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Held {
    /// Its names, sorted.
    pub names: Vec<Name>,
    /// Valid from.
    pub not_before: Time,
    /// Valid until.
    pub not_after: Time,
    /// Its serial number, in lower-case hexadecimal digits without leading zeros.
    pub serial: String,
    /// SHA-256 of its public key (SubjectPublicKeyInfo), in hexadecimal digits.
    pub public_key: String,
    /// Its key, as [`KeyType::as_str`](crate::KeyType::as_str) writes it.
    pub key_type: String,
    /// Its identifier for ARI (RFC 9773 §4.1), if it has an authority key identifier.
    pub ari: Option<String>,
    /// The authority it was ordered from; `None` for a self-signed one.
    pub authority: Option<String>,
    /// The profile it was ordered with.
    pub profile: Option<String>,
}

impl Held {
    /// How long it is valid in all.
    #[must_use]
    pub fn lifetime(&self) -> Duration {
        self.not_after.since(self.not_before)
    }
}

/// What the CA says of a certificate's renewal (RFC 9773), as it was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct RenewalInfo {
    /// The window's beginning.
    pub start: Time,
    /// The window's end.
    pub end: Time,
    /// A page that says why, if the CA has one.
    pub explanation: Option<String>,
}

/// ARI of one certificate, and when to ask again.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Ari {
    /// The certificate it is of.
    pub of: String,
    /// What was said; `None` if it was no sense, or nothing.
    pub info: Option<RenewalInfo>,
    /// Not to be asked again before.
    pub next: Time,
}

/// How renewal is planned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// Which part of the lifetime must remain, in thousandths, when no ARI is to be had.
    pub remaining: u16,
    /// The same for lifetimes of ten days and less.
    pub remaining_short: u16,
    /// Where in a window this certificate's turn is, in thousandths: spreads the load of many.
    pub turn: u16,
}

impl Default for Plan {
    /// A third of the lifetime; half of a short one; the middle of a window.
    fn default() -> Self {
        Self { remaining: 333, remaining_short: 500, turn: 500 }
    }
}

/// When a certificate is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// From this time on.
    pub at: Time,
    /// Why then.
    pub why: Why,
}

/// Why a certificate is due when it is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Why {
    /// There is none yet.
    Missing,
    /// What there is was made by ourselves, to have something to serve.
    SelfSigned,
    /// It is for other names than those that are wanted.
    Names,
    /// Its key is of another kind than the one that is wanted.
    KeyType,
    /// Its profile is another than the one that is wanted.
    Profile,
    /// Somebody asked for it.
    Forced,
    /// The CA suggested a window; the turn in it is chosen.
    RenewalInfo(RenewalInfo),
    /// The CA's window would come too late for the certificate.
    WindowTooLate(RenewalInfo),
    /// So much of the lifetime remains then.
    Lifetime(Duration),
}

/// What a certificate should be like.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Its names, sorted.
    pub names: &'a [Name],
    /// Its key type.
    pub key_type: &'a str,
    /// Its profile.
    pub profile: Option<&'a str>,
}

/// When a certificate is to be renewed.
///
/// ARI decides where the CA gave a window that makes sense (`start < end`); else a part of the lifetime does. Whatever the
/// CA says, a tenth of the lifetime is kept as the reserve for retries.
#[must_use]
pub fn due(held: Option<&Held>, ari: Option<&Ari>, wanted: &Wanted<'_>, plan: &Plan) -> Due {
    let at_once = |why| Due { at: Time::default(), why };
    let Some(held) = held else { return at_once(Why::Missing) };
    if held.authority.is_none() {
        return at_once(Why::SelfSigned);
    }
    if held.names != wanted.names {
        return at_once(Why::Names);
    }
    if held.key_type != wanted.key_type {
        return at_once(Why::KeyType);
    }
    if held.profile.as_deref() != wanted.profile {
        return at_once(Why::Profile);
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
        let width = info.end.since(info.start).as_millis() * u128::from(plan.turn.min(1000)) / 1000;
        let turn = info.start.after(Duration::from_millis(width.try_into().unwrap_or(u64::MAX)));
        let latest = held.not_after.before(part(100));
        return if turn > latest {
            Due { at: latest, why: Why::WindowTooLate(info) }
        } else {
            Due { at: turn, why: Why::RenewalInfo(info) }
        };
    }
    let short = lifetime <= Duration::from_secs(10 * 86_400);
    let remaining = part(if short { plan.remaining_short } else { plan.remaining });
    // Half of a twentieth to either side, so that many that were ordered together do not come together again.
    let spread = part(plan.turn.min(1000) / 20);
    let at = held.not_after.before(remaining).before(part(25)).after(spread);
    Due { at: at.max(held.not_before), why: Why::Lifetime(held.not_after.since(at)) }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("there is none yet"),
            Self::SelfSigned => f.write_str("the one there is self-signed"),
            Self::Names => f.write_str("the names changed"),
            Self::KeyType => f.write_str("the key type changed"),
            Self::Profile => f.write_str("the profile changed"),
            Self::Forced => f.write_str("it was asked for"),
            Self::RenewalInfo(info) => write!(f, "the CA suggests {} to {}", info.start, info.end),
            Self::WindowTooLate(info) => {
                write!(f, "the CA suggests {} to {}, which leaves too little", info.start, info.end)
            }
            Self::Lifetime(left) => write!(f, "{} of its life remain then", spoken(*left)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::DAY;
    use proptest::prelude::*;

    fn held(days: u64) -> Held {
        Held {
            names: vec!["a.test".parse().expect("a name")],
            not_before: Time::from_secs(1_000_000_000),
            not_after: Time::from_secs(1_000_000_000 + days * 86_400),
            serial: "1".into(),
            public_key: String::new(),
            key_type: "ec256".into(),
            ari: Some("a.b".into()),
            authority: Some("ca".into()),
            profile: None,
        }
    }

    fn when(held: &Held, ari: Option<&Ari>, plan: &Plan) -> Due {
        due(Some(held), ari, &Wanted { names: &held.names, key_type: "ec256", profile: None }, plan)
    }

    #[test]
    fn parts_of_the_lifetime() {
        for (days, left) in [(90, 30), (64, 21), (45, 15), (6, 3)] {
            let held = held(days);
            let due = when(&held, None, &Plan::default());
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
        let plan = Plan::default();
        assert!(matches!(when(&held, Some(&window(day(9), day(9))), &plan).why, Why::Lifetime(_)));
        assert!(matches!(when(&held, Some(&window(day(9), day(8))), &plan).why, Why::Lifetime(_)));
        let due = when(&held, Some(&window(day(10), day(12))), &plan);
        assert_eq!(due.at, day(11));
        assert!(matches!(when(&held, Some(&window(day(200), day(300))), &plan).why, Why::WindowTooLate(_)));
        let mut other = window(day(10), day(12));
        other.of = "c.d".into();
        assert!(matches!(when(&held, Some(&other), &plan).why, Why::Lifetime(_)));
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
            let due = when(&held, ari.as_ref(), &Plan { turn, ..Plan::default() });
            prop_assert!(held.not_after.since(due.at) >= held.lifetime() / 11);
        }
    }
}
