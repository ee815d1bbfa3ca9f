//! TLS connections that are verified as Go does.

use super::tls_error::NoAlternativeName;
use crate::effective::{ClientFiles, EffectiveMailer};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
};
use std::sync::Arc;

/// A client certificate with its chain, and its private key.
pub(super) type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Reads the client certificate that Forgejo presents. Returns `None` if it presents none. Forgejo reads both files for
/// every message, so that a fault stops messages, and not the start.
///
/// # Errors
/// Returns a description if a file is missing, cannot be read, or does not match the other.
pub(super) fn identity(mailer: &EffectiveMailer) -> Result<Option<Identity>, String> {
    if !mailer.client_certificate {
        return Ok(None);
    }
    let ClientFiles { certificate: chain, key } = &mailer.client_files;
    let read = |name: &str, path: &str| {
        if path.is_empty() { Err(format!("{name} is missing")) } else { Ok(path.to_owned()) }
    };
    // A relative path refers to Forgejo's working directory, which may differ from that of this process.
    let hint = |path: &str| {
        if path.starts_with('/') {
            ""
        } else {
            "; the path is relative to Forgejo's working folder: write an absolute one"
        }
    };
    let chain = read("CLIENT_CERT_FILE", chain)?;
    let key = read("CLIENT_KEY_FILE", key)?;
    let certificates: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(&chain).and_then(Iterator::collect::<Result<_, _>>);
    let certificates =
        certificates.map_err(|why| format!("CLIENT_CERT_FILE: {chain}: {why}{}", hint(&chain)))?;
    if certificates.is_empty() {
        return Err(format!("CLIENT_CERT_FILE: {chain}: not a PEM file with a certificate"));
    }
    let secret = PrivateKeyDer::from_pem_file(&key)
        .map_err(|why| format!("CLIENT_KEY_FILE: {key}: {why}{}", hint(&key)))?;
    // Go compares certificate and key when it loads them.
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    rustls::sign::CertifiedKey::from_der(certificates.clone(), secret.clone_key(), &provider)
        .map_err(|why| format!("CLIENT_KEY_FILE: {key}: not the key of {chain}: {why}"))?;
    Ok(Some((certificates, secret)))
}

/// Returns the server name for TLS. If the host is not a valid name, returns a placeholder if certificates are not
/// verified, and otherwise `None`.
pub(super) fn server_name(mailer: &EffectiveMailer) -> Option<ServerName<'static>> {
    let name = ServerName::try_from(mailer.host.clone()).ok();
    name.or_else(|| {
        mailer.accepts_any_certificate.then(|| ServerName::try_from("unnamed.invalid").ok()).flatten()
    })
}

/// Returns a configuration that verifies the server by the system's root certificates and those in `extra`. As Go does,
/// it also accepts a certificate that is itself one of them, if it is valid for the name and the current time.
///
/// # Errors
/// Returns an error if a certificate of `extra` or the identity is not valid.
pub(super) fn verifying(
    extra: &[CertificateDer<'static>],
    identity: Option<Identity>,
) -> Result<Arc<ClientConfig>, Error> {
    let mut roots = RootCertStore::empty();
    let mut pinned = rustls_native_certs::load_native_certs().certs;
    roots.add_parsable_certificates(pinned.iter().cloned());
    for root in extra {
        roots.add(root.clone())?;
        pinned.push(root.clone());
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
    let inner = inner.map_err(|why| Error::General(why.to_string()))?;
    config(provider, Arc::new(GoCompatibleVerifier { inner, pinned }), identity)
}

/// Returns a configuration that accepts any certificate, as `FORCE_TRUST_SERVER_CERT` does. It must be used only for
/// sessions with a made-up password.
///
/// # Errors
/// Returns an error if the identity is not valid.
pub(super) fn accepting(identity: Option<Identity>) -> Result<Arc<ClientConfig>, Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    config(provider.clone(), Arc::new(PermissiveVerifier(provider)), identity)
}

/// Returns a configuration with a verifier and an optional client certificate.
///
/// # Errors
/// Returns an error if the identity is not valid.
fn config(
    provider: Arc<rustls::crypto::CryptoProvider>,
    verifier: Arc<dyn ServerCertVerifier>,
    identity: Option<Identity>,
) -> Result<Arc<ClientConfig>, Error> {
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let config = match identity {
        Some((chain, key)) => config.with_client_auth_cert(chain, key)?,
        None => config.with_no_client_auth(),
    };
    Ok(Arc::new(config))
}

/// The WebPKI verifier, with Go's rules for a certificate that is itself trusted, and for one without names.
#[derive(Debug)]
struct GoCompatibleVerifier {
    inner: Arc<WebPkiServerVerifier>,
    pinned: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for GoCompatibleVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let outcome =
            self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        if outcome.is_ok() {
            return outcome;
        }
        let (_, parsed) = x509_parser::parse_x509_certificate(end_entity)
            .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
        // WebPKI knows version 3 only, and names no reason for others.
        let is_unnamed = matches!(parsed.subject_alternative_name(), Ok(None));
        let is_pinned = self.pinned.iter().any(|root| root.as_ref() == end_entity.as_ref());
        if !is_unnamed && !is_pinned {
            return outcome;
        }
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        if now > parsed.validity().not_after.timestamp() {
            return Err(Error::InvalidCertificate(CertificateError::Expired));
        }
        if now < parsed.validity().not_before.timestamp() {
            return Err(Error::InvalidCertificate(CertificateError::NotValidYet));
        }
        // Go compares the names before it looks at the chain (`Certificate.Verify`).
        if is_unnamed {
            let why = OtherError(Arc::new(NoAlternativeName));
            return Err(Error::InvalidCertificate(CertificateError::Other(why)));
        }
        rustls::client::verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// A verifier that accepts any certificate. Signatures of the handshake are verified.
#[derive(Debug)]
struct PermissiveVerifier(Arc<rustls::crypto::CryptoProvider>);

impl ServerCertVerifier for PermissiveVerifier {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Returns the whole days until a certificate expires; negative after its expiry. `now` is in seconds since 1970-01-01
/// UTC. `None` if the certificate cannot be parsed.
pub(super) fn days_left(certificate: &CertificateDer<'_>, now: i64) -> Option<i64> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    Some((parsed.validity().not_after.timestamp() - now) / 86_400)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::tls_error::{explained, fix};
    use std::time::Duration;

    /// Verifies a certificate for `mail.example.org` with a root of its own, and returns the error and its fix.
    fn refused(certificate: &[u8]) -> (String, &'static str) {
        let read = |pem: &[u8]| CertificateDer::from_pem_slice(pem).expect("a certificate");
        let root = read(include_bytes!("certificates/root.pem"));
        let mut roots = RootCertStore::empty();
        roots.add(root).expect("a root");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
        let verifier = GoCompatibleVerifier { inner: inner.expect("a verifier"), pinned: Vec::new() };
        let name = ServerName::try_from("mail.example.org").expect("a name");
        // In January 2027.
        let now = UnixTime::since_unix_epoch(Duration::from_secs(1_800_000_000));
        let why = verifier.verify_server_cert(&read(certificate), &[], &name, &[], now);
        let why = std::io::Error::other(why.expect_err("it is refused"));
        (explained(&why), fix(&why, true))
    }

    #[test]
    fn a_certificate_without_alternative_names_is_said_to_have_none() {
        for certificate in
            [&include_bytes!("certificates/version-1.pem")[..], include_bytes!("certificates/no-names.pem")]
        {
            let (why, fix) = refused(certificate);
            assert!(why.contains("no subject alternative name") && why.contains("Common Name"), "{why}");
            assert!(fix.contains("subject alternative name") && !fix.contains("SMTP_ADDR"), "{fix}");
        }
    }
}
