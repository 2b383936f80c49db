//! The cost of taking results one by one: lazy maps through a window, and handles as they finish, against the serial
//! program and the naive pool.

mod common;

use common::mix;
use common::naive::NaivePool;
use common::through_heist;
use criterion::{Criterion, SamplingMode, Throughput};
use std::hint::black_box;
use std::time::Duration;

/// The number of items of one round.
const COUNT: u64 = 20_000;

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(150))
        .measurement_time(Duration::from_millis(500))
        .configure_from_args();
    imap(&mut criterion);
    as_completed(&mut criterion);
    criterion.final_summary();
}

/// A sum of results that may wrap.
fn sum(results: impl Iterator<Item = u64>) -> u64 {
    results.fold(0, u64::wrapping_add)
}

/// Small items, in order and as they finish, with four items running for each thread.
fn imap(criterion: &mut Criterion) {
    let expected = sum((0..COUNT).map(mix));
    let mut group = criterion.benchmark_group("stream-imap");
    group.sampling_mode(SamplingMode::Flat);
    group.throughput(Throughput::Elements(COUNT));
    group.bench_function("serial", |bencher| {
        bencher.iter(|| assert_eq!(sum((0..black_box(COUNT)).map(mix)), expected));
    });
    for threads in [1, 2] {
        let pool = through_heist::pool(threads);
        group.bench_function(format!("heist-{threads}"), |bencher| {
            bencher.iter(|| {
                let results = pool.imap(0..COUNT, mix);
                let results = results.map(|result| result.expect("no item panics"));
                assert_eq!(sum(results), expected);
            });
        });
        group.bench_function(format!("heist-chunk-{threads}"), |bencher| {
            bencher.iter(|| {
                let results = pool.imap(0..COUNT, mix).window(1_024).chunk(128);
                let results = results.map(|result| result.expect("no item panics"));
                assert_eq!(sum(results), expected);
            });
        });
        group.bench_function(format!("heist-unordered-{threads}"), |bencher| {
            bencher.iter(|| {
                let results = pool.imap_unordered(0..COUNT, mix);
                let results = results.map(|(_, result)| result.expect("no item panics"));
                assert_eq!(sum(results), expected);
            });
        });
    }
    let pool = NaivePool::new(2);
    group.bench_function("naive-2", |bencher| {
        bencher.iter(|| assert_eq!(sum(pool.imap(0..COUNT, 8, mix)), expected));
    });
    group.finish();
}

/// The results of many handles, as they finish and in order.
fn as_completed(criterion: &mut Criterion) {
    let expected = COUNT * (COUNT - 1) / 2;
    let mut group = criterion.benchmark_group("stream-as-completed");
    group.sampling_mode(SamplingMode::Flat);
    group.throughput(Throughput::Elements(COUNT));
    group.bench_function("serial", |bencher| {
        bencher.iter(|| assert_eq!((0..COUNT).map(black_box).sum::<u64>(), expected));
    });
    let pool = through_heist::pool(2);
    let submit = || (0..COUNT).map(|n| pool.submit(move || black_box(n)));
    group.bench_function("heist-2", |bencher| {
        bencher.iter(|| {
            let results = heist::as_completed(submit());
            let results = results.map(|(_, result)| result.expect("no task panics"));
            assert_eq!(results.sum::<u64>(), expected);
        });
    });
    group.bench_function("heist-2-in-order", |bencher| {
        bencher.iter(|| {
            let handles: Vec<_> = submit().collect();
            let results = handles.into_iter().map(|handle| handle.join());
            let results = results.map(|result| result.expect("no task panics"));
            assert_eq!(results.sum::<u64>(), expected);
        });
    });
    let pool = NaivePool::new(2);
    group.bench_function("naive-2-in-order", |bencher| {
        bencher.iter(|| {
            let handles: Vec<_> = (0..COUNT)
                .map(|n| pool.submit(move || black_box(n)))
                .collect();
            let sum: u64 = handles.into_iter().map(|handle| handle.join()).sum();
            assert_eq!(sum, expected);
        });
    });
    group.finish();
}
