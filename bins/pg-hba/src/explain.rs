//! The subcommand `explain`: the rule that decides a connection, or the facts on which the decision depends.

use crate::files;
use crate::structured;
use cli_support::outcome::{Done, Failure};
use pg_hba::{Attempt, Explanation, Knowledge, Rule, Server, explain};
use serde_json::{Value, json};
use std::path::Path;

/// Prints the rules that may decide a connection attempt, the facts on which that depends, and the mismatch of each
/// rule before. Always returns [`Done::Fine`], also if the connection is rejected.
///
/// # Errors
/// Returns a [`Failure`] if the file cannot be read or the server would reject it.
pub(crate) fn run(
    path: &Path,
    server: &Server,
    attempt: &Attempt,
    knowledge: &Knowledge,
    as_json: bool,
) -> Result<Done, Failure> {
    let rules = files::rules(path, server)?;
    let found = explain(&rules, attempt, knowledge);
    let certain = found.certain();
    let outcome = certain.as_ref().map_or_else(|| "unknown".to_owned(), ToString::to_string);
    if as_json {
        println!("{}", explanation_json(&rules, &found, &outcome));
        return Ok(Done::Fine);
    }
    match certain {
        Some(_) => println!("{attempt}: {outcome}"),
        None => println!("{attempt}: unknown, it depends on: {}", dependencies(&found).join("; ")),
    }
    for (at, why) in &found.passed_over {
        println!("  line {:>3}  {why:<34}  {}", rules[*at].origin.line, rules[*at]);
    }
    for possibility in &found.possible {
        let facts: Vec<String> = possibility.if_all.iter().map(ToString::to_string).collect();
        let facts = if facts.is_empty() {
            "decides".to_owned()
        } else {
            format!("decides if {}", facts.join(" and "))
        };
        let facts = if found.possible.len() > 1 && possibility.if_all.is_empty() {
            "decides otherwise".to_owned()
        } else {
            facts
        };
        match possibility.rule {
            Some((_, rule)) => println!("  line {:>3}  {facts:<34}  {rule}", rule.origin.line),
            None if found.possible.len() > 1 => println!("  otherwise no rule matches, which refuses it"),
            None => println!("  no rule matches, which refuses it"),
        }
    }
    if found.possible.len() > 1 {
        println!("  give --server-address, --client-name, --member-of or --connect to decide it");
    }
    Ok(Done::Fine)
}

/// Returns the unknown facts on which the outcome depends, as text. Empty if the decision is certain.
fn dependencies(found: &Explanation<'_>) -> Vec<String> {
    found.depends_on().into_iter().map(ToString::to_string).collect()
}

/// Returns the explanation as JSON. `outcome` is the text of the decision. `rule` is null unless one rule is the only
/// one that may decide.
fn explanation_json(rules: &[Rule], found: &Explanation<'_>, outcome: &str) -> Value {
    let passed: Vec<Value> = found
        .passed_over
        .iter()
        .map(|(at, why)| {
            let origin = &rules[*at].origin;
            json!({"line": origin.line, "file": origin.file, "why": why.to_string()})
        })
        .collect();
    let possible: Vec<Value> = found
        .possible
        .iter()
        .map(|possibility| {
            let facts: Vec<String> = possibility.if_all.iter().map(ToString::to_string).collect();
            json!({
                "outcome": possibility.outcome().to_string(),
                "rule": possibility.rule.map(|(_, rule)| structured::rule(rule)),
                "if": facts,
            })
        })
        .collect();
    // The deciding rule is known only if no fact is open.
    let decides = if let [only] = &found.possible[..] { only.rule } else { None };
    json!({
        "outcome": outcome,
        "certain": found.certain().is_some(),
        "depends_on": dependencies(found),
        "rule": decides.map(|(_, rule)| structured::rule(rule)),
        "possible": possible,
        "passed_over": passed,
    })
}
