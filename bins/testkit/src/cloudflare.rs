//! A mock of Cloudflare's API v4 for TXT records, with fault injection.

use crate::{Origin, answer};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

/// API token that the mock accepts.
pub const TOKEN: &str = "cloudflare-token";

/// Content of the mock: zones by ID and name, records, number of records that were ever created, requests so far
/// (method and path), and pending faults.
#[derive(Debug, Default)]
struct State {
    zones: Vec<(String, String)>,
    records: Vec<Value>,
    next: usize,
    requests: Vec<String>,
    /// Responses for the next requests: beginning of the request line, status, and envelope.
    faults: Vec<(String, String, Value)>,
}

/// A server that responds as Cloudflare's DNS API does. Clones share its content. It runs until the test's process
/// exits.
#[derive(Clone)]
pub struct CloudflareMock {
    origin: Arc<Origin>,
    state: Arc<Mutex<State>>,
}

impl std::fmt::Debug for CloudflareMock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CloudflareMock").field("address", &self.origin.address()).finish_non_exhaustive()
    }
}

impl CloudflareMock {
    /// Starts a mock with these zones. The ID of a zone is `id-` and its name.
    #[must_use]
    pub fn start(zones: &[&str]) -> Self {
        let zones = zones.iter().map(|zone| (format!("id-{zone}"), (*zone).to_owned())).collect();
        let state = Arc::new(Mutex::new(State { zones, ..State::default() }));
        let shared = state.clone();
        let origin = Origin::scripted(move |bytes| {
            let head_end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
            let head = String::from_utf8_lossy(&bytes[..head_end]).into_owned();
            let length: usize = head
                .lines()
                .find_map(|line| line.to_lowercase().strip_prefix("content-length:")?.trim().parse().ok())
                .unwrap_or(0);
            let end = head_end + length;
            let body = bytes.get(head_end..end)?;
            Some((shared.lock().expect("no panic").serve(&head, body), end))
        });
        Self { origin: Arc::new(origin), state }
    }

    /// Returns the base URL of the API, without a trailing slash.
    #[must_use]
    pub fn base(&self) -> String {
        format!("http://{}/client/v4", self.address())
    }

    /// Returns the address of the mock.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.origin.address()
    }

    /// Adds a fault: the next request whose method and path begin with `line` (such as `POST /zones`) gets this status
    /// (such as `200 OK`) and this envelope, and has no effect. A fault is used once; of several that match, the first
    /// added is used. A JSON string as envelope is sent as plain text.
    ///
    /// # Panics
    /// Panics if the server panicked.
    pub fn fault(&self, line: &str, status: &str, envelope: Value) {
        let fault = (line.to_owned(), status.to_owned(), envelope);
        self.state.lock().expect("no panic").faults.push(fault);
    }

    /// Adds a TXT record to a zone, given by its name, that the program under test did not create.
    ///
    /// # Panics
    /// Panics if the server panicked.
    pub fn put(&self, zone: &str, name: &str, content: &str) {
        let mut state = self.state.lock().expect("no panic");
        state.next += 1;
        let id = format!("record-{}", state.next);
        state.records.push(
            json!({"id": id, "zone": format!("id-{zone}"), "type": "TXT", "name": name, "content": content}),
        );
    }

    /// Returns the values of the records at a name in all zones, without quotes, in the order of their creation.
    ///
    /// # Panics
    /// Panics if the server panicked.
    #[must_use]
    pub fn txt(&self, name: &str) -> Vec<String> {
        let state = self.state.lock().expect("no panic");
        let found = state.records.iter().filter(|record| record["name"] == name);
        found
            .map(|record| record["content"].as_str().unwrap_or_default().trim_matches('"').to_owned())
            .collect()
    }

    /// Returns the requests so far, as method and path below the base URL: `POST /zones/…`.
    ///
    /// # Panics
    /// Panics if the server panicked.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        self.state.lock().expect("no panic").requests.clone()
    }
}

/// Returns the envelope of a successful response with the only page of a list; `count` is the number of its entries.
fn envelope(result: &Value, count: usize) -> Value {
    json!({"success": true, "errors": [], "messages": [], "result": result,
        "result_info": {"page": 1, "per_page": 2, "count": count, "total_count": count, "total_pages": 1}})
}

/// Returns the envelope of a failed response with one error of this code and message.
fn refused(code: u64, message: &str) -> Value {
    json!({"success": false, "errors": [{"code": code, "message": message}], "messages": [], "result": null})
}

impl State {
    /// Records a request, applies it to the records, and returns the whole response. The first pending fault that
    /// matches is used up and returned instead, without any effect. Other requests need the token; without it the
    /// status is 403. A list of records has two per page. A record that exists already gets status 400, the deletion of
    /// an unknown one and an unknown path 404, and a query for a zone of another name 403.
    fn serve(&mut self, head: &str, body: &[u8]) -> Vec<u8> {
        let mut parts = head.lines().next().unwrap_or_default().split(' ');
        let (method, target) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let target = target.strip_prefix("/client/v4").unwrap_or(target);
        let line = format!("{method} {target}");
        self.requests.push(line.clone());
        if let Some(at) = self.faults.iter().position(|(begin, ..)| line.starts_with(begin)) {
            let (_, status, body) = self.faults.remove(at);
            return with_status(&status, &body);
        }
        if !head.to_lowercase().contains(&format!("authorization: bearer {TOKEN}")) {
            return with_status("403 Forbidden", &refused(9109, "Invalid access token"));
        }
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let query = |name: &str| {
            query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')).map(str::to_owned)
        };
        let segments: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        match (method, segments.as_slice()) {
            ("GET", ["user", "tokens", "verify"]) => {
                ok(&envelope(&json!({"id": "t", "status": "active"}), 1))
            }
            ("GET", ["zones"]) => {
                let wanted = query("name");
                let zones: Vec<Value> = self
                    .zones
                    .iter()
                    .filter(|(_, name)| wanted.as_ref().is_none_or(|wanted| wanted == name))
                    .map(|(id, name)| json!({"id": id, "name": name}))
                    .collect();
                if zones.is_empty() && wanted.is_some() {
                    // Cloudflare's response for a zone outside the token's scope.
                    return with_status(
                        "403 Forbidden",
                        &refused(0, "Actor requires permission \"com.cloudflare.api.account.zone.list\""),
                    );
                }
                ok(&envelope(&json!(zones), zones.len()))
            }
            ("GET", ["zones", zone, "dns_records"]) => {
                let name = query("name").unwrap_or_default();
                let page: usize = query("page").and_then(|page| page.parse().ok()).unwrap_or(1);
                let found: Vec<&Value> = self
                    .records
                    .iter()
                    .filter(|record| record["zone"] == *zone && record["name"] == name.as_str())
                    .collect();
                // Two records per page, whatever the request specifies.
                let pages = found.len().div_ceil(2).max(1);
                let part: Vec<&&Value> = found.iter().skip((page - 1) * 2).take(2).collect();
                ok(&json!({"success": true, "errors": [], "messages": [], "result": part, "result_info":
                    {"page": page, "per_page": 2, "count": part.len(), "total_count": found.len(), "total_pages": pages}}))
            }
            ("POST", ["zones", zone, "dns_records"]) => {
                let mut record: Value = serde_json::from_slice(body).unwrap_or_default();
                let bare = |value: &Value| {
                    value["content"].as_str().unwrap_or_default().trim_matches('"').to_owned()
                };
                let same = |known: &&Value| known["name"] == record["name"] && bare(known) == bare(&record);
                if self.records.iter().any(|known| same(&known)) {
                    return with_status(
                        "400 Bad Request",
                        &refused(81_058, "An identical record already exists."),
                    );
                }
                self.next += 1;
                record["id"] = format!("record-{}", self.next).into();
                record["zone"] = (*zone).into();
                if self.next.is_multiple_of(2) {
                    // Cloudflare accepts content with and without quotes.
                    record["content"] = bare(&record).into();
                }
                self.records.push(record.clone());
                ok(&envelope(&record, 1))
            }
            ("DELETE", ["zones", _, "dns_records", id]) => {
                let before = self.records.len();
                self.records.retain(|record| record["id"] != *id);
                if before == self.records.len() {
                    return with_status("404 Not Found", &refused(81_044, "Record does not exist."));
                }
                ok(&envelope(&json!({"id": id}), 1))
            }
            _ => with_status("404 Not Found", &refused(7003, "Could not route")),
        }
    }
}

/// Returns a response of status 200 with this content.
fn ok(body: &Value) -> Vec<u8> {
    answer(&body.to_string())
}

/// Returns a response with this status (`404 Not Found`) and content. A JSON string is sent as plain text, without
/// quotes.
fn with_status(status: &str, body: &Value) -> Vec<u8> {
    let body = if let Value::String(text) = body { text.clone() } else { body.to_string() };
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}
