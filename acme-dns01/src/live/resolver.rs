//! A resolver for rustls that takes new certificates while it is in use.

use crate::lifetime::CertificateInfo;
use crate::store::Pair;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use secrecy::ExposeSecret;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::broadcast;

/// Error of putting a pair into use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LiveError {
    /// The chain or the key cannot be parsed.
    #[error("not a valid pair in PEM")]
    Pem(#[source] rustls_pki_types::pem::Error),
    /// The parts do not belong together, or are of a kind that is not supported.
    #[error("the pair cannot be used")]
    Pair(#[from] rustls::Error),
    /// Its names cannot be read.
    #[error("the certificate cannot be read")]
    Certificate(#[from] crate::client::CertificateError),
}

type Keys = HashMap<String, (Vec<String>, Arc<CertifiedKey>)>;

/// The certificates in use, by name. Give it to rustls as its resolver; subscribe to hear of each new one.
#[derive(Debug)]
pub struct Live {
    keys: RwLock<Arc<Keys>>,
    changes: broadcast::Sender<CertificateInUse>,
}

/// A certificate that came into use.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CertificateInUse {
    /// Id of the certificate.
    pub id: String,
    /// The chain with its key.
    pub key: Arc<CertifiedKey>,
    /// Properties of the certificate: a placeholder has another [`Origin`](crate::Origin) than a CA.
    pub info: CertificateInfo,
}

impl Default for Live {
    fn default() -> Self {
        Self { keys: RwLock::default(), changes: broadcast::channel(64).0 }
    }
}

impl Live {
    /// Creates an empty set.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Takes a pair into use, in the place of the one of this id. Connections that are open are not touched. One that is in use
    /// already is no news.
    ///
    /// # Errors
    /// [`LiveError`]; the old one stays in use.
    pub fn set(&self, id: &str, pair: &Pair) -> Result<(), LiveError> {
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
        // Nobody has to listen.
        let _ = self.changes.send(CertificateInUse { id: id.to_owned(), key, info });
        Ok(())
    }

    /// Receives every certificate that comes into use from now on, placeholders too.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<CertificateInUse> {
        self.changes.subscribe()
    }

    /// The certificate in use for a name, of those that a client can use; ECDSA before RSA.
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

impl ResolvesServerCert for Live {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let schemes = hello.signature_schemes();
        self.find(hello.server_name()?, |key| key.key.choose_scheme(schemes).is_some())
    }
}
