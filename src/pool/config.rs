//! The settings of a pool. This module knows nothing of the rest of the pool.

use crate::record::TraceSettings;
use crate::sleep::MAX_THREADS;
use crate::sys::ThreadSettings;
use crate::unwind::Payload;

pub(super) type Hook = Box<dyn Fn(usize) + Send + Sync>;
pub(super) type Name = Box<dyn Fn(usize) -> String + Send + Sync>;
pub(super) type PanicHandler = Box<dyn Fn(Payload) + Send + Sync>;

/// The smallest stack of a pool thread, in bytes: what the thread needs for itself, and some room for the first closure.
pub(super) const MIN_STACK: usize = 64 << 10;

/// The settings of a pool. The builder collects them, with `None` and 0 for defaults. It resolves the numbers of threads when it creates the pool; each other
/// default is applied where it is used.
#[derive(Default)]
pub(crate) struct Config {
    pub(super) num_threads: usize,
    pub(super) spare_threads: Option<usize>,
    pub(super) start: Start,
    pub(super) waits: Waits,
    pub(super) thread_name: Option<Name>,
    pub(super) stack_size: Option<usize>,
    pub(super) on_thread_start: Option<Hook>,
    pub(super) on_thread_exit: Option<Hook>,
    pub(super) panic_handler: Option<PanicHandler>,
    pub(super) queue_capacity: Option<usize>,
    pub(super) when_full: WhenFull,
    pub(super) timing: Timing,
    /// Watches over stalls, if that is asked for.
    pub(crate) watcher: Option<std::sync::Arc<dyn Watcher>>,
    /// Dropping the last handle returns at once.
    pub(super) leave_on_drop: bool,
    /// Worker 0 is the thread that built the pool. It never leaves, and runs queued work when it waits or yields.
    pub(super) current_thread: bool,
    /// The caller provides the threads.
    pub(super) caller_threads: bool,
    /// What the pool's threads do is recorded.
    pub(super) trace: Option<TraceSettings>,
    /// The settings that the pool's threads inherit from the thread that built it.
    pub(super) thread_settings: Option<ThreadSettings>,
}

/// Watches over the stalls of a pool, in a module above the pool.
pub(crate) trait Watcher: Send + Sync {
    /// Something begins to run or to wait in the pool of this number.
    fn arm(&self, pool: u64);
}

impl Config {
    /// The maximum number of spares, which stand in for blocked workers. The builder has resolved the default, so there is a number.
    pub(super) fn spares(&self) -> usize {
        self.spare_threads.unwrap_or(0)
    }

    /// The stack size of the pool's threads in bytes: the configured size, or the default of the standard library, which an environment
    /// variable can change.
    pub(crate) fn stack_size_or_default(&self) -> usize {
        self.stack_size
            .or_else(|| std::env::var("RUST_MIN_STACK").ok()?.parse().ok())
            .unwrap_or(2 << 20)
    }
}

/// When the threads of a pool start. See [`ThreadPoolBuilder::start`](crate::ThreadPoolBuilder::start).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Start {
    /// Each thread starts when work first needs it. A pool that never gets work has no threads.
    #[default]
    Lazy,
    /// All threads start before `build` returns. A thread that cannot be started is an error.
    Eager,
}

/// What a thread may run while it waits for a fork, a scope or a map. See
/// [`ThreadPoolBuilder::waits`](crate::ThreadPoolBuilder::waits).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Waits {
    /// Only what it waits for and work that descends from that, on whichever thread that is. A lock held across
    /// the wait is as safe as in a serial program.
    #[default]
    Own,
    /// Any work of the pool, as in rayon, also in destructors while a panic unwinds. A lock held across the
    /// wait can deadlock, because an unrelated task that takes the lock can run on top of its holder.
    Any,
}

/// What [`submit`](crate::ThreadPool::submit) does if the queue is full. This applies to threads outside the pool only. See
/// [`queue_capacity`](crate::ThreadPoolBuilder::queue_capacity).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhenFull {
    /// Waits for room.
    #[default]
    Block,
    /// Refuses the task, whose handle resolves to an error at once.
    Reject,
    /// Runs the task on the submitting thread.
    CallerRuns,
}

/// Which tasks a pool measures: how long they wait in its queues, and how long they run. See
/// [`ThreadPoolBuilder::timing`](crate::ThreadPoolBuilder::timing).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Timing {
    /// None. The histograms of [`stats`](crate::ThreadPool::stats) stay empty.
    Off,
    /// All of the first 64 that each thread of the pool submits, all of the first 64 from outside, and then one in
    /// 16.
    #[default]
    Sampled,
    /// All. Costs 15 to 20 ns a task.
    All,
}

/// The priority of a queued task, which decides when the task begins. Running tasks are not affected.
///
/// A worker looks for tasks of high priority first, then for normal ones, beginning with its own, then for
/// those of low priority. So that nothing waits forever, four of every 128 searches begin elsewhere: one at
/// the queue of normal tasks, one at the futures that were woken outside the pool, one at the items of streams
/// such as [`imap`](crate::ThreadPool::imap), and one at the queue of low priority.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// The task begins when no other one waits. A worker looks for a task of low priority first in one of 128
    /// searches.
    Low,
    /// The default.
    #[default]
    Normal,
    /// The task begins before those of other priorities, except in four of 128 searches.
    High,
}

/// The environment variable that sets the number of workers of a pool whose builder does not.
pub(super) const VARIABLE: &str = "HEIST_NUM_THREADS";

/// The number of workers of a pool whose builder does not set one. The error is the invalid text of the variable.
pub(super) fn automatic_size() -> Result<usize, String> {
    let Some(value) = std::env::var_os(VARIABLE) else {
        return Ok(processors());
    };
    // Text that is not valid Unicode is no number, before or after the conversion.
    let text = value.to_string_lossy();
    match (text.trim(), text.trim().parse()) {
        ("", _) | (_, Ok(0)) => Ok(processors()),
        (_, Ok(count @ 1..=MAX_THREADS)) => Ok(count),
        _ => Err(text.into_owned()),
    }
}

/// The number of processors that the affinity and the cgroup quota leave to this process.
pub(super) fn processors() -> usize {
    num_cpus::get().clamp(1, MAX_THREADS)
}
