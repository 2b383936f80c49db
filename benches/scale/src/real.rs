//! Real pools: they run the simulation's programs, and their statistics count the same events.

use crate::workload::{Node, Ns, Parts, Workload};
use heist::ThreadPool;
use std::hint::spin_loop;
use std::time::{Duration, Instant};

/// What a pool's statistics say about one call.
pub struct Events {
    /// How long the call took.
    pub span: Duration,
    /// Forks that were stolen.
    pub steals: u64,
    /// Attempts to take a private fork.
    pub forces: u64,
    /// Share requests that were answered.
    pub requests: u64,
    /// Threads that were woken or started.
    pub wakeups: u64,
    /// Heavy barriers before a thread went to sleep.
    pub barriers: u64,
}

/// A pool with its threads started and no others.
pub fn pool(threads: usize) -> ThreadPool {
    let builder = ThreadPool::builder().num_threads(threads);
    let builder = builder.spare_threads(0).start(heist::Start::Eager);
    builder.build().expect("the threads can be started")
}

/// Runs a program in the current pool. Its leaves spin for their time.
pub fn run(workload: &Workload, seed: u64) {
    run_node(workload, workload.root(seed));
}

fn run_node(workload: &Workload, node: Node) {
    match workload.expand(node) {
        Parts::Leaf(time) => spin(time),
        Parts::Fork(first, second) => {
            heist::join(|| run_node(workload, first), || run_node(workload, second));
        }
    }
}

fn spin(time: Ns) {
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_nanos(time) {
        spin_loop();
    }
}

/// Calls `work` in the pool, and says what happened meanwhile.
pub fn events_of(pool: &ThreadPool, work: impl FnOnce() + Send) -> Events {
    let before = pool.stats();
    let begin = Instant::now();
    pool.install(work);
    let span = begin.elapsed();
    // A searcher gives up after 50 us.
    std::thread::sleep(Duration::from_micros(300));
    let after = pool.stats();
    let (scheduler, earlier) = (after.scheduler, before.scheduler);
    Events {
        span,
        steals: after.steals - before.steals,
        forces: scheduler.forces - earlier.forces,
        requests: scheduler.share_requests - earlier.share_requests,
        wakeups: after.wakeups - before.wakeups,
        barriers: scheduler.barriers - earlier.barriers,
    }
}
