//! Failures of TLS with services: the access record, the status of the target and the event of its ejection name the
//! cause. Pinned certificates and keys.

use super::{RecordingObserver, edge, failure, get, says, tcp};
use edge_proxy::ProxyHandle;
use edge_proxy::config::{Pin, Upstream, UpstreamTls};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use testkit::{Authority, answer};

/// A TLS service that answers 200.
fn tls_service(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> SocketAddr {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    // Nothing compares the key with the certificate.
    let key = provider.key_provider.load_private_key(key).unwrap();
    let identity = rustls::sign::SingleCertAndKey::from(rustls::sign::CertifiedKey::new(chain, key));
    serving(Arc::new(identity))
}

/// A TLS service with certificates of this resolver that answers 200.
fn serving(resolver: Arc<dyn rustls::server::ResolvesServerCert>) -> SocketAddr {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut session = rustls::ServerConnection::new(config.clone()).unwrap();
            std::thread::spawn(move || {
                let mut tls = rustls::Stream::new(&mut session, &mut stream);
                while let Ok(1..) = tls.read(&mut [0; 4096]) {
                    let _ = tls.write_all(&answer("ok"));
                }
            });
        }
    });
    address
}

pub(crate) fn secured(address: SocketAddr, tls: UpstreamTls) -> Upstream {
    let mut upstream = Upstream::new("service", tcp(address));
    upstream.tls = Some(tls);
    upstream
}

#[test]
fn tls_failures_say_which() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, authority.root()).unwrap();
    let (chain, key) = authority.pair(&["node.internal"]);
    let address = tls_service(chain, key);
    let tls = |name: &str| UpstreamTls {
        ca: Some(ca.clone()),
        server_name: Some(name.into()),
        ..Default::default()
    };
    assert_eq!(failure(secured(address, tls("node.internal"))).0, "200");
    let (status, error) = failure(secured(address, tls("other.internal")));
    assert!(status == "502" && error.contains("certificate is for another name"), "{status} {error}");
    let other = folder.path().join("other.pem");
    std::fs::write(&other, Authority::new().root()).unwrap();
    let unknown = UpstreamTls { ca: Some(other), ..tls("node.internal") };
    let (status, error) = failure(secured(address, unknown));
    assert!(status == "502" && error.contains("issuer of its certificate is unknown"), "{status} {error}");
    let (status, error) = failure(secured(says(b"HTTP/1.1 400 Bad Request\r\n\r\n"), tls("node.internal")));
    assert!(status == "502" && error.contains("does not speak TLS"), "{status} {error}");
}

/// A TLS service whose certificate can be replaced, with 200 for whoever reaches it.
#[derive(Debug)]
struct Renewed(Mutex<Arc<rustls::sign::CertifiedKey>>);

impl rustls::server::ResolvesServerCert for Renewed {
    fn resolve(&self, _: rustls::server::ClientHello<'_>) -> Option<Arc<rustls::sign::CertifiedKey>> {
        Some(self.0.lock().unwrap().clone())
    }
}

/// Returns the pair in PEM as rustls has it.
fn certified((chain, key): (String, String)) -> Arc<rustls::sign::CertifiedKey> {
    let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let key = rustls::crypto::aws_lc_rs::default_provider().key_provider.load_private_key(key).unwrap();
    Arc::new(rustls::sign::CertifiedKey::new(chain, key))
}

/// A server of OpenSSL that speaks TLS 1.1 only.
struct OldServer {
    child: Child,
    address: SocketAddr,
}

impl OldServer {
    fn start(folder: &Path, (chain, key): (String, String)) -> Self {
        let (pem, port) = (folder.join("old.pem"), testkit::free_port());
        std::fs::write(&pem, chain + &key).unwrap();
        let child = Command::new("openssl")
            .args(["s_server", "-quiet", "-www", "-tls1_1", "-cipher", "ALL:@SECLEVEL=0", "-accept"])
            .arg(format!("127.0.0.1:{port}"))
            .arg("-cert")
            .arg(&pem)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl is missing: apt-get install openssl");
        let server = Self { child, address: ([127, 0, 0, 1], port).into() };
        for _ in 0..200 {
            if TcpStream::connect(server.address).is_ok() {
                return server;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("openssl s_server does not listen at {}", server.address);
    }
}

impl Drop for OldServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asserts that requests to this service fail by `cause`, which the access record, the status of the target and the
/// event of its ejection name. Returns the proxy with its notes.
#[track_caller]
fn assert_fails_by(mut upstream: Upstream, cause: &str) -> (ProxyHandle, Arc<RecordingObserver>) {
    upstream.health.rules.eject = Duration::from_millis(300);
    let target = upstream.targets[0].to_string();
    let notes = Arc::new(RecordingObserver::default());
    let proxy = edge(upstream, &notes);
    for _ in 0..10 {
        if !notes.targets.lock().unwrap().is_empty() {
            break;
        }
        assert!(get(&proxy).starts_with("HTTP/1.1 502 "));
    }
    let (last, _) = proxy.targets()[0].last_failure.unwrap();
    assert_eq!(last.to_string(), cause);
    // On a busy machine the ejection may be over already.
    let told = notes.targets.lock().unwrap().first().cloned();
    assert_eq!(told, Some(format!("service {target} ejected for 300ms: {cause}")));
    let first = notes.errors.lock().unwrap().first().cloned().flatten();
    assert_eq!(first, Some(format!("{target}: {cause}")));
    (proxy, notes)
}

#[test]
fn each_failure_of_tls_is_in_the_record_the_status_and_the_ejection() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, root: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, root).unwrap();
        path
    };
    let (ours, other) = (write("ca.pem", authority.root()), write("other.pem", Authority::new().root()));
    let service = |(chain, key)| {
        let pair = certified((chain, key));
        let resolver = Arc::new(Renewed(Mutex::new(pair)));
        (serving(resolver.clone()), resolver)
    };
    let tls = |ca: &Path, name: &str| UpstreamTls {
        ca: Some(ca.into()),
        server_name: Some(name.into()),
        ..Default::default()
    };
    let (address, _) = service(authority.issue(&["node.internal"]));
    assert_fails_by(
        secured(address, tls(&other, "node.internal")),
        "TLS: the issuer of its certificate is unknown: tls.ca, or pin it by tls.pin",
    );
    assert_fails_by(
        secured(address, tls(&ours, "other.internal")),
        "TLS: its certificate is for another name: tls.server_name, or pin it by tls.pin",
    );
    let (address, _) = service(authority.issue_between(&["node.internal"], 3000, 3001));
    assert_fails_by(secured(address, tls(&ours, "node.internal")), "TLS: its certificate is not valid yet");
    let old = OldServer::start(folder.path(), authority.issue(&["node.internal"]));
    assert_fails_by(
        secured(old.address, tls(&ours, "node.internal")),
        "TLS: no version in common: 1.2 and 1.3 are spoken here",
    );
    let (address, resolver) = service(authority.issue_expired(&["node.internal"]));
    let (proxy, notes) =
        assert_fails_by(secured(address, tls(&ours, "node.internal")), "TLS: its certificate has expired");
    // With a new certificate it is back.
    *resolver.0.lock().unwrap() = certified(authority.issue(&["node.internal"]));
    std::thread::sleep(Duration::from_millis(400));
    assert!(get(&proxy).starts_with("HTTP/1.1 200 "));
    assert_eq!(notes.targets.lock().unwrap().last(), Some(&format!("service {address} back")));
}

/// A certificate as `openssl req -x509` makes it: signed by itself, an authority, without a name but the common one.
fn self_signed(folder: &Path) -> (SocketAddr, Pin, Pin) {
    let mut parameters = rcgen::CertificateParams::default();
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    parameters.distinguished_name.push(rcgen::DnType::CommonName, "printer");
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = parameters.self_signed(&key).unwrap();
    let path = folder.join("printer.pem");
    std::fs::write(&path, certificate.pem()).unwrap();
    let hash = aws_lc_rs::digest::digest(
        &aws_lc_rs::digest::SHA256,
        &rcgen::PublicKeyData::subject_public_key_info(&key),
    );
    let hexadecimal: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let address =
        tls_service(vec![certificate.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap());
    (address, Pin::Certificate(path), format!("sha256:{hexadecimal}").parse().unwrap())
}

#[test]
fn a_pinned_certificate_needs_no_authority_and_no_name() {
    let folder = tempfile::tempdir().unwrap();
    let (address, certificate, key) = self_signed(folder.path());
    let pinned = |pin: &Pin| UpstreamTls { pins: vec![pin.clone()], ..Default::default() };
    for pin in [&certificate, &key] {
        assert_eq!(failure(secured(address, pinned(pin))), ("200".to_owned(), String::new()), "{pin:?}");
    }
    let other = tempfile::tempdir().unwrap();
    let (_, certificate, key) = self_signed(other.path());
    for pin in [&certificate, &key] {
        let (status, error) = failure(secured(address, pinned(pin)));
        assert!(status == "502" && error.contains("tls.pin"), "{status} {error}");
    }
    // As its own authority it is refused as before, with a word about what would do.
    let Pin::Certificate(path) = self_signed(folder.path()).1 else { panic!("no file") };
    let tls = UpstreamTls { ca: Some(path), server_name: Some("printer".into()), ..Default::default() };
    let (status, error) = failure(secured(address, tls));
    assert!(status == "502" && error.contains("TLS: "), "{status} {error}");
}

#[test]
fn a_pin_holds_beyond_the_dates_and_for_the_owner_of_the_key_alone() {
    let folder = tempfile::tempdir().unwrap();
    let mut parameters = rcgen::CertificateParams::default();
    parameters.not_before = rcgen::date_time_ymd(2001, 1, 1);
    parameters.not_after = rcgen::date_time_ymd(2002, 1, 1);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = parameters.self_signed(&key).unwrap();
    let path = folder.path().join("expired.pem");
    std::fs::write(&path, certificate.pem()).unwrap();
    let service = |key: &rcgen::KeyPair| {
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let tls = UpstreamTls { pins: vec![Pin::Certificate(path.clone())], ..Default::default() };
        failure(secured(tls_service(vec![certificate.der().clone()], key), tls))
    };
    assert_eq!(service(&key), ("200".to_owned(), String::new()));
    let (status, error) = service(&rcgen::KeyPair::generate().unwrap());
    assert!(status == "502" && error.contains("TLS"), "{status} {error}");
}

#[test]
fn certificates_of_openssl_are_pinned_with_and_without_names() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    // By default it makes an authority (CA:TRUE), as many devices have it; of some the only name is the common one.
    for names in [None, Some("subjectAltName=DNS:printer")] {
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
            .args(["-days", "30", "-subj", "/CN=printer", "-keyout"])
            .arg(file("key.pem"))
            .arg("-out")
            .arg(file("printer.pem"))
            .args(names.map(|names| ["-addext", names]).into_iter().flatten())
            .stderr(Stdio::null())
            .status()
            .expect("openssl is missing: apt-get install openssl");
        assert!(made.success());
        let [chain, key] =
            ["printer.pem", "key.pem"].map(|name| std::fs::read_to_string(file(name)).unwrap());
        let address = serving(Arc::new(Renewed(Mutex::new(certified((chain, key))))));
        let pinned = UpstreamTls { pins: vec![Pin::Certificate(file("printer.pem"))], ..Default::default() };
        assert_eq!(failure(secured(address, pinned)), ("200".to_owned(), String::new()), "{names:?}");
        // As its own authority it is not a server's, and the record says what to write.
        let ca = UpstreamTls {
            ca: Some(file("printer.pem")),
            server_name: Some("printer".into()),
            ..Default::default()
        };
        let (status, error) = failure(secured(address, ca));
        assert!(status == "502" && error.contains("(CA:TRUE): pin it by tls.pin"), "{names:?}: {error}");
    }
}
