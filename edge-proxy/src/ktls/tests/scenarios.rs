//! The exchanges of clients, which are alike with and without the kernel's help.

use super::fixture::{Edge, LARGE, MIB, ask, assert_content, content, get, head, rest};
use super::key_updates::storm;
use crate::ktls::probe;
use rustls::{CipherSuite, ClientConfig};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(super) fn each_suite(edge: &Edge) {
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
pub(super) fn tunnel(edge: &Edge) {
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

pub(super) fn everything(edge: &Edge) {
    // What is seen without a connection is what is seen by one.
    assert_eq!(probe::has_tls(), edge.support.is_some());
    let began = Instant::now();
    type Scenario = (&'static str, fn(&Edge));
    let scenarios: [Scenario; 11] = [
        ("each suite", each_suite),
        ("without", without),
        ("half-close", half_close),
        ("half-close at once", half_close_at_once),
        ("cut short", cut_short),
        ("client resets", client_resets),
        ("key update", key_update),
        ("storm of key updates", storm),
        ("slow", slow),
        ("tunnel", tunnel),
        ("curl", curl),
    ];
    for (name, scenario) in scenarios {
        scenario(edge);
        println!("{:>6} ms: {name}", began.elapsed().as_millis());
    }
}
