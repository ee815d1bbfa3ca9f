//! The splicing of response content from the upstream's socket to the client's, without a copy in this process.

use super::{Downstream, Failure, Pump};
use crate::splice::SplicePipe;
use crate::upstream::{Cause, UpstreamError};
use std::task::{Context, Poll};

/// The minimum number of remaining content bytes for which splicing is begun.
const MIN_SPLICE_LEN: u64 = 64 * 1024;

/// The result of a step of splicing.
pub(super) enum SpliceStep {
    /// The content cannot be spliced and has to be copied.
    Unavailable,
    /// Content was moved, or its end was read.
    Progress,
    /// Nothing was moved: the upstream has no content now, or the client accepts none.
    Pending,
}

impl Pump<'_> {
    /// Splices response content from the upstream's socket to the client's. Begins only if at least [`MIN_SPLICE_LEN`]
    /// bytes are left and the client's transport is ready; the transport may prepare once `after` bytes were sent.
    /// [`SpliceStep::Unavailable`] if the content has to be copied.
    ///
    /// # Errors
    /// The failure of the client or of the upstream.
    pub(super) fn splice_step<D: Downstream>(
        &mut self,
        cx: &mut Context<'_>,
        down: &mut D,
        after: u64,
    ) -> Result<SpliceStep, Failure> {
        let splice_pipe = match &mut self.splice_pipe {
            Some(splice_pipe) => splice_pipe,
            None => {
                let enough = self.up.splice_source().is_some_and(|(_, most)| most >= MIN_SPLICE_LEN);
                if !enough || self.bodiless || self.encoder.is_some() {
                    return Ok(SpliceStep::Unavailable);
                }
                match down.poll_splice_ready(cx, self.sent >= after) {
                    Poll::Ready(Ok(true)) => {}
                    Poll::Ready(Ok(false)) => return Ok(SpliceStep::Unavailable),
                    Poll::Ready(Err(_)) => return Err(Failure::ClientLost),
                    Poll::Pending => {
                        self.client_waits = true;
                        return Ok(SpliceStep::Pending);
                    }
                }
                // Without a pipe, content is copied as before.
                let Ok(splice_pipe) = SplicePipe::new() else {
                    self.splice_after = None;
                    return Ok(SpliceStep::Unavailable);
                };
                self.splice_pipe.insert(splice_pipe)
            }
        };
        if splice_pipe.held() == 0 {
            let Some((socket, most)) = self.up.splice_source() else { return Ok(SpliceStep::Unavailable) };
            let most = usize::try_from(most).unwrap_or(usize::MAX);
            let n = match splice_pipe.poll_in(cx, socket, most) {
                Poll::Ready(Ok(n)) => n,
                Poll::Ready(Err(why)) => {
                    return Err(Failure::Upstream(UpstreamError::Broken(Cause::of(&why))));
                }
                Poll::Pending => return Ok(SpliceStep::Pending),
            };
            self.up.count_spliced(n).map_err(Failure::Upstream)?;
            if n == 0 {
                return Ok(SpliceStep::Progress);
            }
        }
        match down.poll_splice(cx, splice_pipe) {
            Poll::Ready(Ok(n)) => {
                self.sent += n as u64;
                self.spliced += n as u64;
                Ok(SpliceStep::Progress)
            }
            Poll::Ready(Err(_)) => Err(Failure::ClientLost),
            Poll::Pending => {
                self.client_waits = true;
                Ok(SpliceStep::Pending)
            }
        }
    }
}
