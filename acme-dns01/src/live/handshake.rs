//! Which certificate does a server really show?

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::sync::Arc;
use std::time::Duration;
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

/// The serial number of the certificate that a server shows for a name, in hexadecimal digits without leading zeros.
/// `rsa` asks for a
/// certificate with an RSA key, else for one with another; a server may have both.
///
/// # Errors
/// In words: no connection, no handshake, no certificate.
pub async fn served_serial(address: &str, name: &str, rsa: bool, within: Duration) -> Result<String, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|why| why.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Looker { provider, rsa }))
        .with_no_client_auth();
    let server_name = ServerName::try_from(name.to_owned()).map_err(|why| format!("{name}: {why}"))?;
    let look = async {
        let tcp = TcpStream::connect(address).await.map_err(|why| format!("{address}: {why}"))?;
        let tls = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(server_name, tcp).await;
        let tls = tls.map_err(|why| format!("{address}: the handshake for {name}: {why}"))?;
        let shown = tls.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let shown = shown.ok_or_else(|| format!("{address}: no certificate is shown"))?;
        crate::client::serial_of(shown).map_err(|why| format!("{address}: {why}"))
    };
    let late = |_| Err(format!("{address}: no handshake within {} s", within.as_secs()));
    tokio::time::timeout(within, look).await.unwrap_or_else(late)
}
