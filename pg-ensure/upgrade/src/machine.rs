//! State machine of an upgrade: the next step, the recovery after an interruption, and the rollback.

use super::mode::Mode;
use super::step::{Reindexing, Step, order};
use thiserror::Error;

/// State of an upgrade, as recorded in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "shell",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "kebab-case", tag = "is", content = "step")
)]
pub enum State {
    /// Every step before this one is complete, and this one has not begun.
    Ready(Step),
    /// This step has begun. In a journal at the start of a run, it was interrupted or failed.
    Running(Step),
    /// The upgrade is being rolled back; the step that it had reached.
    #[cfg_attr(feature = "shell", serde(rename = "undoing"))]
    RollingBack(Step),
    /// The upgrade was rolled back, and the old cluster is in its former state.
    #[cfg_attr(feature = "shell", serde(rename = "undone"))]
    RolledBack,
    /// Every step is complete.
    Done,
}

/// State of the old data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OldClusterState {
    /// The directory exists and has its control file, so that the old server can be started.
    Whole,
    /// The old server cannot be started: `pg_upgrade` has renamed the control file, since linking or swapping has
    /// begun, or the directory is missing.
    Disabled,
}

/// State of the new cluster's data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewClusterState {
    /// It is missing, or in the staging directory.
    Staged,
    /// It has its final name.
    Committed,
}

/// Existence of a base backup of the old cluster that this upgrade made and verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestorableBackup {
    /// There is none, so that a rollback cannot restore a destroyed cluster.
    Missing,
    /// There is one, from which a rollback can restore a destroyed cluster.
    Present,
}

/// A cleanup before a run resumes, or as part of a rollback. Each is idempotent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cleanup {
    /// Terminates programs and private servers that an interrupted run left behind.
    StopLeftovers,
    /// Removes an incomplete backup. One that was made and verified is kept.
    DiscardBackup,
    /// Removes the incomplete new cluster in the staging directory, the content of its WAL directory, and its
    /// directories in tablespaces.
    DiscardNew,
    /// Restores the name of the old cluster's control file.
    EnableOld,
    /// Restores the old cluster from the base backup. The remains of the cluster are kept under another name.
    RestoreBackup,
    /// Starts the old server, if it was running when the upgrade began and is not running now.
    StartOld,
}

/// Recovery of a run after an interrupted step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// Cleanups to perform first, in this order.
    pub cleanup: Vec<Cleanup>,
    /// Step with which the run continues.
    pub from: Step,
}

/// Error of a transition that is not possible in the current state.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TransitionError {
    /// The new data directory has its final name, so that clients may have written to the new cluster.
    #[error("the switch to the new cluster has happened: going back would lose what was written since")]
    Committed,
    /// The mode has destroyed the old cluster, so that its data cannot be transferred again, and a rollback requires a
    /// base backup that this upgrade made.
    #[error(
        "in mode {mode} the old cluster is gone at this point, and this program made no backup to put back: restore yours"
    )]
    OldGone {
        /// Transfer mode of the upgrade.
        mode: Mode,
    },
    /// Swapping was interrupted, so that neither cluster is complete. The old one can be restored from the backup.
    #[error(
        "swapping was cut short in the middle: neither cluster is whole; `rollback` restores the old one from the backup"
    )]
    HalfSwapped,
    /// The upgrade is being rolled back.
    #[error("it is being rolled back: `rollback` finishes that")]
    BeingRolledBack,
    /// No upgrade is in progress, or no step is running.
    #[error("there is nothing under way")]
    Over,
    /// The step is already running, so that another one cannot begin.
    #[error("step {0} is not where the journal says")]
    OutOfOrder(Step),
}

/// Position of an upgrade within its steps. Performs no I/O: a shell executes the steps and reports their results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    mode: Mode,
    order: Vec<Step>,
    state: State,
}

impl Machine {
    /// Creates the machine of an upgrade that has not begun.
    #[must_use]
    pub fn new(mode: Mode, reindexing: Reindexing) -> Self {
        Self { mode, order: order(mode, reindexing), state: State::Ready(Step::Discover) }
    }

    /// Creates a machine from the state in a journal.
    #[must_use]
    pub fn from_state(mode: Mode, reindexing: Reindexing, state: State) -> Self {
        Self { mode, order: order(mode, reindexing), state }
    }

    /// Returns the current state.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Returns the transfer mode.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Returns the steps, in order.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.order
    }

    /// Returns the index of a step in the order. The number of steps if the upgrade does not contain it.
    fn position(&self, step: Step) -> usize {
        self.order.iter().position(|other| *other == step).unwrap_or(self.order.len())
    }

    /// Returns `true` if `step` comes before `other` in this upgrade.
    #[must_use]
    pub fn before(&self, step: Step, other: Step) -> bool {
        self.position(step) < self.position(other)
    }

    /// Begins the next step, and returns it.
    ///
    /// # Errors
    /// Returns [`TransitionError`] unless a step is ready.
    pub fn begin(&mut self) -> Result<Step, TransitionError> {
        match self.state {
            State::Ready(step) => {
                self.state = State::Running(step);
                Ok(step)
            }
            State::Running(step) => Err(TransitionError::OutOfOrder(step)),
            State::RollingBack(_) => Err(TransitionError::BeingRolledBack),
            State::RolledBack | State::Done => Err(TransitionError::Over),
        }
    }

    /// Completes the running step. Returns the new state.
    ///
    /// # Errors
    /// Returns [`TransitionError`] if no step is running.
    pub fn finish(&mut self) -> Result<State, TransitionError> {
        let State::Running(step) = self.state else { return Err(TransitionError::Over) };
        self.state = self.order.get(self.position(step) + 1).map_or(State::Done, |next| State::Ready(*next));
        Ok(self.state)
    }

    /// Returns the recovery after the running step failed or was interrupted. `None` if no step is running. After
    /// prepare, check and transfer, the new cluster is discarded and made again; after backup, the incomplete backup is
    /// discarded; any other step is repeated. The state is changed only by [`Machine::finish_recovery`], so that an
    /// interrupted recovery is repeated.
    ///
    /// # Errors
    /// Returns [`TransitionError::BeingRolledBack`] during a rollback, and [`TransitionError::HalfSwapped`] after an
    /// interruption while swapping.
    pub fn recovery(&self, old: OldClusterState) -> Result<Option<Recovery>, TransitionError> {
        let step = match self.state {
            State::Ready(_) | State::RolledBack | State::Done => return Ok(None),
            State::RollingBack(_) => return Err(TransitionError::BeingRolledBack),
            State::Running(step) => step,
        };
        let (cleanup, from) = match step {
            Step::Backup => (vec![Cleanup::StopLeftovers, Cleanup::DiscardBackup], Step::Backup),
            // A cluster on which pg_upgrade has begun cannot be used again.
            Step::Prepare | Step::Check => (vec![Cleanup::StopLeftovers, Cleanup::DiscardNew], Step::Prepare),
            Step::Transfer => match (self.mode, old) {
                (Mode::Swap, OldClusterState::Disabled) => return Err(TransitionError::HalfSwapped),
                (_, OldClusterState::Whole) => {
                    (vec![Cleanup::StopLeftovers, Cleanup::DiscardNew], Step::Prepare)
                }
                // Clients have not used the new cluster, so the files still have the content of the old one.
                (_, OldClusterState::Disabled) => {
                    (vec![Cleanup::StopLeftovers, Cleanup::DiscardNew, Cleanup::EnableOld], Step::Prepare)
                }
            },
            step => (vec![Cleanup::StopLeftovers], step),
        };
        Ok(Some(Recovery { cleanup, from }))
    }

    /// Records that the recovery is complete: the step from which the run continues is ready.
    pub fn finish_recovery(&mut self, recovery: &Recovery) {
        self.state = State::Ready(recovery.from);
    }

    /// Returns the recovery if the old server has run since it was stopped, so that its changes are missing in the new
    /// cluster: the new cluster is discarded, and the upgrade continues from the step prepare.
    ///
    /// # Errors
    /// Returns [`TransitionError::Committed`] from the step start on, [`TransitionError::OldGone`] from the step verify
    /// on in modes that destroy the old cluster, and [`TransitionError::Over`] if the upgrade was rolled back.
    pub fn old_was_used(&self) -> Result<Recovery, TransitionError> {
        let step = self.reached()?;
        if !self.before(step, Step::Start) {
            return Err(TransitionError::Committed);
        }
        if !self.mode.keeps_the_old() && !self.before(step, Step::Verify) {
            return Err(TransitionError::OldGone { mode: self.mode });
        }
        Ok(Recovery { cleanup: vec![Cleanup::StopLeftovers, Cleanup::DiscardNew], from: Step::Prepare })
    }

    /// Returns the step that the upgrade has reached.
    ///
    /// # Errors
    /// Returns [`TransitionError`] if the upgrade is complete or was rolled back.
    fn reached(&self) -> Result<Step, TransitionError> {
        match self.state {
            State::Ready(step) | State::Running(step) | State::RollingBack(step) => Ok(step),
            State::RolledBack => Err(TransitionError::Over),
            State::Done => Err(TransitionError::Committed),
        }
    }

    /// Returns the cleanups of a rollback, in order. `old` and `new` are the states of the data directories as found on
    /// disk, since the state of the machine alone does not show them after an interruption. `backup` is restored only
    /// if the old cluster is destroyed: by linking once the step verify has begun, by swapping once the control file
    /// has been renamed.
    ///
    /// # Errors
    /// Returns [`TransitionError::Committed`] after the switch and if the upgrade is complete,
    /// [`TransitionError::Over`] if it was rolled back, and [`TransitionError::OldGone`] if the old cluster is
    /// destroyed and there is no backup.
    pub fn rollback(
        &self,
        old: OldClusterState,
        new: NewClusterState,
        backup: RestorableBackup,
    ) -> Result<Vec<Cleanup>, TransitionError> {
        let step = self.reached()?;
        if new == NewClusterState::Committed || !self.before(step, Step::Start) {
            return Err(TransitionError::Committed);
        }
        let mut cleanups = vec![Cleanup::StopLeftovers];
        if self.state == State::Running(Step::Backup) {
            cleanups.push(Cleanup::DiscardBackup);
        }
        let started = match self.state {
            State::Ready(step) => self.before(Step::Verify, step),
            _ => !self.before(step, Step::Verify),
        };
        let gone = match self.mode {
            Mode::Copy | Mode::Clone | Mode::CopyFileRange => false,
            Mode::Link => started,
            Mode::Swap => old == OldClusterState::Disabled,
        };
        if gone {
            if backup == RestorableBackup::Missing {
                return Err(TransitionError::OldGone { mode: self.mode });
            }
            cleanups.extend([Cleanup::RestoreBackup, Cleanup::DiscardNew]);
        } else {
            cleanups.push(Cleanup::DiscardNew);
            if old == OldClusterState::Disabled {
                cleanups.push(Cleanup::EnableOld);
            }
        }
        cleanups.push(Cleanup::StartOld);
        Ok(cleanups)
    }

    /// Begins a rollback from the step that was reached.
    ///
    /// # Errors
    /// Returns [`TransitionError`] if the upgrade is complete or was rolled back.
    pub fn begin_rollback(&mut self) -> Result<(), TransitionError> {
        self.state = State::RollingBack(self.reached()?);
        Ok(())
    }

    /// Records that the rollback is complete: the state becomes [`State::RolledBack`], whatever it was.
    pub fn finish_rollback(&mut self) {
        self.state = State::RolledBack;
    }
}
