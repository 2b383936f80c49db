//! Waiting for several handles at once.

use crate::support::{
    Gate, Held, LONG, Ledger, SOON, hold_all, on_pool, on_pool_of, pool_with, threads, watched,
    work,
};
use heist::{
    JoinHandle, JoinSet, TaskError, WaitFor, as_completed, first_finished, first_ok, wait,
};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// A finished handle.
fn done(pool: &heist::ThreadPool, n: usize) -> JoinHandle<usize> {
    let handle = pool.submit(move || n);
    assert!(handle.wait_timeout(LONG));
    handle
}

/// A handle that is cancelled.
fn cancelled(pool: &heist::ThreadPool) -> JoinHandle<usize> {
    let token = heist::CancelToken::new();
    token.cancel();
    let handle = pool.task().token(&token).submit(|| 0);
    assert!(handle.is_cancelled());
    handle
}

/// A handle that finishes when its gate opens.
fn gated(pool: &heist::ThreadPool, n: usize) -> (JoinHandle<usize>, Held) {
    let held = Held(Gate::default());
    let gate = held.0.clone();
    let handle = pool.submit(move || {
        gate.pass();
        n
    });
    (handle, held)
}

#[test]
fn as_completed_gives_each_in_the_order_in_which_it_finishes() {
    on_pool_of(threads().max(3), |pool| {
        let (a, gate_a) = gated(pool, 10);
        let (b, gate_b) = gated(pool, 11);
        let (c, gate_c) = gated(pool, 12);
        let mut all = as_completed([a, b, c]);
        assert_eq!(all.size_hint(), (3, Some(3)));
        let mut seen = Vec::new();
        for gate in [gate_b, gate_c, gate_a] {
            gate.open();
            let (index, outcome) = all.next().unwrap();
            seen.push((index, outcome.unwrap()));
        }
        assert_eq!(seen, [(1, 11), (2, 12), (0, 10)]);
        assert!(all.next().is_none() && all.next().is_none());
        assert!(!all.timed_out());
        assert!(all.unfinished().is_empty());
    });
}

#[test]
fn as_completed_gives_the_finished_ones_first() {
    on_pool(|pool| {
        let (open, gate) = gated(pool, 0);
        let cancelled = cancelled(pool);
        let held = (threads() > 1).then(|| done(pool, 1));
        let mut handles = vec![open, cancelled];
        handles.extend(held);
        let finished = handles.len() - 1;
        let mut all = as_completed(handles);
        for n in 0..finished {
            assert_eq!(all.next().unwrap().0, n + 1);
        }
        gate.open();
        assert_eq!(all.next().unwrap().0, 0);
        assert!(all.next().is_none());
    });
}

#[test]
fn as_completed_ends_at_its_time_and_gives_the_rest_back() {
    on_pool(|pool| {
        let finished = done(pool, 7);
        let (a, gate_a) = gated(pool, 1);
        let (b, gate_b) = gated(pool, 2);
        let start = Instant::now();
        let mut all = as_completed([a, finished, b]).timeout(Duration::from_millis(30));
        let (index, outcome) = all.next().unwrap();
        assert_eq!((index, outcome.unwrap()), (1, 7));
        assert!(!all.timed_out());
        assert!(all.next().is_none());
        assert!(all.timed_out());
        assert!(start.elapsed() >= Duration::from_millis(30));
        assert!(all.next().is_none());
        let rest = all.unfinished();
        assert_eq!(rest.len(), 2);
        gate_a.open();
        gate_b.open();
        let values: Vec<_> = rest.into_iter().map(|h| h.join().unwrap()).collect();
        assert_eq!(values, [1, 2]);
    });
}

#[test]
fn as_completed_with_no_time_gives_what_has_finished() {
    on_pool(|pool| {
        let handles = vec![done(pool, 0), done(pool, 1), cancelled(pool)];
        let (open, gate) = gated(pool, 3);
        let mut all = as_completed(handles.into_iter().chain([open])).timeout(Duration::ZERO);
        let seen: Vec<_> = all.by_ref().map(|(index, _)| index).collect();
        assert_eq!(seen, [0, 1, 2]);
        assert!(all.timed_out());
        gate.open();
        assert_eq!(all.unfinished().pop().unwrap().join().unwrap(), 3);
    });
}

#[test]
fn as_completed_of_nothing_ends_at_once() {
    let mut none = as_completed(Vec::<JoinHandle<()>>::new());
    assert!(none.next().is_none());
    assert!(!none.timed_out());
}

#[test]
fn as_completed_is_linear() {
    on_pool(|pool| {
        let per_handle = |count: usize| {
            let held = hold_all(pool);
            let handles = pool.submit_many((0..count).map(|n| move || n));
            let all = as_completed(handles);
            held.open();
            // Otherwise the test would measure wake-ups.
            pool.wait_idle();
            let start = Instant::now();
            let seen: BTreeSet<_> = all
                .map(|(index, outcome)| {
                    assert_eq!(outcome.unwrap(), index);
                    index
                })
                .collect();
            assert_eq!(seen.len(), count);
            start.elapsed().as_nanos() / count as u128
        };
        // The minimum of several runs counts, since other tests run at the same time.
        let least = |count| (0..4).map(|_| per_handle(count)).min().unwrap();
        let few = least(2_000).max(500);
        let many = least(20_000);
        assert!(
            many < 8 * few,
            "{few} ns each of few, {many} ns each of many"
        );
    });
}

#[test]
fn as_completed_dropped_half_way_lets_the_others_go() {
    on_pool(|pool| {
        let ledger = Ledger::new(100);
        let ran = Arc::new(AtomicUsize::new(0));
        let handles: Vec<_> = ledger
            .tickets()
            .into_iter()
            .map(|ticket| {
                let ran = Arc::clone(&ran);
                pool.submit(move || {
                    ran.fetch_add(1, Ordering::Relaxed);
                    ticket
                })
            })
            .collect();
        let mut all = as_completed(handles);
        for _ in 0..50 {
            all.next().unwrap().1.unwrap();
        }
        drop(all);
        pool.wait_idle();
        crate::support::spin_until(|| ledger.dropped() == 100);
        ledger.assert_settled();
        assert_eq!(ran.load(Ordering::Relaxed), 100);
    });
}

#[test]
fn everything_works_on_the_worker_of_a_single_thread() {
    watched(|| {
        for spares in [0, 1] {
            let pool = pool_with(|b| b.num_threads(1).spare_threads(spares));
            let own = pool.clone();
            let inside = pool.submit(move || {
                let handles =
                    || -> Vec<_> { (0..30_usize).map(|n| own.submit(move || n)).collect() };
                let sum: usize = as_completed(handles()).map(|(_, out)| out.unwrap()).sum();
                assert_eq!(sum, 435);
                let waited = wait(&handles(), WaitFor::All, None);
                assert_eq!((waited.done.len(), waited.pending.len()), (30, 0));
                let waited = wait(&handles(), WaitFor::First, None);
                assert!(!waited.done.is_empty());
                assert!(first_finished(handles()).unwrap().1.is_ok());
                let oks = (0..9).map(|n| own.submit(move || if n < 8 { Err(n) } else { Ok(n) }));
                assert_eq!(first_ok(oks).unwrap(), (8, 8));
                let mut set = JoinSet::new(&own);
                for n in 0..30_usize {
                    set.spawn(move || n);
                }
                let mut sum = 0;
                while let Some(out) = set.join_next() {
                    sum += out.unwrap();
                }
                sum
            });
            assert_eq!(inside.join().unwrap(), 435);
        }
    });
}

/// A function that submits these closures and waits for the first one.
type First = fn(&heist::ThreadPool, Vec<Body>) -> usize;

type Body = Box<dyn FnOnce() -> usize + Send>;

/// The ways to wait for the first of several.
const FIRSTS: [(&str, First); 6] = [
    ("wait", |pool, bodies| {
        let mut handles = pool.submit_many(bodies);
        let waited = wait(&handles, WaitFor::First, None);
        handles.swap_remove(waited.done[0]).join().unwrap()
    }),
    ("wait for an error", |pool, bodies| {
        let failing = bodies
            .into_iter()
            .map(|body| move || -> usize { std::panic::resume_unwind(Box::new(body())) });
        let mut handles: Vec<_> = failing.map(|body| pool.submit(body)).collect();
        let waited = wait(&handles, WaitFor::FirstError, None);
        let error = handles.swap_remove(waited.done[0]).join().unwrap_err();
        *error.into_panic().downcast().unwrap()
    }),
    ("as_completed", |pool, bodies| {
        let handles: Vec<_> = bodies.into_iter().map(|body| pool.submit(body)).collect();
        as_completed(handles).next().unwrap().1.unwrap()
    }),
    ("first_finished", |pool, bodies| {
        let handles: Vec<_> = bodies.into_iter().map(|body| pool.submit(body)).collect();
        first_finished(handles).unwrap().1.unwrap()
    }),
    ("first_ok", |pool, bodies| {
        let bodies = bodies.into_iter().map(|body| move || Ok::<_, ()>(body()));
        let handles: Vec<_> = bodies.map(|body| pool.submit(body)).collect();
        first_ok(handles).unwrap().1
    }),
    ("JoinSet", |pool, bodies| {
        let mut set = JoinSet::new(pool);
        for body in bodies {
            set.spawn(body);
        }
        set.join_next().unwrap().unwrap()
    }),
];

/// One body returns at once. The others wait at a gate that opens when the wait has returned.
fn first_returns(pool: &heist::ThreadPool, ways: First, quick: usize, count: usize) {
    let own = pool.clone();
    let inside = pool.submit(move || {
        let held = Held(Gate::default());
        let body = |n: usize| -> Body {
            let gate = held.0.clone();
            Box::new(move || {
                if n != quick {
                    gate.pass();
                }
                n
            })
        };
        assert_eq!(ways(&own, (0..count).map(body).collect()), quick);
        held.open();
    });
    inside.join().unwrap();
}

#[test]
fn a_wait_for_the_first_inside_a_task_returns_with_the_first() {
    watched(|| {
        for (_, way) in FIRSTS {
            for quick in 0..2 {
                // A spare, another worker, or both take the tasks that the waiter leaves.
                for pool in [
                    pool_with(|b| b.num_threads(1)),
                    pool_with(|b| b.num_threads(2).spare_threads(0)),
                    pool_with(|b| b.num_threads(2)),
                ] {
                    first_returns(&pool, way, quick, 2);
                }
            }
            let pool = pool_with(|b| b.num_threads(4));
            for quick in 0..4 {
                first_returns(&pool, way, quick, 4);
            }
        }
    });
}

#[test]
fn a_wait_for_the_first_on_the_only_thread_runs_one_itself() {
    watched(|| {
        for (name, way) in FIRSTS {
            let pool = pool_with(|b| b.num_threads(1).spare_threads(0));
            let own = pool.clone();
            let inside = pool.submit(move || {
                let bodies = (0..5).map(|n| -> Body { Box::new(move || n) });
                way(&own, bodies.collect())
            });
            assert!(inside.join().unwrap() < 5, "{name}");
        }
    });
}

/// All other threads that could run the tasks wait for a lock that the waiter holds.
#[test]
fn a_wait_for_the_first_ends_though_all_other_threads_want_its_lock() {
    watched(|| {
        for (_, way) in FIRSTS {
            for spares in [0, 2] {
                let pool = pool_with(|b| b.num_threads(2).spare_threads(spares));
                let (lock, wanted) = (Arc::new(std::sync::Mutex::new(())), Arc::default());
                let (own, mutex) = (pool.clone(), Arc::clone(&lock));
                let wants = Arc::clone(&wanted);
                let inside = pool.submit(move || {
                    let guard = mutex.lock().unwrap();
                    for _ in 0..10 {
                        let (mutex, wants): (_, Arc<AtomicUsize>) =
                            (Arc::clone(&mutex), Arc::clone(&wants));
                        own.spawn(move || {
                            wants.fetch_add(1, Ordering::Relaxed);
                            drop(mutex.lock().unwrap());
                        });
                    }
                    let bodies = (0..3).map(|n| -> Body { Box::new(move || n) });
                    let first = way(&own, bodies.collect());
                    drop(guard);
                    first
                });
                assert!(inside.join().unwrap() < 3);
                pool.wait_idle();
                assert_eq!(wanted.load(Ordering::Relaxed), 10);
            }
        }
    });
}

/// The only other thread joins the task that waits.
#[test]
fn a_wait_for_the_first_ends_though_its_stand_in_waits_for_it() {
    watched(|| {
        for (_, way) in FIRSTS {
            let pool = pool_with(|b| b.num_threads(1).spare_threads(1));
            let held = hold_all(&pool);
            let place: Arc<std::sync::Mutex<Option<JoinHandle<usize>>>> = Arc::default();
            let (own, target) = (pool.clone(), Arc::clone(&place));
            let waiter = pool.submit(move || {
                let joiner = own.submit(move || {
                    let handle = target.lock().unwrap().take().unwrap();
                    handle.join().unwrap()
                });
                let bodies = (0..3).map(|n| -> Body { Box::new(move || n) });
                let first = way(&own, bodies.collect());
                joiner.detach();
                first
            });
            *place.lock().unwrap() = Some(waiter);
            held.open();
            pool.wait_idle();
        }
    });
}

#[test]
fn a_handle_of_another_pool_does_not_keep_a_waiter_from_its_own() {
    with_another_pool(true, |handles| {
        as_completed(handles).map(|(_, out)| out.unwrap()).sum()
    });
}

#[test]
fn a_handle_of_another_pool_does_not_keep_wait_from_its_own() {
    with_another_pool(true, |handles| {
        wait(&handles, WaitFor::All, None);
        handles
            .into_iter()
            .map(|handle| handle.join().unwrap())
            .sum()
    });
}

#[test]
fn a_handle_of_another_pool_comes_after_the_own_one() {
    with_another_pool(false, |handles| {
        let waited = wait(&handles, WaitFor::All, None);
        assert_eq!(waited.done, [0, 1]);
        as_completed(handles).map(|(_, out)| out.unwrap()).sum()
    });
}

/// One handle belongs to another pool. Its task waits until the other task, of the waiter's own single thread, has run.
fn with_another_pool(first: bool, all: fn(Vec<JoinHandle<u32>>) -> u32) {
    watched(move || {
        let pool = pool_with(|b| b.num_threads(1).spare_threads(0));
        let other = pool_with(|b| b.num_threads(1).spare_threads(0));
        let held = hold_all(&other);
        let (gate, own) = (held.0.clone(), pool.clone());
        let sum = pool.submit(move || {
            let other_task = other.submit(|| 1);
            let opens = own.submit(move || {
                gate.open();
                2
            });
            all(if first {
                vec![other_task, opens]
            } else {
                vec![opens, other_task]
            })
        });
        assert_eq!(sum.join().unwrap(), 3);
        drop(held);
    });
}

#[test]
fn wait_says_what_has_finished() {
    on_pool(|pool| {
        let one = done(pool, 1);
        let (two, gate) = gated(pool, 2);
        let handles = [two, one];
        for what in [WaitFor::First, WaitFor::FirstError, WaitFor::All] {
            let waited = wait(&handles, what, Some(SOON));
            assert_eq!(waited.done, [1], "{what:?}");
            assert_eq!(waited.pending, [0]);
        }
        assert_eq!(wait(&handles, WaitFor::First, None).done, [1]);
        assert_eq!(wait(&handles, WaitFor::All, Some(Duration::ZERO)).done, [1]);
        gate.open();
        assert_eq!(wait(&handles, WaitFor::All, None).done, [0, 1]);
        assert_eq!(wait(&handles, WaitFor::FirstError, None).done, [0, 1]);
        for (handle, value) in handles.into_iter().zip([2, 1]) {
            assert_eq!(handle.join().unwrap(), value);
        }
    });
}

#[test]
fn wait_for_the_first_error_returns_at_an_error() {
    on_pool_of(threads().max(3), |pool| {
        let (open, gate) = gated(pool, 1);
        let (ok, gate_ok) = gated(pool, 2);
        gate_ok.open();
        let fails = pool.submit(|| -> usize { panic!("first error") });
        let handles = [open, ok, fails];
        let waited = wait(&handles, WaitFor::FirstError, Some(LONG));
        assert!(waited.done.contains(&2));
        assert!(handles[2].is_finished());
        assert!(waited.pending.contains(&0));
        gate.open();
        let rest = [cancelled(pool)];
        assert_eq!(wait(&rest, WaitFor::FirstError, None).done, [0]);
    });
}

#[test]
fn wait_for_the_first_wakes_at_the_first_end() {
    on_pool_of(threads().max(2), |pool| {
        let (a, gate_a) = gated(pool, 1);
        let (b, gate_b) = gated(pool, 2);
        let opener = thread::spawn(move || gate_b.open());
        let waited = wait(&[a, b], WaitFor::First, None);
        assert_eq!((waited.done, waited.pending), (vec![1], vec![0]));
        gate_a.open();
        opener.join().unwrap();
    });
}

#[test]
fn wait_for_nothing_returns_at_once() {
    for what in [WaitFor::First, WaitFor::FirstError, WaitFor::All] {
        let waited = wait::<()>(&[], what, None);
        assert!(waited.done.is_empty() && waited.pending.is_empty());
    }
}

#[test]
fn the_same_handles_are_waited_for_by_many_threads() {
    on_pool(|pool| {
        let (a, gate) = gated(pool, 1);
        let handles = Arc::new([a, done_later(pool)]);
        let waiters: Vec<_> = (0..4)
            .map(|_| {
                let handles = Arc::clone(&handles);
                thread::spawn(move || wait(&*handles, WaitFor::All, None).done)
            })
            .collect();
        gate.open();
        for waiter in waiters {
            assert_eq!(waiter.join().unwrap(), [0, 1]);
        }
    });
}

fn done_later(pool: &heist::ThreadPool) -> JoinHandle<usize> {
    pool.submit(|| {
        work(1000);
        1
    })
}

#[test]
fn the_first_finished_cancels_the_others() {
    on_pool(|pool| {
        let held = hold_all(pool);
        let ledger = Ledger::new(20);
        let mut handles = Vec::new();
        for ticket in ledger.tickets() {
            handles.push(pool.submit(move || ticket.index()));
        }
        handles.insert(7, cancelled(pool));
        let (index, outcome) = first_finished(handles).unwrap();
        assert_eq!(index, 7);
        assert!(outcome.unwrap_err().is_cancelled());
        assert_eq!(ledger.dropped(), 20, "their closures are gone");
        assert_eq!(pool.stats().cancelled, 21);
        assert!(first_finished(Vec::<JoinHandle<()>>::new()).is_none());
        drop(held);
    });
}

#[test]
fn the_first_ok_passes_over_failures_and_cancels_the_rest() {
    on_pool(|pool| {
        let failed = pool.submit(|| Err::<u32, _>("no"));
        let panicked = pool.submit(|| -> Result<u32, &str> { panic!("lost") });
        assert!(failed.wait_timeout(LONG) && panicked.wait_timeout(LONG));
        let good = pool.submit(|| Ok(5));
        assert!(good.wait_timeout(LONG));
        let held = hold_all(pool);
        let thing = Arc::new(());
        let kept = Arc::clone(&thing);
        let rest = pool.submit(move || {
            drop(kept);
            Ok(6)
        });
        assert_eq!(first_ok([failed, panicked, rest, good]).unwrap(), (3, 5));
        assert_eq!(Arc::strong_count(&thing), 1);
        drop(held);
    });
}

#[test]
fn the_first_ok_gives_every_error_if_all_fail() {
    on_pool(|pool| {
        let mut handles: Vec<_> = (0..10)
            .map(|n| {
                pool.submit(move || {
                    assert!(n % 2 == 0, "odd {n}");
                    Err::<(), _>(n)
                })
            })
            .collect();
        handles.reverse();
        let errors = first_ok(handles).unwrap_err();
        assert_eq!(errors.len(), 10);
        for (n, error) in (0..10).rev().zip(errors) {
            match error {
                TaskError::Failed(value) => assert_eq!(value, n),
                TaskError::Lost(error) => {
                    assert!(error.to_string().ends_with(&format!("odd {n}")));
                }
            }
        }
        assert!(
            first_ok(Vec::<JoinHandle<Result<(), ()>>>::new())
                .unwrap_err()
                .is_empty()
        );
    });
}
