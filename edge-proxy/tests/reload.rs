//! A reload loses nothing: no request, no connection, no WebSocket. Everything can be reloaded.

#![cfg(feature = "server")]

mod common;

use common::wire2::{End, Field, Http2};
use common::wire3::{self, Http3};
use common::{Edge, http1, read_until, tls};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use testkit::Origin;

const RELOADS: usize = 5;
const GET: &[u8] = b"GET /load HTTP/1.1\r\nHost: a.test\r\n\r\n";

/// An origin that accepts and echoes WebSockets, and responds to all other requests.
fn origin() -> SocketAddr {
    let simple = Origin::simple().address();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut head = Vec::new();
                let mut part = [0; 4096];
                while !head.ends_with(b"\r\n\r\n") {
                    match stream.read(&mut part) {
                        Ok(n @ 1..) => head.extend_from_slice(&part[..n]),
                        _ => return,
                    }
                }
                let text = String::from_utf8(head.clone()).unwrap();
                let Some(key) = text.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")) else {
                    return relay(stream, simple, &head);
                };
                let mut said =
                    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
                        .to_vec();
                said.extend_from_slice(&edge_http::websocket::accept(key.as_bytes()));
                said.extend_from_slice(b"\r\n\r\n");
                stream.write_all(&said).unwrap();
                while let Ok(n @ 1..) = stream.read(&mut part) {
                    if stream.write_all(&part[..n]).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

fn relay(mut client: TcpStream, to: SocketAddr, head: &[u8]) {
    let mut origin = TcpStream::connect(to).unwrap();
    origin.write_all(head).unwrap();
    let (mut back, mut there) = (origin.try_clone().unwrap(), client.try_clone().unwrap());
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut back, &mut there);
    });
    let _ = std::io::copy(&mut client, &mut origin);
}

/// The number of requests, and the number without a response.
#[derive(Default)]
struct Count {
    made: AtomicUsize,
    lost: AtomicUsize,
}

impl Count {
    fn note(&self, answered: bool) {
        self.made.fetch_add(1, Ordering::Relaxed);
        self.lost.fetch_add(usize::from(!answered), Ordering::Relaxed);
    }
}

fn http1_load(edge: &Edge, kept: bool, count: &Count, stop: &AtomicBool) {
    let config = http1(edge.root());
    let mut known = None;
    while !stop.load(Ordering::Relaxed) {
        let asked = known.take().map_or_else(|| tls(edge.tls(), &config), Ok).and_then(|mut stream| {
            stream.write_all(GET)?;
            let mut all = Vec::new();
            let mut part = [0; 1024];
            while !all.ends_with(b"\r\n\r\nok") {
                match stream.read(&mut part)? {
                    0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                    n => all.extend_from_slice(&part[..n]),
                }
            }
            Ok((stream, all.starts_with(b"HTTP/1.1 200 ")))
        });
        count.note(matches!(asked, Ok((_, true))));
        known = asked.ok().map(|(stream, _)| stream).filter(|_| kept);
    }
}

fn http2_load(edge: &Edge, count: &Count, stop: &AtomicBool) {
    // One connection for the whole test: if it were closed, every later request would be lost.
    let mut client = Http2::connect(edge.tls(), edge.root(), "a.test");
    while !stop.load(Ordering::Relaxed) {
        let answer = client.get("a.test", "/load");
        count.note(answer.status() == Some("200") && answer.end == End::Stream);
    }
}

fn http3_load(edge: &Edge, count: &Count, stop: &AtomicBool) {
    wire3::run(async {
        let client = Http3::connect(edge.tls(), edge.root(), "a.test").await;
        while !stop.load(Ordering::Relaxed) {
            let answer = client.get("a.test", "/load").await;
            count.note(answer.status() == Some("200") && answer.end == wire3::End::Stream);
        }
    });
}

#[test]
fn five_reloads_under_load_lose_nothing() {
    let edge = Edge::before(origin(), 2);
    let mut websocket = tls(edge.tls(), &http1(edge.root())).unwrap();
    websocket
        .write_all(
            b"GET /ws HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
              Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )
        .unwrap();
    assert!(read_until(&mut websocket, "\r\n\r\n").starts_with("HTTP/1.1 101 "));
    let mut over2 = Http2::connect(edge.tls(), edge.root(), "a.test");
    let extended: [Field<'_>; 6] = [
        (b":method", b"CONNECT"),
        (b":protocol", b"websocket"),
        (b":scheme", b"https"),
        (b":authority", b"a.test"),
        (b":path", b"/ws"),
        (b"sec-websocket-version", b"13"),
    ];
    let stream2 = over2.open(&extended, false);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let over3 = runtime.block_on(Http3::connect(edge.tls(), edge.root(), "a.test"));
    let (mut send3, mut reader3) = runtime.block_on(over3.open(&wire3::headers(&extended)));
    runtime.block_on(reader3.frame()).unwrap();

    let counts: [Count; 4] = Default::default();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| http1_load(&edge, true, &counts[0], &stop));
        scope.spawn(|| http1_load(&edge, false, &counts[1], &stop));
        scope.spawn(|| http2_load(&edge, &counts[2], &stop));
        scope.spawn(|| http3_load(&edge, &counts[3], &stop));
        for number in 0..RELOADS {
            std::thread::sleep(Duration::from_millis(200));
            let mut config = edge.config.clone();
            // A different change each time, without listeners.
            config.limits.header_fields += number + 1;
            edge.proxy.reload(config).unwrap();
            let word = format!("after reload {number}");
            websocket.write_all(word.as_bytes()).unwrap();
            assert_eq!(read_until(&mut websocket, &word), word);
            over2.data(stream2, word.as_bytes(), false);
            assert_eq!(over2.content(stream2, word.len()).1, word.as_bytes());
            runtime.block_on(async {
                send3.write_all(&wire3::data(word.as_bytes())).await.unwrap();
                assert_eq!(reader3.frame().await.unwrap().1, word.as_bytes());
            });
        }
        std::thread::sleep(Duration::from_millis(200));
        stop.store(true, Ordering::Relaxed);
    });
    for (name, count) in ["HTTP/1.1, kept", "HTTP/1.1, new", "HTTP/2", "HTTP/3"].iter().zip(&counts) {
        let (made, lost) = (count.made.load(Ordering::Relaxed), count.lost.load(Ordering::Relaxed));
        println!("{name}: {made} requests over {RELOADS} reloads, {lost} lost");
        assert!(made > 2 * RELOADS, "{name}: only {made} requests");
        assert_eq!(lost, 0, "{name}");
    }
}

#[test]
fn the_port_that_was_given_is_advertised() {
    let edge = Edge::before(Origin::simple().address(), 1);
    for _ in 0..2 {
        let answer = Http2::connect(edge.tls(), edge.root(), "a.test").get("a.test", "/");
        let says = format!("h3=\":{}\"; ma=86400", edge.tls().port());
        assert_eq!(answer.field("alt-svc"), Some(&says[..]));
        edge.proxy.reload(edge.config.clone()).unwrap();
    }
}

#[test]
fn listeners_come_and_go_by_reloads() {
    let edge = Edge::before(Origin::simple().address(), 2);
    let mut config = edge.config.clone();
    // Two more, whose ports the system chooses.
    let more = edge_proxy::config::Listener::plain(([127, 0, 0, 2], 0).into());
    let secure = edge_proxy::config::Listener::tls(([127, 0, 0, 2], 0).into()).http3(true);
    config.listeners.extend([more, secure]);
    edge.proxy.reload(config).unwrap();
    let addresses = edge.proxy.addresses();
    assert_eq!(addresses[..2], [edge.plain(), edge.tls()]);
    let mut kept = TcpStream::connect(addresses[2]).unwrap();
    let mut ask = || {
        kept.write_all(GET).unwrap();
        read_until(&mut kept, "\r\n\r\nok")
    };
    assert!(ask().starts_with("HTTP/1.1 200 "));
    assert!(Http2::connect(addresses[3], edge.root(), "a.test").get("a.test", "/").status() == Some("200"));
    edge.proxy.reload(edge.config.clone()).unwrap();
    let until = Instant::now() + Duration::from_secs(2);
    for gone in &addresses[2..] {
        while TcpStream::connect(gone).is_ok() {
            assert!(Instant::now() < until, "{gone} is still listened on");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    // Connections of the removed listener are still served.
    assert!(ask().starts_with("HTTP/1.1 200 "));
    assert!(Http2::connect(edge.tls(), edge.root(), "a.test").get("a.test", "/").status() == Some("200"));
}

#[test]
fn trusted_ranges_change_by_a_reload() {
    let origin = Origin::simple();
    let edge = Edge::before(origin.address(), 1);
    // The same connection all the time.
    let mut stream = TcpStream::connect(edge.plain()).unwrap();
    let mut ask = |path: &str| {
        let said = format!("GET {path} HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: 198.51.100.7\r\n\r\n");
        stream.write_all(said.as_bytes()).unwrap();
        read_until(&mut stream, "\r\n\r\nok");
        let text = origin.text();
        let (_, request) = text.rsplit_once(&format!("GET {path} ")).unwrap();
        request.lines().find_map(|line| line.strip_prefix("X-Real-IP: ")).unwrap().to_owned()
    };
    assert_eq!(ask("/untrusted"), "127.0.0.1");
    let mut config = edge.config.clone();
    config.trust.ranges = vec!["127.0.0.0/8".parse().unwrap()];
    edge.proxy.reload(config).unwrap();
    let until = Instant::now() + Duration::from_secs(2);
    while ask("/trusted") != "198.51.100.7" {
        assert!(Instant::now() < until, "the range is still not trusted");
    }
    edge.proxy.reload(edge.config.clone()).unwrap();
    while ask("/again") != "127.0.0.1" {
        assert!(Instant::now() < until, "the range is still trusted");
    }
}

#[test]
fn a_wrong_configuration_changes_nothing() {
    let edge = Edge::before(Origin::simple().address(), 1);
    let mut config = edge.config.clone();
    config.upstreams.clear();
    assert!(edge.proxy.reload(config).is_err());
    let mut stream = tls(edge.tls(), &http1(edge.root())).unwrap();
    stream.write_all(GET).unwrap();
    assert!(read_until(&mut stream, "\r\n\r\nok").starts_with("HTTP/1.1 200 "));
}

/// The certificate that a new handshake presents, over TCP and over QUIC.
fn shown(edge: &Edge) -> Vec<u8> {
    let stream = tls(edge.tls(), &http1(edge.root())).unwrap();
    let tcp = stream.conn.peer_certificates().unwrap()[0].to_vec();
    let quic = wire3::run(async {
        let client = Http3::connect(edge.tls(), edge.root(), "a.test").await;
        let chain = client.quic.peer_identity().unwrap();
        chain.downcast::<Vec<rustls::pki_types::CertificateDer<'static>>>().unwrap()[0].to_vec()
    });
    assert_eq!(tcp, quic);
    tcp
}

#[test]
fn certificates_change_without_a_restart() {
    let edge = Edge::before(Origin::simple().address(), 1);
    let folder = edge.folder.path().join("test");
    let mut open = tls(edge.tls(), &http1(edge.root())).unwrap();
    let first = shown(&edge);
    edge.authority.write(&folder, &["a.test"]);
    let refreshed = edge.certificates.refresh().unwrap();
    assert_eq!((refreshed.swapped.len(), refreshed.problems.len()), (1, 0), "{refreshed:?}");
    let second = shown(&edge);
    assert_ne!(first, second, "the old certificate is still shown");

    // A chain that does not match its key: the valid pair stays.
    let (chain, _) = edge.authority.issue(&["a.test"]);
    std::fs::write(folder.join("fullchain.pem"), chain).unwrap();
    let refreshed = edge.certificates.refresh().unwrap();
    assert_eq!((refreshed.swapped.len(), refreshed.problems.len()), (0, 1), "{refreshed:?}");
    assert_eq!(shown(&edge), second);
    std::fs::write(folder.join("key.pem"), "no key").unwrap();
    assert_eq!(edge.certificates.refresh().unwrap().problems.len(), 1);
    assert_eq!(shown(&edge), second);

    // The connection from before all that is still open.
    open.write_all(GET).unwrap();
    assert!(read_until(&mut open, "\r\n\r\nok").starts_with("HTTP/1.1 200 "));
}

/// An origin that delays the second half of its response.
fn slow() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut part = [0; 4096];
                let _ = stream.read(&mut part);
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf").unwrap();
                std::thread::sleep(Duration::from_millis(1200));
                stream.write_all(b"half").unwrap();
            });
        }
    });
    address
}

#[test]
fn a_shutdown_finishes_slow_responses() {
    let edge = Edge::before(slow(), 1);
    let (address, root) = (edge.tls(), edge.root().to_owned());
    let mut over1 = tls(address, &http1(&root)).unwrap();
    over1.write_all(GET).unwrap();
    read_until(&mut over1, "\r\n\r\nhalf");
    let mut over2 = Http2::connect(address, &root, "a.test");
    let stream2 = over2.request("GET", "a.test", "/", &[], true);
    assert_eq!(over2.content(stream2, 4).1, b"half");
    let over3 = std::thread::spawn(move || {
        wire3::run(async {
            let client = Http3::connect(address, &root, "a.test").await;
            let answer = client.get("a.test", "/").await;
            // The client stays connected, and is told that the connection ends.
            (answer, client.quic.closed().await)
        })
    });
    std::thread::sleep(Duration::from_millis(300));
    let began = Instant::now();
    let Edge { proxy, folder, .. } = edge;
    let ending = std::thread::spawn(move || proxy.shutdown(Duration::from_secs(10)));
    assert_eq!(read_until(&mut over1, "half"), "half");
    let rest = over2.answer(stream2);
    assert_eq!((&rest.content[..], rest.end), (&b"half"[..], End::Stream));
    // Connections are closed once nothing is in flight on them; their clients notice.
    assert_eq!(over1.read(&mut [0]).unwrap(), 0);
    assert_eq!(over2.answer(stream2).end, End::Closed);
    let (over3, closed) = over3.join().unwrap();
    assert_eq!((&over3.content[..], over3.end), (&b"halfhalf"[..], wire3::End::Stream));
    match closed {
        quinn::ConnectionError::ApplicationClosed(close) => assert_eq!(close.error_code.into_inner(), 0x100),
        other => panic!("{other:?}"),
    }
    ending.join().unwrap();
    assert!(began.elapsed() < Duration::from_secs(5), "the shutdown waited for nothing");
    // Nothing listens any more.
    assert!(TcpStream::connect(address).is_err());
    drop(folder);
}

#[test]
fn a_watched_folder_is_swapped_without_a_call() {
    let authority = testkit::Authority::new();
    let folder = tempfile::tempdir().unwrap();
    authority.write(&folder.path().join("test"), &["a.test"]);
    let (reports, reported) = std::sync::mpsc::channel();
    let report = move |looked: Result<edge_proxy::RefreshReport, _>| {
        let _ = reports.send(looked.map(|report| (report.swapped.len(), report.problems.len())).ok());
    };
    let watched = edge_proxy::Certificates::watch(folder.path(), Duration::from_millis(50), report).unwrap();
    let limit = Duration::from_secs(20);
    assert_eq!(reported.recv_timeout(limit), Ok(Some((1, 0))));
    let before = watched.list();
    authority.write(&folder.path().join("test"), &["a.test"]);
    while watched.list() == before {
        assert!(reported.recv_timeout(limit).is_ok(), "nothing was reported");
    }
    drop(watched);
    // The thread ends with the certificates, and its report with it.
    while reported.recv_timeout(limit) != Err(std::sync::mpsc::RecvTimeoutError::Disconnected) {}
}

/// However few descriptors there are: a proxy that has started serves with all of its workers, or the start is an
/// error.
#[test]
fn a_start_that_is_no_error_serves() {
    if std::env::var_os("EDGE_PROXY_FEW_DESCRIPTORS").is_some() {
        return serve_with_few_descriptors();
    }
    let program = std::env::current_exe().unwrap();
    let (mut refused, mut served) = (0, 0);
    for limit in (32..=104).step_by(6) {
        let command =
            format!("ulimit -n {limit}; exec \"$0\" --exact a_start_that_is_no_error_serves --nocapture");
        let output = std::process::Command::new("sh")
            .args(["-c", &command])
            .arg(&program)
            .env("EDGE_PROXY_FEW_DESCRIPTORS", "1")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{limit}: {text}{}", String::from_utf8_lossy(&output.stderr));
        refused += usize::from(text.contains("does not start: "));
        served += usize::from(text.contains("all are served"));
    }
    assert!(refused > 0 && served > 0 && refused + served == 13, "{refused} refused, {served} served");
}

fn serve_with_few_descriptors() {
    use edge_proxy::config::{Action, Listener, PathMatch, PlainHttp, Response, Route, Site};
    // Left over for the requests, which need some too.
    let spare: Result<Vec<_>, _> = (0..8).map(|_| std::fs::File::open("/dev/null")).collect();
    let Ok(spare) = spare else { return println!("does not start: no descriptors at all") };
    let said = Response { status: 200, content_type: "text/plain".into(), body: b"ok".to_vec() };
    let mut site = Site::new("a", vec!["a.test".parse().unwrap()])
        .route(Route::new(PathMatch::Prefix("/".into()), Action::Respond(said)));
    site.plain = PlainHttp::Serve;
    let mut builder = edge_proxy::Proxy::builder().workers(4).site(site);
    for _ in 0..3 {
        builder = builder.listener(Listener::plain(([127, 0, 0, 1], 0).into()));
    }
    let proxy = match builder.start() {
        Ok(proxy) => proxy,
        Err(error) => return println!("does not start: {error}: {:?}", std::error::Error::source(&error)),
    };
    drop(spare);
    for at in 0..24 {
        let mut stream = TcpStream::connect(proxy.addresses()[at % 3]).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.ends_with("ok"), "{answer}");
    }
    assert!(proxy.workers() == 4 && proxy.worker_status().iter().all(|worker| worker.error.is_none()));
    println!("all are served");
}

/// A service that answers once as many connections as these have asked, and counts those that are open.
fn gathering(needed: usize) -> (SocketAddr, std::sync::Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let open = std::sync::Arc::new(AtomicUsize::new(0));
    let (counted, gate) = (open.clone(), std::sync::Arc::new(std::sync::Barrier::new(needed)));
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let (open, gate) = (counted.clone(), gate.clone());
            open.fetch_add(1, Ordering::SeqCst);
            std::thread::spawn(move || {
                if let Ok(1..) = stream.read(&mut [0; 4096]) {
                    gate.wait();
                    let _ = stream.write_all(&testkit::answer("ok"));
                    while let Ok(1..) = stream.read(&mut [0; 4096]) {}
                }
                open.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    (address, open)
}

#[test]
fn a_changed_limit_of_idle_connections_applies_at_once() {
    let (address, open) = gathering(4);
    let edge = Edge::before(address, 1);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut stream = TcpStream::connect(edge.plain()).unwrap();
                stream.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").unwrap();
                read_until(&mut stream, "\r\n\r\nok");
            });
        }
    });
    assert_eq!(open.load(Ordering::SeqCst), 4, "as many are kept as were in use");
    let mut config = edge.config.clone();
    config.limits.idle_upstream = 1;
    edge.proxy.reload(config).unwrap();
    let until = Instant::now() + Duration::from_secs(4);
    while open.load(Ordering::SeqCst) > 1 && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(open.load(Ordering::SeqCst) <= 1, "{} are kept", open.load(Ordering::SeqCst));
}
