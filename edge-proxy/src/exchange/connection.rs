//! The client's connection, as the requests on it need it.

use crate::client_auth::ProvenCertificate;
use crate::runtime::Runtime;
use crate::tls::TlsParameters;
use edge_http::proxy_protocol::Extensions;
use edge_policy::CertificateContext;
use edge_policy::decide::{RequestContext, Transport};
use edge_policy::tailnet::Identities;
use std::net::SocketAddr;
use std::rc::Rc;

/// The properties of a client's connection that are the same for all its requests.
#[derive(Clone)]
pub(crate) struct Connection {
    /// The transport of the connection: plain TCP, TLS or QUIC.
    pub(crate) transport: Transport,
    /// The address of the peer.
    pub(crate) peer: SocketAddr,
    /// The local address that the client connected to.
    pub(crate) local: SocketAddr,
    /// The source address in the connection's PROXY header. `None` if there was none.
    pub(crate) proxied: Option<SocketAddr>,
    /// The extensions in the connection's PROXY header, which describe the connection. `None` if there were none.
    pub(crate) proxy_extensions: Option<Rc<Extensions>>,
    /// The name of the interface that the connection arrived on. `None` if it is not known, or not needed by the
    /// configuration.
    pub(crate) interface: Option<Rc<str>>,
    /// The name of the listener that accepted the connection. `None` if the listener has no name.
    pub(crate) listener: Option<Rc<str>>,
    /// The normalized server name in the ClientHello. `None` if there was none, or without TLS.
    pub(crate) sni: Option<Box<str>>,
    /// The application protocol that was negotiated by ALPN. `None` if none was.
    pub(crate) alpn: Option<&'static str>,
    /// The negotiated version and cipher suite of TLS. `None` without TLS, and while they are not negotiated.
    pub(crate) tls: Option<TlsParameters>,
    /// The certificate that the client presented, or the fact that it presented none. `None` if the handshake
    /// requested none.
    pub(crate) certificate: Option<Rc<ProvenCertificate>>,
}

impl Connection {
    /// Returns the context of a request on this connection for the policy. `early` is true if the request is early
    /// data and the handshake is incomplete. `identities` are the tailnet identities of the client and its hops.
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

    /// Returns the client certificate as the context of a request, under the present rules of the site that the
    /// handshake was for. `NotAsked` if the handshake requested none, or those rules have changed since.
    pub(crate) fn certificate(&self, runtime: &Runtime) -> CertificateContext<'_> {
        let (Some(proven), Some(sni)) = (&self.certificate, &self.sni) else {
            return CertificateContext::NotAsked;
        };
        let site = runtime.snapshot().site_at(sni, self.listener.as_deref());
        proven.under(site.and_then(|site| runtime.client_auth[site].as_ref()))
    }
}
