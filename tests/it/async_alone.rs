//! Waits for futures where no other thread can poll them: on the only worker, or while all others are blocked.

use crate::support::{
    Door, Gate, assert_balanced, hold_all, pool_with, single, spin_until, suspended, watched,
};
use heist::{CancelToken, JoinHandle, ThreadPool, WaitFor, yield_async};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

/// Waits for the future of the handle alone, by a join or by a wait for several.
fn wait_for(handle: JoinHandle<()>, by_set: bool) {
    if by_set {
        assert_eq!(heist::wait(&[handle], WaitFor::All, None).done, [0]);
    } else {
        handle.join().unwrap();
    }
}

async fn yield_often() {
    for _ in 0..1000 {
        yield_async().await;
    }
}

#[test]
fn a_waiter_polls_a_future_that_yields_while_the_other_worker_computes() {
    watched(|| {
        for by_set in [false, true] {
            let pool = pool_with(|b| b.num_threads(2).spare_threads(0));
            let (over, begun) = (AtomicBool::new(false), Gate::default());
            pool.scope(|s| {
                s.spawn(|_| {
                    begun.open();
                    spin_until(|| over.load(Ordering::SeqCst));
                });
                s.spawn(|_| {
                    begun.pass();
                    wait_for(pool.submit_async(yield_often()), by_set);
                    over.store(true, Ordering::SeqCst);
                });
            });
        }
    });
}

#[test]
fn a_waiter_polls_futures_of_another_pool_whose_only_worker_waits_for_it() {
    watched(|| {
        for by_set in [false, true] {
            for awaits in [false, true] {
                let [_, here] = single();
                let [_, there] = single();
                let (own, begun) = (there.clone(), Gate::default());
                let waits = begun.clone();
                let task = move || {
                    waits.pass();
                    let inner = own.clone();
                    let future = async move {
                        yield_often().await;
                        if awaits {
                            inner.submit(|| ()).await.unwrap();
                        }
                    };
                    wait_for(own.submit_async(future), by_set);
                };
                there.run(|| {
                    let handle = here.submit(task);
                    begun.open();
                    handle.join().unwrap();
                });
            }
        }
    });
}

/// A future that wakes the other one of two and is woken by it, until the flag is set.
fn ping_pong(
    number: usize,
    wakers: &Arc<[Mutex<Option<Waker>>; 2]>,
    stop: &Arc<AtomicBool>,
) -> impl Future<Output = ()> + Send + use<> {
    let (wakers, stop) = (Arc::clone(wakers), Arc::clone(stop));
    poll_fn(move |context| {
        let stops = stop.load(Ordering::SeqCst);
        if !stops {
            *wakers[number].lock().unwrap() = Some(context.waker().clone());
        }
        let other = wakers[1 - number].lock().unwrap().take();
        if let Some(other) = other {
            other.wake();
        }
        if stops {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
}

#[test]
fn futures_that_always_wake_each_other_keep_others_of_a_set_from_nothing() {
    watched(|| {
        for pool in single() {
            for kind in 0..3 {
                let (stop, wakers) = (Arc::<AtomicBool>::default(), Arc::default());
                let door = Door::default();
                std::thread::scope(|t| {
                    t.spawn(|| {
                        door.waker();
                        door.open();
                    });
                    pool.run(|| {
                        let (own, end, passage) = (pool.clone(), Arc::clone(&stop), door.pass());
                        let last = async move {
                            passage.await;
                            match kind {
                                0 => {}
                                1 => yield_often().await,
                                _ => own.submit(|| ()).await.unwrap(),
                            }
                            end.store(true, Ordering::SeqCst);
                        };
                        let handles = [
                            pool.submit_async(ping_pong(0, &wakers, &stop)),
                            pool.submit_async(ping_pong(1, &wakers, &stop)),
                            pool.submit_async(last),
                        ];
                        heist::wait(&handles, WaitFor::All, None);
                    });
                });
                assert_balanced(&pool);
            }
        }
    });
}

#[test]
fn a_future_that_wakes_itself_and_awaits_a_closure_ends() {
    watched(|| {
        for pool in single() {
            for by_set in [false, true] {
                pool.run(|| {
                    let own = pool.clone();
                    let future = async move {
                        let mut handle = own.submit(|| ());
                        poll_fn(|context| {
                            context.waker().wake_by_ref();
                            Pin::new(&mut handle).poll(context).map(Result::unwrap)
                        })
                        .await;
                    };
                    wait_for(pool.submit_async(future), by_set);
                });
            }
        }
    });
}

#[test]
fn a_wait_without_a_time_limit_polls_a_future_whenever_it_is_woken() {
    watched(|| {
        for pool in single() {
            let handle = pool.run(|| {
                let handle = pool.submit_async(async {
                    heist::sleep(Duration::from_millis(1)).await;
                    yield_often().await;
                });
                assert!(handle.wait_timeout(Duration::MAX));
                handle
            });
            handle.join().unwrap();
        }
    });
}

#[test]
fn nothing_that_was_queued_runs_after_close_now_while_the_only_worker_looks_for_what_it_awaits() {
    watched(|| {
        for round in 0..20 {
            let [_, pool] = single();
            let (ran, queued) = (Arc::new(AtomicUsize::new(0)), Gate::default());
            let closed = AtomicBool::new(false);
            std::thread::scope(|t| {
                t.spawn(|| {
                    queued.pass();
                    for _ in 0..round * 1000 {
                        std::hint::spin_loop();
                    }
                    pool.close_now();
                    closed.store(true, Ordering::SeqCst);
                });
                pool.run(|| {
                    for _ in 0..1000 {
                        let ran = Arc::clone(&ran);
                        pool.spawn(move || {
                            ran.fetch_add(1, Ordering::SeqCst);
                        });
                    }
                    let handles: Vec<_> = (0..100)
                        .map(|_| {
                            let own = pool.clone();
                            pool.submit_async(async move { own.submit(|| ()).await.is_ok() })
                        })
                        .collect();
                    queued.open();
                    heist::wait(&handles, WaitFor::All, None);
                    spin_until(|| closed.load(Ordering::SeqCst));
                });
            });
            assert_eq!(ran.load(Ordering::SeqCst), 0);
            assert_balanced(&pool);
        }
    });
}

#[test]
fn a_pool_is_not_idle_before_the_callbacks_of_a_future_that_others_cancel() {
    watched(|| {
        for pool in single() {
            let door = Door::default();
            let mut handle = suspended(&pool, &door);
            let (begun, go) = (Gate::default(), Gate::default());
            let called = Arc::new(AtomicBool::new(false));
            let (begins, goes, calls) = (begun.clone(), go.clone(), Arc::clone(&called));
            handle.on_finish(move |_| {
                begins.open();
                goes.pass();
                calls.store(true, Ordering::SeqCst);
            });
            assert!(handle.cancel());
            begun.pass();
            assert!(!called.load(Ordering::SeqCst));
            std::thread::scope(|t| {
                let idle = t.spawn(|| {
                    pool.wait_idle();
                    called.load(Ordering::SeqCst)
                });
                go.open();
                assert!(idle.join().unwrap());
            });
        }
    });
}

/// The ways to end a pool that drop what is queued.
const ENDS: [fn(&ThreadPool) -> usize; 2] = [ThreadPool::shutdown_now, ThreadPool::close_now];

#[test]
fn a_future_that_was_cancelled_before_the_pool_ends_is_dropped_on_a_worker() {
    watched(|| {
        for end in ENDS {
            for pool in single() {
                let door = Door::default();
                let handle = suspended(&pool, &door);
                let held = hold_all(&pool);
                assert!(handle.cancel());
                std::thread::scope(|t| {
                    let ender = t.spawn(|| end(&pool));
                    // Most often after the pool has begun to end.
                    std::thread::yield_now();
                    held.open();
                    assert_eq!(ender.join().unwrap(), 0);
                });
                assert!(handle.join().unwrap_err().is_cancelled());
                let on = door.dropped_on();
                assert!(on.len() == 1 && on[0].starts_with("heist-"), "{on:?}");
            }
        }
    });
}

/// Asks in its destructor whether the thread unwinds.
struct Unwinds(Arc<Mutex<Option<bool>>>);

impl Drop for Unwinds {
    fn drop(&mut self) {
        *self.0.lock().unwrap() = Some(std::thread::panicking());
    }
}

/// Joins in its destructor.
struct Joins(Option<JoinHandle<()>>, Gate);

impl Drop for Joins {
    fn drop(&mut self) {
        let handle = self.0.take().expect("dropped once");
        self.1.open();
        spin_until(|| handle.is_cancelled());
        assert!(handle.join().unwrap_err().is_cancelled());
    }
}

#[test]
fn a_thread_that_unwinds_drops_no_future_that_others_cancel() {
    watched(|| {
        for pool in single() {
            let (door, token) = (Door::default(), CancelToken::new());
            let seen = Arc::new(Mutex::new(None));
            let (unwinds, passage) = (Unwinds(Arc::clone(&seen)), door.pass());
            let future = async move {
                let _unwinds = unwinds;
                passage.await;
            };
            let handle = pool.task().token(&token).submit_async(future);
            door.waker();
            let unwinding = Gate::default();
            let joins = Joins(Some(handle), unwinding.clone());
            let task = pool.submit(move || {
                let _joins = joins;
                panic!("expected");
            });
            unwinding.pass();
            token.cancel();
            assert!(task.join().unwrap_err().is_panic());
            assert_eq!(*seen.lock().unwrap(), Some(false));
        }
    });
}
