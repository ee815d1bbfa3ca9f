//! Key updates in great number, while the kernel sends content that never enters the process.

use super::fixture::{Edge, LARGE, MIB, ask, content, get, head, rest};
use edge_policy::config::KernelTls;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

/// More than any client has a use for.
const UPDATES: usize = 2000;

/// A client changes its keys without end and asks for as many of the other side, while a response is spliced to it. Its
/// connection ends; the clients beside it are served, and the worker does not spin.
pub(super) fn storm(edge: &Edge) {
    edge.direct(1, || {
        let mut stormy = edge.connect();
        ask(&mut stormy, &format!("/{LARGE}"), "");
        let begin = head(&mut stormy).unwrap();
        assert!(begin.starts_with("HTTP/1.1 200"), "{begin}");
        let mut found = vec![0; 3 * MIB];
        stormy.read_exact(&mut found).unwrap();
        let began = Instant::now();
        stormy.sock.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
        for _ in 0..UPDATES {
            // The edge may have closed the connection already, or no longer read from it.
            if stormy.conn.refresh_traffic_keys().is_err() || stormy.flush().is_err() {
                break;
            }
        }
        let mut other = edge.connect();
        for length in [10, 2000, 10] {
            ask(&mut other, &format!("/{length}"), "");
            get(&mut other, length);
        }
        let (more, ended) = rest(&mut stormy);
        found.extend(more);
        assert!(found.len() < LARGE && found[..] == content(LARGE)[..found.len()], "{} bytes", found.len());
        ended.expect_err("nothing says that this was all");
        assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
        ask(&mut other, "/100", "");
        get(&mut other, 100);
    });
}

/// With or without TLS in this machine's kernel, and without kernel TLS. The other kernels are those of the guests.
#[test]
fn d22_a_storm_of_key_updates_ends_its_own_connection_alone() {
    for kernel_tls in [KernelTls::default(), KernelTls::Off] {
        storm(&Edge::new(kernel_tls));
    }
}
