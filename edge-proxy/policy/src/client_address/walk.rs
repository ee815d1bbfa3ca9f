//! The evaluation of the forwarding header, hop by hop.

use super::{
    ClientAddress, ForwardedInfo, MAX_BYTES, MAX_HOPS, MAX_LOOKUPS, Source, StopReason, parse_entry,
};
use crate::config::{Trust, TrustedHeader};
use crate::tailnet::{Identities, TailnetIdentity};
use edge_http::grammar::trim;
use edge_http::{Fields, Name, forwarded, host};
use std::net::{IpAddr, SocketAddr};

/// Restores the client's address: follows the one configured header from right to left as long as the hop reached is a
/// trusted proxy.
///
/// `source` is the peer, or the address in the connection's accepted PROXY header. `interface` is the one that the
/// connection arrived on, `None` if it is not known. `identities` are the tailnet identities of the source and of hops
/// in the header; [`next_lookup`] returns the hops to look up.
///
/// ```
/// use edge_policy::config::Trust;
/// use edge_policy::tailnet::TailnetIdentity;
/// use edge_http::Fields;
/// use edge_policy::client_address::restore;
///
/// let trust = Trust { ranges: vec!["100.64.0.0/10".parse().unwrap()], ..Trust::default() };
/// let mut fields = Fields::new();
/// // The client wrote the first entry, the edge added the second.
/// fields.push(b"X-Forwarded-For", b"10.0.0.1, 203.0.113.7");
/// let client = restore(&trust, "100.64.0.2:40000".parse().unwrap(), None, TailnetIdentity::Unasked, &fields);
/// assert_eq!(client.address.to_string(), "203.0.113.7");
/// // The header of an untrusted peer is ignored.
/// let client = restore(&trust, "198.51.100.1:40000".parse().unwrap(), None, TailnetIdentity::Unasked, &fields);
/// assert_eq!(client.address.to_string(), "198.51.100.1");
/// ```
#[inline]
pub fn restore<'i>(
    trust: &Trust,
    source: SocketAddr,
    interface: Option<&str>,
    identities: impl Into<Identities<'i>>,
    fields: &Fields,
) -> ClientAddress {
    let identities = identities.into();
    let mut client = ClientAddress {
        address: source.ip().to_canonical(),
        port: Some(source.port()),
        via: Vec::new(),
        source: Source::Connection,
        stop: StopReason::Untrusted,
        forwarded: ForwardedInfo::default(),
    };
    if is_in_range(trust, client.address) {
        follow_hops(trust, interface, identities, fields, &mut client);
    }
    client
}

/// Replaces `client`, the source of a connection in a trusted range, by the client that the header reports, as
/// [`restore`] describes.
fn follow_hops(
    trust: &Trust,
    interface: Option<&str>,
    identities: Identities<'_>,
    fields: &Fields,
    client: &mut ClientAddress,
) {
    if trust.interface.as_deref().is_some_and(|wanted| interface != Some(wanted)) {
        client.stop = StopReason::WrongInterface;
        return;
    }
    if !is_one_of(trust, identities.source) {
        client.stop = StopReason::WrongIdentity;
        return;
    }
    client.forwarded = forwarded_info(fields);
    client.stop = match &trust.header {
        TrustedHeader::XForwardedFor => walk_list(trust, identities, fields, client),
        TrustedHeader::Forwarded => walk_forwarded(trust, identities, fields, client),
        header @ TrustedHeader::XRealIp => one_address(fields.all(Name::XRealIp), header.clone(), client),
        header @ TrustedHeader::Custom(name) => {
            let values = fields.iter().filter(|field| field.name.eq_ignore_ascii_case(name.as_bytes()));
            one_address(values.map(|field| field.value), header.clone(), client)
        }
    };
}

/// Returns the hop in the header whose tailnet identity [`restore`] needs and that was not looked up. `None` if there
/// is none, the rules name no identities, or [`MAX_LOOKUPS`] hops were looked up, so that a long header cannot cause
/// more.
///
/// The caller looks up the hop, adds the result to `identities`, and calls this again until the result is `None`.
pub fn next_lookup<'i>(
    trust: &Trust,
    source: SocketAddr,
    interface: Option<&str>,
    identities: impl Into<Identities<'i>>,
    fields: &Fields,
) -> Option<IpAddr> {
    let identities = identities.into();
    if trust.who.is_empty() || identities.hops.len() >= MAX_LOOKUPS {
        return None;
    }
    let client = restore(trust, source, interface, identities, fields);
    let asks = client.stop == StopReason::WrongIdentity && !client.via.is_empty();
    Some(client.address).filter(|hop| asks && identities.of(*hop).is_none())
}

/// Returns whether an address is in a trusted range.
fn is_in_range(trust: &Trust, address: IpAddr) -> bool {
    trust.ranges.iter().any(|range| range.contains(&address))
}

/// Returns the reason to stop at an address in the header. `None` if the address is that of a trusted proxy, so that
/// the evaluation continues.
fn stop_reason(trust: &Trust, identities: Identities<'_>, address: IpAddr) -> Option<StopReason> {
    if !is_in_range(trust, address) {
        return Some(StopReason::Untrusted);
    }
    let identity = identities.of(address).unwrap_or_default();
    (!is_one_of(trust, identity)).then_some(StopReason::WrongIdentity)
}

/// Returns whether this identity is that of a trusted proxy. True if no identities are configured. If tailscaled could
/// not be reached, the result is `trust.fallback`.
fn is_one_of(trust: &Trust, identity: TailnetIdentity<'_>) -> bool {
    if trust.who.is_empty() {
        return true;
    }
    match identity {
        TailnetIdentity::Known(node) => trust.who.iter().any(|who| who.is(node)),
        TailnetIdentity::Nobody | TailnetIdentity::Unasked => false,
        TailnetIdentity::Unreachable => trust.fallback,
    }
}

/// Makes this address and port, which were read from `header`, the client's, and the previous address the first of the
/// hops.
fn advance(client: &mut ClientAddress, (address, port): (IpAddr, Option<u16>), header: TrustedHeader) {
    client.via.insert(0, client.address);
    (client.address, client.port, client.source) = (address, port, Source::Header(header));
}

/// Restores the client from X-Forwarded-For: reads the entries from right to left into `client`, up to and with the
/// first that is not a trusted proxy. Returns the reason to stop.
fn walk_list(
    trust: &Trust,
    identities: Identities<'_>,
    fields: &Fields,
    client: &mut ClientAddress,
) -> StopReason {
    let mut bytes = 0;
    for line in fields.all(Name::XForwardedFor).rev() {
        for entry in line.rsplit(|b| *b == b',') {
            bytes += entry.len() + 1;
            if bytes > MAX_BYTES || client.via.len() >= MAX_HOPS {
                return StopReason::TooLong;
            }
            let entry = trim(entry);
            // An empty element of a list is ignored (RFC 9110 §5.6.1.2).
            if entry.is_empty() {
                continue;
            }
            let Some(found) = parse_entry(entry) else {
                return StopReason::Garbage;
            };
            advance(client, found, TrustedHeader::XForwardedFor);
            if let Some(stop) = stop_reason(trust, identities, found.0) {
                return stop;
            }
        }
    }
    StopReason::End
}

/// Restores the client from Forwarded (RFC 7239): reads the elements from right to left into `client`, up to and with
/// the first that is not a trusted proxy. The scheme and host are those of the leftmost element read that has them.
/// Returns the reason to stop.
fn walk_forwarded(
    trust: &Trust,
    identities: Identities<'_>,
    fields: &Fields,
    client: &mut ClientAddress,
) -> StopReason {
    let mut bytes = 0;
    // The last element is the client's own connection to the hop; further left are earlier connections.
    for line in fields.all(Name::Forwarded).rev() {
        bytes += line.len();
        if bytes > MAX_BYTES {
            return StopReason::TooLong;
        }
        // A quoted string may contain commas, so a line can only be parsed from its left. A line that does not parse as
        // a whole is ignored.
        let Ok(elements) = forwarded::parse(line) else {
            return StopReason::Garbage;
        };
        for element in elements.iter().rev() {
            if client.via.len() >= MAX_HOPS {
                return StopReason::TooLong;
            }
            let Some(found) = element.node.as_deref().and_then(parse_entry) else {
                return StopReason::Garbage;
            };
            advance(client, found, TrustedHeader::Forwarded);
            if let Some(proto) = &element.proto {
                client.forwarded.https = https(proto);
            }
            if let Some(host) = &element.host {
                client.forwarded.host = authority(host);
            }
            if let Some(stop) = stop_reason(trust, identities, found.0) {
                return stop;
            }
        }
    }
    StopReason::End
}

/// Restores the client from the values of a field with a single address, which may occur once. `header` is the field.
/// Returns the reason to stop.
fn one_address<'v>(
    mut values: impl Iterator<Item = &'v [u8]>,
    header: TrustedHeader,
    client: &mut ClientAddress,
) -> StopReason {
    match (values.next(), values.next()) {
        (None, _) => StopReason::End,
        // A trusted proxy writes one field. With two, one of them may be forged.
        (Some(_), Some(_)) => StopReason::Garbage,
        (Some(value), None) => match parse_entry(trim(value)) {
            Some(found) => {
                advance(client, found, header);
                StopReason::Untrusted
            }
            None => StopReason::Garbage,
        },
    }
}

/// Returns the scheme, host and port that a trusted proxy reported in X-Forwarded-Proto, -Host and -Port. A field that
/// is repeated or malformed is ignored.
fn forwarded_info(fields: &Fields) -> ForwardedInfo {
    let one = |id| {
        let mut values = fields.all(id);
        match (values.next(), values.next()) {
            (Some(value), None) => Some(trim(value)),
            _ => None,
        }
    };
    ForwardedInfo {
        https: one(Name::XForwardedProto).and_then(https),
        host: one(Name::XForwardedHost).and_then(authority),
        port: one(Name::XForwardedPort).and_then(|value| std::str::from_utf8(value).ok()?.parse().ok()),
    }
}

/// Returns true for the schemes `https` and `wss`, and false for `http` and `ws`, compared without regard to case. `None`
/// for any other. Traefik writes those of WebSocket in the fields of a request that switches to it.
fn https(proto: &[u8]) -> Option<bool> {
    let is_one_of = |schemes: [&[u8]; 2]| schemes.iter().any(|scheme| proto.eq_ignore_ascii_case(scheme));
    if is_one_of([b"https", b"wss"]) {
        Some(true)
    } else if is_one_of([b"http", b"ws"]) {
        Some(false)
    } else {
        None
    }
}

/// Returns the text of a field value that is an authority. `None` if it is malformed.
fn authority(value: &[u8]) -> Option<Box<str>> {
    let text = std::str::from_utf8(value).ok()?;
    host::split_authority(text).map(|_| text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trust(header: TrustedHeader) -> Trust {
        Trust {
            ranges: ["100.64.0.0/10", "fd7a:115c:a1e0::/48"].map(|range| range.parse().unwrap()).into(),
            header,
            ..Trust::default()
        }
    }

    fn restored(header: TrustedHeader, peer: &str, fields: &[(&str, &str)]) -> (String, StopReason, usize) {
        let fields = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        let client = restore(&trust(header), peer.parse().unwrap(), None, TailnetIdentity::Unasked, &fields);
        (client.address.to_string(), client.stop, client.via.len())
    }

    const HOP: &str = "100.64.0.2:1";

    #[test]
    fn x_forwarded_for() {
        let restored =
            |peer, value| restored(TrustedHeader::XForwardedFor, peer, &[("X-Forwarded-For", value)]);
        let is = |ip: &str, stop, via| (ip.to_string(), stop, via);
        assert_eq!(restored(HOP, "203.0.113.7"), is("203.0.113.7", StopReason::Untrusted, 1));
        assert_eq!(
            restored(HOP, "6.6.6.6, 203.0.113.7, 100.64.0.9"),
            is("203.0.113.7", StopReason::Untrusted, 2)
        );
        assert_eq!(restored("203.0.113.1:1", "6.6.6.6"), is("203.0.113.1", StopReason::Untrusted, 0));
        assert_eq!(
            restored("[::ffff:100.64.0.2]:1", "203.0.113.7"),
            is("203.0.113.7", StopReason::Untrusted, 1)
        );
        assert_eq!(restored(HOP, "6.6.6.6, unknown"), is("100.64.0.2", StopReason::Garbage, 0));
        assert_eq!(restored(HOP, "6.6.6.6, ,203.0.113.7, "), is("203.0.113.7", StopReason::Untrusted, 1));
        assert_eq!(restored(HOP, " ,,"), is("100.64.0.2", StopReason::End, 0));
        assert_eq!(restored(HOP, "6.6.6.6,_x,100.64.0.9"), is("100.64.0.9", StopReason::Garbage, 1));
        assert_eq!(restored(HOP, "100.64.0.9"), is("100.64.0.9", StopReason::End, 1));
        let many = vec!["100.64.0.9"; 40].join(",");
        assert_eq!(restored(HOP, &many), is("100.64.0.9", StopReason::TooLong, MAX_HOPS));
        let padded = format!("6.6.6.6,{}100.64.0.9", " ".repeat(MAX_BYTES));
        assert_eq!(restored(HOP, &padded), is("100.64.0.2", StopReason::TooLong, 0));
    }

    #[test]
    fn lines_are_joined_and_headers_never_merged() {
        let fields = [
            ("X-Forwarded-For", "6.6.6.6"),
            ("Forwarded", "for=7.7.7.7"),
            ("x-forwarded-for", "203.0.113.7"),
        ];
        assert_eq!(restored(TrustedHeader::XForwardedFor, HOP, &fields).0, "203.0.113.7");
        assert_eq!(restored(TrustedHeader::Forwarded, HOP, &fields).0, "7.7.7.7");
        assert_eq!(restored(TrustedHeader::XRealIp, HOP, &fields), ("100.64.0.2".into(), StopReason::End, 0));
    }

    #[test]
    fn the_forwarded_field() {
        let restored = |value| restored(TrustedHeader::Forwarded, HOP, &[("Forwarded", value)]);
        assert_eq!(restored("for=6.6.6.6, for=\"[2001:db8::7]:80\";proto=https").0, "2001:db8::7");
        assert_eq!(restored("for=6.6.6.6, for=_x").1, StopReason::Garbage);
        // A forged open quote must not swallow what the trusted proxy added.
        assert_eq!(
            restored("for=6.6.6.6;x=\", for=203.0.113.7"),
            ("100.64.0.2".into(), StopReason::Garbage, 0)
        );
        assert_eq!(
            restored("for=6.6.6.6;x=\", for=\"203.0.113.7\""),
            ("100.64.0.2".into(), StopReason::Garbage, 0)
        );
    }

    #[test]
    fn one_x_real_ip_only() {
        let real = |fields: &[(&str, &str)]| restored(TrustedHeader::XRealIp, HOP, fields);
        assert_eq!(real(&[("X-Real-IP", "203.0.113.7")]).0, "203.0.113.7");
        assert_eq!(real(&[("X-Real-IP", "6.6.6.6"), ("X-Real-IP", "203.0.113.7")]).1, StopReason::Garbage);
    }

    #[test]
    fn a_range_counts_only_on_its_interface() {
        let trust = Trust { interface: Some("tailscale0".into()), ..trust(TrustedHeader::XForwardedFor) };
        let fields: Fields = [(&b"X-Forwarded-For"[..], &b"203.0.113.7"[..])].into_iter().collect();
        let restore =
            |interface| restore(&trust, HOP.parse().unwrap(), interface, TailnetIdentity::Unasked, &fields);
        assert_eq!(restore(Some("tailscale0")).stop, StopReason::Untrusted);
        for other in [None, Some("eth0"), Some("")] {
            let client = restore(other);
            assert_eq!(
                (client.stop, client.address.to_string()),
                (StopReason::WrongInterface, "100.64.0.2".into())
            );
        }
    }
}
