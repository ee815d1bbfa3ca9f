//! Active health checks at their limits: many of them, and reloads.

use edge_policy::balance::health::Availability;
use edge_proxy::config::{Check, Config, Listener, PlainHttp, Route, Site, Target, Upstream};
use edge_proxy::{Proxy, ProxyHandle};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};
use testkit::Origin;

/// The number of checks that may be under way at once.
const AT_ONCE: usize = 256;

fn config(upstreams: Vec<Upstream>) -> Config {
    let mut site = Site::new("a.test", vec!["a.test".parse().unwrap()]).route(Route::forward("app0"));
    site.plain = PlainHttp::Serve;
    Config {
        listeners: vec![Listener::plain(([127, 0, 0, 1], 0).into())],
        sites: vec![site],
        upstreams,
        ..Config::default()
    }
}

fn start(config: Config) -> ProxyHandle {
    Proxy::builder().workers(1).config(config).start().unwrap()
}

fn until(what: &str, mut is: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(30);
    while !is() {
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn so_many_checks_are_under_way_and_no_more() {
    // It accepts, and never answers. Six upstreams of 64 targets each, at as many addresses of this machine.
    let silent = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let accepted = Arc::new(AtomicUsize::new(0));
    let count = accepted.clone();
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for stream in silent.incoming() {
            held.push(stream);
            count.fetch_add(1, SeqCst);
        }
    });
    let upstreams = (0..6).map(|number| {
        let target = |last: u8| Target::Tcp { host: format!("127.0.{number}.{last}"), port };
        let mut upstream = Upstream::new(format!("app{number}"), target(1));
        upstream.targets = (1..=64).map(target).collect();
        let timeout = Duration::from_secs(60);
        upstream.health.check =
            Some(Check { interval: Duration::from_millis(500), timeout, ..Check::new("/") });
        upstream
    });
    let proxy = start(config(upstreams.collect()));
    until("as many as may be are under way", || accepted.load(SeqCst) >= AT_ONCE);
    // Every other target would have been asked twice by now.
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(accepted.load(SeqCst), AT_ONCE);
    assert_eq!(proxy.targets().len(), 6 * 64);
}

#[test]
fn reloads_neither_begin_checks_anew_nor_forget_what_they_found() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let sick = Origin::scripted(move |bytes| {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        count.fetch_add(1, SeqCst);
        Some((b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n".to_vec(), end))
    });
    let address = sick.address();
    let mut upstream =
        Upstream::new("app0", Target::Tcp { host: address.ip().to_string(), port: address.port() });
    upstream.health.check = Some(Check { interval: Duration::from_secs(1), ..Check::new("/") });
    let mut config = config(vec![upstream]);
    let proxy = start(config.clone());
    let is_down = || proxy.targets()[0].availability == Availability::Down;
    until("it is found down", is_down);
    let (before, began) = (asked.load(SeqCst), Instant::now());
    while began.elapsed() < Duration::from_secs(3) {
        config.limits.header_fields += 1;
        proxy.reload(config.clone()).unwrap();
        assert!(is_down(), "a reload forgets what a check found");
        std::thread::sleep(Duration::from_millis(50));
    }
    let (checks, seconds) = (asked.load(SeqCst) - before, began.elapsed().as_secs() as usize);
    // Checks that began anew with each reload would be many more, or none, as their first delay would begin anew.
    assert!((1..=seconds + 1).contains(&checks), "{checks} in {seconds} s");
}
