//! Handles as futures: polls and wakers.

use crate::support::State::*;
use crate::support::{ALL, SOON, case, check, hold_all, on_pool, panic_of, poll, spin_until};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Poll, Wake, Waker};

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Release);
    }
}

impl Woken {
    fn count(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }
}

#[test]
fn a_poll_gives_the_outcome_or_leaves_a_waker() {
    on_pool(|pool| {
        for state in ALL {
            let mut case = case(pool, state);
            let woken = Arc::new(Woken::default());
            let waker = Waker::from(Arc::clone(&woken));
            let Poll::Ready(outcome) = poll(&mut case.handle, &waker) else {
                assert!(case.is_open(), "{state:?}");
                assert!(poll(&mut case.handle, &waker).is_pending());
                assert_eq!(woken.count(), 0);
                case.held.open();
                spin_until(|| woken.count() > 0);
                let Poll::Ready(outcome) = poll(&mut case.handle, &waker) else {
                    panic!("woken for nothing");
                };
                check(state, &outcome);
                assert_eq!(woken.count(), 1);
                continue;
            };
            assert!(!case.is_open(), "{state:?}");
            check(state, &outcome);
            drop(waker);
            assert_eq!(Arc::strong_count(&woken), 1);
            assert_eq!(woken.count(), 0);
        }
    });
}

#[test]
fn a_poll_after_the_result_panics() {
    on_pool(|pool| {
        let mut handle = pool.submit(|| 1);
        spin_until(|| handle.is_finished());
        assert!(poll(&mut handle, Waker::noop()).is_ready());
        let text = panic_of(|| poll(&mut handle, Waker::noop()));
        assert!(text.contains("polled again"), "{text}");
    });
}

#[test]
fn a_handle_that_was_polled_to_its_end_still_answers() {
    on_pool(|pool| {
        let mut handle = pool.task().name("asked").submit(|| 1);
        let id = handle.id();
        spin_until(|| handle.is_finished());
        assert!(poll(&mut handle, Waker::noop()).is_ready());
        assert_eq!(handle.id(), id);
        assert_eq!(handle.name(), Some("asked"));
        assert!(handle.is_finished() && !handle.is_running() && !handle.is_cancelled());
        assert!(!handle.cancel());
    });
}

#[test]
fn a_replaced_waker_is_released_and_not_woken() {
    on_pool(|pool| {
        for state in [Queued, Running] {
            let mut case = case(pool, state);
            let wokens: Vec<_> = (0..3).map(|_| Arc::new(Woken::default())).collect();
            for woken in &wokens {
                let waker = Waker::from(Arc::clone(woken));
                assert!(poll(&mut case.handle, &waker).is_pending());
            }
            assert_eq!(Arc::strong_count(&wokens[0]), 1);
            assert_eq!(Arc::strong_count(&wokens[1]), 1);
            case.held.open();
            spin_until(|| wokens[2].count() == 1);
            assert_eq!((wokens[0].count(), wokens[1].count()), (0, 0));
            check(state, &case.handle.join());
            spin_until(|| Arc::strong_count(&wokens[2]) == 1);
        }
    });
}

#[test]
fn a_cancel_and_a_deadline_wake_the_waker() {
    on_pool(|pool| {
        for cancel in [true, false] {
            let _held = hold_all(pool);
            let task = match cancel {
                true => pool.task(),
                false => pool.task().deadline(SOON),
            };
            let mut handle = task.submit(|| ());
            let woken = Arc::new(Woken::default());
            if let Poll::Ready(outcome) = poll(&mut handle, &Waker::from(Arc::clone(&woken))) {
                assert!(outcome.unwrap_err().is_timeout());
                continue;
            }
            if cancel {
                handle.cancel();
                assert_eq!(woken.count(), 1);
            }
            spin_until(|| woken.count() == 1);
            let Poll::Ready(Err(error)) = poll(&mut handle, Waker::noop()) else {
                panic!("no error");
            };
            assert_eq!(
                (error.is_cancelled(), error.is_timeout()),
                (cancel, !cancel)
            );
        }
    });
}

#[test]
fn a_waker_that_panics_harms_nobody() {
    struct Bomb;
    impl Wake for Bomb {
        fn wake(self: Arc<Self>) {
            panic!("in a waker");
        }
    }
    on_pool(|pool| {
        for state in [Queued, Running] {
            for cancel in [false, true] {
                let mut case = case(pool, state);
                assert!(poll(&mut case.handle, &Waker::from(Arc::new(Bomb))).is_pending());
                if cancel && state == Queued {
                    assert!(case.handle.cancel());
                }
                case.held.open();
                spin_until(|| case.handle.is_finished());
                assert_eq!(case.handle.join().is_ok(), !(cancel && state == Queued));
            }
        }
        assert_eq!(pool.submit(|| 1).join().unwrap(), 1);
    });
}

#[test]
fn a_waker_whose_clone_cancels_the_task_locks_nothing_up() {
    use heist::CancelToken;
    use std::task::{RawWaker, RawWakerVTable};
    static TOKEN: OnceLock<CancelToken> = OnceLock::new();
    static TABLE: RawWakerVTable = RawWakerVTable::new(clone, |_| (), |_| (), |_| ());
    fn clone(_: *const ()) -> RawWaker {
        TOKEN.get().unwrap().cancel();
        RawWaker::new(std::ptr::null(), &TABLE)
    }
    on_pool(|pool| {
        let _held = hold_all(pool);
        let token = TOKEN.get_or_init(CancelToken::new);
        let mut handle = pool.task().token(token).submit(|| ());
        // SAFETY: `Waker::from_raw` requires functions that keep the contract of `RawWakerVTable` for this data pointer. They ignore it.
        let waker = unsafe { Waker::from_raw(RawWaker::new(std::ptr::null(), &TABLE)) };
        let Poll::Ready(outcome) = poll(&mut handle, &waker) else {
            panic!("it was cancelled before the handle could wait");
        };
        assert!(outcome.unwrap_err().is_cancelled());
    });
}
