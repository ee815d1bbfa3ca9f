//! The check of the files that client certificates are verified by.

use super::{CertificateRules, ClientCertificatesError, authorities, name, read, revocation_lists};
use edge_policy::config::ClientCertificates;
use std::time::{SystemTime, UNIX_EPOCH};

/// Reads the files that client certificates are verified by, and returns their faults at the time `now`. Empty if
/// there are none. If a file cannot be read or parsed, that is the only fault reported of the file.
///
/// [`NotAuthority`](ClientCertificatesError::NotAuthority) and [`Expired`](ClientCertificatesError::Expired) do not
/// prevent the proxy from serving; certificates that depend on them are then rejected.
pub fn check_client_certificates(
    asked: &ClientCertificates,
    now: SystemTime,
) -> Vec<ClientCertificatesError> {
    let now = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
    let mut found = of_authorities(asked).unwrap_or_else(|why| vec![why]);
    found.extend(of_revocations(asked, now).unwrap_or_else(|why| vec![why]));
    let is_usable = |fault: &ClientCertificatesError| {
        matches!(
            fault,
            ClientCertificatesError::NotAuthority { .. } | ClientCertificatesError::Expired { .. }
        )
    };
    if found.iter().all(is_usable) {
        found.extend(CertificateRules::read(asked).and_then(|rules| rules.verifier(asked)).err());
    }
    found
}

/// Returns the certificates in the file of the authorities that are not certificates of an authority, as faults. Those
/// before X.509 version 3, which do not contain that information, are accepted.
///
/// # Errors
/// The fault by which the file cannot be read or parsed.
fn of_authorities(
    asked: &ClientCertificates,
) -> Result<Vec<ClientCertificatesError>, ClientCertificatesError> {
    let path = &asked.ca;
    let damaged =
        || ClientCertificatesError::Pem { path: path.clone(), expected: "at least one certificate" };
    let mut found = Vec::new();
    for certificate in authorities(path, &read(path)?)? {
        let (_, parsed) = x509_parser::parse_x509_certificate(&certificate).map_err(|_| damaged())?;
        // Before version 3, certificates do not state whether they belong to an authority.
        let says = parsed.version() == x509_parser::x509::X509Version::V3;
        if says && !parsed.is_ca() {
            let subject = name::rfc_4514(parsed.subject());
            found.push(ClientCertificatesError::NotAuthority { path: path.clone(), subject });
        }
    }
    Ok(found)
}

/// Returns the revocation lists that have expired at `now`, in seconds since 1970, as faults. Empty if no file is
/// configured.
///
/// # Errors
/// The fault by which the file cannot be read or parsed.
fn of_revocations(
    asked: &ClientCertificates,
    now: i64,
) -> Result<Vec<ClientCertificatesError>, ClientCertificatesError> {
    let Some(path) = &asked.crl else { return Ok(Vec::new()) };
    let damaged =
        || ClientCertificatesError::Pem { path: path.clone(), expected: "at least one revocation list" };
    let mut found = Vec::new();
    for list in revocation_lists(path, &read(path)?)? {
        let (_, parsed) = x509_parser::parse_x509_crl(&list).map_err(|_| damaged())?;
        if parsed.next_update().is_some_and(|until| until.timestamp() <= now) {
            let issuer = name::rfc_4514(parsed.issuer());
            found.push(ClientCertificatesError::Expired { path: path.clone(), issuer });
        }
    }
    Ok(found)
}
