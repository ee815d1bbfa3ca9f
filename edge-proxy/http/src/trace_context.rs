//! W3C Trace Context: the identity of a trace across services, and the decision whether its spans are kept.
//!
//! ```text
//! traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01
//!              │  trace                            span             flags: 1 sampled, 2 random
//!              version
//! ```
//!
//! Parsing and sampling, without I/O: [`received`] reads the context of a trusted proxy, [`Sampler`] decides whether a
//! trace is kept, and [`TraceContext`] is propagated. The source is <https://www.w3.org/TR/trace-context-2/>.

use crate::{Fields, Name};
use std::fmt;

/// The highest number of members in `tracestate` (§3.3.1.1). More make it invalid.
pub const MAX_MEMBERS: usize = 32;
/// The highest number of bytes of `tracestate` that are propagated, which is the required minimum (§3.3.1.5).
pub const MAX_STATE: usize = 512;
/// The length in bytes above which members of `tracestate` are dropped first if it is too long (§3.3.1.5).
const LONG_MEMBER: usize = 128;
/// The length of a `traceparent` of version 00 in bytes.
const TRACEPARENT_LEN: usize = 55;

/// A trace ID: 16 bytes, not all zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId([u8; 16]);

/// A span ID: 8 bytes, not all zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId([u8; 8]);

impl TraceId {
    /// Creates an ID. `None` if all bytes are zero, which is invalid.
    pub const fn new(bytes: [u8; 16]) -> Option<Self> {
        if u128::from_be_bytes(bytes) == 0 { None } else { Some(Self(bytes)) }
    }

    /// Creates an ID from two random numbers: its upper and its lower half. Zero, which is invalid, becomes 1.
    pub const fn of(high: u64, low: u64) -> Self {
        let whole = ((high as u128) << 64) | low as u128;
        Self(if whole == 0 { 1u128.to_be_bytes() } else { whole.to_be_bytes() })
    }

    /// Returns the bytes in network order.
    pub const fn bytes(self) -> [u8; 16] {
        self.0
    }

    /// Returns the 56 random bits of the ID (§3.2.2.3.1), by which traces are sampled.
    const fn randomness(self) -> u64 {
        (u128::from_be_bytes(self.0) as u64) & ((1 << 56) - 1)
    }
}

impl SpanId {
    /// Creates an ID. `None` if all bytes are zero, which is invalid.
    pub const fn new(bytes: [u8; 8]) -> Option<Self> {
        if u64::from_be_bytes(bytes) == 0 { None } else { Some(Self(bytes)) }
    }

    /// Creates an ID from a random number. Zero, which is invalid, becomes 1.
    pub const fn of(number: u64) -> Self {
        Self(if number == 0 { 1u64.to_be_bytes() } else { number.to_be_bytes() })
    }

    /// Returns the bytes in network order.
    pub const fn bytes(self) -> [u8; 8] {
        self.0
    }
}

/// Formats as 32 lower-case hexadecimal digits.
impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// Formats as 16 lower-case hexadecimal digits.
impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The trace context of a request or a span, as in the field `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceContext {
    /// The trace ID.
    pub trace: TraceId,
    /// The span ID of the caller (`parent-id`).
    pub span: SpanId,
    /// True if the caller may have recorded trace data (the flag `sampled`).
    pub sampled: bool,
    /// True if at least 56 bits of the trace ID are random (the flag `random-trace-id`).
    pub random: bool,
}

/// The error for a value that is not a valid `traceparent`. A new trace must then begin (§3.2.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a valid traceparent: expected 00-TRACE-SPAN-FLAGS in lower-case hexadecimal digits")]
pub struct InvalidTraceparent;

impl TraceContext {
    /// Parses the value of `traceparent`. A version above 00 is parsed as version 00, as the standard requires; ff is
    /// invalid.
    ///
    /// # Errors
    /// [`InvalidTraceparent`] if the value is malformed or an ID is zero.
    pub fn parse(value: &[u8]) -> Result<Self, InvalidTraceparent> {
        let head = value.get(..TRACEPARENT_LEN).ok_or(InvalidTraceparent)?;
        let [version] = decode_hex::<1>(&head[..2]).ok_or(InvalidTraceparent)?;
        // Later versions may append more after another dash.
        let ends = match version {
            0 => value.len() == TRACEPARENT_LEN,
            0xff => false,
            _ => value.get(TRACEPARENT_LEN).is_none_or(|next| *next == b'-'),
        };
        if !ends || head[2] != b'-' || head[35] != b'-' || head[52] != b'-' {
            return Err(InvalidTraceparent);
        }
        let trace = decode_hex(&head[3..35]).and_then(TraceId::new).ok_or(InvalidTraceparent)?;
        let span = decode_hex(&head[36..52]).and_then(SpanId::new).ok_or(InvalidTraceparent)?;
        let [flags] = decode_hex::<1>(&head[53..]).ok_or(InvalidTraceparent)?;
        Ok(Self { trace, span, sampled: flags & 1 != 0, random: flags & 2 != 0 })
    }

    /// Returns the trace flags as a byte: 1 for `sampled`, 2 for `random`. Other bits are zero (§3.2.2.3).
    pub const fn flags(self) -> u8 {
        self.sampled as u8 | (self.random as u8) << 1
    }

    /// Returns the value of `traceparent` in version 00.
    pub fn to_bytes(self) -> [u8; TRACEPARENT_LEN] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut value = *b"00-00000000000000000000000000000000-0000000000000000-00";
        let mut write = |at: usize, bytes: &[u8]| {
            for (pair, byte) in value[at..].chunks_exact_mut(2).zip(bytes) {
                pair[0] = DIGITS[usize::from(byte >> 4)];
                pair[1] = DIGITS[usize::from(byte & 15)];
            }
        };
        write(3, &self.trace.0);
        write(36, &self.span.0);
        write(53, &[self.flags()]);
        value
    }
}

/// Decodes `2 * N` lower-case hexadecimal digits. `None` if one of them is another character. If there are fewer, the
/// remaining bytes are zero.
fn decode_hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let digit = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

/// Returns the trace context in the fields of a request from a trusted proxy: `traceparent`, and `tracestate` as it is
/// propagated. `None` if `traceparent` is missing, repeated or invalid; a new trace then begins, and `tracestate` is
/// ignored. The state is empty if `tracestate` is missing or invalid.
///
/// ```
/// use edge_http::{Fields, trace_context::received};
///
/// let mut fields = Fields::new();
/// fields.push(b"traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
/// fields.push(b"tracestate", b"a=1, b=2");
/// let (context, state) = received(&fields).unwrap();
/// assert!(context.sampled && state == b"a=1,b=2");
/// fields.push(b"traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00");
/// assert_eq!(received(&fields), None);
/// ```
pub fn received(fields: &Fields) -> Option<(TraceContext, Vec<u8>)> {
    let mut parents = fields.all(Name::Traceparent);
    let context = TraceContext::parse(parents.next()?).ok()?;
    if parents.next().is_some() {
        return None;
    }
    Some((context, state(fields.all(Name::Tracestate)).unwrap_or_default()))
}

/// Returns the members of all `tracestate` fields as they are propagated: without whitespace and empty members, in at
/// most [`MAX_STATE`] bytes. Members of more than 128 bytes are dropped first, then the last ones. `None` if a member
/// is malformed, a key is repeated, or there are more than [`MAX_MEMBERS`].
pub fn state<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Option<Vec<u8>> {
    let mut members: Vec<&[u8]> = Vec::new();
    for member in values.into_iter().flat_map(|value| value.split(|byte| *byte == b',')) {
        let member = crate::grammar::trim(member);
        if member.is_empty() {
            continue;
        }
        let key = key(member)?;
        if members.len() == MAX_MEMBERS || members.iter().any(|other| self::key(other) == Some(key)) {
            return None;
        }
        members.push(member);
    }
    let length = |members: &[&[u8]]| members.iter().map(|member| member.len() + 1).sum::<usize>();
    // Long members are dropped first, from the end, then the last ones.
    while length(&members) > MAX_STATE + 1 {
        let long = members.iter().rposition(|member| member.len() > LONG_MEMBER);
        members.remove(long.unwrap_or(members.len() - 1));
    }
    Some(members.join(&b','))
}

/// Returns the key of a member of `tracestate`. `None` if the member is malformed (§3.3.1.3).
fn key(member: &[u8]) -> Option<&[u8]> {
    let at = member.iter().position(|byte| *byte == b'=')?;
    let (key, value) = (&member[..at], &member[at + 1..]);
    let begins = key.first().is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let goes_on = key.iter().all(|byte| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-' | b'*' | b'/' | b'@')
    });
    // Surrounding whitespace is already removed, and commas end the member.
    let valued = value.iter().all(|byte| matches!(byte, b' '..=b'~') && *byte != b'=');
    (begins && goes_on && key.len() <= 256 && valued && (1..=256).contains(&value.len())).then_some(key)
}

/// A sampler: it keeps the traces that a trusted proxy sampled, and a share of those that begin here.
///
/// ```
/// use edge_http::trace_context::{Sampler, TraceId};
///
/// let half = Sampler::new(0.5).unwrap();
/// assert!(half.keeps(None, TraceId::of(0, u64::MAX)));
/// assert!(!half.keeps(None, TraceId::of(0, 1)));
/// assert!(Sampler::new(1.1).is_none());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sampler {
    /// The randomness of a trace ID, a number of 56 bits, below which a trace is not kept.
    rejected: u64,
}

impl Sampler {
    /// Creates a sampler that keeps this share of the traces that begin here, 0 to 1. `None` if `share` is out of range
    /// or not a number.
    pub fn new(share: f64) -> Option<Self> {
        const ALL: f64 = (1u64 << 56) as f64;
        (0.0..=1.0).contains(&share).then(|| Self { rejected: ((1.0 - share) * ALL).round() as u64 })
    }

    /// Returns whether a trace is kept. If a trusted proxy sent a context, `parent`, its `sampled` flag decides.
    /// Otherwise the decision depends on the trace ID and the share only, so all proxies with the same share agree.
    pub const fn keeps(self, parent: Option<TraceContext>, trace: TraceId) -> bool {
        match parent {
            Some(parent) => parent.sampled,
            None => trace.randomness() >= self.rejected,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: &[u8] = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn what_is_a_traceparent() {
        assert_eq!(TraceContext::parse(GOOD).unwrap().to_bytes(), GOOD);
        let later = |rest: &[u8]| [&b"cc"[..], &GOOD[2..], rest].concat();
        assert!(TraceContext::parse(&later(b"")).is_ok() && TraceContext::parse(&later(b"-what")).is_ok());
        let wrong: [&[u8]; 11] = [
            b"",
            &GOOD[..54],
            b"ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            b"00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            b"00-00000000000000000000000000000000-b7ad6b7169203331-01",
            b"00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0x",
            b"00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-",
            b"cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01x",
            b"0g-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ];
        for value in wrong {
            assert_eq!(TraceContext::parse(value), Err(InvalidTraceparent), "{}", value.escape_ascii());
        }
    }

    #[test]
    fn what_is_a_tracestate() {
        let whole = |values: &[&str]| {
            state(values.iter().map(|value| value.as_bytes())).map(|state| String::from_utf8(state).unwrap())
        };
        assert_eq!(whole(&["a=1 ,\tb=2,,", "t@v=x y"]).as_deref(), Some("a=1,b=2,t@v=x y"));
        for wrong in ["a", "=1", "A=1", "a=1,a=2", "a=", "a=b=c", "a=\u{7f}", "a b=1"] {
            assert_eq!(whole(&[wrong]), None, "{wrong}");
        }
        let many = (0..33).map(|at| format!("k{at}=v")).collect::<Vec<_>>();
        assert!(whole(&[&many[..32].join(",")]).is_some());
        assert_eq!(whole(&[&many.join(",")]), None);
        // Long members are dropped first.
        let long = format!("a={},b={},c={}", "x".repeat(200), "y".repeat(100), "z".repeat(250));
        assert_eq!(whole(&[&long]).unwrap(), format!("a={},b={}", "x".repeat(200), "y".repeat(100)));
    }

    #[test]
    fn a_share_is_kept() {
        let numbers = |at: u64| at.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for (share, low, high) in [(0.0, 0, 0), (0.25, 2300, 2700), (1.0, 10_000, 10_000)] {
            let sampling = Sampler::new(share).unwrap();
            let kept = (0..10_000u64).filter(|at| sampling.keeps(None, TraceId::of(1, numbers(*at)))).count();
            assert!((low..=high).contains(&kept), "{share}: {kept}");
        }
        assert_eq!(Sampler::new(f64::NAN), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(high: u64, low: u64, span: u64, sampled: bool, random: bool) {
            let context = TraceContext { trace: TraceId::of(high, low), span: SpanId::of(span), sampled, random };
            prop_assert_eq!(TraceContext::parse(&context.to_bytes()), Ok(context));
        }

        /// A propagated context parses as itself.
        #[test]
        fn what_is_passed_on_means_the_same(value in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(context) = TraceContext::parse(&value) {
                prop_assert_eq!(TraceContext::parse(&context.to_bytes()), Ok(context));
            }
        }

        #[test]
        fn a_state_that_is_passed_on_is_one(values in proptest::collection::vec("[a-c1@=, ]{0,40}|[a-z]{1,3}=[ -~]{1,300}", 0..8)) {
            if let Some(passed) = state(values.iter().map(String::as_bytes)) {
                prop_assert!(passed.len() <= MAX_STATE);
                prop_assert_eq!(state([&passed[..]]), Some(passed));
            }
        }
    }
}
