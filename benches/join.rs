//! The cost and the gain of a fork: recursive joins without a cut-off, each against its serial program.
//!
//! The naive pool cannot join, so its fib spawns one half of each call. `benches/versus` has the peers and the full sizes.

mod common;

use common::contract::{JoinKernel, SpawnKernel, Tally};
use common::fib::{Fib, FibBySpawn, FlatJoins};
use common::heap_tree::{HeapTree, LeftFirst, RightFirst};
use common::integrate::Integrate;
use common::naive::NaivePool;
use common::queens::QueensByJoin;
use common::through_heist::{self, HeistJoin};
use common::uneven_tree;
use criterion::{BenchmarkGroup, Criterion, SamplingMode, Throughput, measurement::WallTime};
use std::time::Duration;

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(150))
        .measurement_time(Duration::from_millis(500))
        .configure_from_args();
    fib(&mut criterion);
    kernel(
        &mut criterion,
        "flat-joins",
        &FlatJoins { count: 1_000_000 },
    );
    kernel(
        &mut criterion,
        "uts-geometric",
        &uneven_tree::geometric(true),
    );
    kernel(&mut criterion, "uts-binomial", &uneven_tree::binomial(true));
    kernel(&mut criterion, "integrate", &Integrate::new(2_000.0, 1e-3));
    kernel(&mut criterion, "queens", &QueensByJoin::new(11));
    let tree = HeapTree::new(20);
    let right_first = RightFirst { tree, repeat: 1 };
    kernel(&mut criterion, "tree-1M-right", &right_first);
    let left_first = LeftFirst { tree, repeat: 1 };
    kernel(&mut criterion, "tree-1M-left", &left_first);
    criterion.final_summary();
}

fn fib(criterion: &mut Criterion) {
    let mut group = new_group(criterion, "fib");
    add_serial_and_heist(&mut group, &Fib { n: 30 });

    let kernel = FibBySpawn { n: 18 };
    let expected = kernel.serial();
    group.throughput(Throughput::Elements(kernel.spawns()));
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

/// A group for one kernel: the serial program, and heist on one and on two threads.
fn kernel<K: JoinKernel>(criterion: &mut Criterion, name: &str, kernel: &K) {
    let mut group = new_group(criterion, name);
    add_serial_and_heist(&mut group, kernel);
    group.finish();
}

fn new_group<'a>(criterion: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.sampling_mode(SamplingMode::Flat);
    group
}

fn add_serial_and_heist<K: JoinKernel>(group: &mut BenchmarkGroup<'_, WallTime>, kernel: &K) {
    let expected = kernel.serial();
    group.throughput(Throughput::Elements(kernel.units()));
    group.bench_function("serial", |bencher| {
        bencher.iter(|| assert_eq!(kernel.serial(), expected));
    });
    for threads in [1, 2] {
        let pool = through_heist::pool(threads);
        group.bench_function(format!("heist-{threads}"), |bencher| {
            pool.install(|| {
                bencher.iter(|| assert_eq!(kernel.run::<HeistJoin>(&mut ()), expected));
            });
        });
    }
}
