//! Connections that were established before a listener ended, and whose clients could not know of that: their first
//! request is answered, over every version of HTTP. QUIC connections of a removed listener go on beside those of its
//! successor.

#![cfg(feature = "server")]

mod common;

use common::wire2::Http2;
use common::wire3::{self, Http3};
use common::{Edge, http1, read_until, tls};
use edge_proxy::config::{Config, Listener};
use edge_proxy::{AccessRecord, ConnectionRejected, Observer, Proxy, ProxyHandle};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};
use testkit::{Origin, tls_client};

const GET: &[u8] = b"GET /here HTTP/1.1\r\nHost: a.test\r\n\r\n";

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// Sends a request and returns the status line, or the error by which the connection ended.
fn ask(stream: &mut (impl Read + Write)) -> String {
    match stream.write_all(GET) {
        Ok(()) => answered(stream),
        Err(why) => why.to_string(),
    }
}

/// Returns the status line of an answer, or the error by which the connection ended.
fn answered(stream: &mut impl Read) -> String {
    let mut found = Vec::new();
    let mut part = [0; 512];
    while !found.ends_with(b"ok") {
        match stream.read(&mut part) {
            Ok(0) => return "closed".into(),
            Ok(n) => found.extend_from_slice(&part[..n]),
            Err(why) => return why.to_string(),
        }
    }
    String::from_utf8_lossy(&found).lines().next().unwrap_or_default().to_owned()
}

/// A client of HTTP/3 on a thread of its own, which waits between its handshake and its request. The result has the
/// time after the request was sent. `None` if the connection was closed before.
fn http3(edge: &Edge) -> (mpsc::Sender<()>, std::thread::JoinHandle<Option<(String, Instant)>>) {
    let (address, root) = (edge.tls(), edge.root().to_owned());
    let ((go, wait), (ready, connected)) = (mpsc::channel(), mpsc::channel());
    let client = std::thread::spawn(move || {
        wire3::run(async {
            let client = Http3::connect(address, &root, "a.test").await;
            ready.send(()).unwrap();
            // The connection's packets are processed meanwhile.
            let asked = tokio::task::spawn_blocking(move || wait.recv());
            asked.await.unwrap().unwrap();
            if client.quic.close_reason().is_some() {
                return None;
            }
            let (mut send, mut reader) = client.open(&wire3::request("GET", "a.test", "/here", &[])).await;
            send.finish().ok()?;
            let sent = Instant::now();
            let status = reader.answer().await.status().unwrap_or_default().to_owned();
            client.quic.closed().await;
            Some((status, sent))
        })
    });
    connected.recv().unwrap();
    (go, client)
}

#[test]
fn a_first_request_after_the_beginning_of_a_shutdown_is_answered() {
    // The clients have a second, in which a busy machine may not let them send.
    for _ in 0..6 {
        if ask_during_a_shutdown() {
            return;
        }
    }
    panic!("the clients of this test were too late each time");
}

/// Sends the first requests of several connections after the beginning of a shutdown, and asserts that they are
/// answered. False if they were sent too late.
fn ask_during_a_shutdown() -> bool {
    let edge = Edge::before(Origin::simple().address(), 1);
    let config = http1(edge.root());
    let mut plain = connect(edge.plain());
    let mut silent = connect(edge.plain());
    let mut used = connect(edge.plain());
    assert_eq!(ask(&mut used), "HTTP/1.1 200 OK");
    // One in front of its ClientHello, and one behind the handshake.
    let session = rustls::ClientConnection::new(config.clone(), "a.test".try_into().unwrap()).unwrap();
    let mut before_hello = rustls::StreamOwned::new(session, connect(edge.tls()));
    let mut after_handshake = tls(edge.tls(), &config).unwrap();
    let mut over2 = Http2::connect(edge.tls(), edge.root(), "a.test");
    let (go, over3) = http3(&edge);
    std::thread::sleep(Duration::from_millis(100));

    let began = Instant::now();
    let Edge { proxy, folder, .. } = edge;
    let ending = std::thread::spawn(move || proxy.shutdown(Duration::from_secs(20)));
    std::thread::sleep(Duration::from_millis(200));
    // All are sent before the first answer is waited for.
    go.send(()).unwrap();
    let sent = plain.write_all(GET).is_ok()
        && before_hello.write_all(GET).is_ok()
        && after_handshake.write_all(GET).is_ok();
    let stream = over2.request("GET", "a.test", "/here", &[], true);
    if !sent || began.elapsed() > Duration::from_millis(600) {
        drop((over2, folder));
        ending.join().unwrap();
        return false;
    }
    assert_eq!(answered(&mut plain), "HTTP/1.1 200 OK");
    assert_eq!(answered(&mut before_hello), "HTTP/1.1 200 OK");
    assert_eq!(answered(&mut after_handshake), "HTTP/1.1 200 OK");
    assert_eq!(over2.answer(stream).status(), Some("200"));
    // Its thread may have been too late alone.
    let in_time = match over3.join().unwrap() {
        Some((status, sent)) if sent - began <= Duration::from_millis(600) => {
            assert_eq!(status, "200");
            true
        }
        _ => false,
    };
    // One that asks for nothing, or for more, is not waited for.
    assert_eq!(silent.read(&mut [0]).unwrap(), 0);
    assert_ne!(ask(&mut used), "HTTP/1.1 200 OK");
    drop(over2);
    ending.join().unwrap();
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    drop(folder);
    in_time
}

/// An observer that blocks the worker in the access record of a request, so that connections stay in the queue of the
/// socket.
#[derive(Default)]
struct WorkerGate {
    armed: AtomicBool,
    entered: AtomicBool,
    gate: Mutex<()>,
}

impl Observer for WorkerGate {
    fn access(&self, _: &AccessRecord<'_>) {
        if self.armed.swap(false, SeqCst) {
            self.entered.store(true, SeqCst);
            drop(self.gate.lock().unwrap());
        }
    }
}

/// A proxy with one worker and listeners at fixed addresses, and the gate of its worker.
fn gated(edge: &Edge) -> (ProxyHandle, Config, Arc<WorkerGate>) {
    let gate = Arc::new(WorkerGate::default());
    let mut config = edge.config.clone();
    config.listeners.truncate(1);
    config.listeners[0].address = testkit::nobody();
    let builder = Proxy::builder().config(config.clone()).observer(gate.clone()).workers(1);
    (builder.certificates(edge.certificates.clone()).start().unwrap(), config, gate)
}

/// Runs `end` while the worker is blocked and eight connections with a request are in the queue. Each must be answered.
fn end_with_a_queue(end: impl FnOnce(ProxyHandle, Config) -> Option<ProxyHandle> + Send) {
    let edge = Edge::before(Origin::simple().address(), 1);
    let (proxy, config, gate) = gated(&edge);
    let address = proxy.addresses()[0];
    let held = gate.gate.lock().unwrap();
    gate.armed.store(true, SeqCst);
    let mut first = connect(address);
    first.write_all(GET).unwrap();
    while !gate.entered.load(SeqCst) {
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut queued: Vec<TcpStream> = (0..8).map(|_| connect(address)).collect();
    queued.iter_mut().for_each(|stream| stream.write_all(GET).unwrap());
    std::thread::scope(|scope| {
        let ending = scope.spawn(|| end(proxy, config));
        std::thread::sleep(Duration::from_millis(200));
        drop(held);
        for (number, mut stream) in queued.into_iter().enumerate() {
            assert_eq!(
                read_until(&mut stream, "\r\n\r\nok").lines().next(),
                Some("HTTP/1.1 200 OK"),
                "{number}"
            );
        }
        drop(ending.join().unwrap());
    });
}

#[test]
fn a_shutdown_answers_the_connections_in_the_queue() {
    end_with_a_queue(|proxy, _| {
        let report = proxy.shutdown(Duration::from_secs(20));
        assert!(report.is_complete(), "{report}");
        None
    });
}

#[test]
fn a_shutdown_returns_what_it_aborted() {
    const SLOW: &[u8] = b"GET /slow HTTP/1.1\r\nHost: a.test\r\n\r\n";
    // It never answers.
    let origin = Origin::scripted(|_| None);
    let edge = Edge::before(origin.address(), 2);
    // It is closed at once.
    let mut idle = connect(edge.plain());
    assert_eq!(ask(&mut idle), "HTTP/1.1 200 OK");
    let mut over1 = connect(edge.plain());
    over1.write_all(SLOW).unwrap();
    let mut over2 = Http2::connect(edge.tls(), edge.root(), "a.test");
    over2.request("GET", "a.test", "/slow", &[], true);
    let (address, root) = (edge.tls(), edge.root().to_owned());
    let over3 = std::thread::spawn(move || {
        wire3::run(async {
            let client = Http3::connect(address, &root, "a.test").await;
            let (mut send, _reader) = client.open(&wire3::request("GET", "a.test", "/slow", &[])).await;
            send.finish().unwrap();
            client.quic.closed().await;
        });
    });
    assert!(origin.wait(|text| text.matches("GET /slow").count() == 3), "{}", origin.text());
    let Edge { proxy, folder, .. } = edge;
    let report = proxy.shutdown(Duration::from_secs(1));
    assert_eq!((report.aborted_requests, report.closed_connections), (3, 2), "{report}");
    over3.join().unwrap();
    drop((idle, over1, over2, folder));
}

#[test]
fn a_listener_that_changes_keeps_its_queue() {
    end_with_a_queue(|proxy, mut config| {
        config.listeners[0] = config.listeners[0].clone().named("public");
        proxy.reload(config).unwrap();
        Some(proxy)
    });
}

#[test]
fn a_listener_that_is_removed_answers_the_connections_in_its_queue() {
    end_with_a_queue(|proxy, mut config| {
        config.listeners.clear();
        proxy.reload(config).unwrap();
        Some(proxy)
    });
}

/// The kernel distributes datagrams among the sockets of a removed listener and those of the one that came after it at
/// the same address. Each must arrive where its connection is.
#[test]
fn quic_listeners_that_change_or_return_lose_no_handshake() {
    // It answers once the content is complete.
    let origin = Origin::scripted(|bytes| {
        bytes.ends_with(b"\r\n0\r\n\r\n").then(|| (testkit::answer("ok"), bytes.len()))
    });
    let edge = Edge::before(origin.address(), 2);
    let address = edge.tls();
    let listener = Listener::tls(address).http3(true);
    let reload = |listeners: Vec<Listener>| {
        let mut config = edge.config.clone();
        config.listeners = listeners;
        edge.proxy.reload(config).unwrap();
    };
    wire3::run(async {
        // Requests that are not complete keep the engines of their time.
        let mut open = Vec::new();
        let steps = [
            vec![listener.clone()],
            vec![listener.clone().named("public")],
            Vec::new(),
            vec![listener.clone()],
            vec![listener.clone().named("again")],
        ];
        for (step, listeners) in steps.into_iter().enumerate() {
            let serves = !listeners.is_empty();
            reload(listeners);
            if !serves {
                continue;
            }
            let mut took = Vec::new();
            for _ in 0..16 {
                let began = Instant::now();
                let client = Http3::connect(address, edge.root(), "a.test").await;
                assert_eq!(client.get("a.test", "/here").await.status(), Some("200"));
                took.push(began.elapsed());
            }
            // A lost handshake takes a second, and half of them would be lost.
            took.sort();
            assert!(took[11] < Duration::from_secs(1), "step {step}: {took:?}");
            let client = Http3::connect(address, edge.root(), "a.test").await;
            let (mut send, reader) = client.open(&wire3::request("POST", "a.test", "/post", &[])).await;
            send.write_all(&wire3::data(b"half")).await.unwrap();
            open.push((client, send, reader));
        }
        for (step, (_client, send, reader)) in open.iter_mut().enumerate() {
            send.write_all(&wire3::data(b"half")).await.unwrap();
            send.finish().unwrap();
            let answer = reader.answer().await;
            assert_eq!((answer.status(), answer.end.clone()), (Some("200"), wire3::End::Stream), "{step}");
        }
    });
}

/// A QUIC listener is removed and returns, twice. Uploads of each generation end, whichever socket the kernel gives
/// their datagrams to.
#[test]
fn quic_connections_of_three_generations_of_a_listener_end() {
    let origin = Origin::scripted(|bytes| {
        bytes.ends_with(b"\r\n0\r\n\r\n").then(|| (testkit::answer("ok"), bytes.len()))
    });
    let edge = Edge::before(origin.address(), 2);
    let address = edge.tls();
    let reload = |listeners: Vec<Listener>| {
        let mut config = edge.config.clone();
        config.listeners = listeners;
        edge.proxy.reload(config).unwrap();
    };
    let upload = async || {
        let client = Http3::connect(address, edge.root(), "a.test").await;
        let (mut send, reader) = client.open(&wire3::request("POST", "a.test", "/post", &[])).await;
        send.write_all(&wire3::data(b"half")).await.unwrap();
        (client, send, reader)
    };
    wire3::run(async {
        let mut open = vec![upload().await];
        for _ in 0..2 {
            // Most generations have connections at one of their two workers only.
            reload(Vec::new());
            reload(vec![Listener::tls(address).http3(true)]);
            open.push(upload().await);
            for (_, send, _) in &mut open {
                send.write_all(&wire3::data(b"more")).await.unwrap();
            }
        }
        // From other addresses, so that the datagrams arrive at other sockets, of either worker and of each generation.
        for (generation, (client, send, _)) in open.iter_mut().enumerate() {
            for _ in 0..12 {
                client.rebind();
                let acknowledged = |client: &Http3| client.quic.stats().frame_rx.acks;
                let before = acknowledged(client);
                send.write_all(&wire3::data(b"more")).await.unwrap();
                let until = Instant::now() + Duration::from_secs(10);
                // A datagram at the wrong engine is lost, as often as it is sent.
                while acknowledged(client) == before {
                    assert!(Instant::now() < until, "generation {generation}");
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        }
        // With the last one removed too, all go on where they are.
        reload(Vec::new());
        for (generation, (_client, send, reader)) in open.iter_mut().enumerate() {
            send.write_all(&wire3::data(b"half")).await.unwrap();
            send.finish().unwrap();
            let answer = reader.answer().await;
            let got = (answer.status(), answer.end.clone());
            assert_eq!(got, (Some("200"), wire3::End::Stream), "generation {generation}");
        }
    });
}

/// An observer that takes its time for each connection that is rejected, and counts them.
#[derive(Default)]
struct Slow(AtomicUsize);

impl Observer for Slow {
    fn rejected(&self, _: &ConnectionRejected<'_>) {
        self.0.fetch_add(1, SeqCst);
        std::thread::sleep(Duration::from_micros(500));
    }
}

/// The number of connections that a listener accepts from its queue when it ends.
const LAST_ACCEPTS: usize = 4096;

#[test]
fn a_shutdown_ends_during_a_flood_of_connections() {
    for _ in 0..4 {
        if shut_down_during_a_flood() >= LAST_ACCEPTS {
            return;
        }
    }
    panic!("the queue was empty once each time");
}

/// Shuts a proxy down whose listener's queue always has connections, each of which is rejected. Returns the number
/// of those that are rejected from the beginning of the shutdown on: fewer than [`LAST_ACCEPTS`] if the queue was
/// empty once.
fn shut_down_during_a_flood() -> usize {
    let edge = Edge::before(Origin::simple().address(), 1);
    let mut config = edge.config.clone();
    (config.listeners, config.limits.connections) = (vec![Listener::plain(testkit::nobody())], 1);
    let slow = Arc::new(Slow::default());
    let proxy = Proxy::builder().config(config).observer(slow.clone()).workers(1).start().unwrap();
    let address = proxy.addresses()[0];
    let _only = connect(address);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..48 {
            scope.spawn(|| {
                while !over.load(SeqCst) {
                    // After the end there is nobody to connect to.
                    if let Ok(mut stream) = TcpStream::connect(address) {
                        let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
                        let _ = stream.read(&mut [0]);
                    }
                }
            });
        }
        std::thread::sleep(Duration::from_millis(300));
        let (began, before) = (Instant::now(), slow.0.load(SeqCst));
        proxy.shutdown(Duration::from_secs(120));
        over.store(true, SeqCst);
        assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
        slow.0.load(SeqCst) - before
    })
}

/// RFC 9000 §8.1: an address is validated by an ID with 64 bits of entropy.
#[test]
fn connection_ids_have_twelve_bytes() {
    let edge = Edge::before(Origin::simple().address(), 1);
    wire3::run(async {
        // A first flight by hand, of which the answer names the server's ID.
        let trap = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        let tls =
            quinn::crypto::rustls::QuicClientConfig::try_from(tls_client(edge.root(), &[b"h3"])).unwrap();
        endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(tls)));
        let _connecting = endpoint.connect(trap.local_addr().unwrap(), "a.test").unwrap();
        let client = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut datagram = [0; 2000];
        for _ in 0..2 {
            let n = trap.recv(&mut datagram).await.unwrap();
            client.send_to(&datagram[..n], edge.tls()).await.unwrap();
        }
        let n = client.recv(&mut datagram).await.unwrap();
        let packet = &datagram[..n];
        assert!(packet[0] & 0x80 != 0, "a long header");
        let source_at = 6 + usize::from(packet[5]);
        assert_eq!(packet[source_at], 12);
    });
}
