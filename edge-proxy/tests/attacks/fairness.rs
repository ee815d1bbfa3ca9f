//! Clients that share an HTTP/2 connection to a service do not share a fate.

use crate::edge::{Edge, site};
use crate::names::VERSIONS;
use crate::wire2::Http2;
use crate::wire3::{self, Http3};
use bytes::Bytes;
use edge_proxy::config::{Limits, Protocol, Target, Timeouts, Upstream};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};
use testkit::Origin;

/// An HTTP/2 service: `/big` is 20 MB, `/hang` never answers, all else is `ok`.
struct Service {
    address: SocketAddr,
    /// The number of requests.
    requests: Arc<AtomicUsize>,
    /// The number of responses that the edge reset.
    reset: Arc<AtomicUsize>,
}

/// Starts a service that allows this many streams of a connection at once.
fn service(streams: u32) -> Service {
    let [requests, reset] = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
    let (counter, ended) = (requests.clone(), reset.clone());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                let (counter, ended) = (counter.clone(), ended.clone());
                tokio::spawn(async move {
                    let mut builder = h2::server::Builder::new();
                    builder.max_concurrent_streams(streams);
                    let mut connection = builder.handshake::<_, Bytes>(stream).await.unwrap();
                    while let Some(Ok((request, mut respond))) = connection.accept().await {
                        counter.fetch_add(1, Relaxed);
                        let ended = ended.clone();
                        tokio::spawn(async move {
                            if request.uri().path() == "/hang" {
                                return std::future::pending().await;
                            }
                            let head = http::Response::new(());
                            let mut send = respond.send_response(head, false).unwrap();
                            if request.uri().path() == "/big" {
                                let mut left: usize = 20 << 20;
                                while left > 0 {
                                    send.reserve_capacity(left.min(65_536));
                                    let room = std::future::poll_fn(|cx| send.poll_capacity(cx)).await;
                                    let Some(Ok(n)) = room else {
                                        ended.fetch_add(1, Relaxed);
                                        return;
                                    };
                                    let n = n.min(left);
                                    left -= n;
                                    let _ = send.send_data(vec![b'x'; n].into(), false);
                                }
                            }
                            let _ = send.send_data(Bytes::from_static(b"ok"), true);
                        });
                    }
                });
            }
        });
    });
    Service { address, requests, reset }
}

/// Waits until the service has so many requests.
fn wait_for(requests: &AtomicUsize, count: usize) {
    let until = Instant::now() + Duration::from_secs(60);
    while requests.load(Relaxed) < count {
        assert!(Instant::now() < until, "{requests:?} of {count}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn edge(address: SocketAddr, response: Duration) -> Edge {
    let target = Target::Tcp { host: "127.0.0.1".into(), port: address.port() };
    let mut upstream = Upstream::new("origin", target);
    upstream.protocol = Protocol::Http2;
    let mut patient = site("a.test");
    patient.timeouts = Some(Timeouts { response, ..Timeouts::default() });
    Edge::build(Origin::simple(), upstream, vec![patient])
}

/// Asks for a path and reads nothing.
fn begin(edge: &Edge, path: &str) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&edge.plain.into()).unwrap();
    let mut stream = TcpStream::from(socket);
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n").as_bytes()).unwrap();
    stream
}

/// Opens so many connections of this version of HTTP, requests `/big` so many times on each, and reads nothing of the
/// responses until `then` has returned.
fn stalled(edge: &Edge, version: u8, connections: usize, streams: usize, then: impl FnOnce()) {
    let over = AtomicBool::new(false);
    match version {
        1 => {
            assert_eq!(streams, 1);
            let open: Vec<_> = (0..connections).map(|_| begin(edge, "/big")).collect();
            then();
            drop(open);
        }
        2 => {
            let open = || {
                let mut client = Http2::with_windows(edge.tls, &edge.root, "a.test", 0);
                for _ in 0..streams {
                    client.request("GET", "a.test", "/big", &[], true);
                }
                client
            };
            let open: Vec<_> = (0..connections).map(|_| open()).collect();
            then();
            drop(open);
        }
        _ => std::thread::scope(|scope| {
            scope.spawn(|| {
                wire3::run(async {
                    let mut open = Vec::new();
                    for _ in 0..connections {
                        let client = Http3::with_window(edge.tls, &edge.root, "a.test", Some(4096)).await;
                        let mut responses = Vec::new();
                        for _ in 0..streams {
                            responses.push(client.open(&wire3::request("GET", "a.test", "/big", &[])).await);
                        }
                        open.push((client, responses));
                    }
                    // What else arrives is acknowledged.
                    while !over.load(Relaxed) {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                });
            });
            let ended = Ended(&over);
            then();
            drop(ended);
        }),
    }
}

/// Sets the flag when it is dropped, also by a panic.
struct Ended<'a>(&'a AtomicBool);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

#[track_caller]
fn assert_served_at_once(edge: &Edge, version: u8) {
    let begin = Instant::now();
    let status = match version {
        1 => {
            let answer = edge.send(b"GET /small HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
            answer.get(9..12).map(str::to_owned)
        }
        2 => {
            let mut client = Http2::connect(edge.tls, &edge.root, "a.test");
            client.get("a.test", "/small").status().map(str::to_owned)
        }
        _ => wire3::run(async {
            let client = Http3::connect(edge.tls, &edge.root, "a.test").await;
            client.get("a.test", "/small").await.status().map(str::to_owned)
        }),
    };
    assert_eq!(status.as_deref(), Some("200"), "version {version}");
    // Whoever waits for one of the others waits for its time limit, which is 30 s and more.
    assert!(begin.elapsed() < Duration::from_secs(15), "version {version}: {:?}", begin.elapsed());
}

#[test]
fn d13_clients_that_do_not_read_slow_nobody_down() {
    for version in VERSIONS {
        let service = service(200);
        let edge = edge(service.address, Duration::from_secs(30));
        stalled(&edge, version, 40, 1, || {
            wait_for(&service.requests, 40);
            // Until their windows are full.
            std::thread::sleep(Duration::from_millis(500));
            for _ in 0..3 {
                assert_served_at_once(&edge, version);
            }
        });
    }
}

#[test]
fn d13_a_thousand_clients_that_do_not_read_are_within_the_budget() {
    const BUDGET: usize = 32 << 20;
    let service = service(4000);
    let relay = relay(service.address);
    let target = Target::Tcp { host: "127.0.0.1".into(), port: relay.address.port() };
    let mut upstream = Upstream::new("origin", target);
    upstream.protocol = Protocol::Http2;
    let limits = Limits { upstream_buffer: BUDGET, ..Limits::default() };
    let edge = Edge::limited(Origin::simple(), upstream, vec![site("a.test")], limits);
    stalled(&edge, 2, 10, 100, || {
        wait_for(&service.requests, 1000);
        // Until nothing more is sent.
        let mut before = 0;
        while before != relay.passed.load(Relaxed) {
            before = relay.passed.load(Relaxed);
            std::thread::sleep(Duration::from_millis(700));
        }
        // Within the budget, so that none has to be given up.
        assert!(before <= BUDGET, "{before} bytes");
        assert_eq!(service.reset.load(Relaxed), 0);
        for version in VERSIONS {
            assert_served_at_once(&edge, version);
        }
    });
}

/// Forwards connections to a service.
struct Relay {
    address: SocketAddr,
    /// Connections that exist when this is set stay open and pass on nothing more.
    dead: Arc<AtomicBool>,
    /// The bytes that were passed on, both ways.
    passed: Arc<AtomicUsize>,
}

fn relay(service: SocketAddr) -> Relay {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (dead, passed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let (flag, count) = (dead.clone(), passed.clone());
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let lives_on = flag.load(Relaxed);
            let server = TcpStream::connect(service).unwrap();
            let back = (server.try_clone().unwrap(), client.try_clone().unwrap());
            for (mut from, mut to) in [(client, server), back] {
                let (flag, count) = (flag.clone(), count.clone());
                std::thread::spawn(move || {
                    let mut part = [0; 16_384];
                    while let Ok(n @ 1..) = from.read(&mut part) {
                        count.fetch_add(n, Relaxed);
                        if (lives_on || !flag.load(Relaxed)) && to.write_all(&part[..n]).is_err() {
                            return;
                        }
                    }
                });
            }
        }
    });
    Relay { address, dead, passed }
}

#[test]
fn d13_a_dead_connection_is_left_after_one_failure() {
    let relay = relay(service(200).address);
    let edge = edge(relay.address, Duration::from_secs(3));
    let ask = || {
        let mut stream = TcpStream::connect(edge.plain).unwrap();
        stream.write_all(b"GET /small HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(ask().starts_with("HTTP/1.1 200"));
    relay.dead.store(true, Relaxed);
    assert!(ask().starts_with("HTTP/1.1 504"));
    for _ in 0..3 {
        assert!(ask().starts_with("HTTP/1.1 200"));
    }
}

#[test]
fn d13_another_connection_is_opened_at_the_stream_limit() {
    let service = service(3);
    let edge = edge(service.address, Duration::from_secs(30));
    let waiting: Vec<_> = (0..8).map(|_| begin(&edge, "/hang")).collect();
    // Those that came before the service said how many it takes wait for their turn on the first connection.
    wait_for(&service.requests, 3);
    std::thread::sleep(Duration::from_millis(500));
    VERSIONS.into_iter().for_each(|version| assert_served_at_once(&edge, version));
    drop(waiting);
}
