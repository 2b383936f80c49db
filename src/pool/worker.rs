//! A thread at work: what a free worker does next ([`work`]), how a wait is spent ([`wait`](self::wait::wait)), how threads park, how a guest comes and goes.

use super::context;
use super::registry::Registry;
use super::slot::Slot;
use crate::job::{Fate, ForkHeader, Task};
use crate::lineage::Place;
use crate::ring::Popped;
use crate::sleep::Need;
use crate::sync::{MODEL, now};
#[cfg(not(any(loom, shuttle)))]
use crate::sync::{spin_hint, yield_thread};
use crate::unwind;
use std::ptr::NonNull;
use std::time::Duration;

mod guest;
mod park;
mod spin;
mod steal;
mod wait;

pub(crate) use guest::{
    as_guest, as_part, current_index, home_index, is_pool_thread, on_deeper_ring, on_fresh_ring,
};
use park::sleep_free;
pub(crate) use steal::find_task;
use steal::{steal_any, steal_detached};
pub(crate) use wait::{
    Awaited, Event, Look, block, own_slot, run_strangers_task, wait, wait_stolen, waits_any,
    yield_local, yield_now,
};

/// How long a worker that found nothing keeps looking before it parks. A wake-up costs 7-17 us on the waker's side
/// and 17-90 us until the woken thread runs (measured 2026-11, 2 cores), so a gap shorter than that is better waited out.
const SEARCH_TIME: Duration = Duration::from_micros(50);

/// From which round of unanswered requests a thief forces: about 1 us after the first.
const FORCE_ROUND: u32 = if MODEL { 1 } else { 5 };

/// Something to run, already taken.
enum Work {
    /// A fork, and the place that it was taken from.
    Fork(NonNull<ForkHeader>, Place),
    Task(Task),
}

// ---- running ----

#[inline]
fn run(slot: &Slot, work: Work) {
    match work {
        Work::Fork(job, place) => run_fork(slot, job, place),
        Work::Task(task) => run_task(slot, task),
    }
}

/// Runs a stolen fork.
#[inline(never)]
fn run_fork(slot: &Slot, job: NonNull<ForkHeader>, place: Place) {
    slot.counters.executed.add(1);
    let victim = slot.registry().slot(place.slot());
    let run = slot.begin(victim.lineage.origin(place));
    // SAFETY: `job` was stolen by this thread and is run here, once.
    let waiter = unsafe { ForkHeader::execute(job, slot.id) };
    drop(run);
    if let Some(waiter) = waiter {
        slot.registry().wake(waiter);
    }
}

/// Runs a task taken from a queue.
#[inline]
pub(crate) fn run_task(slot: &Slot, task: Task) {
    let run = slot.begin(task.origin());
    run_in_place(slot, task);
    drop(run);
}

/// Runs a task as a part of what runs already, which waits for it.
#[inline]
pub(crate) fn run_in_place(slot: &Slot, task: Task) {
    slot.counters.executed.add(1);
    task.resolve(Fate::Run, Some(slot.blocks()));
}

// ---- a free worker ----

/// The loop of a pool thread. It begins counted awake and searching.
pub(super) fn work(registry: &Registry, slot: &Slot) {
    let _context = context::enter(slot);
    let mut searching = true;
    while let Some(work) = next(registry, slot, &mut searching) {
        if slot.counters.busy_since_ns.get() == 0 {
            slot.counters.busy_since_ns.set(registry.now_ns());
        }
        run(slot, work);
    }
    // From here on the slot may be another thread's, who was started for the same index.
}

fn end_busy(registry: &Registry, slot: &Slot) {
    let since = slot.counters.busy_since_ns.get();
    if since != 0 {
        slot.counters
            .busy_ns
            .add(registry.now_ns().saturating_sub(since));
        slot.counters.busy_since_ns.set(0);
    }
}

/// The next work of a free worker, whatever it is. None: the pool closes and nothing is left.
fn next(registry: &Registry, slot: &Slot, searching: &mut bool) -> Option<Work> {
    loop {
        // The pool became smaller: others come to what lies here, but for the mail.
        if registry.sleep.is_surplus(slot.seat.worker()) && slot.mail().is_empty() {
            end_busy(registry, slot);
            if !std::mem::replace(searching, true) {
                registry.sleep.search();
            }
            if !sleep_free(registry, slot) {
                return None;
            }
            continue;
        }
        let work = own_work(registry, slot).or_else(|| {
            if registry.sleep.overcommitted() {
                // One too many: only what nobody else would run.
                (registry.sleep.counts().workers <= 1)
                    .then(|| steal_detached(registry, slot))
                    .flatten()
            } else {
                next_in_lane(registry, slot).or_else(|| steal_any(registry, slot, 0))
            }
        });
        if let Some(work) = work {
            if std::mem::take(searching) {
                registry.pass_on();
            }
            return Some(work);
        }
        end_busy(registry, slot);
        let others = if std::mem::replace(searching, true) {
            registry.sleep.counts().searching.saturating_sub(1)
        } else {
            registry.sleep.search()
        };
        if let Some(work) = search(registry, slot, others) {
            *searching = false;
            registry.pass_on();
            return Some(work);
        }
        if !sleep_free(registry, slot) {
            return None;
        }
    }
}

/// Mail, what comes before all else, the own deques. Under `Waits::Any` the mail comes last, as rayon has it: a broadcast then is
/// a sign that what its worker had queued before has been begun.
fn own_work(registry: &Registry, slot: &Slot) -> Option<Work> {
    let any = waits_any(registry);
    if !any && let Some(letter) = slot.mail().take() {
        return Some(Work::Task(letter));
    }
    let first = registry.lanes.steal_first(slot.turn());
    let task = first.or_else(|| slot.pop_task().or_else(|| slot.pop_detached()));
    let task = task.or_else(|| any.then(|| slot.mail().take()).flatten());
    task.map(Work::Task)
}

/// While there are tasks in the lanes a worker looks at what others have only now and then: a look at every ring for each small
/// task costs more than the task. Not so under `Waits::Any`: see [`steal_detached`].
const RAID_TURN: u32 = 8;

fn next_in_lane(registry: &Registry, slot: &Slot) -> Option<Work> {
    let raids = waits_any(registry) || slot.turns().is_multiple_of(RAID_TURN);
    let task = (!raids).then(|| registry.lanes.steal_next());
    task.flatten().map(Work::Task)
}

/// Keeps looking for a while. Only one searcher spins: with `others` about, one round is enough.
fn search(registry: &Registry, slot: &Slot, others: usize) -> Option<Work> {
    let start = now();
    let mut round = 1;
    loop {
        if registry.sleep.overcommitted() {
            return None;
        }
        if let Some(work) = own_work(registry, slot).or_else(|| steal_any(registry, slot, round)) {
            return Some(work);
        }
        if others > 0 && round > FORCE_ROUND {
            return None;
        }
        if round == 1 && slot.has_slept() {
            give_way();
        }
        pause(round);
        round += 1;
        if MODEL || (round > FORCE_ROUND && start.elapsed() > SEARCH_TIME) {
            return None;
        }
    }
}

/// A thread that was woken for little often stands on its waker's core, who waits for what it has done.
fn give_way() {
    #[cfg(not(any(loom, shuttle)))]
    yield_thread();
}

/// Longer with each round, up to about a microsecond. It does not yield: where others are ready the core is gone for a whole slice, some
/// milliseconds, while everybody else counts this thread as awake. Who waits for longer sleeps, and is woken ahead of those.
#[cfg(not(any(loom, shuttle)))]
fn pause(round: u32) {
    for _ in 0..1 << round.min(5) {
        spin_hint();
    }
}

/// A model has no time to pass: it tries each order of events anyway, but none in which a thread that yields goes on before
/// another one. Only an interrupt that is due is taken, since the caller may be in a loop without a fence.
#[cfg(any(loom, shuttle))]
fn pause(_: u32) {
    crate::barrier::light();
}

// ---- attention ----

impl Slot {
    /// Owner: ran somebody's task in the middle of something else, and may go on with that for long before it is free or leaves.
    #[inline]
    pub(crate) fn helped(&self) {
        // In a task the pool is not idle anyway.
        if !self.running.is_some() {
            self.registry().look_idle();
        }
    }

    /// Owner: somebody asked for attention: give thieves something, and get one if they sleep.
    #[cold]
    pub(crate) fn attend(&self, need: Need) {
        self.counters.attentions.add(1);
        self.ring.attend();
        let registry = self.registry();
        registry.published(need, self.lineage.innermost());
        if need == Need::Worker && registry.sleep.wants_helpers() {
            // The request was answered for a task that no helper may run: the next push is looked at all the same.
            self.ring.request();
        }
    }
}

/// What became of a push that was due for attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attended {
    Pushed,
    /// The ring was full: the item is not in it.
    Full,
}

/// Owner: the push at `index` was due for attention.
#[cold]
#[inline(never)]
pub(crate) fn attend_push(index: usize) -> Attended {
    let slot = own_slot();
    if slot.registry().forked() {
        // Nobody can have stolen it: there are no threads.
        let _ = slot.ring.pop(index);
        slot.registry().check_fork();
    }
    if index == crate::ring::CAPACITY && slot.ring.pop(index) == Popped::Ours {
        return Attended::Full;
    }
    // The ring points into the caller's frame: nothing may unwind from here.
    let guard = unwind::AbortOnUnwind("a wake-up panicked");
    slot.attend(Need::Help);
    std::mem::forget(guard);
    Attended::Pushed
}
