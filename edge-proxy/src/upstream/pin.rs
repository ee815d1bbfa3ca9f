//! The verification of server certificates by pins.
//!
//! A pin replaces the verification of issuer, name and validity period, so self-signed certificates, certificates
//! without a name and those with CA:TRUE are accepted. The possession of the private key is verified as usual.

use super::pem::{UpstreamTlsError, certificates};
use aws_lc_rs::digest::{SHA256, digest};
use edge_policy::config::Pin;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};

/// A certificate verifier that accepts only pinned certificates, and certificates with pinned keys.
#[derive(Debug)]
pub(super) struct PinVerifier {
    /// The pinned certificates.
    certificates: Vec<CertificateDer<'static>>,
    /// The SHA-256 hashes of pinned keys (SubjectPublicKeyInfo).
    keys: Vec<[u8; 32]>,
    /// The supported signature algorithms.
    algorithms: WebPkiSupportedAlgorithms,
}

impl PinVerifier {
    /// Creates a verifier for these pins, and reads the files of pinned certificates. All certificates of a file are
    /// pinned.
    ///
    /// # Errors
    /// [`UpstreamTlsError::File`] if such a file cannot be read or parsed, or contains no certificate.
    pub(super) fn new(pins: &[Pin], algorithms: WebPkiSupportedAlgorithms) -> Result<Self, UpstreamTlsError> {
        let mut verifier = Self { certificates: Vec::new(), keys: Vec::new(), algorithms };
        for pin in pins {
            match pin {
                Pin::Certificate(path) => verifier.certificates.extend(certificates(path)?),
                Pin::Key(hash) => verifier.keys.push(*hash),
            }
        }
        Ok(verifier)
    }
}

/// Returns the SubjectPublicKeyInfo of a certificate in DER.
///
/// # Errors
/// `BadEncoding` if the certificate cannot be parsed.
fn public_key<'a>(certificate: &'a CertificateDer<'_>) -> Result<&'a [u8], Error> {
    let parsed = x509_parser::parse_x509_certificate(certificate);
    let (_, certificate) = parsed.map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
    Ok(certificate.tbs_certificate.subject_pki.raw)
}

impl ServerCertVerifier for PinVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.certificates.iter().any(|pinned| pinned == end_entity) {
            return Ok(ServerCertVerified::assertion());
        }
        let hash = digest(&SHA256, public_key(end_entity)?);
        if self.keys.iter().any(|key| key == hash.as_ref()) {
            return Ok(ServerCertVerified::assertion());
        }
        Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        // By the key alone, since the pin vouches for the rest of the certificate.
        let key = SubjectPublicKeyInfoDer::from(public_key(certificate)?);
        verify_tls13_signature_with_raw_key(message, &key, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
