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

/// The highest number of links to replaced processes that are passed on. The index of each is a byte, and 0 is the link
/// to the process that passes them on.
const MAX_LINKS: usize = 255;

/// The highest number of records in a message, each of which has less than 64 bytes.
const MAX_RECORDS: usize = MAX_MESSAGE / 64;

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

    /// Forgets the links to processes that have ended, and their engines. Returns whether there were any.
    fn forget_ended(&mut self) -> bool {
        let open: Vec<usize> = (0..self.links.len()).filter(|at| !self.links[*at].is_closed()).collect();
        if open.len() == self.links.len() {
            return false;
        }
        self.predecessors.retain_mut(|(at, _)| {
            let now = open.iter().position(|before| before == at);
            now.is_some_and(|now| {
                *at = now;
                true
            })
        });
        self.links.retain(|link| !link.is_closed());
        true
    }

    /// Returns the engines of the processes that this one replaced.
    fn predecessor_groups(&self) -> Vec<EngineGroup> {
        self.predecessors.iter().map(|(_, group)| group.clone()).collect()
    }

    /// Creates the link to a process that will replace this one. Returns it, and the descriptors for that process: the
    /// link's other end, and the links to the predecessors, at most [`MAX_LINKS`]. `None` if there are no engines.
    ///
    /// # Errors
    /// The process is out of descriptors.
    fn offer(&mut self) -> io::Result<Option<(Arc<Link>, Vec<OwnedFd>)>> {
        self.forget_ended();
        let own = self.engines.iter().map(|group| (0, group));
        let others = self.predecessors.iter().filter(|(at, _)| *at < MAX_LINKS);
        let others = others.map(|(at, group)| (at + 1, group));
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
        let records: Vec<EngineRecord> = own.chain(others).filter_map(record).take(MAX_RECORDS).collect();
        if records.is_empty() {
            return Ok(None);
        }
        let (near, far) = Link::pair()?;
        near.send(&link::engines(&records));
        let mut descriptors = vec![far];
        for link in self.links.iter().take(MAX_LINKS) {
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

    /// Records that the process that replaces this one serves, and returns the link to it and the engines of this
    /// process. `by` is the link on which it says so; `None` if that is known otherwise. `None` if that process has
    /// ended, if there is none, or if another one has been started since.
    fn succeed(&mut self, by: Option<&Arc<Link>>) -> Option<(Arc<Link>, Vec<EngineGroup>)> {
        let is_meant = |link: &Arc<Link>| by.is_none_or(|by| Arc::ptr_eq(by, link)) && !link.is_closed();
        let successor = self.successor.as_mut().filter(|successor| is_meant(&successor.link))?;
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
    /// those that serve its address now: of the process that replaces this one, or of this one. At the sender's
    /// interface if there are some, otherwise without an interface.
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
        let latest = |interface: Option<&str>| {
            self.engines.iter().rev().filter(there).find(|known| known.interface.as_deref() == interface)
        };
        let Some(latest) = latest(sender.interface.as_deref()).or_else(|| latest(None)) else { return };
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

    /// Ends the threads that read from links, within [`PAUSE`], and closes the link to the process that replaces this
    /// one, or those to the processes that this one replaced if none does.
    pub(super) fn end(&self) {
        self.ended.store(true, Relaxed);
        let takeover = self.lock();
        match &takeover.successor {
            // It has duplicates of the others.
            Some(successor) => successor.link.close(),
            None => takeover.links.iter().for_each(|link| link.close()),
        }
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
        let engines = takeover.predecessor_groups();
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
        self.succeed_by(None);
    }

    /// Has the workers pass on what is not theirs to the process that replaces this one, if it serves. `by` is the link
    /// on which it says so; `None` if that is known otherwise.
    fn succeed_by(&self, by: Option<&Arc<Link>>) {
        let succeeded = self.lock().succeed(by);
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
                Received::Closed if peer == Peer::Predecessor => return self.forget_ended(),
                Received::Closed => return,
            }
        }
    }

    /// Forgets the processes that this one replaced and that have ended.
    fn forget_ended(&self) {
        let mut takeover = self.lock();
        if takeover.forget_ended() {
            let engines = takeover.predecessor_groups();
            // Within the lock, so that the workers get the shorter list last.
            self.tell(|| Command::Predecessors(engines.clone()));
        }
    }

    /// Acts upon a message.
    fn handle(&self, link: &Arc<Link>, peer: Peer, message: &[u8]) {
        match (peer, Message::parse(message)) {
            (Peer::Successor, Some(Message::Serving)) => self.succeed_by(Some(link)),
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A process with this many predecessors that have not ended, each with an engine whose group has its number.
    fn with_predecessors(count: usize) -> Takeover {
        let mut takeover = Takeover::default();
        for at in 0..count {
            let (link, _) = Link::pair().unwrap();
            takeover.links.push(Arc::new(link));
            let address: SocketAddr = ([127, 0, 0, 1], 443).into();
            let record = EngineRecord {
                link: 0,
                group: at as u16,
                workers: 2,
                secret: [at as u8; 16],
                address,
                interface: Some("tailscale0".into()),
            };
            let router = Router::of_predecessor(takeover.links[at].clone(), &record).unwrap();
            let (number, interface) = (at as u16, record.interface);
            takeover.predecessors.push((at, EngineGroup { number, address, interface, router }));
        }
        takeover
    }

    #[test]
    fn as_many_predecessors_as_have_an_index_are_passed_on() {
        for (count, passed_on) in [(1, 1), (254, 254), (255, 255), (256, 255), (300, 255)] {
            let mut before = with_predecessors(count);
            let (_, descriptors) = before.offer().unwrap().unwrap();
            assert_eq!(descriptors.len(), 1 + passed_on, "{count}");
            let mut after = Takeover::default();
            after.adopt(descriptors);
            let known: Vec<_> = after.predecessors.iter().map(|(at, group)| (*at, group.number)).collect();
            // The first link is that to the process that passes them on.
            let expected: Vec<_> = (0..passed_on).map(|at| (at + 1, at as u16)).collect();
            assert_eq!(known, expected, "{count}");
        }
    }
}
