//! A mock of the API of deSEC for the TXT records of one zone.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Mutex;

/// Host name of deSEC's API.
pub(crate) const DESEC: &str = "desec.io";
/// API token that the mock accepts.
const TOKEN: &str = "desec-token";

/// A mock with one zone, whose TXT record sets are stored by the part of their names before the zone.
pub(crate) struct DesecMock {
    zone: &'static str,
    sets: Mutex<BTreeMap<String, Vec<String>>>,
}

/// A response of the mock, and the record set that the request changed.
pub(crate) struct DesecResponse {
    pub(crate) status: &'static str,
    pub(crate) body: Value,
    /// Full name of the changed record set, and its values in quotes, which are empty if the set was deleted. `None` if
    /// nothing changed.
    pub(crate) changed: Option<(String, Vec<String>)>,
}

impl DesecResponse {
    /// Creates a response with this status (`200 OK`) and content that changed nothing.
    const fn new(status: &'static str, body: Value) -> Self {
        Self { status, body, changed: None }
    }
}

impl DesecMock {
    /// Creates a mock of this zone without records.
    pub(crate) fn new(zone: &'static str) -> Self {
        Self { zone, sets: Mutex::default() }
    }

    /// Responds to a request, given by its method and path (`GET /api/v1/domains/example.org/`), its field
    /// Authorization and its content, and changes the record sets as it demands. Without the token the status is 401,
    /// for an unknown zone, set or path 404, for a set that exists already or is not valid 400, and for an unsupported
    /// method on a set 405.
    ///
    /// # Panics
    /// Panics if another request panicked.
    pub(crate) fn answer(&self, line: &str, authorization: Option<&str>, body: &[u8]) -> DesecResponse {
        if authorization != Some(&format!("Token {TOKEN}")) {
            return DesecResponse::new("401 Unauthorized", json!({"detail": "Invalid token."}));
        }
        let (method, path) = line.split_once(' ').unwrap_or_default();
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let missing = || DesecResponse::new("404 Not Found", json!({"detail": "Not found."}));
        let asked: Value = serde_json::from_slice(body).unwrap_or_default();
        let mut sets = self.sets.lock().expect("no panic");
        match (method, parts.as_slice()) {
            ("GET", ["api", "v1", "domains", zone]) if *zone == self.zone => {
                DesecResponse::new("200 OK", json!({"name": zone}))
            }
            ("POST", ["api", "v1", "domains", zone, "rrsets"]) if *zone == self.zone => {
                let name = asked["subname"].as_str().unwrap_or_default().to_owned();
                if sets.contains_key(&name) {
                    let body = json!({"non_field_errors": ["Another RRset with the same subdomain and type exists."]});
                    return DesecResponse::new("400 Bad Request", body);
                }
                self.put(&mut sets, "201 Created", &name, &asked)
            }
            (_, ["api", "v1", "domains", zone, "rrsets", name, "TXT"]) if *zone == self.zone => {
                let Some(values) = sets.get(*name).cloned() else { return missing() };
                match method {
                    "GET" => DesecResponse::new("200 OK", self.set(name, &values)),
                    "DELETE" => {
                        sets.remove(*name);
                        let changed = Some((self.full(name), Vec::new()));
                        DesecResponse { changed, ..DesecResponse::new("204 No Content", Value::Null) }
                    }
                    "PATCH" | "PUT" => self.put(&mut sets, "200 OK", name, &asked),
                    _ => DesecResponse::new("405 Method Not Allowed", Value::Null),
                }
            }
            _ => missing(),
        }
    }

    /// Stores the record set of a request under `name`, and returns a response with `status` and the set. Status 400,
    /// without a change, if the type is not TXT, there are no values, a value is empty or not in quotes, or the TTL is
    /// missing or below 3600 s.
    fn put(
        &self,
        sets: &mut BTreeMap<String, Vec<String>>,
        status: &'static str,
        name: &str,
        asked: &Value,
    ) -> DesecResponse {
        let values = asked["records"].as_array().into_iter().flatten();
        let values: Vec<String> = values.filter_map(|value| value.as_str().map(str::to_owned)).collect();
        let quoted = |value: &String| value.len() > 2 && value.starts_with('"') && value.ends_with('"');
        let short = asked["ttl"].as_u64().is_none_or(|ttl| ttl < 3600);
        if asked["type"] != "TXT" || values.is_empty() || !values.iter().all(quoted) || short {
            return DesecResponse::new(
                "400 Bad Request",
                json!({"records": ["Cannot parse record contents."]}),
            );
        }
        sets.insert(name.to_owned(), values.clone());
        let body = self.set(name, &values);
        DesecResponse { changed: Some((self.full(name), values)), ..DesecResponse::new(status, body) }
    }

    /// Returns the full name of a record set, without a final full stop.
    fn full(&self, name: &str) -> String {
        format!("{name}.{}", self.zone)
    }

    /// Returns a record set as JSON, as the API does, with fixed times and a TTL of 3600 s.
    fn set(&self, name: &str, values: &[String]) -> Value {
        let time = "2026-12-01T00:00:00.000000Z";
        json!({"created": time, "touched": time, "domain": self.zone, "subname": name, "name": format!("{}.", self.full(name)),
            "type": "TXT", "ttl": 3600, "records": values})
    }
}
