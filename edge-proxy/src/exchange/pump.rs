//! The forwarding of content in both directions at once, with at most one buffer of content stored.

mod encoded;
mod ending;
mod splice;

use super::Downstream;
use super::encode::Encoder;
use super::outcome::Failure;
use super::urgency::prioritize;
use crate::body::{BodyError, BodyPart};
use crate::deadline::Deadline;
use crate::heads;
use crate::splice::SplicePipe;
use crate::upstream::{Cause, INTERIM, UpstreamError, UpstreamExchange};
use edge_http::{Method, ResponseHead};
use edge_policy::config::{Coding, Config, Timeouts};
use edge_policy::decide::{Decision, request_trailers, response_trailers};
use ending::Ending;
use splice::SpliceStep;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// The longest time without data from the client of a tunnel after the upstream has ended its direction.
const HALF_CLOSED_TIMEOUT: Duration = Duration::from_secs(30);

/// A function that edits a response head before it is sent, and returns the coding to compress the content with,
/// `None` for no compression. The second argument is true if the exchange could still be retried. An error discards
/// the response.
pub(super) type Edit<'e> = dyn FnMut(&mut ResponseHead, bool) -> Result<Option<Coding>, UpstreamError> + 'e;

/// The settings of the pump of an exchange.
#[derive(Clone, Copy)]
pub(super) struct PumpSettings<'a> {
    /// The timeouts of the request.
    pub(super) timeouts: &'a Timeouts,
    /// The decision about the request, which limits its content and filters trailers.
    pub(super) decision: &'a Decision<'a>,
    /// The configuration that states urgencies of responses.
    pub(super) config: &'a Config,
    /// True if the request has content, possibly of length 0.
    pub(super) has_body: bool,
    /// True if the request declares content of length 0: nothing is written to the upstream before its end.
    pub(super) is_empty: bool,
    /// The number of sent content bytes from which on a response may be spliced. `None` disables splicing.
    pub(super) splice_after: Option<u64>,
}

/// The state of an exchange that moves content in both directions.
pub(super) struct Pump<'a> {
    /// The exchange with the upstream.
    pub(super) up: UpstreamExchange,
    /// The head of the last response, interim or final.
    pub(super) head: ResponseHead,
    /// The highest number of request content bytes. `None` without a limit.
    pub(super) limit: Option<u64>,
    /// The timeouts of the request.
    pub(super) timeouts: &'a Timeouts,
    /// The number of content bytes received from the client.
    pub(super) received: u64,
    /// The number of content bytes sent to the client.
    pub(super) sent: u64,
    /// True once the final head was sent to the client.
    pub(super) answered: bool,
    /// True if request content was forwarded, so that the request cannot be sent again.
    pub(super) consumed: bool,
    /// True if all of the request was forwarded, it has no content, or the upstream accepts no more of it.
    pub(super) request_done: bool,
    /// True while nothing may be written to the upstream before the end of the request: it declared content of length
    /// 0, so it would be complete for the upstream before the client has ended it.
    pub(super) held: bool,
    /// The decision by which trailers are filtered.
    decision: &'a Decision<'a>,
    /// The configuration that states urgencies of responses.
    config: &'a Config,
    /// True if the response was read completely from the upstream and passed to the client's side.
    pub(super) response_done: bool,
    /// The number of interim responses received from the upstream.
    interim: u32,
    /// True if the response has no content by its status or the request's method.
    bodiless: bool,
    /// True after a switch to another protocol.
    pub(super) tunnel: bool,
    /// True once the deadline was set for the first time.
    armed: bool,
    /// True if output is pending that the client does not accept.
    client_waits: bool,
    /// True if content is pending that the upstream does not accept.
    upstream_waits: bool,
    /// The value of [`Downstream::progress`] when the deadline for the client was set. `None` unless the exchange
    /// waited for its turn among others.
    progress: Option<u64>,
    /// The compressor of the response. `None` if it is not compressed.
    pub(super) encoder: Option<Encoder>,
    /// The number of sent content bytes from which on the client's transport may prepare for splicing. `None` disables
    /// splicing.
    splice_after: Option<u64>,
    /// The pipe through which the response is spliced. `None` before splicing has begun.
    splice_pipe: Option<SplicePipe>,
    /// The number of content bytes that were spliced.
    pub(super) spliced: u64,
    /// The reason and the stage of the end after one side has closed or failed. `None` before that.
    ending: Option<Ending>,
    /// The delay before a reset that could discard content on its way. `None` unless one is delayed.
    pub(super) pause: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl<'a> Pump<'a> {
    /// Creates the pump of an exchange with an upstream.
    pub(super) fn new(up: UpstreamExchange, settings: PumpSettings<'a>) -> Self {
        let PumpSettings { timeouts, decision, config, has_body, is_empty, splice_after } = settings;
        Self {
            up,
            head: heads::response(),
            limit: decision.body_limit,
            timeouts,
            received: 0,
            sent: 0,
            answered: false,
            consumed: false,
            request_done: !has_body,
            held: is_empty && has_body,
            decision,
            config,
            response_done: false,
            interim: 0,
            bodiless: false,
            tunnel: false,
            armed: false,
            client_waits: false,
            upstream_waits: false,
            progress: None,
            encoder: None,
            splice_after,
            splice_pipe: None,
            spliced: 0,
            ending: None,
            pause: None,
        }
    }

    /// Returns whether the exchange could be retried: no final head was sent to the client, and no request content
    /// was forwarded.
    pub(super) const fn is_untouched(&self) -> bool {
        !self.answered && !self.consumed
    }

    /// Moves data in both directions. Completes when the response is complete and written, or a tunnel has ended in
    /// both directions.
    ///
    /// `edit` is called with each response head, also of interim responses, before it is sent to the client, and with
    /// true if the exchange could still be retried. Its error discards the response. `method` is that of the request.
    /// The timeouts are enforced by `deadline`.
    ///
    /// # Errors
    /// [`Failure`] of the client or the upstream, also if a timeout passes.
    pub(super) fn poll<D: Downstream>(
        &mut self,
        cx: &mut Context<'_>,
        down: &mut D,
        method: &Method,
        deadline: &Deadline,
        edit: &mut Edit<'_>,
    ) -> Poll<Result<(), Failure>> {
        let mut moved = !self.armed;
        let waited = self.upstream_waits;
        while self.ending.is_none() {
            (self.client_waits, self.upstream_waits) = (false, false);
            let mut progress = self.request_step(cx, down)?;
            progress |= self.response_step(cx, down, method, edit)?;
            moved |= progress;
            if self.is_complete() || !progress {
                break;
            }
        }
        if self.ending.is_some() {
            return self.poll_ending(cx, down, deadline);
        }
        if self.is_complete() && (!self.tunnel || self.up.poll_flush(cx).is_ready()) {
            // What is left of the request is the transport's to drain or to stop; what is left of the response is the
            // client's to take.
            if let Poll::Ready(flushed) = down.poll_flush(cx) {
                return Poll::Ready(flushed.map_err(|_| Failure::ClientLost));
            }
            self.client_waits = true;
        } else {
            if !self.held
                && let Poll::Ready(Err(why)) = self.up.poll_flush(cx)
            {
                // Of a tunnel both directions have ended then.
                let ended = if self.response_done { Ok(()) } else { Err(Failure::Upstream(why)) };
                return Poll::Ready(ended);
            }
            if let Poll::Ready(Err(_)) = down.poll_flush(cx) {
                self.end(Failure::ClientLost);
                return self.poll_ending(cx, down, deadline);
            }
            let lost = !self.tunnel
                && if self.request_done {
                    down.poll_lost(cx).is_ready()
                } else {
                    self.upstream_waits && down.poll_reset(cx).is_ready()
                };
            if lost {
                self.end(Failure::ClientLost);
                return self.poll_ending(cx, down, deadline);
            }
        }
        // The upstream has its own time from when it stopped to accept content, however long the client took before.
        if moved || (self.upstream_waits && !waited) {
            self.armed = true;
            self.progress = if self.client_waits { down.progress() } else { None };
            deadline.set(if self.tunnel && self.response_done {
                // The service has said all. A client that means to go on does so soon.
                self.timeouts.body.min(HALF_CLOSED_TIMEOUT)
            } else if self.tunnel {
                self.timeouts.tunnel
            } else if (self.request_done || self.upstream_waits) && !self.client_waits {
                self.timeouts.response
            } else {
                self.timeouts.body
            });
        } else if self.client_waits && !self.tunnel {
            // The upstream may have been waited for until now, which may take longer.
            deadline.sooner(self.timeouts.body);
            self.progress = self.progress.or_else(|| down.progress());
        }
        match deadline.poll_due(cx) {
            Poll::Ready(()) if self.client_waits && self.take_client_progress(down) => {
                deadline.set(self.timeouts.body);
                match deadline.poll_due(cx) {
                    Poll::Ready(()) => Poll::Ready(Err(Failure::ClientSlow)),
                    Poll::Pending => Poll::Pending,
                }
            }
            Poll::Ready(()) if self.tunnel && self.response_done => Poll::Ready(Ok(())),
            Poll::Ready(())
                if self.client_waits || !self.request_done && (self.tunnel || !self.upstream_waits) =>
            {
                Poll::Ready(Err(Failure::ClientSlow))
            }
            Poll::Ready(()) => Poll::Ready(Err(Failure::Upstream(UpstreamError::TimedOut))),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Returns whether the client's connection has accepted bytes since the deadline was set, while this exchange
    /// waited for its turn behind others: then the client is not too slow. Stores the new count.
    fn take_client_progress<D: Downstream>(&mut self, down: &D) -> bool {
        let now = down.progress();
        let before = std::mem::replace(&mut self.progress, now);
        matches!((before, now), (Some(before), Some(now)) if now > before)
    }

    /// Returns whether the response is complete, and for a tunnel also the request. The rest of any other request
    /// whose response is complete is left to the transport.
    const fn is_complete(&self) -> bool {
        self.response_done && (self.request_done || !self.tunnel)
    }

    /// Moves available request content from the client to the upstream, with its end and filtered trailers. Returns
    /// true if anything was moved or the end was reached, also because the upstream accepts no more. The loss of the
    /// client begins the end of the exchange.
    ///
    /// # Errors
    /// [`Failure::TooLarge`] if the content exceeds the limit, [`Failure::ClientMalformed`] if the request is
    /// malformed.
    pub(super) fn request_step<D: Downstream>(
        &mut self,
        cx: &mut Context<'_>,
        down: &mut D,
    ) -> Result<bool, Failure> {
        let mut progress = false;
        while !self.request_done {
            // The end needs no room: an upstream may read only once the request is complete.
            match down.poll_body(cx) {
                Poll::Ready(Ok(BodyPart::Data)) => {
                    let room = match self.up.poll_capacity(cx, down.chunk().len()) {
                        Poll::Ready(Ok(room)) => room,
                        Poll::Ready(Err(_)) => {
                            // It takes no more. Why, and whether it has answered, is found by reading.
                            self.request_done = true;
                            self.held = false;
                            return Ok(true);
                        }
                        Poll::Pending => {
                            self.upstream_waits = true;
                            break;
                        }
                    };
                    let n = down.chunk().len().min(room);
                    self.received += n as u64;
                    if self.limit.is_some_and(|limit| self.received > limit) && !self.tunnel {
                        return Err(Failure::TooLarge);
                    }
                    if self.up.takes_bytes() {
                        self.up.send_bytes(down.take(n));
                    } else {
                        self.up.send_data(&down.chunk()[..n]);
                        down.consume(n);
                    }
                    self.consumed = true;
                }
                Poll::Ready(Ok(BodyPart::End)) => {
                    if down.trailers().is_empty() {
                        self.up.send_end(None);
                    } else {
                        self.up.send_end(Some(&request_trailers(self.decision, down.trailers())));
                    }
                    self.request_done = true;
                    self.held = false;
                }
                Poll::Ready(Err(BodyError::Lost)) => {
                    self.end(Failure::ClientLost);
                    return Ok(true);
                }
                Poll::Ready(Err(BodyError::Malformed)) => return Err(Failure::ClientMalformed),
                Poll::Pending => break,
            }
            progress = true;
        }
        Ok(progress)
    }

    /// Moves available heads and content of the response from the upstream to the client. Returns true if a final head
    /// or content was moved or the end was reached; interim responses do not count, so they do not extend the
    /// deadline. If the client is lost or the upstream fails after the final head, begins the end of the exchange.
    ///
    /// # Errors
    /// The client is gone or too slow, the upstream failed before the final head, or `edit` discarded the response.
    fn response_step<D: Downstream>(
        &mut self,
        cx: &mut Context<'_>,
        down: &mut D,
        method: &Method,
        edit: &mut Edit<'_>,
    ) -> Result<bool, Failure> {
        let mut progress = false;
        while !self.response_done {
            if !self.answered {
                // The client takes those that wait first. HTTP/2 to a service buffers what is not read here, so it is
                // read.
                if self.interim > 0 && !self.up.takes_bytes() {
                    match down.poll_flush(cx) {
                        Poll::Ready(Ok(())) => {}
                        Poll::Ready(Err(_)) => return Err(Failure::ClientLost),
                        Poll::Pending => {
                            self.client_waits = true;
                            break;
                        }
                    }
                }
                match self.up.poll_head(cx, &mut self.head) {
                    Poll::Ready(Ok(())) => self.head_arrived(down, method, edit)?,
                    Poll::Ready(Err(why)) => return Err(Failure::Upstream(why)),
                    Poll::Pending => break,
                }
                // An interim response does not extend the deadline.
                progress |= self.answered;
                continue;
            }
            if let Some(after) = self.splice_after {
                match self.splice_step(cx, down, after) {
                    Err(why) => {
                        self.end(why);
                        return Ok(true);
                    }
                    Ok(step) => match step {
                        SpliceStep::Unavailable => {}
                        SpliceStep::Progress => {
                            progress = true;
                            continue;
                        }
                        SpliceStep::Pending => break,
                    },
                }
            }
            let room = match down.poll_capacity(cx) {
                Poll::Ready(Ok(room)) => room,
                Poll::Ready(Err(_)) => {
                    self.end(Failure::ClientLost);
                    return Ok(true);
                }
                Poll::Pending if self.up.is_given_up(cx) => return Err(Failure::ClientSlow),
                // The end needs no room either.
                Poll::Pending if self.encoder.is_none() && self.up.has_ended(cx) => {
                    self.end_response(down);
                    self.response_done = true;
                    progress = true;
                    continue;
                }
                Poll::Pending => {
                    self.client_waits = true;
                    break;
                }
            };
            if self.encoder.is_some() {
                match self.encoded_step(cx, down, room)? {
                    true => progress = true,
                    false => break,
                }
                continue;
            }
            match self.up.poll_body(cx) {
                Poll::Ready(Ok(BodyPart::Data)) => {
                    let n = self.up.chunk().len().min(room);
                    if self.bodiless {
                        self.up.consume(n);
                    } else if down.takes_bytes() {
                        down.send_bytes(self.up.take(n));
                        self.sent += n as u64;
                    } else {
                        down.send_data(&self.up.chunk()[..n]);
                        self.up.consume(n);
                        self.sent += n as u64;
                    }
                }
                Poll::Ready(Ok(BodyPart::End)) => {
                    self.end_response(down);
                    self.response_done = true;
                }
                Poll::Ready(Err(why)) => {
                    self.end(Failure::Upstream(why));
                    return Ok(true);
                }
                Poll::Pending => break,
            }
            progress = true;
        }
        Ok(progress)
    }

    /// Ends the response, with its filtered trailers.
    fn end_response<D: Downstream>(&self, down: &mut D) {
        let trailers = self.up.trailers();
        if trailers.is_empty() {
            down.send_end(Some(trailers));
        } else {
            down.send_end(Some(&response_trailers(self.decision, trailers)));
        }
    }

    /// Passes a response head of the upstream to `edit`, and then sends it to the client: an interim response, the
    /// final head, or the acceptance of a tunnel.
    ///
    /// # Errors
    /// There are more than [`INTERIM`] interim responses, `edit` discarded the response, or the compressor cannot be
    /// created.
    pub(super) fn head_arrived<D: Downstream>(
        &mut self,
        down: &mut D,
        method: &Method,
        edit: &mut Edit<'_>,
    ) -> Result<(), Failure> {
        if self.head.is_interim() {
            self.interim += 1;
            if self.interim > INTERIM {
                return Err(Failure::Upstream(UpstreamError::Malformed(Cause::MalformedContent)));
            }
        }
        let untouched = self.is_untouched();
        let coding = edit(&mut self.head, untouched).map_err(Failure::Upstream)?;
        if let Some(protocol) = self.up.tunnel() {
            self.answered = true;
            self.tunnel = true;
            self.request_done = false;
            down.send_tunnel(&self.head, protocol);
        } else if self.head.is_interim() {
            down.send_interim(&self.head);
        } else {
            // Without a compressor, the content would not match the head: the exchange ends.
            self.encoder = coding.map(Encoder::new).transpose().map_err(|_| Failure::Compression)?;
            self.answered = true;
            self.bodiless = self.head.is_bodiless(method);
            let end = self.bodiless || self.head.body == edge_http::BodyLength::None;
            prioritize(self.config, down, &self.head);
            down.send_head(&self.head, end);
            self.response_done = end;
        }
        Ok(())
    }
}
