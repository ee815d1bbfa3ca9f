//! Knot DNS as an authoritative name server that accepts RFC 2136 updates signed by TSIG.

use crate::free_port;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A running Knot server. It is killed when dropped.
#[derive(Debug)]
pub struct KnotServer {
    child: Child,
    folder: TempDir,
    address: SocketAddr,
}

/// Name of the TSIG key, which uses HMAC-SHA-256.
pub const TSIG_NAME: &str = "acme-key";
/// Secret of the TSIG key, in Base64.
pub const TSIG_SECRET: &str = "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0ISEhISE=";

impl KnotServer {
    /// Starts a server at 127.0.0.1 and a free port, with these zones, and with the zone `test` if it is not one of
    /// them. A zone is its name and additional records in zone file format, to which SOA, NS and the address of the
    /// name server are added. The name server of each zone is `ns.<zone>` at 127.0.0.1. The TTL is 5 s.
    ///
    /// # Panics
    /// Panics if Knot is not installed or does not respond within 20 s.
    #[must_use]
    pub fn start(zones: &[(&str, &str)]) -> Self {
        let mut all = zones.to_vec();
        if !zones.iter().any(|(zone, _)| *zone == "test") {
            all.push(("test", ""));
        }
        Self::start_at(Ipv4Addr::LOCALHOST, free_port(), &all, &[])
    }

    /// Starts a server at an address of this machine, with these zones (name and additional records) only. The zones in
    /// `missing` have no content; queries for them get SERVFAIL.
    ///
    /// # Panics
    /// Panics if Knot is not installed or does not respond within 20 s.
    #[must_use]
    pub fn start_at(ip: Ipv4Addr, port: u16, zones: &[(&str, &str)], missing: &[&str]) -> Self {
        assert!(Path::new("/usr/sbin/knotd").exists(), "knot is not there: run `cargo xtask tools` first");
        let folder = tempfile::Builder::new().prefix("knot-").tempdir_in("/tmp").expect("a folder");
        let path = folder.path().display().to_string();
        let mut config = format!(
            "server:\n  rundir: {path}\n  listen: {ip}@{port}\n  udp-workers: 1\n  tcp-workers: 2\n  \
             background-workers: 1\n\
             database:\n  storage: {path}\n\
             log:\n  - target: {path}/log\n    any: info\n\
             key:\n  - id: {TSIG_NAME}\n    algorithm: hmac-sha256\n    secret: {TSIG_SECRET}\n\
             acl:\n  - id: update\n    key: {TSIG_NAME}\n    action: update\n\
             template:\n  - id: default\n    storage: {path}\n    file: \"%s.zone\"\n    zonefile-sync: -1\n    \
             journal-content: none\n    acl: update\nzone:\n"
        );
        for zone in missing {
            config.push_str(&format!("  - domain: {zone}\n"));
        }
        for (zone, records) in zones {
            config.push_str(&format!("  - domain: {zone}\n"));
            let text = format!(
                "$ORIGIN {zone}.\n$TTL 5\n@ SOA ns hostmaster 1 3600 600 86400 5\n@ NS ns\nns A {ip}\n{records}\n"
            );
            std::fs::write(folder.path().join(format!("{zone}.zone")), text).expect("a zone");
        }
        std::fs::write(folder.path().join("knot.conf"), config).expect("a configuration");
        let child = Command::new("/usr/sbin/knotd")
            .arg("-c")
            .arg(folder.path().join("knot.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("knotd runs");
        let server = Self { child, folder, address: SocketAddr::from((ip, port)) };
        let until = Instant::now() + Duration::from_secs(20);
        let ready = || match zones.first() {
            Some((zone, _)) => !server.dig(&["+short", zone, "SOA"]).is_empty(),
            None => server.dig(&["+noall", "+stats", ".", "SOA"]).contains("From"),
        };
        while !ready() {
            let log = std::fs::read_to_string(server.folder.path().join("log")).unwrap_or_default();
            assert!(Instant::now() < until, "knot does not answer: {log}");
            std::thread::sleep(Duration::from_millis(30));
        }
        server
    }

    /// Returns the address of the server, for UDP and TCP.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the argument of kdig for the server's IP address, `@ADDRESS`.
    fn at(&self) -> String {
        format!("@{}", self.address.ip())
    }

    /// Sends one signed update by `knsupdate`. The lines are its commands: `zone …`, `add …`, `del …`.
    ///
    /// # Panics
    /// Panics if the update is rejected or knsupdate is not installed.
    pub fn update(&self, lines: &str) {
        self.updater()(lines);
    }

    /// Returns a function that does what [`update`](Self::update) does, without borrowing the server.
    pub(crate) fn updater(&self) -> impl Fn(&str) + Send + Sync + 'static {
        let address = self.address;
        move |lines| {
            let (ip, port) = (address.ip(), address.port());
            let script =
                format!("server {ip} {port}\nkey hmac-sha256:{TSIG_NAME} {TSIG_SECRET}\n{lines}\nsend\n");
            let file = tempfile::NamedTempFile::new().expect("a file");
            std::fs::write(file.path(), script).expect("a file");
            let status = Command::new("/usr/bin/knsupdate").arg(file.path()).status();
            assert!(status.expect("knsupdate is there; cargo xtask tools installs it").success(), "{lines}");
        }
    }

    /// Runs kdig with arguments, without retries and with a timeout of 2 s. Returns the lines of its output joined
    /// without separators, except for comments (`;;`) other than `;; From`.
    ///
    /// # Panics
    /// Panics if kdig is not installed.
    #[must_use]
    pub fn dig(&self, arguments: &[&str]) -> String {
        let output = Command::new("/usr/bin/kdig")
            .args([&self.at(), "-p", &self.address.port().to_string(), "+retry=0", "+timeout=2"])
            .args(arguments)
            .output()
            .expect("kdig is there; cargo xtask tools installs it");
        String::from_utf8_lossy(&output.stdout)
            .lines()
            .filter(|line| !line.starts_with(";;") || line.starts_with(";; From"))
            .collect()
    }

    /// Returns the TXT values at a name, sorted, without quotes. Empty if there are none or the server does not
    /// respond.
    ///
    /// # Panics
    /// Panics if kdig is not installed.
    #[must_use]
    pub fn txt(&self, name: &str) -> Vec<String> {
        let output = Command::new("/usr/bin/kdig")
            .args([&self.at(), "-p", &self.address.port().to_string(), "+short", name, "TXT"])
            .output()
            .expect("kdig is there; cargo xtask tools installs it");
        let text = String::from_utf8_lossy(&output.stdout);
        let lines = text.lines().filter(|line| line.starts_with('"'));
        let mut values: Vec<String> = lines.map(|line| line.trim_matches('"').to_owned()).collect();
        values.sort();
        values
    }
}

impl Drop for KnotServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
