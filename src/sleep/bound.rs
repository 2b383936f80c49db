//! Guests, threads that park in the middle of a wait, and those of them that help meanwhile.

use super::Sleep;
use super::answers::Left;
use super::counts::{Counts, IDLE_AWAITED, Need, ONE_GUEST, ONE_SEARCHING, ONE_WORKER};
use crate::sync::Ordering;

impl Sleep {
    // ---- guests and bound waiters ----

    /// Counts in a guest.
    pub(crate) fn enter_guest(&self) {
        self.add(ONE_GUEST, 0);
    }

    /// Counts out a guest.
    #[inline]
    pub(crate) fn leave_guest(&self) -> Option<Left> {
        let before = self.add(0, ONE_GUEST);
        let (capacity, awaited) = (self.freed(before, ONE_GUEST), before & IDLE_AWAITED != 0);
        let after = Counts::unpack(before.wrapping_sub(ONE_GUEST), 0);
        (capacity || awaited).then(|| Left {
            workers: after.workers,
            is_last: after.workers + after.guests == 0,
            capacity,
            awaited,
        })
    }

    /// Counts out a thread that parks in the middle of a wait. Returns whether that makes room for a thread that can be had, as [`Left::capacity`]
    /// does.
    #[must_use]
    pub(crate) fn park_bound(&self, guest: bool) -> bool {
        let unit = unit(guest);
        self.freed(self.add(0, unit), unit)
    }

    /// Counts in a thread that resumes from a bound park.
    pub(crate) fn resume_bound(&self, guest: bool) {
        self.add(unit(guest), 0);
    }

    /// Whether a change of the word has made room, so that publishers can now get a thread. If there was room before as well, the thread that made
    /// that room has sent share requests to all rings, and there is no need to send them again.
    fn freed(&self, before: u64, unit: u64) -> bool {
        let (had, target) = (Counts::unpack(before, 0), self.target());
        if had.has_room(Need::Help, target) {
            // There was room for work of any kind.
            return false;
        }
        let after = self.unpack_after(before.wrapping_sub(unit));
        let new = |need| after.wants(need, target) && !had.has_room(need, target);
        new(Need::Help) || new(Need::Worker)
    }

    // ---- helpers ----

    /// Whether there are helpers, there is room, and no thread searches. A run that begins then leaves a share request at its own ring, so that its
    /// first push looks for a helper.
    #[inline]
    pub(crate) fn wants_helpers(&self) -> bool {
        self.awake.helpers.load(Ordering::Relaxed) > 0 && self.still_wanted(Need::Help)
    }

    /// Registers a thread that parks bound and can be woken for what it may run. Called after [`Sleep::park_bound`], and before the thread's final
    /// re-check.
    pub(crate) fn register_helper(&self) {
        // ORDERING: Relaxed: the parker's heavy fence follows, against the fence of a publisher.
        self.awake.helpers.fetch_add(1, Ordering::Relaxed);
    }

    /// Deregisters a helper that has woken by itself or was claimed.
    pub(crate) fn unregister_helper(&self) {
        self.awake.helpers.fetch_sub(1, Ordering::Relaxed);
    }

    /// Counts a helper, which parked as a guest or not, as awake and searching before it is woken. Returns `false` if it is no longer wanted.
    #[must_use]
    pub(crate) fn claim_helper(&self, guest: bool) -> bool {
        // ORDERING: AcqRel: publishers and the threads that change the word agree through it.
        let claimed = self
            .awake
            .word
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| {
                self.unpack(word)
                    .wants(Need::Help, self.target())
                    .then(|| word.wrapping_add(unit(guest) + ONE_SEARCHING))
            });
        claimed.is_ok()
    }

    /// Takes back the count of a claimed helper that has woken by itself. Other threads may have relied on it, so that the caller looks again, as
    /// after a search.
    pub(crate) fn unclaim_helper(&self, guest: bool) {
        self.add(0, unit(guest) + ONE_SEARCHING);
    }
}

/// The unit by which the word counts a guest, or else one of the pool's threads.
fn unit(guest: bool) -> u64 {
    if guest { ONE_GUEST } else { ONE_WORKER }
}
