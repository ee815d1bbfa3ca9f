//! Reading certificates for TLS to upstreams, and the errors of its set-up.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::path::{Path, PathBuf};

/// The error of TLS to an upstream that cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpstreamTlsError {
    /// A file cannot be read, or has no PEM of the kind.
    #[error("{}: {why}", path.display())]
    File {
        /// The file that cannot be parsed.
        path: PathBuf,
        /// The reason, as the parser reports it.
        why: String,
    },
    /// A certificate without its key or the other way round.
    #[error("`certificate` and `key` go together")]
    Half,
    /// rustls refuses the content of the files.
    #[error("rustls refuses the certificates or the key")]
    Refused(#[from] rustls::Error),
    /// The system has no certificate authorities.
    #[error(
        "the system has no certificate authorities: install the package ca-certificates, or name a file by `ca`"
    )]
    NoRoots,
}

pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, UpstreamTlsError> {
    let problem = |why: String| UpstreamTlsError::File { path: path.into(), why };
    let found: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|why| problem(why.to_string()))?;
    if found.is_empty() { Err(problem("no certificate in it".into())) } else { Ok(found) }
}
