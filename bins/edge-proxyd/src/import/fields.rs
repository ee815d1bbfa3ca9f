//! Conversion of header fields: `proxy_set_header`, `add_header` and `proxy_hide_header`.

use super::guard::{copied_fields, user_field};
use super::notes::{Impact, Notes};
use super::parse::Directive;
use super::quote::{list, quoted};
use super::scope::Scope;
use std::fmt::Write;

/// Fields that edge-proxyd sets in every request to an upstream, in lower case.
const WRITTEN: &[&str] = &[
    "x-real-ip",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "forwarded",
    "early-data",
    "proxy",
];

/// Fields that belong to a connection or frame a message, in lower case. edge-proxyd controls them itself.
const CONNECTION: &[&str] = &[
    "host",
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Values that nginx configurations usually give the fields in [`WRITTEN`]. edge-proxyd sets these fields by itself, so
/// that such a line is left out without a note.
const USUAL: &[&str] = &[
    "$remote_addr",
    "$proxy_add_x_forwarded_for",
    "$realip_remote_addr",
    "$proxy_protocol_addr",
    "$scheme",
    "$host",
    "$http_host",
    "$server_name",
    "$host:$server_port",
    "$server_port",
    "$ssl_early_data",
    "$http_x_forwarded_for",
    "$http_x_forwarded_proto",
    "$http_x_forwarded_host",
    "$http_x_real_ip",
];

/// The edits of the header section of requests or responses, and the notes about what is not converted.
#[derive(Debug, Default)]
pub(super) struct Edits {
    /// The names of fields to remove.
    remove: Vec<String>,
    /// The names and values of fields to set or add.
    values: Vec<(String, String)>,
    /// True if `Upgrade` is set to nothing, so that clients cannot switch protocols.
    pub(super) no_upgrade: bool,
    /// True if `Upgrade` is forwarded, so that clients can switch to any protocol.
    pub(super) any_upgrade: bool,
    /// The recorded notes: the impact, the directive, and the text.
    said: Vec<(Impact, Directive, String)>,
}

impl Edits {
    /// Records a note, which [`note`](Self::note) adds later.
    fn say(&mut self, impact: Impact, directive: &Directive, what: &str) {
        self.said.push((impact, directive.clone(), what.to_owned()));
    }

    /// Adds the recorded notes to `notes`: as harmless those recorded so, and all others as different.
    pub(super) fn note(&self, notes: &mut Notes) {
        for (impact, directive, what) in &self.said {
            match impact {
                Impact::Harmless => notes.harmless(directive, what.clone()),
                _ => notes.different(directive, what.clone()),
            }
        }
    }

    /// Returns the recorded notes as text, without positions in files.
    pub(super) fn noted(&self) -> String {
        let line = |(impact, directive, what): &(Impact, Directive, String)| {
            format!("{} {} {what}\n", impact.word(), directive.arguments.join(" "))
        };
        self.said.iter().map(line).collect()
    }

    /// Returns the edits as a line of TOML with the key `key`, such as `request_headers`. `None` if there are no edits.
    /// `verb`, which is `set` or `add`, is the key of the values. `location` has prefixes of the field `Location`, each
    /// with its replacement.
    pub(super) fn key(&self, key: &str, verb: &str, location: &[(String, String)]) -> Option<String> {
        let mut parts = Vec::new();
        if !self.remove.is_empty() {
            let removed: Vec<_> = self.remove.iter().map(|name| quoted(name)).collect();
            parts.push(format!("remove = [{}]", removed.join(", ")));
        }
        let mut names: Vec<&String> = self.values.iter().map(|(name, _)| name).collect();
        names.sort_unstable();
        names.dedup();
        let mut pairs = String::new();
        for name in names {
            let values: Vec<&String> =
                self.values.iter().filter(|(known, _)| known == name).map(|(_, value)| value).collect();
            let comma = if pairs.is_empty() { "" } else { ", " };
            // Writing to a string cannot fail.
            let _ = write!(pairs, "{comma}{} = {}", quoted(name), list(&values));
        }
        if !pairs.is_empty() {
            parts.push(format!("{verb} = {{ {pairs} }}"));
        }
        if !location.is_empty() {
            let rules: Vec<String> =
                location.iter().map(|(from, to)| format!("{} = {}", quoted(from), quoted(to))).collect();
            parts.push(format!("replace = {{ Location = {{ {} }} }}", rules.join(", ")));
        }
        (!parts.is_empty()).then(|| format!("{key} = {{ {} }}", parts.join(", ")))
    }
}

/// Returns the field that edge-proxyd sets to the value of a variable. `None` if there is none.
fn same_value(variable: &str) -> Option<&'static str> {
    Some(match variable {
        "$remote_addr" => "X-Real-IP",
        "$scheme" => "X-Forwarded-Proto",
        "$host" | "$http_host" => "X-Forwarded-Host",
        "$server_port" => "X-Forwarded-Port",
        "$proxy_add_x_forwarded_for" => "X-Forwarded-For",
        _ => return None,
    })
}

/// Returns true if a text is a valid field value of printable ASCII and tabs, without surrounding whitespace.
fn is_value(text: &str) -> bool {
    text.trim() == text && text.bytes().all(|byte| (b' '..=b'~').contains(&byte) || byte == b'\t')
}

/// Returns the edits of requests to upstreams by `proxy_set_header`. A field with an empty value is removed. A field
/// whose value is not known here is removed and noted, so that clients cannot set it.
///
/// Left out are fields of the connection, those that are forwarded anyway, the request identifier, those of client
/// certificates and of authentication, if clients show or use these, and usual values of fields that edge-proxyd sets.
pub(super) fn request(scope: &Scope) -> Edits {
    let mut edits = Edits::default();
    let (copies, user) = (copied_fields(scope), user_field(scope));
    for directive in &scope.request {
        let [name, value] = directive.arguments.as_slice() else {
            edits.say(Impact::Different, directive, "not a name and a value: left out");
            continue;
        };
        let lower = name.to_ascii_lowercase();
        if CONNECTION.contains(&lower.as_str()) {
            edits.no_upgrade |= lower == "upgrade" && value.is_empty();
            edits.any_upgrade |= lower == "upgrade" && value == "$http_upgrade";
            continue;
        }
        let itself = format!("$http_{}", lower.replace('-', "_"));
        if certificate_field(value).is_some() && scope.verifies_clients() {
            continue;
        }
        let is_user = user.is_some_and(|user| std::ptr::eq(user, directive));
        if is_user || is_request_id(scope, name, value) || *value == itself || copies.contains(name) {
            continue;
        }
        let written = WRITTEN.contains(&lower.as_str());
        if written && USUAL.contains(&value.as_str())
            || written && value.is_empty() && lower != "x-forwarded-for"
        {
            continue;
        }
        if value.is_empty() {
            edits.remove.push(name.clone());
        } else if !value.contains('$') && is_value(value) {
            edits.values.push((name.clone(), value.clone()));
        } else if written {
            edits.say(
                Impact::Different,
                directive,
                "edge-proxyd writes this field itself, from what it knows of the client",
            );
        } else {
            // What a client sends in its place must not reach the service.
            edits.remove.push(name.clone());
            let what = "its value is not known here: the field is removed from requests";
            let hint = same_value(value).map(|field| format!("; {field} has the same value"));
            edits.say(Impact::Different, directive, &format!("{what}{}", hint.unwrap_or_default()));
        }
    }
    // A field that is set is not removed, whatever a line above says.
    let values = edits.values.clone();
    edits.remove.retain(|name| !values.iter().any(|(set, _)| set.eq_ignore_ascii_case(name)));
    dedup(&mut edits.remove);
    edits
}

/// Returns the edits of responses by `add_header` and `proxy_hide_header`. A field whose value is not known here is
/// left out and noted. Fields of the connection, `Alt-Svc`, the request identifier and empty values are left out
/// without a note.
pub(super) fn response(scope: &Scope) -> Edits {
    let mut edits = Edits::default();
    for directive in &scope.response {
        let (name, value) = (directive.first(), directive.arguments.get(1).map_or("", String::as_str));
        let lower = name.to_ascii_lowercase();
        if CONNECTION.contains(&lower.as_str()) || lower == "alt-svc" || value.is_empty() {
            continue;
        }
        if is_request_id(scope, name, value) {
            continue;
        }
        if value.contains('$') || !is_value(value) {
            let cookie = lower == "set-cookie" && value.starts_with("$upstream_http_");
            let impact = if cookie { Impact::Harmless } else { Impact::Different };
            edits.say(impact, directive, "its value is not known here: left out");
        } else {
            edits.values.push((name.to_owned(), value.to_owned()));
        }
    }
    let editable = |name: &&String| !CONNECTION.contains(&name.to_ascii_lowercase().as_str());
    edits.remove = scope.hidden.iter().filter(editable).cloned().collect();
    dedup(&mut edits.remove);
    edits
}

/// Returns the name of the first field that `proxy_set_header` or `grpc_set_header` sets to `$request_id`, in these
/// directives and their blocks. `None` if there is none. Names with other characters than letters, digits and `-`, and
/// fields that edge-proxyd sets itself, are skipped.
pub(super) fn request_id(all: &[&Directive]) -> Option<String> {
    let is_name = |name: &str| {
        let lower = name.to_ascii_lowercase();
        let known = WRITTEN.contains(&lower.as_str()) || CONNECTION.contains(&lower.as_str());
        !known && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    all.iter().find_map(|one| {
        let own = match (one.name.as_str(), one.arguments.as_slice()) {
            ("proxy_set_header" | "grpc_set_header", [name, value])
                if value == "$request_id" && is_name(name) =>
            {
                Some(name.clone())
            }
            _ => None,
        };
        own.or_else(|| request_id(&one.inner().iter().collect::<Vec<_>>()))
    })
}

/// Returns true if a field has the value `$request_id` and the name that the scope has for the request identifier,
/// ignoring case.
fn is_request_id(scope: &Scope, name: &str, value: &str) -> bool {
    value == "$request_id" && scope.request_id.as_ref().is_some_and(|known| known.eq_ignore_ascii_case(name))
}

/// Returns true if an argument in a block, or in a block within, contains `headscale` or is the path `/ts2021`. The
/// clients of headscale switch to protocols other than WebSocket.
pub(crate) fn serves_headscale(block: &[Directive]) -> bool {
    let named = |text: &String| text.contains("headscale") || text.trim_end_matches('/') == "/ts2021";
    block.iter().any(|one| one.arguments.iter().any(named) || serves_headscale(one.inner()))
}

/// The key `upgrade` with the protocols to which clients of headscale switch.
pub(super) const OF_HEADSCALE: &str = "upgrade = [\"websocket\", \"tailscale-control-protocol\", \"DERP\"]";

/// Returns the word of edge-proxyd for a variable of nginx with a part of the client certificate, such as `subject` for
/// `$ssl_client_s_dn`. `None` for other values.
pub(super) fn certificate_field(value: &str) -> Option<&'static str> {
    Some(match value {
        "$ssl_client_s_dn" => "subject",
        "$ssl_client_i_dn" => "issuer",
        "$ssl_client_serial" => "serial",
        "$ssl_client_fingerprint" => "fingerprint-sha1",
        "$ssl_client_verify" => "verified",
        "$ssl_client_escaped_cert" => "pem",
        _ => return None,
    })
}

/// Removes names that occur earlier in the list, ignoring case.
fn dedup(names: &mut Vec<String>) {
    let mut seen: Vec<String> = Vec::new();
    names.retain(|name| {
        let lower = name.to_ascii_lowercase();
        let new = !seen.contains(&lower);
        seen.push(lower);
        new
    });
}
