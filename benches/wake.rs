//! The cost of waking a parked pool: the time until the offered work begins on another thread, and the time that the caller spends.
//!
//! The baseline is the least that the system needs: `Thread::unpark` of one parked thread.

mod common;

use common::naive::NaivePool;
use common::through_heist;
use criterion::Criterion;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The time for which a pool is left alone before each sample. It is longer than a worker searches before it parks.
const LEFT_ALONE: Duration = Duration::from_micros(400);

/// The longest time that a caller waits for another thread to take its offer.
const PATIENCE: Duration = Duration::from_millis(5);

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(600))
        .configure_from_args();
    until_it_runs(&mut criterion);
    for_the_caller(&mut criterion);
    criterion.final_summary();
}

/// The time from the offer to the first instruction of the work on another thread.
fn until_it_runs(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("wake-until-it-runs");
    let begun = Begun::default();

    let sleeper = Sleeper::new();
    group.bench_function("unpark", |bencher| {
        bencher.iter_custom(|samples| {
            after_rest(samples, || {
                let woken_before = sleeper.woken();
                let start = Instant::now();
                sleeper.wake();
                while sleeper.woken() == woken_before && start.elapsed() < PATIENCE {
                    std::hint::spin_loop();
                }
                start.elapsed()
            })
        });
    });

    let pool = through_heist::pool(2);
    group.bench_function("heist-join", |bencher| {
        bencher.iter_custom(|samples| {
            after_rest(samples, || {
                let start = begun.reset();
                let (latency, ()) = pool.join(|| begun.wait(start), || begun.set());
                latency
            })
        });
    });
    group.bench_function("heist-scope", |bencher| {
        bencher.iter_custom(|samples| {
            after_rest(samples, || {
                pool.scope(|scope| {
                    let start = begun.reset();
                    scope.spawn(|_| begun.set());
                    begun.wait(start)
                })
            })
        });
    });

    let pool = NaivePool::new(2);
    group.bench_function("naive-scope", |bencher| {
        bencher.iter_custom(|samples| {
            after_rest(samples, || {
                pool.scope(|scope| {
                    let start = begun.reset();
                    scope.spawn(|_| begun.set());
                    begun.wait(start)
                })
            })
        });
    });
    group.finish();
}

/// The time that the caller spends to offer work to a parked pool.
fn for_the_caller(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("wake-for-the-caller");
    let sleeper = Sleeper::new();
    group.bench_function("unpark", |bencher| {
        bencher.iter_custom(|samples| after_rest(samples, || time(|| sleeper.wake())));
    });
    let pool = through_heist::pool(2);
    group.bench_function("heist-join", |bencher| {
        bencher.iter_custom(|samples| {
            after_rest(samples, || {
                time(|| assert_eq!(pool.join(|| 1, || 2), (1, 2)))
            })
        });
    });
    group.bench_function("heist-spawn", |bencher| {
        bencher.iter_custom(|samples| after_rest(samples, || time(|| pool.spawn(|| {}))));
    });
    let pool = NaivePool::new(2);
    group.bench_function("naive-spawn", |bencher| {
        bencher.iter_custom(|samples| after_rest(samples, || time(|| pool.spawn(|| {}))));
    });
    group.finish();
}

fn time(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

/// The sum of `samples` samples, each taken after a rest.
fn after_rest(samples: u64, mut sample: impl FnMut() -> Duration) -> Duration {
    (0..samples)
        .map(|_| {
            thread::sleep(LEFT_ALONE);
            sample()
        })
        .sum()
}

/// Whether the offered work has begun.
#[derive(Default)]
struct Begun {
    flag: AtomicBool,
}

impl Begun {
    fn reset(&self) -> Instant {
        self.flag.store(false, Ordering::Relaxed);
        Instant::now()
    }

    fn set(&self) {
        self.flag.store(true, Ordering::Relaxed);
    }

    /// Waits for the work to begin and returns the time since `start`, or [`PATIENCE`] if nobody took it.
    fn wait(&self, start: Instant) -> Duration {
        while !self.flag.load(Ordering::Relaxed) && start.elapsed() < PATIENCE {
            std::hint::spin_loop();
        }
        start.elapsed()
    }
}

/// A thread that parks, counts how often it was woken, and parks again.
struct Sleeper {
    shared: Arc<SleeperState>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct SleeperState {
    /// Set by the thread that wakes, cleared by the thread that is woken.
    is_wanted: AtomicBool,
    is_closed: AtomicBool,
    woken: AtomicU64,
}

impl Sleeper {
    fn new() -> Self {
        let shared = Arc::new(SleeperState::default());
        let thread = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                while !shared.is_closed.load(Ordering::Relaxed) {
                    thread::park();
                    if shared.is_wanted.swap(false, Ordering::Relaxed) {
                        shared.woken.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        });
        Self {
            shared,
            thread: Some(thread),
        }
    }

    fn wake(&self) {
        self.shared.is_wanted.store(true, Ordering::Relaxed);
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }

    fn woken(&self) -> u64 {
        self.shared.woken.load(Ordering::Relaxed)
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        self.shared.is_closed.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            thread.join().expect("the sleeper only counts");
        }
    }
}
