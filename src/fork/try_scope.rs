//! `try_scope`: a scope whose tasks can fail, and that can be cancelled.
//!
//! It is built on [`scope`](crate::scope()): each task shares the flag and the error of the scope, checks the flag before it begins, and sets it when it
//! fails.

use super::scope::{Scope, keep_first, scope_on};
use crate::pool::{Registry, ThreadPool, with_current, worker};
use crate::sync::{Arc, Mutex, lock};
use crate::unwind;
use std::fmt;
// ORDERING: the accesses to the flag are Relaxed: it is a hint to stop; the error itself is behind the lock.
use std::sync::atomic::{AtomicBool, Ordering};

/// Runs `body`, which may spawn tasks that borrow and that can fail, and waits for all of them.
///
/// The first error, a task's or the body's, cancels the scope. Tasks that have not begun are then dropped
/// without having run, and tasks that run can check [`is_cancelled`](TryScope::is_cancelled) and return.
/// [`TryScope::cancel`] cancels the scope without an error. A panic of the body or of a task cancels it too.
///
/// On a thread that takes part in a pool, the scope uses that pool; elsewhere it uses the
/// [`global`](crate::global) one.
///
/// # Errors
///
/// Returns the error that occurred first. Later ones are dropped.
///
/// # Panics
///
/// If the body or a task panics, the panic resumes in the caller after all tasks have ended. The body's
/// payload comes first. A panic takes precedence over an error.
///
/// # Blocking
///
/// Waits as [`scope`](crate::scope()) does.
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
    with_current(|registry| try_scope_on(registry, body))
}

impl ThreadPool {
    /// Opens a [`try_scope`](crate::try_scope()) on this pool.
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
        try_scope_on(self.registry(), body)
    }
}

/// Spawns tasks that may borrow data that outlives `'scope` and that can fail. See
/// [`try_scope`](crate::try_scope()).
pub struct TryScope<'a, 'scope, E> {
    scope: &'a Scope<'scope>,
    shared: Arc<Shared<E>>,
}

/// What the tasks of one scope share.
struct Shared<E> {
    cancelled: AtomicBool,
    /// The first error.
    error: Mutex<Option<E>>,
}

fn try_scope_on<'scope, R, E>(
    registry: &Registry,
    body: impl FnOnce(&TryScope<'_, 'scope, E>) -> Result<R, E>,
) -> Result<R, E>
where
    E: Send + 'scope,
{
    let shared = Arc::new(Shared {
        cancelled: AtomicBool::new(false),
        error: Mutex::new(None),
    });
    let enter = |scope: &Scope<'scope>| {
        let shared = Arc::clone(&shared);
        TryScope { scope, shared }.attempt(body)
    };
    let value = worker::as_part(registry, |member| scope_on(member, enter));
    // All tasks have ended.
    let error = lock(&shared.error).take();
    match (error, value) {
        (Some(error), _) => Err(error),
        (None, Some(value)) => Ok(value),
        (None, None) => unreachable!("heist: a body without a value leaves an error"),
    }
}

impl<'scope, E: Send + 'scope> TryScope<'_, 'scope, E> {
    /// Spawns a task. If it fails, the scope is cancelled and returns the error, unless another one came
    /// first.
    ///
    /// In a cancelled scope the task is dropped without having run, when a thread takes it from its queue.
    /// [`stats`](ThreadPool::stats) counts it as completed even so, because for the pool it is a task of a
    /// scope that has ended.
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
            let scope = TryScope { scope, shared };
            if !scope.is_cancelled() {
                scope.attempt(f);
            }
        });
    }

    /// Runs the body or a task. If it fails, keeps its error, cancels the scope and returns `None`.
    fn attempt<R>(&self, f: impl FnOnce(&Self) -> Result<R, E>) -> Option<R> {
        let result = unwind::catch(|| f(self));
        if !matches!(result, Ok(Ok(_))) {
            self.cancel();
        }
        result
            .unwrap_or_else(|payload| unwind::resume(payload))
            .map_err(|error| drop(keep_first(&self.shared.error, error)))
            .ok()
    }
}

impl<E> TryScope<'_, '_, E> {
    /// Cancels the scope.
    ///
    /// Tasks that have not begun are dropped without having run. Tasks that run see it by
    /// [`is_cancelled`](Self::is_cancelled). The scope returns the body's result unless something fails.
    pub fn cancel(&self) {
        self.shared.cancelled.store(true, Ordering::Relaxed);
    }

    /// Returns whether the scope was cancelled, by [`cancel`](Self::cancel), an error or a panic.
    ///
    /// Long tasks should check this from time to time and return. The check is one load.
    pub fn is_cancelled(&self) -> bool {
        self.shared.cancelled.load(Ordering::Relaxed)
    }
}

impl<E> fmt::Debug for TryScope<'_, '_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TryScope")
            .field("is_cancelled", &self.is_cancelled())
            .finish_non_exhaustive()
    }
}
