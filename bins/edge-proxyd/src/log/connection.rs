//! The log lines of connections without requests: forwarded as TCP, or rejected.

use super::time::Date;
use super::{Format, LogRecord, Template, combined, json};
use edge_proxy::{ConnectionRejected, ForwardRecord, Reason};
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

/// Returns the line of a connection that was forwarded as TCP, including its line feed. In the combined format the
/// request is `FORWARD UPSTREAM REASON`, with `-` for no reason; in a template the method is `FORWARD`, and the
/// authority is the server name. [`Format::Off`] is written as JSON; callers do not log then.
pub(super) fn forwarded(
    record: &ForwardRecord<'_>,
    time: SystemTime,
    format: Format,
    template: Option<&Template>,
) -> Vec<u8> {
    let reason = record.reason.map(Reason::as_str);
    if let Some(template) = template {
        let mut out = Vec::new();
        let line = LogRecord {
            client: record.client.ip(),
            method: "FORWARD",
            authority: record.sni.unwrap_or_default(),
            received: record.received,
            sent: record.sent,
            duration: record.duration,
            site: record.site,
            upstream: Some(record.upstream),
            reason,
            proxy_header: record.proxy_header,
            request_id: record.unique_id,
            ..LogRecord::of_connection(time, record.peer)
        };
        template.write(&line, &mut out);
        return out;
    }
    if format == Format::Combined {
        let mut out = Vec::new();
        let what = ["FORWARD", record.upstream, reason.unwrap_or("-")];
        combined::connection((time, record.client.ip()), what, (None, record.sent), &mut out);
        return out;
    }
    let mut object = serde_json::json!({
        "time": Date::new(time).to_string(),
        "forwarded": record.upstream,
        "client": record.client.ip(),
        "peer": record.peer,
        "listener": record.listener.map_or_else(|| record.local.to_string(), str::to_owned),
        "site": record.site,
        "sni": record.sni,
        "received": record.received,
        "sent": record.sent,
        "duration": record.duration.as_micros() as f64 / 1e6,
        "reason": reason,
    });
    if let Some(said) = record.proxy_header {
        object["proxy_header"] = json::extensions_json(said);
    }
    if let Some(id) = record.unique_id {
        object["unique_id"] = id.into();
    }
    line(&object)
}

/// A connection that was rejected before a request.
pub(super) struct RejectedConnection<'a> {
    /// The address of the peer.
    peer: SocketAddr,
    /// The local address of the connection.
    listener: SocketAddr,
    /// The server name in the ClientHello. `None` if there is none, or it was not read.
    sni: Option<&'a str>,
    /// True for QUIC, false for TCP.
    quic: bool,
    /// The code of the reason for the rejection.
    reason: &'static str,
}

impl<'a> From<&ConnectionRejected<'a>> for RejectedConnection<'a> {
    fn from(record: &ConnectionRejected<'a>) -> Self {
        let ConnectionRejected { peer, local: listener, sni, quic, reason, .. } = *record;
        Self { peer, listener, sni, quic, reason: reason.as_str() }
    }
}

impl RejectedConnection<'_> {
    /// Returns the line of the connection, including its line feed. In the combined format the request is `TCP NAME
    /// REASON`, with `QUIC` in place of `TCP` for QUIC and `-` for no name, and the status is 444, that of a request
    /// without a response. In a template the method is `TCP` or `QUIC`, and the authority is the server name. Otherwise
    /// the line is JSON.
    pub(super) fn line(&self, time: SystemTime, format: Format, template: Option<&Template>) -> Vec<u8> {
        let Self { peer, listener, sni, quic, reason } = self;
        let method = if *quic { "QUIC" } else { "TCP" };
        if let Some(template) = template {
            let mut out = Vec::new();
            let line = LogRecord {
                method,
                authority: sni.unwrap_or_default(),
                reason: Some(reason),
                ..LogRecord::of_connection(time, *peer)
            };
            template.write(&line, &mut out);
            return out;
        }
        if format == Format::Combined {
            let mut out = Vec::new();
            let what = [method, sni.unwrap_or("-"), reason];
            combined::connection((time, peer.ip()), what, (Some(444), 0), &mut out);
            return out;
        }
        line(&serde_json::json!({
            "time": Date::new(time).to_string(),
            "turned_away": reason,
            "peer": peer,
            "listener": listener,
            "sni": sni,
            "transport": if *quic { "quic" } else { "tcp" },
        }))
    }
}

impl LogRecord<'_> {
    /// Returns the record of a connection without a request: the time, and the peer, which is also the client. All
    /// other values are empty, `None` or 0.
    const fn of_connection(time: SystemTime, peer: SocketAddr) -> Self {
        Self {
            time,
            client: peer.ip(),
            peer,
            method: "",
            authority: "",
            target: "",
            version: "",
            tls: None,
            status: None,
            received: 0,
            sent: 0,
            duration: Duration::ZERO,
            site: None,
            upstream: None,
            reason: None,
            error: None,
            early: false,
            proxy_header: None,
            request_id: None,
            referer: None,
            user_agent: None,
        }
    }
}

/// Returns a value as a line of JSON, including its line feed.
fn line(value: &serde_json::Value) -> Vec<u8> {
    let mut line = json::escaped_json(value);
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    #[test]
    fn rejected_connections_have_the_format_of_the_log_and_a_time() {
        let record = RejectedConnection {
            peer: ([203, 0, 113, 66], 40_000).into(),
            listener: ([192, 0, 2, 1], 443).into(),
            sni: Some("un\"known\u{202e}.example.org"),
            quic: true,
            reason: Reason::UnknownName.as_str(),
        };
        let time = UNIX_EPOCH + Duration::from_millis(1_794_000_000_123);
        let text = |format| String::from_utf8(record.line(time, format, None)).expect("UTF-8");
        assert_eq!(
            text(Format::Combined),
            "203.0.113.66 - - [06/Nov/2026:21:20:00 +0000] \"QUIC un\\x22known\\xe2\\x80\\xae.example.org unknown-name\" 444 0 \"-\" \"-\"\n"
        );
        let json: serde_json::Value = serde_json::from_str(&text(Format::Json)).expect("JSON");
        assert_eq!(json["time"], "2026-11-06T21:20:00.123Z");
        assert_eq!((&json["turned_away"], &json["transport"]), (&"unknown-name".into(), &"quic".into()));
        let template = Template::parse(
            "{time} {client} {method} {authority} {target} {status} {version} {sent} {reason}",
        );
        let line = record.line(time, Format::Json, Some(&template.expect("a template")));
        assert_eq!(
            String::from_utf8(line).expect("UTF-8"),
            "2026-11-06T21:20:00.123Z 203.0.113.66 QUIC un\\x22known\\xe2\\x80\\xae.example.org - - - 0 unknown-name\n"
        );
    }
}
