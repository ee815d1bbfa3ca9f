//! `[email.incoming]`.

use super::mailer::on;
use super::{Checker, Code};
use crate::forgejo::is_local;
use crate::incoming::reply_to;

pub(super) fn check(checker: &mut Checker<'_>) {
    checker.password("PASSWORD", "PASSWORD_URI");
    for key in ["USE_TLS", "SKIP_TLS_VERIFY", "DELETE_HANDLED_MESSAGE"] {
        checker.flag(key, key == "DELETE_HANDLED_MESSAGE");
    }
    if !checker.flag("ENABLED", false) {
        return;
    }
    for (key, name) in [("USER", "USERNAME"), ("PASSWD", "PASSWORD")] {
        if checker.get(key).is_some() && !checker.version.knows_aliases() {
            checker.add(Code::AliasVersion, key, format!("not read before Forgejo 8; write {name}"));
        }
    }
    if let Err(why) = reply_to(&checker.get("REPLY_TO_ADDRESS").unwrap_or_default()) {
        let message = format!("{why}: Forgejo ends at once; write local+%{{token}}@domain");
        checker.add(Code::ReplyTo, "REPLY_TO_ADDRESS", message);
    }
    let host = checker.get("HOST");
    if host.is_none() {
        checker.add(Code::Host, "HOST", "there is no server; write its name");
    }
    match checker.get("PORT").map(|port| port.parse::<u16>().ok()) {
        None if !checker.version.infers_incoming_port() => {
            checker.add(Code::IncomingPort, "PORT", "not inferred before Forgejo 8; write 993");
        }
        Some(None | Some(0)) if checker.get("PORT").as_deref() != Some("0") => {
            checker.add(Code::Port, "PORT", "no port; write a number from 1 to 65535");
        }
        _ => {}
    }
    if host.is_some_and(|host| is_local(&host)) {
        return;
    }
    if !on(checker, "USE_TLS") {
        let message = "the password goes out in clear; write USE_TLS = true, PORT = 993";
        checker.add(Code::IncomingPlaintext, "USE_TLS", message);
    } else if on(checker, "SKIP_TLS_VERIFY") {
        let message = "anybody on the way can read the password; remove it";
        checker.add(Code::IncomingTlsNotVerified, "SKIP_TLS_VERIFY", message);
    }
}
