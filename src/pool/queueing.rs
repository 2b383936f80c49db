//! Queueing tasks from any thread, counting the queued ones, and removing them where no worker will run them.

use super::config::Priority;
use super::context::Member;
use super::injector;
use super::queue::Stealer;
use super::registry::Registry;
use super::slot::{Role, Slot};
use super::streams::StreamQueue;
use crate::counters::Counters;
use crate::job::{Fate, Task};
use crate::lineage::Origin;
use crate::sleep::Need;
use crate::sync::{Arc, Ordering};
use std::iter;

impl Registry {
    /// Queues a detached task: in the current thread's own deque if the thread is one of the pool's and the priority is normal, else in the injector.
    /// `here` is the member of this pool as which the current thread acts.
    #[inline]
    pub(crate) fn enqueue(&self, here: Option<Member<'_>>, task: Task, priority: Priority) {
        match here {
            Some(member) if priority == Priority::Normal && member.role() != Role::Guest => {
                member.push_detached(task);
            }
            _ => self.inject([task], priority),
        }
    }

    /// Queues detached tasks for any worker. Wakes one thread, which wakes the next when it finds more.
    pub(crate) fn inject(&self, tasks: impl IntoIterator<Item = Task>, priority: Priority) {
        for task in tasks {
            self.injector.push(task, priority);
        }
        self.injected();
    }

    /// Queues a future of normal priority that was woken outside of the pool's threads, or on one that is in the middle of forks.
    pub(crate) fn inject_woken(&self, future: Task) {
        self.injector.push_woken(future);
        self.injected();
    }

    /// Counts `blocks` more tombstones in the injector: their tasks have ended elsewhere. Removes them before they outnumber the live tasks,
    /// even if no worker takes anything.
    pub(crate) fn add_tombstones(&self, blocks: u64, is_tombstone: impl Fn(&Task) -> bool) {
        if self.injector.add_tombstones(blocks) {
            self.sweep_injector(is_tombstone);
        }
    }

    #[cold]
    pub(crate) fn sweep_injector(&self, is_tombstone: impl Fn(&Task) -> bool) {
        self.injector.sweep(is_tombstone);
        // The live tasks were in no queue for a moment.
        self.injected();
        self.after_put_back();
    }

    /// Counts `blocks` more tombstones that may be in the scope injector, and removes them before they outnumber the live tasks.
    #[cold]
    pub(crate) fn add_scope_tombstones(&self, blocks: u64, is_tombstone: impl Fn(&Task) -> bool) {
        let queue = &self.scope_injector;
        if self.scope_tombstones.add(blocks, queue.len()) {
            injector::sweep(queue, is_tombstone, |task| self.inject_scope_task(task));
        }
    }

    /// Moves the tasks of all slots but `own` to the injectors, as if a thief had taken them, and shows `is_tombstone` the tasks that are queued for any thread. Removes
    /// the tombstones, except among the items of streams. Some tasks are in no queue for a moment.
    pub(super) fn visit_queued_beside(&self, own: &Slot, is_tombstone: impl Fn(&Task) -> bool) {
        for slot in self.slots().filter(|slot| slot.id != own.id) {
            let some = |deque: &Stealer| -> Vec<Task> {
                let tasks = iter::from_fn(|| deque.steal());
                tasks.take(deque.len()).collect()
            };
            let detached = some(&slot.detached);
            if !detached.is_empty() {
                self.inject(detached, Priority::Normal);
            }
            let ready = some(&slot.ready).into_iter().chain(slot.hot.take());
            ready.for_each(|task| self.inject_woken(task));
            let scoped = some(&slot.tasks).into_iter();
            scoped.for_each(|task| self.inject_scope_task(task));
        }
        self.sweep_injector(&is_tombstone);
        injector::sweep(&self.scope_injector, &is_tombstone, |task| {
            self.inject_scope_task(task)
        });
        self.injector.streams.visit(&|task: &Task| {
            is_tombstone(task);
        });
    }

    /// Queues an item of a stream. `here` is the member of this pool as which the consumer acts.
    pub(crate) fn enqueue_item(&self, here: Option<Member<'_>>, queue: &StreamQueue, task: Task) {
        let (is_offered, is_near) = queue.push(task);
        let is_served = match (is_near, is_offered) {
            (false, _) => false,
            // The consumer is not a member, and leaves room for one thread fewer than the pool counts.
            (true, true) => {
                let counts = self.sleep.counts().with_guest();
                here.is_none() && !counts.wants(Need::Worker, self.sleep.target())
            }
            (true, false) => self.injector.streams.is_watched(),
        };
        if is_served {
            self.check_deserted();
        } else {
            self.injected();
        }
    }

    /// Whether an item of a stream that its consumer runs need not be queued before: no limit, shutdown or recording is to see it there.
    #[inline]
    pub(crate) fn may_skip_queues(&self) -> bool {
        !self.admission.is_bounded() && !self.admission.is_closed() && !self.recording.is_active()
    }

    /// Sees to it that a thread watches a stream whose consumer has just added a raw item.
    #[inline]
    pub(crate) fn added_raw(&self) {
        match self.injector.streams.is_watched() {
            true => self.check_deserted(),
            false => self.injected(),
        }
    }

    /// Finds a thread for the items of a stream, none of which is kept for the consumer any more.
    pub(crate) fn offer_items(&self, queue: &StreamQueue) {
        if !queue.is_empty() {
            self.injected();
        }
    }

    /// Finds a thread for what has just been pushed into the injector.
    fn injected(&self) {
        self.published(Need::Worker, Origin::ROOT);
        self.check_deserted();
    }

    /// Ends what was pushed into the injector of a pool that has no thread. The looks at `alive`, which a deserted pool has at zero, and at `retired` rely on a
    /// fence after the push, or on the lock of the stream's queue.
    fn check_deserted(&self) {
        if self.alive() == 0 {
            (self.upcalls.run_stranded)(self);
        }
        if self.retired.load(Ordering::Relaxed) {
            self.cancel_queued();
        }
    }

    /// Opens a queue for the items of a stream.
    pub(crate) fn open_stream(&self) -> Arc<StreamQueue> {
        self.check_fork();
        self.injector.streams.open()
    }

    /// Closes the queue of a stream, and drops what is left in it.
    pub(crate) fn close_stream(&self, queue: &Arc<StreamQueue>) {
        if self.forked() {
            // The lock may be held forever.
            return;
        }
        self.injector.streams.close(queue);
        if queue.take_owed_look() {
            self.wake_for_capacity();
        }
    }

    /// The number of detached tasks that wait in queues. Tombstones are not counted.
    pub(crate) fn queued(&self) -> usize {
        let removed = self.total(|counters| counters.tombstones_removed.get());
        let left = self.total(|counters| counters.tombstones.get());
        let own = |slot: &Slot| {
            slot.detached.len() + slot.ready.len() + usize::from(!slot.hot.is_empty())
        };
        let own: usize = self.slots().map(own).sum();
        let tombstones = usize::try_from(left.saturating_sub(removed)).unwrap_or(usize::MAX);
        (self.injector.len() + own).saturating_sub(tombstones)
    }

    /// The number of detached tasks that wait in queues, as far as that is known without a lock that another thread holds.
    pub(crate) fn try_queued(&self) -> usize {
        let (lens, streams) = self.injector.lens();
        let own = |slot: &Slot| slot.detached.len() + slot.ready.len();
        let own: usize = self.slots().map(own).sum();
        let removed = self.total(|counters| counters.tombstones_removed.get());
        let left = self.total(|counters| counters.tombstones.get());
        let tombstones = usize::try_from(left.saturating_sub(removed)).unwrap_or(usize::MAX);
        let entries = lens.iter().sum::<usize>() + streams.unwrap_or(0) + own;
        entries.saturating_sub(tombstones)
    }

    /// The number of things that have run in the pool.
    pub(crate) fn runs(&self) -> u64 {
        self.total(|counters| counters.executed.get())
    }

    /// The sum of a count over all slots and the threads outside.
    pub(super) fn total(&self, count: impl Fn(&Counters) -> u64) -> u64 {
        let slots = self.all_slots().map(|slot| &*slot.counters);
        slots.chain(self.outside.iter()).map(count).sum()
    }

    /// Drops the queued tasks that have not begun and the futures that are not ready. Returns their number.
    pub(crate) fn cancel_queued(&self) -> usize {
        // First, for those that put tasks back: see `after_put_back`.
        let suspended = self.roster.close();
        let deques = self.slots();
        let next = |slot: &Slot| {
            let ready = || slot.ready.steal().or_else(|| slot.hot.take());
            slot.detached.steal().or_else(ready)
        };
        let deques = deques.flat_map(|slot| iter::from_fn(move || next(slot)));
        let queued = iter::from_fn(|| self.injector.steal()).chain(deques);
        // Taken out before one is dropped, because a thread of the pool is asked to drop futures.
        let queued: Vec<Task> = queued.collect();
        let queued: usize = queued
            .into_iter()
            .map(|task| usize::from(task.resolve(Fate::Drop, None)))
            .sum();
        let suspended: usize = suspended
            .into_iter()
            .map(|task| usize::from(task.resolve(Fate::Evict, None)))
            .sum();
        queued + suspended
    }

    /// Called after tasks were put back that were in no queue for a moment. Drops them if the pool has dropped its queued tasks meanwhile.
    pub(crate) fn after_put_back(&self) {
        // Of this and `cancel_queued`, which takes the roster's lock before it looks into the queues, the later one sees what the other has done.
        if self.roster.is_closed() {
            let dropped = self.cancel_queued();
            (0..dropped).for_each(|_| self.roster.count_dropped());
        }
    }

    /// Queues a scope task in the scope injector, where its waiter finds it: a task that was spawned from outside, or that another waiter took
    /// and may not run. The task's own waiter may have looked for it while it was in no queue, and is woken to look again.
    pub(crate) fn inject_scope_task(&self, task: Task) {
        // Read before the push, after which the task and its group may be gone.
        let (waiter, origin) = (task.waiter(), task.origin());
        self.scope_injector.push(task);
        self.published(Need::Worker, origin);
        if let Some(waiter) = waiter {
            self.wake_for_task(waiter);
        }
    }

    /// Wakes the waiter of a task that was queued again and [`published`](Self::published), if it sleeps, so that it looks once more.
    pub(crate) fn wake_for_task(&self, waiter: usize) {
        // Store-load pair: {push; fence (in `published`); flag} here, {flag; heavy; look} in the scope's wait that parks.
        if self.slot(waiter).awaits_tasks() {
            self.wake(waiter);
        }
    }

    /// Whether the pool has no thread at the moment.
    pub(crate) fn is_deserted(&self) -> bool {
        if self.config.current_thread {
            // A current thread that sleeps in a wait counts neither as alive nor as awake, and still runs tasks later. A shutdown does not
            // wait for that.
            return self.alive() == 0 && self.admission.is_closed();
        }
        // A thread that is being started counts as awake before it is alive.
        self.alive() == 0 && self.sleep.counts().workers == 0
    }

    /// Runs the broadcast tasks of a worker that has no thread.
    pub(crate) fn run_inbox(&self, slot: &Slot) {
        while let Some(task) = slot.inbox.take() {
            self.run_broadcast_task(task);
        }
    }

    /// Runs a broadcast task on a thread that has left the pool, or never took part in it. Notifies the threads that wait for idleness.
    pub(super) fn run_broadcast_task(&self, task: Task) {
        task.resolve(Fate::Run, None);
        self.look_idle();
    }
}
