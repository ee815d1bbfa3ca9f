//! Client certificates of a site: asked for anew on every connection, told to the service, and never gone past.

mod common;

use common::{Edge, read_until};
use edge_proxy::Reason;
use edge_proxy::config::{
    Action, CertificateField, CertificateMode, ClientCertificates, PathMatch, PlainHttp, Route, Site,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::io::Write;
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use testkit::{Authority, Origin};

type Tls = rustls::StreamOwned<rustls::ClientConnection, TcpStream>;

/// An edge whose site `a.test` takes everybody, and whose site `b.test` asks for client certificates.
struct Lab {
    edge: Edge,
    origin: Origin,
    clients: Authority,
    ca: PathBuf,
    crl: PathBuf,
}

impl Lab {
    fn new(change: impl FnOnce(&mut ClientCertificates, &mut Site)) -> Self {
        let origin = Origin::simple();
        let mut edge = Edge::before(origin.address(), 1);
        let clients = Authority::named("the authority of clients");
        let (ca, crl) = (edge.folder.path().join("clients.pem"), edge.folder.path().join("revoked.pem"));
        std::fs::write(&ca, clients.root()).unwrap();
        edge.authority.write(&edge.folder.path().join("b"), &["b.test"]);
        edge.certificates.refresh().unwrap();
        let mut site = Site::new("b.test", vec!["b.test".parse().unwrap()]).route(Route::forward("origin"));
        let mut asked = ClientCertificates::required(&ca);
        change(&mut asked, &mut site);
        site.client_certificates = Some(asked);
        edge.config.sites.push(site);
        edge.proxy.reload(edge.config.clone()).unwrap();
        Self { edge, origin, clients, ca, crl }
    }

    /// The configuration of a client with this certificate and key.
    fn client(&self, pair: Option<&(String, String)>) -> Arc<rustls::ClientConfig> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.edge.root().as_bytes()).unwrap()).unwrap();
        let builder = rustls::ClientConfig::builder_with_provider(Arc::new(
            rustls::crypto::aws_lc_rs::default_provider(),
        ))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
        Arc::new(match pair {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).map(Result::unwrap).collect();
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        })
    }

    fn connect(&self, sni: &'static str, config: &Arc<rustls::ClientConfig>) -> Tls {
        let session = rustls::ClientConnection::new(config.clone(), sni.try_into().unwrap()).unwrap();
        let stream = TcpStream::connect(self.edge.tls()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        rustls::StreamOwned::new(session, stream)
    }

    /// Sends a request and returns the head of the response, or the error of the connection.
    fn ask(&self, tls: &mut Tls, host: &str, path: &str, fields: &str) -> std::io::Result<String> {
        write!(tls, "GET {path} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n")?;
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            if std::io::Read::read(tls, &mut byte)? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            head.push(byte[0]);
        }
        Ok(String::from_utf8(head).unwrap())
    }

    fn rejected(&self, reason: Reason) -> u64 {
        let metrics = self.edge.proxy.metrics();
        metrics.rejected.iter().find(|(known, _)| *known == reason).map_or(0, |(_, count)| *count)
    }
}

#[test]
fn s26_a_certificate_is_told_and_cannot_be_claimed() {
    let lab = Lab::new(|asked, _| {
        asked.fields.push(("X-Client-DN".into(), CertificateField::Subject));
        asked.fields.push(("X-Client-Serial".into(), CertificateField::Serial));
        asked.fields.push(("X-Client-Verify".into(), CertificateField::Verified));
    });
    let known = lab.client(Some(&lab.clients.issue_client("Ann", 0x1234)));
    let mut tls = lab.connect("b.test", &known);
    // What the client claims itself never goes on, in any spelling.
    let forged =
        "Client-Cert: :Zm9yZ2Vk:\r\nclient_cert: forged\r\nX-Client-Dn: CN=root\r\nX_Client_DN: CN=root\r\n";
    let head = lab.ask(&mut tls, "b.test", "/", forged).unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let seen = lab.origin.text();
    assert!(seen.contains("X-Client-DN: CN=Ann,O=Example\\, Ltd.\r\n"), "{seen}");
    assert!(seen.contains("X-Client-Serial: 1234\r\n"), "{seen}");
    assert!(seen.contains("X-Client-Verify: SUCCESS\r\n"), "{seen}");
    assert!(seen.contains("Client-Cert: :MII"), "{seen}");
    assert!(!seen.to_ascii_lowercase().contains("root") && !seen.contains("Zm9yZ2Vk"), "{seen}");
    // A site that asks for none strips them too.
    let mut other = lab.connect("a.test", &lab.client(None));
    assert!(lab.ask(&mut other, "a.test", "/other", forged).unwrap().starts_with("HTTP/1.1 200"));
    let seen = lab.origin.text();
    let seen = &seen[seen.find("/other").unwrap()..];
    assert!(!seen.contains("forged") && !seen.contains("CN=root"), "{seen}");
}

#[test]
fn strangers_end_in_the_handshake() {
    let lab = Lab::new(|_, _| {});
    let stranger = Authority::named("another authority").issue_client("Ann", 1);
    let expired = lab.clients.issue_expired(&["ann"]);
    for pair in [None, Some(&stranger), Some(&expired)] {
        let before = lab.rejected(Reason::ClientCertificateRejected);
        let mut tls = lab.connect("b.test", &lab.client(pair));
        assert!(lab.ask(&mut tls, "b.test", "/", "").is_err());
        let end = Instant::now() + Duration::from_secs(10);
        while lab.rejected(Reason::ClientCertificateRejected) == before && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(lab.rejected(Reason::ClientCertificateRejected), before + 1, "{}", pair.is_some());
    }
    assert_eq!(lab.origin.connections(), 0);
}

#[test]
fn s25_a_certificate_that_is_revoked_is_refused_from_the_reload_on() {
    let mut lab = Lab::new(|_, _| {});
    let pair = lab.clients.issue_client("Ann", 7);
    let config = lab.client(Some(&pair));
    let mut open = lab.connect("b.test", &config);
    assert!(lab.ask(&mut open, "b.test", "/", "").unwrap().starts_with("HTTP/1.1 200"));
    let _ = read_until(&mut open, "ok");
    let set = |lab: &mut Lab, list: String| {
        std::fs::write(&lab.crl, list).unwrap();
        let asked = lab.edge.config.sites[1].client_certificates.as_mut().unwrap();
        asked.crl = Some(lab.crl.clone());
        lab.edge.proxy.reload(lab.edge.config.clone()).unwrap();
    };
    // Another one is revoked.
    let list = lab.clients.revoke(&[8], 2090);
    set(&mut lab, list);
    // The open connection was verified by other rules: its client has to come again, which the same certificate allows.
    assert!(lab.ask(&mut open, "b.test", "/", "").unwrap().starts_with("HTTP/1.1 421"));
    let mut again = lab.connect("b.test", &config);
    assert!(lab.ask(&mut again, "b.test", "/", "").unwrap().starts_with("HTTP/1.1 200"));
    // An unchanged list is no other rule.
    let list = lab.clients.revoke(&[8], 2090);
    set(&mut lab, list);
    // A session ticket of before is of no use.
    for (revoked, until) in [(7, 2090), (8, 2022)] {
        let list = lab.clients.revoke(&[revoked], until);
        set(&mut lab, list);
        let mut refused = lab.connect("b.test", &config);
        assert!(lab.ask(&mut refused, "b.test", "/", "").is_err(), "{revoked} until {until}");
    }
}

#[test]
fn s25_no_session_is_resumed() {
    let lab = Lab::new(|_, _| {});
    let config = lab.client(Some(&lab.clients.issue_client("Ann", 7)));
    for version in ["first", "second", "third"] {
        let mut tls = lab.connect("b.test", &config);
        assert!(lab.ask(&mut tls, "b.test", "/", "").unwrap().starts_with("HTTP/1.1 200"));
        assert_eq!(tls.conn.handshake_kind(), Some(rustls::HandshakeKind::Full), "{version}");
    }
    // Without the authority's file nothing changes.
    std::fs::write(&lab.ca, "nothing").unwrap();
    let error = lab.edge.proxy.reload(lab.edge.config.clone()).unwrap_err();
    assert!(error.to_string().contains("b.test"), "{error}");
    let mut tls = lab.connect("b.test", &config);
    assert!(lab.ask(&mut tls, "b.test", "/", "").unwrap().starts_with("HTTP/1.1 200"));
}

#[test]
fn s25_a_host_of_the_site_on_another_connection_is_misdirected() {
    let lab = Lab::new(|_, _| {});
    let mut tls = lab.connect("a.test", &lab.client(None));
    assert!(lab.ask(&mut tls, "b.test", "/", "").unwrap().starts_with("HTTP/1.1 421"));
    // A site that begins to ask has connections that were never asked.
    let mut config = lab.edge.config.clone();
    config.sites[0].plain = PlainHttp::Redirect;
    config.sites[0].client_certificates = Some(ClientCertificates::required(&lab.ca));
    let mut open = lab.connect("a.test", &lab.client(None));
    assert!(lab.ask(&mut open, "a.test", "/here", "").unwrap().starts_with("HTTP/1.1 200"));
    let _ = read_until(&mut open, "ok");
    lab.edge.proxy.reload(config).unwrap();
    assert!(lab.ask(&mut open, "a.test", "/here", "").unwrap().starts_with("HTTP/1.1 421"));
}

#[test]
fn a_route_needs_a_certificate_where_the_site_takes_clients_without() {
    let lab = Lab::new(|asked, site| {
        asked.mode = CertificateMode::Optional;
        let mut admin =
            Route::new(PathMatch::Prefix("/admin".into()), Action::Forward { upstream: "origin".into() });
        admin.require_certificate = true;
        site.routes.push(admin);
    });
    let known = lab.client(Some(&lab.clients.issue_client("Ann", 7)));
    let stranger = lab.client(Some(&Authority::named("another").issue_client("Ann", 7)));
    let status = |config: &Arc<rustls::ClientConfig>, path: &str| {
        let mut tls = lab.connect("b.test", config);
        lab.ask(&mut tls, "b.test", path, "").map(|head| head[9..12].to_owned())
    };
    assert_eq!(status(&known, "/admin/x").unwrap(), "200");
    assert_eq!(status(&lab.client(None), "/").unwrap(), "200");
    assert_eq!(status(&lab.client(None), "/admin/x").unwrap(), "403");
    // Other readings of the path are the same decision.
    for path in ["/ADMIN/x", "/%61dmin/x", "//admin/x", "/x/../admin/x"] {
        let got = status(&lab.client(None), path).unwrap();
        assert!(["400", "403"].contains(&got.as_str()), "{path}: {got}");
    }
    assert!(status(&stranger, "/").is_err());
}
