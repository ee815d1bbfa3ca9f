//! `[mailer]` and `[mailer.override_header]`.

use super::{Checker, Code, boolean};
use crate::address::{has_unquoted_specials, mailbox};
use crate::forgejo::is_local;
use crate::mailer::Protocol;

const DEPRECATED: &[(&str, &str)] = &[
    ("MAILER_TYPE", "PROTOCOL"),
    ("HOST", "SMTP_ADDR and SMTP_PORT"),
    ("IS_TLS_ENABLED", "PROTOCOL = smtps"),
    ("DISABLE_HELO", "ENABLE_HELO"),
    ("SKIP_VERIFY", "FORCE_TRUST_SERVER_CERT"),
    ("USE_CERTIFICATE", "USE_CLIENT_CERT"),
    ("CERT_FILE", "CLIENT_CERT_FILE"),
    ("KEY_FILE", "CLIENT_KEY_FILE"),
    ("ENABLE_HTML_ALTERNATIVE", "SEND_AS_PLAIN_TEXT"),
];

pub(super) fn check(checker: &mut Checker<'_>) {
    let enabled = checker.flag("ENABLED", false);
    for (key, instead) in DEPRECATED {
        if checker.get(key).is_some() {
            checker.add(Code::Deprecated, key, format!("write {instead}"));
        }
    }
    for (key, name) in [("USERNAME", "USER"), ("PASSWORD", "PASSWD"), ("PASSWORD_URI", "PASSWD_URI")] {
        if checker.get(key).is_some() && !checker.version.knows_aliases() {
            checker.add(Code::AliasVersion, key, format!("not read before Forgejo 8; write {name}"));
        }
    }
    for key in ["ENABLE_HELO", "SENDMAIL_CONVERT_CRLF", "SEND_AS_PLAIN_TEXT", "USE_CLIENT_CERT"] {
        checker.flag(key, matches!(key, "ENABLE_HELO" | "SENDMAIL_CONVERT_CRLF"));
    }
    if checker.flag("FORCE_TRUST_SERVER_CERT", false) {
        let message = "anybody on the way can read the password; remove it";
        checker.add(Code::TlsNotVerified, "FORCE_TRUST_SERVER_CERT", message);
    }
    sender(checker, enabled);
    transport(checker, enabled);
    checker.password("PASSWD", "PASSWD_URI");
}

fn sender(checker: &mut Checker<'_>, enabled: bool) {
    match (checker.get("FROM"), checker.get("USER")) {
        (Some(from), _) if mailbox(&from).is_none() => {
            checker.add(Code::FromRefused, "FROM", "Forgejo ends at once; write Name <local@domain>");
        }
        (Some(from), _) if has_unquoted_specials(&from) => {
            let message = "not every version of Go takes this name; write \"Name\" <local@domain>";
            checker.add(Code::FromSpecials, "FROM", message);
        }
        (None, Some(user)) if mailbox(&user).is_none() => {
            let message = "it defaults to USER, which is no address: Forgejo ends at once; write FROM";
            checker.add(Code::FromMissing, "FROM", message);
        }
        (None, None) if enabled => {
            checker.add(Code::FromMissing, "FROM", "without it no server takes a message; write FROM");
        }
        _ => {}
    }
    let envelope = checker.get("ENVELOPE_FROM").filter(|from| from != "<>");
    if envelope.is_some_and(|from| mailbox(&from).is_none()) {
        let message = "Forgejo ends at once; write local@domain, or <> for the null sender";
        checker.add(Code::EnvelopeFromRefused, "ENVELOPE_FROM", message);
    }
}

fn transport(checker: &mut Checker<'_>, enabled: bool) {
    let host = checker.get("SMTP_ADDR");
    let written = checker.get("PROTOCOL");
    let old = ["MAILER_TYPE", "IS_TLS_ENABLED", "HOST"].iter().any(|key| checker.get(key).is_some());
    let user = checker.get("USER").or_else(|| checker.get("USERNAME"));
    let port = match checker.get("SMTP_PORT").map(|port| port.parse::<u16>().ok().filter(|port| *port > 0)) {
        Some(None) => {
            checker.add(Code::Port, "SMTP_PORT", "no port; write a number from 1 to 65535");
            return;
        }
        other => other.flatten(),
    };
    let (protocol, key) = match (written.as_deref(), port) {
        (Some("smtp"), _) => (Protocol::Smtp, "PROTOCOL"),
        (Some("smtps"), _) => (Protocol::Smtps, "PROTOCOL"),
        (Some("smtp+starttls"), _) => (Protocol::StartTls, "PROTOCOL"),
        (Some("smtp+unix"), _) => return unix(checker, user.as_deref()),
        (Some("sendmail"), _) => return sendmail(checker),
        (Some("dummy"), _) => return,
        (Some(_), _) => {
            let message = "no such protocol, so plain SMTP is spoken; write smtps, lower case";
            checker.add(Code::ProtocolUnknown, "PROTOCOL", message);
            return;
        }
        (None, _) if host.as_deref().is_some_and(|host| host.contains(['/', '\\'])) => {
            let message = "not written, and SMTP_ADDR is a path: a Unix socket";
            checker.add(Code::ProtocolInferred, "PROTOCOL", message);
            return unix(checker, user.as_deref());
        }
        (None, Some(port)) => {
            let protocol = Protocol::of_port(port);
            let message = format!("not written, so it follows port {port}: {protocol}");
            checker.add(Code::ProtocolInferred, "PROTOCOL", message);
            (protocol, "SMTP_PORT")
        }
        (None, None) if old => return,
        (None, None) => {
            if host.is_some() {
                let message = "neither it nor SMTP_PORT is written: smtps on port 465";
                checker.add(Code::ProtocolInferred, "PROTOCOL", message);
            }
            (Protocol::Smtps, "PROTOCOL")
        }
    };
    let Some(host) = host else {
        if enabled && !old {
            checker.add(Code::Host, "SMTP_ADDR", "there is no server; write its name");
        }
        return;
    };
    if host.contains(['/', '\\', '[', ']', ' ', '\t'])
        || (host.contains(':') && host.parse::<std::net::Ipv6Addr>().is_err())
    {
        let message = "no host: write its name only, without a port, brackets or https://";
        checker.add(Code::Host, "SMTP_ADDR", message);
    }
    let crossed =
        matches!((protocol, port), (Protocol::Smtps, Some(25 | 587)) | (Protocol::StartTls, Some(465)));
    if crossed && key == "PROTOCOL" {
        let message = "the port of another protocol: the first byte is waited for without end; \
                       465 is for smtps, 587 for smtp+starttls";
        checker.add(Code::ProtocolPort, "SMTP_PORT", message);
    }
    if user.is_none() || is_local(&host) {
        return;
    }
    match protocol {
        Protocol::Smtp => checker.add(Code::Plaintext, key, "without TLS; write PROTOCOL = smtps, port 465"),
        Protocol::StartTls => {
            let message =
                "if somebody strips STARTTLS, the password goes out in clear; prefer smtps, port 465";
            checker.add(Code::StartTlsStrippable, key, message);
        }
        Protocol::Smtps => {}
    }
}

fn unix(checker: &mut Checker<'_>, user: Option<&str>) {
    if !checker.get("SMTP_ADDR").is_some_and(|path| path.starts_with('/')) {
        checker.add(Code::Host, "SMTP_ADDR", "write the absolute path of the socket");
    }
    if user.is_some() {
        let message = "over a Unix socket Go refuses PLAIN, the usual mechanism; remove USER, or offer LOGIN";
        checker.add(Code::UnixAuthentication, "USER", message);
    }
}

fn sendmail(checker: &mut Checker<'_>) {
    let args = checker.get("SENDMAIL_ARGS").unwrap_or_default();
    if !checker.version.ends_sendmail_args() && !args.trim_end().ends_with("--") {
        let message =
            "before Forgejo 12 a recipient that begins with - is an option of sendmail; end it with --";
        checker.add(Code::SendmailArgs, "SENDMAIL_ARGS", message);
    }
}

/// Headers that differ from message to message: one value for all would break threads, dates or addresses.
const FIXED: &[&str] = &["date", "message-id", "to", "subject", "content-type", "content-transfer-encoding"];

pub(super) fn override_header(checker: &mut Checker<'_>) {
    let keys = checker.ini.section(checker.section).map(crate::ini::Section::keys).unwrap_or_default();
    if let (Some(key), false) = (keys.first(), checker.version.knows_override_header()) {
        checker.add(Code::HeaderVersion, key.name(), "not read before Forgejo 8");
    }
    for key in keys {
        let name = key.name();
        if name.is_empty() || !name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-') {
            checker.add(Code::HeaderName, name, "no name of a header; write letters, digits and - only");
        } else if FIXED.contains(&name.to_lowercase().as_str()) {
            let message = "it would be the same on every message; remove it";
            checker.add(Code::HeaderFixed, name, message);
        } else if key.raw().contains(['\n', '\r']) {
            checker.add(Code::HeaderName, name, "a line end in a header; write it on one line");
        }
    }
}

/// The value of a switch that is off unless it says otherwise.
pub(super) fn on(checker: &Checker<'_>, key: &str) -> bool {
    checker.get(key).and_then(|value| boolean(&value)) == Some(true)
}
