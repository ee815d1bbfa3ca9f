//! The first packets of QUIC connections: what a forged address costs the one whose it is, and what half a ClientHello is answered.

#![cfg(feature = "server")]

mod common;
#[path = "common/flights.rs"]
mod flights;

use common::{Edge, http1, tls};
use flights::{AfterLoss, VICTIM, first_flights, names, quic, relay_sockets, run};
use quinn::crypto::rustls::QuicClientConfig;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};
use testkit::{Origin, tls_client};

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

/// The numbers of bytes of further protocols in a ClientHello, so that first flights have 1200 to 1500 bytes: a datagram
/// is only as long as its ClientHello, but not below 1200 bytes.
const MORE: [usize; 6] = [0, 850, 900, 1000, 1050, 1100];

/// A client without a post-quantum key share, whose first flight is one datagram. Its ClientHello offers `h3`, and other
/// protocols in about this many bytes.
fn classic(root: &str, more: usize) -> quinn::ClientConfig {
    let mut tls = tls_client(root, &[b"h3"]);
    tls.alpn_protocols.extend((0..more / 50).map(|n| format!("{n:0>49}").into_bytes()));
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
    transport.initial_mtu(1500);
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
        let mut flights = Vec::new();
        for more in MORE {
            let trap = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            let endpoint = quinn::Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
            let _connecting = endpoint
                .connect_with(classic(edge.root(), more), trap.local_addr().unwrap(), "a.test")
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
            flights.push(sent);
        }
        // Of different lengths, of which three times are no number of whole datagrams. They vary by some bytes, since the
        // client sends a random transport parameter.
        assert!(flights[0] == 1200 && flights[1..].is_sorted(), "{flights:?}");
        assert!(flights[2] > 1220 && flights[5] > 1400, "{flights:?}");
    });
}

#[test]
fn d6_a_long_chain_arrives_within_the_limit() {
    let edge = with_a_long_chain();
    run(async {
        for more in MORE {
            for config in [classic(edge.root(), more), quic(edge.root())] {
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
    let (near, far, address) = relay_sockets(edge).await;
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

/// Relays between one client and the edge until it is aborted, without that of the first two datagrams which does not
/// name the site. Says what came next.
async fn losing_a_half(
    edge: SocketAddr,
    says: tokio::sync::oneshot::Sender<AfterLoss>,
) -> (SocketAddr, tokio::task::JoinHandle<()>) {
    let (near, far, address) = relay_sockets(edge).await;
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

/// A client that hears nothing of the edge's first flight has no reason to send anything for a second: the edge repeats
/// it sooner.
#[test]
fn a_first_flight_that_is_lost_is_repeated_within_a_second() {
    let edge = Edge::before(Origin::simple().address(), 1);
    run(async {
        let mut soonest = Duration::MAX;
        for [first, second] in first_flights(edge.root(), "a.test", 3).await {
            let client = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            client.send_to(&first, edge.tls()).await.unwrap();
            client.send_to(&second, edge.tls()).await.unwrap();
            let mut buffer = [0; 2000];
            client.recv(&mut buffer).await.unwrap();
            // The rest of the flight follows at once.
            while tokio::time::timeout(Duration::from_millis(100), client.recv(&mut buffer)).await.is_ok() {}
            let silent = Instant::now();
            client.recv(&mut buffer).await.unwrap();
            soonest = soonest.min(silent.elapsed());
        }
        assert!(soonest < Duration::from_millis(600), "{soonest:?}");
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
