//! The reading of a whole response, for requests of the proxy itself.

use super::{Cause, INTERIM, UpstreamError, UpstreamExchange};
use crate::body::BodyPart;
use edge_http::ResponseHead;
use std::future::poll_fn;
use std::task::Poll;

/// Sends the buffered request, whose content must be complete, and reads the whole response. Interim responses are
/// skipped. Returns the final head and the content.
///
/// # Errors
/// [`UpstreamError`] of the exchange; `Malformed` if the content has more than `longest` bytes, there are more than
/// [`INTERIM`] interim responses, or the protocol is switched.
pub(crate) async fn read_whole(
    exchange: &mut UpstreamExchange,
    longest: usize,
) -> Result<(ResponseHead, Vec<u8>), UpstreamError> {
    let (mut head, mut content) = (ResponseHead::default(), Vec::new());
    for interim in 0.. {
        poll_fn(|cx| {
            if let Poll::Ready(Err(why)) = exchange.poll_flush(cx) {
                return Poll::Ready(Err(why));
            }
            exchange.poll_head(cx, &mut head)
        })
        .await?;
        if exchange.tunnel().is_some() {
            return Err(UpstreamError::Malformed(Cause::Switched));
        }
        if !head.is_interim() {
            break;
        }
        if interim >= INTERIM {
            return Err(UpstreamError::Malformed(Cause::MalformedContent));
        }
    }
    while poll_fn(|cx| exchange.poll_body(cx)).await? == BodyPart::Data {
        let n = exchange.chunk().len();
        if content.len() + n > longest {
            return Err(UpstreamError::Malformed(Cause::MalformedContent));
        }
        content.extend_from_slice(exchange.chunk());
        exchange.consume(n);
    }
    Ok((head, content))
}
