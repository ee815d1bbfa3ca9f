//! A mock of the HTTP API of PowerDNS: the RRsets of one zone. The name server of the test publishes its TXT records.

use crate::{KnotServer, Origin};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// The key that the API accepts.
const API_KEY: &str = "a key of the API";

/// A running mock. It runs until the test's process exits.
#[derive(Debug)]
pub struct PowerDnsMock {
    base: String,
    /// Contents of TXT records by name.
    records: Arc<Mutex<BTreeMap<String, Vec<String>>>>,
}

impl PowerDnsMock {
    /// Starts a mock that serves the zone `zone` of a name server, with these TXT records: names, each with values.
    #[must_use]
    pub fn start(knot: &KnotServer, zone: &str, records: &[(&str, &str)]) -> Self {
        let kept: Arc<Mutex<BTreeMap<String, Vec<String>>>> = Arc::default();
        for (name, value) in records {
            let mut kept = kept.lock().expect("no panic");
            kept.entry(format!("{name}.")).or_default().push(format!("\"{value}\""));
        }
        let (records, updater, zone) = (kept.clone(), knot.updater(), zone.to_owned());
        let path = format!("/api/v1/servers/localhost/zones/{zone}.");
        let origin = Origin::scripted(move |bytes| {
            let head = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
            let text = String::from_utf8_lossy(&bytes[..head]).into_owned();
            let field = |name: &str| {
                text.lines().find_map(|line| {
                    let (found, value) = line.split_once(':')?;
                    found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
                })
            };
            let length: usize = field("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
            let content = bytes.get(head..head + length)?;
            let done = |status: &str, content: &str| {
                let fields = if content.is_empty() {
                    String::new()
                } else {
                    format!("Content-Type: application/json\r\nContent-Length: {}\r\n", content.len())
                };
                Some((format!("HTTP/1.1 {status}\r\n{fields}\r\n{content}").into_bytes(), head + length))
            };
            let mut words = text.split(' ');
            let (method, target) = (words.next()?, words.next()?);
            if field("x-api-key").as_deref() != Some(API_KEY) {
                return done("401 Unauthorized", r#"{"error": "Unauthorized"}"#);
            }
            if target.split('?').next() != Some(&path) {
                return done("404 Not Found", r#"{"error": "Not Found"}"#);
            }
            let mut records = records.lock().expect("no panic while changing");
            if method == "GET" {
                let rrset = |(name, values): (&String, &Vec<String>)| {
                    let values: Vec<Value> =
                        values.iter().map(|value| json!({ "content": value, "disabled": false })).collect();
                    json!({ "name": name, "type": "TXT", "ttl": 60, "records": values })
                };
                let rrsets: Vec<Value> = records.iter().map(rrset).collect();
                return done("200 OK", &json!({ "name": format!("{zone}."), "rrsets": rrsets }).to_string());
            }
            let asked: Value = serde_json::from_slice(content).unwrap_or_default();
            for change in asked["rrsets"].as_array().into_iter().flatten() {
                let name = change["name"].as_str().unwrap_or_default().to_owned();
                let contents = change["records"].as_array().into_iter().flatten();
                let values: Vec<String> =
                    contents.filter_map(|record| record["content"].as_str().map(str::to_owned)).collect();
                let published: String =
                    values.iter().map(|value| format!("add {name} 1 TXT {value}\n")).collect();
                updater(&format!("zone {zone}\ndel {name} TXT\n{published}"));
                records.insert(name, values);
            }
            done("204 No Content", "")
        });
        Self { base: format!("http://{}", origin.address()), records: kept }
    }

    /// Returns the base URL, without a trailing slash.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Returns the key that the API accepts.
    #[must_use]
    pub const fn api_key(&self) -> &'static str {
        API_KEY
    }

    /// Returns the values of the TXT records of a name, without quotes.
    ///
    /// # Panics
    /// Panics if a change panicked.
    #[must_use]
    pub fn txt(&self, name: &str) -> Vec<String> {
        let records = self.records.lock().expect("no panic while changing");
        let values = records.get(&format!("{name}.")).into_iter().flatten();
        values.map(|value| value.trim_matches('"').to_owned()).collect()
    }
}
