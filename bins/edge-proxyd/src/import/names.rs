//! Conversion of `server_name`.

use super::notes::Notes;
use super::parse::Directive;
use super::pattern;
use edge_http::host::HostPattern;

/// The names of a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Names {
    /// The hosts as edge-proxyd writes them, without duplicates; `*.NAME` for all subdomains.
    pub(super) hosts: Vec<String>,
    /// True if the server has no `server_name`, or one such as `_`: it may serve requests for names that no server has.
    pub(super) anything: bool,
    /// True if the hosts are the domain of `--domain` and its subdomains, for which the server answers instead of all
    /// other names.
    pub(super) of_domain: bool,
    /// True if a name could not be converted, so that no site of the converted configuration has it.
    pub(super) lost: bool,
    /// The first name as written, the value of `$server_name`. Empty if there is none.
    pub(super) first: String,
}

impl Names {
    /// Reads the `server_name` directives of a server. `domain` replaces the `*` at the end of a name such as `app.*`.
    /// Names that cannot be converted are noted.
    pub(super) fn read(block: &[Directive], domain: Option<&str>, notes: &mut Notes) -> Self {
        let mut found = Self::default();
        let directives = block.iter().filter(|directive| directive.name == "server_name");
        for directive in directives {
            for name in &directive.arguments {
                if found.first.is_empty() {
                    found.first.clone_from(name);
                }
                found.take(name, domain, directive, notes);
            }
        }
        if found.hosts.is_empty() && !block.iter().any(|directive| directive.name == "server_name") {
            found.anything = true;
        }
        found
    }

    /// Adds the hosts of a name of a `server_name`: two for `.NAME`, and all those of a regular expression. Notes a
    /// name that cannot be converted: `$hostname`, `NAME.*` without a `domain`, and an expression that is not a list of
    /// names or endings.
    fn take(&mut self, name: &str, domain: Option<&str>, directive: &Directive, notes: &mut Notes) {
        match name {
            "_" | "" | "*" | "\"\"" => self.anything = true,
            "$hostname" => {
                self.lost = true;
                notes.closed(directive, "the name of the machine is not known here: write it into hosts");
            }
            name if name.starts_with('~') => match pattern::names(&name[1..]) {
                Some(names) => names.iter().for_each(|name| self.add(name, directive, notes)),
                None => {
                    self.lost = true;
                    notes.closed(
                        directive,
                        format!("`{name}` is not a list of names or of endings: write the names into hosts"),
                    );
                }
            },
            name if name.ends_with(".*") => match domain {
                Some(domain) => self.add(&format!("{}{domain}", &name[..name.len() - 1]), directive, notes),
                None => {
                    self.lost = true;
                    notes.closed(
                        directive,
                        format!("`{name}`: give the domain by --domain, or write the names into hosts"),
                    );
                }
            },
            name => match name.strip_prefix('.') {
                Some(name) => {
                    self.add(name, directive, notes);
                    self.add(&format!("*.{name}"), directive, notes);
                }
                None => self.add(name, directive, notes),
            },
        }
    }

    /// Adds a host, unless it is already in the list. Notes one that is not valid, and sets `lost` unless it has
    /// non-ASCII characters, which no request can have.
    fn add(&mut self, name: &str, directive: &Directive, notes: &mut Notes) {
        match HostPattern::parse(name) {
            Ok(host) => {
                let host = host.to_string();
                if !self.hosts.contains(&host) {
                    self.hosts.push(host);
                }
            }
            Err(_) if !name.is_ascii() => notes.closed(
                directive,
                format!("`{name}` never matches a request, in nginx neither: write its xn--… form"),
            ),
            Err(_) => {
                self.lost = true;
                notes.closed(directive, format!("`{name}` is not a host name: left out"));
            }
        }
    }
}
