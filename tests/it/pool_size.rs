//! `set_num_threads`: workers come and go while the pool works.

use crate::support::{
    Gate, Held, LONG, SOON, assert_balanced, hold_all, on_pool, pool_with, spin_until, watched,
    work,
};
use heist::{Scope, ThreadPool};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

#[test]
fn the_size_changes_while_work_runs() {
    on_pool(|pool| {
        let before = pool.num_threads();
        let ran = Arc::new(AtomicUsize::new(0));
        let mut expected = before;
        for (round, size) in [1, 5, 2, 8, 3, 1, 4].into_iter().enumerate() {
            for _ in 0..200 {
                let ran = Arc::clone(&ran);
                pool.spawn(move || {
                    work(200);
                    ran.fetch_add(1, Ordering::Relaxed);
                });
            }
            assert_eq!(pool.set_num_threads(size), expected, "round {round}");
            expected = size;
            assert_eq!(pool.num_threads(), size);
            assert_eq!(pool.stats().threads, size);
        }
        pool.wait_idle();
        assert_eq!(ran.load(Ordering::Relaxed), 1400);
        let indices = pool.broadcast(|index| (index, heist::current_thread_index()));
        let expected: Vec<_> = (0..4).map(|n| (n, Some(n))).collect();
        assert_eq!(indices, expected);
        assert_balanced(pool);
    });
}

#[test]
fn surplus_workers_leave_and_indices_stay_below_the_size() {
    watched(|| {
        let (pool, names) = crate::support::named_pool(|b| b.num_threads(6));
        drop(hold_all(&pool));
        assert_eq!(pool.set_num_threads(2), 6);
        spin_until(|| crate::support::threads_named(&names) <= 2);
        let indices = Arc::new(Mutex::new(Vec::new()));
        let handles: Vec<_> = (0..500)
            .map(|_| {
                let indices = Arc::clone(&indices);
                pool.submit(move || indices.lock().unwrap().push(heist::current_thread_index()))
            })
            .collect();
        for handle in handles {
            handle.join().unwrap();
        }
        assert!(
            indices
                .lock()
                .unwrap()
                .iter()
                .all(|index| index.is_some_and(|i| i < 2))
        );
        assert_eq!(pool.set_num_threads(4), 2);
        drop(hold_all(&pool));
    });
}

#[test]
fn a_held_worker_leaves_after_its_task_and_what_it_submitted_runs() {
    watched(|| {
        let pool = pool_with(|b| b.num_threads(4));
        let held = Held(Gate::default());
        let (sent, sees) = mpsc::channel();
        for _ in 0..4 {
            let (own, gate, sent) = (pool.clone(), held.0.clone(), sent.clone());
            pool.spawn(move || {
                let handles: Vec<_> = (0..20).map(|n| own.submit(move || n)).collect();
                sent.send(handles).unwrap();
                gate.pass();
            });
        }
        let handles: Vec<_> = (0..4).flat_map(|_| sees.recv().unwrap()).collect();
        assert_eq!(pool.set_num_threads(1), 4);
        held.open();
        let sum: i32 = handles
            .into_iter()
            .map(|handle| handle.join().unwrap())
            .sum();
        assert_eq!(sum, 4 * 190);
        pool.wait_idle();
        assert_balanced(&pool);
    });
}

#[test]
fn a_size_of_zero_is_the_automatic_one() {
    on_pool(|pool| {
        let automatic = ThreadPool::new().unwrap().num_threads();
        pool.set_num_threads(0);
        assert_eq!(pool.num_threads(), automatic);
        assert_eq!(pool.submit(|| 1).join().unwrap(), 1);
        pool.set_num_threads(1_000_000);
        assert!(pool.num_threads() <= 4096);
        assert_eq!(pool.submit(|| 1).join().unwrap(), 1);
        pool.set_num_threads(1);
        pool.wait_idle();
    });
}

#[test]
fn the_size_is_set_inside_a_task_and_after_a_shutdown() {
    on_pool(|pool| {
        let own = pool.clone();
        let before = pool.num_threads();
        assert_eq!(
            pool.submit(move || own.set_num_threads(3)).join().unwrap(),
            before
        );
        assert_eq!(pool.submit(|| 1).join().unwrap(), 1);
        pool.shutdown();
        pool.set_num_threads(5);
        assert!(pool.submit(|| 1).join().is_err());
        assert_eq!(pool.map(0..10, |x| x).len(), 10);
    });
}

#[test]
fn a_broadcast_task_that_a_leaving_worker_runs_takes_no_index_of_a_new_one() {
    watched(|| {
        let pool = pool_with(|b| b.num_threads(2).spare_threads(0));
        let joins = |pool: &ThreadPool| {
            let one = |n: usize| pool.submit(move || n).join().unwrap();
            (0..20_000).map(one).sum::<usize>()
        };
        let held = hold_all(&pool);
        let (inside, go_on) = (Gate::default(), Held(Gate::default()));
        thread::scope(|s| {
            s.spawn(|| {
                pool.broadcast(|index| {
                    if index == 1 {
                        inside.open();
                        go_on.0.pass();
                        assert_eq!(joins(&pool), 199_990_000);
                    }
                });
            });
            // The broadcast tasks are in the inboxes, and the workers are held at the gate.
            thread::sleep(SOON);
            pool.set_num_threads(1);
            held.open();
            inside.pass();
            // The index is available again.
            pool.set_num_threads(2);
            let tasks: Vec<_> = (0..4)
                .map(|_| {
                    let own = pool.clone();
                    pool.submit(move || joins(&own))
                })
                .collect();
            go_on.open();
            for task in tasks {
                assert_eq!(task.join().unwrap(), 199_990_000);
            }
        });
        pool.wait_idle();
        assert_balanced(&pool);
    });
}

#[test]
#[cfg(target_os = "linux")]
fn threads_that_left_leave_no_stacks() {
    crate::support::isolated("pool_size::threads_that_left_leave_no_stacks", || {
        let maps = || {
            let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
            maps.lines().count()
        };
        let pool = pool_with(|b| b.num_threads(1));
        let before = maps();
        for _ in 0..300 {
            pool.set_num_threads(4);
            pool.broadcast(|_| ());
            pool.set_num_threads(1);
        }
        pool.shutdown_timeout(LONG).unwrap();
        assert!(maps() < before + 200, "{before} {}", maps());
    });
}

/// A worker that runs tasks of a scope, each of which spawns the next one, leaves when it is surplus.
#[test]
fn surplus_workers_leave_in_the_middle_of_a_scope() {
    fn link<'a>(s: &Scope<'a>, seen: &'a [AtomicUsize], stop: &'a AtomicBool) {
        let index = heist::current_thread_index().unwrap();
        seen[index].fetch_add(1, Ordering::Relaxed);
        if !stop.load(Ordering::Relaxed) {
            s.spawn(move |s| link(s, seen, stop));
        }
    }
    watched(|| {
        let (pool, names) = crate::support::named_pool(|b| b.num_threads(4).spare_threads(0));
        let seen: Vec<_> = (0..4).map(|_| AtomicUsize::new(0)).collect();
        let stop = AtomicBool::new(false);
        thread::scope(|threads| {
            threads.spawn(|| {
                pool.scope_on_workers(|s| {
                    for _ in 0..4 {
                        s.spawn(|s| link(s, &seen, &stop));
                    }
                });
            });
            spin_until(|| seen.iter().all(|count| count.load(Ordering::Relaxed) > 0));
            assert_eq!(pool.set_num_threads(1), 4);
            spin_until(|| crate::support::threads_named(&names) <= 1);
            stop.store(true, Ordering::Relaxed);
        });
    });
}
