//! What each command does.

use crate::args::{Args, Command};
use crate::{files, install, matrix};
use cli_support::outcome::{Done, Failure};
use pg_hba::{
    Analysis, Attempt, Diff, Replication, Rule, Server, Severity, Surroundings, Transport, Version, analyze,
    decide, diff, render,
};
use serde_json::{Value, json};
use std::path::Path;

pub(crate) fn run(args: &Args) -> Result<Done, Failure> {
    match &args.command {
        Command::Render { policy, pg } => rendered(policy, *pg, args.json),
        Command::Check { file, pg, next, superuser, roles, waivers } => {
            let analysis = Analysis {
                superuser: Some(superuser.clone()),
                roles: (!roles.is_empty()).then(|| roles.iter().cloned().collect()),
                next: next.map(Server::new),
                waivers: waivers.clone(),
            };
            check(file, *pg, &analysis, args.json)
        }
        Command::Explain { file, pg, db, user, from, tls, replication, member_of } => {
            let mut attempt = match from {
                Some(address) => Attempt::tcp(db, user, *address),
                None => Attempt::local(db, user),
            };
            if *tls {
                attempt.transport = Transport::Tls;
            }
            if *replication {
                attempt = attempt.replicating(Replication::Physical);
            }
            let memberships = member_of.iter().map(|role| (attempt.user.clone(), role.clone())).collect();
            let world = Surroundings { memberships, ..Surroundings::default() };
            explain(file, *pg, &attempt, &world, args.json)
        }
        Command::Diff { old, new, pg, next } => compare(old, new, *pg, next.unwrap_or(*pg), args.json),
        Command::Matrix { file, pg, html, svg } => {
            let rules = files::rules(file, *pg)?;
            let matrix = matrix::Matrix::of(&rules);
            match (args.json, html, svg) {
                (true, ..) => println!("{}", matrix.json()),
                (_, true, _) => print!("{}", matrix.html()),
                (_, _, true) => print!("{}", matrix.svg()),
                _ => print!("{}", matrix.text()),
            }
            Ok(Done::Fine)
        }
        Command::Install { policy, connect, canary, dry_run } => {
            install::run(policy, connect, canary.as_deref().unwrap_or(connect), *dry_run, args.json)
        }
    }
}

fn rendered(path: &Path, version: Version, as_json: bool) -> Result<Done, Failure> {
    let rules = files::policy(path, version)?.compile();
    let text = render(&rules, version).map_err(|why| Failure::Configuration(why.to_string()))?;
    if as_json {
        println!("{}", json!({"text": text, "rules": rules.iter().map(rule).collect::<Vec<_>>()}));
    } else {
        print!("{text}");
    }
    Ok(Done::Fine)
}

fn check(path: &Path, version: Version, analysis: &Analysis, as_json: bool) -> Result<Done, Failure> {
    let document = files::document(path, version)?;
    let findings = analyze(&document, &Server::new(version), analysis);
    if as_json {
        let list: Vec<Value> = findings
            .iter()
            .map(|finding| {
                json!({"code": finding.code.to_string(), "severity": finding.code.severity().to_string(),
                    "file": finding.file, "line": finding.line, "reason": finding.reason, "fix": finding.fix,
                    "waived": finding.waived})
            })
            .collect();
        println!("{}", json!({"findings": list}));
    } else {
        findings.iter().for_each(|finding| println!("{}: {finding}", path.display()));
    }
    let counts =
        findings.iter().any(|finding| finding.waived.is_none() && finding.code.severity() > Severity::Note);
    Ok(if counts { Done::Differences } else { Done::Fine })
}

fn explain(
    path: &Path,
    version: Version,
    attempt: &Attempt,
    world: &Surroundings,
    as_json: bool,
) -> Result<Done, Failure> {
    let rules = files::rules(path, version)?;
    let decision = decide(&rules, attempt, world);
    let passed = decision.why.passed_over();
    if as_json {
        let passed: Vec<Value> = passed
            .iter()
            .zip(&rules)
            .map(|(why, rule)| json!({"line": rule.origin.line, "file": rule.origin.file, "why": why.to_string()}))
            .collect();
        let matched = decision.rule.map(|(_, found)| rule(found));
        println!(
            "{}",
            json!({"outcome": decision.outcome().to_string(), "rule": matched, "passed_over": passed})
        );
        return Ok(Done::Fine);
    }
    println!("{attempt}: {}", decision.outcome());
    for (why, rule) in passed.iter().zip(&rules) {
        println!("  line {:>3}  {why:<34}  {rule}", rule.origin.line);
    }
    match decision.rule {
        Some((_, rule)) => println!("  line {:>3}  {:<34}  {rule}", rule.origin.line, "decides"),
        None => println!("  no rule matches, which refuses it"),
    }
    Ok(Done::Fine)
}

fn compare(old: &Path, new: &Path, version: Version, next: Version, as_json: bool) -> Result<Done, Failure> {
    let (old, new) = (files::rules(old, version)?, files::rules(new, next)?);
    let example = match diff(&old, &new) {
        Diff::Equal => {
            println!(
                "{}",
                if as_json {
                    json!({"equal": true}).to_string()
                } else {
                    "equal: every connection is decided alike".to_owned()
                }
            );
            return Ok(Done::Fine);
        }
        Diff::Undecided(why) => {
            return Err(Failure::Failed(format!("neither equal nor different could be shown: {why}")));
        }
        Diff::Different(example) => example,
    };
    if as_json {
        let side = |found: &Option<(usize, Rule)>| found.as_ref().map(|(_, found)| rule(found));
        println!(
            "{}",
            json!({"equal": false, "example": example.to_string(), "old": side(&example.old), "new": side(&example.new),
                "old_outcome": example.old_outcome().to_string(), "new_outcome": example.new_outcome().to_string()})
        );
    } else {
        println!("different: {example}");
        for (side, found) in [("old", &example.old), ("new", &example.new)] {
            match found {
                Some((_, rule)) => println!("  {side} line {}: {rule}", rule.origin.line),
                None => println!("  {side}: no rule matches"),
            }
        }
    }
    Ok(Done::Differences)
}

fn rule(rule: &Rule) -> Value {
    json!({"file": rule.origin.file, "line": rule.origin.line, "text": rule.to_string(), "method": rule.method.as_str()})
}
