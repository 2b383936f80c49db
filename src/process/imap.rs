//! Streams of tasks: chunks in flight, within a window.

use super::backend::Backend;
use super::call::{BODY_BYTES, Call, Chunk, Many};
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
    /// The bytes that the arguments of an item take up on average, 0 if they are not encoded.
    item_bytes: usize,
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
        let mut work = Many::<T> {
            args,
            bytes: 0,
            handle: None,
        };
        self.backend
            .start(Call::new(&mut work, entry::<T>(), &self.options));
        self.item_bytes = work.bytes / items;
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
        let light = BODY_BYTES.checked_div(self.item_bytes);
        self.size.min(fair).min(light.unwrap_or(usize::MAX)).max(1)
    }

    /// Adapts the size to the time that a chunk has run.
    fn note(&mut self, items: usize, time: Duration) {
        let each = time.as_nanos().max(1) / items.max(1) as u128;
        let ideal = (CHUNK_TIME.as_nanos() / each.max(1))
            .try_into()
            .unwrap_or(CHUNK_MAX);
        self.size = ideal.clamp(1, CHUNK_MAX).min(self.size * 8);
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

/// What a stream does beside the order of its results.
struct Stream<'a, B: ?Sized, T: Task, I> {
    feed: Feed<'a, B, T, I>,
    sent: VecDeque<Sent<T::Output>>,
    /// Results that nobody has read yet, with the indices of their inputs.
    ready: VecDeque<(usize, Result<T::Output, JoinError>)>,
    /// The number of items in `sent` and `ready`.
    unread: usize,
}

/// Which chunk is read next.
#[derive(Clone, Copy)]
enum Order {
    First,
    Any,
}

impl<'a, B, T, I> Stream<'a, B, T, I>
where
    B: Backend + ?Sized,
    T: Task,
    I: Iterator<Item = T::Args>,
{
    fn new(backend: &'a B, task: T, inputs: I) -> Self {
        Stream {
            feed: Feed {
                backend,
                inputs: Some(inputs),
                task,
                window: None,
                fixed: None,
                size: 1,
                item_bytes: 0,
                options: CallOptions::default(),
                deadline: None,
                taken: 0,
            },
            sent: VecDeque::new(),
            ready: VecDeque::new(),
            unread: 0,
        }
    }

    /// The next result and the index of its input.
    fn advance(&mut self, order: Order) -> Option<(usize, Result<T::Output, JoinError>)> {
        loop {
            if let Some(result) = self.ready.pop_front() {
                self.unread -= 1;
                return Some(result);
            }
            while let Some(sent) = self.feed.start(self.sent.len(), self.unread) {
                self.unread += sent.items;
                self.sent.push_back(sent);
            }
            if self.sent.is_empty() {
                return None;
            }
            let Some(place) = self.wait(order) else {
                return Some((self.feed.taken, Err(self.expire())));
            };
            let sent = self.sent.remove(place)?;
            let first = sent.first;
            let results = self.feed.results(sent).into_iter().enumerate();
            let results = results.map(|(n, result)| (first + n, result));
            self.ready.extend(results);
        }
    }

    /// Waits for a chunk that has ended, and returns its place, or `None` if the time of the stream has passed. The end of a chunk that was sent first is waited for
    /// when it is read, if the stream's time is not limited.
    fn wait(&mut self, order: Order) -> Option<usize> {
        match (order, self.feed.deadline) {
            (Order::First, None) => Some(0),
            (Order::First, Some(deadline)) => {
                let left = deadline.saturating_duration_since(Instant::now());
                self.sent.front()?.handle.wait_timeout(left).then_some(0)
            }
            (Order::Any, deadline) => loop {
                let mut sent = self.sent.iter();
                let ended = sent.position(|sent| sent.handle.is_finished());
                if ended.is_some() || deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                    return ended;
                }
                self.wait_for_one();
            },
        }
    }

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

    /// Cancels what has not begun, and ends the stream. Returns the error of the stream.
    fn expire(&mut self) -> JoinError {
        self.feed.inputs = None;
        self.ready.clear();
        self.cancel();
        let failure = crate::executor::remote::Failure::Timeout;
        JoinError::remote(failure, crate::TaskId::next(), Some(T::NAME.into()))
    }
}

impl<B: ?Sized, T: Task, I> Stream<'_, B, T, I> {
    fn cancel(&mut self) {
        for sent in self.sent.drain(..) {
            sent.handle.cancel();
        }
    }

    fn describe(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let _ = self.feed.task;
        f.debug_struct(name)
            .field("taken", &self.feed.taken)
            .field("unread", &self.unread)
            .finish_non_exhaustive()
    }
}

impl<B: ?Sized, T: Task, I> Drop for Stream<'_, B, T, I> {
    fn drop(&mut self) {
        self.cancel();
    }
}

/// The settings of both streams.
macro_rules! stream_methods {
    ($stream:ident) => {
        impl<'a, B: Backend + ?Sized, T: Task, I: Iterator<Item = T::Args>> $stream<'a, B, T, I> {
            pub(super) fn new(backend: &'a B, task: T, inputs: I) -> Self {
                $stream(Stream::new(backend, task, inputs))
            }

            /// Sets how many items are at most under way or finished and unread, at least 1. The default is four
            /// chunks for each worker.
            pub fn window(mut self, items: usize) -> Self {
                self.0.feed.window = Some(items.max(1));
                self
            }

            /// Sets how many items travel together, at least 1. By default the size follows from how long the
            /// items run: a chunk of cheap ones takes about a millisecond, and costly ones travel alone. Processes get an
            /// item with a time limit alone, and divide a chunk whose arguments are long.
            pub fn chunk(mut self, items: usize) -> Self {
                self.0.feed.fixed = Some(items.max(1));
                self
            }

            /// Limits the time until the last result, counted from this call. When it has passed, the stream yields one error that
            /// [is a time-out](JoinError::is_timeout), cancels what has not begun, and ends.
            pub fn timeout(mut self, time: Duration) -> Self {
                self.0.feed.deadline = Instant::now().checked_add(time);
                self
            }

            /// Limits the time of each item, as [`CallBuilder::timeout`](crate::CallBuilder::timeout) does. Each
            /// item then travels alone.
            pub fn item_timeout(mut self, time: Duration) -> Self {
                self.0.feed.options.timeout = Some(time);
                self
            }

            /// Sets how many times each item may be started. See [`CallBuilder::tries`](crate::CallBuilder::tries).
            pub fn tries(mut self, tries: u32) -> Self {
                self.0.feed.options.tries = Some(tries.max(1));
                self
            }
        }

        impl<B: ?Sized, T: Task, I> fmt::Debug for $stream<'_, B, T, I> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.describe(stringify!($stream), f)
            }
        }
    };
}

/// A stream of results in the order of the inputs. See [`Executor::imap`](crate::Executor::imap).
#[must_use = "a stream does nothing until it is iterated over"]
pub struct TaskImap<'a, B: ?Sized, T: Task, I>(Stream<'a, B, T, I>);

stream_methods!(TaskImap);

impl<B, T, I> Iterator for TaskImap<'_, B, T, I>
where
    B: Backend + ?Sized,
    T: Task,
    I: Iterator<Item = T::Args>,
{
    type Item = Result<T::Output, JoinError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.advance(Order::First).map(|(_, result)| result)
    }
}

/// A stream of results with the indices of their inputs, as they come. See
/// [`Executor::imap_unordered`](crate::Executor::imap_unordered).
#[must_use = "a stream does nothing until it is iterated over"]
pub struct TaskImapUnordered<'a, B: ?Sized, T: Task, I>(Stream<'a, B, T, I>);

stream_methods!(TaskImapUnordered);

impl<B, T, I> Iterator for TaskImapUnordered<'_, B, T, I>
where
    B: Backend + ?Sized,
    T: Task,
    I: Iterator<Item = T::Args>,
{
    type Item = (usize, Result<T::Output, JoinError>);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.advance(Order::Any)
    }
}
