//! Serving the page on loopback or a Unix socket. Requests must name loopback as their host, so that no page elsewhere can
//! make a browser read it by a name that points here.

use super::{Watched, page};
use crate::config::StatusAddress;
use edge_proxy::h1::{HeadLimits, request};
use edge_proxy::host::split_authority;
use edge_proxy::{Method, RequestHead, Version};
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::FileTypeExt;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};

/// Within which a request is read and answered.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where it listens.
pub(crate) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    /// Begins to listen. A socket that a predecessor left is taken over.
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

/// Serves for as long as it is polled.
pub(crate) async fn run(listener: Listener, watched: Arc<Watched>) {
    loop {
        let accepted = match &listener {
            Listener::Tcp(listener) => listener.accept().await.map(|(stream, _)| {
                let watched = watched.clone();
                tokio::spawn(async move {
                    let _ = tokio::time::timeout(PATIENCE, one(stream, true, &watched)).await;
                });
            }),
            Listener::Unix(listener) => listener.accept().await.map(|(stream, _)| {
                let watched = watched.clone();
                tokio::spawn(async move {
                    let _ = tokio::time::timeout(PATIENCE, one(stream, false, &watched)).await;
                });
            }),
        };
        if accepted.is_err() {
            // Out of descriptors: the proxy itself has more need of them.
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

/// One request and its answer.
async fn one<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    by_name: bool,
    watched: &Watched,
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

fn answer(head: &RequestHead, by_name: bool, watched: &Watched) -> (&'static str, &'static str, String) {
    const TEXT: &str = "text/plain; charset=utf-8";
    if by_name && !is_here(&head.authority) {
        return ("421 Misdirected Request", TEXT, "ask for it by an address of loopback\n".into());
    }
    if !matches!(head.method, Method::Get | Method::Head) {
        return ("405 Method Not Allowed", TEXT, "it can only be read\n".into());
    }
    match head.target.split('?').next().unwrap_or_default() {
        "/" => {
            let history = watched.history.lock().unwrap_or_else(PoisonError::into_inner);
            ("200 OK", "text/html; charset=utf-8", page::html(&watched.report(), &history))
        }
        "/metrics" => {
            ("200 OK", "text/plain; version=0.0.4; charset=utf-8", watched.proxy.metrics().to_prometheus())
        }
        // Text and numbers only: nothing in it cannot be written.
        "/status.json" => {
            ("200 OK", "application/json", serde_json::to_string(&watched.report()).unwrap_or_default())
        }
        _ => ("404 Not Found", TEXT, "there are /, /metrics and /status.json\n".into()),
    }
}

/// Whether this names loopback.
fn is_here(authority: &str) -> bool {
    let Some((host, _, _)) = split_authority(authority) else { return false };
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
