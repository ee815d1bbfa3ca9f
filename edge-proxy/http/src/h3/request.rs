//! An incremental decoder for HTTP/3 request streams: head, content, trailers (RFC 9114 §4.1).

use super::frame::{self, FrameEvent, FrameReader};
use super::qpack::QpackDecoder;
use super::{Code, ProtocolError, SectionLimits};
use crate::section::{RequestHeadBuilder, SectionError, StreamState, TrailerBuilder};
use crate::{BodyLength, Fields, RequestHead, Version};
use std::ops::Range;

impl From<SectionError> for ProtocolError {
    fn from(bad: SectionError) -> Self {
        match bad {
            SectionError::Malformed | SectionError::TwoAuthorities => Self::MESSAGE,
            SectionError::TooLarge => Self::TooLarge,
            SectionError::Connect => Self::Stream(Code::H3_REQUEST_REJECTED),
        }
    }
}

/// The highest number of frames without useful work in one request: empty DATA frames and frames of unknown types. A
/// few of the latter are usual (RFC 9114 §7.2.8). More are an error.
const MAX_IDLE_FRAMES: u32 = 256;

/// The next part of a request that was decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestItem {
    /// All bytes were consumed, and more are needed.
    More,
    /// The encoded head is complete. The caller must call [`RequestDecoder::head`] next, with the same input.
    HeadReady,
    /// Content of this many bytes follows in the input, for the caller to consume.
    Data(usize),
    /// The trailers, after which only the end of the stream may follow.
    Trailers(Fields),
}

/// The part of the request that is expected next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The head of the request.
    Head,
    /// Content or trailers.
    Content,
    /// The content of an extended CONNECT: only DATA is allowed (RFC 9114 §4.4).
    Tunnel,
    /// The trailers were received: only the end of the stream and unknown frames may follow.
    Trailed,
}

/// An incremental decoder for one request stream.
#[derive(Debug)]
pub struct RequestDecoder {
    /// The decoder of frames.
    frames: FrameReader,
    /// The part of the request that is expected next.
    phase: Phase,
    /// The type of the present frame.
    kind: u64,
    /// The received part of a field section that did not arrive at once.
    section: Vec<u8>,
    /// The place of a complete section in the input of the last step. `None` if it is in `section`.
    place: Option<Range<usize>>,
    /// The declared Content-Length. `None` without it.
    expected: Option<u64>,
    /// The number of content bytes in the DATA frames that have begun.
    received: u64,
    /// The number of frames without useful work.
    idle: u32,
    /// The limits of field sections.
    limits: SectionLimits,
}

impl RequestDecoder {
    /// Creates a decoder at the beginning of a stream.
    pub const fn new(limits: SectionLimits) -> Self {
        Self {
            frames: FrameReader::new(),
            phase: Phase::Head,
            kind: u64::MAX,
            section: Vec::new(),
            place: None,
            expected: None,
            received: 0,
            idle: 0,
            limits,
        }
    }

    /// Decodes `input`. Returns the number of bytes consumed, and the next part. The bytes of [`RequestItem::Data`] are
    /// not included in that number; the next call must begin behind them.
    ///
    /// # Errors
    /// [`ProtocolError`] for a violation of RFC 9114 or an exceeded limit.
    pub fn step(&mut self, input: &[u8]) -> Result<(usize, RequestItem), ProtocolError> {
        let mut used = 0;
        loop {
            let (n, step) = self.frames.step(&input[used..]);
            used += n;
            match step {
                FrameEvent::More => return Ok((used, RequestItem::More)),
                FrameEvent::Begin { kind, len } => {
                    self.begin(kind, len)?;
                    if len == 0 && kind == frame::HEADERS {
                        return Ok((used, self.section_ready(input)?));
                    }
                }
                FrameEvent::Payload { len, .. } if self.kind == frame::DATA => {
                    return Ok((used, RequestItem::Data(len)));
                }
                FrameEvent::Payload { len, end } => {
                    let place = used..used + len;
                    used += len;
                    if self.kind == frame::HEADERS {
                        if end && self.section.is_empty() {
                            // Usual: it arrived at once, and is read where it is.
                            self.place = Some(place);
                        } else {
                            self.section.extend_from_slice(&input[place]);
                        }
                        if end {
                            return Ok((used, self.section_ready(input)?));
                        }
                    }
                }
            }
        }
    }

    /// Checks that a frame of this type and length may begin here, and counts it.
    ///
    /// # Errors
    /// [`ProtocolError`] for a frame that is not allowed in this part of the request or on a request stream, for
    /// content beyond Content-Length, a field section longer than its limit, and too many frames without useful work.
    fn begin(&mut self, kind: u64, len: u64) -> Result<(), ProtocolError> {
        const UNEXPECTED: ProtocolError = ProtocolError::Connection(Code::H3_FRAME_UNEXPECTED);
        self.kind = kind;
        match kind {
            frame::DATA => {
                if !matches!(self.phase, Phase::Content | Phase::Tunnel) {
                    return Err(UNEXPECTED);
                }
                // §4.1.2: the DATA frames add up to the content length. An excess is known before it arrives.
                self.received = self.received.saturating_add(len);
                if self.expected.is_some_and(|expected| self.received > expected) {
                    return Err(ProtocolError::MESSAGE);
                }
                if len == 0 {
                    self.useless()?;
                }
            }
            frame::HEADERS => {
                if !matches!(self.phase, Phase::Head | Phase::Content) {
                    return Err(UNEXPECTED);
                }
                // The encoding of a field is shorter than its share of the limit, unless made longer on purpose.
                if len > self.limits.section as u64 {
                    return Err(ProtocolError::TooLarge);
                }
                self.section.clear();
                self.place = None;
            }
            frame::CANCEL_PUSH
            | frame::SETTINGS
            | frame::PUSH_PROMISE
            | frame::GOAWAY
            | frame::MAX_PUSH_ID => return Err(UNEXPECTED),
            other if frame::is_forbidden(other) => return Err(UNEXPECTED),
            _ => self.useless()?,
        }
        Ok(())
    }

    /// Counts a frame without useful work.
    ///
    /// # Errors
    /// H3_EXCESSIVE_LOAD above [`MAX_IDLE_FRAMES`].
    fn useless(&mut self) -> Result<(), ProtocolError> {
        self.idle += 1;
        if self.idle > MAX_IDLE_FRAMES {
            Err(ProtocolError::Connection(Code::H3_EXCESSIVE_LOAD))
        } else {
            Ok(())
        }
    }

    /// Handles a complete HEADERS frame at the end of what was decoded of `input`: the head, or the trailers, which are
    /// decoded.
    ///
    /// # Errors
    /// [`ProtocolError`] if the trailers are malformed.
    fn section_ready(&mut self, input: &[u8]) -> Result<RequestItem, ProtocolError> {
        if self.phase == Phase::Head {
            return Ok(RequestItem::HeadReady);
        }
        self.phase = Phase::Trailed;
        let buffered = std::mem::take(&mut self.section);
        let section = section(self.place.take(), input, &buffered);
        let mut trailers = TrailerBuilder::new(self.limits);
        QpackDecoder::new().decode(section, |name, value| Ok(trailers.field(name, value)?))?;
        Ok(RequestItem::Trailers(trailers.finish()))
    }

    /// Decodes the head into `head`, whose memory is used again, and whose content is unspecified after an error. Must
    /// be called once, after [`RequestItem::HeadReady`], with the input of that step. `stream` is the state of the
    /// stream after the head.
    ///
    /// # Errors
    /// [`ProtocolError`] if the section cannot be decoded, is malformed or exceeds a limit.
    pub fn head(
        &mut self,
        input: &[u8],
        decoder: &mut QpackDecoder,
        stream: StreamState,
        head: &mut RequestHead,
    ) -> Result<(), ProtocolError> {
        let buffered = std::mem::take(&mut self.section);
        let section = section(self.place.take(), input, &buffered);
        let mut request = RequestHeadBuilder::new(head, Version::Http3, self.limits);
        let lines = decoder.decode_request(section, &mut request)?;
        request.finish_lines(lines, stream)?;
        self.phase = if head.upgrade.is_some() { Phase::Tunnel } else { Phase::Content };
        self.expected = match head.body {
            BodyLength::Exact(length) => Some(length),
            BodyLength::None | BodyLength::Unknown => None,
        };
        Ok(())
    }

    /// Checks at the end of the stream that the request is complete.
    ///
    /// # Errors
    /// [`ProtocolError::Connection`] if the stream ended inside a frame (RFC 9114 §7.1), and [`ProtocolError::Stream`]
    /// if it ended before the head (§4.1) or the content is shorter than its Content-Length (§4.1.2).
    pub fn finish(&self) -> Result<(), ProtocolError> {
        if !self.frames.is_between_frames() {
            return Err(ProtocolError::Connection(Code::H3_FRAME_ERROR));
        }
        if self.phase == Phase::Head {
            return Err(ProtocolError::Stream(Code::H3_REQUEST_INCOMPLETE));
        }
        if self.expected.is_some_and(|expected| expected != self.received) {
            return Err(ProtocolError::MESSAGE);
        }
        Ok(())
    }
}

/// Returns a complete section: the part of `input` at this place, or else the bytes that were buffered. Empty if the
/// input is another one.
fn section<'a>(place: Option<Range<usize>>, input: &'a [u8], buffered: &'a [u8]) -> &'a [u8] {
    place.map_or(buffered, |place| input.get(place).unwrap_or_default())
}
