//! TLS handshakes that read the certificate a server presents.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Verifier that accepts every certificate, since only the serial number is read. The handshake signature is verified.
/// Offers the given signature schemes.
#[derive(Debug)]
struct PermissiveVerifier {
    provider: Arc<CryptoProvider>,
    signatures: OfferedSignatures,
}

impl ServerCertVerifier for PermissiveVerifier {
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
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let all = self.provider.signature_verification_algorithms.supported_schemes();
        let of_rsa = |scheme: &SignatureScheme| format!("{scheme:?}").starts_with("RSA");
        all.into_iter()
            .filter(|scheme| of_rsa(scheme) == (self.signatures == OfferedSignatures::Rsa))
            .collect()
    }
}

/// Protocol that precedes a TLS handshake on the connection: none, or SMTP with STARTTLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Greeting {
    /// No protocol: implicit TLS.
    #[default]
    Tls,
    /// SMTP with STARTTLS (RFC 3207).
    Smtp,
}

/// Error of reading the certificate that a server presents.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The text is not a valid server name.
    #[error("not a valid server name: `{0}`")]
    Name(String),
    /// The TCP connection failed.
    #[error("{address}: no connection")]
    Connection {
        /// Address of the server.
        address: String,
        /// Error of the operating system.
        source: std::io::Error,
    },
    /// The TLS handshake failed, or the connection broke during it.
    #[error("{address}: the handshake for {name} failed")]
    Tls {
        /// Address of the server.
        address: String,
        /// The requested server name.
        name: String,
        /// Error of TLS or of the connection.
        source: std::io::Error,
    },
    /// The server did not send the SMTP greeting, or did not accept EHLO or STARTTLS.
    #[error("{address}: {reply}")]
    StartTls {
        /// Address of the server.
        address: String,
        /// The command (or `the greeting`), and the unexpected reply or the error.
        reply: String,
    },
    /// The server presented no certificate, or its serial number cannot be parsed.
    #[error("{address}: no readable certificate was presented")]
    Certificate {
        /// Address of the server.
        address: String,
    },
    /// The handshake was not complete within the time limit.
    #[error("{address}: no handshake within {} s", within.as_secs())]
    TimedOut {
        /// Address of the server.
        address: String,
        /// The time limit that passed.
        within: Duration,
    },
}

/// The signature schemes that a client offers, by which a server with several certificates chooses one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OfferedSignatures {
    /// Only those of RSA keys.
    Rsa,
    /// Only those of other keys.
    NotRsa,
}

impl OfferedSignatures {
    /// Returns the schemes that select a certificate with this type of key, such as `ec256` or `rsa2048`.
    #[must_use]
    pub fn for_key_type(key_type: &str) -> Self {
        if key_type.starts_with("rsa") { Self::Rsa } else { Self::NotRsa }
    }
}

/// Returns the serial number of the certificate that a server presents for a name, in lowercase hexadecimal digits
/// without leading zeros. The certificate is not verified.
///
/// # Errors
/// Returns a [`HandshakeError`] if the name is not valid, the connection or handshake fails or takes longer than
/// `within`, or the server presents no certificate.
pub async fn served_serial(
    address: &str,
    greeting: Greeting,
    name: &str,
    signatures: OfferedSignatures,
    within: Duration,
) -> Result<String, HandshakeError> {
    let invalid = || HandshakeError::Name(name.to_owned());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|_| invalid())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(PermissiveVerifier { provider, signatures }))
        .with_no_client_auth();
    let server_name = ServerName::try_from(name.to_owned()).map_err(|_| invalid())?;
    let at = || address.to_owned();
    let look = async {
        let connected = TcpStream::connect(address).await;
        let mut tcp = connected.map_err(|source| HandshakeError::Connection { address: at(), source })?;
        if greeting == Greeting::Smtp {
            start_tls(&mut tcp).await.map_err(|reply| HandshakeError::StartTls { address: at(), reply })?;
        }
        let tls = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(server_name, tcp).await;
        let tls =
            tls.map_err(|source| HandshakeError::Tls { address: at(), name: name.to_owned(), source })?;
        let shown = tls.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let serial = shown.and_then(|shown| crate::client::serial_of(shown).ok());
        serial.ok_or_else(|| HandshakeError::Certificate { address: at() })
    };
    let late = |_| Err(HandshakeError::TimedOut { address: at(), within });
    tokio::time::timeout(within, look).await.unwrap_or_else(late)
}

/// Reads the SMTP greeting, and sends EHLO and STARTTLS. The error is the unexpected reply or a description.
async fn start_tls(tcp: &mut TcpStream) -> Result<(), String> {
    reply(tcp, "220", "the greeting").await?;
    for (command, code) in [("EHLO acme-dns01.invalid\r\n", "250"), ("STARTTLS\r\n", "220")] {
        tcp.write_all(command.as_bytes()).await.map_err(|why| why.to_string())?;
        reply(tcp, code, command.trim_end()).await?;
    }
    Ok(())
}

/// Reads one SMTP reply (RFC 5321 §4.2), possibly of several lines, and no byte after it. The error describes a reply
/// with a code other than `code`; `to` names the command.
async fn reply(tcp: &mut TcpStream, code: &str, to: &str) -> Result<(), String> {
    loop {
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') {
            if line.len() > 2048 {
                return Err(format!("the answer to {to} does not end"));
            }
            line.push(tcp.read_u8().await.map_err(|why| format!("{to}: {why}"))?);
        }
        let line = String::from_utf8_lossy(&line);
        if !line.starts_with(code) {
            return Err(format!("{to}: {}", line.trim_end()));
        }
        if line.as_bytes().get(3) != Some(&b'-') {
            return Ok(());
        }
    }
}
