//! Strangers that must not hear a thing.

use super::client::config;
use super::service::{NAME, Server, on_a_worker, start};
use crate::downstream::h3::{DropReason, QuicLimits};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::time::{sleep, timeout};

async fn socket() -> UdpSocket {
    UdpSocket::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap()
}

/// The first flight of a client that asks for this name, retransmissions included.
async fn first_flight(server: &Server, name: &str) -> Vec<Vec<u8>> {
    first_flight_with(config(server), name).await
}

async fn first_flight_with(config: quinn::ClientConfig, name: &str) -> Vec<Vec<u8>> {
    let trap = socket().await;
    let endpoint = quinn::Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let _connecting = endpoint.connect_with(config, trap.local_addr().unwrap(), name).unwrap();
    let mut datagrams = Vec::new();
    let mut buffer = [0; 2000];
    while let Ok(n) = timeout(Duration::from_millis(300), trap.recv(&mut buffer)).await {
        datagrams.push(buffer[..n.unwrap()].to_vec());
        if datagrams.len() == 4 {
            break;
        }
    }
    assert!(datagrams.len() >= 2, "a post-quantum ClientHello takes two");
    datagrams
}

/// What comes back for these datagrams.
async fn answers(server: &Server, datagrams: &[Vec<u8>]) -> usize {
    let client = socket().await;
    for datagram in datagrams {
        client.send_to(datagram, server.address).await.unwrap();
    }
    let mut count = 0;
    while timeout(Duration::from_millis(400), client.recv(&mut [0; 2000])).await.is_ok() {
        count += 1;
    }
    count
}

#[test]
fn an_unknown_name_hears_nothing() {
    on_a_worker(async {
        let server = start(&QuicLimits::default());
        let known = first_flight(&server, NAME).await;
        let unknown = first_flight(&server, "unknown.example").await;
        assert!(answers(&server, &known).await > 0, "the same packets with a known name are answered");
        assert_eq!(answers(&server, &unknown).await, 0);
        // In the other order, several times, and in parts.
        let reversed: Vec<_> = unknown.iter().rev().cloned().collect();
        assert_eq!(answers(&server, &[&reversed[..], &unknown, &unknown].concat()).await, 0);
        assert_eq!(answers(&server, &unknown[..1]).await, 0);
        let reversed: Vec<_> = first_flight(&server, NAME).await[..2].iter().rev().cloned().collect();
        assert!(answers(&server, &reversed).await > 0);
        let half = first_flight(&server, NAME).await.swap_remove(0);
        assert_eq!(answers(&server, &[half]).await, 0, "half a ClientHello names nobody");
        // An address instead of a name has no SNI.
        let none = first_flight(&server, "127.0.0.1").await;
        assert_eq!(answers(&server, &none).await, 0);
        let hellos = server.log.hellos.borrow().clone();
        assert_eq!(hellos[1].as_deref(), Some("unknown.example"));
        assert_eq!(hellos.last().unwrap(), &None);
        assert_eq!(server.log.opened.borrow().len(), 2);
        // A copy of what was accepted, from elsewhere: it is the other connection's, and no new one.
        assert_eq!(answers(&server, &known).await, 0);
    });
}

#[test]
fn a_name_that_is_refused_aloud() {
    on_a_worker(async {
        let server = start(&QuicLimits::default());
        let endpoint = super::client::endpoint(&server);
        match endpoint.connect(server.address, "alert.example").unwrap().await {
            Err(quinn::ConnectionError::ConnectionClosed(close)) => {
                assert_eq!(close.error_code, quinn::TransportErrorCode::CONNECTION_REFUSED);
            }
            other => panic!("{other:?}"),
        }
        let refused = endpoint.connect(server.address, "silent.example").unwrap();
        assert!(timeout(Duration::from_millis(500), refused).await.is_err());
    });
}

#[test]
fn garbage_hears_nothing() {
    on_a_worker(async {
        let server = start(&QuicLimits::default());
        let flight = first_flight(&server, NAME).await;
        let mut version = flight[0].clone();
        version[1..5].copy_from_slice(&[0x1a, 0x2a, 0x3a, 0x4a]);
        let mut version_2 = flight[0].clone();
        version_2[1..5].copy_from_slice(&[0x6b, 0x33, 0x43, 0xcf]);
        let mut broken = flight.clone();
        broken.iter_mut().for_each(|datagram| datagram[700] ^= 1);
        let mut short_id = vec![0xc0, 0, 0, 0, 1, 4, 1, 2, 3, 4, 0, 0, 0x44, 0x96];
        short_id.resize(1200, 0);
        let mut handshake = flight[0].clone();
        handshake[0] = 0xe0;
        let mut early = flight[0].clone();
        early[0] = 0xd0;
        let noise = |len: usize, first: u8| -> Vec<u8> {
            (0..len).map(|i| if i == 0 { first } else { (i * 37 % 251) as u8 }).collect()
        };
        let before = server.log.dropped.borrow().len();
        for (what, datagrams) in [
            ("an unknown version", vec![version]),
            ("version 2", vec![version_2]),
            ("what cannot be decrypted", broken),
            ("a short connection id", vec![short_id]),
            ("a Handshake packet", vec![handshake]),
            ("a 0-RTT packet", vec![early]),
            ("a small Initial", vec![flight[0][..1100].to_vec()]),
            ("1-RTT packets", vec![noise(1200, 0x40), noise(50, 0x55), noise(30, 0x7f), noise(9, 0x40)]),
            ("long headers", vec![noise(1200, 0xc0), noise(1200, 0xff), noise(7, 0xc0), noise(1, 0x80)]),
            ("HTTP", vec![b"GET / HTTP/1.1\r\nhost: example.org\r\n\r\n".to_vec()]),
            ("nothing", vec![vec![]]),
        ] {
            assert_eq!(answers(&server, &datagrams).await, 0, "{what}");
        }
        let dropped = server.log.dropped.borrow();
        assert!(dropped[before..].contains(&DropReason::Version));
        assert!(dropped[before..].contains(&DropReason::Garbage));
        assert!(server.log.opened.borrow().is_empty());
    });
}

#[test]
fn an_id_of_ours_opens_no_door() {
    on_a_worker(async {
        let server = start(&QuicLimits::default());
        let flight = first_flight(&server, NAME).await;
        let client = socket().await;
        for datagram in &flight {
            client.send_to(datagram, server.address).await.unwrap();
        }
        let mut buffer = [0; 2000];
        let n = client.recv(&mut buffer).await.unwrap();
        let ours = edge_http::h3::initial::long_header(&buffer[..n]).unwrap().source.to_vec();
        for name in [NAME, "unknown.example"] {
            let ours = ours.clone();
            let mut config = config(&server);
            config.initial_dst_cid_provider(std::sync::Arc::new(move || quinn::ConnectionId::new(&ours)));
            let flight = first_flight_with(config, name).await;
            assert_eq!(answers(&server, &flight).await, 0, "{name}");
        }
        assert_eq!(server.log.hellos.borrow().len(), 1);
    });
}

#[test]
fn many_strangers_must_prove_their_addresses() {
    on_a_worker(async {
        let server = start(&QuicLimits { pending_handshakes: 0, ..QuicLimits::default() });
        for _ in 0..3 {
            let client = super::client::RawConnection::new(&server).await;
            assert_eq!(client.get("/hello").await.content, b"hello");
        }
        // The name is decided about again after the Retry, since what has a token is not filtered.
        assert_eq!(server.log.hellos.borrow().len(), 6);
        let flight = first_flight(&server, NAME).await;
        assert!(answers(&server, &flight).await > 0, "a Retry packet");
        assert_eq!(server.log.opened.borrow().len(), 3, "and no connection");
        let unknown = first_flight(&server, "unknown.example").await;
        assert_eq!(answers(&server, &unknown).await, 0);
    });
}

#[test]
fn there_are_only_so_many_connections() {
    on_a_worker(async {
        let server = start(&QuicLimits { connections: 1, ..QuicLimits::default() });
        let first = super::client::RawConnection::new(&server).await;
        let flight = first_flight(&server, NAME).await;
        assert_eq!(answers(&server, &flight).await, 0);
        assert_eq!(first.get("/hello").await.content, b"hello");
    });
}

/// First flights that were refused, or accepted, leave the room to those that are not complete.
#[test]
fn a_first_flight_is_not_displaced_by_those_with_a_verdict() {
    on_a_worker(async {
        let limits = QuicLimits { pending_flows: 4, ..QuicLimits::default() };
        let server = start(&limits);
        let flight = first_flight(&server, NAME).await;
        let client = socket().await;
        client.send_to(&flight[0], server.address).await.unwrap();
        let unknown = first_flight(&server, "unknown.example").await;
        for _ in 0..12 {
            let stranger = socket().await;
            for datagram in &unknown[..2] {
                stranger.send_to(datagram, server.address).await.unwrap();
            }
        }
        while server.log.hellos.borrow().len() < 12 {
            sleep(Duration::from_millis(5)).await;
        }
        client.send_to(&flight[1], server.address).await.unwrap();
        let answered = timeout(Duration::from_secs(2), client.recv(&mut [0; 2000])).await;
        assert!(answered.is_ok(), "it was forgotten");
    });
}

#[test]
fn strangers_do_not_pile_up() {
    on_a_worker(async {
        let limits = QuicLimits {
            pending_flows: 8,
            pending_time: Duration::from_millis(100),
            ..QuicLimits::default()
        };
        let server = start(&limits);
        for _ in 0..20 {
            let half = first_flight(&server, NAME).await.swap_remove(0);
            socket().await.send_to(&half, server.address).await.unwrap();
        }
        sleep(Duration::from_millis(50)).await;
        super::client::RawConnection::new(&server).await.get("/hello").await;
    });
}
