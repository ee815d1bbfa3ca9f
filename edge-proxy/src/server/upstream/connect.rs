//! Dialling a target: names, sockets, the PROXY header, TLS.

use super::UpstreamError;
use super::error::ConnectError;
use super::names::addresses;
use super::wire::UpstreamTransport;
use crate::config::{ProxyOut, Target};
use crate::proxy_protocol;
use crate::server::listen::keep_alive;
use crate::server::socket::Socket;
use crate::server::tls::TlsStream;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use socket2::SockRef;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UnixStream};

/// The PROXY header to send first, and whom it names.
pub(crate) struct Announce {
    pub(crate) version: ProxyOut,
    pub(crate) client: SocketAddr,
    pub(crate) local: SocketAddr,
}

/// Makes a connection.
pub(crate) async fn dial(
    target: &Target,
    tls: Option<&(Arc<ClientConfig>, Option<String>)>,
    announce: Option<&Announce>,
) -> Result<UpstreamTransport, UpstreamError> {
    let mut socket = match target {
        Target::Unix(path) => {
            Socket::Unix(UnixStream::connect(path).await.map_err(|error| ConnectError::of(&error))?)
        }
        Target::Tcp { host, port } => {
            // A name without an address, or the error at the last address.
            let mut connected = Err(ConnectError::Dns);
            for address in addresses(host).await.ok_or(ConnectError::Dns)? {
                connected =
                    TcpStream::connect((address, *port)).await.map_err(|error| ConnectError::of(&error));
                if connected.is_ok() {
                    break;
                }
            }
            let stream = connected?;
            // Heads and small content are written at once; waiting to merge them only costs time.
            let _ = stream.set_nodelay(true);
            keep_alive(&SockRef::from(&stream));
            Socket::Tcp(stream)
        }
    };
    if let Some(announce) = announce {
        let mut header = Vec::with_capacity(107);
        let says =
            proxy_protocol::ProxyHeader::Proxied { source: announce.client, destination: announce.local };
        match announce.version {
            ProxyOut::V1 => proxy_protocol::v1::write(&says, &mut header),
            ProxyOut::V2 => proxy_protocol::v2::write(&says, &mut header),
        }
        socket.write_all(&header).await.map_err(|error| ConnectError::of(&error))?;
    }
    let Some((config, name)) = tls else { return Ok(UpstreamTransport::Plain(socket)) };
    let host = match (name, target) {
        (Some(name), _) => name.clone(),
        (None, Target::Tcp { host, .. }) => host.clone(),
        (None, Target::Unix(_)) => "localhost".to_owned(),
    };
    let name = ServerName::try_from(host).map_err(|_| ConnectError::Tls)?;
    let session = ClientConnection::new(config.clone(), name).map_err(|_| ConnectError::Tls)?;
    let mut stream = TlsStream::new(session, socket);
    poll_fn(|cx| stream.poll_handshake(cx)).await.map_err(|_| ConnectError::Tls)?;
    Ok(UpstreamTransport::Tls(Box::new(stream)))
}
