//! Sets of futures.
//!
//! By meaning, these are the cases of tokio's `task_join_set` and of async-executor's `spawn_many` that apply here.

use crate::support::{Door, Ledger, assert_balanced, on_pool, pool_with, spin_until, watched};
use heist::{CancelToken, JoinSet, block_on};
use std::collections::HashSet;
use std::future::{Future, pending};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Polls a future once.
fn now<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn a_set_of_futures_that_sleep_is_used_again() {
    on_pool(|pool| {
        let mut set = JoinSet::new(pool);
        for _ in 0..2 {
            for n in 0..10_usize {
                set.insert(pool.submit_async(async move {
                    heist::sleep(Duration::from_millis(n as u64)).await;
                    n
                }));
                assert_eq!(set.len(), n + 1);
            }
            let mut seen = [false; 10];
            block_on(async {
                while let Some(n) = set.next().await {
                    seen[n.unwrap()] = true;
                }
            });
            assert_eq!(seen, [true; 10]);
            assert!(matches!(now(set.next()), Poll::Ready(None)));
        }
        assert_balanced(pool);
    });
}

#[test]
fn a_dropped_set_drops_its_futures() {
    on_pool(|pool| {
        for inside in [false, true] {
            let ledger = Ledger::new(16);
            let mut set = JoinSet::new(pool);
            for ticket in ledger.tickets() {
                set.insert(pool.submit_async(async move {
                    let _ticket = ticket;
                    pending::<()>().await;
                }));
            }
            assert!(set.try_join_next().is_none());
            if inside {
                pool.submit_async(async move { drop(set) }).join().unwrap();
            } else {
                drop(set);
            }
            pool.wait_idle();
            ledger.assert_settled();
            spin_until(|| pool.stats().suspended == 0);
        }
        assert_eq!(pool.stats().cancelled, 32);
    });
}

#[test]
fn a_set_is_filled_while_it_is_emptied() {
    on_pool(|pool| {
        let own = pool.clone();
        let outer = pool.submit_async(async move {
            let mut set = JoinSet::new(&own);
            set.insert(own.submit_async(async {}));
            set.insert(own.submit_async(async {}));
            for _ in 0..1_000 {
                set.next().await.unwrap().unwrap();
                assert_eq!(set.len(), 1);
                set.insert(own.submit_async(async {}));
            }
            set.len()
        });
        assert_eq!(outer.join().unwrap(), 2);
    });
}

#[test]
fn some_futures_of_a_set_are_cancelled() {
    on_pool(|pool| {
        let mut set = JoinSet::new(pool);
        let (door, token) = (Door::default(), CancelToken::new());
        for n in 0..16 {
            let (passage, task) = (door.pass(), pool.task());
            let task = match n % 2 {
                0 => task,
                _ => task.token(&token),
            };
            set.insert(task.submit_async(async move {
                passage.await;
                n
            }));
        }
        token.cancel();
        door.open();
        let (mut completed, mut cancelled) = (0, 0);
        while let Some(result) = set.join_next() {
            match result {
                Ok(n) => {
                    assert_eq!(n % 2, 0);
                    completed += 1;
                }
                Err(error) => {
                    assert!(error.is_cancelled());
                    cancelled += 1;
                }
            }
        }
        assert_eq!((completed, cancelled), (8, 8));
    });
}

#[test]
fn a_set_whose_pool_has_ended() {
    watched(|| {
        let pool = pool_with(|b| b);
        let mut set = JoinSet::new(&pool);
        set.insert(pool.submit_async(pending::<()>()));
        pool.shutdown_now();
        set.insert(pool.submit_async(async {}));
        for _ in 0..2 {
            let result = block_on(set.next()).unwrap();
            assert!(result.unwrap_err().is_cancelled());
        }
        assert!(set.is_empty());
    });
}

#[test]
fn a_panic_cancels_the_futures_that_are_joined_with_it() {
    on_pool(|pool| {
        let ledger = Ledger::new(8);
        let mut handles: Vec<_> = ledger
            .tickets()
            .into_iter()
            .map(|ticket| {
                pool.submit_async(async move {
                    let _ticket = ticket;
                    pending::<()>().await;
                })
            })
            .collect();
        handles.push(pool.submit_async(async {
            heist::sleep(Duration::from_millis(1)).await;
            panic!("part of the test");
        }));
        assert!(heist::try_join_all(handles).unwrap_err().is_panic());
        pool.wait_idle();
        ledger.assert_settled();
        assert_eq!((pool.stats().cancelled, pool.stats().failed), (8, 1));
    });
}

#[test]
fn a_set_of_suspended_and_of_finished_futures_is_cancelled() {
    on_pool(|pool| {
        let mut set = JoinSet::new(pool);
        for _ in 0..5 {
            set.insert(pool.submit_async(pending::<()>()));
            set.insert(pool.submit_async(heist::yield_async()));
        }
        spin_until(|| pool.stats().completed == 5 && pool.stats().suspended == 5);
        set.cancel_all();
        assert_eq!(set.len(), 10);
        let (mut completed, mut cancelled) = (0, 0);
        while let Some(result) = set.join_next() {
            match result {
                Ok(()) => completed += 1,
                Err(error) => cancelled += usize::from(error.is_cancelled()),
            }
        }
        assert_eq!((completed, cancelled), (5, 5));
    });
}

#[test]
fn each_poll_of_a_set_gives_what_has_finished() {
    on_pool(|pool| {
        let door = Door::default();
        let mut set = JoinSet::new(pool);
        for _ in 0..1_000 {
            set.insert(pool.submit_async(door.pass()));
        }
        assert!(now(set.next()).is_pending());
        assert!(set.try_join_next().is_none());
        door.open();
        // A passage that was polled after the opening does not wait for it.
        pool.wait_idle();
        for n in 0..1_000 {
            let result = match n % 2 {
                0 => set.try_join_next(),
                _ => match now(set.next()) {
                    Poll::Ready(result) => result,
                    Poll::Pending => panic!("all have finished"),
                },
            };
            result.unwrap().unwrap();
        }
        assert!(set.is_empty());
    });
}

#[test]
fn a_set_names_the_futures_that_have_finished() {
    on_pool(|pool| {
        let door = Door::default();
        let mut set = JoinSet::new(pool);
        let ids: HashSet<_> = (0..100)
            .map(|_| set.insert(pool.task().name("passes").submit_async(door.pass())))
            .collect();
        assert_eq!(ids.len(), 100);
        assert!(set.join_next_task(Some(Duration::ZERO)).is_none());
        door.open();
        let mut joined = HashSet::new();
        while let Some(task) = set.join_next_task(None) {
            task.result.unwrap();
            assert_eq!(task.name.as_deref(), Some("passes"));
            joined.insert(task.id);
        }
        assert_eq!(joined, ids);
    });
}

#[test]
fn many_futures_that_are_ready_at_once() {
    on_pool(|pool| {
        let own = pool.clone();
        let outer = pool.submit_async(async move {
            let handles: Vec<_> = (0..50_000)
                .map(|n| own.submit_async(std::future::ready(n)))
                .collect();
            for (n, handle) in handles.into_iter().enumerate() {
                assert_eq!(handle.await.unwrap(), n);
            }
        });
        outer.join().unwrap();
        assert_balanced(pool);
    });
}

/// The future that waits for the set is dropped between two results.
#[test]
fn a_set_outlives_the_future_that_waits_for_it() {
    on_pool(|pool| {
        let door = Door::default();
        let mut set = JoinSet::new(pool);
        for _ in 0..10 {
            set.insert(pool.submit_async(door.pass()));
            let soon = heist::timeout(Duration::ZERO, set.next());
            assert!(block_on(soon).is_err());
        }
        door.open();
        let mut count = 0;
        while block_on(set.next()).is_some() {
            count += 1;
        }
        assert_eq!(count, 10);
    });
}
