//! Properties of the restored client address, of Forwarded and of the PROXY protocol.

use edge_http::Fields;
use edge_http::forwarded;
use edge_http::proxy_protocol::{self, ProxyHeader, v1, v2};
use edge_policy::client_address::{MAX_HOPS, MAX_LOOKUPS, StopReason, next_lookup, parse_entry, restore};
use edge_policy::config::{Trust, TrustedHeader};
use edge_policy::tailnet::{Identities, IdentityMatcher, Node, TailnetIdentity};
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

const HEADERS: [TrustedHeader; 3] =
    [TrustedHeader::XForwardedFor, TrustedHeader::Forwarded, TrustedHeader::XRealIp];

fn trust(header: TrustedHeader) -> Trust {
    Trust { ranges: vec!["100.64.0.0/10".parse().unwrap()], header, ..Trust::default() }
}

fn is_hop(address: IpAddr) -> bool {
    trust(TrustedHeader::XForwardedFor).ranges[0].contains(&address)
}

fn hop() -> impl Strategy<Value = IpAddr> {
    (64u8..128, any::<u8>(), any::<u8>()).prop_map(|(b, c, d)| IpAddr::from([100, b, c, d]))
}

fn stranger() -> impl Strategy<Value = IpAddr> {
    any::<IpAddr>()
        .prop_map(|address| address.to_canonical())
        .prop_filter("no hop", |address| !is_hop(*address))
}

fn entry() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<IpAddr>().prop_map(|address| address.to_string()),
        any::<SocketAddr>().prop_map(|address| address.to_string()),
        hop().prop_map(|address| address.to_string()),
        "[ -~]{0,12}",
        Just("unknown".to_string()),
    ]
}

fn fields(lines: &[String]) -> Fields {
    let names = ["X-Forwarded-For", "Forwarded", "X-Real-IP"];
    lines.iter().flat_map(|line| names.map(|name| (name.as_bytes(), line.as_bytes()))).collect()
}

/// A few addresses, most of them in trusted ranges, so that they occur together.
fn near() -> impl Strategy<Value = IpAddr> {
    prop_oneof![4 => (0u8..12).prop_map(|d| IpAddr::from([100, 64, 0, d])), 1 => (0u8..4).prop_map(|d| IpAddr::from([203, 0, 113, d]))]
}

/// Returns both header fields with these addresses.
fn listed(entries: &[IpAddr]) -> Fields {
    let list = |each: fn(&IpAddr) -> String| entries.iter().map(each).collect::<Vec<_>>().join(", ");
    let (plain, forwarded) = (list(ToString::to_string), list(|address| format!("for={address}")));
    let fields = [("X-Forwarded-For", &plain), ("Forwarded", &forwarded)];
    fields
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
        .collect()
}

proptest! {
    #[test]
    fn what_is_left_of_a_stranger_never_counts(
        spoofed in proptest::collection::vec(entry(), 0..5),
        client in stranger(),
        hops in proptest::collection::vec(hop(), 0..5),
        peer in hop(),
    ) {
        let list = spoofed.into_iter().chain([client.to_string()]).chain(hops.iter().map(ToString::to_string));
        let line = list.collect::<Vec<_>>().join(", ");
        let fields: Fields = [(&b"x-forwarded-for"[..], line.as_bytes())].into_iter().collect();
        let found = restore(&trust(TrustedHeader::XForwardedFor), (peer, 1).into(), None, TailnetIdentity::Unasked, &fields);
        prop_assert_eq!(found.address, client);
        prop_assert_eq!(found.stop, StopReason::Untrusted);
        prop_assert_eq!(found.via, hops.into_iter().chain([peer]).collect::<Vec<_>>());
    }

    #[test]
    fn a_strangers_word_never_counts(
        lines in proptest::collection::vec("[ -~]{0,60}", 0..4), peer in stranger(), which in 0..3usize,
    ) {
        let found = restore(&trust(HEADERS[which].clone()), (peer, 1).into(), None, TailnetIdentity::Unasked, &fields(&lines));
        prop_assert_eq!((found.address, found.via.len()), (peer, 0));
        prop_assert_eq!(found.forwarded, Default::default());
    }

    #[test]
    fn only_verified_addresses_are_returned(
        lines in proptest::collection::vec(proptest::collection::vec(entry(), 0..50), 0..3),
        peer in any::<IpAddr>(),
        which in 0..3usize,
    ) {
        let lines: Vec<String> = lines.iter().map(|entries| entries.join(",")).collect();
        let found = restore(&trust(HEADERS[which].clone()), (peer, 1).into(), None, TailnetIdentity::Unasked, &fields(&lines));
        // Each proxy on the path is trusted, and the last is the connection's source.
        prop_assert!(found.via.iter().all(|address| is_hop(*address)));
        prop_assert!(found.via.len() <= MAX_HOPS);
        prop_assert_eq!(found.chain().last(), Some(peer.to_canonical()));
        prop_assert_eq!(found.address, found.address.to_canonical());
    }

    /// With identities, each proxy on the path is identified as one of ours, not only located in the range.
    #[test]
    fn only_hops_that_are_who_they_should_be_are_passed(
        entries in proptest::collection::vec(near(), 0..12),
        ours in proptest::collection::hash_set(near(), 0..6),
        peer in near(),
        fallback in any::<bool>(),
        which in 0..2usize,
    ) {
        let trust = Trust { who: vec![IdentityMatcher::Tag("tag:edge".into())], fallback, ..trust(HEADERS[which].clone()) };
        let edge = Node { tags: vec!["tag:edge".into()], ..Node::default() };
        let fields = listed(&entries);
        let said = |address: IpAddr| if ours.contains(&address) { TailnetIdentity::Known(&edge) } else { TailnetIdentity::Nobody };
        let mut hops = Vec::new();
        loop {
            let identities = Identities { source: said(peer), hops: &hops };
            let Some(hop) = next_lookup(&trust, (peer, 1).into(), None, identities, &fields) else { break };
            // Each is asked about once, and only addresses in trusted positions.
            prop_assert!(is_hop(hop) && hops.iter().all(|(known, _)| *known != hop));
            hops.push((hop, said(hop)));
            prop_assert!(hops.len() <= MAX_LOOKUPS);
        }
        let found = restore(&trust, (peer, 1).into(), None, Identities { source: said(peer), hops: &hops }, &fields);
        prop_assert!(found.via.iter().all(|hop| ours.contains(hop)));
        prop_assert!(found.stop != StopReason::WrongIdentity || is_hop(found.address));
        // The walk reaches the address of one that knows all of them, unless they were too many to ask about.
        let all: Vec<_> = entries.iter().map(|address| (*address, said(*address))).collect();
        let known = restore(&trust, (peer, 1).into(), None, Identities { source: said(peer), hops: &all }, &fields);
        if hops.len() < MAX_LOOKUPS {
            prop_assert_eq!((found.address, &found.via, found.stop), (known.address, &known.via, known.stop));
        } else {
            prop_assert!(known.via.ends_with(&found.via));
        }
        // Without identities the same ranges trust every address in them: more, never others.
        let ranges = restore(&Trust { who: Vec::new(), ..trust }, (peer, 1).into(), None, TailnetIdentity::Unasked, &fields);
        prop_assert!(ranges.via.ends_with(&found.via));
    }

    #[test]
    fn while_nobody_can_be_asked_the_range_counts_only_by_the_fallback(
        entries in proptest::collection::vec(near(), 0..12), peer in near(), fallback in any::<bool>(), which in 0..2usize,
    ) {
        let trust = Trust { who: vec![IdentityMatcher::Tag("tag:edge".into())], fallback, ..trust(HEADERS[which].clone()) };
        let fields = listed(&entries);
        let hops: Vec<_> = entries.iter().map(|address| (*address, TailnetIdentity::Unreachable)).collect();
        let identities = Identities { source: TailnetIdentity::Unreachable, hops: &hops };
        let found = restore(&trust, (peer, 1).into(), None, identities, &fields);
        let ranges = restore(&Trust { who: Vec::new(), ..trust }, (peer, 1).into(), None, TailnetIdentity::Unasked, &fields);
        if fallback {
            prop_assert_eq!(found, ranges);
        } else {
            prop_assert_eq!((found.address, found.via.len()), (peer, 0));
        }
    }

    #[test]
    fn an_entry_is_read_as_it_is_written(address in any::<SocketAddr>()) {
        let ip = address.ip().to_canonical();
        prop_assert_eq!(parse_entry(address.to_string().as_bytes()), Some((ip, Some(address.port()))));
        prop_assert_eq!(parse_entry(address.ip().to_string().as_bytes()), Some((ip, None)));
    }

    #[test]
    fn no_bytes_are_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
        let _ = parse_entry(&bytes);
        let _ = forwarded::parse(&bytes);
        let _ = proxy_protocol::parse(&bytes);
        let _ = v2::parse(&[b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x20", &bytes[..]].concat());
    }

    #[test]
    fn forwarded_is_read_as_it_is_written(node in any::<IpAddr>(), host in "[ -~]{1,20}", proto in "https?") {
        let mut line = Vec::new();
        forwarded::write(node, Some(&host), Some(&proto), &mut line);
        line.extend_from_slice(b", ");
        forwarded::write(node, None, None, &mut line);
        let elements = forwarded::parse(&line).unwrap();
        prop_assert_eq!(elements.len(), 2);
        prop_assert_eq!(elements[0].host.as_deref(), Some(host.as_bytes()));
        prop_assert_eq!(elements[0].proto.as_deref(), Some(proto.as_bytes()));
        prop_assert_eq!(parse_entry(elements[1].node.as_deref().unwrap()), Some((node.to_canonical(), None)));
    }

    #[test]
    fn proxy_headers_are_read_as_they_are_written(
        source in any::<SocketAddr>(), destination in any::<SocketAddr>(), rest in any::<[u8; 4]>(),
    ) {
        let plain = |address: SocketAddr| SocketAddr::new(address.ip(), address.port());
        let header = ProxyHeader::Proxied { source: plain(source), destination: plain(destination) };
        for write in [v1::write, v2::write] {
            let mut bytes = Vec::new();
            write(&header, &mut bytes);
            let length = bytes.len();
            bytes.extend_from_slice(&rest);
            let Ok(Some((ProxyHeader::Proxied { source: from, destination: to }, used))) = proxy_protocol::parse(&bytes)
            else {
                return Err(TestCaseError::fail("not read"));
            };
            prop_assert_eq!(used, length);
            prop_assert_eq!((from.ip().to_canonical(), from.port()), (source.ip().to_canonical(), source.port()));
            prop_assert_eq!((to.ip().to_canonical(), to.port()), (destination.ip().to_canonical(), destination.port()));
            if source.is_ipv4() == destination.is_ipv4() {
                prop_assert_eq!(ProxyHeader::Proxied { source: from, destination: to }, header);
            }
            // No prefix of it is rejected, or accepted as complete.
            for end in 0..length {
                prop_assert_eq!(proxy_protocol::parse(&bytes[..end]), Ok(None));
            }
        }
    }
}

#[test]
fn local_headers() {
    for write in [v1::write, v2::write] {
        let mut bytes = Vec::new();
        write(&ProxyHeader::Local, &mut bytes);
        assert_eq!(proxy_protocol::parse(&bytes), Ok(Some((ProxyHeader::Local, bytes.len()))));
    }
    let fields: Fields = [(&b"X-Forwarded-For"[..], &b"192.0.2.1"[..])].into_iter().collect();
    let nobody =
        restore(&Trust::default(), (Ipv4Addr::LOCALHOST, 1).into(), None, TailnetIdentity::Unasked, &fields);
    assert_eq!(nobody.address, Ipv4Addr::LOCALHOST);
}
