//! The verified client certificate of a connection, as used in decisions and request fields.

use crate::config::CertificateField;
use edge_http::encoding::{base64, hexadecimal};
use edge_http::sha1;

/// The client certificate of a connection, as seen by a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CertificateContext<'a> {
    /// The handshake requested no certificate, or did so under rules that are no longer in force. The default.
    #[default]
    NotAsked,
    /// The handshake requested a certificate and the client sent none.
    Absent,
    /// The client sent this certificate, it was verified, and the client proved possession of the key.
    Verified(&'a ClientCertificate),
}

/// A verified client certificate, with the parts that request fields may contain.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientCertificate {
    /// The chain in DER as the client sent it, the end-entity certificate first. Never empty for a verified
    /// certificate.
    pub chain: Vec<Vec<u8>>,
    /// The distinguished name of the subject (RFC 4514).
    pub subject: String,
    /// The distinguished name of the issuer (RFC 4514).
    pub issuer: String,
    /// The first common name of the subject. `None` if there is none, or it is not text.
    pub common_name: Option<String>,
    /// The serial number in uppercase hexadecimal.
    pub serial: String,
    /// The SHA-256 of the end-entity certificate in DER, in lowercase hexadecimal.
    pub fingerprint: String,
}

impl ClientCertificate {
    /// Creates a certificate from its chain in DER. All other fields are empty.
    pub fn new(chain: Vec<Vec<u8>>) -> Self {
        Self {
            chain,
            subject: String::new(),
            issuer: String::new(),
            common_name: None,
            serial: String::new(),
            fingerprint: String::new(),
        }
    }

    /// Returns the end-entity certificate in DER. Empty if the chain is empty.
    fn leaf(&self) -> &[u8] {
        self.chain.first().map_or(&[], Vec::as_slice)
    }

    /// Returns the value of a request field with this part of the certificate. `None` if the field is omitted: only
    /// [`CertificateField::Chain`] for a chain of one certificate.
    fn value(&self, field: CertificateField) -> Option<String> {
        Some(match field {
            CertificateField::Certificate => byte_sequence(self.leaf()),
            CertificateField::Chain => {
                let rest = self.chain.get(1..).filter(|rest| !rest.is_empty())?;
                rest.iter().map(|certificate| byte_sequence(certificate)).collect::<Vec<_>>().join(", ")
            }
            CertificateField::Fingerprint => self.fingerprint.clone(),
            CertificateField::FingerprintSha1 => hexadecimal(&sha1::of(&[self.leaf()])),
            CertificateField::Issuer => self.issuer.clone(),
            CertificateField::Pem => escaped_pem(self.leaf()),
            CertificateField::Serial => self.serial.clone(),
            CertificateField::Subject => self.subject.clone(),
            CertificateField::Verified => "SUCCESS".to_owned(),
        })
    }
}

impl CertificateContext<'_> {
    /// Returns the value of a request field with this part of the certificate, for the upstream. `None` if the field
    /// is omitted: every field but [`CertificateField::Verified`] without a certificate, and
    /// [`CertificateField::Chain`] for a chain of one.
    pub fn value(&self, field: CertificateField) -> Option<String> {
        match self {
            Self::Verified(certificate) => certificate.value(field),
            Self::Absent | Self::NotAsked => (field == CertificateField::Verified).then(|| "NONE".to_owned()),
        }
    }
}

/// Returns bytes in the form of a byte sequence of structured fields (RFC 9651 §4.1.8): Base64 between colons.
fn byte_sequence(bytes: &[u8]) -> String {
    format!(":{}:", base64(bytes))
}

/// Returns the certificate in PEM, percent-encoded except for unreserved characters (RFC 3986 §2.3), as nginx does.
fn escaped_pem(der: &[u8]) -> String {
    let encoded = base64(der);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in encoded.as_bytes().chunks(64) {
        pem.extend(line.iter().map(|byte| char::from(*byte)));
        pem.push('\n');
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    let mut escaped = String::with_capacity(pem.len() * 5 / 4);
    for byte in pem.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                escaped.push(char::from(byte));
            }
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_rfc_9440_and_of_nginx() {
        let mut certificate = ClientCertificate::new(vec![b"leaf".to_vec(), b"a".to_vec(), b"bc".to_vec()]);
        certificate.subject = "CN=ann".into();
        let facts = CertificateContext::Verified(&certificate);
        let value = |field| facts.value(field).expect("a value");
        assert_eq!(value(CertificateField::Certificate), ":bGVhZg==:");
        assert_eq!(value(CertificateField::Chain), ":YQ==:, :YmM=:");
        assert_eq!(value(CertificateField::Subject), "CN=ann");
        assert_eq!(value(CertificateField::Verified), "SUCCESS");
        assert_eq!(
            value(CertificateField::Pem),
            "-----BEGIN%20CERTIFICATE-----%0AbGVhZg%3D%3D%0A-----END%20CERTIFICATE-----%0A"
        );
        assert_eq!(value(CertificateField::FingerprintSha1).len(), 40);
        let alone = ClientCertificate::new(vec![b"leaf".to_vec()]);
        assert_eq!(CertificateContext::Verified(&alone).value(CertificateField::Chain), None);
        for none in [CertificateContext::Absent, CertificateContext::NotAsked] {
            assert_eq!(none.value(CertificateField::Verified).as_deref(), Some("NONE"));
            assert_eq!(none.value(CertificateField::Certificate), None);
        }
    }
}
