//! Programs that embed the crates: see `src/bin`, run by `cargo run -p examples --bin NAME`. This library is shared by
//! two of them.

pub mod authority;
mod echo;

pub use echo::echo_service;
