//! Times the hot functions: `cargo bench -p corelog-bench-hot [NAME]`.

use std::time::{Duration, Instant};

use corelog_bench_hot::{ALL, Hot};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn hot(criterion: &mut Criterion) {
    for (name, set_up) in ALL {
        let mut hot = set_up();
        let mut group = criterion.benchmark_group(name);
        group.throughput(match hot.bytes() {
            0 => Throughput::Elements(hot.count()),
            bytes => Throughput::Bytes(bytes),
        });
        group.bench_function("run", |bencher| {
            bencher.iter_custom(|runs| (0..runs).map(|_| timed(&mut *hot)).sum());
        });
        group.finish();
    }
}

fn timed(hot: &mut dyn Hot) -> Duration {
    hot.prepare();
    let begun = Instant::now();
    hot.run();
    begun.elapsed()
}

criterion_group!(benches, hot);
criterion_main!(benches);
