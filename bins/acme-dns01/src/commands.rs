//! What each command does.

use crate::args::{AccountCommand, Args, Command};
use crate::daemon::{self, Loaded};
use acme_dns01::engine::{Certificate, Engine, How, Outcome};
use acme_dns01::machine_at;
use acme_dns01::simulate::decade_of;
use acme_dns01::{Due, Spec, Time, spoken};
use acme_dns01_config::{BuildError, Settings};
use clap::CommandFactory;
use cli_support::outcome::{Done, Failure};
use cli_support::table::Table;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub(crate) fn run(args: &Args) -> Result<Done, Failure> {
    if let Command::Shell(generate) = &args.command {
        return generate.outcome(Args::command());
    }
    if let Command::Simulate { seed } = args.command {
        let (_, _, certificates) = read(args)?;
        return Ok(simulate(&certificates, seed, args.json));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|why| Failure::Failed(format!("no runtime: {why}")))?;
    runtime.block_on(async {
        let loaded = load(args)?;
        with_engine(args, loaded).await
    })
}

/// The configuration: its text, as written, and the certificates that it asks for.
fn read(args: &Args) -> Result<(String, Settings, Vec<Certificate>), Failure> {
    let path = args.config.display();
    let text = std::fs::read_to_string(&args.config)
        .map_err(|why| Failure::Configuration(format!("{path}: {why} (give another with --config)")))?;
    let settings = Settings::parse(&text).map_err(|why| Failure::Configuration(format!("{path}: {why}")))?;
    let certificates = settings.certificates().map_err(|why| unusable(args, &text, &why))?;
    Ok((text, settings, certificates))
}

/// The configuration, with its secrets read and its store opened.
pub(crate) fn load(args: &Args) -> Result<Loaded, Failure> {
    let (text, settings, _) = read(args)?;
    let built = settings.build().map_err(|why| match why {
        BuildError::World(why) => Failure::Failed(why),
        why => unusable(args, &text, &why),
    })?;
    let quiet = args.json;
    let engine = built.engine.observer(Arc::new(move |id, what| {
        if !quiet {
            eprintln!("acme-dns01: {id}: {what}");
        }
    }));
    Ok(Loaded { engine: Arc::new(engine), certificates: built.certificates })
}

/// With the line that has to be changed.
fn unusable(args: &Args, text: &str, why: &BuildError) -> Failure {
    let path = args.config.display();
    let line = why.line(text).map_or_else(String::new, |line| format!("line {line}: "));
    Failure::Configuration(format!("{path}: {line}{}", cli_support::outcome::chain(why)))
}

fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time::from_millis(since.as_millis().try_into().unwrap_or(u64::MAX))
}

async fn with_engine(args: &Args, loaded: Loaded) -> Result<Done, Failure> {
    let path = args.config.display();
    let Loaded { engine, certificates } = loaded;
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
    let failed = |why: acme_dns01::Trouble| Failure::Failed(why.why);
    match &args.command {
        Command::Run { metrics } => daemon::run(args, Loaded { engine, certificates }, *metrics).await,
        Command::Once => tell(&engine.once(&certificates, false).await, args.json),
        Command::Issue { names, dry_run } => {
            let wanted = if names.is_empty() { certificates.clone() } else { named(names)? };
            if *dry_run {
                return check(&engine, &wanted, args.json).await;
            }
            tell(&engine.once(&wanted, false).await, args.json)
        }
        Command::Renew { names } => tell(&engine.once(&named(names)?, true).await, args.json),
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
        Command::List => list(&engine, &certificates, args.json).await,
        Command::Check => check(&engine, &certificates, args.json).await,
        Command::Shell(generate) => generate.outcome(Args::command()),
        Command::Simulate { seed } => Ok(simulate(&certificates, *seed, args.json)),
        Command::Account { command } => {
            match command {
                AccountCommand::Show { authority } => {
                    let account = engine.account(authority).await.map_err(failed)?;
                    let shown = json!({"url": account.url, "thumbprint": account.key.thumbprint()});
                    say(args.json, &shown, &format!("{} (key {})", account.url, account.key.thumbprint()));
                }
                AccountCommand::RollOver { authority } => {
                    engine.roll_over(authority).await.map_err(failed)?;
                    let account = engine.account(authority).await.map_err(failed)?;
                    let shown = json!({"url": account.url, "thumbprint": account.key.thumbprint()});
                    say(args.json, &shown, &format!("{} has another key now", account.url));
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

fn say(as_json: bool, value: &Value, words: &str) {
    if as_json { println!("{value}") } else { println!("{words}") }
}

fn tell(outcomes: &[Outcome], as_json: bool) -> Result<Done, Failure> {
    let mut failures = Vec::new();
    let mut lines = Vec::new();
    for outcome in outcomes {
        let (how, words) = match &outcome.how {
            How::Issued => ("issued", "a new certificate is in place".to_owned()),
            How::Fine(until, why) => ("fine", format!("nothing to do before {until}: {why}")),
            How::Elsewhere => ("elsewhere", "another process is at it".to_owned()),
            How::Failed(until, why) => {
                failures.push(format!("{}: {why} (next try {until})", outcome.id));
                ("failed", format!("{why} (next try {until})"))
            }
        };
        lines.push(json!({"certificate": outcome.id, "how": how, "message": words}));
        if !as_json {
            println!("{}: {how}: {words}", outcome.id);
        }
    }
    if as_json {
        println!("{}", Value::from(lines));
    }
    if failures.is_empty() {
        return Ok(Done::Fine);
    }
    Err(Failure::Failed(format!("{} of {} failed: {}", failures.len(), outcomes.len(), failures.join("; "))))
}

async fn list(engine: &Arc<Engine>, certificates: &[Certificate], as_json: bool) -> Result<Done, Failure> {
    let mut table = Table::new(["name", "names", "left", "renewal", "why then"]);
    let mut lines = Vec::new();
    for certificate in certificates {
        let state = engine.state(certificate).await.map_err(|why| Failure::Failed(why.to_string()))?;
        let Due { at, why } = machine_at(&certificate.spec, &state);
        let held = state.held.as_ref();
        let names: Vec<&str> = certificate.spec.names.iter().map(acme_dns01::Name::as_str).collect();
        let left = held.map(|held| held.not_after.since(now()));
        let mut why = why.to_string();
        if let Some(trouble) = &state.trouble {
            why = format!("{why}; last failure: {trouble}");
        }
        let next = state.until.map_or(at, |until| until.max(at));
        let when = if next <= now() { "now".to_owned() } else { next.to_string() };
        lines.push(json!({
            "name": certificate.spec.id, "names": names, "serial": held.map(|held| held.serial.clone()),
            "not_after": held.map(|held| held.not_after.to_string()), "seconds_left": left.map(|left| left.as_secs()),
            "renewal": when, "why": why, "failures": state.failures,
        }));
        table.row([
            certificate.spec.id.clone(),
            names.join(" "),
            left.map_or_else(|| "–".to_owned(), spoken),
            when,
            why,
        ]);
    }
    if as_json {
        println!("{}", Value::from(lines));
    } else {
        print!("{table}");
    }
    Ok(Done::Fine)
}

async fn check(engine: &Arc<Engine>, certificates: &[Certificate], as_json: bool) -> Result<Done, Failure> {
    let findings = engine.check(certificates).await;
    let wrong = findings.iter().filter(|finding| finding.found.is_err()).count();
    if as_json {
        let lines: Vec<Value> = findings
            .iter()
            .map(|finding| {
                let (fine, words) = match &finding.found {
                    Ok(words) => (true, words),
                    Err(words) => (false, words),
                };
                json!({"about": finding.about, "fine": fine, "message": words})
            })
            .collect();
        println!("{}", Value::from(lines));
    } else {
        for finding in &findings {
            match &finding.found {
                Ok(words) => println!("ok     {}: {words}", finding.about),
                Err(words) => println!("WRONG  {}: {words}", finding.about),
            }
        }
    }
    Ok(if wrong == 0 { Done::Fine } else { Done::Differences })
}

fn simulate(certificates: &[Certificate], seed: u64, as_json: bool) -> Done {
    let specs: Vec<Spec> = certificates.iter().map(|certificate| certificate.spec.clone()).collect();
    let found = decade_of(&specs, seed);
    let miss = if specs.is_empty() { Duration::ZERO } else { found.nearest_miss };
    if as_json {
        println!(
            "{}",
            json!({
                "certificates": specs.len(), "orders": found.orders, "most_orders_a_week": found.most_orders_a_week,
                "nearest_miss_seconds": miss.as_secs(), "expired": found.expired, "limited": found.limited,
                "spared": found.spared,
            })
        );
    } else {
        for (at, what) in &found.events {
            println!("{at}  {what}");
        }
        println!("{} certificates, ten years: {} orders", specs.len(), found.orders);
        println!("busiest week: {} orders", found.most_orders_a_week);
        println!("nearest miss: {} left", spoken(miss));
        println!(
            "expired: {}; refused by a limit: {}; held back by the ledger: {}",
            found.expired, found.limited, found.spared
        );
    }
    if found.expired + found.limited == 0 { Done::Fine } else { Done::Differences }
}
