//! The state of one submitted task, packed into a word: phase, who has an interest, and how many point at it.
//!
//! | phase | what is in the cell | who may leave it, and to where |
//! |---|---|---|
//! | queued | the closure | a runner, to running; whoever cancels or times it out, to settling |
//! | running | nothing, once the closure has moved to the runner's stack ([`TAKEN`], where a deadline asks) | the runner, to settling, or straight to finished where nothing is to be done; a deadline, to settling |
//! | settling | the outcome is being written, then callbacks run | the one who entered it, to finished |
//! | finished | the outcome, until the handle takes it | |
//!
//! One compare-and-swap decides each race: run against cancel, run against deadline, end against a handle that goes.

use crate::sync::{AtomicUsize, Ordering};

const PHASE: usize = 0b11;
const QUEUED: usize = 0;
const RUNNING: usize = 1;
const SETTLING: usize = 2;
const FINISHED: usize = 3;

/// There is a handle: the outcome is its to take or to drop.
const HANDLE: usize = 1 << 2;
/// There is an [`Extra`](super::extra::Extra) block with something to do at the end.
const EXTRA: usize = 1 << 3;
/// A timer may settle the task while it runs.
const DEADLINE: usize = 1 << 4;
/// It was settled without having run.
const CANCELLED: usize = 1 << 5;
/// It takes no place of the pool's capacity.
const UNGATED: usize = 1 << 6;
/// The runner has taken the closure out. Told of tasks with a deadline only.
const TAKEN: usize = 1 << 7;
/// The closure counts what it does.
const UNCOUNTED: usize = 1 << 8;
/// The deadline has come while the runner was about to take the closure out. Told of tasks with a deadline only.
const EXPIRED: usize = 1 << 9;
/// It was queued in one of the pool's lanes, not in a thread's deque.
const IN_LANE: usize = 1 << 10;
/// It has a place in the pool's [`QueueWaits`](crate::pool::queue_wait::QueueWaits) until it begins.
const SAMPLED: usize = 1 << 11;
/// How many point at the cell: its place in a queue (then its runner), its handle, a token, the timer.
const ONE_REF: usize = 1 << 16;

/// See the module.
#[derive(Debug)]
pub(super) struct State(AtomicUsize);

/// How a cell begins.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Birth {
    pub(super) handle: bool,
    pub(super) extra: bool,
    pub(super) deadline: bool,
    /// It takes no place of the pool's capacity.
    pub(super) ungated: bool,
    /// The closure itself adds to the pool's counts: it stands for several tasks.
    pub(super) uncounted: bool,
}

/// What the runner has to do, its outcome being in the cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum End {
    /// Nothing: the handle has the outcome, and a reference that the runner has offered is gone.
    Handed,
    /// Drop the outcome and the cell: nobody else knows it.
    Alone,
    /// Now settling: callbacks and waiters are to be served, then [`State::finish`].
    Settle,
}

/// A runner's reference to the cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stake {
    /// It goes with the end of the run.
    Given,
    /// It is somebody's who keeps it.
    Kept,
}

/// What a deadline has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Overtake {
    /// Write the outcome.
    Settling,
    /// Nothing: the runner is about to take the closure out, and then does it in the deadline's place.
    Told,
    /// Nothing: there is an outcome.
    Late,
}

/// What a handle that goes has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Detach {
    /// Nothing: whoever settles the task drops the outcome.
    Left,
    /// The outcome is there: drop it, then release the reference.
    Outcome,
}

impl State {
    pub(super) fn new(birth: Birth) -> Self {
        let bit = |set: bool, bit: usize| if set { bit } else { 0 };
        let refs = ONE_REF * (1 + usize::from(birth.handle));
        State(AtomicUsize::new(
            refs | QUEUED
                | bit(birth.handle, HANDLE)
                | bit(birth.extra, EXTRA)
                | bit(birth.deadline, DEADLINE)
                | bit(birth.ungated, UNGATED)
                | bit(birth.uncounted, UNCOUNTED),
        ))
    }

    fn load(&self) -> usize {
        // ORDERING: Acquire pairs with the Release of `end` and `finish`: who reads the phase sees the outcome.
        self.0.load(Ordering::Acquire)
    }

    /// Changes the word while `change` gives a new one. Returns the word as it was, as an error where it did not.
    fn update(&self, change: impl Fn(usize) -> Option<usize>) -> Result<usize, usize> {
        // ORDERING: AcqRel: Release publishes what the cell holds to whoever reads the phase; Acquire takes over what the one before left.
        self.0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, change)
    }

    fn step(&self, from: usize, to: usize, flags: usize) -> bool {
        self.update(|word| (word & PHASE == from).then_some((word & !PHASE) | to | flags))
            .is_ok()
    }

    // ---- the questions ----

    pub(super) fn is_queued(&self) -> bool {
        self.load() & PHASE == QUEUED
    }

    pub(super) fn is_running(&self) -> bool {
        self.load() & PHASE == RUNNING
    }

    pub(super) fn is_finished(&self) -> bool {
        self.load() & PHASE == FINISHED
    }

    /// Whether somebody has cancelled the task, and may still be at it.
    pub(super) fn is_cancelled(&self) -> bool {
        self.load() & CANCELLED != 0
    }

    /// Whether the task takes a place of the pool's capacity while it is queued.
    pub(super) fn is_gated(&self) -> bool {
        // ORDERING: Relaxed: the flag is as old as the cell.
        self.0.load(Ordering::Relaxed) & UNGATED == 0
    }

    /// The task is about to be queued in one of the pool's lanes. Nobody but the caller knows it yet.
    pub(super) fn set_in_lane(&self) {
        // ORDERING: Relaxed: the queue hands it over.
        let word = self.0.load(Ordering::Relaxed);
        self.0.store(word | IN_LANE, Ordering::Relaxed);
    }

    /// Whether the task was queued in one of the pool's lanes.
    pub(super) fn is_in_lane(&self) -> bool {
        // ORDERING: Relaxed: the flag was set before anybody else knew the task.
        self.0.load(Ordering::Relaxed) & IN_LANE != 0
    }

    /// Whether the task is one in the pool's counts.
    pub(super) fn is_counted(&self) -> bool {
        // ORDERING: Relaxed: the flag is as old as the cell.
        self.0.load(Ordering::Relaxed) & UNCOUNTED == 0
    }

    /// The task's wait is measured from now on. Before it is queued.
    pub(super) fn set_sampled(&self) {
        // ORDERING: Relaxed: the queue publishes the task.
        self.0.fetch_or(SAMPLED, Ordering::Relaxed);
    }

    /// Whether the task's wait is measured. For whoever has taken it out of the queued phase.
    #[inline]
    pub(super) fn is_sampled(&self) -> bool {
        // A model measures nothing, and is spared a turn. ORDERING: Relaxed: the flag is older than the caller's claim to the task.
        !crate::sync::MODEL && self.0.load(Ordering::Relaxed) & SAMPLED != 0
    }

    // ---- the runner ----

    /// Queued becomes running. False: somebody else has it.
    #[inline]
    pub(super) fn claim(&self) -> bool {
        // ORDERING: Acquire pairs with the AcqRel of `detach`: the handle is done with the cell, and the store below hides that from `end`.
        let seen = self.0.load(Ordering::Acquire);
        // Nobody else can touch the word of a task without handle and extras.
        if seen & !IN_LANE == ONE_REF | QUEUED {
            self.0.store(seen | RUNNING, Ordering::Relaxed);
            return true;
        }
        self.step(QUEUED, RUNNING, 0)
    }

    /// Whether a deadline may come before the runner's outcome: then it needs [`State::settle`] before it writes.
    #[inline]
    pub(super) fn is_timed(&self) -> bool {
        // ORDERING: Relaxed: the flag is as old as the cell.
        self.0.load(Ordering::Relaxed) & DEADLINE != 0
    }

    /// The runner of a timed task has taken the closure out: from now on a deadline may write. True: it has come already, and the runner is
    /// to do what it does.
    #[must_use]
    pub(super) fn taken(&self) -> bool {
        // ORDERING: Release: the closure is out before a deadline, which acquires, writes in its place.
        self.0.fetch_or(TAKEN, Ordering::AcqRel) & EXPIRED != 0
    }

    /// The deadline of a task that was not queued any more: running becomes settling.
    pub(super) fn overtake(&self) -> Overtake {
        let overtaken = self.update(|word| match (word & PHASE, word & TAKEN) {
            (RUNNING, 0) => Some(word | EXPIRED),
            (RUNNING, _) => Some((word & !PHASE) | SETTLING),
            _ => None,
        });
        match overtaken {
            Ok(word) if word & TAKEN == 0 => Overtake::Told,
            Ok(_) => Overtake::Settling,
            Err(_) => Overtake::Late,
        }
    }

    /// Running becomes settling. False: the other one, runner or deadline, was first.
    pub(super) fn settle(&self) -> bool {
        self.step(RUNNING, SETTLING, 0)
    }

    /// The runner has written its outcome. If nobody but the handle wants to know, a reference that it offers goes with that.
    #[inline]
    pub(super) fn end(&self, stake: Stake) -> End {
        let given = match stake {
            // ORDERING: Acquire pairs with the AcqRel of `detach`: the handle is done with the cell.
            Stake::Given if self.0.load(Ordering::Acquire) & !IN_LANE == ONE_REF | RUNNING => {
                return End::Alone;
            }
            Stake::Given => ONE_REF,
            Stake::Kept => 0,
        };
        let before = self.update(|word| {
            let rest = word & !PHASE;
            Some(if word & (HANDLE | EXTRA) == HANDLE {
                (rest | FINISHED) - given
            } else {
                rest | SETTLING
            })
        });
        match before {
            Ok(word) if word & (HANDLE | EXTRA) == HANDLE => End::Handed,
            _ => End::Settle,
        }
    }

    // ---- cancel and deadline ----

    /// Queued becomes settling, for somebody who will not run it. False: it has begun.
    pub(super) fn intercept(&self, cancelled: bool) -> bool {
        self.step(QUEUED, SETTLING, if cancelled { CANCELLED } else { 0 })
    }

    // ---- the one who settles ----

    /// Settling becomes finished. Returns whether a handle wants the outcome; if not it is the caller's to drop.
    pub(super) fn finish(&self) -> bool {
        let before = self.update(|word| Some((word & !PHASE) | FINISHED));
        before.is_ok_and(|word| word & HANDLE != 0)
    }

    /// The same where nothing is to be done at the end. None: there is now.
    pub(super) fn finish_plain(&self) -> Option<bool> {
        let before = self.update(|word| (word & EXTRA == 0).then_some((word & !PHASE) | FINISHED));
        before.ok().map(|word| word & HANDLE != 0)
    }

    // ---- the handle ----

    /// There is something to do at the end from now on. False: the task has finished.
    ///
    /// The extra block's lock must be held: it keeps who settles from passing by.
    pub(super) fn add_extra(&self) -> bool {
        self.update(|word| (word & PHASE != FINISHED).then_some(word | EXTRA))
            .is_ok()
    }

    /// The handle goes.
    pub(super) fn detach(&self) -> Detach {
        let left =
            self.update(|word| (word & PHASE != FINISHED).then(|| (word & !HANDLE) - ONE_REF));
        match left {
            Ok(_) => Detach::Left,
            Err(_) => Detach::Outcome,
        }
    }

    // ---- references ----

    pub(super) fn retain(&self) {
        // ORDERING: Relaxed, as for any count that grows from one of its owners.
        self.0.fetch_add(ONE_REF, Ordering::Relaxed);
    }

    /// True: that was the last one.
    #[inline]
    #[must_use]
    pub(super) fn release(&self) -> bool {
        // The last one need not say so to anybody. ORDERING: Acquire: the others are done with the cell.
        if self.0.load(Ordering::Acquire) / ONE_REF == 1 {
            return true;
        }
        // ORDERING: AcqRel: each is done with the cell before the last one frees it.
        self.0.fetch_sub(ONE_REF, Ordering::AcqRel) / ONE_REF == 1
    }
}
