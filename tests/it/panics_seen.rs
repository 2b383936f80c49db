//! A panic reaches the caller after every sibling has finished or was dropped unrun.

use crate::support::{
    Ledger, fib, on_pool, outcome, panic_of, payload_text, pool_with_thieves, serial_fib,
    spin_until, watched, work,
};
use heist::ThreadPool;
use std::panic::panic_any;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

/// Checks that the pool still forks and that every worker answers.
#[track_caller]
fn assert_sound(pool: &ThreadPool) {
    assert_eq!(pool.install(|| fib(8)), serial_fib(8));
    let workers = pool.num_threads();
    let answers = pool.broadcast(heist_index);
    assert_eq!(answers, (0..workers).map(Some).collect::<Vec<_>>());
}

fn heist_index(_: usize) -> Option<usize> {
    heist::current_thread_index()
}

#[test]
fn a_panic_in_a_reaches_the_caller() {
    on_pool(|pool| {
        assert_eq!(panic_of(|| pool.join(|| panic!("in a"), || 1)), "in a");
        let inside = pool.run(|| panic_of(|| heist::join(|| panic!("in a"), || 1)));
        assert_eq!(inside, "in a");
        assert_sound(pool);
    });
}

#[test]
fn a_panic_in_b_reaches_the_caller() {
    on_pool(|pool| {
        assert_eq!(panic_of(|| pool.join(|| 1, || panic!("in b"))), "in b");
        let inside = pool.run(|| panic_of(|| heist::join(|| 1, || panic!("in b"))));
        assert_eq!(inside, "in b");
        assert_sound(pool);
    });
}

#[test]
fn the_payload_of_a_wins_over_that_of_b() {
    on_pool(|pool| {
        for _ in 0..200 {
            let text = panic_of(|| pool.join(|| panic!("in a"), || panic!("in b")));
            assert_eq!(text, "in a");
        }
        assert_sound(pool);
    });
}

#[test]
fn the_payload_of_a_wins_over_that_of_a_stolen_b() {
    watched(|| {
        let pool = pool_with_thieves();
        for b_first in [false, true] {
            for _ in 0..20 {
                let (b_started, a_panics) = (AtomicBool::new(false), AtomicBool::new(false));
                let text = panic_of(|| {
                    pool.join(
                        || {
                            spin_until(|| b_started.load(Ordering::Acquire));
                            a_panics.store(true, Ordering::Release);
                            panic!("in a")
                        },
                        || {
                            b_started.store(true, Ordering::Release);
                            if !b_first {
                                spin_until(|| a_panics.load(Ordering::Acquire));
                            }
                            panic!("in b")
                        },
                    )
                });
                assert_eq!(text, "in a");
            }
        }
        assert_sound(&pool);
    });
}

#[test]
fn a_payload_keeps_its_type() {
    #[derive(Debug, PartialEq)]
    struct Code(u32);
    on_pool(|pool| {
        let payload = outcome(|| pool.join(|| (), || panic_any(Code(7)))).unwrap_err();
        assert_eq!(*payload.downcast::<Code>().unwrap(), Code(7));
        let payload = outcome(|| pool.run(|| panic_any(Code(8)))).unwrap_err();
        assert_eq!(*payload.downcast::<Code>().unwrap(), Code(8));
        let payload = outcome(|| pool.scope(|s| s.spawn(|_| panic_any(Code(9))))).unwrap_err();
        assert_eq!(*payload.downcast::<Code>().unwrap(), Code(9));
        let payload = outcome(|| pool.for_each(0..9, |_| panic_any(Code(10)))).unwrap_err();
        assert_eq!(*payload.downcast::<Code>().unwrap(), Code(10));
    });
}

#[test]
fn a_panic_in_a_waits_for_a_stolen_b() {
    watched(|| {
        let pool = pool_with_thieves();
        for _ in 0..50 {
            let flags = [const { AtomicBool::new(false) }; 3];
            let [started, panics, done] = &flags;
            let text = panic_of(|| {
                pool.join(
                    || {
                        spin_until(|| started.load(Ordering::Acquire));
                        panics.store(true, Ordering::Release);
                        panic!("in a")
                    },
                    || {
                        started.store(true, Ordering::Release);
                        spin_until(|| panics.load(Ordering::Acquire));
                        work(20_000);
                        done.store(true, Ordering::Release);
                    },
                )
            });
            assert_eq!(text, "in a");
            assert!(done.load(Ordering::Acquire));
        }
    });
}

#[test]
fn a_panic_in_b_waits_for_a() {
    watched(|| {
        let pool = pool_with_thieves();
        for _ in 0..50 {
            let (panics, done) = (AtomicBool::new(false), AtomicBool::new(false));
            let text = panic_of(|| {
                pool.join(
                    || {
                        spin_until(|| panics.load(Ordering::Acquire));
                        work(20_000);
                        done.store(true, Ordering::Release);
                    },
                    || {
                        panics.store(true, Ordering::Release);
                        panic!("in b")
                    },
                )
            });
            assert_eq!(text, "in b");
            assert!(done.load(Ordering::Acquire));
        }
    });
}

#[test]
fn a_panic_in_a_runs_b_or_drops_it_unrun() {
    on_pool(|pool| {
        for _ in 0..500 {
            let (ledger, ran) = (Ledger::new(2), AtomicBool::new(false));
            let ticket = ledger.ticket(0);
            let text = panic_of(|| {
                pool.join(
                    || panic!("in a"),
                    || {
                        ran.store(true, Ordering::Relaxed);
                        let result = ledger.ticket(1);
                        drop(ticket);
                        result
                    },
                )
            });
            assert_eq!(text, "in a");
            assert_eq!(ledger.made(), 1 + usize::from(ran.into_inner()));
            ledger.assert_settled();
        }
    });
}

#[test]
fn a_panic_in_b_drops_the_result_of_a() {
    on_pool(|pool| {
        let ledger = Ledger::new(200);
        for i in 0..200 {
            panic_of(|| pool.join(|| ledger.ticket(i), || panic!("in b")));
        }
        assert_eq!(ledger.made(), 200);
        ledger.assert_settled();
    });
}

#[test]
fn a_panic_deep_in_a_tree_reaches_the_root() {
    fn tree(depth: u32, leaf: u32, at: u32) -> u32 {
        if depth == 0 {
            assert!(leaf != at, "leaf {at}");
            return 1;
        }
        let (a, b) = heist::join(
            || tree(depth - 1, 2 * leaf, at),
            || tree(depth - 1, 2 * leaf + 1, at),
        );
        a + b
    }
    on_pool(|pool| {
        for at in [0, 1, 100, 254, 255] {
            let text = panic_of(|| pool.install(|| tree(8, 0, at)));
            assert_eq!(text, format!("leaf {at}"));
            let text = panic_of(|| pool.run(|| tree(8, 0, at)));
            assert_eq!(text, format!("leaf {at}"));
        }
        assert_eq!(pool.install(|| tree(8, 0, 256)), 256);
    });
}

#[test]
fn no_closure_runs_in_a_thread_that_unwinds() {
    fn checked(depth: u32, seen: &AtomicUsize) {
        if thread::panicking() {
            seen.fetch_add(1, Ordering::Relaxed);
        }
        work(500);
        if depth > 0 {
            heist::join(|| checked(depth - 1, seen), || checked(depth - 1, seen));
            heist::scope(|s| s.spawn(|_| checked(0, seen)));
        }
    }
    watched(|| {
        let pool = pool_with_thieves();
        for _ in 0..20 {
            let (started, panics) = (AtomicBool::new(false), AtomicBool::new(false));
            let seen = AtomicUsize::new(0);
            let text = panic_of(|| {
                pool.install(|| {
                    heist::join(
                        || {
                            spin_until(|| started.load(Ordering::Acquire));
                            panics.store(true, Ordering::Release);
                            panic!("in a")
                        },
                        || {
                            started.store(true, Ordering::Release);
                            spin_until(|| panics.load(Ordering::Acquire));
                            // The unwinding thread waits for this closure and must not help.
                            checked(9, &seen);
                        },
                    )
                })
            });
            assert_eq!(text, "in a");
            assert_eq!(seen.into_inner(), 0);
        }
    });
}

#[test]
fn locks_are_poisoned_as_in_the_serial_program() {
    watched(|| {
        let pool = pool_with_thieves();
        for b_panics in [false, true] {
            let (of_a, of_b, below_b) = (Mutex::new(()), Mutex::new(()), Mutex::new(()));
            let (started, panics) = (AtomicBool::new(false), AtomicBool::new(false));
            let text = panic_of(|| {
                pool.install(|| {
                    heist::join(
                        || {
                            let _held = of_a.lock().unwrap();
                            spin_until(|| started.load(Ordering::Acquire));
                            panics.store(true, Ordering::Release);
                            panic!("in a")
                        },
                        || {
                            let _held = of_b.lock().unwrap();
                            started.store(true, Ordering::Release);
                            spin_until(|| panics.load(Ordering::Acquire));
                            let below = outcome(|| {
                                heist::join(
                                    || work(1000),
                                    || {
                                        let _held = below_b.lock().unwrap();
                                        assert!(!b_panics, "below b");
                                    },
                                )
                            });
                            assert_eq!(below.is_err(), b_panics);
                            assert!(!b_panics, "in b");
                        },
                    )
                })
            });
            assert_eq!(text, "in a");
            assert!(of_a.is_poisoned());
            assert_eq!(of_b.is_poisoned(), b_panics);
            assert_eq!(below_b.is_poisoned(), b_panics);
        }
    });
}

/// A value that panics when it is dropped.
struct PanicOnDrop(&'static str);

impl Drop for PanicOnDrop {
    fn drop(&mut self) {
        panic!("{}", self.0)
    }
}

#[test]
fn a_panic_in_the_drop_of_a_capture_reaches_the_caller() {
    on_pool(|pool| {
        for _ in 0..100 {
            let (a, b) = (PanicOnDrop("drop in a"), PanicOnDrop("drop in b"));
            let text = panic_of(|| pool.join(move || drop(a), || ()));
            assert_eq!(text, "drop in a");
            let text = panic_of(|| pool.join(|| (), move || drop(b)));
            assert_eq!(text, "drop in b");
            let held = PanicOnDrop("drop in a task");
            let text = panic_of(|| {
                pool.scope(|s| {
                    s.spawn(move |_| {
                        let _held = &held;
                    });
                });
            });
            assert_eq!(text, "drop in a task");
        }
        assert_sound(pool);
    });
}

#[test]
fn a_panic_in_the_drop_of_an_unrun_b_is_not_a_second_one() {
    on_pool(|pool| {
        for _ in 0..100 {
            let held = PanicOnDrop("drop of b");
            let text = panic_of(|| pool.join(|| panic!("in a"), move || drop(held)));
            assert_eq!(text, "in a");
        }
        assert_sound(pool);
    });
}

#[test]
fn a_panic_in_the_drop_of_a_result_reaches_the_caller() {
    on_pool(|pool| {
        let text = panic_of(|| pool.join(|| panic!("in a"), || PanicOnDrop("result of b")));
        assert_eq!(text, "in a");
        let text = panic_of(|| {
            pool.for_each(0..100, |i| {
                let _bomb = (i == 50).then(|| PanicOnDrop("in an item"));
            });
        });
        assert_eq!(text, "in an item");
        assert_sound(pool);
    });
}

#[test]
fn a_payload_that_panics_on_drop_does_not_abort() {
    on_pool(|pool| {
        for _ in 0..20 {
            // Nobody sees the payload of b. The payload of a comes back and is never dropped.
            let a_wins = outcome(|| {
                pool.join(|| panic!("in a"), || panic_any(PanicOnDrop("payload of b")));
            });
            assert_eq!(payload_text(&*a_wins.unwrap_err()), "in a");
            let of_scope = outcome(|| {
                pool.scope(|s| {
                    for _ in 0..5 {
                        s.spawn(|_| panic_any(PanicOnDrop("payload of a task")));
                    }
                });
            });
            std::mem::forget(of_scope.unwrap_err());
            let of_map = outcome(|| {
                pool.for_each(0..50, |_| panic_any(PanicOnDrop("payload of an item")));
            });
            std::mem::forget(of_map.unwrap_err());
        }
        assert_sound(pool);
    });
}

#[test]
fn a_panic_in_the_body_of_a_scope_waits_for_its_tasks() {
    on_pool(|pool| {
        for _ in 0..50 {
            let ledger = Ledger::new(40);
            let ran = AtomicUsize::new(0);
            let text = panic_of(|| {
                pool.scope(|s| {
                    for ticket in ledger.tickets() {
                        let ran = &ran;
                        s.spawn(move |_| {
                            work(100);
                            drop(ticket);
                            ran.fetch_add(1, Ordering::Release);
                        });
                    }
                    panic!("in the body")
                })
            });
            assert_eq!(text, "in the body");
            let at_return = ran.load(Ordering::Acquire);
            assert_eq!(ledger.dropped(), 40);
            ledger.assert_settled();
            assert_eq!(ran.load(Ordering::Acquire), at_return);
        }
        assert_sound(pool);
    });
}

#[test]
fn a_panic_in_a_task_of_a_scope_waits_for_the_others() {
    on_pool(|pool| {
        for at in [0, 10, 39] {
            let ledger = Ledger::new(40);
            let body_done = AtomicBool::new(false);
            let text = panic_of(|| {
                pool.scope(|s| {
                    for ticket in ledger.tickets() {
                        s.spawn(move |_| {
                            work(100);
                            assert!(ticket.index() != at, "in task {at}");
                        });
                    }
                    body_done.store(true, Ordering::Relaxed);
                })
            });
            assert_eq!(text, format!("in task {at}"));
            assert!(body_done.into_inner());
            assert_eq!(ledger.dropped(), 40);
            ledger.assert_settled();
        }
        assert_sound(pool);
    });
}

#[test]
fn one_of_several_panics_of_a_scope_reaches_the_caller() {
    on_pool(|pool| {
        for _ in 0..50 {
            let text = panic_of(|| {
                pool.scope(|s| {
                    for number in 0..10 {
                        s.spawn(move |s| {
                            s.spawn(move |_| panic!("task below {number}"));
                            panic!("task {number}")
                        });
                    }
                    panic!("body")
                })
            });
            assert!(
                text == "body" || text.starts_with("task "),
                "whose is this: {text}"
            );
        }
        assert_sound(pool);
    });
}

#[test]
fn a_caught_panic_of_an_inner_scope_stays_inside() {
    on_pool(|pool| {
        let ran = AtomicUsize::new(0);
        pool.scope(|s| {
            for _ in 0..20 {
                s.spawn(|_| {
                    let text = panic_of(|| heist::scope(|s| s.spawn(|_| panic!("inner"))));
                    assert_eq!(text, "inner");
                    ran.fetch_add(1, Ordering::Relaxed);
                });
            }
        });
        assert_eq!(ran.into_inner(), 20);
    });
}

#[test]
fn a_panic_in_run_and_broadcast_reaches_the_caller() {
    on_pool(|pool| {
        assert_eq!(panic_of(|| pool.run(|| panic!("in run"))), "in run");
        let text = panic_of(|| {
            pool.broadcast(|index| assert!(index != 0, "on worker 0"));
        });
        assert_eq!(text, "on worker 0");
        let ran = AtomicUsize::new(0);
        panic_of(|| {
            pool.broadcast(|_| {
                ran.fetch_add(1, Ordering::Relaxed);
                panic!("on all");
            });
        });
        assert_eq!(ran.into_inner(), pool.num_threads());
        assert_sound(pool);
    });
}

#[test]
fn a_panic_in_find_any_and_try_map_reaches_the_caller() {
    on_pool(|pool| {
        let text = panic_of(|| pool.find_any(0..1000, |&x| x == 5 && panic!("in pred")));
        assert_eq!(text, "in pred");
        let text = panic_of(|| {
            pool.try_map(0..1000, |x| match x {
                7 => panic!("in f"),
                x => Ok::<i32, ()>(x),
            })
        });
        assert_eq!(text, "in f");
    });
}

#[test]
fn a_drop_that_forks_works_while_its_thread_unwinds() {
    struct ForkOnDrop<'a>(&'a ThreadPool, &'a AtomicUsize);
    impl Drop for ForkOnDrop<'_> {
        fn drop(&mut self) {
            assert!(thread::panicking());
            let (a, b) = self.0.join(|| 1, || 2);
            let mapped = self.0.map(0..100, |x| x).len();
            let spawned = AtomicUsize::new(0);
            self.0.scope(|s| {
                for _ in 0..10 {
                    s.spawn(|_| {
                        spawned.fetch_add(1, Ordering::Relaxed);
                    });
                }
            });
            self.1
                .store(a + b + mapped + spawned.into_inner(), Ordering::Relaxed);
        }
    }
    on_pool(|pool| {
        for _ in 0..20 {
            let sum = AtomicUsize::new(0);
            let text = panic_of(|| {
                pool.install(|| {
                    let _guard = ForkOnDrop(pool, &sum);
                    panic!("outer")
                })
            });
            assert_eq!(
                (text.as_str(), sum.swap(0, Ordering::Relaxed)),
                ("outer", 113)
            );
            let text = panic_of(|| {
                pool.join(
                    || (),
                    || {
                        let _guard = ForkOnDrop(pool, &sum);
                        panic!("in b")
                    },
                )
            });
            assert_eq!((text.as_str(), sum.into_inner()), ("in b", 113));
        }
    });
}
