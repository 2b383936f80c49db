//! A handle that cancels its task when it is dropped.

use super::error::JoinError;
use super::handle::JoinHandle;
use std::fmt;
use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::task::{Context, Poll};

impl<T> JoinHandle<T> {
    /// Converts the handle into a guard that [cancels](Self::cancel) the task if it is dropped before the
    /// task has finished.
    ///
    /// Use it where an early return, a `?` or a panic makes the result useless. A closure that has begun
    /// still runs to its end; give it a [`CancelToken`](crate::CancelToken) to stop it earlier. A future is
    /// cancelled between two polls, even if it has begun.
    ///
    /// ```
    /// let pool = heist::ThreadPool::with_threads(1)?;
    /// let (go, gate) = std::sync::mpsc::channel::<()>();
    /// let first = pool.submit(move || gate.recv());
    /// let second = pool.submit(|| unreachable!("cancelled before it began")).abort_on_drop();
    /// drop(second);
    /// go.send(()).unwrap();
    /// assert!(first.join().unwrap().is_ok());
    /// assert_eq!(pool.stats().cancelled, 1);
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn abort_on_drop(self) -> AbortOnDrop<T> {
        AbortOnDrop { handle: Some(self) }
    }
}

/// A [`JoinHandle`] that cancels its task when it is dropped. See [`JoinHandle::abort_on_drop`].
///
/// It dereferences to the handle, to query it and for [`on_finish`](JoinHandle::on_finish), and it is a
/// future too. Dropping the future before it is ready, as `select!` and timeouts do, cancels the task.
#[must_use = "a guard that is dropped at once cancels its task"]
pub struct AbortOnDrop<T> {
    /// `None` only while the guard is consumed or dropped.
    handle: Option<JoinHandle<T>>,
}

impl<T> AbortOnDrop<T> {
    /// Waits for the task and returns its result. See [`JoinHandle::join`].
    ///
    /// # Errors
    ///
    /// Returns an error if the task panicked, was cancelled, or missed its deadline.
    ///
    /// # Blocking
    ///
    /// Waits until the task has finished.
    ///
    /// ```
    /// let pool = heist::ThreadPool::new()?;
    /// let guard = pool.submit(|| 1).abort_on_drop();
    /// assert_eq!(guard.join().unwrap(), 1);
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn join(self) -> Result<T, JoinError> {
        self.disarm().join()
    }

    /// Converts the guard back into a [`JoinHandle`], which detaches the task when it is dropped.
    ///
    /// ```
    /// let pool = heist::ThreadPool::new()?;
    /// let guard = pool.submit(|| 1).abort_on_drop();
    /// assert_eq!(guard.disarm().join().unwrap(), 1);
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn disarm(mut self) -> JoinHandle<T> {
        self.handle.take().expect("heist: a guard without a handle")
    }
}

impl<T> Deref for AbortOnDrop<T> {
    type Target = JoinHandle<T>;

    fn deref(&self) -> &JoinHandle<T> {
        let handle = self.handle.as_ref();
        handle.expect("heist: a guard without a handle")
    }
}

impl<T> DerefMut for AbortOnDrop<T> {
    fn deref_mut(&mut self) -> &mut JoinHandle<T> {
        let handle = self.handle.as_mut();
        handle.expect("heist: a guard without a handle")
    }
}

/// Resolves to what [`JoinHandle::join`] returns.
///
/// # Panics
///
/// Panics if polled again after it was ready.
impl<T> Future for AbortOnDrop<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut **self).poll(context)
    }
}

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        if let Some(handle) = &self.handle {
            handle.cancel();
        }
    }
}

impl<T> fmt::Debug for AbortOnDrop<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AbortOnDrop").field(&self.handle).finish()
    }
}
