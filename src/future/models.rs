//! Loom models of futures on threads that wait for them, and of semaphores.

use super::{Semaphore, block_on};
use crate::sync::{Arc, AtomicUsize, Ordering};
use crate::testing::{Seen, model, small_model};
use loom::thread;
use std::future::poll_fn;
use std::task::Poll;

/// Two threads wake a future that another thread waits for, once each. The thread polls it until it has seen what both have written.
#[test]
fn two_wakes_against_block_on() {
    model(|| {
        let flags = Arc::new(AtomicUsize::new(0));
        let mut wakers = Vec::new();
        block_on(poll_fn(|context| {
            if wakers.is_empty() {
                wakers = [1, 2]
                    .map(|flag| {
                        let (flags, waker) = (Arc::clone(&flags), context.waker().clone());
                        thread::spawn(move || {
                            // It orders nothing by itself.
                            flags.fetch_or(flag, Ordering::Relaxed);
                            waker.wake();
                        })
                    })
                    .into();
            }
            if flags.load(Ordering::Relaxed) == 3 {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        }));
        for waker in wakers {
            waker.join().unwrap();
        }
    });
}

/// A permit is given to the first of two that wait, which is dropped at the same time. The second one gets it.
#[test]
fn a_release_against_the_drop_of_a_waiting_future() {
    let seen = Seen::default();
    let mark = seen.clone();
    small_model(move || {
        let semaphore = Semaphore::new(0);
        let first = semaphore.acquire();
        let second = semaphore.acquire();
        let other = semaphore.clone();
        let giver = thread::spawn(move || other.add_permits(1));
        drop(first);
        mark.mark(if semaphore.waiting() == 1 {
            "dropped first"
        } else {
            "given first"
        });
        drop(block_on(second));
        giver.join().unwrap();
        assert_eq!((semaphore.available(), semaphore.waiting()), (1, 0));
    });
    seen.check(&["dropped first", "given first"]);
}

/// A permit is given while the future that waits for it is polled for the first time.
#[test]
fn a_release_against_a_poll() {
    small_model(|| {
        let semaphore = Semaphore::new(0);
        let other = semaphore.clone();
        let giver = thread::spawn(move || other.add_permits(1));
        drop(semaphore.acquire_blocking());
        giver.join().unwrap();
        assert_eq!((semaphore.available(), semaphore.waiting()), (1, 0));
    });
}
