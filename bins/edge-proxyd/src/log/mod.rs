//! The access log: one line per request, as JSON or in the combined format.

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

/// A format of the access log's lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Format {
    /// The NCSA combined format, which most log readers know.
    Combined,
    /// One JSON object per line.
    #[default]
    Json,
    /// No access log.
    Off,
}

impl Format {
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
    /// The format of lines.
    pub(crate) format: Format,
    /// The file of the log. `None` is standard output.
    pub(crate) file: Option<PathBuf>,
    /// True if rejected connections are logged too.
    pub(crate) rejected: bool,
    /// The format of requests, in place of `format`.
    pub(crate) template: Option<Template>,
    /// The files of sites that have their own, by name.
    pub(crate) sites: Vec<(String, PathBuf)>,
}

/// The values of one request that a log line is made of.
pub(crate) struct LogRecord<'a> {
    pub(crate) time: SystemTime,
    pub(crate) client: IpAddr,
    pub(crate) peer: SocketAddr,
    pub(crate) method: &'a str,
    pub(crate) authority: &'a str,
    pub(crate) target: &'a str,
    pub(crate) version: &'a str,
    /// The version and cipher suite of TLS.
    pub(crate) tls: Option<edge_proxy::TlsParameters>,
    /// The status; `None` if the client got no response.
    pub(crate) status: Option<u16>,
    pub(crate) received: u64,
    pub(crate) sent: u64,
    pub(crate) duration: Duration,
    pub(crate) site: Option<&'a str>,
    pub(crate) upstream: Option<&'a str>,
    pub(crate) reason: Option<&'a str>,
    /// The failure of the upstream in words.
    pub(crate) error: Option<&'a str>,
    pub(crate) early: bool,
    /// The description of the connection in its PROXY header.
    pub(crate) proxy_header: Option<&'a edge_http::proxy_protocol::Extensions>,
    pub(crate) request_id: Option<&'a str>,
    pub(crate) referer: Option<&'a [u8]>,
    pub(crate) user_agent: Option<&'a [u8]>,
}

impl LogRecord<'_> {
    /// Appends the line, including its line feed.
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
    fn json_lines_do_nothing_to_a_terminal() {
        let said = "\u{9b}31m\u{202e}txt.exe\u{200b}\u{e0041}\u{7f}é\u{1f600}\u{1b}";
        let text = written(Format::Json, said.as_bytes());
        assert!(text.chars().all(|c| !c.is_control() || c == '\n'), "{text:?}");
        assert!(!text.contains(['\u{202e}', '\u{200b}', '\u{e0041}']), "{text:?}");
        assert!(text.contains("\\u009b31m\\u202etxt.exe") && text.contains("é\u{1f600}"), "{text:?}");
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["user_agent"], said);
    }
}
