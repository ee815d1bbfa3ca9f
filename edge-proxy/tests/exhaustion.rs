//! A process that is out of descriptors: no service is blamed for it, clients that are served go on, and it is reported.

#![cfg(feature = "server")]

mod common;

use common::{Edge, read_until};
use edge_policy::balance::health::Availability;
use edge_proxy::config::{Check, Listener};
use edge_proxy::{AcceptEvent, Observer, Proxy, StartError};
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use testkit::{Origin, Process, role, say};

#[derive(Default)]
struct Events {
    trouble: AtomicUsize,
    recovered: AtomicUsize,
    last: Mutex<String>,
}

impl Observer for Events {
    fn accepting(&self, event: &AcceptEvent<'_>) {
        let count =
            if matches!(event, AcceptEvent::Recovered { .. }) { &self.recovered } else { &self.trouble };
        count.fetch_add(1, SeqCst);
        *self.last.lock().unwrap() = event.to_string();
    }
}

/// A proxy that may have few descriptors. It reports what happened whenever its parent asks by a line.
fn proxy() -> ! {
    let origin: SocketAddr = std::env::var("ORIGIN").unwrap().parse().unwrap();
    let mut edge = Edge::before(origin, 1);
    let limit = rustix::process::Rlimit { current: Some(80), maximum: Some(80) };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
    edge.config.upstreams[0].health.check =
        Some(Check { interval: Duration::from_millis(200), ..Check::new("/") });
    let events = Arc::new(Events::default());
    let proxy = Proxy::builder()
        .config(edge.config.clone())
        .certificates(edge.certificates.clone())
        .observer(events.clone())
        .workers(1)
        .start()
        .unwrap();
    say(&proxy.addresses()[0].to_string());
    let mut line = String::new();
    while std::io::stdin().read_line(&mut line).is_ok_and(|n| n > 0) {
        if std::mem::take(&mut line).trim() == "remove" {
            let mut config = proxy.config();
            config.listeners.clear();
            proxy.reload(config).unwrap();
            say(&most_descriptors(Duration::from_secs(3)).to_string());
            continue;
        }
        let status = &proxy.targets()[0];
        let well = status.availability == Availability::Healthy && status.failures == 0;
        let (trouble, waits) = (events.trouble.load(SeqCst), proxy.metrics().accept_waits);
        say(&format!("{well} {trouble} {} {}", waits > 0, events.last.lock().unwrap()));
    }
    std::process::exit(0)
}

/// Returns the highest number of descriptors in use during this time.
fn most_descriptors(during: Duration) -> usize {
    let until = Instant::now() + during;
    let mut most = 0;
    while Instant::now() < until {
        // Where there is none left for this, all are in use.
        most = most.max(std::fs::read_dir("/proc/self/fd").map_or(usize::MAX, Iterator::count));
        std::thread::sleep(Duration::from_millis(5));
    }
    most
}

/// Connects clients that send half a head each.
fn crowd(address: SocketAddr) -> Vec<TcpStream> {
    let begin = |_| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a.t").unwrap();
        stream
    };
    (0..120).map(begin).collect()
}

/// The error of a start or a reload, with its sources.
fn chain(why: &StartError) -> String {
    let mut text = why.to_string();
    let mut source = std::error::Error::source(why);
    while let Some(why) = source {
        text.push_str(&format!(": {why}"));
        source = why.source();
    }
    text
}

/// Starts and reloads a proxy with one more descriptor each time, until both succeed. Reports each failure by a line,
/// and then `end`.
fn starter() -> ! {
    let mut edge = Edge::before(SocketAddr::from(([127, 0, 0, 1], 1)), 1);
    edge.config.listeners.push(Listener::tls(([127, 0, 0, 1], 0).into()).http3(true));
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let usual = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let limit = |current: Option<u64>| {
        let limit = rustix::process::Rlimit { current, maximum: usual.maximum };
        rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
    };
    // One of those that are counted is the folder itself.
    let may_have = |more: usize| limit(Some((open() - 1 + more) as u64));
    let no_limit = || limit(usual.current);
    let before = open();
    let mut proxy = None;
    for more in 0..200 {
        let builder = Proxy::builder().config(edge.config.clone()).certificates(edge.certificates.clone());
        may_have(more);
        let (began, started) = (Instant::now(), builder.workers(2).start());
        let took = began.elapsed();
        no_limit();
        match started {
            Ok(started) => {
                proxy = Some(started);
                break;
            }
            Err(why) => say(&format!("start {} {} {}", took.as_secs() < 5, open() == before, chain(&why))),
        }
    }
    let proxy = proxy.expect("200 descriptors suffice");
    let mut more_listeners = proxy.config();
    // A listener without a name of its own would be one that is there already.
    more_listeners.listeners.push(Listener::tls(([127, 0, 0, 1], 0).into()).http3(true).named("more"));
    for more in 0..200 {
        may_have(more);
        let reloaded = proxy.reload(more_listeners.clone());
        no_limit();
        let Err(why) = reloaded else { break };
        let same = proxy.config() == edge.config;
        let serves = TcpStream::connect(proxy.addresses()[0]).is_ok();
        say(&format!("reload {same} {serves} {}", chain(&why)));
    }
    say("end");
    std::process::exit(0)
}

/// A worker that cannot open what it needs ends the start or the reload with the reason. The proxy never serves in part.
#[test]
fn a_worker_that_cannot_serve_ends_the_start_with_a_reason() {
    if role().is_some() {
        starter();
    }
    let mut child = Process::start("a_worker_that_cannot_serve_ends_the_start_with_a_reason", "starter", &[]);
    let mut lines = Vec::new();
    while lines.last().is_none_or(|line| line != "end") {
        lines.push(child.hear());
    }
    lines.pop();
    let of_worker = |line: &String| line.contains("worker ") && line.contains("does not serve");
    assert!(lines.iter().any(of_worker), "{lines:#?}");
    let (reloads, starts): (Vec<_>, Vec<_>) = lines.iter().partition(|line| line.starts_with("reload"));
    for (lines, what) in [(starts, "start"), (reloads, "reload")] {
        // Soon, with nothing left open; or with the old configuration in effect.
        let well = |line: &&String| line.starts_with(&format!("{what} true true "));
        assert!(lines.iter().all(well), "{lines:#?}");
        assert!(lines.iter().all(|line| line.contains("os error 24")), "{lines:#?}");
        assert!(!lines.is_empty(), "one descriptor does not suffice for a {what}");
    }
}

/// Three quarters of 80 are for clients, also for those in the queue of a listener that ends.
#[test]
fn a_listener_that_ends_leaves_the_reserved_descriptors() {
    if role().is_some() {
        proxy();
    }
    let origin = Origin::simple();
    let environment = [("ORIGIN", origin.address().to_string())];
    let test = "a_listener_that_ends_leaves_the_reserved_descriptors";
    let mut edge = Process::start(test, "proxy", &environment);
    let address: SocketAddr = edge.hear().parse().unwrap();
    let _crowd = crowd(address);
    // Until nothing but the reserve is left.
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        edge.tell("status");
        let said = edge.hear();
        if said.contains("no descriptor is left for clients") {
            break;
        }
        assert!(Instant::now() < until, "{said}");
        std::thread::sleep(Duration::from_millis(50));
    }
    edge.tell("remove");
    let most: usize = edge.hear().parse().unwrap();
    // Checks of the service use some of the reserve.
    assert!((56..70).contains(&most), "{most} of 80");
}

#[test]
fn a_process_out_of_descriptors_blames_no_service() {
    if role().is_some() {
        proxy();
    }
    let origin = Origin::simple();
    let environment = [("ORIGIN", origin.address().to_string())];
    let mut edge = Process::start("a_process_out_of_descriptors_blames_no_service", "proxy", &environment);
    let address: SocketAddr = edge.hear().parse().unwrap();
    let mut served = TcpStream::connect(address).unwrap();
    served.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut ask = || {
        served.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").unwrap();
        read_until(&mut served, "\r\n\r\nok")
    };
    let first = ask();
    assert!(first.starts_with("HTTP/1.1 200"), "{first}");
    let crowd = crowd(address);
    let until = Instant::now() + Duration::from_secs(3);
    while Instant::now() < until {
        let answer = ask();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        std::thread::sleep(Duration::from_millis(100));
    }
    edge.tell("status");
    let said = edge.hear();
    assert!(
        said.starts_with("true 1 true"),
        "the target is well, the trouble is reported once and counted: {said}"
    );
    assert!(said.contains("no descriptor is left for clients"), "{said}");
    drop(crowd);
    // There is room again at once.
    let mut another = TcpStream::connect(address).unwrap();
    another.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    another.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").unwrap();
    assert!(read_until(&mut another, "\r\n\r\nok").starts_with("HTTP/1.1 200"));
}

#[test]
fn a_second_program_does_not_share_addresses() {
    let origin = Origin::simple();
    let edge = Edge::before(origin.address(), 2);
    let start = |listener: Listener| {
        let mut config = edge.config.clone();
        config.listeners = vec![listener];
        Proxy::builder().config(config).certificates(edge.certificates.clone()).workers(1).start()
    };
    for listener in [
        Listener::plain(edge.plain()),
        Listener::tls(edge.tls()).http3(false),
        Listener::tls(edge.tls()).http3(true),
    ] {
        let address = listener.address;
        match start(listener) {
            Err(StartError::Listen { address: named, source: why }) => {
                assert_eq!((named, why.kind()), (address, std::io::ErrorKind::AddrInUse));
            }
            other => panic!("{other:?}"),
        }
    }
    // Only the port of UDP is taken. The system gives it to no other test's socket of TCP by itself.
    let address = testkit::nobody();
    let taken = std::net::UdpSocket::bind(address).unwrap();
    assert!(matches!(start(Listener::tls(address).http3(true)), Err(StartError::Listen { .. })));
    drop(taken);
    let other = start(Listener::tls(address).http3(true)).unwrap();
    assert_eq!(other.addresses(), [address]);
    // A reload takes no address of another program either, and changes nothing then.
    let before = other.config();
    for (listener, address) in
        [(Listener::plain(edge.plain()), edge.plain()), (Listener::tls(edge.tls()).http3(true), edge.tls())]
    {
        let mut config = before.clone();
        config.listeners.push(listener);
        match other.reload(config) {
            Err(StartError::Listen { address: named, source: why }) => {
                assert_eq!((named, why.kind()), (address, std::io::ErrorKind::AddrInUse));
            }
            result => panic!("{result:?}"),
        }
    }
    assert_eq!(other.config().listeners, before.listeners);
    // A reload may add an address beside one that it has.
    let mut config = other.config();
    config.listeners.push(Listener::plain(([127, 0, 0, 1], 0).into()));
    other.reload(config).unwrap();
    // It may add several that share a port, and an address again that it has just closed.
    let port = testkit::nobody().port();
    let shared: Vec<Listener> = [[0, 0, 0, 0], [127, 0, 0, 1], [127, 0, 0, 2]]
        .map(|ip| Listener::tls((ip, port).into()).http3(true))
        .to_vec();
    for _ in 0..3 {
        let mut config = before.clone();
        config.listeners.extend(shared.iter().cloned());
        other.reload(config).unwrap();
        let mut config = before.clone();
        config.listeners = vec![Listener::plain(([127, 0, 0, 1], 0).into())];
        other.reload(config).unwrap();
        other.reload(before.clone()).unwrap();
    }
    // Once it has ended, its addresses are free, whatever its connections left behind.
    let left = TcpStream::connect(address).unwrap();
    drop(other);
    drop(start(Listener::tls(address).http3(true)).unwrap());
    drop(left);
}
