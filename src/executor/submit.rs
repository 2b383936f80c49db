//! Submitting tasks.

use super::cell::{self, TaskRef};
use super::error::{Cause, TrySubmitError};
use super::extra::Extra;
use super::handle::{JoinHandle, after};
use super::state::Birth;
use super::stream::Imap;
use super::timer;
use super::token::{self, CancelToken};
use crate::job::{Fate, Task};
use crate::pool::{
    Priority, Refusal, Registry, Seat, Slot, ThreadPool, WhenFull, context, global, queue_wait,
    with_current, worker,
};
use std::ptr;
use std::time::Duration;

/// # Tasks
///
/// A task is `'static`, and begins when a worker comes to it; its [`JoinHandle`] waits for it, cancels it, or lets it go.
impl ThreadPool {
    /// Queues `f` to run on some worker, and returns a handle for its result.
    ///
    /// From a thread of this pool the task goes to that thread's own deque, newest first; from elsewhere to the pool's
    /// queue, oldest first. One allocation. After a shutdown the handle resolves to an error; and so it does where the pool has a
    /// [`queue_capacity`](crate::ThreadPoolBuilder::queue_capacity) and [`WhenFull::Reject`].
    ///
    /// # Blocking
    /// Only if the queue is full and the pool says [`WhenFull::Block`].
    ///
    /// ```
    /// let pool = heist::ThreadPool::new()?;
    /// let handle = pool.submit(|| "hello".len());
    /// assert_eq!(handle.join().unwrap(), 5);
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    #[inline]
    pub fn submit<F, T>(&self, f: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        submit_in(self.registry(), Options::default(), f)
    }

    /// [`submit`](Self::submit) that neither blocks nor gives up the closure.
    ///
    /// # Errors
    /// The queue is full, for a thread of the pool too; or the pool has been shut down. Either way the closure comes back.
    ///
    /// ```
    /// let pool = heist::ThreadPool::new()?;
    /// assert!(pool.try_submit(|| ()).is_ok());
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn try_submit<F, T>(&self, f: F) -> Result<JoinHandle<T>, TrySubmitError<F>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        try_submit(self.registry(), Options::default(), f)
    }

    /// Submits each of the closures, and wakes the pool once for all of them.
    ///
    /// ```
    /// let pool = heist::ThreadPool::new()?;
    /// let handles = pool.submit_many((0..3).map(|n| move || n + 1));
    /// let sum: i32 = handles.into_iter().map(|handle| handle.join().unwrap()).sum();
    /// assert_eq!(sum, 6);
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn submit_many<I, F, T>(&self, closures: I) -> Vec<JoinHandle<T>>
    where
        I: IntoIterator<Item = F>,
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let registry = self.registry();
        if registry.gate.is_bounded() || token::current().is_some() {
            return closures.into_iter().map(|f| self.submit(f)).collect();
        }
        registry.check_fork();
        let mut handles = Vec::new();
        let mut tasks = Vec::new();
        for f in closures {
            let (task, handle) = make(registry, context::slot(), Options::default(), f);
            TaskRef::set_in_lane(&task);
            registry.end_idle_moment(context::slot());
            match registry.gate.enter(false) {
                Ok(()) => {
                    // At once: if the iterator panics, those that it gave are dropped, and counted so.
                    registry.count(|counters| &counters.submitted, 1);
                    if tasks.len().is_multiple_of(BATCH_SAMPLE) {
                        TaskRef::sample(&task, registry);
                    }
                    tasks.push(task);
                }
                Err(_) => refuse(registry, task, Cause::Refused),
            }
            handles.push(handle);
        }
        registry.inject(tasks, Priority::Normal);
        handles
    }

    /// A task with a name, a priority, a deadline or a token.
    ///
    /// ```
    /// use heist::{Priority, ThreadPool};
    /// let pool = ThreadPool::new()?;
    /// let handle = pool.task().name("thumbnail").priority(Priority::High).submit(|| 1);
    /// assert_eq!(handle.name(), Some("thumbnail"));
    /// assert_eq!(handle.join().unwrap(), 1);
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn task(&self) -> TaskBuilder<'_> {
        TaskBuilder {
            registry: self.registry(),
            options: Options::default(),
        }
    }

    /// [`submit`](Self::submit) without a handle. Nobody is told of its end.
    ///
    /// If the pool has no thread and none can be started, `f` runs here and now. After a shutdown, or where the queue is full and the
    /// pool rejects, it is dropped, and counted cancelled.
    ///
    /// # Panics
    /// A panic of `f` goes to the [`panic_handler`](crate::ThreadPoolBuilder::panic_handler); the process and the worker live on.
    ///
    /// ```
    /// let pool = heist::ThreadPool::new()?;
    /// let (sender, receiver) = std::sync::mpsc::channel();
    /// pool.spawn(move || sender.send(42).unwrap());
    /// assert_eq!(receiver.recv(), Ok(42));
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn spawn<F>(&self, f: F)
    where
        F: FnOnce() + Send + 'static,
    {
        spawn_in(self.registry(), context::slot(), f);
    }
}

/// Of a batch one of so many tasks is measured, the first among them.
const BATCH_SAMPLE: usize = 256;

fn spawn_in(registry: &Registry, slot: Option<&Slot>, f: impl FnOnce() + Send + 'static) {
    registry.check_fork();
    let (extra, birth) = Options::default().lower(false);
    // SAFETY: `f` borrows nothing.
    let (task, _) = unsafe { cell::make(registry.id, birth, extra, slot.map(Slot::blocks), f) };
    enter(registry, slot, task, Priority::Normal, false);
}

/// [`ThreadPool::spawn`] on the pool of the current thread, or on the [`global`] one.
///
/// ```
/// let (sender, receiver) = std::sync::mpsc::channel();
/// heist::spawn(move || sender.send("done").unwrap());
/// assert_eq!(receiver.recv(), Ok("done"));
/// ```
pub fn spawn<F>(f: F)
where
    F: FnOnce() + Send + 'static,
{
    match context::slot() {
        Some(slot) => spawn_in(slot.registry(), Some(slot), f),
        None => global().spawn(f),
    }
}

/// [`ThreadPool::submit`] on the pool of the current thread, or on the [`global`] one.
///
/// ```
/// let handle = heist::submit(|| "hello".len());
/// assert_eq!(handle.join().unwrap(), 5);
/// ```
pub fn submit<F, T>(f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    with_current(|registry| submit_in(registry, Options::default(), f))
}

/// [`ThreadPool::imap`] on the pool of the current thread, or on the [`global`] one.
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
    match ThreadPool::current() {
        Some(pool) => pool.imap(input, f),
        None => global().imap(input, f),
    }
}

/// A task to be submitted. See [`ThreadPool::task`].
#[derive(Clone)]
#[must_use = "a task does nothing until `submit` or `try_submit`"]
pub struct TaskBuilder<'a> {
    registry: &'a Registry,
    options: Options,
}

/// What a task is given beside its closure.
#[derive(Clone, Default)]
pub(super) struct Options {
    pub(super) name: Option<std::sync::Arc<str>>,
    pub(super) priority: Priority,
    pub(super) deadline: Option<Duration>,
    pub(super) token: Option<CancelToken>,
    /// See [`Birth::uncounted`].
    uncounted: bool,
    /// A full queue is waited for, also where the pool rejects.
    waits_for_room: bool,
}

impl TaskBuilder<'_> {
    /// For errors, and for [`shutdown_timeout`](ThreadPool::shutdown_timeout), which says what still runs.
    pub fn name(mut self, name: impl AsRef<str>) -> Self {
        self.options.name = Some(name.as_ref().into());
        self
    }

    /// Which tasks come first.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.options.priority = priority;
        self
    }

    /// The handle resolves to an error that [is a time-out](crate::JoinError::is_timeout) if the task has not ended this long after its
    /// submission: if it has not begun, it never will; if it runs, it sees [`current_token`](crate::current_token) cancelled, and
    /// what it returns is dropped.
    ///
    /// A thread of the crate's own keeps the deadlines. If the system refuses to start it, those who wait for a task keep them instead, and
    /// the worker that begins or ends the task. A future is then woken when one of them comes by, or finds out when it is polled.
    pub fn deadline(mut self, timeout: Duration) -> Self {
        self.options.deadline = Some(timeout);
        self
    }

    /// The token that cancels the task. By default that of the task that submits it, if it has one.
    pub fn token(mut self, token: &CancelToken) -> Self {
        self.options.token = Some(token.clone());
        self
    }

    /// See [`ThreadPool::submit`].
    pub fn submit<F, T>(self, f: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        submit_in(self.registry, self.options, f)
    }

    /// See [`ThreadPool::try_submit`].
    ///
    /// # Errors
    /// As there.
    pub fn try_submit<F, T>(self, f: F) -> Result<JoinHandle<T>, TrySubmitError<F>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        try_submit(self.registry, self.options, f)
    }
}

impl std::fmt::Debug for TaskBuilder<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TaskBuilder")
            .field("name", &self.options.name)
            .field("priority", &self.options.priority)
            .field("deadline", &self.options.deadline)
            .finish_non_exhaustive()
    }
}

impl Options {
    /// What of it goes into the task's second block, if anything.
    #[inline]
    fn lower(self, handle: bool) -> (Option<Box<Extra>>, Birth) {
        let plain = self.name.is_none() && self.token.is_none() && self.deadline.is_none();
        if plain && !token::is_set() {
            let birth = Birth {
                handle,
                uncounted: self.uncounted,
                ..Birth::default()
            };
            return (None, birth);
        }
        self.lower_slow(handle)
    }

    #[cold]
    fn lower_slow(self, handle: bool) -> (Option<Box<Extra>>, Birth) {
        let timed = self.deadline.is_some();
        let token = match self.token {
            None => token::current(),
            token => token,
        };
        // A deadline cancels this task's token and no other's.
        let token = match (timed, token) {
            (false, token) => token,
            (true, Some(token)) => Some(token.child()),
            (true, None) => Some(CancelToken::new()),
        };
        let birth = Birth {
            handle,
            extra: true,
            deadline: timed,
            uncounted: self.uncounted,
            ..Birth::default()
        };
        let extra = Extra {
            name: self.name,
            token,
            deadline: self.deadline.and_then(after),
            ..Extra::default()
        };
        (Some(Box::new(extra)), birth)
    }
}

/// Submits a piece of a stream, whose consumer waits for room whatever others do. `tasks`: it stands for so many tasks, and counts their
/// ends itself.
pub(super) fn submit_item<F, T>(registry: &Registry, tasks: Option<u64>, f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    if let Some(tasks) = tasks {
        registry.end_idle_moment(context::slot());
        registry.count(|counters| &counters.submitted, tasks);
    }
    let options = Options {
        uncounted: tasks.is_some(),
        waits_for_room: true,
        ..Options::default()
    };
    submit_in(registry, options, f)
}

#[inline]
fn make<F, T>(
    registry: &Registry,
    slot: Option<&Slot>,
    options: Options,
    f: F,
) -> (Task, JoinHandle<T>)
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let (extra, birth) = options.lower(true);
    // SAFETY: closure and result borrow nothing.
    let (task, header) =
        unsafe { cell::make(registry.id, birth, extra, slot.map(Slot::blocks), f) };
    // SAFETY: the birth counts a handle's reference, and here it is.
    let task_ref = unsafe { TaskRef::from_header(header) };
    // SAFETY: the handle's reference, and the result is a `T`.
    (task, unsafe { JoinHandle::new(task_ref) })
}

#[inline]
pub(super) fn submit_in<F, T>(registry: &Registry, options: Options, f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    registry.check_fork();
    let slot = context::slot();
    let (priority, waits) = (options.priority, options.waits_for_room);
    let (task, handle) = make(registry, slot, options, f);
    enter(registry, slot, task, priority, waits);
    handle
}

fn try_submit<F, T>(
    registry: &Registry,
    options: Options,
    f: F,
) -> Result<JoinHandle<T>, TrySubmitError<F>>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    registry.check_fork();
    match registry.gate.enter(false) {
        Ok(()) => {}
        Err(Refusal::Full) => return Err(TrySubmitError::Full(f)),
        Err(Refusal::Closed) => return Err(TrySubmitError::ShutDown(f)),
    }
    let slot = context::slot();
    let priority = options.priority;
    let (task, handle) = make(registry, slot, options, f);
    queue(registry, slot, task, priority);
    Ok(handle)
}

/// Lets a task into the pool, or does with it what the pool does when it is full.
#[inline]
fn enter(registry: &Registry, slot: Option<&Slot>, task: Task, priority: Priority, waits: bool) {
    match registry.gate.enter(false) {
        Ok(()) => queue(registry, slot, task, priority),
        Err(refusal) => enter_slow(registry, task, priority, refusal, waits),
    }
}

/// Whether the current thread's tasks are let in though the queue is full. A worker never waits for its own pool, nor does whoever runs one
/// of its tasks: a worker may wait for that.
pub(super) fn goes_beyond(registry: &Registry) -> bool {
    let here = context::slot().filter(|slot| ptr::eq(slot.registry(), registry));
    worker::is_pool_thread(registry) || here.is_some_and(|slot| slot.running.is_some())
}

#[cold]
fn enter_slow(
    registry: &Registry,
    task: Task,
    priority: Priority,
    mut refusal: Refusal,
    waits: bool,
) {
    let beyond = goes_beyond(registry);
    loop {
        match (refusal, registry.gate.when_full) {
            (Refusal::Closed, _) => return refuse(registry, task, Cause::Refused),
            (Refusal::Full, WhenFull::CallerRuns) => match registry.gate.enter(true) {
                Ok(()) => return run_unqueued(registry, task),
                Err(next) => {
                    refusal = next;
                    continue;
                }
            },
            (Refusal::Full, _) if beyond => {
                registry.count(|counters| &counters.beyond_capacity, 1);
            }
            (Refusal::Full, WhenFull::Reject) if !waits => {
                return refuse(registry, task, Cause::Full);
            }
            (Refusal::Full, WhenFull::Block | WhenFull::Reject) => {
                timer::block(&registry.gate, None);
            }
        }
        match registry.gate.enter(beyond) {
            Ok(()) => return queue(registry, context::slot(), task, priority),
            Err(next) => refusal = next,
        }
    }
}

/// Queues a task that was let in.
#[inline]
fn queue(registry: &Registry, slot: Option<&Slot>, task: Task, priority: Priority) {
    let slot = slot.filter(|slot| ptr::eq(slot.registry(), registry));
    registry.end_idle_moment(slot);
    // Before it is to be found: an end is never counted before its beginning.
    let tasks = TaskRef::tasks_of(&task);
    let before = match slot {
        Some(slot) => {
            let before = slot.counters.submitted.get();
            slot.counters.submitted.add(tasks);
            before
        }
        None => registry.outside.submitted.fetch_add_shared(tasks),
    };
    if queue_wait::is_sampled(before) {
        TaskRef::sample(&task, registry);
    }
    // As `enqueue` decides.
    let deque = slot.filter(|slot| priority == Priority::Normal && slot.role() != Seat::Guest);
    if deque.is_none() {
        TaskRef::set_in_lane(&task);
    }
    TaskRef::enrol(&task);
    registry.enqueue(slot, task, priority);
}

/// Ends a task that was not let in.
fn refuse(registry: &Registry, task: Task, cause: Cause) {
    registry.end_idle_moment(context::slot());
    registry.count(|counters| &counters.submitted, TaskRef::tasks_of(&task));
    TaskRef::of(task).cancel_here(cause);
}

/// Runs a task on the current thread, as if it had been queued: its token and its deadline know it.
fn run_unqueued(registry: &Registry, task: Task) {
    registry.end_idle_moment(context::slot());
    registry.count(|counters| &counters.submitted, TaskRef::tasks_of(&task));
    TaskRef::enrol(&task);
    let task = TaskRef::of(task);
    worker::as_part(registry, |slot| task.run_unqueued(slot));
}

/// Has `f` run on the pool soon. It is no task that anybody counts.
pub(super) fn run_soon(registry: &Registry, f: impl FnOnce() + Send + 'static) {
    let run = move |fate: Fate| {
        if fate == Fate::Run {
            cell::note_nothing_run();
        }
        f();
    };
    // SAFETY: `f` borrows nothing; the wrapper below catches its panics.
    let task = unsafe { Task::new(ptr::null(), None, run) };
    registry.inject([task], Priority::High);
}

/// For models: a task that is in no queue, its handle, and what it is given.
#[cfg(all(test, loom))]
pub(super) mod loose {
    use super::*;

    pub(in super::super) fn queued<T: Send + 'static>(
        pool: &ThreadPool,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> (Task, JoinHandle<T>) {
        with(pool, Options::default(), f)
    }

    /// Its deadline has come: the model expires it.
    pub(in super::super) fn timed<T: Send + 'static>(
        pool: &ThreadPool,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> (Task, JoinHandle<T>) {
        // So far away that the timer never knows it.
        let deadline = Some(Duration::MAX);
        let options = Options {
            deadline,
            ..Options::default()
        };
        with(pool, options, f)
    }

    pub(in super::super) fn with_token<T: Send + 'static>(
        pool: &ThreadPool,
        token: &CancelToken,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> (Task, JoinHandle<T>) {
        let options = Options {
            token: Some(token.clone()),
            ..Options::default()
        };
        with(pool, options, f)
    }

    fn with<T: Send + 'static>(
        pool: &ThreadPool,
        options: Options,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> (Task, JoinHandle<T>) {
        let registry = pool.registry();
        let (task, handle) = make(registry, None, options, f);
        registry.count(|counters| &counters.submitted, 1);
        TaskRef::enrol(&task);
        (task, handle)
    }
}
