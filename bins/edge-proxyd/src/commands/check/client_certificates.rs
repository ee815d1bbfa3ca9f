//! The check of the files by which client certificates are verified: authorities and revocation lists.

use super::files::is_service;
use super::findings::Findings;
use crate::config::{NamedFile, Settings};
use cli_support::finding::Severity;
use edge_proxy::ClientCertificatesError as Fault;
use std::io;
use std::time::SystemTime;

/// Adds a finding for each fault of the authorities and revocation lists of sites. A file that this user may not read
/// is a warning, unless this process is the service; so are certificates that are no authorities, and expired
/// revocation lists.
pub(super) fn find(settings: &Settings, findings: &mut Findings) {
    let now = SystemTime::now();
    for site in &settings.proxy.sites {
        let Some(asked) = &site.client_certificates else { continue };
        for fault in edge_proxy::check_client_certificates(asked, now) {
            let (path, severity, text) = match &fault {
                Fault::File { path, source } => {
                    let here = source.kind() == io::ErrorKind::PermissionDenied && !is_service();
                    let fix = match (source.kind(), here) {
                        (_, true) => "by this user; the service may be allowed to",
                        (io::ErrorKind::NotFound, _) => "write the path of a PEM file that is there",
                        _ => "let the service read it",
                    };
                    let severity = if here { Severity::Warning } else { Severity::Error };
                    (path, severity, format!("cannot be read ({source}): {fix}"))
                }
                Fault::Pem { path, expected } => {
                    let text =
                        format!("not a valid PEM file with {expected}: {}", from_der(*path == asked.ca));
                    (path, Severity::Error, text)
                }
                Fault::NotAuthority { path, subject } => {
                    let text = format!(
                        "the certificate of {subject} is not that of an authority, so it verifies no client: write the file of the authority that issues to clients"
                    );
                    (path, Severity::Warning, text)
                }
                Fault::Expired { path, issuer } => {
                    let text = format!(
                        "the revocation list of {issuer} has expired, so every client is refused: have the authority issue a new one, and reload"
                    );
                    (path, Severity::Warning, text)
                }
                Fault::Authority { path, source } => {
                    let text = format!(
                        "a certificate in it cannot be used as an authority ({source}): write the file of the authority that issues to clients"
                    );
                    (path, Severity::Error, text)
                }
                Fault::Verifier(why) => {
                    let text = format!(
                        "cannot be used ({why}): have the authority issue a complete list of version 2 (RFC 5280)"
                    );
                    (asked.crl.as_ref().unwrap_or(&asked.ca), Severity::Error, text)
                }
                // Of other kinds there are none before a server is built.
                _ => continue,
            };
            let key = if *path == asked.ca { "client_certificates.ca" } else { "client_certificates.crl" };
            let is_it = |named: &&NamedFile| named.path == *path && named.key.ends_with(key);
            settings.files.iter().filter(is_it).for_each(|named| findings.of_file(named, severity, &text));
        }
    }
}

/// Returns the advice to convert a file from DER to PEM by `openssl`: a certificate if `of_authority`, otherwise a
/// revocation list.
const fn from_der(of_authority: bool) -> &'static str {
    if of_authority {
        "if it is DER, openssl x509 -inform der -in FILE -out FILE.pem makes one"
    } else {
        "if it is DER, openssl crl -inform der -in FILE -out FILE.pem makes one"
    }
}
