//! Sending of the datagrams of connections.

use super::super::Service;
use super::super::amplification::AmplificationLimit;
use super::super::config::MAX_DATAGRAM;
use super::super::paths::{self, ClientPaths};
use super::super::socket::SendBlocked;
use super::Engine;
use quinn_proto as quic;
use std::io;
use std::task::{Context, Poll};
use std::time::Instant;

/// The number of batches of datagrams that one connection sends before received datagrams are processed and other
/// connections send.
const MAX_TRANSMIT_BATCHES: usize = 8;

/// Returns the number of datagrams of `mtu` bytes that one system call may send, of at most `segments`: together they
/// are one datagram for the kernel. At least 1.
fn batch(segments: usize, mtu: u16) -> usize {
    segments.min(usize::from(MAX_DATAGRAM) / usize::from(mtu).max(1)).max(1)
}

/// Returns the next datagrams that a connection may send, and puts their content into `out`, which is cleared before.
/// There are at most `segments` of them; to an address that is not validated they are sent one by one, within three
/// times the bytes received from it. `now` is the present time. `None` if nothing may be sent now.
fn next_transmit(
    quic: &mut quic::Connection,
    (amplification, paths): (&mut Option<AmplificationLimit>, &mut ClientPaths),
    (now, segments): (Instant, usize),
    out: &mut Vec<u8>,
) -> Option<quic::Transmit> {
    out.clear();
    let Some(limit) = amplification else {
        paths.set_current(quic.remote_address());
        if paths.is_settled() {
            return quic.poll_transmit(now, segments, out);
        }
        let next = paths.next(out, |out| paths::poll(quic, now, out));
        if next.is_none() {
            paths.settle();
        }
        return next;
    };
    // A connection that was closed during the handshake is not handshaking either, and its address is not validated: the
    // limit holds for CONNECTION_CLOSE too.
    if !quic.is_handshaking() && !quic.is_closed() {
        limit.lift();
    }
    if let Some((transmit, content)) = limit.release() {
        out.extend_from_slice(&content);
        return Some(transmit);
    }
    if limit.holds() {
        return None;
    }
    if limit.is_lifted() {
        *amplification = None;
        return quic.poll_transmit(now, segments, out);
    }
    let transmit = quic.poll_transmit(now, 1, out)?;
    if limit.may_send(transmit.size) {
        return Some(transmit);
    }
    limit.hold(transmit, out);
    None
}

impl<S: Service> Engine<S> {
    /// Sends pending datagrams, connection by connection, until the socket blocks or nothing is pending. Returns true
    /// if it stopped because one connection has sent [`MAX_TRANSMIT_BATCHES`] batches and may have more.
    ///
    /// # Errors
    /// An error of the socket.
    pub(super) fn transmit(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        let now = self.shared.now.get();
        loop {
            if let Some(transmit) = self.blocked.take()
                && self.socket.send(&transmit, &self.out) == Err(SendBlocked)
            {
                self.blocked = Some(transmit);
                match self.socket.poll_send_ready(cx) {
                    Poll::Ready(result) => {
                        result?;
                        continue;
                    }
                    Poll::Pending => return Ok(false),
                }
            }
            let Some(index) = self.sending.pop() else { return Ok(false) };
            let Some(Some(entry)) = self.conns.get_mut(index) else { continue };
            entry.queued = false;
            let mut state = entry.cell.state.borrow_mut();
            let mut batches = 0;
            let segments = batch(self.segments, state.quic.current_mtu());
            while let Some(transmit) = next_transmit(
                &mut state.quic,
                (&mut entry.amplification, &mut entry.paths),
                (now, segments),
                &mut self.out,
            ) {
                batches += 1;
                if self.socket.send(&transmit, &self.out) == Err(SendBlocked) {
                    self.blocked = Some(transmit);
                    break;
                }
                if batches == MAX_TRANSMIT_BATCHES {
                    break;
                }
            }
            if let Some(at) = state.quic.poll_timeout()
                && entry.armed.is_none_or(|armed| at < armed)
            {
                entry.armed = Some(at);
                self.timers.push(at, index);
            }
            drop(state);
            if self.blocked.is_some() || batches == MAX_TRANSMIT_BATCHES {
                entry.queued = true;
                self.sending.insert(0, index);
            }
            self.endpoint_events(index);
            if batches == MAX_TRANSMIT_BATCHES && self.blocked.is_none() {
                // Acknowledgements that have arrived in the meantime are processed first.
                return Ok(true);
            }
        }
    }
}
#[cfg(test)]
mod tests {
    use super::batch;

    #[test]
    fn a_batch_is_no_larger_than_a_datagram() {
        for mtu in [1_200, 1_452, 1_700, 9_000, 32_753, 32_754, 65_507, u16::MAX] {
            let segments = batch(40, mtu);
            assert!(segments == 1 || segments * usize::from(mtu) <= 65_507, "{segments} of {mtu}");
        }
        assert_eq!([batch(40, 1_452), batch(40, 9_000), batch(40, 65_507), batch(1, 1_200)], [40, 7, 1, 1]);
    }
}
