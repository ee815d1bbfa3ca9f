//! Requests in TLS early data, which whoever recorded it can send again.

use crate::edge::{Edge, site};
use crate::wire2::{END_HEADERS, END_STREAM, HEADERS, block};
use crate::wire3;
use edge_http::h3::varint;
use quinn::crypto::rustls::QuicClientConfig;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use testkit::{Origin, tls_client};
use tokio::net::UdpSocket;

/// A connection whose first flight has this early data; nothing more is sent until the caller does so.
fn first_flight(edge: &Edge, early: &[u8]) -> (rustls::ClientConnection, TcpStream) {
    first_flight_of(edge, b"http/1.1", b"GET /before HTTP/1.1\r\nHost: a.test\r\n\r\n", early)
}

/// As [`first_flight`], of this protocol. `before` is sent on the connection whose session is resumed, and is answered.
fn first_flight_of(
    edge: &Edge,
    protocol: &[u8],
    before: &[u8],
    early: &[u8],
) -> (rustls::ClientConnection, TcpStream) {
    let mut config = tls_client(&edge.root, &[protocol]);
    config.enable_early_data = true;
    let config = Arc::new(config);
    let begin = || rustls::ClientConnection::new(config.clone(), "a.test".try_into().unwrap()).unwrap();
    // A session to resume.
    let tcp = TcpStream::connect(edge.tls).unwrap();
    let mut stream = rustls::StreamOwned::new(begin(), tcp);
    stream.write_all(before).unwrap();
    assert!(stream.read(&mut [0; 1000]).unwrap() > 0);

    let mut session = begin();
    session.early_data().expect("the session takes early data").write_all(early).unwrap();
    let mut tcp = TcpStream::connect(edge.tls).unwrap();
    tcp.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    while session.wants_write() {
        session.write_tls(&mut tcp).unwrap();
    }
    (session, tcp)
}

#[test]
fn s20_a_second_request_in_early_data_is_as_early_as_the_first() {
    let mut early = site("a.test");
    early.early_data = true;
    for second in [
        "POST /second HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n",
        "GET /second HTTP/1.1\r\nHost: a.test\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
        "PUT /second HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\n\r\nx",
    ] {
        let edge = Edge::with(Origin::simple(), vec![early.clone()]);
        let both = format!("GET /first HTTP/1.1\r\nHost: a.test\r\n\r\n{second}");
        let (mut session, mut tcp) = first_flight(&edge, both.as_bytes());
        assert!(edge.origin.wait(|text| text.contains("GET /first")), "{}", edge.origin.text());
        std::thread::sleep(Duration::from_millis(700));
        let text = edge.origin.text();
        assert!(text.contains("Early-Data: 1") && !text.contains("/second"), "{text}");
        while session.is_handshaking() {
            session.complete_io(&mut tcp).unwrap();
        }
        assert!(edge.origin.wait(|text| text.contains(" /second")), "{}", edge.origin.text());
    }
}

#[test]
fn s20_a_second_get_in_early_data_is_marked() {
    let mut early = site("a.test");
    early.early_data = true;
    let edge = Edge::with(Origin::simple(), vec![early]);
    let both = "GET /first HTTP/1.1\r\nHost: a.test\r\n\r\nGET /second HTTP/1.1\r\nHost: a.test\r\n\r\n";
    let _open = first_flight(&edge, both.as_bytes());
    assert!(edge.origin.wait(|text| text.contains("GET /second")), "{}", edge.origin.text());
    assert_eq!(edge.origin.text().matches("Early-Data: 1").count(), 2, "{}", edge.origin.text());
}

/// The frame of a request without content, or of one whose content does not come.
fn request2(stream: u8, method: &str, path: &str) -> Vec<u8> {
    let section = block(&[
        (b":method", method.as_bytes()),
        (b":scheme", b"https"),
        (b":authority", b"a.test"),
        (b":path", path.as_bytes()),
    ]);
    let head = [0, 0, section.len() as u8, HEADERS, END_HEADERS | END_STREAM, 0, 0, 0, stream];
    [&head[..], &section].concat()
}

#[test]
fn s20_requests_in_early_data_over_http2_wait_for_the_handshake() {
    let mut early = site("a.test");
    early.early_data = true;
    let edge = Edge::with(Origin::simple(), vec![early]);
    let begin = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &[0, 0, 0, 4, 0, 0, 0, 0, 0]].concat();
    let both = [begin.clone(), request2(1, "GET", "/first"), request2(3, "POST", "/second")].concat();
    let (mut session, mut tcp) = first_flight_of(&edge, b"h2", &begin, &both);
    std::thread::sleep(Duration::from_millis(700));
    assert_eq!(edge.origin.text(), "");
    while session.is_handshaking() {
        session.complete_io(&mut tcp).unwrap();
    }
    assert!(session.is_early_data_accepted());
    assert!(edge.origin.wait(|text| text.contains("GET /first") && text.contains("POST /second")));
    assert!(!edge.origin.text().contains("Early-Data"), "{}", edge.origin.text());
}

/// Returns whether a client's datagram has a packet that it protects with the keys of the handshake or of the
/// connection, by which it proves that it received the server's flight.
fn proves_the_handshake(mut datagram: &[u8]) -> bool {
    // The bit in between is set or not, at random (RFC 9287).
    const INITIAL: u8 = 0x80;
    const EARLY: u8 = 0x90;
    while let Some(first) = datagram.first() {
        let kind = first & 0xb0;
        if !matches!(kind, INITIAL | EARLY) {
            // Zeros after a packet are padding of the datagram.
            return *first != 0;
        }
        // The version, and both connection IDs with their lengths.
        let mut at = 5;
        for _ in 0..2 {
            at += 1 + usize::from(datagram[at]);
        }
        if kind == INITIAL {
            let (token, n) = varint::read(&datagram[at..]).unwrap();
            at += n + token as usize;
        }
        let (length, n) = varint::read(&datagram[at..]).unwrap();
        datagram = &datagram[at + n + length as usize..];
    }
    false
}

/// Relays between one client and the edge until it is aborted. Of the client's datagrams those that prove the handshake
/// are lost until `open` is set.
async fn gate(edge: SocketAddr, open: Arc<AtomicBool>) -> (SocketAddr, tokio::task::JoinHandle<()>) {
    let near = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let far = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    far.connect(edge).await.unwrap();
    let address = near.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let (mut up, mut down, mut client) = ([0; 2000], [0; 2000], None);
        loop {
            tokio::select! {
                Ok((n, from)) = near.recv_from(&mut up) => {
                    client = Some(from);
                    if open.load(Relaxed) || !proves_the_handshake(&up[..n]) {
                        far.send(&up[..n]).await.unwrap();
                    }
                }
                Ok(n) = far.recv(&mut down) => {
                    near.send_to(&down[..n], client.unwrap()).await.unwrap();
                }
            }
        }
    });
    (address, task)
}

#[test]
fn s20_a_second_request_in_early_data_over_http3_is_as_early_as_the_first() {
    let mut early = site("a.test");
    early.early_data = true;
    let edge = Edge::with(Origin::simple(), vec![early]);
    let mut config = tls_client(&edge.root, &[b"h3"]);
    config.enable_early_data = true;
    let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(config).unwrap()));
    let seen = async |wanted: &str| {
        for _ in 0..500 {
            if edge.origin.text().contains(wanted) {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        false
    };
    wire3::run(async {
        let open = Arc::new(AtomicBool::new(true));
        let (address, relay) = gate(edge.tls, open.clone()).await;
        let mut endpoint = quinn::Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        endpoint.set_default_client_config(config);
        // A session to resume. Its tickets come before the response.
        let before = endpoint.connect(address, "a.test").unwrap().await.unwrap();
        let mut control = before.open_uni().await.unwrap();
        control.write_all(&[0, 4, 0]).await.unwrap();
        let (mut send, mut response) = before.open_bi().await.unwrap();
        send.write_all(&wire3::request("GET", "a.test", "/before", &[])).await.unwrap();
        send.finish().unwrap();
        assert!(!response.read_to_end(10_000).await.unwrap().is_empty());
        before.close(0u32.into(), b"");
        endpoint.wait_idle().await;
        open.store(false, Relaxed);
        let connecting = endpoint.connect(address, "a.test").unwrap();
        let (quic, accepted) = connecting.into_0rtt().unwrap_or_else(|_| panic!("no session"));
        let mut control = quic.open_uni().await.unwrap();
        control.write_all(&[0, 4, 0]).await.unwrap();
        let mut responses = Vec::new();
        for (method, path) in [("GET", "/first"), ("POST", "/second"), ("GET", "/third")] {
            let (mut send, response) = quic.open_bi().await.unwrap();
            send.write_all(&wire3::request(method, "a.test", path, &[])).await.unwrap();
            send.finish().unwrap();
            responses.push(response);
        }
        assert!(seen("GET /third").await, "{}", edge.origin.text());
        tokio::time::sleep(Duration::from_millis(700)).await;
        let text = edge.origin.text();
        assert!(text.contains("GET /first") && !text.contains("/second"), "{text}");
        assert_eq!(text.matches("Early-Data: 1").count(), 2, "{text}");
        open.store(true, Relaxed);
        assert!(accepted.await);
        assert!(seen("POST /second").await, "{}", edge.origin.text());
        relay.abort();
    });
}
