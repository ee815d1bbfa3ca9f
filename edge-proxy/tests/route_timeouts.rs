//! Time limits of a route, in place of the site's: for connecting, content, tunnels and the handshake that a request in early data
//! waits for. That for the response is in `rewriting.rs`.

mod common;

use common::{Edge, http1, read_until, tls};
use edge_proxy::Reason;
use edge_proxy::config::{Action, PathMatch, Route, Target, Timeouts, Upstream};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};
use testkit::{Origin, tls_client};

/// The limit of a route. Those of the site are 5 s at least.
const SOON: Duration = Duration::from_millis(300);
/// Longer than a route waits, shorter than the site does.
const BETWEEN: Duration = Duration::from_secs(4);

/// An edge with a route for `/quick`, whose limits are changed like this, and with another upstream if its address is given.
fn edge(origin: SocketAddr, upstream: Option<SocketAddr>, change: impl FnOnce(&mut Timeouts)) -> Edge {
    let mut edge = Edge::before(origin, 1);
    let name = if upstream.is_some() { "other" } else { "origin" };
    let mut route = Route::new(PathMatch::Prefix("/quick".into()), Action::Forward { upstream: name.into() });
    let mut timeouts = Timeouts::default();
    change(&mut timeouts);
    route.timeouts = Some(timeouts);
    edge.config.sites[0].early_data = true;
    edge.config.sites[0].routes.push(route);
    if let Some(address) = upstream {
        let target = Target::Tcp { host: address.ip().to_string(), port: address.port() };
        edge.config.upstreams.push(Upstream::new("other", target));
    }
    edge.proxy.reload(edge.config.clone()).unwrap();
    edge
}

fn connect(edge: &Edge) -> TcpStream {
    let stream = TcpStream::connect(edge.plain()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// Asserts that something ends at the limit of the route.
#[track_caller]
fn assert_soon(began: Instant) {
    let took = began.elapsed();
    assert!(took >= SOON && took < BETWEEN, "{took:?}");
}

/// Asserts that nothing comes on a connection before the limit of the route is long over.
#[track_caller]
fn assert_waits(stream: &mut TcpStream) {
    stream.set_read_timeout(Some(SOON * 4)).unwrap();
    let why = stream.read(&mut [0; 1]).unwrap_err();
    assert_eq!(why.kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn connecting() {
    // A server whose queue is full: the kernel does not answer those who come.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(0).unwrap();
    let full = TcpListener::from(socket);
    let address = full.local_addr().unwrap();
    let waiting: Vec<_> =
        (0..4).map(|_| TcpStream::connect_timeout(&address, Duration::from_millis(100))).collect();
    assert!(waiting.last().unwrap().is_err(), "the queue is not full");
    let edge = edge(Origin::simple().address(), Some(address), |timeouts| timeouts.connect = SOON);
    let mut stream = connect(&edge);
    let began = Instant::now();
    stream.write_all(b"GET /quick HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_soon(began);
    assert!(answer.starts_with("HTTP/1.1 50"), "{answer}");
}

#[test]
fn content_of_a_request() {
    let origin = Origin::simple();
    let edge = edge(origin.address(), None, |timeouts| timeouts.body = SOON);
    let upload = |path: &str| {
        let mut stream = connect(&edge);
        write!(stream, "PUT {path} HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\nhalf").unwrap();
        stream
    };
    let began = Instant::now();
    let mut stream = upload("/quick");
    assert!(read_until(&mut stream, "\r\n\r\n").starts_with("HTTP/1.1 408 "));
    assert_soon(began);
    assert_waits(&mut upload("/"));
}

#[test]
fn a_tunnel_without_a_byte() {
    let service = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = service.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for mut stream in service.incoming().flatten() {
            read_until(&mut stream, "\r\n\r\n");
            stream
                .write_all(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
                .unwrap();
            open.push(stream);
        }
    });
    let edge = edge(address, None, |timeouts| timeouts.tunnel = SOON);
    let switch = |path: &str| {
        let mut stream = connect(&edge);
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: a.test\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        .unwrap();
        assert!(read_until(&mut stream, "\r\n\r\n").starts_with("HTTP/1.1 101 "));
        stream
    };
    let began = Instant::now();
    let mut stream = switch("/quick");
    let mut rest = Vec::new();
    // Ended or reset.
    let _ = stream.read_to_end(&mut rest);
    assert_soon(began);
    assert_eq!(rest, b"");
    assert_waits(&mut switch("/"));
}

#[test]
fn the_handshake_that_early_data_waits_for() {
    let origin = Origin::simple();
    let edge = edge(origin.address(), None, |timeouts| timeouts.handshake = SOON);
    let mut config = tls_client(edge.root(), &[b"http/1.1"]);
    config.enable_early_data = true;
    let config = Arc::new(config);
    for _ in 0..2 {
        let mut stream = tls(edge.tls(), &config).unwrap();
        stream.write_all(b"GET /before HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n").unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    }
    // The first flight with a request that has to wait, and nothing more.
    let begin = |path: &str| {
        let mut session =
            rustls::ClientConnection::new(config.clone(), "a.test".try_into().unwrap()).unwrap();
        let request = format!("POST {path} HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n");
        session.early_data().expect("a session").write_all(request.as_bytes()).unwrap();
        let mut stream = TcpStream::connect(edge.tls()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        while session.wants_write() {
            session.write_tls(&mut stream).unwrap();
        }
        stream
    };
    let began = Instant::now();
    let _ = begin("/quick").read_to_end(&mut Vec::new());
    assert_soon(began);
    edge.assert_refused(Reason::HandshakeNotCompleted, 1);
    let mut slow = begin("/");
    // The server's flight comes, and then nothing.
    let mut flight = [0; 16 * 1024];
    slow.set_read_timeout(Some(SOON * 4)).unwrap();
    while slow.read(&mut flight).is_ok_and(|n| n > 0) {}
    edge.assert_refused(Reason::HandshakeNotCompleted, 1);
    assert!(!origin.text().contains("POST"), "{}", origin.text());
    // They are those of the route alone.
    let mut other = tls(edge.tls(), &http1(edge.root())).unwrap();
    other.write_all(b"GET /quick HTTP/1.1\r\nHost: a.test\r\n\r\n").unwrap();
    assert!(read_until(&mut other, "\r\n\r\nok").starts_with("HTTP/1.1 200"));
}
