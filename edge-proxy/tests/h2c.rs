//! Plain listeners with HTTP/2 by prior knowledge: trusted proxies report the client as over HTTP/1.1, and strangers
//! are met with the same silence.
#![cfg(feature = "server")]

mod common;

use common::wire2::{self, DATA, HEADERS, RST_STREAM};
use edge_proxy::config::{Config, Listener, PlainHttp, Reject, Route, Site, Target, Upstream};
use edge_proxy::{Proxy, ProxyHandle};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};
use testkit::Origin;

const SETTINGS: u8 = 4;

fn node(origin: &Origin, change: impl FnOnce(&mut Config)) -> ProxyHandle {
    let mut listener = Listener::plain(([127, 0, 0, 1], 0).into());
    listener.h2c = true;
    let mut site = Site::new("a.test", vec!["a.test".parse().unwrap()]).route(Route::forward("service"));
    site.plain = PlainHttp::Serve;
    let target = Target::Tcp { host: origin.address().ip().to_string(), port: origin.address().port() };
    let mut config = Config {
        listeners: vec![listener],
        sites: vec![site],
        upstreams: vec![Upstream::new("service", target)],
        ..Config::default()
    };
    change(&mut config);
    Proxy::builder().config(config).workers(1).start().unwrap()
}

/// A client that sends frames and reads those that come.
struct Client(TcpStream);

/// A frame: type, flags, stream.
type Frame = (u8, u8, u32);

impl Client {
    fn begin(proxy: &ProxyHandle) -> Self {
        let stream = TcpStream::connect(proxy.addresses()[0]).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut client = Self(stream);
        client.0.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        client.frame(SETTINGS, 0, 0, b"");
        client
    }

    fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        bytes.extend_from_slice(&[kind, flags]);
        bytes.extend_from_slice(&stream.to_be_bytes());
        bytes.extend_from_slice(payload);
        self.0.write_all(&bytes).unwrap();
    }

    fn get(&mut self, stream: u32, host: &str, more: &[wire2::Field<'_>]) {
        let fields: [wire2::Field<'_>; 4] =
            [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", host.as_bytes()), (b":path", b"/")];
        let flags = wire2::END_HEADERS | wire2::END_STREAM;
        self.frame(HEADERS, flags, stream, &wire2::block(&[&fields[..], more].concat()));
    }

    /// Reads frames until there are enough, nothing comes for `patience`, or the end. Returns whether it was the end.
    fn frames(&mut self, patience: Duration, enough: impl Fn(&[Frame]) -> bool) -> (Vec<Frame>, bool) {
        self.0.set_read_timeout(Some(patience)).unwrap();
        let (mut bytes, mut part, mut all, mut ended) = (Vec::new(), [0; 4096], Vec::new(), false);
        while !enough(&all) {
            match self.0.read(&mut part) {
                Ok(n @ 1..) => bytes.extend_from_slice(&part[..n]),
                Err(why) if matches!(why.kind(), std::io::ErrorKind::WouldBlock) => break,
                _ => {
                    ended = true;
                    break;
                }
            }
            while let Some(head) = bytes.first_chunk::<9>().copied() {
                let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
                if bytes.len() < 9 + length {
                    break;
                }
                bytes.drain(..9 + length);
                all.push((head[3], head[4], u32::from_be_bytes([head[5], head[6], head[7], head[8]])));
            }
        }
        assert!(bytes.is_empty() || !ended, "half a frame: {}", bytes.escape_ascii());
        (all, ended)
    }
}

fn is_answered(frames: &[Frame], stream: u32) -> bool {
    frames.iter().any(|(kind, flags, of)| {
        *of == stream && matches!(*kind, HEADERS | DATA) && flags & wire2::END_STREAM != 0
    })
}

#[test]
fn a_trusted_proxy_reports_the_client() {
    let reported: [wire2::Field<'_>; 2] =
        [(b"x-forwarded-for", b"203.0.113.7"), (b"x-forwarded-proto", b"https")];
    for (trusted, expected) in [
        (
            true,
            [
                "X-Forwarded-For: 203.0.113.7, 127.0.0.1\r\n",
                "X-Real-IP: 203.0.113.7\r\n",
                "X-Forwarded-Proto: https\r\n",
            ],
        ),
        (
            false,
            ["X-Forwarded-For: 127.0.0.1\r\n", "X-Real-IP: 127.0.0.1\r\n", "X-Forwarded-Proto: http\r\n"],
        ),
    ] {
        let origin = Origin::simple();
        let proxy = node(&origin, |config| {
            if trusted {
                config.trust.ranges.push("127.0.0.1/32".parse().unwrap());
            }
            // The list sees the client that was reported.
            let from = if trusted { "203.0.113.0/24" } else { "127.0.0.1/32" };
            config.sites[0].access.allow.push(from.parse().unwrap());
        });
        let mut client = Client::begin(&proxy);
        client.get(1, "a.test", &reported);
        let (frames, _) = client.frames(Duration::from_secs(5), |frames| is_answered(frames, 1));
        assert!(is_answered(&frames, 1), "{frames:?}");
        let text = origin.text();
        for line in expected {
            assert!(text.contains(line), "{line:?} is missing, trusted: {trusted}: {text}");
        }
    }
}

#[test]
fn a_stranger_over_http2_is_met_with_silence() {
    let origin = Origin::simple();
    let proxy = node(&origin, |_| {});
    for host in ["b.test", "127.0.0.1", ""] {
        let mut client = Client::begin(&proxy);
        client.get(1, host, &[]);
        let got = client.frames(Duration::from_secs(5), |_| false);
        assert_eq!(got, (Vec::new(), true), "{host:?}");
    }
    // Nor does an error of the protocol show what is there.
    let mut client = Client::begin(&proxy);
    client.frame(DATA, 0, 1, b"x");
    assert_eq!(client.frames(Duration::from_secs(5), |_| false), (Vec::new(), true));
    // Whoever names a site is served, and learns about what it asked before.
    let mut client = Client::begin(&proxy);
    client.get(1, "b.test", &[]);
    client.get(3, "a.test", &[]);
    let done = |frames: &[Frame]| {
        is_answered(frames, 3) && frames.iter().any(|(kind, _, of)| (*kind, *of) == (RST_STREAM, 1))
    };
    let (frames, _) = client.frames(Duration::from_secs(5), done);
    assert!(frames.first().is_some_and(|first| first.0 == SETTINGS) && done(&frames), "{frames:?}");
    assert!(!origin.text().contains("b.test"));
}

#[test]
fn requests_that_exceed_the_limit_before_settings_take_no_others_along() {
    let origin = Origin::simple();
    let proxy = node(&origin, |config| config.limits.streams = 4);
    let mut client = Client::begin(&proxy);
    // In one write, so that all of them arrive before the first is accepted.
    let fields: [wire2::Field<'_>; 4] =
        [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"a.test"), (b":path", b"/")];
    let block = wire2::block(&fields);
    let mut bytes = Vec::new();
    for stream in (1..=13_u32).step_by(2) {
        bytes.extend_from_slice(&(block.len() as u32).to_be_bytes()[1..]);
        bytes.extend_from_slice(&[HEADERS, wire2::END_HEADERS | wire2::END_STREAM]);
        bytes.extend_from_slice(&stream.to_be_bytes());
        bytes.extend_from_slice(&block);
    }
    client.0.write_all(&bytes).unwrap();
    let done = |frames: &[Frame]| {
        let reset = |stream| frames.iter().any(|(kind, _, of)| (*kind, *of) == (RST_STREAM, stream));
        (1..=13).step_by(2).all(|stream| is_answered(frames, stream) || reset(stream))
    };
    let (frames, _) = client.frames(Duration::from_secs(5), done);
    assert!(done(&frames) && (1..=7).step_by(2).all(|stream| is_answered(&frames, stream)), "{frames:?}");
}

#[test]
fn a_client_that_waits_for_settings_gets_them_late() {
    let proxy = node(&Origin::simple(), |_| {});
    let mut client = Client::begin(&proxy);
    let began = Instant::now();
    let (frames, _) = client.frames(Duration::from_secs(5), |frames| !frames.is_empty());
    assert_eq!(frames.first().map(|first| first.0), Some(SETTINGS), "{frames:?}");
    assert!(began.elapsed() > Duration::from_millis(500), "{:?}", began.elapsed());
    client.get(1, "a.test", &[]);
    let (frames, _) = client.frames(Duration::from_secs(5), |frames| is_answered(frames, 1));
    assert!(is_answered(&frames, 1), "{frames:?}");
}

#[test]
fn a_stranger_is_told_where_rejections_are_not_silent() {
    let proxy = node(&Origin::simple(), |config| config.reject = Reject::Alert);
    let mut client = Client::begin(&proxy);
    client.get(1, "b.test", &[]);
    let (frames, _) = client.frames(Duration::from_secs(5), |frames| is_answered(frames, 1));
    assert!(is_answered(&frames, 1), "{frames:?}");
}
