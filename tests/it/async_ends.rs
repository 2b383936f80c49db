//! What ends a future in each of its states, and what is left behind: references, counts, entries.

use crate::support::{
    Door, Gate, LONG, SOON, assert_balanced, hold_all, on_pool, on_pool_of, pool_with, single,
    spin_until, threads, watched,
};
use heist::{CancelToken, JoinHandle, ThreadPool, WaitFor, block_on};
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

/// A future whose poll waits at a gate. It shows that its poll has begun.
fn slow_poll(begun: &Gate, go: &Gate, ready: bool) -> impl Future<Output = ()> + Send + use<> {
    let (begun, go) = (begun.clone(), go.clone());
    poll_fn(move |context| {
        begun.open();
        go.pass();
        context.waker().wake_by_ref();
        if ready {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
}

#[test]
fn a_worker_that_joins_a_suspended_future_polls_it_when_it_is_woken() {
    watched(|| {
        for pool in single() {
            let own = pool.clone();
            let outer = pool.submit(move || {
                own.submit_async(async {
                    for _ in 0..3 {
                        heist::sleep(Duration::from_millis(1)).await;
                    }
                    7
                })
                .join()
                .unwrap()
            });
            assert_eq!(outer.join().unwrap(), 7);
        }
    });
}

#[test]
fn a_scope_of_a_closed_pool_still_completes_its_futures() {
    watched(|| {
        let pool = pool_with(|b| b);
        pool.shutdown();
        let n = pool.scope(|s| {
            let slept = s.submit_async(async {
                heist::sleep(Duration::from_millis(1)).await;
                5
            });
            slept.join()
        });
        assert_eq!(n.unwrap(), 5);
    });
}

#[test]
fn shutdown_now_leaves_the_futures_of_a_scope() {
    watched(|| {
        let pool = pool_with(|b| b);
        let door = Door::default();
        let (other, opener) = (pool.clone(), door.clone());
        let scope = std::thread::spawn(move || {
            other.scope(|s| {
                s.submit_async(async {
                    door.pass().await;
                    3
                })
                .join()
            })
        });
        spin_until(|| pool.stats().suspended == 1);
        let closer = std::thread::spawn(move || pool.shutdown_now());
        spin_until(|| opener.polls() > 0);
        std::thread::sleep(SOON);
        opener.open();
        assert_eq!(scope.join().unwrap().unwrap(), 3);
        assert_eq!(closer.join().unwrap(), 0);
    });
}

#[test]
fn shutdown_now_drops_queued_futures_on_workers_and_counts_them_once() {
    watched(|| {
        let pool = pool_with(|b| b);
        let door = Door::default();
        let held = hold_all(&pool);
        let handles: Vec<_> = (0..10).map(|_| pool.submit_async(door.pass())).collect();
        let closer = pool.clone();
        let closing = std::thread::spawn(move || closer.shutdown_now());
        spin_until(|| handles.iter().all(|handle| handle.is_cancelled()));
        held.open();
        assert_eq!(closing.join().unwrap(), 10);
        let names = door.dropped_on();
        assert_eq!(names.len(), 10);
        assert!(
            names.iter().all(|name| name.starts_with("heist-")),
            "{names:?}"
        );
        assert_balanced(&pool);
    });
}

#[test]
fn shutdown_now_counts_the_futures_that_it_has_cancelled() {
    watched(|| {
        for ready in [false, true] {
            let pool = pool_with(|b| b);
            let door = Door::default();
            let (begun, go) = (Gate::default(), Gate::default());
            let first = Arc::new(AtomicBool::new(true));
            let is_first = Arc::clone(&first);
            let polled = slow_poll(&begun, &go, ready);
            // In the roster: it was suspended once.
            let passage = door.pass();
            let handle = pool.submit_async(async move {
                passage.await;
                polled.await;
                is_first.store(false, Ordering::SeqCst);
            });
            spin_until(|| pool.stats().suspended == 1);
            door.open();
            begun.pass();
            let closer = pool.clone();
            let closing = std::thread::spawn(move || closer.shutdown_now());
            spin_until(|| handle.is_cancelled());
            go.open();
            let count = closing.join().unwrap();
            let outcome = handle.join();
            assert_eq!(outcome.is_ok(), ready);
            assert_eq!(count, usize::from(!ready), "{outcome:?}");
        }
    });
}

#[test]
fn a_future_that_misses_its_deadline_after_a_cancel_is_not_called_cancelled() {
    on_pool(|pool| {
        let (begun, go) = (Gate::default(), Gate::default());
        let polled = slow_poll(&begun, &go, false);
        let handle = pool.task().deadline(SOON * 25).submit_async(polled);
        begun.pass();
        assert!(handle.cancel());
        assert!(handle.wait_timeout(LONG));
        let said = handle.is_cancelled();
        go.open();
        let error = handle.join().unwrap_err();
        assert!(error.is_timeout() && !said, "{error} {said}");
        pool.wait_idle();
        assert_balanced(pool);
    });
}

#[test]
fn a_future_is_not_polled_again_after_its_deadline_has_ended_it() {
    on_pool_of(1, |pool| {
        let polls = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&polls);
        let go = Gate::default();
        let gate = go.clone();
        let handle = pool
            .task()
            .deadline(SOON)
            .submit_async(poll_fn(move |context| {
                count.fetch_add(1, Ordering::SeqCst);
                context.waker().wake_by_ref();
                gate.pass();
                Poll::<()>::Pending
            }));
        assert!(handle.wait_timeout(LONG));
        go.open();
        pool.wait_idle();
        // None if the machine was busy for so long.
        assert!(polls.load(Ordering::SeqCst) <= 1);
    });
}

#[test]
fn the_pool_is_idle_with_a_closure_that_runs_repeatedly() {
    watched(|| {
        let pool = pool_with(|b| b);
        let _every = pool.every(Duration::from_secs(3_600), || ());
        spin_until(|| pool.stats().suspended == 1);
        let waiting = pool.clone();
        let (done, is_done) = std::sync::mpsc::channel();
        let waiter = std::thread::spawn(move || {
            waiting.wait_idle();
            done.send(()).unwrap();
        });
        let idle = is_done.recv_timeout(SOON * 10).is_ok();
        drop(_every);
        waiter.join().unwrap();
        assert!(idle);
    });
}

#[test]
fn a_join_in_a_loop_of_yields_leaves_no_entries() {
    watched(|| {
        let pool = pool_with(|b| b.num_threads(1).spare_threads(0));
        let own = pool.clone();
        let outer = pool.submit(move || {
            let inner = own.submit_async(async {
                let mut most = 0;
                for _ in 0..100_000 {
                    heist::yield_async().await;
                    most = most.max(0);
                }
                most
            });
            inner.join().unwrap()
        });
        outer.join().unwrap();
        pool.wait_idle();
        assert_eq!(pool.stats().queued, 0);
    });
}

#[test]
fn a_scoped_future_that_is_cancelled_in_the_queue_leaves_no_entry_behind_its_scope() {
    fn burn(depth: usize) -> u64 {
        let memory = [0xA5A5_A5A5_A5A5_A5A5_u64; 512];
        if depth == 0 {
            std::hint::black_box(memory)[7]
        } else {
            burn(depth - 1).wrapping_add(memory[3])
        }
    }
    watched(|| {
        for pool in single() {
            for round in 0..1_000 {
                let own = pool.clone();
                pool.submit(move || {
                    own.scope(|s| {
                        let handle = s.submit_async(async { 1 });
                        if round % 2 == 0 {
                            assert!(handle.cancel());
                        } else {
                            assert_eq!(handle.join().unwrap(), 1);
                        }
                    });
                    std::hint::black_box(burn(4));
                    own.scope(|s| s.spawn(|_| ()));
                })
                .join()
                .unwrap();
            }
            pool.wait_idle();
            // A thread that comes to an entry finds out that nothing is left to do.
            spin_until(|| pool.stats().queued == 0);
            assert_balanced(&pool);
        }
    });
}

#[test]
fn a_guest_leaves_no_entry_of_a_scoped_future_behind() {
    on_pool(|pool| {
        for round in 0..1_000 {
            pool.scope(|s| {
                let handle = s.submit_async(async { 1 });
                match round % 3 {
                    0 => drop(handle.cancel()),
                    1 => assert_eq!(handle.join().unwrap(), 1),
                    _ => {}
                }
            });
        }
        pool.wait_idle();
        spin_until(|| pool.stats().queued == 0);
        assert_balanced(pool);
    });
}

#[test]
fn a_recursion_of_blocking_joins_on_futures_that_sleep() {
    fn tree(pool: &ThreadPool, depth: u32) -> u32 {
        if depth == 0 {
            return 1;
        }
        let own = pool.clone();
        let left = pool.submit_async(async move {
            heist::sleep(Duration::from_micros(100)).await;
            tree(&own, depth - 1)
        });
        let own = pool.clone();
        let right = pool.submit_async(async move {
            heist::yield_async().await;
            tree(&own, depth - 1)
        });
        left.join().unwrap() + right.join().unwrap()
    }
    on_pool(|pool| {
        let own = pool.clone();
        let sum = pool.submit(move || tree(&own, 6));
        assert_eq!(sum.join().unwrap(), 64);
        assert_balanced(pool);
    });
}

#[test]
fn a_waker_in_a_callers_lock() {
    // The waker is called while its caller holds a lock that the future's poll and drop take.
    on_pool(|pool| {
        let lock = Arc::new(std::sync::Mutex::new(0));
        for cancelled in [false, true] {
            let door = Door::default();
            let (passage, inner) = (door.pass(), Arc::clone(&lock));
            let handle: JoinHandle<()> = pool.submit_async(async move {
                passage.await;
                *inner.lock().unwrap() += 1;
            });
            spin_until(|| pool.stats().suspended == 1);
            let guard = lock.lock().unwrap();
            if cancelled {
                assert!(handle.cancel());
            }
            door.open();
            drop(guard);
            assert_eq!(handle.join().is_ok(), !cancelled);
        }
    });
}

#[test]
fn the_end_of_a_pool_of_the_current_thread_with_a_suspended_future() {
    for way in 0..4 {
        watched(move || {
            let pool = ThreadPool::builder()
                .num_threads(threads())
                .use_current_thread(true)
                .build()
                .unwrap();
            let door = Door::default();
            let handle = pool.submit_async(door.pass());
            // Either another worker polls it, or this thread does when it yields.
            spin_until(|| {
                heist::yield_now();
                pool.stats().suspended == 1
            });
            match way {
                0 => {
                    door.open();
                    handle.join().unwrap();
                }
                1 => {
                    assert!(handle.cancel());
                    assert!(handle.join().unwrap_err().is_cancelled());
                }
                2 => {
                    assert_eq!(pool.close_now(), 1);
                    assert!(handle.join().unwrap_err().is_cancelled());
                }
                _ => {
                    pool.close();
                    door.open();
                    handle.join().unwrap();
                }
            }
            drop(pool);
        });
    }
}

/// How many suspensions the pool has counted that were not ended.
fn await_suspended(pool: &ThreadPool) {
    spin_until(|| pool.stats().suspended == 1);
}

#[test]
fn a_scope_on_the_only_worker_drops_a_future_that_others_cancel() {
    watched(|| {
        for pool in single() {
            for (polled, guest) in [(false, false), (false, true), (true, false), (true, true)] {
                let door = Door::default();
                let cancel = |handle: heist::ScopedJoinHandle<'_, ()>| {
                    if polled {
                        await_suspended(&pool);
                    }
                    match guest {
                        true => assert!(pool.scope(|_| handle.cancel())),
                        false => assert!(handle.cancel()),
                    }
                };
                std::thread::scope(|t| {
                    pool.run(|| {
                        heist::scope(|s| {
                            let handle = s.submit_async(door.pass());
                            let canceller = t.spawn(|| cancel(handle));
                            if !polled {
                                canceller.join().unwrap();
                            }
                        });
                    });
                });
                assert_eq!(door.polls(), usize::from(polled));
                assert_eq!(door.dropped_on().len(), 1);
                pool.wait_idle();
                assert_balanced(&pool);
            }
        }
    });
}

#[test]
fn a_guest_that_runs_a_task_of_a_waiting_worker_cancels_a_future_in_it() {
    // The guest yields, and takes the task from the scope for which the only worker waits.
    watched(|| {
        for pool in single() {
            let door = Door::default();
            let (queued, begun) = (Gate::default(), Gate::default());
            std::thread::scope(|t| {
                t.spawn(|| {
                    pool.scope(|_| {
                        queued.pass();
                        spin_until(|| heist::yield_now() || door.dropped_on().len() == 1);
                    });
                });
                pool.run(|| {
                    heist::scope(|s| {
                        s.spawn(|s| {
                            begun.open();
                            assert!(s.submit_async(door.pass()).cancel());
                        });
                        queued.open();
                        begun.pass();
                    });
                });
            });
            assert_eq!(door.dropped_on().len(), 1);
            pool.wait_idle();
            assert_balanced(&pool);
        }
    });
}

#[test]
fn a_join_on_the_only_worker_drops_a_future_that_others_cancel() {
    watched(|| {
        for pool in single() {
            for polled in [false, true] {
                for by_future in [false, true] {
                    let door = Door::default();
                    let token = CancelToken::new();
                    let cancel = || {
                        if polled {
                            await_suspended(&pool);
                        }
                        token.cancel();
                    };
                    std::thread::scope(|t| {
                        let result = pool.run(|| {
                            let task = pool.task().token(&token);
                            let handle = task.submit_async(door.pass());
                            let canceller = t.spawn(cancel);
                            if !polled {
                                canceller.join().unwrap();
                            }
                            match by_future {
                                true => block_on(handle),
                                false => handle.join(),
                            }
                        });
                        assert!(result.unwrap_err().is_cancelled());
                    });
                    assert_eq!(door.dropped_on().len(), 1);
                    pool.wait_idle();
                    assert_balanced(&pool);
                    let stats = pool.stats();
                    assert_eq!((stats.queued, stats.suspended), (0, 0), "{stats:?}");
                }
            }
        }
    });
}

#[test]
fn a_wait_for_several_on_the_only_worker_drops_a_future_that_others_cancel() {
    watched(|| {
        for pool in single() {
            for polled in [false, true] {
                let door = Door::default();
                let tokens = [CancelToken::new(), CancelToken::new()];
                std::thread::scope(|t| {
                    pool.run(|| {
                        let handles = tokens
                            .each_ref()
                            .map(|token| pool.task().token(token).submit_async(door.pass()));
                        let cancel = || {
                            if polled {
                                spin_until(|| pool.stats().suspended == 2);
                            }
                            tokens[1].cancel();
                        };
                        let canceller = t.spawn(cancel);
                        if !polled {
                            canceller.join().unwrap();
                        }
                        let waited = heist::wait(&handles, WaitFor::First, None);
                        assert_eq!(waited.done, [1]);
                        tokens[0].cancel();
                        let waited = heist::wait(&handles, WaitFor::All, None);
                        assert_eq!(waited.done, [0, 1]);
                    });
                });
                assert_eq!(door.dropped_on().len(), 2);
                pool.wait_idle();
                assert_balanced(&pool);
                let stats = pool.stats();
                assert_eq!((stats.queued, stats.suspended), (0, 0), "{stats:?}");
            }
        }
    });
}

#[test]
fn a_join_on_the_only_worker_ends_when_the_pool_is_shut_down() {
    watched(|| {
        for pool in single() {
            let door = Door::default();
            std::thread::scope(|t| {
                let closer = t.spawn(|| {
                    await_suspended(&pool);
                    pool.shutdown_now()
                });
                let result = pool.run(|| pool.submit_async(door.pass()).join());
                assert!(result.unwrap_err().is_cancelled());
                assert_eq!(closer.join().unwrap(), 1);
            });
            assert_balanced(&pool);
        }
    });
}

#[test]
fn cancels_from_outside_leave_no_entries_behind_a_worker_that_joins() {
    // The worker never comes back to the queue of the pool.
    watched(|| {
        let [_, pool] = single();
        let door = Door::default();
        pool.run(|| {
            for _ in 0..10_000 {
                let handle = pool.submit_async(door.pass());
                std::thread::scope(|t| {
                    t.spawn(|| assert!(handle.cancel()));
                });
                assert!(handle.join().unwrap_err().is_cancelled());
            }
            assert!(pool.stats().queued < 1000, "{:?}", pool.stats());
        });
        pool.wait_idle();
        assert_balanced(&pool);
        assert_eq!(pool.stats().queued, 0);
    });
}
