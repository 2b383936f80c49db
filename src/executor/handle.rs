//! The handle of a submitted task.

use super::cell::{self, TaskRef};
use super::error::{Cause, JoinError, TaskId};
use super::extra::{Callback, Waiter};
use super::timer;
use crate::job::Task;
use crate::pool::{self, Registry, Seat, Slot, context, worker};
use crate::sync::{now, thread};
use crate::unwind;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::ptr::{self, NonNull};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// A submitted task, to be joined, cancelled, awaited or let go.
///
/// Dropping it lets the task go: it runs, and its result is dropped. Every handle resolves, whatever happens: the task runs, panics, is cancelled,
/// misses its deadline, or its pool is shut down.
///
/// ```
/// let pool = heist::ThreadPool::new()?;
/// let handle = pool.submit(|| 6 * 7);
/// assert_eq!(handle.join().unwrap(), 42);
/// # Ok::<(), heist::BuildError>(())
/// ```
#[must_use = "a handle that is dropped lets its task go: call `detach` to say so"]
pub struct JoinHandle<T> {
    /// Always there; taken out when the handle goes.
    task: Option<TaskRef>,
    /// The outcome is the caller's already.
    taken: bool,
    marker: PhantomData<fn() -> T>,
}

// SAFETY: the handle moves a `T` to whoever joins.
unsafe impl<T: Send> Send for JoinHandle<T> {}
// SAFETY: shared, it gives no access to the `T`.
unsafe impl<T: Send> Sync for JoinHandle<T> {}

impl<T> JoinHandle<T> {
    /// # Safety
    /// `task` owns the handle's reference to a task whose result is a `T`.
    #[inline]
    pub(super) unsafe fn new(task: TaskRef) -> Self {
        JoinHandle {
            task: Some(task),
            taken: false,
            marker: PhantomData,
        }
    }

    #[inline]
    pub(super) fn task(&self) -> &TaskRef {
        self.task.as_ref().expect("heist: a handle without a task")
    }

    /// Waits for the task, and gives its result.
    ///
    /// On a thread that takes part in a pool, the task runs here and now if nobody has begun it: a pool of one thread
    /// does not wait for itself, however its tasks join each other. Tasks that wait for each other in a ring wait for ever.
    ///
    /// # Errors
    /// The task panicked, was cancelled, or missed its deadline.
    ///
    /// # Blocking
    /// Until the task has finished; a worker leaves its place to a spare thread meanwhile.
    ///
    /// ```
    /// let pool = heist::ThreadPool::new()?;
    /// let handles: Vec<_> = (0..4).map(|n| pool.submit(move || n * n)).collect();
    /// let squares: Result<Vec<_>, _> = handles.into_iter().map(|handle| handle.join()).collect();
    /// assert_eq!(squares.unwrap(), [0, 1, 4, 9]);
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn join(mut self) -> Result<T, JoinError> {
        let task = self.task();
        if !task.is_finished() {
            run_here(task);
            cell::wait(task, None);
        }
        self.take()
    }

    /// Waits for at most `timeout`. Returns whether the task has finished; a timeout of zero asks just that. It never cancels.
    ///
    /// It does not run the task itself, which could take longer than `timeout`: on the only thread of a pool, without a spare, the time passes
    /// and the task has not begun. With a timeout beyond what [`Instant`] can hold, as [`Duration::MAX`] is, nothing can be late, and the task
    /// runs here as in [`join`](Self::join).
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        if self.is_finished() || timeout.is_zero() {
            return self.is_finished();
        }
        let task = self.task();
        let deadline = after(timeout);
        if deadline.is_none() {
            run_here(task);
        }
        cell::wait(task, deadline)
    }

    /// [`join`](Self::join) for at most `timeout`. Like [`wait_timeout`](Self::wait_timeout), it does not run the task itself.
    ///
    /// # Errors
    /// The handle, if the task has not finished by then.
    ///
    /// ```
    /// use std::time::Duration;
    /// let pool = heist::ThreadPool::new()?;
    /// let (go, gate) = std::sync::mpsc::channel::<()>();
    /// let handle = pool.submit(move || gate.recv().is_ok());
    /// let handle = handle.join_timeout(Duration::from_millis(1)).unwrap_err();
    /// go.send(()).unwrap();
    /// assert!(handle.join().unwrap());
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn join_timeout(mut self, timeout: Duration) -> Result<Result<T, JoinError>, Self> {
        if self.wait_timeout(timeout) {
            Ok(self.take())
        } else {
            Err(self)
        }
    }

    /// Whether the task has come to its end, of whatever kind.
    pub fn is_finished(&self) -> bool {
        timer::look();
        self.task().is_finished()
    }

    /// Whether the task has begun and not ended.
    pub fn is_running(&self) -> bool {
        self.task().is_running()
    }

    /// Whether the task was cancelled before it began, and will not run. Until [`is_finished`](Self::is_finished) its closure may be being
    /// dropped yet.
    pub fn is_cancelled(&self) -> bool {
        self.task().is_cancelled()
    }

    /// Which task.
    pub fn id(&self) -> TaskId {
        self.task().id()
    }

    /// The name that the task was given.
    pub fn name(&self) -> Option<&str> {
        self.task().name()
    }

    /// Drops the task if it has not begun: its closure is dropped here and now, and whoever waits is told.
    ///
    /// True: it will not run, or was cancelled before. False: it runs or has ended. To stop one that runs, give it a
    /// [`CancelToken`](crate::CancelToken).
    pub fn cancel(&self) -> bool {
        let task = self.task();
        task.cancel(Cause::Asked) || task.is_cancelled()
    }

    /// Calls `f` with the outcome when the task ends, before the handle reports it as finished; in the order added; on the thread that ends the
    /// task, or here and now if it has ended. (After a deadline: on the pool, and the handle is finished by then.) A panic of `f` goes to the pool's
    /// [`panic_handler`](crate::ThreadPoolBuilder::panic_handler).
    ///
    /// ```
    /// let pool = heist::ThreadPool::new()?;
    /// let (sender, receiver) = std::sync::mpsc::channel();
    /// let mut handle = pool.submit(|| 42);
    /// handle.on_finish(move |outcome| sender.send(*outcome.as_ref().unwrap()).unwrap());
    /// assert_eq!(receiver.recv(), Ok(42));
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn on_finish<F>(&mut self, f: F)
    where
        T: 'static,
        F: FnOnce(&Result<T, JoinError>) + Send + 'static,
    {
        let task = self.task();
        let callback: Callback = Box::new(move |outcome: NonNull<()>| {
            // SAFETY: the cell that calls holds a `T`'s outcome, and nobody changes it meanwhile.
            f(unsafe { outcome.cast::<Result<T, JoinError>>().as_ref() });
        });
        let mut callback = Some(callback);
        if task.at_end(|list| list.callbacks.extend(callback.take())) {
            return;
        }
        assert!(
            !self.taken,
            "heist: on_finish after the handle has given its result"
        );
        if !task.call_abroad(&mut callback)
            && let Some(callback) = callback
            && let Err(payload) = unwind::catch(|| callback(task.outcome()))
        {
            task.lost_callback(payload);
        }
    }

    /// Lets the task go: it runs, and its result is dropped. The same as dropping the handle, said aloud.
    pub fn detach(self) {}

    /// Whether the task has finished without a result.
    pub(super) fn is_error(&self) -> bool {
        self.look().is_some_and(Result::is_err)
    }

    /// The outcome, if it is there and was not taken. Callers look at no more than which variant it is: others may look too, and a `T` need not be
    /// `Sync`.
    fn look(&self) -> Option<&Result<T, JoinError>> {
        let task = self.task();
        if self.taken || !task.is_finished() {
            return None;
        }
        // SAFETY: finished, not taken, and the handle is borrowed: the outcome stays there, and nobody writes.
        Some(unsafe { task.outcome().cast::<Result<T, JoinError>>().as_ref() })
    }

    /// Takes the outcome of a finished task.
    pub(super) fn take(&mut self) -> Result<T, JoinError> {
        assert!(
            !std::mem::replace(&mut self.taken, true),
            "heist: a handle was polled again after it had given its result"
        );
        // SAFETY: finished: the outcome is the handle's, which has not taken it before.
        unsafe { self.task().outcome().cast::<Result<T, JoinError>>().read() }
    }
}

impl<T, E> JoinHandle<Result<T, E>> {
    /// Whether the task has finished without a result, or with an `Err`.
    pub(super) fn has_failed(&self) -> bool {
        self.look()
            .is_some_and(|outcome| !matches!(outcome, Ok(Ok(_))))
    }
}

/// The moment that is `timeout` from now; None: never.
pub(super) fn after(timeout: Duration) -> Option<Instant> {
    now().checked_add(timeout)
}

/// Runs the task on the current thread if that takes part in a pool and nobody has begun it.
pub(super) fn run_here(task: &TaskRef) {
    let Some(slot) = context::slot() else {
        return;
    };
    if slot.registry().id == task.pool() {
        run_in(slot.registry(), task);
    } else if task.is_queued()
        && let Some(registry) = pool::pool(task.pool())
    {
        // As a guest of that pool: two pools whose tasks join each other's would wait for each other otherwise.
        run_in(&registry, task);
    }
}

/// Runs a task of this pool on the current thread if nobody has begun it. A thread that takes no part in the pool becomes its guest for this.
pub(super) fn run_in(registry: &Registry, task: &TaskRef) {
    if !task.is_queued() {
        return;
    }
    match context::slot() {
        Some(slot) if ptr::eq(slot.registry(), registry) => {
            run_at(slot, task);
            slot.helped();
        }
        _ => worker::as_guest(registry, |slot| run_at(slot, task)),
    }
}

/// [`run_in`] from a slot of that pool.
fn run_at(slot: &Slot, task: &TaskRef) {
    // If it is the own deque's newest, nothing of it is left there.
    let queued = pop_own(slot, task);
    // A thread that unwinds runs no task itself: code that asks `thread::panicking` would be told of a panic that is none of its own.
    if context::is_deep() || unwind::panicking() {
        run_on_fresh_stack(slot, task);
    } else if let Some(queued) = queued {
        worker::run_in_place(slot, queued);
    } else if task.run_queued(slot) {
        task.bury_from(slot);
    }
}

/// Takes the task from the end of the own deque, and on the way what needs nothing any more, so that a recursion that joins what it has
/// submitted leaves nothing behind. None: another task is the newest.
fn pop_own(slot: &Slot, target: &TaskRef) -> Option<Task> {
    if slot.role() == Seat::Guest {
        return None;
    }
    while let Some(task) = slot.pop_detached() {
        if target.is(&task) {
            return Some(task);
        }
        if !TaskRef::is_dead(&task) {
            slot.push_detached(task);
            return None;
        }
        drop(task);
    }
    None
}

/// Little stack is left here: another thread runs the task, with a stack of its own, while this one waits.
#[cold]
fn run_on_fresh_stack(slot: &Slot, task: &TaskRef) {
    let registry = slot.registry();
    let Some(shared) = registry.this.upgrade() else {
        return;
    };
    if !task.claim_of(registry) {
        return;
    }
    let (claimed, stack) = (task.clone(), registry.stack_size());
    let builder = thread::Builder::new().name("heist-deep".to_owned());
    let run = move || {
        context::set_floor(stack / 2);
        worker::as_guest(&shared, |slot| claimed.run_claimed(slot));
    };
    // Std panics over a size beyond what the system can be asked for.
    match unwind::catch(|| builder.stack_size(stack).spawn(run)) {
        Ok(Ok(thread)) => {
            cell::wait(task, None);
            // It has nothing more to do, and no panic of its own.
            let _ = thread.join();
        }
        not_started => {
            unwind::drop_quietly(not_started);
            registry.start_failures.add_shared(1);
            task.clone().run_claimed(slot);
        }
    }
}

impl<T> Drop for JoinHandle<T> {
    #[inline]
    fn drop(&mut self) {
        if let Some(task) = self.task.take()
            && !self.taken
        {
            task.detach();
        }
    }
}

/// Resolves to what [`JoinHandle::join`] gives, on any runtime. Never blocks; dropping it lets the task go.
///
/// # Panics
/// When polled again after it was ready.
impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let task = self.task();
        timer::look();
        if !task.is_finished() {
            task.check_fork();
            let mut old = Vec::new();
            // Before the lock: a waker is the user's code.
            let waker = context.waker().clone();
            let pending = task.at_end(|list| {
                let (wakers, rest) = std::mem::take(&mut list.waiters)
                    .into_iter()
                    .partition(|waiter| matches!(waiter, Waiter::Waker(_)));
                old = wakers;
                list.waiters = rest;
                list.waiters.push(Waiter::Waker(waker));
            });
            drop(old);
            if pending {
                return Poll::Pending;
            }
        }
        Poll::Ready(self.take())
    }
}

impl<T> Unpin for JoinHandle<T> {}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("JoinHandle");
        if let Some(task) = &self.task {
            debug
                .field("id", &task.id())
                .field("name", &task.name())
                .field("is_finished", &task.is_finished());
        }
        debug.finish_non_exhaustive()
    }
}
