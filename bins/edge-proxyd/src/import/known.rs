//! The effect of directives of nginx and its common modules that are not converted.

/// The effect of leaving a directive out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// None: edge-proxyd does the same, or the directive does not affect responses. Not noted.
    Implied,
    /// None that clients or services notice. Noted as harmless.
    Harmless,
    /// Responses or requests change. The text is the explanation.
    Different(&'static str),
    /// A restriction of requests is lost. The text is the explanation.
    Limits(&'static str),
    /// Unknown. The directive may restrict access.
    Unknown,
}

/// Returns the effect of leaving out a directive of this name. A name in several lists has the effect of the first of
/// [`IMPLIED`], [`DIFFERENT`], [`LIMITS`] and [`HARMLESS`].
pub(super) fn effect(name: &str) -> Effect {
    if IMPLIED.contains(&name) {
        return Effect::Implied;
    }
    if let Some((_, why)) = DIFFERENT.iter().find(|(known, _)| known.contains(&name)) {
        return Effect::Different(why);
    }
    if let Some((_, why)) =
        LIMITS.iter().find(|(known, _)| known.iter().any(|begin| matches_name(name, begin)))
    {
        return Effect::Limits(why);
    }
    if HARMLESS.iter().any(|begin| matches_name(name, begin)) {
        return Effect::Harmless;
    }
    Effect::Unknown
}

/// Returns true if this value of a directive is nginx's default and what edge-proxyd does, so that nothing is lost.
pub(super) fn is_default(name: &str, value: &str) -> bool {
    DEFAULTS.contains(&(name, value))
}

/// Returns true if a name equals `begin`, or begins with it if `begin` ends in `_`.
fn matches_name(name: &str, begin: &str) -> bool {
    name == begin || begin.ends_with('_') && name.starts_with(begin)
}

/// Directives whose purpose edge-proxyd fulfils by itself, or that do not affect responses.
const IMPLIED: &[&str] = &[
    "absolute_redirect",
    "access_log",
    "aio",
    "auth_delay",
    "charset",
    "chunked_transfer_encoding",
    "client_body_buffer_size",
    "client_body_in_file_only",
    "client_body_temp_path",
    "client_header_buffer_size",
    "directio",
    "error_log",
    "gzip_buffers",
    "gzip_comp_level",
    "gzip_disable",
    "gzip_http_version",
    "gzip_proxied",
    "gzip_static",
    "gzip_types",
    "gzip_vary",
    "http2",
    "http2_body_preread_size",
    "http2_chunk_size",
    "http2_max_concurrent_streams",
    "http2_push_preload",
    "http3",
    "http3_hq",
    "keepalive_disable",
    "keepalive_requests",
    "lingering_close",
    "lingering_timeout",
    "log_format",
    "log_not_found",
    "log_subrequest",
    "map_hash_bucket_size",
    "map_hash_max_size",
    "merge_slashes",
    "msie_padding",
    "output_buffers",
    "port_in_redirect",
    "postpone_output",
    "proxy_buffering",
    "proxy_buffers",
    "proxy_busy_buffers_size",
    "proxy_headers_hash_bucket_size",
    "proxy_headers_hash_max_size",
    "proxy_http_version",
    "proxy_ignore_headers",
    "proxy_max_temp_file_size",
    "proxy_pass_header",
    "proxy_pass_trailers",
    "proxy_request_buffering",
    "proxy_send_lowat",
    "proxy_send_timeout",
    "proxy_socket_keepalive",
    "proxy_ssl_certificate_cache",
    "proxy_ssl_ciphers",
    "proxy_ssl_conf_command",
    "proxy_ssl_key_log",
    "proxy_ssl_protocols",
    "proxy_ssl_server_name",
    "proxy_ssl_session_reuse",
    "proxy_ssl_verify_depth",
    "proxy_temp_file_write_size",
    "proxy_temp_path",
    "quic_gso",
    "quic_retry",
    "read_ahead",
    "recursive_error_pages",
    "request_pool_size",
    "reset_timedout_connection",
    "resolver",
    "resolver_timeout",
    "rewrite_log",
    "send_lowat",
    "send_timeout",
    "sendfile",
    "sendfile_max_chunk",
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
    "ssl_session_ticket_key",
    "ssl_session_tickets",
    "ssl_session_timeout",
    "ssl_stapling",
    "ssl_stapling_file",
    "ssl_stapling_responder",
    "ssl_stapling_verify",
    "ssl_trusted_certificate",
    "ssl_verify_depth",
    "tcp_nodelay",
    "tcp_nopush",
    "types_hash_bucket_size",
    "types_hash_max_size",
    "underscores_in_headers",
    "uninitialized_variable_warn",
    "variables_hash_bucket_size",
    "variables_hash_max_size",
];

/// Directives of [`DIFFERENT`] with the value that changes nothing.
const DEFAULTS: &[(&str, &str)] = &[
    ("proxy_force_ranges", "off"),
    ("proxy_ignore_client_abort", "off"),
    ("proxy_pass_request_body", "on"),
    ("proxy_pass_request_headers", "on"),
];

/// Directives of modules whose handlers are not converted, of caches, and of files that are not served: names, and
/// prefixes that end in `_`.
const HARMLESS: &[&str] = &[
    "brotli",
    "brotli_",
    "disable_symlinks",
    "etag",
    "fastcgi_",
    "grpc_",
    "gunzip",
    "if_modified_since",
    "imap_",
    "index",
    "max_ranges",
    "memcached_",
    "open_file_cache",
    "open_file_cache_",
    "pop3_",
    "proxy_next_upstream",
    "proxy_next_upstream_",
    "proxy_cache",
    "proxy_cache_",
    "proxy_no_cache",
    "proxy_store",
    "proxy_store_",
    "root",
    "scgi_",
    "smtp_",
    "ssi",
    "ssi_",
    "status_zone",
    "uwsgi_",
    "vhost_traffic_status_",
    "zstd",
    "zstd_",
];

/// Directives whose loss changes responses or requests: lists of exact names, each with the explanation.
const DIFFERENT: &[(&[&str], &str)] = &[
    (&["proxy_cookie_flags"], "flags of cookies are forwarded unchanged"),
    (
        &[
            "limit_req_zone",
            "limit_conn_zone",
            "limit_req_status",
            "limit_conn_status",
            "limit_req_log_level",
            "limit_conn_log_level",
            "limit_req_dry_run",
        ],
        "rates are limited per site: write [site.rate], such as client = \"10/s\"",
    ),
    (&["limit_conn"], "connections are limited by connections_per_client of [limits]"),
    (&["limit_rate", "limit_rate_after", "proxy_limit_rate"], "the speed of responses is not limited"),
    (
        &[
            "sub_filter",
            "sub_filter_once",
            "sub_filter_types",
            "sub_filter_last_modified",
            "addition_types",
            "add_before_body",
            "add_after_body",
            "image_filter",
            "xslt_stylesheet",
            "headers_filter",
        ],
        "content is forwarded unchanged",
    ),
    (
        &["expires", "add_trailer", "source_charset", "override_charset"],
        "write the field by response_headers",
    ),
    (&["mirror", "mirror_request_body"], "requests are not mirrored"),
    (
        &["proxy_set_body", "proxy_method", "proxy_pass_request_headers", "proxy_bind", "post_action"],
        "requests are forwarded as they came",
    ),
    (
        &[
            "more_clear_headers",
            "more_set_headers",
            "more_set_input_headers",
            "more_clear_input_headers",
            "set_escape_uri",
        ],
        "write the field by request_headers or response_headers",
    ),
    (&["proxy_pass_request_body"], "requests are forwarded with their content"),
    (&["proxy_ignore_client_abort"], "a request to a service ends when its client leaves"),
    (&["proxy_force_ranges"], "ranges are answered by the service alone"),
    (&["proxy_intercept_errors"], "answers of a service are forwarded unchanged"),
    (
        &["error_page"],
        "error answers are not replaced: [site.maintenance] answers while a service is unreachable",
    ),
    (
        &["ssl_ocsp", "ssl_ocsp_responder", "ssl_ocsp_cache"],
        "revocation of client certificates is read from `crl` only",
    ),
    (
        &["ignore_invalid_headers"],
        "fields with other characters than letters, digits, - and _ are not forwarded",
    ),
    (
        &["userid", "userid_service", "userid_name", "userid_path", "userid_expires", "userid_domain"],
        "no cookie is set",
    ),
    (
        &[
            "geoip_country",
            "geoip_city",
            "geoip_org",
            "geoip_proxy",
            "geoip2",
            "split_clients",
            "map",
            "geo",
            "perl_set",
            "js_set",
            "js_import",
            "js_path",
            "js_var",
            "perl_modules",
            "perl_require",
            "lua_package_path",
            "lua_shared_dict",
            "valid_referers",
            "auth_request_set",
            "secure_link",
            "secure_link_md5",
            "secure_link_secret",
        ],
        "its variables are not known here",
    ),
    (&["http2_push"], "nothing is pushed"),
];

/// Directives that restrict requests in a way without a counterpart: lists of names and of prefixes that end in `_`,
/// each with the explanation.
const LIMITS: &[(&[&str], &str)] = &[
    (
        &[
            "auth_jwt",
            "auth_jwt_",
            "auth_oidc",
            "auth_digest",
            "auth_digest_",
            "auth_ldap",
            "auth_ldap_",
            "auth_pam",
            "auth_pam_",
            "auth_gss",
            "auth_gss_",
            "auth_spnego",
            "oauth2_",
        ],
        "clients had to authenticate: write [site.auth]",
    ),
    (
        &[
            "access_by_lua",
            "access_by_lua_",
            "rewrite_by_lua",
            "rewrite_by_lua_",
            "server_rewrite_by_lua_",
            "preaccess_by_lua_",
            "precontent_by_lua_",
            "content_by_lua_",
            "js_access",
            "js_content",
            "perl",
        ],
        "a program decided",
    ),
    (
        &[
            "modsecurity",
            "modsecurity_",
            "SecRulesEnabled",
            "CheckRule",
            "app_protect_",
            "testcookie",
            "testcookie_",
            "crowdsec_",
            "ModSecurityEnabled",
            "ModSecurityConfig",
        ],
        "a firewall decided",
    ),
    (&["limit_except"], "methods were limited"),
];

#[cfg(test)]
mod guide;
