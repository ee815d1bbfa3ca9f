//! The subcommand `hosts`: checks a pg_hosts.conf, and shows the entry for a client.

use crate::files::{self, FileSystem};
use cli_support::finding::{Finding, Findings, Place};
use cli_support::outcome::{Done, Failure, ok};
use pg_hba::{Host, Hosts, HostsError};
use serde_json::{Value, json};
use std::path::Path;

/// Server name that a client requests (SNI): `Some(None)` for a client that requests none, `None` if no client is asked
/// about.
pub(crate) type RequestedName<'a> = Option<Option<&'a str>>;

/// Checks a pg_hosts.conf, and prints the entry for the requested name, or the number of entries if no client is asked
/// about. Returns [`Done::Differences`] if a line is rejected, or the file has entries but none applies.
///
/// # Errors
/// Returns a [`Failure`] if the file cannot be read.
pub(crate) fn run(path: &Path, asked: RequestedName<'_>, as_json: bool) -> Result<Done, Failure> {
    let full = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let hosts = match Hosts::load(&full.display().to_string(), &files::text(path)?, &mut FileSystem) {
        Ok(hosts) => hosts,
        Err(errors) => {
            if as_json {
                let list: Vec<Value> =
                    errors.iter().map(|why| json!({"line": why.line, "reason": why.reason})).collect();
                let findings = Findings::new(errors.iter().map(|why| finding(path, why)).collect());
                println!("{}", json!({"hosts": null, "errors": list, "findings": findings.json()}));
            } else {
                errors.iter().for_each(|why| println!("{}", finding(path, why)));
            }
            return Ok(Done::Differences);
        }
    };
    let decision = asked.map(|name| (name, hosts.decide(name)));
    if as_json {
        let list: Vec<Value> = hosts.hosts().iter().map(host).collect();
        let decided = decision.map(|(_, found)| found.map(host));
        println!("{}", json!({"hosts": list, "errors": [], "findings": [], "entry": decided}));
    } else if let Some((name, found)) = decision {
        let who =
            name.map_or_else(|| "a client without a name".to_owned(), |name| format!("a client of {name}"));
        match found {
            Some(host) => println!("line {}: {who} gets {}", host.line, host.certificate),
            None if hosts.hosts().is_empty() => {
                println!("the file has no entries: {who} gets ssl_cert_file of postgresql.conf");
            }
            None => println!("no entry: the handshake of {who} fails; add a line for it, or one for *"),
        }
    } else {
        let entries = hosts.hosts().len();
        println!("{}", ok(path.display(), &format!("{entries} entries; they count where ssl_sni is on")));
    }
    let refused = decision.is_some_and(|(_, found)| found.is_none() && !hosts.hosts().is_empty());
    Ok(if refused { Done::Differences } else { Done::Fine })
}

/// Returns the error of a line as a finding, in the form that all programs of the family print.
fn finding(path: &Path, why: &HostsError) -> Finding {
    let line = why.line as usize;
    let place = Place { file: path.display().to_string(), line, column: line.min(1), key: String::new() };
    Finding::error("refused", place, &why.reason)
}

/// Returns an entry as JSON. `passphrase_command` is `true` if there is one; the command itself is not shown.
fn host(host: &Host) -> Value {
    let patterns: Vec<String> = host.patterns.iter().map(ToString::to_string).collect();
    json!({"line": host.line, "names": patterns, "certificate": host.certificate, "key": host.key,
        "authority": host.authority, "passphrase_command": host.passphrase_command.is_some(), "reloads": host.reloads})
}
