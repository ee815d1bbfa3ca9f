//! Display of plans, states and findings, as text and as JSON.

use cli_support::finding::Place;
use cli_support::table::Table;
use pg_upgrade::{Finding, GcReport, Outcome, Plan, Record, Rehearsal, Severity, State, passes, span};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// Returns a record of an upgrade as JSON, with all its fields.
pub(crate) fn record(record: &Record) -> Value {
    serde_json::to_value(record).unwrap_or_default()
}

/// Returns a record with the outcome of a run as JSON: `outcome` is `done`, `was-done` or `waiting`, `next` the next
/// step if it is waiting (else null), `downtime_ms` the downtime in milliseconds.
pub(crate) fn outcome(record: &Record, outcome: &Outcome) -> Value {
    let (name, step) = match outcome {
        Outcome::Done => ("done", None),
        Outcome::WasDone => ("was-done", None),
        Outcome::Waiting(step) => ("waiting", Some(step.to_string())),
    };
    let mut value = self::record(record);
    value["outcome"] = json!(name);
    value["next"] = json!(step);
    value["downtime_ms"] = json!(record.downtime());
    value
}

/// Returns the result of a rehearsal as JSON, with the findings, the steps and the predicted outage. Times are in
/// milliseconds.
pub(crate) fn rehearsal(rehearsal: &Rehearsal) -> Value {
    let steps: Vec<Value> = rehearsal
        .record
        .history
        .iter()
        .map(|entry| {
            let took = entry.ended.map(|ended| ended.saturating_sub(entry.began));
            json!({"step": entry.step.to_string(), "ms": took, "notes": entry.notes})
        })
        .collect();
    json!({"outcome": "rehearsed", "findings": findings(&rehearsal.findings), "steps": steps, "left": rehearsal.record.remarks,
        "copied_bytes": rehearsal.copied, "copying_ms": rehearsal.copying, "measured_ms": rehearsal.measured,
        "runs_ms": rehearsal.runs, "outage_ms": {"shortest": rehearsal.outage.0, "longest": rehearsal.outage.1}})
}

/// Returns the result of a rehearsal as text: the findings, a table of the steps and their durations, and the predicted
/// outage.
pub(crate) fn rehearsal_text(rehearsal: &Rehearsal) -> String {
    let mut out = findings_text(&rehearsal.findings);
    let mut table = Table::new(["STEP", "TOOK", ""]);
    table.row(["copy".to_owned(), span(rehearsal.copying), format!("{} MB", rehearsal.copied >> 20)]);
    for entry in &rehearsal.record.history {
        let took = entry.ended.map_or(0, |ended| ended.saturating_sub(entry.began));
        table.row([entry.step.to_string(), span(took), entry.notes.join("; ")]);
    }
    let _ = writeln!(out, "{table}");
    let (shortest, longest) = rehearsal.outage;
    let _ = writeln!(out, "Expected outage: {} to {}. The copy is removed.", span(shortest), span(longest));
    out
}

/// Returns findings as lines, as all programs of the workspace print them: `severity[code]: error: fix`, without the
/// last part if there is no fix.
pub(crate) fn findings_text(findings: &[Finding]) -> String {
    let mut text = String::new();
    for Finding { severity, code, what, fix, .. } in findings {
        let fix = if fix.is_empty() { String::new() } else { format!(": {fix}") };
        let _ = writeln!(text, "{severity}[{code}]: {what}{fix}");
    }
    text
}

/// Returns findings in the JSON form of all programs of the workspace. The key of their place is the code; there is no
/// file and no line.
pub(crate) fn findings(findings: &[Finding]) -> Value {
    let one = |finding: &Finding| {
        let mut value = serde_json::to_value(finding).unwrap_or_default();
        value["message"] = json!(finding.what);
        value["place"] = json!(Place { key: finding.code.clone(), ..Place::default() });
        value
    };
    findings.iter().map(one).collect::<Vec<_>>().into()
}

/// Returns a plan as JSON: versions, data folders, transfer mode, steps, findings, and whether the upgrade can begin
/// (`passes`).
pub(crate) fn plan(plan: &Plan) -> Value {
    let facts = &plan.facts;
    let steps: Vec<Value> = plan
        .steps
        .iter()
        .map(|step| {
            json!({"step": step.to_string(), "what": step.what(), "without_server": plan.without_server.contains(step)})
        })
        .collect();
    json!({"from": facts.from.number(), "to": facts.to.number(), "old_data": facts.old_data, "new_data": facts.new_data,
        "mode": facts.mode, "steps": steps, "findings": findings(&plan.findings), "passes": passes(&plan.findings)})
}

/// Returns a plan as text: a table of the steps, the findings, and the number of findings that block the upgrade or
/// need consent.
pub(crate) fn plan_text(plan: &Plan) -> String {
    let facts = &plan.facts;
    let mut out = format!(
        "PostgreSQL {} in {} to {} in {}, mode {}\n\n",
        facts.from,
        facts.old_data.display(),
        facts.to,
        facts.new_data.display(),
        facts.mode
    );
    let mut table = Table::new(["STEP", "SERVER", "WHAT"]);
    for step in &plan.steps {
        let server = if plan.without_server.contains(step) { "down" } else { "" };
        table.row([step.to_string(), server.to_owned(), step.what().to_owned()]);
    }
    let _ = writeln!(out, "{table}\n{}", findings_text(&plan.findings));
    let standing = plan.findings.iter().filter(|finding| finding.severity >= Severity::Consent).count();
    let _ = match standing {
        0 => writeln!(out, "Nothing stands in the way."),
        1 => writeln!(out, "1 finding stands in the way."),
        count => writeln!(out, "{count} findings stand in the way."),
    };
    out
}

/// Returns the state of an upgrade as text, with a table of its steps. `no_way_back` is the reason why a rollback is
/// not possible, `None` if it is.
pub(crate) fn status_text(record: &Record, no_way_back: Option<String>) -> String {
    let standing = match record.state {
        State::Ready(step) => format!("next is {step}: {}", step.what()),
        State::Running(step) => {
            format!("{step} was begun, and either runs or was interrupted: `upgrade-pg-cluster run` resumes")
        }
        State::RollingBack(_) => "being rolled back: `upgrade-pg-cluster rollback` finishes that".to_owned(),
        State::RolledBack => "undone".to_owned(),
        State::Done => "done".to_owned(),
    };
    let mut out = format!(
        "{}: PostgreSQL {} to {}, {standing}\n",
        record.id, record.choices.old_version, record.choices.new_version
    );
    let mut table = Table::new(["STEP", "TOOK", ""]);
    for entry in &record.history {
        let took =
            entry.ended.map_or_else(|| "-".to_owned(), |ended| span(ended.saturating_sub(entry.began)));
        table.row([entry.step.to_string(), took, entry.failed.clone().unwrap_or_default()]);
    }
    let _ = write!(out, "{table}");
    let _ = match no_way_back {
        None => writeln!(out, "`upgrade-pg-cluster rollback` returns to the old cluster."),
        Some(why) => writeln!(out, "No rollback: {why}."),
    };
    out
}

/// Prints the removed folders with their sizes and what was kept, as text or JSON. With `dry`, nothing was removed, and
/// the folders are those that would be.
pub(crate) fn garbage(garbage: &GcReport, dry: bool, as_json: bool) {
    if as_json {
        let removed: Vec<Value> =
            garbage.removed.iter().map(|(path, bytes)| json!({"path": path, "bytes": bytes})).collect();
        println!("{}", json!({"dry_run": dry, "removed": removed, "kept": garbage.kept}));
        return;
    }
    let verb = if dry { "would remove" } else { "removed" };
    for (path, bytes) in &garbage.removed {
        println!("{verb} {} ({} MB)", path.display(), bytes >> 20);
    }
    for kept in &garbage.kept {
        println!("kept {kept}");
    }
    if garbage.removed.is_empty() && garbage.kept.is_empty() {
        println!("no upgrade is known here");
    }
}
