//! HTTPS server at the address of the CA, of Cloudflare and of deSEC: TLS for their names in front of Pebble and the mocks
//! of the APIs.
//!
//! Injects failures of the CA, and publishes the records of the API on the name server, as Cloudflare does.

use crate::desec::{DESEC, DesecMock};
use rustls::pki_types::ServerName;
use rustls::server::ResolvesServerCertUsingSni;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection, StreamOwned};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use testkit::authoritative::{TSIG_NAME, TSIG_SECRET};
use testkit::{Authority, CloudflareMock, tls_client};

/// Host name of the CA's ACME server, that of Let's Encrypt.
const CA: &str = "acme-v02.api.letsencrypt.org";
/// Host name of Cloudflare's API.
const CLOUDFLARE: &str = "api.cloudflare.com";

/// The HTTPS server in front of the CA and the APIs of Cloudflare and deSEC. It injects failures of the CA, and
/// publishes the records of both APIs on the name server.
pub(crate) struct Front {
    ca: SocketAddr,
    ca_client: Arc<ClientConfig>,
    cloudflare: CloudflareMock,
    desec: DesecMock,
    zone: &'static str,
    names: Mutex<BTreeSet<String>>,
    requests: Mutex<Vec<String>>,
    /// Number of new orders to which the CA responds with 500 from now on.
    pub(crate) failures: AtomicUsize,
}

/// An HTTP request or response, as head and body.
struct Message {
    head: String,
    body: Vec<u8>,
}

impl Front {
    /// Starts the server in the network of this thread, at the address `at`, with certificates of `authority`, valid
    /// from 2020 to 2039, for the names of the CA, Cloudflare and deSEC. `ca` is the address and the root certificate
    /// of the ACME server. It runs until the process exits.
    ///
    /// # Errors
    /// Returns a description if the address cannot be bound or a certificate is not valid.
    pub(crate) fn start(
        at: &str,
        authority: &Authority,
        (ca, ca_root): (SocketAddr, &str),
        cloudflare: CloudflareMock,
        zone: &'static str,
    ) -> Result<Arc<Self>, String> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut certificates = ResolvesServerCertUsingSni::new();
        for name in [CA, CLOUDFLARE, DESEC] {
            // They are valid for a limited time, so that a machine whose clock is wrong rejects them.
            let (chain, key) = authority.pair_between(&[name], 2020, 2039);
            let key = provider.key_provider.load_private_key(key).map_err(|why| why.to_string())?;
            certificates.add(name, CertifiedKey::new(chain, key)).map_err(|why| why.to_string())?;
        }
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|why| why.to_string())?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(certificates));
        let front = Arc::new(Self {
            ca,
            ca_client: Arc::new(tls_client(ca_root, &[])),
            cloudflare,
            desec: DesecMock::new(zone),
            zone,
            names: Mutex::default(),
            requests: Mutex::default(),
            failures: AtomicUsize::new(0),
        });
        let listener = TcpListener::bind(at).map_err(|why| format!("{at}: {why}"))?;
        let (config, shared) = (Arc::new(config), front.clone());
        std::thread::spawn(move || {
            for tcp in listener.incoming().flatten() {
                let (front, config) = (shared.clone(), config.clone());
                std::thread::spawn(move || {
                    let Ok(tls) = ServerConnection::new(config) else { return };
                    let mut stream = StreamOwned::new(tls, tcp);
                    while let Some(request) = read(&mut stream) {
                        let Some(answer) = front.answer(&request) else { return };
                        if stream.write_all(&answer).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Ok(front)
    }

    /// Returns the number of requests, to the CA and to both APIs, whose method and path begin with `begin`, such as
    /// `POST /order-plz`. Those that the CA refused for their nonce are not counted.
    pub(crate) fn count(&self, begin: &str) -> usize {
        self.requests.lock().expect("no panic").iter().filter(|line| line.starts_with(begin)).count()
    }

    /// Returns method and path of all requests so far, such as `POST /path`, but those refused for their nonce.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("no panic").clone()
    }

    /// Records a request and returns the response to it. A request for Cloudflare is forwarded to the mock, and changed
    /// records are published; one for deSEC is answered by its mock, and the changed records are published; any other
    /// is forwarded to the CA, `/directory` as `/dir`, unless it is a new order that has to fail with 500. A
    /// `Retry-After` of six hours becomes one second. `None` if the mock or the CA does not respond, which closes the
    /// connection.
    fn answer(&self, request: &Message) -> Option<Vec<u8>> {
        let line = request.head.lines().next().unwrap_or_default();
        let line = line.rsplit_once(' ').map_or(line, |(line, _)| line).to_owned();
        let host = field(&request.head, "host").unwrap_or_default();
        self.requests.lock().expect("no panic").push(line.clone());
        if host == CLOUDFLARE {
            let tcp = TcpStream::connect(self.cloudflare.address()).ok()?;
            let answer = exchange(tcp, &request.head, &request.body)?;
            self.publish(&line, &request.body);
            return Some(whole(&answer));
        }
        if host == DESEC {
            let answer =
                self.desec.answer(&line, field(&request.head, "authorization").as_deref(), &request.body);
            if let Some((name, values)) = answer.changed {
                self.update(&replacement(&name, &values));
            }
            let body = if answer.body.is_null() { String::new() } else { answer.body.to_string() };
            let (status, length) = (answer.status, body.len());
            let head = format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\n");
            return Some(format!("{head}Content-Length: {length}\r\n\r\n{body}").into_bytes());
        }
        let order = line.starts_with("POST /order-plz");
        let take = |left: usize| left.checked_sub(1);
        if order && self.failures.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
            let text = "<html>Internal Server Error</html>";
            let length = text.len();
            return Some(
                format!("HTTP/1.1 500 Internal Server Error\r\nContent-Type: text/html\r\nContent-Length: {length}\r\n\r\n{text}")
                    .into_bytes(),
            );
        }
        let head = request.head.replacen("GET /directory ", "GET /dir ", 1);
        let tcp = TcpStream::connect(self.ca).ok()?;
        let name = ServerName::try_from("localhost").ok()?;
        let tls = StreamOwned::new(ClientConnection::new(self.ca_client.clone(), name).ok()?, tcp);
        let mut answer = exchange(tls, &head, &request.body)?;
        // One whose nonce is refused is sent again (RFC 8555 §6.5). Pebble refuses one of twenty.
        if String::from_utf8_lossy(&answer.body).contains("urn:ietf:params:acme:error:badNonce") {
            let mut requests = self.requests.lock().expect("no panic");
            if let Some(at) = requests.iter().rposition(|other| *other == line) {
                requests.remove(at);
            }
        }
        // Pebble sends a `Retry-After` of six hours for renewal information.
        answer.head = answer.head.replace("Retry-After: 21600", "Retry-After: 1");
        Some(whole(&answer))
    }

    /// Publishes the records of every name that requests to Cloudflare's API have written so far on the name server.
    /// `line` is the method and path of a request, `body` its content. No effect for GET.
    fn publish(&self, line: &str, body: &[u8]) {
        if line.starts_with("GET ") {
            return;
        }
        let mut names = self.names.lock().expect("no panic");
        let record: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
        names.extend(record["name"].as_str().map(str::to_owned));
        let quoted = |name: &String| -> Vec<String> {
            self.cloudflare.txt(name).iter().map(|value| format!("\"{value}\"")).collect()
        };
        let lines: String = names.iter().map(|name| replacement(name, &quoted(name))).collect();
        self.update(&lines);
    }

    /// Sends lines of a signed update of the zone to the name server. A missing knsupdate is reported on standard
    /// error; other errors are ignored.
    fn update(&self, lines: &str) {
        let server = crate::topology::NAME_SERVER.replace(':', " ");
        let script = format!("server {server}\nzone {}\n{lines}send\n", self.zone);
        let update = Command::new("/usr/bin/knsupdate")
            .args(["-y", &format!("hmac-sha256:{TSIG_NAME}:{TSIG_SECRET}")])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn();
        let Ok(mut update) = update else {
            return eprintln!("homelab: knsupdate is missing: run `cargo xtask tools`");
        };
        if let Some(mut input) = update.stdin.take() {
            let _ = input.write_all(script.as_bytes());
        }
        let _ = update.wait();
    }
}

/// Returns the lines of an update that replaces the TXT records of a name by these values, which are in quotes, with a
/// TTL of 120 s.
fn replacement(name: &str, values: &[String]) -> String {
    let add = |value: &String| format!("add {name}. 120 TXT {value}\n");
    format!("del {name}. TXT\n{}", values.iter().map(add).collect::<String>())
}

/// Forwards a TCP port of this thread's network (`from` is `ADDRESS:PORT`) to another address. Runs until the process
/// exits.
///
/// # Errors
/// Returns a description if the port cannot be bound.
pub(crate) fn forward(from: &str, to: SocketAddr) -> Result<(), String> {
    let listener = TcpListener::bind(from).map_err(|why| format!("{from}: {why}"))?;
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(server) = TcpStream::connect(to) else { continue };
            for (from, to) in [(client.try_clone(), server.try_clone()), (Ok(server), Ok(client))] {
                let (Ok(mut from), Ok(mut to)) = (from, to) else { continue };
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(std::net::Shutdown::Write);
                });
            }
        }
    });
    Ok(())
}

/// Returns the value of the first header field with a name, compared case-insensitively, without surrounding white
/// space. `None` if it is missing.
fn field(head: &str, name: &str) -> Option<String> {
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    })
}

/// Reads a message whose content has the length of `Content-Length`, or is empty without that field. `None` if the
/// connection ends or fails before.
fn read(stream: &mut impl Read) -> Option<Message> {
    let mut bytes = Vec::new();
    let mut part = [0; 16_384];
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let length = field(&head, "content-length").and_then(|text| text.parse().ok()).unwrap_or(0_usize);
            if bytes.len() >= end + 4 + length {
                return Some(Message { head, body: bytes[end + 4..end + 4 + length].to_vec() });
            }
        }
        match stream.read(&mut part) {
            Ok(n @ 1..) => bytes.extend_from_slice(&part[..n]),
            _ => return None,
        }
    }
}

/// Sends a request with `Connection: close`, and reads the response until its `Content-Length` is reached or the
/// connection ends. `None` if the connection fails or ends before the end of the response's head.
fn exchange(mut stream: impl Read + Write, head: &str, body: &[u8]) -> Option<Message> {
    let head: Vec<&str> =
        head.lines().filter(|line| !line.to_lowercase().starts_with("connection:")).collect();
    stream.write_all(format!("{}\r\nConnection: close\r\n\r\n", head.join("\r\n")).as_bytes()).ok()?;
    stream.write_all(body).ok()?;
    stream.flush().ok()?;
    let mut bytes = Vec::new();
    let mut part = [0; 16_384];
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let length = field(&head, "content-length").and_then(|text| text.parse::<usize>().ok());
            if length.is_some_and(|length| bytes.len() >= end + 4 + length) {
                return Some(Message { head, body: bytes[end + 4..].to_vec() });
            }
        }
        match stream.read(&mut part) {
            Ok(n @ 1..) => bytes.extend_from_slice(&part[..n]),
            _ => break,
        }
    }
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    Some(Message {
        head: String::from_utf8_lossy(&bytes[..end]).into_owned(),
        body: bytes[end + 4..].to_vec(),
    })
}

/// Returns a message as bytes, with `Content-Length` in place of chunks and without the field Connection.
fn whole(message: &Message) -> Vec<u8> {
    let kept = |line: &&str| {
        let line = line.to_lowercase();
        !line.starts_with("content-length:")
            && !line.starts_with("connection:")
            && !line.starts_with("transfer-encoding:")
    };
    let chunked = field(&message.head, "transfer-encoding").is_some();
    let body = if chunked { unchunked(&message.body) } else { message.body.clone() };
    let head: Vec<&str> = message.head.lines().filter(kept).collect();
    let mut bytes = format!("{}\r\nContent-Length: {}\r\n\r\n", head.join("\r\n"), body.len()).into_bytes();
    bytes.extend_from_slice(&body);
    bytes
}

/// Returns the content of a chunked body, up to its last chunk or the first that is not valid.
fn unchunked(mut bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some(end) = bytes.windows(2).position(|window| window == b"\r\n") {
        let length =
            std::str::from_utf8(&bytes[..end]).ok().and_then(|text| usize::from_str_radix(text, 16).ok());
        let Some(length @ 1..) = length else { break };
        let Some(part) = bytes.get(end + 2..end + 2 + length) else { break };
        out.extend_from_slice(part);
        bytes = bytes.get(end + 4 + length..).unwrap_or_default();
    }
    out
}
