//! The reader of the section `[shared]`.

use super::document::Table;
use super::keys::{Key, Kind};
use crate::shared::SharedSection;
use cli_support::secret::{Reference, ReferenceError};
use edge_proxy::TicketSchedule;
use std::time::Duration;

/// The kind of a reference to a secret.
const REFERENCE: Kind = Kind::Form("^(file:/|age:/|credential:|env:).");

/// The keys of `[shared]`.
pub(super) static SHARED: &[Key] = &[
    Key::required("database", REFERENCE),
    Key::new("database_roots", Kind::Path),
    Key::required("secret", REFERENCE),
    Key::new("wait", Kind::Duration),
    Key::new("rotate", Kind::Duration),
    Key::new("lifetime", Kind::Duration),
];

/// Reads the table `shared`. `wait` is 200 ms by default, and the schedule of ticket keys that of [`TicketSchedule`].
/// `None` if a required key is missing or not valid, or the schedule is not valid, which is reported; so is a `wait`
/// that is not from 1 ms to 5 s.
pub(super) fn shared(table: &Table<'_, '_>) -> Option<SharedSection> {
    let (database, secret) = (reference(table, "database"), reference(table, "secret"));
    let usual = TicketSchedule::default();
    let duration = |key| table.get(key).and_then(|value| value.duration());
    let wait = duration("wait").unwrap_or(Duration::from_millis(200));
    if !(Duration::from_millis(1)..=Duration::from_secs(5)).contains(&wait) {
        table.report_error(
            "wait",
            "out of range: expected 1ms to 5s, the longest a client waits when the database does not answer",
        );
    }
    let (rotate, lifetime) =
        (duration("rotate").unwrap_or(usual.rotate()), duration("lifetime").unwrap_or(usual.lifetime()));
    let schedule = TicketSchedule::new(rotate, lifetime, usual.skew());
    if TicketSchedule::new(rotate, usual.lifetime(), usual.skew()).is_err() {
        table.report_error("rotate", "out of range: expected 2s to 7d");
    }
    if TicketSchedule::new(usual.rotate(), lifetime, usual.skew()).is_err() {
        table.report_error(
            "lifetime",
            "out of range: expected 1s to 7d, the longest lifetime that TLS allows a ticket",
        );
    }
    let roots = table.get("database_roots").and_then(|value| value.path());
    table.finish();
    Some(SharedSection { database: database?, roots, secret: secret?, wait, schedule: schedule.ok()? })
}

/// Reads a reference to a secret. `None` if it is missing or not valid, which is reported without the value, since that
/// may be the secret itself.
fn reference(table: &Table<'_, '_>, key: &'static str) -> Option<Reference> {
    let Some(value) = table.get(key) else {
        table.report_error(key, "missing: write a reference such as file:/etc/edge-proxyd/NAME");
        return None;
    };
    // A value of another type is none of the forms either.
    let found = value.value.as_str().unwrap_or_default().parse();
    found.map_err(|why: ReferenceError| table.report_error(key, &why.to_string())).ok()
}
