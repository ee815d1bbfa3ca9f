//! DNS providers and alert sinks whose secrets cannot be read yet.

use crate::settings::ProviderSettings;
use acme_dns01::Alert;
use acme_dns01::alert::{AlertError, AlertSink};
use acme_dns01::deferred::Deferred;
use acme_dns01::provider::{Provider, ProviderError, Reach, Readiness, ZoneMatch};
use async_trait::async_trait;
use std::sync::Arc;

/// An alert sink that is built as soon as its secrets can be read. Until then, alerts to it are lost.
#[derive(Debug)]
pub(crate) struct PendingSink(pub(crate) Deferred<Arc<dyn AlertSink>>);

#[async_trait]
impl AlertSink for PendingSink {
    async fn send(&self, certificate: &str, alert: &Alert) -> Result<(), AlertError> {
        let sink = self.0.get().await.map_err(|why| AlertError::Other(why.into()))?;
        sink.send(certificate, alert).await
    }
}

/// A provider that is built as soon as its secrets can be read. Until then it is not ready.
#[derive(Debug)]
pub(crate) struct PendingProvider {
    /// Configured name of the provider.
    name: String,
    /// Names that it may have a zone for.
    reach: Reach,
    /// The provider, once it was built.
    built: Deferred<Arc<dyn Provider>>,
}

impl PendingProvider {
    /// Creates the provider of this name and these settings, which `built` builds.
    pub(crate) fn new(name: &str, written: &ProviderSettings, built: Deferred<Arc<dyn Provider>>) -> Self {
        Self { name: name.to_owned(), reach: reach(written), built }
    }

    /// Returns the provider. Reads its secrets and builds it unless that has succeeded before.
    ///
    /// # Errors
    /// Returns a description with the key of the secret that cannot be read or is not valid, or of a file system that
    /// does not answer, as a transient error.
    async fn get(&self) -> Result<Arc<dyn Provider>, ProviderError> {
        self.built.get().await.map_err(|why| ProviderError::transient(&self.name, why))
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
impl Provider for PendingProvider {
    async fn readiness(&self) -> Readiness {
        match self.built.get().await {
            Ok(built) => built.readiness().await,
            Err(reason) => Readiness::NotReady { reach: self.reach.clone(), reason },
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// A sink that counts alerts.
    #[derive(Debug, Default)]
    struct CountingSink(AtomicUsize);

    #[async_trait]
    impl AlertSink for CountingSink {
        async fn send(&self, _: &str, _: &Alert) -> Result<(), AlertError> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
    }

    #[tokio::test]
    async fn alerts_are_lost_with_the_reason_until_the_sink_is_ready() {
        let counting = Arc::new(CountingSink::default());
        let (sink, attempts) = (counting.clone(), AtomicUsize::new(0));
        let pending = PendingSink(Deferred::new(move || {
            let sink: Arc<dyn AlertSink> = sink.clone();
            let first = attempts.fetch_add(1, Ordering::Relaxed) == 0;
            std::future::ready(if first { Err("alert.webhook: no such file".to_owned()) } else { Ok(sink) })
        }));
        let lost = pending.send("site", &Alert::Recovered).await.expect_err("it is not ready");
        assert!(cli_support::outcome::chain(&lost).contains("alert.webhook: no such file"), "{lost}");
        assert_eq!(counting.0.load(Ordering::Relaxed), 0);
        pending.send("site", &Alert::Recovered).await.expect("it is ready");
        assert_eq!(counting.0.load(Ordering::Relaxed), 1);
    }
}
