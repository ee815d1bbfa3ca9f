//! The compression of response content on its way to the client.

use super::{Downstream, Failure, Pump};
use crate::body::BodyPart;
use std::task::{Context, Poll};

/// The number of bytes of compressed content that are collected before they are sent, unless the upstream pauses.
const ENCODED_WRITE_SIZE: usize = 8 * 1024;

impl Pump<'_> {
    /// Compresses response content: sends at most `room` compressed bytes if enough are ready, or else reads and
    /// compresses more, or ends the response. Returns false if the upstream has to be waited for, or has failed.
    ///
    /// # Errors
    /// [`Failure::Compression`] if the compressor failed.
    pub(super) fn encoded_step<D: Downstream>(
        &mut self,
        cx: &mut Context<'_>,
        down: &mut D,
        room: usize,
    ) -> Result<bool, Failure> {
        let Some(encoder) = &mut self.encoder else { return Ok(false) };
        // Compressing into memory fails only for lack of it, which is no fault of the upstream.
        let failed = |_| Failure::Compression;
        // Enough to be worth a write, or all that is available.
        if encoder.ready().len() >= ENCODED_WRITE_SIZE || encoder.is_clean() && !encoder.ready().is_empty() {
            let n = encoder.ready().len().min(room);
            down.send_data(&encoder.ready()[..n]);
            encoder.sent(n);
            self.sent += n as u64;
            return Ok(true);
        }
        if encoder.is_finished() {
            self.end_response(down);
            self.response_done = true;
            return Ok(true);
        }
        match self.up.poll_body(cx) {
            Poll::Ready(Ok(BodyPart::Data)) => {
                let n = self.up.chunk().len();
                encoder.write(self.up.chunk()).map_err(failed)?;
                self.up.consume(n);
            }
            Poll::Ready(Ok(BodyPart::End)) => encoder.finish().map_err(failed)?,
            Poll::Ready(Err(why)) => {
                self.end(Failure::Upstream(why));
                return Ok(false);
            }
            // The client gets what is available: more may take long.
            Poll::Pending if !encoder.is_clean() => encoder.flush().map_err(failed)?,
            Poll::Pending => return Ok(false),
        }
        Ok(true)
    }
}
