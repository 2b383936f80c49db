//! `Scope::submit`: tasks with handles that borrow.

use crate::support::{
    Gate, Held, LONG, Ledger, SOON, Ticket, hold_all, on_pool, on_pool_of, outcome, panic_of,
    payload_text, pool_with, spin_until, threads, watched,
};
use heist::{CancelToken, Scope, ScopedJoinHandle, ThreadPool};
use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// Runs `body` on a guest, on a worker, and on the only worker of a pool with and without a spare.
#[track_caller]
fn everywhere(body: impl Fn(&ThreadPool) + Send + Sync + 'static) {
    watched(move || {
        let pools = [
            pool_with(|b| b),
            pool_with(|b| b.num_threads(1)),
            pool_with(|b| b.num_threads(1).spare_threads(0)),
        ];
        let body = Arc::new(body);
        for pool in pools {
            body(&pool);
            let (own, body) = (pool.clone(), Arc::clone(&body));
            if let Err(error) = pool.submit(move || body(&own)).join() {
                std::panic::resume_unwind(error.into_panic());
            }
            pool.wait_idle();
            let stats = pool.stats();
            assert_eq!(
                stats.submitted,
                stats.completed + stats.failed + stats.cancelled
            );
        }
    });
}

#[test]
fn results_borrow_what_outlives_the_scope() {
    everywhere(|pool| {
        let text = String::from("to be or not to be");
        let longest = pool.scope(|s| {
            let words: Vec<ScopedJoinHandle<'_, &str>> = text
                .split(' ')
                .map(|word| s.submit(move |_| word))
                .collect();
            let words = words.into_iter().map(|word| word.join().unwrap());
            words.max_by_key(|word| word.len()).unwrap()
        });
        assert_eq!(longest, "not");
    });
}

#[test]
fn tasks_change_what_they_borrow() {
    everywhere(|pool| {
        let mut numbers = [1, 2, 3, 4, 5, 6];
        let sum: i32 = pool.scope(|s| {
            let handles: Vec<_> = numbers
                .iter_mut()
                .map(|n| {
                    s.submit(move |_| {
                        *n *= 10;
                        &*n
                    })
                })
                .collect();
            handles
                .into_iter()
                .map(|handle| handle.join().unwrap())
                .sum()
        });
        assert_eq!(sum, 210);
        assert_eq!(numbers, [10, 20, 30, 40, 50, 60]);
    });
}

#[test]
fn the_scope_waits_for_a_task_whose_handle_was_let_go() {
    everywhere(|pool| {
        let ran = AtomicUsize::new(0);
        pool.scope(|s| {
            for n in 0..30 {
                let handle = s.submit(|_| ran.fetch_add(1, Ordering::Relaxed));
                match n % 3 {
                    0 => drop(handle),
                    1 => handle.detach(),
                    _ => std::mem::forget(handle),
                }
            }
        });
        assert_eq!(ran.into_inner(), 30);
    });
}

#[test]
fn closures_and_unread_results_are_dropped_before_the_scope_ends() {
    everywhere(|pool| {
        let (closures, results) = (Ledger::new(60), Ledger::new(60));
        let kept: Vec<ScopedJoinHandle<'_, Ticket>> = pool.scope(|s| {
            let mut kept = Vec::new();
            for ticket in closures.tickets() {
                let (n, results) = (ticket.index(), &results);
                let handle = s.submit(move |_| {
                    let _ticket = ticket;
                    results.ticket(n)
                });
                match n % 3 {
                    0 => drop(handle),
                    1 => drop(handle.join()),
                    _ => kept.push(handle),
                }
            }
            kept
        });
        assert_eq!((closures.dropped(), results.dropped()), (60, 40));
        assert_eq!(results.made(), 60);
        drop(kept);
        closures.assert_settled();
        results.assert_settled();
    });
}

#[test]
fn a_handle_is_joined_in_another_task_or_inside_a_join() {
    everywhere(|pool| {
        let number = 7;
        let spawned = AtomicUsize::new(0);
        let sum = pool.scope(|s| {
            let first = s.submit(|_| number);
            s.spawn(|_| spawned.store(first.join().unwrap(), Ordering::Relaxed));
            let second = s.submit(|_| number + 1);
            let third = s.submit(move |_| second.join().unwrap() + 1);
            let (fourth, fifth) = (s.submit(|_| 1), s.submit(|_| 2));
            let sides = pool.join(|| fourth.join().unwrap(), || fifth.join().unwrap());
            third.join().unwrap() + sides.0 + sides.1
        });
        assert_eq!(sum, 12);
        assert_eq!(spawned.into_inner(), 7);
    });
}

#[test]
fn a_handle_is_joined_on_a_thread_outside_the_pool() {
    // The body counts as a guest.
    on_pool_of(threads().max(2), |pool| {
        let number = 7;
        pool.scope(|s| {
            let handle = s.submit(|_| &number);
            thread::scope(|threads| {
                let joined = threads.spawn(|| *handle.join().unwrap());
                assert_eq!(joined.join().unwrap(), 7);
            });
        });
    });
}

#[test]
fn a_chain_of_tasks_that_join_one_another_ends() {
    everywhere(|pool| {
        for reversed in [false, true] {
            let one = 1;
            let total = pool.scope(|s| {
                let mut last = s.submit(|_| 0);
                for n in 0..200 {
                    let previous = last;
                    last = s.submit(move |s| {
                        // The task submits another task and waits for it.
                        let own = s.submit(move |_| one);
                        let (own, previous) = match reversed {
                            false => (own.join().unwrap(), previous.join().unwrap()),
                            true => {
                                let previous = previous.join().unwrap();
                                (own.join().unwrap(), previous)
                            }
                        };
                        assert_eq!(previous, n);
                        previous + own
                    });
                }
                last.join().unwrap()
            });
            assert_eq!(total, 200);
        }
    });
}

fn fib<'scope>(s: &Scope<'scope>, n: u32, leaf: &'scope u64) -> u64 {
    if n < 2 {
        return u64::from(n) * leaf;
    }
    let a = s.submit(move |s| fib(s, n - 1, leaf));
    let b = fib(s, n - 2, leaf);
    a.join().unwrap() + b
}

#[test]
fn a_recursion_submits_into_one_scope() {
    everywhere(|pool| {
        let leaf = 1;
        let value = pool.scope(|s| fib(s, 12, &leaf));
        assert_eq!(value, 144);
    });
}

#[test]
fn a_handle_is_returned_from_the_scope_and_joined_later() {
    everywhere(|pool| {
        let text = String::from("later");
        let (ok, panicked, cancelled) = pool.scope(|s| {
            let cancelled = s.submit(|_| 3);
            let cancelled = cancelled.cancel().then_some(cancelled);
            (
                s.submit(|_| text.as_str()),
                s.submit(|_| -> u8 { std::panic::resume_unwind(Box::new(text.len())) }),
                cancelled,
            )
        });
        assert!(ok.is_finished() && !ok.is_running() && !ok.is_cancelled());
        assert!(ok.wait_timeout(Duration::ZERO) && !ok.cancel());
        assert_eq!(ok.join().unwrap(), "later");
        let payload = panicked.join().unwrap_err().into_panic();
        assert_eq!(*payload.downcast::<usize>().unwrap(), 5);
        if let Some(cancelled) = cancelled {
            assert!(cancelled.is_finished() && cancelled.is_cancelled() && cancelled.cancel());
            assert!(cancelled.join().unwrap_err().is_cancelled());
        }
    });
}

#[test]
fn a_cancelled_task_does_not_run_and_the_scope_ends() {
    on_pool(|pool| {
        for kept in [false, true] {
            let held = hold_all(pool);
            let ledger = Ledger::new(20);
            let before = pool.stats();
            let handles = pool.scope(|s| {
                let mut handles = Vec::new();
                for ticket in ledger.tickets() {
                    let n = ticket.index();
                    let handle = s.submit(move |_| panic!("{} ran", ticket.index()));
                    assert!(!handle.is_finished() && !handle.is_running());
                    assert!(handle.cancel() && handle.cancel());
                    assert!(handle.is_finished() && handle.is_cancelled());
                    assert_eq!(ledger.dropped(), n + 1, "the closure is gone at once");
                    if kept {
                        handles.push(handle);
                    }
                }
                handles
            });
            for handle in handles {
                let error = handle.join().unwrap_err();
                assert!(error.is_cancelled());
            }
            let after = pool.stats();
            assert_eq!(after.cancelled - before.cancelled, 20);
            assert_eq!(after.failed, before.failed);
            ledger.assert_settled();
            drop(held);
        }
    });
}

#[test]
fn a_running_task_is_not_cancelled() {
    // The body counts as a guest.
    on_pool_of(threads().max(2), |pool| {
        let held = Held(Gate::default());
        let (gate, begun) = (&held.0, AtomicUsize::new(0));
        pool.scope(|s| {
            let handle = s.submit(|_| {
                begun.store(1, Ordering::Release);
                gate.pass();
                5
            });
            spin_until(|| begun.load(Ordering::Acquire) == 1);
            assert!(handle.is_running() && !handle.is_finished());
            assert!(!handle.cancel() && !handle.is_cancelled());
            assert!(!handle.wait_timeout(Duration::ZERO) && !handle.wait_timeout(SOON));
            let handle = handle.join_timeout(SOON).unwrap_err();
            held.open();
            assert!(handle.wait_timeout(LONG));
            let id = handle.id();
            assert!(format!("{handle:?}").contains(&id.to_string().replace('#', "")));
            assert_eq!(handle.join_timeout(Duration::ZERO).unwrap().unwrap(), 5);
        });
    });
}

#[test]
fn the_consumer_runs_what_nobody_has_begun() {
    on_pool(|pool| {
        let held = hold_all(pool);
        let me = thread::current().id();
        pool.scope(|s| {
            let handles: Vec<_> = (0..10)
                .map(|n| s.submit(move |_| (n, thread::current().id())))
                .collect();
            for (n, handle) in handles.into_iter().enumerate().rev() {
                assert_eq!(handle.join().unwrap(), (n, me));
            }
        });
        drop(held);
    });
}

#[test]
fn a_panic_goes_to_the_handle_and_not_to_the_scope() {
    everywhere(|pool| {
        let before = pool.stats();
        let name = String::from("borrowed");
        let texts = pool.scope(|s| {
            let handles: Vec<_> = (0..5)
                .map(|n| {
                    let name = &name;
                    s.submit(move |_| assert!(n % 2 == 0, "{name} {n}"))
                })
                .collect();
            let errors = handles.into_iter().filter_map(|handle| handle.join().err());
            errors
                .map(|error| payload_text(&*error.into_panic()))
                .collect::<Vec<_>>()
        });
        assert_eq!(texts, ["borrowed 1", "borrowed 3"]);
        assert_eq!(pool.stats().failed - before.failed, 2);
        assert_eq!(pool.stats().lost_panics, 0);
    });
}

#[test]
fn a_panic_without_a_handle_goes_to_the_pools_handler() {
    watched(|| {
        let texts = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&texts);
        let pool = pool_with(|builder| {
            builder.panic_handler(move |payload| sink.lock().unwrap().push(payload_text(&*payload)))
        });
        let value = pool.scope(|s| {
            s.submit(|_| panic!("let go")).detach();
            let late = s.submit(|_| panic!("read by nobody"));
            assert!(late.wait_timeout(LONG));
            drop(late);
            3
        });
        assert_eq!(value, 3);
        let mut texts = texts.lock().unwrap().clone();
        texts.sort();
        assert_eq!(texts, ["let go", "read by nobody"]);
        assert_eq!((pool.stats().failed, pool.stats().lost_panics), (2, 2));
    });
}

#[test]
fn a_body_that_panics_waits_for_its_tasks_first() {
    everywhere(|pool| {
        let ran = AtomicUsize::new(0);
        let text = panic_of(|| {
            pool.scope(|s| {
                let _handles: Vec<_> = (0..10)
                    .map(|_| s.submit(|_| ran.fetch_add(1, Ordering::Relaxed)))
                    .collect();
                panic!("the body");
            })
        });
        assert_eq!(text, "the body");
        assert_eq!(ran.into_inner(), 10);
    });
}

#[test]
fn a_spawned_tasks_panic_leaves_the_handles_sound() {
    everywhere(|pool| {
        let (data, kept) = (5, Mutex::new(None));
        let panicked = outcome(|| {
            pool.scope(|s| {
                *kept.lock().unwrap() = Some(s.submit(|_| &data));
                s.spawn(|_| panic!("a spawned task"));
            })
        });
        assert_eq!(payload_text(&*panicked.unwrap_err()), "a spawned task");
        let handle = kept.into_inner().unwrap().unwrap();
        // The task ran, or was skipped since the scope had panicked.
        match handle.join() {
            Ok(data) => assert_eq!(*data, 5),
            Err(error) => assert!(error.is_cancelled()),
        }
    });
}

#[test]
fn scopes_nest_and_inner_tasks_submit_into_the_outer_one() {
    everywhere(|pool| {
        let numbers: Vec<u64> = (0..40).collect();
        let total = AtomicUsize::new(0);
        let sums = pool.scope(|outer| {
            let handles: Vec<_> = numbers
                .chunks(10)
                .map(|chunk| {
                    let total = &total;
                    outer.submit(move |outer| {
                        let (count, halves) = heist::scope(|inner| {
                            let (a, b) = chunk.split_at(chunk.len() / 2);
                            let a = inner.submit(move |_| a.iter().sum::<u64>());
                            let b = inner.submit(move |_| b.iter().sum::<u64>());
                            let count = outer.submit(move |_| {
                                total.fetch_add(chunk.len(), Ordering::Relaxed);
                                chunk.len()
                            });
                            (count, a.join().unwrap() + b.join().unwrap())
                        });
                        (count.join().unwrap(), halves)
                    })
                })
                .collect();
            let sums = handles.into_iter().map(|handle| handle.join().unwrap());
            sums.collect::<Vec<_>>()
        });
        assert_eq!(sums, [(10, 45), (10, 145), (10, 245), (10, 345)]);
        assert_eq!(total.into_inner(), 40);
    });
}

#[test]
fn the_body_need_not_be_send() {
    everywhere(|pool| {
        let shared = Rc::new(Cell::new(1));
        let sum = pool.scope(|s| {
            let handle = s.submit(|_| 2);
            shared.set(shared.get() + handle.join().unwrap());
            Rc::clone(&shared)
        });
        assert_eq!(sum.get(), 3);
    });
}

#[test]
fn a_cancelled_token_around_the_scope_cancels_none_of_its_tasks() {
    on_pool(|pool| {
        for first in [false, true] {
            let token = CancelToken::new();
            let (own, cancels) = (pool.clone(), token.clone());
            let outer = pool.task().token(&token).submit(move || {
                let ran = AtomicUsize::new(0);
                own.scope(|s| {
                    if first {
                        cancels.cancel();
                    }
                    let handles: Vec<_> = (0..20)
                        .map(|n| {
                            let ran = &ran;
                            s.submit(move |s| {
                                s.spawn(|_| {
                                    ran.fetch_add(1, Ordering::Relaxed);
                                });
                                s.submit(move |_| n).join().unwrap()
                            })
                        })
                        .collect();
                    cancels.cancel();
                    let results = handles.into_iter().map(|handle| handle.join().unwrap());
                    assert!(results.eq(0..20));
                });
                ran.into_inner()
            });
            assert_eq!(outer.join().unwrap(), 20);
        }
    });
}

#[test]
fn a_shutdown_cancels_none_of_a_scopes_tasks() {
    watched(|| {
        for now in [false, true] {
            // The body counts as a guest while it waits for the shutdown.
            let pool = pool_with(|b| b.num_threads(threads().max(2)));
            let held = hold_all(&pool);
            let own = pool.clone();
            let data = [1, 2, 3];
            let results: Vec<usize> = pool.scope(|s| {
                let before: Vec<_> = (0..10).map(|n| s.submit(move |_| n)).collect();
                let other = thread::spawn(move || match now {
                    false => own.shutdown(),
                    true => drop(own.shutdown_now()),
                });
                spin_until(|| pool.try_submit(|| ()).is_err());
                let after: Vec<_> = (0..3).map(|n| s.submit(move |_| n + 10)).collect();
                let results = before.into_iter().chain(after);
                let results = results.map(|handle| handle.join().unwrap()).collect();
                held.open();
                other.join().unwrap();
                // The pool's threads have ended.
                let last = s.submit(|_| data.len());
                assert_eq!(last.join().unwrap(), 3, "now: {now}");
                results
            });
            assert!(results.into_iter().eq(0..13));
        }
    });
}

#[test]
fn a_full_queue_does_not_bind_a_scope() {
    watched(|| {
        let full = [
            heist::WhenFull::Block,
            heist::WhenFull::Reject,
            heist::WhenFull::CallerRuns,
        ];
        for when_full in full {
            let pool = pool_with(|b| b.queue_capacity(1).when_full(when_full));
            let held = hold_all(&pool);
            let sum: usize = pool.scope(|s| {
                let handles: Vec<_> = (0..50_usize).map(|n| s.submit(move |_| n)).collect();
                handles
                    .into_iter()
                    .map(|handle| handle.join().unwrap())
                    .sum()
            });
            assert_eq!(sum, 1225);
            drop(held);
        }
    });
}

#[test]
fn totals_are_exact_whatever_becomes_of_the_handles() {
    on_pool(|pool| {
        let (closures, results) = (Ledger::new(900), Ledger::new(900));
        let (mut ok, mut failed, mut cancelled) = (0, 0, 0);
        pool.scope(|s| {
            for ticket in closures.tickets() {
                let (n, results) = (ticket.index(), &results);
                let handle = s.submit(move |_| {
                    let _ticket = ticket;
                    if n % 10 == 3 {
                        std::panic::resume_unwind(Box::new("on purpose"));
                    }
                    results.ticket(n)
                });
                if n % 3 == 0 && handle.cancel() {
                    cancelled += 1;
                    continue;
                }
                if n % 10 == 3 {
                    failed += 1;
                } else {
                    ok += 1;
                }
                match n % 4 {
                    0 => drop(handle),
                    1 => assert_eq!(handle.join().is_ok(), n % 10 != 3),
                    2 => drop(handle.join_timeout(SOON)),
                    _ => assert!(handle.wait_timeout(LONG)),
                }
            }
        });
        let stats = pool.stats();
        assert_eq!(
            (stats.completed, stats.failed, stats.cancelled),
            (ok, failed, cancelled)
        );
        assert_eq!(stats.submitted, 900);
        closures.assert_settled();
        results.assert_settled();
        assert_eq!(closures.dropped(), 900);
        assert_eq!(pool.num_threads(), threads());
    });
}

#[test]
fn a_scoped_handle_is_a_future_and_calls_back() {
    use std::future::Future;
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};
    on_pool(|pool| {
        let (send, receive) = std::sync::mpsc::channel();
        let text = String::from("borrowed");
        pool.scope(|s| {
            let mut handle = s.submit(|_| text.len());
            assert_eq!(handle.name(), None);
            handle.on_finish(move |outcome| send.send(*outcome.as_ref().unwrap()).unwrap());
            assert!(handle.wait_timeout(std::time::Duration::from_secs(40)));
            let mut context = Context::from_waker(Waker::noop());
            let polled = Pin::new(&mut handle).poll(&mut context);
            assert!(matches!(polled, Poll::Ready(Ok(8))));
        });
        assert_eq!(receive.try_recv(), Ok(8));
    });
}
