//! HTTP/2 connections to a service that several requests wait for: a client that leaves meanwhile, a service that
//! allows few streams, and one that refuses them.
#![cfg(feature = "server")]

mod common;

use bytes::Bytes;
use common::{Edge, read_until};
use edge_proxy::config::{Auth, ForwardAuth, Protocol, Target, Upstream};
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use testkit::Origin;

/// What a service does.
#[derive(Clone, Copy)]
struct Behaviour {
    /// The time before its SETTINGS.
    before_settings: Duration,
    /// The number of streams of a connection that it allows.
    streams: u32,
    /// The time before each answer.
    before_answer: Duration,
    /// The number of connections whose streams it refuses, from the first one on.
    refusing: usize,
}

const PROMPT: Behaviour =
    Behaviour { before_settings: Duration::ZERO, streams: 100, before_answer: Duration::ZERO, refusing: 0 };

/// The streams of one connection: now open, most at once, all so far.
#[derive(Clone, Copy, Debug, Default)]
struct Streams {
    open: usize,
    peak: usize,
    all: usize,
}

type Connections = Arc<Mutex<Vec<Streams>>>;

fn target(address: SocketAddr) -> Target {
    Target::Tcp { host: address.ip().to_string(), port: address.port() }
}

/// A listener whose queue has room for `queue` connections and one more.
fn listen(queue: i32) -> TcpListener {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(queue).unwrap();
    socket.into()
}

/// Serves HTTP/2 with prior knowledge on a thread.
fn serve(listener: TcpListener, behaviour: Behaviour) -> Connections {
    let connections = Connections::default();
    let known = connections.clone();
    listener.set_nonblocking(true).unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(connection(stream, behaviour, known.clone()));
            }
        });
    });
    connections
}

async fn connection(stream: tokio::net::TcpStream, behaviour: Behaviour, known: Connections) {
    tokio::time::sleep(behaviour.before_settings).await;
    let mut builder = h2::server::Builder::new();
    builder.max_concurrent_streams(behaviour.streams);
    let Ok(mut connection) = builder.handshake::<_, Bytes>(stream).await else { return };
    let mut number = None;
    while let Some(Ok((_, mut respond))) = connection.accept().await {
        // One that carries no request does not count.
        let number = *number.get_or_insert_with(|| {
            let mut known = known.lock().unwrap();
            known.push(Streams::default());
            known.len() - 1
        });
        {
            let streams = &mut known.lock().unwrap()[number];
            (streams.open, streams.all) = (streams.open + 1, streams.all + 1);
            streams.peak = streams.peak.max(streams.open);
        }
        let known = known.clone();
        tokio::spawn(async move {
            tokio::time::sleep(behaviour.before_answer).await;
            known.lock().unwrap()[number].open -= 1;
            if number < behaviour.refusing {
                return respond.send_reset(h2::Reason::REFUSED_STREAM);
            }
            let head = http::Response::builder().status(200).body(()).unwrap();
            if let Ok(mut content) = respond.send_response(head, false) {
                let _ = content.send_data(Bytes::from_static(b"ok"), true);
            }
        });
    }
}

/// An edge before a service over HTTP/2.
fn before(service: SocketAddr) -> Edge {
    let mut edge = Edge::before(service, 1);
    edge.config.upstreams[0].protocol = Protocol::Http2;
    edge.proxy.reload(edge.config.clone()).unwrap();
    edge
}

/// An edge before a service over HTTP/1.1, which asks another one over HTTP/2 about each request.
fn asking(origin: &Origin, portal: SocketAddr) -> Edge {
    let mut edge = Edge::before(origin.address(), 1);
    let asked = Upstream { protocol: Protocol::Http2, ..Upstream::new("portal", target(portal)) };
    edge.config.upstreams.push(asked);
    let auth = ForwardAuth { upstream: "portal".into(), path: "/auth".into(), copy: Vec::new() };
    edge.config.sites[0].auth = Some(Auth::Forward(auth));
    edge.proxy.reload(edge.config.clone()).unwrap();
    edge
}

/// Sends a request and returns its connection.
fn ask(edge: &Edge) -> TcpStream {
    let mut stream = TcpStream::connect(edge.plain()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").unwrap();
    stream
}

fn status(stream: &mut TcpStream) -> String {
    read_until(stream, "\r\n\r\n")[9..12].to_owned()
}

/// Waits until the edge tries to connect to a service whose queue is full.
fn wait_for_dial(address: SocketAddr) {
    let port = format!(":{:04X} 02 ", address.port());
    let until = Instant::now() + Duration::from_secs(20);
    while !std::fs::read_to_string("/proc/net/tcp").unwrap().contains(&port) {
        assert!(Instant::now() < until, "nobody connects to {address}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Two requests wait for the connection that a third one establishes, whose client then leaves.
fn leave_during_the_dial(listener: TcpListener, edge: &Edge, name: &str) {
    let address = listener.local_addr().unwrap();
    // It takes the only place, so that nobody else is connected before it is accepted.
    let _filler = TcpStream::connect(address).unwrap();
    let first = ask(edge);
    wait_for_dial(address);
    let mut others = [ask(edge), ask(edge)];
    // They have to wait by then, which nothing shows.
    std::thread::sleep(Duration::from_millis(200));
    socket2::SockRef::from(&first).set_linger(Some(Duration::ZERO)).unwrap();
    drop(first);
    std::thread::sleep(Duration::from_millis(200));
    let connections = serve(listener, PROMPT);
    for other in &mut others {
        assert_eq!(status(other), "200", "{name}");
    }
    let target = edge.proxy.targets().into_iter().find(|target| target.upstream == name).unwrap();
    assert_eq!(target.failures, 0, "{target:?}");
    assert_eq!(connections.lock().unwrap().len(), 1, "they share one connection");
}

#[test]
fn a_client_that_leaves_during_a_shared_dial_fails_nobody_else() {
    let listener = listen(0);
    let edge = before(listener.local_addr().unwrap());
    leave_during_the_dial(listener, &edge, "origin");
}

#[test]
fn a_client_that_leaves_during_a_shared_dial_of_an_authentication_fails_nobody_else() {
    let (listener, origin) = (listen(0), Origin::simple());
    let edge = asking(&origin, listener.local_addr().unwrap());
    leave_during_the_dial(listener, &edge, "portal");
}

/// Before SETTINGS a connection has one stream, and the other requests wait for the number.
#[test]
fn requests_before_settings_stay_within_the_stream_limit() {
    let behaviour = Behaviour {
        before_settings: Duration::from_millis(300),
        streams: 2,
        before_answer: Duration::from_secs(3),
        ..PROMPT
    };
    let listener = listen(128);
    let edge = before(listener.local_addr().unwrap());
    let connections = serve(listener, behaviour);
    let mut clients: Vec<TcpStream> = (0..6).map(|_| ask(&edge)).collect();
    for client in &mut clients {
        assert_eq!(status(client), "200");
    }
    let streams = connections.lock().unwrap().clone();
    assert!(streams.iter().all(|streams| streams.peak <= 2), "{streams:?}");
    // What is refused is repeated on a connection of its own.
    assert!(streams.len() <= 3, "{streams:?}");
    assert_eq!(streams.iter().map(|streams| streams.all).sum::<usize>(), 6, "{streams:?}");
}

/// A service that accepts connections and says nothing cannot be reached, for all who wait at the same time.
#[test]
fn requests_to_a_silent_service_do_not_wait_one_after_another() {
    const CONNECT: Duration = Duration::from_secs(2);
    let listener = listen(128);
    let mut edge = before(listener.local_addr().unwrap());
    edge.config.timeouts.connect = CONNECT;
    edge.proxy.reload(edge.config.clone()).unwrap();
    let _connections = serve(listener, Behaviour { before_settings: Duration::from_secs(3600), ..PROMPT });
    let began = Instant::now();
    let (sender, answers) = std::sync::mpsc::channel();
    for _ in 0..4 {
        let (mut client, sender) = (ask(&edge), sender.clone());
        std::thread::spawn(move || sender.send(status(&mut client)));
    }
    // The first one waits for its answer.
    for _ in 0..3 {
        let answer = answers.recv_timeout(Duration::from_secs(25)).unwrap();
        assert!(answer.starts_with('5'), "{answer}");
    }
    assert!(began.elapsed() < 2 * CONNECT, "{:?}", began.elapsed());
}

/// A service that is overloaded gets no second request for each one that it refuses.
#[test]
fn refused_requests_are_repeated_within_the_retry_budget() {
    const REQUESTS: usize = 60;
    let refusing = Behaviour { refusing: usize::MAX, ..PROMPT };
    let origin = Origin::simple();
    for authentication in [false, true] {
        let listener = listen(128);
        let address = listener.local_addr().unwrap();
        let edge = if authentication { asking(&origin, address) } else { before(address) };
        let connections = serve(listener, refusing);
        for _ in 0..REQUESTS {
            assert_ne!(status(&mut ask(&edge)), "200");
        }
        let asked: usize = connections.lock().unwrap().iter().map(|streams| streams.all).sum();
        // Ten, and one for five requests.
        let repeated = asked - REQUESTS;
        assert!((10..=10 + REQUESTS / 5).contains(&repeated), "{repeated}, authentication: {authentication}");
    }
}

#[test]
fn a_refused_subrequest_of_an_authentication_is_repeated() {
    let (listener, origin) = (listen(128), Origin::simple());
    let edge = asking(&origin, listener.local_addr().unwrap());
    let connections = serve(listener, Behaviour { refusing: 1, ..PROMPT });
    assert_eq!(status(&mut ask(&edge)), "200");
    assert_eq!(connections.lock().unwrap().len(), 2, "on another connection");
}

#[cfg(feature = "opentelemetry")]
#[test]
fn a_refused_export_of_spans_is_repeated() {
    let (listener, origin) = (listen(128), Origin::simple());
    let collector = Upstream {
        protocol: Protocol::Http2,
        ..Upstream::new("collector", target(listener.local_addr().unwrap()))
    };
    let connections = serve(listener, Behaviour { refusing: 1, ..PROMPT });
    let mut edge = Edge::before(origin.address(), 1);
    let mut tracing = edge_proxy::config::Tracing::new(collector, "edge", 1.0).unwrap();
    tracing.interval = Duration::from_millis(100);
    edge.proxy = edge_proxy::Proxy::builder()
        .config(edge.config.clone())
        .certificates(edge.certificates.clone())
        .workers(1)
        .tracing(tracing)
        .start()
        .unwrap();
    assert_eq!(status(&mut ask(&edge)), "200");
    let exported = || edge.proxy.metrics().spans.map_or(0, |spans| spans.exported);
    // One that failed is tried again after a second, on the connection that it has.
    let until = Instant::now() + Duration::from_secs(20);
    while exported() == 0 && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(5));
    }
    let streams = connections.lock().unwrap().clone();
    assert!(exported() > 0 && streams.len() == 2 && streams[0].all == 1, "{streams:?}");
}
