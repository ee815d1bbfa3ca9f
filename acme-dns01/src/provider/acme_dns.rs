//! Provider for acme-dns (github.com/joohoi/acme-dns), a name server that serves challenges only. The names'
//! `_acme-challenge` are CNAME records that point to it.

use super::{Coverage, Provider, ProviderError, ZoneMatch};
use crate::client::{HeaderField, Http};
use async_trait::async_trait;
use http::Method;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

/// One registration at an acme-dns server. The server stores the last two values, which suffices for a name with its
/// wildcard.
#[derive(Debug)]
pub struct AcmeDns {
    http: Http,
    /// Base URL of the server's API, without a trailing slash.
    pub base: String,
    /// Name that the CNAME record of `_acme-challenge` points to (`fulldomain` of the registration).
    pub full_domain: String,
    /// The registration's `subdomain`.
    pub subdomain: String,
    /// The registration's `username`.
    pub username: String,
    /// The registration's `password`.
    pub password: SecretString,
}

impl AcmeDns {
    /// Creates a provider for a registration. `base` is the URL of the server's API; every other argument after `http`
    /// is from the response to `/register`.
    #[must_use]
    pub fn new(
        http: Http,
        base: impl Into<String>,
        full_domain: impl Into<String>,
        subdomain: impl Into<String>,
        username: impl Into<String>,
        password: SecretString,
    ) -> Self {
        Self {
            http,
            base: base.into(),
            full_domain: full_domain.into(),
            subdomain: subdomain.into(),
            username: username.into(),
            password,
        }
    }
}

#[async_trait]
impl Provider for AcmeDns {
    async fn zone(&self, name: &str, _: &str) -> Result<Option<ZoneMatch>, ProviderError> {
        let here = self.full_domain.trim_end_matches('.');
        let same = name.trim_end_matches('.').eq_ignore_ascii_case(here);
        Ok(same.then(|| ZoneMatch::new(here, Coverage::Name)))
    }

    async fn add(&self, _: &str, _: &str, value: &str) -> Result<Option<String>, ProviderError> {
        let headers = [
            HeaderField::new("content-type", "application/json"),
            HeaderField::new("x-api-user", self.username.as_str()),
            HeaderField::new("x-api-key", self.password.expose_secret()),
        ];
        let body = json!({"subdomain": self.subdomain, "txt": value}).to_string().into_bytes();
        let url = format!("{}/update", self.base);
        let response = self
            .http
            .send(Method::POST, &url, &headers, body)
            .await
            .map_err(|why| ProviderError::transient("acme-dns", why.to_string()))?;
        match response.status.as_u16() {
            200 => Ok(None),
            401 => Err(ProviderError::permanent(
                "acme-dns",
                format!("{url}: 401: the username or the password is wrong, or this address may not update"),
            )),
            status if status >= 500 || status == 429 => {
                Err(ProviderError::transient("acme-dns", format!("{url}: {status}")))
            }
            status => {
                let said: String = String::from_utf8_lossy(&response.body).chars().take(200).collect();
                Err(ProviderError::permanent("acme-dns", format!("{url}: {status}: {said}")))
            }
        }
    }

    /// Does nothing, since a new value replaces the oldest one.
    async fn remove(&self, _: &str, _: &str, _: &str, _: Option<&str>) -> Result<(), ProviderError> {
        Ok(())
    }

    /// Returns `None` without a trial, which could replace a value in use.
    async fn trial(&self, _: &str, _: &str, _: &str) -> Result<Option<String>, ProviderError> {
        Ok(None)
    }
}
