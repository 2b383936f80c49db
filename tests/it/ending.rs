//! The end of a pool, its size, and whether its books balance.

use crate::support::{
    Gate, Held, Ledger, hold_all, live_threads, on_pool, on_pool_of, panic_of, pool_with,
    sleeping_named, spin_until, threads, watched, work,
};
use heist::{JoinError, JoinHandle, ThreadPool};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(40);
const SOON: Duration = Duration::from_millis(20);

#[track_caller]
fn assert_balanced(pool: &ThreadPool) {
    let stats = pool.stats();
    assert_eq!(
        stats.submitted,
        stats.completed + stats.failed + stats.cancelled,
        "{stats:?}"
    );
}

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
        // The one worker has no room beside the guest: it must leave, though it sees the fork.
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
            // Before the running ones have ended.
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
            // Too late.
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
        // The callback is on its way to the pool, whose workers are busy.
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
                // Real time only so that the first comes first.
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
            // From another ring of a worker, and from a scope's task.
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
        // And with a pool that has nothing else to do.
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

/// Whoever returns first submits a task that does not end before all have returned.
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
            // Without /proc nobody knows who waits already.
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
fn the_size_changes_while_work_runs() {
    on_pool(|pool| {
        let before = pool.num_threads();
        let ran = Arc::new(AtomicUsize::new(0));
        let mut expected = before;
        for (round, size) in [1, 5, 2, 8, 3, 1, 4].into_iter().enumerate() {
            for _ in 0..200 {
                let ran = Arc::clone(&ran);
                pool.spawn(move || {
                    work(200);
                    ran.fetch_add(1, Ordering::Relaxed);
                });
            }
            assert_eq!(pool.set_num_threads(size), expected, "round {round}");
            expected = size;
            assert_eq!(pool.num_threads(), size);
            assert_eq!(pool.stats().threads, size);
        }
        pool.wait_idle();
        assert_eq!(ran.load(Ordering::Relaxed), 1400);
        let indices = pool.broadcast(|index| (index, heist::current_thread_index()));
        let expected: Vec<_> = (0..4).map(|n| (n, Some(n))).collect();
        assert_eq!(indices, expected);
        assert_balanced(pool);
    });
}

#[test]
fn surplus_workers_leave_and_indices_stay_below_the_size() {
    watched(|| {
        let (pool, names) = crate::support::named_pool(|b| b.num_threads(6));
        drop(hold_all(&pool));
        assert_eq!(pool.set_num_threads(2), 6);
        spin_until(|| crate::support::threads_named(&names) <= 2);
        let indices = Arc::new(Mutex::new(Vec::new()));
        let handles: Vec<_> = (0..500)
            .map(|_| {
                let indices = Arc::clone(&indices);
                pool.submit(move || indices.lock().unwrap().push(heist::current_thread_index()))
            })
            .collect();
        for handle in handles {
            handle.join().unwrap();
        }
        assert!(
            indices
                .lock()
                .unwrap()
                .iter()
                .all(|index| index.is_some_and(|i| i < 2))
        );
        assert_eq!(pool.set_num_threads(4), 2);
        drop(hold_all(&pool));
    });
}

#[test]
fn a_held_worker_leaves_after_its_task_and_what_it_submitted_runs() {
    watched(|| {
        let pool = pool_with(|b| b.num_threads(4));
        let held = Held(Gate::default());
        let (sent, sees) = mpsc::channel();
        for _ in 0..4 {
            let (own, gate, sent) = (pool.clone(), held.0.clone(), sent.clone());
            pool.spawn(move || {
                let handles: Vec<_> = (0..20).map(|n| own.submit(move || n)).collect();
                sent.send(handles).unwrap();
                gate.pass();
            });
        }
        let handles: Vec<_> = (0..4).flat_map(|_| sees.recv().unwrap()).collect();
        assert_eq!(pool.set_num_threads(1), 4);
        held.open();
        let sum: i32 = handles
            .into_iter()
            .map(|handle| handle.join().unwrap())
            .sum();
        assert_eq!(sum, 4 * 190);
        pool.wait_idle();
        assert_balanced(&pool);
    });
}

#[test]
fn a_size_of_zero_is_the_automatic_one() {
    on_pool(|pool| {
        let automatic = ThreadPool::new().unwrap().num_threads();
        pool.set_num_threads(0);
        assert_eq!(pool.num_threads(), automatic);
        assert_eq!(pool.submit(|| 1).join().unwrap(), 1);
        pool.set_num_threads(1_000_000);
        assert!(pool.num_threads() <= 4096);
        assert_eq!(pool.submit(|| 1).join().unwrap(), 1);
        pool.set_num_threads(1);
        pool.wait_idle();
    });
}

#[test]
fn the_size_is_set_inside_a_task_and_after_a_shutdown() {
    on_pool(|pool| {
        let own = pool.clone();
        let before = pool.num_threads();
        assert_eq!(
            pool.submit(move || own.set_num_threads(3)).join().unwrap(),
            before
        );
        assert_eq!(pool.submit(|| 1).join().unwrap(), 1);
        pool.shutdown();
        pool.set_num_threads(5);
        assert!(pool.submit(|| 1).join().is_err());
        assert_eq!(pool.map(0..10, |x| x).len(), 10);
    });
}

#[test]
fn queued_counts_fall_when_tasks_are_cancelled() {
    on_pool(|pool| {
        let held = hold_all(pool);
        let handles: Vec<_> = (0..10).map(|n| pool.submit(move || n)).collect();
        assert_eq!(pool.stats().queued, 10);
        assert!(handles[0].cancel());
        let stats = pool.stats();
        assert_eq!(
            (stats.cancelled, stats.submitted),
            (1, 10 + pool.num_threads() as u64)
        );
        held.open();
        pool.wait_idle();
        assert_eq!(pool.stats().queued, 0);
    });
}

#[test]
fn cancelled_tasks_are_not_queued() {
    on_pool(|pool| {
        let _held = hold_all(pool);
        let handles: Vec<_> = (0..10).map(|n| pool.submit(move || n)).collect();
        for handle in &handles {
            handle.cancel();
        }
        assert_eq!(pool.stats().queued, 0);
    });
}

/// What the oracle knows of one task.
struct Entry {
    handle: Option<JoinHandle<u64>>,
    number: u64,
    panics: bool,
}

#[test]
fn totals_are_exact_after_any_schedule() {
    watched(|| {
        for seed in 0..200 {
            schedule(seed);
        }
    });
}

fn schedule(seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let bound: Option<usize> = rng.random_bool(0.3).then(|| rng.random_range(1..20));
    let pool = pool_with(|b| match bound {
        Some(capacity) => b.queue_capacity(capacity),
        None => b,
    });
    let ledger = Ledger::new(400);
    let mut entries: Vec<Entry> = Vec::new();
    let (mut submitted, mut completed, mut failed, mut cancelled, mut unknown) = (0, 0, 0, 0, 0);
    let mut settle = |entry: &Entry, outcome: Result<u64, heist::JoinError>| match outcome {
        Ok(value) => {
            assert!(!entry.panics && value == entry.number);
            completed += 1;
        }
        Err(error) if error.is_panic() => {
            assert!(entry.panics);
            failed += 1;
        }
        Err(error) => {
            assert!(error.is_cancelled(), "seed {seed}: {error}");
            cancelled += 1;
        }
    };
    let mut last = 0;
    for number in 0..rng.random_range(20..200_u64) {
        match rng.random_range(0..10) {
            0..5 => {
                let (panics, rounds) = (rng.random_bool(0.1), rng.random_range(0..300));
                let ticket = ledger.ticket(submitted as usize);
                let handle = pool.submit(move || {
                    let _ticket = ticket;
                    work(rounds);
                    if panics {
                        std::panic::resume_unwind(Box::new("on purpose"));
                    }
                    number
                });
                submitted += 1;
                entries.push(Entry {
                    handle: Some(handle),
                    number,
                    panics,
                });
            }
            5 | 6 if !entries.is_empty() => {
                let place = rng.random_range(0..entries.len());
                let handle = entries[place].handle.as_ref().unwrap();
                if handle.cancel() {
                    assert!(handle.wait_timeout(LONG) && handle.is_cancelled());
                }
            }
            7 if !entries.is_empty() => {
                let mut entry = entries.swap_remove(rng.random_range(0..entries.len()));
                let handle = entry.handle.take().unwrap();
                settle(&entry, handle.join());
            }
            8 if !entries.is_empty() => {
                entries.swap_remove(rng.random_range(0..entries.len()));
                unknown += 1;
            }
            9 => {
                pool.set_num_threads(rng.random_range(1..6));
            }
            _ => {
                let stats = pool.stats();
                let ended = stats.completed + stats.failed + stats.cancelled;
                assert!(ended >= last && ended <= stats.submitted, "seed {seed}");
                last = ended;
            }
        }
    }
    match rng.random_range(0..3) {
        0 => pool.wait_idle(),
        1 => pool.shutdown(),
        _ => {
            pool.shutdown_now();
        }
    }
    for mut entry in entries {
        let handle = entry.handle.take().unwrap();
        assert!(handle.wait_timeout(LONG), "seed {seed}");
        settle(&entry, handle.join());
    }
    pool.wait_idle();
    let stats = pool.stats();
    assert_eq!(stats.submitted, submitted, "seed {seed}");
    let ended = stats.completed + stats.failed + stats.cancelled;
    assert_eq!(ended, submitted, "seed {seed}: {stats:?}");
    // Those that were let go may have ended in any way.
    assert_eq!(
        ended - (completed + failed + cancelled),
        unknown,
        "seed {seed}"
    );
    assert!(stats.completed >= completed && stats.failed >= failed && stats.cancelled >= cancelled);
    drop(pool);
    spin_until(|| ledger.dropped() == submitted as usize);
    ledger.assert_settled();
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

#[test]
fn the_global_pool_is_never_shut_down() {
    watched(|| {
        for text in [
            panic_of(|| heist::global().shutdown()),
            panic_of(|| heist::global().shutdown_now()),
            panic_of(|| heist::global().shutdown_timeout(Duration::ZERO)),
        ] {
            assert!(text.contains("global pool"), "{text}");
        }
        assert_eq!(heist::global().submit(|| 1).join().unwrap(), 1);
    });
}

#[test]
fn a_letter_that_a_leaving_worker_reads_runs_in_no_seat_of_a_new_one() {
    watched(|| {
        let pool = pool_with(|b| b.num_threads(2).spare_threads(0));
        let joins = |pool: &ThreadPool| {
            let one = |n: usize| pool.submit(move || n).join().unwrap();
            (0..20_000).map(one).sum::<usize>()
        };
        let held = hold_all(&pool);
        let (inside, go_on) = (Gate::default(), Held(Gate::default()));
        thread::scope(|s| {
            s.spawn(|| {
                pool.broadcast(|index| {
                    if index == 1 {
                        inside.open();
                        go_on.0.pass();
                        assert_eq!(joins(&pool), 199_990_000);
                    }
                });
            });
            // The letters are there, and their readers at the gate.
            thread::sleep(SOON);
            pool.set_num_threads(1);
            held.open();
            inside.pass();
            // The index is to be had again.
            pool.set_num_threads(2);
            let tasks: Vec<_> = (0..4)
                .map(|_| {
                    let own = pool.clone();
                    pool.submit(move || joins(&own))
                })
                .collect();
            go_on.open();
            for task in tasks {
                assert_eq!(task.join().unwrap(), 199_990_000);
            }
        });
        pool.wait_idle();
        assert_balanced(&pool);
    });
}

#[test]
#[cfg(target_os = "linux")]
fn threads_that_left_leave_no_stacks() {
    crate::support::isolated("ending::threads_that_left_leave_no_stacks", || {
        let maps = || {
            let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
            maps.lines().count()
        };
        let pool = pool_with(|b| b.num_threads(1));
        let before = maps();
        for _ in 0..300 {
            pool.set_num_threads(4);
            pool.broadcast(|_| ());
            pool.set_num_threads(1);
        }
        pool.shutdown_timeout(LONG).unwrap();
        assert!(maps() < before + 200, "{before} {}", maps());
    });
}

#[test]
fn a_wait_for_idleness_ends_while_a_guest_that_helped_stays() {
    watched(|| {
        // What the guest runs, at a gate.
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
                // The worker is free, and sleeps, before the guest's task ends.
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

/// Makes use of a pool when its thread is almost gone.
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
        // The sender goes after the pool's user.
        assert!(end.recv().is_err());
    });
}
