//! The anti-amplification limit (RFC 9000 §8.1), exact to the byte.
//!
//! quinn-proto checks before a datagram whether the limit is reached, but not whether the datagram would exceed it.
//! Such a datagram is held back here until the client has sent more, which its loss timer causes.
//!
//! The address is validated by the first datagram from it with a connection ID of this side (§8.1), which has 64
//! unpredictable bits and was sent to that address only. That is earlier than the end of the handshake, which can take
//! more datagrams than the limit permits.

use quinn_proto::Transmit;

/// The number of bytes that may be sent to an address that is not validated for each byte received from it.
const FACTOR: u64 = 3;

/// The byte counts of a connection whose address is not validated, and the datagram that is held back, if any.
#[derive(Debug, Default)]
pub(super) struct AmplificationLimit {
    /// The number of bytes received from the client.
    received: u64,
    /// The number of bytes sent to the client.
    sent: u64,
    /// True if the client's address is validated, so that there is no limit.
    lifted: bool,
    /// The datagram that would exceed the limit, and its content. `None` if there is none.
    held: Option<(Transmit, Vec<u8>)>,
}

impl AmplificationLimit {
    /// Counts the bytes of a datagram from the client.
    pub(super) fn received(&mut self, bytes: usize) {
        self.received += bytes as u64;
    }

    /// Lifts the limit, since the address is validated.
    pub(super) fn lift(&mut self) {
        self.lifted = true;
    }

    /// Returns whether the limit is lifted.
    pub(super) const fn is_lifted(&self) -> bool {
        self.lifted
    }

    /// Returns true if a datagram of this many bytes may be sent: the limit is lifted, or would not be exceeded. The
    /// datagram is then counted as sent.
    pub(super) fn may_send(&mut self, bytes: usize) -> bool {
        let sent = self.sent + bytes as u64;
        let may = self.lifted || sent <= self.received.saturating_mul(FACTOR);
        if may {
            self.sent = sent;
        }
        may
    }

    /// Stores a datagram that exceeds the limit, to be sent later. Replaces one that was stored before.
    pub(super) fn hold(&mut self, transmit: Transmit, content: &[u8]) {
        self.held = Some((transmit, content.to_vec()));
    }

    /// Returns whether a datagram is held back.
    pub(super) const fn holds(&self) -> bool {
        self.held.is_some()
    }

    /// Takes the stored datagram and counts it as sent. `None` if there is none or it still exceeds the limit.
    pub(super) fn release(&mut self) -> Option<(Transmit, Vec<u8>)> {
        let size = self.held.as_ref()?.0.size;
        if self.may_send(size) { self.held.take() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever comes and goes, no more than three times what came is sent, and what fits is.
        #[test]
        fn never_more_than_three_times(steps in proptest::collection::vec((any::<bool>(), 0_usize..2000), 0..100)) {
            let mut limit = AmplificationLimit::default();
            let (mut received, mut sent) = (0, 0);
            for (receives, bytes) in steps {
                if receives {
                    limit.received(bytes);
                    received += bytes;
                } else {
                    prop_assert_eq!(limit.may_send(bytes), sent + bytes <= 3 * received);
                    if sent + bytes <= 3 * received {
                        sent += bytes;
                    }
                }
            }
        }
    }
}
