//! A TLS proxy in front of a server, with fault injection.

use crate::{Authority, tls_client};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, ServerConfig, ServerConnection, StreamOwned};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Treatment of a request by the proxy.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Forwards the request and its response.
    Pass,
    /// Responds without forwarding: with a status (code and reason), fields, each with its line ending, and content.
    /// The field `Content-Length` is added.
    Answer(String, String, String),
    /// Forwards the request, discards the response, and closes the connection.
    Swallow,
    /// Forwards the request, and replaces every occurrence of the first text in the response, head included, by the
    /// second. `Content-Length` is adapted.
    Replace(String, String),
}

/// Function that selects the fault. Its arguments are the method and path of the request (`POST /path`), and the number
/// of earlier requests of the same kind, that is with the same method and first segment of the path.
type FaultScript = dyn Fn(&str, usize) -> Fault + Send + Sync;

/// A TLS proxy in front of an ACME server, with a certificate of its own for `localhost`, which injects faults. It runs
/// until the test's process exits.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    authority: Authority,
    requests: Arc<Mutex<Vec<(Instant, String)>>>,
}

impl FaultProxy {
    /// Starts a proxy on a free loopback port for the server on `localhost` at the address `to`, whose certificate
    /// chains to `root`, in PEM. `script` selects the treatment of each request by its method and path and the number
    /// of earlier requests of the same kind.
    ///
    /// # Panics
    /// Panics if no port is free or `root` is not a certificate.
    pub fn start(
        to: SocketAddr,
        root: &str,
        script: impl Fn(&str, usize) -> Fault + Send + Sync + 'static,
    ) -> Self {
        let authority = Authority::new();
        let (chain, key) = authority.pair(&["localhost"]);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("a pair");
        let (config, client) = (Arc::new(config), Arc::new(tls_client(root, &[])));
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let requests: Arc<Mutex<Vec<(Instant, String)>>> = Arc::default();
        let (record, script): (_, Arc<FaultScript>) = (requests.clone(), Arc::new(script));
        std::thread::spawn(move || {
            for tcp in listener.incoming().flatten() {
                let (record, script, config, client) =
                    (record.clone(), script.clone(), config.clone(), client.clone());
                std::thread::spawn(move || {
                    let Ok(tls) = ServerConnection::new(config) else { return };
                    let mut stream = StreamOwned::new(tls, tcp);
                    while let Some(request) = read_request(&mut stream) {
                        let line = request.0.lines().next().unwrap_or_default();
                        let line = line.rsplit_once(' ').map_or(line, |(line, _)| line).to_owned();
                        let before = {
                            let mut all = record.lock().expect("no panic while recording");
                            let same = |(_, other): &&(Instant, String)| kind(other) == kind(&line);
                            let before = all.iter().filter(same).count();
                            all.push((Instant::now(), line.clone()));
                            before
                        };
                        let answer = match script(&line, before) {
                            Fault::Pass => forward(to, &client, &request),
                            Fault::Answer(status, fields, content) => Some(
                                format!(
                                    "HTTP/1.1 {status}\r\n{fields}Content-Length: {}\r\n\r\n{content}",
                                    content.len()
                                )
                                .into_bytes(),
                            ),
                            Fault::Swallow => {
                                forward(to, &client, &request);
                                None
                            }
                            Fault::Replace(old, new) => forward(to, &client, &request).map(|answer| {
                                let text = String::from_utf8_lossy(&answer).replace(&old, &new);
                                let (head, content) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
                                let head: Vec<&str> = head
                                    .lines()
                                    .filter(|line| !line.to_ascii_lowercase().starts_with("content-length"))
                                    .collect();
                                format!(
                                    "{}\r\nContent-Length: {}\r\n\r\n{content}",
                                    head.join("\r\n"),
                                    content.len()
                                )
                                .into_bytes()
                            }),
                        };
                        let Some(answer) = answer else { return };
                        let head = String::from_utf8_lossy(&answer[..answer.len().min(4096)]).to_lowercase();
                        if stream.write_all(&answer).is_err() || head.contains("connection: close") {
                            stream.conn.send_close_notify();
                            let _ = stream.flush();
                            return;
                        }
                    }
                });
            }
        });
        Self { address, authority, requests }
    }

    /// Returns the address of the proxy.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the directory URL of the ACME server through the proxy.
    #[must_use]
    pub fn directory(&self) -> String {
        format!("https://localhost:{}/dir", self.address.port())
    }

    /// Returns the certificate of the authority that issued the proxy's certificate, in PEM.
    #[must_use]
    pub fn root(&self) -> &str {
        self.authority.root()
    }

    /// Returns method and path of the requests so far, such as `POST /path`, in the order in which they were received.
    ///
    /// # Panics
    /// Panics if recording panicked.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        let all = self.requests.lock().expect("no panic while recording");
        all.iter().map(|(_, line)| line.clone()).collect()
    }

    /// Returns the number of requests of a kind, given as method and first segment of the path, such as `POST
    /// /order-plz`.
    #[must_use]
    pub fn count(&self, line: &str) -> usize {
        self.requests().iter().filter(|found| kind(found) == line).count()
    }
}

/// Returns the beginning of a text such as `POST /order/1` up to the end of the first segment of the path: `POST
/// /order`.
fn kind(line: &str) -> &str {
    let at = line.find('/').map_or(line.len(), |first| {
        line[first + 1..].find('/').map_or(line.len(), |second| first + 1 + second)
    });
    &line[..at]
}

/// Reads a request. Returns its head, without the empty line, and its body, whose length `Content-Length` determines (0
/// without it). `None` if the connection ends or fails before.
fn read_request(stream: &mut impl Read) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut part = [0; 16_384];
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let length: usize = head
                .lines()
                .find_map(|line| line.to_lowercase().strip_prefix("content-length:")?.trim().parse().ok())
                .unwrap_or(0);
            if bytes.len() >= end + 4 + length {
                return Some((head, bytes[end + 4..].to_vec()));
            }
        }
        match stream.read(&mut part) {
            Ok(n @ 1..) => bytes.extend_from_slice(&part[..n]),
            _ => return None,
        }
    }
}

/// Forwards a request, head and body, to the server `localhost` at an address, on a new connection. Returns the whole
/// response, or its part up to a pause of 20 s. `None` if the connection fails or nothing arrives.
fn forward(
    to: SocketAddr,
    client: &Arc<rustls::ClientConfig>,
    (head, body): &(String, Vec<u8>),
) -> Option<Vec<u8>> {
    let tcp = TcpStream::connect(to).ok()?;
    tcp.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
    let name = ServerName::try_from("localhost").ok()?;
    let mut stream = StreamOwned::new(ClientConnection::new(client.clone(), name).ok()?, tcp);
    stream.write_all(format!("{head}\r\nConnection: close\r\n\r\n").as_bytes()).ok()?;
    stream.write_all(body).ok()?;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    (!answer.is_empty()).then_some(answer)
}
