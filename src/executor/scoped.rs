//! Tasks with handles inside a scope: they may borrow what outlives it.

use super::cell::{self, TaskRef};
use super::error::{JoinError, TaskId};
use super::extra::Waiter;
use super::handle::JoinHandle;
use super::state::Birth;
use crate::fork::Scope;
use crate::job::Fate;
use crate::pool::{Slot, context};
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

impl<'scope> Scope<'scope> {
    /// [`spawn`](Self::spawn) with a handle for the result.
    ///
    /// The scope waits for the task in any case. A panic goes to the handle; if that was dropped before, to the pool's
    /// [`panic_handler`](crate::ThreadPoolBuilder::panic_handler).
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
    pub fn submit<F, T>(&self, f: F) -> ScopedJoinHandle<'scope, T>
    where
        F: FnOnce(&Scope<'scope>) -> T + Send + 'scope,
        T: Send + 'scope,
    {
        let scope = self.handle();
        // SAFETY: the closure runs while the task below has not ended, for which the scope waits.
        let run = move || f(unsafe { scope.get() });
        let birth = Birth {
            handle: true,
            ungated: true,
            ..Birth::default()
        };
        let blocks = context::slot().map(Slot::blocks);
        // SAFETY: what closure and result borrow outlives 'scope; the task below keeps the closure within the scope, the handle's type the
        // result within 'scope.
        let (task, header) = unsafe { cell::make(self.registry().id, birth, None, blocks, run) };
        self.spawn_raw(move |scope, fate| {
            let task = TaskRef::of(task);
            match (fate, context::slot()) {
                (Fate::Run, Some(slot)) if task.claim() => task.run_claimed(slot),
                (Fate::Drop, _) if task.cancel(super::error::Cause::ShutDown) => {}
                // Its handle has it, to run or to cancel, perhaps further down this very stack. The scope must outlast that, but
                // nobody need wait here.
                _ => {
                    let end = Waiter::Scope(scope.handle().erased());
                    return !task.at_end(|list| list.waiters.push(end));
                }
            }
            true
        });
        // SAFETY: the birth counts a handle's reference, and here it is.
        let task = unsafe { TaskRef::from_header(header) };
        ScopedJoinHandle {
            // SAFETY: the handle's reference, and the result is a `T`.
            inner: unsafe { JoinHandle::new(task) },
            marker: PhantomData,
        }
    }
}

/// A task of [`Scope::submit`]. See [`JoinHandle`], whose methods it has.
#[must_use = "a handle that is dropped lets its task go: call `detach` to say so"]
pub struct ScopedJoinHandle<'scope, T> {
    inner: JoinHandle<T>,
    marker: PhantomData<&'scope ()>,
}

impl<'scope, T> ScopedJoinHandle<'scope, T> {
    pub(super) fn into_inner(self) -> JoinHandle<T> {
        self.inner
    }

    /// See [`JoinHandle::join`].
    ///
    /// # Errors
    /// As there.
    pub fn join(self) -> Result<T, JoinError> {
        self.inner.join()
    }

    /// See [`JoinHandle::wait_timeout`].
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        self.inner.wait_timeout(timeout)
    }

    /// See [`JoinHandle::join_timeout`].
    ///
    /// # Errors
    /// As there.
    pub fn join_timeout(self, timeout: Duration) -> Result<Result<T, JoinError>, Self> {
        self.inner.join_timeout(timeout).map_err(|inner| Self {
            inner,
            marker: PhantomData,
        })
    }

    /// Whether the task has come to its end, of whatever kind.
    pub fn is_finished(&self) -> bool {
        self.inner.is_finished()
    }

    /// Whether the task has begun and not ended.
    pub fn is_running(&self) -> bool {
        self.inner.is_running()
    }

    /// Whether the task was dropped before it began.
    pub fn is_cancelled(&self) -> bool {
        self.inner.is_cancelled()
    }

    /// Which task.
    pub fn id(&self) -> TaskId {
        self.inner.id()
    }

    /// See [`JoinHandle::cancel`].
    pub fn cancel(&self) -> bool {
        self.inner.cancel()
    }

    /// Lets the task go: it runs within the scope, and its result is dropped.
    pub fn detach(self) {}
}

impl<T> fmt::Debug for ScopedJoinHandle<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}
