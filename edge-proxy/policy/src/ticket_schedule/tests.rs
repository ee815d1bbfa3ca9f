use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

#[test]
fn ranges() {
    let (second, day) = (Duration::from_secs(1), Duration::from_secs(86_400));
    assert_eq!(TicketSchedule::new(second, day, second), Err(ScheduleError::Rotate));
    assert_eq!(TicketSchedule::new(8 * day, day, second), Err(ScheduleError::Rotate));
    assert_eq!(TicketSchedule::new(day, second / 2, second), Err(ScheduleError::Lifetime));
    assert_eq!(TicketSchedule::new(day, 8 * day, second), Err(ScheduleError::Lifetime));
    assert_eq!(TicketSchedule::new(day, day, day), Err(ScheduleError::Skew));
    assert_eq!(
        TicketSchedule::new(2 * second, second, Duration::ZERO).map(|found| found.refresh_interval()),
        Ok(second / 2)
    );
    assert_eq!(TicketSchedule::default().refresh_interval(), Duration::from_secs(60));
}

/// An edge with the keys it saw at its last refresh. Times are in quarters of a second, so that no refresh falls
/// between them.
struct SimulatedEdge {
    /// The time its clock is ahead.
    ahead: u64,
    phase: u64,
    /// The creation time of each epoch's key.
    keys: BTreeMap<u64, u64>,
}

impl SimulatedEdge {
    fn clock(&self, time: u64) -> u64 {
        (time + self.ahead) / 4
    }

    fn tick(&mut self, time: u64, schedule: &TicketSchedule, every: u64, store: &mut BTreeMap<u64, u64>) {
        let now = self.clock(time);
        self.keys.retain(|epoch, _| schedule.opens(*epoch, now));
        if time % every == self.phase % every {
            schedule.required_epochs(now).for_each(|epoch| {
                store.entry(epoch).or_insert(time);
            });
            store.retain(|epoch, _| schedule.opens(*epoch, now));
            self.keys = store.clone();
        }
    }
}

fn schedules() -> impl Strategy<Value = TicketSchedule> {
    (2u64..40, 1u64..80, 0u64..10).prop_map(|(rotate, lifetime, skew)| {
        let seconds = Duration::from_secs;
        TicketSchedule::new(seconds(rotate), seconds(lifetime), seconds(skew)).expect("it is in range")
    })
}

proptest! {
    /// For all clocks within the skew and all refresh times: every edge opens what another sealed for a whole lifetime,
    /// and no key is kept longer than promised.
    #[test]
    fn each_opens_what_another_sealed(
        schedule in schedules(),
        edges in prop::collection::vec((any::<u64>(), any::<u64>()), 2..4),
        start in 0u64..1000,
    ) {
        let every = ((schedule.refresh_interval().as_millis() / 250) as u64).max(1);
        let skew = schedule.skew().as_secs() * 4;
        let mut edges: Vec<SimulatedEdge> = edges
            .into_iter()
            .map(|(ahead, phase)| SimulatedEdge { ahead: ahead % (skew + 1), phase, keys: BTreeMap::new() })
            .collect();
        let mut store = BTreeMap::new();
        // For each epoch, the time its key sealed last.
        let mut sealed: BTreeMap<u64, u64> = BTreeMap::new();
        let lifetime = schedule.lifetime().as_secs() * 4;
        let whole = schedule.max_key_lifetime().as_secs() * 4;
        for time in start * 4..start * 4 + 3 * whole {
            for edge in &mut edges {
                edge.tick(time, &schedule, every, &mut store);
            }
            // Every edge has created its keys and has seen those of the others.
            if time < start * 4 + 2 * every {
                continue;
            }
            for edge in &edges {
                let epoch = schedule.sealing_epoch(edge.clock(time));
                prop_assert!(edge.keys.contains_key(&epoch), "nothing to seal by at {time}");
                sealed.insert(epoch, time);
                for (epoch, made) in &edge.keys {
                    prop_assert!(time - made <= whole, "the key of {epoch} is {} old", time - made);
                }
            }
            sealed.retain(|_, at| time - *at < lifetime);
            for edge in &edges {
                for (epoch, at) in &sealed {
                    prop_assert!(edge.keys.contains_key(epoch), "sealed at {at}, not opened at {time}");
                }
            }
        }
    }
}
