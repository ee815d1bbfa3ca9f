//! Uploads to services over HTTP/2, from clients of every version: credit follows the service's reading, the end needs
//! no credit, early answers arrive, a reset is an error, what a service did not process is repeated, and health checks
//! leave nothing behind.
#![cfg(feature = "server")]

mod common;

use bytes::Bytes;
use common::wire2::{self, Http2};
use common::wire3::{self, Http3};
use common::{Edge, http1, read_until, tls};
use edge_proxy::Reason;
use edge_proxy::config::{Check, Protocol};
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

const WINDOW: usize = 65_535;

/// What a service does with the content of a request.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Reads {
    /// It answers with its length when it is complete, and opens the window only then.
    AtTheEnd,
    /// It reads this many bytes every 5 ms, and answers with the length.
    Slowly(usize),
    /// It never reads, nor answers.
    Never,
    /// It answers at once, and resets the stream without an error.
    NotAtAll,
    /// It resets the stream once content has come.
    Resets,
    /// It refuses the first request of each client connection in turn: the first connection refuses, the second takes
    /// it.
    RefusesOnce,
}

/// A service over HTTP/2 with prior knowledge.
struct Service {
    address: SocketAddr,
    /// Open connections.
    open: Arc<AtomicUsize>,
    /// All connections so far.
    accepted: Arc<AtomicUsize>,
    /// Bytes of content that came.
    received: Arc<AtomicUsize>,
    /// The parts in which it came.
    parts: Arc<AtomicUsize>,
}

impl Service {
    fn start(reads: Reads, window: u32) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let [open, accepted, received, parts] = [(); 4].map(|()| Arc::new(AtomicUsize::new(0)));
        let counts = (open.clone(), accepted.clone(), [received.clone(), parts.clone()]);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                let (open, accepted, received) = counts;
                while let Ok((stream, _)) = listener.accept().await {
                    let number = accepted.fetch_add(1, SeqCst);
                    open.fetch_add(1, SeqCst);
                    let (open, received) = (open.clone(), received.clone());
                    tokio::spawn(async move {
                        let mut builder = h2::server::Builder::new();
                        let made = builder.initial_window_size(window).handshake::<_, Bytes>(stream).await;
                        if let Ok(mut connection) = made {
                            while let Some(Ok((request, respond))) = connection.accept().await {
                                let content = request.into_body();
                                tokio::spawn(serve(reads, number, content, respond, received.clone()));
                            }
                        }
                        open.fetch_sub(1, SeqCst);
                    });
                }
            });
        });
        Self { address, open, accepted, received, parts }
    }

    /// An edge before this service.
    fn edge(&self) -> Edge {
        let mut edge = Edge::before(self.address, 1);
        edge.config.upstreams[0].protocol = Protocol::Http2;
        edge.proxy.reload(edge.config.clone()).unwrap();
        edge
    }
}

fn answer(mut respond: SendResponse<Bytes>, status: u16, end: bool) -> Option<SendStream<Bytes>> {
    let response = http::Response::builder().status(status).body(()).unwrap();
    respond.send_response(response, end).ok()
}

async fn serve(
    reads: Reads,
    connection: usize,
    mut content: RecvStream,
    mut respond: SendResponse<Bytes>,
    [received, parts]: [Arc<AtomicUsize>; 2],
) {
    match reads {
        Reads::Never => return tokio::time::sleep(Duration::from_secs(60)).await,
        Reads::NotAtAll => {
            if let Some(mut send) = answer(respond, 403, false) {
                let _ = send.send_data(Bytes::from_static(b"not for you"), true);
            }
            return;
        }
        Reads::RefusesOnce if connection == 0 => return respond.send_reset(h2::Reason::REFUSED_STREAM),
        _ => {}
    }
    let mut length = 0;
    while let Some(Ok(part)) = content.data().await {
        length += part.len();
        received.fetch_add(part.len(), SeqCst);
        parts.fetch_add(1, SeqCst);
        match reads {
            Reads::Slowly(step) => {
                let mut left = part.len();
                while left > 0 {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    let n = left.min(step);
                    left -= n;
                    let _ = content.flow_control().release_capacity(n);
                }
            }
            Reads::Resets => return respond.send_reset(h2::Reason::INTERNAL_ERROR),
            _ => {}
        }
    }
    if let Some(mut send) = answer(respond, 200, false) {
        let _ = send.send_data(length.to_string().into(), true);
    }
}

/// A client's version.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Client {
    Http1,
    Http2,
    Http3,
}

const CLIENTS: [Client; 3] = [Client::Http1, Client::Http2, Client::Http3];

/// Uploads content, whose length is announced or not, and ends it late and apart. Returns the status and the content of
/// the answer.
fn upload(edge: &Edge, client: Client, length: usize, announced: bool) -> (String, String) {
    let text = length.to_string();
    let fields: Vec<wire2::Field<'_>> =
        if announced { vec![(b"content-length", text.as_bytes())] } else { Vec::new() };
    let part = vec![b'x'; 16_000];
    match client {
        Client::Http1 => {
            let mut stream = tls(edge.tls(), &http1(edge.root())).unwrap();
            let framing = match announced {
                true => format!("Content-Length: {length}"),
                false => "Transfer-Encoding: chunked".into(),
            };
            write!(stream, "POST /x HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n{framing}\r\n\r\n")
                .unwrap();
            let mut left = length;
            while left > 0 {
                let n = left.min(part.len());
                left -= n;
                let head = if announced { String::new() } else { format!("{n:x}\r\n") };
                let tail: &[u8] = if announced { b"" } else { b"\r\n" };
                if stream.write_all(&[head.as_bytes(), &part[..n], tail].concat()).is_err() {
                    break;
                }
            }
            std::thread::sleep(Duration::from_millis(50));
            if !announced {
                let _ = stream.write_all(b"0\r\n\r\n");
            }
            let head = read_until(&mut stream, "\r\n\r\n");
            let mut content = Vec::new();
            let _ = stream.read_to_end(&mut content);
            let mut content = String::from_utf8(content).unwrap();
            if head.to_lowercase().contains("transfer-encoding: chunked") {
                content = content.lines().nth(1).unwrap_or_default().to_owned();
            }
            (head[9..12].to_owned(), content)
        }
        Client::Http2 => {
            let mut client = Http2::connect(edge.tls(), edge.root(), "a.test");
            let stream = client.request("POST", "a.test", "/x", &fields, false);
            let mut left = length;
            let mut answer = None;
            while left > 0 && answer.is_none() {
                match client.window(stream).min(left).min(part.len()) {
                    0 => answer = client.part_of_answer(stream),
                    n => {
                        client.data(stream, &part[..n], false);
                        left -= n;
                    }
                }
            }
            std::thread::sleep(Duration::from_millis(50));
            if answer.is_none() {
                client.data(stream, b"", true);
            }
            let answer = answer.unwrap_or_else(|| client.answer(stream));
            let status = answer.status().map_or_else(|| format!("{:?}", answer.end), str::to_owned);
            (status, String::from_utf8(answer.content).unwrap())
        }
        Client::Http3 => wire3::run(async {
            let client = Http3::connect(edge.tls(), edge.root(), "a.test").await;
            let asked = wire3::request("POST", "a.test", "/x", &fields);
            let (mut send, mut reader) = client.open(&asked).await;
            let sending = async {
                let mut left = length;
                while left > 0 {
                    let n = left.min(part.len());
                    left -= n;
                    // A stop ends it early.
                    if send.write_all(&wire3::data(&part[..n])).await.is_err() {
                        return;
                    }
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
                let _ = send.finish();
            };
            let (answer, ()) = tokio::join!(reader.answer(), sending);
            let status = answer.status().map_or_else(|| format!("{:?}", answer.end), str::to_owned);
            (status, String::from_utf8(answer.content).unwrap())
        }),
    }
}

#[test]
fn the_end_of_an_upload_needs_no_window() {
    let service = Service::start(Reads::AtTheEnd, WINDOW as u32);
    let edge = service.edge();
    for client in CLIENTS {
        for announced in [true, false] {
            // The window is filled to the last byte, and is opened by the end alone.
            for length in [WINDOW, WINDOW - 1, 1] {
                let got = upload(&edge, client, length, announced);
                assert_eq!(got, ("200".into(), length.to_string()), "{client:?}, announced: {announced}");
            }
        }
    }
}

#[test]
fn an_empty_upload_needs_no_window() {
    let service = Service::start(Reads::AtTheEnd, 0);
    let edge = service.edge();
    // Before the first of these, the service's settings may not have come yet.
    for _ in 0..2 {
        for client in CLIENTS {
            for announced in [true, false] {
                let got = upload(&edge, client, 0, announced);
                assert_eq!(got, ("200".into(), "0".into()), "{client:?}, announced: {announced}");
            }
        }
    }
    // The end comes with the head.
    wire3::run(async {
        let client = Http3::connect(edge.tls(), edge.root(), "a.test").await;
        for fields in [&[][..], &[(&b"content-length"[..], &b"0"[..])]] {
            let got = client.ask(&wire3::request("POST", "a.test", "/x", fields)).await;
            assert_eq!((got.status(), &got.content[..]), (Some("200"), &b"0"[..]), "{got:?}");
        }
        // Frames of no content are none.
        let (mut send, mut reader) = client.open(&wire3::request("POST", "a.test", "/x", &[])).await;
        send.write_all(&[wire3::data(b""), wire3::data(b"")].concat()).await.unwrap();
        send.finish().unwrap();
        assert_eq!(reader.answer().await.content, b"0");
    });
}

#[test]
fn a_service_that_reads_slowly_gets_everything() {
    let service = Service::start(Reads::Slowly(8000), 32_000);
    let edge = service.edge();
    for client in CLIENTS {
        let got = upload(&edge, client, 700_000, true);
        assert_eq!(got, ("200".into(), "700000".into()), "{client:?}");
        // Not in ever smaller frames, however the service reopens its window.
        let parts = service.parts.swap(0, SeqCst);
        // Over HTTP/3 they come as large as the client's packets.
        let most = if client == Client::Http3 { 800 } else { 300 };
        assert!(parts < most, "{client:?}: {parts} parts");
    }
    // A window that is smaller than a frame is used too.
    let service = Service::start(Reads::Slowly(500), 1000);
    let got = upload(&service.edge(), Client::Http2, 20_000, true);
    assert_eq!(got, ("200".into(), "20000".into()));
}

#[test]
fn the_credit_of_a_client_follows_the_reading_of_the_service() {
    const SERVICE: usize = 32_000;
    let service = Service::start(Reads::Never, SERVICE as u32);
    let edge = service.edge();
    let mut client = Http2::connect(edge.tls(), edge.root(), "a.test");
    let stream = client.request("POST", "a.test", "/x", &[], false);
    let (mut sent, mut quiet) = (0, 0);
    while quiet < 3 {
        match client.window(stream).min(16_000) {
            0 => {
                client.ends(&[stream], Duration::from_millis(100));
                quiet = if client.window(stream) == 0 { quiet + 1 } else { 0 };
            }
            n => {
                client.data(stream, &vec![b'x'; n], false);
                sent += n;
                assert!(sent < 4 << 20, "the client may send without end");
            }
        }
    }
    // The window of the stream at the edge, what the service's window takes, and one part on the way between them.
    assert!(
        sent <= 256 * 1024 + SERVICE + 64 * 1024,
        "{sent} bytes were accepted of a client whose service reads none"
    );
}

#[test]
fn a_service_that_does_not_read_is_the_one_that_is_late() {
    let service = Service::start(Reads::Never, 16_000);
    let mut edge = service.edge();
    edge.config.timeouts.response = Duration::from_millis(700);
    edge.proxy.reload(edge.config.clone()).unwrap();
    for (client, count) in CLIENTS.into_iter().zip(1..) {
        let began = Instant::now();
        let got = upload(&edge, client, 200_000, true);
        assert_eq!(got.0, "504", "{client:?}");
        assert!(began.elapsed() < Duration::from_secs(10), "{client:?}: {:?}", began.elapsed());
        edge.assert_refused(Reason::UpstreamTimedOut, count);
    }
}

#[test]
fn a_client_that_resets_its_upload_ends_it_at_a_service_that_does_not_read() {
    let service = Service::start(Reads::Never, 16_000);
    let edge = service.edge();
    let mut client = Http2::connect(edge.tls(), edge.root(), "a.test");
    let stream = client.request("POST", "a.test", "/x", &[], false);
    for _ in 0..4 {
        client.data(stream, &[b'x'; 16_000], false);
    }
    assert_eq!(client.ends(&[stream], Duration::from_millis(300))[&stream], wire2::End::Silence);
    client.frame(wire2::RST_STREAM, 0, stream, &8u32.to_be_bytes());
    // Long before any time limit.
    edge.assert_refused(Reason::ClientLost, 1);
}

#[test]
fn an_early_answer_arrives_whole() {
    let service = Service::start(Reads::NotAtAll, 16_000);
    let edge = service.edge();
    for client in CLIENTS {
        for length in [0, 100, 300_000] {
            for announced in [true, false] {
                let got = upload(&edge, client, length, announced);
                assert_eq!(got, ("403".into(), "not for you".into()), "{client:?}, {length}, {announced}");
            }
        }
    }
}

#[test]
fn a_reset_by_the_service_is_an_error_of_the_service() {
    let service = Service::start(Reads::Resets, 16_000);
    let edge = service.edge();
    for client in CLIENTS {
        assert_eq!(upload(&edge, client, 100_000, true).0, "502", "{client:?}");
    }
}

#[test]
fn what_a_service_did_not_process_is_repeated_whatever_the_method() {
    for client in CLIENTS {
        let service = Service::start(Reads::RefusesOnce, 64_000);
        let edge = service.edge();
        let mut head =
            "POST /x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".as_bytes();
        let status = match client {
            Client::Http1 => {
                let mut stream = tls(edge.tls(), &http1(edge.root())).unwrap();
                std::io::copy(&mut head, &mut stream).unwrap();
                read_until(&mut stream, "\r\n\r\n")[9..12].to_owned()
            }
            Client::Http2 => {
                let mut client = Http2::connect(edge.tls(), edge.root(), "a.test");
                let stream = client.request("POST", "a.test", "/x", &[], true);
                client.answer(stream).status().unwrap().to_owned()
            }
            Client::Http3 => wire3::run(async {
                let client = Http3::connect(edge.tls(), edge.root(), "a.test").await;
                client.ask(&wire3::request("POST", "a.test", "/x", &[])).await.status().unwrap().to_owned()
            }),
        };
        assert_eq!(status, "200", "{client:?}");
        assert_eq!(service.accepted.load(SeqCst), 2, "on another connection");
        // Content that was passed on cannot be sent again.
        let service = Service::start(Reads::RefusesOnce, 64_000);
        let edge = service.edge();
        assert_eq!(upload(&edge, client, 10_000, true).0, "502", "{client:?}");
    }
}

#[test]
fn health_checks_leave_no_connections_behind() {
    let service = Service::start(Reads::AtTheEnd, 64_000);
    let mut edge = service.edge();
    edge.config.upstreams[0].health.check =
        Some(Check { interval: Duration::from_millis(100), ..Check::new("/") });
    edge.proxy.reload(edge.config.clone()).unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    while service.accepted.load(SeqCst) < 15 && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(service.accepted.load(SeqCst) >= 15, "the service is checked");
    // The one that is being made, and one that is not closed yet.
    assert!(service.open.load(SeqCst) <= 3, "{} connections are open", service.open.load(SeqCst));
    assert_eq!(service.received.load(SeqCst), 0);
}

#[test]
fn an_idle_connection_is_closed_after_its_time() {
    let service = Service::start(Reads::AtTheEnd, 64_000);
    let mut edge = service.edge();
    edge.config.upstreams[0].idle = Duration::from_millis(200);
    edge.proxy.reload(edge.config.clone()).unwrap();
    assert_eq!(upload(&edge, Client::Http2, 10, true).0, "200");
    let until = Instant::now() + Duration::from_secs(20);
    while service.open.load(SeqCst) > 0 && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(service.open.load(SeqCst), 0);
}
