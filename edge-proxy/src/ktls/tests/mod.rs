//! Kernel TLS by real kernels, in user-mode Linux: one that cannot change keys and one that can. And this machine's, whatever it
//! can: the same is seen by clients everywhere.

mod fixture;
mod key_updates;
mod records;
mod scenarios;

use edge_policy::config::KernelTls;
use fixture::Edge;
use records::many_records;
use scenarios::{each_suite, everything, tunnel};
use std::path::{Path, PathBuf};
use std::time::Duration;
use testkit::{Guest, role};

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
