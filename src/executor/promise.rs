//! A handle that other code completes.
//!
//! A promise is the cell of a task that is in no queue and belongs to no pool. Its phase is *queued* until it is resolved. So the race between a promise that is
//! resolved and a handle that cancels is the race between a runner and a handle that cancels.

use super::cell;
use super::error::{Cause, JoinError, Kind, TaskId};
use super::handle::JoinHandle;
use super::task::{Callback, TaskRef};
use std::error::Error;
use std::fmt;
use std::marker::PhantomData;
use std::ptr::NonNull;

/// Creates a handle that another piece of code completes, and the promise that completes it.
///
/// Use it to get a [`JoinHandle`] for work that is not a task of a pool: a reply from a socket, the end of a
/// process, an event of a foreign library. The handle works like that of a task everywhere: with
/// [`join`](JoinHandle::join), timeouts, `.await`, [`on_finish`](JoinHandle::on_finish),
/// [`as_completed`](crate::as_completed) and [`JoinSet::insert`](crate::JoinSet::insert). Until the promise
/// is resolved, the handle is neither finished nor running. No pool counts it.
///
/// ```
/// let (promise, handle) = heist::promise();
/// std::thread::spawn(move || promise.resolve("a reply"));
/// assert_eq!(handle.join().unwrap(), "a reply");
/// ```
pub fn promise<T: Send + 'static>() -> (Promise<T>, JoinHandle<T>) {
    let (task, handle) = cell::make_promise::<T>();
    let promise = Promise {
        task: Some(task),
        marker: PhantomData,
    };
    (promise, handle)
}

/// Completes a [`JoinHandle`]. See [`promise`].
///
/// Dropping it unresolved completes the handle with an error that [says so](JoinError::is_broken_promise), so
/// no waiter hangs.
#[must_use = "a promise that is dropped completes its handle with an error"]
pub struct Promise<T: Send + 'static> {
    /// `None` once the promise is resolved.
    task: Option<TaskRef>,
    marker: PhantomData<fn(T)>,
}

impl<T: Send + 'static> Promise<T> {
    /// Makes the promise of a cell that `make_promise_with::<T>` has made.
    #[cfg(all(feature = "process", target_os = "linux"))]
    pub(super) fn of(task: TaskRef) -> Self {
        Promise {
            task: Some(task),
            marker: PhantomData,
        }
    }

    /// Completes the handle with a value. Waiters are woken, and callbacks of [`on_finish`](JoinHandle::on_finish)
    /// run before this method returns.
    ///
    /// # Errors
    ///
    /// Returns the value if the handle was [cancelled](JoinHandle::cancel) before.
    ///
    /// ```
    /// let (promise, handle) = heist::promise();
    /// assert_eq!(promise.resolve(42), Ok(()));
    /// assert_eq!(handle.join().unwrap(), 42);
    ///
    /// let (promise, handle) = heist::promise();
    /// handle.cancel();
    /// assert_eq!(promise.resolve(42), Err(42));
    /// ```
    pub fn resolve(mut self, value: T) -> Result<(), T> {
        match self.complete(Ok(value)) {
            None => Ok(()),
            Some(Ok(value)) => Err(value),
            Some(Err(error)) => unreachable!("heist: a value became the error {error}"),
        }
    }

    /// Completes the handle with an error, which may be a string or any error type.
    ///
    /// It becomes the [`source`](Error::source) of the handle's [`JoinError`]. A [`JoinError`], such as that
    /// of another handle, is passed on unchanged. Returns `false` if the handle was
    /// [cancelled](JoinHandle::cancel) before.
    ///
    /// ```
    /// use std::error::Error;
    /// let (promise, handle) = heist::promise::<u32>();
    /// assert!(promise.fail("the line is dead"));
    /// let error = handle.join().unwrap_err();
    /// assert!(error.is_failed());
    /// assert_eq!(error.source().unwrap().to_string(), "the line is dead");
    /// ```
    pub fn fail(mut self, error: impl Into<Box<dyn Error + Send + Sync>>) -> bool {
        let error = match error.into().downcast::<JoinError>() {
            Ok(error) => *error,
            Err(error) => JoinError::new(Kind::Failed(error.into()), self.id(), None),
        };
        self.complete(Err(error)).is_none()
    }

    /// Calls `f` when the handle is [cancelled](JoinHandle::cancel), on the thread that cancels it, or at
    /// once if it was cancelled before.
    ///
    /// If the promise is resolved first, `f` is dropped without being called.
    ///
    /// ```
    /// let (promise, handle) = heist::promise::<u32>();
    /// let (sender, receiver) = std::sync::mpsc::channel();
    /// promise.on_cancel(move || sender.send("stop the work").unwrap());
    /// assert!(handle.cancel());
    /// assert_eq!(receiver.recv(), Ok("stop the work"));
    /// ```
    pub fn on_cancel(&self, f: impl FnOnce() + Send + 'static) {
        let (id, mut f) = (self.id(), Some(f));
        let added = self.task().at_end(|list| {
            let f = f.take();
            let callback: Callback = Box::new(move |outcome: NonNull<()>| {
                // SAFETY: (1) the callback is called with the outcome of this promise, a `Result<T, JoinError>`. (2) Nobody writes it during the call.
                let outcome = unsafe { outcome.cast::<Result<T, JoinError>>().as_ref() };
                // The promise may have failed with the error of another task, which was cancelled.
                let cancelled = |error: &JoinError| error.is_cancelled() && error.id() == id;
                if let (Err(error), Some(f)) = (outcome, f)
                    && cancelled(error)
                {
                    f();
                }
            });
            list.callbacks.push(callback);
        });
        // While there is a promise, only its handle can finish it, by a cancel.
        if !added && let Some(f) = f {
            f();
        }
    }

    /// Sets what [`JoinHandle::is_running`] asks.
    #[cfg(all(feature = "process", target_os = "linux"))]
    pub(crate) fn set_probe(&self, probe: super::extra::Probe) {
        self.task().at_end(|list| list.probe = Some(probe));
    }

    /// Returns whether the handle was [cancelled](JoinHandle::cancel): then nobody needs the value any
    /// more.
    pub fn is_cancelled(&self) -> bool {
        self.task().state.is_cancelled()
    }

    /// Returns the id of the handle.
    pub fn id(&self) -> TaskId {
        self.task().id
    }

    fn task(&self) -> &TaskRef {
        let task = self.task.as_ref();
        task.expect("heist: a promise without a task")
    }

    /// Resolves the promise. Returns the outcome if the handle was cancelled before.
    fn complete(&mut self, outcome: Result<T, JoinError>) -> Option<Result<T, JoinError>> {
        let task = self.task.take()?;
        // SAFETY: `make_promise::<T>` has made the cell.
        unsafe { task.fulfil(outcome) }
    }
}

impl<T: Send + 'static> Drop for Promise<T> {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            let error = JoinError::new(Kind::Ended(Cause::BrokenPromise), task.id, None);
            drop(self.complete(Err(error)));
        }
    }
}

impl<T: Send + 'static> fmt::Debug for Promise<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Promise")
            .field("id", &self.id())
            .field("is_cancelled", &self.task().state.is_cancelled())
            .finish_non_exhaustive()
    }
}
