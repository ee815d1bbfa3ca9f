//! The first packets of QUIC connections: what a forged address costs the one whose it is, and what half a ClientHello is answered.

#![cfg(feature = "server")]

mod common;

use common::{Edge, http1, tls};
use edge_http::h3::client_hello;
use edge_http::h3::initial::{self, CryptoBuffer, LongPacketType};
use edge_proxy::Reason;
use edge_proxy::config::Reject;
use quinn::crypto::rustls::QuicClientConfig;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;
use testkit::{Origin, tls_client};

/// An address of its own for the client whose address is forged.
const VICTIM: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);

fn quic(root: &str) -> quinn::ClientConfig {
    let tls = QuicClientConfig::try_from(tls_client(root, &[b"h3"])).unwrap();
    quinn::ClientConfig::new(Arc::new(tls))
}

/// The first flights of so many connections for this name, without retransmissions: two datagrams each, since a post-quantum
/// ClientHello takes two.
async fn first_flights(root: &str, name: &str, count: usize) -> Vec<[Vec<u8>; 2]> {
    let trap = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let endpoint = quinn::Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let mut flights = Vec::new();
    let mut buffer = [0; 2000];
    for _ in 0..count {
        let _connecting = endpoint.connect_with(quic(root), trap.local_addr().unwrap(), name).unwrap();
        let mut flight = [Vec::new(), Vec::new()];
        for datagram in &mut flight {
            let n = trap.recv(&mut buffer).await.unwrap();
            datagram.extend_from_slice(&buffer[..n]);
        }
        drop(_connecting);
        // Whatever it still says is not part of the flight.
        while tokio::time::timeout(Duration::from_millis(5), trap.recv(&mut buffer)).await.is_ok() {}
        flights.push(flight);
    }
    flights
}

fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(300), future).await.unwrap() })
}

#[test]
fn a_forged_address_locks_nobody_out() {
    let origin = Origin::simple();
    let mut edge = Edge::before(origin.address(), 1);
    edge.config.limits.connections_per_client = 24;
    edge.proxy.reload(edge.config.clone()).unwrap();
    run(async {
        let forger = UdpSocket::bind((VICTIM, 0)).unwrap();
        for flight in first_flights(edge.root(), "a.test", 120).await {
            for datagram in flight {
                forger.send_to(&datagram, edge.tls()).unwrap();
            }
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        // From the same address: over QUIC, after it was proved.
        let endpoint = quinn::Endpoint::client((VICTIM, 0).into()).unwrap();
        let connecting = endpoint.connect_with(quic(edge.root()), edge.tls(), "a.test").unwrap();
        let connected = tokio::time::timeout(Duration::from_secs(5), connecting).await;
        connected.expect("an answer").expect("a connection over QUIC");
    });
    // And over TCP.
    for _ in 0..3 {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((VICTIM, 0)).into()).unwrap();
        socket.connect(&edge.tls().into()).unwrap();
        let session =
            rustls::ClientConnection::new(http1(edge.root()), "a.test".try_into().unwrap()).unwrap();
        let mut stream = rustls::StreamOwned::new(session, TcpStream::from(socket));
        stream.write_all(b"GET /here HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        // The end may come without a farewell of TLS.
        let _ = stream.read_to_string(&mut answer);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    // Another client is not concerned at all.
    drop(tls(edge.tls(), &http1(edge.root())).unwrap());
}

#[test]
fn half_a_hello_is_acknowledged_if_it_names_a_site() {
    let origin = Origin::simple();
    let edge = Edge::before(origin.address(), 1);
    run(async {
        let answered = async |datagrams: &[&Vec<u8>]| {
            let client = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            for datagram in datagrams {
                client.send_to(datagram, edge.tls()).await.unwrap();
            }
            tokio::time::timeout(Duration::from_millis(300), client.recv(&mut [0; 2000])).await.is_ok()
        };
        let (mut halves, mut both) = (0, 0);
        for [first, second] in first_flights(edge.root(), "a.test", 12).await {
            // The name is in one of them, wherever the client put it, unless it lies across both.
            if answered(&[&first]).await || answered(&[&second]).await {
                halves += 1;
            }
        }
        for [first, second] in first_flights(edge.root(), "a.test", 3).await {
            both += usize::from(answered(&[&first, &second]).await);
        }
        assert_eq!(both, 3);
        assert!(halves >= 9, "{halves} of 12");
        for [first, second] in first_flights(edge.root(), "b.test", 4).await {
            assert!(!answered(&[&first]).await && !answered(&[&second]).await);
            assert!(!answered(&[&first, &second]).await, "strangers hear nothing");
        }
    });
}

/// A client without a post-quantum key share, whose first flight is one datagram.
fn classic(root: &str, mtu: u16) -> quinn::ClientConfig {
    let mut tls = tls_client(root, &[b"h3"]);
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.kx_groups.retain(|group| group.name() == rustls::NamedGroup::X25519);
    let mut roots = rustls::RootCertStore::empty();
    use rustls::pki_types::pem::PemObject;
    roots.add(rustls::pki_types::CertificateDer::from_pem_slice(root.as_bytes()).unwrap()).unwrap();
    let alpn = std::mem::take(&mut tls.alpn_protocols);
    tls = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = alpn;
    let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
    let mut transport = quinn::TransportConfig::default();
    transport.initial_mtu(mtu);
    config.transport_config(Arc::new(transport));
    config
}

/// An edge whose certificate chain has more than nine kilobytes.
fn with_a_long_chain() -> Edge {
    let edge = Edge::before(Origin::simple().address(), 1);
    let path = edge.folder.path().join("test/fullchain.pem");
    let mut chain = std::fs::read_to_string(&path).unwrap();
    while chain.len() < 9 * 1024 * 4 / 3 {
        chain.push_str(&edge.authority.issue(&["an intermediate certificate of some length.test"]).0);
    }
    std::fs::write(&path, chain).unwrap();
    assert_eq!(edge.certificates.refresh().unwrap().swapped.len(), 1);
    edge
}

#[test]
fn d6_no_byte_more_than_three_times_what_an_unproved_address_sent() {
    let edge = with_a_long_chain();
    run(async {
        for mtu in [1200, 1201, 1350, 1452] {
            let trap = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            let endpoint = quinn::Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
            let _connecting = endpoint
                .connect_with(classic(edge.root(), mtu), trap.local_addr().unwrap(), "a.test")
                .unwrap();
            let mut flight = [0; 2000];
            let sent = trap.recv(&mut flight).await.unwrap();
            let client = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            client.send_to(&flight[..sent], edge.tls()).await.unwrap();
            let mut back = Vec::new();
            let mut datagram = [0; 2000];
            // Its retransmissions count too.
            while let Ok(Ok(n)) =
                tokio::time::timeout(Duration::from_millis(1500), client.recv(&mut datagram)).await
            {
                back.push(n);
            }
            let all: usize = back.iter().sum();
            assert!(all > 2 * sent, "{back:?} for {sent}");
            assert!(all <= 3 * sent, "{back:?} for {sent}");
        }
    });
}

#[test]
fn d6_a_long_chain_arrives_within_the_limit() {
    let edge = with_a_long_chain();
    run(async {
        for mtu in [1200, 1350, 1452] {
            for config in [classic(edge.root(), mtu), quic(edge.root())] {
                let endpoint = quinn::Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
                let connecting = endpoint.connect_with(config, edge.tls(), "a.test").unwrap();
                let connected = tokio::time::timeout(Duration::from_secs(5), connecting).await;
                connected.expect("in time").expect("a connection");
            }
        }
    });
}

/// Relays between one client and the edge until it is aborted, without the datagrams of these numbers on the way back. After the
/// first flight no Initial packet passes: a client that has the keys of the handshake sends small probes then, as ngtcp2 does.
async fn losing(edge: SocketAddr, lost: Vec<usize>) -> (SocketAddr, tokio::task::JoinHandle<()>) {
    let near = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let far = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    far.connect(edge).await.unwrap();
    let address = near.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let (mut up, mut down, mut client, mut sent, mut count) = ([0; 2000], [0; 2000], None, 0, 0);
        loop {
            tokio::select! {
                Ok((n, from)) = near.recv_from(&mut up) => {
                    client = Some(from);
                    let initial = up[0] & 0xf0 == 0xc0;
                    if !initial || sent < 2 {
                        far.send(&up[..n]).await.unwrap();
                    }
                    sent += 1;
                }
                Ok(n) = far.recv(&mut down) => {
                    if !lost.contains(&count) {
                        near.send_to(&down[..n], client.unwrap()).await.unwrap();
                    }
                    count += 1;
                }
            }
        }
    });
    (address, task)
}

/// Decrypts the Initial packet at the beginning of a datagram of the client or of the server, if it is one of the first few.
/// Returns its frames, and what comes after it. `first` is the connection ID that the client chose for its first flight.
fn opened(datagram: &[u8], first: &[u8], by: rustls::Side) -> (Vec<u8>, Vec<u8>) {
    let suite = rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
    let suite = suite.tls13().unwrap().quic_suite().unwrap();
    let header = initial::long_header(datagram).unwrap();
    assert_eq!(header.kind, LongPacketType::Initial);
    // The packets of one side are opened with the keys that the other has for what is remote.
    let other = if by == rustls::Side::Client { rustls::Side::Server } else { rustls::Side::Client };
    let keys = suite.keys(first, other, rustls::quic::Version::V1).remote;
    let (number_at, end) = header.extent(datagram).unwrap();
    let mut packet = datagram[..end].to_vec();
    let sample = packet[number_at + 4..][..keys.header.sample_len()].to_vec();
    let (head, number) = packet[..number_at + 4].split_at_mut(number_at);
    keys.header.decrypt_in_place(&sample, &mut head[0], number).unwrap();
    let length = usize::from(head[0] & 3) + 1;
    let number = number[..length].iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    let (head, payload) = packet.split_at_mut(number_at + length);
    let payload = keys.packet.decrypt_in_place(number, head, payload).unwrap();
    (payload.to_vec(), datagram[end..].to_vec())
}

/// Returns the connection ID that a datagram of the client is for.
fn destination(datagram: &[u8]) -> Vec<u8> {
    initial::long_header(datagram).unwrap().destination.to_vec()
}

/// Returns whether a datagram of a first flight has a part of the ClientHello with this server name.
fn names(datagram: &[u8], name: &str) -> bool {
    let (frames, _) = opened(datagram, &destination(datagram), rustls::Side::Client);
    let mut hello = CryptoBuffer::new();
    hello.take_frames(&frames).unwrap();
    hello.parts().flat_map(client_hello::names).any(|found| found == name)
}

/// Returns whether a datagram of the server has nothing but acknowledgements. `first` is the connection ID that the client chose
/// for its first flight.
fn only_acknowledges(datagram: &[u8], first: &[u8]) -> bool {
    let (frames, rest) = opened(datagram, first, rustls::Side::Server);
    let mut crypto = CryptoBuffer::new();
    // CONNECTION_CLOSE is an error of this parser.
    crypto.take_frames(&frames).is_ok() && crypto.parts().count() == 0 && rest.iter().all(|byte| *byte == 0)
}

/// The first events after the loss of a half of a ClientHello, as a relay sees them.
#[derive(Clone, Copy, Debug, PartialEq)]
enum AfterLoss {
    /// The edge answered first.
    Edge,
    /// The client repeated its flight, since nothing had come for a second.
    Client,
    /// Neither half has the whole name, so that there is nothing to answer.
    Unnamed,
}

/// Relays between one client and the edge until it is aborted, without that of the first two datagrams which does not
/// name the site. Says what came next.
async fn losing_a_half(
    edge: SocketAddr,
    says: tokio::sync::oneshot::Sender<AfterLoss>,
) -> (SocketAddr, tokio::task::JoinHandle<()>) {
    let near = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let far = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    far.connect(edge).await.unwrap();
    let address = near.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let (mut up, mut down) = ([0; 2000], [0; 2000]);
        let mut halves = Vec::new();
        let (mut n, client) = near.recv_from(&mut up).await.unwrap();
        halves.push(up[..n].to_vec());
        (n, _) = near.recv_from(&mut up).await.unwrap();
        halves.push(up[..n].to_vec());
        let named: Vec<_> = halves.iter().filter(|half| names(half, "a.test")).collect();
        let mut says = Some(says);
        let mut say = |what| _ = says.take().map(|says| says.send(what));
        match named[..] {
            [half] => _ = far.send(half).await.unwrap(),
            _ => {
                say(AfterLoss::Unnamed);
                for half in &halves {
                    far.send(half).await.unwrap();
                }
            }
        }
        loop {
            tokio::select! {
                // If both are there, the edge's was not waited for.
                biased;
                Ok(n) = far.recv(&mut down) => {
                    say(AfterLoss::Edge);
                    near.send_to(&down[..n], client).await.unwrap();
                }
                Ok((n, _)) = near.recv_from(&mut up) => {
                    say(AfterLoss::Client);
                    far.send(&up[..n]).await.unwrap();
                }
            }
        }
    });
    (address, task)
}

/// Either datagram of a ClientHello of two may be lost. If the other one has the name, the edge acknowledges it, so
/// that the client repeats what is missing without waiting for its timer of a second.
#[test]
fn a_lost_half_of_the_client_hello_costs_no_second() {
    let edge = Edge::before(Origin::simple().address(), 1);
    run(async {
        let mut after = Vec::new();
        for _ in 0..16 {
            let (says, said) = tokio::sync::oneshot::channel();
            let (address, relay) = losing_a_half(edge.tls(), says).await;
            let endpoint = quinn::Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
            let connecting = endpoint.connect_with(quic(edge.root()), address, "a.test").unwrap();
            let connected = tokio::time::timeout(Duration::from_secs(20), connecting).await;
            connected.expect("in time").expect("a connection");
            after.push(said.await.unwrap());
            relay.abort();
        }
        let count = |what| after.iter().filter(|found| **found == what).count();
        // An edge that waits for the other half would answer none of them.
        assert!(count(AfterLoss::Edge) >= 8 && count(AfterLoss::Client) <= 1, "{after:?}");
    });
}

#[test]
fn a_long_chain_arrives_although_the_client_s_probes_are_small() {
    let edge = with_a_long_chain();
    run(async {
        for lost in [vec![], vec![3], vec![5], vec![3, 5]] {
            let (address, relay) = losing(edge.tls(), lost.clone()).await;
            let endpoint = quinn::Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
            let connecting = endpoint.connect_with(quic(edge.root()), address, "a.test").unwrap();
            let connected = tokio::time::timeout(Duration::from_secs(8), connecting).await;
            connected.unwrap_or_else(|_| panic!("not in time without {lost:?}")).expect("a connection");
            relay.abort();
        }
    });
}

#[test]
fn d20_connections_of_a_client_are_counted_when_its_address_is_proved() {
    let origin = Origin::simple();
    let mut edge = Edge::before(origin.address(), 1);
    edge.config.limits.connections_per_client = 3;
    edge.proxy.reload(edge.config.clone()).unwrap();
    run(async {
        // With and without Retry: from the 16th unfinished handshake of an address on it has to prove itself.
        for burst in [8, 40] {
            let endpoint = quinn::Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
            let connecting: Vec<_> = (0..burst)
                .map(|_| endpoint.connect_with(quic(edge.root()), edge.tls(), "a.test").unwrap())
                .map(|connecting| tokio::spawn(tokio::time::timeout(Duration::from_secs(3), connecting)))
                .collect();
            let mut connected = Vec::new();
            for one in connecting {
                connected.extend(one.await.unwrap().ok().and_then(Result::ok));
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
            let open = connected.iter().filter(|one| one.close_reason().is_none()).count();
            assert_eq!(open, 3, "of {burst}");
            // Others have room again once these are over.
            connected.iter().for_each(|one| one.close(0u32.into(), b""));
            endpoint.wait_idle().await;
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    });
}

/// Returns a first flight for this name, and that of its datagrams which does not have the whole name.
async fn without_its_name(root: &str, name: &str) -> ([Vec<u8>; 2], usize) {
    loop {
        let flight = first_flights(root, name, 1).await.remove(0);
        // The client shuffles its extensions: the name may be in either, and seldom in parts of both.
        if let Some(at) = flight.iter().position(|half| !names(half, name)) {
            return (flight, at);
        }
    }
}

/// The datagrams that come back for these, from a socket of its own at this address.
async fn answers(edge: SocketAddr, from: Ipv4Addr, datagrams: &[&Vec<u8>]) -> Vec<Vec<u8>> {
    let client = tokio::net::UdpSocket::bind((from, 0)).await.unwrap();
    for datagram in datagrams {
        client.send_to(datagram, edge).await.unwrap();
    }
    until_silent(&client).await
}

/// The datagrams that arrive until none has for 300 ms.
async fn until_silent(client: &tokio::net::UdpSocket) -> Vec<Vec<u8>> {
    let (mut back, mut buffer) = (Vec::new(), [0; 2000]);
    while let Ok(Ok(n)) = tokio::time::timeout(Duration::from_millis(300), client.recv(&mut buffer)).await {
        back.push(buffer[..n].to_vec());
    }
    back
}

/// Completes a handshake over QUIC from this address.
async fn visit(edge: &Edge, from: Ipv4Addr) {
    let endpoint = quinn::Endpoint::client((from, 0).into()).unwrap();
    let connection = endpoint.connect_with(quic(edge.root()), edge.tls(), "a.test").unwrap().await.unwrap();
    connection.close(0u32.into(), b"");
    endpoint.wait_idle().await;
    // The edge may process the end of the handshake after the client.
    tokio::time::sleep(Duration::from_millis(50)).await;
}

/// Returns the number of connections that were rejected for an unknown name.
fn unknown_names(edge: &Edge) -> u64 {
    let counts = edge.proxy.metrics().turned_away;
    counts.iter().find(|(known, _)| *known == Reason::UnknownName).map_or(0, |(_, count)| *count)
}

/// Half a ClientHello without a name is acknowledged only for a client that completed a handshake from its address before,
/// at any worker.
#[test]
fn half_a_hello_without_a_name_is_acknowledged_for_a_returning_client() {
    let edge = Edge::before(Origin::simple().address(), 2);
    run(async {
        let (flight, at) = without_its_name(edge.root(), "a.test").await;
        assert!(answers(edge.tls(), VICTIM, &[&flight[at]]).await.is_empty(), "a client never seen");
        // A forged address: what the edge sends there is not answered.
        let [first, second] = first_flights(edge.root(), "a.test", 1).await.remove(0);
        assert!(!answers(edge.tls(), VICTIM, &[&first, &second]).await.is_empty());
        let (flight, at) = without_its_name(edge.root(), "a.test").await;
        assert!(answers(edge.tls(), VICTIM, &[&flight[at]]).await.is_empty(), "nothing was proved");

        visit(&edge, VICTIM).await;
        for _ in 0..4 {
            let (flight, at) = without_its_name(edge.root(), "a.test").await;
            assert!(
                answers(edge.tls(), Ipv4Addr::LOCALHOST, &[&flight[at]]).await.is_empty(),
                "another client"
            );
            let client = tokio::net::UdpSocket::bind((VICTIM, 0)).await.unwrap();
            client.send_to(&flight[at], edge.tls()).await.unwrap();
            let back = until_silent(&client).await;
            assert!(!back.is_empty(), "a returning client");
            assert!(back.iter().all(|one| only_acknowledges(one, &destination(&flight[at]))));
            // The rest, much later: the handshake goes on.
            client.send_to(&flight[1 - at], edge.tls()).await.unwrap();
            let back = until_silent(&client).await;
            assert!(!back.is_empty() && !only_acknowledges(&back[0], &destination(&flight[at])));
        }
    });
}

/// A handshake over TCP makes a client a returning one too.
#[test]
fn a_client_over_tcp_returns_over_quic() {
    let edge = Edge::before(Origin::simple().address(), 2);
    drop(tls(edge.tls(), &http1(edge.root())).unwrap());
    run(async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let (flight, at) = without_its_name(edge.root(), "a.test").await;
        assert!(answers(edge.tls(), VICTIM, &[&flight[at]]).await.is_empty(), "another client");
        assert!(!answers(edge.tls(), Ipv4Addr::LOCALHOST, &[&flight[at]]).await.is_empty());
    });
}

/// An unknown name from an address whose clients were served gets no more than acknowledgements of half a ClientHello, and
/// nothing for one that arrives whole.
#[test]
fn an_unknown_name_of_a_returning_client_gets_acknowledgements_at_most() {
    let mut edge = Edge::before(Origin::simple().address(), 1);
    run(async {
        visit(&edge, Ipv4Addr::LOCALHOST).await;
        let mut silent = 0;
        for [first, second] in first_flights(edge.root(), "b.test", 6).await {
            let back = answers(edge.tls(), Ipv4Addr::LOCALHOST, &[&first, &second]).await;
            silent += usize::from(back.is_empty());
            assert!(back.iter().all(|one| only_acknowledges(one, &destination(&first))));
        }
        assert_eq!(unknown_names(&edge), 6);
        // This test may be suspended between two datagrams, on a busy machine.
        assert!(silent >= 5, "{silent} of 6");
        for mut flight in first_flights(edge.root(), "b.test", 4).await {
            flight.sort_by_key(|half| !names(half, "b.test"));
            if names(&flight[0], "b.test") {
                let back = answers(edge.tls(), Ipv4Addr::LOCALHOST, &[&flight[0]]).await;
                assert!(back.is_empty(), "a whole name that is not served");
            }
        }
        for rest_again in [false, true] {
            let (flight, at) = without_its_name(edge.root(), "b.test").await;
            let client = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            client.send_to(&flight[at], edge.tls()).await.unwrap();
            let back = until_silent(&client).await;
            assert!(
                !back.is_empty() && back.iter().all(|one| only_acknowledges(one, &destination(&flight[at])))
            );
            let before = unknown_names(&edge);
            client.send_to(&flight[1 - at], edge.tls()).await.unwrap();
            assert!(until_silent(&client).await.is_empty(), "not even an alert");
            assert_eq!(unknown_names(&edge), before + 1);
            if rest_again {
                for half in &flight {
                    client.send_to(half, edge.tls()).await.unwrap();
                }
                assert!(until_silent(&client).await.is_empty());
                assert_eq!(unknown_names(&edge), before + 1);
            }
        }
        // Unless the owner wants an alert.
        edge.config.reject = Reject::Alert;
        edge.proxy.reload(edge.config.clone()).unwrap();
        let (flight, at) = without_its_name(edge.root(), "b.test").await;
        let client = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        for half in [at, 1 - at] {
            client.send_to(&flight[half], edge.tls()).await.unwrap();
            let back = until_silent(&client).await;
            assert!(!back.is_empty());
            let quiet = back.iter().all(|one| only_acknowledges(one, &destination(&flight[at])));
            assert_eq!(quiet, half == at);
        }
    });
}

/// As before, with a client that sends the rest to the connection ID that the edge chose, which passes the filter of first
/// flights.
#[test]
fn an_unknown_name_that_arrives_at_an_id_of_the_edge_gets_acknowledgements_at_most() {
    let edge = Edge::before(Origin::simple().address(), 1);
    run(async {
        visit(&edge, Ipv4Addr::LOCALHOST).await;
        let mut tried = 0;
        while tried < 3 {
            let near = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            let far = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            far.connect(edge.tls()).await.unwrap();
            let endpoint = quinn::Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
            let connecting =
                endpoint.connect_with(quic(edge.root()), near.local_addr().unwrap(), "b.test").unwrap();
            let (mut up, mut down) = ([0; 2000], [0; 2000]);
            let mut halves = Vec::new();
            let mut client = None;
            while halves.len() < 2 {
                let (n, from) = near.recv_from(&mut up).await.unwrap();
                client = Some(from);
                halves.push(up[..n].to_vec());
            }
            let Some(half) = halves.iter().find(|half| !names(half, "b.test")) else { continue };
            tried += 1;
            let (first, before) = (destination(half), unknown_names(&edge));
            far.send(half).await.unwrap();
            let (mut back, mut to_ours) = (Vec::new(), 0);
            let end = tokio::time::sleep(Duration::from_millis(1500));
            tokio::pin!(end);
            loop {
                tokio::select! {
                    () = &mut end => break,
                    Ok(n) = far.recv(&mut down) => {
                        back.push(down[..n].to_vec());
                        near.send_to(&down[..n], client.unwrap()).await.unwrap();
                    }
                    Ok((n, _)) = near.recv_from(&mut up) => {
                        to_ours += usize::from(destination(&up[..n]) != first);
                        far.send(&up[..n]).await.unwrap();
                    }
                }
            }
            assert!(!back.is_empty() && to_ours > 0, "{} and {to_ours}", back.len());
            assert!(back.iter().all(|one| only_acknowledges(one, &first)));
            assert_eq!(unknown_names(&edge), before + 1);
            drop(connecting);
        }
    });
}

/// Whichever datagram of its ClientHello a returning client loses, it waits for no timer of a second.
#[test]
fn a_lost_half_costs_a_returning_client_no_second() {
    let edge = Edge::before(Origin::simple().address(), 2);
    run(async {
        visit(&edge, Ipv4Addr::LOCALHOST).await;
        let mut after = Vec::new();
        for number in 0..12 {
            let (says, said) = tokio::sync::oneshot::channel();
            let (address, relay) = losing_first(edge.tls(), number % 2, says).await;
            let endpoint = quinn::Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
            let connecting = endpoint.connect_with(quic(edge.root()), address, "a.test").unwrap();
            let connected = tokio::time::timeout(Duration::from_secs(20), connecting).await;
            connected.expect("in time").expect("a connection");
            after.push(said.await.unwrap());
            relay.abort();
        }
        let waited = after.iter().filter(|found| **found == AfterLoss::Client).count();
        assert!(waited <= 1, "{after:?}");
    });
}

/// Relays between one client and the edge until it is aborted, without that of its first two datagrams which has this number.
/// Says what came next.
async fn losing_first(
    edge: SocketAddr,
    lost: usize,
    says: tokio::sync::oneshot::Sender<AfterLoss>,
) -> (SocketAddr, tokio::task::JoinHandle<()>) {
    let near = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let far = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    far.connect(edge).await.unwrap();
    let address = near.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let (mut up, mut down, mut client, mut sent) = ([0; 2000], [0; 2000], None, 0);
        let mut says = Some(says);
        let mut say = |what| _ = says.take().map(|says| says.send(what));
        loop {
            tokio::select! {
                biased;
                Ok(n) = far.recv(&mut down) => {
                    say(AfterLoss::Edge);
                    near.send_to(&down[..n], client.unwrap()).await.unwrap();
                }
                Ok((n, from)) = near.recv_from(&mut up) => {
                    client = Some(from);
                    if sent == 2 {
                        say(AfterLoss::Client);
                    }
                    if sent != lost {
                        far.send(&up[..n]).await.unwrap();
                    }
                    sent += 1;
                }
            }
        }
    });
    (address, task)
}
