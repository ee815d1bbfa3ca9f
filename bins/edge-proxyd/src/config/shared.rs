//! `[shared]`.

use super::document::Table;
use super::keys::{Key, Kind};
use crate::shared::Section;
use cli_support::secret::Reference;
use edge_proxy::shared::Schedule;
use std::time::Duration;

/// Where a secret is.
const REFERENCE: Kind = Kind::Form("^(file:/|age:/|credential:|env:).");

pub(super) static SHARED: &[Key] = &[
    Key::required("database", REFERENCE),
    Key::new("database_roots", Kind::Path),
    Key::required("secret", REFERENCE),
    Key::new("wait", Kind::Duration),
    Key::new("rotate", Kind::Duration),
    Key::new("lifetime", Kind::Duration),
];

pub(super) fn shared(table: &Table<'_, '_>) -> Option<Section> {
    let (database, secret) = (reference(table, "database"), reference(table, "secret"));
    let usual = Schedule::default();
    let duration = |key| table.get(key).and_then(|value| value.duration());
    let wait = duration("wait").unwrap_or(Duration::from_millis(200));
    if !(Duration::from_millis(1)..=Duration::from_secs(5)).contains(&wait) {
        table.wrong("wait", "is out of range: write 1ms to 5s, which a client waits at most when the database does not answer");
    }
    let (rotate, lifetime) =
        (duration("rotate").unwrap_or(usual.rotate()), duration("lifetime").unwrap_or(usual.lifetime()));
    let schedule = Schedule::new(rotate, lifetime, usual.skew());
    if Schedule::new(rotate, usual.lifetime(), usual.skew()).is_err() {
        table.wrong("rotate", "is out of range: write 2s to 7d");
    }
    if Schedule::new(usual.rotate(), lifetime, usual.skew()).is_err() {
        table.wrong("lifetime", "is out of range: write 1s to 7d, more than which TLS allows no ticket");
    }
    let roots = table.get("database_roots").and_then(|value| value.path());
    table.finish();
    Some(Section { database: database?, roots, secret: secret?, wait, schedule: schedule.ok()? })
}

/// A reference to a secret. What is written is not repeated: it may be the secret.
fn reference(table: &Table<'_, '_>, key: &'static str) -> Option<Reference> {
    let Some(value) = table.get(key) else {
        table.wrong(key, "is missing: write a reference such as file:/etc/edge-proxyd/NAME");
        return None;
    };
    let found = value.value.as_str().and_then(|text| text.parse().ok());
    if found.is_none() {
        let why = "is no reference to a secret: write file:/path, credential:name, env:NAME or age:/path?identity=/path, never \
                   the secret itself";
        table.wrong(key, why);
    }
    found
}
