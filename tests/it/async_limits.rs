//! Limits on what is under way: `Semaphore` and `AsyncPool`.

use crate::support::{
    Door, Gate, Held, LONG, Ledger, SOON, assert_balanced, hold_all, on_pool, panic_of, pool_with,
    spin_until, threads, watched,
};
use heist::{AsyncPool, Semaphore, block_on, sleep};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

#[derive(Default)]
struct Calls(AtomicUsize);

impl Calls {
    fn waker() -> (Arc<Calls>, Waker) {
        let calls = Arc::new(Calls::default());
        (Arc::clone(&calls), Waker::from(calls))
    }

    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Calls {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn poll<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(waker))
}

/// A permit, which is there.
fn got<F: Future + Unpin>(future: &mut F) -> F::Output {
    match poll(future, Waker::noop()) {
        Poll::Ready(permit) => permit,
        Poll::Pending => panic!("no permit"),
    }
}

fn waits<F: Future + Unpin>(future: &mut F) -> bool {
    poll(future, Waker::noop()).is_pending()
}

// ---- Semaphore ----

#[test]
fn permits_are_guards() {
    let semaphore = Semaphore::new(2);
    let first = semaphore.try_acquire().unwrap();
    let second = got(&mut semaphore.acquire());
    assert_eq!(semaphore.available(), 0);
    assert!(semaphore.try_acquire().is_none());
    drop(first);
    assert_eq!(semaphore.available(), 1);
    let third = semaphore.acquire_blocking();
    drop((second, third));
    assert_eq!(semaphore.available(), 2);
    // A permit outlives the semaphore's handle.
    let permit = semaphore.try_acquire().unwrap();
    let other = semaphore.clone();
    drop(semaphore);
    drop(permit);
    assert_eq!(other.available(), 2);
}

#[test]
fn permits_are_given_in_the_order_of_the_calls() {
    let semaphore = Semaphore::new(1);
    let permit = semaphore.try_acquire().unwrap();
    let mut waiting: Vec<_> = (0..5).map(|_| semaphore.acquire()).collect();
    // Polled in the wrong order.
    assert!(waiting.iter_mut().rev().all(waits));
    drop(permit);
    for n in 0..5 {
        let later = &mut waiting[n + 1..];
        assert!(later.iter_mut().all(waits), "one overtakes {n}");
        drop(got(&mut waiting[n]));
    }
    assert_eq!(semaphore.available(), 1);
}

#[test]
fn nobody_overtakes_those_who_wait() {
    let semaphore = Semaphore::new(1);
    let permit = semaphore.try_acquire().unwrap();
    let mut first = semaphore.acquire();
    let (calls, waker) = Calls::waker();
    assert!(poll(&mut first, &waker).is_pending());
    drop(permit);
    // The permit is the first one's, although it was not polled yet.
    assert_eq!(calls.count(), 1);
    assert!(semaphore.try_acquire().is_none());
    assert!(waits(&mut semaphore.acquire()));
    drop(got(&mut first));
    assert!(semaphore.try_acquire().is_some());
    // Neither does a waiter that was never polled lose its place.
    let permit = semaphore.try_acquire().unwrap();
    let mut unpolled = semaphore.acquire();
    drop(permit);
    assert!(semaphore.try_acquire().is_none());
    drop(got(&mut unpolled));
}

#[test]
fn a_waiter_that_is_dropped_in_each_state_loses_no_permit() {
    let semaphore = Semaphore::new(1);
    // Never polled, with a permit at hand.
    drop(semaphore.acquire());
    assert_eq!(semaphore.available(), 1);
    let permit = semaphore.try_acquire().unwrap();
    // Never polled, in the middle of the queue; polled, in the middle of it.
    let (calls, waker) = Calls::waker();
    let mut first = semaphore.acquire();
    let unpolled = semaphore.acquire();
    let mut second = semaphore.acquire();
    let mut last = semaphore.acquire();
    for one in [&mut first, &mut second, &mut last] {
        assert!(poll(one, &waker).is_pending());
    }
    assert_eq!(semaphore.waiting(), 4);
    drop((unpolled, second));
    assert_eq!(semaphore.waiting(), 2);
    // Given a permit, woken, dropped before it is polled: the next one gets it.
    drop(permit);
    assert_eq!(calls.count(), 1);
    drop(first);
    assert_eq!(calls.count(), 2);
    drop(got(&mut last));
    assert_eq!((semaphore.available(), semaphore.waiting()), (1, 0));
    // A future that was ready has nothing left to give back.
    drop(last);
    assert_eq!(semaphore.available(), 1);
}

#[test]
fn a_waker_may_use_the_semaphore() {
    struct Tries(Semaphore, AtomicUsize);
    impl Wake for Tries {
        fn wake(self: Arc<Self>) {
            assert!(self.0.try_acquire().is_none());
            self.1.fetch_add(self.0.waiting() + 1, Ordering::SeqCst);
        }
    }
    watched(|| {
        let semaphore = Semaphore::new(1);
        let permit = semaphore.try_acquire().unwrap();
        let tries = Arc::new(Tries(semaphore.clone(), AtomicUsize::new(0)));
        let mut waiting = semaphore.acquire();
        assert!(poll(&mut waiting, &Waker::from(Arc::clone(&tries))).is_pending());
        drop(permit);
        assert_eq!(tries.1.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn a_panic_gives_the_permit_back() {
    on_pool(|pool| {
        let semaphore = Semaphore::new(1);
        let inside = semaphore.clone();
        let handle = pool.submit_async(async move {
            let _permit = inside.acquire().await;
            heist::yield_async().await;
            panic!("with a permit")
        });
        assert!(handle.join().unwrap_err().is_panic());
        assert_eq!(semaphore.available(), 1);
        let blocked = semaphore.clone();
        let handle = pool.submit(move || {
            let _permit = blocked.acquire_blocking();
            panic!("with a permit")
        });
        assert!(handle.join().unwrap_err().is_panic());
        assert_eq!(semaphore.available(), 1);
    });
}

#[test]
fn added_permits_go_to_those_who_wait() {
    let semaphore = Semaphore::new(0);
    let mut waiting: Vec<_> = (0..3).map(|_| semaphore.acquire()).collect();
    assert!(waiting.iter_mut().all(waits));
    semaphore.add_permits(2);
    let permits: Vec<_> = waiting[..2].iter_mut().map(got).collect();
    assert!(waits(&mut waiting[2]));
    semaphore.add_permits(5);
    drop(got(&mut waiting[2]));
    assert_eq!(semaphore.available(), 5);
    permits.into_iter().for_each(heist::Permit::forget);
    assert_eq!(semaphore.available(), 5);
}

#[test]
fn threads_outside_and_workers_block_for_permits() {
    on_pool(|pool| {
        let semaphore = Semaphore::new(2);
        let (inside, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let body = {
            let (semaphore, inside, most) =
                (semaphore.clone(), Arc::clone(&inside), Arc::clone(&most));
            move || {
                let _permit = semaphore.acquire_blocking();
                let now = inside.fetch_add(1, Ordering::SeqCst) + 1;
                most.fetch_max(now, Ordering::SeqCst);
                std::thread::yield_now();
                inside.fetch_sub(1, Ordering::SeqCst);
            }
        };
        let handles: Vec<_> = (0..100).map(|_| pool.submit(body.clone())).collect();
        std::thread::scope(|s| {
            for _ in 0..4 {
                s.spawn(|| (0..25).for_each(|_| body()));
            }
        });
        heist::try_join_all(handles).unwrap();
        let most = most.load(Ordering::SeqCst);
        assert!((1..=2).contains(&most), "{most}");
        assert_eq!((semaphore.available(), semaphore.waiting()), (2, 0));
    });
}

#[test]
fn a_worker_that_blocks_for_a_permit_leaves_its_place() {
    // The permit comes from a task that only another thread of the pool can run.
    watched(|| {
        let pool = pool_with(|b| b.num_threads(1));
        let semaphore = Semaphore::new(0);
        let giver = semaphore.clone();
        let own = pool.clone();
        let handle = pool.submit(move || {
            let other = giver.clone();
            own.spawn(move || other.add_permits(1));
            drop(giver.acquire_blocking());
        });
        handle.join().unwrap();
    });
}

#[test]
fn permits_survive_random_cancels() {
    on_pool(|pool| {
        let semaphore = Semaphore::new(3);
        let handles: Vec<_> = (0..2_000)
            .map(|n| {
                let semaphore = semaphore.clone();
                let handle = pool.submit_async(async move {
                    let _permit = semaphore.acquire().await;
                    if n % 5 == 0 {
                        heist::yield_async().await;
                    }
                    if n % 50 == 0 {
                        sleep(Duration::from_micros(20)).await;
                    }
                });
                if n % 3 == 0 {
                    handle.cancel();
                }
                handle
            })
            .collect();
        for handle in handles {
            if let Err(error) = handle.join() {
                assert!(error.is_cancelled());
            }
        }
        pool.wait_idle();
        assert_eq!((semaphore.available(), semaphore.waiting()), (3, 0));
        assert_balanced(pool);
    });
}

// ---- AsyncPool ----

/// Runs ten tasks of 50 ms, four at a time, and returns how long that takes.
fn ten_tasks(threads: &heist::ThreadPool) -> Duration {
    let pool = AsyncPool::new(threads, 4);
    let (inside, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let start = Instant::now();
    let handles: Vec<_> = (0..10)
        .map(|n| {
            let (inside, most) = (Arc::clone(&inside), Arc::clone(&most));
            pool.submit(async move {
                let now = inside.fetch_add(1, Ordering::SeqCst) + 1;
                most.fetch_max(now, Ordering::SeqCst);
                sleep(Duration::from_millis(50)).await;
                inside.fetch_sub(1, Ordering::SeqCst);
                n
            })
        })
        .collect();
    let mut peak = 0;
    while handles.iter().any(|handle| !handle.is_finished()) {
        peak = peak.max(pool.active());
        std::thread::yield_now();
    }
    let time = start.elapsed();
    let numbers = heist::try_join_all(handles).unwrap();
    assert_eq!(numbers, (0..10).collect::<Vec<_>>());
    assert_eq!((most.load(Ordering::SeqCst), peak), (4, 4));
    assert_eq!((pool.pending(), pool.active(), pool.limit()), (0, 0, 4));
    time
}

#[test]
fn ten_tasks_of_50_ms_four_at_a_time() {
    on_pool(|threads| {
        // Three rounds. On a busy machine a run takes longer, so one run of several is enough.
        let times: Vec<_> = (0..30)
            .map(|_| ten_tasks(threads))
            .take_while(|time| *time > Duration::from_millis(190))
            .collect();
        assert!(times.len() < 30, "{times:?}");
        assert!(times.iter().all(|time| *time >= Duration::from_millis(150)));
    });
}

#[test]
fn a_limit_of_0_is_a_clear_panic() {
    let threads = pool_with(|b| b);
    let text = panic_of(|| AsyncPool::new(&threads, 0));
    assert!(text.contains("limit of 0"), "{text}");
}

#[test]
fn futures_begin_in_the_order_of_their_submission() {
    on_pool(|threads| {
        let pool = AsyncPool::new(threads, 1);
        let door = Door::default();
        let order = Arc::new(Mutex::new(Vec::new()));
        let first = pool.submit(door.pass());
        let handles: Vec<_> = (0..50)
            .map(|n| {
                let order = Arc::clone(&order);
                pool.submit(async move {
                    order.lock().unwrap().push(n);
                    heist::yield_async().await;
                })
            })
            .collect();
        spin_until(|| pool.active() == 1);
        assert_eq!(pool.pending(), 50);
        door.open();
        first.join().unwrap();
        heist::try_join_all(handles).unwrap();
        assert_eq!(*order.lock().unwrap(), (0..50).collect::<Vec<_>>());
    });
}

#[test]
fn the_counts_are_exact_after_cancels() {
    on_pool(|threads| {
        let pool = AsyncPool::new(threads, 2);
        let ledger = Ledger::new(6);
        let door = Door::default();
        let handles: Vec<_> = (0..6)
            .map(|n| {
                let (passage, ticket) = (door.pass(), ledger.ticket(n));
                pool.submit(async move {
                    passage.await;
                    ticket.index()
                })
            })
            .collect();
        spin_until(|| (pool.active(), pool.pending()) == (2, 4));
        // One that waits.
        assert!(handles[4].cancel());
        spin_until(|| handles[4].is_finished());
        assert_eq!((pool.active(), pool.pending()), (2, 3));
        // One that has begun: the next one begins.
        assert!(handles[0].cancel());
        spin_until(|| handles[0].is_finished());
        spin_until(|| (pool.active(), pool.pending()) == (2, 2));
        door.open();
        for (n, handle) in handles.into_iter().enumerate() {
            match handle.join() {
                Ok(index) => assert_eq!(index, n),
                Err(error) => assert!(error.is_cancelled() && (n == 0 || n == 4)),
            }
        }
        assert_eq!((pool.active(), pool.pending()), (0, 0));
        ledger.assert_settled();
        threads.wait_idle();
        assert_balanced(threads);
    });
}

#[test]
fn a_queued_future_that_is_cancelled_never_counts_again() {
    on_pool(|threads| {
        let pool = AsyncPool::new(threads, 1);
        let held = hold_all(threads);
        let handles: Vec<_> = (0..10).map(|_| pool.submit(async {})).collect();
        assert_eq!((pool.active(), pool.pending()), (0, 10));
        assert!(handles.iter().step_by(2).all(heist::JoinHandle::cancel));
        held.open();
        block_on(pool.wait_idle());
        assert_eq!((pool.active(), pool.pending()), (0, 0));
        for (n, handle) in handles.into_iter().enumerate() {
            assert_eq!(handle.join().is_ok(), n % 2 == 1);
        }
    });
}

#[test]
fn the_counts_are_exact_after_panics() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("in a drop");
        }
    }
    on_pool(|threads| {
        let pool = AsyncPool::new(threads, 1);
        for _ in 0..3 {
            let polled = pool.submit(async { panic!("in a poll") });
            let made = pool.submit_with(|| -> std::future::Ready<()> { panic!("in the making") });
            let bomb = Bomb;
            let dropped = pool.submit(async move {
                let _bomb = bomb;
            });
            let good = pool.submit(async { 1 });
            assert!(polled.join().unwrap_err().is_panic());
            assert!(made.join().unwrap_err().is_panic());
            assert!(dropped.join().unwrap_err().is_panic());
            assert_eq!(good.join().unwrap(), 1);
            assert_eq!((pool.active(), pool.pending()), (0, 0));
        }
    });
}

#[test]
fn a_future_has_ended_when_its_handle_is_finished() {
    on_pool(|threads| {
        let pool = AsyncPool::new(threads, 3);
        for _ in 0..500 {
            pool.submit(async { heist::yield_async().await })
                .join()
                .unwrap();
            assert_eq!((pool.active(), pool.pending()), (0, 0));
        }
    });
}

#[test]
fn at_most_the_limit_of_the_values_exist() {
    struct Value(Arc<AtomicUsize>);
    impl Drop for Value {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }
    on_pool(|threads| {
        let pool = AsyncPool::new(threads, 3);
        let (live, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let handles: Vec<_> = (0..300)
            .map(|n| {
                let (live, most) = (Arc::clone(&live), Arc::clone(&most));
                pool.submit_with(move || {
                    most.fetch_max(live.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    let value = Value(live);
                    async move {
                        if n % 2 == 0 {
                            heist::yield_async().await;
                        }
                        drop(value);
                        n
                    }
                })
            })
            .collect();
        assert_eq!(
            heist::try_join_all(handles).unwrap(),
            (0..300).collect::<Vec<_>>()
        );
        assert!((1..=3).contains(&most.load(Ordering::SeqCst)));
        assert_eq!(live.load(Ordering::SeqCst), 0);
    });
}

#[test]
fn wait_idle_waits_for_pending_and_active_futures() {
    on_pool(|threads| {
        let pool = AsyncPool::new(threads, 1);
        // Nothing to wait for.
        block_on(pool.wait_idle());
        let door = Door::default();
        for _ in 0..5 {
            pool.submit(door.pass()).detach();
        }
        let ended = Arc::new(AtomicUsize::new(0));
        let waiters: Vec<_> = (0..3)
            .map(|_| {
                let (idle, ended) = (pool.wait_idle(), Arc::clone(&ended));
                threads.submit_async(async move {
                    idle.await;
                    ended.fetch_add(1, Ordering::SeqCst);
                })
            })
            .collect();
        // The three waiters and the one that is active; the others wait for their turn.
        spin_until(|| threads.stats().suspended == 3 + 5);
        assert_eq!(ended.load(Ordering::SeqCst), 0);
        // A dropped waiter is forgotten.
        drop(pool.wait_idle());
        door.open();
        // Those that begin later find the door open.
        heist::try_join_all(waiters).unwrap();
        assert_eq!((pool.active(), pool.pending()), (0, 0));
        pool.wait_idle_blocking();
    });
}

#[test]
fn clones_share_the_limit_and_other_pools_do_not() {
    on_pool(|threads| {
        let pool = AsyncPool::new(threads, 2);
        let (clone, other) = (pool.clone(), AsyncPool::new(threads, 1));
        let door = Door::default();
        let handles = [
            pool.submit(door.pass()),
            clone.submit(door.pass()),
            clone.submit(door.pass()),
            other.submit(door.pass()),
        ];
        spin_until(|| (pool.active(), pool.pending(), other.active()) == (2, 1, 1));
        assert_eq!((clone.active(), clone.pending(), clone.limit()), (2, 1, 2));
        assert!(format!("{pool:?}").contains("limit"), "{pool:?}");
        door.open();
        for handle in handles {
            handle.join().unwrap();
        }
    });
}

#[test]
fn a_future_submits_to_its_own_pool() {
    on_pool(|threads| {
        let pool = AsyncPool::new(threads, 1);
        let own = pool.clone();
        let outer = pool.submit(async move {
            // It has no turn before this one ends, so it is not awaited here.
            Some(own.submit(async { 2 }))
        });
        let inner = outer.join().unwrap().expect("a handle");
        assert_eq!(inner.join().unwrap(), 2);
    });
}

#[test]
fn the_end_of_the_threads_ends_what_waits_for_its_turn() {
    watched(|| {
        for now in [false, true] {
            let threads = pool_with(|b| b);
            let pool = AsyncPool::new(&threads, 1);
            let ledger = Ledger::new(4);
            let door = Door::default();
            let handles: Vec<_> = (0..4)
                .map(|n| {
                    let (passage, ticket) = (door.pass(), ledger.ticket(n));
                    pool.submit(async move {
                        passage.await;
                        ticket.index()
                    })
                })
                .collect();
            spin_until(|| pool.active() == 1);
            spin_until(|| threads.stats().suspended == 4);
            if now {
                assert_eq!(threads.shutdown_now(), 4);
            } else {
                door.open();
                threads.shutdown();
            }
            for handle in handles {
                assert_eq!(handle.join().is_err(), now);
            }
            assert_eq!((pool.active(), pool.pending()), (0, 0));
            ledger.assert_settled();
            // Refused, and not counted.
            assert!(pool.submit(async {}).join().unwrap_err().is_cancelled());
            assert_eq!((pool.active(), pool.pending()), (0, 0));
            pool.wait_idle_blocking();
        }
    });
}

#[test]
fn a_deadline_and_a_token_end_what_waits_for_a_permit() {
    on_pool(|threads| {
        let semaphore = Semaphore::new(1);
        let permit = semaphore.try_acquire().unwrap();
        let wait = || {
            let semaphore = semaphore.clone();
            async move { drop(semaphore.acquire().await) }
        };
        let token = heist::CancelToken::new();
        let timed = threads.task().deadline(SOON).submit_async(wait());
        let watched = threads.task().token(&token).submit_async(wait());
        let patient = threads.submit_async(wait());
        spin_until(|| semaphore.waiting() >= 2);
        token.cancel();
        assert!(timed.join().unwrap_err().is_timeout());
        assert!(watched.join().unwrap_err().is_cancelled());
        spin_until(|| semaphore.waiting() == 1);
        drop(permit);
        assert!(patient.wait_timeout(LONG));
        patient.join().unwrap();
        assert_eq!(semaphore.available(), 1);
    });
}

#[test]
fn closures_and_futures_share_a_semaphore() {
    on_pool(|pool| {
        let semaphore = Semaphore::new(1);
        let held = Held(Gate::default());
        let (gate, inside) = (held.0.clone(), semaphore.clone());
        let closure = pool.submit(move || {
            let _permit = inside.acquire_blocking();
            heist::blocking(|| gate.pass());
        });
        spin_until(|| semaphore.available() == 0);
        let inside = semaphore.clone();
        let future = pool.submit_async(async move { drop(inside.acquire().await) });
        spin_until(|| semaphore.waiting() == 1);
        held.open();
        closure.join().unwrap();
        future.join().unwrap();
        assert_eq!(semaphore.available(), 1);
        assert!(threads() > 0);
    });
}
