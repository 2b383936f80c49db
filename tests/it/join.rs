//! `join`: both closures run once, `a` on the caller, and their results come back.

use crate::support::{
    Ledger, fib, on_pool, panic_of, pool_with, pool_with_thieves, serial_fib, spin_until, watched,
    work,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex};
use std::thread;

#[test]
fn both_results_come_back_in_order() {
    on_pool(|pool| {
        assert_eq!(pool.join(|| 1, || "two"), (1, "two"));
        assert_eq!(
            pool.join(|| vec![1, 2], || String::from("b")),
            (vec![1, 2], String::from("b"))
        );
        assert_eq!(pool.join(|| (), || ()), ((), ()));
    });
}

#[test]
fn a_runs_on_the_caller() {
    on_pool(|pool| {
        let caller = thread::current().id();
        let (ran_on, ()) = pool.join(|| thread::current().id(), || ());
        assert_eq!(ran_on, caller);
        pool.run(|| {
            let caller = thread::current().id();
            let (ran_on, ()) = heist::join(|| thread::current().id(), || ());
            assert_eq!(ran_on, caller);
        });
    });
}

#[test]
fn a_and_its_result_need_not_be_send() {
    on_pool(|pool| {
        let shared = Rc::new(5);
        let (a, b) = pool.join(|| Rc::clone(&shared), || 6);
        assert_eq!(*a + b, 11);
        assert_eq!(Rc::strong_count(&shared), 2);
    });
}

#[test]
fn closures_borrow_and_change_the_callers_data() {
    on_pool(|pool| {
        let (mut left, mut right) = (vec![1, 2, 3], vec![4, 5, 6]);
        pool.join(|| left.push(7), || right.clear());
        assert_eq!(left, [1, 2, 3, 7]);
        assert!(right.is_empty());
    });
}

#[test]
fn closures_without_size_and_of_great_size_run() {
    on_pool(|pool| {
        let great = [7_u64; 4096];
        let (a, b) = pool.join(move || great.map(|x| x + 1), move || great.map(|x| x + 2));
        assert!(a.iter().all(|&x| x == 8) && b.iter().all(|&x| x == 9));
        fn nothing() {}
        assert_eq!(pool.join(nothing, nothing), ((), ()));
    });
}

#[repr(align(256))]
struct Aligned(u8);

impl Aligned {
    fn check(&self) -> u8 {
        let address = std::ptr::from_ref(self).addr();
        assert_eq!(address % 256, 0, "a value lost its alignment");
        self.0
    }
}

#[test]
fn captures_and_results_keep_their_alignment() {
    watched(|| {
        let pool = pool_with_thieves();
        for round in 0..50 {
            let (one, two) = (Aligned(round), Aligned(round + 1));
            let started = AtomicBool::new(false);
            let (a, b) = pool.join(
                move || {
                    assert_eq!(one.check(), round);
                    if round % 2 == 0 {
                        work(1000);
                    }
                    one
                },
                || {
                    started.store(true, Ordering::Release);
                    assert_eq!({ &two }.check(), round + 1);
                    two
                },
            );
            assert!(started.load(Ordering::Acquire));
            assert_eq!((a.check(), b.check()), (round, round + 1));
        }
    });
}

#[test]
fn a_recursion_without_a_cut_off_is_right() {
    on_pool(|pool| {
        assert_eq!(pool.install(|| fib(20)), serial_fib(20));
        assert_eq!(pool.run(|| fib(20)), serial_fib(20));
    });
}

#[test]
fn a_loop_of_flat_joins_is_right() {
    on_pool(|pool| {
        let sum = pool.install(|| {
            (0..100_000_u64).fold(0, |sum, i| {
                let (a, b) = heist::join(|| i, || i + 1);
                sum + a + b
            })
        });
        assert_eq!(sum, (0..100_000).map(|i| 2 * i + 1).sum::<u64>());
    });
}

fn quick_sort<T: Ord + Send>(values: &mut [T]) {
    if values.len() < 2 {
        return;
    }
    let pivot = values.len() - 1;
    let mut middle = 0;
    for i in 0..pivot {
        if values[i] <= values[pivot] {
            values.swap(i, middle);
            middle += 1;
        }
    }
    values.swap(pivot, middle);
    let (low, high) = values.split_at_mut(middle);
    heist::join(|| quick_sort(low), || quick_sort(&mut high[1..]));
}

#[test]
fn quick_sort_by_joins_sorts() {
    on_pool(|pool| {
        let mut random = StdRng::seed_from_u64(1);
        for len in [0, 1, 2, 3, 100, 30_000] {
            let mut values: Vec<String> = (0..len)
                .map(|_| random.random::<u64>().to_string())
                .collect();
            let mut expected = values.clone();
            expected.sort();
            pool.install(|| quick_sort(&mut values));
            assert_eq!(values, expected);
        }
    });
}

/// A chain of joins that forks to the left, to the right, or to both in turn.
fn chain(depth: usize, heavy_left: fn(usize) -> bool) -> usize {
    if depth == 0 {
        return 1;
    }
    let (heavy, light) = (|| chain(depth - 1, heavy_left), || 1);
    if heavy_left(depth) {
        let (a, b) = heist::join(heavy, light);
        a + b
    } else {
        let (a, b) = heist::join(light, heavy);
        a + b
    }
}

#[test]
fn lopsided_chains_are_right() {
    watched(|| {
        let pool = pool_with(|builder| builder.stack_size(16 << 20));
        let shapes: [fn(usize) -> bool; 3] = [|_| true, |_| false, |depth| depth % 2 == 0];
        for heavy_left in shapes {
            assert_eq!(pool.install(|| chain(1000, heavy_left)), 1001);
            assert_eq!(pool.run(|| chain(1000, heavy_left)), 1001);
        }
    });
}

#[test]
fn b_is_stolen_while_a_keeps_its_thread_busy() {
    watched(|| {
        let pool = pool_with_thieves();
        for _ in 0..100 {
            let started = AtomicBool::new(false);
            let caller = thread::current().id();
            let (_, thief) = pool.join(
                || spin_until(|| started.load(Ordering::Acquire)),
                || {
                    started.store(true, Ordering::Release);
                    thread::current().id()
                },
            );
            assert_ne!(thief, caller);
        }
    });
}

/// Forks `pending` closures that all wait for each other, then keeps the owner away from its queue.
fn fork_and_stand_still(pending: usize, started: &AtomicUsize, all: usize) {
    let wait = || spin_until(|| started.load(Ordering::Acquire) == all);
    if pending == 0 {
        return wait();
    }
    heist::join(
        || fork_and_stand_still(pending - 1, started, all),
        || {
            started.fetch_add(1, Ordering::AcqRel);
            wait();
        },
    );
}

#[test]
fn thieves_reach_every_pending_b_of_an_owner_that_stands_still() {
    watched(|| {
        let pool = pool_with_thieves();
        let thieves = pool.num_threads() - 1;
        for _ in 0..20 {
            let started = AtomicUsize::new(0);
            pool.run(|| fork_and_stand_still(thieves, &started, thieves));
            assert_eq!(started.into_inner(), thieves);
        }
    });
}

#[test]
fn a_stolen_b_forks_on_its_own() {
    watched(|| {
        let pool = pool_with_thieves();
        for _ in 0..20 {
            let started = AtomicBool::new(false);
            let (a, b) = pool.install(|| {
                heist::join(
                    || {
                        spin_until(|| started.load(Ordering::Acquire));
                        fib(10)
                    },
                    || {
                        started.store(true, Ordering::Release);
                        fib(14)
                    },
                )
            });
            assert_eq!((a, b), (serial_fib(10), serial_fib(14)));
        }
    });
}

#[test]
fn captures_are_dropped_when_join_returns() {
    on_pool(|pool| {
        let ledger = Ledger::new(4000);
        for round in 0..1000 {
            let base = round * 4;
            let (a, b) = (ledger.ticket(base), ledger.ticket(base + 1));
            let results = pool.join(
                || {
                    work(a.index() as u64 % 50);
                    drop(a);
                    ledger.ticket(base + 2)
                },
                || {
                    let captured = b;
                    work(captured.index() as u64 % 70);
                    ledger.ticket(base + 3)
                },
            );
            assert_eq!(ledger.dropped(), base + 2);
            assert_eq!((results.0.index(), results.1.index()), (base + 2, base + 3));
        }
        ledger.assert_settled();
    });
}

#[test]
fn every_closure_of_a_tree_runs_exactly_once() {
    fn walk(node: usize, visits: &[AtomicUsize]) {
        let Some(visit) = visits.get(node) else {
            return;
        };
        visit.fetch_add(1, Ordering::Relaxed);
        heist::join(|| walk(2 * node + 1, visits), || walk(2 * node + 2, visits));
    }
    on_pool(|pool| {
        for len in [1, 10, 1 << 14] {
            let visits: Vec<AtomicUsize> = (0..len).map(|_| AtomicUsize::new(0)).collect();
            pool.install(|| walk(0, &visits));
            assert!(visits.iter().all(|v| v.load(Ordering::Relaxed) == 1));
        }
    });
}

#[test]
fn what_b_wrote_is_seen_after_join() {
    on_pool(|pool| {
        let lock = Mutex::new(0_u32);
        for _ in 0..2000 {
            let mut plain = 0;
            pool.join(
                || *lock.lock().unwrap() += 1,
                || {
                    plain = 1;
                    *lock.lock().unwrap() += 1;
                },
            );
            assert_eq!(plain, 1);
        }
        assert_eq!(lock.into_inner().unwrap(), 4000);
    });
}

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
