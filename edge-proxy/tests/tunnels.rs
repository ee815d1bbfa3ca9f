//! Protocol switches and the tunnels behind them, through one hop and through two: what was read from one side reaches the other, however
//! the side ends.

#![cfg(feature = "server")]

mod common;

use common::{Edge, Tls, http1, read_until, tls};
use edge_proxy::config::{Listener, PlainHttp, Route, Site, Target, Upstream, UpstreamTls};
use edge_proxy::{Proxy, ProxyHandle};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

const PROTOCOLS: [&str; 2] = ["tailscale-control-protocol", "websocket"];
const WAIT: Duration = Duration::from_secs(10);

/// A service that switches to whatever protocol it is asked for, and then does this with the connection.
fn service(tunnel: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let tunnel = std::sync::Arc::new(tunnel);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let tunnel = tunnel.clone();
            std::thread::spawn(move || {
                stream.set_read_timeout(Some(WAIT)).unwrap();
                stream.set_nodelay(true).unwrap();
                let head = read_until(&mut stream, "\r\n\r\n");
                let wish = head.lines().find_map(|line| line.strip_prefix("Upgrade: ")).map(str::to_owned);
                let answer = match wish {
                    Some(_) if head.contains("/other") => {
                        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n"
                            .to_owned()
                    }
                    Some(wish) => format!(
                        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: {wish}\r\n\r\n"
                    ),
                    None => "HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                        .to_owned(),
                };
                if stream.write_all(answer.as_bytes()).is_ok() && answer.contains(" 101 ") {
                    tunnel(stream);
                }
            });
        }
    });
    address
}

/// A node behind an edge: plain HTTP.
fn node(service: SocketAddr) -> ProxyHandle {
    let mut site = Site::new("a.test", vec!["a.test".parse().unwrap()]).route(Route::forward("service"));
    site.plain = PlainHttp::Serve;
    site.upgrade = PROTOCOLS.map(String::from).into();
    let target = Target::Tcp { host: service.ip().to_string(), port: service.port() };
    Proxy::builder()
        .workers(1)
        .listener(Listener::plain(([127, 0, 0, 1], 0).into()))
        .site(site)
        .upstream(Upstream::new("service", target))
        .start()
        .unwrap()
}

/// An edge before the service, or before a node before it.
struct Chain {
    edge: Edge,
    _node: Option<ProxyHandle>,
}

impl Chain {
    fn new(service: SocketAddr, hops: usize) -> Self {
        let node = (hops == 2).then(|| node(service));
        let mut edge = Edge::before(node.as_ref().map_or(service, |node| node.addresses()[0]), 1);
        edge.config.sites[0].upgrade = PROTOCOLS.map(String::from).into();
        edge.proxy.reload(edge.config.clone()).unwrap();
        Self { edge, _node: node }
    }

    fn tls(&self) -> Tls {
        tls(self.edge.tls(), &http1(self.edge.root())).unwrap()
    }

    fn plain(&self) -> TcpStream {
        let stream = TcpStream::connect(self.edge.plain()).unwrap();
        stream.set_read_timeout(Some(WAIT)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// Asks for the switch as Tailscale's client does.
fn switch(stream: &mut (impl Read + Write), protocol: &str) {
    let request = format!(
        "POST /ts2021 HTTP/1.1\r\nHost: a.test\r\nUpgrade: {protocol}\r\nConnection: upgrade\r\n\
         X-Tailscale-Handshake: AAEC\r\nContent-Length: 0\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let head = read_until(stream, "\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let head = head.to_ascii_lowercase();
    assert!(head.contains(&format!("upgrade: {}\r\n", protocol.to_ascii_lowercase())), "{head}");
    assert!(head.contains("connection: upgrade\r\n"), "{head}");
}

fn ask(stream: &mut (impl Read + Write), request: &str) -> String {
    stream.write_all(request.as_bytes()).unwrap();
    read_until(stream, "\r\n\r\n")
}

#[test]
fn a_hundred_thousand_frames_both_ways_over_two_hops() {
    const FRAMES: u32 = 100_000;
    // Each side sends its own frames while it reads the other's: a number and a few bytes.
    fn talk(mut read: impl Read + Send + 'static, mut write: impl Write) {
        let reader = std::thread::spawn(move || {
            let mut frame = [0; 12];
            for number in 0..FRAMES {
                read.read_exact(&mut frame).unwrap();
                assert_eq!(frame[..4], number.to_be_bytes());
            }
        });
        let mut batch = Vec::new();
        for number in 0..FRAMES {
            batch.extend_from_slice(&number.to_be_bytes());
            batch.extend_from_slice(&[b'x'; 8]);
            if number % 100 == 99 {
                write.write_all(&batch).unwrap();
                batch.clear();
            }
        }
        reader.join().unwrap();
    }
    let service = service(|stream| talk(stream.try_clone().unwrap(), stream));
    let chain = Chain::new(service, 2);
    let mut stream = chain.plain();
    switch(&mut stream, "tailscale-control-protocol");
    talk(stream.try_clone().unwrap(), stream);
    // Over TLS one thread does both in turns.
    let mut stream = chain.tls();
    switch(&mut stream, "Tailscale-Control-Protocol");
    let mut expected = 0_u32;
    for number in 0..FRAMES {
        let mut frame = number.to_be_bytes().to_vec();
        frame.extend_from_slice(&[b'x'; 8]);
        stream.write_all(&frame).unwrap();
        if number % 200 == 199 {
            for _ in 0..200 {
                let mut frame = [0; 12];
                stream.read_exact(&mut frame).unwrap();
                assert_eq!(frame[..4], expected.to_be_bytes());
                expected += 1;
            }
        }
    }
    assert_eq!(expected, FRAMES);
}

#[test]
fn only_what_is_allowed_and_asked_for_is_switched_to() {
    let chain = Chain::new(service(|_| {}), 1);
    let post = |wish: &str, more: &str, path: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: a.test\r\nUpgrade: {wish}\r\nConnection: upgrade\r\n{more}\r\n"
        )
    };
    // Another wish is taken out, and the request goes on: the service answers as to any POST.
    for wish in ["h2c", "HTTP/2.0", "derp", "websocket"] {
        let head = ask(&mut chain.plain(), &post(wish, "Content-Length: 0\r\n", "/"));
        assert!(head.starts_with("HTTP/1.1 426 "), "{wish}: {head}");
    }
    // Without the connection option it is no wish.
    let head = ask(
        &mut chain.plain(),
        "POST / HTTP/1.1\r\nHost: a.test\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n",
    );
    assert!(head.starts_with("HTTP/1.1 426 "), "{head}");
    // The first of several that is allowed.
    let mut stream = chain.plain();
    let head = ask(&mut stream, &post("h2c, tailscale-control-protocol", "", "/"));
    assert!(head.starts_with("HTTP/1.1 101 ") && head.contains("tailscale-control-protocol"), "{head}");
    // Content would be taken for the new protocol by one side.
    for content in ["Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n"] {
        let head = ask(&mut chain.plain(), &post("tailscale-control-protocol", content, "/"));
        assert!(head.starts_with("HTTP/1.1 400 "), "{content}: {head}");
    }
    // A service may not switch to what nobody asked for.
    let head = ask(&mut chain.plain(), &post("tailscale-control-protocol", "", "/other"));
    assert!(head.starts_with("HTTP/1.1 502 "), "{head}");
}

#[test]
fn each_direction_ends_by_itself() {
    for hops in [1, 2] {
        // The service says that it sends no more before it has read anything, and still gets all of it.
        let (sender, got) = channel();
        let chain = Chain::new(
            service(move |mut stream| {
                stream.write_all(b"that is all").unwrap();
                stream.shutdown(Shutdown::Write).unwrap();
                let mut all = String::new();
                let _ = stream.read_to_string(&mut all);
                sender.send(all).unwrap();
            }),
            hops,
        );
        let mut stream = chain.plain();
        switch(&mut stream, "tailscale-control-protocol");
        let mut all = String::new();
        stream.read_to_string(&mut all).unwrap();
        assert_eq!(all, "that is all");
        std::thread::sleep(Duration::from_millis(200));
        stream.write_all(b"late words").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(got.recv_timeout(WAIT).unwrap(), "late words", "{hops} hops");
    }
}

/// A service that tells what it read until its client's end.
fn collector() -> (SocketAddr, Receiver<Vec<u8>>) {
    let (sender, got): (Sender<Vec<u8>>, _) = channel();
    let address = service(move |mut stream| {
        let mut all = Vec::new();
        let mut part = [0; 4096];
        while let Ok(n @ 1..) = stream.read(&mut part) {
            all.extend_from_slice(&part[..n]);
        }
        let _ = sender.send(all);
    });
    (address, got)
}

fn reset(stream: &TcpStream) {
    socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO)).unwrap();
}

#[test]
fn the_last_bytes_of_a_client_that_ends_without_a_goodbye_arrive() {
    for hops in [1, 2] {
        let (address, got) = collector();
        let chain = Chain::new(address, hops);
        for round in 0..25 {
            for length in [10, 200, 5000] {
                let bytes = vec![b'a' + round; length];
                for end in ["close", "reset"] {
                    // TLS, without close_notify: what a killed program leaves.
                    let mut stream = chain.tls();
                    switch(&mut stream, "tailscale-control-protocol");
                    stream.write_all(&bytes).unwrap();
                    if end == "reset" {
                        // A reset throws away what the kernel has not sent yet.
                        std::thread::sleep(Duration::from_millis(2));
                        reset(&stream.sock);
                    }
                    let (_, socket) = (stream.conn, stream.sock);
                    drop(socket);
                    let arrived = got.recv_timeout(WAIT).unwrap();
                    assert!(
                        arrived == bytes,
                        "TLS, {end}, {hops} hops: {} of {length} arrived",
                        arrived.len()
                    );
                    let mut stream = chain.plain();
                    switch(&mut stream, "tailscale-control-protocol");
                    stream.write_all(&bytes).unwrap();
                    if end == "reset" {
                        std::thread::sleep(Duration::from_millis(2));
                        reset(&stream);
                    }
                    drop(stream);
                    let arrived = got.recv_timeout(WAIT).unwrap();
                    assert!(
                        arrived == bytes,
                        "plain, {end}, {hops} hops: {} of {length} arrived",
                        arrived.len()
                    );
                }
            }
        }
    }
}

#[test]
fn the_last_bytes_of_a_service_before_its_reset_arrive() {
    for hops in [1, 2] {
        let chain = Chain::new(
            service(|mut stream| {
                stream.write_all(&[b'z'; 200]).unwrap();
                std::thread::sleep(Duration::from_millis(2));
                reset(&stream);
            }),
            hops,
        );
        for _ in 0..40 {
            let (mut secure, mut plain) = (chain.tls(), chain.plain());
            switch(&mut secure, "tailscale-control-protocol");
            switch(&mut plain, "tailscale-control-protocol");
            let (mut first, mut second) = (Vec::new(), Vec::new());
            let _ = secure.read_to_end(&mut first);
            let _ = plain.read_to_end(&mut second);
            assert_eq!((first.len(), second.len()), (200, 200), "{hops} hops");
        }
    }
}

#[test]
fn the_last_bytes_of_an_answer_before_a_reset_arrive_and_are_not_taken_for_all() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let head = read_until(&mut stream, "\r\n\r\n");
            let length =
                if head.contains("/chunked") { "Transfer-Encoding: chunked" } else { "Content-Length: 1000" };
            let content = [b'z'; 200];
            let mut answer = format!("HTTP/1.1 200 OK\r\n{length}\r\n\r\n").into_bytes();
            if head.contains("/chunked") {
                answer.extend_from_slice(b"c8\r\n");
            }
            answer.extend_from_slice(&content);
            answer.extend_from_slice(if head.contains("/chunked") { b"\r\n" } else { b"" });
            stream.write_all(&answer).unwrap();
            std::thread::sleep(Duration::from_millis(2));
            reset(&stream);
        }
    });
    for hops in [1, 2] {
        let chain = Chain::new(address, hops);
        for path in ["/", "/chunked"] {
            for _ in 0..20 {
                let mut stream = chain.plain();
                let head = ask(&mut stream, &format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n"));
                assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
                let mut rest = Vec::new();
                let _ = stream.read_to_end(&mut rest);
                assert_eq!(rest.iter().filter(|byte| **byte == b'z').count(), 200, "{path}, {hops} hops");
                assert!(!rest.ends_with(b"0\r\n\r\n"), "a truncated answer looks complete");
            }
        }
    }
}

/// What a TLS service does after its last bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum TlsEnd {
    /// It sends close_notify and closes.
    Goodbye,
    /// It closes, as a program that is killed.
    Close,
    /// It resets the connection.
    Reset,
}

/// A TLS service that says 200 bytes in a tunnel, or in an answer whose end is that of the connection, and ends so.
fn tls_service(authority: &testkit::Authority, end: TlsEnd) -> SocketAddr {
    let (chain, key) = authority.pair(&["node.internal"]);
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let config = std::sync::Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let config = config.clone();
            std::thread::spawn(move || {
                stream.set_read_timeout(Some(WAIT)).unwrap();
                stream.set_nodelay(true).unwrap();
                let session = rustls::ServerConnection::new(config).unwrap();
                let mut tls = rustls::StreamOwned::new(session, stream);
                let head = read_until(&mut tls, "\r\n\r\n");
                let answer = if head.contains("Upgrade: ") {
                    "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: tailscale-control-protocol\r\n\r\n"
                } else {
                    "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
                };
                tls.write_all(&[answer.as_bytes(), &[b'z'; 200]].concat()).unwrap();
                match end {
                    TlsEnd::Goodbye => {
                        tls.conn.send_close_notify();
                        tls.flush().unwrap();
                    }
                    TlsEnd::Close => {}
                    TlsEnd::Reset => {
                        // A reset throws away what the kernel has not sent yet.
                        std::thread::sleep(Duration::from_millis(2));
                        reset(&tls.sock);
                    }
                }
            });
        }
    });
    address
}

#[test]
fn the_last_bytes_of_a_tls_service_arrive_however_it_ends() {
    let authority = testkit::Authority::new();
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, authority.root()).unwrap();
    for end in [TlsEnd::Goodbye, TlsEnd::Close, TlsEnd::Reset] {
        let mut chain = Chain::new(tls_service(&authority, end), 1);
        chain.edge.config.upstreams[0].tls = Some(UpstreamTls {
            ca: Some(ca.clone()),
            server_name: Some("node.internal".into()),
            ..Default::default()
        });
        chain.edge.proxy.reload(chain.edge.config.clone()).unwrap();
        for round in 0..10 {
            let (mut secure, mut plain) = (chain.tls(), chain.plain());
            for (name, mut stream) in [("TLS", &mut secure as &mut dyn Stream), ("plain", &mut plain)] {
                switch(&mut stream, "tailscale-control-protocol");
                let mut all = Vec::new();
                let _ = stream.read_to_end(&mut all);
                assert_eq!(all.len(), 200, "{name}, {end:?}, round {round}");
            }
            let (mut secure, mut plain) = (chain.tls(), chain.plain());
            for (name, mut stream) in [("TLS", &mut secure as &mut dyn Stream), ("plain", &mut plain)] {
                let head = ask(&mut stream, "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
                assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("chunked"), "{head}");
                let mut rest = Vec::new();
                let _ = stream.read_to_end(&mut rest);
                let got = rest.iter().filter(|byte| **byte == b'z').count();
                assert_eq!(got, 200, "{name}, {end:?}, round {round}");
                // Without close_notify the answer may have been longer (RFC 9112 §9.8).
                let whole = rest.ends_with(b"0\r\n\r\n");
                assert_eq!(whole, end == TlsEnd::Goodbye, "{name}, {end:?}, round {round}");
            }
        }
    }
}
