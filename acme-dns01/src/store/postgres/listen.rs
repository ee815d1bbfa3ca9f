//! News: LISTEN on a connection of its own, made anew whenever it breaks.

use super::CHANNEL;
use super::connect::Way;
use crate::store::{Change, Changes};
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_postgres::{AsyncMessage, Client, Connection, NoTls, Socket};

/// How long until it is tried again, at first and at the most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));

/// Everything that is told from now on, for as long as the receiver is kept.
pub(super) fn changes(way: Way) -> Changes {
    let (sender, receiver) = unbounded_channel();
    tokio::spawn(async move {
        let mut pause = PAUSES.0;
        loop {
            tokio::select! {
                () = sender.closed() => return,
                heard = connect(&way, &sender) => {
                    pause = if heard { PAUSES.0 } else { (pause * 2).min(PAUSES.1) };
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

/// Listens until the connection breaks. Whether it ever listened.
async fn connect(way: &Way, sender: &UnboundedSender<Change>) -> bool {
    match way.tls.clone() {
        Some(tls) => match way.config.connect(tls).await {
            Ok((client, connection)) => listen(client, connection, sender).await,
            Err(_) => false,
        },
        None => match way.config.connect(NoTls).await {
            Ok((client, connection)) => listen(client, connection, sender).await,
            Err(_) => false,
        },
    }
}

async fn listen<S>(
    client: Client,
    mut connection: Connection<Socket, S>,
    sender: &UnboundedSender<Change>,
) -> bool
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut listening = false;
    let request = format!("LISTEN {CHANNEL}");
    let mut asked = std::pin::pin!(client.batch_execute(&request));
    poll_fn(|context| {
        loop {
            match connection.poll_message(context) {
                Poll::Ready(Some(Ok(AsyncMessage::Notification(told)))) => {
                    let _ = sender.send(Change::Certificate(told.payload().to_owned()));
                }
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(()),
                Poll::Pending => break,
            }
        }
        if !listening && let Poll::Ready(answer) = asked.as_mut().poll(context) {
            if answer.is_err() {
                return Poll::Ready(());
            }
            listening = true;
            // Whatever was told before nobody heard.
            let _ = sender.send(Change::Anything);
        }
        Poll::Pending
    })
    .await;
    listening
}
