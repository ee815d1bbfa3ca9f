//! What is taken out of heads and what is put in, in both directions.

use super::{Decision, RequestContext, Transport, edits, route};
use crate::config::FieldEdits;
use crate::host::split_authority;
use crate::section::digits;
use crate::{Fields, Name, RequestHead, ResponseHead, forwarded, hop_by_hop, tailnet};

/// Makes a received head the one that is forwarded. Called once, after [`decide()`](super::decide()).
///
/// What concerned this hop alone goes first, then what only a proxy may say is written anew, then come the edits of the
/// site and of the route, and `strip_prefix`. `TE: trailers` stays if it was there: whoever writes HTTP/1.1 nominates it
/// in Connection or leaves it out, and adds the fields of an upgrade.
///
/// Written are X-Forwarded-For, -Proto, -Host and -Port, Forwarded (RFC 7239) and X-Real-IP, so that they agree;
/// `Early-Data: 1` if the handshake is not complete (RFC 8470 §5.1). What a trusted hop said of the scheme, the host and
/// the port is kept. Other spellings of these names, such as `X_Forwarded_For`, are removed from everybody's requests.
pub fn request_fields(
    decision: &Decision<'_>,
    facts: &RequestContext<'_>,
    still_early: bool,
    head: &mut RequestHead,
) {
    let site = decision.site.map(|(_, site)| &site.request_fields);
    let route = decision.route.map(|(_, route)| &route.request_fields);
    hop_by_hop::strip(&mut head.fields);
    strip_spoofable(decision, [site, route], &mut head.fields);
    if !decision.websocket {
        head.upgrade = None;
    }
    // Of a hop it would say who the hop is, not who asks.
    if decision.tells
        && decision.client.via.is_empty()
        && let Some(node) = facts.identities.source.node()
    {
        for (name, value) in tailnet::fields(node) {
            head.fields.push(name.as_bytes(), value.as_bytes());
        }
    }
    write_origin(decision, facts, &head.authority, &mut head.fields);
    if still_early && !head.fields.contains(Name::EarlyData) {
        head.fields.push(b"Early-Data", b"1");
    }
    for edits in [site, route].into_iter().flatten() {
        edits::apply(edits, &mut head.fields);
    }
    if let Some((_, found)) = decision.route
        && let Some(prefix) = &found.strip_prefix
        && let Some(target) = route::without_prefix(&head.target, prefix)
    {
        head.target = target;
    }
}

/// Makes an upstream's head the one that is answered. `alt_svc` is the value advertised to clients that come over TLS on
/// TCP (RFC 7838); an upstream's own speaks of a place that the client cannot see, and is removed.
pub fn response_fields(
    decision: &Decision<'_>,
    facts: &RequestContext<'_>,
    alt_svc: Option<&str>,
    head: &mut ResponseHead,
) {
    hop_by_hop::strip(&mut head.fields);
    head.fields.remove(Name::AltSvc);
    // A request's field; hop-by-hop stripping keeps it for them.
    head.fields.remove(Name::Te);
    if let Some(value) = alt_svc
        && facts.transport == Transport::Tls
    {
        head.fields.push(b"Alt-Svc", value.as_bytes());
    }
    if let Some((_, site)) = decision.site {
        if let Some(hsts) = site.hsts.filter(|_| facts.transport.is_secure()) {
            head.fields.remove_named(b"strict-transport-security");
            head.fields.push(b"Strict-Transport-Security", hsts.to_string().as_bytes());
        }
        edits::apply(&site.response_fields, &mut head.fields);
    }
    if let Some((_, route)) = decision.route {
        edits::apply(&route.response_fields, &mut head.fields);
    }
}

/// Names that are written here; each alias of one is removed.
const OURS: [&[u8]; 8] = [
    b"forwarded",
    b"early-data",
    b"x-real-ip",
    b"x-forwarded-for",
    b"x-forwarded-host",
    b"x-forwarded-port",
    b"x-forwarded-proto",
    b"proxy",
];

/// Removes what only a proxy may say, and aliases of it and of what the edits set or remove.
fn strip_spoofable(decision: &Decision<'_>, edits: [Option<&FieldEdits>; 2], fields: &mut Fields) {
    // Whatever else begins with X-Forwarded- is a hop's to say: it stays only if one of ours said it.
    let trusted = decision.client.is_by_hop();
    // Who somebody is comes from those who were asked here, never from the request; a hop may have passed a claim on.
    for name in decision.identities {
        let name = name.as_bytes();
        fields.retain(|field| !field.name.eq_ignore_ascii_case(name) && !edits::is_alias(field.name, name));
    }
    let edited = edits.into_iter().flatten().any(|edits| !edits.is_empty());
    let is_edited =
        |name: &[u8]| edited && edits.into_iter().flatten().any(|edits| edits::have_alias(edits, name));
    fields.retain(|field| match field.id {
        Name::Forwarded
        | Name::XRealIp
        | Name::XForwardedFor
        | Name::XForwardedHost
        | Name::XForwardedPort
        | Name::XForwardedProto
        | Name::Proxy => false,
        Name::XForwarded => trusted,
        Name::Other if field.name.iter().any(|byte| matches!(byte, b'_' | b'.')) => {
            !is_alias_of_ours(field.name) && !is_edited(field.name)
        }
        // `X-Forwarded-` itself, and everything else, could still be an alias of a name in an edit that has a `_`.
        _ => !is_edited(field.name),
    });
}

fn is_alias_of_ours(name: &[u8]) -> bool {
    const PREFIX: &[u8] = b"x-forwarded-";
    let prefixed =
        name.len() >= PREFIX.len() && name.iter().zip(PREFIX).all(|(a, b)| edits::folded(*a) == *b);
    prefixed || OURS.iter().any(|ours| edits::is_alias(name, ours))
}

/// Writes who asks, for which host and by which scheme, in every form that upstreams read.
fn write_origin(decision: &Decision<'_>, facts: &RequestContext<'_>, authority: &str, fields: &mut Fields) {
    let client = &decision.client;
    let https = client.told.https.unwrap_or_else(|| facts.transport.is_secure());
    let proto = if https { "https" } else { "http" };
    let host = client.told.host.as_deref().unwrap_or(authority);
    let port = client.told.port.unwrap_or_else(|| {
        let written = split_authority(host).and_then(|(_, port, _)| port);
        written.unwrap_or(if https { 443 } else { 80 })
    });
    let mut value = Vec::with_capacity(128);
    for (i, address) in client.chain().enumerate() {
        if i > 0 {
            value.extend_from_slice(b", ");
        }
        forwarded::write_address(address, &mut value);
    }
    fields.push_known(Name::XForwardedFor, b"X-Forwarded-For", &value);
    value.clear();
    forwarded::write_address(client.address, &mut value);
    fields.push_known(Name::XRealIp, b"X-Real-IP", &value);
    fields.push_known(Name::XForwardedProto, b"X-Forwarded-Proto", proto.as_bytes());
    if !host.is_empty() {
        fields.push_known(Name::XForwardedHost, b"X-Forwarded-Host", host.as_bytes());
    }
    fields.push_known(Name::XForwardedPort, b"X-Forwarded-Port", digits(port.into(), &mut [0; 20]));
    value.clear();
    let mut chain = client.chain();
    if let Some(first) = chain.next() {
        forwarded::write(first, Some(host).filter(|host| !host.is_empty()), Some(proto), &mut value);
    }
    for hop in chain {
        forwarded::write(hop, None, None, &mut value);
    }
    fields.push_known(Name::Forwarded, b"Forwarded", &value);
}
