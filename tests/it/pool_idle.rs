//! `wait_idle` returns when nothing is queued and nothing runs, and at no other time.

use crate::support::{
    Gate, Held, SOON, assert_balanced, hold_all, live_threads, on_pool, on_pool_of, pool_with,
    sleeping_named, spin_until, watched,
};
use heist::{JoinError, ThreadPool};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

#[test]
fn wait_idle_waits_for_recursive_spawns() {
    fn spread(pool: &ThreadPool, depth: u32, ran: &Arc<AtomicUsize>) {
        ran.fetch_add(1, Ordering::Relaxed);
        for _ in 0..if depth == 0 { 0 } else { 3 } {
            let (own, ran) = (pool.clone(), Arc::clone(ran));
            pool.spawn(move || spread(&own, depth - 1, &ran));
        }
    }
    on_pool(|pool| {
        pool.wait_idle();
        for _ in 0..20 {
            let ran = Arc::new(AtomicUsize::new(0));
            let (own, counts) = (pool.clone(), Arc::clone(&ran));
            pool.spawn(move || spread(&own, 5, &counts));
            pool.wait_idle();
            assert_eq!(ran.load(Ordering::Relaxed), 364);
            assert_balanced(pool);
        }
    });
}

#[test]
fn wait_idle_returns_when_the_last_task_is_cancelled() {
    on_pool(|pool| {
        let (waiting, waits) = mpsc::channel();
        let held = hold_all(pool);
        let last = pool.submit(|| ());
        let own = pool.clone();
        let waiter = thread::spawn(move || {
            waiting.send(()).unwrap();
            own.wait_idle();
        });
        waits.recv().unwrap();
        assert!(last.cancel());
        held.open();
        waiter.join().unwrap();
        // A pool that has nothing else to do reports it too.
        let (own, token) = (pool.clone(), heist::CancelToken::new());
        token.cancel();
        pool.task().token(&token).submit(|| ()).detach();
        own.wait_idle();
    });
}

#[test]
fn wait_idle_from_many_threads() {
    on_pool(|pool| {
        let held = hold_all(pool);
        let waiters: Vec<_> = (0..5)
            .map(|_| {
                let own = pool.clone();
                thread::spawn(move || own.wait_idle())
            })
            .collect();
        held.open();
        for waiter in waiters {
            waiter.join().unwrap();
        }
    });
}

#[test]
fn wait_idle_waits_for_the_callbacks_of_late_tasks() {
    on_pool_of(1, |pool| {
        for _ in 0..50 {
            let held = hold_all(pool);
            let called = Arc::new(AtomicUsize::new(0));
            let handles: Vec<_> = (0..20)
                .map(|_| {
                    let task = pool.task().deadline(Duration::from_micros(100));
                    let mut handle = task.submit(|| ());
                    let count = Arc::clone(&called);
                    handle.on_finish(move |outcome| {
                        assert!(outcome.as_ref().is_err_and(JoinError::is_timeout));
                        count.fetch_add(1, Ordering::Relaxed);
                    });
                    handle
                })
                .collect();
            for handle in handles {
                assert!(handle.join().unwrap_err().is_timeout());
            }
            held.open();
            pool.wait_idle();
            assert_eq!(called.load(Ordering::Relaxed), 20);
            assert_eq!(pool.stats().queued, 0);
            assert_balanced(pool);
        }
    });
}

#[test]
fn wait_idle_waits_for_the_callbacks_of_running_late_tasks() {
    on_pool_of(1, |pool| {
        for _ in 0..50 {
            let (called, gate) = (Arc::new(AtomicUsize::new(0)), Held(Gate::default()));
            let (count, stands) = (Arc::clone(&called), gate.0.clone());
            let task = pool.task().deadline(Duration::from_millis(1));
            let mut handle = task.submit(move || stands.pass());
            handle.on_finish(move |_| {
                count.fetch_add(1, Ordering::Relaxed);
            });
            assert!(handle.join().unwrap_err().is_timeout());
            gate.open();
            pool.wait_idle();
            assert_eq!(called.load(Ordering::Relaxed), 1);
        }
    });
}

/// The first thread that returns submits a task that does not end before all have returned.
#[test]
fn everybody_who_waits_for_an_idle_moment_returns_after_it() {
    const WAITERS: usize = 4;
    on_pool(|pool| {
        for round in 0..20 {
            let first = hold_all(pool);
            let returned = Arc::new(AtomicUsize::new(0));
            let name = format!("idle{round}.");
            let waiters: Vec<_> = (0..WAITERS)
                .map(|n| {
                    let (own, returned) = (pool.clone(), Arc::clone(&returned));
                    let waiter = thread::Builder::new().name(format!("{name}{n}"));
                    let wait = move || {
                        own.wait_idle();
                        returned.fetch_add(1, Ordering::AcqRel);
                        own.spawn(move || {
                            spin_until(|| returned.load(Ordering::Acquire) >= WAITERS);
                        });
                    };
                    waiter.spawn(wait).unwrap()
                })
                .collect();
            // Without /proc it is not known which threads wait already.
            if live_threads() > 0 {
                spin_until(|| (0..10).all(|_| sleeping_named(&name) == WAITERS));
            } else {
                returned.store(WAITERS, Ordering::Release);
            }
            first.open();
            for waiter in waiters {
                waiter.join().unwrap();
            }
            pool.wait_idle();
        }
    });
}

#[test]
fn wait_idle_waits_for_callbacks_and_handles() {
    on_pool(|pool| {
        let (begun, held) = (Gate::default(), Held(Gate::default()));
        let (begins, gate) = (begun.clone(), held.0.clone());
        let first = hold_all(pool);
        let mut handle = pool.submit(|| ());
        handle.on_finish(move |_| {
            begins.open();
            gate.pass();
        });
        first.open();
        begun.pass();
        let own = pool.clone();
        let waiter = thread::spawn(move || {
            own.wait_idle();
            handle.is_finished()
        });
        thread::sleep(SOON);
        held.open();
        assert!(waiter.join().unwrap(), "idle while a callback runs");
    });
}

#[test]
fn a_wait_for_idleness_ends_while_a_guest_that_helped_stays() {
    watched(|| {
        // The guest runs a task that is held at a gate.
        type Body = fn(&ThreadPool, &Gate, &Gate);
        let by_scope: Body = |_, begun, gate| {
            heist::scope(|s| {
                s.spawn(|_| {
                    begun.open();
                    gate.pass();
                });
            });
        };
        let by_join: Body = |pool, begun, gate| {
            let (begun, gate) = (begun.clone(), gate.clone());
            let task = move || {
                begun.open();
                gate.pass();
            };
            pool.submit(task).join().unwrap();
        };
        for body in [by_scope, by_join] {
            let pool = pool_with(|b| b.num_threads(1).spare_threads(0));
            let held = hold_all(&pool);
            let (begun, gate, stay) = (Gate::default(), Held::default(), Held::default());
            thread::scope(|s| {
                s.spawn(|| {
                    pool.install(|| {
                        body(&pool, &begun, &gate.0);
                        stay.0.pass();
                    });
                });
                begun.pass();
                // The worker is free and asleep before the guest's task ends.
                held.open();
                thread::sleep(SOON);
                let waiting = s.spawn(|| pool.wait_idle());
                thread::sleep(SOON);
                gate.open();
                waiting.join().unwrap();
                stay.open();
            });
        }
    });
}
