//! Field names that a backend takes for others, in heads and in trailers of every version.

use crate::edge::{Edge, site};
use crate::wire2::{DATA, END_HEADERS, END_STREAM, Field, HEADERS, Http2, block};
use crate::wire3::{Http3, data, headers, request, run};
use edge_proxy::config::{Auth, FieldEdits, ForwardAuth, Site};
use std::io::Write;
use testkit::{Origin, answer};

/// Versions of HTTP that a request is sent by.
pub(crate) const VERSIONS: [u8; 3] = [1, 2, 3];

/// What reached the service of a request with these fields and trailers.
pub(crate) fn forwarded(
    edge: &Edge,
    version: u8,
    fields: &[(&str, &str)],
    trailers: &[(&str, &str)],
) -> String {
    let method = if trailers.is_empty() { "GET" } else { "POST" };
    let before = edge.origin.bytes().len();
    let lower: Vec<(String, &str)> =
        fields.iter().map(|(name, value)| (name.to_lowercase(), *value)).collect();
    let fields2: Vec<Field<'_>> =
        lower.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    let last: Vec<(String, &str)> =
        trailers.iter().map(|(name, value)| (name.to_lowercase(), *value)).collect();
    let last2: Vec<Field<'_>> =
        last.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    match version {
        1 => {
            let mut text = format!("{method} / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n");
            fields.iter().for_each(|(name, value)| text += &format!("{name}: {value}\r\n"));
            if !trailers.is_empty() {
                text += "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n";
                trailers.iter().for_each(|(name, value)| text += &format!("{name}: {value}\r\n"));
            }
            text += "\r\n";
            let mut stream = edge.tls("a.test", &[b"http/1.1"]).unwrap();
            stream.write_all(text.as_bytes()).unwrap();
            let mut answer = [0; 12];
            std::io::Read::read_exact(&mut stream, &mut answer).unwrap();
            assert_eq!(&answer, b"HTTP/1.1 200");
        }
        2 => {
            let mut client = Http2::connect(edge.tls, &edge.root, "a.test");
            let stream = client.request(method, "a.test", "/", &fields2, trailers.is_empty());
            if !trailers.is_empty() {
                client.frame(DATA, 0, stream, b"abc");
                client.frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(&last2));
            }
            assert_eq!(client.answer(stream).status(), Some("200"));
        }
        _ => {
            let mut bytes = request(method, "a.test", "/", &fields2);
            if !trailers.is_empty() {
                bytes.extend(data(b"abc"));
                bytes.extend(headers(&last2));
            }
            let answer =
                run(async { Http3::connect(edge.tls, &edge.root, "a.test").await.ask(&bytes).await });
            assert_eq!(answer.status(), Some("200"), "{answer:?}");
        }
    }
    String::from_utf8_lossy(&edge.origin.bytes()[before..]).to_lowercase()
}

/// Answers each request whose content and trailers are there.
fn origin() -> Origin {
    Origin::scripted(|bytes| {
        let after = |from: usize, text: &[u8]| {
            let rest = bytes.get(from..)?;
            Some(from + rest.windows(text.len()).position(|window| window == text)? + text.len())
        };
        let head = after(0, b"\r\n\r\n")?;
        let chunked =
            String::from_utf8_lossy(&bytes[..head]).to_lowercase().contains("transfer-encoding: chunked");
        // The line end of the last chunk may be that of the section of trailers, too.
        let end = if chunked { after(after(head, b"\r\n0\r\n")? - 2, b"\r\n\r\n")? } else { head };
        Some((answer("ok"), end))
    })
}

/// A site whose service is told of users by another service, which allows everybody and names nobody.
fn vouching() -> Site {
    let mut vouched = site("a.test");
    let copy = vec!["Remote-User".into(), "Remote-Groups".into()];
    vouched.auth = Some(Auth::Forward(ForwardAuth { upstream: "origin".into(), path: "/auth".into(), copy }));
    vouched.request_fields =
        FieldEdits { set: vec![("X-Tenant".into(), "mine".into())], ..FieldEdits::default() };
    vouched
}

#[test]
fn s15_names_that_backends_fold_into_ones_we_vouch_for() {
    for version in VERSIONS {
        let edge = Edge::with(origin(), vec![vouching()]);
        let mut claims = Vec::new();
        for separator in ["-", "_", ".", "~", "!", "*", "'", "|", "+", "`", "^", "#", "$", "%", "&"] {
            for name in
                ["Remote-User", "Remote-Groups", "X-Tenant", "X-Real-IP", "X-Forwarded-For", "Early-Data"]
            {
                if name != "Early-Data" || separator != "-" {
                    claims.push(name.replace('-', separator));
                }
            }
        }
        let fields: Vec<(&str, &str)> = claims.iter().map(|name| (name.as_str(), "6.6.6.6")).collect();
        let text = forwarded(&edge, version, &fields, &[]);
        assert!(text.contains("get / http/1.1") && !text.contains("6.6.6.6"), "version {version}: {text}");
        assert!(text.contains("x-tenant: mine"), "version {version}: {text}");
    }
}

#[test]
fn s15_names_that_programs_disagree_about_are_dropped() {
    for version in VERSIONS {
        let edge = Edge::before(origin());
        let fields =
            [("X.Dot", "dropped"), ("X~Tilde", "dropped"), ("X!Bang", "dropped"), ("X_Under-9", "kept")];
        let text = forwarded(&edge, version, &fields, &[]);
        assert!(text.contains("x_under-9: kept") && !text.contains("dropped"), "version {version}: {text}");
    }
}

#[test]
fn s17_framing_by_underscores() {
    for version in VERSIONS {
        for name in
            ["Content_Length", "Transfer_Encoding", "Keep_Alive", "Proxy_Connection", "Proxy_Authorization"]
        {
            let edge = Edge::before(origin());
            let text = forwarded(&edge, version, &[(name, "chunked")], &[("x-sum", "9")]);
            let low = name.to_lowercase();
            assert!(text.contains("post / ") && !text.contains(&low), "version {version}, {name}: {text}");
            let text = forwarded(&edge, version, &[], &[(name, "chunked"), ("x-sum", "9")]);
            assert!(text.contains("x-sum: 9") && !text.contains(&low), "version {version}, {name}: {text}");
        }
    }
}

#[test]
fn s18_trailers_say_no_more_than_heads() {
    for version in VERSIONS {
        let edge = Edge::with(origin(), vec![vouching()]);
        let trailers = [
            ("X-Sum", "9"),
            ("Remote-User", "6.6.6.6"),
            ("Remote_User", "6.6.6.6"),
            ("Remote~Groups", "6.6.6.6"),
            ("X_Forwarded_For", "6.6.6.6"),
            ("X-Forwarded-Anything", "6.6.6.6"),
            ("X-Real-IP", "6.6.6.6"),
            ("X-Tenant", "6.6.6.6"),
            ("X_Tenant", "6.6.6.6"),
            ("Authorization", "6.6.6.6"),
            ("If_Match", "6.6.6.6"),
            ("Content_Type", "6.6.6.6"),
            ("Proxy", "6.6.6.6"),
        ];
        let text = forwarded(&edge, version, &[], &trailers);
        assert!(text.contains("x-sum: 9") && !text.contains("6.6.6.6"), "version {version}: {text}");
    }
}

#[test]
fn s19_proxy_is_removed() {
    for version in VERSIONS {
        let edge = Edge::before(origin());
        let text = forwarded(&edge, version, &[("Proxy", "http://evil/"), ("X-Kept", "1")], &[]);
        assert!(text.contains("x-kept: 1") && !text.contains("evil"), "version {version}: {text}");
    }
}

#[test]
fn d16_a_long_list_in_connection() {
    // Only HTTP/1.1 has the field; in HTTP/2 and 3 it is an error of the stream.
    let edge = Edge::before(origin());
    let mut fields: Vec<(String, String)> = (0..96).map(|n| (format!("X-{n}"), "1".into())).collect();
    fields.push(("Connection".into(), "a,".repeat(5800)));
    let fields: Vec<(&str, &str)> =
        fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let text = forwarded(&edge, 1, &fields, &[]);
    assert!(text.contains("x-95: 1") && !text.contains("connection"), "{text}");
}
