//! The ACME engine that runs in the process of the proxy.

use super::AcmeSection;
use crate::config::Settings;
use crate::journal;
use acme_dns01::engine::{Certificate, Engine, UnreadyDependency};
use acme_dns01::live::{Check, Greeting};
use acme_dns01_config::{LateSecrets, PendingParts};
use cli_support::outcome::chain;
use edge_proxy::config::ListenerKind;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

/// The ACME engine and the certificates that it obtains. They are renewed as long as [`run`](Self::run) is polled.
pub(crate) struct CertificateRenewer {
    /// The engine of acme-dns01.
    engine: Arc<Engine>,
    /// The certificates of the section.
    certificates: Vec<Certificate>,
    /// The parts of the section whose secrets or files could not be read at the start.
    parts: PendingParts,
}

impl CertificateRenewer {
    /// Builds the engine: reads the secrets, opens the store of certificates, and makes sure that every certificate has
    /// files to serve. Faults of some of the certificates are logged, and the others are prepared. Events of the engine
    /// are logged from then on.
    ///
    /// # Errors
    /// A message that begins with `[acme]`: the settings cannot be used, or none of the certificates could be prepared.
    pub(crate) async fn prepare(section: &AcmeSection) -> Result<Self, String> {
        // Only what needs a secret or file that cannot be read is held back.
        let setup =
            section.settings.build(LateSecrets::All).map_err(|why| format!("[acme] {}", chain(&why)))?;
        let engine = setup.engine.observer(Arc::new(|id, event| {
            let line = format_args!("acme: {id}: {event}");
            if event.needs_attention() { journal::warning(line) } else { journal::info(line) }
        }));
        let mut faults = Vec::new();
        for certificate in &setup.certificates {
            if let Err(why) = engine.begin(certificate).await {
                faults.push(format!("[acme] {}: {why}", certificate.spec.id));
            }
        }
        // A store that fails for all is tried again as a whole; the fault of one keeps no other from being renewed.
        if faults.len() == setup.certificates.len()
            && let Some(why) = faults.pop()
        {
            return Err(why);
        }
        faults.iter().for_each(journal::error);
        // Once: a preparation that fails is repeated, and its error is logged by the caller.
        for part in setup.late.all() {
            journal::error(format_args!("[acme] {}: {}", chain(&*part.error), part.consequence()));
        }
        for group in &setup.unknown_groups {
            journal::warning(format_args!(
                "acme: there is no group `{group}`: files keep the group of the account"
            ));
        }
        Ok(Self { engine: Arc::new(engine), certificates: setup.certificates, parts: setup.late })
    }

    /// Returns the parts of the section whose secrets or files could not be read at the start, each with the reason why
    /// it is not ready; `None` if it is by now.
    pub(crate) fn parts(&self) -> Vec<(String, Option<String>)> {
        self.parts.state()
    }

    /// Returns the certificates that are held back since a DNS provider or authority is not ready, by id.
    pub(crate) fn blocked(&self) -> BTreeMap<String, UnreadyDependency> {
        self.engine.blocked_certificates()
    }

    /// Returns the address of the first listener with TLS. `addresses` are the bound addresses of all listeners, in the
    /// order of the configuration. `None` if no listener has TLS.
    pub(crate) fn tls(settings: &Settings, addresses: &[SocketAddr]) -> Option<SocketAddr> {
        let tls = settings
            .proxy
            .listeners
            .iter()
            .position(|listener| matches!(listener.kind, ListenerKind::Tls { .. }));
        tls.and_then(|at| addresses.get(at)).copied()
    }

    /// Obtains and renews the certificates, and never returns. After a renewal, the proxy at the address `tls` must
    /// serve the new certificate in a TLS handshake; otherwise the old one is restored. An unspecified address is
    /// replaced by the loopback address of its family. With `None`, nothing is verified. Dropping the future interrupts
    /// orders, which continue at the next start. Parts that are not ready are looked at again meanwhile.
    pub(crate) async fn run(&self, tls: Option<SocketAddr>) {
        let mut certificates = self.certificates.clone();
        for certificate in &mut certificates {
            let Some(address) = tls else { continue };
            let names = &certificate.spec.names;
            let name = names.iter().find(|name| !name.is_wildcard());
            let name = name.map_or_else(|| format!("any.{}", names[0].base()), ToString::to_string);
            let address = match address.ip() {
                std::net::IpAddr::V4(ip) if ip.is_unspecified() => {
                    SocketAddr::from(([127, 0, 0, 1], address.port()))
                }
                std::net::IpAddr::V6(ip) if ip.is_unspecified() => {
                    SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, address.port()))
                }
                _ => address,
            };
            certificate.deployment.checks.push(Check {
                address: address.to_string(),
                greeting: Greeting::Tls,
                name,
            });
        }
        let parts = self.parts.watch(|part| journal::info(format_args!("[acme] {part} is ready")));
        tokio::join!(self.engine.run(&certificates), parts);
    }
}
