//! The service manager's file descriptor store: it holds the listening sockets while the service restarts, so that
//! connections wait instead of being refused, and passes them to the next process.

use super::Notifier;
use super::sockets::inode;
use crate::journal;
use edge_proxy::ProxyHandle;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

/// The beginning of the names of this program's sockets in the store.
const PREFIX: &str = "edge-";

/// Returns the name of a socket in the store: [`PREFIX`], `tcp` if `stream` and otherwise `udp`, and the address, with
/// `_` in place of `:`.
pub(super) fn name(stream: bool, address: SocketAddr) -> String {
    // Colons separate names.
    format!("{PREFIX}{}-{address}", if stream { "tcp" } else { "udp" }).replace(':', "_")
}

/// Returns true if a name has the form of [`name`]: [`PREFIX`], followed by `tcp-` or `udp-`.
pub(super) fn is_name(name: &str) -> bool {
    name.strip_prefix(PREFIX).is_some_and(|rest| rest.starts_with("tcp-") || rest.starts_with("udp-"))
}

/// The sockets that are in the manager's store.
#[derive(Default)]
pub(crate) struct SocketStore {
    /// The inode numbers of the stored sockets, by the name in the store.
    kept: BTreeMap<String, BTreeSet<u64>>,
    /// The names of sockets that socket units passed, which are never stored.
    passed: BTreeSet<String>,
}

impl SocketStore {
    /// Creates the record of an empty store. `passed` are the names of sockets that socket units passed, which are
    /// never stored.
    pub(crate) fn new(passed: Vec<String>) -> Self {
        Self { kept: BTreeMap::new(), passed: passed.into_iter().collect() }
    }

    /// Updates the manager's store to the sockets on which the proxy listens now, which change with reloads and network
    /// interfaces: removes those that are gone, and adds those that are new or were bound again. Failures are logged.
    /// Does nothing without a service manager.
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
