//! Certificates served by this process, and the record of deployments on this host.

use super::accounts::store_error;
use crate::live::LiveCertificates;
use crate::machine::{AcmeError, ErrorKind};
use crate::store::{CertificatePair, Store, StoreError};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Certificates that this process serves, if any, and the serial numbers deployed to the servers of this host.
pub(super) struct Deployer {
    /// Certificates that this process serves. `None` if it serves none.
    pub(super) live: Option<Arc<LiveCertificates>>,
    /// Store of the pairs.
    store: Arc<dyn Store>,
    /// Serial numbers deployed to the servers of this host, by certificate id.
    serials: Mutex<BTreeMap<String, String>>,
}

impl Deployer {
    /// Creates a deployer without live servers, for the pairs of `store`.
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self { live: None, store, serials: Mutex::default() }
    }

    /// Locks the serial numbers of deployed certificates, by certificate id.
    fn serials(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.serials.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns `true` if the certificate with this serial number is the one recorded last as deployed by this process
    /// under this id.
    pub(super) fn has_deployed(&self, id: &str, serial: &str) -> bool {
        self.serials().get(id).is_some_and(|known| known == serial)
    }

    /// Records that this certificate is deployed to the servers of this host, in place of the one recorded before.
    pub(super) fn will_deploy(&self, id: &str, serial: &str) {
        self.serials().insert(id.to_owned(), serial.to_owned());
    }

    /// Removes the record of the certificate deployed under this id, so that it is deployed again.
    pub(super) fn forget(&self, id: &str) {
        self.serials().remove(id);
    }

    /// Puts a pair into the certificates that this process serves. No effect if it serves none.
    ///
    /// # Errors
    /// Returns [`StoreError::Damaged`] if the pair cannot be used.
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

    /// Puts the stored pair into the certificates that this process serves. No effect if it serves none, or the store
    /// has no pair.
    ///
    /// # Errors
    /// Returns an [`AcmeError`] if the store cannot be read, and a local one if the pair cannot be used.
    pub(super) async fn take_into_use(&self, id: &str) -> Result<(), AcmeError> {
        if self.live.is_some()
            && let Some(pair) = self.store.current(id).await.map_err(|error| store_error(&error))?
        {
            self.set_live(id, &pair).map_err(|error| AcmeError::new(ErrorKind::Local, error.to_string()))?;
        }
        Ok(())
    }
}
