//! Resumption beside client certificates: no session of before, of another name or of another edge takes the place of a
//! certificate.

mod common;

use common::any_name::AnyName;
use common::memory_store::Memory;
use common::{Edge, read_until};
use edge_proxy::config::{ClientCertificates, PlainHttp, Route, Site};
use edge_proxy::{Proxy, ProxyHandle, Shared};
use rustls::client::Resumption;
use rustls::{ClientConfig, HandshakeKind, SupportedProtocolVersion};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use testkit::{Authority, Origin};

/// A client that shows its sessions under whatever name, with early data where it can.
struct Attacker {
    tls: Arc<ClientConfig>,
    sessions: Arc<AnyName>,
}

/// The end of a visit.
#[derive(Debug)]
struct Visit {
    kind: HandshakeKind,
    /// True if early data was sent, and if it was accepted.
    early: (bool, bool),
    response: String,
}

impl Attacker {
    fn new(root: &str, pair: Option<&(String, String)>, version: &'static SupportedProtocolVersion) -> Self {
        let sessions = AnyName::new();
        let mut tls = common::client(root, pair, &[b"http/1.1"], &[version]);
        tls.resumption = Resumption::store(sessions.clone());
        tls.enable_early_data = true;
        Self { tls: Arc::new(tls), sessions }
    }

    /// Asks for `/late` at this site, and for `/early` in early data if a session allows it.
    fn visit(&self, address: SocketAddr, name: &'static str) -> std::io::Result<Visit> {
        let mut session = rustls::ClientConnection::new(self.tls.clone(), name.try_into().unwrap()).unwrap();
        let request = |path: &str, more: &str| format!("GET {path} HTTP/1.1\r\nHost: {name}\r\n{more}\r\n");
        let sent = match session.early_data() {
            Some(mut early) => early.write_all(request("/early", "").as_bytes()).is_ok(),
            None => false,
        };
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut tls = rustls::StreamOwned::new(session, stream);
        while tls.conn.is_handshaking() {
            tls.conn.complete_io(&mut tls.sock)?;
        }
        tls.write_all(request("/late", "Connection: close\r\n").as_bytes())?;
        let mut response = String::new();
        match tls.read_to_string(&mut response) {
            Err(why) if why.kind() != std::io::ErrorKind::UnexpectedEof => return Err(why),
            _ => {}
        }
        let kind = tls.conn.handshake_kind().unwrap();
        Ok(Visit { kind, early: (sent, tls.conn.is_early_data_accepted()), response })
    }

    /// Visits a site so often that there are sessions to show, and one visit resumes one.
    fn collect(&self, address: SocketAddr, name: &'static str) {
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed, HandshakeKind::Resumed] {
            let visit = self.visit(address, name).unwrap();
            assert_eq!(visit.kind, kind, "{visit:?}");
            assert!(visit.response.contains("HTTP/1.1 200 OK"), "{visit:?}");
            // What is stored is stored a little later.
            std::thread::sleep(Duration::from_millis(150));
        }
    }

    /// Asserts that sessions are shown at this site and are of no use there: the handshake is a full one with a certificate, or
    /// fails without.
    fn assert_in_vain(&self, address: SocketAddr, name: &'static str, has_certificate: bool, early: bool) {
        let before = self.sessions.shown();
        let visit = self.visit(address, name);
        assert_eq!(self.sessions.shown(), before + 1, "no session was shown");
        match visit {
            Ok(visit) => {
                assert!(has_certificate, "{visit:?}");
                assert_eq!((visit.kind, visit.early), (HandshakeKind::Full, (early, false)), "{visit:?}");
                assert!(visit.response.starts_with("HTTP/1.1 200 OK"), "{visit:?}");
            }
            Err(why) => assert!(!has_certificate, "{why}"),
        }
    }
}

/// Makes a site ask for client certificates of this authority.
fn asks(edge: &mut Edge, site: usize, clients: &Authority) {
    let ca = edge.folder.path().join("clients.pem");
    std::fs::write(&ca, clients.root()).unwrap();
    let site = &mut edge.config.sites[site];
    (site.plain, site.early_data) = (PlainHttp::Redirect, false);
    site.client_certificates = Some(ClientCertificates::required(ca));
}

/// An edge with `a.test` and `b.test`, which both take early data if told to.
fn edge(origin: &Origin, early: bool) -> Edge {
    let mut edge = Edge::before(origin.address(), 1);
    edge.authority.write(&edge.folder.path().join("b"), &["b.test"]);
    edge.certificates.refresh().unwrap();
    edge.config.sites.push(Site::new("b", vec!["b.test".parse().unwrap()]).route(Route::forward("origin")));
    edge.config.sites.iter_mut().for_each(|site| site.early_data = early);
    edge.proxy.reload(edge.config.clone()).unwrap();
    edge
}

#[test]
fn s25_a_session_takes_the_place_of_no_certificate() {
    let clients = Authority::named("the authority of clients");
    let pair = clients.issue_client("Ann", 7);
    // Where early data is accepted, the sessions of TLS 1.3 allow it.
    for (version, early) in [
        (&rustls::version::TLS13, true),
        (&rustls::version::TLS13, false),
        (&rustls::version::TLS12, true),
        (&rustls::version::TLS12, false),
    ] {
        // A session of another site, and one of the same site from before it asked.
        for of in ["a.test", "b.test"] {
            for pair in [Some(&pair), None] {
                let origin = Origin::simple();
                let mut edge = edge(&origin, early);
                let attacker = Attacker::new(edge.root(), pair, version);
                attacker.collect(edge.tls(), of);
                asks(&mut edge, 1, &clients);
                edge.proxy.reload(edge.config.clone()).unwrap();
                let served = origin.text().matches("/early").count();
                let in_early_data = early && *version == rustls::version::TLS13;
                assert_eq!(served > 0, in_early_data);
                attacker.assert_in_vain(edge.tls(), "b.test", pair.is_some(), in_early_data);
                let seen = origin.text();
                let what = format!("{version:?}, early data {early}, of {of}, {}: {seen}", pair.is_some());
                assert_eq!(seen.matches("/early").count(), served, "{what}");
                assert_eq!(seen.matches("Client-Cert: :MII").count(), usize::from(pair.is_some()), "{what}");
                // At the site that does not ask they are what they were.
                if of == "a.test" && pair.is_some() && *version == rustls::version::TLS12 {
                    assert_eq!(attacker.visit(edge.tls(), of).unwrap().kind, HandshakeKind::Resumed);
                }
            }
        }
    }
}

/// An edge that shares its sessions with others by this store.
fn sharing(edge: &Edge, store: &Arc<Memory>) -> ProxyHandle {
    let proxy = Proxy::builder()
        .config(edge.config.clone())
        .certificates(edge.certificates.clone())
        .shared(Shared::new(store.clone(), b"a secret of edges, long enough to be one").unwrap())
        .workers(1)
        .start()
        .unwrap();
    let until = Instant::now() + Duration::from_secs(10);
    while !proxy.metrics().shared.is_some_and(|shared| shared.reached && shared.keys > 0) {
        assert!(Instant::now() < until, "the keys do not come");
        std::thread::sleep(Duration::from_millis(10));
    }
    proxy
}

#[test]
fn s25_shared_sessions_take_the_place_of_no_certificate() {
    let clients = Authority::named("the authority of clients");
    let pair = clients.issue_client("Ann", 7);
    for early in [true, false] {
        let (origin, store) = (Origin::simple(), Arc::new(Memory::default()));
        let mut edge = edge(&origin, early);
        edge.proxy = sharing(&edge, &store);
        // Each comes twice: to the edge that the sessions are of, and to another.
        let visitors = [Some(&pair), None].map(|pair| {
            let attackers = [0, 1].map(|_| Attacker::new(edge.root(), pair, &rustls::version::TLS13));
            attackers.iter().for_each(|attacker| attacker.collect(edge.tls(), "a.test"));
            (pair, attackers)
        });
        let until = Instant::now() + Duration::from_secs(10);
        // Sessions with early data are in the store, others are tickets.
        while early && store.taken() < 8 && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(store.taken(), if early { 8 } else { 0 }, "two resumptions of each of four");
        asks(&mut edge, 0, &clients);
        edge.proxy.reload(edge.config.clone()).unwrap();
        let other = sharing(&edge, &store);
        let (taken, served) = (store.taken(), origin.text().matches("/early").count());
        assert_eq!(served > 0, early);
        for (pair, [here, there]) in &visitors {
            here.assert_in_vain(edge.tls(), "a.test", pair.is_some(), early);
            there.assert_in_vain(other.addresses()[1], "a.test", pair.is_some(), early);
        }
        // The store is not even asked.
        assert_eq!(store.taken(), taken, "early data {early}");
        let seen = origin.text();
        assert_eq!(seen.matches("/early").count(), served, "{seen}");
        assert_eq!(seen.matches("Client-Cert: :MII").count(), 2, "{seen}");
    }
}

/// Renegotiation (RFC 5246 §7.4.1) would let a client change who it is behind the certificate that was verified (CVE-2009-3555).
#[test]
fn s32_renegotiation_ends_the_connection() {
    let (origin, clients) = (Origin::simple(), Authority::named("the authority of clients"));
    let mut edge = edge(&origin, false);
    asks(&mut edge, 1, &clients);
    edge.proxy.reload(edge.config.clone()).unwrap();
    let file = |name: &str, text: &str| {
        let path = edge.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let (chain, key) = clients.issue_client("Ann", 7);
    let mut child = Command::new("openssl")
        .args(["s_client", "-tls1_2", "-servername", "b.test", "-connect", &edge.tls().to_string()])
        .arg("-CAfile")
        .arg(file("root.pem", edge.root()))
        .arg("-cert")
        .arg(file("client.pem", &chain))
        .arg("-key")
        .arg(file("client.key", &key))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("openssl is there; cargo xtask tools installs it");
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"GET /first HTTP/1.1\r\nHost: b.test\r\n\r\n").unwrap();
    // The whole response has come, so that nothing but the answer to the renegotiation can come after it.
    let mut stdout = child.stdout.take().unwrap();
    let response = read_until(&mut stdout, "\r\n\r\nok");
    assert!(response.contains("HTTP/1.1 200 OK"), "{response}");
    assert!(origin.text().contains("GET /first"), "{}", origin.text());
    // What follows is read, so that openssl does not wait for it.
    std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
    let (said, heard) = std::sync::mpsc::channel();
    let stderr = BufReader::new(child.stderr.take().unwrap());
    std::thread::spawn(move || stderr.lines().map_while(Result::ok).for_each(|line| drop(said.send(line))));
    // A line of its own is a command.
    stdin.write_all(b"R\n").unwrap();
    let mut lines = Vec::new();
    while !lines.iter().any(|line: &String| line.contains("RENEGOTIATING")) {
        lines.push(heard.recv_timeout(Duration::from_secs(20)).unwrap_or_else(|_| panic!("{lines:?}")));
    }
    // Whatever is sent from now on belongs to nobody.
    let _ = stdin.write_all(b"GET /second HTTP/1.1\r\nHost: b.test\r\n\r\n");
    let until = Instant::now() + Duration::from_secs(20);
    while child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < until, "the connection does not end: {lines:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
    lines.extend(heard.iter());
    assert!(lines.iter().any(|line| line.contains("no renegotiation")), "{lines:?}");
    assert!(!origin.text().contains("/second"), "{}", origin.text());
}
