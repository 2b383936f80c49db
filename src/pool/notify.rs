//! Waking and starting threads for published work.

use super::backoff::note_wake;
use super::config::Waits;
use super::registry::Registry;
use super::slot::{Helping, Role, Slot};
use crate::lineage::{self, Origin};
use crate::record::Entry;
use crate::sleep::{Need, Wakeup};
use crate::sync::{MODEL, Ordering, fence};
use crate::{barrier, ring};

impl Registry {
    /// Finds a thread for work that descends from `origin` and has just been made visible, if a thread is wanted.
    #[inline]
    pub(crate) fn published(&self, need: Need, origin: Origin) {
        let wakeup = self.sleep.published(need);
        if wakeup != Wakeup::None {
            self.dispatch_to(wakeup, || self.helper_above(origin));
        }
    }

    /// Ends the search of a thread that has found something, or that is not allowed to take what it has seen. If there is more work, another
    /// thread continues the search.
    pub(crate) fn hand_off_search(&self) {
        let wakeup = self.sleep.end_search_found(|| {
            self.request_all();
            self.look(None)
        });
        match wakeup {
            // A helper can run only some work. If no helper can run any of the visible work, this thread makes all work visible by a heavy fence, and
            // looks for a helper once more.
            Wakeup::Helper { .. } if self.visible_helper().is_none() => {
                self.request_all_and_fence();
                self.dispatch(wakeup);
            }
            // The searcher can be a guest, on which the last worker relied when it parked, and which may not run detached tasks.
            Wakeup::None
                if self.sleep.counts().workers == 0 && self.sleep.still_wanted(Need::Worker) =>
            {
                self.wake_for_capacity();
            }
            _ => self.dispatch(wakeup),
        }
    }

    /// Ends the search of a thread that has something else to do first. If there is work, another thread searches.
    pub(crate) fn stop_searching(&self) {
        if self.sleep.stop_searching() && !self.wake_for_capacity() {
            // The kernel has refused the heavy fence, so the look may have missed work.
            self.dispatch(self.sleep.claim_thread(Need::Help));
        }
    }

    /// Finds a thread for a woken future if all workers that are awake are in the middle of forks, and would look for it only after them. More threads are awake
    /// then than the pool wants. The one that was found parks when it sees no woken future and there are still too many.
    ///
    /// Called after the future was queued, by a thread that has parked, and by an owner that answers a share request.
    pub(crate) fn attend_futures(&self) {
        if MODEL || !self.roster.is_used() || self.forked() || self.config.waits == Waits::Any {
            return;
        }
        let is_needed = || {
            if !self.injector.has_urgent() {
                return false;
            }
            let (awake, mut in_forks) = (self.sleep.counts().workers, 0);
            for slot in self.slots().filter(|slot| slot.kind != Role::Guest) {
                if slot.is_in_forks() {
                    in_forks += 1;
                } else {
                    // If the owner forks before it looks for the future, it calls this function.
                    slot.ring.request();
                }
            }
            in_forks >= awake
        };
        self.dispatch(self.sleep.claim_extra(is_needed));
    }

    /// Wakes or starts a claimed thread. Where a helper is wanted, any helper that may run visible work will do.
    pub(crate) fn dispatch(&self, wakeup: Wakeup) {
        self.dispatch_to(wakeup, || self.visible_helper());
    }

    /// Wakes or starts a claimed thread. Where a helper is wanted, `find` selects it.
    fn dispatch_to<'a>(
        &'a self,
        wakeup: Wakeup,
        find: impl FnOnce() -> Option<(&'a Slot, Helping)>,
    ) {
        match wakeup {
            Wakeup::None => {}
            Wakeup::Unpark(slot) => self.wake(slot),
            // If a start fails, the publisher goes on: the failure is counted, and the next publisher tries again.
            Wakeup::StartWorker(index) => drop((self.upcalls.start)(self, Role::Worker(index))),
            Wakeup::StartSpare => drop((self.upcalls.start)(self, Role::Spare)),
            Wakeup::Helper { or_spare } => match find() {
                Some((helper, helping)) if self.rouse(helper, helping) => {}
                // Other threads may have relied on the claimed helper, so this one looks again, as after a search.
                Some(_) => {
                    self.wake_for_capacity();
                }
                None if or_spare => self.dispatch(self.sleep.claim_spare()),
                None => {}
            },
        }
    }

    // ---- helpers ----

    /// Wakes a helper, unless that is no longer wanted. Returns `false` if the helper woke by itself after it had been counted; its count is
    /// then taken back.
    fn rouse(&self, helper: &Slot, helping: Helping) -> bool {
        if !self.sleep.claim_helper(helping.is_guest()) {
            return true;
        }
        let claimed = helper.claim_help(helping);
        if claimed {
            self.sleep.unregister_helper();
            self.wake(helper.id);
        } else {
            self.sleep.unclaim_helper(helping.is_guest());
        }
        claimed
    }

    /// Whether `origin` is `ancestor` or descends from it.
    pub(crate) fn descends(&self, origin: Origin, ancestor: Origin) -> bool {
        lineage::descends(origin, ancestor, |id| Some(&*self.slots.get(id)?.lineage))
    }

    /// The origin and all origins from which it descends, the nearest first.
    pub(crate) fn ancestors(&self, origin: Origin) -> impl Iterator<Item = Origin> {
        lineage::ancestors(origin, |id| Some(&*self.slots.get(id)?.lineage))
    }

    /// A parked thread that may run what descends from `origin`.
    fn helper_above(&self, origin: Origin) -> Option<(&Slot, Helping)> {
        let lineage = |id| Some(&*self.slots.get(id)?.lineage);
        lineage::ancestors(origin, lineage).find_map(|origin| {
            let place = origin.place()?;
            let slot = self.slots.get(place.slot())?;
            Some((slot, slot.helps(place)?))
        })
    }

    /// A parked thread that may run some of the work in rings and deques.
    fn visible_helper(&self) -> Option<(&Slot, Helping)> {
        self.slots().find_map(|slot| {
            let fork = || self.helper_above(slot.oldest_fork()?);
            let task = || {
                let any = slot.tasks.len() > 0;
                self.helper_above(any.then(|| slot.lineage.innermost())?)
            };
            fork().or_else(task)
        })
    }

    /// Wakes the thread of a slot, whatever it waits for.
    pub(crate) fn wake(&self, slot: usize) {
        self.count(|counters| &counters.wakeups, 1);
        self.record(Entry::Wake { whom: slot as u32 });
        self.slot(slot).parker.unpark();
        note_wake();
    }

    /// Wakes the threads of these slots.
    pub(super) fn wake_all(&self, slots: Vec<usize>) {
        slots.into_iter().for_each(|slot| self.wake(slot));
    }

    /// Wakes the threads that wait in order to leave a closing pool together with one that has left or has not started.
    pub(super) fn wake_leavers(&self) {
        self.wake_all(self.sleep.departed());
    }

    /// Counts a thread that starts (`one` is 1) or ends (`one` is `usize::MAX`).
    pub(super) fn count_alive(&self, role: Role, one: usize) {
        // ORDERING: Relaxed: counts that publish nothing.
        self.alive.fetch_add(one, Ordering::Relaxed);
        if role == Role::Spare {
            self.spares.fetch_add(one, Ordering::Relaxed);
        }
    }

    pub(crate) fn alive_spares(&self) -> usize {
        self.spares.load(Ordering::Relaxed)
    }

    pub(crate) fn alive(&self) -> usize {
        self.alive.load(Ordering::Relaxed)
    }

    /// Makes the final re-check: asks the owner of each ring to look for sleepers at its next push, then looks at all work. Forks of the slot
    /// `left_alone` do not count.
    ///
    /// The caller has changed the sleep word just before. [`Unordered`] means that the kernel has refused the heavy fence, so that the caller must
    /// not sleep without a time limit.
    pub(crate) fn final_recheck(
        &self,
        left_alone: Option<&Slot>,
    ) -> Result<Option<Need>, Unordered> {
        self.recheck(left_alone, || self.heavy())
    }

    fn recheck(
        &self,
        left_alone: Option<&Slot>,
        heavy: impl FnOnce() -> bool,
    ) -> Result<Option<Need>, Unordered> {
        let rings = || self.slots().map(|slot| &*slot.ring);
        let version = || self.slots.version();
        let ordered = self.announcements.announce(version, rings, heavy);
        match self.look(left_alone) {
            None if !ordered => Err(Unordered),
            seen => Ok(seen),
        }
    }

    /// Asks the owner of each ring to look for sleepers at its next push, and executes a heavy fence. What other threads did before is visible when
    /// this returns, not only in the rings. Returns `false` if the kernel has refused the fence.
    pub(crate) fn request_all_and_fence(&self) -> bool {
        self.request_all();
        self.heavy()
    }

    fn heavy(&self) -> bool {
        self.count(|counters| &counters.barriers, 1);
        barrier::heavy()
    }

    pub(super) fn request_all(&self) {
        ring::request_all(|| self.slots().map(|slot| &*slot.ring));
    }

    /// Looks at all work, except the forks of the slot `left_alone`.
    pub(super) fn look(&self, left_alone: Option<&Slot>) -> Option<Need> {
        let has_help = |slot: &Slot| match left_alone {
            Some(other) if other.id == slot.id => slot.tasks.len() > 0,
            _ => slot.has_help(),
        };
        // A task in the scope injector needs a worker, since its scope may have no owner in the pool.
        if !self.injector.offers_none(&self.sleep) || !self.scope_injector.is_empty() {
            return Some(Need::Worker);
        }
        let (used, mut need) = (self.roster.is_used(), None);
        for slot in self.slots() {
            if slot.has_detached(used) {
                return Some(Need::Worker);
            }
            if has_help(slot) {
                need = Some(Need::Help);
            }
        }
        need
    }

    /// Finds a thread for any work after a guest has left, which makes room for one.
    ///
    /// Guests can come and go at a high rate while others push. Beyond a budget of heavy fences, a worker is woken instead: while it searches no
    /// other thread has to look, and it makes the final re-check when it parks.
    pub(super) fn guest_left(&self, is_last: bool) {
        if is_last {
            // No heavy fence is needed. No thread was awake when the guest left, so none pushed forks, and each parked thread has changed the sleep
            // word when it parked, so its forks are visible to this thread, which has changed the word since and fences now. A guest that enters
            // later takes the only room, since the pool has one thread: with more there was room before.
            // ORDERING: pairs with the fence in `published`.
            fence(Ordering::SeqCst);
            return self.wake_for_visible_work();
        }
        let mut is_spent = false;
        let seen = self.recheck(None, || {
            is_spent = self.sleep.counts().available > 0 && !self.exits.take();
            !is_spent && self.heavy()
        });
        let wakeup = match seen {
            // There may be more than what is visible.
            _ if is_spent => self.sleep.claim_thread_for(Need::Worker),
            Ok(Some(need)) => self.sleep.claim_thread_for(need),
            Ok(None) | Err(Unordered) => return,
        };
        match wakeup {
            // A helper is woken for visible work only.
            Wakeup::Helper { .. } if is_spent => {
                self.wake_for_capacity();
            }
            wakeup => self.dispatch(wakeup),
        }
    }

    /// Whether there is a task that only a worker will run.
    pub(super) fn has_detached(&self) -> bool {
        let used = self.roster.is_used();
        !self.injector.offers_none(&self.sleep) || self.slots().any(|slot| slot.has_detached(used))
    }

    /// Finds a thread for work that is already visible, after room was made.
    pub(crate) fn wake_for_visible_work(&self) {
        if let Some(need) = self.look(None) {
            self.dispatch(self.sleep.claim_thread_for(need));
        }
    }

    /// Finds a thread for any work after room was made while no thread searches. Returns `false` if it saw no work and the kernel has refused the
    /// heavy fence.
    pub(crate) fn wake_for_capacity(&self) -> bool {
        let seen = self.final_recheck(None);
        if let Ok(Some(need)) = seen {
            self.dispatch(self.sleep.claim_thread_for(need));
        }
        seen.is_ok()
    }
}

/// The kernel refused a heavy fence.
#[derive(Debug)]
pub(crate) struct Unordered;
