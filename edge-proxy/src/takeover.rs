//! QUIC across a takeover: the datagrams of a process that is replaced and of the one that replaces it.
//!
//! Both receive from the same sockets until the replaced process has finished. The new process knows by which keys the
//! other one's connection IDs are recognised, and passes it the datagrams of its connections over a link. The replaced
//! process passes on all datagrams that are not its own, such as those of new clients. A chain of takeovers has a link
//! from the latest process to each that has not ended; a datagram of an unknown client goes to the latest one, which
//! alone reads from the links of the replaced processes.

use super::bound_sockets::RetainedSockets;
use super::downstream::h3::link::{self, EngineRecord, Link, MAX_MESSAGE, Message, Received};
use super::downstream::h3::{ConnectionIdOwner, Datagram, Router};
use super::engine_group::EngineGroup;
use super::lifecycle::Command;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;

/// The interval at which a thread that does not read from its link checks whether it should.
const PAUSE: Duration = Duration::from_millis(250);

/// The link to the process that replaces this one.
struct Successor {
    /// The link to it.
    link: Arc<Link>,
    /// True once it serves.
    serves: bool,
}

/// The QUIC engines of this process, and those of the processes before and after it.
#[derive(Default)]
pub(super) struct Takeover {
    /// The engines of this process, also of removed listeners as long as they have connections.
    engines: Vec<EngineGroup>,
    /// The number of the next group.
    next_number: u16,
    /// The links to the processes that this one replaced, the latest first.
    links: Vec<Arc<Link>>,
    /// The engines of those processes, each with the index of its link.
    predecessors: Vec<(usize, EngineGroup)>,
    /// The process that replaces this one. `None` if there is none.
    successor: Option<Successor>,
}

impl Takeover {
    /// Records the engines of these listeners, and forgets those that have ended.
    pub(super) fn record(&mut self, held: &[RetainedSockets]) {
        self.engines.retain(|group| !group.router.is_closed());
        for held in held {
            let Some(router) = held.router() else { continue };
            if self.engines.iter().any(|group| group.router.is_same(router)) {
                continue;
            }
            let number = self.next_number;
            self.next_number = number.wrapping_add(1);
            let (address, interface) = (held.address, held.listener.interface.clone());
            self.engines.push(EngineGroup { number, address, interface, router: router.clone() });
        }
    }

    /// Creates the link to a process that will replace this one. Returns it, and the descriptors for that process: the
    /// link's other end, and the links to the predecessors. `None` if there are no engines.
    ///
    /// # Errors
    /// The process is out of descriptors.
    fn offer(&mut self) -> io::Result<Option<(Arc<Link>, Vec<OwnedFd>)>> {
        let own = self.engines.iter().map(|group| (0, group));
        let others = self.predecessors.iter().map(|(at, group)| (at + 1, group));
        let record = |(link, group): (usize, &EngineGroup)| {
            let (secret, workers) = group.router.description()?;
            Some(EngineRecord {
                link: link as u8,
                group: group.number,
                workers,
                secret,
                address: group.address,
                interface: group.interface.clone(),
            })
        };
        let records: Vec<EngineRecord> = own.chain(others).filter_map(record).collect();
        if records.is_empty() {
            return Ok(None);
        }
        let (near, far) = Link::pair()?;
        near.send(&link::engines(&records));
        let mut descriptors = vec![far];
        for link in &self.links {
            descriptors.push(link.duplicate()?);
        }
        let near = Arc::new(near);
        self.successor = Some(Successor { link: near.clone(), serves: false });
        Ok(Some((near, descriptors)))
    }

    /// Reads from the latest predecessor which engines it and its own predecessors have. `links` are in the order of
    /// [`Takeover::offer`]. Does nothing if there are none.
    fn adopt(&mut self, links: Vec<OwnedFd>) {
        let links: io::Result<Vec<_>> = links.into_iter().map(|end| Link::new(end).map(Arc::new)).collect();
        // Without links, connections of the predecessor are lost where their datagrams arrive here.
        let Ok(links) = links else { return };
        let mut buffer = vec![0; MAX_MESSAGE];
        let Some(Received::Message(n)) = links.first().map(|latest| latest.receive(&mut buffer)) else {
            return;
        };
        let Some(Message::Engines(records)) = Message::parse(&buffer[..n]) else { return };
        self.predecessors = records
            .into_iter()
            .filter_map(|record| {
                let at = usize::from(record.link);
                let router = Router::of_predecessor(links.get(at)?.clone(), &record)?;
                let EngineRecord { group: number, address, interface, .. } = record;
                Some((at, EngineGroup { number, address, interface, router }))
            })
            .collect();
        self.links = links;
    }

    /// Records that the process that replaces this one serves, and returns the link to it and
    /// the engines of this process. `None` if it has
    /// ended, or if there is none.
    fn succeed(&mut self) -> Option<(Arc<Link>, Vec<EngineGroup>)> {
        let successor = self.successor.as_mut().filter(|successor| !successor.link.is_closed())?;
        successor.serves = true;
        Some((successor.link.clone(), self.engines.clone()))
    }

    /// Returns the link to the process that replaces this one. `None` before it serves, and after its end.
    fn serving_successor(&self) -> Option<&Arc<Link>> {
        let successor = self.successor.as_ref().filter(|successor| successor.serves)?;
        Some(&successor.link).filter(|link| !link.is_closed())
    }

    /// Passes a datagram from the process that replaces this one to its engine. It is dropped if that has ended.
    fn deliver_own(&self, group: u16, datagram: Datagram) {
        if let Some(known) = self.engines.iter().find(|known| known.number == group) {
            known.router.route_known(datagram);
        }
    }

    /// Passes a datagram that a replaced process does not know to the engines that issued its connection ID, or else to
    /// those that serve its address now: of the process that replaces this one, or of this one.
    fn deliver_unknown(&self, from: &Arc<Link>, group: u16, worker: u8, datagram: Datagram) {
        let is_sender = |(at, known): &&(usize, EngineGroup)| {
            known.number == group && self.links.get(*at).is_some_and(|link| Arc::ptr_eq(link, from))
        };
        let Some((_, sender)) = self.predecessors.iter().find(is_sender) else { return };
        let there = |known: &&EngineGroup| known.address == sender.address;
        let issued = |known: &&EngineGroup| known.router.owner_of(&datagram) != ConnectionIdOwner::Nobody;
        let all = self.engines.iter().chain(self.predecessors.iter().map(|(_, known)| known));
        if let Some(issuer) = all.filter(there).find(issued) {
            return issuer.router.route_known(datagram);
        }
        let is_latest = |known: &&EngineGroup| known.interface == sender.interface;
        let Some(latest) = self.engines.iter().rev().filter(there).find(is_latest) else { return };
        match self.serving_successor() {
            Some(successor) => successor.send(&link::datagram(latest.number, worker, &datagram)),
            None => latest.router.send_to(worker, datagram),
        }
    }
}

/// The side of a link that another process is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peer {
    /// It was replaced by this process.
    Predecessor,
    /// It replaces this process.
    Successor,
}

/// The takeovers of a proxy, shared with the threads that read from links.
#[derive(Clone)]
pub(super) struct TakeoverHandle {
    /// The engines and links.
    takeover: Arc<Mutex<Takeover>>,
    /// The senders of commands to the workers.
    workers: Vec<UnboundedSender<Command>>,
    /// True once the proxy has ended.
    ended: Arc<AtomicBool>,
}

impl TakeoverHandle {
    /// Creates the handle of a proxy with these workers, which replaces no process.
    pub(super) fn new(workers: Vec<UnboundedSender<Command>>) -> Self {
        Self { takeover: Arc::default(), workers, ended: Arc::default() }
    }

    /// Locks and returns the engines and links.
    fn lock(&self) -> MutexGuard<'_, Takeover> {
        self.takeover.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the addresses of the engines of processes that this one replaced and that have not ended.
    pub(super) fn predecessor_addresses(&self) -> Vec<SocketAddr> {
        let takeover = self.lock();
        let is_open = |at: usize| takeover.links.get(at).is_some_and(|link| !link.is_closed());
        let engines = takeover.predecessors.iter().filter(|(at, _)| is_open(*at));
        engines.map(|(_, group)| group.address).collect()
    }

    /// Sends a command to all workers.
    fn tell(&self, command: impl Fn() -> Command) {
        for worker in &self.workers {
            // A worker that has ended has no connections.
            let _ = worker.send(command());
        }
    }

    /// Records the engines of these listeners, and forgets those that have ended.
    pub(super) fn record(&self, held: &[RetainedSockets]) {
        self.lock().record(held);
    }

    /// Ends the threads that read from links, within [`PAUSE`].
    pub(super) fn end(&self) {
        self.ended.store(true, Relaxed);
    }

    /// Creates the link to a process that will replace this one. Returns the descriptors for it, empty without HTTP/3.
    ///
    /// # Errors
    /// The process is out of descriptors, or a thread cannot be started.
    pub(super) fn offer(&self) -> io::Result<Vec<OwnedFd>> {
        let offered = self.lock().offer()?;
        match offered {
            Some((link, descriptors)) => {
                self.read(link, Peer::Successor)?;
                Ok(descriptors)
            }
            None => Ok(Vec::new()),
        }
    }

    /// Takes over from the processes behind these links. Must be called before the engines of this process run.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub(super) fn adopt(&self, links: Vec<OwnedFd>) -> io::Result<()> {
        let mut takeover = self.lock();
        takeover.adopt(links);
        let engines: Vec<_> = takeover.predecessors.iter().map(|(_, group)| group.clone()).collect();
        let links = takeover.links.clone();
        drop(takeover);
        self.tell(|| Command::Predecessors(engines.clone()));
        if let Some(latest) = links.first() {
            latest.send(&link::serving());
        }
        links.into_iter().try_for_each(|link| self.read(link, Peer::Predecessor))
    }

    /// Has the workers pass on what is not theirs, if a process serves that replaces this one. For the beginning of the
    /// shutdown, which the thread of the link may be later than.
    pub(super) fn succeed(&self) {
        let succeeded = self.lock().succeed();
        if let Some((link, engines)) = succeeded {
            self.tell(|| Command::Succeed { link: link.clone(), engines: engines.clone() });
        }
    }

    /// Starts the thread that reads from a link until one of the two processes has ended.
    ///
    /// # Errors
    /// The thread cannot be started.
    fn read(&self, link: Arc<Link>, peer: Peer) -> io::Result<()> {
        let handle = self.clone();
        let thread = std::thread::Builder::new().name("edge-takeover".into());
        thread.spawn(move || handle.read_until_closed(&link, peer)).map(drop)
    }

    /// Reads from a link until it is closed, or the proxy has ended.
    fn read_until_closed(&self, link: &Arc<Link>, peer: Peer) {
        let mut buffer = vec![0; MAX_MESSAGE];
        while !self.ended.load(Relaxed) {
            // The latest process reads in place of this one.
            if peer == Peer::Predecessor && self.lock().serving_successor().is_some() {
                std::thread::sleep(PAUSE);
                continue;
            }
            match link.receive(&mut buffer) {
                Received::Message(n) => self.handle(link, peer, &buffer[..n]),
                Received::Nothing => {}
                Received::Closed => return,
            }
        }
    }

    /// Acts upon a message.
    fn handle(&self, link: &Arc<Link>, peer: Peer, message: &[u8]) {
        match (peer, Message::parse(message)) {
            (Peer::Successor, Some(Message::Serving)) => self.succeed(),
            (Peer::Successor, Some(Message::Datagram { group, datagram, .. })) => {
                self.lock().deliver_own(group, datagram);
            }
            (Peer::Predecessor, Some(Message::Datagram { group, worker, datagram })) => {
                self.lock().deliver_unknown(link, group, worker, datagram);
            }
            // Of another version of this program.
            _ => {}
        }
    }
}
