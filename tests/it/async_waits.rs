//! Waiting in async code, and waiting for async code: handles, sets, continuations, and calls that block.

use crate::support::{
    Door, Gate, Held, LONG, Ledger, SOON, assert_balanced, fib, hold_all, on_pool, outcome,
    payload_text, pool_with, serial_fib, single, spin_until, suspended, watched,
};
use heist::{JoinHandle, JoinSet, WaitFor, block_on, blocking, sleep};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::task::Poll;
use std::time::Duration;

// ---- handles ----

#[test]
fn a_future_awaits_closures_and_futures() {
    on_pool(|pool| {
        let own = pool.clone();
        let sum = pool.submit_async(async move {
            let closure = own.submit(|| 1);
            let future = own.submit_async(async {
                sleep(Duration::from_millis(1)).await;
                2
            });
            let last = own.submit(|| 3);
            closure.await.unwrap() + future.await.unwrap() + last.await.unwrap()
        });
        assert_eq!(sum.join().unwrap(), 6);
        assert_balanced(pool);
    });
}

#[test]
fn a_future_that_awaits_takes_no_thread() {
    watched(|| {
        let [_, pool] = single();
        let door = Door::default();
        let (own, passage) = (pool.clone(), door.pass());
        let outer = pool.submit_async(async move { own.submit_async(passage).await.unwrap() });
        spin_until(|| pool.stats().suspended == 2);
        // The only thread is free.
        assert_eq!(pool.submit(|| 4).join().unwrap(), 4);
        door.open();
        outer.join().unwrap();
    });
}

#[test]
fn errors_reach_those_who_await() {
    on_pool(|pool| {
        let own = pool.clone();
        let outer = pool.submit_async(async move {
            let panicked = own.submit_async(async { panic!("inner") });
            let door = Door::default();
            let cancelled = own.submit_async(door.pass());
            let late = own
                .task()
                .deadline(Duration::from_millis(1))
                .submit_async(door.pass());
            assert!(cancelled.cancel());
            let panicked: heist::JoinError = panicked.await.map(|(): ()| ()).unwrap_err();
            let cancelled = cancelled.await.unwrap_err();
            let late = late.await.unwrap_err();
            (panicked, cancelled.is_cancelled(), late.is_timeout())
        });
        let (panicked, cancelled, late) = outer.join().unwrap();
        assert_eq!(payload_text(&*panicked.into_panic()), "inner");
        assert!(cancelled && late);
        pool.wait_idle();
        assert_balanced(pool);
    });
}

#[test]
fn many_futures_await_in_a_chain_and_in_a_tree() {
    on_pool(|pool| {
        let mut chain: JoinHandle<u64> = pool.submit(|| 0);
        for _ in 0..2_000 {
            chain = pool.submit_async(async move { chain.await.unwrap() + 1 });
        }
        assert_eq!(chain.join().unwrap(), 2_000);
        fn tree(depth: u32) -> Pin<Box<dyn Future<Output = u64> + Send>> {
            Box::pin(async move {
                if depth == 0 {
                    return 1;
                }
                let children = [
                    heist::submit_async(tree(depth - 1)),
                    heist::submit_async(tree(depth - 1)),
                ];
                let mut sum = 0;
                for child in children {
                    sum += child.await.unwrap();
                }
                sum
            })
        }
        assert_eq!(pool.submit_async(tree(11)).join().unwrap(), 2_048);
        assert_balanced(pool);
    });
}

#[test]
fn a_dropped_await_detaches_its_task() {
    on_pool(|pool| {
        let door = Door::default();
        let inner = suspended(pool, &door);
        let outer = pool.submit_async(async move { inner.await.unwrap() });
        spin_until(|| pool.stats().suspended == 2);
        assert!(outer.cancel());
        assert!(outer.join().unwrap_err().is_cancelled());
        spin_until(|| pool.stats().suspended == 1);
        door.open();
        pool.wait_idle();
        assert_eq!(pool.stats().completed, 1);
        assert_balanced(pool);
    });
}

#[test]
fn a_future_finishes_handles_of_another_pool() {
    on_pool(|pool| {
        let other = pool_with(|b| b.num_threads(1));
        let theirs = other.submit_async(async {
            sleep(Duration::from_millis(1)).await;
            5
        });
        let ours = pool.submit_async(async move { theirs.await.unwrap() + 1 });
        let back = other.submit_async(async move { ours.await.unwrap() + 1 });
        assert_eq!(back.join().unwrap(), 7);
    });
}

#[test]
fn the_functions_on_several_handles_take_futures() {
    on_pool(|pool| {
        let door = Door::default();
        let timed = |n: u64| {
            pool.submit_async(async move {
                sleep(Duration::from_millis(n)).await;
                n
            })
        };
        assert_eq!(
            heist::try_join_all((0..5).map(timed)).unwrap(),
            [0, 1, 2, 3, 4]
        );
        let mut seen: Vec<_> = heist::as_completed((0..5).map(timed))
            .map(|(n, value)| (n as u64, value.unwrap()))
            .collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..5).map(|n| (n, n)).collect::<Vec<_>>());
        let passage = door.pass();
        let never = pool.submit_async(async move {
            passage.await;
            99
        });
        let handles = vec![never, timed(1)];
        let waited = heist::wait(&handles, WaitFor::First, None);
        assert_eq!((waited.done, waited.pending), (vec![1], vec![0]));
        let waited = heist::wait(&handles, WaitFor::All, Some(SOON));
        assert_eq!(waited.pending, [0]);
        // The rest is cancelled.
        assert_eq!(heist::first_finished(handles).unwrap().1.unwrap(), 1);
        pool.wait_idle();
        assert_eq!(pool.stats().cancelled, 1);
        assert_balanced(pool);
    });
}

#[test]
fn the_functions_on_several_handles_work_on_the_only_worker() {
    watched(|| {
        for pool in single() {
            let own = pool.clone();
            let sum = pool.submit(move || {
                let timed = |n: u64| {
                    own.submit_async(async move {
                        sleep(Duration::from_millis(n)).await;
                        n
                    })
                };
                let all: u64 = heist::try_join_all((0..3).map(timed)).unwrap().iter().sum();
                let each: u64 = heist::as_completed((0..3).map(timed))
                    .map(|(_, value)| value.unwrap())
                    .sum();
                let handles: Vec<_> = (0..3).map(timed).collect();
                let waited = heist::wait(&handles, WaitFor::All, None);
                let mut set = JoinSet::new(&own);
                (0..3).map(timed).for_each(|handle| {
                    set.insert(handle);
                });
                let joined: u64 = std::iter::from_fn(|| set.join_next())
                    .map(Result::unwrap)
                    .sum();
                all + each + waited.done.len() as u64 + joined
            });
            assert_eq!(sum.join().unwrap(), 12);
            assert_balanced(&pool);
        }
    });
}

#[test]
fn a_wait_for_several_futures_polls_each_as_often_as_it_is_woken() {
    watched(|| {
        for pool in single() {
            let doors: [Door; 3] = Default::default();
            std::thread::scope(|t| {
                t.spawn(|| {
                    for knocks in 0..3 {
                        for door in &doors {
                            spin_until(|| door.polls() == knocks + 1);
                            door.knock();
                        }
                    }
                    doors[1].open();
                    spin_until(|| doors[1].dropped_on().len() == 1);
                    doors.iter().for_each(Door::open);
                });
                pool.run(|| {
                    let handles = doors.each_ref().map(|door| pool.submit_async(door.pass()));
                    let first = heist::wait(&handles, WaitFor::First, None);
                    assert!(first.done.contains(&1));
                    assert_eq!(heist::wait(&handles, WaitFor::All, None).done, [0, 1, 2]);
                });
            });
            assert_balanced(&pool);
        }
    });
}

#[test]
fn a_wait_for_several_futures_runs_what_they_await() {
    watched(|| {
        for pool in single() {
            let door = Door::default();
            std::thread::scope(|t| {
                t.spawn(|| {
                    door.waker();
                    door.open();
                });
                pool.run(|| {
                    let handles = [1, 2].map(|n| {
                        let (own, passage) = (pool.clone(), door.pass());
                        pool.submit_async(async move {
                            passage.await;
                            own.submit(move || n).await.unwrap()
                        })
                    });
                    let sum: u32 = heist::as_completed(handles)
                        .map(|(_, value)| value.unwrap())
                        .sum();
                    assert_eq!(sum, 3);
                });
            });
            assert_balanced(&pool);
        }
    });
}

#[test]
fn a_join_set_and_a_stream_in_a_future() {
    on_pool(|pool| {
        let own = pool.clone();
        let outer = pool.submit_async(async move {
            let mut set = JoinSet::new(&own);
            for n in 0..10 {
                set.spawn(move || n);
            }
            let mut sum = 0;
            while let Some(value) = set.join_next() {
                sum += value.unwrap();
            }
            sleep(Duration::from_millis(1)).await;
            let stream: u64 = own.imap(0..10_u64, |n| n).map(Result::unwrap).sum();
            sum + stream
        });
        assert_eq!(outer.join().unwrap(), 90);
        assert_balanced(pool);
    });
}

#[test]
fn a_future_forks_and_maps() {
    on_pool(|pool| {
        let handles: Vec<_> = (0..8)
            .map(|_| {
                pool.submit_async(async {
                    heist::yield_async().await;
                    let small = fib(15);
                    sleep(Duration::from_millis(1)).await;
                    small + heist::map(0..100_u64, |n| n).into_iter().sum::<u64>()
                })
            })
            .collect();
        for handle in handles {
            assert_eq!(handle.join().unwrap(), serial_fib(15) + 4_950);
        }
    });
}

#[test]
fn waits_with_a_time_limit_for_a_suspended_future() {
    on_pool(|pool| {
        let door = Door::default();
        let handle = suspended(pool, &door);
        assert!(!handle.wait_timeout(Duration::ZERO));
        assert!(!handle.wait_timeout(SOON));
        let handle = handle.join_timeout(SOON).unwrap_err();
        assert!(handle.is_running());
        door.open();
        handle.join_timeout(LONG).unwrap().unwrap();
    });
}

#[test]
fn callbacks_of_a_future_are_called_once() {
    on_pool(|pool| {
        for way in 0..4 {
            let door = Door::default();
            let seen = Arc::new(Mutex::new(Vec::new()));
            let task = pool.task();
            let mut handle = if way == 3 {
                task.deadline(SOON).submit_async(door.pass())
            } else {
                task.submit_async(door.pass())
            };
            for n in 0..2 {
                let seen = Arc::clone(&seen);
                handle.on_finish(move |outcome| seen.lock().unwrap().push((n, outcome.is_ok())));
            }
            match way {
                0 => door.open(),
                1 => assert!(handle.cancel()),
                2 => {
                    spin_until(|| pool.stats().suspended == 1);
                    assert!(handle.cancel());
                }
                _ => {}
            }
            assert_eq!(handle.join().is_ok(), way == 0);
            pool.wait_idle();
            assert_eq!(*seen.lock().unwrap(), [(0, way == 0), (1, way == 0)]);
        }
    });
}

#[test]
fn a_guard_cancels_a_suspended_future() {
    on_pool(|pool| {
        let ledger = Ledger::new(1);
        let (door, ticket) = (Door::default(), ledger.ticket(0));
        let passage = door.pass();
        let handle = pool.submit_async(async move {
            passage.await;
            drop(ticket);
        });
        spin_until(|| pool.stats().suspended == 1);
        drop(handle.abort_on_drop());
        pool.wait_idle();
        ledger.assert_settled();
        assert_eq!(pool.stats().cancelled, 1);
    });
}

#[test]
fn a_promise_is_awaited() {
    on_pool(|pool| {
        let (promise, handle) = heist::promise::<u32>();
        let waiter = pool.submit_async(async move { handle.await.unwrap() + 1 });
        spin_until(|| pool.stats().suspended == 1);
        assert!(promise.resolve(1).is_ok());
        assert_eq!(waiter.join().unwrap(), 2);
        let (promise, handle) = heist::promise::<u32>();
        let waiter = pool.submit_async(handle);
        spin_until(|| pool.stats().suspended == 1);
        drop(promise);
        assert!(waiter.join().unwrap().is_err());
    });
}

// ---- then ----

#[test]
fn a_continuation_gets_the_outcome_on_the_pool() {
    on_pool(|pool| {
        let name = || std::thread::current().name().map(str::to_owned);
        let (value, on) = pool
            .submit(|| 20)
            .then(move |outcome| (outcome.unwrap() + 1, name()))
            .join()
            .unwrap();
        assert_eq!(value, 21);
        assert!(on.unwrap().starts_with("heist-"));
        let text = pool
            .submit_async(async { panic!("first") })
            .then(|outcome: Result<(), _>| payload_text(&*outcome.unwrap_err().into_panic()));
        assert_eq!(text.join().unwrap(), "first");
        let error = pool
            .submit(|| 1)
            .then(|_| panic!("second"))
            .join()
            .unwrap_err();
        assert!(error.is_panic());
        let mut chain = pool.submit(|| 0);
        for _ in 0..500 {
            chain = chain.then(|n| n.unwrap() + 1);
        }
        assert_eq!(chain.join().unwrap(), 500);
        assert_balanced(pool);
    });
}

#[test]
fn a_continuation_sees_a_cancel_and_a_time_out() {
    on_pool(|pool| {
        let door = Door::default();
        let cancelled = suspended(pool, &door);
        let task = pool.task();
        let late = task.deadline(SOON).submit_async(door.pass());
        let late = late.then(|outcome| outcome.unwrap_err().is_timeout());
        assert!(late.join().unwrap());
        let token = heist::CancelToken::new();
        let watched = pool.task().token(&token).submit_async(door.pass());
        let watched = watched.then(|outcome| outcome.unwrap_err().is_cancelled());
        token.cancel();
        assert!(watched.join().unwrap());
        assert!(cancelled.cancel());
        assert!(cancelled.then(|outcome| outcome.is_err()).join().unwrap());
    });
}

#[test]
fn nobody_waits_for_a_continuation() {
    watched(|| {
        let [_, pool] = single();
        let door = Door::default();
        let next = suspended(&pool, &door).then(|outcome| outcome.is_ok());
        spin_until(|| pool.stats().suspended == 2);
        assert_eq!(pool.submit(|| 1).join().unwrap(), 1);
        assert!(!next.is_finished());
        door.open();
        assert!(next.join().unwrap());
    });
}

#[test]
fn a_cancelled_continuation_is_dropped_and_its_task_goes_on() {
    on_pool(|pool| {
        let ledger = Ledger::new(1);
        let (door, ticket) = (Door::default(), ledger.ticket(0));
        let first = suspended(pool, &door);
        let next = first.then(move |_| ticket.index());
        assert!(next.cancel());
        assert!(next.join().unwrap_err().is_cancelled());
        ledger.assert_settled();
        door.open();
        pool.wait_idle();
        assert_eq!(pool.stats().completed, 1);
    });
}

#[test]
fn a_continuation_of_a_closed_pool_and_of_a_promise() {
    watched(|| {
        let pool = pool_with(|b| b);
        let handle = pool.submit(|| 1);
        pool.shutdown();
        assert!(
            handle
                .then(|n| n.unwrap())
                .join()
                .unwrap_err()
                .is_cancelled()
        );
        let (promise, handle) = heist::promise::<u32>();
        let next = handle.then(|n| n.unwrap() + 1);
        assert!(promise.resolve(4).is_ok());
        assert_eq!(next.join().unwrap(), 5);
    });
}

// ---- blocking ----

#[test]
fn blocking_returns_the_value_and_the_panic() {
    on_pool(|pool| {
        assert_eq!(blocking(|| 3), 3);
        let text = outcome(|| blocking(|| panic!("outside"))).unwrap_err();
        assert_eq!(payload_text(&*text), "outside");
        let handle = pool.submit(|| blocking(|| blocking(|| 4)));
        assert_eq!(handle.join().unwrap(), 4);
        for _ in 0..100 {
            let handle = pool.submit(|| blocking(|| -> u32 { blocking(|| panic!("inside")) }));
            assert!(handle.join().unwrap_err().is_panic());
        }
        // The pool is as before: every worker can be held, and none is left over.
        let held = hold_all(pool);
        spin_until(|| pool.stats().active == pool.num_threads());
        held.open();
        pool.wait_idle();
        spin_until(|| pool.stats().active == 0);
        assert_balanced(pool);
    });
}

#[test]
fn a_spare_stands_in_for_a_thread_that_blocks() {
    watched(|| {
        let pool = pool_with(|b| b.num_threads(1).spare_threads(1));
        let held = Held::default();
        let gate = held.0.clone();
        let begun = Gate::default();
        let first = begun.clone();
        let blocked = pool.submit(move || {
            blocking(|| {
                first.open();
                gate.pass();
            })
        });
        begun.pass();
        // Work that comes while it blocks.
        assert_eq!(pool.submit(|| 2).join().unwrap(), 2);
        assert_eq!(pool.submit_async(async { 3 }).join().unwrap(), 3);
        held.open();
        blocked.join().unwrap();
    });
}

#[test]
fn a_spare_stands_in_once_for_calls_within_calls() {
    watched(|| {
        let pool = pool_with(|b| b.num_threads(1).spare_threads(1));
        for wait in 0..3 {
            let own = pool.clone();
            let handle = pool.submit(move || {
                blocking(|| {
                    blocking(|| {
                        let (send, receive) = std::sync::mpsc::channel();
                        let other = own.submit(move || send.send(5).unwrap());
                        match wait {
                            0 => {}
                            // A wait that does not run the task itself.
                            1 => assert!(other.wait_timeout(LONG)),
                            _ => block_on(other).unwrap(),
                        }
                        receive.recv().unwrap()
                    })
                })
            });
            assert_eq!(handle.join().unwrap(), 5);
            pool.wait_idle();
            spin_until(|| pool.stats().active == 0);
        }
    });
}

#[test]
fn work_that_was_queued_before_goes_on_while_a_thread_blocks() {
    watched(|| {
        let pool = pool_with(|b| b.num_threads(1).spare_threads(1));
        let own = pool.clone();
        let handle = pool.submit(move || {
            let queued = own.submit(|| 1);
            let (done, is_done) = std::sync::mpsc::channel();
            own.spawn(move || done.send(queued.join().unwrap()).unwrap());
            blocking(|| is_done.recv().unwrap())
        });
        assert_eq!(handle.join().unwrap(), 1);
    });
}

#[test]
fn as_many_calls_block_at_the_same_time_as_there_are_spares() {
    watched(|| {
        let pool = pool_with(|b| b.spare_threads(20));
        let all = Arc::new(Barrier::new(20));
        let handles: Vec<_> = (0..20)
            .map(|_| {
                let all = Arc::clone(&all);
                pool.submit(move || blocking(|| all.wait().is_leader()))
            })
            .collect();
        heist::try_join_all(handles).unwrap();
        pool.wait_idle();
        spin_until(|| pool.stats().active == 0);
    });
}

#[test]
fn a_future_blocks() {
    watched(|| {
        let pool = pool_with(|b| b.num_threads(1).spare_threads(1));
        let (send, receive) = std::sync::mpsc::channel();
        let blocked = pool.submit_async(async move {
            sleep(Duration::from_millis(1)).await;
            let value: u32 = blocking(|| receive.recv().unwrap());
            heist::yield_async().await;
            value
        });
        let sent = pool.submit_async(async move {
            sleep(Duration::from_millis(2)).await;
            send.send(6).unwrap();
        });
        assert_eq!(blocked.join().unwrap(), 6);
        sent.join().unwrap();
    });
}

#[test]
fn forks_go_on_while_threads_block() {
    on_pool(|pool| {
        let held = Held::default();
        let begun = Arc::new(AtomicUsize::new(0));
        let count = pool.num_threads();
        let blocked: Vec<_> = (0..count)
            .map(|_| {
                let (gate, begun) = (held.0.clone(), Arc::clone(&begun));
                pool.submit(move || {
                    blocking(|| {
                        begun.fetch_add(1, Ordering::SeqCst);
                        gate.pass();
                    })
                })
            })
            .collect();
        spin_until(|| begun.load(Ordering::SeqCst) == count);
        // All workers block: spares, and this guest, run it.
        assert_eq!(pool.install(|| fib(20)), serial_fib(20));
        assert_eq!(pool.submit(|| fib(20)).join().unwrap(), serial_fib(20));
        held.open();
        heist::try_join_all(blocked).unwrap();
    });
}

#[test]
fn everything_works_inside_blocking() {
    on_pool(|pool| {
        let own = pool.clone();
        let handle = pool.submit(move || {
            blocking(|| {
                let forked = fib(12);
                let joined = own.submit(|| 1).join().unwrap();
                let slept = block_on(async {
                    sleep(Duration::from_millis(1)).await;
                    2
                });
                let mut spawned = 0;
                own.scope(|s| s.spawn(|_| spawned = 3));
                heist::yield_now();
                let nested = blocking(|| own.submit_async(async { 4 }).join().unwrap());
                forked + joined + slept + spawned + nested
            })
        });
        assert_eq!(handle.join().unwrap(), serial_fib(12) + 10);
        pool.wait_idle();
        spin_until(|| pool.stats().active == 0);
        assert_balanced(pool);
    });
}

#[test]
fn many_short_calls_leave_nothing_behind() {
    on_pool(|pool| {
        let handles: Vec<_> = (0..2_000)
            .map(|n| pool.submit(move || blocking(|| fib(n % 12))))
            .collect();
        for handle in handles {
            handle.join().unwrap();
        }
        pool.wait_idle();
        spin_until(|| pool.stats().active == 0);
        let held = hold_all(pool);
        assert_eq!(pool.stats().active, pool.num_threads());
        held.open();
    });
}

#[test]
fn a_guest_blocks() {
    on_pool(|pool| {
        let (send, receive) = std::sync::mpsc::channel();
        let own = pool.clone();
        let value = pool.install(move || {
            own.spawn(move || send.send(3).unwrap());
            blocking(|| receive.recv().unwrap())
        });
        assert_eq!(value, 3);
        pool.wait_idle();
        spin_until(|| pool.stats().active == 0);
    });
}

#[test]
fn a_pool_ends_while_a_thread_blocks() {
    watched(|| {
        for way in 0..3 {
            let pool = pool_with(|b| b);
            let held = Held::default();
            let (gate, begun) = (held.0.clone(), Gate::default());
            let (first, own) = (begun.clone(), pool.clone());
            let blocked = pool.submit(move || {
                blocking(|| {
                    first.open();
                    gate.pass();
                });
                // The pool is closed, and everything still works here.
                let sum = own.join(|| 1, || 2);
                own.scope(|s| {
                    s.spawn(|_| {
                        fib(8);
                    })
                });
                sum
            });
            begun.pass();
            let closer = pool.clone();
            drop(pool);
            let closing = std::thread::spawn(move || match way {
                0 => closer.shutdown(),
                1 => drop(closer.shutdown_now()),
                _ => assert!(closer.shutdown_timeout(SOON).is_err()),
            });
            if way == 2 {
                closing.join().unwrap();
                held.open();
            } else {
                assert!(!blocked.wait_timeout(SOON));
                held.open();
                closing.join().unwrap();
            }
            assert_eq!(blocked.join().unwrap(), (1, 2));
        }
    });
}

// ---- polls ----

#[test]
fn a_poll_may_wait_for_what_it_has_submitted() {
    watched(|| {
        for pool in single() {
            let own = pool.clone();
            let mut polls = 0;
            let handle = pool.submit_async(poll_fn(move |context| {
                polls += 1;
                let value = own.submit(move || polls).join().unwrap();
                if value == 10 {
                    return Poll::Ready(value);
                }
                context.waker().wake_by_ref();
                Poll::Pending
            }));
            assert_eq!(handle.join().unwrap(), 10);
        }
    });
}

#[test]
fn polls_in_a_pool_whose_waits_run_anything() {
    watched(|| {
        let pool = pool_with(|b| b.waits(heist::Waits::Any));
        let handles: Vec<_> = (0..200_u64)
            .map(|n| {
                let own = pool.clone();
                pool.submit_async(async move {
                    heist::yield_async().await;
                    let a = own.submit(move || n).join().unwrap();
                    sleep(Duration::from_micros(n)).await;
                    let (b, c) = own.join(|| n, || n);
                    let d = own.submit_async(async move {
                        heist::yield_async().await;
                        n
                    });
                    a + b + c + d.join().unwrap()
                })
            })
            .collect();
        for (n, handle) in handles.into_iter().enumerate() {
            assert_eq!(handle.join().unwrap(), 4 * n as u64);
        }
        assert_balanced(&pool);
    });
}
