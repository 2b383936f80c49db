//! What a dump holds.

use std::time::Duration;

/// What the threads of a pool do at a moment, and who waits for whom. See
/// [`ThreadPool::dump`](crate::ThreadPool::dump).
///
/// A dump prints itself in words. With the feature `serde` it is `Serialize`.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Dump {
    /// The pool that was asked, and then those other pools of the process that wait for it or for which it
    /// waits.
    pub pools: Vec<PoolDump>,
    /// Who waits for whom, as far as it is known.
    pub waits: Vec<WaitEdge>,
    /// Threads that wait for each other in a circle, so that none of them ever goes on.
    pub cycles: Vec<WaitCycle>,
    /// Threads that take part in no pool and wait for a task, of these pools or of none that is known. At most 64.
    pub callers: Vec<CallerDump>,
    /// Whether other pools are left out because another thread held a lock.
    pub is_partial: bool,
}

/// What a [`Dump`] says about a pool.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct PoolDump {
    /// A number that no other pool of the process has.
    pub number: u64,
    /// The number of workers, started or not.
    pub workers: usize,
    /// The number of threads awake in the pool, those of callers included.
    pub awake: usize,
    /// The threads: workers by index, then spare threads, then callers that help or wait in the pool.
    ///
    /// A caller that neither waits nor is in the middle of a join, scope or task of the pool is left out.
    pub threads: Vec<ThreadDump>,
    /// What is queued.
    pub queues: QueueDump,
    /// The number of futures that wait to be woken.
    pub suspended: usize,
    /// Whether the pool refuses new tasks.
    pub is_closed: bool,
    /// Whether this process is a forked child of the one that made the pool, so that the threads do not exist here.
    pub is_of_parent: bool,
}

/// The lengths of a pool's common queues, in a [`Dump`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct QueueDump {
    /// Tasks of high priority.
    pub high: usize,
    /// Tasks of normal priority from outside the pool.
    pub normal: usize,
    /// Tasks of low priority.
    pub low: usize,
    /// Futures that were woken outside of the pool's threads.
    pub woken: usize,
    /// Items of streams. `None` if another thread held a lock.
    pub items: Option<usize>,
    /// Tasks of scopes that are in no thread's own queue.
    pub scope_tasks: usize,
    /// How long the oldest of them has been queued at least, as far as earlier dumps or the watch of
    /// [`stall_after`](crate::ThreadPoolBuilder::stall_after) have seen it.
    pub oldest: Duration,
}

/// What a [`Dump`] says about a thread.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ThreadDump {
    /// The part that it plays in the pool.
    pub role: ThreadRole,
    /// The name of the thread. Empty if it is not known.
    pub name: String,
    /// The system's number of the thread. 0 if it is not known.
    pub os_id: u64,
    /// What it does.
    pub does: ThreadState,
    /// For how long it has done that, at least.
    pub since_at_least: Duration,
    /// For how long it has done that, at most, if that is known.
    pub since_at_most: Option<Duration>,
    /// The task that it is in the middle of.
    pub task: Option<TaskDump>,
    /// The ids of the tasks in the middle of which that task runs, the outermost first. At most 32.
    pub outer_tasks: Vec<u64>,
    /// Whether the thread runs, as the system sees it.
    pub system: SystemState,
    /// The number of joins that it is in the middle of, at most as many as its ring has places for.
    pub joins: usize,
    /// How many of these joins' second closures other threads have taken.
    pub stolen: usize,
    /// The number of tasks in its own queues.
    pub queued: usize,
}

/// A task in a [`Dump`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct TaskDump {
    /// The number in the task's [`TaskId`](crate::TaskId).
    pub id: u64,
    /// The name, if it has one and no other thread held a lock.
    pub name: Option<String>,
}

/// A thread that takes part in no pool and waits for a task, in a [`Dump`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct CallerDump {
    /// The name of the thread. Empty if it is not known.
    pub name: String,
    /// The system's number of the thread.
    pub os_id: u64,
    /// The id of the task.
    pub task: u64,
    /// For how long it has waited.
    pub since: Duration,
    /// The thread that runs the task. `None` if no thread does, or if it is not known.
    pub runs_on: Option<ThreadRef>,
}

/// The part that a thread plays in a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum ThreadRole {
    /// The worker of this index.
    Worker(usize),
    /// A thread that stands in for blocked workers.
    Spare,
    /// A thread of the program, or of another pool, during a call. A thread of the pool itself in the middle of many joins appears here too.
    Guest,
}

/// What a thread does, in a [`Dump`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum ThreadState {
    /// The thread has no work, and sleeps.
    Idle,
    /// The thread looks for work.
    Searching,
    /// The thread runs a task, a stolen part of a join, or what the thread called.
    Running,
    /// The thread is in [`blocking`](crate::blocking()).
    Blocking,
    /// The thread waits for the second closure of a join, which another thread has taken.
    WaitingForJoin,
    /// The thread waits for the tasks of a scope, of which so many were left when the wait began.
    WaitingForScope(u64),
    /// The thread waits for the task of this id.
    WaitingForTask(u64),
    /// The thread waits for any of several tasks.
    WaitingForSeveral,
    /// The thread waits for room in a full queue.
    WaitingForRoom,
    /// The thread waits in [`block_on`](crate::block_on()) until its future is woken.
    WaitingForWaker,
    /// The thread waits for a closure of `run` or `broadcast`, or for something else in the pool.
    Waiting,
}

/// Whether a thread that should run does, in a [`Dump`]. It is looked at twice, some milliseconds apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum SystemState {
    /// The system was not asked, or does not say. Linux does.
    Unknown,
    /// The thread runs.
    Busy,
    /// The thread sleeps in a lock, a system call or the like.
    Blocked,
    /// The thread is ready to run, but the system gives it no processor.
    Starved,
    /// A signal or a debugger has stopped it.
    Stopped,
}

/// A thread in a [`Dump`], by its place there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ThreadRef {
    /// The index in [`Dump::pools`].
    pub pool: usize,
    /// The index in [`PoolDump::threads`].
    pub thread: usize,
}

/// A thread that waits for something that another thread runs, in a [`Dump`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct WaitEdge {
    /// The thread that waits.
    pub from: ThreadRef,
    /// The thread that runs what it waits for.
    pub to: ThreadRef,
}

/// Threads that wait for each other in a circle, in a [`Dump`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct WaitCycle {
    /// Each edge leads to the thread from which the next one comes, and the last one to the first.
    pub edges: Vec<WaitEdge>,
}

impl Dump {
    /// Returns the thread at a place of the dump.
    ///
    /// # Panics
    ///
    /// Panics if the dump has no such place: `place` comes from another dump.
    pub fn thread(&self, place: ThreadRef) -> &ThreadDump {
        &self.pools[place.pool].threads[place.thread]
    }
}

impl ThreadState {
    /// Whether the thread sleeps until another one does something.
    pub fn is_waiting(self) -> bool {
        !matches!(
            self,
            ThreadState::Idle
                | ThreadState::Searching
                | ThreadState::Running
                | ThreadState::Blocking
        )
    }
}
