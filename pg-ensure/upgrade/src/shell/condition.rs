//! The state of both clusters as their folders show it.

use crate::machine::{Machine, OldClusterState};
use crate::record::{Record, ResolvedOptions};

/// Creates the state machine with the state in a journal.
pub(super) fn machine_of(record: &Record) -> Machine {
    Machine::from_state(record.choices.mode, record.choices.reindexing, record.state)
}

/// Returns whether the old cluster can be started: it is disabled once `pg_upgrade` has renamed its control file, or its folder is
/// gone.
pub(super) fn old_condition(choices: &ResolvedOptions) -> OldClusterState {
    let global = choices.old_data.join("global");
    let aside = global.join("pg_control.old").exists() && !global.join("pg_control").exists();
    // Swapping moves folders after that, and putting a backup back begins by moving what is left of the cluster away.
    if aside || !choices.old_data.exists() { OldClusterState::Disabled } else { OldClusterState::Whole }
}

/// Returns true once the new folder has been renamed to its final name.
pub(super) fn committed(choices: &ResolvedOptions) -> bool {
    choices.new_data.join("PG_VERSION").exists() && !choices.staging.exists()
}
