//! `shutdown` and `shutdown_now`: what they run, what they cancel, how long they wait, and who may call them.

use crate::support::{
    Gate, Held, LONG, Ledger, SOON, assert_balanced, hold_all, on_pool, on_pool_of, panic_of,
    pool_with, spin_until, threads, watched, work,
};
use heist::ThreadPool;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

#[test]
fn a_shutdown_runs_what_is_queued_and_joins_the_threads() {
    watched(|| {
        let (pool, names) = crate::support::named_pool(|b| b);
        let held = hold_all(&pool);
        let ledger = Ledger::new(200);
        let handles: Vec<_> = ledger
            .tickets()
            .into_iter()
            .map(|ticket| pool.submit(move || ticket.index()))
            .collect();
        held.open();
        pool.shutdown();
        assert_eq!(crate::support::threads_named(&names), 0);
        for (n, handle) in handles.into_iter().enumerate() {
            assert!(handle.is_finished());
            assert_eq!(handle.join().unwrap(), n);
        }
        ledger.assert_settled();
        assert_balanced(&pool);
        pool.shutdown();
        assert_eq!(pool.shutdown_now(), 0);
        pool.shutdown_timeout(Duration::ZERO).unwrap();
        pool.wait_idle();
    });
}

#[test]
fn a_shutdown_of_a_pool_that_never_worked_returns() {
    watched(|| {
        let pool = pool_with(|b| b);
        pool.shutdown();
        assert_eq!(pool_with(|b| b).shutdown_now(), 0);
        pool_with(|b| b).shutdown_timeout(Duration::ZERO).unwrap();
    });
}

#[test]
fn after_a_shutdown_submits_are_refused() {
    on_pool(|pool| {
        pool.submit(|| ()).join().unwrap();
        pool.shutdown();
        let thing = Arc::new(());
        let captured = Arc::clone(&thing);
        let mut handle = pool.submit(move || drop(captured));
        assert!(handle.is_finished() && handle.is_cancelled() && handle.cancel());
        assert_eq!(Arc::strong_count(&thing), 1);
        let (called, calls) = mpsc::channel();
        handle.on_finish(move |outcome| called.send(outcome.is_err()).unwrap());
        assert_eq!(calls.try_recv(), Ok(true));
        let error = handle.join().unwrap_err();
        assert!(error.is_cancelled());
        assert!(error.to_string().contains("shut down"), "{error}");
        assert!(pool.try_submit(|| ()).is_err());
        let many = pool.submit_many((0..3).map(|n| move || n));
        assert!(
            many.into_iter()
                .all(|h| h.join().is_err_and(|e| e.is_cancelled()))
        );
        let deadline = pool.task().deadline(SOON).submit(|| ());
        assert!(deadline.join().unwrap_err().is_cancelled());
        let captured = Arc::clone(&thing);
        pool.spawn(move || drop(captured));
        assert_eq!(Arc::strong_count(&thing), 1);
        assert_balanced(pool);
        assert_eq!(pool.stats().cancelled, 6);
    });
}

#[test]
fn after_a_shutdown_joins_scopes_maps_and_runs_still_work() {
    on_pool(|pool| {
        pool.submit(|| ()).join().unwrap();
        pool.shutdown();
        assert_eq!(pool.join(|| 1, || 2), (1, 2));
        assert_eq!(pool.map(0..100, |x| x).len(), 100);
        let ran = AtomicUsize::new(0);
        pool.scope(|s| {
            for _ in 0..10 {
                s.spawn(|s| {
                    s.spawn(|_| {
                        ran.fetch_add(1, Ordering::Relaxed);
                    });
                });
            }
        });
        assert_eq!(ran.into_inner(), 10);
        assert_eq!(pool.run(|| 5), 5);
        let broadcast = pool.broadcast(|index| index);
        assert_eq!(broadcast, (0..pool.num_threads()).collect::<Vec<_>>());
        assert_eq!(pool.install(|| heist::join(|| 3, || 4)), (3, 4));
        assert_balanced(pool);
    });
}

#[test]
fn a_map_that_has_begun_completes_across_a_shutdown() {
    on_pool(|pool| {
        for now in [false, true] {
            let pool = pool.clone();
            let pool = if now { pool_with(|b| b) } else { pool };
            let (own, begun) = (pool.clone(), Arc::new(AtomicBool::new(false)));
            let begins = Arc::clone(&begun);
            let mapping = thread::spawn(move || {
                own.map(0..20_000_u64, |x| {
                    begins.store(true, Ordering::Release);
                    work(20);
                    x
                })
            });
            spin_until(|| begun.load(Ordering::Acquire));
            if now {
                assert_eq!(pool.shutdown_now(), 0);
            } else {
                pool.shutdown();
            }
            assert_eq!(mapping.join().unwrap(), (0..20_000).collect::<Vec<_>>());
        }
    });
}

#[test]
fn a_shutdown_does_not_wait_for_a_guest_whose_fork_nobody_may_take() {
    on_pool_of(1, |pool| {
        pool.run(|| ());
        let closer = pool.clone();
        // The only worker has no room beside the guest. It must leave, although it sees the fork.
        let shut_down = || thread::spawn(move || closer.shutdown()).join().unwrap();
        assert_eq!(pool.join(shut_down, || 2), ((), 2));
    });
}

#[test]
fn shutdown_now_counts_what_it_cancels() {
    on_pool(|pool| {
        let held = hold_all(pool);
        let ledger = Ledger::new(50);
        let mut handles: Vec<_> = ledger
            .tickets()
            .into_iter()
            .map(|ticket| pool.submit(move || drop(ticket)))
            .collect();
        let already = handles
            .drain(..10)
            .map(|handle| handle.cancel())
            .filter(|c| *c);
        assert_eq!(already.count(), 10);
        let own = pool.clone();
        let closer = thread::spawn(move || own.shutdown_now());
        for handle in handles {
            // The running tasks have not ended yet.
            assert!(handle.wait_timeout(LONG));
            assert!(handle.is_cancelled());
            let error = handle.join().unwrap_err();
            assert!(error.to_string().contains("shut down"), "{error}");
        }
        assert_eq!(ledger.dropped(), 50);
        held.open();
        assert_eq!(closer.join().unwrap(), 40);
        assert_balanced(pool);
        assert_eq!(pool.stats().cancelled, 50);
        assert_eq!(pool.stats().completed, pool.num_threads() as u64);
    });
}

#[test]
fn shutdown_now_cancels_what_a_running_task_has_submitted() {
    on_pool_of(1, |pool| {
        let (own, held) = (pool.clone(), Held(Gate::default()));
        let (gate, (sent, sees)) = (held.0.clone(), mpsc::channel());
        let outer = pool.submit(move || {
            let handles: Vec<_> = (0..20).map(|n| own.submit(move || n)).collect();
            sent.send(handles).unwrap();
            gate.pass();
            // This submit comes too late.
            own.submit(|| ()).join().unwrap_err().is_cancelled()
        });
        let handles = sees.recv().unwrap();
        let other = pool.clone();
        let closer = thread::spawn(move || other.shutdown_now());
        for handle in handles {
            assert!(handle.join().unwrap_err().is_cancelled());
        }
        held.open();
        assert_eq!(closer.join().unwrap(), 20);
        assert!(outer.join().unwrap());
        assert_balanced(pool);
    });
}

#[test]
fn shutdown_now_counts_tasks_only() {
    on_pool(|pool| {
        let held = hold_all(pool);
        let mut late = pool.task().deadline(SOON).submit(|| ());
        let (called, calls) = mpsc::channel();
        late.on_finish(move |_| called.send(()).unwrap());
        assert!(late.wait_timeout(LONG));
        // The callback is queued in the pool, whose workers are busy.
        thread::sleep(SOON);
        let own = pool.clone();
        let closer = thread::spawn(move || own.shutdown_now());
        calls.recv().unwrap();
        held.open();
        assert_eq!(closer.join().unwrap(), 0);
        assert!(late.join().unwrap_err().is_timeout());
        assert_balanced(pool);
    });
}

#[test]
fn a_shutdown_that_takes_too_long_names_what_runs() {
    on_pool_of(threads().max(2), |pool| {
        let held = Held(Gate::default());
        let (one, two) = (held.0.clone(), held.0.clone());
        let named = pool.task().name("the slow one").submit(move || one.pass());
        let unnamed = pool.submit(move || two.pass());
        spin_until(|| named.is_running() && unnamed.is_running());
        let error = pool.shutdown_timeout(SOON).unwrap_err();
        let mut running: Vec<_> = error.running().to_vec();
        running.sort_by_key(|task| task.id);
        assert_eq!(running.len(), 2, "{error}");
        assert_eq!(running[0].id, named.id());
        assert_eq!(running[0].name.as_deref(), Some("the slow one"));
        assert_eq!((running[1].id, &running[1].name), (unnamed.id(), &None));
        let text = error.to_string();
        assert!(text.contains("the slow one"), "{text}");
        assert!(text.contains(&unnamed.id().to_string()), "{text}");
        assert!(pool.submit(|| ()).join().is_err(), "it refuses from now on");
        held.open();
        pool.shutdown_timeout(LONG).unwrap();
        named.join().unwrap();
        unnamed.join().unwrap();
        assert_balanced(pool);
    });
}

#[test]
fn a_shutdown_that_takes_too_long_counts_what_has_not_begun() {
    on_pool_of(1, |pool| {
        let (own, held) = (pool.clone(), Held(Gate::default()));
        let (gate, (sent, sees)) = (held.0.clone(), mpsc::channel());
        pool.spawn(move || {
            for _ in 0..5 {
                own.spawn(|| ());
            }
            sent.send(()).unwrap();
            gate.pass();
        });
        sees.recv().unwrap();
        let error = pool.shutdown_timeout(SOON).unwrap_err();
        held.open();
        assert_eq!(error.queued(), 5);
    });
}

#[test]
fn a_shutdown_that_takes_too_long_gives_no_task_anothers_name() {
    on_pool_of(1, |pool| {
        let (own, held) = (pool.clone(), Held(Gate::default()));
        let (gate, (sent, sees)) = (held.0.clone(), mpsc::channel());
        let outer = pool.task().name("outer").submit(move || {
            let inner = own.submit(move || {
                sent.send(()).unwrap();
                gate.pass();
            });
            inner.join().unwrap();
        });
        sees.recv().unwrap();
        let error = pool.shutdown_timeout(SOON).unwrap_err();
        held.open();
        for task in error.running() {
            let expected = (task.id == outer.id()).then_some("outer");
            assert_eq!(task.name.as_deref(), expected, "{error}");
        }
        assert!(!error.running().is_empty());
    });
}

#[test]
fn two_threads_shut_down_together() {
    watched(|| {
        for round in 0..100 {
            let pool = pool_with(|b| b);
            let handles: Vec<_> = (0..50).map(|n| pool.submit(move || n)).collect();
            let closers: Vec<_> = (0..2)
                .map(|n| {
                    let pool = pool.clone();
                    thread::spawn(move || {
                        if n == 1 && round % 2 == 1 {
                            pool.shutdown_now()
                        } else {
                            pool.shutdown();
                            0
                        }
                    })
                })
                .collect();
            let dropped: usize = closers.into_iter().map(|t| t.join().unwrap()).sum();
            let cancelled = handles.into_iter().filter_map(|h| h.join().err()).count();
            assert_eq!(dropped, cancelled);
            assert_balanced(&pool);
        }
    });
}

#[test]
fn a_second_shutdown_waits_and_drops_nothing() {
    on_pool_of(1, |pool| {
        let (own, held) = (pool.clone(), Held(Gate::default()));
        let (gate, (sent, sees)) = (held.0.clone(), mpsc::channel());
        let ended = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&ended);
        pool.spawn(move || {
            let handles: Vec<_> = (0..20).map(|n| own.submit(move || n)).collect();
            sent.send(handles).unwrap();
            gate.pass();
            ends.store(true, Ordering::Release);
        });
        let handles = sees.recv().unwrap();
        let closers: Vec<_> = (0..2)
            .map(|_| {
                let (own, ended) = (pool.clone(), Arc::clone(&ended));
                let closer = thread::spawn(move || {
                    own.shutdown();
                    ended.load(Ordering::Acquire)
                });
                // The sleep only lets the first shutdown begin first.
                thread::sleep(SOON);
                closer
            })
            .collect();
        held.open();
        let cancelled = handles.into_iter().filter_map(|h| h.join().err()).count();
        let waited: Vec<bool> = closers.into_iter().map(|t| t.join().unwrap()).collect();
        assert_eq!((waited, cancelled), (vec![true, true], 0));
    });
}

#[test]
fn inside_a_task_waiting_for_the_own_pool_panics_and_the_pool_stays_usable() {
    on_pool(|pool| {
        type Call = fn(&ThreadPool);
        let calls: [(&str, Call); 4] = [
            ("shutdown", |pool| pool.shutdown()),
            ("shutdown_now", |pool| {
                pool.shutdown_now();
            }),
            ("shutdown_timeout", |pool| {
                drop(pool.shutdown_timeout(Duration::ZERO));
            }),
            ("wait_idle", |pool| pool.wait_idle()),
        ];
        for (name, call) in calls {
            let own = pool.clone();
            let text = pool.submit(move || panic_of(|| call(&own))).join().unwrap();
            assert!(
                text.contains(name) && text.contains("inside a task"),
                "{text}"
            );
            // The call comes from a worker's second ring, and from a task of a scope.
            let own = pool.clone();
            let nested = pool.run(|| own.scope(|_| panic_of(|| call(&own))));
            assert!(nested.contains(name), "{nested}");
            let other = pool_with(|b| b);
            let own = pool.clone();
            let abroad = pool
                .submit(move || other.install(|| panic_of(|| call(&own))))
                .join()
                .unwrap();
            assert!(abroad.contains(name), "{abroad}");
            assert_eq!(pool.submit(|| 1).join().unwrap(), 1, "still usable");
        }
        assert_balanced(pool);
    });
}

#[test]
fn in_a_callback_on_a_worker_waiting_for_the_own_pool_panics() {
    on_pool(|pool| {
        let held = hold_all(pool);
        let (own, (sent, sees)) = (pool.clone(), mpsc::channel());
        let mut handle = pool.submit(|| ());
        handle.on_finish(move |_| {
            let texts = [panic_of(|| own.shutdown()), panic_of(|| own.wait_idle())];
            sent.send(texts).unwrap();
        });
        held.open();
        let texts = sees.recv().unwrap();
        assert!(
            texts.iter().all(|text| text.contains("inside a task")),
            "{texts:?}"
        );
        handle.join().unwrap();
        assert_eq!(pool.submit(|| 1).join().unwrap(), 1);
    });
}

#[test]
fn a_callback_on_an_outside_thread_may_shut_down() {
    watched(|| {
        let pool = pool_with(|b| b);
        let held = hold_all(&pool);
        let queued = pool.submit(|| 1);
        let mut handle = pool.submit(|| ());
        let own = pool.clone();
        handle.on_finish(move |_| {
            held.open();
            own.shutdown();
        });
        assert!(handle.cancel());
        assert!(queued.is_finished());
        assert_eq!(queued.join().unwrap(), 1);
    });
}

#[test]
fn the_global_pool_is_never_shut_down() {
    watched(|| {
        for text in [
            panic_of(|| heist::global().shutdown()),
            panic_of(|| heist::global().shutdown_now()),
            panic_of(|| heist::global().shutdown_timeout(Duration::ZERO)),
            panic_of(|| heist::global().close()),
            panic_of(|| heist::global().close_now()),
        ] {
            assert!(text.contains("global pool"), "{text}");
        }
        assert_eq!(heist::global().submit(|| 1).join().unwrap(), 1);
    });
}
