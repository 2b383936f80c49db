//! `scope`: everything spawned in it has finished when it returns.

use crate::support::{
    Ledger, on_pool, outcome, pool_with, pool_with_thieves, spin_until, watched, work,
};
use heist::{Scope, ThreadPool, Waits};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

#[test]
fn the_body_runs_on_the_caller_and_its_value_comes_back() {
    on_pool(|pool| {
        let caller = thread::current().id();
        assert_eq!(pool.scope(|_| thread::current().id()), caller);
        assert_eq!(
            pool.run(|| heist::scope(|_| String::from("value"))),
            "value"
        );
    });
}

#[test]
fn the_body_and_its_value_need_not_be_send() {
    on_pool(|pool| {
        let shared = Rc::new(RefCell::new(Vec::new()));
        let value = pool.scope(|s| {
            s.spawn(|_| ());
            shared.borrow_mut().push(1);
            Rc::clone(&shared)
        });
        assert_eq!(*value.borrow(), [1]);
    });
}

#[test]
fn every_spawned_task_has_run_when_scope_returns() {
    on_pool(|pool| {
        for count in [0, 1, 2, 10, 20_000] {
            let ran = AtomicUsize::new(0);
            pool.scope(|s| {
                for _ in 0..count {
                    s.spawn(|_| {
                        ran.fetch_add(1, Ordering::Relaxed);
                    });
                }
            });
            assert_eq!(ran.load(Ordering::Relaxed), count);
        }
    });
}

#[test]
fn tasks_change_borrowed_data() {
    on_pool(|pool| {
        let mut values: Vec<u32> = (0..10_000).collect();
        let mut total = 0;
        pool.scope(|s| {
            for chunk in values.chunks_mut(17) {
                s.spawn(move |_| chunk.iter_mut().for_each(|x| *x *= 2));
            }
            s.spawn(|_| total = 5);
        });
        assert!(values.iter().zip(0..).all(|(&x, i)| x == 2 * i));
        assert_eq!(total, 5);
    });
}

fn tree<'scope>(s: &Scope<'scope>, depth: usize, leaves: &'scope AtomicUsize) {
    if depth == 0 {
        leaves.fetch_add(1, Ordering::Relaxed);
        return;
    }
    s.spawn(move |s| tree(s, depth - 1, leaves));
    s.spawn(move |s| tree(s, depth - 1, leaves));
}

#[test]
fn tasks_spawn_tasks_into_their_scope() {
    on_pool(|pool| {
        let leaves = AtomicUsize::new(0);
        pool.scope(|s| tree(s, 12, &leaves));
        assert_eq!(leaves.swap(0, Ordering::Relaxed), 1 << 12);
        pool.run(|| heist::scope(|s| tree(s, 12, &leaves)));
        assert_eq!(leaves.into_inner(), 1 << 12);
    });
}

fn link<'scope>(s: &Scope<'scope>, left: usize, ran: &'scope AtomicUsize) {
    ran.fetch_add(1, Ordering::Relaxed);
    if left > 0 {
        s.spawn(move |s| link(s, left - 1, ran));
    }
}

#[test]
fn a_long_chain_of_spawns_needs_no_deep_stack() {
    on_pool(|pool| {
        let ran = AtomicUsize::new(0);
        pool.scope(|s| link(s, 100_000, &ran));
        assert_eq!(ran.into_inner(), 100_001);
    });
}

#[test]
fn scopes_nest_and_an_inner_task_spawns_into_the_outer_one() {
    on_pool(|pool| {
        let (inner_ran, outer_ran) = (AtomicUsize::new(0), AtomicUsize::new(0));
        pool.scope(|outer| {
            for _ in 0..20 {
                let (inner_ran, outer_ran) = (&inner_ran, &outer_ran);
                outer.spawn(move |outer| {
                    let before = AtomicUsize::new(0);
                    heist::scope(|inner| {
                        for _ in 0..20 {
                            inner.spawn(|_| {
                                before.fetch_add(1, Ordering::Relaxed);
                                inner_ran.fetch_add(1, Ordering::Relaxed);
                                outer.spawn(move |_| {
                                    outer_ran.fetch_add(1, Ordering::Relaxed);
                                });
                            });
                        }
                    });
                    assert_eq!(before.load(Ordering::Relaxed), 20);
                });
            }
        });
        assert_eq!(inner_ran.into_inner(), 400);
        assert_eq!(outer_ran.into_inner(), 400);
    });
}

#[test]
fn both_sides_of_a_join_spawn_into_one_scope() {
    on_pool(|pool| {
        let ran = AtomicUsize::new(0);
        let count = || {
            ran.fetch_add(1, Ordering::Relaxed);
        };
        pool.scope(|s| {
            for _ in 0..100 {
                heist::join(|| s.spawn(|_| count()), || s.spawn(|_| count()));
            }
        });
        assert_eq!(ran.load(Ordering::Relaxed), 200);
    });
}

#[test]
fn a_thread_outside_the_pool_spawns_into_a_scope() {
    on_pool(|pool| {
        let ran = AtomicUsize::new(0);
        pool.scope(|s| {
            thread::scope(|threads| {
                for _ in 0..4 {
                    threads.spawn(|| {
                        for _ in 0..100 {
                            s.spawn(|_| {
                                ran.fetch_add(1, Ordering::Relaxed);
                            });
                        }
                    });
                }
            });
        });
        assert_eq!(ran.into_inner(), 400);
    });
}

#[test]
fn a_task_runs_while_the_body_keeps_its_thread_busy() {
    watched(|| {
        let pool = pool_with_thieves();
        for _ in 0..50 {
            let ran = AtomicBool::new(false);
            pool.scope(|s| {
                s.spawn(|_| ran.store(true, Ordering::Release));
                spin_until(|| ran.load(Ordering::Acquire));
            });
        }
    });
}

#[test]
fn a_task_spawned_after_the_body_has_ended_is_waited_for() {
    watched(|| {
        let pool = pool_with_thieves();
        for _ in 0..50 {
            let (started, ended, ran) = (
                AtomicBool::new(false),
                AtomicBool::new(false),
                AtomicUsize::new(0),
            );
            pool.scope(|s| {
                s.spawn(|s| {
                    started.store(true, Ordering::Release);
                    spin_until(|| ended.load(Ordering::Acquire));
                    work(5_000);
                    for _ in 0..10 {
                        s.spawn(|_| {
                            ran.fetch_add(1, Ordering::Relaxed);
                        });
                    }
                });
                spin_until(|| started.load(Ordering::Acquire));
                ended.store(true, Ordering::Release);
            });
            assert_eq!(ran.into_inner(), 10);
        }
    });
}

/// A value whose drop takes a while and then counts.
struct SlowDrop<'a>(&'a AtomicUsize);

impl Drop for SlowDrop<'_> {
    fn drop(&mut self) {
        for _ in 0..3 {
            thread::yield_now();
        }
        self.0.fetch_add(1, Ordering::Release);
    }
}

#[test]
fn captures_are_dropped_before_the_scope_ends() {
    on_pool(|pool| {
        for _ in 0..100 {
            let dropped = AtomicUsize::new(0);
            pool.scope(|s| {
                for _ in 0..20 {
                    let held = SlowDrop(&dropped);
                    s.spawn(move |_| {
                        let _held = &held;
                    });
                }
            });
            assert_eq!(dropped.load(Ordering::Acquire), 20);
        }
    });
}

#[test]
fn captures_are_dropped_exactly_once() {
    on_pool(|pool| {
        let ledger = Ledger::new(2000);
        pool.scope(|s| {
            for (index, ticket) in ledger.tickets().into_iter().enumerate() {
                s.spawn(move |_| assert_eq!(ticket.index(), index));
            }
        });
        assert_eq!(ledger.made(), 2000);
        ledger.assert_settled();
    });
}

#[test]
fn tasks_of_great_size_and_alignment_run() {
    #[repr(align(512))]
    struct Aligned([u64; 512]);
    on_pool(|pool| {
        let sum = AtomicUsize::new(0);
        pool.scope(|s| {
            for i in 0..100 {
                let great = Aligned([i; 512]);
                let sum = &sum;
                s.spawn(move |_| {
                    let great = &great;
                    assert_eq!(std::ptr::from_ref(great).addr() % 512, 0);
                    sum.fetch_add(great.0.iter().sum::<u64>() as usize, Ordering::Relaxed);
                });
            }
        });
        assert_eq!(sum.into_inner(), 512 * 4950);
    });
}

#[test]
fn a_thousand_scopes_deep_is_right() {
    fn deep(left: usize) -> usize {
        if left == 0 {
            return 0;
        }
        let mut below = 0;
        heist::scope(|s| s.spawn(|_| below = deep(left - 1)));
        below + 1
    }
    watched(|| {
        // Each level may run on the stack of the level above.
        let pool = pool_with(|builder| builder.stack_size(16 << 20));
        assert_eq!(pool.install(|| deep(1000)), 1000);
    });
}

/// The order in which tasks run on one worker.
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

/// Tasks of an inner scope spawn into the outer one too, and each scope waits for its own.
#[test]
fn tasks_of_an_inner_scope_spawn_into_the_outer_one() {
    fn inner<'a>(outer: &Scope<'a>, depth: u32, count: &'a AtomicUsize) {
        let own = AtomicUsize::new(0);
        heist::scope(|s| {
            for _ in 0..3 {
                s.spawn(|s| {
                    outer.spawn(move |outer| {
                        count.fetch_add(1, Ordering::Relaxed);
                        if depth > 0 {
                            inner(outer, depth - 1, count);
                        }
                    });
                    s.spawn(|_| {
                        own.fetch_add(1, Ordering::Relaxed);
                    });
                });
            }
        });
        assert_eq!(own.into_inner(), 3);
    }
    watched(|| {
        for threads in [1, 2, 8] {
            let pool = pool_with(|b| b.num_threads(threads));
            for _ in 0..20 {
                let count = AtomicUsize::new(0);
                pool.scope(|s| inner(s, 4, &count));
                assert_eq!(count.load(Ordering::Relaxed), 3 + 9 + 27 + 81 + 243);
                pool.scope_on_workers(|s| s.spawn(|s| inner(s, 3, &count)));
                assert_eq!(count.into_inner(), 3 + 9 + 27 + 81 + 243 + 3 + 9 + 27 + 81);
            }
        }
    });
}
