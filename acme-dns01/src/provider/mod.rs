//! DNS providers, which create and remove TXT records.

mod acme_dns;
mod cloudflare;
#[cfg(feature = "dns-update")]
mod dns_update;
mod exec;
mod readiness;
mod rfc2136;

pub use acme_dns::AcmeDns;
pub use cloudflare::{Cloudflare, CloudflareAuth, Scope};
#[cfg(feature = "dns-update")]
pub use dns_update::{DnsUpdateProvider, DnsUpdateService, ServiceError};
pub use exec::Exec;
pub use readiness::{Reach, Readiness};
pub use rfc2136::{Rfc2136, TsigAlgorithm};

use async_trait::async_trait;
use std::fmt;
use std::time::Duration;

/// Error of a DNS provider.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
#[error("{provider}: {why}")]
pub struct ProviderError {
    /// Short name of the kind of provider, such as `cloudflare`.
    pub provider: String,
    /// Human-readable description: the request, the response and the fix. Contains no secret.
    pub why: String,
    /// `true` if the error is transient, so that a retry may succeed.
    pub transient: bool,
    /// Delay before the next request, from the Retry-After of the provider's response. `None` without one.
    pub retry_after: Option<Duration>,
}

impl ProviderError {
    /// Creates an error after which a retry is not expected to succeed.
    #[must_use]
    pub fn permanent(provider: &str, why: impl Into<String>) -> Self {
        Self { provider: provider.to_owned(), why: why.into(), transient: false, retry_after: None }
    }

    /// Creates an error after which a retry may succeed.
    #[must_use]
    pub fn transient(provider: &str, why: impl Into<String>) -> Self {
        Self { provider: provider.to_owned(), why: why.into(), transient: true, retry_after: None }
    }
}

/// The names that a provider's [`ZoneMatch`] covers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Coverage {
    /// The requested name only, whatever its zone.
    Name,
    /// A zone of the provider.
    Zone {
        /// Name of the zone as A-labels, in lowercase.
        apex: String,
        /// `true` if the zone is delegated to the provider, as far as the provider knows.
        active: bool,
    },
    /// Any name, since the provider does not know its zones.
    Any,
}

impl Coverage {
    /// Returns the name of the zone. `None` unless it is [`Coverage::Zone`].
    #[must_use]
    pub fn apex(&self) -> Option<&str> {
        match self {
            Self::Zone { apex, .. } => Some(apex),
            Self::Name | Self::Any => None,
        }
    }
}

/// Zone of a provider that contains a requested name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ZoneMatch {
    /// Identifier of the zone, which is passed to the other methods and recorded in the journal.
    pub id: String,
    /// Names that the zone covers.
    pub coverage: Coverage,
}

impl ZoneMatch {
    /// Creates a match with this zone identifier.
    #[must_use]
    pub fn new(id: impl Into<String>, coverage: Coverage) -> Self {
        Self { id: id.into(), coverage }
    }
}

/// Finds the zone named `apex` among these zones, or else the longest one that is or contains the name, without regard
/// to case. The match is active, and its id is the zone as configured. `None` if there is none.
pub(crate) fn configured_zone(zones: &[String], name: &str, apex: &str) -> Option<ZoneMatch> {
    let inside = |zone: &&String| {
        name.eq_ignore_ascii_case(zone)
            || name.to_ascii_lowercase().ends_with(&format!(".{}", zone.to_ascii_lowercase()))
    };
    let exact = zones.iter().find(|zone| zone.eq_ignore_ascii_case(apex));
    let zone = exact.or_else(|| zones.iter().filter(inside).max_by_key(|zone| zone.len()))?;
    let apex = zone.to_ascii_lowercase();
    Some(ZoneMatch::new(zone, Coverage::Zone { apex, active: true }))
}

/// A DNS service in which TXT records can be created.
///
/// A record is added to existing ones and removed by exactly its value, so that records of others are never changed.
#[async_trait]
pub trait Provider: fmt::Debug + Send + Sync {
    /// Returns the current readiness of the provider. Called repeatedly, so that credentials that are provided later
    /// are found. While it returns [`Readiness::NotReady`], the provider is not used, and nothing is ordered for
    /// certificates that may need it. The default is [`Readiness::Ready`].
    async fn readiness(&self) -> Readiness {
        Readiness::Ready
    }

    /// Finds the provider's zone for a name: exactly `apex`, which is the zone according to the DNS, or else the
    /// closest parent zone of the provider. Returns `None` if the provider has neither.
    ///
    /// # Errors
    /// Returns a [`ProviderError`] if the API cannot be reached or rejects the request.
    async fn zone(&self, name: &str, apex: &str) -> Result<Option<ZoneMatch>, ProviderError>;

    /// Creates a TXT record in addition to existing ones. `zone` is the identifier of the zone, [`ZoneMatch::id`], and
    /// `name` the full name of the record. Succeeds if the record exists already. Returns the provider's identifier of
    /// the record, if it has one.
    ///
    /// # Errors
    /// Returns a [`ProviderError`] if the API cannot be reached or rejects the request.
    async fn add(&self, zone: &str, name: &str, value: &str) -> Result<Option<String>, ProviderError>;

    /// Removes the TXT record with this name and value; the other records of the name remain. Succeeds if the record
    /// does not exist. `zone` and `name` are as for [`add`](Self::add), and `id` is the identifier that it returned;
    /// `None` if it returned none or was interrupted.
    ///
    /// # Errors
    /// Returns a [`ProviderError`] if the API cannot be reached or rejects the request.
    async fn remove(
        &self,
        zone: &str,
        name: &str,
        value: &str,
        id: Option<&str>,
    ) -> Result<(), ProviderError>;

    /// Checks the credentials. Returns descriptions of their state and scope, each one line; none by default. Changes
    /// nothing.
    ///
    /// # Errors
    /// Returns a [`ProviderError`] if the API cannot be reached or rejects the credentials.
    async fn check(&self) -> Result<Vec<String>, ProviderError> {
        Ok(Vec::new())
    }

    /// Checks the permission to change TXT records of a name. `zone` and `name` are as for [`add`](Self::add). Changes
    /// nothing. Returns a description, or `None` if the permission cannot be determined, which is the default.
    ///
    /// # Errors
    /// Returns a [`ProviderError`] if the API cannot be reached, or the permission is missing.
    async fn probe(&self, zone: &str, name: &str) -> Result<Option<String>, ProviderError> {
        let _ = (zone, name);
        Ok(None)
    }

    /// Creates and removes a TXT record, to prove that both are permitted. `zone` and `name` are as for
    /// [`add`](Self::add). Returns a description; an implementation may return `None` without doing anything if a trial
    /// could do harm. If the removal fails, the record remains.
    ///
    /// # Errors
    /// Returns a [`ProviderError`] if the API cannot be reached, or rejects the creation or the removal.
    async fn trial(&self, zone: &str, name: &str, value: &str) -> Result<Option<String>, ProviderError> {
        let id = self.add(zone, name, value).await?;
        self.remove(zone, name, value, id.as_deref()).await.map_err(|error| ProviderError {
            why: format!(
                "{}; the TXT record {name} with the value {value} is left: the next check removes it, or remove it \
                 yourself",
                error.why
            ),
            ..error
        })?;
        Ok(Some("a TXT record was written and removed".to_owned()))
    }
}
