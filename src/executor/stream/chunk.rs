//! Chunks: groups of items of a stream, each of which is one task.

use crate::counters::{Count, Counters};
use crate::executor::error::JoinError;
use crate::executor::handle::JoinHandle;
use crate::executor::pending::HasTask;
use crate::executor::task::TaskRef;
use crate::pool::{self, Registry, Role, RunningItem, StreamQueue, context};
use crate::sync::Arc;
use crate::unwind::{self, Payload};
use std::collections::VecDeque;

/// The result of the task of a chunk.
pub(super) enum Chunk<R> {
    /// The result of the only item, whose panic is the task's.
    One(R),
    /// The results of several items, each with its own panic.
    Many(Vec<Result<R, Payload>>),
}

/// The index of an item in the input, and its outcome.
pub(super) type Outcome<R> = (usize, Result<R, JoinError>);

/// A chunk that was submitted and has not been unpacked.
pub(super) struct InFlight<R> {
    pub(super) handle: JoinHandle<Chunk<R>>,
    /// The index of its first item.
    pub(super) first: usize,
    pub(super) len: usize,
}

impl<R> HasTask for InFlight<R> {
    fn task(&self) -> &TaskRef {
        self.handle.task()
    }
}

impl<R> InFlight<R> {
    /// Appends the outcomes of a finished chunk to `to`.
    pub(super) fn unpack(mut self, to: &mut VecDeque<Outcome<R>>) {
        let (id, first) = (self.handle.id(), self.first);
        match self.handle.take() {
            Ok(Chunk::One(result)) => to.push_back((first, Ok(result))),
            Ok(Chunk::Many(results)) => {
                let panicked = |payload| JoinError::panicked(payload, id, None);
                let results = results.into_iter();
                to.extend((first..).zip(results.map(|result| result.map_err(panicked))));
            }
            // The whole chunk was cancelled, or its only item panicked.
            Err(error) => {
                let last = first + self.len - 1;
                to.extend((first..last).map(|index| (index, Err(error.duplicate()))));
                to.push_back((last, Err(error)));
            }
        }
    }
}

/// Takes up to `n` items of `input` and submits them as one task. Returns its handle and the number of items, or `None` if the input has ended.
pub(super) fn pull<I, R, F>(
    input: &mut impl Iterator<Item = I>,
    n: usize,
    f: &Arc<F>,
    pool: &Registry,
    submit: impl FnOnce(ChunkTask<I, F>) -> JoinHandle<Chunk<R>>,
) -> Option<(JoinHandle<Chunk<R>>, usize)> {
    let first = input.next()?;
    let f = Arc::clone(f);
    if n == 1 {
        return Some((submit(ChunkTask::One(first, f)), 1));
    }
    // `from_fn` hides the size hint of the input. The hint and `n` come from the user and can be huge: the vector grows with the items instead.
    let mut items = vec![first];
    items.extend(std::iter::from_fn(|| input.next()).take(n - 1));
    let len = items.len();
    let batch = Batch {
        items: items.into_iter(),
        pool: pool.id,
    };
    Some((submit(ChunkTask::Many(batch, f)), len))
}

/// The function of a stream.
pub(super) trait Apply<I> {
    type Out;

    fn apply(&self, item: I) -> Self::Out;

    /// Notes that the current thread runs a chunk until the result is dropped.
    fn begin(&self) -> Option<RunningItem<'_>>;
}

/// The function of a stream of a scope, whose tasks are in the scope's queues.
pub(super) struct Plain<F>(pub(super) F);

impl<I, R, F: Fn(I) -> R> Apply<I> for Plain<F> {
    type Out = R;

    fn apply(&self, item: I) -> R {
        (self.0)(item)
    }

    fn begin(&self) -> Option<RunningItem<'_>> {
        None
    }
}

/// The function of a stream that has a queue of its own.
pub(super) struct Queued<F>(pub(super) F, pub(super) Arc<StreamQueue>);

impl<I, R, F: Fn(I) -> R> Apply<I> for Queued<F> {
    type Out = R;

    fn apply(&self, item: I) -> R {
        (self.0)(item)
    }

    fn begin(&self) -> Option<RunningItem<'_>> {
        let on_worker = context::slot().is_some_and(|slot| slot.role() != Role::Guest);
        Some(self.1.begin_item(on_worker))
    }
}

/// The captures of the task of a chunk.
pub(super) enum ChunkTask<I, F> {
    One(I, Arc<F>),
    Many(Batch<I>, Arc<F>),
}

/// The items of one chunk, each of which counts as a task.
pub(super) struct Batch<I> {
    items: std::vec::IntoIter<I>,
    /// The number of the pool.
    pool: u64,
}

impl<I> Batch<I> {
    fn count(&self, which: impl Fn(&Counters) -> &Count, items: usize) {
        pool::with_pool(self.pool, |registry| registry.count(which, items as u64));
    }
}

impl<I> Drop for Batch<I> {
    fn drop(&mut self) {
        // The items that are left did not run.
        if self.items.len() > 0 {
            self.count(|counters| &counters.cancelled, self.items.len());
        }
    }
}

impl<I, F: Apply<I>> ChunkTask<I, F> {
    /// Returns the number of tasks for which the chunk counts in the pool's statistics, if [`run`](Self::run) counts their ends. `None` for a chunk of one item,
    /// which is counted like any other task.
    pub(super) fn self_counted(&self) -> Option<u64> {
        match self {
            ChunkTask::One(..) => None,
            ChunkTask::Many(batch, _) => Some(batch.items.len() as u64),
        }
    }

    /// Applies the function to the items.
    pub(super) fn run(self) -> Chunk<F::Out> {
        match self {
            ChunkTask::One(item, f) => {
                let _running = f.begin();
                Chunk::One(f.apply(item))
            }
            ChunkTask::Many(mut batch, f) => {
                let _running = f.begin();
                let mut results = Vec::with_capacity(batch.items.len());
                while let Some(item) = batch.items.next() {
                    let result = unwind::catch(|| f.apply(item));
                    match result {
                        Ok(_) => batch.count(|counters| &counters.completed, 1),
                        Err(_) => batch.count(|counters| &counters.failed, 1),
                    }
                    results.push(result);
                }
                Chunk::Many(results)
            }
        }
    }
}
