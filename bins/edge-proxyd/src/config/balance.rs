//! The readers of `balance`, `weights`, `sticky`, `health` and `retry` of an upstream.

use super::document::{Table, Value};
use super::keys::{Key, Kind, words};
use edge_http::grammar::is_token;
use edge_proxy::config::{Balance, Check, HashKey, HealthConfig, Retry, StickyCookie};

/// The kind of `balance`.
pub(super) const BALANCE: Kind = Kind::Word(&const { words(&BALANCES) });

/// The kinds of value of `sticky`: the name of a cookie, or a table.
pub(super) const STICKY: Kind = Kind::Either(&[
    Kind::Text,
    Kind::Table(&[Key::required("cookie", Kind::Text), Key::new("lifetime", Kind::Duration)]),
]);

/// The keys of `health` of an upstream.
pub(super) static HEALTH: &[Key] = &[
    // 255 marks a trial.
    Key::new("failures", Kind::Number(0, 254)),
    Key::new("eject", Kind::Duration),
    Key::new("path", Kind::Text),
    Key::new("host", Kind::Text),
    Key::new("interval", Kind::Duration),
    Key::new("timeout", Kind::Duration),
    Key::new("status", Kind::Form(r"^\s*\d+\s*(-\s*\d+\s*)?$")),
    Key::new("rise", Kind::Number(0, 254)),
    Key::new("fall", Kind::Number(0, 254)),
];

/// The keys of `retry` of an upstream.
pub(super) static RETRY: &[Key] = &[
    Key::new("attempts", Kind::Number(0, 10)),
    Key::new("statuses", Kind::List(&Kind::Number(400, 599))),
    Key::new("budget", Kind::Number(0, 100)),
];

/// The words of `balance`.
const BALANCES: [(&str, Balance); 5] = [
    ("round-robin", Balance::RoundRobin),
    ("least-connections", Balance::LeastConnections),
    ("hash-client", Balance::Hash(HashKey::Client)),
    ("hash-host", Balance::Hash(HashKey::Host)),
    ("hash-target", Balance::Hash(HashKey::Target)),
];

/// Reads the key `balance`. The default is that of [`Balance`].
pub(super) fn balance(table: &Table<'_, '_>) -> Balance {
    table.get("balance").and_then(|value| value.one_of(&BALANCES)).unwrap_or_default()
}

/// Reads the table `weights`. Returns one weight for each of `targets`, which are as written in the file; 1 for targets
/// that the table does not have. Empty without the table. A weight of an unknown target is reported.
pub(super) fn weights(table: &Table<'_, '_>, targets: &[&str]) -> Vec<u16> {
    let Some(table) = table.table("weights") else { return Vec::new() };
    let mut weights = vec![1; targets.len()];
    for (target, value) in table.all() {
        let Some(weight) = value.number() else { continue };
        match targets.iter().position(|known| *known == target) {
            Some(at) => weights[at] = weight as u16,
            None => value.report_error("belongs to no target: write the target as in `targets` or `backup`"),
        }
    }
    weights
}

/// Reads the key `sticky`: the cookie that binds a client to a target, as its name or as a table. `None` if it is
/// missing or not valid; the latter is reported. The name itself is only checked in a table.
pub(super) fn sticky(table: &Table<'_, '_>) -> Option<StickyCookie> {
    let value = table.get("sticky")?;
    if let Some(name) = value.value.as_str() {
        return Some(StickyCookie::new(name));
    }
    let table = value.table()?;
    let Some(name) = table.get("cookie") else {
        table.report_error(
            "cookie",
            "missing: write the name of the cookie, such as cookie = \"edge-target\"",
        );
        return None;
    };
    let text = name.text()?;
    if !is_token(text.as_bytes()) {
        name.report_error("not a valid name of a cookie: expected letters, digits, - and _");
        return None;
    }
    let mut cookie = StickyCookie::new(text);
    cookie.lifetime = table.get("lifetime").and_then(|value| value.duration());
    table.finish();
    Some(cookie)
}

/// Reads the table `health`. Missing keys have their defaults. Without `path` there are no active checks, and the keys
/// `host`, `interval`, `timeout` and `status`, which apply only to them, are reported.
pub(super) fn health(table: &Table<'_, '_>) -> HealthConfig {
    let mut health = HealthConfig::default();
    let rules = &mut health.rules;
    for (key, slot) in
        [("failures", &mut rules.failures), ("rise", &mut rules.rise), ("fall", &mut rules.fall)]
    {
        if let Some(number) = table.get(key).and_then(|value| value.number()) {
            *slot = number as u8;
        }
    }
    if let Some(eject) = table.get("eject").and_then(|value| value.duration()) {
        rules.eject = eject;
    }
    let text = |key| table.get(key).and_then(|value| value.text()).map(String::from);
    let (path, host) = (text("path"), text("host"));
    let mut check = Check { host, ..Check::new(path.clone().unwrap_or_default()) };
    for (key, slot) in [("interval", &mut check.interval), ("timeout", &mut check.timeout)] {
        if let Some(duration) = table.get(key).and_then(|value| value.duration()) {
            *slot = duration;
        }
    }
    if let Some(range) = table.get("status").and_then(|value| statuses(&value)) {
        check.status = range;
    }
    if path.is_some() {
        health.check = Some(check);
    } else {
        for key in ["host", "interval", "timeout", "status"] {
            if table.get(key).is_some() {
                table.report_error(
                    key,
                    "applies to active checks only: add path = \"/healthz\", or leave it out",
                );
            }
        }
    }
    table.finish();
    health
}

/// Parses one status, or two with a dash between them, into the first and the last of the range, both inclusive. `None`
/// if the text is neither, which is reported.
fn statuses(value: &Value<'_, '_>) -> Option<(u16, u16)> {
    let text = value.text()?;
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    let range = low.trim().parse().ok().zip(high.trim().parse().ok());
    if range.is_none() {
        value.report_error("not a valid range of statuses: expected one such as \"200-399\", or \"204\"");
    }
    range
}

/// Reads the table `retry`. Missing keys have their defaults.
pub(super) fn retry(table: &Table<'_, '_>) -> Retry {
    let mut retry = Retry::default();
    if let Some(attempts) = table.get("attempts").and_then(|value| value.number()) {
        retry.attempts = attempts as u8;
    }
    if let Some(percent) = table.get("budget").and_then(|value| value.number()) {
        retry.budget_percent = percent as u8;
    }
    if let Some(value) = table.get("statuses") {
        let statuses = value.list();
        retry.statuses = statuses.iter().filter_map(Value::number).map(|status| status as u16).collect();
    }
    table.finish();
    retry
}
