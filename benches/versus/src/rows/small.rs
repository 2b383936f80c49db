//! Rows in which the work is small compared with its threads: a pool for one call, a closure on each worker, a scope of tasks in order.
//!
//! heist joins a pool's threads when the last handle is dropped. rayon's drop returns at once, and the threads end while the next pool is built.

use super::shared::time;
use crate::common::maps;
use crate::contest::{Bench, Row};
use crate::contestants::{Heist, Peer, Rayon};
use crate::results::Unit;
use rayon::prelude::*;
use std::hint::black_box;
use std::time::Duration;

/// Items of the map.
const ITEMS: usize = 1_000;

/// Runs the rows.
pub fn run(bench: &mut Bench) {
    for threads in bench.threads_or(&[1, 2, 8]) {
        bench.row(&format!("pool-join/{threads}"), |bench| {
            pool_join(threads, bench)
        });
        bench.row(&format!("pool-scope/{threads}"), |bench| {
            pool_scope(threads, bench)
        });
        bench.row(&format!("pool-map/{threads}"), |bench| {
            pool_map(threads, bench)
        });
    }
    for threads in bench.threads_or(&[2, 8]) {
        bench.row(&format!("broadcast/{threads}"), |bench| {
            broadcast(threads, bench)
        });
    }
    for threads in bench.threads_or(&[1]) {
        bench.row(&format!("scope-fifo/{threads}"), |bench| {
            scope_fifo(threads, bench)
        });
    }
}

fn heist_pool(threads: usize) -> heist::ThreadPool {
    Heist::build(threads).pool().clone()
}

fn rayon_pool(threads: usize) -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .expect("rayon's pool could not be built")
}

fn pools(bench: &Bench) -> u64 {
    bench.pick(200, 20)
}

/// The time of `calls` calls.
fn repeated(calls: u64, mut call: impl FnMut()) -> Duration {
    time(|| (0..calls).for_each(|_| call())).0
}

fn row<'a>(about: &str, one: &'static str) -> Row<'a> {
    Row::new(about, Unit::MicrosecondsPer(one))
}

/// A pool that is built for one join, and dropped.
fn pool_join<'a>(threads: usize, bench: &Bench) -> Row<'a> {
    let pools = pools(bench);
    let mut row = row("a pool built for one join, and dropped", "pool");
    row.add(Heist::NAME, pools, move || {
        repeated(pools, || {
            let pool = heist_pool(threads);
            black_box(pool.join(|| black_box(1), || black_box(2)));
        })
    });
    row.add(Rayon::NAME, pools, move || {
        repeated(pools, || {
            let pool = rayon_pool(threads);
            black_box(pool.join(|| black_box(1), || black_box(2)));
        })
    });
    row
}

/// A pool that is built for a scope with one task for each thread, and dropped.
fn pool_scope<'a>(threads: usize, bench: &Bench) -> Row<'a> {
    let pools = pools(bench);
    let mut row = row(
        "a pool built for one scope of a task for each thread, and dropped",
        "pool",
    );
    row.add(Heist::NAME, pools, move || {
        repeated(pools, || {
            heist_pool(threads).scope(|scope| {
                for n in 0..threads {
                    scope.spawn(move |_| {
                        black_box(n);
                    });
                }
            });
        })
    });
    row.add(Rayon::NAME, pools, move || {
        repeated(pools, || {
            rayon_pool(threads).scope(|scope| {
                for n in 0..threads {
                    scope.spawn(move |_| {
                        black_box(n);
                    });
                }
            });
        })
    });
    row
}

/// A pool that is built for a map of a thousand cheap items, and dropped.
fn pool_map<'a>(threads: usize, bench: &Bench) -> Row<'a> {
    let pools = pools(bench);
    let mut row = row(
        "a pool built for one map of 1,000 cheap items, and dropped",
        "pool",
    );
    let items = maps::cheap_items(ITEMS);
    row.add(Heist::NAME, pools, move || {
        repeated(pools, || {
            black_box(heist_pool(threads).map(black_box(&items), maps::cheap));
        })
    });
    let items = maps::cheap_items(ITEMS);
    row.add(Rayon::NAME, pools, move || {
        repeated(pools, || {
            let map = || {
                let items = black_box(&items).par_iter();
                items.map(maps::cheap).collect::<Vec<_>>()
            };
            black_box(rayon_pool(threads).install(map));
        })
    });
    row
}

/// A trivial closure on each worker, back to back.
fn broadcast<'a>(threads: usize, bench: &Bench) -> Row<'a> {
    let calls = bench.pick(500, 50);
    let mut row = row("a trivial closure on each worker, back to back", "call");
    let pool = heist_pool(threads);
    row.add(Heist::NAME, calls, move || {
        repeated(calls, || {
            black_box(pool.broadcast(|index| index));
        })
    });
    let pool = rayon_pool(threads);
    row.add(Rayon::NAME, calls, move || {
        repeated(calls, || {
            black_box(pool.broadcast(|context| context.index()));
        })
    });
    row
}

/// Trivial tasks that begin in the order in which they were spawned, on a worker.
fn scope_fifo<'a>(threads: usize, bench: &Bench) -> Row<'a> {
    let tasks = bench.pick(100_000, 5_000);
    let mut row = Row::new(
        "a scope of trivial tasks in the order of their spawns",
        Unit::NanosecondsPer("task"),
    );
    let pool = heist_pool(threads);
    row.add(Heist::NAME, tasks, move || {
        pool.run(|| {
            let spawn_all = || {
                heist::scope(|scope| {
                    for n in 0..tasks {
                        scope.spawn_fifo(move |_| {
                            black_box(n);
                        });
                    }
                });
            };
            time(spawn_all).0
        })
    });
    let pool = rayon_pool(threads);
    row.add(Rayon::NAME, tasks, move || {
        pool.install(|| {
            let spawn_all = || {
                rayon::scope_fifo(|scope| {
                    for n in 0..tasks {
                        scope.spawn_fifo(move |_| {
                            black_box(n);
                        });
                    }
                });
            };
            time(spawn_all).0
        })
    });
    row
}
