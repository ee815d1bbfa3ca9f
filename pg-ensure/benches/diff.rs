//! Benchmarks of the pure core.

use criterion::{Criterion, criterion_group, criterion_main};
use pg_ensure::{Acl, DEFAULT_ITERATIONS, Password, Verifier, manifest};
use std::fmt::Write;
use std::hint::black_box;

/// Measures reading and resolving a manifest of 10,000 entries, parsing an access control list, and deriving a
/// verifier.
fn bench(criterion: &mut Criterion) {
    let mut text = String::new();
    for number in 0..10_000 {
        writeln!(text, "[[ensure]]\nname = \"role_{number}\"\n").expect("a string takes it");
    }
    criterion.bench_function("a manifest of 10,000 entries read and resolved", |b| {
        b.iter(|| {
            let read =
                manifest::Manifest::read("a.toml", black_box(&text), manifest::Format::Toml).expect("TOML");
            read.resolve(&mut |_| Err(String::new())).expect("a desired state")
        });
    });
    let items = ["=Tc/postgres", "postgres=CTc/postgres", "app=c*/postgres"];
    criterion.bench_function("an access control list parsed", |b| b.iter(|| Acl::parse(black_box(&items))));
    let Password::Secret(secret) = Password::secret("correct horse") else { unreachable!() };
    criterion.bench_function("a verifier derived", |b| {
        b.iter(|| Verifier::derive(black_box(&secret), b"0123456789abcdef", DEFAULT_ITERATIONS));
    });
}

criterion_group! { name = benches; config = Criterion::default().sample_size(10); targets = bench }
criterion_main!(benches);
