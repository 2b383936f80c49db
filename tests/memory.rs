//! Long loops take constant memory: each way to submit, with each way to take the result, streams, wherever they are consumed, and futures with all that they wait for.
//!
//! The allocator of this test binary counts the bytes that are in use. Each test has a process of its own.

#[path = "it/support/mod.rs"]
mod support;

use heist::{
    AsyncPool, CancelToken, JoinHandle, JoinSet, Priority, Semaphore, ThreadPool, WaitFor,
    as_completed, first_finished, wait,
};
use std::alloc::{GlobalAlloc, Layout, System};
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context, Waker};
use std::time::Duration;
use support::{
    Census, Citizen, Door, Gate, Held, Kind, LONG, hold_all, isolated, pool_with, spin_until,
    stream, suspended, window,
};

/// The bytes in use.
static LIVE: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: all calls go to `System`, which keeps the contract of an allocator. Counting does not touch the blocks.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: by the caller, the layout's size is not zero, which `System` requires too.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: by the caller, the block comes from `alloc`, which got it from `System` with this layout.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The limit of the growth in bytes: more than queues that grow and blocks that are kept for reuse, and far less than a word for each round.
const NOISE: usize = 64 << 10;

/// The number of rounds, multiplied by ten if `HEIST_TEST_LONG` is set.
fn much(n: usize) -> usize {
    match std::env::var_os("HEIST_TEST_LONG") {
        Some(_) => 10 * n,
        None => n,
    }
}

/// Runs `rounds` rounds, which take constant memory within `NOISE` bytes.
#[track_caller]
fn constant(what: &str, rounds: usize, round: impl FnMut(usize)) {
    constant_within(NOISE, what, rounds, round);
}

/// Runs `rounds` rounds. The least memory in use between two rounds of the last fifth is less than `noise` bytes above that of the second fifth.
///
/// Single moments say less: what is collected in batches comes and goes.
#[track_caller]
fn constant_within(noise: usize, what: &str, rounds: usize, mut round: impl FnMut(usize)) {
    let mut memory = Memory::new(rounds);
    for n in 0..rounds {
        round(n);
        memory.note(n);
    }
    memory.check(noise, what);
}

/// Runs `rounds` rounds outside `pool`, which has one worker. It catches up from time to time.
///
/// A thread that joins a future polls it in place. The entries of the queues that it has not taken stay until the worker comes to them, and the system can let
/// the worker wait for longer than the whole loop takes.
#[track_caller]
fn constant_beside(pool: &ThreadPool, what: &str, rounds: usize, mut round: impl FnMut(usize)) {
    constant(what, rounds, |n| {
        round(n);
        if n % 16 == 15 {
            let (send, passed) = mpsc::channel();
            pool.spawn(move || send.send(()).unwrap());
            passed.recv().unwrap();
        }
    });
}

/// The least memory in use in each fifth of a loop.
struct Memory {
    rounds: usize,
    least: [usize; 5],
}

impl Memory {
    fn new(rounds: usize) -> Self {
        let least = [usize::MAX; 5];
        Memory { rounds, least }
    }

    /// Called after round number `n`.
    fn note(&mut self, n: usize) {
        let least = &mut self.least[n * 5 / self.rounds];
        *least = LIVE.load(Ordering::Relaxed).min(*least);
    }

    #[track_caller]
    fn check(&self, noise: usize, what: &str) {
        let grown = self.least[4].saturating_sub(self.least[1]);
        assert!(
            grown < noise,
            "{what}: {grown} bytes more after {} rounds",
            self.rounds
        );
    }
}

/// Submits some tasks.
type Submits = fn(&ThreadPool) -> Vec<JoinHandle<usize>>;
/// Uses the handles in one of the possible ways.
type Takes = fn(&ThreadPool, Vec<JoinHandle<usize>>);

const SUBMITS: [(&str, Submits); 9] = [
    ("submit", |pool| vec![pool.submit(|| 1)]),
    ("try_submit", |pool| vec![pool.try_submit(|| 1).unwrap()]),
    ("high", |pool| {
        vec![pool.task().priority(Priority::High).submit(|| 1)]
    }),
    ("low", |pool| {
        vec![pool.task().priority(Priority::Low).submit(|| 1)]
    }),
    ("named", |pool| vec![pool.task().name("task").submit(|| 1)]),
    ("with a deadline", |pool| {
        vec![pool.task().deadline(LONG).submit(|| 1)]
    }),
    ("with a token", |pool| {
        vec![pool.task().token(&CancelToken::new()).submit(|| 1)]
    }),
    ("submit_many", |pool| pool.submit_many([|| 1, || 1, || 1])),
    ("all kinds", |pool| {
        vec![
            pool.submit(|| 1),
            pool.task().priority(Priority::Low).submit(|| 1),
            pool.task().priority(Priority::High).submit(|| 1),
        ]
    }),
];

const TAKES: [(&str, Takes); 11] = [
    ("join", |_, handles| {
        for handle in handles {
            assert_eq!(handle.join().unwrap(), 1);
        }
    }),
    ("join, the last first", |_, handles| {
        for handle in handles.into_iter().rev() {
            assert_eq!(handle.join().unwrap(), 1);
        }
    }),
    ("wait_timeout", |_, handles| {
        for handle in handles {
            assert!(handle.wait_timeout(Duration::MAX));
        }
    }),
    ("wait for all", |_, handles| {
        let waited = wait(&handles, WaitFor::All, None);
        assert!(waited.pending.is_empty());
    }),
    ("wait for the first", |_, handles| {
        let waited = wait(&handles, WaitFor::First, None);
        assert!(!waited.done.is_empty());
        // There may be no other thread to run the rest.
        wait(&handles, WaitFor::All, None);
    }),
    ("as_completed", |_, handles| {
        for (_, outcome) in as_completed(handles) {
            assert_eq!(outcome.unwrap(), 1);
        }
    }),
    ("first_finished", |_, handles| {
        assert_eq!(first_finished(handles).unwrap().1.unwrap(), 1);
    }),
    ("cancel", |_, handles| {
        for handle in handles {
            handle.cancel();
        }
    }),
    ("cancel and join", |_, handles| {
        for handle in handles {
            handle.cancel();
            let _ = handle.join();
        }
    }),
    ("on_finish", |_, handles| {
        for mut handle in handles {
            handle.on_finish(|_| ());
            assert_eq!(handle.join().unwrap(), 1);
        }
    }),
    ("a JoinSet of the pool", |pool, handles| {
        drop(
            handles
                .into_iter()
                .map(JoinHandle::join)
                .collect::<Vec<_>>(),
        );
        let mut set = JoinSet::new(pool);
        set.spawn(|| 1);
        set.spawn(|| 1);
        while set.join_next().is_some() {}
    }),
];

/// Submits a task to a scope, and uses its handle in one of the possible ways.
type SubmitsToScope = fn(&heist::Scope<'_>);

/// The ways that leave the tasks to other threads for some time, if there are any.
const FIRSTS: [&str; 4] = [
    "wait for the first",
    "as_completed",
    "first_finished",
    "a JoinSet of the pool",
];

fn flat(pool: &ThreadPool, tasks: usize, firsts: bool) {
    for (submit, submits) in SUBMITS {
        for (take, takes) in TAKES {
            if !firsts && FIRSTS.contains(&take) {
                continue;
            }
            constant(&format!("{submit}, {take}"), tasks, |_| {
                takes(pool, submits(pool));
            });
        }
    }
    let scopes: [(&str, SubmitsToScope); 3] = [
        ("join", |s| assert_eq!(s.submit(|_| 1).join().unwrap(), 1)),
        ("cancel", |s| assert!(s.submit(|_| 1).cancel())),
        ("cancel and join", |s| {
            let handle = s.submit(|_| 1);
            handle.cancel();
            let _ = handle.join();
        }),
    ];
    for (take, takes) in scopes {
        pool.scope(|s| {
            constant(&format!("a scope, {take}"), tasks, |_| takes(s));
        });
    }
}

#[test]
fn every_loop_on_the_one_worker_takes_constant_memory() {
    let name = "every_loop_on_the_one_worker_takes_constant_memory";
    isolated(name, || {
        let pool = pool_with(|b| b.num_threads(1).spare_threads(0));
        let own = pool.clone();
        pool.submit(move || flat(&own, much(3_000), true))
            .join()
            .unwrap();
    });
}

#[test]
fn every_loop_of_a_guest_beside_a_blocked_worker_takes_constant_memory() {
    let name = "every_loop_of_a_guest_beside_a_blocked_worker_takes_constant_memory";
    isolated(name, || {
        let pool = pool_with(|b| b.num_threads(1).spare_threads(0));
        let held = hold_all(&pool);
        pool.install(|| flat(&pool, much(3_000), false));
        drop(held);
    });
}

/// No thread collects what these tasks leave, since the only worker runs the loop that submits them, or is blocked.
fn late_tasks(pool: &ThreadPool) {
    let rounds = much(100);
    for joined in [false, true] {
        for captured in [0, 1000] {
            // What is left of a round of 400 tasks is collected together with that of the next rounds. Tasks that are never collected take 20 times this.
            let what = format!("{captured}, {joined}");
            constant_within(4 * NOISE, &what, rounds, |_| {
                let alive = Arc::new(());
                let handles: Vec<JoinHandle<usize>> = (0..400)
                    .map(|_| {
                        let task = pool.task().deadline(Duration::from_micros(50));
                        if captured == 0 {
                            return task.submit(|| 0);
                        }
                        let (memory, alive) = (vec![1_u8; captured], Arc::clone(&alive));
                        task.submit(move || memory.len() + Arc::strong_count(&alive))
                    })
                    .collect();
                for handle in handles {
                    if joined {
                        assert!(handle.wait_timeout(LONG) && handle.join().is_err());
                    }
                }
                // The handles do not wait for this.
                spin_until(|| Arc::strong_count(&alive) == 1);
                let last = pool.task().deadline(Duration::from_micros(50));
                let last = last.submit(|| unreachable!("late"));
                assert!(last.wait_timeout(LONG) && last.join().is_err());
            });
        }
    }
}

#[test]
fn late_tasks_beside_a_blocked_worker_take_constant_memory() {
    let name = "late_tasks_beside_a_blocked_worker_take_constant_memory";
    isolated(name, || {
        let pool = pool_with(|b| b.num_threads(1).spare_threads(0));
        let held = hold_all(&pool);
        late_tasks(&pool);
        drop(held);
    });
}

#[test]
fn late_tasks_of_the_only_worker_take_constant_memory() {
    let name = "late_tasks_of_the_only_worker_take_constant_memory";
    isolated(name, || {
        let pool = pool_with(|b| b.num_threads(1).spare_threads(0));
        let own = pool.clone();
        pool.submit(move || late_tasks(&own)).join().unwrap();
    });
}

fn constant_stream(kind: Kind) {
    let items = much(20_000);
    let pool = pool_with(|b| b.num_threads(1));
    let own = pool.clone();
    let consumer = pool.submit(move || {
        let census = Arc::new(Census::default());
        let book = Arc::clone(&census);
        let input = (0..items).map(move |_| Citizen::new(&book));
        let label = format!("{kind:?}");
        stream(
            &own,
            kind,
            window(8, 1),
            input,
            |citizen| citizen,
            |mut s| {
                constant(&label, items, |_| drop(s.next().unwrap().1.unwrap()));
                assert!(s.next().is_none());
            },
        );
        assert_eq!(census.alive.load(Ordering::Relaxed), 0);
        let most = census.most.load(Ordering::Relaxed);
        assert!(most <= 8, "{most} items alive");
    });
    consumer.join().unwrap();
}

#[test]
fn many_items_take_constant_memory_on_the_one_worker() {
    let name = "many_items_take_constant_memory_on_the_one_worker";
    isolated(name, || constant_stream(Kind::Ordered));
}

#[test]
fn many_unordered_items_take_constant_memory_on_the_one_worker() {
    let name = "many_unordered_items_take_constant_memory_on_the_one_worker";
    isolated(name, || constant_stream(Kind::Unordered));
}

#[test]
fn many_items_of_a_scope_take_constant_memory_on_the_one_worker() {
    let name = "many_items_of_a_scope_take_constant_memory_on_the_one_worker";
    isolated(name, || constant_stream(Kind::ScopedOrdered));
}

#[test]
fn many_unordered_items_of_a_scope_take_constant_memory_on_the_one_worker() {
    let name = "many_unordered_items_of_a_scope_take_constant_memory_on_the_one_worker";
    isolated(name, || constant_stream(Kind::ScopedUnordered));
}

/// No worker takes the blocks of items that the consumer has run itself out of the queue.
#[test]
fn a_consumer_beside_blocked_workers_takes_constant_memory() {
    let name = "a_consumer_beside_blocked_workers_takes_constant_memory";
    isolated(name, || {
        let pool = pool_with(|b| b.spare_threads(0));
        let held = hold_all(&pool);
        let items = much(20_000);
        // This task remains at the front of the queue.
        let first = pool.submit(|| 7);
        for kind in [Kind::Ordered, Kind::Unordered] {
            stream(
                &pool,
                kind,
                window(8, 1),
                0..items,
                |n| n,
                |mut s| {
                    constant(&format!("{kind:?}"), items, |_| {
                        assert!(s.next().unwrap().1.is_ok());
                    });
                    assert!(s.next().is_none());
                },
            );
        }
        constant("cancelled", items, |n| {
            assert!(pool.submit(move || n).cancel());
        });
        assert!(pool.stats().queued <= 1);
        held.open();
        assert_eq!(first.join().unwrap(), 7);
    });
}

/// Results that are available before the consumer asks for them, behind one that is not.
#[test]
fn a_slow_first_item_costs_no_memory_for_each_that_passes_it() {
    let name = "a_slow_first_item_costs_no_memory_for_each_that_passes_it";
    isolated(name, || {
        let pool = pool_with(|b| b.num_threads(2));
        let held = Held(Gate::default());
        let (gate, begun) = (held.0.clone(), Arc::new(AtomicBool::new(false)));
        let seen = Arc::clone(&begun);
        let items = much(20_000);
        let input = (0..items).inspect(|&n| {
            if n == 1 {
                spin_until(|| begun.load(Ordering::Acquire));
            }
        });
        let f = move |n| {
            if n == 0 {
                seen.store(true, Ordering::Release);
                gate.pass();
            }
        };
        let mut results = pool.imap_unordered(input, f).window(16);
        constant("behind a slow item", items - 1, |_| {
            results.next().unwrap().1.unwrap();
        });
        held.open();
        assert_eq!(results.next().unwrap().0, 0);
        assert!(results.next().is_none());
    });
}

// ---- futures ----

const FUTURES: [(&str, Submits); 10] = [
    ("submit_async", |pool| vec![pool.submit_async(async { 1 })]),
    ("a yield", |pool| {
        vec![pool.submit_async(async {
            heist::yield_async().await;
            1
        })]
    }),
    ("a sleep of no time", |pool| {
        vec![pool.submit_async(async {
            heist::sleep(Duration::ZERO).await;
            heist::sleep(Duration::from_nanos(1)).await;
            1
        })]
    }),
    ("an await", |pool| {
        let closure = pool.submit(|| 1);
        vec![pool.submit_async(async move { closure.await.unwrap_or(1) })]
    }),
    ("then", |pool| {
        let future = pool.submit_async(heist::yield_async());
        vec![future.then(|_| 1)]
    }),
    ("a promise", |pool| {
        let (promise, handle) = heist::promise();
        let future = pool.submit_async(async move { handle.await.unwrap() });
        promise.resolve(1).unwrap();
        vec![future]
    }),
    ("with a deadline", |pool| {
        let task = pool.task().deadline(LONG);
        vec![task.submit_async(async {
            heist::yield_async().await;
            1
        })]
    }),
    ("with a token and a name", |pool| {
        let task = pool.task().token(&CancelToken::new()).name("future");
        vec![task.submit_async(async {
            heist::yield_async().await;
            1
        })]
    }),
    ("a limited pool", |pool| {
        let limited = AsyncPool::new(pool, 1);
        let future = || async {
            heist::yield_async().await;
            1
        };
        vec![limited.submit(future()), limited.submit_with(future)]
    }),
    ("all kinds", |pool| {
        vec![
            pool.submit(|| 1),
            pool.task()
                .priority(Priority::Low)
                .submit_async(async { 1 }),
            pool.task()
                .priority(Priority::High)
                .submit_async(async { 1 }),
        ]
    }),
];

#[test]
fn every_loop_of_futures_beside_the_one_worker_takes_constant_memory() {
    let name = "every_loop_of_futures_beside_the_one_worker_takes_constant_memory";
    isolated(name, || {
        let pool = pool_with(|b| b.num_threads(1));
        for (submit, submits) in FUTURES {
            for (take, takes) in TAKES {
                constant_beside(&pool, &format!("{submit}, {take}"), much(1_000), |_| {
                    takes(&pool, submits(&pool));
                    // The worker drops what was cancelled.
                    pool.wait_idle();
                });
            }
        }
        spin_until(|| pool.stats().suspended == 0);
    });
}

/// The loops are on the only worker, without the waits that would not end there: those for several handles.
#[test]
fn every_loop_of_futures_beside_a_spare_takes_constant_memory() {
    let name = "every_loop_of_futures_beside_a_spare_takes_constant_memory";
    isolated(name, || {
        let pool = pool_with(|b| b.num_threads(1).spare_threads(1));
        let own = pool.clone();
        let loops = move || {
            for (submit, submits) in FUTURES {
                for (take, takes) in TAKES {
                    if FIRSTS.contains(&take) {
                        continue;
                    }
                    constant(&format!("{submit}, {take}"), much(1_000), |_| {
                        takes(&own, submits(&own));
                        // The closures for which the cancelled futures waited.
                        while take.starts_with("cancel") && heist::yield_now() {}
                    });
                }
            }
        };
        pool.submit(loops).join().unwrap();
    });
}

/// Runs rounds inside a future of the only worker.
fn in_a_future<F: Future<Output = ()> + Send>(
    pool: &ThreadPool,
    what: &'static str,
    rounds: usize,
    round: impl Fn(ThreadPool) -> F + Send + 'static,
) {
    let own = pool.clone();
    let outer = pool.submit_async(async move {
        let mut memory = Memory::new(rounds);
        for n in 0..rounds {
            round(own.clone()).await;
            memory.note(n);
        }
        memory.check(NOISE, what);
    });
    outer.join().unwrap();
}

#[test]
fn a_future_that_awaits_many_others_takes_constant_memory() {
    let name = "a_future_that_awaits_many_others_takes_constant_memory";
    isolated(name, || {
        let pool = pool_with(|b| b.num_threads(1).spare_threads(0));
        in_a_future(&pool, "ready at once", much(100_000), |pool| async move {
            pool.submit_async(async {}).await.unwrap();
        });
        in_a_future(&pool, "a yield", much(100_000), |pool| async move {
            pool.submit_async(heist::yield_async()).await.unwrap();
        });
        in_a_future(&pool, "a closure", much(100_000), |pool| async move {
            pool.submit(|| ()).await.unwrap();
        });
        in_a_future(&pool, "detached", much(100_000), |pool| async move {
            pool.spawn_async(heist::yield_async());
            heist::yield_async().await;
        });
        in_a_future(&pool, "a cancel", much(20_000), |pool| async move {
            let never = pool.submit_async(pending::<()>());
            heist::yield_async().await;
            never.cancel();
            assert!(never.await.is_err());
        });
        in_a_future(&pool, "a permit", much(100_000), |_| async {
            let semaphore = Semaphore::new(1);
            let permit = semaphore.acquire().await;
            drop(semaphore.acquire());
            drop(permit);
        });
        pool.wait_idle();
        spin_until(|| pool.stats().suspended == 0);
    });
}

#[test]
fn a_set_that_is_filled_and_emptied_takes_constant_memory() {
    let name = "a_set_that_is_filled_and_emptied_takes_constant_memory";
    isolated(name, || {
        let pool = pool_with(|b| b.num_threads(1).spare_threads(0));
        let own = pool.clone();
        let rounds = much(100_000);
        let outer = pool.submit_async(async move {
            let mut memory = Memory::new(rounds);
            let mut set = JoinSet::new(&own);
            for _ in 0..16 {
                set.insert(own.submit_async(heist::yield_async()));
            }
            for n in 0..rounds {
                set.next().await.unwrap().unwrap();
                set.insert(own.submit_async(heist::yield_async()));
                memory.note(n);
            }
            memory.check(NOISE, "a set");
        });
        outer.join().unwrap();
    });
}

#[test]
fn wakers_take_constant_memory() {
    isolated("wakers_take_constant_memory", || {
        let pool = pool_with(|b| b.num_threads(1));
        let door = Door::default();
        let handle = suspended(&pool, &door);
        let waker = door.waker();
        constant("clones", much(100_000), |_| drop(waker.clone()));
        constant("wakes", much(20_000), |_| {
            waker.wake_by_ref();
            let other = waker.clone();
            other.wake();
            // Those of the polls.
            drop(door.take_wakers());
        });
        pool.run(|| {
            constant("wakes on the worker", much(20_000), |_| {
                waker.wake_by_ref();
                heist::yield_now();
                drop(door.take_wakers());
            });
        });
        door.open();
        waker.wake_by_ref();
        handle.join().unwrap();
        constant("wakes of what has ended", much(20_000), |_| {
            let other = waker.clone();
            other.wake();
        });
    });
}

#[test]
fn time_takes_constant_memory() {
    isolated("time_takes_constant_memory", || {
        let poll = |sleep: &mut heist::Sleep| {
            let mut context = Context::from_waker(Waker::noop());
            assert!(Pin::new(sleep).poll(&mut context).is_pending());
        };
        constant("sleeps that are dropped", much(100_000), |_| {
            let mut sleep = heist::sleep(LONG);
            poll(&mut sleep);
        });
        let pool = pool_with(|b| b.num_threads(1));
        constant("sleeps that are cancelled", much(1_000), |_| {
            let handle = pool.submit_async(heist::sleep(LONG));
            spin_until(|| pool.stats().suspended == 1);
            handle.cancel();
            assert!(handle.join().is_err());
        });
        constant_beside(&pool, "delays", much(500), |_| {
            pool.delay(Duration::from_micros(1), || ()).join().unwrap();
            pool.delay(LONG, || ()).cancel();
        });
        constant_beside(&pool, "time limits", much(1_000), |_| {
            let limited = heist::timeout(LONG, heist::yield_async());
            pool.submit_async(limited).join().unwrap().unwrap();
        });
        constant("closures that run repeatedly", much(1_000), |_| {
            drop(pool.every(LONG, || ()));
            // A worker drops the closure.
            spin_until(|| pool.stats().queued == 0);
        });
        let runs = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&runs);
        let every = pool.every(Duration::from_micros(1), move || {
            count.fetch_add(1, Ordering::Relaxed);
        });
        constant("runs", much(500), |n| {
            spin_until(|| runs.load(Ordering::Relaxed) > n);
        });
        drop(every);
        pool.wait_idle();
        spin_until(|| pool.stats().suspended == 0);
    });
}

/// No other thread takes the entries that the guest leaves when it polls the futures itself.
#[test]
fn futures_of_a_scope_beside_a_blocked_worker_take_constant_memory() {
    let name = "futures_of_a_scope_beside_a_blocked_worker_take_constant_memory";
    isolated(name, || {
        let pool = pool_with(|b| b.num_threads(1).spare_threads(0));
        let held = hold_all(&pool);
        pool.scope(|s| {
            constant("yields", much(5_000), |_| {
                s.submit_async(heist::yield_async()).join().unwrap();
            });
            constant("sleeps", much(5_000), |_| {
                let sleep = heist::sleep(Duration::from_micros(1));
                s.submit_async(sleep).join().unwrap();
            });
        });
        drop(held);
    });
}

/// The roster of suspended futures uses its places again.
#[test]
fn suspended_futures_take_constant_memory() {
    isolated("suspended_futures_take_constant_memory", || {
        let pool = pool_with(|b| b.num_threads(1));
        // All are suspended at the same time.
        for cancelled in [false, true] {
            let what = format!("rounds of futures, {cancelled}");
            constant_beside(&pool, &what, much(200), |_| {
                let door = Door::default();
                let handles: Vec<_> = (0..200).map(|_| pool.submit_async(door.pass())).collect();
                spin_until(|| pool.stats().suspended == 200);
                if cancelled {
                    assert!(handles.iter().all(JoinHandle::cancel));
                }
                door.open();
                for handle in handles {
                    assert_eq!(handle.join().is_err(), cancelled);
                }
            });
        }
        pool.scope(|s| {
            constant_beside(&pool, "futures of a scope", much(2_000), |_| {
                s.submit_async(heist::yield_async()).join().unwrap();
                let never = s.submit_async(pending::<()>());
                never.cancel();
                assert!(never.join().is_err());
            });
        });
        // The worker takes no task of the scope while the guest is inside.
        pool.scope(|s| {
            constant_beside(&pool, "yields in a scope", much(5_000), |_| {
                s.submit_async(heist::yield_async()).join().unwrap();
            });
            constant_beside(&pool, "sleeps in a scope", much(5_000), |_| {
                let sleep = heist::sleep(Duration::from_micros(1));
                s.submit_async(sleep).join().unwrap();
            });
        });
        constant_beside(&pool, "scopes", much(2_000), |_| {
            pool.scope(|s| drop(s.submit_async(heist::yield_async())));
        });
        constant("pools", much(100), |_| {
            let pool = pool_with(|b| b.num_threads(1));
            pool.spawn_async(pending::<()>());
            pool.shutdown_now();
        });
        constant_beside(&pool, "threads that block on futures", much(1_000), |_| {
            pool.run(|| heist::block_on(heist::yield_async()));
            heist::blocking(|| heist::block_on(pool.submit_async(async {}))).unwrap();
        });
    });
}
