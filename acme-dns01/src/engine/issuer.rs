//! Execution of the actions that a machine requests.

use super::accounts::store_error;
use super::locator::provider_error;
use super::{Certificate, Engine};
use crate::client::{Account, KeyPair, OrderRequest};
use crate::dns::ExpectedTxt;
use crate::machine::{AcmeError, Action, Attempt, ErrorKind, Event, Machine, State};
use crate::store::StoreError;
use std::sync::Arc;

/// Creates an error of the kind [`ErrorKind::Local`].
pub(super) fn local(why: impl std::fmt::Display) -> AcmeError {
    AcmeError::new(ErrorKind::Local, why.to_string())
}

/// Creates an error of the kind [`ErrorKind::OrderGone`]: the order cannot be continued, and a new one is needed.
pub(super) fn loss_error(why: impl std::fmt::Display) -> AcmeError {
    AcmeError::new(ErrorKind::OrderGone, why.to_string())
}

/// Converts an error of the store, for `map_err`.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
pub(super) fn durable(error: StoreError) -> AcmeError {
    store_error(&error)
}

/// Performs the actions that the machine of one certificate requests.
pub(super) struct Issuer<'e> {
    pub(super) engine: &'e Engine,
    pub(super) certificate: &'e Certificate,
}

impl<'e> Issuer<'e> {
    /// Creates an issuer of one certificate.
    pub(super) const fn new(engine: &'e Engine, certificate: &'e Certificate) -> Self {
        Self { engine, certificate }
    }

    /// Returns the certificate's id.
    pub(super) fn id(&self) -> &'e str {
        &self.certificate.spec.id
    }

    /// Returns the account at the authority of an attempt, registered if necessary.
    ///
    /// # Errors
    /// Returns an error if the authority is not configured, or the account cannot be loaded or registered.
    pub(super) async fn account(&self, attempt: &Attempt) -> Result<Arc<Account>, AcmeError> {
        self.engine.accounts.ensure(&attempt.authority, false).await
    }

    /// Performs an action of the machine, and returns the event that is its result. A wait returns at once.
    ///
    /// # Errors
    /// Returns the error of the action, which the caller reports as [`Event::Error`].
    pub(super) async fn perform(&self, machine: &Machine, action: Action) -> Result<Event, AcmeError> {
        let (spec, id, store) = (&self.certificate.spec, self.id(), &self.engine.store);
        let attempt = machine.state().attempt.clone().unwrap_or_default();
        let accounts = &self.engine.accounts;
        match action {
            Action::Journal(record) => store.append(id, &record).await.map_err(durable)?,
            Action::Note(entry) => {
                let ledger = store.note(entry, self.engine.now(), &spec.limits).await.map_err(durable)?;
                *self.engine.ledger.lock().await = ledger;
            }
            Action::Alert(alert) => self.engine.reporter.alert(id, &alert).await,
            Action::Wait { .. } => {}
            Action::Directory { authority } => {
                let found = accounts.authority(&authority)?.acme.directory().await?;
                let renewal_info = found.directory.renewal_info.is_some();
                return Ok(Event::Directory { date: found.date, renewal_info });
            }
            Action::RenewalInfo { authority, certificate } => {
                return self.renewal_info(&authority, &certificate).await;
            }
            Action::Account { authority, forgotten } => {
                let account = accounts.ensure(&authority, forgotten).await?;
                if !account.key().is_es256() && !attempt.ordering {
                    self.modernize(&authority).await?;
                }
                return Ok(Event::Account);
            }
            Action::Preflight { authority } => {
                self.engine.checker().preflight(self.certificate, &authority).await?;
                return Ok(Event::Clear);
            }
            Action::Key => return self.key(machine.state()).await,
            Action::NewOrder { replaces } => {
                let request = OrderRequest {
                    names: &spec.names,
                    profile: spec.profile.as_deref(),
                    replaces: replaces.as_deref(),
                };
                return self.account(&attempt).await?.new_order(&request).await.map(Event::Order);
            }
            Action::FindOrder => {
                let found = self.account(&attempt).await?.find_order(&spec.names).await?;
                return Ok(found.map_or(Event::NoOrder, Event::Order));
            }
            Action::FetchOrder { url } => {
                return self.account(&attempt).await?.order(&url).await.map(Event::Order);
            }
            Action::FetchAuthorization { url } => {
                return self
                    .account(&attempt)
                    .await?
                    .authorization(attempt.order.as_deref().unwrap_or_default(), &url)
                    .await
                    .map(Event::Authorization);
            }
            Action::Locate { name } => {
                return self.engine.locator.locate(&name, &spec.providers).await.map(Event::Located);
            }
            Action::Publish(txt) => {
                let provider = self.engine.locator.provider(&txt.provider);
                let provider =
                    provider.ok_or_else(|| local(format!("no DNS provider is called `{}`", txt.provider)))?;
                let added = provider.add(&txt.zone, &txt.name, &txt.value).await;
                return added.map(|id| Event::Published { id }).map_err(|error| provider_error(&error));
            }
            Action::Verify(wanted) => {
                let wanted: Vec<ExpectedTxt> =
                    wanted.into_iter().map(|txt| ExpectedTxt { name: txt.name, value: txt.value }).collect();
                return Ok(self.verify(&wanted).await);
            }
            Action::Trigger { challenge } => {
                let order = attempt.order.as_deref().unwrap_or_default();
                self.account(&attempt).await?.trigger(order, &challenge).await?;
            }
            Action::Finalize { order, url } => {
                return self.finalize(machine.state(), &attempt, &order, &url).await;
            }
            Action::Download { url } => return self.download(machine.state(), &attempt, &url).await,
            Action::Restore { authority, url } => self.restore(machine, &authority, &url).await?,
            Action::Install => store.install(id).await.map_err(durable)?,
            Action::Unpublish(txt) => self.engine.locator.remove(&txt).await?,
            Action::Deploy => return self.deploy(machine).await,
            Action::Rollback => self.roll_back(machine).await?,
        }
        Ok(Event::Done)
    }

    /// Replaces the key of an account that another client created by an ES256 key, and reports that as a note. The
    /// account URL, which CAA's `accounturi` may name, does not change. Does nothing while an order of any certificate
    /// at this authority is in progress, since its challenges contain the thumbprint of the old key. A refusal by the
    /// CA is only reported.
    ///
    /// # Errors
    /// Returns an error if the store fails, or the CA fails otherwise than by refusing.
    async fn modernize(&self, authority: &str) -> Result<(), AcmeError> {
        let store = &self.engine.store;
        for id in store.ids().await.map_err(durable)? {
            let state = State::replay(&store.journal(&id).await.map_err(durable)?);
            if state.attempt.is_some_and(|attempt| attempt.authority == authority && attempt.ordering) {
                return Ok(());
            }
        }
        match self.engine.accounts.modernize(authority).await {
            Ok(Some(url)) => {
                let text = format!("the account {url} has a new key (ES256) instead of the one it came with");
                self.engine.reporter.note(self.id(), text);
            }
            Ok(None) => {}
            Err(error) if matches!(error.kind, ErrorKind::Refused | ErrorKind::KeyRefused) => {
                let text = format!("the account keeps the key it came with: {}", error.reason);
                self.engine.reporter.note(self.id(), text);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Fetches the renewal information of a certificate, by its ARI identifier. If the CA does not know the
    /// certificate, the result is [`Event::UnknownCertificate`], not an error.
    ///
    /// # Errors
    /// Returns an error if the authority is not configured, or the request fails.
    async fn renewal_info(&self, authority: &str, certificate: &str) -> Result<Event, AcmeError> {
        let acme = &self.engine.accounts.authority(authority)?.acme;
        match acme.renewal_info(certificate).await {
            Ok(found) => {
                Ok(Event::RenewalInfo { info: found.info, retry_after: found.retry_after, date: found.date })
            }
            Err(error) if error.kind == ErrorKind::OrderGone => Ok(Event::UnknownCertificate(format!(
                "{authority} does not know the certificate: {}",
                error.reason
            ))),
            Err(error) => Err(error),
        }
    }

    /// Queries the name servers for TXT values. Returns [`Event::Visible`], or [`Event::NotVisible`]
    /// with the reason, also if a lookup fails. Addresses that did not respond are reported as a note.
    async fn verify(&self, wanted: &[ExpectedTxt]) -> Event {
        match self.engine.locator.dns.visible(wanted).await {
            Ok(crate::dns::Visibility::Complete { unreachable }) => {
                if !unreachable.is_empty() {
                    let text = format!("addresses that did not answer: {}", unreachable.join(", "));
                    self.engine.reporter.note(self.id(), text);
                }
                Event::Visible
            }
            Ok(crate::dns::Visibility::Incomplete(report)) => Event::NotVisible(report),
            Err(error) => Event::NotVisible(error.to_string()),
        }
    }

    /// Finalizes an order with a certificate signing request by the pending key. `order` is the URL of the order, and
    /// `url` its finalize URL.
    ///
    /// # Errors
    /// Returns [`ErrorKind::OrderGone`] if the pending key is missing, damaged, rejected or not the one recorded for the
    /// attempt, and other kinds if the store or the CA fails.
    async fn finalize(
        &self,
        state: &State,
        attempt: &Attempt,
        order: &str,
        url: &str,
    ) -> Result<Event, AcmeError> {
        let key = self.engine.store.pending_key(self.id()).await.map_err(durable)?;
        let key = key.ok_or_else(|| loss_error("the key for the order is gone from the store"))?;
        let key = KeyPair::from_pem(&key).map_err(loss_error)?;
        if attempt.key.as_ref().is_some_and(|known| *known != key.public_key()) {
            return Err(loss_error("the key in the store is not the one that the order was made for"));
        }
        if state.rejected_keys.contains(&key.public_key()) {
            return Err(loss_error("the key for the order is compromised, or was refused"));
        }
        let request = key.request(&self.certificate.spec.names).map_err(local)?;
        self.account(attempt).await?.finalize(order, url, &request).await.map(Event::Order)
    }
}
