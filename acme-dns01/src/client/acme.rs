//! The requests of RFC 8555 and RFC 9773.

use super::answer::{links, order, problem_type, read, status, trouble, unreached, words};
use super::directory::Directory;
use super::http::{Http, Response};
use super::jws::{AccountKey, encode, external};
use crate::machine::{Authorization, Order, Status, Trouble, TroubleKind};
use crate::name::Name;
use crate::{RenewalInfo, Time};
use http::{Method, StatusCode};
use secrecy::SecretSlice;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Nonces that are refused in a row before it is given up. A CA refuses one in twenty at most; Pebble can be told nine in ten.
const NONCES: u32 = 60;
/// By how much the machine's clock differs from its uptime when somebody set it.
const CLOCK_SET: Duration = Duration::from_secs(10);
/// How many pages of an account's orders are read, and how many orders are looked at, when one may have been made unheard.
const PAGES: usize = 100;
const LISTED: usize = 50;
/// How long a directory is good for.
const DIRECTORY: Duration = Duration::from_secs(3600);

/// The binding of a new account to one that the CA knows (RFC 8555 §7.3.4).
#[derive(Debug)]
pub struct ExternalAccount {
    /// The key's identifier.
    pub key_id: String,
    /// The key, decoded.
    pub key: SecretSlice<u8>,
}

/// What is ordered.
#[derive(Clone, Copy, Debug)]
pub struct OrderRequest<'a> {
    /// The names.
    pub names: &'a [Name],
    /// The profile.
    pub profile: Option<&'a str>,
    /// The certificate that it replaces (RFC 9773 §5).
    pub replaces: Option<&'a str>,
}

/// A directory that was read.
#[derive(Debug)]
struct Known {
    at: Instant,
    /// This machine's clock then: if it is set meanwhile, what was known of the difference is worth nothing.
    wall: Time,
    directory: Directory,
    skew: Option<i64>,
}

impl Known {
    fn holds(&self) -> bool {
        let (elapsed, by_clock) = (self.at.elapsed(), now().since(self.wall));
        elapsed < DIRECTORY && elapsed.abs_diff(by_clock) < CLOCK_SET
    }
}

/// A client of one authority.
#[derive(Debug)]
pub struct Acme {
    http: Http,
    url: String,
    directory: tokio::sync::Mutex<Option<Known>>,
    nonces: Mutex<Vec<String>>,
}

impl Acme {
    /// A client of the authority with this directory.
    #[must_use]
    pub fn new(url: impl Into<String>, http: Http) -> Self {
        Self { http, url: url.into(), directory: tokio::sync::Mutex::default(), nonces: Mutex::default() }
    }

    /// The directory, and how far its clock is ahead of ours, in milliseconds.
    ///
    /// # Errors
    /// [`Trouble`], as everything here.
    pub async fn directory(&self) -> Result<(Directory, Option<i64>), Trouble> {
        let mut known = self.directory.lock().await;
        if let Some(found) = known.as_ref().filter(|found| found.holds()) {
            return Ok((found.directory.clone(), found.skew));
        }
        let response =
            self.http.send(Method::GET, &self.url, &[], Vec::new()).await.map_err(|why| unreached(&why))?;
        if !response.status.is_success() {
            return Err(trouble(&response, &format!("the directory {}", self.url)));
        }
        let directory: Directory = serde_json::from_slice(&response.body).map_err(|why| {
            Trouble::new(
                TroubleKind::Transient,
                format!("{} is no directory of an ACME server: {why}", self.url),
            )
        })?;
        let wall = now();
        let signed = |time: Time| i64::try_from(time.millis()).unwrap_or(0);
        let skew = response.date().map(|date| signed(date) - signed(wall));
        *known = Some(Known { at: Instant::now(), wall, directory: directory.clone(), skew });
        Ok((directory, skew))
    }

    fn nonces(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.nonces.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep_nonce(&self, response: &Response) {
        if let Some(nonce) = response.header("replay-nonce") {
            let mut nonces = self.nonces();
            // An old nonce is worth nothing.
            if nonces.len() < 64 {
                nonces.push(nonce.to_owned());
            }
        }
    }

    async fn nonce(&self) -> Result<String, Trouble> {
        if let Some(nonce) = self.nonces().pop() {
            return Ok(nonce);
        }
        let url = self.directory().await?.0.new_nonce;
        let response =
            self.http.send(Method::HEAD, &url, &[], Vec::new()).await.map_err(|why| unreached(&why))?;
        match response.header("replay-nonce") {
            Some(nonce) => Ok(nonce.to_owned()),
            None => Err(trouble(&response, "the authority gave no nonce")),
        }
    }

    /// A signed request; `payload` is empty to read (POST-as-GET).
    async fn post(
        &self,
        key: &AccountKey,
        account: Option<&str>,
        url: &str,
        payload: &str,
    ) -> Result<Response, Trouble> {
        self.send(key, account, url, payload, TroubleKind::Refused).await
    }

    /// The same; `missing` is what it means when there is no such thing (404).
    async fn send(
        &self,
        key: &AccountKey,
        account: Option<&str>,
        url: &str,
        payload: &str,
        missing: TroubleKind,
    ) -> Result<Response, Trouble> {
        for _ in 0..NONCES {
            let nonce = self.nonce().await?;
            let body = key
                .sign(url, account, Some(&nonce), payload)
                .map_err(|why| Trouble::new(TroubleKind::Ours, why.to_string()))?;
            let headers = [
                ("content-type", "application/jose+json"),
                ("accept", "application/json, application/pem-certificate-chain"),
            ];
            let sent = self.http.send(Method::POST, url, &headers, body.to_string().into_bytes()).await;
            let response = sent.map_err(|why| unreached(&why))?;
            self.keep_nonce(&response);
            if response.status.is_success() {
                return Ok(response);
            }
            if problem_type(&response).as_deref() != Some("badNonce") {
                let mut trouble = trouble(&response, url);
                if response.status == StatusCode::NOT_FOUND && trouble.kind == TroubleKind::Refused {
                    trouble.kind = missing;
                }
                return Err(trouble);
            }
        }
        let why = format!("{url}: the authority refused {NONCES} nonces in a row");
        Err(Trouble::new(TroubleKind::Transient, why))
    }

    /// Reads what belongs to an order (POST-as-GET).
    async fn read(&self, key: &AccountKey, account: &str, url: &str) -> Result<Response, Trouble> {
        self.send(key, Some(account), url, "", TroubleKind::OrderGone).await
    }

    /// Registers a key, or finds its account. The account's URL.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn account(
        &self,
        key: &AccountKey,
        contact: &[String],
        external_account: Option<&ExternalAccount>,
        only_existing: bool,
    ) -> Result<String, Trouble> {
        let (directory, _) = self.directory().await?;
        let mut payload = json!({"termsOfServiceAgreed": true});
        if only_existing {
            payload = json!({"onlyReturnExisting": true});
        } else {
            if !contact.is_empty() {
                payload["contact"] = contact.iter().map(|mail| json!(format!("mailto:{mail}"))).collect();
            }
            match external_account {
                Some(binding) => {
                    payload["externalAccountBinding"] =
                        external(&binding.key_id, &binding.key, &directory.new_account, &key.jwk());
                }
                None if directory.meta.external_account_required => {
                    let why =
                        format!("{} makes accounts only with an external account: configure eab", self.url);
                    return Err(Trouble::new(TroubleKind::Refused, why));
                }
                None => {}
            }
        }
        let response = self.post(key, None, &directory.new_account, &payload.to_string()).await?;
        response.header("location").map(str::to_owned).ok_or_else(|| {
            Trouble::new(TroubleKind::Transient, "the authority made an account without a URL".to_owned())
        })
    }

    /// Changes an account's contacts.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn contact(&self, key: &AccountKey, account: &str, contact: &[String]) -> Result<(), Trouble> {
        let contact: Vec<String> = contact.iter().map(|mail| format!("mailto:{mail}")).collect();
        self.post(key, Some(account), account, &json!({"contact": contact}).to_string()).await.map(|_| ())
    }

    /// Ends an account for good.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn deactivate(&self, key: &AccountKey, account: &str) -> Result<(), Trouble> {
        self.post(key, Some(account), account, r#"{"status":"deactivated"}"#).await.map(|_| ())
    }

    /// Gives an account another key (RFC 8555 §7.3.5). Both keys must be durable before.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn change_key(&self, old: &AccountKey, new: &AccountKey, account: &str) -> Result<(), Trouble> {
        let (directory, _) = self.directory().await?;
        let url = &directory.key_change;
        let inner = json!({"account": account, "oldKey": old.jwk()}).to_string();
        let inner = new
            .sign(url, None, None, &inner)
            .map_err(|why| Trouble::new(TroubleKind::Ours, why.to_string()))?;
        self.post(old, Some(account), url, &inner.to_string()).await.map(|_| ())
    }

    /// Asks for an order.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn new_order(
        &self,
        key: &AccountKey,
        account: &str,
        request: &OrderRequest<'_>,
    ) -> Result<Order, Trouble> {
        let (directory, _) = self.directory().await?;
        let identifiers: Vec<Value> =
            request.names.iter().map(|name| json!({"type": "dns", "value": name.as_str()})).collect();
        let mut payload = json!({"identifiers": identifiers});
        if let Some(profile) = request.profile {
            if !directory.meta.profiles.contains_key(profile) {
                let known: Vec<&str> = directory.meta.profiles.keys().map(String::as_str).collect();
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                let why = format!("{} has no profile `{profile}`; it has {known}", self.url);
                return Err(Trouble::new(TroubleKind::Refused, why));
            }
            payload["profile"] = profile.into();
        }
        if let Some(replaces) = request.replaces {
            payload["replaces"] = replaces.into();
        }
        let response = self.post(key, Some(account), &directory.new_order, &payload.to_string()).await?;
        let url = response.header("location").map(str::to_owned).ok_or_else(|| {
            Trouble::new(TroubleKind::Transient, "the authority made an order without a URL".to_owned())
        })?;
        order(&response, url)
    }

    /// An order as it is.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn order(&self, key: &AccountKey, account: &str, url: &str) -> Result<Order, Trouble> {
        let response = self.read(key, account, url).await?;
        order(&response, url.to_owned())
    }

    /// An open order for exactly these names, if the authority lists orders.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn find_order(
        &self,
        key: &AccountKey,
        account: &str,
        names: &[Name],
    ) -> Result<Option<Order>, Trouble> {
        let response = self.post(key, Some(account), account, "").await?;
        let account_object: Value = read(&response)?;
        let Some(list) = account_object["orders"].as_str() else { return Ok(None) };
        let mut page = Some(list.to_owned());
        let mut urls = Vec::new();
        for _ in 0..PAGES {
            let Some(url) = page.take() else { break };
            // Not every authority that names a list has one.
            let Ok(response) = self.post(key, Some(account), &url, "").await else { break };
            let list: Value = read(&response)?;
            urls.extend(
                list["orders"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned),
            );
            page = links(&response, "next").into_iter().next();
        }
        // The newest come last with those who list them at all.
        for url in urls.into_iter().rev().take(LISTED) {
            let response = self.post(key, Some(account), &url, "").await?;
            let found: Value = read(&response)?;
            let identifiers = found["identifiers"].as_array().into_iter().flatten();
            let mut theirs: Vec<&str> =
                identifiers.filter_map(|identifier| identifier["value"].as_str()).collect();
            theirs.sort_unstable();
            let found = order(&response, url)?;
            let open = matches!(found.status, Status::Pending | Status::Ready);
            if open && theirs.iter().copied().eq(names.iter().map(Name::as_str)) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// An authorization as it is.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn authorization(
        &self,
        key: &AccountKey,
        account: &str,
        url: &str,
    ) -> Result<Authorization, Trouble> {
        #[derive(Deserialize)]
        struct Found {
            identifier: Identifier,
            status: String,
            #[serde(default)]
            challenges: Vec<Challenge>,
        }
        #[derive(Deserialize)]
        struct Identifier {
            value: String,
        }
        #[derive(Deserialize)]
        struct Challenge {
            r#type: String,
            url: String,
            #[serde(default)]
            token: String,
            status: String,
            error: Option<Value>,
        }
        let response = self.read(key, account, url).await?;
        let found: Found = read(&response)?;
        let problem = found.challenges.iter().find_map(|challenge| challenge.error.as_ref()).map(words);
        let challenge = found.challenges.into_iter().find(|challenge| challenge.r#type == "dns-01");
        let problem = problem.or_else(|| {
            (!matches!(found.status.as_str(), "pending" | "valid"))
                .then(|| format!("the authorization is {}", found.status))
        });
        Ok(Authorization {
            url: url.to_owned(),
            name: found.identifier.value,
            status: status(&found.status),
            challenge_status: challenge
                .as_ref()
                .map_or(Status::Invalid, |challenge| status(&challenge.status)),
            value: challenge.as_ref().map(|challenge| key.txt_value(&challenge.token)).unwrap_or_default(),
            challenge: challenge.map(|challenge| challenge.url),
            problem,
            retry_after: response.retry_after(),
        })
    }

    /// Says that a challenge is ready.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn trigger(&self, key: &AccountKey, account: &str, challenge: &str) -> Result<(), Trouble> {
        self.post(key, Some(account), challenge, "{}").await.map(|_| ())
    }

    /// Sends the certificate request.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn finalize(
        &self,
        key: &AccountKey,
        account: &str,
        url: &str,
        finalize: &str,
        request: &[u8],
    ) -> Result<Order, Trouble> {
        let payload = json!({"csr": encode(request)}).to_string();
        let response = self.post(key, Some(account), finalize, &payload).await?;
        order(&response, url.to_owned())
    }

    /// The chain in PEM, and the URLs of alternates (RFC 8555 §7.4.2).
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn certificate(
        &self,
        key: &AccountKey,
        account: &str,
        url: &str,
    ) -> Result<(String, Vec<String>), Trouble> {
        let response = self.read(key, account, url).await?;
        let alternates = links(&response, "alternate");
        Ok((String::from_utf8_lossy(&response.body).into_owned(), alternates))
    }

    /// Revokes a certificate by the account that ordered it. `reason` is a code of RFC 5280 §5.3.1.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn revoke(
        &self,
        key: &AccountKey,
        account: &str,
        certificate: &[u8],
        reason: Option<u8>,
    ) -> Result<(), Trouble> {
        let (directory, _) = self.directory().await?;
        let mut payload = json!({"certificate": encode(certificate)});
        if let Some(reason) = reason {
            payload["reason"] = reason.into();
        }
        self.post(key, Some(account), &directory.revoke_cert, &payload.to_string()).await.map(|_| ())
    }

    /// When a certificate should be renewed: what was said if it makes sense, when to ask again, the CA's clock.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn renewal_info(
        &self,
        certificate: &str,
    ) -> Result<(Option<RenewalInfo>, Option<Duration>, Option<Time>), Trouble> {
        let (directory, _) = self.directory().await?;
        let Some(base) = directory.renewal_info else {
            return Ok((None, Some(crate::DAY), None));
        };
        let url = format!("{}/{certificate}", base.trim_end_matches('/'));
        let response =
            self.http.send(Method::GET, &url, &[], Vec::new()).await.map_err(|why| unreached(&why))?;
        if !response.status.is_success() {
            return Err(trouble(&response, &url));
        }
        let found: Value = serde_json::from_slice(&response.body).unwrap_or_default();
        let window = &found["suggestedWindow"];
        let time = |key: &str| window[key].as_str().and_then(Time::parse_rfc3339);
        let info = time("start").zip(time("end")).filter(|(start, end)| start < end);
        let explanation = found["explanationURL"].as_str().map(str::to_owned);
        let info = info.map(|(start, end)| RenewalInfo { start, end, explanation });
        Ok((info, response.retry_after(), response.date()))
    }
}

/// This machine's clock.
#[must_use]
pub(crate) fn now() -> Time {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Time::from_millis(since.as_millis().try_into().unwrap_or(u64::MAX))
}
