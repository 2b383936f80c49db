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
/// | to | methods |
/// |---|---|
/// | build one | [`new`](Self::new), [`with_threads`](Self::with_threads), [`builder`](Self::builder); [`current`](Self::current), [`global`] |
/// | run on borrowed data, and wait | [`join`](Self::join), [`scope`](Self::scope), [`try_scope`](Self::try_scope), [`scope_on_workers`](Self::scope_on_workers), [`install`](Self::install), [`run`](Self::run), [`broadcast`](Self::broadcast) |
/// | go through a collection | [`map`](Self::map), [`map_init`](Self::map_init), [`try_map`](Self::try_map), [`for_each`](Self::for_each), [`for_each_init`](Self::for_each_init), [`try_for_each`](Self::try_for_each), [`map_reduce`](Self::map_reduce), [`map_reduce_deterministic`](Self::map_reduce_deterministic), [`find_any`](Self::find_any), [`find_map_any`](Self::find_map_any), [`find_first`](Self::find_first) |
/// | submit tasks | [`submit`](Self::submit), [`try_submit`](Self::try_submit), [`submit_many`](Self::submit_many), [`task`](Self::task), [`spawn`](Self::spawn), [`spawn_broadcast`](Self::spawn_broadcast) |
/// | go through an iterator | [`imap`](Self::imap), [`imap_unordered`](Self::imap_unordered) |
/// | stop, or change the size | [`wait_idle`](Self::wait_idle), [`shutdown`](Self::shutdown), [`shutdown_now`](Self::shutdown_now), [`shutdown_timeout`](Self::shutdown_timeout), [`set_num_threads`](Self::set_num_threads) |
/// | look | [`stats`](Self::stats), [`num_threads`](Self::num_threads), [`current_thread_index`](Self::current_thread_index) |
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

/// # Building a pool
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

    /// The pool that the current thread takes part in, as one of its threads or as a guest (inside
    /// [`install`](ThreadPool::install), [`scope`](ThreadPool::scope), ...).
    ///
    /// ```
    /// let pool = heist::ThreadPool::new().unwrap();
    /// assert!(heist::ThreadPool::current().is_none());
    /// pool.install(|| assert!(heist::ThreadPool::current().is_some()));
    /// ```
    pub fn current() -> Option<ThreadPool> {
        let slot = context::slot()?;
        let registry = slot.registry().this.upgrade()?;
        Some(ThreadPool::from_registry(registry))
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
