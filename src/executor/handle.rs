//! The handle of a submitted task.

use super::complete::report_lost_panic;
use super::error::{Cause, JoinError, TaskId};
use super::extra::Waiter;
use super::help;
use super::task::{Callback, TaskRef};
use super::timer::{self, deadline_after};
use crate::pool;
use crate::unwind;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::ptr::NonNull;
use std::task::{Context, Poll};
use std::time::Duration;

/// A handle of a submitted task, which waits for its result, cancels it, or detaches it. It is also a future.
///
/// Dropping the handle detaches the task: the task runs, and its result is dropped. Use
/// [`abort_on_drop`](Self::abort_on_drop) for a handle that cancels instead. Every handle resolves: the task
/// returns, panics, is cancelled, misses its deadline, or is dropped because its pool is shut down.
///
/// ```
/// let pool = heist::ThreadPool::new()?;
/// let handle = pool.submit(|| 6 * 7);
/// assert_eq!(handle.join().unwrap(), 42);
/// # Ok::<(), heist::BuildError>(())
/// ```
#[must_use = "a handle that is dropped detaches its task: call `detach` to say so"]
pub struct JoinHandle<T> {
    /// The handle's reference. `None` only while the handle is dropped.
    task: Option<TaskRef>,
    /// Whether the handle has given the outcome away.
    taken: bool,
    marker: PhantomData<fn() -> T>,
}

// SAFETY: (1) a `TaskRef` is `Send`. (2) The handle moves a `T` to the thread that joins it, and `T` is `Send`.
unsafe impl<T: Send> Send for JoinHandle<T> {}
// SAFETY: (1) a `TaskRef` is `Sync`. (2) A shared handle gives no access to the `T`: `peek` shows only which variant the outcome is.
unsafe impl<T: Send> Sync for JoinHandle<T> {}

impl<T> JoinHandle<T> {
    /// # Safety
    /// (1) `task` is the reference of a handle, which its state counts with the flag `HANDLE`. (2) The task's result is a `T`.
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

    /// Waits for the task and returns its result, which can be taken once.
    ///
    /// Use [`join_timeout`](Self::join_timeout) to limit the wait, [`wait_timeout`](Self::wait_timeout) to keep
    /// the handle, and `.await` in asynchronous code. On a thread
    /// that takes part in a pool, a task that has not begun runs on the calling thread. A pool of one thread
    /// therefore does not deadlock, however its tasks join each other. Only a cycle of tasks that wait for each
    /// other never ends.
    ///
    /// # Errors
    ///
    /// Returns an error if the task panicked, was cancelled, missed its deadline, was refused by a full or closed
    /// pool, or was dropped by a shutdown. The handle of a promise also returns one if the promise failed or was
    /// dropped.
    ///
    /// # Blocking
    ///
    /// Waits until the task has finished. While a worker waits, a spare thread replaces it.
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
        if !task.state.is_finished() {
            help::join(task);
        }
        self.take()
    }

    /// Waits for at most `timeout` and returns whether the task has finished. A timeout of zero only checks.
    /// The task is not cancelled when the time limit expires.
    ///
    /// It does not run the task itself, because that could take longer than `timeout`. On the only thread of a
    /// pool without spare threads, the time therefore passes and the task does not begin. A timeout beyond what
    /// [`Instant`](std::time::Instant) can hold, such as [`Duration::MAX`], is no limit, and the task runs on the
    /// calling thread as in [`join`](Self::join).
    ///
    /// ```
    /// use std::time::Duration;
    /// let pool = heist::ThreadPool::new()?;
    /// let handle = pool.submit(|| 1);
    /// assert!(handle.wait_timeout(Duration::from_secs(60)));
    /// assert!(handle.is_finished());
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        if self.is_finished() || timeout.is_zero() {
            return self.is_finished();
        }
        let task = self.task();
        match deadline_after(timeout) {
            None => {
                help::join(task);
                true
            }
            deadline => help::wait(task, deadline),
        }
    }

    /// Waits for at most `timeout` and returns the task's result, as [`join`](Self::join) does.
    ///
    /// Like [`wait_timeout`](Self::wait_timeout), it runs the task on the calling thread only if `timeout` is no
    /// limit, such as [`Duration::MAX`].
    ///
    /// # Errors
    ///
    /// Returns the handle if the task has not finished in time.
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

    /// Returns whether the task has ended: returned, panicked, or resolved without a result. Never waits.
    pub fn is_finished(&self) -> bool {
        timer::check_deadlines();
        self.task().state.is_finished()
    }

    /// Returns whether the task has begun and has not ended.
    ///
    /// ```
    /// let pool = heist::ThreadPool::new()?;
    /// let (go, gate) = std::sync::mpsc::channel::<()>();
    /// let handle = pool.submit(move || gate.recv());
    /// while !handle.is_running() {
    ///     std::thread::yield_now();
    /// }
    /// assert!(!handle.is_finished() && !handle.cancel());
    /// go.send(()).unwrap();
    /// assert!(handle.join().unwrap().is_ok());
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn is_running(&self) -> bool {
        self.task().state.is_running() || self.task().runs_elsewhere()
    }

    /// Returns whether the task was cancelled before it began, and will not run. For a future: whether it was
    /// cancelled, and is not polled again unless a poll is under way.
    ///
    /// Its closure has been dropped when [`is_finished`](Self::is_finished) returns true.
    pub fn is_cancelled(&self) -> bool {
        self.task().state.is_cancelled()
    }

    /// Returns the task's id.
    pub fn id(&self) -> TaskId {
        self.task().id
    }

    /// Returns the task's name, if it was given one.
    pub fn name(&self) -> Option<&str> {
        self.task().extra()?.name.as_deref()
    }

    /// Cancels the task if it has not begun. Its closure is dropped on the calling thread, and its waiters are
    /// woken. A [future](crate::ThreadPool::submit_async) is cancelled after it has begun too: a thread of its
    /// pool drops it, after the poll that is under way if there is one, and then its waiters are woken.
    ///
    /// Returns true if the task will not run, now or because of an earlier call, and false if it is running or
    /// has ended otherwise. To stop a running task, give it a [`CancelToken`](crate::CancelToken).
    ///
    /// ```
    /// let pool = heist::ThreadPool::with_threads(1)?;
    /// let (go, gate) = std::sync::mpsc::channel::<()>();
    /// let first = pool.submit(move || gate.recv());
    /// let second = pool.submit(|| 2);
    /// assert!(second.cancel());
    /// assert!(second.join().unwrap_err().is_cancelled());
    /// go.send(()).unwrap();
    /// assert!(first.join().unwrap().is_ok());
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn cancel(&self) -> bool {
        let task = self.task();
        task.cancel(Cause::Cancelled) || task.state.is_cancelled()
    }

    /// Calls `f` with the outcome when the task ends, before the handle reports it as finished. A thread that
    /// waits for the task also waits for `f`.
    ///
    /// Callbacks run in the order in which they were added, on the thread that ends the task, or at once on
    /// the calling thread if the task has ended. After a missed deadline they run on the pool, and the handle
    /// may report the task as finished before them. A panic of `f` goes to the pool's
    /// [`panic_handler`](crate::ThreadPoolBuilder::panic_handler).
    ///
    /// # Panics
    ///
    /// Panics if the handle has given its result away, as a future that was ready has.
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
            // SAFETY: (1) the callback is called with the outcome of this task, a `Result<T, JoinError>`. (2) Nobody writes it during the call.
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
        if !task.defer_callback(&mut callback)
            && let Some(callback) = callback
            && let Err(payload) = unwind::catch(|| callback(task.outcome()))
        {
            report_lost_panic(Some(payload), pool::pool(task.pool()).as_deref());
        }
    }

    /// Detaches the task: it runs, and its result is dropped. Dropping the handle has the same effect; the call says that it is intended.
    ///
    /// ```
    /// let pool = heist::ThreadPool::new()?;
    /// pool.submit(|| println!("in the background")).detach();
    /// pool.wait_idle();
    /// assert_eq!(pool.stats().completed, 1);
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn detach(self) {}

    /// Returns whether the task has ended without a result.
    pub(super) fn is_error(&self) -> bool {
        self.peek().is_some_and(Result::is_err)
    }

    /// Returns the outcome, if it is there and was not taken. Callers look only at which variant it is: other threads may look at the same time, and a `T` need
    /// not be `Sync`.
    fn peek(&self) -> Option<&Result<T, JoinError>> {
        let task = self.task();
        if self.taken || !task.state.is_finished() {
            return None;
        }
        // SAFETY: (1) the outcome of a finished task with a handle is there until the handle takes it, and this one, which is borrowed, has not. (2) It is a
        // `Result<T, JoinError>`. (3) Nobody writes it any more.
        Some(unsafe { task.outcome().cast::<Result<T, JoinError>>().as_ref() })
    }

    /// Takes the outcome of a finished task.
    pub(super) fn take(&mut self) -> Result<T, JoinError> {
        assert!(
            !std::mem::replace(&mut self.taken, true),
            "heist: a handle was polled again after it had given its result"
        );
        // SAFETY: (1) `outcome` returns the address of the outcome of a finished task, a `Result<T, JoinError>`. (2) It belongs to the handle, which takes it
        // once: `taken` was false.
        unsafe { self.task().outcome().cast::<Result<T, JoinError>>().read() }
    }
}

impl<T, E> JoinHandle<Result<T, E>> {
    /// Returns whether the task has ended without a result, or has returned an `Err`.
    pub(super) fn has_failed(&self) -> bool {
        self.peek()
            .is_some_and(|outcome| !matches!(outcome, Ok(Ok(_))))
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

/// Resolves to what [`JoinHandle::join`] returns, on any async runtime.
///
/// Polling never blocks. Dropping the future detaches the task. If the handle is polled with different wakers, the last one is woken.
///
/// # Panics
///
/// Panics if polled again after it was ready.
impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_finished(context).map(|()| self.take())
    }
}

impl<T> JoinHandle<T> {
    /// Polls for the end of the task, and leaves the outcome where it is.
    pub(super) fn poll_finished(&self, context: &mut Context<'_>) -> Poll<()> {
        let task = self.task();
        timer::check_deadlines();
        if task.state.is_finished() {
            return Poll::Ready(());
        }
        task.check_fork();
        let mut old = Vec::new();
        // Cloned before the lock is taken, because a waker's methods are the user's code.
        let waker = context.waker().clone();
        let pending = task.at_end(|list| {
            let is_waker = |waiter: &mut Waiter| matches!(waiter, Waiter::Waker(_));
            old.extend(list.waiters.extract_if(.., is_waker));
            list.waiters.push(Waiter::Waker(waker));
        });
        drop(old);
        if pending {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }
}

impl<T> Unpin for JoinHandle<T> {}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle")
            .field("id", &self.id())
            .field("name", &self.name())
            .field("is_finished", &self.task().state.is_finished())
            .finish_non_exhaustive()
    }
}
