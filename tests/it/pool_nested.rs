//! A thread that acts for one pool inside another, and pools that close, unwind or broadcast in the middle of that.

use crate::support::{named_pool, outcome, pool_with, sleeping_named, spin_until, watched};
use heist::ThreadPool;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

fn pool_of(threads: usize) -> ThreadPool {
    pool_with(|builder| builder.num_threads(threads))
}

/// Joins so deeply that the ring is full, then calls `f`.
fn below<R>(depth: usize, f: &mut dyn FnMut() -> R) -> R {
    if depth == 0 {
        return f();
    }
    heist::join(|| below(depth - 1, f), || ()).0
}

#[test]
fn run_is_a_plain_call_on_a_worker_that_is_a_guest_elsewhere() {
    watched(|| {
        let (a, b) = (pool_of(1), pool_of(1));
        assert_eq!(a.run(|| b.install(|| a.run(|| 7))), 7);
    });
}

#[test]
fn a_worker_that_is_a_guest_elsewhere_broadcasts_to_itself() {
    watched(|| {
        let (a, b) = (pool_of(1), pool_of(1));
        assert_eq!(a.run(|| b.install(|| a.broadcast(|index| index + 1))), [1]);
    });
}

#[test]
fn a_worker_that_waits_elsewhere_leaves_a_vacancy_at_home() {
    watched(|| {
        let (a, b) = (pool_of(1), pool_of(2));
        let begun = AtomicBool::new(false);
        let joined = a.run(|| {
            b.join(
                || spin_until(|| begun.load(Ordering::Acquire)),
                || {
                    begun.store(true, Ordering::Release);
                    a.run(|| 7)
                },
            )
        });
        assert_eq!(joined.1, 7);
    });
}

#[test]
fn a_closing_pool_still_broadcasts_and_spawns() {
    watched(|| {
        for spares in [0, 2] {
            let (pool, names) = named_pool(|builder| builder.num_threads(2).spare_threads(spares));
            pool.broadcast(|_| ());
            let (closing, closed) = mpsc::channel::<()>();
            let (results, result) = mpsc::channel();
            pool.spawn(move || {
                closed.recv().unwrap();
                let own = ThreadPool::current().expect("on a worker");
                let broadcast = own.broadcast(|index| index);
                let (done, over) = mpsc::channel();
                own.spawn(move || done.send(()).unwrap());
                over.recv().unwrap();
                results.send(broadcast).unwrap();
            });
            let dropper = std::thread::Builder::new()
                .name(format!("{names}drops"))
                .spawn(move || drop(pool))
                .unwrap();
            // The shutdown waits for the threads, of which the idle one sleeps or ends.
            spin_until(|| sleeping_named(&format!("{names}drops")) == 1);
            closing.send(()).unwrap();
            assert_eq!(result.recv().unwrap(), [0, 1]);
            dropper.join().unwrap();
        }
    });
}

#[test]
fn a_worker_that_unwinds_answers_a_broadcast_of_what_it_waits_for() {
    watched(|| {
        let pool = pool_of(2);
        let begun = AtomicBool::new(false);
        let message = pool.run(|| {
            outcome(|| {
                heist::join(
                    || {
                        spin_until(|| begun.load(Ordering::Acquire));
                        panic!("a")
                    },
                    || {
                        begun.store(true, Ordering::Release);
                        pool.broadcast(|index| index).len()
                    },
                )
            })
            .map(|_: ((), usize)| ())
        });
        assert!(message.is_err());
    });
}

#[test]
fn a_worker_deep_in_joins_answers_a_broadcast() {
    watched(|| {
        let pool = pool_with(|builder| builder.num_threads(2).stack_size(256 << 20));
        let indices = pool.run(|| {
            below(5000, &mut || {
                let begun = AtomicBool::new(false);
                heist::join(
                    || spin_until(|| begun.load(Ordering::Acquire)),
                    || {
                        begun.store(true, Ordering::Release);
                        pool.broadcast(|index| index)
                    },
                )
                .1
            })
        });
        assert_eq!(indices, [0, 1]);
    });
}

#[test]
fn what_a_worker_has_spawned_runs_while_it_blocks_in_another_pool() {
    watched(|| {
        let (a, b) = (pool_of(1), pool_of(1));
        let (over, done) = mpsc::channel();
        let (handle, elsewhere) = (a.clone(), b.clone());
        a.install(|| {
            a.spawn(move || {
                let (sender, receiver) = mpsc::channel();
                handle.spawn(move || sender.send(()).unwrap());
                elsewhere.run(move || receiver.recv().unwrap());
                over.send(()).unwrap();
            });
        });
        done.recv().unwrap();
    });
}

#[test]
fn a_start_that_fails_leaves_nobody_waiting() {
    watched(|| {
        let (naming, named) = mpsc::channel();
        let pool = pool_with(|builder| {
            builder
                .num_threads(2)
                .spare_threads(0)
                .thread_name(move |_| {
                    let _ = naming.send(());
                    std::thread::yield_now();
                    panic!("no name")
                })
        });
        std::thread::scope(|threads| {
            threads.spawn(|| pool.scope(|s| s.spawn(|_| ())));
            named.recv().unwrap();
            assert_eq!(pool.run(|| 7), 7);
        });
    });
}
