//! Variables by `set`, `map` and `geo`, as far as their values do not depend on the request.

use super::parse::Directive;
use super::passwords::local_path;
use super::ranges::net_of;
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Values that are known before a request arrives, from the host and the listener of a site.
#[derive(Clone, Debug, Default)]
pub(super) struct Context {
    /// The host. `None` if it is a wildcard.
    pub(super) host: Option<String>,
    /// The first name of the server, the value of `$server_name`.
    pub(super) server_name: String,
    /// True if the listener uses TLS.
    pub(super) tls: bool,
    /// The port of the listener.
    pub(super) port: u16,
    /// True if the Host field has the port.
    pub(super) host_has_port: bool,
}

impl Context {
    /// Returns whether clients leave the port out of Host, since it is that of the scheme.
    pub(super) const fn has_default_port(&self) -> bool {
        self.port == if self.tls { 443 } else { 80 }
    }
}

/// The folders by which paths of files in conditions are found on this machine.
#[derive(Clone, Debug, Default)]
pub(super) struct FileFolders {
    /// The folder on this machine in which absolute paths are looked up. `None` for `/`.
    pub(super) machine: Option<PathBuf>,
    /// The value of `$document_root`. `None` if it is not known.
    pub(super) document: Option<String>,
}

impl FileFolders {
    /// Changes `$document_root` by the `root` or `alias` of a block, if it has one. It is not known after `alias`.
    pub(super) fn enter(&mut self, block: &[Directive]) {
        for directive in block {
            match directive.name.as_str() {
                "root" => self.document = Some(directive.first().to_owned()),
                "alias" => self.document = None,
                _ => {}
            }
        }
    }

    /// Returns the path on this machine of a file, which may begin with `$document_root` or `$realpath_root`. `None` if
    /// the path is relative, or has variables otherwise.
    pub(super) fn find(&self, file: &str) -> Option<PathBuf> {
        let below = ["$document_root", "$realpath_root", "${document_root}", "${realpath_root}"]
            .iter()
            .find_map(|name| file.strip_prefix(name));
        let file = match below {
            Some(below) => format!("{}{below}", self.document.as_ref()?),
            None => file.to_owned(),
        };
        let is_known = file.starts_with('/') && !file.contains('$');
        is_known.then(|| local_path(Path::new(&file), self.machine.as_deref()))
    }
}

/// A `map` block.
#[derive(Debug, Default)]
struct Mapping {
    /// The text that is looked up, such as `$host`.
    source: String,
    /// The entries in their order: a text or a pattern, and the value.
    entries: Vec<(String, String)>,
    /// The value if no entry matches. Empty without `default`.
    default: String,
    /// True with `hostnames`: an entry may begin or end with `*` or begin with `.`. Without it, such an entry is
    /// compared as a text, and no host is equal to it.
    hostnames: bool,
}

/// A `geo` block on the client's address.
#[derive(Debug, Default)]
pub(super) struct GeoBlock {
    /// The ranges of addresses, each with its value. The most specific one that contains the address decides.
    pub(super) ranges: Vec<(IpNet, String)>,
    /// The value for addresses in none of the ranges. Empty without `default`.
    pub(super) default: String,
}

/// The variables in effect at a position of the configuration.
#[derive(Clone, Debug, Default)]
pub(super) struct Variables {
    /// The values of `set`, by the name of the variable without `$`. A value may contain variables that are not known.
    set: BTreeMap<String, String>,
    /// The `map` blocks, by the name of the variable that each defines, without `$`.
    maps: Rc<BTreeMap<String, Mapping>>,
    /// The `geo` blocks on the client's address, by the name of the variable that each defines, without `$`.
    geo_blocks: Rc<BTreeMap<String, GeoBlock>>,
    /// The values of the host and listener for which the configuration is evaluated.
    pub(super) context: Context,
    /// The folders of files.
    pub(super) files: FileFolders,
}

impl Variables {
    /// Reads the `map` and `geo` blocks of `http` or `stream`. A `geo` block is left out if it is not on the client's
    /// address, or an entry is not a range of addresses.
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

    /// Sets a variable to a text, whose known variables are replaced by their values.
    pub(super) fn set(&mut self, name: &str, text: &str) {
        let value = self.expand(text);
        self.set.insert(bare(name), value);
    }

    /// Marks a variable as not known, because its value depends on the request. It expands to its own name.
    pub(super) fn forget(&mut self, name: &str) {
        let name = bare(name);
        let unknown = format!("${name}");
        self.set.insert(name, unknown);
    }

    /// Returns the `geo` block that defines a variable. `None` if there is none, or if `set` has set the variable
    /// since.
    pub(super) fn geo(&self, variable: &str) -> Option<&GeoBlock> {
        let name = bare(variable);
        if self.set.contains_key(&name) {
            return None;
        }
        self.geo_blocks.get(&name)
    }

    /// Returns a text with variables of `set` and `map` replaced by their values, where these are known. Others remain
    /// as written.
    pub(super) fn expand(&self, text: &str) -> String {
        replace_variables(text, &|name| self.value(name, 0))
    }

    /// Returns a text with variables replaced as by [`expand`](Self::expand), and then those of the host and listener.
    /// Others remain as written.
    pub(super) fn constant(&self, text: &str) -> String {
        replace_variables(&self.expand(text), &|name| self.of_context(name))
    }

    /// Returns the entries of the `map` from `$ssl_preread_server_name` that defines a variable, as pairs of name and
    /// value, and its default. Entries that no host matches are left out. `None` if there is no such map.
    pub(super) fn by_server_name(&self, variable: &str) -> Option<(Vec<&(String, String)>, &str)> {
        let map = self.maps.get(&bare(variable))?;
        let can_match = |key: &str| map.hostnames || key.starts_with('~') || !is_wildcard(key);
        let entries = map.entries.iter().filter(|(key, _)| can_match(key)).collect();
        (map.source == "$ssl_preread_server_name").then_some((entries, map.default.as_str()))
    }

    /// Returns the value of a variable that the host and listener determine. Variables of TLS are empty on a listener
    /// without TLS. `None` for every other variable, and for the host if it is a wildcard.
    fn of_context(&self, name: &str) -> Option<String> {
        let context = &self.context;
        let text = |text: &str| Some(text.to_owned());
        match name {
            "http_host" if context.host_has_port => {
                context.host.as_ref().map(|host| format!("{host}:{}", context.port))
            }
            "host" | "http_host" | "ssl_server_name" | "ssl_preread_server_name" => context.host.clone(),
            "server_name" => Some(context.server_name.clone()),
            "scheme" => text(if context.tls { "https" } else { "http" }),
            "https" => text(if context.tls { "on" } else { "" }),
            "server_port" => Some(context.port.to_string()),
            "ssl_protocol" | "ssl_cipher" | "ssl_client_verify" if !context.tls => text(""),
            _ => None,
        }
    }

    /// Returns the value of a variable by `set`, or else by `map`, if the source of the map is known or all of its
    /// values are equal. `None` otherwise, and at a `depth` of 4, the nesting of maps.
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
    /// Returns the value for a text: that of the entry with exactly this text, ignoring case, or else the default.
    /// `None` if no entry has this text and there are patterns, which may match it.
    fn find(&self, text: &str) -> Option<String> {
        let exact = self.entries.iter().find(|(key, _)| key.eq_ignore_ascii_case(text));
        if let Some((_, value)) = exact {
            return Some(value.clone());
        }
        let pattern = |key: &str| key.starts_with('~') || self.hostnames && is_wildcard(key);
        if self.entries.iter().any(|(key, _)| pattern(key)) {
            return None;
        }
        Some(self.default.clone())
    }
}

/// Reads the entries and the default of a `map` block on `source`. `hostnames` and `volatile` are ignored.
fn mapping(source: &str, block: &[Directive]) -> Mapping {
    let mut map = Mapping { source: source.to_owned(), ..Mapping::default() };
    for entry in block {
        match (entry.name.as_str(), entry.first()) {
            ("default", value) => map.default = value.to_owned(),
            ("hostnames", _) => map.hostnames = true,
            ("volatile", _) => {}
            (key, value) => map.entries.push((key.trim_start_matches('\\').to_owned(), value.to_owned())),
        }
    }
    map
}

/// Returns whether a name stands for several with `hostnames`.
fn is_wildcard(name: &str) -> bool {
    name.starts_with('.') || name.contains('*')
}

/// Reads a `geo` block. `None` if an entry other than `default` is not a range of addresses.
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

/// Returns the name of a variable without leading `$` and surrounding braces.
pub(super) fn bare(name: &str) -> String {
    name.trim_start_matches('$').trim_matches(['{', '}']).to_owned()
}

/// Returns a text in which each variable, as `$NAME` or `${NAME}`, is replaced by what `value` returns for its name. A
/// variable for which `value` returns `None` remains as written.
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
