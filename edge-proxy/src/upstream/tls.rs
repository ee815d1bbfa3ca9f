//! The client side of TLS to an upstream. Verification cannot be disabled.

use super::pem::{UpstreamTlsError, certificates};
use super::pin::PinVerifier;
use edge_policy::config::UpstreamTls;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use std::sync::Arc;

/// The TLS configurations for one upstream.
#[derive(Debug)]
pub(crate) struct ClientTls {
    /// The configuration for requests, with the ALPN protocol `h2` for an upstream of HTTP/2, else `http/1.1`.
    pub(crate) requests: Arc<ClientConfig>,
    /// The configuration for connections that are to be switched to another protocol, with the ALPN protocol
    /// `http/1.1`.
    pub(crate) switches: Arc<ClientConfig>,
}

impl ClientTls {
    /// Reads the files and creates the TLS configurations of an upstream. If `http2` is true, requests offer only `h2`
    /// by ALPN; protocol switches always use HTTP/1.1.
    ///
    /// # Errors
    /// [`UpstreamTlsError`] if a file cannot be used, `certificate` and `key` are not set together, or there are no
    /// root certificates.
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

/// Reads and checks the files of an upstream's TLS settings as at a start, without connecting.
///
/// # Errors
/// [`UpstreamTlsError`] with which [`Builder::start`](crate::Builder::start) and a reload would fail.
pub fn check_upstream_tls(tls: &UpstreamTls) -> Result<(), UpstreamTlsError> {
    client_config(tls).map(drop)
}

/// Reads the files and creates a TLS configuration without ALPN, which verifies servers by pins if there are any, else
/// by root certificates, and presents the client certificate if there is one.
///
/// # Errors
/// [`UpstreamTlsError`] if a file cannot be used, `certificate` and `key` are not set together, or there are no root
/// certificates.
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

/// Returns the trusted root certificates: those in the configured file, or else those of the system, of which invalid
/// ones are skipped.
///
/// # Errors
/// [`UpstreamTlsError::NoRoots`] if the system has none; [`UpstreamTlsError::File`] or [`UpstreamTlsError::Refused`]
/// if the file cannot be used.
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
