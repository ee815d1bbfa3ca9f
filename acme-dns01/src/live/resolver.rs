//! A rustls certificate resolver whose certificates can be replaced at runtime.

use crate::lifetime::CertificateInfo;
use crate::store::CertificatePair;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use secrecy::ExposeSecret;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::broadcast;

/// Error of putting a certificate with its key into use. The pair that was in use before remains in use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LiveError {
    /// The certificate chain or the private key is not valid PEM.
    #[error("not a valid pair in PEM")]
    Pem(#[source] rustls_pki_types::pem::Error),
    /// The private key does not match the certificate, or its type is not supported.
    #[error("the pair cannot be used")]
    CertificatePair(#[from] rustls::Error),
    /// The chain contains no certificate, or the first one cannot be parsed.
    #[error("the certificate cannot be read")]
    Certificate(#[from] crate::client::CertificateError),
}

/// Names and key of each certificate, by its id.
type Keys = HashMap<String, (Vec<String>, Arc<CertifiedKey>)>;

/// The certificates in use, by server name. Implements rustls' `ResolvesServerCert`; [`subscribe`](Self::subscribe)
/// reports changes.
#[derive(Debug)]
pub struct LiveCertificates {
    keys: RwLock<Arc<Keys>>,
    changes: broadcast::Sender<CertificateInUse>,
}

/// A certificate that [`LiveCertificates::set`] has put into use, as its subscribers receive it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CertificateInUse {
    /// Id under which the certificate was put into use.
    pub id: String,
    /// Certificate chain and private key for rustls.
    pub key: Arc<CertifiedKey>,
    /// Properties of the certificate. A placeholder differs from an issued one by its [`Origin`](crate::Origin).
    pub info: CertificateInfo,
}

impl Default for LiveCertificates {
    fn default() -> Self {
        Self { keys: RwLock::default(), changes: broadcast::channel(64).0 }
    }
}

impl LiveCertificates {
    /// Creates a resolver without certificates.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Puts a pair into use, replacing the one with this id. Existing connections are not affected. Subscribers are
    /// notified. If the same chain is in use already, nothing changes and nobody is notified.
    ///
    /// # Errors
    /// Returns a [`LiveError`] if the pair is not valid. The previous pair then stays in use.
    pub fn set(&self, id: &str, pair: &CertificatePair) -> Result<(), LiveError> {
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(pair.chain.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(LiveError::Pem)?;
        let key =
            PrivateKeyDer::from_pem_slice(pair.key.expose_secret().as_bytes()).map_err(LiveError::Pem)?;
        let info = crate::client::describe(&pair.chain)?;
        let names = info.names.iter().map(ToString::to_string).collect();
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let key = Arc::new(CertifiedKey::from_der(chain, key, &provider)?);
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        if keys.get(id).is_some_and(|(_, known)| known.cert == key.cert) {
            return Ok(());
        }
        let mut next = Keys::clone(&keys);
        next.insert(id.to_owned(), (names, key.clone()));
        *keys = Arc::new(next);
        drop(keys);
        // There may be no subscriber.
        let _ = self.changes.send(CertificateInUse { id: id.to_owned(), key, info });
        Ok(())
    }

    /// Subscribes to certificates that are put into use from now on, including placeholders. A receiver that falls
    /// behind by more than 64 loses the oldest.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<CertificateInUse> {
        self.changes.subscribe()
    }

    /// Returns the certificate for a server name, among those for which `usable` returns `true`. An exact name is
    /// preferred to a wildcard, and ECDSA to RSA. `None` if there is none.
    #[must_use]
    pub fn find(&self, name: &str, usable: impl Fn(&CertifiedKey) -> bool) -> Option<Arc<CertifiedKey>> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner).clone();
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let wild = name.split_once('.').map(|(_, rest)| format!("*.{rest}"));
        let of = |name: &str| {
            let mut found: Vec<Arc<CertifiedKey>> = keys
                .values()
                .filter(|(names, key)| names.iter().any(|known| known == name) && usable(key))
                .map(|(_, key)| key.clone())
                .collect();
            found.sort_by_key(|key| key.key.algorithm() == rustls::SignatureAlgorithm::RSA);
            found.into_iter().next()
        };
        of(&name).or_else(|| of(&wild?))
    }
}

impl ResolvesServerCert for LiveCertificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let schemes = hello.signature_schemes();
        self.find(hello.server_name()?, |key| key.key.choose_scheme(schemes).is_some())
    }
}
