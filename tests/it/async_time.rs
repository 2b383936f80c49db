//! Time in async code: `block_on`, sleeps, time limits, closures that run later or repeatedly.

use crate::support::{
    Door, Gate, LONG, Ledger, SOON, assert_balanced, hold_all, on_pool, panic_of, pool_with,
    single, spin_until, watched,
};
use heist::{ThreadPool, block_on, sleep, sleep_until, timeout};
use std::future::{Future, pending, poll_fn, ready};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

/// A time that a test does not wait for.
const NEVER: Duration = Duration::from_secs(3_600);
const TICK: Duration = Duration::from_millis(2);

#[derive(Default)]
struct Calls(AtomicUsize);

impl Wake for Calls {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn poll_once<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(waker))
}

// ---- block_on ----

#[test]
fn block_on_returns_the_value_of_a_future() {
    watched(|| {
        let text = String::from("borrowed");
        assert_eq!(block_on(async { text.len() }), 8);
        let not_send = std::rc::Rc::new(3);
        assert_eq!(block_on(async { *not_send }), 3);
        assert_eq!(block_on(ready(1)), 1);
    });
}

#[test]
fn block_on_is_woken_from_another_thread_and_from_its_own_poll() {
    watched(|| {
        let door = Door::default();
        let opener = door.clone();
        let thread = std::thread::spawn(move || {
            opener.waker();
            opener.open();
        });
        block_on(door.pass());
        thread.join().unwrap();
        let mut polls = 0;
        block_on(poll_fn(|context| {
            polls += 1;
            context.waker().wake_by_ref();
            if polls < 1_000 {
                Poll::Pending
            } else {
                Poll::Ready(())
            }
        }));
        assert_eq!(polls, 1_000);
    });
}

#[test]
fn a_panic_reaches_the_caller_of_block_on() {
    watched(|| {
        assert_eq!(
            panic_of(|| block_on(async { panic!("in the future") })),
            "in the future"
        );
        assert_eq!(block_on(async { 1 }), 1);
    });
}

#[test]
fn block_on_nests() {
    watched(|| {
        let n = block_on(async {
            let inner = block_on(async {
                sleep(TICK).await;
                block_on(async { 3 })
            });
            sleep(TICK).await;
            inner + 1
        });
        assert_eq!(n, 4);
    });
}

#[test]
fn block_on_nests_in_a_task() {
    on_pool(|pool| {
        let own = pool.clone();
        let handle = pool.submit_async(async move {
            let door = Door::default();
            let opener = door.clone();
            let other = own.submit(move || opener.open());
            block_on(async {
                block_on(door.pass());
                sleep(TICK).await;
            });
            other.await.unwrap();
            5
        });
        assert_eq!(handle.join().unwrap(), 5);
    });
}

#[test]
fn block_on_in_a_task_of_a_pool_of_one_thread() {
    watched(|| {
        let pool = pool_with(|b| b.num_threads(1));
        let own = pool.clone();
        let handle = pool.submit(move || {
            let inner = own.submit(|| 6);
            let slow = own.submit_async(async {
                sleep(TICK).await;
                1
            });
            block_on(async { inner.await.unwrap() + slow.await.unwrap() })
        });
        assert_eq!(handle.join().unwrap(), 7);
        // Without a spare thread, what needs no other thread of the pool still works.
        let [_, pool] = single();
        let handle = pool.submit(|| {
            block_on(async {
                sleep(TICK).await;
                block_on(heist::yield_async());
                4
            })
        });
        assert_eq!(handle.join().unwrap(), 4);
    });
}

// ---- sleep ----

#[test]
fn a_sleep_takes_at_least_its_time() {
    watched(|| {
        for ms in [0, 1, 5, 20] {
            let time = Duration::from_millis(ms);
            let start = Instant::now();
            block_on(sleep(time));
            assert!(start.elapsed() >= time);
        }
        let until = Instant::now() + SOON;
        let asleep = sleep_until(until);
        assert_eq!(asleep.deadline(), Some(until));
        block_on(asleep);
        assert!(Instant::now() >= until);
        assert!(!sleep(LONG).is_elapsed());
    });
}

#[test]
fn a_time_in_the_past_is_ready_at_the_first_poll() {
    let waker = Waker::noop();
    let past = Instant::now() - Duration::from_secs(1);
    assert!(poll_once(&mut sleep_until(past), waker).is_ready());
    assert!(poll_once(&mut sleep(Duration::ZERO), waker).is_ready());
    assert!(sleep_until(past).is_elapsed());
}

#[test]
fn a_sleep_begins_when_it_is_made_and_not_when_it_is_polled() {
    watched(|| {
        let mut asleep = sleep(TICK);
        std::thread::sleep(TICK);
        assert!(poll_once(&mut asleep, Waker::noop()).is_ready());
    });
}

#[test]
fn the_longest_time_never_passes() {
    watched(|| {
        let mut asleep = sleep(Duration::MAX);
        assert_eq!(asleep.deadline(), None);
        assert!(poll_once(&mut asleep, Waker::noop()).is_pending());
        assert!(!asleep.is_elapsed());
        let limited = timeout(Duration::MAX, async {
            sleep(TICK).await;
            2
        });
        assert_eq!(block_on(limited), Ok(2));
        let pool = pool_with(|b| b);
        let later = pool.delay(Duration::MAX, || 1);
        let every = pool.every(Duration::MAX, || unreachable!("never"));
        spin_until(|| pool.stats().suspended == 2);
        assert!(later.cancel() && every.cancel());
        assert!(later.join().unwrap_err().is_cancelled());
        assert!(every.join().is_cancelled());
    });
}

#[test]
fn a_dropped_sleep_wakes_nobody() {
    watched(|| {
        let calls = Arc::new(Calls::default());
        let waker = Waker::from(Arc::clone(&calls));
        let asleep: Vec<_> = (0..100)
            .map(|_| {
                let mut asleep = sleep(SOON * 10);
                assert!(poll_once(&mut asleep, &waker).is_pending());
                asleep
            })
            .collect();
        drop(asleep);
        // The timer has nothing of the waker any more.
        drop(waker);
        block_on(sleep(SOON * 11));
        assert_eq!(calls.0.load(Ordering::SeqCst), 0);
        assert_eq!(Arc::strong_count(&calls), 1);
    });
}

#[test]
fn a_sleep_wakes_the_waker_of_its_last_poll() {
    watched(|| {
        let calls = [Arc::new(Calls::default()), Arc::new(Calls::default())];
        let mut asleep = sleep(SOON * 10);
        for calls in &calls {
            let waker = Waker::from(Arc::clone(calls));
            assert!(poll_once(&mut asleep, &waker).is_pending());
        }
        spin_until(|| calls[1].0.load(Ordering::SeqCst) == 1);
        assert!(poll_once(&mut asleep, Waker::noop()).is_ready());
        assert_eq!(calls[0].0.load(Ordering::SeqCst), 0);
    });
}

#[test]
fn a_waker_that_panics_does_not_end_the_timer() {
    struct Bomb;
    impl Wake for Bomb {
        fn wake(self: Arc<Self>) {
            panic!("in a waker");
        }
    }
    watched(|| {
        let waker = Waker::from(Arc::new(Bomb));
        let mut asleep = sleep(TICK);
        assert!(poll_once(&mut asleep, &waker).is_pending());
        block_on(sleep(SOON));
        block_on(sleep(TICK));
    });
}

#[test]
fn a_million_sleeps() {
    watched(|| {
        let waker = Waker::noop();
        let mut asleep: Vec<_> = (0..1_000_000_u64)
            .map(|n| sleep(NEVER + Duration::from_micros(n % 977)))
            .collect();
        for one in &mut asleep {
            assert!(poll_once(one, waker).is_pending());
        }
        // A short one is not late because of them.
        let start = Instant::now();
        block_on(sleep(TICK));
        let late = start.elapsed() - TICK;
        drop(asleep);
        assert!(late < Duration::from_secs(10), "{late:?}");
        block_on(sleep(TICK));
    });
}

#[test]
fn many_tasks_sleep_at_the_same_time() {
    on_pool(|pool| {
        let start = Instant::now();
        let handles: Vec<_> = (0..10_000)
            .map(|n| {
                pool.submit_async(async move {
                    sleep(SOON).await;
                    n
                })
            })
            .collect();
        for (n, handle) in handles.into_iter().enumerate() {
            assert_eq!(handle.join().unwrap(), n);
        }
        assert!(start.elapsed() >= SOON);
        assert_balanced(pool);
        spin_until(|| pool.stats().suspended == 0);
    });
}

// ---- timeout ----

#[test]
fn a_time_limit_ends_what_takes_longer() {
    watched(|| {
        let start = Instant::now();
        let late = block_on(timeout(SOON, pending::<()>()));
        assert!(start.elapsed() >= SOON);
        let error = late.unwrap_err();
        assert!(!error.to_string().is_empty());
        let error: std::io::Error = error.into();
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
        assert_eq!(block_on(timeout(NEVER, async { 4 })), Ok(4));
        assert_eq!(block_on(timeout(Duration::ZERO, async { 4 })), Ok(4));
        assert!(block_on(timeout(Duration::ZERO, pending::<()>())).is_err());
        let nested = timeout(NEVER, timeout(TICK, pending::<()>()));
        assert!(block_on(nested).unwrap().is_err());
    });
}

#[test]
fn a_time_limit_polls_its_future_no_more_and_drops_it_once() {
    watched(|| {
        let ledger = Ledger::new(1);
        let ticket = ledger.ticket(0);
        let polls = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&polls);
        let limited = timeout(
            TICK,
            poll_fn(move |context| {
                let _ticket = &ticket;
                count.fetch_add(1, Ordering::SeqCst);
                context.waker().wake_by_ref();
                Poll::<()>::Pending
            }),
        );
        assert!(block_on(limited).is_err());
        ledger.assert_settled();
        assert!(polls.load(Ordering::SeqCst) >= 1);
    });
}

#[test]
fn a_panic_in_a_time_limit_is_the_callers() {
    watched(|| {
        let limited = timeout(NEVER, async { panic!("inside") });
        assert_eq!(panic_of(|| block_on(limited)), "inside");
    });
}

// ---- delay ----

#[test]
fn a_delayed_closure_runs_after_its_time() {
    on_pool(|pool| {
        let start = Instant::now();
        let later = pool.delay(SOON, move || start.elapsed());
        assert!(later.join().unwrap() >= SOON);
        assert_eq!(pool.delay(Duration::ZERO, || 3).join().unwrap(), 3);
        let name = pool.delay(TICK, || std::thread::current().name().map(str::to_owned));
        assert!(name.join().unwrap().unwrap().starts_with("heist-"));
        let error = pool.delay(TICK, || panic!("late")).join().unwrap_err();
        assert!(error.is_panic());
        assert_balanced(pool);
    });
}

#[test]
fn a_delayed_closure_that_is_cancelled_is_dropped() {
    on_pool(|pool| {
        let ledger = Ledger::new(2);
        let delayed = |n, time| {
            let ticket = ledger.ticket(n);
            pool.delay(time, move || ticket.index())
        };
        let later = delayed(0, NEVER);
        spin_until(|| pool.stats().suspended == 1);
        assert!(later.cancel());
        assert!(later.join().unwrap_err().is_cancelled());
        // Cancelled while no worker has come to it.
        let held = hold_all(pool);
        let later = delayed(1, TICK);
        assert!(later.cancel());
        held.open();
        assert!(later.join().unwrap_err().is_cancelled());
        ledger.assert_settled();
        pool.wait_idle();
        assert_balanced(pool);
    });
}

#[test]
fn the_end_of_a_pool_and_delayed_closures() {
    watched(|| {
        // A graceful shutdown waits.
        let pool = pool_with(|b| b);
        let later = pool.delay(SOON, || 1);
        pool.shutdown();
        assert!(later.is_finished());
        assert_eq!(later.join().unwrap(), 1);
        assert!(pool.delay(TICK, || 2).join().unwrap_err().is_cancelled());
        let pool = pool_with(|b| b);
        let later = pool.delay(SOON, || 1);
        drop(pool);
        assert_eq!(later.join().unwrap(), 1);
        // The others do not.
        let pool = pool_with(|b| b);
        let later = pool.delay(NEVER, || 1);
        spin_until(|| pool.stats().suspended == 1);
        let error = pool.shutdown_timeout(SOON).unwrap_err();
        assert_eq!(error.suspended().len(), 1);
        assert_eq!(pool.shutdown_now(), 1);
        assert!(later.join().unwrap_err().is_cancelled());
    });
}

// ---- every ----

/// Counts its runs, and lets a test wait for them.
#[derive(Clone, Default)]
struct Runs(Arc<Mutex<Vec<Instant>>>);

impl Runs {
    fn add(&self) {
        self.0.lock().unwrap().push(Instant::now());
    }

    fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

#[test]
fn a_repeated_closure_keeps_its_rate() {
    on_pool(|pool| {
        let runs = Runs::default();
        let inner = runs.clone();
        let period = Duration::from_millis(10);
        let start = Instant::now();
        let every = pool.every(period, move || inner.add());
        spin_until(|| runs.count() >= 10);
        assert!(every.cancel());
        assert!(every.join().is_cancelled());
        let times = runs.0.lock().unwrap();
        for (n, time) in times.iter().enumerate() {
            // Run number n is never before its time, even if earlier ones were late.
            assert!(*time - start >= period * (n as u32 + 1));
        }
    });
}

#[test]
fn a_run_never_overlaps_the_one_before_and_missed_runs_are_counted() {
    on_pool(|pool| {
        let (inside, overlaps) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicBool::new(false)),
        );
        let (flag, seen) = (Arc::clone(&inside), Arc::clone(&overlaps));
        let runs = Runs::default();
        let inner = runs.clone();
        let every = pool.every(Duration::from_millis(1), move || {
            if flag.swap(true, Ordering::SeqCst) {
                seen.store(true, Ordering::SeqCst);
            }
            inner.add();
            std::thread::sleep(Duration::from_micros(4_500));
            flag.store(false, Ordering::SeqCst);
        });
        spin_until(|| every.runs() >= 5);
        let (missed, ended) = (every.missed(), every.runs());
        assert!(missed >= 3 * (ended - 1), "{missed} of {ended}");
        assert!(!overlaps.load(Ordering::SeqCst));
        drop(every);
    });
}

#[test]
fn a_run_that_is_held_up_skips_what_it_misses_and_keeps_the_beat() {
    on_pool(|pool| {
        let period = Duration::from_millis(5);
        let (begun, go) = (Gate::default(), Gate::default());
        let (first, gate) = (begun.clone(), go.clone());
        let runs = Runs::default();
        let inner = runs.clone();
        let start = Instant::now();
        let every = pool.every(period, move || {
            inner.add();
            first.open();
            gate.pass();
        });
        begun.pass();
        std::thread::sleep(period * 4);
        assert_eq!(runs.count(), 1);
        go.open();
        spin_until(|| every.runs() >= 3);
        let missed = every.missed();
        assert!(missed >= 3, "{missed}");
        let at = runs.0.lock().unwrap()[1] - start;
        // The second run is number 2 + missed of the fixed rate.
        assert!(at >= period * 5, "{at:?}");
        drop(every);
    });
}

#[test]
fn a_panic_stops_a_repeated_closure_and_is_its_error() {
    on_pool(|pool| {
        let ledger = Ledger::new(1);
        let ticket = ledger.ticket(0);
        let mut left = 3;
        let every = pool.every(TICK, move || {
            let _ticket = &ticket;
            left -= 1;
            assert!(left > 0, "no more");
        });
        spin_until(|| every.is_finished());
        assert_eq!(every.runs(), 2);
        assert!(!every.cancel());
        let error = every.join();
        assert!(
            error.is_panic() && error.to_string().contains("no more"),
            "{error}"
        );
        ledger.assert_settled();
    });
}

#[test]
fn a_cancel_and_a_drop_stop_a_repeated_closure() {
    on_pool(|pool| {
        for drops in [false, true] {
            let ledger = Ledger::new(1);
            let ticket = ledger.ticket(0);
            let runs = Runs::default();
            let inner = runs.clone();
            let every = pool.every(TICK, move || {
                let _ticket = &ticket;
                inner.add();
            });
            spin_until(|| runs.count() >= 2);
            if drops {
                drop(every);
            } else {
                assert!(every.cancel());
                assert!(every.cancel(), "it was cancelled already");
                assert!(every.join().is_cancelled());
            }
            // The closure is dropped, so it never runs again.
            spin_until(|| ledger.dropped() == 1);
            let count = runs.count();
            block_on(sleep(TICK * 3));
            assert_eq!(runs.count(), count);
        }
    });
}

#[test]
fn a_cancel_during_a_run_lets_it_end() {
    on_pool(|pool| {
        let (begun, go) = (Gate::default(), Gate::default());
        let (first, gate) = (begun.clone(), go.clone());
        let done = Arc::new(AtomicUsize::new(0));
        let ends = Arc::clone(&done);
        let every = pool.every(TICK, move || {
            first.open();
            gate.pass();
            ends.fetch_add(1, Ordering::SeqCst);
        });
        begun.pass();
        assert!(every.cancel());
        assert!(!every.is_finished());
        go.open();
        assert!(every.join().is_cancelled());
        assert_eq!(done.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn a_period_of_zero_is_a_clear_panic() {
    let pool = pool_with(|b| b);
    let text = panic_of(|| pool.every(Duration::ZERO, || ()));
    assert!(text.contains("every") && text.contains("zero"), "{text}");
}

#[test]
fn each_end_of_a_pool_stops_a_repeated_closure() {
    fn end(pool: ThreadPool, way: usize) {
        match way {
            0 => pool.shutdown(),
            1 => drop(pool.shutdown_now()),
            2 => pool.shutdown_timeout(LONG).unwrap(),
            3 => pool.close(),
            4 => drop(pool.close_now()),
            5 => drop(pool),
            _ => {
                let own = pool.clone();
                pool.submit(move || own.close()).join().unwrap();
            }
        }
    }
    watched(|| {
        for way in 0..7 {
            for running in [false, true] {
                let pool = pool_with(|b| b);
                let ledger = Ledger::new(1);
                let ticket = ledger.ticket(0);
                let runs = Runs::default();
                let inner = runs.clone();
                let period = if running {
                    Duration::from_micros(50)
                } else {
                    NEVER
                };
                let every = pool.every(period, move || {
                    let _ticket = &ticket;
                    inner.add();
                });
                if running {
                    spin_until(|| runs.count() >= 2);
                } else {
                    spin_until(|| pool.stats().suspended == 1);
                }
                end(pool, way);
                let error = every.join();
                assert!(error.is_cancelled(), "{way}: {error}");
                ledger.assert_settled();
            }
        }
    });
}

#[test]
fn a_repeated_closure_that_holds_its_pool_ends_with_its_handle() {
    watched(|| {
        let pool = pool_with(|b| b);
        let own = pool.clone();
        let runs = Runs::default();
        let inner = runs.clone();
        let every = pool.every(TICK, move || {
            own.submit(|| ()).join().unwrap();
            inner.add();
        });
        spin_until(|| runs.count() >= 2);
        drop(pool);
        let before = runs.count();
        spin_until(|| runs.count() > before);
        assert!(every.cancel());
        assert!(every.join().is_cancelled());
    });
}

#[test]
fn a_repeated_closure_of_a_closed_pool_never_runs() {
    watched(|| {
        let pool = pool_with(|b| b);
        pool.shutdown();
        let every = pool.every(TICK, || unreachable!("the pool was closed"));
        assert!(every.is_finished());
        assert!(every.join().is_cancelled());
    });
}
