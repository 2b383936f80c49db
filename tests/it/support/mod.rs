//! What every test stands on: the pools, the watchdog, own processes, and drop ledgers.

#![allow(
    dead_code,
    unused_imports,
    reason = "each test binary includes this module and uses a part of it"
)]

mod gate;
mod graph;
mod ledger;
mod process;
mod watch;

pub use gate::{Gate, Held, hold, hold_all};
pub use graph::{Graph, graph_pool};
pub use ledger::{Ledger, Ticket};
pub use process::{is_isolated, isolated, isolated_with};
pub use watch::{limit, on_pool, on_pool_of, spin_until, watched, watched_pool};

use heist::{ThreadPool, ThreadPoolBuilder};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many threads a test pool has: `HEIST_TEST_THREADS`, or two.
pub fn threads() -> usize {
    match std::env::var("HEIST_TEST_THREADS") {
        Ok(text) => text.parse().expect("HEIST_TEST_THREADS is a number"),
        Err(_) => 2,
    }
}

/// The one helper from which every test pool comes.
pub fn pool_with(configure: impl FnOnce(ThreadPoolBuilder) -> ThreadPoolBuilder) -> ThreadPool {
    configure(ThreadPool::builder().num_threads(threads()))
        .build()
        .expect("a pool for the test")
}

/// A pool of `threads()` threads and otherwise the defaults.
pub fn pool() -> ThreadPool {
    pool_with(|builder| builder)
}

/// A pool in which a thief exists beside the thread that forks: `threads()`, but two at least.
pub fn pool_with_thieves() -> ThreadPool {
    pool_with(|builder| builder.num_threads(threads().max(2)))
}

/// A pool whose threads have names of their own, so that `threads_named` can count them.
/// Linux cuts names after 15 bytes, so the prefix is short.
pub fn named_pool(
    configure: impl FnOnce(ThreadPoolBuilder) -> ThreadPoolBuilder,
) -> (ThreadPool, String) {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let prefix = format!("np{}.", NEXT.fetch_add(1, Ordering::Relaxed));
    let names = prefix.clone();
    let pool =
        pool_with(|builder| configure(builder.thread_name(move |index| format!("{names}{index}"))));
    (pool, prefix)
}

/// How many live threads of this process have a name that begins with `prefix`.
pub fn threads_named(prefix: &str) -> usize {
    watch::tasks()
        .into_iter()
        .filter(|task| watch::read_task(task, "comm").starts_with(prefix))
        .count()
}

/// How many live threads of this process sleep and have a name that begins with `prefix`.
pub fn sleeping_named(prefix: &str) -> usize {
    watch::tasks()
        .into_iter()
        .filter(|task| watch::read_task(task, "comm").starts_with(prefix))
        .filter(|task| watch::state_of(task) == 'S')
        .count()
}

/// How many threads this process has.
pub fn live_threads() -> usize {
    watch::tasks().len()
}

/// The panic that `body` ends in, as text.
pub fn panic_of<R>(body: impl FnOnce() -> R) -> String {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(_) => panic!("a panic was expected"),
        Err(payload) => payload_text(&*payload),
    }
}

/// Whether `body` panicked, or its value.
pub fn outcome<R>(body: impl FnOnce() -> R) -> std::thread::Result<R> {
    catch_unwind(AssertUnwindSafe(body))
}

/// The text in a panic payload.
pub fn payload_text(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "a payload that is no text".to_owned()
    }
}

/// `fib` by joins without a cut-off, on the pool of the current thread.
pub fn fib(n: u32) -> u64 {
    if n < 2 {
        return u64::from(n);
    }
    let (a, b) = heist::join(|| fib(n - 1), || fib(n - 2));
    a + b
}

/// The oracle of `fib`.
pub fn serial_fib(n: u32) -> u64 {
    (0..n).fold((0, 1), |(a, b), _| (b, a + b)).0
}

/// A little work that the optimiser keeps.
pub fn work(rounds: u64) -> u64 {
    (0..rounds).fold(1, |value: u64, round| {
        std::hint::black_box(value.wrapping_mul(6_364_136_223_846_793_005) + round)
    })
}
