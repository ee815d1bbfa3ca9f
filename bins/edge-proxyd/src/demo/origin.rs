//! The upstream services of the demonstration: one for HTTP/1.1 and WebSocket, and one for gRPC over HTTP/2 without
//! TLS. The former records its requests.

use base64_accept::accept_key;
use bytes::Bytes;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

mod base64_accept {
    /// Returns the value of `Sec-WebSocket-Accept` for a key (RFC 6455 §4.2.2).
    pub(super) fn accept_key(key: &str) -> String {
        String::from_utf8_lossy(&edge_http::websocket::accept(key.as_bytes())).into_owned()
    }
}

/// A request as a service received it.
#[derive(Clone, Debug)]
pub(super) struct RecordedRequest {
    /// The request line, without the line break.
    pub(super) line: String,
    /// Names and values of the header fields, in their order.
    pub(super) fields: Vec<(String, String)>,
}

impl RecordedRequest {
    /// Returns the value of the first field with this name, ignoring case. `None` if there is none.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.fields
            .iter()
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

/// The requests that a service received. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory(Arc<Mutex<Vec<RecordedRequest>>>);

impl Memory {
    /// Appends a request.
    fn push(&self, seen: RecordedRequest) {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(seen);
    }

    /// Returns the requests whose request line contains `part`.
    pub(super) fn find(&self, part: &str) -> Vec<RecordedRequest> {
        let all = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        all.iter().filter(|seen| seen.line.contains(part)).cloned().collect()
    }
}

/// Starts the HTTP/1.1 service on a free port of 127.0.0.1. Returns its address and the requests that it records.
pub(super) async fn http1() -> io::Result<(SocketAddr, Memory)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let memory = Memory::default();
    let remember = memory.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let memory = remember.clone();
            tokio::spawn(async move {
                // A client that disconnects only ends its own connection.
                let _ = http1_connection(stream, memory).await;
            });
        }
    });
    Ok((address, memory))
}

/// Serves a connection until it ends: records each request and responds with its head as content, or switches to
/// WebSocket if the request has `Sec-WebSocket-Key`, and echoes frames.
async fn http1_connection(stream: TcpStream, memory: Memory) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let mut fields = Vec::new();
        loop {
            let mut field = String::new();
            stream.read_line(&mut field).await?;
            let Some((name, value)) = field.trim_end().split_once(':') else { break };
            fields.push((name.to_owned(), value.trim().to_owned()));
        }
        let seen = RecordedRequest { line: line.trim_end().to_owned(), fields };
        let length = seen.field("content-length").and_then(|value| value.parse().ok()).unwrap_or(0usize);
        let mut content = vec![0; length];
        stream.read_exact(&mut content).await?;
        memory.push(seen.clone());
        if let Some(key) = seen.field("sec-websocket-key") {
            let head = format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n\r\n",
                accept_key(key)
            );
            stream.write_all(head.as_bytes()).await?;
            return websocket_echo(stream).await;
        }
        let mut text = format!("{}\n", seen.line);
        for (name, value) in &seen.fields {
            text.push_str(&format!("{name}: {value}\n"));
        }
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n", text.len());
        let head_only = seen.line.starts_with("HEAD ");
        let answer = if head_only { head } else { head + &text };
        stream.write_all(answer.as_bytes()).await?;
    }
}

/// Echoes every frame without its mask (RFC 6455 §5.2), until a close frame has been echoed. A ping is answered by a
/// pong.
async fn websocket_echo(mut stream: BufReader<TcpStream>) -> io::Result<()> {
    loop {
        let first = stream.read_u8().await?;
        let second = stream.read_u8().await?;
        let length = match second & 0x7f {
            126 => usize::from(stream.read_u16().await?),
            127 => usize::try_from(stream.read_u64().await?).unwrap_or(usize::MAX).min(1 << 20),
            short => usize::from(short),
        };
        let mut mask = [0; 4];
        if second & 0x80 != 0 {
            stream.read_exact(&mut mask).await?;
        }
        let mut data = vec![0; length];
        stream.read_exact(&mut data).await?;
        for (at, byte) in data.iter_mut().enumerate() {
            *byte ^= mask[at % 4];
        }
        // A ping is answered by a pong, everything else by itself.
        let first = if first & 0x0f == 9 { (first & 0xf0) | 10 } else { first };
        let mut frame = vec![first];
        match u16::try_from(length) {
            Ok(length) if length < 126 => frame.push(length as u8),
            Ok(length) => {
                frame.push(126);
                frame.extend_from_slice(&length.to_be_bytes());
            }
            Err(_) => {
                frame.push(127);
                frame.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        frame.extend_from_slice(&data);
        stream.write_all(&frame).await?;
        if first & 0x0f == 8 {
            return Ok(());
        }
    }
}

/// Starts the gRPC service on a free port of 127.0.0.1, and returns its address. It echoes the content of requests,
/// followed by the trailer `grpc-status: 0`.
pub(super) async fn grpc() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = grpc_connection(stream).await;
            });
        }
    });
    Ok(address)
}

/// Serves an HTTP/2 connection until it ends: echoes the content of each request, followed by the trailer.
async fn grpc_connection(stream: TcpStream) -> Result<(), h2::Error> {
    let mut connection = h2::server::handshake(stream).await?;
    while let Some(request) = connection.accept().await {
        let (request, mut respond) = request?;
        tokio::spawn(async move {
            let mut content = request.into_body();
            let head = http::Response::builder().header("content-type", "application/grpc").body(());
            let Ok(head) = head else { return Ok(()) };
            let mut send = respond.send_response(head, false)?;
            while let Some(chunk) = content.data().await {
                let chunk: Bytes = chunk?;
                let _ = content.flow_control().release_capacity(chunk.len());
                send.send_data(chunk, false)?;
            }
            let mut trailers = http::HeaderMap::new();
            trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
            send.send_trailers(trailers)
        });
    }
    Ok(())
}
