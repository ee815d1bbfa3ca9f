//! Conversion of `server_name`.

use super::notes::Notes;
use super::parse::Directive;
use super::pattern;
use edge_http::host::HostPattern;

/// The names of a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Names {
    /// The hosts as edge-proxyd writes them, without duplicates.
    pub(super) hosts: Vec<String>,
    /// True if the server serves requests for names that no server has.
    pub(super) anything: bool,
    /// True if its names are those of `--domain`, for which it answers instead of for all others.
    pub(super) of_domain: bool,
    /// True if a name could not be converted, so that no site here has it.
    pub(super) lost: bool,
    /// The first name as written, the value of `$server_name`. Empty if there is none.
    pub(super) first: String,
}

impl Names {
    /// Reads the names of the server with this block. `domain` replaces the `*` at the end of a name. Names that cannot
    /// be converted are noted.
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

    /// Adds a name of a `server_name`, or notes why it cannot be converted.
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

    /// Adds a host, unless it is already there, or notes that it is not valid.
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
