//! Certificates that belong to sites, whatever names they have.

use super::Certificates;
use edge_http::host::normalize;
use edge_policy::Snapshot;
use edge_policy::config::ListenerKind;
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// A source of certificates for single sites. The site is known before the certificate is chosen, by the server name and the
/// listener; a certificate of its own is used for every name of the site, whatever names are in it.
pub trait SiteCertificates: Send + Sync {
    /// Returns the resolver of the certificate of the site of this name. `None` if the site has none of its own.
    fn of_site(self: Arc<Self>, site: &str) -> Option<Arc<dyn ResolvesServerCert>>;
}

impl SiteCertificates for Certificates {
    fn of_site(self: Arc<Self>, site: &str) -> Option<Arc<dyn ResolvesServerCert>> {
        let path = self.file_of(site)?;
        Some(Arc::new(OfFile { certificates: self, path }))
    }
}

/// The certificate in a file, or while that cannot be used one by name.
struct OfFile {
    certificates: Arc<Certificates>,
    path: PathBuf,
}

impl fmt::Debug for OfFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OfFile").field("path", &self.path).finish_non_exhaustive()
    }
}

impl ResolvesServerCert for OfFile {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let own = self.certificates.pair_of(&self.path);
        let usable = own.filter(|pair| pair.key.choose_scheme(hello.signature_schemes()).is_some());
        usable.or_else(|| self.certificates.resolve(hello))
    }
}

/// The TLS configurations of a site with a certificate of its own.
pub(crate) struct SiteTls {
    pub(crate) tls: Arc<ServerConfig>,
    /// That for early data.
    pub(crate) early_tls: Arc<ServerConfig>,
}

impl SiteTls {
    /// Returns these configurations with another certificate.
    pub(crate) fn new(
        (tls, early_tls): (&ServerConfig, &ServerConfig),
        resolver: &Arc<dyn ResolvesServerCert>,
    ) -> Self {
        let with = |config: &ServerConfig| {
            let mut own = config.clone();
            own.cert_resolver = resolver.clone();
            Arc::new(own)
        };
        Self { tls: with(tls), early_tls: with(early_tls) }
    }
}

/// The certificates of connections over QUIC, whose listener is not known here: of sites with the same name at several
/// listeners, that of the first listener counts.
pub(crate) struct ByServerName {
    base: Arc<dyn ResolvesServerCert>,
    snapshot: Snapshot,
    /// The resolvers by site, in the order of the configuration.
    sites: Vec<Option<Arc<dyn ResolvesServerCert>>>,
}

impl ByServerName {
    pub(crate) fn new(
        base: Arc<dyn ResolvesServerCert>,
        snapshot: Snapshot,
        sites: Vec<Option<Arc<dyn ResolvesServerCert>>>,
    ) -> Self {
        Self { base, snapshot, sites }
    }
}

impl fmt::Debug for ByServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByServerName").field("sites", &self.sites.len()).finish_non_exhaustive()
    }
}

impl ResolvesServerCert for ByServerName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = normalize(hello.server_name()?);
        let quic = |kind| kind == ListenerKind::Tls { http3: true };
        let mut listeners = self.snapshot.config().listeners.iter().filter(|listener| quic(listener.kind));
        let site = listeners.find_map(|listener| self.snapshot.site_at(&name, listener.name.as_deref()));
        match site.and_then(|site| self.sites[site].as_ref()) {
            Some(own) => own.resolve(hello),
            None => self.base.resolve(hello),
        }
    }
}
