//! Kernel TLS by real kernels, in user-mode Linux: one that cannot change keys and one that can. And this machine's, whatever it
//! can: the same is seen by clients everywhere.

use super::{KernelTlsSupport, probe};
use crate::buffer::ReadBuffer;
use crate::socket::Socket;
use crate::tls::TlsStream;
use crate::{Certificates, Proxy, ProxyHandle};
use edge_http::websocket;
use edge_policy::config::{KernelTls, Listener, PlainHttp, Route, Site, Target, Upstream};
use rustls::{CipherSuite, ClientConfig, ClientConnection, StreamOwned};
use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};
use testkit::{Authority, Guest, role, tls_client};
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};

const MIB: usize = 1 << 20;
/// More than the buffers of two sockets hold, so that it is under way while the client does something.
const LARGE: usize = 16 * MIB;

type TlsClient = StreamOwned<ClientConnection, TcpStream>;

/// Bytes of which none is where another could be.
fn content(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    for (at, word) in bytes.chunks_mut(4).enumerate() {
        word.copy_from_slice(&(at as u32).wrapping_mul(2_654_435_761).to_le_bytes()[..word.len()]);
    }
    bytes
}

/// Says at which byte it is different.
#[track_caller]
fn assert_content(found: &[u8], expected: usize) {
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

fn head(stream: &mut impl Read) -> Option<String> {
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

struct Edge {
    proxy: ProxyHandle,
    root: String,
    folder: tempfile::TempDir,
    support: Option<KernelTlsSupport>,
}

impl Edge {
    fn new(kernel_tls: KernelTls) -> Self {
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

    fn address(&self) -> SocketAddr {
        self.proxy.addresses()[0]
    }

    fn config(&self, suite: CipherSuite) -> Arc<ClientConfig> {
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

    fn connect_with(&self, config: Arc<ClientConfig>) -> TlsClient {
        let stream = TcpStream::connect(self.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.set_nodelay(true).unwrap();
        StreamOwned::new(ClientConnection::new(config, "a.test".try_into().unwrap()).unwrap(), stream)
    }

    fn connect(&self) -> TlsClient {
        self.connect_with(Arc::new(tls_client(&self.root, &[b"http/1.1"])))
    }

    /// So many exchanges go past the proxy while this is done, where the kernel has TLS, and none elsewhere.
    #[track_caller]
    fn direct(&self, exchanges: u64, doing: impl FnOnce()) {
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

fn ask(client: &mut TlsClient, path: &str, fields: &str) {
    write!(client, "GET {path} HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n").unwrap();
}

#[track_caller]
fn get(client: &mut TlsClient, length: usize) {
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
fn rest(client: &mut TlsClient) -> (Vec<u8>, io::Result<usize>) {
    let mut found = Vec::new();
    let ended = client.read_to_end(&mut found);
    (found, ended)
}

fn each_suite(edge: &Edge) {
    for suite in [
        CipherSuite::TLS13_AES_128_GCM_SHA256,
        CipherSuite::TLS13_AES_256_GCM_SHA384,
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
    ] {
        // Once the kernel has the connection, whatever is worth a pipe goes past the proxy.
        edge.direct(3, || {
            let mut client = edge.connect_with(edge.config(suite));
            // A small one first, so that records were written before; and others after the large one.
            for length in [2, 3 * MIB, 0, 400_000, 100] {
                ask(&mut client, &format!("/{length}"), "");
                get(&mut client, length);
            }
            ask(&mut client, &format!("/{}", 2 * MIB + 1), "Connection: close\r\n");
            let head = head(&mut client).unwrap();
            assert!(head.contains("Connection: close"), "{head}");
            let (found, ended) = rest(&mut client);
            assert_content(&found, 2 * MIB + 1);
            ended.expect("close_notify");
        });
    }
}

/// A client that cannot have the kernel's help gets the same.
fn without(edge: &Edge) {
    edge.direct(0, || {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        use rustls::pki_types::pem::PemObject;
        roots.add(rustls::pki_types::CertificateDer::from_pem_slice(edge.root.as_bytes()).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS12])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut client = edge.connect_with(Arc::new(config));
        ask(&mut client, &format!("/{}", 3 * MIB), "");
        get(&mut client, 3 * MIB);
    });
}

/// The client says that it sends nothing more, and gets all of the answer.
fn half_close(edge: &Edge) {
    edge.direct(1, || half_close_after(edge, 3 * MIB));
}

/// The same before the kernel could have the connection. It takes none that is half-closed, so that is a race without a loser.
fn half_close_at_once(edge: &Edge) {
    half_close_after(edge, 0);
}

fn half_close_after(edge: &Edge, read: usize) {
    let mut client = edge.connect();
    ask(&mut client, &format!("/{LARGE}"), "");
    let head = head(&mut client).unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let mut found = vec![0; read];
    client.read_exact(&mut found).unwrap();
    client.conn.send_close_notify();
    client.flush().unwrap();
    client.sock.shutdown(Shutdown::Write).unwrap();
    let (more, ended) = rest(&mut client);
    found.extend(more);
    assert_content(&found, LARGE);
    ended.expect("close_notify");
}

/// Truncated content of the upstream is never complete for the client.
fn cut_short(edge: &Edge) {
    for way in ["reset", "end"] {
        edge.direct(1, || {
            let mut client = edge.connect();
            ask(&mut client, &format!("/{way}/{LARGE}"), "");
            let head = head(&mut client).unwrap();
            assert!(head.starts_with("HTTP/1.1 200"), "{head}");
            let (found, ended) = rest(&mut client);
            assert!(found.len() <= LARGE / 2 && found[..] == content(LARGE / 2)[..found.len()]);
            ended.expect_err("nothing says that this was all");
        });
    }
}

/// The client goes away in the middle, and the next is served.
fn client_resets(edge: &Edge) {
    edge.direct(1, || {
        let mut client = edge.connect();
        ask(&mut client, &format!("/{LARGE}"), "");
        client.read_exact(&mut vec![0; 3 * MIB]).unwrap();
        socket2::SockRef::from(&client.sock).set_linger(Some(Duration::ZERO)).unwrap();
    });
    let mut client = edge.connect();
    ask(&mut client, "/10", "");
    get(&mut client, 10);
}

/// The client changes its keys in the middle and asks for new ones of the other side (RFC 8446 §4.6.3).
fn key_update(edge: &Edge) {
    let follows = edge.support.is_none_or(|support| support.rekeys);
    edge.direct(if follows { 2 } else { 1 }, || {
        let mut client = edge.connect();
        ask(&mut client, &format!("/{LARGE}"), "");
        let head = head(&mut client).unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        let mut found = vec![0; 3 * MIB];
        client.read_exact(&mut found).unwrap();
        client.conn.refresh_traffic_keys().unwrap();
        client.flush().unwrap();
        // Nothing more goes meanwhile, so that this is read.
        std::thread::sleep(Duration::from_millis(300));
        if follows {
            // Twice, since what is left is under way in part already.
            found.resize(LARGE, 0);
            client.read_exact(&mut found[3 * MIB..5 * MIB]).unwrap();
            client.conn.refresh_traffic_keys().unwrap();
            client.flush().unwrap();
            client.read_exact(&mut found[5 * MIB..]).unwrap();
            assert_content(&found, LARGE);
            for length in [5, 400_000] {
                ask(&mut client, &format!("/{length}"), "");
                get(&mut client, length);
            }
        } else {
            let (more, ended) = rest(&mut client);
            found.extend(more);
            assert!(found.len() < LARGE && found[..] == content(LARGE)[..found.len()]);
            ended.expect_err("nothing says that this was all");
        }
    });
}

/// A client that takes its time gets all of it, and the end, though the proxy is done long before.
fn slow(edge: &Edge) {
    edge.direct(1, || {
        let mut client = edge.connect();
        ask(&mut client, &format!("/{}", 8 * MIB), "Connection: close\r\n");
        let head = head(&mut client).unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        let mut found = Vec::new();
        while (&mut client).take(MIB as u64).read_to_end(&mut found).expect("close_notify") > 0 {
            std::thread::sleep(Duration::from_millis(100));
        }
        assert_content(&found, 8 * MIB);
    });
}

/// A tunnel, in which the service waits for a MiB; or for the client's half-close, if that comes before.
fn tunnel(edge: &Edge) {
    for half_closes in [false, true] {
        // The kernel takes no connection that is half-closed.
        edge.direct(u64::from(!half_closes), || {
            let mut client = edge.connect();
            let fields = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
            ask(&mut client, &format!("/socket/{}", 3 * MIB), fields);
            let head = head(&mut client).unwrap();
            assert!(head.starts_with("HTTP/1.1 101"), "{head}");
            let sent = if half_closes { MIB / 2 } else { MIB };
            client.write_all(&content(sent)).unwrap();
            if half_closes {
                client.conn.send_close_notify();
            }
            client.flush().unwrap();
            if half_closes {
                client.sock.shutdown(Shutdown::Write).unwrap();
            }
            let (found, ended) = rest(&mut client);
            assert_content(&found, 3 * MIB);
            ended.expect("close_notify");
        });
    }
}

/// Another implementation of TLS: curl with OpenSSL, two answers on one connection.
fn curl(edge: &Edge) {
    let root = edge.folder.path().join("root.pem");
    std::fs::write(&root, &edge.root).unwrap();
    edge.direct(2, || {
        let port = edge.address().port();
        let output = std::process::Command::new("/usr/bin/curl")
            .args(["-sS", "--http1.1", "--tlsv1.3", "--max-time", "60", "--cacert"])
            .arg(&root)
            .args(["--resolve", &format!("a.test:{port}:127.0.0.1")])
            .args([format!("https://a.test:{port}/{}", 4 * MIB), format!("https://a.test:{port}/{MIB}")])
            .output()
            .expect("curl is missing: cargo xtask tools installs it");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let (first, second) = output.stdout.split_at(4 * MIB);
        assert_content(first, 4 * MIB);
        assert_content(second, MIB);
    });
}

fn everything(edge: &Edge) {
    // What is seen without a connection is what is seen by one.
    assert_eq!(probe::has_tls(), edge.support.is_some());
    let began = Instant::now();
    type Scenario = (&'static str, fn(&Edge));
    let scenarios: [Scenario; 10] = [
        ("each suite", each_suite),
        ("without", without),
        ("half-close", half_close),
        ("half-close at once", half_close_at_once),
        ("cut short", cut_short),
        ("client resets", client_resets),
        ("key update", key_update),
        ("slow", slow),
        ("tunnel", tunnel),
        ("curl", curl),
    ];
    for (name, scenario) in scenarios {
        scenario(edge);
        println!("{:>6} ms: {name}", began.elapsed().as_millis());
    }
}

fn tools() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"), PathBuf::from)
        .join("tools")
}

/// The number behind a name in /proc/net/tls_stat.
fn stat(text: &str, name: &str) -> u64 {
    let line = text.lines().find(|line| line.split_whitespace().next() == Some(name));
    let line = line.unwrap_or_else(|| panic!("{name} is not in {text}"));
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn in_a_guest(guest: &Guest, test: &str, rekeys: bool) -> String {
    let text = guest.run(test, "guest", "tls", Duration::from_secs(150));
    // Eight connections and more, in both directions of what a kernel may do.
    assert!(stat(&text, "TlsTxSw") >= 8, "{text}");
    assert_eq!(stat(&text, "TlsDecryptError"), 0, "{text}");
    assert_eq!(stat(&text, "TlsCurrTxSw"), 0, "{text}");
    assert!(text.contains(&format!("rekeys: {rekeys}")), "{text}");
    text
}

/// One key encrypts no more records than it may: the next is used, or nothing is sent any more.
fn many_records(edge: &Edge, support: KernelTlsSupport) {
    let support = KernelTlsSupport { records: 64, ..support };
    let (authority, listener) = (Authority::new(), TcpListener::bind("127.0.0.1:0").unwrap());
    let (chain, key) = authority.pair(&["a.test"]);
    let mut config =
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
    config.key_log = Arc::new(crate::tls::SecretCapture);
    config.enable_secret_extraction = true;
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let client = Arc::new(tls_client(authority.root(), &[]));
    let reading = std::thread::spawn(move || {
        let session = ClientConnection::new(client, "a.test".try_into().unwrap()).unwrap();
        let mut client = StreamOwned::new(session, stream);
        let (found, ended) = rest(&mut client);
        (found, ended.is_ok())
    });
    let (stream, _) = listener.accept().unwrap();
    stream.set_nonblocking(true).unwrap();
    let all = content(4 * MIB);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let sent = runtime.block_on(async {
        let socket = Socket::Tcp(tokio::net::TcpStream::from_std(stream).unwrap());
        let tls = rustls::ServerConnection::new(Arc::new(config)).unwrap();
        let mut stream = TlsStream::accepted(tls, socket, ReadBuffer::default(), Some(support));
        poll_fn(|cx| stream.poll_handshake(cx)).await.unwrap();
        let mut parts = all.chunks(16 * 1024);
        stream.write_all(parts.next().unwrap()).await.unwrap();
        // There is nothing, but looking for it is where rustls is left.
        assert!(
            poll_fn(|cx| Poll::Ready(
                Pin::new(&mut stream).poll_read(cx, &mut ReadBuf::new(&mut [0])).is_pending()
            ))
            .await
        );
        stream.write_all(parts.next().unwrap()).await.unwrap();
        stream.flush().await.unwrap();
        assert!(stream.enter_kernel(), "the kernel sends");
        for part in parts {
            stream.write_all(part).await?;
        }
        stream.shutdown().await
    });
    let (found, complete) = reading.join().unwrap();
    assert_eq!(found[..], all[..found.len()]);
    assert_eq!(
        (sent.is_ok(), complete, found.len() == all.len()),
        (support.rekeys, support.rekeys, support.rekeys)
    );
    assert!(found.len() / (16 * 1024) <= if support.rekeys { usize::MAX } else { 64 });
    assert_eq!(edge.support, Some(KernelTlsSupport { records: u64::MAX, ..support }));
}

/// The program that runs inside the guest.
fn inside() {
    let edge = Edge::new(KernelTls::default());
    let support = edge.support.expect("a kernel with TLS");
    println!("{support:?}");
    everything(&edge);
    many_records(&edge, support);
}

#[test]
fn a_kernel_that_cannot_change_keys() {
    if role().is_some() {
        return inside();
    }
    let test = "ktls::tests::a_kernel_that_cannot_change_keys";
    if let Some(guest) = Guest::of_the_distribution(test) {
        in_a_guest(&guest, test, false);
    }
}

#[test]
fn a_kernel_that_changes_keys() {
    if role().is_some() {
        return inside();
    }
    let guest = Guest::newer(&tools());
    let text = in_a_guest(&guest, "ktls::tests::a_kernel_that_changes_keys", true);
    assert!(stat(&text, "TlsTxRekeyOk") >= 2, "{text}");
    assert_eq!(stat(&text, "TlsTxRekeyError"), 0, "{text}");
}

/// With or without TLS in this machine's kernel.
#[test]
fn this_kernel() {
    everything(&Edge::new(KernelTls::default()));
}

#[test]
fn turned_off() {
    let edge = Edge::new(KernelTls::Off);
    assert!(edge.support.is_none());
    each_suite(&edge);
    tunnel(&edge);
}
