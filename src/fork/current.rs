//! Two questions about the current thread.

use crate::pool::worker;

/// Runs one pending task, any, of the pool that the current thread takes part in. False: there was none, or the
/// thread takes part in no pool.
///
/// For loops that wait for something that only other tasks can bring about. Unlike the waits of `join`, `scope`
/// and `map` it may run an unrelated task: hold no lock that one could need.
///
/// ```
/// assert!(!heist::yield_now());
/// ```
pub fn yield_now() -> bool {
    worker::yield_now()
}

/// Which worker the current thread is, below its pool's `num_threads`; `None` on other threads, among them guests and
/// spares.
///
/// ```
/// assert_eq!(heist::current_thread_index(), None);
/// let pool = heist::ThreadPool::builder().num_threads(1).build()?;
/// assert_eq!(pool.run(heist::current_thread_index), Some(0));
/// # Ok::<(), heist::BuildError>(())
/// ```
pub fn current_thread_index() -> Option<usize> {
    worker::current_index()
}
