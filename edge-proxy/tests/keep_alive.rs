//! TCP keep-alive: a peer that has vanished is noticed on every connection, however long it may be idle.
#![cfg(feature = "server")]

mod common;

use common::wire2::Http2;
use common::{Edge, http1, read_until, tls};
use edge_proxy::config::{Forward, Listener, Protocol, Target, Upstream};
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};
use testkit::Origin;

/// Waits until all of so many established connections that `filter` selects are idle and probed, as the kernel says.
#[track_caller]
fn assert_probed(filter: &str, count: usize) {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        let output = Command::new("ss")
            .args(["-Htno", "state", "established", filter])
            .output()
            .expect("ss is there; it is of the package iproute2");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let probed = text.lines().filter(|line| line.contains("timer:(keepalive,")).count();
        if probed == count && text.lines().count() == count {
            return;
        }
        assert!(Instant::now() < until, "{filter}: {count} connections, of which all are probed: {text}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The edge's ends of the connections of clients at this address.
fn from_clients(address: SocketAddr) -> String {
    format!("sport = :{}", address.port())
}

/// The edge's ends of the connections to a service.
fn to_service(origin: &Origin) -> String {
    format!("dport = :{}", origin.address().port())
}

#[test]
fn idle_connections_on_both_sides_are_probed() {
    let origin = Origin::simple();
    let edge = Edge::before(origin.address(), 1);
    let mut plain = TcpStream::connect(edge.plain()).unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").unwrap();
    read_until(&mut plain, "\r\n\r\nok");
    // Also one that has said nothing yet.
    let _silent = TcpStream::connect(edge.plain()).unwrap();
    let _over1 = tls(edge.tls(), &http1(edge.root())).unwrap();
    let mut over2 = Http2::connect(edge.tls(), edge.root(), "a.test");
    assert_eq!(over2.get("a.test", "/here").status(), Some("200"));
    assert_probed(&from_clients(edge.plain()), 2);
    assert_probed(&from_clients(edge.tls()), 2);
    assert_probed(&to_service(&origin), 1);
}

/// A tunnel may be idle for a day.
#[test]
fn idle_tunnels_are_probed_at_both_ends() {
    let switching = Origin::scripted(|bytes| {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        let said = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
        Some((said.as_bytes().to_vec(), end))
    });
    let raw = Origin::scripted(|_| None);
    let mut edge = Edge::before(switching.address(), 1);
    let target = Target::Tcp { host: "127.0.0.1".into(), port: raw.address().port() };
    edge.config.upstreams.push(Upstream { protocol: Protocol::Tcp, ..Upstream::new("raw", target) });
    edge.config.listeners.push(Listener::tcp(([127, 0, 0, 1], 0).into(), Forward::to("raw")));
    edge.proxy.reload(edge.config.clone()).unwrap();
    let mut switched = TcpStream::connect(edge.plain()).unwrap();
    switched
        .write_all(
            b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
              Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )
        .unwrap();
    assert!(read_until(&mut switched, "\r\n\r\n").starts_with("HTTP/1.1 101"));
    assert_probed(&from_clients(edge.plain()), 1);
    assert_probed(&to_service(&switching), 1);
    let forwarded = edge.proxy.addresses()[2];
    let _forwarded = TcpStream::connect(forwarded).unwrap();
    assert_probed(&from_clients(forwarded), 1);
    assert_probed(&to_service(&raw), 1);
}
