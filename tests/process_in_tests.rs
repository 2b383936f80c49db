//! Pools of processes under the test harness, whose `main` does not call `heist::init`: a test that does so is what the workers run.
#![cfg(target_os = "linux")]

use heist::{Executor, ProcessPool};

#[heist::task]
fn square(n: u64) -> u64 {
    n * n
}

/// Nothing in the tests' own process. Each worker runs this test only, and serves the pool in it.
#[test]
fn heist_worker() {
    if std::env::var_os("HEIST_WORKER").is_some() {
        heist::init();
    }
}

#[test]
fn a_pool_needs_init_and_then_works() {
    let error = ProcessPool::new().unwrap_err();
    assert!(
        error.to_string().contains("put #[heist::main] on main"),
        "{error}"
    );
    heist::init();
    let pool = ProcessPool::builder()
        .num_workers(2)
        .worker_args(["heist_worker", "--exact", "--nocapture", "--quiet"])
        .build()
        .unwrap();
    let squares: Result<Vec<_>, _> = pool.imap(square::TASK, 0..100).collect();
    assert_eq!(squares.unwrap()[9], 81);

    // Workers that never come to `init` end, and are an error, not more pools.
    let error = ProcessPool::builder()
        .num_workers(2)
        .worker_args(["no_test_has_this_name"])
        .build()
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("exited with code 0 before it was ready"),
        "{error}"
    );
}
