//! Interim answers (1xx) of a service that does not stop.

use crate::edge::{Edge, site};
use crate::names::VERSIONS;
use crate::wire2::Http2;
use crate::wire3::{Http3, run};
use edge_proxy::config::{Target, Timeouts, Upstream};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use testkit::Origin;

const HINT: &[u8] = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n";

fn many(count: usize) -> Origin {
    Origin::scripted(move |bytes| {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        let mut said = HINT.repeat(count);
        said.extend_from_slice(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        Some((said, end))
    })
}

fn last_status(edge: &Edge, version: u8) -> String {
    match version {
        1 => {
            let answer = edge.send(b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
            let last = answer.rsplit("HTTP/1.1 ").next().unwrap_or_default();
            last.split(' ').next().unwrap_or_default().to_owned()
        }
        2 => {
            let mut client = Http2::connect(edge.tls, &edge.root, "a.test");
            let stream = client.request("GET", "a.test", "/", &[], true);
            let answer = client.answer(stream);
            answer.sections.last().map(|section| section[0].1.clone()).unwrap_or_default()
        }
        _ => run(async {
            let answer = Http3::connect(edge.tls, &edge.root, "a.test").await.get("a.test", "/").await;
            answer.sections.last().map(|section| section[0].1.clone()).unwrap_or_default()
        }),
    }
}

#[test]
fn d11_interim_answers_are_bounded_in_number() {
    for version in VERSIONS {
        assert_eq!(last_status(&Edge::before(many(16)), version), "200", "version {version}");
        assert_eq!(last_status(&Edge::before(many(17)), version), "502", "version {version}");
    }
}

/// A service that sends interim answers for as long as they are taken, this far apart, and counts their bytes.
fn endless(apart: Option<Duration>) -> (Upstream, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = Target::Tcp { host: "127.0.0.1".into(), port: listener.local_addr().unwrap().port() };
    let sent = Arc::new(AtomicU64::new(0));
    let count = sent.clone();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let count = count.clone();
            std::thread::spawn(move || {
                let _ = stream.read(&mut [0; 4096]);
                while stream.write_all(HINT).is_ok() {
                    count.fetch_add(HINT.len() as u64, Relaxed);
                    apart.into_iter().for_each(std::thread::sleep);
                }
            });
        }
    });
    (Upstream::new("origin", target), sent)
}

#[test]
fn d11_interim_answers_that_nobody_takes_are_not_kept() {
    let (upstream, sent) = endless(None);
    let edge = Edge::build(Origin::simple(), upstream, vec![site("a.test")]);
    let mut stream = TcpStream::connect(edge.plain).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").unwrap();
    std::thread::sleep(Duration::from_secs(2));
    // What the kernel keeps of a connection, and a little more.
    assert!(sent.load(Relaxed) < 16 << 20, "{} bytes", sent.load(Relaxed));
}

#[test]
fn d11_interim_answers_do_not_renew_deadlines() {
    let (upstream, _) = endless(Some(Duration::from_millis(300)));
    let mut quick = site("a.test");
    quick.timeouts = Some(Timeouts { response: Duration::from_secs(1), ..Timeouts::default() });
    let edge = Edge::build(Origin::simple(), upstream, vec![quick]);
    for version in VERSIONS {
        let begin = Instant::now();
        assert_eq!(last_status(&edge, version), "504", "version {version}");
        assert!(begin.elapsed() < Duration::from_millis(4000), "version {version}: {:?}", begin.elapsed());
    }
}
