//! Snapshots of a pool's counters.

use crate::counters::{Count, Counters};
use crate::pool::{Registry, Role, Slot, ThreadPool};
use std::fmt;
use std::time::Duration;

mod histogram;
mod prometheus;

pub use histogram::{Bucket, Histogram};

/// The state of a pool and the totals of what it has done. See [`ThreadPool::stats`].
///
/// It prints itself as a table. With the feature `serde` it is `Serialize`.
///
/// A *task* is what `submit`, `spawn` and similar calls queue, a task of a scope, a scope's broadcast on one
/// worker, or an item of a stream. A `join`, a part of a map, a closure of [`run`](ThreadPool::run) or of
/// [`broadcast`](ThreadPool::broadcast), and the handle of a [`promise`](crate::promise()) are not tasks.
///
/// Totals never decrease. Once the pool is idle, `submitted == completed + failed + cancelled`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct PoolStats {
    /// The number of workers, started or not: [`num_threads`](ThreadPool::num_threads).
    pub threads: usize,
    /// The number of threads awake in the pool: workers, spare threads, and guests, that is threads outside the
    /// pool that help in a call of it. Some of them only look for work.
    pub active: usize,
    /// The number of the pool's own threads, workers and spare threads, that were started and are parked.
    pub idle: usize,
    /// The number of queue entries with something to run.
    ///
    /// These are tasks that have not begun, closures of [`run`](ThreadPool::run), and remains of tasks past
    /// their deadline, whose closures are to be dropped and callbacks called. A submitted task that was
    /// cancelled does not count. A scope's task that was cancelled counts until a thread comes to its entry.
    pub queued: usize,
    /// The number of futures that have begun and wait to be woken.
    pub suspended: usize,
    /// The number of tasks that were made, including refused ones.
    pub submitted: u64,
    /// The number of tasks that returned, including those that returned an `Err`.
    pub completed: u64,
    /// The number of tasks that panicked or missed their deadline, whether they had begun or not. A task that
    /// returns or panics after its deadline counts here, once.
    pub failed: u64,
    /// The number of `failed` tasks that missed their deadline; the others panicked.
    pub timed_out: u64,
    /// The number of tasks that were dropped before they began for another reason than their deadline:
    /// cancelled, refused by a full or closed pool, or left over at a shutdown.
    pub cancelled: u64,
    /// The number of panics that no handle and no scope saw: of tasks without a handle, of callbacks, of
    /// hooks, of destructors.
    pub lost_panics: u64,
    /// The number of tasks that the pool's own threads queued beyond the
    /// [`queue_capacity`](crate::ThreadPoolBuilder::queue_capacity).
    pub beyond_capacity: u64,
    /// The number of forks and tasks that a thread took from what another thread had queued for itself.
    /// Taking from the pool's common queues is not a steal.
    pub steals: u64,
    /// The number of times a thread went to sleep, for lack of work or in a wait.
    pub parks: u64,
    /// The number of threads that were woken or started because there was work.
    pub wakeups: u64,
    /// The number of spare threads that are alive.
    pub spares: usize,
    /// The number of failed attempts to start a thread.
    pub start_failures: u64,
    /// The total time in which workers and spare threads were not looking for work: from the moment a thread
    /// finds work to the moment it finds no more. Waits inside a task are included.
    pub busy: Duration,
    /// How long tasks waited in queues, from their submission until they began.
    ///
    /// The time is measured on the tasks of `submit`, `spawn` and streams that
    /// [`timing`](crate::ThreadPoolBuilder::timing) selects. It leaves out tasks of scopes, and tasks that
    /// never begin.
    pub queue_wait: Histogram,
    /// How long the same tasks ran, waits included. Of a future, the first poll.
    pub run_time: Histogram,
    /// One entry for each worker that was ever started, in index order.
    pub workers: Vec<WorkerStats>,
    /// Events inside the scheduler.
    pub scheduler: SchedulerStats,
}

/// The statistics of one worker. Part of [`PoolStats`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct WorkerStats {
    /// The number of tasks, stolen forks and closures of [`run`](ThreadPool::run) and
    /// [`broadcast`](ThreadPool::broadcast) that this worker has begun. A chunk of a stream counts once.
    /// Tasks that were cancelled or missed their deadline before they began do not count.
    pub executed: u64,
    /// The number of forks and tasks that this worker took from what another thread had queued for itself.
    pub stolen: u64,
    /// The number of times this worker went to sleep, for lack of work or in a wait.
    pub parks: u64,
    /// The time in which this worker was not looking for work. See [`PoolStats::busy`].
    pub busy: Duration,
    /// The number of entries in this worker's own queues.
    pub queued: usize,
}

/// Counts of rare events in the scheduler, for those who work on it: ARCHITECTURE.md explains the terms. Part of
/// [`PoolStats`].
///
/// None of them should grow with the number of forks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct SchedulerStats {
    /// The number of pushes that took the slow path because another thread had asked for work.
    pub share_requests: u64,
    /// The number of attempts to force a private fork out of a ring. Each needs one heavy fence, which can be
    /// shared with other threads.
    pub forces: u64,
    /// The number of heavy fences that threads needed before they slept, or when they made room for another
    /// thread. Each can be shared with other threads.
    pub barriers: u64,
    /// The number of steals that were lost to another thief.
    pub conflicts: u64,
}

/// # Statistics
impl ThreadPool {
    /// Returns a snapshot of the pool's counters.
    ///
    /// A snapshot costs some hundreds of loads for each thread, and takes no lock that work needs. Counters that are
    /// read while the pool works can be a few events apart.
    ///
    /// ```
    /// let pool = heist::ThreadPool::new()?;
    /// pool.scope(|s| s.spawn(|_| ()));
    /// let stats = pool.stats();
    /// assert_eq!((stats.submitted, stats.completed), (1, 1));
    /// println!("{stats}");
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn stats(&self) -> PoolStats {
        of(self.registry())
    }
}

/// A snapshot of a pool's counters.
pub(crate) fn of(registry: &Registry) -> PoolStats {
    let counts = registry.sleep.counts();
    let total = |which: fn(&Counters) -> &Count| {
        let slots = registry.all_slots().map(|slot| which(&slot.counters).get());
        let outside = registry
            .outside
            .iter()
            .map(|counters| which(counters).get());
        slots.chain(outside).sum::<u64>()
    };
    // The totals are read in this order: all ends before all beginnings, so that a snapshot never shows more tasks ended than made,
    // and the late tasks before the failed ones, of which they are a part.
    let mut stats = PoolStats {
        threads: registry.sleep.target(),
        active: counts.workers + counts.guests,
        idle: registry.alive().saturating_sub(counts.workers),
        queued: registry.queued() + registry.scope_injector.len(),
        suspended: {
            let resumed = total(|counters| &counters.resumed);
            let suspended = total(|counters| &counters.suspended);
            usize::try_from(suspended.saturating_sub(resumed)).unwrap_or(usize::MAX)
        },
        completed: total(|counters| &counters.completed),
        timed_out: total(|counters| &counters.timed_out),
        failed: total(|counters| &counters.failed),
        cancelled: total(|counters| &counters.cancelled),
        submitted: total(|counters| &counters.submitted),
        lost_panics: total(|counters| &counters.lost_panics),
        beyond_capacity: total(|counters| &counters.beyond_capacity),
        steals: total(|counters| &counters.stolen),
        parks: total(|counters| &counters.parks),
        wakeups: total(|counters| &counters.wakeups),
        spares: registry.alive_spares(),
        start_failures: registry.start_failures.get(),
        busy: Duration::ZERO,
        queue_wait: Histogram::of(registry, |timings| &timings.queue_wait),
        run_time: Histogram::of(registry, |timings| &timings.run_time),
        workers: Vec::new(),
        scheduler: SchedulerStats {
            share_requests: total(|counters| &counters.share_requests),
            forces: total(|counters| &counters.forces),
            barriers: total(|counters| &counters.barriers),
            conflicts: total(|counters| &counters.conflicts),
        },
    };
    let mut workers = Vec::new();
    for slot in registry.all_slots() {
        let worker = worker_stats(registry, slot);
        stats.queued += slot.tasks.len();
        stats.busy += worker.busy;
        if let Role::Worker(index) = slot.kind {
            workers.push((index, worker));
        }
    }
    workers.sort_by_key(|&(index, _)| index);
    stats.workers = workers.into_iter().map(|(_, worker)| worker).collect();
    stats
}

fn worker_stats(registry: &Registry, slot: &Slot) -> WorkerStats {
    let counters = &slot.counters;
    let running = match counters.busy_since_ns.get() {
        0 => 0,
        since => registry.now_ns().saturating_sub(since),
    };
    let busy_ns = counters.busy_ns.get() + running;
    WorkerStats {
        executed: counters.executed.get(),
        stolen: counters.stolen.get(),
        parks: counters.parks.get(),
        busy: Duration::from_nanos(counters.busy_shown_ns.raise(busy_ns)),
        queued: slot.tasks.len() + slot.detached.len() + slot.ready.len(),
    }
}

impl fmt::Display for PoolStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "threads {} ({} active, {} idle, {} spare), {} failed to start",
            self.threads, self.active, self.idle, self.spares, self.start_failures
        )?;
        writeln!(
            f,
            "tasks   {} submitted: {} completed, {} failed ({} too late), {} cancelled, {} queued, {} suspended",
            self.submitted,
            self.completed,
            self.failed,
            self.timed_out,
            self.cancelled,
            self.queued,
            self.suspended
        )?;
        writeln!(
            f,
            "events  {} steals, {} parks, {} wake-ups, {:.1} ms busy",
            self.steals,
            self.parks,
            self.wakeups,
            self.busy.as_secs_f64() * 1e3
        )?;
        writeln!(
            f,
            "waits   {:.1} us in the queue at the median, {:.1} us at 99 %, {:.1} us at most, of {} measured",
            self.queue_wait.quantile(0.5).as_secs_f64() * 1e6,
            self.queue_wait.quantile(0.99).as_secs_f64() * 1e6,
            self.queue_wait.max.as_secs_f64() * 1e6,
            self.queue_wait.count()
        )?;
        writeln!(
            f,
            "runs    {:.1} us at the median, {:.1} us at 99 %, {:.1} us at most",
            self.run_time.quantile(0.5).as_secs_f64() * 1e6,
            self.run_time.quantile(0.99).as_secs_f64() * 1e6,
            self.run_time.max.as_secs_f64() * 1e6,
        )?;
        write!(
            f,
            "{:>6} {:>12} {:>10} {:>8} {:>12} {:>8}",
            "worker", "executed", "stolen", "parks", "busy ms", "queued"
        )?;
        for (index, worker) in self.workers.iter().enumerate() {
            write!(
                f,
                "\n{index:>6} {:>12} {:>10} {:>8} {:>12.1} {:>8}",
                worker.executed,
                worker.stolen,
                worker.parks,
                worker.busy.as_secs_f64() * 1e3,
                worker.queued
            )?;
        }
        Ok(())
    }
}
