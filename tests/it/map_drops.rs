//! `map` and related methods drop every input, state and result exactly once, also when a closure panics.

use crate::support::{Ledger, Ticket, on_pool, outcome, panic_of, work};
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

const LEN: usize = 5000;

#[test]
fn inputs_move_to_results() {
    on_pool(|pool| {
        let ledger = Ledger::new(LEN);
        let results = pool.map(ledger.tickets(), |ticket| ticket);
        assert_eq!(ledger.dropped(), 0);
        assert!(results.iter().enumerate().all(|(i, t)| t.index() == i));
        drop(results);
        ledger.assert_settled();
    });
}

#[test]
fn inputs_and_results_are_dropped_once() {
    on_pool(|pool| {
        for len in [0, 1, 2, LEN] {
            let (inputs, results) = (Ledger::new(len), Ledger::new(len));
            let values = pool.map(inputs.tickets(), |ticket| results.ticket(ticket.index()));
            inputs.assert_settled();
            assert_eq!((results.made(), results.dropped()), (len, 0));
            drop(values);
            results.assert_settled();
        }
    });
}

#[test]
fn an_array_of_owned_items_is_dropped_once() {
    on_pool(|pool| {
        let ledger = Ledger::new(8);
        let array: [_; 8] = std::array::from_fn(|i| ledger.ticket(i));
        let indices = pool.map(array, |ticket| ticket.index());
        assert_eq!(indices, [0, 1, 2, 3, 4, 5, 6, 7]);
        ledger.assert_settled();
    });
}

#[test]
fn for_each_drops_what_it_was_given() {
    on_pool(|pool| {
        let ledger = Ledger::new(LEN);
        pool.for_each(ledger.tickets(), drop);
        assert_eq!(ledger.dropped(), LEN);
        ledger.assert_settled();
    });
}

static LIVE: AtomicUsize = AtomicUsize::new(0);

/// A value without size whose drop counts.
struct NoSize;

impl NoSize {
    fn new() -> NoSize {
        LIVE.fetch_add(1, Ordering::Relaxed);
        NoSize
    }
}

impl Drop for NoSize {
    fn drop(&mut self) {
        LIVE.fetch_sub(1, Ordering::Relaxed);
    }
}

#[test]
fn values_without_size_are_dropped_once() {
    on_pool(|pool| {
        let results = pool.map(0..LEN, |_| NoSize::new());
        assert_eq!(LIVE.load(Ordering::Relaxed), LEN);
        let results = pool.map(results, |value| value);
        assert_eq!((results.len(), LIVE.load(Ordering::Relaxed)), (LEN, LEN));
        let message = panic_of(|| {
            pool.map((0..LEN).zip_with(results), |(i, value)| {
                assert!(i != LEN / 2, "half way");
                value
            })
        });
        assert!(message.contains("half way"));
        assert_eq!(LIVE.load(Ordering::Relaxed), 0);
    });
}

/// Pairs of a number and an owned value. A vector of tuples is an input like any other.
trait ZipWith {
    fn zip_with<T>(self, values: Vec<T>) -> Vec<(usize, T)>;
}

impl ZipWith for std::ops::Range<usize> {
    fn zip_with<T>(self, values: Vec<T>) -> Vec<(usize, T)> {
        self.zip(values).collect()
    }
}

#[test]
fn a_panic_half_way_drops_inputs_and_results_once() {
    on_pool(|pool| {
        for at in [0, 1, LEN / 2, LEN - 1] {
            let (inputs, results) = (Ledger::new(LEN), Ledger::new(LEN));
            let message = panic_of(|| {
                pool.map(inputs.tickets(), |ticket| {
                    assert!(ticket.index() != at, "at {at}");
                    work(20);
                    results.ticket(ticket.index())
                })
            });
            assert_eq!(message, format!("at {at}"));
            assert_eq!(inputs.dropped(), LEN);
            inputs.assert_settled();
            results.assert_settled();
        }
    });
}

#[test]
fn many_panics_at_once_drop_inputs_and_results_once() {
    on_pool(|pool| {
        for every in [1, 3, 100] {
            let (inputs, results) = (Ledger::new(LEN), Ledger::new(LEN));
            let message = panic_of(|| {
                pool.map(inputs.tickets(), |ticket| {
                    assert!(ticket.index() % every != every - 1, "one of many");
                    results.ticket(ticket.index())
                })
            });
            assert_eq!(message, "one of many");
            assert_eq!(inputs.dropped(), LEN);
            inputs.assert_settled();
            results.assert_settled();
        }
    });
}

#[test]
fn a_failure_drops_inputs_results_and_other_failures_once() {
    on_pool(|pool| {
        for every in [1, 7, LEN] {
            let (inputs, results, errors) = (Ledger::new(LEN), Ledger::new(LEN), Ledger::new(LEN));
            let result = pool.try_map(inputs.tickets(), |ticket| {
                if ticket.index() % every == every - 1 {
                    Err(errors.ticket(ticket.index()))
                } else {
                    Ok(results.ticket(ticket.index()))
                }
            });
            let error = result.err().expect("one failed");
            assert_eq!(inputs.dropped(), LEN);
            inputs.assert_settled();
            results.assert_settled();
            assert_eq!(errors.made() - errors.dropped(), 1);
            drop(error);
            errors.assert_settled();
        }
    });
}

#[test]
fn find_any_drops_all_but_the_item_it_gives() {
    on_pool(|pool| {
        let ledger = Ledger::new(LEN);
        let found = pool.find_any(ledger.tickets(), |ticket| ticket.index() % 100 == 99);
        let found = found.expect("there are fifty");
        assert_eq!(found.index() % 100, 99);
        assert_eq!(ledger.dropped(), LEN - 1);
        drop(found);
        ledger.assert_settled();
    });
}

#[test]
fn map_init_drops_every_state() {
    on_pool(|pool| {
        let ledger = Ledger::new(LEN);
        let next = AtomicUsize::new(0);
        let init = || ledger.ticket(next.fetch_add(1, Ordering::Relaxed));
        let results = pool.map_init(0..LEN, init, |state, i| {
            assert!(state.index() < LEN);
            i
        });
        assert_eq!(results.len(), LEN);
        assert!(ledger.made() > 0);
        ledger.assert_settled();
        let message = panic_of(|| {
            pool.map_init(0..LEN, init, |_, i| assert!(i != 99, "in f"));
        });
        assert_eq!(message, "in f");
        ledger.assert_settled();
    });
}

/// A value that panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("dropped");
    }
}

/// A closure of a map that panics when the map drops it.
fn armed<T, R>(f: impl Fn(T) -> R + Sync) -> impl Fn(T) -> R + Sync {
    let bomb = Bomb;
    move |item| {
        let _kept = &bomb;
        f(item)
    }
}

#[test]
fn a_closure_or_state_that_panics_on_drop_loses_no_result() {
    on_pool(|pool| {
        let check = |name: &str, call: &dyn Fn(Vec<Ticket>)| {
            let ledger = Ledger::new(LEN);
            assert_eq!(panic_of(|| call(ledger.tickets())), "dropped", "{name}");
            ledger.assert_settled();
        };
        check("map", &|all| drop(pool.map(all, armed(|t| t))));
        check("map_init", &|all| {
            let f = armed(|t| t);
            drop(pool.map_init(all, || (), move |(), t| f(t)));
        });
        check("a state", &|all| {
            // A second state that panics would abort the process.
            let armed = AtomicBool::new(true);
            let init = || armed.swap(false, Ordering::Relaxed).then(|| Bomb);
            drop(pool.map_init(all, init, |_, t| t));
        });
        check("map_reduce", &|all| {
            let list = armed(|t| vec![t]);
            let both = |mut left: Vec<_>, right| {
                left.extend::<Vec<_>>(right);
                left
            };
            drop(pool.map_reduce(all, list, Vec::new, both));
        });
        check("try_map", &|all| {
            drop(pool.try_map(all, armed(Ok::<_, ()>)));
        });
        check("try_map that fails", &|all| {
            drop(pool.try_map(all, armed(Err::<(), _>)));
        });
        check("find_any", &|all| {
            let is_it = armed(|index| index == 7);
            drop(pool.find_any(all, move |t| is_it(t.index())));
        });
    });
}

#[test]
fn a_panic_in_init_reaches_the_caller() {
    on_pool(|pool| {
        let inputs = Ledger::new(LEN);
        let message =
            panic_of(|| pool.map_init(inputs.tickets(), || panic!("in init"), |(), ticket| ticket));
        assert_eq!(message, "in init");
        inputs.assert_settled();
    });
}

#[test]
fn map_reduce_uses_every_value_once() {
    on_pool(|pool| {
        let ledger = Ledger::new(LEN);
        let all = pool.map_reduce(
            ledger.tickets(),
            |ticket| vec![ticket],
            Vec::new,
            |mut left, right| {
                left.extend(right);
                left
            },
        );
        assert!(all.iter().enumerate().all(|(i, t)| t.index() == i));
        assert_eq!((all.len(), ledger.dropped()), (LEN, 0));
        drop(all);
        ledger.assert_settled();
    });
}

#[test]
fn a_panic_in_map_identity_or_reduce_drops_every_value_once() {
    on_pool(|pool| {
        for place in ["map", "identity", "reduce"] {
            let ledger = Ledger::new(LEN);
            let result = outcome(|| {
                pool.map_reduce(
                    ledger.tickets(),
                    |ticket| {
                        assert!(place != "map" || ticket.index() != 4000, "in map");
                        vec![ticket]
                    },
                    || {
                        assert!(place != "identity", "in identity");
                        Vec::new()
                    },
                    |mut left, right| {
                        let last = right.last().map_or(0, |ticket| ticket.index());
                        assert!(place != "reduce" || last < 3000, "in reduce");
                        left.extend(right);
                        left
                    },
                )
            });
            // The map may not need an identity.
            assert!(place == "identity" || result.is_err());
            drop(result);
            assert_eq!(ledger.dropped(), LEN);
            ledger.assert_settled();
        }
    });
}

#[test]
fn the_closure_runs_at_most_once_an_item_when_one_panics() {
    on_pool(|pool| {
        let calls = Mutex::new(HashMap::new());
        panic_of(|| {
            pool.for_each(0..LEN, |i| {
                *calls.lock().unwrap().entry(i).or_insert(0) += 1;
                assert!(i != LEN / 3, "once");
            });
        });
        assert!(calls.into_inner().unwrap().values().all(|&n| n == 1));
    });
}

#[test]
fn captures_of_the_closure_are_dropped_by_the_caller() {
    on_pool(|pool| {
        let ledger = Ledger::new(1);
        let ticket = ledger.ticket(0);
        let lens = pool.map(0..100, move |_| ticket.index());
        assert_eq!(lens, [0; 100]);
        ledger.assert_settled();
    });
}
