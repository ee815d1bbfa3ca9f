//! Comparison of current and desired state, which yields a plan.

mod contents;
pub(crate) mod planner;

use crate::cluster::{database, grant, membership, role, setting};
use crate::current::CurrentState;
use crate::desired::DesiredState;
use crate::plan::{Consent, Plan};
use planner::Planner;

/// Plans the fewest changes that bring a cluster to its desired state, in a valid order. Executes nothing.
///
/// A change that the session is not permitted to make, that PostgreSQL cannot make, or that destroys something without
/// consent is reported as blocked; all other changes are planned. The desired state should have been
/// [validated](DesiredState::validate).
#[must_use]
pub fn diff(current: &CurrentState, desired: &DesiredState, consent: &Consent) -> Plan {
    let mut planner = Planner::new(current, desired, consent);
    role::plan::plan(&mut planner);
    membership::plan::plan(&mut planner);
    setting::plan::plan(&mut planner);
    database::plan::plan_creation(&mut planner);
    database::plan::plan(&mut planner);
    setting::plan::plan_in_databases(&mut planner);
    grant::plan::plan_shared(&mut planner);
    for database in desired.looks_into() {
        contents::plan(&mut planner, &database);
    }
    database::plan::plan_removals(&mut planner);
    role::plan::plan_removals(&mut planner);
    planner.finish(current)
}
