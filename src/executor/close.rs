//! The end of a pool, and its size.

use super::error::TaskId;
use super::handle::after;
use crate::pool::{self, Registry, ThreadPool};
use std::fmt;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

/// # The end, and the size
///
/// After a shutdown nothing is submitted any more: handles resolve to an error at once. Joins, scopes and maps still work: their
/// callers run them. The [`global`](crate::global) pool is never shut down.
impl ThreadPool {
    /// Refuses new tasks, runs those that are queued, and waits until the threads have ended. A second call just waits.
    ///
    /// # Panics
    /// On a thread of this pool, or in a task of it, which would wait for itself; and on the global pool.
    ///
    /// ```
    /// let pool = heist::ThreadPool::new()?;
    /// let handle = pool.submit(|| 1);
    /// pool.shutdown();
    /// assert_eq!(handle.join().unwrap(), 1);
    /// assert!(pool.submit(|| 2).join().unwrap_err().is_cancelled());
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn shutdown(&self) {
        let registry = self.registry();
        check(registry, "shutdown");
        registry.gate.close();
        registry.shut_down();
        registry.retire();
    }

    /// Refuses new tasks, drops those that are queued (their handles resolve), and waits for those that run. Returns how many were dropped.
    ///
    /// # Panics
    /// As [`shutdown`](Self::shutdown).
    ///
    /// ```
    /// let pool = heist::ThreadPool::builder().num_threads(1).build()?;
    /// let handles: Vec<_> = (0..100).map(|n| pool.submit(move || n)).collect();
    /// let dropped = pool.shutdown_now();
    /// let cancelled = handles.into_iter().filter_map(|handle| handle.join().err()).count();
    /// assert_eq!(dropped, cancelled);
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn shutdown_now(&self) -> usize {
        let registry = self.registry();
        check(registry, "shutdown_now");
        registry.gate.close();
        let dropped = registry.cancel_queued();
        registry.shut_down();
        registry.retire();
        dropped
    }

    /// [`shutdown`](Self::shutdown) that waits for at most `timeout`. The tasks run on in any case.
    ///
    /// # Errors
    /// The time is over: the error says which tasks still run.
    ///
    /// # Panics
    /// As [`shutdown`](Self::shutdown).
    ///
    /// ```
    /// use std::time::Duration;
    /// let pool = heist::ThreadPool::new()?;
    /// let (go, gate) = std::sync::mpsc::channel::<()>();
    /// let handle = pool.task().name("slow").submit(move || gate.recv().is_ok());
    /// while !handle.is_running() {
    ///     std::thread::yield_now();
    /// }
    /// let error = pool.shutdown_timeout(Duration::from_millis(1)).unwrap_err();
    /// assert!(error.to_string().contains("slow"));
    /// go.send(()).unwrap();
    /// assert!(pool.shutdown_timeout(Duration::from_secs(60)).is_ok());
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn shutdown_timeout(&self, timeout: Duration) -> Result<(), ShutdownTimeout> {
        let registry = self.registry();
        check(registry, "shutdown_timeout");
        registry.gate.close();
        registry.close();
        if registry.wait_threads(after(timeout)) {
            registry.shut_down();
            registry.retire();
            return Ok(());
        }
        Err(ShutdownTimeout {
            timeout,
            running: running(registry),
            queued: registry.queued(),
        })
    }

    /// Waits until no task is queued or runs: as many have ended as were made, in the sense of [`PoolStats`](crate::PoolStats); and until the callbacks of
    /// all tasks that have ended have returned, those of late tasks too.
    ///
    /// The pool stays open, and others may submit meanwhile. One moment in which the pool is idle releases everybody who waits for it, whatever is
    /// submitted next.
    ///
    /// It does not wait for a `join`, a map or an [`install`](Self::install) of another thread, for a closure of [`run`](Self::run), or for the handle of a
    /// [`promise`](crate::promise()): none of these is a task. Results that nobody has taken from their handles are kept.
    ///
    /// # Panics
    /// On a thread of this pool, or in a task of it, which would wait for itself.
    ///
    /// ```
    /// let pool = heist::ThreadPool::new()?;
    /// for n in 0..100 {
    ///     pool.spawn(move || drop(n));
    /// }
    /// pool.wait_idle();
    /// assert_eq!(pool.stats().completed, 100);
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn wait_idle(&self) {
        let registry = self.registry();
        registry.check_fork();
        refuse_inside(registry, "wait_idle");
        registry.wait_idle();
    }

    /// Changes how many workers there are; 0: as many as [`ThreadPoolBuilder::num_threads`](crate::ThreadPoolBuilder::num_threads) takes by itself. Returns how
    /// many there were.
    ///
    /// New ones start when there is work for them; those that are too many end when they have finished what they do. At most 4,096
    /// with the spare threads.
    ///
    /// ```
    /// let pool = heist::ThreadPool::builder().num_threads(2).build()?;
    /// assert_eq!(pool.set_num_threads(4), 2);
    /// assert_eq!(pool.num_threads(), 4);
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn set_num_threads(&self, count: usize) -> usize {
        let registry = self.registry();
        registry.check_fork();
        registry.set_num_threads(count)
    }
}

fn check(registry: &Registry, what: &str) {
    registry.check_fork();
    assert!(
        !pool::is_global(registry),
        "heist: {what} on the global pool, which others use: build a pool of your own to shut down"
    );
    refuse_inside(registry, what);
}

fn refuse_inside(registry: &Registry, what: &str) {
    assert!(
        !registry.is_here(),
        "heist: {what} inside a task of the same pool would wait for itself: call it from a thread outside the pool"
    );
}

/// A task that still runs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunningTask {
    /// Which.
    pub id: TaskId,
    /// Its name, if it was given one.
    pub name: Option<Arc<str>>,
}

fn running(registry: &Registry) -> Vec<RunningTask> {
    let running = registry.slots().filter_map(|slot| slot.running.get());
    running
        .filter_map(|(id, name)| {
            let id = TaskId(NonZeroU64::new(id)?);
            Some(RunningTask { id, name })
        })
        .collect()
}

/// The time of a [`shutdown_timeout`](ThreadPool::shutdown_timeout) was over before the pool's work.
#[derive(Clone, Debug)]
pub struct ShutdownTimeout {
    timeout: Duration,
    running: Vec<RunningTask>,
    queued: usize,
}

impl ShutdownTimeout {
    /// What still ran. A task in the middle of a wait may be missing where another runs on top of it.
    pub fn running(&self) -> &[RunningTask] {
        &self.running
    }

    /// How many tasks had not begun.
    pub fn queued(&self) -> usize {
        self.queued
    }
}

impl fmt::Display for ShutdownTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "after {:?} the pool still runs {} tasks and has {} queued",
            self.timeout,
            self.running.len(),
            self.queued
        )?;
        for (n, task) in self.running.iter().enumerate() {
            f.write_str(if n == 0 { ": " } else { ", " })?;
            match &task.name {
                Some(name) => write!(f, "\"{name}\"")?,
                None => write!(f, "{}", task.id)?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for ShutdownTimeout {}
