//! The commands of the program.

use crate::account::{self, START, STOP};
use crate::args::{Action, Args, Command};
use crate::concern::Line;
use crate::hba::RuleComparison;
use crate::manual::MANUAL;
use crate::progress::LineObserver;
use crate::service::{ParentProcess, Systemd};
use crate::views;
use clap::CommandFactory;
use cli_support::finding::{Finding, Findings, Place};
use cli_support::outcome::{Done, Failure, chain, ok};
use pg_upgrade::{
    GcOptions, Outcome, RehearsalOptions, Services, State, StopMethod, Upgrade, UpgradeError, collect, html,
    passes, report,
};
use serde_json::json;
use std::num::NonZeroU32;
use std::process::ExitCode;

/// Runs the command, and prints its result. `called` is the name that the program was called by. As root, everything
/// but completions and man pages is left to a process of the cluster's owner. Returns the exit code.
///
/// # Errors
/// Returns a [`Failure`] if the options are not valid or the command fails.
pub(crate) fn run(args: &Args, called: &str) -> Result<ExitCode, Failure> {
    if let Some(Command::Shell(generate)) = &args.command {
        return generate.outcome(Line::command(), &MANUAL).map(Into::into);
    }
    if let Some(Command::Gc { older_than, backups, dry_run }) = &args.command {
        if account::is_root() {
            return account::run_as_owner(&args.base, None, None);
        }
        let options = GcOptions { older_than: *older_than, backups: *backups, dry_run: *dry_run };
        let garbage = collect(&args.base, &options).map_err(|why| failure(&why))?;
        views::garbage(&garbage, *dry_run, args.json);
        let differs = *dry_run && !garbage.removed.is_empty();
        return Ok(if differs { Done::Differences } else { Done::Fine }.into());
    }
    let request = args.request(called)?;
    let stopping = request.stopping.clone();
    let start_service = request.start_service.clone();
    let upgrade = Upgrade::new(request);
    if account::is_root() {
        let stop = if let StopMethod::Service(unit) = &stopping { Some(unit.as_str()) } else { None };
        let folder = if upgrade.old_data().exists() { upgrade.old_data() } else { upgrade.base() };
        // A rollback starts the old server, whatever the unit of the new one is.
        let rolls_back = args.action() == Some(Action::Rollback);
        let start = if rolls_back { None } else { start_service.as_deref() };
        warn_deprecated(args);
        return account::run_as_owner(folder, stop, start);
    }
    if !account::is_child() {
        warn_deprecated(args);
    }
    let services: &dyn Services = if account::is_child() { &ParentProcess } else { &Systemd };
    match &args.command {
        Some(Command::Plan | Command::Run { dry_run: true }) => plan(&upgrade, args.json),
        Some(Command::Check { .. }) => check(&upgrade, args.json),
        Some(Command::Rehearse { at, max_rate, runs }) => {
            let at = at.as_ref().map(std::path::absolute).transpose();
            let at = at.map_err(|why| Failure::Configuration(format!("--at: {why}")))?;
            rehearse(
                &upgrade,
                &RehearsalOptions { at, max_rate: Some(max_rate.clone()), max_runs: NonZeroU32::new(*runs) },
                services,
                args.json,
            )
        }
        Some(Command::Status) => status(&upgrade, args.json),
        Some(Command::Report { html: as_html }) => {
            let record = upgrade.status().map_err(|why| failure(&why))?.ok_or_else(no_upgrade_error)?;
            match (args.json, as_html) {
                (true, _) => println!("{}", views::record(&record)),
                (_, true) => print!("{}", html(&record)),
                _ => print!("{}", report(&record)),
            }
            Ok(Done::Fine.into())
        }
        Some(Command::Gc { .. } | Command::Shell(_)) => unreachable!("handled above"),
        Some(Command::Run { .. } | Command::Rollback) | None if args.action() == Some(Action::Rollback) => {
            let mut lines = LineObserver::new(args.json);
            match upgrade.roll_back(&RuleComparison, services, &mut lines) {
                Ok(record) if args.json => println!("{}", views::record(&record)),
                Ok(record) => {
                    println!("undone: {} is as it was", record.choices.old_data.display());
                    record.remarks.iter().for_each(|left| println!("{left}"));
                }
                Err(why) => return report_failure(&upgrade, &why, args.json),
            }
            Ok(Done::Fine.into())
        }
        Some(Command::Run { .. } | Command::Rollback) | None => run_upgrade(&upgrade, services, args.json),
    }
}

/// Returns the failure of a command that needs the journal of an upgrade, if there is none.
fn no_upgrade_error() -> Failure {
    Failure::Failed("no upgrade has begun here".to_owned())
}

/// Runs or resumes the upgrade, and prints its outcome. Returns the exit code: 0, or that of [`report_failure`].
///
/// # Errors
/// Returns a [`Failure`] if the upgrade fails for a reason other than findings that block it.
fn run_upgrade(upgrade: &Upgrade, services: &dyn Services, as_json: bool) -> Result<ExitCode, Failure> {
    let mut lines = LineObserver::new(as_json);
    let (record, outcome) = match upgrade.run(&RuleComparison, services, &mut lines) {
        Ok(ended) => ended,
        Err(why) => {
            drop(lines);
            return report_failure(upgrade, &why, as_json);
        }
    };
    drop(lines);
    if as_json {
        println!("{}", views::outcome(&record, &outcome));
    } else {
        match &outcome {
            Outcome::WasDone => println!(
                "done before: PostgreSQL {} is in {}; nothing was touched",
                record.choices.to,
                record.choices.new_data.display()
            ),
            Outcome::Waiting(step) => println!("stopped before {step}; run it again to go on"),
            Outcome::Done => print!("{}", report(&record)),
        }
        if outcome == Outcome::Done {
            println!("\nThe same as a page: {}", upgrade.work().join("report.html").display());
        }
    }
    Ok(Done::Fine.into())
}

/// Rehearses the upgrade, and prints the result. Returns the exit code: 0, or 1 if findings block it.
///
/// # Errors
/// Returns a [`Failure`] if the rehearsal fails, or the upgraded copy differs.
fn rehearse(
    upgrade: &Upgrade,
    rehearsing: &RehearsalOptions,
    services: &dyn Services,
    as_json: bool,
) -> Result<ExitCode, Failure> {
    let mut lines = LineObserver::new(as_json);
    let result = upgrade.rehearse(rehearsing, &RuleComparison, services, &mut lines);
    drop(lines);
    match result {
        Ok(rehearsal) if as_json => println!("{}", views::rehearsal(&rehearsal)),
        Ok(rehearsal) => print!("{}", views::rehearsal_text(&rehearsal)),
        Err(why @ UpgradeError::Differs(_)) => return Err(differing(&why, "", as_json)),
        Err(why @ UpgradeError::Blocked(_)) => return report_failure(upgrade, &why, as_json),
        Err(why) => {
            return Err(Failure::Failed(format!("{}; the running server was only read from", chain(&why))));
        }
    }
    Ok(Done::Fine.into())
}

/// Plans the upgrade, and prints steps and findings. Returns the exit code: 0 if the upgrade can begin, else 3.
///
/// # Errors
/// Returns a [`Failure`] if the facts cannot be gathered.
fn plan(upgrade: &Upgrade, as_json: bool) -> Result<ExitCode, Failure> {
    let plan = upgrade.plan(&RuleComparison).map_err(|why| failure(&why))?;
    if as_json {
        println!("{}", views::plan(&plan));
    } else {
        print!("{}", views::plan_text(&plan));
    }
    Ok(if passes(&plan.findings) { Done::Fine } else { Done::Differences }.into())
}

/// Codes of findings about the host, which `check` omits, since they only matter when an upgrade is run.
const RUN_ONLY_CODES: [&str; 9] =
    ["backup", "base", "disk-space", "live", "mode", "programs", "staging", "target", "unit"];

/// Prints the findings about the cluster for a later version, without those of [`RUN_ONLY_CODES`]. Returns the exit
/// code: 0 if none of them blocks an upgrade, else 3.
///
/// # Errors
/// Returns a [`Failure`] if the facts cannot be gathered.
fn check(upgrade: &Upgrade, as_json: bool) -> Result<ExitCode, Failure> {
    let plan = upgrade.plan(&RuleComparison).map_err(|why| failure(&why))?;
    let mut findings = plan.findings;
    findings.retain(|finding| !RUN_ONLY_CODES.contains(&finding.code.as_str()));
    if as_json {
        println!("{}", json!({"findings": views::findings(&findings), "passes": passes(&findings)}));
    } else {
        print!("{}", views::findings_text(&findings));
        if passes(&findings) {
            println!("{}", ok("cluster", "nothing stands in the way of an upgrade"));
        }
    }
    Ok(if passes(&findings) { Done::Fine } else { Done::Differences }.into())
}

/// Prints the state of the upgrade, and whether a rollback is possible, or that no upgrade has begun. Returns the exit
/// code 0.
///
/// # Errors
/// Returns a [`Failure`] if the journal cannot be read.
fn status(upgrade: &Upgrade, as_json: bool) -> Result<ExitCode, Failure> {
    let Some(record) = upgrade.status().map_err(|why| failure(&why))? else {
        if as_json {
            println!("{}", json!({"state": null, "findings": []}));
        } else {
            println!("no upgrade has begun in {}", upgrade.base().display());
        }
        return Ok(Done::Fine.into());
    };
    let back = upgrade.check_rollback(&record);
    if as_json {
        let mut value = views::record(&record);
        value["rollback"] = match &back {
            Ok(()) => json!({"possible": true}),
            Err(why) => json!({"possible": false, "why": why.to_string()}),
        };
        println!("{value}");
    } else {
        print!("{}", views::status_text(&record, back.as_ref().map_err(ToString::to_string).err()));
    }
    Ok(Done::Fine.into())
}

/// Warns on standard error if the program was called without a command, and names the command to use.
fn warn_deprecated(args: &Args) {
    if let Some(command) = args.replacement_command() {
        eprintln!("{}: deprecated without a command: use `{0} {command}`", crate::NAME);
    }
}

/// Returns the next commands for the operator after a failure: to resume and to roll back, as far as they are possible.
/// `None` if there is no unfinished upgrade, or its journal cannot be read.
fn advice(upgrade: &Upgrade) -> Option<String> {
    let record = upgrade.status().ok()??;
    let back = match upgrade.check_rollback(&record) {
        Ok(()) => format!("`{} rollback` returns to the old cluster", crate::NAME),
        Err(why) => format!("no rollback: {why}"),
    };
    match record.state {
        State::Ready(_) | State::Running(_) => Some(format!("`{} run` resumes; {back}", crate::NAME)),
        State::RollingBack(_) => Some(back),
        State::RolledBack | State::Done => None,
    }
}

/// Handles an error of an upgrade: the child of a root process returns the exit code that requests a service, if one is
/// needed; findings that block the upgrade are printed, as text or JSON, with the exit code 1.
///
/// # Errors
/// Returns any other error as a [`Failure`], with advice for the operator.
fn report_failure(upgrade: &Upgrade, why: &UpgradeError, as_json: bool) -> Result<ExitCode, Failure> {
    match why {
        UpgradeError::ServiceNeeded { start, .. } if account::is_child() => {
            Ok(ExitCode::from(if *start { START } else { STOP }))
        }
        UpgradeError::Blocked(findings) => {
            if as_json {
                println!(
                    "{}",
                    json!({"error": why.to_string(), "code": 1, "findings": views::findings(findings)})
                );
            } else {
                eprint!("{}", views::findings_text(findings));
                eprintln!("{}: {why}; nothing was changed", crate::NAME);
            }
            Ok(ExitCode::from(1))
        }
        _ => {
            let advice = advice(upgrade).map(|advice| format!("; {advice}")).unwrap_or_default();
            Err(differing(why, &advice, as_json))
        }
    }
}

/// Quotes a word for a POSIX shell, unless it consists of plain characters.
fn quoted(word: &str) -> String {
    if word.chars().all(|one| one.is_ascii_alphanumeric() || "_-./".contains(one)) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// Maximum number of differences that are printed for people.
const SHOWN_DIFFERENCES: usize = 40;

/// Returns the failure of an upgrade with its causes and the advice. Differences between the clusters become its
/// findings; without JSON, the first 40 of them are also printed to standard error.
fn differing(why: &UpgradeError, advice: &str, as_json: bool) -> Failure {
    let text = format!("{}{advice}", chain(why));
    let UpgradeError::Differs(differences) = why else { return Failure::Failed(text) };
    if !as_json {
        differences.iter().take(SHOWN_DIFFERENCES).for_each(|difference| eprintln!("{difference}"));
        eprintln!(
            "a difference that does not matter is accepted by its name before the colon: --accept NAME"
        );
    }
    let place = || Place { key: "cluster".to_owned(), ..Place::default() };
    let found = differences.iter().map(|one| {
        let fix = format!("correct it in the old cluster, or accept it: --accept {}", quoted(&one.name));
        Finding::error("differs", place(), one.to_string()).fix(&fix)
    });
    Failure::Partial {
        code: 1,
        text,
        findings: Findings::new(found.collect()),
        results: serde_json::Map::new(),
    }
}

/// Converts an upgrade error to a failure of this program (exit code 1), with its causes.
fn failure(why: &UpgradeError) -> Failure {
    Failure::because(why)
}
