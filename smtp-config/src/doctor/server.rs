//! Checks of a server's name, addresses and ports.

use super::session::session;
use super::tls::{identity, verifying};
use super::wire::Wire;
use super::{Options, Report, Verdict};
use crate::effective::{EffectiveMailer, EffectiveTransport};
use crate::host::{UNICODE, ascii_fix};
use crate::protocol::Protocol;
use secrecy::SecretString;
use std::io;
use std::net::{IpAddr, SocketAddr};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

/// Checks the server of outgoing mail, by its transport.
pub(super) async fn examine(
    report: &mut Report,
    mailer: &EffectiveMailer,
    password: Option<&SecretString>,
    options: &Options,
) {
    match mailer.transport {
        EffectiveTransport::Dummy => {
            report.add("transport", Verdict::Note, "dummy: messages go to the log only", "");
        }
        EffectiveTransport::Sendmail => sendmail(report, &mailer.sendmail.path),
        EffectiveTransport::Unix => {
            report.about = mailer.shown_host().to_owned();
            match timeout(options.limit, UnixStream::connect(&mailer.host)).await {
                Ok(Ok(stream)) => {
                    report.pass("connect", "the socket is there");
                    let wire = Wire::new(Box::new(stream), options.limit);
                    session(report, mailer, Protocol::Smtp, password, options, None, wire).await;
                }
                Ok(Err(why)) => {
                    report.fail("connect", why.to_string(), "start the server, or correct SMTP_ADDR");
                }
                Err(_) => report.fail("connect", "no connection in time", "start the server"),
            }
        }
        EffectiveTransport::Network(protocol) => network(report, mailer, protocol, password, options).await,
    }
}

/// Reports whether `sendmail` exists, as a path or in `PATH`.
fn sendmail(report: &mut Report, path: &str) {
    let found = if path.contains('/') {
        Some(std::path::PathBuf::from(path)).filter(|path| path.is_file())
    } else {
        let folders = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&folders).map(|folder| folder.join(path)).find(|path| path.is_file())
    };
    match found {
        Some(found) => report.pass("sendmail", format!("{} is there", found.display())),
        None => report.fail(
            "sendmail",
            format!("{path} does not exist"),
            "set SENDMAIL_PATH to the path of sendmail",
        ),
    }
}

/// Returns the addresses of a host in the order in which Go tries them. An address in `options` replaces the lookup.
///
/// # Errors
/// Returns a description if the host has no address, is not ASCII, or the lookup fails or times out.
pub(super) async fn addresses(host: &str, options: &Options) -> Result<Vec<IpAddr>, String> {
    if let Some(address) = options.address {
        return Ok(vec![address]);
    }
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    // As Go does, whose answer is "no such host".
    if !host.is_ascii() {
        return Err(format!("{UNICODE}: {}", ascii_fix(host)));
    }
    if options.resolver.is_some() {
        let dns = super::dns::Dns::new(options.resolver, options.limit).map_err(|why| why.to_string())?;
        return match dns.addresses(host).await {
            crate::policy::Answer::Addresses(list) if !list.is_empty() => Ok(sort_by_route(list)),
            crate::policy::Answer::Failed => Err("the DNS gave no answer".to_owned()),
            _ => Err("the name has no address".to_owned()),
        };
    }
    match timeout(options.limit, tokio::net::lookup_host((host, 0))).await {
        Err(_) => Err("the DNS gave no answer in time".to_owned()),
        Ok(Err(why)) => Err(why.to_string()),
        Ok(Ok(found)) => {
            let mut all: Vec<IpAddr> = Vec::new();
            for address in found.map(|address| address.ip()) {
                if !all.contains(&address) {
                    all.push(address);
                }
            }
            Ok(sort_by_route(all))
        }
    }
}

/// Sorts addresses as RFC 6724 does, as far as it matters here: those to which this machine has a route come first,
/// IPv6 before IPv4.
fn sort_by_route(all: Vec<IpAddr>) -> Vec<IpAddr> {
    sorted_by(all, |address| {
        let any: IpAddr = match address {
            IpAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
        };
        // Connecting a UDP socket looks up a route, and sends nothing.
        std::net::UdpSocket::bind((any, 0)).and_then(|socket| socket.connect((*address, 25))).is_ok()
    })
}

/// Sorts addresses: reachable ones first, and IPv6 before IPv4.
fn sorted_by(mut all: Vec<IpAddr>, reachable: impl Fn(&IpAddr) -> bool) -> Vec<IpAddr> {
    all.sort_by_key(|address| (!reachable(address), address.is_ipv4()));
    all
}

/// Connects to an address.
///
/// # Errors
/// Returns an error if connecting fails, or takes longer than the time limit.
pub(super) async fn connect(address: SocketAddr, options: &Options) -> io::Result<TcpStream> {
    let connected = timeout(options.limit, TcpStream::connect(address)).await;
    connected.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time")))
}

/// Checks port, name, client certificate and each address, and one session for each address family.
async fn network(
    report: &mut Report,
    mailer: &EffectiveMailer,
    protocol: Protocol,
    password: Option<&SecretString>,
    options: &Options,
) {
    report.about = mailer.shown_host().to_owned();
    let Ok(port) = mailer.port.parse::<u16>() else {
        report.fail("port", format!("{:?} is not a valid port", mailer.port), "set SMTP_PORT to a number");
        return;
    };
    let all = match addresses(&mailer.host, options).await {
        Ok(all) => all,
        Err(why) => {
            report.fail("name", why, "correct SMTP_ADDR, or the DNS");
            return;
        }
    };
    let shown: Vec<String> = all.iter().map(ToString::to_string).collect();
    report.pass("name", shown.join(", "));
    let identity = if protocol == Protocol::Smtp { Ok(None) } else { identity(mailer) };
    let config = match identity {
        Ok(identity) => verifying(&options.roots, identity),
        Err(why) => {
            let fix =
                "write the PEM files to CLIENT_CERT_FILE and CLIENT_KEY_FILE, or remove USE_CLIENT_CERT";
            let detail = format!("cannot be loaded, and Forgejo sends nothing: {why}");
            return report.fail("client-certificate", detail, fix);
        }
    };
    let mut families = Vec::new();
    for address in &all {
        let socket = SocketAddr::new(*address, port);
        report.about = socket.to_string();
        match connect(socket, options).await {
            Ok(stream) => {
                report.pass("connect", if address.is_ipv4() { "IPv4" } else { "IPv6" });
                // One session for each address family: servers of one name are assumed to behave alike.
                if families.contains(&address.is_ipv4()) {
                    continue;
                }
                families.push(address.is_ipv4());
                match &config {
                    Ok(config) => {
                        let wire = Wire::new(Box::new(stream), options.limit);
                        let tls = Some(config.clone());
                        session(report, mailer, protocol, password, options, tls, wire).await;
                    }
                    Err(why) => report.fail("tls", why.to_string(), "correct the root certificates"),
                }
            }
            Err(why) => unreachable(report, &why, port, all.len() > 1),
        }
    }
    ports(report, &all, port, options).await;
}

/// Reports an address that cannot be connected to: as a warning if there are others, otherwise as a failure.
fn unreachable(report: &mut Report, why: &io::Error, port: u16, others: bool) {
    let detail = format!("{why}; Forgejo sets no time limit for this");
    let fix = match (why.kind(), port) {
        (io::ErrorKind::ConnectionRefused, _) => {
            "nothing listens there: correct SMTP_PORT, or start the server"
        }
        (io::ErrorKind::NetworkUnreachable, _) => "this machine has no route for that address family",
        (_, 25) => "many networks block port 25: take 465",
        _ => "a firewall drops it: take another port of the provider, or open this one",
    };
    let verdict = if others { Verdict::Warning } else { Verdict::Fail };
    report.add("connect", verdict, detail, fix);
}

/// Reports the reachability of other ports, at the first IPv4 address or else the first one.
async fn ports(report: &mut Report, all: &[IpAddr], own: u16, options: &Options) {
    let Some(address) = all.iter().find(|address| address.is_ipv4()).or(all.first()) else { return };
    for port in options.ports.iter().filter(|port| **port != own) {
        let socket = SocketAddr::new(*address, *port);
        report.about = socket.to_string();
        let detail = match connect(socket, options).await {
            Ok(_) => "open".to_owned(),
            Err(why) if why.kind() == io::ErrorKind::ConnectionRefused => "closed".to_owned(),
            Err(why) => format!("blocked: {why}"),
        };
        report.add("reachable", Verdict::Note, detail, "");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv6_is_tried_first_where_there_is_a_route() {
        let all: Vec<IpAddr> =
            ["192.0.2.1", "2001:db8::1", "192.0.2.2"].iter().map(|text| text.parse().expect("one")).collect();
        let six: IpAddr = "2001:db8::1".parse().expect("an address");
        assert_eq!(sorted_by(all.clone(), |_| true)[0], six);
        assert_eq!(sorted_by(all.clone(), IpAddr::is_ipv4)[2], six);
        assert_eq!(
            sorted_by(all.clone(), |_| false)[1..],
            all[..1].iter().chain(&all[2..]).copied().collect::<Vec<_>>()
        );
    }
}
