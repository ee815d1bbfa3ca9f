//! The handle of a running proxy: reload, status, metrics and shutdown.

use super::bound_sockets::{OpenListeners, RetainedSockets, open};
use super::certificates::SiteCertificates;
use super::error::StartError;
use super::interfaces::WatcherThread;
use super::lifecycle::{Command, Sockets};
use super::listen::{self, InheritedSockets};
use super::metrics::{self, Metrics, SiteMetrics};
use super::proxy_state::ProxyState;
use super::runtime::{ReloadSurvivors, Runtime};
use super::shutdown::ShutdownReport;
use super::takeover::TakeoverHandle;
#[cfg(feature = "opentelemetry")]
use super::traces::Exporter;
use super::upstream::TargetStatus;
use edge_policy::Snapshot;
use edge_policy::config::{Config, Listener};
use rustls::server::ResolvesServerCert;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::UnboundedSender;

/// The state of one worker: it runs, or an error ended it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerStatus {
    /// The zero-based index of the worker.
    pub number: usize,
    /// The error that ended the worker, as text. `None` while the worker runs.
    pub error: Option<String>,
}

/// The state of one listener: it is served, or it has no sockets yet or any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerStatus {
    /// The address of the listener. A configured port 0 is replaced by the port that the system chose, once there are
    /// sockets.
    pub address: SocketAddr,
    /// The interface that the listener is bound to. `None` if it is bound to none.
    pub interface: Option<String>,
    /// True if the listener is served. False while its address or interface does not exist or its sockets cannot be
    /// opened; it is served once they can.
    pub serving: bool,
}

/// The thread of a worker and the sender of its commands.
pub(super) struct WorkerHandle {
    /// The sender of commands to the worker.
    pub(super) commands: UnboundedSender<Command>,
    /// The thread of the worker.
    pub(super) thread: JoinHandle<()>,
}

/// The longest time for which the next reply of a worker is awaited when listeners are opened.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// The handle of a running proxy. Dropping it closes all connections and blocks until the workers have ended;
/// [`ProxyHandle::shutdown`] lets requests in flight finish.
pub struct ProxyHandle {
    /// The workers, by their index.
    pub(super) workers: Vec<WorkerHandle>,
    /// The state that changes at run time.
    pub(super) state: Arc<Mutex<ProxyState>>,
    /// The thread that watches network interfaces. `None` before it is started and during a shutdown.
    pub(super) watch: Option<WatcherThread>,
    /// The lock of reloads: locked during a reload, so that reloads do not overlap and the interface watch does not
    /// interfere.
    pub(super) reloading: Arc<Mutex<()>>,
    /// The resolver of server certificates.
    pub(super) certificates: Arc<dyn ResolvesServerCert>,
    /// The source of certificates that belong to single sites. `None` if there is none.
    pub(super) site_certificates: Option<Arc<dyn SiteCertificates>>,
    /// The takeovers from and by other processes.
    pub(super) takeover: TakeoverHandle,
    /// The state that survives reloads.
    pub(super) lasting: ReloadSurvivors,
    /// The exporter of spans. `None` if spans are disabled.
    #[cfg(feature = "opentelemetry")]
    pub(super) exporter: Option<Exporter>,
}

impl std::fmt::Debug for ProxyHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProxyHandle").field("addresses", &self.addresses()).finish_non_exhaustive()
    }
}

impl ProxyHandle {
    /// Locks and returns the state that changes at run time, also after a panic of another thread.
    fn state(&self) -> MutexGuard<'_, ProxyState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the addresses of the listeners, in the order of the configuration in effect. A configured port 0 is
    /// replaced by the port that the system chose, once there are sockets.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.state().addresses.clone()
    }

    /// Returns the number of workers, including those that have failed. 0 during a shutdown.
    pub const fn workers(&self) -> usize {
        self.workers.len()
    }

    /// Returns the status of each listener of the configuration in effect, in its order.
    pub fn listeners(&self) -> Vec<ListenerStatus> {
        let state = self.state();
        let status = |held: &RetainedSockets| ListenerStatus {
            address: held.address,
            interface: held.listener.interface.clone(),
            serving: held.is_serving(),
        };
        let of = |listener: &Listener| state.held.iter().find(|held| held.listener == *listener).map(status);
        state.listeners.iter().filter_map(of).collect()
    }

    /// Returns duplicates of the listening TCP sockets and of the UDP sockets, for a process that takes over
    /// ([`Builder::sockets`](crate::Builder::sockets)). Both processes accept connections from the same queues until
    /// one closes its sockets, so no connection is refused. QUIC connections continue if the other process also gets
    /// [`ProxyHandle::quic_links`].
    ///
    /// # Errors
    /// [`io::Error`] if a socket cannot be duplicated, such as for lack of descriptors.
    pub fn sockets(&self) -> io::Result<(Vec<TcpListener>, Vec<UdpSocket>)> {
        let state = self.state();
        let tcp = state.held.iter().flat_map(RetainedSockets::tcp).map(TcpListener::try_clone);
        let udp = state.held.iter().flat_map(RetainedSockets::udp).map(UdpSocket::try_clone);
        Ok((tcp.collect::<io::Result<_>>()?, udp.collect::<io::Result<_>>()?))
    }

    /// Returns Unix sockets for a process that takes over ([`Builder::quic_links`](crate::Builder::quic_links)), the
    /// one to this process first, then those to the processes that this one took over from. Over them, each process
    /// passes on the QUIC datagrams of another's connections, so that HTTP/3 requests in flight finish. Must be called
    /// once for each takeover, after [`ProxyHandle::sockets`]. Empty without HTTP/3.
    ///
    /// # Errors
    /// [`io::Error`] if the process is out of descriptors, or a thread cannot be started.
    pub fn quic_links(&self) -> io::Result<Vec<OwnedFd>> {
        self.takeover.offer()
    }

    /// Returns the current values of all metrics. See [`Metrics`] for the time from which counters
    /// count.
    pub fn metrics(&self) -> Metrics {
        let runtime = self.state().runtime.clone();
        let config = runtime.snapshot().config();
        let sites = config.sites.iter().zip(&runtime.guards);
        let mut sites: Vec<_> =
            sites.map(|(site, guard)| SiteMetrics::of(&site.name, &guard.counts)).collect();
        sites.push(SiteMetrics::of("", &self.lasting.nowhere));
        let mut metrics =
            metrics::read(self.lasting.started.elapsed(), &self.lasting.counts, sites, self.targets());
        #[cfg(feature = "opentelemetry")]
        {
            metrics.spans = self.exporter.as_ref().map(Exporter::metrics);
        }
        metrics.shared = self.lasting.shared.as_ref().map(|link| link.metrics());
        metrics
    }

    /// Returns a copy of the configuration that is served.
    pub fn config(&self) -> Config {
        self.state().runtime.snapshot().config().clone()
    }

    /// Returns the status of each target of each upstream, in the order of the configuration in effect.
    pub fn targets(&self) -> Vec<TargetStatus> {
        let runtime = self.state().runtime.clone();
        let upstreams = runtime.snapshot().config().upstreams.iter();
        upstreams
            .zip(&runtime.targets)
            .flat_map(|(upstream, targets)| targets.iter().map(|target| target.status(&upstream.name)))
            .collect()
    }

    /// Returns the status of each worker, in the order of their indexes.
    pub fn worker_status(&self) -> Vec<WorkerStatus> {
        let state = self.state();
        let error = |number| state.failures.iter().find(|(worker, _)| *worker == number);
        (0..self.workers.len())
            .map(|number| WorkerStatus { number, error: error(number).map(|(_, error)| error.clone()) })
            .collect()
    }

    /// Prepares `runtime` with these sockets on every worker, for [`ProxyHandle::commit`]. `sockets` contains, for
    /// each listener, those of the workers, the last worker first. If one worker cannot prepare, all workers discard
    /// the preparation.
    ///
    /// # Errors
    /// [`StartError::Worker`] if a worker has failed or ended, or does not reply.
    pub(super) fn prepare(
        &self,
        runtime: &Arc<Runtime>,
        mut sockets: Vec<Vec<Sockets>>,
    ) -> Result<(), StartError> {
        let (reply, replies) = mpsc::channel();
        for worker in &self.workers {
            let opened = sockets.iter_mut().filter_map(Vec::pop).collect();
            // A worker that has ended drops its sender, and is missed below.
            let _ = worker.commands.send(Command::Prepare {
                runtime: runtime.clone(),
                opened,
                reply: reply.clone(),
            });
        }
        drop(reply);
        let prepared = self.wait_until_prepared(&replies);
        if prepared.is_err() {
            for worker in &self.workers {
                let _ = worker.commands.send(Command::Abandon);
            }
        }
        prepared
    }

    /// Makes all workers serve the prepared configuration. `closed` are the listeners that are no longer served.
    pub(super) fn commit(&self, closed: &[Listener]) {
        for worker in &self.workers {
            let _ = worker.commands.send(Command::Commit { closed: closed.to_vec() });
        }
    }

    /// Waits until every worker has replied that it is prepared.
    ///
    /// # Errors
    /// [`StartError::Worker`] if a worker has failed or ended, or if no reply arrives for [`START_TIMEOUT`].
    fn wait_until_prepared(
        &self,
        replies: &mpsc::Receiver<(usize, io::Result<()>)>,
    ) -> Result<(), StartError> {
        let mut missing: Vec<usize> = (0..self.workers.len()).collect();
        while let Some(&number) = missing.first() {
            match replies.recv_timeout(START_TIMEOUT) {
                Ok((number, Ok(()))) => missing.retain(|worker| *worker != number),
                Ok((number, Err(source))) => return Err(StartError::Worker { number, source }),
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    let source = io::Error::new(io::ErrorKind::TimedOut, "the worker does not respond");
                    return Err(StartError::Worker { number, source });
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    // The thread records its failure after it has dropped the commands.
                    let known = || self.state().failures.iter().any(|(worker, _)| *worker == number);
                    let until = Instant::now() + Duration::from_secs(1);
                    while !known() && Instant::now() < until {
                        std::thread::sleep(Duration::from_millis(5));
                    }
                    let source = self.state().failure_of(number);
                    return Err(StartError::Worker { number, source });
                }
            }
        }
        Ok(())
    }

    /// Replaces the configuration. Returns when every worker has opened the added listeners and has been sent the
    /// command to serve the new configuration. Requests in flight finish under the old one, and open connections stay
    /// open, except QUIC connections of removed listeners, which have 30 s to finish. Listeners present in both
    /// configurations are not changed. Concurrent calls are executed one after the other. Blocks, and must not be
    /// called in a method of [`Observer`](crate::Observer).
    ///
    /// # Errors
    /// [`StartError`] if the configuration is invalid or cannot be applied, another process uses the address of an
    /// added listener, or a worker has ended. The old configuration then stays in effect.
    pub fn reload(&self, config: Config) -> Result<(), StartError> {
        let _one_at_a_time = self.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        let snapshot = Snapshot::new(config).map_err(StartError::Config)?;
        let listeners = snapshot.config().listeners.clone();
        let (before, known) = {
            let state = self.state();
            (state.listeners.clone(), state.addresses.clone())
        };
        let added: Vec<Listener> =
            listeners.iter().filter(|listener| !before.contains(listener)).cloned().collect();
        let closed: Vec<Listener> =
            before.iter().filter(|listener| !listeners.contains(listener)).cloned().collect();
        self.probe(&added, &known)?;
        let mut all = OpenListeners::default();
        for listener in &added {
            let mut replaced = self.sockets_replaced_by(listener, &closed)?;
            let opened = open(std::slice::from_ref(listener), self.workers.len(), &mut replaced)?;
            all.sockets.extend(opened.sockets);
            all.addresses.extend(opened.addresses);
            all.retained.extend(opened.retained);
        }
        let OpenListeners { sockets, addresses: opened, retained } = all;
        let mut opened = opened.into_iter();
        let addresses: Vec<SocketAddr> = listeners
            .iter()
            .map(|listener| match before.iter().position(|old| old == listener) {
                Some(at) => known[at],
                None => opened.next().unwrap_or(listener.address),
            })
            .collect();
        let runtime = Arc::new(Runtime::new(
            snapshot,
            (&self.certificates, self.site_certificates.as_ref()),
            &self.lasting,
            &addresses,
        )?);
        if let Err(failed) = self.prepare(&runtime, sockets) {
            // The workers close their sockets later.
            let mut state = self.state();
            retained.iter().for_each(|opened| state.record_closing(opened.address));
            return Err(failed);
        }
        let mut state = self.state();
        for (_, address) in before.iter().zip(&known).filter(|(listener, _)| closed.contains(listener)) {
            state.record_closing(*address);
        }
        // Before the workers close theirs: what the kernel then queues at a copy would be reset.
        state.held.retain(|held| listeners.contains(&held.listener));
        state.held.extend(retained);
        self.takeover.record(&state.held);
        (state.listeners, state.addresses, state.runtime) = (listeners, addresses, runtime);
        drop(state);
        self.commit(&closed);
        Ok(())
    }

    /// Checks that no other process has bound the addresses of these added listeners. Nothing of them may be open yet.
    /// Not checked are ports at which this process has sockets, which would be taken for those of another one: at the
    /// addresses `known` of the configuration in effect, of listeners that were closed a short time ago, and of
    /// processes that this one replaced.
    ///
    /// # Errors
    /// [`StartError::Listen`] with the first address that another process uses.
    fn probe(&self, added: &[Listener], known: &[SocketAddr]) -> Result<(), StartError> {
        let closing = self.state().closing_addresses();
        let own: Vec<SocketAddr> =
            known.iter().copied().chain(closing).chain(self.takeover.predecessor_addresses()).collect();
        listen::probe(added, &InheritedSockets::default(), &own)
            .map_err(|(address, source)| StartError::Listen { address, source })
    }

    /// Returns duplicates of the sockets of the closed listener that `added` replaces at the same address and
    /// interface, so that no connection waits in the queue of a socket that is closed. Empty if `added` replaces none,
    /// and for port 0.
    ///
    /// # Errors
    /// [`StartError::Listen`] if a socket cannot be duplicated.
    fn sockets_replaced_by(
        &self,
        added: &Listener,
        closed: &[Listener],
    ) -> Result<InheritedSockets, StartError> {
        let mut sockets = InheritedSockets::default();
        let state = self.state();
        for held in state.held.iter().filter(|held| closed.contains(&held.listener)) {
            let Listener { address, interface, .. } = &held.listener;
            // Port 0 would match the sockets of other listeners.
            if address.port() != 0 && (address, interface) == (&added.address, &added.interface) {
                held.duplicate_into(&mut sockets)
                    .map_err(|source| StartError::Listen { address: *address, source })?;
            }
        }
        Ok(sockets)
    }

    /// Stops accepting connections and blocks until all requests in flight have finished and all connections are
    /// closed, or until `within` has passed, when the rest are aborted. Then exports pending spans for what remains of
    /// `within`, but for up to half a second in any case. Returns what was aborted. An asynchronous program calls it in
    /// `spawn_blocking`.
    pub fn shutdown(mut self, within: Duration) -> ShutdownReport {
        #[cfg(feature = "opentelemetry")]
        let until = Instant::now() + within;
        // Nothing is opened anew any more.
        self.watch = None;
        self.takeover.succeed();
        // Otherwise the kernel would still accept connections that no one serves.
        self.state().held.clear();
        let (reply, reports) = mpsc::channel();
        for worker in &self.workers {
            let _ = worker.commands.send(Command::Drain { within, reply: reply.clone() });
        }
        drop(reply);
        for worker in self.workers.drain(..) {
            // A worker that failed was reported when it did.
            let _ = worker.thread.join();
        }
        let mut report = ShutdownReport::default();
        reports.try_iter().for_each(|worker| report += worker);
        #[cfg(feature = "opentelemetry")]
        if let Some(exporter) = &mut self.exporter {
            let left = until.saturating_duration_since(Instant::now());
            exporter.end(left.max(Duration::from_millis(500)));
        }
        report
    }
}

impl Drop for ProxyHandle {
    fn drop(&mut self) {
        self.watch = None;
        let (reply, _) = mpsc::channel();
        for worker in &self.workers {
            let _ = worker.commands.send(Command::Drain { within: Duration::ZERO, reply: reply.clone() });
        }
        for worker in self.workers.drain(..) {
            let _ = worker.thread.join();
        }
        self.takeover.end();
    }
}
