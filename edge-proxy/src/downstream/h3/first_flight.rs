//! The filter of first flights: Initial packets of unknown clients are parsed before QUIC processes them.
//!
//! A first flight is decrypted with the keys derived from the connection ID it chose (RFC 9001 §5.2), its ClientHello
//! is assembled, and its server name is looked up. Until the name is accepted no packet is sent and no connection
//! exists; the received datagrams are then passed to QUIC in their order.
//!
//! A ClientHello with post-quantum key shares takes two datagrams. If one is lost, the client learns that only from an
//! acknowledgement of the other; without one it waits for its first probe timeout of about a second. A part is passed
//! to QUIC, which acknowledges it, in two cases:
//!
//! - A part contains a whole server name that is served.
//! - The client is a returning client: a handshake for a served name was completed from its address recently. Its flow
//!   is passed if it is still incomplete after [`PATIENCE`], unless it contains a whole name that is not served, or the
//!   flow would get a Retry or be refused. This serves clients that split the name over both datagrams, such as ngtcp2
//!   and Chromium.
//!
//! A part of a name is not sufficient: acknowledgements would confirm guesses of such parts, so that a served name
//! could be found byte by byte.
//!
//! The server name of such a connection is checked again when its ClientHello is complete, before anything but
//! acknowledgements is sent. An unknown name ends the connection: without a packet, or with an alert if unknown names
//! are rejected by alerts.

use super::socket::Datagram;
use super::{DropReason, QuicLimits};
use edge_http::h3::client_hello::{self, MalformedHello};
use edge_http::h3::initial::{self, CryptoBuffer, LongPacketType};
use rustls::Side;
use rustls::quic::{DirectionalKeys, Suite, Version};
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// The highest number of datagrams of one incomplete first flight. A post-quantum ClientHello takes two, and its
/// retransmission two more.
const MAX_DATAGRAMS: usize = 10;

/// The highest number of possible server names that are taken from an incomplete ClientHello.
const MAX_NAMES: usize = 4;

/// The time for which a first flight of a returning client may be incomplete before its part is passed to QUIC. The
/// datagrams of one flight are sent together, so that at 0.5 Mbit/s the second arrives 20 ms after the first.
const PATIENCE: Duration = Duration::from_millis(20);

/// The identity of a first flight: its source address and its destination connection ID.
pub(super) type Flow = (SocketAddr, Box<[u8]>);

/// The state of a first flight.
enum FlowState {
    /// There is no verdict yet.
    Pending(Box<PendingFlow>),
    /// The flow was accepted, and QUIC processes it.
    Accepted,
    /// The flow was refused: its datagrams are dropped.
    Refused,
}

/// A first flight without a verdict: the keys of its Initial packets, the received part of its ClientHello, and its
/// datagrams.
struct PendingFlow {
    /// The keys by which the client's Initial packets are decrypted.
    keys: DirectionalKeys,
    /// The received part of the ClientHello.
    crypto: CryptoBuffer,
    /// The datagrams of the flow so far.
    datagrams: Vec<Datagram>,
    /// The number of bytes of the flow's datagrams.
    bytes: usize,
    /// The time of the first datagram.
    since: Instant,
    /// True if the flow is to be passed to QUIC when it is still incomplete after [`PATIENCE`].
    waits: bool,
}

/// The action for a datagram that was passed to the filter.
pub(super) enum FilterVerdict {
    /// Drop the datagram without a response, or wait for the rest of its flow. The reason is to be reported; `None` if
    /// there is nothing to report.
    Drop(Option<DropReason>),
    /// The datagram belongs to an accepted flow and is to be passed to QUIC.
    Pass(Datagram),
    /// The ClientHello is incomplete, and its received part contains these possible server names, at least one and at
    /// most [`MAX_NAMES`]. The flow stays pending.
    Part { flow: Flow, names: Vec<String> },
    /// The ClientHello is incomplete, and its received part contains no possible server name. The flow stays pending.
    Incomplete(Flow),
    /// The ClientHello is complete, and `sni` is its server name, `None` if it has none. The flow stays pending until
    /// [`FirstFlightFilter::accept`] or [`FirstFlightFilter::refuse`]. `datagrams` are all of the flow, in their
    /// order.
    Hello { flow: Flow, sni: Option<String>, datagrams: Vec<Datagram> },
}

/// The filter: the first flights that are pending, accepted or refused.
pub(super) struct FirstFlightFilter {
    /// The cipher suite of Initial packets. `None` if the library does not have it, so that no flow is accepted.
    suite: Option<Suite>,
    /// The state of each flow, by its source address and connection ID.
    flows: HashMap<Flow, FlowState>,
    /// The flows that were begun, with the time of their first datagram, the oldest first. Entries of flows that are
    /// no longer pending may remain.
    pending: VecDeque<(Instant, Flow)>,
    /// The number of pending flows. It can be less than the length of `pending`.
    pending_flows: usize,
    /// The flows of returning clients with the time from which they are passed if they are pending, the earliest first.
    /// Entries of flows that are no longer pending may remain until then.
    waiting: VecDeque<(Instant, Flow)>,
    /// The refused flows with the time of the refusal, the oldest first.
    refused: VecDeque<(Instant, Flow)>,
    /// The number of bytes of the datagrams of all pending flows.
    bytes: usize,
    /// The limits of the engine at its start.
    limits: QuicLimits,
    /// True if no further flows are begun.
    closed: bool,
}

impl FirstFlightFilter {
    /// Creates a filter without flows.
    pub(super) fn new(limits: QuicLimits) -> Self {
        let suite = rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
        Self {
            suite: suite.tls13().and_then(rustls::Tls13CipherSuite::quic_suite),
            flows: HashMap::new(),
            pending: VecDeque::new(),
            pending_flows: 0,
            waiting: VecDeque::new(),
            refused: VecDeque::new(),
            bytes: 0,
            limits,
            closed: false,
        }
    }

    /// Stops accepting further flows: their datagrams are dropped. Known flows are not affected.
    pub(super) const fn close(&mut self) {
        self.closed = true;
    }

    /// Returns whether the filter has a state for a flow: pending, accepted or refused.
    pub(super) fn is_known(&self, flow: &Flow) -> bool {
        self.flows.contains_key(flow)
    }

    /// Processes a datagram whose connection ID was not issued here, and returns what to do with it. A flow is begun
    /// only by an Initial packet of QUIC version 1 that can be decrypted, in a datagram of at least 1,200 bytes; it
    /// may displace the oldest pending flows. Further datagrams of the flow are added to it within the limits.
    pub(super) fn offer(&mut self, now: Instant, datagram: Datagram) -> FilterVerdict {
        let garbage = FilterVerdict::Drop(Some(DropReason::Garbage));
        let Some(header) = initial::long_header(&datagram.data) else { return garbage };
        if header.version != initial::VERSION_1 {
            // No version negotiation: it would reveal to an unknown client that a server is here.
            return FilterVerdict::Drop(Some(DropReason::Version));
        }
        // RFC 9000 §7.2: a client's first choice has at least 8 bytes.
        if header.destination.len() < 8
            || !matches!(header.kind, LongPacketType::Initial | LongPacketType::ZeroRtt)
        {
            return garbage;
        }
        let is_initial = header.kind == LongPacketType::Initial;
        if is_initial && datagram.data.len() < initial::MIN_DATAGRAM {
            return garbage;
        }
        let flow: Flow = (datagram.remote, header.destination.into());
        match self.flows.get_mut(&flow) {
            Some(FlowState::Accepted) => return FilterVerdict::Pass(datagram),
            Some(FlowState::Refused) => return FilterVerdict::Drop(None),
            Some(FlowState::Pending(pending)) => {
                let fits = pending.datagrams.len() < MAX_DATAGRAMS
                    && self.bytes + datagram.data.len() <= self.limits.pending_bytes;
                if !fits {
                    return FilterVerdict::Drop(Some(DropReason::Overload));
                }
            }
            None if self.closed => return FilterVerdict::Drop(None),
            None if is_initial => {
                let Some(suite) = self.suite else { return FilterVerdict::Drop(None) };
                let keys = suite.keys(&flow.1, Side::Server, Version::V1).remote;
                let mut crypto = CryptoBuffer::new();
                match read(&keys, &mut crypto, &datagram.data) {
                    Ok(true) => {}
                    // Nothing in it could be decrypted: noise is not remembered.
                    Ok(false) => return garbage,
                    Err(MalformedHello) => return self.malformed(now, flow),
                }
                self.make_room(datagram.data.len());
                let (datagrams, bytes, waits) = (Vec::new(), 0, false);
                let pending = PendingFlow { keys, crypto, datagrams, bytes, since: now, waits };
                self.flows.insert(flow.clone(), FlowState::Pending(Box::new(pending)));
                self.pending.push_back((now, flow.clone()));
                self.pending_flows += 1;
                return self.append(now, flow, datagram, false);
            }
            None => return garbage,
        }
        self.append(now, flow, datagram, is_initial)
    }

    /// Adds a datagram to a pending flow and parses the ClientHello as far as it has arrived. A malformed one refuses
    /// the flow. `unread` is true if the datagram's packets are not decrypted yet. Drops the datagram if the flow is
    /// not pending.
    fn append(&mut self, now: Instant, flow: Flow, datagram: Datagram, unread: bool) -> FilterVerdict {
        let Some(FlowState::Pending(pending)) = self.flows.get_mut(&flow) else {
            return FilterVerdict::Drop(None);
        };
        if unread && read(&pending.keys, &mut pending.crypto, &datagram.data).is_err() {
            return self.malformed(now, flow);
        }
        pending.bytes += datagram.data.len();
        self.bytes += datagram.data.len();
        pending.datagrams.push(datagram);
        match client_hello::parse(pending.crypto.contiguous()) {
            Err(MalformedHello) => self.malformed(now, flow),
            Ok(None) => {
                // The rest may be late or lost, which the client does not learn before something is acknowledged.
                let parts = pending.crypto.parts();
                let names: Vec<String> =
                    parts.flat_map(client_hello::names).take(MAX_NAMES).map(str::to_owned).collect();
                if names.is_empty() {
                    FilterVerdict::Incomplete(flow)
                } else {
                    FilterVerdict::Part { flow, names }
                }
            }
            Ok(Some(hello)) => {
                let sni = hello.sni.map(str::to_owned);
                let datagrams = std::mem::take(&mut pending.datagrams);
                FilterVerdict::Hello { flow, sni, datagrams }
            }
        }
    }

    /// Begins the wait of [`PATIENCE`] for the rest of a pending flow of a returning client. No effect if it has begun,
    /// or as many flows as may be pending wait already.
    pub(super) fn wait(&mut self, now: Instant, flow: Flow) {
        if let Some(FlowState::Pending(pending)) = self.flows.get_mut(&flow)
            && !pending.waits
            && self.waiting.len() < self.limits.pending_flows
        {
            pending.waits = true;
            self.waiting.push_back((now + PATIENCE, flow));
        }
    }

    /// Ends the wait for the rest of a pending flow, whose received part was not accepted: it is not passed before its
    /// ClientHello is complete, or another wait of [`FirstFlightFilter::wait`] is over.
    pub(super) fn stop_waiting(&mut self, flow: &Flow) {
        if let Some(FlowState::Pending(pending)) = self.flows.get_mut(flow) {
            pending.waits = false;
        }
    }

    /// Returns the time from which [`FirstFlightFilter::next_overdue`] may return a flow. `None` if no flow waits.
    pub(super) fn next_wait(&self) -> Option<Instant> {
        self.waiting.front().map(|(until, _)| *until)
    }

    /// Removes and returns a pending flow whose wait ended at `now` or earlier. `None` if there is none.
    pub(super) fn next_overdue(&mut self, now: Instant) -> Option<Flow> {
        while let Some((_, flow)) = self.waiting.pop_front_if(|(until, _)| *until <= now) {
            if matches!(self.flows.get(&flow), Some(FlowState::Pending(pending)) if pending.waits) {
                return Some(flow);
            }
        }
        None
    }

    /// Takes the datagrams of a pending flow that is to be passed though its ClientHello is incomplete. The flow stays
    /// pending until [`FirstFlightFilter::accept`] or [`FirstFlightFilter::refuse`]. Empty for other flows.
    pub(super) fn take(&mut self, flow: &Flow) -> Vec<Datagram> {
        match self.flows.get_mut(flow) {
            Some(FlowState::Pending(pending)) => std::mem::take(&mut pending.datagrams),
            _ => Vec::new(),
        }
    }

    /// Refuses a flow whose ClientHello is malformed, and returns the verdict to drop its datagram for that reason.
    fn malformed(&mut self, now: Instant, flow: Flow) -> FilterVerdict {
        self.refuse(now, flow);
        FilterVerdict::Drop(Some(DropReason::Malformed))
    }

    /// Accepts a flow: its further datagrams pass until [`FirstFlightFilter::forget`] is called.
    pub(super) fn accept(&mut self, flow: Flow) {
        self.set_verdict(flow, FlowState::Accepted);
    }

    /// Refuses a flow. Its further datagrams are dropped until [`FirstFlightFilter::sweep`] forgets it, or until more
    /// than four times the limit of pending flows are refused and it is the oldest.
    pub(super) fn refuse(&mut self, now: Instant, flow: Flow) {
        self.set_verdict(flow.clone(), FlowState::Refused);
        self.refused.push_back((now, flow));
        if self.refused.len() > 4 * self.limits.pending_flows
            && let Some((_, oldest)) = self.refused.pop_front()
        {
            self.forget_if(&oldest, |state| matches!(state, FlowState::Refused));
        }
    }

    /// Sets the state of a flow. If it was pending, releases its datagrams and removes it from the counts.
    fn set_verdict(&mut self, flow: Flow, state: FlowState) {
        if let Some(before) = self.flows.insert(flow, state) {
            self.count_out(&before);
        }
    }

    /// Removes a pending flow without a verdict, so that its next datagram begins a new one. No effect for other
    /// flows.
    pub(super) fn release(&mut self, flow: &Flow) {
        self.forget_if(flow, |state| matches!(state, FlowState::Pending(_)));
    }

    /// Removes an accepted flow whose connection has ended. No effect for other flows.
    pub(super) fn forget(&mut self, flow: &Flow) {
        self.forget_if(flow, |state| matches!(state, FlowState::Accepted));
    }

    /// Removes a flow if `which` returns true for its state. Returns whether it was removed.
    fn forget_if(&mut self, flow: &Flow, which: impl Fn(&FlowState) -> bool) -> bool {
        let found = self.flows.get(flow).is_some_and(which);
        if found && let Some(before) = self.flows.remove(flow) {
            self.count_out(&before);
        }
        found
    }

    /// Subtracts a flow with this former state from the counts of pending flows and bytes. No effect if it was not
    /// pending.
    fn count_out(&mut self, state: &FlowState) {
        if let FlowState::Pending(pending) = state {
            self.bytes -= pending.bytes;
            self.pending_flows -= 1;
        }
    }

    /// Forgets the flow of an entry of the queue of pending flows, which began at `since`. No effect if the flow has
    /// had a verdict since, or was begun anew later.
    fn forget_pending(&mut self, since: Instant, flow: &Flow) {
        let same = |state: &FlowState| matches!(state, FlowState::Pending(one) if one.since == since);
        self.forget_if(flow, same);
    }

    /// Removes the oldest pending flows until one more with this many bytes is within the limits, or none is left.
    fn make_room(&mut self, bytes: usize) {
        while self.pending_flows >= self.limits.pending_flows
            || self.bytes + bytes > self.limits.pending_bytes
        {
            let Some((since, oldest)) = self.pending.pop_front() else { return };
            self.forget_pending(since, &oldest);
        }
        // Entries of flows with a verdict are no more than as many again.
        if self.pending.len() > 2 * self.limits.pending_flows {
            let flows = &self.flows;
            self.pending.retain(
                |(since, flow)| matches!(flows.get(flow), Some(FlowState::Pending(one)) if one.since == *since),
            );
        }
    }

    /// Removes the flows that have been pending for longer than the limit, or refused for twice as long.
    pub(super) fn sweep(&mut self, now: Instant) {
        let over = |queue: &mut VecDeque<(Instant, Flow)>, limit| {
            queue.pop_front_if(|(since, _)| now.saturating_duration_since(*since) > limit)
        };
        while let Some((since, flow)) = over(&mut self.pending, self.limits.pending_time) {
            self.forget_pending(since, &flow);
        }
        while let Some((_, flow)) = over(&mut self.refused, self.limits.pending_time * 2) {
            self.forget_if(&flow, |state| matches!(state, FlowState::Refused));
        }
    }
}

/// Decrypts the Initial packets in a datagram and adds their CRYPTO frames to `crypto`. Packets that cannot be
/// decrypted are skipped. Returns false if none could be.
///
/// # Errors
/// [`MalformedHello`] if a packet has malformed frames.
fn read(keys: &DirectionalKeys, crypto: &mut CryptoBuffer, datagram: &[u8]) -> Result<bool, MalformedHello> {
    let mut any = false;
    let mut rest = datagram;
    while let Some(header) = initial::long_header(rest)
        && let Some((number_at, end)) = header.extent(rest)
    {
        let (packet, after) = rest.split_at(end);
        rest = after;
        if header.kind == LongPacketType::Initial
            && let Some(payload) = decrypt(keys, &mut packet.to_vec(), number_at)
        {
            any = true;
            crypto.take_frames(payload)?;
        }
    }
    Ok(any)
}

/// Removes header protection and packet protection of an Initial packet in place (RFC 9001 §5.3, §5.4), and returns its
/// frames. `number_at` is the offset of the packet number. `None` if the packet is too short or not authentic.
fn decrypt<'a>(keys: &DirectionalKeys, packet: &'a mut [u8], number_at: usize) -> Option<&'a [u8]> {
    let sample_len = keys.header.sample_len();
    let sample: Vec<u8> = packet.get(number_at + 4..number_at + 4 + sample_len)?.to_vec();
    let (head, number) = packet[..number_at + 4].split_at_mut(number_at);
    keys.header.decrypt_in_place(&sample, head.first_mut()?, number).ok()?;
    let number_len = usize::from(head[0] & 3) + 1;
    // Only the first few packets of a connection are decrypted here, so their numbers are not truncated.
    let number = number[..number_len].iter().fold(0u64, |number, b| number << 8 | u64::from(*b));
    let (head, payload) = packet.split_at_mut(number_at + number_len);
    keys.packet.decrypt_in_place(number, head, payload).ok()
}
