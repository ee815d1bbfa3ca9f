//! Checks of one SMTP session, from the greeting to QUIT.

use super::auth::{AuthError, authenticate};
use super::tls::days_left;
use super::wire::{Wire, WireError};
use super::{Options, Report, Verdict, helo};
use crate::decide::{AfterEhlo, Authentication, Exposure, Mechanism, after_ehlo, authentication, mechanism};
use crate::effective::EffectiveMailer;
use crate::host::ascii_address;
use crate::protocol::Protocol;
use crate::reply::Reply;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use secrecy::SecretString;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

/// Fix for failures without a known cause.
const FIXES: &str = "look at the server's log";
/// Fix for a rejected EHLO.
const RENAME: &str = "set HELO_HOSTNAME to a name that the server takes";

/// Checks an SMTP session from the greeting to QUIT. Ends after the first failure that prevents the next step. `config`
/// is the verifying configuration for TLS.
pub(super) async fn session(
    report: &mut Report,
    mailer: &EffectiveMailer,
    protocol: Protocol,
    password: Option<&SecretString>,
    options: &Options,
    config: Option<Arc<ClientConfig>>,
    wire: Wire,
) {
    let mut wire = wire;
    let name = helo(mailer, options);
    if protocol == Protocol::Smtps && !tls(report, mailer, config.as_ref(), true, &mut wire).await {
        return;
    }
    match wire.greeting().await {
        Ok(reply) => report.pass("greeting", reply.text()),
        Err(why) => return report_greeting_error(report, &why, protocol),
    }
    let Some((mut offered, refused)) = ehlo(report, &mut wire, name, true).await else { return };
    if protocol == Protocol::StartTls {
        if after_ehlo(mailer.transport, offered.starttls()) != AfterEhlo::StartTls {
            let detail = "not offered: Forgejo goes on in clear and sends its password";
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
        if !tls(report, mailer, config.as_ref(), false, &mut wire).await {
            return;
        }
        let Some((again, _)) = ehlo(report, &mut wire, name, false).await else { return };
        offered = again;
    }
    helo_name(report, helo(mailer, options));
    if !mechanisms(report, mailer, &wire, &offered, refused.is_some()) {
        report.skip("mail-from", "there would be no authentication");
        return quit(report, mailer, wire).await;
    }
    let authenticated = authenticate_session(report, mailer, password, &offered, &mut wire).await;
    if authenticated {
        envelope(report, mailer, options, &offered, &mut wire).await;
    } else {
        report.skip("mail-from", "there was no authentication");
    }
    quit(report, mailer, wire).await;
}

/// Ends the session. Reports a failure of QUIT for versions of Forgejo that log it as a failed message.
async fn quit(report: &mut Report, mailer: &EffectiveMailer, wire: Wire) {
    if let Err(why) = wire.quit().await
        && !mailer.version.sends_by_go_mail()
    {
        let detail = format!(
            "{why}: Forgejo {} logs each message as failed, although it is delivered",
            mailer.version
        );
        report.warn("quit", detail, "let the server answer QUIT with 221");
    }
}

/// Starts TLS, and reports the certificate's validity: a warning less than 7 days before its expiry. `implicit` is
/// whether TLS is used from the beginning. Returns `true` if the handshake succeeded.
async fn tls(
    report: &mut Report,
    mailer: &EffectiveMailer,
    config: Option<&Arc<ClientConfig>>,
    implicit: bool,
    wire: &mut Wire,
) -> bool {
    let name = ServerName::try_from(mailer.host.clone());
    let (Ok(name), Some(config)) = (name, config) else {
        report.fail("tls", "the host is not a name that a certificate could have", "correct SMTP_ADDR");
        return false;
    };
    if let Err(why) = wire.begin_tls(config.clone(), name).await {
        let fix = match &why {
            WireError::Silent { .. } => {
                "a port for STARTTLS waits for the server's greeting: write PROTOCOL = smtp+starttls, or take port 465"
            }
            WireError::Injected => "do not use this network: take smtps on port 465",
            WireError::Tls { why } => super::tls_error::fix(why, implicit),
            _ => FIXES,
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
    if mailer.accepts_any_certificate {
        let detail = "FORCE_TRUST_SERVER_CERT: Forgejo accepts any certificate";
        report.add("trust", Verdict::Fail, detail, "remove it: the certificate is valid");
    }
    true
}

/// Reports a failure of the greeting.
fn report_greeting_error(report: &mut Report, why: &WireError, protocol: Protocol) {
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

/// Sends EHLO, and reports the extensions, or that the server only takes HELO. `first` is whether TLS has not been
/// started by STARTTLS. Returns the reply, and the rejection of EHLO. `None` if the server rejects both, which is
/// reported.
async fn ehlo(
    report: &mut Report,
    wire: &mut Wire,
    name: &str,
    first: bool,
) -> Option<(Reply, Option<Reply>)> {
    // Go falls back to HELO only before STARTTLS.
    let answer = if first {
        wire.hello(name).await
    } else {
        wire.expect("EHLO", &format!("EHLO {name}"), 2).await.map(|reply| (reply, None))
    };
    match &answer {
        Ok((_, Some(refused))) => {
            let detail = format!(
                "EHLO {name} was answered {}, and HELO is taken: there are no extensions, such as AUTH",
                refused.text()
            );
            report.warn("ehlo", detail, RENAME);
        }
        Ok((reply, None)) => {
            let list: Vec<&str> = reply.lines.iter().skip(1).map(String::as_str).collect();
            report.pass("ehlo", if list.is_empty() { "no extensions".to_owned() } else { list.join(", ") });
        }
        Err(why) => report.fail("ehlo", why.to_string(), RENAME),
    }
    answer.ok()
}

/// Reports whether the name in EHLO is a fully qualified domain name.
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
        let detail = format!("{name} is not a full name: strict servers refuse it, and filters count it");
        report.add("helo-name", Verdict::Warning, detail, "set HELO_HOSTNAME to the forge's full name");
    }
}

/// Reports the mechanism that Forgejo would select. `no_ehlo` is whether the server rejected EHLO. Returns `false` if
/// Forgejo would not authenticate although a user is configured.
fn mechanisms(
    report: &mut Report,
    mailer: &EffectiveMailer,
    wire: &Wire,
    offered: &Reply,
    no_ehlo: bool,
) -> bool {
    let auth = offered.extension("AUTH");
    match authentication(mailer, wire.encryption(), auth) {
        Authentication::NoUser => {
            report.add("mechanism", Verdict::Note, "no authentication: there is no USER", "");
        }
        Authentication::NotOffered => {
            let fix = match () {
                () if no_ehlo => RENAME,
                () if wire.is_tls() => "take the port for submission",
                () => "take smtps on port 465",
            };
            report.fail("mechanism", "the server offers no AUTH: Forgejo sends nothing", fix);
            return false;
        }
        Authentication::NoneKnown => {
            let detail = format!(
                "Forgejo has none of {}: it goes on without authentication, and is refused",
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

/// Authenticates if Forgejo would, and reports the result. The password is not sent without TLS. Returns `true` if the
/// mail transaction may follow.
async fn authenticate_session(
    report: &mut Report,
    mailer: &EffectiveMailer,
    password: Option<&SecretString>,
    offered: &Reply,
    wire: &mut Wire,
) -> bool {
    let Authentication::Start(mechanism, exposure) =
        authentication(mailer, wire.encryption(), offered.extension("AUTH"))
    else {
        return true;
    };
    if !wire.is_tls() {
        if mailer.is_local() {
            report.skip("authentication", "without TLS the server is not verified: the password is not sent");
        } else {
            let what = if exposure == Exposure::Hash {
                "a hash of the password, to guess at,"
            } else {
                "the password"
            };
            let detail =
                format!("{mechanism} without TLS: Forgejo sends {what} in clear; it was not sent here");
            report.fail("authentication", detail, "take smtps on port 465");
        }
        return false;
    }
    if password.is_none() {
        let detail = "there is no password: Forgejo logs in with an empty one";
        report.warn("password", detail, "write PASSWD or PASSWD_URI, or remove USER");
    }
    let empty = SecretString::from("");
    match authenticate(wire, mechanism, &mailer.user, password.unwrap_or(&empty)).await {
        Ok(reply) => {
            report.pass("authentication", format!("{mechanism}: {}", reply.text()));
            true
        }
        Err(AuthError::Ntlm) => {
            let detail = "Forgejo uses NTLM, which is not tried here";
            report.warn(
                "authentication",
                detail,
                "let the server offer PLAIN or LOGIN, or send a test message",
            );
            false
        }
        Err(why) => {
            let fix = match &why {
                AuthError::Question | AuthError::Challenge => "let the server offer PLAIN",
                AuthError::Wire(_) => FIXES,
                AuthError::Refused(reply) if reply.is(4) => {
                    "the server cannot check it for now: try again, or look at the server's log"
                }
                _ if mechanism == Mechanism::CramMd5 => {
                    "correct USER and the password; Forgejo does not fall back from CRAM-MD5 to PLAIN, so a server \
                     that cannot check it must not offer it"
                }
                _ => "correct USER and the password; many providers want one that is made for SMTP",
            };
            report.fail("authentication", format!("{mechanism}: {why}"), fix);
            false
        }
    }
}

/// Sends MAIL FROM, RCPT TO and RSET, and reports each reply, and addresses for which the server lacks SMTPUTF8. No
/// message is sent. For versions that send by go-mail, then checks a sender without angle brackets.
async fn envelope(
    report: &mut Report,
    mailer: &EffectiveMailer,
    options: &Options,
    offered: &Reply,
    wire: &mut Wire,
) {
    // In the order in which Go appends them.
    let words: String = [("8BITMIME", " BODY=8BITMIME"), ("SMTPUTF8", " SMTPUTF8")]
        .into_iter()
        .filter_map(|(extension, word)| offered.extension(extension).map(|_| word))
        .collect();
    let mail = format!("MAIL FROM:<{}>{words}", mailer.envelope_from);
    let own = mailer.sender.as_ref().map(|sender| sender.address.as_str()).unwrap_or_default();
    let recipient = options.recipient.as_deref().unwrap_or(own);
    if offered.extension("SMTPUTF8").is_none() {
        let mut addresses = vec![mailer.envelope_from.as_str(), recipient];
        addresses.dedup();
        for address in addresses.into_iter().filter(|held| !held.is_ascii()) {
            let detail = format!("the server does not offer SMTPUTF8 (RFC 6531) for {address}");
            report.warn("smtputf8", detail, &ascii_address(address));
        }
    }
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
    if mailer.version.sends_by_go_mail() {
        bare_sender(report, mailer, &words, wire).await;
    }
}

/// Sends MAIL FROM without angle brackets, as the sources of July 2026 do. Reports a rejection as a warning, since a
/// release may send it as RFC 5321 requires.
async fn bare_sender(report: &mut Report, mailer: &EffectiveMailer, words: &str, wire: &mut Wire) {
    let line = format!("MAIL FROM:{}{words}", mailer.envelope_from);
    match wire.command("MAIL FROM", &line).await {
        Ok(reply) if reply.is(2) => {
            if let Err(why) = wire.command("RSET", "RSET").await {
                report.fail("rset", why.to_string(), FIXES);
            }
        }
        Ok(reply) => {
            let detail = format!(
                "without angle brackets, as Forgejo {} may send it: {}",
                mailer.version,
                reply.text()
            );
            report.warn("mail-from", detail, "send a test message from Forgejo after the upgrade");
        }
        Err(why) => report.fail("mail-from", why.to_string(), FIXES),
    }
}
