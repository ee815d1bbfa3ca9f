//! Certificates in the layouts of other programs, and by their files.

mod common;

use common::wire3;
use edge_proxy::config::{Listener, PlainHttp, Route, Site};
use edge_proxy::{CertificateFiles, Certificates, Proxy};
use quinn::crypto::rustls::QuicClientConfig;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use std::collections::HashMap;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use testkit::{Authority, Origin, tls_client};

fn write(chain: &Path, key: &Path, authority: &Authority, names: &[&str]) {
    let (text, secret) = authority.issue(names);
    for path in [chain, key] {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
    }
    fs::write(chain, text).unwrap();
    fs::write(key, secret).unwrap();
    fs::set_permissions(key, PermissionsExt::from_mode(0o600)).unwrap();
}

/// A folder of many certificates is looked at so seldom that it takes at most a hundredth of a core.
#[test]
fn many_certificates_are_looked_at_seldom() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    authority.write(&folder.path().join("0"), &["a.test"]);
    for number in 1..300 {
        let copy = folder.path().join(number.to_string());
        fs::create_dir(&copy).unwrap();
        for name in ["fullchain.pem", "key.pem"] {
            fs::copy(folder.path().join("0").join(name), copy.join(name)).unwrap();
        }
    }
    let (certificates, _) = Certificates::load(folder.path()).unwrap();
    let began = Instant::now();
    certificates.refresh().unwrap();
    let (took, looked) = (began.elapsed(), Instant::now());
    authority.write(&folder.path().join("new"), &["new.test"]);
    while !certificates.covers("new.test") {
        certificates.refresh_if_due().unwrap();
        assert!(looked.elapsed() < Duration::from_secs(60), "{took:?}");
    }
    // Its own measure of the time is a little less than that of the caller.
    assert!(looked.elapsed() > took * 70, "{took:?} of {:?}", looked.elapsed());
}

#[test]
fn folders_of_certbot_and_lego() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    // certbot: links to numbered files in another folder.
    let archive = folder.path().join("archive/b.test");
    let live = folder.path().join("live/b.test");
    fs::create_dir_all(&live).unwrap();
    fs::write(folder.path().join("live/README"), "This directory").unwrap();
    write(&archive.join("fullchain1.pem"), &archive.join("privkey1.pem"), &authority, &["b.test"]);
    let link = |number: u32| {
        for name in ["fullchain", "privkey"] {
            let link = live.join(format!("{name}.pem"));
            let _ = fs::remove_file(&link);
            symlink(format!("../../archive/b.test/{name}{number}.pem"), link).unwrap();
        }
    };
    link(1);
    let (found, refreshed) = Certificates::load(folder.path().join("live")).unwrap();
    assert!(refreshed.problems.is_empty(), "{refreshed:?}");
    assert_eq!(found.names(), ["b.test"]);
    let serial = found.list()[0].serial.clone();
    write(&archive.join("fullchain2.pem"), &archive.join("privkey2.pem"), &authority, &["b.test"]);
    link(2);
    assert_eq!(found.refresh().unwrap().swapped, std::slice::from_ref(&live));
    assert_ne!(found.list()[0].serial, serial);
    // lego: files beside each other, the issuer's too.
    let lego = folder.path().join("certificates");
    write(&lego.join("_.c.test.crt"), &lego.join("_.c.test.key"), &authority, &["*.c.test", "c.test"]);
    fs::write(lego.join("_.c.test.issuer.crt"), authority.root()).unwrap();
    fs::write(lego.join("_.c.test.json"), "{}").unwrap();
    let (found, refreshed) = Certificates::load(&lego).unwrap();
    assert!(refreshed.problems.is_empty(), "{refreshed:?}");
    assert_eq!(found.names(), ["*.c.test", "c.test"]);
}

#[test]
fn a_pair_that_is_named_takes_the_place_of_the_folders() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let all = folder.path().join("acme");
    authority.write(&all.join("a"), &["a.test"]);
    authority.write(&all.join("b"), &["b.test"]);
    let files =
        CertificateFiles { certificate: folder.path().join("own.pem"), key: folder.path().join("own.key") };
    let (found, refreshed) = Certificates::open(Some(all.clone()), vec![files.clone()]).unwrap();
    // It is missing, which is said; the folder serves the name meanwhile.
    assert_eq!(refreshed.problems.len(), 1, "{refreshed:?}");
    assert!(refreshed.problems[0].to_string().contains("own.pem"), "{refreshed:?}");
    assert!(found.covers("a.test"));
    write(&files.certificate, &files.key, &authority, &["a.test"]);
    assert_eq!(found.refresh().unwrap().swapped, std::slice::from_ref(&files.certificate));
    let by_name = found.list().into_iter().find(|one| one.folder == files.certificate).unwrap();
    assert_eq!(by_name.names, ["a.test"]);
    assert_eq!(found.list().len(), 3);
    // It is no longer named.
    found.set_files(Vec::new());
    found.refresh().unwrap();
    assert_eq!(found.list().len(), 2);
    assert!(found.covers("a.test") && found.covers("b.test"));
    // Without a folder at all.
    let (alone, refreshed) = Certificates::open(None, vec![files]).unwrap();
    assert!(refreshed.problems.is_empty() && alone.covers("a.test") && !alone.covers("b.test"));
}

/// Accepts whatever certificate a server has.
#[derive(Debug)]
struct Whatever;

impl ServerCertVerifier for Whatever {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// Returns a client that accepts whatever certificate, and offers this protocol.
fn trusting(root: &str, alpn: &[u8]) -> rustls::ClientConfig {
    let mut config = tls_client(root, &[alpn]);
    config.dangerous().set_certificate_verifier(Arc::new(Whatever));
    config
}

/// Returns the certificate that a server has for this name. `None` if the handshake fails.
fn certificate_at(address: SocketAddr, root: &str, name: &str) -> Option<CertificateDer<'static>> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut session = rustls::ClientConnection::new(Arc::new(trusting(root, b"http/1.1")), name).unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    while session.is_handshaking() {
        session.complete_io(&mut stream).ok()?;
    }
    Some(session.peer_certificates()?.first()?.clone().into_owned())
}

/// Returns the certificate that a server has for this name over QUIC.
async fn certificate_over_quic(address: SocketAddr, root: &str, name: &str) -> CertificateDer<'static> {
    let mut endpoint = quinn::Endpoint::client(([127, 0, 0, 1], 0).into()).unwrap();
    let tls = QuicClientConfig::try_from(trusting(root, b"h3")).unwrap();
    endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(tls)));
    let connection = endpoint.connect(address, name).unwrap().await.unwrap();
    let identity = connection.peer_identity().unwrap();
    identity.downcast::<Vec<CertificateDer<'static>>>().unwrap()[0].clone()
}

#[test]
fn the_certificate_is_that_of_the_site_and_its_listener() {
    let (origin, authority, folder) = (Origin::simple(), Authority::new(), tempfile::tempdir().unwrap());
    let files = |name: &str, names: &[&str]| {
        let at = |end: &str| folder.path().join(format!("{name}.{end}"));
        let files = CertificateFiles { certificate: at("pem"), key: at("key") };
        write(&files.certificate, &files.key, &authority, names);
        files
    };
    // The same name at two listeners, every other name at one, and a name of the folder's.
    let own = [files("outside", &["a.test"]), files("inside", &["a.test"]), files("any", &["other.test"])];
    authority.write(&folder.path().join("acme/b"), &["b.test"]);
    let (certificates, refreshed) =
        Certificates::open(Some(folder.path().join("acme")), own.to_vec()).unwrap();
    assert!(refreshed.problems.is_empty(), "{refreshed:?}");
    certificates.set_sites(
        ["outside", "inside", "any"]
            .map(str::to_owned)
            .into_iter()
            .zip(own.iter().map(|files| files.certificate.clone()))
            .collect(),
    );
    let site = |name: &str, host: &str, listen: &[&str]| {
        let mut site = Site::new(name, vec![host.parse().unwrap()]).route(Route::forward("origin"));
        (site.plain, site.listen) =
            (PlainHttp::Refuse, listen.iter().map(|name| (*name).to_owned()).collect());
        site
    };
    let mut edge = common::Edge::before(origin.address(), 1);
    let listener = |name: &str| Listener::tls(([127, 0, 0, 1], 0).into()).http3(true).named(name);
    edge.config.listeners = vec![listener("out"), listener("in")];
    edge.config.sites = vec![
        site("outside", "a.test", &["out"]),
        site("inside", "a.test", &["in"]),
        site("any", "*", &["out"]),
        site("b", "b.test", &[]),
    ];
    // With early data there is another TLS configuration.
    edge.config.sites[1].early_data = true;
    let start = |config| {
        let builder = Proxy::builder().config(config).certificates(certificates.clone());
        builder.site_certificates(certificates.clone()).workers(1).start().unwrap()
    };
    let proxy = start(edge.config.clone());
    let (outside, inside) = (proxy.addresses()[0], proxy.addresses()[1]);
    let first = |path: &Path| {
        let pem = fs::read(path).unwrap();
        use rustls::pki_types::pem::PemObject;
        CertificateDer::from_pem_slice(&pem).unwrap()
    };
    let [of_outside, of_inside, of_any] = own.each_ref().map(|files| first(&files.certificate));
    let of_b = first(&folder.path().join("acme/b/fullchain.pem"));
    let at = |address, name| certificate_at(address, authority.root(), name);
    for _ in 0..2 {
        assert_eq!(at(outside, "a.test"), Some(of_outside.clone()));
        assert_eq!(at(inside, "a.test"), Some(of_inside.clone()));
        assert_eq!(at(outside, "whatever.test"), Some(of_any.clone()));
        assert_eq!(at(inside, "whatever.test"), None);
        assert_eq!(at(outside, "b.test"), Some(of_b.clone()));
        proxy.reload(edge.config.clone()).unwrap();
    }
    wire3::run(async {
        let over_quic = async |at, name| certificate_over_quic(at, authority.root(), name).await;
        assert_eq!(over_quic(outside, "a.test").await, of_outside);
        assert_eq!(over_quic(inside, "a.test").await, of_inside);
        assert_eq!(over_quic(outside, "whatever.test").await, of_any);
        assert_eq!(over_quic(outside, "b.test").await, of_b);
        assert_eq!(over_quic(inside, "b.test").await, of_b);
        // A reload moves the sites to each other's listener.
        let mut crossed = edge.config.clone();
        crossed.sites[0].listen = vec!["in".into()];
        crossed.sites[1].listen = vec!["out".into()];
        proxy.reload(crossed).unwrap();
        // The engine takes the configuration over between two packets.
        let until = Instant::now() + Duration::from_secs(10);
        while over_quic(outside, "a.test").await != of_inside {
            assert!(Instant::now() < until, "the certificate is still that of the other listener");
        }
        assert_eq!(over_quic(inside, "a.test").await, of_outside);
        proxy.reload(edge.config.clone()).unwrap();
    });
    // A replaced file is used, one that is gone is not forgotten, and a site that lost its own has one by name.
    write(&own[0].certificate, &own[0].key, &authority, &["a.test"]);
    certificates.refresh().unwrap();
    let renewed = first(&own[0].certificate);
    assert!(renewed != of_outside && at(outside, "a.test") == Some(renewed.clone()));
    fs::remove_file(&own[0].key).unwrap();
    certificates.refresh().unwrap();
    assert_eq!(at(outside, "a.test"), Some(renewed));
    certificates.set_sites(HashMap::new());
    proxy.reload(edge.config.clone()).unwrap();
    assert_eq!(at(outside, "whatever.test"), None);
    assert!(at(inside, "a.test").is_some());
}
