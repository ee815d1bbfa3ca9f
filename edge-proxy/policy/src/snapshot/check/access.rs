//! Validation of authentication, rates, policies for browsers and compression.

use super::field_name::check_name;
use super::{ConfigPart, nearest};
use crate::config::{
    Auth, ClientCertificates, Compression, Config, ForwardAuth, PlainHttp, Protocol, Site, Upstream,
};
use edge_http::grammar::is_target;
use std::collections::HashSet;

/// Checks the authentication, the limit of concurrent requests, the client certificates, the policies for browsers and
/// compression of a site. The limit must not be 0.
pub(super) fn check_site(part: &mut ConfigPart<'_>, config: &Config, site: &Site) {
    if let Some(auth) = &site.auth {
        check_auth(part, config, auth);
    }
    if site.rate.concurrent == Some(0) {
        part.add_error(
            "rate.concurrent",
            "0",
            "would reject every request: expected at least 1, or leave it out",
        );
    }
    if let Some(asked) = &site.client_certificates {
        check_certificates(part, site, asked);
    }
    for error in site.response_policies.errors() {
        part.add_error(error.key, error.value, error.why);
    }
    if let Some(compression) = &site.compression {
        check_compression(part, compression);
    }
}

/// Checks that compression has at least one coding, and that none is listed twice.
pub(super) fn check_compression(part: &mut ConfigPart<'_>, compression: &Compression) {
    let mut seen = HashSet::new();
    if compression.codings.is_empty() {
        part.add_error("compression.codings", "", "empty: add zstd, br or gzip, or leave compression out");
    }
    for coding in &compression.codings {
        if !seen.insert(*coding) {
            part.add_error("compression.codings", coding.name(), "duplicate entry: remove one of the two");
        }
    }
}

/// Checks that the files of a site's client certificates are absolute paths, that their fields may be edited and are
/// not listed twice, and that the site has neither plain HTTP, by which requests would bypass them, nor early data.
fn check_certificates(part: &mut ConfigPart<'_>, site: &Site, asked: &ClientCertificates) {
    for (key, path) in
        [("client_certificates.ca", Some(&asked.ca)), ("client_certificates.crl", asked.crl.as_ref())]
    {
        if let Some(path) = path.filter(|path| !path.is_absolute()) {
            part.add_error(key, path.display().to_string(), "not a valid path: expected an absolute one");
        }
    }
    if site.plain == PlainHttp::Serve {
        let fix = "would serve clients without a certificate: write `redirect` or `refuse`";
        part.add_error("plain", "serve", fix);
    }
    if site.early_data {
        let fix = "has no effect with client_certificates, whose sessions are not resumed: leave it out";
        part.add_error("early_data", "true", fix);
    }
    let mut seen = HashSet::new();
    for (name, _) in &asked.fields {
        check_name(part, "client_certificates.headers", name);
        if !seen.insert(name.to_ascii_lowercase()) {
            part.add_error("client_certificates.headers", name, "duplicate field: remove one of the two");
        }
    }
}

/// Checks the settings of authentication. Basic authentication must have a user, a realm of printable ASCII without
/// quotation marks and backslashes, and a valid field for the user's name, if one is set. Forward authentication is
/// checked by [`check_forward`].
pub(super) fn check_auth(part: &mut ConfigPart<'_>, config: &Config, auth: &Auth) {
    match auth {
        Auth::Open => {}
        Auth::Basic(basic) => {
            if basic.users.is_empty() {
                part.add_error(
                    "auth.users",
                    "",
                    "empty, so every request would be rejected: add a user, or leave auth out",
                );
            }
            let fine = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b'"' && byte != b'\\';
            if basic.realm.is_empty() || !basic.realm.bytes().all(fine) {
                part.add_error(
                    "auth.realm",
                    &basic.realm,
                    "not a valid realm: expected ASCII words without quotes",
                );
            }
            if let Some(name) = &basic.user_field {
                check_name(part, "auth.user_header", name);
            }
        }
        Auth::Forward(forward) => check_forward(part, config, forward),
    }
}

/// Checks that the upstream of forward authentication exists and is not for raw TCP, that its path is a valid request
/// target, and that the copied fields may be edited.
fn check_forward(part: &mut ConfigPart<'_>, config: &Config, forward: &ForwardAuth) {
    let names = || config.upstreams.iter().map(|upstream| upstream.name.as_str());
    if !names().any(|name| name == forward.upstream) {
        let hint = match nearest(&forward.upstream, names()) {
            Some(name) => format!("did you mean `{name}`?"),
            None => super::missing_upstream(&forward.upstream),
        };
        part.add_error("auth.upstream", &forward.upstream, format!("unknown upstream: {hint}"));
    }
    let raw = |known: &Upstream| known.name == forward.upstream && known.protocol == Protocol::Tcp;
    if config.upstreams.iter().any(raw) {
        let fix = "the upstream is for raw TCP: write its targets as http://HOST:PORT";
        part.add_error("auth.upstream", &forward.upstream, fix);
    }
    if !forward.path.starts_with('/') || !is_target(forward.path.as_bytes()) {
        part.add_error(
            "auth.path",
            &forward.path,
            "not a valid path: expected one such as /api/authz/forward-auth",
        );
    }
    for name in &forward.copy {
        check_name(part, "auth.copy", name);
    }
}
