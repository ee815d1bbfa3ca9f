//! Choice of the provider for a challenge's TXT record, or of the provider to wait for. Performs no I/O.

use crate::dns::Target;
use crate::machine::AcmeError;
use crate::propagation::LookupMode;
use crate::provider::{Coverage, Reach, ZoneMatch, configured_zone};

/// The answer of a provider to the question for the zone of a target.
#[derive(Clone, Debug)]
pub(super) enum ProviderAnswer {
    /// The provider has this zone.
    Zone(ZoneMatch),
    /// The provider has no zone for the target.
    None,
    /// The provider failed.
    Failed(AcmeError),
    /// The provider is not ready, and may have a zone within this reach. The text is the reason.
    NotReady(Reach, String),
}

/// The choice between the providers that were asked, by their positions.
#[derive(Clone, Debug)]
pub(super) enum Choice {
    /// The provider at this position, with its zone.
    Use(usize, ZoneMatch),
    /// The provider at this position is not ready, and may have a better match than every other. The error is that of
    /// another provider, if one failed.
    Wait(usize, Option<AcmeError>),
    /// No provider can be chosen, because one of them failed.
    Failed(AcmeError),
    /// No provider has a match that may be used. The best one, if there is any, is below [`MIN_RANK`].
    Nothing(Option<(usize, ZoneMatch)>),
}

/// Lowest rank of a match that may be used: the CA would not see a record published by a match below.
const MIN_RANK: u8 = 3;
/// Rank of the target's own zone if it is active, the best one that a provider with any reach can have.
const ACTIVE_ZONE: u8 = 5;
/// Rank of the name itself.
const NAME: u8 = 6;

/// Returns the rank of a provider's match for a target; the highest is preferred:
///
/// - 6: the provider has the name itself ([`Coverage::Name`])
/// - 5: an active zone that is the target's or, in resolver mode, one with a longer name, since resolvers do not reveal
///   a delegation of the challenge name itself
/// - 4: the target's zone, not active
/// - 3 ([`MIN_RANK`]): any zone ([`Coverage::Any`])
/// - 1: another zone, where the CA would not look
fn rank(found: &ZoneMatch, target: &Target, mode: LookupMode) -> u8 {
    match &found.coverage {
        Coverage::Name => NAME,
        Coverage::Zone { apex, active } if apex.eq_ignore_ascii_case(&target.zone) => {
            ACTIVE_ZONE - u8::from(!*active)
        }
        // Resolvers do not reveal a delegation of the challenge name itself.
        Coverage::Zone { apex, active: true }
            if mode == LookupMode::Resolvers && apex.len() > target.zone.len() =>
        {
            ACTIVE_ZONE
        }
        Coverage::Any => MIN_RANK,
        Coverage::Zone { .. } => 1,
    }
}

/// Returns the highest rank that a provider with this reach can have for a target. 0 if it can have no match.
fn potential(reach: &Reach, target: &Target, mode: LookupMode) -> u8 {
    match reach {
        Reach::Any => ACTIVE_ZONE,
        Reach::Name(name) if name.eq_ignore_ascii_case(&target.name) => NAME,
        Reach::Name(_) => 0,
        Reach::Zones(zones) => {
            configured_zone(zones, &target.name, &target.zone).map_or(0, |found| rank(&found, target, mode))
        }
    }
}

/// Chooses the provider for a target. `answers` are those of the providers in the order of configuration.
///
/// The match of the highest [`rank`] is chosen, the first one of several. If a provider that is not ready could have a
/// higher rank of at least [`MIN_RANK`], it is waited for; of several, the first one with the highest possible rank. A
/// match of rank [`MIN_RANK`] is not used if another provider had a transient error, since that provider may have the
/// zone. Of several errors the first transient one is returned, or else the last one.
pub(super) fn choose(target: &Target, mode: LookupMode, answers: &[ProviderAnswer]) -> Choice {
    let mut best: Option<(u8, usize, &ZoneMatch)> = None;
    let mut awaited: Option<(u8, usize)> = None;
    let mut failed: Option<&AcmeError> = None;
    for (at, answer) in answers.iter().enumerate() {
        match answer {
            ProviderAnswer::Zone(found) => {
                let rank = rank(found, target, mode);
                if best.is_none_or(|(other, ..)| rank > other) {
                    best = Some((rank, at, found));
                }
            }
            ProviderAnswer::None => {}
            ProviderAnswer::Failed(error) => {
                if failed.is_none_or(|first| !first.is_transient()) {
                    failed = Some(error);
                }
            }
            ProviderAnswer::NotReady(reach, _) => {
                let rank = potential(reach, target, mode);
                if rank >= MIN_RANK && awaited.is_none_or(|(other, _)| rank > other) {
                    awaited = Some((rank, at));
                }
            }
        }
    }
    if let Some((rank, at)) = awaited
        && best.is_none_or(|(other, ..)| rank > other)
    {
        return Choice::Wait(at, failed.cloned());
    }
    match (best, failed) {
        (Some((MIN_RANK, ..)), Some(error)) if error.is_transient() => Choice::Failed(error.clone()),
        (Some((rank, at, found)), _) if rank >= MIN_RANK => Choice::Use(at, found.clone()),
        (_, Some(error)) => Choice::Failed(error.clone()),
        (best, None) => Choice::Nothing(best.map(|(_, at, found)| (at, found.clone()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::ErrorKind;
    use proptest::prelude::*;

    /// The target of all properties: the zone is example.org, or a delegated one below it.
    fn target(delegated: bool) -> Target {
        let zone = if delegated { "sub.example.org" } else { "example.org" };
        Target {
            name: "_acme-challenge.www.sub.example.org".to_owned(),
            zone: zone.to_owned(),
            wildcard: None,
        }
    }

    fn zone(apex: &str, active: bool) -> ZoneMatch {
        ZoneMatch::new(apex, Coverage::Zone { apex: apex.to_owned(), active })
    }

    const APEXES: [&str; 4] =
        ["example.org", "sub.example.org", "www.sub.example.org", "_acme-challenge.www.sub.example.org"];

    /// An answer of a provider that is ready.
    fn ready() -> impl Strategy<Value = ProviderAnswer> {
        prop_oneof![
            Just(ProviderAnswer::None),
            (0..APEXES.len(), any::<bool>())
                .prop_map(|(at, active)| ProviderAnswer::Zone(zone(APEXES[at], active))),
            Just(ProviderAnswer::Zone(ZoneMatch::new("any", Coverage::Any))),
            Just(ProviderAnswer::Zone(ZoneMatch::new("name", Coverage::Name))),
            Just(ProviderAnswer::Failed(AcmeError::new(ErrorKind::Transient, "unreachable"))),
            Just(ProviderAnswer::Failed(AcmeError::new(ErrorKind::Local, "refused"))),
        ]
    }

    fn reach() -> impl Strategy<Value = Reach> {
        let names =
            prop::sample::subsequence(["example.org", "sub.example.org", "example.net"].to_vec(), 1..3);
        prop_oneof![
            Just(Reach::Any),
            prop::sample::select(vec!["_acme-challenge.www.sub.example.org", "other.example.org"])
                .prop_map(|name| Reach::Name(name.to_owned())),
            names.prop_map(|names| Reach::Zones(names.into_iter().map(str::to_owned).collect())),
        ]
    }

    /// Every answer that a provider with this reach may give once it is ready.
    fn answers(reach: &Reach, target: &Target) -> Vec<ProviderAnswer> {
        match reach {
            Reach::Any => {
                let mut all =
                    vec![ProviderAnswer::None, ProviderAnswer::Zone(ZoneMatch::new("any", Coverage::Any))];
                let zones = APEXES.iter().flat_map(|apex| [zone(apex, true), zone(apex, false)]);
                all.extend(zones.map(ProviderAnswer::Zone));
                all
            }
            Reach::Name(name) if *name == target.name => {
                vec![ProviderAnswer::Zone(ZoneMatch::new(name, Coverage::Name))]
            }
            Reach::Name(_) => vec![ProviderAnswer::None],
            Reach::Zones(zones) => {
                let found = configured_zone(zones, &target.name, &target.zone);
                vec![found.map_or(ProviderAnswer::None, ProviderAnswer::Zone)]
            }
        }
    }

    fn mode(resolvers: bool) -> LookupMode {
        if resolvers { LookupMode::Resolvers } else { LookupMode::Authorities }
    }

    proptest! {
        /// Without a provider that is not ready, nothing is waited for.
        #[test]
        fn ready_providers_hold_nothing_back(
            answers in prop::collection::vec(ready(), 0..5), delegated: bool, resolvers: bool,
        ) {
            let choice = choose(&target(delegated), mode(resolvers), &answers);
            prop_assert!(!matches!(choice, Choice::Wait(..)), "{choice:?}");
        }

        /// Exactly those certificates are held back that the provider could serve better than every other: if it is not
        /// waited for, no answer of it would lead to a better match, and if it is, one of its answers makes it the
        /// choice.
        #[test]
        fn only_a_provider_that_may_be_needed_is_waited_for(
            others in prop::collection::vec(ready(), 0..4), reach in reach(), at in 0_usize..4, delegated: bool,
            resolvers: bool,
        ) {
            let (target, mode) = (target(delegated), mode(resolvers));
            let at = at.min(others.len());
            let with = |answer: ProviderAnswer| {
                let mut all = others.clone();
                all.insert(at, answer);
                choose(&target, mode, &all)
            };
            let choice = with(ProviderAnswer::NotReady(reach.clone(), "no token".to_owned()));
            let later = answers(&reach, &target).into_iter().map(&with);
            let rank_of = |choice: &Choice| match choice {
                Choice::Use(_, found) => rank(found, &target, mode),
                _ => 0,
            };
            if let Choice::Wait(place, _) = choice {
                prop_assert_eq!(place, at);
                let mut later = later;
                prop_assert!(later.any(|choice| matches!(choice, Choice::Use(chosen, _) if chosen == at)));
            } else {
                for later in later {
                    prop_assert!(rank_of(&later) <= rank_of(&choice), "{choice:?}, then {later:?}");
                }
            }
        }
    }

    #[test]
    fn a_certificate_waits_for_the_zones_of_a_provider_and_for_those_that_no_other_has() {
        let target = target(false);
        let waits = |reach: Reach, other: ProviderAnswer| {
            let answers = [other, ProviderAnswer::NotReady(reach, String::new())];
            matches!(choose(&target, LookupMode::Authorities, &answers), Choice::Wait(1, _))
        };
        let zones = |name: &str| Reach::Zones(vec![name.to_owned()]);
        let has = |apex: &str| ProviderAnswer::Zone(zone(apex, true));
        assert!(
            waits(zones("example.org"), ProviderAnswer::None)
                && !waits(zones("example.net"), ProviderAnswer::None)
        );
        assert!(waits(Reach::Any, ProviderAnswer::None) && !waits(Reach::Any, has("example.org")));
        // Another provider would publish anywhere, or where the CA does not look.
        assert!(waits(Reach::Any, ProviderAnswer::Zone(ZoneMatch::new("any", Coverage::Any))));
        assert!(waits(Reach::Any, has("org")));
        // The other one has it as well.
        assert!(!waits(zones("example.org"), has("example.org")));
        let failed = ProviderAnswer::Failed(AcmeError::new(ErrorKind::Transient, "unreachable"));
        assert!(waits(zones("example.org"), failed.clone()) && !waits(zones("example.net"), failed.clone()));
        // Its error is not lost.
        let answers = [failed, ProviderAnswer::NotReady(Reach::Any, String::new())];
        let choice = choose(&target, LookupMode::Authorities, &answers);
        assert!(matches!(choice, Choice::Wait(1, Some(error)) if error.reason == "unreachable"));
    }
}
