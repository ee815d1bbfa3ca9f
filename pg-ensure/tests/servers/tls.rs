//! Servers with TLS, over the connector of the library.

use crate::common::{name, run};
use pg_ensure::client::tls::{ClientCertificate, TlsConnector, TlsError, TlsMode};
use pg_ensure::client::{Server, Timeouts};
use pg_ensure::{Consent, DesiredState};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;
use testkit::postgres::{Options, Postgres};
use tokio_postgres::Config;

#[test]
fn servers_are_verified_as_asked() {
    let mut options = Options::new(15);
    options.tls = true;
    options.hba = "local all all trust\nhostssl all all all trust\n".to_owned();
    let postgres = Postgres::start(&options);
    let own = std::fs::read(postgres.data().join("server.crt")).expect("a certificate");
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let other = other.cert.pem().into_bytes();
    let mut wish = DesiredState::new();
    wish.ensure(&name("app"), None);
    let plan = |host: &str, mode: TlsMode, roots: Option<&[u8]>, seconds: u64| {
        let mut config = Config::new();
        config.host(host).port(postgres.port()).user("postgres").dbname("postgres").ssl_mode(mode.ssl_mode());
        let connector = TlsConnector::new(mode, roots, None).expect("a connector");
        let connect = Duration::from_secs(seconds);
        let server = Server::new(config, connector).timeouts(Timeouts { connect, ..Timeouts::default() });
        run(server.plan(&wish, &Consent::none())).map(|_| ()).map_err(|why| chain(&why))
    };
    let rejected = Err("invalid peer certificate");
    for (host, mode, roots, expected) in [
        ("localhost", TlsMode::VerifyFull, Some(&own), Ok(())),
        ("127.0.0.1", TlsMode::VerifyFull, Some(&own), Err("NotValidForName")),
        ("127.0.0.1", TlsMode::VerifyCa, Some(&own), Ok(())),
        ("localhost", TlsMode::VerifyFull, Some(&other), rejected),
        ("localhost", TlsMode::VerifyCa, None, Err("UnknownIssuer")),
        ("localhost", TlsMode::Require, Some(&other), rejected),
        ("localhost", TlsMode::Require, None, Ok(())),
        ("localhost", TlsMode::Prefer, Some(&other), Ok(())),
        ("localhost", TlsMode::Disable, None, Err("no encryption")),
    ] {
        // A refusal is tried again until the time is over.
        let seconds = if expected.is_ok() { 60 } else { 3 };
        let found = plan(host, mode, roots.map(Vec::as_slice), seconds);
        let same = match (&found, expected) {
            (Ok(()), Ok(())) => true,
            (Err(why), Err(word)) => why.contains(word),
            (_, _) => false,
        };
        assert!(same, "{host} {mode:?}, expected {expected:?}: {found:?}");
    }
    let none = TlsConnector::new(TlsMode::VerifyCa, Some(b"no certificate"), None);
    assert!(matches!(none, Err(TlsError::NoRoots)), "{none:?}");
}

#[test]
fn a_client_certificate_logs_in_and_a_wrong_one_is_named() {
    let authority = testkit::Authority::new();
    let mut options = Options::new(15);
    options.tls = true;
    options.hba = "local all all trust\nhostssl all all all cert\n".to_owned();
    let folder = tempfile::tempdir().expect("a folder");
    let roots = folder.path().join("ca.pem");
    std::fs::write(&roots, authority.root()).expect("a file");
    for (path, mode) in [(folder.path(), 0o755), (&roots, 0o644)] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("permissions");
    }
    options.settings = format!("ssl_ca_file = '{}'\n", roots.display());
    let postgres = Postgres::start(&options);
    let own = std::fs::read(postgres.data().join("server.crt")).expect("a certificate");
    let connector = |chain: &str, key: &str| {
        let client = ClientCertificate { chain: chain.as_bytes(), key: key.as_bytes() };
        TlsConnector::new(TlsMode::VerifyFull, Some(&own), Some(client))
    };
    let (chain, key) = authority.issue_client("postgres", 7);
    let mut config = Config::new();
    config.host("localhost").port(postgres.port()).user("postgres").dbname("postgres");
    config.ssl_mode(TlsMode::VerifyFull.ssl_mode());
    let server = Server::new(config, connector(&chain, &key).expect("a connector"));
    run(server.plan(&DesiredState::new(), &Consent::none())).expect("a plan");
    let (_, other) = authority.issue_client("postgres", 7);
    assert!(matches!(connector(&chain, &other), Err(TlsError::ClientCertificate(_))));
    assert!(matches!(connector("no certificate", &key), Err(TlsError::ClientCertificate(_))));
    assert!(matches!(connector(&chain, "no key"), Err(TlsError::ClientKey(_))));
}

/// The messages of an error and its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let all = std::iter::successors(Some(error), |error| error.source());
    all.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
