//! The check of certificates, the addresses of listeners, and the sandbox.

use super::findings::Findings;
use crate::acme::AcmeSection;
use crate::commands::run::{CLOCK, names_without_certificate, of_sites};
use crate::config::{Mode, Settings};
use crate::sandbox::{self, Environment, Needs};
use cli_support::document::Source;
use cli_support::finding::Severity;
use cli_support::outcome::chain;
use cli_support::words::Words;
use edge_proxy::Certificates;
use edge_proxy::config::{Listener, ListenerKind};
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// Adds findings about certificates and the addresses of listeners. With `[sandbox] mode = "require"`, it then enters
/// the sandbox, which this process cannot leave, and adds a finding if that fails. `file` is the path of the
/// configuration, and `text` its content; nothing is checked if that is not valid TOML.
pub(super) fn find(settings: &Settings, (file, text): (&Path, &str), findings: &mut Findings) {
    let Ok(source) = Source::parse(&file.display().to_string(), text, Words::default()) else { return };
    let mut placed = PlacedFindings { source: &source, findings };
    certificates(settings, &mut placed);
    for listener in &settings.proxy.listeners {
        address(listener, &mut placed);
    }
    let findings = placed.findings;
    if settings.sandbox.mode == Mode::Require {
        // Last, since it holds from then on.
        let needs = Needs::new(settings, file, &Environment::read());
        if let Err(why) = sandbox::enter(Mode::Require, &needs) {
            findings.error(why);
        }
    }
}

/// The findings, with the main file in which they are placed.
struct PlacedFindings<'a> {
    /// The parsed main file of the configuration.
    source: &'a Source<'a>,
    /// The findings so far.
    findings: &'a mut Findings,
}

impl PlacedFindings<'_> {
    /// Adds a finding at a key, or without a position if there is no key or the main file does not have it.
    fn add(&mut self, key: Option<&str>, severity: Severity, text: &str) {
        match key.filter(|key| self.source.fault_at(key, "").value.is_some()) {
            Some(key) => self.findings.at_key(self.source, key, severity, text),
            None if severity == Severity::Error => self.findings.error(text),
            None => self.findings.warning(text),
        }
    }

    /// Adds a warning at the key `certificates.folder`, or without a position if the main file does not have it.
    fn of_folder(&mut self, text: &str) {
        self.add(Some("certificates.folder"), Severity::Warning, text);
    }

    /// Adds a finding at the first value below a section that is equal to `written`, or without a position if there is
    /// none.
    fn of_text(&mut self, section: &str, written: &str, severity: Severity, text: &str) {
        let key = self.source.path_of_text(section, written);
        self.add(key.as_deref(), severity, text);
    }
}

/// Adds a warning for each certificate that cannot be read or is not valid now, and for each host of a site without a
/// certificate, unless `[acme]` obtains one.
fn certificates(settings: &Settings, findings: &mut PlacedFindings<'_>) {
    if settings.certificates.is_none() && settings.certificate_files.is_empty() {
        return;
    }
    let opened = Certificates::open(settings.certificates.clone(), settings.certificate_files.clone());
    let (found, loaded) = match opened {
        Ok(loaded) => loaded,
        Err(why) => {
            findings.of_folder(&format!("{}: no certificate is served until it can be read", chain(&why)));
            return;
        }
    };
    found.set_sites(of_sites(settings));
    for problem in &loaded.problems {
        findings.of_folder(&format!("not used: {}", chain(problem)));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
    for info in found.list().iter().filter(|info| info.not_after <= now) {
        let (folder, names) = (info.folder.display(), info.names.join(", "));
        findings.of_folder(&format!("{folder}: the certificate for {names} has expired: clients refuse it"));
    }
    for info in found.list().iter().filter(|info| info.not_before > now) {
        let (folder, names) = (info.folder.display(), info.names.join(", "));
        findings.of_folder(&format!("{folder}: the certificate for {names} is not valid yet: {CLOCK}"));
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
            let text = format!("site `{site}`: there is no certificate for {name}: its handshakes fail");
            findings.of_text("site", &name, Severity::Warning, &text);
        }
    }
}

/// Returns true if an error message is about `$CREDENTIALS_DIRECTORY` and this variable is not set: systemd sets it for
/// the service but not for this process.
pub(super) fn is_missing_credentials(why: &str) -> bool {
    std::env::var_os("CREDENTIALS_DIRECTORY").is_none() && why.contains("CREDENTIALS_DIRECTORY")
}

/// Returns true if this process is run by systemd or as root, so that a permission that it lacks is lacking for `run`
/// as well.
pub(super) fn is_service() -> bool {
    std::env::var_os("INVOCATION_ID").is_some() || rustix::process::geteuid().is_root()
}

/// Returns the severity of a fault, and its text. If `denied`, a permission is lacking, and this process is not the
/// service, it is a warning with a remark; otherwise it is an error, and the text is unchanged.
pub(super) fn weigh(denied: bool, text: String) -> (Severity, String) {
    if denied && !is_service() {
        (Severity::Warning, format!("{text} (by this user; the service may be allowed to)"))
    } else {
        (Severity::Error, text)
    }
}

/// Tries to bind the address of a listener for TCP, and for UDP if it serves HTTP/3, and adds the first fault. An
/// address in use is no fault, and nothing further is tried then. It is a warning if the address or interface does not
/// exist yet, as `run` serves it later, or a permission is lacking that the service may have.
fn address(listener: &Listener, findings: &mut PlacedFindings<'_>) {
    let udp = listener.kind == (ListenerKind::Tls { http3: true });
    let kinds =
        [(Type::STREAM, Protocol::TCP)].into_iter().chain(udp.then_some((Type::DGRAM, Protocol::UDP)));
    for (kind, protocol) in kinds {
        let Err(why) = bind(listener, kind, protocol) else { continue };
        let text = format!("cannot listen on {}: {why}", listener.address);
        let (severity, text) = match why.kind() {
            // Most likely by the process that already serves this configuration.
            io::ErrorKind::AddrInUse => return,
            io::ErrorKind::AddrNotAvailable if listener.interface.is_none() => (
                Severity::Warning,
                format!("{text}: served as soon as an interface has it (ip address shows which there are)"),
            ),
            // A zone that is an index has no `interface`, and is waited for as well.
            _ if (listener.interface.is_some() || why.raw_os_error() == Some(libc::ENODEV))
                && why.kind() != io::ErrorKind::PermissionDenied =>
            {
                (Severity::Warning, format!("{text}: served as soon as its interface has it"))
            }
            kind => weigh(kind == io::ErrorKind::PermissionDenied, text),
        };
        findings.of_text("listen", &listener.address.to_string(), severity, &text);
        return;
    }
}

/// Binds a socket as the listener would, without listening, and closes it.
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
