//! D4 to D6: what is sent over QUIC.

use crate::Target;
use crate::common::wire3::{self, End, Field, Http3, headers};
use edge_proxy::h3::varint;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

/// The code that ends a connection for its load (RFC 9114 §8.1).
const EXCESSIVE_LOAD: u64 = 0x107;

#[test]
fn d1_resets_of_requests() {
    let target = Target::start("http3::d1_resets_of_requests");
    target.withstands(|target| {
        wire3::run(async {
            let client = Http3::connect(target.tls, &target.root, "a.test").await;
            for _ in 0..20_000 {
                let Ok(Ok((mut send, mut receive))) =
                    tokio::time::timeout(Duration::from_secs(5), client.quic.open_bi()).await
                else {
                    break;
                };
                let _ = send.write_all(&wire3::request("GET", "a.test", "/", &[])).await;
                let _ = send.reset(0x10cu32.into());
                let _ = receive.stop(0x10cu32.into());
            }
            ended(&client).await == Some(EXCESSIVE_LOAD)
        })
    });
}

/// By which code of HTTP/3 the connection was closed, within a while.
async fn ended(client: &Http3) -> Option<u64> {
    match tokio::time::timeout(Duration::from_secs(10), client.quic.closed()).await {
        Ok(quinn::ConnectionError::ApplicationClosed(close)) => Some(close.error_code.into_inner()),
        _ => None,
    }
}

#[test]
fn d1_frames_of_no_use_on_the_control_stream() {
    let target = Target::start("http3::d1_frames_of_no_use_on_the_control_stream");
    target.withstands(|target| {
        wire3::run(async {
            let mut client = Http3::connect(target.tls, &target.root, "a.test").await;
            let mut control = client.take_control();
            // A reserved kind, which is to be ignored (RFC 9114 §7.2.8): so often that it is a flood.
            let one = wire3::frame(0x21, b"");
            let many = one.repeat(1000);
            for _ in 0..2000 {
                if control.write_all(&many).await.is_err() {
                    break;
                }
            }
            ended(&client).await == Some(EXCESSIVE_LOAD)
        })
    });
}

#[test]
fn d4_sections_of_very_many_fields() {
    let target = Target::start("http3::d4_sections_of_very_many_fields");
    target.withstands(|target| {
        wire3::run(async {
            let client = Http3::connect(target.tls, &target.root, "a.test").await;
            let field: Field<'_> = (b"a", b"");
            for count in [101, 5000, 24_577, 70_000] {
                let mut fields: Vec<Field<'_>> = vec![
                    (b":method", b"GET"),
                    (b":scheme", b"https"),
                    (b":authority", b"a.test"),
                    (b":path", b"/"),
                ];
                fields.resize(4 + count, field);
                let answer = client.ask(&headers(&fields)).await;
                let refused = answer.status() == Some("431") || !matches!(answer.end, End::Stream);
                if !refused {
                    return false;
                }
                // Trailers too. The service may have answered before they came; its answer is not what is asked here.
                let mut bytes = wire3::request("POST", "a.test", "/", &[]);
                bytes.extend(headers(&vec![field; count]));
                client.ask(&bytes).await;
            }
            // The connection itself did nothing wrong.
            client.get("a.test", "/").await.status() == Some("200")
        })
    });
}

#[test]
fn d5_packets_that_are_none() {
    let target = Target::start("http3::d5_packets_that_are_none");
    target.withstands(|target| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(target.tls).unwrap();
        socket.set_nonblocking(true).unwrap();
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        let mut random = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let mut answered = 0;
        for round in 0..20_000u64 {
            let length = [1, 20, 50, 1199, 1200, 1472][(random() % 6) as usize];
            let mut packet: Vec<u8> = (0..length).map(|_| random() as u8).collect();
            if round % 4 != 0 && length > 30 {
                // An Initial of version 1 whose ids, token and length are of any size.
                packet[0] = 0xc0 | (random() as u8 & 0x0f);
                packet[1..5].copy_from_slice(&1u32.to_be_bytes());
                packet[5] = [0, 1, 7, 8, 20, 21, 255][(random() % 7) as usize];
                let after = 6 + usize::from(packet[5]).min(length - 8);
                packet[after] = 0;
                // A token's length: a whole varint, or one that is cut.
                let mut token = Vec::new();
                varint::write(&mut token, [0, 1, 63, 64, 16_383, 1 << 30][(random() % 6) as usize]);
                for (at, byte) in token.iter().enumerate() {
                    if after + 1 + at < length {
                        packet[after + 1 + at] = *byte;
                    }
                }
            }
            let _ = socket.send(&packet);
            while socket.recv(&mut [0; 2048]).is_ok() {
                answered += 1;
            }
            if round % 64 == 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        // There is no connection to end: it is enough that nobody gets more back than was sent.
        answered < 2000
    });
}

#[test]
fn d6_no_more_than_three_times_before_the_address_is_proved() {
    let target = Target::start("http3::d6_no_more_than_three_times_before_the_address_is_proved");
    target.withstands(|target| {
        // Between a client and the proxy: the client's first flight gets through, nothing of it afterwards.
        let between = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = between.local_addr().unwrap();
        let root = target.root.clone();
        let client = std::thread::spawn(move || {
            wire3::run(async move {
                let connecting = Http3::connect(address, &root, "a.test");
                let _ = tokio::time::timeout(Duration::from_secs(4), connecting).await;
            });
        });
        let outside = UdpSocket::bind("127.0.0.1:0").unwrap();
        outside.connect(target.tls).unwrap();
        outside.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        // A ClientHello with a key for quantum computers fills more than one datagram.
        let (mut sent, mut datagram) = (0, [0; 2048]);
        while let Ok((n, _)) = between.recv_from(&mut datagram) {
            sent += outside.send(&datagram[..n]).unwrap();
            between.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        }
        let (mut back, until) = (0, Instant::now() + Duration::from_secs(4));
        while Instant::now() < until {
            back += outside.recv(&mut [0; 2048]).unwrap_or(0);
        }
        drop(client);
        assert!(back > 0, "it does not answer at all");
        back <= 3 * sent
    });
}
