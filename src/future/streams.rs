//! Streams, of the crate `futures-core`.

use crate::executor::{
    self, AbortOnDrop, AsCompleted, AsyncImap, AsyncImapUnordered, JoinError, JoinSet,
};
use futures_core::Stream;
use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

impl<T> AsCompleted<T> {
    /// Converts the iterator into a stream that yields the same. With the feature `futures`.
    ///
    /// The iterator is no stream itself, because the methods of both have the same names.
    pub fn into_stream(self) -> CompletedStream<T> {
        CompletedStream(self)
    }
}

/// The stream of [`AsCompleted::into_stream`].
#[derive(Debug)]
#[must_use = "a stream does nothing until it is polled"]
pub struct CompletedStream<T>(AsCompleted<T>);

impl<T> Unpin for CompletedStream<T> {}

impl<T> Stream for CompletedStream<T> {
    type Item = (usize, Result<T, JoinError>);

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next_task(context)
    }
}

/// Yields what [`JoinSet::next`] returns, and ends while the set is empty. With the feature `futures`.
impl<T> Stream for JoinSet<T> {
    type Item = Result<T, JoinError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_next_task(context)
    }
}

/// What both kinds of stream have in common: the input, and how its items become futures.
struct Input<S, F> {
    /// `None` once the input has ended.
    stream: Option<Pin<Box<S>>>,
    limit: usize,
    f: F,
}

impl<S: Stream, F> Input<S, F> {
    fn new(stream: S, limit: usize, f: F) -> Self {
        assert!(
            limit > 0,
            "heist: stream_map with a limit of 0 would begin nothing: give at least 1"
        );
        let stream = Some(Box::pin(stream));
        Input { stream, limit, f }
    }

    /// Returns the next future if the input has an item and fewer than the limit are under way.
    fn next<Fut>(&mut self, under_way: usize, context: &mut Context<'_>) -> Option<Fut>
    where
        F: FnMut(S::Item) -> Fut,
    {
        if under_way >= self.limit {
            return None;
        }
        match self.stream.as_mut()?.as_mut().poll_next(context) {
            Poll::Ready(Some(item)) => Some((self.f)(item)),
            Poll::Ready(None) => {
                self.stream = None;
                None
            }
            Poll::Pending => None,
        }
    }
}

/// Applies `f` to each item of `stream`, runs the futures on the pool of the current thread or the
/// [`global`](crate::global) one, at most `limit` at a time, and yields their results in the order of the
/// items. With the feature `futures`.
///
/// The input is polled only when there is room. A panic of a future is that item's error. Dropping the stream
/// cancels what is under way.
///
/// # Panics
///
/// Panics if `limit` is 0.
///
/// ```
/// use futures::StreamExt;
/// let squares = heist::stream_map(futures::stream::iter(0..5), 2, |n| async move { n * n });
/// let squares: Vec<_> = heist::block_on(squares.map(Result::unwrap).collect());
/// assert_eq!(squares, [0, 1, 4, 9, 16]);
/// ```
pub fn stream_map<S, F, Fut>(stream: S, limit: usize, f: F) -> StreamMap<S, F, Fut::Output>
where
    S: Stream,
    F: FnMut(S::Item) -> Fut,
    Fut: Future + Send + 'static,
    Fut::Output: Send + 'static,
{
    StreamMap {
        input: Input::new(stream, limit, f),
        under_way: VecDeque::new(),
    }
}

/// Applies `f` to each item of `stream` as [`stream_map`] does, and yields the results in the order in which the
/// futures end. With the feature `futures`.
///
/// # Panics
///
/// Panics if `limit` is 0.
pub fn stream_map_unordered<S, F, Fut>(
    stream: S,
    limit: usize,
    f: F,
) -> StreamMapUnordered<S, F, Fut::Output>
where
    S: Stream,
    F: FnMut(S::Item) -> Fut,
    Fut: Future + Send + 'static,
    Fut::Output: Send + 'static,
{
    StreamMapUnordered {
        input: Input::new(stream, limit, f),
        under_way: executor::as_completed([]),
    }
}

/// The stream of [`stream_map`].
#[must_use = "a stream does nothing until it is polled"]
pub struct StreamMap<S, F, T> {
    input: Input<S, F>,
    under_way: VecDeque<AbortOnDrop<T>>,
}

impl<S, F, T> Unpin for StreamMap<S, F, T> {}

impl<S, F, Fut> Stream for StreamMap<S, F, Fut::Output>
where
    S: Stream,
    F: FnMut(S::Item) -> Fut,
    Fut: Future + Send + 'static,
    Fut::Output: Send + 'static,
{
    type Item = Result<Fut::Output, JoinError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        while let Some(future) = this.input.next(this.under_way.len(), context) {
            let handle = executor::submit_async(future);
            this.under_way.push_back(handle.abort_on_drop());
        }
        let Some(first) = this.under_way.front_mut() else {
            return match this.input.stream {
                None => Poll::Ready(None),
                Some(_) => Poll::Pending,
            };
        };
        let polled = Pin::new(first).poll(context);
        if polled.is_ready() {
            this.under_way.pop_front();
        }
        polled.map(Some)
    }
}

impl<S, F, T> fmt::Debug for StreamMap<S, F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamMap").finish_non_exhaustive()
    }
}

/// The stream of [`stream_map_unordered`].
#[must_use = "a stream does nothing until it is polled"]
pub struct StreamMapUnordered<S, F, T> {
    input: Input<S, F>,
    under_way: AsCompleted<T>,
}

impl<S, F, T> Unpin for StreamMapUnordered<S, F, T> {}

impl<S, F, Fut> Stream for StreamMapUnordered<S, F, Fut::Output>
where
    S: Stream,
    F: FnMut(S::Item) -> Fut,
    Fut: Future + Send + 'static,
    Fut::Output: Send + 'static,
{
    type Item = Result<Fut::Output, JoinError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        while let Some(future) = this.input.next(this.under_way.len(), context) {
            this.under_way.push(executor::submit_async(future));
        }
        match this.under_way.poll_next_task(context) {
            Poll::Ready(Some((_, result))) => Poll::Ready(Some(result)),
            Poll::Ready(None) if this.input.stream.is_none() => Poll::Ready(None),
            _ => Poll::Pending,
        }
    }
}

impl<S, F, T> Drop for StreamMapUnordered<S, F, T> {
    fn drop(&mut self) {
        self.under_way.cancel_all();
    }
}

impl<S, F, T> fmt::Debug for StreamMapUnordered<S, F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamMapUnordered").finish_non_exhaustive()
    }
}

/// Yields what [`AsyncImap::next`] returns. With the feature `futures`.
impl<R> Stream for AsyncImap<R> {
    type Item = Result<R, JoinError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_next_result(context)
    }
}

impl<R> Unpin for AsyncImap<R> {}

/// Yields what [`AsyncImapUnordered::next`] returns. With the feature `futures`.
impl<R> Stream for AsyncImapUnordered<R> {
    type Item = (usize, Result<R, JoinError>);

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_next_result(context)
    }
}

impl<R> Unpin for AsyncImapUnordered<R> {}
