//! Which certificate does a server really show?

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Looks, and believes anybody: what is asked is only which certificate is shown, by somebody who has its key.
#[derive(Debug)]
struct Looker {
    provider: Arc<CryptoProvider>,
    rsa: bool,
}

impl ServerCertVerifier for Looker {
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
        all.into_iter().filter(|scheme| of_rsa(scheme) == self.rsa).collect()
    }
}

/// How a server is brought to its handshake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Greeting {
    /// TLS from the first byte.
    #[default]
    Tls,
    /// SMTP, and STARTTLS in it (RFC 3207).
    Smtp,
}

/// The serial number of the certificate that a server shows for a name, in hexadecimal digits without leading zeros.
/// `rsa` asks for a certificate with an RSA key, else for one with another; a server may have both.
///
/// # Errors
/// In words: no connection, no handshake, no certificate.
pub async fn served_serial(
    address: &str,
    greeting: Greeting,
    name: &str,
    rsa: bool,
    within: Duration,
) -> Result<String, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|why| why.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Looker { provider, rsa }))
        .with_no_client_auth();
    let server_name = ServerName::try_from(name.to_owned()).map_err(|why| format!("{name}: {why}"))?;
    let look = async {
        let mut tcp = TcpStream::connect(address).await.map_err(|why| format!("{address}: {why}"))?;
        if greeting == Greeting::Smtp {
            start_tls(&mut tcp).await.map_err(|why| format!("{address}: {why}"))?;
        }
        let tls = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(server_name, tcp).await;
        let tls = tls.map_err(|why| format!("{address}: the handshake for {name}: {why}"))?;
        let shown = tls.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let shown = shown.ok_or_else(|| format!("{address}: no certificate is shown"))?;
        crate::client::serial_of(shown).map_err(|why| format!("{address}: {why}"))
    };
    let late = |_| Err(format!("{address}: no handshake within {} s", within.as_secs()));
    tokio::time::timeout(within, look).await.unwrap_or_else(late)
}

async fn start_tls(tcp: &mut TcpStream) -> Result<(), String> {
    reply(tcp, "220", "the greeting").await?;
    for (command, code) in [("EHLO acme-dns01.invalid\r\n", "250"), ("STARTTLS\r\n", "220")] {
        tcp.write_all(command.as_bytes()).await.map_err(|why| why.to_string())?;
        reply(tcp, code, command.trim_end()).await?;
    }
    Ok(())
}

/// Reads one reply (RFC 5321 §4.2), and nothing of what follows it.
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
