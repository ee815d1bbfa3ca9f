//! An origin server that records every byte that it receives, with scripted responses.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Function that creates responses. Its argument is all bytes of the connection that have no response yet. It returns
/// the response and the number of bytes that it consumed; `None` waits for more bytes. An empty response, or 0 consumed
/// bytes, closes the connection.
type ResponseScript = dyn Fn(&[u8]) -> Option<(Vec<u8>, usize)> + Send + Sync;

/// A TCP server on a free loopback port. It runs until the test's process exits. Clones share it. Its methods panic if
/// recording panicked.
#[derive(Clone)]
pub struct Origin {
    address: SocketAddr,
    connections: Arc<Mutex<Vec<Vec<u8>>>>,
}

/// Returns a complete HTTP/1.1 response of status 200 with this content.
pub fn answer(content: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{content}", content.len()).into_bytes()
}

impl Origin {
    /// Starts an origin that responds to each complete HTTP/1.1 request with status 200 and the content `ok`. The
    /// length of the body is that of `Content-Length` or of its chunks.
    pub fn simple() -> Self {
        Self::scripted(|bytes| {
            let head = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
            let text = String::from_utf8_lossy(&bytes[..head]).to_lowercase();
            let length =
                text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
            let end = if text.contains("transfer-encoding: chunked") {
                bytes.windows(5).position(|window| window == b"0\r\n\r\n")? + 5
            } else {
                head + length.unwrap_or(0)
            };
            (bytes.len() >= end).then(|| (answer("ok"), end))
        })
    }

    /// Starts an origin that responds by a script. The script receives the bytes without a response so far, and returns
    /// the response and the number of bytes that it consumed; `None` if it needs more. An empty response, or 0 consumed
    /// bytes, closes the connection.
    pub fn scripted(script: impl Fn(&[u8]) -> Option<(Vec<u8>, usize)> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let connections: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let (record, script): (_, Arc<ResponseScript>) = (connections.clone(), Arc::new(script));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (record, script) = (record.clone(), script.clone());
                std::thread::spawn(move || serve(stream, &record, &*script));
            }
        });
        Self { address, connections }
    }

    /// Returns the address of the origin.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns all bytes received, connection by connection, in the order in which they were accepted.
    pub fn bytes(&self) -> Vec<u8> {
        self.connections.lock().expect("no panic while recording").concat()
    }

    /// Returns all bytes received as text, as [`bytes`](Self::bytes) orders them; invalid UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }

    /// Returns the number of connections accepted so far, also closed ones.
    pub fn connections(&self) -> usize {
        self.connections.lock().expect("no panic while recording").len()
    }

    /// Waits until `enough` returns `true` for the received text, at most 5 s. Returns `false` if it did not.
    pub fn wait(&self, enough: impl Fn(&str) -> bool) -> bool {
        let until = Instant::now() + Duration::from_secs(5);
        while Instant::now() < until {
            if enough(&self.text()) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    }
}

/// Serves a connection by the script until either side closes it, and appends its bytes to a new entry of `record`.
fn serve(mut stream: TcpStream, record: &Mutex<Vec<Vec<u8>>>, script: &ResponseScript) {
    let number = {
        let mut all = record.lock().expect("no panic while recording");
        all.push(Vec::new());
        all.len() - 1
    };
    let mut waiting = Vec::new();
    let mut part = [0; 65536];
    loop {
        while let Some((answer, used)) = script(&waiting) {
            waiting.drain(..used.min(waiting.len()));
            if answer.is_empty() {
                let _ = stream.shutdown(Shutdown::Both);
                return;
            }
            if stream.write_all(&answer).is_err() || used == 0 {
                return;
            }
        }
        match stream.read(&mut part) {
            Ok(n @ 1..) => {
                waiting.extend_from_slice(&part[..n]);
                record.lock().expect("no panic while recording")[number].extend_from_slice(&part[..n]);
            }
            _ => return,
        }
    }
}
