//! Futures that become ready while all workers are in the middle of forks, which look at no queue before they have ended.

use crate::support::{Door, LONG, pool_with, spin_until, suspended, threads, watched};
use heist::{JoinHandle, ThreadPool, join};
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

/// The spares that a pool has by default suffice.
fn pool() -> ThreadPool {
    pool_with(|builder| builder)
}

/// Joins that occupy all workers until `over`. One of them calls `hook` in the middle.
fn occupy(
    pool: &ThreadPool,
    over: &Arc<AtomicBool>,
    hook: impl Fn() + Send + Sync + 'static,
) -> Vec<JoinHandle<()>> {
    let hook = Arc::new(hook);
    let begun = Arc::new(AtomicUsize::new(0));
    let in_joins = Arc::new(AtomicUsize::new(0));
    let handles = (0..threads()).map(|index| {
        let (begun, in_joins) = (Arc::clone(&begun), Arc::clone(&in_joins));
        let (over, hook) = (Arc::clone(over), Arc::clone(&hook));
        pool.submit(move || {
            // No worker is free any more when the first one forks.
            begun.fetch_add(1, Ordering::SeqCst);
            spin_until(|| begun.load(Ordering::SeqCst) == threads());
            let stay = || spin_until(|| over.load(Ordering::SeqCst));
            let first = || {
                in_joins.fetch_add(1, Ordering::SeqCst);
                if index == 0 {
                    spin_until(|| in_joins.load(Ordering::SeqCst) == threads());
                    hook();
                }
                stay();
            };
            join(first, stay);
        })
    });
    let handles = handles.collect();
    spin_until(|| in_joins.load(Ordering::SeqCst) == threads());
    handles
}

#[test]
fn a_future_that_is_woken_from_outside_is_polled() {
    watched(|| {
        let pool = pool();
        for _ in 0..20 {
            let (door, over) = (Door::default(), Arc::new(AtomicBool::new(false)));
            let future = suspended(&pool, &door);
            let occupied = occupy(&pool, &over, || ());
            door.open();
            future.join_timeout(LONG).unwrap().unwrap();
            over.store(true, Ordering::SeqCst);
            occupied
                .into_iter()
                .for_each(|handle| handle.join().unwrap());
        }
    });
}

#[test]
fn futures_that_are_woken_again_and_again_are_polled_each_time() {
    watched(|| {
        let pool = pool();
        let (doors, polls): (Vec<_>, Vec<_>) = (0..3)
            .map(|_| (Door::default(), Arc::new(AtomicUsize::new(0))))
            .unzip();
        let futures = doors.iter().zip(&polls).map(|(door, polls)| {
            let (door, polls) = (door.clone(), Arc::clone(polls));
            pool.submit_async(async move {
                let mut passage = door.pass();
                poll_fn(|context| {
                    let poll = std::pin::Pin::new(&mut passage).poll(context);
                    // Counted last, after the waker was left.
                    polls.fetch_add(1, Ordering::SeqCst);
                    poll
                })
                .await;
            })
        });
        let futures: Vec<_> = futures.collect();
        let polled = |n: usize| {
            spin_until(|| polls.iter().all(|polls| polls.load(Ordering::SeqCst) >= n));
        };
        polled(1);
        let over = Arc::new(AtomicBool::new(false));
        let occupied = occupy(&pool, &over, || ());
        for n in 0..200 {
            doors.iter().for_each(Door::knock);
            polled(n + 2);
        }
        doors.iter().for_each(Door::open);
        futures
            .into_iter()
            .for_each(|future| future.join().unwrap());
        over.store(true, Ordering::SeqCst);
        occupied
            .into_iter()
            .for_each(|handle| handle.join().unwrap());
    });
}

#[test]
fn a_future_that_is_woken_just_before_all_workers_fork_is_polled() {
    watched(|| {
        let pool = pool();
        for _ in 0..20 {
            let (door, over) = (Door::default(), Arc::new(AtomicBool::new(false)));
            let future = suspended(&pool, &door);
            let (begun, woken) = (
                Arc::new(AtomicUsize::new(0)),
                Arc::new(AtomicBool::new(false)),
            );
            let handles = (0..threads()).map(|_| {
                let (begun, woken, over) = (begun.clone(), woken.clone(), over.clone());
                pool.submit(move || {
                    begun.fetch_add(1, Ordering::SeqCst);
                    spin_until(|| woken.load(Ordering::SeqCst));
                    join(|| spin_until(|| over.load(Ordering::SeqCst)), || ());
                })
            });
            let handles: Vec<_> = handles.collect();
            spin_until(|| begun.load(Ordering::SeqCst) == threads());
            door.open();
            woken.store(true, Ordering::SeqCst);
            future.join_timeout(LONG).unwrap().unwrap();
            over.store(true, Ordering::SeqCst);
            handles
                .into_iter()
                .for_each(|handle| handle.join().unwrap());
        }
    });
}

#[test]
fn a_future_is_polled_beside_one_join_on_all_workers() {
    watched(|| {
        let pool = pool();
        for _ in 0..20 {
            let (door, over) = (Door::default(), Arc::new(AtomicBool::new(false)));
            let future = suspended(&pool, &door);
            let begun = Arc::new(AtomicUsize::new(0));
            let (count, stay) = (Arc::clone(&begun), Arc::clone(&over));
            let handle = pool.submit(move || {
                let part = || {
                    count.fetch_add(1, Ordering::SeqCst);
                    spin_until(|| stay.load(Ordering::SeqCst));
                };
                join(part, part);
            });
            // The second part is stolen, if there is a second worker.
            spin_until(|| begun.load(Ordering::SeqCst) == threads().min(2));
            door.open();
            future.join_timeout(LONG).unwrap().unwrap();
            over.store(true, Ordering::SeqCst);
            handle.join().unwrap();
        }
    });
}

#[test]
fn a_future_that_is_woken_in_the_middle_of_forks_is_polled() {
    watched(|| {
        let pool = pool();
        for _ in 0..20 {
            let (door, over) = (Door::default(), Arc::new(AtomicBool::new(false)));
            let future = suspended(&pool, &door);
            let handles = occupy(&pool, &over, move || door.open());
            future.join_timeout(LONG).unwrap().unwrap();
            over.store(true, Ordering::SeqCst);
            handles
                .into_iter()
                .for_each(|handle| handle.join().unwrap());
        }
    });
}

#[test]
fn a_map_of_a_guest_leaves_futures_a_thread() {
    watched(|| {
        let pool = pool();
        let door = Door::default();
        let future = suspended(&pool, &door);
        let (begun, over) = (AtomicUsize::new(0), AtomicBool::new(false));
        thread::scope(|scope| {
            scope.spawn(|| {
                let items: Vec<usize> = (0..64).collect();
                pool.map(&items, |_| {
                    begun.fetch_add(1, Ordering::SeqCst);
                    spin_until(|| over.load(Ordering::SeqCst));
                });
            });
            spin_until(|| begun.load(Ordering::SeqCst) >= threads());
            door.open();
            future.join_timeout(LONG).unwrap().unwrap();
            over.store(true, Ordering::SeqCst);
        });
    });
}
