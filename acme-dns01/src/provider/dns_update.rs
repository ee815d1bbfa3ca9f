//! Further providers, through the dns-update crate.

use super::{Provider, ProviderError, ZoneMatch, configured_zone};
use async_trait::async_trait;
use dns_update::{DnsRecord, DnsRecordType, DnsUpdater, Error};
use secrecy::{ExposeSecret, SecretString};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;
use tokio::sync::Mutex;

/// Provider for a service of the dns-update crate. The zones are configured by name, since the crate cannot list them.
///
/// Records have no identifiers, so they are removed by value. The TTL is 300 s. Records are added and removed one after
/// another, since some services (PowerDNS) replace all records of a name: a change of another process between the two
/// requests is lost there.
pub struct DnsUpdateProvider {
    updater: DnsUpdater,
    /// Held while the records of a name are read and written.
    changing: Mutex<()>,
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
        Self { updater, changing: Mutex::const_new(()), zones, ttl: 300 }
    }

    /// Creates a provider for a service that is authenticated by a single token. `zones` are the names of its zones.
    ///
    /// # Errors
    /// Returns a [`ProviderError`] if the service is not known, takes other credentials, or rejects the settings; the
    /// message lists what is known.
    pub fn with_token(
        service: &str,
        token: &SecretString,
        zones: Vec<String>,
    ) -> Result<Self, ProviderError> {
        let service = DnsUpdateService::new(service).credential("token", token.clone());
        service.connect(zones).map_err(|why| ProviderError::permanent("dns-update", why.to_string()))
    }
}

/// Access to a DNS service that dns-update knows: its name, and the credentials that it takes.
#[derive(Debug)]
pub struct DnsUpdateService {
    name: String,
    credentials: BTreeMap<String, SecretString>,
    base: Option<String>,
}

impl DnsUpdateService {
    /// Creates the access to a service by its name, such as `desec`, without credentials.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), credentials: BTreeMap::new(), base: None }
    }

    /// Adds a credential by its key, such as `token` or `api_key`. Replaces one of the same key.
    #[must_use]
    pub fn credential(mut self, key: impl Into<String>, value: SecretString) -> Self {
        self.credentials.insert(key.into(), value);
        self
    }

    /// Sets the base URL of the API, for a service that one runs oneself.
    #[must_use]
    pub fn base(mut self, base: impl Into<String>) -> Self {
        self.base = Some(base.into());
        self
    }

    /// Checks that a service is known, that it takes exactly these credentials, and that `base` is the URL of its API
    /// if it needs one, and absent otherwise. Needs no value of a credential.
    ///
    /// # Errors
    /// Returns a [`ServiceError`] that names what is missing, not known or not valid.
    pub fn check<'k>(
        name: &str,
        keys: impl IntoIterator<Item = &'k str>,
        base: Option<&str>,
    ) -> Result<(), ServiceError> {
        let service = Service::named(name)?;
        let keys: BTreeSet<&str> = keys.into_iter().collect();
        let listed = || service.credentials.join(", ");
        if let Some(missing) = service.credentials.iter().find(|key| !keys.contains(**key)) {
            return Err(ServiceError::MissingCredential { service: service.name, key: missing });
        }
        if let Some(other) = keys.iter().find(|key| !service.credentials.contains(key)) {
            let (key, known) = ((*other).to_owned(), listed());
            return Err(ServiceError::UnknownCredential { service: service.name, key, known });
        }
        match (service.base, base) {
            (true, None) => Err(ServiceError::MissingBase { service: service.name }),
            (false, Some(_)) => Err(ServiceError::FixedBase { service: service.name }),
            (true, Some(base)) if !is_base(base) => Err(ServiceError::InvalidBase { service: service.name }),
            (true, Some(_)) | (false, None) => Ok(()),
        }
    }

    /// Creates a provider for zones of the service, by their names. Sends no request.
    ///
    /// # Errors
    /// Returns a [`ServiceError`] if the service is not known, a credential or the base URL is missing, not known or
    /// not valid, or dns-update rejects a value.
    pub fn connect(&self, zones: Vec<String>) -> Result<DnsUpdateProvider, ServiceError> {
        Self::check(&self.name, self.credentials.keys().map(String::as_str), self.base.as_deref())?;
        let service = Service::named(&self.name)?;
        // dns-update leaves a field out whose value is not valid.
        let valid = |text: &str| !text.is_empty() && text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        if let Some((key, _)) = self.credentials.iter().find(|(_, value)| !valid(value.expose_secret())) {
            return Err(ServiceError::InvalidCredential { service: service.name, key: key.clone() });
        }
        let updater = (service.updater)(self);
        let updater = updater.map_err(|why| ServiceError::Rejected(provider_error(service.name, &why)))?;
        Ok(DnsUpdateProvider::new(updater, zones))
    }

    /// Returns the value of a credential. Empty if there is none, which [`check`](Self::check) has excluded.
    fn value(&self, key: &str) -> &str {
        self.credentials.get(key).map_or("", |value| value.expose_secret())
    }
}

/// Returns true for an `http` or `https` URL of a host, an optional port and a path, without user information, query
/// and fragment.
fn is_base(text: &str) -> bool {
    let Ok(url) = text.parse::<http::Uri>() else { return false };
    let Some(authority) = url.authority() else { return false };
    let port = authority.as_str().strip_prefix(authority.host());
    matches!(url.scheme_str(), Some("http" | "https"))
        && !authority.host().is_empty()
        && port.is_some_and(|port| port.is_empty() || authority.port_u16().is_some())
        && !text.contains(['@', '?', '#'])
}

/// Reason why a provider for a service cannot be created.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// The service is not known.
    #[error(
        "not a known service: `{service}`: expected one of {known}; for others use exec with a program of your own, or \
         the library"
    )]
    Unknown {
        /// Name of the service.
        service: String,
        /// Names of the known services.
        known: String,
    },
    /// The service cannot keep two TXT records of one name.
    #[error(
        "{service} keeps a single TXT record that cannot be added to: use exec with a program of your own"
    )]
    SingleRecord {
        /// Name of the service.
        service: &'static str,
    },
    /// A credential is missing.
    #[error("{service} takes the credential `{key}`, which is missing")]
    MissingCredential {
        /// Name of the service.
        service: &'static str,
        /// Key of the credential.
        key: &'static str,
    },
    /// A credential is given that the service does not take.
    #[error("not a credential of {service}: `{key}`: expected {known}")]
    UnknownCredential {
        /// Name of the service.
        service: &'static str,
        /// Key of the credential.
        key: String,
        /// Keys of its credentials.
        known: String,
    },
    /// The base URL of the API is missing, which depends on the installation.
    #[error("{service} takes the base URL of its API, which is missing: write base")]
    MissingBase {
        /// Name of the service.
        service: &'static str,
    },
    /// A base URL is given for a service whose API has a fixed one.
    #[error("the API of {service} has a fixed address: leave base out")]
    FixedBase {
        /// Name of the service.
        service: &'static str,
    },
    /// The base URL of the API is not valid. The text does not show it, since it may contain a password.
    #[error(
        "the base of {service} is not the URL of an API: expected http:// or https:// and a host, such as \
         http://127.0.0.1:8081, without a user name or password"
    )]
    InvalidBase {
        /// Name of the service.
        service: &'static str,
    },
    /// The value of a credential is empty, or contains other characters than printable ASCII.
    #[error(
        "the credential `{key}` of {service} is empty, or has a character that a field of HTTP cannot hold: expected \
         printable ASCII"
    )]
    InvalidCredential {
        /// Name of the service.
        service: &'static str,
        /// Key of the credential.
        key: String,
    },
    /// dns-update rejects a credential or the base URL when its client is created.
    #[error(transparent)]
    Rejected(ProviderError),
}

/// A service of dns-update whose records can be added to and removed by value.
struct Service {
    name: &'static str,
    /// Keys of its credentials, all of which are required.
    credentials: &'static [&'static str],
    /// `true` if the base URL of its API is required, `false` if it is fixed.
    base: bool,
    updater: fn(&DnsUpdateService) -> dns_update::Result<DnsUpdater>,
}

/// Time limit of a request.
const TIMEOUT: Option<Duration> = Some(Duration::from_secs(30));

/// The credential of most services.
const TOKEN: &[&str] = &["token"];

/// The known services, by name. To add one takes a line here, and one in the documentation of the program.
const SERVICES: &[Service] = &[
    Service {
        name: "bunny",
        credentials: TOKEN,
        base: false,
        updater: |with| DnsUpdater::new_bunny(with.value("token"), TIMEOUT),
    },
    Service {
        name: "desec",
        credentials: TOKEN,
        base: false,
        updater: |with| DnsUpdater::new_desec(with.value("token"), TIMEOUT),
    },
    Service {
        name: "digitalocean",
        credentials: TOKEN,
        base: false,
        updater: |with| DnsUpdater::new_digitalocean(with.value("token"), TIMEOUT),
    },
    Service {
        name: "dynu",
        credentials: TOKEN,
        base: false,
        updater: |with| DnsUpdater::new_dynu(with.value("token"), TIMEOUT),
    },
    Service {
        name: "gandi",
        credentials: TOKEN,
        base: false,
        updater: |with| DnsUpdater::new_gandiv5(with.value("token"), TIMEOUT),
    },
    Service {
        name: "gcore",
        credentials: TOKEN,
        base: false,
        updater: |with| DnsUpdater::new_gcore(with.value("token"), TIMEOUT),
    },
    Service {
        name: "hetzner",
        credentials: TOKEN,
        base: false,
        updater: |with| DnsUpdater::new_hetzner(with.value("token"), TIMEOUT),
    },
    Service {
        name: "ionos",
        credentials: TOKEN,
        base: false,
        updater: |with| DnsUpdater::new_ionos(with.value("token"), TIMEOUT),
    },
    Service {
        name: "linode",
        credentials: TOKEN,
        base: false,
        updater: |with| DnsUpdater::new_linode(with.value("token"), TIMEOUT),
    },
    Service {
        name: "porkbun",
        credentials: &["api_key", "secret_api_key"],
        base: false,
        updater: |with| DnsUpdater::new_porkbun(with.value("api_key"), with.value("secret_api_key"), TIMEOUT),
    },
    Service {
        name: "powerdns",
        credentials: &["api_key"],
        base: true,
        updater: |with| {
            DnsUpdater::new_pdns(with.value("api_key"), with.base.as_ref(), None::<&str>, TIMEOUT)
        },
    },
    Service {
        name: "vultr",
        credentials: TOKEN,
        base: false,
        updater: |with| DnsUpdater::new_vultr(with.value("token"), TIMEOUT),
    },
];

impl Service {
    /// Returns a service by its name.
    ///
    /// # Errors
    /// Returns a [`ServiceError`] if it is not known, or cannot add a record to others of the same name.
    fn named(name: &str) -> Result<&'static Self, ServiceError> {
        // Duck DNS has one TXT value per name, so that a second value cannot be added.
        if name == "duckdns" {
            return Err(ServiceError::SingleRecord { service: "duckdns" });
        }
        SERVICES.iter().find(|service| service.name == name).ok_or_else(|| {
            let known: Vec<&str> = SERVICES.iter().map(|service| service.name).collect();
            ServiceError::Unknown { service: name.to_owned(), known: known.join(", ") }
        })
    }
}

/// Converts an error of dns-update. Refused credentials, and requests that cannot succeed, are permanent; others are
/// transient.
fn provider_error(what: &str, why: &Error) -> ProviderError {
    let words = format!("{what}: {why:?}");
    match why {
        Error::Unauthorized => {
            ProviderError::permanent("dns-update", format!("{what}: the credentials are refused"))
        }
        Error::NotFound | Error::BadRequest | Error::Unsupported(_) | Error::InvalidRegion => {
            ProviderError::permanent("dns-update", words)
        }
        Error::Api(text) if !is_transient(text) => ProviderError::permanent("dns-update", words),
        _ => ProviderError::transient("dns-update", words),
    }
}

/// Returns true if the text of an [`Error::Api`] is about a request that may succeed later: a connection that failed, a
/// status of the server's side (5xx), or one that asks to wait. Other statuses, and refusals in a response of status
/// 200, are permanent. The text is all that dns-update keeps of a response.
fn is_transient(text: &str) -> bool {
    if text.starts_with("Failed to send request") || text.starts_with("Failed to read response") {
        return true;
    }
    let status = text.strip_prefix("HTTP ").or_else(|| Some(text.split_once("returned status ")?.1));
    let status = status.and_then(|rest| rest.get(..3)?.parse::<u16>().ok());
    status.is_some_and(|status| matches!(status, 408 | 409 | 423 | 425 | 429 | 500..))
}

#[async_trait]
impl Provider for DnsUpdateProvider {
    async fn zone(&self, name: &str, apex: &str) -> Result<Option<ZoneMatch>, ProviderError> {
        Ok(configured_zone(&self.zones, name, apex))
    }

    async fn add(&self, zone: &str, name: &str, value: &str) -> Result<Option<String>, ProviderError> {
        let record = vec![DnsRecord::TXT(value.to_owned())];
        let _changing = self.changing.lock().await;
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
        let _changing = self.changing.lock().await;
        match self.updater.remove_from_rrset(name, DnsRecordType::TXT, record, zone).await {
            Ok(()) | Err(Error::NotFound) => Ok(()),
            Err(why) => Err(provider_error(name, &why)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_permanent_and_outages_are_transient() {
        let api = |text: &str| provider_error("it", &Error::Api(text.into())).transient;
        for text in [
            "HTTP 503",
            "HTTP 500: {\"status\":\"ERROR\"}",
            "HTTP 429: slow down",
            "Failed to send request to http://127.0.0.1:1/: error sending request",
            "Failed to read response from http://127.0.0.1:1/: timed out",
            "Dynu getroot returned status 502",
        ] {
            assert!(api(text), "{text}");
        }
        for text in [
            // Porkbun, of wrong keys, and of a domain without access by the API.
            r#"BadRequest {"status":"ERROR","message":"Invalid API key. (001)"}"#,
            r#"HTTP 403: {"status":"ERROR","message":"Domain is not opted in to API access."}"#,
            "Invalid API key. (001)",
            "HTTP 403",
            "HTTP 422: Unprocessable Entity",
            "HTTP 301",
            "BadRequest",
            "No IONOS zone found for example.org",
            "Dynu getroot returned status 403",
        ] {
            assert!(!api(text), "{text}");
        }
        assert!(!provider_error("it", &Error::Unauthorized).transient);
        assert!(provider_error("it", &Error::Serialize("no JSON".into())).transient);
    }
}
