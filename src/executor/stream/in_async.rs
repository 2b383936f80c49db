//! Streams that async code consumes. Their items run on the pool only, and no thread waits for them.

use super::chunk::InFlight;
use super::input::{Input, OpenStream, Runner};
use super::source::{PoolSource, SendSource};
use crate::executor::error::JoinError;
use crate::executor::pending::Pending;
use crate::pool::ThreadPool;
use crate::sleep::Event;
use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, poll_fn};
use std::task::{Context, Poll, ready};

impl ThreadPool {
    /// Applies `f` to the items of `input` in parallel, and returns a lazy stream over the results in the order of the input, for async code.
    ///
    /// It does what [`imap`](Self::imap) does, with three differences. [`next`](AsyncImap::next) is a future, so no thread waits for a result. All items run on the
    /// pool's threads. The input must be `Send`, because the code that consumes the stream moves from thread to thread. The input is pulled while `next` is polled,
    /// so it should not block. For a stream of futures, see `stream_map`, with the feature `futures`.
    ///
    /// Dropping the stream cancels the items that have not begun.
    ///
    /// ```
    /// let pool = heist::ThreadPool::new()?;
    /// let mut squares = pool.imap_async(1_u64..=3, |n| n * n);
    /// let sum = pool.submit_async(async move {
    ///     let mut sum = 0;
    ///     while let Some(square) = squares.next().await {
    ///         sum += square.unwrap();
    ///     }
    ///     sum
    /// });
    /// assert_eq!(sum.join().unwrap(), 14);
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn imap_async<I, R, F>(&self, input: I, f: F) -> AsyncImap<R>
    where
        I: IntoIterator<IntoIter: Send + 'static, Item: Send + 'static>,
        R: Send + 'static,
        F: Fn(I::Item) -> R + Send + Sync + 'static,
    {
        AsyncImap {
            input: self.async_input(input, f),
            in_flight: VecDeque::new(),
        }
    }

    /// Applies `f` to the items of `input` in parallel, and returns a lazy stream over the results in the order in which the items finish, each with the index of its
    /// item, for async code.
    ///
    /// It differs from [`imap_unordered`](Self::imap_unordered) as [`imap_async`](Self::imap_async) does from [`imap`](Self::imap).
    ///
    /// ```
    /// let pool = heist::ThreadPool::new()?;
    /// let mut lengths = pool.imap_unordered_async(["a", "bb"], str::len);
    /// let letters = heist::block_on(async {
    ///     let mut letters = 0;
    ///     while let Some((_, len)) = lengths.next().await {
    ///         letters += len.unwrap();
    ///     }
    ///     letters
    /// });
    /// assert_eq!(letters, 3);
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn imap_unordered_async<I, R, F>(&self, input: I, f: F) -> AsyncImapUnordered<R>
    where
        I: IntoIterator<IntoIter: Send + 'static, Item: Send + 'static>,
        R: Send + 'static,
        F: Fn(I::Item) -> R + Send + Sync + 'static,
    {
        AsyncImapUnordered {
            input: self.async_input(input, f),
            in_flight: Pending::default(),
        }
    }

    fn async_input<I, R, F>(&self, input: I, f: F) -> AsyncInput<R>
    where
        I: IntoIterator<IntoIter: Send + 'static, Item: Send + 'static>,
        R: Send + 'static,
        F: Fn(I::Item) -> R + Send + Sync + 'static,
    {
        let stream = OpenStream::new(self.clone());
        let source = PoolSource::new(self, stream.queue(), input.into_iter(), f);
        let mut input: AsyncInput<R> = Input::new(Box::new(source), Runner::Pool(stream));
        input.on_workers = true;
        input.is_async = true;
        input
    }
}

type AsyncInput<R> = Input<'static, R, SendSource<'static, R>>;

/// The options of one kind of stream, and what the two kinds have in common.
macro_rules! async_stream {
    ($stream:ident, $like:literal, $item:ty) => {
        impl<R> $stream<R> {
            #[doc = concat!("Sets how many items may be pulled and not given out. See [`", $like, "::window`](crate::", $like, "::window).")]
            pub fn window(mut self, items: usize) -> Self {
                self.input.window = Some(items.max(1));
                self
            }

            #[doc = concat!("Sets how many items one task takes. See [`", $like, "::chunk`](crate::", $like, "::chunk).")]
            pub fn chunk(mut self, items: usize) -> Self {
                self.input.chunk = items.max(1);
                self
            }

            /// Returns a future of the next result, or of `None` at the end. It can be dropped at any time without the loss of a result.
            #[expect(
                clippy::should_implement_trait,
                reason = "it is the method of a stream, which is no iterator"
            )]
            pub fn next(&mut self) -> impl Future<Output = Option<$item>> {
                poll_fn(|context| self.poll_next_result(context))
            }
        }

        impl<R> fmt::Debug for $stream<R> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($stream))
                    .field("pulled", &self.input.pulled)
                    .field("alive", &self.input.unreturned)
                    .finish_non_exhaustive()
            }
        }
    };
}

async_stream!(AsyncImap, "Imap", Result<R, JoinError>);
async_stream!(
    AsyncImapUnordered,
    "ImapUnordered",
    (usize, Result<R, JoinError>)
);

/// A stream of the results of [`ThreadPool::imap_async`]. With the feature `futures` it implements `Stream`.
#[must_use = "streams are lazy: nothing is pulled or run until `next` is polled"]
pub struct AsyncImap<R> {
    input: AsyncInput<R>,
    in_flight: VecDeque<InFlight<R>>,
}

impl<R> AsyncImap<R> {
    pub(crate) fn poll_next_result(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<R, JoinError>>> {
        loop {
            if let Some((_, result)) = self.input.take() {
                return Poll::Ready(Some(result));
            }
            self.input.fill(|chunk| {
                self.in_flight.extend(chunk);
                let first = self.in_flight.front();
                first.is_some_and(|first| first.handle.is_finished())
            });
            let Some(first) = self.in_flight.front() else {
                return Poll::Ready(None);
            };
            ready!(first.handle.poll_finished(context));
            if let Some(chunk) = self.in_flight.pop_front() {
                chunk.unpack(&mut self.input.unpacked);
            }
        }
    }
}

impl<R> Drop for AsyncImap<R> {
    fn drop(&mut self) {
        for chunk in self.in_flight.drain(..) {
            chunk.handle.cancel();
        }
    }
}

/// A stream of the results of [`ThreadPool::imap_unordered_async`]. With the feature `futures` it implements `Stream`.
#[must_use = "streams are lazy: nothing is pulled or run until `next` is polled"]
pub struct AsyncImapUnordered<R> {
    input: AsyncInput<R>,
    in_flight: Pending<InFlight<R>>,
}

impl<R> AsyncImapUnordered<R> {
    pub(crate) fn poll_next_result(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<(usize, Result<R, JoinError>)>> {
        loop {
            if let Some(outcome) = self.input.take() {
                return Poll::Ready(Some(outcome));
            }
            self.input.fill(|chunk| {
                chunk
                    .into_iter()
                    .for_each(|chunk| self.in_flight.push(chunk));
                self.in_flight.arrivals.is_set()
            });
            match ready!(self.in_flight.poll_finished(context)) {
                Some((_, chunk)) => chunk.unpack(&mut self.input.unpacked),
                None => return Poll::Ready(None),
            }
        }
    }
}

impl<R> Drop for AsyncImapUnordered<R> {
    fn drop(&mut self) {
        for chunk in self.in_flight.take_all() {
            chunk.handle.cancel();
        }
    }
}
