//! Memory of ten thousand idle TLS connections. The proxy and its clients are separate processes, so that only the
//! proxy's memory is measured.

mod common;

use common::{Edge, read_until, tls};
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;
use testkit::{Origin, Process, role, say, serve_until_parent_ends, tls_client};

const CONNECTIONS: usize = 10_000;
/// The maximum of bytes per connection.
const BUDGET: usize = 4_500;
/// The maximum of bytes per HTTP/2 connection.
const BUDGET_HTTP2: usize = 7_000;
const TEST: &str = "ten_thousand_idle_connections";

/// Opens connections, sends one request on each so that all buffers were in use, and holds them.
fn client(alpn: &'static [u8]) -> ! {
    let address: SocketAddr = std::env::var("EDGE").unwrap().parse().unwrap();
    let count: usize = std::env::var("COUNT").unwrap().parse().unwrap();
    let root = std::fs::read_to_string(std::env::var("ROOT").unwrap()).unwrap();
    // No client stores tickets: each handshake is a full one.
    let mut config = tls_client(&root, &[alpn]);
    config.resumption = rustls::client::Resumption::disabled();
    let config = Arc::new(config);
    let open = move |_| -> TcpStream {
        let mut stream = tls(address, &config).unwrap();
        if alpn == b"http/1.1" {
            stream.write_all(b"GET /here HTTP/1.1\r\nHost: a.test\r\n\r\n").unwrap();
            read_until(&mut stream, "\r\n\r\nok");
        } else {
            let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
            // Includes the acknowledgement of the proxy's settings, so that nothing is in flight.
            stream.write_all(preface).unwrap();
            stream.write_all(b"\0\0\0\x04\x01\0\0\0\0").unwrap();
        }
        stream.sock
    };
    let half = count / 2;
    let first = std::thread::spawn({
        let open = open.clone();
        move || (0..half).map(open).collect::<Vec<_>>()
    });
    let second: Vec<_> = (half..count).map(open).collect();
    let first = first.join().unwrap();
    say(&(first.len() + second.len()).to_string());
    serve_until_parent_ends()
}

fn proxy() -> ! {
    let edge = Edge::before(Origin::simple().address(), 2);
    let root = edge.folder.path().join("root.pem");
    std::fs::write(&root, edge.root()).unwrap();
    say(&edge.tls().to_string());
    say(root.to_str().unwrap());
    serve_until_parent_ends()
}

/// Opens connections in a separate process, and returns when all are open.
fn clients(role: &str, count: usize, address: &str, root: &str) -> Process {
    let count = count.to_string();
    let environment = [("EDGE", address.to_owned()), ("ROOT", root.to_owned()), ("COUNT", count.clone())];
    let mut clients = Process::start(TEST, role, &environment);
    assert_eq!(clients.hear(), count);
    // Remains of the handshakes and of the requests are freed, and everything sent to the proxy was read.
    std::thread::sleep(Duration::from_millis(1_500));
    clients
}

#[test]
fn ten_thousand_idle_connections() {
    match role().as_deref() {
        Some("proxy") => proxy(),
        Some("http1") => client(b"http/1.1"),
        Some("http2") => client(b"h2"),
        Some(other) => panic!("no role {other}"),
        None => {}
    }
    let profile = if cfg!(debug_assertions) { "test profile" } else { "release profile" };
    for (role, count) in [("http1", CONNECTIONS), ("http2", 1_000)] {
        // A separate proxy, so that no memory of earlier tests is measured.
        let mut edge = Process::start(TEST, "proxy", &[]);
        let (address, root) = (edge.hear(), edge.hear());
        // One-time allocations happen now.
        drop(clients(role, 100, &address, &root));
        std::thread::sleep(Duration::from_millis(200));
        let before = edge.memory().resident;
        let held = clients(role, count, &address, &root);
        let after = edge.memory().resident;
        let each = after.saturating_sub(before) / count;
        println!("{count} idle connections, {role}, {profile}: {each} bytes each ({before} to {after})");
        assert!(each > 100, "the connections are not there");
        // HTTP/2 also needs the field table and the memory of its streams.
        let budget = if role == "http1" { BUDGET } else { BUDGET_HTTP2 };
        assert!(each < budget, "{each} bytes each");
        drop(held);
    }
}
