//! Header rewriting in both directions.

use super::{Decision, RequestContext, Transport, edits, route};
use crate::client_address::Source;
use crate::config::{FieldEdits, TrustedHeader};
use crate::host::split_authority;
use crate::section::digits;
use crate::{Fields, Name, RequestHead, ResponseHead, forwarded, hop_by_hop, tailnet};

/// Prepares a received head for forwarding. Called once, after [`decide()`](super::decide()).
///
/// Hop-by-hop fields are removed first, then the fields that only a proxy may set are written anew, then the edits of
/// the site and the route and `strip_prefix` apply. `TE: trailers` is kept: the HTTP/1.1 writer nominates it in
/// Connection or leaves it out, and adds the fields of an upgrade.
///
/// The fields written are X-Forwarded-For, -Proto, -Host and -Port, Forwarded (RFC 7239) and X-Real-IP, in agreement
/// with each other, and `Early-Data: 1` while the handshake is incomplete (RFC 8470 §5.1). Scheme, host and port
/// reported by a trusted proxy are kept. Other spellings of these names, such as `X_Forwarded_For`, are removed from
/// every request.
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
    // Behind a hop, the identity would be the hop's, not the client's.
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

/// Prepares an upstream's response head for the client. `alt_svc` is the value advertised to clients on TLS over TCP
/// (RFC 7838). An upstream's own Alt-Svc names an address that the client cannot reach, and is removed.
pub fn response_fields(
    decision: &Decision<'_>,
    facts: &RequestContext<'_>,
    alt_svc: Option<&str>,
    head: &mut ResponseHead,
) {
    hop_by_hop::strip(&mut head.fields);
    head.fields.remove(Name::AltSvc);
    // A request field, which hop-by-hop stripping keeps for requests.
    head.fields.remove(Name::Te);
    if let Some(value) = alt_svc
        && facts.transport == Transport::Tls
        && (decision.http3 || decision.site.is_none())
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

/// Fields written by the proxy itself; every alias of them is removed.
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

/// Removes fields that only a proxy may set, and aliases of them and of edited fields.
fn strip_spoofable(decision: &Decision<'_>, edits: [Option<&FieldEdits>; 2], fields: &mut Fields) {
    // Other X-Forwarded- fields are kept only from a trusted proxy.
    let trusted = decision.client.is_by_hop();
    // Identity fields come only from authentication here, never from the request, since a hop may have passed on a
    // forged one.
    for name in decision.identities {
        let name = name.as_bytes();
        fields.retain(|field| !field.name.eq_ignore_ascii_case(name) && !edits::is_alias(field.name, name));
    }
    if let Some(name) = decision.address_field {
        let name = name.as_bytes();
        let written_by_hop = matches!(decision.client.source, Source::Header(TrustedHeader::Custom(_)));
        fields.retain(|field| {
            if field.name.eq_ignore_ascii_case(name) {
                written_by_hop
            } else {
                !edits::is_alias(field.name, name)
            }
        });
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
        // Any other name, `X-Forwarded-` included, may still be an alias of an edited name that has a `_`.
        _ => !is_edited(field.name),
    });
}

fn is_alias_of_ours(name: &[u8]) -> bool {
    const PREFIX: &[u8] = b"x-forwarded-";
    let prefixed =
        name.len() >= PREFIX.len() && name.iter().zip(PREFIX).all(|(a, b)| edits::folded(*a) == *b);
    prefixed || OURS.iter().any(|ours| edits::is_alias(name, ours))
}

/// Writes client, host and scheme in every form that upstreams read.
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
