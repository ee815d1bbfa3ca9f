//! TCP that is forwarded byte for byte: by a listener, as SSH is, and by the server name of TLS that is not terminated.
#![cfg(feature = "server")]

mod common;

use common::Edge;
use edge_proxy::config::{ConnectionLimits, Forward, Listener, Protocol, ProxyOut, Site, Target, Upstream};
use edge_proxy::{ForwardRecord, Observer, Proxy, ProxyHandle, Reason};
use rustls::pki_types::ServerName;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use testkit::{Authority, Origin, tls_client};

/// The upstream, bytes received and sent, and the reason.
type Record = (String, u64, u64, Option<Reason>);

/// The records, and the number of bytes that the kernel passed on.
#[derive(Default)]
struct Records(Mutex<Vec<Record>>, AtomicU64);

impl Observer for Records {
    fn forwarded(&self, record: &ForwardRecord<'_>) {
        let one = (record.upstream.to_owned(), record.received, record.sent, record.reason);
        self.1.fetch_add(record.spliced, Relaxed);
        self.0.lock().unwrap().push(one);
    }
}

impl Records {
    fn wait(&self) -> Record {
        let began = Instant::now();
        loop {
            if let Some(record) = self.0.lock().unwrap().pop() {
                return record;
            }
            assert!(began.elapsed() < Duration::from_secs(20), "no record came");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Returns the number of bytes of all records that the kernel passed on.
    fn spliced(&self) -> u64 {
        self.1.load(Relaxed)
    }
}

/// Serves each connection on a thread of its own.
fn service(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = serve.clone();
            std::thread::spawn(move || serve(stream));
        }
    });
    address
}

fn upstream(name: &str, address: SocketAddr) -> Upstream {
    let target = Target::Tcp { host: address.ip().to_string(), port: address.port() };
    Upstream { protocol: Protocol::Tcp, ..Upstream::new(name, target) }
}

fn edge(upstream: Upstream, change: impl FnOnce(&mut Forward)) -> (ProxyHandle, Arc<Records>) {
    let records = Arc::new(Records::default());
    let mut forward = Forward::to(upstream.name.clone());
    change(&mut forward);
    let listener = Listener::tcp(([127, 0, 0, 1], 0).into(), forward);
    let proxy = Proxy::builder()
        .workers(1)
        .listener(listener)
        .upstream(upstream)
        .observer(records.clone())
        .start()
        .unwrap();
    (proxy, records)
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

#[test]
fn bytes_pass_both_ways_and_each_direction_ends_by_itself() {
    // It answers only after the client's end has come.
    let service = service(|mut stream| {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        all.reverse();
        stream.write_all(&all).unwrap();
    });
    let (proxy, records) = edge(upstream("ssh", service), |_| {});
    let sent: Vec<u8> = (0..3_000_000_u32).map(|i| (i * 7 % 251) as u8).collect();
    let mut stream = connect(proxy.addresses()[0]);
    stream.write_all(&sent).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut got = Vec::new();
    stream.read_to_end(&mut got).unwrap();
    got.reverse();
    assert!(got == sent);
    assert_eq!(records.wait(), ("ssh".into(), 3_000_000, 3_000_000, None));
    assert_eq!(records.spliced(), 6_000_000);
}

#[test]
fn the_last_bytes_before_a_reset_arrive() {
    for _ in 0..30 {
        let service = service(|mut stream| {
            stream.write_all(b"the last words").unwrap();
            // What was sent before a reset is not taken back from a peer that has received it.
            std::thread::sleep(Duration::from_millis(20));
            let socket = reset_on_close(&stream);
            drop(stream);
            socket.unwrap();
        });
        let (proxy, records) = edge(upstream("ssh", service), |_| {});
        let mut stream = connect(proxy.addresses()[0]);
        let mut got = Vec::new();
        match stream.read_to_end(&mut got) {
            Ok(_) => {}
            Err(why) => assert_eq!(why.kind(), ErrorKind::ConnectionReset),
        }
        assert_eq!(got, b"the last words");
        drop(stream);
        records.wait();
        assert_eq!(records.spliced(), 14);
    }
}

#[test]
fn many_bytes_pass_both_ways_at_once() {
    const LENGTH: usize = 64 << 20;
    let echo = service(|mut stream| {
        let mut back = stream.try_clone().unwrap();
        std::io::copy(&mut stream, &mut back).unwrap();
        back.shutdown(Shutdown::Write).unwrap();
    });
    let (proxy, records) = edge(upstream("ssh", echo), |_| {});
    // A period that divides no power of two shows pieces in another order.
    let pattern: Vec<u8> = (0..1_000_003_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut stream = connect(proxy.addresses()[0]);
    let mut sending = stream.try_clone().unwrap();
    let sent = pattern.clone();
    let writer = std::thread::spawn(move || {
        let mut left = LENGTH;
        while left > 0 {
            let n = sent.len().min(left);
            sending.write_all(&sent[..n]).unwrap();
            left -= n;
        }
        sending.shutdown(Shutdown::Write).unwrap();
    });
    let (mut at, mut buffer) = (0, vec![0; 1 << 20]);
    loop {
        let n = stream.read(&mut buffer).unwrap();
        if n == 0 {
            break;
        }
        let mut got = &buffer[..n];
        while !got.is_empty() {
            let expected = &pattern[at % pattern.len()..];
            let n = expected.len().min(got.len());
            assert!(got[..n] == expected[..n], "other bytes after {at}");
            (got, at) = (&got[n..], at + n);
        }
    }
    writer.join().unwrap();
    assert_eq!(at, LENGTH);
    assert_eq!(records.wait(), ("ssh".into(), LENGTH as u64, LENGTH as u64, None));
    assert!(records.spliced() > 0);
}

/// A service that echoes, before which an edge has these limits. It expects a PROXY header of version 1 from every
/// client.
fn limited(limits: ConnectionLimits) -> (ProxyHandle, Arc<AtomicUsize>) {
    let served = Arc::new(AtomicUsize::new(0));
    let counted = served.clone();
    let echo = service(move |mut stream| {
        counted.fetch_add(1, Relaxed);
        let mut byte = [0];
        while let Ok(1) = stream.read(&mut byte) {
            stream.write_all(&byte).unwrap();
        }
    });
    let mut forward = Forward::to("ssh");
    forward.rate = limits;
    let mut listener = Listener::tcp(([127, 0, 0, 1], 0).into(), forward);
    listener.proxy_protocol = vec!["127.0.0.0/8".parse().unwrap()];
    let proxy =
        Proxy::builder().workers(2).listener(listener).upstream(upstream("ssh", echo)).start().unwrap();
    (proxy, served)
}

/// Connects as this client, and sends a byte. `None` if the connection is closed without a byte.
fn served(proxy: &ProxyHandle, client: &str) -> Option<TcpStream> {
    let mut stream = connect(proxy.addresses()[0]);
    // A connection that is refused may be closed before the byte is written.
    let _ = write!(stream, "PROXY TCP4 {client} 127.0.0.1 40000 22\r\n");
    let _ = stream.write_all(b"a");
    let mut byte = [0];
    matches!(stream.read(&mut byte), Ok(1)).then_some(stream)
}

#[test]
fn a_connection_above_a_limit_is_closed_before_the_service_sees_it() {
    let limits = ConnectionLimits { client_concurrent: Some(2), concurrent: Some(3), ..Default::default() };
    let (proxy, seen) = limited(limits);
    let first = served(&proxy, "192.0.2.1").unwrap();
    let _second = served(&proxy, "192.0.2.1").unwrap();
    assert!(served(&proxy, "192.0.2.1").is_none());
    // The client is that of the PROXY header: all of these come from one peer.
    let _third = served(&proxy, "192.0.2.2").unwrap();
    assert!(served(&proxy, "192.0.2.3").is_none());
    assert_eq!(seen.load(Relaxed), 3);
    // A worker counts what it has closed.
    let counts = || {
        let refused = proxy.metrics().rejected;
        [Reason::TooManyConnectionsOfClient, Reason::TooManyConnections]
            .map(|reason| refused.iter().find(|(other, _)| *other == reason).map_or(0, |(_, count)| *count))
    };
    let until = Instant::now() + Duration::from_secs(20);
    while counts() != [1, 1] && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(counts(), [1, 1]);
    // An end makes room.
    drop(first);
    let began = Instant::now();
    while served(&proxy, "192.0.2.1").is_none() {
        assert!(began.elapsed() < Duration::from_secs(20), "the connection that ended still counts");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn each_client_has_a_rate_of_connections() {
    let rate = "2/h".parse::<edge_policy::rate::Rate>().unwrap().with_burst(2);
    let (proxy, seen) = limited(ConnectionLimits { client: Some(rate), ..Default::default() });
    for _ in 0..2 {
        assert!(served(&proxy, "192.0.2.1").is_some());
    }
    assert!(served(&proxy, "192.0.2.1").is_none());
    assert!(served(&proxy, "192.0.2.2").is_some());
    // A reload forgets nothing.
    proxy.reload(proxy.config()).unwrap();
    assert!(served(&proxy, "192.0.2.1").is_none());
    assert_eq!(seen.load(Relaxed), 3);
}

/// Makes closing the stream send a reset.
fn reset_on_close(stream: &TcpStream) -> std::io::Result<()> {
    socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO))
}

#[test]
fn the_service_learns_the_client_by_a_proxy_header() {
    let service = service(|mut stream| {
        let mut line = Vec::new();
        let mut byte = [0];
        while !line.ends_with(b"\r\n") && stream.read(&mut byte).unwrap() == 1 {
            line.push(byte[0]);
        }
        stream.write_all(&line).unwrap();
    });
    let mut upstream = upstream("ssh", service);
    upstream.proxy_protocol = Some(ProxyOut::V1);
    let (proxy, _) = edge(upstream, |_| {});
    let mut stream = connect(proxy.addresses()[0]);
    let mut line = String::new();
    stream.read_to_string(&mut line).unwrap();
    let port = stream.local_addr().unwrap().port();
    let listener = proxy.addresses()[0].port();
    assert_eq!(line, format!("PROXY TCP4 127.0.0.1 127.0.0.1 {port} {listener}\r\n"));
}

#[test]
fn who_is_not_allowed_gets_nothing_and_an_idle_connection_ends() {
    let service = service(|mut stream| {
        stream.write_all(b"banner").unwrap();
        let _ = stream.read(&mut [0]);
    });
    let (proxy, _) = edge(upstream("ssh", service), |forward| {
        forward.access.allow = vec!["10.0.0.0/8".parse().unwrap()];
    });
    let mut got = Vec::new();
    let _ = connect(proxy.addresses()[0]).read_to_end(&mut got);
    assert!(got.is_empty());

    let (proxy, records) =
        edge(upstream("ssh", service), |forward| forward.idle = Some(Duration::from_millis(500)));
    let began = Instant::now();
    let mut stream = connect(proxy.addresses()[0]);
    stream.read_to_end(&mut got).unwrap();
    assert_eq!(got, b"banner");
    assert!(began.elapsed() >= Duration::from_millis(500));
    assert_eq!(records.wait(), ("ssh".into(), 0, 6, Some(Reason::ForwardIdle)));
}

#[test]
fn a_service_that_is_away_is_a_reason() {
    let (proxy, records) =
        edge(upstream("ssh", SocketAddr::from(([127, 0, 0, 1], testkit::free_port()))), |_| {});
    let mut got = Vec::new();
    let _ = connect(proxy.addresses()[0]).read_to_end(&mut got);
    assert!(got.is_empty());
    let (_, _, _, reason) = records.wait();
    assert!(reason.is_some_and(|reason| reason.as_str().starts_with("upstream-")), "{reason:?}");
}

/// Asks over TLS, by this name and trusting this authority. Returns the response.
fn ask(address: SocketAddr, authority: &Authority, name: &str) -> std::io::Result<String> {
    let config = Arc::new(tls_client(authority.root(), &[b"http/1.1"]));
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let session = rustls::ClientConnection::new(config, name.clone()).unwrap();
    let mut stream = rustls::StreamOwned::new(session, connect(address));
    write!(stream, "GET / HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", name.to_str())?;
    let mut text = String::new();
    match stream.read_to_string(&mut text) {
        Err(why) if why.kind() != ErrorKind::UnexpectedEof => Err(why),
        _ => Ok(text),
    }
}

#[test]
fn tls_of_a_site_passes_through_beside_sites_that_end_here() {
    let origin = Origin::simple();
    // The server behind has a certificate of its own authority, which proves who decrypts.
    let inner = Edge::before(origin.address(), 1);
    let mut outer = Edge::before(origin.address(), 1);
    let mut config = outer.config.clone();
    let mut site = Site::new("b", vec!["b.test".parse().unwrap()]);
    site.passthrough = Some("inner".into());
    config.sites.push(site);
    config.upstreams.push(upstream("inner", inner.tls()));
    inner.authority.write(&inner.folder.path().join("test"), &["a.test", "b.test"]);
    assert!(inner.certificates.refresh().unwrap().problems.is_empty());
    let mut behind = inner.config.clone();
    behind.sites[0].hosts.push("b.test".parse().unwrap());
    inner.proxy.reload(behind).unwrap();
    outer.proxy =
        Proxy::builder().config(config).certificates(outer.certificates.clone()).workers(1).start().unwrap();
    let answered = |authority: &Authority, name| ask(outer.tls(), authority, name);
    assert!(answered(&inner.authority, "b.test").unwrap().starts_with("HTTP/1.1 200"));
    assert!(answered(&outer.authority, "b.test").is_err());
    assert!(answered(&outer.authority, "a.test").unwrap().starts_with("HTTP/1.1 200"));
    // A name that is neither gets nothing, as before.
    assert!(answered(&inner.authority, "c.test").is_err());
}

#[test]
fn what_does_not_go_together_is_an_error() {
    let http = Upstream::new("http", Target::Tcp { host: "127.0.0.1".into(), port: 1 });
    let raw = upstream("raw", ([127, 0, 0, 1], 1).into());
    let errors = |listener: Listener, site: Site| {
        let builder = Proxy::builder().workers(1).listener(listener).site(site);
        builder
            .upstream(http.clone())
            .upstream(raw.clone())
            .start()
            .err()
            .map(|why| format!("{why:?}"))
            .unwrap_or_default()
    };
    let any = ([127, 0, 0, 1], 0).into();
    let site = |change: fn(&mut Site)| {
        let mut site = Site::new("a", vec!["a.test".parse().unwrap()]);
        change(&mut site);
        site
    };
    let route = |name: &'static str| edge_proxy::config::Route::forward(name);
    let fine = site(|_| {}).route(route("http"));
    assert!(errors(Listener::tcp(any, Forward::to("raw")), fine.clone()).is_empty());
    assert!(errors(Listener::tcp(any, Forward::to("http")), fine.clone()).contains("tcp://HOST:PORT"));
    let mut none = Forward::to("raw");
    none.rate.concurrent = Some(0);
    assert!(errors(Listener::tcp(any, none), fine.clone()).contains("would reject every connection"));
    assert!(errors(Listener::tcp(any, Forward::to("rwa")), fine).contains("did you mean `raw`?"));
    assert!(errors(Listener::plain(any), site(|_| {}).route(route("raw"))).contains("http://HOST:PORT"));
    let both = site(|site| site.passthrough = Some("raw".into())).route(route("http"));
    assert!(errors(Listener::plain(any), both).contains("beside `passthrough`"));
    let alone = |change: fn(&mut Site)| {
        let mut site = site(|site| site.passthrough = Some("raw".into()));
        change(&mut site);
        errors(Listener::plain(any), site)
    };
    assert!(alone(|_| {}).is_empty());
    for (key, change) in [
        ("body_limit", (|site| site.body_limit = Some(1)) as fn(&mut Site)),
        ("request_fields", |site| site.request_fields.remove.push("x-a".into())),
        ("upgrade", |site| site.upgrade.clear()),
    ] {
        let found = alone(change);
        assert!(found.contains(key) && found.contains("beside `passthrough`"), "{key}: {found}");
    }
}
