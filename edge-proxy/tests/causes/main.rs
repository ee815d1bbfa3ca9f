//! Services that cannot be reached, and services of every kind that can: each failure says why.

#![cfg(feature = "server")]

#[path = "../common/mod.rs"]
mod common;
mod silent;
mod tls;

use edge_proxy::config::{
    ForwardedAs, Listener, PlainHttp, Protocol, Route, Site, Target, Upstream, UpstreamTls,
};
use edge_proxy::{AccessRecord, Certificates, Observer, Proxy, ProxyHandle, TargetChange, TargetEvent};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use testkit::{Authority, Origin, answer};
use tls::secured;

/// Keeps what it is told.
#[derive(Default)]
struct RecordingObserver {
    errors: Mutex<Vec<Option<String>>>,
    targets: Mutex<Vec<String>>,
}

impl Observer for RecordingObserver {
    fn access(&self, record: &AccessRecord<'_>) {
        self.errors.lock().unwrap().push(record.error.map(str::to_owned));
    }

    fn target(&self, event: &TargetEvent<'_>) {
        let change = match event.change {
            TargetChange::Ejected(time) => format!("ejected for {time:?}"),
            TargetChange::Down => "down".to_owned(),
            TargetChange::Back => "back".to_owned(),
        };
        let cause = event.cause.map(|cause| format!(": {cause}")).unwrap_or_default();
        self.targets.lock().unwrap().push(format!("{} {} {change}{cause}", event.upstream, event.target));
    }
}

fn edge(upstream: Upstream, notes: &Arc<RecordingObserver>) -> ProxyHandle {
    let mut site = Site::new("a.test", vec!["a.test".parse().unwrap()]).route(Route::forward("service"));
    site.plain = PlainHttp::Serve;
    Proxy::builder()
        .workers(1)
        .listener(Listener::plain(([127, 0, 0, 1], 0).into()))
        .site(site)
        .upstream(upstream)
        .observer(notes.clone())
        .start()
        .unwrap()
}

fn tcp(address: SocketAddr) -> Target {
    Target::Tcp { host: address.ip().to_string(), port: address.port() }
}

fn ask(proxy: &ProxyHandle, request: &str) -> String {
    let mut stream = TcpStream::connect(proxy.addresses()[0]).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut all = Vec::new();
    let _ = stream.read_to_end(&mut all);
    String::from_utf8_lossy(&all).into_owned()
}

fn get(proxy: &ProxyHandle) -> String {
    ask(proxy, "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
}

/// The status and the error of one request to this upstream.
fn failure(upstream: Upstream) -> (String, String) {
    let notes = Arc::new(RecordingObserver::default());
    let proxy = edge(upstream, &notes);
    let status = get(&proxy).get(9..12).unwrap_or_default().to_owned();
    for _ in 0..100 {
        if let Some(error) = notes.errors.lock().unwrap().last() {
            return (status, error.clone().unwrap_or_default());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("no access record came");
}

/// A service that says these bytes to whoever asks, and closes.
fn says(bytes: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(bytes);
        }
    });
    address
}

#[test]
fn a_failure_names_its_target_and_its_cause() {
    let gone = testkit::nobody();
    let (status, error) = failure(Upstream::new("service", tcp(gone)));
    assert_eq!((&status[..], error), ("502", format!("{gone}: connection refused")));
    let name = Target::Tcp { host: "no-such-host.invalid".into(), port: 80 };
    let (status, error) = failure(Upstream::new("service", name));
    assert_eq!((&status[..], &error[..]), ("502", "no-such-host.invalid:80: the name has no address"));
    let (status, error) = failure(Upstream::new("service", Target::Unix("/nonexistent.sock".into())));
    assert_eq!((&status[..], &error[..]), ("502", "unix:/nonexistent.sock: no such socket"));
    for (bytes, expected) in [
        (&b"HTTP/1.1 200 OK\r\nA: b\r\nno colon\r\n\r\n"[..], "malformed field line, in line 3"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "Content-Length, in line 2"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "not HTTP, in line 1"),
        (b"", "closed the connection"),
    ] {
        let (status, error) = failure(Upstream::new("service", tcp(says(bytes))));
        assert!(status == "502" && error.contains(expected), "{}: {status} {error}", bytes.escape_ascii());
    }
}

#[test]
fn ejection_and_return_are_told_once_with_the_cause() {
    let address = testkit::nobody();
    let mut upstream = Upstream::new("service", tcp(address));
    upstream.health.rules.eject = Duration::from_millis(300);
    let notes = Arc::new(RecordingObserver::default());
    let proxy = edge(upstream, &notes);
    for _ in 0..6 {
        get(&proxy);
    }
    let told = notes.targets.lock().unwrap().clone();
    assert_eq!(told, [format!("service {address} ejected for 300ms: connection refused")]);
    let status = &proxy.targets()[0];
    let (cause, age) = status.last_failure.unwrap();
    assert!(cause.to_string() == "connection refused" && age < Duration::from_secs(60));
    let origin = TcpListener::bind(address).unwrap();
    std::thread::spawn(move || {
        for mut stream in origin.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(&answer("ok"));
        }
    });
    std::thread::sleep(Duration::from_millis(400));
    assert!(get(&proxy).ends_with("ok"));
    for _ in 0..3 {
        get(&proxy);
    }
    let told = notes.targets.lock().unwrap().clone();
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(told[1], format!("service {address} back"));
}

#[test]
fn what_this_system_does_not_let_through_marks_no_target_down() {
    // To the broadcast address the system call itself fails: by the routes of this system, or because it forbids it.
    let nowhere = Target::Tcp { host: "255.255.255.255".into(), port: 80 };
    let (status, error) = failure(Upstream::new("service", nowhere.clone()));
    assert!(status == "502" && error.starts_with("255.255.255.255:80: this system "), "{status} {error}");
    let mut upstream = Upstream::new("service", nowhere.clone());
    upstream.health.rules.failures = 1;
    let notes = Arc::new(RecordingObserver::default());
    let proxy = edge(upstream.clone(), &notes);
    for _ in 0..5 {
        assert!(get(&proxy).starts_with("HTTP/1.1 502 "));
    }
    let status = &proxy.targets()[0];
    assert_eq!(status.failures, 0);
    // It is shown nevertheless.
    assert!(status.last_failure.is_some_and(|(cause, _)| cause.is_local()));
    assert_eq!(*notes.targets.lock().unwrap(), Vec::<String>::new());
    let refused = proxy.metrics().refused;
    let count = refused.iter().find(|(reason, _)| *reason == edge_proxy::Reason::EdgeCannotConnect);
    assert_eq!(count.map(|(_, count)| *count), Some(5));
    // Another target is tried instead, and a check of this one says nothing.
    let origin = Origin::simple();
    upstream.targets = vec![nowhere, tcp(origin.address())];
    upstream.health.check = Some(edge_proxy::config::Check {
        interval: Duration::from_millis(100),
        ..edge_proxy::config::Check::new("/")
    });
    let proxy = edge(upstream, &notes);
    for _ in 0..6 {
        assert!(get(&proxy).starts_with("HTTP/1.1 200 "));
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(*notes.targets.lock().unwrap(), Vec::<String>::new());
}

/// A service that closes connections that were idle for a while; `says` is in each answer.
fn impatient(idle: Duration, says: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                stream.set_read_timeout(Some(idle)).unwrap();
                while let Ok(1..) = stream.read(&mut [0; 4096]) {
                    // The close and the next request cross on the way.
                    let _ = stream.write_all(
                        format!("HTTP/1.1 200 OK\r\n{says}Content-Length: 2\r\n\r\nok").as_bytes(),
                    );
                }
            });
        }
    });
    address
}

#[test]
fn a_post_is_not_lost_to_a_connection_that_the_service_gives_up() {
    let post = "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let told =
        Upstream::new("service", tcp(impatient(Duration::from_millis(1000), "Keep-Alive: timeout=1\r\n")));
    let mut untold = Upstream::new("service", tcp(impatient(Duration::from_millis(1000), "")));
    untold.idle = Duration::from_millis(300);
    for upstream in [told, untold] {
        let notes = Arc::new(RecordingObserver::default());
        let proxy = edge(upstream, &notes);
        for wait in [0, 100, 990, 1000, 1005, 1010] {
            std::thread::sleep(Duration::from_millis(wait));
            let got = ask(&proxy, post);
            assert!(got.starts_with("HTTP/1.1 200"), "after {wait} ms: {got}");
        }
    }
}

#[test]
fn the_client_alone_is_told_where_that_is_wanted() {
    for (forwarded, expected) in [
        (ForwardedAs::Chain, "X-Forwarded-For: 203.0.113.7, 127.0.0.1\r\n"),
        (ForwardedAs::Client, "X-Forwarded-For: 203.0.113.7\r\n"),
    ] {
        let origin = Origin::simple();
        let mut upstream = Upstream::new("service", tcp(origin.address()));
        upstream.forwarded = forwarded;
        let mut site = Site::new("a.test", vec!["a.test".parse().unwrap()]).route(Route::forward("service"));
        site.plain = PlainHttp::Serve;
        let mut config =
            edge_proxy::config::Config { sites: vec![site], upstreams: vec![upstream], ..Default::default() };
        config.listeners.push(Listener::plain(([127, 0, 0, 1], 0).into()));
        config.trust.ranges.push("127.0.0.1/32".parse().unwrap());
        let proxy = Proxy::builder().config(config).workers(1).start().unwrap();
        ask(
            &proxy,
            "GET / HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: 203.0.113.7\r\nConnection: close\r\n\r\n",
        );
        let text = origin.text();
        assert!(text.contains(expected), "{text}");
        let forwarded = text.lines().find(|line| line.starts_with("Forwarded:")).unwrap();
        assert_eq!(forwarded.contains("127.0.0.1"), expected.contains("127.0.0.1"), "{forwarded}");
    }
}

/// A node with two sites over TLS, each to a service that says its name.
fn node(authority: &Authority, folder: &Path) -> ProxyHandle {
    authority.write(&folder.join("a"), &["a.test"]);
    authority.write(&folder.join("b"), &["b.test"]);
    let (certificates, refreshed) = Certificates::load(folder).unwrap();
    assert!(refreshed.problems.is_empty(), "{refreshed:?}");
    let mut builder = Proxy::builder()
        .workers(1)
        .certificates(certificates)
        .listener(Listener::tls(([127, 0, 0, 1], 0).into()));
    for name in ["a.test", "b.test"] {
        let mut site = Site::new(name, vec![name.parse().unwrap()]).route(Route::forward(name));
        site.plain = PlainHttp::Serve;
        let origin = Origin::scripted(move |bytes| {
            let head = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
            let text = String::from_utf8_lossy(&bytes[..head]);
            let Some(key) = text.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")) else {
                return Some((answer(name), head));
            };
            let mut switch = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ".to_vec();
            switch.extend_from_slice(&edge_http::websocket::accept(key.as_bytes()));
            switch.extend_from_slice(b"\r\n\r\nhello");
            Some((switch, bytes.len()))
        });
        builder = builder.site(site).upstream(Upstream::new(name, tcp(origin.address())));
        std::mem::forget(origin);
    }
    builder.start().unwrap()
}

#[test]
fn many_sites_of_one_node_over_tls_and_websocket_through_h2() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    let node = node(&authority, folder.path());
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, authority.root()).unwrap();
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let tls =
            UpstreamTls { ca: Some(ca.clone()), server_name: Some("{host}".into()), ..Default::default() };
        let mut upstream = secured(node.addresses()[0], tls);
        upstream.protocol = protocol;
        let mut builder = Proxy::builder()
            .workers(1)
            .listener(Listener::plain(([127, 0, 0, 1], 0).into()))
            .upstream(upstream);
        for name in ["a.test", "b.test"] {
            let mut site = Site::new(name, vec![name.parse().unwrap()]).route(Route::forward("service"));
            site.plain = PlainHttp::Serve;
            builder = builder.site(site);
        }
        let proxy = builder.start().unwrap();
        for name in ["a.test", "b.test", "a.test", "b.test"] {
            let got = ask(&proxy, &format!("GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n"));
            assert!(got.starts_with("HTTP/1.1 200") && got.ends_with(name), "{protocol:?} {name}: {got}");
            let mut stream = TcpStream::connect(proxy.addresses()[0]).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            let request = format!(
                "GET /ws HTTP/1.1\r\nHost: {name}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            );
            stream.write_all(request.as_bytes()).unwrap();
            let head = common::read_until(&mut stream, "hello");
            assert!(head.starts_with("HTTP/1.1 101 "), "{protocol:?} {name}: {head}");
        }
    }
}

#[test]
fn te_trailers_and_http2_reach_a_service_over_plain_hops() {
    // gRPC's path: HTTP/2 with prior knowledge to a plain listener, trailers asked for by a field that each hop
    // nominates anew.
    let origin = Origin::simple();
    let mut listener = Listener::plain(([127, 0, 0, 1], 0).into());
    listener.h2c = true;
    let mut site = Site::new("a.test", vec!["a.test".parse().unwrap()]).route(Route::forward("service"));
    site.plain = PlainHttp::Serve;
    let node = Proxy::builder()
        .workers(1)
        .listener(listener)
        .site(site)
        .upstream(Upstream::new("service", tcp(origin.address())))
        .start()
        .unwrap();
    let address = node.addresses()[0];
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let mut upstream = Upstream::new("service", tcp(address));
        upstream.protocol = protocol;
        let notes = Arc::new(RecordingObserver::default());
        let proxy = edge(upstream, &notes);
        let before = origin.text().len();
        let got = ask(
            &proxy,
            "POST /s/m HTTP/1.1\r\nHost: a.test\r\nTE: trailers\r\nConnection: TE, close\r\nContent-Type: application/grpc\r\nContent-Length: 0\r\n\r\n",
        );
        assert!(got.starts_with("HTTP/1.1 200"), "{protocol:?}: {got}");
        let text = origin.text()[before..].to_owned();
        assert!(text.contains("TE: trailers\r\nConnection: TE\r\n"), "{protocol:?}: {text}");
    }
    // HTTP/1.1 is still taken there, whatever it begins with.
    for request in [
        "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n",
        "PUT / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(address).unwrap();
        for byte in request.as_bytes() {
            stream.write_all(&[*byte]).unwrap();
        }
        let mut all = String::new();
        stream.read_to_string(&mut all).unwrap();
        assert!(all.starts_with("HTTP/1.1 200"), "{all}");
    }
}
