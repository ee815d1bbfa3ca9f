//! The content of a message as it arrives, at either side.

/// The next part of a message's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyPart {
    /// `chunk()` has bytes.
    Data,
    /// The content ended; `trailers()` has fields, possibly none. Said again whenever it is asked again.
    End,
}

/// The reason why a request's content cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyError {
    /// The client went away or reset the stream.
    Lost,
    /// The framing is wrong, or the length is not what was announced. The request must not be completed upstream.
    Malformed,
}
