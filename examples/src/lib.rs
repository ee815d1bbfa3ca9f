//! Programs that embed the crates: see `src/bin`, run by `cargo run -p examples --bin NAME`. This library contains what
//! several of them share.

pub mod authority;
mod echo;

pub use echo::echo_service;
