//! Waits do not deadlock: locks that are held across waits, blocked workers, broadcasts, spares.

use crate::support::{
    fib, on_pool, pool_with, pool_with_thieves, serial_fib, spin_until, threads, watched, work,
};
use heist::{ThreadPool, Waits};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, OnceLock, RwLock, mpsc};
use std::thread;

/// What a program does with a lock held.
type Inner = fn(&ThreadPool);

const INNER: [Inner; 5] = [
    // The work is long enough for b to be stolen and for its owner to wait.
    |pool| {
        pool.join(|| work(3000), || work(9000));
    },
    |pool| assert_eq!(pool.install(|| fib(9)), serial_fib(9)),
    |pool| {
        pool.scope(|s| {
            for _ in 0..6 {
                s.spawn(|s| {
                    work(500);
                    s.spawn(|_| {
                        work(500);
                    });
                });
            }
        });
    },
    |pool| {
        assert_eq!(
            pool.map((0..50).map(|x| 20 * x).collect::<Vec<u64>>(), work)
                .len(),
            50
        )
    },
    |pool| pool.for_each(&mut [1_u64, 2, 3][..], |x| *x += work(4000)),
];

/// The pools on which a program with locks must be safe.
fn pools() -> Vec<ThreadPool> {
    vec![
        pool_with(|b| b),
        pool_with(|b| b.spare_threads(0)),
        pool_with(|b| b.num_threads(1)),
    ]
}

#[test]
fn tasks_of_a_scope_hold_a_lock_across_waits() {
    for inner in INNER {
        watched(move || {
            for pool in pools() {
                let lock = Mutex::new(0);
                pool.scope(|s| {
                    for _ in 0..40 {
                        s.spawn(|_| {
                            let mut count = lock.lock().unwrap();
                            inner(&pool);
                            *count += 1;
                        });
                    }
                });
                assert_eq!(lock.into_inner().unwrap(), 40);
            }
        });
    }
}

#[test]
fn items_of_a_map_hold_a_lock_across_waits() {
    for inner in INNER {
        watched(move || {
            for pool in pools() {
                let lock = Mutex::new(0);
                let locked = |_| {
                    let mut count = lock.lock().unwrap();
                    inner(&pool);
                    *count += 1;
                };
                pool.for_each(0..40, locked);
                pool.run(|| pool.for_each(0..40, locked));
                assert_eq!(lock.into_inner().unwrap(), 80);
            }
        });
    }
}

fn locked_tree(pool: &ThreadPool, lock: &Mutex<u32>, depth: u32, inner: Inner) {
    if depth == 0 {
        let mut count = lock.lock().unwrap();
        inner(pool);
        *count += 1;
        return;
    }
    heist::join(
        || locked_tree(pool, lock, depth - 1, inner),
        || locked_tree(pool, lock, depth - 1, inner),
    );
}

#[test]
fn both_sides_of_joins_hold_a_lock_across_waits() {
    for inner in INNER {
        watched(move || {
            for pool in pools() {
                let lock = Mutex::new(0);
                pool.install(|| locked_tree(&pool, &lock, 5, inner));
                pool.run(|| locked_tree(&pool, &lock, 5, inner));
                assert_eq!(lock.into_inner().unwrap(), 64);
            }
        });
    }
}

#[test]
fn a_lock_is_held_by_the_task_that_waits_for_its_own_children() {
    watched(|| {
        for pool in pools() {
            let lock = RwLock::new(0);
            pool.scope(|s| {
                for i in 0..40 {
                    let (lock, pool) = (&lock, &pool);
                    s.spawn(move |_| {
                        if i % 4 == 0 {
                            let mut value = lock.write().unwrap();
                            pool.map(0..20_u64, work);
                            *value += 1;
                        } else {
                            let value = lock.read().unwrap();
                            pool.join(|| work(100), || work(100));
                            assert!(*value <= 10);
                        }
                    });
                }
            });
            assert_eq!(lock.into_inner().unwrap(), 10);
        }
    });
}

#[test]
fn a_value_is_initialised_once_by_a_parallel_closure() {
    watched(|| {
        for pool in pools() {
            let runs = AtomicUsize::new(0);
            let cell = OnceLock::new();
            let values = pool.map(0..100, |_| {
                *cell.get_or_init(|| {
                    runs.fetch_add(1, Ordering::Relaxed);
                    pool.map_reduce(0..1000_u64, |x| x, || 0, |a, b| a + b)
                })
            });
            assert_eq!(values, [499_500; 100]);
            assert_eq!(runs.into_inner(), 1);
        }
    });
}

#[test]
fn every_worker_is_blocked_on_a_lock_that_a_guest_holds() {
    for inner in INNER {
        watched(move || {
            for pool in pools() {
                let lock = Arc::new(Mutex::new(0));
                let arrived = Arc::new(AtomicUsize::new(0));
                let held = lock.lock().unwrap();
                for _ in 0..2 * pool.num_threads() {
                    let (lock, arrived) = (Arc::clone(&lock), Arc::clone(&arrived));
                    pool.spawn(move || {
                        arrived.fetch_add(1, Ordering::AcqRel);
                        *lock.lock().unwrap() += 1;
                    });
                }
                spin_until(|| arrived.load(Ordering::Acquire) >= pool.num_threads());
                for _ in 0..10 {
                    inner(&pool);
                }
                drop(held);
                spin_until(|| *lock.lock().unwrap() == 2 * pool.num_threads());
            }
        });
    }
}

#[test]
fn every_other_worker_is_blocked_on_a_lock_that_a_worker_holds() {
    for inner in INNER {
        watched(move || {
            let pool = pool_with_thieves();
            let others = pool.num_threads() - 1;
            let lock = Arc::new(Mutex::new(0));
            pool.run(|| {
                let held = lock.lock().unwrap();
                let arrived = Arc::new(AtomicUsize::new(0));
                for _ in 0..others {
                    let (lock, arrived) = (Arc::clone(&lock), Arc::clone(&arrived));
                    pool.spawn(move || {
                        arrived.fetch_add(1, Ordering::AcqRel);
                        *lock.lock().unwrap() += 1;
                    });
                }
                spin_until(|| arrived.load(Ordering::Acquire) == others);
                for _ in 0..10 {
                    inner(&pool);
                }
                drop(held);
            });
            spin_until(|| *lock.lock().unwrap() == others);
        });
    }
}

#[test]
fn a_lock_is_held_across_the_spawn_of_a_task_that_takes_it() {
    watched(|| {
        for pool in pools() {
            let lock = Arc::new(Mutex::new(0));
            let spawn = |count| {
                let _held = lock.lock().unwrap();
                for _ in 0..count {
                    let lock = Arc::clone(&lock);
                    pool.spawn(move || *lock.lock().unwrap() += 1);
                }
                pool.join(|| work(100), || work(100));
            };
            spawn(5);
            pool.install(|| spawn(5));
            pool.scope(|_| spawn(5));
            pool.scope(|s| s.spawn(|_| spawn(5)));
            pool.for_each(0..5, |_| spawn(1));
            pool.run(|| spawn(5));
            spin_until(|| *lock.lock().unwrap() == 30);
        }
    });
}

#[test]
fn two_guests_broadcast_at_once() {
    on_pool(|pool| {
        let broadcast = || {
            for _ in 0..50 {
                let answers = pool.broadcast(|index| {
                    pool.join(|| work(50), || work(50));
                    assert_eq!(pool.map(0..20, |x| x), (0..20).collect::<Vec<_>>());
                    index
                });
                assert_eq!(answers, (0..pool.num_threads()).collect::<Vec<_>>());
            }
        };
        thread::scope(|threads| {
            threads.spawn(broadcast);
            threads.spawn(broadcast);
        });
    });
}

#[test]
fn every_worker_broadcasts_at_once() {
    on_pool(|pool| {
        let workers = pool.num_threads();
        for _ in 0..20 {
            let together = Arc::new(Barrier::new(workers));
            let (send, receive) = mpsc::channel();
            for _ in 0..workers {
                let (own, send) = (pool.clone(), send.clone());
                let together = Arc::clone(&together);
                pool.spawn(move || {
                    together.wait();
                    let answers = own.broadcast(|index| {
                        own.join(|| work(20), || work(20));
                        index
                    });
                    // This handle is dropped first, so that it is not the last one.
                    drop(own);
                    let _ = send.send(answers);
                });
            }
            drop(send);
            let answers: Vec<Vec<usize>> = receive.iter().collect();
            assert_eq!(answers.len(), workers);
            assert!(answers.iter().all(|a| a.iter().copied().eq(0..workers)));
        }
    });
}

#[test]
fn a_broadcast_reaches_workers_that_wait_in_a_broadcast() {
    on_pool(|pool| {
        let nested = pool.broadcast(|outer| (outer, pool.broadcast(|inner| inner)));
        for (index, (outer, inner)) in nested.into_iter().enumerate() {
            assert_eq!(outer, index);
            assert_eq!(inner, (0..pool.num_threads()).collect::<Vec<_>>());
        }
    });
}

#[test]
fn a_broadcast_runs_on_a_worker_that_waits_in_a_join() {
    watched(|| {
        let pool = pool_with_thieves();
        // The worker that waits for b must answer the broadcast that b makes.
        for _ in 0..20 {
            let started = AtomicBool::new(false);
            let answers = pool.run(|| {
                let (_, answers) = heist::join(
                    || spin_until(|| started.load(Ordering::Acquire)),
                    || {
                        started.store(true, Ordering::Release);
                        pool.broadcast(|index| index)
                    },
                );
                answers
            });
            assert_eq!(answers, (0..pool.num_threads()).collect::<Vec<_>>());
        }
    });
}

#[test]
fn a_spare_stands_in_for_a_worker_that_waits() {
    watched(|| {
        for late in [false, true] {
            let pool = pool_with(|b| b.num_threads(2));
            let started = AtomicBool::new(false);
            let (send, receive) = mpsc::channel();
            let receive = Mutex::new(receive);
            let (ask, asked) = mpsc::channel();
            let helper = thread::spawn({
                let pool = pool.clone();
                move || {
                    // Both workers are busy: one runs b, and one waits for it.
                    asked.recv().unwrap();
                    for _ in 0..if late { 1000 } else { 0 } {
                        thread::yield_now();
                    }
                    pool.spawn(move || {
                        let index = heist::current_thread_index();
                        let spares = ThreadPool::current().map(|pool| pool.stats().spares);
                        let _ = send.send((index, spares));
                    });
                }
            });
            let (index, spares) = pool.run(|| {
                heist::join(
                    || spin_until(|| started.load(Ordering::Acquire)),
                    || {
                        started.store(true, Ordering::Release);
                        ask.send(()).unwrap();
                        receive.lock().unwrap().recv().unwrap()
                    },
                )
                .1
            });
            helper.join().unwrap();
            assert_eq!(index, None, "a spare has no index");
            assert!(spares.unwrap() >= 1);
        }
    });
}

#[test]
fn two_pools_of_one_worker_wait_for_each_other() {
    watched(|| {
        let (one, two) = (
            pool_with(|b| b.num_threads(1)),
            pool_with(|b| b.num_threads(1)),
        );
        for _ in 0..50 {
            let sum = one.run(|| two.run(|| one.run(|| two.run(|| 1) + 1) + 1) + 1);
            assert_eq!(sum, 4);
        }
    });
}

#[test]
fn pools_that_help_with_anything_are_right_too() {
    watched(|| {
        let pool = pool_with(|b| b.waits(Waits::Any));
        assert_eq!(pool.install(|| fib(14)), serial_fib(14));
        assert_eq!(pool.run(|| fib(14)), serial_fib(14));
        let ran = Arc::new(AtomicUsize::new(0));
        for _ in 0..1000 {
            let ran = Arc::clone(&ran);
            pool.spawn(move || {
                fib(5);
                ran.fetch_add(1, Ordering::Relaxed);
            });
        }
        assert_eq!(pool.map(0..1000, |x| x + 1), (1..1001).collect::<Vec<_>>());
        spin_until(|| ran.load(Ordering::Relaxed) == 1000);
    });
}

#[test]
fn a_wait_of_one_thread_does_not_deadlock() {
    watched(|| {
        for waits in [Waits::Own, Waits::Any] {
            let pool = pool_with(|b| b.num_threads(1).spare_threads(0).waits(waits));
            let nested = || {
                heist::scope(|s| {
                    for _ in 0..10 {
                        s.spawn(|_| {
                            heist::scope(|s| s.spawn(|_| assert_eq!(fib(6), serial_fib(6))));
                        });
                    }
                });
            };
            pool.install(nested);
            pool.run(nested);
            assert_eq!(pool.run(|| pool.run(|| pool.run(|| 5))), 5);
            assert_eq!(pool.run(|| pool.broadcast(|index| index)), [0]);
            let sums = pool.run(|| pool.map(0..50, |x| pool.map(0..x, |y| y).len()));
            assert_eq!(sums.len(), 50);
        }
    });
}

#[test]
fn more_threads_than_workers_fork_inside_forks() {
    on_pool(|pool| {
        thread::scope(|guests| {
            for _ in 0..2 * threads() {
                guests.spawn(|| {
                    for _ in 0..5 {
                        pool.scope(|s| {
                            for _ in 0..10 {
                                s.spawn(|_| {
                                    assert_eq!(fib(8), serial_fib(8));
                                    pool.for_each(0..20, |_| {
                                        work(10);
                                    });
                                });
                            }
                        });
                    }
                });
            }
        });
    });
}
