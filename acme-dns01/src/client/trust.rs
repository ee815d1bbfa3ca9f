//! TLS configurations of clients: the root certificates by which servers are verified.

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::sync::Arc;

/// Returns a configuration that trusts the system's root certificates and those in `extra_roots` (PEM), and presents no
/// client certificate. System root certificates that cannot be parsed are ignored, as in other clients.
///
/// # Errors
/// Returns a description if no root certificate is available, or `extra_roots` is not valid PEM.
pub(crate) fn client_config(extra_roots: Option<&str>) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for found in CertificateDer::pem_slice_iter(extra_roots.unwrap_or_default().as_bytes()) {
        let found = found.map_err(|why| why.to_string())?;
        roots.add(found).map_err(|why| why.to_string())?;
    }
    if roots.is_empty() {
        return Err("there are none: install ca-certificates".to_owned());
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|why| why.to_string())?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
