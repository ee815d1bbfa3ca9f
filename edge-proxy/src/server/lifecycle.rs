//! The life of a worker: it starts its listeners, takes commands, and drains.

use super::downstream::h3::{self, EngineConfig};
use super::downstream::quic::H3Service;
use super::downstream::tcp;
use super::observe::Observer;
use super::runtime::{Runtime, h3_limits};
use super::traces::{TraceSink, Tracer};
use super::upstream::{Checks, PERIOD};
use super::view::View;
use super::worker::Worker;
use crate::config::Listener;
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

/// What runs for one listener.
struct ActiveListener {
    accepting: AbortHandle,
    engine: Option<(h3::EngineControl, tokio::task::JoinHandle<()>)>,
}

/// Runs a worker on this thread until it is told to drain. The first one checks the upstreams for all.
pub(crate) fn run(
    number: usize,
    runtime: Arc<Runtime>,
    sockets: Vec<Sockets>,
    (observer, traces): (Arc<dyn Observer>, TraceSink),
    mut commands: mpsc::UnboundedReceiver<Command>,
) -> std::io::Result<()> {
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
        checks_now(&mut checks, &worker.view());
        let mut listening: HashMap<SocketAddr, (Listener, ActiveListener)> = HashMap::new();
        for sockets in sockets {
            listening.insert(sockets.address, (sockets.listener.clone(), listen(&worker, sockets)?));
        }
        loop {
            match commands.recv().await {
                Some(Command::Reload { runtime, opened, closed }) => {
                    let view = View::new(runtime, Some(&worker.view()));
                    worker.set_view(view.clone());
                    checks_now(&mut checks, &view);
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

/// Closes connections to upstreams that are not needed any more, for as long as the worker lives.
async fn trim(worker: Rc<Worker>) {
    let mut periods = tokio::time::interval(PERIOD);
    periods.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        periods.tick().await;
        worker.view().pools.iter().for_each(|pool| pool.trim());
    }
}

/// Begins to serve a listener.
fn listen(worker: &Rc<Worker>, sockets: Sockets) -> std::io::Result<ActiveListener> {
    // What replaces it is unsafe, for types whose descriptor may change or be closed under it. A listener's does not.
    #[allow(deprecated)]
    let tcp = AsyncFd::with_interest(sockets.tcp, Interest::READABLE)?;
    let listener = Rc::new(sockets.listener);
    let accepting =
        tokio::task::spawn_local(tcp::run(worker.clone(), listener.clone(), sockets.address, tcp))
            .abort_handle();
    let view = worker.view();
    let engine = match (sockets.quic, &view.runtime.quic) {
        (Some((socket, handover)), Some(server)) => {
            let (control, receiver) = h3::EngineControl::new();
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
    Ok(ActiveListener { accepting, engine })
}

/// Finishes what is under way.
async fn drain(
    worker: &Rc<Worker>,
    listening: HashMap<SocketAddr, (Listener, ActiveListener)>,
    within: Duration,
) {
    let until = Instant::now() + within;
    let mut engines = Vec::new();
    for (_, (_, running)) in listening {
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
