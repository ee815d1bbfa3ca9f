//! Benchmark of the simulation of one certificate over a decade.

use criterion::{Criterion, criterion_group, criterion_main};

/// Measures ten simulated years of one certificate.
fn decades(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decade");
    group.sample_size(10);
    group.bench_function("one certificate", |bencher| {
        bencher.iter(|| acme_dns01::simulate::simulate_decade(1, 1));
    });
    group.finish();
}

criterion_group!(benches, decades);
criterion_main!(benches);
