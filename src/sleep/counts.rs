//! The packed word of the sleep protocol.

/// The number of threads that are awake, searching and available.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Pool threads, spares included, that are not parked, neither free nor in a wait.
    pub(crate) workers: usize,
    /// Guests that are not parked in a wait.
    pub(crate) guests: usize,
    /// The awake threads that search for work.
    pub(crate) searching: usize,
    /// Pool threads that a publisher could get: parked free, not started yet, or a spare that can be started.
    pub(crate) available: usize,
    /// Helpers: threads parked in waits that can be woken for some of what others fork. Their count is beside the word, not in it.
    pub(crate) helpers: usize,
}

/// The kind of work that was published, which decides what threads may run it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// A fork or a scope task. The thread that waits for it runs it if no other thread does.
    Help,
    /// A detached task. Only a worker runs it, so that one must be awake whatever the guests do.
    Worker,
}

/// The most workers and spares of a pool.
pub(crate) const MAX_THREADS: usize = 1 << 12;

/// The width of the fields for the pool's own threads, in bits.
const WIDTH: u32 = 13;

const _: () = assert!(MAX_THREADS < 1 << WIDTH);

pub(crate) const ONE_WORKER: u64 = 1;
pub(crate) const ONE_SEARCHING: u64 = 1 << WIDTH;
pub(crate) const ONE_AVAILABLE: u64 = 1 << (2 * WIDTH);
/// The field has 24 bits, for more threads than a system has.
pub(crate) const ONE_GUEST: u64 = 1 << (3 * WIDTH);
/// Set while a thread waits until the pool is idle. It is in this word so that a thread that changes the word sees it without a fence.
pub(crate) const IDLE_AWAITED: u64 = 1 << 63;

impl Counts {
    pub(crate) fn unpack(word: u64, helpers: usize) -> Self {
        let field = |place: u32| (word >> (place * WIDTH) & ((1 << WIDTH) - 1)) as usize;
        Counts {
            workers: field(0),
            searching: field(1),
            available: field(2),
            guests: ((word & !IDLE_AWAITED) >> (3 * WIDTH)) as usize,
            helpers,
        }
    }

    /// Whether a publisher should get a thread: none searches, a thread is available or is a helper, and there is room for it.
    pub(crate) fn wants(self, need: Need, target: usize) -> bool {
        let some = self.available > 0 || (need == Need::Help && self.helpers > 0);
        self.searching == 0 && some && self.has_room(need, target)
    }

    /// Whether a thread that has found something, and sees more, should get one more thread, although others search. At most half of the threads that
    /// are awake search, so that a pool wakes up in a time that grows with the logarithm of its size, and the last threads do not search in vain.
    pub(crate) fn may_spread(self, target: usize) -> bool {
        let is_calm = 2 * self.searching < self.workers + self.guests;
        is_calm && self.available > 0 && self.has_room(Need::Help, target)
    }

    /// Whether a thread may be woken beyond the number that the pool wants: there is no room, and no thread searches.
    pub(crate) fn may_exceed(self, target: usize) -> bool {
        self.searching == 0 && self.available > 0 && self.workers + self.guests >= target
    }

    /// Whether there is room for one more awake thread, for this kind of work.
    pub(crate) fn has_room(self, need: Need, target: usize) -> bool {
        self.workers + self.guests < target || (need == Need::Worker && self.workers == 0)
    }

    /// The counts with one more guest.
    pub(crate) fn with_guest(self) -> Self {
        Counts {
            guests: self.guests + 1,
            ..self
        }
    }

    /// Whether more threads are awake than the pool wants.
    pub(crate) fn overcommitted(self, target: usize) -> bool {
        self.workers + self.guests > target
    }
}
