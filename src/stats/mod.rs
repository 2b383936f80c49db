//! Snapshots of a pool's counters, read on top of everything that counts.

use crate::counters::Counters;
use crate::pool::{Registry, Seat, Slot, ThreadPool};
use std::fmt;
use std::time::Duration;

mod queue_wait;

pub use queue_wait::QueueWait;

/// What a pool has done and does, as [`ThreadPool::stats`] found it. With the crate's feature `serde` it is `Serialize`.
///
/// A *task* is what `submit`, `spawn` and their kin queue, a scope's `spawn` or `submit`, a scope's broadcast on one worker, or an item of a stream. A
/// `join`, a piece of a map, a closure of [`run`](ThreadPool::run) or of [`broadcast`](ThreadPool::broadcast), and the handle of a
/// [`promise`](crate::promise()) are none.
///
/// Totals never go down, and once the pool is idle `submitted == completed + failed + cancelled`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct PoolStats {
    /// How many workers the pool has, started or not: its [`num_threads`](ThreadPool::num_threads).
    pub threads: usize,
    /// How many threads are awake in the pool: workers, spares, and threads from outside for the time of a call.
    pub active: usize,
    /// How many of the pool's own threads, workers and spares, have been started and are parked.
    pub idle: usize,
    /// How many entries of the pool's queues have something to run: tasks that have not begun, closures of [`run`](ThreadPool::run), and what is left of tasks
    /// past their deadline, whose closures are to be dropped and callbacks to be called. A submitted task that was cancelled does not count; a scope's does
    /// until a thread comes to its entry.
    pub queued: usize,
    /// How many tasks were made, refused ones included.
    pub submitted: u64,
    /// How many tasks returned. One that returns an `Err` has returned.
    pub completed: u64,
    /// How many tasks panicked or missed their deadline, whether they had begun or not. A task that returns or panics after its deadline counts here, once.
    pub failed: u64,
    /// How many of the `failed` missed their deadline; the others panicked.
    pub timed_out: u64,
    /// How many tasks were dropped before they began, for another reason than their deadline: cancelled, refused by a full or closed pool, or left over at a shutdown.
    pub cancelled: u64,
    /// How many panics no handle and no scope saw: of tasks without a handle, of callbacks, of hooks, of destructors.
    pub lost_panics: u64,
    /// How many tasks the pool's own threads queued beyond the [`queue_capacity`](crate::ThreadPoolBuilder::queue_capacity).
    pub beyond_capacity: u64,
    /// How many forks and tasks a thread took out of what another thread had queued for itself. What waits in the pool's common queues is not stolen.
    pub steals: u64,
    /// How many times a thread went to sleep, for want of work or in a wait.
    pub parks: u64,
    /// How many threads were woken or started because there was work.
    pub wakeups: u64,
    /// How many spare threads are alive.
    pub spares: usize,
    /// How many attempts to start a thread have failed.
    pub start_failures: u64,
    /// How long workers and spares were not looking for work, added up: from the time when a thread finds work to the time when it finds no more. Waits inside a task
    /// are a part of that.
    pub busy: Duration,
    /// How long tasks wait until they begin.
    pub queue_wait: QueueWait,
    /// One entry for each worker that was ever started, by its index.
    pub workers: Vec<WorkerStats>,
    /// What the scheduler itself did.
    pub scheduler: SchedulerStats,
}

/// One worker's part of [`PoolStats`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct WorkerStats {
    /// How many tasks, stolen forks and closures of [`run`](ThreadPool::run) and [`broadcast`](ThreadPool::broadcast) this worker has begun. A chunk of a stream is one.
    /// Tasks that were cancelled or late before they began do not count.
    pub executed: u64,
    /// How many forks and tasks this worker took out of what another thread had queued for itself.
    pub stolen: u64,
    /// How many times this worker went to sleep, for want of work or in a wait.
    pub parks: u64,
    /// How long this worker was not looking for work. See [`PoolStats::busy`].
    pub busy: Duration,
    /// How many entries this worker's own queues have.
    pub queued: usize,
}

/// Rare events of the scheduler, for those who tune it: none should grow with the number of forks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct SchedulerStats {
    /// Pushes that were asked to look up.
    pub attentions: u64,
    /// Attempts to force a private fork out of a ring, one heavy fence each.
    pub forces: u64,
    /// Heavy fences before going to sleep.
    pub barriers: u64,
    /// Steals lost to another thief.
    pub conflicts: u64,
}

/// # Statistics
impl ThreadPool {
    /// A snapshot of the pool's counters. Cheap: a few loads for each thread, no lock that work takes. Numbers read while the pool
    /// works may be some events apart.
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
        let registry = self.registry();
        let counts = registry.sleep.counts();
        let mut stats = PoolStats {
            threads: self.num_threads(),
            active: counts.workers + counts.guests,
            idle: registry.alive().saturating_sub(counts.workers),
            queued: registry.queued() + registry.strays.len(),
            spares: registry.alive_spares(),
            start_failures: registry.start_failures.get(),
            queue_wait: QueueWait::of(registry),
            ..PoolStats::default()
        };
        // All ends before all beginnings, so that a snapshot never shows more tasks ended than made.
        stats.add_ends(&registry.outside);
        for slot in registry.slots() {
            stats.add_ends(&slot.counters);
        }
        stats.add(&registry.outside);
        let mut workers = Vec::new();
        for slot in registry.slots() {
            stats.add(&slot.counters);
            let worker = worker_stats(registry, slot);
            stats.queued += slot.tasks.len();
            stats.busy += worker.busy;
            if let Seat::Worker(index) = slot.seat {
                workers.push((index, worker));
            }
        }
        workers.sort_by_key(|&(index, _)| index);
        stats.workers = workers.into_iter().map(|(_, worker)| worker).collect();
        stats
    }
}

impl PoolStats {
    fn add_ends(&mut self, counters: &Counters) {
        self.completed += counters.completed.get();
        // Before those of which they are a part.
        self.timed_out += counters.timed_out.get();
        self.failed += counters.failed.get();
        self.cancelled += counters.cancelled.get();
    }

    fn add(&mut self, counters: &Counters) {
        self.submitted += counters.submitted.get();
        self.lost_panics += counters.lost_panics.get();
        self.beyond_capacity += counters.beyond_capacity.get();
        self.steals += counters.stolen.get();
        self.parks += counters.parks.get();
        self.wakeups += counters.wakeups.get();
        self.scheduler.attentions += counters.attentions.get();
        self.scheduler.forces += counters.forces.get();
        self.scheduler.barriers += counters.barriers.get();
        self.scheduler.conflicts += counters.conflicts.get();
    }
}

fn worker_stats(registry: &Registry, slot: &Slot) -> WorkerStats {
    let counters = &slot.counters;
    let running = match counters.busy_since_ns.get() {
        0 => 0,
        since => registry.now_ns().saturating_sub(since),
    };
    WorkerStats {
        executed: counters
            .executed
            .get()
            .saturating_sub(counters.not_executed.get()),
        stolen: counters.stolen.get(),
        parks: counters.parks.get(),
        busy: Duration::from_nanos(
            counters
                .busy_shown_ns
                .raise(counters.busy_ns.get() + running),
        ),
        queued: slot.tasks.len() + slot.detached.len(),
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
            "tasks   {} submitted: {} completed, {} failed ({} too late), {} cancelled, {} queued",
            self.submitted,
            self.completed,
            self.failed,
            self.timed_out,
            self.cancelled,
            self.queued
        )?;
        writeln!(
            f,
            "events  {} steals, {} parks, {} wake-ups, {:.1} ms busy",
            self.steals,
            self.parks,
            self.wakeups,
            milliseconds(self.busy)
        )?;
        writeln!(
            f,
            "waits   {:.1} us in the queue at the median, {:.1} us at 99 %, {:.1} us at most, of {} measured",
            microseconds(self.queue_wait.quantile(0.5)),
            microseconds(self.queue_wait.quantile(0.99)),
            microseconds(self.queue_wait.max),
            self.queue_wait.count()
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
                milliseconds(worker.busy),
                worker.queued
            )?;
        }
        Ok(())
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn microseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}
