//! Where the items of a stream come from: the input with the function, and how they are submitted or run.

use super::chunk::{Chunk, Queued, pull};
use super::raw::RawQueue;
use crate::executor::error::JoinError;
use crate::executor::handle::JoinHandle;
use crate::executor::options::IfFull;
use crate::executor::submit::submit_chunk;
use crate::pool::{RawItems, StreamQueue, ThreadPool, context, worker};
use crate::sync::Arc;

/// The input of a stream and its function.
pub(super) trait Source<R> {
    /// Takes at most `n` items, submits them as one task, and returns its handle and the number of items. `if_full` says what happens if the pool's queue is full.
    fn submit(&mut self, n: usize, if_full: IfFull) -> Option<(JoinHandle<Chunk<R>>, usize)>;

    /// Takes an item and leaves it raw. Returns false at the end of the input. Called for streams that have a queue, as the other methods are.
    fn add_raw(&mut self) -> bool {
        false
    }

    /// Takes an item if `pulls`, and runs the first raw one. Returns whether an item was taken, and the result, or `None` if there is no raw item.
    fn run_raw(&mut self, pulls: bool) -> (bool, Option<Result<R, JoinError>>) {
        let _ = pulls;
        (false, None)
    }

    /// Returns the handles of raw items that were submitted, in their order.
    fn take_submitted(&mut self) -> Vec<JoinHandle<Chunk<R>>> {
        Vec::new()
    }
}

/// A source without raw items.
impl<R, P> Source<R> for P
where
    P: FnMut(usize, IfFull) -> Option<(JoinHandle<Chunk<R>>, usize)>,
{
    fn submit(&mut self, n: usize, if_full: IfFull) -> Option<(JoinHandle<Chunk<R>>, usize)> {
        self(n, if_full)
    }
}

/// A [`Source`] that may move to another thread.
pub(super) type SendSource<'a, R> = dyn Source<R> + Send + 'a;

/// The input of a stream of a pool, and its function.
pub(super) struct PoolSource<I: Iterator, R, F> {
    input: I,
    f: Arc<Queued<F>>,
    pool: ThreadPool,
    raw: Arc<RawQueue<I::Item, R, F>>,
    /// The number of the guest slot that the consumer has reserved, if it runs raw items on a thread from outside.
    reserved: Option<usize>,
}

impl<I: Iterator, R, F> PoolSource<I, R, F> {
    /// Gives back the slot that the consumer has reserved.
    fn return_guest(&mut self) {
        let registry = self.pool.registry();
        if let Some(id) = self.reserved.take()
            && !registry.forked()
        {
            registry.return_guest(id);
        }
    }
}

impl<I: Iterator, R, F> Drop for PoolSource<I, R, F> {
    fn drop(&mut self) {
        self.return_guest();
    }
}

impl<I, R, F> PoolSource<I, R, F>
where
    I: Iterator<Item: Send + 'static>,
    R: Send + 'static,
    F: Fn(I::Item) -> R + Send + Sync + 'static,
{
    pub(super) fn new(pool: &ThreadPool, queue: Arc<StreamQueue>, input: I, f: F) -> Self {
        let f = Arc::new(Queued(f, queue));
        let raw = Arc::new(RawQueue::new(pool.registry(), Arc::clone(&f)));
        let pool = pool.clone();
        PoolSource {
            input,
            f,
            pool,
            raw,
            reserved: None,
        }
    }

    /// Makes it possible for items of the stream to be raw.
    pub(super) fn register(&self) {
        self.f.1.set_raw(Arc::clone(&self.raw) as Arc<dyn RawItems>);
    }
}

impl<I, R, F> Source<R> for PoolSource<I, R, F>
where
    I: Iterator<Item: Send + 'static>,
    R: Send + 'static,
    F: Fn(I::Item) -> R + Send + Sync + 'static,
{
    fn submit(&mut self, n: usize, if_full: IfFull) -> Option<(JoinHandle<Chunk<R>>, usize)> {
        self.return_guest();
        let (pool, queue) = (self.pool.registry(), &self.f.1);
        pull(&mut self.input, n, &self.f, pool, |task| {
            submit_chunk(pool, task.self_counted(), if_full, queue, move || {
                task.run()
            })
        })
    }

    fn add_raw(&mut self) -> bool {
        let registry = self.pool.registry();
        registry.check_fork();
        let item = self.input.next();
        item.map(|item| self.raw.push(registry, context::member_of(registry), item))
            .is_some()
    }

    fn run_raw(&mut self, pulls: bool) -> (bool, Option<Result<R, JoinError>>) {
        let registry = self.pool.registry();
        registry.check_fork();
        let item = if pulls { self.input.next() } else { None };
        let is_pulled = item.is_some();
        let result = match context::member_of(registry) {
            Some(member) => {
                let result = self.raw.run_next(member, item);
                member.look_idle_after_help();
                result
            }
            None => {
                self.reserved = self.reserved.or_else(|| registry.reserve_guest());
                worker::as_consumer(registry, &self.f.1, self.reserved, |member| {
                    self.raw.run_next(member, item)
                })
            }
        };
        (is_pulled, result)
    }

    fn take_submitted(&mut self) -> Vec<JoinHandle<Chunk<R>>> {
        self.raw.take_submitted()
    }
}
