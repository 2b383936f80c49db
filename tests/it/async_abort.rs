//! Futures that are cancelled, or whose pool ends first, and what they hold.
//!
//! By meaning, these are the cases of async-executor's `drop`, `different_executors` and `panic_prop`, of tokio's `task_abort` and of the parts of its `rt_basic` and
//! `rt_common` on shutdown that the other files do not have.

use crate::support::{
    Door, Ledger, SOON, assert_balanced, on_pool, on_pool_of, pool_with, spin_until, suspended,
    watched,
};
use heist::{JoinHandle, ThreadPool};
use std::future::{pending, poll_fn};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

/// Calls a closure when it is dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

// ---- cancels ----

#[test]
fn a_cancelled_future_is_dropped_although_its_handle_is_gone() {
    on_pool(|pool| {
        for way in 0..3 {
            let ledger = Ledger::new(1);
            let ticket = ledger.ticket(0);
            let handle = pool.submit_async(async move {
                let _ticket = ticket;
                pending::<()>().await;
            });
            spin_until(|| pool.stats().suspended == 1);
            match way {
                0 => {
                    assert!(handle.cancel());
                    drop(handle);
                }
                1 => drop(handle.abort_on_drop()),
                _ => std::thread::spawn(move || assert!(handle.cancel()))
                    .join()
                    .unwrap(),
            }
            pool.wait_idle();
            ledger.assert_settled();
            assert_balanced(pool);
        }
        assert_eq!(pool.stats().cancelled, 3);
    });
}

#[test]
fn who_awaits_a_future_that_another_thread_cancels_finds_it_dropped() {
    on_pool(|pool| {
        for _ in 0..100 {
            let ledger = Ledger::new(1);
            let ticket = ledger.ticket(0);
            let handle = pool.submit_async(async move {
                let _ticket = ticket;
                pending::<()>().await;
            });
            let handle = std::thread::spawn(move || {
                handle.cancel();
                handle
            });
            let handle = handle.join().unwrap();
            let seen = ledger.clone();
            let awaits = pool.submit_async(async move {
                let error = handle.await.unwrap_err();
                (error.is_cancelled(), seen.dropped())
            });
            assert_eq!(awaits.join().unwrap(), (true, 1));
        }
    });
}

#[test]
fn a_cancelled_sleep_is_dropped_at_once() {
    on_pool(|pool| {
        let ledger = Ledger::new(1);
        let ticket = ledger.ticket(0);
        let handle = pool.submit_async(async move {
            let _ticket = ticket;
            heist::sleep(crate::support::LONG).await;
        });
        spin_until(|| pool.stats().suspended == 1);
        handle.cancel();
        let error = heist::block_on(handle).unwrap_err();
        assert!(error.is_cancelled() && !error.is_panic() && !error.is_timeout());
        ledger.assert_settled();
    });
}

#[test]
fn a_destructor_that_panics_after_a_cancel_stays_inside() {
    on_pool(|pool| {
        for joined in [false, true] {
            let before = pool.stats().lost_panics;
            let bomb = OnDrop(|| panic!("in the drop"));
            let handle = pool.submit_async(async move {
                let _bomb = bomb;
                pending::<()>().await;
            });
            spin_until(|| pool.stats().suspended == 1);
            handle.cancel();
            if joined {
                assert!(handle.join().unwrap_err().is_cancelled());
            } else {
                drop(handle);
            }
            pool.wait_idle();
            assert_eq!(pool.stats().lost_panics, before + 1);
            // The worker goes on.
            assert_eq!(pool.submit_async(async { 1 }).join().unwrap(), 1);
            assert_balanced(pool);
        }
    });
}

#[test]
fn the_error_of_a_poll_that_panicked_shows_its_message() {
    on_pool(|pool| {
        let value = 1234;
        let formatted = pool.submit_async(async move { panic!("formatted {value}") });
        let constant = pool.submit_async(async { panic!("constant") });
        let other = pool.submit_async(async move { std::panic::panic_any(value) });
        for (handle, message) in [(formatted, "formatted 1234"), (constant, "constant")] {
            let error: heist::JoinError = JoinHandle::<()>::join(handle).unwrap_err();
            assert!(error.to_string().contains(message), "{error}");
            assert!(format!("{error:?}").contains(message), "{error:?}");
        }
        let error = JoinHandle::<()>::join(other).unwrap_err();
        assert!(error.is_panic() && !error.to_string().is_empty());
        assert_eq!(*error.into_panic().downcast::<i32>().unwrap(), value);
    });
}

// ---- results and pools ----

#[test]
fn a_result_outlives_its_pool() {
    watched(|| {
        let pool = pool_with(|b| b);
        let handle = pool.submit_async(async {
            heist::yield_async().await;
            String::from("hello")
        });
        spin_until(|| handle.is_finished());
        drop(pool);
        assert_eq!(handle.join().unwrap(), "hello");
    });
}

#[test]
fn a_result_that_nobody_reads_is_dropped_with_its_handle() {
    watched(|| {
        for pool_first in [false, true] {
            let ledger = Ledger::new(1);
            let ticket = ledger.ticket(0);
            let pool = pool_with(|b| b);
            let handle = pool.submit_async(async move { ticket });
            spin_until(|| handle.is_finished());
            assert_eq!(ledger.dropped(), 0);
            if pool_first {
                drop(pool);
                assert_eq!(ledger.dropped(), 0);
                drop(handle);
            } else {
                drop(handle);
                ledger.assert_settled();
                drop(pool);
            }
            ledger.assert_settled();
        }
    });
}

#[test]
fn a_leaked_pool_goes_on() {
    watched(|| {
        let pool = pool_with(|b| b);
        let ledger = Ledger::new(1);
        let ticket = ledger.ticket(0);
        let waker = Arc::new(Mutex::new(None::<Waker>));
        let (seen, mut polls) = (Arc::clone(&waker), 0);
        let handle = pool.submit_async(poll_fn(move |context| {
            polls += 1;
            *seen.lock().unwrap() = Some(context.waker().clone());
            match polls {
                1 => Poll::Pending,
                _ => Poll::Ready(ticket.index()),
            }
        }));
        spin_until(|| pool.stats().suspended == 1);
        std::mem::forget(pool);
        assert_eq!(ledger.dropped(), 0);
        assert!(!handle.is_finished());
        waker.lock().unwrap().take().unwrap().wake();
        assert_eq!(handle.join().unwrap(), 0);
        ledger.assert_settled();
    });
}

#[test]
fn each_poll_of_a_future_is_on_its_own_pool() {
    watched(|| {
        let named = |name: &'static str| {
            pool_with(|b| b.thread_name(move |index| format!("{name}{index}")))
        };
        let (own, other) = (named("own"), named("other"));
        let names = Arc::new(Mutex::new(Vec::new()));
        let waker = Arc::new(Mutex::new(None::<Waker>));
        let (seen, mine, mut polls) = (Arc::clone(&names), Arc::clone(&waker), 0);
        let handle = own.submit_async(poll_fn(move |context| {
            let name = std::thread::current().name().unwrap().to_owned();
            seen.lock().unwrap().push(name);
            polls += 1;
            if polls == 20 {
                return Poll::Ready(());
            }
            *mine.lock().unwrap() = Some(context.waker().clone());
            Poll::Pending
        }));
        while !handle.is_finished() {
            let waker = waker.lock().unwrap().take();
            if let Some(waker) = waker {
                other.submit(move || waker.wake()).join().unwrap();
            }
            std::thread::yield_now();
        }
        let names = names.lock().unwrap();
        assert_eq!(names.len(), 20);
        assert!(
            names.iter().all(|name| name.starts_with("own")),
            "{names:?}"
        );
    });
}

// ---- shutdown ----

#[test]
fn futures_that_a_shutdown_drops_see_their_pool() {
    watched(|| {
        let pool = pool_with(|b| b);
        let seen = Arc::new(AtomicBool::new(false));
        let inside = Arc::clone(&seen);
        let guard = OnDrop(move || {
            inside.store(ThreadPool::current().is_some(), Ordering::SeqCst);
        });
        pool.spawn_async(async move {
            let _guard = guard;
            pending::<()>().await;
        });
        spin_until(|| pool.stats().suspended == 1);
        assert_eq!(pool.shutdown_now(), 1);
        assert!(seen.load(Ordering::SeqCst));
    });
}

/// Two futures await a promise that the other one holds, so that each drop wakes the other future.
#[test]
fn futures_that_wake_each_other_in_their_drops_at_a_shutdown() {
    watched(|| {
        for _ in 0..50 {
            let pool = pool_with(|b| b);
            let ledger = Ledger::new(2);
            let (first, awaits_first) = heist::promise::<()>();
            let (second, awaits_second) = heist::promise::<()>();
            for (index, handle, promise) in [(0, awaits_first, second), (1, awaits_second, first)] {
                let ticket = ledger.ticket(index);
                pool.spawn_async(async move {
                    let _held = (ticket, promise);
                    let _ = handle.await;
                });
            }
            spin_until(|| pool.stats().suspended == 2);
            pool.shutdown_now();
            ledger.assert_settled();
            assert_balanced(&pool);
        }
    });
}

/// A chain of futures, each of which completes what the one before awaits when it is dropped.
#[test]
fn a_chain_of_drops_at_a_shutdown() {
    watched(|| {
        let pool = pool_with(|b| b);
        let length = 100;
        let ledger = Ledger::new(length);
        let (first, mut awaited) = heist::promise::<()>();
        for ticket in ledger.tickets() {
            let (promise, next) = heist::promise::<()>();
            let waits = std::mem::replace(&mut awaited, next);
            pool.spawn_async(async move {
                let _held = (ticket, promise);
                let _ = waits.await;
            });
        }
        spin_until(|| pool.stats().suspended == length);
        pool.shutdown_now();
        ledger.assert_settled();
        assert!(awaited.join().is_err());
        drop(first);
        assert_balanced(&pool);
    });
}

/// A future wakes another one while it is dropped, in a lock that the other one's drop takes too.
#[test]
fn a_wake_in_a_drop_that_holds_a_lock() {
    watched(|| {
        let pool = pool_with(|b| b.num_threads(1));
        let shared = Arc::new(Mutex::new(None::<Waker>));
        let dropped = Arc::new(AtomicUsize::new(0));
        for wakes in [false, true] {
            let (shared, dropped) = (Arc::clone(&shared), Arc::clone(&dropped));
            let (own, keeps) = (Arc::clone(&shared), !wakes);
            let guard = OnDrop(move || {
                let mut waker = shared.lock().unwrap();
                if wakes && let Some(waker) = waker.take() {
                    waker.wake();
                }
                dropped.fetch_add(1, Ordering::SeqCst);
            });
            pool.spawn_async(poll_fn(move |context| {
                let _guard = &guard;
                if keeps {
                    *own.lock().unwrap() = Some(context.waker().clone());
                }
                Poll::Pending
            }));
        }
        spin_until(|| pool.stats().suspended == 2);
        pool.shutdown_now();
        assert_eq!(dropped.load(Ordering::SeqCst), 2);
        assert_balanced(&pool);
    });
}

/// Another thread completes what many futures await while their pool ends.
#[test]
fn many_wakes_during_a_shutdown() {
    watched(|| {
        for way in 0..3 {
            let pool = pool_with(|b| b);
            let ledger = Ledger::new(3_000);
            let mut promises = Vec::new();
            for ticket in ledger.tickets() {
                let (promise, handle) = heist::promise::<()>();
                promises.push(promise);
                pool.spawn_async(async move {
                    let _ticket = ticket;
                    let _ = handle.await;
                });
            }
            let begun = Arc::new(AtomicBool::new(false));
            let begins = Arc::clone(&begun);
            let other = std::thread::spawn(move || {
                begins.store(true, Ordering::Release);
                for promise in promises {
                    let _ = promise.resolve(());
                }
            });
            spin_until(|| begun.load(Ordering::Acquire));
            match way {
                0 => pool.shutdown(),
                1 => drop(pool.shutdown_now()),
                _ => drop(pool),
            }
            other.join().unwrap();
            ledger.assert_settled();
        }
    });
}

#[test]
fn the_threads_of_a_pool_end_with_its_suspended_futures() {
    watched(|| {
        for _ in 0..50 {
            let (started, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
            let (starts, ends) = (Arc::clone(&started), Arc::clone(&ended));
            let pool = pool_with(|b| {
                b.on_thread_start(move |_| {
                    starts.fetch_add(1, Ordering::SeqCst);
                })
                .on_thread_exit(move |_| {
                    ends.fetch_add(1, Ordering::SeqCst);
                })
            });
            let ledger = Ledger::new(1);
            let ticket = ledger.ticket(0);
            pool.spawn_async(async move {
                let _ticket = ticket;
                pending::<()>().await;
            });
            pool.shutdown_now();
            ledger.assert_settled();
            let threads = started.load(Ordering::SeqCst);
            assert_eq!(ended.load(Ordering::SeqCst), threads);
        }
    });
}

/// During a graceful shutdown, a worker blocks until another future has slept and ended.
#[test]
fn a_shutdown_goes_on_with_futures_while_a_worker_blocks() {
    watched(|| {
        let pool = pool_with(|b| b.num_threads(1).spare_threads(1));
        let (sender, receiver) = std::sync::mpsc::channel::<()>();
        let blocks = pool.submit_async(async move { heist::blocking(|| receiver.recv().is_err()) });
        pool.spawn_async(async move {
            heist::sleep(SOON).await;
            drop(sender);
        });
        pool.shutdown();
        assert!(blocks.join().unwrap());
    });
}

#[test]
fn other_pools_end_inside_a_future() {
    on_pool(|pool| {
        let outer = pool.submit_async(async {
            let inner = |threads| pool_with(|b| b.num_threads(threads));
            let dropped = inner(1);
            let handle = dropped.submit_async(async { 1 });
            drop(dropped);
            let sum = handle.await.unwrap();
            let ended = inner(2);
            ended.spawn(|| ());
            ended.shutdown();
            let stopped = inner(2);
            let never = stopped.submit_async(pending::<()>());
            stopped.shutdown_now();
            assert!(never.await.unwrap_err().is_cancelled());
            let late = inner(1);
            let door = Door::default();
            let waits = suspended(&late, &door);
            let error = late.shutdown_timeout(std::time::Duration::ZERO);
            assert!(error.unwrap_err().to_string().contains('1'));
            door.open();
            waits.await.unwrap();
            heist::yield_async().await;
            sum
        });
        assert_eq!(outer.join().unwrap(), 1);
    });
}

// ---- endless work ----

/// A future submits its own successor, forever.
#[test]
fn futures_that_submit_their_successors_do_not_starve_others() {
    fn successor(count: Arc<AtomicUsize>) {
        count.fetch_add(1, Ordering::SeqCst);
        heist::spawn_async(async move { successor(count) });
    }
    on_pool_of(1, |pool| {
        let count = Arc::new(AtomicUsize::new(0));
        let first = Arc::clone(&count);
        pool.spawn_async(async move { successor(first) });
        spin_until(|| count.load(Ordering::SeqCst) > 1_000);
        for _ in 0..100 {
            pool.submit(|| ()).join().unwrap();
            pool.submit_async(heist::yield_async()).join().unwrap();
        }
        pool.shutdown_now();
        assert_eq!(Arc::strong_count(&count), 1);
        assert_balanced(pool);
    });
}
