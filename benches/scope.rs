//! The cost of a task spawned on a scope: one task for each node of a recursion, against the serial program and the naive
//! pool.

mod common;

use common::contract::{SpawnKernel, Tally};
use common::naive::NaivePool;
use common::queens::QueensBySpawn;
use common::spawn_tree::SpawnTree;
use common::through_heist;
use criterion::{Criterion, SamplingMode, Throughput};
use std::time::Duration;

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(150))
        .measurement_time(Duration::from_millis(500))
        .configure_from_args();
    kernel(&mut criterion, "scope-queens", QueensBySpawn::new(10));
    kernel(&mut criterion, "scope-tree", SpawnTree { order: 15 });
    criterion.final_summary();
}

/// A group for one kernel: serial, heist on one and on two threads, the naive pool on two.
fn kernel<K: SpawnKernel>(criterion: &mut Criterion, name: &str, kernel: K) {
    let expected = kernel.serial();
    let mut group = criterion.benchmark_group(name);
    group.sampling_mode(SamplingMode::Flat);
    group.throughput(Throughput::Elements(kernel.spawns()));
    group.bench_function("serial", |bencher| {
        bencher.iter(|| assert_eq!(kernel.serial(), expected));
    });
    for threads in [1, 2] {
        let pool = through_heist::pool(threads);
        group.bench_function(format!("heist-{threads}"), |bencher| {
            bencher.iter(|| {
                let tally = Tally::default();
                pool.scope(|scope| kernel.run(scope, &tally));
                assert_eq!(tally.total(), expected);
            });
        });
    }
    let pool = NaivePool::new(2);
    group.bench_function("naive-2", |bencher| {
        bencher.iter(|| {
            let tally = Tally::default();
            pool.scope(|scope| kernel.run(scope, &tally));
            assert_eq!(tally.total(), expected);
        });
    });
    group.finish();
}
