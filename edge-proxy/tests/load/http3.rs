//! D1 and D4 to D7: abuse over QUIC.

use crate::common::wire3::{self, Answer, End, Field, Http3, headers};
use crate::{Target, seen};
use edge_http::h3::varint;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// The code of connections closed for excessive load (RFC 9114 §8.1).
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

/// Waits until the connection is closed, and returns its HTTP/3 error code.
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
            // A reserved frame type, which receivers ignore (RFC 9114 §7.2.8): often enough to be a flood.
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
                // Trailers too. The origin may have responded before; its response does not matter here.
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
                // An Initial of version 1 with IDs, token and length of any size.
                packet[0] = 0xc0 | (random() as u8 & 0x0f);
                packet[1..5].copy_from_slice(&1u32.to_be_bytes());
                packet[5] = [0, 1, 7, 8, 20, 21, 255][(random() % 7) as usize];
                let after = 6 + usize::from(packet[5]).min(length - 8);
                packet[after] = 0;
                // The length of a token: a complete varint, or a truncated one.
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
        // There is no connection to close: it is enough that no address gets more bytes than were sent.
        answered < 2000
    });
}

#[test]
fn d6_no_more_than_three_times_before_the_address_is_proved() {
    let target = Target::start("http3::d6_no_more_than_three_times_before_the_address_is_proved");
    target.withstands(|target| {
        // Between a client and the proxy: the client's first flight passes, everything later is dropped.
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
        // A ClientHello with a post-quantum key share needs more than one datagram.
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

/// The address of a client's packets as the proxy sees it.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum RelaySource {
    /// The first address.
    First,
    /// The second address, which gets no response: it is forged.
    Forged,
    /// Alternating addresses, without responses at the second.
    Either,
}

/// A relay between a client and the proxy.
struct DatagramRelay {
    address: SocketAddr,
    from: Arc<AtomicU8>,
    /// Datagrams that the proxy sent to the second address.
    answers: Arc<AtomicUsize>,
}

impl DatagramRelay {
    fn new(target: SocketAddr, first: [u8; 4], second: [u8; 4]) -> Self {
        let inside = UdpSocket::bind("127.0.0.1:0").unwrap();
        let outside = [first, second].map(|address| {
            let socket = UdpSocket::bind(SocketAddr::from((address, 0))).unwrap();
            socket.connect(target).unwrap();
            socket
        });
        let (address, from) =
            (inside.local_addr().unwrap(), Arc::new(AtomicU8::new(RelaySource::First as u8)));
        let (now, answers) = (from.clone(), Arc::new(AtomicUsize::new(0)));
        let answered = answers.clone();
        inside.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        outside.iter().for_each(|socket| socket.set_nonblocking(true).unwrap());
        // Ends when no one else holds the switch.
        std::thread::spawn(move || {
            let (mut datagram, mut client, mut turn) = ([0; 2048], None, 0);
            while Arc::strong_count(&now) > 1 {
                if let Ok((n, address)) = inside.recv_from(&mut datagram) {
                    client = Some(address);
                    turn += 1;
                    let second = match now.load(SeqCst) {
                        from if from == RelaySource::First as u8 => false,
                        from if from == RelaySource::Either as u8 => turn % 2 == 0,
                        _ => true,
                    };
                    let _ = outside[usize::from(second)].send(&datagram[..n]);
                }
                while let (Ok(n), Some(client)) = (outside[0].recv(&mut datagram), client) {
                    let _ = inside.send_to(&datagram[..n], client);
                }
                while outside[1].recv(&mut datagram).is_ok() {
                    answered.fetch_add(1, SeqCst);
                }
            }
        });
        Self { address, from, answers }
    }

    fn set(&self, from: RelaySource) {
        self.from.store(from as u8, SeqCst);
    }
}

/// Sends requests without waiting for their responses.
async fn send(client: &Http3, path: &str) -> Vec<tokio::task::JoinHandle<Answer>> {
    let mut answers = Vec::new();
    for number in 0..40 {
        let request = wire3::request("GET", "a.test", &format!("{path}-{number}"), &[]);
        let open = client.open(&request);
        let Ok((mut send, reader)) = tokio::time::timeout(Duration::from_millis(500), open).await else {
            break;
        };
        let _ = send.finish();
        answers.push(tokio::spawn(async move { { reader }.answer().await }));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    answers
}

#[test]
fn d7_an_address_that_is_not_proved() {
    let target = Target::start("http3::d7_an_address_that_is_not_proved");
    target.withstands(|target| {
        // At the first address a client is denied; the second is where others are served.
        let between = DatagramRelay::new(target.tls, [127, 0, 0, 9], [127, 0, 0, 1]);
        wire3::run(async {
            let client = Http3::connect(between.address, &target.root, "a.test").await;
            assert_eq!(client.get("a.test", "/seen/kept-out").await.status(), None);
            let mut answers = Vec::new();
            for from in [RelaySource::Forged, RelaySource::Either] {
                between.set(from);
                answers.extend(send(&client, "/seen/kept-out").await);
                between.set(RelaySource::First);
                // The connection is where it was.
                assert_eq!(client.get("a.test", "/seen/kept-out").await.status(), None);
            }
            // Requests from there were attributed to the client, and not to an allowed address.
            assert!(between.answers.load(SeqCst) > 0, "nothing of it came to the proxy");
            let (count, mut refused) = (answers.len(), 0);
            for answer in answers {
                let answer = tokio::time::timeout(Duration::from_secs(20), answer).await;
                refused += usize::from(answer.is_ok_and(|answer| answer.unwrap().status().is_none()));
            }
            assert_eq!((refused, seen("/seen/kept-out")), (count, Vec::new()));
            count > 40
        })
    });
}

#[test]
fn d7_an_address_that_is_not_proved_is_not_told() {
    let target = Target::start("http3::d7_an_address_that_is_not_proved_is_not_told");
    target.withstands(|target| {
        // Here the client is allowed, whatever address it uses; the upstream gets the validated one.
        let between = DatagramRelay::new(target.tls, [127, 0, 0, 1], [127, 0, 0, 7]);
        wire3::run(async {
            let client = Http3::connect(between.address, &target.root, "a.test").await;
            between.set(RelaySource::Either);
            let answers = send(&client, "/seen/either").await;
            between.set(RelaySource::First);
            let count = answers.len();
            for answer in answers {
                let answer = tokio::time::timeout(Duration::from_secs(20), answer).await;
                assert_eq!(answer.expect("an answer").unwrap().status(), Some("200"));
            }
            assert!(between.answers.load(SeqCst) > 0, "nothing of it came to the proxy");
            let heads = seen("/seen/either");
            let told = heads.iter().filter(|head| head.contains("x-forwarded-for: 127.0.0.1\r\n")).count();
            assert_eq!((heads.len(), told), (count, count));
            count > 20
        })
    });
}
