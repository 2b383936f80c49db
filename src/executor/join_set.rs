//! A set of tasks that grows while it is joined.

use super::error::{JoinError, TaskId};
use super::handle::JoinHandle;
use super::options::{Options, option_methods};
use super::pending::{Pending, Until};
use super::recorded::note_place;
use super::submit;
use super::timer::deadline_after;
use crate::pool::ThreadPool;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// A set of tasks with results of one type, which are joined in the order in which they finish.
///
/// Use it if tasks are added while others are joined. For a fixed number of handles, use [`as_completed`](crate::as_completed), or
/// [`try_join_all`](crate::try_join_all) for the results in order. Dropping the set cancels the tasks that have not begun, and the futures. It
/// detaches the other tasks.
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
    tasks: Pending<JoinHandle<T>>,
}

impl<T: Send + 'static> JoinSet<T> {
    /// Creates an empty set whose tasks run on `pool`.
    ///
    /// ```
    /// let pool = heist::ThreadPool::new()?;
    /// let set = heist::JoinSet::<u32>::new(&pool);
    /// assert!(set.is_empty());
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn new(pool: &ThreadPool) -> Self {
        JoinSet {
            pool: pool.clone(),
            tasks: Pending::default(),
        }
    }

    /// Submits a task to the pool, as [`ThreadPool::submit`] does, and returns its id, by which
    /// [`join_next_task`](Self::join_next_task) names it.
    ///
    /// # Blocking
    ///
    /// Waits for room in a full queue as [`ThreadPool::submit`] does.
    ///
    /// ```
    /// let pool = heist::ThreadPool::new()?;
    /// let mut set = heist::JoinSet::new(&pool);
    /// set.spawn(|| 6 * 7);
    /// assert_eq!(set.join_next().unwrap().unwrap(), 42);
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    #[track_caller]
    pub fn spawn<F: FnOnce() -> T + Send + 'static>(&mut self, f: F) -> TaskId {
        self.task().spawn(f)
    }

    /// Returns a builder for a task of the set with a name, a priority, a deadline or a token.
    ///
    /// ```
    /// let pool = heist::ThreadPool::new()?;
    /// let mut set = heist::JoinSet::new(&pool);
    /// let id = set.task().name("thumbnail").priority(heist::Priority::High).spawn(|| 1);
    /// let joined = set.join_next_task(None).unwrap();
    /// assert_eq!((joined.id, joined.name.as_deref()), (id, Some("thumbnail")));
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn task(&mut self) -> JoinSetTask<'_, T> {
        JoinSetTask {
            set: self,
            options: Options::default(),
        }
    }
}

impl<T> JoinSet<T> {
    /// Adds a task that was submitted elsewhere, or the handle of a [`promise`](crate::promise()), and returns its id.
    ///
    /// The set cancels the task with its own tasks. The task can belong to another pool.
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
        let id = handle.id();
        self.tasks.push(handle);
        id
    }

    /// Waits for the next task that finishes and returns its outcome, or `None` if the set is empty.
    ///
    /// Use [`join_next_task`](Self::join_next_task) to learn which task it is.
    ///
    /// # Blocking
    ///
    /// Waits like an iterator of [`AsCompleted`](crate::AsCompleted): it runs a task of the set only if no other thread can, or if it is the
    /// last one.
    ///
    /// ```
    /// let pool = heist::ThreadPool::new()?;
    /// let mut set = heist::JoinSet::new(&pool);
    /// set.spawn(|| "done");
    /// assert_eq!(set.join_next().unwrap().unwrap(), "done");
    /// assert!(set.join_next().is_none());
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn join_next(&mut self) -> Option<Result<T, JoinError>> {
        Some(self.next_finished(None)?.take())
    }

    /// Returns the outcome of a task that has finished, or `None` if there is no such task. Never waits.
    ///
    /// ```
    /// let pool = heist::ThreadPool::new()?;
    /// let mut set = heist::JoinSet::new(&pool);
    /// assert!(set.try_join_next().is_none());
    /// set.spawn(|| 1);
    /// pool.wait_idle();
    /// assert_eq!(set.try_join_next().unwrap().unwrap(), 1);
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn try_join_next(&mut self) -> Option<Result<T, JoinError>> {
        self.join_next_timeout(Duration::ZERO)
    }

    /// Waits for the next task that finishes, as [`join_next`](Self::join_next) does, but for at most
    /// `timeout`.
    ///
    /// Returns `None` if the time limit expires or the set [is empty](Self::is_empty). It does not run a task of
    /// the set itself, because that could take longer. Use [`join_next`](Self::join_next) for a wait without a
    /// limit: even with [`Duration::MAX`] this method leaves the tasks to other threads, unlike
    /// [`JoinHandle::wait_timeout`]. On the only thread of a pool without spare threads such a wait never ends,
    /// unless the pool was built with [`Waits::Any`](crate::Waits::Any).
    ///
    /// ```
    /// use std::time::Duration;
    /// let pool = heist::ThreadPool::new()?;
    /// let mut set = heist::JoinSet::new(&pool);
    /// let (promise, handle) = heist::promise();
    /// set.insert(handle);
    /// assert!(set.join_next_timeout(Duration::from_millis(1)).is_none());
    /// promise.resolve(1).unwrap();
    /// assert_eq!(set.join_next_timeout(Duration::from_secs(60)).unwrap().unwrap(), 1);
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn join_next_timeout(&mut self, timeout: Duration) -> Option<Result<T, JoinError>> {
        Some(self.next_finished(Some(timeout))?.take())
    }

    /// Waits for the next task that finishes and returns its outcome with its id and name, or `None` if the set is empty or the time limit expires.
    ///
    /// Without a time limit it waits as [`join_next`](Self::join_next) does. With one, [`Duration::MAX`] included,
    /// it waits as [`join_next_timeout`](Self::join_next_timeout) does. A limit of zero only checks.
    ///
    /// ```
    /// let pool = heist::ThreadPool::new()?;
    /// let mut set = heist::JoinSet::new(&pool);
    /// let id = set.spawn(|| 6 * 7);
    /// let joined = set.join_next_task(None).unwrap();
    /// assert_eq!((joined.id, joined.result.unwrap()), (id, 42));
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn join_next_task(&mut self, timeout: Option<Duration>) -> Option<Joined<T>> {
        let mut handle = self.next_finished(timeout)?;
        Some(Joined {
            id: handle.id(),
            name: handle.name().map(Arc::from),
            result: handle.take(),
        })
    }

    /// Waits for the next task that finishes and returns its outcome, or `None` if the set is empty, in async code. No thread waits meanwhile.
    ///
    /// ```
    /// let pool = heist::ThreadPool::new()?;
    /// let mut set = heist::JoinSet::new(&pool);
    /// for n in 0..3 {
    ///     set.insert(pool.submit_async(async move { n }));
    /// }
    /// let sum = heist::block_on(async {
    ///     let mut sum = 0;
    ///     while let Some(result) = set.next().await {
    ///         sum += result.unwrap();
    ///     }
    ///     sum
    /// });
    /// assert_eq!(sum, 3);
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    #[expect(
        clippy::should_implement_trait,
        reason = "it is the method of a stream, and a set is no iterator"
    )]
    pub fn next(&mut self) -> impl Future<Output = Option<Result<T, JoinError>>> {
        std::future::poll_fn(|context| self.poll_next_task(context))
    }

    pub(crate) fn poll_next_task(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<T, JoinError>>> {
        let next = self.tasks.poll_finished(context);
        next.map(|next| next.map(|(_, mut handle)| handle.take()))
    }

    /// Waits for the next task that finishes and takes its handle. With a time limit it runs no task itself.
    fn next_finished(&mut self, timeout: Option<Duration>) -> Option<JoinHandle<T>> {
        let deadline = timeout.and_then(deadline_after);
        loop {
            if let Some((_, handle)) = self.tasks.take_finished() {
                return Some(handle);
            }
            if self.is_empty() || timeout.is_some_and(|timeout| timeout.is_zero()) {
                return None;
            }
            self.pool.registry().check_fork();
            if timeout.is_none() {
                self.tasks.wait(Until::Any, None);
            } else if !self.tasks.block(deadline) {
                // A task can have finished as the time limit expired.
                return self.tasks.take_finished().map(|(_, handle)| handle);
            }
        }
    }

    /// Returns how many tasks have not been joined, running and finished ones included.
    ///
    /// ```
    /// let pool = heist::ThreadPool::new()?;
    /// let mut set = heist::JoinSet::new(&pool);
    /// set.spawn(|| 1);
    /// pool.wait_idle();
    /// assert_eq!(set.len(), 1);
    /// set.join_next();
    /// assert!(set.is_empty());
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Returns whether all tasks have been joined.
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Cancels the tasks that have not begun, and the futures. They stay in the set and are joined with an error.
    ///
    /// ```
    /// let pool = heist::ThreadPool::new()?;
    /// let mut set = heist::JoinSet::new(&pool);
    /// let (promise, handle) = heist::promise::<u32>();
    /// set.insert(handle);
    /// set.cancel_all();
    /// assert!(set.join_next().unwrap().unwrap_err().is_cancelled());
    /// # drop(promise);
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn cancel_all(&mut self) {
        for handle in self.tasks.items() {
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

/// A task of a [`JoinSet`] that has ended. See [`JoinSet::join_next_task`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Joined<T> {
    /// What [`JoinSet::spawn`] returned.
    pub id: TaskId,
    /// The task's name, if it was given one.
    pub name: Option<Arc<str>>,
    /// The task's result, or the reason why there is none.
    pub result: Result<T, JoinError>,
}

/// A builder for a task of a [`JoinSet`] with a name, a priority, a deadline or a token. See [`JoinSet::task`].
///
/// Nothing is submitted until [`spawn`](Self::spawn).
#[must_use = "a task does nothing until `spawn`"]
pub struct JoinSetTask<'a, T> {
    set: &'a mut JoinSet<T>,
    options: Options,
}

option_methods!(JoinSetTask, T; "let mut set = heist::JoinSet::new(&pool);\nset.task()", "spawn");

impl<T: Send + 'static> JoinSetTask<'_, T> {
    /// Submits the task to the set's pool and returns its id. See [`JoinSet::spawn`].
    ///
    /// ```
    /// let pool = heist::ThreadPool::new()?;
    /// let mut set = heist::JoinSet::new(&pool);
    /// set.task().priority(heist::Priority::Low).spawn(|| 6 * 7);
    /// assert_eq!(set.join_next().unwrap().unwrap(), 42);
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    #[track_caller]
    pub fn spawn<F: FnOnce() -> T + Send + 'static>(self, f: F) -> TaskId {
        let registry = self.set.pool.registry();
        note_place(registry, self.options.name.as_ref(), &f);
        let handle = submit::submit_in(registry, self.options, f);
        self.set.insert(handle)
    }
}
