//! State of both clusters, determined from their directories.

use crate::facts::Backup;
use crate::machine::{Machine, NewClusterState, OldClusterState, RestorableBackup};
use crate::record::{Record, ResolvedOptions};

/// Creates the state machine of a record.
pub(super) fn machine_of(record: &Record) -> Machine {
    Machine::from_state(record.choices.mode, record.choices.reindexing, record.state)
}

/// Returns the state of the old cluster: disabled once `pg_upgrade` has renamed its control file, or if its directory
/// is missing.
pub(super) fn old_condition(choices: &ResolvedOptions) -> OldClusterState {
    let global = choices.old_data.join("global");
    let aside = global.join("pg_control.old").exists() && !global.join("pg_control").exists();
    // Swapping moves directories after that, and restoring a backup begins by moving the remains of the cluster away.
    if aside || !choices.old_data.exists() { OldClusterState::Disabled } else { OldClusterState::Whole }
}

/// Returns `true` if the staging directory has been renamed to the new data directory.
pub(super) fn committed(choices: &ResolvedOptions) -> bool {
    choices.new_data.join("PG_VERSION").exists() && !choices.staging.exists()
}

/// Returns the state of the new cluster.
pub(super) fn new_condition(choices: &ResolvedOptions) -> NewClusterState {
    if committed(choices) { NewClusterState::Committed } else { NewClusterState::Staged }
}

/// Returns whether this program made a base backup of the old cluster.
pub(super) fn restorable(record: &Record) -> RestorableBackup {
    if record.backup_made && matches!(record.choices.backup, Backup::Base(_)) {
        RestorableBackup::Present
    } else {
        RestorableBackup::Missing
    }
}
