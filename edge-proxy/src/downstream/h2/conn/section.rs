//! Field sections of the client: request heads and trailers.

use super::super::slot::{StreamBody, StreamSlot};
use super::{Block, Http2Connection, PendingRequest, STREAM_WINDOW};
use crate::date;
use crate::heads;
use edge_http::h2::frame::{self, FrameHeader};
use edge_http::h2::{Code, hpack, response};
use edge_http::priority::Priority;
use edge_http::section::{RequestHeadBuilder, SectionError, StreamState, TrailerBuilder};
use edge_http::{BodyLength, RequestHead, ResponseHead, Version};
use edge_policy::Reason;

/// The factor by which an encoded section of several frames may exceed the limit of the decoded one. A longer section
/// is not decoded, and the connection is closed.
const MAX_ENCODING_FACTOR: usize = 4;

impl Http2Connection {
    /// Handles a HEADERS frame: decodes its section, or stores it until the CONTINUATION frames have arrived. Closes
    /// the connection for an even stream number, invalid padding, or incomplete priority fields.
    pub(super) fn headers(&mut self, header: FrameHeader, payload: &[u8], arrived: &mut Vec<PendingRequest>) {
        let id = header.stream;
        // §5.1.1: clients begin streams with odd numbers.
        if id.is_multiple_of(2) {
            return self.fail(Code::PROTOCOL_ERROR);
        }
        let Some(mut content) = frame::unpad(header, payload) else { return self.fail(Code::PROTOCOL_ERROR) };
        let mut own = false;
        if header.has(frame::PRIORITIZED) {
            let Some((priority, rest)) = content.split_at_checked(5) else {
                return self.fail(Code::FRAME_SIZE_ERROR);
            };
            own = frame::word(priority) & 0x7fff_ffff == id;
            content = rest;
        }
        let end = header.has(frame::END_STREAM);
        if header.has(frame::END_HEADERS) {
            self.section(id, end, own, content, arrived);
        } else {
            self.block = Some(Block { id, end, own, bytes: content.to_vec() });
        }
    }

    /// Handles a CONTINUATION frame: appends to the stored section, and decodes it if it is complete. Closes the
    /// connection with PROTOCOL_ERROR if no section is incomplete, and with ENHANCE_YOUR_CALM if the encoded section
    /// is longer than [`MAX_ENCODING_FACTOR`] times the limit.
    pub(super) fn continuation(
        &mut self,
        header: FrameHeader,
        payload: &[u8],
        arrived: &mut Vec<PendingRequest>,
    ) {
        let Some(mut block) = self.block.take() else { return self.fail(Code::PROTOCOL_ERROR) };
        block.bytes.extend_from_slice(payload);
        if block.bytes.len() > MAX_ENCODING_FACTOR * self.limits.section.section {
            return self.fail(Code::ENHANCE_YOUR_CALM);
        }
        if header.has(frame::END_HEADERS) {
            self.section(block.id, block.end, block.own, &block.bytes, arrived);
        } else {
            self.block = Some(block);
        }
    }

    /// Handles a complete section: the head of a new stream, or the trailers of an open one. On a stream that this
    /// side reset or whose content is discarded, the section is decoded for the dynamic table only. On any other
    /// stream that has ended, it closes the connection with STREAM_CLOSED. `end` is true if the stream ends with the
    /// section, `own` if the stream depends on itself.
    fn section(&mut self, id: u32, end: bool, own: bool, block: &[u8], arrived: &mut Vec<PendingRequest>) {
        if id > self.highest {
            self.request(id, end, own, block, arrived);
        } else if self.is_open(id) {
            self.trailers(id, end, own, block);
        } else if self.reset.contains(&id) || self.is_discarding(id) {
            if end {
                self.forget_discarded(id);
            }
            // The client sent it before it received the reset. The dynamic table changes nevertheless.
            if self.decoder.decode(block, |_, _| {}).is_err() {
                self.fail(Code::COMPRESSION_ERROR);
            }
        } else {
            // §5.1: on a stream that ended, that the client reset, or that was skipped.
            self.fail(Code::STREAM_CLOSED);
        }
    }

    /// Decodes a section and passes each name and value to `field` until it returns an error; the rest is decoded for
    /// the dynamic table only. Returns the error of `field`, or `None` if it returned none.
    ///
    /// # Errors
    /// [`hpack::InvalidBlock`] if the section cannot be decoded.
    fn lines(
        &mut self,
        block: &[u8],
        mut field: impl FnMut(&[u8], &[u8]) -> Result<(), SectionError>,
    ) -> Result<Option<SectionError>, hpack::InvalidBlock> {
        let mut bad = None;
        self.decoder.decode(block, |name, value| {
            if bad.is_none() {
                bad = field(name, value).err();
            }
        })?;
        Ok(bad)
    }

    /// Decodes the head of a request and opens its stream. A section that cannot be decoded closes the connection. A
    /// stream above the last one of GOAWAY is ignored. The stream is reset with REFUSED_STREAM if the limit of streams
    /// is reached or the method is CONNECT without a protocol, and with PROTOCOL_ERROR if the head is malformed, which
    /// is recorded to be reported. A head that is too large is answered with 431, one with two different authorities with 400.
    fn request(&mut self, id: u32, end: bool, own: bool, block: &[u8], arrived: &mut Vec<PendingRequest>) {
        self.highest = id;
        let mut head = heads::request();
        let mut section = RequestHeadBuilder::new(&mut head, Version::Http2, self.limits.section);
        let Ok(bad) = self.lines(block, |name, value| section.field(name, value)) else {
            return self.fail(Code::COMPRESSION_ERROR);
        };
        // §6.8: streams above the last named one are not processed. The client sends them elsewhere.
        if id > self.accepted {
            return;
        }
        if self.slots.len() >= self.limits.streams as usize {
            return self.stream_error(id, Code::REFUSED_STREAM);
        }
        // §5.3.1 of RFC 7540: a stream cannot depend on itself.
        let complete = match bad {
            None if own => Err(SectionError::Malformed),
            None => section.finish(if end { StreamState::Ended } else { StreamState::Open }),
            Some(bad) => Err(bad),
        };
        match complete {
            Ok(()) => self.begin(id, head, end, arrived),
            Err(SectionError::Malformed) => {
                self.refused.push(Reason::MalformedHead);
                self.stream_error(id, Code::PROTOCOL_ERROR);
            }
            Err(SectionError::Connect) => self.stream_error(id, Code::REFUSED_STREAM),
            Err(SectionError::TooLarge) => self.refuse(id, end, 431, Reason::HeadTooLarge),
            Err(SectionError::TwoAuthorities) => self.refuse(id, end, 400, Reason::MalformedHead),
        }
    }

    /// Creates the state of a request's stream and adds the request to `arrived`. `end` is true if the head ended the
    /// stream, so that the request has no content.
    fn begin(&mut self, id: u32, head: RequestHead, end: bool, arrived: &mut Vec<PendingRequest>) {
        let mut slot = StreamSlot::new();
        slot.send_window = self.initial_window;
        slot.urgency.client = Priority::of(&head).map(|priority| priority.urgency);
        slot.receive_window = i64::from(STREAM_WINDOW);
        slot.window = STREAM_WINDOW;
        slot.body = if end { StreamBody::Ended } else { StreamBody::Coming };
        slot.expected = match head.body {
            BodyLength::Exact(length) => Some(length),
            BodyLength::None | BodyLength::Unknown => None,
        };
        self.slots.insert(id, slot);
        arrived.push(PendingRequest { id, head });
    }

    /// Responds to a request with this status and no content, and records `reason` to be reported. If the client has
    /// not ended the stream (`end` is false), schedules its reset with NO_ERROR. Counts as an aborted request. While
    /// output is held back, ends the stream in silence instead.
    fn refuse(&mut self, id: u32, end: bool, status: u16, reason: Reason) {
        self.refused.push(reason);
        if self.silence.is_some() {
            // The section is too large to know whether it names a site.
            return self.fail_in_silence(id);
        }
        let mut head = ResponseHead::new(status);
        date::add(&mut head.fields);
        let place = self.place(id, true);
        response::write_head(self.out.push(), place, &head);
        if !end {
            self.defer_reset(id, Code::NO_ERROR);
        }
        self.count_aborted();
    }

    /// Decodes the trailers of a request, which end its content, and wakes the task that reads it. Resets the stream
    /// if the content had ended already, the trailers are malformed, too large or do not end the stream, or the
    /// content is shorter than declared. A section that cannot be decoded closes the connection.
    fn trailers(&mut self, id: u32, end: bool, own: bool, block: &[u8]) {
        let mut section = TrailerBuilder::new(self.limits.section);
        let Ok(bad) = self.lines(block, |name, value| section.field(name, value)) else {
            return self.fail(Code::COMPRESSION_ERROR);
        };
        let Some(slot) = self.slots.get_mut(&id) else { return };
        let wrong = if slot.body != StreamBody::Coming {
            Some(Code::STREAM_CLOSED)
        } else if bad == Some(SectionError::TooLarge) {
            Some(Code::ENHANCE_YOUR_CALM)
        } else if bad.is_some() || !end || own || slot.expected.is_some_and(|left| left > 0) {
            // §8.1: they end the request, which is as long as announced.
            Some(Code::PROTOCOL_ERROR)
        } else {
            None
        };
        if let Some(code) = wrong {
            return self.stream_error(id, code);
        }
        slot.trailers = Some(section.finish());
        slot.body = StreamBody::Ended;
        slot.wake_reader();
    }
}
