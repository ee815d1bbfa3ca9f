//! Clients.

use super::service::{NAME, Server};
use bytes::Bytes;
use edge_http::h3::qpack::{QpackDecoder, write_field, write_prefix};
use edge_http::h3::{Code, frame, varint};
use quinn::crypto::rustls::QuicClientConfig;
use std::net::SocketAddr;
use std::sync::Arc;

pub(super) type Pairs<'a> = &'a [(&'a str, &'a str)];

/// A client that trusts the server, with memory for tickets.
pub(super) fn endpoint(server: &Server) -> quinn::Endpoint {
    let mut endpoint = quinn::Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    endpoint.set_default_client_config(config(server));
    endpoint
}

pub(super) fn config(server: &Server) -> quinn::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(server.identity.certificate.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h3".to_vec()];
    tls.enable_early_data = true;
    quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()))
}

/// A connection on which anything can be said.
pub(super) struct RawConnection {
    pub(super) quic: quinn::Connection,
    _control: quinn::SendStream,
}

impl RawConnection {
    pub(super) async fn new(server: &Server) -> Self {
        Self::of(endpoint(server).connect(server.address, NAME).unwrap().await.unwrap()).await
    }

    pub(super) async fn of(quic: quinn::Connection) -> Self {
        let mut control = quic.open_uni().await.unwrap();
        control.write_all(&[0, 4, 0]).await.unwrap();
        Self { quic, _control: control }
    }

    /// A request stream with these bytes on it, not ended.
    pub(super) async fn open(&self, bytes: &[u8]) -> (quinn::SendStream, quinn::RecvStream) {
        let (mut send, receive) = self.quic.open_bi().await.unwrap();
        send.write_all(bytes).await.unwrap();
        (send, receive)
    }

    /// A whole request; its whole answer.
    pub(super) async fn ask(&self, bytes: &[u8]) -> Result<Answer, quinn::ReadToEndError> {
        let (mut send, mut receive) = self.open(bytes).await;
        let _ = send.finish();
        Ok(Answer::parse(&receive.read_to_end(64 << 20).await?))
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.ask(&get(path)).await.unwrap()
    }

    /// The code with which the server closes the connection.
    pub(super) async fn closed(&self) -> Code {
        match self.quic.closed().await {
            quinn::ConnectionError::ApplicationClosed(close) => Code(close.error_code.into_inner()),
            other => panic!("{other:?}"),
        }
    }
}

/// The code of a stream that was reset.
pub(super) fn reset(result: Result<Answer, quinn::ReadToEndError>) -> Code {
    match result {
        Err(quinn::ReadToEndError::Read(quinn::ReadError::Reset(code))) => Code(code.into_inner()),
        other => panic!("{other:?}"),
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) sections: Vec<Vec<(String, String)>>,
    pub(super) content: Vec<u8>,
}

impl Answer {
    pub(super) fn parse(mut bytes: &[u8]) -> Self {
        let mut answer = Self::default();
        while !bytes.is_empty() {
            let kind = varint::take(&mut bytes).unwrap();
            let len = varint::take(&mut bytes).unwrap() as usize;
            let (payload, rest) = bytes.split_at(len);
            bytes = rest;
            match kind {
                frame::DATA => answer.content.extend_from_slice(payload),
                frame::HEADERS => {
                    let mut fields = Vec::new();
                    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                    QpackDecoder::new()
                        .decode(payload, |name, value| {
                            fields.push((text(name), text(value)));
                            Ok(())
                        })
                        .unwrap();
                    answer.sections.push(fields);
                }
                other => panic!("frame {other}"),
            }
        }
        answer
    }

    pub(super) fn statuses(&self) -> Vec<&str> {
        let status = |fields: &'_ Vec<(String, String)>| fields.iter().any(|field| field.0 == ":status");
        self.sections.iter().filter(|fields| status(fields)).map(|fields| fields[0].1.as_str()).collect()
    }
}

pub(super) fn section(fields: Pairs) -> Vec<u8> {
    let mut out = Vec::new();
    write_prefix(&mut out);
    fields.iter().for_each(|(name, value)| write_field(&mut out, name.as_bytes(), value.as_bytes()));
    out
}

pub(super) fn frame(kind: u64, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame::write_header(&mut out, kind, payload.len() as u64);
    out.extend_from_slice(payload);
    out
}

pub(super) fn headers(method: &str, path: &str, more: Pairs) -> Vec<u8> {
    let pseudo = [(":method", method), (":scheme", "https"), (":authority", NAME), (":path", path)];
    frame(frame::HEADERS, &section(&[&pseudo[..], more].concat()))
}

pub(super) fn get(path: &str) -> Vec<u8> {
    headers("GET", path, &[])
}

pub(super) type H3 = h3::client::SendRequest<h3_quinn::OpenStreams, Bytes>;

/// The independent client.
pub(super) async fn h3_client(server: &Server) -> H3 {
    let quic = endpoint(server).connect(server.address, NAME).unwrap().await.unwrap();
    let (mut driver, client) = h3::client::new(h3_quinn::Connection::new(quic)).await.unwrap();
    tokio::spawn(async move { std::future::poll_fn(|cx| driver.poll_close(cx)).await });
    client
}
