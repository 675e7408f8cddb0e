//! Time per task of the task layer, tokio, rayon and a thread per task, for each shape of work.
//! `scripts/task_bench.py` runs the same shapes alternately, and with Go.

#[path = "task_bench/shapes/mod.rs"]
mod shapes;

use std::time::Duration;

use clap::ValueEnum;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

use shapes::{Name, Shape};

fn shapes(c: &mut Criterion) {
    let workers = std::thread::available_parallelism().map_or(2, |count| count.get());
    for &shape in Shape::value_variants() {
        let mut group = c.benchmark_group(format!("{shape:?}"));
        for &name in Name::value_variants() {
            // Fewer rounds, since a thread per task takes a thousand times as long.
            let tasks = if name == Name::Threads { 100 } else { 10_000 };
            let pool = shapes::start(name, workers);
            if pool.time(shape, 1).is_none() {
                continue;
            }
            group.throughput(Throughput::Elements(tasks));
            group.bench_function(format!("{name:?}"), |b| {
                b.iter_custom(|rounds| {
                    let time = pool.time(shape, rounds * tasks);
                    time.expect("it has this shape")
                });
            });
        }
    }
}

fn quick() -> Criterion {
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
}

criterion_group! {
    name = benches;
    config = quick();
    targets = shapes
}
criterion_main!(benches);
