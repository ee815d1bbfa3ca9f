//! Commands of the program.

use crate::args::{AccountCommand, Args, Command};
use crate::daemon;
use crate::identity;
use crate::list::list;
use crate::load::{ActiveSetup, load, read};
use crate::manual::MANUAL;
use crate::reload;
use acme_dns01::adopt::{ClientFolder, Execution};
use acme_dns01::engine::{
    Certificate, CertificateRound, Engine, Finding, RecordTrial, Renewal, RoundOutcome,
};
use acme_dns01::simulate::{IncidentKind, Scenario, simulate_scenario};
use acme_dns01::{CertificateSpec, Time, format_duration};
use clap::CommandFactory;
use cli_support::account::Account;
use cli_support::finding::{self, Findings, Place, Severity};
use cli_support::journal::Priority;
use cli_support::outcome::{Done, Failure, chain, counted, ok};
use serde_json::{Map, Value, json};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Runs the command of the command line. The result determines the exit code.
///
/// # Errors
/// Returns a [`Failure`] if the configuration is not valid or the command fails.
pub(crate) fn run(args: &Args) -> Result<Done, Failure> {
    if let Command::Shell(generate) = &args.command {
        return generate.outcome(Args::command(), &MANUAL);
    }
    if matches!(args.command, Command::Reload) {
        return reloaded(args);
    }
    if let Command::Simulate { seed, calendar } = &args.command {
        let certificates = read(args)?;
        return Ok(simulate(&certificates, calendar, *seed, args.json));
    }
    if let Command::Claim { user } = &args.command {
        return identity::claim(args, user);
    }
    // What only root can read is read before root acts as another account.
    let adopted = match &args.command {
        Command::Adopt { folder, .. } => Some(
            acme_dns01::adopt::read(folder)
                .map_err(|error| Failure::Failed(format!("{}: {error}", folder.display())))?,
        ),
        _ => None,
    };
    let owner = identity::act_as_owner(args)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|why| Failure::Failed(format!("no runtime: {why}")))?;
    runtime.block_on(async {
        let loaded = load(args)?;
        with_engine(args, loaded, adopted.unwrap_or_default(), owner).await
    })
}

/// Returns the current time in milliseconds. A clock before 1970 is 0.
fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time::from_millis(since.as_millis().try_into().unwrap_or(u64::MAX))
}

/// Runs a command with the engine, and prints its result.
///
/// # Errors
/// Returns a [`Failure`] if a named certificate is not configured, or the command fails.
async fn with_engine(
    args: &Args,
    loaded: ActiveSetup,
    adopted: ClientFolder,
    owner: Option<Account>,
) -> Result<Done, Failure> {
    let path = args.config.display();
    let ActiveSetup { engine, certificates, .. } = loaded.clone();
    if matches!(
        args.command,
        Command::Run { .. } | Command::Once | Command::Issue { dry_run: false, .. } | Command::Renew { .. }
    ) {
        loaded.print_pending(args);
    }
    let checked = (loaded.clone(), owner);
    let named = |names: &[String]| -> Result<Vec<Certificate>, Failure> {
        let found: Vec<Certificate> =
            certificates.iter().filter(|made| names.contains(&made.spec.id)).cloned().collect();
        match names.iter().find(|name| !certificates.iter().any(|made| made.spec.id == **name)) {
            None => Ok(found),
            Some(name) => {
                let all: Vec<&str> = certificates.iter().map(|made| made.spec.id.as_str()).collect();
                let all = all.join(", ");
                Err(Failure::Configuration(format!(
                    "{path}: no certificate is called `{name}`; there are {all}"
                )))
            }
        }
    };
    let failed = |error: acme_dns01::AcmeError| Failure::Failed(error.reason);
    match &args.command {
        Command::Run { metrics } => daemon::run(args, loaded, *metrics).await,
        Command::Once => {
            sweep(&engine, &certificates).await;
            report(&engine.run_once(&certificates, Renewal::WhenDue).await, args.json)
        }
        Command::Issue { names, dry_run } => {
            let wanted = if names.is_empty() { certificates.clone() } else { named(names)? };
            if *dry_run {
                return Ok(check(&checked, &wanted, true, args.json).await);
            }
            sweep(&engine, &certificates).await;
            report(&engine.run_once(&wanted, Renewal::WhenDue).await, args.json)
        }
        Command::Renew { names } => {
            report(&engine.run_once(&named(names)?, Renewal::Forced).await, args.json)
        }
        Command::Revoke { name, reason } => {
            for certificate in named(std::slice::from_ref(name))? {
                engine.revoke(&certificate, *reason).await.map_err(failed)?;
            }
            say(
                args.json,
                &json!({"revoked": name}),
                &format!("{name} is revoked; replace it: acme-dns01 renew {name}"),
            );
            Ok(Done::Fine)
        }
        Command::List => Ok(list(&engine, &certificates, now(), args.json).await),
        Command::Check { dry, errors_only } => {
            let done = check(&checked, &certificates, *dry, args.json).await;
            Ok(if *errors_only && done == Done::Differences { Done::Fine } else { done })
        }
        Command::Adopt { dry_run, .. } => {
            let execution = if *dry_run { Execution::DryRun } else { Execution::Perform };
            Ok(findings(&engine.adopt(&adopted, &certificates, execution).await, args.json))
        }
        Command::Claim { user } => identity::claim(args, user),
        Command::Abandon { name } => {
            known(&engine, &certificates, name).await?;
            let left = engine.abandon(name).await.map_err(|error| Failure::Failed(chain(&error)))?;
            report_removal(args.json, "abandoned", name, &left)
        }
        Command::Forget { name } => {
            known(&engine, &certificates, name).await?;
            let left = engine.forget(name).await.map_err(|error| Failure::Failed(chain(&error)))?;
            report_removal(args.json, "forgotten", name, &left)
        }
        Command::Shell(generate) => generate.outcome(Args::command(), &MANUAL),
        Command::Reload => reloaded(args),
        Command::Simulate { seed, calendar } => Ok(simulate(&certificates, calendar, *seed, args.json)),
        Command::Account { command } => {
            match command {
                AccountCommand::Show { authority } => {
                    let account = engine.account(authority).await.map_err(failed)?;
                    let shown = json!({"url": account.url(), "thumbprint": account.key().thumbprint()});
                    say(
                        args.json,
                        &shown,
                        &format!("{} (key {})", account.url(), account.key().thumbprint()),
                    );
                }
                AccountCommand::RollOver { authority } => {
                    engine.roll_over(authority).await.map_err(failed)?;
                    let account = engine.account(authority).await.map_err(failed)?;
                    let shown = json!({"url": account.url(), "thumbprint": account.key().thumbprint()});
                    say(args.json, &shown, &format!("{} has another key now", account.url()));
                }
                AccountCommand::Deactivate { authority } => {
                    engine.deactivate(authority).await.map_err(failed)?;
                    say(
                        args.json,
                        &json!({"deactivated": authority}),
                        "the account is ended; the next order makes another one",
                    );
                }
            }
            Ok(Done::Fine)
        }
    }
}

/// Checks that the configuration can be read, then sends the daemon the signal to read it again, waits for the outcome
/// and prints the effect, as lines or JSON.
///
/// # Errors
/// Returns a [`Failure`] if the configuration is not valid, or the daemon rejects it or cannot be reached.
fn reloaded(args: &Args) -> Result<Done, Failure> {
    read(args)?;
    let effect = reload::ask()?;
    if args.json {
        println!("{}", json!(effect));
    } else {
        effect.lines().iter().for_each(|line| println!("{line}"));
    }
    Ok(Done::Fine)
}

/// Prints `value` as JSON if `as_json`, else `words`, as one line on standard output.
fn say(as_json: bool, value: &Value, words: &str) {
    if as_json { println!("{value}") } else { println!("{words}") }
}

/// Prints `name: what`, or as JSON `what` with the name, if no TXT record is left.
///
/// # Errors
/// Returns a [`Failure::Partial`] with exit code 1 and a finding for each remaining record. The result counts as done.
fn report_removal(
    as_json: bool,
    what: &str,
    name: &str,
    left: &[(String, acme_dns01::AcmeError)],
) -> Result<Done, Failure> {
    if left.is_empty() {
        say(as_json, &json!({ what: name }), &format!("{name}: {what}"));
        return Ok(Done::Fine);
    }
    let place = |at: &String| Place { key: at.clone(), ..Place::default() };
    let faults = left.iter().map(|(at, error)| {
        finding::Finding::error("record-left", place(at), &error.reason).fix("remove the TXT record yourself")
    });
    let findings = Findings::new(faults.collect());
    let left: Vec<String> = left.iter().map(|(at, error)| format!("{at}: {}", error.reason)).collect();
    let text = format!("{name}: TXT records are left: {}", left.join("; "));
    let results = Map::from_iter([(what.to_owned(), Value::from(name))]);
    Err(Failure::Partial { code: 1, text, findings, results })
}

/// Checks that a certificate with this name is configured, or was and has a journal in the store. In a database, which
/// hosts with other configurations share, every name that can be a folder passes.
///
/// # Errors
/// Returns a [`Failure`] for an unknown name, with the known ones.
async fn known(engine: &Engine, certificates: &[Certificate], name: &str) -> Result<(), Failure> {
    let mut all: Vec<String> = certificates.iter().map(|made| made.spec.id.clone()).collect();
    let former = engine.store().ids().await.map_err(|error| Failure::Failed(chain(&error)))?;
    // A database does not list the names of other hosts.
    let is_shared = engine.store().changes().is_some();
    all.extend(former.into_iter().filter(|id| !certificates.iter().any(|made| made.spec.id == *id)));
    if all.iter().any(|id| id == name)
        || (is_shared && !name.contains('/') && !name.starts_with('.') && !name.is_empty())
    {
        return Ok(());
    }
    let all = if all.is_empty() { "none".to_owned() } else { all.join(", ") };
    Err(Failure::Configuration(format!("no certificate is called `{name}`; there are {all}")))
}

/// Removes the TXT records of certificates that are not configured any more. An error is printed as a warning.
async fn sweep(engine: &Engine, certificates: &[Certificate]) {
    if let Err(error) = engine.sweep(certificates).await {
        let line = format!("records of former certificates: {}", chain(&error));
        Priority::Warning.print("acme-dns01", line);
    }
}

/// Prints the result of each certificate, as lines or with `as_json` as JSON. Failed ones are printed by the failure.
///
/// # Errors
/// Returns a [`Failure::Partial`] with exit code 1 that lists the failed certificates and contains the results of all.
fn report(rounds: &[CertificateRound], as_json: bool) -> Result<Done, Failure> {
    let (mut failures, mut faults) = (Vec::new(), Vec::new());
    let mut lines = Vec::new();
    for round in rounds {
        let (id, mut kind) = (&round.id, None);
        let (how, words) = match &round.outcome {
            RoundOutcome::Issued => ("issued", "a new certificate is in place".to_owned()),
            RoundOutcome::NotDue { until, reason } => {
                ("fine", format!("nothing to do before {until}: {reason}"))
            }
            RoundOutcome::Blocked { by, .. } => {
                failures.push(format!("{id}: held back: {by}"));
                let place = Place { key: id.clone(), ..Place::default() };
                faults.push(finding::Finding::error("held-back", place, by.to_string()));
                ("held_back", by.to_string())
            }
            RoundOutcome::Locked => ("elsewhere", "another process is at it".to_owned()),
            RoundOutcome::Failed { retry_at, kind: of, reason } => {
                failures.push(format!("{id}: {reason}"));
                kind = Some(of.as_str());
                let place = Place { key: id.clone(), ..Place::default() };
                faults.push(finding::Finding::error(of.as_str(), place, reason).fix(""));
                ("failed", format!("{reason} (next try {retry_at})"))
            }
            _ => ("unknown", String::new()),
        };
        let mut line = json!({"certificate": id, "how": how, "message": words});
        if let Some(kind) = kind {
            line["kind"] = kind.into();
        }
        lines.push(line);
        // The failure message lists failed certificates.
        if !as_json && !matches!(how, "failed" | "held_back") {
            println!("{id}: {how}: {words}");
        }
    }
    if failures.is_empty() {
        if as_json {
            println!("{}", Value::from(lines));
        }
        return Ok(Done::Fine);
    }
    let text = format!("{} of {} failed: {}", failures.len(), rounds.len(), failures.join("; "));
    let results = Map::from_iter([("certificates".to_owned(), Value::from(lines))]);
    Err(Failure::Partial { code: 1, text, findings: Findings::new(faults), results })
}

/// Runs the engine's checks and prints their findings, with a warning for each group that does not exist and an error
/// for each part of the configuration whose secrets or files cannot be read. Unless `dry`, TXT records are created and
/// removed. The second value of the pair is the account as which the checks run, `None` if that is the caller's. Returns
/// [`Done::Unusable`] if there are errors, and [`Done::Differences`] if there are only warnings.
async fn check(
    (setup, owner): &(ActiveSetup, Option<Account>),
    certificates: &[Certificate],
    dry: bool,
    as_json: bool,
) -> Done {
    let mut findings = Vec::new();
    if let Some(owner) = owner {
        let message = format!("checked as {}, the account that renews the certificates", owner.name);
        findings.push(Finding::fine("account", message));
    }
    let trial = if dry { RecordTrial::Skip } else { RecordTrial::Write };
    findings.extend(setup.engine.check(certificates, trial).await);
    findings.extend(setup.unknown_groups.iter().map(|group| {
        let message = "create it, or correct the name: files keep the group of the account until then";
        Finding::warning("group", format!("there is no group `{group}`: {message}"))
    }));
    let placed = |found: &Finding| {
        let about = found.about.replacen(' ', ".", 1);
        let is_part = |part: &str| part == about || part.starts_with(&format!("{about}."));
        // The secret may have become readable since, and the finding be about its rejection by the service.
        let same = |(part, fault): &&(String, finding::Finding)| {
            is_part(part) && found.message.contains(&fault.message)
        };
        setup.late.iter().filter(|_| !found.fine).find(same).map(|(_, fault)| fault.clone())
    };
    // The engine reports those of providers, and of authorities that certificates use.
    let mut others = Vec::new();
    for ((name, fault), part) in setup.late.iter().zip(setup.parts.all()) {
        if !findings.iter().any(|found| placed(found).as_ref() == Some(fault)) && part.look().await.is_err() {
            others.push(Finding::fault(name.clone(), fault.message.clone()));
        }
    }
    findings.extend(others);
    let done = outcome(&findings);
    print_findings(&findings, as_json, placed, done);
    if !as_json && done == Done::Fine {
        println!("{}", ok("configuration", &counted(findings.len(), "check")));
    }
    done
}

/// Returns a finding in the form that all programs of the family have. It is about a part of the configuration, or of the world.
fn in_family(found: &Finding) -> finding::Finding {
    let place = Place { key: found.about.clone(), ..Place::default() };
    let (code, severity) = match (found.fine, found.warning) {
        (true, _) => ("fine", Severity::Note),
        (false, true) => ("wrong", Severity::Warning),
        (false, false) => ("wrong", Severity::Error),
    };
    finding::Finding::error(code, place, &found.message).severity(severity)
}

/// Prints findings, as lines or JSON. Returns [`Done::Differences`] if one of them is not fine, or is about something
/// that a run would do.
pub(crate) fn findings(findings: &[Finding], as_json: bool) -> Done {
    let done = match outcome(findings) {
        Done::Unusable => Done::Differences,
        Done::Fine if findings.iter().any(|found| found.pending) => Done::Differences,
        done => done,
    };
    print_findings(findings, as_json, |_| None, done);
    done
}

/// Returns [`Done::Unusable`] if a finding is an error, [`Done::Differences`] if there are only warnings, and
/// [`Done::Fine`] if every finding is fine.
fn outcome(findings: &[Finding]) -> Done {
    match findings.iter().filter(|found| !found.fine).map(|found| found.warning).min() {
        None => Done::Fine,
        Some(true) => Done::Differences,
        Some(false) => Done::Unusable,
    }
}

/// Prints findings as lines or JSON. A finding is replaced by that of a place in a file if `placed` returns one, and
/// `None` leaves it as it is. If `done` is [`Done::Unusable`], the JSON document has `error` and `code` too, as every
/// failure of the family.
fn print_findings(
    findings: &[Finding],
    as_json: bool,
    placed: impl Fn(&Finding) -> Option<finding::Finding>,
    done: Done,
) {
    let in_family = |found: &Finding| placed(found).unwrap_or_else(|| in_family(found));
    if as_json {
        let lines: Vec<Value> = findings
            .iter()
            .map(|found| {
                let mut value = json!(in_family(found));
                value["about"] = json!(found.about);
                value["fine"] = json!(found.fine);
                value
            })
            .collect();
        let mut document = json!({"findings": lines});
        if done == Done::Unusable {
            let failed = findings.iter().filter(|found| !found.fine && !found.warning).count();
            document["error"] = json!(format!("{failed} of {} failed", counted(findings.len(), "check")));
            document["code"] = json!(2);
        }
        println!("{document}");
    } else {
        for found in findings {
            match found.fine {
                true => println!("{}", ok(&found.about, &found.message)),
                false => println!("{}", in_family(found)),
            }
        }
    }
}

/// Simulates ten years of the certificates from today, and prints the results. Returns [`Done::Differences`] if a
/// certificate expired or the CA refused an order.
fn simulate(certificates: &[Certificate], calendar: &str, seed: u64, as_json: bool) -> Done {
    let specs: Vec<CertificateSpec> =
        certificates.iter().map(|certificate| certificate.spec.clone()).collect();
    let scenario = if calendar == "shrinking" { Scenario::Shrinking } else { Scenario::Announced };
    let begin = Time::from_secs(now().secs() / 86_400 * 86_400);
    let found = simulate_scenario(&specs, scenario, begin, seed);
    let miss = if specs.is_empty() { Duration::ZERO } else { found.shortest_remaining };
    let kind = |kind: &IncidentKind| match kind {
        IncidentKind::Expired => ("expired", "expired".to_owned()),
        IncidentKind::Refused => ("refused", "refused by a limit of the CA".to_owned()),
        IncidentKind::Withheld(limit) => ("held_back", format!("held back: {limit}")),
        _ => ("unknown", String::new()),
    };
    if as_json {
        let faults = found.incidents.iter().filter(|one| !matches!(one.kind, IncidentKind::Withheld(_)));
        let faults = faults.map(|one| {
            let (code, message) = kind(&one.kind);
            let place = Place { key: one.certificate.clone(), ..Place::default() };
            finding::Finding::error(code, place, format!("{}: {message}", one.at)).fix("")
        });
        let faults = Findings::new(faults.collect());
        let incidents: Vec<Value> = found
            .incidents
            .iter()
            .map(|one| {
                let (name, message) = kind(&one.kind);
                json!({"at": one.at.to_string(), "certificate": one.certificate, "kind": name, "message": message})
            })
            .collect();
        println!(
            "{}",
            json!({
                "certificates": specs.len(), "orders": found.orders, "most_orders_a_week": found.most_orders_a_week,
                "nearest_miss_seconds": miss.as_secs(), "expired": found.expired, "limited": found.rate_limited,
                "spared": found.withheld, "incidents": incidents, "findings": faults.json(),
            })
        );
    } else {
        for (at, what) in &found.events {
            println!("{at}  {what}");
        }
        for one in &found.incidents {
            println!("{}  {}: {}", one.at, one.certificate, kind(&one.kind).1);
        }
        println!(
            "{}, ten years: {}",
            counted(specs.len(), "certificate"),
            counted(usize::try_from(found.orders).unwrap_or(usize::MAX), "order")
        );
        println!("busiest week: {} orders", found.most_orders_a_week);
        println!("nearest miss: {} left", format_duration(miss));
        println!(
            "expired: {}; refused by a limit: {}; held back by the ledger: {}",
            found.expired, found.rate_limited, found.withheld
        );
    }
    if found.expired + found.rate_limited == 0 { Done::Fine } else { Done::Differences }
}
