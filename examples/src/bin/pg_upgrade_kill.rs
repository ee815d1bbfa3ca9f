//! Effect of a kill at each step of an upgrade, and of a rollback, as the state machine describes it. Run: `cargo run
//! -p examples --bin pg_upgrade_kill -- swap`. The default mode is copy.

use pg_upgrade::{Machine, Mode, NewClusterState, OldClusterState, Reindexing, RestorableBackup, State};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mode: Mode = std::env::args().nth(1).as_deref().unwrap_or("copy").parse()?;
    if let Some(warning) = mode.warning() {
        println!("{mode}: {warning}\n");
    }
    for step in Machine::new(mode, Reindexing::BeforeCommit).steps() {
        let machine = Machine::from_state(mode, Reindexing::BeforeCommit, State::Running(*step));
        // In modes that consume the old cluster, the old control file is renamed as soon as the transfer starts.
        let aside = !mode.keeps_the_old() && !machine.before(*step, pg_upgrade::Step::Transfer);
        let old = if aside { OldClusterState::Disabled } else { OldClusterState::Whole };
        let on = match machine.recovery(old) {
            Ok(Some(recovery)) => format!("goes on from {}", recovery.from),
            Ok(None) => "nothing to put in order".to_owned(),
            Err(why) => why.to_string(),
        };
        let back = match machine.rollback(old, NewClusterState::Staged, RestorableBackup::Present) {
            Ok(way) => format!("{way:?}"),
            Err(why) => why.to_string(),
        };
        println!("{step}\n  killed: {on}\n  --rollback: {back}");
    }
    Ok(())
}
