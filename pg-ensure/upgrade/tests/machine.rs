//! The state machine against a model of the disk: whatever is killed at whatever moment, no write that a client was told
//! is done is lost, and there is always a way on or a way back.

use pg_upgrade::{
    Cleanup, Machine, Mode, NewClusterState, OldClusterState, Reindexing, RestorableBackup, State, Step,
    TransitionError,
};
use proptest::prelude::*;

/// What is in a folder of the new cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NewData {
    Absent,
    /// As initdb leaves it.
    Empty,
    /// In the middle of something.
    Torn,
    /// With the writes up to a number.
    Whole(u32),
}

/// The old cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OldData {
    Whole,
    /// Linked into the new one, whose server has not run.
    Linked,
    /// Its files are the new one's now.
    Spent,
}

/// A disk, and a client that writes to whatever server there is.
#[derive(Clone, Debug)]
struct Simulation {
    mode: Mode,
    /// Writes that a client was told are done.
    written: u32,
    old: OldData,
    old_has: u32,
    old_live: bool,
    control_aside: bool,
    staging: NewData,
    target: NewData,
    new_live: bool,
    backup: Option<u32>,
    /// What the old cluster had when its control file was last noted.
    seen: Option<u32>,
    state: State,
}

type Effect = fn(&mut Simulation);

impl Simulation {
    fn new(mode: Mode, old_live: bool) -> Self {
        Self {
            mode,
            written: 0,
            old: OldData::Whole,
            old_has: 0,
            old_live,
            control_aside: false,
            staging: NewData::Absent,
            target: NewData::Absent,
            new_live: false,
            backup: None,
            seen: None,
            state: State::Ready(Step::Discover),
        }
    }

    fn client(&mut self) {
        if self.new_live {
            self.written += 1;
            self.target = NewData::Whole(self.written);
        } else if self.old_live {
            self.written += 1;
            self.old_has = self.written;
        }
    }

    fn old_condition(&self) -> OldClusterState {
        if self.control_aside { OldClusterState::Disabled } else { OldClusterState::Whole }
    }

    fn machine(&self, reindexing: Reindexing) -> Machine {
        Machine::from_state(self.mode, reindexing, self.state)
    }

    /// The promise: every write is in a cluster that can be started, or in a backup that can be put back.
    fn nothing_is_lost(&self) -> bool {
        (self.old != OldData::Spent && self.old_has == self.written)
            || self.target == NewData::Whole(self.written)
            || self.backup == Some(self.written)
    }

    /// The effects of a step, one at a time; a kill may come between any two.
    fn effects(&self, step: Step) -> Vec<Effect> {
        match step {
            Step::Backup => vec![|simulation| {
                simulation.backup.get_or_insert(simulation.old_has);
            }],
            Step::Prepare | Step::Check => {
                vec![|simulation| simulation.staging = NewData::Torn, |simulation| {
                    simulation.staging = NewData::Empty;
                }]
            }
            Step::Quiesce => vec![
                |simulation| {
                    if simulation.old_live && simulation.seen.is_some() && !simulation.mode.keeps_the_old() {
                        simulation.backup = None;
                    }
                },
                |simulation| simulation.old_live = false,
                |simulation| simulation.seen = Some(simulation.old_has),
            ],
            Step::Transfer if self.mode.keeps_the_old() => {
                vec![|simulation| simulation.staging = NewData::Torn, |simulation| {
                    simulation.staging = NewData::Whole(simulation.old_has);
                }]
            }
            Step::Transfer if self.mode == Mode::Link => vec![
                |simulation| simulation.staging = NewData::Torn,
                |simulation| simulation.control_aside = true,
                |simulation| simulation.old = OldData::Linked,
                |simulation| simulation.staging = NewData::Whole(simulation.old_has),
            ],
            Step::Transfer => vec![
                |simulation| simulation.staging = NewData::Torn,
                |simulation| simulation.control_aside = true,
                |simulation| simulation.old = OldData::Spent,
                |simulation| simulation.staging = NewData::Whole(simulation.old_has),
            ],
            Step::Verify => vec![|simulation| {
                if simulation.mode == Mode::Link {
                    simulation.old = OldData::Spent;
                }
            }],
            Step::Commit => vec![|simulation| {
                if simulation.staging != NewData::Absent {
                    simulation.target = simulation.staging;
                    simulation.staging = NewData::Absent;
                }
            }],
            Step::Start => vec![|simulation| simulation.new_live = true],
            Step::Discover
            | Step::Preflight
            | Step::Reindex
            | Step::Carry
            | Step::Statistics
            | Step::Extensions => Vec::new(),
        }
    }

    fn clean(&mut self, cleanup: Cleanup) {
        match cleanup {
            Cleanup::StopLeftovers => {}
            Cleanup::DiscardBackup => self.backup = None,
            Cleanup::DiscardNew => self.staging = NewData::Absent,
            Cleanup::EnableOld => {
                assert_ne!(self.old, OldData::Spent, "a cluster that is spent must not be made startable");
                self.control_aside = false;
                self.old = OldData::Whole;
            }
            Cleanup::RestoreBackup => {
                self.old_has = self.backup.expect("only a backup that is there is put back");
                self.old = OldData::Whole;
                self.control_aside = false;
            }
            Cleanup::StartOld => {
                assert_eq!(self.old, OldData::Whole);
                self.old_live = true;
            }
        }
    }
}

/// What happens between two effects.
#[derive(Clone, Copy, Debug)]
enum Interruption {
    GoOn,
    Write,
    Kill,
    /// Killed, and somebody starts the old server by hand before the next run.
    KillAndStartOld,
}

fn interruptions() -> impl Strategy<Value = Vec<Interruption>> {
    let one = prop_oneof![
        6 => Just(Interruption::GoOn), 3 => Just(Interruption::Write), 2 => Just(Interruption::Kill), 1 => Just(Interruption::KillAndStartOld)
    ];
    proptest::collection::vec(one, 0..200)
}

/// Whether the run is killed here.
fn between(
    simulation: &mut Simulation,
    interruptions: &mut std::vec::IntoIter<Interruption>,
) -> Result<bool, TestCaseError> {
    prop_assert!(simulation.nothing_is_lost(), "{:?}", simulation);
    prop_assert!(!(simulation.old_live && simulation.new_live), "two servers: {:?}", simulation);
    match interruptions.next().unwrap_or(Interruption::GoOn) {
        Interruption::GoOn => Ok(false),
        Interruption::Write => {
            simulation.client();
            Ok(false)
        }
        Interruption::Kill => Ok(true),
        Interruption::KillAndStartOld => {
            // Without its control file it does not start; and once the new folder has its name, the old one is known
            // to be old.
            if !simulation.control_aside && simulation.target == NewData::Absent {
                simulation.old_live = true;
                simulation.client();
            }
            Ok(true)
        }
    }
}

/// One run of the program: true when it came to its end, false when it was killed or there is no way on.
fn run(
    simulation: &mut Simulation,
    reindexing: Reindexing,
    interruptions: &mut std::vec::IntoIter<Interruption>,
) -> Result<bool, TestCaseError> {
    match simulation.machine(reindexing).recovery(simulation.old_condition()) {
        Ok(None) => {}
        Ok(Some(recovery)) => {
            for cleanup in &recovery.cleanup {
                simulation.clean(*cleanup);
                if between(simulation, interruptions)? {
                    return Ok(false);
                }
            }
            simulation.state = State::Ready(recovery.from);
        }
        Err(_) => return Ok(false),
    }
    loop {
        let mut machine = simulation.machine(reindexing);
        let State::Ready(step) = machine.state() else { return Ok(true) };
        let within = machine.before(Step::Quiesce, step) && machine.before(step, Step::Start);
        let used = simulation.old_live || simulation.seen != Some(simulation.old_has);
        if within && used && !simulation.control_aside {
            let recovery = machine.old_was_used().expect("a cluster that was started is transferred again");
            recovery.cleanup.iter().for_each(|cleanup| simulation.clean(*cleanup));
            simulation.state = State::Ready(recovery.from);
            continue;
        }
        prop_assert_eq!(machine.begin(), Ok(step));
        simulation.state = machine.state();
        if between(simulation, interruptions)? {
            return Ok(false);
        }
        for effect in simulation.effects(step) {
            effect(simulation);
            if between(simulation, interruptions)? {
                return Ok(false);
            }
        }
        prop_assert!(machine.finish().is_ok());
        simulation.state = machine.state();
        if between(simulation, interruptions)? {
            return Ok(false);
        }
    }
}

fn roll_back(simulation: &mut Simulation, reindexing: Reindexing) -> Result<(), TransitionError> {
    let new = match simulation.target {
        NewData::Absent => NewClusterState::Staged,
        _ => NewClusterState::Committed,
    };
    let backup = match simulation.backup {
        Some(_) => RestorableBackup::Present,
        None => RestorableBackup::Missing,
    };
    let mut machine = simulation.machine(reindexing);
    let way = machine.rollback(simulation.old_condition(), new, backup)?;
    machine.begin_rollback()?;
    simulation.state = machine.state();
    way.iter().for_each(|cleanup| simulation.clean(*cleanup));
    simulation.state = State::RolledBack;
    Ok(())
}

fn modes() -> impl Strategy<Value = Mode> {
    (0..Mode::ALL.len()).prop_map(|at| Mode::ALL[at])
}

fn reindexings() -> impl Strategy<Value = Reindexing> {
    prop_oneof![Just(Reindexing::BeforeCommit), Just(Reindexing::Online)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    /// Killed however often, the upgrade comes to its end with every write, or says that the backup must be put back,
    /// which then has every write.
    #[test]
    fn it_comes_to_its_end(mode in modes(), reindexing in reindexings(), live in any::<bool>(), interruptions in interruptions()) {
        let mut simulation = Simulation::new(mode, live);
        let mut interruptions = interruptions.into_iter();
        for _ in 0..300 {
            if run(&mut simulation, reindexing, &mut interruptions)? {
                break;
            }
            if simulation.machine(reindexing).recovery(simulation.old_condition()) == Err(TransitionError::HalfSwapped) {
                prop_assert_eq!(mode, Mode::Swap);
                prop_assert_eq!(roll_back(&mut simulation, reindexing), Ok(()));
                prop_assert_eq!(simulation.old_has, simulation.written);
                return Ok(());
            }
        }
        prop_assert_eq!(simulation.state, State::Done);
        prop_assert_eq!(simulation.target, NewData::Whole(simulation.written));
        prop_assert!(!mode.keeps_the_old() || simulation.old == OldData::Whole, "the old cluster is never touched");
    }

    /// After kills, going back gives the old cluster with every write. It is refused exactly once the switch has happened.
    #[test]
    fn there_is_a_way_back_until_the_switch(
        mode in modes(), reindexing in reindexings(), live in any::<bool>(), interruptions in interruptions(), runs in 1usize..6
    ) {
        let mut simulation = Simulation::new(mode, live);
        let mut interruptions = interruptions.into_iter();
        for _ in 0..runs {
            if run(&mut simulation, reindexing, &mut interruptions)? {
                break;
            }
        }
        match roll_back(&mut simulation, reindexing) {
            Ok(()) => {
                prop_assert_eq!(simulation.target, NewData::Absent);
                prop_assert_eq!(simulation.staging, NewData::Absent);
                prop_assert_eq!(simulation.old, OldData::Whole);
                prop_assert_eq!(simulation.old_has, simulation.written);
            }
            Err(TransitionError::Committed) => prop_assert_ne!(simulation.target, NewData::Absent),
            Err(why) => prop_assert!(false, "{} in {:?}", why, simulation),
        }
    }
}

#[test]
fn without_a_backup_of_ours_a_spent_cluster_has_no_way_back() {
    let machine = Machine::from_state(Mode::Link, Reindexing::BeforeCommit, State::Running(Step::Verify));
    assert_eq!(
        machine.rollback(OldClusterState::Disabled, NewClusterState::Staged, RestorableBackup::Missing),
        Err(TransitionError::OldGone { mode: Mode::Link })
    );
    let machine = Machine::from_state(Mode::Link, Reindexing::BeforeCommit, State::Ready(Step::Verify));
    let way = machine
        .rollback(OldClusterState::Disabled, NewClusterState::Staged, RestorableBackup::Missing)
        .expect("the new server has not run");
    assert!(way.contains(&Cleanup::EnableOld) && !way.contains(&Cleanup::RestoreBackup));
}
