//! Flood protection: a limit on HTTP/2 frames without useful work on one connection.
//!
//! PING, SETTINGS, PRIORITY, RST_STREAM, WINDOW_UPDATE, CONTINUATION, unknown frames and empty DATA each cost the proxy
//! work and the client nothing, and each has been used for a flood (CVE-2019-9511 to 9518, CVE-2023-44487,
//! CVE-2024-27316, CVE-2025-8671). One token bucket covers them all: each such frame takes tokens; time, received
//! content and sent data add tokens. Regular use of HTTP/2 never empties it.

/// The number of tokens that a frame without useful work takes.
const FRAME_COST: u64 = 64;
/// The number of tokens that the reset of a stream takes, for which a request had begun.
const RESET_COST: u64 = 4 * FRAME_COST;
/// The number of tokens that a request adds.
const REQUEST_CREDIT: u64 = 2 * FRAME_COST;
/// The number of sent bytes that add the tokens of one frame, since the client must open its windows again for them.
const SENT_PER_CREDIT: u64 = 2048;
/// The number of received content bytes that add the tokens of one frame. Payloads of other frames beyond as many bytes
/// cost as much more.
const RECEIVED_PER_CREDIT: u64 = 256;
/// The number of seconds in which time alone fills the whole bucket: a tenth of its size is added per second.
const REFILL_SECONDS: u64 = 10;

/// The length of the client preface in bytes (RFC 9113 §3.4).
const PREFACE_LEN: usize = 24;

/// The type of DATA frames (RFC 9113 §6.1).
const DATA: u8 = 0;
/// The type of HEADERS frames (RFC 9113 §6.2).
const HEADERS: u8 = 1;
/// The type of RST_STREAM frames (RFC 9113 §6.4).
const RST_STREAM: u8 = 3;
/// The flag PADDED of a frame (RFC 9113 §6.1).
const PADDED: u8 = 8;

/// The flood protection of one HTTP/2 connection: a token bucket, fed with the bytes that the client sends. Frames
/// without useful work take tokens. Requests, received content, sent bytes and time add them; time alone fills the
/// bucket in 10 s.
///
/// ```
/// use edge_http::flood::FloodMeter;
///
/// let mut meter = FloodMeter::new(100, 0);
/// meter.received(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 0);
/// let ping = [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
/// (0..100).for_each(|_| meter.received(&ping, 0));
/// assert!(!meter.is_flooded());
/// meter.received(&ping, 0);
/// assert!(meter.is_flooded());
/// ```
#[derive(Clone, Debug)]
pub struct FloodMeter {
    /// The number of tokens left. A frame costs [`FRAME_COST`].
    account: u64,
    /// The size of the bucket in tokens.
    most: u64,
    /// True once a frame cost more tokens than were left.
    flooded: bool,
    /// The time of the last refill in milliseconds.
    at: u64,
    /// The number of sent bytes that have not added a token yet.
    sent: u64,
    /// The state of the frame parser.
    reading: ParserState,
}

/// The state of the parser: the meaning of the next byte.
#[derive(Clone, Copy, Debug)]
enum ParserState {
    /// This number of payload bytes is skipped.
    Skip(usize),
    /// The frame header is incomplete: its bytes, and the number of those received.
    Head([u8; 9], usize),
    /// The next byte is the padding length of a padded DATA frame. Contains the length of the payload.
    Padding(usize),
}

impl FloodMeter {
    /// Creates a full bucket for `frames` frames without useful work. `now` is in milliseconds since any fixed moment.
    pub const fn new(frames: u32, now: u64) -> Self {
        let most = frames as u64 * FRAME_COST;
        Self {
            account: most,
            most,
            flooded: false,
            at: now,
            sent: 0,
            reading: ParserState::Skip(PREFACE_LEN),
        }
    }

    /// Returns whether a frame cost more tokens than were left, at any time so far. The connection must then be closed
    /// with ENHANCE_YOUR_CALM.
    pub const fn is_flooded(&self) -> bool {
        self.flooded
    }

    /// Adds tokens for bytes that were sent to the client.
    pub fn sent(&mut self, bytes: usize) {
        self.sent += bytes as u64;
        self.pay(self.sent * FRAME_COST / SENT_PER_CREDIT);
        self.sent %= SENT_PER_CREDIT / FRAME_COST;
    }

    /// Adds tokens, up to the size of the bucket.
    fn pay(&mut self, units: u64) {
        self.account = self.account.saturating_add(units).min(self.most);
    }

    /// Removes tokens. If there are too few, removes none and records that the limit was exceeded.
    fn take(&mut self, units: u64) {
        match self.account.checked_sub(units) {
            Some(left) => self.account = left,
            None => self.flooded = true,
        }
    }

    /// Parses bytes received from the client and takes or adds tokens for the frames in them. The bytes may be split at
    /// any point and begin with the client preface. `now` is in milliseconds since the same moment as in
    /// [`FloodMeter::new`].
    pub fn received(&mut self, mut bytes: &[u8], now: u64) {
        // A larger bucket refills faster, so that a higher limit allows a higher rate.
        self.pay(now.saturating_sub(self.at) * self.most / (1000 * REFILL_SECONDS));
        self.at = self.at.max(now);
        while !bytes.is_empty() {
            match &mut self.reading {
                ParserState::Skip(left) => {
                    let n = bytes.len().min(*left);
                    *left -= n;
                    bytes = &bytes[n..];
                    if *left == 0 {
                        self.reading = ParserState::Head([0; 9], 0);
                    }
                }
                ParserState::Head(head, filled) => {
                    let n = bytes.len().min(9 - *filled);
                    head[*filled..*filled + n].copy_from_slice(&bytes[..n]);
                    *filled += n;
                    bytes = &bytes[n..];
                    if *filled == 9 {
                        let head = *head;
                        self.frame(head);
                    }
                }
                ParserState::Padding(length) => {
                    let length = *length;
                    let content = (length - 1).saturating_sub(usize::from(bytes[0]));
                    bytes = &bytes[1..];
                    self.content(content);
                    self.skip(length - 1);
                }
            }
        }
    }

    /// Sets the state to skip the rest of a frame's payload, of which `length` bytes are left.
    fn skip(&mut self, length: usize) {
        self.reading = if length == 0 { ParserState::Head([0; 9], 0) } else { ParserState::Skip(length) };
    }

    /// Takes or adds the tokens of a frame with this header, and sets the state for its payload.
    fn frame(&mut self, head: [u8; 9]) {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let (kind, flags) = (head[3], head[4]);
        match kind {
            DATA if flags & PADDED != 0 && length > 0 => {
                self.reading = ParserState::Padding(length);
                return;
            }
            DATA => self.content(length),
            // A request allows the client to open windows for the response. The number of requests has limits of its
            // own.
            HEADERS => self.pay(REQUEST_CREDIT),
            RST_STREAM => self.take(RESET_COST),
            // A long payload costs more than a short one, such as SETTINGS with very many parameters.
            _ => self.take(
                FRAME_COST
                    + (length as u64).saturating_sub(RECEIVED_PER_CREDIT) * FRAME_COST / RECEIVED_PER_CREDIT,
            ),
        }
        self.skip(length);
    }

    /// Adds tokens for a DATA frame with `length` content bytes without padding, or takes those of a frame if it is
    /// empty.
    fn content(&mut self, length: usize) {
        if length == 0 {
            self.take(FRAME_COST);
        } else {
            self.pay(length as u64 * FRAME_COST / RECEIVED_PER_CREDIT);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        bytes.extend_from_slice(&[kind, flags, 0, 0, 0, 1]);
        bytes.extend_from_slice(payload);
        bytes
    }

    fn after_preface(limit: u32) -> FloodMeter {
        let mut meter = FloodMeter::new(limit, 0);
        meter.received(&[b'x'; PREFACE_LEN], 0);
        meter
    }

    /// Counts how many of these frames are accepted before the limit.
    fn allowed(bytes: &[u8]) -> usize {
        let mut meter = after_preface(1000);
        (0..100_000)
            .take_while(|_| {
                meter.received(bytes, 0);
                !meter.is_flooded()
            })
            .count()
    }

    #[test]
    fn long_frames_that_ask_for_nothing_cost_what_they_are_long() {
        // SETTINGS of 2,730 parameters, and an unknown frame as long.
        for kind in [4, 0x42] {
            let frames = allowed(&frame(kind, 0, &[0; 16_380]));
            assert!(frames <= 16, "{frames} of kind {kind}");
        }
        // As clients send them.
        assert!(allowed(&frame(4, 0, &[0; 36])) > 850);
    }

    #[test]
    fn each_kind_of_flood_is_one() {
        for (kind, flags, payload) in [
            (2, 0, &[0; 5][..]),
            (4, 0, b""),
            (4, 0, &[0, 4, 0, 1, 0, 0]),
            (6, 0, &[0; 8]),
            (8, 0, &[0, 0, 0, 1]),
            (9, 0, b""),
            (200, 0, b"x"),
            (DATA, 0, b""),
            (DATA, PADDED, &[4, 0, 0, 0, 0]),
        ] {
            assert_eq!(allowed(&frame(kind, flags, payload)), 1000, "{kind}");
        }
        assert_eq!(allowed(&frame(RST_STREAM, 0, &[0; 4])), 250);
        assert_eq!(allowed(&frame(HEADERS, 4, b"abc")), 100_000);
        assert_eq!(allowed(&frame(DATA, 0, b"a")), 100_000);
    }

    #[test]
    fn requests_pay_for_their_windows_but_not_for_being_taken_back() {
        let (ask, open, reset) =
            (frame(HEADERS, 5, b"abc"), frame(8, 0, &[0, 0, 0, 2]), frame(RST_STREAM, 0, &[0; 4]));
        let mut meter = after_preface(1000);
        for _ in 0..100_000 {
            meter.received(&[&ask[..], &open, &open].concat(), 0);
        }
        assert!(!meter.is_flooded());
        // The first request found the bucket full.
        assert_eq!(allowed(&[&ask[..], &reset].concat()), 499);
    }

    #[test]
    fn downloads_pay_for_their_windows() {
        // Each stream and the connection are opened again after 16 KiB at the latest.
        let mut meter = after_preface(1000);
        for _ in 0..100_000 {
            meter.sent(16 * 1024);
            meter.received(&frame(8, 0, &[0, 0, 64, 0]), 0);
            meter.received(&frame(8, 0, &[0, 0, 64, 0]), 0);
        }
        assert!(!meter.is_flooded());
    }

    #[test]
    fn time_pays_a_tenth_in_a_second() {
        let ping = frame(6, 0, &[0; 8]);
        let mut meter = after_preface(1000);
        for now in 0..100_000u64 {
            if now % 10 == 0 {
                meter.received(&ping, now);
            }
        }
        assert!(!meter.is_flooded());
        let mut meter = after_preface(1000);
        for now in 0..2000 {
            meter.received(&ping, now);
        }
        assert!(meter.is_flooded());
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_bytes_are_cut(
            frames in proptest::collection::vec((0u8..12, any::<u8>(), proptest::collection::vec(any::<u8>(), 0..40)), 0..60),
            cuts in proptest::collection::vec(1usize..30, 1..50),
        ) {
            let mut bytes = vec![b'x'; PREFACE_LEN];
            frames.iter().for_each(|(kind, flags, payload)| bytes.extend(frame(*kind, *flags, payload)));
            let mut whole = FloodMeter::new(20, 0);
            whole.received(&bytes, 0);
            let mut cut = FloodMeter::new(20, 0);
            let mut rest = &bytes[..];
            for n in cuts.iter().cycle() {
                let n = rest.len().min(*n);
                cut.received(&rest[..n], 0);
                rest = &rest[n..];
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!((cut.account, cut.flooded), (whole.account, whole.flooded));
        }
    }
}
