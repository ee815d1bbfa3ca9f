//! Listeners whose interface or address appears and disappears at run time.
//!
//! A socket is bound to an interface by its index. An interface that is created anew under the same name has another
//! index, and the old socket silently receives nothing. The interface of a VPN ends with its daemon and can appear
//! minutes after boot. A thread therefore checks the index and reopens the sockets when it changes.

use super::bound_sockets::{RetainedSockets, places};
use super::lifecycle::{Command, Sockets};
use super::listen::{self, InheritedSockets};
use super::observe::{ListenerEvent, Observer};
use super::proxy_state::ProxyState;
use super::sys;
use super::takeover::TakeoverHandle;
use edge_policy::config::Listener;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;

/// The interval at which interfaces are checked.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// The thread that watches interfaces. Dropping it ends the thread and waits for its end.
pub(super) struct WatcherThread {
    /// True if the thread is to end.
    ended: Arc<AtomicBool>,
    /// The thread. `None` once its end is awaited.
    thread: Option<JoinHandle<()>>,
}

/// The data of the watching thread.
pub(super) struct InterfaceWatcher {
    /// The state of the proxy.
    pub(super) state: Arc<Mutex<ProxyState>>,
    /// The lock of reloads: locked during a reload and while changes are applied.
    pub(super) reloading: Arc<Mutex<()>>,
    /// The command channels of the workers, by their index.
    pub(super) workers: Vec<UnboundedSender<Command>>,
    /// The observer that changes are reported to.
    pub(super) observer: Arc<dyn Observer>,
    /// The takeovers of the proxy, which are notified of new QUIC engines.
    pub(super) takeover: TakeoverHandle,
}

impl WatcherThread {
    /// Starts a thread that checks the interfaces now and every [`CHECK_INTERVAL`] until the returned value is
    /// dropped.
    ///
    /// # Errors
    /// The error of starting the thread.
    pub(super) fn start(watched: InterfaceWatcher) -> std::io::Result<Self> {
        let ended = Arc::new(AtomicBool::new(false));
        let stop = ended.clone();
        let look = move || {
            while !stop.load(Relaxed) {
                watched.look();
                std::thread::park_timeout(CHECK_INTERVAL);
            }
        };
        let thread = std::thread::Builder::new().name("edge-interfaces".into()).spawn(look)?;
        Ok(Self { ended, thread: Some(thread) })
    }
}

impl Drop for WatcherThread {
    fn drop(&mut self) {
        self.ended.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // One that panicked has said so on standard error.
            let _ = thread.join();
        }
    }
}

/// A possible change of a listener: its interface or address may have appeared, disappeared, or been replaced.
struct Change {
    /// The listener of the configuration.
    listener: Listener,
    /// Duplicates of the inherited sockets that wait for the interface or address.
    spare: InheritedSockets,
    /// The present index of the listener's interface. `None` if the listener has none, or the interface does not
    /// exist.
    index: Option<u32>,
    /// True if the listener has sockets.
    was_serving: bool,
}

impl InterfaceWatcher {
    /// Checks once: opens listeners whose interface or address has appeared, and closes those whose interface is gone
    /// or was replaced. Reports each change to the observer without a lock, so that the observer may use the proxy.
    fn look(&self) {
        for (listener, address, why) in self.apply_changes() {
            let interface = listener.interface.as_deref();
            self.observer.listener(&ListenerEvent { address, interface, why: why.as_deref() });
        }
    }

    /// Locks and returns the state of the proxy, also after a panic of another thread.
    fn state(&self) -> MutexGuard<'_, ProxyState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Applies all changes. Returns those to report: the listener, its address, and the reason while it is not served,
    /// `None` if it is served. Empty while a reload is in progress, which decides about listeners itself; the changes
    /// are found by the next check.
    fn apply_changes(&self) -> Vec<(Listener, SocketAddr, Option<String>)> {
        let _no_reload = match self.reloading.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(guard)) => guard.into_inner(),
            Err(TryLockError::WouldBlock) => return Vec::new(),
        };
        let changes: Vec<Change> = self.state().held.iter().filter_map(change).collect();
        changes.into_iter().filter_map(|change| self.apply(change)).collect()
    }

    /// Opens or closes the sockets of a listener for all workers. Returns the listener, its address, and the reason it
    /// is not served, `None` if it is served. Returns `None` if the listener is still not served, or is no longer in
    /// the configuration.
    fn apply(&self, change: Change) -> Option<(Listener, SocketAddr, Option<String>)> {
        let Change { listener, spare, index, was_serving } = change;
        let opened = match (&listener.interface, index) {
            (Some(interface), None) => Err(format!("there is no interface {interface}")),
            _ => self.open(&listener, spare).map_err(|why| why.to_string()),
        };
        let mut state = self.state();
        let ProxyState { listeners, addresses, held, failures, .. } = &mut *state;
        let held = held.iter_mut().find(|held| held.listener == listener)?;
        let kept = opened.and_then(|sockets| {
            held.keep(&sockets, index).map_err(|why| why.to_string())?;
            failures.iter().for_each(|(worker, _)| held.release(*worker));
            Ok(sockets)
        });
        let why = match kept {
            Ok(sockets) => {
                self.tell(&listener, sockets);
                if let Some(at) = listeners.iter().position(|known| *known == listener) {
                    addresses[at] = held.address;
                }
                None
            }
            Err(why) => {
                if was_serving {
                    // The sockets hear nothing, and would only be in the way of others.
                    held.close();
                    self.tell(&listener, Vec::new());
                }
                Some(why)
            }
        };
        let address = held.address;
        self.takeover.record(&state.held);
        // Once each way.
        (why.is_none() || was_serving).then_some((listener, address, why))
    }

    /// Opens the sockets of a listener for all workers, with `inherited` ones or, if these cannot be used, new ones.
    ///
    /// # Errors
    /// The error of opening the sockets, also that the interface or address does not exist.
    fn open(&self, listener: &Listener, mut inherited: InheritedSockets) -> std::io::Result<Vec<Sockets>> {
        let workers = self.workers.len();
        // Those that somebody else opened can still be bound where they never were.
        let opened = match listen::open(listener, workers, &mut inherited) {
            Err(why) if listen::is_waiting(listener, &why) => return Err(why),
            Err(_) => listen::open(listener, workers, &mut InheritedSockets::default())?,
            opened => opened?,
        };
        Ok(places(listener, opened, workers))
    }

    /// Sends each worker its sockets of a listener, or the command to close the listener if there are none.
    fn tell(&self, listener: &Listener, mut sockets: Vec<Sockets>) {
        for commands in &self.workers {
            let sockets = sockets.pop().map(Box::new);
            // A worker that is gone serves nothing.
            let _ = commands.send(Command::Relisten { listener: listener.clone(), sockets });
        }
    }
}

/// Returns the possible change of a listener. `None` if the listener is served on its present interface or has none
/// and is served, or its inherited sockets cannot be duplicated.
fn change(held: &RetainedSockets) -> Option<Change> {
    let was_serving = held.is_serving();
    let index = held.listener.interface.as_deref().and_then(sys::interface_index);
    // A socket without an interface is not deaf when its address goes, and comes back.
    if was_serving && (held.listener.interface.is_none() || index.is_some() && index == held.index) {
        return None;
    }
    // Without a descriptor left, the next check tries again.
    let spare = held.spare.try_clone().ok()?;
    Some(Change { listener: held.listener.clone(), spare, index, was_serving })
}
