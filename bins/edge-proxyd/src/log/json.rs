//! The JSON format: one object per line.

use super::LogRecord;
use super::time::Date;
use serde::Serialize;
use std::borrow::Cow;

#[derive(Serialize)]
struct Object<'a> {
    time: String,
    client: std::net::IpAddr,
    peer: std::net::SocketAddr,
    method: &'a str,
    authority: &'a str,
    target: &'a str,
    version: &'a str,
    status: Option<u16>,
    received: u64,
    sent: u64,
    duration: f64,
    site: Option<&'a str>,
    upstream: Option<&'a str>,
    reason: Option<&'a str>,
    early: bool,
    referer: Option<Cow<'a, str>>,
    user_agent: Option<Cow<'a, str>>,
}

pub(super) fn write(line: &LogRecord<'_>, out: &mut Vec<u8>) {
    let Date { year, month, day, hour, minute, second, millisecond } = Date::of(line.time);
    let object = Object {
        time: format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millisecond:03}Z"),
        client: line.client,
        peer: line.peer,
        method: line.method,
        authority: line.authority,
        target: line.target,
        version: line.version,
        status: line.status,
        received: line.received,
        sent: line.sent,
        duration: line.duration.as_micros() as f64 / 1e6,
        site: line.site,
        upstream: line.upstream,
        reason: line.reason,
        early: line.early,
        referer: line.referer.map(String::from_utf8_lossy),
        user_agent: line.user_agent.map(String::from_utf8_lossy),
    };
    // Contains only text and numbers, so serialisation into memory cannot fail.
    let _ = serde_json::to_writer(&mut *out, &object);
    out.push(b'\n');
}
