//! The cost of a task with a handle: many tasks that one thread submits and joins in order, and one task at a time, against
//! plain calls and the naive pool.

mod common;

use common::naive::NaivePool;
use common::through_heist;
use criterion::{Criterion, SamplingMode, Throughput};
use std::hint::black_box;
use std::time::Duration;

/// The number of tasks of one round.
const COUNT: u64 = 20_000;

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(150))
        .measurement_time(Duration::from_millis(500))
        .configure_from_args();
    flood(&mut criterion);
    round_trip(&mut criterion);
    criterion.final_summary();
}

/// A tiny task.
fn tiny(n: u64) -> impl FnOnce() -> u64 + Send + 'static {
    move || black_box(n) + 1
}

/// Tiny tasks from a thread outside the pool, which joins them after it has submitted all.
fn flood(criterion: &mut Criterion) {
    let expected = COUNT * (COUNT + 1) / 2;
    let mut group = criterion.benchmark_group("submit-flood");
    group.sampling_mode(SamplingMode::Flat);
    group.throughput(Throughput::Elements(COUNT));
    group.bench_function("serial", |bencher| {
        bencher.iter(|| {
            let results: Vec<u64> = (0..COUNT).map(|n| tiny(n)()).collect();
            assert_eq!(results.into_iter().sum::<u64>(), expected);
        });
    });
    for threads in [1, 2] {
        let pool = through_heist::pool(threads);
        let sum = |handles: Vec<heist::JoinHandle<u64>>| -> u64 {
            let results = handles.into_iter().map(|handle| handle.join());
            results.map(|result| result.expect("no task panics")).sum()
        };
        group.bench_function(format!("heist-{threads}"), |bencher| {
            bencher.iter(|| {
                let handles = (0..COUNT).map(|n| pool.submit(tiny(n))).collect();
                assert_eq!(sum(handles), expected);
            });
        });
        group.bench_function(format!("heist-many-{threads}"), |bencher| {
            bencher.iter(|| {
                let handles = pool.submit_many((0..COUNT).map(tiny));
                assert_eq!(sum(handles), expected);
            });
        });
    }
    let pool = NaivePool::new(2);
    group.bench_function("naive-2", |bencher| {
        bencher.iter(|| {
            let handles: Vec<_> = (0..COUNT).map(|n| pool.submit(tiny(n))).collect();
            let sum: u64 = handles.into_iter().map(|handle| handle.join()).sum();
            assert_eq!(sum, expected);
        });
    });
    group.finish();
}

/// One task, submitted and joined at once, again and again.
fn round_trip(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("submit-round-trip");
    group.bench_function("serial", |bencher| {
        bencher.iter(|| assert_eq!(tiny(1)(), 2));
    });
    let pool = through_heist::pool(2);
    group.bench_function("heist-2", |bencher| {
        bencher.iter(|| {
            let result = pool.submit(tiny(1)).join();
            assert_eq!(result.expect("no task panics"), 2);
        });
    });
    group.bench_function("heist-2-inside", |bencher| {
        pool.run(|| {
            bencher.iter(|| {
                let result = pool.submit(tiny(1)).join();
                assert_eq!(result.expect("no task panics"), 2);
            });
        });
    });
    let pool = NaivePool::new(2);
    group.bench_function("naive-2", |bencher| {
        bencher.iter(|| assert_eq!(pool.submit(tiny(1)).join(), 2));
    });
    group.finish();
}
