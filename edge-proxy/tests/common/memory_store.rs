//! A store of shared sessions in memory.

use edge_proxy::{SealedKey, SealedSession, SharedStore, StoreError, StoreFuture};
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// A store of shared sessions in memory, which counts what is asked.
#[derive(Default)]
pub(crate) struct Memory {
    keys: Mutex<Vec<SealedKey>>,
    sessions: Mutex<HashMap<[u8; 32], Vec<u8>>>,
    put: AtomicUsize,
    taken: AtomicUsize,
}

impl Memory {
    /// Returns the number of sessions that were to be stored.
    pub(crate) fn stored(&self) -> usize {
        self.put.load(SeqCst)
    }

    /// Returns the number of sessions that were asked for.
    pub(crate) fn taken(&self) -> usize {
        self.taken.load(SeqCst)
    }

    /// Returns the number of queries about sessions.
    pub(crate) fn asked(&self) -> usize {
        self.stored() + self.taken()
    }
}

impl SharedStore for Memory {
    fn keys<'a>(&'a self, made: &'a [SealedKey]) -> StoreFuture<'a, Vec<SealedKey>> {
        Box::pin(async move {
            let mut keys = self.keys.lock().unwrap();
            for key in made {
                if keys.iter().all(|known| known.epoch != key.epoch) {
                    keys.push(key.clone());
                }
            }
            Ok::<_, StoreError>(keys.clone())
        })
    }

    fn put(&self, session: SealedSession) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            self.put.fetch_add(1, SeqCst);
            self.sessions.lock().unwrap().insert(session.id, session.sealed);
            Ok(())
        })
    }

    fn take<'a>(&'a self, id: &'a [u8; 32]) -> StoreFuture<'a, Option<Vec<u8>>> {
        Box::pin(async move {
            self.taken.fetch_add(1, SeqCst);
            Ok(self.sessions.lock().unwrap().remove(id))
        })
    }
}
