//! Certificates in use in this process, and what this machine's servers were told.

use super::accounts::store_error;
use crate::live::LiveCertificates;
use crate::machine::{AcmeError, ErrorKind};
use crate::store::{CertificatePair, Store, StoreError};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Puts certificates into use in this process, and remembers what was deployed on this machine.
pub(super) struct Deployer {
    pub(super) live: Option<Arc<LiveCertificates>>,
    store: Arc<dyn Store>,
    /// Serial numbers deployed to the servers of this host, by certificate.
    serials: Mutex<BTreeMap<String, String>>,
}

impl Deployer {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self { live: None, store, serials: Mutex::default() }
    }

    fn serials(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.serials.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns `true` if the servers of this host are known to use the certificate with this serial number.
    pub(super) fn has_deployed(&self, id: &str, serial: &str) -> bool {
        self.serials().get(id).is_some_and(|known| known == serial)
    }

    /// Records that the caller deploys this certificate to the servers of this host.
    pub(super) fn will_deploy(&self, id: &str, serial: &str) {
        self.serials().insert(id.to_owned(), serial.to_owned());
    }

    /// Clears the record of what the servers of this host have.
    pub(super) fn forget(&self, id: &str) {
        self.serials().remove(id);
    }

    /// Puts a pair into the certificates that this process serves. Without effect if it serves none.
    ///
    /// # Errors
    /// The pair is damaged.
    pub(super) fn set_live(&self, id: &str, pair: &CertificatePair) -> Result<(), StoreError> {
        if let Some(live) = &self.live {
            let damaged = |error: crate::live::LiveError| StoreError::Damaged {
                path: id.to_owned(),
                why: crate::error_chain(&error),
            };
            live.set(id, pair).map_err(damaged)?;
        }
        Ok(())
    }

    /// Puts the pair in the store into the certificates that this process serves. Without effect if it serves none, or the store
    /// has no pair.
    pub(super) async fn take_into_use(&self, id: &str) -> Result<(), AcmeError> {
        if self.live.is_some()
            && let Some(pair) = self.store.current(id).await.map_err(|error| store_error(&error))?
        {
            self.set_live(id, &pair).map_err(|error| AcmeError::new(ErrorKind::Local, error.to_string()))?;
        }
        Ok(())
    }
}
