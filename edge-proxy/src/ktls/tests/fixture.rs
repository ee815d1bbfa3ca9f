//! A proxy for one site, its origin, and a client whose records can be controlled.

use crate::ktls::{KernelTlsSupport, probe};
use crate::{Certificates, Proxy, ProxyHandle};
use edge_http::websocket;
use edge_policy::config::{KernelTls, Listener, PlainHttp, Route, Site, Target, Upstream};
use rustls::{CipherSuite, ClientConfig, ClientConnection, StreamOwned};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};
use testkit::{Authority, tls_client};

pub(super) const MIB: usize = 1 << 20;
/// More than the buffers of two sockets hold, so that it is under way while the client does something.
pub(super) const LARGE: usize = 16 * MIB;

pub(super) type TlsClient = StreamOwned<ClientConnection, TcpStream>;

/// Bytes of which none is where another could be.
pub(super) fn content(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    for (at, word) in bytes.chunks_mut(4).enumerate() {
        word.copy_from_slice(&(at as u32).wrapping_mul(2_654_435_761).to_le_bytes()[..word.len()]);
    }
    bytes
}

/// Says at which byte it is different.
#[track_caller]
pub(super) fn assert_content(found: &[u8], expected: usize) {
    let wanted = content(expected);
    let at = found.iter().zip(&wanted).position(|(a, b)| a != b);
    assert_eq!((found.len(), at), (expected, None));
}

/// Answers `/N` with so many bytes, `/reset/N` and `/end/N` with half of them, and `/socket/N` with a protocol in which it reads a
/// MiB, or up to the end, and then sends so many.
fn origin() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(stream));
        }
    });
    address
}

pub(super) fn head(stream: &mut impl Read) -> Option<String> {
    let (mut all, mut byte) = (Vec::new(), [0]);
    while !all.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        all.push(byte[0]);
    }
    String::from_utf8(all).ok()
}

fn answer(mut stream: TcpStream) -> Option<()> {
    loop {
        let head = head(&mut stream)?;
        let path = head.split(' ').nth(1)?;
        let length: usize = path.rsplit('/').next()?.parse().unwrap();
        if path.starts_with("/socket") {
            let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "))?;
            let accept = websocket::accept(key.as_bytes());
            let accept = std::str::from_utf8(&accept).unwrap();
            write!(stream, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n").ok()?;
            let mut came = Vec::new();
            io::copy(&mut (&mut stream).take(MIB as u64), &mut came).ok()?;
            assert_content(&came, came.len());
            return stream.write_all(&content(length)).ok();
        }
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").ok()?;
        if path.starts_with("/reset") || path.starts_with("/end") {
            stream.write_all(&content(length / 2)).ok()?;
            if path.starts_with("/reset") {
                socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).ok()?;
            }
            return Some(());
        }
        stream.write_all(&content(length)).ok()?;
    }
}

pub(super) struct Edge {
    pub(super) proxy: ProxyHandle,
    pub(super) root: String,
    pub(super) folder: tempfile::TempDir,
    pub(super) support: Option<KernelTlsSupport>,
}

impl Edge {
    pub(super) fn new(kernel_tls: KernelTls) -> Self {
        let authority = Authority::new();
        let folder = tempfile::tempdir().unwrap();
        authority.write(&folder.path().join("acme/test"), &["a.test"]);
        let (certificates, _) = Certificates::load(folder.path().join("acme")).unwrap();
        let origin = origin();
        let target = Target::Tcp { host: origin.ip().to_string(), port: origin.port() };
        let mut site = Site::new("a.test", vec!["a.test".parse().unwrap()]).route(Route::forward("origin"));
        site.plain = PlainHttp::Serve;
        let config = edge_policy::config::Config {
            listeners: vec![Listener::tls(([127, 0, 0, 1], 0).into())],
            sites: vec![site],
            upstreams: vec![Upstream::new("origin", target)],
            kernel_tls,
            ..Default::default()
        };
        let proxy = Proxy::builder().config(config).certificates(certificates).workers(1).start().unwrap();
        let support = probe().filter(|_| kernel_tls != KernelTls::Off);
        Self { proxy, root: authority.root().into(), folder, support }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.proxy.addresses()[0]
    }

    pub(super) fn config(&self, suite: CipherSuite) -> Arc<ClientConfig> {
        let mut provider = rustls::crypto::aws_lc_rs::default_provider();
        provider.cipher_suites.retain(|known| known.suite() == suite);
        let mut roots = rustls::RootCertStore::empty();
        use rustls::pki_types::pem::PemObject;
        roots.add(rustls::pki_types::CertificateDer::from_pem_slice(self.root.as_bytes()).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Arc::new(config)
    }

    pub(super) fn connect_with(&self, config: Arc<ClientConfig>) -> TlsClient {
        let stream = TcpStream::connect(self.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.set_nodelay(true).unwrap();
        StreamOwned::new(ClientConnection::new(config, "a.test".try_into().unwrap()).unwrap(), stream)
    }

    pub(super) fn connect(&self) -> TlsClient {
        self.connect_with(Arc::new(tls_client(&self.root, &[b"http/1.1"])))
    }

    /// So many exchanges go past the proxy while this is done, where the kernel has TLS, and none elsewhere.
    #[track_caller]
    pub(super) fn direct(&self, exchanges: u64, doing: impl FnOnce()) {
        let wanted = self.proxy.metrics().kernel_tls + if self.support.is_some() { exchanges } else { 0 };
        doing();
        // They are counted when they are over, which may be after the client has all.
        let until = Instant::now() + Duration::from_secs(10);
        while self.proxy.metrics().kernel_tls < wanted && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(self.proxy.metrics().kernel_tls, wanted);
    }
}

pub(super) fn ask(client: &mut TlsClient, path: &str, fields: &str) {
    write!(client, "GET {path} HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n").unwrap();
}

#[track_caller]
pub(super) fn get(client: &mut TlsClient, length: usize) {
    let head = head(client).unwrap();
    assert!(
        head.starts_with("HTTP/1.1 200") && head.contains(&format!("Content-Length: {length}\r\n")),
        "{head}"
    );
    let mut found = vec![0; length];
    client.read_exact(&mut found).unwrap();
    assert_content(&found, length);
}

/// The rest of the connection, and whether it ended by close_notify or how else.
pub(super) fn rest(client: &mut TlsClient) -> (Vec<u8>, io::Result<usize>) {
    let mut found = Vec::new();
    let ended = client.read_to_end(&mut found);
    (found, ended)
}
