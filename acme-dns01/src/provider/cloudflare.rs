//! Provider for Cloudflare's API v4.

use super::{Coverage, Provider, ProviderError, ZoneMatch};
use crate::client::{HeaderField, Http, Response};
use crate::name::zone_candidates;
use async_trait::async_trait;
use http::Method;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fmt;
use std::time::Duration;
use tokio::sync::Mutex;

/// Credentials for Cloudflare's API.
pub enum CloudflareAuth {
    /// A scoped API token with Zone:Read and DNS:Edit for the zones, or one with DNS:Edit and a second one with
    /// Zone:Read.
    Token {
        /// Token for records.
        dns: SecretString,
        /// Token for looking up zones. `None` if `dns` has Zone:Read, or all zones are configured by identifier.
        zone: Option<SecretString>,
    },
    /// E-mail address and Global API Key of the account. This key has every permission, so a token is preferable.
    GlobalKey {
        /// E-mail address of the account.
        email: String,
        /// The account's global API key.
        key: SecretString,
    },
}

/// The zones that credentials of Cloudflare can read, the result of [`Cloudflare::scope`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Names of the zones, sorted, as the API writes them.
    pub zones: Vec<String>,
}

/// Provider for Cloudflare.
pub struct Cloudflare {
    http: Http,
    base: String,
    auth: CloudflareAuth,
    /// Identifiers of zones that are configured, by the zone's name.
    pinned: HashMap<String, String>,
    zones: Mutex<HashMap<String, FoundZone>>,
    ttl: u32,
}

impl fmt::Debug for Cloudflare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cloudflare")
            .field("base", &self.base)
            .field("pinned", &self.pinned)
            .finish_non_exhaustive()
    }
}

/// Error codes for a record that exists already.
const EXISTS: [u64; 2] = [81_057, 81_058];
/// Error code for a record that does not exist.
const RECORD_MISSING: u64 = 81_044;
/// Comment by which records of this program can be recognized.
const COMMENT: &str = "acme-dns01";

/// A zone of the account: its identifier, and `active` if it is delegated to Cloudflare.
#[derive(Clone)]
struct FoundZone {
    id: String,
    active: bool,
}

/// Successful response of the API: its result, and the total number of pages, which is 1 without pagination.
struct Page {
    result: Value,
    pages: u64,
}

/// Error of an API call: one that the API reported, with its codes, or any other.
enum CallError {
    Codes(Vec<u64>, ProviderError),
    Other(ProviderError),
}

impl From<CallError> for ProviderError {
    fn from(refused: CallError) -> Self {
        match refused {
            CallError::Codes(_, why) | CallError::Other(why) => why,
        }
    }
}

/// Response object of every API call.
#[derive(Deserialize)]
struct Envelope {
    success: bool,
    /// Missing or `null` without an error.
    #[serde(default)]
    errors: Option<Vec<ApiMessage>>,
    #[serde(default)]
    result: Value,
    result_info: Option<ResultInfo>,
}

/// An error of the API, with its causes.
#[derive(Deserialize)]
struct ApiMessage {
    #[serde(default)]
    code: u64,
    #[serde(default)]
    message: String,
    #[serde(default)]
    error_chain: Vec<Self>,
}

/// Pagination of a response.
#[derive(Deserialize)]
struct ResultInfo {
    #[serde(default)]
    total_pages: u64,
}

impl Cloudflare {
    /// Creates a provider for the public API at `api.cloudflare.com`. New records have a TTL of 120 s.
    #[must_use]
    pub fn new(http: Http, auth: CloudflareAuth) -> Self {
        let base = "https://api.cloudflare.com/client/v4".to_owned();
        Self { http, base, auth, pinned: HashMap::new(), zones: Mutex::default(), ttl: 120 }
    }

    /// Sets the base URL of the API, without a trailing slash.
    #[must_use]
    pub fn base(mut self, base: impl Into<String>) -> Self {
        self.base = base.into();
        self
    }

    /// Sets the identifier of a zone, so that the zone is not looked up and no token needs Zone:Read for it. The name
    /// may be in Unicode.
    #[must_use]
    pub fn pin(mut self, zone: impl Into<String>, id: impl Into<String>) -> Self {
        self.pinned.insert(ascii(&zone.into()), id.into());
        self
    }

    /// Sends a request to the API. With `for_zones`, the token for zones is used, if there is one.
    ///
    /// # Errors
    /// Returns an error if the API cannot be reached, or the response does not report success.
    async fn call(
        &self,
        for_zones: bool,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Page, CallError> {
        let bearer;
        let mut headers = vec![HeaderField::new("accept", "application/json")];
        match &self.auth {
            CloudflareAuth::Token { dns, zone } => {
                let token = zone.as_ref().filter(|_| for_zones).unwrap_or(dns);
                bearer = format!("Bearer {}", token.expose_secret());
                headers.push(HeaderField::new("authorization", &bearer));
            }
            CloudflareAuth::GlobalKey { email, key } => {
                headers.push(HeaderField::new("x-auth-email", email));
                headers.push(HeaderField::new("x-auth-key", key.expose_secret()));
            }
        }
        let payload = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        if body.is_some() {
            headers.push(HeaderField::new("content-type", "application/json"));
        }
        let url = format!("{}{path}", self.base);
        let sent = self.http.send(method.clone(), &url, &headers, payload).await;
        let response =
            sent.map_err(|why| CallError::Other(ProviderError::transient("cloudflare", why.to_string())))?;
        read(&response, &format!("{method} {path}"))
    }

    /// Finds a zone by its name, which must be in A-labels and lower case. A configured zone is returned without a
    /// request. `None` if the credentials reach no such zone. An active zone is preferred to a pending one, and only
    /// active zones are cached. The API may write names in Unicode or as A-labels, so both are queried.
    ///
    /// # Errors
    /// Returns an error if the API cannot be reached or rejects the request.
    async fn find(&self, candidate: &str) -> Result<Option<FoundZone>, ProviderError> {
        if let Some(id) = self.pinned.get(candidate) {
            return Ok(Some(FoundZone { id: id.clone(), active: true }));
        }
        if let Some(known) = self.zones.lock().await.get(candidate) {
            return Ok(Some(known.clone()));
        }
        let mut best: Option<FoundZone> = None;
        for written in spellings(candidate) {
            let path = format!("/zones?name={}&per_page=50", percent_encode(&written));
            let found = match self.call(true, Method::GET, &path, None).await {
                Ok(answer) => answer.result,
                // A zone outside the token's scope; its parent zone may be inside.
                Err(CallError::Codes(codes, _)) if codes.contains(&0) => continue,
                Err(error) => return Err(error.into()),
            };
            for zone in found.as_array().into_iter().flatten() {
                let same = zone["name"].as_str().is_some_and(|name| ascii(name) == candidate);
                let Some(id) = zone["id"].as_str().filter(|_| same) else { continue };
                let active = zone["status"].as_str().is_none_or(|status| status == "active");
                // A pending zone may be in another account than the one that the domain is delegated to.
                if best.as_ref().is_none_or(|best| active && !best.active) {
                    best = Some(FoundZone { id: id.to_owned(), active });
                }
            }
            if best.is_some() {
                break;
            }
        }
        // A missing zone may be created, and a pending one may become active, so neither is cached.
        if let Some(zone) = best.as_ref().filter(|zone| zone.active) {
            self.zones.lock().await.insert(candidate.to_owned(), zone.clone());
        }
        Ok(best)
    }

    /// Returns the identifiers of the TXT records in a zone that have exactly this name and value. `zone` is the
    /// identifier of the zone. Empty if there are none.
    ///
    /// # Errors
    /// Returns an error if the API cannot be reached or rejects the request.
    async fn records(&self, zone: &str, name: &str, value: &str) -> Result<Vec<String>, ProviderError> {
        let mut ids = Vec::new();
        for written in spellings(name) {
            let mut page = 1;
            loop {
                let path = format!(
                    "/zones/{zone}/dns_records?type=TXT&name={}&page={page}&per_page=100",
                    percent_encode(&written)
                );
                let answer = self.call(false, Method::GET, &path, None).await?;
                for record in answer.result.as_array().into_iter().flatten() {
                    let content = record["content"].as_str().unwrap_or_default();
                    let here = record["name"].as_str().is_some_and(|found| ascii(found) == ascii(name));
                    if unquote(content) == value && here {
                        ids.extend(record["id"].as_str().map(str::to_owned));
                    }
                }
                if page >= answer.pages {
                    break;
                }
                page += 1;
            }
            if !ids.is_empty() {
                break;
            }
        }
        Ok(ids)
    }

    /// Verifies the token for records at Cloudflare, which may belong to a user or to an account. Returns a line about
    /// its state, and one about its expiry if it has one.
    ///
    /// # Errors
    /// Returns an error if the token cannot be verified or is not active.
    async fn verify(&self) -> Result<Vec<String>, CallError> {
        let answer = match self.call(false, Method::GET, "/user/tokens/verify", None).await {
            Ok(answer) => answer,
            // The endpoint for users does not know tokens of accounts.
            Err(CallError::Codes(codes, error)) if codes.iter().any(|code| [1000, 10_000].contains(code)) => {
                match self.verify_account_token().await {
                    Some(answer) => answer,
                    None => return Err(CallError::Codes(codes, error)),
                }
            }
            Err(error) => return Err(error),
        };
        let status = answer.result["status"].as_str().unwrap_or("unknown");
        if status != "active" {
            let why = format!("the token is {status}: create a new one with the same scope");
            return Err(CallError::Other(ProviderError::permanent("cloudflare", why)));
        }
        let mut lines = vec!["the token is active".to_owned()];
        if let Some(end) = answer.result["expires_on"].as_str() {
            lines.push(format!("the token expires {end}"));
        }
        Ok(lines)
    }

    /// Verifies a token at the endpoint of each account that it can see, directly or through zones. Returns the first
    /// successful response, `None` without one.
    async fn verify_account_token(&self) -> Option<Page> {
        let mut accounts = Vec::new();
        for path in ["/accounts?per_page=50", "/zones?per_page=50"] {
            if let Ok(answer) = self.call(false, Method::GET, path, None).await {
                for found in answer.result.as_array().into_iter().flatten() {
                    let id = found["account"]["id"].as_str().or_else(|| found["id"].as_str());
                    let id = if path.starts_with("/zones") { found["account"]["id"].as_str() } else { id };
                    accounts.extend(id.map(str::to_owned));
                }
            }
        }
        for zone in self.pinned.values() {
            if let Ok(answer) = self.call(false, Method::GET, &format!("/zones/{zone}"), None).await {
                accounts.extend(answer.result["account"]["id"].as_str().map(str::to_owned));
            }
        }
        accounts.sort();
        accounts.dedup();
        for account in accounts {
            let path = format!("/accounts/{account}/tokens/verify");
            if let Ok(answer) = self.call(false, Method::GET, &path, None).await {
                return Some(answer);
            }
        }
        None
    }

    /// Lists the zones that the credentials can read, sorted by name, over all pages of the API.
    ///
    /// # Errors
    /// Returns a [`ProviderError`] if the zones cannot be listed.
    pub async fn scope(&self) -> Result<Scope, ProviderError> {
        let mut zones = Vec::new();
        let mut page = 1;
        loop {
            let answer =
                self.call(true, Method::GET, &format!("/zones?page={page}&per_page=50"), None).await?;
            let names = answer.result.as_array().into_iter().flatten();
            zones.extend(names.filter_map(|zone| zone["name"].as_str().map(str::to_owned)));
            if page >= answer.pages {
                zones.sort();
                return Ok(Scope { zones });
            }
            page += 1;
        }
    }
}

#[async_trait]
impl Provider for Cloudflare {
    async fn zone(&self, name: &str, apex: &str) -> Result<Option<ZoneMatch>, ProviderError> {
        let (name, apex) = (ascii(name), ascii(apex));
        let parents = zone_candidates(&name).filter(|candidate| *candidate != apex);
        for candidate in std::iter::once(apex.as_str()).chain(parents) {
            // A challenge name is the apex of a zone only if the DNS or the configuration says so.
            if candidate.starts_with('_') && candidate != apex && !self.pinned.contains_key(candidate) {
                continue;
            }
            if let Some(FoundZone { id, active }) = self.find(candidate).await? {
                let coverage = Coverage::Zone { apex: candidate.to_owned(), active };
                return Ok(Some(ZoneMatch::new(id, coverage)));
            }
        }
        Ok(None)
    }

    async fn add(&self, zone: &str, name: &str, value: &str) -> Result<Option<String>, ProviderError> {
        let body = json!({
            "type": "TXT", "name": name, "content": format!("\"{value}\""), "ttl": self.ttl, "comment": COMMENT,
        });
        match self.call(false, Method::POST, &format!("/zones/{zone}/dns_records"), Some(&body)).await {
            Ok(answer) => Ok(answer.result["id"].as_str().map(str::to_owned)),
            Err(CallError::Codes(codes, _)) if codes.iter().any(|code| EXISTS.contains(code)) => {
                Ok(self.records(zone, name, value).await?.into_iter().next())
            }
            Err(why) => Err(why.into()),
        }
    }

    async fn remove(
        &self,
        zone: &str,
        name: &str,
        value: &str,
        id: Option<&str>,
    ) -> Result<(), ProviderError> {
        let ids = match id {
            Some(id) => vec![id.to_owned()],
            None => self.records(zone, name, value).await?,
        };
        for id in ids {
            match self.call(false, Method::DELETE, &format!("/zones/{zone}/dns_records/{id}"), None).await {
                Ok(_) => {}
                Err(CallError::Codes(codes, _)) if codes.contains(&RECORD_MISSING) => {}
                Err(why) => return Err(why.into()),
            }
        }
        Ok(())
    }

    async fn check(&self) -> Result<Vec<String>, ProviderError> {
        let mut lines = Vec::new();
        let verified = match &self.auth {
            CloudflareAuth::Token { .. } => match self.verify().await {
                Ok(found) => {
                    lines.extend(found);
                    Ok(())
                }
                Err(error) => Err(error),
            },
            CloudflareAuth::GlobalKey { .. } => {
                let line = "the global key can do everything to the whole account: use a token with Zone:Read and DNS:Edit";
                lines.push(line.to_owned());
                Ok(())
            }
        };
        let reach = match self.scope().await {
            Ok(scope) => match scope.zones.len() {
                0 if self.pinned.is_empty() => Err(ProviderError::permanent(
                    "cloudflare",
                    "the token sees no zone: give it Zone:Read, or pin zone ids",
                )),
                0 => Ok("the token cannot list zones; their ids are configured".to_owned()),
                count => Ok(format!(
                    "the credentials reach {count} zone{}: {}",
                    if count == 1 { "" } else { "s" },
                    scope.zones.join(", ")
                )),
            },
            Err(_) if !self.pinned.is_empty() => {
                let mut reached = Vec::new();
                for (name, id) in &self.pinned {
                    self.call(
                        false,
                        Method::GET,
                        &format!("/zones/{id}/dns_records?type=TXT&per_page=1"),
                        None,
                    )
                    .await?;
                    reached.push(name.as_str());
                }
                reached.sort_unstable();
                Ok(format!("the credentials reach the configured zones: {}", reached.join(", ")))
            }
            Err(error) => Err(error),
        };
        match (verified, reach) {
            // A token that reaches its zones is valid, even if its verification failed.
            (_, Ok(reach)) => {
                lines.push(reach);
                Ok(lines)
            }
            (Err(error), Err(_)) => Err(error.into()),
            (Ok(()), Err(error)) => Err(error),
        }
    }

    async fn probe(&self, zone: &str, _: &str) -> Result<Option<String>, ProviderError> {
        self.call(false, Method::GET, &format!("/zones/{zone}/dns_records?type=TXT&per_page=1"), None)
            .await?;
        Ok(Some("the records can be read".to_owned()))
    }
}

/// Returns a name as A-labels in lower case, or merely in lower case if it cannot be converted.
fn ascii(name: &str) -> String {
    idna::domain_to_ascii(name).unwrap_or_else(|_| name.to_ascii_lowercase())
}

/// Returns the forms in which the API may write a name: as given, and also in Unicode if that differs.
fn spellings(name: &str) -> Vec<String> {
    let (unicode, _) = idna::domain_to_unicode(name);
    let mut all = vec![name.to_owned()];
    if unicode != name {
        all.push(unicode);
    }
    all
}

/// Percent-encodes a name for the query of a URL: every byte except ASCII letters, digits and `-._*`.
fn percent_encode(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'*');
    name.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// Returns the content of a TXT record without quotes, which the API returns both with and without them, and with its
/// several strings joined.
fn unquote(content: &str) -> String {
    let Some(inner) = content.strip_prefix('"').and_then(|content| content.strip_suffix('"')) else {
        return content.to_owned();
    };
    // Long values consist of several strings.
    inner.split("\" \"").collect::<String>().replace("\\\"", "\"")
}

/// Parses a response of the API. `what` names the request in errors, which include advice for known error codes.
///
/// # Errors
/// Returns an error unless the status is successful and the API reports success. It is transient for the statuses 429
/// and 5xx, and then has the Retry-After of the response.
fn read(response: &Response, what: &str) -> Result<Page, CallError> {
    let status = response.status.as_u16();
    let envelope: Result<Envelope, _> = serde_json::from_slice(&response.body);
    let Ok(envelope) = envelope else {
        let why = format!("{what}: {status}, and no JSON of the API");
        let mut error = if status >= 500 || status == 429 || response.status.is_success() {
            ProviderError::transient("cloudflare", why)
        } else {
            ProviderError::permanent("cloudflare", why)
        };
        error.retry_after = response.retry_after().filter(|_| error.transient);
        return Err(CallError::Other(error));
    };
    // A response with status 200 may still report an error; `success` decides.
    if envelope.success && response.status.is_success() {
        let pages = envelope.result_info.map_or(1, |info| info.total_pages);
        return Ok(Page { result: envelope.result, pages });
    }
    let errors = envelope.errors.unwrap_or_default();
    let codes: Vec<u64> = errors
        .iter()
        .flat_map(|said| std::iter::once(said.code).chain(said.error_chain.iter().map(|below| below.code)))
        .collect();
    let said: Vec<String> = errors.iter().map(|said| format!("{} ({})", said.message, said.code)).collect();
    let said = if said.is_empty() { "no reason given".to_owned() } else { said.join(", ") };
    let says = |word: &str| errors.iter().any(|error| error.message.to_lowercase().contains(word));
    let advice = match codes.first() {
        Some(6003 | 6103 | 6111) => ": the token is malformed; is a line break or the wrong secret in it?",
        Some(9103) => ": the e-mail address or the global key is wrong",
        Some(9109) if says("location") => {
            ": the token is limited to other addresses; add this machine's address to its client IP filter"
        }
        Some(9109) if says("resource") => ": the token is not for this account or zone; extend its scope",
        Some(9109 | 1000) => ": the token is invalid or revoked; create a new one",
        Some(10_000) => ": the token lacks a permission; give it Zone:Read and DNS:Edit for this zone",
        Some(1009) => ": the token may not edit records; give it DNS:Edit for this zone",
        Some(0) if says("zone.list") => {
            ": the token lacks Zone:Read; add it, or configure the zone's id in `zones`"
        }
        _ => "",
    };
    let transient = status == 429 || status >= 500;
    let retry_after =
        response.retry_after().filter(|_| transient).map(|after| after.max(Duration::from_secs(1)));
    let again = retry_after.map_or_else(String::new, |after| format!(" (again after {} s)", after.as_secs()));
    let why = format!("{what}: {status}: {said}{advice}{again}");
    let error = ProviderError { provider: "cloudflare".to_owned(), why, transient, retry_after };
    Err(CallError::Codes(codes, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_to_come_again_is_kept() {
        let with = |status: u16, body: &'static str| {
            let mut headers = http::HeaderMap::new();
            headers.insert("retry-after", http::HeaderValue::from_static("300"));
            let status = http::StatusCode::from_u16(status).expect("a status");
            read(&Response { status, headers, body: body.into() }, "GET /zones")
        };
        let refused = r#"{"success":false,"errors":[{"code":971,"message":"slow down"}]}"#;
        let Err(CallError::Codes(codes, why)) = with(429, refused) else { panic!("it is refused") };
        assert_eq!(
            (codes, why.retry_after, why.transient),
            (vec![971], Some(Duration::from_secs(300)), true)
        );
        assert!(why.why.contains("again after 300 s"), "{why}");
        let Err(CallError::Codes(_, why)) = with(400, refused) else { panic!("it is refused") };
        assert_eq!((why.retry_after, why.transient), (None, false), "{why}");
        // A page of something on the way says it, too.
        let Err(CallError::Other(why)) = with(503, "<html>") else { panic!("it is refused") };
        assert_eq!((why.retry_after, why.transient), (Some(Duration::from_secs(300)), true), "{why}");
    }

    #[test]
    fn no_errors_are_missing_empty_or_null() {
        for errors in ["", r#""errors":[],"#, r#""errors":null,"#] {
            let body = format!(r#"{{"success":true,{errors}"result":[1]}}"#);
            let (status, headers) = (http::StatusCode::OK, http::HeaderMap::new());
            let page = read(&Response { status, headers, body: body.clone().into() }, "GET /zones");
            assert!(page.is_ok_and(|page| page.result == serde_json::json!([1])), "{body}");
        }
    }

    #[test]
    fn contents_are_compared_without_their_quotes() {
        assert_eq!(unquote("abc"), "abc");
        assert_eq!(unquote("\"abc\""), "abc");
        assert_eq!(unquote("\"ab\" \"c\""), "abc");
    }
}
