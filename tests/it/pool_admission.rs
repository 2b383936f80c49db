//! Admission of tasks: capacity, priorities, refusals.

use crate::support::{Held, LONG, Ledger, hold_all, pool_with, spin_until, watched};
use heist::{Priority, ThreadPool, TrySubmitError, WhenFull};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, ThreadId};
use std::time::Duration;

/// A pool whose workers are held, with an empty queue.
fn bounded(capacity: usize, when_full: WhenFull) -> (ThreadPool, Held) {
    let pool = pool_with(|b| b.queue_capacity(capacity).when_full(when_full));
    let held = hold_all(&pool);
    (pool, held)
}

#[test]
fn a_full_queue_rejects() {
    watched(|| {
        let (pool, held) = bounded(3, WhenFull::Reject);
        let kept: Vec<_> = (0..3).map(|n| pool.submit(move || n)).collect();
        let thing = Arc::new(());
        let captured = Arc::clone(&thing);
        let refused = pool.submit(move || drop(captured));
        assert!(refused.is_finished() && refused.is_cancelled());
        assert_eq!(Arc::strong_count(&thing), 1);
        let error = refused.join().unwrap_err();
        assert!(error.is_cancelled());
        assert!(error.to_string().contains("full"), "{error}");
        held.open();
        for (n, handle) in kept.into_iter().enumerate() {
            assert_eq!(handle.join().unwrap(), n);
        }
        pool.submit(|| ()).join().unwrap();
        pool.wait_idle();
        let stats = pool.stats();
        assert_eq!(stats.cancelled, 1);
        assert_eq!(stats.submitted, stats.completed + stats.cancelled);
    });
}

#[test]
fn try_submit_says_full_and_gives_the_closure_back() {
    watched(|| {
        for when_full in [WhenFull::Block, WhenFull::Reject, WhenFull::CallerRuns] {
            let (pool, held) = bounded(1, when_full);
            let kept = pool.try_submit(|| 1).unwrap();
            let ledger = Ledger::new(1);
            let ticket = ledger.ticket(0);
            let error = pool.try_submit(move || ticket.index()).err().unwrap();
            assert!(error.is_full());
            assert!(error.to_string().contains("full"));
            assert_eq!(ledger.dropped(), 0);
            let TrySubmitError::Full(closure) = error else {
                panic!("not full");
            };
            assert_eq!(closure(), 0);
            let error = pool.task().name("x").try_submit(|| 5).err().unwrap();
            assert_eq!(error.into_inner()(), 5);
            assert_eq!(pool.stats().submitted, 1 + pool.num_threads() as u64);
            held.open();
            assert_eq!(kept.join().unwrap(), 1);
            spin_until(|| pool.try_submit(|| ()).is_ok());
        }
    });
}

#[test]
fn try_submit_says_shut_down_and_gives_the_closure_back() {
    watched(|| {
        for bounded in [false, true] {
            let pool = pool_with(|b| if bounded { b.queue_capacity(1) } else { b });
            pool.shutdown();
            let ledger = Ledger::new(1);
            let ticket = ledger.ticket(0);
            let error = pool.try_submit(move || ticket.index()).err().unwrap();
            assert!(!error.is_full());
            assert!(error.to_string().contains("shut down"));
            assert!(matches!(error, TrySubmitError::ShutDown(_)));
            assert_eq!(error.into_inner()(), 0);
            assert_eq!(pool.stats().submitted, 0);
        }
    });
}

#[test]
fn a_full_queue_blocks_until_a_task_begins() {
    watched(|| {
        let (pool, held) = bounded(2, WhenFull::Block);
        let first = [pool.submit(|| 0), pool.submit(|| 1)];
        let (said, says) = mpsc::channel();
        let submitters: Vec<_> = (2..6)
            .map(|n| {
                let (pool, said) = (pool.clone(), said.clone());
                thread::spawn(move || {
                    let handle = pool.submit(move || n);
                    said.send(()).unwrap();
                    handle.join().unwrap()
                })
            })
            .collect();
        // The short sleep makes visible a submit that does not block.
        assert!(says.recv_timeout(Duration::from_millis(20)).is_err());
        assert_eq!(pool.stats().submitted, 2 + pool.num_threads() as u64);
        held.open();
        let values: Vec<_> = submitters.into_iter().map(|t| t.join().unwrap()).collect();
        assert_eq!(values, [2, 3, 4, 5]);
        for (n, handle) in first.into_iter().enumerate() {
            assert_eq!(handle.join().unwrap(), n);
        }
    });
}

#[test]
fn a_cancelled_task_makes_room_for_a_blocked_submitter() {
    watched(|| {
        for by_deadline in [false, true] {
            let (pool, held) = bounded(1, WhenFull::Block);
            let queued = if by_deadline {
                pool.task().deadline(Duration::from_millis(20)).submit(|| 0)
            } else {
                pool.submit(|| 0)
            };
            let (own, (said, says)) = (pool.clone(), mpsc::channel());
            let submitter = thread::spawn(move || {
                let handle = own.submit(|| 1);
                said.send(()).unwrap();
                handle.join().unwrap()
            });
            if !by_deadline {
                assert!(queued.cancel());
            }
            says.recv().unwrap();
            held.open();
            assert_eq!(submitter.join().unwrap(), 1);
            assert!(queued.join().is_err());
        }
    });
}

#[test]
fn blocked_submitters_all_get_in_as_tasks_begin() {
    watched(|| {
        let pool = pool_with(|b| b.queue_capacity(2));
        let ran = Arc::new(AtomicUsize::new(0));
        let submitters: Vec<_> = (0..4)
            .map(|_| {
                let (pool, ran) = (pool.clone(), Arc::clone(&ran));
                thread::spawn(move || {
                    for _ in 0..500 {
                        let ran = Arc::clone(&ran);
                        pool.spawn(move || {
                            ran.fetch_add(1, Ordering::Relaxed);
                        });
                    }
                })
            })
            .collect();
        for submitter in submitters {
            submitter.join().unwrap();
        }
        pool.wait_idle();
        assert_eq!(ran.load(Ordering::Relaxed), 2000);
        assert_eq!(pool.stats().completed, 2000);
    });
}

#[test]
fn a_shutdown_unblocks_blocked_submitters() {
    watched(|| {
        for now in [false, true] {
            let (pool, held) = bounded(1, WhenFull::Block);
            let queued = pool.submit(|| 0);
            let about = Arc::new(AtomicUsize::new(0));
            let submitters: Vec<_> = (0..3)
                .map(|_| {
                    let (pool, about) = (pool.clone(), Arc::clone(&about));
                    thread::spawn(move || {
                        about.fetch_add(1, Ordering::Release);
                        pool.submit(|| 1).join()
                    })
                })
                .collect();
            spin_until(|| about.load(Ordering::Acquire) == 3);
            let own = pool.clone();
            let closer = thread::spawn(move || {
                if now {
                    own.shutdown_now();
                } else {
                    own.shutdown();
                }
            });
            // Nobody makes room while the workers are held.
            for submitter in submitters {
                assert!(submitter.join().unwrap().unwrap_err().is_cancelled() || now);
            }
            // The submitters may be refused before the queue is emptied.
            spin_until(|| !now || queued.is_finished());
            held.open();
            closer.join().unwrap();
            assert_eq!(queued.join().is_ok(), !now);
        }
    });
}

#[test]
fn the_caller_runs_what_finds_the_queue_full() {
    watched(|| {
        let (pool, held) = bounded(1, WhenFull::CallerRuns);
        let on = |pool: &ThreadPool| pool.submit(|| thread::current().id());
        let queued = on(&pool);
        let here: Vec<_> = (0..10).map(|_| on(&pool)).collect();
        for handle in here {
            assert!(handle.is_finished());
            assert_eq!(handle.join().unwrap(), thread::current().id());
        }
        let failed = pool.submit(|| panic!("on the caller"));
        let failed: heist::JoinHandle<()> = failed;
        assert!(failed.join().unwrap_err().is_panic());
        let (own, spawned) = (thread::current().id(), Arc::new(Mutex::new(None)));
        let place = Arc::clone(&spawned);
        pool.spawn(move || *place.lock().unwrap() = Some(thread::current().id()));
        assert_eq!(*spawned.lock().unwrap(), Some(own));
        held.open();
        assert_ne!(queued.join().unwrap(), own);
        pool.wait_idle();
        let stats = pool.stats();
        assert_eq!(stats.submitted, stats.completed + stats.failed);
        assert_eq!(stats.failed, 1);
    });
}

#[test]
fn a_worker_goes_beyond_the_capacity_and_is_counted() {
    watched(|| {
        for when_full in [WhenFull::Block, WhenFull::Reject] {
            let pool = pool_with(|b| b.num_threads(1).queue_capacity(2).when_full(when_full));
            let own = pool.clone();
            let outer = pool.submit(move || {
                let me = thread::current().id();
                let handles: Vec<_> = (0..10).map(|n| own.submit(move || n)).collect();
                let full = own.try_submit(|| ()).is_err_and(|error| error.is_full());
                assert!(handles.iter().all(|handle| !handle.is_finished()));
                (me, full, handles)
            });
            let (_, full, handles) = outer.join().unwrap();
            assert!(full, "try_submit says Full to a worker too");
            for (n, handle) in handles.into_iter().enumerate() {
                assert_eq!(handle.join().unwrap(), n);
            }
            assert_eq!(pool.stats().beyond_capacity, 8);
            pool.wait_idle();
            assert_eq!(pool.stats().completed, 11);
        }
    });
}

#[test]
fn a_worker_runs_it_in_place_if_the_caller_is_to() {
    watched(|| {
        let pool = pool_with(|b| {
            b.num_threads(1)
                .queue_capacity(1)
                .when_full(WhenFull::CallerRuns)
        });
        let own = pool.clone();
        let outer = pool.submit(move || {
            let id = || thread::current().id();
            let handles: Vec<_> = (0..5).map(|_| own.submit(id)).collect();
            let finished: Vec<bool> = handles.iter().map(|h| h.is_finished()).collect();
            (id(), finished, handles)
        });
        let (me, finished, handles): (ThreadId, _, _) = outer.join().unwrap();
        assert_eq!(finished, [false, true, true, true, true]);
        for handle in handles {
            assert_eq!(handle.join().unwrap(), me);
        }
    });
}

#[test]
fn a_recursion_of_joins_does_not_block_on_its_full_queue() {
    full_at_the_bottom(50);
}

#[test]
fn a_deep_recursion_of_joins_does_not_block_on_its_full_queue() {
    full_at_the_bottom(10_000);
}

/// Tasks join tasks, and the last one finds the queue full when it submits.
fn full_at_the_bottom(depth: usize) {
    fn down(pool: &ThreadPool, n: usize, full: &Arc<dyn Fn() + Send + Sync>) -> usize {
        if n == 0 {
            full();
            return pool.submit(|| 0).join().unwrap();
        }
        let (own, full) = (pool.clone(), Arc::clone(full));
        let next = pool.submit(move || down(&own, n - 1, &full));
        next.join().unwrap() + 1
    }
    watched(move || {
        let pool = pool_with(|b| b.num_threads(1).spare_threads(0).queue_capacity(1));
        let filler = Arc::new(Mutex::new(None));
        let (own, place) = (pool.clone(), Arc::clone(&filler));
        // At the end of the chain a thread outside the pool fills the queue.
        let full: Arc<dyn Fn() + Send + Sync> = Arc::new(move || {
            let own = own.clone();
            let handle = thread::spawn(move || own.submit(|| ())).join().unwrap();
            *place.lock().unwrap() = Some(handle);
        });
        let own = pool.clone();
        let handle = pool.submit(move || down(&own, depth, &full));
        assert_eq!(handle.join().unwrap(), depth);
    });
}

#[test]
fn submit_many_respects_the_capacity() {
    watched(|| {
        let (pool, held) = bounded(3, WhenFull::Reject);
        let handles = pool.submit_many((0..10).map(|n| move || n));
        let refused = handles
            .iter()
            .filter(|handle| handle.is_cancelled())
            .count();
        assert_eq!((handles.len(), refused), (10, 7));
        held.open();
        assert_eq!(
            handles
                .into_iter()
                .filter_map(|h| h.join().ok())
                .sum::<i32>(),
            3
        );
    });
}

#[test]
fn submit_many_runs_all_in_one_go() {
    watched(|| {
        let pool = pool_with(|b| b);
        let handles = pool.submit_many((0..1000).map(|n| move || n));
        assert_eq!(
            handles.into_iter().map(|h| h.join().unwrap()).sum::<i32>(),
            499_500
        );
        assert!(pool.submit_many(Vec::<fn()>::new()).is_empty());
        pool.wait_idle();
        assert_eq!(pool.stats().completed, 1000);
    });
}

#[test]
fn submit_many_with_an_iterator_that_panics_leaves_a_sound_pool() {
    watched(|| {
        let pool = pool_with(|b| b);
        let text = crate::support::panic_of(|| {
            pool.submit_many((0..10).map(|n| {
                assert!(n < 5, "in the iterator");
                move || n
            }))
        });
        assert_eq!(text, "in the iterator");
        let stats = pool.stats();
        assert_eq!(pool.submit(|| 1).join().unwrap(), 1);
        assert!(stats.submitted >= stats.cancelled, "{stats:?}");
        pool.wait_idle();
        let stats = pool.stats();
        assert_eq!(
            stats.submitted,
            stats.completed + stats.failed + stats.cancelled
        );
    });
}

/// The order in which tasks of these priorities run on one thread that was busy while they were queued.
fn order_of(priorities: &[Priority]) -> Vec<Priority> {
    let pool = pool_with(|b| b.num_threads(1));
    let held = hold_all(&pool);
    let order = Arc::new(Mutex::new(Vec::new()));
    for &priority in priorities {
        let order = Arc::clone(&order);
        pool.task()
            .priority(priority)
            .submit(move || order.lock().unwrap().push(priority))
            .detach();
    }
    held.open();
    pool.wait_idle();
    Arc::into_inner(order).unwrap().into_inner().unwrap()
}

#[test]
fn high_comes_before_normal_before_low() {
    watched(|| {
        use Priority::*;
        let mixed: Vec<_> = [Low, Normal, High].into_iter().cycle().take(90).collect();
        let order = order_of(&mixed);
        assert_eq!(order.len(), 90);
        // One task in 128 may be a low or normal one out of turn, so that nothing starves.
        let sorted: Vec<_> = [High, Normal, Low]
            .into_iter()
            .flat_map(|p| [p; 30])
            .collect();
        let in_place = order.iter().zip(&sorted).filter(|(a, b)| a == b).count();
        assert!(in_place >= 84, "{order:?}");
    });
}

#[test]
fn tasks_of_one_priority_from_outside_run_in_order() {
    watched(|| {
        let pool = pool_with(|b| b.num_threads(1));
        for priority in [Priority::High, Priority::Normal, Priority::Low] {
            let held = hold_all(&pool);
            let order = Arc::new(Mutex::new(Vec::new()));
            for n in 0..300 {
                let order = Arc::clone(&order);
                pool.task()
                    .priority(priority)
                    .submit(move || order.lock().unwrap().push(n))
                    .detach();
            }
            held.open();
            pool.wait_idle();
            assert_eq!(*order.lock().unwrap(), (0..300).collect::<Vec<_>>());
        }
    });
}

#[test]
fn a_low_task_is_not_starved_by_a_stream_of_high_ones() {
    fn stream(pool: &ThreadPool, left: &Arc<AtomicUsize>) {
        if left.load(Ordering::Relaxed) == 0 {
            return;
        }
        let (own, left) = (pool.clone(), Arc::clone(left));
        let task = pool.task().priority(Priority::High);
        task.submit(move || stream(&own, &left)).detach();
    }
    watched(|| {
        for priority in [Priority::Low, Priority::Normal] {
            let pool = pool_with(|b| b.num_threads(1));
            let left = Arc::new(AtomicUsize::new(1));
            // The task runs until the other one has run.
            for _ in 0..4 {
                stream(&pool, &left);
            }
            let stop = Arc::clone(&left);
            let task = pool.task().priority(priority);
            let handle = task.submit(move || stop.store(0, Ordering::Relaxed));
            assert!(handle.wait_timeout(LONG));
            pool.wait_idle();
        }
    });
}

#[test]
fn a_low_task_is_not_starved_by_a_stream_of_a_workers_own() {
    fn stream(pool: &ThreadPool, left: &Arc<AtomicUsize>) {
        if left.load(Ordering::Relaxed) != 0 {
            let (own, left) = (pool.clone(), Arc::clone(left));
            pool.spawn(move || stream(&own, &left));
        }
    }
    watched(|| {
        for priority in [Priority::Low, Priority::Normal] {
            let pool = pool_with(|b| b.num_threads(1));
            let left = Arc::new(AtomicUsize::new(1));
            stream(&pool, &left);
            let stop = Arc::clone(&left);
            let task = pool.task().priority(priority);
            let handle = task.submit(move || stop.store(0, Ordering::Relaxed));
            assert!(handle.wait_timeout(LONG));
            pool.wait_idle();
        }
    });
}
