//! The packed word of the sleep protocol.

/// Who is awake, who searches, who could be had. Each at most 65,535: the builder's limit is far below.
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
}

/// What a publisher has published, which decides who may run it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// A fork or a scope's task: its waiter runs it if nobody else does.
    Help,
    /// A detached task: only a worker will run it, so one must be awake, whatever the guests do.
    Worker,
}

pub(crate) const ONE_WORKER: u64 = 1;
pub(crate) const ONE_GUEST: u64 = 1 << 16;
pub(crate) const ONE_SEARCHING: u64 = 1 << 32;
pub(crate) const ONE_AVAILABLE: u64 = 1 << 48;

impl Counts {
    pub(crate) fn unpack(word: u64) -> Self {
        let field = |shift: u32| (word >> shift & 0xffff) as usize;
        Counts {
            workers: field(0),
            guests: field(16),
            searching: field(32),
            available: field(48),
        }
    }

    /// Whether a publisher should get a thread: nobody searches, one can be had, and there is room for it.
    pub(crate) fn wants(self, need: Need, target: usize) -> bool {
        let room =
            self.workers + self.guests < target || (need == Need::Worker && self.workers == 0);
        self.searching == 0 && self.available > 0 && room
    }

    /// More threads are busy than the pool is to have.
    pub(crate) fn overcommitted(self, target: usize) -> bool {
        self.workers + self.guests > target
    }
}
