//! Keys of other proxies, and what to write here. The advice depends on the table that a key stands in.

/// Returns the advice for a key of nginx, Caddy, Traefik or HAProxy, compared without regard to case. `table` is the
/// path of the table that contains the key, such as `site[0].route[1]`. The advice names `[[site]]` if it applies to
/// another table. `None` for unknown words.
pub(super) fn hint_for(word: &str, table: &str) -> Option<String> {
    let table = kind(table);
    let here = OF_TABLE.iter().find(|(of, known, _)| *of == table && known.eq_ignore_ascii_case(word));
    if let Some((.., write)) = here {
        return Some((*write).to_owned());
    }
    let (_, home, write) = KEYS.iter().find(|(known, ..)| known.eq_ignore_ascii_case(word))?;
    let place = match home {
        Home::Anywhere => None,
        Home::Site => (table != "site").then_some("[[site]]"),
        Home::SiteOrRoute => (!matches!(table.as_str(), "site" | "site.route")).then_some("[[site]]"),
    };
    Some(place.map_or_else(|| (*write).to_owned(), |place| format!("in {place}, {write}")))
}

/// Returns the path of a table without indices and names of upstreams: `site.route`, `upstream`, `upstream.health`.
fn kind(path: &str) -> String {
    let mut parts: Vec<&str> =
        path.split('.').map(|part| part.split('[').next().unwrap_or_default()).collect();
    if parts.first() == Some(&"upstream") && parts.len() > 1 {
        // The name of the upstream, which may have dots; what is below it is one of these.
        let last =
            parts.last().copied().filter(|last| matches!(*last, "health" | "retry" | "tls" | "sticky"));
        parts.truncate(1);
        parts.extend(last);
    }
    parts.join(".")
}

/// The table to which the keys in an advice belong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Home {
    /// The advice names its table.
    Anywhere,
    /// `[[site]]`.
    Site,
    /// `[[site]]` or `[[site.route]]`.
    SiteOrRoute,
}

/// Advice for the timeouts that a site and a route cannot have.
const BEFORE_THE_SITE: &str =
    "write it in [timeouts] at the top level, for all sites: it passes before the site of a request is known";

/// Advice for words in one table: the kind of the table, the word, and the advice. It precedes that of [`KEYS`].
const OF_TABLE: &[(&str, &str, &str)] = &[
    ("", "upstreams", "write [upstream.NAME]"),
    ("listen", "bind", "write address"),
    ("listen", "domain", "names are of sites: write hosts in [[site]]"),
    ("listen", "host", "write it in address, such as address = \"127.0.0.1:443\""),
    ("listen", "port", "write it in address, such as address = \"0.0.0.0:443\""),
    (
        "listen",
        "proxy_pass",
        "write forward = \"tcp://127.0.0.1:22\" for TCP, or upstream in [[site]] for HTTP",
    ),
    ("listen", "server_name", "names are of sites: write hosts in [[site]]"),
    ("listen", "ssl", "write tls = true"),
    ("listen", "target", "write forward = \"tcp://127.0.0.1:22\""),
    (
        "listen",
        "upstream",
        "write forward = \"tcp://127.0.0.1:22\" for TCP, or upstream in [[site]] for HTTP",
    ),
    ("site", "port", "ports are of listeners: write address in [[listen]], and listen = [\"NAME\"] here"),
    ("site", "ssl", "TLS is of listeners: write tls = true in [[listen]]"),
    ("site", "target", "write upstream = \"http://127.0.0.1:3000\""),
    ("site.timeouts", "handshake", BEFORE_THE_SITE),
    ("site.timeouts", "header", BEFORE_THE_SITE),
    ("site.timeouts", "idle", BEFORE_THE_SITE),
    ("site.route.timeouts", "handshake", BEFORE_THE_SITE),
    ("site.route.timeouts", "header", BEFORE_THE_SITE),
    ("site.route.timeouts", "idle", BEFORE_THE_SITE),
    ("site.route", "domain", "names are of sites: write hosts in [[site]]"),
    ("site.route", "match", "write path, begins or exact"),
    ("site.route", "prefix", "write path, or begins"),
    ("site.route", "server_name", "names are of sites: write hosts in [[site]]"),
    ("site.route", "target", "write upstream = \"http://127.0.0.1:3000\""),
    ("upstream", "address", "write target = \"http://127.0.0.1:3000\""),
    ("upstream", "backend", "write target = \"http://127.0.0.1:3000\""),
    ("upstream", "domain", "write host, the name that the service is asked for"),
    ("upstream", "hostname", "write host, the name that the service is asked for"),
    ("upstream", "http2", "write h2:// or h2c:// in target"),
    ("upstream", "ip_hash", "write balance = \"hash-client\""),
    ("upstream", "keepalive_timeout", "write idle"),
    ("upstream", "least_conn", "write balance = \"least-connections\""),
    ("upstream", "max_fails", "write failures in [upstream.NAME.health]"),
    ("upstream", "port", "write it in target, such as target = \"http://127.0.0.1:3000\""),
    (
        "upstream",
        "proxy_connect_timeout",
        "timeouts are of sites and routes: write timeouts with connect there",
    ),
    ("upstream", "proxy_pass", "write target = \"http://127.0.0.1:3000\""),
    (
        "upstream",
        "proxy_read_timeout",
        "timeouts are of sites and routes: write timeouts with response there",
    ),
    ("upstream", "server", "write target, or targets"),
    ("upstream", "server_name", "write server_name in [upstream.NAME.tls], or host"),
    ("upstream", "servers", "write targets"),
    ("upstream", "ssl", "write https:// in target"),
    ("upstream", "upstream", "write target = \"http://127.0.0.1:3000\""),
    ("upstream", "uri", "write target = \"http://127.0.0.1:3000\""),
    ("upstream", "url", "write target = \"http://127.0.0.1:3000\""),
];

/// Advice for words in any table: the word, the table to which the keys in the advice belong, and the advice.
const KEYS: &[(&str, Home, &str)] = &[
    ("acl", Home::Anywhere, "write [[site]] with [[site.route]]"),
    ("add_header", Home::SiteOrRoute, "write response_headers"),
    (
        "alias",
        Home::SiteOrRoute,
        "files are not served: write upstream = \"http://127.0.0.1:3000\", the address of a file server",
    ),
    ("auth_basic", Home::SiteOrRoute, "write [site.auth]"),
    ("auth_basic_user_file", Home::SiteOrRoute, "write [site.auth]"),
    ("auth_request", Home::SiteOrRoute, "write [site.auth]"),
    ("backend", Home::SiteOrRoute, "write upstream = \"http://127.0.0.1:3000\""),
    ("bind", Home::Anywhere, "write [[listen]] with address"),
    ("cert_file", Home::Anywhere, "write [certificates] with folder"),
    ("certresolver", Home::Anywhere, "write [acme]"),
    ("client_max_body_size", Home::SiteOrRoute, "write body_limit"),
    ("default_backend", Home::Anywhere, "write [[site]] with upstream; unknown names are rejected"),
    (
        "default_server",
        Home::Anywhere,
        "leave it out: connections for unknown names are rejected, see reject",
    ),
    ("domain", Home::Site, "write hosts = [\"git.example.org\"]"),
    ("domains", Home::Site, "write hosts = [\"git.example.org\"]"),
    ("entrypoints", Home::Anywhere, "write [[listen]] with address"),
    ("error_page", Home::Site, "write [[site.error_page]]"),
    ("frontend", Home::Anywhere, "write [[listen]] with address"),
    ("gzip", Home::SiteOrRoute, "write compression"),
    ("hostname", Home::Site, "write hosts = [\"git.example.org\"]"),
    ("http", Home::Anywhere, "write [[listen]] and [[site]] at the top level"),
    ("http2", Home::Anywhere, "leave it out: HTTP/2 is offered with TLS; h2c = true is for plain listeners"),
    ("keepalive_timeout", Home::Anywhere, "write [timeouts] with idle"),
    ("limit_req", Home::Site, "write [site.rate]"),
    ("location", Home::Site, "write [[site.route]] with path"),
    ("locations", Home::Site, "write [[site.route]] with path"),
    ("proxy_connect_timeout", Home::Anywhere, "write [timeouts] with connect"),
    ("proxy_pass", Home::SiteOrRoute, "write upstream = \"http://127.0.0.1:3000\""),
    ("proxy_read_timeout", Home::Anywhere, "write [timeouts] with response"),
    (
        "proxy_set_header",
        Home::SiteOrRoute,
        "write request_headers; host and the client's address are passed on already",
    ),
    ("real_ip_header", Home::Anywhere, "write [trust] with header"),
    ("return", Home::SiteOrRoute, "write redirect, or respond in a route"),
    ("reverse_proxy", Home::SiteOrRoute, "write upstream = \"http://127.0.0.1:3000\""),
    ("rewrite", Home::SiteOrRoute, "write redirect, or strip_prefix in a route"),
    (
        "root",
        Home::SiteOrRoute,
        "files are not served: write upstream = \"http://127.0.0.1:3000\", the address of a file server",
    ),
    ("routers", Home::Anywhere, "write [[site]]"),
    ("server", Home::Anywhere, "write [[site]] with hosts, and [[listen]] with address"),
    ("server_name", Home::Site, "write hosts = [\"git.example.org\"]"),
    ("servers", Home::Anywhere, "write [[site]], or target in [upstream.NAME]"),
    ("services", Home::Anywhere, "write [upstream.NAME]"),
    ("set_real_ip_from", Home::Anywhere, "write [trust] with ranges"),
    ("ssl", Home::Anywhere, "write tls = true in [[listen]]"),
    ("ssl_certificate", Home::Site, "write certificate and key, or folder in [certificates]"),
    ("ssl_certificate_key", Home::Site, "write certificate and key, or folder in [certificates]"),
    ("tls_cert", Home::Anywhere, "write [certificates] with folder"),
    ("upstreams", Home::Anywhere, "write [upstream.NAME]"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_depends_on_the_table() {
        for (word, table, expected) in [
            ("gzip", "site[0]", "write compression"),
            ("GZIP", "site[0].route[2]", "write compression"),
            ("gzip", "listen[0]", "in [[site]], write compression"),
            ("gzip", "", "in [[site]], write compression"),
            ("server_name", "site[1]", "write hosts = [\"git.example.org\"]"),
            ("server_name", "upstream.app", "write server_name in [upstream.NAME.tls], or host"),
            ("server_name", "upstream.a.b", "write server_name in [upstream.NAME.tls], or host"),
            ("server_name", "listen[0]", "names are of sites: write hosts in [[site]]"),
            ("ssl", "upstream.app", "write https:// in target"),
            ("ssl", "listen[0]", "write tls = true"),
            ("url", "upstream.app", "write target = \"http://127.0.0.1:3000\""),
            ("entrypoints", "site[0]", "write [[listen]] with address"),
            ("idle", "site[0].timeouts", BEFORE_THE_SITE),
            ("idle", "site[0].route[1].timeouts", BEFORE_THE_SITE),
        ] {
            assert_eq!(hint_for(word, table).as_deref(), Some(expected), "{word} in {table}");
        }
        assert_eq!(hint_for("url", "site[0]"), None);
        assert_eq!(hint_for("nothing", "site[0]"), None);
    }
}
