//! Settings that `http`, `server` and `location` share and inherit.

use super::notes::Notes;
use super::parse::Directive;
use ipnet::IpNet;
use std::net::IpAddr;

/// The settings in effect at a place of the file.
#[derive(Clone, Debug)]
pub(super) struct Scope {
    /// The limit as nginx writes it; its default is 1m.
    pub(super) body_limit: String,
    pub(super) gzip: bool,
    pub(super) gzip_least: String,
    /// `proxy_set_header`: the list of a level replaces the inherited one.
    pub(super) request: Vec<Directive>,
    /// `add_header`: the list of a level replaces the inherited one.
    pub(super) response: Vec<Directive>,
    pub(super) hidden: Vec<String>,
    pub(super) realm: Option<String>,
    pub(super) users: Option<String>,
    pub(super) access: Vec<Directive>,
    /// Keys of `timeouts`, and durations.
    pub(super) timeouts: Vec<(&'static str, String)>,
    pub(super) content_type: String,
}

impl Default for Scope {
    fn default() -> Self {
        Self {
            body_limit: "1m".into(),
            gzip: false,
            gzip_least: "20".into(),
            request: Vec::new(),
            response: Vec::new(),
            hidden: Vec::new(),
            realm: None,
            users: None,
            access: Vec::new(),
            timeouts: Vec::new(),
            content_type: "text/plain".into(),
        }
    }
}

/// Directives that edge-proxyd fulfils by itself, or that do not affect responses.
const IMPLIED: &[&str] = &[
    "access_log",
    "charset",
    "client_body_buffer_size",
    "client_header_buffer_size",
    "directio",
    "error_log",
    "gzip_buffers",
    "gzip_comp_level",
    "gzip_disable",
    "gzip_http_version",
    "gzip_proxied",
    "gzip_types",
    "gzip_vary",
    "http2",
    "http2_max_concurrent_streams",
    "http3",
    "keepalive_requests",
    "large_client_header_buffers",
    "log_format",
    "log_not_found",
    "port_in_redirect",
    "proxy_buffer_size",
    "proxy_buffering",
    "proxy_buffers",
    "proxy_busy_buffers_size",
    "proxy_headers_hash_bucket_size",
    "proxy_headers_hash_max_size",
    "proxy_http_version",
    "proxy_max_temp_file_size",
    "proxy_request_buffering",
    "proxy_ssl_server_name",
    "proxy_ssl_session_reuse",
    "proxy_temp_path",
    "quic_gso",
    "quic_retry",
    "reset_timedout_connection",
    "resolver",
    "resolver_timeout",
    "send_timeout",
    "sendfile",
    "server_name_in_redirect",
    "server_names_hash_bucket_size",
    "server_names_hash_max_size",
    "server_tokens",
    "ssl_buffer_size",
    "ssl_ciphers",
    "ssl_conf_command",
    "ssl_dhparam",
    "ssl_ecdh_curve",
    "ssl_prefer_server_ciphers",
    "ssl_reject_handshake",
    "ssl_session_cache",
    "ssl_session_tickets",
    "ssl_session_timeout",
    "tcp_nodelay",
    "tcp_nopush",
    "types",
    "types_hash_bucket_size",
    "types_hash_max_size",
    "underscores_in_headers",
    "variables_hash_bucket_size",
];

/// Returns whether this is a valid field name (RFC 9110 §5.6.2, a token).
fn is_name(text: &str) -> bool {
    let other = |byte| b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || other(byte))
}

impl Scope {
    /// Returns the settings of a block: its own lists replace inherited ones.
    pub(super) fn enter(&self, block: &[Directive]) -> Self {
        let mut inner = self.clone();
        let has = |name: &str| block.iter().any(|directive| directive.name == name);
        if has("proxy_set_header") {
            inner.request.clear();
        }
        if has("add_header") {
            inner.response.clear();
        }
        if has("allow") || has("deny") {
            inner.access.clear();
        }
        inner
    }

    /// Takes a directive that is allowed at any level. Returns whether it was one.
    pub(super) fn take(&mut self, directive: &Directive, notes: &mut Notes) -> bool {
        let first = || directive.arguments.first().cloned().unwrap_or_default();
        match directive.name.as_str() {
            "client_max_body_size" => self.body_limit = first(),
            "gzip" => self.gzip = first() == "on",
            "gzip_min_length" => self.gzip_least = first(),
            "default_type" => self.content_type = first(),
            "proxy_set_header" | "proxy_hide_header" | "add_header" if !is_name(&first()) => {
                notes.push(directive, "expected a field name of letters, digits and -");
            }
            "proxy_set_header" => {
                Self::check_field(directive, notes);
                self.request.push(directive.clone());
            }
            "proxy_hide_header" => self.hidden.push(first()),
            "add_header" => {
                Self::check_field(directive, notes);
                self.response.push(directive.clone());
            }
            "auth_basic" => self.realm = Some(first()).filter(|realm| realm != "off"),
            "auth_basic_user_file" => self.users = Some(first()),
            "allow" | "deny" => self.may(directive, notes),
            "ssl_protocols" => {
                let mut named: Vec<&str> = directive.arguments.iter().map(String::as_str).collect();
                named.sort_unstable();
                if named != ["TLSv1.2", "TLSv1.3"] {
                    notes.push(
                        directive,
                        "edge-proxyd supports TLS 1.2 and TLS 1.3, always both and nothing older",
                    );
                }
            }
            "proxy_redirect" if first() == "off" => {}
            "satisfy" if first() == "all" => {}
            "proxy_read_timeout" => self.timeout("response", first(), directive, notes),
            "proxy_send_timeout" => {}
            "proxy_connect_timeout" => self.timeout("connect", first(), directive, notes),
            "keepalive_timeout" => self.timeout("idle", first(), directive, notes),
            "client_header_timeout" => self.timeout("header", first(), directive, notes),
            "client_body_timeout" => self.timeout("body", first(), directive, notes),
            name if IMPLIED.contains(&name) => {}
            _ => return false,
        }
        true
    }

    /// Takes an access rule. nginx applies the first rule that matches the client; in edge-proxyd `deny` always takes
    /// precedence.
    fn may(&mut self, directive: &Directive, notes: &mut Notes) {
        let of = |one: &Directive| one.arguments.first().cloned().unwrap_or_default();
        // Rules after one for everyone have no effect.
        if self.access.iter().any(|one| of(one) == "all") {
            return notes
                .push(directive, "has no effect in nginx, since it follows a rule for all: left out");
        }
        let range = of(directive);
        let Some(net) = net_of(&range) else {
            if range == "all" {
                self.access.push(directive.clone());
            } else {
                notes.push(directive, "not a valid CIDR range: write it into `allow` or `deny` by hand");
            }
            return;
        };
        let before = |one: &&Directive| one.name == "allow" && directive.name == "deny";
        let earlier = self
            .access
            .iter()
            .filter(before)
            .find(|one| net_of(&of(one)).is_some_and(|of| of.contains(&net) || net.contains(&of)));
        if let Some(earlier) = earlier {
            let what = format!(
                "nginx gives precedence to `allow {}` before it; here `deny` always takes precedence: write disjoint ranges",
                of(earlier)
            );
            notes.push(directive, what);
        }
        self.access.push(directive.clone());
    }

    fn timeout(&mut self, key: &'static str, value: String, directive: &Directive, notes: &mut Notes) {
        // A number without a unit is in seconds.
        let value = if value.bytes().all(|byte| byte.is_ascii_digit()) { format!("{value}s") } else { value };
        if value == "0s" || value.contains(['w', 'M', 'y', ' ']) {
            return notes.push(directive, "not a supported duration: write [timeouts] by hand");
        }
        self.timeouts.retain(|(known, _)| *known != key);
        self.timeouts.push((key, value));
    }

    /// Returns the largest content; `None` means no limit.
    pub(super) fn body_limit(&self) -> Option<String> {
        size(&self.body_limit)
    }

    /// Returns the shortest content that is compressed.
    pub(super) fn least(&self) -> String {
        size(&self.gzip_least).unwrap_or_else(|| "0".into())
    }
}

/// Parses a range, or a single address.
fn net_of(text: &str) -> Option<IpNet> {
    let range = text.parse::<IpNet>().map(|range| range.trunc());
    range.ok().or_else(|| text.parse::<IpAddr>().map(IpNet::from).ok())
}

/// Converts a size: nginx counts in powers of two.
fn size(text: &str) -> Option<String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    if digits.parse::<u64>().ok()? == 0 {
        return None;
    }
    Some(match text[digits.len()..].to_ascii_lowercase().as_str() {
        "k" => format!("{digits}KiB"),
        "m" => format!("{digits}MiB"),
        "g" => format!("{digits}GiB"),
        _ => digits.to_owned(),
    })
}

/// Fields that edge-proxyd writes for every upstream, in lower case.
const WRITTEN: &[&str] = &[
    "host",
    "connection",
    "upgrade",
    "x-real-ip",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "early-data",
    "proxy",
];

impl Scope {
    /// Returns the fields set for the upstream, besides those that edge-proxyd writes anyway.
    pub(super) fn requested(&self) -> Vec<(String, String)> {
        let own = |name: &str| WRITTEN.contains(&name.to_ascii_lowercase().as_str());
        let pair = |one: &Directive| Some((one.arguments.first()?.clone(), one.arguments.get(1)?.clone()));
        self.request
            .iter()
            .filter_map(pair)
            .filter(|(name, value)| !own(name) && !value.contains('$'))
            .collect()
    }

    /// Notes fields that cannot be converted.
    fn check_field(directive: &Directive, notes: &mut Notes) {
        let (Some(name), Some(value)) = (directive.arguments.first(), directive.arguments.get(1)) else {
            return notes.push(directive, "expected a name and a value");
        };
        let own = WRITTEN.contains(&name.to_ascii_lowercase().as_str());
        if directive.name == "proxy_set_header" {
            let usual = [
                "$remote_addr",
                "$proxy_add_x_forwarded_for",
                "$scheme",
                "$host",
                "$http_host",
                "$server_port",
                "$http_upgrade",
                "$connection_upgrade",
                "$ssl_early_data",
                "$proxy_host",
                "$host:$server_port",
                "upgrade",
                "Upgrade",
                "keep-alive",
                "close",
                "https",
                "http",
                "",
            ];
            if own && name.eq_ignore_ascii_case("host") {
                return;
            }
            if own && !usual.contains(&value.as_str()) {
                notes.push(directive, "edge-proxyd writes this field itself");
            } else if !own && value.contains('$') {
                notes.push(directive, "edge-proxyd has no variables: upstreams receive X-Real-IP and X-Forwarded-For, -Host and -Proto");
            }
        } else if value.contains('$') && !name.eq_ignore_ascii_case("alt-svc") {
            notes.push(directive, "edge-proxyd has no variables");
        }
    }
}
