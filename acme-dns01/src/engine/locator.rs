//! Location of a challenge's TXT record: provider and zone.

use crate::dns::{Dns, DnsError, Target};
use crate::machine::{AcmeError, ErrorKind, TxtRecord};
use crate::propagation::LookupMode;
use crate::provider::{Coverage, Provider, ProviderError, ZoneMatch};
use futures_util::future::join_all;
use std::sync::Arc;

/// Converts an error of a DNS provider, with its Retry-After. A permanent error is local.
pub(super) fn provider_error(error: &ProviderError) -> AcmeError {
    let kind = if error.transient { ErrorKind::Transient } else { ErrorKind::Local };
    AcmeError::new(kind, error.to_string()).after(error.retry_after)
}

/// DNS lookups, and the configured DNS providers by name in the order of configuration.
pub(super) struct Locator {
    pub(super) dns: Dns,
    pub(super) providers: Vec<(String, Arc<dyn Provider>)>,
}

/// Returns the rank of a provider's match for a target, from 1 to 6; the highest is preferred. The CA would not see a
/// record published by a match below [`MIN_RANK`].
fn rank(found: &ZoneMatch, target: &Target, mode: LookupMode) -> u8 {
    match &found.coverage {
        Coverage::Name => 6,
        Coverage::Zone { apex, active } if apex.eq_ignore_ascii_case(&target.zone) => 4 + u8::from(*active),
        // Resolvers do not reveal a delegation of the challenge name itself.
        Coverage::Zone { apex, active: true }
            if mode == LookupMode::Resolvers && apex.len() > target.zone.len() =>
        {
            5
        }
        Coverage::Any => MIN_RANK,
        Coverage::Zone { .. } => 1,
    }
}

/// Lowest rank of a match whose records the CA can see.
const MIN_RANK: u8 = 3;

impl Locator {
    /// Returns the provider with this configured name. `None` if there is none.
    pub(super) fn provider(&self, name: &str) -> Option<&Arc<dyn Provider>> {
        self.providers.iter().find(|(known, _)| known == name).map(|(_, provider)| provider)
    }

    /// Finds zone and provider of a challenge's TXT record: the zone according to the DNS, after CNAME records, and the
    /// provider that matches it best. `allowed` are the names of the providers to ask; all if empty. The returned
    /// record has no value yet.
    ///
    /// # Errors
    /// Returns a local error if no zone is found or no provider has it, and a provider's error if it prevented a match.
    pub(super) async fn locate(&self, name: &str, allowed: &[String]) -> Result<TxtRecord, AcmeError> {
        let target = self.dns.target(name).await.map_err(|error| match error {
            DnsError::Loop { .. } | DnsError::NoZone { .. } | DnsError::Unsupported { .. } => {
                AcmeError::new(ErrorKind::Local, error.to_string())
            }
            error => AcmeError::new(ErrorKind::Transient, format!("{name}: {error}")),
        })?;
        let asked: Vec<&(String, Arc<dyn Provider>)> = self
            .providers
            .iter()
            .filter(|(known, _)| allowed.is_empty() || allowed.contains(known))
            .collect();
        let mut answers = Vec::new();
        for (_, provider) in &asked {
            answers.push(provider.zone(&target.name, &target.zone));
        }
        let answers = join_all(answers).await;
        let mut best: Option<(u8, &str, ZoneMatch)> = None;
        let mut failed: Option<AcmeError> = None;
        for ((known, _), answer) in asked.iter().zip(answers) {
            match answer {
                Ok(Some(found)) => {
                    let rank = rank(&found, &target, self.dns.mode);
                    if best.as_ref().is_none_or(|(other, ..)| rank > *other) {
                        best = Some((rank, known, found));
                    }
                }
                Ok(None) => {}
                Err(error) => {
                    // Of several errors, a transient one is preferred.
                    let error = provider_error(&error);
                    if failed.as_ref().is_none_or(|first| !first.is_transient()) {
                        failed = Some(error);
                    }
                }
            }
        }
        match (best, failed) {
            (Some((rank, provider, found)), _) if rank >= MIN_RANK => Ok(TxtRecord {
                provider: provider.to_owned(),
                zone: found.id,
                name: target.name,
                value: String::new(),
                id: None,
                published: false,
            }),
            (_, Some(error)) => Err(error),
            (Some((_, provider, found)), None) => {
                let (apex, zone) = (found.coverage.apex().unwrap_or_default(), &target.zone);
                let why = format!(
                    "{} is in the zone {zone}, which no provider has; {provider} has {apex} only, where the CA would not look: \
                     add a provider for {zone}, or point _acme-challenge elsewhere by a CNAME",
                    target.name
                );
                Err(AcmeError::new(ErrorKind::Local, why))
            }
            (None, None) => {
                let asked: Vec<&str> = asked.iter().map(|(known, _)| known.as_str()).collect();
                let asked = if asked.is_empty() { "none is configured".to_owned() } else { asked.join(", ") };
                let why = format!(
                    "no DNS provider has the zone {} of {} (asked: {asked}): give the credentials access to the zone (at \
                     Cloudflare Zone:Read, or its id in `zones`), or point _acme-challenge to another zone by a CNAME",
                    target.zone, target.name
                );
                Err(AcmeError::new(ErrorKind::Local, why))
            }
        }
    }

    /// Removes a record by the provider that created it or, if that is not configured any more, by the first other one
    /// that has the zone.
    ///
    /// # Errors
    /// Returns the last provider's error, or a local error if no provider has the zone.
    pub(super) async fn remove(&self, txt: &TxtRecord) -> Result<(), AcmeError> {
        if let Some(provider) = self.provider(&txt.provider) {
            let removed = provider.remove(&txt.zone, &txt.name, &txt.value, txt.id.as_deref()).await;
            return removed.map_err(|error| provider_error(&error));
        }
        let mut last = AcmeError::new(
            ErrorKind::Local,
            format!(
                "no DNS provider is called `{}`, and no other has the zone of {}",
                txt.provider, txt.name
            ),
        );
        let apex = self.dns.target(&txt.name).await.map_or_else(|_| txt.name.clone(), |target| target.zone);
        for (_, provider) in &self.providers {
            match provider.zone(&txt.name, &apex).await {
                Ok(Some(found)) if found.coverage != Coverage::Any || self.providers.len() == 1 => {
                    // The record's identifier is valid at the provider that created it only.
                    let id = txt.id.as_deref().filter(|_| found.id == txt.zone);
                    match provider.remove(&found.id, &txt.name, &txt.value, id).await {
                        Ok(()) => return Ok(()),
                        Err(error) => last = provider_error(&error),
                    }
                }
                Ok(_) => {}
                Err(error) => last = provider_error(&error),
            }
        }
        Err(last)
    }
}
