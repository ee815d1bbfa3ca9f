//! The ACME engine beside the proxy.

use super::AcmeSection;
use crate::config::Settings;
use crate::journal;
use acme_dns01::engine::{Certificate, Engine};
use acme_dns01::live::{Check, Greeting};
use cli_support::outcome::chain;
use edge_proxy::config::ListenerKind;
use std::net::SocketAddr;
use std::sync::Arc;

/// The ACME engine with its certificates. It renews them until it is dropped.
pub(crate) struct CertificateRenewer {
    engine: Arc<Engine>,
    certificates: Vec<Certificate>,
}

impl CertificateRenewer {
    /// Reads secrets, opens the store, and ensures that every certificate has something to serve.
    ///
    /// # Errors
    /// A message with the section.
    pub(crate) async fn prepare(section: &AcmeSection) -> Result<Self, String> {
        let setup = section.settings.build().map_err(|why| format!("[acme] {}", chain(&why)))?;
        let engine = setup.engine.observer(Arc::new(|id, event| {
            let line = format_args!("acme: {id}: {event}");
            if event.needs_attention() { journal::warning(line) } else { journal::info(line) }
        }));
        for group in &setup.unknown_groups {
            journal::warning(format_args!(
                "acme: there is no group `{group}`: files keep the group of the account"
            ));
        }
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
        Ok(Self { engine: Arc::new(engine), certificates: setup.certificates })
    }

    /// Returns the address at which the proxy serves TLS, of `addresses` in the order of the listeners. `None` if no listener
    /// does.
    pub(crate) fn tls(settings: &Settings, addresses: &[SocketAddr]) -> Option<SocketAddr> {
        let tls = settings
            .proxy
            .listeners
            .iter()
            .position(|listener| matches!(listener.kind, ListenerKind::Tls { .. }));
        tls.and_then(|at| addresses.get(at)).copied()
    }

    /// Runs the engine forever. The proxy at address `tls` must serve each new certificate, or the old one is restored.
    /// Unfinished orders continue at the next start.
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
        self.engine.run(&certificates).await;
    }
}
