//! The end of an exchange after its client or its upstream has closed: data that was read from it is delivered to the
//! other side first.

use super::super::outcome::Failure;
use super::{Downstream, Pump};
use crate::body::{BodyError, BodyPart};
use crate::deadline::Deadline;
use std::future::Future;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// The time limit for an upstream to end a tunnel after its client has closed.
const TUNNEL_END_TIMEOUT: Duration = Duration::from_secs(2);

/// The delay before a reset that could discard content that was sent, or was not accepted yet.
const RESET_DELAY: Duration = Duration::from_millis(50);

/// The end of an exchange that has begun, and its progress.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ending {
    /// The failure that ends the exchange.
    why: Failure,
    /// The progress of the delivery of data that was read from the closed side before.
    stage: Stage,
}

/// The progress of the delivery of data that was read before the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The delivery has not begun.
    New,
    /// Data that was read is being delivered.
    Delivers,
    /// All data and the end of the tunnel were delivered to the upstream, which is read until its own end.
    Ended,
}

impl Pump<'_> {
    /// Begins the end of the exchange for this failure; only the first call counts. Data that was read is then
    /// delivered by [`Pump::poll_ending`].
    pub(super) fn end(&mut self, why: Failure) {
        self.ending.get_or_insert(Ending { why, stage: Stage::New });
    }

    /// Delivers the data that was read from the side that has closed to the other one. Pending if the end has not
    /// begun.
    ///
    /// # Errors
    /// The failure that ends the exchange, always: when the data was delivered, or the timeout for content has passed.
    pub(super) fn poll_ending<D: Downstream>(
        &mut self,
        cx: &mut Context<'_>,
        down: &mut D,
        deadline: &Deadline,
    ) -> Poll<Result<(), Failure>> {
        let Some(ending) = self.ending else { return Poll::Pending };
        if ending.stage == Stage::New {
            deadline.set(self.timeouts.body);
            self.set(Stage::Delivers);
        }
        let done = match ending.why {
            Failure::Upstream(_) => self.poll_to_client(cx, down),
            _ => self.poll_to_service(cx, down, deadline),
        };
        if done.is_pending() && deadline.poll_due(cx).is_pending() {
            return Poll::Pending;
        }
        Poll::Ready(Err(ending.why))
    }

    /// Sets the stage of the end. No effect if the end has not begun.
    const fn set(&mut self, stage: Stage) {
        if let Some(ending) = &mut self.ending {
            ending.stage = stage;
        }
    }

    /// Returns the stage of the end. [`Stage::New`] if it has not begun.
    fn stage(&self) -> Stage {
        self.ending.map_or(Stage::New, |ending| ending.stage)
    }

    /// Delivers the data of the upstream to the client if a final head was sent, with the rest of compressed content.
    /// Ends a tunnel regularly. Before a reset that could discard content on its way, waits [`RESET_DELAY`].
    fn poll_to_client<D: Downstream>(&mut self, cx: &mut Context<'_>, down: &mut D) -> Poll<()> {
        if !self.answered {
            return Poll::Ready(());
        }
        if let Some(encoder) = &mut self.encoder {
            // Compressing into memory does not fail.
            if !encoder.is_clean() && !encoder.is_finished() {
                let _ = encoder.flush();
            }
            while !encoder.ready().is_empty() {
                let Ok(room) = ready!(down.poll_capacity(cx)) else { return Poll::Ready(()) };
                let n = encoder.ready().len().min(room);
                down.send_data(&encoder.ready()[..n]);
                encoder.sent(n);
                self.sent += n as u64;
            }
        }
        if self.tunnel && !self.response_done {
            // A tunnel has no framing that could show a truncation; the protocol in it has its own.
            down.send_end(None);
            self.response_done = true;
        }
        if ready!(down.poll_flush(cx)).is_err() || self.tunnel || !down.reset_overtakes() {
            return Poll::Ready(());
        }
        let pause = self.pause.get_or_insert_with(|| Box::pin(tokio::time::sleep(RESET_DELAY)));
        pause.as_mut().poll(cx)
    }

    /// Delivers the data of the client to the upstream. A tunnel is then ended, and read until the upstream ends it or
    /// [`TUNNEL_END_TIMEOUT`] has passed. Nothing is delivered of a request whose output is held back until its end.
    fn poll_to_service<D: Downstream>(
        &mut self,
        cx: &mut Context<'_>,
        down: &mut D,
        deadline: &Deadline,
    ) -> Poll<()> {
        if self.held {
            return Poll::Ready(());
        }
        if self.stage() != Stage::Ended {
            // The client can no longer be written to, but data that it sent before may still be unread.
            if !self.request_done {
                while let Ok(true) = self.request_step(cx, down) {
                    if self.request_done || down.poll_body(cx) == Poll::Ready(Err(BodyError::Lost)) {
                        break;
                    }
                }
            }
            if self.tunnel {
                if !self.request_done && self.up.poll_capacity(cx, down.chunk().len()).is_pending() {
                    return Poll::Pending;
                }
            } else {
                return self.poll_incomplete(cx, down);
            }
            if ready!(self.up.poll_flush(cx)).is_err() {
                return Poll::Ready(());
            }
            if !self.request_done {
                self.up.send_end(None);
                self.request_done = true;
            }
            if ready!(self.up.poll_flush(cx)).is_err() {
                return Poll::Ready(());
            }
            deadline.set(TUNNEL_END_TIMEOUT);
            self.set(Stage::Ended);
        }
        // Closing a connection with unread bytes resets it, which can discard the written data.
        loop {
            match ready!(self.up.poll_body(cx)) {
                Ok(BodyPart::Data) => {
                    let n = self.up.chunk().len();
                    self.up.consume(n);
                }
                Ok(BodyPart::End) | Err(_) => return Poll::Ready(()),
            }
        }
    }

    /// Delivers the content of a request that its client does not complete. If the upstream has not accepted all of
    /// it, or, over HTTP/2, its connection may not have written it yet, waits [`RESET_DELAY`], since the reset of the
    /// request would discard it.
    fn poll_incomplete<D: Downstream>(&mut self, cx: &mut Context<'_>, down: &mut D) -> Poll<()> {
        let flushed = ready!(self.up.poll_flush(cx));
        let left = down.poll_body(cx) == Poll::Ready(Ok(BodyPart::Data));
        let unwritten = self.consumed && self.up.takes_bytes();
        if flushed.is_err() || self.request_done || !(left || unwritten) {
            return Poll::Ready(());
        }
        let pause = self.pause.get_or_insert_with(|| Box::pin(tokio::time::sleep(RESET_DELAY)));
        pause.as_mut().poll(cx)
    }
}
