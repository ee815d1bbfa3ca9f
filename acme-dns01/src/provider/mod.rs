//! DNS providers, which write TXT records.

mod acme_dns;
mod cloudflare;
#[cfg(feature = "dns-update")]
mod dns_update;
mod exec;
mod rfc2136;

pub use acme_dns::AcmeDns;
pub use cloudflare::{Cloudflare, CloudflareAuth, Scope};
#[cfg(feature = "dns-update")]
pub use dns_update::DnsUpdateProvider;
pub use exec::Exec;
pub use rfc2136::{Rfc2136, TsigAlgorithm};

use async_trait::async_trait;
use std::fmt;
use std::time::Duration;

/// Error of a DNS provider.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
#[error("{provider}: {why}")]
pub struct ProviderError {
    /// Kind of the provider.
    pub provider: String,
    /// The request, the answer and the fix. Contains no secret.
    pub why: String,
    /// Whether the error is transient, so that a retry may succeed.
    pub transient: bool,
    /// Not again before, in the provider's words.
    pub retry_after: Option<Duration>,
}

impl ProviderError {
    /// An error that will come again.
    #[must_use]
    pub fn lasting(provider: &str, why: impl Into<String>) -> Self {
        Self { provider: provider.to_owned(), why: why.into(), transient: false, retry_after: None }
    }

    /// An error that may be gone in a moment.
    #[must_use]
    pub fn transient(provider: &str, why: impl Into<String>) -> Self {
        Self { provider: provider.to_owned(), why: why.into(), transient: true, retry_after: None }
    }
}

/// Names of a provider that a [`ZoneMatch`] covers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Coverage {
    /// Exactly the name that was asked for, whatever its zone.
    Name,
    /// A zone of the provider.
    Zone {
        /// Name of the zone as A-labels, in lower case.
        apex: String,
        /// The zone is delegated to the provider, as far as the provider knows.
        active: bool,
    },
    /// Any name: the provider does not know its zones.
    Any,
}

impl Coverage {
    /// Returns the zone's name.
    #[must_use]
    pub fn apex(&self) -> Option<&str> {
        match self {
            Self::Zone { apex, .. } => Some(apex),
            Self::Name | Self::Any => None,
        }
    }
}

/// A provider's zone for a name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ZoneMatch {
    /// Identifier of the zone, which is handed back to the other calls and kept in the journal.
    pub id: String,
    /// Names that it covers.
    pub coverage: Coverage,
}

impl ZoneMatch {
    /// A zone with this identifier.
    #[must_use]
    pub fn new(id: impl Into<String>, coverage: Coverage) -> Self {
        Self { id: id.into(), coverage }
    }
}

/// Finds the longest of these zones that a name is in: exactly `apex` if it is among them.
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

/// Something that can write TXT records into zones.
///
/// A record is added beside whatever is there and removed by exactly its value: what others wrote is never touched.
#[async_trait]
pub trait Provider: fmt::Debug + Send + Sync {
    /// Finds the provider's zone for a name: exactly `apex`, which is the zone that the DNS names, or else the closest parent that
    /// the provider has. `None` if it has neither.
    async fn zone(&self, name: &str, apex: &str) -> Result<Option<ZoneMatch>, ProviderError>;

    /// Adds a record. One that exists already is a success. The provider's identifier of it, if it has such.
    async fn add(&self, zone: &str, name: &str, value: &str) -> Result<Option<String>, ProviderError>;

    /// Removes a record. One that does not exist is a success.
    async fn remove(
        &self,
        zone: &str,
        name: &str,
        value: &str,
        id: Option<&str>,
    ) -> Result<(), ProviderError>;

    /// Describes the reach of the credentials without changing anything, one finding a line.
    async fn check(&self) -> Result<Vec<String>, ProviderError> {
        Ok(Vec::new())
    }

    /// Checks the permission to change TXT records without changing any. `None` if that cannot be known.
    async fn probe(&self, zone: &str, name: &str) -> Result<Option<String>, ProviderError> {
        let _ = (zone, name);
        Ok(None)
    }

    /// Writes a TXT record and removes it, to prove that both work. `None` if that cannot be tried without harm.
    async fn trial(&self, zone: &str, name: &str, value: &str) -> Result<Option<String>, ProviderError> {
        let id = self.add(zone, name, value).await?;
        self.remove(zone, name, value, id.as_deref()).await?;
        Ok(Some("a TXT record was written and removed".to_owned()))
    }
}
