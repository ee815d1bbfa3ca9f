//! An edge proxy to embed: HTTP/1.1, HTTP/2 and HTTP/3, deny by default.

pub mod config;
mod fields;
pub mod grammar;
pub mod h3;
mod head;
pub mod host;
#[cfg(feature = "server")]
mod server;

pub use fields::{Field, Fields, Name};
pub use head::{BodyLength, Method, RequestHead, ResponseHead, Version};
