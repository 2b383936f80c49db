//! The decisions of the sleep protocol, which its callers carry out.

/// The thread that a publisher has claimed. It is already counted as awake and searching.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a claimed thread that is not woken stays counted as searching forever"]
pub(crate) enum Wakeup {
    /// No thread is wanted, or none is available.
    None,
    /// Wake the thread of this slot.
    Unpark(usize),
    /// Start the worker with this index; report a failure with [`Sleep::start_failed`](super::Sleep::start_failed).
    StartWorker(usize),
    /// Start a spare; report a failure with [`Sleep::start_failed`](super::Sleep::start_failed).
    StartSpare,
    /// Only helpers and spares are left, and none is claimed yet. Find a helper and [claim it](super::Sleep::claim_helper). If there is
    /// none and `or_spare` is true, [claim a spare](super::Sleep::claim_spare).
    Helper { or_spare: bool },
}

/// What a worker that wants to park has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Park {
    /// Park. Another thread searches, or none is wanted.
    Now,
    /// Make the final re-check, and then park.
    AfterLook,
    /// Stay awake and searching: the pool is closing, and tasks are queued. The caller must take one, however many threads are awake.
    Stay,
    /// Leave: the pool has become smaller or is closing. Wake the threads that [wait for that](super::Sleep::departed). If `look`, make the final
    /// re-check, and claim another thread if there is work.
    Leave { look: bool },
}

/// Whether a worker has a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Presence {
    /// It has one or is about to get one.
    Present,
    /// It had none. The caller has claimed the worker and must start a thread.
    Claimed,
    /// It has none and gets none.
    Absent,
}

/// What a guest must do after it has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) struct Left {
    /// How many of the pool's own threads are awake.
    pub(crate) workers: usize,
    /// No thread of the pool was awake any more.
    pub(crate) is_last: bool,
    /// Look for work, and [claim a thread](super::Sleep::claim_thread) if there is some: there is room for one more, and one is available.
    pub(crate) capacity: bool,
    /// Wake the threads that wait until the pool is idle.
    pub(crate) awaited: bool,
}
