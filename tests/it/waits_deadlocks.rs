//! Tasks that wait for tasks in every way that deadlocks other pools.

use crate::support::{
    Gate, Held, Ledger, hold_all, on_pool, on_pool_of, pool_with, serial_fib, single, watched,
};
use heist::{JoinHandle, ThreadPool};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::thread;
use std::time::Duration;

/// The place of the handle that a task joins.
type Link = OnceLock<Mutex<Option<JoinHandle<usize>>>>;

/// A place where a task finds a handle that is made after it.
type Place<T> = Arc<Mutex<Option<JoinHandle<T>>>>;

fn take<T>(place: &Place<T>) -> JoinHandle<T> {
    place.lock().unwrap().take().expect("the handle is there")
}

#[test]
fn a_task_joins_a_later_one_on_a_single_thread() {
    watched(|| {
        for pool in single() {
            let held = hold_all(&pool);
            let place: Place<u32> = Arc::default();
            let later = Arc::clone(&place);
            let first = pool.submit(move || take(&later).join().unwrap() + 1);
            *place.lock().unwrap() = Some(pool.submit(|| 5));
            held.open();
            assert_eq!(first.join().unwrap(), 6);
        }
    });
}

#[test]
fn a_task_joins_an_earlier_one_on_a_single_thread() {
    watched(|| {
        for pool in single() {
            let held = hold_all(&pool);
            let first = pool.submit(|| 5);
            let second = pool.submit(move || first.join().unwrap() + 1);
            held.open();
            assert_eq!(second.join().unwrap(), 6);
        }
    });
}

#[test]
fn a_task_joins_what_it_submits_on_a_single_thread() {
    watched(|| {
        for pool in single() {
            let own = pool.clone();
            let outer = pool.submit(move || {
                let handles: Vec<_> = (0..50).map(|n| own.submit(move || n)).collect();
                // The joins are in the order of submission, and in the reverse order.
                let (left, right) = (handles.into_iter(), own.submit(|| 0));
                let mut sum = right.join().unwrap();
                for handle in left.rev() {
                    sum += handle.join().unwrap();
                }
                sum
            });
            assert_eq!(outer.join().unwrap(), 49 * 25);
        }
    });
}

#[test]
fn two_tasks_wait_for_each_others_children() {
    watched(|| {
        for pool in [
            pool_with(|b| b),
            pool_with(|b| b.spare_threads(0)),
            pool_with(|b| b.num_threads(1)),
            pool_with(|b| b.num_threads(1).spare_threads(0)),
            pool_with(|b| b.num_threads(2).spare_threads(0)),
        ] {
            for _ in 0..50 {
                let places: [Place<usize>; 2] = [Arc::default(), Arc::default()];
                for (n, place) in places.iter().enumerate() {
                    *place.lock().unwrap() = Some(pool.submit(move || n));
                }
                let [left, right] = [0, 1].map(|n| {
                    let other = Arc::clone(&places[1 - n]);
                    let own = pool.clone();
                    pool.submit(move || {
                        let mine = own.submit(move || 10 * n);
                        take(&other).join().unwrap() + mine.join().unwrap()
                    })
                });
                assert_eq!(left.join().unwrap(), 1);
                assert_eq!(right.join().unwrap(), 10);
            }
        }
    });
}

fn fib(pool: &ThreadPool, n: u32) -> u64 {
    if n < 2 {
        return u64::from(n);
    }
    let (own, other) = (pool.clone(), pool.clone());
    let left = pool.submit(move || fib(&own, n - 1));
    let right = pool.submit(move || fib(&other, n - 2));
    left.join().unwrap() + right.join().unwrap()
}

#[test]
fn fib_by_submit_ends() {
    watched(|| {
        for pool in [pool_with(|b| b), pool_with(|b| b.num_threads(1))] {
            let own = pool.clone();
            let inside = pool.submit(move || fib(&own, 15));
            assert_eq!(inside.join().unwrap(), serial_fib(15));
            assert_eq!(pool.install(|| fib(&pool, 12)), serial_fib(12));
            assert_eq!(fib(&pool, 12), serial_fib(12));
        }
    });
}

/// Each task joins the one that is submitted after it.
fn chain(pool: &ThreadPool, length: usize) -> JoinHandle<usize> {
    let held = hold_all(pool);
    let places: Arc<[Link]> = (0..=length).map(|_| OnceLock::new()).collect();
    for n in 0..=length {
        let others = Arc::clone(&places);
        let handle = pool.submit(move || {
            if n == length {
                return 0;
            }
            let next = others[n + 1].get().unwrap().lock().unwrap().take();
            next.unwrap().join().unwrap() + 1
        });
        assert!(places[n].set(Mutex::new(Some(handle))).is_ok());
    }
    let first = places[0].get().unwrap().lock().unwrap().take().unwrap();
    held.open();
    first
}

/// The length of the chain: a million if `HEIST_TEST_LONG` is set.
fn long_chain(threads: usize) {
    let length = match std::env::var_os("HEIST_TEST_LONG") {
        Some(_) => 1_000_000,
        None => 100_000,
    };
    on_pool_of(threads, move |pool| {
        assert_eq!(chain(pool, length).join().unwrap(), length);
    });
}

#[test]
fn a_chain_of_joins_needs_no_deep_stack_on_a_single_thread() {
    long_chain(1);
}

#[test]
fn a_chain_of_joins_needs_no_deep_stack_on_two_threads() {
    long_chain(2);
}

#[test]
fn a_chain_of_joins_is_joined_by_a_guest() {
    on_pool(|pool| {
        let first = chain(pool, 20_000);
        assert_eq!(pool.install(|| first.join()).unwrap(), 20_000);
    });
}

#[test]
fn a_recursion_of_submit_and_join_is_deep() {
    fn down(pool: &ThreadPool, n: usize) -> usize {
        if n == 0 {
            return 0;
        }
        let own = pool.clone();
        pool.submit(move || down(&own, n - 1)).join().unwrap() + 1
    }
    watched(|| {
        for pool in single() {
            let own = pool.clone();
            let handle = pool.submit(move || down(&own, 10_000));
            assert_eq!(handle.join().unwrap(), 10_000);
        }
    });
}

#[test]
fn a_task_joins_a_handle_of_another_pool() {
    watched(|| {
        for [a, b] in [
            [pool_with(|b| b), pool_with(|b| b)],
            single(),
            [
                pool_with(|b| b.num_threads(1)),
                pool_with(|b| b.num_threads(1)),
            ],
        ] {
            let of_b = b.submit(|| 5);
            assert_eq!(
                a.submit(move || of_b.join().unwrap() + 1).join().unwrap(),
                6
            );
            // In return, the task of b needs the only worker of a, which waits for that task.
            let (own_a, own_b) = (a.clone(), b.clone());
            let there_and_back = a.submit(move || {
                let back = own_a.clone();
                own_b
                    .submit(move || back.install(|| back.submit(|| 7).join().unwrap()))
                    .join()
                    .unwrap()
            });
            assert_eq!(there_and_back.join().unwrap(), 7);
        }
    });
}

/// Each task submits the next to the other pool and joins it.
fn ping_pong(pools: [ThreadPool; 2], depth: usize) -> usize {
    if depth == 0 {
        return 0;
    }
    let [here, there] = pools;
    let next = [there.clone(), here];
    there
        .submit(move || ping_pong(next, depth - 1))
        .join()
        .unwrap()
        + 1
}

#[test]
fn two_pools_join_each_other_as_deep_as_their_stand_ins_reach() {
    watched(|| {
        let pools = [
            pool_with(|b| b.num_threads(2)),
            pool_with(|b| b.num_threads(2)),
        ];
        assert_eq!(ping_pong(pools, 4), 4);
    });
}

#[test]
fn two_pools_join_each_other_without_end() {
    watched(|| {
        let pools = [
            pool_with(|b| b.num_threads(1)),
            pool_with(|b| b.num_threads(1)),
        ];
        assert_eq!(ping_pong(pools, 60), 60);
    });
}

#[test]
fn handles_are_joined_inside_scope_map_and_join_closures() {
    watched(|| {
        for pool in [
            pool_with(|b| b),
            pool_with(|b| b.num_threads(1)),
            pool_with(|b| b.num_threads(1).spare_threads(0)),
        ] {
            let handles = || -> Vec<_> { (0..40_u64).map(|n| pool.submit(move || n)).collect() };
            let sum: u64 = pool
                .map(handles(), |handle| handle.join().unwrap())
                .into_iter()
                .sum();
            assert_eq!(sum, 780);
            let total = Mutex::new(0);
            pool.scope(|s| {
                for handle in handles() {
                    let total = &total;
                    s.spawn(move |_| *total.lock().unwrap() += handle.join().unwrap());
                }
            });
            assert_eq!(total.into_inner().unwrap(), 780);
            let mut two = handles().into_iter();
            let (a, b) = (two.next().unwrap(), two.nth(20).unwrap());
            let (a, b) = pool.join(|| a.join().unwrap(), || b.join().unwrap());
            assert_eq!(a + b, 21);
            let own = pool.clone();
            let inside = pool.submit(move || {
                let handles: Vec<_> = (0..40_u64).map(|n| own.submit(move || n)).collect();
                let joined = own.map(handles, |handle| handle.join().unwrap());
                joined.into_iter().sum::<u64>()
            });
            assert_eq!(inside.join().unwrap(), 780);
        }
    });
}

#[test]
fn a_lock_is_held_across_a_join_of_a_handle() {
    watched(|| {
        for pool in [pool_with(|b| b), pool_with(|b| b.num_threads(1))] {
            let lock = Arc::new(Mutex::new(0));
            let handles: Vec<_> = (0..40)
                .map(|_| {
                    let (own, lock) = (pool.clone(), Arc::clone(&lock));
                    pool.submit(move || {
                        let mut count = lock.lock().unwrap();
                        let child = own.submit(|| 1);
                        *count += child.join().unwrap();
                    })
                })
                .collect();
            for handle in handles {
                handle.join().unwrap();
            }
            assert_eq!(*lock.lock().unwrap(), 40);
        }
    });
}

#[test]
fn a_stand_in_runs_what_a_waiting_worker_may_not() {
    on_pool_of(1, |pool| {
        let own = pool.clone();
        let handle = pool.submit(move || {
            let other = own.submit(|| 3);
            // The waiting worker does not run the task itself.
            let other = other.join_timeout(std::time::Duration::from_secs(40));
            other.ok().unwrap().unwrap()
        });
        assert_eq!(handle.join().unwrap(), 3);
    });
}

#[test]
fn a_join_in_a_destructor_of_an_unwinding_task_ends() {
    unwinding_join(|b| b.num_threads(1));
    unwinding_join(|b| b);
}

#[test]
fn a_join_in_a_destructor_of_an_unwinding_task_ends_without_stand_ins() {
    unwinding_join(|b| b.num_threads(1).spare_threads(0));
}

fn unwinding_join(configure: fn(heist::ThreadPoolBuilder) -> heist::ThreadPoolBuilder) {
    struct JoinOnDrop(ThreadPool, mpsc::Sender<u32>);
    impl Drop for JoinOnDrop {
        fn drop(&mut self) {
            let value = self.0.submit(|| 8).join().unwrap();
            self.1.send(value).unwrap();
        }
    }
    watched(move || {
        let pool = pool_with(configure);
        let (send, receive) = mpsc::channel();
        let guard = JoinOnDrop(pool.clone(), send);
        let handle = pool.submit(move || {
            let _guard = guard;
            panic!("unwinds");
        });
        assert_eq!(receive.recv(), Ok(8));
        assert!(
            handle
                .join()
                .is_err_and(|error: heist::JoinError| error.is_panic())
        );
    });
}

#[test]
fn two_pools_consume_each_others_streams_without_end() {
    fn down(pools: [ThreadPool; 2], depth: usize) -> usize {
        if depth == 0 {
            return 0;
        }
        let [here, there] = pools;
        let next = [there.clone(), here];
        let mut results = there.imap([next], move |next| down(next, depth - 1));
        results.next().unwrap().unwrap() + 1
    }
    watched(|| {
        let pools = || [0, 1].map(|_| pool_with(|b| b.num_threads(1)));
        assert_eq!(down(pools(), 60), 60);
        let [a, b] = pools();
        let inner = [a.clone(), b];
        assert_eq!(a.submit(move || down(inner, 60)).join().unwrap(), 60);
    });
}

#[test]
fn outside_threads_join_while_all_workers_are_blocked() {
    on_pool(|pool| {
        let held = hold_all(pool);
        let handle = pool.submit(|| 9);
        // A guest runs the task itself. A plain thread would wait.
        assert_eq!(pool.install(|| handle.join()).unwrap(), 9);
        let gate = Held(Gate::default());
        let stands = gate.0.clone();
        let handle = pool.submit(move || stands.pass());
        gate.open();
        pool.install(|| handle.join()).unwrap();
        drop(held);
    });
}

#[test]
fn a_scoped_task_that_is_joined_meets_its_own_place_in_the_queue() {
    watched(|| {
        for pool in single() {
            let yielding = |pool: &ThreadPool| {
                pool.scope(|s| {
                    let handle = s.submit(|_| {
                        while heist::yield_now() {}
                        1
                    });
                    handle.join().unwrap()
                })
            };
            assert_eq!(yielding(&pool), 1);
            let own = pool.clone();
            assert_eq!(pool.submit(move || yielding(&own)).join().unwrap(), 1);
            let from_a_stream = pool.scope(|s| {
                s.imap(0..10, |n| {
                    heist::yield_now();
                    n
                })
                .map(Result::unwrap)
                .sum::<u32>()
            });
            assert_eq!(from_a_stream, 45);
        }
    });
}

#[test]
fn scoped_tasks_that_their_handles_run_keep_no_worker() {
    watched(|| {
        for workers in 1..=3 {
            let pool = pool_with(|b| b.num_threads(workers).spare_threads(0));
            // The joins below then run all tasks, one on top of the other.
            let held = hold_all(&pool);
            pool.scope(|s| {
                let (pool, held) = (&pool, &held);
                let mut handle = s.submit(move |_| {
                    held.open();
                    // Other threads have had time to find the entries of these tasks in the queue.
                    thread::sleep(Duration::from_millis(20));
                    assert!(pool.submit(|| ()).wait_timeout(Duration::from_secs(20)));
                });
                for _ in 0..workers {
                    let inner = handle;
                    handle = s.submit(move |_| inner.join().unwrap());
                }
                handle.join().unwrap();
            });
        }
    });
}

#[test]
fn a_scope_outlasts_tasks_that_run_elsewhere() {
    watched(|| {
        let (pool, other) = (pool_with(|b| b), pool_with(|b| b.num_threads(1)));
        for cancels in [false, true] {
            for _ in 0..200 {
                let results = Ledger::new(20);
                let mut tickets = results.tickets();
                thread::scope(|threads| {
                    pool.scope(|s| {
                        for ticket in tickets.drain(..) {
                            let captured = &results;
                            let handle = s.submit(move |_| {
                                drop(ticket);
                                captured
                            });
                            let other = &other;
                            threads.spawn(move || {
                                if cancels {
                                    handle.cancel();
                                    return;
                                }
                                other.install(|| assert!(handle.join().is_ok()));
                            });
                        }
                    });
                    // All have been dropped by now.
                    results.assert_settled();
                });
            }
        }
        pool.wait_idle();
        let stats = pool.stats();
        assert_eq!(
            stats.submitted,
            stats.completed + stats.failed + stats.cancelled
        );
    });
}
