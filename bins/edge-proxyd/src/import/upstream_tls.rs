//! Conversion of TLS to services: the directives that begin with `proxy_ssl_`.

use super::notes::Notes;
use super::parse::Directive;
use super::scope::Scope;
use super::variables::Variables;

impl Scope {
    /// Reads a directive of TLS to services into the keys of `tls` of upstreams, with known variables expanded. Returns
    /// true for these, false for any other directive. Notes what cannot be converted.
    pub(super) fn upstream_tls(
        &mut self,
        directive: &Directive,
        variables: &Variables,
        notes: &mut Notes,
    ) -> bool {
        let first = || directive.first().to_owned();
        match directive.name.as_str() {
            "proxy_ssl_verify" => {
                if first() == "off" {
                    notes.harmless(directive, "certificates of services are always verified");
                }
            }
            "proxy_ssl_trusted_certificate" => self.set_tls("ca", first()),
            "proxy_ssl_certificate" => self.set_tls("certificate", first()),
            "proxy_ssl_certificate_key" => self.set_tls("key", first()),
            "proxy_ssl_name" => {
                let name = variables.expand(&first());
                let host = matches!(name.as_str(), "$host" | "$http_host");
                if host {
                    self.set_tls("server_name", "{host}".into());
                } else if name.contains('$') {
                    notes.different(
                        directive,
                        "its variable is not known here: write tls.server_name in the upstream",
                    );
                } else {
                    self.set_tls("server_name", name);
                }
            }
            "proxy_ssl_crl" | "proxy_ssl_password_file" => {
                notes.different(directive, "not supported for certificates of services");
            }
            _ => return false,
        }
        true
    }

    /// Sets a key of `tls` of upstreams, in place of an earlier value.
    fn set_tls(&mut self, key: &'static str, value: String) {
        self.tls.retain(|(known, _)| *known != key);
        self.tls.push((key, value));
    }
}
