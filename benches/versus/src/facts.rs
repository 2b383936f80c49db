//! Figures that are counted, not raced: allocations, threads and CPU of a pool at rest, and events of the scheduler.

use crate::allocations::{self, Allocated};
use crate::common::contract::{JoinKernel, SpawnKernel, Tally};
use crate::common::fib::Fib;
use crate::common::mix;
use crate::common::queens::QueensBySpawn;
use crate::common::spawn_tree::SpawnTree;
use crate::common::uneven_tree;
use crate::contest::Bench;
#[cfg(feature = "forte")]
use crate::contestants::Forte;
use crate::contestants::{
    AsyncExecutor, AsyncIoSleeps, AsyncPeer, Channel, Chili, Crossbeam, Futures, Heist,
    HeistSleeps, JoinPeer, Naive, OrderedChannels, Peer, Rayon, ScopePeer, SleepPeer, SubmitPeer,
    Tokio, TokioSleeps,
};
use crate::fact_names::{
    ALLOCATIONS_PER_JOIN, ALLOCATIONS_PER_SPAWN, ALLOCATIONS_PER_SUBMIT, ASYNC_ALLOCATIONS,
    ASYNC_BLOCK_8, ASYNC_BLOCK_64, ASYNC_SLEEP_BYTES, ASYNC_WAIT_ALLOCATIONS, BYTES_PER_SUBMIT,
    EVENTS, IDLE_CPU, STREAM_ALIVE, TASK_BLOCK_8, TASK_BLOCK_32, TASK_BLOCK_64,
    UNUSED_POOL_THREADS,
};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

/// Long enough for threads of earlier rows to end and for a pool to come to rest.
const SETTLE: Duration = Duration::from_millis(100);

/// Measures every fact that is wanted.
pub fn run_all(bench: &mut Bench) {
    println!();
    allocations_per_join(bench);
    allocations_per_spawn(bench);
    allocations_per_submit(bench);
    task_blocks(bench);
    futures(bench);
    pending_sleeps(bench);
    items_alive(bench);
    threads_of_an_unused_pool(bench);
    idle_cpu(bench);
    events(bench);
}

/// The number of runs of which the one with the fewest allocations counts. A thread that starts in some run allocates too.
const RUNS: usize = 5;

/// Heap allocations for each join of a fib, in the best of some runs.
fn allocations_per_join(bench: &mut Bench) {
    fn take<P: JoinPeer>(bench: &mut Bench) {
        let kernel = Fib { n: 25 };
        let pool = P::build(2);
        let allocations = fewest_allocations(|| {
            pool.time(&kernel);
        });
        let per_join = allocations as f64 / kernel.units() as f64;
        bench.fact(ALLOCATIONS_PER_JOIN, P::NAME, per_join, "per join");
    }

    if bench.wants(ALLOCATIONS_PER_JOIN) {
        take::<Heist>(bench);
        take::<Rayon>(bench);
        take::<Chili>(bench);
        #[cfg(feature = "forte")]
        take::<Forte>(bench);
        take::<Crossbeam>(bench);
    }
}

/// Heap allocations for each task spawned on a scope, in the best of some runs.
fn allocations_per_spawn(bench: &mut Bench) {
    fn take<P: ScopePeer>(bench: &mut Bench) {
        let kernel = SpawnTree { order: 16 };
        let pool = P::build(2);
        let tally = Tally::default();
        let allocations = fewest_allocations(|| {
            pool.time_scope(kernel, &tally);
        });
        let per_spawn = allocations as f64 / kernel.spawns() as f64;
        bench.fact(ALLOCATIONS_PER_SPAWN, P::NAME, per_spawn, "per spawn");
    }

    if bench.wants(ALLOCATIONS_PER_SPAWN) {
        take::<Heist>(bench);
        take::<Rayon>(bench);
        take::<Naive>(bench);
    }
}

/// The number of tasks in facts about single tasks.
const SUBMITS: u64 = 20_000;

/// Heap allocations and bytes for each task that a thread outside the pool submits, in the best of some runs. They include the task, its
/// handle and the queue.
fn allocations_per_submit(bench: &mut Bench) {
    fn take<P: SubmitPeer>(bench: &mut Bench) {
        let pool = P::with_workers(2);
        let runs = (0..RUNS).map(|_| submit_closures::<P, 1>(&pool));
        let Some(fewest) = runs.min_by_key(|run| (run.count, run.bytes)) else {
            return;
        };
        let per_submit = |total: u64| total as f64 / SUBMITS as f64;
        let beyond = per_submit(fewest.bytes) - size_of::<u64>() as f64;
        let count = per_submit(fewest.count);
        bench.fact(ALLOCATIONS_PER_SUBMIT, P::NAME, count, "per submit");
        let unit = "per submit, beyond a closure of 8";
        bench.fact(BYTES_PER_SUBMIT, P::NAME, beyond, unit);
    }

    if bench.wants(ALLOCATIONS_PER_SUBMIT) || bench.wants(BYTES_PER_SUBMIT) {
        take::<Heist>(bench);
        take::<Rayon>(bench);
        take::<Channel>(bench);
        take::<Tokio>(bench);
        #[cfg(feature = "forte")]
        take::<Forte>(bench);
        take::<Naive>(bench);
    }
}

/// The size of a submitted task's block beyond its closure or its result, whichever is larger. It includes the head of the page that the block is cut from.
fn task_blocks(bench: &mut Bench) {
    fn take<const WORDS: usize>(bench: &mut Bench, name: &str) {
        if bench.wants(name) {
            let allocated = submit_closures::<Heist, WORDS>(&Heist::build(2));
            let block = allocated.main_size_bytes as f64 / SUBMITS as f64;
            let beyond = block - size_of::<[u64; WORDS]>() as f64;
            bench.fact(name, Heist::NAME, beyond, "beyond the closure");
        }
    }

    take::<1>(bench, TASK_BLOCK_8);
    take::<4>(bench, TASK_BLOCK_32);
    take::<8>(bench, TASK_BLOCK_64);
}

/// Submits and joins closures that hold `WORDS` words and return one.
fn submit_closures<P: SubmitPeer, const WORDS: usize>(pool: &P) -> Allocated {
    let mut handles = Vec::with_capacity(SUBMITS as usize);
    let mut sum = 0;
    let allocated = allocations::measure(|| {
        for n in 0..SUBMITS {
            let words = [n; WORDS];
            handles.push(pool.submit(move || words.iter().sum::<u64>()));
        }
        pool.join_all(handles, |result| sum += result);
    });
    assert_eq!(sum, WORDS as u64 * SUBMITS * (SUBMITS - 1) / 2);
    allocated
}

/// Heap allocations for each future that a thread outside the pool submits, in the best of some runs, and the size of a future's block beyond the future.
fn futures(bench: &mut Bench) {
    fn take<P: AsyncPeer>(bench: &mut Bench, name: &str, end: End) {
        if bench.wants(name) {
            let pool = P::build(2);
            let runs = (0..RUNS).map(|_| submit_futures::<P, 1>(&pool, end).0.count);
            let per_submit = runs.min().unwrap_or(0) as f64 / SUBMITS as f64;
            bench.fact(name, P::NAME, per_submit, "per submit");
        }
    }

    fn take_block<const WORDS: usize>(bench: &mut Bench, name: &str) {
        if bench.wants(name) {
            let pool = Heist::build(2);
            let (allocated, future) = submit_futures::<Heist, WORDS>(&pool, End::AtOnce);
            let beyond = allocated.main_size_bytes as f64 / SUBMITS as f64 - future as f64;
            bench.fact(name, Heist::NAME, beyond, "beyond the future");
        }
    }

    for (name, end) in [
        (ASYNC_ALLOCATIONS, End::AtOnce),
        (ASYNC_WAIT_ALLOCATIONS, End::WhenWoken),
    ] {
        take::<Heist>(bench, name, end);
        take::<Tokio>(bench, name, end);
        take::<AsyncExecutor>(bench, name, end);
        take::<Futures>(bench, name, end);
    }
    take_block::<1>(bench, ASYNC_BLOCK_8);
    take_block::<8>(bench, ASYNC_BLOCK_64);
}

/// When a future is ready.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    AtOnce,
    /// When all futures have been polled, and woken by a thread outside the pool.
    WhenWoken,
}

/// Submits and awaits futures that hold `WORDS` words and return one. Returns what was allocated and the size of a future.
fn submit_futures<P: AsyncPeer, const WORDS: usize>(pool: &P, end: End) -> (Allocated, usize) {
    let wakers = Arc::new(Mutex::new(Vec::<Waker>::with_capacity(SUBMITS as usize)));
    let mut tasks = Vec::with_capacity(SUBMITS as usize);
    let (mut sum, mut size) = (0, 0);
    let allocated = allocations::measure(|| {
        for n in 0..SUBMITS {
            let (words, wakers) = ([n; WORDS], Arc::clone(&wakers));
            let mut waits = end == End::WhenWoken;
            let future = poll_fn(move |context| {
                if std::mem::take(&mut waits) {
                    let waker = context.waker().clone();
                    wakers.lock().expect("nobody panics").push(waker);
                    return Poll::Pending;
                }
                Poll::Ready(words.iter().sum::<u64>())
            });
            size = size_of_val(&future);
            tasks.push(pool.submit_async(future));
        }
        if end == End::WhenWoken {
            let woken = || wakers.lock().expect("nobody panics").len() as u64;
            while woken() < SUBMITS {
                thread::yield_now();
            }
            let mut wakers = wakers.lock().expect("nobody panics");
            wakers.drain(..).for_each(Waker::wake);
        }
        pool.block_on(async {
            for task in tasks {
                sum += P::result(task).await;
            }
        });
    });
    assert_eq!(sum, WORDS as u64 * SUBMITS * (SUBMITS - 1) / 2);
    (allocated, size)
}

/// The bytes of each of many pending sleeps, with the future itself.
fn pending_sleeps(bench: &mut Bench) {
    fn take<P: SleepPeer>(bench: &mut Bench) {
        let count = bench.pick(1_000_000, 100_000);
        let peer = P::start();
        let first = Instant::now() + Duration::from_secs(3_600);
        let mut sleeps: Vec<Pin<Box<P::Sleep>>> = Vec::with_capacity(count as usize);
        let mut context = Context::from_waker(Waker::noop());
        let allocated = allocations::measure(|| {
            for n in 0..count {
                let deadline = first + Duration::from_micros(mix(n) % 600_000_000);
                let mut sleep = Box::pin(peer.sleep_until(deadline));
                assert!(sleep.as_mut().poll(&mut context).is_pending());
                sleeps.push(sleep);
            }
        });
        let bytes = allocated.bytes as f64 / count as f64;
        bench.fact(ASYNC_SLEEP_BYTES, P::NAME, bytes, "per sleep");
    }

    if bench.wants(ASYNC_SLEEP_BYTES) {
        take::<HeistSleeps>(bench);
        take::<TokioSleeps>(bench);
        take::<AsyncIoSleeps>(bench);
    }
}

/// The most items and results of a stream that exist at a time while the consumer drops each before it asks for the next.
fn items_alive(bench: &mut Bench) {
    static ALIVE: AtomicUsize = AtomicUsize::new(0);
    static PEAK: AtomicUsize = AtomicUsize::new(0);

    /// An item that the stream returns as its result.
    struct Item(u64);

    impl Item {
        fn new(n: u64) -> Self {
            let alive = ALIVE.fetch_add(1, Ordering::Relaxed) + 1;
            PEAK.fetch_max(alive, Ordering::Relaxed);
            Item(n)
        }
    }

    impl Drop for Item {
        fn drop(&mut self) {
            ALIVE.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn peak(count: u64, stream: impl Iterator<Item = Item>) -> f64 {
        PEAK.store(0, Ordering::Relaxed);
        assert!(stream.map(|item| item.0).eq(0..count), "not in order");
        assert_eq!(ALIVE.load(Ordering::Relaxed), 0, "an item was kept");
        PEAK.load(Ordering::Relaxed) as f64
    }

    if bench.wants(STREAM_ALIVE) {
        let count = bench.pick(1_000_000, 100_000);
        let (threads, window) = (2, 8);
        let pool = Heist::build(threads);
        let stream = pool.pool().imap((0..count).map(Item::new), |item| item);
        let most = peak(count, stream.map(|item| item.expect("no item panics")));
        bench.fact(STREAM_ALIVE, Heist::NAME, most, "at a time");
        let mut channels = OrderedChannels::new(threads, window, |item| item);
        let most = peak(count, channels.map((0..count).map(Item::new)));
        bench.fact(STREAM_ALIVE, "channels", most, "at a time");
    }
}

fn fewest_allocations(work: impl Fn()) -> u64 {
    (0..RUNS)
        .map(|_| allocations::count(&work))
        .min()
        .unwrap_or(0)
}

/// Threads that the process gains by a pool of eight that is never used.
fn threads_of_an_unused_pool(bench: &mut Bench) {
    fn take<P: Peer>(bench: &mut Bench) {
        thread::sleep(SETTLE);
        let before = thread_count();
        let pool = P::build(8);
        thread::sleep(SETTLE);
        let after = thread_count();
        drop(pool);
        let gained = after as f64 - before as f64;
        bench.fact(UNUSED_POOL_THREADS, P::NAME, gained, "threads");
    }

    if bench.wants(UNUSED_POOL_THREADS) {
        take::<Heist>(bench);
        take::<Rayon>(bench);
        take::<Chili>(bench);
        #[cfg(feature = "forte")]
        take::<Forte>(bench);
        take::<Crossbeam>(bench);
        take::<Naive>(bench);
    }
}

/// CPU time that the whole process uses while the only pool, of two threads, rests after work.
fn idle_cpu(bench: &mut Bench) {
    fn rest<P: Peer>(bench: &mut Bench, pool: &P) {
        thread::sleep(SETTLE);
        let rest = Duration::from_secs(3);
        let before = process_cpu();
        thread::sleep(rest);
        let used = process_cpu() - before;
        let ms_per_second = used.as_secs_f64() * 1e3 / rest.as_secs_f64();
        bench.fact(IDLE_CPU, P::NAME, ms_per_second, "ms/s");
        let _ = pool;
    }

    fn after_joins<P: JoinPeer>(bench: &mut Bench) {
        let pool = P::build(2);
        pool.time(&Fib { n: 28 });
        rest(bench, &pool);
    }

    if bench.wants(IDLE_CPU) {
        after_joins::<Heist>(bench);
        after_joins::<Rayon>(bench);
        after_joins::<Chili>(bench);
        #[cfg(feature = "forte")]
        after_joins::<Forte>(bench);
        after_joins::<Crossbeam>(bench);
        let naive = Naive::build(2);
        naive.time_scope(SpawnTree { order: 14 }, &Tally::default());
        rest(bench, &naive);
    }
}

/// What grows with the number of cores: heist's events for each 1,000 forks or tasks on pools of 2, 8 and 32 workers.
fn events(bench: &mut Bench) {
    fn report(bench: &mut Bench, name: &str, units: u64, work: impl Fn(&Heist)) {
        for threads in [2, 8, 32] {
            let name = format!("{EVENTS}-{name}/{threads}");
            if !bench.wants(&name) {
                continue;
            }
            let pool = Heist::build(threads);
            work(&pool);
            let before = pool.stats();
            work(&pool);
            let after = pool.stats();
            let mut event = |event: &str, before: u64, after: u64| {
                let per_thousand = (after - before) as f64 * 1_000.0 / units as f64;
                let unit = format!("{event} per 1,000");
                bench.fact(&name, Heist::NAME, per_thousand, &unit);
            };
            event("steals", before.steals, after.steals);
            event("wakeups", before.wakeups, after.wakeups);
            event("parks", before.parks, after.parks);
            let (before, after) = (before.scheduler, after.scheduler);
            event("slow pushes", before.share_requests, after.share_requests);
            event("lost races", before.conflicts, after.conflicts);
            let barriers = |stats: heist::SchedulerStats| stats.forces + stats.barriers;
            event("membarriers", barriers(before), barriers(after));
        }
    }

    let fib = Fib {
        n: bench.pick(33, 27),
    };
    report(bench, "fib", fib.units(), |pool| {
        pool.time(&fib);
    });

    let tree = uneven_tree::geometric(bench.is_quick());
    report(bench, "uts", tree.units(), |pool| {
        pool.time(&tree);
    });

    let queens = QueensBySpawn::new(bench.pick(11, 9));
    report(bench, "scope-queens", queens.spawns(), |pool| {
        pool.time_scope(queens, &Tally::default());
    });

    report(bench, "submit", SUBMITS, |pool| {
        submit_closures::<Heist, 1>(pool);
    });

    let trips = bench.pick(5_000, 1_000);
    report(bench, "round-trip", trips, |pool| {
        for n in 0..trips {
            assert_eq!(pool.join(SubmitPeer::submit(pool, move || n)), n);
        }
    });
}

/// The number of threads of the process. Where the system does not tell, it is 0, and so are the differences.
fn thread_count() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}

/// CPU time of all threads of the process so far.
fn process_cpu() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `clock_gettime` requires a pointer to a writable `timespec`, which `&mut time` is.
    let status = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    assert_eq!(status, 0, "the process has a CPU clock");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
