//! The lifecycle of a worker: starting listeners, executing commands, draining.

use super::downstream::h3::{self, EngineConfig, link::Link};
use super::downstream::quic::H3Service;
use super::downstream::tcp;
use super::engine_group::EngineGroup;
use super::observe::{AcceptEvent, Observer};
use super::runtime::{Runtime, h3_limits};
use super::shutdown::ShutdownReport;
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
use tokio::runtime::LocalOptions;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// The time that open QUIC connections of a removed listener have to finish.
pub(super) const REMOVED_LISTENER_TIMEOUT: Duration = Duration::from_secs(30);

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
    /// True if another process opened the TCP socket, possibly for another interface.
    pub(crate) inherited: bool,
}

/// A command to a worker.
pub(crate) enum Command {
    /// Opens these listeners for a configuration without accepting connections. The worker replies with its index and
    /// the result.
    Prepare { runtime: Arc<Runtime>, opened: Vec<Sockets>, reply: std_mpsc::Sender<(usize, io::Result<()>)> },
    /// Serves the prepared configuration and its listeners, and closes the listeners in `closed`. No effect if nothing
    /// is prepared.
    Commit { closed: Vec<Listener> },
    /// Discards the prepared configuration and closes its listeners. No effect if nothing is prepared.
    Abandon,
    /// Serves a listener on these sockets in place of its previous ones, or only closes it if `sockets` is `None`.
    Relisten { listener: Listener, sockets: Option<Box<Sockets>> },
    /// Passes datagrams of the connections of these engines, of processes that this one replaced, to them. Must
    /// precede the listeners.
    Predecessors(Vec<EngineGroup>),
    /// Passes datagrams of unknown clients to the process that replaces this one. `engines` are those of this process.
    Succeed { link: Arc<Link>, engines: Vec<EngineGroup> },
    /// Stops accepting connections, finishes requests in flight, and ends the worker when there are none, or after
    /// the duration `within`. The worker replies with what was not complete then.
    Drain { within: Duration, reply: std_mpsc::Sender<ShutdownReport> },
}

/// The future that runs a QUIC engine.
type EngineTask = Pin<Box<dyn Future<Output = io::Result<()>>>>;

/// A listener that is open but does not accept connections yet.
struct PreparedListener {
    /// The listener of the configuration.
    listener: Rc<Listener>,
    /// The local address, with the port that was chosen for port 0.
    address: SocketAddr,
    /// The listening TCP socket, registered with the runtime.
    tcp: AsyncFd<TcpListener>,
    /// True if another process opened the TCP socket, possibly for another interface.
    inherited: bool,
    /// The control of the QUIC engine, and the future that runs it. `None` without HTTP/3.
    engine: Option<(EngineHandle, EngineTask)>,
}

/// The control of one listener's QUIC engine, and the queues of the engines of its group.
struct EngineHandle {
    /// The sender of commands to the engine.
    control: h3::EngineControl,
    /// The queues by which datagrams are passed to the engines of the group.
    router: h3::Router,
}

/// The running tasks of one listener: the task that accepts TCP connections, and the QUIC engine if it has HTTP/3.
struct ActiveListener {
    /// The listener of the configuration.
    listener: Rc<Listener>,
    /// The local address, with the port that was chosen for port 0.
    address: SocketAddr,
    /// The task that accepts TCP connections.
    accepting: JoinHandle<()>,
    /// Ends the accepting task when it is dropped.
    stop: oneshot::Sender<()>,
    /// The control of the QUIC engine, and its task. `None` without HTTP/3.
    engine: Option<(EngineHandle, JoinHandle<()>)>,
}

/// The QUIC engine of a removed listener, which finishes its connections.
struct EndingEngine {
    /// The local address of the listener.
    address: SocketAddr,
    /// The interface that the listener was bound to. `None` if it was bound to none.
    interface: Option<String>,
    /// The control of the engine.
    engine: EngineHandle,
    /// The task that runs the engine.
    task: JoinHandle<()>,
}

impl ActiveListener {
    /// Stops accepting connections, except those in the queue. Returns the engine, whose connections have
    /// [`REMOVED_LISTENER_TIMEOUT`] to finish. `None` without HTTP/3.
    fn end(self) -> Option<EndingEngine> {
        let Self { listener, address, accepting: _, stop, engine } = self;
        drop(stop);
        let (engine, task) = engine?;
        engine.control.shutdown(REMOVED_LISTENER_TIMEOUT);
        Some(EndingEngine { address, interface: listener.interface.clone(), engine, task })
    }

    /// Passes datagrams of the connections of a replaced process to its engines, if they are at the same address. Both
    /// receive from the same sockets, whatever the interface of either listener.
    fn connect_predecessor(&self, group: &EngineGroup) {
        let Some((engine, _)) = &self.engine else { return };
        if self.address == group.address {
            engine.control.add_predecessor(group.router.clone());
        }
    }

    /// Passes datagrams between this listener's engine and a removed one at the same address: the kernel chooses among
    /// the sockets of both, and also a client's later datagrams may arrive at the other. Of two listeners with
    /// different interfaces, datagrams of unknown clients are passed only to the one without an interface, and those
    /// of connections only to an engine without an interface. No effect if the addresses differ, this listener has no
    /// HTTP/3, or the other engine has ended.
    fn connect(&self, ending: &EndingEngine) {
        let Some((engine, _)) = &self.engine else { return };
        let interface = &self.listener.interface;
        if self.address != ending.address || ending.engine.router.is_closed() {
            return;
        }
        if *interface == ending.interface || interface.is_none() {
            ending.engine.control.set_successor(engine.router.clone());
        }
        // The kernel prefers the socket that is bound to the interface, also for datagrams of connections of the other.
        if *interface == ending.interface || ending.interface.is_none() {
            engine.control.add_predecessor(ending.engine.router.clone());
        }
    }
}

/// Runs a worker on this thread until it is drained or its command channel is closed. The worker has no listeners
/// before the first [`Command::Commit`]. The worker with index 0 performs the active health checks for all workers.
///
/// # Errors
/// The error of creating the asynchronous runtime.
pub(crate) fn run(
    number: usize,
    runtime: Arc<Runtime>,
    (observer, traces): (Arc<dyn Observer>, TraceSink),
    mut commands: mpsc::UnboundedReceiver<Command>,
) -> io::Result<()> {
    // Tasks that stay on this thread are scheduled without the second queue and the locks that a `LocalSet` adds.
    let mut tokio = tokio::runtime::Builder::new_current_thread();
    let tokio = tokio.enable_all().max_blocking_threads(4).build_local(LocalOptions::default())?;
    tokio.block_on(async move {
        let worker = Rc::new(Worker::new(number, View::new(runtime, None), observer, Tracer::new(traces)));
        tokio::task::spawn_local(worker.sweep().clone().run());
        tokio::task::spawn_local(trim(worker.clone()));
        let checks_now = |checks: &mut Checks, view: &View| {
            if number == 0 {
                checks.update(&view.pools, worker.sweep());
            }
        };
        let mut checks = Checks::default();
        let mut listening: Vec<ActiveListener> = Vec::new();
        let mut ending: Vec<EndingEngine> = Vec::new();
        let mut replaced: Vec<EngineGroup> = Vec::new();
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
                    end(&mut listening, &mut ending, |listener| closed.contains(listener));
                    for running in &listening {
                        let quic = view.runtime.quic_of(running.listener.name.as_deref());
                        if let (Some((engine, _)), Some(quic)) = (&running.engine, quic) {
                            engine.control.reload(quic.clone(), h3_limits(view.runtime.snapshot().config()));
                        }
                    }
                    replaced.retain(|group| !group.router.is_closed());
                    for prepared in prepared {
                        listening.push(prepared.start(&worker, &ending, &replaced));
                    }
                }
                Some(Command::Relisten { listener, sockets }) => {
                    end(&mut listening, &mut ending, |known| *known == listener);
                    let runtime = worker.view().runtime.clone();
                    if let Some(sockets) = sockets {
                        let local = sockets.address;
                        match prepare(&worker, &runtime, *sockets) {
                            Ok(prepared) => listening.push(prepared.start(&worker, &ending, &replaced)),
                            Err(why) => worker.accepting(&AcceptEvent::Failed { local, why: &why }),
                        }
                    }
                }
                Some(Command::Predecessors(engines)) => replaced = engines,
                Some(Command::Succeed { link, engines }) => {
                    let listening = listening.iter().filter_map(|running| running.engine.as_ref());
                    let all = listening.map(|(engine, _)| engine);
                    for engine in all.chain(ending.iter().map(|ending| &ending.engine)) {
                        let known = engines.iter().find(|group| group.router.is_same(&engine.router));
                        if let Some(group) = known {
                            let router = engine.router.of_successor(link.clone(), group.number);
                            engine.control.set_successor(router);
                        }
                    }
                }
                Some(Command::Drain { within, reply }) => {
                    drain(&worker, listening, ending, within).await;
                    // A handle that is dropped does not wait for it.
                    let _ = reply.send(worker.unfinished());
                    return Ok(());
                }
                None => return Ok(()),
            }
        }
    })
}

/// Ends the listeners for which `which` returns true. Their engines are added to `ending`, from which engines that
/// have ended are removed.
fn end(
    listening: &mut Vec<ActiveListener>,
    ending: &mut Vec<EndingEngine>,
    which: impl Fn(&Listener) -> bool,
) {
    ending.retain(|ending| !ending.engine.router.is_closed());
    let ended = listening.extract_if(.., |running| which(&running.listener));
    ending.extend(ended.filter_map(ActiveListener::end));
}

/// Closes idle upstream connections that are not needed, every [`TRIM_INTERVAL`]. Never completes.
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
    let engine = match (sockets.quic, runtime.quic_of(listener.name.as_deref())) {
        (Some((socket, handover)), Some(server)) => {
            let (control, receiver) = h3::EngineControl::new();
            let router = handover.router().clone();
            let bound = socket2::SockRef::from(&socket).device().ok().flatten();
            let interface = bound.and_then(|name| String::from_utf8(name).ok());
            let limits = h3_limits(runtime.snapshot().config());
            let config = EngineConfig { socket, server: server.clone(), handover, limits };
            let service = Rc::new(H3Service::new(worker.clone(), &listener, interface, address));
            let engine: Pin<Box<dyn Future<Output = io::Result<()>>>> =
                Box::pin(h3::open(config, service, receiver)?);
            Some((EngineHandle { control, router }, engine))
        }
        _ => None,
    };
    Ok(PreparedListener { listener, address, tcp, inherited, engine })
}

impl PreparedListener {
    /// Starts accepting connections and running the QUIC engine. `ending` are the engines of removed listeners, with
    /// which datagrams are exchanged at the same address. `replaced` are the engines of processes that this one replaced.
    fn start(self, worker: &Rc<Worker>, ending: &[EndingEngine], replaced: &[EngineGroup]) -> ActiveListener {
        let Self { listener, address, tcp, inherited, engine } = self;
        let (stop, stopped) = oneshot::channel();
        let accepting = tcp::run(worker.clone(), listener.clone(), address, tcp, inherited, stopped);
        let accepting = tokio::task::spawn_local(accepting);
        let engine = engine.map(|(handle, engine)| {
            let worker = worker.clone();
            let task = tokio::task::spawn_local(async move {
                // An engine ends by an error only when its socket is unusable; TCP is still served.
                if let Err(error) = engine.await {
                    worker.quic_failed(address, &error);
                }
            });
            (handle, task)
        });
        let started = ActiveListener { listener, address, accepting, stop, engine };
        ending.iter().for_each(|ending| started.connect(ending));
        replaced.iter().for_each(|group| started.connect_predecessor(group));
        started
    }
}

/// Stops accepting connections and waits until the worker has no connection and its engines have ended, or `within`
/// has passed. Requests in flight finish, and connections that have not sent their first request have a short time for
/// it.
async fn drain(
    worker: &Rc<Worker>,
    listening: Vec<ActiveListener>,
    ending: Vec<EndingEngine>,
    within: Duration,
) {
    let until = Instant::now() + within;
    let ending = ending.into_iter().map(|ending| (ending.engine, ending.task));
    let mut engines: Vec<_> = ending.collect();
    let mut accepting = Vec::new();
    for running in listening {
        drop(running.stop);
        accepting.push(running.accepting);
        engines.extend(running.engine);
    }
    worker.set_drain_deadline(until);
    engines.iter().for_each(|(engine, _)| engine.control.shutdown(within));
    worker.sweep().drain();
    for task in accepting {
        // The connections that it still accepts count from then on.
        let _ = tokio::time::timeout_at(until.into(), task).await;
    }
    while Instant::now() < until {
        if worker.is_idle() && engines.iter().all(|(_, task)| task.is_finished()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
