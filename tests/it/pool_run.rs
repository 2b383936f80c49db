//! `run`: the closure runs on a worker while the caller sleeps.

use crate::support::{
    Ledger, fib, hold_all, on_pool, on_pool_of, panic_of, serial_fib, spin_until, work,
};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

#[test]
fn run_takes_place_on_a_worker() {
    on_pool(|pool| {
        let (thread, index) = pool.run(|| (thread::current().id(), heist::current_thread_index()));
        assert_ne!(thread, thread::current().id());
        assert!(index.unwrap() < pool.num_threads());
    });
}

#[test]
fn run_on_a_worker_of_the_pool_stays_in_the_pool() {
    on_pool(|pool| {
        let depth = pool.run(|| {
            pool.run(|| {
                assert!(heist::current_thread_index().is_some());
                pool.run(|| heist::join(|| 1, || pool.run(|| 2)))
            })
        });
        assert_eq!(depth, (1, 2));
    });
}

#[test]
fn run_borrows_and_gives_its_value_back() {
    on_pool(|pool| {
        let mut values = vec![3, 1, 2];
        let len = pool.run(|| {
            values.sort_unstable();
            values.len()
        });
        assert_eq!((len, values), (3, vec![1, 2, 3]));
        let ledger = Ledger::new(2);
        let (held, kept) = (ledger.ticket(0), ledger.ticket(1));
        let kept = pool.run(move || {
            drop(held);
            kept
        });
        assert_eq!(ledger.dropped(), 1);
        drop(kept);
        ledger.assert_settled();
    });
}

#[test]
fn many_threads_run_at_once() {
    on_pool(|pool| {
        thread::scope(|threads| {
            for _ in 0..16 {
                threads.spawn(|| {
                    for _ in 0..20 {
                        assert_eq!(pool.run(|| fib(8)), serial_fib(8));
                    }
                });
            }
        });
    });
}

#[test]
fn run_and_guests_share_a_pool_of_one() {
    on_pool_of(1, |pool| {
        thread::scope(|threads| {
            for _ in 0..4 {
                threads.spawn(|| {
                    for _ in 0..20 {
                        assert_eq!(pool.install(|| fib(8)), serial_fib(8));
                        assert_eq!(pool.run(|| fib(8)), serial_fib(8));
                    }
                });
            }
        });
    });
}

thread_local! {
    static VISITS: Cell<u32> = const { Cell::new(0) };
}

#[test]
fn thread_locals_of_a_worker_stay_with_it() {
    on_pool_of(1, |pool| {
        for visit in 1..=100 {
            let seen = pool.run(|| {
                VISITS.set(VISITS.get() + 1);
                work(10);
                VISITS.get()
            });
            assert_eq!(seen, visit);
        }
        assert_eq!(VISITS.get(), 0);
    });
}

/// A value whose drop takes a while, reads what it borrows, and panics.
struct Slow<'a>(&'a AtomicBool);

impl Drop for Slow<'_> {
    fn drop(&mut self) {
        thread::sleep(Duration::from_millis(50));
        self.0.store(true, Ordering::Relaxed);
        panic!("thrown by a destructor");
    }
}

#[test]
fn a_closure_that_a_shutdown_drops_is_gone_before_run_returns() {
    on_pool_of(1, |pool| {
        let held = hold_all(pool);
        thread::scope(|s| {
            let running = s.spawn(|| {
                let dropped = AtomicBool::new(false);
                let captured = Slow(&dropped);
                let text = panic_of(|| pool.run(move || drop(captured)));
                assert!(text.contains("closed"), "{text}");
                assert!(dropped.into_inner());
            });
            spin_until(|| pool.stats().queued == 1);
            let shutdown = s.spawn(|| pool.shutdown_now());
            running.join().unwrap();
            held.open();
            shutdown.join().unwrap();
        });
    });
}

#[test]
fn a_join_takes_no_closure_of_run_for_an_ended_task() {
    on_pool_of(1, |pool| {
        let held = hold_all(pool);
        let (send, receive) = mpsc::channel::<heist::JoinHandle<u32>>();
        let first = pool.submit(move || receive.recv().unwrap().join().unwrap());
        let queued = |n: usize| spin_until(|| pool.stats().queued == n);
        queued(1);
        thread::scope(|s| {
            // The first word is odd, which must not be mistaken for a tag.
            let (odd, even) = (u128::MAX, 2);
            let ran: Vec<_> = (2..5)
                .map(|n| {
                    let running = s.spawn(move || pool.run(move || odd - even));
                    queued(n);
                    running
                })
                .collect();
            send.send(pool.submit(|| 5)).unwrap();
            held.open();
            assert_eq!(first.join().unwrap(), 5);
            for running in ran {
                assert_eq!(running.join().unwrap(), u128::MAX - 2);
            }
        });
    });
}
