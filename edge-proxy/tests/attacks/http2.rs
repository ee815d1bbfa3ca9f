//! The same attacks in HTTP/2 framing, sent frame by frame.

use crate::edge::{Edge, site};
use crate::wire2::{Answer, DATA, END_HEADERS, END_STREAM, End, Field, HEADERS, Http2, block};
use edge_proxy::config::{Action, PathMatch, Route};
use testkit::Origin;

const PROTOCOL_ERROR: u32 = 1;
const INTERNAL_ERROR: u32 = 2;
const REFUSED_STREAM: u32 = 7;

fn connect(edge: &Edge) -> Http2 {
    Http2::connect(edge.tls, &edge.root, "a.test")
}

/// Asserts that the stream, or its connection, ended by an error and without a response.
#[track_caller]
fn assert_stream_error(answer: &Answer, shown: &str) {
    let error = matches!(answer.end, End::Reset(1..) | End::GoAway(1..));
    assert!(error && answer.sections.is_empty(), "{shown}: {answer:?}");
}

/// Asserts that a head gets a stream error and is not forwarded; first verifies that a valid one passes.
fn refused(cases: &[&[Field<'_>]]) {
    let edge = Edge::before(Origin::simple());
    for fields in cases {
        let mut client = connect(&edge);
        let stream = client.open(fields, true);
        let shown: Vec<String> =
            fields.iter().map(|(n, v)| format!("{}={}", n.escape_ascii(), v.escape_ascii())).collect();
        assert_stream_error(&client.answer(stream), &shown.join(" "));
    }
    edge.assert_nothing_forwarded();
    assert_eq!(connect(&edge).get("a.test", "/").status(), Some("200"));
}

/// The usual request with these additional fields.
fn with(more: Field<'static>) -> Vec<Field<'static>> {
    let mut fields: Vec<Field<'_>> =
        vec![(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"a.test"), (b":path", b"/")];
    fields.push(more);
    fields
}

/// Returns whether a request with this head and this much content reached the origin completely.
fn completed(forwarded: &str) -> bool {
    let Some((head, content)) = forwarded.split_once("\r\n\r\n") else { return false };
    let head = head.to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    match length {
        Some(length) => content.len() >= length,
        None if head.contains("chunked") => content.ends_with("0\r\n\r\n"),
        None => true,
    }
}

#[test]
fn s8_content_is_not_as_long_as_announced() {
    // The declared length, the content frames, and whether trailers follow.
    for (length, content, trailers) in [
        ("5", &["abc"][..], false),
        ("5", &["abc", ""], false),
        ("3", &["abcde"], false),
        ("5", &["abc"], true),
        ("3", &["abcde"], true),
        ("5", &[], true),
        ("0", &["a"], false),
    ] {
        let edge = Edge::before(Origin::simple());
        let mut client = connect(&edge);
        let announced: Field<'_> = (b"content-length", length.as_bytes());
        let stream = client.request("POST", "a.test", "/", &[announced], false);
        for (at, part) in content.iter().enumerate() {
            client.data(stream, part.as_bytes(), !trailers && at + 1 == content.len());
        }
        if trailers {
            client.frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(&[(b"x-sum", b"1")]));
        }
        let answer = client.answer(stream);
        assert_eq!(answer.end, End::Reset(PROTOCOL_ERROR), "{length} {content:?} {trailers}");
        assert!(answer.sections.is_empty(), "{answer:?}");
        std::thread::sleep(std::time::Duration::from_millis(30));
        let forwarded = edge.origin.text();
        assert!(!completed(&forwarded), "{length} {content:?} {trailers}: {forwarded:?}");
    }
}

#[test]
fn s8_what_announces_no_content_waits_for_its_end() {
    let none: Field<'_> = (b"content-length", b"0");
    // Content arrives late: if the head had been forwarded alone, it would be a complete request.
    let edge = Edge::before(Origin::simple());
    let mut client = connect(&edge);
    let stream = client.request("POST", "a.test", "/", &[none], false);
    std::thread::sleep(std::time::Duration::from_millis(150));
    edge.assert_nothing_forwarded();
    client.data(stream, b"a", true);
    assert_stream_error(&client.answer(stream), "late content");
    edge.assert_nothing_forwarded();
    // The end arrives late: the request is served.
    let stream = client.request("POST", "a.test", "/", &[none], false);
    std::thread::sleep(std::time::Duration::from_millis(50));
    client.data(stream, b"", true);
    let answer = client.answer(stream);
    assert_eq!(answer.end, End::Stream, "{answer:?}");
    assert!(edge.origin.text().contains("POST /"), "{}", edge.origin.text());
}

#[test]
fn s8_content_that_ends_with_the_head() {
    let edge = Edge::before(Origin::simple());
    for method in ["POST", "GET"] {
        let mut client = connect(&edge);
        let stream = client.request(method, "a.test", "/", &[(b"content-length", b"5")], true);
        assert_stream_error(&client.answer(stream), method);
    }
    edge.assert_nothing_forwarded();
}

#[test]
fn s8_more_content_than_announced_does_not_pass() {
    // The first part is all that was declared; the following bytes must not get anywhere.
    let edge = Edge::before(Origin::simple());
    let mut client = connect(&edge);
    let stream = client.request("POST", "a.test", "/", &[(b"content-length", b"3")], false);
    client.data(stream, b"abc", false);
    client.data(stream, b"GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n", true);
    client.answer(stream);
    std::thread::sleep(std::time::Duration::from_millis(30));
    assert!(!edge.origin.text().contains("smuggled"), "{}", edge.origin.text());
}

#[test]
fn s8_lengths_that_are_no_number() {
    let edge = Edge::before(Origin::simple());
    for length in ["+5", "5,5", "-1", "0x5", "5 ", "", "18446744073709551616"] {
        let mut client = connect(&edge);
        let announced: Field<'_> = (b"content-length", length.as_bytes());
        let stream = client.request("POST", "a.test", "/", &[announced], false);
        client.data(stream, b"abcde", true);
        assert_stream_error(&client.answer(stream), length);
    }
    let mut client = connect(&edge);
    let twice: [Field<'_>; 2] = [(b"content-length", b"5"), (b"content-length", b"5")];
    let stream = client.request("POST", "a.test", "/", &twice, false);
    client.data(stream, b"abcde", true);
    assert_stream_error(&client.answer(stream), "twice");
    edge.assert_nothing_forwarded();
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
        &with((b"x-Real-ip", b"a")),
        &with((b"a:b", b"c")),
        &with((b"x: y\r\nz", b"c")),
        &with((b"a b", b"c")),
        &with((b"", b"c")),
        &with((b"x\xff", b"c")),
    ]);
}

#[test]
fn s9_fields_of_a_connection() {
    refused(&[
        &with((b"connection", b"close")),
        &with((b"connection", b"x-real-ip")),
        &with((b"keep-alive", b"timeout=5")),
        &with((b"proxy-connection", b"close")),
        &with((b"transfer-encoding", b"chunked")),
        &with((b"upgrade", b"websocket")),
        &with((b"te", b"gzip")),
        &with((b"te", b"trailers, gzip")),
    ]);
    let edge = Edge::before(Origin::simple());
    let mut client = connect(&edge);
    let stream = client.request("GET", "a.test", "/", &[(b"te", b"trailers")], true);
    assert_eq!(client.answer(stream).status(), Some("200"));
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
        &[method, scheme, authority, path, (b":path", b"/other")],
        &[method, scheme, authority, authority, path],
        &[method, scheme, authority, path, (b":unknown", b"1")],
        &[method, scheme, authority, path, (b":status", b"200")],
        &[scheme, authority, path],
        &[method, authority, path],
        &[method, scheme, authority],
        &[method, scheme, authority, (b":path", b"")],
        &[(b":method", b""), scheme, authority, path],
        &[(b":method", b"GET / HTTP/1.1\r\nX:"), scheme, authority, path],
        &[method, scheme, authority, path, (b":protocol", b"websocket")],
    ]);
}

#[test]
fn s9_targets_that_would_be_framing_in_http1() {
    let edge = Edge::before(Origin::simple());
    for path in ["/ HTTP/1.1\r\nX: y", "/a b", "/\0", "/\n", "no-slash", "https://a.test/", "*", "/a#b"] {
        let answer = connect(&edge).get("a.test", path);
        let refused = matches!(answer.end, End::Reset(1..) | End::GoAway(1..)) && answer.sections.is_empty();
        assert!(refused || answer.status() == Some("400"), "{path:?}: {answer:?}");
    }
    for authority in ["a.test\r\nX: y", "a.test b", "a.test\0", "a.test/x", "user@a.test", "a.test:port"] {
        let answer = connect(&edge).get(authority, "/");
        let refused = matches!(answer.end, End::Reset(1..) | End::GoAway(1..)) && answer.sections.is_empty();
        assert!(refused || answer.status() == Some("400"), "{authority:?}: {answer:?}");
    }
    edge.assert_nothing_forwarded();
}

#[test]
fn s9_trailers() {
    for bad in [(&b"X"[..], &b"y"[..]), (b"x", b"a\r\nb"), (b"connection", b"close"), (b":path", b"/x")] {
        let edge = Edge::before(Origin::simple());
        let mut client = connect(&edge);
        let stream = client.request("POST", "a.test", "/", &[], false);
        client.data(stream, b"abc", false);
        client.frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(&[bad]));
        let answer = client.answer(stream);
        let shown = format!("{}={}", bad.0.escape_ascii(), bad.1.escape_ascii());
        assert_stream_error(&answer, &shown);
        std::thread::sleep(std::time::Duration::from_millis(30));
        assert!(!completed(&edge.origin.text()), "{shown}: {}", edge.origin.text());
    }
    // Trailers with names that the proxy asserts, or that frame messages, are dropped; others pass.
    let edge = Edge::before(Origin::simple());
    let mut client = connect(&edge);
    let stream = client.request("POST", "a.test", "/", &[], false);
    client.frame(DATA, 0, stream, b"abc");
    let trailers: [Field<'_>; 4] =
        [(b"x-sum", b"9"), (b"x-forwarded-for", b"6.6.6.6"), (b"host", b"b.test"), (b"content-length", b"7")];
    client.frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(&trailers));
    let whole = edge.origin.wait(|text| text.ends_with("\r\n3\r\nabc\r\n0\r\nx-sum: 9\r\n\r\n"));
    assert!(whole, "{:?}", edge.origin.text());
}

#[test]
fn s10_disagreeing_authorities() {
    let edge = Edge::before(Origin::simple());
    let cases: [&[Field<'_>]; 3] = [
        &[(b"host", b"b.test")],
        &[(b"host", b"a.test"), (b"host", b"a.test")],
        &[(b"host", b"a.test"), (b"host", b"b.test")],
    ];
    for more in cases {
        let mut client = connect(&edge);
        let stream = client.request("GET", "a.test", "/", more, true);
        let answer = client.answer(stream);
        assert_eq!((answer.status(), answer.end), (Some("400"), End::Stream), "{more:?}");
    }
    edge.assert_nothing_forwarded();
    let mut client = connect(&edge);
    let stream = client
        .open(&[(b":method", b"GET"), (b":scheme", b"https"), (b":path", b"/h"), (b"host", b"a.test")], true);
    assert_eq!(client.answer(stream).status(), Some("200"));
    assert!(edge.origin.text().starts_with("GET /h HTTP/1.1\r\nHost: a.test\r\n"), "{}", edge.origin.text());
}

#[test]
fn s11_an_authority_of_another_site_than_the_sni() {
    // A name that is served elsewhere and an unknown one get the same response, which reveals nothing about other
    // names.
    let edge = Edge::before(Origin::simple());
    for authority in ["b.test", "unknown.test", "127.0.0.1", "[::1]:443"] {
        let answer = connect(&edge).get(authority, "/");
        let line = &b"421 Misdirected Request\n"[..];
        assert_eq!((answer.status(), &answer.content[..]), (Some("421"), line), "{authority}");
        assert_eq!(answer.field("server"), None);
    }
    edge.assert_nothing_forwarded();
}

#[test]
fn s12_s13_fields_that_the_proxy_sets() {
    let edge = Edge::before(Origin::simple());
    let mut client = connect(&edge);
    let spoofed: [Field<'_>; 6] = [
        (b"x-forwarded-for", b"6.6.6.6"),
        (b"x-real-ip", b"6.6.6.6"),
        (b"x_forwarded_for", b"6.6.6.6"),
        (b"x.real.ip", b"6.6.6.6"),
        (b"forwarded", b"for=6.6.6.6"),
        (b"x-forwarded-proto", b"gopher"),
    ];
    let stream = client.request("GET", "a.test", "/", &spoofed, true);
    assert_eq!(client.answer(stream).status(), Some("200"));
    let forwarded = edge.origin.text();
    for there in
        ["X-Forwarded-For: 127.0.0.1\r\n", "X-Real-IP: 127.0.0.1\r\n", "X-Forwarded-Proto: https\r\n"]
    {
        assert!(forwarded.contains(there), "{there}: {forwarded}");
    }
    for gone in ["6.6.6.6", "gopher", "x_f", "x.r"] {
        assert!(!forwarded.contains(gone), "{gone} was forwarded: {forwarded}");
    }
}

#[test]
fn s13_httpoxy() {
    let edge = Edge::before(Origin::simple());
    let mut client = connect(&edge);
    let stream = client.request("GET", "a.test", "/", &[(b"proxy", b"http://evil/")], true);
    assert_eq!(client.answer(stream).status(), Some("200"));
    assert!(!edge.origin.text().contains("evil"), "{}", edge.origin.text());
}

#[test]
fn sinkhole_resets_the_stream() {
    let mut dropping = site("a.test");
    dropping.routes.push(Route::new(PathMatch::Exact("/hole".into()), Action::Drop));
    let edge = Edge::with(Origin::simple(), vec![dropping]);
    let mut client = connect(&edge);
    let answer = client.get("a.test", "/hole");
    assert_eq!(answer.end, End::Reset(REFUSED_STREAM));
    assert!(answer.sections.is_empty(), "{answer:?}");
    edge.assert_nothing_forwarded();
    // The connection is unaffected.
    assert_eq!(client.get("a.test", "/").status(), Some("200"));
}

#[test]
fn tunnels_to_elsewhere_are_refused() {
    let edge = Edge::before(Origin::simple());
    for protocol in ["connect-udp", "connect-ip", "webtransport", "h2c", "websocket2"] {
        let mut client = connect(&edge);
        let protocol: Field<'_> = (b":protocol", protocol.as_bytes());
        let stream = client.open(
            &[
                (b":method", b"CONNECT"),
                protocol,
                (b":scheme", b"https"),
                (b":authority", b"a.test"),
                (b":path", b"/"),
            ],
            false,
        );
        let answer = client.answer(stream);
        assert_eq!(answer.status(), Some("501"), "{protocol:?}: {answer:?}");
    }
    for authority in [&b"a.test:22"[..], b"a.test", b"b.test:22"] {
        let mut client = connect(&edge);
        let stream = client.open(&[(b":method", b"CONNECT"), (b":authority", authority)], false);
        client.data(stream, b"SSH-2.0", false);
        let answer = client.answer(stream);
        let refused = matches!(answer.status(), Some("405" | "421")) || matches!(answer.end, End::Reset(1..));
        assert!(refused, "{}: {answer:?}", authority.escape_ascii());
    }
    edge.assert_nothing_forwarded();
}

#[test]
fn s7_an_answer_before_the_end_of_the_request_arrives() {
    // Requests rejected at the head, and an origin that responds to the head: the client continues to send.
    let edge = Edge::before(Origin::scripted(|bytes| {
        let head = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        Some((b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n".to_vec(), head))
    }));
    for (authority, status) in [("b.test", "421"), ("a.test", "413")] {
        let mut client = connect(&edge);
        let stream = client.request("POST", authority, "/", &[], false);
        client.data(stream, b"abc", false);
        let answer = client.answer(stream);
        assert_eq!((answer.status(), answer.end), (Some(status), End::Stream), "{answer:?}");
        // The rest is thrown away, and the connection goes on.
        client.data(stream, b"def", true);
        assert_eq!(client.get("a.test", "/").status(), Some("413"));
    }
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
        let mut client = connect(&edge);
        let answer = client.get("a.test", "/");
        assert_eq!(answer.end, End::Reset(INTERNAL_ERROR), "{}: {answer:?}", said.escape_ascii());
        // Other requests of the client continue.
        assert_eq!(client.get("a.test", "/").end, End::Reset(INTERNAL_ERROR));
    }
}
