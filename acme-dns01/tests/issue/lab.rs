//! A laboratory: an authoritative server, a CA that asks it, a store, an engine.

use acme_dns01::client::{Acme, Http};
use acme_dns01::dns::Dns;
use acme_dns01::engine::{Authority, Certificate, Engine};
use acme_dns01::provider::{Rfc2136, TsigAlgorithm};
use acme_dns01::store::{FileStore, Ownership};
use acme_dns01::{CertificateSpec, Limits, Name, Timeouts};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use testkit::authoritative::{TSIG_NAME, TSIG_SECRET};
use testkit::{KnotServer, Pebble, PebbleVersion};

/// Everything that a test needs.
pub(crate) struct Lab {
    pub(crate) knot: KnotServer,
    pub(crate) pebble: Pebble,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) said: Arc<Mutex<Vec<String>>>,
}

pub(crate) fn names(list: &[&str]) -> Vec<Name> {
    list.iter().map(|name| name.parse().expect("a name")).collect()
}

pub(crate) fn quick() -> Timeouts {
    Timeouts {
        poll: Duration::from_millis(50),
        propagation: Duration::from_secs(30),
        settle: Duration::ZERO,
        validation: Duration::from_secs(30),
        retry: Duration::from_millis(20),
        ari: Duration::from_secs(60),
    }
}

pub(crate) fn certificate(list: &[&str]) -> Certificate {
    let mut spec = CertificateSpec::new(names(list), "pebble");
    spec.timeouts = quick();
    spec.limits = Limits::none();
    spec.into()
}

pub(crate) fn dns(address: SocketAddr) -> Dns {
    let mut dns = Dns::new(vec![address]);
    dns.authority_port = address.port();
    dns.within = Duration::from_secs(2);
    dns
}

pub(crate) fn rfc2136(knot: &KnotServer) -> Rfc2136 {
    let secret = base64(TSIG_SECRET);
    Rfc2136::new(knot.address()).tsig(TSIG_NAME, TsigAlgorithm::HmacSha256, &secret.into()).expect("a key")
}

pub(crate) fn base64(text: &str) -> Vec<u8> {
    STANDARD.decode(text).expect("base64")
}

impl Lab {
    pub(crate) fn start(version: PebbleVersion) -> Self {
        Self::with(version, &[("example.test", "")], &[])
    }

    pub(crate) fn with(version: PebbleVersion, zones: &[(&str, &str)], knobs: &[(&str, &str)]) -> Self {
        let knot = KnotServer::start(zones);
        let pebble = Pebble::start(version, knot.address(), knobs);
        Self::of(knot, pebble)
    }

    pub(crate) fn of(knot: KnotServer, pebble: Pebble) -> Self {
        Self { knot, pebble, folder: tempfile::tempdir().expect("a folder"), said: Arc::default() }
    }

    pub(crate) fn store(&self) -> FileStore {
        FileStore::open(self.folder.path().join("acme"), Ownership::default()).expect("a store")
    }

    pub(crate) fn acme(&self, directory: &str) -> Acme {
        Acme::new(directory, Http::new(Some(self.pebble.tls_root())).expect("a client"))
    }

    /// An engine without providers.
    pub(crate) fn bare(&self, directory: &str) -> Engine {
        let said = self.said.clone();
        Engine::new(Arc::new(self.store()), dns(self.knot.address()))
            .authority("pebble", Authority::new(self.acme(directory)))
            .observer(Arc::new(move |id, what| {
                said.lock().expect("no panic").push(format!("{id}: {what}"));
            }))
    }

    /// An engine that updates knot.
    pub(crate) fn engine(&self) -> Arc<Engine> {
        Arc::new(self.bare(&self.pebble.directory()).provider("knot", Arc::new(rfc2136(&self.knot))))
    }

    pub(crate) fn said(&self) -> String {
        self.said.lock().expect("no panic").join("\n")
    }
}
