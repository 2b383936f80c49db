//! Submission of futures, which are polled on the workers.

use super::extra::{Extra, Waiter};
use super::future_cell;
use super::handle::JoinHandle;
use super::options::Options;
use super::recorded::note_place_of_future;
use super::scoped::ScopedJoinHandle;
use super::state::{EXTRA, InitialFlags, UNCOUNTED, UNGATED};
use super::submit::{Queue, TaskBuilder, enter};
use super::suspend::FutureKind;
use super::task::NewTask;
use super::tombstones;
use crate::blocks::Blocks;
use crate::fork::Scope;
use crate::pool::{self, Member, Priority, Registry, Slot, ThreadPool, context, global};
use std::future::Future;
use std::sync::Arc;

/// # Futures
///
/// A future is a task too: the workers poll it, between closures, whenever it was woken. It has the same
/// [`JoinHandle`], the same options and the same counts. A future that waits takes no thread.
impl ThreadPool {
    /// Queues `future` to be polled on the workers until it is ready, and returns a handle for its result.
    ///
    /// One allocation suffices from here until the future is ready. When its waker is
    /// called on a worker of this pool, that worker usually polls it next. When it is called elsewhere, by a reactor
    /// or a timer, or in the middle of a join, the future goes to the pool's queue. If all workers are in the
    /// middle of joins or maps then, a [spare thread](crate::ThreadPoolBuilder::spare_threads) polls it, if there
    /// is one. While all run long closures, or in the last part of a join, the future waits for the end of one.
    ///
    /// [`cancel`](JoinHandle::cancel) drops a future that has begun too, between two polls. The handle then
    /// resolves when the future has been dropped. A future is dropped on one of the pool's threads, or on a
    /// thread that takes part in the pool and waits for it or for its scope, unless the pool refuses it or has no
    /// thread any more.
    /// A [`deadline`](TaskBuilder::deadline) resolves the handle on time, and the future is dropped soon after. It has no
    /// effect on a future that was cancelled before.
    ///
    /// A graceful [`shutdown`](Self::shutdown) waits for futures that wait for something.
    /// [`shutdown_now`](Self::shutdown_now) drops them.
    ///
    /// # Blocking
    ///
    /// Waits only as [`submit`](Self::submit) does. A future that blocks its thread blocks a worker: use
    /// [`blocking`](crate::blocking()).
    ///
    /// Where no other thread can, as on the only worker of a pool without spare threads, a
    /// [`join`](JoinHandle::join) polls the future that it waits for, runs the tasks whose handles that future
    /// awaits, and no other ones. So does a wait for several handles. What comes another way, by a channel from a
    /// queued closure or a combinator with wakers of its own, never comes there. A future that the awaited one
    /// awaits in its turn is polled there up to a second late.
    ///
    /// ```
    /// let pool = heist::ThreadPool::new()?;
    /// let words = pool.submit(|| "to be or not to be".split(' ').count());
    /// let handle = pool.submit_async(async move { words.await.unwrap() * 2 });
    /// assert_eq!(handle.join().unwrap(), 12);
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    #[track_caller]
    pub fn submit_async<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        note_place_of_future(self.registry(), None, &future);
        submit_in(self.registry(), Options::default(), future)
    }

    /// Queues `future` to be polled on the workers, without a handle.
    ///
    /// A panic goes to the [`panic_handler`](crate::ThreadPoolBuilder::panic_handler). Otherwise it is like
    /// [`submit_async`](Self::submit_async).
    ///
    /// ```
    /// let pool = heist::ThreadPool::new()?;
    /// let (sender, receiver) = std::sync::mpsc::channel();
    /// pool.spawn_async(async move { sender.send(42).unwrap() });
    /// assert_eq!(receiver.recv(), Ok(42));
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    #[track_caller]
    pub fn spawn_async<F>(&self, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        note_place_of_future(self.registry(), None, &future);
        spawn_in(self.registry(), future);
    }
}

/// Queues `future` and returns a handle, as [`ThreadPool::submit_async`] does, on the pool of the current
/// thread or the [`global`](crate::global) one.
///
/// ```
/// let handle = heist::submit_async(async { 6 * 7 });
/// assert_eq!(handle.join().unwrap(), 42);
/// ```
#[track_caller]
pub fn submit_async<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let registry = match context::member() {
        Some(member) => member.registry,
        None => global().registry(),
    };
    note_place_of_future(registry, None, &future);
    submit_in(registry, Options::default(), future)
}

/// Queues `future` without a handle, as [`ThreadPool::spawn_async`] does, on the pool of the current thread
/// or the [`global`](crate::global) one.
///
/// ```
/// let (sender, receiver) = std::sync::mpsc::channel();
/// heist::spawn_async(async move { sender.send("done").unwrap() });
/// assert_eq!(receiver.recv(), Ok("done"));
/// ```
#[track_caller]
pub fn spawn_async<F>(future: F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let registry = match context::member() {
        Some(member) => member.registry,
        None => global().registry(),
    };
    note_place_of_future(registry, None, &future);
    spawn_in(registry, future);
}

impl TaskBuilder<'_> {
    /// Queues `future` with these options and returns a handle for its result. See
    /// [`ThreadPool::submit_async`].
    ///
    /// The [priority](Self::priority) holds for each time that the future is queued. A cancel of the
    /// [token](Self::token) drops a future that has begun too, between two polls.
    ///
    /// ```
    /// use std::time::Duration;
    /// let pool = heist::ThreadPool::new()?;
    /// let never = std::future::pending::<()>();
    /// let handle = pool.task().deadline(Duration::from_millis(1)).submit_async(never);
    /// assert!(handle.join().unwrap_err().is_timeout());
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    #[track_caller]
    pub fn submit_async<F>(self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let (registry, options) = self.into_parts();
        note_place_of_future(registry, options.name.as_ref(), &future);
        submit_in(registry, options, future)
    }
}

/// Submits a future to a pool, and returns its handle.
#[track_caller]
pub(crate) fn submit_async_in<F>(registry: &Registry, future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    note_place_of_future(registry, None, &future);
    submit_in(registry, Options::default(), future)
}

/// Submits a future that never ends by itself. A shutdown of any kind ends it.
#[track_caller]
pub(crate) fn submit_daemon(
    registry: &Registry,
    future: impl Future<Output = ()> + Send + 'static,
) -> JoinHandle<()> {
    note_place_of_future(registry, None, &future);
    // It is not counted: a pool with nothing else to do is idle.
    let options = Options {
        flags: UNCOUNTED,
        ..Options::default()
    };
    submit_as(registry, options, true, future)
}

#[cfg_attr(feature = "tracing", track_caller)]
fn submit_in<F>(registry: &Registry, options: Options, future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    submit_as(registry, options, false, future)
}

#[cfg_attr(feature = "tracing", track_caller)]
fn submit_as<F>(
    registry: &Registry,
    options: Options,
    is_daemon: bool,
    future: F,
) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    #[cfg(feature = "tracing")]
    let future = super::spans::carry_future(options.name.as_deref(), future);
    let is_timed = options.deadline.is_some();
    let mut handle = None;
    queue(
        registry,
        options,
        is_daemon,
        |flags, kind, extra, blocks| {
            // SAFETY: future and result are `'static`: they borrow nothing that could end before the task.
            let (task, made) = unsafe {
                future_cell::make_joinable(registry.id, kind, flags, extra, blocks, future)
            };
            handle = Some(made);
            task
        },
    );
    if is_timed && let Some(member) = context::member_of(registry) {
        tombstones::note_deadline(member);
    }
    handle.expect("heist: a future without a handle")
}

#[cfg_attr(feature = "tracing", track_caller)]
fn spawn_in(registry: &Registry, future: impl Future<Output = ()> + Send + 'static) {
    #[cfg(feature = "tracing")]
    let future = super::spans::carry_future(None, future);
    queue(
        registry,
        Options::default(),
        false,
        |flags, kind, extra, blocks| {
            // SAFETY: the future is `'static`: it borrows nothing that could end before the task.
            unsafe { future_cell::make(registry.id, kind, flags, extra, blocks, future) }
        },
    );
}

/// Queues the task that `make` returns.
fn queue(
    registry: &Registry,
    options: Options,
    is_daemon: bool,
    make: impl FnOnce(InitialFlags, FutureKind, Option<Box<Extra>>, Option<&Blocks>) -> NewTask,
) {
    registry.check_fork();
    registry.roster.begin_use();
    let member = context::member();
    let (priority, if_full) = (options.priority, options.if_full);
    let (extra, flags) = options.lower();
    let kind = FutureKind {
        priority,
        is_daemon,
    };
    let task = make(flags, kind, extra, member.map(Member::blocks));
    enter(registry, member, task, Queue::Pool(priority), if_full);
}

impl<T> JoinHandle<T> {
    /// The pool of the task, if it has one that still exists.
    pub(crate) fn pool(&self) -> Option<Arc<Registry>> {
        pool::pool(self.task().pool())
    }
}

impl<'scope> Scope<'scope> {
    /// Submits a future that may borrow, and returns a handle for its result.
    ///
    /// The scope waits until the future is ready or cancelled, even if the handle is dropped. See
    /// [`submit`](Self::submit) and [`ThreadPool::submit_async`].
    ///
    /// # Blocking
    ///
    /// This method does not wait, even if the pool's queue is full.
    ///
    /// ```
    /// let text = String::from("to be or not to be");
    /// let words = heist::scope(|s| {
    ///     let letters = s.submit(|_| text.len());
    ///     let words = s.submit_async(async { text.split(' ').count() + letters.await.unwrap() });
    ///     words.join().unwrap()
    /// });
    /// assert_eq!(words, 24);
    /// ```
    #[track_caller]
    pub fn submit_async<F>(&self, future: F) -> ScopedJoinHandle<'scope, F::Output>
    where
        F: Future + Send + 'scope,
        F::Output: Send + 'scope,
    {
        let registry = self.registry();
        note_place_of_future(registry, None, &future);
        registry.check_fork();
        registry.roster.begin_use();
        registry.end_idle_moment(context::slot());
        #[cfg(feature = "tracing")]
        let future = super::spans::carry_future(None, future);
        let mut extra = Box::<Extra>::default();
        // The end of the task counts it down.
        let waiter = Waiter::Scope(self.ptr().erased());
        crate::sync::lock(&extra.list).waiters.push(waiter);
        let blocks = context::slot().map(Slot::blocks);
        let mut handle = None;
        self.queue(1, |group, _| {
            // SAFETY: `queue` passes the scope's group, which lives during the call.
            extra.group = Some(unsafe { &*group }.copy());
            let kind = FutureKind {
                priority: Priority::Normal,
                is_daemon: false,
            };
            // SAFETY: what future and result borrow outlives `'scope`. (1) The scope waits for the waiter in `extra`, which is woken after the
            // future was dropped. (2) The result is dropped before that, or belongs to the handle, whose type does not outlive `'scope`.
            let (task, inner) = unsafe {
                future_cell::make_joinable(
                    registry.id,
                    kind,
                    UNGATED | EXTRA,
                    Some(extra),
                    blocks,
                    future,
                )
            };
            handle = Some(inner);
            let task = task.into_ref();
            task.record_made_if_recorded(registry);
            task.into_entry()
        });
        let inner = handle.expect("heist: a scope has queued nothing");
        ScopedJoinHandle::new(inner)
    }
}
