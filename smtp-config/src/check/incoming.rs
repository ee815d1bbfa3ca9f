//! Checks of `[email.incoming]`.

use super::mailer::uri_form;
use super::{Checker, values};
use crate::effective::Password;
use crate::effective_incoming::{EffectiveIncoming, effective_incoming};
use crate::fatal::Fatal;
use crate::finding::Code;
use crate::host::{host_fault, is_loopback};
use crate::section::INCOMING;

/// Checks the section. If incoming mail is disabled, only the value of `ENABLED` is checked.
pub(super) fn check(checker: &mut Checker<'_>) {
    checker.flag("ENABLED", false);
    let mut now = checker.ini.excerpt(&["email", INCOMING]);
    let mut fatals: Vec<Fatal> = Vec::new();
    // Each setting that stops the start is replaced, so that one run finds all of them.
    let incoming = loop {
        let fatal = match effective_incoming(&now, checker.version) {
            Ok(found) => break found,
            Err(fatal) => fatal,
        };
        if fatals.contains(&fatal) {
            break None;
        }
        match &fatal {
            Fatal::ReplyTo { .. } => now.set(INCOMING, "REPLY_TO_ADDRESS", "forge+%{token}@example.org"),
            _ => {
                now.set(INCOMING, "PASSWORD_URI", "");
                now.set(INCOMING, "PASSWD_URI", "");
            }
        }
        fatals.push(fatal);
    };
    for fatal in &fatals {
        checker.fatal(fatal);
    }
    let Some(incoming) = incoming else { return };
    for key in ["USE_TLS", "SKIP_TLS_VERIFY", "DELETE_HANDLED_MESSAGE"] {
        checker.flag(key, key == "DELETE_HANDLED_MESSAGE");
    }
    for (key, name) in [("USER", "USERNAME"), ("PASSWD", "PASSWORD")] {
        if checker.get(key).is_some() && !checker.version.knows_aliases() {
            checker.add(Code::AliasVersion, key, "not read before Forgejo 8", &format!("write {name}"));
        }
    }
    values::check(checker);
    values::reference(checker, &["PASSWORD", "PASSWD"]);
    let uri_key = checker.first(&["PASSWORD_URI", "PASSWD_URI"]);
    let uri = checker.get(uri_key);
    if let Some(uri) = &uri {
        uri_form(checker, uri_key, uri);
    }
    account(checker, &incoming, uri.is_some());
    server(checker, &incoming);
}

/// Reports a missing user name, or else a missing password, and a `MAXIMUM_MESSAGE_SIZE` that is not a number. `uri` is
/// whether a password file is configured.
fn account(checker: &mut Checker<'_>, incoming: &EffectiveIncoming, uri: bool) {
    if incoming.username.is_empty() {
        checker.add(Code::IncomingAccount, "USERNAME", "missing: the login fails", "write the account");
    } else if matches!(incoming.password, Password::None) && !uri {
        checker.add(Code::IncomingAccount, "PASSWORD", "missing: the login fails", "write the password");
    }
    let size = checker.get("MAXIMUM_MESSAGE_SIZE");
    if size.is_some_and(|size| !size.bytes().all(|byte| byte.is_ascii_digit())) {
        let problem = "not a number of bytes, so 10485760 is used";
        checker.add(Code::Number, "MAXIMUM_MESSAGE_SIZE", problem, "write digits only");
    }
}

/// Reports an empty or malformed host, a port that is missing or not valid, and the port 143 with TLS or 993 without;
/// unless the host is loopback, also the absence of TLS or of its verification.
fn server(checker: &mut Checker<'_>, incoming: &EffectiveIncoming) {
    if incoming.host.is_empty() {
        checker.add(Code::Host, "HOST", "there is no server", "write its name");
    } else if let Some((fault, fix)) = host_fault(&incoming.host) {
        checker.add(Code::Host, "HOST", fault, &fix);
    }
    let given = checker.get("PORT");
    match incoming.port {
        0 => {
            let problem = "missing, and not inferred before Forgejo 8";
            checker.add(Code::IncomingPort, "PORT", problem, "write 993");
        }
        1..65536 if given.is_some_and(|text| text.parse::<u16>().is_err()) => {
            let problem = format!("not a valid port, so {} is used", incoming.port);
            checker.add(Code::Port, "PORT", problem, "write a number from 1 to 65535");
        }
        1..65536 => {}
        _ => checker.add(Code::Port, "PORT", "not a valid port", "write a number from 1 to 65535"),
    }
    if matches!((incoming.port, incoming.tls), (143, true) | (993, false)) {
        let problem = if incoming.tls {
            "the port without TLS: TLS fails at its first record"
        } else {
            "the port with TLS: the connection hangs"
        };
        checker.add(
            Code::IncomingTlsPort,
            checker.first(&["PORT", "USE_TLS"]),
            problem,
            "993 is for USE_TLS = true",
        );
    }
    if is_loopback(&incoming.host) {
        return;
    }
    if !incoming.tls {
        let problem = "the password goes out in clear";
        checker.add(Code::IncomingPlaintext, "USE_TLS", problem, "write USE_TLS = true and PORT = 993");
    } else if incoming.accepts_any_certificate {
        let problem = "any certificate is accepted, so that anybody on the way can read the password";
        checker.add(Code::IncomingTlsNotVerified, "SKIP_TLS_VERIFY", problem, "remove it");
    }
}
