//! A handle that somebody else completes.
//!
//! A promise is a task's cell that stands in no queue and belongs to no pool. It is *queued* until somebody resolves it, so that every race between a
//! resolver and a handle that cancels is the race between a runner and a handle that cancels.

use super::cell::{self, TaskRef};
use super::error::{JoinError, TaskId};
use super::extra::Callback;
use super::handle::JoinHandle;
use std::error::Error;
use std::fmt;
use std::marker::PhantomData;
use std::ptr::NonNull;

/// Makes a handle that somebody else completes, and the promise with which they do it.
///
/// Use it to give a [`JoinHandle`] for work that no task of a pool does: a reply from a socket, a process that ends, an event of a foreign
/// library. The handle works like that of a task everywhere: [`join`](JoinHandle::join), time-outs, `.await`, [`on_finish`](JoinHandle::on_finish),
/// [`as_completed`](crate::as_completed), [`JoinSet::insert`](crate::JoinSet::insert). It is not finished, and not running, until the promise is
/// resolved. No pool counts it.
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
    // SAFETY: the handle's reference, and the result is a `T`.
    (promise, unsafe { JoinHandle::new(handle) })
}

/// What completes a [`JoinHandle`]. See [`promise`].
///
/// Dropping it unresolved completes the handle with an error that [says so](JoinError::is_broken_promise): no waiter hangs.
#[must_use = "a promise that is dropped completes its handle with an error"]
pub struct Promise<T: Send + 'static> {
    /// Taken out when the promise is resolved.
    task: Option<TaskRef>,
    marker: PhantomData<fn(T)>,
}

impl<T: Send + 'static> Promise<T> {
    /// Completes the handle with a value. Callbacks of [`on_finish`](JoinHandle::on_finish) run before this returns.
    ///
    /// # Errors
    /// The value, if the handle was [cancelled](JoinHandle::cancel) before.
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

    /// Completes the handle with an error: a text, or whatever is an error. The handle's [`JoinError`] has it as its
    /// [`source`](Error::source). A [`JoinError`], such as another handle's, is passed on as it is.
    ///
    /// Returns false if the handle was [cancelled](JoinHandle::cancel) before.
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
            Err(error) => JoinError::failed(error.into(), self.id()),
        };
        self.complete(Err(error)).is_none()
    }

    /// Calls `f` when the handle is [cancelled](JoinHandle::cancel), on the thread that cancels; at once if it has been. If the promise is resolved first,
    /// `f` is dropped uncalled.
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
                // SAFETY: the cell that calls is this promise's, which holds a `T`'s outcome, and nobody changes it meanwhile.
                let outcome = unsafe { outcome.cast::<Result<T, JoinError>>().as_ref() };
                // An error of another task, which was passed on, may say that this one was cancelled.
                let cancelled = |error: &JoinError| error.is_cancelled() && error.id() == id;
                if let (Err(error), Some(f)) = (outcome, f)
                    && cancelled(error)
                {
                    f();
                }
            });
            list.callbacks.push(callback);
        });
        // Nobody but a handle that cancels can have finished it.
        if !added && let Some(f) = f {
            f();
        }
    }

    /// Whether the handle was [cancelled](JoinHandle::cancel): nobody wants the value any more.
    pub fn is_cancelled(&self) -> bool {
        self.task().is_cancelled()
    }

    /// The number that the handle has too.
    pub fn id(&self) -> TaskId {
        self.task().id()
    }

    fn task(&self) -> &TaskRef {
        let task = self.task.as_ref();
        task.expect("heist: a promise without a task")
    }

    /// Gives the outcome back if the handle was cancelled before.
    fn complete(&mut self, outcome: Result<T, JoinError>) -> Option<Result<T, JoinError>> {
        let task = self.task.take()?;
        // SAFETY: made by `make_promise::<T>`: a promise for a `T`.
        unsafe { task.fulfil(outcome) }
    }
}

impl<T: Send + 'static> Drop for Promise<T> {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            let error = JoinError::broken_promise(task.id());
            drop(self.complete(Err(error)));
        }
    }
}

impl<T: Send + 'static> fmt::Debug for Promise<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Promise")
            .field("id", &self.id())
            .field("is_cancelled", &self.task().is_cancelled())
            .finish_non_exhaustive()
    }
}
