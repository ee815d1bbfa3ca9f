//! The checks of the demonstration. Each makes real requests, and returns its observation as text, or an error.

use super::client::{self, Outcome, Tls, is_complete_response, plain, tls};
use super::lab::{Lab, TRUSTED};
use bytes::Bytes;
use std::io::{Read, Write};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// A check, which makes requests to the lab and returns its observation as text, or an error.
type CheckFn = for<'a> fn(&'a Lab) -> Pin<Box<dyn Future<Output = Outcome<String>> + 'a>>;

macro_rules! checks {
    ($($capability:literal => $check:ident,)*) => {
        /// All checks in order: the capability, and the function that checks it.
        pub(super) const ALL: &[(&str, CheckFn)] = &[$(($capability, |lab| Box::pin($check(lab)))),*];
    };
}

checks! {
    "HTTP/1.1" => http1,
    "HTTP/2" => http2,
    "HTTP/3" => http3,
    "redirect from plain HTTP" => redirect,
    "WebSocket over HTTP/1.1" => websocket,
    "WebSocket over HTTP/2" => websocket_http2,
    "gRPC trailers" => grpc,
    "TLS resumption" => resumption,
    "0-RTT on TCP: Early-Data seen by the origin" => early_tcp,
    "0-RTT on TCP: POST held for the handshake" => early_tcp_post,
    "0-RTT on QUIC: Early-Data seen by the origin" => early_quic,
    "0-RTT on QUIC: POST held for the handshake" => early_quic_post,
    "unknown SNI on TCP: silence" => unknown_sni,
    "no SNI on TCP: silence" => no_sni,
    "unknown SNI on QUIC: silence" => unknown_sni_quic,
    "unknown Host on plain HTTP: silence" => unknown_host,
    "client address from a trusted proxy" => trusted_hop,
    "client address spoofed: ignored" => spoofed,
    "reload without a lost request" => reload,
}

/// Returns an error with the text that `otherwise` returns, unless `holds` is true.
fn require(holds: bool, otherwise: impl FnOnce() -> String) -> Outcome<()> {
    if holds { Ok(()) } else { Err(otherwise().into()) }
}

/// Returns the text of a GET request of HTTP/1.1 without content.
fn get(host: &str, path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")
}

/// Makes two HTTP/1.1 requests on one TLS connection, and checks that both are answered with 200, and that the service
/// sees the client's address.
async fn http1(lab: &Lab) -> Outcome<String> {
    let config = tls(&lab.root, &[b"http/1.1"], false)?;
    let mut client = Tls::new(lab.tls, "app.localhost", &config)?;
    let first = client.ask(&get("app.localhost", "/one"), is_complete_response)?;
    let second = client.ask(&get("app.localhost", "/two"), is_complete_response)?;
    require(first.starts_with("HTTP/1.1 200") && second.starts_with("HTTP/1.1 200"), || first.clone())?;
    require(second.contains("X-Forwarded-For: 127.0.0.1"), || second.clone())?;
    let version = client.tls.protocol_version().and_then(|version| version.as_str()).unwrap_or("TLS");
    let group = client.tls.negotiated_key_exchange_group().map(|group| format!("{:?}", group.name()));
    Ok(format!("200, 200 on one connection, {version}, {}", group.unwrap_or_default()))
}

/// Makes 8 concurrent HTTP/2 requests on one connection, and checks that all are answered with 200.
async fn http2(lab: &Lab) -> Outcome<String> {
    let mut send = client::http2(lab.tls, "app.localhost", &lab.root).await?;
    let mut answers = Vec::new();
    for at in 0..8 {
        let request = http::Request::get(format!("https://app.localhost/h2/{at}")).body(())?;
        answers.push(send.send_request(request, true)?.0);
    }
    let mut served = 0;
    for answer in answers {
        served += usize::from(answer.await?.status() == 200);
    }
    require(served == 8, || format!("{served} of 8 streams were answered with 200"))?;
    Ok("8 concurrent streams, all 200".into())
}

/// Makes an HTTP/3 request, and checks that it is answered with 200 and reaches the service as HTTP/1.1.
async fn http3(lab: &Lab) -> Outcome<String> {
    let endpoint = client::quic(&lab.root)?;
    let connection = endpoint.connect(lab.tls, "app.localhost")?.await?;
    let request = http::Request::get("https://app.localhost/h3").body(())?;
    let text = client::http3(connection, request, Bytes::new()).await?;
    require(text.starts_with("200\nGET /h3 HTTP/1.1"), || text.clone())?;
    Ok("200, forwarded as HTTP/1.1".into())
}

/// Checks that a request over plain HTTP is redirected to HTTPS with the status 308.
async fn redirect(lab: &Lab) -> Outcome<String> {
    let text = plain(lab.plain, [127, 0, 0, 1].into(), &get("app.localhost", "/a?b=c"))?;
    require(text.starts_with("HTTP/1.1 308") && text.contains("Location: https://app.localhost"), || {
        text.clone()
    })?;
    let location = text.lines().find(|line| line.starts_with("Location")).unwrap_or_default();
    Ok(format!("308, {location}"))
}

/// Returns a masked WebSocket text frame with a fixed mask (RFC 6455 §5.2). The text must be shorter than 126 bytes.
fn frame(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81, 0x80 | text.len() as u8, 1, 2, 3, 4];
    frame.extend(text.bytes().enumerate().map(|(at, byte)| byte ^ [1, 2, 3, 4][at % 4]));
    frame
}

/// Opens a WebSocket over HTTP/1.1, and checks that a frame is echoed.
async fn websocket(lab: &Lab) -> Outcome<String> {
    let config = tls(&lab.root, &[b"http/1.1"], false)?;
    let mut client = Tls::new(lab.tls, "app.localhost", &config)?;
    let request = "GET /ws HTTP/1.1\r\nHost: app.localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let head = client.ask(request, |text| text.contains("\r\n\r\n"))?;
    require(head.starts_with("HTTP/1.1 101") && head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), || {
        head.clone()
    })?;
    client.tls.writer().write_all(&frame("hello"))?;
    let echo = client.read(|text| text.contains("hello"))?;
    Ok(format!("101, {} bytes echoed", echo.len() - 2))
}

/// Opens a WebSocket over HTTP/2 (RFC 8441), and checks that a frame is echoed.
async fn websocket_http2(lab: &Lab) -> Outcome<String> {
    let mut send = client::http2(lab.tls, "app.localhost", &lab.root).await?;
    require(send.is_extended_connect_protocol_enabled(), || "extended CONNECT is not supported".into())?;
    let mut request =
        http::Request::connect("https://app.localhost/ws").version(http::Version::HTTP_2).body(())?;
    request.extensions_mut().insert(h2::ext::Protocol::from_static("websocket"));
    let (answer, mut stream) = send.send_request(request, false)?;
    let answer = answer.await?;
    require(answer.status() == 200, || format!("{answer:?}"))?;
    stream.send_data(frame("hello").into(), false)?;
    let echo = answer.into_body().data().await.ok_or("the stream ended")??;
    require(&echo[2..] == b"hello", || format!("{echo:?}"))?;
    Ok("200 to CONNECT, 5 bytes echoed".into())
}

/// Makes a gRPC request, and checks the length of the echoed content, and that the trailer `grpc-status` arrives.
async fn grpc(lab: &Lab) -> Outcome<String> {
    let mut send = client::http2(lab.tls, "grpc.localhost", &lab.root).await?;
    let request = http::Request::post("https://grpc.localhost/demo.Echo/Say")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())?;
    let (answer, mut stream) = send.send_request(request, false)?;
    stream.send_data(Bytes::from_static(b"\0\0\0\0\x02hi"), true)?;
    let mut content = answer.await?.into_body();
    let mut received = 0;
    while let Some(part) = content.data().await {
        received += part?.len();
    }
    let trailers = content.trailers().await?.ok_or("no trailers received")?;
    require(received == 7, || format!("{received} bytes received"))?;
    let status = trailers.get("grpc-status").ok_or("no grpc-status in the trailers")?;
    Ok(format!("grpc-status {} after {received} bytes, HTTP/2 to the service", status.to_str()?))
}

/// Makes two TLS connections, and checks that the second resumes the session of the first.
async fn resumption(lab: &Lab) -> Outcome<String> {
    let config = tls(&lab.root, &[b"http/1.1"], false)?;
    let mut kinds = Vec::new();
    for _ in 0..2 {
        let mut client = Tls::new(lab.tls, "app.localhost", &config)?;
        client.ask(&get("app.localhost", "/"), is_complete_response)?;
        kinds.push(client.tls.handshake_kind());
    }
    require(kinds[1] == Some(rustls::HandshakeKind::Resumed), || format!("{kinds:?}"))?;
    Ok("full, then resumed".into())
}

/// Obtains a ticket, resumes the session, sends this request in early data, and returns the client before its handshake
/// is complete.
///
/// # Errors
/// A connection failed, or the ticket allows no early data.
fn with_early_data(lab: &Lab, request: &str) -> Outcome<Tls> {
    let config = tls(&lab.root, &[b"http/1.1"], true)?;
    Tls::new(lab.tls, "early.localhost", &config)?
        .ask(&get("early.localhost", "/ticket"), is_complete_response)?;
    let mut client = Tls::new(lab.tls, "early.localhost", &config)?;
    client.tls.early_data().ok_or("the ticket allows no early data")?.write_all(request.as_bytes())?;
    client.flush()?;
    Ok(client)
}

/// Sends a GET request in early data over TCP, and checks that it reaches the service once, before the handshake
/// completes, and with the field `Early-Data: 1`.
async fn early_tcp(lab: &Lab) -> Outcome<String> {
    let mut client = with_early_data(lab, &get("early.localhost", "/early-tcp"))?;
    // The client has not sent Finished: whatever arrives now was forwarded before the handshake completed.
    tokio::time::sleep(Duration::from_millis(150)).await;
    let seen = lab.memory.find("/early-tcp");
    let before = seen.first().ok_or("the request waited for the handshake")?;
    require(before.field("early-data") == Some("1"), || format!("{before:?}"))?;
    let answer = client.read(is_complete_response)?;
    require(answer.starts_with("HTTP/1.1 200") && client.tls.is_early_data_accepted(), || answer.clone())?;
    require(lab.memory.find("/early-tcp").len() == 1, || "the request arrived twice".into())?;
    Ok("accepted, answered before the handshake completed, Early-Data: 1".into())
}

/// Sends a POST request in early data over TCP, and checks that it reaches the service once, only after the handshake,
/// and without `Early-Data`.
async fn early_tcp_post(lab: &Lab) -> Outcome<String> {
    let request = "POST /held-tcp HTTP/1.1\r\nHost: early.localhost\r\nContent-Length: 2\r\n\r\nhi";
    let mut client = with_early_data(lab, request)?;
    tokio::time::sleep(Duration::from_millis(150)).await;
    require(lab.memory.find("/held-tcp").is_empty(), || {
        "it was forwarded before the handshake completed".into()
    })?;
    let answer = client.read(is_complete_response)?;
    let seen = lab.memory.find("/held-tcp");
    require(answer.starts_with("HTTP/1.1 200") && seen.len() == 1, || answer.clone())?;
    require(seen[0].field("early-data").is_none(), || format!("{:?}", seen[0]))?;
    Ok("nothing forwarded for 150 ms, then 200, once".into())
}

/// Resumes a QUIC session, and sends a request in early data while the packets of the edge are delayed by 100 ms.
/// Returns the status and content of the response, and true if the edge accepted the early data.
async fn quic_early(lab: &Lab, request: http::Request<()>, body: &'static [u8]) -> Outcome<(String, bool)> {
    let endpoint = client::quic(&lab.root)?;
    let first = endpoint.connect(lab.tls, "early.localhost")?.await?;
    let ticket = http::Request::get("https://early.localhost/ticket").body(())?;
    client::http3(first.clone(), ticket, Bytes::new()).await?;
    first.close(0u32.into(), b"");
    // Packets from the edge are delayed, so that the request arrives before the handshake completes.
    let (relay, _) = relay(lab.tls, Duration::from_millis(100)).await?;
    let second = endpoint.connect(relay, "early.localhost")?;
    let (connection, accepted) = second.into_0rtt().map_err(|_| "the ticket allows no early data")?;
    let text = client::http3(connection, request, Bytes::from_static(body)).await?;
    Ok((text, accepted.await))
}

/// Sends a GET request in early data over QUIC, and checks that it reaches the service once, with the field
/// `Early-Data: 1`.
async fn early_quic(lab: &Lab) -> Outcome<String> {
    let request = http::Request::get("https://early.localhost/early-quic").body(())?;
    let (text, accepted) = quic_early(lab, request, b"").await?;
    let seen = lab.memory.find("/early-quic");
    require(accepted && text.starts_with("200"), || text.clone())?;
    require(seen.len() == 1 && seen[0].field("early-data") == Some("1"), || format!("{seen:?}"))?;
    Ok("accepted, Early-Data: 1".into())
}

/// Sends a POST request in early data over QUIC, and checks that it reaches the service once, only after the handshake,
/// and without `Early-Data`.
async fn early_quic_post(lab: &Lab) -> Outcome<String> {
    let request =
        http::Request::post("https://early.localhost/held-quic").header("content-length", "2").body(())?;
    let (text, accepted) = quic_early(lab, request, b"hi").await?;
    let seen = lab.memory.find("/held-quic");
    require(accepted && text.starts_with("200"), || text.clone())?;
    require(seen.len() == 1 && seen[0].field("early-data").is_none(), || format!("{seen:?}"))?;
    Ok("early data accepted, forwarded once, after the handshake".into())
}

/// Sends the pending data, and returns the number of bytes that the edge sends until it closes or resets the
/// connection. A timeout is an error.
fn count_bytes(mut client: Tls) -> Outcome<usize> {
    client.flush()?;
    let mut bytes = Vec::new();
    match client.tcp.read_to_end(&mut bytes) {
        Err(why) if why.kind() != std::io::ErrorKind::ConnectionReset => Err(why.into()),
        _ => Ok(bytes.len()),
    }
}

/// Checks that a TLS handshake for an unknown name over TCP gets no bytes, and is counted.
async fn unknown_sni(lab: &Lab) -> Outcome<String> {
    let client = Tls::new(lab.tls, "unknown.example", &tls(&lab.root, &[], false)?)?;
    let bytes = count_bytes(client)?;
    require(bytes == 0, || format!("{bytes} bytes came back"))?;
    require(lab.watcher.count(false, "unknown-name") > 0, || "it was not counted".into())?;
    Ok("closed, 0 bytes came back".into())
}

/// Checks that a TLS handshake without a server name over TCP gets no bytes, and is counted.
async fn no_sni(lab: &Lab) -> Outcome<String> {
    let client = Tls::new(lab.tls, "127.0.0.1", &tls(&lab.root, &[], false)?)?;
    let bytes = count_bytes(client)?;
    require(bytes == 0, || format!("{bytes} bytes came back"))?;
    require(lab.watcher.count(false, "no-sni") > 0, || "it was not counted".into())?;
    Ok("closed, 0 bytes came back".into())
}

/// Starts a UDP relay to the edge that delays each datagram of the edge by `after`. Returns the address of the relay,
/// and the counter of the datagrams that the edge has sent.
async fn relay(
    edge: std::net::SocketAddr,
    after: Duration,
) -> Outcome<(std::net::SocketAddr, std::sync::Arc<AtomicUsize>)> {
    let inside = std::sync::Arc::new(tokio::net::UdpSocket::bind("127.0.0.1:0").await?);
    let outside = tokio::net::UdpSocket::bind("127.0.0.1:0").await?;
    outside.connect(edge).await?;
    let address = inside.local_addr()?;
    let back = std::sync::Arc::new(AtomicUsize::new(0));
    let count = back.clone();
    tokio::spawn(async move {
        let (mut there, mut here) = (vec![0; 2048], vec![0; 2048]);
        let mut client = None;
        loop {
            tokio::select! {
                Ok((n, from)) = inside.recv_from(&mut there) => {
                    client = Some(from);
                    let _ = outside.send(&there[..n]).await;
                }
                Ok(n) = outside.recv(&mut here) => {
                    count.fetch_add(1, Ordering::Relaxed);
                    let (packet, inside) = (here[..n].to_vec(), inside.clone());
                    if let Some(client) = client {
                        tokio::spawn(async move {
                            tokio::time::sleep(after).await;
                            let _ = inside.send_to(&packet, client).await;
                        });
                    }
                }
                else => return,
            }
        }
    });
    Ok((address, back))
}

/// Checks that a QUIC handshake for an unknown name gets no packets within 1.5 s, and is counted.
async fn unknown_sni_quic(lab: &Lab) -> Outcome<String> {
    let (relay, back) = relay(lab.tls, Duration::ZERO).await?;
    let endpoint = client::quic(&lab.root)?;
    let connecting = endpoint.connect(relay, "unknown.example")?;
    let outcome = tokio::time::timeout(Duration::from_millis(1500), connecting).await;
    require(outcome.is_err(), || "the connection was answered".into())?;
    let packets = back.load(Ordering::Relaxed);
    require(packets == 0, || format!("{packets} packets came back"))?;
    require(lab.watcher.count(true, "unknown-name") > 0, || "it was not counted".into())?;
    Ok("0 packets came back in 1.5 s".into())
}

/// Checks that a request over plain HTTP for an unknown host gets no bytes.
async fn unknown_host(lab: &Lab) -> Outcome<String> {
    let text = plain(lab.plain, [127, 0, 0, 1].into(), &get("unknown.example", "/"))?;
    require(text.is_empty(), || text.clone())?;
    Ok("closed, 0 bytes came back".into())
}

/// Checks that the service sees the client's address that a trusted proxy reports in `X-Forwarded-For`: the last entry,
/// not one left of it.
async fn trusted_hop(lab: &Lab) -> Outcome<String> {
    let request =
        "GET /hop HTTP/1.1\r\nHost: node.localhost\r\nX-Forwarded-For: 6.6.6.6, 198.51.100.7\r\n\r\n";
    plain(lab.plain, TRUSTED.into(), request)?;
    let seen = lab.memory.find("/hop");
    let chain = seen.first().and_then(|seen| seen.field("x-real-ip")).unwrap_or_default();
    require(chain == "198.51.100.7", || format!("{seen:?}"))?;
    Ok("198.51.100.7 as the trusted proxy reported; the entry left of it ignored".into())
}

/// Checks that an address in the fields of a client that is not a trusted proxy does not reach the service.
async fn spoofed(lab: &Lab) -> Outcome<String> {
    let request = "GET /spoofed HTTP/1.1\r\nHost: node.localhost\r\nX-Forwarded-For: 198.51.100.7\r\n\
                   X-Real-IP: 198.51.100.7\r\nForwarded: for=198.51.100.7\r\n\r\n";
    plain(lab.plain, [127, 0, 0, 1].into(), request)?;
    let seen = lab.memory.find("/spoofed");
    let seen = seen.first().ok_or("the request did not arrive")?;
    require(!format!("{seen:?}").contains("198.51.100.7"), || format!("{seen:?}"))?;
    Ok(format!("the origin saw {}", seen.field("x-real-ip").unwrap_or_default()))
}

/// Reloads the configuration five times while four clients send requests, and checks that none of more than 20 requests
/// fails.
async fn reload(lab: &Lab) -> Outcome<String> {
    let stop = AtomicBool::new(false);
    let (served, lost) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let config = tls(&lab.root, &[b"http/1.1"], false)?;
    std::thread::scope(|scope| -> Outcome<()> {
        for number in 0..4 {
            let (stop, served, lost, config) = (&stop, &served, &lost, &config);
            scope.spawn(move || {
                let mut kept: Option<Tls> = None;
                while !stop.load(Ordering::Relaxed) {
                    // Half of the clients keep their connection, half open a new one each time.
                    let client = kept.take().map_or_else(|| Tls::new(lab.tls, "app.localhost", config), Ok);
                    let outcome = client.and_then(|mut client| {
                        let text = client.ask(&get("app.localhost", "/reload"), is_complete_response)?;
                        Ok((text.starts_with("HTTP/1.1 200"), client))
                    });
                    match outcome {
                        Ok((true, client)) => {
                            served.fetch_add(1, Ordering::Relaxed);
                            kept = (number % 2 == 0).then_some(client);
                        }
                        _ => {
                            lost.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
        let mut outcome = Ok(());
        for _ in 0..5 {
            std::thread::sleep(Duration::from_millis(150));
            outcome = outcome.and(lab.proxy.reload(lab.config.clone()));
        }
        std::thread::sleep(Duration::from_millis(150));
        stop.store(true, Ordering::Relaxed);
        Ok(outcome?)
    })?;
    let (served, lost) = (served.load(Ordering::Relaxed), lost.load(Ordering::Relaxed));
    require(lost == 0 && served > 20, || format!("{lost} lost, {served} served"))?;
    Ok(format!("5 reloads, {served} requests, 0 lost"))
}
