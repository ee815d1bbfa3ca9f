//! Private keys for orders, and the download of issued certificates.

use super::issuer::{Issuer, durable, local, loss_error};
use crate::client::{Account, KeyPair, chain_issuers, verify_pair};
use crate::machine::{AcmeError, Attempt, ErrorKind, Event, Machine, State, Status};
use crate::store::CertificatePair;

/// Failed or suspended attempts in a row, after which a certificate that cannot be downloaded is ordered anew.
const MAX_FAILURES: u32 = 3;

impl Issuer<'_> {
    /// Returns the public key for the next order: of the pending key if its type is as configured, else of the current
    /// key if it is to be reused and its type is as configured, else of a new key. A key that is compromised, or that
    /// the CA refused, is not taken. The current or new key is stored as pending.
    ///
    /// # Errors
    /// Returns an error if the store fails, or the key cannot be generated.
    pub(super) async fn key(&self, state: &State) -> Result<Event, AcmeError> {
        let (spec, store) = (&self.certificate.spec, &self.engine.store);
        let usable = |key: &KeyPair| key.kind() == Some(spec.key_type);
        let accepted = |key: &KeyPair| !state.rejected_keys.contains(&key.public_key());
        if let Some(made) = store.pending_key(&spec.id).await.map_err(durable)?
            && let Ok(key) = KeyPair::from_pem(&made)
            && usable(&key)
            && accepted(&key)
        {
            return Ok(Event::Key { public_key: key.public_key() });
        }
        let current = if spec.reuse_key { store.current(&spec.id).await.map_err(durable)? } else { None };
        let reused = current.and_then(|pair| KeyPair::from_pem(&pair.key).ok()).filter(usable);
        if reused.as_ref().is_some_and(|key| !accepted(key)) {
            let text = "the key is not kept: it is compromised, or the CA refused it".to_owned();
            self.engine.reporter.note(&spec.id, text);
        }
        let key = match reused.filter(accepted) {
            Some(key) => key,
            None => {
                let kind = spec.key_type;
                // RSA key generation takes up to seconds.
                let made = tokio::task::spawn_blocking(move || KeyPair::generate(kind)).await;
                made.map_err(local)?.map_err(local)?
            }
        };
        store.save_pending_key(&spec.id, &key.pem()).await.map_err(durable)?;
        Ok(Event::Key { public_key: key.public_key() })
    }

    /// Downloads a chain as PEM: the first one (default, then alternates) whose last certificate was issued by the
    /// preferred issuer, or else the default one, which is reported as a note. Without a preferred issuer, the default
    /// one.
    ///
    /// # Errors
    /// Returns an error if a chain cannot be downloaded.
    async fn chain(&self, account: &Account, order: Option<&str>, url: &str) -> Result<String, AcmeError> {
        let spec = &self.certificate.spec;
        let mut chain = account.certificate(order, url).await?;
        if let Some(preferred) = &spec.preferred_chain {
            let fits = |chain: &str| chain_issuers(chain).last() == Some(preferred);
            if !fits(&chain.pem) {
                for alternate in std::mem::take(&mut chain.alternates) {
                    let other = account.certificate(None, &alternate).await?;
                    if fits(&other.pem) {
                        chain = other;
                        break;
                    }
                }
            }
            if !fits(&chain.pem) {
                let offered = chain_issuers(&chain.pem).pop().unwrap_or_default();
                let text = format!("no chain ends in `{preferred}`; the CA's own is used, to `{offered}`");
                self.engine.reporter.note(&spec.id, text);
            }
        }
        Ok(chain.pem)
    }

    /// Downloads the chain of an attempt, verifies it against the pending key (or, without one, the key in place) and
    /// the ordered names, and stages the pair.
    ///
    /// # Errors
    /// Returns [`ErrorKind::OrderGone`] if the key is missing or damaged, or the chain is missing, not valid or does not
    /// match key and names while the order is not valid any more or after several pauses, and other kinds if the store
    /// or the CA fails.
    pub(super) async fn download(
        &self,
        state: &State,
        attempt: &Attempt,
        url: &str,
    ) -> Result<Event, AcmeError> {
        let (spec, store) = (&self.certificate.spec, &self.engine.store);
        let account = self.account(attempt).await?;
        let chain = match self.chain(&account, attempt.order.as_deref(), url).await {
            Ok(chain) => chain,
            Err(error) => return Err(self.unavailable(state, &account, attempt, error).await),
        };
        let pending = store.pending_key(&spec.id).await.map_err(durable)?;
        let key = match pending {
            Some(key) => key,
            // The pair was installed, but the process ended before the installation was recorded.
            None => match store.current(&spec.id).await.map_err(durable)? {
                Some(pair) => pair.key,
                None => return Err(loss_error("the key for the certificate is gone from the store")),
            },
        };
        let pair_key = KeyPair::from_pem(&key).map_err(loss_error)?;
        let names = attempt.request.as_ref().map_or(&spec.names, |request| &request.names);
        let (chain, mut held) = match verify_pair(&chain, &pair_key, names) {
            Ok(found) => found,
            Err(error) => {
                let error = loss_error(format!("{url}: {error}"));
                return Err(self.unavailable(state, &account, attempt, error).await);
            }
        };
        held.authority = Some(attempt.authority.clone());
        held.directory = Some(self.engine.accounts.authority(&attempt.authority)?.acme.url().to_owned());
        held.profile.clone_from(&spec.profile);
        store.stage(&spec.id, &CertificatePair { chain, key }).await.map_err(durable)?;
        self.engine.deployer.will_deploy(&spec.id, &held.serial);
        Ok(Event::Staged(Box::new(held)))
    }

    /// Returns the error of a download that brought no usable chain. While the CA calls the order valid, the certificate
    /// was issued, and the answer may have come from an intermediary or too early: the error is transient, so that the
    /// download is repeated instead of the order. After [`MAX_FAILURES`] failed or suspended attempts it is final.
    async fn unavailable(
        &self,
        state: &State,
        account: &Account,
        attempt: &Attempt,
        error: AcmeError,
    ) -> AcmeError {
        let Some(order) = attempt.order.as_deref() else { return error };
        if error.kind != ErrorKind::OrderGone || state.failures >= MAX_FAILURES {
            return error;
        }
        match account.order(order).await {
            Ok(order) if order.status == Status::Valid => AcmeError { kind: ErrorKind::Transient, ..error },
            Err(other) if other.is_transient() => other,
            Ok(_) | Err(_) => error,
        }
    }

    /// Downloads the lost certificate again and stages it with its key, the one in place or the pending one.
    ///
    /// # Errors
    /// Returns [`ErrorKind::OrderGone`] if no certificate was issued, no key of it is left, or the CA returns another
    /// certificate, and other kinds if the store or the CA fails.
    pub(super) async fn restore(
        &self,
        machine: &Machine,
        authority: &str,
        url: &str,
    ) -> Result<(), AcmeError> {
        let (id, store) = (self.id(), &self.engine.store);
        let held = machine.state().held.as_ref().ok_or_else(|| loss_error("nothing was issued"))?;
        let in_place = store.contents(id).await.map_err(durable)?.key;
        let pending = store.pending_key(id).await.map_err(durable)?;
        let left = in_place.into_iter().chain(pending).find_map(|text| {
            let key = KeyPair::from_pem(&text).ok().filter(|key| key.public_key() == held.public_key)?;
            Some((key, text))
        });
        let (pair_key, key) = left.ok_or_else(|| loss_error("its key is gone"))?;
        let account = self.engine.accounts.ensure(authority, false).await?;
        let chain = self.chain(&account, None, url).await?;
        let (chain, found) = verify_pair(&chain, &pair_key, &held.names).map_err(loss_error)?;
        if found.serial != held.serial {
            return Err(loss_error(format!(
                "the CA has another certificate there (serial {})",
                found.serial
            )));
        }
        store.stage(id, &CertificatePair { chain, key }).await.map_err(durable)?;
        self.engine.deployer.will_deploy(id, &held.serial);
        Ok(())
    }
}
