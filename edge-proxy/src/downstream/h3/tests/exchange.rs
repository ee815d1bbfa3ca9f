use super::client::{Answer, RawConnection, endpoint, frame, get, h3_client, headers, reset};
use super::service::{NAME, Server, on_a_worker, start};
use crate::downstream::h3::QuicLimits;
use bytes::{Buf, Bytes};
use edge_http::BodyLength;
use edge_http::h3::Code;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

fn request(method: &str, path: &str) -> http::Request<()> {
    http::Request::builder().method(method).uri(format!("https://{NAME}{path}")).body(()).unwrap()
}

#[test]
fn get_from_an_independent_client() {
    on_a_worker(async {
        let server = start(&QuicLimits::default());
        let mut client = h3_client(&server).await;
        for _ in 0..50 {
            let mut stream = client.send_request(request("POST", "/x")).await.unwrap();
            stream.send_data(Bytes::from_static(b"ping")).await.unwrap();
            let mut trailers = http::HeaderMap::new();
            trailers.insert("x-sum", "42".parse().unwrap());
            stream.send_trailers(trailers).await.unwrap();
            stream.finish().await.unwrap();
            let answer = stream.recv_response().await.unwrap();
            assert_eq!(answer.status(), 200);
            assert_eq!(answer.headers()["server"], "test");
            let mut content = Vec::new();
            while let Some(part) = stream.recv_data().await.unwrap() {
                content.extend_from_slice(part.chunk());
            }
            assert_eq!(content, b"ping");
            assert_eq!(stream.recv_trailers().await.unwrap().unwrap()["x-sum"], "42");
        }
        let mut stream = client.send_request(request("HEAD", "/hello")).await.unwrap();
        stream.finish().await.unwrap();
        let answer = stream.recv_response().await.unwrap();
        assert_eq!(answer.headers()["content-length"], "5");
        assert!(stream.recv_data().await.unwrap().is_none());

        let requests = server.log.requests.borrow();
        assert_eq!(requests.len(), 51);
        assert_eq!(requests[50].body, BodyLength::None, "the end came with the head");
        assert_eq!(server.log.ended.get(), 51);
        assert_eq!(server.log.opened.borrow()[0].sni.as_deref(), Some(NAME));
    });
}

#[test]
fn ten_mebibytes_there_and_back() {
    on_a_worker(async {
        let server = start(&QuicLimits::default());
        let mut client = h3_client(&server).await;
        let stream = client.send_request(request("POST", "/x")).await.unwrap();
        let (mut send, mut receive) = stream.split();
        let whole: Vec<u8> = (0..10 * 1024 * 1024u32).map(|i| ((i * 7) >> 3) as u8).collect();
        let expected = whole.clone();
        let sender = tokio::task::spawn_local(async move {
            for part in whole.chunks(100_000) {
                send.send_data(Bytes::copy_from_slice(part)).await.unwrap();
            }
            send.finish().await.unwrap();
        });
        receive.recv_response().await.unwrap();
        let mut content = Vec::new();
        while let Some(mut part) = receive.recv_data().await.unwrap() {
            content.extend_from_slice(&part.copy_to_bytes(part.remaining()));
        }
        sender.await.unwrap();
        assert!(content == expected, "{} bytes", content.len());
    });
}

#[test]
fn interim_responses_and_one_data_frame() {
    on_a_worker(async {
        let server = start(&QuicLimits::default());
        let client = RawConnection::new(&server).await;
        let answer = client.get("/hello").await;
        assert_eq!(answer.statuses(), ["103", "200"]);
        assert_eq!(answer.content, b"hello");
        assert!(answer.sections[1].contains(&("content-length".into(), "5".into())));
    });
}

#[test]
fn a_tunnel() {
    on_a_worker(async {
        let server = start(&QuicLimits::default());
        let client = RawConnection::new(&server).await;
        let (mut send, mut receive) = client.open(&headers("CONNECT", "/tunnel", &[])).await;
        assert!(receive.read(&mut [0; 10]).await.is_err(), "CONNECT with a path and no protocol");
        let _ = send.finish();
        let head = super::client::section(&[
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            (":scheme", "https"),
            (":authority", NAME),
            (":path", "/tunnel"),
        ]);
        let (mut send, mut receive) = client.open(&frame(1, &head)).await;
        let mut seen = Vec::new();
        for round in 0..5 {
            send.write_all(&frame(0, b"over and over")).await.unwrap();
            let goal = 13 * (round + 1);
            while Answer::parse_some(&seen).content.len() < goal {
                let mut part = [0; 1000];
                let n = receive.read(&mut part).await.unwrap().expect("open");
                seen.extend_from_slice(&part[..n]);
            }
        }
        send.finish().unwrap();
        seen.extend(receive.read_to_end(100).await.unwrap());
        let answer = Answer::parse(&seen);
        assert_eq!(answer.statuses(), ["200"]);
        assert!(answer.sections[0].iter().all(|field| field.0 != "content-length"));
        assert_eq!(server.log.requests.borrow()[0].upgrade.as_deref(), Some("websocket"));
    });
}

impl Answer {
    /// What is whole of it.
    fn parse_some(bytes: &[u8]) -> Self {
        let mut whole = 0;
        while let Some((_, a)) = edge_http::h3::varint::read(&bytes[whole..])
            && let Some((len, b)) = edge_http::h3::varint::read(&bytes[whole + a..])
            && bytes.len() >= whole + a + b + len as usize
        {
            whole += a + b + len as usize;
        }
        Self::parse(&bytes[..whole])
    }
}

#[test]
fn a_client_that_does_not_read_stops_the_sender() {
    on_a_worker(async {
        let limits = QuicLimits { send_window: 512 * 1024, ..QuicLimits::default() };
        let server = start(&limits);
        let client = RawConnection::new(&server).await;
        client.quic.set_receive_window(quinn::VarInt::from_u32(256 * 1024));
        let (mut send, mut receive) = client.open(&get("/big")).await;
        send.finish().unwrap();
        sleep(Duration::from_millis(500)).await;
        let sent = server.log.sent.get();
        assert!(sent < 3 * 1024 * 1024, "{sent} of 10 MiB sent though nobody reads");
        let answer = Answer::parse(&receive.read_to_end(64 << 20).await.unwrap());
        assert_eq!(answer.content.len(), 10 * 1024 * 1024);
    });
}

#[test]
fn a_handler_that_does_not_read_stops_the_client() {
    on_a_worker(async {
        let server = start(&QuicLimits::default());
        let client = RawConnection::new(&server).await;
        let (mut send, _receive) = client.open(&headers("POST", "/stuck", &[])).await;
        let written = std::rc::Rc::new(std::cell::Cell::new(0));
        let counted = written.clone();
        let sending = tokio::task::spawn_local(async move {
            let part = frame(0, &[b'x'; 65_536]);
            while send.write_all(&part).await.is_ok() {
                counted.set(counted.get() + 1);
            }
        });
        while client.quic.stats().frame_tx.stream_data_blocked == 0 {
            sleep(Duration::from_millis(5)).await;
        }
        let stalled = written.get();
        // The window of the stream is 4 MiB, and does not grow by what nobody reads.
        assert!((60..=64).contains(&stalled), "stalled after {stalled} parts");
        assert!(!sending.is_finished());
    });
}

#[test]
fn requests_that_nobody_reads_leave_room_for_one_that_is_awaited() {
    on_a_worker(async {
        let server = start(&QuicLimits::default());
        let client = RawConnection::new(&server).await;
        let (mut send, mut receive) = client.open(&headers("POST", "/x", &[])).await;
        // Two requests fill the connection's window.
        let mut stuck = Vec::new();
        for _ in 0..2 {
            let (mut send, receive) = client.open(&headers("POST", "/stuck", &[])).await;
            let sending = tokio::task::spawn_local(async move {
                let part = frame(0, &[b'x'; 65_536]);
                while send.write_all(&part).await.is_ok() {}
            });
            stuck.push((sending, receive));
        }
        while client.quic.stats().frame_tx.data_blocked == 0 {
            sleep(Duration::from_millis(5)).await;
        }
        send.write_all(&frame(0, &[b'y'; 65_536])).await.unwrap();
        send.finish().unwrap();
        let answer = Answer::parse(&receive.read_to_end(64 << 20).await.unwrap());
        assert_eq!(answer.content.len(), 65_536);
        assert!(stuck.iter().all(|(sending, _)| !sending.is_finished()));
    });
}

#[test]
fn answers_that_are_not_whole_are_reset() {
    on_a_worker(async {
        let server = start(&QuicLimits::default());
        let client = RawConnection::new(&server).await;
        for (path, code) in [
            ("/short", Code::H3_INTERNAL_ERROR),
            ("/truncated", Code::H3_INTERNAL_ERROR),
            ("/dropped", Code::H3_INTERNAL_ERROR),
            ("/refused", Code::H3_REQUEST_REJECTED),
        ] {
            assert_eq!(reset(client.ask(&get(path)).await), code, "{path}");
        }
        assert_eq!(client.get("/hello").await.content, b"hello", "the connection goes on");
    });
}

#[test]
fn an_early_answer_stops_the_request() {
    on_a_worker(async {
        let server = start(&QuicLimits::default());
        let client = RawConnection::new(&server).await;
        let (send, mut receive) = client.open(&headers("POST", "/unread", &[])).await;
        let answer = Answer::parse(&receive.read_to_end(1000).await.unwrap());
        assert_eq!(answer.statuses(), ["200"]);
        assert_eq!(send.stopped().await.unwrap().map(quinn::VarInt::into_inner), Some(Code::H3_NO_ERROR.0));
    });
}

#[test]
fn a_client_that_goes_is_noticed() {
    on_a_worker(async {
        let server = start(&QuicLimits::default());
        let client = RawConnection::new(&server).await;
        let (mut send, mut receive) = client.open(&get("/wait")).await;
        send.finish().unwrap();
        sleep(Duration::from_millis(50)).await;
        receive.stop(quinn::VarInt::from_u32(0x10c)).unwrap();
        while server.log.lost.get() < 1 {
            sleep(Duration::from_millis(5)).await;
        }
        let (mut send, _receive) = client.open(&headers("POST", "/x", &[])).await;
        sleep(Duration::from_millis(50)).await;
        send.reset(quinn::VarInt::from_u32(0x10c)).unwrap();
        while server.log.lost.get() < 2 {
            sleep(Duration::from_millis(5)).await;
        }
        let (mut send, _receive) = client.open(&get("/wait")).await;
        send.finish().unwrap();
        sleep(Duration::from_millis(50)).await;
        client.quic.close(quinn::VarInt::from_u32(0x100), b"");
        while server.log.lost.get() < 3 {
            sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(*server.log.closed.borrow(), [crate::downstream::h3::CloseReason::Peer(0x100)]);
    });
}

#[test]
fn early_data() {
    on_a_worker(async {
        let server = start(&QuicLimits::default());
        let endpoint = endpoint(&server);
        let first = RawConnection::of(endpoint.connect(server.address, NAME).unwrap().await.unwrap()).await;
        assert_eq!(first.get("/early").await.content, b"late");
        first.quic.close(quinn::VarInt::from_u32(0x100), b"");
        for path in ["/early", "/at-once"] {
            let connecting = endpoint.connect(server.address, NAME).unwrap();
            let (quic, accepted) = connecting.into_0rtt().unwrap_or_else(|_| panic!("no ticket"));
            let client = RawConnection::of(quic).await;
            assert_eq!(client.get(path).await.content, b"early", "{path}");
            assert!(accepted.await);
            assert_eq!(client.get(path).await.content, b"late", "{path}");
        }
        assert_eq!(server.log.early.get(), 2);
    });
}

/// Sends 4 MiB and receives them again, over a connection of a client that accepts datagrams of `most` bytes. Returns
/// the average size of the datagrams that it received.
async fn datagram_size(server: &Server, most: u16) -> u64 {
    let mut config = quinn::EndpointConfig::default();
    config.max_udp_payload_size(most).unwrap();
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut endpoint = quinn::Endpoint::new(config, None, socket, Arc::new(quinn::TokioRuntime)).unwrap();
    endpoint.set_default_client_config(super::client::config(server));
    let quic = endpoint.connect(server.address, NAME).unwrap().await.unwrap();
    let client = RawConnection::of(quic).await;
    let content: Vec<u8> = (0..4 * 1024 * 1024u32).map(|i| (i >> 4) as u8).collect();
    let request = [headers("POST", "/x", &[]), frame(edge_http::h3::frame::DATA, &content)].concat();
    let (mut send, mut receive) = client.quic.open_bi().await.unwrap();
    let sender = tokio::task::spawn_local(async move {
        send.write_all(&request).await.unwrap();
        send.finish().unwrap();
    });
    let answer = Answer::parse(&receive.read_to_end(8 << 20).await.unwrap());
    sender.await.unwrap();
    assert!(answer.content == content, "{} bytes", answer.content.len());
    let received = client.quic.stats().udp_rx;
    received.bytes / received.datagrams
}

#[test]
fn a_client_of_the_same_host_gets_datagrams_as_large_as_it_accepts() {
    on_a_worker(async {
        let server = start(&QuicLimits::default());
        let large = datagram_size(&server, 65_527).await;
        assert!(large > 8_000, "{large} bytes a datagram");
        let medium = datagram_size(&server, 9_000).await;
        assert!((4_000..=9_000).contains(&medium), "{medium} bytes a datagram");
        let usual = datagram_size(&server, 1_472).await;
        assert!(usual <= 1_472, "{usual} bytes a datagram");
    });
}
