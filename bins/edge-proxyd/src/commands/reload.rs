//! The command `reload`: makes the running process reload its configuration, and prints the outcome.

use super::fail;
use crate::cli::{Exit, ReloadArgs};
use crate::service::control::{self, ControlAnswer, ControlContent, ReloadRequest};
use cli_support::finding::{Finding, Findings, Place, Severity};
use cli_support::outcome::Failure;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

/// The longest wait for the response. A takeover must finish within this time.
const OUTCOME_TIMEOUT: Duration = Duration::from_secs(120);

/// Makes the running process reload, and prints its response. Returns as [`send_request`].
pub(crate) fn run(args: &ReloadArgs) -> Exit {
    let request = ControlContent::Reload(ReloadRequest { takeover: args.takeover });
    send_request("reload", (args.control.as_deref(), args.json), &request, OUTCOME_TIMEOUT)
}

/// Sends a request to the running process over the control socket, and prints its response, as JSON if `json` is true.
/// `command` is the name of the command in messages, `control` the path of the socket, or `None` for the default, and
/// `patience` the longest wait for the response.
///
/// Returns [`Exit::Done`] on success, [`Exit::Differs`] if a part of the change takes effect only in a new process,
/// [`Exit::Wrong`] if the configuration or the request is not valid, and [`Exit::Failed`] otherwise.
pub(super) fn send_request(
    command: &str,
    (control, json): (Option<&Path>, bool),
    request: &ControlContent,
    patience: Duration,
) -> Exit {
    let path = control.map_or_else(control::default_path, Path::to_owned);
    let answer = match control::ask(&path, request, patience) {
        Ok(answer) => answer,
        Err(why) => {
            let advice = "is edge-proxyd running, and did it start with this control socket?";
            return fail(command, json, &Failure::Failed(format!("{}: {why}: {advice}", path.display())));
        }
    };
    if json {
        println!("{}", document(command, &answer));
    } else {
        for line in &answer.lines {
            if answer.ok { println!("{line}") } else { eprintln!("edge-proxyd {command}: {line}") }
        }
    }
    match (answer.ok, answer.invalid) {
        (true, _) if answer.waiting.is_empty() => Exit::Done,
        (true, _) => Exit::Differs,
        (false, true) => Exit::Wrong,
        (false, false) => Exit::Failed,
    }
}

/// Returns a response as JSON, with the fields that the documents of all programs share: `error`, `code` and those of a
/// failure, or `findings` with a warning for each section that takes effect only in a new process.
fn document(command: &str, answer: &ControlAnswer) -> Value {
    // Contains only text and numbers, so serialisation cannot fail.
    let mut document = serde_json::to_value(answer).unwrap_or_default();
    if !answer.ok {
        let text = answer.lines.join("; ");
        let failure = if answer.invalid { Failure::Configuration(text) } else { Failure::Failed(text) };
        if let Value::Object(fields) = failure.json(&format!("edge-proxyd {command}")) {
            fields.into_iter().for_each(|(name, value)| document[name] = value);
        }
        return document;
    }
    let waits = answer.waiting.iter().map(|section| {
        let place = Place { key: section.clone(), ..Place::default() };
        Finding::error("waits", place, "takes effect in a new process: run edge-proxyd reload --takeover")
            .severity(Severity::Warning)
    });
    document["findings"] = json!(Findings::new(waits.collect()));
    document
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_one_document_with_findings() {
        let waiting =
            ControlAnswer { ok: true, waiting: vec!["sandbox".to_owned()], ..ControlAnswer::default() };
        let found = document("reload", &waiting);
        assert_eq!((&found["findings"][0]["place"]["key"], &found["ok"]), (&json!("sandbox"), &json!(true)));
        for (invalid, code) in [(true, 2), (false, 1)] {
            let answer = ControlAnswer {
                invalid,
                lines: vec!["no such site: write one".to_owned()],
                ..ControlAnswer::default()
            };
            let found = document("maintenance", &answer);
            assert_eq!(
                (&found["code"], &found["error"]),
                (&json!(code), &json!("no such site: write one")),
                "{found}"
            );
            assert_eq!(found["findings"][0]["severity"], "error", "{found}");
        }
    }
}
