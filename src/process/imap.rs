//! Streams of tasks: chunks in flight, within a window.

use super::backend::Backend;
use super::call::{Call, Chunk, Many};
use super::options::CallOptions;
use super::task::{Task, entry};
use crate::{JoinError, JoinHandle, WaitFor, wait};
use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

/// A chunk takes about so long if its size adapts: much longer than a message, and short enough that the workers end together.
const CHUNK_TIME: Duration = Duration::from_millis(1);

/// The most items of a chunk whose size adapts.
const CHUNK_MAX: usize = 4096;

/// What both streams share: the input, the sizes, and how chunks start.
struct Feed<'a, B: ?Sized, T: Task, I> {
    backend: &'a B,
    inputs: Option<I>,
    task: T,
    /// The most items under way or unread. `None`: four chunks a worker.
    window: Option<usize>,
    /// The size of a chunk, if it was set.
    fixed: Option<usize>,
    /// The size of the next chunk.
    size: usize,
    options: CallOptions,
    /// When the stream ends, if that is limited.
    deadline: Option<Instant>,
    /// The number of items that were taken from the input.
    taken: usize,
}

/// A chunk under way: the index of its first item, their number, and its handle.
struct Sent<R> {
    first: usize,
    items: usize,
    handle: JoinHandle<Chunk<R>>,
}

impl<B, T, I> Feed<'_, B, T, I>
where
    B: Backend + ?Sized,
    T: Task,
    I: Iterator<Item = T::Args>,
{
    /// Starts the next chunk, if there is room beside `unread` items in `chunks` chunks.
    fn start(&mut self, chunks: usize, unread: usize) -> Option<Sent<T::Output>> {
        let (room, chunks_max) = match self.window {
            Some(window) => (window.saturating_sub(unread), usize::MAX),
            None => (usize::MAX, 4 * self.backend.num_workers().max(1)),
        };
        if room == 0 || chunks >= chunks_max {
            return None;
        }
        let hint = self.inputs.as_ref()?.size_hint();
        let wanted = self.fixed.unwrap_or_else(|| self.adapted(hint));
        let wanted = wanted.min(room);
        let inputs = self.inputs.as_mut()?;
        let mut args = Vec::with_capacity(wanted);
        args.extend(inputs.take(wanted));
        if args.len() < wanted {
            self.inputs = None;
        }
        if args.is_empty() {
            return None;
        }
        let (first, items) = (self.taken, args.len());
        self.taken += items;
        let mut work = Many::<T> { args, handle: None };
        self.backend
            .start(Call::new(&mut work, entry::<T>(), &self.options));
        let handle = work.handle.unwrap_or_else(|| crate::promise().1);
        Some(Sent {
            first,
            items,
            handle,
        })
    }

    /// The size of the next chunk. Near the end of an input whose length is known, chunks become smaller. A task with a time limit travels alone.
    fn adapted(&self, hint: (usize, Option<usize>)) -> usize {
        if self.options.timeout.or(T::TIMEOUT).is_some() {
            return 1;
        }
        let fair = match (self.window, hint.1) {
            (Some(window), _) => window / (2 * self.backend.num_workers().max(1)),
            (None, Some(left)) => left / (4 * self.backend.num_workers().max(1)),
            (None, None) => CHUNK_MAX,
        };
        self.size.min(fair).max(1)
    }

    /// Adapts the size to the time that a chunk has run.
    fn note(&mut self, items: usize, time: Duration) {
        let each = time.as_nanos().max(1) / items.max(1) as u128;
        let ideal = (CHUNK_TIME.as_nanos() / each.max(1))
            .try_into()
            .unwrap_or(CHUNK_MAX);
        self.size = ideal.clamp(1, CHUNK_MAX).min(self.size * 8);
    }

    fn is_late(&self) -> bool {
        self.deadline
            .is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// The results of a chunk that has ended. A chunk that was refused or cancelled as a whole has the same error for each item.
    fn results(&mut self, sent: Sent<T::Output>) -> Vec<Result<T::Output, JoinError>> {
        match sent.handle.join() {
            Ok(chunk) => {
                self.note(sent.items, chunk.time);
                chunk.results
            }
            Err(error) => {
                let copies = (1..sent.items).map(|_| Err(error.copy()));
                let mut results: Vec<_> = copies.collect();
                results.push(Err(error));
                results
            }
        }
    }
}

macro_rules! stream_methods {
    ($stream:ident) => {
        impl<'a, B: Backend + ?Sized, T: Task, I: Iterator<Item = T::Args>> $stream<'a, B, T, I> {
            pub(super) fn new(backend: &'a B, task: T, inputs: I) -> Self {
                $stream {
                    feed: Feed {
                        backend,
                        inputs: Some(inputs),
                        task,
                        window: None,
                        fixed: None,
                        size: 1,
                        options: CallOptions::default(),
                        deadline: None,
                        taken: 0,
                    },
                    sent: VecDeque::new(),
                    ready: VecDeque::new(),
                    unread: 0,
                }
            }

            /// Sets how many items are at most under way or finished and unread, at least 1. The default is four
            /// chunks for each worker.
            pub fn window(mut self, items: usize) -> Self {
                self.feed.window = Some(items.max(1));
                self
            }

            /// Sets how many items travel together, at least 1. By default the size follows from how long the
            /// items run: a chunk of cheap ones takes about a millisecond, and costly ones travel alone.
            pub fn chunk(mut self, items: usize) -> Self {
                self.feed.fixed = Some(items.max(1));
                self
            }

            /// Limits the time until the last result, counted from this call. When it has passed, the stream yields one error that
            /// [is a time-out](JoinError::is_timeout), cancels what has not begun, and ends.
            pub fn timeout(mut self, time: Duration) -> Self {
                self.feed.deadline = Instant::now().checked_add(time);
                self
            }

            /// Limits the time of each item, as [`CallBuilder::timeout`](crate::CallBuilder::timeout) does. Each
            /// item then travels alone.
            pub fn item_timeout(mut self, time: Duration) -> Self {
                self.feed.options.timeout = Some(time);
                self
            }

            /// Sets how many times each item may be started. See [`CallBuilder::tries`](crate::CallBuilder::tries).
            pub fn tries(mut self, tries: u32) -> Self {
                self.feed.options.tries = Some(tries.max(1));
                self
            }

            fn refill(&mut self) {
                while let Some(sent) = self.feed.start(self.sent.len(), self.unread) {
                    self.unread += sent.items;
                    self.sent.push_back(sent);
                }
            }

            /// Cancels what has not begun, and ends the stream. Returns the error of the stream.
            fn expire(&mut self) -> JoinError {
                self.feed.inputs = None;
                self.ready.clear();
                for sent in self.sent.drain(..) {
                    sent.handle.cancel();
                }
                let failure = crate::executor::remote::Failure::Timeout;
                JoinError::remote(failure, crate::TaskId::next(), Some(T::NAME.into()))
            }
        }

        impl<B: ?Sized, T: Task, I> Drop for $stream<'_, B, T, I> {
            fn drop(&mut self) {
                for sent in self.sent.drain(..) {
                    sent.handle.cancel();
                }
            }
        }

        impl<B: ?Sized, T: Task, I> fmt::Debug for $stream<'_, B, T, I> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let _ = self.feed.task;
                f.debug_struct(stringify!($stream))
                    .field("taken", &self.feed.taken)
                    .field("unread", &self.unread)
                    .finish_non_exhaustive()
            }
        }
    };
}

/// A stream of results in the order of the inputs. See [`Executor::imap`](crate::Executor::imap).
#[must_use = "a stream does nothing until it is iterated over"]
pub struct TaskImap<'a, B: ?Sized, T: Task, I> {
    feed: Feed<'a, B, T, I>,
    sent: VecDeque<Sent<T::Output>>,
    ready: VecDeque<Result<T::Output, JoinError>>,
    unread: usize,
}

stream_methods!(TaskImap);

impl<B, T, I> Iterator for TaskImap<'_, B, T, I>
where
    B: Backend + ?Sized,
    T: Task,
    I: Iterator<Item = T::Args>,
{
    type Item = Result<T::Output, JoinError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(result) = self.ready.pop_front() {
                self.unread -= 1;
                return Some(result);
            }
            self.refill();
            let first = self.sent.front()?;
            if let Some(deadline) = self.feed.deadline {
                let left = deadline.saturating_duration_since(Instant::now());
                if !first.handle.wait_timeout(left) {
                    return Some(Err(self.expire()));
                }
            }
            let first = self.sent.pop_front()?;
            self.ready.extend(self.feed.results(first));
        }
    }
}

/// A stream of results with the indices of their inputs, as they come. See
/// [`Executor::imap_unordered`](crate::Executor::imap_unordered).
#[must_use = "a stream does nothing until it is iterated over"]
pub struct TaskImapUnordered<'a, B: ?Sized, T: Task, I> {
    feed: Feed<'a, B, T, I>,
    sent: VecDeque<Sent<T::Output>>,
    ready: VecDeque<(usize, Result<T::Output, JoinError>)>,
    unread: usize,
}

stream_methods!(TaskImapUnordered);

impl<B, T, I> Iterator for TaskImapUnordered<'_, B, T, I>
where
    B: Backend + ?Sized,
    T: Task,
    I: Iterator<Item = T::Args>,
{
    type Item = (usize, Result<T::Output, JoinError>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(result) = self.ready.pop_front() {
                self.unread -= 1;
                return Some(result);
            }
            self.refill();
            if self.sent.is_empty() {
                return None;
            }
            let place = match self.sent.iter().position(|sent| sent.handle.is_finished()) {
                Some(place) => place,
                None => {
                    let taken = self.feed.taken;
                    if self.feed.is_late() {
                        return Some((taken, Err(self.expire())));
                    }
                    self.wait_for_one();
                    continue;
                }
            };
            let sent = self.sent.remove(place)?;
            let first = sent.first;
            let results = self.feed.results(sent);
            let results = results.into_iter().enumerate();
            self.ready
                .extend(results.map(|(n, result)| (first + n, result)));
        }
    }
}

impl<B, T, I> TaskImapUnordered<'_, B, T, I>
where
    B: Backend + ?Sized,
    T: Task,
    I: Iterator<Item = T::Args>,
{
    /// Waits until a chunk has ended or the time has passed.
    fn wait_for_one(&mut self) {
        let left = self.feed.deadline;
        let left = left.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let (places, handles): (Vec<_>, Vec<_>) = self
            .sent
            .drain(..)
            .map(|sent| ((sent.first, sent.items), sent.handle))
            .unzip();
        wait(&handles, WaitFor::First, left);
        let sent = places.into_iter().zip(handles);
        self.sent.extend(sent.map(|((first, items), handle)| Sent {
            first,
            items,
            handle,
        }));
    }
}
