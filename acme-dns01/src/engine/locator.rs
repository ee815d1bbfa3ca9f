//! Location of a challenge's TXT record: provider and zone.

use super::choice::{Choice, ProviderAnswer, choose};
use crate::dns::{Dns, DnsError, Target};
use crate::machine::{AcmeError, Dependency, ErrorKind, TxtRecord};
use crate::provider::{Coverage, Provider, ProviderError, Readiness};
use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// Maximum number of names that are looked up concurrently for the decision to hold a certificate back.
const MAX_CONCURRENT: usize = 8;

/// Converts an error of a DNS provider, with its Retry-After: a transient error remains transient, and a permanent one
/// is [`ErrorKind::Local`].
pub(super) fn provider_error(error: &ProviderError) -> AcmeError {
    let kind = if error.transient { ErrorKind::Transient } else { ErrorKind::Local };
    AcmeError::new(kind, error.to_string()).after(error.retry_after)
}

/// Asks a provider for its zone of a target. A provider that is not ready is not asked.
async fn answer(provider: &dyn Provider, target: &Target) -> ProviderAnswer {
    if let Readiness::NotReady { reach, reason } = provider.readiness().await {
        return ProviderAnswer::NotReady(reach, reason);
    }
    match provider.zone(&target.name, &target.zone).await {
        Ok(Some(found)) => ProviderAnswer::Zone(found),
        Ok(None) => ProviderAnswer::None,
        Err(error) => ProviderAnswer::Failed(provider_error(&error)),
    }
}

/// DNS lookups, and the configured DNS providers by name in the order of configuration.
pub(super) struct Locator {
    /// DNS lookups, which find the zone of a challenge name.
    pub(super) dns: Dns,
    /// Configured DNS providers with their names, in the order of configuration.
    pub(super) providers: Vec<(String, Arc<dyn Provider>)>,
}

/// A DNS provider or authority that is not ready, and that a certificate may need.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnreadyDependency {
    /// The provider or authority.
    pub dependency: Dependency,
    /// Description of what it lacks, with the fix.
    pub reason: String,
}

impl fmt::Display for UnreadyDependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not ready: {}", self.dependency, self.reason)
    }
}

/// Error of locating a record.
enum LocateError {
    /// A provider that may be needed is not ready.
    Blocked(UnreadyDependency),
    /// The DNS did not answer, so that the zone is not known.
    Unanswered(AcmeError),
    /// The name has no zone that can be used, or a provider failed.
    Failed(AcmeError),
    /// No provider has the zone.
    NoProvider(AcmeError),
}

impl From<LocateError> for AcmeError {
    fn from(error: LocateError) -> Self {
        match error {
            LocateError::Blocked(held) => Self::new(ErrorKind::Transient, held.to_string()),
            LocateError::Unanswered(error) | LocateError::Failed(error) | LocateError::NoProvider(error) => {
                error
            }
        }
    }
}

/// Converts an error of the lookup of zone and name of a record.
fn unlocated(name: &str, error: DnsError) -> LocateError {
    match error {
        DnsError::Loop { .. } | DnsError::NoZone { .. } | DnsError::Unsupported { .. } => {
            LocateError::Failed(AcmeError::new(ErrorKind::Local, error.to_string()))
        }
        error => LocateError::Unanswered(AcmeError::new(ErrorKind::Transient, format!("{name}: {error}"))),
    }
}

impl Locator {
    /// Returns the provider with this configured name. `None` if there is none.
    pub(super) fn provider(&self, name: &str) -> Option<&Arc<dyn Provider>> {
        self.providers.iter().find(|(known, _)| known == name).map(|(_, provider)| provider)
    }

    /// Returns the provider for which a certificate with these challenge names is held back: a provider that is not
    /// ready and for which [`choose`] waits for one of the names; or else, if the DNS does not answer for a name, the
    /// first provider that is not ready. `allowed` are the names of the providers that may be used; all if empty.
    /// `None` if no name needs a provider that is not ready; a name without a zone needs none. Queries the DNS and the
    /// services only if a provider is not ready, for [`MAX_CONCURRENT`] names at a time.
    pub(super) async fn unready_dependency(
        &self,
        names: &BTreeSet<String>,
        allowed: &[String],
    ) -> Option<UnreadyDependency> {
        let mut late = None;
        for (name, provider) in self.allowed(allowed) {
            if let Readiness::NotReady { reason, .. } = provider.readiness().await {
                late.get_or_insert(UnreadyDependency {
                    dependency: Dependency::Provider(name.clone()),
                    reason,
                });
            }
        }
        let late = late?;
        let mut looks = Vec::new();
        for name in names {
            looks.push(self.find(name, allowed));
        }
        // In order, so that the reason is the same each time.
        let mut looks = stream::iter(looks).buffered(MAX_CONCURRENT);
        let mut unanswered = None;
        while let Some(found) = looks.next().await {
            match found {
                Err(LocateError::Blocked(held)) => return Some(held),
                Err(LocateError::Unanswered(error)) => {
                    unanswered.get_or_insert(error);
                }
                Ok(_) | Err(LocateError::Failed(_) | LocateError::NoProvider(_)) => {}
            }
        }
        let error = unanswered?;
        let reason =
            format!("{}; it may be needed, since the DNS does not answer: {}", late.reason, error.reason);
        Some(UnreadyDependency { reason, ..late })
    }

    /// Returns the providers with the names `allowed`, or all if that is empty, in the order of configuration.
    fn allowed(&self, allowed: &[String]) -> impl Iterator<Item = &(String, Arc<dyn Provider>)> {
        self.providers.iter().filter(move |(known, _)| allowed.is_empty() || allowed.contains(known))
    }

    /// Finds zone and provider of a challenge's TXT record. The zone is that of the DNS, after CNAME records. The
    /// provider is that of [`choose`]. `allowed` are the names of the providers to ask; all if empty. Providers are
    /// asked concurrently. The returned record has neither value nor id, and is not published.
    ///
    /// # Errors
    /// Returns a local error for a CNAME loop, without a zone, for an unsupported name, or if no provider has the zone;
    /// a transient error for other DNS errors, and if a provider that may be needed is not ready; and, without a match
    /// that may be used, the first transient error of a provider, or else the last permanent one.
    pub(super) async fn locate(&self, name: &str, allowed: &[String]) -> Result<TxtRecord, AcmeError> {
        self.find(name, allowed).await.map_err(AcmeError::from)
    }

    /// Finds zone and provider of a challenge's TXT record, as [`locate`](Self::locate) does. If no provider has the
    /// zone, a CNAME record that a wildcard record makes is followed all the same: it may be meant as a delegation.
    ///
    /// # Errors
    /// Returns [`LocateError::Blocked`] if a provider that may be needed is not ready, [`LocateError::Unanswered`] for
    /// a transient error of the DNS, [`LocateError::NoProvider`] if no provider has the zone, and
    /// [`LocateError::Failed`] for every other error.
    async fn find(&self, name: &str, allowed: &[String]) -> Result<TxtRecord, LocateError> {
        let target = self.dns.target(name).await.map_err(|error| unlocated(name, error))?;
        let wildcard = target.wildcard.clone();
        match (self.provide(target, allowed).await, wildcard) {
            (Err(LocateError::NoProvider(error)), Some(wildcard)) => {
                let through = self.dns.follow(name, true).await.map_err(|error| unlocated(name, error))?;
                self.provide(through, allowed).await.map_err(|other| match other {
                    LocateError::NoProvider(_) => {
                        let reason = format!("{} (a wildcard record points to {wildcard})", error.reason);
                        LocateError::NoProvider(AcmeError { reason, ..error })
                    }
                    LocateError::Blocked(_) | LocateError::Unanswered(_) | LocateError::Failed(_) => other,
                })
            }
            (found, _) => found,
        }
    }

    /// Finds the provider of a record whose name and zone are known, as [`find`](Self::find) does.
    ///
    /// # Errors
    /// Returns the errors of [`find`](Self::find), except [`LocateError::Unanswered`].
    async fn provide(&self, target: Target, allowed: &[String]) -> Result<TxtRecord, LocateError> {
        let lacking = |why: String| Err(LocateError::NoProvider(AcmeError::new(ErrorKind::Local, why)));
        let asked: Vec<&(String, Arc<dyn Provider>)> = self.allowed(allowed).collect();
        let mut answers = Vec::new();
        for (_, provider) in &asked {
            answers.push(answer(&**provider, &target));
        }
        let answers = join_all(answers).await;
        let name_of = |at: usize| asked.get(at).map_or("", |(known, _)| known.as_str());
        match choose(&target, self.dns.mode, &answers) {
            Choice::Use(at, found) => Ok(TxtRecord {
                provider: name_of(at).to_owned(),
                zone: found.id,
                name: target.name,
                value: String::new(),
                id: None,
                published: false,
            }),
            Choice::Wait(at, error) => {
                let mut reason = match answers.into_iter().nth(at) {
                    Some(ProviderAnswer::NotReady(_, reason)) => reason,
                    _ => String::new(),
                };
                if let Some(error) = error {
                    reason = format!("{reason}; another provider failed: {}", error.reason);
                }
                let dependency = Dependency::Provider(name_of(at).to_owned());
                Err(LocateError::Blocked(UnreadyDependency { dependency, reason }))
            }
            Choice::Failed(error) => Err(LocateError::Failed(error)),
            Choice::Nothing(Some((at, found))) => {
                let (apex, zone) = (found.coverage.apex().unwrap_or_default(), &target.zone);
                let why = format!(
                    "{} is in the zone {zone}, which no provider has; {} has {apex} only, where the CA would not look: \
                     add a provider for {zone}, or point _acme-challenge elsewhere by a CNAME",
                    target.name,
                    name_of(at)
                );
                lacking(why)
            }
            Choice::Nothing(None) => {
                let asked: Vec<&str> = asked.iter().map(|(known, _)| known.as_str()).collect();
                let asked = if asked.is_empty() { "none is configured".to_owned() } else { asked.join(", ") };
                let why = format!(
                    "no DNS provider has the zone {} of {} (asked: {asked}): give the credentials access to the zone (at \
                     Cloudflare Zone:Read, or its id in `zones`), or point _acme-challenge to another zone by a CNAME",
                    target.zone, target.name
                );
                lacking(why)
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
