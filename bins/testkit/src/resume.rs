//! A client that resumes its sessions and sends early data, and keeps all that it sent, so that it can be sent again.

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, HandshakeKind};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Whom a client believes, what it remembers, and how long it waits.
#[derive(Clone)]
pub struct Resuming {
    tls: Arc<ClientConfig>,
    /// For a connection to be made.
    pub connect: Duration,
    /// For the next bytes.
    pub patience: Duration,
}

/// How a request went.
#[derive(Debug)]
pub struct Went {
    /// The session was one of an earlier connection.
    pub resumed: bool,
    /// The request was taken from early data.
    pub early: bool,
    /// The status of the answer.
    pub status: u16,
    /// Its content.
    pub content: String,
    /// All that the client sent.
    pub flight: Vec<u8>,
    /// From the connection to the answer's end.
    pub took: Duration,
}

/// Why there was no answer.
#[derive(Debug)]
pub enum Unanswered {
    /// There was no connection.
    Unreached(io::Error),
    /// There was one, and it ended.
    Cut(String),
}

/// A stream that keeps what is written.
struct Kept {
    tcp: TcpStream,
    written: Vec<u8>,
}

impl Read for Kept {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.tcp.read(buf)
    }
}

impl Write for Kept {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.tcp.write(buf)?;
        self.written.extend_from_slice(&buf[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.tcp.flush()
    }
}

impl Resuming {
    /// A client that speaks HTTP/1.1 by this configuration, which remembers its sessions, and waits a minute for anything.
    #[must_use]
    pub fn new(mut config: ClientConfig) -> Self {
        config.enable_early_data = true;
        let minute = Duration::from_secs(60);
        Self { tls: Arc::new(config), connect: minute, patience: minute }
    }

    fn begin(&self, host: &str) -> ClientConnection {
        let name = ServerName::try_from(host.to_owned()).expect("a name");
        ClientConnection::new(self.tls.clone(), name).expect("a client")
    }

    /// One request on a connection of its own: as early data where the client may, and again after the handshake where that was
    /// refused.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn ask(&self, address: SocketAddr, host: &str, path: &str) -> Result<Went, Unanswered> {
        let begun = Instant::now();
        let tcp = TcpStream::connect_timeout(&address, self.connect).map_err(Unanswered::Unreached)?;
        let cut = |why: io::Error| Unanswered::Cut(why.to_string());
        tcp.set_read_timeout(Some(self.patience)).map_err(cut)?;
        // As browsers do.
        tcp.set_nodelay(true).map_err(cut)?;
        let mut io = Kept { tcp, written: Vec::new() };
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
            return Err(Unanswered::Cut(ended.map_or_else(|| "no answer".into(), |why| why.to_string())));
        };
        let content = text.split_once("\r\n\r\n").map_or("", |(_, content)| content).to_owned();
        let resumed = tls.handshake_kind() == Some(HandshakeKind::Resumed);
        Ok(Went { resumed, early, status, content, flight: io.written, took: begun.elapsed() })
    }

    /// What a client with a session sends first, sent to nobody.
    ///
    /// # Panics
    /// If it has no session that early data may be sent in.
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

fn request(host: &str, path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").into_bytes()
}

/// Sends somebody's bytes once more, until the server has said all that it will, for at most so long. How many bytes it said.
pub fn replay(address: SocketAddr, flight: &[u8], within: Duration) -> io::Result<usize> {
    let mut tcp = TcpStream::connect_timeout(&address, within)?;
    tcp.set_read_timeout(Some(within))?;
    let _ = tcp.write_all(flight);
    let _ = tcp.shutdown(Shutdown::Write);
    let mut said = Vec::new();
    let _ = tcp.read_to_end(&mut said);
    Ok(said.len())
}
