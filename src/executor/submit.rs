//! Submission: how a task is made, admitted and queued.

use super::cell;
use super::error::{Cause, TrySubmitError};
use super::handle::JoinHandle;
use super::options::{IfFull, Options, option_methods};
use super::recorded::note_place;
use super::state::UNCOUNTED;
use super::task::NewTask;
use super::{timer, token, tombstones};
use crate::pool::{
    Member, Priority, Refusal, Registry, Role, StreamQueue, ThreadPool, WhenFull, context, global,
    worker,
};

/// # Tasks
///
/// A task owns its data (`'static`) and begins when a worker takes it from a queue. Its [`JoinHandle`] waits
/// for it, cancels it, or detaches it. For tasks that borrow, use [`scope`](Self::scope).
impl ThreadPool {
    /// Queues `f` to run on a worker and returns a handle for its result.
    ///
    /// From a thread of this pool, the task goes to that thread's own queue, newest first. From elsewhere it
    /// goes to the pool's queue, oldest first. In a pool of eight threads or more this queue has several parts:
    /// the tasks of one thread keep their order, those of different threads have none. A task costs one
    /// allocation.
    ///
    /// Use [`spawn`](Self::spawn) if nobody needs the result, [`try_submit`](Self::try_submit) to keep the
    /// closure if it is refused, [`submit_many`](Self::submit_many) for a batch, and [`task`](Self::task) for
    /// a name, priority, deadline or token.
    ///
    /// The handle resolves to an error if the pool has been shut down, or if the queue is full and the pool
    /// was built with [`WhenFull::Reject`]. A panic of `f` is an error of the handle too.
    ///
    /// # Blocking
    ///
    /// Waits only if the queue is full and the pool was built with [`WhenFull::Block`], the default. See
    /// [`queue_capacity`](crate::ThreadPoolBuilder::queue_capacity).
    ///
    /// ```
    /// let pool = heist::ThreadPool::new()?;
    /// let handle = pool.submit(|| "hello".len());
    /// assert_eq!(handle.join().unwrap(), 5);
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    #[inline]
    #[track_caller]
    pub fn submit<F, T>(&self, f: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        note_place(self.registry(), None, &f);
        submit_in(self.registry(), Options::default(), f)
    }

    /// Queues `f` as [`submit`](Self::submit) does, but never blocks, and returns the closure if the pool
    /// refuses it.
    ///
    /// # Errors
    ///
    /// Returns the closure if the pool has been shut down or the queue is full, whatever
    /// [`WhenFull`] says. A full queue refuses the pool's own threads too.
    ///
    /// ```
    /// let pool = heist::ThreadPool::new()?;
    /// let handle = pool.try_submit(|| 1).unwrap();
    /// assert_eq!(handle.join().unwrap(), 1);
    /// pool.shutdown();
    /// let refused = pool.try_submit(|| 2).unwrap_err();
    /// assert!(!refused.is_full());
    /// assert_eq!(refused.into_inner()(), 2);
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    #[track_caller]
    pub fn try_submit<F, T>(&self, f: F) -> Result<JoinHandle<T>, TrySubmitError<F>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        note_place(self.registry(), None, &f);
        try_submit(self.registry(), Options::default(), f)
    }

    /// Submits each of the closures, wakes the pool once for all of them, and returns their handles in the
    /// order of the closures.
    ///
    /// Use it in place of a loop around [`submit`](Self::submit) if the closures are known in advance. For
    /// closures that differ only in their argument and may borrow, [`map`](Self::map) is faster; for more
    /// items than should be queued at once, use [`imap`](Self::imap).
    ///
    /// # Blocking
    ///
    /// Waits for room in a full queue as [`submit`](Self::submit) does, once for each closure.
    ///
    /// ```
    /// let pool = heist::ThreadPool::new()?;
    /// let handles = pool.submit_many((0..3).map(|n| move || n + 1));
    /// let sum: i32 = handles.into_iter().map(|handle| handle.join().unwrap()).sum();
    /// assert_eq!(sum, 6);
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    #[track_caller]
    pub fn submit_many<I, F, T>(&self, closures: I) -> Vec<JoinHandle<T>>
    where
        I: IntoIterator<Item = F>,
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let registry = self.registry();
        if registry.admission.is_bounded() || token::is_set() {
            let mut handles = Vec::new();
            for f in closures {
                handles.push(self.submit(f));
            }
            return handles;
        }
        registry.check_fork();
        let mut handles = Vec::new();
        let mut tasks = Vec::new();
        for f in closures {
            note_place(registry, None, &f);
            let (task, handle) = make(registry, context::member(), Options::default(), f);
            task.get().state.set_in_injector();
            registry.end_idle_moment(context::slot());
            match registry.admission.enter(false) {
                Ok(()) => {
                    // Counted at once: if the iterator panics, the tasks made so far are dropped and counted as cancelled.
                    registry.count(|counters| &counters.submitted, 1);
                    if registry.sampling.measures_in_batch(tasks.len()) {
                        task.get().measure();
                    }
                    task.get().record_made_if_recorded(registry);
                    tasks.push(task.into_task());
                }
                Err(_) => refuse(registry, task, Cause::Refused),
            }
            handles.push(handle);
        }
        registry.inject(tasks, Priority::Normal);
        handles
    }

    /// Returns a builder for a task with a name, a priority, a deadline or a token. Nothing is submitted until
    /// [`TaskBuilder::submit`] or [`TaskBuilder::try_submit`].
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

    /// Queues `f` to run on a worker, without a handle.
    ///
    /// Use [`submit`](Self::submit) to get the result or to wait for the end. If the pool has no thread and
    /// none can be started, `f` runs on the calling thread. If the pool has been shut down, or rejects
    /// because its queue is full, `f` is dropped and counted as cancelled.
    ///
    /// # Panics
    ///
    /// A panic of `f` does not reach the caller. It goes to the
    /// [`panic_handler`](crate::ThreadPoolBuilder::panic_handler), and the worker continues.
    ///
    /// # Blocking
    ///
    /// Waits for room in a full queue as [`submit`](Self::submit) does.
    ///
    /// ```
    /// let pool = heist::ThreadPool::new()?;
    /// let (sender, receiver) = std::sync::mpsc::channel();
    /// pool.spawn(move || sender.send(42).unwrap());
    /// assert_eq!(receiver.recv(), Ok(42));
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    #[track_caller]
    pub fn spawn<F: FnOnce() + Send + 'static>(&self, f: F) {
        spawn_in(self.registry(), context::member(), f);
    }
}

#[track_caller]
fn spawn_in(registry: &Registry, member: Option<Member<'_>>, f: impl FnOnce() + Send + 'static) {
    note_place(registry, None, &f);
    registry.check_fork();
    #[cfg(feature = "tracing")]
    let f = super::spans::carry(None, f);
    let (extra, flags) = Options::default().lower();
    // SAFETY: `f` is `'static`: it borrows nothing that could end before the task.
    let task = unsafe { cell::make(registry.id, flags, extra, member.map(Member::blocks), f) };
    let queue = Queue::Pool(Priority::Normal);
    enter(registry, member, task, queue, IfFull::default());
}

/// Queues `f` without a handle, as [`ThreadPool::spawn`] does, on the pool of the current thread or the
/// [`global`] one.
///
/// ```
/// let (sender, receiver) = std::sync::mpsc::channel();
/// heist::spawn(move || sender.send("done").unwrap());
/// assert_eq!(receiver.recv(), Ok("done"));
/// ```
#[track_caller]
pub fn spawn<F: FnOnce() + Send + 'static>(f: F) {
    match context::member() {
        Some(member) => spawn_in(member.registry, Some(member), f),
        None => global().spawn(f),
    }
}

/// Queues `f` and returns a handle, as [`ThreadPool::submit`] does, on the pool of the current thread or the
/// [`global`] one.
///
/// ```
/// let handle = heist::submit(|| "hello".len());
/// assert_eq!(handle.join().unwrap(), 5);
/// ```
#[track_caller]
pub fn submit<F, T>(f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let registry = match context::member() {
        Some(member) => member.registry,
        None => global().registry(),
    };
    note_place(registry, None, &f);
    submit_in(registry, Options::default(), f)
}

/// A builder for a task with a name, a priority, a deadline or a token. See [`ThreadPool::task`].
///
/// Clone it to submit several tasks with equal options.
///
/// ```
/// use std::time::Duration;
/// let pool = heist::ThreadPool::new()?;
/// let task = pool.task().name("row").deadline(Duration::from_secs(60));
/// let rows: Vec<_> = (0..3).map(|n| task.clone().submit(move || n * n)).collect();
/// assert_eq!(heist::try_join_all(rows).unwrap(), [0, 1, 4]);
/// # Ok::<(), heist::BuildError>(())
/// ```
#[derive(Clone)]
#[must_use = "a task does nothing until `submit` or `try_submit`"]
pub struct TaskBuilder<'a> {
    registry: &'a Registry,
    options: Options,
}

option_methods!(TaskBuilder; "let handle = pool.task()", "submit");

impl<'a> TaskBuilder<'a> {
    pub(super) fn into_parts(self) -> (&'a Registry, Options) {
        (self.registry, self.options)
    }

    /// Queues `f` with these options and returns a handle for its result. See [`ThreadPool::submit`] for when it waits, and for the errors of
    /// the handle.
    ///
    /// ```
    /// let pool = heist::ThreadPool::new()?;
    /// let handle = pool.task().name("answer").submit(|| 6 * 7);
    /// assert_eq!(handle.join().unwrap(), 42);
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    #[track_caller]
    pub fn submit<F, T>(self, f: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        note_place(self.registry, self.options.name.as_ref(), &f);
        submit_in(self.registry, self.options, f)
    }

    /// Queues `f` with these options, but never blocks, and returns the closure if the pool refuses it. See [`ThreadPool::try_submit`].
    ///
    /// # Errors
    ///
    /// Returns the closure if the queue is full or the pool has been shut down.
    ///
    /// ```
    /// let pool = heist::ThreadPool::builder().queue_capacity(100).build()?;
    /// let handle = pool.task().priority(heist::Priority::High).try_submit(|| 6 * 7).unwrap();
    /// assert_eq!(handle.join().unwrap(), 42);
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    #[track_caller]
    pub fn try_submit<F, T>(self, f: F) -> Result<JoinHandle<T>, TrySubmitError<F>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        note_place(self.registry, self.options.name.as_ref(), &f);
        try_submit(self.registry, self.options, f)
    }
}

/// Where a task is queued.
#[derive(Clone, Copy)]
pub(super) enum Queue<'a> {
    /// In the injector, or in the deque of the pool's thread that submits it.
    Pool(Priority),
    Stream(&'a StreamQueue),
}

/// Submits a chunk of a stream to the stream's queue. If the pool's queue is full, the consumer waits for room, even if the pool rejects the tasks of other submitters.
///
/// `tasks` is `None` if the chunk counts as one task in the pool's statistics, like any other. Otherwise it counts as this many submitted tasks, and its closure
/// counts their ends.
pub(super) fn submit_chunk<T: Send + 'static>(
    registry: &Registry,
    tasks: Option<u64>,
    if_full: IfFull,
    queue: &StreamQueue,
    f: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    if let Some(tasks) = tasks {
        registry.end_idle_moment(context::slot());
        registry.count(|counters| &counters.submitted, tasks);
    }
    let options = Options {
        flags: tasks.map_or(0, |_| UNCOUNTED),
        if_full,
        ..Options::default()
    };
    submit_to(registry, options, Queue::Stream(queue), f)
}

#[inline]
#[cfg_attr(feature = "tracing", track_caller)]
pub(super) fn make<T: Send + 'static>(
    registry: &Registry,
    member: Option<Member<'_>>,
    options: Options,
    f: impl FnOnce() -> T + Send + 'static,
) -> (NewTask, JoinHandle<T>) {
    #[cfg(feature = "tracing")]
    let f = super::spans::carry(options.name.as_deref(), f);
    let (extra, flags) = options.lower();
    let blocks = member.map(Member::blocks);
    // SAFETY: closure and result are `'static`: they borrow nothing that could end before the task.
    unsafe { cell::make_joinable(registry.id, flags, extra, blocks, f) }
}

/// Makes a task without options, whoever runs the current thread: it inherits no token.
pub(super) fn make_plain<T: Send + 'static>(
    pool: u64,
    f: impl FnOnce() -> T + Send + 'static,
) -> (NewTask, JoinHandle<T>) {
    // SAFETY: closure and result are `'static`: they borrow nothing that could end before the task.
    unsafe { cell::make_joinable(pool, 0, None, None, f) }
}

#[inline]
#[cfg_attr(feature = "tracing", track_caller)]
pub(super) fn submit_in<T: Send + 'static>(
    registry: &Registry,
    options: Options,
    f: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    let queue = Queue::Pool(options.priority);
    submit_to(registry, options, queue, f)
}

#[inline]
#[cfg_attr(feature = "tracing", track_caller)]
fn submit_to<T: Send + 'static>(
    registry: &Registry,
    options: Options,
    queue: Queue<'_>,
    f: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    registry.check_fork();
    let member = context::member();
    let if_full = options.if_full;
    let is_timed = options.deadline.is_some();
    let (task, handle) = make(registry, member, options, f);
    enter(registry, member, task, queue, if_full);
    if is_timed && let Some(member) = member.filter(|member| member.is_of(registry)) {
        tombstones::note_deadline(member);
    }
    handle
}

#[cfg_attr(feature = "tracing", track_caller)]
fn try_submit<F: FnOnce() -> T + Send + 'static, T: Send + 'static>(
    registry: &Registry,
    options: Options,
    f: F,
) -> Result<JoinHandle<T>, TrySubmitError<F>> {
    registry.check_fork();
    match registry.admission.enter(false) {
        Ok(()) => {}
        Err(Refusal::Full) => return Err(TrySubmitError::Full(f)),
        Err(Refusal::Closed) => return Err(TrySubmitError::ShutDown(f)),
    }
    let member = context::member();
    let priority = options.priority;
    let (task, handle) = make(registry, member, options, f);
    enqueue(registry, member, task, Queue::Pool(priority));
    Ok(handle)
}

/// Admits a task and queues it, or does what the pool does when its queue is full.
#[inline]
pub(super) fn enter(
    registry: &Registry,
    member: Option<Member<'_>>,
    task: NewTask,
    queue: Queue<'_>,
    if_full: IfFull,
) {
    match registry.admission.enter(false) {
        Ok(()) => enqueue(registry, member, task, queue),
        Err(refusal) => enter_slow(registry, task, queue, refusal, if_full),
    }
}

/// Returns whether the tasks of the current thread are admitted even if the queue is full. A worker never waits for room in its own pool, and neither does
/// another thread that runs one of the pool's tasks, because a worker may be waiting for that task.
pub(super) fn may_exceed_capacity(registry: &Registry) -> bool {
    let here = context::member_of(registry);
    worker::is_pool_thread(registry) || here.is_some_and(|member| member.running.is_some())
}

#[cold]
fn enter_slow(
    registry: &Registry,
    task: NewTask,
    queue: Queue<'_>,
    mut refusal: Refusal,
    if_full: IfFull,
) {
    let when_full = registry.admission.when_full;
    let on_workers = matches!(if_full, IfFull::WaitsForWorkers | IfFull::Exceeds);
    let caller_runs = when_full == WhenFull::CallerRuns && !on_workers;
    let beyond = if_full == IfFull::Exceeds || may_exceed_capacity(registry);
    while refusal == Refusal::Full {
        match (when_full, if_full) {
            _ if caller_runs => {}
            _ if beyond => registry.count(|counters| &counters.beyond_capacity, 1),
            (WhenFull::Reject, IfFull::PoolDecides) => return refuse(registry, task, Cause::Full),
            (_, IfFull::WaitsForWorkers) => timer::block_idly(&registry.admission),
            _ => drop(timer::block(&registry.admission, None)),
        }
        match registry.admission.enter(beyond || caller_runs) {
            Ok(()) if caller_runs => return run_on_submitter(registry, task),
            Ok(()) => return enqueue(registry, context::member(), task, queue),
            Err(next) => refusal = next,
        }
    }
    refuse(registry, task, Cause::Refused);
}

/// Queues a task that was admitted.
#[inline]
fn enqueue(registry: &Registry, member: Option<Member<'_>>, new: NewTask, queue: Queue<'_>) {
    let member = member.filter(|member| member.is_of(registry));
    registry.end_idle_moment(member.map(|member| member.slot));
    // Before a thread can find the task: an end is never counted before its beginning.
    let task = new.get();
    let tasks = task.tasks();
    let before = match member {
        Some(member) => {
            let before = member.counters.submitted.get();
            member.counters.submitted.add(tasks);
            before
        }
        None => registry.outside.own().submitted.fetch_add_shared(tasks),
    };
    if registry.sampling.measures(before) {
        task.measure();
    }
    if let Queue::Pool(priority) = queue {
        // `Registry::enqueue` chooses the queue by the same condition.
        let is_outside = member.is_none_or(|member| member.role() == Role::Guest);
        if is_outside || priority != Priority::Normal {
            task.state.set_in_injector();
        }
    }
    task.record_made_if_recorded(registry);
    task.register_cancellers();
    match queue {
        Queue::Pool(priority) => registry.enqueue(member, new.into_task(), priority),
        Queue::Stream(queue) => registry.enqueue_item(member, queue, new.into_task()),
    }
}

/// Ends a task that was not admitted.
fn refuse(registry: &Registry, task: NewTask, cause: Cause) {
    registry.end_idle_moment(context::slot());
    registry.count(|counters| &counters.submitted, task.get().tasks());
    task.into_ref().cancel_unrun(cause);
}

/// Runs an admitted task on the thread that submits it, because the queue is full. Until it begins, its token and its deadline can end it, as if it were queued.
fn run_on_submitter(registry: &Registry, task: NewTask) {
    registry.end_idle_moment(context::slot());
    registry.count(|counters| &counters.submitted, task.get().tasks());
    let task = task.into_ref();
    if registry.sampling.measures_all() {
        task.measure();
    }
    task.register_cancellers();
    worker::as_part(registry, |member| {
        if task.claim().is_some() {
            registry.admission.leave();
            task.run_claimed(member);
            member.look_idle_after_help();
        } else {
            task.count_tombstone(|counters| &counters.tombstones_removed);
        }
    });
}
