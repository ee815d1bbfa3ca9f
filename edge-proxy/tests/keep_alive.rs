//! Connections without a request: TCP keep-alive, by which a peer that has vanished is noticed however long they may be
//! idle, and the idle timeout.
#![cfg(feature = "server")]

mod common;

use common::wire2::Http2;
use common::{Edge, http1, read_until, tls};
use edge_proxy::Reason;
use edge_proxy::config::{Forward, Listener, Protocol, Target, Upstream};
use std::io::{Read, Write};
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

/// An edge whose connections are closed when no request comes for this time.
fn idle_for(origin: &Origin, idle: Duration) -> Edge {
    let mut edge = Edge::before(origin.address(), 1);
    edge.config.timeouts.idle = idle;
    edge.config.timeouts.header = Duration::from_millis(300);
    edge.proxy.reload(edge.config.clone()).unwrap();
    edge
}

/// A connection on which this many requests were answered. The state of the second or a later one is kept for 250 ms.
fn used(edge: &Edge, requests: usize) -> TcpStream {
    let mut client = TcpStream::connect(edge.plain()).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    (0..requests).for_each(|_| ask(&mut client));
    client
}

/// Sends a request and reads the response.
fn ask(client: &mut TcpStream) {
    client.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").unwrap();
    read_until(client, "\r\n\r\nok");
}

/// Reads the end of a connection, and returns the time until it.
#[track_caller]
fn time_until_end(client: &mut TcpStream) -> Duration {
    let began = Instant::now();
    assert_eq!(client.read(&mut [0; 16]).unwrap(), 0);
    began.elapsed()
}

/// The idle timeout holds whether it is shorter or longer than the time for which the state of a request is kept (250 ms),
/// and begins anew with each request.
#[test]
fn a_connection_without_a_request_is_closed_after_the_idle_timeout() {
    let origin = Origin::simple();
    for (idle, pauses) in
        [(100, &[][..]), (250, &[0]), (1_000, &[]), (1_000, &[0]), (2_500, &[100, 1_500, 1_600])]
    {
        let idle = Duration::from_millis(idle);
        let edge = idle_for(&origin, idle);
        let mut client = used(&edge, 1);
        for pause in pauses {
            std::thread::sleep(Duration::from_millis(*pause));
            ask(&mut client);
        }
        let passed = time_until_end(&mut client);
        // Deadlines are checked every 250 ms, never early, and a busy machine is late.
        assert!(passed >= idle && passed < idle + Duration::from_secs(4), "{idle:?}: {passed:?}");
    }
}

/// After the time for which the state of a request is kept, a head that does not become complete ends the connection
/// after the header timeout, and a shutdown ends it at once.
#[test]
fn a_connection_that_rested_has_the_other_limits_too() {
    let origin = Origin::simple();
    let edge = idle_for(&origin, Duration::from_secs(600));
    let [mut slow, mut resting] = [0, 1].map(|_| [1, 2].map(|requests| used(&edge, requests)));
    std::thread::sleep(Duration::from_millis(1_700));
    for slow in &mut slow {
        slow.write_all(b"GET / HTTP/1.1\r\nHost").unwrap();
        let passed = time_until_end(slow);
        assert!(passed >= Duration::from_millis(300) && passed < Duration::from_secs(10), "{passed:?}");
    }
    let slow_heads = edge.proxy.metrics().rejected;
    assert!(slow_heads.contains(&(Reason::HeadTooSlow, 2)), "{slow_heads:?}");
    let Edge { proxy, folder, .. } = edge;
    let report = proxy.shutdown(Duration::from_secs(20));
    assert!(report.is_complete(), "{report}");
    assert!(resting.iter_mut().all(|resting| time_until_end(resting) < Duration::from_secs(10)));
    drop(folder);
}

/// To a client of HTTP/1.0 only `Connection: keep-alive` says that the connection persists.
#[test]
fn a_client_of_http10_is_told_whether_its_connection_persists() {
    let origin = Origin::simple();
    let edge = Edge::before(origin.address(), 1);
    let mut client = TcpStream::connect(edge.plain()).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    for path in ["/here", "/forwarded", "/here"] {
        write!(client, "GET {path} HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\n").unwrap();
        let head = read_until(&mut client, "\r\n\r\n");
        assert!(head.contains("\r\nConnection: keep-alive\r\n"), "{path}: {head}");
        if !head.ends_with("ok") {
            read_until(&mut client, "ok");
        }
    }
    client.write_all(b"GET /here HTTP/1.0\r\nHost: a.test\r\n\r\n").unwrap();
    let mut rest = String::new();
    client.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("\r\nConnection: close\r\n") && rest.ends_with("ok"), "{rest}");
}
