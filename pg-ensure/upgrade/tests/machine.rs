//! The state machine against a model of the disk: whatever is killed at whatever moment, no write that a client was told
//! is done is lost, and there is always a way on or a way back.

use pg_upgrade::{Cleanup, Machine, Mode, Old, Refused, Reindexing, State, Step};
use proptest::prelude::*;

/// What is in a folder of the new cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum New {
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
struct World {
    mode: Mode,
    /// Writes that a client was told are done.
    written: u32,
    old: OldData,
    old_has: u32,
    old_live: bool,
    control_aside: bool,
    staging: New,
    target: New,
    new_live: bool,
    backup: Option<u32>,
    /// What the old cluster had when its control file was last noted.
    seen: Option<u32>,
    state: State,
}

type Effect = fn(&mut World);

impl World {
    fn new(mode: Mode, old_live: bool) -> Self {
        Self {
            mode,
            written: 0,
            old: OldData::Whole,
            old_has: 0,
            old_live,
            control_aside: false,
            staging: New::Absent,
            target: New::Absent,
            new_live: false,
            backup: None,
            seen: None,
            state: State::Ready(Step::Discover),
        }
    }

    fn client(&mut self) {
        if self.new_live {
            self.written += 1;
            self.target = New::Whole(self.written);
        } else if self.old_live {
            self.written += 1;
            self.old_has = self.written;
        }
    }

    fn old_condition(&self) -> Old {
        if self.control_aside { Old::Disabled } else { Old::Whole }
    }

    fn machine(&self, reindexing: Reindexing) -> Machine {
        Machine::restored(self.mode, reindexing, self.state)
    }

    /// The promise: every write is in a cluster that can be started, or in a backup that can be put back.
    fn nothing_is_lost(&self) -> bool {
        (self.old != OldData::Spent && self.old_has == self.written)
            || self.target == New::Whole(self.written)
            || self.backup == Some(self.written)
    }

    /// The effects of a step, one at a time; a kill may come between any two.
    fn effects(&self, step: Step) -> Vec<Effect> {
        match step {
            Step::Backup => vec![|world| {
                world.backup.get_or_insert(world.old_has);
            }],
            Step::Prepare | Step::Check => {
                vec![|world| world.staging = New::Torn, |world| world.staging = New::Empty]
            }
            Step::Quiesce => vec![
                |world| {
                    if world.old_live && world.seen.is_some() && !world.mode.keeps_the_old() {
                        world.backup = None;
                    }
                },
                |world| world.old_live = false,
                |world| world.seen = Some(world.old_has),
            ],
            Step::Transfer if self.mode.keeps_the_old() => {
                vec![|world| world.staging = New::Torn, |world| world.staging = New::Whole(world.old_has)]
            }
            Step::Transfer if self.mode == Mode::Link => vec![
                |world| world.staging = New::Torn,
                |world| world.control_aside = true,
                |world| world.old = OldData::Linked,
                |world| world.staging = New::Whole(world.old_has),
            ],
            Step::Transfer => vec![
                |world| world.staging = New::Torn,
                |world| world.control_aside = true,
                |world| world.old = OldData::Spent,
                |world| world.staging = New::Whole(world.old_has),
            ],
            Step::Verify => vec![|world| {
                if world.mode == Mode::Link {
                    world.old = OldData::Spent;
                }
            }],
            Step::Commit => vec![|world| {
                if world.staging != New::Absent {
                    world.target = world.staging;
                    world.staging = New::Absent;
                }
            }],
            Step::Start => vec![|world| world.new_live = true],
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
            Cleanup::DiscardNew => self.staging = New::Absent,
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
enum Fate {
    GoOn,
    Write,
    Kill,
    /// Killed, and somebody starts the old server by hand before the next run.
    KillAndStartOld,
}

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    let one = prop_oneof![
        6 => Just(Fate::GoOn), 3 => Just(Fate::Write), 2 => Just(Fate::Kill), 1 => Just(Fate::KillAndStartOld)
    ];
    proptest::collection::vec(one, 0..200)
}

/// Whether the run is killed here.
fn between(world: &mut World, fates: &mut std::vec::IntoIter<Fate>) -> Result<bool, TestCaseError> {
    prop_assert!(world.nothing_is_lost(), "{:?}", world);
    prop_assert!(!(world.old_live && world.new_live), "two servers: {:?}", world);
    match fates.next().unwrap_or(Fate::GoOn) {
        Fate::GoOn => Ok(false),
        Fate::Write => {
            world.client();
            Ok(false)
        }
        Fate::Kill => Ok(true),
        Fate::KillAndStartOld => {
            // Without its control file it does not start; and once the new folder has its name, the old one is known
            // to be old.
            if !world.control_aside && world.target == New::Absent {
                world.old_live = true;
                world.client();
            }
            Ok(true)
        }
    }
}

/// One run of the program: true when it came to its end, false when it was killed or there is no way on.
fn run(
    world: &mut World,
    reindexing: Reindexing,
    fates: &mut std::vec::IntoIter<Fate>,
) -> Result<bool, TestCaseError> {
    match world.machine(reindexing).recovery(world.old_condition()) {
        Ok(None) => {}
        Ok(Some(recovery)) => {
            for cleanup in &recovery.cleanup {
                world.clean(*cleanup);
                if between(world, fates)? {
                    return Ok(false);
                }
            }
            world.state = State::Ready(recovery.from);
        }
        Err(_) => return Ok(false),
    }
    loop {
        let mut machine = world.machine(reindexing);
        let State::Ready(step) = machine.state() else { return Ok(true) };
        let within = machine.before(Step::Quiesce, step) && machine.before(step, Step::Start);
        let used = world.old_live || world.seen != Some(world.old_has);
        if within && used && !world.control_aside {
            let recovery = machine.old_was_used().expect("a cluster that was started is transferred again");
            recovery.cleanup.iter().for_each(|cleanup| world.clean(*cleanup));
            world.state = State::Ready(recovery.from);
            continue;
        }
        prop_assert_eq!(machine.begin(), Ok(step));
        world.state = machine.state();
        if between(world, fates)? {
            return Ok(false);
        }
        for effect in world.effects(step) {
            effect(world);
            if between(world, fates)? {
                return Ok(false);
            }
        }
        prop_assert!(machine.finish().is_ok());
        world.state = machine.state();
        if between(world, fates)? {
            return Ok(false);
        }
    }
}

fn roll_back(world: &mut World, reindexing: Reindexing) -> Result<(), Refused> {
    let committed = world.target != New::Absent;
    let mut machine = world.machine(reindexing);
    let way = machine.way_back(world.old_condition(), committed, world.backup.is_some())?;
    machine.undo()?;
    world.state = machine.state();
    way.iter().for_each(|cleanup| world.clean(*cleanup));
    world.state = State::Undone;
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
    fn it_comes_to_its_end(mode in modes(), reindexing in reindexings(), live in any::<bool>(), fates in fates()) {
        let mut world = World::new(mode, live);
        let mut fates = fates.into_iter();
        for _ in 0..300 {
            if run(&mut world, reindexing, &mut fates)? {
                break;
            }
            if world.machine(reindexing).recovery(world.old_condition()) == Err(Refused::HalfSwapped) {
                prop_assert_eq!(mode, Mode::Swap);
                prop_assert_eq!(roll_back(&mut world, reindexing), Ok(()));
                prop_assert_eq!(world.old_has, world.written);
                return Ok(());
            }
        }
        prop_assert_eq!(world.state, State::Done);
        prop_assert_eq!(world.target, New::Whole(world.written));
        prop_assert!(!mode.keeps_the_old() || world.old == OldData::Whole, "the old cluster is never touched");
    }

    /// After kills, going back gives the old cluster with every write. It is refused exactly once the switch has happened.
    #[test]
    fn there_is_a_way_back_until_the_switch(
        mode in modes(), reindexing in reindexings(), live in any::<bool>(), fates in fates(), runs in 1usize..6
    ) {
        let mut world = World::new(mode, live);
        let mut fates = fates.into_iter();
        for _ in 0..runs {
            if run(&mut world, reindexing, &mut fates)? {
                break;
            }
        }
        match roll_back(&mut world, reindexing) {
            Ok(()) => {
                prop_assert_eq!(world.target, New::Absent);
                prop_assert_eq!(world.staging, New::Absent);
                prop_assert_eq!(world.old, OldData::Whole);
                prop_assert_eq!(world.old_has, world.written);
            }
            Err(Refused::Committed) => prop_assert_ne!(world.target, New::Absent),
            Err(why) => prop_assert!(false, "{} in {:?}", why, world),
        }
    }
}

#[test]
fn without_a_backup_of_ours_a_spent_cluster_has_no_way_back() {
    let machine = Machine::restored(Mode::Link, Reindexing::BeforeCommit, State::Running(Step::Verify));
    assert_eq!(machine.way_back(Old::Disabled, false, false), Err(Refused::OldGone { mode: Mode::Link }));
    let machine = Machine::restored(Mode::Link, Reindexing::BeforeCommit, State::Ready(Step::Verify));
    let way = machine.way_back(Old::Disabled, false, false).expect("the new server has not run");
    assert!(way.contains(&Cleanup::EnableOld) && !way.contains(&Cleanup::RestoreBackup));
}
