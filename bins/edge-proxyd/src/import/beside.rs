//! The facts of a handling that the keys of its route do not show: settings of a location that become keys of the site,
//! reasons in comments, and notes.

use super::action::{Action, Handling};
use super::fields;
use super::parse::Directive;
use super::scope::Scope;
use std::fmt::Write;

/// Returns what a handling says beside the keys of its route, without positions in files. `comments` are the reasons for
/// which its route is closed. A route must not stand for one with another text: it would take these facts with it.
pub(super) fn beside_keys(handling: &Handling, comments: &[String]) -> String {
    // Without `..`, so that a new setting has to be put on one of the two sides.
    let Scope {
        // Keys of the route.
        body_limit: _,
        gzip: _,
        gzip_least: _,
        timeouts: _,
        hidden: _,
        realm: _,
        users: _,
        auth_request: _,
        satisfy_any: _,
        access: _,
        conditional: _,
        methods: _,
        require_certificate: _,
        location: _,
        rewrites_location: _,
        cookies: _,
        headscale: _,
        // Parts of the action and its upstream.
        media_types: _,
        tls: _,
        internal: _,
        // Keys of the site, equal for all of its routes.
        site: _,
        // The comparison of paths, which the removal of routes regards by itself.
        any_case: _,
        // Among the comments.
        closed: _,
        // Keys in part; the rest are `headers` of the client certificate, the request identifier and notes.
        request,
        response: _,
        request_id,
        // Keys of the site or of the whole configuration, or notes.
        real_ip,
        rate,
        verify_client,
        client_ca,
        crl,
    } = &handling.scope;
    let words = |one: &Option<Directive>| one.as_ref().map(|one| one.arguments.clone());
    let (rate, verify_client) = (words(rate), words(verify_client));
    let mut text = format!("{real_ip:?} {rate:?} {request_id:?} {verify_client:?} {client_ca:?} {crl:?}\n");
    text.push_str(&fields::response(&handling.scope).noted());
    match handling.action {
        Action::Forward { .. } => {
            text.push_str(&fields::request(&handling.scope).noted());
            for one in request {
                if let Some(word) = one.arguments.get(1).and_then(|value| fields::certificate_field(value)) {
                    // Writing to a string cannot fail.
                    let _ = writeln!(text, "{} = {word}", one.first().to_ascii_lowercase());
                }
            }
            text.push_str(&comments.join("\n"));
        }
        // What is refused for want of a service says where, which is another place for each.
        Action::Drop | Action::Redirect { .. } | Action::Respond { .. } => {}
    }
    text
}
