//! The edge proxy daemon.

fn main() {}
