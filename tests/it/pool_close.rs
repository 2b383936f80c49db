//! `close` and `close_now`: they return at once, and every handle still resolves.

use crate::support::{
    Gate, Held, Ledger, assert_balanced, hold_all, on_pool, pool_with, spin_until, threads, watched,
};
use heist::{Priority, ThreadPool};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;

/// A name, and how a closure is called there.
type CallingPlace = (&'static str, fn(&ThreadPool, Box<dyn FnOnce() + Send>));

/// The places where `close` or `close_now` is called.
const PLACES: [CallingPlace; 7] = [
    ("outside", |_, call| call()),
    ("as a guest", |pool, call| pool.install(call)),
    ("in a scope's body", |pool, call| pool.scope(|_| call())),
    ("in a scope's task", |pool, call| {
        pool.scope(|s| s.spawn(|_| call()));
    }),
    ("in a map", |pool, call| {
        pool.map(vec![call], |call| call());
    }),
    ("in an item of a stream", |pool, call| {
        pool.scope(|s| s.imap([call], |call| call()).for_each(|item| item.unwrap()));
    }),
    ("in a task of another pool", |_, call| {
        pool_with(|b| b).submit(call).join().unwrap();
    }),
];

/// Checks what `close` and `close_now` do to tasks in each state, wherever they are called.
fn ends_without_a_wait(drops: bool) {
    watched(move || {
        for (place, at) in PLACES {
            let (pool, names) = crate::support::named_pool(|b| b.num_threads(threads().max(2)));
            // All workers but one run tasks that are held. The last one runs the task that closes the pool.
            let held = crate::support::hold(&pool, pool.num_threads() - 1);
            let (last, standing) = (Held(Gate::default()), Arc::new(AtomicBool::new(false)));
            let (gate, stands) = (last.0.clone(), Arc::clone(&standing));
            let running = pool.submit(move || {
                stands.store(true, Ordering::Release);
                gate.pass();
                7
            });
            spin_until(|| standing.load(Ordering::Acquire));
            let ledger = Ledger::new(40);
            let mut tickets = ledger.tickets().into_iter();
            let mut next = || tickets.next().unwrap();
            let mut queued = Vec::new();
            for priority in [Priority::Low, Priority::Normal, Priority::High] {
                for _ in 0..10 {
                    let ticket = next();
                    let task = pool.task().priority(priority);
                    queued.push(task.submit(move || ticket.index()));
                }
            }
            let (called, calls) = mpsc::channel();
            queued[0].on_finish(move |outcome| called.send(outcome.is_ok()).unwrap());
            for _ in 0..10 {
                let ticket = next();
                pool.spawn(move || drop(ticket));
            }
            let dropped = Arc::new(AtomicUsize::new(0));
            let (own, count) = (pool.clone(), Arc::clone(&dropped));
            let call = move || match drops {
                true => count.store(own.close_now(), Ordering::Release),
                false => own.close(),
            };
            at(&pool, Box::new(call));
            // The call has returned while tasks run.
            assert!(running.is_running(), "{place}");
            assert!(pool.try_submit(|| ()).is_err());
            assert!(pool.submit(|| ()).join().unwrap_err().is_cancelled());
            assert_eq!(dropped.load(Ordering::Acquire), if drops { 40 } else { 0 });
            assert!(queued.iter().all(|handle| handle.is_finished() == drops));
            if drops {
                assert_eq!(ledger.dropped(), 40, "{place}");
                assert_eq!(calls.try_recv(), Ok(false));
            }
            // A second call changes nothing for the tasks.
            pool.close();
            held.open();
            last.open();
            for handle in queued {
                match handle.join() {
                    Ok(_) => assert!(!drops, "{place}"),
                    Err(error) => assert!(drops && error.to_string().contains("shut down")),
                }
            }
            assert_eq!(running.join().unwrap(), 7);
            // The threads end by themselves.
            spin_until(|| crate::support::threads_named(&names) == 0);
            assert_eq!(pool.close_now(), 0);
            pool.shutdown();
            assert_balanced(&pool);
            assert_eq!(ledger.dropped(), 40);
            ledger.assert_settled();
        }
    });
}

#[test]
fn close_returns_at_once_and_what_is_queued_runs() {
    ends_without_a_wait(false);
}

#[test]
fn close_now_returns_at_once_and_drops_what_is_queued() {
    ends_without_a_wait(true);
}

#[test]
fn close_now_in_a_task_of_the_only_worker_drops_what_the_task_has_submitted() {
    for spares in [0, 1] {
        watched(move || {
            let pool = pool_with(|b| b.num_threads(1).spare_threads(spares));
            let own = pool.clone();
            let task = pool.submit(move || {
                let handles: Vec<_> = (0..20).map(|n| own.submit(move || n)).collect();
                assert_eq!(own.close_now(), 20);
                assert_eq!(own.close_now(), 0);
                for handle in handles {
                    assert!(handle.is_finished());
                    assert!(handle.join().unwrap_err().is_cancelled());
                }
                // Tasks that borrow still run.
                let sum: u64 = own.map(0..100_u64, |n| n).into_iter().sum();
                sum + own.scope(|s| s.submit(|_| 1_u64).join().unwrap())
            });
            assert_eq!(task.join().unwrap(), 4951);
            drop(pool);
        });
    }
}

#[test]
fn close_in_a_task_of_the_only_worker_lets_run_what_the_task_has_submitted() {
    for spares in [0, 1] {
        watched(move || {
            let pool = pool_with(|b| b.num_threads(1).spare_threads(spares));
            let own = pool.clone();
            let task = pool.submit(move || {
                let handles: Vec<_> = (0..20).map(|n| own.submit(move || n)).collect();
                own.close();
                handles
            });
            for (n, handle) in task.join().unwrap().into_iter().enumerate() {
                assert_eq!(handle.join().unwrap(), n);
            }
        });
    }
}

#[test]
fn close_now_leaves_the_tasks_of_a_scope_and_its_streams() {
    on_pool(|pool| {
        let held = hold_all(pool);
        let ran = AtomicUsize::new(0);
        pool.scope(|s| {
            for _ in 0..20 {
                s.spawn(|s| {
                    ran.fetch_add(1, Ordering::Relaxed);
                    s.spawn(|_| {
                        ran.fetch_add(1, Ordering::Relaxed);
                    });
                });
            }
            let handle = s.submit(|_| 5);
            let mut stream = s.imap(0..50, |n| n).window(6);
            assert_eq!(stream.next().unwrap().unwrap(), 0);
            assert_eq!(pool.close_now(), 0);
            assert!(stream.map(Result::unwrap).eq(1..50));
            assert_eq!(handle.join().unwrap(), 5);
        });
        assert_eq!(ran.into_inner(), 40);
        held.open();
        pool.shutdown();
        assert_balanced(pool);
    });
}

#[test]
fn close_and_close_now_end_a_stream_of_the_pool() {
    for drops in [false, true] {
        for chunk in [1, 3] {
            on_pool(move |pool| {
                let held = hold_all(pool);
                let ledger = Ledger::new(60);
                let mut stream = pool.imap(ledger.tickets(), |t| t.index());
                stream = stream.window(6).chunk(chunk);
                // This thread runs it.
                assert_eq!(stream.next().unwrap().unwrap(), 0);
                match drops {
                    true => assert!(pool.close_now() > 0),
                    false => pool.close(),
                }
                let (mut ok, mut cancelled) = (1, 0);
                for (n, result) in (1..).zip(stream) {
                    match result {
                        Ok(index) => {
                            assert_eq!(index, n);
                            ok += 1;
                        }
                        Err(error) => {
                            assert!(error.is_cancelled(), "{error}");
                            cancelled += 1;
                        }
                    }
                }
                assert_eq!(ok + cancelled, 60);
                // A task that was being submitted has run, or has not.
                assert_eq!(ok, if drops { chunk } else { 6 });
                held.open();
                pool.shutdown();
                assert_balanced(pool);
                ledger.assert_settled();
            });
        }
    }
}

#[test]
fn close_and_close_now_refuse_who_waits_for_room() {
    for drops in [false, true] {
        watched(move || {
            let pool = pool_with(|b| b.queue_capacity(1));
            let held = hold_all(&pool);
            let fills = pool.submit(|| 1);
            let (own, (sent, sees)) = (pool.clone(), mpsc::channel());
            let waits = thread::spawn(move || {
                sent.send(()).unwrap();
                own.submit(|| 2).join()
            });
            sees.recv().unwrap();
            match drops {
                // One place becomes free at that moment. The other submit may or may not get it; its task is then dropped, or refused.
                true => assert!((1..=2).contains(&pool.close_now())),
                false => pool.close(),
            }
            held.open();
            assert_eq!(fills.join().is_ok(), !drops);
            let late = waits.join().unwrap();
            // There was room only if the submit came after the held workers had continued.
            assert!(late.is_err_and(|error| error.is_cancelled()));
            pool.shutdown();
            assert_balanced(&pool);
        });
    }
}

#[test]
fn every_handle_resolves_whoever_submits_while_the_pool_is_closed() {
    for drops in [false, true] {
        watched(move || {
            for round in 0..30 {
                let pool = pool_with(|b| b);
                let ledger = Ledger::new(300);
                let submitters: Vec<_> = (0..3_usize)
                    .map(|n| {
                        let (own, book) = (pool.clone(), ledger.clone());
                        thread::spawn(move || {
                            let submit = |m| {
                                let ticket = book.ticket(100 * n + m);
                                own.submit(move || ticket.index())
                            };
                            (0..100).map(submit).collect::<Vec<_>>()
                        })
                    })
                    .collect();
                for _ in 0..round {
                    thread::yield_now();
                }
                match drops {
                    true => drop(pool.close_now()),
                    false => pool.close(),
                }
                for submitter in submitters {
                    for handle in submitter.join().unwrap() {
                        if let Err(error) = handle.join() {
                            assert!(error.is_cancelled());
                        }
                    }
                }
                pool.shutdown();
                assert_balanced(&pool);
                ledger.assert_settled();
            }
        });
    }
}

#[test]
fn a_callback_of_a_dropped_task_may_close_its_pool() {
    on_pool(|pool| {
        let held = hold_all(pool);
        let mut handle = pool.submit(|| ());
        let own = pool.clone();
        handle.on_finish(move |_| {
            own.close();
            assert_eq!(own.close_now(), 0);
        });
        assert_eq!(pool.close_now(), 1);
        held.open();
        assert!(handle.join().unwrap_err().is_cancelled());
        assert_eq!(pool.stats().lost_panics, 0);
    });
}

/// The spare has stood in for the pool's only thread, which does not wait any more. So two threads are awake in a pool of one.
#[test]
fn a_spare_of_a_closing_pool_runs_what_the_busy_current_thread_has_submitted() {
    watched(|| {
        let pool = pool_with(|b| b.num_threads(1).spare_threads(1).use_current_thread(true));
        let (promise, handle) = heist::promise::<()>();
        pool.spawn(move || promise.resolve(()).unwrap());
        handle.join().unwrap();
        let (sender, receiver) = mpsc::channel();
        pool.spawn(move || sender.send(7).unwrap());
        pool.close();
        // This thread waits outside the pool's knowledge.
        assert_eq!(receiver.recv(), Ok(7));
    });
}
