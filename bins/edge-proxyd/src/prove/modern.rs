//! Exchanges over HTTP/2 and HTTP/3.

use super::client::{EXCHANGE_TIMEOUT, reply_of};
use super::job::{Probe, Reply};
use bytes::Buf;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use socket2::{Domain, Socket, Type};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

/// Returns the reply of a server that does not support the protocol of a probe. Never `None`.
fn unspoken_reply() -> Option<Reply> {
    Some(Reply { unspoken: true, ..Reply::default() })
}

/// Sends a request over TLS and HTTP/2 on an open TCP connection. Returns an `unspoken` reply if the server does not
/// negotiate HTTP/2. `None` if the exchange fails, the probe has no server name, or it takes longer than
/// [`EXCHANGE_TIMEOUT`].
pub(super) fn exchange_http2(request: &Probe, tls: &ClientConfig, stream: TcpStream) -> Option<Reply> {
    let mut tls = tls.clone();
    tls.alpn_protocols = vec![b"h2".to_vec()];
    block_on_with_timeout(async {
        stream.set_nonblocking(true).ok()?;
        let stream = tokio::net::TcpStream::from_std(stream).ok()?;
        let name = ServerName::try_from(request.sni.clone()?).ok()?;
        let connector = tokio_rustls::TlsConnector::from(Arc::new(tls));
        let stream = match connector.connect(name, stream).await {
            Ok(stream) => stream,
            // A server without it may end the handshake (RFC 7301 §3.2).
            Err(why) if why.to_string().contains("NoApplicationProtocol") => return unspoken_reply(),
            Err(_) => return None,
        };
        if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            return unspoken_reply();
        }
        let (send, connection) = h2::client::handshake(stream).await.ok()?;
        let driving = tokio::spawn(connection);
        let (response, _) = send.ready().await.ok()?.send_request(message(request)?, true).ok()?;
        let answer = response.await.ok()?;
        driving.abort();
        Some(read(&answer))
    })
}

/// Sends a request over HTTP/3, and reads the content of the response. `None` if the exchange fails, the probe has no
/// server name, or it takes longer than [`EXCHANGE_TIMEOUT`].
pub(super) fn exchange_http3(request: &Probe, tls: &ClientConfig) -> Option<Reply> {
    let mut tls = tls.clone();
    tls.alpn_protocols = vec![b"h3".to_vec()];
    block_on_with_timeout(async {
        let socket = Socket::new(Domain::for_address(request.to), Type::DGRAM, None).ok()?;
        socket.bind(&SocketAddr::new(request.from, 0).into()).ok()?;
        let runtime = Arc::new(quinn::TokioRuntime);
        let mut endpoint =
            quinn::Endpoint::new(quinn::EndpointConfig::default(), None, socket.into(), runtime).ok()?;
        let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(tls).ok()?;
        endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(crypto)));
        let connection = endpoint.connect(request.to, request.sni.as_deref()?).ok()?.await.ok()?;
        let (mut driver, mut send) = h3::client::new(h3_quinn::Connection::new(connection)).await.ok()?;
        let driving = tokio::spawn(async move { std::future::poll_fn(|cx| driver.poll_close(cx)).await });
        let mut stream = send.send_request(message(request)?).await.ok()?;
        stream.finish().await.ok()?;
        let answer = stream.recv_response().await.ok()?;
        while let Ok(Some(mut part)) = stream.recv_data().await {
            part.advance(part.remaining());
        }
        driving.abort();
        Some(read(&answer))
    })
}

/// Runs an exchange to its end on a new runtime in this thread. `None` if it returns `None`, takes longer than
/// [`EXCHANGE_TIMEOUT`], or the runtime cannot be created.
fn block_on_with_timeout(exchange: impl Future<Output = Option<Reply>>) -> Option<Reply> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    runtime.block_on(async { tokio::time::timeout(EXCHANGE_TIMEOUT, exchange).await.ok().flatten() })
}

/// Returns the request of a probe without content, for HTTP/2 and HTTP/3. `None` if it is not valid.
fn message(request: &Probe) -> Option<http::Request<()>> {
    let target = format!("https://{}{}", request.host, request.path);
    let mut message = http::Request::builder().method(request.method.as_str()).uri(target);
    for (name, value) in &request.fields {
        message = message.header(name, value);
    }
    message.body(()).ok()
}

/// Converts a response into a reply, without its content. Field values that are not visible ASCII are left out.
fn read<B>(answer: &http::Response<B>) -> Reply {
    let field =
        |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok().map(str::to_owned));
    let cookies = answer.headers().get_all("set-cookie").iter();
    let cookies = cookies.filter_map(|value| value.to_str().ok().map(str::to_owned)).collect();
    Reply { cookies, ..reply_of(Some(answer.status().as_u16()), field) }
}
