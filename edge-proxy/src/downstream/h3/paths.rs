//! The limit on the bytes that are sent to the addresses of a client after its handshake (RFC 9000 §8.1, §8.2, §9.3),
//! exact to the byte.
//!
//! One address is validated: that of the handshake, or a later one that was validated by a response to a challenge. To
//! any other address, at most three times the bytes received from it are sent. That limits what is sent on the new path
//! of a client that has moved, and the responses to challenges from further addresses, which quinn-proto pads
//! regardless of the limit.
//!
//! Another port of the same IP address counts as the same address: a NAT assigns one to a client that was idle, packets
//! sent there reach the host that was validated, and a client that only acknowledges would never send enough for a
//! first datagram. quinn-proto's own limit applies, which permits one datagram more.
//!
//! quinn-proto validates a path by the response to its challenge, and does not report it. Before each datagram it
//! checks whether the limit of the path is reached, but not whether the datagram would exceed it. A datagram that would
//! is held back here; and if quinn-proto produces another one although its own limit is reached, it has validated the
//! path.

use quinn_proto as quic;
use quinn_proto::Transmit;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Instant;

/// The number of bytes that may be sent to an address that is not validated for each byte received from it.
const FACTOR: u64 = 3;

/// The highest number of addresses without validation that are remembered. Datagrams held back for a forgotten address
/// are lost.
const MAX_UNVALIDATED: usize = 4;

/// The addresses of a connection's client: the validated one, the one in use, and those that are not validated.
#[derive(Debug)]
pub(super) struct ClientPaths {
    /// The address that was validated last.
    validated: SocketAddr,
    /// The address that QUIC sends to.
    current: SocketAddr,
    /// The addresses that are not validated, at most [`MAX_UNVALIDATED`] and one, the oldest first.
    others: VecDeque<UnvalidatedPath>,
}

/// An address that is not validated, with its byte counts and the datagrams held back for it.
#[derive(Debug)]
struct UnvalidatedPath {
    /// The address of the client.
    remote: SocketAddr,
    /// The number of bytes received from the address.
    received: u64,
    /// The number of bytes sent to the address.
    sent: u64,
    /// The byte counts that quinn-proto has for this path since the client moved to it.
    counted: PathBytes,
    /// The datagram that would exceed the limit, with its content, and once the address is validated the one behind it.
    held: VecDeque<(Transmit, Vec<u8>)>,
}

/// The byte counts of a path in quinn-proto.
#[derive(Clone, Copy, Debug, Default)]
struct PathBytes {
    /// The number of bytes received.
    received: u64,
    /// The number of bytes sent.
    sent: u64,
}

impl PathBytes {
    /// Returns whether quinn-proto has reached its limit on an unvalidated path with these counts, so that it sends no
    /// further datagram before the path is validated.
    const fn is_used_up(self) -> bool {
        self.received.saturating_mul(FACTOR) < self.sent + 1
    }
}

impl UnvalidatedPath {
    /// Creates the record of an address without traffic.
    const fn new(remote: SocketAddr) -> Self {
        let counted = PathBytes { received: 0, sent: 0 };
        Self { remote, received: 0, sent: 0, counted, held: VecDeque::new() }
    }

    /// Returns true if a datagram of this many bytes may be sent within the limit. It is then counted as sent.
    const fn may_send(&mut self, bytes: usize) -> bool {
        let sent = self.sent + bytes as u64;
        let may = sent <= self.received.saturating_mul(FACTOR);
        if may {
            self.sent = sent;
        }
        may
    }
}

/// A datagram that QUIC has produced and that is not sent yet.
pub(super) struct QueuedTransmit {
    /// The destination and length of the datagram.
    pub(super) transmit: Transmit,
    /// True if the datagram probes for a larger MTU, which quinn-proto also sends on paths that are not validated.
    pub(super) probe: bool,
}

impl ClientPaths {
    /// Creates the paths of a client whose first address was validated.
    pub(super) const fn new(validated: SocketAddr) -> Self {
        Self { validated, current: validated, others: VecDeque::new() }
    }

    /// Returns whether the IP address in use is validated and there is no record of any other address.
    pub(super) fn is_settled(&self) -> bool {
        self.others.is_empty() && self.is_validated(self.current)
    }

    /// Returns whether this address has the IP address that was validated; the port does not matter.
    pub(super) fn is_validated(&self, remote: SocketAddr) -> bool {
        remote.ip() == self.validated.ip()
    }

    /// Counts a datagram of `bytes` bytes from `remote`. `current` is the address that QUIC sends to afterwards. A
    /// datagram from the validated IP address, if QUIC sends to `remote`, discards the records of all other addresses.
    /// A move to an address that is not validated discards the datagrams held back for it.
    pub(super) fn received(&mut self, remote: SocketAddr, bytes: usize, current: SocketAddr) {
        let moved = self.set_current(current);
        if remote == current && self.is_validated(remote) {
            // The client is back: the other addresses were not its own, or it left them.
            self.others.clear();
            return;
        }
        if !self.is_validated(remote) {
            self.path(remote).received += bytes as u64;
        }
        if !self.is_validated(current) {
            let path = self.path(current);
            if moved {
                path.counted = PathBytes::default();
                path.held.clear();
            }
            // quinn-proto counts datagrams of every address for the path in use. Without them, what it sends for them
            // would be taken for a proof.
            path.counted.received += bytes as u64;
        }
    }

    /// Sets the address that QUIC sends to. Returns true if it has changed. Must be called whenever QUIC may have gone
    /// back to an earlier address, because the counts of QUIC begin anew when it leaves that again.
    pub(super) fn set_current(&mut self, current: SocketAddr) -> bool {
        std::mem::replace(&mut self.current, current) != current
    }

    /// Returns the record of an address that is not validated, and creates it if necessary. If there are
    /// [`MAX_UNVALIDATED`] already, the oldest that is not in use is removed for it.
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

    /// Makes an address the validated one, removes its record, and returns the datagrams that were held back for it.
    fn validate(&mut self, remote: SocketAddr) -> VecDeque<(Transmit, Vec<u8>)> {
        let at = self.others.iter().position(|path| path.remote == remote);
        let path = at.and_then(|at| self.others.remove(at));
        self.validated = remote;
        path.map_or_else(VecDeque::new, |path| path.held)
    }

    /// Returns the next datagram that may be sent, and puts its content into `out`: one that was held back, or one
    /// that `poll` takes from QUIC. A datagram that exceeds the limit of its address is held back if QUIC sends to
    /// that address, none is held back for it and the datagram is no MTU probe, else discarded. If QUIC sends although
    /// its own limit is reached, the address becomes the validated one. `None` if QUIC has no datagram that may be sent.
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
                        // The order is kept: no more than one datagram was held back.
                        let last = std::mem::replace(out, content);
                        let mut path = UnvalidatedPath::new(remote);
                        // The address is validated now, so the limit is removed.
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
            if current && !probe && path.held.is_empty() {
                let content = std::mem::take(out);
                path.held.push_back((transmit, content));
            }
            // A response to a challenge in a small datagram, a probe, or what QUIC sends because of datagrams from
            // elsewhere is discarded as if it were lost.
        }
    }

    /// Removes the records of addresses that need no limit any more. Must be called when QUIC has nothing more to
    /// send. Addresses with datagrams held back are kept, and unvalidated ones if they are in use or QUIC is back at
    /// the validated address.
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

/// Takes one datagram from QUIC and puts its content into `out`, and determines whether it is an MTU probe. `None` if
/// QUIC has nothing to send.
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

    #[test]
    fn s37_datagrams_from_elsewhere_prove_no_address() {
        let [home, forged] = [address(0), address(1)];
        let mut paths = ClientPaths::new(home);
        let mut path = QuicPath { received: 100, ..QuicPath::default() };
        // It moves the connection there, and goes on sending from where it is what does not move it back.
        paths.received(forged, 100, forged);
        let mut sent = 0;
        for _ in 0..100 {
            paths.received(home, 1000, forged);
            path.received += 1000;
            while let Some(datagram) = paths.next(&mut Vec::new(), |_| {
                if path.received * 3 < path.sent + 1 {
                    return None;
                }
                path.sent += 1200;
                Some(QueuedTransmit { transmit: transmit(forged, 1200), probe: false })
            }) {
                sent += datagram.size;
            }
            paths.settle();
            assert!(!paths.is_validated(forged));
        }
        assert!(path.sent > 100_000 && sent <= 300, "{sent} bytes");
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
                        // A challenge from elsewhere, whose response is padded. It may also come from the first address.
                        let from = address(who - 1);
                        model.received += bytes as u64;
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
