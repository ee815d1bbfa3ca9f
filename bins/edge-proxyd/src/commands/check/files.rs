//! The check of certificates, the secrets of `[acme]`, the addresses of listeners, and the sandbox.

use super::findings::Findings;
use crate::acme::AcmeSection;
use crate::commands::run::{CLOCK, names_without_certificate, of_sites};
use crate::config::{Mode, Settings};
use crate::sandbox::{self, Environment, Needs};
use cli_support::finding::Severity;
use cli_support::outcome::chain;
use edge_proxy::Certificates;
use edge_proxy::config::{Listener, ListenerKind, Site};
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// Adds findings about certificates, the secrets of `[acme]`, and the addresses of listeners. With `[sandbox] mode =
/// "require"`, it then enters the sandbox, which this process cannot leave. `file` is the path of the configuration.
pub(super) fn find(settings: &Settings, file: &Path, findings: &mut Findings) {
    certificates(settings, findings);
    certificates_over_http3(settings, findings);
    secrets(settings, findings);
    for listener in &settings.proxy.listeners {
        address(listener, findings);
    }
    if settings.sandbox.mode == Mode::Require {
        // Last, since it holds from then on.
        let needs = Needs::new(settings, file, &Environment::read());
        if let Err(why) = sandbox::enter(Mode::Require, &needs) {
            findings.error(why);
        }
    }
}

/// Warns about hosts with other certificates at several listeners with HTTP/3, of which the first decides.
fn certificates_over_http3(settings: &Settings, findings: &mut Findings) {
    let config = &settings.proxy;
    let quic = |site: &Site| {
        config.listeners.iter().any(|listener| {
            listener.kind == ListenerKind::Tls { http3: true }
                && (site.listen.is_empty()
                    || listener.name.as_ref().is_some_and(|name| site.listen.contains(name)))
        })
    };
    let file = |site: &Site| settings.site_certificates.get(&site.name);
    let sites: Vec<&Site> = config.sites.iter().filter(|site| quic(site)).collect();
    for (at, site) in sites.iter().enumerate() {
        let other = sites[..at].iter().find(|other| {
            file(site) != file(other) && site.hosts.iter().any(|host| other.hosts.contains(host))
        });
        if let Some(other) = other {
            findings.warning(format!(
                "site `{}` has another certificate than `{}` for the same host: over HTTP/3 the name alone decides, so that the first listener's is used; leave out http3 of one of the listeners",
                site.name, other.name
            ));
        }
    }
}

/// Adds a warning for each certificate that cannot be read or is not valid now, and for each name of a site without a
/// certificate, unless `[acme]` obtains one.
fn certificates(settings: &Settings, findings: &mut Findings) {
    if settings.certificates.is_none() && settings.certificate_files.is_empty() {
        return;
    }
    let opened = Certificates::open(settings.certificates.clone(), settings.certificate_files.clone());
    let (found, loaded) = match opened {
        Ok(loaded) => loaded,
        Err(why) => {
            findings.warning(format!("{}: no certificate is served until it can be read", chain(&why)));
            return;
        }
    };
    found.set_sites(of_sites(settings));
    for problem in &loaded.problems {
        findings.warning(format!("not used: {}", chain(problem)));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
    for info in found.list().iter().filter(|info| info.not_after <= now) {
        let (folder, names) = (info.folder.display(), info.names.join(", "));
        findings.warning(format!("{folder}: the certificate for {names} has expired: clients refuse it"));
    }
    for info in found.list().iter().filter(|info| info.not_before > now) {
        let (folder, names) = (info.folder.display(), info.names.join(", "));
        findings.warning(format!("{folder}: the certificate for {names} is not valid yet: {CLOCK}"));
    }
    // Those of [acme] are obtained.
    let obtained = settings.acme.as_ref().map(AcmeSection::names).unwrap_or_default();
    for (site, name) in names_without_certificate(&found, &settings.proxy) {
        let covered = |wanted: &str| {
            obtained.iter().any(|one| {
                one == wanted
                    || one
                        .strip_prefix("*.")
                        .is_some_and(|base| wanted.split_once('.').is_some_and(|(_, parent)| parent == base))
            })
        };
        if !covered(&name) {
            findings
                .warning(format!("site `{site}`: there is no certificate for {name}: its handshakes fail"));
        }
    }
}

/// Returns true if an error is only the lack of `$CREDENTIALS_DIRECTORY`, which systemd sets for the service but not
/// for this process.
pub(super) fn is_missing_credentials(why: &str) -> bool {
    std::env::var_os("CREDENTIALS_DIRECTORY").is_none() && why.contains("CREDENTIALS_DIRECTORY")
}

/// Adds a warning for each secret of `[acme]` that cannot be read, except for credentials of systemd outside the
/// service.
fn secrets(settings: &Settings, findings: &mut Findings) {
    for reference in settings.acme.iter().flat_map(AcmeSection::references) {
        if let Err(why) = reference.read() {
            let why = chain(&why);
            if !is_missing_credentials(&why) {
                findings
                    .warning(format!("[acme] {reference}: {why}: nothing is renewed until it can be read"));
            }
        }
    }
}

/// Returns true if this process is run by systemd or as root, so that a permission that it lacks is one that `run`
/// would lack too.
pub(super) fn is_service() -> bool {
    std::env::var_os("INVOCATION_ID").is_some() || rustix::process::geteuid().is_root()
}

/// Returns the severity of a fault, and its text. With `denied`, a fault of permission, it is a warning with a remark
/// if this process is not the service; otherwise it is an error, and the text is unchanged.
pub(super) fn weigh(denied: bool, text: String) -> (Severity, String) {
    if denied && !is_service() {
        (Severity::Warning, format!("{text} (by this user; the service may be allowed to)"))
    } else {
        (Severity::Error, text)
    }
}

/// Tries to bind the address of a listener for TCP, and for UDP if it serves HTTP/3, and adds the first fault. An
/// address in use is none. It is a warning if the address does not exist yet, as `run` serves it later.
fn address(listener: &Listener, findings: &mut Findings) {
    let udp = listener.kind == (ListenerKind::Tls { http3: true });
    let kinds =
        [(Type::STREAM, Protocol::TCP)].into_iter().chain(udp.then_some((Type::DGRAM, Protocol::UDP)));
    for (kind, protocol) in kinds {
        let Err(why) = bind(listener, kind, protocol) else { continue };
        let text = format!("cannot listen on {}: {why}", listener.address);
        match why.kind() {
            // Most likely by the process that already serves this configuration.
            io::ErrorKind::AddrInUse => {}
            io::ErrorKind::AddrNotAvailable if listener.interface.is_none() => {
                findings.warning(format!(
                    "{text}: served as soon as an interface has it (ip address shows which there are)"
                ));
            }
            _ if listener.interface.is_some() && why.kind() != io::ErrorKind::PermissionDenied => {
                findings.warning(format!("{text}: served as soon as its interface has it"));
            }
            kind => match weigh(kind == io::ErrorKind::PermissionDenied, text) {
                (Severity::Error, text) => findings.error(text),
                (_, text) => findings.warning(text),
            },
        }
        return;
    }
}

/// Binds a socket as the listener would, and closes it.
///
/// # Errors
/// The error of creating, configuring or binding the socket.
fn bind(listener: &Listener, kind: Type, protocol: Protocol) -> io::Result<()> {
    let socket = Socket::new(Domain::for_address(listener.address), kind, Some(protocol))?;
    if listener.address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    if let Some(interface) = &listener.interface {
        socket.bind_device(Some(interface.as_bytes()))?;
    }
    if kind == Type::STREAM {
        socket.set_reuse_address(true)?;
    }
    socket.bind(&listener.address.into())
}
