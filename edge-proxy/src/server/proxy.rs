//! The proxy as an embedder sees it: built, started, reloaded, shut down.

use super::downstream::h3::Handover;
use super::error::StartError;
use super::lifecycle::{self, Command, Sockets};
use super::listen::{self, Inherited};
use super::metrics::{self, Metrics, SiteMetrics};
use super::observe::{NoopObserver, Observer};
use super::resumption::{self, Shared};
use super::runtime::{ReloadSurvivors, Runtime};
#[cfg(feature = "opentelemetry")]
use super::traces::Exporter;
use super::traces::TraceSink;
use super::upstream::TargetStatus;
use crate::Snapshot;
#[cfg(feature = "opentelemetry")]
use crate::config::Tracing;
use crate::config::{Config, Listener, ListenerKind, Site, Upstream};
use rustls::server::{ResolvesServerCert, ResolvesServerCertUsingSni};
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;

/// A proxy that is being described.
pub struct Builder {
    config: Config,
    certificates: Arc<dyn ResolvesServerCert>,
    observer: Arc<dyn Observer>,
    workers: usize,
    inherited: Inherited,
    shared: Option<Shared>,
    #[cfg(feature = "opentelemetry")]
    tracing: Option<Tracing>,
}

/// The entry: see the front page of the crate.
#[derive(Debug)]
pub struct Proxy(());

impl Proxy {
    /// Begins to describe a proxy. Without more it has no listeners, no sites and no certificates.
    pub fn builder() -> Builder {
        Builder {
            config: Config::default(),
            certificates: Arc::new(ResolvesServerCertUsingSni::new()),
            observer: Arc::new(NoopObserver),
            workers: std::thread::available_parallelism().map_or(1, usize::from).min(64),
            inherited: Inherited::default(),
            shared: None,
            #[cfg(feature = "opentelemetry")]
            tracing: None,
        }
    }
}

impl Builder {
    /// The whole configuration at once, instead of what was added before.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Adds an address to listen on.
    #[must_use]
    pub fn listener(mut self, listener: Listener) -> Self {
        self.config.listeners.push(listener);
        self
    }

    /// Adds a site.
    #[must_use]
    pub fn site(mut self, site: Site) -> Self {
        self.config.sites.push(site);
        self
    }

    /// Adds an upstream.
    #[must_use]
    pub fn upstream(mut self, upstream: Upstream) -> Self {
        self.config.upstreams.push(upstream);
        self
    }

    /// Where certificates come from: [`Certificates`](crate::Certificates), or any resolver of rustls.
    #[must_use]
    pub fn certificates(mut self, certificates: Arc<dyn ResolvesServerCert>) -> Self {
        self.certificates = certificates;
        self
    }

    /// Who is told what happens.
    #[must_use]
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = observer;
        self
    }

    /// What it shares with other edges that serve the same names: tickets, and the sessions that early data comes with. Without
    /// it they are this process's.
    #[must_use]
    pub fn shared(mut self, shared: Shared) -> Self {
        self.shared = Some(shared);
        self
    }

    /// Makes spans and sends them to a collector. A trace is taken from hops whose word about the client's address counts
    /// ([`Config::trust`]), from nobody else; without this call what clients say of traces is passed on as it is. It stays as it is through
    /// reloads.
    #[cfg(feature = "opentelemetry")]
    #[must_use]
    pub fn tracing(mut self, tracing: Tracing) -> Self {
        self.tracing = Some(tracing);
        self
    }

    /// How many workers, 1 to 64. The default is one a core.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers.clamp(1, 64);
        self
    }

    /// Sockets that are open already, by a service manager or by a process that this one takes over from
    /// ([`ProxyHandle::sockets`]). A listener whose address they have listens on them. Where there are more of one address than
    /// workers there are as many workers, so that no connection waits on a socket that nobody looks at.
    #[must_use]
    pub fn sockets(mut self, tcp: Vec<TcpListener>, udp: Vec<UdpSocket>) -> Self {
        self.inherited = Inherited { tcp, udp };
        self.workers = self.workers.max(self.inherited.most()).min(64);
        self
    }

    /// Listens and serves, on threads of its own. With [`Builder::shared`], waits up to 2 s for the first keys.
    ///
    /// # Errors
    /// [`StartError`]; nothing runs then.
    pub fn start(mut self) -> Result<ProxyHandle, StartError> {
        let snapshot = Snapshot::new(self.config).map_err(StartError::Config)?;
        let shared = self.shared.map(|shared| resumption::start(shared, self.observer.clone())).transpose();
        let lasting = ReloadSurvivors::new(self.workers, shared.map_err(StartError::Thread)?)?;
        let listeners = snapshot.config().listeners.clone();
        listen::probe(&listeners, &self.inherited)
            .map_err(|(address, why)| StartError::Listen { address, why })?;
        let (mut sockets, addresses) = open(&listeners, self.workers, &mut self.inherited)?;
        let held = RetainedSockets::of(&listeners, &sockets)?;
        let runtime = Arc::new(Runtime::new(snapshot, &self.certificates, &lasting, &addresses)?);
        #[cfg(feature = "opentelemetry")]
        let (exporter, traces) = match self.tracing.take().map(Exporter::start).transpose()? {
            Some((exporter, traces)) => (Some(exporter), traces),
            None => (None, TraceSink::default()),
        };
        #[cfg(not(feature = "opentelemetry"))]
        let traces = TraceSink::default();
        let mut workers = Vec::with_capacity(self.workers);
        for number in 0..self.workers {
            let mine = sockets.iter_mut().filter_map(Vec::pop).collect();
            let (commands, receiver) = tokio::sync::mpsc::unbounded_channel();
            let (runtime, told) = (runtime.clone(), (self.observer.clone(), traces.clone()));
            let thread = std::thread::Builder::new()
                .name(format!("edge-{number}"))
                .spawn(move || lifecycle::run(number, runtime, mine, told, receiver))
                .map_err(StartError::Thread)?;
            workers.push((commands, thread));
        }
        let state = ProxyState { listeners, addresses, runtime, held };
        Ok(ProxyHandle {
            workers,
            state: Mutex::new(state),
            certificates: self.certificates,
            lasting,
            #[cfg(feature = "opentelemetry")]
            exporter,
        })
    }
}

/// The sockets of some listeners, by listener and then by worker; and their addresses.
type OpenListeners = (Vec<Vec<Sockets>>, Vec<SocketAddr>);

fn open(
    listeners: &[Listener],
    workers: usize,
    inherited: &mut Inherited,
) -> Result<OpenListeners, StartError> {
    let mut all = Vec::new();
    let mut addresses = Vec::new();
    for listener in listeners {
        let failed = |why| StartError::Listen { address: listener.address, why };
        let (address, tcp) = listen::tcp(listener, workers, inherited).map_err(failed)?;
        let udp = listen::udp(listener, address, workers, inherited).map_err(failed)?;
        let mut udp = udp.into_iter();
        let mut places = if listener.kind == (ListenerKind::Tls { http3: true }) {
            Handover::mesh(workers as u8).into_iter()
        } else {
            Vec::new().into_iter()
        };
        let mut mine: Vec<Sockets> = tcp
            .into_iter()
            .map(|tcp| Sockets {
                listener: listener.clone(),
                address,
                tcp,
                quic: udp.next().zip(places.next()),
            })
            .collect();
        // Workers take from the end, so that the first worker gets the first socket.
        mine.reverse();
        all.push(mine);
        addresses.push(address);
    }
    Ok((all, addresses))
}

struct ProxyState {
    listeners: Vec<Listener>,
    addresses: Vec<SocketAddr>,
    runtime: Arc<Runtime>,
    /// What is listened on, so that it can be handed on.
    held: Vec<RetainedSockets>,
}

/// The sockets of one listener, besides those that the workers have.
struct RetainedSockets {
    listener: Listener,
    tcp: Vec<TcpListener>,
    udp: Vec<UdpSocket>,
}

impl RetainedSockets {
    fn of(listeners: &[Listener], sockets: &[Vec<Sockets>]) -> Result<Vec<Self>, StartError> {
        let one = |(listener, sockets): (&Listener, &Vec<Sockets>)| {
            let tcp = sockets.iter().map(|sockets| sockets.tcp.try_clone());
            let quic = sockets.iter().filter_map(|sockets| sockets.quic.as_ref());
            Ok(Self {
                listener: listener.clone(),
                tcp: tcp.collect::<io::Result<_>>()?,
                udp: quic.map(|(socket, _)| socket.try_clone()).collect::<io::Result<_>>()?,
            })
        };
        listeners
            .iter()
            .zip(sockets)
            .map(|each| one(each).map_err(|why| StartError::Listen { address: each.0.address, why }))
            .collect()
    }

    fn again(&self) -> Result<Self, StartError> {
        let failed = |why| StartError::Listen { address: self.listener.address, why };
        Ok(Self {
            listener: self.listener.clone(),
            tcp: self.tcp.iter().map(TcpListener::try_clone).collect::<io::Result<_>>().map_err(failed)?,
            udp: self.udp.iter().map(UdpSocket::try_clone).collect::<io::Result<_>>().map_err(failed)?,
        })
    }
}

type WorkerHandle = (UnboundedSender<Command>, JoinHandle<io::Result<()>>);

/// A proxy that serves. Dropping it ends it at once; [`ProxyHandle::shutdown`] lets what is under way finish.
pub struct ProxyHandle {
    workers: Vec<WorkerHandle>,
    state: Mutex<ProxyState>,
    certificates: Arc<dyn ResolvesServerCert>,
    lasting: ReloadSurvivors,
    #[cfg(feature = "opentelemetry")]
    exporter: Option<Exporter>,
}

impl std::fmt::Debug for ProxyHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProxyHandle").field("addresses", &self.addresses()).finish_non_exhaustive()
    }
}

impl ProxyHandle {
    fn state(&self) -> std::sync::MutexGuard<'_, ProxyState> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The addresses that are listened on, in the order of the listeners, with the ports that were given for 0.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.state().addresses.clone()
    }

    /// The number of workers.
    pub const fn workers(&self) -> usize {
        self.workers.len()
    }

    /// What is listened on, for a process that takes over ([`Builder::sockets`]): connections that wait in these sockets'
    /// queues are accepted by whoever of the two comes first, so none is refused. QUIC connections stay with one process,
    /// while packets come to both: they end, and clients open new ones.
    ///
    /// # Errors
    /// Out of descriptors.
    pub fn sockets(&self) -> io::Result<(Vec<TcpListener>, Vec<UdpSocket>)> {
        let state = self.state();
        let tcp = state.held.iter().flat_map(|held| &held.tcp).map(TcpListener::try_clone);
        let udp = state.held.iter().flat_map(|held| &held.udp).map(UdpSocket::try_clone);
        Ok((tcp.collect::<io::Result<_>>()?, udp.collect::<io::Result<_>>()?))
    }

    /// What was counted since the start.
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

    /// What is known of each target of each upstream, in the order of the configuration.
    pub fn targets(&self) -> Vec<TargetStatus> {
        let runtime = self.state().runtime.clone();
        let upstreams = runtime.snapshot().config().upstreams.iter();
        upstreams
            .zip(&runtime.targets)
            .flat_map(|(upstream, targets)| targets.iter().map(|target| target.status(&upstream.name)))
            .collect()
    }

    /// Serves by this configuration from the next request on. What is under way goes on by the old one; connections,
    /// WebSockets and QUIC connections stay. Listeners that both configurations have are not touched.
    ///
    /// # Errors
    /// [`StartError`]; everything stays as it was then.
    pub fn reload(&self, config: Config) -> Result<(), StartError> {
        let mut state = self.state();
        let snapshot = Snapshot::new(config).map_err(StartError::Config)?;
        let listeners = snapshot.config().listeners.clone();
        let added: Vec<Listener> =
            listeners.iter().filter(|listener| !state.listeners.contains(listener)).cloned().collect();
        let closed: Vec<Listener> =
            state.listeners.iter().filter(|listener| !listeners.contains(listener)).cloned().collect();
        let (mut sockets, opened) = open(&added, self.workers.len(), &mut Inherited::default())?;
        let mut held = RetainedSockets::of(&added, &sockets)?;
        let kept = state.held.iter().filter(|held| listeners.contains(&held.listener));
        for kept in kept {
            held.push(kept.again()?);
        }
        let mut opened = opened.into_iter();
        let addresses: Vec<SocketAddr> = listeners
            .iter()
            .map(|listener| match state.listeners.iter().position(|old| old == listener) {
                Some(at) => state.addresses[at],
                None => opened.next().unwrap_or(listener.address),
            })
            .collect();
        let runtime = Arc::new(Runtime::new(snapshot, &self.certificates, &self.lasting, &addresses)?);
        for (commands, _) in &self.workers {
            let opened = sockets.iter_mut().filter_map(Vec::pop).collect();
            // A worker that is gone has taken its listeners with it; the others serve on.
            let _ =
                commands.send(Command::Reload { runtime: runtime.clone(), opened, closed: closed.clone() });
        }
        *state = ProxyState { listeners, addresses, runtime, held };
        Ok(())
    }

    /// Takes no new connections, finishes what is under way, and returns when that is done or after `within`. Spans that wait
    /// are sent then, for which there is half a second also where the time is spent.
    pub fn shutdown(mut self, within: Duration) {
        #[cfg(feature = "opentelemetry")]
        let until = std::time::Instant::now() + within;
        // Else connections would still be accepted by the kernel, and nobody would take them.
        self.state().held.clear();
        for (commands, _) in &self.workers {
            let _ = commands.send(Command::Drain(within));
        }
        for (_, thread) in self.workers.drain(..) {
            // A worker that panicked has said so on standard error.
            let _ = thread.join();
        }
        #[cfg(feature = "opentelemetry")]
        if let Some(exporter) = &mut self.exporter {
            let left = until.saturating_duration_since(std::time::Instant::now());
            exporter.end(left.max(Duration::from_millis(500)));
        }
    }
}

impl Drop for ProxyHandle {
    fn drop(&mut self) {
        for (commands, _) in &self.workers {
            let _ = commands.send(Command::Drain(Duration::ZERO));
        }
        for (_, thread) in self.workers.drain(..) {
            let _ = thread.join();
        }
    }
}
