//! `ThreadPool`, and what can be asked of the current thread.

use crate::broadcast::{self, BroadcastContext};
use crate::scope::{self, Scope, ScopeFifo};
use crate::{join, spawn};
use std::fmt;

/// A pool of one's own. Dropping it returns at once; its threads end when what was spawned has run.
///
/// ```
/// let pool = rayon_core::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
/// let index = pool.install(|| rayon_core::current_thread_index());
/// assert!(index < Some(2));
/// ```
pub struct ThreadPool {
    inner: heist::ThreadPool,
}

impl ThreadPool {
    pub(crate) fn of(inner: heist::ThreadPool) -> Self {
        ThreadPool { inner }
    }

    /// Makes a pool.
    ///
    /// # Errors
    /// As [`ThreadPoolBuilder::build`](crate::ThreadPoolBuilder::build).
    #[deprecated(note = "Use `ThreadPoolBuilder::build`")]
    #[expect(deprecated, reason = "rayon-core still has it")]
    pub fn new(
        configuration: crate::Configuration,
    ) -> Result<ThreadPool, Box<dyn std::error::Error>> {
        configuration.build()
    }

    /// Runs `op` on a thread of the pool while the caller waits; on a thread of the pool, at once. A thread of another pool
    /// works for that one meanwhile.
    pub fn install<OP, R>(&self, op: OP) -> R
    where
        OP: FnOnce() -> R + Send,
        R: Send,
    {
        self.inner.run(op)
    }

    /// Runs `op` once on each thread; the results come by index.
    pub fn broadcast<OP, R>(&self, op: OP) -> Vec<R>
    where
        OP: Fn(BroadcastContext<'_>) -> R + Sync,
        R: Send,
    {
        broadcast::broadcast_in(&self.inner, op)
    }

    /// How many threads the pool has.
    #[inline]
    pub fn current_num_threads(&self) -> usize {
        self.inner.num_threads()
    }

    /// Which thread of this pool the current one is, if it is one.
    #[inline]
    pub fn current_thread_index(&self) -> Option<usize> {
        self.inner.current_thread_index()
    }

    /// Whether the current thread has queued what is still pending, if it is one of this pool.
    #[inline]
    pub fn current_thread_has_pending_tasks(&self) -> Option<bool> {
        self.current_thread_index()
            .and_then(|_| current_thread_has_pending_tasks())
    }

    /// [`join`](crate::join()) in this pool.
    pub fn join<A, B, RA, RB>(&self, oper_a: A, oper_b: B) -> (RA, RB)
    where
        A: FnOnce() -> RA + Send,
        B: FnOnce() -> RB + Send,
        RA: Send,
        RB: Send,
    {
        self.install(|| join::join(oper_a, oper_b))
    }

    /// [`scope`](crate::scope()) in this pool.
    pub fn scope<'scope, OP, R>(&self, op: OP) -> R
    where
        OP: FnOnce(&Scope<'scope>) -> R + Send,
        R: Send,
    {
        self.install(|| scope::scope(op))
    }

    /// [`scope_fifo`](crate::scope_fifo) in this pool.
    pub fn scope_fifo<'scope, OP, R>(&self, op: OP) -> R
    where
        OP: FnOnce(&ScopeFifo<'scope>) -> R + Send,
        R: Send,
    {
        self.install(|| scope::scope_fifo(op))
    }

    /// [`in_place_scope`](crate::in_place_scope) in this pool.
    pub fn in_place_scope<'scope, OP, R>(&self, op: OP) -> R
    where
        OP: FnOnce(&Scope<'scope>) -> R,
    {
        scope::in_place(Some(&self.inner), |s| op(Scope::of(s)))
    }

    /// [`in_place_scope_fifo`](crate::in_place_scope_fifo) in this pool.
    pub fn in_place_scope_fifo<'scope, OP, R>(&self, op: OP) -> R
    where
        OP: FnOnce(&ScopeFifo<'scope>) -> R,
    {
        scope::in_place(Some(&self.inner), |s| op(ScopeFifo::of(s)))
    }

    /// [`spawn`](crate::spawn()) in this pool.
    pub fn spawn<OP>(&self, op: OP)
    where
        OP: FnOnce() + Send + 'static,
    {
        if spawn::is_breadth_first() {
            self.spawn_fifo(op);
        } else {
            self.inner.spawn(op);
        }
    }

    /// [`spawn_fifo`](crate::spawn_fifo) in this pool.
    pub fn spawn_fifo<OP>(&self, op: OP)
    where
        OP: FnOnce() + Send + 'static,
    {
        spawn::spawn_fifo_in(&self.inner, op);
    }

    /// [`spawn_broadcast`](crate::spawn_broadcast) in this pool.
    pub fn spawn_broadcast<OP>(&self, op: OP)
    where
        OP: Fn(BroadcastContext<'_>) + Send + Sync + 'static,
    {
        broadcast::spawn_broadcast_in(&self.inner, op);
    }

    /// [`yield_now`], if the current thread is one of this pool.
    pub fn yield_now(&self) -> Option<Yield> {
        self.current_thread_index().and_then(|_| yield_now())
    }

    /// [`yield_local`], if the current thread is one of this pool.
    pub fn yield_local(&self) -> Option<Yield> {
        self.current_thread_index().and_then(|_| yield_local())
    }
}

impl fmt::Debug for ThreadPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadPool")
            .field("num_threads", &self.current_num_threads())
            .finish_non_exhaustive()
    }
}

/// What came of a yield.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Yield {
    /// Something was run.
    Executed,
    /// There was nothing to run.
    Idle,
}

impl Yield {
    fn of(ran: bool) -> Option<Self> {
        heist::takes_part().then_some(if ran { Yield::Executed } else { Yield::Idle })
    }
}

/// Which thread of its pool the current one is, if it is one.
#[inline]
pub fn current_thread_index() -> Option<usize> {
    heist::current_thread_index()
}

/// Whether the current thread has queued what is still pending, if it is in a pool.
#[inline]
pub fn current_thread_has_pending_tasks() -> Option<bool> {
    heist::has_pending_tasks()
}

/// Runs something that is pending in the pool, if the current thread is in one.
pub fn yield_now() -> Option<Yield> {
    Yield::of(heist::yield_now())
}

/// Runs something that the current thread has queued, if it is in a pool.
pub fn yield_local() -> Option<Yield> {
    Yield::of(heist::yield_local())
}
