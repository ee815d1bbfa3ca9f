//! A client's HTTP/2 connection: streams at once, each served by a task of its own.

mod exchange;
mod fields;
mod metered;

pub(crate) use fields::{copy_fields, to_header_map};

use crate::config::Limits;
use crate::server::date;
use crate::server::exchange::{Connection, serve};
use crate::server::h1::Wire;
use crate::server::observe::TurnedAway;
use crate::server::worker::Worker;
use crate::{ResponseHead, Version};
use bytes::Bytes;
use exchange::Exchange;
use metered::Metered;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

/// Content of one request that may wait here.
const WINDOW: u32 = 256 * 1024;

fn builder(limits: &Limits) -> h2::server::Builder {
    let mut builder = h2::server::Builder::new();
    builder
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(limits.header_bytes as u32)
        .initial_window_size(WINDOW)
        .initial_connection_window_size(4 * WINDOW)
        .max_concurrent_reset_streams(limits.streams as usize / 2)
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(Some(limits.resets as usize))
        .max_send_buffer_size(128 * 1024)
        .enable_connect_protocol();
    builder
}

/// Serves the connection until it ends.
pub(crate) async fn run(worker: Rc<Worker>, connection: Connection, wire: Wire) {
    let view = worker.view();
    let config = view.runtime.snapshot().config();
    let (limits, timeouts) = (config.limits.clone(), config.timeouts);
    drop(view);
    let connection = Rc::new(connection);
    let deadline = worker.sweep().deadline();
    let (wire, meter) = Metered::new(wire, limits.control_frames);
    let handshake = builder(&limits).handshake::<_, Bytes>(wire);
    let Some(Ok(mut streams)) = deadline.within(timeouts.handshake, handshake).await else { return };
    let open = Rc::new(std::cell::Cell::new(0usize));
    let (mut leaving, mut flooded) = (false, false);
    deadline.set(timeouts.idle);
    loop {
        let next = poll_fn(|cx| {
            if worker.sweep().draining() && !leaving {
                leaving = true;
                streams.graceful_shutdown();
            }
            let next = streams.poll_accept(cx);
            if meter.borrow().is_flooded() && !flooded {
                flooded = true;
                streams.abrupt_shutdown(h2::Reason::ENHANCE_YOUR_CALM);
                // It ends by that, or when it takes too long.
                deadline.set(timeouts.handshake);
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if flooded {
                return match (next, deadline.poll_due(cx)) {
                    (Poll::Ready(Some(Ok(_))), Poll::Pending) => {
                        cx.waker().wake_by_ref();
                        Poll::Pending
                    }
                    (Poll::Pending, Poll::Pending) => Poll::Pending,
                    _ => Poll::Ready(None),
                };
            }
            if let Poll::Ready(next) = next {
                return Poll::Ready(next);
            }
            match deadline.poll_due(cx) {
                Poll::Ready(()) if open.get() == 0 => {
                    // Nothing was asked for a while: say goodbye, and go at the latest when that was written.
                    if leaving {
                        return Poll::Ready(None);
                    }
                    leaving = true;
                    streams.graceful_shutdown();
                    deadline.set(timeouts.handshake);
                    let _ = deadline.poll_due(cx);
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
                Poll::Ready(()) => {
                    deadline.set(timeouts.idle);
                    let _ = deadline.poll_due(cx);
                    Poll::Pending
                }
                Poll::Pending => Poll::Pending,
            }
        })
        .await;
        let Some(Ok((request, mut respond))) = next else {
            if flooded {
                turned_away(&worker, &connection, "http2-flood");
            } else if let Some(Err(why)) = next {
                let flood = why.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM);
                let reason = if flood && !why.is_remote() { "http2-flood" } else { "http2-error" };
                turned_away(&worker, &connection, reason);
            }
            return;
        };
        deadline.set(timeouts.idle);
        let (parts, body) = request.into_parts();
        match fields::request_head(&parts, &body, Version::Http2, &limits) {
            Ok(head) => {
                let (worker, connection, open) = (worker.clone(), connection.clone(), open.clone());
                open.set(open.get() + 1);
                tokio::task::spawn_local(async move {
                    let deadline = worker.sweep().deadline();
                    let mut exchange = Exchange::new(respond, body);
                    serve(&worker, &connection, head, &mut exchange, &deadline).await;
                    open.set(open.get() - 1);
                });
            }
            Err(fields::BadRequest::Stream) => respond.send_reset(h2::Reason::PROTOCOL_ERROR),
            Err(fields::BadRequest::Status(status)) => {
                turned_away(
                    &worker,
                    &connection,
                    if status == 431 { "head-too-large" } else { "malformed-head" },
                );
                let mut head = ResponseHead::new(status);
                date::add(&mut head.fields);
                let head = exchange::response(&head, false);
                // If it cannot be sent the client has gone.
                let _ = respond.send_response(head, true);
            }
        }
    }
}

fn turned_away(worker: &Worker, connection: &Connection, reason: &'static str) {
    worker.turned_away(&TurnedAway {
        peer: connection.peer,
        local: connection.local,
        sni: connection.sni.as_deref(),
        quic: false,
        reason,
    });
}
