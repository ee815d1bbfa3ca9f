//! A mock of acme-dns: `POST /update` with the credentials of a registration. The name server of the test publishes the
//! last two values.

use crate::{KnotServer, Origin};
use std::sync::{Arc, Mutex};

/// Subdomain of the registration.
const SUBDOMAIN: &str = "8e5700ea-a4bf-41c7-8a77-e990661dcc6a";
/// User name of the registration.
const USERNAME: &str = "c36f50e8-4632-44f0-83fe-e070fef28a10";
/// Password of the registration.
const PASSWORD: &str = "htB9mR9DYgcu9bX_afHF62erXaH2TS7bg9KW3F7Z";

/// A running mock with one registration. It runs until the test's process exits, also after it is dropped.
#[derive(Debug)]
pub struct AcmeDnsMock {
    base: String,
    values: Arc<Mutex<Vec<String>>>,
}

impl AcmeDnsMock {
    /// Starts a mock on a free loopback port. Each accepted update sets the TXT records of `full_domain`, in the zone
    /// `zone` of the name server, to the last two accepted values. A request other than `POST /update` with the
    /// credentials of the registration gets status 401, a value that is not 43 bytes long 400.
    #[must_use]
    pub fn start(knot: &KnotServer, zone: &str, full_domain: &str) -> Self {
        let values: Arc<Mutex<Vec<String>>> = Arc::default();
        let (kept, updater) = (values.clone(), knot.updater());
        let (zone, name) = (zone.to_owned(), full_domain.to_owned());
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
            let answer = |status: &str, content: &str| {
                let head = format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\n");
                format!("{head}Content-Length: {}\r\n\r\n{content}", content.len()).into_bytes()
            };
            let done = |answer: Vec<u8>| Some((answer, head + length));
            let asked: serde_json::Value = serde_json::from_slice(content).unwrap_or_default();
            let known = field("x-api-user").as_deref() == Some(USERNAME)
                && field("x-api-key").as_deref() == Some(PASSWORD)
                && asked["subdomain"] == SUBDOMAIN;
            if !text.starts_with("POST /update ") || !known {
                return done(answer("401 Unauthorized", r#"{"error":"forbidden"}"#));
            }
            let value = asked["txt"].as_str().unwrap_or_default().to_owned();
            if value.len() != 43 {
                return done(answer("400 Bad Request", r#"{"error":"bad_txt"}"#));
            }
            let mut values = kept.lock().expect("no panic while updating");
            values.push(value.clone());
            let last: String =
                values.iter().rev().take(2).map(|value| format!("add {name}. 1 TXT \"{value}\"\n")).collect();
            updater(&format!("zone {zone}\ndel {name}. TXT\n{last}"));
            done(answer("200 OK", &format!(r#"{{"txt":"{value}"}}"#)))
        });
        Self { base: format!("http://{}", origin.address()), values }
    }

    /// Returns the base URL (`http://127.0.0.1:PORT`), without a trailing slash.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Returns the subdomain of the registration.
    #[must_use]
    pub const fn subdomain(&self) -> &'static str {
        SUBDOMAIN
    }

    /// Returns the user name of the registration.
    #[must_use]
    pub const fn username(&self) -> &'static str {
        USERNAME
    }

    /// Returns the password of the registration.
    #[must_use]
    pub const fn password(&self) -> &'static str {
        PASSWORD
    }

    /// Returns the number of accepted updates.
    ///
    /// # Panics
    /// Panics if an update panicked.
    #[must_use]
    pub fn updates(&self) -> usize {
        self.values.lock().expect("no panic while updating").len()
    }
}
