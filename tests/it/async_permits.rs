//! Semaphores with many users, and with extreme numbers of permits.
//!
//! By meaning, these are the cases of tokio's `sync_semaphore` that apply and that `async_limits` does not have. There is no call for several permits at a time,
//! and a semaphore cannot be closed.

use crate::support::{assert_balanced, on_pool, panic_of, watched};
use heist::Semaphore;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

#[test]
fn permits_are_added_to_any_number() {
    for first in 0..4 {
        for added in 0..4 {
            let semaphore = Semaphore::new(first);
            semaphore.add_permits(added);
            assert_eq!(semaphore.available(), first + added);
            let permits: Vec<_> = std::iter::from_fn(|| semaphore.try_acquire()).collect();
            assert_eq!(permits.len(), first + added);
        }
    }
}

#[test]
fn a_forgotten_permit_never_comes_back() {
    let semaphore = Semaphore::new(2);
    let (kept, forgotten) = (semaphore.try_acquire(), semaphore.try_acquire());
    forgotten.unwrap().forget();
    assert_eq!(semaphore.available(), 0);
    assert!(semaphore.try_acquire().is_none());
    drop(kept);
    assert_eq!(semaphore.available(), 1);
    semaphore.add_permits(1);
    assert_eq!(semaphore.available(), 2);
}

#[test]
fn the_greatest_number_of_permits() {
    watched(|| {
        let semaphore = Semaphore::new(0);
        let first = semaphore.acquire();
        // It takes no time for each permit.
        semaphore.add_permits(usize::MAX);
        assert_eq!(semaphore.available(), usize::MAX - 1);
        let permit = heist::block_on(first);
        drop(permit);
        assert_eq!(semaphore.available(), usize::MAX);
        let text = panic_of(|| semaphore.add_permits(1));
        assert!(text.contains("permits"), "{text}");
        // It is as before.
        assert_eq!(semaphore.available(), usize::MAX);
        drop(semaphore.try_acquire().unwrap());
        assert_eq!(Semaphore::new(usize::MAX).available(), usize::MAX);
    });
}

#[test]
fn a_thousand_futures_share_five_permits() {
    on_pool(|pool| {
        let (semaphore, inside) = (Semaphore::new(5), Arc::new(AtomicUsize::new(0)));
        let handles: Vec<_> = (0..1_000)
            .map(|n| {
                let (semaphore, inside) = (semaphore.clone(), Arc::clone(&inside));
                pool.submit_async(async move {
                    let permit = match n % 10 {
                        // On a worker: the thread waits.
                        0 => heist::blocking(|| semaphore.try_acquire()),
                        _ => None,
                    };
                    let _permit = match permit {
                        Some(permit) => permit,
                        None => semaphore.acquire().await,
                    };
                    assert!(inside.fetch_add(1, Ordering::SeqCst) < 5);
                    heist::yield_async().await;
                    inside.fetch_sub(1, Ordering::SeqCst);
                })
            })
            .collect();
        heist::try_join_all(handles).unwrap();
        let permits: Vec<_> = (0..5).map(|_| semaphore.try_acquire().unwrap()).collect();
        assert!(semaphore.try_acquire().is_none());
        drop(permits);
        assert_eq!((semaphore.available(), semaphore.waiting()), (5, 0));
        assert_balanced(pool);
    });
}

/// A permit that was added wakes a future and a thread that wait, in the order of their calls.
#[test]
fn added_permits_wake_futures_and_threads() {
    on_pool(|pool| {
        let semaphore = Semaphore::new(0);
        let waits = semaphore.clone();
        let future = pool.submit_async(async move { drop(waits.acquire().await) });
        let waits = semaphore.clone();
        let thread = std::thread::spawn(move || drop(waits.acquire_blocking()));
        semaphore.add_permits(1);
        future.join().unwrap();
        thread.join().unwrap();
        assert_eq!(semaphore.available(), 1);
    });
}
