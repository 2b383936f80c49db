//! Futures as tasks: every state, and what ends it.

use crate::support::{
    LONG, Ledger, SOON, Ticket, assert_balanced, hold_all, on_pool, on_pool_of, pool_with, single,
    spin_until, threads, watched,
};
use heist::{CancelToken, JoinHandle, Priority, ThreadPool};
use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// A future that is ready when it was told so, and shows its waker to the test.
#[derive(Clone, Default)]
struct Door(Arc<DoorState>);

#[derive(Default)]
struct DoorState {
    open: AtomicBool,
    waker: Mutex<Option<Waker>>,
    polls: AtomicUsize,
    dropped_on: Mutex<Vec<Option<String>>>,
}

impl Door {
    fn waker(&self) -> Waker {
        let mut found = None;
        spin_until(|| {
            found = self.0.waker.lock().unwrap().clone();
            found.is_some()
        });
        found.unwrap()
    }

    fn open(&self) {
        self.0.open.store(true, Ordering::Release);
        self.waker().wake();
    }

    fn polls(&self) -> usize {
        self.0.polls.load(Ordering::Acquire)
    }

    fn pass(&self, ticket: Ticket) -> Passage {
        Passage(self.clone(), Some(ticket))
    }

    /// The names of the threads on which passages were dropped.
    fn dropped_on(&self) -> Vec<Option<String>> {
        self.0.dropped_on.lock().unwrap().clone()
    }
}

struct Passage(Door, Option<Ticket>);

impl Future for Passage {
    type Output = usize;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<usize> {
        let state = &self.0.0;
        let ready = state.open.load(Ordering::Acquire);
        *state.waker.lock().unwrap() = Some(context.waker().clone());
        state.polls.fetch_add(1, Ordering::Release);
        // Looked at again after the waker is there.
        if ready || state.open.load(Ordering::Acquire) {
            return Poll::Ready(self.1.as_ref().map_or(0, Ticket::index));
        }
        Poll::Pending
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        let name = std::thread::current().name().map(str::to_owned);
        self.0.0.dropped_on.lock().unwrap().push(name);
    }
}

/// Submits a passage and waits until it is suspended.
fn suspended(pool: &ThreadPool, door: &Door, ticket: Ticket) -> JoinHandle<usize> {
    let handle = pool.submit_async(door.pass(ticket));
    spin_until(|| pool.stats().suspended == 1);
    handle
}

#[test]
fn a_future_that_is_ready_at_once() {
    on_pool(|pool| {
        for n in 0..1_000 {
            assert_eq!(pool.submit_async(async move { n }).join().unwrap(), n);
        }
        assert_balanced(pool);
    });
}

#[test]
fn a_suspended_future_goes_on_when_it_is_woken() {
    on_pool(|pool| {
        let ledger = Ledger::new(1);
        let door = Door::default();
        let handle = suspended(pool, &door, ledger.ticket(0));
        assert!(handle.is_running() && !handle.is_finished());
        let polls = door.polls();
        door.waker().wake_by_ref();
        spin_until(|| door.polls() > polls && pool.stats().suspended == 1);
        door.open();
        assert_eq!(handle.join().unwrap(), 0);
        ledger.assert_settled();
        assert_balanced(pool);
        spin_until(|| pool.stats().suspended == 0);
    });
}

#[test]
fn a_wake_up_queues_a_future_once() {
    on_pool(|pool| {
        let ledger = Ledger::new(1);
        let door = Door::default();
        let handle = suspended(pool, &door, ledger.ticket(0));
        let held = hold_all(pool);
        let (waker, polls) = (door.waker(), door.polls());
        let wakers: Vec<_> = (0..1_000).map(|_| waker.clone()).collect();
        std::thread::scope(|s| {
            for half in wakers.chunks(500) {
                s.spawn(move || half.iter().for_each(Waker::wake_by_ref));
            }
        });
        assert_eq!(pool.stats().queued, 1);
        held.open();
        spin_until(|| pool.stats().suspended == 1);
        assert_eq!(door.polls(), polls + 1);
        door.open();
        handle.join().unwrap();
    });
}

#[test]
fn a_cancel_drops_a_future_on_a_worker_and_it_is_never_polled_again() {
    on_pool(|pool| {
        for queued in [false, true] {
            let ledger = Ledger::new(1);
            let door = Door::default();
            let handle = suspended(pool, &door, ledger.ticket(0));
            let (waker, polls) = (door.waker(), door.polls());
            let held = queued.then(|| {
                let held = hold_all(pool);
                waker.wake_by_ref();
                held
            });
            assert!(handle.cancel());
            if let Some(held) = held {
                assert!(!handle.is_finished(), "no worker is free");
                held.open();
            }
            assert!(handle.join().unwrap_err().is_cancelled());
            ledger.assert_settled();
            waker.wake();
            pool.wait_idle();
            assert_eq!(door.polls(), polls);
            let names = door.dropped_on();
            assert!(
                names[0].as_ref().unwrap().starts_with("heist-"),
                "{names:?}"
            );
            assert_balanced(pool);
        }
    });
}

#[test]
fn a_cancel_of_a_queued_future_that_was_never_polled() {
    on_pool(|pool| {
        let ledger = Ledger::new(1);
        let door = Door::default();
        let held = hold_all(pool);
        let handle = pool.submit_async(door.pass(ledger.ticket(0)));
        assert!(handle.cancel());
        held.open();
        assert!(handle.join().unwrap_err().is_cancelled());
        ledger.assert_settled();
        assert_eq!(door.polls(), 0);
        pool.wait_idle();
        assert_balanced(pool);
        assert_eq!(pool.stats().queued, 0);
    });
}

#[test]
fn a_cancel_during_a_poll_counts_unless_the_poll_is_the_last() {
    on_pool(|pool| {
        for last in [false, true] {
            let ledger = Ledger::new(1);
            let ticket = ledger.ticket(0);
            let (begun, go) = (
                Arc::new(AtomicBool::new(false)),
                Arc::new(AtomicBool::new(false)),
            );
            let (started, gate) = (Arc::clone(&begun), Arc::clone(&go));
            let handle = pool.submit_async(poll_fn(move |_| {
                started.store(true, Ordering::Release);
                spin_until(|| gate.load(Ordering::Acquire));
                if last {
                    Poll::Ready(ticket.index())
                } else {
                    Poll::Pending
                }
            }));
            spin_until(|| begun.load(Ordering::Acquire));
            assert!(handle.cancel());
            go.store(true, Ordering::Release);
            let outcome = handle.join();
            if last {
                assert_eq!(outcome.unwrap(), 0);
            } else {
                assert!(outcome.unwrap_err().is_cancelled());
            }
            ledger.assert_settled();
            pool.wait_idle();
            assert_balanced(pool);
        }
    });
}

#[test]
fn a_panic_of_a_poll_and_of_a_drop_are_errors_of_the_handle() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("in the drop");
        }
    }
    on_pool(|pool| {
        let polled = pool.submit_async(async { panic!("in the poll") });
        assert!(
            polled
                .join()
                .unwrap_err()
                .to_string()
                .contains("in the poll")
        );
        let bomb = Bomb;
        let dropped = pool.submit_async(async move {
            let _bomb = &bomb;
            1
        });
        assert!(dropped.join().unwrap_err().is_panic());
        let bomb = Bomb;
        let cancelled = pool.submit_async(async move {
            pending::<()>().await;
            drop(bomb);
        });
        spin_until(|| pool.stats().suspended == 1);
        cancelled.cancel();
        assert!(cancelled.join().unwrap_err().is_cancelled());
        pool.wait_idle();
        assert_eq!(pool.stats().lost_panics, 1);
        assert_balanced(pool);
    });
}

#[test]
fn a_deadline_ends_a_future_in_each_state() {
    on_pool(|pool| {
        // Suspended.
        let ledger = Ledger::new(3);
        let door = Door::default();
        let timed = |n| {
            pool.task()
                .deadline(SOON)
                .submit_async(door.pass(ledger.ticket(n)))
        };
        let error = timed(0).join().unwrap_err();
        assert!(error.is_timeout());
        // Queued.
        let held = hold_all(pool);
        let handle = timed(1);
        assert!(handle.wait_timeout(LONG) && handle.join().unwrap_err().is_timeout());
        held.open();
        // Being polled.
        let door = Door::default();
        let ticket = ledger.ticket(2);
        let waker = door.clone();
        let handle = pool.task().deadline(SOON).submit_async(poll_fn(move |_| {
            let _ticket = &ticket;
            spin_until(|| waker.0.open.load(Ordering::Acquire));
            Poll::<()>::Pending
        }));
        assert!(handle.wait_timeout(LONG) && handle.join().unwrap_err().is_timeout());
        door.0.open.store(true, Ordering::Release);
        pool.wait_idle();
        ledger.assert_settled();
        assert_eq!(pool.stats().timed_out, 3);
        assert_balanced(pool);
    });
}

#[test]
fn a_future_with_a_deadline_that_is_woken_many_times() {
    on_pool(|pool| {
        let handle = pool.task().deadline(LONG).submit_async(async {
            for _ in 0..1_000 {
                heist::yield_async().await;
                heist::sleep(Duration::from_micros(1)).await;
            }
            7
        });
        assert_eq!(handle.join().unwrap(), 7);
    });
}

#[test]
fn a_token_cancels_suspended_and_polled_futures() {
    on_pool(|pool| {
        let ledger = Ledger::new(1);
        let token = CancelToken::new();
        let door = Door::default();
        let future = door.pass(ledger.ticket(0));
        let handle = pool.task().token(&token).submit_async(future);
        spin_until(|| pool.stats().suspended == 1);
        token.cancel();
        assert!(handle.join().unwrap_err().is_cancelled());
        ledger.assert_settled();
        assert_balanced(pool);
    });
}

#[test]
fn the_end_of_a_pool_in_each_way() {
    watched(|| {
        for way in 0..6 {
            let pool = pool_with(|b| b);
            let ledger = Ledger::new(2);
            let door = Door::default();
            let other = Door::default();
            let first = suspended(&pool, &door, ledger.ticket(0));
            let held = hold_all(&pool);
            let second = pool.submit_async(other.pass(ledger.ticket(1)));
            let waker = door.waker();
            match way {
                0 => {
                    held.open();
                    let error = pool.shutdown_timeout(SOON).unwrap_err();
                    assert_eq!(error.suspended().len(), 2, "{error}");
                    door.open();
                    other.open();
                    pool.shutdown();
                }
                1 => {
                    held.open();
                    let opener = std::thread::spawn({
                        let (door, other) = (door.clone(), other.clone());
                        move || {
                            std::thread::sleep(SOON);
                            door.open();
                            other.open();
                        }
                    });
                    pool.shutdown();
                    opener.join().unwrap();
                }
                2 => {
                    let closer = pool.clone();
                    let dropped = std::thread::spawn(move || closer.shutdown_now());
                    spin_until(|| first.is_cancelled() && second.is_cancelled());
                    held.open();
                    assert_eq!(dropped.join().unwrap(), 2);
                }
                3 => {
                    pool.close();
                    held.open();
                    door.open();
                    other.open();
                }
                4 => {
                    assert_eq!(pool.close_now(), 2);
                    held.open();
                }
                _ => {
                    held.open();
                    let opener = std::thread::spawn({
                        let (door, other) = (door.clone(), other.clone());
                        move || {
                            door.open();
                            other.open();
                        }
                    });
                    drop(pool);
                    opener.join().unwrap();
                }
            }
            let runs = !matches!(way, 2 | 4);
            assert_eq!(first.join().is_ok(), runs, "{way}");
            assert_eq!(second.join().is_ok(), runs, "{way}");
            ledger.assert_settled();
            waker.wake();
            let names = door.dropped_on();
            assert!(
                names[0].as_ref().unwrap().starts_with("heist-"),
                "{way}: {names:?}"
            );
        }
    });
}

#[test]
fn two_tasks_that_talk_do_not_starve_others() {
    on_pool_of(1, |pool| {
        let stop = Arc::new(AtomicBool::new(false));
        let turn = Arc::new((
            AtomicUsize::new(0),
            Mutex::new([const { None::<Waker> }; 2]),
        ));
        let talkers: Vec<_> = (0..2)
            .map(|me| {
                let (stop, turn) = (Arc::clone(&stop), Arc::clone(&turn));
                pool.submit_async(poll_fn(move |context| {
                    let mut wakers = turn.1.lock().unwrap();
                    wakers[me] = Some(context.waker().clone());
                    turn.0.fetch_add(1, Ordering::Relaxed);
                    if let Some(other) = wakers[1 - me].take() {
                        other.wake();
                    }
                    if stop.load(Ordering::Acquire) {
                        Poll::Ready(())
                    } else {
                        Poll::Pending
                    }
                }))
            })
            .collect();
        spin_until(|| turn.0.load(Ordering::Relaxed) > 1_000);
        for _ in 0..100 {
            pool.submit(|| ()).join().unwrap();
            pool.submit_async(async {}).join().unwrap();
        }
        stop.store(true, Ordering::Release);
        spin_until(|| {
            for waker in turn.1.lock().unwrap().iter().flatten() {
                waker.wake_by_ref();
            }
            talkers.iter().all(JoinHandle::is_finished)
        });
    });
}

#[test]
fn a_yield_lets_others_run() {
    on_pool_of(1, |pool| {
        let order = Arc::new(Mutex::new(Vec::new()));
        let held = hold_all(pool);
        let handles: Vec<_> = (0..3)
            .map(|n| {
                let order = Arc::clone(&order);
                pool.submit_async(async move {
                    for round in 0..3 {
                        order.lock().unwrap().push((round, n));
                        heist::yield_async().await;
                    }
                })
            })
            .collect();
        held.open();
        handles
            .into_iter()
            .for_each(|handle| handle.join().unwrap());
        let order = order.lock().unwrap();
        assert!(order.is_sorted(), "{order:?}");
    });
}

#[test]
fn a_closure_that_yields_runs_the_future_that_it_has_woken() {
    on_pool_of(1, |pool| {
        let (ledger, door) = (Ledger::new(1), Door::default());
        let handle = suspended(pool, &door, ledger.ticket(0));
        let closure = pool.submit(move || {
            door.open();
            while !handle.is_finished() {
                heist::yield_now();
            }
            handle.join().unwrap()
        });
        assert_eq!(closure.join().unwrap(), 0);
    });
}

#[test]
fn a_future_that_was_woken_runs_while_its_waker_waits_in_another_pool() {
    watched(|| {
        let (pool, other) = (pool_with(|b| b.num_threads(1)), pool_with(|b| b));
        let (ledger, door) = (Ledger::new(1), Door::default());
        let handle = suspended(&pool, &door, ledger.ticket(0));
        let closure = pool.submit(move || {
            door.open();
            // A guest of the other pool waits for what only the future brings about.
            other.install(|| handle.wait_timeout(LONG))
        });
        assert!(closure.join().unwrap());
    });
}

#[test]
fn tasks_of_all_kinds_wait_for_each_other() {
    on_pool(|pool| {
        let own = pool.clone();
        let total = pool.submit_async(async move {
            let parts: Vec<_> = (0..100_u64)
                .map(|n| {
                    let deeper = own.clone();
                    own.submit_async(async move {
                        let closure = deeper.submit(move || n * 2);
                        heist::sleep(Duration::from_micros(n)).await;
                        closure.await.unwrap()
                    })
                })
                .collect();
            let mut sum = 0;
            for part in parts {
                sum += part.await.unwrap();
            }
            sum
        });
        assert_eq!(total.join().unwrap(), 9_900);
        assert_balanced(pool);
    });
}

#[test]
fn a_scope_waits_for_its_futures() {
    on_pool(|pool| {
        let (text, door) = (String::from("to be"), Door::default());
        let ledger = Ledger::new(1);
        let opener = door.clone();
        let thread = std::thread::spawn(move || {
            std::thread::sleep(SOON);
            opener.open();
        });
        let len = pool.scope(|s| {
            let len = s.submit_async(async {
                door.pass(ledger.ticket(0)).await;
                text.len()
            });
            s.submit_async(async { heist::sleep(SOON).await }).detach();
            len.join().unwrap()
        });
        assert_eq!(len, 5);
        ledger.assert_settled();
        assert_balanced(pool);
        thread.join().unwrap();
    });
}

#[test]
fn a_scope_on_the_only_worker_polls_its_futures() {
    watched(|| {
        for pool in single() {
            let own = pool.clone();
            let sum = pool.submit(move || {
                let mut sum = [0; 10];
                own.scope(|s| {
                    for (n, sum) in sum.iter_mut().enumerate() {
                        s.submit_async(async move {
                            heist::sleep(Duration::from_micros(100)).await;
                            heist::yield_async().await;
                            *sum = n;
                        })
                        .detach();
                    }
                });
                sum.iter().sum::<usize>()
            });
            assert_eq!(sum.join().unwrap(), 45);
        }
    });
}

#[test]
fn a_full_queue_counts_a_future_until_it_begins() {
    watched(|| {
        let pool = pool_with(|b| b.queue_capacity(2));
        let doors = [Door::default(), Door::default(), Door::default()];
        let ledger = Ledger::new(3);
        // Suspended ones take no room.
        let handles: Vec<_> = doors
            .iter()
            .enumerate()
            .map(|(n, door)| {
                let handle = pool.submit_async(door.pass(ledger.ticket(n)));
                spin_until(|| pool.stats().suspended == n + 1);
                handle
            })
            .collect();
        let held = hold_all(&pool);
        for door in &doors {
            door.open();
        }
        assert!(pool.try_submit(|| 1).is_ok() && pool.try_submit(|| 1).is_ok());
        assert!(pool.try_submit(|| 1).is_err());
        held.open();
        for handle in handles {
            handle.join().unwrap();
        }
        pool.wait_idle();
        assert!(pool.try_submit(|| 1).is_ok());
        ledger.assert_settled();
    });
}

/// A few searches of the worker start elsewhere, so that nothing starves.
#[test]
fn priorities_hold_for_each_time_that_a_future_is_queued() {
    on_pool_of(1, |pool| {
        let in_order = (0..16).filter(|_| woken_by_priority(pool) == [2, 1, 0]);
        let in_order = in_order.count();
        assert!(in_order >= 12, "{in_order} of 16");
    });
}

/// The order in which a worker polls three woken futures, of which the third one has the highest priority.
fn woken_by_priority(pool: &ThreadPool) -> Vec<usize> {
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut handles = Vec::new();
    let doors: Vec<Door> = (0..3).map(|_| Door::default()).collect();
    let ledger = Ledger::new(3);
    for (n, priority) in [Priority::Low, Priority::Normal, Priority::High]
        .into_iter()
        .enumerate()
    {
        let (order, passage) = (Arc::clone(&order), doors[n].pass(ledger.ticket(n)));
        handles.push(pool.task().priority(priority).submit_async(async move {
            passage.await;
            order.lock().unwrap().push(n);
        }));
    }
    spin_until(|| pool.stats().suspended == 3);
    let held = hold_all(pool);
    doors.iter().for_each(Door::open);
    held.open();
    for handle in handles {
        handle.join().unwrap();
    }
    let order = order.lock().unwrap();
    order.clone()
}

#[test]
fn a_join_on_a_worker_polls_the_future_itself() {
    watched(|| {
        for pool in single() {
            let own = pool.clone();
            let handle = pool.submit(move || {
                let inner = own.submit_async(async {
                    heist::yield_async().await;
                    6
                });
                inner.join().unwrap() + 1
            });
            assert_eq!(handle.join().unwrap(), 7);
            assert_balanced(&pool);
        }
    });
}

#[test]
fn many_futures_from_many_threads() {
    on_pool(|pool| {
        let total = AtomicUsize::new(0);
        std::thread::scope(|s| {
            for _ in 0..threads().max(2) {
                s.spawn(|| {
                    let handles: Vec<_> = (0..2_000)
                        .map(|n| {
                            pool.submit_async(async move {
                                if n % 3 == 0 {
                                    heist::yield_async().await;
                                }
                                if n % 7 == 0 {
                                    heist::sleep(Duration::from_micros(50)).await;
                                }
                                1
                            })
                        })
                        .collect();
                    for handle in handles {
                        total.fetch_add(handle.join().unwrap(), Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(total.into_inner(), 2_000 * threads().max(2));
        assert_balanced(pool);
        spin_until(|| pool.stats().suspended == 0);
    });
}

#[test]
fn a_million_clones_of_a_waker() {
    on_pool(|pool| {
        let ledger = Ledger::new(1);
        let door = Door::default();
        let handle = suspended(pool, &door, ledger.ticket(0));
        let waker = door.waker();
        let clones: Vec<Waker> = (0..1_000_000).map(|_| waker.clone()).collect();
        drop(clones);
        door.open();
        handle.join().unwrap();
        waker.wake();
    });
}

#[test]
fn a_waker_outlives_its_pool() {
    watched(|| {
        let pool = pool_with(|b| b);
        let ledger = Ledger::new(1);
        let door = Door::default();
        let handle = suspended(&pool, &door, ledger.ticket(0));
        let waker = door.waker();
        pool.shutdown_now();
        drop(pool);
        assert!(handle.join().unwrap_err().is_cancelled());
        let other = waker.clone();
        waker.wake();
        other.wake_by_ref();
        drop(other);
        ledger.assert_settled();
    });
}

#[test]
fn a_pool_dropped_in_its_own_future() {
    watched(|| {
        let pool = pool_with(|b| b);
        let own = pool.clone();
        let handle = pool.submit_async(async move {
            heist::sleep(Duration::from_millis(1)).await;
            drop(own);
            heist::sleep(Duration::from_millis(1)).await;
            3
        });
        drop(pool);
        assert_eq!(handle.join().unwrap(), 3);
    });
}
