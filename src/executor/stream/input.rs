//! What both kinds of streams share: the input, which is pulled through a window, and the ways in which their consumer waits.

use super::chunk::{Chunk, InFlight, Outcome};
use super::source::Source;
use crate::executor::error::{Cause, JoinError, Kind, TaskId};
use crate::executor::handle::JoinHandle;
use crate::executor::help::run_in;
use crate::executor::options::IfFull;
use crate::executor::pending::{Pending, Until};
use crate::executor::submit::may_exceed_capacity;
use crate::executor::task::TaskRef;
use crate::executor::{timer, token, tombstones};
use crate::pool::worker;
use crate::pool::{Registry, StreamQueue, ThreadPool, WhenFull, context};
use crate::sleep::Event;
use crate::sync::{Arc, now};
use crate::sys::TICKS_PER_MICROSECOND;
use crate::unwind;
use std::cell::Cell;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The input and the options of a stream, and the outcomes that were not given out.
pub(super) struct Input<'a, R, P: ?Sized = dyn Source<R> + 'a> {
    source: Box<P>,
    pub(super) runner: Runner<'a>,
    pub(super) window: Option<usize>,
    pub(super) chunk: usize,
    /// See [`Imap::on_workers`](super::Imap::on_workers).
    pub(super) on_workers: bool,
    /// Whether the consumer leaves all items to other threads first, so that none stays raw.
    pub(super) shares_all: bool,
    /// Whether async code consumes the stream, so that a full queue must not block.
    pub(super) is_async: bool,
    /// Whether the pool had no thread when the consumer, which may run no item, last waited.
    deserted: Cell<bool>,
    pub(super) deadline: Option<Instant>,
    /// The number of items that were pulled and not given out.
    pub(super) unreturned: usize,
    /// The number of items that were pulled.
    pub(super) pulled: usize,
    /// The number of those among them that are raw or were submitted by [`submit_raw`](Self::submit_raw) or another thread, and not [adopted](Self::adopt).
    pub(super) raw: usize,
    exhausted: bool,
    pub(super) timed_out: bool,
    /// The task that was submitted last.
    last: Option<TaskId>,
    /// The outcomes of unpacked chunks that were not given out.
    pub(super) unpacked: VecDeque<Outcome<R>>,
}

/// What runs the items, which are tasks of a pool or of a scope.
pub(super) enum Runner<'a> {
    Pool(OpenStream),
    Scope(&'a Registry),
}

/// A pool that runs items, and the stream's queue there. Closes the queue when it is dropped.
pub(super) struct OpenStream {
    pool: ThreadPool,
    queue: Arc<StreamQueue>,
    /// When the consumer last left `next`, in ticks.
    left: Cell<u64>,
}

impl OpenStream {
    pub(super) fn new(pool: ThreadPool) -> Self {
        let queue = pool.registry().open_stream();
        let left = Cell::new(queue.leave());
        OpenStream { pool, queue, left }
    }

    pub(super) fn queue(&self) -> Arc<StreamQueue> {
        Arc::clone(&self.queue)
    }

    /// How long the consumer waits for one item before it lets another thread use its place: about the time of one. To wake that thread, and to have it step back
    /// when the consumer goes on, takes longer than that for short items.
    fn patience(&self) -> Duration {
        Duration::from_micros(self.queue.cost() / TICKS_PER_MICROSECOND + 1)
    }

    /// Removes the first entries of the queue as long as their items have begun: the consumer has run them by way of their handles.
    fn drop_dead(&self) {
        while let Some(entry) = self.queue.take_first_if(tombstones::is_dead) {
            drop(entry);
        }
    }

    /// Runs the item on the current thread if it is the first one in the queue.
    fn run_first(&self, task: &TaskRef) {
        let take = || self.queue.take_first_if(|first| task.is(first));
        let taken = take().or_else(|| {
            self.drop_dead();
            take()
        });
        let Some(entry) = taken else {
            return;
        };
        let registry = self.pool.registry();
        match context::member_of(registry) {
            Some(member) => {
                member.run_in_place(entry);
                member.look_idle_after_help();
            }
            None => {
                self.queue.set_guest(true);
                worker::as_consumer(registry, &self.queue, None, |member| {
                    member.run_in_place(entry);
                });
                self.queue.set_guest(false);
            }
        }
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.pool.registry().close_stream(&self.queue);
    }
}

impl Runner<'_> {
    pub(super) fn registry(&self) -> &Registry {
        match self {
            Runner::Pool(stream) => stream.pool.registry(),
            Runner::Scope(registry) => registry,
        }
    }
}

impl<'a, R, P: Source<R> + ?Sized> Input<'a, R, P> {
    pub(super) fn new(source: Box<P>, runner: Runner<'a>) -> Self {
        Input {
            source,
            runner,
            window: None,
            chunk: 1,
            on_workers: false,
            shares_all: false,
            is_async: false,
            deserted: Cell::new(false),
            deadline: None,
            unreturned: 0,
            pulled: 0,
            raw: 0,
            exhausted: false,
            timed_out: false,
            last: None,
            unpacked: VecDeque::new(),
        }
    }

    /// Gives out the next outcome of the unpacked chunks.
    pub(super) fn take(&mut self) -> Option<Outcome<R>> {
        let outcome = self.unpacked.pop_front()?;
        self.unreturned -= 1;
        Some(outcome)
    }

    /// Pulls chunks and passes each to `add`, or `None` for an item that is raw, until [`next`](Self::next) has none to pull or `add` returns true. `add` returns true if
    /// an outcome is there: the consumer gets it before a slow input is pulled again.
    pub(super) fn fill(&mut self, mut add: impl FnMut(Option<InFlight<R>>) -> bool) {
        let mut leaves_raw = self.leaves_raw();
        if self.raw > 0 && !leaves_raw {
            self.submit_raw();
            let mut has_outcome = false;
            for chunk in self.adopt() {
                has_outcome = add(Some(chunk));
            }
            if has_outcome {
                return;
            }
        }
        while let Some(chunk) = self.next(leaves_raw)
            && !add(chunk)
        {
            leaves_raw = leaves_raw && self.leaves_raw();
        }
    }

    /// The largest number of items that may be pulled and not given out.
    fn window(&self) -> usize {
        let default = || 4 * self.runner.registry().sleep.target();
        self.window.unwrap_or_else(default).max(1)
    }

    /// Pulls the next chunk, or one raw item. Returns `None` if the input has ended, the window or the queue has no room, or the stream's time limit has expired.
    fn next(&mut self, leaves_raw: bool) -> Option<Option<InFlight<R>>> {
        let window = self.window();
        let chunk = self.chunk.clamp(1, window);
        let room = window.saturating_sub(self.unreturned);
        if self.exhausted || room < chunk || self.is_late() || self.must_wait_for_room() {
            return None;
        }
        if leaves_raw {
            return self.add_raw().then_some(None);
        }
        // If the input panics, the stream pulls no more.
        self.exhausted = true;
        let if_full = match (self.is_async, self.on_workers) {
            (true, _) => IfFull::Exceeds,
            (false, true) => IfFull::WaitsForWorkers,
            (false, false) => IfFull::Waits,
        };
        let (handle, len) = self.source.submit(chunk, if_full)?;
        // A short chunk means the end: an iterator that is not fused must not be asked again.
        self.exhausted = len < chunk;
        self.last = Some(handle.id());
        let first = self.pulled;
        self.unreturned += len;
        self.pulled += len;
        Some(Some(InFlight { handle, first, len }))
    }

    // ---- raw items ----

    /// Whether the consumer can run the items that it pulls itself, without tasks, and they are short enough.
    #[inline]
    pub(super) fn leaves_raw(&self) -> bool {
        let Runner::Pool(stream) = &self.runner else {
            return false;
        };
        stream.queue.keeps_all()
            && self.chunk == 1
            && !self.on_workers
            && !self.shares_all
            && self.deadline.is_none()
            && !self.is_async
            && stream.pool.registry().may_skip_queues()
            && !token::is_set()
            && !context::is_deep()
            && !unwind::panicking()
    }

    /// Pulls an item, which is raw from then on. Returns false at the end of the input.
    fn add_raw(&mut self) -> bool {
        // If the input panics, the stream pulls no more.
        self.exhausted = true;
        let is_added = self.source.add_raw();
        self.count_raw(is_added);
        is_added
    }

    fn count_raw(&mut self, is_added: bool) {
        self.exhausted = !is_added;
        self.unreturned += usize::from(is_added);
        self.pulled += usize::from(is_added);
        self.raw += usize::from(is_added);
    }

    /// Pulls items until the window is full, and runs the first raw one. Returns `None` if there is none.
    pub(super) fn next_raw(&mut self) -> Option<Outcome<R>> {
        let window = self.window();
        while !self.exhausted && self.unreturned + 1 < window && self.add_raw() {}
        self.run_raw(!self.exhausted && self.unreturned < window)
    }

    /// Pulls an item if `pulls`, and runs the first raw one. Returns `None` if there is none.
    pub(super) fn run_raw(&mut self, pulls: bool) -> Option<Outcome<R>> {
        let exhausted = self.exhausted;
        self.exhausted |= pulls;
        let (is_pulled, result) = self.source.run_raw(pulls);
        self.exhausted = exhausted;
        if pulls {
            self.count_raw(is_pulled);
        }
        let index = self.pulled - self.raw;
        let result = result?;
        self.raw -= 1;
        self.unreturned -= 1;
        Some((index, result))
    }

    /// Makes tasks of the raw items, for the threads of the pool.
    pub(super) fn submit_raw(&self) {
        if let Runner::Pool(stream) = &self.runner {
            stream.queue.submit_raw();
            stream.pool.registry().offer_items(&stream.queue);
        }
    }

    /// Returns the items that are no longer raw, which come after all that were submitted before.
    pub(super) fn adopt(&mut self) -> impl Iterator<Item = InFlight<R>> + use<'a, R, P> {
        let first = self.pulled - self.raw;
        let handles = self.source.take_submitted();
        self.raw -= handles.len();
        self.last = handles.last().map(JoinHandle::id).or(self.last);
        let chunks = (first..).zip(handles);
        chunks.map(|(first, handle)| InFlight {
            handle,
            first,
            len: 1,
        })
    }

    /// Returns all raw items as tasks, so that they can be cancelled.
    pub(super) fn adopt_all(&mut self) -> impl Iterator<Item = InFlight<R>> + use<'a, R, P> {
        // In a forked child the locks may be held forever.
        let has_raw = self.raw > 0 && !self.runner.registry().forked();
        if has_raw && let Runner::Pool(stream) = &self.runner {
            stream.queue.submit_raw();
        }
        has_raw.then(|| self.adopt()).into_iter().flatten()
    }

    /// Returns whether the pool's queue is full and there are items under way, which the consumer can wait for in the meantime.
    fn must_wait_for_room(&self) -> bool {
        let Runner::Pool(_) = &self.runner else {
            return false;
        };
        let registry = self.runner.registry();
        registry.admission.is_bounded()
            && self.unreturned > 0
            && (self.on_workers || registry.admission.when_full != WhenFull::CallerRuns)
            && !registry.admission.is_set()
            && !may_exceed_capacity(registry)
    }

    /// Returns whether nothing more is pulled because the time limit has expired. The first chunk is always pulled.
    fn is_late(&self) -> bool {
        self.timed_out || self.pulled > 0 && self.is_over()
    }

    fn is_over(&self) -> bool {
        self.deadline.is_some_and(|deadline| now() >= deadline)
    }

    /// Returns the error of a stream whose time limit has expired before its input has ended, after all results were given out.
    pub(super) fn cut_short(&mut self) -> Option<JoinError> {
        if self.exhausted || self.timed_out || !self.is_over() {
            return None;
        }
        Some(self.time_out(self.last?))
    }

    /// Notes that the time limit has expired, and makes the error of the task that the consumer has waited for.
    pub(super) fn time_out(&mut self, task: TaskId) -> JoinError {
        self.timed_out = true;
        JoinError::new(Kind::Ended(Cause::Deadline), task, None)
    }

    /// Returns how the current thread waits as the consumer.
    pub(super) fn wait_mode(&self) -> WaitMode {
        let registry = self.runner.registry();
        if self.deadline.is_some() {
            return WaitMode::Idle;
        }
        if self.on_workers && !worker::acts_for_pool_thread(registry) {
            return WaitMode::OutsideOnWorkers;
        }
        // A thread that is deep in its stack or unwinding has a new thread run the item.
        let reluctant = self.on_workers && (context::is_deep() || unwind::panicking());
        WaitMode::Helping(if reluctant {
            Until::AnyElsewhere
        } else {
            Until::Any
        })
    }

    /// Waits for one chunk. Returns false if the deadline has passed.
    pub(super) fn wait_for(&self, handle: &JoinHandle<Chunk<R>>) -> bool {
        let task = handle.task();
        match self.wait_mode() {
            WaitMode::Idle => return timer::block(task, self.deadline),
            WaitMode::OutsideOnWorkers => self.wait_outside(task, || Some(task.clone())),
            WaitMode::Helping(Until::AnyElsewhere) if context::slot().is_some() => {
                let mut pending = Pending::of([handle]);
                while pending.take_finished().is_none() {
                    pending.wait(Until::AnyElsewhere, None);
                }
            }
            WaitMode::Helping(_) => {
                self.run(task);
                if task.state.is_finished() {
                    return true;
                }
                self.await_others(task);
                return timer::block(task, None);
            }
        }
        true
    }

    /// Removes what the consumer has run by way of handles from the front of the stream's queue.
    pub(super) fn drop_dead(&self) {
        if let Runner::Pool(stream) = &self.runner {
            stream.drop_dead();
        }
    }

    /// Runs an item on the current thread, if it has not begun.
    pub(super) fn run(&self, task: &TaskRef) {
        // A thread that is deep in its stack or unwinding does not run the item itself.
        if let Runner::Pool(stream) = &self.runner
            && !context::is_deep()
            && !unwind::panicking()
        {
            stream.queue.begin_wait();
            stream.run_first(task);
        }
        run_in(self.runner.registry(), task);
    }

    /// Notes that the consumer neither runs nor awaits an item.
    pub(super) fn end_wait(&self) {
        if let Runner::Pool(stream) = &self.runner {
            stream.queue.end_wait();
        }
    }

    /// Called before the consumer sleeps until another thread has finished an item. If that is not a matter of moments, the threads of the pool may take all
    /// items that have not begun.
    pub(super) fn await_others(&self, event: &impl Event) {
        if let Runner::Pool(stream) = &self.runner
            && !worker::await_briefly(event)
            && !timer::block(event, now().checked_add(stream.patience()))
        {
            stream.queue.sleep();
            stream.pool.registry().offer_items(&stream.queue);
        }
    }

    /// Notes that the consumer begins to look for a result.
    pub(super) fn enter(&self) {
        if let Runner::Pool(stream) = &self.runner {
            match self.wait_mode() {
                WaitMode::Helping(Until::Any) => {
                    let is_outside = context::member_of(stream.pool.registry()).is_none();
                    stream.queue.enter(stream.left.get(), is_outside);
                }
                _ => stream.queue.sleep(),
            }
        }
    }

    /// Notes that the consumer has found a result.
    pub(super) fn leave(&self) {
        if let Runner::Pool(stream) = &self.runner {
            stream.left.set(stream.queue.leave());
        }
    }

    /// Waits for `event` on a thread that may run no item. `queued` returns an item that has not begun.
    pub(super) fn wait_outside(
        &self,
        event: &impl Event,
        mut queued: impl FnMut() -> Option<TaskRef>,
    ) {
        let Runner::Scope(registry) = self.runner else {
            return timer::block_idly(event);
        };
        loop {
            // Only after one wait: a pool that has no thread because a guest took its place can start one in the meantime.
            if self.deserted.get()
                && registry.is_deserted()
                && let Some(task) = queued()
            {
                run_in(registry, &task);
            }
            if timer::block(event, now().checked_add(DESERTED_NAP)) {
                return;
            }
            self.deserted.set(registry.is_deserted());
        }
    }
}

/// What a consumer does while it waits.
#[derive(Clone, Copy, Debug)]
pub(super) enum WaitMode {
    /// It runs no item, because its time is limited.
    Idle,
    /// It runs no item, because the stream stays on workers and this thread is not one of the pool's.
    OutsideOnWorkers,
    /// It runs an item that has not begun, or waits as [`Until`] says. With [`Until::AnyElsewhere`] it leaves the items to other threads first.
    Helping(Until),
}

/// How often a consumer that may run no item checks whether the pool of its scope has a thread left. A shutdown does not wake the consumer.
const DESERTED_NAP: Duration = Duration::from_millis(50);

/// Returns whether the current thread takes part in a pool, either as a thread of a pool or as a guest that runs a task. A guest that runs no task, such as the
/// caller of `install`, does not count.
pub(super) fn acts_in_pool() -> bool {
    context::slot().is_some_and(|slot| context::home().is_some() || slot.running.is_some())
}
