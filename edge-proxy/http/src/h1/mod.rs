//! HTTP/1.1 and HTTP/1.0 (RFC 9112), strict: a message that two implementations could read differently is rejected, not
//! repaired. In responses, line ends and whitespace that small devices get wrong are repaired if the length of the
//! content is unambiguous.
//!
//! Nothing here reads or writes a socket. [`request`] and [`response`] parse heads from a buffer, [`ChunkedDecoder`]
//! decodes chunked content, and the writers append to a buffer. Lines end in CR LF; line folding is rejected;
//! Content-Length is one decimal number; Transfer-Encoding is `chunked`, once, never with Content-Length, never in
//! HTTP/1.0.
//!
//! ```
//! use edge_http::{BodyLength, RequestHead, Version, h1};
//!
//! let bytes = b"POST /a HTTP/1.1\r\nHost: example.org\r\nContent-Length: 3\r\n\r\nabc";
//! let mut head = RequestHead::new(Version::Http11);
//! let found = h1::request(bytes, &h1::HeadLimits::default(), &mut head)?.expect("the head is complete");
//! assert_eq!((head.authority.as_str(), head.body), ("example.org", BodyLength::Exact(3)));
//! assert_eq!(&bytes[found.used..], b"abc");
//!
//! let smuggled = b"POST /a HTTP/1.1\r\nHost: example.org\r\nContent-Length: +3\r\n\r\nabc";
//! assert!(h1::request(smuggled, &h1::HeadLimits::default(), &mut head).is_err());
//! # Ok::<(), h1::HeadError>(())
//! ```

mod chunked;
mod head;
mod keep_alive;
mod plain;
mod repair;
mod write;

pub use chunked::{ChunkError, ChunkedDecoder, ChunkedProgress};
pub use head::{HeadError, HeadLimits, ParsedRequest, ParsedResponse, ResponseBody, request, response};
pub use keep_alive::keep_alive_timeout;
pub use repair::response_line_of;
pub use write::{
    Persistence, ResponseFraming, reason_phrase, write_chunk_head, write_last_chunk, write_request,
    write_response,
};
