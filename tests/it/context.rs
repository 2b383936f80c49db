//! What a closure learns: `join_context`; scopes on workers only; tasks in order; broadcasts that nobody waits for.

use crate::support::{fib, outcome, panic_of, pool_with, serial_fib, watched};
use heist::{Scope, ThreadPool, Waits};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex, mpsc};

#[test]
fn b_is_told_when_it_was_taken() {
    watched(|| {
        let pool = pool_with(|b| b.num_threads(1));
        let (a, taken) = pool.run(|| heist::join_context(|| 1, |taken| taken));
        assert_eq!((a, taken), (1, false), "nobody is there to take it");
        let pool = pool_with(|b| b.num_threads(2));
        let meeting = Barrier::new(2);
        let both = || {
            let a = || {
                meeting.wait();
            };
            heist::join_context(a, |taken| (meeting.wait(), taken).1)
        };
        assert!(pool.run(both).1);
        assert!(pool.install(both).1);
    });
}

#[test]
fn b_runs_although_a_panics_and_as_payload_wins() {
    watched(|| {
        for threads in [1, 2, 4] {
            let pool = pool_with(|b| b.num_threads(threads));
            for round in 0..200 {
                let ran = AtomicUsize::new(0);
                let (both, late) = (round % 2 == 0, round % 3 == 0);
                let text = panic_of(|| {
                    pool.install(|| {
                        heist::join_context(
                            || {
                                assert!(!late || fib(10) > 0);
                                panic!("a")
                            },
                            |_| {
                                assert!(!std::thread::panicking());
                                ran.fetch_add(1, Ordering::Relaxed);
                                assert!(!both, "b");
                            },
                        )
                    })
                });
                assert_eq!(text, "a");
                assert_eq!(ran.into_inner(), 1);
            }
            assert_eq!(panic_of(|| heist::join_context(|| 1, |_| panic!("b"))), "b");
        }
    });
}

#[test]
fn joins_with_context_nest_deeper_than_a_ring() {
    fn down(depth: usize) -> usize {
        match depth {
            0 => 0,
            _ => heist::join_context(|| down(depth - 1), |_| 1).0 + 1,
        }
    }
    watched(|| {
        let pool = pool_with(|b| b.stack_size(64 << 20));
        assert_eq!(pool.run(|| down(10_000)), 10_000);
    });
}

#[test]
fn tasks_of_a_scope_on_workers_run_there_only() {
    watched(|| {
        for waits in [Waits::Own, Waits::Any] {
            for threads in [1, 2, 4] {
                let pool = pool_with(|b| b.num_threads(threads).spare_threads(0).waits(waits));
                for _ in 0..20 {
                    let count = AtomicUsize::new(0);
                    let counted = |_: &Scope<'_>| {
                        assert!(heist::current_thread_index() < Some(threads));
                        assert!(heist::current_thread_index().is_some());
                        count.fetch_add(1, Ordering::Relaxed);
                    };
                    pool.scope_on_workers(|s| {
                        assert!(!heist::takes_part());
                        for _ in 0..10 {
                            s.spawn(|s| {
                                counted(s);
                                s.spawn(counted);
                                assert_eq!(fib(5), serial_fib(5));
                            });
                        }
                    });
                    assert_eq!(count.into_inner(), 20);
                }
            }
        }
    });
}

#[test]
fn a_scope_on_workers_needs_its_body_for_nothing() {
    watched(|| {
        let pool = pool_with(|b| b.num_threads(1).spare_threads(0));
        let (sender, receiver) = mpsc::channel();
        pool.scope_on_workers(|s| {
            s.spawn(move |_| sender.send(1).unwrap());
            assert_eq!(receiver.recv(), Ok(1));
        });
        // On a worker it is a plain scope, whose owner works.
        let sum = AtomicUsize::new(0);
        pool.run(|| pool.scope_on_workers(|s| s.spawn(|_| sum.store(7, Ordering::Relaxed))));
        assert_eq!(sum.into_inner(), 7);
    });
}

#[test]
fn panics_of_a_scope_on_workers_reach_its_caller() {
    watched(|| {
        let pool = pool_with(|b| b.num_threads(2));
        let ran = AtomicUsize::new(0);
        let text = panic_of(|| {
            pool.scope_on_workers(|s| {
                s.spawn(|_| panic!("task"));
                s.spawn(|_| {
                    ran.fetch_add(1, Ordering::Relaxed);
                });
            })
        });
        assert_eq!(text, "task");
        let text = panic_of(|| {
            pool.scope_on_workers(|s| {
                s.spawn(|_| {
                    ran.fetch_add(1, Ordering::Relaxed);
                });
                panic!("body")
            })
        });
        assert_eq!((text.as_str(), ran.into_inner()), ("body", 2));
    });
}

#[test]
fn a_scope_on_workers_outlives_the_shutdown() {
    watched(|| {
        let pool = pool_with(|b| b.num_threads(2));
        pool.shutdown();
        let ran = AtomicUsize::new(0);
        pool.scope_on_workers(|s| {
            for _ in 0..10 {
                s.spawn(|s| {
                    s.spawn(|_| {
                        ran.fetch_add(1, Ordering::Relaxed);
                    })
                });
            }
        });
        assert_eq!(ran.into_inner(), 10);
    });
}

/// What runs in which order on one worker.
fn order(waits: Waits, body: impl for<'s> Fn(&Scope<'s>, &'s Mutex<Vec<i32>>) + Sync) -> Vec<i32> {
    let pool = pool_with(|b| b.num_threads(1).spare_threads(0).waits(waits));
    let order = Mutex::new(Vec::new());
    pool.run(|| heist::scope(|s| body(s, &order)));
    order.into_inner().unwrap()
}

#[test]
fn what_one_worker_spawns_in_order_begins_in_order() {
    watched(|| {
        for waits in [Waits::Own, Waits::Any] {
            let oldest = order(waits, |s, order| {
                for n in 0..3 {
                    s.spawn_fifo(move |s| {
                        for m in 0..3 {
                            s.spawn_fifo(move |_| order.lock().unwrap().push(n * 3 + m));
                        }
                    });
                }
            });
            assert_eq!(oldest, (0..9).collect::<Vec<_>>());
            let newest = order(waits, |s, order| {
                for n in 0..3 {
                    s.spawn(move |_| order.lock().unwrap().push(n));
                }
            });
            assert_eq!(newest, [2, 1, 0]);
        }
    });
}

#[test]
fn tasks_in_order_run_once_whoever_takes_them() {
    watched(|| {
        let pool = pool_with(|b| b.num_threads(4));
        for _ in 0..100 {
            let counts: Vec<AtomicUsize> = (0..100).map(|_| AtomicUsize::new(0)).collect();
            pool.scope(|s| {
                for count in &counts {
                    s.spawn_fifo(move |s| {
                        count.fetch_add(1, Ordering::Relaxed);
                        s.spawn_fifo(move |_| {
                            count.fetch_add(1, Ordering::Relaxed);
                        });
                    });
                }
            });
            assert!(
                counts
                    .iter()
                    .all(|count| count.load(Ordering::Relaxed) == 2)
            );
        }
    });
}

#[test]
fn a_scopes_broadcast_reaches_every_worker_once() {
    watched(|| {
        for waits in [Waits::Own, Waits::Any] {
            let pool = pool_with(|b| b.num_threads(3).waits(waits));
            let within = |run: &dyn Fn(&ThreadPool, &[AtomicUsize])| {
                let counts: Vec<AtomicUsize> = (0..3).map(|_| AtomicUsize::new(0)).collect();
                run(&pool, &counts);
                counts.into_iter().map(AtomicUsize::into_inner).collect()
            };
            let add = |counts: &[AtomicUsize], index: usize| {
                assert_eq!(heist::current_thread_index(), Some(index));
                counts[index].fetch_add(1, Ordering::Relaxed);
            };
            let counts: Vec<_> = within(&|pool, counts| {
                pool.scope_on_workers(|s| s.spawn_broadcast(move |_, index| add(counts, index)));
            });
            assert_eq!(counts, [1, 1, 1]);
            let counts: Vec<_> = within(&|pool, counts| {
                let nested = || {
                    heist::scope(|s| {
                        s.spawn_broadcast(move |s, _| {
                            s.spawn_broadcast(move |_, index| add(counts, index));
                        });
                    });
                };
                pool.run(nested);
            });
            assert_eq!(counts, [3, 3, 3]);
            let failed = outcome(|| {
                pool.scope(|s| s.spawn_broadcast(|_, index| assert!(index != 1, "one of them")))
            });
            assert!(failed.is_err());
        }
    });
}

#[test]
fn a_broadcast_that_nobody_waits_for_runs_before_the_pool_ends() {
    watched(|| {
        for wait in [true, false] {
            let (sender, receiver) = mpsc::channel();
            let (lost, losses) = mpsc::channel();
            let pool = pool_with(|b| {
                b.num_threads(3)
                    .wait_on_drop(wait)
                    .panic_handler(move |_| lost.send(()).unwrap())
            });
            pool.spawn_broadcast(move |index| {
                sender.send(index).unwrap();
                assert!(index != 2, "lost");
            });
            drop(pool);
            let mut indices: Vec<_> = receiver.iter().collect();
            indices.sort_unstable();
            assert_eq!(indices, [0, 1, 2]);
            assert_eq!(losses.iter().count(), 1);
        }
    });
}
