//! The access log: one line per request, as JSON, in the combined format, or by a template.

mod combined;
mod connection;
mod json;
mod template;
mod time;
mod writer;

pub(crate) use template::Template;
pub(crate) use writer::Writer;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// The predefined format of lines in the access log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Format {
    /// The NCSA combined format, which most log readers understand.
    Combined,
    /// One JSON object per line.
    #[default]
    Json,
    /// No access log.
    Off,
}

impl Format {
    /// Returns the word for the format in the configuration.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Combined => "combined",
            Self::Json => "json",
            Self::Off => "off",
        }
    }
}

/// The settings of the access log.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct LogSettings {
    /// The format of lines, unless there is a template.
    pub(crate) format: Format,
    /// The path of the log file. `None` for standard output.
    pub(crate) file: Option<PathBuf>,
    /// True if rejected connections, and requests without both a response and a site, are logged too.
    pub(crate) rejected: bool,
    /// The template of all lines. `None` if `format` applies.
    pub(crate) template: Option<Template>,
    /// The sites with a log file of their own: the name of each, and the path of the file.
    pub(crate) sites: Vec<(String, PathBuf)>,
}

/// The values of a request, or of a connection without one, for the log line.
pub(crate) struct LogRecord<'a> {
    /// The time at which the request ended.
    pub(crate) time: SystemTime,
    /// The client's address, as restored from trusted proxies.
    pub(crate) client: IpAddr,
    /// The address of the connection's peer.
    pub(crate) peer: SocketAddr,
    /// The request method.
    pub(crate) method: &'a str,
    /// The host of the request, with its port if it has one.
    pub(crate) authority: &'a str,
    /// The request target: path and query.
    pub(crate) target: &'a str,
    /// The HTTP version of the request.
    pub(crate) version: &'a str,
    /// The version and cipher suite of TLS. `None` for plain HTTP.
    pub(crate) tls: Option<edge_proxy::TlsParameters>,
    /// The status of the response. `None` if the client got no response.
    pub(crate) status: Option<u16>,
    /// The bytes of content received from the client.
    pub(crate) received: u64,
    /// The bytes of content sent to the client.
    pub(crate) sent: u64,
    /// The time from the request to the end of its response.
    pub(crate) duration: Duration,
    /// The name of the site. `None` if no site serves the host.
    pub(crate) site: Option<&'a str>,
    /// The upstream to which the request was forwarded. `None` if it was not forwarded.
    pub(crate) upstream: Option<&'a str>,
    /// The code of the reason for a rejection or abort. `None` otherwise.
    pub(crate) reason: Option<&'a str>,
    /// The description of the upstream's failure. `None` if it did not fail.
    pub(crate) error: Option<&'a str>,
    /// True if the request arrived in early data (0-RTT).
    pub(crate) early: bool,
    /// The extensions of the PROXY header. `None` if the connection had none.
    pub(crate) proxy_header: Option<&'a edge_http::proxy_protocol::Extensions>,
    /// The request identifier. `None` if requests have none.
    pub(crate) request_id: Option<&'a str>,
    /// The field `Referer`. `None` without it.
    pub(crate) referer: Option<&'a [u8]>,
    /// The field `User-Agent`. `None` without it.
    pub(crate) user_agent: Option<&'a [u8]>,
}

impl LogRecord<'_> {
    /// Appends the line of the request in this format, including its line feed. Nothing for [`Format::Off`].
    pub(crate) fn write(&self, format: Format, out: &mut Vec<u8>) {
        match format {
            Format::Combined => combined::write(self, out),
            Format::Json => json::write(self, out),
            Format::Off => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn line(user_agent: &[u8]) -> LogRecord<'_> {
        LogRecord {
            time: SystemTime::UNIX_EPOCH + Duration::from_millis(1_794_000_000_123),
            client: [203, 0, 113, 7].into(),
            peer: ([100, 64, 0, 2], 40_000).into(),
            method: "GET",
            authority: "git.example.org",
            target: "/a\"b",
            version: "HTTP/2",
            tls: None,
            status: Some(200),
            received: 0,
            sent: 12,
            duration: Duration::from_micros(1500),
            site: Some("git"),
            upstream: Some("forgejo"),
            reason: None,
            error: None,
            early: false,
            proxy_header: None,
            request_id: None,
            referer: None,
            user_agent: Some(user_agent),
        }
    }

    fn written(format: Format, user_agent: &[u8]) -> String {
        let mut out = Vec::new();
        line(user_agent).write(format, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn combined_lines_cannot_be_forged() {
        assert_eq!(
            written(Format::Combined, b"x\"\\\xff\n1.2.3.4"),
            "203.0.113.7 - - [06/Nov/2026:21:20:00 +0000] \"GET /a\\x22b HTTP/2\" 200 12 \"-\" \
             \"x\\x22\\x5c\\xff\\x0a1.2.3.4\"\n"
        );
    }

    #[test]
    fn json_lines_are_json() {
        let text = written(Format::Json, b"x\"\xff\n");
        assert_eq!(text.matches('\n').count(), 1);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["time"], "2026-11-06T21:20:00.123Z");
        assert_eq!(value["client"], "203.0.113.7");
        assert_eq!(value["duration"], 0.0015);
        assert!(value["tls_version"].is_null() && value["tls_cipher"].is_null());
        assert_eq!(value["target"], "/a\"b");
    }

    #[test]
    fn durations_are_plain_decimals() {
        for (micros, wanted) in
            [(8, "0.000008"), (1500, "0.0015"), (2_000_000, "2"), (86_400_000_000, "86400"), (0, "0")]
        {
            let mut out = Vec::new();
            LogRecord { duration: Duration::from_micros(micros), ..line(b"x") }.write(Format::Json, &mut out);
            let text = String::from_utf8(out).unwrap();
            assert!(text.contains(&format!("\"duration\":{wanted},")), "{text}");
        }
    }

    #[test]
    fn s36_json_lines_do_nothing_to_a_terminal() {
        let said = "\u{9b}31m\u{202e}txt.exe\u{200b}\u{e0041}\u{7f}é\u{1f600}\u{1b}";
        let text = written(Format::Json, said.as_bytes());
        assert!(text.chars().all(|c| !c.is_control() || c == '\n'), "{text:?}");
        assert!(!text.contains(['\u{202e}', '\u{200b}', '\u{e0041}']), "{text:?}");
        assert!(text.contains("\\u009b31m\\u202etxt.exe") && text.contains("é\u{1f600}"), "{text:?}");
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["user_agent"], said);
    }
}
