//! Free functions about the current thread: whether and as what it takes part in a pool, and running pending work.

use crate::pool::{ThreadPool, context, worker};

/// Runs one pending task or fork of the pool that the current thread takes part in, and returns whether there
/// was one.
///
/// Use it in loops that wait for something that only other tasks can bring about. The thread's own oldest
/// fork comes first. Unlike a wait in `join`, `scope` or `map`, this may run an unrelated task, so do not
/// hold a lock that any task could need. If there is a handle to [`join`](crate::JoinHandle::join), that is
/// better; if there is none, a [`promise`](crate::promise()) makes one.
///
/// The task runs on top of the caller's stack, and the caller continues when the task has ended. A loop of
/// `yield_now` may therefore last longer than the event that it waits for. If looping tasks run each other,
/// the one at the bottom continues last. The task is not part of the caller's task: it has its own name and
/// its own [token](crate::current_token), and cancelling the caller's token does not stop it.
///
/// Returns `false` if there was nothing to run, or if the thread takes part in no pool. Do not sleep for long
/// then: only the next call finds what is queued a moment later.
///
/// ```
/// use std::sync::atomic::{AtomicBool, Ordering};
/// static READY: AtomicBool = AtomicBool::new(false);
/// let pool = heist::ThreadPool::with_threads(1)?;
/// pool.run(|| {
///     heist::spawn(|| READY.store(true, Ordering::Release));
///     while !READY.load(Ordering::Acquire) {
///         if !heist::yield_now() {
///             std::thread::yield_now();
///         }
///     }
/// });
/// assert!(!heist::yield_now());
/// # Ok::<(), heist::BuildError>(())
/// ```
pub fn yield_now() -> bool {
    worker::yield_now()
}

/// Runs one task that this thread has queued itself, or one closure of `broadcast` that waits for this
/// thread, and returns whether there was one.
///
/// [`yield_now`] also looks at the work of other threads.
///
/// ```
/// assert!(!heist::yield_local());
/// ```
#[doc(hidden)] // Only the rayon shim needs it.
pub fn yield_local() -> bool {
    worker::yield_local()
}

/// Returns whether tasks or forks that this thread has queued itself are pending, or `None` if it takes part
/// in no pool.
///
/// ```
/// assert_eq!(heist::has_pending_tasks(), None);
/// ```
#[doc(hidden)] // Only the rayon shim needs it.
pub fn has_pending_tasks() -> Option<bool> {
    context::slot().map(|slot| slot.has_help() || slot.detached.len() > 0)
}

/// Returns whether the current thread takes part in a pool, as one of its threads or as a guest.
///
/// The free functions use that pool then; elsewhere they use the [`global`](crate::global) one.
///
/// ```
/// assert!(!heist::in_pool());
/// assert!(heist::global().install(heist::in_pool));
/// ```
#[inline(always)]
pub fn in_pool() -> bool {
    context::ring_in_use().is_some()
}

/// Returns how many workers the pool of the current thread has, or `None` if the thread takes part in no
/// pool.
///
/// ```
/// assert_eq!(heist::current_num_threads(), None);
/// let pool = heist::ThreadPool::builder().num_threads(3).build()?;
/// assert_eq!(pool.install(heist::current_num_threads), Some(3));
/// # Ok::<(), heist::BuildError>(())
/// ```
pub fn current_num_threads() -> Option<usize> {
    context::member().map(|member| member.registry.sleep.target())
}

impl ThreadPool {
    /// Returns the index of the worker of this pool that the current thread is.
    ///
    /// Returns `None` on all other threads, including workers of other pools.
    ///
    /// ```
    /// let pool = heist::ThreadPool::builder().num_threads(1).build()?;
    /// assert_eq!(pool.current_thread_index(), None);
    /// assert_eq!(pool.run(|| pool.current_thread_index()), Some(0));
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn current_thread_index(&self) -> Option<usize> {
        context::member_of(self.registry())?.role().worker()
    }
}

/// Returns the index of the worker that the current thread is, which is below its pool's `num_threads`.
///
/// Returns `None` on other threads, including guests and spare threads. To keep data per thread, use
/// [`map_init`](ThreadPool::map_init).
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
