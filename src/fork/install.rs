//! `install` and `run`: run a closure inside a pool, on the calling thread or on a worker.

use crate::job::{Fate, Task};
use crate::latch::Latch;
use crate::pool::{Priority, ThreadPool, context, worker};
use crate::record::{Named, SiteInfo, Work};
use crate::sync::{Mutex, lock};
use crate::unwind;

/// The site of a run of this closure.
fn run_of<F>(_: &F) -> &'static SiteInfo {
    Named::<F>::RUN
}

/// # A closure inside the pool
impl ThreadPool {
    /// Runs `f` on the calling thread as part of this pool: inside it, [`join`](crate::join),
    /// [`scope`](crate::scope()) and the other free functions use this pool.
    ///
    /// There is no switch to another thread and no wait for a free worker; the calling thread is a guest of
    /// the pool for the duration of the call. On a thread of the pool this is a plain call. It costs some
    /// tens of nanoseconds. To move `f` to a worker, use [`run`](Self::run).
    ///
    /// If `f` panics, the panic continues in the caller.
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

    /// Runs `f` on a thread of the pool, with its stack size, hooks and thread-locals, and returns the
    /// result.
    ///
    /// On a thread of the pool this is a plain call. Where the thread does not matter,
    /// [`install`](Self::install) avoids the switch.
    ///
    /// # Panics
    ///
    /// A panic of `f` resumes in the caller.
    ///
    /// # Blocking
    ///
    /// The caller sleeps until a worker is free and has run `f`.
    ///
    /// ```
    /// let pool = heist::ThreadPool::builder().stack_size(64 << 20).build()?;
    /// let name = pool.run(|| std::thread::current().name().map(str::to_owned));
    /// assert!(name.unwrap().starts_with("heist-"));
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn run<R: Send>(&self, f: impl FnOnce() -> R + Send) -> R {
        let site = run_of(&f);
        let registry = self.registry();
        if worker::acts_for_pool_thread(registry) {
            return worker::as_part(registry, |_| f());
        }
        registry.check_fork();
        let outcome = Mutex::new(None);
        let latch = Latch::new(1);
        let (outcome_ref, set, token) = (&outcome, latch.clone(), context::token());
        let task = move |fate: Fate| {
            if fate.runs() {
                let run = || unwind::catch(|| context::with_token(token, f));
                let result = worker::recorded(fate, Work::Run, site, run);
                *lock(outcome_ref) = Some(result);
            } else {
                // `f` is dropped before the latch is set: then the caller continues, from whom `f` may borrow.
                unwind::drop_quietly(f);
            }
            set.count_down();
        };
        // SAFETY: (1) this function does not return before the latch is set. That is the last thing that the task does, and its latch is a clone of its own.
        // (2) There is no group. (3) The task does not unwind: panics of `f` and of its destructor are caught.
        let task = unsafe { Task::new(std::ptr::null(), None, task) };
        registry.inject([task], Priority::Normal);
        worker::block(&latch, None);
        let outcome = lock(&outcome).take();
        match outcome {
            Some(Ok(result)) => result,
            Some(Err(payload)) => unwind::resume(payload),
            None => panic!("heist: the pool was closed before it ran the closure"),
        }
    }
}
