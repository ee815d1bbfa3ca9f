//! Writer for the converted configuration.

use super::differs;
use super::scope::Scope;
use super::{Action, Edge, ImportedSite, Route, https_port};
use std::fmt::Write;

/// Quotes text as a single-line TOML string, which may also be a key.
fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            _ if letter.is_control() => {
                let _ = write!(out, "\\u{:04X}", u32::from(letter));
            }
            _ => out.push(letter),
        }
    }
    out.push('"');
    out
}

fn list<T: ToString>(all: &[T]) -> String {
    let all: Vec<String> = all.iter().map(|one| quoted(&one.to_string())).collect();
    if let [one] = all.as_slice() { one.clone() } else { format!("[{}]", all.join(", ")) }
}

pub(super) fn text(edge: &Edge) -> String {
    let mut out = String::from("# Imported from nginx.\n");
    let mut line = |text: String| {
        out.push_str(&text);
        out.push('\n');
    };
    for difference in differs::without_a_directive(edge) {
        line(format!("# - {difference}"));
    }
    if let Some(port) = https_port(&edge.listens) {
        line(format!("https_port = {port}"));
    }
    let proxied = edge.real_ip.header.as_deref() == Some("proxy_protocol");
    for listen in &edge.listens {
        line(format!("\n[[listen]]\naddress = {}", quoted(&listen.address.to_string())));
        if listen.tls {
            line("tls = true".into());
        }
        if listen.quic {
            line("http3 = true".into());
        }
        if listen.proxy_protocol && !edge.real_ip.ranges.is_empty() {
            line(format!("proxy_protocol = {}", list(&edge.real_ip.ranges)));
        }
    }
    if !edge.real_ip.ranges.is_empty() && !proxied {
        let header = edge.real_ip.header.as_deref().unwrap_or("x-real-ip");
        line(format!("\n[trust]\nranges = {}\nheader = {}", list(&edge.real_ip.ranges), quoted(header)));
    }
    if let Some(folder) = &edge.certificates {
        line(format!("\n[certificates]\nfolder = {}", quoted(folder)));
    }
    for one in &edge.sites {
        site(&mut line, one);
    }
    for upstream in &edge.upstreams.used {
        line(format!("\n[upstream.{}]\ntargets = {}", quoted(&upstream.name), list(&upstream.targets)));
        if let Some(balance) = upstream.balance {
            line(format!("balance = {}", quoted(balance)));
        }
        if let Some(host) = &upstream.host {
            line(format!("host = {}", quoted(host)));
        }
        if !upstream.health.is_empty() {
            line(format!("\n[upstream.{}.health]", quoted(&upstream.name)));
        }
        for (key, value) in &upstream.health {
            line(format!("{key} = {value}"));
        }
    }
    out
}

fn site(line: &mut impl FnMut(String), site: &ImportedSite) {
    let (server, scope) = (&site.server, &site.server.scope);
    line(format!("\n[[site]]\nhosts = {}\nplain = {}", list(&site.hosts), quoted(site.plain)));
    if server.early_data {
        line("early_data = true".into());
    }
    if !scope.access.is_empty() || server.routes.iter().any(|route| !route.scope.access.is_empty()) {
        // nginx responds with 403.
        line("reject = \"alert\"".into());
    }
    if scope.gzip {
        line(format!("compression = {{ codings = [\"gzip\"], least = {} }}", quoted(&scope.least())));
    }
    if !scope.timeouts.is_empty() {
        let timeouts: Vec<_> =
            scope.timeouts.iter().map(|(key, value)| format!("{key} = {}", quoted(value))).collect();
        line(format!("timeouts = {{ {} }}", timeouts.join(", ")));
    }
    if let Some(action) = &server.action {
        shared(line, scope, false);
        // nginx does not authenticate before it returns.
        done(line, action);
        return;
    }
    for route in &server.routes {
        self::route(line, route);
    }
    if server.routes.is_empty() {
        line("respond = { status = 404 }".into());
    }
}

fn route(line: &mut impl FnMut(String), route: &Route) {
    let key = if route.exact { "exact" } else { "path" };
    line(format!("\n[[site.route]]\n{key} = {}", quoted(&route.path)));
    // A response of the proxy itself requires nothing before it.
    let forwards = matches!(route.action, Action::Forward { .. });
    shared(line, &route.scope, forwards);
    done(line, &route.action);
}

/// Writes the settings of a request besides its action.
fn shared(line: &mut impl FnMut(String), scope: &Scope, forwards: bool) {
    if forwards && let Some(limit) = scope.body_limit() {
        line(format!("body_limit = {}", quoted(&limit)));
    }
    if forwards {
        let of = |name: &str| {
            let found = scope.access.iter().filter(|one| one.name == name);
            found
                .filter_map(|one| one.arguments.first())
                .filter(|range| *range != "all")
                .cloned()
                .collect::<Vec<_>>()
        };
        let closed = scope
            .access
            .iter()
            .any(|one| one.name == "deny" && one.arguments.first().is_some_and(|all| all == "all"));
        let (allow, deny) = (of("allow"), of("deny"));
        if closed && allow.is_empty() {
            line("deny = [\"0.0.0.0/0\", \"::/0\"]".into());
        } else {
            if closed {
                line(format!("allow = {}", list(&allow)));
            }
            if !deny.is_empty() {
                line(format!("deny = {}", list(&deny)));
            }
        }
        if let (Some(realm), Some(users)) = (&scope.realm, &scope.users) {
            line(format!("auth = {{ realm = {}, users = {} }}", quoted(realm), quoted(users)));
        }
        edits(line, "request_headers", &scope.requested(), &[]);
    }
    let added: Vec<_> = scope
        .response
        .iter()
        .filter_map(|one| Some((one.arguments.first()?.clone(), one.arguments.get(1)?.clone())))
        .filter(|(_, value)| !value.contains('$'))
        .collect();
    edits(line, "response_headers", &added, &scope.hidden);
}

fn edits(line: &mut impl FnMut(String), key: &str, set: &[(String, String)], hidden: &[String]) {
    let removed: Vec<String> = set
        .iter()
        .filter(|(_, value)| value.is_empty())
        .map(|(name, _)| name.clone())
        .chain(hidden.iter().cloned())
        .collect();
    let mut names: Vec<&String> =
        set.iter().filter(|(_, value)| !value.is_empty()).map(|(name, _)| name).collect();
    names.sort_unstable();
    names.dedup();
    if removed.is_empty() && names.is_empty() {
        return;
    }
    let mut parts = Vec::new();
    if !removed.is_empty() {
        let removed: Vec<_> = removed.iter().map(|name| quoted(name)).collect();
        parts.push(format!("remove = [{}]", removed.join(", ")));
    }
    if !names.is_empty() {
        let mut pairs = String::new();
        for name in names {
            let values: Vec<_> =
                set.iter().filter(|(known, _)| known == name).map(|(_, value)| value.clone()).collect();
            let comma = if pairs.is_empty() { "" } else { ", " };
            // Writing to a string cannot fail.
            let _ = write!(pairs, "{comma}{} = {}", quoted(name), list(&values));
        }
        // nginx adds response fields beside the upstream's, and replaces request fields of the client.
        let what = if key == "request_headers" { "set" } else { "add" };
        parts.push(format!("{what} = {{ {pairs} }}"));
    }
    line(format!("{key} = {{ {} }}", parts.join(", ")));
}

fn done(line: &mut impl FnMut(String), action: &Action) {
    match action {
        Action::Drop => line("drop = true".into()),
        Action::Forward { upstream, strip } => {
            line(format!("upstream = {}", quoted(upstream)));
            if let Some(prefix) = strip {
                line(format!("strip_prefix = {}", quoted(prefix)));
            }
        }
        Action::Redirect { status, to } => line(format!("redirect = {}\nstatus = {status}", quoted(to))),
        Action::Respond { status, body, .. } if body.is_empty() => {
            line(format!("respond = {{ status = {status} }}"));
        }
        Action::Respond { status, body, content_type } => line(format!(
            "respond = {{ status = {status}, content_type = {}, body = {} }}",
            quoted(content_type),
            quoted(body)
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::quoted;
    use crate::import::{import, parse};
    use proptest::prelude::*;

    /// Quotes in the middle of a word belong to it, and this becomes a key.
    #[test]
    fn a_field_whose_name_is_none_is_not_taken_over() {
        let text = "server { listen 80; server_name a.test; add_header X-Frame-Options'\"DENY\" always; \
                    proxy_hide_header 'a b'; return 204; }";
        let directives = parse("nginx.conf", text, &mut |_| Ok(Vec::new())).expect("nginx's grammar");
        let found = import(&directives);
        let noted: Vec<_> = found.notes.iter().map(|note| note.what.as_str()).collect();
        assert_eq!(noted, ["expected a field name of letters, digits and -"; 2], "{:?}", found.notes);
        assert!(found.text.parse::<toml::Table>().is_ok() && !found.text.contains("DENY"), "{}", found.text);
    }

    proptest! {
        #[test]
        fn whatever_is_quoted_is_read_as_it_was(text in any::<String>()) {
            let table: toml::Table = format!("{0} = {{ {0} = {0} }}", quoted(&text)).parse().expect("it is TOML");
            prop_assert_eq!(table[&text][&text].as_str(), Some(text.as_str()));
        }
    }
}
