//! Certificates that belong to sites, whatever names they have.

use super::Certificates;
use edge_http::host::normalize;
use edge_policy::Snapshot;
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// A source of certificates that belong to single sites. The site of a connection is determined by the server name and
/// the listener before a certificate is chosen; a certificate of the site is then used for each of its names, whatever
/// names the certificate contains.
pub trait SiteCertificates: Send + Sync {
    /// Returns the resolver of the certificate that belongs to the site of this name. `None` if the site has none of
    /// its own. Called for each site at a start and at a reload.
    fn of_site(self: Arc<Self>, site: &str) -> Option<Arc<dyn ResolvesServerCert>>;
}

impl SiteCertificates for Certificates {
    fn of_site(self: Arc<Self>, site: &str) -> Option<Arc<dyn ResolvesServerCert>> {
        let path = self.file_of(site)?;
        Some(Arc::new(OfFile { certificates: self, path }))
    }
}

/// The resolver of the certificate of one path. While that is not loaded, or the client does not support its key, a
/// certificate is chosen by the server name instead.
struct OfFile {
    /// The loaded certificates.
    certificates: Arc<Certificates>,
    /// The path of the certificate file.
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
    /// The configuration of connections without early data.
    pub(crate) tls: Arc<ServerConfig>,
    /// The configuration of connections with early data.
    pub(crate) early_tls: Arc<ServerConfig>,
}

impl SiteTls {
    /// Returns copies of these configurations, without and with early data, with another resolver of certificates.
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

/// The certificates of connections over QUIC at one listener: the TLS library asks for them by server name, and the
/// site is that of the name at the listener.
pub(crate) struct ByServerName {
    /// The resolver of sites without a certificate of their own.
    base: Arc<dyn ResolvesServerCert>,
    /// The configuration, by which the site of a server name is found.
    snapshot: Arc<Snapshot>,
    /// The resolvers by site, in the order of the configuration.
    sites: Arc<[Option<Arc<dyn ResolvesServerCert>>]>,
    /// The name of the listener. `None` if it has no name.
    listener: Option<String>,
}

impl ByServerName {
    /// Creates the resolver of the listener with this name. `sites` are the resolvers of sites with certificates of
    /// their own, in the order of the configuration.
    pub(crate) fn new(
        base: Arc<dyn ResolvesServerCert>,
        snapshot: Arc<Snapshot>,
        sites: Arc<[Option<Arc<dyn ResolvesServerCert>>]>,
        listener: Option<String>,
    ) -> Self {
        Self { base, snapshot, sites, listener }
    }
}

impl fmt::Debug for ByServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByServerName").field("listener", &self.listener).finish_non_exhaustive()
    }
}

impl ResolvesServerCert for ByServerName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = normalize(hello.server_name()?);
        let site = self.snapshot.site_at(&name, self.listener.as_deref());
        match site.and_then(|site| self.sites[site].as_ref()) {
            Some(own) => own.resolve(hello),
            None => self.base.resolve(hello),
        }
    }
}
