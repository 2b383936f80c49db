//! Calls that block inside futures.
//!
//! By meaning, these are the cases of tokio's `task_blocking`, of the parts of its `rt_threaded` on `block_in_place`, and of those of its `rt_common` on
//! `spawn_blocking`, without those that `async_waits` has.

use crate::support::{
    Door, Gate, Held, LONG, assert_balanced, fib, on_pool, pool_with, spin_until, threads, watched,
};
use heist::{JoinSet, Priority, Semaphore, ThreadPool, block_on, blocking};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
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

/// A future that awaits what is queued, in one of the possible ways.
type Awaits = fn(&ThreadPool) -> BoxFuture;
type BoxFuture = Pin<Box<dyn Future<Output = usize> + Send>>;

/// What a future can await that no thread but the one which waits for the future can run.
const AWAITS: [(&str, Awaits); 9] = [
    ("a closure", |pool| {
        let closure = pool.submit(|| 1);
        Box::pin(async move { closure.await.unwrap() })
    }),
    ("a closure of low priority", |pool| {
        let closure = pool.task().priority(Priority::Low).submit(|| 1);
        Box::pin(async move { closure.await.unwrap() })
    }),
    ("a future that awaits a closure", |pool| {
        let closure = pool.submit(|| 1);
        let inner = pool.submit_async(async move { closure.await.unwrap() });
        let outer = pool.submit_async(async move { inner.await.unwrap() });
        Box::pin(async move { outer.await.unwrap() })
    }),
    ("what follows a closure", |pool| {
        let next = pool.submit(|| ()).then(|_| 1);
        Box::pin(async move { next.await.unwrap() })
    }),
    ("a set", |pool| {
        let mut set = JoinSet::new(pool);
        set.spawn(|| 1);
        set.spawn(|| 0);
        Box::pin(
            async move { set.next().await.unwrap().unwrap() + set.next().await.unwrap().unwrap() },
        )
    }),
    ("several", |pool| {
        let mut all = heist::as_completed([pool.submit(|| 1), pool.submit(|| 0)]);
        Box::pin(async move {
            let mut sum = 0;
            while let Some((_, result)) = all.next_async().await {
                sum += result.unwrap();
            }
            sum
        })
    }),
    ("a stream", |pool| {
        let mut stream = pool.imap_async([0, 0, 1], |n| n);
        Box::pin(async move {
            let mut sum = 0;
            while let Some(result) = stream.next().await {
                sum += result.unwrap();
            }
            sum
        })
    }),
    ("a closure within a time limit", |pool| {
        let limited = heist::timeout(LONG, pool.submit(|| 1));
        Box::pin(async move { limited.await.unwrap().unwrap() })
    }),
    ("a closure that does it again", |pool| {
        let own = pool.clone();
        let closure = pool.submit(move || {
            let inner = own.submit(|| 1);
            own.submit_async(async move { inner.await.unwrap() })
                .join()
                .unwrap()
        });
        Box::pin(async move { closure.await.unwrap() })
    }),
];

/// The thread that waits runs what the future awaits, and no other task, if no other thread can.
#[test]
fn a_thread_that_waits_for_a_future_runs_what_it_awaits() {
    watched(|| {
        for threads in [1, 2] {
            let pool = pool_with(|b| b.num_threads(threads).spare_threads(0));
            for (what, awaits) in AWAITS {
                // All threads wait in this way, so no other one can run anything.
                let begun = Arc::new(Barrier::new(threads));
                let outer = || {
                    let (own, begun) = (pool.clone(), Arc::clone(&begun));
                    move || {
                        begun.wait();
                        let waiting = Arc::new(AtomicBool::new(true));
                        let (seen, waiter) = (Arc::clone(&waiting), thread::current().id());
                        let stranger = own.submit(move || {
                            let is_inside = thread::current().id() == waiter;
                            let waits = is_inside && seen.load(Ordering::SeqCst);
                            assert!(!waits, "an unrelated task ran in a wait");
                        });
                        let joined = own.submit_async(awaits(&own)).join().unwrap();
                        let blocked = heist::block_on(awaits(&own));
                        waiting.store(false, Ordering::SeqCst);
                        (joined, blocked, stranger)
                    }
                };
                let outers: Vec<_> = (0..threads).map(|_| pool.submit(outer())).collect();
                for outer in outers {
                    let (joined, blocked, stranger) = outer.join().unwrap();
                    assert_eq!((joined, blocked), (1, 1), "{what}, {threads} threads");
                    stranger.join().unwrap();
                }
            }
        }
    });
}

/// Joins a future that awaits a closure which does the same, `depth` times.
fn nested(pool: &ThreadPool, depth: usize) -> usize {
    if depth == 0 {
        return 0;
    }
    let own = pool.clone();
    let closure = pool.submit(move || nested(&own, depth - 1) + 1);
    let future = pool.submit_async(async move { closure.await.unwrap() });
    future.join().unwrap()
}

/// Also where little stack is left, so that another thread polls the future.
#[test]
fn a_deep_recursion_through_futures_on_the_only_thread() {
    watched(|| {
        let pool = pool_with(|b| b.num_threads(1).spare_threads(0));
        let own = pool.clone();
        let outer = pool.submit(move || nested(&own, 1_000));
        assert_eq!(outer.join().unwrap(), 1_000);
    });
}

/// The thread comes to each future of the chain without a wait.
#[test]
fn a_chain_of_futures_on_the_only_thread() {
    watched(|| {
        let pool = pool_with(|b| b.num_threads(1).spare_threads(0));
        let own = pool.clone();
        let outer = pool.submit(move || {
            let mut last = own.submit(|| 0);
            for _ in 0..2_000 {
                let next = async move { last.await.unwrap() + 1 };
                last = own.submit_async(next);
            }
            last.join().unwrap()
        });
        assert_eq!(outer.join().unwrap(), 2_000);
    });
}

/// The closure is in the deque of a thread that waits for the one which waits for the closure.
#[test]
fn what_is_awaited_is_queued_on_another_thread_that_waits() {
    watched(|| {
        let pool = pool_with(|b| b.num_threads(2).spare_threads(0));
        for _ in 0..20 {
            let own = pool.clone();
            let outer = pool.submit(move || {
                let handle = own.submit(|| 1);
                let begun = AtomicBool::new(false);
                let wait = || {
                    begun.store(true, Ordering::SeqCst);
                    block_on(handle).unwrap()
                };
                let (_, one) = own.join(|| spin_until(|| begun.load(Ordering::SeqCst)), wait);
                one
            });
            assert_eq!(outer.join().unwrap(), 1);
        }
    });
}

/// The closure and the wait for it are on different queues of the same thread, since one of them belongs to a task that a yield has run.
#[test]
fn what_is_awaited_was_queued_in_a_yield() {
    watched(|| {
        let pool = pool_with(|b| b.num_threads(1).spare_threads(0));
        let own = pool.clone();
        let outer = pool.submit(move || {
            let (send, receive) = mpsc::channel();
            let submitter = own.clone();
            own.spawn(move || send.send(submitter.submit(|| 1)).unwrap());
            assert!(heist::yield_now());
            block_on(receive.recv().unwrap()).unwrap()
        });
        assert_eq!(outer.join().unwrap(), 1);

        let own = pool.clone();
        let outer = pool.submit(move || {
            let handle = own.submit(|| 1);
            let waits = own.submit(move || block_on(handle).unwrap());
            assert!(heist::yield_now());
            waits.join().unwrap()
        });
        assert_eq!(outer.join().unwrap(), 1);
    });
}

/// The only thread of a pool waits as a guest of another pool.
#[test]
fn what_is_awaited_is_queued_in_the_pool_of_a_guest() {
    watched(|| {
        let pool = pool_with(|b| b.num_threads(1).spare_threads(0));
        let other = pool_with(|b| b.num_threads(1));
        let own = pool.clone();
        let outer = pool.submit(move || {
            let handle = own.submit(|| 1);
            let blocked = other.install(|| block_on(handle).unwrap());
            let future = own.submit_async(AWAITS[0].1(&own));
            blocked + other.install(|| future.join().unwrap())
        });
        assert_eq!(outer.join().unwrap(), 2);
    });
}

/// While another thread can begin it, a wait leaves the closure alone, however long that thread takes.
#[test]
fn a_time_limit_ends_a_wait_whose_closure_others_can_begin() {
    watched(|| {
        let pool = pool_with(|b| b.num_threads(2).spare_threads(0));
        let (busy, gate) = (Held(Gate::default()), Held(Gate::default()));
        let (begun, seen) = (Gate::default(), busy.0.clone());
        let begins = begun.clone();
        pool.spawn(move || {
            begins.open();
            seen.pass();
        });
        begun.pass();
        let (own, closed) = (pool.clone(), gate.0.clone());
        let outer = pool.submit(move || {
            let closure = own.submit(move || closed.pass());
            block_on(heist::timeout(Duration::from_millis(200), closure)).is_err()
        });
        assert!(outer.join().unwrap(), "it ran the closure");
        gate.open();
        busy.open();
    });
}

/// A destructor that runs because of a panic joins a future that awaits a closure, on the only thread.
#[test]
fn a_destructor_joins_a_future_on_the_only_thread() {
    struct Joins(ThreadPool);

    impl Drop for Joins {
        fn drop(&mut self) {
            assert_eq!(nested(&self.0, 3), 3);
        }
    }

    watched(|| {
        let pool = pool_with(|b| b.num_threads(1).spare_threads(0));
        let own = pool.clone();
        let outer = pool.submit(move || {
            let _joins = Joins(own);
            panic!("unwinds");
        });
        let error = outer.join().map(|(): ()| "returned").unwrap_err();
        assert!(error.to_string().ends_with("panicked: unwinds"), "{error}");
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
