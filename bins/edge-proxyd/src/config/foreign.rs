//! Keys of other proxies, with the counterpart in this configuration.

/// Returns the advice for an unknown key that nginx, Caddy, Traefik or HAProxy has; letter case is ignored. `None` if
/// the key is not in the list.
pub(super) fn hint_for(word: &str) -> Option<&'static str> {
    KEYS.iter().find(|(known, _)| known.eq_ignore_ascii_case(word)).map(|(_, write)| *write)
}

/// Keys of other proxies, each with the advice, in alphabetical order.
const KEYS: &[(&str, &str)] = &[
    ("acl", "write [[site]] with [[site.route]]"),
    ("add_header", "write response_headers"),
    ("alias", "files are not served: write upstream = \"http://127.0.0.1:3000\", of a server of files"),
    ("auth_basic", "write [site.auth]"),
    ("auth_basic_user_file", "write [site.auth]"),
    ("auth_request", "write [site.auth]"),
    ("backend", "write upstream = \"http://127.0.0.1:3000\""),
    ("bind", "write [[listen]] with address"),
    ("cert_file", "write [certificates] with folder"),
    ("certresolver", "write [acme]"),
    ("client_max_body_size", "write body_limit"),
    ("default_backend", "write [[site]] with upstream; unknown names are rejected"),
    ("default_server", "leave it out: connections for unknown names are rejected, see reject"),
    ("domain", "write hosts = [\"git.example.org\"]"),
    ("domains", "write hosts = [\"git.example.org\"]"),
    ("entrypoints", "write [[listen]] with address"),
    ("error_page", "write [[site.error_page]]"),
    ("frontend", "write [[listen]] with address"),
    ("gzip", "write compression"),
    ("hostname", "write hosts = [\"git.example.org\"]"),
    ("http", "write [[listen]] and [[site]] at the top level"),
    ("http2", "leave it out: HTTP/2 is offered with TLS; h2c = true is for plain listeners"),
    ("keepalive_timeout", "write [timeouts] with idle"),
    ("limit_req", "write [site.rate]"),
    ("location", "write [[site.route]] with path"),
    ("locations", "write [[site.route]] with path"),
    ("proxy_connect_timeout", "write [timeouts] with connect"),
    ("proxy_pass", "write upstream = \"http://127.0.0.1:3000\""),
    ("proxy_read_timeout", "write [timeouts] with response"),
    ("proxy_set_header", "write request_headers; host and the client's address are passed on already"),
    ("real_ip_header", "write [trust] with header"),
    ("return", "write redirect, or respond in a route"),
    ("reverse_proxy", "write upstream = \"http://127.0.0.1:3000\""),
    ("rewrite", "write redirect, or strip_prefix in a route"),
    ("root", "files are not served: write upstream = \"http://127.0.0.1:3000\", of a server of files"),
    ("routers", "write [[site]]"),
    ("server", "write [[site]] with hosts, and [[listen]] with address"),
    ("server_name", "write hosts = [\"git.example.org\"]"),
    ("servers", "write [[site]], or target in [upstream.NAME]"),
    ("services", "write [upstream.NAME]"),
    ("set_real_ip_from", "write [trust] with ranges"),
    ("ssl", "write tls = true in [[listen]]"),
    ("ssl_certificate", "write certificate in [[site]], or [certificates] with folder"),
    ("ssl_certificate_key", "write key in [[site]], or [certificates] with folder"),
    ("tls_cert", "write [certificates] with folder"),
    ("upstreams", "write [upstream.NAME]"),
];
