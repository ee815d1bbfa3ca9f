//! Client certificates of a site (mutual TLS).

use std::path::PathBuf;

/// The client certificates that a site requests in the TLS handshake.
///
/// Such a site is served over TLS on TCP only. Its sessions are not resumed, so every connection proves its
/// certificate, and requests are not accepted as early data.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientCertificates {
    /// The absolute path of a PEM file with the certificate authorities that client certificates must chain to.
    pub ca: PathBuf,
    /// The absolute path of a PEM file with certificate revocation lists. If given, every certificate of a chain must
    /// be covered by a list that has not expired. With `None`, revocation is not checked.
    pub crl: Option<PathBuf>,
    /// The handling of clients without a certificate.
    pub mode: CertificateMode,
    /// The request fields that carry the certificate to the upstream: pairs of the field name and the part of the
    /// certificate. A client's own fields of these names are removed.
    pub fields: Vec<(String, CertificateField)>,
}

impl ClientCertificates {
    /// Returns settings that require a certificate issued under the authorities in this file, an absolute path, and
    /// send it to the upstream in `Client-Cert` (RFC 9440). No revocation lists are used.
    pub fn required(ca: impl Into<PathBuf>) -> Self {
        Self {
            ca: ca.into(),
            crl: None,
            mode: CertificateMode::Required,
            fields: vec![("Client-Cert".to_owned(), CertificateField::Certificate)],
        }
    }
}

/// The handling of clients without a certificate. A certificate that fails verification ends the handshake in both
/// modes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CertificateMode {
    /// A client without a certificate is rejected in the handshake. The default.
    #[default]
    Required,
    /// A client without a certificate is served, except by routes with
    /// [`require_certificate`](crate::config::Route::require_certificate).
    Optional,
}

/// The part of a client certificate that a field contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CertificateField {
    /// The certificate as a byte sequence of structured fields: `Client-Cert` of RFC 9440 §2.2.
    Certificate,
    /// The rest of the chain in the order in which the client sent it, without the end-entity certificate:
    /// `Client-Cert-Chain` of RFC 9440 §2.3. Not sent if the chain has one certificate.
    Chain,
    /// The SHA-256 of the certificate in DER, in lowercase hexadecimal.
    Fingerprint,
    /// The SHA-1 of the certificate in DER, in lowercase hexadecimal: nginx's `$ssl_client_fingerprint`.
    FingerprintSha1,
    /// The distinguished name of the issuer (RFC 4514): nginx's `$ssl_client_i_dn`.
    Issuer,
    /// The certificate in PEM, percent-encoded: nginx's `$ssl_client_escaped_cert`.
    Pem,
    /// The serial number, in uppercase hexadecimal: nginx's `$ssl_client_serial`.
    Serial,
    /// The distinguished name of the subject (RFC 4514): nginx's `$ssl_client_s_dn`.
    Subject,
    /// `SUCCESS`, or `NONE` for a client without a certificate: nginx's `$ssl_client_verify`.
    Verified,
}
