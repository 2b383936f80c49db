//! What the tests share: pools, the watchdog, isolated processes, gates, and values that count their drops.

#![allow(
    dead_code,
    unused_imports,
    reason = "each test binary includes this module and uses a part of it"
)]

mod door;
mod gate;
mod graph;
mod ledger;
mod process;
mod state;
mod stream;
mod watch;

pub use door::{Door, Passage, suspended};
pub use gate::{Gate, Held, hold, hold_all, running};
pub use graph::{Graph, Pools};
pub use ledger::{Ledger, Ticket};
pub use process::{is_isolated, isolated, isolated_with};
pub use state::{ALL, Case, State, Thing, case, check, goes, poll};
pub use stream::{
    Census, Citizen, KINDS, Kind, Settings, Stream, collected, on_workers, settle, stream, timeout,
    window,
};
pub use watch::{limit, on_pool, on_pool_of, on_pool_with, spin_until, watched, watched_pool};

use heist::{ThreadPool, ThreadPoolBuilder};
use std::any::Any;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// A time limit for a wait that must not reach it. The watchdog's `limit` is longer.
pub const LONG: Duration = Duration::from_secs(40);

/// A pause, a deadline, or a time limit for a wait that reaches it.
pub const SOON: Duration = Duration::from_millis(20);

/// The number of threads of a test pool: `HEIST_TEST_THREADS`, or 2.
pub fn threads() -> usize {
    match std::env::var("HEIST_TEST_THREADS") {
        Ok(text) => text.parse().expect("HEIST_TEST_THREADS is a number"),
        Err(_) => 2,
    }
}

/// A test pool with further settings. Every test pool is built here.
pub fn pool_with(configure: impl FnOnce(ThreadPoolBuilder) -> ThreadPoolBuilder) -> ThreadPool {
    configure(watching(ThreadPool::builder()).num_threads(threads()))
        .build()
        .expect("a pool for the test")
}

/// With `HEIST_TEST_STALL`, the path of a file, the pools of the tests add to that file what stands still for a second.
fn watching(builder: ThreadPoolBuilder) -> ThreadPoolBuilder {
    let Some(path) = std::env::var_os("HEIST_TEST_STALL") else {
        return builder;
    };
    builder.stall_after(Duration::from_secs(1), move |report| {
        let file = std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(&path);
        let _ = writeln!(file.expect("the file of the stalls"), "{report}");
    })
}

/// A pool of `threads()` threads with default settings.
pub fn pool() -> ThreadPool {
    pool_with(|builder| builder)
}

/// A pool in which another thread can steal: it has `threads()` threads, but at least two.
pub fn pool_with_thieves() -> ThreadPool {
    pool_with(|builder| builder.num_threads(threads().max(2)))
}

/// Pools of one thread, with and without spares.
pub fn single() -> [ThreadPool; 2] {
    [
        pool_with(|b| b.num_threads(1)),
        pool_with(|b| b.num_threads(1).spare_threads(0)),
    ]
}

/// Checks that every task of the pool has ended in exactly one way.
#[track_caller]
pub fn assert_balanced(pool: &ThreadPool) {
    let stats = pool.stats();
    assert_eq!(
        stats.submitted,
        stats.completed + stats.failed + stats.cancelled,
        "{stats:?}"
    );
}

/// A pool whose threads have unique names, so that `threads_named` can count them.
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

/// The number of live threads of this process whose names begin with `prefix`.
pub fn threads_named(prefix: &str) -> usize {
    watch::tasks()
        .into_iter()
        .filter(|task| watch::read_task(task, "comm").starts_with(prefix))
        .count()
}

/// The number of sleeping threads of this process whose names begin with `prefix`.
pub fn sleeping_named(prefix: &str) -> usize {
    watch::tasks()
        .into_iter()
        .filter(|task| watch::read_task(task, "comm").starts_with(prefix))
        .filter(|task| watch::state_of(task) == 'S')
        .count()
}

/// The number of threads of this process. The watch over stalls has threads that a pool does not end.
pub fn live_threads() -> usize {
    let is_watch = |task: &String| {
        let name = watch::read_task(task, "comm");
        name == "heist-timer" || name == "heist-stall"
    };
    let is_watched = std::env::var_os("HEIST_TEST_STALL").is_some();
    let tasks = watch::tasks().into_iter();
    tasks.filter(|task| !is_watched || !is_watch(task)).count()
}

/// The text of the panic that `body` ends in.
pub fn panic_of<R>(body: impl FnOnce() -> R) -> String {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(_) => panic!("a panic was expected"),
        Err(payload) => payload_text(&*payload),
    }
}

/// The value of `body`, or the payload of its panic.
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

/// A little work that the optimiser does not remove.
pub fn work(rounds: u64) -> u64 {
    (0..rounds).fold(1, |value: u64, round| {
        std::hint::black_box(value.wrapping_mul(6_364_136_223_846_793_005) + round)
    })
}
