//! The connection of a client, from the view of its requests.

use crate::client_auth::ProvenCertificate;
use crate::runtime::Runtime;
use crate::tls::TlsParameters;
use edge_http::proxy_protocol::Extensions;
use edge_policy::CertificateContext;
use edge_policy::decide::{RequestContext, Transport};
use edge_policy::tailnet::Identities;
use std::net::SocketAddr;
use std::rc::Rc;

/// The properties of a client's connection that hold for all its requests.
#[derive(Clone)]
pub(crate) struct Connection {
    pub(crate) transport: Transport,
    pub(crate) peer: SocketAddr,
    pub(crate) local: SocketAddr,
    pub(crate) proxied: Option<SocketAddr>,
    /// The description of the connection in its PROXY header. `None` if there was none.
    pub(crate) proxy_extensions: Option<Rc<Extensions>>,
    pub(crate) interface: Option<Rc<str>>,
    /// The name of the listener that accepted the connection.
    pub(crate) listener: Option<Rc<str>>,
    pub(crate) sni: Option<Box<str>>,
    /// The application protocol that was negotiated by ALPN.
    pub(crate) alpn: Option<&'static str>,
    /// The version and cipher suite of TLS, once negotiated.
    pub(crate) tls: Option<TlsParameters>,
    /// The client certificate. `None` if the handshake requested none.
    pub(crate) certificate: Option<Rc<ProvenCertificate>>,
}

impl Connection {
    /// Returns the context of a request on this connection.
    pub(crate) fn facts<'f>(
        &'f self,
        runtime: &Runtime,
        early: bool,
        identities: Identities<'f>,
    ) -> RequestContext<'f> {
        let mut facts = RequestContext::new(self.transport, self.peer);
        facts.proxied = self.proxied;
        facts.interface = self.interface.as_deref();
        facts.listener = self.listener.as_deref();
        facts.identities = identities;
        facts.certificate = self.certificate(runtime);
        facts.sni = self.sni.as_deref();
        facts.early = early;
        facts
    }

    /// Returns the client certificate as the context of a request, under the rules of the site that the handshake was
    /// for.
    pub(crate) fn certificate(&self, runtime: &Runtime) -> CertificateContext<'_> {
        let (Some(proven), Some(sni)) = (&self.certificate, &self.sni) else {
            return CertificateContext::NotAsked;
        };
        let site = runtime.snapshot().site_at(sni, self.listener.as_deref());
        proven.under(site.and_then(|site| runtime.client_auth[site].as_ref()))
    }
}
