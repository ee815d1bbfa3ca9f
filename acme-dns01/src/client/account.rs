//! ACME accounts, and the requests signed with their keys.

use super::acme::{Acme, OrderRequest};
use super::answer::{links, order, read, status, words};
use super::http::Response;
use super::jws::{AccountKey, encode};
use super::order_path::{OrderPath, reason};
use crate::machine::{AcmeError, Authorization, ErrorKind, Order, Status};
use crate::name::Name;
use serde::Deserialize;
use serde_json::{Value, json};

/// Maximum number of pages of an account's order list that are fetched in the search for a lost order.
const MAX_PAGES: usize = 100;
/// Maximum number of orders, from the end of the list, that are fetched in this search.
const MAX_ORDERS: usize = 50;

/// A registered account: its key, its URL and the client of its authority.
///
/// Orders are processed by instant-acme if the account's key is ES256; the engine gives an account of another client
/// such a key before its first order. This type implements what instant-acme 0.8 lacks:
///
/// - a key that is durable before its account is registered, together with contacts or an external account: a
///   `create_from_key` that takes [both](Acme::register);
/// - a change of the key in which both keys are durable before: an `update_key` that takes the
///   [new key](Account::change_key);
/// - a deactivation that checks the response: [`Account::deactivate`];
/// - the list of an account's orders: [`Account::find_order`];
/// - alternate chains, and a chain by its URL alone, long after its order: [`Account::certificate`];
/// - the directory's `meta` ([`Acme::directory`]), and renewal information without an account and without Retry-After
///   ([`Acme::renewal_info`]).
#[derive(Debug)]
pub struct Account {
    acme: Acme,
    key: AccountKey,
    url: String,
    orders: Option<OrderPath>,
}

/// A certificate chain downloaded from the CA.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Chain {
    /// The certificate chain in PEM, end-entity certificate first.
    pub pem: String,
    /// URLs of alternate chains (RFC 8555 §7.4.2, `Link` with the relation `alternate`), in the order of the response.
    pub alternates: Vec<String>,
}

impl Account {
    /// Creates a client for an account that is already registered. No request is made.
    #[must_use]
    pub fn new(acme: Acme, key: AccountKey, url: String) -> Self {
        let orders = OrderPath::new(acme.clone(), &key, url.clone());
        Self { acme, key, url, orders }
    }

    /// Returns the account's key.
    #[must_use]
    pub const fn key(&self) -> &AccountKey {
        &self.key
    }

    /// Returns the account URL, the value of CAA's `accounturi` parameter.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Sends a request signed by the account. An empty `payload` makes it POST-as-GET. Returns a successful response.
    /// Status 404 is [`ErrorKind::Refused`].
    ///
    /// # Errors
    /// Returns an error if the CA cannot be reached or rejects the request.
    async fn post(&self, url: &str, payload: &str) -> Result<Response, AcmeError> {
        self.acme.post(&self.key, Some(&self.url), url, payload).await
    }

    /// Fetches a resource of an order (POST-as-GET). Status 404 is [`ErrorKind::OrderGone`].
    ///
    /// # Errors
    /// Returns an error if the CA cannot be reached or rejects the request.
    async fn read(&self, url: &str) -> Result<Response, AcmeError> {
        self.acme.send(&self.key, Some(&self.url), url, "", ErrorKind::OrderGone).await
    }

    /// Replaces the account's contacts (RFC 8555 §7.3.2) by these mail addresses, which are given without `mailto:`. An
    /// empty list removes all contacts.
    ///
    /// # Errors
    /// Returns an [`AcmeError`] if the CA cannot be reached or refuses the request.
    pub async fn set_contact(&self, contact: &[String]) -> Result<(), AcmeError> {
        let contact: Vec<String> = contact.iter().map(|mail| format!("mailto:{mail}")).collect();
        self.post(&self.url, &json!({"contact": contact}).to_string()).await.map(|_| ())
    }

    /// Deactivates the account (RFC 8555 §7.3.6). Deactivation is permanent.
    ///
    /// # Errors
    /// Returns an [`AcmeError`] if the CA cannot be reached or refuses the request.
    pub async fn deactivate(&self) -> Result<(), AcmeError> {
        self.post(&self.url, r#"{"status":"deactivated"}"#).await.map(|_| ())
    }

    /// Replaces the account key at the CA (RFC 8555 §7.3.5). This value continues to sign with the old key: create an
    /// [`Account`] with the new one. Store both keys durably before the call, since after a lost response either may be
    /// valid.
    ///
    /// # Errors
    /// Returns an [`AcmeError`] if the CA cannot be reached or refuses the request.
    pub async fn change_key(&self, new: &AccountKey) -> Result<(), AcmeError> {
        let directory = self.acme.directory().await?.directory;
        let url = &directory.key_change;
        let inner = json!({"account": self.url, "oldKey": self.key.jwk()}).to_string();
        let inner = new
            .sign(url, None, None, &inner)
            .map_err(|why| AcmeError::new(ErrorKind::Local, why.to_string()))?;
        self.post(url, &inner.to_string()).await.map(|_| ())
    }

    /// Creates an order (RFC 8555 §7.4) for the names of the request, with its profile and the certificate that it
    /// replaces (RFC 9773 §5), if given.
    ///
    /// # Errors
    /// Returns an [`AcmeError`] if the CA cannot be reached or refuses the request, if its directory does not list the
    /// requested profile, or if the response contains no order URL.
    pub async fn new_order(&self, request: &OrderRequest<'_>) -> Result<Order, AcmeError> {
        let directory = self.acme.directory().await?.directory;
        let identifiers: Vec<Value> =
            request.names.iter().map(|name| json!({"type": "dns", "value": name.as_str()})).collect();
        let mut payload = json!({"identifiers": identifiers});
        if let Some(profile) = request.profile {
            if !directory.meta.profiles.contains_key(profile) {
                let known: Vec<&str> = directory.meta.profiles.keys().map(String::as_str).collect();
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                let why = format!("{} has no profile `{profile}`; it has {known}", self.acme.url());
                return Err(AcmeError::new(ErrorKind::Refused, why));
            }
            payload["profile"] = profile.into();
        }
        if let Some(replaces) = request.replaces {
            payload["replaces"] = replaces.into();
        }
        let response = match &self.orders {
            Some(orders) => orders.new_order(&directory.new_order, request).await?,
            None => self.post(&directory.new_order, &payload.to_string()).await?,
        };
        let url = response.header("location").map(str::to_owned).ok_or_else(|| {
            AcmeError::new(ErrorKind::Transient, "the authority made an order without a URL".to_owned())
        })?;
        order(&response, url)
    }

    /// Fetches an order (POST-as-GET).
    ///
    /// # Errors
    /// Returns an [`AcmeError`] if the CA cannot be reached or refuses the request.
    pub async fn order(&self, url: &str) -> Result<Order, AcmeError> {
        let response = match &self.orders {
            Some(orders) => orders.order(url).await?,
            None => self.read(url).await?,
        };
        order(&response, url.to_owned())
    }

    /// Searches the last 50 orders of the account's order list, the newest first, for a pending or ready order with
    /// exactly these names, which must be sorted. `None` if none matches or the CA does not list orders.
    ///
    /// # Errors
    /// Returns an [`AcmeError`] if the CA cannot be reached or refuses a request. A page of the list that cannot be
    /// fetched ends the list instead.
    pub async fn find_order(&self, names: &[Name]) -> Result<Option<Order>, AcmeError> {
        let response = self.post(&self.url, "").await?;
        let object: Value = read(&response)?;
        let Some(list) = object["orders"].as_str() else { return Ok(None) };
        let mut page = Some(list.to_owned());
        let mut urls = Vec::new();
        for _ in 0..MAX_PAGES {
            let Some(url) = page.take() else { break };
            // Some CAs name an order list in the account, but do not serve it.
            let Ok(response) = self.post(&url, "").await else { break };
            let list: Value = read(&response)?;
            urls.extend(
                list["orders"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned),
            );
            page = links(&response, "next").into_iter().next();
        }
        // CAs that list orders put the newest last.
        for url in urls.into_iter().rev().take(MAX_ORDERS) {
            let response = self.post(&url, "").await?;
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

    /// Fetches an authorization, and computes the TXT value of its DNS-01 challenge. Without such a challenge,
    /// `challenge` is `None`, `challenge_status` is [`Status::Invalid`] and `value` is empty. `of` is the URL of the
    /// order.
    ///
    /// # Errors
    /// Returns an [`AcmeError`] if the CA cannot be reached or refuses the request.
    pub async fn authorization(&self, of: &str, url: &str) -> Result<Authorization, AcmeError> {
        /// Authorization object (RFC 8555 §7.1.4).
        #[derive(Deserialize)]
        struct AuthorizationObject {
            identifier: Identifier,
            status: String,
            #[serde(default)]
            challenges: Vec<Challenge>,
        }
        /// Identifier object of an authorization.
        #[derive(Deserialize)]
        struct Identifier {
            value: String,
        }
        /// Challenge object (RFC 8555 §8).
        #[derive(Deserialize)]
        struct Challenge {
            r#type: String,
            url: String,
            #[serde(default)]
            token: String,
            status: String,
            error: Option<Value>,
        }
        let known = match &self.orders {
            Some(orders) => orders.authorization(of, url).await?,
            None => None,
        };
        let response = match known {
            Some(response) => response,
            None => self.read(url).await?,
        };
        let found: AuthorizationObject = read(&response)?;
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
            value: challenge
                .as_ref()
                .map(|challenge| self.key.txt_value(&challenge.token))
                .unwrap_or_default(),
            challenge: challenge.map(|challenge| challenge.url),
            problem,
            retry_after: response.retry_after(),
        })
    }

    /// Indicates to the CA that a challenge is ready for validation (RFC 8555 §7.5.1). `of` is the URL of the order,
    /// `challenge` that of the challenge.
    ///
    /// # Errors
    /// Returns an [`AcmeError`] if the CA cannot be reached or refuses the request.
    pub async fn trigger(&self, of: &str, challenge: &str) -> Result<(), AcmeError> {
        if let Some(orders) = &self.orders
            && orders.trigger(of, challenge).await?
        {
            return Ok(());
        }
        self.post(challenge, "{}").await.map(|_| ())
    }

    /// Finalizes an order with a certificate signing request in DER (RFC 8555 §7.4). `order_url` is the URL of the
    /// order, `finalize` that of its finalize resource. Returns the order as in the response.
    ///
    /// # Errors
    /// Returns an [`AcmeError`] if the CA cannot be reached or refuses the request.
    pub async fn finalize(
        &self,
        order_url: &str,
        finalize: &str,
        request: &[u8],
    ) -> Result<Order, AcmeError> {
        let known = match &self.orders {
            Some(orders) => orders.finalize(order_url, finalize, request).await?,
            None => None,
        };
        let response = match known {
            Some(response) => response,
            None => self.post(finalize, &json!({"csr": encode(request)}).to_string()).await?,
        };
        order(&response, order_url.to_owned())
    }

    /// Downloads a certificate chain with the URLs of its alternates (RFC 8555 §7.4.2). `of` is the URL of the order,
    /// `None` if it is not known or the chain is an alternate.
    ///
    /// # Errors
    /// Returns an [`AcmeError`] if the CA cannot be reached or refuses the request.
    pub async fn certificate(&self, of: Option<&str>, url: &str) -> Result<Chain, AcmeError> {
        let known = match (&self.orders, of) {
            (Some(orders), Some(of)) => orders.certificate(of, url).await?,
            _ => None,
        };
        let response = match known {
            Some(response) => response,
            None => self.read(url).await?,
        };
        let alternates = links(&response, "alternate");
        Ok(Chain { pem: String::from_utf8_lossy(&response.body).into_owned(), alternates })
    }

    /// Revokes a certificate in DER that this account ordered (RFC 8555 §7.6). `code` is a reason code of RFC 5280
    /// §5.3.1; with `None` the request contains no reason.
    ///
    /// # Errors
    /// Returns an [`AcmeError`] if the CA cannot be reached or refuses the request.
    pub async fn revoke(&self, certificate: &[u8], code: Option<u8>) -> Result<(), AcmeError> {
        let directory = self.acme.directory().await?.directory;
        if let Some(orders) = &self.orders
            && code.is_none_or(|code| reason(code).is_some())
        {
            return orders.revoke(&directory.revoke_cert, certificate, code.and_then(reason)).await;
        }
        let mut payload = json!({"certificate": encode(certificate)});
        if let Some(code) = code {
            payload["reason"] = code.into();
        }
        self.post(&directory.revoke_cert, &payload.to_string()).await.map(|_| ())
    }
}
