//! Waits for several handles at once.

use super::error::JoinError;
use super::handle::JoinHandle;
use super::pending::{Pending, Until};
use super::sleep::Sleep;
use super::timer::deadline_after;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Returns an iterator over the outcomes of `handles` in the order in which the tasks finish, each with the index of its handle in the input.
///
/// Tasks that have finished already come first. Use [`try_join_all`] for the results in the order of the input, [`wait`] to keep the handles,
/// and [`JoinSet`](crate::JoinSet) to add tasks meanwhile. [`AsCompleted`] says how `next` waits.
///
/// ```
/// let pool = heist::ThreadPool::new()?;
/// let handles: Vec<_> = (0..3).map(|n| pool.submit(move || n * 10)).collect();
/// let mut seen: Vec<_> = heist::as_completed(handles).map(|(index, result)| (index, result.unwrap())).collect();
/// seen.sort();
/// assert_eq!(seen, [(0, 0), (1, 10), (2, 20)]);
/// # Ok::<(), heist::BuildError>(())
/// ```
pub fn as_completed<T>(handles: impl IntoIterator<Item = JoinHandle<T>>) -> AsCompleted<T> {
    AsCompleted {
        tasks: Pending::of(handles),
        deadline: None,
        timed_out: false,
        sleep: None,
    }
}

/// An iterator over outcomes in the order in which tasks finish. See [`as_completed`]. Dropping it detaches the
/// unfinished tasks.
///
/// # Blocking
///
/// `next` waits for the next task that finishes. While a worker waits, a spare thread replaces it. A thread that
/// takes part in a pool leaves the tasks to other threads. It runs one itself if there is no other thread, or if
/// nothing has finished for 50 ms. It also runs the last one. With a time limit it runs none.
#[must_use = "iterators are lazy: nothing is waited for until `next`"]
pub struct AsCompleted<T> {
    tasks: Pending<JoinHandle<T>>,
    deadline: Option<Instant>,
    timed_out: bool,
    /// Wakes a future that waits for the next task when the time limit expires.
    sleep: Option<Sleep>,
}

impl<T> AsCompleted<T> {
    /// Limits the time of the whole iteration, counted from this call. When the time limit expires, `next` returns `None` even if tasks have not finished.
    ///
    /// The tasks are not cancelled: [`unfinished`](Self::unfinished) returns their handles. While there is a limit, `next` runs no task itself.
    ///
    /// ```
    /// use std::time::Duration;
    /// let (promise, handle) = heist::promise::<u32>();
    /// let mut all = heist::as_completed([handle]).timeout(Duration::from_millis(1));
    /// assert!(all.next().is_none() && all.timed_out());
    /// promise.resolve(7).unwrap();
    /// let handle = all.unfinished().pop().unwrap();
    /// assert_eq!(handle.join().unwrap(), 7);
    /// ```
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.deadline = deadline_after(timeout);
        self
    }

    /// Waits for the next task that finishes, as `next` does, in async code. No thread waits meanwhile.
    ///
    /// ```
    /// let pool = heist::ThreadPool::new()?;
    /// let handles: Vec<_> = (0..3).map(|n| pool.submit(move || n)).collect();
    /// let sum = heist::block_on(async {
    ///     let (mut all, mut sum) = (heist::as_completed(handles), 0);
    ///     while let Some((_, result)) = all.next_async().await {
    ///         sum += result.unwrap();
    ///     }
    ///     sum
    /// });
    /// assert_eq!(sum, 3);
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn next_async(&mut self) -> impl Future<Output = Option<(usize, Result<T, JoinError>)>> {
        std::future::poll_fn(|context| self.poll_next_task(context))
    }

    pub(crate) fn poll_next_task(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<(usize, Result<T, JoinError>)>> {
        if self.timed_out {
            return Poll::Ready(None);
        }
        if let Poll::Ready(next) = self.tasks.poll_finished(context) {
            return Poll::Ready(next.map(|(index, mut handle)| (index, handle.take())));
        }
        if let Some(deadline) = self.deadline {
            let sleep = self
                .sleep
                .get_or_insert_with(|| Sleep::until(Some(deadline)));
            self.timed_out = Pin::new(sleep).poll(context).is_ready();
        }
        if self.timed_out {
            Poll::Ready(None)
        } else {
            Poll::Pending
        }
    }

    /// Returns whether the iterator ended because its time limit expired.
    pub fn timed_out(&self) -> bool {
        self.timed_out
    }

    /// Returns the handles whose outcomes the iterator has not returned, in the order of the input.
    pub fn unfinished(mut self) -> Vec<JoinHandle<T>> {
        self.tasks.deregister();
        self.tasks.take_all()
    }

    /// Adds a task, whose index is the next one.
    #[cfg(feature = "futures")]
    pub(crate) fn push(&mut self, handle: JoinHandle<T>) {
        self.tasks.push(handle);
    }

    /// Returns how many tasks are left.
    #[cfg(feature = "futures")]
    pub(crate) fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Cancels the tasks that are left.
    #[cfg(feature = "futures")]
    pub(crate) fn cancel_all(&self) {
        for handle in self.tasks.items() {
            handle.cancel();
        }
    }

    /// Cancels the tasks that have not begun, and the futures. Detaches the other tasks.
    fn cancel(self) {
        for handle in self.unfinished() {
            handle.cancel();
        }
    }
}

impl<T> Iterator for AsCompleted<T> {
    type Item = (usize, Result<T, JoinError>);

    fn next(&mut self) -> Option<Self::Item> {
        while !self.tasks.is_empty() && !self.timed_out {
            if let Some((index, mut handle)) = self.tasks.take_finished() {
                return Some((index, handle.take()));
            }
            self.timed_out = !self.tasks.wait(Until::Any, self.deadline);
        }
        None
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.tasks.len();
        let least = if self.deadline.is_none() { left } else { 0 };
        (least, Some(left))
    }
}

impl<T> fmt::Debug for AsCompleted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsCompleted")
            .field("left", &self.tasks.len())
            .field("timed_out", &self.timed_out)
            .finish_non_exhaustive()
    }
}

/// The event that [`wait`] waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitFor {
    /// One task has finished.
    First,
    /// One task has ended without a result, or all have finished. A task that returns an `Err` has a result: see
    /// [`wait_results`].
    FirstError,
    /// All tasks have finished.
    All,
}

/// The result of [`wait`]: indices of its input, in ascending order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Waited {
    /// The tasks that have finished.
    pub done: Vec<usize>,
    /// The tasks that have not finished.
    pub pending: Vec<usize>,
}

/// Waits for some of `handles`, for at most `timeout`, and returns which have finished. The handles stay
/// usable.
///
/// It returns at once if there are no handles. Reaching the time limit is not an error. Use [`as_completed`]
/// to process results one by one, and [`wait_results`] if tasks return a [`Result`].
///
/// # Blocking
///
/// On a thread that takes part in a pool, a wait for [`All`](WaitFor::All) without a time limit runs tasks
/// that have not begun. The other waits behave like [`AsCompleted`].
///
/// ```
/// use heist::WaitFor;
/// let pool = heist::ThreadPool::new()?;
/// let handles = [pool.submit(|| 1), pool.submit(|| 2)];
/// let waited = heist::wait(&handles, WaitFor::All, None);
/// assert_eq!(waited.done, [0, 1]);
/// # Ok::<(), heist::BuildError>(())
/// ```
pub fn wait<T>(handles: &[JoinHandle<T>], what: WaitFor, timeout: Option<Duration>) -> Waited {
    wait_by(handles, what, timeout, JoinHandle::is_error)
}

/// Waits for some of `handles` as [`wait`](crate::wait()) does, for tasks that return a [`Result`]: with [`WaitFor::FirstError`], a task that returns `Err`
/// counts as one that ends without a result.
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

/// Implements [`wait`]. `is_error` is called for finished tasks only.
fn wait_by<T>(
    handles: &[JoinHandle<T>],
    what: WaitFor,
    timeout: Option<Duration>,
    is_error: impl Fn(&JoinHandle<T>) -> bool,
) -> Waited {
    let deadline = timeout.and_then(deadline_after);
    let mut tasks = Pending::of(handles);
    let until = match what {
        WaitFor::All => Until::All,
        WaitFor::First | WaitFor::FirstError => Until::Any,
    };
    let enough = |handle: &JoinHandle<T>| match what {
        WaitFor::First => true,
        WaitFor::FirstError => is_error(handle),
        WaitFor::All => false,
    };
    while !tasks.is_empty() {
        match tasks.take_finished() {
            Some((_, handle)) if enough(handle) => break,
            Some(_) => {}
            None if tasks.wait(until, deadline) => {}
            None => break,
        }
    }
    tasks.deregister();
    let (done, pending) = (0..handles.len()).partition(|&index| handles[index].is_finished());
    Waited { done, pending }
}

/// Waits for the task that finishes first and returns its outcome, with its index, or `None` if there are no
/// handles.
///
/// The other tasks are [cancelled](JoinHandle::cancel) if they have not begun or are futures, and detached otherwise.
///
/// ```
/// let pool = heist::ThreadPool::new()?;
/// let handles = (1..4).map(|n| pool.submit(move || n));
/// let (index, result) = heist::first_finished(handles).unwrap();
/// assert_eq!(result.unwrap(), index + 1);
/// # Ok::<(), heist::BuildError>(())
/// ```
pub fn first_finished<T>(
    handles: impl IntoIterator<Item = JoinHandle<T>>,
) -> Option<(usize, Result<T, JoinError>)> {
    let mut all = as_completed(handles);
    let first = all.next();
    all.cancel();
    first
}

/// Waits for the first task that returns `Ok` and returns its value, with the task's index.
///
/// The other tasks are [cancelled](JoinHandle::cancel) if they have not begun or are futures, and detached otherwise.
///
/// # Errors
///
/// Returns the errors of all tasks, in the order of the input, if none succeeded.
///
/// ```
/// let pool = heist::ThreadPool::new()?;
/// let handles = (0..4).map(|n| pool.submit(move || if n == 2 { Ok(n) } else { Err("not this one") }));
/// assert_eq!(heist::first_ok(handles).unwrap(), (2, 2));
/// # Ok::<(), heist::BuildError>(())
/// ```
pub fn first_ok<T, E>(
    handles: impl IntoIterator<Item = JoinHandle<Result<T, E>>>,
) -> Result<(usize, T), Vec<TaskError<E>>> {
    let mut all = as_completed(handles);
    let mut errors = Vec::new();
    for (index, outcome) in &mut all {
        match outcome {
            Ok(Ok(value)) => {
                all.cancel();
                return Ok((index, value));
            }
            Ok(Err(error)) => errors.push((index, TaskError::Failed(error))),
            Err(error) => errors.push((index, TaskError::Lost(error))),
        }
    }
    errors.sort_by_key(|&(index, _)| index);
    Err(errors.into_iter().map(|(_, error)| error).collect())
}

/// The reason why a task did not succeed. See [`first_ok`].
#[derive(Debug)]
pub enum TaskError<E> {
    /// The task returned this error.
    Failed(E),
    /// The task returned nothing.
    Lost(JoinError),
}

impl<E: fmt::Display> fmt::Display for TaskError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TaskError::Failed(error) => error.fmt(f),
            TaskError::Lost(error) => error.fmt(f),
        }
    }
}

impl<E: std::error::Error + 'static> std::error::Error for TaskError<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            TaskError::Failed(error) => Some(error),
            TaskError::Lost(error) => Some(error),
        }
    }
}

/// Waits for all of `handles` and returns their results, in the order of the input.
///
/// Use [`as_completed`] to process each result as it comes, and [`first_ok`] if one result is enough.
///
/// # Errors
///
/// Returns the error of the first task that ends without a result. The other tasks are then [cancelled](JoinHandle::cancel) if they have not
/// begun or are futures, and detached otherwise. A task that returns an `Err` has a result, and cancels nothing.
///
/// # Blocking
///
/// Waits like an iterator of [`AsCompleted`]. Async code awaits the handles, or [`JoinSet::next`](crate::JoinSet::next).
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
    let mut results: Vec<Option<T>> = (0..all.tasks.len()).map(|_| None).collect();
    for (index, outcome) in &mut all {
        match outcome {
            Ok(value) => results[index] = Some(value),
            Err(error) => {
                all.cancel();
                return Err(error);
            }
        }
    }
    // Without an error each index has come once.
    Ok(results.into_iter().flatten().collect())
}
