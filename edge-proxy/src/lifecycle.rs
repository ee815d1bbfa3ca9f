//! The lifecycle of a worker: starting listeners, executing commands, draining.

use super::downstream::h3::{self, EngineConfig};
use super::downstream::quic::H3Service;
use super::downstream::tcp;
use super::observe::Observer;
use super::runtime::{Runtime, h3_limits};
use super::traces::{TraceSink, Tracer};
use super::upstream::{Checks, TRIM_INTERVAL};
use super::view::View;
use super::worker::Worker;
use edge_policy::config::Listener;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, mpsc as std_mpsc};
use std::time::{Duration, Instant};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

/// The sockets of one listener for one worker.
pub(crate) struct Sockets {
    /// The listener of the configuration.
    pub(crate) listener: Listener,
    /// The local address, with the port that was chosen for port 0.
    pub(crate) address: SocketAddr,
    /// The listening TCP socket of the worker.
    pub(crate) tcp: TcpListener,
    /// The UDP socket of the worker, and its membership in the group of engines. `None` without HTTP/3.
    pub(crate) quic: Option<(UdpSocket, h3::Handover)>,
    /// True if another process opened the sockets, possibly for another interface.
    pub(crate) inherited: bool,
}

/// A command to a worker.
pub(crate) enum Command {
    /// Opens these listeners for a configuration without accepting connections. The reply is the worker's index and the
    /// result.
    Prepare { runtime: Arc<Runtime>, opened: Vec<Sockets>, reply: std_mpsc::Sender<(usize, io::Result<()>)> },
    /// Serves the prepared configuration and its listeners, and closes `closed`. No effect if nothing is prepared.
    Commit { closed: Vec<Listener> },
    /// Discards the prepared configuration and closes its listeners.
    Abandon,
    /// Serves a listener on these sockets in place of its previous ones, or closes it if there are none.
    Relisten { listener: Listener, sockets: Option<Box<Sockets>> },
    /// Stops accepting connections, finishes requests in flight, and ends the worker when there are none, or after this
    /// duration.
    Drain(Duration),
}

/// A QUIC engine that is not running yet.
type EngineTask = Pin<Box<dyn Future<Output = io::Result<()>>>>;

/// A listener that is open but does not accept connections yet.
struct PreparedListener {
    listener: Rc<Listener>,
    address: SocketAddr,
    tcp: AsyncFd<TcpListener>,
    inherited: bool,
    /// The control of the QUIC engine, and the future that runs it. `None` without HTTP/3.
    engine: Option<(h3::EngineControl, EngineTask)>,
}

/// The running tasks of one listener: the accept loop, and the QUIC engine if it has HTTP/3.
struct ActiveListener {
    /// The handle that ends the accept loop.
    accepting: AbortHandle,
    /// The control of the QUIC engine, and its task. `None` without HTTP/3.
    engine: Option<(h3::EngineControl, tokio::task::JoinHandle<()>)>,
}

impl ActiveListener {
    /// Stops accepting connections at once. Open QUIC connections have 30 s to finish; TCP connections continue.
    fn end(&self) {
        self.accepting.abort();
        if let Some((engine, _)) = &self.engine {
            engine.shutdown(Duration::from_secs(30));
        }
    }
}

/// Runs a worker on this thread until it is drained or its command channel is closed. It has no listeners before the
/// first [`Command::Commit`]. The worker with index 0 performs the active health checks for all.
///
/// # Errors
/// The error of creating the asynchronous runtime.
pub(crate) fn run(
    number: usize,
    runtime: Arc<Runtime>,
    (observer, traces): (Arc<dyn Observer>, TraceSink),
    mut commands: mpsc::UnboundedReceiver<Command>,
) -> io::Result<()> {
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(4).build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&tokio, async move {
        let worker = Rc::new(Worker::new(number, View::new(runtime, None), observer, Tracer::new(traces)));
        tokio::task::spawn_local(worker.sweep().clone().run());
        tokio::task::spawn_local(trim(worker.clone()));
        let checks_now = |checks: &mut Checks, view: &View| {
            if number == 0 {
                checks.update(&view.pools, worker.sweep());
            }
        };
        let mut checks = Checks::default();
        let mut listening: Vec<(Rc<Listener>, ActiveListener)> = Vec::new();
        let mut next: Option<(Arc<Runtime>, Vec<PreparedListener>)> = None;
        loop {
            match commands.recv().await {
                Some(Command::Prepare { runtime, opened, reply }) => {
                    let prepared: io::Result<Vec<_>> =
                        opened.into_iter().map(|sockets| prepare(&worker, &runtime, sockets)).collect();
                    let prepared = prepared.map(|listeners| next = Some((runtime, listeners)));
                    // A handle that waits no longer abandons it.
                    let _ = reply.send((number, prepared));
                }
                Some(Command::Abandon) => next = None,
                Some(Command::Commit { closed }) => {
                    let Some((runtime, prepared)) = next.take() else { continue };
                    let view = View::new(runtime, Some(&worker.view()));
                    worker.set_view(view.clone());
                    checks_now(&mut checks, &view);
                    listening.retain(|(listener, running)| {
                        let stays = !closed.contains(listener);
                        if !stays {
                            running.end();
                        } else if let (Some((engine, _)), Some(quic)) = (&running.engine, &view.runtime.quic)
                        {
                            engine.reload(quic.clone(), h3_limits(view.runtime.snapshot().config()));
                        }
                        stays
                    });
                    for prepared in prepared {
                        listening.push((prepared.listener.clone(), prepared.start(&worker)));
                    }
                }
                Some(Command::Relisten { listener, sockets }) => {
                    listening.retain(|(known, running)| {
                        let stays = **known != listener;
                        if !stays {
                            running.end();
                        }
                        stays
                    });
                    let runtime = worker.view().runtime.clone();
                    if let Some(Ok(prepared)) = sockets.map(|sockets| prepare(&worker, &runtime, *sockets)) {
                        listening.push((prepared.listener.clone(), prepared.start(&worker)));
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

/// Closes idle upstream connections that are no longer needed, every [`TRIM_INTERVAL`]. Never completes.
async fn trim(worker: Rc<Worker>) {
    let mut periods = tokio::time::interval(TRIM_INTERVAL);
    periods.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        periods.tick().await;
        worker.view().pools.iter().for_each(|pool| pool.trim());
    }
}

/// Registers the sockets of a listener and creates its QUIC engine if it has HTTP/3, without accepting connections.
///
/// # Errors
/// The error of registering a socket, or of opening the engine.
fn prepare(worker: &Rc<Worker>, runtime: &Runtime, sockets: Sockets) -> io::Result<PreparedListener> {
    // Its replacement is unsafe, because the descriptor of a type may change or be closed. That of a listener does not.
    #[allow(deprecated)]
    let tcp = AsyncFd::with_interest(sockets.tcp, Interest::READABLE)?;
    let (listener, address, inherited) = (Rc::new(sockets.listener), sockets.address, sockets.inherited);
    let engine = match (sockets.quic, &runtime.quic) {
        (Some((socket, handover)), Some(server)) => {
            let (control, receiver) = h3::EngineControl::new();
            let bound = socket2::SockRef::from(&socket).device().ok().flatten();
            let interface = bound.and_then(|name| String::from_utf8(name).ok());
            let limits = h3_limits(runtime.snapshot().config());
            let config = EngineConfig { socket, server: server.clone(), handover, limits };
            let service = Rc::new(H3Service::new(worker.clone(), &listener, interface, address));
            let engine: Pin<Box<dyn Future<Output = io::Result<()>>>> =
                Box::pin(h3::open(config, service, receiver)?);
            Some((control, engine))
        }
        _ => None,
    };
    Ok(PreparedListener { listener, address, tcp, inherited, engine })
}

impl PreparedListener {
    /// Starts the tasks that accept TCP connections and run the QUIC engine. An engine that fails is reported to the
    /// observer, while TCP is still served.
    fn start(self, worker: &Rc<Worker>) -> ActiveListener {
        let Self { listener, address, tcp, inherited, engine } = self;
        let accepting = tokio::task::spawn_local(tcp::run(worker.clone(), listener, address, tcp, inherited))
            .abort_handle();
        let engine = engine.map(|(control, engine)| {
            let worker = worker.clone();
            let task = tokio::task::spawn_local(async move {
                // An engine ends by an error only when its socket is unusable; TCP is still served.
                if let Err(error) = engine.await {
                    worker.quic_failed(address, &error);
                }
            });
            (control, task)
        });
        ActiveListener { accepting, engine }
    }
}

/// Stops accepting connections and waits until the worker has no requests or connections and its QUIC engines have
/// ended, or until `within` has passed. Checks every 20 ms.
async fn drain(worker: &Rc<Worker>, listening: Vec<(Rc<Listener>, ActiveListener)>, within: Duration) {
    let until = Instant::now() + within;
    let mut engines = Vec::new();
    for (_, running) in listening {
        running.accepting.abort();
        if let Some((control, task)) = running.engine {
            control.shutdown(within);
            engines.push(task);
        }
    }
    worker.sweep().drain();
    while Instant::now() < until {
        if worker.is_idle() && engines.iter().all(tokio::task::JoinHandle::is_finished) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
