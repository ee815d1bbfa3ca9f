//! The messages of HTTP/1.1, HTTP/2 and HTTP/3 as a proxy reads and writes them, without I/O.
//!
//! Codecs take bytes and return values: heads and chunks of HTTP/1.1, frames and HPACK of HTTP/2, frames, QPACK and the
//! Initial packets of HTTP/3, the PROXY protocol, and the fields that proxies read and write. All versions share one
//! form of heads and fields, and reject the same requests.
//!
//! # Example
//!
//! ```
//! use edge_http::h1::{HeadLimits, request};
//! use edge_http::{BodyLength, RequestHead, Version};
//!
//! let bytes = b"POST /a HTTP/1.1\r\nHost: git.example.org\r\nContent-Length: 3\r\n\r\nabc";
//! let mut head = RequestHead::new(Version::Http11);
//! let found = request(bytes, &HeadLimits::default(), &mut head)?.expect("the head is complete");
//! assert_eq!((&*head.authority, &*head.target, head.body), ("git.example.org", "/a", BodyLength::Exact(3)));
//! assert_eq!(&bytes[found.used..], b"abc");
//!
//! let smuggled = b"POST /a HTTP/1.1\r\nHost: git.example.org\r\nContent-Length: +3\r\n\r\nabc";
//! assert!(request(smuggled, &HeadLimits::default(), &mut head).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Limits
//!
//! The codecs are those of a reverse proxy: requests are read and written, responses are read from HTTP/1.1 services
//! and written to clients. The connections of HTTP/2 and HTTP/3, with their streams and flow control, belong to the
//! server that embeds them.

#[macro_use]
mod codes;
pub mod encoding;
pub mod error_body;
mod field_line;
pub mod field_names;
mod fields;
pub mod flood;
pub mod forwarded;
pub mod grammar;
pub mod h1;
pub mod h2;
pub mod h3;
mod head;
pub mod hop_by_hop;
pub mod host;
mod known_names;
mod name;
mod name_class;
mod prefixed;
pub mod priority;
pub mod proxy_protocol;
mod scan;
pub mod section;
pub mod sha1;
mod static_table;
pub mod trace_context;
pub mod websocket;

/// The examples of the README, which are compiled with the tests of the documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub use fields::{Field, Fields, InvalidField};
pub use head::{BodyLength, Method, RequestHead, ResponseHead, Version};
pub use name::{Name, NameSet};
pub use name_class::NameClass;
