//! The packed word of the sleep protocol.

/// Who is awake, who searches, who could be had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Pool threads (spares too) that are neither parked nor waiting parked.
    pub(crate) workers: usize,
    /// Guests that are not waiting parked.
    pub(crate) guests: usize,
    /// Of the workers, those that look for work.
    pub(crate) searching: usize,
    /// Pool threads that a publisher could get: parked free, not started yet, or a spare that may be started.
    pub(crate) available: usize,
    /// Threads parked in waits that may run some of what others fork. Not a part of the word: see [`Sleep::helpers`](super::Sleep).
    pub(crate) helpers: usize,
}

/// What a publisher has published, which decides who may run it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// A fork or a scope's task: its waiter runs it if nobody else does.
    Help,
    /// A detached task: only a worker will run it, so one must be awake, whatever the guests do.
    Worker,
}

/// Width of the fields for the pool's own threads, in bits.
const WIDTH: u32 = 13;

const _: () = assert!(super::MAX_THREADS < 1 << WIDTH);

pub(crate) const ONE_WORKER: u64 = 1;
pub(crate) const ONE_SEARCHING: u64 = 1 << WIDTH;
pub(crate) const ONE_AVAILABLE: u64 = 1 << (2 * WIDTH);
/// 24 bits: more threads than a system has.
pub(crate) const ONE_GUEST: u64 = 1 << (3 * WIDTH);
/// Somebody waits until the pool is idle. A part of this word, so that whoever changes it anyway needs no fence to see that.
pub(crate) const AWAITED: u64 = 1 << 63;

impl Counts {
    pub(crate) fn unpack(word: u64, helpers: usize) -> Self {
        let field = |place: u32| (word >> (place * WIDTH) & ((1 << WIDTH) - 1)) as usize;
        Counts {
            workers: field(0),
            searching: field(1),
            available: field(2),
            guests: ((word & !AWAITED) >> (3 * WIDTH)) as usize,
            helpers,
        }
    }

    /// Whether a publisher should get a thread: nobody searches, one may be available, and there is room for it.
    pub(crate) fn wants(self, need: Need, target: usize) -> bool {
        let some = self.available > 0 || (need == Need::Help && self.helpers > 0);
        self.searching == 0 && some && self.has_room(need, target)
    }

    /// Whether one more thread may be awake for this.
    pub(crate) fn has_room(self, need: Need, target: usize) -> bool {
        self.workers + self.guests < target || (need == Need::Worker && self.workers == 0)
    }

    /// More threads are busy than the pool is to have.
    pub(crate) fn overcommitted(self, target: usize) -> bool {
        self.workers + self.guests > target
    }
}
