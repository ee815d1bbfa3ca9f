//! The same attacks in HTTP/3 framing, sent frame by frame, and attacks specific to HTTP/3.

use crate::edge::{Edge, site};
use crate::wire3::{Answer, End, Field, Http3, data, headers, request, run};
use bytes::Bytes;
use edge_http::h3::frame;
use edge_proxy::config::{Action, PathMatch, Protocol, Route, Target, Upstream};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use testkit::Origin;

const H3_INTERNAL_ERROR: u64 = 0x102;
const H3_REQUEST_REJECTED: u64 = 0x10b;
const H3_MESSAGE_ERROR: u64 = 0x10e;

async fn connect(edge: &Edge) -> Http3 {
    Http3::connect(edge.tls, &edge.root, "a.test").await
}

#[track_caller]
fn assert_message_error(answer: &Answer, shown: &str) {
    assert_eq!(answer.end, End::Reset(H3_MESSAGE_ERROR), "{shown}: {answer:?}");
    assert!(answer.sections.is_empty(), "{shown}: {answer:?}");
}

/// Asserts that heads get stream errors, all on one connection that continues to serve; none is forwarded.
fn refused(cases: &[&[Field<'_>]]) {
    let edge = Edge::before(Origin::simple());
    run(async {
        let client = connect(&edge).await;
        for fields in cases {
            let shown: Vec<String> =
                fields.iter().map(|(n, v)| format!("{}={}", n.escape_ascii(), v.escape_ascii())).collect();
            assert_message_error(&client.ask(&headers(fields)).await, &shown.join(" "));
        }
        edge.assert_nothing_forwarded();
        assert_eq!(client.get("a.test", "/").await.status(), Some("200"));
    });
}

/// The usual request with these additional fields.
fn with(more: Field<'static>) -> Vec<Field<'static>> {
    let mut fields: Vec<Field<'_>> =
        vec![(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"a.test"), (b":path", b"/")];
    fields.push(more);
    fields
}

#[test]
fn s8_content_is_not_as_long_as_announced() {
    for (length, content, trailers) in [
        ("5", &["abc"][..], false),
        ("5", &["abc", ""], false),
        ("3", &["abcde"], false),
        ("5", &["abc"], true),
        ("3", &["abcde"], true),
        ("5", &[], true),
        ("5", &[], false),
        ("0", &["a"], false),
    ] {
        let edge = Edge::before(Origin::simple());
        let mut bytes = request("POST", "a.test", "/", &[(b"content-length", length.as_bytes())]);
        content.iter().for_each(|part| bytes.extend(data(part.as_bytes())));
        if trailers {
            bytes.extend(headers(&[(b"x-sum", b"1")]));
        }
        let shown = format!("{length} {content:?} {trailers}");
        let answer = run(async { connect(&edge).await.ask(&bytes).await });
        assert_message_error(&answer, &shown);
        std::thread::sleep(std::time::Duration::from_millis(30));
        let forwarded = edge.origin.text();
        let whole =
            forwarded.split_once("\r\n\r\n").is_some_and(|(_, got)| got.len() >= length.parse().unwrap());
        assert!(forwarded.is_empty() || !whole, "{shown}: {forwarded:?}");
    }
}

#[test]
fn s8_what_announces_no_content_waits_for_its_end() {
    let edge = Edge::before(Origin::simple());
    run(async {
        let client = connect(&edge).await;
        let bytes = request("POST", "a.test", "/", &[(b"content-length", b"0")]);
        let (mut send, mut reader) = client.open(&bytes).await;
        tokio::time::sleep(std::time::Duration::from_millis(150)).await;
        edge.assert_nothing_forwarded();
        send.write_all(&data(b"a")).await.unwrap();
        send.finish().unwrap();
        assert_message_error(&reader.answer().await, "late content");
    });
    edge.assert_nothing_forwarded();
}

#[test]
fn s8_an_empty_fin_ends_content_too_early() {
    let edge = Edge::before(Origin::simple());
    run(async {
        let client = connect(&edge).await;
        for sent in [&b""[..], b"abc"] {
            let mut bytes = request("POST", "a.test", "/", &[(b"content-length", b"5")]);
            bytes.extend(data(sent));
            let (mut send, mut reader) = client.open(&bytes).await;
            // The FIN arrives alone, after everything before it was read.
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            send.finish().unwrap();
            assert_message_error(&reader.answer().await, &sent.escape_ascii().to_string());
        }
    });
    assert!(!edge.origin.text().contains("abcde"), "{}", edge.origin.text());
}

#[test]
fn s8_lengths_that_are_no_number() {
    refused(&[
        &with((b"content-length", b"+5")),
        &with((b"content-length", b"5,5")),
        &with((b"content-length", b"-1")),
        &with((b"content-length", b"5 ")),
        &with((b"content-length", b"")),
        &with((b"content-length", b"18446744073709551616")),
        &[&with((b"content-length", b"0"))[..], &[(b"content-length", b"0")]].concat(),
    ]);
}

#[test]
fn s9_bytes_that_would_be_framing_in_http1() {
    refused(&[
        &with((b"x", b"a\rb")),
        &with((b"x", b"a\nb")),
        &with((b"x", b"a\r\nX-Smuggled: 1")),
        &with((b"x", b"a\0b")),
        &with((b"x", b" a")),
        &with((b"x", b"a\t")),
        &with((b"X", b"a")),
        &with((b"a:b", b"c")),
        &with((b"x: y\r\nz", b"c")),
        &with((b"a b", b"c")),
        &with((b"", b"c")),
        &with((b"x\xff", b"c")),
        &with((b"connection", b"close")),
        &with((b"keep-alive", b"timeout=5")),
        &with((b"proxy-connection", b"close")),
        &with((b"transfer-encoding", b"chunked")),
        &with((b"upgrade", b"websocket")),
        &with((b"te", b"gzip")),
        &with((b"te", b"trailers, gzip")),
    ]);
}

#[test]
fn s9_pseudo_headers() {
    let (method, scheme): (Field<'_>, Field<'_>) = ((b":method", b"GET"), (b":scheme", b"https"));
    let (authority, path): (Field<'_>, Field<'_>) = ((b":authority", b"a.test"), (b":path", b"/"));
    refused(&[
        &[method, scheme, authority, (b"x", b"y"), path],
        &[(b"x", b"y"), method, scheme, authority, path],
        &[method, method, scheme, authority, path],
        &[method, scheme, scheme, authority, path],
        &[method, scheme, authority, path, path],
        &[method, scheme, authority, authority, path],
        &[method, scheme, authority, path, (b":unknown", b"1")],
        &[method, scheme, authority, path, (b":status", b"200")],
        &[scheme, authority, path],
        &[method, authority, path],
        &[method, scheme, authority],
        &[method, scheme, path],
        &[method, scheme, authority, (b":path", b"")],
        &[method, scheme, authority, (b":path", b"/ HTTP/1.1\r\nX: y")],
        &[method, scheme, authority, (b":path", b"/a b")],
        &[method, scheme, authority, (b":path", b"no-slash")],
        &[method, scheme, authority, (b":path", b"https://a.test/")],
        &[method, scheme, authority, (b":path", b"*")],
        &[method, scheme, (b":authority", b"a.test\r\nX: y"), path],
        &[method, scheme, (b":authority", b"user@a.test"), path],
        &[method, scheme, (b":authority", b"a.test/x"), path],
        &[(b":method", b"GET / HTTP/1.1\r\nX:"), scheme, authority, path],
        &[method, (b":scheme", b"http"), authority, path],
        &[method, scheme, authority, path, (b":protocol", b"websocket")],
    ]);
}

#[test]
fn s10_disagreeing_authorities() {
    refused(&[
        &with((b"host", b"b.test")),
        &[&with((b"host", b"a.test"))[..], &[(b"host", b"a.test")]].concat(),
        &[&with((b"host", b"a.test"))[..], &[(b"host", b"b.test")]].concat(),
    ]);
    let edge = Edge::before(Origin::simple());
    let bytes =
        headers(&[(b":method", b"GET"), (b":scheme", b"https"), (b":path", b"/h"), (b"host", b"a.test")]);
    assert_eq!(run(async { connect(&edge).await.ask(&bytes).await }).status(), Some("200"));
    assert!(edge.origin.text().starts_with("GET /h HTTP/1.1\r\nHost: a.test\r\n"), "{}", edge.origin.text());
}

#[test]
fn s11_an_authority_of_another_site_than_the_sni() {
    let edge = Edge::before(Origin::simple());
    run(async {
        let client = connect(&edge).await;
        for authority in ["b.test", "unknown.test", "127.0.0.1", "[::1]:443"] {
            let answer = client.get(authority, "/").await;
            let line = &b"421 Misdirected Request\n"[..];
            assert_eq!((answer.status(), &answer.content[..]), (Some("421"), line), "{authority}");
            assert_eq!(answer.field("server"), None);
        }
    });
    edge.assert_nothing_forwarded();
}

#[test]
fn s13_fields_that_the_proxy_sets() {
    let edge = Edge::before(Origin::simple());
    let spoofed: [Field<'_>; 5] = [
        (b"x-forwarded-for", b"6.6.6.6"),
        (b"x-real-ip", b"6.6.6.6"),
        (b"x_forwarded_for", b"6.6.6.6"),
        (b"forwarded", b"for=6.6.6.6"),
        (b"x-forwarded-proto", b"gopher"),
    ];
    let bytes = request("GET", "a.test", "/", &spoofed);
    assert_eq!(run(async { connect(&edge).await.ask(&bytes).await }).status(), Some("200"));
    let forwarded = edge.origin.text();
    for there in
        ["X-Forwarded-For: 127.0.0.1\r\n", "X-Real-IP: 127.0.0.1\r\n", "X-Forwarded-Proto: https\r\n"]
    {
        assert!(forwarded.contains(there), "{there}: {forwarded}");
    }
    for gone in ["6.6.6.6", "gopher", "x_f"] {
        assert!(!forwarded.contains(gone), "{gone} was forwarded: {forwarded}");
    }
}

#[test]
fn sinkhole_resets_the_stream() {
    let mut dropping = site("a.test");
    dropping.routes.push(Route::new(PathMatch::Exact("/hole".into()), Action::Drop));
    let edge = Edge::with(Origin::simple(), vec![dropping]);
    run(async {
        let client = connect(&edge).await;
        let answer = client.get("a.test", "/hole").await;
        assert_eq!(answer.end, End::Reset(H3_REQUEST_REJECTED));
        assert!(answer.sections.is_empty(), "{answer:?}");
        edge.assert_nothing_forwarded();
        assert_eq!(client.get("a.test", "/").await.status(), Some("200"));
    });
}

#[test]
fn tunnels_to_elsewhere_are_refused() {
    let edge = Edge::before(Origin::simple());
    run(async {
        let client = connect(&edge).await;
        for protocol in ["connect-udp", "connect-ip", "webtransport"] {
            let (_send, mut reader) = client.open(&extended(protocol)).await;
            let answer = reader.answer().await;
            assert_eq!(answer.status(), Some("501"), "{protocol}: {answer:?}");
        }
        let plain = headers(&[(b":method", b"CONNECT"), (b":authority", b"a.test:22")]);
        assert_eq!(client.ask(&plain).await.end, End::Reset(H3_REQUEST_REJECTED));
    });
    edge.assert_nothing_forwarded();
}

#[test]
fn a_response_cut_short_is_reset() {
    for said in [
        &b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfour"[..],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfour\r\nzzz\r\n",
    ] {
        let edge = Edge::before(Origin::scripted(move |bytes| {
            bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
            Some((said.to_vec(), 0))
        }));
        let answer = run(async { connect(&edge).await.get("a.test", "/").await });
        assert_eq!(answer.end, End::Reset(H3_INTERNAL_ERROR), "{}: {answer:?}", said.escape_ascii());
    }
}

fn extended(protocol: &str) -> Vec<u8> {
    headers(&[
        (b":method", b"CONNECT"),
        (b":protocol", protocol.as_bytes()),
        (b":scheme", b"https"),
        (b":authority", b"a.test"),
        (b":path", b"/ws"),
        (b"sec-websocket-version", b"13"),
    ])
}

/// An origin that accepts a WebSocket and echoes it.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") {
                    stream.read_exact(&mut byte).unwrap();
                    head.push(byte[0]);
                }
                let head = String::from_utf8(head).unwrap();
                assert!(head.starts_with("GET /ws HTTP/1.1\r\n"), "{head}");
                let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
                let accept = edge_http::websocket::accept(key.as_bytes());
                let mut said =
                    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
                        .to_vec();
                said.extend_from_slice(&accept);
                said.extend_from_slice(b"\r\n\r\n");
                stream.write_all(&said).unwrap();
                let mut part = [0; 4096];
                while let Ok(n @ 1..) = stream.read(&mut part) {
                    stream.write_all(&part[..n]).unwrap();
                }
            });
        }
    });
    address
}

#[test]
fn a_websocket_by_extended_connect() {
    let address = echo();
    let upstream = Upstream::new("origin", Target::Tcp { host: "127.0.0.1".into(), port: address.port() });
    let edge = Edge::build(Origin::simple(), upstream, vec![site("a.test")]);
    run(async {
        let client = connect(&edge).await;
        let (mut send, mut reader) = client.open(&extended("websocket")).await;
        let (kind, head) = reader.frame().await.unwrap();
        assert_eq!(kind, frame::HEADERS);
        let head = crate::wire3::fields(&head);
        assert_eq!(head[0], (":status".into(), "200".into()));
        assert!(
            !head.iter().any(|(name, _)| name == "sec-websocket-accept" || name == "upgrade"),
            "{head:?}"
        );
        for message in ["\u{1}hello", "again", "and again"] {
            send.write_all(&data(message.as_bytes())).await.unwrap();
            let mut back = Vec::new();
            while back.len() < message.len() {
                let (kind, payload) = reader.frame().await.unwrap();
                assert_eq!(kind, frame::DATA);
                back.extend(payload);
            }
            assert_eq!(back, message.as_bytes());
        }
        // The end of one direction is forwarded, and comes back as the end of the other.
        send.finish().unwrap();
        assert_eq!(reader.frame().await, Err(End::Stream));
    });
}

/// An HTTP/2 origin without TLS that echoes content, with trailers that report the trailers it received.
fn grpc() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut connection = h2::server::handshake(stream).await.unwrap();
                    while let Some(Ok((request, mut respond))) = connection.accept().await {
                        tokio::spawn(async move {
                            let te = request.headers().get("te").cloned();
                            let mut content = request.into_body();
                            let head = http::Response::builder().header("content-type", "application/grpc");
                            let mut send = respond.send_response(head.body(()).unwrap(), false).unwrap();
                            while let Some(Ok(part)) = content.data().await {
                                let part: Bytes = part;
                                content.flow_control().release_capacity(part.len()).unwrap();
                                send.send_data(part, false).unwrap();
                            }
                            let got = content.trailers().await.unwrap().unwrap_or_default();
                            let mut trailers = http::HeaderMap::new();
                            trailers.insert("grpc-status", "0".parse().unwrap());
                            trailers.insert("te-was", te.unwrap_or("nothing".parse().unwrap()));
                            let sum = got.get("x-sum").cloned();
                            trailers.insert("sum-was", sum.unwrap_or("nothing".parse().unwrap()));
                            for name in ["alt-svc", "content-type", "host", "set-cookie", "x_secret"] {
                                trailers.insert(name, "claimed".parse().unwrap());
                            }
                            send.send_trailers(trailers).unwrap();
                        });
                    }
                });
            }
        });
    });
    address
}

#[test]
fn s18_trailers_both_ways_to_an_http2_origin() {
    let address = grpc();
    let target = Target::Tcp { host: "127.0.0.1".into(), port: address.port() };
    let mut upstream = Upstream::new("origin", target);
    upstream.protocol = Protocol::Http2;
    let mut edited = site("a.test");
    edited.response_fields.remove = vec!["X-Secret".into()];
    let edge = Edge::build(Origin::simple(), upstream, vec![edited]);
    run(async {
        let client = connect(&edge).await;
        let more: [Field<'_>; 2] = [(b"te", b"trailers"), (b"content-type", b"application/grpc")];
        let (mut send, mut reader) = client.open(&request("POST", "a.test", "/demo.Echo/Say", &more)).await;
        // Head and first message come back before the second is sent.
        send.write_all(&data(b"\0\0\0\0\x02hi")).await.unwrap();
        assert_eq!(reader.frame().await.unwrap().0, frame::HEADERS);
        assert_eq!(reader.frame().await.unwrap(), (frame::DATA, b"\0\0\0\0\x02hi".to_vec()));
        send.write_all(&data(b"\0\0\0\0\x02ho")).await.unwrap();
        send.write_all(&headers(&[(b"x-sum", b"9")])).await.unwrap();
        send.finish().unwrap();
        let rest = reader.answer().await;
        assert_eq!((&rest.end, &rest.content[..]), (&End::Stream, &b"\0\0\0\0\x02ho"[..]));
        assert_eq!(rest.field("grpc-status"), Some("0"), "{rest:?}");
        assert_eq!(rest.field("te-was"), Some("trailers"), "{rest:?}");
        assert_eq!(rest.field("sum-was"), Some("9"), "{rest:?}");
        // No more than in heads.
        assert!(rest.sections.iter().flatten().all(|(_, value)| value != "claimed"), "{rest:?}");
    });
}

#[test]
fn a_reset_of_an_http2_origin_is_passed_on() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                tokio::spawn(async move {
                    let mut send = respond.send_response(http::Response::new(()), false).unwrap();
                    send.send_data(Bytes::from_static(b"four"), false).unwrap();
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                    send.send_reset(h2::Reason::INTERNAL_ERROR);
                });
            }
        });
    });
    let mut upstream =
        Upstream::new("origin", Target::Tcp { host: "127.0.0.1".into(), port: address.port() });
    upstream.protocol = Protocol::Http2;
    let edge = Edge::build(Origin::simple(), upstream, vec![site("a.test")]);
    let answer = run(async { connect(&edge).await.get("a.test", "/").await });
    assert_eq!((answer.status(), &answer.content[..]), (Some("200"), &b"four"[..]));
    assert_eq!(answer.end, End::Reset(H3_INTERNAL_ERROR));
    let mut client = crate::wire2::Http2::connect(edge.tls, &edge.root, "a.test");
    let answer = client.get("a.test", "/");
    assert_eq!((&answer.content[..], answer.end), (&b"four"[..], crate::wire2::End::Reset(2)));
}
