//! Recursion as deep as the stack allows.

use crate::support::{isolated, pool_with, watched};
use std::thread;

const MILLION: u64 = 1_000_000;

/// A stack that is large enough for a million levels of a build without optimisation.
const STACK: usize = 8 << 30;

/// A recursion in `a`: as many forks are pending as the recursion is deep.
fn left_deep(depth: u64) -> u64 {
    if depth == 0 {
        return 1;
    }
    let (a, b) = heist::join(|| left_deep(depth - 1), || 1);
    a + b
}

/// A recursion in `b`: one fork is pending at a time.
fn right_deep(depth: u64) -> u64 {
    if depth == 0 {
        return 1;
    }
    let (a, b) = heist::join(|| 1, || right_deep(depth - 1));
    a + b
}

#[test]
fn a_million_joins_nest_on_a_worker_with_a_large_stack() {
    isolated(
        "join_depth::a_million_joins_nest_on_a_worker_with_a_large_stack",
        || {
            let pool = pool_with(|builder| builder.stack_size(STACK));
            assert_eq!(pool.run(|| left_deep(MILLION)), MILLION + 1);
            assert_eq!(pool.run(|| right_deep(MILLION)), MILLION + 1);
        },
    );
}

#[test]
fn a_million_joins_nest_on_a_guest_with_a_large_stack() {
    isolated(
        "join_depth::a_million_joins_nest_on_a_guest_with_a_large_stack",
        || {
            let pool = pool_with(|builder| builder);
            let guest = thread::Builder::new()
                .stack_size(STACK)
                .spawn(move || pool.install(|| left_deep(MILLION)))
                .unwrap();
            assert_eq!(guest.join().unwrap(), MILLION + 1);
        },
    );
}

#[test]
fn a_panic_at_great_depth_reaches_the_caller() {
    fn deep(left: u64) -> u64 {
        assert!(left > 0, "at the bottom");
        let (a, b) = heist::join(|| deep(left - 1), || 1);
        a + b
    }
    watched(|| {
        let pool = pool_with(|builder| builder.stack_size(256 << 20));
        let text = pool.run(|| crate::support::panic_of(|| deep(5000)));
        assert_eq!(text, "at the bottom");
        assert_eq!(pool.run(|| left_deep(5000)), 5001);
    });
}

/// Each task runs the next one on top of itself, since it waits for the last.
#[test]
fn five_thousand_tasks_that_yield_overflow_no_stack() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    watched(|| {
        let pool = pool_with(|builder| builder.num_threads(1).spare_threads(0));
        let over = Arc::<AtomicBool>::default();
        let waiting: Vec<_> = (0..5_000)
            .map(|_| {
                let over = Arc::clone(&over);
                pool.submit(move || {
                    while !over.load(Ordering::Acquire) {
                        heist::yield_now();
                    }
                })
            })
            .collect();
        let last = pool.submit(move || over.store(true, Ordering::Release));
        assert!(last.join().is_ok());
        assert!(waiting.into_iter().all(|task| task.join().is_ok()));
    });
}
