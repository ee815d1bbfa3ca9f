//! HTTP/3 frame by frame over QUIC, to send arbitrary frames and observe every response.

// Shared by several test programs, none of which uses all of it.
#![allow(dead_code)]

use edge_http::h3::qpack::{QpackDecoder, write_prefix};
use edge_http::h3::{frame, varint};
use quinn::crypto::rustls::QuicClientConfig;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use testkit::tls_client;

pub(crate) type Field<'a> = (&'a [u8], &'a [u8]);

/// The end of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Ended by FIN.
    Stream,
    /// Ended by a reset with this code.
    Reset(u64),
    /// Ended with its connection, by this code.
    Closed(u64),
    /// Ended in another way.
    Other(String),
}

/// Everything received on one stream.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) sections: Vec<Vec<(String, String)>>,
    pub(crate) content: Vec<u8>,
    pub(crate) end: End,
}

impl Answer {
    pub(crate) fn status(&self) -> Option<&str> {
        let last = self.sections.iter().rev().find_map(|fields| fields.iter().find(|(n, _)| n == ":status"));
        last.map(|(_, value)| value.as_str())
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.sections.iter().flatten().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// Runs a client to its end, with a timeout.
pub(crate) fn run<T>(client: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let within = async { tokio::time::timeout(Duration::from_secs(600), client).await };
    runtime.block_on(within).expect("the client waited for ten minutes")
}

/// Encodes field lines as literals (RFC 9204 §4.5.6), whatever they contain.
pub(crate) fn section(fields: &[Field<'_>]) -> Vec<u8> {
    fn integer(out: &mut Vec<u8>, first: u8, mask: usize, value: usize) {
        if value < mask {
            return out.push(first | value as u8);
        }
        out.push(first | mask as u8);
        let mut rest = value - mask;
        while rest >= 128 {
            out.push(rest as u8 | 128);
            rest >>= 7;
        }
        out.push(rest as u8);
    }
    let mut out = Vec::new();
    write_prefix(&mut out);
    for (name, value) in fields {
        integer(&mut out, 0x20, 7, name.len());
        out.extend_from_slice(name);
        integer(&mut out, 0, 127, value.len());
        out.extend_from_slice(value);
    }
    out
}

pub(crate) fn frame(kind: u64, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame::write_header(&mut out, kind, payload.len() as u64);
    out.extend_from_slice(payload);
    out
}

pub(crate) fn headers(fields: &[Field<'_>]) -> Vec<u8> {
    frame(frame::HEADERS, &section(fields))
}

pub(crate) fn data(content: &[u8]) -> Vec<u8> {
    frame(frame::DATA, content)
}

/// The usual pseudo-header fields and these.
pub(crate) fn request(method: &str, authority: &str, path: &str, more: &[Field<'_>]) -> Vec<u8> {
    let usual: [Field<'_>; 4] = [
        (b":method", method.as_bytes()),
        (b":scheme", b"https"),
        (b":authority", authority.as_bytes()),
        (b":path", path.as_bytes()),
    ];
    headers(&[&usual[..], more].concat())
}

/// Sends the first flight of a client with this server name. Returns whether any datagram comes back within half a second.
pub(crate) async fn is_answered(address: SocketAddr, root: &str, name: &str) -> bool {
    let socket = async || tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let (trap, client) = (socket().await, socket().await);
    let mut endpoint = quinn::Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let tls = QuicClientConfig::try_from(tls_client(root, &[b"h3"])).unwrap();
    endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(tls)));
    let _connecting = endpoint.connect(trap.local_addr().unwrap(), name).unwrap();
    let mut datagram = [0; 2000];
    // A post-quantum ClientHello takes two.
    for _ in 0..2 {
        let n = trap.recv(&mut datagram).await.unwrap();
        client.send_to(&datagram[..n], address).await.unwrap();
    }
    tokio::time::timeout(Duration::from_millis(500), client.recv(&mut datagram)).await.is_ok()
}

/// A client's connection.
pub(crate) struct Http3 {
    pub(crate) quic: quinn::Connection,
    _endpoint: quinn::Endpoint,
    control: Option<quinn::SendStream>,
}

impl Http3 {
    pub(crate) async fn connect(address: SocketAddr, root: &str, name: &str) -> Self {
        Self::with_window(address, root, name, None).await
    }

    /// Connects with this receive window of the connection, in bytes. `None` for no limit but that of each stream.
    pub(crate) async fn with_window(
        address: SocketAddr,
        root: &str,
        name: &str,
        window: Option<u32>,
    ) -> Self {
        let from: IpAddr = match address.ip() {
            ip if ip.is_loopback() => ip,
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let mut endpoint = quinn::Endpoint::client((from, 0).into()).unwrap();
        let tls = QuicClientConfig::try_from(tls_client(root, &[b"h3"])).unwrap();
        let mut config = quinn::ClientConfig::new(Arc::new(tls));
        if let Some(window) = window {
            let mut transport = quinn::TransportConfig::default();
            transport.receive_window(window.into());
            config.transport_config(Arc::new(transport));
        }
        endpoint.set_default_client_config(config);
        let quic = endpoint.connect(address, name).unwrap().await.unwrap();
        let mut control = quic.open_uni().await.unwrap();
        control.write_all(&[0, 4, 0]).await.unwrap();
        Self { quic, _endpoint: endpoint, control: Some(control) }
    }

    /// Continues from another address, as after a change of a NAT's mapping.
    pub(crate) fn rebind(&self) {
        let ip = self._endpoint.local_addr().unwrap().ip();
        self._endpoint.rebind(std::net::UdpSocket::bind((ip, 0)).unwrap()).unwrap();
    }

    /// The control stream, for more than settings.
    pub(crate) fn take_control(&mut self) -> quinn::SendStream {
        self.control.take().unwrap()
    }

    /// Opens a stream with these bytes, without ending it.
    pub(crate) async fn open(&self, bytes: &[u8]) -> (quinn::SendStream, Reader) {
        let (mut send, receive) = self.quic.open_bi().await.unwrap();
        // A stop by the peer is noticed when reading.
        let _ = send.write_all(bytes).await;
        (send, Reader { receive, bytes: Vec::new() })
    }

    /// Opens a stream with these bytes and ends it; returns its response.
    pub(crate) async fn ask(&self, bytes: &[u8]) -> Answer {
        let (mut send, mut reader) = self.open(bytes).await;
        let _ = send.finish();
        reader.answer().await
    }

    pub(crate) async fn get(&self, authority: &str, path: &str) -> Answer {
        self.ask(&request("GET", authority, path, &[])).await
    }
}

/// The receiving direction of a stream.
pub(crate) struct Reader {
    receive: quinn::RecvStream,
    bytes: Vec<u8>,
}

impl Reader {
    /// Returns the next frame, or the end of the stream.
    pub(crate) async fn frame(&mut self) -> Result<(u64, Vec<u8>), End> {
        loop {
            if let Some((kind, a)) = varint::read(&self.bytes)
                && let Some((length, b)) = varint::read(&self.bytes[a..])
                && let Some(payload) = self.bytes.get(a + b..a + b + length as usize)
            {
                let payload = payload.to_vec();
                self.bytes.drain(..a + b + length as usize);
                return Ok((kind, payload));
            }
            match self.receive_part(65_536).await? {
                part if part.is_empty() => {
                    assert!(self.bytes.is_empty(), "the stream ended inside a frame");
                    return Err(End::Stream);
                }
                part => self.bytes.extend_from_slice(&part),
            }
        }
    }

    /// Reads a response up to its first DATA frame: returns its fields, and the length of that frame.
    pub(crate) async fn head_of_content(&mut self) -> (Vec<(String, String)>, u64) {
        let (kind, section) = self.frame().await.unwrap();
        assert_eq!(kind, frame::HEADERS);
        loop {
            if let Some((kind, a)) = varint::read(&self.bytes)
                && let Some((length, b)) = varint::read(&self.bytes[a..])
            {
                assert_eq!(kind, frame::DATA);
                self.bytes.drain(..a + b);
                return (fields(&section), length);
            }
            let part = self.receive_part(65_536).await.unwrap();
            assert!(!part.is_empty(), "the stream ended");
            self.bytes.extend_from_slice(&part);
        }
    }

    /// Returns the next bytes; none at the end of the stream.
    pub(crate) async fn part(&mut self, most: usize) -> Result<Vec<u8>, End> {
        if !self.bytes.is_empty() {
            return Ok(std::mem::take(&mut self.bytes));
        }
        self.receive_part(most).await
    }

    async fn receive_part(&mut self, most: usize) -> Result<Vec<u8>, End> {
        match self.receive.read_chunk(most, true).await {
            Ok(Some(chunk)) => Ok(chunk.bytes.to_vec()),
            Ok(None) => Ok(Vec::new()),
            Err(quinn::ReadError::Reset(code)) => Err(End::Reset(code.into_inner())),
            Err(quinn::ReadError::ConnectionLost(quinn::ConnectionError::ApplicationClosed(close))) => {
                Err(End::Closed(close.error_code.into_inner()))
            }
            Err(why) => Err(End::Other(why.to_string())),
        }
    }

    /// Reads everything until the stream ends.
    pub(crate) async fn answer(&mut self) -> Answer {
        let mut answer = Answer { sections: Vec::new(), content: Vec::new(), end: End::Stream };
        loop {
            match self.frame().await {
                Ok((frame::DATA, payload)) => answer.content.extend_from_slice(&payload),
                Ok((frame::HEADERS, payload)) => answer.sections.push(fields(&payload)),
                Ok((other, _)) => panic!("frame {other}"),
                Err(end) => return Answer { end, ..answer },
            }
        }
    }
}

pub(crate) fn fields(section: &[u8]) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let decoded = QpackDecoder::new().decode(section, |name, value| {
        all.push((text(name), text(value)));
        Ok(())
    });
    decoded.unwrap();
    all
}
