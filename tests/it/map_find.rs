//! Maps that stop early, that keep a state, and that reduce in a fixed grouping.

use crate::support::{Ledger, on_pool, on_pool_of, panic_of, pool_with, threads, watched, work};
use heist::{IntoSource, ThreadPool};
use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

#[test]
fn find_map_any_gives_a_result_or_none() {
    on_pool(|pool| {
        let square = |n: u64| (n * n == 144).then_some(n + 100);
        assert_eq!(pool.find_map_any(0..100_000_u64, square), Some(112));
        assert_eq!(pool.find_map_any(20..100_000_u64, square), None);
        assert_eq!(pool.find_map_any(0..0_u64, square), None);
        let text = panic_of(|| pool.find_map_any(0..9, |n| -> Option<u8> { panic!("at {n}") }));
        assert!(text.starts_with("at "), "{text}");
    });
}

#[test]
fn find_map_any_skips_what_comes_after_a_hit() {
    on_pool_of(1, |pool| {
        let calls = AtomicUsize::new(0);
        let hit = pool.find_map_any((0..1_000_000).with_max_len(10), |n| {
            calls.fetch_add(1, Ordering::Relaxed);
            (n == 3).then_some(n)
        });
        assert_eq!(hit, Some(3));
        assert!(calls.into_inner() < 100);
    });
}

#[test]
fn find_first_gives_the_first_of_many_hits() {
    on_pool(|pool| {
        for first in [0, 1, 77, 4_999, 49_999] {
            let found = pool.find_first(0..50_000_u64, |&n| {
                work(n % 7);
                n >= first
            });
            assert_eq!(found, Some(first));
        }
        assert_eq!(pool.find_first(0..1000, |&n| n > 1000), None);
        assert_eq!(pool.find_first(Vec::<u8>::new(), |_| true), None);
        // A later hit may be found first.
        let pieces = (0..64_usize).with_max_len(1);
        let found = pool.find_first(pieces, |&n| {
            work((64 - n as u64) * 200);
            n % 2 == 1
        });
        assert_eq!(found, Some(1));
    });
}

#[test]
fn find_first_looks_at_all_items_before_the_hit_and_drops_each_once() {
    on_pool(|pool| {
        let ledger = Ledger::new(2_000);
        let looked = Mutex::new(HashSet::new());
        let found = pool.find_first(ledger.tickets(), |ticket| {
            looked.lock().unwrap().insert(ticket.index());
            ticket.index() == 500 || ticket.index() > 1_500
        });
        assert_eq!(found.unwrap().index(), 500);
        let looked = looked.into_inner().unwrap();
        assert!((0..=500).all(|index| looked.contains(&index)));
        assert_eq!(ledger.dropped(), 2_000);
        ledger.assert_settled();
    });
}

#[test]
fn try_for_each_gives_the_smallest_error_that_ran_and_skips_the_rest() {
    on_pool(|pool| {
        let seen = AtomicUsize::new(0);
        let done = pool.try_for_each(0..10_000, |_| {
            seen.fetch_add(1, Ordering::Relaxed);
            Ok::<(), String>(())
        });
        assert_eq!((done, seen.into_inner()), (Ok(()), 10_000));
        let ran = Mutex::new(Vec::new());
        let error = pool.try_for_each((0..100_000).with_max_len(10), |n| {
            if n % 1000 == 999 {
                ran.lock().unwrap().push(n);
                return Err(n);
            }
            Ok(())
        });
        assert_eq!(error.err(), ran.into_inner().unwrap().into_iter().min());
    });
    on_pool_of(1, |pool| {
        let calls = AtomicUsize::new(0);
        let error = pool.try_for_each((0..1_000_000).with_max_len(10), |n| {
            calls.fetch_add(1, Ordering::Relaxed);
            if n == 5 { Err("five") } else { Ok(()) }
        });
        assert_eq!(error, Err("five"));
        assert!(calls.into_inner() < 100);
    });
}

#[test]
fn for_each_init_makes_one_state_a_thread_and_call() {
    on_pool(|pool| {
        let (made, items) = (AtomicUsize::new(0), AtomicUsize::new(0));
        for call in 1..=3 {
            pool.for_each_init(
                0..1000,
                || {
                    made.fetch_add(1, Ordering::Relaxed);
                    0
                },
                |count, _| {
                    *count += 1;
                    items.fetch_add(1, Ordering::Relaxed);
                },
            );
            assert_eq!(items.load(Ordering::Relaxed), call * 1000);
            // There is one state for each worker, each spare and the caller, at most.
            assert!(made.load(Ordering::Relaxed) <= call * (2 * threads() + 1));
        }
        let text = panic_of(|| pool.for_each_init(0..5, || (), |(), n| panic!("at {n}")));
        assert!(text.starts_with("at "), "{text}");
    });
}

/// Numbers whose sum depends on the order in which they are added.
fn terms(count: usize) -> Vec<f64> {
    let mut x = 1_u64;
    (0..count)
        .map(|_| {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let exponent = (x >> 60) as i32;
            ((x >> 20) as f64).powi(1) * 10_f64.powi(exponent - 8)
        })
        .collect()
}

#[test]
fn a_deterministic_reduction_groups_alike_on_every_pool_and_run() {
    watched(|| {
        for count in [0, 1, 2, 3, 1023, 1024, 1025, 4_097, 100_000] {
            let terms = terms(count);
            let text = terms.iter().map(|term| term.to_bits()).collect::<Vec<_>>();
            let sum = |pool: &ThreadPool| {
                let map = |term: &f64| {
                    work(term.to_bits() % 5);
                    *term
                };
                pool.map_reduce_deterministic(&terms, map, || 0.0, |a, b| a + b)
            };
            let pools = [1, 2, 3, 8].map(|n| pool_with(|builder| builder.num_threads(n)));
            let expected = sum(&pools[0]).to_bits();
            for pool in &pools {
                for _ in 0..3 {
                    assert_eq!(sum(pool).to_bits(), expected, "{count} terms");
                }
                // Calls on a worker give the same sum.
                assert_eq!(pool.run(|| sum(pool)).to_bits(), expected);
            }
            assert_eq!(text.len(), count);
        }
    });
}

#[test]
fn a_deterministic_reduction_keeps_the_order_and_takes_each_item_once() {
    on_pool(|pool| {
        for count in [0, 1, 5, 1_000, 3_000] {
            let text = pool.map_reduce_deterministic(
                0..count,
                |n| format!("{n},"),
                || "none".to_owned(),
                |a, b| a + &b,
            );
            let serial: String = (0..count).map(|n| format!("{n},")).collect();
            let serial = if count == 0 {
                "none".to_owned()
            } else {
                serial
            };
            assert_eq!(text, serial);
        }
        let ledger = Ledger::new(2_500);
        let last = pool.map_reduce_deterministic(
            ledger.tickets(),
            Some,
            || None,
            |a, b| {
                if a.as_ref().map(|a| a.index()) < b.as_ref().map(|b| b.index()) {
                    b
                } else {
                    a
                }
            },
        );
        assert_eq!(last.unwrap().index(), 2_499);
        ledger.assert_settled();
        assert_eq!(ledger.dropped(), 2_500);
    });
}

#[test]
fn a_deterministic_reductions_blocks_keep_the_limits_of_the_input() {
    on_pool(|pool| {
        // Each block becomes its length; the test looks at the largest and the smallest one.
        let lengths = |input: heist::Limited<std::ops::Range<u32>>| {
            let marks = pool.map_reduce_deterministic(
                input,
                |n| vec![n],
                Vec::new,
                |mut a, b| {
                    a.extend(b);
                    a
                },
            );
            marks.len()
        };
        assert_eq!(lengths((0..5_000).with_min_len(5_000)), 5_000);
        assert_eq!(lengths((0..5_000).with_max_len(1)), 5_000);
        let text = panic_of(|| {
            pool.map_reduce_deterministic(0..9, |n| n, || 0, |_, _| panic!("in the reduction"))
        });
        assert_eq!(text, "in the reduction");
    });
}
