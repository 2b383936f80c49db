//! Streaming maps: lazy input, a bounded number of items under way, results as they are asked for.
//!
//! The consumer's `next` does everything: it pulls input until the window is full, submits it, and waits for what it gives
//! out; if nobody has begun that, it runs it itself. So the input stays on the consumer's thread, and nothing happens
//! while nobody asks.

use super::arrivals::Arrivals;
use super::error::{JoinError, TaskId};
use super::handle::{JoinHandle, after, run_in};
use super::several::enrol;
use super::state::Birth;
use super::submit::{goes_beyond, submit_item};
use super::timer;
use crate::counters::{Count, Counters};
use crate::fork::Scope;
use crate::pool::worker::Event;
use crate::pool::{self, Registry, ThreadPool, WhenFull};
use crate::sync::{Arc, now};
use crate::unwind::{self, Payload};
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::time::{Duration, Instant};

/// What the task of one chunk returns.
enum Chunk<R> {
    /// A chunk of one: a panic is the task's.
    One(R),
    Many(Vec<Result<R, Payload>>),
}

/// A chunk under way.
struct Flight<R> {
    handle: JoinHandle<Chunk<R>>,
    /// Index of its first item.
    first: usize,
    len: usize,
}

impl<R> Flight<R> {
    /// The outcomes of a chunk that has finished.
    fn land(mut self, mut each: impl FnMut(usize, Result<R, JoinError>)) {
        let (id, first) = (self.handle.id(), self.first);
        match self.handle.take() {
            Ok(Chunk::One(result)) => each(first, Ok(result)),
            Ok(Chunk::Many(results)) => {
                for (n, result) in results.into_iter().enumerate() {
                    each(
                        first + n,
                        result.map_err(|payload| JoinError::panicked(payload, id, None)),
                    );
                }
            }
            // The whole chunk was cancelled, or the one item panicked.
            Err(error) => {
                for n in 1..self.len {
                    each(first + n - 1, Err(error.again()));
                }
                each(first + self.len - 1, Err(error));
            }
        }
    }
}

/// Takes up to so many items and submits them.
type Pull<'a, R> = Box<dyn FnMut(usize) -> Option<(JoinHandle<Chunk<R>>, usize)> + 'a>;

/// What both kinds of streams share.
struct Source<'a, R> {
    pull: Pull<'a, R>,
    pool: Pool<'a>,
    window: Option<usize>,
    chunk: usize,
    deadline: Option<Instant>,
    /// Items that were pulled and not given out.
    alive: usize,
    /// Items that were pulled.
    pulled: usize,
    exhausted: bool,
    timed_out: bool,
    /// The task that was submitted last.
    last: Option<TaskId>,
}

/// Whose threads run the items.
enum Pool<'a> {
    Own(ThreadPool),
    Scope(&'a Registry),
}

impl Pool<'_> {
    fn registry(&self) -> &Registry {
        match self {
            Pool::Own(pool) => pool.registry(),
            Pool::Scope(registry) => registry,
        }
    }
}

impl<'a, R> Source<'a, R> {
    fn new(pull: Pull<'a, R>, pool: Pool<'a>) -> Self {
        Source {
            pull,
            pool,
            window: None,
            chunk: 1,
            deadline: None,
            alive: 0,
            pulled: 0,
            exhausted: false,
            timed_out: false,
            last: None,
        }
    }

    /// The next chunk, if the window has room for it and the input has something.
    fn next(&mut self) -> Option<Flight<R>> {
        let threads = self.pool.registry().sleep.target();
        let window = self.window.unwrap_or(4 * threads).max(1);
        let chunk = self.chunk.clamp(1, window);
        let room = window.saturating_sub(self.alive);
        if self.exhausted || room < chunk || self.is_late() || self.has_no_place() {
            return None;
        }
        // So it stays if the input panics.
        self.exhausted = true;
        let (handle, len) = (self.pull)(chunk)?;
        // A short chunk has met the end: who is not fused must not be asked again.
        self.exhausted = len < chunk;
        self.last = Some(handle.id());
        let first = self.pulled;
        self.alive += len;
        self.pulled += len;
        Some(Flight { handle, first, len })
    }

    /// Whether the pool's queue is full, and there is something to wait for until it is not.
    fn has_no_place(&self) -> bool {
        let Pool::Own(pool) = &self.pool else {
            return false;
        };
        let registry = pool.registry();
        registry.gate.is_bounded()
            && self.alive > 0
            && registry.gate.when_full != WhenFull::CallerRuns
            && !registry.gate.is_set()
            && !goes_beyond(registry)
    }

    /// Whether no more is to be pulled: once something was, the time may be over.
    fn is_late(&self) -> bool {
        self.timed_out || self.pulled > 0 && self.is_over()
    }

    fn is_over(&self) -> bool {
        self.deadline.is_some_and(|deadline| now() >= deadline)
    }

    /// The error of a stream whose time was over before its input, though all results had been given out.
    fn cut_short(&mut self) -> Option<JoinError> {
        if self.exhausted || self.timed_out || !self.is_over() {
            return None;
        }
        self.timed_out = true;
        Some(JoinError::timed_out(self.last?, None))
    }

    /// Runs a task that nobody has begun, unless there is a time limit.
    fn help(&self, handle: &JoinHandle<Chunk<R>>) {
        if self.deadline.is_none() {
            run_in(self.pool.registry(), handle.task());
        }
    }
}

/// Submits up to `n` items of `input`, in one task.
fn pull<I, R, F>(
    input: &mut impl Iterator<Item = I>,
    n: usize,
    f: &Arc<F>,
    pool: &Registry,
    submit: impl FnOnce(Task<I, F>) -> JoinHandle<Chunk<R>>,
) -> Option<(JoinHandle<Chunk<R>>, usize)> {
    let first = input.next()?;
    let f = Arc::clone(f);
    if n == 1 {
        return Some((submit(Task::One(first, f)), 1));
    }
    // Grows with what is there: `n` is the user's, and so is the input's size hint.
    let mut items = Vec::new();
    items.push(first);
    while items.len() < n
        && let Some(item) = input.next()
    {
        items.push(item);
    }
    let len = items.len();
    let batch = Batch {
        items: items.into_iter(),
        pool: pool.id,
    };
    Some((submit(Task::Many(batch, f)), len))
}

/// What a chunk's task captures.
enum Task<I, F> {
    One(I, Arc<F>),
    Many(Batch<I>, Arc<F>),
}

/// Items that are counted one by one, as what becomes of each.
struct Batch<I> {
    items: std::vec::IntoIter<I>,
    /// The number of the pool.
    pool: u64,
}

impl<I> Batch<I> {
    fn count(&self, which: impl Fn(&Counters) -> &Count, items: usize) {
        pool::with_pool(self.pool, |registry| {
            if let Some(registry) = registry {
                registry.count(which, items as u64);
            }
        });
    }
}

impl<I> Drop for Batch<I> {
    fn drop(&mut self) {
        // Those that did not run.
        if self.items.len() > 0 {
            self.count(|counters| &counters.cancelled, self.items.len());
        }
    }
}

impl<I, F> Task<I, F> {
    /// As how many tasks it counts; None: as any task.
    fn counted(&self) -> Option<u64> {
        match self {
            Task::One(..) => None,
            Task::Many(batch, _) => Some(batch.items.len() as u64),
        }
    }

    fn run<R>(self) -> Chunk<R>
    where
        F: Fn(I) -> R,
    {
        match self {
            Task::One(item, f) => Chunk::One(f(item)),
            Task::Many(mut batch, f) => {
                let mut results = Vec::with_capacity(batch.items.len());
                while let Some(item) = batch.items.next() {
                    let result = unwind::catch(|| f(item));
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

/// # Streams
///
/// For inputs that are long, slow, or do not fit into memory: items are pulled as results are asked for, and never more are under way
/// than the window holds. To map what is in memory, [`map`](Self::map) is faster.
impl ThreadPool {
    /// `f` of each item of `input`, in order, lazily.
    ///
    /// The thread that calls `next` pulls the input, so it need not be `Send`, and may be infinite; if nobody has begun the item that `next`
    /// waits for, it runs `f` too. A panic of `f` is that item's error, and the next item follows. Dropping the stream
    /// cancels what has not begun.
    ///
    /// So `f` runs on the consumer's thread as well as on workers. There are no thread-locals that
    /// [`on_thread_start`](crate::ThreadPoolBuilder::on_thread_start) has set, unless the consumer is a task of this pool itself. To have `f` on
    /// workers only, consume the stream inside [`run`](Self::run) or give it a [`timeout`](Imap::timeout): then the consumer runs nothing.
    ///
    /// Where the pool has a [`queue_capacity`](crate::ThreadPoolBuilder::queue_capacity), a full queue counts as a full window, also with
    /// [`WhenFull::Reject`]: no item is refused.
    ///
    /// ```
    /// let pool = heist::ThreadPool::new()?;
    /// let mut squares = pool.imap(0_u64.., |n| n * n);
    /// assert_eq!(squares.next().unwrap().unwrap(), 0);
    /// assert_eq!(squares.next().unwrap().unwrap(), 1);
    /// assert_eq!(squares.next().unwrap().unwrap(), 4);
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn imap<'a, I, R, F>(&self, input: I, f: F) -> Imap<'a, R>
    where
        I: IntoIterator<IntoIter: 'a, Item: Send + 'static>,
        R: Send + 'static,
        F: Fn(I::Item) -> R + Send + Sync + 'static,
    {
        Imap::new(self.source(input, f))
    }

    /// [`imap`](Self::imap) in the order in which items finish, each with its index in the input.
    ///
    /// If no result is there and an item has not begun, `next` runs it, and returns when that item has finished, even if others finish earlier. An
    /// item that must not hold back the consumer belongs on a worker: see [`imap`](Self::imap).
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
        ImapUnordered::new(self.source(input, f))
    }

    fn source<'a, I, R, F>(&self, input: I, f: F) -> Source<'a, R>
    where
        I: IntoIterator<IntoIter: 'a, Item: Send + 'static>,
        R: Send + 'static,
        F: Fn(I::Item) -> R + Send + Sync + 'static,
    {
        let (mut input, f, pool) = (input.into_iter(), Arc::new(f), self.clone());
        let submit = move |n| {
            pull(&mut input, n, &f, pool.registry(), |task| {
                submit_item(pool.registry(), task.counted(), move || task.run())
            })
        };
        Source::new(Box::new(submit), Pool::Own(self.clone()))
    }
}

impl<'scope> Scope<'scope> {
    /// [`ThreadPool::imap`] over what outlives the scope.
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
        Imap::new(self.source(input, f))
    }

    /// [`ThreadPool::imap_unordered`] over what outlives the scope.
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
        ImapUnordered::new(self.source(input, f))
    }

    fn source<'a, I, R, F>(&'a self, input: I, f: F) -> Source<'a, R>
    where
        I: IntoIterator<IntoIter: 'a, Item: Send + 'scope>,
        R: Send + 'scope,
        F: Fn(I::Item) -> R + Send + Sync + 'scope,
    {
        let (mut input, f) = (input.into_iter(), Arc::new(f));
        let submit = move |n| {
            pull(&mut input, n, &f, self.registry(), |task| {
                let items = task.counted();
                let birth = Birth {
                    uncounted: items.is_some(),
                    ..Birth::default()
                };
                let handle = self.submit_as(birth, items.unwrap_or(1), move |_| task.run());
                handle.into_inner()
            })
        };
        Source::new(Box::new(submit), Pool::Scope(self.registry()))
    }
}

macro_rules! settings {
    ($stream:ident) => {
        impl<R> $stream<'_, R> {
            /// How many items may be pulled and not given out, at least 1; by default four times the pool's threads. [`usize::MAX`] is no limit.
            pub fn window(mut self, items: usize) -> Self {
                self.source.window = Some(items.max(1));
                self
            }

            /// How many items one task takes, at least 1, at most the window. For items that take less than a microsecond. A chunk is pulled as a
            /// whole: one of [`usize::MAX`] items in a window without a limit is all of the input.
            pub fn chunk(mut self, items: usize) -> Self {
                self.source.chunk = items.max(1);
                self
            }

            /// The stream ends this long from now: with one error that [is a time-out](JoinError::is_timeout), if it has not come to
            /// its end by itself. What has not begun is cancelled.
            pub fn timeout(mut self, timeout: Duration) -> Self {
                self.source.deadline = after(timeout);
                self
            }

            /// Whether it ended because its time was over.
            pub fn timed_out(&self) -> bool {
                self.source.timed_out
            }
        }

        impl<R> fmt::Debug for $stream<'_, R> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($stream))
                    .field("pulled", &self.source.pulled)
                    .field("alive", &self.source.alive)
                    .finish_non_exhaustive()
            }
        }
    };
}

settings!(Imap);
settings!(ImapUnordered);

/// Results in the order of the input. See [`ThreadPool::imap`].
///
/// # Blocking
/// `next` waits for the next result.
#[must_use = "iterators are lazy: nothing is pulled or run until `next`"]
pub struct Imap<'a, R> {
    source: Source<'a, R>,
    flights: VecDeque<Flight<R>>,
    /// Of a chunk that has finished.
    landed: VecDeque<Result<R, JoinError>>,
}

impl<'a, R> Imap<'a, R> {
    fn new(source: Source<'a, R>) -> Self {
        Imap {
            source,
            flights: VecDeque::new(),
            landed: VecDeque::new(),
        }
    }

    /// Fills the window; but what is finished does not wait for a slow input: one pull, then it is given out.
    fn fill(&mut self) {
        while let Some(flight) = self.source.next() {
            self.flights.push_back(flight);
            if self.flights[0].handle.task().is_finished() {
                return;
            }
        }
    }

    fn cancel(&mut self) {
        for flight in self.flights.drain(..) {
            flight.handle.cancel();
        }
    }
}

impl<R> Iterator for Imap<'_, R> {
    type Item = Result<R, JoinError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(result) = self.landed.pop_front() {
                self.source.alive -= 1;
                return Some(result);
            }
            self.fill();
            let Some(first) = self.flights.front() else {
                return self.source.cut_short().map(Err);
            };
            if !first.handle.task().is_finished() {
                self.source.pool.registry().check_fork();
                self.source.help(&first.handle);
                if !timer::block(first.handle.task(), self.source.deadline) {
                    self.source.timed_out = true;
                    let error = JoinError::timed_out(first.handle.id(), None);
                    self.cancel();
                    return Some(Err(error));
                }
            }
            let landed = &mut self.landed;
            if let Some(flight) = self.flights.pop_front() {
                flight.land(|_, result| landed.push_back(result));
            }
        }
    }
}

impl<R> Drop for Imap<'_, R> {
    fn drop(&mut self) {
        self.cancel();
    }
}

/// Results in the order in which they come, with their indices. See [`ThreadPool::imap_unordered`].
///
/// # Blocking
/// `next` waits for the next result.
#[must_use = "iterators are lazy: nothing is pulled or run until `next`"]
pub struct ImapUnordered<'a, R> {
    source: Source<'a, R>,
    arrivals: Arc<Arrivals>,
    /// By the index of their first item.
    flights: HashMap<usize, Flight<R>>,
    /// Of them, those that may not have begun, oldest first.
    unstarted: VecDeque<usize>,
    landed: VecDeque<(usize, Result<R, JoinError>)>,
}

impl<'a, R> ImapUnordered<'a, R> {
    fn new(source: Source<'a, R>) -> Self {
        ImapUnordered {
            source,
            arrivals: Arc::default(),
            flights: HashMap::new(),
            unstarted: VecDeque::new(),
            landed: VecDeque::new(),
        }
    }

    /// As [`Imap::fill`].
    fn fill(&mut self) {
        while let Some(flight) = self.source.next() {
            enrol(&flight.handle, &self.arrivals, flight.first);
            if self.unstarted.len() > 2 * self.flights.len() + 16 {
                // Nobody has needed help for long: most of these have landed.
                let flights = &self.flights;
                self.unstarted.retain(|first| flights.contains_key(first));
            }
            self.unstarted.push_back(flight.first);
            self.flights.insert(flight.first, flight);
            if self.arrivals.is_set() {
                return;
            }
        }
    }

    fn help(&mut self) {
        while let Some(first) = self.unstarted.pop_front() {
            if let Some(flight) = self.flights.get(&first)
                && flight.handle.task().is_queued()
            {
                return self.source.help(&flight.handle);
            }
        }
    }

    fn cancel(&mut self) {
        for (_, flight) in self.flights.drain() {
            flight.handle.cancel();
        }
    }
}

impl<R> Iterator for ImapUnordered<'_, R> {
    type Item = (usize, Result<R, JoinError>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(item) = self.landed.pop_front() {
                self.source.alive -= 1;
                return Some(item);
            }
            self.fill();
            let landed = &mut self.landed;
            if let Some(first) = self.arrivals.next() {
                let flight = self.flights.remove(&first);
                while let Some(first) = self.unstarted.front()
                    && !self.flights.contains_key(first)
                {
                    self.unstarted.pop_front();
                }
                if let Some(flight) = flight {
                    flight.land(|index, result| landed.push_back((index, result)));
                }
                continue;
            }
            if self.flights.is_empty() {
                let index = self.source.pulled;
                return self.source.cut_short().map(|error| (index, Err(error)));
            }
            self.source.pool.registry().check_fork();
            self.help();
            if !timer::block(&*self.arrivals, self.source.deadline) {
                self.source.timed_out = true;
                let oldest = self.flights.values().min_by_key(|flight| flight.first)?;
                let error = JoinError::timed_out(oldest.handle.id(), None);
                let item = (oldest.first, Err(error));
                self.cancel();
                return Some(item);
            }
        }
    }
}

impl<R> Drop for ImapUnordered<'_, R> {
    fn drop(&mut self) {
        self.cancel();
    }
}
