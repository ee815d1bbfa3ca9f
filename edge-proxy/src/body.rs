//! Message content as it arrives from either side.

/// The next part of a message's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyPart {
    /// Content has arrived; `chunk()` returns it.
    Data,
    /// The content has ended; `trailers()` returns the trailers, which may be empty. Further polls return this again.
    End,
}

/// The reason the content of a request cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyError {
    /// The client closed the connection or reset the stream before the content was complete.
    Lost,
    /// The framing is malformed, or the content does not have the declared length. The request must not be completed
    /// upstream.
    Malformed,
}
