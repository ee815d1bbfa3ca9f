//! The builder of a proxy.

use super::bound_sockets::{OpenListeners, open};
use super::certificates::SiteCertificates;
use super::error::StartError;
use super::interfaces::{InterfaceWatcher, WatcherThread};
use super::lifecycle;
use super::listen::{self, InheritedSockets};
use super::observe::{ListenerEvent, NoopObserver, Observer, WorkerFailure};
use super::proxy::{ProxyHandle, WorkerHandle};
use super::proxy_state::ProxyState;
use super::resumption::{self, Shared};
use super::runtime::{ReloadSurvivors, Runtime};
use super::takeover::TakeoverHandle;
#[cfg(feature = "opentelemetry")]
use super::traces::Exporter;
use super::traces::TraceSink;
use edge_policy::Snapshot;
#[cfg(feature = "opentelemetry")]
use edge_policy::config::Tracing;
use edge_policy::config::{Config, Listener, Site, Upstream};
use rustls::server::{ResolvesServerCert, ResolvesServerCertUsingSni};
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// A builder that configures and starts a proxy: see [`Proxy::builder`].
pub struct Builder {
    /// The configuration of the proxy.
    config: Config,
    /// The resolver of server certificates.
    certificates: Arc<dyn ResolvesServerCert>,
    /// The source of certificates that belong to single sites. `None` if there is none.
    site_certificates: Option<Arc<dyn SiteCertificates>>,
    /// The observer of events.
    observer: Arc<dyn Observer>,
    /// The number of workers, from 1 to 64.
    workers: usize,
    /// The sockets that listeners use instead of opening their own.
    inherited: InheritedSockets,
    /// The addresses of the process that is taken over from.
    predecessor_addresses: Vec<SocketAddr>,
    /// The links to the processes that this one takes over from, the latest first.
    quic_links: Vec<OwnedFd>,
    /// The state shared with other edges. `None` if the state belongs to this process.
    shared: Option<Shared>,
    /// The settings of trace export. `None` if spans are disabled.
    #[cfg(feature = "opentelemetry")]
    tracing: Option<Tracing>,
}

/// The entry point of the crate: see [`Proxy::builder`].
#[derive(Debug)]
pub struct Proxy(());

impl Proxy {
    /// Returns a builder with the default configuration: no listeners, sites, upstreams or certificates, an observer
    /// that ignores all events, and one worker per CPU core, at most 64.
    pub fn builder() -> Builder {
        Builder {
            config: Config::default(),
            certificates: Arc::new(ResolvesServerCertUsingSni::new()),
            site_certificates: None,
            observer: Arc::new(NoopObserver),
            workers: std::thread::available_parallelism().map_or(1, usize::from).min(64),
            inherited: InheritedSockets::default(),
            predecessor_addresses: Vec::new(),
            quic_links: Vec::new(),
            shared: None,
            #[cfg(feature = "opentelemetry")]
            tracing: None,
        }
    }
}

impl Builder {
    /// Sets the configuration. It replaces the whole configuration set before, including listeners, sites and
    /// upstreams that were added.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Adds a listener to the configuration.
    #[must_use]
    pub fn listener(mut self, listener: Listener) -> Self {
        self.config.listeners.push(listener);
        self
    }

    /// Adds a site to the configuration.
    #[must_use]
    pub fn site(mut self, site: Site) -> Self {
        self.config.sites.push(site);
        self
    }

    /// Adds an upstream to the configuration.
    #[must_use]
    pub fn upstream(mut self, upstream: Upstream) -> Self {
        self.config.upstreams.push(upstream);
        self
    }

    /// Sets the resolver of server certificates: [`Certificates`](crate::Certificates), or any resolver of rustls.
    /// Without this call there are no certificates.
    #[must_use]
    pub fn certificates(mut self, certificates: Arc<dyn ResolvesServerCert>) -> Self {
        self.certificates = certificates;
        self
    }

    /// Sets the source of certificates that belong to single sites, which precede those of [`Builder::certificates`].
    /// Without this call every certificate is chosen by the server name alone.
    #[must_use]
    pub fn site_certificates(mut self, certificates: Arc<dyn SiteCertificates>) -> Self {
        self.site_certificates = Some(certificates);
        self
    }

    /// Sets the observer of events. Without this call it is [`NoopObserver`](crate::NoopObserver).
    #[must_use]
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = observer;
        self
    }

    /// Sets the store of TLS state that is shared with other edges that serve the same names: ticket keys, and the
    /// single-use sessions for early data over TCP. Without this call clients resume sessions only at the process that
    /// created them.
    #[must_use]
    pub fn shared(mut self, shared: Shared) -> Self {
        self.shared = Some(shared);
        self
    }

    /// Enables OpenTelemetry spans of requests and upstream attempts, exported to a collector. A trace is continued
    /// only for trusted proxies ([`Config::trust`]). Without this call there are no spans, and trace fields of clients
    /// are forwarded unchanged. Not affected by reloads.
    #[cfg(feature = "opentelemetry")]
    #[must_use]
    pub fn tracing(mut self, tracing: Tracing) -> Self {
        self.tracing = Some(tracing);
        self
    }

    /// Sets the number of workers. Values outside 1 to 64 are clamped. Without this call there is one per CPU core, at
    /// most 64.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers.clamp(1, 64);
        self
    }

    /// Sets inherited sockets, from a service manager or a predecessor ([`ProxyHandle::sockets`]), in place of those
    /// set before. A listener uses the sockets bound to its address; others are closed. The number of workers is
    /// raised to the highest number of TCP sockets of one address, at most 64, so that no connection waits on an
    /// unused socket. Must be called after [`Builder::workers`].
    ///
    /// The sockets of a listener with an interface are bound to that interface. Sockets of other listeners keep the
    /// interface to which they were bound, if any.
    #[must_use]
    pub fn sockets(mut self, tcp: Vec<TcpListener>, udp: Vec<UdpSocket>) -> Self {
        self.inherited = InheritedSockets { tcp, udp };
        self.workers = self.workers.max(self.inherited.max_per_address()).min(64);
        self
    }

    /// Sets the addresses of the process that this one takes over from, in place of those set before. Listeners at
    /// these addresses are not checked for sockets of other programs, so that sockets of the predecessor that this
    /// process does not use, such as those of a listener whose interface has changed, do not prevent the start. The
    /// addresses of the sockets in [`Builder::sockets`] need not be among them.
    #[must_use]
    pub fn predecessor_addresses(mut self, addresses: Vec<SocketAddr>) -> Self {
        self.predecessor_addresses = addresses;
        self
    }

    /// Sets the links to the processes that this one takes over from ([`ProxyHandle::quic_links`]), in their order.
    /// QUIC connections of those processes continue there. Without this call they are lost if their datagrams arrive
    /// here.
    #[must_use]
    pub fn quic_links(mut self, links: Vec<OwnedFd>) -> Self {
        self.quic_links = links;
        self
    }

    /// Binds the listeners, starts the workers, and returns when every worker has opened its listeners, or fails if no
    /// worker reports that for 10 s. A listener whose interface or address does not exist yet is not an error: it is
    /// served once both exist, and reported to [`Observer::listener`]. With [`Builder::shared`], waits up to 2 s for
    /// the first keys. Blocks: in an asynchronous runtime, call it by `spawn_blocking`.
    ///
    /// # Errors
    /// [`StartError`] if the configuration is invalid or cannot be applied, an address is in use, or a thread cannot
    /// be started. Threads that were started have then ended.
    pub fn start(mut self) -> Result<ProxyHandle, StartError> {
        let snapshot = Snapshot::new(self.config).map_err(StartError::Config)?;
        let shared = self.shared.map(|shared| resumption::start(shared, self.observer.clone())).transpose();
        let lasting =
            ReloadSurvivors::new(self.workers, shared.map_err(StartError::Thread)?, self.observer.clone())?;
        let listeners = snapshot.config().listeners.clone();
        listen::probe(&listeners, &self.inherited, &self.predecessor_addresses)
            .map_err(|(address, source)| StartError::Listen { address, source })?;
        // The process that is replaced may have them open for a while.
        let others = std::mem::take(&mut self.predecessor_addresses);
        let closing =
            self.inherited.addresses().chain(others).map(|address| (address, Instant::now())).collect();
        let OpenListeners { sockets, addresses, retained: held } =
            open(&listeners, self.workers, &mut self.inherited)?;
        // Inherited sockets that no listener uses are closed; those of waiting listeners are retained as duplicates.
        self.inherited = InheritedSockets::default();
        let waiting = held.iter().filter(|held| !held.is_serving());
        let waiting: Vec<_> = waiting.map(|held| (held.address, held.listener.interface.clone())).collect();
        let runtime = Arc::new(Runtime::new(
            snapshot,
            (&self.certificates, self.site_certificates.as_ref()),
            &lasting,
            &addresses,
        )?);
        #[cfg(feature = "opentelemetry")]
        let (exporter, traces) = match self.tracing.take().map(Exporter::start).transpose()? {
            Some((exporter, traces)) => (Some(exporter), traces),
            None => (None, TraceSink::default()),
        };
        #[cfg(not(feature = "opentelemetry"))]
        let traces = TraceSink::default();
        let failures = Vec::new();
        let state = ProxyState { listeners, addresses, runtime: runtime.clone(), held, failures, closing };
        let mut handle = ProxyHandle {
            workers: Vec::with_capacity(self.workers),
            state: Arc::new(Mutex::new(state)),
            watch: None,
            reloading: Arc::default(),
            certificates: self.certificates,
            site_certificates: self.site_certificates,
            takeover: TakeoverHandle::new(Vec::new()),
            lasting,
            #[cfg(feature = "opentelemetry")]
            exporter,
        };
        for number in 0..self.workers {
            let observer = self.observer.clone();
            let worker =
                start_worker(number, runtime.clone(), observer, traces.clone(), handle.state.clone())?;
            handle.workers.push(worker);
        }
        let commands: Vec<_> = handle.workers.iter().map(|worker| worker.commands.clone()).collect();
        handle.takeover = TakeoverHandle::new(commands.clone());
        // A handle that is dropped ends its workers.
        handle.prepare(&runtime, sockets)?;
        handle.takeover.record(&handle.state.lock().unwrap_or_else(PoisonError::into_inner).held);
        handle.takeover.adopt(std::mem::take(&mut self.quic_links)).map_err(StartError::Thread)?;
        handle.commit(&[]);
        for (address, interface) in waiting {
            let why = Some("its interface or its address does not exist yet");
            self.observer.listener(&ListenerEvent { address, interface: interface.as_deref(), why });
        }
        let watched = InterfaceWatcher {
            state: handle.state.clone(),
            reloading: handle.reloading.clone(),
            workers: commands,
            observer: self.observer,
            takeover: handle.takeover.clone(),
        };
        handle.watch = Some(WatcherThread::start(watched).map_err(StartError::Thread)?);
        Ok(handle)
    }
}

/// Starts the thread of the worker with the index `number`, without listeners. A worker that ends by an error or a
/// panic is recorded in `state`, which closes its retained sockets, and reported to the observer.
///
/// # Errors
/// [`StartError::Thread`] if the thread cannot be started.
fn start_worker(
    number: usize,
    runtime: Arc<Runtime>,
    observer: Arc<dyn Observer>,
    traces: TraceSink,
    state: Arc<Mutex<ProxyState>>,
) -> Result<WorkerHandle, StartError> {
    let (commands, receiver) = tokio::sync::mpsc::unbounded_channel();
    let thread = std::thread::Builder::new().name(format!("edge-{number}")).spawn(move || {
        let run = || lifecycle::run(number, runtime, (observer.clone(), traces), receiver);
        let ended = catch_unwind(AssertUnwindSafe(run));
        if let Err(error) = ended.unwrap_or_else(|_| Err(io::Error::other("the worker panicked"))) {
            // Otherwise the kernel would still assign connections to its sockets, which nobody accepts.
            state.lock().unwrap_or_else(PoisonError::into_inner).fail(number, &error);
            observer.worker_failed(&WorkerFailure { worker: number, quic: None, error: &error });
        }
    });
    Ok(WorkerHandle { commands, thread: thread.map_err(StartError::Thread)? })
}
