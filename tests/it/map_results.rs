//! `map` and related methods: every kind and length of input gives what the serial loop gives.

use crate::support::{on_pool, pool_with_thieves, spin_until, watched, work};
use heist::{IntoSource, ThreadPool};
use std::collections::HashSet;
use std::fmt::Debug;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

/// `map` over `input` gives `expected`, in order.
#[track_caller]
fn maps_to<I: IntoSource>(pool: &ThreadPool, input: I, expected: impl IntoIterator<Item = I::Item>)
where
    I::Item: Send + PartialEq + Debug,
{
    let expected: Vec<I::Item> = expected.into_iter().collect();
    assert_eq!(pool.map(input, |item| item), expected);
}

#[test]
fn integer_ranges_of_every_type_are_inputs() {
    on_pool(|pool| {
        maps_to(pool, 0..200_u8, 0..200);
        maps_to(pool, 5..1000_u16, 5..1000);
        maps_to(pool, 5..1000_u32, 5..1000);
        maps_to(pool, 5..1000_u64, 5..1000);
        maps_to(pool, 5..1000_usize, 5..1000);
        maps_to(pool, -100..100_i8, -100..100);
        maps_to(pool, -500..500_i16, -500..500);
        maps_to(pool, -500..500_i32, -500..500);
        maps_to(pool, -500..500_i64, -500..500);
        maps_to(pool, -500..500_isize, -500..500);
    });
}

#[test]
fn ranges_at_the_ends_of_their_type_are_inputs() {
    on_pool(|pool| {
        maps_to(pool, i8::MIN..i8::MAX, i8::MIN..i8::MAX);
        maps_to(pool, u8::MIN..u8::MAX, u8::MIN..u8::MAX);
        maps_to(pool, i16::MIN..i16::MAX, i16::MIN..i16::MAX);
        maps_to(pool, i32::MAX - 3..i32::MAX, i32::MAX - 3..i32::MAX);
        maps_to(pool, i64::MIN..i64::MIN + 4, i64::MIN..i64::MIN + 4);
        maps_to(pool, u64::MAX - 9..u64::MAX, u64::MAX - 9..u64::MAX);
        maps_to(pool, isize::MIN..isize::MIN, []);
    });
}

#[test]
fn a_range_that_ends_before_it_begins_is_empty() {
    on_pool(|pool| {
        let (high, low) = (5_u8, 3);
        maps_to(pool, high..low, []);
        maps_to(pool, i32::from(high)..i32::from(low), []);
        let (high, low) = (i64::MAX, i64::MIN);
        maps_to(pool, high..low, []);
        let (high, low) = (usize::MAX, 0);
        assert_eq!(pool.find_any(high..low, |_| true), None);
    });
}

#[test]
fn slices_vectors_and_arrays_are_inputs_by_value_and_by_reference() {
    on_pool(|pool| {
        let mut values: Vec<u32> = (0..3000).collect();
        let copy = values.clone();
        maps_to(pool, &values[..], &copy);
        maps_to(pool, &values[100..150], &copy[100..150]);
        maps_to(pool, &values, &copy);
        assert_eq!(
            pool.map(&mut values, |x| {
                *x += 1;
                *x
            }),
            (1..3001).collect::<Vec<_>>()
        );
        pool.for_each(&mut values[..], |x| *x -= 1);
        assert_eq!(values, copy);
        maps_to(pool, values, copy);

        let array = [3_u8, 1, 4, 1, 5];
        maps_to(pool, &array, &array);
        maps_to(pool, array, array);
        maps_to(pool, [String::from("a")], [String::from("a")]);
        maps_to(pool, [0_u8; 0], []);
    });
}

#[test]
fn short_inputs_give_short_results() {
    on_pool(|pool| {
        for len in 0..70_usize {
            let expected: Vec<String> = (0..len).map(|x| x.to_string()).collect();
            assert_eq!(pool.map(0..len, |x| x.to_string()), expected);
            assert_eq!(pool.map(expected.clone(), |x| x), expected);
            let sum = pool.map_reduce(0..len, |x| x, || 0, |a, b| a + b);
            assert_eq!(sum, (0..len).sum::<usize>());
            let found = pool.find_any(0..len, |&x| x + 1 == len);
            assert_eq!(found, len.checked_sub(1));
        }
    });
}

#[test]
fn ten_million_bytes_are_mapped() {
    on_pool(|pool| {
        let bytes: Vec<u8> = (0..10_000_000_u32).map(|x| x as u8).collect();
        let next = pool.map(&bytes, |x| x.wrapping_add(1));
        assert_eq!(next.len(), bytes.len());
        assert!(
            next.iter()
                .zip(&bytes)
                .all(|(n, b)| *n == b.wrapping_add(1))
        );
    });
}

#[test]
fn a_vector_grown_beyond_its_length_is_an_input() {
    on_pool(|pool| {
        let mut values = Vec::with_capacity(10_000);
        values.extend((0..100).map(|x| x.to_string()));
        let expected = values.clone();
        maps_to(pool, values, expected);
        maps_to(pool, Vec::<String>::with_capacity(100), []);
    });
}

#[test]
fn inputs_and_results_without_size_are_counted() {
    on_pool(|pool| {
        assert_eq!(pool.map(vec![(); 100_000], |()| ()).len(), 100_000);
        assert_eq!(pool.map(0..100_000, |_| ()).len(), 100_000);
        assert_eq!(pool.map(vec![(); 1000], |()| 7), vec![7; 1000]);
        let seen = AtomicUsize::new(0);
        pool.for_each(&[(); 1000], |()| {
            seen.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(seen.into_inner(), 1000);
    });
}

#[test]
fn every_item_is_seen_exactly_once() {
    on_pool(|pool| {
        let seen: Vec<AtomicUsize> = (0..50_000).map(|_| AtomicUsize::new(0)).collect();
        pool.for_each(0..seen.len(), |i| {
            seen[i].fetch_add(1, Ordering::Relaxed);
        });
        assert!(seen.iter().all(|count| count.load(Ordering::Relaxed) == 1));
    });
}

#[test]
fn costly_and_heavy_tailed_items_stay_in_order() {
    on_pool(|pool| {
        let cost = |i: u64| {
            if i.is_multiple_of(97) || i > 950 {
                5_000
            } else {
                1
            }
        };
        let results = pool.map(0..1000_u64, |i| {
            work(cost(i));
            i
        });
        assert_eq!(results, (0..1000).collect::<Vec<_>>());
    });
}

#[test]
fn one_costly_item_does_not_keep_its_neighbours_waiting() {
    watched(|| {
        let pool = pool_with_thieves();
        let others = AtomicUsize::new(0);
        pool.for_each(0..4000, |i| {
            if i == 0 {
                // Some of the other items run. Those right behind it may belong to its own chunk.
                spin_until(|| others.load(Ordering::Acquire) > 0);
            }
            others.fetch_add(1, Ordering::AcqRel);
        });
        assert_eq!(others.into_inner(), 4000);
    });
}

#[test]
fn two_costly_items_run_at_the_same_time() {
    watched(|| {
        let pool = pool_with_thieves();
        for _ in 0..20 {
            let running = AtomicUsize::new(0);
            pool.for_each(0..2, |_| {
                running.fetch_add(1, Ordering::AcqRel);
                spin_until(|| running.load(Ordering::Acquire) == 2);
            });
        }
    });
}

#[test]
fn maps_nest() {
    on_pool(|pool| {
        let table = pool.map(0..40_u32, |row| pool.map(0..row, |column| row * column));
        for (row, columns) in (0..).zip(&table) {
            assert_eq!(*columns, (0..row).map(|c| row * c).collect::<Vec<_>>());
        }
        let inside = pool.run(|| pool.map(0..100, |x| pool.map(0..x, |y| y).len()));
        assert_eq!(inside, (0..100).map(|x| x as usize).collect::<Vec<_>>());
    });
}

#[test]
fn map_init_makes_one_state_a_thread_and_call() {
    on_pool(|pool| {
        for len in [0, 1, 2, 1000] {
            let makers = Mutex::new(Vec::new());
            let results = pool.map_init(
                0..len,
                || {
                    makers.lock().unwrap().push(thread::current().id());
                    (thread::current().id(), 0)
                },
                |(owner, count), i| {
                    assert_eq!(*owner, thread::current().id());
                    *count += 1;
                    work(500);
                    i
                },
            );
            assert_eq!(results, (0..len).collect::<Vec<_>>());
            let makers = makers.into_inner().unwrap();
            let distinct: HashSet<_> = makers.iter().collect();
            assert_eq!(distinct.len(), makers.len(), "a thread made two states");
            assert!(makers.len() <= len.max(1));
        }
    });
}

#[test]
fn map_init_gives_each_item_a_state_that_nobody_else_uses() {
    on_pool(|pool| {
        let seen = AtomicUsize::new(0);
        pool.map_init(
            0..300,
            || AtomicBool::new(false),
            |busy, _| {
                assert!(!busy.swap(true, Ordering::AcqRel));
                // A wait in here must not start another item of this map on this thread.
                pool.join(|| work(200), || work(300));
                pool.for_each(0..8, |_| {
                    work(50);
                });
                seen.fetch_add(1, Ordering::Relaxed);
                busy.store(false, Ordering::Release);
            },
        );
        assert_eq!(seen.into_inner(), 300);
    });
}

#[test]
fn map_reduce_keeps_the_order_of_its_operands() {
    on_pool(|pool| {
        for len in [0_u32, 1, 2, 3, 100, 5000] {
            let text = pool.map_reduce(
                0..len,
                |i| i.to_string(),
                String::new,
                |mut left, right| {
                    left.push_str(&right);
                    left
                },
            );
            let expected: String = (0..len).map(|i| i.to_string()).collect();
            assert_eq!(text, expected);
        }
    });
}

#[test]
fn map_reduce_of_nothing_is_the_identity() {
    on_pool(|pool| {
        let value = pool.map_reduce(Vec::<u8>::new(), |_| 1, || 17, |a, b| a + b);
        assert_eq!(value, 17);
    });
}

#[test]
fn try_map_gives_all_values_when_nothing_fails() {
    on_pool(|pool| {
        for len in [0, 1, 2, 10_000] {
            let result: Result<Vec<u32>, String> = pool.try_map(0..len, |i| Ok(i + 1));
            assert_eq!(result.unwrap(), (1..=len).collect::<Vec<_>>());
        }
    });
}

#[test]
fn try_map_gives_the_failure_of_the_smallest_index_that_ran() {
    on_pool(|pool| {
        for every in [1, 2, 7, 1000, 9999] {
            let failed = Mutex::new(Vec::new());
            let result: Result<Vec<u32>, u32> = pool.try_map(0..10_000_u32, |i| {
                if i % every == every - 1 {
                    failed.lock().unwrap().push(i);
                    Err(i)
                } else {
                    Ok(i)
                }
            });
            let smallest = failed.into_inner().unwrap().into_iter().min();
            assert_eq!(Some(result.unwrap_err()), smallest);
        }
    });
}

#[test]
fn try_map_skips_the_rest_after_a_failure() {
    on_pool(|pool| {
        let bytes = vec![0_u8; 1_000_000];
        let ran = AtomicUsize::new(0);
        let result: Result<Vec<u8>, ()> = pool.try_map(&bytes, |_| {
            ran.fetch_add(1, Ordering::Relaxed);
            Err(())
        });
        assert_eq!(result, Err(()));
        assert!(ran.into_inner() < bytes.len());
    });
}

#[test]
fn find_any_finds_one_of_several_or_nothing() {
    on_pool(|pool| {
        let values: Vec<u32> = (0..20_000).collect();
        let found = pool.find_any(&values, |x| **x % 1000 == 999);
        assert_eq!(found.unwrap() % 1000, 999);
        assert_eq!(pool.find_any(&values, |x| **x == 12_345), Some(&12_345));
        assert_eq!(pool.find_any(&values, |_| false), None);
        let owned: Vec<String> = values.iter().map(u32::to_string).collect();
        let found = pool.find_any(owned, |x| x.ends_with("77"));
        assert!(found.unwrap().ends_with("77"));
    });
}

#[test]
fn find_any_stops_early() {
    on_pool(|pool| {
        // It would take years to visit all of these items.
        let found = pool.find_any(0..u64::MAX, |x| x % 5000 == 77);
        assert_eq!(found.unwrap() % 5000, 77);
        let found = pool.find_any(i64::MIN..i64::MAX, |x| x.rem_euclid(5000) == 77);
        assert_eq!(found.unwrap().rem_euclid(5000), 77);
    });
}

#[test]
fn methods_on_sources_give_the_same_results() {
    on_pool(|pool| {
        let expected: Vec<u32> = (0..1000).map(|x| x * 3).collect();
        for limit in [1, 2, 10, 999, 1000, 1001, usize::MAX] {
            let triple = |x| x * 3;
            assert_eq!(
                pool.map((0..1000_u32).with_min_len(limit), triple),
                expected
            );
            assert_eq!(
                pool.map((0..1000_u32).with_max_len(limit), triple),
                expected
            );
            let values: Vec<u32> = (0..1000).collect();
            let both = (&values).with_min_len(3).with_max_len(limit);
            assert_eq!(pool.map(both, |x| x * 3), expected);
            assert_eq!(pool.map(values.with_max_len(limit), triple), expected);
        }
        assert!(pool.map((0..0_u8).with_min_len(10), |x| x).is_empty());
    });
}
