//! Sleeps and time limits of all lengths.
//!
//! By meaning, these are the cases of tokio's `time_sleep` and `time_timeout` that apply and that `async_time` does not have. A sleep cannot be set to another time,
//! and a future that never waits takes as long as it takes, whatever its limit.

use crate::support::{SOON, on_pool, spin_until, watched};
use heist::{Sleep, block_on, sleep, sleep_until, timeout};
use std::future::{Future, pending, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

fn poll_once<F: Future>(future: Pin<&mut F>, waker: &Waker) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(waker))
}

#[test]
fn a_sleep_knows_whether_its_time_has_come() {
    watched(|| {
        let mut asleep = sleep(SOON);
        let deadline = asleep.deadline().unwrap();
        assert_eq!(asleep.is_elapsed(), Instant::now() >= deadline);
        let _ = poll_once(Pin::new(&mut asleep), Waker::noop());
        block_on(&mut asleep);
        assert!(asleep.is_elapsed() && Instant::now() >= deadline);
        assert_eq!(asleep.deadline(), Some(deadline));
        // Polled again, it is still ready.
        assert!(poll_once(Pin::new(&mut asleep), Waker::noop()).is_ready());
    });
}

#[test]
fn sleeps_of_no_time_and_of_fractions_of_a_millisecond() {
    on_pool(|pool| {
        block_on(async {
            for _ in 0..1_000 {
                sleep(Duration::ZERO).await;
            }
        });
        for nanos in [1, 999, 1_001, 1_000_001] {
            let time = Duration::from_nanos(nanos);
            let start = Instant::now();
            block_on(sleep(time));
            assert!(start.elapsed() >= time);
            let start = Instant::now();
            pool.submit_async(sleep_until(start + time)).join().unwrap();
            assert!(start.elapsed() >= time);
        }
    });
}

/// Times at the end of what the clock can hold, and beyond it.
#[test]
fn a_long_sleep_beside_a_short_one() {
    watched(|| {
        let year = Duration::from_secs(365 * 24 * 3_600);
        let long = [
            year,
            year * 100,
            Duration::from_secs(u64::MAX / 10),
            Duration::from_secs(i64::MAX as u64),
            Duration::MAX - Duration::from_millis(1),
            Duration::MAX,
        ];
        for time in long {
            let (mut long, mut short) = (pin!(sleep(time)), pin!(sleep(Duration::from_nanos(1))));
            block_on(poll_fn(|context| {
                assert!(long.as_mut().poll(context).is_pending());
                short.as_mut().poll(context)
            }));
            assert!(!long.is_elapsed());
            assert_eq!(block_on(timeout(time, async { 1 })), Ok(1));
        }
    });
}

#[test]
fn a_long_time_limit_around_what_ends() {
    on_pool(|pool| {
        for limit in [Duration::from_secs(3_600), Duration::MAX] {
            let (promise, handle) = heist::promise();
            let limited = pool.submit_async(timeout(limit, handle));
            spin_until(|| pool.stats().suspended == 1);
            promise.resolve(4).unwrap();
            assert_eq!(limited.join().unwrap().unwrap().unwrap(), 4);
        }
    });
}

/// If both are ready at the same poll, the future wins.
#[test]
fn a_future_that_is_ready_when_its_time_is_over() {
    watched(|| {
        let mut ready = false;
        let mut limited = pin!(timeout(
            Duration::from_millis(1),
            poll_fn(move |_| match std::mem::replace(&mut ready, true) {
                false => Poll::Pending,
                true => Poll::Ready(5),
            })
        ));
        assert!(poll_once(limited.as_mut(), Waker::noop()).is_pending());
        block_on(sleep(Duration::from_millis(2)));
        assert_eq!(
            poll_once(limited.as_mut(), Waker::noop()),
            Poll::Ready(Ok(5))
        );
    });
}

/// The future is woken all the time and its limit still ends it, on a thread of its own and on workers.
#[test]
fn a_time_limit_ends_a_future_that_is_always_woken() {
    on_pool(|pool| {
        async fn restless() {
            loop {
                heist::yield_async().await;
            }
        }
        assert!(block_on(timeout(SOON, restless())).is_err());
        let limited: Vec<_> = (0..4)
            .map(|_| pool.submit_async(timeout(SOON, restless())))
            .collect();
        for handle in limited {
            assert!(handle.join().unwrap().is_err());
        }
    });
}

/// A waker drops sleeps, its own among them, on the timer's thread.
#[test]
fn a_waker_drops_sleeps() {
    type List = Mutex<Vec<Pin<Box<Sleep>>>>;
    #[derive(Default)]
    struct Drops {
        sleeps: List,
        calls: AtomicUsize,
    }
    impl Wake for Drops {
        fn wake(self: Arc<Self>) {
            let sleeps = std::mem::take(&mut *self.sleeps.lock().unwrap());
            drop(sleeps);
            // A new one, on the same thread.
            let mut next = Box::pin(sleep(Duration::from_secs(3_600)));
            assert!(poll_once(next.as_mut(), Waker::noop()).is_pending());
            self.calls.fetch_add(1, Ordering::SeqCst);
        }
    }
    watched(|| {
        let drops = Arc::new(Drops::default());
        let waker = Waker::from(Arc::clone(&drops));
        let deadline = Instant::now() + SOON;
        for n in 0..100 {
            let mut asleep = Box::pin(sleep_until(deadline + Duration::from_secs(n % 2)));
            if poll_once(asleep.as_mut(), &waker).is_pending() {
                drops.sleeps.lock().unwrap().push(asleep);
            }
        }
        drop(waker);
        spin_until(|| drops.calls.load(Ordering::SeqCst) > 0);
        // Nothing of the waker is left in the timer.
        spin_until(|| Arc::strong_count(&drops) == 1);
        assert!(drops.sleeps.lock().unwrap().is_empty());
        block_on(sleep(Duration::from_millis(1)));
    });
}

#[test]
fn a_time_limit_that_is_dropped_drops_its_future() {
    watched(|| {
        let held = Arc::new(());
        let own = Arc::clone(&held);
        let mut limited = Box::pin(timeout(Duration::from_secs(3_600), async move {
            let _own = own;
            pending::<()>().await;
        }));
        assert!(poll_once(limited.as_mut(), Waker::noop()).is_pending());
        drop(limited);
        assert_eq!(Arc::strong_count(&held), 1);
    });
}
