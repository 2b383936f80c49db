//! Pools that wait for each other in every way, and every wait in a destructor or a panic hook.

use crate::support::{isolated, pool_with, single, watched};
use heist::{
    JoinHandle, JoinSet, ThreadPool, WaitFor, Waits, as_completed, first_finished, first_ok, wait,
};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

/// A pool of one thread whose waits run any work, without spares.
fn helpful() -> ThreadPool {
    pool_with(|b| b.num_threads(1).spare_threads(0).waits(Waits::Any))
}

/// A way to wait for three tasks of a pool that all run `task`. Returns the sum of the results that it waited for.
type Way = fn(&ThreadPool, Arc<dyn Fn() -> usize + Send + Sync>) -> usize;

fn three(pool: &ThreadPool, task: &Arc<dyn Fn() -> usize + Send + Sync>) -> Vec<JoinHandle<usize>> {
    let submit = |_| {
        let task = Arc::clone(task);
        pool.submit(move || task())
    };
    (0..3).map(submit).collect()
}

/// Each way, and how many of the three results it waits for.
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

/// A value that waits in its destructor.
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
    isolated("waits_crossed::every_wait_in_a_panic_hook_ends", || {
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

/// Waits in the pools in turn, one wait inside the other, `depth` levels deep.
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

/// The value that `nest` returns.
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
        // The program runs on a worker of the first pool, then on a thread outside.
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
            across(2, ways, 5);
        }
    });
}

#[test]
fn three_pools_wait_for_each_other_in_each_way() {
    watched(|| {
        for ways in &ALONE {
            across(3, ways, 5);
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
