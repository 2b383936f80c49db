//! Planted circles of waits are named.

use crate::plants::{circle, number};
use crate::support::{isolated, pool_with, spin_until};
use heist::{Dump, JoinHandle, ThreadPool};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};

fn one() -> ThreadPool {
    pool_with(|builder| builder.num_threads(1))
}

/// Waits until the pool's dump shows a circle. Checks that further dumps do, too.
fn stands(pool: &ThreadPool, edges: usize) -> Dump {
    spin_until(|| !pool.dump_at_once().cycles.is_empty());
    for _ in 0..20 {
        let dump = pool.dump_at_once();
        assert_eq!(dump.cycles.len(), 1, "{dump}");
        assert_eq!(dump.cycles[0].edges.len(), edges, "{dump}");
        let ends = dump.cycles[0].edges.iter();
        for (edge, next) in ends.clone().zip(ends.cycle().skip(1)) {
            let (to, from) = (dump.thread(edge.to), dump.thread(next.from));
            assert_eq!(to.os_id, from.os_id, "{dump}");
        }
    }
    pool.dump()
}

#[test]
fn circles_over_one_two_and_three_pools_are_named() {
    isolated(
        "cycles::circles_over_one_two_and_three_pools_are_named",
        || {
            for _ in 0..10 {
                for count in [2, 3] {
                    let pools: Vec<_> = (0..count).map(|_| one()).collect();
                    named(&pools);
                }
                let pool = pool_with(|builder| builder.num_threads(2));
                named(&[pool.clone(), pool.clone()]);
                named(&[one()]);
            }
        },
    );
}

fn named(pools: &[ThreadPool]) {
    let ids = circle(pools);
    for pool in pools {
        let text = stands(pool, pools.len()).to_string();
        for (n, id) in ids.iter().enumerate() {
            let task = format!("task \"ring {n}\" (#{id})");
            let line = text.lines().find(|line| line.starts_with("deadlock: "));
            assert!(line.is_some_and(|line| line.contains(&task)), "{text}");
        }
    }
}

/// A task of one pool joins in another one as a caller, and the stolen part waits for the task.
#[test]
fn a_circle_through_a_join_in_another_pool_is_named() {
    isolated(
        "cycles::a_circle_through_a_join_in_another_pool_is_named",
        || {
            // A caller takes the room of a worker.
            let (first, second) = (one(), pool_with(|builder| builder.num_threads(2)));
            let (sender, receiver) = mpsc::channel::<JoinHandle<()>>();
            let inner = second.clone();
            let handle = first.task().name("outer").submit(move || {
                let stolen = AtomicBool::new(false);
                let handle = receiver.recv().unwrap();
                inner.join(
                    || spin_until(|| stolen.load(Ordering::Acquire)),
                    || {
                        stolen.store(true, Ordering::Release);
                        drop(handle.join());
                    },
                );
            });
            spin_until(|| handle.is_running());
            let id = number(&handle);
            sender.send(handle).unwrap();
            let text = stands(&first, 2).to_string();
            assert!(text.contains(&format!("task \"outer\" (#{id})")), "{text}");
            assert!(text.contains("the other part of a join"), "{text}");
            std::mem::forget((first, second));
        },
    );
}

/// A scope waits for a task that waits for the task in which the scope is.
#[test]
fn a_circle_through_a_scope_is_named() {
    isolated("cycles::a_circle_through_a_scope_is_named", || {
        let pool = pool_with(|builder| builder.num_threads(2));
        let (sender, receiver) = mpsc::channel::<JoinHandle<()>>();
        let handle = pool.task().name("owner").submit(move || {
            let taken = Arc::new(AtomicBool::new(false));
            let handle = receiver.recv().unwrap();
            heist::scope(|s| {
                let begun = Arc::clone(&taken);
                s.spawn(move |_| {
                    begun.store(true, Ordering::Release);
                    drop(handle.join());
                });
                spin_until(|| taken.load(Ordering::Acquire));
            });
        });
        spin_until(|| handle.is_running());
        sender.send(handle).unwrap();
        let text = stands(&pool, 2).to_string();
        assert!(text.contains("a scope with 1 tasks left"), "{text}");
        std::mem::forget(pool);
    });
}

/// The task that is waited for is not the innermost one on its thread.
#[test]
fn a_circle_through_an_outer_task_is_named() {
    isolated("cycles::a_circle_through_an_outer_task_is_named", || {
        let pool = pool_with(|builder| builder.num_threads(2).spare_threads(0));
        let (to_a, a) = mpsc::channel::<JoinHandle<()>>();
        let (to_b, b) = mpsc::channel::<JoinHandle<()>>();
        let outer = pool.task().name("outer").submit(move || {
            let other = a.recv().unwrap();
            // Its own thread runs it, in the middle of this one.
            let inner = heist::submit(move || drop(other.join()));
            drop(inner.join());
        });
        spin_until(|| outer.is_running());
        let other = pool
            .task()
            .name("other")
            .submit(move || drop(b.recv().unwrap().join()));
        spin_until(|| other.is_running());
        let id = number(&outer);
        to_b.send(outer).unwrap();
        to_a.send(other).unwrap();
        let text = stands(&pool, 2).to_string();
        assert!(text.contains(&format!("inside task #{id}")), "{text}");
        std::mem::forget(pool);
    });
}

#[test]
fn waits_that_end_are_no_circle() {
    let pools = [one(), pool_with(|builder| builder.num_threads(2))];
    for round in 0..300 {
        let inner = pools[1].clone();
        let handle = pools[0].submit(move || {
            let (a, b) = (inner.submit(|| 1), heist::submit(|| 2));
            let sum = inner.join(
                || 1,
                || inner.scope(|s| (0..3).for_each(|_| s.spawn(|_| ()))),
            );
            a.join().unwrap() + b.join().unwrap() + sum.0
        });
        let dump = pools[round % 2].dump_at_once();
        assert!(dump.cycles.is_empty(), "{dump}");
        assert_eq!(handle.join().unwrap(), 4);
    }
}
