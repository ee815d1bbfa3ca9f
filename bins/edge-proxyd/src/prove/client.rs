//! The client: sends one request from one address over TCP, TLS or QUIC.

use super::job::{ClientCertificateKind, LINE, Probe, ReceivedRequest, Reply, Version};
use super::modern;
use super::recorder::{ANSWER, RECORD};
use super::stage::PAGE;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};
use socket2::{Domain, Socket, Type};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The longest wait for a connection, for each read and write, and for an exchange over HTTP/2 or HTTP/3.
pub(super) const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest wait for each read if the request announces content that is never sent, since a server that needs the
/// content does not respond.
const NO_CONTENT_TIMEOUT: Duration = Duration::from_secs(1);

/// The TLS configurations of clients, by the certificate that they present.
pub(super) struct Clients {
    /// The configuration without a certificate.
    without: Arc<ClientConfig>,
    /// The configuration with a certificate of the authority that the servers trust.
    known: Arc<ClientConfig>,
    /// The configuration with a certificate of another authority.
    foreign: Arc<ClientConfig>,
    /// The configuration with a certificate that the trusted authority has revoked.
    revoked: Arc<ClientConfig>,
}

/// Sends the request of a probe, and returns the reply. The default reply stands for a connection that fails or ends
/// without a response.
pub(super) fn ask(request: &Probe, clients: &Clients) -> Reply {
    let tls = match request.certificate {
        None => &clients.without,
        Some(ClientCertificateKind::Known) => &clients.known,
        Some(ClientCertificateKind::Foreign) => &clients.foreign,
        Some(ClientCertificateKind::Revoked) => &clients.revoked,
    };
    let reply = match request.version {
        Version::Http1 => connect(request).and_then(|stream| answer(request, tls, stream)),
        Version::Http2 => connect(request).and_then(|stream| modern::exchange_http2(request, tls, stream)),
        Version::Http3 => modern::exchange_http3(request, tls),
        Version::Text => connect(request).and_then(exchange_line),
    };
    reply.unwrap_or_default()
}

/// Sends [`LINE`] to a service of raw TCP, and returns what the service received. `None` if the exchange fails.
fn exchange_line(mut stream: TcpStream) -> Option<Reply> {
    stream.write_all(format!("{LINE}\n").as_bytes()).ok()?;
    let mut got = String::new();
    stream.read_to_string(&mut got).ok()?;
    let (name, line): (String, String) = serde_json::from_str(got.trim()).ok()?;
    Some(Reply { service: Some(ReceivedRequest { name, line, fields: Vec::new() }), ..Reply::default() })
}

/// Opens a TCP connection from the client address of a probe to its destination, with timeouts for reading and writing.
/// `None` if that fails.
fn connect(request: &Probe) -> Option<TcpStream> {
    let domain = if request.to.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(domain, Type::STREAM, None).ok()?;
    socket.bind(&SocketAddr::new(request.from, 0).into()).ok()?;
    socket.connect_timeout(&request.to.into(), EXCHANGE_TIMEOUT).ok()?;
    let stream = TcpStream::from(socket);
    let announces = |(name, value): &(String, String)| name == "Content-Length" && value != "0";
    let patience = if request.fields.iter().any(announces) { NO_CONTENT_TIMEOUT } else { EXCHANGE_TIMEOUT };
    stream.set_read_timeout(Some(patience)).ok()?;
    stream.set_write_timeout(Some(EXCHANGE_TIMEOUT)).ok()?;
    Some(stream)
}

/// Sends the request of a probe over a TCP connection, preceded by a PROXY header (version 1) and TLS if the probe has
/// them. `None` if the exchange fails.
fn answer(request: &Probe, tls: &Arc<ClientConfig>, mut stream: TcpStream) -> Option<Reply> {
    if request.proxied {
        let family = if request.from.is_ipv4() { "TCP4" } else { "TCP6" };
        let head =
            format!("PROXY {family} {} {} 40000 {}\r\n", request.from, request.to.ip(), request.to.port());
        stream.write_all(head.as_bytes()).ok()?;
    }
    if !request.tls {
        return exchange(request, stream);
    }
    let name = match &request.sni {
        Some(name) => ServerName::try_from(name.clone()).ok()?,
        // An address is not sent.
        None => ServerName::from(request.to.ip()),
    };
    let connection = ClientConnection::new(tls.clone(), name).ok()?;
    exchange(request, StreamOwned::new(connection, stream))
}

/// Sends the request of a probe as HTTP/1.1 without content, and returns the reply. An error page is read only if the
/// probe tells the recorder how to respond. `None` if no complete head of a response arrives.
fn exchange(request: &Probe, mut stream: impl Read + Write) -> Option<Reply> {
    let mut head = format!("{} {} HTTP/1.1\r\nHost: {}\r\n", request.method, request.path, request.host);
    for (name, value) in &request.fields {
        head += &format!("{name}: {value}\r\n");
    }
    let switches = request.fields.iter().any(|(name, _)| name.eq_ignore_ascii_case("connection"));
    head += if switches { "\r\n" } else { "Connection: close\r\n\r\n" };
    stream.write_all(head.as_bytes()).ok()?;
    stream.flush().ok()?;
    let mut got = Vec::new();
    let mut buffer = [0; 8192];
    let end = loop {
        if let Some(end) = got.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        match stream.read(&mut buffer) {
            Ok(length) if length > 0 && got.len() < 262_144 => got.extend(&buffer[..length]),
            _ => return None,
        }
    };
    let head = String::from_utf8_lossy(&got[..end]).into_owned();
    let field = |wanted: &str| {
        head.lines()
            .skip(1)
            .filter_map(|line| line.split_once(':'))
            .find_map(|(known, value)| known.eq_ignore_ascii_case(wanted).then(|| value.trim().to_owned()))
    };
    let cookies = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"))
        .map(|(_, value)| value.trim().to_owned())
        .collect();
    let status = head.get(9..12).and_then(|status| status.parse().ok());
    let mut reply = Reply { cookies, ..reply_of(status, field) };
    if status.is_some_and(|status: u16| status >= 400) && asks_for_an_answer(request) {
        got.drain(..end + 4);
        reply.page = page(got, stream);
    }
    Some(reply)
}

/// Returns true if a probe has the field [`ANSWER`], by which it tells the recorder how to respond.
fn asks_for_an_answer(request: &Probe) -> bool {
    request.fields.iter().any(|(name, _)| name.eq_ignore_ascii_case(ANSWER))
}

/// Reads the rest of a response until the connection ends or 64 KiB were read. Returns the first line of an error page
/// of the comparison, from [`PAGE`] on; `None` if the content has none. `got` is the content received so far.
fn page(mut got: Vec<u8>, mut stream: impl Read) -> Option<String> {
    let mut buffer = [0; 8192];
    while got.len() < 65_536 {
        match stream.read(&mut buffer) {
            Ok(length) if length > 0 => got.extend(&buffer[..length]),
            _ => break,
        }
    }
    let text = String::from_utf8_lossy(&got);
    let begin = text.find(PAGE)?;
    text[begin..].lines().next().map(str::to_owned)
}

/// Builds a reply from the status and a function that returns the value of a response field, or `None` if
/// the response has none of that name.
pub(super) fn reply_of(status: Option<u16>, field: impl Fn(&str) -> Option<String>) -> Reply {
    Reply {
        status,
        location: field("location"),
        service: field(RECORD).and_then(|hex| decode_recorded(&hex)),
        ..Reply::default()
    }
}

/// Decodes the request that a recorder received, from the hexadecimal value of the field [`RECORD`]. Field names are
/// converted to lower case. `None` if the value is malformed.
fn decode_recorded(hex: &str) -> Option<ReceivedRequest> {
    let bytes: Option<Vec<u8>> =
        (0..hex.len() / 2).map(|i| u8::from_str_radix(hex.get(2 * i..2 * i + 2)?, 16).ok()).collect();
    let (name, head): (String, String) = serde_json::from_slice(&bytes?).ok()?;
    let mut lines = head.lines();
    let line = lines.next()?.trim_end_matches(" HTTP/1.1").trim_end_matches(" HTTP/1.0").to_owned();
    let fields = lines.filter_map(|line| line.split_once(':'));
    let fields = fields.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
    Some(ReceivedRequest { name, line, fields })
}

/// Loads the TLS configurations of the clients, whose certificates are in the subfolders of `clients` in `folder`. They
/// accept any server certificate, since nothing outside the namespace can respond. `None` if a certificate or key
/// cannot be read.
pub(super) fn clients(folder: &Path) -> Option<Clients> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let schemes = provider.signature_verification_algorithms.supported_schemes();
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().ok()?;
    let config = config.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(schemes)));
    let showing = |name: &str| {
        let folder = folder.join("clients").join(name);
        let chain = CertificateDer::pem_file_iter(folder.join("fullchain.pem")).ok()?.flatten().collect();
        let key = PrivateKeyDer::from_pem_file(folder.join("key.pem")).ok()?;
        config.clone().with_client_auth_cert(chain, key).ok().map(Arc::new)
    };
    let (known, foreign, revoked) = (showing("known")?, showing("foreign")?, showing("revoked")?);
    Some(Clients { known, foreign, revoked, without: Arc::new(config.with_no_client_auth()) })
}

/// A verifier that accepts every server certificate and signature. The signature schemes are those that the client
/// offers.
#[derive(Debug)]
struct AnyCertificate(Vec<SignatureScheme>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.clone()
    }
}
