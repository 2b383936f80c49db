//! Threads with small stacks take part in a pool. A wait runs no further task on top of a stack that has no room for it.
//!
//! The tests are isolated, since a stack overflow ends the process.

use crate::support::{Held, hold_all, isolated, pool_with, watched};
use heist::{ThreadPool, Waits};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};

/// The depth to which the tasks nest, far more than a small stack allows.
const DEPTH: usize = 300;

/// How many of the tasks each thread has run.
type Seen = Arc<Mutex<HashMap<ThreadId, usize>>>;

/// Each task submits the next one and joins its handle. If no other thread runs that task, the joiner runs it on top of its own stack.
fn nest(pool: &ThreadPool, depth: usize, seen: &Seen) -> usize {
    *seen
        .lock()
        .unwrap()
        .entry(thread::current().id())
        .or_default() += 1;
    if depth == 0 {
        return 0;
    }
    let (own, below) = (pool.clone(), Arc::clone(seen));
    let next = pool.submit(move || nest(&own, depth - 1, &below));
    next.join().unwrap() + 1
}

/// Runs `f` on a thread with a stack of this size.
fn on_a_stack_of<R: Send>(kilobytes: usize, f: impl FnOnce() -> R + Send) -> R {
    thread::scope(|scope| {
        thread::Builder::new()
            .stack_size(kilobytes << 10)
            .spawn_scoped(scope, f)
            .unwrap()
            .join()
            .unwrap()
    })
}

/// A guest nests while all workers are held. Returns how many of the tasks it ran itself.
fn guest_of(kilobytes: usize, waits: Waits) -> usize {
    let pool = pool_with(|builder| builder.waits(waits));
    let held: Held = hold_all(&pool);
    let seen = Seen::default();
    let own = on_a_stack_of(kilobytes, || {
        assert_eq!(pool.install(|| nest(&pool, DEPTH, &seen)), DEPTH);
        seen.lock().unwrap()[&thread::current().id()]
    });
    held.open();
    own
}

#[test]
fn a_guest_with_64_kib_nests_as_deep_as_fits() {
    isolated(
        "waits_small_stacks::a_guest_with_64_kib_nests_as_deep_as_fits",
        || {
            assert!(guest_of(64, Waits::Own) < DEPTH);
        },
    );
}

#[test]
fn a_guest_with_128_kib_nests_as_deep_as_fits() {
    isolated(
        "waits_small_stacks::a_guest_with_128_kib_nests_as_deep_as_fits",
        || {
            let own = guest_of(128, Waits::Own);
            assert!((1..DEPTH).contains(&own), "{own}");
        },
    );
}

#[test]
fn a_guest_with_128_kib_that_may_run_anything_nests_as_deep_as_fits() {
    isolated(
        "waits_small_stacks::a_guest_with_128_kib_that_may_run_anything_nests_as_deep_as_fits",
        || {
            guest_of(128, Waits::Any);
        },
    );
}

/// A worker on a caller-provided thread, whose stack size the pool was not told.
#[test]
fn a_callers_thread_with_128_kib_nests_as_deep_as_fits() {
    isolated(
        "waits_small_stacks::a_callers_thread_with_128_kib_nests_as_deep_as_fits",
        || {
            let mut threads = Vec::new();
            let pool = ThreadPool::builder().num_threads(1).build_on(|worker| {
                let thread = thread::Builder::new().stack_size(128 << 10);
                threads.push(thread.spawn(|| worker.run())?);
                Ok(())
            });
            let pool = pool.unwrap();
            let seen = Seen::default();
            let own = pool.clone();
            let deep = pool.submit(move || nest(&own, DEPTH, &seen));
            assert_eq!(deep.join().unwrap(), DEPTH);
            drop(pool);
            for thread in threads {
                thread.join().unwrap();
            }
        },
    );
}

/// A large stack is used fully, not only as far as a stack of unknown size would be.
#[test]
#[cfg(target_os = "linux")]
fn a_guest_with_16_mib_uses_them() {
    watched(|| {
        // A level takes some KiB in a build without optimisations, and less otherwise.
        assert!(guest_of(16 << 10, Waits::Own) > guest_of(128, Waits::Own));
    });
}
