//! What was not taken over.

use super::parse::Directive;

/// One directive that means something which the new configuration does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) file: String,
    pub(crate) line: usize,
    /// The directive, as it is written.
    pub(crate) directive: String,
    /// What about it.
    pub(crate) what: String,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Notes(pub(super) Vec<Note>);

impl Notes {
    pub(super) fn push(&mut self, directive: &Directive, what: impl Into<String>) {
        let mut text = directive.name.clone();
        for argument in &directive.arguments {
            text.push(' ');
            text.push_str(argument);
        }
        let note = Note {
            file: directive.file.to_string(),
            line: directive.line,
            directive: text.chars().filter(|c| !c.is_control()).take(80).collect(),
            what: what.into(),
        };
        if !self.0.contains(&note) {
            self.0.push(note);
        }
    }

    /// What edge-proxyd has nothing for.
    pub(super) fn unknown(&mut self, directive: &Directive) {
        let what = match directive.name.as_str() {
            "root" | "alias" | "index" | "try_files" | "autoindex" => {
                "edge-proxyd serves no files: let a service do that"
            }
            "fastcgi_pass" | "uwsgi_pass" | "scgi_pass" | "grpc_pass" | "memcached_pass" => {
                "edge-proxyd speaks HTTP to services: let the service do so, grpc by upstream = \"h2c://…\""
            }
            "rewrite" | "if" | "set" => "edge-proxyd has no variables: write a route for each path",
            "limit_req" | "limit_req_zone" | "limit_conn" | "limit_conn_zone" => {
                "edge-proxyd counts by site: write [site.rate], such as client = \"10/s\""
            }
            "auth_request" => "edge-proxyd asks by [site.auth] with upstream and path",
            "proxy_cache" | "proxy_cache_path" | "proxy_cache_valid" => "edge-proxyd keeps no answers",
            "proxy_redirect" | "proxy_cookie_domain" | "proxy_cookie_path" => {
                "edge-proxyd passes Location and Set-Cookie on as they are: tell the service its public address"
            }
            "proxy_ssl_verify" | "proxy_ssl_trusted_certificate" | "proxy_ssl_name" => {
                "edge-proxyd always verifies a service: write [upstream.NAME] tls with ca or server_name"
            }
            "ssl_client_certificate" | "ssl_verify_client" | "ssl_crl" => {
                "edge-proxyd asks clients for no certificate, so this site would be open: write allow or [site.auth]"
            }
            "satisfy" => "with edge-proxyd all must be true: allow, deny and auth",
            "proxy_next_upstream" | "proxy_next_upstream_tries" => {
                "edge-proxyd asks another target by [upstream.NAME.retry]"
            }
            "stream" | "mail" => "edge-proxyd speaks HTTP only",
            "error_page" => "edge-proxyd answers for a service that cannot be reached by [site.maintenance]",
            "upstream" | "server" | "location" => "is not where it may be",
            _ => "is not known to edge-proxyd",
        };
        self.push(directive, what);
    }
}
