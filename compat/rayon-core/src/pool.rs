//! `ThreadPool`, and free functions about the current thread.

use crate::broadcast::{self, BroadcastContext};
use crate::scope::{self, Scope, ScopeFifo};
use crate::settings::is_breadth_first;
use crate::{join, spawn};
use std::fmt;

/// A pool of threads. Dropping it returns at once; the threads end when all spawned tasks have run.
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

    /// Runs `op` on a thread of the pool and waits for it. A caller on a thread of the pool runs `op` itself. A caller on a thread of
    /// another pool runs work of that other pool while it waits.
    pub fn install<OP, R>(&self, op: OP) -> R
    where
        OP: FnOnce() -> R + Send,
        R: Send,
    {
        self.inner.run(op)
    }

    /// Runs `op` once on each thread and returns the results in the order of thread indices.
    pub fn broadcast<OP, R>(&self, op: OP) -> Vec<R>
    where
        OP: Fn(BroadcastContext<'_>) -> R + Sync,
        R: Send,
    {
        broadcast::broadcast_in(&self.inner, op)
    }

    /// Returns the number of threads of the pool.
    #[inline]
    pub fn current_num_threads(&self) -> usize {
        self.inner.num_threads()
    }

    /// Returns the current thread's index in this pool, or `None` on a thread outside the pool.
    #[inline]
    pub fn current_thread_index(&self) -> Option<usize> {
        self.inner.current_thread_index()
    }

    /// Returns whether work that the current thread has queued is still pending, or `None` on a thread outside the pool.
    #[inline]
    pub fn current_thread_has_pending_tasks(&self) -> Option<bool> {
        self.current_thread_index()
            .and_then(|_| current_thread_has_pending_tasks())
    }

    /// Calls [`join`](crate::join()) in this pool.
    pub fn join<A, B, RA, RB>(&self, oper_a: A, oper_b: B) -> (RA, RB)
    where
        A: FnOnce() -> RA + Send,
        B: FnOnce() -> RB + Send,
        RA: Send,
        RB: Send,
    {
        self.install(|| join::join(oper_a, oper_b))
    }

    /// Calls [`scope`](crate::scope()) in this pool.
    pub fn scope<'scope, OP, R>(&self, op: OP) -> R
    where
        OP: FnOnce(&Scope<'scope>) -> R + Send,
        R: Send,
    {
        self.install(|| scope::scope(op))
    }

    /// Calls [`scope_fifo`](crate::scope_fifo) in this pool.
    pub fn scope_fifo<'scope, OP, R>(&self, op: OP) -> R
    where
        OP: FnOnce(&ScopeFifo<'scope>) -> R + Send,
        R: Send,
    {
        self.install(|| scope::scope_fifo(op))
    }

    /// Calls [`in_place_scope`](crate::in_place_scope) in this pool.
    pub fn in_place_scope<'scope, OP, R>(&self, op: OP) -> R
    where
        OP: FnOnce(&Scope<'scope>) -> R,
    {
        scope::in_place(Some(&self.inner), |s| op(Scope::of(s)))
    }

    /// Calls [`in_place_scope_fifo`](crate::in_place_scope_fifo) in this pool.
    pub fn in_place_scope_fifo<'scope, OP, R>(&self, op: OP) -> R
    where
        OP: FnOnce(&ScopeFifo<'scope>) -> R,
    {
        scope::in_place(Some(&self.inner), |s| op(ScopeFifo::of(s)))
    }

    /// Calls [`spawn`](crate::spawn()) in this pool.
    pub fn spawn<OP>(&self, op: OP)
    where
        OP: FnOnce() + Send + 'static,
    {
        if is_breadth_first() {
            self.spawn_fifo(op);
        } else {
            self.inner.spawn(op);
        }
    }

    /// Calls [`spawn_fifo`](crate::spawn_fifo) in this pool.
    pub fn spawn_fifo<OP>(&self, op: OP)
    where
        OP: FnOnce() + Send + 'static,
    {
        spawn::spawn_fifo_in(&self.inner, op);
    }

    /// Calls [`spawn_broadcast`](crate::spawn_broadcast) in this pool.
    pub fn spawn_broadcast<OP>(&self, op: OP)
    where
        OP: Fn(BroadcastContext<'_>) + Send + Sync + 'static,
    {
        broadcast::spawn_broadcast_in(&self.inner, op);
    }

    /// Calls [`yield_now`] on a thread of this pool. Returns `None` on any other thread.
    pub fn yield_now(&self) -> Option<Yield> {
        self.current_thread_index().and_then(|_| yield_now())
    }

    /// Calls [`yield_local`] on a thread of this pool. Returns `None` on any other thread.
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

/// The result of a yield.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Yield {
    /// A piece of work was run.
    Executed,
    /// There was nothing to run.
    Idle,
}

impl Yield {
    fn of(ran: bool) -> Option<Self> {
        heist::in_pool().then_some(if ran { Yield::Executed } else { Yield::Idle })
    }
}

/// Returns the current thread's index in its pool, or `None` outside any pool.
#[inline]
pub fn current_thread_index() -> Option<usize> {
    heist::current_thread_index()
}

/// Returns whether work that the current thread has queued is still pending, or `None` outside any pool.
#[inline]
pub fn current_thread_has_pending_tasks() -> Option<bool> {
    heist::has_pending_tasks()
}

/// Runs one piece of work that is pending in the current thread's pool. Returns `None` outside any pool.
pub fn yield_now() -> Option<Yield> {
    Yield::of(heist::yield_now())
}

/// Runs one piece of work that the current thread has queued. Returns `None` outside any pool.
pub fn yield_local() -> Option<Yield> {
    Yield::of(heist::yield_local())
}
