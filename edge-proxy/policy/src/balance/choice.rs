//! Selection of a target.

use super::health::Availability;
use crate::config::Balance;

/// The set of the targets of an upstream that were tried for a request, by their index, which is below 64: an upstream
/// has at most 64 targets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TriedTargets(u64);

impl TriedTargets {
    /// Adds a target by its index, which must be below 64.
    pub const fn add(&mut self, target: usize) {
        self.0 |= 1 << (target & 63);
    }

    /// Returns whether the target with this index, which must be below 64, was tried.
    pub const fn contains(self, target: usize) -> bool {
        self.0 >> (target & 63) & 1 == 1
    }
}

/// The properties of a target by which [`choose`] selects one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The availability of the target.
    pub availability: Availability,
    /// The number of requests in flight at the target.
    pub in_flight: u32,
    /// The hash of the target's address, computed by [`hash()`].
    pub identity: u64,
    /// The weight of the target, at least 1.
    pub weight: u16,
    /// True if the target is used only while no target that is not a backup is healthy or due for a trial.
    pub backup: bool,
}

impl Candidate {
    /// The candidate for an index without a target. It is never chosen.
    pub const NONE: Self =
        Self { availability: Availability::Down, in_flight: 0, identity: 0, weight: 1, backup: false };
}

/// Hashes bytes by FNV-1a with a finalizer, for rendezvous hashing. The result is the same in every process, so two
/// proxies with the same targets choose alike. Not collision-resistant.
pub fn hash(bytes: &[u8]) -> u64 {
    let fnv = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3));
    mix(fnv)
}

/// Mixes the bits of a number by the finalizer of splitmix64, so that each bit of the input affects all bits of the
/// result.
const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Selects the target of a request and returns its index. `None` if every target is down or was tried.
///
/// Of targets that are not backups, one due for a trial is chosen first, then a healthy one by the balance and the
/// weights; then backups in the same order. If none of these is left, an ejected target is used, since it may have
/// recovered, one that is not a backup first. A target that is down or was tried is never used. `turn` is the number
/// of the request, for round robin and ties; `key` is the hash key of the request for [`Balance::Hash`].
///
/// ```
/// use edge_policy::balance::health::Availability;
/// use edge_policy::balance::{Candidate, TriedTargets, choose, hash};
/// use edge_policy::config::Balance;
///
/// let target = |name: &str, in_flight| {
///     Candidate { availability: Availability::Healthy, in_flight, identity: hash(name.as_bytes()), ..Candidate::NONE }
/// };
/// let targets = [target("a", 2), target("b", 1)];
/// assert_eq!(choose(Balance::RoundRobin, &targets, 0, 0, TriedTargets::default()), Some(0));
/// assert_eq!(choose(Balance::RoundRobin, &targets, 1, 0, TriedTargets::default()), Some(1));
/// assert_eq!(choose(Balance::LeastConnections, &targets, 0, 0, TriedTargets::default()), Some(1));
/// ```
pub fn choose(
    balance: Balance,
    targets: &[Candidate],
    turn: usize,
    key: u64,
    tried: TriedTargets,
) -> Option<usize> {
    use Availability::{Ejected, Healthy, Trial};
    let classes =
        [(false, Trial), (false, Healthy), (true, Trial), (true, Healthy), (false, Ejected), (true, Ejected)];
    classes.into_iter().find_map(|(backup, class)| {
        let usable = |at: &usize| {
            let target = &targets[*at];
            target.backup == backup && target.availability == class && !tried.contains(*at)
        };
        // Starts at the turn, so that equal targets are used in rotation.
        let from = if targets.is_empty() { 0 } else { turn % targets.len() };
        let mut in_turn = (from..targets.len()).chain(0..from).filter(usable);
        let equal = targets.iter().all(|target| target.weight == 1);
        match balance {
            // A target due for a trial gets one request, whatever the balance.
            _ if class == Trial => in_turn.next(),
            Balance::RoundRobin if equal => in_turn.next(),
            Balance::RoundRobin => weighted_round_robin(targets, usable, turn),
            Balance::LeastConnections => in_turn.min_by_key(|at| {
                let target = &targets[*at];
                (u64::from(target.in_flight) << 32) / u64::from(target.weight.max(1))
            }),
            // Rendezvous hashing: the highest score wins, so that a target that leaves moves only its own keys.
            Balance::Hash(_) if equal => in_turn.max_by_key(|at| mix(targets[*at].identity ^ key)),
            Balance::Hash(_) => {
                in_turn.max_by(|a, b| score(&targets[*a], key).total_cmp(&score(&targets[*b], key)))
            }
        }
    })
}

/// Returns the index of the target that weighted round robin selects among the usable ones in the turn `turn`. A round
/// has as many turns as the sum of the weights, and the turns of one target are spread over it. `None` if no target is
/// usable.
fn weighted_round_robin(
    targets: &[Candidate],
    usable: impl Fn(&usize) -> bool,
    turn: usize,
) -> Option<usize> {
    let weight = |at: usize| usize::from(targets[at].weight.max(1));
    let round: usize = (0..targets.len()).filter(&usable).map(weight).sum();
    let mut slot = (turn % round.max(1)) * stride(round) % round.max(1);
    (0..targets.len()).filter(usable).find(|at| {
        let mine = slot < weight(*at);
        slot = slot.saturating_sub(weight(*at));
        mine
    })
}

/// Returns the step by which the slots of a round are visited, each once: coprime to the round, and close to its
/// golden section, so that neighboring slots are far apart in time.
fn stride(round: usize) -> usize {
    let divisor = |mut a: usize, mut b: usize| {
        while b > 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    (1..=round * 618 / 1000).rev().find(|step| divisor(*step, round) == 1).unwrap_or(1)
}

/// Returns the score of a target for a key in weighted rendezvous hashing, a positive number. The highest score wins.
fn score(target: &Candidate, key: u64) -> f64 {
    let uniform = ((mix(target.identity ^ key) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    -f64::from(target.weight.max(1)) / uniform.ln()
}

/// Returns the index of the target with this identity, to which a cookie binds the client. `None` if there is none, it
/// was tried, or it is neither healthy nor due for a trial.
pub fn sticky_target(targets: &[Candidate], identity: u64, tried: TriedTargets) -> Option<usize> {
    let usable = |target: &Candidate| {
        target.identity == identity
            && matches!(target.availability, Availability::Healthy | Availability::Trial)
    };
    targets.iter().position(usable).filter(|at| !tried.contains(*at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::HashKey;
    use proptest::prelude::*;

    fn availability() -> impl Strategy<Value = Availability> {
        prop_oneof![
            Just(Availability::Healthy),
            Just(Availability::Trial),
            Just(Availability::Ejected),
            Just(Availability::Down),
        ]
    }

    fn balance() -> impl Strategy<Value = Balance> {
        prop_oneof![
            Just(Balance::RoundRobin),
            Just(Balance::LeastConnections),
            Just(Balance::Hash(HashKey::Client)),
        ]
    }

    fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
        proptest::collection::vec((availability(), 0u32..9), 0..10).prop_map(|all| {
            let candidate = |(at, (availability, in_flight)): (usize, (Availability, u32))| Candidate {
                availability,
                in_flight,
                identity: hash(at.to_string().as_bytes()),
                ..Candidate::NONE
            };
            all.into_iter().enumerate().map(candidate).collect()
        })
    }

    fn well(weight: u16) -> Candidate {
        Candidate { availability: Availability::Healthy, weight, ..Candidate::NONE }
    }

    #[test]
    fn backups_come_after_everything_healthy() {
        let backup = Candidate { backup: true, ..well(1) };
        let ejected = Candidate { availability: Availability::Ejected, ..well(1) };
        for balance in [Balance::RoundRobin, Balance::LeastConnections, Balance::Hash(HashKey::Client)] {
            let choose =
                |targets: &[Candidate], turn| choose(balance, targets, turn, 7, TriedTargets::default());
            for turn in 0..4 {
                assert_eq!(choose(&[backup, well(1)], turn), Some(1));
                assert_eq!(choose(&[ejected, backup], turn), Some(1));
                assert_eq!(choose(&[Candidate::NONE, backup], turn), Some(1));
            }
        }
    }

    #[test]
    fn a_client_is_kept_while_its_target_can_be_used() {
        let named = |identity, availability| Candidate { availability, identity, ..well(1) };
        let targets = [named(1, Availability::Healthy), named(2, Availability::Ejected)];
        let mut tried = TriedTargets::default();
        assert_eq!(sticky_target(&targets, 1, tried), Some(0));
        assert_eq!(sticky_target(&targets, 2, tried), None);
        assert_eq!(sticky_target(&targets, 3, tried), None);
        tried.add(0);
        assert_eq!(sticky_target(&targets, 1, tried), None);
    }

    proptest! {
        /// A round has each target as often as its weight says, and no target waits longer than its share of the round
        /// twice.
        #[test]
        fn weights_are_shares(weights in proptest::collection::vec(1_u16..8, 1..6)) {
            let targets: Vec<_> = weights.iter().map(|weight| well(*weight)).collect();
            let round: usize = weights.iter().map(|weight| usize::from(*weight)).sum();
            let mut got = vec![0_u16; weights.len()];
            for turn in 0..round {
                got[choose(Balance::RoundRobin, &targets, turn, 0, TriedTargets::default()).unwrap()] += 1;
            }
            if weights.iter().any(|weight| *weight > 1) {
                prop_assert_eq!(got, weights);
            }
        }

        /// Hashing gives each target keys in proportion to its weight.
        #[test]
        fn keys_follow_weights(weight in 2_u16..6) {
            let target = |at: u64, weight| Candidate { identity: hash(&at.to_be_bytes()), ..well(weight) };
            let targets = [target(1, weight), target(2, 1)];
            let of_first = (0..4000_u32).filter(|client| {
                let key = hash(&client.to_be_bytes());
                choose(Balance::Hash(HashKey::Client), &targets, 0, key, TriedTargets::default()) == Some(0)
            }).count() as f64;
            let share = f64::from(weight) / f64::from(weight + 1);
            prop_assert!((of_first / 4000.0 - share).abs() < 0.05, "{of_first}");
        }

        #[test]
        fn all_that_may_be_used_are_tried_once_and_no_other(
            targets in candidates(), balance in balance(), turn in any::<usize>(), key in any::<u64>(),
        ) {
            let mut tried = TriedTargets::default();
            let mut order = Vec::new();
            while let Some(at) = choose(balance, &targets, turn, key, tried) {
                prop_assert!(!tried.contains(at));
                tried.add(at);
                order.push(targets[at].availability);
            }
            prop_assert!(!order.contains(&Availability::Down));
            let usable = targets.iter().filter(|t| t.availability != Availability::Down).count();
            prop_assert_eq!(order.len(), usable);
            // Ejected targets come last.
            let first = order.iter().position(|a| *a == Availability::Ejected).unwrap_or(order.len());
            prop_assert!(order[first..].iter().all(|a| *a == Availability::Ejected));
        }

        #[test]
        fn a_target_that_goes_moves_only_its_own_keys(count in 2usize..9, gone in 0usize..9, keys in proptest::collection::vec(any::<u64>(), 50)) {
            let gone = gone % count;
            let mut targets: Vec<_> = (0..count).map(|at| Candidate {
                availability: Availability::Healthy,
                in_flight: 0,
                identity: hash(at.to_string().as_bytes()),
                ..Candidate::NONE
            }).collect();
            let by_hash = |targets: &[Candidate], key| {
                choose(Balance::Hash(HashKey::Client), targets, 0, key, TriedTargets::default()).unwrap()
            };
            let before: Vec<_> = keys.iter().map(|key| by_hash(&targets, *key)).collect();
            targets[gone].availability = Availability::Down;
            for (key, before) in keys.iter().zip(before) {
                let after = by_hash(&targets, *key);
                prop_assert!(after != gone);
                prop_assert!(before == gone || before == after);
            }
        }

        #[test]
        fn equals_get_equal_shares(count in 1usize..9) {
            let targets = vec![Candidate { availability: Availability::Healthy, ..Candidate::NONE }; count];
            for balance in [Balance::RoundRobin, Balance::LeastConnections] {
                let mut got = vec![0; count];
                (0..count * 3).for_each(|turn| got[choose(balance, &targets, turn, 0, TriedTargets::default()).unwrap()] += 1);
                prop_assert!(got.iter().all(|n| *n == 3));
            }
        }
    }

    #[test]
    fn keys_spread_evenly() {
        let targets: Vec<_> = (0..4)
            .map(|at| Candidate {
                availability: Availability::Healthy,
                in_flight: 0,
                weight: 1,
                backup: false,
                identity: hash(format!("http://10.0.0.{at}:80").as_bytes()),
            })
            .collect();
        let mut got = [0u32; 4];
        for client in 0..4000u32 {
            let key = hash(&client.to_be_bytes());
            got[choose(Balance::Hash(HashKey::Client), &targets, 0, key, TriedTargets::default())
                .unwrap()] += 1;
        }
        assert!(got.iter().all(|n| (850..1150).contains(n)), "{got:?}");
    }
}
