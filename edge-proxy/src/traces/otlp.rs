//! The OTLP encoding of spans as the protobuf message `ExportTraceServiceRequest` (opentelemetry-proto 1.x,
//! `opentelemetry/proto/collector/trace/v1`), and the decoding of the response.

use edge_http::trace_context::{SpanId, TraceContext};

/// The role of a span in a call (`Span.SpanKind`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The handling of a request of a client.
    Server = 2,
    /// A request to an upstream.
    Client = 3,
}

/// The value of an attribute: an integer or a string.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// A signed integer.
    Number(i64),
    /// A string that was created for the span.
    Text(String),
    /// A constant string.
    Word(&'static str),
}

/// A span to be exported.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Span {
    /// The trace ID, the span ID, and the flags of the span.
    pub(super) context: TraceContext,
    /// The parent span; the second value is true if it belongs to another service. `None` for a root span.
    pub(super) parent: Option<(SpanId, bool)>,
    /// The W3C trace state. Empty if there is none.
    pub(super) state: String,
    /// The role of the span in a call.
    pub(super) kind: Kind,
    /// The name of the span.
    pub(super) name: String,
    /// The start time in nanoseconds since 1970.
    pub(super) start: u64,
    /// The end time in nanoseconds since 1970.
    pub(super) end: u64,
    /// The attributes, as pairs of name and value.
    pub(super) attributes: Vec<(&'static str, Value)>,
    /// True if the status of the span is ERROR (`Status.StatusCode`), false if it is unset.
    pub(super) failed: bool,
}

/// Encodes an export request that contains these spans of the service with this name.
pub(super) fn request(service: &str, spans: &[Span]) -> Vec<u8> {
    let mut out = Vec::with_capacity(spans.len() * 512 + 256);
    nested(&mut out, 1, |out| {
        // Resource
        nested(out, 1, |out| {
            attribute(out, 1, "service.name", &Value::Text(service.to_owned()));
            attribute(out, 1, "telemetry.sdk.language", &Value::Word("rust"));
            attribute(out, 1, "telemetry.sdk.name", &Value::Word(env!("CARGO_PKG_NAME")));
            attribute(out, 1, "telemetry.sdk.version", &Value::Word(env!("CARGO_PKG_VERSION")));
        });
        // ScopeSpans
        nested(out, 2, |out| {
            nested(out, 1, |out| {
                bytes(out, 1, env!("CARGO_PKG_NAME").as_bytes());
                bytes(out, 2, env!("CARGO_PKG_VERSION").as_bytes());
            });
            spans.iter().for_each(|one| nested(out, 2, |out| span(out, one)));
        });
    });
    out
}

/// Appends the fields of a `Span` message.
fn span(out: &mut Vec<u8>, span: &Span) {
    bytes(out, 1, &span.context.trace.bytes());
    bytes(out, 2, &span.context.span.bytes());
    if !span.state.is_empty() {
        bytes(out, 3, span.state.as_bytes());
    }
    let mut flags = u32::from(span.context.flags());
    // SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK and SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK, of the parent.
    flags |= 1 << 8;
    if let Some((parent, remote)) = span.parent {
        bytes(out, 4, &parent.bytes());
        flags |= u32::from(remote) << 9;
    }
    bytes(out, 5, span.name.as_bytes());
    number(out, 6, span.kind as u64);
    fixed64(out, 7, span.start);
    fixed64(out, 8, span.end);
    span.attributes.iter().for_each(|(key, value)| attribute(out, 9, key, value));
    if span.failed {
        nested(out, 15, |out| number(out, 3, 2));
    }
    tag(out, 16, 5);
    out.extend_from_slice(&flags.to_le_bytes());
}

/// Appends a `KeyValue` message as the field with this number.
fn attribute(out: &mut Vec<u8>, field: u32, key: &str, value: &Value) {
    nested(out, field, |out| {
        bytes(out, 1, key.as_bytes());
        nested(out, 2, |out| match value {
            Value::Number(value) => number(out, 3, *value as u64),
            Value::Text(text) => bytes(out, 1, text.as_bytes()),
            Value::Word(word) => bytes(out, 1, word.as_bytes()),
        });
    });
}

/// Appends an integer as a protobuf varint.
fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends the tag of a field: its number and wire type.
fn tag(out: &mut Vec<u8>, field: u32, wire: u32) {
    varint(out, u64::from(field << 3 | wire));
}

/// Appends a field of the wire type varint.
fn number(out: &mut Vec<u8>, field: u32, value: u64) {
    tag(out, field, 0);
    varint(out, value);
}

/// Appends a field of 8 bytes in little-endian order.
fn fixed64(out: &mut Vec<u8>, field: u32, value: u64) {
    tag(out, field, 1);
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends a length-delimited field with these bytes.
fn bytes(out: &mut Vec<u8>, field: u32, value: &[u8]) {
    tag(out, field, 2);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

/// Appends a field with a nested message, which `content` writes. The length is inserted before it afterwards.
fn nested(out: &mut Vec<u8>, field: u32, content: impl FnOnce(&mut Vec<u8>)) {
    tag(out, field, 2);
    let at = out.len();
    content(out);
    let mut length = Vec::with_capacity(5);
    varint(&mut length, (out.len() - at) as u64);
    out.splice(at..at, length);
}

/// Parses an `ExportTraceServiceResponse` and returns the number of spans that the collector rejected. 0 if the
/// response contains no such number or cannot be parsed.
pub(super) fn rejected(response: &[u8]) -> u64 {
    let Some(ProtoField::Bytes(partial)) = field(response, 1) else { return 0 };
    match field(partial, 1) {
        Some(ProtoField::Number(count)) => count,
        _ => 0,
    }
}

/// The value of a protobuf field.
enum ProtoField<'m> {
    /// The content of a length-delimited field, or the bytes of one of fixed size.
    Bytes(&'m [u8]),
    /// The value of a varint field.
    Number(u64),
}

/// Returns the value of the last field with the number `wanted`, which is the one that counts in protobuf. `None` if
/// there is no such field, or the message is malformed.
fn field(mut message: &[u8], wanted: u64) -> Option<ProtoField<'_>> {
    let mut found = None;
    while !message.is_empty() {
        let tag = read_varint(&mut message)?;
        let value = match tag & 7 {
            0 => ProtoField::Number(read_varint(&mut message)?),
            1 => skip(&mut message, 8).map(ProtoField::Bytes)?,
            2 => {
                let length = read_varint(&mut message)?;
                skip(&mut message, usize::try_from(length).ok()?).map(ProtoField::Bytes)?
            }
            5 => skip(&mut message, 4).map(ProtoField::Bytes)?,
            _ => return None,
        };
        if tag >> 3 == wanted {
            found = Some(value);
        }
    }
    found
}

/// Removes `length` bytes from the front of the message and returns them. `None` if it is shorter.
fn skip<'m>(message: &mut &'m [u8], length: usize) -> Option<&'m [u8]> {
    let (value, rest) = message.split_at_checked(length)?;
    *message = rest;
    Some(value)
}

/// Removes a varint from the front of the message and returns it. `None` if it is incomplete or longer than 10 bytes;
/// bits above 64 are discarded.
fn read_varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..70).step_by(7) {
        let (byte, rest) = message.split_first()?;
        *message = rest;
        value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_a_collector_refused() {
        assert_eq!(rejected(b""), 0);
        let mut answer = Vec::new();
        nested(&mut answer, 1, |out| {
            number(out, 1, 300);
            bytes(out, 2, b"too old");
        });
        assert_eq!(rejected(&answer), 300);
        // An answer that is cut short says nothing.
        assert_eq!(rejected(&answer[..answer.len() - 1]), 0);
    }

    proptest! {
        #[test]
        fn numbers_are_read_as_they_were_written(value: u64, rest in proptest::collection::vec(any::<u8>(), 0..4)) {
            let mut out = Vec::new();
            varint(&mut out, value);
            out.extend_from_slice(&rest);
            let mut message = &out[..];
            prop_assert_eq!(read_varint(&mut message), Some(value));
            prop_assert_eq!(message, &rest[..]);
        }

        #[test]
        fn no_answer_is_more_than_it_says(answer in proptest::collection::vec(any::<u8>(), 0..64)) {
            rejected(&answer);
        }
    }
}
