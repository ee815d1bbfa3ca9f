//! The editing of request and response fields.

use super::{Decision, RequestContext, Transport, edits, rewrite, route};
use crate::client_address::Source;
use crate::config::{FieldEdits, ForwardedAs, TrustedHeader};
use crate::tailnet;
use edge_http::host::split_authority;
use edge_http::section::{digits, may_be_trailer};
use edge_http::{
    Field, Fields, Name, NameClass, NameSet, RequestHead, ResponseHead, field_names, forwarded, hop_by_hop,
};

/// Prepares a received head for forwarding. Must be called exactly once, after [`decide()`](super::decide()).
///
/// First, hop-by-hop fields are removed, except `TE: trailers`, and then the fields that only a proxy may set:
/// identity fields, the custom address field unless a trusted proxy reported the client by it, `Proxy`, names with
/// characters other than letters, digits, `-` and `_`, and other spellings of known names, such as `X_Forwarded_For`.
/// Sec-WebSocket-Key remains only for an upgrade, other X-Forwarded-* fields only from a trusted proxy.
///
/// Then X-Forwarded-For, -Proto, -Host and -Port, Forwarded (RFC 7239) and X-Real-IP are set consistently, with the
/// scheme, host and port that a trusted proxy reported. The tailnet identity and the fields of the client certificate
/// are added as configured. `Early-Data: 1` is added if [`RequestContext::early`], which must tell whether the
/// handshake is incomplete at the time of forwarding (RFC 8470 §5.1). Last, the edits of the site and of the route,
/// `strip_prefix` and `add_prefix` are applied. The writer of HTTP/1.1 nominates `TE: trailers` in Connection or omits
/// it, and adds the fields of an upgrade.
pub fn request_fields(decision: &Decision<'_>, facts: &RequestContext<'_>, head: &mut RequestHead) {
    let site = decision.site.map(|(_, site)| &site.request_fields);
    let route = decision.route.map(|(_, route)| &route.request_fields);
    hop_by_hop::strip(&mut head.fields);
    strip_spoofable(decision, [site, route], &mut head.fields);
    head.upgrade = decision.upgrade.map(Into::into);
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
    if let Some(asked) = decision.site.and_then(|(_, site)| site.client_certificates.as_ref()) {
        for (name, field) in &asked.fields {
            if let Some(value) = facts.certificate.value(*field) {
                head.fields.push(name.as_bytes(), value.as_bytes());
            }
        }
    }
    if facts.early && !head.fields.contains(Name::EarlyData) {
        head.fields.push(b"Early-Data", b"1");
    }
    for edits in [site, route].into_iter().flatten() {
        edits::apply(edits, &mut head.fields);
    }
    if let Some((_, found)) = decision.route
        && let Some(prefix) = &found.strip_prefix
        && let Some(target) = route::strip_prefix(&head.target, prefix, found.ignores_case())
    {
        head.target = target;
    }
    if let Some((_, found)) = decision.route
        && let Some(prefix) = &found.add_prefix
        && head.target.starts_with('/')
    {
        head.target = format!("{}{}", prefix.trim_end_matches('/'), head.target);
    }
}

/// Prepares a response head of an upstream, or of the proxy itself, for the client: removes hop-by-hop fields, TE and
/// the upstream's Alt-Svc, which names an address that the client cannot reach, sets the fields of the site's
/// [`ResponsePolicies`](crate::config::ResponsePolicies) in final responses, and applies the edits of the site, and the
/// cookie rules and the edits of the route. `alt_svc` is the value that is advertised to clients on TLS over TCP (RFC
/// 7838), in final responses other than 421 (§6), unless the site is not served over HTTP/3.
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
        && !head.is_interim()
        && head.status != 421
    {
        head.fields.push(b"Alt-Svc", value.as_bytes());
    }
    if let Some((_, site)) = decision.site {
        if !head.is_interim() {
            site.response_policies.apply(facts.transport.is_secure(), &mut head.fields);
        }
        edits::apply(&site.response_fields, &mut head.fields);
    }
    if let Some((_, route)) = decision.route {
        rewrite::cookies(&route.cookies, &mut head.fields);
        edits::apply(&route.response_fields, &mut head.fields);
    }
}

/// Returns the request trailers to forward: those that are allowed in a trailer section, without the fields that only
/// a proxy may set, the custom address field, and those that the site or the route edits.
///
/// A backend that merges trailers into the head thereby receives no field that was removed from the head.
pub fn request_trailers(decision: &Decision<'_>, trailers: &Fields) -> Fields {
    let site = decision.site.map(|(_, site)| &site.request_fields);
    let route = decision.route.map(|(_, route)| &route.request_fields);
    let mut kept = trailers.clone();
    kept.retain(|field| {
        may_be_trailer(field_names::folded(field.name), field.name)
            && is_forwarded(decision, false, field)
            && !decision
                .address_field
                .is_some_and(|name| field_names::is_same_variable(field.name, name.as_bytes()))
            && ![site, route].into_iter().flatten().any(|edits| edits::edits_field(edits, field.name))
    });
    kept
}

/// Returns the response trailers to forward: those that are allowed in a trailer section, without those that the site
/// or the route edits, so that no client receives in them what was removed from the head.
pub fn response_trailers(decision: &Decision<'_>, trailers: &Fields) -> Fields {
    let site = decision.site.map(|(_, site)| &site.response_fields);
    let route = decision.route.map(|(_, route)| &route.response_fields);
    let mut kept = trailers.clone();
    kept.retain(|field| {
        may_be_trailer(field.id, field.name)
            && ![site, route].into_iter().flatten().any(|edits| edits::edits_field(edits, field.name))
    });
    kept
}

/// Removes the fields that only a proxy may set ([`is_forwarded`]), other spellings of the fields in `edits`, and the
/// custom address field unless a trusted proxy reported the client's address by it.
fn strip_spoofable(decision: &Decision<'_>, edits: [Option<&FieldEdits>; 2], fields: &mut Fields) {
    // Whatever else begins with X-Forwarded- stays only if a trusted hop wrote it.
    let trusted = decision.client.is_by_hop();
    if let Some(name) = decision.address_field {
        let name = name.as_bytes();
        let written_by_hop = matches!(decision.client.source, Source::Header(TrustedHeader::Custom(_)));
        fields.retain(|field| {
            if field.name.eq_ignore_ascii_case(name) {
                written_by_hop
            } else {
                !field_names::is_same_variable(field.name, name)
            }
        });
    }
    let edited = edits.into_iter().flatten().any(|edits| !edits.is_empty());
    let class = fields.classes();
    let usual = class.is_portable() && !class.has_underscore() && !fields.may_contain(SPECIAL_NAMES);
    if usual && !edited && decision.identities.is_empty() {
        return;
    }
    let is_edited = |name: &[u8]| {
        edited && edits.into_iter().flatten().any(|edits| edits::is_alias_of_edited(edits, name))
    };
    fields.retain(|field| is_forwarded(decision, trusted, field) && !is_edited(field.name));
}

/// The known names of fields that [`is_forwarded`] removes, or forwards only under conditions.
const SPECIAL_NAMES: NameSet = NameSet::of(&[
    Name::Forwarded,
    Name::Proxy,
    Name::SecWebSocketKey,
    Name::XForwarded,
    Name::XForwardedFor,
    Name::XForwardedHost,
    Name::XForwardedPort,
    Name::XForwardedProto,
    Name::XRealIp,
]);

/// Returns whether a client's field is forwarded, apart from edits. `trusted` is true if a trusted proxy sent the
/// request. Not forwarded are names that are not portable, fields of the authenticated identity, fields that the proxy
/// sets itself, Proxy (which CGI programs take for a setting), and names that become a known one if `_` is read as
/// `-`. Other X-Forwarded-* fields are forwarded only from a trusted proxy, and Sec-WebSocket-Key only for an upgrade.
fn is_forwarded(decision: &Decision<'_>, trusted: bool, field: Field<'_>) -> bool {
    let Field { id, name, class, .. } = field;
    if !class.is_portable() {
        return false;
    }
    // Identities come from those who were asked here, never from the request; a hop may have passed a claim on.
    if decision.identities.iter().any(|identity| field_names::is_same_variable(name, identity.as_bytes())) {
        return false;
    }
    match id {
        Name::Forwarded
        | Name::XRealIp
        | Name::XForwardedFor
        | Name::XForwardedHost
        | Name::XForwardedPort
        | Name::XForwardedProto
        | Name::Proxy => false,
        Name::XForwarded => trusted && !class.has_underscore(),
        // Outside of an upgrade it means nothing, and the upgrade has exactly one.
        Name::SecWebSocketKey => decision.upgrade.is_some(),
        // Another spelling of any name that a proxy acts upon.
        Name::Other => !class.has_underscore() || field_names::folded(name) == Name::Other,
        _ => true,
    }
}

/// Appends the fields by which upstreams learn the client's address, host, port and scheme: X-Forwarded-For, -Proto,
/// -Host and -Port, X-Real-IP and Forwarded. Host, port and scheme are those that a trusted proxy reported, else those
/// of the request; without a host, X-Forwarded-Host is omitted. Only the client's address is listed if the upstream is
/// configured so, else the chain of proxies as well.
fn write_origin(decision: &Decision<'_>, facts: &RequestContext<'_>, authority: &str, fields: &mut Fields) {
    let client = &decision.client;
    let https = client.forwarded.https.unwrap_or_else(|| facts.transport.is_secure());
    let proto = if https { "https" } else { "http" };
    let host = client.forwarded.host.as_deref().unwrap_or(authority);
    let port = client.forwarded.port.unwrap_or_else(|| {
        let written =
            host.contains(':').then(|| split_authority(host)).flatten().and_then(|(_, port, _)| port);
        written.unwrap_or(if https { 443 } else { 80 })
    });
    // A service that takes the last entry for the client gets no other.
    let told = if decision.forwarded == ForwardedAs::Client { 1 } else { usize::MAX };
    fields.push_with(Name::XForwardedFor, NameClass::PLAIN, b"X-Forwarded-For", |value| {
        for (i, address) in client.chain().take(told).enumerate() {
            if i > 0 {
                value.extend_from_slice(b", ");
            }
            forwarded::write_address(address, value);
        }
    });
    fields.push_with(Name::XRealIp, NameClass::PLAIN, b"X-Real-IP", |value| {
        forwarded::write_address(client.address, value);
    });
    fields.push_known(Name::XForwardedProto, NameClass::PLAIN, b"X-Forwarded-Proto", proto.as_bytes());
    if !host.is_empty() {
        fields.push_known(Name::XForwardedHost, NameClass::PLAIN, b"X-Forwarded-Host", host.as_bytes());
    }
    fields.push_known(
        Name::XForwardedPort,
        NameClass::PLAIN,
        b"X-Forwarded-Port",
        digits(port.into(), &mut [0; 20]),
    );
    fields.push_with(Name::Forwarded, NameClass::PLAIN, b"Forwarded", |value| {
        let mut chain = client.chain().take(told);
        if let Some(first) = chain.next() {
            forwarded::write(first, Some(host).filter(|host| !host.is_empty()), Some(proto), value);
        }
        for hop in chain {
            value.extend_from_slice(b", ");
            forwarded::write(hop, None, None, value);
        }
    });
}
