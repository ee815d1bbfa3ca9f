//! Load and abuse: each attack runs while another client is served. Asserts that the other client waits for a bounded
//! time only, the proxy's memory stays below a ceiling, and the offender's connection is closed.

#[path = "../common/mod.rs"]
mod common;
mod http2;
mod http3;
mod proxy_header;
mod slow;

use common::Edge;
use edge_proxy::config::{Listener, Timeouts};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use testkit::{Process, role, say, serve_until_parent_ends, tls_client};

/// The maximum growth of memory after a proxy's first requests.
const CEILING: usize = 48 << 20;
/// The maximum time the other client waits for a response, generous for loaded machines.
const PATIENCE: Duration = Duration::from_secs(3);

/// The proxy, in a separate process.
pub(crate) struct Target {
    process: Process,
    pub(crate) plain: SocketAddr,
    pub(crate) tls: SocketAddr,
    /// The listener on which each connection must begin with a PROXY header.
    pub(crate) proxied: SocketAddr,
    pub(crate) root: String,
    before: usize,
}

impl Target {
    /// Starts the process for the test of this name, or serves, in the child. Deadlines are short; their values are not
    /// under test.
    pub(crate) fn start(test: &str) -> Self {
        if role().as_deref() == Some("proxy") {
            proxy();
        }
        let mut process = Process::start(test, "proxy", &[("ORIGIN", origin().to_string())]);
        let (plain, tls) = (process.hear().parse().unwrap(), process.hear().parse().unwrap());
        let proxied = process.hear().parse().unwrap();
        let root = std::fs::read_to_string(process.hear()).unwrap();
        let mut target = Self { process, plain, tls, proxied, root, before: 0 };
        for _ in 0..20 {
            target.ask().unwrap();
        }
        target.before = target.process.memory().resident;
        target
    }

    /// Sends a request on its own TLS connection.
    fn ask(&self) -> std::io::Result<Duration> {
        let began = Instant::now();
        let config = Arc::new(tls_client(&self.root, &[b"http/1.1"]));
        let session = rustls::ClientConnection::new(config, "a.test".try_into().unwrap()).unwrap();
        let stream = TcpStream::connect(self.tls)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut stream = rustls::StreamOwned::new(session, stream);
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        assert!(text.starts_with("HTTP/1.1 200"), "{text}");
        Ok(began.elapsed())
    }

    /// Runs an attack while another client sends requests, and asserts the bounds. The attack returns whether its
    /// connection was closed.
    #[track_caller]
    pub(crate) fn withstands(&self, attack: impl FnOnce(&Self) -> bool + Send) {
        let over = AtomicBool::new(false);
        let (ended, waits, peak) = std::thread::scope(|scope| {
            let others = scope.spawn(|| {
                let (mut waits, mut peak) = (Vec::new(), 0);
                while !over.load(SeqCst) || waits.len() < 3 {
                    waits.push(self.ask().unwrap_or(Duration::MAX));
                    peak = peak.max(self.process.memory().resident);
                    std::thread::sleep(Duration::from_millis(20));
                }
                (waits, peak)
            });
            // Also if the attack itself fails.
            let done = StopOnDrop(&over);
            let ended = attack(self);
            drop(done);
            let (waits, peak) = others.join().unwrap();
            (ended, waits, peak)
        });
        assert!(ended, "the offender's connection was not ended");
        let longest = waits.iter().max().unwrap();
        assert!(*longest < PATIENCE, "another client waited {longest:?} of {} asked", waits.len());
        let grown = peak.saturating_sub(self.before);
        assert!(grown < CEILING, "{grown} bytes more than before");
    }
}

/// Tells the other client to stop.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

/// The heads of requests for paths that begin with `/seen`, in lower case.
static SEEN: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Returns those of them that contain this text.
pub(crate) fn seen(text: &str) -> Vec<String> {
    SEEN.lock().unwrap().iter().filter(|head| head.contains(text)).cloned().collect()
}

/// An origin that responds `ok` when the content is complete, and with 64 MiB for the path `/long`. It runs in the
/// test's own process, so that the proxy's memory is measured alone.
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

fn answer(mut stream: TcpStream) -> Option<()> {
    let (mut waiting, mut part) = (Vec::new(), [0; 16_384]);
    loop {
        let n = stream.read(&mut part).ok().filter(|n| *n > 0)?;
        waiting.extend_from_slice(&part[..n]);
        let Some(end) = waiting.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let text = String::from_utf8_lossy(&waiting[..end]).to_lowercase();
        let length =
            text.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
        if waiting.len() < end + 4 + length {
            continue;
        }
        if waiting.starts_with(b"GET /seen") {
            SEEN.lock().unwrap().push(text.clone());
        }
        if waiting.starts_with(b"GET /long") {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 67108864\r\n\r\n").ok()?;
            for _ in 0..4096 {
                stream.write_all(&part).ok()?;
            }
        } else {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").ok()?;
        }
        waiting.drain(..end + 4 + length);
    }
}

fn proxy() -> ! {
    let edge = Edge::before(std::env::var("ORIGIN").unwrap().parse().unwrap(), 1);
    let mut config = edge.config.clone();
    config.timeouts = Timeouts {
        handshake: Duration::from_secs(2),
        header: Duration::from_secs(2),
        body: Duration::from_secs(2),
        idle: Duration::from_secs(5),
        ..Timeouts::default()
    };
    let proxy_protocol = vec!["127.0.0.1/32".parse().unwrap()];
    config.listeners.push(Listener { proxy_protocol, ..Listener::plain(([127, 0, 0, 1], 0).into()) });
    // An address that is denied.
    config.sites[0].access.deny = vec!["127.0.0.9/32".parse().unwrap()];
    edge.proxy.reload(config).unwrap();
    let root = edge.folder.path().join("root.pem");
    std::fs::write(&root, edge.root()).unwrap();
    say(&edge.plain().to_string());
    say(&edge.tls().to_string());
    say(&edge.proxy.addresses()[2].to_string());
    say(root.to_str().unwrap());
    serve_until_parent_ends()
}
