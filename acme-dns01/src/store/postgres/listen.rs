//! Notifications: LISTEN on a separate connection, which is opened again whenever it breaks.

use super::CHANNEL;
use super::database::{Database, alive};
use crate::store::{Change, Changes};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::time::timeout;
use tokio_postgres::Notification;

/// First and maximum pause between connection attempts. It doubles after each failed one, and begins anew after a
/// successful one.
const RECONNECT_PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));
/// Time limit for LISTEN.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(5);
/// Interval of liveness checks on a silent connection.
const LIVENESS_INTERVAL: Duration = Duration::from_secs(15);

/// Spawns a task that listens for changes of the store, and returns their receiver. The task reconnects after a
/// failure, and ends when the receiver is dropped.
pub(super) fn changes(database: Database) -> Changes {
    let (sender, receiver) = unbounded_channel();
    tokio::spawn(async move {
        let mut pause = RECONNECT_PAUSES.0;
        loop {
            tokio::select! {
                () = sender.closed() => return,
                heard = connect(&database, &sender) => {
                    pause = if heard { RECONNECT_PAUSES.0 } else { (pause * 2).min(RECONNECT_PAUSES.1) };
                }
            }
            tokio::select! {
                () = sender.closed() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    });
    receiver
}

/// Listens for notifications, and sends each as a [`Change::Certificate`], until the connection ends or its server
/// stops responding. Sends [`Change::Anything`] first, since earlier notifications were missed. Returns `true` if
/// LISTEN succeeded, and `false` if the connection or LISTEN failed.
async fn connect(database: &Database, sender: &UnboundedSender<Change>) -> bool {
    let news = sender.clone();
    let (open, mut ended) = unbounded_channel::<()>();
    let told = move |notification: Notification| {
        // The sender is dropped with the connection, which ends `ended`.
        let _ = &open;
        let _ = news.send(Change::Certificate(notification.payload().to_owned()));
    };
    let Ok(client) = database.listening(told).await else { return false };
    let request = format!("LISTEN {CHANNEL}");
    if !matches!(timeout(LISTEN_TIMEOUT, client.batch_execute(&request)).await, Ok(Ok(()))) {
        return false;
    }
    // Notifications sent before LISTEN were missed.
    let _ = sender.send(Change::Anything);
    while timeout(LIVENESS_INTERVAL, ended.recv()).await.is_err() && alive(&client).await {}
    true
}
