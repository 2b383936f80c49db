//! Every thread is busy while there is work that it may run, however the work is divided.
//!
//! The leaves sleep, so each occupies a thread and no core. The margins are coarse; `benches/versus` measures this with finer ones.

use crate::support::{pool_with, spin_until, watched};
use heist::ThreadPool;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

const THREADS: usize = 8;
const LEAVES: usize = 10 * THREADS;
const NAP: Duration = Duration::from_millis(10);

/// A leaf, which counts itself.
fn nap(leaves: &AtomicUsize) {
    thread::sleep(NAP);
    leaves.fetch_add(1, Ordering::Relaxed);
}

/// The share of the threads that must be busy. The margin is for threads that the system stops at random.
const LEAST: f64 = if cfg!(heist_delays) { 0.4 } else { 0.75 };

/// Fails if fewer than [`LEAST`] of the threads are busy on average in the best of some runs. `run` returns how long its leaves
/// took.
#[track_caller]
fn assert_busy(spares: usize, run: fn(&ThreadPool, &AtomicUsize) -> Duration) {
    let busy = watched(move || {
        let pool = pool_with(|b| b.num_threads(THREADS).spare_threads(spares));
        let work = NAP * LEAVES as u32;
        let one = || {
            let leaves = AtomicUsize::new(0);
            let took = run(&pool, &leaves);
            assert_eq!(leaves.into_inner(), LEAVES);
            work.as_secs_f64() / took.as_secs_f64()
        };
        let mut best = 0.0_f64;
        for _ in 0..8 {
            best = best.max(one());
            if best > 0.9 * THREADS as f64 {
                break;
            }
        }
        best
    });
    assert!(
        busy > LEAST * THREADS as f64,
        "{busy:.1} of {THREADS} threads were busy"
    );
}

fn timed(run: impl FnOnce()) -> Duration {
    let start = Instant::now();
    run();
    start.elapsed()
}

/// Runs the leaves by joins. `left` says how many of a number of leaves go to the left.
fn divide(leaves: &AtomicUsize, count: usize, left: &(impl Fn(usize) -> usize + Sync)) {
    if count == 1 {
        return nap(leaves);
    }
    let first = left(count);
    heist::join(
        || divide(leaves, first, left),
        || divide(leaves, count - first, left),
    );
}

macro_rules! by_joins {
    ($($name:ident: $left:expr;)*) => { $(
        #[test]
        fn $name() {
            assert_busy(THREADS, |pool, leaves| {
                timed(|| pool.install(|| divide(leaves, LEAVES, &$left)))
            });
        }
    )* };
}

by_joins! {
    a_join_of_one_and_the_rest: |_| 1;
    a_join_of_the_rest_and_one: |count| count - 1;
    a_join_of_halves: |count| count / 2;
    a_join_of_golden_sections: |count| (count * 5 / 8).max(1);
    a_join_of_parts_cut_anywhere: |count| 1 + (count * 7_919) % (count - 1);
}

#[test]
fn a_map() {
    assert_busy(THREADS, |pool, leaves| {
        timed(|| drop(pool.map(0..LEAVES, |_| nap(leaves))))
    });
}

#[test]
fn a_map_with_states() {
    assert_busy(THREADS, |pool, leaves| {
        timed(|| drop(pool.map_init(0..LEAVES, || (), |(), _| nap(leaves))))
    });
}

#[test]
fn a_map_that_can_fail() {
    assert_busy(THREADS, |pool, leaves| {
        timed(|| {
            let slept = pool.try_map(0..LEAVES, |_| {
                nap(leaves);
                Ok::<_, ()>(())
            });
            assert!(slept.is_ok());
        })
    });
}

#[test]
fn a_search_that_finds_nothing() {
    assert_busy(THREADS, |pool, leaves| {
        timed(|| {
            let found = pool.find_any(0..LEAVES, |_| {
                nap(leaves);
                false
            });
            assert_eq!(found, None);
        })
    });
}

#[test]
fn maps_in_joins_in_scopes() {
    assert_busy(THREADS, |pool, leaves| {
        timed(|| {
            pool.scope(|s| {
                for _ in 0..4 {
                    s.spawn(|_| {
                        let quarter = LEAVES / 4;
                        heist::join(
                            || pool.for_each(0..quarter / 5, |_| nap(leaves)),
                            || pool.for_each(0..quarter * 4 / 5, |_| nap(leaves)),
                        );
                    });
                }
            });
        })
    });
}

/// Lets further threads wait, each for the next one, and the last one do `work`. Returns how long that takes.
fn gather(more: usize, work: &(impl Fn() + Sync)) -> Duration {
    if more == 0 {
        return timed(work);
    }
    let (begin, begun) = mpsc::channel::<()>();
    let (_, took) = heist::join(
        move || begun.recv().is_ok(),
        move || {
            drop(begin);
            gather(more - 1, work)
        },
    );
    took
}

#[test]
fn the_last_of_waiting_threads_forks() {
    assert_busy(0, |pool, leaves| {
        pool.install(|| gather(THREADS - 1, &|| divide(leaves, LEAVES, &|count| count / 2)))
    });
}

#[test]
fn the_last_of_waiting_threads_runs_a_chain() {
    assert_busy(0, |pool, leaves| {
        pool.install(|| gather(THREADS - 1, &|| divide(leaves, LEAVES, &|_| 1)))
    });
}

#[test]
fn the_last_of_waiting_threads_opens_a_scope() {
    assert_busy(0, |pool, leaves| {
        pool.install(|| {
            gather(THREADS - 1, &|| {
                heist::scope(|s| {
                    for _ in 0..LEAVES {
                        s.spawn(|_| nap(leaves));
                    }
                });
            })
        })
    });
}

/// Threads that wait for scopes, not for forks.
#[test]
fn the_last_of_threads_that_wait_for_scopes_forks() {
    fn gather(more: usize, work: &(impl Fn() + Sync)) {
        if more == 0 {
            return work();
        }
        let (begin, begun) = mpsc::channel::<()>();
        heist::scope(|s| {
            s.spawn(move |_| {
                drop(begin);
                gather(more - 1, work);
            });
            // Another thread has taken it.
            assert!(begun.recv().is_err());
        });
    }
    assert_busy(0, |pool, leaves| {
        let took = std::sync::Mutex::new(Duration::ZERO);
        pool.install(|| {
            gather(THREADS - 1, &|| {
                *took.lock().unwrap() = timed(|| divide(leaves, LEAVES, &|count| count / 2));
            })
        });
        took.into_inner().unwrap()
    });
}

/// Calls `run` with a pool without spares in which one thread waits for something else all the time. So there is room for a waiting thread that could
/// help, and no other thread is free.
fn beside_a_waiting_thread(threads: usize, run: impl FnOnce(&ThreadPool)) {
    let pool = pool_with(|b| b.num_threads(threads).spare_threads(0));
    let elsewhere = pool_with(|b| b.num_threads(1));
    let (end, ended) = mpsc::channel::<()>();
    let parks = pool.stats().parks;
    pool.spawn(move || elsewhere.run(move || assert!(ended.recv().is_err())));
    spin_until(|| pool.stats().parks > parks);
    run(&pool);
    drop(end);
}

/// Waits until a thread of the pool, or a guest, has parked once more.
fn until_parked(pool: &ThreadPool, parks: u64) {
    spin_until(|| pool.stats().parks > parks);
}

/// The requests that a thread leaves when it parks reach a worker that has answered earlier ones.
#[test]
fn a_thread_that_parks_hears_of_later_forks() {
    watched(|| {
        beside_a_waiting_thread(2, |pool| {
            for _ in 0..20 {
                let (stolen, is_stolen) = mpsc::channel::<()>();
                let (last, is_last) = mpsc::channel::<()>();
                let parks = pool.stats().parks;
                pool.join(
                    move || assert!(is_stolen.recv().is_err()),
                    move || {
                        heist::join(|| (), || ());
                        drop(stolen);
                        until_parked(pool, parks);
                        heist::join(move || assert!(is_last.recv().is_err()), move || drop(last));
                    },
                );
            }
        });
    });
}

/// In a detached task, a worker answers the request that a waiting thread leaves when it parks. Then it begins a fork of which that thread may
/// run a part, and blocks. The thread must be woken.
#[test]
fn a_thread_that_has_parked_hears_of_forks_of_later_runs() {
    watched(|| {
        beside_a_waiting_thread(3, |pool| {
            for _ in 0..20 {
                let (stolen, is_stolen) = mpsc::channel::<()>();
                let (push, is_pushed) = mpsc::channel::<()>();
                let (first, is_first) = mpsc::channel::<()>();
                let (last, is_last) = mpsc::channel::<()>();
                let answered = Arc::<AtomicBool>::default();
                let parks = pool.stats().parks;
                pool.join(
                    move || assert!(is_stolen.recv().is_err()),
                    move || {
                        drop(stolen);
                        until_parked(pool, parks);
                        let answer = Arc::clone(&answered);
                        pool.spawn(move || {
                            heist::join(|| (), || ());
                            answer.store(true, Ordering::Release);
                            assert!(is_pushed.recv().is_err());
                        });
                        spin_until(|| answered.load(Ordering::Acquire));
                        heist::join(
                            move || {
                                drop(push);
                                assert!(is_first.recv().is_err());
                            },
                            move || {
                                heist::join(
                                    move || assert!(is_last.recv().is_err()),
                                    move || drop((first, last)),
                                );
                            },
                        );
                    },
                );
            }
        });
    });
}

/// A worker queues a task that no waiting thread may run, and so answers the request that a thread left when it parked. The worker's next fork
/// is found all the same.
#[test]
fn a_thread_that_parks_hears_of_forks_after_a_spawn() {
    watched(|| {
        beside_a_waiting_thread(2, |pool| {
            for _ in 0..20 {
                let (stolen, is_stolen) = mpsc::channel::<()>();
                let (last, is_last) = mpsc::channel::<()>();
                let parks = pool.stats().parks;
                pool.join(
                    move || assert!(is_stolen.recv().is_err()),
                    move || {
                        drop(stolen);
                        until_parked(pool, parks);
                        heist::spawn(|| ());
                        heist::join(move || assert!(is_last.recv().is_err()), move || drop(last));
                    },
                );
            }
        });
    });
}

/// A guest that leaves makes room. It first sees a task that no thread is free to run. There is also a fork that a waiting thread may
/// run, and that thread is woken.
#[test]
fn a_detached_task_hides_no_fork_from_a_guest_that_leaves() {
    watched(|| {
        beside_a_waiting_thread(2, |pool| {
            for _ in 0..20 {
                let (stolen, is_stolen) = mpsc::channel::<()>();
                let (enter, is_entered) = mpsc::channel::<()>();
                let (push, is_pushed) = mpsc::channel::<()>();
                let (last, is_last) = mpsc::channel::<()>();
                let parks = pool.stats().parks;
                let guest = move || {
                    pool.install(move || {
                        drop(enter);
                        assert!(is_pushed.recv().is_err());
                    });
                };
                pool.join(
                    move || assert!(is_stolen.recv().is_err()),
                    move || {
                        drop(stolen);
                        until_parked(pool, parks);
                        thread::scope(|threads| {
                            threads.spawn(guest);
                            assert!(is_entered.recv().is_err());
                            heist::spawn(|| ());
                            heist::join(
                                move || {
                                    drop(push);
                                    assert!(is_last.recv().is_err());
                                },
                                move || drop(last),
                            );
                        });
                    },
                );
            }
        });
    });
}

/// A waiting thread may run none of the many tasks where it searches. It leaves most of them there for threads that may run them.
#[test]
fn a_wait_leaves_most_tasks_of_others_alone() {
    const TASKS: usize = 20_000;
    let queued = watched(|| {
        let pool = pool_with(|b| b.num_threads(2).spare_threads(0));
        let (stolen, is_stolen) = mpsc::channel::<()>();
        let (spawned, are_spawned) = mpsc::channel::<()>();
        let (again, is_again) = mpsc::channel::<()>();
        let pool = &pool;
        pool.run(move || {
            heist::scope(|s| {
                let (_, queued) = heist::join(
                    move || {
                        assert!(is_stolen.recv().is_err());
                        for _ in 0..TASKS {
                            s.spawn(|_| ());
                        }
                        drop(spawned);
                    },
                    move || {
                        drop(stolen);
                        assert!(are_spawned.recv().is_err());
                        // The second half goes back to the first thread, which waits and has all the tasks.
                        let (_, queued) = heist::join(
                            move || assert!(is_again.recv().is_err()),
                            move || {
                                let parks = pool.stats().parks;
                                drop(again);
                                until_parked(pool, parks);
                                let workers = pool.stats().workers;
                                workers.iter().map(|worker| worker.queued).sum::<usize>()
                            },
                        );
                        queued
                    },
                );
                queued
            })
        })
    });
    assert!(queued > TASKS / 2, "{queued} of {TASKS} were left");
}
