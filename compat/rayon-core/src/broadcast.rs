//! `broadcast` and `spawn_broadcast`: once on each worker.

use crate::global::with_current;
use std::fmt;
use std::marker::PhantomData;

/// What a broadcast closure is told.
pub struct BroadcastContext<'a> {
    index: usize,
    num_threads: usize,
    /// Neither `Send` nor `Sync`, and not to be kept.
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

    /// Which thread this is.
    #[inline]
    pub fn index(&self) -> usize {
        self.index
    }

    /// How many threads the broadcast goes to.
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

/// Runs `op` once on each thread of the current pool; the results come by index.
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

/// [`broadcast`] that nobody waits for.
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
