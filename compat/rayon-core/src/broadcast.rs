//! `broadcast` and `spawn_broadcast`: a closure runs once on each worker.

use crate::global::with_current;
use std::fmt;
use std::marker::PhantomData;

/// Tells a broadcast closure where it runs.
pub struct BroadcastContext<'a> {
    index: usize,
    num_threads: usize,
    /// Makes the type neither `Send` nor `Sync`, and bound to the call.
    marker: PhantomData<&'a mut dyn Fn()>,
}

impl BroadcastContext<'_> {
    pub(crate) fn new(index: usize, num_threads: usize) -> Self {
        BroadcastContext {
            index,
            num_threads,
            marker: PhantomData,
        }
    }

    /// Returns the index of the current thread.
    #[inline]
    pub fn index(&self) -> usize {
        self.index
    }

    /// Returns the number of threads that run the closure.
    #[inline]
    pub fn num_threads(&self) -> usize {
        self.num_threads
    }
}

impl fmt::Debug for BroadcastContext<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BroadcastContext")
            .field("index", &self.index)
            .field("num_threads", &self.num_threads)
            .finish_non_exhaustive()
    }
}

/// Runs `op` once on each thread of the current pool and returns the results in the order of thread indices.
///
/// ```
/// let indices = rayon_core::broadcast(|context| context.index());
/// assert_eq!(indices.len(), rayon_core::current_num_threads());
/// ```
pub fn broadcast<OP, R>(op: OP) -> Vec<R>
where
    OP: Fn(BroadcastContext<'_>) -> R + Sync,
    R: Send,
{
    with_current(|pool| broadcast_in(pool, op))
}

/// Runs `op` once on each thread of the current pool, and does not wait for it.
pub fn spawn_broadcast<OP>(op: OP)
where
    OP: Fn(BroadcastContext<'_>) + Send + Sync + 'static,
{
    with_current(|pool| spawn_broadcast_in(pool, op));
}

pub(crate) fn broadcast_in<R: Send>(
    pool: &heist::ThreadPool,
    op: impl Fn(BroadcastContext<'_>) -> R + Sync,
) -> Vec<R> {
    let num_threads = pool.num_threads();
    pool.broadcast(|index| op(BroadcastContext::new(index, num_threads)))
}

pub(crate) fn spawn_broadcast_in(
    pool: &heist::ThreadPool,
    op: impl Fn(BroadcastContext<'_>) + Send + Sync + 'static,
) {
    let num_threads = pool.num_threads();
    pool.spawn_broadcast(move |index| op(BroadcastContext::new(index, num_threads)));
}
