//! The checks of one conversation, from the greeting to QUIT.

use super::auth::{AuthError, authenticate};
use super::tls::days_left;
use super::wire::{Wire, WireError};
use super::{Options, Report, Verdict, helo};
use crate::decide::{AfterEhlo, Authentication, after_ehlo, authentication, mechanism};
use crate::forgejo::Effective;
use crate::mailer::Protocol;
use crate::reply::Reply;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use secrecy::SecretString;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

const FIXES: &str = "look at the server's log";

/// A conversation from the greeting to QUIT.
pub(super) async fn session(
    report: &mut Report,
    mailer: &Effective,
    protocol: Protocol,
    password: Option<&SecretString>,
    options: &Options,
    config: Option<Arc<ClientConfig>>,
    wire: Wire,
) {
    let mut wire = wire;
    let hello = format!("EHLO {}", helo(mailer, options));
    if protocol == Protocol::Smtps && !tls(report, mailer, config.as_ref(), &mut wire).await {
        return;
    }
    match wire.greeting().await {
        Ok(reply) => report.pass("greeting", reply.text()),
        Err(why) => return greeting_failed(report, &why, protocol),
    }
    let Some(mut offered) = ehlo(report, &mut wire, &hello).await else { return };
    if protocol == Protocol::StartTls {
        let starttls = offered.extension("STARTTLS").is_some();
        if after_ehlo(mailer.spoken, starttls) != AfterEhlo::StartTls {
            let detail = "not offered: Forgejo goes on in clear, its password with it";
            report.fail("starttls", detail, "somebody may strip it: take smtps on port 465");
            return;
        }
        report.pass("starttls", "offered");
        if let Some(before) = offered.extension("AUTH") {
            let detail = format!("AUTH {before} is offered before TLS");
            report.add(
                "auth-before-tls",
                Verdict::Warning,
                detail,
                "let the server offer AUTH over TLS only",
            );
        } else {
            report.pass("auth-before-tls", "AUTH is not offered before TLS");
        }
        if let Err(why) = wire.expect("STARTTLS", "STARTTLS", 2).await {
            return report.fail("starttls", why.to_string(), FIXES);
        }
        if !tls(report, mailer, config.as_ref(), &mut wire).await {
            return;
        }
        let Some(again) = ehlo(report, &mut wire, &hello).await else { return };
        offered = again;
    }
    helo_name(report, helo(mailer, options));
    if !mechanisms(report, mailer, &wire, &offered) {
        report.skip("mail-from", "there would be no authentication");
        return wire.quit().await;
    }
    let authenticated = authenticated(report, mailer, password, &offered, &mut wire).await;
    if authenticated {
        envelope(report, mailer, options, &offered, &mut wire).await;
    } else {
        report.skip("mail-from", "there was no authentication");
    }
    wire.quit().await;
}

async fn tls(
    report: &mut Report,
    mailer: &Effective,
    config: Option<&Arc<ClientConfig>>,
    wire: &mut Wire,
) -> bool {
    let name = ServerName::try_from(mailer.host.clone());
    let (Ok(name), Some(config)) = (name, config) else {
        report.fail("tls", "the host is no name that a certificate could have", "correct SMTP_ADDR");
        return false;
    };
    if let Err(why) = wire.begin_tls(config.clone(), name).await {
        let fix = match why {
            WireError::Silent { .. } => "a server that waits speaks first: is this a port for STARTTLS?",
            WireError::Injected => "do not use this network: take smtps on port 465",
            _ => "renew the certificate, or set SMTP_ADDR to a name that it has",
        };
        report.fail("tls", why.to_string(), fix);
        report.skip("authentication", "the password is not sent to a server that has not proven who it is");
        return false;
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |now| now.as_secs());
    let days = wire.certificate().and_then(|der| days_left(der, i64::try_from(now).unwrap_or(i64::MAX)));
    match days {
        Some(days) if days < 7 => {
            let detail = format!("valid for {}, for {days} days more", mailer.host);
            report.add("tls", Verdict::Warning, detail, "renew the certificate");
        }
        Some(days) => report.pass("tls", format!("valid for {}, for {days} days more", mailer.host)),
        None => report.pass("tls", format!("valid for {}", mailer.host)),
    }
    if mailer.trusts_anybody {
        let detail = "FORCE_TRUST_SERVER_CERT: Forgejo takes any certificate";
        report.add("trust", Verdict::Fail, detail, "remove it: the certificate is valid");
    }
    true
}

fn greeting_failed(report: &mut Report, why: &WireError, protocol: Protocol) {
    let fix = match (why, protocol) {
        (WireError::Silent { .. }, Protocol::Smtps) => FIXES,
        (WireError::Silent { .. }, _) => "a server that waits for TLS is silent: take smtps on port 465",
        (WireError::Refused { reply, .. }, _) if reply.is(5) => {
            "this address is not welcome there: see its answer"
        }
        _ => FIXES,
    };
    report.fail("greeting", why.to_string(), fix);
}

async fn ehlo(report: &mut Report, wire: &mut Wire, hello: &str) -> Option<Reply> {
    match wire.expect("EHLO", hello, 2).await {
        Ok(reply) => {
            let list: Vec<&str> = reply.lines.iter().skip(1).map(String::as_str).collect();
            report.pass("ehlo", list.join(", "));
            Some(reply)
        }
        Err(why) => {
            report.fail("ehlo", why.to_string(), "set HELO_HOSTNAME to a name that the server takes");
            None
        }
    }
}

fn helo_name(report: &mut Report, name: &str) {
    let labels: Vec<&str> = name.split('.').collect();
    let fits = |label: &&str| {
        !label.is_empty()
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
            && !label.starts_with('-')
    };
    if labels.len() >= 2 && labels.iter().all(fits) && name.parse::<IpAddr>().is_err() {
        report.pass("helo-name", format!("{name} is a full name"));
    } else {
        let detail = format!("{name} is no full name: strict servers refuse it, and filters count it");
        report.add("helo-name", Verdict::Warning, detail, "set HELO_HOSTNAME to the forge's full name");
    }
}

fn mechanisms(report: &mut Report, mailer: &Effective, wire: &Wire, offered: &Reply) -> bool {
    let auth = offered.extension("AUTH");
    match authentication(mailer, wire.is_tls(), auth) {
        Authentication::NoUser => {
            report.add("mechanism", Verdict::Note, "there is no USER: none is needed", "");
        }
        Authentication::NotOffered => {
            let fix = if wire.is_tls() { "take the port for submission" } else { "take smtps on port 465" };
            report.fail("mechanism", "the server offers no AUTH: Forgejo sends nothing", fix);
            return false;
        }
        Authentication::NoneKnown => {
            let detail = format!(
                "of {} Forgejo has none: it goes on without authentication, and is refused",
                auth.unwrap_or_default()
            );
            report.fail("mechanism", detail, "let the server offer PLAIN or LOGIN");
            return false;
        }
        Authentication::PlainRefused => {
            let detail = "Go refuses PLAIN over a Unix socket: Forgejo sends nothing";
            report.fail("mechanism", detail, "remove USER, or let the server offer LOGIN only");
            return false;
        }
        Authentication::Start(..) => {
            let chosen =
                mechanism(auth.unwrap_or_default()).map(|chosen| chosen.to_string()).unwrap_or_default();
            report.pass("mechanism", format!("Forgejo takes {chosen}, of {}", auth.unwrap_or_default()));
        }
    }
    true
}

/// Whether the envelope may follow.
async fn authenticated(
    report: &mut Report,
    mailer: &Effective,
    password: Option<&SecretString>,
    offered: &Reply,
    wire: &mut Wire,
) -> bool {
    let Authentication::Start(mechanism, _) =
        authentication(mailer, wire.is_tls(), offered.extension("AUTH"))
    else {
        return true;
    };
    if !wire.is_tls() {
        report.skip("authentication", "without TLS the server proves nothing: the password is not sent");
        return false;
    }
    let Some(password) = password else {
        report.skip("authentication", "there is no password");
        return false;
    };
    match authenticate(wire, mechanism, &mailer.user, password).await {
        Ok(reply) => {
            report.pass("authentication", format!("{mechanism}: {}", reply.text()));
            true
        }
        Err(AuthError::Ntlm) => {
            report.skip("authentication", "NTLM, which Forgejo would take, is not tried");
            false
        }
        Err(why) => {
            let fix = match &why {
                AuthError::Question | AuthError::Challenge => "let the server offer PLAIN",
                AuthError::Wire(_) => FIXES,
                _ => "correct USER and the password; many providers want one that is made for SMTP",
            };
            report.fail("authentication", format!("{mechanism}: {why}"), fix);
            false
        }
    }
}

/// MAIL FROM, RCPT TO and RSET: no message is sent.
async fn envelope(
    report: &mut Report,
    mailer: &Effective,
    options: &Options,
    offered: &Reply,
    wire: &mut Wire,
) {
    let mut mail = format!("MAIL FROM:<{}>", mailer.envelope_from);
    // As Go does.
    for word in ["8BITMIME", "SMTPUTF8"] {
        if offered.extension(word).is_some() {
            mail.push_str(if word == "8BITMIME" { " BODY=8BITMIME" } else { " SMTPUTF8" });
        }
    }
    let own = crate::address::mailbox(&mailer.from).unwrap_or_default();
    let recipient = options.recipient.as_deref().unwrap_or(&own);
    let steps = [
        ("mail-from", "MAIL FROM", mail, "let the account send as FROM, or set ENVELOPE_FROM"),
        (
            "rcpt-to",
            "RCPT TO",
            format!("RCPT TO:<{recipient}>"),
            "see the server's answer; is relaying allowed?",
        ),
        ("rset", "RSET", "RSET".to_owned(), FIXES),
    ];
    for (name, stage, line, fix) in steps {
        match wire.command(stage, &line).await {
            Ok(reply) if reply.is(2) => report.pass(name, reply.text()),
            Ok(reply) if reply.is(4) => {
                let fix = "try again in some minutes; Forgejo itself does not: the message is lost";
                report.add(name, Verdict::Warning, format!("for now: {}", reply.text()), fix);
            }
            Ok(reply) => report.fail(name, reply.text(), fix),
            Err(why) => return report.fail(name, why.to_string(), FIXES),
        }
    }
}
