//! Location of a challenge's TXT record: provider and zone.

use crate::dns::{Dns, DnsError, Target};
use crate::machine::{AcmeError, ErrorKind, TxtRecord};
use crate::propagation::LookupMode;
use crate::provider::{Coverage, Provider, ProviderError, ZoneMatch};
use futures_util::future::join_all;
use std::sync::Arc;

/// Converts an error of a DNS provider, with its Retry-After: a transient error remains transient, and a permanent one
/// is [`ErrorKind::Local`].
pub(super) fn provider_error(error: &ProviderError) -> AcmeError {
    let kind = if error.transient { ErrorKind::Transient } else { ErrorKind::Local };
    AcmeError::new(kind, error.to_string()).after(error.retry_after)
}

/// DNS lookups, and the configured DNS providers by name in the order of configuration.
pub(super) struct Locator {
    /// DNS lookups, which find the zone of a challenge name.
    pub(super) dns: Dns,
    /// Configured DNS providers with their names, in the order of configuration.
    pub(super) providers: Vec<(String, Arc<dyn Provider>)>,
}

/// Returns the rank of a provider's match for a target; the highest is preferred:
///
/// - 6: the provider has the name itself ([`Coverage::Name`])
/// - 5: an active zone that is the target's or, in resolver mode, one with a longer name, since resolvers do not reveal
///   a delegation of the challenge name itself
/// - 4: the target's zone, not active
/// - 3 ([`MIN_RANK`]): any zone ([`Coverage::Any`])
/// - 1: another zone, where the CA would not look
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

/// Lowest rank of a match that may be used: the CA would not see a record published by a match below.
const MIN_RANK: u8 = 3;

impl Locator {
    /// Returns the provider with this configured name. `None` if there is none.
    pub(super) fn provider(&self, name: &str) -> Option<&Arc<dyn Provider>> {
        self.providers.iter().find(|(known, _)| known == name).map(|(_, provider)| provider)
    }

    /// Finds zone and provider of a challenge's TXT record. The zone is that of the DNS, after CNAME records. The
    /// provider is the one with the match of the highest [`rank`], the first in the order of configuration of several.
    /// `allowed` are the names of the providers to ask; all if empty. Providers are asked concurrently. The returned
    /// record has neither value nor id, and is not published.
    ///
    /// # Errors
    /// Returns a local error for a CNAME loop, without a zone, for an unsupported name, or if no provider has the zone;
    /// a transient error for other DNS errors; and, without a match of at least [`MIN_RANK`], the first transient error of
    /// a provider, or else the last permanent one. A match of [`MIN_RANK`] is not used while another provider has a
    /// transient error, since that one may have the zone.
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
            (Some((MIN_RANK, ..)), Some(error)) if error.is_transient() => Err(error),
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
    /// that has the zone and can remove the record. A provider that takes any zone counts only if it is the single one.
    /// The record's id is passed on only if the zone is the one in which it was created.
    ///
    /// # Errors
    /// Returns the error of the provider that created the record. If that is not configured, returns the error of the
    /// last other provider that failed, or a local error if no provider has the zone.
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
