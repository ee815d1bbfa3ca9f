//! The client side of TLS to an upstream. Verification cannot be turned off.

use super::pin::PinVerifier;
use crate::config::UpstreamTls;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use std::path::{Path, PathBuf};
use std::sync::Arc;

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

/// TLS to one upstream.
#[derive(Debug)]
pub(crate) struct ClientTls {
    /// The configuration for requests.
    pub(crate) requests: Arc<ClientConfig>,
    /// For connections that are to be switched to another protocol, which HTTP/1.1 does.
    pub(crate) switches: Arc<ClientConfig>,
}

impl ClientTls {
    /// Makes the configuration for one upstream.
    pub(crate) fn new(tls: &UpstreamTls, http2: bool) -> Result<Self, UpstreamTlsError> {
        let mut config = client_config(tls)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let switches = Arc::new(config);
        let requests = if http2 {
            let mut config = ClientConfig::clone(&switches);
            config.alpn_protocols = vec![b"h2".to_vec()];
            Arc::new(config)
        } else {
            switches.clone()
        };
        Ok(Self { requests, switches })
    }
}

fn client_config(tls: &UpstreamTls) -> Result<ClientConfig, UpstreamTlsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let algorithms = provider.signature_verification_algorithms;
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let builder = if tls.pins.is_empty() {
        builder.with_root_certificates(roots(tls)?)
    } else {
        let verifier = PinVerifier::new(&tls.pins, algorithms)?;
        builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
    };
    Ok(match (&tls.certificate, &tls.key) {
        (Some(chain), Some(key)) => {
            let secret = PrivateKeyDer::from_pem_file(key)
                .map_err(|why| UpstreamTlsError::File { path: key.clone(), why: why.to_string() })?;
            builder.with_client_auth_cert(certificates(chain)?, secret)?
        }
        (None, None) => builder.with_no_client_auth(),
        _ => return Err(UpstreamTlsError::Half),
    })
}

/// The authorities that are believed.
fn roots(tls: &UpstreamTls) -> Result<RootCertStore, UpstreamTlsError> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = &tls.ca {
        for certificate in certificates(path)? {
            roots.add(certificate)?;
        }
    } else {
        let system = rustls_native_certs::load_native_certs();
        let (added, _) = roots.add_parsable_certificates(system.certs);
        if added == 0 {
            return Err(UpstreamTlsError::NoRoots);
        }
    }
    Ok(roots)
}
