//! Replay of Forgejo's SMTP session by its own decisions, with a made-up password.

use super::auth::authenticate;
use super::dial::{Dialed, dial};
use super::server::{addresses, connect};
use super::strip::strip;
use super::tls::{accepting, identity, server_name, verifying};
use super::wire::{Wire, WireError};
use super::{Options, helo};
use crate::decide::{AfterEhlo, Authentication, Exposure, Mechanism, after_ehlo, authentication};
use crate::effective::{EffectiveMailer, EffectiveTransport, Origin};
use crate::protocol::Protocol;
use secrecy::{ExposeSecret, SecretString};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream, UnixStream};

/// A step of the SMTP session that Forgejo would have with the server, and its outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The action, as a verb phrase whose subject is Forgejo.
    pub does: String,
    /// The outcome in words: a reply of the server, an error, or a consequence for the message.
    pub outcome: String,
}

/// Steps of Forgejo's SMTP session with a server, and their consequences. By default without steps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replay {
    /// The steps, in order.
    pub steps: Vec<Step>,
    /// Whether an attacker on the path would learn the password, or a hash of it: by reading it without TLS, or with a
    /// certificate of his own if Forgejo accepts any. [`replay_stripped`] does not count a hash.
    pub leaks: bool,
    /// Whether the server did not respond within [`Options::limit`]. Forgejo would wait indefinitely, since it sets no time
    /// limit.
    pub hangs: bool,
    /// Whether the session would reach MAIL FROM if the server accepts Forgejo's credentials, which are not tried. `true`
    /// in [`replay`] also for `sendmail` and `dummy`, which have no session.
    pub reaches_message: bool,
}

impl Replay {
    /// Appends a step.
    fn step(&mut self, does: impl Into<String>, outcome: impl Into<String>) {
        self.steps.push(Step { does: does.into(), outcome: outcome.into() });
    }

    /// Appends a step that failed, with its consequence for Forgejo. After a timeout, `hangs` is set too.
    fn broke(&mut self, does: &str, why: &WireError) {
        if matches!(why, WireError::Silent { .. }) {
            self.hangs = true;
            self.step(does, format!("{why}; Forgejo sets no limit and waits without end"));
        } else {
            self.step(does, format!("{why}; the message is lost"));
        }
    }
}

/// Replays Forgejo's session with the server, up to authentication. No credentials and no message are sent. A
/// certificate that is not valid is accepted if Forgejo would accept it.
pub async fn replay(mailer: &EffectiveMailer, options: &Options) -> Replay {
    let mut out = begun(mailer);
    let protocol = match mailer.transport {
        EffectiveTransport::Network(protocol) => protocol,
        EffectiveTransport::Unix => {
            match UnixStream::connect(&mailer.host).await {
                Ok(stream) => {
                    let wire = Wire::new(Box::new(stream), options.limit);
                    converse(&mut out, mailer, Protocol::Smtp, options, wire, None).await;
                }
                Err(why) => out.step(format!("connects to {}", mailer.shown_host()), why.to_string()),
            }
            // Nobody can eavesdrop on a socket of this machine.
            out.leaks = false;
            return out;
        }
        EffectiveTransport::Dummy | EffectiveTransport::Sendmail => {
            out.reaches_message = true;
            return out;
        }
    };
    if let Some(stream) = reach(&mut out, mailer, options, "connected").await {
        let wire = Wire::new(Box::new(stream), options.limit);
        converse(&mut out, mailer, protocol, options, wire, None).await;
    }
    out
}

/// Replays Forgejo's session through a proxy on this host that removes STARTTLS from the server's replies, and reports
/// whether the password would be sent in clear. The password is made up and reaches only the proxy. Other transports
/// than SMTP over TCP have no steps of a session.
pub async fn replay_stripped(mailer: &EffectiveMailer, options: &Options) -> Replay {
    let mut out = begun(mailer);
    let EffectiveTransport::Network(protocol) = mailer.transport else { return out };
    let outcome = "connected, through a proxy that strips STARTTLS";
    let Some(upstream) = reach(&mut out, mailer, options, outcome).await else { return out };
    let listener = match TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await {
        Ok(listener) => listener,
        Err(why) => {
            out.step("is given a proxy on this machine", why.to_string());
            return out;
        }
    };
    let Ok(proxy) = listener.local_addr() else { return out };
    let somebody = tokio::spawn(strip(listener, upstream));
    let stand_in = SecretString::from("a password that is made up");
    match connect(proxy, options).await {
        Ok(stream) => {
            let wire = Wire::new(Box::new(stream), options.limit);
            converse(&mut out, mailer, protocol, options, wire, Some(&stand_in)).await;
        }
        Err(why) => out.step("connects to the proxy on this machine", why.to_string()),
    }
    let seen = tokio::time::timeout(options.limit.max(Duration::from_secs(1)), somebody).await;
    if let Ok(Ok(Ok(seen))) = seen {
        match seen.password {
            Some(password) if password.expose_secret() == stand_in.expose_secret() => {
                out.leaks = true;
                out.step("is eavesdropped on", "the eavesdropper has the password, in clear");
            }
            _ if seen.encrypted => {
                out.step("is eavesdropped on", "the eavesdropper sees TLS from the first byte, nothing else");
            }
            _ => out.step("is eavesdropped on", "the eavesdropper has no password"),
        }
    }
    out
}

/// Returns a replay with the steps that precede the connection: the transport and how it was determined, and whether
/// any certificate is accepted.
fn begun(mailer: &EffectiveMailer) -> Replay {
    let mut out = Replay::default();
    let origin = match mailer.origin {
        Origin::Written => "as PROTOCOL says",
        Origin::Inferred => "which follows the port",
        Origin::Deprecated => "as a deprecated key says",
        Origin::Unknown => "since PROTOCOL has a value that it does not know",
    };
    match mailer.transport {
        EffectiveTransport::Dummy => out.step("writes the message to its log", origin),
        EffectiveTransport::Sendmail => out.step(format!("runs {}", mailer.sendmail.path), origin),
        EffectiveTransport::Unix => {
            out.step(format!("speaks SMTP over the socket {}", mailer.shown_host()), origin);
        }
        EffectiveTransport::Network(protocol) => out.step(format!("speaks {protocol}"), origin),
    }
    let encrypts =
        matches!(mailer.transport, EffectiveTransport::Network(Protocol::Smtps | Protocol::StartTls));
    if mailer.accepts_any_certificate && encrypts {
        out.leaks = !mailer.user.is_empty();
        out.step(
            "accepts any certificate",
            "so an attacker on the way with a certificate of his own has the password",
        );
    }
    out
}

/// Connects to the server as Go does, with a step for each address, whose outcome is `outcome` for the one that accepts.
/// `None` if none accepts, or the address cannot be determined, which is appended as a step.
async fn reach(
    out: &mut Replay,
    mailer: &EffectiveMailer,
    options: &Options,
    outcome: &str,
) -> Option<TcpStream> {
    let all = match (addresses(&mailer.host, options).await, mailer.port.parse::<u16>()) {
        (Ok(all), Ok(port)) if !all.is_empty() => {
            all.into_iter().map(|address| SocketAddr::new(address, port)).collect::<Vec<_>>()
        }
        (Err(why), _) => {
            out.step(format!("looks {} up", mailer.shown_host()), why);
            return None;
        }
        _ => {
            out.step(
                format!("connects to {}:{}", mailer.shown_host(), mailer.port),
                "not a valid address and port",
            );
            return None;
        }
    };
    let Dialed { failed, connected } = dial(&all, options).await;
    let last = failed.len();
    for (at, (address, why)) in failed.iter().enumerate() {
        let goes_on = connected.is_some() || at + 1 < last;
        let then = if goes_on { "it tries the next address" } else { "Forgejo sets no limit for this" };
        out.step(format!("connects to {address}"), format!("{why}; {then}"));
    }
    let Some((address, stream)) = connected else {
        out.hangs = failed.iter().any(|(_, why)| why.kind() == std::io::ErrorKind::TimedOut);
        return None;
    };
    out.step(format!("connects to {address}"), outcome);
    Some(stream)
}

/// Replays the SMTP session and records each step. With `stand_in`, a made-up password, an authentication that would
/// expose the password is performed too.
async fn converse(
    out: &mut Replay,
    mailer: &EffectiveMailer,
    protocol: Protocol,
    options: &Options,
    mut wire: Wire,
    stand_in: Option<&SecretString>,
) {
    let name = helo(mailer, options);
    if protocol != Protocol::Smtp
        && let Err(why) = identity(mailer)
    {
        out.leaks = false;
        return out.step("loads its client certificate", format!("{why}; the message is lost"));
    }
    if protocol == Protocol::Smtps && !tls(out, mailer, options, &mut wire).await {
        return;
    }
    match wire.greeting().await {
        Ok(reply) => out.step("waits for the greeting", reply.text()),
        Err(why) => return out.broke("waits for the greeting", &why),
    }
    let says = format!("EHLO {name}");
    let (mut offered, refused) = match wire.hello(name).await {
        Ok(answers) => answers,
        Err(why) => return out.broke(&format!("says {says}"), &why),
    };
    match refused {
        None => out.step(format!("says {says}"), offered.text()),
        Some(refused) => {
            out.step(format!("says {says}"), refused.text());
            out.step(
                format!("says HELO {name}"),
                format!("{}; there are no extensions, such as AUTH", offered.text()),
            );
        }
    }
    match after_ehlo(mailer.transport, offered.starttls()) {
        AfterEhlo::GoOn => {}
        AfterEhlo::GoOnInClear => {
            out.step("looks for STARTTLS", "not offered: it logs a warning and goes on in clear");
        }
        AfterEhlo::StartTls => {
            if let Err(why) = wire.expect("STARTTLS", "STARTTLS", 2).await {
                return out.broke("says STARTTLS", &why);
            }
            if !tls(out, mailer, options, &mut wire).await {
                return;
            }
            offered = match wire.expect("EHLO", &says, 2).await {
                Ok(reply) => reply,
                Err(why) => return out.broke(&format!("says {says} again"), &why),
            };
        }
    }
    match authentication(mailer, wire.encryption(), offered.extension("AUTH")) {
        Authentication::NoUser => out.reaches_message = true,
        Authentication::NotOffered => {
            return out.step("looks for AUTH", "not offered: the message is lost");
        }
        Authentication::NoneKnown => {
            out.reaches_message = true;
            out.step(
                "looks for a mechanism of its own",
                "none is offered: it goes on without authentication",
            );
        }
        Authentication::PlainRefused => {
            return out.step("takes PLAIN", "refused by Go without TLS: the message is lost");
        }
        Authentication::Start(mechanism, exposure) => {
            out.reaches_message = true;
            let outcome = match exposure {
                Exposure::Nothing => "over TLS; not sent here",
                Exposure::Hash => "in clear: a hash of the password goes out, to guess at; not sent here",
                Exposure::Password => "in clear: the password goes out",
            };
            out.leaks |= exposure != Exposure::Nothing && stand_in.is_none();
            out.step(format!("authenticates by {mechanism}"), outcome);
            if let (Some(stand_in), Exposure::Password) = (stand_in, exposure)
                && let Err(why) = authenticate(&mut wire, mechanism, &mailer.user, stand_in).await
            {
                out.step("sends a password that is made up", why.to_string());
            }
        }
    }
    if let Err(why) = wire.quit().await
        && !mailer.version.sends_by_go_mail()
    {
        out.step("says QUIT", format!("{why}; it logs a failure, although a message would be delivered"));
    }
}

/// Starts TLS, with or without verification as configured. Returns `true` if the handshake succeeded.
async fn tls(out: &mut Replay, mailer: &EffectiveMailer, options: &Options, wire: &mut Wire) -> bool {
    // Only a made-up password is ever sent over this connection.
    let identity = identity(mailer).unwrap_or_default();
    let config = if mailer.accepts_any_certificate {
        accepting(identity)
    } else {
        verifying(&options.roots, identity)
    };
    let (Some(name), Ok(config)) = (server_name(mailer), config) else {
        out.step("begins TLS", "the host is not a name that a certificate could have");
        return false;
    };
    match wire.begin_tls(config, name).await {
        Ok(()) => {
            let outcome = if mailer.accepts_any_certificate {
                "the certificate is not looked at"
            } else {
                "the certificate is valid for the host"
            };
            out.step("begins TLS", outcome);
            true
        }
        Err(why) => {
            out.broke("begins TLS", &why);
            false
        }
    }
}

/// Returns the password that a server decodes from SMTP AUTH by this mechanism, for a test of its encoding. Client and
/// server are connected in memory. `None` if the exchange fails, as with mechanisms other than LOGIN and PLAIN.
pub async fn arrives(mechanism: Mechanism, user: &str, password: &SecretString) -> Option<SecretString> {
    let (ours, theirs) = tokio::io::duplex(1 << 18);
    let server = tokio::spawn(async move {
        let (reader, mut writer) = tokio::io::split(theirs);
        let mut lines = BufReader::new(reader).lines();
        let first = lines.next_line().await.ok().flatten()?;
        let found = if first == "AUTH LOGIN" {
            writer.write_all(b"334 VXNlcm5hbWU6\r\n").await.ok()?;
            lines.next_line().await.ok().flatten()?;
            writer.write_all(b"334 UGFzc3dvcmQ6\r\n").await.ok()?;
            super::auth::login_password(&lines.next_line().await.ok().flatten()?)
        } else {
            super::auth::plain_password(first.strip_prefix("AUTH PLAIN ")?)
        };
        writer.write_all(b"235 2.7.0 OK\r\n").await.ok()?;
        found
    });
    let mut wire = Wire::new(Box::new(ours), Duration::from_secs(5));
    authenticate(&mut wire, mechanism, user, password).await.ok()?;
    server.await.ok().flatten()
}
