//! Clients that are served continuously and verify that each response is complete and correct.

use super::origin::{content, digest, exactly, until};
use super::{Lab, Tally};
use bytes::{Buf, Bytes};
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

pub(super) type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// The time within which a response must be complete.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// The pause between requests of a client, so that the machine can serve all of them.
const PAUSE: Duration = Duration::from_millis(4);

/// The sequence of requests.
#[derive(Clone, Copy)]
pub(super) struct RequestSequence {
    pub(super) upload: Option<usize>,
    pub(super) size: usize,
}

impl RequestSequence {
    pub(super) fn number(n: usize) -> Self {
        match n % 8 {
            0 => Self { upload: None, size: 200_000 },
            1 => Self { upload: Some(100_000), size: 0 },
            2 => Self { upload: Some(10), size: 0 },
            _ => Self { upload: None, size: 100 * (n % 7) },
        }
    }

    const fn method(self) -> &'static str {
        if self.upload.is_some() { "POST" } else { "GET" }
    }

    fn path(self) -> String {
        if self.upload.is_some() { "/up".into() } else { format!("/size/{}", self.size) }
    }

    fn body(self) -> Vec<u8> {
        self.upload.map(content).unwrap_or_default()
    }

    fn expected(self) -> Vec<u8> {
        self.upload.map_or_else(|| content(self.size), |size| digest(&content(size)).into_bytes())
    }

    fn judge(self, status: u16, body: &[u8]) -> Outcome<u16> {
        if status == 200 && body != self.expected() {
            return Err(format!("{} bytes instead of {}", body.len(), self.expected().len()).into());
        }
        Ok(status)
    }
}

/// An HTTP/1.1 connection, with bytes read ahead.
pub(super) struct Http1<S>(S, Vec<u8>);

impl<S: AsyncRead + AsyncWrite + Unpin> Http1<S> {
    pub(super) const fn new(stream: S) -> Self {
        Self(stream, Vec::new())
    }

    /// Sends a request and returns its status, if the response is complete and correct.
    pub(super) async fn ask(&mut self, host: &str, ask: RequestSequence) -> Outcome<u16> {
        let body = ask.body();
        let length = ask.upload.map_or(String::new(), |size| format!("Content-Length: {size}\r\n"));
        let head = format!("{} {} HTTP/1.1\r\nHost: {host}\r\n{length}\r\n", ask.method(), ask.path());
        self.0.write_all(head.as_bytes()).await?;
        self.0.write_all(&body).await?;
        self.0.flush().await?;
        let head = until(&mut self.0, &mut self.1, b"\r\n\r\n").await?.ok_or("it ended without an answer")?;
        let text = String::from_utf8_lossy(&head).into_owned();
        let status = text.get(9..12).and_then(|status| status.parse().ok()).ok_or("no status")?;
        let length = text.lines().find_map(|line| {
            line.to_lowercase().strip_prefix("content-length:").and_then(|value| value.trim().parse().ok())
        });
        let body = exactly(&mut self.0, &mut self.1, length.ok_or("no length")?).await?;
        ask.judge(status, &body)
    }
}

/// Opens connections one after another, with many requests each, until the end.
pub(super) async fn http1(lab: Arc<Lab>, tally: Arc<Tally>, host: &'static str, tls: bool, gets: bool) {
    let mut n = 0;
    while !lab.over() {
        let connected = async {
            let address = if tls { lab.tls } else { lab.plain };
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let stream: Box<dyn AsyncStream> = if tls {
                let connector = tokio_rustls::TlsConnector::from(lab.client(&[b"http/1.1"]));
                Box::new(connector.connect(host.try_into()?, stream).await?)
            } else {
                Box::new(stream)
            };
            Outcome::Ok(Http1(stream, Vec::new()))
        };
        let mut connection = match connected.await {
            Ok(connection) => connection,
            Err(why) => return tally.lost(why.as_ref()),
        };
        for _ in 0..200 {
            if lab.over() {
                return;
            }
            n += 1;
            let ask =
                if gets { RequestSequence { upload: None, size: 5000 } } else { RequestSequence::number(n) };
            if !tally.add(tokio::time::timeout(REQUEST_TIMEOUT, connection.ask(host, ask)).await) {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

pub(super) trait AsyncStream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> AsyncStream for T {}

/// HTTP/2 clients with three concurrent requests per connection.
pub(super) async fn http2(lab: Arc<Lab>, tally: Arc<Tally>) {
    let mut n = 0;
    while !lab.over() {
        let connected = async {
            let stream = TcpStream::connect(lab.tls).await?;
            stream.set_nodelay(true)?;
            let connector = tokio_rustls::TlsConnector::from(lab.client(&[b"h2"]));
            let stream = connector.connect("a.test".try_into()?, stream).await?;
            Outcome::Ok(h2::client::handshake(stream).await?)
        };
        let (send, connection) = match connected.await {
            Ok(connected) => connected,
            Err(why) => return tally.lost(why.as_ref()),
        };
        let driving = tokio::spawn(connection);
        for _ in 0..100 {
            if lab.over() {
                break;
            }
            n += 3;
            let asked = [n, n + 1, n + 2].map(|n| ask2(send.clone(), RequestSequence::number(n)));
            let [a, b, c] = asked.map(|asked| tokio::time::timeout(REQUEST_TIMEOUT, asked));
            let (a, b, c) = tokio::join!(a, b, c);
            if [a, b, c].into_iter().map(|one| tally.add(one)).filter(|went| !went).count() > 0 {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
        drop(send);
        let _ = tokio::time::timeout(REQUEST_TIMEOUT, driving).await;
    }
}

async fn ask2(send: h2::client::SendRequest<Bytes>, ask: RequestSequence) -> Outcome<u16> {
    let mut send = send.ready().await?;
    let request = http::Request::builder()
        .method(ask.method())
        .uri(format!("https://a.test{}", ask.path()))
        .version(http::Version::HTTP_2)
        .body(())?;
    let (response, mut body) = send.send_request(request, ask.upload.is_none())?;
    if ask.upload.is_some() {
        body.send_data(ask.body().into(), true)?;
    }
    let response = response.await?;
    let status = response.status().as_u16();
    let (mut body, mut got) = (response.into_body(), Vec::new());
    while let Some(part) = body.data().await {
        let part = part?;
        body.flow_control().release_capacity(part.len())?;
        got.extend_from_slice(&part);
    }
    ask.judge(status, &got)
}

/// HTTP/3 clients with one request at a time.
pub(super) async fn http3(lab: Arc<Lab>, tally: Arc<Tally>) {
    let mut n = 0;
    let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(lab.client(&[b"h3"])).expect("TLS 1.3");
    let mut endpoint = quinn::Endpoint::client(([127, 0, 0, 1], 0).into()).expect("a port");
    endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(crypto)));
    while !lab.over() {
        let connected = async {
            let connection = endpoint.connect(lab.tls, "a.test")?.await?;
            Outcome::Ok(h3::client::new(h3_quinn::Connection::new(connection)).await?)
        };
        let (mut driver, mut send) = match connected.await {
            Ok(connected) => connected,
            Err(why) => return tally.lost(why.as_ref()),
        };
        let driving = tokio::spawn(async move { std::future::poll_fn(|cx| driver.poll_close(cx)).await });
        for _ in 0..100 {
            if lab.over() {
                break;
            }
            n += 1;
            let asked = async {
                let ask = RequestSequence::number(n);
                let uri = format!("https://a.test{}", ask.path());
                let request = http::Request::builder().method(ask.method()).uri(uri).body(())?;
                let mut stream = send.send_request(request).await?;
                if ask.upload.is_some() {
                    stream.send_data(Bytes::from(ask.body())).await?;
                }
                stream.finish().await?;
                let status = stream.recv_response().await?.status().as_u16();
                let mut got = Vec::new();
                while let Some(mut part) = stream.recv_data().await? {
                    got.extend_from_slice(&part.copy_to_bytes(part.remaining()));
                }
                ask.judge(status, &got)
            };
            if !tally.add(tokio::time::timeout(REQUEST_TIMEOUT, asked).await) {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
        drop(send);
        driving.abort();
    }
}

/// A WebSocket from beginning to end: no reload may close it.
pub(super) async fn websocket(lab: Arc<Lab>, tally: Arc<Tally>) {
    let talking = async {
        let stream = TcpStream::connect(lab.tls).await?;
        let connector = tokio_rustls::TlsConnector::from(lab.client(&[b"http/1.1"]));
        let mut stream = connector.connect("a.test".try_into()?, stream).await?;
        let head = "GET /socket HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        stream.write_all(head.as_bytes()).await?;
        let mut waiting = Vec::new();
        let head = until(&mut stream, &mut waiting, b"\r\n\r\n").await?.ok_or("no answer")?;
        if !head.starts_with(b"HTTP/1.1 101") {
            return Err(String::from_utf8_lossy(&head).into_owned().into());
        }
        let mut n = 0u32;
        while !lab.over() {
            n += 1;
            // A masked text frame of four bytes.
            let mut frame = vec![0x81, 0x84, 0, 0, 0, 0];
            frame.extend_from_slice(&n.to_be_bytes());
            stream.write_all(&frame).await?;
            let got = tokio::time::timeout(REQUEST_TIMEOUT, exactly(&mut stream, &mut waiting, frame.len()))
                .await??;
            if got != frame {
                return Err("another message came back".into());
            }
            tally.add(Ok(Ok(200)));
            tokio::time::sleep(PAUSE).await;
        }
        Outcome::Ok(())
    };
    if let Err(why) = talking.await {
        tally.lost(why.as_ref());
    }
}
