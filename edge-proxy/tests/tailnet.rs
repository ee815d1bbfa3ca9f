//! Tailnet identities, with a mock tailscaled on its local socket.

mod common;

use common::wire2::{self, Http2};
use common::wire3::{self, Http3};
use edge_policy::tailnet::IdentityMatcher;
use edge_proxy::config::{Tailnet, Trust};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use testkit::Origin;

/// A mock of tailscaled: 127.0.0.2 is Ann's laptop, 127.0.0.3 the edge, all others are unknown.
fn tailscaled(path: &Path) -> Arc<Mutex<Vec<String>>> {
    let listener = UnixListener::bind(path).unwrap();
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let record = asked.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, record) = (stream.unwrap(), record.clone());
            std::thread::spawn(move || {
                let mut waiting = Vec::new();
                let mut part = [0; 4096];
                while let Ok(n @ 1..) = stream.read(&mut part) {
                    waiting.extend_from_slice(&part[..n]);
                    let Some(end) = waiting.windows(4).position(|window| window == b"\r\n\r\n") else {
                        continue;
                    };
                    let request = String::from_utf8_lossy(&waiting[..end]).into_owned();
                    waiting.clear();
                    let said = if !request.contains("Host: local-tailscaled.sock") {
                        answer("403 Forbidden", "invalid localapi request")
                    } else if request.contains("addr=127.0.0.2:") {
                        answer("200 OK", ANN)
                    } else if request.contains("addr=127.0.0.3:") {
                        answer("200 OK", EDGE)
                    } else {
                        answer("404 Not Found", "no match for IP:port")
                    };
                    record.lock().unwrap().push(request);
                    if stream.write_all(said.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    asked
}

fn answer(status: &str, content: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nTailscale-Version: 1.90\r\nContent-Length: {}\r\n\r\n{content}",
        content.len()
    )
}

const ANN: &str = r#"{"Node":{"ID":1,"StableID":"n1","Name":"laptop.tail01.ts.net.","ComputedName":"laptop","Addresses":["100.64.0.9/32"]},"UserProfile":{"ID":7,"LoginName":"ann@a.test","DisplayName":"Ann","ProfilePicURL":"https://p.test/a"},"CapMap":{}}"#;
const EDGE: &str = r#"{"Node":{"ID":2,"Name":"vps-pacman.tail01.ts.net.","ComputedName":"vps-pacman","Tags":["tag:edge"]},"UserProfile":{"LoginName":"tagged-devices","DisplayName":"Tagged Devices"}}"#;

fn tailnet(socket: &Path) -> Tailnet {
    Tailnet { socket: socket.into(), ranges: vec!["127.0.0.0/8".parse().unwrap()], ..Tailnet::default() }
}

fn edge(origin: &Origin, tailnet: Tailnet, trust: Trust) -> common::Edge {
    let edge = common::Edge::before(origin.address(), 1);
    let mut config = edge.config.clone();
    (config.tailnet, config.trust) = (Some(tailnet), trust);
    edge.proxy.reload(config).unwrap();
    edge
}

fn ask(edge: &common::Edge, from: u8, path: &str, fields: &str) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, from], 0)).into()).unwrap();
    socket.connect(&edge.plain().into()).unwrap();
    let mut stream = TcpStream::from(socket);
    let request = format!("GET {path} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n{fields}\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut got = String::new();
    stream.read_to_string(&mut got).unwrap();
    assert!(got.starts_with("HTTP/1.1 200"), "{got}");
}

/// Returns the fields that the upstream received for this path.
fn served(origin: &Origin, path: &str) -> String {
    let text = origin.text();
    let start = text.find(&format!("GET {path} ")).unwrap();
    text[start..].split("\r\n\r\n").next().unwrap().to_owned()
}

#[test]
fn services_are_told_who_asks_and_nobody_else_can_tell_them() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("tailscaled.sock");
    let asked = tailscaled(&socket);
    let origin = Origin::simple();
    let edge = edge(&origin, tailnet(&socket), Trust::default());
    let claims = "Tailscale-User-Login: root\r\ntailscale_user_login: root\r\nTailscale-Node: root\r\n";
    for number in 0..5 {
        ask(&edge, 2, &format!("/ann{number}"), claims);
    }
    ask(&edge, 3, "/edge", claims);
    ask(&edge, 4, "/nobody", claims);
    let ann = served(&origin, "/ann0");
    for line in [
        "Tailscale-User-Login: ann@a.test\r\n",
        "Tailscale-User-Name: Ann\r\n",
        "Tailscale-User-Profile-Pic: https://p.test/a\r\n",
        "Tailscale-Node: laptop\r\n",
    ] {
        assert!(ann.contains(line), "{line:?} in {ann}");
    }
    let edge = served(&origin, "/edge");
    assert!(
        edge.contains("Tailscale-Node: vps-pacman\r\n") && edge.contains("Tailscale-Node-Tags: tag:edge\r\n")
    );
    assert!(!edge.contains("User-Login"), "a tagged machine is nobody's: {edge}");
    assert!(!served(&origin, "/nobody").to_lowercase().contains("tailscale"));
    assert!(!origin.text().contains("root"));
    // One lookup per address, not per request.
    assert_eq!(asked.lock().unwrap().iter().filter(|request| request.contains("127.0.0.2:")).count(), 1);
}

#[test]
fn a_hop_is_who_it_is_not_where_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("tailscaled.sock");
    tailscaled(&socket);
    let origin = Origin::simple();
    let trust = Trust {
        ranges: vec!["127.0.0.0/8".parse().unwrap()],
        who: vec![IdentityMatcher::Node("vps-pacman".into())],
        ..Trust::default()
    };
    let edge = edge(&origin, tailnet(&socket), trust);
    let claim = "X-Forwarded-For: 203.0.113.7\r\n";
    for (from, path) in [(2, "/laptop"), (3, "/edge"), (4, "/nobody")] {
        ask(&edge, from, path, claim);
    }
    assert!(served(&origin, "/edge").contains("X-Real-IP: 203.0.113.7\r\n"));
    assert!(!served(&origin, "/edge").contains("Tailscale"), "the hop is not who asks");
    // In the range too, and yet not proxies.
    assert!(served(&origin, "/laptop").contains("X-Real-IP: 127.0.0.2\r\n"));
    assert!(served(&origin, "/laptop").contains("Tailscale-User-Login: ann@a.test\r\n"));
    assert!(served(&origin, "/nobody").contains("X-Real-IP: 127.0.0.4\r\n"));
}

#[test]
fn so_is_a_hop_that_another_one_names() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("tailscaled.sock");
    let asked = tailscaled(&socket);
    let origin = Origin::simple();
    let trust = Trust {
        ranges: vec!["127.0.0.0/8".parse().unwrap()],
        who: vec![IdentityMatcher::Node("vps-pacman".into())],
        ..Trust::default()
    };
    let edge = edge(&origin, tailnet(&socket), trust);
    let chain = |path: &str, list: &str| ask(&edge, 3, path, &format!("X-Forwarded-For: {list}\r\n"));
    for number in 0..5 {
        chain(&format!("/edge{number}-"), "6.6.6.6, 203.0.113.7, 127.0.0.3");
    }
    // Ann's laptop is in the range but not a proxy: its header does not count.
    chain("/laptop", "203.0.113.7, 127.0.0.2");
    chain("/nobody", "203.0.113.7, 127.0.0.4, 127.0.0.3");
    // Very many are not looked up.
    let many: Vec<String> = (10..30).map(|at| format!("127.0.0.{at}")).collect();
    chain("/many", &many.join(", "));
    for (path, client) in [
        ("/edge0-", "203.0.113.7"),
        ("/edge4-", "203.0.113.7"),
        ("/laptop", "127.0.0.2"),
        ("/nobody", "127.0.0.4"),
        ("/many", "127.0.0.29"),
    ] {
        assert!(
            served(&origin, path).contains(&format!("X-Real-IP: {client}\r\n")),
            "{path}: {}",
            served(&origin, path)
        );
    }
    // The proxy itself once, the laptop, an unknown address, and the first of the many.
    assert_eq!(asked.lock().unwrap().len(), 4);
}

#[test]
fn while_tailscaled_is_away_the_range_counts_only_if_that_was_said() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("tailscaled.sock");
    for fallback in [false, true] {
        let origin = Origin::simple();
        let trust = Trust {
            ranges: vec!["127.0.0.0/8".parse().unwrap()],
            who: vec![IdentityMatcher::Node("vps-pacman".into())],
            fallback,
            ..Trust::default()
        };
        let edge = edge(&origin, tailnet(&socket), trust);
        ask(&edge, 3, "/edge", "X-Forwarded-For: 203.0.113.7\r\n");
        let believed = served(&origin, "/edge").contains("X-Real-IP: 203.0.113.7\r\n");
        assert_eq!(believed, fallback);
        if fallback {
            continue;
        }
        // It returns, and is asked again after a moment.
        tailscaled(&socket);
        let until = Instant::now() + Duration::from_secs(10);
        for number in 0.. {
            assert!(Instant::now() < until, "it was not asked again");
            ask(&edge, 3, &format!("/again{number}-"), "X-Forwarded-For: 203.0.113.7\r\n");
            if served(&origin, &format!("/again{number}-")).contains("X-Real-IP: 203.0.113.7\r\n") {
                break;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        std::fs::remove_file(&socket).unwrap();
    }
}

#[test]
fn d10_a_tailscaled_that_says_nothing_delays_nobody_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("tailscaled.sock");
    // It accepts, and is silent.
    let listener = UnixListener::bind(&socket).unwrap();
    std::thread::spawn(move || listener.incoming().flatten().collect::<Vec<_>>());
    let origin = Origin::simple();
    let edge = edge(&origin, tailnet(&socket), Trust::default());
    for path in ["/first", "/second"] {
        let begin = Instant::now();
        ask(&edge, 2, path, "");
        assert!(begin.elapsed() < Duration::from_secs(6), "{path}: {:?}", begin.elapsed());
    }
    let begin = Instant::now();
    let mut http2 = Http2::connect(edge.tls(), edge.root(), "a.test");
    let stream = http2.request("GET", "a.test", "/third", &[], true);
    let ends = http2.ends(&[stream], Duration::from_secs(10));
    assert_eq!(ends.get(&stream), Some(&wire2::End::Stream));
    assert!(begin.elapsed() < Duration::from_secs(6), "HTTP/2: {:?}", begin.elapsed());
    let begin = Instant::now();
    wire3::run(async {
        let http3 = Http3::connect(edge.tls(), edge.root(), "a.test").await;
        assert_eq!(http3.get("a.test", "/fourth").await.status(), Some("200"));
    });
    assert!(begin.elapsed() < Duration::from_secs(6), "HTTP/3: {:?}", begin.elapsed());
    for path in ["/first", "/second", "/third", "/fourth"] {
        assert!(!served(&origin, path).contains("Tailscale-"), "{path}");
    }
}
