//! Calls that block inside futures.
//!
//! By meaning, these are the cases of tokio's `task_blocking`, of the parts of its `rt_threaded` on `block_in_place`, and of those of its `rt_common` on
//! `spawn_blocking`, without those that `async_waits` has.

use crate::support::{
    Door, Gate, assert_balanced, fib, on_pool, pool_with, spin_until, threads, watched,
};
use heist::{Semaphore, ThreadPool, block_on, blocking};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

#[test]
fn a_future_awaits_closures_that_block() {
    on_pool(|pool| {
        for depth in 0..3 {
            for _ in 0..50 {
                let own = pool.clone();
                let outer = pool.submit_async(async move {
                    let closure = own.submit(move || match depth {
                        0 => blocking(|| "hello"),
                        1 => blocking(|| blocking(|| "hello")),
                        _ => blocking(|| block_on(async { blocking(|| "hello") })),
                    });
                    closure.await.unwrap()
                });
                assert_eq!(outer.join().unwrap(), "hello");
            }
        }
        assert_balanced(pool);
    });
}

#[test]
fn calls_that_block_submit_further_ones() {
    on_pool(|pool| {
        let inner = block_on(pool.submit(|| {
            blocking(|| heist::submit(|| blocking(|| heist::submit_async(async { "hello" }))))
        }));
        let inner = block_on(inner.unwrap()).unwrap();
        assert_eq!(block_on(inner).unwrap(), "hello");
    });
}

#[test]
fn a_sleep_in_a_call_that_blocks() {
    on_pool(|pool| {
        let handle = pool.submit(|| {
            let (start, time) = (Instant::now(), Duration::from_millis(1));
            blocking(|| block_on(heist::sleep(time)));
            assert!(start.elapsed() >= time);
        });
        handle.join().unwrap();
    });
}

/// All workers block at once, and others poll futures meanwhile.
#[test]
fn many_futures_while_every_worker_blocks() {
    watched(|| {
        let count = threads();
        let pool = pool_with(|b| b.num_threads(count).spare_threads(count));
        for _ in 0..10 {
            let barrier = Arc::new(Barrier::new(count + 1));
            let blocked: Vec<_> = (0..count)
                .map(|_| {
                    let barrier = Arc::clone(&barrier);
                    pool.submit_async(async move {
                        blocking(|| {
                            barrier.wait();
                            barrier.wait();
                        });
                    })
                })
                .collect();
            barrier.wait();
            let handles: Vec<_> = (0..500)
                .map(|n| {
                    pool.submit_async(async move {
                        heist::yield_async().await;
                        n
                    })
                })
                .collect();
            let sum: usize = heist::try_join_all(handles).unwrap().into_iter().sum();
            assert_eq!(sum, 500 * 499 / 2);
            barrier.wait();
            heist::try_join_all(blocked).unwrap();
        }
        assert_balanced(&pool);
    });
}

/// After such a call, the future is suspended and goes on as any other one.
#[test]
fn a_future_yields_and_awaits_after_a_call_that_blocks() {
    watched(|| {
        for spares in [0, 1, threads()] {
            let pool = pool_with(|b| b.num_threads(1).spare_threads(spares));
            let door = Door::default();
            let passage = door.pass();
            let handle = pool.submit_async(async move {
                let sum = blocking(|| {
                    let inner = pool_with(|b| b.num_threads(1));
                    block_on(inner.submit_async(async { 1 })).unwrap() + inner.run(|| fib(3))
                });
                heist::yield_async().await;
                blocking(|| ());
                passage.await;
                blocking(|| sum)
            });
            spin_until(|| door.polls() == 1);
            door.open();
            assert_eq!(handle.join().unwrap(), 3);
            assert_balanced(&pool);
        }
    });
}

/// A call that blocks, in a future that the thread polls in a call that blocks, many times: the place is left once and taken back once.
#[test]
fn calls_that_block_around_futures_that_block() {
    watched(|| {
        let pool = pool_with(|b| b.num_threads(1).spare_threads(1));
        for _ in 0..200 {
            let handle = pool.submit_async(async {
                blocking(|| {
                    block_on(async {
                        blocking(|| ());
                        heist::yield_async().await;
                        blocking(|| heist::join(|| 1, || 2))
                    })
                })
            });
            assert_eq!(handle.join().unwrap(), (1, 2));
        }
        assert_balanced(&pool);
    });
}

/// Takes and returns a permit very often without a wait in between, on a thread that has left its place.
#[test]
fn permits_in_a_call_that_blocks() {
    watched(|| {
        let pool = pool_with(|b| b.num_threads(1));
        let handle = pool.submit_async(async {
            let semaphore = Semaphore::new(1);
            blocking(|| {
                block_on(async {
                    for _ in 0..1_000 {
                        drop(semaphore.acquire().await);
                    }
                });
                semaphore.available()
            })
        });
        assert_eq!(handle.join().unwrap(), 1);
    });
}

/// A future that was woken on a worker, which blocks next, does not stay with that worker.
#[test]
fn what_a_worker_has_woken_runs_before_its_call_that_blocks_ends() {
    watched(|| {
        let pool = pool_with(|b| b.num_threads(1).spare_threads(1));
        for woken in [false, true] {
            let (door, gate) = (Door::default(), Gate::default());
            let passage = door.pass();
            let opens = gate.clone();
            let waits = pool.submit_async(async move {
                passage.await;
                opens.open();
            });
            spin_until(|| door.polls() == 1);
            let (own, yields) = (gate.clone(), !woken);
            let blocks = pool.submit_async(async move {
                door.open();
                if yields {
                    heist::yield_async().await;
                }
                blocking(|| own.pass());
            });
            blocks.join().unwrap();
            waits.join().unwrap();
        }
    });
}

/// A closure joins a future that awaits another closure. A thread that joins a future runs only that future, so nobody runs the other closure: it is unknown what
/// a future awaits. The test hangs. It stays, because it shows what a mended join must do.
#[test]
#[ignore = "a known limit of `submit_async`: it hangs, unless there are more spare threads than such closures"]
fn a_closure_joins_a_future_that_awaits_a_closure_on_the_only_thread() {
    watched(|| {
        let pool = pool_with(|b| b.num_threads(1).spare_threads(0));
        let own = pool.clone();
        let outer = pool.submit(move || {
            let closure = own.submit(|| 1);
            let future = own.submit_async(async move { closure.await.unwrap() });
            future.join().unwrap()
        });
        assert_eq!(outer.join().unwrap(), 1);
    });
}

/// Futures of two pools block until the other one has run something.
#[test]
fn two_pools_block_for_each_other() {
    watched(|| {
        let pools: [ThreadPool; 2] = std::array::from_fn(|_| pool_with(|b| b.num_threads(1)));
        let count = Arc::new(AtomicUsize::new(0));
        let handles: Vec<_> = (0..2)
            .map(|n| {
                let (other, count) = (pools[1 - n].clone(), Arc::clone(&count));
                pools[n].submit_async(async move {
                    for _ in 0..50 {
                        let count = Arc::clone(&count);
                        let handle = other.submit_async(async move {
                            heist::yield_async().await;
                            count.fetch_add(1, Ordering::SeqCst);
                        });
                        blocking(|| block_on(handle)).unwrap();
                    }
                })
            })
            .collect();
        heist::try_join_all(handles).unwrap();
        assert_eq!(count.load(Ordering::SeqCst), 100);
    });
}
