//! What pg-hba does for every connection.

use pg_hba::{Attempt, Document, Index, Nowhere, Server, Version};
use std::fmt::Write as _;
use std::hint::black_box;

pub(crate) const PATHS: &[super::Path] = &[("pg-hba-decide", decide)];

/// One of a thousand rules, by its name.
fn decide(count: u32) {
    let mut text = String::new();
    for n in 0..999 {
        // Writing to memory does not fail.
        let _ = writeln!(text, "host db{n} user{n} 100.64.0.0/10 trust");
    }
    text.push_str("host all all 0.0.0.0/0 scram-sha-256\n");
    let rules = Document::parse(&text, &Server::new(Version::V18)).rules().unwrap_or_default();
    let index = Index::new(rules);
    let address = [100, 64, 3, 4].into();
    let attempt = Attempt::tcp("db900", "user900", address);
    for _ in 0..count {
        black_box(index.decide(black_box(&attempt), &Nowhere));
    }
}
