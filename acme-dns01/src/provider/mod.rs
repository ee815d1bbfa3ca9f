//! Who writes TXT records.

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

/// Why a provider did not do what it was asked for.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{provider}: {why}")]
pub struct ProviderError {
    /// Which one.
    pub provider: String,
    /// What was tried, what came, what to change. Never a secret.
    pub why: String,
    /// It may work in a moment.
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

/// Something that can write TXT records into zones.
///
/// A record is added beside whatever is there and removed by exactly its value: what others wrote is never touched.
#[async_trait]
pub trait Provider: fmt::Debug + Send + Sync {
    /// The zone of a name: `None` if it is none of the provider's zones. What is given is handed back to the other calls
    /// and kept in the journal.
    async fn zone(&self, name: &str) -> Result<Option<String>, ProviderError>;

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

    /// What the credentials can do, for people, without changing anything: each line is a finding.
    async fn check(&self) -> Result<Vec<String>, ProviderError> {
        Ok(Vec::new())
    }

    /// Whether TXT records at a name of a zone may be changed, without changing any. `None` where that cannot be known.
    async fn probe(&self, zone: &str, name: &str) -> Result<Option<String>, ProviderError> {
        let _ = (zone, name);
        Ok(None)
    }
}
