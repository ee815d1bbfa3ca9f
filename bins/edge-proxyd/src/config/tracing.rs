//! The reader of the section `[tracing]`.

use super::document::{Table, Value};
use super::keys::{Key, Kind};
use super::upstream::{TARGET, TLS, upstream_by_address};
use crate::key_fault::KeyFault;
use cli_support::secret::{Reference, ReferenceError};
use edge_http::grammar::{is_field_value, is_target, is_token};
use edge_http::trace_context::Sampler;
use edge_proxy::Snapshot;
use edge_proxy::config::{Config, HOST_OF_REQUEST, Tracing, Upstream};
use secrecy::{ExposeSecret, SecretString};
use std::path::PathBuf;
use std::time::Duration;

/// The keys of `[tracing]`.
pub(super) static TRACING: &[Key] = &[
    Key::required("collector", TARGET),
    Key::new("path", Kind::Text),
    Key::new("tls", Kind::Table(TLS)),
    Key::new("headers", Kind::Named(&Kind::Form(r"^(age|credential|env|file):."))),
    Key::new("service", Kind::Text),
    Key::new("ratio", Kind::Share),
    Key::new("queue", Kind::Number(1, 1_000_000)),
    Key::new("interval", Kind::Duration),
    Key::new("timeout", Kind::Duration),
];

/// The header fields of requests to the collector that the configuration cannot set, since the proxy sets them itself,
/// in lower case.
const OURS: [&str; 6] =
    ["connection", "content-length", "content-type", "host", "transfer-encoding", "user-agent"];

/// The settings of tracing, with references to secrets that have not been read.
#[derive(Debug, PartialEq)]
pub(crate) struct Traces {
    /// The settings of the library, without the header fields.
    pub(crate) tracing: Tracing,
    /// The names of the additional header fields, each with the reference to its value, which is a secret.
    fields: Vec<(String, Reference)>,
}

impl Traces {
    /// Reads the secrets, and returns the settings with the additional header fields.
    ///
    /// # Errors
    /// The fault of the first secret that cannot be read or is not a valid field value.
    pub(crate) fn read_secrets(&self) -> Result<Tracing, KeyFault> {
        let mut tracing = self.tracing.clone();
        for (name, reference) in &self.fields {
            let secret = read_field(name, reference)?;
            tracing.fields.push((name.clone(), secret.expose_secret().to_owned()));
        }
        Ok(tracing)
    }

    /// Tries to read the secrets, and returns a fault for each that cannot be read or is not a valid field value. Empty
    /// if there is none.
    pub(crate) fn faults(&self) -> Vec<KeyFault> {
        self.fields.iter().filter_map(|(name, reference)| read_field(name, reference).err()).collect()
    }

    /// Returns the files of secrets: of each file reference the file, and of each age reference the age file and the
    /// identity. Credentials and environment variables have none.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        let paths = |reference: &Reference| match reference {
            Reference::Age { file, identity } => vec![file.clone(), identity.clone()],
            Reference::File(file) => vec![file.clone()],
            _ => Vec::new(),
        };
        self.fields.iter().flat_map(|(_, reference)| paths(reference)).collect()
    }
}

/// Reads the secret value of the header field `name`.
///
/// # Errors
/// The secret cannot be read, or is not a valid field value.
fn read_field(name: &str, reference: &Reference) -> Result<SecretString, KeyFault> {
    let key = || format!("headers.{name}");
    let secret = reference.read().map_err(|why| KeyFault::of_secret("tracing", key(), &why))?;
    if !is_field_value(secret.expose_secret().as_bytes()) {
        let why =
            "contains control characters, which a header must not have: write the secret on one line of text";
        return Err(KeyFault::new("tracing", key(), why));
    }
    Ok(secret)
}

/// Reads the table `tracing`. Missing keys have the defaults of [`Tracing`], the service is `edge-proxyd` and the ratio
/// 1. `None` if the collector is missing or not valid, or the ratio or service is not valid, which is reported.
pub(super) fn tracing(table: &Table<'_, '_>) -> Option<Traces> {
    let collector = upstream_by_address(table, "collector");
    if table.get("collector").is_none() {
        table.report_error(
            "collector",
            "missing: write the address of an OTLP/HTTP collector, such as collector = \"http://127.0.0.1:4318\"",
        );
    }
    let path = table.get("path").and_then(|value| path(&value));
    let service = table.get("service").and_then(|value| {
        let text = value.text()?;
        if text.is_empty() {
            value.report_error("empty: write the name of the proxy in traces, such as edge");
        }
        Some(text.to_owned())
    });
    let ratio = table.get("ratio").and_then(|value| value.share());
    let fields = table
        .table("headers")
        .map(|headers| headers.all().filter_map(|(name, value)| field(name, &value)).collect());
    let queue = table.get("queue").and_then(|value| value.number());
    let duration = |key| {
        let value = table.get(key)?;
        let duration = value.duration()?;
        if !(Duration::from_millis(1)..=Duration::from_secs(3600)).contains(&duration) {
            value.report_error("out of range: expected 1ms to 1h");
        }
        Some(duration)
    };
    let (interval, timeout) = (duration("interval"), duration("timeout"));
    if let (Some(collector), Some(tls)) = (&collector, table.table("tls")) {
        check_tls(collector, &tls);
    }
    table.finish();
    let mut tracing = Tracing::new(collector?, service.unwrap_or_else(|| "edge-proxyd".into()), 1.0)?;
    tracing.sampling = Sampler::new(ratio.unwrap_or(1.0))?;
    tracing.path = path.unwrap_or(tracing.path);
    tracing.queue = queue.map_or(tracing.queue, |queue| queue as usize);
    tracing.interval = interval.unwrap_or(tracing.interval);
    tracing.timeout = timeout.unwrap_or(tracing.timeout);
    Some(Traces { tracing, fields: fields.unwrap_or_default() })
}

/// Reports the faults of the TLS settings of a collector: those that the rules for upstreams find, and a server name
/// that is the host of requests.
fn check_tls(collector: &Upstream, tls: &Table<'_, '_>) {
    let config = Config { upstreams: vec![collector.clone()], ..Config::default() };
    for error in Snapshot::new(config).err().into_iter().flat_map(|errors| errors.0) {
        if let Some(key) = error.key.strip_prefix("tls.") {
            tls.report_error(key, &error.fix);
        }
    }
    if collector.tls.as_ref().is_some_and(|tls| tls.server_name.as_deref() == Some(HOST_OF_REQUEST)) {
        tls.report_error("server_name", "a collector has no request whose host it could be: write its name");
    }
}

/// Reads the path of requests to the collector. `None` if it does not begin with `/` or is not a valid target, which is
/// reported.
fn path(value: &Value<'_, '_>) -> Option<String> {
    let text = value.text()?;
    if text.starts_with('/') && is_target(text.as_bytes()) {
        return Some(text.to_owned());
    }
    value.report_error("not a valid path: begin with /, such as /v1/traces");
    None
}

/// Reads an additional header field: its name, and the reference to its value. `None` if the proxy sets the field
/// itself, or the name or the reference is not valid, which is reported without the value, since that may be the secret
/// itself.
fn field(name: &str, value: &Value<'_, '_>) -> Option<(String, Reference)> {
    if !is_token(name.as_bytes()) || OURS.iter().any(|ours| name.eq_ignore_ascii_case(ours)) {
        value.report_secret_error("not a field that can be set: write another, such as Authorization");
        return None;
    }
    match value.text()?.parse() {
        Ok(reference) => Some((name.to_owned(), reference)),
        Err(why) => {
            let why: ReferenceError = why;
            value.report_secret_error(&why.to_string());
            None
        }
    }
}
