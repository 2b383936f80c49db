//! Tasks with handles inside a scope, which may borrow what outlives the scope.

use super::error::{JoinError, TaskId};
use super::handle::JoinHandle;
use super::recorded::note_place;
use super::state::{InitialFlags, UNGATED};
use super::{cell, entry};
use crate::fork::Scope;
use crate::pool::{Slot, context};
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

impl<'scope> Scope<'scope> {
    /// Spawns a task that may borrow, and returns a handle for its result.
    ///
    /// The scope waits for the task even if the handle is dropped. A panic of `f` is an error of the handle; if
    /// the handle was dropped before, the panic goes to the pool's
    /// [`panic_handler`](crate::ThreadPoolBuilder::panic_handler). Use [`spawn`](Self::spawn) if nobody needs the
    /// result, and [`ThreadPool::submit`](crate::ThreadPool::submit) for a task that borrows nothing and may
    /// outlive the scope.
    ///
    /// # Blocking
    ///
    /// This method does not wait, even if the pool's queue is full.
    ///
    /// ```
    /// let text = String::from("to be or not to be");
    /// let (words, letters) = heist::scope(|s| {
    ///     let words = s.submit(|_| text.split(' ').count());
    ///     let letters = s.submit(|_| text.chars().filter(|c| c.is_alphabetic()).count());
    ///     (words.join().unwrap(), letters.join().unwrap())
    /// });
    /// assert_eq!((words, letters), (6, 13));
    /// ```
    #[track_caller]
    pub fn submit<F, T>(&self, f: F) -> ScopedJoinHandle<'scope, T>
    where
        F: FnOnce(&Scope<'scope>) -> T + Send + 'scope,
        T: Send + 'scope,
    {
        self.submit_as(0, 1, f)
    }

    /// Submits a task as [`submit`](Self::submit) does. It begins with `flags`, and counts as so many `tasks` in the pool's statistics.
    #[track_caller]
    pub(super) fn submit_as<F, T>(
        &self,
        flags: InitialFlags,
        tasks: u64,
        f: F,
    ) -> ScopedJoinHandle<'scope, T>
    where
        F: FnOnce(&Scope<'scope>) -> T + Send + 'scope,
        T: Send + 'scope,
    {
        self.registry().check_fork();
        self.registry().end_idle_moment(context::slot());
        let scope = self.ptr();
        // SAFETY: the closure runs before the entry below is counted down, and the scope waits for that. So the scope is still there.
        let run = move || f(unsafe { scope.get() });
        note_place(self.registry(), None, &run);
        #[cfg(feature = "tracing")]
        let run = super::spans::carry(None, run);
        let blocks = context::slot().map(Slot::blocks);
        // SAFETY: what closure and result borrow outlives `'scope`. (1) The closure is gone before the entry below is counted down, and the scope waits for that.
        // (2) The result is dropped before the entry is counted down, or belongs to the handle, whose type does not outlive `'scope`.
        let (task, inner) =
            unsafe { cell::make_joinable(self.registry().id, flags | UNGATED, None, blocks, run) };
        task.get().record_made_if_recorded(self.registry());
        let (task, scope) = (task.into_ref(), self.ptr().erased());
        self.queue(tasks, |group, blocks| {
            entry::make(group, blocks, task, scope)
        });
        ScopedJoinHandle::new(inner)
    }
}

/// A handle of a task that was submitted by [`Scope::submit`]. It cannot outlive the scope.
///
/// It has the methods of [`JoinHandle`] except [`then`](JoinHandle::then) and
/// [`abort_on_drop`](JoinHandle::abort_on_drop). The functions for several handles, such as
/// [`wait`](crate::wait()), take [`JoinHandle`]s only: in a scope, join each handle.
///
/// ```
/// let names = ["ada", "grace"];
/// heist::scope(|s| {
///     let len = s.submit(|_| names[0].len());
///     assert_eq!(len.join().unwrap(), 3);
/// });
/// ```
#[must_use = "a handle that is dropped detaches its task: call `detach` to say so"]
pub struct ScopedJoinHandle<'scope, T> {
    inner: JoinHandle<T>,
    marker: PhantomData<&'scope ()>,
}

impl<'scope, T> ScopedJoinHandle<'scope, T> {
    pub(super) fn new(inner: JoinHandle<T>) -> Self {
        ScopedJoinHandle {
            inner,
            marker: PhantomData,
        }
    }

    pub(super) fn into_inner(self) -> JoinHandle<T> {
        self.inner
    }

    /// Waits for the task and returns its result. See [`JoinHandle::join`].
    ///
    /// # Errors
    ///
    /// Returns an error if the task panicked or was cancelled.
    ///
    /// # Blocking
    ///
    /// Waits until the task has finished.
    pub fn join(self) -> Result<T, JoinError> {
        self.inner.join()
    }

    /// Waits for at most `timeout` and returns whether the task has finished. See
    /// [`JoinHandle::wait_timeout`].
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        self.inner.wait_timeout(timeout)
    }

    /// Waits for at most `timeout` and returns the task's result. See [`JoinHandle::join_timeout`].
    ///
    /// # Errors
    ///
    /// Returns the handle if the task has not finished in time.
    pub fn join_timeout(self, timeout: Duration) -> Result<Result<T, JoinError>, Self> {
        self.inner.join_timeout(timeout).map_err(|inner| Self {
            inner,
            marker: PhantomData,
        })
    }

    /// Returns whether the task has ended: returned, panicked, or resolved without a result.
    pub fn is_finished(&self) -> bool {
        self.inner.is_finished()
    }

    /// Returns whether the task has begun and has not ended.
    pub fn is_running(&self) -> bool {
        self.inner.is_running()
    }

    /// Returns whether the task was cancelled before it began. See [`JoinHandle::is_cancelled`].
    pub fn is_cancelled(&self) -> bool {
        self.inner.is_cancelled()
    }

    /// Returns the task's id.
    pub fn id(&self) -> TaskId {
        self.inner.id()
    }

    /// Returns the task's name, which is always `None` at present, because [`Scope::submit`] has no options.
    pub fn name(&self) -> Option<&str> {
        self.inner.name()
    }

    /// Cancels the task if it has not begun. See [`JoinHandle::cancel`].
    ///
    /// ```
    /// heist::scope(|s| {
    ///     let handle = s.submit(|_| 1);
    ///     let cancelled = handle.cancel();
    ///     assert_eq!(handle.join().is_err(), cancelled);
    /// });
    /// ```
    pub fn cancel(&self) -> bool {
        self.inner.cancel()
    }

    /// Calls `f` with the outcome when the task ends, within the scope. See [`JoinHandle::on_finish`].
    ///
    /// Neither the result nor `f` may borrow. If they do, use [`join`](Self::join).
    ///
    /// ```
    /// let (sender, receiver) = std::sync::mpsc::channel();
    /// let text = String::from("to be");
    /// heist::scope(|s| {
    ///     let mut handle = s.submit(|_| text.len());
    ///     handle.on_finish(move |len| sender.send(*len.as_ref().unwrap()).unwrap());
    /// });
    /// assert_eq!(receiver.recv(), Ok(5));
    /// ```
    pub fn on_finish<F>(&mut self, f: F)
    where
        T: 'static,
        F: FnOnce(&Result<T, JoinError>) + Send + 'static,
    {
        self.inner.on_finish(f);
    }

    /// Detaches the task: it runs within the scope, and its result is dropped.
    pub fn detach(self) {}
}

/// Resolves to what [`ScopedJoinHandle::join`] returns. See [`JoinHandle`].
///
/// The scope waits for the task whether or not the future is polled to its end.
///
/// # Panics
///
/// Panics if polled again after it was ready.
impl<T> Future for ScopedJoinHandle<'_, T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.inner).poll(context)
    }
}

impl<T> fmt::Debug for ScopedJoinHandle<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}
