//! Benchmarks of decisions by an [`Index`] of 10,000 rules, and of comparisons of lists of 1,000 rules.

use criterion::{Criterion, criterion_group, criterion_main};
use pg_hba::{Attempt, Diff, Document, EmptyEnvironment, Index, Rule, Server, Version, diff};
use std::fmt::Write;
use std::hint::black_box;

/// Returns `count` rules: `count - 1` that differ in database, user and network, in three alternating forms, and a last
/// one for all IPv4 addresses.
fn rules(count: usize) -> Vec<Rule> {
    let mut text = String::new();
    for n in 0..count - 1 {
        let (a, b) = (n / 250, n % 250);
        match n % 3 {
            0 => writeln!(text, "host db{n} user{n} 100.64.0.0/10 trust"),
            1 => writeln!(text, "hostssl all user{n} 10.{a}.{b}.0/24 scram-sha-256"),
            _ => writeln!(text, "host db{n} all 10.{a}.{b}.0/24 md5"),
        }
        .expect("a string takes it");
    }
    text.push_str("host all all 0.0.0.0/0 scram-sha-256\n");
    Document::parse(&text, &Server::new(Version::V18)).rules().expect("rules")
}

/// Measures two decisions and two comparisons.
fn bench(criterion: &mut Criterion) {
    let index = Index::new(rules(10_000));
    let last = Attempt::tls("none", "none", "203.0.113.9".parse().expect("an address"));
    let named = Attempt::tcp("db9000", "user9000", "100.64.3.4".parse().expect("an address"));
    criterion.bench_function("decide among 10,000 rules: the last", |b| {
        b.iter(|| index.decide(black_box(&last), &EmptyEnvironment));
    });
    criterion.bench_function("decide among 10,000 rules: one by name", |b| {
        b.iter(|| index.decide(black_box(&named), &EmptyEnvironment));
    });
    let old = rules(1_000);
    let mut equal = old.clone();
    // Rules 0 and 1 have no connection in common, so their order does not matter.
    equal.swap(0, 1);
    let mut changed = old.clone();
    changed.remove(699);
    criterion.bench_function("diff of 1,000 rules: equal", |b| {
        b.iter(|| assert_eq!(diff(black_box(&old), &equal), Diff::Equal));
    });
    criterion.bench_function("diff of 1,000 rules: one gone", |b| {
        b.iter(|| assert!(matches!(diff(black_box(&old), &changed), Diff::Different(_))));
    });
}

criterion_group! { name = benches; config = Criterion::default().sample_size(10); targets = bench }
criterion_main!(benches);
