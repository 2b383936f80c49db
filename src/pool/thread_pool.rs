//! The handle of a pool.

use super::context;
use super::registry::Registry;
use crate::sleep::MAX_THREADS;
use crate::sync::{Arc, Ordering};
use std::fmt;

/// A pool of worker threads that steal work from each other.
///
/// | to | methods |
/// |---|---|
/// | build one | [`new`](Self::new), [`with_threads`](Self::with_threads), [`builder`](Self::builder); [`current`](Self::current), [`global`](crate::global) |
/// | run closures that borrow, and wait | [`join`](Self::join), [`scope`](Self::scope), [`try_scope`](Self::try_scope), [`scope_on_workers`](Self::scope_on_workers), [`install`](Self::install), [`run`](Self::run), [`broadcast`](Self::broadcast) |
/// | process a collection | [`map`](Self::map), [`map_init`](Self::map_init), [`try_map`](Self::try_map), [`for_each`](Self::for_each), [`for_each_init`](Self::for_each_init), [`try_for_each`](Self::try_for_each), [`map_reduce`](Self::map_reduce), [`map_reduce_deterministic`](Self::map_reduce_deterministic), [`find_any`](Self::find_any), [`find_map_any`](Self::find_map_any), [`find_first`](Self::find_first) |
/// | submit tasks | [`submit`](Self::submit), [`try_submit`](Self::try_submit), [`submit_many`](Self::submit_many), [`task`](Self::task), [`spawn`](Self::spawn), [`spawn_broadcast`](Self::spawn_broadcast) |
/// | run futures, or closures at a certain time | [`submit_async`](Self::submit_async), [`spawn_async`](Self::spawn_async), [`delay`](Self::delay), [`every`](Self::every); [`AsyncPool`](crate::AsyncPool) |
/// | process an iterator | [`imap`](Self::imap), [`imap_unordered`](Self::imap_unordered) |
/// | stop it, or change its size | [`wait_idle`](Self::wait_idle), [`shutdown`](Self::shutdown), [`shutdown_now`](Self::shutdown_now), [`shutdown_timeout`](Self::shutdown_timeout), [`close`](Self::close), [`close_now`](Self::close_now), [`set_num_threads`](Self::set_num_threads) |
/// | inspect it | [`stats`](Self::stats), [`dump`](Self::dump), [`dump_at_once`](Self::dump_at_once), [`num_threads`](Self::num_threads), [`current_thread_index`](Self::current_thread_index) |
///
/// A `ThreadPool` is a cheap handle, and its clones refer to the same pool. Dropping the last handle outside
/// the pool runs the queued tasks, waits until the threads have ended, and returns. Dropped on one of the
/// pool's own threads, it signals the end and returns at once.
///
/// Any thread may call any method. A thread that does not belong to the pool takes part in the
/// [`join`](Self::join), [`scope`](Self::scope) or [`map`](Self::map) that it calls, as a *guest*: it begins
/// at once, without a switch to another thread.
///
/// ```
/// let pool = heist::ThreadPool::new()?;
/// let squares = pool.map(0..1000_u64, |n| n * n);
/// assert_eq!(squares[999], 998_001);
/// # Ok::<(), heist::BuildError>(())
/// ```
pub struct ThreadPool {
    pub(super) registry: Arc<Registry>,
}

impl ThreadPool {
    /// The maximum number of workers and spare threads of a pool.
    pub const MAX_THREADS: usize = MAX_THREADS;

    /// Returns how many workers the pool has, started or not.
    pub fn num_threads(&self) -> usize {
        self.registry.sleep.target()
    }

    /// Returns the pool that the current thread takes part in, as one of its threads or as a guest (inside
    /// [`install`](ThreadPool::install), [`scope`](ThreadPool::scope) and similar calls).
    ///
    /// ```
    /// let pool = heist::ThreadPool::new().unwrap();
    /// assert!(heist::ThreadPool::current().is_none());
    /// pool.install(|| assert!(heist::ThreadPool::current().is_some()));
    /// ```
    pub fn current() -> Option<ThreadPool> {
        let registry = context::member()?.registry.this.upgrade()?;
        Some(ThreadPool::from_registry(registry))
    }

    /// Creates another handle of a pool that has one.
    fn from_registry(registry: Arc<Registry>) -> Self {
        // ORDERING: Relaxed, since the pool has another handle meanwhile.
        registry.handles.fetch_add(1, Ordering::Relaxed);
        ThreadPool { registry }
    }

    #[inline]
    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }
}

impl Clone for ThreadPool {
    fn clone(&self) -> Self {
        Self::from_registry(Arc::clone(&self.registry))
    }
}

impl Drop for ThreadPool {
    fn drop(&mut self) {
        if self.registry.forked() {
            // The threads stayed in the parent, where they may have held locks and been in the middle of changing queues. The child therefore
            // leaks the registry and touches nothing in it.
            std::mem::forget(Arc::clone(&self.registry));
            return;
        }
        // ORDERING: AcqRel: what was done through any handle is visible to the thread that drops the last one.
        if self.registry.handles.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.registry.last_handle_gone();
        }
    }
}

impl fmt::Debug for ThreadPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadPool")
            .field("num_threads", &self.num_threads())
            .finish_non_exhaustive()
    }
}
