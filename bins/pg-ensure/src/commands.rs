//! The commands of the program.

use crate::args::{Args, Command, ConsentArgs, ManifestFormat, ServerArgs};
use crate::connect;
use crate::hba;
use crate::manifest::read;
use crate::manual::MANUAL;
use crate::record::Record;
use crate::report::{self, ProgressObserver};
use crate::runtime::block_on;
use crate::saved::SavedPlan;
use clap::CommandFactory;
use cli_support::outcome::{Done, Failure, counted, ok};
use cli_support::progress::Progress;
use pg_ensure::client::{AppliedChanges, ApplyOptions, Error, Outcome};
use pg_ensure::manifest::{Format, write};
use pg_ensure::{Consent, DesiredState, Digest, import};
use serde_json::json;
use std::time::Duration;

/// Runs the command of the command line. The result determines the exit code.
///
/// # Errors
/// Returns a [`Failure`] if the input is not valid or the command fails.
pub(crate) fn run(args: &Args) -> Result<Done, Failure> {
    match &args.command {
        Command::Shell(generate) => generate.outcome(Args::command(), &MANUAL),
        Command::Plan { manifest, server, consent, out, sql } => {
            let desired = read(manifest)?;
            let server = connect::server(server)?;
            let plan = block_on(server.plan(&desired, &consent_of(consent)))?.map_err(|why| failure(&why))?;
            if let Some(out) = out {
                SavedPlan::write(out, manifest, &plan, &consent.destroy)?;
            }
            if args.json {
                println!("{}", report::plan_json(&plan));
            } else if *sql {
                print!("{}", plan.script());
            } else {
                report::print_plan(&plan);
            }
            Ok(if plan.is_empty() { Done::Fine } else { Done::Differences })
        }
        Command::Apply { manifest, server, consent, plan, hba, canary, follow } => {
            let saved = plan.as_deref().map(SavedPlan::read).transpose()?;
            let default = cli_support::usage::default_file(&crate::args::MANIFEST);
            let manifest = match (manifest, &saved) {
                (Some(manifest), _) => manifest,
                (None, Some(saved)) => &saved.manifest,
                (None, None) => &default,
            };
            let (consent, expected) = match &saved {
                Some(saved) => (saved.consent()?, Some(saved.digest()?)),
                None => (consent_of(consent), None),
            };
            let desired = read(manifest)?;
            // An invalid policy is reported before anything is changed.
            let policy = hba.as_deref().map(|path| hba::read(path, &desired)).transpose()?;
            if let Some(canary) = canary {
                connect::login(canary, server)?;
            }
            if let (Some(policy), Some(path)) = (&policy, hba.as_deref()) {
                let current = block_on(connect::server(server)?.inspect(&DesiredState::new()))?;
                let major = current.map_err(|why| failure(&why))?.version.major();
                hba::check(policy, major, path)?;
            }
            let mut done = apply(&desired, server, consent.clone(), expected, args.json)?;
            if done.is_none() {
                // Once: it may stay a standby for years.
                print_standby(args.json);
            }
            while let (None, Some(pause)) = (done, follow) {
                std::thread::sleep(Duration::from_secs((*pause).max(1)));
                done = apply(&desired, server, consent.clone(), expected, args.json)?;
            }
            match (policy, done) {
                (Some(policy), Some(())) => hba::install(&policy, server, canary.as_deref(), args.json),
                _ => Ok(Done::Fine),
            }
        }
        Command::Check { manifest, server, offline } => {
            let desired = read(manifest)?;
            if *offline {
                if args.json {
                    println!("{}", json!({"result": "valid"}));
                } else {
                    let (roles, databases) = (desired.roles.len(), desired.databases.len());
                    let details = format!("{}, {}", counted(roles, "role"), counted(databases, "database"));
                    println!("{}", ok(manifest.display(), &details));
                }
                return Ok(Done::Fine);
            }
            let plan = block_on(connect::server(server)?.plan(&desired, &Consent::none()))?
                .map_err(|why| failure(&why))?;
            if args.json {
                println!("{}", report::plan_json(&plan));
            } else if plan.is_empty() {
                println!("{}", ok(manifest.display(), "nothing to do"));
                report::print_rest(&plan);
            } else {
                report::print_plan(&plan);
            }
            Ok(if plan.is_empty() { Done::Fine } else { Done::Differences })
        }
        Command::Generate { server, format } => {
            let current = block_on(connect::server(server)?.inspect_all())?.map_err(|why| failure(&why))?;
            let format = match format {
                ManifestFormat::Json => Format::Json,
                ManifestFormat::Toml => Format::Toml,
            };
            let text = write(&import(&current), format).map_err(|why| Failure::because(&why))?;
            print!("{text}");
            Ok(Done::Fine)
        }
        Command::Wait { server } => {
            block_on(connect::server(server)?.wait())?.map_err(|why| failure(&why))?;
            if args.json {
                println!("{}", json!({"result": "ready"}));
            } else {
                println!("ready");
            }
            Ok(Done::Fine)
        }
    }
}

/// Applies the desired state and prints the result. `expected` is the digest of a saved plan. Returns `None` on a
/// standby.
///
/// # Errors
/// Returns a failure if the run fails, or changes are blocked.
fn apply(
    desired: &DesiredState,
    server: &ServerArgs,
    consent: Consent,
    expected: Option<Digest>,
    as_json: bool,
) -> Result<Option<()>, Failure> {
    let (config, _) = connect::config(server)?;
    let record = Record::read(server, &config)?;
    let server = connect::server(server)?;
    let mut options = ApplyOptions::default().consent(consent);
    if let Some(expected) = expected {
        options = options.expected(expected);
    }
    let mut shown = ProgressObserver(Progress::new(as_json));
    let outcome = block_on(server.apply(desired, &options, &mut shown))?;
    let outcome = outcome.inspect_err(|_| shown.0.end("failed")).map_err(|why| failure(&why))?;
    shown.0.end("done");
    drop(shown);
    let AppliedChanges { done, left, .. } = match outcome {
        Outcome::Applied(applied) => {
            record.add(&applied.passwords)?;
            applied
        }
        _ => return Ok(None),
    };
    let result = match (done.is_empty(), left.blocked.is_empty()) {
        (_, false) => "incomplete",
        (true, true) => "unchanged",
        (false, true) => "applied",
    };
    if as_json {
        let mut value = report::plan_json(&left);
        value["result"] = json!(result);
        value["done"] = json!(report::steps_json(&done, &left));
        println!("{value}");
    } else {
        println!("{result}: {} steps", done.len());
        report::print_rest(&left);
    }
    match left.blocked.as_slice() {
        [] => Ok(Some(())),
        [first, ..] => Err(Failure::Failed(format!(
            "{} of what is wanted could not be done; the first: {first}",
            left.blocked.len()
        ))),
    }
}

/// Prints that the server is a standby and nothing was changed.
fn print_standby(as_json: bool) {
    if as_json {
        println!("{}", json!({"result": "standby"}));
    } else {
        println!("the server is a standby: nothing was changed");
    }
}

/// Returns the consent given by `--destroy`.
fn consent_of(args: &ConsentArgs) -> Consent {
    args.destroy.iter().cloned().fold(Consent::none(), Consent::destroying)
}

/// Converts an error of the client. An invalid desired state is a configuration error.
fn failure(why: &Error) -> Failure {
    match why {
        Error::Invalid(_) => Failure::Configuration(why.to_string()),
        _ => Failure::because(why),
    }
}
