//! `list`: prints the state of each certificate. A certificate whose state cannot be read is listed with its error; the
//! others are listed nevertheless.

use acme_dns01::engine::{Certificate, CertificateStatus, Engine, UnreadyDependency};
use acme_dns01::{Condition, Time, format_duration};
use cli_support::outcome::{Done, chain};
use cli_support::table::Table;
use serde_json::{Value, json};

/// Returns the activity code of a certificate (`reload_failed`, `held_back`, `paused`, `order_under_way` or `idle`),
/// and a description unless it is idle. `held` is the provider that is waited for.
fn activity(status: &CertificateStatus, held: Option<&UnreadyDependency>) -> (&'static str, Option<String>) {
    let state = &status.state;
    if let Some(error) = &state.deploy_error {
        return ("reload_failed", Some(format!("not deployed: {error}")));
    }
    if let Some(held) = held {
        return ("held_back", Some(format!("held back: {held}")));
    }
    if let (Some(until), Some(_), None) = (status.paused_until, &state.attempt, &state.last_error) {
        return ("order_under_way", Some(format!("the CA has not finished the order; asked again {until}")));
    }
    if let Some(until) = status.paused_until {
        let error = state.last_error.as_deref().unwrap_or("a failure");
        return ("paused", Some(format!("paused until {until}: {error}")));
    }
    if let Some(attempt) = &state.attempt {
        return ("order_under_way", Some(format!("an order is under way at {}", attempt.authority)));
    }
    ("idle", None)
}

/// Prints the certificates with their state, as a table or as JSON. Returns [`Done::Differences`] if one of them cannot
/// be read.
pub(crate) async fn list(engine: &Engine, certificates: &[Certificate], now: Time, as_json: bool) -> Done {
    let mut table = Table::new(["name", "names", "status", "left", "renewal", "why then"]);
    let mut lines = Vec::new();
    let mut done = Done::Fine;
    for certificate in certificates {
        let spec = &certificate.spec;
        let names: Vec<&str> = spec.names.iter().map(acme_dns01::Name::as_str).collect();
        let status = match engine.certificate_status(certificate).await {
            Ok(status) => status,
            Err(error) => {
                done = Done::Differences;
                let message = format!("unreadable: {}", chain(&error));
                let nothing = || "–".to_owned();
                lines.push(
                    json!({"name": spec.id, "names": names, "status": "unreadable", "message": message}),
                );
                table.row([
                    spec.id.clone(),
                    names.join(" "),
                    "unreadable".to_owned(),
                    nothing(),
                    nothing(),
                    message,
                ]);
                continue;
            }
        };
        let state = &status.state;
        let info = status.stored.info();
        let usable = status.condition.is_usable() || status.condition == Condition::Staging;
        let left = info.filter(|_| usable).map(|info| info.not_after.since(now));
        let attempt = state.attempt.as_ref();
        let needs_provider = attempt.map_or(status.due.at <= now, |attempt| !attempt.is_validated());
        let held = if needs_provider { engine.unready_dependency(certificate).await } else { None };
        let (activity, detail) = activity(&status, held.as_ref());
        let mut why = status.due.reason.to_string();
        if let Some(detail) = &detail {
            why = format!("{why}; {detail}");
        }
        let next = status.paused_until.map_or(status.due.at, |until| until.max(status.due.at));
        let when = if next <= now { "now".to_owned() } else { next.to_string() };
        lines.push(json!({
            "name": spec.id, "names": names, "status": status.condition.as_str(),
            "message": status.condition.to_string(), "activity": activity, "detail": detail,
            "serial": info.map(|info| info.serial.clone()), "issuer": info.map(|info| info.issuer.clone()),
            "not_after": info.map(|info| info.not_after.to_string()),
            "seconds_left": left.map(|left| left.as_secs()), "renewal": when, "why": why,
            "failures": state.failures, "reload_error": state.deploy_error,
        }));
        table.row([
            spec.id.clone(),
            names.join(" "),
            status.condition.to_string(),
            left.map_or_else(|| "–".to_owned(), format_duration),
            when,
            why,
        ]);
    }
    if as_json {
        println!("{}", Value::from(lines));
    } else {
        print!("{table}");
    }
    done
}
