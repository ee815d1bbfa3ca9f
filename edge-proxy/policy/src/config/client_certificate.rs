//! Client certificates of a site (mutual TLS).

use std::path::PathBuf;

/// The client certificates that a site asks for in the TLS handshake.
///
/// Such a site is served over TLS on TCP. Its sessions are not resumed, so that every connection proves its certificate anew,
/// and no request of it is taken from early data.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientCertificates {
    /// A PEM file with the authorities whose certificates are accepted.
    pub ca: PathBuf,
    /// A PEM file with certificate revocation lists. If given, each certificate of a chain needs one that is in force.
    pub crl: Option<PathBuf>,
    /// The treatment of clients without a certificate.
    pub mode: CertificateMode,
    /// The fields that tell the service of the certificate. No client can set them itself.
    pub fields: Vec<(String, CertificateField)>,
}

impl ClientCertificates {
    /// Returns the requirement of a certificate that this authority issued, which the service sees in `Client-Cert` (RFC 9440).
    pub fn required(ca: impl Into<PathBuf>) -> Self {
        Self {
            ca: ca.into(),
            crl: None,
            mode: CertificateMode::Required,
            fields: vec![("Client-Cert".to_owned(), CertificateField::Certificate)],
        }
    }
}

/// The treatment of clients without a certificate. One that does not verify ends the handshake in either mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CertificateMode {
    /// The handshake fails.
    #[default]
    Required,
    /// They are served, except by routes with [`require_certificate`](crate::config::Route::require_certificate).
    Optional,
}

/// The part of a client certificate that a field contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CertificateField {
    /// The certificate as a byte sequence of structured fields: `Client-Cert` of RFC 9440 §2.2.
    Certificate,
    /// The rest of the chain as the client sent it, without the certificate: `Client-Cert-Chain` of RFC 9440 §2.3.
    Chain,
    /// The SHA-256 of the certificate, in hexadecimal.
    Fingerprint,
    /// The SHA-1 of the certificate, in hexadecimal: nginx's `$ssl_client_fingerprint`.
    FingerprintSha1,
    /// The distinguished name of the issuer (RFC 4514): nginx's `$ssl_client_i_dn`.
    Issuer,
    /// The certificate in PEM, percent-encoded: nginx's `$ssl_client_escaped_cert`.
    Pem,
    /// The serial number, in hexadecimal: nginx's `$ssl_client_serial`.
    Serial,
    /// The distinguished name of the subject (RFC 4514): nginx's `$ssl_client_s_dn`.
    Subject,
    /// `SUCCESS`, or `NONE` without a certificate: nginx's `$ssl_client_verify`.
    Verified,
}
