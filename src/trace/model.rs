//! What a trace holds.

use crate::stats::PoolStats;

/// What happened on the threads of a pool in a span of time. See `ThreadPool::trace`.
#[derive(Clone, Debug)]
pub struct Trace {
    /// The file name of the program.
    pub(crate) program: String,
    /// The pool's thread name prefix.
    pub(crate) pool: String,
    /// The number of workers.
    pub(crate) num_threads: usize,
    /// The wall-clock time at time 0.
    pub(crate) started: std::time::SystemTime,
    /// `CLOCK_MONOTONIC` at time 0, in nanoseconds, so that traces of other tools align.
    pub(crate) monotonic: u64,
    /// The time of the snapshot, in nanoseconds since time 0.
    pub(crate) taken: u64,
    /// Runs that are shorter than this are recorded in batches, in nanoseconds.
    pub(crate) resolution: u64,
    /// The pool's totals when recording began.
    pub(crate) before: PoolStats,
    /// The pool's totals at the snapshot.
    pub(crate) stats: PoolStats,
    pub(crate) sites: Vec<Site>,
    pub(crate) tracks: Vec<Track>,
}

/// A place in the program that makes work, or a name that the user gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    pub(crate) kind: SiteKind,
    /// The user's name, or the type name of the closure, for example `my_crate::sort::quick::{{closure}}`.
    pub(crate) name: String,
    pub(crate) file: Option<&'static str>,
    pub(crate) line: u32,
}

/// What a [`Site`] makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SiteKind {
    /// A fork of `join`.
    Join,
    /// A task of a scope.
    Scope,
    /// A part of a map.
    Map,
    /// A submitted task.
    Task,
    /// A future.
    Future,
    /// A closure of `broadcast`.
    Broadcast,
    /// A closure of `run`.
    Run,
    /// A span of `span`.
    Span,
    /// A mark of `mark`.
    Mark,
}

/// The record of one thread, oldest event first.
#[derive(Clone, Debug)]
pub struct Track {
    pub(crate) role: TrackRole,
    pub(crate) name: String,
    /// The thread's number in the system, or 0 if it is not known.
    pub(crate) thread_id: u64,
    /// The number of events that were recorded, kept or not.
    pub(crate) written: u64,
    /// The number of events that were overwritten.
    pub(crate) lost: u64,
    pub(crate) events: Vec<Event>,
}

/// The kind of thread that a [`Track`] belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TrackRole {
    /// The worker of this index.
    Worker(usize),
    /// A thread that stands in for blocked workers.
    Spare,
    /// A thread from outside, during its calls. Several threads can share a track, one after the other.
    Guest,
}

/// Something that happened on a thread. Times are nanoseconds since time 0. Tracks are named by their index in the trace's tracks, sites by their index in the
/// trace's sites.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    pub(crate) time: u64,
    pub(crate) kind: EventKind,
}

/// What an [`Event`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventKind {
    /// The thread begins.
    ThreadBegin,
    /// The thread ends.
    ThreadEnd,
    /// A thread from outside begins to take part.
    GuestEnter,
    /// A thread from outside ends to take part.
    GuestLeave,
    /// A run begins. Runs nest.
    RunBegin {
        /// What runs.
        what: Work,
        /// The number of the task, or 0 if there is none.
        id: u64,
        /// The site that made it.
        site: u32,
    },
    /// The innermost run ends.
    RunEnd {
        /// How it ends.
        outcome: Outcome,
    },
    /// Short runs, one after the other, up to the time of the event.
    Batch {
        /// The time at which the first one began.
        begin: u64,
        /// The number of runs.
        count: u32,
        /// The site of the first one.
        site: u32,
    },
    /// A task is queued. Its run has the same number.
    Made {
        /// The number of the task.
        id: u64,
        /// The site that makes it.
        site: u32,
    },
    /// The thread takes work of another one. The run of what was stolen begins next.
    Steal {
        /// The track of the thread that had queued it.
        victim: u32,
        /// What was stolen.
        what: Work,
        /// Whether it was taken by force.
        forced: bool,
    },
    /// A wait begins. Waits nest with runs: a wait that helps has runs inside.
    WaitBegin {
        /// What the thread waits for.
        on: Wait,
        /// The number of the task that it waits for, or 0.
        id: u64,
    },
    /// The innermost wait ends.
    WaitEnd,
    /// The thread goes to sleep.
    Park,
    /// The thread has slept.
    Unpark,
    /// The thread wakes or starts another one, whose next event of the kind `Unpark` or `ThreadBegin` follows from this.
    Wake {
        /// The track of the thread that is woken.
        whom: u32,
    },
    /// The lengths of queues, as this thread sees them.
    Depth {
        /// The pool's common queue.
        injector: u32,
        /// The thread's own deques.
        deque: u32,
        /// The thread's own ring.
        ring: u32,
    },
    /// A task has ended. The waits for the same number end next.
    Finished {
        /// The number of the task.
        id: u64,
    },
    /// A task was dropped before it ran to its end.
    Cancelled {
        /// The number of the task.
        id: u64,
    },
    /// A task has missed its deadline.
    TimedOut {
        /// The number of the task.
        id: u64,
    },
    /// The user's mark.
    Mark {
        /// The site with the mark's name.
        site: u32,
    },
    /// The user's span begins.
    SpanBegin {
        /// The site with the span's name.
        site: u32,
    },
    /// The innermost span of the user ends.
    SpanEnd,
}

/// What runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Work {
    /// A stolen fork of a `join` or a map.
    Fork,
    /// A task of a scope.
    ScopeTask,
    /// A submitted task.
    Task,
    /// A poll of a future.
    Poll,
    /// A closure of `broadcast`.
    Broadcast,
    /// A closure of `run`.
    Run,
}

/// How a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// It returned.
    Returned,
    /// It panicked.
    Panicked,
    /// It was cancelled.
    Cancelled,
    /// It is a future that waits for its waker.
    Suspended,
}

/// What a thread waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Wait {
    /// A stolen fork.
    Fork,
    /// The tasks of a scope.
    Scope,
    /// A task with a handle.
    Handle,
    /// Something else that happens once.
    Latch,
    /// A blocking call of the user.
    Blocking,
    /// Work: the thread searches, between runs.
    Idle,
}
