//! Further providers, through the dns-update crate.

use super::{Provider, ProviderError, ZoneMatch, configured_zone};
use async_trait::async_trait;
use dns_update::{DnsRecord, DnsRecordType, DnsUpdater, Error};
use std::fmt;

/// Provider for a service of the dns-update crate. The zones are configured by name, since the crate cannot list them.
///
/// Records have no identifiers, so they are removed by value. The TTL is 300 s.
pub struct DnsUpdateProvider {
    updater: DnsUpdater,
    zones: Vec<String>,
    ttl: u32,
}

impl fmt::Debug for DnsUpdateProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DnsUpdateProvider").field("zones", &self.zones).finish_non_exhaustive()
    }
}

impl DnsUpdateProvider {
    /// Creates a provider for these zones, by name.
    #[must_use]
    pub const fn new(updater: DnsUpdater, zones: Vec<String>) -> Self {
        Self { updater, zones, ttl: 300 }
    }

    /// Creates a provider for a service that is authenticated by a single token. `zones` are the names of its zones.
    ///
    /// # Errors
    /// Returns a [`ProviderError`] if the service is not known, cannot be used or rejects the settings; the message
    /// lists the known services.
    pub fn with_token(
        service: &str,
        token: &secrecy::SecretString,
        zones: Vec<String>,
    ) -> Result<Self, ProviderError> {
        use secrecy::ExposeSecret;
        let token = token.expose_secret();
        let within = Some(std::time::Duration::from_secs(30));
        let made = match service {
            "bunny" => DnsUpdater::new_bunny(token, within),
            "desec" => DnsUpdater::new_desec(token, within),
            "digitalocean" => DnsUpdater::new_digitalocean(token, within),
            "dynu" => DnsUpdater::new_dynu(token, within),
            "gandi" => DnsUpdater::new_gandiv5(token, within),
            "gcore" => DnsUpdater::new_gcore(token, within),
            "hetzner" => DnsUpdater::new_hetzner(token, within),
            "ionos" => DnsUpdater::new_ionos(token, within),
            "linode" => DnsUpdater::new_linode(token, within),
            "vultr" => DnsUpdater::new_vultr(token, within),
            // DuckDNS has one TXT value per name, so a second value cannot be added.
            "duckdns" => {
                let why = "duckdns keeps a single TXT record that cannot be added to: use exec with a program of its own";
                return Err(ProviderError::lasting("dns-update", why));
            }
            _ => {
                let known = "bunny, desec, digitalocean, dynu, gandi, gcore, hetzner, ionos, linode, vultr";
                let why = format!(
                    "not a known service: `{service}`: expected one of {known}; others take more than a token: use the library, or exec"
                );
                return Err(ProviderError::lasting("dns-update", why));
            }
        };
        Ok(Self::new(made.map_err(|why| provider_error(service, &why))?, zones))
    }
}

/// Converts an error of dns-update. Refused credentials, and requests that cannot succeed, are permanent; others are
/// transient.
fn provider_error(what: &str, why: &Error) -> ProviderError {
    let words = format!("{what}: {why:?}");
    match why {
        Error::Unauthorized => {
            ProviderError::lasting("dns-update", format!("{what}: the credentials are refused"))
        }
        Error::NotFound | Error::BadRequest | Error::Unsupported(_) | Error::InvalidRegion => {
            ProviderError::lasting("dns-update", words)
        }
        _ => ProviderError::transient("dns-update", words),
    }
}

#[async_trait]
impl Provider for DnsUpdateProvider {
    async fn zone(&self, name: &str, apex: &str) -> Result<Option<ZoneMatch>, ProviderError> {
        Ok(configured_zone(&self.zones, name, apex))
    }

    async fn add(&self, zone: &str, name: &str, value: &str) -> Result<Option<String>, ProviderError> {
        let record = vec![DnsRecord::TXT(value.to_owned())];
        let added = self.updater.add_to_rrset(name, DnsRecordType::TXT, self.ttl, record, zone).await;
        added.map(|()| None).map_err(|why| provider_error(name, &why))
    }

    async fn remove(
        &self,
        zone: &str,
        name: &str,
        value: &str,
        _: Option<&str>,
    ) -> Result<(), ProviderError> {
        let record = vec![DnsRecord::TXT(value.to_owned())];
        match self.updater.remove_from_rrset(name, DnsRecordType::TXT, record, zone).await {
            Ok(()) | Err(Error::NotFound) => Ok(()),
            Err(why) => Err(provider_error(name, &why)),
        }
    }
}
