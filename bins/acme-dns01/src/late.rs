//! DNS providers whose secrets cannot be read yet. Secrets in files may be provided later, such as by a mount or
//! another service.

use crate::blocking::{BlockingError, BlockingValue};
use crate::error::BuildError;
use crate::providers::provider;
use crate::settings::ProviderSettings;
use acme_dns01::client::Http;
use acme_dns01::provider::{Provider, ProviderError, Reach, Readiness, ZoneMatch};
use async_trait::async_trait;
use cli_support::outcome::chain;
use cli_support::secret::Reference;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Time limit for reading the secrets of a provider, after which it is not ready: the file system does not answer.
const READ_WITHIN: Duration = Duration::from_secs(2);

/// Selection of the secrets of DNS providers that need not be readable when an engine is built. Certificates that may
/// need a provider without its secrets are held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LateSecrets {
    /// Every secret, including those that cannot be provided while the process runs.
    All,
    /// Secrets in files (`file:` and `age:`), which may be provided while the process runs. Credentials of systemd and
    /// environment variables are given at its start.
    Files,
}

impl LateSecrets {
    /// Returns `true` if an error is about a secret of the provider with this name and these settings, and the
    /// selection includes that secret.
    pub(crate) fn cover(self, error: &BuildError, name: &str, written: &ProviderSettings) -> bool {
        let (BuildError::Value { key, .. } | BuildError::Secret { key, .. }) = error else { return false };
        written.secrets(name).iter().any(|(known, reference)| known == key && self.includes(reference))
    }

    /// Returns `true` if the selection includes the secret of this reference.
    fn includes(self, reference: &Reference) -> bool {
        match self {
            Self::All => true,
            Self::Files => matches!(reference, Reference::File(_) | Reference::Age { .. }),
        }
    }
}

/// A provider that is built as soon as its secrets can be read. Until then it is not ready.
pub(crate) struct LateProvider {
    /// Configured name of the provider.
    name: String,
    /// Settings of the provider.
    written: ProviderSettings,
    http: Http,
    /// The provider, once it was built.
    built: BlockingValue<Arc<dyn Provider>>,
}

impl fmt::Debug for LateProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LateProvider").field("name", &self.name).finish_non_exhaustive()
    }
}

impl LateProvider {
    /// Creates the provider of this name and these settings. Nothing is read.
    pub(crate) fn new(name: &str, written: &ProviderSettings, http: &Http) -> Self {
        let (name, written, http) = (name.to_owned(), written.clone(), http.clone());
        Self { name, written, http, built: BlockingValue::new() }
    }

    /// Returns the provider. Reads its secrets and builds it unless that has succeeded before.
    ///
    /// # Errors
    /// Returns a description with the key of the secret that cannot be read or is not valid, or of a file system that
    /// does not answer within [`READ_WITHIN`].
    async fn build(&self) -> Result<Arc<dyn Provider>, String> {
        let (name, written, http) = (self.name.clone(), self.written.clone(), self.http.clone());
        let build = move || provider(&name, &written, &http).map_err(|why| chain(&why));
        self.built.get(READ_WITHIN, build).await.map_err(|error| match error {
            BlockingError::Failed(why) => why,
            BlockingError::TimedOut => {
                let (name, seconds) = (&self.name, READ_WITHIN.as_secs());
                format!("provider.{name}: the file system of its secrets does not answer within {seconds} s")
            }
        })
    }

    /// Returns the provider as [`build`](Self::build) does.
    ///
    /// # Errors
    /// Returns the error of [`build`](Self::build) as a transient error.
    async fn get(&self) -> Result<Arc<dyn Provider>, ProviderError> {
        self.build().await.map_err(|why| ProviderError::transient(&self.name, why))
    }
}

/// Returns the names that a provider may have a zone for, by its settings. Pinned zones of Cloudflare are no limit,
/// since others are looked up.
fn reach(written: &ProviderSettings) -> Reach {
    match written {
        ProviderSettings::AcmeDns { full_domain, .. } => {
            Reach::Name(full_domain.trim_end_matches('.').to_owned())
        }
        ProviderSettings::DnsUpdate { zones, .. } => Reach::Zones(zones.clone()),
        ProviderSettings::Exec { zones, .. } if !zones.is_empty() => Reach::Zones(zones.clone()),
        ProviderSettings::Rfc2136 { zone: Some(zone), .. } => Reach::Zones(vec![zone.clone()]),
        ProviderSettings::Cloudflare { .. }
        | ProviderSettings::Exec { .. }
        | ProviderSettings::Rfc2136 { .. } => Reach::Any,
    }
}

#[async_trait]
impl Provider for LateProvider {
    async fn readiness(&self) -> Readiness {
        match self.build().await {
            Ok(built) => built.readiness().await,
            Err(reason) => Readiness::NotReady { reach: reach(&self.written), reason },
        }
    }

    async fn zone(&self, name: &str, apex: &str) -> Result<Option<ZoneMatch>, ProviderError> {
        self.get().await?.zone(name, apex).await
    }

    async fn add(&self, zone: &str, name: &str, value: &str) -> Result<Option<String>, ProviderError> {
        self.get().await?.add(zone, name, value).await
    }

    async fn remove(
        &self,
        zone: &str,
        name: &str,
        value: &str,
        id: Option<&str>,
    ) -> Result<(), ProviderError> {
        self.get().await?.remove(zone, name, value, id).await
    }

    async fn check(&self) -> Result<Vec<String>, ProviderError> {
        self.get().await?.check().await
    }

    async fn probe(&self, zone: &str, name: &str) -> Result<Option<String>, ProviderError> {
        self.get().await?.probe(zone, name).await
    }

    async fn trial(&self, zone: &str, name: &str, value: &str) -> Result<Option<String>, ProviderError> {
        self.get().await?.trial(zone, name, value).await
    }
}
