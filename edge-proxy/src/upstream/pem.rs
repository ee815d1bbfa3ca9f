//! The reading of certificates for TLS to upstreams, and its errors.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::path::{Path, PathBuf};

/// The error of TLS settings of an upstream that cannot be applied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpstreamTlsError {
    /// A file cannot be read or parsed, or contains no certificate or private key in PEM as required.
    #[error("{}: {why}", path.display())]
    File {
        /// The path of the file.
        path: PathBuf,
        /// The error of the parser or the system.
        why: String,
    },
    /// Only one of `certificate` and `key` is set.
    #[error("`certificate` and `key` go together")]
    Half,
    /// rustls rejected the certificates, the key or the pins, such as a key that does not belong to the certificate.
    #[error("rustls refuses the certificates or the key")]
    Refused(#[from] rustls::Error),
    /// No file of authorities is configured, and the system's store of certificate authorities is empty.
    #[error(
        "the system has no certificate authorities: install the package ca-certificates, or name a file by `ca`"
    )]
    NoRoots,
}

/// Reads all certificates of a PEM file, in their order.
///
/// # Errors
/// [`UpstreamTlsError::File`] if the file cannot be read or parsed, or contains no certificate.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, UpstreamTlsError> {
    let problem = |why: String| UpstreamTlsError::File { path: path.into(), why };
    let found: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|why| problem(why.to_string()))?;
    if found.is_empty() { Err(problem("no certificate in it".into())) } else { Ok(found) }
}
