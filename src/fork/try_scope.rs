//! `try_scope`: a scope whose tasks can fail, and that can be cancelled.
//!
//! Built on [`scope`]: each task carries a share of the scope's flag and error, asks the flag before it begins, and raises it when it fails.

use super::scope::{Scope, scope};
use crate::pool::ThreadPool;
use crate::sync::{Arc, Mutex, lock};
use std::fmt;
// The flag is a hint to stop; the error itself is behind the lock.
use std::sync::atomic::{AtomicBool, Ordering};

/// Runs `body`, which may spawn tasks that borrow what outlives this call and that can fail, and waits for them all.
///
/// The first error, a task's or the body's, cancels the scope: tasks that have not begun are dropped unrun, and those that run can ask
/// [`is_cancelled`](TryScope::is_cancelled) and return. [`TryScope::cancel`] does the same without an error. A panic of the body or of a task cancels the
/// scope too.
///
/// On a thread that takes part in a pool it uses that pool, elsewhere the [`global`](crate::global) one.
///
/// # Errors
/// The first error, by time. Later ones are dropped.
///
/// # Panics
/// With the body's panic, else with the first task's, after all tasks have ended. A panic comes before an error.
///
/// # Blocking
/// As [`scope`](crate::scope()).
///
/// ```
/// let parts = ["12", "30", "x"];
/// let sum = std::sync::atomic::AtomicU32::new(0);
/// let result = heist::try_scope(|s| {
///     for part in &parts {
///         s.spawn(|_| {
///             sum.fetch_add(part.parse()?, std::sync::atomic::Ordering::Relaxed);
///             Ok::<(), std::num::ParseIntError>(())
///         });
///     }
///     Ok(())
/// });
/// assert!(result.is_err());
/// ```
pub fn try_scope<'scope, R, E>(
    body: impl FnOnce(&TryScope<'_, 'scope, E>) -> Result<R, E>,
) -> Result<R, E>
where
    E: Send + 'scope,
{
    run(body, |in_scope| scope(in_scope))
}

impl ThreadPool {
    /// [`try_scope`](crate::try_scope()), on this pool.
    ///
    /// ```
    /// let pool = heist::ThreadPool::new()?;
    /// let found = pool.try_scope(|s| {
    ///     s.spawn(|s| {
    ///         s.cancel();
    ///         Ok::<(), String>(())
    ///     });
    ///     Ok("not an error")
    /// });
    /// assert_eq!(found, Ok("not an error"));
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn try_scope<'scope, R, E>(
        &self,
        body: impl FnOnce(&TryScope<'_, 'scope, E>) -> Result<R, E>,
    ) -> Result<R, E>
    where
        E: Send + 'scope,
    {
        run(body, |in_scope| self.scope(in_scope))
    }
}

/// Where tasks that borrow for `'scope` and can fail are spawned. See [`try_scope`](crate::try_scope()).
pub struct TryScope<'a, 'scope, E> {
    scope: &'a Scope<'scope>,
    shared: Arc<Shared<E>>,
}

/// What the tasks of one scope share.
struct Shared<E> {
    cancelled: AtomicBool,
    error: Mutex<Option<E>>,
}

impl<E> Shared<E> {
    fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// Keeps the first error.
    fn fail(&self, error: E) {
        self.cancel();
        let mut first = lock(&self.error);
        let later = match &*first {
            None => first.replace(error),
            Some(_) => Some(error),
        };
        drop(first);
        // Not under the lock: its destructor is the user's.
        drop(later);
    }
}

/// Cancels the scope if the closure beside it panics.
struct CancelOnPanic<'a, E>(&'a Shared<E>);

impl<E> Drop for CancelOnPanic<'_, E> {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// `enter` opens a scope and calls what it is given in it.
fn run<'scope, R, E>(
    body: impl FnOnce(&TryScope<'_, 'scope, E>) -> Result<R, E>,
    enter: impl FnOnce(&mut dyn FnMut(&Scope<'scope>)),
) -> Result<R, E>
where
    E: Send + 'scope,
{
    let shared = Arc::new(Shared {
        cancelled: AtomicBool::new(false),
        error: Mutex::new(None),
    });
    let (mut body, mut value) = (Some(body), None);
    enter(&mut |scope| {
        let scope = TryScope {
            scope,
            shared: Arc::clone(&shared),
        };
        value = body.take().and_then(|body| scope.attempt(body));
    });
    // All tasks have ended.
    let error = lock(&shared.error).take();
    match (error, value) {
        (Some(error), _) => Err(error),
        (None, Some(value)) => Ok(value),
        (None, None) => unreachable!("heist: a body without a value leaves an error"),
    }
}

impl<'scope, E: Send + 'scope> TryScope<'_, 'scope, E> {
    /// Spawns a task. Its error cancels the scope and is the scope's, if it is the first.
    ///
    /// In a scope that is cancelled the task is dropped unrun, when a thread takes it from its queue. [`stats`](ThreadPool::stats) counts it as
    /// completed even so: for the pool it is a task of a scope that has ended.
    ///
    /// ```
    /// let mut left = 0;
    /// let mut right = 0;
    /// let done: Result<(), String> = heist::try_scope(|s| {
    ///     s.spawn(|_| { left = 1; Ok(()) });
    ///     s.spawn(|_| { right = 2; Ok(()) });
    ///     Ok(())
    /// });
    /// assert_eq!((done, left + right), (Ok(()), 3));
    /// ```
    pub fn spawn<F>(&self, f: F)
    where
        F: FnOnce(&TryScope<'_, 'scope, E>) -> Result<(), E> + Send + 'scope,
    {
        let shared = Arc::clone(&self.shared);
        self.scope.spawn(move |scope| {
            if !shared.is_cancelled() {
                TryScope { scope, shared }.attempt(f);
            }
        });
    }

    /// Runs a part of the scope. `None`: it has failed.
    fn attempt<R>(&self, f: impl FnOnce(&Self) -> Result<R, E>) -> Option<R> {
        let guard = CancelOnPanic(&*self.shared);
        let result = f(self);
        std::mem::forget(guard);
        result.map_err(|error| self.shared.fail(error)).ok()
    }
}

impl<E> TryScope<'_, '_, E> {
    /// Cancels the scope: tasks that have not begun are dropped unrun, and [`is_cancelled`](Self::is_cancelled) says so to those that run. The scope's
    /// result is the body's, unless something fails.
    pub fn cancel(&self) {
        self.shared.cancel();
    }

    /// Whether the scope was cancelled, by [`cancel`](Self::cancel), an error or a panic. Long tasks ask now and then, and return. One load.
    pub fn is_cancelled(&self) -> bool {
        self.shared.is_cancelled()
    }
}

impl<E> fmt::Debug for TryScope<'_, '_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TryScope")
            .field("is_cancelled", &self.is_cancelled())
            .finish_non_exhaustive()
    }
}
