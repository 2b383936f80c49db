//! The pool: handles, slots, threads, and what a thread does when it has nothing of its own to do.

mod builder;
pub(crate) mod context;
mod gate;
mod lanes;
mod queue;
pub(crate) mod queue_wait;
mod registry;
mod slot;
mod threads;
pub(crate) mod worker;

#[cfg(all(test, loom))]
pub(crate) mod models;

pub(crate) use builder::is_global;
pub use builder::{BuildError, Start, ThreadPoolBuilder, Waits, global};
pub(crate) use gate::Refusal;
pub use gate::WhenFull;
pub use lanes::Priority;
pub(crate) use queue::Injector;
pub(crate) use registry::{Registry, check_fork_of, pool, with_pool};
pub(crate) use slot::{SWEEP_LEAST, Seat, Slot};
pub use threads::PoolThread;

use crate::sleep::MAX_THREADS;
use crate::sync::{Arc, Ordering};
use std::fmt;

/// A pool of worker threads that steal work from each other.
///
/// A cheap handle: clones mean the same pool. When the last handle outside the pool is dropped, what is queued runs, the
/// threads end, and the drop returns. Dropped on one of its own threads, it gives the signal and returns at once.
///
/// Any thread may call any method. A thread that is none of the pool's takes part in the work of the
/// [`join`](Self::join), [`scope`](Self::scope) or [`map`](Self::map) that it calls, as a *guest*: it begins at once, in
/// place, without a switch to another thread.
///
/// ```
/// let pool = heist::ThreadPool::new()?;
/// let squares = pool.map(0..1000_u64, |n| n * n);
/// assert_eq!(squares[999], 998_001);
/// # Ok::<(), heist::BuildError>(())
/// ```
pub struct ThreadPool {
    registry: Arc<Registry>,
}

impl ThreadPool {
    /// A pool with the default settings: as many workers as the process may use cores.
    ///
    /// # Errors
    /// See [`ThreadPoolBuilder::build`]; the defaults never fail.
    pub fn new() -> Result<ThreadPool, BuildError> {
        ThreadPoolBuilder::new().build()
    }

    /// Makes a pool of `count` workers, with the default settings otherwise. 0 stands for the number that [`new`](Self::new) chooses.
    ///
    /// # Errors
    /// `count` is greater than [`MAX_THREADS`](Self::MAX_THREADS).
    ///
    /// ```
    /// let pool = heist::ThreadPool::with_threads(3)?;
    /// assert_eq!(pool.num_threads(), 3);
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn with_threads(count: usize) -> Result<ThreadPool, BuildError> {
        ThreadPoolBuilder::new().num_threads(count).build()
    }

    /// The settings of a pool to be made.
    pub fn builder() -> ThreadPoolBuilder {
        ThreadPoolBuilder::new()
    }

    /// The most workers and spares that a pool can have.
    pub const MAX_THREADS: usize = MAX_THREADS;

    /// How many workers the pool has, started or not.
    pub fn num_threads(&self) -> usize {
        self.registry.sleep.target()
    }

    /// The first handle.
    fn from_new_registry(registry: Arc<Registry>) -> Self {
        ThreadPool { registry }
    }

    /// One more handle.
    fn from_registry(registry: Arc<Registry>) -> Self {
        // ORDERING: Relaxed, as for any count of owners that grows from one of them.
        registry.handles.fetch_add(1, Ordering::Relaxed);
        ThreadPool { registry }
    }

    #[inline]
    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }
}

/// Calls `f` with the pool that the free functions use: the one in which the current thread takes part, or else the [`global`] one.
pub(crate) fn with_current<R>(f: impl FnOnce(&Registry) -> R) -> R {
    match context::slot() {
        Some(slot) => f(slot.registry()),
        None => f(global().registry()),
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
            // Its threads stayed in the parent, perhaps with its locks and in the middle of its queues: nothing of it is touched here.
            std::mem::forget(Arc::clone(&self.registry));
            return;
        }
        // ORDERING: AcqRel: what any handle did comes before the end.
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
