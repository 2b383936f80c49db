//! Threads that cannot be started: an error where the caller asked for one, and no lost work anywhere.
//!
//! A stack larger than the address space makes every start fail; a limit on the address space
//! makes starts fail from a chosen one on.

#![cfg(target_os = "linux")]

#[path = "it/support/mod.rs"]
mod support;

use heist::{Start, ThreadPool, ThreadPoolBuilder, WaitFor, as_completed, first_finished, wait};
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use support::{
    Gate, Held, Ledger, fib, hold_all, isolated, isolated_with, live_threads, outcome, serial_fib,
    spin_until, threads, threads_named, watched,
};

/// A stack size for which no machine has room.
const TOO_LARGE: usize = 1 << 46;

/// A stack size that is large compared with everything else that such a process maps meanwhile.
const LARGE: usize = 512 << 20;

/// Makes the allocator use one arena for all threads, so that threads map nothing but their stacks.
const ONE_ARENA: &[(&str, &str)] = &[("MALLOC_ARENA_MAX", "1")];

fn unstartable() -> ThreadPoolBuilder {
    ThreadPool::builder()
        // A pool of one starts no thread while a guest works.
        .num_threads(threads().max(2))
        .stack_size(TOO_LARGE)
}

/// Limits the address space to what is mapped now and `more` bytes. Returns the old limit.
fn limit_address_space(more: usize) -> libc::rlimit {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("statm can be read");
    let pages: usize = statm.split(' ').next().unwrap().parse().unwrap();
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `getrlimit` requires a pointer to a writable limit, which `&mut limit` is.
    let result = unsafe { libc::getrlimit(libc::RLIMIT_AS, &raw mut limit) };
    assert_eq!(result, 0);
    let old = limit;
    limit.rlim_cur = (pages * 4096 + more) as libc::rlim_t;
    set_limit(&limit);
    old
}

fn set_limit(limit: &libc::rlimit) {
    // SAFETY: `setrlimit` requires a pointer to a readable limit, which `&limit` is.
    let result = unsafe { libc::setrlimit(libc::RLIMIT_AS, limit) };
    assert_eq!(result, 0);
}

#[test]
fn an_eager_pool_names_the_thread_that_did_not_start() {
    watched(|| {
        let error = unstartable().start(Start::Eager).build().unwrap_err();
        let message = error.to_string();
        assert!(message.contains('0'), "which thread: {message}");
        assert!(!format!("{error:?}").is_empty());
    });
}

#[test]
fn an_eager_pool_fails_at_each_thread_and_leaves_none_behind() {
    isolated_with(
        "an_eager_pool_fails_at_each_thread_and_leaves_none_behind",
        ONE_ARENA,
        || {
            let before = live_threads();
            let counts = Arc::new([const { AtomicUsize::new(0) }; 2]);
            for index in 0..5 {
                let (begin, end) = (Arc::clone(&counts), Arc::clone(&counts));
                let old = limit_address_space(index * LARGE + LARGE / 2);
                let built = ThreadPool::builder()
                    .num_threads(5)
                    .stack_size(LARGE)
                    .start(Start::Eager)
                    .on_thread_start(move |_| {
                        begin[0].fetch_add(1, Ordering::AcqRel);
                    })
                    .on_thread_exit(move |_| {
                        end[1].fetch_add(1, Ordering::AcqRel);
                    })
                    .build();
                set_limit(&old);
                let message = built.unwrap_err().to_string();
                let numbers: Vec<&str> = message
                    .split(|c: char| !c.is_ascii_digit())
                    .filter(|number| !number.is_empty())
                    .collect();
                assert!(
                    numbers.contains(&index.to_string().as_str()),
                    "thread {index} did not start: {message}"
                );
                spin_until(|| live_threads() == before);
                let [begun, ended] = [0, 1].map(|i| counts[i].load(Ordering::Acquire));
                assert_eq!(begun, ended);
            }
        },
    );
}

#[test]
fn an_eager_build_of_the_global_pool_that_fails_can_be_repeated() {
    isolated(
        "an_eager_build_of_the_global_pool_that_fails_can_be_repeated",
        || {
            let eager = |bytes| {
                ThreadPoolBuilder::new()
                    .num_threads(2)
                    .stack_size(bytes)
                    .start(Start::Eager)
                    .build_global()
            };
            assert!(eager(TOO_LARGE).is_err());
            assert!(eager(1 << 20).is_ok());
            assert_eq!(fib(10), serial_fib(10));
        },
    );
}

#[test]
fn the_caller_does_the_work_of_a_lazy_pool_without_threads() {
    watched(|| {
        let pool = unstartable().build().unwrap();
        assert_eq!(pool.join(|| 1, || 2), (1, 2));
        assert_eq!(pool.install(|| fib(12)), serial_fib(12));
        assert_eq!(pool.map(0..1000, |x| x + 1), (1..1001).collect::<Vec<_>>());
        let ran = AtomicUsize::new(0);
        pool.scope(|s| {
            for _ in 0..100 {
                s.spawn(|s| {
                    s.spawn(|_| {
                        ran.fetch_add(1, Ordering::Relaxed);
                    });
                });
            }
        });
        assert_eq!(ran.into_inner(), 100);
        assert!(pool.stats().start_failures > 0);
    });
}

#[test]
fn spawn_and_run_are_done_without_threads() {
    watched(|| {
        let pool = unstartable().build().unwrap();
        let (send, receive) = mpsc::channel();
        pool.spawn({
            let send = send.clone();
            move || {
                heist::spawn(move || send.send(2).unwrap());
            }
        });
        pool.spawn(move || send.send(3).unwrap());
        let mut answers: Vec<i32> = receive.iter().collect();
        answers.sort_unstable();
        assert_eq!(answers, [2, 3]);
        assert_eq!(pool.run(|| 4), 4);
        assert!(pool.stats().start_failures > 0);
        let stats = pool.stats();
        assert!(stats.submitted >= 3);
        assert_eq!(
            stats.submitted,
            stats.completed + stats.failed + stats.cancelled
        );
    });
}

#[test]
fn a_panic_of_a_task_without_threads_does_not_reach_the_spawner() {
    watched(|| {
        let pool = unstartable().build().unwrap();
        pool.spawn(|| panic!("not the spawner's"));
        spin_until(|| pool.stats().failed == 1);
        assert_eq!(pool.join(|| 1, || 2), (1, 2));
    });
}

#[test]
fn a_broadcast_without_threads_does_not_hang() {
    watched(|| {
        let pool = unstartable().build().unwrap();
        // The result is not specified, since there is no worker to run on.
        let _ = outcome(|| pool.broadcast(|index| index));
        assert_eq!(pool.join(|| 1, || 2), (1, 2));
    });
}

#[test]
fn a_pool_without_threads_is_dropped_and_its_tasks_have_run() {
    watched(|| {
        let ledger = Ledger::new(100);
        let ran = Arc::new(AtomicUsize::new(0));
        let pool = unstartable().build().unwrap();
        for ticket in ledger.tickets() {
            let ran = Arc::clone(&ran);
            pool.spawn(move || {
                drop(ticket);
                ran.fetch_add(1, Ordering::AcqRel);
            });
        }
        drop(pool);
        assert_eq!(ran.load(Ordering::Acquire), 100);
        ledger.assert_settled();
    });
}

#[test]
fn a_pool_goes_on_with_the_threads_it_has_and_tries_again() {
    isolated_with(
        "a_pool_goes_on_with_the_threads_it_has_and_tries_again",
        ONE_ARENA,
        || {
            let pool = ThreadPool::builder()
                .num_threads(4)
                .stack_size(LARGE)
                .build()
                .unwrap();
            assert_eq!(pool.run(|| 1), 1);
            let old = limit_address_space(LARGE / 2);
            // The only thread does everything.
            let ran = Arc::new(AtomicUsize::new(0));
            for _ in 0..100 {
                let ran = Arc::clone(&ran);
                pool.spawn(move || {
                    ran.fetch_add(1, Ordering::AcqRel);
                });
            }
            assert_eq!(pool.install(|| fib(12)), serial_fib(12));
            spin_until(|| ran.load(Ordering::Acquire) == 100);
            // Two tasks that need each other. The second one finds no thread yet.
            let met = Arc::new([const { AtomicBool::new(false) }; 2]);
            for side in 0..2 {
                let met = Arc::clone(&met);
                pool.spawn(move || {
                    met[side].store(true, Ordering::Release);
                    spin_until(|| met[1 - side].load(Ordering::Acquire));
                });
            }
            spin_until(|| pool.stats().start_failures > 0);
            set_limit(&old);
            spin_until(|| {
                // New work makes the pool try again.
                pool.spawn(|| ());
                met.iter().all(|side| side.load(Ordering::Acquire))
            });
        },
    );
}

#[test]
fn a_pool_that_cannot_grow_works_on_and_grows_later() {
    isolated_with(
        "a_pool_that_cannot_grow_works_on_and_grows_later",
        ONE_ARENA,
        || {
            let pool = ThreadPool::builder()
                .num_threads(1)
                .stack_size(LARGE)
                .build()
                .unwrap();
            assert_eq!(pool.run(|| 1), 1);
            let old = limit_address_space(LARGE / 2);
            assert_eq!(pool.set_num_threads(4), 1);
            for round in 0..50 {
                let handles = pool.submit_many((0..20).map(|n| move || n));
                let own = pool.clone();
                let nested = pool.submit(move || own.submit(|| 1).join().unwrap());
                assert_eq!(pool.install(|| fib(10)), serial_fib(10));
                // The caller stands in for threads that cannot be started.
                let count = pool.num_threads();
                assert_eq!(pool.broadcast(|i| i), (0..count).collect::<Vec<_>>());
                for (n, handle) in handles.into_iter().enumerate() {
                    assert_eq!(handle.join().unwrap(), n);
                }
                assert_eq!(nested.join().unwrap(), 1);
                // The size changes meanwhile.
                pool.set_num_threads(2 + round % 3);
            }
            pool.wait_idle();
            let stats = pool.stats();
            assert!(stats.start_failures > 0);
            assert_eq!(stats.submitted, stats.completed);
            pool.set_num_threads(4);
            set_limit(&old);
            // Four tasks that need each other.
            let met = Arc::new(AtomicUsize::new(0));
            let handles: Vec<_> = (0..4)
                .map(|_| {
                    let met = Arc::clone(&met);
                    pool.submit(move || {
                        met.fetch_add(1, Ordering::AcqRel);
                        spin_until(|| met.load(Ordering::Acquire) == 4);
                    })
                })
                .collect();
            spin_until(|| {
                // New work makes the pool try again.
                pool.spawn(|| ());
                met.load(Ordering::Acquire) == 4
            });
            for handle in handles {
                spin_until(|| handle.is_finished());
            }
        },
    );
}

#[test]
fn ten_thousand_eager_threads_in_too_little_memory_are_an_error() {
    isolated_with(
        "ten_thousand_eager_threads_in_too_little_memory_are_an_error",
        ONE_ARENA,
        || {
            let before = live_threads();
            let old = limit_address_space(2 << 30);
            let built = ThreadPool::builder()
                .num_threads(10_000)
                .stack_size(32 << 20)
                .start(Start::Eager)
                .build();
            set_limit(&old);
            assert!(!built.unwrap_err().to_string().is_empty());
            spin_until(|| live_threads() == before);
        },
    );
}

/// The caller of a broadcast runs the closure where there is no worker. A caller of `wait_idle` is woken at the end.
#[test]
fn idleness_is_seen_after_broadcast_tasks_that_their_caller_runs() {
    for scoped in [false, true] {
        watched(move || {
            for _ in 0..100 {
                let pool = unstartable().build().unwrap();
                let (begun, begins) = mpsc::channel();
                let last = pool.num_threads() - 1;
                let waiter = {
                    let pool = pool.clone();
                    std::thread::spawn(move || {
                        begins.recv().unwrap();
                        pool.wait_idle();
                    })
                };
                // Long enough for the waiter to sleep in most runs.
                let body = move |index| {
                    if index == last {
                        begun.send(()).unwrap();
                        (0..200).for_each(|_| std::thread::yield_now());
                    }
                };
                if scoped {
                    pool.scope_on_workers(|s| s.spawn_broadcast(move |_, index| body(index)));
                } else {
                    pool.spawn_broadcast(body);
                }
                waiter.join().unwrap();
            }
        });
    }
}

/// The default stack size of std, which the timer's thread has.
const LARGE_BY_DEFAULT: &[(&str, &str)] =
    &[("MALLOC_ARENA_MAX", "1"), ("RUST_MIN_STACK", "536870912")];

const SHORT: Duration = Duration::from_millis(20);

/// A pool with one running worker, in a process that cannot start the timer's thread.
fn without_timer(name: &str, body: fn(&ThreadPool)) {
    isolated_with(name, LARGE_BY_DEFAULT, move || {
        let pool = ThreadPool::builder()
            .num_threads(1)
            .spare_threads(0)
            .stack_size(1 << 20)
            .build()
            .unwrap();
        assert_eq!(pool.run(|| 1), 1);
        let old = limit_address_space(LARGE / 2);
        body(&pool);
        assert_eq!(threads_named("heist-timer"), 0);
        set_limit(&old);
        // Now the timer's thread starts, and keeps the next deadline.
        let held = hold_all(&pool);
        let late = pool.task().deadline(SHORT).submit(|| ());
        spin_until(|| threads_named("heist-timer") == 1);
        spin_until(|| late.is_finished());
        assert!(late.join().unwrap_err().is_timeout());
        drop(held);
    });
}

#[test]
fn who_waits_for_a_task_keeps_its_deadline_if_the_timer_cannot_be_started() {
    without_timer(
        "who_waits_for_a_task_keeps_its_deadline_if_the_timer_cannot_be_started",
        |pool| {
            let held = hold_all(pool);
            let late = || pool.task().deadline(SHORT).submit(|| 1);
            assert!(late().join().unwrap_err().is_timeout());
            assert!(late().wait_timeout(Duration::from_secs(40)));
            assert!(!late().wait_timeout(Duration::from_millis(1)));
            for what in [WaitFor::First, WaitFor::FirstError, WaitFor::All] {
                let waited = wait(&[late(), late()], what, None);
                assert!(!waited.done.is_empty());
            }
            let all = as_completed([late(), late()]);
            assert!(
                all.into_iter()
                    .all(|(_, outcome)| outcome.unwrap_err().is_timeout())
            );
            assert!(first_finished([late(), late()]).unwrap().1.is_err());
            // A query or a poll keeps the deadline too.
            let asked = late();
            spin_until(|| asked.is_finished());
            assert!(asked.join().unwrap_err().is_timeout());
            let mut polled = late();
            let waker = std::task::Waker::noop();
            spin_until(|| {
                let mut context = std::task::Context::from_waker(waker);
                std::pin::Pin::new(&mut polled)
                    .poll(&mut context)
                    .is_ready()
            });
            // A thread that waits for something else keeps all deadlines.
            let (told, tells) = mpsc::channel();
            let mut other = late();
            other.on_finish(move |outcome| told.send(outcome.is_err()).unwrap());
            let unrelated = pool.submit(|| 1);
            assert!(!unrelated.wait_timeout(3 * SHORT));
            assert!(other.is_finished());
            held.open();
            assert_eq!(tells.recv(), Ok(true));
            pool.wait_idle();
            let stats = pool.stats();
            assert_eq!(
                stats.submitted,
                stats.completed + stats.failed + stats.cancelled
            );
        },
    );
}

#[test]
fn the_deadline_of_a_running_task_is_kept_if_the_timer_cannot_be_started() {
    without_timer(
        "the_deadline_of_a_running_task_is_kept_if_the_timer_cannot_be_started",
        |pool| {
            let gate = Held(Gate::default());
            let stands = gate.0.clone();
            let late = pool.task().deadline(SHORT).submit(move || stands.pass());
            spin_until(|| late.is_running() || late.is_finished());
            assert!(late.join().unwrap_err().is_timeout());
            gate.open();
            pool.wait_idle();
        },
    );
}

#[test]
fn a_deadline_that_nobody_watches_is_kept_when_the_task_begins_or_ends() {
    without_timer(
        "a_deadline_that_nobody_watches_is_kept_when_the_task_begins_or_ends",
        |pool| {
            let ran = Arc::new(AtomicBool::new(false));
            let held = hold_all(pool);
            let runs = Arc::clone(&ran);
            let task = pool.task().deadline(SHORT);
            let queued = task.submit(move || runs.store(true, Ordering::Release));
            let passed = Instant::now() + SHORT;
            spin_until(|| Instant::now() > passed);
            held.open();
            spin_until(|| pool.stats().failed == 1);
            assert!(queued.join().unwrap_err().is_timeout());
            assert!(!ran.load(Ordering::Acquire));
            let runs = pool.task().deadline(SHORT).submit(|| {
                let passed = Instant::now() + SHORT;
                spin_until(|| Instant::now() > passed);
            });
            spin_until(|| pool.stats().failed == 2);
            assert!(runs.join().unwrap_err().is_timeout());
            pool.wait_idle();
            let stats = pool.stats();
            assert_eq!((stats.failed, stats.completed), (2, 1));
        },
    );
}
