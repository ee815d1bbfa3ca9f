//! The server of the status page on a loopback address or a Unix socket. On a loopback address, requests must have a
//! loopback address or `localhost` as their host, so that a web site cannot make a browser read the page under a name
//! that resolves to this machine (DNS rebinding).

use super::{StatusSources, metrics, page};
use crate::config::StatusAddress;
use edge_http::h1::{HeadLimits, request};
use edge_http::host::split_authority;
use edge_proxy::{Method, RequestHead, Version};
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::FileTypeExt;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};

/// The time limit for a connection: for reading the request and sending the response together.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(10);

/// The listening socket of the status page.
pub(crate) enum StatusListener {
    /// A TCP socket on a loopback address.
    Tcp(TcpListener),
    /// A Unix socket.
    Unix(UnixListener),
}

impl StatusListener {
    /// Binds the address. A Unix socket file to which nothing can connect is replaced.
    ///
    /// # Errors
    /// The address could not be bound, or the socket file not be removed.
    pub(crate) async fn bind(address: &StatusAddress) -> io::Result<Self> {
        match address {
            StatusAddress::Loopback(address) => TcpListener::bind(address).await.map(Self::Tcp),
            StatusAddress::Unix(path) => {
                let left = std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
                if left && tokio::net::UnixStream::connect(path).await.is_err() {
                    std::fs::remove_file(path)?;
                }
                UnixListener::bind(path).map(Self::Unix)
            }
        }
    }
}

/// Tries to bind the address every 200 ms until that succeeds, then serves the status page. Never returns.
pub(crate) async fn run_later(address: StatusAddress, watched: Arc<StatusSources>) {
    loop {
        if let Ok(listener) = StatusListener::bind(&address).await {
            return run(listener, watched).await;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Serves the status page, each connection in a task of its own. Never returns.
pub(crate) async fn run(listener: StatusListener, watched: Arc<StatusSources>) {
    loop {
        let accepted = match &listener {
            StatusListener::Tcp(listener) => listener.accept().await.map(|(stream, _)| {
                let watched = watched.clone();
                tokio::spawn(async move {
                    let _ = tokio::time::timeout(EXCHANGE_TIMEOUT, serve_one(stream, true, &watched)).await;
                });
            }),
            StatusListener::Unix(listener) => listener.accept().await.map(|(stream, _)| {
                let watched = watched.clone();
                tokio::spawn(async move {
                    let _ = tokio::time::timeout(EXCHANGE_TIMEOUT, serve_one(stream, false, &watched)).await;
                });
            }),
        };
        if accepted.is_err() {
            // Out of descriptors: leave the remaining ones to the proxy.
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

/// Reads one request, responds to it and closes the connection. If `by_name`, the host must be a loopback address or
/// `localhost`. A request that is not valid, or exceeds 16 KiB, gets no response.
///
/// # Errors
/// The error of reading or writing.
async fn serve_one<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    by_name: bool,
    watched: &StatusSources,
) -> io::Result<()> {
    let limits = HeadLimits { bytes: 16 * 1024, fields: 100, target: 1024 };
    let mut head = RequestHead::new(Version::Http11);
    let mut waiting = Vec::new();
    loop {
        match request(&waiting, &limits, &mut head) {
            Ok(Some(_)) => break,
            Ok(None) => {}
            Err(_) => return Ok(()),
        }
        if stream.read_buf(&mut waiting).await? == 0 {
            return Ok(());
        }
    }
    let (status, kind, content) = answer(&head, by_name, watched);
    let head_only = head.method == Method::Head;
    let said = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
         Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'\r\nX-Content-Type-Options: nosniff\r\n\
         Connection: close\r\n\r\n",
        content.len()
    );
    stream.write_all(said.as_bytes()).await?;
    if !head_only {
        stream.write_all(content.as_bytes()).await?;
    }
    stream.shutdown().await
}

/// Returns the status line after the version, the media type and the content of the response to a request: `/` is the
/// page, `/metrics` the metrics of Prometheus, and `/status.json` the report. 421 if `by_name` and the host is not of
/// this machine, 405 for methods other than GET and HEAD, and 404 for other paths.
fn answer(
    head: &RequestHead,
    by_name: bool,
    watched: &StatusSources,
) -> (&'static str, &'static str, String) {
    const TEXT: &str = "text/plain; charset=utf-8";
    if by_name && !is_loopback(&head.authority) {
        return ("421 Misdirected Request", TEXT, "request it by a loopback address or localhost\n".into());
    }
    if !matches!(head.method, Method::Get | Method::Head) {
        return ("405 Method Not Allowed", TEXT, "only GET and HEAD are allowed\n".into());
    }
    match head.target.split('?').next().unwrap_or_default() {
        "/" => {
            let history = watched.history.lock().unwrap_or_else(PoisonError::into_inner);
            ("200 OK", "text/html; charset=utf-8", page::html(&watched.report(), &history))
        }
        "/metrics" => {
            let mut text = watched.proxy.metrics().to_prometheus();
            metrics::append(watched, &mut text);
            ("200 OK", "text/plain; version=0.0.4; charset=utf-8", text)
        }
        // Contains only text and numbers, so serialisation cannot fail.
        "/status.json" => {
            ("200 OK", "application/json", serde_json::to_string(&watched.report()).unwrap_or_default())
        }
        _ => ("404 Not Found", TEXT, "not found; available: /, /metrics and /status.json\n".into()),
    }
}

/// Returns true if the host of an authority is `localhost`, in any case, or a loopback address. False for an invalid
/// authority.
fn is_loopback(authority: &str) -> bool {
    let Some((host, _, _)) = split_authority(authority) else { return false };
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
