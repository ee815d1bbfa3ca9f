//! The limit on what is sent to an address that is not validated (RFC 9000 §8.1), to the byte.
//!
//! quinn-proto asks before a datagram whether the limit is reached, and not whether the datagram would pass it. Here the one that
//! would is held back until the client has sent more, which its own timer has it do.
//!
//! The address is validated by the first datagram from it that names a connection ID of this side (§8.1): an ID has 64 bits that
//! nobody can guess, and was sent to that address alone. That is earlier than the end of the handshake, which can take more
//! datagrams of this side than the limit allows.

use quinn_proto::Transmit;

/// Bytes that may be sent for each byte received.
const FACTOR: u64 = 3;

/// The bytes of a connection whose address is not validated yet.
#[derive(Debug, Default)]
pub(super) struct AmplificationLimit {
    received: u64,
    sent: u64,
    lifted: bool,
    held: Option<(Transmit, Vec<u8>)>,
}

impl AmplificationLimit {
    /// Counts a datagram of the client.
    pub(super) fn received(&mut self, bytes: usize) {
        self.received += bytes as u64;
    }

    /// The address is validated.
    pub(super) fn lift(&mut self) {
        self.lifted = true;
    }

    /// Returns true if the address is validated.
    pub(super) const fn is_lifted(&self) -> bool {
        self.lifted
    }

    /// Counts a datagram to the client, or returns false if it would pass the limit.
    pub(super) fn may_send(&mut self, bytes: usize) -> bool {
        let sent = self.sent + bytes as u64;
        let may = self.lifted || sent <= self.received.saturating_mul(FACTOR);
        if may {
            self.sent = sent;
        }
        may
    }

    /// Holds a datagram back.
    pub(super) fn hold(&mut self, transmit: Transmit, content: &[u8]) {
        self.held = Some((transmit, content.to_vec()));
    }

    /// Returns true if a datagram is held back.
    pub(super) const fn holds(&self) -> bool {
        self.held.is_some()
    }

    /// Takes the datagram that was held back, if it may be sent now.
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
