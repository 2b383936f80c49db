//! Tasks that nobody waits for, and two questions about the current thread.

use crate::job::{Fate, Task};
use crate::pool::{Seat, ThreadPool, context, global, worker};
use crate::unwind;
use std::ptr;

impl ThreadPool {
    /// Queues `f` to run on some worker, and returns at once. Nobody is told of its end.
    ///
    /// From a thread of this pool the task goes to that thread's own deque, newest first; from elsewhere to the
    /// pool's queue, oldest first. If the pool has no thread and none can be started, it runs here and now.
    ///
    /// # Panics
    /// A panic of `f` goes to the [`panic_handler`](crate::ThreadPoolBuilder::panic_handler); the process and the worker live on.
    ///
    /// ```
    /// let pool = heist::ThreadPool::new()?;
    /// let (sender, receiver) = std::sync::mpsc::channel();
    /// pool.spawn(move || sender.send(42).unwrap());
    /// assert_eq!(receiver.recv(), Ok(42));
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn spawn<F>(&self, f: F)
    where
        F: FnOnce() + Send + 'static,
    {
        let registry = self.registry();
        registry.check_fork();
        let weak = registry.this.clone();
        let task = move |fate| {
            // The registry drops what is left in its queue when it goes; then nobody counts.
            let registry = weak.upgrade();
            match fate {
                Fate::Run => {
                    let outcome = unwind::catch(f);
                    if let Some(registry) = registry {
                        match outcome {
                            Ok(()) => registry.count(|counters| &counters.completed, 1),
                            Err(payload) => {
                                registry.lost_panic(payload);
                                registry.count(|counters| &counters.failed, 1);
                            }
                        }
                    }
                }
                Fate::Drop => {
                    unwind::drop_quietly(f);
                    if let Some(registry) = registry {
                        registry.count(|counters| &counters.cancelled, 1);
                    }
                }
            }
        };
        // SAFETY: `f` borrows nothing, and the task belongs to no group.
        let task = unsafe { Task::new(ptr::null(), None, task) };
        registry.count(|counters| &counters.submitted, 1);
        match context::slot() {
            Some(slot) if ptr::eq(slot.registry(), registry) && slot.role() != Seat::Guest => {
                slot.push_detached(task);
            }
            _ => {
                registry.inject(task);
                registry.run_stranded();
            }
        }
    }
}

/// [`ThreadPool::spawn`] on the pool of the current thread, or on the [`global`] one.
///
/// ```
/// let (sender, receiver) = std::sync::mpsc::channel();
/// heist::spawn(move || sender.send("done").unwrap());
/// assert_eq!(receiver.recv(), Ok("done"));
/// ```
pub fn spawn<F>(f: F)
where
    F: FnOnce() + Send + 'static,
{
    match ThreadPool::current() {
        Some(pool) => pool.spawn(f),
        None => global().spawn(f),
    }
}

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
