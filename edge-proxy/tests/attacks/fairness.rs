//! Clients that share an HTTP/2 connection to a service do not share a fate.

use crate::edge::{Edge, site};
use bytes::Bytes;
use edge_proxy::config::{Protocol, Target, Timeouts, Upstream};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};
use testkit::Origin;

/// An HTTP/2 service: `/big` is 20 MB, `/hang` never answers, all else is `ok`. Returns its address and the number of requests.
fn service(streams: u32) -> (SocketAddr, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counter = count.clone();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                let counter = counter.clone();
                tokio::spawn(async move {
                    let mut builder = h2::server::Builder::new();
                    builder.max_concurrent_streams(streams);
                    let mut connection = builder.handshake::<_, Bytes>(stream).await.unwrap();
                    while let Some(Ok((request, mut respond))) = connection.accept().await {
                        counter.fetch_add(1, Relaxed);
                        tokio::spawn(async move {
                            if request.uri().path() == "/hang" {
                                return std::future::pending().await;
                            }
                            let head = http::Response::new(());
                            let mut send = respond.send_response(head, false).unwrap();
                            if request.uri().path() == "/big" {
                                for _ in 0..320 {
                                    send.reserve_capacity(65_536);
                                    let mut left = 65_536;
                                    while left > 0 {
                                        match std::future::poll_fn(|cx| send.poll_capacity(cx)).await {
                                            Some(Ok(n)) => {
                                                let n = n.min(left);
                                                left -= n;
                                                if send.send_data(vec![b'x'; n].into(), false).is_err() {
                                                    return;
                                                }
                                            }
                                            _ => return,
                                        }
                                    }
                                }
                            }
                            let _ = send.send_data(Bytes::from_static(b"ok"), true);
                        });
                    }
                });
            }
        });
    });
    (address, count)
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

#[track_caller]
fn assert_served_at_once(edge: &Edge) {
    let begin = Instant::now();
    let answer = edge.send(b"GET /small HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("ok"), "{answer:?}");
    // Whoever waits for one of the others waits for its time limit, which is 30 s and more.
    assert!(begin.elapsed() < Duration::from_secs(15), "{:?}", begin.elapsed());
}

#[test]
fn d13_clients_that_do_not_read_slow_nobody_down() {
    let (address, requests) = service(200);
    let edge = edge(address, Duration::from_secs(30));
    let stalled: Vec<_> = (0..40).map(|_| begin(&edge, "/big")).collect();
    wait_for(&requests, 40);
    // Until their windows are full.
    std::thread::sleep(Duration::from_millis(500));
    for _ in 0..3 {
        assert_served_at_once(&edge);
    }
    drop(stalled);
}

/// Forwards connections to a service. Those that exist when the flag is set stay open and pass on nothing more.
fn relay(service: SocketAddr) -> (SocketAddr, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let dead = Arc::new(AtomicBool::new(false));
    let flag = dead.clone();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let lives_on = flag.load(Relaxed);
            let server = TcpStream::connect(service).unwrap();
            let back = (server.try_clone().unwrap(), client.try_clone().unwrap());
            for (mut from, mut to) in [(client, server), back] {
                let flag = flag.clone();
                std::thread::spawn(move || {
                    let mut part = [0; 16_384];
                    while let Ok(n @ 1..) = from.read(&mut part) {
                        if (lives_on || !flag.load(Relaxed)) && to.write_all(&part[..n]).is_err() {
                            return;
                        }
                    }
                });
            }
        }
    });
    (address, dead)
}

#[test]
fn d13_a_dead_connection_is_left_after_one_failure() {
    let (address, dead) = relay(service(200).0);
    let edge = edge(address, Duration::from_secs(3));
    let ask = || {
        let mut stream = TcpStream::connect(edge.plain).unwrap();
        stream.write_all(b"GET /small HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(ask().starts_with("HTTP/1.1 200"));
    dead.store(true, Relaxed);
    assert!(ask().starts_with("HTTP/1.1 504"));
    for _ in 0..3 {
        assert!(ask().starts_with("HTTP/1.1 200"));
    }
}

#[test]
fn d13_another_connection_is_opened_at_the_stream_limit() {
    let (address, requests) = service(3);
    let edge = edge(address, Duration::from_secs(30));
    let waiting: Vec<_> = (0..8).map(|_| begin(&edge, "/hang")).collect();
    // Those that came before the service said how many it takes wait for their turn on the first connection.
    wait_for(&requests, 3);
    std::thread::sleep(Duration::from_millis(500));
    assert_served_at_once(&edge);
    drop(waiting);
}
