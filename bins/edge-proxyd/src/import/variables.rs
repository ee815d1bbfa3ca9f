//! Variables: `set`, `map` and `geo`, as far as their values do not depend on a request.

use super::parse::Directive;
use super::ranges::net_of;
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::rc::Rc;

/// The constants of a request that are known before it arrives.
#[derive(Clone, Debug, Default)]
pub(super) struct Context {
    /// The requested host, unless it is one of many.
    pub(super) host: Option<String>,
    /// The first name of the server.
    pub(super) server_name: String,
    /// True over TLS.
    pub(super) tls: bool,
    /// The port of the listener.
    pub(super) port: u16,
}

/// A `map` block: the variable it reads, and its entries.
#[derive(Debug, Default)]
struct Mapping {
    source: String,
    entries: Vec<(String, String)>,
    default: String,
}

/// A `geo` block: values by ranges of the client's address.
#[derive(Debug, Default)]
pub(super) struct GeoBlock {
    pub(super) ranges: Vec<(IpNet, String)>,
    pub(super) default: String,
}

/// The variables in effect at a place of the file.
#[derive(Clone, Debug, Default)]
pub(super) struct Variables {
    set: BTreeMap<String, String>,
    maps: Rc<BTreeMap<String, Mapping>>,
    geo_blocks: Rc<BTreeMap<String, GeoBlock>>,
    pub(super) context: Context,
}

impl Variables {
    /// Reads the `map` and `geo` blocks of `http` or `stream`.
    pub(super) fn read(all: &[&Directive]) -> Self {
        let (mut maps, mut geo_blocks) = (BTreeMap::new(), BTreeMap::new());
        for directive in all {
            match (directive.name.as_str(), directive.arguments.as_slice()) {
                ("map", [source, name]) => {
                    maps.insert(bare(name), mapping(source, directive.inner()));
                }
                ("geo", [name]) => {
                    geo_blocks.extend(parse_geo(directive.inner()).map(|found| (bare(name), found)));
                }
                ("geo", [source, name])
                    if matches!(bare(source).as_str(), "remote_addr" | "binary_remote_addr") =>
                {
                    geo_blocks.extend(parse_geo(directive.inner()).map(|found| (bare(name), found)));
                }
                _ => {}
            }
        }
        Self { maps: Rc::new(maps), geo_blocks: Rc::new(geo_blocks), ..Self::default() }
    }

    /// Sets a variable to a text, whose variables are replaced by what is known of them now.
    pub(super) fn set(&mut self, name: &str, text: &str) {
        let value = self.expand(text);
        self.set.insert(bare(name), value);
    }

    /// Marks a variable whose value depends on the request.
    pub(super) fn forget(&mut self, name: &str) {
        let name = bare(name);
        let unknown = format!("${name}");
        self.set.insert(name, unknown);
    }

    /// Returns the `geo` block that defines a variable. `None` if there is none, or `set` has assigned the variable.
    pub(super) fn geo(&self, variable: &str) -> Option<&GeoBlock> {
        let name = bare(variable);
        if self.set.contains_key(&name) {
            return None;
        }
        self.geo_blocks.get(&name)
    }

    /// Replaces the variables whose values are known; the others stay as they are written.
    pub(super) fn expand(&self, text: &str) -> String {
        replace_variables(text, &|name| self.value(name, 0))
    }

    /// Replaces the variables whose values are known, and those of this host and listener.
    pub(super) fn constant(&self, text: &str) -> String {
        replace_variables(&self.expand(text), &|name| self.of_context(name))
    }

    /// Returns the entries of a `map` of the TLS server name, as names and targets, and its default. `None` if the variable
    /// is not defined by such a map.
    pub(super) fn by_server_name(&self, variable: &str) -> Option<(&[(String, String)], &str)> {
        let map = self.maps.get(&bare(variable))?;
        (map.source == "$ssl_preread_server_name").then_some((&map.entries, map.default.as_str()))
    }

    fn of_context(&self, name: &str) -> Option<String> {
        let context = &self.context;
        let text = |text: &str| Some(text.to_owned());
        match name {
            "host" | "http_host" | "ssl_server_name" | "ssl_preread_server_name" => context.host.clone(),
            "server_name" => Some(context.server_name.clone()),
            "scheme" => text(if context.tls { "https" } else { "http" }),
            "https" => text(if context.tls { "on" } else { "" }),
            "server_port" => Some(context.port.to_string()),
            "ssl_protocol" | "ssl_cipher" | "ssl_client_verify" if !context.tls => text(""),
            _ => None,
        }
    }

    fn value(&self, name: &str, depth: u8) -> Option<String> {
        if let Some(value) = self.set.get(name) {
            return Some(value.clone());
        }
        let map = self.maps.get(name).filter(|_| depth < 4)?;
        if map.entries.iter().all(|(_, value)| *value == map.default) {
            return Some(replace_variables(&map.default, &|name| self.value(name, depth + 1)));
        }
        let source = replace_variables(&map.source, &|name| self.value(name, depth + 1));
        let source = replace_variables(&source, &|name| self.of_context(name));
        if source.contains('$') {
            return None;
        }
        Some(replace_variables(&map.find(&source)?, &|name| self.value(name, depth + 1)))
    }
}

impl Mapping {
    /// Returns the value for a text. Patterns make it unknown, unless a name is found before them.
    fn find(&self, text: &str) -> Option<String> {
        let exact = self.entries.iter().find(|(key, _)| key.eq_ignore_ascii_case(text));
        if let Some((_, value)) = exact {
            return Some(value.clone());
        }
        let pattern = |key: &str| key.starts_with(['~', '.']) || key.contains('*');
        if self.entries.iter().any(|(key, _)| pattern(key)) {
            return None;
        }
        Some(self.default.clone())
    }
}

fn mapping(source: &str, block: &[Directive]) -> Mapping {
    let mut map = Mapping { source: source.to_owned(), ..Mapping::default() };
    for entry in block {
        match (entry.name.as_str(), entry.first()) {
            ("default", value) => map.default = value.to_owned(),
            ("hostnames" | "volatile", _) => {}
            (key, value) => map.entries.push((key.trim_start_matches('\\').to_owned(), value.to_owned())),
        }
    }
    map
}

/// Reads a `geo` block. `None` if it is of another address, or not understood in full.
fn parse_geo(block: &[Directive]) -> Option<GeoBlock> {
    let mut found = GeoBlock::default();
    for entry in block {
        match (entry.name.as_str(), entry.first()) {
            ("default", value) => found.default = value.to_owned(),
            (range, value) => found.ranges.push((net_of(range)?, value.to_owned())),
        }
    }
    Some(found)
}

/// Returns the name of a variable without `$` and braces.
pub(super) fn bare(name: &str) -> String {
    name.trim_start_matches('$').trim_matches(['{', '}']).to_owned()
}

/// Replaces each variable in a text for which `value` returns one. It stays as it is if that is `None`.
fn replace_variables(text: &str, value: &dyn Fn(&str) -> Option<String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let braced = after.strip_prefix('{').and_then(|inner| inner.split_once('}'));
        let word =
            |text: &str| text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
        let (name, next) = match braced {
            Some((name, next)) => (name, next),
            None => after.split_at(word(after)),
        };
        match value(name) {
            Some(value) => out.push_str(&value),
            None => out.push_str(&rest[at..rest.len() - next.len()]),
        }
        rest = next;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::parse;

    fn variables(text: &str) -> Variables {
        let found = parse("f", text, &mut |_| Ok(Vec::new())).expect("nginx's grammar");
        let all: Vec<&Directive> = found.iter().collect();
        Variables::read(&all)
    }

    #[test]
    fn constants_are_replaced_and_others_stay() {
        let mut known = variables(
            "map $http_upgrade $c { default upgrade; '' close; }\nmap $x $same { default a; b a; }\n\
             map $host $to { default 127.0.0.1:1; a.test 127.0.0.1:2; }",
        );
        known.set("$app", "jelly");
        known.set("$port", "80");
        assert_eq!(known.expand("http://$app:${port}/$same/$c$uri"), "http://jelly:80/a/$c$uri");
        known.forget("$app");
        assert_eq!(known.expand("$app$port"), "$app80");
        assert_eq!(known.expand("$to"), "$to");
        known.context.host = Some("a.test".into());
        assert_eq!(known.expand("$to"), "127.0.0.1:2");
        assert_eq!(known.constant("$scheme://$host"), "http://a.test");
    }
}
