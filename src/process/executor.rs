//! What users call: one interface for every back end.

use super::backend::{Backend, Close};
use super::call::{Call, One};
use super::imap::{TaskImap, TaskImapUnordered};
use super::options::CallOptions;
use super::task::{Task, entry};
use crate::pool::Priority;
use crate::{CancelToken, JoinHandle, ShutdownTimeout};
use std::fmt;
use std::time::Duration;

/// Runs tasks, on threads or in processes: the interface that all back ends have in common.
///
/// Everything that is a [`Backend`] has it, also a `dyn Backend`. The same program runs on threads and on
/// processes:
///
/// ```
/// use heist::{Executor, JoinError, ProcessPool, ThreadPool};
///
/// #[heist::task]
/// fn count(text: String) -> usize {
///     text.split_whitespace().count()
/// }
///
/// fn total(executor: &impl Executor, texts: &[&str]) -> Result<usize, JoinError> {
///     let texts = texts.iter().map(|text| text.to_string());
///     executor.imap(count::TASK, texts).sum()
/// }
///
/// #[heist::main]
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let texts = ["to be", "or not", "to be"];
///     assert_eq!(total(&ThreadPool::new()?, &texts)?, 6);
///     assert_eq!(total(&ProcessPool::builder().num_workers(2).build()?, &texts)?, 6);
///     Ok(())
/// }
/// ```
///
/// A [`ThreadPool`](crate::ThreadPool) has methods of its own, some with the names of these, which take closures.
/// They come first where the type of the variable is `ThreadPool`. In a function that takes an `&impl Executor`
/// or a `&dyn Backend`, these methods are meant.
///
/// # What differs
///
/// | | threads | processes |
/// |---|---|---|
/// | arguments and results | are moved | are serialised, so they are copies |
/// | a crash, `exit`, an overflow of the stack | ends the program | is an error of this task, which [is lost](crate::JoinError::is_lost) |
/// | [`timeout`](CallBuilder::timeout) | resolves the handle; the thread goes on | resolves the handle and kills the process |
/// | [`cancel`](JoinHandle::cancel) of a running task | is not possible, except with a [token](CallBuilder::token) | resolves the handle; the task's token is cancelled, and after a grace the process is killed |
/// | statics | are shared by all tasks | belong to one process |
/// | [`id`](CallBuilder::id) | is refused | is refused |
pub trait Executor: Backend {
    /// Starts a task and returns a handle for its result.
    ///
    /// The arguments are the task's only parameter, or a tuple of several, or `()`.
    ///
    /// # Blocking
    ///
    /// Waits if the back end has a bounded queue that is full.
    ///
    /// ```
    /// use heist::Executor;
    ///
    /// #[heist::task]
    /// fn shout(text: String, times: usize) -> String {
    ///     text.to_uppercase().repeat(times)
    /// }
    ///
    /// let pool: &dyn heist::Backend = &heist::ThreadPool::new()?;
    /// let handle = pool.submit(shout::TASK, ("ha".to_owned(), 3));
    /// assert_eq!(handle.join().unwrap(), "HAHAHA");
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    fn submit<T: Task>(&self, task: T, args: T::Args) -> JoinHandle<T::Output> {
        submit_with(self, task, args, &CallOptions::default())
    }

    /// Starts a task for each of the inputs and returns their handles in the order of the inputs.
    fn submit_many<T, I>(&self, task: T, inputs: I) -> Vec<JoinHandle<T::Output>>
    where
        T: Task,
        I: IntoIterator<Item = T::Args>,
    {
        let inputs = inputs.into_iter();
        inputs.map(|args| self.submit(task, args)).collect()
    }

    /// Returns a builder for a call with a name, a priority, a token, a time limit or a number of tries.
    fn task(&self) -> CallBuilder<'_, Self> {
        CallBuilder {
            backend: self,
            options: CallOptions::default(),
        }
    }

    /// Runs a task for each input, and yields the results in the order of the inputs.
    ///
    /// Inputs are taken when there is room in the [window](TaskImap::window), so the iterator may be endless. Cheap tasks travel
    /// in chunks, whose size follows from how long they run, unless [`chunk`](TaskImap::chunk) sets it.
    /// Dropping the stream cancels what has not begun.
    ///
    /// On a cluster, a chunk is one task. An item in a chunk cannot be attached to, and a session without a given name cannot be
    /// continued once it has sent a chunk. In a session with a given name, each item travels alone. See `heist::nats`.
    ///
    /// ```
    /// use heist::Executor;
    ///
    /// #[heist::task]
    /// fn square(n: u64) -> u64 {
    ///     n * n
    /// }
    ///
    /// let pool: &dyn heist::Backend = &heist::ThreadPool::new()?;
    /// let squares: Result<Vec<_>, _> = pool.imap(square::TASK, 0..4).collect();
    /// assert_eq!(squares.unwrap(), [0, 1, 4, 9]);
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    fn imap<T, I>(&self, task: T, inputs: I) -> TaskImap<'_, Self, T, I::IntoIter>
    where
        T: Task,
        I: IntoIterator<Item = T::Args>,
    {
        TaskImap::new(self, task, inputs.into_iter())
    }

    /// Runs a task for each input, and yields each result with the index of its input, as they come.
    ///
    /// ```
    /// use heist::Executor;
    ///
    /// #[heist::task]
    /// fn square(n: u64) -> u64 {
    ///     n * n
    /// }
    ///
    /// let pool: &dyn heist::Backend = &heist::ThreadPool::new()?;
    /// for (index, result) in pool.imap_unordered(square::TASK, 0..4) {
    ///     assert_eq!(result.unwrap(), (index * index) as u64);
    /// }
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    fn imap_unordered<T, I>(
        &self,
        task: T,
        inputs: I,
    ) -> TaskImapUnordered<'_, Self, T, I::IntoIter>
    where
        T: Task,
        I: IntoIterator<Item = T::Args>,
    {
        TaskImapUnordered::new(self, task, inputs.into_iter())
    }

    /// Refuses new tasks, waits until the queued ones have run, and ends the workers.
    ///
    /// # Panics
    ///
    /// Panics where it would wait for itself: in a task of the same pool of threads, and in a callback that a
    /// pool of processes calls.
    fn shutdown(&self) {
        // Only `Close::Within` has a time that can pass.
        let _ = self.close(Close::Graceful);
    }

    /// Refuses new tasks, drops the queued ones, asks running ones to stop, and ends the workers. Returns how
    /// many tasks were dropped. Processes whose tasks do not stop are killed after a grace.
    ///
    /// # Panics
    ///
    /// Panics where [`shutdown`](Self::shutdown) does.
    fn shutdown_now(&self) -> usize {
        self.close(Close::Now).unwrap_or(0)
    }

    /// Refuses new tasks, and waits until the queued ones have run and the workers have ended, for at most
    /// `time`.
    ///
    /// # Errors
    ///
    /// Returns which tasks still run if the time has passed. The back end goes on with what it has.
    ///
    /// # Panics
    ///
    /// Panics where [`shutdown`](Self::shutdown) does.
    fn shutdown_timeout(&self, time: Duration) -> Result<(), ShutdownTimeout> {
        self.close(Close::Within(time)).map(drop)
    }
}

impl<B: Backend + ?Sized> Executor for B {}

/// Starts a call and returns its handle.
fn submit_with<B: Backend + ?Sized, T: Task>(
    backend: &B,
    _: T,
    args: T::Args,
    options: &CallOptions,
) -> JoinHandle<T::Output> {
    let mut work = One::<T> {
        args: Some(args),
        handle: None,
    };
    backend.start(Call::new(&mut work, entry::<T>(), options));
    // A back end that has neither run nor refused the call breaks the promise.
    work.handle.unwrap_or_else(|| crate::promise().1)
}

/// A builder for a call with options. See [`Executor::task`].
///
/// ```
/// use heist::{Executor, Priority};
/// use std::time::Duration;
///
/// #[heist::task]
/// fn square(n: u64) -> u64 {
///     n * n
/// }
///
/// let pool: &dyn heist::Backend = &heist::ThreadPool::new()?;
/// let task = pool.task().priority(Priority::High).timeout(Duration::from_secs(60));
/// assert_eq!(task.submit(square::TASK, 7).join().unwrap(), 49);
/// # Ok::<(), heist::BuildError>(())
/// ```
#[must_use = "a call does nothing until `submit`"]
pub struct CallBuilder<'a, B: ?Sized> {
    backend: &'a B,
    options: CallOptions,
}

impl<B: Backend + ?Sized> CallBuilder<'_, B> {
    /// Names the call. Errors show this name in place of the task's.
    pub fn name(mut self, name: impl AsRef<str>) -> Self {
        self.options.name = Some(name.as_ref().into());
        self
    }

    /// Sets an id by which a cluster keeps the result. Threads and processes
    /// [refuse](crate::JoinError::is_refused) calls with an id.
    pub fn id(mut self, id: impl AsRef<str>) -> Self {
        self.options.id = Some(id.as_ref().into());
        self
    }

    /// Sets which of the queued tasks begin first. The default is [`Priority::Normal`].
    pub fn priority(mut self, priority: Priority) -> Self {
        self.options.priority = priority;
        self
    }

    /// Sets the token that cancels the call. The default is that of the task that submits it, if there is one.
    ///
    /// A task that runs in another process sees its own [`current_token`](crate::current_token) cancelled. If it
    /// has not returned after the pool's [grace](crate::ProcessPoolBuilder::grace), its process is killed.
    pub fn token(mut self, token: &CancelToken) -> Self {
        self.options.token = Some(token.clone());
        self
    }

    /// Limits the time that the task runs, counted from its beginning. The handle then resolves to an error that
    /// [is a time-out](crate::JoinError::is_timeout). A process is killed; a thread goes on.
    pub fn timeout(mut self, time: Duration) -> Self {
        self.options.timeout = Some(time);
        self
    }

    /// Sets how many times the task may be started, at least once, if the process that runs it ends. The default
    /// is that of the task, 1 unless it says otherwise. A task that panics or misses its time limit is not
    /// started again.
    pub fn tries(mut self, tries: u32) -> Self {
        self.options.tries = Some(tries.max(1));
        self
    }

    /// Starts the task with these options. See [`Executor::submit`].
    pub fn submit<T: Task>(&self, task: T, args: T::Args) -> JoinHandle<T::Output> {
        submit_with(self.backend, task, args, &self.options)
    }
}

impl<B: ?Sized> fmt::Debug for CallBuilder<'_, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallBuilder")
            .field("name", &self.options.name)
            .field("priority", &self.options.priority)
            .field("timeout", &self.options.timeout)
            .field("tries", &self.options.tries)
            .finish_non_exhaustive()
    }
}
