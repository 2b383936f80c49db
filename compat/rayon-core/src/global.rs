//! The pool of the free functions.

use crate::builder::ThreadPoolBuilder;
use crate::error::ThreadPoolBuildError;
use std::sync::OnceLock;

/// None: it could not be made, and will not be.
static GLOBAL: OnceLock<Option<heist::ThreadPool>> = OnceLock::new();

/// Makes the global pool, if there was no attempt yet.
pub(crate) fn init(
    build: impl FnOnce() -> Result<heist::ThreadPool, ThreadPoolBuildError>,
) -> Result<(), ThreadPoolBuildError> {
    let mut result = Err(ThreadPoolBuildError::global_exists());
    GLOBAL.get_or_init(|| match build() {
        Ok(pool) => {
            result = Ok(());
            Some(pool)
        }
        Err(error) => {
            result = Err(error);
            None
        }
    });
    result
}

/// The global pool, made now if it was not.
pub(crate) fn global() -> &'static heist::ThreadPool {
    if let Some(Some(pool)) = GLOBAL.get() {
        return pool;
    }
    let result = init(make);
    match (GLOBAL.get(), result) {
        (Some(Some(pool)), _) => pool,
        // As `Result::expect` would say it.
        (_, Err(error)) => panic!("The global thread pool has not been initialized.: {error:?}"),
        (_, Ok(())) => unreachable!("made, and not there"),
    }
}

/// Where there are no threads at all, one that has the current thread only.
fn make() -> Result<heist::ThreadPool, ThreadPoolBuildError> {
    ThreadPoolBuilder::new().make().or_else(|error| {
        if error.is_unsupported() && !heist::takes_part() {
            let alone = ThreadPoolBuilder::new().num_threads(1).use_current_thread();
            return alone.make().map_err(|_| error);
        }
        Err(error)
    })
}

/// Calls `f` with the pool of the current thread, else with the global one.
pub(crate) fn with_current<R>(f: impl FnOnce(&heist::ThreadPool) -> R) -> R {
    match heist::ThreadPool::current() {
        Some(pool) => f(&pool),
        None => f(global()),
    }
}

/// Runs `f` here if the current thread is in a pool, else on the global one.
#[inline]
pub(crate) fn in_pool<R: Send>(f: impl FnOnce() -> R + Send) -> R {
    if heist::takes_part() {
        f()
    } else {
        global().run(f)
    }
}

/// How many threads the current pool has: that of the current thread, else the global one.
pub fn current_num_threads() -> usize {
    heist::current_num_threads().unwrap_or_else(|| global().num_threads())
}

/// The most threads that a pool can have. More that are asked for are cut down to it.
pub fn max_num_threads() -> usize {
    heist::ThreadPool::MAX_THREADS
}
