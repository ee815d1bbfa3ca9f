//! Subcommands of the program.

use crate::args::{Args, Command, Ssl};
use crate::manual::MANUAL;
use crate::structured::rule;
use crate::{explain, files, hosts, ident, install, matrix, server};
use cli_support::finding::{self, Place};
use cli_support::outcome::{Done, Failure, counted, ok};
use cli_support::verbosity::note;
use pg_hba::{
    Analysis, Attempt, Diff, Finding, Knowledge, Network, Replication, Rule, Server, Severity, Transport,
    Version, analyze, diff, render,
};
use serde_json::{Value, json};
use std::path::Path;

/// Runs the subcommand, and prints its result. Returns [`Done::Differences`] if a check has an unwaived finding of the
/// severity that counts, two files differ, an installation would change something, or a line of a pg_ident.conf or
/// pg_hosts.conf or the given mapping or name is rejected; else [`Done::Fine`].
///
/// # Errors
/// Returns a [`Failure`] if a file cannot be read or is not valid, the server cannot be queried, or an installation or
/// output fails.
pub(crate) fn run(args: &Args) -> Result<Done, Failure> {
    match &args.command {
        Command::Generate(what) => what.outcome(<Args as clap::CommandFactory>::command(), &MANUAL),
        Command::Render { policy, pg } => print_rendered(policy, *pg, args.json),
        Command::Check { file, pg, next, superuser, roles, waivers, ssl, policy, errors_only } => {
            let rules = policy.as_deref().map(|path| files::policy(path, *pg)).transpose()?;
            let stated = rules.as_ref().and_then(files::superuser);
            let superuser = superuser.clone().or(stated).unwrap_or_else(|| "postgres".to_owned());
            let analysis = Analysis {
                superuser: Some(superuser),
                roles: (!roles.is_empty()).then(|| roles.iter().cloned().collect()),
                next: next.map(|next| Server::new(next).with_tls(*ssl == Ssl::On)),
                waivers: waivers.clone(),
                policy: rules.map(|policy| policy.compile()).unwrap_or_default(),
            };
            let limit = if *errors_only { Severity::Error } else { Severity::Warning };
            check(file, &Server::new(*pg).with_tls(*ssl == Ssl::On), (&analysis, limit), args.json)
        }
        Command::Explain {
            file,
            pg,
            db,
            user,
            from,
            tls,
            replication,
            member_of,
            no_roles,
            server_addresses,
            client_name,
            no_client_name,
            connect,
            ssl,
        } => {
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
            let mut knowledge = Knowledge {
                member_of: (*no_roles || !member_of.is_empty()).then(|| member_of.iter().cloned().collect()),
                interfaces: (!server_addresses.is_empty())
                    .then(|| server_addresses.iter().map(|net| Network::from(*net)).collect()),
                client_name: match client_name {
                    Some(name) => Some(Some(name.clone())),
                    None => no_client_name.then_some(None),
                },
            };
            let (mut offers_tls, mut version) = (true, Version::TESTED);
            if let Some(connect) = connect {
                let facts = server::query_facts(connect, &attempt.user)?;
                knowledge.member_of.get_or_insert(facts.member_of);
                (offers_tls, version) = (facts.ssl, facts.version);
                if let Some(pg) = pg.filter(|pg| *pg != version) {
                    note(&format!("the server is PostgreSQL {version}; the file is read as {pg} reads it"));
                }
            }
            // An option stands in for the fact of the server, as --member-of does.
            offers_tls = ssl.map_or(offers_tls, |ssl| ssl == Ssl::On);
            explain::run(
                file,
                &Server::new(pg.unwrap_or(version)).with_tls(offers_tls),
                &attempt,
                &knowledge,
                args.json,
            )
        }
        Command::Hosts { file, sni, no_sni } => {
            let asked = sni.as_deref().map(Some).or(no_sni.then_some(None));
            hosts::run(file, asked, args.json)
        }
        Command::Ident { file, pg, map, system_user, role, member_of } => {
            let wanted = match (map, system_user, role) {
                (Some(map), Some(system_user), Some(role)) => {
                    Some(ident::RequestedMapping { map, system_user, role, member_of })
                }
                _ => None,
            };
            ident::run(file, *pg, wanted.as_ref(), args.json)
        }
        Command::Diff { old, new, pg, next } => compare(old, new, *pg, next.unwrap_or(*pg), args.json),
        Command::Matrix { file, pg, html, svg } => {
            let rules = files::rules(file, &Server::new(*pg))?;
            let matrix = matrix::Matrix::new(&rules);
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

/// Prints the pg_hba.conf of a policy for a version, as text, or as JSON with its rules.
///
/// # Errors
/// Returns a [`Failure`] if the policy cannot be read, is not valid, or cannot be written in the grammar of the
/// version.
fn print_rendered(path: &Path, version: Version, as_json: bool) -> Result<Done, Failure> {
    let rules = files::policy(path, version)?.compile();
    let text = render(&rules, version).map_err(|why| Failure::Configuration(why.to_string()))?;
    if as_json {
        println!("{}", json!({"text": text, "rules": rules.iter().map(rule).collect::<Vec<_>>()}));
    } else {
        print!("{text}");
    }
    Ok(Done::Fine)
}

/// Analyses a file, and prints its findings, also the waived ones, as text or JSON. Returns [`Done::Differences`] if a
/// finding of the severity `limit` or above is not waived.
///
/// # Errors
/// Returns a [`Failure`] if the file cannot be read.
fn check(
    path: &Path,
    server: &Server,
    (analysis, limit): (&Analysis, Severity),
    as_json: bool,
) -> Result<Done, Failure> {
    let document = files::document(path, server)?;
    let findings = analyze(&document, server, analysis);
    if as_json {
        let list: Vec<Value> = findings
            .iter()
            .map(|finding| {
                let mut value = json!(in_family(path, finding));
                value["file"] = json!(finding.file);
                value["line"] = json!(finding.line);
                value["reason"] = json!(finding.reason);
                value["waived"] = json!(finding.waived);
                value
            })
            .collect();
        println!("{}", json!({"findings": list}));
    } else if findings.is_empty() {
        let rules = document.rules().map_or(0, |rules| rules.len());
        println!("{}", ok(path.display(), &counted(rules, "rule")));
    } else {
        for finding in &findings {
            let waived = finding.waived.as_deref().map(|reason| format!(" (waived: {reason})"));
            println!("{}{}", in_family(path, finding), waived.unwrap_or_default());
        }
    }
    let counts = findings.iter().any(|finding| finding.waived.is_none() && finding.code.severity() >= limit);
    Ok(if counts { Done::Differences } else { Done::Fine })
}

/// Returns a finding in the form that all programs of the family print. Its place is the line that it is about, in an
/// included file if it is there; line and column are 0 for the file as a whole, and the column is 1 for a whole
/// line.
fn in_family(path: &Path, finding: &Finding) -> finding::Finding {
    let file = finding.file.clone().unwrap_or_else(|| path.display().to_string());
    let line = finding.line as usize;
    let place = Place {
        file,
        line,
        column: if line == 0 { 0 } else { finding.column.max(1) as usize },
        key: String::new(),
    };
    let severity = match finding.code.severity() {
        Severity::Error => finding::Severity::Error,
        Severity::Warning => finding::Severity::Warning,
        Severity::Note => finding::Severity::Note,
    };
    let message = format!("{}; {}", finding.reason, finding.fix);
    finding::Finding::error(finding.code.to_string(), place, message).severity(severity).fix(&finding.fix)
}

/// Compares two files by the connections that they decide, and prints an example with the deciding rules if they
/// differ. `version` reads the old file, `next` the new one. Returns [`Done::Fine`] only if they are equal.
///
/// # Errors
/// Returns a [`Failure`] if a file cannot be read or would be rejected, or the comparison cannot be completed.
fn compare(old: &Path, new: &Path, version: Version, next: Version, as_json: bool) -> Result<Done, Failure> {
    let new_file = new.display().to_string();
    let (old, new) = (files::rules(old, &Server::new(version))?, files::rules(new, &Server::new(next))?);
    let example = match diff(&old, &new) {
        Diff::Equal => {
            println!(
                "{}",
                if as_json {
                    json!({"equal": true, "findings": []}).to_string()
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
        let (before, after) = (example.old_outcome().to_string(), example.new_outcome().to_string());
        let origin = example.new.as_ref().map(|(_, rule)| &rule.origin);
        let line = origin.map_or(0, |origin| origin.line as usize);
        let file = origin.and_then(|origin| origin.file.clone()).unwrap_or(new_file);
        let place = Place { file, line, column: line.min(1), key: String::new() };
        let finding = finding::Finding::error("different", place, example.to_string())
            .severity(finding::Severity::Warning)
            .fix("correct one of the files, or accept the difference");
        println!(
            "{}",
            json!({"equal": false, "example": example.to_string(), "old": side(&example.old), "new": side(&example.new),
                "old_outcome": before, "new_outcome": after, "findings": [finding]})
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
