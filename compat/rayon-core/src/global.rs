//! The global pool, which the free functions use outside of any other pool.

use crate::error::ThreadPoolBuildError;
use crate::settings::Settings;
use crate::threads::DefaultSpawn;
use std::sync::OnceLock;

/// `None` after an attempt that failed. There is no second attempt.
static GLOBAL: OnceLock<Option<heist::ThreadPool>> = OnceLock::new();

/// Builds the global pool, unless there was an earlier attempt.
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

/// Returns the global pool, which the first call builds.
pub(crate) fn global() -> &'static heist::ThreadPool {
    if let Some(Some(pool)) = GLOBAL.get() {
        return pool;
    }
    let result = init(make);
    match (GLOBAL.get(), result) {
        (Some(Some(pool)), _) => pool,
        // The text is that of rayon-core's `Result::expect`.
        (_, Err(error)) => panic!("The global thread pool has not been initialized.: {error:?}"),
        (_, Ok(())) => unreachable!("the global pool was built but not stored"),
    }
}

/// Builds a pool with the default settings or, on a system without threads, one that consists of the current thread.
fn make() -> Result<heist::ThreadPool, ThreadPoolBuildError> {
    Settings::default().make(DefaultSpawn).or_else(|error| {
        if error.is_unsupported() && !heist::in_pool() {
            let alone = Settings {
                num_threads: 1,
                use_current_thread: true,
                ..Settings::default()
            };
            return alone.make(DefaultSpawn).map_err(|_| error);
        }
        Err(error)
    })
}

/// Calls `f` with the pool of the current thread, or else with the global pool.
pub(crate) fn with_current<R>(f: impl FnOnce(&heist::ThreadPool) -> R) -> R {
    match heist::ThreadPool::current() {
        Some(pool) => f(&pool),
        None => f(global()),
    }
}

/// Runs `f` on the current thread if that is in a pool, or else on the global pool.
#[inline]
pub(crate) fn in_pool<R: Send>(f: impl FnOnce() -> R + Send) -> R {
    if heist::in_pool() {
        f()
    } else {
        global().run(f)
    }
}

/// Returns the number of threads of the current thread's pool, or else of the global pool.
pub fn current_num_threads() -> usize {
    heist::current_num_threads().unwrap_or_else(|| global().num_threads())
}

/// Returns the largest number of threads that a pool can have. A builder that is asked for more builds a pool of this size.
pub fn max_num_threads() -> usize {
    heist::ThreadPool::MAX_THREADS
}
