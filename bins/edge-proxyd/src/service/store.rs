//! The manager's store of descriptors: it keeps the listening sockets while the service restarts, so that connections wait
//! instead of being refused, and passes them to the next process.

use super::Notifier;
use super::sockets::inode;
use crate::journal;
use edge_proxy::ProxyHandle;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

/// The beginning of each name in the store.
const PREFIX: &str = "edge-";

/// Returns the name of a socket in systemd's file descriptor store, by transport and address.
pub(super) fn name(stream: bool, address: SocketAddr) -> String {
    // Colons separate names.
    format!("{PREFIX}{}-{address}", if stream { "tcp" } else { "udp" }).replace(':', "_")
}

/// Returns whether a name is that of a stored socket.
pub(super) fn is_name(name: &str) -> bool {
    name.strip_prefix(PREFIX).is_some_and(|rest| rest.starts_with("tcp-") || rest.starts_with("udp-"))
}

/// The sockets that the manager keeps, by name and inode.
#[derive(Default)]
pub(crate) struct SocketStore {
    kept: BTreeMap<String, BTreeSet<u64>>,
    /// The names of those that socket units hold.
    passed: BTreeSet<String>,
}

impl SocketStore {
    /// Creates the record of a process that got these sockets from socket units.
    pub(crate) fn new(passed: Vec<String>) -> Self {
        Self { kept: BTreeMap::new(), passed: passed.into_iter().collect() }
    }

    /// Makes the store hold what is served: listeners come and go with reloads and interfaces.
    pub(crate) fn sync(&mut self, proxy: &ProxyHandle, notifier: &Notifier) {
        if !notifier.is_connected() {
            return;
        }
        let Ok((tcp, udp)) = proxy.sockets() else { return };
        let mut served: BTreeMap<String, Vec<OwnedFd>> = BTreeMap::new();
        for socket in tcp {
            if let Ok(address) = socket.local_addr() {
                served.entry(name(true, address)).or_default().push(socket.into());
            }
        }
        for socket in udp {
            if let Ok(address) = socket.local_addr() {
                served.entry(name(false, address)).or_default().push(socket.into());
            }
        }
        served.retain(|name, _| !self.passed.contains(name));
        let gone = self.kept.keys().filter(|name| !served.contains_key(*name)).cloned().collect::<Vec<_>>();
        for name in gone {
            notifier.forget(&name);
            self.kept.remove(&name);
        }
        for (name, sockets) in served {
            let inodes: BTreeSet<u64> = sockets.iter().filter_map(inode).collect();
            match self.kept.get(&name) {
                Some(kept) if *kept == inodes => continue,
                Some(_) => notifier.forget(&name),
                None => {}
            }
            let sockets: Vec<_> = sockets.iter().map(AsFd::as_fd).collect();
            if let Err(why) = notifier.store(&name, &sockets) {
                journal::warning(format_args!(
                    "the service manager did not take the socket {name}: {why}; a restart refuses connections for a moment"
                ));
            }
            self.kept.insert(name, inodes);
        }
    }
}
