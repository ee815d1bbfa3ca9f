//! QUIC clients whose address changes: what is sent to the new one before it is validated, and that a client which moves keeps its
//! download.
#![cfg(feature = "server")]

mod common;

use common::Edge;
use common::wire3::{self, Http3};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use testkit::Origin;

const LENGTH: usize = 6_000_000;

/// A relay between a client and the proxy that can change the address by which the proxy sees the client.
struct Relay {
    address: SocketAddr,
    moved: Arc<Mutex<Option<Arc<UdpSocket>>>>,
    /// The address that the client's next datagram comes from.
    next: Arc<Mutex<Option<Arc<UdpSocket>>>>,
    /// Bytes that the client sent from its new address, and those that the proxy sent to it.
    sent: Arc<AtomicU64>,
    received: Arc<AtomicU64>,
    /// The most that came for what had been sent by then, in excess of three times.
    excess: Arc<AtomicU64>,
    /// What comes to the new address reaches the client.
    delivers: Arc<AtomicBool>,
    near: Arc<UdpSocket>,
    client: Arc<Mutex<Option<SocketAddr>>>,
    to: SocketAddr,
}

impl Relay {
    fn new(to: SocketAddr, delivers: bool) -> Self {
        let near = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        let far = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        let relay = Self {
            address: near.local_addr().unwrap(),
            moved: Arc::default(),
            next: Arc::default(),
            sent: Arc::default(),
            received: Arc::default(),
            excess: Arc::default(),
            delivers: Arc::new(AtomicBool::new(delivers)),
            near: near.clone(),
            client: Arc::default(),
            to,
        };
        let (moved, next) = (relay.moved.clone(), relay.next.clone());
        let (sent, client) = (relay.sent.clone(), relay.client.clone());
        let forth = far.clone();
        std::thread::spawn(move || {
            let mut datagram = [0; 2048];
            while let Ok((n, from)) = near.recv_from(&mut datagram) {
                *client.lock().unwrap() = Some(from);
                let next = next.lock().unwrap().take();
                if next.is_some() {
                    *moved.lock().unwrap() = next;
                }
                let moved = moved.lock().unwrap().clone();
                if moved.is_some() {
                    sent.fetch_add(n as u64, SeqCst);
                }
                let _ = moved.unwrap_or_else(|| forth.clone()).send_to(&datagram[..n], to);
            }
        });
        let (near, client, moved) = (relay.near.clone(), relay.client.clone(), relay.moved.clone());
        std::thread::spawn(move || {
            let mut datagram = [0; 2048];
            while let Ok((n, _)) = far.recv_from(&mut datagram) {
                // The old address is one that nothing reaches any more.
                if moved.lock().unwrap().is_none()
                    && let Some(to) = *client.lock().unwrap()
                {
                    let _ = near.send_to(&datagram[..n], to);
                }
            }
        });
        relay
    }

    /// The client has this address from its next datagram on. Not before: a client that owes no acknowledgement has nothing to send,
    /// and a move it does not know of would be one that the proxy can never learn of.
    fn move_to(&self, address: IpAddr) {
        let socket = Arc::new(UdpSocket::bind((address, 0)).unwrap());
        let (near, client) = (self.near.clone(), self.client.clone());
        let (sent, received) = (self.sent.clone(), self.received.clone());
        let (excess, delivers, own) = (self.excess.clone(), self.delivers.clone(), socket.clone());
        let proxy = self.to;
        std::thread::spawn(move || {
            let mut datagram = [0; 2048];
            while let Ok((n, from)) = own.recv_from(&mut datagram) {
                assert_eq!(from, proxy);
                let got = received.fetch_add(n as u64, SeqCst) + n as u64;
                excess.fetch_max(got.saturating_sub(3 * sent.load(SeqCst)), SeqCst);
                if delivers.load(SeqCst)
                    && let Some(to) = *client.lock().unwrap()
                {
                    let _ = near.send_to(&datagram[..n], to);
                }
            }
        });
        *self.next.lock().unwrap() = Some(socket);
    }
}

fn large() -> Origin {
    Origin::scripted(|bytes| {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        let content: Vec<u8> = (0..LENGTH).map(|at| (at * 7 % 251) as u8).collect();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n");
        Some(([head.as_bytes(), &content].concat(), end))
    })
}

/// A client that downloads, and moves in the midst of it. Returns how much it has got, and the counts of the relay.
fn download(to: IpAddr, delivers: bool, says_more: bool) -> (usize, u64, u64, u64) {
    let origin = large();
    let edge = Edge::before(origin.address(), 1);
    let relay = Relay::new(edge.tls(), delivers);
    let got = wire3::run(async {
        let http3 = Http3::connect(relay.address, edge.root(), "a.test").await;
        let (mut send, mut reader) = http3.open(&wire3::request("GET", "a.test", "/large", &[])).await;
        let _ = send.finish();
        let (_, length) = reader.head_of_content().await;
        let (mut got, mut told, mut moves) = (0, 0, false);
        let began = Instant::now();
        while got < length as usize {
            let patience = if delivers && !says_more { 20_000 } else { 400 };
            match tokio::time::timeout(Duration::from_millis(patience), reader.part(65_536)).await {
                Ok(Ok(part)) if !part.is_empty() => got += part.len(),
                Ok(other) => panic!("{other:?} after {got}"),
                Err(_) if delivers && !says_more || began.elapsed() > Duration::from_secs(4) => break,
                Err(_) if says_more => {
                    // More requests, whose bytes give the proxy leave to send more.
                    told += 1;
                    let path = format!("/{told}/{}", "x".repeat(700));
                    drop(http3.open(&wire3::request("GET", "a.test", &path, &[])).await);
                }
                Err(_) => {}
            }
            if got > 300_000 && !moves {
                moves = true;
                relay.move_to(to);
            }
        }
        got
    });
    let load = |count: &AtomicU64| count.load(SeqCst);
    (got, load(&relay.sent), load(&relay.received), load(&relay.excess))
}

const SAME: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 9));

#[test]
fn d6_no_byte_more_than_three_times_on_a_path_that_is_not_validated() {
    for says_more in [false, true] {
        let (got, sent, received, excess) = download(OTHER, false, says_more);
        assert!(got < LENGTH && sent > 0, "{got} of the download, {sent} bytes sent");
        assert_eq!(excess, 0, "{received} bytes for {sent}");
        // The limit is what keeps the rest, not a proxy that is silent.
        assert!(!says_more || received > 1000, "{received} bytes for {sent}");
    }
    // Another port is of the host that proved its address: one datagram more each time that QUIC takes the path up.
    let (got, sent, received, _) = download(SAME, false, false);
    assert!(got < LENGTH && received < 20_000, "{got} of the download, {received} bytes for {sent}");
}

#[test]
fn a_client_that_moves_gets_all_of_its_download() {
    // A NAT that gives another port, while the client only acknowledges; and another network, from which the client asks for more.
    for (to, says_more) in [(SAME, false), (OTHER, true)] {
        let (got, sent, received, _) = download(to, true, says_more);
        assert_eq!(got, LENGTH, "{to}: {received} bytes for {sent}");
        assert!(received > 10 * sent, "{to}: {received} bytes for {sent}: the path was validated");
    }
}

/// A small datagram with a challenge from another address is not answered by a padded one, wherever it came from.
#[test]
fn d6_a_probe_of_a_path_is_answered_within_the_limit() {
    let origin = Origin::simple();
    let edge = Edge::before(origin.address(), 1);
    let relay = Relay::new(edge.tls(), false);
    wire3::run(async {
        let http3 = Http3::connect(relay.address, edge.root(), "a.test").await;
        assert_eq!(http3.get("a.test", "/here").await.status(), Some("200"));
        // Datagrams of the client from many addresses, each of which moves the connection.
        for last in 20..40 {
            relay.move_to(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)));
            drop(http3.open(&wire3::request("GET", "a.test", "/here", &[])).await);
            tokio::time::sleep(Duration::from_millis(60)).await;
        }
    });
    let (sent, received) = (relay.sent.load(SeqCst), relay.received.load(SeqCst));
    assert_eq!(relay.excess.load(SeqCst), 0, "{received} bytes for {sent}");
}
