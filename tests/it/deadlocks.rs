//! Tasks that wait for tasks, in every way that locks up other pools.

use crate::support::{
    Gate, Held, Ledger, hold_all, isolated, on_pool, on_pool_of, pool_with, serial_fib, watched,
};
use heist::{
    JoinHandle, JoinSet, ThreadPool, WaitFor, Waits, as_completed, first_finished, first_ok, wait,
};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::thread;
use std::time::Duration;

/// Where a task finds the handle that it is to join.
type Link = OnceLock<Mutex<Option<JoinHandle<usize>>>>;

/// A place where a task finds a handle that is made after it.
type Place<T> = Arc<Mutex<Option<JoinHandle<T>>>>;

fn take<T>(place: &Place<T>) -> JoinHandle<T> {
    place.lock().unwrap().take().expect("the handle is there")
}

/// A pool of one thread, with and without stand-ins.
fn single() -> [ThreadPool; 2] {
    [
        pool_with(|b| b.num_threads(1)),
        pool_with(|b| b.num_threads(1).spare_threads(0)),
    ]
}

/// A pool of one thread that helps with anything, without stand-ins.
fn helpful() -> ThreadPool {
    pool_with(|b| b.num_threads(1).spare_threads(0).waits(Waits::Any))
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
                // In the order of submission, and against it.
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

/// A million if `HEIST_TEST_LONG` is set.
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
            // And back: b's task needs a's only worker, which waits for it.
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
            // Which does not run it itself.
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

/// A way to wait for three tasks of a pool, each of which is `task`: the sum of the results that were waited for.
type Way = fn(&ThreadPool, Arc<dyn Fn() -> usize + Send + Sync>) -> usize;

fn three(pool: &ThreadPool, task: &Arc<dyn Fn() -> usize + Send + Sync>) -> Vec<JoinHandle<usize>> {
    let submit = |_| {
        let task = Arc::clone(task);
        pool.submit(move || task())
    };
    (0..3).map(submit).collect()
}

/// Each way, with how many of the three results it waits for.
const WAYS: [(&str, usize, Way); 17] = [
    ("join", 3, |pool, task| {
        let handles = three(pool, &task).into_iter();
        handles.map(|handle| handle.join().unwrap()).sum()
    }),
    ("join_timeout that never comes", 3, |pool, task| {
        let handles = three(pool, &task).into_iter();
        let outcomes = handles.map(|handle| handle.join_timeout(Duration::MAX).unwrap());
        outcomes.map(Result::unwrap).sum()
    }),
    ("wait for all", 3, |pool, task| {
        let handles = three(pool, &task);
        assert_eq!(wait(&handles, WaitFor::All, None).done.len(), 3);
        let handles = handles.into_iter();
        handles.map(|handle| handle.join().unwrap()).sum()
    }),
    ("wait for the first", 1, |pool, task| {
        let mut handles = three(pool, &task);
        let first = wait(&handles, WaitFor::First, None).done[0];
        handles.swap_remove(first).join().unwrap()
    }),
    ("wait for the first error", 3, |pool, task| {
        let handles = three(pool, &task);
        assert_eq!(wait(&handles, WaitFor::FirstError, None).done.len(), 3);
        let handles = handles.into_iter();
        handles.map(|handle| handle.join().unwrap()).sum()
    }),
    ("as_completed", 3, |pool, task| {
        let all = as_completed(three(pool, &task));
        all.map(|(_, outcome)| outcome.unwrap()).sum()
    }),
    ("as_completed once", 1, |pool, task| {
        let mut all = as_completed(three(pool, &task));
        all.next().unwrap().1.unwrap()
    }),
    ("first_finished", 1, |pool, task| {
        first_finished(three(pool, &task)).unwrap().1.unwrap()
    }),
    ("first_ok", 1, |pool, task| {
        let submit = |_| {
            let task = Arc::clone(&task);
            pool.submit(move || Ok::<_, ()>(task()))
        };
        first_ok((0..3).map(submit)).unwrap().1
    }),
    ("JoinSet", 3, |pool, task| {
        let mut set = JoinSet::new(pool);
        for _ in 0..3 {
            let task = Arc::clone(&task);
            set.spawn(move || task());
        }
        std::iter::from_fn(|| set.join_next())
            .map(Result::unwrap)
            .sum()
    }),
    ("imap", 3, |pool, task| {
        pool.imap(0..3, move |_| task()).map(Result::unwrap).sum()
    }),
    ("imap in chunks", 3, |pool, task| {
        let results = pool.imap(0..3, move |_| task()).chunk(2);
        results.map(Result::unwrap).sum()
    }),
    ("imap_unordered", 3, |pool, task| {
        let results = pool.imap_unordered(0..3, move |_| task());
        results.map(|(_, result)| result.unwrap()).sum()
    }),
    ("a scope's imap", 3, |pool, task| {
        pool.scope(|s| s.imap(0..3, |_| task()).map(Result::unwrap).sum())
    }),
    ("a scope's imap_unordered", 3, |pool, task| {
        pool.scope(|s| {
            let results = s.imap_unordered(0..3, |_| task());
            results.map(|(_, result)| result.unwrap()).sum()
        })
    }),
    ("a scope's submit", 3, |pool, task| {
        let task = &task;
        pool.scope(|s| {
            let handles: Vec<_> = (0..3).map(|_| s.submit(|_| task())).collect();
            let handles = handles.into_iter();
            handles.map(|handle| handle.join().unwrap()).sum()
        })
    }),
    ("a scope's spawn", 3, |pool, task| {
        let (sum, task) = (Mutex::new(0), &task);
        pool.scope(|s| {
            for _ in 0..3 {
                s.spawn(|_| {
                    let more = task();
                    *sum.lock().unwrap() += more;
                });
            }
        });
        sum.into_inner().unwrap()
    }),
];

/// Waits in its destructor.
struct WaitsOnDrop(ThreadPool, Way, mpsc::Sender<usize>);

impl Drop for WaitsOnDrop {
    fn drop(&mut self) {
        let sum = (self.1)(&self.0, Arc::new(|| 1));
        self.2.send(sum).unwrap();
    }
}

#[test]
fn every_wait_in_a_destructor_of_an_unwinding_task_ends() {
    watched(|| {
        for (name, waits_for, way) in WAYS {
            for pool in single().into_iter().chain([pool_with(|b| b), helpful()]) {
                let (send, receive) = mpsc::channel();
                let guard = WaitsOnDrop(pool.clone(), way, send);
                let handle = pool.submit(move || {
                    let _guard = guard;
                    panic!("unwinds");
                });
                assert_eq!(receive.recv(), Ok(waits_for), "{name}");
                assert!(handle.join().unwrap_err().is_panic());
            }
        }
    });
}

#[test]
fn every_wait_in_a_destructor_of_an_unwinding_guest_ends() {
    watched(|| {
        for (name, waits_for, way) in WAYS {
            for pool in single().into_iter().chain([helpful()]) {
                let (send, receive) = mpsc::channel();
                let unwound = crate::support::outcome(|| {
                    pool.install(|| {
                        let _guard = WaitsOnDrop(pool.clone(), way, send);
                        std::panic::resume_unwind(Box::new("unwinds"));
                    })
                });
                assert!(unwound.is_err());
                assert_eq!(receive.recv(), Ok(waits_for), "{name}");
            }
        }
    });
}

#[test]
fn every_wait_in_a_panic_hook_ends() {
    isolated("deadlocks::every_wait_in_a_panic_hook_ends", || {
        for (name, waits_for, way) in WAYS {
            for pool in single().into_iter().chain([helpful()]) {
                let (own, (send, receive)) = (pool.clone(), mpsc::channel());
                std::panic::set_hook(Box::new(move |_| {
                    send.send(way(&own, Arc::new(|| 1))).unwrap();
                }));
                let handle = pool.submit(|| panic!("calls the hook"));
                assert!(handle.join().unwrap_err().is_panic());
                assert_eq!(receive.recv(), Ok(waits_for), "{name}");
                drop(std::panic::take_hook());
            }
        }
    });
}

/// Waits in the pools in turn, one inside the other, so many deep.
fn nest(pools: &Arc<[ThreadPool]>, at: usize, depth: usize, ways: &'static [usize]) -> usize {
    if depth == 0 {
        return 1;
    }
    let (_, _, way) = WAYS[ways[depth % ways.len()]];
    let inner = Arc::clone(pools);
    let next = (at + 1) % pools.len();
    way(
        &pools[at],
        Arc::new(move || nest(&inner, next, depth - 1, ways)),
    )
}

/// What it returns.
fn nested(depth: usize, ways: &[usize]) -> usize {
    let waits_for = (1..=depth).map(|depth| WAYS[ways[depth % ways.len()]].1);
    waits_for.product()
}

fn across(count: usize, ways: &'static [usize], depth: usize) {
    let pools: [fn() -> ThreadPool; 3] = [
        || pool_with(|b| b.num_threads(1)),
        || pool_with(|b| b.num_threads(1).spare_threads(0)),
        helpful,
    ];
    for pool in pools {
        let pools: Arc<[ThreadPool]> = (0..count).map(|_| pool()).collect();
        // On a worker of the first pool, then from outside.
        let own = Arc::clone(&pools);
        let handle = pools[0].submit(move || nest(&own, 1 % count, depth, ways));
        let names: Vec<_> = ways.iter().map(|&way| WAYS[way].0).collect();
        assert_eq!(handle.join().unwrap(), nested(depth, ways), "{names:?}");
        assert_eq!(
            nest(&pools, 0, depth, ways),
            nested(depth, ways),
            "{names:?}"
        );
    }
}

/// Each way alone, as a list that lives long enough.
const ALONE: [[usize; 1]; WAYS.len()] = {
    let mut alone = [[0]; WAYS.len()];
    let mut n = 0;
    while n < alone.len() {
        alone[n] = [n];
        n += 1;
    }
    alone
};

#[test]
fn two_pools_wait_for_each_other_in_each_way() {
    watched(|| {
        for ways in &ALONE {
            across(2, ways, 6);
        }
    });
}

#[test]
fn three_pools_wait_for_each_other_in_each_way() {
    watched(|| {
        for ways in &ALONE {
            across(3, ways, 6);
        }
    });
}

#[test]
fn two_and_three_pools_wait_for_each_other_in_all_ways_at_once() {
    const EACH: [usize; WAYS.len()] = {
        let mut each = [0; WAYS.len()];
        let mut n = 0;
        while n < each.len() {
            each[n] = n;
            n += 1;
        }
        each
    };
    watched(|| {
        for count in [2, 3] {
            across(count, &EACH, 8);
        }
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
        // A guest runs it itself; a plain thread would wait.
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
            // So that the joins below run all of them, one on top of the other.
            let held = hold_all(&pool);
            pool.scope(|s| {
                let (pool, held) = (&pool, &held);
                let mut handle = s.submit(move |_| {
                    held.open();
                    // Whoever comes across the places of these tasks in the queue has had the time to.
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
