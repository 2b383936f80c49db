//! `Waits::Any`: a waiting worker runs any work, also after it has fallen asleep.

use crate::support::{fib, hold, panic_of, pool_with, serial_fib, spin_until, watched};
use heist::{ThreadPool, Waits};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

/// A pool without spares: no thread can stand in for a waiting worker.
fn alone(threads: usize) -> ThreadPool {
    pool_with(|b| b.num_threads(threads).spare_threads(0).waits(Waits::Any))
}

/// Waits until the pool's threads are asleep, in a wait or not.
fn asleep(pool: &ThreadPool) {
    let mut parks = None;
    spin_until(|| {
        let stats = pool.stats();
        let now: u64 = stats.workers.iter().map(|worker| worker.parks).sum();
        let still = stats.active == 0 && now > 0 && parks == Some(now);
        parks = Some(now);
        still
    });
}

#[test]
fn pools_of_one_that_wait_for_each_other_wake_up_for_it() {
    watched(|| {
        let (one, two) = (alone(1), alone(1));
        let sum = one.run(|| {
            two.run(|| {
                asleep(&one);
                one.run(|| {
                    asleep(&two);
                    two.run(|| 1) + 1
                }) + 1
            }) + 1
        });
        assert_eq!(sum, 4);
    });
}

/// A value that waits when it is dropped.
struct AtEnd<F: Fn()>(F);

impl<F: Fn()> Drop for AtEnd<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[test]
fn a_waiter_that_unwinds_runs_what_comes() {
    watched(|| {
        let (one, two) = (alone(1), alone(1));
        let message = panic_of(|| {
            one.run(|| {
                let _last = AtEnd(|| assert_eq!(two.run(|| one.run(|| 1) + 1), 2));
                panic!("unwinds");
            })
        });
        assert_eq!(message, "unwinds");
    });
}

#[test]
fn a_sleeping_waiter_wakes_up_for_a_task_from_outside() {
    watched(|| {
        let (one, two) = (alone(1), alone(1));
        let (sender, receiver) = mpsc::channel();
        let receiver = Mutex::new(receiver);
        one.run(|| {
            two.run(|| {
                asleep(&one);
                one.spawn(move || sender.send(heist::current_thread_index()).unwrap());
                assert_eq!(receiver.lock().unwrap().recv(), Ok(Some(0)));
                asleep(&one);
                let ran = AtomicBool::new(false);
                one.scope_on_workers(|s| s.spawn(|_| ran.store(true, Ordering::Relaxed)));
                assert!(ran.into_inner());
            });
        });
    });
}

#[test]
fn sleeping_waiters_wake_up_for_forks_and_scopes_of_others() {
    watched(|| {
        for threads in [2, 3] {
            let (pool, other) = (alone(threads), alone(1));
            let met = AtomicUsize::new(0);
            pool.scope_on_workers(|s| {
                for _ in 1..threads {
                    s.spawn(|_| other.run(|| spin_until(|| met.load(Ordering::Relaxed) > 0)));
                }
                s.spawn(|_| {
                    // All others wait for `other`, which waits for the second closure.
                    spin_until(|| pool.stats().active <= 1);
                    heist::join(
                        || spin_until(|| met.load(Ordering::Relaxed) > 0),
                        || met.fetch_add(1, Ordering::Relaxed),
                    );
                });
            });
        }
    });
}

#[test]
fn mutual_runs_and_broadcasts_of_any_pools_end() {
    watched(|| {
        let (one, two) = (alone(2), alone(3));
        for _ in 0..100 {
            let count = AtomicUsize::new(0);
            one.run(|| {
                two.broadcast(|_| {
                    one.broadcast(|_| count.fetch_add(1, Ordering::Relaxed));
                    assert_eq!(one.run(|| fib(6)), serial_fib(6));
                })
            });
            assert_eq!(count.into_inner(), 6);
        }
    });
}

#[test]
fn a_broadcast_comes_after_what_its_worker_has_queued() {
    watched(|| {
        // With more workers another one could have taken the task, and not yet begun it.
        let pool = alone(1);
        for _ in 0..200 {
            let (sender, receiver) = mpsc::channel();
            pool.run(|| heist::spawn(move || sender.send(()).unwrap()));
            pool.broadcast(|_| ());
            receiver.try_recv().unwrap();
        }
    });
}

#[test]
fn a_yield_runs_the_own_pending_fork() {
    watched(|| {
        for waits in [Waits::Own, Waits::Any] {
            let pool = pool_with(|b| b.num_threads(1).spare_threads(0).waits(waits));
            for yield_ in [heist::yield_now, heist::yield_local] {
                let done = AtomicBool::new(false);
                pool.run(|| {
                    heist::join(
                        || {
                            let inner = || {
                                assert_eq!(heist::has_pending_tasks(), Some(true));
                                while !done.load(Ordering::Relaxed) {
                                    yield_();
                                }
                            };
                            heist::join(inner, || fib(5))
                        },
                        || done.store(true, Ordering::Relaxed),
                    );
                    assert_eq!(heist::has_pending_tasks(), Some(false));
                    assert!(!yield_());
                });
            }
        }
    });
}

#[test]
fn a_local_yield_runs_the_own_task() {
    watched(|| {
        for waits in [Waits::Own, Waits::Any] {
            let pool = pool_with(|b| b.num_threads(1).spare_threads(0).waits(waits));
            let (sender, receiver) = mpsc::channel();
            pool.run(|| {
                pool.spawn(move || sender.send(3).unwrap());
                assert_eq!(heist::has_pending_tasks(), Some(true));
                assert!(heist::yield_local());
                assert!(!heist::yield_local());
            });
            assert_eq!(receiver.try_recv(), Ok(3));
        }
    });
}

#[test]
fn a_wait_with_a_time_limit_runs_nothing_meanwhile() {
    watched(|| {
        let pool = alone(1);
        let (release, gate) = mpsc::channel::<()>();
        let handle = pool.run(|| {
            let handle = pool.submit(move || gate.recv().is_ok());
            // If the wait ran the task, nobody would open its gate.
            handle
                .join_timeout(std::time::Duration::from_millis(5))
                .expect_err("not finished")
        });
        release.send(()).unwrap();
        assert!(handle.join().unwrap());
    });
}

#[test]
fn what_is_begun_comes_before_what_waits_outside() {
    watched(|| {
        let pool = alone(2);
        // Tasks from outside still have their turn now and then.
        let mut in_order = 0;
        for _ in 0..20 {
            let held = hold(&pool, 1);
            let order = Arc::new(Mutex::new(Vec::new()));
            let (spawned, ran) = (AtomicBool::new(false), AtomicUsize::new(0));
            thread::scope(|threads| {
                // The other worker is in a scope and leaves its tasks alone.
                threads.spawn(|| {
                    pool.run(|| {
                        heist::scope(|s| {
                            for _ in 0..2 {
                                s.spawn(|_| {
                                    order.lock().unwrap().push("inside");
                                    ran.fetch_add(1, Ordering::Release);
                                });
                            }
                            spawned.store(true, Ordering::Release);
                            spin_until(|| ran.load(Ordering::Acquire) == 2);
                        });
                    });
                });
                spin_until(|| spawned.load(Ordering::Acquire));
                for _ in 0..2 {
                    let order = Arc::clone(&order);
                    pool.spawn(move || order.lock().unwrap().push("outside"));
                }
                held.open();
                spin_until(|| order.lock().unwrap().len() == 4);
            });
            let order = order.lock().unwrap();
            in_order += usize::from(*order == ["inside", "inside", "outside", "outside"]);
        }
        assert!(in_order >= 16, "{in_order} of 20");
    });
}

/// A wait elsewhere needs a fork of the waiting thread itself, and no other thread can run it.
#[test]
fn a_wait_runs_the_pending_fork_of_its_own_thread() {
    watched(|| {
        let (one, two) = (alone(1), alone(1));
        for _ in 0..100 {
            let (sender, receiver) = mpsc::channel();
            one.run(|| {
                heist::join(
                    || two.run(move || receiver.recv().unwrap()),
                    || sender.send(7).unwrap(),
                )
            });
            let (sender, receiver) = mpsc::channel();
            one.run(|| {
                heist::join(
                    || two.broadcast(|_| ()),
                    || {
                        heist::join(
                            || {
                                two.scope_on_workers(|s| {
                                    s.spawn(move |_| assert_eq!(receiver.recv(), Ok(7)))
                                })
                            },
                            || sender.send(7).unwrap(),
                        );
                    },
                )
            });
        }
    });
}

/// Each of many pending forks waits for the one below it.
#[test]
fn forks_that_wait_for_older_ones_overflow_no_stack() {
    watched(|| {
        let (one, two) = (alone(1), alone(1));
        fn nest(two: &ThreadPool, depth: u32) {
            if depth > 0 {
                heist::join(|| nest(two, depth - 1), || two.run(|| ()));
            }
        }
        for _ in 0..3 {
            one.run(|| nest(&two, 2_000));
        }
    });
}
