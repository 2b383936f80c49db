//! Waiting for several handles at once.

use super::arrivals::Arrivals;
use super::error::{JoinError, TaskId};
use super::extra::Waiter;
use super::handle::{JoinHandle, after};
use super::pending::{Pending, Until};
use crate::pool::ThreadPool;
use crate::sync::Arc;
use crate::sys;
use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, Instant};

mod joined;
mod results;

pub use joined::{JoinSetTask, Joined};
pub use results::{try_join_all, wait_results};

/// Has the task's end put `index` into the list.
pub(super) fn enrol<T>(handle: &JoinHandle<T>, arrivals: &Arc<Arrivals>, index: usize) {
    let member = || Waiter::Member(Arc::clone(arrivals), index);
    if !handle.task().at_end(|list| list.waiters.push(member())) {
        arrivals.arrive(index);
    }
}

/// See [`TaskRef::check_fork`](super::cell::TaskRef::check_fork).
fn check_fork<'a, T: 'a>(handles: impl IntoIterator<Item = &'a JoinHandle<T>>) {
    if sys::forks() != 0 {
        for handle in handles {
            handle.task().check_fork();
        }
    }
}

/// Undoes [`enrol`].
fn strike<T>(handle: &JoinHandle<T>, arrivals: &Arc<Arrivals>) {
    handle.task().forget(
        |waiter| matches!(waiter, Waiter::Member(other, _) if Arc::ptr_eq(other, arrivals)),
    );
}

/// The outcomes of `handles`, each as it finishes, with its index in the input; those that have finished come first.
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
    let arrivals = Arc::new(Arrivals::default());
    let handles: Vec<_> = handles.into_iter().map(Some).collect();
    for (index, handle) in handles.iter().flatten().enumerate() {
        enrol(handle, &arrivals, index);
    }
    AsCompleted {
        left: handles.len(),
        pending: Pending::new(handles.len()),
        handles,
        arrivals,
        deadline: None,
        timed_out: false,
    }
}

/// See [`as_completed`].
///
/// # Blocking
/// `next` waits for the next task that finishes; a worker leaves its place to a spare thread meanwhile. On a thread that takes part in a pool it
/// runs a task itself where no other thread can, and the last one, unless there is a time limit: nobody else is there, or all others have been
/// busy for some time and nothing has finished.
#[must_use = "iterators are lazy: nothing is waited for until `next`"]
pub struct AsCompleted<T> {
    handles: Vec<Option<JoinHandle<T>>>,
    arrivals: Arc<Arrivals>,
    left: usize,
    pending: Pending,
    deadline: Option<Instant>,
    timed_out: bool,
}

impl<T> AsCompleted<T> {
    /// The iterator ends this long from now, whether or not all tasks have finished.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.deadline = after(timeout);
        self
    }

    /// Whether it ended because its time was over.
    pub fn timed_out(&self) -> bool {
        self.timed_out
    }

    /// The handles that it has not given out, in the order of the input.
    pub fn unfinished(mut self) -> Vec<JoinHandle<T>> {
        let handles: Vec<_> = self.handles.iter_mut().filter_map(Option::take).collect();
        for handle in &handles {
            strike(handle, &self.arrivals);
        }
        handles
    }
}

impl<T> Iterator for AsCompleted<T> {
    type Item = (usize, Result<T, JoinError>);

    fn next(&mut self) -> Option<Self::Item> {
        while self.left > 0 && !self.timed_out {
            if let Some(index) = self.arrivals.next() {
                self.left -= 1;
                let mut handle = self.handles[index].take()?;
                return Some((index, handle.take()));
            }
            let handles = &self.handles;
            check_fork(handles.iter().flatten());
            let until = if self.left == 1 {
                Until::All
            } else {
                Until::Any
            };
            self.timed_out = !self
                .pending
                .wait(&self.arrivals, until, self.deadline, |index| {
                    handles[index].as_ref().map(JoinHandle::task)
                });
        }
        None
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let least = if self.deadline.is_none() {
            self.left
        } else {
            0
        };
        (least, Some(self.left))
    }
}

impl<T> fmt::Debug for AsCompleted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsCompleted")
            .field("left", &self.left)
            .field("timed_out", &self.timed_out)
            .finish_non_exhaustive()
    }
}

/// What [`wait`] waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitFor {
    /// One task has finished.
    First,
    /// One task has finished without a result, or all have finished.
    FirstError,
    /// All have finished.
    All,
}

/// What [`wait`] found: indices of its input, rising.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Waited {
    /// The finished ones.
    pub done: Vec<usize>,
    /// The others.
    pub pending: Vec<usize>,
}

/// Waits for some of `handles`, at most for `timeout`, and says which have finished. The handles stay as they are.
///
/// With no handles it returns at once. That the time is over is no error.
///
/// # Blocking
/// On a thread that takes part in a pool, a wait for [`All`](WaitFor::All) without a time limit runs tasks that nobody has begun. The other waits do
/// as [`AsCompleted`].
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

/// [`wait`] with another notion of an error. `is_error` is asked about finished tasks only.
fn wait_by<T>(
    handles: &[JoinHandle<T>],
    what: WaitFor,
    timeout: Option<Duration>,
    is_error: impl Fn(&JoinHandle<T>) -> bool,
) -> Waited {
    let deadline = timeout.and_then(after);
    let arrivals = Arc::new(Arrivals::default());
    for (index, handle) in handles.iter().enumerate() {
        enrol(handle, &arrivals, index);
    }
    let mut missing = handles.len();
    let mut pending = Pending::new(missing);
    let mut enough = false;
    while !enough && missing > 0 {
        if let Some(index) = arrivals.next() {
            missing -= 1;
            enough = match what {
                WaitFor::First => true,
                WaitFor::FirstError => is_error(&handles[index]),
                WaitFor::All => false,
            };
            continue;
        }
        check_fork(handles);
        let until = if missing == 1 || what == WaitFor::All {
            Until::All
        } else {
            Until::Any
        };
        if !pending.wait(&arrivals, until, deadline, |index| {
            Some(handles[index].task())
        }) {
            break;
        }
    }
    for handle in handles {
        strike(handle, &arrivals);
    }
    let (done, pending) = (0..handles.len()).partition(|&index| handles[index].is_finished());
    Waited { done, pending }
}

/// The outcome of the task that finishes first, with its index; the others are [cancelled](JoinHandle::cancel) if they have not begun, else let
/// go. None: there were no handles.
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
    cancel(all.unfinished());
    first
}

/// The first success, with its task's index; the others are [cancelled](JoinHandle::cancel) if they have not begun, else let go.
///
/// # Errors
/// Every task's error, in the order of the input, if none succeeded.
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
                cancel(all.unfinished());
                return Ok((index, value));
            }
            Ok(Err(error)) => errors.push((index, TaskError::Failed(error))),
            Err(error) => errors.push((index, TaskError::Lost(error))),
        }
    }
    errors.sort_by_key(|&(index, _)| index);
    Err(errors.into_iter().map(|(_, error)| error).collect())
}

/// Why a task brought no success. See [`first_ok`].
#[derive(Debug)]
pub enum TaskError<E> {
    /// It returned this.
    Failed(E),
    /// It returned nothing.
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

fn cancel<T>(handles: Vec<JoinHandle<T>>) {
    for handle in handles {
        handle.cancel();
    }
}

/// Tasks of one kind, joined in the order in which they finish. Dropping it cancels those that have not begun.
///
/// ```
/// let pool = heist::ThreadPool::new()?;
/// let mut set = heist::JoinSet::new(&pool);
/// for n in 1..=4 {
///     set.spawn(move || n);
/// }
/// let mut sum = 0;
/// while let Some(result) = set.join_next() {
///     sum += result.unwrap();
/// }
/// assert_eq!(sum, 10);
/// # Ok::<(), heist::BuildError>(())
/// ```
pub struct JoinSet<T> {
    pool: ThreadPool,
    arrivals: Arc<Arrivals>,
    handles: HashMap<usize, JoinHandle<T>>,
    pending: Pending,
    next: usize,
}

impl<T: Send + 'static> JoinSet<T> {
    /// An empty set of tasks of this pool.
    pub fn new(pool: &ThreadPool) -> Self {
        JoinSet {
            pool: pool.clone(),
            arrivals: Arc::default(),
            handles: HashMap::new(),
            pending: Pending::new(0),
            next: 0,
        }
    }

    /// Submits a task, as [`ThreadPool::submit`] does.
    pub fn spawn<F>(&mut self, f: F) -> TaskId
    where
        F: FnOnce() -> T + Send + 'static,
    {
        let handle = self.pool.submit(f);
        self.insert(handle)
    }
}

impl<T> JoinSet<T> {
    /// Adds a task that was submitted elsewhere, or the handle of a [`promise`](crate::promise()). From now on it is the set's.
    ///
    /// ```
    /// let pool = heist::ThreadPool::new()?;
    /// let mut set = heist::JoinSet::new(&pool);
    /// let (promise, handle) = heist::promise();
    /// set.insert(handle);
    /// promise.resolve(7).unwrap();
    /// assert_eq!(set.join_next().unwrap().unwrap(), 7);
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn insert(&mut self, handle: JoinHandle<T>) -> TaskId {
        let (id, index) = (handle.id(), self.next);
        self.next += 1;
        enrol(&handle, &self.arrivals, index);
        self.handles.insert(index, handle);
        self.pending.push(index);
        id
    }

    /// The outcome of the next task that finishes. None: the set is empty.
    ///
    /// # Blocking
    /// As [`AsCompleted`].
    pub fn join_next(&mut self) -> Option<Result<T, JoinError>> {
        self.next_arrived().map(|mut handle| handle.take())
    }

    /// The handle of the next task that finishes.
    fn next_arrived(&mut self) -> Option<JoinHandle<T>> {
        while !self.handles.is_empty() {
            let arrived = self.take_arrived();
            if arrived.is_some() {
                return arrived;
            }
            self.pool.registry().check_fork();
            let handles = &self.handles;
            let until = if handles.len() == 1 {
                Until::All
            } else {
                Until::Any
            };
            self.pending.wait(&self.arrivals, until, None, |index| {
                handles.get(&index).map(JoinHandle::task)
            });
        }
        None
    }

    /// The handle of the next task that has finished, if one has.
    fn take_arrived(&mut self) -> Option<JoinHandle<T>> {
        let index = self.arrivals.next()?;
        self.handles.remove(&index)
    }

    /// How many tasks have not been joined.
    pub fn len(&self) -> usize {
        self.handles.len()
    }

    /// Whether all tasks have been joined.
    pub fn is_empty(&self) -> bool {
        self.handles.is_empty()
    }

    /// Cancels the tasks that have not begun. They are joined like the others, with an error.
    pub fn cancel_all(&mut self) {
        for handle in self.handles.values() {
            handle.cancel();
        }
    }
}

impl<T> Drop for JoinSet<T> {
    fn drop(&mut self) {
        self.cancel_all();
    }
}

impl<T> fmt::Debug for JoinSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinSet")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}
