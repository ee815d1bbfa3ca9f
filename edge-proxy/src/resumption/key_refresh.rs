//! The thread that queries the store, so that workers do not wait for it.

use super::store::{self, StoreClient, StoreRequest};
use super::{Shared, SharedEvent, SharedStore, StoreError};
use crate::observe::Observer;
use std::future::Future;
use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::mpsc::WeakSender;
use tokio::sync::{Semaphore, mpsc};

/// The highest number of queries that wait in the queue. Further queries fail at once.
const MAX_WAITING_QUERIES: usize = 1024;
/// The highest number of concurrent queries.
const MAX_RUNNING_QUERIES: usize = 256;
/// The time limit of every query to the store, whether or not its result is awaited.
const QUERY_TIMEOUT: Duration = Duration::from_secs(5);
/// The time after which a store that failed is queried again.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// The longest time for which the start of the proxy waits for the first keys, so that the first tickets are sealed
/// with shared keys.
const FIRST_KEYS_TIMEOUT: Duration = Duration::from_secs(2);

/// Starts the thread that queries the store, and waits up to [`FIRST_KEYS_TIMEOUT`] for its first attempt to load
/// keys. The thread ends after the returned client is dropped. `observer` receives changes of the store's state.
///
/// # Errors
/// The error of starting the thread or its runtime.
pub(crate) fn start(shared: Shared, observer: Arc<dyn Observer>) -> io::Result<Arc<StoreClient>> {
    let (wishes, receiver) = mpsc::channel(MAX_WAITING_QUERIES);
    let link = Arc::new(StoreClient::new(shared.schedule, shared.wait, &shared.mac, wishes));
    let owed = link.requests();
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (ready, first) = sync_channel(1);
    // The thread ends when the client is dropped, so it must not keep it alive.
    let weak = Arc::downgrade(&link);
    std::thread::Builder::new().name("edge-shared".into()).spawn(move || {
        tokio.block_on(async {
            let store = shared.store.clone();
            let keys = KeyRefresher { shared, observer, state: None, other: false };
            tokio::spawn(keys.run(weak.clone(), ready));
            tokio::spawn(delete_due_sessions(weak.clone(), owed));
            serve(store, weak, receiver).await;
        });
    })?;
    // Without a response in time, the keys are loaded later.
    let _ = first.recv_timeout(FIRST_KEYS_TIMEOUT);
    Ok(link)
}

/// Queues the deletions of sessions that are due, every 250 ms, until the client is dropped. A deletion that does not
/// fit into the queue is scheduled again.
async fn delete_due_sessions(link: Weak<StoreClient>, requests: WeakSender<StoreRequest>) {
    loop {
        tokio::time::sleep(RETRY_INTERVAL / 4).await;
        let (Some(link), Some(requests)) = (link.upgrade(), requests.upgrade()) else { return };
        for (id, since) in link.used.take_due(link.clock(), MAX_RUNNING_QUERIES) {
            if requests.try_send(StoreRequest::Forget(id, since)).is_err() {
                link.used.reschedule(id, since, link.clock() + store::DELETION_DELAY);
            }
        }
    }
}

/// Executes the queries in the queue, at most [`MAX_RUNNING_QUERIES`] at once, until the client is dropped. A failed
/// query makes the task of the keys query the store soon. A session that could not be taken or deleted is scheduled
/// for deletion.
async fn serve(
    store: Arc<dyn SharedStore>,
    link: Weak<StoreClient>,
    mut wishes: mpsc::Receiver<StoreRequest>,
) {
    let room = Arc::new(Semaphore::new(MAX_RUNNING_QUERIES));
    while let Some(wish) = wishes.recv().await {
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        let (store, link) = (store.clone(), link.clone());
        tokio::spawn(async move {
            match wish {
                StoreRequest::Put(session) => {
                    let kept = within(store.put(session)).await.is_ok();
                    if let Some(link) = link.upgrade() {
                        let count = if kept { &link.counts.kept } else { &link.counts.lost };
                        count.fetch_add(1, Relaxed);
                        if !kept {
                            link.failed.notify_one();
                        }
                    }
                }
                StoreRequest::Forget(id, since) => {
                    if let (Err(_), Some(link)) = (within(store.take(&id)).await, link.upgrade()) {
                        link.failed.notify_one();
                        link.used.reschedule(id, since, link.clock() + store::DELETION_DELAY);
                    }
                }
                StoreRequest::Take(id, answer) => {
                    let taken = within(store.take(&id)).await;
                    if let (Err(_), Some(link)) = (&taken, link.upgrade()) {
                        link.failed.notify_one();
                        link.used.schedule_deletion(id, link.clock(), link.clock() + store::DELETION_DELAY);
                    }
                    // The handshake may no longer wait for the result; the session was taken anyway.
                    let _ = answer.send(taken);
                }
            }
            drop(permit);
        });
    }
}

/// Waits for a response of the store for at most [`QUERY_TIMEOUT`].
///
/// # Errors
/// The error of the store, or one that it did not respond in time.
async fn within<T>(answer: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    let late = |_| Err(StoreError("the store does not answer in time".into()));
    tokio::time::timeout(QUERY_TIMEOUT, answer).await.unwrap_or_else(late)
}

/// The task that keeps the ticket keys up to date.
struct KeyRefresher {
    /// The settings of the shared state.
    shared: Shared,
    /// The receiver of changes of the store's state.
    observer: Arc<dyn Observer>,
    /// The result of the last query for keys. `None` before the first.
    state: Option<Result<(), StoreError>>,
    /// True if keys under another secret were reported and are still in the store.
    other: bool,
}

impl KeyRefresher {
    /// Refreshes the keys at the schedule's interval, after at most [`RETRY_INTERVAL`] if the last refresh failed, and
    /// soon after a query of a session failed, until the client is dropped. Drops `ready` after the first attempt.
    async fn run(mut self, link: Weak<StoreClient>, ready: SyncSender<()>) {
        let mut ready = Some(ready);
        loop {
            let Some(link) = link.upgrade() else { return };
            self.refresh(&link).await;
            drop(ready.take());
            // A failed store is queried again soon.
            let refresh = self.shared.schedule.refresh_interval();
            if matches!(self.state, Some(Ok(()))) {
                let failed = link.failed.clone();
                drop(link);
                let _ = tokio::time::timeout(refresh, failed.notified()).await;
                tokio::time::sleep(refresh.min(RETRY_INTERVAL / 4)).await;
            } else {
                drop(link);
                tokio::time::sleep(refresh.min(RETRY_INTERVAL)).await;
            }
        }
    }

    /// Creates the keys of required epochs that have none, stores them, loads those of the store into the client, and
    /// reports to the observer when the store can no longer be reached, is reached again, or contains keys under
    /// another secret.
    async fn refresh(&mut self, link: &StoreClient) {
        let Shared { store, wrapping, schedule, .. } = &self.shared;
        let (now, before) = (store::now(), link.ring());
        let missing = schedule.required_epochs(now).filter(|epoch| !before.has(*epoch));
        let made: Vec<_> = missing.filter_map(|epoch| wrapping.create_key(schedule, epoch)).collect();
        let found = within(store.keys(&made)).await;
        let (ring, all) =
            before.merge_stored(schedule, store::now(), wrapping, found.as_deref().unwrap_or_default());
        link.set_ring(ring);
        link.counts.reached.store(found.is_ok(), Relaxed);
        let state = found.map(drop);
        if self.state.as_ref().map(Result::is_ok) != Some(state.is_ok()) {
            self.observer.shared(&match &state {
                Ok(()) => SharedEvent::Reached,
                Err(why) => SharedEvent::Away(why.clone()),
            });
        }
        self.state = Some(state);
        if !all && !std::mem::replace(&mut self.other, true) {
            self.observer.shared(&SharedEvent::OtherSecret);
        }
        self.other &= !all;
    }
}
