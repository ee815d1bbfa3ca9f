//! Programs that embed the crates: see the files beside this one, run by `cargo run -p examples --bin NAME`.
