//! Simulation of a machine that is killed and restarted from its journal.

use super::environment::{Environment, OrderLists, Random, SimulatedStore};
use crate::ledger::{Ledger, Limits};
use crate::machine::{Action, CertificateSpec, Event, Machine, State};
use crate::name::Name;
use crate::time::Time;
use std::time::Duration;

/// Results of a simulation with kills.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KillReport {
    /// Orders created by the CA.
    pub orders: usize,
    /// Certificates issued by the CA.
    pub certificates: usize,
    /// TXT records that the machine created and did not remove.
    pub leftover: usize,
    /// Accounts registered by the CA.
    pub accounts: usize,
    /// TXT records of others that were not removed: 1 if the single one is left, else 0.
    pub foreign: usize,
    /// Challenges that were triggered again after they had been triggered.
    pub triggers_twice: usize,
}

/// Simulates the first issuance of a certificate, with a machine that is killed and restarted from its journal. Each
/// number in `kills` is the number of actions until the next kill; `seed` decides whether the interrupted action takes
/// effect. Ends when the certificate is deployed and all TXT records are removed, or after 20 000 steps.
#[must_use]
pub fn simulate_kills(kills: &[u32], lists: OrderLists, seed: u64) -> KillReport {
    let names: Vec<Name> = ["*.example.org", "example.org", "www.example.org"]
        .iter()
        .filter_map(|name| name.parse().ok())
        .collect();
    let spec = CertificateSpec::new(names, "ca");
    let mut random = Random(seed | 1);
    let mut environment = Environment::new(lists);
    let foreign = ("_acme-challenge.example.org".to_owned(), "of somebody else".to_owned());
    environment.txt.insert(foreign.clone());
    let mut store = SimulatedStore::default();
    let mut ledger = Ledger::default();
    let mut now = Time::from_secs(1_800_000_000);
    let mut kills = kills.iter();
    let mut left = kills.next().copied();
    let mut machine = Machine::new(spec.clone(), State::default());
    for _ in 0..20_000 {
        let action = machine.poll(now, &ledger);
        if let Action::Wait { until, .. } = &action {
            let state = machine.state();
            if machine.rests() && state.held.is_some() && !state.undeployed && state.txt.is_empty() {
                break;
            }
            now = (*until).max(now.after(Duration::from_millis(1 + random.below(50))));
            continue;
        }
        let kill = left == Some(0);
        left = match left {
            Some(0) => kills.next().copied(),
            left => left.map(|left| left - 1),
        };
        // Half of the kills come before the effect of the action, half after it.
        let effect = !kill || random.below(2) == 0;
        let mut event = Event::Done;
        if effect {
            match &action {
                Action::Journal(record) => store.journal.push(record.clone()),
                Action::Note(entry) => ledger.record(entry.clone(), now, &Limits::default()),
                action => event = environment.answer(action, &spec, now, &mut store),
            }
        }
        if kill {
            now = now.after(Duration::from_secs(1 + random.below(4000)));
            machine = Machine::new(spec.clone(), State::replay(&store.journal));
        } else {
            machine.handle(event, now);
        }
    }
    let foreign_left = usize::from(environment.txt.remove(&foreign));
    KillReport {
        orders: environment.orders.len(),
        certificates: environment.orders.iter().filter(|made| made.issued).count(),
        leftover: environment.txt.len(),
        accounts: environment.accounts,
        foreign: foreign_left,
        triggers_twice: environment.triggers_twice,
    }
}
