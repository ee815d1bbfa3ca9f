//! A running proxy as an embedder sees it: reloaded, measured, shut down.

use super::bound_sockets::{OpenListeners, RetainedSockets, open};
use super::error::StartError;
use super::interfaces::Watch;
use super::lifecycle::{Command, Sockets};
use super::listen::Inherited;
use super::metrics::{self, Metrics, SiteMetrics};
use super::proxy_state::ProxyState;
use super::runtime::{ReloadSurvivors, Runtime};
#[cfg(feature = "opentelemetry")]
use super::traces::Exporter;
use super::upstream::TargetStatus;
use edge_policy::Snapshot;
use edge_policy::config::{Config, Listener};
use rustls::server::ResolvesServerCert;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::UnboundedSender;

/// The status of one worker.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerStatus {
    /// The zero-based index of the worker.
    pub number: usize,
    /// The error that it ended by; `None` while it serves.
    pub error: Option<String>,
}

/// The status of one listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerStatus {
    /// Its address, with the port that was given for 0.
    pub address: SocketAddr,
    /// The interface of the listener.
    pub interface: Option<String>,
    /// True if it is served. One whose address or interface is not there yet waits for it.
    pub serving: bool,
}

/// The thread of a worker, and the commands to it.
pub(super) struct WorkerHandle {
    pub(super) commands: UnboundedSender<Command>,
    pub(super) thread: JoinHandle<()>,
}

/// The time that workers have to open their listeners.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running proxy. Dropping it ends it at once; [`ProxyHandle::shutdown`] lets requests in flight finish.
pub struct ProxyHandle {
    pub(super) workers: Vec<WorkerHandle>,
    pub(super) state: Arc<Mutex<ProxyState>>,
    pub(super) watch: Option<Watch>,
    pub(super) reloading: Mutex<()>,
    pub(super) certificates: Arc<dyn ResolvesServerCert>,
    pub(super) lasting: ReloadSurvivors,
    #[cfg(feature = "opentelemetry")]
    pub(super) exporter: Option<Exporter>,
}

impl std::fmt::Debug for ProxyHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProxyHandle").field("addresses", &self.addresses()).finish_non_exhaustive()
    }
}

impl ProxyHandle {
    fn state(&self) -> MutexGuard<'_, ProxyState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the listening addresses, in the order of the listeners, with the ports chosen for 0.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.state().addresses.clone()
    }

    /// The number of workers.
    pub const fn workers(&self) -> usize {
        self.workers.len()
    }

    /// Returns the status of each listener, in the order of the configuration.
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

    /// Returns the listening sockets, for a process that takes over ([`Builder::sockets`](crate::Builder::sockets)).
    /// Whichever process comes first accepts the connections in the queues of these sockets, so none is refused. QUIC
    /// connections stay with one process while packets reach both: they end, and clients open new ones.
    ///
    /// # Errors
    /// Out of descriptors.
    pub fn sockets(&self) -> io::Result<(Vec<TcpListener>, Vec<UdpSocket>)> {
        let state = self.state();
        let tcp = state.held.iter().flat_map(RetainedSockets::tcp).map(TcpListener::try_clone);
        let udp = state.held.iter().flat_map(RetainedSockets::udp).map(UdpSocket::try_clone);
        Ok((tcp.collect::<io::Result<_>>()?, udp.collect::<io::Result<_>>()?))
    }

    /// Returns the metrics since the start.
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

    /// The configuration that is served by.
    pub fn config(&self) -> Config {
        self.state().runtime.snapshot().config().clone()
    }

    /// Returns the state of each target of each upstream, in the order of the configuration.
    pub fn targets(&self) -> Vec<TargetStatus> {
        let runtime = self.state().runtime.clone();
        let upstreams = runtime.snapshot().config().upstreams.iter();
        upstreams
            .zip(&runtime.targets)
            .flat_map(|(upstream, targets)| targets.iter().map(|target| target.status(&upstream.name)))
            .collect()
    }

    /// The status of each worker.
    pub fn worker_status(&self) -> Vec<WorkerStatus> {
        let state = self.state();
        let error = |number| state.failures.iter().find(|(worker, _)| *worker == number);
        (0..self.workers.len())
            .map(|number| WorkerStatus { number, error: error(number).map(|(_, error)| error.clone()) })
            .collect()
    }

    /// Has every worker open these sockets, and then has all of them serve by `runtime`. If one cannot, none does.
    pub(super) fn serve(
        &self,
        runtime: &Arc<Runtime>,
        mut sockets: Vec<Vec<Sockets>>,
        closed: &[Listener],
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
        let prepared = self.prepared(&replies);
        for worker in &self.workers {
            let _ = worker.commands.send(match prepared {
                Ok(()) => Command::Commit { closed: closed.to_vec() },
                Err(_) => Command::Abandon,
            });
        }
        prepared
    }

    /// Waits until every worker has replied that it is prepared.
    fn prepared(&self, replies: &mpsc::Receiver<(usize, io::Result<()>)>) -> Result<(), StartError> {
        let mut missing: Vec<usize> = (0..self.workers.len()).collect();
        while let Some(&number) = missing.first() {
            match replies.recv_timeout(PATIENCE) {
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

    /// Serves by this configuration from the next request on. Requests in flight go on by the old one; connections, WebSockets
    /// and QUIC connections stay. Listeners that both configurations have are not touched. Returns when every worker serves. It
    /// blocks, and must not be called by an [`Observer`](crate::Observer) while it is told of a request.
    ///
    /// # Errors
    /// [`StartError`]; everything stays as it was then. [`StartError::Worker`] if a worker cannot open a listener, or has ended.
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
        let OpenListeners { sockets, addresses: opened, retained } =
            open(&added, self.workers.len(), &mut Inherited::default())?;
        let mut opened = opened.into_iter();
        let addresses: Vec<SocketAddr> = listeners
            .iter()
            .map(|listener| match before.iter().position(|old| old == listener) {
                Some(at) => known[at],
                None => opened.next().unwrap_or(listener.address),
            })
            .collect();
        let runtime = Arc::new(Runtime::new(snapshot, &self.certificates, &self.lasting, &addresses)?);
        self.serve(&runtime, sockets, &closed)?;
        let mut state = self.state();
        state.held.retain(|held| listeners.contains(&held.listener));
        state.held.extend(retained);
        (state.listeners, state.addresses, state.runtime) = (listeners, addresses, runtime);
        Ok(())
    }

    /// Stops accepting connections, finishes requests in flight, and returns when that is done or after `within`.
    /// Pending spans are exported then, for half a second even if the time is used up.
    pub fn shutdown(mut self, within: Duration) {
        #[cfg(feature = "opentelemetry")]
        let until = Instant::now() + within;
        // Nothing is opened anew any more.
        self.watch = None;
        // Otherwise the kernel would still accept connections that no one serves.
        self.state().held.clear();
        for worker in &self.workers {
            let _ = worker.commands.send(Command::Drain(within));
        }
        for worker in self.workers.drain(..) {
            // A worker that failed was reported when it did.
            let _ = worker.thread.join();
        }
        #[cfg(feature = "opentelemetry")]
        if let Some(exporter) = &mut self.exporter {
            let left = until.saturating_duration_since(Instant::now());
            exporter.end(left.max(Duration::from_millis(500)));
        }
    }
}

impl Drop for ProxyHandle {
    fn drop(&mut self) {
        self.watch = None;
        for worker in &self.workers {
            let _ = worker.commands.send(Command::Drain(Duration::ZERO));
        }
        for worker in self.workers.drain(..) {
            let _ = worker.thread.join();
        }
    }
}
