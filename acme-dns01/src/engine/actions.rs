//! Each action of the machine, done.

use super::{Certificate, Engine, account, store_trouble};
use crate::client::{KeyPair, OrderRequest, chain_issuers, verify_pair};
use crate::live::{Refused, deploy, tell};
use crate::machine::{Action, Alert, Event, Machine, Trouble, TroubleKind, Txt};
use crate::provider::{Provider, ProviderError};
use crate::store::Pair;
use std::sync::Arc;

fn ours(why: impl std::fmt::Display) -> Trouble {
    Trouble::new(TroubleKind::Ours, why.to_string())
}

/// What was ordered can never be used: only another order helps.
fn lost(why: impl std::fmt::Display) -> Trouble {
    Trouble::new(TroubleKind::OrderGone, why.to_string())
}

fn provided(why: &ProviderError) -> Trouble {
    let kind = if why.transient { TroubleKind::Transient } else { TroubleKind::Ours };
    Trouble { kind, why: why.to_string(), retry_after: why.retry_after }
}

impl Engine {
    /// Does what the machine asks for.
    pub(super) async fn perform(
        &self,
        certificate: &Certificate,
        machine: &Machine,
        action: Action,
    ) -> Result<Event, Trouble> {
        let spec = &certificate.spec;
        let id = &spec.id;
        let store = &self.store;
        let durable = |why| store_trouble(&why);
        let attempt = machine.state().attempt.clone().unwrap_or_default();
        let authority = || self.authority_named(&attempt.authority);
        match action {
            Action::Journal(record) => store.append(id, &record).await.map_err(durable)?,
            Action::Note(entry) => {
                let ledger = store.note(entry, crate::client_now(), &spec.limits).await.map_err(durable)?;
                *self.ledger.lock().await = ledger;
            }
            Action::Alert(alert) => self.alert(id, &alert).await,
            Action::Wait { .. } => {}
            Action::Directory { authority } => {
                let (directory, skew) = self.authority_named(&authority)?.acme.directory().await?;
                let date = skew.map(|skew| crate::client_now().shifted(skew));
                return Ok(Event::Directory { date, renewal_info: directory.renewal_info.is_some() });
            }
            Action::RenewalInfo { authority, certificate } => {
                let acme = &self.authority_named(&authority)?.acme;
                let (info, retry_after, date) = acme.renewal_info(&certificate).await?;
                return Ok(Event::RenewalInfo { info, retry_after, date });
            }
            Action::Account { authority, forgotten } => {
                account::ensure(&**store, &authority, self.authority_named(&authority)?, forgotten).await?;
                return Ok(Event::Account);
            }
            Action::Preflight { authority } => {
                self.preflight(certificate, &authority).await?;
                return Ok(Event::Clear);
            }
            Action::Key => return self.key(certificate).await,
            Action::NewOrder { replaces } => {
                let account = self.account(&attempt.authority).await?;
                let request = OrderRequest {
                    names: &spec.names,
                    profile: spec.profile.as_deref(),
                    replaces: replaces.as_deref(),
                };
                let order = authority()?.acme.new_order(&account.key, &account.url, &request).await?;
                return Ok(Event::Order(order));
            }
            Action::FindOrder => {
                let account = self.account(&attempt.authority).await?;
                let found = authority()?.acme.find_order(&account.key, &account.url, &spec.names).await?;
                return Ok(found.map_or(Event::NoOrder, Event::Order));
            }
            Action::FetchOrder { url } => {
                let account = self.account(&attempt.authority).await?;
                return authority()?.acme.order(&account.key, &account.url, &url).await.map(Event::Order);
            }
            Action::FetchAuthorization { url } => {
                let account = self.account(&attempt.authority).await?;
                let found = authority()?.acme.authorization(&account.key, &account.url, &url).await?;
                return Ok(Event::Authorization(found));
            }
            Action::Locate { name } => return self.locate(certificate, &name).await.map(Event::Located),
            Action::Publish(txt) => {
                let provider = self.provider_named(&txt.provider)?;
                let id =
                    provider.add(&txt.zone, &txt.name, &txt.value).await.map_err(|why| provided(&why))?;
                return Ok(Event::Published { id });
            }
            Action::Verify(wanted) => {
                let wanted: Vec<(String, String)> =
                    wanted.into_iter().map(|txt| (txt.name, txt.value)).collect();
                return Ok(match self.dns.visible(&wanted).await {
                    Ok(Ok(())) => Event::Visible,
                    Ok(Err(report)) => Event::NotVisible(report),
                    Err(why) => Event::NotVisible(why.to_string()),
                });
            }
            Action::Trigger { challenge } => {
                let account = self.account(&attempt.authority).await?;
                authority()?.acme.trigger(&account.key, &account.url, &challenge).await?;
            }
            Action::Finalize { order, url } => {
                let account = self.account(&attempt.authority).await?;
                let key = store.pending_key(id).await.map_err(durable)?;
                let key = key.ok_or_else(|| lost("the key for the order is gone from the store"))?;
                let key = KeyPair::from_pem(&key).map_err(lost)?;
                if attempt.key.as_ref().is_some_and(|known| *known != key.public_key()) {
                    return Err(lost(
                        "the key in the store is another than the one that the order was made for",
                    ));
                }
                let request = key.request(&spec.names).map_err(ours)?;
                let acme = &authority()?.acme;
                return acme
                    .finalize(&account.key, &account.url, &order, &url, &request)
                    .await
                    .map(Event::Order);
            }
            Action::Download { url } => return self.download(certificate, &attempt.authority, &url).await,
            Action::Install => store.install(id).await.map_err(durable)?,
            Action::Unpublish(txt) => {
                let provider = self.provider_named(&txt.provider)?;
                let removed = provider.remove(&txt.zone, &txt.name, &txt.value, txt.id.as_deref()).await;
                removed.map_err(|why| provided(&why))?;
            }
            Action::Deploy => return self.deploy(certificate, machine).await,
            Action::Rollback => {
                let current = store.current(id).await.map_err(durable)?;
                let serial = machine.state().held.as_ref().map(|held| held.serial.clone());
                let in_place = current.and_then(|pair| crate::client::describe(&pair.chain).ok());
                if in_place.map(|held| held.serial) == serial && store.exchange(id).await.map_err(durable)? {
                    self.take_into_use(id).await?;
                    let folder = id.clone();
                    // The old one worked before; whoever cannot be told now is told again with the next try.
                    if let Err(why) = tell(&certificate.deployment, &folder).await {
                        self.alert(id, &Alert::Undeployed { why }).await;
                    }
                }
            }
        }
        Ok(Event::Done)
    }

    fn provider_named(&self, name: &str) -> Result<&Arc<dyn Provider>, Trouble> {
        let found = self.providers.iter().find(|(known, _)| known == name);
        found.map(|(_, provider)| provider).ok_or_else(|| ours(format!("no DNS provider is called `{name}`")))
    }

    /// Where the record of a challenge belongs.
    pub(super) async fn locate(&self, certificate: &Certificate, name: &str) -> Result<Txt, Trouble> {
        let target = self.dns.follow(name).await.map_err(|why| match why {
            crate::dns::DnsError::Loop { .. } | crate::dns::DnsError::NoZone { .. } => ours(why),
            why => Trouble::new(TroubleKind::Transient, format!("{name}: {why}")),
        })?;
        let mut tried = Vec::new();
        for (known, provider) in &self.providers {
            if !certificate.providers.is_empty() && !certificate.providers.contains(known) {
                continue;
            }
            tried.push(known.as_str());
            if let Some(zone) = provider.zone(&target).await.map_err(|why| provided(&why))? {
                return Ok(Txt {
                    provider: known.clone(),
                    zone,
                    name: target,
                    value: String::new(),
                    id: None,
                    published: false,
                });
            }
        }
        let tried = if tried.is_empty() { "none is configured".to_owned() } else { tried.join(", ") };
        Err(ours(format!(
            "no DNS provider has a zone for {target} (asked: {tried}): give the credentials access to the zone, or point \
             _acme-challenge to a zone that is yours by a CNAME"
        )))
    }

    async fn key(&self, certificate: &Certificate) -> Result<Event, Trouble> {
        let spec = &certificate.spec;
        let durable = |why| store_trouble(&why);
        if let Some(made) = self.store.pending_key(&spec.id).await.map_err(durable)?
            && let Ok(key) = KeyPair::from_pem(&made)
            && key.kind() == Some(spec.key_type)
        {
            return Ok(Event::Key { public_key: key.public_key() });
        }
        let current =
            if spec.reuse_key { self.store.current(&spec.id).await.map_err(durable)? } else { None };
        let reused = current
            .and_then(|pair| KeyPair::from_pem(&pair.key).ok())
            .filter(|key| key.kind() == Some(spec.key_type));
        let key = match reused {
            Some(key) => key,
            None => {
                let kind = spec.key_type;
                // RSA takes its time.
                let made = tokio::task::spawn_blocking(move || KeyPair::generate(kind)).await;
                made.map_err(ours)?.map_err(ours)?
            }
        };
        self.store.save_pending_key(&spec.id, &key.pem()).await.map_err(durable)?;
        Ok(Event::Key { public_key: key.public_key() })
    }

    async fn download(
        &self,
        certificate: &Certificate,
        authority: &str,
        url: &str,
    ) -> Result<Event, Trouble> {
        let spec = &certificate.spec;
        let durable = |why| store_trouble(&why);
        let account = self.account(authority).await?;
        let acme = &self.authority_named(authority)?.acme;
        let (mut chain, alternates) = acme.certificate(&account.key, &account.url, url).await?;
        if let Some(preferred) = &spec.preferred_chain {
            let fits = |chain: &str| chain_issuers(chain).last() == Some(preferred);
            if !fits(&chain) {
                for alternate in alternates {
                    let (other, _) = acme.certificate(&account.key, &account.url, &alternate).await?;
                    if fits(&other) {
                        chain = other;
                        break;
                    }
                }
            }
            if !fits(&chain) {
                let offered = chain_issuers(&chain).pop().unwrap_or_default();
                self.say(
                    &spec.id,
                    &format!("no chain ends in `{preferred}`; the CA's own is used, to `{offered}`"),
                );
            }
        }
        let pending = self.store.pending_key(&spec.id).await.map_err(durable)?;
        let key = match pending {
            Some(key) => key,
            // The pair was put into place, and then the machine ended before it could write that down.
            None => match self.store.current(&spec.id).await.map_err(durable)? {
                Some(pair) => pair.key,
                None => return Err(lost("the key for the certificate is gone from the store")),
            },
        };
        let pair_key = KeyPair::from_pem(&key).map_err(lost)?;
        let (chain, mut held) = verify_pair(&chain, &pair_key, &spec.names).map_err(lost)?;
        held.authority = Some(authority.to_owned());
        held.profile.clone_from(&spec.profile);
        self.store.stage(&spec.id, &Pair { chain, key }).await.map_err(durable)?;
        self.tells(&spec.id, &held.serial);
        Ok(Event::Staged(Box::new(held)))
    }

    async fn take_into_use(&self, id: &str) -> Result<(), Trouble> {
        if let Some(live) = &self.live
            && let Some(pair) = self.store.current(id).await.map_err(|why| store_trouble(&why))?
        {
            live.set(id, &pair).map_err(ours)?;
        }
        Ok(())
    }

    async fn deploy(&self, certificate: &Certificate, machine: &Machine) -> Result<Event, Trouble> {
        let id = &certificate.spec.id;
        let durable = |why| store_trouble(&why);
        let Some(held) = &machine.state().held else { return Ok(Event::Done) };
        let current = self.store.current(id).await.map_err(durable)?;
        let in_place = current.and_then(|pair| crate::client::describe(&pair.chain).ok());
        if in_place.is_none_or(|found| found.serial != held.serial) {
            // It was taken back before: once more.
            self.store.exchange(id).await.map_err(durable)?;
        }
        self.tells(id, &held.serial);
        self.take_into_use(id).await?;
        match deploy(&certificate.deployment, held, id).await {
            Ok(()) => Ok(Event::Done),
            Err(Refused::NotServed(why)) => Ok(Event::NotServed(why)),
            Err(Refused::Failed(why)) => Err(ours(why)),
        }
    }
}
