//! The ACME client: directory, nonces, accounts and renewal information (RFC 8555, RFC 9773).

use super::answer::{problem_error, problem_type, signed_error, unreached};
use super::directory::Directory;
use super::http::{HeaderField, Http, Response};
use super::jws::{AccountKey, external};
use crate::machine::{AcmeError, ErrorKind};
use crate::name::Name;
use crate::{RenewalInfo, Time};
use bytes::Bytes;
use http::Method;
use secrecy::SecretSlice;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Number of consecutive rejected nonces after which a request fails. CAs reject one in twenty at most; Pebble can be
/// configured to reject nine in ten.
const MAX_NONCES: u32 = 60;
/// Difference between elapsed wall-clock and monotonic time from which the wall clock counts as having been set, and
/// the cached directory with its clock difference is discarded.
const CLOCK_CHANGE: Duration = Duration::from_secs(10);
/// Lifetime of the cached directory.
const DIRECTORY_LIFETIME: Duration = Duration::from_secs(3600);

/// External account binding of a new account (RFC 8555 §7.3.4).
#[derive(Debug)]
pub struct ExternalAccount {
    /// Key identifier provided by the CA.
    pub key_id: String,
    /// MAC key provided by the CA, decoded from base64url.
    pub key: SecretSlice<u8>,
}

/// Parameters of a new order.
#[derive(Clone, Copy, Debug)]
pub struct OrderRequest<'a> {
    /// Names of the certificate, sorted and without duplicates.
    pub names: &'a [Name],
    /// ACME profile to request. `None` for the CA's default.
    pub profile: Option<&'a str>,
    /// ARI identifier of the certificate that the order replaces (RFC 9773 §5). `None` if it replaces none.
    pub replaces: Option<&'a str>,
}

/// A directory, and the CA's clock.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DirectoryResponse {
    /// The directory object.
    pub directory: Directory,
    /// The CA's clock now: the Date field of the response, and the time that has passed since. `None` if the response had
    /// no valid Date field.
    pub date: Option<Time>,
}

/// Renewal information of a certificate (RFC 9773), with the caching directives of the response.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RenewalInfoResponse {
    /// The suggested window. `None` if it is absent or malformed, or the CA does not support ARI.
    pub info: Option<RenewalInfo>,
    /// Time to wait before the next query, from Retry-After. `None` without the field. One day if the CA does not
    /// support ARI.
    pub retry_after: Option<Duration>,
    /// The CA's clock, from the response's Date field. `None` without a valid one.
    pub date: Option<Time>,
}

/// A fetched directory object, with the times at which it was fetched.
#[derive(Debug)]
struct CachedDirectory {
    at: Instant,
    /// System time of the fetch. If it later differs from the elapsed time, the host was suspended, or its clock set, and
    /// `date` may no longer be valid.
    wall: Time,
    directory: Directory,
    body: Bytes,
    /// The CA's clock at the fetch.
    date: Option<Time>,
}

impl CachedDirectory {
    /// Returns `true` if the entry is younger than [`DIRECTORY_LIFETIME`] and the wall clock has not been set since it
    /// was fetched.
    fn holds(&self) -> bool {
        let (elapsed, by_clock) = (self.at.elapsed(), now().since(self.wall));
        elapsed < DIRECTORY_LIFETIME && elapsed.abs_diff(by_clock) < CLOCK_CHANGE
    }
}

/// A client of one CA. Clones share the cached directory, the nonces and the connections.
#[derive(Clone, Debug)]
pub struct Acme {
    inner: Arc<ClientState>,
}

/// State that the clones of an [`Acme`] share.
#[derive(Debug)]
struct ClientState {
    http: Http,
    url: String,
    directory: tokio::sync::Mutex<Option<CachedDirectory>>,
    nonces: Mutex<Vec<String>>,
}

impl Acme {
    /// Creates a client of the CA with this directory URL. No request is made.
    #[must_use]
    pub fn new(url: impl Into<String>, http: Http) -> Self {
        let (url, directory, nonces) = (url.into(), tokio::sync::Mutex::default(), Mutex::default());
        Self { inner: Arc::new(ClientState { http, url, directory, nonces }) }
    }

    /// Returns the HTTP client.
    #[must_use]
    pub fn http(&self) -> &Http {
        &self.inner.http
    }

    /// Returns the directory's URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.inner.url
    }

    /// Returns the directory. It is fetched if it is not cached; it is cached for an hour, or until the local clock is
    /// set.
    ///
    /// # Errors
    /// Returns an [`AcmeError`] if the directory cannot be fetched or parsed.
    pub async fn directory(&self) -> Result<DirectoryResponse, AcmeError> {
        let mut known = self.inner.directory.lock().await;
        if let Some(found) = known.as_ref().filter(|found| found.holds()) {
            let date = found.date.map(|date| date.after(found.at.elapsed()));
            return Ok(DirectoryResponse { directory: found.directory.clone(), date });
        }
        let response = self
            .inner
            .http
            .send(Method::GET, &self.inner.url, &[], Vec::new())
            .await
            .map_err(|why| unreached(&why))?;
        if !response.status.is_success() {
            return Err(problem_error(&response, &format!("the directory {}", self.inner.url)));
        }
        let directory: Directory = serde_json::from_slice(&response.body).map_err(|why| {
            AcmeError::new(
                ErrorKind::Transient,
                format!("{}: not a valid ACME directory: {why}", self.inner.url),
            )
        })?;
        let (wall, date) = (now(), response.date());
        let body = response.body;
        *known = Some(CachedDirectory { at: Instant::now(), wall, directory: directory.clone(), body, date });
        Ok(DirectoryResponse { directory, date })
    }

    /// Returns the directory's JSON as the CA sent it, from the cache or fetched.
    ///
    /// # Errors
    /// Returns an error if the directory cannot be fetched or parsed.
    pub(super) async fn directory_body(&self) -> Result<Bytes, AcmeError> {
        self.directory().await?;
        Ok(self.inner.directory.lock().await.as_ref().map(|known| known.body.clone()).unwrap_or_default())
    }

    /// Locks the pool of unused nonces, even if a thread panicked while it held the lock.
    fn nonces(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.inner.nonces.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds the Replay-Nonce of a response, if it has one, to the pool of unused nonces, unless the pool has 64
    /// already.
    fn keep_nonce(&self, response: &Response) {
        if let Some(nonce) = response.header("replay-nonce") {
            let mut nonces = self.nonces();
            // Old nonces are likely to be rejected, so the pool stays small.
            if nonces.len() < 64 {
                nonces.push(nonce.to_owned());
            }
        }
    }

    /// Takes an unused nonce from the pool, or requests one from the CA.
    ///
    /// # Errors
    /// Returns an error if the CA cannot be reached, or its response has no nonce.
    pub(super) async fn nonce(&self) -> Result<String, AcmeError> {
        if let Some(nonce) = self.nonces().pop() {
            return Ok(nonce);
        }
        let url = self.directory().await?.directory.new_nonce;
        let response =
            self.inner.http.send(Method::HEAD, &url, &[], Vec::new()).await.map_err(|why| unreached(&why))?;
        match response.header("replay-nonce") {
            Some(nonce) => Ok(nonce.to_owned()),
            None => Err(problem_error(&response, "the authority gave no nonce")),
        }
    }

    /// Sends a signed request by POST, and adds the nonce of the response to the pool. An error status is not an error.
    ///
    /// # Errors
    /// Returns an error if the CA cannot be reached.
    pub(super) async fn exchange(&self, url: &str, body: Vec<u8>) -> Result<Response, AcmeError> {
        let headers = [
            HeaderField::new("content-type", "application/jose+json"),
            HeaderField::new("accept", "application/json, application/pem-certificate-chain"),
        ];
        let sent = self.inner.http.send(Method::POST, url, &headers, body).await;
        let response = sent.map_err(|why| unreached(&why))?;
        self.keep_nonce(&response);
        Ok(response)
    }

    /// Sends a request signed by `key`. `account` is the account URL; with `None` the request contains the public key.
    /// An empty `payload` makes it POST-as-GET. Status 404 is [`ErrorKind::Refused`].
    ///
    /// # Errors
    /// Returns an error if the CA cannot be reached or rejects the request.
    pub(super) async fn post(
        &self,
        key: &AccountKey,
        account: Option<&str>,
        url: &str,
        payload: &str,
    ) -> Result<Response, AcmeError> {
        self.send(key, account, url, payload, ErrorKind::Refused).await
    }

    /// Sends a signed request like [`post`](Self::post), up to [`MAX_NONCES`] times with a new nonce each while the CA
    /// rejects the nonce. `missing` is the kind of the error for status 404.
    ///
    /// # Errors
    /// Returns an error if the CA cannot be reached, rejects the request, or rejects every nonce.
    pub(super) async fn send(
        &self,
        key: &AccountKey,
        account: Option<&str>,
        url: &str,
        payload: &str,
        missing: ErrorKind,
    ) -> Result<Response, AcmeError> {
        for _ in 0..MAX_NONCES {
            let nonce = self.nonce().await?;
            let body = key
                .sign(url, account, Some(&nonce), payload)
                .map_err(|why| AcmeError::new(ErrorKind::Local, why.to_string()))?;
            let response = self.exchange(url, body.to_string().into_bytes()).await?;
            if response.status.is_success() {
                return Ok(response);
            }
            if problem_type(&response).as_deref() != Some("badNonce") {
                return Err(signed_error(&response, url, missing));
            }
        }
        let why = format!("{url}: the authority refused {MAX_NONCES} nonces in a row");
        Err(AcmeError::new(ErrorKind::Transient, why))
    }

    /// Registers a key, or finds the account that the key already has (RFC 8555 §7.3). Agrees to the terms of service.
    /// `contact` contains mail addresses without `mailto:`. `external_account` is sent if it is given, whether the CA
    /// requires it or not. Returns the account URL.
    ///
    /// # Errors
    /// Returns an [`AcmeError`] if the CA cannot be reached or refuses the request, or if it requires an external
    /// account and none is given.
    pub async fn register(
        &self,
        key: &AccountKey,
        contact: &[String],
        external_account: Option<&ExternalAccount>,
    ) -> Result<String, AcmeError> {
        let directory = self.directory().await?.directory;
        let mut payload = json!({"termsOfServiceAgreed": true});
        if !contact.is_empty() {
            payload["contact"] = contact.iter().map(|mail| json!(format!("mailto:{mail}"))).collect();
        }
        match external_account {
            Some(binding) => {
                payload["externalAccountBinding"] =
                    external(&binding.key_id, &binding.key, &directory.new_account, &key.jwk());
            }
            None if directory.meta.external_account_required => {
                let why = format!("{} requires an external account: configure eab", self.inner.url);
                return Err(AcmeError::new(ErrorKind::Refused, why));
            }
            None => {}
        }
        self.new_account(key, &directory.new_account, &payload).await
    }

    /// Finds the account of a key without registering one (RFC 8555 §7.3.1). Returns the account URL.
    ///
    /// # Errors
    /// Returns [`ErrorKind::AccountUnknown`] if the key has no account, and another kind if the CA cannot be reached or
    /// refuses the request.
    pub async fn find_account(&self, key: &AccountKey) -> Result<String, AcmeError> {
        let url = self.directory().await?.directory.new_account;
        self.new_account(key, &url, &json!({"onlyReturnExisting": true})).await
    }

    /// Sends a newAccount request signed by `key`. Returns the account URL of the response's Location field.
    ///
    /// # Errors
    /// Returns an error if the CA cannot be reached or rejects the request, or the response has no account URL.
    async fn new_account(&self, key: &AccountKey, url: &str, payload: &Value) -> Result<String, AcmeError> {
        let response = self.post(key, None, url, &payload.to_string()).await?;
        response.header("location").map(str::to_owned).ok_or_else(|| {
            AcmeError::new(ErrorKind::Transient, "the authority made an account without a URL".to_owned())
        })
    }

    /// Fetches the renewal information of a certificate by an unsigned request. `certificate` is its ARI identifier
    /// (RFC 9773 §4.1). If the CA does not support ARI, no request is made, and the next query is due in a day.
    ///
    /// # Errors
    /// Returns an [`AcmeError`] if the CA cannot be reached or refuses the request. A refusal with status 4xx for which
    /// there is no other kind, such as [`ErrorKind::RateLimited`] for 429, is [`ErrorKind::OrderGone`]: the CA does not
    /// know the certificate.
    pub async fn renewal_info(&self, certificate: &str) -> Result<RenewalInfoResponse, AcmeError> {
        let directory = self.directory().await?.directory;
        let Some(base) = directory.renewal_info else {
            return Ok(RenewalInfoResponse { info: None, retry_after: Some(crate::DAY), date: None });
        };
        let url = format!("{}/{certificate}", base.trim_end_matches('/'));
        let response =
            self.inner.http.send(Method::GET, &url, &[], Vec::new()).await.map_err(|why| unreached(&why))?;
        if !response.status.is_success() {
            let mut error = problem_error(&response, &url);
            if response.status.is_client_error()
                && matches!(error.kind, ErrorKind::Refused | ErrorKind::KeyRefused)
            {
                error.kind = ErrorKind::OrderGone;
            }
            return Err(error);
        }
        let found: Value = serde_json::from_slice(&response.body).unwrap_or_default();
        let window = &found["suggestedWindow"];
        let time = |key: &str| window[key].as_str().and_then(Time::parse_rfc3339);
        let info = time("start").zip(time("end")).filter(|(start, end)| start < end);
        let explanation = found["explanationURL"].as_str().map(str::to_owned);
        let info = info.map(|(start, end)| RenewalInfo { start, end, explanation });
        Ok(RenewalInfoResponse { info, retry_after: response.retry_after(), date: response.date() })
    }
}

/// Returns the current time of the system's clock, to the millisecond; 1970-01-01 if the clock is before that.
#[must_use]
pub(crate) fn now() -> Time {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Time::from_millis(since.as_millis().try_into().unwrap_or(u64::MAX))
}
