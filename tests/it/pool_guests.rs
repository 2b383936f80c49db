//! Guests: threads outside the pool take part in what they call, and never wait for a free worker.

use crate::support::{
    fib, on_pool, on_pool_of, pool, pool_with, serial_fib, spin_until, threads, watched, work,
};
use heist::ThreadPool;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;

/// Keeps every worker of `pool` busy until the sender is dropped.
fn block_every_worker(pool: &ThreadPool) -> mpsc::Sender<()> {
    let blocked = Arc::new(AtomicUsize::new(0));
    let mut senders = Vec::new();
    for _ in 0..pool.num_threads() {
        let (release, released) = mpsc::channel::<()>();
        senders.push(release);
        let blocked = Arc::clone(&blocked);
        pool.spawn(move || {
            blocked.fetch_add(1, Ordering::AcqRel);
            // `recv` returns an error when the sender is dropped.
            let _ = released.recv();
        });
    }
    spin_until(|| blocked.load(Ordering::Acquire) == pool.num_threads());
    let (release, released) = mpsc::channel();
    thread::spawn(move || {
        let _ = released.recv();
        drop(senders);
    });
    release
}

#[test]
fn a_guest_does_its_work_while_every_worker_is_blocked() {
    on_pool(|pool| {
        let release = block_every_worker(pool);
        assert_eq!(pool.join(|| 1, || 2), (1, 2));
        assert_eq!(pool.install(|| fib(15)), serial_fib(15));
        let ran = AtomicUsize::new(0);
        pool.scope(|s| {
            for _ in 0..100 {
                s.spawn(|s| {
                    s.spawn(|_| {
                        ran.fetch_add(1, Ordering::Relaxed);
                    });
                });
            }
        });
        assert_eq!(ran.into_inner(), 100);
        assert_eq!(pool.map(0..1000, |x| x + 1), (1..1001).collect::<Vec<_>>());
        assert_eq!(pool.find_any(0..1000, |&x| x == 700), Some(700));
        drop(release);
    });
}

#[test]
fn many_guests_take_part_at_once() {
    on_pool(|pool| {
        let sum: u64 = thread::scope(|threads| {
            let guests: Vec<_> = (0..32)
                .map(|guest| {
                    threads.spawn(move || {
                        let fib = pool.install(|| fib(12));
                        let mapped: u64 = pool.map(0..500_u64, |x| x + guest).into_iter().sum();
                        let spawned = AtomicUsize::new(0);
                        pool.scope(|s| {
                            for _ in 0..50 {
                                s.spawn(|_| {
                                    spawned.fetch_add(1, Ordering::Relaxed);
                                });
                            }
                        });
                        assert_eq!(spawned.into_inner(), 50);
                        assert_eq!(mapped, (0..500).map(|x| x + guest).sum::<u64>());
                        fib
                    })
                })
                .collect();
            guests.into_iter().map(|guest| guest.join().unwrap()).sum()
        });
        assert_eq!(sum, 32 * serial_fib(12));
    });
}

#[test]
fn two_hundred_guests_are_inside_together() {
    on_pool(|pool| {
        let all_inside = Barrier::new(200);
        thread::scope(|threads| {
            for _ in 0..200 {
                threads.spawn(|| {
                    pool.install(|| {
                        all_inside.wait();
                        assert_eq!(fib(6), serial_fib(6));
                        all_inside.wait();
                    });
                });
            }
        });
    });
}

#[test]
fn a_thousand_guests_come_and_go() {
    on_pool(|pool| {
        for _ in 0..1000 {
            let ran = thread::scope(|threads| {
                let guest = threads.spawn(|| pool.join(|| 1, || 2));
                guest.join().unwrap()
            });
            assert_eq!(ran, (1, 2));
        }
    });
}

#[test]
fn a_guest_has_no_index() {
    on_pool(|pool| {
        assert_eq!(heist::current_thread_index(), None);
        assert_eq!(pool.install(heist::current_thread_index), None);
        assert_eq!(pool.scope(|_| heist::current_thread_index()), None);
        assert_eq!(pool.join(heist::current_thread_index, || ()).0, None);
        let indices = pool.map(0..1000, |_| {
            work(50);
            heist::current_thread_index()
        });
        let workers = pool.num_threads();
        assert!(indices.into_iter().flatten().all(|index| index < workers));
    });
}

#[test]
fn install_runs_in_place_and_needs_no_send() {
    on_pool(|pool| {
        let caller = thread::current().id();
        let shared = Rc::new(3);
        let value = pool.install(|| {
            assert_eq!(thread::current().id(), caller);
            Rc::clone(&shared)
        });
        assert_eq!(*value, 3);
    });
}

#[test]
fn current_is_the_pool_that_the_thread_works_for() {
    watched(|| {
        let (outer, inner) = (
            pool_with(|b| b.num_threads(3)),
            pool_with(|b| b.num_threads(5)),
        );
        let size = || ThreadPool::current().map(|pool| pool.num_threads());
        assert_eq!(size(), None);
        outer.install(|| {
            assert_eq!(size(), Some(3));
            inner.install(|| {
                assert_eq!(size(), Some(5));
                outer.install(|| assert_eq!(size(), Some(3)));
                assert_eq!(size(), Some(5));
            });
            assert_eq!(size(), Some(3));
            assert_eq!(heist::join(size, size), (Some(3), Some(3)));
            heist::scope(|s| s.spawn(|_| assert_eq!(size(), Some(3))));
            assert_eq!(inner.map(0..100, |_| size()), [Some(5); 100]);
            assert_eq!(outer.run(size), Some(3));
            assert_eq!(inner.run(size), Some(5));
        });
        assert_eq!(size(), None);
    });
}

#[test]
fn a_panic_in_install_leaves_the_thread_outside() {
    watched(|| {
        let (outer, inner) = (
            pool_with(|b| b.num_threads(3)),
            pool_with(|b| b.num_threads(5)),
        );
        let size = || ThreadPool::current().map(|pool| pool.num_threads());
        outer.install(|| {
            let message = crate::support::panic_of(|| inner.install(|| panic!("inside")));
            assert_eq!(message, "inside");
            assert_eq!(size(), Some(3));
        });
        crate::support::panic_of(|| outer.install(|| panic!("inside")));
        assert_eq!(size(), None);
    });
}

#[test]
fn free_functions_use_the_pool_of_a_spawned_task() {
    watched(|| {
        let pool = pool_with(|b| b.num_threads(7));
        let (send, receive) = mpsc::channel();
        pool.spawn(move || {
            let (inside, _) = heist::join(ThreadPool::current, || ());
            heist::spawn(move || {
                let pool = ThreadPool::current();
                let _ = send.send((inside, pool));
            });
        });
        let (one, two) = receive.recv().unwrap();
        assert_eq!(one.unwrap().num_threads(), 7);
        assert_eq!(two.unwrap().num_threads(), 7);
    });
}

/// Work that alternates between two pools, `left` levels deep.
fn ping_pong(here: &ThreadPool, there: &ThreadPool, left: u32) -> u64 {
    if left == 0 {
        return work(10) | 1;
    }
    let (a, b) = here.join(
        || ping_pong(there, here, left - 1).min(1),
        || there.install(|| ping_pong(there, here, left - 1).min(1)),
    );
    let sums = here.map(0..3, |_| ping_pong(there, here, left / 3).min(1));
    (a + b + sums.into_iter().sum::<u64>()).min(1)
}

#[test]
fn two_pools_call_each_other_in_place() {
    for sizes in [(1, 1), (1, 2), (threads(), threads())] {
        watched(move || {
            let one = pool_with(|b| b.num_threads(sizes.0));
            let two = pool_with(|b| b.num_threads(sizes.1));
            assert_eq!(ping_pong(&one, &two, 6), 1);
            assert_eq!(one.run(|| ping_pong(&two, &one, 6)), 1);
            thread::scope(|threads| {
                for _ in 0..3 {
                    threads.spawn(|| ping_pong(&one, &two, 5));
                    threads.spawn(|| ping_pong(&two, &one, 5));
                }
            });
        });
    }
}

#[test]
fn a_guest_of_one_worker_may_run_and_broadcast() {
    on_pool_of(1, |pool| {
        pool.install(|| {
            assert_eq!(pool.run(heist::current_thread_index), Some(0));
            assert_eq!(pool.broadcast(|index| index), [0]);
            let (a, b) = heist::join(|| pool.run(|| 1), || pool.run(|| 2));
            assert_eq!((a, b), (1, 2));
        });
    });
}

#[test]
fn guests_of_several_pools_do_not_mix() {
    watched(|| {
        let pools: Vec<ThreadPool> = (0..4).map(|_| pool()).collect();
        thread::scope(|threads| {
            for pool in &pools {
                for _ in 0..4 {
                    threads.spawn(|| assert_eq!(pool.install(|| fib(10)), serial_fib(10)));
                }
            }
        });
    });
}
