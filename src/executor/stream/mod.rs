//! Streams: maps with a lazy input, a bounded number of items under way, and results that are computed as they are asked for.
//!
//! The consumer's `next` pulls and submits items until the window is full or a result is there. Then it waits for the result that it returns. If no thread has
//! begun that item, `next` runs it. Nothing but `next` pulls the input, so the input stays on the consumer's thread. Between two calls the workers only run what
//! is submitted already.
//!
//! Items that take less time than their hand-over to another thread are not submitted. They are *raw*: the consumer pulls them until the window is full, and each `next`
//! runs the first one in place. Other threads can make tasks of them at any time. See [`raw`].
//!
//! The consumer of a stream that stays [on workers](Imap::on_workers) runs items only if it is a thread of the pool. Once the pool's threads have ended,
//! nobody else takes the items of a scope, so a consumer outside checks for that every 50 ms.

mod chunk;
mod in_async;
mod input;
mod raw;
mod source;

use super::error::JoinError;
use super::pending::Pending;
use super::state::UNCOUNTED;
use super::timer::deadline_after;
use crate::fork::Scope;
use crate::pool::{ThreadPool, global};
use crate::sleep::Event;
use crate::sync::Arc;
use chunk::{InFlight, Plain, pull};
use input::{Input, OpenStream, Runner, WaitMode, acts_in_pool};
use source::PoolSource;
use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

pub use in_async::{AsyncImap, AsyncImapUnordered};

/// # Streams
///
/// A stream maps an input that is long, slow or larger than the memory. It pulls items only as results are asked for, and holds at most a
/// [window](Imap::window) of them at a time. To map what is in memory already, use [`map`](Self::map), which is faster.
impl ThreadPool {
    /// Applies `f` to the items of `input` in parallel, and returns a lazy iterator over the results in the order of the input.
    ///
    /// Use [`imap_unordered`](Self::imap_unordered) to get each result as soon as it is there. Nothing happens until
    /// [`next`](Iterator::next) is called. Then the calling thread pulls the input, so `input` may be infinite and need not be `Send`. A
    /// panic of `f` is the error of its item, and the stream continues. Dropping the stream cancels the items that have not begun.
    ///
    /// If no thread has begun the item that `next` waits for, `next` runs `f` itself. The thread-locals that
    /// [`on_thread_start`](crate::ThreadPoolBuilder::on_thread_start) sets are missing there, unless the consumer is a worker of this pool.
    /// Use [`on_workers`](Imap::on_workers) for an `f` that needs them.
    ///
    /// If the pool has a [`queue_capacity`](crate::ThreadPoolBuilder::queue_capacity), a full queue counts as a full window, even with
    /// [`WhenFull::Reject`](crate::WhenFull::Reject): no item is refused.
    ///
    /// # Blocking
    ///
    /// This method does not wait. [`Imap`] says what `next` waits for.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = heist::ThreadPool::new()?;
    /// let mut squares = pool.imap(0_u64.., |n| n * n);
    /// assert_eq!(squares.next().unwrap().unwrap(), 0);
    /// assert_eq!(squares.next().unwrap().unwrap(), 1);
    /// assert_eq!(squares.next().unwrap().unwrap(), 4);
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    ///
    /// # Streams in a row
    ///
    /// A stream is an iterator, so it can be the input of another one. The second `f` then gets the `Result`s of the first stream and
    /// passes their errors on, so that each error comes out in the place of its item. The items under way are at most both windows
    /// together. Dropping the last stream cancels what has not begun in both.
    ///
    /// ```
    /// type Failure = Box<dyn std::error::Error + Send + Sync>;
    /// let pool = heist::ThreadPool::new()?;
    /// let numbers = pool.imap(["8", "4", "x", "2"], |text| text.parse::<u64>()).window(2);
    /// // The first `?` passes on a panic of the first stage, the second one an error that it returned.
    /// let quotients = pool.imap(numbers, |number| -> Result<u64, Failure> { Ok(64 / number??) }).window(2);
    /// // `quotient?` passes on a panic of the second stage.
    /// let results: Vec<Result<u64, Failure>> = quotients.map(|quotient| -> Result<u64, Failure> { quotient? }).collect();
    /// assert_eq!(*results[0].as_ref().unwrap(), 8);
    /// assert_eq!(*results[1].as_ref().unwrap(), 16);
    /// assert!(results[2].as_ref().unwrap_err().to_string().contains("invalid digit"));
    /// assert_eq!(*results[3].as_ref().unwrap(), 32);
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    ///
    /// To stop at the first error in the order of the input, collect into a `Result<Vec<_>, Failure>`, or leave a loop with `?`. Both drop
    /// the streams.
    pub fn imap<'a, I, R, F>(&self, input: I, f: F) -> Imap<'a, R>
    where
        I: IntoIterator<IntoIter: 'a, Item: Send + 'static>,
        R: Send + 'static,
        F: Fn(I::Item) -> R + Send + Sync + 'static,
    {
        Imap::new(self.input(input, f))
    }

    /// Applies `f` to the items of `input` in parallel, and returns a lazy iterator over the results in the order in which the items
    /// finish, each with the index of its item.
    ///
    /// Use [`imap`](Self::imap) to get the results in the order of the input.
    ///
    /// # Blocking
    ///
    /// This method does not wait. [`next`](Iterator::next) waits for the first item that finishes.
    ///
    /// - Inside a task, and on a pool's own threads, `next` leaves the items to other threads as [`AsCompleted`](crate::AsCompleted) does, and
    ///   runs one itself only if no other thread can.
    /// - On any other thread, `next` takes part in the work: if there is no result and an item has not begun, it runs that item,
    ///   and returns when that item has finished, even if others finish earlier. Use [`on_workers`](ImapUnordered::on_workers) if one
    ///   slow item must not delay the consumer.
    ///
    /// ```
    /// let pool = heist::ThreadPool::new()?;
    /// let mut lengths: Vec<_> = pool.imap_unordered(["a", "bb", "ccc"], str::len).map(|(index, len)| (index, len.unwrap())).collect();
    /// lengths.sort();
    /// assert_eq!(lengths, [(0, 1), (1, 2), (2, 3)]);
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn imap_unordered<'a, I, R, F>(&self, input: I, f: F) -> ImapUnordered<'a, R>
    where
        I: IntoIterator<IntoIter: 'a, Item: Send + 'static>,
        R: Send + 'static,
        F: Fn(I::Item) -> R + Send + Sync + 'static,
    {
        ImapUnordered::new(self.input(input, f))
    }

    fn input<'a, I, R, F>(&self, input: I, f: F) -> Input<'a, R>
    where
        I: IntoIterator<IntoIter: 'a, Item: Send + 'static>,
        R: Send + 'static,
        F: Fn(I::Item) -> R + Send + Sync + 'static,
    {
        let stream = OpenStream::new(self.clone());
        let source = PoolSource::new(self, stream.queue(), input.into_iter(), f);
        source.register();
        Input::new(Box::new(source), Runner::Pool(stream))
    }
}

/// Maps `input` lazily and in order, as [`ThreadPool::imap`] does, on the pool of the current thread or the [`global`] one.
///
/// ```
/// let squares: Result<Vec<u64>, _> = heist::imap(0..4_u64, |n| n * n).collect();
/// assert_eq!(squares.unwrap(), [0, 1, 4, 9]);
/// ```
pub fn imap<'a, I, R, F>(input: I, f: F) -> Imap<'a, R>
where
    I: IntoIterator<IntoIter: 'a, Item: Send + 'static>,
    R: Send + 'static,
    F: Fn(I::Item) -> R + Send + Sync + 'static,
{
    let current = ThreadPool::current();
    current.as_ref().unwrap_or_else(|| global()).imap(input, f)
}

impl<'scope> Scope<'scope> {
    /// Maps `input` lazily and in order, as [`ThreadPool::imap`] does. Items, results and `f` may borrow what outlives the scope.
    ///
    /// The items are tasks of the scope: the scope waits for those that have begun, and a full queue does not hold them back.
    ///
    /// ```
    /// let names = vec!["ada".to_string(), "grace".to_string()];
    /// let lengths: Vec<usize> = heist::scope(|s| s.imap(&names, |name| name.len()).map(Result::unwrap).collect());
    /// assert_eq!(lengths, [3, 5]);
    /// ```
    pub fn imap<'a, I, R, F>(&'a self, input: I, f: F) -> Imap<'a, R>
    where
        I: IntoIterator<IntoIter: 'a, Item: Send + 'scope>,
        R: Send + 'scope,
        F: Fn(I::Item) -> R + Send + Sync + 'scope,
    {
        Imap::new(self.input(input, f))
    }

    /// Maps `input` lazily in the order in which the items finish, as [`ThreadPool::imap_unordered`] does. Items, results and `f` may
    /// borrow what outlives the scope.
    ///
    /// The items are tasks of the scope: the scope waits for those that have begun, and a full queue does not hold them back.
    ///
    /// ```
    /// let names = vec!["ada".to_string(), "grace".to_string()];
    /// let letters: usize = heist::scope(|s| s.imap_unordered(&names, |name| name.len()).map(|(_, len)| len.unwrap()).sum());
    /// assert_eq!(letters, 8);
    /// ```
    pub fn imap_unordered<'a, I, R, F>(&'a self, input: I, f: F) -> ImapUnordered<'a, R>
    where
        I: IntoIterator<IntoIter: 'a, Item: Send + 'scope>,
        R: Send + 'scope,
        F: Fn(I::Item) -> R + Send + Sync + 'scope,
    {
        ImapUnordered::new(self.input(input, f))
    }

    fn input<'a, I, R, F>(&'a self, input: I, f: F) -> Input<'a, R>
    where
        I: IntoIterator<IntoIter: 'a, Item: Send + 'scope>,
        R: Send + 'scope,
        F: Fn(I::Item) -> R + Send + Sync + 'scope,
    {
        let (mut input, f) = (input.into_iter(), Arc::new(Plain(f)));
        let submit = move |n, _| {
            pull(&mut input, n, &f, self.registry(), |task| {
                let items = task.self_counted();
                let flags = items.map_or(0, |_| UNCOUNTED);
                let handle = self.submit_as(flags, items.unwrap_or(1), move |_| task.run());
                handle.into_inner()
            })
        };
        Input::new(Box::new(submit), Runner::Scope(self.registry()))
    }
}

/// The constructor and the options of one kind of stream: its name, the method that makes it, and the pattern of its items, the latter two for examples.
macro_rules! stream_methods {
    ($stream:ident, $method:literal, $item:literal) => {
        impl<'a, R> $stream<'a, R> {
            fn new(input: Input<'a, R>) -> Self {
                let in_flight = Default::default();
                $stream { input, in_flight }
            }

            /// Sets how many items may be pulled and not given out, at least 1. The default is four times the number of the pool's workers.
            ///
            /// A larger window keeps the workers busy if items differ in cost, a smaller one saves memory. [`usize::MAX`] means no limit.
            ///
            /// ```
            /// let pool = heist::ThreadPool::new()?;
            #[doc = concat!("let mut lines = pool.", $method, "([\"a\", \"bb\", \"ccc\"], str::len).window(2);")]
            /// assert!(lines.next().is_some());
            /// # Ok::<(), heist::BuildError>(())
            /// ```
            pub fn window(mut self, items: usize) -> Self {
                self.input.window = Some(items.max(1));
                self
            }

            /// Sets how many items one task takes, at least 1 and at most the window. The default is 1.
            ///
            /// Use it for items that take less than a microsecond, for which a task each would cost too much. A chunk is pulled as a whole: a chunk of
            /// [`usize::MAX`] items in a window without a limit is the whole input.
            ///
            /// ```
            /// let pool = heist::ThreadPool::new()?;
            #[doc = concat!("let lengths = pool.", $method, "(0..1000, |n| n % 10).window(256).chunk(64);")]
            /// assert_eq!(lengths.count(), 1000);
            /// # Ok::<(), heist::BuildError>(())
            /// ```
            pub fn chunk(mut self, items: usize) -> Self {
                self.input.chunk = items.max(1);
                self
            }

            /// Limits the time of the whole stream, counted from this call.
            ///
            /// If the time limit expires before the stream ends, the stream ends with one error that [is a time-out](JoinError::is_timeout), and
            /// the items that have not begun are cancelled. While there is a limit, `next` runs no item itself, because that could take
            /// longer. To limit each task instead, use [`deadline`](crate::TaskBuilder::deadline).
            ///
            /// ```
            /// use std::time::Duration;
            /// let pool = heist::ThreadPool::new()?;
            #[doc = concat!("let mut stream = pool.", $method, "([1, 2, 3], |n| n).timeout(Duration::from_secs(60));")]
            /// assert_eq!(stream.by_ref().count(), 3);
            /// assert!(!stream.timed_out());
            /// # Ok::<(), heist::BuildError>(())
            /// ```
            pub fn timeout(mut self, timeout: Duration) -> Self {
                self.input.deadline = deadline_after(timeout);
                self
            }

            /// Runs `f` only on the pool's own threads: on its workers, and on [spare threads](crate::ThreadPoolBuilder::spare_threads), which
            /// replace workers that wait and do not call [`on_thread_start`](crate::ThreadPoolBuilder::on_thread_start).
            ///
            /// Use it if `f` needs thread-locals of the workers or their stack size. A consumer that is not a thread of the pool then sleeps
            /// while it waits. A consumer that is one still runs items, so that a pool of one thread does not wait for itself. A full queue
            /// counts as a full window even with [`WhenFull::CallerRuns`](crate::WhenFull::CallerRuns).
            ///
            /// Other threads run items in these cases only:
            ///
            /// - The system gives the pool no thread. The thread that submits an item then runs it, as with any task.
            /// - A worker consumes the stream deep in its stack or while it unwinds, and no other thread of the pool takes the item. A new
            ///   thread then runs it on a fresh stack.
            /// - The stream belongs to a [`Scope`], and another thread than that of the scope's body consumes it. The thread that waits at the
            ///   end of the scope then runs the scope's remaining tasks, except in [`scope_on_workers`](ThreadPool::scope_on_workers).
            /// - The stream belongs to a [`Scope`], and a shutdown has ended the pool's threads. The consumer then runs the items.
            /// - A guest calls [`yield_now`](crate::yield_now), or waits for something else in a pool that was built with
            ///   [`Waits::Any`](crate::Waits::Any).
            ///
            /// # Blocking
            ///
            /// A consumer outside the pool needs a free thread of the pool, as a call of [`run`](ThreadPool::run) does. If the only workers of
            /// two pools without spare threads consume each other's streams in this way, both wait forever.
            ///
            /// ```
            /// use std::cell::Cell;
            /// thread_local! {
            ///     static INDEX: Cell<Option<usize>> = const { Cell::new(None) };
            /// }
            /// let builder = heist::ThreadPool::builder().num_threads(2).spare_threads(0);
            /// let pool = builder.on_thread_start(|index| INDEX.set(Some(index))).build()?;
            #[doc = concat!("let mut stream = pool.", $method, "(0..100, |_| INDEX.get().is_some()).on_workers();")]
            #[doc = concat!("assert!(stream.all(|", $item, "| set.unwrap()));")]
            /// # Ok::<(), heist::BuildError>(())
            /// ```
            pub fn on_workers(mut self) -> Self {
                self.input.on_workers = true;
                self
            }

            /// Returns whether the stream ended because its time was over. See [`timeout`](Self::timeout).
            pub fn timed_out(&self) -> bool {
                self.input.timed_out
            }
        }

        impl<R> Drop for $stream<'_, R> {
            fn drop(&mut self) {
                self.cancel();
            }
        }

        impl<R> fmt::Debug for $stream<'_, R> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($stream))
                    .field("pulled", &self.input.pulled)
                    .field("alive", &self.input.unreturned)
                    .finish_non_exhaustive()
            }
        }
    };
}

stream_methods!(Imap, "imap", "set");
stream_methods!(ImapUnordered, "imap_unordered", "(_, set)");

/// An iterator over the results of a stream, in the order of the input. See [`ThreadPool::imap`].
///
/// Its methods set options, and are called before the first `next`. Dropping it cancels the items that have not begun.
///
/// # Blocking
///
/// `next` waits for the next result. Unless the stream stays [on workers](Self::on_workers), it runs the item itself if no other thread has begun it.
///
/// # Panics
///
/// `next` panics if the input does, and the stream pulls nothing more afterwards.
#[must_use = "iterators are lazy: nothing is pulled or run until `next`"]
pub struct Imap<'a, R> {
    input: Input<'a, R>,
    in_flight: VecDeque<InFlight<R>>,
}

impl<R> Imap<'_, R> {
    fn next_result(&mut self) -> Option<Result<R, JoinError>> {
        loop {
            if let Some((_, result)) = self.input.take() {
                return Some(result);
            }
            self.input.fill(|chunk| {
                self.in_flight.extend(chunk);
                let first = self.in_flight.front();
                first.is_some_and(|first| first.handle.task().state.is_finished())
            });
            let Some(first) = self.in_flight.front() else {
                if self.input.raw == 0 {
                    return self.input.cut_short().map(Err);
                }
                if let Some((_, result)) = self.input.run_raw(false) {
                    return Some(result);
                }
                self.in_flight.extend(self.input.adopt());
                continue;
            };
            if !first.handle.task().state.is_finished() {
                self.input.runner.registry().check_fork();
                if self.input.raw > 0 && !first.handle.task().state.is_queued() {
                    // The consumer is about to wait for another thread. In the meantime others can run the items.
                    self.input.submit_raw();
                }
                if !self.input.wait_for(&first.handle) {
                    let error = self.input.time_out(first.handle.id());
                    self.cancel();
                    return Some(Err(error));
                }
            }
            if let Some(chunk) = self.in_flight.pop_front() {
                chunk.unpack(&mut self.input.unpacked);
            }
        }
    }

    fn cancel(&mut self) {
        self.in_flight.extend(self.input.adopt_all());
        for chunk in self.in_flight.drain(..) {
            chunk.handle.cancel();
        }
    }
}

impl<R> Iterator for Imap<'_, R> {
    type Item = Result<R, JoinError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.in_flight.is_empty()
            && self.input.unpacked.is_empty()
            && self.input.leaves_raw()
            && let Some((_, result)) = self.input.next_raw()
        {
            return Some(result);
        }
        self.input.enter();
        let result = self.next_result();
        self.input.leave();
        result
    }
}

/// An iterator over the results of a stream, in the order in which the items finish, each with its index in the input. See
/// [`ThreadPool::imap_unordered`].
///
/// Its methods set options, and are called before the first `next`. Dropping it cancels the items that have not begun.
///
/// # Blocking
///
/// `next` waits until an item has finished. [`ThreadPool::imap_unordered`] says when it runs one itself.
///
/// # Panics
///
/// `next` panics if the input does, and the stream pulls nothing more afterwards.
#[must_use = "iterators are lazy: nothing is pulled or run until `next`"]
pub struct ImapUnordered<'a, R> {
    input: Input<'a, R>,
    in_flight: Pending<InFlight<R>>,
}

impl<R> ImapUnordered<'_, R> {
    fn next_result(&mut self) -> Option<(usize, Result<R, JoinError>)> {
        loop {
            if let Some(outcome) = self.input.take() {
                return Some(outcome);
            }
            self.input.shares_all = acts_in_pool();
            self.input.fill(|chunk| {
                chunk
                    .into_iter()
                    .for_each(|chunk| self.in_flight.push(chunk));
                self.in_flight.arrivals.is_set()
            });
            if let Some((_, chunk)) = self.in_flight.take_finished() {
                chunk.unpack(&mut self.input.unpacked);
            } else if self.input.raw > 0 && self.in_flight.oldest().is_none() {
                if let Some(outcome) = self.input.run_raw(false) {
                    return Some(outcome);
                }
                let chunks = self.input.adopt();
                chunks.for_each(|chunk| self.in_flight.push(chunk));
            } else if self.in_flight.is_empty() {
                let index = self.input.pulled;
                return self.input.cut_short().map(|error| (index, Err(error)));
            } else {
                self.input.runner.registry().check_fork();
                if !self.wait() {
                    let oldest = self.in_flight.items().min_by_key(|chunk| chunk.first)?;
                    let (index, id) = (oldest.first, oldest.handle.id());
                    self.cancel();
                    return Some((index, Err(self.input.time_out(id))));
                }
            }
        }
    }

    /// Performs one step of a wait for a finished chunk. Returns false if the deadline has passed.
    fn wait(&mut self) -> bool {
        let (input, in_flight) = (&self.input, &mut self.in_flight);
        match input.wait_mode() {
            WaitMode::Idle => return in_flight.block(input.deadline),
            WaitMode::OutsideOnWorkers => {
                let arrivals = Arc::clone(&in_flight.arrivals);
                input.wait_outside(&*arrivals, || in_flight.oldest().cloned());
            }
            WaitMode::Helping(until) if acts_in_pool() => {
                let in_time = in_flight.wait(until, None);
                input.drop_dead();
                return in_time;
            }
            WaitMode::Helping(_) => {
                if let Some(oldest) = in_flight.oldest() {
                    input.run(oldest);
                }
                input.await_others(&*in_flight.arrivals);
                let in_time = in_flight.block(None);
                // The input may be pulled before the next item is run or awaited.
                input.end_wait();
                return in_time;
            }
        }
        true
    }

    fn cancel(&mut self) {
        let chunks = self.input.adopt_all();
        chunks.for_each(|chunk| self.in_flight.push(chunk));
        for chunk in self.in_flight.take_all() {
            chunk.handle.cancel();
        }
    }
}

impl<R> Iterator for ImapUnordered<'_, R> {
    type Item = (usize, Result<R, JoinError>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.in_flight.is_empty()
            && self.input.unpacked.is_empty()
            && !acts_in_pool()
            && self.input.leaves_raw()
            && let Some(outcome) = self.input.next_raw()
        {
            return Some(outcome);
        }
        self.input.enter();
        let result = self.next_result();
        self.input.leave();
        result
    }
}
