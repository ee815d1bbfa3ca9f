//! An origin that can die and return on the same port.

use edge_http::websocket;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Mutex;
use tokio::task::JoinSet;

/// Returns content of this size, as requested by a path.
pub(super) fn content(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at % 251) as u8).collect()
}

/// Describes received content by its length and a checksum.
pub(super) fn digest(content: &[u8]) -> String {
    let sum = content.iter().fold(0u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
    format!("{} {sum}", content.len())
}

/// A running origin.
#[derive(Clone)]
pub(super) struct Service {
    pub(super) address: SocketAddr,
    running: Arc<Mutex<Option<tokio::task::JoinHandle<()>>>>,
}

impl Service {
    pub(super) async fn start() -> Self {
        let running = Arc::new(Mutex::new(None));
        let mut service = Self { address: ([127, 0, 0, 1], 0).into(), running };
        service.address = service.revive().await;
        service
    }

    /// Listens again on its former port.
    pub(super) async fn revive(&self) -> SocketAddr {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_reuseaddr(true).expect("an option");
        socket.bind(self.address).expect("its own port");
        let listener = socket.listen(1024).expect("it listens");
        let address = listener.local_addr().expect("an address");
        let task = tokio::spawn(async move {
            // The connections end with this task.
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                while connections.try_join_next().is_some() {}
                connections.spawn(async move { drop(serve(stream).await) });
            }
        });
        *self.running.lock().await = Some(task);
        address
    }

    /// Aborts all connections.
    pub(super) async fn die(&self) {
        if let Some(task) = self.running.lock().await.take() {
            task.abort();
            let _ = task.await;
        }
    }
}

async fn serve(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut waiting = Vec::new();
    loop {
        let Some(head) = until(&mut stream, &mut waiting, b"\r\n\r\n").await? else { return Ok(()) };
        let text = String::from_utf8_lossy(&head).into_owned();
        let field = |name: &str| {
            text.lines().find_map(|line| {
                let (found, value) = line.split_once(':')?;
                found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
            })
        };
        if let Some(key) = field("sec-websocket-key") {
            let accept = websocket::accept(key.as_bytes());
            let accept = String::from_utf8_lossy(&accept).into_owned();
            let said = format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
            );
            stream.write_all(said.as_bytes()).await?;
            return echo(stream, waiting).await;
        }
        let body = if text.to_lowercase().contains("transfer-encoding: chunked") {
            chunked(&mut stream, &mut waiting).await?
        } else {
            let length = field("content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
            exactly(&mut stream, &mut waiting, length).await?
        };
        let path = text.split(' ').nth(1).unwrap_or_default();
        let answer = match path.strip_prefix("/size/").and_then(|size| size.parse().ok()) {
            Some(size) => content(size),
            None => digest(&body).into_bytes(),
        };
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n",
            answer.len()
        );
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(&answer).await?;
    }
}

async fn echo(mut stream: TcpStream, already: Vec<u8>) -> io::Result<()> {
    stream.write_all(&already).await?;
    let mut part = [0; 4096];
    loop {
        let n = stream.read(&mut part).await?;
        if n == 0 {
            return Ok(());
        }
        stream.write_all(&part[..n]).await?;
    }
}

/// Reads up to and including a delimiter. Returns nothing if the connection ends before.
pub(super) async fn until(
    stream: &mut (impl tokio::io::AsyncRead + Unpin),
    waiting: &mut Vec<u8>,
    end: &[u8],
) -> io::Result<Option<Vec<u8>>> {
    loop {
        if let Some(at) = waiting.windows(end.len()).position(|window| window == end) {
            return Ok(Some(waiting.drain(..at + end.len()).collect()));
        }
        if stream.read_buf(waiting).await? == 0 {
            return if waiting.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
    }
}

/// Reads exactly this many bytes.
pub(super) async fn exactly(
    stream: &mut (impl tokio::io::AsyncRead + Unpin),
    waiting: &mut Vec<u8>,
    length: usize,
) -> io::Result<Vec<u8>> {
    while waiting.len() < length {
        if stream.read_buf(waiting).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(waiting.drain(..length).collect())
}

async fn chunked(stream: &mut TcpStream, waiting: &mut Vec<u8>) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = until(stream, waiting, b"\r\n").await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let size =
            usize::from_str_radix(String::from_utf8_lossy(&line).trim(), 16).map_err(io::Error::other)?;
        let part = exactly(stream, waiting, size + 2).await?;
        if size == 0 {
            return Ok(body);
        }
        body.extend_from_slice(&part[..size]);
    }
}
