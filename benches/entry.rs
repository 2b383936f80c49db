//! The cost of entering a pool from a thread outside of it, call after call: the price of making a small part of a
//! serial program parallel.

mod common;

use common::maps;
use common::naive::NaivePool;
use common::through_heist;
use criterion::Criterion;
use std::hint::black_box;
use std::time::Duration;

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(150))
        .measurement_time(Duration::from_millis(500))
        .configure_from_args();
    install(&mut criterion);
    join(&mut criterion);
    scope(&mut criterion);
    small_map(&mut criterion);
    criterion.final_summary();
}

/// A trivial closure in the pool. The naive pool runs it as a task.
fn install(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("entry-install");
    group.bench_function("serial", |bencher| bencher.iter(|| black_box(1)));
    let pool = through_heist::pool(2);
    group.bench_function("heist-2", |bencher| {
        bencher.iter(|| pool.install(|| black_box(1)));
    });
    let pool = NaivePool::new(2);
    group.bench_function("naive-2", |bencher| {
        bencher.iter(|| {
            pool.scope(|scope| {
                scope.spawn(|_| {
                    black_box(1);
                });
            });
        });
    });
    group.finish();
}

/// One join of two trivial closures.
fn join(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("entry-join");
    group.bench_function("serial", |bencher| {
        bencher.iter(|| (black_box(1), black_box(2)));
    });
    let pool = through_heist::pool(2);
    group.bench_function("heist-2", |bencher| {
        bencher.iter(|| {
            let answers = pool.join(|| black_box(1), || black_box(2));
            assert_eq!(answers, (1, 2));
        });
    });
    group.finish();
}

/// A scope with two spawned tasks that write to the caller's frame.
fn scope(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("entry-scope");
    group.bench_function("serial", |bencher| {
        bencher.iter(|| (black_box(1), black_box(2)));
    });
    let pool = through_heist::pool(2);
    group.bench_function("heist-2", |bencher| {
        bencher.iter(|| {
            let (mut one, mut two) = (0, 0);
            pool.scope(|scope| {
                scope.spawn(|_| one = black_box(1));
                scope.spawn(|_| two = black_box(2));
            });
            assert_eq!((one, two), (1, 2));
        });
    });
    let pool = NaivePool::new(2);
    group.bench_function("naive-2", |bencher| {
        bencher.iter(|| {
            let (mut one, mut two) = (0, 0);
            pool.scope(|scope| {
                scope.spawn(|_| one = black_box(1));
                scope.spawn(|_| two = black_box(2));
            });
            assert_eq!((one, two), (1, 2));
        });
    });
    group.finish();
}

/// A map of a thousand cheap items.
fn small_map(criterion: &mut Criterion) {
    let items = maps::cheap_items(1_000);
    let expected = maps::serial_cheap(&items);
    let mut group = criterion.benchmark_group("entry-map-1000");
    group.bench_function("serial", |bencher| {
        bencher.iter(|| maps::serial_cheap(black_box(&items)));
    });
    let pool = through_heist::pool(2);
    assert_eq!(pool.map(&items, maps::cheap), expected);
    group.bench_function("heist-2", |bencher| {
        bencher.iter(|| pool.map(black_box(&items), maps::cheap));
    });
    let pool = NaivePool::new(2);
    assert_eq!(pool.map(&items, maps::cheap), expected);
    group.bench_function("naive-2", |bencher| {
        bencher.iter(|| pool.map(black_box(&items), maps::cheap));
    });
    group.finish();
}
