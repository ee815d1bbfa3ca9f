//! Client certificates below an intermediate authority: the whole chain is verified, each certificate of it against a
//! revocation list of its own issuer, and the service learns of the intermediate.

mod common;

use common::{Edge, Tls};
use edge_http::encoding::base64;
use edge_proxy::Reason;
use edge_proxy::config::{CertificateField, ClientCertificates, PlainHttp};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams,
};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};
use testkit::Origin;

/// The serial numbers of the intermediate and of the client.
const INTERMEDIATE: u64 = 20;
const CLIENT: u64 = 30;

/// An authority of a chain.
struct Link {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    der: Vec<u8>,
}

impl Link {
    /// Creates an authority with this name, issued by another or by itself.
    fn new(name: &str, above: Option<&Self>) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.serial_number = Some(INTERMEDIATE.into());
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = match above {
            Some(above) => params.signed_by(&key, &above.issuer).unwrap(),
            None => params.self_signed(&key).unwrap(),
        };
        Self { pem: certificate.pem(), der: certificate.der().to_vec(), issuer: Issuer::new(params, key) }
    }

    /// Issues a client's certificate: the chain and its key as PEM.
    fn client(&self, chain: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "Ann");
        params.serial_number = Some(CLIENT.into());
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let own = params.signed_by(&key, &self.issuer).unwrap().pem();
        (format!("{own}{chain}"), key.serialize_pem())
    }

    /// Returns its list of revoked certificates as PEM, in force until the year given.
    fn list(&self, revoked: &[u64], until: i32) -> String {
        let revoked = revoked.iter().map(|serial| RevokedCertParams {
            serial_number: (*serial).into(),
            revocation_time: rcgen::date_time_ymd(2021, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2020, 1, 1),
            next_update: rcgen::date_time_ymd(until, 1, 1),
            crl_number: 1_u64.into(),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap().pem().unwrap()
    }
}

/// Asks with a certificate over a new connection. Returns the status line, or the error of the connection.
fn ask(edge: &Edge, pair: &(String, String)) -> std::io::Result<String> {
    let config = common::client(edge.root(), Some(pair), &[b"http/1.1"], rustls::ALL_VERSIONS);
    let session = rustls::ClientConnection::new(Arc::new(config), "a.test".try_into().unwrap()).unwrap();
    let stream = TcpStream::connect(edge.tls())?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut tls: Tls = rustls::StreamOwned::new(session, stream);
    write!(tls, "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    match tls.read_to_string(&mut text) {
        Err(why) if why.kind() != std::io::ErrorKind::UnexpectedEof => Err(why),
        _ => Ok(text.lines().next().unwrap_or_default().to_owned()),
    }
}

fn rejected(edge: &Edge) -> u64 {
    let counts = edge.proxy.metrics().rejected;
    counts
        .iter()
        .find(|(reason, _)| *reason == Reason::ClientCertificateRejected)
        .map_or(0, |(_, count)| *count)
}

#[test]
fn s25_every_certificate_of_a_chain_has_its_list() {
    let root = Link::new("the root", None);
    let intermediate = Link::new("the intermediate", Some(&root));
    let origin = Origin::simple();
    let mut edge = Edge::before(origin.address(), 1);
    let (ca, lists) = (edge.folder.path().join("root.pem"), edge.folder.path().join("lists.pem"));
    std::fs::write(&ca, &root.pem).unwrap();
    let mut asked = ClientCertificates::required(ca);
    asked.fields.push(("Client-Cert-Chain".into(), CertificateField::Chain));
    edge.config.sites[0].plain = PlainHttp::Redirect;
    let set = |edge: &mut Edge, list: Option<&str>| {
        let mut asked = asked.clone();
        if let Some(list) = list {
            std::fs::write(&lists, list).unwrap();
            asked.crl = Some(lists.clone());
        }
        edge.config.sites[0].client_certificates = Some(asked);
        edge.proxy.reload(edge.config.clone()).unwrap();
    };
    let pair = intermediate.client(&intermediate.pem);

    set(&mut edge, None);
    assert_eq!(ask(&edge, &pair).unwrap(), "HTTP/1.1 200 OK");
    let chain = format!("\r\nClient-Cert-Chain: :{}:\r\n", base64(&intermediate.der));
    assert!(origin.text().contains(&chain), "{}", origin.text());
    // Both lists, which revoke others, in either order.
    let (of_root, below) = (root.list(&[99], 2090), intermediate.list(&[99], 2090));
    for lists in [format!("{of_root}{below}"), format!("{below}{of_root}")] {
        set(&mut edge, Some(&lists));
        assert_eq!(ask(&edge, &pair).unwrap(), "HTTP/1.1 200 OK");
    }
    let served = origin.text();
    let cases = [
        ("the list of the intermediate is missing", of_root.clone()),
        ("the list of the root is missing", below.clone()),
        ("the intermediate is revoked", root.list(&[INTERMEDIATE], 2090) + &below),
        ("the client is revoked", of_root.clone() + &intermediate.list(&[CLIENT], 2090)),
        (
            "the root's list says so of a number that is the client's",
            root.list(&[CLIENT, INTERMEDIATE], 2090) + &below,
        ),
        ("the list of the root has expired", root.list(&[99], 2022) + &below),
        ("the list of the intermediate has expired", of_root.clone() + &intermediate.list(&[99], 2022)),
        (
            "the list is by another of that name",
            of_root.clone() + &Link::new("the intermediate", None).list(&[99], 2090),
        ),
    ];
    for (what, lists) in cases {
        set(&mut edge, Some(&lists));
        let before = rejected(&edge);
        assert!(ask(&edge, &pair).is_err(), "{what}");
        let until = Instant::now() + Duration::from_secs(10);
        while rejected(&edge) == before && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(rejected(&edge), before + 1, "{what}");
    }
    // Numbers of one issuer are no other's.
    set(&mut edge, Some(&(root.list(&[CLIENT], 2090) + &intermediate.list(&[INTERMEDIATE], 2090))));
    assert_eq!(ask(&edge, &pair).unwrap(), "HTTP/1.1 200 OK");
    // A chain without its intermediate is none.
    assert!(ask(&edge, &intermediate.client("")).is_err());
    assert_eq!(origin.text().matches("GET / ").count(), served.matches("GET / ").count() + 1);
}
