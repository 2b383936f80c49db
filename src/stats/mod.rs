//! Snapshots of a pool's counters, read on top of everything that counts.

use crate::counters::Counters;
use crate::pool::{Registry, Seat, Slot, ThreadPool};
use std::fmt;
use std::time::Duration;

/// What a pool has done and does, as [`ThreadPool::stats`] found it. With the crate's feature `serde` it is `Serialize`.
///
/// Totals never go down, and once the pool is idle `submitted == completed + failed + cancelled`. They count tasks (`submit`, `spawn`,
/// scope tasks, stream items), not joins or pieces of a map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct PoolStats {
    /// Workers, started or not.
    pub threads: usize,
    /// Threads that are awake: workers, spares and guests.
    pub active: usize,
    /// Started workers and spares that are parked.
    pub idle: usize,
    /// Tasks that wait in queues.
    pub queued: usize,
    /// Tasks made.
    pub submitted: u64,
    /// Tasks that ended without a panic.
    pub completed: u64,
    /// Tasks that panicked.
    pub failed: u64,
    /// Tasks dropped before they ran.
    pub cancelled: u64,
    /// Panics that no handle and no scope saw: of detached tasks, callbacks, thread hooks.
    pub lost_panics: u64,
    /// Tasks that the pool's own threads queued beyond the capacity.
    pub beyond_capacity: u64,
    /// Forks and tasks that a thread took from another.
    pub steals: u64,
    /// Times that a thread went to sleep.
    pub parks: u64,
    /// Threads woken or started.
    pub wakeups: u64,
    /// Spare threads alive.
    pub spares: usize,
    /// Threads that could not be started.
    pub start_failures: u64,
    /// Time that workers and spares spent at work.
    pub busy: Duration,
    /// By worker index, those that were started.
    pub workers: Vec<WorkerStats>,
    /// What the scheduler itself did.
    pub scheduler: SchedulerStats,
}

/// One worker's part of [`PoolStats`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct WorkerStats {
    /// Tasks and stolen forks that ran here.
    pub executed: u64,
    /// Of them, those taken from another thread.
    pub stolen: u64,
    /// Times it went to sleep.
    pub parks: u64,
    /// Time at work.
    pub busy: Duration,
    /// Tasks in its deque.
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
        executed: counters.executed.get(),
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
            "tasks   {} submitted: {} completed, {} failed, {} cancelled, {} queued",
            self.submitted, self.completed, self.failed, self.cancelled, self.queued
        )?;
        writeln!(
            f,
            "events  {} steals, {} parks, {} wake-ups, {:.1} ms busy",
            self.steals,
            self.parks,
            self.wakeups,
            milliseconds(self.busy)
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
