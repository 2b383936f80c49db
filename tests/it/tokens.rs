//! Cancel tokens and deadlines.

use crate::support::{
    Gate, Held, Ledger, hold, hold_all, on_pool, on_pool_of, pool_with, spin_until, threads,
    watched,
};
use heist::{CancelToken, JoinError, JoinHandle, WhenFull, current_token};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(40);

#[test]
fn a_cancel_goes_down_the_tree_and_not_up() {
    let root = CancelToken::new();
    let (left, right) = (root.child(), root.child());
    let (below, beside) = (left.child(), left.child());
    let clone = left.clone();
    left.cancel();
    assert!(left.is_cancelled() && clone.is_cancelled());
    assert!(below.is_cancelled() && beside.is_cancelled());
    assert!(!root.is_cancelled() && !right.is_cancelled());
    left.cancel();
    root.cancel();
    assert!(right.is_cancelled() && root.is_cancelled());
}

#[test]
fn a_child_of_a_cancelled_token_is_cancelled() {
    let root = CancelToken::new();
    root.cancel();
    assert!(root.child().is_cancelled());
    assert!(root.child().child().is_cancelled());
}

#[test]
fn a_cancel_reaches_grandchildren_whose_parents_were_dropped() {
    let root = CancelToken::new();
    let leaf = root.child().child().child();
    for _ in 0..1000 {
        drop(root.child());
    }
    assert!(!leaf.is_cancelled());
    root.cancel();
    assert!(leaf.is_cancelled());
}

#[test]
fn a_line_of_100_000_tokens_is_cancelled_and_dropped() {
    watched(|| {
        for keep in [false, true] {
            let root = CancelToken::new();
            let mut all = vec![root.clone()];
            for n in 0..100_000 {
                let child = all[if keep { n } else { 0 }].child();
                if keep {
                    all.push(child);
                } else {
                    all[0] = child;
                }
            }
            let leaf = all.last().unwrap().clone();
            if keep {
                drop(all);
            } else {
                all.clear();
            }
            root.cancel();
            assert!(leaf.is_cancelled());
            drop(root);
            drop(leaf);
        }
        // Dropped without a cancel, from the leaf.
        let mut token = CancelToken::new();
        for _ in 0..100_000 {
            token = token.child();
        }
        drop(token);
    });
}

#[test]
fn tokens_made_and_dropped_by_many_threads_are_all_cancelled() {
    watched(|| {
        for _ in 0..50 {
            let root = CancelToken::new();
            let made: Vec<_> = (0..4)
                .map(|_| {
                    let root = root.clone();
                    std::thread::spawn(move || {
                        (0..100).map(|_| root.child().child()).collect::<Vec<_>>()
                    })
                })
                .collect();
            root.cancel();
            for token in made.into_iter().flat_map(|t| t.join().unwrap()) {
                assert!(token.is_cancelled());
            }
        }
    });
}

#[test]
fn a_cancel_drops_the_queued_tasks_of_the_token_and_its_children() {
    on_pool(|pool| {
        let held = hold_all(pool);
        let (root, ledger) = (CancelToken::new(), Ledger::new(3));
        let tokens = [root.clone(), root.child(), root.child().child()];
        let handles: Vec<_> = ledger
            .tickets()
            .into_iter()
            .zip(&tokens)
            .map(|(ticket, token)| pool.task().token(token).submit(move || drop(ticket)))
            .collect();
        let other = pool.submit(|| 1);
        root.cancel();
        assert_eq!(ledger.dropped(), 3, "at once");
        for handle in handles {
            assert!(handle.is_cancelled());
            assert!(handle.join().unwrap_err().is_cancelled());
        }
        assert_eq!(pool.stats().cancelled, 3);
        held.open();
        assert_eq!(other.join().unwrap(), 1);
    });
}

#[test]
fn a_task_of_a_cancelled_token_never_runs() {
    on_pool(|pool| {
        let token = CancelToken::new();
        token.cancel();
        let ran = Arc::new(AtomicBool::new(false));
        let sees = Arc::clone(&ran);
        let handle = pool
            .task()
            .token(&token)
            .submit(move || sees.store(true, Ordering::Relaxed));
        assert!(handle.is_cancelled());
        assert_eq!(Arc::strong_count(&ran), 1);
        let handle = pool.task().token(&token).try_submit(|| ()).unwrap();
        assert!(handle.join().unwrap_err().is_cancelled());
        pool.wait_idle();
        assert!(!ran.load(Ordering::Relaxed));
        assert_eq!(pool.stats().cancelled, 2);
    });
}

#[test]
fn a_task_of_a_cancelled_token_is_not_run_by_its_submitter() {
    watched(|| {
        let pool = pool_with(|b| b.queue_capacity(1).when_full(WhenFull::CallerRuns));
        let held = hold_all(&pool);
        let filler = pool.submit(|| ());
        let token = CancelToken::new();
        token.cancel();
        let handle = pool.task().token(&token).submit(|| ());
        assert!(handle.join().unwrap_err().is_cancelled());
        held.open();
        filler.join().unwrap();
    });
}

#[test]
fn a_running_task_sees_its_token_cancelled() {
    on_pool(|pool| {
        let token = CancelToken::new();
        let handle = pool.task().token(&token).submit(|| {
            spin_until(|| current_token().is_cancelled());
            "asked to stop"
        });
        spin_until(|| handle.is_running());
        assert!(!handle.cancel());
        token.cancel();
        assert_eq!(handle.join().unwrap(), "asked to stop");
    });
}

#[test]
fn tasks_inherit_the_token_of_the_task_that_submits_them() {
    on_pool(|pool| {
        let token = CancelToken::new();
        let (own, held) = (pool.clone(), Held(Gate::default()));
        let (gate, other) = (held.0.clone(), CancelToken::new());
        let explicit = other.clone();
        let (send, receive) = mpsc::channel();
        pool.task()
            .token(&token)
            .submit(move || {
                let asks = || current_token().is_cancelled();
                let gates = [gate.clone(), gate.clone(), gate.clone()];
                let [one, two, three] = gates;
                let below = own.clone();
                let inherits = own.submit(move || {
                    one.pass();
                    asks()
                });
                let deeper = own.submit(move || {
                    below.submit(move || {
                        two.pass();
                        asks()
                    })
                });
                let overridden = own.task().token(&explicit).submit(move || {
                    three.pass();
                    asks()
                });
                let many = own.submit_many((0..2).map(|_| {
                    let gate = gate.clone();
                    move || {
                        gate.pass();
                        asks()
                    }
                }));
                send.send((inherits, deeper, overridden, many)).unwrap();
            })
            .join()
            .unwrap();
        let (inherits, deeper, overridden, many) = receive.recv().unwrap();
        token.cancel();
        held.open();
        // Each has begun and sees it, or was dropped.
        let saw = |handle: JoinHandle<bool>| handle.join().unwrap_or_else(|e| e.is_cancelled());
        assert!(saw(inherits));
        assert!(deeper.join().map_or_else(|e| e.is_cancelled(), saw));
        assert!(many.into_iter().all(saw));
        assert!(!overridden.join().unwrap());
        assert!(!other.is_cancelled());
    });
}

#[test]
fn a_task_joined_in_place_has_its_own_token() {
    on_pool_of(1, |pool| {
        let (token, own) = (CancelToken::new(), pool.clone());
        let outer_token = token.clone();
        let outer = pool.task().token(&token).submit(move || {
            let free = CancelToken::new();
            let inner = own
                .task()
                .token(&free)
                .submit(|| current_token().is_cancelled());
            outer_token.cancel();
            let inner = inner.join().unwrap();
            (inner, current_token().is_cancelled())
        });
        assert_eq!(outer.join().unwrap(), (false, true));
        let without = pool.submit(|| current_token().is_cancelled());
        assert!(!without.join().unwrap());
    });
}

#[test]
fn a_broadcast_answered_by_a_waiting_task_has_not_its_token() {
    on_pool_of(1, |pool| {
        let other = pool_with(|b| b);
        let token = CancelToken::new();
        let (gate, started) = (Held(Gate::default()), Held(Gate::default()));
        let (stands, says) = (gate.0.clone(), started.0.clone());
        let foreign = other.submit(move || stands.pass());
        // Else the waiting task would run it itself.
        spin_until(|| foreign.is_running());
        let waits = pool.task().token(&token).submit(move || {
            says.open();
            foreign.join().unwrap();
        });
        started.0.pass();
        token.cancel();
        let seen = pool.broadcast(|_| current_token().is_cancelled());
        gate.open();
        waits.join().unwrap();
        assert_eq!(seen, [false]);
    });
}

#[test]
fn a_current_token_outside_a_task_is_nobodys() {
    assert!(!current_token().is_cancelled());
    current_token().cancel();
    assert!(!current_token().is_cancelled());
}

#[test]
fn callbacks_and_waiters_of_tasks_that_a_token_drops_are_served() {
    on_pool(|pool| {
        let _held = hold_all(pool);
        let token = CancelToken::new();
        let (called, calls) = mpsc::channel();
        let mut handle = pool.task().token(&token).submit(|| ());
        handle.on_finish(move |outcome| {
            called
                .send(outcome.as_ref().is_err_and(JoinError::is_cancelled))
                .unwrap();
        });
        let waiter = std::thread::spawn(move || handle.join());
        token.cancel();
        assert_eq!(calls.try_recv(), Ok(true), "before cancel returns");
        assert!(waiter.join().unwrap().unwrap_err().is_cancelled());
    });
}

#[test]
fn a_deadline_resolves_a_queued_task_on_time_while_all_workers_are_busy() {
    on_pool(|pool| {
        let held = hold_all(pool);
        let (start, thing) = (Instant::now(), Arc::new(()));
        let kept = Arc::clone(&thing);
        let handle = pool.task().name("late").deadline(SOON).submit(move || {
            drop(kept);
        });
        let token = handle.id();
        let error = handle.join().unwrap_err();
        assert!(error.is_timeout() && !error.is_cancelled() && !error.is_panic());
        assert_eq!((error.id(), error.name()), (token, Some("late")));
        assert!(start.elapsed() >= SOON);
        assert!(start.elapsed() < Duration::from_secs(5), "on time");
        assert_eq!(pool.stats().failed, 1);
        held.open();
        pool.wait_idle();
        spin_until(|| Arc::strong_count(&thing) == 1);
        let stats = pool.stats();
        assert_eq!((stats.failed, stats.cancelled), (1, 0));
        assert_eq!(stats.completed, pool.num_threads() as u64);
    });
}

#[test]
fn a_deadline_resolves_a_running_task_and_its_late_result_is_dropped() {
    on_pool(|pool| {
        let held = Held(Gate::default());
        let (gate, thing) = (held.0.clone(), Arc::new(()));
        let kept = Arc::clone(&thing);
        let handle = pool.task().deadline(SOON).submit(move || {
            let token = current_token();
            spin_until(|| token.is_cancelled());
            gate.pass();
            kept
        });
        assert!(handle.join().unwrap_err().is_timeout());
        assert_eq!(Arc::strong_count(&thing), 2);
        assert_eq!(pool.stats().failed, 1);
        held.open();
        spin_until(|| Arc::strong_count(&thing) == 1);
        pool.submit(|| ()).join().unwrap();
        pool.shutdown();
        let stats = pool.stats();
        assert_eq!((stats.failed, stats.completed, stats.submitted), (1, 1, 2));
    });
}

#[test]
fn a_late_panic_is_counted_once() {
    on_pool(|pool| {
        let handle = pool.task().deadline(SOON).submit(|| {
            spin_until(|| current_token().is_cancelled());
            panic!("too late");
        });
        let handle: JoinHandle<()> = handle;
        assert!(handle.join().unwrap_err().is_timeout());
        pool.shutdown();
        assert_eq!((pool.stats().failed, pool.stats().submitted), (1, 1));
    });
}

#[test]
fn a_task_that_is_in_time_has_its_result() {
    on_pool(|pool| {
        for deadline in [LONG, Duration::MAX] {
            let handle = pool.task().deadline(deadline).submit(|| 5);
            assert_eq!(handle.join().unwrap(), 5);
        }
        let handle = pool.task().deadline(Duration::ZERO).submit(|| 5);
        assert!(handle.join().map_or_else(|e| e.is_timeout(), |n| n == 5));
        let handle = pool.task().deadline(LONG).submit(|| panic!("in time"));
        let handle: JoinHandle<()> = handle;
        assert!(handle.join().unwrap_err().is_panic());
        pool.wait_idle();
        let stats = pool.stats();
        assert_eq!(stats.submitted, stats.completed + stats.failed);
    });
}

#[test]
fn a_deadline_cancels_its_own_tasks_token_only() {
    on_pool(|pool| {
        let token = CancelToken::new();
        let handle = pool.task().token(&token).deadline(SOON).submit(|| {
            spin_until(|| current_token().is_cancelled());
        });
        assert!(handle.join().unwrap_err().is_timeout());
        assert!(!token.is_cancelled());
        // The other way round: its token's cancel is seen.
        let handle = pool.task().token(&token).deadline(LONG).submit(|| {
            spin_until(|| current_token().is_cancelled());
        });
        spin_until(|| handle.is_running());
        token.cancel();
        handle.join().unwrap();
    });
}

#[test]
fn a_cancelled_task_does_not_miss_its_deadline() {
    on_pool(|pool| {
        let held = hold_all(pool);
        let handle = pool.task().deadline(SOON).submit(|| ());
        if handle.cancel() {
            assert!(handle.is_cancelled());
            assert!(handle.join().unwrap_err().is_cancelled());
            assert_eq!(pool.stats().cancelled, 1);
        }
        drop(held);
    });
}

#[test]
fn deadlines_expire_in_their_order_whatever_the_order_of_submission() {
    on_pool(|pool| {
        let _held = hold_all(pool);
        let millis = [60, 20, 100, 40, 80];
        let handles = millis.map(|m| {
            pool.task()
                .deadline(Duration::from_millis(m))
                .submit(move || m)
        });
        let order: Vec<_> = heist::as_completed(handles)
            .map(|(index, _)| millis[index])
            .collect();
        assert_eq!(order, [20, 40, 60, 80, 100]);
    });
}

#[test]
fn many_deadlines_race_with_runs_and_cancels() {
    on_pool(|pool| {
        let ledger = Ledger::new(2000);
        let handles: Vec<_> = ledger
            .tickets()
            .into_iter()
            .map(|ticket| {
                let micros = (ticket.index() as u64 * 7) % 3000;
                let handle = pool
                    .task()
                    .deadline(Duration::from_micros(micros))
                    .submit(move || ticket);
                if micros.is_multiple_of(5) {
                    handle.cancel();
                }
                handle
            })
            .collect();
        let (mut ok, mut timeout, mut cancelled) = (0, 0, 0);
        for handle in handles {
            match handle.join() {
                Ok(_) => ok += 1,
                Err(error) if error.is_timeout() => timeout += 1,
                Err(error) => {
                    assert!(error.is_cancelled());
                    cancelled += 1;
                }
            }
        }
        pool.wait_idle();
        spin_until(|| ledger.dropped() == 2000);
        ledger.assert_settled();
        let stats = pool.stats();
        assert_eq!(
            (stats.completed, stats.failed, stats.cancelled),
            (ok, timeout, cancelled)
        );
    });
}

#[test]
fn a_slow_callback_below_a_missed_deadline_delays_no_other_deadline() {
    on_pool_of(threads().max(2), |pool| {
        let own = pool.clone();
        let (gate, rest) = (Held(Gate::default()), Held(Gate::default()));
        let (stands, rests) = (gate.0.clone(), rest.0.clone());
        let (sent, sees) = mpsc::channel();
        let others = hold(pool, pool.num_threads() - 1);
        let outer = pool.task().deadline(SOON).submit(move || {
            // Inherits the deadline's token, and never runs.
            let mut inner = own.submit(|| ());
            inner.on_finish(move |_| stands.pass());
            sent.send(inner).unwrap();
            rests.pass();
        });
        let inner = sees.recv().unwrap();
        let after = pool.task().deadline(2 * SOON).submit(|| ());
        assert!(inner.join().unwrap_err().is_cancelled());
        let on_time = after.wait_timeout(Duration::from_secs(2));
        gate.open();
        rest.open();
        others.open();
        assert!(outer.join().unwrap_err().is_timeout());
        assert!(on_time, "the other deadline waits for a callback");
    });
}

#[test]
fn wait_idle_waits_for_a_task_that_runs_on_after_its_deadline() {
    on_pool(|pool| {
        let held = Held(Gate::default());
        let gate = held.0.clone();
        let begun = Arc::new(AtomicBool::new(false));
        let ended = Arc::new(AtomicBool::new(false));
        // On a busy machine one may miss its deadline before it begins.
        while !begun.load(Ordering::Acquire) {
            let (gate, begins, ends) = (gate.clone(), Arc::clone(&begun), Arc::clone(&ended));
            let handle = pool.task().deadline(SOON).submit(move || {
                begins.store(true, Ordering::Release);
                spin_until(|| current_token().is_cancelled());
                gate.pass();
                ends.store(true, Ordering::Release);
            });
            assert!(handle.join().unwrap_err().is_timeout());
        }
        let own = pool.clone();
        let waiter = std::thread::spawn(move || {
            own.wait_idle();
            ended.load(Ordering::Acquire)
        });
        // Real time only so that a wait that is too short shows.
        std::thread::sleep(SOON);
        held.open();
        assert!(waiter.join().unwrap(), "idle while a task runs");
    });
}
