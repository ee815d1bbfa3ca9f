//! Conversion of `server` and `location`.

use super::notes::Notes;
use super::parse::Directive;
use super::scope::Scope;
use super::upstream::Upstreams;
use std::net::SocketAddr;

/// A `listen` directive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listen {
    pub(super) address: SocketAddr,
    pub(super) tls: bool,
    pub(super) quic: bool,
    pub(super) proxy_protocol: bool,
    pub(super) default: bool,
}

/// The action for a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Drop,
    Forward { upstream: String, strip: Option<String> },
    Redirect { status: u16, to: String },
    Respond { status: u16, body: String, content_type: String },
}

/// A converted location.
#[derive(Clone, Debug)]
pub(super) struct Route {
    pub(super) path: String,
    pub(super) exact: bool,
    pub(super) action: Action,
    pub(super) scope: Scope,
}

/// A converted server.
#[derive(Clone, Debug)]
pub(super) struct Server {
    pub(super) directive: Directive,
    pub(super) listens: Vec<Listen>,
    pub(super) names: Vec<String>,
    /// True if it answers for names of no other server.
    pub(super) catches_all: bool,
    pub(super) scope: Scope,
    /// Its own `return`, which takes precedence over locations.
    pub(super) action: Option<Action>,
    pub(super) routes: Vec<Route>,
    pub(super) early_data: bool,
    pub(super) certificate: Option<(String, String, Directive)>,
}

impl Server {
    pub(super) fn tls(&self) -> bool {
        self.listens.iter().any(|listen| listen.tls)
    }

    pub(super) fn plain(&self) -> bool {
        self.listens.iter().any(|listen| !listen.tls)
    }

    /// Returns the action for every request, if there is only one.
    pub(super) fn only(&self) -> Option<&Action> {
        match (&self.action, self.routes.as_slice()) {
            (Some(action), _) => Some(action),
            (None, [route]) if route.path == "/" && !route.exact => Some(&route.action),
            _ => None,
        }
    }

    pub(super) fn read(
        directive: &Directive,
        outer: &Scope,
        upstreams: &mut Upstreams,
        notes: &mut Notes,
    ) -> Self {
        let block = directive.block.as_deref().unwrap_or_default();
        let mut scope = outer.enter(block);
        let mut server = Self {
            directive: directive.clone(),
            listens: Vec::new(),
            names: Vec::new(),
            catches_all: false,
            scope: Scope::default(),
            action: None,
            routes: Vec::new(),
            early_data: false,
            certificate: None,
        };
        let (mut certificate, mut key) = (None, None);
        let mut later = Vec::new();
        for directive in block {
            let first = || directive.arguments.first().cloned().unwrap_or_default();
            match directive.name.as_str() {
                "listen" => server.listens.extend(listen(directive, notes)),
                "server_name" => server.name(directive, notes),
                "ssl_certificate" => certificate = Some((first(), directive.clone())),
                "ssl_certificate_key" => key = Some(first()),
                "ssl_early_data" => server.early_data = first() == "on",
                "location" | "return" => later.push(directive),
                // Servers with it listen on both kinds of port.
                "ssl" if first() == "off" => {}
                _ => {
                    if !scope.take(directive, notes) {
                        notes.unknown(directive);
                    }
                }
            }
        }
        if server.listens.is_empty() {
            let address = ([0, 0, 0, 0], 80).into();
            server.listens.push(Listen {
                address,
                tls: false,
                quic: false,
                proxy_protocol: false,
                default: false,
            });
        }
        server.catches_all |= server.names.is_empty();
        if let (Some((certificate, directive)), Some(key)) = (certificate, key) {
            server.certificate = Some((certificate, key, directive));
        }
        for directive in later {
            if directive.name == "return" {
                server.action = returned(directive, &scope, &server.names, notes);
            } else {
                server.location(directive, &scope, upstreams, notes);
            }
        }
        server.scope = scope;
        server
    }

    fn name(&mut self, directive: &Directive, notes: &mut Notes) {
        for name in &directive.arguments {
            match name.as_str() {
                "_" | "" => self.catches_all = true,
                name if name.starts_with('~') => notes.push(
                    directive,
                    format!("`{name}`: regular expressions are not supported: list the names, or write *.example.org"),
                ),
                name if name.ends_with(".*") => {
                    notes.push(directive, format!("`{name}`: list your domains instead"));
                }
                name => match name.strip_prefix('.') {
                    Some(name) => self.names.extend([name.to_owned(), format!("*.{name}")]),
                    None => self.names.push(name.to_owned()),
                },
            }
        }
    }

    fn location(
        &mut self,
        directive: &Directive,
        outer: &Scope,
        upstreams: &mut Upstreams,
        notes: &mut Notes,
    ) {
        let arguments: Vec<&str> = directive.arguments.iter().map(String::as_str).collect();
        let (exact, path) = match arguments.as_slice() {
            ["=", path] => (true, *path),
            ["^~", path] => (false, *path),
            ["~" | "~*", _] => {
                return notes
                    .push(directive, "regular expressions are not supported: write a route for each prefix");
            }
            [path] if path.starts_with('@') => {
                return notes.push(directive, "named locations are not supported");
            }
            // nginx accepts it without a space too.
            [path] => path.strip_prefix('=').map_or((false, *path), |path| (true, path)),
            _ => return notes.push(directive, "not a supported location"),
        };
        let block = directive.block.as_deref().unwrap_or_default();
        let mut scope = outer.enter(block);
        let mut action = None;
        let mut pass = None;
        for inner in block {
            match inner.name.as_str() {
                "proxy_pass" => pass = Some(inner),
                "return" => action = returned(inner, &scope, &self.names, notes),
                "location" => {
                    notes.push(inner, "nested locations are not converted: write them side by side");
                }
                "internal" => return notes.push(directive, "internal locations are not supported"),
                "gzip"
                | "gzip_min_length"
                | "proxy_read_timeout"
                | "proxy_connect_timeout"
                | "client_body_timeout"
                    if inner.arguments.first() != Some(&String::new()) =>
                {
                    let mut changed = outer.clone();
                    changed.take(inner, notes);
                    if changed.gzip != outer.gzip
                        || changed.gzip_least != outer.gzip_least
                        || changed.timeouts != outer.timeouts
                    {
                        notes.push(inner, "applies to a whole site: write it there if that is intended");
                    }
                }
                _ => {
                    if !scope.take(inner, notes) {
                        notes.unknown(inner);
                    }
                }
            }
        }
        // A return takes precedence over everything else.
        if let (None, Some(pass)) = (&action, pass) {
            action = upstreams.pass(pass, &scope, notes).and_then(|passed| {
                let strip = match passed.path.as_deref() {
                    None => None,
                    Some(to) if to == path => None,
                    Some("/") if path == "/" => None,
                    Some("/") if path.ends_with('/') && !exact => Some(path.to_owned()),
                    Some(to) => {
                        notes
                            .push(pass, format!("a prefix can be removed, but not replaced: {path} by {to}"));
                        return None;
                    }
                };
                Some(Action::Forward { upstream: passed.upstream, strip })
            });
        }
        let Some(action) = action else {
            return notes.push(directive, "none of it could be converted, so it is left out");
        };
        if !exact && !path.ends_with('/') {
            notes.push(directive, format!("matches every path that begins with {path}; here it matches {path} and everything below it, but not {path}x"));
        }
        self.routes.push(Route { path: path.to_owned(), exact, action, scope });
    }
}

fn listen(directive: &Directive, notes: &mut Notes) -> Option<Listen> {
    let (first, options) = directive.arguments.split_first()?;
    let port = |text: &str| text.parse::<u16>().ok();
    let address = if let Some(port) = port(first) {
        Some(([0, 0, 0, 0], port).into())
    } else if let Some(rest) = first.strip_prefix("*:") {
        port(rest).map(|port| ([0, 0, 0, 0], port).into())
    } else if let Some(rest) = first.strip_prefix("localhost:") {
        port(rest).map(|port| ([127, 0, 0, 1], port).into())
    } else {
        first.parse().ok().or_else(|| {
            let bare = first.trim_start_matches('[').trim_end_matches(']');
            bare.parse().ok().map(|address| SocketAddr::new(address, 80))
        })
    };
    let Some(address) = address else {
        notes.push(directive, "not an address and port that edge-proxyd can listen on");
        return None;
    };
    let has = |name: &str| options.iter().any(|option| option == name);
    let quic = has("quic") || has("http3");
    for option in options {
        let known = [
            "default",
            "default_server",
            "http2",
            "http3",
            "proxy_protocol",
            "quic",
            "reuseport",
            "ssl",
            "deferred",
        ];
        if !known.contains(&option.as_str())
            && !["backlog=", "ipv6only=", "so_keepalive=", "rcvbuf=", "sndbuf=", "fastopen="]
                .iter()
                .any(|begin| option.starts_with(begin))
        {
            notes.push(directive, format!("`{option}` is not supported by edge-proxyd"));
        }
    }
    Some(Listen {
        address,
        tls: has("ssl") || quic,
        quic,
        proxy_protocol: has("proxy_protocol"),
        default: has("default_server") || has("default"),
    })
}

fn returned(directive: &Directive, scope: &Scope, names: &[String], notes: &mut Notes) -> Option<Action> {
    let arguments: Vec<&str> = directive.arguments.iter().map(String::as_str).collect();
    let (status, text) = match arguments.as_slice() {
        [url] if url.contains("://") || url.starts_with('$') => (302, *url),
        [status] => (status.parse().ok()?, ""),
        [status, text] => (status.parse().ok()?, *text),
        _ => return None,
    };
    match status {
        444 => Some(Action::Drop),
        301 | 302 | 303 | 307 | 308 if !text.is_empty() => match location(text, names) {
            Some(to) => Some(Action::Redirect { status, to }),
            None => {
                notes.push(directive, "unsupported variable: only $scheme, $host, $server_name, $uri, $request_uri and $args can be converted");
                None
            }
        },
        200..=599 if !text.contains('$') => {
            // nginx sends its own pages for statuses without a text.
            Some(Action::Respond { status, body: text.to_owned(), content_type: scope.content_type.clone() })
        }
        _ => {
            notes.push(directive, "this response is not supported");
            None
        }
    }
}

/// Converts the target of a redirect.
fn location(text: &str, names: &[String]) -> Option<String> {
    let name = names.first().map_or("{host}", String::as_str);
    let known = [
        ("$request_uri", "{path}{query}"),
        ("$uri$is_args$args", "{path}{query}"),
        ("$is_args$args", "{query}"),
        ("$server_name", name),
        ("$http_host", "{host}"),
        ("$host", "{host}"),
        ("$uri", "{path}"),
        // Redirects always lead to https.
        ("$scheme", "https"),
    ];
    let mut to = text.to_owned();
    for (variable, word) in known {
        let braced = format!("${{{}}}", &variable[1..]);
        to = to.replace(&braced, word).replace(variable, word);
    }
    (!to.contains('$')).then_some(to)
}
