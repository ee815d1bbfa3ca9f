//! Cloudflare, by its API v4.

use super::{Provider, ProviderError};
use crate::client::{Http, Response};
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

/// How to say who we are.
pub enum CloudflareAuth {
    /// A scoped token: Zone:Read and DNS:Edit for the zones; or DNS:Edit alone beside a token for zones.
    Token {
        /// For the records.
        dns: SecretString,
        /// To find zones, if the other may not.
        zone: Option<SecretString>,
    },
    /// An e-mail address and the account's global key, which can do everything: better a token.
    GlobalKey {
        /// The address.
        email: String,
        /// The key.
        key: SecretString,
    },
}

/// What a token can see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// The zones.
    pub zones: Vec<String>,
}

/// A client of Cloudflare.
pub struct Cloudflare {
    http: Http,
    base: String,
    auth: CloudflareAuth,
    /// Zones given by hand: name and identifier.
    pinned: HashMap<String, String>,
    zones: Mutex<HashMap<String, Option<String>>>,
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

/// Codes that mean that a record is there already.
const EXISTS: [u64; 2] = [81_057, 81_058];
/// The code that means that a record is not there.
const MISSING: u64 = 81_044;
/// A mark that says whose records these are.
const COMMENT: &str = "acme-dns01";

struct Answer {
    result: Value,
    pages: u64,
}

enum Refused {
    Codes(Vec<u64>, ProviderError),
    Other(ProviderError),
}

impl From<Refused> for ProviderError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Codes(_, why) | Refused::Other(why) => why,
        }
    }
}

#[derive(Deserialize)]
struct Envelope {
    success: bool,
    #[serde(default)]
    errors: Vec<Said>,
    #[serde(default)]
    result: Value,
    result_info: Option<Pages>,
}

#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    code: u64,
    #[serde(default)]
    message: String,
    #[serde(default)]
    error_chain: Vec<Self>,
}

#[derive(Deserialize)]
struct Pages {
    #[serde(default)]
    total_pages: u64,
}

impl Cloudflare {
    /// A client of the public API.
    #[must_use]
    pub fn new(http: Http, auth: CloudflareAuth) -> Self {
        let base = "https://api.cloudflare.com/client/v4".to_owned();
        Self { http, base, auth, pinned: HashMap::new(), zones: Mutex::default(), ttl: 120 }
    }

    /// Another address of the API, without a slash at its end.
    #[must_use]
    pub fn base(mut self, base: impl Into<String>) -> Self {
        self.base = base.into();
        self
    }

    /// A zone whose identifier is known, so that no token has to read zones.
    #[must_use]
    pub fn pin(mut self, zone: impl Into<String>, id: impl Into<String>) -> Self {
        self.pinned.insert(zone.into(), id.into());
        self
    }

    async fn call(
        &self,
        for_zones: bool,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, Refused> {
        let bearer;
        let mut headers = vec![("accept", "application/json")];
        match &self.auth {
            CloudflareAuth::Token { dns, zone } => {
                let token = zone.as_ref().filter(|_| for_zones).unwrap_or(dns);
                bearer = format!("Bearer {}", token.expose_secret());
                headers.push(("authorization", &bearer));
            }
            CloudflareAuth::GlobalKey { email, key } => {
                headers.push(("x-auth-email", email));
                headers.push(("x-auth-key", key.expose_secret()));
            }
        }
        let payload = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        if body.is_some() {
            headers.push(("content-type", "application/json"));
        }
        let url = format!("{}{path}", self.base);
        let sent = self.http.send(method.clone(), &url, &headers, payload).await;
        let response =
            sent.map_err(|why| Refused::Other(ProviderError::transient("cloudflare", why.to_string())))?;
        read(&response, &format!("{method} {path}"))
    }

    async fn find(&self, candidate: &str) -> Result<Option<String>, ProviderError> {
        if let Some(known) = self.zones.lock().await.get(candidate) {
            return Ok(known.clone());
        }
        let found = self.call(true, Method::GET, &format!("/zones?name={candidate}&per_page=50"), None).await;
        let id = match found {
            Ok(answer) => {
                let zones = answer.result.as_array().cloned().unwrap_or_default();
                zones
                    .iter()
                    .find(|zone| zone["name"] == candidate)
                    .and_then(|zone| zone["id"].as_str())
                    .map(str::to_owned)
            }
            // A zone outside the token's scope; the one above may be inside.
            Err(Refused::Codes(codes, _)) if codes.contains(&0) => None,
            Err(why) => return Err(why.into()),
        };
        // A zone that is not there yet may come; one that is there stays.
        if id.is_some() {
            self.zones.lock().await.insert(candidate.to_owned(), id.clone());
        }
        Ok(id)
    }

    /// The records of a name with a value: their identifiers.
    async fn records(&self, zone: &str, name: &str, value: &str) -> Result<Vec<String>, ProviderError> {
        let mut ids = Vec::new();
        let mut page = 1;
        loop {
            let path = format!("/zones/{zone}/dns_records?type=TXT&name={name}&page={page}&per_page=100");
            let answer = self.call(false, Method::GET, &path, None).await?;
            for record in answer.result.as_array().into_iter().flatten() {
                let content = record["content"].as_str().unwrap_or_default();
                if unquoted(content) == value && record["name"] == name {
                    ids.extend(record["id"].as_str().map(str::to_owned));
                }
            }
            if page >= answer.pages {
                return Ok(ids);
            }
            page += 1;
        }
    }

    /// The zones that the credentials can see.
    ///
    /// # Errors
    /// [`ProviderError`].
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
    async fn zone(&self, name: &str) -> Result<Option<String>, ProviderError> {
        for candidate in zone_candidates(name) {
            if let Some(id) = self.pinned.get(candidate) {
                return Ok(Some(id.clone()));
            }
            if let Some(id) = self.find(candidate).await? {
                return Ok(Some(id));
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
            Err(Refused::Codes(codes, _)) if codes.iter().any(|code| EXISTS.contains(code)) => {
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
                Err(Refused::Codes(codes, _)) if codes.contains(&MISSING) => {}
                Err(why) => return Err(why.into()),
            }
        }
        Ok(())
    }

    async fn check(&self) -> Result<Vec<String>, ProviderError> {
        let mut lines = Vec::new();
        match &self.auth {
            CloudflareAuth::Token { .. } => {
                let answer = self.call(false, Method::GET, "/user/tokens/verify", None).await?;
                let status = answer.result["status"].as_str().unwrap_or("unknown");
                if status != "active" {
                    let why = format!("the token is {status}: make a new one and give it the same scope");
                    return Err(ProviderError::lasting("cloudflare", why));
                }
                lines.push("the token is active".to_owned());
                if let Some(end) = answer.result["expires_on"].as_str() {
                    lines.push(format!("the token ends {end}"));
                }
            }
            CloudflareAuth::GlobalKey { .. } => lines.push(
                "the global key can do everything to the whole account: use a token with Zone:Read and DNS:Edit"
                    .to_owned(),
            ),
        }
        let scope = self.scope().await?;
        lines.push(match scope.zones.len() {
            0 => "the token sees no zone: give it Zone:Read, or pin zone ids".to_owned(),
            count => format!(
                "whoever has the token can reach {count} zone{}: {}",
                if count == 1 { "" } else { "s" },
                scope.zones.join(", ")
            ),
        });
        Ok(lines)
    }
}

/// TXT content comes back with quotes and without.
fn unquoted(content: &str) -> String {
    let Some(inner) = content.strip_prefix('"').and_then(|content| content.strip_suffix('"')) else {
        return content.to_owned();
    };
    // Long values are several strings.
    inner.split("\" \"").collect::<String>().replace("\\\"", "\"")
}

fn read(response: &Response, what: &str) -> Result<Answer, Refused> {
    let status = response.status.as_u16();
    let envelope: Result<Envelope, _> = serde_json::from_slice(&response.body);
    let Ok(envelope) = envelope else {
        let why = format!("{what}: {status}, and no JSON of the API");
        let mut error = if status >= 500 || status == 429 || response.status.is_success() {
            ProviderError::transient("cloudflare", why)
        } else {
            ProviderError::lasting("cloudflare", why)
        };
        error.retry_after = response.retry_after().filter(|_| error.transient);
        return Err(Refused::Other(error));
    };
    // A status of 200 says nothing: `success` does.
    if envelope.success && response.status.is_success() {
        let pages = envelope.result_info.map_or(1, |info| info.total_pages);
        return Ok(Answer { result: envelope.result, pages });
    }
    let codes: Vec<u64> = envelope
        .errors
        .iter()
        .flat_map(|said| std::iter::once(said.code).chain(said.error_chain.iter().map(|below| below.code)))
        .collect();
    let said: Vec<String> =
        envelope.errors.iter().map(|said| format!("{} ({})", said.message, said.code)).collect();
    let said = if said.is_empty() { "without a word why".to_owned() } else { said.join(", ") };
    let advice = match codes.first() {
        Some(6003 | 6103 | 6111) => ": the token is malformed; is a line break or the wrong secret in it?",
        Some(9103) => ": the e-mail address or the global key is wrong",
        Some(9109 | 1000) => ": the token is invalid or revoked; make a new one",
        Some(10_000) => ": the token lacks a permission; give it Zone:Read and DNS:Edit for this zone",
        Some(1009) => ": the token may not edit records; give it DNS:Edit for this zone",
        _ => "",
    };
    let transient = status == 429 || status >= 500;
    let retry_after =
        response.retry_after().filter(|_| transient).map(|after| after.max(Duration::from_secs(1)));
    let again = retry_after.map_or_else(String::new, |after| format!(" (again after {} s)", after.as_secs()));
    let why = format!("{what}: {status}: {said}{advice}{again}");
    let error = ProviderError { provider: "cloudflare".to_owned(), why, transient, retry_after };
    Err(Refused::Codes(codes, error))
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
        let Err(Refused::Codes(codes, why)) = with(429, refused) else { panic!("it is refused") };
        assert_eq!(
            (codes, why.retry_after, why.transient),
            (vec![971], Some(Duration::from_secs(300)), true)
        );
        assert!(why.why.contains("again after 300 s"), "{why}");
        let Err(Refused::Codes(_, why)) = with(400, refused) else { panic!("it is refused") };
        assert_eq!((why.retry_after, why.transient), (None, false), "{why}");
        // A page of something on the way says it, too.
        let Err(Refused::Other(why)) = with(503, "<html>") else { panic!("it is refused") };
        assert_eq!((why.retry_after, why.transient), (Some(Duration::from_secs(300)), true), "{why}");
    }

    #[test]
    fn contents_are_compared_without_their_quotes() {
        assert_eq!(unquoted("abc"), "abc");
        assert_eq!(unquoted("\"abc\""), "abc");
        assert_eq!(unquoted("\"ab\" \"c\""), "abc");
    }
}
