//! What each command does.

use crate::account::{self, START, STOP};
use crate::args::{Args, Command};
use crate::hba::Meaning;
use crate::progress::Lines;
use crate::service::{Parent, Systemd};
use crate::views;
use clap::CommandFactory;
use cli_support::outcome::{Done, Failure};
use pg_ensure::upgrade::{Outcome, Services, Stopping, Upgrade, UpgradeError, collect, html, passes, report};
use serde_json::json;
use std::process::ExitCode;

/// Runs the command; `called` is the name that the program was called by.
pub(crate) fn run(args: &Args, called: &str) -> Result<ExitCode, Failure> {
    if let Some(Command::Shell(generate)) = &args.command {
        return generate.outcome(Args::command()).map(Into::into);
    }
    if let Some(Command::Gc { older_than, backups, dry_run }) = &args.command {
        if account::is_root() {
            return account::as_owner(&args.base, None, None);
        }
        let garbage = collect(&args.base, *older_than, *backups, *dry_run).map_err(|why| failure(&why))?;
        views::garbage(&garbage, *dry_run, args.json);
        return Ok(Done::Fine.into());
    }
    let request = args.request(called)?;
    let stopping = request.stopping.clone();
    let start_service = request.start_service.clone();
    let upgrade = Upgrade::new(request);
    if account::is_root() {
        let stop = if let Stopping::Service(unit) = &stopping { Some(unit.as_str()) } else { None };
        let folder = if upgrade.old_data().exists() { upgrade.old_data() } else { upgrade.base() };
        // Going back starts the old server, whatever the new one's unit is called.
        let start = if args.rollback { None } else { start_service.as_deref() };
        return account::as_owner(folder, stop, start);
    }
    let services: &dyn Services = if account::is_child() { &Parent } else { &Systemd };
    match &args.command {
        Some(Command::Plan) => plan(&upgrade, args.json),
        Some(Command::Status) => status(&upgrade, args.json),
        Some(Command::Report { html: as_html }) => {
            let record = upgrade.status().map_err(|why| failure(&why))?.ok_or_else(nothing)?;
            match (args.json, as_html) {
                (true, _) => println!("{}", views::record(&record)),
                (_, true) => print!("{}", html(&record)),
                _ => print!("{}", report(&record)),
            }
            Ok(Done::Fine.into())
        }
        Some(Command::Gc { .. } | Command::Shell(_)) => unreachable!("handled above"),
        None if args.rollback => {
            let mut lines = Lines::new(args.json);
            match upgrade.roll_back(&Meaning, services, &mut lines) {
                Ok(record) if args.json => println!("{}", views::record(&record)),
                Ok(record) => {
                    println!("undone: {} is as it was", record.choices.old_data.display());
                    record.left.iter().for_each(|left| println!("{left}"));
                }
                Err(why) => return failed(&why, args.json),
            }
            Ok(Done::Fine.into())
        }
        None => go(&upgrade, services, args.json),
    }
}

fn nothing() -> Failure {
    Failure::Failed("no upgrade has begun here".to_owned())
}

fn go(upgrade: &Upgrade, services: &dyn Services, as_json: bool) -> Result<ExitCode, Failure> {
    let mut lines = Lines::new(as_json);
    let (record, outcome) = match upgrade.run(&Meaning, services, &mut lines) {
        Ok(ended) => ended,
        Err(why) => {
            drop(lines);
            return failed(&why, as_json);
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

fn plan(upgrade: &Upgrade, as_json: bool) -> Result<ExitCode, Failure> {
    let plan = upgrade.plan(&Meaning).map_err(|why| failure(&why))?;
    if as_json {
        println!("{}", views::plan(&plan));
    } else {
        print!("{}", views::plan_text(&plan));
    }
    Ok(if passes(&plan.findings) { Done::Fine } else { Done::Differences }.into())
}

fn status(upgrade: &Upgrade, as_json: bool) -> Result<ExitCode, Failure> {
    let Some(record) = upgrade.status().map_err(|why| failure(&why))? else {
        if as_json {
            println!("{}", json!({"state": null}));
        } else {
            println!("no upgrade has begun in {}", upgrade.base().display());
        }
        return Ok(Done::Fine.into());
    };
    let back = upgrade.way_back(&record);
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

/// A failure, for people or for the parent.
fn failed(why: &UpgradeError, as_json: bool) -> Result<ExitCode, Failure> {
    match why {
        UpgradeError::ServiceNeeded { start, .. } if account::is_child() => {
            Ok(ExitCode::from(if *start { START } else { STOP }))
        }
        UpgradeError::Blocked(findings) => {
            if as_json {
                println!("{}", json!({"error": why.to_string(), "code": 1, "findings": findings}));
            } else {
                eprint!("{}", views::findings_text(findings));
                eprintln!("{}: {why}; nothing was changed", crate::NAME);
            }
            Ok(ExitCode::from(1))
        }
        UpgradeError::Differs(differences) if !as_json => {
            differences.iter().take(40).for_each(|difference| eprintln!("{difference}"));
            Err(failure(why))
        }
        _ => Err(failure(why)),
    }
}

fn failure(why: &UpgradeError) -> Failure {
    Failure::because(why)
}
