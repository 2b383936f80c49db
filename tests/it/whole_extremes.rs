//! Every count, size and duration that a user can pass, at the ends of its range.

use crate::support::{Held, hold_all, on_pool, panic_of, pool_with, watched};
use heist::{JoinError, ThreadPool, WaitFor, WhenFull, as_completed, wait};
use std::time::{Duration, Instant};

const COUNTS: [usize; 8] = [0, 1, 2, 3, 1 << 20, 1 << 44, usize::MAX - 1, usize::MAX];

/// Durations from zero to more than a clock can hold.
const DURATIONS: [Duration; 6] = [
    Duration::ZERO,
    Duration::from_nanos(1),
    Duration::from_secs(40),
    Duration::from_secs(u64::MAX >> 2),
    Duration::from_secs(u64::MAX),
    Duration::MAX,
];

/// Whether a task of these tests ends long before this much time has passed.
fn is_long(duration: Duration) -> bool {
    duration >= Duration::from_secs(40)
}

fn values(results: impl Iterator<Item = Result<usize, JoinError>>) -> Vec<usize> {
    results.map(Result::unwrap).collect()
}

fn sorted(results: impl Iterator<Item = (usize, Result<usize, JoinError>)>) -> Vec<usize> {
    let mut results: Vec<_> = results.map(|(index, n)| (index, n.unwrap())).collect();
    results.sort_unstable();
    results.into_iter().map(|(_, n)| n).collect()
}

/// A source of ten numbers that claims to be very long.
fn liar() -> impl Iterator<Item = usize> {
    struct Liar(std::ops::Range<usize>);
    impl Iterator for Liar {
        type Item = usize;
        fn next(&mut self) -> Option<usize> {
            self.0.next()
        }
        fn size_hint(&self) -> (usize, Option<usize>) {
            (usize::MAX, None)
        }
    }
    Liar(0..10)
}

#[test]
fn a_stream_takes_every_window_and_chunk() {
    on_pool(|pool| {
        let expected: Vec<usize> = (0..10).collect();
        for window in COUNTS {
            for chunk in COUNTS {
                let results = pool.imap(liar(), |n| n).window(window).chunk(chunk);
                assert_eq!(values(results), expected, "{window} {chunk}");
                let results = pool.imap_unordered(liar(), |n| n);
                let results = results.window(window).chunk(chunk);
                assert_eq!(sorted(results), expected, "{window} {chunk}");
                pool.scope(|s| {
                    let results = s.imap(liar(), |n| n).window(window).chunk(chunk);
                    assert_eq!(values(results), expected, "{window} {chunk}");
                    let results = s.imap_unordered(liar(), |n| n);
                    let results = results.window(window).chunk(chunk);
                    assert_eq!(sorted(results), expected, "{window} {chunk}");
                });
            }
        }
    });
}

#[test]
fn a_stream_of_an_endless_input_takes_every_window() {
    on_pool(|pool| {
        for window in COUNTS {
            let results = pool.imap(0.., |n| n).window(window).take(10);
            assert_eq!(values(results), (0..10).collect::<Vec<_>>());
            let results = pool.imap_unordered(0.., |n: usize| n).window(window);
            assert_eq!(results.take(10).count(), 10);
        }
    });
}

#[test]
fn a_stream_takes_every_chunk_in_the_default_window() {
    on_pool(|pool| {
        for chunk in COUNTS {
            let results = pool.imap(0.., |n| n).chunk(chunk).take(100);
            assert_eq!(values(results), (0..100).collect::<Vec<_>>());
        }
    });
}

#[test]
fn a_stream_takes_every_timeout() {
    on_pool(|pool| {
        for timeout in DURATIONS {
            let ordered = pool.imap(0..10, |n| n).timeout(timeout);
            let ordered: Vec<_> = ordered.collect();
            let unordered = pool.imap_unordered(0..10, |n| n).timeout(timeout);
            let unordered: Vec<_> = unordered.map(|(_, result)| result).collect();
            for results in [ordered, unordered] {
                let late = results.iter().filter(|result| result.is_err()).count();
                assert!(late <= 1);
                if is_long(timeout) {
                    assert_eq!((late, results.len()), (0, 10), "{timeout:?}");
                }
            }
        }
    });
}

#[test]
fn every_wait_takes_every_timeout() {
    on_pool(|pool| {
        for timeout in DURATIONS {
            let handles = || [1, 2].map(|n| pool.submit(move || n));
            let [one, two] = handles();
            let (in_time, long) = (one.wait_timeout(timeout), is_long(timeout));
            assert!(in_time || !long, "{timeout:?}");
            match two.join_timeout(timeout) {
                Ok(outcome) => assert_eq!(outcome.unwrap(), 2),
                Err(handle) => {
                    assert!(!long, "{timeout:?}");
                    assert_eq!(handle.join().unwrap(), 2);
                }
            }
            for what in [WaitFor::First, WaitFor::FirstError, WaitFor::All] {
                let waited = wait(&handles(), what, Some(timeout));
                assert_eq!(waited.done.len() + waited.pending.len(), 2);
                assert!(!waited.done.is_empty() || !long, "{timeout:?}");
            }
            let all = as_completed(handles()).timeout(timeout);
            assert!(all.count() == 2 || !long, "{timeout:?}");
        }
    });
}

#[test]
fn a_task_takes_every_deadline() {
    on_pool(|pool| {
        for deadline in DURATIONS {
            let outcome = pool.task().deadline(deadline).submit(|| 1).join();
            match outcome {
                Ok(value) => assert_eq!(value, 1),
                Err(error) => {
                    assert!(error.is_timeout() && !is_long(deadline), "{deadline:?}");
                }
            }
        }
        // No task begins after its deadline.
        let late = pool.task().deadline(Duration::ZERO).submit(|| 1);
        assert!(late.join().unwrap_err().is_timeout());
    });
}

#[test]
fn a_shutdown_takes_every_timeout() {
    watched(|| {
        for timeout in DURATIONS {
            let pool = pool_with(|b| b);
            pool.submit(|| ()).join().unwrap();
            let ended = pool.shutdown_timeout(timeout);
            assert!(ended.is_ok() || !is_long(timeout), "{timeout:?}");
        }
    });
}

#[test]
fn a_queue_takes_every_capacity() {
    watched(|| {
        for capacity in COUNTS {
            for when_full in [WhenFull::Block, WhenFull::Reject, WhenFull::CallerRuns] {
                let pool = pool_with(|b| b.queue_capacity(capacity).when_full(when_full));
                for n in 0..20 {
                    match pool.submit(move || n).join() {
                        Ok(value) => assert_eq!(value, n),
                        Err(error) => {
                            assert!(error.is_cancelled() && when_full == WhenFull::Reject);
                        }
                    }
                }
                let expected: Vec<usize> = (0..50).collect();
                assert_eq!(values(pool.imap(0..50, |n| n)), expected);
                assert_eq!(sorted(pool.imap_unordered(0..50, |n| n)), expected);
            }
        }
    });
}

#[test]
fn a_pool_takes_every_size_or_says_why_not() {
    watched(|| {
        for count in COUNTS {
            for builder in [
                ThreadPool::builder().num_threads(count),
                ThreadPool::builder().num_threads(1).spare_threads(count),
                ThreadPool::builder()
                    .num_threads(count)
                    .spare_threads(count),
            ] {
                match builder.build() {
                    Ok(pool) => assert_eq!(pool.submit(|| 1).join().unwrap(), 1),
                    Err(error) => {
                        assert!(count > 4096);
                        assert!(error.to_string().contains("threads"), "{error}");
                    }
                }
            }
            let pool = pool_with(|b| b);
            pool.set_num_threads(count);
            assert!((1..=4096).contains(&pool.num_threads()));
            assert_eq!(pool.submit(|| 1).join().unwrap(), 1);
        }
    });
}

#[test]
fn a_pool_takes_every_stack_size() {
    fn down(pool: &ThreadPool, n: usize) -> usize {
        if n == 0 {
            return 0;
        }
        let own = pool.clone();
        pool.submit(move || down(&own, n - 1)).join().unwrap() + 1
    }
    watched(|| {
        for bytes in COUNTS {
            // The caller does the work if no thread can be started.
            let pool = pool_with(|b| b.num_threads(1).stack_size(bytes));
            assert_eq!(pool.submit(|| 1).join().unwrap(), 1);
            assert_eq!(values(pool.imap(0..10, |n| n)), (0..10).collect::<Vec<_>>());
            if bytes < 1 << 44 {
                let own = pool.clone();
                assert_eq!(pool.submit(move || down(&own, 100)).join().unwrap(), 100);
            }
            assert_eq!(pool.install(|| down(&pool, 100)), 100);
        }
    });
}

/// A task that runs in a destructor needs a new thread, which does not start.
#[test]
fn a_stack_that_no_machine_has_keeps_no_task_from_running_while_unwinding() {
    struct JoinsOnDrop<'a>(&'a ThreadPool, std::sync::mpsc::Sender<usize>);
    impl Drop for JoinsOnDrop<'_> {
        fn drop(&mut self) {
            let sum = self.0.imap(0..3, |n| n).map(Result::unwrap).sum();
            self.1.send(sum).unwrap();
        }
    }
    watched(|| {
        for bytes in [1 << 46, usize::MAX] {
            let pool = pool_with(|b| b.num_threads(1).stack_size(bytes));
            let (send, receive) = std::sync::mpsc::channel();
            let message = panic_of(|| {
                pool.install(|| {
                    let _joins = JoinsOnDrop(&pool, send);
                    std::panic::resume_unwind(Box::new("unwinds"));
                })
            });
            assert_eq!((message.as_str(), receive.recv()), ("unwinds", Ok(3)));
        }
    });
}

#[test]
fn a_short_timeout_is_kept_while_all_workers_are_busy() {
    on_pool(|pool| {
        let held: Held = hold_all(pool);
        for timeout in [
            Duration::ZERO,
            Duration::from_nanos(1),
            Duration::from_millis(1),
        ] {
            let start = Instant::now();
            let handle = pool.submit(|| 1);
            assert!(!handle.wait_timeout(timeout));
            assert!(start.elapsed() >= timeout);
            assert!(
                wait(&[handle], WaitFor::First, Some(timeout))
                    .done
                    .is_empty()
            );
            let mut results = pool.imap(0..3, |n| n).timeout(timeout);
            assert!(results.next().unwrap().unwrap_err().is_timeout());
            assert!(results.next().is_none());
        }
        drop(held);
    });
}
