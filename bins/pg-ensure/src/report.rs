//! Display of plans and runs, as text and JSON.

use cli_support::finding::{self, Finding, Findings, Severity};
use cli_support::progress::Progress;
use cli_support::table::Table;
use pg_ensure::client::{Event, Observer};
use pg_ensure::plan::ExecutionScope;
use pg_ensure::{Plan, Step};
use serde_json::{Value, json};

/// Returns a plan as JSON.
pub(crate) fn plan_json(plan: &Plan) -> Value {
    let mut value = json!(plan);
    value["findings"] = json!(findings(plan).json());
    value
}

/// Returns the blocked changes as errors and the notes as notes. Their place is an object of the server instead of a
/// file.
pub(crate) fn findings(plan: &Plan) -> Findings {
    let at = |key: &str| finding::Place { key: key.to_owned(), ..finding::Place::default() };
    let blocked = plan
        .blocked
        .iter()
        .map(|blocked| Finding::error(blocked.why.code(), at(&blocked.what), blocked.why.to_string()));
    let notes =
        plan.notes.iter().map(|note| Finding::error("note", at("server"), note).severity(Severity::Note));
    Findings::new(blocked.chain(notes).collect())
}

/// Returns steps as JSON: SQL, reason, risk, and database (null for the cluster).
pub(crate) fn steps_json(steps: &[Step], plan: &Plan) -> Vec<Value> {
    steps.iter().map(|step| json!(step.report(plan.version))).collect()
}

/// Prints a plan as a table, followed by blocked changes and notes.
pub(crate) fn print_plan(plan: &Plan) {
    if plan.steps.is_empty() {
        println!("nothing to do");
    } else {
        let mut table = Table::new(["STEP", "RISK", "WHERE", "REASON", "STATEMENT"]);
        for (index, step) in plan.steps.iter().enumerate() {
            let place = match step.change.scope() {
                ExecutionScope::In(database) => database.to_string(),
                _ => "-".to_owned(),
            };
            let risk = step.change.risk().as_str().to_owned();
            table.row([
                (index + 1).to_string(),
                risk,
                place,
                step.reason.clone(),
                step.change.sql(plan.version),
            ]);
        }
        print!("{table}");
    }
    print_rest(plan);
}

/// Prints what is blocked, and the notes.
pub(crate) fn print_rest(plan: &Plan) {
    findings(plan).list().iter().for_each(|finding| println!("{finding}"));
}

/// Observer that shows the progress of a run.
pub(crate) struct ProgressObserver(pub(crate) Progress);

impl Observer for ProgressObserver {
    fn event(&mut self, event: &Event<'_>) {
        match event {
            Event::Waiting => self.0.note("waiting for another run of pg-ensure"),
            Event::Connecting(why) => {
                self.0.note(&format!("{}; waiting for the server", cli_support::outcome::chain(*why)));
            }
            Event::Recovering => self.0.note("the server is in archive recovery; waiting for its end"),
            Event::Planned { plan } => {
                for blocked in &plan.blocked {
                    self.0.warning(&format!("blocked: {blocked}"));
                }
                for note in &plan.notes {
                    self.0.note(note);
                }
            }
            Event::Step { number, of, step } => {
                if *number == 1 {
                    self.0.begin(format!("{of} steps"));
                }
                // The SQL of a step contains no secrets.
                self.0.update(&format!("{number} of {of}: {}", step.reason));
            }
            Event::Retrying(why) => {
                self.0.end("interrupted");
                self.0.warning(&format!("{}; starting again", cli_support::outcome::chain(*why)));
            }
            Event::Verify => {
                self.0.end("done");
                self.0.begin("verifying");
            }
            _ => {}
        }
    }
}
