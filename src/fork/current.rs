//! Questions about the current thread, and what it can do for others.

use crate::pool::{ThreadPool, context, worker};

/// Runs one pending task or fork, any, of the pool that the current thread takes part in; its own oldest fork first. False: there was none,
/// or the thread takes part in no pool.
///
/// For loops that wait for something that only other tasks can bring about. Unlike the waits of `join`, `scope`
/// and `map` it may run an unrelated task: hold no lock that one could need.
///
/// The task that it runs stands on top of the caller's stack, and the caller goes on when that has ended. So a loop of `yield_now` may wait for longer than what it
/// waits for, and where tasks that loop run each other, the one at the bottom goes on last. Where there is a handle to [`join`](crate::JoinHandle::join), that is
/// better; where there is none, a [`promise`](crate::promise()) makes one. False is no reason to sleep for long: what others queue a moment later is found by
/// the next call only.
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

/// [`yield_now`] that looks only at what this thread has queued itself, and at the closures of `broadcast` that wait for it.
///
/// ```
/// assert!(!heist::yield_local());
/// ```
pub fn yield_local() -> bool {
    worker::yield_local()
}

/// Whether tasks or forks that this thread has queued itself are still pending; `None` if it takes part in no pool.
///
/// ```
/// assert_eq!(heist::has_pending_tasks(), None);
/// ```
pub fn has_pending_tasks() -> Option<bool> {
    context::slot().map(|slot| slot.has_help() || slot.detached.len() > 0)
}

/// Whether the current thread takes part in a pool, as one of its threads or as a guest: then the free functions use that pool, else
/// the [`global`](crate::global) one.
///
/// ```
/// assert!(!heist::takes_part());
/// assert!(heist::global().install(heist::takes_part));
/// ```
#[inline(always)]
pub fn takes_part() -> bool {
    context::is_inside()
}

/// How many workers the pool has that the current thread takes part in.
///
/// ```
/// assert_eq!(heist::current_num_threads(), None);
/// let pool = heist::ThreadPool::builder().num_threads(3).build()?;
/// assert_eq!(pool.install(heist::current_num_threads), Some(3));
/// # Ok::<(), heist::BuildError>(())
/// ```
pub fn current_num_threads() -> Option<usize> {
    context::slot().map(|slot| slot.registry().sleep.target())
}

impl ThreadPool {
    /// Which worker of this pool the current thread is; `None` on others, those of other pools too.
    ///
    /// ```
    /// let pool = heist::ThreadPool::builder().num_threads(1).build()?;
    /// assert_eq!(pool.current_thread_index(), None);
    /// assert_eq!(pool.run(|| pool.current_thread_index()), Some(0));
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn current_thread_index(&self) -> Option<usize> {
        let slot = context::slot()?;
        std::ptr::eq(slot.registry(), self.registry())
            .then(|| slot.role().worker())
            .flatten()
    }
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
