//! A client that resumes TLS sessions and sends early data, and records all bytes that it sends, for replays.

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, HandshakeKind};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// TLS configuration, stored sessions and timeouts of a client that resumes sessions. Clones share the sessions.
#[derive(Clone)]
pub struct ResumingClient {
    tls: Arc<ClientConfig>,
    /// Timeout for connecting. Default: 60 s.
    pub connect: Duration,
    /// Timeout of each read. Default: 60 s.
    pub patience: Duration,
}

/// Response to a request, and how the connection was established.
#[derive(Debug)]
pub struct RequestOutcome {
    /// `true` if an earlier session was resumed.
    pub resumed: bool,
    /// `true` if the request was sent as early data and the server accepted it.
    pub early: bool,
    /// Status code of the response.
    pub status: u16,
    /// Content of the response, without its head.
    pub content: String,
    /// All bytes that the client sent on the connection, encrypted.
    pub flight: Vec<u8>,
    /// Time from connecting to the end of the response.
    pub took: Duration,
}

/// Reason for a missing response.
#[derive(Debug)]
pub enum RequestError {
    /// The connection could not be established.
    Unreached(io::Error),
    /// The connection was closed, failed or timed out before the status line of a response; the reason.
    Cut(String),
}

/// A stream that records what is written.
struct RecordingStream {
    tcp: TcpStream,
    written: Vec<u8>,
}

impl Read for RecordingStream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.tcp.read(buf)
    }
}

impl Write for RecordingStream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.tcp.write(buf)?;
        self.written.extend_from_slice(&buf[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.tcp.flush()
    }
}

impl ResumingClient {
    /// Creates an HTTP/1.1 client with this TLS configuration, in which early data is enabled, with timeouts of 60 s.
    /// It stores its sessions in that of the configuration.
    #[must_use]
    pub fn new(mut config: ClientConfig) -> Self {
        config.enable_early_data = true;
        let minute = Duration::from_secs(60);
        Self { tls: Arc::new(config), connect: minute, patience: minute }
    }

    /// Creates a TLS connection to a host name, without any network traffic.
    ///
    /// # Panics
    /// Panics if the name is not valid.
    fn begin(&self, host: &str) -> ClientConnection {
        let name = ServerName::try_from(host.to_owned()).expect("a name");
        ClientConnection::new(self.tls.clone(), name).expect("a client")
    }

    /// Sends a GET request on its own connection, and reads the response until the connection ends: as early data if a
    /// stored session allows it, and after the handshake otherwise or if the server rejects early data.
    ///
    /// # Errors
    /// Returns [`RequestError::Unreached`] if the connection cannot be established within [`connect`](Self::connect),
    /// [`RequestError::Cut`] if the handshake fails or there is no response.
    ///
    /// # Panics
    /// Panics if the host name is not valid.
    pub fn ask(&self, address: SocketAddr, host: &str, path: &str) -> Result<RequestOutcome, RequestError> {
        let begun = Instant::now();
        let tcp = TcpStream::connect_timeout(&address, self.connect).map_err(RequestError::Unreached)?;
        let cut = |why: io::Error| RequestError::Cut(why.to_string());
        tcp.set_read_timeout(Some(self.patience)).map_err(cut)?;
        // Browsers do the same.
        tcp.set_nodelay(true).map_err(cut)?;
        let mut io = RecordingStream { tcp, written: Vec::new() };
        let mut tls = self.begin(host);
        let request = request(host, path);
        let sent = tls.early_data().is_some_and(|mut early| early.write_all(&request).is_ok());
        while tls.is_handshaking() {
            tls.complete_io(&mut io).map_err(cut)?;
        }
        let early = sent && tls.is_early_data_accepted();
        if !early {
            tls.writer().write_all(&request).map_err(cut)?;
        }
        let mut answer = Vec::new();
        let mut part = [0; 4096];
        let ended = loop {
            let moved = tls.complete_io(&mut io);
            match tls.reader().read(&mut part) {
                Ok(0) => break None,
                Ok(n) => answer.extend_from_slice(&part[..n]),
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => {
                    if let Err(why) = moved {
                        break Some(why);
                    }
                }
                Err(why) => break Some(why),
            }
        };
        let text = String::from_utf8_lossy(&answer);
        let status = text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        let Some(status) = status else {
            return Err(RequestError::Cut(ended.map_or_else(|| "no answer".into(), |why| why.to_string())));
        };
        let content = text.split_once("\r\n\r\n").map_or("", |(_, content)| content).to_owned();
        let resumed = tls.handshake_kind() == Some(HandshakeKind::Resumed);
        Ok(RequestOutcome { resumed, early, status, content, flight: io.written, took: begun.elapsed() })
    }

    /// Returns the first flight of a client with a stored session, with a GET request as early data, without sending
    /// it.
    ///
    /// # Panics
    /// Panics if there is no session that allows early data.
    #[must_use]
    pub fn first_flight(&self, host: &str, path: &str) -> Vec<u8> {
        let mut tls = self.begin(host);
        let early = tls.early_data().expect("a session with early data");
        { early }.write_all(&request(host, path)).expect("room");
        let mut flight = Vec::new();
        while tls.wants_write() {
            tls.write_tls(&mut flight).expect("memory");
        }
        flight
    }
}

/// Returns the bytes of an HTTP/1.1 GET request that asks to close the connection.
fn request(host: &str, path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").into_bytes()
}

/// Sends recorded bytes on a new connection, closes its sending side, and reads until the server closes the connection
/// or nothing arrives for `within`, which limits connecting as well. Returns the number of bytes read.
///
/// # Errors
/// Returns an error if the connection cannot be established.
pub fn replay(address: SocketAddr, flight: &[u8], within: Duration) -> io::Result<usize> {
    let mut tcp = TcpStream::connect_timeout(&address, within)?;
    tcp.set_read_timeout(Some(within))?;
    let _ = tcp.write_all(flight);
    let _ = tcp.shutdown(Shutdown::Write);
    let mut said = Vec::new();
    let _ = tcp.read_to_end(&mut said);
    Ok(said.len())
}
