//! `try_scope`: tasks that fail, and scopes that are cancelled.

use crate::support::{
    Gate, Held, Ledger, on_pool, on_pool_of, outcome, panic_of, spin_until, watched,
};
use heist::try_scope;
use std::sync::atomic::{AtomicUsize, Ordering};

#[test]
fn a_scope_whose_tasks_succeed_gives_the_bodys_value() {
    on_pool(|pool| {
        let mut parts = [0; 50];
        let value = pool.try_scope(|s| {
            for (n, part) in parts.iter_mut().enumerate() {
                s.spawn(move |_| {
                    *part = n;
                    Ok::<(), String>(())
                });
            }
            Ok("done")
        });
        assert_eq!(value, Ok("done"));
        assert_eq!(parts.iter().sum::<usize>(), 49 * 50 / 2);
    });
}

#[test]
fn the_first_error_cancels_the_scope_and_is_its_result() {
    on_pool_of(1, |pool| {
        let ran = AtomicUsize::new(0);
        let error = pool.run(|| {
            try_scope(|s| {
                // One worker begins the newest task first, which is the one that fails.
                for n in (0..100).rev() {
                    let ran = &ran;
                    s.spawn(move |_| {
                        ran.fetch_add(1, Ordering::Relaxed);
                        if n == 0 {
                            Err("the first")
                        } else {
                            Err("a later one")
                        }
                    });
                }
                Ok(())
            })
        });
        assert_eq!(error, Err("the first"));
        assert_eq!(ran.into_inner(), 1);
    });
}

#[test]
fn a_task_that_runs_sees_that_another_has_failed() {
    on_pool_of(2, |pool| {
        let error = pool.try_scope(|s| {
            s.spawn(|s| {
                spin_until(|| s.is_cancelled());
                Ok(())
            });
            s.spawn(|_| Err("no luck"));
            Ok(())
        });
        assert_eq!(error, Err("no luck"));
    });
}

#[test]
fn the_bodys_error_cancels_what_has_not_begun() {
    on_pool_of(1, |pool| {
        let ran = AtomicUsize::new(0);
        let error: Result<(), _> = pool.run(|| {
            try_scope(|s| {
                for _ in 0..10 {
                    s.spawn(|_| {
                        ran.fetch_add(1, Ordering::Relaxed);
                        Err("of a task")
                    });
                }
                Err("of the body")
            })
        });
        assert_eq!(error, Err("of the body"));
        assert_eq!(ran.into_inner(), 0);
    });
}

#[test]
fn a_cancelled_scope_drops_what_has_not_begun_and_gives_the_bodys_value() {
    on_pool_of(1, |pool| {
        let ledger = Ledger::new(20);
        let ran = AtomicUsize::new(0);
        let value = pool.run(|| {
            try_scope(|s| {
                for ticket in ledger.tickets() {
                    let ran = &ran;
                    s.spawn(move |_| {
                        drop(ticket);
                        ran.fetch_add(1, Ordering::Relaxed);
                        Ok::<(), String>(())
                    });
                }
                assert!(!s.is_cancelled());
                s.cancel();
                assert!(s.is_cancelled());
                Ok(7)
            })
        });
        assert_eq!((value, ran.into_inner()), (Ok(7), 0));
        assert_eq!(ledger.dropped(), 20);
        ledger.assert_settled();
    });
}

#[test]
fn a_panic_cancels_the_scope_and_comes_before_an_error() {
    on_pool_of(1, |pool| {
        let ran = AtomicUsize::new(0);
        let text = panic_of(|| {
            pool.run(|| {
                try_scope(|s| {
                    s.spawn(|_| {
                        ran.fetch_add(1, Ordering::Relaxed);
                        Err("an error")
                    });
                    s.spawn(|_| panic!("a panic"));
                    Ok(())
                })
            })
        });
        assert_eq!((text.as_str(), ran.into_inner()), ("a panic", 0));
        let ended = outcome(|| -> Result<(), String> { pool.try_scope(|_| panic!("in the body")) });
        assert!(ended.is_err());
    });
}

#[test]
fn tasks_spawn_further_ones_and_errors_may_borrow() {
    watched(|| {
        let names = [String::from("first"), String::from("second")];
        let error = try_scope(|s| {
            s.spawn(|s| {
                s.spawn(|_| Err(names[1].as_str()));
                Ok(())
            });
            Ok(())
        });
        assert_eq!(error, Err("second"));
    });
}

#[test]
fn values_and_errors_of_a_failed_scope_are_dropped_once() {
    on_pool(|pool| {
        let ledger = Ledger::new(41);
        let error = pool.try_scope(|s| {
            for index in 0..40 {
                let ledger = &ledger;
                s.spawn(move |_| Err(ledger.ticket(index)));
            }
            Ok(ledger.ticket(40))
        });
        assert!(error.is_err());
        drop(error);
        assert_eq!(ledger.dropped(), ledger.made());
        ledger.assert_settled();
    });
}

#[test]
fn a_scope_waits_for_tasks_that_run_though_it_has_failed() {
    on_pool_of(2, |pool| {
        let held = Held(Gate::default());
        let (gate, ended) = (held.0.clone(), AtomicUsize::new(0));
        let error: Result<(), _> = pool.try_scope(|s| {
            s.spawn(|_| {
                gate.pass();
                ended.fetch_add(1, Ordering::Relaxed);
                Ok(())
            });
            s.spawn(|_| {
                gate.open();
                Err("no luck")
            });
            Ok(())
        });
        // The first task ran to its end, or was dropped unrun.
        assert_eq!(error, Err("no luck"));
        assert!(ended.into_inner() <= 1);
    });
}
