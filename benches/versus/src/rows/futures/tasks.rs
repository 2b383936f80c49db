//! Rows of futures that are ready soon: submitted from outside, by several submitters, by each other; and futures that yield.

use crate::contest::{Bench, Row};
use crate::contestants::AsyncPeer;
use crate::results::Unit;
use crate::rows::shared::{THREADS, leak, time};
use std::future::Future;
use std::hint::black_box;
use std::ops::Range;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

/// The number of those who submit, in rows with several.
const SUBMITTERS: u64 = 4;

/// Runs the rows.
pub fn run(bench: &mut Bench) {
    for threads in bench.threads_or(&[THREADS]) {
        for from in [From::One, From::Threads, From::Tasks] {
            let name = match from {
                From::One => "async-flat",
                From::Threads => "async-flat-from-threads",
                From::Tasks => "async-flat-from-tasks",
            };
            bench.row(&format!("{name}/{threads}"), |bench| {
                flat(bench, from, threads)
            });
        }
        bench.row(&format!("async-tree/{threads}"), |bench| {
            tree(bench, threads)
        });
        for (name, tasks) in [("async-yield-1", 1), ("async-yield-1k", 1_000)] {
            bench.row(&format!("{name}/{threads}"), |bench| {
                yields(bench, tasks, threads)
            });
        }
    }
}

/// Who submits.
#[derive(Clone, Copy)]
enum From {
    /// One thread outside of the pool.
    One,
    /// Several threads outside of the pool.
    Threads,
    /// Several tasks of the pool.
    Tasks,
}

impl From {
    /// Submits `count` futures, and returns how long it takes until all results are there, and their sum.
    fn time<P: AsyncPeer>(self, pool: &'static P, count: u64) -> (Duration, u64) {
        let part = |index| {
            let numbers = count * index / SUBMITTERS..count * (index + 1) / SUBMITTERS;
            submit_and_await(pool, numbers)
        };
        match self {
            From::One => time(|| pool.block_on(submit_and_await(pool, 0..count))),
            From::Tasks => time(|| {
                let parts: Vec<_> = (0..SUBMITTERS)
                    .map(|index| pool.submit_async(part(index)))
                    .collect();
                pool.block_on(sum(parts.into_iter().map(P::result)))
            }),
            From::Threads => {
                let start_line = Barrier::new(SUBMITTERS as usize + 1);
                let submit = |index| {
                    start_line.wait();
                    pool.block_on(part(index))
                };
                thread::scope(|scope| {
                    let submit = &submit;
                    let threads: Vec<_> = (0..SUBMITTERS)
                        .map(|index| scope.spawn(move || submit(index)))
                        .collect();
                    start_line.wait();
                    let start = Instant::now();
                    let sums = threads
                        .into_iter()
                        .map(|thread| thread.join().expect("a submitter panicked"));
                    let sum = sums.sum();
                    (start.elapsed(), sum)
                })
            }
        }
    }
}

/// Submits a tiny future for each number, then awaits all in order. Returns the sum of the results.
async fn submit_and_await<P: AsyncPeer>(pool: &'static P, numbers: Range<u64>) -> u64 {
    let tasks: Vec<_> = numbers
        .map(|n| pool.submit_async(async move { black_box(n) + 1 }))
        .collect();
    sum(tasks.into_iter().map(P::result)).await
}

/// Awaits the futures in order.
async fn sum(futures: impl Iterator<Item = impl Future<Output = u64>>) -> u64 {
    let mut sum = 0;
    for future in futures {
        sum += future.await;
    }
    sum
}

/// Many tiny futures.
fn flat<'a>(bench: &Bench, from: From, threads: usize) -> Row<'a> {
    fn add<P: AsyncPeer>(row: &mut Row, from: From, count: u64, threads: usize) {
        let pool = leak::<P>(threads);
        row.add(P::NAME, count, move || {
            let (duration, sum) = from.time(pool, count);
            assert_eq!(sum, count * (count + 1) / 2, "{} lost a task", P::NAME);
            duration
        });
    }

    let count = bench.pick(300_000, 30_000);
    let submitted = match from {
        From::One => "submitted from outside, then awaited in order".to_string(),
        From::Threads => format!("by {SUBMITTERS} outside threads, each awaits its own"),
        From::Tasks => format!("by {SUBMITTERS} tasks, each awaits its own"),
    };
    let about = format!("{count} tiny futures {submitted}");
    let mut row = Row::new(about, Unit::NanosecondsPer("task"));
    add_all!(add(&mut row, from, count, threads));
    row
}

/// A binary tree of tasks. Each submits its two children and awaits them.
fn tree<'a>(bench: &Bench, threads: usize) -> Row<'a> {
    fn add<P: AsyncPeer>(row: &mut Row, nodes: u64, threads: usize) {
        let pool = leak::<P>(threads);
        row.add(P::NAME, nodes, move || {
            let root = || P::result(pool.submit_async(grow(pool, 1, nodes)));
            let (duration, sum) = time(|| pool.block_on(root()));
            assert_eq!(sum, nodes * (nodes + 1) / 2, "{} lost a task", P::NAME);
            duration
        });
    }

    /// The sum of the numbers of all nodes from `node` on. The children of n are 2n and 2n + 1.
    #[allow(
        clippy::manual_async_fn,
        reason = "an async function does not say that its future is Send, which a recursion must"
    )]
    fn grow<P>(pool: &'static P, node: u64, nodes: u64) -> impl Future<Output = u64> + Send
    where
        P: AsyncPeer,
    {
        async move {
            if 2 * node > nodes {
                return node;
            }
            let left = pool.submit_async(grow(pool, 2 * node, nodes));
            let right = pool.submit_async(grow(pool, 2 * node + 1, nodes));
            node + P::result(left).await + P::result(right).await
        }
    }

    let levels = bench.pick(18, 14);
    let nodes = (1 << levels) - 1;
    let about = format!("a binary tree of {nodes} tasks, each awaits its children");
    let mut row = Row::new(about, Unit::NanosecondsPer("task"));
    add_all!(add(&mut row, nodes, threads));
    row
}

/// Tasks that yield, by the way of yielding that each library has.
fn yields<'a>(bench: &Bench, tasks: u64, threads: usize) -> Row<'a> {
    fn add<P: AsyncPeer>(row: &mut Row, tasks: u64, each: u64, threads: usize) {
        let pool = leak::<P>(threads);
        let task = move || async move {
            let mut count = 0;
            for _ in 0..each {
                P::yield_now().await;
                count += 1;
            }
            count
        };
        row.add(P::NAME, tasks * each, move || {
            let (duration, count) = time(|| {
                let tasks: Vec<_> = (0..tasks).map(|_| pool.submit_async(task())).collect();
                pool.block_on(sum(tasks.into_iter().map(P::result)))
            });
            assert_eq!(count, tasks * each, "{} lost a yield", P::NAME);
            duration
        });
    }

    let each = bench.pick(1_000_000, 50_000) / tasks;
    let who = match tasks {
        1 => "one task".to_string(),
        _ => format!("{tasks} tasks"),
    };
    let about = format!("{who}, {each} yields each");
    let mut row = Row::new(about, Unit::NanosecondsPer("yield"));
    add_all!(add(&mut row, tasks, each, threads));
    row
}
