//! Load generators for what the tools cannot do: single handshakes, rejected connections, and idle connections.

use crate::cores::{LOAD_CORE, pin_this_thread};
use crate::ports::Ports;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, Stream};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Number of threads that open connections one after another.
const THREADS: usize = 8;

/// Returns the TLS configuration of clients: TLS 1.3 with AES-128-GCM, X25519, and HTTP/1.1. With `resume`, sessions
/// are stored and resumed.
pub(crate) fn tls(roots: &RootCertStore, resume: bool) -> Arc<ClientConfig> {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.cipher_suites.retain(|suite| suite.suite() == rustls::CipherSuite::TLS13_AES_128_GCM_SHA256);
    provider.kx_groups.retain(|group| group.name() == rustls::NamedGroup::X25519);
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("the suite is one of TLS 1.3")
        .with_root_certificates(roots.clone())
        .with_no_client_auth();
    config.resumption = if resume { Resumption::in_memory_sessions(64) } else { Resumption::disabled() };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}

/// Work of a client on each connection.
#[derive(Clone)]
pub(crate) enum ConnectionScenario {
    /// A handshake, one request, and the end of the connection.
    Request(Arc<ClientConfig>),
    /// A ClientHello for an unknown name, as bytes.
    UnknownName(Vec<u8>),
    /// A request without TLS for an unknown host.
    UnknownHost,
}

/// Opens connections one after another on [`THREADS`] threads for a number of seconds, with the work of `visit` on
/// each. Returns the number of connections.
///
/// # Errors
/// Returns the first connection that failed.
pub(crate) fn visit(ports: Ports, visit: &ConnectionScenario, seconds: u32) -> Result<u64, String> {
    let done = Arc::new(AtomicU64::new(0));
    let until = Instant::now() + Duration::from_secs(seconds.into());
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let (visit, done) = (visit.clone(), done.clone());
            std::thread::spawn(move || {
                pin_this_thread(LOAD_CORE);
                while Instant::now() < until {
                    visit_once(ports, &visit)?;
                    done.fetch_add(1, Ordering::Relaxed);
                }
                Ok::<(), std::io::Error>(())
            })
        })
        .collect();
    for thread in threads {
        match thread.join() {
            Ok(Ok(())) => {}
            Ok(Err(why)) => return Err(format!("a connection broke: {why}")),
            Err(_) => return Err("a client panicked".into()),
        }
    }
    Ok(done.load(Ordering::Relaxed))
}

/// Opens a connection, sends what the scenario prescribes, and waits for the response or, if the proxy must reject it,
/// for the end.
///
/// # Errors
/// Returns an error if the connection fails. A reset is the expected end of a rejected connection.
fn visit_once(ports: Ports, visit: &ConnectionScenario) -> std::io::Result<()> {
    match visit {
        ConnectionScenario::Request(config) => {
            let (mut tls, mut socket) = connect(ports, config)?;
            request(&mut tls, &mut socket)?;
            tls.send_close_notify();
            let _ = tls.complete_io(&mut socket);
            Ok(())
        }
        ConnectionScenario::UnknownName(hello) => {
            let mut socket = TcpStream::connect(("127.0.0.1", ports.tls))?;
            socket.write_all(hello)?;
            end_of(&mut socket)
        }
        ConnectionScenario::UnknownHost => {
            let mut socket = TcpStream::connect(("127.0.0.1", ports.plain))?;
            socket.write_all(b"GET /1k HTTP/1.1\r\nHost: stranger.example\r\n\r\n")?;
            // HAProxy's silent drop leaves the client's side open: no response within this time counts as dropped.
            socket.set_read_timeout(Some(Duration::from_millis(200)))?;
            match end_of(&mut socket) {
                Err(why) if why.kind() == std::io::ErrorKind::WouldBlock => Ok(()),
                other => other,
            }
        }
    }
}

/// Reads to the end of the connection, which may also be a reset.
///
/// # Errors
/// Returns an error if the connection fails in another way.
fn end_of(socket: &mut TcpStream) -> std::io::Result<()> {
    match std::io::copy(socket, &mut std::io::sink()) {
        Err(why) if why.kind() == std::io::ErrorKind::ConnectionReset => Ok(()),
        other => other.map(drop),
    }
}

/// Opens a TCP connection to the TLS port and prepares a TLS session on it, without a handshake yet.
///
/// # Errors
/// Returns an error if the connection fails.
fn connect(ports: Ports, config: &Arc<ClientConfig>) -> std::io::Result<(ClientConnection, TcpStream)> {
    let socket = TcpStream::connect(("127.0.0.1", ports.tls))?;
    socket.set_nodelay(true)?;
    let name = ServerName::try_from("localhost").expect("a name");
    let tls = ClientConnection::new(config.clone(), name).map_err(std::io::Error::other)?;
    Ok((tls, socket))
}

/// Sends one request for 1 KiB and reads the response to its last byte.
///
/// # Errors
/// Returns an error if the connection ends before.
fn request(tls: &mut ClientConnection, socket: &mut TcpStream) -> std::io::Result<()> {
    let mut stream = Stream::new(tls, socket);
    stream.write_all(b"GET /1k HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    let mut got = Vec::with_capacity(4096);
    let mut space = [0; 4096];
    loop {
        let n = stream.read(&mut space)?;
        if n == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        got.extend_from_slice(&space[..n]);
        let head = got.windows(4).position(|window| window == b"\r\n\r\n");
        if head.is_some_and(|head| got.len() >= head + 4 + 1024) {
            return Ok(());
        }
    }
}

/// Returns the bytes of a ClientHello for an unknown name.
pub(crate) fn hello_for_a_stranger(config: &Arc<ClientConfig>) -> Vec<u8> {
    let name = ServerName::try_from("stranger.example").expect("a name");
    let mut tls = ClientConnection::new(config.clone(), name).expect("a configuration that works");
    let mut hello = Vec::new();
    tls.write_tls(&mut hello).expect("memory does not fail");
    hello
}

/// Opens about `count` connections, each with a handshake and one request, and returns them. The number is `count`
/// rounded down to a multiple of [`THREADS`].
///
/// # Errors
/// Returns the first connection that failed.
pub(crate) fn open_connections(
    ports: Ports,
    config: &Arc<ClientConfig>,
    count: usize,
) -> Result<Vec<TcpStream>, String> {
    let per_thread = count / THREADS;
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let config = config.clone();
            std::thread::spawn(move || {
                pin_this_thread(LOAD_CORE);
                let mut open = Vec::with_capacity(per_thread);
                for _ in 0..per_thread {
                    let (mut tls, mut socket) = connect(ports, &config)?;
                    request(&mut tls, &mut socket)?;
                    open.push(socket);
                }
                Ok::<_, std::io::Error>(open)
            })
        })
        .collect();
    let mut all = Vec::new();
    for thread in threads {
        let open = thread.join().map_err(|_| "a client panicked".to_owned())?;
        all.extend(open.map_err(|why| format!("a connection broke: {why}"))?);
    }
    Ok(all)
}
