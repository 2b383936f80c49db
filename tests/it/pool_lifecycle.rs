//! When threads begin and when they end.

use crate::support::{
    Gate, Held, LONG, Ledger, SOON, fib, hold_all, isolated, live_threads, named_pool, on_pool,
    outcome, pool, pool_with, serial_fib, spin_until, threads, threads_named, watched, work,
};
use heist::{Start, ThreadPool};
use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;

#[test]
fn a_pool_without_work_starts_no_thread() {
    isolated(
        "pool_lifecycle::a_pool_without_work_starts_no_thread",
        || {
            let before = live_threads();
            let pool = ThreadPool::builder().num_threads(64).build().unwrap();
            let other = pool.clone();
            pool.install(|| ());
            assert!(ThreadPool::current().is_none());
            assert_eq!(live_threads(), before);
            drop(pool);
            drop(other);
            assert_eq!(live_threads(), before);
        },
    );
}

#[test]
fn one_task_at_a_time_starts_few_threads() {
    watched(|| {
        let (pool, names) = named_pool(|builder| builder.num_threads(64));
        let (send, receive) = mpsc::channel();
        for _ in 0..20 {
            let send = send.clone();
            pool.spawn(move || send.send(()).unwrap());
            receive.recv().unwrap();
        }
        // One thread is enough. A task that came while the last one ended may have started another thread.
        let started = threads_named(&names);
        assert!((1..=8).contains(&started), "{started} threads");
    });
}

#[test]
fn dropping_the_last_handle_runs_queued_tasks_and_joins_threads() {
    watched(|| {
        for start in [Start::Lazy, Start::Eager] {
            let (pool, names) = named_pool(|builder| builder.start(start));
            let ledger = Ledger::new(2000);
            let ran = Arc::new(AtomicUsize::new(0));
            for ticket in ledger.tickets() {
                let ran = Arc::clone(&ran);
                pool.spawn(move || {
                    work(ticket.index() as u64 % 50);
                    ran.fetch_add(1, Ordering::Release);
                });
            }
            drop(pool);
            assert_eq!(ran.load(Ordering::Acquire), 2000);
            assert_eq!(ledger.dropped(), 2000);
            // A joined thread may remain listed for a moment.
            spin_until(|| threads_named(&names) == 0);
        }
    });
}

#[test]
fn only_the_last_handle_ends_the_pool() {
    watched(|| {
        let (pool, names) = named_pool(|builder| builder.start(Start::Eager));
        let handles: Vec<ThreadPool> = (0..10).map(|_| pool.clone()).collect();
        drop(pool);
        for handle in &handles {
            assert_eq!(handle.install(|| fib(8)), serial_fib(8));
        }
        let last = handles.into_iter().next_back().unwrap();
        assert_eq!(last.broadcast(|index| index).len(), threads());
        drop(last);
        spin_until(|| threads_named(&names) == 0);
    });
}

#[test]
fn tasks_that_spawn_while_the_pool_ends_lose_nothing() {
    fn below(depth: u32, ledger: &Ledger, next: &Arc<AtomicUsize>) {
        let ticket = ledger.ticket(next.fetch_add(1, Ordering::Relaxed));
        let (ledger, next) = (ledger.clone(), Arc::clone(next));
        if depth > 0 {
            heist::spawn(move || {
                work(100);
                drop(ticket);
                below(depth - 1, &ledger, &next);
            });
        }
    }
    watched(|| {
        for _ in 0..20 {
            let (pool, names) = named_pool(|builder| builder);
            let (ledger, next) = (Ledger::new(1000), Arc::new(AtomicUsize::new(0)));
            for _ in 0..10 {
                let (ledger, next) = (ledger.clone(), Arc::clone(&next));
                pool.spawn(move || below(20, &ledger, &next));
            }
            drop(pool);
            assert!(ledger.made() >= 10);
            ledger.assert_settled();
            spin_until(|| threads_named(&names) == 0);
        }
    });
}

#[test]
fn a_pool_dropped_on_its_own_worker_ends() {
    watched(|| {
        for _ in 0..50 {
            let (pool, names) = named_pool(|builder| builder.start(Start::Eager));
            let own = pool.clone();
            let (alone, is_alone) = mpsc::channel::<()>();
            let (send, receive) = mpsc::channel();
            let ran = Arc::new(AtomicUsize::new(0));
            let count = Arc::clone(&ran);
            pool.spawn(move || {
                is_alone.recv().unwrap();
                for _ in 0..20 {
                    let count = Arc::clone(&count);
                    own.spawn(move || {
                        count.fetch_add(1, Ordering::Release);
                    });
                }
                drop(own);
                // There is still one worker.
                send.send(fib(8)).unwrap();
            });
            drop(pool);
            alone.send(()).unwrap();
            assert_eq!(receive.recv(), Ok(serial_fib(8)));
            spin_until(|| threads_named(&names) == 0);
            assert_eq!(ran.load(Ordering::Acquire), 20);
        }
    });
}

#[test]
fn the_last_handle_may_die_with_a_task_that_holds_it() {
    watched(|| {
        for _ in 0..50 {
            let (pool, names) = named_pool(|builder| builder);
            let ran = Arc::new(AtomicBool::new(false));
            let (own, flag) = (pool.clone(), Arc::clone(&ran));
            pool.spawn(move || {
                own.join(|| (), || ());
                flag.store(true, Ordering::Release);
            });
            drop(pool);
            spin_until(|| ran.load(Ordering::Acquire) && threads_named(&names) == 0);
        }
    });
}

#[test]
fn a_pool_is_dropped_on_a_worker_of_another_pool() {
    on_pool(|outer| {
        for _ in 0..20 {
            let (inner, names) = named_pool(|builder| builder.start(Start::Eager));
            outer.run(move || {
                let ran = Arc::new(AtomicUsize::new(0));
                for _ in 0..50 {
                    let ran = Arc::clone(&ran);
                    inner.spawn(move || {
                        ran.fetch_add(1, Ordering::Release);
                    });
                }
                drop(inner);
                assert_eq!(ran.load(Ordering::Acquire), 50);
            });
            spin_until(|| threads_named(&names) == 0);
        }
    });
}

#[test]
fn a_worker_that_is_a_guest_elsewhere_may_drop_its_own_pool() {
    watched(|| {
        for _ in 0..20 {
            let (own, names) = named_pool(|builder| builder);
            let elsewhere = pool();
            let (dropped, done) = std::sync::mpsc::channel();
            let (go, gone) = std::sync::mpsc::channel::<()>();
            let last = own.clone();
            own.spawn(move || {
                gone.recv().unwrap();
                elsewhere.install(move || drop(last));
                dropped.send(()).unwrap();
            });
            drop(own);
            go.send(()).unwrap();
            done.recv().unwrap();
            spin_until(|| threads_named(&names) == 0);
        }
    });
}

#[test]
fn a_thousand_pools_leave_no_thread() {
    isolated("pool_lifecycle::a_thousand_pools_leave_no_thread", || {
        let before = live_threads();
        let ran = Arc::new(AtomicUsize::new(0));
        for round in 0..1000 {
            let start = if round % 10 == 0 {
                Start::Eager
            } else {
                Start::Lazy
            };
            let pool = crate::support::pool_with(|builder| builder.start(start));
            let ran = Arc::clone(&ran);
            pool.spawn(move || {
                ran.fetch_add(1, Ordering::Release);
            });
            match round % 4 {
                0 => assert_eq!(pool.join(|| 1, || 2), (1, 2)),
                1 => pool.scope(|s| s.spawn(|_| ())),
                2 => assert_eq!(pool.map(0..10, |x| x).len(), 10),
                _ => (),
            }
        }
        assert_eq!(ran.load(Ordering::Acquire), 1000);
        spin_until(|| live_threads() == before);
    });
}

#[test]
fn pools_are_made_and_dropped_by_many_threads() {
    watched(|| {
        thread::scope(|threads| {
            for _ in 0..6 {
                threads.spawn(|| {
                    for _ in 0..20 {
                        let pool = pool();
                        assert_eq!(pool.install(|| fib(8)), serial_fib(8));
                        pool.spawn(|| ());
                    }
                });
            }
        });
    });
}

#[test]
fn a_pool_outlives_the_thread_that_made_it() {
    watched(|| {
        let pool = thread::spawn(|| {
            let pool = pool();
            assert_eq!(pool.install(|| fib(8)), serial_fib(8));
            pool
        })
        .join()
        .unwrap();
        assert_eq!(pool.install(|| fib(8)), serial_fib(8));
        assert_eq!(pool.run(|| fib(8)), serial_fib(8));
    });
}

/// A thread-local whose destructor uses every way into the pool.
struct AtThreadEnd {
    pool: Option<ThreadPool>,
    answers: mpsc::Sender<(u64, usize, usize)>,
}

impl Drop for AtThreadEnd {
    fn drop(&mut self) {
        let ran = AtomicUsize::new(0);
        let count = |s: &heist::Scope<'_>| {
            let _ = s;
            ran.fetch_add(1, Ordering::Relaxed);
        };
        let (value, mapped) = match &self.pool {
            Some(pool) => {
                pool.scope(|s| (0..5).for_each(|_| s.spawn(count)));
                (pool.install(|| fib(8)), pool.map(0..100, |x| x).len())
            }
            None => {
                heist::scope(|s| (0..5).for_each(|_| s.spawn(count)));
                (fib(8), heist::global().map(0..100, |x| x).len())
            }
        };
        let _ = self.answers.send((value, mapped, ran.into_inner()));
    }
}

thread_local! {
    static AT_THREAD_END: RefCell<Option<AtThreadEnd>> = const { RefCell::new(None) };
}

/// Registers the destructor before or after the thread's first use of a pool.
fn set_at_thread_end<R>(early: bool, first_use: impl FnOnce() -> R, value: AtThreadEnd) {
    if early {
        AT_THREAD_END.with_borrow_mut(|slot| *slot = Some(value));
        first_use();
    } else {
        first_use();
        AT_THREAD_END.with_borrow_mut(|slot| *slot = Some(value));
    }
}

#[test]
fn a_guests_thread_local_destructor_may_call_the_pool() {
    isolated(
        "pool_lifecycle::a_guests_thread_local_destructor_may_call_the_pool",
        || {
            let pool = pool();
            for early in [true, false] {
                for own in [Some(pool.clone()), None] {
                    let (answers, receive) = mpsc::channel();
                    let guest = pool.clone();
                    let value = AtThreadEnd { pool: own, answers };
                    thread::spawn(move || {
                        set_at_thread_end(early, || guest.join(|| (), || ()), value);
                    })
                    .join()
                    .unwrap();
                    assert_eq!(receive.recv(), Ok((serial_fib(8), 100, 5)));
                }
            }
        },
    );
}

#[test]
fn a_workers_thread_local_destructor_may_call_a_pool() {
    isolated(
        "pool_lifecycle::a_workers_thread_local_destructor_may_call_a_pool",
        || {
            let other = pool();
            for own in [Some(other.clone()), None] {
                let (answers, receive) = mpsc::channel();
                let pool = pool();
                pool.broadcast(|_| {
                    let (own, answers) = (own.clone(), answers.clone());
                    set_at_thread_end(true, || (), AtThreadEnd { pool: own, answers });
                });
                drop((pool, answers));
                let answers: Vec<_> = receive.iter().collect();
                assert_eq!(answers, vec![(serial_fib(8), 100, 5); threads()]);
            }
        },
    );
}

#[test]
fn a_guests_thread_local_destructor_may_drop_the_last_handle() {
    watched(|| {
        thread_local! {
            static HELD: RefCell<Option<ThreadPool>> = const { RefCell::new(None) };
        }
        for _ in 0..20 {
            let (pool, names) = named_pool(|builder| builder.start(Start::Eager));
            let ran = Arc::new(AtomicUsize::new(0));
            let count = Arc::clone(&ran);
            thread::spawn(move || {
                for _ in 0..20 {
                    let count = Arc::clone(&count);
                    pool.spawn(move || {
                        count.fetch_add(1, Ordering::Release);
                    });
                }
                pool.join(|| (), || ());
                HELD.set(Some(pool));
            })
            .join()
            .unwrap();
            assert_eq!(ran.load(Ordering::Acquire), 20);
            spin_until(|| threads_named(&names) == 0);
        }
    });
}

#[test]
fn a_panic_that_unwinds_past_a_pool_ends_it() {
    watched(|| {
        let (pool, names) = named_pool(|builder| builder.start(Start::Eager));
        let ran = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&ran);
        let result = outcome(move || {
            let pool = pool;
            for _ in 0..50 {
                let count = Arc::clone(&count);
                pool.spawn(move || {
                    count.fetch_add(1, Ordering::Release);
                });
            }
            panic!("past the pool");
        });
        assert!(result.is_err());
        assert_eq!(ran.load(Ordering::Acquire), 50);
        spin_until(|| threads_named(&names) == 0);
    });
}

#[test]
fn a_process_ends_while_pools_are_at_work() {
    // The test asserts only that its process ends.
    isolated(
        "pool_lifecycle::a_process_ends_while_pools_are_at_work",
        || {
            let pool = pool();
            for _ in 0..threads() {
                pool.spawn(|| {
                    loop {
                        work(100);
                    }
                });
            }
            std::mem::forget(pool);
        },
    );
}

#[test]
fn the_last_handle_of_the_pool_resolves_everything() {
    watched(|| {
        for _ in 0..20 {
            let pool = pool_with(|b| b);
            let held = hold_all(&pool);
            let mut handles: Vec<_> = (0..100).map(|n| pool.submit(move || n)).collect();
            handles.push(pool.task().deadline(LONG).submit(|| 100));
            let waiter = thread::spawn(move || {
                let joined = handles.into_iter().map(|handle| handle.join().unwrap());
                joined.sum::<i32>()
            });
            held.open();
            drop(pool);
            assert_eq!(waiter.join().unwrap(), 5050);
        }
    });
}

#[test]
fn the_last_handle_of_the_pool_is_dropped_by_its_own_task() {
    watched(|| {
        let pool = pool_with(|b| b);
        let held = Held(Gate::default());
        let (gate, own) = (held.0.clone(), pool.clone());
        let dropper = pool.submit(move || {
            gate.pass();
            let handles: Vec<_> = (0..20).map(|n| own.submit(move || n)).collect();
            drop(own);
            handles
        });
        drop(pool);
        held.open();
        let handles = dropper.join().unwrap();
        let sum: i32 = handles
            .into_iter()
            .map(|handle| handle.join().unwrap())
            .sum();
        assert_eq!(sum, 190);
    });
}

/// A thread-local whose destructor uses a pool while its thread ends.
struct Late(Option<ThreadPool>);

impl Drop for Late {
    fn drop(&mut self) {
        thread::sleep(SOON);
        let pool = self.0.take().unwrap();
        pool.scope(|s| s.spawn(|_| thread::sleep(SOON)));
        let handle = pool.submit(|| ());
        assert!(handle.wait_timeout(LONG));
        pool.shutdown();
    }
}

thread_local! {
    static LATE: std::cell::RefCell<Option<(Late, mpsc::Sender<()>)>> = const { std::cell::RefCell::new(None) };
}

#[test]
fn thread_locals_outlive_the_pool_that_their_thread_held_last() {
    watched(|| {
        let (pool, other) = (pool_with(|b| b.num_threads(1)), pool_with(|b| b));
        let (send, receive) = mpsc::channel::<ThreadPool>();
        let (ended, end) = mpsc::channel();
        pool.spawn(move || {
            LATE.set(Some((Late(Some(other)), ended)));
            drop(receive.recv().unwrap());
        });
        send.send(pool).unwrap();
        // The sender is dropped after the value that uses the pool.
        assert!(end.recv().is_err());
    });
}
