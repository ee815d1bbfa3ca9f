//! Checks of SMTP over TCP: server, port, protocol, certificates and the rules of providers.

use super::Checker;
use crate::effective::{EffectiveMailer, Origin};
use crate::finding::Code;
use crate::host::host_fault;
use crate::presets::Preset;
use crate::protocol::Protocol;

/// Reports faults of SMTP over TCP: an empty or malformed host, a port that is not valid or belongs to another
/// protocol, a protocol that is unknown or inferred, a certificate that is not verified, a client certificate without
/// files, what the provider rejects, and a password that is sent without TLS or with STARTTLS to another host.
pub(super) fn check(checker: &mut Checker<'_>, mailer: &EffectiveMailer, protocol: Protocol) {
    let host_key = checker.first(&["SMTP_ADDR", "HOST"]);
    let port_key = checker.first(&["SMTP_PORT", host_key]);
    let port = mailer.port.parse::<u16>().ok().filter(|port| *port > 0);
    if mailer.host.is_empty() {
        checker.add(Code::Host, "SMTP_ADDR", "there is no server", "write its name");
    } else if let Some((fault, fix)) = host_fault(&mailer.host) {
        checker.add(Code::Host, host_key, fault, &fix);
    }
    if port.is_none() && mailer.origin != Origin::Unknown {
        checker.add(Code::Port, port_key, "not a valid port", "write a number from 1 to 65535");
    }
    let preset = Preset::of_host(&mailer.host);
    match mailer.origin {
        Origin::Unknown => {
            let problem = "not a protocol of Forgejo, so plain SMTP is spoken";
            checker.add(Code::ProtocolUnknown, "PROTOCOL", problem, "write smtps, in lower case");
        }
        Origin::Inferred => {
            let given = checker.get(port_key).is_some_and(|_| port_key == "SMTP_PORT" || host_key == "HOST");
            let problem = if given {
                format!("missing, so it follows port {}: {protocol}", mailer.port)
            } else {
                format!("missing, and the port too: {protocol} on port {}", mailer.port)
            };
            checker.add(Code::ProtocolInferred, "PROTOCOL", problem, &format!("write PROTOCOL = {protocol}"));
        }
        Origin::Deprecated | Origin::Written => {}
    }
    if let Some(port) = port {
        crossed(checker, mailer, protocol, port, preset);
    }
    if mailer.accepts_any_certificate {
        let key = checker.first(&["FORCE_TRUST_SERVER_CERT", "SKIP_VERIFY"]);
        let problem = "any certificate is accepted, so that anybody on the way can read the password";
        checker.add(
            Code::TlsNotVerified,
            key,
            problem,
            "remove it; add a private authority to the trust store",
        );
    }
    if mailer.client_certificate
        && (mailer.client_files.certificate.is_empty() || mailer.client_files.key.is_empty())
    {
        let key = checker.first(&["USE_CLIENT_CERT", "USE_CERTIFICATE"]);
        let problem = "a client certificate without its files: no message is sent";
        checker.add(Code::ClientCertificate, key, problem, "write CLIENT_CERT_FILE and CLIENT_KEY_FILE");
    }
    if let Some(preset) = preset {
        provider(checker, mailer, preset);
    }
    // For an unknown protocol, SMTP without TLS has been reported already.
    if mailer.user.is_empty() || mailer.is_local() || mailer.origin == Origin::Unknown {
        return;
    }
    let key = checker.first(&["PROTOCOL", "IS_TLS_ENABLED", port_key]);
    match protocol {
        Protocol::Smtp => {
            let fix = better(preset).unwrap_or("write PROTOCOL = smtp+starttls and SMTP_PORT = 587");
            checker.add(Code::Plaintext, key, "the password goes out without TLS", fix);
        }
        Protocol::StartTls => match better(preset) {
            None => {
                let problem = format!(
                    "{} offers STARTTLS only: if somebody strips it on the way, the password goes out in clear",
                    preset.map_or("the provider", |preset| preset.name)
                );
                checker.add(Code::StartTlsOnly, key, problem, "");
            }
            Some(fix) => {
                let problem = "if somebody strips STARTTLS on the way, the password goes out in clear";
                checker.add(Code::StartTlsStrippable, key, problem, fix);
            }
        },
        Protocol::Smtps => {}
    }
}

/// Returns the advice to use implicit TLS. `None` for a provider that does not offer it.
fn better(preset: Option<&Preset>) -> Option<&'static str> {
    let smtps = "write PROTOCOL = smtps and SMTP_PORT = 465";
    match preset {
        Some(preset) if preset.ports.iter().all(|(_, protocol)| *protocol != Protocol::Smtps) => None,
        _ => Some(smtps),
    }
}

/// Reports a port that belongs to another protocol, or that the provider does not document. For such a port and for
/// other hosts, only `smtps` on 25 or 587 and STARTTLS on 465 belong to another protocol, if the protocol was not
/// inferred from the port.
fn crossed(
    checker: &mut Checker<'_>,
    mailer: &EffectiveMailer,
    protocol: Protocol,
    port: u16,
    preset: Option<&Preset>,
) {
    let key = checker.first(&["SMTP_PORT", "PROTOCOL", "SMTP_ADDR", "HOST"]);
    let hangs = "the connection hangs, or TLS fails at its first record";
    if let Some(preset) = preset {
        match preset.protocol_at(port) {
            Some(known) if known != protocol && protocol != Protocol::Smtp => {
                let problem =
                    format!("{} speaks {known} on port {port}, not {protocol}: {hangs}", preset.name);
                let fix = format!("write PROTOCOL = {known}, or another port");
                checker.add(Code::ProtocolPort, key, problem, &fix);
                return;
            }
            Some(_) => return,
            // The rule for other hosts applies to such a port as well.
            None => {
                let ports: Vec<String> =
                    preset.ports.iter().map(|(port, protocol)| format!("{port} ({protocol})")).collect();
                let problem = format!("{} documents the ports {}", preset.name, ports.join(", "));
                checker.add(Code::ProviderPort, key, problem, "");
            }
        }
    }
    let crossed = matches!((protocol, port), (Protocol::Smtps, 25 | 587) | (Protocol::StartTls, 465));
    if crossed && mailer.origin != Origin::Inferred {
        let problem = format!("{protocol} on the port of another protocol: {hangs}");
        let fix = "465 is for smtps, 587 for smtp+starttls";
        checker.add(Code::ProtocolPort, key, problem, fix);
    }
}

/// Reports a user name or sender that the provider would reject, and a provider without password authentication.
fn provider(checker: &mut Checker<'_>, mailer: &EffectiveMailer, preset: &Preset) {
    let key = checker.first(&["USER", "USERNAME"]);
    if let Some(fixed) = preset.fixed_user.filter(|fixed| !mailer.user.is_empty() && mailer.user != *fixed) {
        let problem = format!("{} refuses other accounts than {fixed}", preset.name);
        checker.add(Code::ProviderUser, key, problem, &format!("write USER = {fixed}"));
    }
    let sender = mailer.sender.as_ref().map(|held| held.address.as_str()).unwrap_or_default();
    let other = !mailer.user.is_empty() && !sender.eq_ignore_ascii_case(&mailer.user);
    if preset.sender_is_user && other && mailer.user.contains('@') {
        let problem =
            format!("{} replaces or refuses a sender that is not the account or its alias", preset.name);
        checker.add(Code::ProviderUser, "FROM", problem, &format!("write FROM = Name <{}>", mailer.user));
    }
    if let Some(why) = preset.no_password_login.filter(|_| !mailer.user.is_empty()) {
        checker.add(Code::ProviderLogin, key, why, "send through another provider or a relay");
    }
}
