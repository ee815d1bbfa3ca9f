//! One worker: a thread with its own runtime, sockets and connections. Nothing on the way of a request takes a lock.

use super::accept;
use super::deadline::Sweep;
use super::h3::{self, EngineConfig};
use super::h3_service::H3Service;
use super::metrics::counters::Shard;
use super::observe::{AccessRecord, Observer, TurnedAway};
use super::runtime::{Runtime, h3_limits};
use super::traces::{Shared as Traces, Tracer};
use super::upstream::{Checks, Pool, Pools};
use super::whois::WhoIs;
use crate::Version;
use crate::config::Listener;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

/// The sockets of one listener for one worker.
pub(crate) struct Sockets {
    pub(crate) listener: Listener,
    pub(crate) address: SocketAddr,
    pub(crate) tcp: TcpListener,
    pub(crate) quic: Option<(UdpSocket, h3::Handover)>,
}

/// What a worker can be told.
pub(crate) enum Command {
    /// Serve by this from now on.
    Reload { runtime: Arc<Runtime>, opened: Vec<Sockets>, closed: Vec<Listener> },
    /// Take no new connections, finish what is under way, and end at the latest after this time.
    Drain(Duration),
}

/// What requests are served by: never changed, only replaced.
pub(crate) struct View {
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) pools: Pools,
    pub(crate) whois: Option<Rc<WhoIs>>,
}

impl View {
    fn new(runtime: Arc<Runtime>, before: Option<&Self>) -> Rc<Self> {
        let config = runtime.snapshot().config();
        let pools = config
            .upstreams
            .iter()
            .zip(&runtime.upstream_tls)
            .zip(&runtime.targets)
            .map(|((upstream, tls), targets)| {
                let kept = before
                    .and_then(|view| view.pools.iter().find(|pool| pool.serves(upstream, tls.as_ref())));
                kept.cloned().unwrap_or_else(|| {
                    let limit = config.limits.idle_upstream;
                    Rc::new(Pool::new(upstream.clone(), targets, tls.clone(), limit))
                })
            })
            .collect();
        let whois = config.tailnet.as_ref().map(|tailnet| {
            let kept = before.and_then(|view| view.whois.clone()).filter(|whois| whois.serves(tailnet));
            kept.unwrap_or_else(|| Rc::new(WhoIs::new(tailnet)))
        });
        Rc::new(Self { runtime, pools, whois })
    }

    /// What is advertised to clients on TLS.
    pub(crate) fn alt_svc(&self) -> Option<&str> {
        self.runtime.alt_svc()
    }
}

/// One worker.
pub(crate) struct Worker {
    view: RefCell<Rc<View>>,
    sweep: Rc<Sweep>,
    observer: Arc<dyn Observer>,
    connections: Cell<usize>,
    number: usize,
    tracer: Tracer,
}

impl Worker {
    pub(crate) fn view(&self) -> Rc<View> {
        self.view.borrow().clone()
    }

    pub(crate) const fn sweep(&self) -> &Rc<Sweep> {
        &self.sweep
    }

    /// What makes spans.
    pub(crate) const fn tracer(&self) -> &Tracer {
        &self.tracer
    }

    /// What this worker counts.
    pub(crate) fn with_counts<T>(&self, use_them: impl FnOnce(&Shard) -> T) -> T {
        use_them(self.view.borrow().runtime.counts.of(self.number))
    }

    /// A connection was turned away.
    pub(crate) fn turned_away(&self, record: &TurnedAway<'_>) {
        self.with_counts(|counts| counts.turned_away(record.reason));
        self.observer.turned_away(record);
    }

    /// A request ended. `site` is its position in the view's configuration.
    pub(crate) fn access(&self, view: &View, site: Option<usize>, record: &AccessRecord<'_>) {
        let shards = site.map_or(&view.runtime.nowhere, |site| &view.runtime.guards[site].counts);
        let version = match record.version {
            Version::Http10 => 0,
            Version::Http11 => 1,
            Version::Http2 => 2,
            Version::Http3 => 3,
        };
        let bytes = (record.received, record.sent);
        shards.of(self.number).request(record.status, version, record.early, bytes, record.duration);
        if let Some(reason) = record.reason {
            view.runtime.counts.of(self.number).refused(reason);
        }
        self.observer.access(record);
    }

    /// Counts a connection for as long as the guard lives, or refuses when there are too many.
    pub(crate) fn admit(self: &Rc<Self>) -> Option<Admitted> {
        let limit = self.view.borrow().runtime.snapshot().config().limits.connections;
        if self.connections.get() >= limit {
            return None;
        }
        self.connections.set(self.connections.get() + 1);
        self.with_counts(|counts| {
            counts.tcp.add(1);
            counts.tcp_open.add(1);
        });
        Some(Admitted(self.clone()))
    }
}

/// One connection that counts.
pub(crate) struct Admitted(Rc<Worker>);

impl Drop for Admitted {
    fn drop(&mut self) {
        self.0.connections.set(self.0.connections.get() - 1);
        self.0.with_counts(|counts| counts.tcp_open.subtract(1));
    }
}

/// What runs for one listener.
struct Listening {
    accepting: AbortHandle,
    engine: Option<(h3::Control, tokio::task::JoinHandle<()>)>,
}

/// Runs a worker on this thread until it is told to drain. The first one checks the upstreams for all.
pub(crate) fn run(
    number: usize,
    runtime: Arc<Runtime>,
    sockets: Vec<Sockets>,
    (observer, traces): (Arc<dyn Observer>, Traces),
    mut commands: mpsc::UnboundedReceiver<Command>,
) -> std::io::Result<()> {
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(4).build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&tokio, async move {
        let worker = Rc::new(Worker {
            view: RefCell::new(View::new(runtime, None)),
            sweep: Sweep::new(),
            observer,
            connections: Cell::new(0),
            number,
            tracer: Tracer::new(traces),
        });
        tokio::task::spawn_local(worker.sweep.clone().run());
        let checks_of = |view: &View| {
            if number == 0 { Checks::of(&view.pools, &worker.sweep) } else { Checks::default() }
        };
        let mut checks = checks_of(&worker.view());
        let mut listening: HashMap<SocketAddr, (Listener, Listening)> = HashMap::new();
        for sockets in sockets {
            listening.insert(sockets.address, (sockets.listener.clone(), listen(&worker, sockets)?));
        }
        loop {
            match commands.recv().await {
                Some(Command::Reload { runtime, opened, closed }) => {
                    let view = View::new(runtime, Some(&worker.view()));
                    *worker.view.borrow_mut() = view.clone();
                    drop(std::mem::replace(&mut checks, checks_of(&view)));
                    listening.retain(|_, (listener, running)| {
                        let stays = !closed.contains(listener);
                        if !stays {
                            running.accepting.abort();
                            if let Some((engine, _)) = &running.engine {
                                engine.shutdown(Duration::from_secs(30));
                            }
                        } else if let (Some((engine, _)), Some(quic)) = (&running.engine, &view.runtime.quic)
                        {
                            engine.reload(quic.clone(), h3_limits(view.runtime.snapshot().config()));
                        }
                        stays
                    });
                    for sockets in opened {
                        let (listener, address) = (sockets.listener.clone(), sockets.address);
                        match listen(&worker, sockets) {
                            Ok(running) => drop(listening.insert(address, (listener, running))),
                            Err(_) => continue,
                        }
                    }
                }
                Some(Command::Drain(within)) => {
                    drain(&worker, listening, within).await;
                    return Ok(());
                }
                None => return Ok(()),
            }
        }
    })
}

/// Begins to serve a listener.
fn listen(worker: &Rc<Worker>, sockets: Sockets) -> std::io::Result<Listening> {
    // What replaces it is unsafe, for types whose descriptor may change or be closed under it. A listener's does not.
    #[allow(deprecated)]
    let tcp = AsyncFd::with_interest(sockets.tcp, Interest::READABLE)?;
    let listener = Rc::new(sockets.listener);
    let accepting =
        tokio::task::spawn_local(accept::run(worker.clone(), listener.clone(), sockets.address, tcp))
            .abort_handle();
    let view = worker.view();
    let engine = match (sockets.quic, &view.runtime.quic) {
        (Some((socket, handover)), Some(server)) => {
            let (control, receiver) = h3::Control::new();
            let config = EngineConfig {
                socket,
                server: server.clone(),
                handover,
                limits: h3_limits(view.runtime.snapshot().config()),
            };
            let service = Rc::new(H3Service::new(worker.clone(), &listener, sockets.address));
            let task = tokio::task::spawn_local(async move {
                // An engine ends by an error only when its socket is gone; TCP is served on.
                let _ = h3::run(config, service, receiver).await;
            });
            Some((control, task))
        }
        _ => None,
    };
    Ok(Listening { accepting, engine })
}

/// Finishes what is under way.
async fn drain(worker: &Rc<Worker>, listening: HashMap<SocketAddr, (Listener, Listening)>, within: Duration) {
    let until = Instant::now() + within;
    let mut engines = Vec::new();
    for (_, (_, running)) in listening {
        running.accepting.abort();
        if let Some((control, task)) = running.engine {
            control.shutdown(within);
            engines.push(task);
        }
    }
    worker.sweep.drain();
    while Instant::now() < until {
        if worker.connections.get() == 0 && engines.iter().all(tokio::task::JoinHandle::is_finished) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
