//! The limit on what is sent to the addresses of a connection after its handshake (RFC 9000 §8.1, §8.2, §9.3), to the byte.
//!
//! One address is validated: the one of the handshake, or a later one that proved itself. To any other, at most three times what
//! came from it is sent: what a client that moved is sent on its new path, and responses to challenges from further addresses, which
//! quinn-proto pads whatever the limit is.
//!
//! Another port of the same host is no other address here: a NAT gives one to a client that was idle, what is sent there reaches
//! whoever proved the address, and a client that only acknowledges would never send enough for a first datagram. quinn-proto's own
//! limit applies, which is one datagram more.
//!
//! quinn-proto validates a path by the response to its challenge, and does not report it. It asks before each datagram whether the
//! limit of the path is reached, and not whether the datagram would pass it. So the one that would is held back here; and if
//! quinn-proto makes another one although its own limit is reached, then it has validated the path.

use quinn_proto as quic;
use quinn_proto::Transmit;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Instant;

/// The number of bytes that may be sent for each byte received.
const FACTOR: u64 = 3;

/// The highest number of addresses without validation that are remembered. Datagrams held back for a forgotten one
/// are lost.
const MAX_UNVALIDATED: usize = 4;

/// The addresses of a connection's client.
#[derive(Debug)]
pub(super) struct ClientPaths {
    /// The address that was validated last.
    validated: SocketAddr,
    /// The address that QUIC sends to.
    current: SocketAddr,
    others: VecDeque<UnvalidatedPath>,
}

/// An address that is not validated, with its byte counts and the datagrams held back for it.
#[derive(Debug)]
struct UnvalidatedPath {
    remote: SocketAddr,
    received: u64,
    sent: u64,
    /// The byte counts that quinn-proto has for this path.
    counted: PathBytes,
    held: VecDeque<(Transmit, Vec<u8>)>,
}

/// The byte counts of a path in quinn-proto.
#[derive(Clone, Copy, Debug, Default)]
struct PathBytes {
    received: u64,
    sent: u64,
}

impl PathBytes {
    /// Returns whether quinn-proto sends no further datagram on such a path before it is validated.
    const fn is_used_up(self) -> bool {
        self.received.saturating_mul(FACTOR) < self.sent + 1
    }
}

impl UnvalidatedPath {
    const fn new(remote: SocketAddr) -> Self {
        let counted = PathBytes { received: 0, sent: 0 };
        Self { remote, received: 0, sent: 0, counted, held: VecDeque::new() }
    }

    /// Counts a datagram to the client and returns true, or returns false if it would exceed the limit.
    const fn may_send(&mut self, bytes: usize) -> bool {
        let sent = self.sent + bytes as u64;
        let may = sent <= self.received.saturating_mul(FACTOR);
        if may {
            self.sent = sent;
        }
        may
    }
}

/// A datagram that QUIC has to send.
pub(super) struct QueuedTransmit {
    pub(super) transmit: Transmit,
    /// True if it probes for a larger MTU, which quinn-proto does on any path.
    pub(super) probe: bool,
}

impl ClientPaths {
    /// Creates the paths of a client whose first address was validated.
    pub(super) const fn new(validated: SocketAddr) -> Self {
        Self { validated, current: validated, others: VecDeque::new() }
    }

    /// Returns whether every address in use is validated.
    pub(super) fn is_settled(&self) -> bool {
        self.others.is_empty() && self.is_validated(self.current)
    }

    fn is_validated(&self, remote: SocketAddr) -> bool {
        remote.ip() == self.validated.ip()
    }

    /// Counts a datagram from `remote`. `current` is the address that QUIC sends to afterwards.
    pub(super) fn received(&mut self, remote: SocketAddr, bytes: usize, current: SocketAddr) {
        let moved = self.set_current(current);
        if self.is_validated(remote) {
            if remote == current {
                // The client is back: the other addresses were not its own, or it left them.
                self.others.clear();
            }
            return;
        }
        let path = self.path(remote);
        path.received += bytes as u64;
        if remote == current {
            if moved {
                path.counted = PathBytes::default();
                path.held.clear();
            }
            path.counted.received += bytes as u64;
        }
    }

    /// Sets the address that QUIC sends to. Returns whether it changed.
    pub(super) fn set_current(&mut self, current: SocketAddr) -> bool {
        std::mem::replace(&mut self.current, current) != current
    }

    fn path(&mut self, remote: SocketAddr) -> &mut UnvalidatedPath {
        let at = self.others.iter().position(|path| path.remote == remote).unwrap_or_else(|| {
            if self.others.len() == MAX_UNVALIDATED {
                // Not the one that the client moved to.
                let oldest = self.others.iter().position(|path| path.remote != self.current);
                self.others.remove(oldest.unwrap_or(0));
            }
            self.others.push_back(UnvalidatedPath::new(remote));
            self.others.len() - 1
        });
        &mut self.others[at]
    }

    fn validate(&mut self, remote: SocketAddr) -> VecDeque<(Transmit, Vec<u8>)> {
        let at = self.others.iter().position(|path| path.remote == remote);
        let path = at.and_then(|at| self.others.remove(at));
        self.validated = remote;
        path.map_or_else(VecDeque::new, |path| path.held)
    }

    /// Returns the next datagram that may be sent, and puts its content into `out`. `poll` takes one from QUIC.
    /// `None` if there is none that may be sent.
    pub(super) fn next(
        &mut self,
        out: &mut Vec<u8>,
        mut poll: impl FnMut(&mut Vec<u8>) -> Option<QueuedTransmit>,
    ) -> Option<Transmit> {
        let released = self.others.iter_mut().find_map(|path| {
            let size = path.held.front()?.0.size;
            if path.may_send(size) { path.held.pop_front() } else { None }
        });
        if let Some((transmit, content)) = released {
            out.clear();
            out.extend_from_slice(&content);
            return Some(transmit);
        }
        loop {
            out.clear();
            let QueuedTransmit { transmit, probe } = poll(out)?;
            let remote = transmit.destination;
            if self.is_validated(remote) {
                return Some(transmit);
            }
            let current = remote == self.current;
            let path = self.path(remote);
            if current && !probe && path.counted.is_used_up() {
                let mut held = self.validate(remote);
                return Some(match held.pop_front() {
                    None => transmit,
                    Some((first, content)) => {
                        // In their order: no more than one was held back.
                        let last = std::mem::replace(out, content);
                        let mut path = UnvalidatedPath::new(remote);
                        // It is validated now, so that nothing keeps it.
                        path.received = u64::MAX / FACTOR;
                        path.held.push_back((transmit, last));
                        self.others.push_back(path);
                        first
                    }
                });
            }
            if current {
                path.counted.sent += transmit.size as u64;
            }
            if path.may_send(transmit.size) {
                return Some(transmit);
            }
            if current && !probe {
                let content = std::mem::take(out);
                path.held.push_back((transmit, content));
            }
            // A response to a challenge that came in a small datagram, or a probe: they are as good as lost.
        }
    }

    /// Forgets addresses that need no limit any more, once QUIC has nothing more to send. Those with datagrams held
    /// back stay.
    pub(super) fn settle(&mut self) {
        // Where QUIC has gone back to the validated address, the client may come again.
        let (current, validated) = (self.current, self.validated);
        self.others.retain(|path| {
            !path.held.is_empty()
                || path.remote.ip() != validated.ip()
                    && (path.remote == current || current.ip() == validated.ip())
        });
    }
}

/// Takes one datagram from QUIC and puts its content into `out`. `None` if QUIC has none.
pub(super) fn poll(quic: &mut quic::Connection, now: Instant, out: &mut Vec<u8>) -> Option<QueuedTransmit> {
    let probes = |quic: &quic::Connection| quic.stats().path.sent_plpmtud_probes;
    let before = probes(quic);
    let transmit = quic.poll_transmit(now, 1, out)?;
    Some(QueuedTransmit { transmit, probe: probes(quic) != before })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn address(number: u8) -> SocketAddr {
        ([192, 0, 2, number], 443).into()
    }

    /// A path as quinn-proto keeps it.
    #[derive(Default)]
    struct QuicPath {
        received: u64,
        sent: u64,
        validated: bool,
    }

    fn transmit(destination: SocketAddr, size: usize) -> Transmit {
        Transmit { destination, size, ecn: None, segment_size: None, src_ip: None }
    }

    proptest! {
        /// Whatever comes and goes on however many paths: no more than three times what came is sent before a path is validated, a
        /// path is taken for validated only if it is, and one that is gets all, in order.
        #[test]
        fn never_more_than_three_times_on_any_path(
            steps in proptest::collection::vec((0_u8..6, 1_u8..4, 1_usize..1500), 0..200),
        ) {
            let home = address(0);
            let mut paths = ClientPaths::new(home);
            let (mut current, mut model) = (home, QuicPath { validated: true, ..QuicPath::default() });
            // What came from and went to addresses that did not prove themselves, and those that did.
            let mut counts = [(0_u64, 0_u64); 5];
            let mut proved = [true, false, false, false, false];
            let (mut number, mut last) = (0_u64, 0_u64);
            for (step, who, bytes) in steps {
                let from = if step == 0 { current } else { address(who) };
                let index = |address: SocketAddr| match address { SocketAddr::V4(v4) => usize::from(v4.ip().octets()[3]), SocketAddr::V6(_) => 0 };
                match step {
                    0 | 1 => {
                        // A packet, which moves the connection to where it came from.
                        if from != current {
                            current = from;
                            model = QuicPath::default();
                        }
                        model.received += bytes as u64;
                        counts[index(from)].0 += bytes as u64;
                        paths.received(from, bytes, current);
                    }
                    2 => {
                        model.validated = true;
                        proved[index(current)] = true;
                    }
                    3 => {
                        // A challenge from elsewhere, whose response is padded.
                        counts[index(from)].0 += bytes as u64;
                        paths.received(from, bytes, current);
                        let mut asked = Some(QueuedTransmit { transmit: transmit(from, 1200), probe: false });
                        if from != current && let Some(sent) = paths.next(&mut Vec::new(), |_| asked.take()) {
                            counts[index(sent.destination)].1 += sent.size as u64;
                        }
                    }
                    _ => {
                        let mut left = 3;
                        let mut out = Vec::new();
                        while let Some(sent) = paths.next(&mut out, |out| {
                            let probe = step == 5;
                            let blocked = !model.validated && model.received * 3 < model.sent + 1;
                            if left == 0 || (blocked && !probe) {
                                return None;
                            }
                            left -= 1;
                            model.sent += 1400;
                            number += 1;
                            out.extend_from_slice(&number.to_be_bytes());
                            Some(QueuedTransmit { transmit: transmit(current, 1400), probe })
                        }) {
                            counts[index(sent.destination)].1 += sent.size as u64;
                            if let Ok(bytes) = <[u8; 8]>::try_from(&out[..]) {
                                let this = u64::from_be_bytes(bytes);
                                prop_assert!(this > last, "out of order");
                                last = this;
                            }
                        }
                        paths.settle();
                    }
                }
                for (at, (received, sent)) in counts.iter().enumerate() {
                    prop_assert!(proved[at] || *sent <= 3 * received, "{}: {} for {}", at, sent, received);
                }
                prop_assert!(proved[index(paths.validated)]);
            }
        }
    }
}
