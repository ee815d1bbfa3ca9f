//! The periodic checks of a connection: aborted requests, deadlines, and the address of the client.

use super::super::engine_state::EngineState;
use super::super::paths::ClientPaths;
use super::super::requests::RequestSlot;
use super::QuicConnection;
use crate::deadline::FIRST_REQUEST_GRACE;
use edge_http::h3::Code;
use quinn_proto::StreamId;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// The interval of PINGs while requests are in flight: a NAT or firewall may forget a silent connection, and QUIC's
/// idle timeout does not take account of waiting requests.
const PING_INTERVAL: Duration = Duration::from_secs(15);

impl QuicConnection {
    /// Counts an aborted request, at most once per stream. Before that, the count decreases by the tolerated number
    /// for each full second since its last decrease. Closes the connection with H3_EXCESSIVE_LOAD if the count exceeds
    /// the limit, because a flood of aborted requests is an attack on the upstream (CVE-2023-44487).
    pub(in super::super) fn count_aborted(&mut self, shared: &EngineState, id: StreamId) {
        if let Some(slot) = self.slots.get_mut(&id)
            && std::mem::replace(&mut slot.counted, true)
        {
            return;
        }
        let (now, limits) = (shared.now.get(), shared.limits());
        let seconds = now.saturating_duration_since(self.forgiven).as_secs().min(u64::from(u32::MAX)) as u32;
        if seconds > 0 {
            self.forgiven = now;
            self.aborted = self.aborted.saturating_sub(seconds.saturating_mul(limits.resets_per_second));
        }
        self.aborted += 1;
        if self.aborted > limits.resets {
            self.close(shared, Code::H3_EXCESSIVE_LOAD);
        }
    }

    /// Closes the connection with H3_NO_ERROR if its handshake takes too long, rejects requests whose heads do with
    /// H3_REQUEST_INCOMPLETE, and sends a PING if the last one was [`PING_INTERVAL`] ago and requests are in flight.
    pub(in super::super) fn sweep(&mut self, shared: &EngineState) {
        let now = shared.now.get();
        if self.quic.is_handshaking() && now.saturating_duration_since(self.since) > shared.limits().handshake
        {
            self.close(shared, Code::H3_NO_ERROR);
        }
        if !self.slots.is_empty() && now.saturating_duration_since(self.pinged) >= PING_INTERVAL {
            self.pinged = now;
            self.quic.ping();
        }
        if self.heads == 0 {
            return;
        }
        let late = |slot: &RequestSlot| {
            let head = slot.head.as_ref()?;
            Some(now.saturating_duration_since(head.1) > shared.limits().head)
        };
        let ids: Vec<StreamId> =
            self.slots.iter().filter(|(_, slot)| late(slot) == Some(true)).map(|(id, _)| *id).collect();
        for id in ids {
            self.refused.too_slow += 1;
            self.refuse(id, Code::H3_REQUEST_INCOMPLETE);
        }
    }

    /// Returns whether the handshake was completed, which proves that the client receives at its address.
    pub(in super::super) const fn is_connected(&self) -> bool {
        self.connected.is_some()
    }

    /// Returns whether no request is in flight and all output of responses has been acknowledged.
    pub(in super::super) fn is_idle(&mut self) -> bool {
        // This side's control stream is always there.
        self.slots.is_empty() && self.quic.streams().send_streams() <= 1
    }

    /// Returns whether the client has opened a request stream.
    pub(in super::super) const fn had_request(&self) -> bool {
        self.next_request > 0
    }

    /// Returns whether a client that could not know of a shutdown may still send its first request: it has sent none,
    /// and the handshake is incomplete or was completed less than [`FIRST_REQUEST_GRACE`] ago.
    pub(in super::super) fn awaits_first_request(&self, now: Instant) -> bool {
        let fresh = |at: Instant| now.saturating_duration_since(at) < FIRST_REQUEST_GRACE;
        !self.had_request() && (self.quic.is_handshaking() || self.connected.is_some_and(fresh))
    }

    /// Returns the client's address that policy and logs use. It is validated once the handshake is complete.
    pub(in super::super) const fn peer(&self) -> SocketAddr {
        self.peer.address()
    }

    /// Adopts a new address of the client, as [`PeerAddress::follow`], if its IP address is the one of `paths` that was
    /// validated. QUIC uses an address before that; policy and logs must not.
    pub(in super::super) fn follow_address(&mut self, now: Instant, paths: &ClientPaths) {
        let current = self.quic.remote_address();
        self.peer.follow(now, current, paths.is_validated(current));
    }
}
