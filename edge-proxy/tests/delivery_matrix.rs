//! Delivery over every version of HTTP: clients over HTTP/1.1 (plain and TLS), HTTP/2 and HTTP/3, before services over
//! HTTP/1.1 and HTTP/2, through one hop and through two, plain and over TLS. What was read from one side is written to
//! the other before its end is, and a part is never taken for all.
#![cfg(feature = "server")]

mod common;

use bytes::Bytes;
use common::wire2::{self, End, Http2};
use common::wire3::{self, Http3};
use common::{Edge, http1, read_until, tls};
use edge_proxy::config::{Listener, PlainHttp, Protocol, Route, Site, Target, Upstream, UpstreamTls};
use edge_proxy::{Certificates, Proxy, ProxyHandle};
use h2::RecvStream;
use h2::server::SendResponse;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;
use testkit::Authority;

const WAIT: Duration = Duration::from_secs(15);
/// Less than the first window of every side: it is on its way at once.
const CONTENT: usize = 30_000;

fn content() -> Vec<u8> {
    (0..CONTENT).map(|at| (at * 31 % 253) as u8).collect()
}

/// Content of a request as the service received it, and whether it was complete.
type Received = (Vec<u8>, bool);

/// What a service reports of a request with content, and of a tunnel.
enum Report {
    /// So many bytes of content have arrived; 0 with the head.
    Arrived(usize),
    /// The content has ended, or was broken off.
    End(Received),
}

/// A service over HTTP/1.1: answers `/whole` with all of its content, breaks `/cut` off behind [`CONTENT`] bytes of
/// more, and reports what `/up` brings. With `Upgrade` it switches and speaks as [`speak`].
fn http1_service(reports: Sender<Report>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let reports = reports.clone();
            std::thread::spawn(move || {
                stream.set_read_timeout(Some(WAIT)).unwrap();
                stream.set_nodelay(true).unwrap();
                let head = read_until(&mut stream, "\r\n\r\n");
                let key = websocket_key(&head);
                let head = head.to_lowercase();
                if let Some(key) = key {
                    let accept = edge_http::websocket::accept(key.as_bytes());
                    let _ = write!(
                        stream,
                        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
                         Sec-WebSocket-Accept: {}\r\n\r\n",
                        std::str::from_utf8(&accept).unwrap()
                    );
                    speak(&head, stream, &reports);
                } else if head.contains("/up") {
                    let got = read_content(&head, &mut stream, &reports);
                    let _ = reports.send(Report::End(got));
                    // Said, so that no later upload is sent on this connection, which ends now.
                    let _ = stream
                        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
                } else {
                    let length = if head.contains("/cut") { CONTENT * 2 } else { CONTENT };
                    let _ = write!(
                        stream,
                        "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
                    );
                    let _ = stream.write_all(&content());
                }
            });
        }
    });
    address
}

/// Returns the value of Sec-WebSocket-Key.
fn websocket_key(head: &str) -> Option<String> {
    let mut fields = head.lines().filter_map(|line| line.split_once(": "));
    fields.find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key")).map(|(_, key)| key.to_owned())
}

/// Reads content as far as it comes.
fn read_content(head: &str, stream: &mut TcpStream, reports: &Sender<Report>) -> Received {
    let mut all = Vec::new();
    let mut part = [0; 16_384];
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    let whole = |all: &[u8]| match length {
        Some(length) => all.len() >= length,
        None => all.ends_with(b"0\r\n\r\n"),
    };
    let content = |all: Vec<u8>| if length.is_some() { all } else { unchunked(&all) };
    while !whole(&all) {
        let _ = reports.send(Report::Arrived(content(all.clone()).len()));
        match stream.read(&mut part) {
            Ok(n @ 1..) => all.extend_from_slice(&part[..n]),
            _ => break,
        }
    }
    let whole = whole(&all);
    (content(all), whole)
}

/// Returns the content of chunks, as far as they came.
fn unchunked(mut text: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(end) = text.windows(2).position(|window| window == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&text[..end]).unwrap(), 16).unwrap();
        text = &text[end + 2..];
        all.extend_from_slice(&text[..size.min(text.len())]);
        text = text.get(size + 2..).unwrap_or_default();
    }
    all
}

/// What a service says in a tunnel, by its path.
fn speak(head: &str, mut stream: TcpStream, reports: &Sender<Report>) {
    if head.contains("/last-words") {
        let _ = stream.write_all(&[b'z'; 200]);
        std::thread::sleep(Duration::from_millis(20));
        let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
        return;
    }
    // It ends its own direction first, and reads all the same.
    let _ = stream.write_all(b"that is all");
    if head.contains("/half") {
        let _ = stream.shutdown(Shutdown::Write);
    }
    let (mut all, mut part) = (Vec::new(), [0; 16_384]);
    let ended = loop {
        match stream.read(&mut part) {
            Ok(0) => break true,
            Ok(n) => all.extend_from_slice(&part[..n]),
            Err(_) => break false,
        }
        let _ = reports.send(Report::Arrived(all.len()));
    };
    let _ = reports.send(Report::End((all, ended)));
}

/// The same service over HTTP/2 with prior knowledge, without tunnels.
fn http2_service(reports: Sender<Report>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                let reports = reports.clone();
                tokio::spawn(async move {
                    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        let path = request.uri().path().to_owned();
                        tokio::spawn(http2_answer(path, request.into_body(), respond, reports.clone()));
                    }
                });
            }
        });
    });
    address
}

async fn http2_answer(
    path: String,
    mut body: RecvStream,
    mut respond: SendResponse<Bytes>,
    reports: Sender<Report>,
) {
    let response = || http::Response::builder().status(200).body(()).unwrap();
    if path == "/up" {
        let (mut all, mut whole) = (Vec::new(), true);
        let _ = reports.send(Report::Arrived(0));
        while let Some(part) = body.data().await {
            match part {
                Ok(part) => {
                    let _ = body.flow_control().release_capacity(part.len());
                    all.extend_from_slice(&part);
                    let _ = reports.send(Report::Arrived(all.len()));
                }
                Err(_) => {
                    whole = false;
                    break;
                }
            }
        }
        let _ = reports.send(Report::End((all, whole)));
        let _ = respond.send_response(response(), true);
        return;
    }
    let Ok(mut send) = respond.send_response(response(), false) else { return };
    let _ = send.send_data(content().into(), path != "/cut");
    if path == "/cut" {
        // The library throws away what it has not written when it resets.
        tokio::time::sleep(Duration::from_millis(100)).await;
        send.send_reset(h2::Reason::INTERNAL_ERROR);
    }
}

/// How one hop reaches the next.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Hop {
    Http1,
    H2c,
    Https,
    H2,
}

fn upstream(address: SocketAddr, hop: Hop, authority: &std::path::Path) -> Upstream {
    let mut upstream =
        Upstream::new("origin", Target::Tcp { host: address.ip().to_string(), port: address.port() });
    if matches!(hop, Hop::H2c | Hop::H2) {
        upstream.protocol = Protocol::Http2;
    }
    if matches!(hop, Hop::Https | Hop::H2) {
        let ca = Some(authority.to_owned());
        upstream.tls = Some(UpstreamTls { ca, server_name: Some("a.test".into()), ..UpstreamTls::default() });
    }
    upstream
}

/// An edge, and behind it a node or none, and a service.
struct Chain {
    edge: Edge,
    _node: Option<ProxyHandle>,
    _folder: tempfile::TempDir,
    reports: Receiver<Report>,
    name: String,
}

impl Chain {
    /// `hops` are those behind the edge; the last one leads to the service.
    fn new(hops: &[Hop]) -> Self {
        let (sender, reports) = channel();
        let last = *hops.last().unwrap();
        let service = if last == Hop::H2c { http2_service(sender) } else { http1_service(sender) };
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new();
        let ca = folder.path().join("ca.pem");
        std::fs::write(&ca, authority.root()).unwrap();
        let node = (hops.len() == 2).then(|| {
            authority.write(&folder.path().join("pairs/a"), &["a.test"]);
            let (certificates, _) = Certificates::load(folder.path().join("pairs")).unwrap();
            let secure = matches!(hops[0], Hop::Https | Hop::H2);
            let any = ([127, 0, 0, 1], 0).into();
            let mut listener = if secure { Listener::tls(any) } else { Listener::plain(any) };
            listener.h2c = hops[0] == Hop::H2c;
            let mut site =
                Site::new("a.test", vec!["a.test".parse().unwrap()]).route(Route::forward("origin"));
            site.plain = PlainHttp::Serve;
            Proxy::builder()
                .workers(1)
                .certificates(certificates)
                .listener(listener)
                .site(site)
                .upstream(upstream(service, last, &ca))
                .start()
                .unwrap()
        });
        let mut edge = Edge::before(service, 1);
        let next = node.as_ref().map_or(service, |node| node.addresses()[0]);
        edge.config.upstreams = vec![upstream(next, hops[0], &ca)];
        edge.proxy.reload(edge.config.clone()).unwrap();
        Self { edge, _node: node, _folder: folder, reports, name: format!("{hops:?}") }
    }

    /// Waits until so many bytes of content have arrived at the service; with 0, until a request has.
    fn wait_for(&self, bytes: usize) {
        loop {
            match self.reports.recv_timeout(WAIT) {
                Ok(Report::Arrived(n)) if n >= bytes => return,
                Ok(Report::Arrived(_)) => {}
                Ok(Report::End(got)) => panic!("{}: ended behind {} bytes", self.name, got.0.len()),
                Err(why) => panic!("{}: {bytes} bytes do not arrive: {why}", self.name),
            }
        }
    }

    /// Waits for the end of a request, and returns what the service received.
    fn end(&self) -> Received {
        loop {
            match self.reports.recv_timeout(WAIT) {
                Ok(Report::Arrived(_)) => {}
                Ok(Report::End(got)) => return got,
                Err(why) => panic!("{}: no end of the request: {why}", self.name),
            }
        }
    }

    /// Does the same as [`wait_for`](Self::wait_for) while the connection of a client over HTTP/3 works.
    async fn wait_for_async(&self, bytes: usize) {
        let arrived = || matches!(self.reports.try_recv(), Ok(Report::Arrived(n)) if n >= bytes);
        let all = async {
            while !arrived() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let in_time = tokio::time::timeout(WAIT, all).await;
        in_time.unwrap_or_else(|_| panic!("{}: {bytes} bytes do not arrive", self.name));
    }

    /// Does the same as [`end`](Self::end) while the connection of a client over HTTP/3 works.
    async fn end_async(&self) -> Received {
        let end = async {
            loop {
                match self.reports.try_recv() {
                    Ok(Report::End(got)) => return got,
                    Ok(Report::Arrived(_)) => {}
                    Err(_) => tokio::time::sleep(Duration::from_millis(2)).await,
                }
            }
        };
        let in_time = tokio::time::timeout(WAIT, end).await;
        in_time.unwrap_or_else(|_| panic!("{}: no end of the request", self.name))
    }
}

const CHAINS: [&[Hop]; 6] = [
    &[Hop::Http1],
    &[Hop::H2c],
    &[Hop::Http1, Hop::Http1],
    &[Hop::H2c, Hop::H2c],
    &[Hop::H2, Hop::Http1],
    &[Hop::Https, Hop::H2c],
];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Client {
    Plain,
    Tls,
    Http2,
    Http3,
}

const CLIENTS: [Client; 4] = [Client::Plain, Client::Tls, Client::Http2, Client::Http3];

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

fn http1_stream(edge: &Edge, client: Client) -> Box<dyn Stream> {
    if client == Client::Tls {
        return Box::new(tls(edge.tls(), &http1(edge.root())).unwrap());
    }
    let stream = TcpStream::connect(edge.plain()).unwrap();
    stream.set_read_timeout(Some(WAIT)).unwrap();
    stream.set_nodelay(true).unwrap();
    Box::new(stream)
}

/// Downloads a path. Returns the content, and whether the client takes it for all.
fn download(edge: &Edge, client: Client, path: &str) -> Received {
    match client {
        Client::Plain | Client::Tls => {
            let mut stream = http1_stream(edge, client);
            write!(stream, "GET {path} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n").unwrap();
            let head = read_until(&mut stream, "\r\n\r\n").to_lowercase();
            let mut all = Vec::new();
            let clean = stream.read_to_end(&mut all).is_ok();
            let length =
                head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
            match length {
                Some(length) => {
                    let whole = all.len() == length;
                    (all, whole)
                }
                None if head.contains("chunked") => {
                    let whole = all.ends_with(b"\r\n0\r\n\r\n");
                    (unchunked(&all), whole)
                }
                None => (all, clean),
            }
        }
        Client::Http2 => {
            let got = Http2::connect(edge.tls(), edge.root(), "a.test").get("a.test", path);
            (got.content, got.end == End::Stream)
        }
        Client::Http3 => wire3::run(async {
            let client = Http3::connect(edge.tls(), edge.root(), "a.test").await;
            let (mut send, mut reader) = client.open(&wire3::request("GET", "a.test", path, &[])).await;
            send.finish().unwrap();
            // A frame may be cut, so it is read by its parts.
            let mut raw = Vec::new();
            let end = loop {
                match reader.part(65_536).await {
                    Ok(part) if part.is_empty() => break true,
                    Ok(part) => raw.extend_from_slice(&part),
                    Err(_) => break false,
                }
            };
            (http3_content(&raw), end)
        }),
    }
}

/// Returns the content of the DATA frames of a stream, the last of which may be incomplete.
fn http3_content(mut raw: &[u8]) -> Vec<u8> {
    use edge_http::h3::varint;
    let mut all = Vec::new();
    while let Some((kind, a)) = varint::read(raw)
        && let Some((length, b)) = varint::read(&raw[a..])
    {
        raw = &raw[a + b..];
        let part = &raw[..(length as usize).min(raw.len())];
        if kind == 0 {
            all.extend_from_slice(part);
        }
        raw = &raw[part.len()..];
    }
    all
}

/// Uploads content without a length, and ends it or breaks it off. Returns what the service received.
fn upload(chain: &Chain, client: Client, whole: bool) -> Received {
    let (edge, bytes) = (&chain.edge, content());
    match client {
        Client::Plain | Client::Tls => {
            let mut stream = http1_stream(edge, client);
            let head = "POST /up HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n";
            let chunk = [format!("{:x}\r\n", bytes.len()).as_bytes(), &bytes, b"\r\n"].concat();
            stream.write_all(&[head.as_bytes(), &chunk].concat()).unwrap();
            if whole {
                stream.write_all(b"0\r\n\r\n").unwrap();
                assert!(read_until(&mut stream, "\r\n\r\n").starts_with("HTTP/1.1 200"));
            }
            if !whole {
                // A client that leaves before the upstream is connected is not forwarded at all.
                chain.wait_for(0);
            }
            // Closed without close_notify.
            drop(stream);
            chain.end()
        }
        Client::Http2 => {
            let mut client = Http2::connect(edge.tls(), edge.root(), "a.test");
            let stream = client.request("POST", "a.test", "/up", &[], false);
            for part in bytes.chunks(10_000) {
                client.data(stream, part, false);
            }
            if whole {
                client.data(stream, b"", true);
                assert_eq!(client.answer(stream).status(), Some("200"));
            } else {
                client.frame(wire2::RST_STREAM, 0, stream, &8u32.to_be_bytes());
            }
            // The connection is open until then.
            chain.end()
        }
        Client::Http3 => wire3::run(async {
            let client = Http3::connect(edge.tls(), edge.root(), "a.test").await;
            let asked = wire3::request("POST", "a.test", "/up", &[]);
            let (mut send, mut reader) = client.open(&[asked, wire3::data(&bytes)].concat()).await;
            if whole {
                send.finish().unwrap();
                assert_eq!(reader.answer().await.status(), Some("200"));
            } else {
                // A reset of QUIC's takes back what has not arrived.
                chain.wait_for_async(bytes.len()).await;
                send.reset(quinn::VarInt::from_u32(0x10c)).unwrap();
            }
            chain.end_async().await
        }),
    }
}

#[test]
fn downloads_arrive_and_a_part_is_not_taken_for_all() {
    for hops in CHAINS {
        let chain = Chain::new(hops);
        for client in CLIENTS {
            for path in ["/whole", "/cut"] {
                let (got, whole) = download(&chain.edge, client, path);
                let at = format!("{client:?} before {}: {path}", chain.name);
                assert_eq!(got.len(), CONTENT, "{at}");
                assert!(got == content(), "{at}");
                assert_eq!(whole, path == "/whole", "{at}");
            }
        }
    }
}

#[test]
fn uploads_arrive_and_a_part_is_not_taken_for_all() {
    for hops in CHAINS {
        let chain = Chain::new(hops);
        for client in CLIENTS {
            for ends in [true, false] {
                let at = format!("{client:?} before {}, ended: {ends}", chain.name);
                println!("{at}");
                let (got, whole) = upload(&chain, client, ends);
                assert_eq!(got.len(), CONTENT, "{at}");
                assert!(got == content(), "{at}");
                assert_eq!(whole, ends, "{at}");
            }
        }
    }
}

const TUNNEL: [wire2::Field<'static>; 6] = [
    (b":method", b"CONNECT"),
    (b":protocol", b"websocket"),
    (b":scheme", b"https"),
    (b":authority", b"a.test"),
    (b"sec-websocket-version", b"13"),
    (b"x-test", b"1"),
];

/// What a client does in its tunnel, and what comes of it: the bytes that it received. Then what the service received
/// until a reset of the client, if it resets.
fn tunnel(
    chain: &Chain,
    client: Client,
    path: &str,
    says: &[u8],
    resets: bool,
) -> (Vec<u8>, Option<Received>) {
    let edge = &chain.edge;
    let fields = [&TUNNEL[..], &[(b":path", path.as_bytes())]].concat();
    // Pseudo-header fields come first.
    let (pseudo, other): (Vec<_>, Vec<_>) = fields.iter().partition(|(name, _)| name.starts_with(b":"));
    let fields = [pseudo, other].concat();
    if client == Client::Http2 {
        let mut client = Http2::connect(edge.tls(), edge.root(), "a.test");
        let stream = client.open(&fields, false);
        let (_, mut got) = client.content(stream, 11);
        if !says.is_empty() {
            client.data(stream, says, false);
            if resets {
                client.frame(wire2::RST_STREAM, 0, stream, &8u32.to_be_bytes());
                return (got, Some(chain.end()));
            }
            client.data(stream, b"", true);
        }
        got.extend(client.answer(stream).content);
        return (got, None);
    }
    wire3::run(async {
        let client = Http3::connect(edge.tls(), edge.root(), "a.test").await;
        let (mut send, mut reader) = client.open(&wire3::headers(&fields)).await;
        let mut got = Vec::new();
        reader.frame().await.unwrap();
        while got.len() < 11 {
            got.extend(reader.frame().await.unwrap().1);
        }
        if !says.is_empty() {
            send.write_all(&wire3::data(says)).await.unwrap();
            if resets {
                chain.wait_for_async(says.len()).await;
                send.reset(quinn::VarInt::from_u32(0x10c)).unwrap();
                return (got, Some(chain.end_async().await));
            }
            send.finish().unwrap();
            // Until it was acknowledged: the end of the connection would take it back.
            let _ = tokio::time::timeout(WAIT, send.stopped()).await;
        }
        while let Ok((_, part)) = reader.frame().await {
            got.extend(part);
        }
        (got, None)
    })
}

#[test]
fn tunnels_over_http2_and_http3_deliver_both_directions_to_their_ends() {
    for hops in [&[Hop::Http1][..], &[Hop::Http1, Hop::Http1], &[Hop::H2, Hop::Http1]] {
        let chain = Chain::new(hops);
        for client in [Client::Http2, Client::Http3] {
            let at = format!("{client:?} before {}", chain.name);
            println!("{at}");
            let received = |path, says: &[u8]| tunnel(&chain, client, path, says, false).0;
            // The service ends its direction first; the client's goes on.
            assert_eq!(received("/half", &[b'a'; 5000]), b"that is all", "{at}");
            assert_eq!(chain.end(), (vec![b'a'; 5000], true), "{at}");
            // The client ends its direction first.
            assert_eq!(received("/open", &[b'b'; 300]), b"that is all", "{at}");
            assert_eq!(chain.end().0, vec![b'b'; 300], "{at}");
            // The client resets its stream behind its last words.
            let (_, left) = tunnel(&chain, client, "/open", &[b'c'; 300], true);
            assert_eq!(left.map(|(all, _)| all), Some(vec![b'c'; 300]), "{at}");
            // The service resets its connection behind its last words.
            assert_eq!(received("/last-words", b""), vec![b'z'; 200], "{at}");
        }
    }
}
