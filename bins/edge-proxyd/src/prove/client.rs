//! The client: asks one request from one address, over plain TCP or TLS.

use super::job::{Probe, Received, Reply};
use super::recorder::RECORD;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};
use socket2::{Domain, Socket, Type};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// The longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks a request. An answer that does not come is none.
pub(super) fn ask(request: &Probe, tls: &Arc<ClientConfig>) -> Reply {
    connected(request).and_then(|stream| answer(request, tls, stream)).unwrap_or_default()
}

/// Connects from the address of the request.
fn connected(request: &Probe) -> Option<TcpStream> {
    let domain = if request.to.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(domain, Type::STREAM, None).ok()?;
    socket.bind(&SocketAddr::new(request.from, 0).into()).ok()?;
    socket.connect_timeout(&request.to.into(), PATIENCE).ok()?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.set_write_timeout(Some(PATIENCE)).ok()?;
    Some(stream)
}

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

fn exchange(request: &Probe, mut stream: impl Read + Write) -> Option<Reply> {
    let mut head = format!("{} {} HTTP/1.1\r\nHost: {}\r\n", request.method, request.path, request.host);
    for (name, value) in &request.fields {
        head += &format!("{name}: {value}\r\n");
    }
    head += "Connection: close\r\n\r\n";
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
    Some(Reply {
        status: head.get(9..12).and_then(|status| status.parse().ok()),
        location: field("location"),
        service: field(RECORD).and_then(|hex| received(&hex)),
    })
}

/// Reads what a recorder received.
fn received(hex: &str) -> Option<Received> {
    let bytes: Option<Vec<u8>> =
        (0..hex.len() / 2).map(|i| u8::from_str_radix(hex.get(2 * i..2 * i + 2)?, 16).ok()).collect();
    let (name, head): (String, String) = serde_json::from_slice(&bytes?).ok()?;
    let mut lines = head.lines();
    let line = lines.next()?.trim_end_matches(" HTTP/1.1").trim_end_matches(" HTTP/1.0").to_owned();
    let fields = lines.filter_map(|line| line.split_once(':'));
    let fields = fields.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
    Some(Received { name, line, fields })
}

/// Returns the settings of a client that takes any certificate: who answers is decided by the namespace.
pub(super) fn tls() -> Option<Arc<ClientConfig>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let schemes = provider.signature_verification_algorithms.supported_schemes();
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().ok()?;
    let config = config.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(schemes)));
    Some(Arc::new(config.with_no_client_auth()))
}

/// A verifier that accepts every certificate, for peers within a namespace.
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
