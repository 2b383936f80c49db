//! Tasks that come from anywhere: into the queues, and out of them where no worker will come.

use super::Registry;
use crate::counters::Counters;
use crate::job::{Fate, Task};
use crate::lineage::Origin;
use crate::pool::lanes::Priority;
use crate::pool::slot::{Seat, Slot};
use crate::pool::worker;
use crate::sleep::Need;
use crate::sync::{Ordering, fence};

impl Registry {
    /// Queues a detached task: on a thread of the pool in its own deque, if nothing else is asked for. `slot`: the current thread's in this pool.
    #[inline]
    pub(crate) fn enqueue(&self, slot: Option<&Slot>, task: Task, priority: Priority) {
        match slot {
            Some(slot) if priority == Priority::Normal && slot.role() != Seat::Guest => {
                slot.push_detached(task);
            }
            _ => self.inject([task], priority),
        }
    }

    /// Queues detached tasks for any worker. One wake-up: whoever comes gets the next.
    pub(crate) fn inject(&self, tasks: impl IntoIterator<Item = Task>, priority: Priority) {
        for task in tasks {
            self.lanes.push(task, priority);
        }
        self.injected();
    }

    /// So many more blocks in the lanes may be dead. They go before they are more than what lives, though no worker comes by.
    pub(crate) fn bury(&self, blocks: u64, is_dead: impl Fn(&Task) -> bool) {
        if self.lanes.bury(blocks) {
            self.sweep_lanes(is_dead);
        }
    }

    #[cold]
    pub(crate) fn sweep_lanes(&self, is_dead: impl Fn(&Task) -> bool) {
        self.lanes.sweep(is_dead);
        // What lives was in no queue for a moment.
        self.injected();
    }

    /// After pushes into the lanes.
    pub(super) fn injected(&self) {
        // With its fence, which `run_stranded` and the look at `retired` rely on.
        self.published(Need::Worker, Origin::ROOT);
        self.run_stranded();
        if self.retired.load(Ordering::Relaxed) {
            self.cancel_queued();
        }
    }

    /// How many detached tasks wait in queues. What was cancelled there does not count, though its block is still in the queue.
    pub(crate) fn queued(&self) -> usize {
        let swept: u64 = self
            .counters()
            .map(|counters| counters.swept_up.get())
            .sum();
        let left: u64 = self
            .counters()
            .map(|counters| counters.left_behind.get())
            .sum();
        let own: usize = self.slots().map(|slot| slot.detached.len()).sum();
        let dead = usize::try_from(left.saturating_sub(swept)).unwrap_or(usize::MAX);
        (self.lanes.len() + own).saturating_sub(dead)
    }

    /// All there are, the one for events elsewhere too.
    pub(super) fn counters(&self) -> impl Iterator<Item = &Counters> {
        let slots = self.slots().map(|slot| &*slot.counters);
        slots.chain([&self.outside])
    }

    /// Drops what is queued and has not begun. Returns how much that was.
    pub(crate) fn cancel_queued(&self) -> usize {
        let mut dropped = 0;
        let mut drop_it = |task: Task| dropped += usize::from(task.resolve(Fate::Drop, None));
        while let Some(task) = self.lanes.steal() {
            drop_it(task);
        }
        for slot in self.slots() {
            while let Some(task) = slot.detached.steal() {
                drop_it(task);
            }
        }
        dropped
    }

    /// Queues a scope's task where its waiter will find it: one that a waiter has come across and may not run, or from outside.
    /// Its own waiter may have looked for it while it was in nobody's queue: then it looks again.
    pub(crate) fn stray(&self, task: Task) {
        // Before the push: afterwards the task, and its group, may be gone.
        let (waiter, origin) = (task.waiter(), task.origin());
        self.strays.push(task);
        self.published(Need::Worker, origin);
        if let Some(waiter) = waiter {
            self.wake_for_task(waiter);
        }
    }

    /// After a task was queued again, and [`published`](Self::published): its waiter looks for it once more, if it sleeps.
    pub(crate) fn wake_for_task(&self, waiter: usize) {
        // Dekker: {push; fence (in `published`); flag} here, {flag; heavy; look} in the scope's wait that parks.
        if self.slot(waiter).awaits_tasks() {
            self.wake(waiter);
        }
    }

    /// Whether the pool has no thread at the moment.
    pub(crate) fn is_deserted(&self) -> bool {
        if self.config.current_thread {
            // Asleep in a wait it counts neither alive nor awake, and yet it comes. A shutdown does not wait for that.
            return self.alive() == 0 && self.gate.is_closed();
        }
        // A thread that is just being started is counted awake before it is alive.
        self.alive() == 0 && self.sleep.counts().workers == 0
    }

    /// Runs detached tasks on the calling thread if the pool has no thread and can get none.
    pub(crate) fn run_stranded(&self) {
        // The caller has fenced, after its push or after its failure.
        let nobody = || self.is_deserted();
        let left = || {
            let in_deques = || self.slots().find_map(|slot| slot.detached.steal());
            self.lanes.steal().or_else(in_deques)
        };
        while nobody() && self.has_detached() {
            // Somebody else at it, or this thread further down, comes to what is queued now.
            let Ok(alone) = self.stranded.try_lock() else {
                return;
            };
            while nobody()
                && let Some(task) = left()
            {
                worker::as_guest(self, |slot| worker::run_task(slot, task));
            }
            drop(alone);
            // Dekker: {lock; fence; lanes} here, {lanes; fence; lock} with whoever found it taken.
            fence(Ordering::SeqCst);
        }
    }
}
