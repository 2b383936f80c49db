//! The state of one submitted task, packed into a word: its phase, its flags, and its reference count.
//!
//! | phase | what the cell holds | who ends the phase |
//! |---|---|---|
//! | queued | the closure | a runner moves the task to running; a cancel or a deadline moves it to completing |
//! | suspended | a future that was polled and is in no queue | its waker moves the task to queued; a cancel or a deadline moves it to completing |
//! | running | the closure, until the runner moves it to its stack; then nothing; at the end the outcome, if the task has no deadline | the runner moves the task to completing, or to finished if there is a handle and no second block; a deadline moves it to completing, once the closure has left the cell ([`TAKEN`]); the runner of a future that is not ready moves the task to suspended, or to queued if it was woken meanwhile |
//! | completing | first what the previous phase left; then the outcome | the thread that has begun the phase moves the task to finished |
//! | finished | the outcome, until the handle takes it | nobody |
//!
//! The callbacks of a task are called while it is completing. If a deadline has ended the task, or has cancelled it through a token, the task finishes first and
//! the pool calls the callbacks then ([`cancel`](super::cancel)).
//!
//! One compare-and-swap decides each race: a run against a cancel, a run against a deadline, the end of a run against the drop of the handle, a wake-up against
//! the end of a poll. A suspended task has the phase queued and the flag [`SUSPENDED`].
//!
//! A future that was ended from outside by a thread that may not drop it is *left*: it has the phase completing and the flag [`SUSPENDED`], until one of those that find
//! it takes it.

use crate::sync::{AtomicUsize, Ordering};

const PHASE: usize = 0b11;
const QUEUED: usize = 0;
const RUNNING: usize = 1;
const COMPLETING: usize = 2;
const FINISHED: usize = 3;

/// There is a handle, which takes or drops the outcome.
pub(super) const HANDLE: usize = 1 << 2;
/// There is a second block with callbacks and waiters, which are called and woken at the end.
pub(super) const EXTRA: usize = 1 << 3;
/// The task has a deadline, which can end it while it runs.
pub(super) const DEADLINE: usize = 1 << 4;
/// The task was cancelled before it began.
const CANCELLED: usize = 1 << 5;
/// The task does not count towards the pool's queue capacity.
pub(super) const UNGATED: usize = 1 << 6;
/// The runner has moved the closure out. Set for tasks with a deadline only.
const TAKEN: usize = 1 << 7;
/// The task stands for several, which its closure adds to the pool's counts itself.
pub(super) const UNCOUNTED: usize = 1 << 8;
/// The deadline passed before the runner had moved the closure out. Set for tasks with a deadline only.
const EXPIRED: usize = 1 << 9;
/// The task was queued in the pool's injector, not in a thread's deque.
const IN_INJECTOR: usize = 1 << 10;
/// The task is a future.
pub(super) const FUTURE: usize = 1 << 11;
/// In the phase queued: the future waits for its waker and is in no queue. In the phase completing: the future is left for another thread to drop.
const SUSPENDED: usize = 1 << 12;
/// The phase of a future that is left, with the flag that tells it from others.
const LEFT: usize = COMPLETING | SUSPENDED;
/// Set in the phase running only: the waker was called during the poll.
const WOKEN: usize = 1 << 13;
/// In the phase running: the future is to be dropped after the poll, unless it is ready then. With a future that is left: a shutdown has ended it.
const STOPPED: usize = 1 << 14;
/// The future has been polled.
const POLLED: usize = 1 << 15;
/// A thread that joins the future wants to know when it is queued.
const JOINED: usize = 1 << 16;
/// One reference to the cell. Each queue entry (later the runner), the handle, the token and the timer own one each, and of a future each waker and the
/// [roster](crate::pool::Roster).
const ONE_REF: usize = 1 << 17;

/// The state word. See the [module documentation](self).
#[derive(Debug)]
pub(super) struct State(AtomicUsize);

/// The flags with which a task begins: any of [`HANDLE`], [`EXTRA`], [`DEADLINE`], [`UNGATED`], [`UNCOUNTED`] and [`FUTURE`], combined by `|`.
pub(super) type InitialFlags = usize;

/// What the runner does once it has written the outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum End {
    /// Nothing: the handle owns the outcome. A [consumed](RunnerRef::Consumed) reference is released.
    Handed,
    /// Drop the outcome and free the cell: nobody else refers to it.
    Alone,
    /// Call the callbacks, call [`State::finish`], then wake the waiters: the task is completing.
    Complete,
}

/// What happens to the reference through which a runner reaches the cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RunnerRef {
    /// The end of the run releases it.
    Consumed,
    /// It belongs to another owner, such as the handle, and stays.
    Retained,
}

/// What is to be done after a deadline has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum ExpireOutcome {
    /// Write the outcome: the task was in this state, and the cell holds the closure.
    Unready(Whereabouts),
    /// Write the outcome: the task was running, and its runner has the closure.
    Completing,
    /// Nothing: the runner is about to move the closure out, and then writes the outcome on behalf of the deadline.
    LeftToRunner,
    /// Nothing: the task has an outcome already.
    TooLate,
}

/// What is to be done after a poll that was not ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Suspend {
    /// Nothing: the task is suspended.
    Suspended,
    /// Queue the task, with the reference that this counts.
    Woken,
    /// Drop the future: the task was stopped during the poll, and still runs.
    Stopped,
    /// Run the task once more: its deadline has passed.
    Expired,
}

/// What is to be done about a future that ends from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Stop {
    /// Drop the future: the task was in this state, and is completing.
    Unready(Whereabouts),
    /// Nothing: the thread that polls the future drops it after the poll, unless it is ready then.
    LeftToRunner,
    /// Nothing: the task has ended.
    TooLate,
}

/// Where a task was that did not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whereabouts {
    /// In a queue. It has not begun.
    New,
    /// In a queue. It was polled before.
    Woken,
    /// In no queue.
    Suspended,
}

/// What a handle does when it is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Detach {
    /// Nothing: the thread that completes the task drops the outcome.
    Left,
    /// Drop the outcome, which is there; then release the reference.
    Outcome,
}

impl Whereabouts {
    fn of(word: usize) -> Self {
        match word & (SUSPENDED | POLLED) {
            0 => Whereabouts::New,
            POLLED => Whereabouts::Woken,
            _ => Whereabouts::Suspended,
        }
    }
}

impl State {
    pub(super) fn new(flags: InitialFlags) -> Self {
        let refs = 1 + usize::from(flags & HANDLE != 0);
        State(AtomicUsize::new((refs * ONE_REF) | QUEUED | flags))
    }

    fn load(&self) -> usize {
        // ORDERING: Acquire pairs with the Release of `end` and `finish`: a thread that reads the phase sees the outcome.
        self.0.load(Ordering::Acquire)
    }

    /// Replaces the word by what `change` returns, if that is `Some`. Returns the previous word, as an error if it was not replaced.
    fn update(&self, change: impl Fn(usize) -> Option<usize>) -> Result<usize, usize> {
        // ORDERING: AcqRel: Release publishes what the cell holds to the next reader of the phase; Acquire receives what the previous writer left.
        self.0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, change)
    }

    fn step(&self, from: usize, to: usize, flags: usize) -> bool {
        self.update(|word| {
            (word & (PHASE | SUSPENDED) == from).then_some((word & !PHASE) | to | flags)
        })
        .is_ok()
    }

    // ---- the questions ----

    /// Returns whether the task is in a queue and has not ended. A future may have begun.
    pub(super) fn is_queued(&self) -> bool {
        self.load() & (PHASE | SUSPENDED) == QUEUED
    }

    /// Returns whether the task is a future that waits for its waker.
    pub(super) fn is_suspended(&self) -> bool {
        self.load() & (PHASE | SUSPENDED) == SUSPENDED
    }

    /// Returns whether the task has begun and has not ended. A future begins with its first poll.
    pub(super) fn is_running(&self) -> bool {
        let word = self.load();
        word & PHASE == RUNNING || (word & PHASE == QUEUED && word & POLLED != 0)
    }

    pub(super) fn is_finished(&self) -> bool {
        self.load() & PHASE == FINISHED
    }

    /// Returns whether the task was cancelled. It may still be completing, and a future may become ready in the poll that is under way.
    pub(super) fn is_cancelled(&self) -> bool {
        self.load() & (CANCELLED | STOPPED) != 0
    }

    /// Returns whether the task is a future.
    #[inline]
    pub(super) fn is_future(&self) -> bool {
        // ORDERING: Relaxed: the flag is as old as the cell.
        self.0.load(Ordering::Relaxed) & FUTURE != 0
    }

    /// Returns whether the task counts towards the pool's queue capacity while it is queued.
    pub(super) fn is_gated(&self) -> bool {
        // ORDERING: Relaxed: the flag is as old as the cell.
        self.0.load(Ordering::Relaxed) & UNGATED == 0
    }

    /// Records that the task is about to be queued in the injector. Only the caller knows the task yet.
    pub(super) fn set_in_injector(&self) {
        // ORDERING: Relaxed: the queue publishes the task.
        let word = self.0.load(Ordering::Relaxed);
        self.0.store(word | IN_INJECTOR, Ordering::Relaxed);
    }

    /// Returns whether the task was queued in the injector.
    pub(super) fn is_in_injector(&self) -> bool {
        // ORDERING: Relaxed: the flag was set before another thread knew the task.
        self.0.load(Ordering::Relaxed) & IN_INJECTOR != 0
    }

    /// Returns whether the task counts as one in the pool's statistics.
    pub(super) fn is_counted(&self) -> bool {
        // ORDERING: Relaxed: the flag is as old as the cell.
        self.0.load(Ordering::Relaxed) & UNCOUNTED == 0
    }

    // ---- the runner ----

    /// Moves the task from queued to running. Returns false if it is no longer queued.
    #[inline]
    pub(super) fn claim(&self) -> bool {
        // ORDERING: Acquire pairs with the AcqRel of `detach`: the handle no longer uses the cell. The Acquire in `end` cannot stand in for this one, because it
        // reads what the store below has written, and a plain store does not continue the release sequence of `detach`.
        let seen = self.0.load(Ordering::Acquire);
        // No other thread reaches the word of a task with one reference and without a handle, a second block or a deadline.
        if seen & !IN_INJECTOR == ONE_REF | QUEUED {
            self.0.store(seen | RUNNING, Ordering::Relaxed);
            return true;
        }
        self.step(QUEUED, RUNNING, 0)
    }

    /// Returns whether the task has a deadline. If so, the runner calls [`State::begin_completing`] before it writes the outcome.
    #[inline]
    pub(super) fn is_timed(&self) -> bool {
        // ORDERING: Relaxed: the flag is as old as the cell.
        self.0.load(Ordering::Relaxed) & DEADLINE != 0
    }

    /// Records that the runner of a task with a deadline has moved the closure out: from now on the deadline may write the outcome. Returns whether the
    /// deadline has passed already; then the runner expires the task.
    #[must_use]
    pub(super) fn taken(&self) -> bool {
        // ORDERING: Release pairs with the Acquire in `expire`: the closure is gone before the deadline writes in its place.
        self.0.fetch_or(TAKEN, Ordering::AcqRel) & EXPIRED != 0
    }

    /// The deadline of a task has passed: moves the task to completing, or leaves that to the runner.
    ///
    /// It is one step, because a future goes from running back to queued: looked at in two steps, it could be in the other phase both times.
    pub(super) fn expire(&self) -> ExpireOutcome {
        let overtaken = self.update(|word| match (word & PHASE, word & TAKEN) {
            (QUEUED, _) => Some((word & !(PHASE | SUSPENDED)) | COMPLETING),
            (RUNNING, 0) => Some(word | EXPIRED),
            // A stop of a future comes too late from now on.
            (RUNNING, _) => Some((word & !(PHASE | STOPPED)) | COMPLETING),
            _ => None,
        });
        match overtaken {
            Ok(word) if word & PHASE == QUEUED => ExpireOutcome::Unready(Whereabouts::of(word)),
            Ok(word) if word & TAKEN == 0 => ExpireOutcome::LeftToRunner,
            Ok(_) => ExpireOutcome::Completing,
            Err(_) => ExpireOutcome::TooLate,
        }
    }

    /// Moves the task from running to completing, for the runner, which then writes the outcome. Returns false if the deadline was first.
    pub(super) fn begin_completing(&self) -> bool {
        self.step(RUNNING, COMPLETING, 0)
    }

    /// The runner has written the outcome. If there is a handle but no second block, the task becomes finished, and a consumed reference is released
    /// in the same step. Otherwise it becomes completing.
    #[inline]
    pub(super) fn end(&self, runner: RunnerRef) -> End {
        let released = match runner {
            // ORDERING: Acquire pairs with the AcqRel of `detach`: the handle no longer uses the cell.
            RunnerRef::Consumed
                if self.0.load(Ordering::Acquire) & !(IN_INJECTOR | FUTURE | POLLED)
                    == ONE_REF | RUNNING =>
            {
                return End::Alone;
            }
            RunnerRef::Consumed => ONE_REF,
            RunnerRef::Retained => 0,
        };
        let before = self.update(|word| {
            let rest = word & !PHASE;
            Some(if word & (HANDLE | EXTRA) == HANDLE {
                (rest | FINISHED) - released
            } else {
                rest | COMPLETING
            })
        });
        match before {
            Ok(word) if word & (HANDLE | EXTRA) == HANDLE => End::Handed,
            _ => End::Complete,
        }
    }

    // ---- cancel and deadline ----

    /// Moves the task from queued or suspended to completing, for a cancel. Returns `None` if it is neither.
    pub(super) fn claim_unrun(&self) -> Option<Whereabouts> {
        let ended = self.update(|word| {
            let rest = word & !(PHASE | SUSPENDED);
            (word & PHASE == QUEUED).then_some(rest | COMPLETING | CANCELLED)
        });
        ended.ok().map(Whereabouts::of)
    }

    // ---- futures ----

    /// Moves a future from queued to running. Returns whether this is its first poll, or `None` if it is not queued.
    pub(super) fn claim_poll(&self) -> Option<bool> {
        let claimed = self.update(|word| {
            (word & (PHASE | SUSPENDED) == QUEUED).then_some(word & !PHASE | RUNNING | POLLED)
        });
        claimed.ok().map(|word| word & POLLED == 0)
    }

    /// The future's waker was called. Returns whether the caller queues the task, in the injector if `in_injector`. The word then counts one more reference, for
    /// the entry, unless the caller gives away its own (`consumed`).
    pub(super) fn wake(&self, in_injector: bool, consumed: bool) -> bool {
        let (place, entry) = (
            if in_injector { IN_INJECTOR } else { 0 },
            if consumed { 0 } else { ONE_REF },
        );
        let woken = self.update(|word| match word & (PHASE | SUSPENDED) {
            SUSPENDED => Some((word & !(SUSPENDED | IN_INJECTOR) | place) + entry),
            RUNNING => Some(word | WOKEN),
            // The word is written unchanged: what the caller did before is visible to the poll that is still to come.
            QUEUED => Some(word),
            _ => None,
        });
        woken.is_ok_and(|word| word & (PHASE | SUSPENDED) == SUSPENDED)
    }

    /// Records that a thread wants to know when the future is queued. Called before that thread looks whether it is.
    pub(super) fn set_joined(&self) {
        // ORDERING: AcqRel: either the wake-up reads the flag, or the thread that sets it sees the wake-up.
        self.0.fetch_or(JOINED, Ordering::AcqRel);
    }

    /// Returns whether a thread wants to know when the future is queued. Called after the step that queues it.
    pub(super) fn is_joined(&self) -> bool {
        self.load() & JOINED != 0
    }

    /// Returns whether the future may have been woken during its poll.
    pub(super) fn is_woken(&self) -> bool {
        // ORDERING: Relaxed, a hint.
        self.0.load(Ordering::Relaxed) & WOKEN != 0
    }

    /// Returns whether the future that the current thread polls was woken during the poll and is to be polled again at once, which forgets the wake-up. A future that
    /// its deadline has ended is not.
    pub(super) fn repoll(&self) -> bool {
        let mask = PHASE | WOKEN | STOPPED | EXPIRED;
        self.update(|word| (word & mask == RUNNING | WOKEN).then_some(word & !WOKEN))
            .is_ok()
    }

    /// Ends a poll that was not ready. A consumed reference is released if the task is suspended, and becomes that of the queue entry if the task was woken. The
    /// caller queues that entry, in the injector if `in_injector`.
    pub(super) fn suspend(&self, runner: RunnerRef, in_injector: bool) -> Suspend {
        let consumed = runner == RunnerRef::Consumed;
        let place = if in_injector { IN_INJECTOR } else { 0 };
        let suspended = self.update(|word| {
            let rest = word & !(PHASE | WOKEN | IN_INJECTOR);
            match word & (STOPPED | EXPIRED | WOKEN) {
                0 if consumed => Some((rest | QUEUED | SUSPENDED) - ONE_REF),
                0 => Some(rest | QUEUED | SUSPENDED),
                WOKEN if consumed => Some(rest | QUEUED | place),
                WOKEN => Some((rest | QUEUED | place) + ONE_REF),
                _ => None,
            }
        });
        match suspended {
            Ok(word) if word & WOKEN == 0 => Suspend::Suspended,
            Ok(_) => Suspend::Woken,
            Err(word) if word & EXPIRED != 0 => Suspend::Expired,
            Err(_) => Suspend::Stopped,
        }
    }

    /// Ends a future from outside: moves it from queued or suspended to completing, or leaves it to the thread that polls it.
    pub(super) fn stop(&self) -> Stop {
        let before = self.update(|word| match word & PHASE {
            QUEUED => Some((word & !(PHASE | SUSPENDED)) | COMPLETING | CANCELLED),
            RUNNING => Some(word | STOPPED),
            _ => None,
        });
        match before {
            Err(_) => Stop::TooLate,
            Ok(word) if word & PHASE == RUNNING => Stop::LeftToRunner,
            Ok(word) => Stop::Unready(Whereabouts::of(word)),
        }
    }

    /// Leaves a future that the caller has stopped, and that was not ready, to the thread that [takes](Self::take_left) it.
    pub(super) fn leave(&self, is_shut_down: bool) {
        let stopped = if is_shut_down { STOPPED } else { 0 };
        // ORDERING: Relaxed: the release sequence of `stop` goes on. Of this and `set_joined`, which change the same word, the later one reads the other.
        self.0.fetch_or(SUSPENDED | stopped, Ordering::Relaxed);
    }

    /// Returns whether a thread that waits for the task can bring its end about: the task is queued, or is a future that is left.
    pub(super) fn is_to_run(&self) -> bool {
        matches!(self.load() & (PHASE | SUSPENDED), QUEUED | LEFT)
    }

    /// Returns whether the task is a future that is left.
    pub(super) fn is_left(&self) -> bool {
        self.load() & (PHASE | SUSPENDED) == LEFT
    }

    /// Takes a future that is left: the caller drops it. Returns whether a shutdown has ended it, or `None` if it is not left.
    pub(super) fn take_left(&self) -> Option<bool> {
        let taken = self.update(|word| {
            (word & (PHASE | SUSPENDED) == LEFT).then_some(word & !(SUSPENDED | STOPPED))
        });
        taken.ok().map(|word| word & STOPPED != 0)
    }

    /// The runner of a future with a deadline is about to put the future back into the cell. Returns false if the deadline has ended the task.
    pub(super) fn put_back(&self) -> bool {
        self.update(|word| (word & PHASE == RUNNING).then_some(word & !TAKEN))
            .is_ok()
    }

    /// The future is ready: a stop comes too late.
    pub(super) fn forget_stop(&self) {
        // ORDERING: Relaxed: the flag publishes nothing, and the caller is the runner.
        self.0.fetch_and(!STOPPED, Ordering::Relaxed);
    }

    /// Moves a stopped future from running to completing. Returns false if its deadline was first.
    pub(super) fn complete_stopped(&self) -> bool {
        self.update(|word| {
            let rest = word & !(PHASE | STOPPED | WOKEN);
            (word & PHASE == RUNNING).then_some(rest | COMPLETING | CANCELLED)
        })
        .is_ok()
    }

    // ---- the thread that completes the task ----

    /// Moves the task from completing to finished. Returns whether there is a handle; if not, the caller drops the outcome.
    pub(super) fn finish(&self) -> bool {
        let before = self.update(|word| Some((word & !PHASE) | FINISHED));
        before.is_ok_and(|word| word & HANDLE != 0)
    }

    /// [`finish`](Self::finish) for a task without callbacks and waiters. Returns `None`, and does not change the phase, if the task has a second block, which can hold some.
    pub(super) fn finish_plain(&self) -> Option<bool> {
        let before = self.update(|word| (word & EXTRA == 0).then_some((word & !PHASE) | FINISHED));
        before.ok().map(|word| word & HANDLE != 0)
    }

    // ---- the handle ----

    /// Records that the second block is about to hold callbacks or waiters. Returns false if the task has finished.
    ///
    /// The caller holds the lock of the second block, so that the thread that completes the task finds what the caller adds there.
    pub(super) fn add_extra(&self) -> bool {
        self.update(|word| (word & PHASE != FINISHED).then_some(word | EXTRA))
            .is_ok()
    }

    /// Removes the handle and its reference, unless the task has finished.
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
        // ORDERING: Relaxed: the caller owns a reference, so the count cannot reach zero.
        self.0.fetch_add(ONE_REF, Ordering::Relaxed);
    }

    /// Releases a reference. Returns whether it was the last one.
    #[inline]
    #[must_use]
    pub(super) fn release(&self) -> bool {
        // The last owner need not write the word. ORDERING: Acquire: the other owners no longer use the cell.
        if self.0.load(Ordering::Acquire) / ONE_REF == 1 {
            return true;
        }
        // ORDERING: AcqRel: each owner stops using the cell before the last one frees it.
        self.0.fetch_sub(ONE_REF, Ordering::AcqRel) / ONE_REF == 1
    }
}
