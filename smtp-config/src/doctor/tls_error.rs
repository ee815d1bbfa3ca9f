//! Explanations of TLS errors.

use rustls::{CertificateError, Error};
use std::io;

/// Error of a certificate without a subject alternative name. Go's text is "certificate relies on legacy Common Name
/// field, use SANs instead" (`HostnameError` in `crypto/x509`).
#[derive(Debug, thiserror::Error)]
#[error(
    "the server's certificate has no subject alternative name, and Go ignores the legacy Common Name field"
)]
pub(super) struct NoAlternativeName;

/// Returns a human-readable description of a TLS error.
pub(super) fn explained(why: &io::Error) -> String {
    let Some(inner) = tls_error(why) else {
        return if why.kind() == io::ErrorKind::UnexpectedEof {
            "the server closed the connection".to_owned()
        } else {
            why.to_string()
        };
    };
    match inner {
        Error::InvalidCertificate(certificate) => match certificate {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "the server's certificate has expired".to_owned()
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "the server's certificate is not valid yet; is this machine's clock right?".to_owned()
            }
            CertificateError::NotValidForName => "the server's certificate is for another name".to_owned(),
            CertificateError::NotValidForNameContext { expected, presented } => {
                let names: Vec<&str> = presented.iter().map(|name| bare(name)).collect();
                let presented = if names.is_empty() { "no name".to_owned() } else { names.join(", ") };
                format!("the server's certificate is for {presented}, not for {}", expected.to_str())
            }
            // A signature by another key of the same name is untrusted too; so is a self-signed authority.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => UNTRUSTED.to_owned(),
            CertificateError::Other(other) if other.0.is::<NoAlternativeName>() => {
                NoAlternativeName.to_string()
            }
            CertificateError::Other(_) => {
                format!("{UNTRUSTED}: it is self-signed, as the certificate of an authority")
            }
            other => format!("the server's certificate is not valid: {other}"),
        },
        Error::InvalidMessage(_) => "the server does not speak TLS on this port".to_owned(),
        Error::AlertReceived(rustls::AlertDescription::HandshakeFailure) => {
            "no cipher suite in common; Go also offers TLS 1.2 suites with CBC, which cannot be tried here"
                .to_owned()
        }
        other => other.to_string(),
    }
}

/// Description of a certificate from an unknown issuer.
const UNTRUSTED: &str = "the server's certificate comes from an authority that this machine does not trust";

/// Action that resolves a certificate without names.
const RENAME: &str = "issue the certificate anew, with the server's name as a subject alternative name";

/// Returns a name of a certificate without the kind that rustls adds, as in `DnsName("mail.example.org")`.
fn bare(presented: &str) -> &str {
    let inner = presented.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(presented).trim_matches('"')
}

/// Returns the action that resolves a TLS error. `implicit` is whether TLS was used from the beginning.
pub(super) fn fix(why: &io::Error, implicit: bool) -> &'static str {
    match tls_error(why) {
        Some(Error::InvalidMessage(_)) if implicit => {
            "write PROTOCOL = smtp+starttls for this port, or take port 465"
        }
        Some(Error::InvalidCertificate(certificate)) => match certificate {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => "renew the certificate",
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "set this machine's clock, or renew the certificate"
            }
            CertificateError::Other(other) if other.0.is::<NoAlternativeName>() => RENAME,
            CertificateError::NotValidForNameContext { presented, .. } if presented.is_empty() => RENAME,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "set SMTP_ADDR to a name that the certificate has"
            }
            _ => "add the certificate, or the authority that issued it, to the system's trust store",
        },
        Some(Error::AlertReceived(_)) => "let the server offer TLS 1.3, or TLS 1.2 with AES-GCM or ChaCha20",
        _ => "look at the server's log",
    }
}

/// Returns the TLS error within an I/O error. `None` if there is none.
fn tls_error(why: &io::Error) -> Option<&Error> {
    why.get_ref().and_then(|inner| inner.downcast_ref::<Error>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_shown_without_their_kind() {
        let shown = ["DnsName(\"*.other.test\")", "IpAddress(192.0.2.1)", "mail.example.org"].map(bare);
        assert_eq!(shown, ["*.other.test", "192.0.2.1", "mail.example.org"]);
    }
}
