//! Programs that embed the crates: see `src/bin`, run by `cargo run -p examples --bin NAME`. Here is what two of them share.

pub mod authority;
