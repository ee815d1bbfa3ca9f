//! Connection IDs that contain the number of their worker, and the handover of datagrams to it.

use super::link::{self, EngineRecord, Link, SECRET_LEN};
use super::socket::Datagram;
use aws_lc_rs::aead::quic::{AES_128, HeaderProtectionKey};
use edge_http::h3::initial;
use quinn_proto::{ConnectionId, ConnectionIdGenerator, InvalidCid};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// The number of random bytes of a connection ID. A client that uses an ID with this entropy has received it, which
/// validates its address (RFC 9000 §8.1).
const NONCE_LEN: usize = 8;

/// The length of the connection IDs issued here, in bytes.
pub(super) const LEN: usize = NONCE_LEN + 4;

/// The highest number of datagrams queued for another worker. Further ones are dropped, as on a congested path.
const MAX_QUEUED: usize = 1024;

/// The key by which the workers of one address recognise each other's connection IDs, also those of a process that
/// takes over. An ID consists of eight random bytes, the masked worker number, and three bytes of authentication, both
/// by AES-128 of the random bytes. Without the key it does not reveal which worker issued it.
#[derive(Clone)]
struct CidKey {
    /// The secret, by which another process makes the same key.
    secret: [u8; SECRET_LEN],
    /// The cipher with the secret.
    cipher: Arc<HeaderProtectionKey>,
}

impl CidKey {
    /// Generates a random key.
    ///
    /// # Panics
    /// If the system has no random numbers: a key that is known would let anyone forge connection IDs.
    fn generate() -> Self {
        let mut secret = [0; SECRET_LEN];
        aws_lc_rs::rand::fill(&mut secret).expect("the system has random numbers");
        Self::new(secret)
    }

    /// Creates the key of a secret.
    fn new(secret: [u8; SECRET_LEN]) -> Self {
        let cipher = HeaderProtectionKey::new(&AES_128, &secret).expect("AES-128 takes 16 bytes");
        Self { secret, cipher: Arc::new(cipher) }
    }

    /// Returns the connection ID for these random bytes and this worker.
    fn seal(&self, nonce: [u8; NONCE_LEN], worker: u8) -> [u8; LEN] {
        let mut cid = [0; LEN];
        let (random, rest) = cid.split_at_mut(NONCE_LEN);
        random.copy_from_slice(&nonce);
        rest.copy_from_slice(&self.mask(nonce));
        rest[0] ^= worker;
        cid
    }

    /// Returns the number of the worker that issued a connection ID. `None` if its length is wrong or its
    /// authentication does not match this key.
    fn open(&self, cid: &[u8]) -> Option<u8> {
        let cid: &[u8; LEN] = cid.try_into().ok()?;
        let (nonce, rest) = cid.split_first_chunk()?;
        let mask = self.mask(*nonce);
        (rest[1..] == mask[1..]).then_some(rest[0] ^ mask[0])
    }

    /// Returns the keyed hash of the random bytes: the first byte masks the worker number, the others are the
    /// authentication.
    fn mask(&self, nonce: [u8; NONCE_LEN]) -> [u8; LEN - NONCE_LEN] {
        let mut block = [0; 16];
        block[..NONCE_LEN].copy_from_slice(&nonce);
        let [a, b, c, d, _] = self.cipher.new_mask(&block).expect("AES has blocks of 16 bytes");
        [a, b, c, d]
    }
}

/// Formats nothing of the secret.
impl fmt::Debug for CidKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CidKey").finish_non_exhaustive()
    }
}

/// The generator of the connection IDs of one worker.
struct Generator {
    /// The key of the group.
    key: CidKey,
    /// The number of the worker in the group.
    worker: u8,
}

impl ConnectionIdGenerator for Generator {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut nonce = [0; NONCE_LEN];
        // An ID that can be guessed would validate the address of anyone.
        aws_lc_rs::rand::fill(&mut nonce).expect("the system has random numbers");
        ConnectionId::new(&self.key.seal(nonce, self.worker))
    }

    fn validate(&self, cid: &ConnectionId) -> Result<(), InvalidCid> {
        if self.key.open(cid) == Some(self.worker) { Ok(()) } else { Err(InvalidCid) }
    }

    fn cid_len(&self) -> usize {
        LEN
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// The worker that issued a connection ID, as seen by one worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// This worker issued the ID.
    Here,
    /// The worker of this number issued the ID.
    Other(u8),
    /// No worker of the group issued the ID, or it is not a connection ID of this kind.
    Nobody,
}

/// The destination of the datagrams of a group of engines.
#[derive(Clone)]
enum Engines {
    /// The engines of this process, by worker.
    Local(Vec<mpsc::Sender<Datagram>>),
    /// The engines of another process: the link to it, their number there, and the count of workers.
    Remote { link: Arc<Link>, group: u16, workers: u8 },
}

/// The way of datagrams to the engines of a group, by their connection IDs.
#[derive(Clone)]
pub(crate) struct Router {
    /// The key of their connection IDs. `None` for those of the process that replaces this one, which knows them
    /// itself.
    key: Option<CidKey>,
    /// The number of this engine's worker; 0 for a group of another process.
    worker: u8,
    /// The engines of the group.
    engines: Engines,
}

impl Router {
    /// Returns the way to a group of engines of a process that this one replaced. `None` if it has no engines.
    pub(crate) fn of_predecessor(link: Arc<Link>, record: &EngineRecord) -> Option<Self> {
        let EngineRecord { group, workers, secret, .. } = *record;
        let engines = Engines::Remote { link, group, workers };
        (workers > 0).then(|| Self { key: Some(CidKey::new(secret)), worker: 0, engines })
    }

    /// Returns the way from this group of engines to those of the process that replaces this one. `group` is the number
    /// of this group.
    pub(crate) fn of_successor(&self, link: Arc<Link>, group: u16) -> Self {
        let engines = Engines::Remote { link, group, workers: self.workers() };
        Self { key: None, worker: self.worker, engines }
    }

    /// Returns the secret of the connection IDs, and the number of workers. `None` if the secret is not known.
    pub(crate) fn description(&self) -> Option<([u8; SECRET_LEN], u8)> {
        Some((self.key.as_ref()?.secret, self.workers()))
    }

    /// Returns whether both are ways to the same group of engines of this process.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (&self.engines, &other.engines) {
            (Engines::Local(mine), Engines::Local(theirs)) => {
                mine.first().zip(theirs.first()).is_some_and(|(mine, theirs)| mine.same_channel(theirs))
            }
            _ => false,
        }
    }

    /// Returns the number of engines, one for each worker.
    fn workers(&self) -> u8 {
        match &self.engines {
            Engines::Local(peers) => peers.len() as u8,
            Engines::Remote { workers, .. } => *workers,
        }
    }

    /// Returns the worker that issued a connection ID.
    pub(super) fn owner(&self, cid: &[u8]) -> Owner {
        match self.key.as_ref().and_then(|key| key.open(cid)) {
            Some(worker) if worker == self.worker => Owner::Here,
            Some(worker) if worker < self.workers() => Owner::Other(worker),
            _ => Owner::Nobody,
        }
    }

    /// Returns the worker that issued the destination connection ID of a datagram.
    pub(crate) fn owner_of(&self, datagram: &Datagram) -> Owner {
        self.owner(destination(&datagram.data))
    }

    /// Queues a datagram for the engine of this worker. It is dropped if the queue is full, the engine has ended, or
    /// there is no such worker.
    pub(super) fn send(&self, worker: u8, datagram: Datagram) {
        match &self.engines {
            Engines::Local(peers) => {
                if let Some(peer) = peers.get(usize::from(worker)) {
                    let _ = peer.try_send(datagram);
                }
            }
            Engines::Remote { link, group, .. } => link.send(&link::datagram(*group, worker, &datagram)),
        }
    }

    /// Queues a datagram of an unknown client for this worker, or for another one if there are fewer.
    pub(crate) fn send_to(&self, worker: u8, datagram: Datagram) {
        self.send(worker % self.workers().max(1), datagram);
    }

    /// Queues a datagram for the worker that issued its destination connection ID. It is dropped if none did.
    pub(crate) fn route_known(&self, datagram: Datagram) {
        match self.owner_of(&datagram) {
            Owner::Here => self.send(self.worker, datagram),
            Owner::Other(worker) => self.send(worker, datagram),
            Owner::Nobody => {}
        }
    }

    /// Queues a datagram with this connection ID for the worker that issued it, or for this worker if none of the
    /// group did.
    pub(super) fn route(&self, cid: &[u8], datagram: Datagram) {
        let worker = match self.owner(cid) {
            Owner::Other(worker) => worker,
            Owner::Here | Owner::Nobody => self.worker,
        };
        self.send(worker, datagram);
    }

    /// Returns whether the engines of all workers of the group have ended.
    pub(crate) fn is_closed(&self) -> bool {
        match &self.engines {
            Engines::Local(peers) => peers.iter().all(mpsc::Sender::is_closed),
            Engines::Remote { link, .. } => link.is_closed(),
        }
    }
}

/// Returns the destination connection ID of a datagram's first packet. One of a short header has the length of those
/// that are issued here; empty if the packet is shorter.
pub(super) fn destination(datagram: &[u8]) -> &[u8] {
    match initial::long_header(datagram) {
        Some(header) => header.destination,
        None => datagram.get(1..=LEN).unwrap_or_default(),
    }
}

/// The membership of an engine in the group that shares an address. The kernel selects a socket by the client's
/// address, so that after a migration packets arrive at another worker, which hands them over.
pub(crate) struct Handover {
    /// The queues of the group.
    router: Router,
    /// The datagrams that other engines have handed over to this one.
    pub(super) inbox: mpsc::Receiver<Datagram>,
}

impl Handover {
    /// Creates a group of this many engines with a new key, and returns their memberships in the order of the worker
    /// numbers, from 0.
    pub(crate) fn mesh(workers: u8) -> Vec<Self> {
        let key = CidKey::generate();
        let (peers, inboxes): (Vec<_>, Vec<_>) = (0..workers).map(|_| mpsc::channel(MAX_QUEUED)).unzip();
        (0..workers)
            .zip(inboxes)
            .map(|(worker, inbox)| Self {
                router: Router { key: Some(key.clone()), worker, engines: Engines::Local(peers.clone()) },
                inbox,
            })
            .collect()
    }

    /// Returns the queues of the group. By them, datagrams of unknown clients are queued for this engine.
    pub(crate) const fn router(&self) -> &Router {
        &self.router
    }

    /// Returns the factory of generators of this worker's connection IDs, which do not expire.
    pub(super) fn generator(&self) -> impl Fn() -> Box<dyn ConnectionIdGenerator> + Send + Sync + 'static {
        let Router { key, worker, .. } = self.router.clone();
        let key = key.unwrap_or_else(CidKey::generate);
        move || Box::new(Generator { key: key.clone(), worker })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn an_id_names_its_worker() {
        let mesh = Handover::mesh(3);
        let owner = |worker: usize, cid: &[u8]| mesh[worker].router().owner(cid);
        let cid = mesh[1].generator()().generate_cid();
        assert_eq!(owner(1, &cid), Owner::Here);
        assert_eq!(owner(0, &cid), Owner::Other(1));
        assert_eq!(Handover::mesh(3)[0].router().owner(&cid), Owner::Nobody);
        assert_eq!(owner(0, &cid[..7]), Owner::Nobody);
        assert_eq!(owner(0, &[]), Owner::Nobody);
    }

    /// RFC 9000 §8.1 asks for 64 bits of entropy before an ID proves that its user received it.
    #[test]
    fn every_random_byte_differs_between_ids() {
        let mut generator = Handover::mesh(1)[0].generator()();
        let ids: Vec<ConnectionId> = (0..64).map(|_| generator.generate_cid()).collect();
        for at in 0..8 {
            let values: HashSet<u8> = ids.iter().map(|id| id[at]).collect();
            assert!(values.len() > 32, "byte {at}: {values:?}");
        }
        // The four others depend on all of them.
        let key = CidKey::generate();
        let whole = key.seal([0; NONCE_LEN], 0);
        for at in 0..NONCE_LEN {
            let mut nonce = [0; NONCE_LEN];
            nonce[at] = 1;
            assert_ne!(key.seal(nonce, 0)[NONCE_LEN..], whole[NONCE_LEN..], "byte {at}");
        }
    }
}
