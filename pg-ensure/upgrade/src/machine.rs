//! The state machine: which step is next, what a kill or a failure in the middle of one means, how far back there is.

use super::mode::Mode;
use super::step::{Reindexing, Step, order};
use thiserror::Error;

/// The state of an upgrade, as the journal keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "shell",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "kebab-case", tag = "is", content = "step")
)]
pub enum State {
    /// Everything before this step is done, the step has not begun.
    Ready(Step),
    /// The step has begun. Found at the start of a run, it was cut short.
    Running(Step),
    /// It is being undone; the step is how far it had come.
    Undoing(Step),
    /// It was undone, the old cluster is as it was.
    Undone,
    /// All steps are done.
    Done,
}

/// The condition of the old data folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Old {
    /// It can be started.
    Whole,
    /// `pg_upgrade` has put its control file aside: linking or swapping has begun.
    Disabled,
}

/// A cleanup before a run resumes. Each is idempotent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cleanup {
    /// Programs that a killed run left behind are ended, its private servers stopped.
    StopLeftovers,
    /// A backup that was not finished is removed.
    DiscardBackup,
    /// The unfinished new cluster is removed, its folders in tablespaces too.
    DiscardNew,
    /// The old cluster's control file gets its name back.
    EnableOld,
    /// The old cluster is put back from the backup.
    RestoreBackup,
    /// The old server is started again, where the run had stopped it.
    StartOld,
}

/// The way a run resumes after an interrupted step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// To do first, in this order.
    pub cleanup: Vec<Cleanup>,
    /// The step to go on with.
    pub from: Step,
}

/// A transition that the machine refuses.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refused {
    /// The new folder has its name: clients may have written to it.
    #[error("the switch to the new cluster has happened: going back would lose what was written since")]
    Committed,
    /// Only the backup leads back, and there is none of ours.
    #[error(
        "in mode {mode} the old cluster is gone at this point, and this program made no backup to put back: restore yours"
    )]
    OldGone {
        /// The transfer mode.
        mode: Mode,
    },
    /// The files were on their way when it was cut short.
    #[error(
        "swapping was cut short in the middle: neither cluster is whole; `rollback` restores the old one from the backup"
    )]
    HalfSwapped,
    /// It is being undone.
    #[error("it is being rolled back: `rollback` finishes that")]
    BeingUndone,
    /// There is nothing to undo or go on with.
    #[error("there is nothing under way")]
    Over,
    /// The journal says what cannot be.
    #[error("step {0} is not where the journal says")]
    OutOfOrder(Step),
}

/// An upgrade's position among its steps. It does nothing itself: a shell does what it says and tells what happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    mode: Mode,
    order: Vec<Step>,
    state: State,
}

impl Machine {
    /// An upgrade that has not begun.
    #[must_use]
    pub fn new(mode: Mode, reindexing: Reindexing) -> Self {
        Self { mode, order: order(mode, reindexing), state: State::Ready(Step::Discover) }
    }

    /// An upgrade as a journal has it.
    #[must_use]
    pub fn restored(mode: Mode, reindexing: Reindexing, state: State) -> Self {
        Self { mode, order: order(mode, reindexing), state }
    }

    /// The current state.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// The transfer mode.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The steps in their order.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.order
    }

    fn position(&self, step: Step) -> usize {
        self.order.iter().position(|other| *other == step).unwrap_or(self.order.len())
    }

    /// Returns true if `step` comes before `other` in this upgrade.
    #[must_use]
    pub fn before(&self, step: Step, other: Step) -> bool {
        self.position(step) < self.position(other)
    }

    /// The step that is ready begins.
    ///
    /// # Errors
    /// When none is.
    pub fn begin(&mut self) -> Result<Step, Refused> {
        match self.state {
            State::Ready(step) => {
                self.state = State::Running(step);
                Ok(step)
            }
            State::Running(step) => Err(Refused::OutOfOrder(step)),
            State::Undoing(_) => Err(Refused::BeingUndone),
            State::Undone | State::Done => Err(Refused::Over),
        }
    }

    /// The running step is done.
    ///
    /// # Errors
    /// When none is running.
    pub fn finish(&mut self) -> Result<State, Refused> {
        let State::Running(step) = self.state else { return Err(Refused::Over) };
        self.state = self.order.get(self.position(step) + 1).map_or(State::Done, |next| State::Ready(*next));
        Ok(self.state)
    }

    /// Returns the recovery after the running step failed or was interrupted. The state changes only by [`Machine::recovered`],
    /// so that a recovery which is itself cut short begins again.
    ///
    /// # Errors
    /// When there is no way on.
    pub fn recovery(&self, old: Old) -> Result<Option<Recovery>, Refused> {
        let step = match self.state {
            State::Ready(_) | State::Undone | State::Done => return Ok(None),
            State::Undoing(_) => return Err(Refused::BeingUndone),
            State::Running(step) => step,
        };
        let (cleanup, from) = match step {
            Step::Backup => (vec![Cleanup::StopLeftovers, Cleanup::DiscardBackup], Step::Backup),
            // What pg_upgrade has begun with a cluster cannot be gone on with.
            Step::Prepare | Step::Check => (vec![Cleanup::StopLeftovers, Cleanup::DiscardNew], Step::Prepare),
            Step::Transfer => match (self.mode, old) {
                (Mode::Swap, Old::Disabled) => return Err(Refused::HalfSwapped),
                (_, Old::Whole) => (vec![Cleanup::StopLeftovers, Cleanup::DiscardNew], Step::Prepare),
                // The new cluster has not been started for anybody, so the files are still the old one's.
                (_, Old::Disabled) => {
                    (vec![Cleanup::StopLeftovers, Cleanup::DiscardNew, Cleanup::EnableOld], Step::Prepare)
                }
            },
            step => (vec![Cleanup::StopLeftovers], step),
        };
        Ok(Some(Recovery { cleanup, from }))
    }

    /// The recovery is done.
    pub fn recovered(&mut self, recovery: &Recovery) {
        self.state = State::Ready(recovery.from);
    }

    /// Somebody has started the old server since its data were transferred: what it wrote is not in the new cluster.
    /// The transfer is done again.
    ///
    /// # Errors
    /// After the switch, and in modes whose old cluster cannot have been started.
    pub fn old_was_used(&self) -> Result<Recovery, Refused> {
        let step = self.reached()?;
        if !self.before(step, Step::Start) {
            return Err(Refused::Committed);
        }
        if !self.mode.keeps_the_old() && !self.before(step, Step::Verify) {
            return Err(Refused::OldGone { mode: self.mode });
        }
        Ok(Recovery { cleanup: vec![Cleanup::StopLeftovers, Cleanup::DiscardNew], from: Step::Prepare })
    }

    fn reached(&self) -> Result<Step, Refused> {
        match self.state {
            State::Ready(step) | State::Running(step) | State::Undoing(step) => Ok(step),
            State::Undone => Err(Refused::Over),
            State::Done => Err(Refused::Committed),
        }
    }

    /// Returns the cleanups of a rollback. `committed` says whether the new folder has its name already: a kill during the step
    /// commit leaves that open. `backup` says whether there is a backup of ours that can be put back.
    ///
    /// # Errors
    /// Where there is no way back.
    pub fn way_back(&self, old: Old, committed: bool, backup: bool) -> Result<Vec<Cleanup>, Refused> {
        let step = self.reached()?;
        if committed || !self.before(step, Step::Start) {
            return Err(Refused::Committed);
        }
        let mut way = vec![Cleanup::StopLeftovers];
        if self.state == State::Running(Step::Backup) {
            way.push(Cleanup::DiscardBackup);
        }
        let started = match self.state {
            State::Ready(step) => self.before(Step::Verify, step),
            _ => !self.before(step, Step::Verify),
        };
        let gone = match self.mode {
            Mode::Copy | Mode::Clone | Mode::CopyFileRange => false,
            Mode::Link => started,
            Mode::Swap => old == Old::Disabled,
        };
        if gone {
            if !backup {
                return Err(Refused::OldGone { mode: self.mode });
            }
            way.extend([Cleanup::RestoreBackup, Cleanup::DiscardNew]);
        } else {
            way.push(Cleanup::DiscardNew);
            if old == Old::Disabled {
                way.push(Cleanup::EnableOld);
            }
        }
        way.push(Cleanup::StartOld);
        Ok(way)
    }

    /// Going back begins.
    ///
    /// # Errors
    /// When nothing is under way.
    pub fn undo(&mut self) -> Result<(), Refused> {
        self.state = State::Undoing(self.reached()?);
        Ok(())
    }

    /// Going back is done.
    pub fn undone(&mut self) {
        self.state = State::Undone;
    }
}
