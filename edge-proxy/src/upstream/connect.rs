//! The establishment of a connection to a target: name resolution, socket, PROXY header, TLS.

use super::names::addresses;
use super::wire::UpstreamTransport;
use super::{Cause, UpstreamError, race};
use crate::listen::keep_alive;
use crate::socket::Socket;
use crate::tls::TlsStream;
use edge_http::proxy_protocol::{self, Extensions};
use edge_policy::config::{ProxyOut, Target};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use socket2::SockRef;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

/// The PROXY header to send at the beginning of a connection.
pub(crate) struct OutgoingProxyHeader<'a> {
    /// The version of the header.
    pub(crate) version: ProxyOut,
    /// The extensions that describe the client's connection. Sent in version 2 only.
    pub(crate) extensions: &'a Extensions,
    /// The source address: that of the client.
    pub(crate) client: SocketAddr,
    /// The destination address: the one that the client connected to.
    pub(crate) local: SocketAddr,
}

/// Establishes a connection to a target: resolves its name and connects, or connects to its Unix socket, sends the
/// PROXY header if there is one, and performs the TLS handshake. `tls` is the configuration and the server name to
/// verify; `None` for a plain connection. There is no time limit.
///
/// # Errors
/// [`UpstreamError::Connect`] with the cause.
pub(crate) async fn dial(
    target: &Target,
    tls: Option<(&Arc<ClientConfig>, ServerName<'static>)>,
    proxy_header: Option<&OutgoingProxyHeader<'_>>,
) -> Result<UpstreamTransport, UpstreamError> {
    let failed = |why: io::Error| UpstreamError::Connect(Cause::of(&why));
    let mut socket = match target {
        Target::Unix(path) => Socket::Unix(UnixStream::connect(path).await.map_err(failed)?),
        Target::Tcp { host, port } => {
            let addresses = addresses(host).await.filter(|found| !found.is_empty());
            let addresses = addresses.ok_or(UpstreamError::Connect(Cause::NoAddress))?;
            let stream = race::connect(host, *port, addresses).await.map_err(UpstreamError::Connect)?;
            // Heads and small content are written at once; waiting to merge them only costs time.
            let _ = stream.set_nodelay(true);
            keep_alive(&SockRef::from(&stream));
            Socket::Tcp(stream)
        }
    };
    if let Some(proxy_header) = proxy_header {
        let mut header = Vec::with_capacity(107);
        let says = proxy_protocol::ProxyHeader::Proxied {
            source: proxy_header.client,
            destination: proxy_header.local,
        };
        match proxy_header.version {
            ProxyOut::V1 => proxy_protocol::v1::write(&says, &mut header),
            ProxyOut::V2 => proxy_protocol::v2::write_with(&says, proxy_header.extensions, &mut header),
        }
        socket.write_all(&header).await.map_err(failed)?;
    }
    let Some((config, name)) = tls else { return Ok(UpstreamTransport::Plain(socket)) };
    let session =
        ClientConnection::new(config.clone(), name).map_err(|_| UpstreamError::Connect(Cause::TlsFailed))?;
    let mut stream = TlsStream::new(session, socket);
    poll_fn(|cx| stream.poll_handshake(cx)).await.map_err(failed)?;
    Ok(UpstreamTransport::Tls(Box::new(stream)))
}
