//! The content of a message as it arrives, at either side.

/// What comes next of a message's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyPart {
    /// `chunk()` has bytes.
    Data,
    /// The content ended; `trailers()` has fields, possibly none. Said again whenever it is asked again.
    End,
}

/// Why a request's content cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyError {
    /// The client went away or reset the stream.
    Lost,
    /// The framing is wrong, or the length is not what was announced. The request must not be completed upstream.
    Malformed,
}
