//! What a trace holds.

use crate::record::TraceSettings;
pub use crate::record::{Outcome, SiteKind, Wait, Work};
use crate::stats::PoolStats;
use std::time::Duration;

/// What happened on the threads of a pool in a span of time. See [`ThreadPool::trace`](crate::ThreadPool::trace).
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

impl Trace {
    /// Returns settings for a recording of which a snapshot shows at most the last `time`, as far as there is room for its
    /// events. With [`Duration::MAX`] it shows all that there is room for.
    pub fn last(time: Duration) -> TraceSettings {
        TraceSettings::new(time)
    }

    /// Returns the records of the threads: workers first, by index, then spare threads, then threads from outside.
    pub fn tracks(&self) -> &[Track] {
        &self.tracks
    }

    /// Returns the records of the workers, by index.
    pub fn workers(&self) -> impl Iterator<Item = &Track> {
        let is_worker = |track: &&Track| matches!(track.role, TrackRole::Worker(_));
        self.tracks.iter().filter(is_worker)
    }

    /// Returns all events with their tracks, one track after the other.
    pub fn events(&self) -> impl Iterator<Item = (&Track, &Event)> {
        let of_track = |track| Track::events(track).iter().map(move |event| (track, event));
        self.tracks.iter().flat_map(of_track)
    }

    /// Returns the places and names that events refer to by their index.
    pub fn sites(&self) -> &[Site] {
        &self.sites
    }

    /// Returns how many events were lost for lack of room. The number is exact.
    pub fn lost(&self) -> u64 {
        self.tracks.iter().map(|track| track.lost).sum()
    }

    /// Returns how long the pool had been recorded when the snapshot was taken.
    pub fn duration(&self) -> Duration {
        Duration::from_nanos(self.taken)
    }

    /// Returns the pool's statistics at the snapshot.
    pub fn stats(&self) -> &PoolStats {
        &self.stats
    }

    /// Returns the pool's statistics when the recording began.
    pub fn stats_before(&self) -> &PoolStats {
        &self.before
    }
}

impl Site {
    /// Returns what the site makes.
    pub fn kind(&self) -> SiteKind {
        self.kind
    }

    /// Returns the name that the user gave, or else the type name of the closure.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the source file and the line of the call that makes the site's work, such as
    /// [`submit`](crate::ThreadPool::submit).
    ///
    /// The place is known for tasks and futures whose submission was recorded, unless they were submitted in several
    /// places under one name: name such tasks, or write their closures in different functions. For forks, tasks of
    /// [`Scope::spawn`](crate::Scope::spawn), maps, broadcasts and the items of streams it is `None`; their names tell
    /// where their closures are.
    ///
    /// ```
    /// use heist::{ThreadPool, Trace};
    /// use std::time::Duration;
    /// let pool = ThreadPool::builder().trace(Trace::last(Duration::MAX)).build()?;
    /// let line = line!() + 1;
    /// pool.task().name("answer").submit(|| 6 * 7).join().unwrap();
    /// let trace = pool.trace();
    /// let site = trace.sites().iter().find(|site| site.name() == "answer").unwrap();
    /// assert_eq!(site.location(), Some((file!(), line)));
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn location(&self) -> Option<(&str, u32)> {
        self.file.map(|file| (file, self.line))
    }
}

impl Track {
    /// Returns what kind of thread the track belongs to.
    pub fn role(&self) -> TrackRole {
        self.role
    }

    /// Returns the name of the thread.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the system's number of the thread (Linux; elsewhere a number that no other thread of the process has), or 0 if
    /// the thread has recorded nothing.
    pub fn thread_id(&self) -> u64 {
        self.thread_id
    }

    /// Returns how many events were recorded, which is the sum of those that are here, [lost](Self::lost) and
    /// [older](Self::older).
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Returns how many events were lost for lack of room.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Returns how many events were left out because they are older than the [time](Trace::last) that was asked for.
    pub fn older(&self) -> u64 {
        self.older
    }

    /// Returns the events, oldest first.
    pub fn events(&self) -> &[Event] {
        &self.events
    }
}

impl Event {
    /// Returns when it happened, since the recording began.
    pub fn time(&self) -> Duration {
        Duration::from_nanos(self.time)
    }

    /// Returns what happened.
    pub fn kind(&self) -> EventKind {
        self.kind
    }
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

/// The record of one thread, oldest event first.
#[derive(Clone, Debug)]
pub struct Track {
    pub(crate) role: TrackRole,
    pub(crate) name: String,
    /// The thread's number in the system, or 0 if it has recorded nothing.
    pub(crate) thread_id: u64,
    /// The number of events that were recorded, kept or not.
    pub(crate) written: u64,
    /// The number of events that were overwritten.
    pub(crate) lost: u64,
    /// The number of events that were left out because they are older than the time that was asked for.
    pub(crate) older: u64,
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
