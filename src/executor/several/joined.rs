//! More ways to fill a [`JoinSet`], and to join what has ended in it.

use super::JoinSet;
use crate::executor::error::{JoinError, TaskId};
use crate::executor::handle::{JoinHandle, after};
use crate::executor::submit::Options;
use crate::executor::token::CancelToken;
use crate::pool::{Priority, worker};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A task of a [`JoinSet`] that has ended. See [`JoinSet::join_next_task`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Joined<T> {
    /// What [`JoinSet::spawn`] returned.
    pub id: TaskId,
    /// The task's name, if it was given one.
    pub name: Option<Arc<str>>,
    /// The task's result, or why there is none.
    pub result: Result<T, JoinError>,
}

impl<T: Send + 'static> JoinSet<T> {
    /// The options of a task to be spawned into the set. See [`ThreadPool::task`](crate::ThreadPool::task).
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
    /// The outcome of a task that has finished already, without waiting. `None`: no task has, or the set is empty.
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
        self.take_arrived().map(|mut handle| handle.take())
    }

    /// [`join_next`](Self::join_next) that waits for at most `timeout`. `None`: the time is over, or the set [is empty](Self::is_empty).
    ///
    /// It does not run a task of the set itself: that could take longer.
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
        self.wait_arrived(timeout).map(|mut handle| handle.take())
    }

    /// [`join_next`](Self::join_next) that also says which task has ended. With a time limit it waits as
    /// [`join_next_timeout`](Self::join_next_timeout) does; a limit of zero only asks.
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
        let mut handle = match timeout {
            Some(timeout) => self.wait_arrived(timeout)?,
            None => self.next_arrived()?,
        };
        Some(Joined {
            id: handle.id(),
            name: handle.name().map(Arc::from),
            result: handle.take(),
        })
    }

    /// The handle of the next task that finishes within `timeout`.
    fn wait_arrived(&mut self, timeout: Duration) -> Option<JoinHandle<T>> {
        let deadline = after(timeout);
        while !self.is_empty() {
            if let Some(handle) = self.take_arrived() {
                return Some(handle);
            }
            self.pool.registry().check_fork();
            if timeout.is_zero() || !worker::block(&*self.arrivals, deadline) {
                // One may have come with the end of the time.
                return self.take_arrived();
            }
        }
        None
    }
}

/// A task to be spawned into a [`JoinSet`]. See [`JoinSet::task`].
#[must_use = "a task does nothing until `spawn`"]
pub struct JoinSetTask<'a, T> {
    set: &'a mut JoinSet<T>,
    options: Options,
}

impl<T: Send + 'static> JoinSetTask<'_, T> {
    /// Names the task. See [`TaskBuilder::name`](crate::TaskBuilder::name).
    pub fn name(mut self, name: impl AsRef<str>) -> Self {
        self.options.name = Some(name.as_ref().into());
        self
    }

    /// Says which tasks come first. See [`TaskBuilder::priority`](crate::TaskBuilder::priority).
    pub fn priority(mut self, priority: Priority) -> Self {
        self.options.priority = priority;
        self
    }

    /// Limits the time until the task's end. See [`TaskBuilder::deadline`](crate::TaskBuilder::deadline).
    pub fn deadline(mut self, timeout: Duration) -> Self {
        self.options.deadline = Some(timeout);
        self
    }

    /// The token that cancels the task. See [`TaskBuilder::token`](crate::TaskBuilder::token).
    pub fn token(mut self, token: &CancelToken) -> Self {
        self.options.token = Some(token.clone());
        self
    }

    /// Submits the task. See [`JoinSet::spawn`].
    pub fn spawn<F>(self, f: F) -> TaskId
    where
        F: FnOnce() -> T + Send + 'static,
    {
        let handle = crate::executor::submit::submit_in(self.set.pool.registry(), self.options, f);
        self.set.insert(handle)
    }
}

impl<T> fmt::Debug for JoinSetTask<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinSetTask")
            .field("name", &self.options.name)
            .field("priority", &self.options.priority)
            .field("deadline", &self.options.deadline)
            .finish_non_exhaustive()
    }
}
