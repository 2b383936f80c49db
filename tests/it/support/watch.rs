//! The watchdog: a hang fails the test within a minute and says where each thread is.

use super::{pool, pool_with};
use heist::{ThreadPool, ThreadPoolBuilder};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::mem::ManuallyDrop;
use std::panic::{Location, resume_unwind};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// The time after which a test counts as hung: 50 s, multiplied by `HEIST_TEST_PATIENCE` for tools that slow everything down.
pub fn limit() -> Duration {
    let times =
        std::env::var("HEIST_TEST_PATIENCE").map_or(1, |text| text.parse().expect("a number"));
    Duration::from_secs(50) * times
}

/// How much longer than `limit` a thread of a test spins: the watchdog reports first, and the spinning still ends.
const LONGER: Duration = Duration::from_secs(5);

/// Runs `body` on a new thread. Panics if it does not end within `limit`.
#[track_caller]
pub fn watched<R: Send + 'static>(body: impl FnOnce() -> R + Send + 'static) -> R {
    watch(Location::caller(), None, body)
}

/// Runs `body` like `watched`. After a hang it also prints the counters of `pool`.
#[track_caller]
pub fn watched_pool<R: Send + 'static>(
    pool: &ThreadPool,
    body: impl FnOnce(&ThreadPool) -> R + Send + 'static,
) -> R {
    let own = pool.clone();
    watch(Location::caller(), Some(pool.clone()), move || body(&own))
}

/// Runs `body` like `watched_pool`, on a new test pool.
#[track_caller]
pub fn on_pool<R: Send + 'static>(body: impl FnOnce(&ThreadPool) -> R + Send + 'static) -> R {
    owning(pool(), body)
}

/// Runs `body` like `on_pool`, on a pool of `threads` threads.
#[track_caller]
pub fn on_pool_of<R: Send + 'static>(
    threads: usize,
    body: impl FnOnce(&ThreadPool) -> R + Send + 'static,
) -> R {
    owning(pool_with(|builder| builder.num_threads(threads)), body)
}

/// Runs `body` like `on_pool`, on a pool with further settings.
#[track_caller]
pub fn on_pool_with<R: Send + 'static>(
    configure: impl FnOnce(ThreadPoolBuilder) -> ThreadPoolBuilder,
    body: impl FnOnce(&ThreadPool) -> R + Send + 'static,
) -> R {
    owning(pool_with(configure), body)
}

/// Drops the pool under the watchdog too. If the test has failed, the pool is leaked, since its threads may hang.
#[track_caller]
fn owning<R: Send + 'static>(
    pool: ThreadPool,
    body: impl FnOnce(&ThreadPool) -> R + Send + 'static,
) -> R {
    let place = Location::caller();
    let pool = ManuallyDrop::new(pool);
    let value = watch(place, Some(ThreadPool::clone(&pool)), {
        let own = ThreadPool::clone(&pool);
        move || body(&own)
    });
    watch(place, None, move || drop(ManuallyDrop::into_inner(pool)));
    value
}

fn watch<R: Send + 'static>(
    place: &Location<'_>,
    pool: Option<ThreadPool>,
    body: impl FnOnce() -> R + Send + 'static,
) -> R {
    let (done, finished) = mpsc::channel();
    let thread = std::thread::Builder::new()
        .name(format!("line{}", place.line()))
        .stack_size(16 << 20)
        .spawn(move || {
            let value = body();
            // The receiver is gone if the test has timed out.
            let _ = done.send(value);
        })
        .expect("a thread for the test");
    match finished.recv_timeout(limit()) {
        Ok(value) => {
            if let Err(payload) = thread.join() {
                resume_unwind(payload);
            }
            value
        }
        Err(RecvTimeoutError::Disconnected) => match thread.join() {
            Ok(()) => unreachable!("the body ended without a value and without a panic"),
            Err(payload) => resume_unwind(payload),
        },
        Err(RecvTimeoutError::Timeout) => {
            let threads = describe_threads();
            panic!(
                "{place}: not finished after {:?}\n{threads}{}",
                limit(),
                describe_pool(pool)
            )
        }
    }
}

/// Spins until `condition` holds. Yields the processor between two checks.
#[track_caller]
pub fn spin_until(mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(
            start.elapsed() < limit() + LONGER,
            "{}: waited in vain",
            Location::caller()
        );
        std::thread::yield_now();
    }
}

/// The ids of this process's threads. Empty where there is no /proc.
///
/// The list is the union of three readings: one reading can leave out a thread if others end meanwhile.
pub fn tasks() -> Vec<String> {
    let read = |_| std::fs::read_dir("/proc/self/task").into_iter().flatten();
    let ids: BTreeSet<String> = (0..3)
        .flat_map(read)
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    ids.into_iter().collect()
}

/// One file of a thread. Empty if the thread has ended.
pub fn read_task(task: &str, file: &str) -> String {
    std::fs::read_to_string(format!("/proc/self/task/{task}/{file}"))
        .map(|text| text.trim_end().to_owned())
        .unwrap_or_default()
}

/// The state of a thread: `S` if it sleeps.
pub fn state_of(task: &str) -> char {
    // The line is "pid (comm) S ...". The name may hold any character, so the state follows the last bracket.
    let stat = read_task(task, "stat");
    let state = stat.rsplit(')').next().unwrap_or_default();
    state.trim_start().chars().next().unwrap_or('?')
}

fn describe_threads() -> String {
    let mut text = String::from("  thread id  name             state  sleeps in\n");
    for task in tasks() {
        let _ = writeln!(
            text,
            "  {task:>9}  {:<15}  {:<5}  {}",
            read_task(&task, "comm"),
            state_of(&task),
            read_task(&task, "wchan"),
        );
    }
    text
}

/// The counters of the pool. A separate thread reads them, since the pool may be in any state.
fn describe_pool(pool: Option<ThreadPool>) -> String {
    let Some(pool) = pool else {
        return String::new();
    };
    let (done, stats) = mpsc::channel();
    std::thread::spawn(move || {
        let stats = pool.stats();
        let _ = done.send(format!("{}\n{stats}\n{stats:?}", pool.dump()));
        // The drop of the pool would join threads that hang.
        std::mem::forget(pool);
    });
    stats
        .recv_timeout(Duration::from_secs(2))
        .unwrap_or_else(|_| "  stats() hangs as well".to_owned())
}
