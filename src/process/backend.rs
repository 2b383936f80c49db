//! What a back end is: something that runs tasks.

use super::call::Call;
use crate::ShutdownTimeout;
use crate::pool::ThreadPool;
use std::fmt;
use std::time::Duration;

/// Something that runs tasks: threads, processes. [`Executor`](crate::Executor) is what users call.
///
/// The trait has no generic method, so that a program can choose its back end when it runs:
/// [`heist::open`](crate::open) returns a `Box<dyn Backend>`, which has all of `Executor`.
///
/// A back end of one's own can wrap another:
///
/// ```
/// use heist::{Backend, Call, Close, Executor, ExecutorStats, ShutdownTimeout, ThreadPool};
///
/// /// Prints the name of each task.
/// struct Traced(ThreadPool);
///
/// impl Backend for Traced {
///     fn start(&self, call: Call<'_>) {
///         eprintln!("{}", call.entry().name());
///         call.run_on(&self.0);
///     }
///     fn num_workers(&self) -> usize {
///         self.0.num_threads()
///     }
///     fn close(&self, how: Close) -> Result<usize, ShutdownTimeout> {
///         Backend::close(&self.0, how)
///     }
///     fn wait_idle(&self) {
///         self.0.wait_idle();
///     }
///     fn stats(&self) -> ExecutorStats {
///         Backend::stats(&self.0)
///     }
/// }
///
/// #[heist::task]
/// fn double(n: u32) -> u32 {
///     2 * n
/// }
///
/// let traced = Traced(ThreadPool::new()?);
/// assert_eq!(traced.submit(double::TASK, 21).join().unwrap(), 42);
/// # Ok::<(), heist::BuildError>(())
/// ```
pub trait Backend: Send + Sync {
    /// Starts a call, or queues it. Its handle resolves when the call has ended.
    ///
    /// # Blocking
    ///
    /// Waits if the back end has a bounded queue that is full.
    fn start(&self, call: Call<'_>);

    /// Returns how many tasks can run at the same time.
    fn num_workers(&self) -> usize;

    /// Refuses new calls and ends the back end. See [`Close`]. Returns how many tasks were dropped.
    ///
    /// # Errors
    ///
    /// Returns an error if the time of [`Close::Within`] has passed. The back end goes on with what it has.
    fn close(&self, how: Close) -> Result<usize, ShutdownTimeout>;

    /// Waits until no task is queued or running.
    fn wait_idle(&self);

    /// Returns what the back end has done, and does.
    fn stats(&self) -> ExecutorStats;
}

/// How a back end is ended. See [`Backend::close`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Close {
    /// Queued tasks run.
    Graceful,
    /// Queued tasks are dropped, running ones asked to stop. Processes that do not stop are killed.
    Now,
    /// Queued tasks run, and the wait ends after this time.
    Within(Duration),
}

/// What a back end has done, and does. See [`Backend::stats`].
///
/// It prints itself as a table. Each item of an [`imap`](crate::Executor::imap) is a task on processes; on
/// threads each chunk is one.
///
/// Totals never decrease. Once the back end is idle, `submitted == completed + failed + cancelled`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ExecutorStats {
    /// The number of workers that can run at the same time.
    pub workers: usize,
    /// The number of workers that run something now.
    pub active: usize,
    /// The number of tasks that have not begun.
    pub queued: usize,
    /// The number of tasks that were submitted, including refused ones.
    pub submitted: u64,
    /// The number of tasks that returned.
    pub completed: u64,
    /// The number of tasks that panicked, were lost, missed their time limit, or could not be sent or read.
    pub failed: u64,
    /// The number of `failed` tasks that missed their time limit.
    pub timed_out: u64,
    /// The number of `failed` tasks whose process ended.
    pub lost: u64,
    /// The number of tasks that were cancelled, refused, or dropped at a shutdown.
    pub cancelled: u64,
    /// The number of times that a task was started again because its process had ended.
    pub retried: u64,
    /// The number of worker processes that were started. 0 for threads.
    pub started: u64,
    /// The number of worker processes that could not be started or did not become ready.
    pub start_failures: u64,
    /// One entry for each worker process.
    pub processes: Vec<ProcessStats>,
}

/// One worker process. Part of [`ExecutorStats`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ProcessStats {
    /// The id of the process.
    pub pid: u32,
    /// The number of tasks whose results it has sent.
    pub done: u64,
    /// The number of tasks that were sent to it and have no result yet.
    pub under_way: usize,
}

impl fmt::Display for ExecutorStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "workers {} ({} active), {} processes started, {} failed to start",
            self.workers, self.active, self.started, self.start_failures
        )?;
        write!(
            f,
            "tasks   {} submitted: {} completed, {} failed ({} too late, {} lost), {} cancelled, {} queued, {} started again",
            self.submitted,
            self.completed,
            self.failed,
            self.timed_out,
            self.lost,
            self.cancelled,
            self.queued,
            self.retried
        )?;
        if !self.processes.is_empty() {
            write!(f, "\n{:>9} {:>12} {:>10}", "process", "done", "under way")?;
        }
        for process in &self.processes {
            let (pid, done, under_way) = (process.pid, process.done, process.under_way);
            write!(f, "\n{pid:>9} {done:>12} {under_way:>10}")?;
        }
        Ok(())
    }
}

/// Threads as a back end: a task runs in this process, and nothing is serialised.
///
/// A time limit resolves the handle on time and cancels the task's token, but the thread goes on until the task
/// returns. A limit on tries has no effect, because a thread cannot be lost. The option `id` is refused.
impl Backend for ThreadPool {
    fn start(&self, call: Call<'_>) {
        call.run_on(self);
    }

    fn num_workers(&self) -> usize {
        self.num_threads()
    }

    fn close(&self, how: Close) -> Result<usize, ShutdownTimeout> {
        match how {
            Close::Graceful => self.shutdown(),
            Close::Now => return Ok(self.shutdown_now()),
            Close::Within(time) => self.shutdown_timeout(time)?,
        }
        Ok(0)
    }

    fn wait_idle(&self) {
        ThreadPool::wait_idle(self);
    }

    fn stats(&self) -> ExecutorStats {
        let stats = ThreadPool::stats(self);
        ExecutorStats {
            workers: stats.threads,
            active: stats.active,
            queued: stats.queued,
            submitted: stats.submitted,
            completed: stats.completed,
            failed: stats.failed,
            timed_out: stats.timed_out,
            cancelled: stats.cancelled,
            ..ExecutorStats::default()
        }
    }
}
