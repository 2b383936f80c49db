//! `install` and `run`: a closure inside a pool, here or on a worker.

use crate::job::{Fate, Task};
use crate::latch::Latch;
use crate::pool::{Priority, ThreadPool, worker};
use crate::sync::{Mutex, lock};
use crate::unwind;

/// # A closure inside the pool
impl ThreadPool {
    /// Runs `f` here and now, as a part of this pool: [`join`](crate::join), [`scope`](crate::scope()) and the other free
    /// functions use it inside.
    ///
    /// There is no switch to another thread, and no wait for a free worker: the calling thread is a guest for the time. On a thread
    /// of the pool it is a plain call. The cost is some tens of nanoseconds.
    ///
    /// ```
    /// let pool = heist::ThreadPool::new()?;
    /// let (a, b) = pool.install(|| heist::join(|| 1, || 2));
    /// assert_eq!(a + b, 3);
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    #[inline]
    pub fn install<R>(&self, f: impl FnOnce() -> R) -> R {
        worker::as_part(self.registry(), |_| f())
    }

    /// Runs `f` on a thread of the pool, with its stack size, its hooks and its thread-locals, while the caller sleeps. On a
    /// thread of the pool it is a plain call.
    ///
    /// # Panics
    /// With the payload of `f`'s panic.
    ///
    /// # Blocking
    /// Waits for a free worker, and then for `f`.
    ///
    /// ```
    /// let pool = heist::ThreadPool::builder().stack_size(64 << 20).build()?;
    /// let name = pool.run(|| std::thread::current().name().map(str::to_owned));
    /// assert!(name.unwrap().starts_with("heist-"));
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn run<R: Send>(&self, f: impl FnOnce() -> R + Send) -> R {
        let registry = self.registry();
        if worker::is_pool_thread(registry) {
            return worker::as_part(registry, |_| f());
        }
        registry.check_fork();
        let outcome = Mutex::new(None);
        let latch = Latch::new(1);
        let (outcome_ref, set) = (&outcome, latch.clone());
        let task = move |fate| {
            if fate == Fate::Run {
                let result = unwind::catch(f);
                *lock(outcome_ref) = Some(result);
            } else {
                // Here, not at the end of this closure: it borrows from a caller who goes on after the latch.
                unwind::drop_quietly(f);
            }
            set.count_down();
        };
        // SAFETY: this function does not return before the latch is set, which is the last thing that the task does.
        let task = unsafe { Task::new(std::ptr::null(), None, task) };
        registry.inject([task], Priority::Normal);
        worker::block(&latch, None);
        match outcome
            .into_inner()
            .unwrap_or_else(|poison| poison.into_inner())
        {
            Some(Ok(result)) => result,
            Some(Err(payload)) => unwind::resume(payload),
            None => panic!("heist: the pool was closed before it ran the closure"),
        }
    }
}
