//! Pebble, the test CA of Let's Encrypt: 2.4 of the distribution, and 2.10 with ARI and profiles.

use crate::free_port;
use crate::{Authority, tls_client};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Version of Pebble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PebbleVersion {
    /// 2.4 of Debian 12, without ARI and profiles.
    V2_4,
    /// 2.10 of a newer suite, with ARI and profiles.
    V2_10,
}

/// A running Pebble server. It is killed when dropped.
#[derive(Debug)]
pub struct Pebble {
    child: Child,
    folder: TempDir,
    port: u16,
    management: u16,
    root: String,
    program: PathBuf,
    dns: SocketAddr,
    knobs: Vec<(String, String)>,
}

impl Pebble {
    /// Starts a Pebble that resolves names by the name server `dns`. `knobs` are environment variables, which override
    /// the settings that make it fast: no random delays, no rejected nonces, and no reuse of authorizations.
    ///
    /// # Panics
    /// Panics if Pebble is not installed or does not respond within 20 s.
    #[must_use]
    pub fn start(version: PebbleVersion, dns: SocketAddr, knobs: &[(&str, &str)]) -> Self {
        Self::start_with(version, dns, knobs, "")
    }

    /// Starts a Pebble like [`start`](Self::start) with additional members of its configuration `more`: JSON, each
    /// member with a trailing comma.
    ///
    /// # Panics
    /// Panics if Pebble is not installed or does not respond within 20 s.
    #[must_use]
    pub fn start_with(version: PebbleVersion, dns: SocketAddr, knobs: &[(&str, &str)], more: &str) -> Self {
        let program = match version {
            PebbleVersion::V2_4 => PathBuf::from("/usr/bin/pebble"),
            PebbleVersion::V2_10 => crate::postgres::tools().join("newer-pebble/usr/bin/pebble"),
        };
        assert!(program.exists(), "{} is not there: run `cargo xtask tools` first", program.display());
        let folder = tempfile::Builder::new().prefix("pebble-").tempdir_in("/tmp").expect("a folder");
        let authority = Authority::new();
        let (chain, key) = authority.issue(&["localhost"]);
        std::fs::write(folder.path().join("cert.pem"), chain).expect("a file");
        std::fs::write(folder.path().join("key.pem"), key).expect("a file");
        let (port, management) = (free_port(), free_port());
        let path = folder.path().display();
        let config = format!(
            r#"{{"pebble": {{"listenAddress": "127.0.0.1:{port}", "managementListenAddress": "127.0.0.1:{management}",
            "certificate": "{path}/cert.pem", "privateKey": "{path}/key.pem", "httpPort": 5002, "tlsPort": 5001,
            {more} "ocspResponderURL": "", "retryAfter": {{"authz": 1, "order": 1}}, "keyAlgorithm": "ecdsa",
            "profiles": {{"default": {{"description": "90 days", "validityPeriod": 7776000}},
            "shortlived": {{"description": "6 days", "validityPeriod": 518400}}}}}}}}"#
        );
        std::fs::write(folder.path().join("config.json"), config).expect("a file");
        let knobs: Vec<(String, String)> =
            knobs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let child = Self::spawn(&program, folder.path(), dns, &knobs);
        let root = authority.root().to_owned();
        let mut pebble = Self { child, folder, port, management, root, program, dns, knobs };
        pebble.wait();
        pebble
    }

    /// Starts the program with the configuration in `folder`, the name server `dns` and additional environment
    /// variables. Output goes to the file `log` in `folder`, which is emptied.
    ///
    /// # Panics
    /// Panics if the program cannot be run or the log cannot be created.
    fn spawn(program: &Path, folder: &Path, dns: SocketAddr, knobs: &[(String, String)]) -> Child {
        let log = std::fs::File::create(folder.join("log")).expect("a log");
        Command::new(program)
            .arg("-config")
            .arg(folder.join("config.json"))
            .args(["-dnsserver", &dns.to_string()])
            .env("PEBBLE_VA_NOSLEEP", "1")
            .env("PEBBLE_WFE_NONCEREJECT", "0")
            .env("PEBBLE_AUTHZREUSE", "0")
            .envs(knobs.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("pebble runs")
    }

    /// Kills Pebble and starts it again at the same address, without any of its state, also without its issuing root.
    /// The log begins anew.
    ///
    /// # Panics
    /// Panics if Pebble does not respond within 20 s.
    pub fn restart(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.child = Self::spawn(&self.program, self.folder.path(), self.dns, &self.knobs);
        self.wait();
    }

    /// Waits until the ACME server and the management server respond.
    ///
    /// # Panics
    /// Panics if they do not within 20 s.
    fn wait(&mut self) {
        let until = Instant::now() + Duration::from_secs(20);
        while self.try_get(self.management, "/roots/0").is_none() || self.try_get(self.port, "/dir").is_none()
        {
            assert!(Instant::now() < until, "pebble does not answer: {}", self.log());
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// Returns the URL of the ACME directory.
    #[must_use]
    pub fn directory(&self) -> String {
        format!("https://localhost:{}/dir", self.port)
    }

    /// Returns the address of the ACME server.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// Returns the root certificate to which the certificate of the ACME server itself chains, in PEM.
    #[must_use]
    pub fn tls_root(&self) -> &str {
        &self.root
    }

    /// Returns the root certificate to which issued certificates chain, in PEM.
    ///
    /// # Panics
    /// Panics if the server does not respond.
    #[must_use]
    pub fn issuing_root(&self) -> String {
        self.try_get(self.management, "/roots/0").expect("pebble answers")
    }

    /// Returns the content of the log. Empty if it cannot be read.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Returns the number of occurrences of a text in the log.
    #[must_use]
    pub fn logged(&self, text: &str) -> usize {
        self.log().matches(text).count()
    }

    /// Sets the renewal information (ARI, RFC 9773) of a certificate in PEM. `answer` is the JSON of the response.
    /// Requires 2.10.
    ///
    /// # Panics
    /// Panics if the server rejects it.
    pub fn set_renewal_info(&self, certificate: &str, answer: &str) {
        let escape = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let body = format!(
            "{{\"Certificate\": \"{}\", \"ARIResponse\": \"{}\"}}",
            escape(certificate),
            escape(answer)
        );
        let request = format!(
            "POST /set-renewal-info/ HTTP/1.1\r\nHost: localhost\r\nUser-Agent: testkit\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = self.exchange(self.management, &request).expect("pebble answers");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    /// Returns the response of the management server about a certificate with this serial number in hexadecimal: JSON
    /// with its status, and the reason if it is revoked.
    ///
    /// # Panics
    /// Panics if the server does not know the certificate.
    #[must_use]
    pub fn status(&self, serial: &str) -> String {
        let even = if serial.len() % 2 == 1 { format!("0{serial}") } else { serial.to_owned() };
        self.try_get(self.management, &format!("/cert-status-by-serial/{even}")).expect("pebble knows it")
    }

    /// Returns the content of the response to a GET request at a port of Pebble. `None` if its status is not 200, or
    /// there is none.
    fn try_get(&self, port: u16, path: &str) -> Option<String> {
        let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\nUser-Agent: testkit\r\n\r\n");
        let answer = self.exchange(port, &request)?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        head.contains(" 200 ").then(|| body.to_owned())
    }

    /// Sends a request on a new TLS connection to a port of Pebble, and reads the response until the connection ends or
    /// pauses for 5 s; the text is empty if nothing arrives. `None` if the connection fails or the request cannot be
    /// sent.
    fn exchange(&self, port: u16, request: &str) -> Option<String> {
        let mut tcp = TcpStream::connect(("127.0.0.1", port)).ok()?;
        tcp.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        let name = rustls::pki_types::ServerName::try_from("localhost").ok()?;
        let mut tls = rustls::ClientConnection::new(Arc::new(tls_client(&self.root, &[])), name).ok()?;
        let mut stream = rustls::Stream::new(&mut tls, &mut tcp);
        if let Err(why) = stream.write_all(request.as_bytes()) {
            eprintln!("pebble: {why}");
            return None;
        }
        let mut answer = Vec::new();
        // Pebble closes without `close_notify`, which rustls reports as an error.
        let _ = stream.read_to_end(&mut answer);
        Some(String::from_utf8_lossy(&answer).into_owned())
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
