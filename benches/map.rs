//! The cost of a map without a chosen chunk size: many cheap items, and items of heavy-tailed cost, random and
//! clustered, against the serial program and the naive pool with four chunks for each thread.

mod common;

use common::maps::{self, Order};
use common::naive::NaivePool;
use common::through_heist;
use criterion::{Criterion, SamplingMode, Throughput};
use std::fmt::Debug;
use std::time::Duration;

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(150))
        .measurement_time(Duration::from_millis(500))
        .configure_from_args();
    let items = maps::cheap_items(1_000_000);
    map(&mut criterion, "map-cheap", &items, maps::cheap);
    for (name, order) in [
        ("map-heavy-random", Order::Random),
        ("map-heavy-clustered", Order::Clustered),
    ] {
        let costs = maps::heavy_tailed_costs(2_000, order);
        map(&mut criterion, name, &costs, maps::spend);
    }
    criterion.final_summary();
}

/// A group for one input and function: serial, heist on one and on two threads, the naive pool on two.
fn map<T, R, F>(criterion: &mut Criterion, name: &str, items: &[T], f: F)
where
    T: Sync,
    R: Send + PartialEq + Debug,
    F: Fn(&T) -> R + Sync,
{
    let serial = || items.iter().map(&f).collect::<Vec<R>>();
    let expected = serial();
    let mut group = criterion.benchmark_group(name);
    group.sampling_mode(SamplingMode::Flat);
    group.throughput(Throughput::Elements(items.len() as u64));
    group.bench_function("serial", |bencher| bencher.iter_with_large_drop(serial));
    for threads in [1, 2] {
        let pool = through_heist::pool(threads);
        assert_eq!(pool.map(items, &f), expected);
        group.bench_function(format!("heist-{threads}"), |bencher| {
            bencher.iter_with_large_drop(|| pool.map(items, &f));
        });
    }
    let pool = NaivePool::new(2);
    assert_eq!(pool.map(items, &f), expected);
    group.bench_function("naive-2", |bencher| {
        bencher.iter_with_large_drop(|| pool.map(items, &f));
    });
    group.finish();
}
