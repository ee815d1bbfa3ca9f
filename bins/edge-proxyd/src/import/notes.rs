//! Notes about directives that were not converted.

use super::parse::Directive;

/// A directive that has a meaning but was not converted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) file: String,
    pub(crate) line: usize,
    /// The directive as written.
    pub(crate) directive: String,
    /// The explanation for the reader.
    pub(crate) what: String,
}

/// All notes of a conversion.
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

    /// Notes a directive without a counterpart.
    pub(super) fn unknown(&mut self, directive: &Directive) {
        let what = match directive.name.as_str() {
            "root" | "alias" | "index" | "try_files" | "autoindex" => {
                "edge-proxyd does not serve files: use an upstream for that"
            }
            "fastcgi_pass" | "uwsgi_pass" | "scgi_pass" | "grpc_pass" | "memcached_pass" => {
                "edge-proxyd forwards HTTP only: use an HTTP upstream; gRPC by upstream = \"h2c://…\""
            }
            "rewrite" | "if" | "set" => "edge-proxyd has no variables: write a route for each path",
            "limit_req" | "limit_req_zone" | "limit_conn" | "limit_conn_zone" => {
                "edge-proxyd limits rates per site: write [site.rate], such as client = \"10/s\""
            }
            "auth_request" => "use [site.auth] with upstream and path",
            "proxy_cache" | "proxy_cache_path" | "proxy_cache_valid" => "edge-proxyd has no cache",
            "proxy_redirect" | "proxy_cookie_domain" | "proxy_cookie_path" => {
                "edge-proxyd forwards Location and Set-Cookie unchanged: configure the service with its public URL"
            }
            "proxy_ssl_verify" | "proxy_ssl_trusted_certificate" | "proxy_ssl_name" => {
                "edge-proxyd always verifies upstream certificates: write [upstream.NAME] tls with ca or server_name"
            }
            "ssl_client_certificate" | "ssl_verify_client" | "ssl_crl" => {
                "edge-proxyd does not request client certificates, so this site would be open: write allow or [site.auth]"
            }
            "satisfy" => "edge-proxyd requires all of allow, deny and auth",
            "proxy_next_upstream" | "proxy_next_upstream_tries" => "use [upstream.NAME.retry]",
            "stream" | "mail" => "edge-proxyd supports HTTP only",
            "error_page" => "use [site.maintenance] for the response while a service is unreachable",
            "upstream" | "server" | "location" => "not allowed here",
            _ => "not supported by edge-proxyd",
        };
        self.push(directive, what);
    }
}
