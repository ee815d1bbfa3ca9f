//! What strangers do to a service that others use: clients that do not read, a guesser of passwords, and an interface
//! that comes and goes.

use super::traffic::{Http1, Outcome, RequestSequence};
use super::{Lab, Tally};
use base64_of::encoded;
use bytes::Bytes;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// The user of the site with passwords, and the password.
pub(super) const USER: (&str, &str) = ("ann", "open sesame");
/// The content that slow readers ask for, in bytes.
const LARGE: usize = 16 << 20;
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// A service that speaks HTTP/2 with prior knowledge.
pub(super) async fn service() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let Ok(mut connection) = h2::server::handshake(stream).await else { return };
                while let Some(Ok((request, respond))) = connection.accept().await {
                    tokio::spawn(answer(request.uri().path().to_owned(), respond));
                }
            });
        }
    });
    address
}

async fn answer(path: String, mut respond: h2::server::SendResponse<Bytes>) {
    let size = path.strip_prefix("/size/").and_then(|size| size.parse().ok()).unwrap_or(0);
    let content = Bytes::from(super::origin::content(size));
    let response = http::Response::builder().header("content-length", size).body(()).expect("a head");
    let Ok(mut stream) = respond.send_response(response, false) else { return };
    let mut rest = content;
    while !rest.is_empty() {
        stream.reserve_capacity(rest.len().min(64 * 1024));
        let Some(Ok(room)) = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await else { return };
        if stream.send_data(rest.split_to(room.min(rest.len())), false).is_err() {
            return;
        }
    }
    let _ = stream.send_data(Bytes::new(), true);
}

/// Clients that ask for much and never read, again and again.
pub(super) async fn slow_readers(lab: Arc<Lab>) {
    while !lab.over() {
        let mut readers = Vec::new();
        for _ in 0..12 {
            let Ok(socket) = TcpSocket::new_v4() else { continue };
            let _ = socket.set_recv_buffer_size(4096);
            let Ok(mut stream) = socket.connect(lab.plain).await else { continue };
            let head = format!("GET /size/{LARGE} HTTP/1.1\r\nHost: slow.test\r\n\r\n");
            let _ = stream.write_all(head.as_bytes()).await;
            readers.push(stream);
        }
        for _ in 0..8 {
            if !lab.over() {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
    }
}

/// Somebody who tries passwords of the user, from this address. Returns how many attempts were taken for right.
pub(super) async fn guesser(lab: Arc<Lab>, from: Ipv4Addr) -> u64 {
    let (mut n, mut right) = (0_u64, 0);
    while !lab.over() {
        n += 1;
        if let Ok(status) =
            tokio::time::timeout(REQUEST_TIMEOUT, login(&lab, from, &format!("guess {n}"))).await
        {
            right += u64::from(status.is_ok_and(|status| !matches!(status, 401 | 429 | 503)));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    right
}

async fn login(lab: &Lab, from: Ipv4Addr, password: &str) -> Outcome<u16> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    let mut stream = socket.connect(lab.plain).await?;
    let credentials = encoded(format!("{}:{password}", USER.0).as_bytes());
    let head = format!(
        "GET /size/10 HTTP/1.1\r\nHost: secret.test\r\nConnection: close\r\nAuthorization: Basic {credentials}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    let mut text = Vec::new();
    stream.read_to_end(&mut text).await?;
    let text = String::from_utf8_lossy(&text);
    Ok(text.get(9..12).and_then(|status| status.parse().ok()).ok_or("no status")?)
}

/// The user, whose password is right, beside those who guess it.
pub(super) async fn user(lab: Arc<Lab>, tally: Arc<Tally>) {
    while !lab.over() {
        tally.add(tokio::time::timeout(REQUEST_TIMEOUT, login(&lab, Ipv4Addr::LOCALHOST, USER.1)).await);
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
}

/// A client of the listener whose interface comes and goes. It runs in the network at the other end.
pub(super) async fn by_the_interface(lab: Arc<Lab>, tally: Arc<Tally>, address: SocketAddr) {
    let mut n = 0;
    while !lab.over() {
        n += 1;
        let asked = async {
            let stream = TcpStream::connect(address).await?;
            Http1::new(stream).ask("a.test", RequestSequence::number(n)).await
        };
        let linked = lab.linked.load(SeqCst);
        let outcome = tokio::time::timeout(REQUEST_TIMEOUT, asked).await;
        // While it is away, and for as long as a listener may take to come back, nothing can be lost.
        let there = linked % 2 == 1 && lab.linked.load(SeqCst) == linked;
        if there || matches!(outcome, Ok(Ok(_))) {
            tally.add(outcome);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

mod base64_of {
    /// Encodes bytes (RFC 4648 §4).
    pub(super) fn encoded(bytes: &[u8]) -> String {
        const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut text = String::new();
        for part in bytes.chunks(3) {
            let all =
                part.iter().fold(0_u32, |all, byte| all << 8 | u32::from(*byte)) << (8 * (3 - part.len()));
            for at in 0..4 {
                let digit = DIGITS[(all >> (18 - 6 * at)) as usize & 63];
                text.push(if at <= part.len() { char::from(digit) } else { '=' });
            }
        }
        text
    }
}
