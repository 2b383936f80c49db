//! The end of a pool, and its size.

use super::error::TaskId;
use super::suspend;
use super::timer::deadline_after;
use crate::pool::{self, Registry, ThreadPool};
use std::fmt;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

/// # Shutdown and size
///
/// After a shutdown the pool refuses new tasks: their handles resolve to an error at once. `join`, scopes and
/// maps still work, on the calling thread. The [`global`](crate::global) pool is never shut down.
///
/// | queued tasks | waits for the threads | does not wait |
/// |---|---|---|
/// | run | [`shutdown`](Self::shutdown) | [`close`](Self::close) |
/// | are dropped | [`shutdown_now`](Self::shutdown_now) | [`close_now`](Self::close_now) |
impl ThreadPool {
    /// Refuses new tasks, runs those that are queued, and waits until the threads have ended. A second call
    /// only waits. It also waits for delayed closures and for futures that wait to be woken: a future that is
    /// never woken makes it wait forever.
    ///
    /// Dropping the last handle of a pool shuts it down in this way. Use [`shutdown_now`](Self::shutdown_now) to drop the
    /// queued tasks, [`shutdown_timeout`](Self::shutdown_timeout) to limit the wait, and
    /// [`wait_idle`](Self::wait_idle) to wait for the tasks and keep the pool.
    ///
    /// # Blocking
    ///
    /// Waits for the queued and the running tasks, and for the pool's threads.
    ///
    /// # Panics
    ///
    /// Panics on a thread of this pool or in one of its tasks, where it would wait for itself, and on the
    /// global pool.
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
        let registry = close_admission(self, "shutdown", true);
        registry.shut_down();
        registry.retire();
    }

    /// Refuses new tasks, drops those that have not begun and the futures that wait, waits for the tasks that
    /// run, and returns how many were dropped.
    ///
    /// The handles of the dropped tasks resolve to an error. To stop running tasks too, give them a
    /// [`CancelToken`](crate::CancelToken).
    ///
    /// # Blocking
    ///
    /// Waits for the running tasks, and for the pool's threads.
    ///
    /// # Panics
    ///
    /// Panics where [`shutdown`](Self::shutdown) does.
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
        let registry = close_admission(self, "shutdown_now", true);
        let dropped = registry.cancel_queued();
        registry.shut_down();
        registry.retire();
        dropped + registry.roster.take_dropped()
    }

    /// Refuses new tasks and returns at once. The queued tasks run, and then the pool's threads end.
    ///
    /// Unlike [`shutdown`](Self::shutdown), it may be called anywhere, including in a task of the pool. To
    /// wait for the end afterwards, call `shutdown` or drop the last handle of the pool.
    ///
    /// # Panics
    ///
    /// Panics on the global pool.
    ///
    /// ```
    /// let pool = heist::ThreadPool::new()?;
    /// let closer = pool.clone();
    /// let last = pool.submit(move || {
    ///     closer.close();
    ///     closer.submit(|| 2).join().unwrap_err().is_cancelled()
    /// });
    /// assert!(last.join().unwrap());
    /// pool.shutdown();
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn close(&self) {
        close_admission(self, "close", false).close_in_time();
    }

    /// Refuses new tasks, drops those that are queued, and returns at once how many were dropped. Running
    /// tasks continue, and then the pool's threads end.
    ///
    /// It drops what [`shutdown_now`](Self::shutdown_now) drops: tasks of `submit` and `spawn`, and items of
    /// streams, which end with an error. A `join`, a map or a scope that has begun completes, with all tasks
    /// of the scope. The closures are dropped, and the callbacks of their handles called, on the calling
    /// thread.
    ///
    /// It may be called anywhere, including in a task of the pool. A task that another thread submits at the
    /// same time is either dropped or run. To stop running tasks, give them a
    /// [`CancelToken`](crate::CancelToken).
    ///
    /// # Panics
    ///
    /// Panics on the global pool.
    ///
    /// ```
    /// let pool = heist::ThreadPool::builder().num_threads(1).build()?;
    /// let closer = pool.clone();
    /// let first = pool.submit(move || {
    ///     let never = closer.submit(|| unreachable!("dropped before it began"));
    ///     (closer.close_now(), never.join().unwrap_err().is_cancelled())
    /// });
    /// assert_eq!(first.join().unwrap(), (1, true));
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn close_now(&self) -> usize {
        let registry = close_admission(self, "close_now", false);
        let dropped = registry.cancel_queued();
        registry.close_in_time();
        dropped
    }

    /// Shuts the pool down as [`shutdown`](Self::shutdown) does, but waits for at most `timeout`. When the time
    /// limit expires, running and queued tasks continue in the background.
    ///
    /// # Errors
    ///
    /// Returns an error that says which tasks still run if the time limit expires.
    ///
    /// # Panics
    ///
    /// Panics where [`shutdown`](Self::shutdown) does.
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
        let registry = close_admission(self, "shutdown_timeout", true);
        let deadline = deadline_after(timeout);
        if registry.wait_futures(deadline) {
            registry.close();
        } else {
            registry.close_in_time();
        }
        if registry.wait_threads(deadline) && registry.wait_late(deadline) {
            registry.shut_down();
            registry.retire();
            return Ok(());
        }
        let running = registry.slots().filter_map(|slot| {
            let (id, name) = slot.running.get()?;
            let id = TaskId(NonZeroU64::new(id)?);
            Some(RunningTask { id, name })
        });
        let suspended = suspend::suspended(registry).into_iter();
        let suspended = suspended.map(|(id, name)| RunningTask { id, name });
        Err(ShutdownTimeout {
            timeout,
            running: running.collect(),
            suspended: suspended.collect(),
            queued: registry.queued(),
        })
    }

    /// Waits until no task is queued, delayed, suspended or running, and until the callbacks of all ended tasks
    /// have returned. The pool stays open.
    ///
    /// At that moment `submitted == completed + failed + cancelled` in its [`PoolStats`](crate::PoolStats). One such
    /// moment in which the pool is idle releases all threads that wait for it, whatever is submitted next.
    ///
    /// It does not wait for a `join`, a map or an [`install`](Self::install) of another thread, a closure of
    /// [`run`](Self::run), or the handle of a [`promise`](crate::promise()), because none of these is a task.
    /// Results that nobody has taken from their handles are kept.
    ///
    /// # Blocking
    ///
    /// Waits for the queued and the running tasks, including those that are submitted before the pool is idle.
    ///
    /// # Panics
    ///
    /// Panics on a thread of this pool or in one of its tasks, where it would wait for itself.
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

    /// Resizes the pool: changes the number of workers and returns the previous one. 0 stands for the default of
    /// [`ThreadPoolBuilder::num_threads`](crate::ThreadPoolBuilder::num_threads).
    ///
    /// It does not wait. New workers start when there is work for them. Surplus workers end when they have
    /// finished what they run. Workers and spare threads together are limited to 4,096: a larger count is
    /// reduced.
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

/// Makes the pool refuse new tasks, on behalf of the method `what`. `waits`: the method waits for the pool's threads.
///
/// # Panics
///
/// Panics on the global pool. If the method waits, also panics on a thread of the pool and in one of its tasks.
fn close_admission<'a>(pool: &'a ThreadPool, what: &str, waits: bool) -> &'a Registry {
    let registry = pool.registry();
    registry.check_fork();
    assert!(
        !pool::is_global(registry),
        "heist: {what} on the global pool, which others use: build a pool of your own to shut down"
    );
    if waits {
        refuse_inside(registry, what);
    }
    registry.admission.close();
    registry
}

fn refuse_inside(registry: &Registry, what: &str) {
    assert!(
        !registry.is_here(),
        "heist: {what} inside a task of the same pool would wait for itself: call it from a thread outside the pool"
    );
}

/// A task that had not ended when [`ThreadPool::shutdown_timeout`](crate::ThreadPool::shutdown_timeout) gave up.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunningTask {
    /// The task's id.
    pub id: TaskId,
    /// The task's name, if it was given one.
    pub name: Option<Arc<str>>,
}

/// The error of [`shutdown_timeout`](ThreadPool::shutdown_timeout): the time was over before the pool had
/// ended.
#[derive(Clone, Debug)]
pub struct ShutdownTimeout {
    timeout: Duration,
    running: Vec<RunningTask>,
    suspended: Vec<RunningTask>,
    queued: usize,
}

impl ShutdownTimeout {
    #[cfg(all(feature = "process", target_os = "linux"))]
    pub(super) fn new(timeout: Duration, running: Vec<RunningTask>, queued: usize) -> Self {
        ShutdownTimeout {
            timeout,
            running,
            suspended: Vec::new(),
            queued,
        }
    }

    /// Returns the tasks that were still running. A task in the middle of a wait can be missing if another
    /// one runs on top of it.
    pub fn running(&self) -> &[RunningTask] {
        &self.running
    }

    /// Returns the futures that had begun and waited to be woken.
    pub fn suspended(&self) -> &[RunningTask] {
        &self.suspended
    }

    /// Returns how many tasks had not begun.
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
        write_tasks(f, &self.running)?;
        if !self.suspended.is_empty() {
            write!(f, "; {} futures wait to be woken", self.suspended.len())?;
            write_tasks(f, &self.suspended)?;
        }
        Ok(())
    }
}

fn write_tasks(f: &mut fmt::Formatter<'_>, tasks: &[RunningTask]) -> fmt::Result {
    for (n, task) in tasks.iter().enumerate() {
        f.write_str(if n == 0 { ": " } else { ", " })?;
        match &task.name {
            Some(name) => write!(f, "\"{name}\"")?,
            None => write!(f, "{}", task.id)?,
        }
    }
    Ok(())
}

impl std::error::Error for ShutdownTimeout {}
