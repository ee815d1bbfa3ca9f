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
            let addresses = addresses(target).await.map_err(UpstreamError::Connect)?;
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

/// Returns the server name that the certificate of a target must have: `name`, or else the target's host without its
/// zone, or `localhost` for a Unix socket. `None` if the name is not valid.
pub(super) fn server_name(name: Option<&str>, target: &Target) -> Option<ServerName<'static>> {
    let name = name.or_else(|| target.host()).unwrap_or("localhost");
    ServerName::try_from(name.to_owned()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_zone_is_a_part_of_the_server_name() {
        let target = Target::Tcp { host: "fe80::1%eth0".into(), port: 443 };
        // An address is verified, but not sent as a server name.
        let address = ServerName::IpAddress(std::net::IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, 1]).into());
        assert_eq!(server_name(None, &target), Some(address));
        let named = ServerName::try_from("node.test").unwrap();
        assert_eq!(server_name(Some("node.test"), &target), Some(named));
        let local = ServerName::try_from("localhost").unwrap();
        assert_eq!(server_name(None, &Target::Unix("/run/app.sock".into())), Some(local));
        assert_eq!(server_name(Some("not valid"), &target), None);
    }
}
