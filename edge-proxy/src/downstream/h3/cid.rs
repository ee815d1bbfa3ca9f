//! Connection IDs that contain the number of their worker, and the passing of datagrams to that worker.

use super::socket::Datagram;
use quinn_proto::{ConnectionId, ConnectionIdGenerator, InvalidCid};
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;
use tokio::sync::mpsc;

/// The length of the connection IDs issued here, in bytes.
pub(super) const LEN: usize = 8;

/// The highest number of datagrams queued for a worker by the others. Further ones are dropped, as on a congested path.
const MAX_QUEUED: usize = 1024;

/// The key by which the workers of one address recognise each other's connection IDs. An ID consists of four random
/// bytes, the masked worker number, and three bytes of authentication. Without the key, an ID does not reveal which
/// worker issued it.
#[derive(Clone, Debug, Default)]
struct CidKey(RandomState);

impl CidKey {
    /// Returns the connection ID for a nonce and the index of a worker: the nonce, the index masked by a byte of the
    /// keyed hash of the nonce, and three bytes of that hash, by which the ID is authenticated.
    fn seal(&self, nonce: [u8; 4], worker: u8) -> [u8; LEN] {
        let hash = self.0.hash_one(nonce).to_le_bytes();
        let [a, b, c, d] = nonce;
        [a, b, c, d, worker ^ hash[0], hash[1], hash[2], hash[3]]
    }

    /// Returns the worker's number in a connection ID. `None` if the ID was not issued with this key.
    fn open(&self, cid: &[u8]) -> Option<u8> {
        let cid: &[u8; LEN] = cid.try_into().ok()?;
        let hash = self.0.hash_one(*cid.first_chunk::<4>()?).to_le_bytes();
        (cid[5..] == hash[1..4]).then_some(cid[4] ^ hash[0])
    }
}

/// The generator of a worker's connection IDs.
struct Generator {
    /// The key by which connection IDs are encrypted.
    key: CidKey,
    /// The index of the worker, which is in each connection ID.
    worker: u8,
}

impl ConnectionIdGenerator for Generator {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut nonce = [0; 4];
        // Without random numbers there is no TLS either; the endpoint replaces a repeated ID.
        let _ = aws_lc_rs::rand::fill(&mut nonce);
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

/// The owner of a connection ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// This worker issued the ID.
    Here,
    /// The worker with this number issued the ID.
    Other(u8),
    /// No worker of this address issued the ID.
    Nobody,
}

/// The membership of a worker's engine in the group that shares a UDP address. The kernel selects a socket by the
/// client's address, so after the client's address changes, packets arrive at another worker, which passes them to the
/// owner.
pub(crate) struct Handover {
    /// The key by which connection IDs are decrypted.
    key: CidKey,
    /// The index of this worker.
    worker: u8,
    /// The queues of datagrams to the workers, by their index.
    peers: Vec<mpsc::Sender<Datagram>>,
    /// The queue of datagrams from other workers.
    pub(super) inbox: mpsc::Receiver<Datagram>,
}

impl Handover {
    /// Creates the memberships of a group of engines, one per worker in the order of their numbers.
    pub(crate) fn mesh(workers: u8) -> Vec<Self> {
        let key = CidKey::default();
        let (peers, inboxes): (Vec<_>, Vec<_>) = (0..workers).map(|_| mpsc::channel(MAX_QUEUED)).unzip();
        (0..workers)
            .zip(inboxes)
            .map(|(worker, inbox)| Self { key: key.clone(), worker, peers: peers.clone(), inbox })
            .collect()
    }

    /// Returns the owner of a connection ID, by its authentication.
    pub(super) fn owner(&self, cid: &[u8]) -> Owner {
        match self.key.open(cid) {
            Some(worker) if worker == self.worker => Owner::Here,
            Some(worker) if usize::from(worker) < self.peers.len() => Owner::Other(worker),
            _ => Owner::Nobody,
        }
    }

    /// Queues a datagram for the worker with this number. It is dropped if the queue is full or the worker has ended.
    pub(super) fn send(&self, worker: u8, datagram: Datagram) {
        if let Some(peer) = self.peers.get(usize::from(worker)) {
            let _ = peer.try_send(datagram);
        }
    }

    /// Returns a function that creates generators of this worker's connection IDs.
    pub(super) fn generator(&self) -> impl Fn() -> Box<dyn ConnectionIdGenerator> + Send + Sync + 'static {
        let (key, worker) = (self.key.clone(), self.worker);
        move || Box::new(Generator { key: key.clone(), worker })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_names_its_worker() {
        let mesh = Handover::mesh(3);
        let cid = mesh[1].generator()().generate_cid();
        assert_eq!(mesh[1].owner(&cid), Owner::Here);
        assert_eq!(mesh[0].owner(&cid), Owner::Other(1));
        assert_eq!(Handover::mesh(3)[0].owner(&cid), Owner::Nobody);
        assert_eq!(mesh[0].owner(&cid[..7]), Owner::Nobody);
        assert_eq!(mesh[0].owner(&[]), Owner::Nobody);
    }
}
