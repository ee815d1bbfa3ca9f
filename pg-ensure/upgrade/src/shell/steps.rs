//! Execution of the steps that the state machine determines, with the journal.

use super::condition::{machine_of, old_condition};
use super::error::UpgradeError;
use super::journal::now;
use super::outcome::Outcome;
use super::run::Run;
use super::{across, after, backup, cleanup, gather, pg_upgrade, prepare, reindex, server};
use crate::facts::{CatalogQuery, ServerState};
use crate::machine::{Machine, Recovery, State};
use crate::preflight::passes;
use crate::record::{Entry, Record};
use crate::report::span;
use crate::step::Step;

/// Recovers from an interruption, then performs the remaining steps until the upgrade is complete, has to wait, or
/// reaches the requested step. Writes the reports, and returns the record with the outcome.
///
/// # Errors
/// Returns an error if the recovery, a step or the journal fails.
pub(super) fn run_steps(run: &mut Run<'_>) -> Result<(Record, Outcome), UpgradeError> {
    recover(run)?;
    loop {
        let mut machine = machine_of(&run.record);
        let step = match machine.state() {
            State::Done => {
                run.write_reports()?;
                return Ok((run.record.clone(), Outcome::Done));
            }
            State::Ready(step) => step,
            State::Running(_) | State::RollingBack(_) | State::RolledBack => {
                // Recovery has ended a running state, and refused one that is being rolled back.
                return Err(crate::TransitionError::Over.into());
            }
        };
        if run.request.until.is_some_and(|until| machine.before(until, step)) {
            run.write_reports()?;
            return Ok((run.record.clone(), Outcome::Waiting(step)));
        }
        if step == Step::Start && waits_for_somebody(run) {
            run.write_reports()?;
            return Ok((run.record.clone(), Outcome::Waiting(step)));
        }
        if machine.before(Step::Quiesce, step) && machine.before(step, Step::Start) && run.old_was_used()? {
            let recovery = machine.old_was_used()?;
            run.observer.note("the old server was started meanwhile: its data are transferred again");
            apply(run, &recovery)?;
            continue;
        }
        machine.begin()?;
        run.record.state = machine.state();
        run.record.history.push(Entry { step, began: now(), ended: None, failed: None, notes: Vec::new() });
        run.save()?;
        run.observer.begin(step);
        let result = perform(run, step);
        ended(run, machine, step, result)?;
    }
}

/// Records the result of a step in the journal. A step that needs the operator to set a service counts as not
/// begun.
///
/// # Errors
/// Returns the error of the step, or an error if the journal cannot be written.
fn ended(
    run: &mut Run<'_>,
    mut machine: Machine,
    step: Step,
    result: Result<(), UpgradeError>,
) -> Result<(), UpgradeError> {
    match result {
        Ok(()) => {
            let ended = now();
            let mut took = 0;
            if let Some(entry) = run.record.history.last_mut() {
                entry.ended = Some(ended);
                took = ended.saturating_sub(entry.began);
            }
            run.record.state = machine.finish()?;
            run.save()?;
            run.observer.end(step, &format!("done in {}", span(took)));
            Ok(())
        }
        Err(UpgradeError::ServiceNeeded { unit, start }) => {
            // Nothing was changed, so the step counts as not begun.
            run.record.history.pop();
            run.record.state = State::Ready(step);
            run.save()?;
            run.observer.end(step, "waits for the service");
            Err(UpgradeError::ServiceNeeded { unit, start })
        }
        Err(why) => {
            if let Some(entry) = run.record.history.last_mut() {
                entry.ended = Some(now());
                entry.failed = Some(why.to_string());
            }
            run.observer.end(step, "failed");
            // The step counts as begun, so that the next run cleans up. The journal cannot be written if the disk
            // is full, and then still has the running state.
            let _ = run.save();
            let _ = run.write_reports();
            Err(why)
        }
    }
}

/// Performs the work of a step. The journal is not written here.
///
/// # Errors
/// Returns the error of the step.
fn perform(run: &mut Run<'_>, step: Step) -> Result<(), UpgradeError> {
    match step {
        Step::Discover => discover(run),
        Step::Preflight => preflight(run),
        Step::Backup => backup::backup(run),
        Step::Prepare => prepare::prepare(run),
        Step::Check => pg_upgrade::check(run),
        Step::Quiesce => across::quiesce(run),
        Step::Transfer => pg_upgrade::transfer(run),
        Step::Verify => across::verify(run),
        Step::Reindex => reindex::reindex(run),
        Step::Carry => after::carry(run),
        Step::Commit => after::commit(run),
        Step::Start => after::start(run),
        Step::Statistics => after::statistics(run),
        Step::Extensions => after::extensions(run),
    }
}

/// Cleans up after a run that was interrupted during a step. No effect otherwise.
///
/// # Errors
/// Returns an error if no recovery is possible from the cluster's state, or a cleanup or the journal fails.
fn recover(run: &mut Run<'_>) -> Result<(), UpgradeError> {
    let machine = machine_of(&run.record);
    let Some(recovery) = machine.recovery(old_condition(&run.record.choices))? else { return Ok(()) };
    if let State::Running(step) = machine.state() {
        run.observer.note(&format!("{step} was cut short: going on from {}", recovery.from));
    }
    apply(run, &recovery)
}

/// Performs a recovery and records that it is complete.
///
/// # Errors
/// Returns the error of the first cleanup that fails, or an error if the journal cannot be written.
fn apply(run: &mut Run<'_>, recovery: &Recovery) -> Result<(), UpgradeError> {
    for cleanup in &recovery.cleanup {
        cleanup::clean(run, *cleanup)?;
    }
    let mut machine = machine_of(&run.record);
    machine.finish_recovery(recovery);
    run.record.state = machine.state();
    run.save()
}

/// Notes the versions and folders of the programs, the mode, and the number of parallel jobs.
///
/// # Errors
/// Never returns an error.
fn discover(run: &mut Run<'_>) -> Result<(), UpgradeError> {
    let choices = run.record.choices.clone();
    run.note(format!("{} in {}", choices.old_version, choices.old_bin.display()));
    run.note(format!("{} in {}", choices.new_version, choices.new_bin.display()));
    run.note(format!("mode {}, {} at once", choices.mode, choices.jobs));
    Ok(())
}

/// Runs the preflight, with a private server if the old one is stopped, and records the findings, whether the old
/// server runs, and the properties of the old cluster.
///
/// # Errors
/// Returns [`UpgradeError::Blocked`] with all findings if one prevents the upgrade or requires consent, or another
/// error if the facts cannot be gathered.
fn preflight(run: &mut Run<'_>) -> Result<(), UpgradeError> {
    let (request, layout) = (run.request, run.layout);
    let facts = gather::facts(request, layout, run.hba, &run.record.id, true)?;
    let findings = crate::preflight::preflight(&facts, &request.accept);
    run.record.findings.clone_from(&findings);
    run.record.was_live =
        matches!(facts.old.as_ref().map(|old| &old.running), Some(ServerState::Running { .. }));
    if !passes(&findings) {
        return Err(UpgradeError::Blocked(findings));
    }
    match facts.catalog {
        CatalogQuery::Succeeded(catalog) => run.record.catalog = Some(*catalog),
        // Only a cluster with a blocking finding is not queried.
        _ => {
            return Err(UpgradeError::Other("the old server could not be asked what is in it".to_owned()));
        }
    }
    let count = findings.len();
    run.note(format!("{count} findings, none in the way"));
    Ok(())
}

/// Returns `true` if the new server has to be started by the operator and is not running yet.
fn waits_for_somebody(run: &Run<'_>) -> bool {
    let choices = &run.record.choices;
    !(run.request.starting && choices.starting) && server::running_pid_file(&choices.new_data).is_none()
}
