//! Checks of `[mailer]` and `[mailer.override_header]`.

use super::{Checker, network, values};
use crate::address::{AddressRules, parse_address};
use crate::duration::is_duration;
use crate::effective::{EffectiveMailer, EffectiveTransport, Origin, Password, SendmailCommand, effective};
use crate::fatal::Fatal;
use crate::finding::Code;
use crate::host::ascii_address;
use crate::ini::Ini;
use crate::secret_uri::secret_path;
use crate::section::{OVERRIDE_HEADER, SECTION};
use crate::shell::shell_words;
use crate::version::Version;

/// Deprecated keys, each with the advice that replaces it.
pub(crate) const DEPRECATED: &[(&str, &str)] = &[
    ("MAILER_TYPE", "write PROTOCOL"),
    ("HOST", "write SMTP_ADDR and SMTP_PORT"),
    ("IS_TLS_ENABLED", "write PROTOCOL = smtps, or smtp+starttls"),
    ("DISABLE_HELO", "write ENABLE_HELO"),
    ("SKIP_VERIFY", "write FORCE_TRUST_SERVER_CERT"),
    ("USE_CERTIFICATE", "write USE_CLIENT_CERT"),
    ("CERT_FILE", "write CLIENT_CERT_FILE: Forgejo does not read this one"),
    ("KEY_FILE", "write CLIENT_KEY_FILE: Forgejo does not read this one"),
    ("ENABLE_HTML_ALTERNATIVE", "write SEND_AS_PLAIN_TEXT"),
];

/// Checks both sections. If outgoing mail is disabled, only the value of `ENABLED` is checked.
pub(super) fn check(checker: &mut Checker<'_>) {
    checker.section = SECTION;
    checker.flag("ENABLED", false);
    let (mailer, fatals) = load_leniently(checker.ini, checker.version);
    for fatal in &fatals {
        checker.fatal(fatal);
    }
    // Disabled mail cannot stop Forgejo or expose a password.
    let Some(mailer) = mailer else { return };
    for key in [
        "ENABLE_HELO",
        "SENDMAIL_CONVERT_CRLF",
        "SEND_AS_PLAIN_TEXT",
        "USE_CLIENT_CERT",
        "FORCE_TRUST_SERVER_CERT",
    ] {
        checker.flag(key, matches!(key, "ENABLE_HELO" | "SENDMAIL_CONVERT_CRLF"));
    }
    names(checker);
    values::check(checker);
    values::reference(checker, &["PASSWD", "PASSWORD"]);
    sender(checker, &mailer, &fatals);
    password(checker, &mailer);
    match mailer.transport {
        EffectiveTransport::Dummy => {}
        EffectiveTransport::Sendmail => sendmail(checker, &mailer),
        EffectiveTransport::Unix => unix(checker, &mailer),
        EffectiveTransport::Network(protocol) => network::check(checker, &mailer, protocol),
    }
    override_header(checker);
}

/// Loads the mailer, and returns it with every setting that stops Forgejo: each is replaced by a valid value before the
/// next attempt. `None` if mail is disabled or cannot be loaded. The mailer has no headers.
fn load_leniently(ini: &Ini, version: Version) -> (Option<EffectiveMailer>, Vec<Fatal>) {
    let mut now = ini.excerpt(&[SECTION]);
    let mut fatals = Vec::new();
    loop {
        let fatal = match effective(&now, version) {
            Ok(Some(mut mailer)) => {
                mailer.headers.clear();
                return (Some(mailer), fatals);
            }
            Ok(None) => return (None, fatals),
            Err(fatal) => fatal,
        };
        match &fatal {
            Fatal::BothPasswords { .. } | Fatal::Uri { .. } => {
                now.set(SECTION, "PASSWD_URI", "");
                now.set(SECTION, "PASSWORD_URI", "");
            }
            Fatal::EnvelopeFrom { .. } => now.set(SECTION, "ENVELOPE_FROM", ""),
            Fatal::From { .. } => now.set(SECTION, "FROM", "forge@example.org"),
            Fatal::Host { .. } => now.set(SECTION, "HOST", "localhost"),
            Fatal::SendmailTimeout { .. } => now.set(SECTION, "SENDMAIL_TIMEOUT", ""),
            Fatal::ReplyTo { .. } => {}
        }
        let again = fatals.contains(&fatal);
        if !again {
            fatals.push(fatal);
        }
        if again || fatals.len() > 8 {
            return (None, fatals);
        }
    }
}

/// Reports deprecated keys and spellings, aliases that the version does not read, a `HELO_HOSTNAME` that is no name, and
/// a `SENDMAIL_TIMEOUT` that is not a duration.
fn names(checker: &mut Checker<'_>) {
    for (key, fix) in DEPRECATED {
        if checker.ini.value(SECTION, key).is_some() {
            checker.add(Code::Deprecated, key, "deprecated", fix);
        }
    }
    if checker.get("PROTOCOL").as_deref() == Some("smtp+startls") {
        checker.add(Code::Deprecated, "PROTOCOL", "a deprecated spelling", "write smtp+starttls");
    }
    for (key, name) in [("USERNAME", "USER"), ("PASSWORD", "PASSWD")] {
        if checker.get(key).is_some() && !checker.version.knows_aliases() {
            checker.add(Code::AliasVersion, key, "not read before Forgejo 8", &format!("write {name}"));
        }
    }
    let fits = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
    if checker.get("HELO_HOSTNAME").is_some_and(|name| !name.chars().all(fits)) {
        let problem = "characters that no host name has: servers refuse EHLO";
        checker.add(Code::HeloName, "HELO_HOSTNAME", problem, "write the full name of the forge");
    }
    let timeout = checker.get("SENDMAIL_TIMEOUT");
    if timeout.is_some_and(|text| !is_duration(&text)) && !checker.version.refuses_bad_timeout() {
        let problem = "not a duration, so five minutes are used";
        checker.add(Code::Duration, "SENDMAIL_TIMEOUT", problem, "write a unit, as in 5m");
    }
}

/// Reports a missing sender, and a written `FROM` or `ENVELOPE_FROM` that not every server accepts, or only some
/// releases of Go, unless Forgejo's start already fails for `FROM`.
fn sender(checker: &mut Checker<'_>, mailer: &EffectiveMailer, fatals: &[Fatal]) {
    let refused = fatals.iter().any(|fatal| matches!(fatal, Fatal::From { .. }));
    if mailer.from.is_empty() {
        let problem = "missing, and USER too: no server accepts a message without a sender";
        checker.add(Code::FromMissing, "FROM", problem, "write FROM = Name <local@domain>");
    }
    for (key, value) in [("FROM", &mailer.from), ("ENVELOPE_FROM", &mailer.envelope_from)] {
        let accepted = AddressRules::ALL.iter().filter(|rules| parse_address(value, **rules).is_ok()).count();
        if !refused && checker.get(key).is_some() && accepted > 0 && accepted < AddressRules::ALL.len() {
            let problem =
                "releases of Go differ in domain literals, so another build of Forgejo may not start";
            checker.add(Code::FromLiteral, key, problem, "write a domain name");
        }
    }
    let server = matches!(mailer.transport, EffectiveTransport::Network(_) | EffectiveTransport::Unix);
    let sender = mailer.sender.as_ref().map(|held| held.address.as_str()).unwrap_or_default();
    for (key, address) in [("FROM", sender), ("ENVELOPE_FROM", &mailer.envelope_from)] {
        if server && !refused && checker.get(key).is_some() && !address.is_ascii() {
            let problem = format!("servers without SMTPUTF8 (RFC 6531) refuse the address {address}");
            checker.add(Code::FromUnicode, key, problem, &ascii_address(address));
        }
    }
}

/// Reports faults of a password file's URI, and a user without a password.
fn password(checker: &mut Checker<'_>, mailer: &EffectiveMailer) {
    let uri_key = checker.first(&["PASSWD_URI", "PASSWORD_URI"]);
    if let Some(uri) = checker.get(uri_key) {
        uri_form(checker, uri_key, &uri);
    }
    let no_password = matches!(&mailer.password, Password::None);
    let server = matches!(mailer.transport, EffectiveTransport::Network(_) | EffectiveTransport::Unix);
    if server && no_password && !mailer.user.is_empty() && checker.get(uri_key).is_none() {
        let key = checker.first(&["USER", "USERNAME"]);
        let problem = "an account without a password: Forgejo logs in with an empty one";
        checker.add(Code::PasswordMissing, key, problem, "write PASSWD or PASSWD_URI, or remove the account");
    }
}

/// Reports a URI that the version does not read, or whose path differs from the written one or contains characters
/// other than letters, digits and `. _ / -`.
pub(super) fn uri_form(checker: &mut Checker<'_>, key: &str, uri: &str) {
    if !checker.version.knows_uri() {
        let problem = format!("not read before Forgejo {}: there is no password", Version::FIRST_WITH_URI);
        checker.add(Code::UriVersion, key, problem, "write the password itself");
        return;
    }
    let Ok(path) = secret_path(uri) else { return };
    let plain = uri.strip_prefix("file://").filter(|rest| rest.starts_with('/'));
    let plain = plain.or(uri.strip_prefix("file:"));
    if plain != Some(path.as_str()) || !crate::route::safe_path(&path) {
        let problem = format!("Forgejo opens {path:?}");
        let fix = "write file:/path with letters, digits and . _ / - only";
        checker.add(Code::UriForm, key, problem, fix);
    }
}

/// Reports faults of SMTP over a Unix-domain socket: a missing `PROTOCOL`, a URL or a relative path in place of the
/// socket, and a user name, since Go refuses PLAIN there.
fn unix(checker: &mut Checker<'_>, mailer: &EffectiveMailer) {
    if mailer.origin == Origin::Inferred {
        let problem = "missing, and SMTP_ADDR is a path: a Unix socket";
        checker.add(Code::ProtocolInferred, "PROTOCOL", problem, "write PROTOCOL = smtp+unix");
    }
    if mailer.host.contains("://") {
        let key = checker.first(&["SMTP_ADDR", "HOST"]);
        checker.add(
            Code::Host,
            key,
            "a URL, which is opened as a Unix socket",
            "write the server's name only",
        );
    } else if !mailer.host.starts_with('/') {
        let key = checker.first(&["SMTP_ADDR", "HOST"]);
        checker.add(Code::Host, key, "not the absolute path of a socket", "write a path that begins with /");
    }
    if !mailer.user.is_empty() {
        let key = checker.first(&["USER", "USERNAME"]);
        let problem = "over a Unix socket Go refuses PLAIN, the usual mechanism";
        checker.add(
            Code::UnixAuthentication,
            key,
            problem,
            "remove USER, or let the server offer LOGIN only",
        );
    }
}

/// Reports a `SENDMAIL_PATH` with spaces or tabs, and `SENDMAIL_ARGS` with an open quote or, before Forgejo 12, without
/// `--` at the end.
fn sendmail(checker: &mut Checker<'_>, mailer: &EffectiveMailer) {
    let SendmailCommand { path, args } = &mailer.sendmail;
    if path.contains([' ', '\t']) {
        let problem = "options after the path: no program of this name can be run";
        checker.add(Code::SendmailPath, "SENDMAIL_PATH", problem, "write options to SENDMAIL_ARGS");
    }
    let words = shell_words(args);
    if words.is_none() {
        let problem = "a quote that is not closed: Forgejo drops the arguments";
        checker.add(Code::SendmailQuote, "SENDMAIL_ARGS", problem, "close the quote");
    }
    let ended = words.unwrap_or_default().last().is_some_and(|last| last == "--");
    if !checker.version.ends_sendmail_args() && !ended {
        let problem = "before Forgejo 12 a recipient that begins with - is taken for an option of sendmail";
        checker.add(Code::SendmailArgs, "SENDMAIL_ARGS", problem, "end it with --");
    }
}

/// Headers, in lower case, that must differ between messages, so that a fixed value breaks threading, dates or
/// addresses.
const FIXED: &[&str] = &["date", "message-id", "to", "subject", "content-type", "content-transfer-encoding"];

/// Reports faults of `[mailer.override_header]`: values that are read differently, a version that does not read the
/// section, names that are not valid, values with a line break, and headers that must differ between messages.
fn override_header(checker: &mut Checker<'_>) {
    checker.section = OVERRIDE_HEADER;
    values::check(checker);
    let keys = checker.ini.section(OVERRIDE_HEADER).map(crate::ini::Section::keys).unwrap_or_default();
    if let (Some(key), false) = (keys.first(), checker.version.knows_override_header()) {
        checker.add(Code::HeaderVersion, key.name(), "not read before Forgejo 8", "remove it");
    }
    for key in keys {
        let name = key.name();
        if name.is_empty() || !name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-') {
            let problem = "not a valid name of a header";
            checker.add(Code::HeaderName, name, problem, "write letters, digits and - only");
        } else if FIXED.contains(&name.to_lowercase().as_str()) {
            checker.add(Code::HeaderFixed, name, "it would be the same on every message", "remove it");
        } else if key.raw().contains(['\n', '\r']) {
            checker.add(Code::HeaderName, name, "a line break in a header", "write it on one line");
        }
    }
    checker.section = SECTION;
}
