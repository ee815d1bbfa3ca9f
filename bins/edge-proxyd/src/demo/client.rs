//! Clients for HTTP/1.1, HTTP/2 and HTTP/3, which show details of the protocol that common clients hide.

use bytes::{Buf, Bytes};
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use std::error::Error;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// The result of a step of the demonstration.
pub(super) type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// The longest wait for a TCP connection, and for each read from it.
pub(super) const STEP_TIMEOUT: Duration = Duration::from_secs(5);

/// Returns a TLS client configuration that trusts only the certificate `root`, in PEM, and stores session tickets.
/// `alpn` are the protocols that the client offers; it sends early data if `early`.
pub(super) fn tls(root: &str, alpn: &[&[u8]], early: bool) -> Outcome<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(rustls::pki_types::CertificateDer::from_pem_slice(root.as_bytes())?)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    config.enable_early_data = early;
    Ok(Arc::new(config))
}

/// Opens a TCP connection from the local address `from`, within [`STEP_TIMEOUT`], which is also the timeout for
/// reading.
pub(super) fn connect_from(to: SocketAddr, from: IpAddr) -> Outcome<TcpStream> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(to), socket2::Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(from, 0).into())?;
    socket.connect_timeout(&to.into(), STEP_TIMEOUT)?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(STEP_TIMEOUT))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A TLS connection over TCP, whose steps the caller controls.
pub(super) struct Tls {
    /// The state of the TLS connection.
    pub(super) tls: ClientConnection,
    /// The TCP connection.
    pub(super) tcp: TcpStream,
}

impl Tls {
    /// Opens a TCP connection to `to` from 127.0.0.1, and prepares a TLS handshake for the server name `name`. Sends
    /// nothing yet.
    pub(super) fn new(to: SocketAddr, name: &str, config: &Arc<ClientConfig>) -> Outcome<Self> {
        let name = ServerName::try_from(name.to_owned())?;
        Ok(Self {
            tls: ClientConnection::new(config.clone(), name)?,
            tcp: connect_from(to, [127, 0, 0, 1].into())?,
        })
    }

    /// Sends the pending TLS records over the TCP connection.
    pub(super) fn flush(&mut self) -> Outcome<()> {
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.tcp)?;
        }
        Ok(())
    }

    /// Sends a request, and returns the text received until `enough` is true for all of it, or the connection ends.
    pub(super) fn ask(&mut self, request: &str, enough: impl Fn(&str) -> bool) -> Outcome<String> {
        self.tls.writer().write_all(request.as_bytes())?;
        self.read(enough)
    }

    /// Returns the text received until `enough` is true for all of it, or the connection ends. Completes the handshake
    /// first, if necessary. Invalid UTF-8 is replaced by U+FFFD.
    pub(super) fn read(&mut self, enough: impl Fn(&str) -> bool) -> Outcome<String> {
        let mut stream = rustls::Stream::new(&mut self.tls, &mut self.tcp);
        let mut text = Vec::new();
        let mut part = [0; 4096];
        loop {
            let n = stream.read(&mut part)?;
            text.extend_from_slice(&part[..n]);
            let so_far = String::from_utf8_lossy(&text);
            if n == 0 || enough(&so_far) {
                return Ok(so_far.into_owned());
            }
        }
    }
}

/// Returns true if the text has a response head and at least the content that its `Content-Length` announces, which is
/// none without the field.
pub(super) fn is_complete_response(text: &str) -> bool {
    let Some((head, content)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    content.len() >= length.unwrap_or(0)
}

/// Sends a request without TLS from the local address `from`, and returns the text received until the response is
/// complete, or the connection is closed or reset.
pub(super) fn plain(to: SocketAddr, from: IpAddr, request: &str) -> Outcome<String> {
    let mut stream = connect_from(to, from)?;
    stream.write_all(request.as_bytes())?;
    let mut text = Vec::new();
    let mut part = [0; 4096];
    loop {
        let n = match stream.read(&mut part) {
            Ok(n) => n,
            Err(why) if why.kind() == std::io::ErrorKind::ConnectionReset => 0,
            Err(why) => return Err(why.into()),
        };
        text.extend_from_slice(&part[..n]);
        let so_far = String::from_utf8_lossy(&text);
        if n == 0 || is_complete_response(&so_far) {
            return Ok(so_far.into_owned());
        }
    }
}

/// Opens an HTTP/2 connection over TLS for the server name `name`, trusting the certificate `root` in PEM. A spawned
/// task drives the connection.
pub(super) async fn http2(to: SocketAddr, name: &str, root: &str) -> Outcome<h2::client::SendRequest<Bytes>> {
    let config = tls(root, &[b"h2"], false)?;
    let tcp = tokio::net::TcpStream::connect(to).await?;
    let name = ServerName::try_from(name.to_owned())?;
    let stream = tokio_rustls::TlsConnector::from(config).connect(name, tcp).await?;
    let (send, connection) = h2::client::handshake(stream).await?;
    tokio::spawn(connection);
    // The settings that allow extended CONNECT arrive right after the handshake.
    tokio::time::sleep(Duration::from_millis(50)).await;
    Ok(send.ready().await?)
}

/// Creates a QUIC endpoint on 127.0.0.1 whose clients store session tickets, send early data and trust the certificate
/// `root` in PEM.
pub(super) fn quic(root: &str) -> Outcome<quinn::Endpoint> {
    let mut endpoint = quinn::Endpoint::client(([127, 0, 0, 1], 0).into())?;
    let mut config = Arc::unwrap_or_clone(tls(root, &[b"h3"], true)?);
    config.alpn_protocols = vec![b"h3".to_vec()];
    let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(config)?;
    endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(crypto)));
    Ok(endpoint)
}

/// Sends an HTTP/3 request with this content on a connection, which may still be in its handshake. Returns the status,
/// a line break and the content of the response.
pub(super) async fn http3(
    connection: quinn::Connection,
    request: http::Request<()>,
    body: Bytes,
) -> Outcome<String> {
    let (mut driver, mut send) = h3::client::new(h3_quinn::Connection::new(connection)).await?;
    let driving = tokio::spawn(async move { std::future::poll_fn(|cx| driver.poll_close(cx)).await });
    let mut stream = send.send_request(request).await?;
    if !body.is_empty() {
        stream.send_data(body).await?;
    }
    stream.finish().await?;
    let response = stream.recv_response().await?;
    let mut text = format!("{}\n", response.status().as_u16());
    while let Some(mut part) = stream.recv_data().await? {
        text.push_str(&String::from_utf8_lossy(&part.copy_to_bytes(part.remaining())));
    }
    driving.abort();
    Ok(text)
}
