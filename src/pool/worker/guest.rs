//! How a guest comes and goes.

use crate::pool::context;
use crate::pool::registry::Registry;
use crate::pool::slot::{Seat, Slot};
use crate::ring::CAPACITY;

/// Runs `f` on this thread as a part of the pool: from the slot that it has there, or from a guest's.
#[inline]
pub(crate) fn as_part<R>(registry: &Registry, f: impl FnOnce(&Slot) -> R) -> R {
    match context::slot() {
        Some(slot) if std::ptr::eq(slot.registry(), registry) => f(slot),
        _ => as_guest(registry, f),
    }
}

/// Runs `f` on this thread from a guest slot.
pub(crate) fn as_guest<R>(registry: &Registry, f: impl FnOnce(&Slot) -> R) -> R {
    registry.check_fork();
    let guest = Guest::enter(registry);
    let _context = context::enter(guest.slot);
    f(guest.slot)
}

/// Runs `f` from another slot of the same pool, as a part of what runs on this one: for joins deeper than a ring.
#[inline(always)]
pub(crate) fn on_deeper_ring<R>(slot: &Slot, f: impl FnOnce(&Slot) -> R) -> R {
    on_another_ring::<R, true>(slot, f)
}

/// Runs `f` from another slot of the same pool: for unrelated work, which descends from nothing that runs on this one.
#[inline(always)]
pub(crate) fn on_fresh_ring<R>(slot: &Slot, f: impl FnOnce(&Slot) -> R) -> R {
    on_another_ring::<R, false>(slot, f)
}

#[cold]
fn on_another_ring<R, const IS_DEEPER: bool>(slot: &Slot, f: impl FnOnce(&Slot) -> R) -> R {
    let registry = slot.registry();
    let fresh = FreshRing {
        slot: registry.acquire_guest(),
        registry,
    };
    fresh.slot.set_role(slot.role());
    let _context = context::enter(fresh.slot);
    let _run = IS_DEEPER.then(|| fresh.slot.begin(slot.origin_of(CAPACITY)));
    f(fresh.slot)
}

struct FreshRing<'a> {
    registry: &'a Registry,
    slot: &'a Slot,
}

impl Drop for FreshRing<'_> {
    fn drop(&mut self) {
        self.registry.release_guest(self.slot);
    }
}

/// A thread from outside, as long as it takes part.
struct Guest<'a> {
    registry: &'a Registry,
    slot: &'a Slot,
}

impl<'a> Guest<'a> {
    fn enter(registry: &'a Registry) -> Self {
        let slot = registry.acquire_guest();
        slot.set_role(Seat::Guest);
        registry.sleep.enter_guest();
        Guest { registry, slot }
    }
}

impl Drop for Guest<'_> {
    fn drop(&mut self) {
        debug_assert_eq!(self.slot.ring.depth(), 0, "a guest left forks behind");
        if self.registry.forked() {
            // In the middle of the call the process was forked: in the child nobody waits, and locks may be taken for ever.
            return;
        }
        self.registry.release_guest(self.slot);
        let left = self.registry.sleep.leave_guest();
        if left.vacancy {
            leave_vacancy(self.registry);
        }
        if left.awaited {
            self.registry.tell_idle_waiters();
        }
    }
}

/// Where nobody else is awake, nobody pushes forks, and those of threads that have parked are visible by the word: no heavy fence.
fn leave_vacancy(registry: &Registry) {
    let counts = registry.sleep.counts();
    if counts.workers + counts.guests > 0 {
        registry.fill_vacancy();
    } else {
        registry.fill_quiet_vacancy();
    }
}

/// Whether the current thread is one of the pool's own, from wherever it acts at the moment.
pub(crate) fn is_pool_thread(registry: &Registry) -> bool {
    context::home_in(registry).is_some()
}

/// Which worker of this pool the current thread is, from wherever it acts at the moment.
pub(crate) fn home_index(registry: &Registry) -> Option<usize> {
    context::home_in(registry)?.seat.worker()
}

/// Which worker the current thread is.
pub(crate) fn current_index() -> Option<usize> {
    context::slot()?.role().worker()
}
