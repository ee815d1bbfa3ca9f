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
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;

/// The interval at which interfaces are checked.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// The thread that watches interfaces. Dropping it stops the thread and waits for its end.
pub(super) struct WatcherThread {
    /// True if the thread is to end.
    ended: Arc<AtomicBool>,
    /// The thread. `None` once its end was waited for.
    thread: Option<JoinHandle<()>>,
}

/// The data of the watching thread: the state of the proxy, the command channels of the workers by their index, and the
/// observer.
pub(super) struct InterfaceWatcher {
    pub(super) state: Arc<Mutex<ProxyState>>,
    pub(super) workers: Vec<UnboundedSender<Command>>,
    pub(super) observer: Arc<dyn Observer>,
}

impl WatcherThread {
    /// Starts a thread that checks the interfaces now and every 500 ms until this handle is dropped.
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

impl InterfaceWatcher {
    /// Checks all listeners once: opens those whose interface or address has appeared, reopens those whose interface
    /// has another index, and closes those whose interface is gone. A listener without an interface stays open when its
    /// address disappears. Each change is reported to the observer once.
    fn look(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let ProxyState { listeners, addresses, held, .. } = &mut *state;
        for held in held {
            let was = held.is_serving();
            let interface = held.listener.interface.clone();
            let index = interface.as_deref().and_then(sys::interface_index);
            // A socket that is not bound to an interface receives again when its address comes back.
            if was && (interface.is_none() || index.is_some() && index == held.index) {
                continue;
            }
            let why = match (&interface, index) {
                (Some(interface), None) => Some(format!("there is no interface {interface}")),
                _ => self.open(held, index).err().map(|why| why.to_string()),
            };
            if why.is_some() && was {
                self.tell(held, None);
                // The sockets hear nothing, and would only be in the way of others.
                held.close();
            }
            if why.is_none()
                && let Some(at) = listeners.iter().position(|listener| *listener == held.listener)
            {
                addresses[at] = held.address;
            }
            // Each change is reported once.
            if why.is_none() || was {
                let address = held.address;
                let interface = interface.as_deref();
                self.observer.listener(&ListenerEvent { address, interface, why: why.as_deref() });
            }
        }
    }

    /// Opens the sockets of a listener, retains duplicates, and sends them to the workers. Prefers inherited sockets;
    /// opens new ones if those cannot be used. `index` is the index of the interface.
    ///
    /// # Errors
    /// The error of opening; the retained sockets are unchanged then.
    fn open(&self, held: &mut RetainedSockets, index: Option<u32>) -> std::io::Result<()> {
        let workers = self.workers.len();
        // Those that somebody else opened can still be bound where they never were.
        let mut inherited = held.spare.try_clone()?;
        let opened = match listen::open(&held.listener, workers, &mut inherited) {
            Err(why) if listen::is_waiting(&held.listener, &why) => return Err(why),
            Err(_) => listen::open(&held.listener, workers, &mut InheritedSockets::default())?,
            opened => opened?,
        };
        let sockets = places(&held.listener, opened, workers);
        held.keep(&sockets, index)?;
        self.tell(held, Some(sockets));
        Ok(())
    }

    /// Sends each worker its sockets of the listener, or with `None` the command to stop serving it.
    fn tell(&self, held: &RetainedSockets, sockets: Option<Vec<Sockets>>) {
        let mut sockets = sockets.unwrap_or_default();
        for commands in &self.workers {
            let listener = held.listener.clone();
            // A worker that is gone serves nothing.
            let _ = commands.send(Command::Relisten { listener, sockets: sockets.pop().map(Box::new) });
        }
    }
}
