//! Connections that are forwarded byte for byte: who may open one, where it arrives, and what a client's own PROXY
//! header in it is worth.

mod common;

use common::{Edge, http1};
use edge_http::proxy_protocol::{self, v2};
use edge_proxy::config::{
    Access, Config, Forward, Listener, PlainHttp, Protocol, ProxyOut, Route, Site, Target, Upstream,
};
use edge_proxy::{Proxy, ProxyHandle, Reason};
use rustls::ClientConnection;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};
use testkit::Origin;

/// A service that records what it receives, and says nothing.
fn silent() -> Origin {
    Origin::scripted(|_| None)
}

fn target(address: SocketAddr) -> Target {
    Target::Tcp { host: address.ip().to_string(), port: address.port() }
}

fn raw(name: &str, address: SocketAddr, header: Option<ProxyOut>) -> Upstream {
    Upstream { protocol: Protocol::Tcp, proxy_protocol: header, ..Upstream::new(name, target(address)) }
}

fn start(config: Config) -> ProxyHandle {
    Proxy::builder().config(config).workers(1).start().unwrap()
}

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Connects from this address of the loopback.
fn connect_from(from: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

fn connect(to: SocketAddr) -> TcpStream {
    connect_from(Ipv4Addr::LOCALHOST, to)
}

/// Asserts that the connection is closed without a byte.
#[track_caller]
fn assert_closed(mut stream: TcpStream, what: &str) {
    let mut all = Vec::new();
    match stream.read_to_end(&mut all) {
        Err(why) if why.kind() != ErrorKind::ConnectionReset => panic!("{what}: it is not closed: {why}"),
        _ => assert!(all.is_empty(), "{what}: {}", all.escape_ascii()),
    }
}

/// Waits until a service has received exactly these bytes behind a PROXY header, and returns the source in that header.
#[track_caller]
fn behind_header(service: &Origin, content: &[u8], what: &str) -> Option<SocketAddr> {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        let bytes = service.bytes();
        if let Ok(Some((header, used))) = proxy_protocol::parse(&bytes)
            && bytes.len() >= used + content.len()
        {
            assert_eq!(
                bytes[used..].escape_ascii().to_string(),
                content.escape_ascii().to_string(),
                "{what}"
            );
            return header.source();
        }
        assert!(Instant::now() < until, "{what}: {}", bytes.escape_ascii());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// PROXY headers that a client makes up: of both versions, in both orders.
fn forgeries() -> [Vec<u8>; 2] {
    let first = b"PROXY TCP4 10.9.9.9 192.0.2.1 1 22\r\n".to_vec();
    let mut second = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    second.extend_from_slice(&[10, 9, 9, 9, 192, 0, 2, 1, 0, 1, 0, 22]);
    assert!(v2::parse(&second).is_ok_and(|parsed| parsed.is_some()), "one that would be believed");
    [[&first[..], &second, b"SSH-2.0-x\r\n"].concat(), [&second[..], &first, b"SSH-2.0-x\r\n"].concat()]
}

/// The header of a load balancer that is to be believed.
const REAL: &[u8] = b"PROXY TCP4 203.0.113.7 192.0.2.1 40000 22\r\n";

fn local() -> Vec<ipnet::IpNet> {
    vec!["127.0.0.1/32".parse().unwrap()]
}

#[test]
fn s28_a_client_s_header_inside_a_forward_is_content() {
    for version in [ProxyOut::V1, ProxyOut::V2] {
        for behind_balancer in [false, true] {
            for forged in forgeries() {
                let what = format!("{version:?}, behind a balancer {behind_balancer}");
                let service = silent();
                let mut listener = Listener::tcp(ANY, Forward::to("ssh"));
                if behind_balancer {
                    listener.proxy_protocol = local();
                }
                let upstreams = vec![raw("ssh", service.address(), Some(version))];
                let proxy = start(Config { listeners: vec![listener], upstreams, ..Config::default() });
                let mut stream = connect(proxy.addresses()[0]);
                let header = if behind_balancer { REAL } else { b"" };
                stream.write_all(&[header, &forged].concat()).unwrap();
                let source = behind_header(&service, &forged, &what).unwrap();
                let expected = if behind_balancer {
                    "203.0.113.7:40000".parse().unwrap()
                } else {
                    stream.local_addr().unwrap()
                };
                assert_eq!(source, expected, "{what}");
            }
        }
    }
}

/// An edge that passes TLS of `b.test` through to this service.
fn passing(service: &Origin, header: Option<ProxyOut>, change: impl FnOnce(&mut Config)) -> Edge {
    let origin = Origin::simple();
    let mut edge = Edge::before(origin.address(), 1);
    let mut site = Site::new("b", vec!["b.test".parse().unwrap()]);
    site.passthrough = Some("raw".into());
    edge.config.sites.push(site);
    edge.config.upstreams.push(raw("raw", service.address(), header));
    change(&mut edge.config);
    edge.proxy.reload(edge.config.clone()).unwrap();
    edge
}

/// The ClientHello of a client with this server name.
fn hello(edge: &Edge, name: &str) -> Vec<u8> {
    let name = name.to_owned().try_into().unwrap();
    let mut session = ClientConnection::new(http1(edge.root()), name).unwrap();
    let mut bytes = Vec::new();
    while session.wants_write() {
        session.write_tls(&mut bytes).unwrap();
    }
    bytes
}

#[test]
fn s28_a_client_s_header_before_tls_that_passes_through_is_no_tls() {
    for version in [ProxyOut::V1, ProxyOut::V2] {
        for behind_balancer in [false, true] {
            let service = silent();
            let edge = passing(&service, Some(version), |config| {
                if behind_balancer {
                    config.listeners[1].proxy_protocol = local();
                }
            });
            let header = if behind_balancer { REAL } else { b"" };
            let hello = hello(&edge, "b.test");
            for forged in forgeries() {
                let mut stream = connect(edge.tls());
                stream.write_all(&[header, &forged, &hello].concat()).unwrap();
                assert_closed(stream, "a header in front of the ClientHello");
            }
            assert_eq!(service.connections(), 0);
            // Behind the ClientHello it is content, as everything is.
            let mut stream = connect(edge.tls());
            let content = [&hello[..], &forgeries()[0]].concat();
            stream.write_all(&[header, &content].concat()).unwrap();
            let source = behind_header(&service, &content, "passed through").unwrap();
            let own = stream.local_addr().unwrap();
            assert_eq!(source, if behind_balancer { "203.0.113.7:40000".parse().unwrap() } else { own });
        }
    }
}

fn rejected(proxy: &ProxyHandle, reason: Reason) -> u64 {
    proxy.metrics().rejected.iter().find(|(known, _)| *known == reason).map_or(0, |(_, count)| *count)
}

fn list(ranges: &[&str]) -> Vec<ipnet::IpNet> {
    ranges.iter().map(|range| range.parse().unwrap()).collect()
}

/// The address lists of a forward, and its connections: from where, with which PROXY header, and whether it arrives.
struct Lists {
    allow: &'static [&'static str],
    deny: &'static [&'static str],
    behind_balancer: bool,
    connections: Vec<(Ipv4Addr, Vec<u8>, bool)>,
}

/// Whoever may not connect gets no byte, and neither does the service learn of it. The client is the peer, or the
/// source that a balancer reports, and never both.
#[test]
fn s29_the_lists_of_a_forward_decide_about_the_client() {
    let header = |source: &str| format!("PROXY TCP4 {source} 192.0.2.1 40000 22\r\n").into_bytes();
    let plain = Ipv4Addr::LOCALHOST;
    let other = Ipv4Addr::new(127, 0, 0, 9);
    const LOOPBACK: &[&str] = &["127.0.0.0/8"];
    let lists = |allow: &'static [&'static str],
                 deny: &'static [&'static str],
                 behind_balancer,
                 connections| Lists { allow, deny, behind_balancer, connections };
    let unknown = || b"PROXY UNKNOWN\r\n".to_vec();
    let rounds = [
        lists(LOOPBACK, &["127.0.0.9/32"], false, vec![(plain, vec![], true), (other, vec![], false)]),
        lists(&[], &["127.0.0.0/8"], false, vec![(plain, vec![], false)]),
        // `deny` takes precedence, however narrow the other is.
        lists(&["127.0.0.1/32"], LOOPBACK, false, vec![(plain, vec![], false)]),
        lists(
            &["203.0.113.0/24"],
            &["203.0.113.66/32"],
            true,
            vec![
                (plain, header("203.0.113.7"), true),
                (plain, header("203.0.113.66"), false),
                (plain, header("198.51.100.1"), false),
                // Without a source it is the peer.
                (plain, unknown(), false),
            ],
        ),
        lists(LOOPBACK, &[], true, vec![(plain, header("198.51.100.1"), false), (plain, unknown(), true)]),
    ];
    for Lists { allow, deny, behind_balancer, connections } in rounds {
        let service = silent();
        let mut forward = Forward::to("ssh");
        forward.access = Access { allow: list(allow), deny: list(deny) };
        let mut listener = Listener::tcp(ANY, forward);
        if behind_balancer {
            listener.proxy_protocol = local();
        }
        let upstreams = vec![raw("ssh", service.address(), None)];
        let proxy = start(Config { listeners: vec![listener], upstreams, ..Config::default() });
        let (mut arrived, mut refused) = (0, 0);
        for (from, header, arrives) in connections {
            let what = format!("{allow:?} without {deny:?}: {from} {}", header.escape_ascii());
            let mut stream = connect_from(from, proxy.addresses()[0]);
            let content = format!("from {from}\n");
            let _ = stream.write_all(&[&header[..], content.as_bytes()].concat());
            if arrives {
                arrived += 1;
                assert!(service.wait(|text| text.matches("from ").count() == arrived), "{what}");
            } else {
                refused += 1;
                assert_closed(stream, &what);
            }
        }
        // A worker counts what it has closed.
        let until = Instant::now() + Duration::from_secs(20);
        while rejected(&proxy, Reason::AccessDenied) < refused && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!((service.connections(), rejected(&proxy, Reason::AccessDenied)), (arrived, refused));
    }
}

#[test]
fn s29_tls_that_passes_through_is_for_its_names_and_clients() {
    let service = silent();
    let edge = passing(&service, None, |config| {
        config.sites[1].access = Access { allow: Vec::new(), deny: list(&["127.0.0.9/32"]) };
        // A trusted proxy speaks for others in requests alone.
        config.trust.ranges = list(&["127.0.0.9/32"]);
    });
    let send = |from: Ipv4Addr, bytes: &[u8]| {
        let mut stream = connect_from(from, edge.tls());
        stream.write_all(bytes).unwrap();
        stream
    };
    let local = Ipv4Addr::LOCALHOST;
    for name in ["c.test", "b.test.example", "xb.test", "127.0.0.1"] {
        assert_closed(send(local, &hello(&edge, name)), name);
    }
    assert_closed(send(Ipv4Addr::new(127, 0, 0, 9), &hello(&edge, "b.test")), "denied");
    assert_closed(send(local, b"SSH-2.0-x\r\n"), "no TLS");
    assert_eq!(service.connections(), 0);
    let hello = hello(&edge, "b.test");
    let _open = send(local, &hello);
    assert!(service.wait(|_| service.bytes() == hello), "{}", service.text());
}

/// Each connection arrives at the upstream of its listener, or at that of its site and server name.
#[test]
fn s29_no_connection_arrives_at_another_upstream() {
    let services: [Origin; 6] = std::array::from_fn(|_| silent());
    let [one, two, passed, inside, web, both] = &services;
    let mut edge = Edge::before(web.address(), 1);
    edge.authority.write(&edge.folder.path().join("c"), &["c.test", "both.test"]);
    edge.certificates.refresh().unwrap();
    let tls = |name: &str| Listener::tls(ANY).named(name);
    edge.config.listeners = vec![
        Listener::tcp(ANY, Forward::to("one")).named("public"),
        Listener::tcp(ANY, Forward::to("two")),
        tls("public"),
        tls("tailnet"),
    ];
    let site = |name: &str, upstream: &str, listen: &[&str]| {
        let mut site = Site::new(name, vec![name.parse().unwrap()]);
        site.passthrough = Some(upstream.into());
        site.listen = listen.iter().map(|name| (*name).to_owned()).collect();
        site
    };
    edge.config.sites.push(site("b.test", "passed", &[]));
    edge.config.sites.push(site("*.b.test", "inside", &["tailnet"]));
    // The same address for both: TLS that passes through, and requests of another site.
    edge.config.sites.push(site("raw.test", "raw", &[]));
    let mut both_site = Site::new("both", vec!["both.test".parse().unwrap()]).route(Route::forward("http"));
    both_site.plain = PlainHttp::Serve;
    edge.config.sites.push(both_site);
    edge.config.upstreams.extend([
        raw("one", one.address(), None),
        raw("two", two.address(), None),
        raw("passed", passed.address(), None),
        raw("inside", inside.address(), None),
        raw("raw", both.address(), None),
        Upstream::new("http", target(both.address())),
    ]);
    edge.proxy.reload(edge.config.clone()).unwrap();
    let [first, second, public, tailnet] = edge.proxy.addresses()[..] else { panic!("four listeners") };
    let cases = [
        (first, "b.test", Some(0)),
        (first, "a.test", Some(0)),
        (second, "b.test", Some(1)),
        (public, "b.test", Some(2)),
        (tailnet, "b.test", Some(2)),
        (tailnet, "x.b.test", Some(3)),
        (public, "x.b.test", None),
        (public, "raw.test", Some(5)),
        // Those end here, with a handshake: their upstreams learn of nothing before a request.
        (public, "a.test", None),
        (tailnet, "a.test", None),
        (public, "both.test", None),
        (public, "c.test", None),
    ];
    let counts = || services.each_ref().map(Origin::connections);
    for (address, name, expected) in cases {
        let (before, hello) = (counts(), hello(&edge, name));
        let mut stream = connect(address);
        stream.write_all(&hello).unwrap();
        let mut wanted = before;
        if let Some(at) = expected {
            wanted[at] += 1;
            assert!(services[at].wait(|_| services[at].bytes().ends_with(&hello)), "{address} {name}");
        } else {
            // Whatever is answered, or the end.
            let _ = stream.read(&mut [0; 16]);
        }
        assert_eq!(counts(), wanted, "{address} {name}");
    }
}

/// A connection that waits while a reload makes its upstream one for HTTP does not arrive there.
#[test]
fn s29_a_name_that_becomes_one_of_http_is_no_way_around() {
    const REQUEST: &[u8] = b"GET /forged HTTP/1.1\r\nHost: a.test\r\nX-Real-IP: 10.0.0.1\r\n\r\n";
    let (service, web) = (silent(), Origin::simple());
    let mut edge = passing(&service, None, |config| {
        let mut listener = Listener::tcp(ANY, Forward::to("raw"));
        listener.proxy_protocol = local();
        config.listeners.push(listener);
    });
    let forward = edge.proxy.addresses()[2];
    // One that has not said yet who it is, and one in the middle of its ClientHello.
    let (mut waiting, mut passed) = (connect(forward), connect(edge.tls()));
    let hello = hello(&edge, "b.test");
    waiting.write_all(&REAL[..8]).unwrap();
    passed.write_all(&hello[..40]).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    edge.config.listeners.pop();
    edge.config.sites[1].passthrough = None;
    edge.config.sites[1].routes = vec![Route::forward("raw")];
    *edge.config.upstreams.last_mut().unwrap() = Upstream::new("raw", target(web.address()));
    edge.proxy.reload(edge.config.clone()).unwrap();
    waiting.write_all(&[&REAL[8..], REQUEST].concat()).unwrap();
    passed.write_all(&hello[40..]).unwrap();
    assert_closed(waiting, "forwarded");
    assert_closed(passed, "passed through");
    assert_eq!((service.connections(), web.connections()), (0, 0), "{}", web.text());
}
