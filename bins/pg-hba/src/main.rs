//! The pg-hba program.

fn main() {}
