//! Waits that stop at the first error.

use super::{WaitFor, Waited, as_completed, cancel, wait_by};
use crate::executor::error::JoinError;
use crate::executor::handle::JoinHandle;
use std::time::Duration;

/// Waits for all of `handles` and returns their results, in the order of the input.
///
/// # Errors
/// The error of the task that is the first to end without a result; the others are [cancelled](JoinHandle::cancel) if they have not begun, else let go.
///
/// # Blocking
/// As [`AsCompleted`](crate::AsCompleted).
///
/// ```
/// let pool = heist::ThreadPool::new()?;
/// let squares = heist::try_join_all((0..4).map(|n| pool.submit(move || n * n)));
/// assert_eq!(squares.unwrap(), [0, 1, 4, 9]);
///
/// let failed = heist::try_join_all((0..4).map(|n| pool.submit(move || assert!(n != 2))));
/// assert!(failed.unwrap_err().is_panic());
/// # Ok::<(), heist::BuildError>(())
/// ```
pub fn try_join_all<T>(
    handles: impl IntoIterator<Item = JoinHandle<T>>,
) -> Result<Vec<T>, JoinError> {
    let mut all = as_completed(handles);
    let mut results: Vec<Option<T>> = (0..all.left).map(|_| None).collect();
    for (index, outcome) in &mut all {
        match outcome {
            Ok(value) => results[index] = Some(value),
            Err(error) => {
                cancel(all.unfinished());
                return Err(error);
            }
        }
    }
    // Without an error each has come.
    Ok(results.into_iter().flatten().collect())
}

/// [`wait`](crate::wait()) for tasks that return a [`Result`]: for [`WaitFor::FirstError`] a task that returns `Err` counts as one that ends without a
/// result. The handles stay as they are.
///
/// ```
/// use heist::WaitFor;
/// let pool = heist::ThreadPool::new()?;
/// let (promise, pending) = heist::promise::<Result<u32, String>>();
/// let handles = [pending, pool.submit(|| Err("no such file".to_string()))];
/// let waited = heist::wait_results(&handles, WaitFor::FirstError, None);
/// assert_eq!((waited.done, waited.pending), (vec![1], vec![0]));
/// # drop(promise);
/// # Ok::<(), heist::BuildError>(())
/// ```
pub fn wait_results<T, E>(
    handles: &[JoinHandle<Result<T, E>>],
    what: WaitFor,
    timeout: Option<Duration>,
) -> Waited {
    wait_by(handles, what, timeout, JoinHandle::has_failed)
}
