//! An interface that comes and goes, with a network at its other end.

use std::fs::File;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::process::{Child, Command};
use std::time::Duration;

/// The address of this end.
pub(super) const ADDRESS: [u8; 4] = [10, 9, 0, 1];

/// Runs this test once more in a network namespace of its own. Returns true in that run.
pub(super) fn is_inside(test: &str) -> bool {
    if std::env::var_os("IN_NAMESPACE").is_some() {
        return true;
    }
    let done = Command::new("unshare")
        .args(["-rn", "--"])
        .arg(std::env::current_exe().expect("a path"))
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env("IN_NAMESPACE", "edge")
        .status()
        .unwrap_or_else(|why| panic!("unshare: {why}; it is of the package util-linux"));
    assert!(done.success(), "it failed in its namespace: its output says how");
    false
}

fn sh(script: &str) {
    let output = Command::new("sh").args(["-ec", script]).output().expect("sh runs");
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The network at the other end.
pub(super) struct Peer(Child);

impl Peer {
    pub(super) fn new() -> Self {
        sh("ip link set lo up");
        let peer =
            Self(Command::new("unshare").args(["-n", "sleep", "86400"]).spawn().expect("unshare runs"));
        let own = std::fs::read_link("/proc/self/ns/net").expect("a namespace");
        while std::fs::read_link(peer.network()).is_ok_and(|found| found == own) {
            std::thread::sleep(Duration::from_millis(10));
        }
        peer
    }

    fn network(&self) -> String {
        format!("/proc/{}/ns/net", self.0.id())
    }

    /// The interface appears at both ends.
    pub(super) fn link(&self) {
        let id = self.0.id();
        sh(&format!(
            "ip link add ts0 type veth peer name pe0 netns {id}; ip link set ts0 up; ip address add 10.9.0.1/24 dev ts0
             nsenter -t {id} -n ip address add 10.9.0.2/24 dev pe0; nsenter -t {id} -n ip link set pe0 up"
        ));
    }

    pub(super) fn unlink() {
        sh("ip link delete ts0");
    }

    /// Runs a client on a thread of that network.
    pub(super) fn spawn<F: Future<Output = ()> + 'static>(
        &self,
        client: impl FnOnce() -> F + Send + 'static,
    ) -> std::thread::JoinHandle<()> {
        let network = File::open(self.network()).expect("a namespace");
        std::thread::spawn(move || {
            rustix::thread::move_into_link_name_space(network.as_fd(), None)
                .expect("it is this process's own");
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(client());
        })
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(super) fn at(port: u16) -> SocketAddr {
    (ADDRESS, port).into()
}
