//! TLS to a server, and what was wrong with it.

use rustls::pki_types::CertificateDer;
use rustls::{CertificateError, ClientConfig, RootCertStore};
use std::io;
use std::sync::Arc;

/// TLS that verifies: with the system's roots and those that are given.
pub(super) fn verifying(extra: &[CertificateDer<'static>]) -> Result<Arc<ClientConfig>, rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for root in extra {
        roots.add(root.clone())?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// What is wrong, and who can put it right.
pub(super) fn explained(why: &io::Error) -> String {
    let Some(inner) = why.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
        return if why.kind() == io::ErrorKind::UnexpectedEof {
            "the server closed the connection".to_owned()
        } else {
            why.to_string()
        };
    };
    match inner {
        rustls::Error::InvalidCertificate(certificate) => match certificate {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "the server's certificate has expired".to_owned()
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "the server's certificate is not valid yet; is this machine's clock right?".to_owned()
            }
            CertificateError::NotValidForName => "the server's certificate is for another name".to_owned(),
            CertificateError::NotValidForNameContext { expected, presented } => {
                let presented =
                    if presented.is_empty() { "no name".to_owned() } else { presented.join(", ") };
                format!("the server's certificate is for {presented}, not for {}", expected.to_str())
            }
            // A signature by another key of the same name is a stranger's too.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "the server's certificate comes from nobody this machine trusts".to_owned()
            }
            other => format!("the server's certificate: {other:?}"),
        },
        rustls::Error::InvalidMessage(_) => "the server speaks no TLS on this port".to_owned(),
        other => other.to_string(),
    }
}

/// The days until a certificate expires; negative once it has.
pub(super) fn days_left(certificate: &CertificateDer<'_>, now: i64) -> Option<i64> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    Some((parsed.validity().not_after.timestamp() - now) / 86_400)
}
