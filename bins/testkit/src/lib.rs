//! What the tests share. Whatever cannot be had is a panic that says so: a test must never pass because of it.

mod authority;
pub mod mail;
mod origin;
pub mod postgres;
mod process;

pub use authority::{Authority, tls_client};
pub use origin::{Origin, answer};
pub use process::{Memory, Process, role, say, serve_until_parent_ends};
