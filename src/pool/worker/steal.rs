//! What a thread takes from others: in which order it looks, and what it may have.
//!
//! A free worker takes anything ([`steal_any`]). A thread that waits takes what descends from what it waits for, wherever that lies: forks by
//! [`steal_fork_below`], tasks by [`find_task`].

use super::{FORCE_ROUND, Work, waits_any};
use crate::job::{ForkHeader, Task};
use crate::lineage::Origin;
use crate::pool::registry::Registry;
use crate::pool::slot::Slot;
use crate::ring::{Ring, Steal};

/// All slots but the thief's own, from a random one on.
fn victims<'a>(registry: &'a Registry, slot: &'a Slot) -> impl Iterator<Item = &'a Slot> {
    let count = registry.num_slots();
    let first = slot.random() % count;
    (0..count)
        .map(move |n| registry.slot((first + n) % count))
        .filter(|victim| victim.id != slot.id)
}

// ---- anything ----

/// One look at everybody else's work: public forks, then tasks, then what is detached.
pub(super) fn steal_any(registry: &Registry, slot: &Slot, round: u32) -> Option<Work> {
    let fork = || {
        victims(registry, slot)
            .find_map(|victim| steal_fork(slot, victim, &|_| true, &|_| true, round))
    };
    let task = || {
        let task = victims(registry, slot).find_map(|victim| victim.tasks.steal())?;
        slot.counters.stolen.add(1);
        Some(Work::Task(task))
    };
    let stray = || registry.strays.steal().map(Work::Task);
    fork()
        .or_else(task)
        .or_else(stray)
        .or_else(|| steal_detached(registry, slot))
}

/// What only workers run: from the lanes, or from another worker's deque. Under `Waits::Any` the lanes come last, as rayon has it: what the
/// pool has begun is ended before anything else is begun.
pub(super) fn steal_detached(registry: &Registry, slot: &Slot) -> Option<Work> {
    let others = || {
        let others = registry.slots().filter(|victim| victim.id != slot.id);
        let mut stolen = others.filter_map(|victim| victim.detached.steal());
        stolen.next().inspect(|_| slot.counters.stolen.add(1))
    };
    let lane = || registry.lanes.steal_next();
    let task = if waits_any(registry) {
        others().or_else(lane)
    } else {
        lane().or_else(others)
    };
    task.or_else(|| registry.lanes.steal_last()).map(Work::Task)
}

// ---- one victim ----

/// Takes a fork whose place is `allowed` from a victim: what is public, else by asking the owner, if `asks` says yes for the place, else, after
/// some rounds, by force.
pub(super) fn steal_fork(
    slot: &Slot,
    victim: &Slot,
    allowed: &dyn Fn(usize) -> bool,
    asks: &dyn Fn(usize) -> bool,
    round: u32,
) -> Option<Work> {
    let ring: &Ring<ForkHeader> = &victim.ring;
    let mut found = ring.steal(allowed);
    if matches!(found, Steal::Empty) {
        if !ring.is_requested() {
            // The owner is at work, and writes the line that would tell whether it has anything.
            if asks(ring.top()) {
                ring.request();
            }
        } else if round >= FORCE_ROUND && ring.oldest().is_some_and(allowed) {
            slot.counters.forces.add(1);
            found = ring.force(allowed);
        }
    }
    match found {
        Steal::Item(job, index) => {
            slot.counters.stolen.add(1);
            // The place stays bound until this thread is done with the fork, and so does the run that made it.
            Some(Work::Fork(job, victim.place_at(index)))
        }
        Steal::Retry => {
            slot.counters.conflicts.add(1);
            None
        }
        Steal::Empty => None,
    }
}

// ---- what a wait may run ----

/// A fork that descends from `below`, from whoever has one. Owners whose forks do not are not disturbed.
pub(super) fn steal_fork_below(slot: &Slot, below: Origin, round: u32) -> Option<Work> {
    let registry = slot.registry();
    victims(registry, slot).find_map(|victim| {
        let allowed = |index| registry.descends(victim.origin_at(index), below);
        steal_fork(slot, victim, &allowed, &allowed, round)
    })
}

/// Whether anybody has a fork that descends from `below`.
pub(super) fn sees_fork_below(slot: &Slot, below: Origin) -> bool {
    let registry = slot.registry();
    victims(registry, slot)
        .filter_map(Slot::oldest_fork)
        .any(|origin| registry.descends(origin, below))
}

/// Takes a task that is `wanted` from the deque of another slot that is `likely` to have some, or from the strays. Other tasks that it meets become
/// strays, where their own waiters find them; after `most` of them in one place it goes on to the next.
pub(crate) fn find_task(
    slot: &Slot,
    wanted: impl Fn(&Task) -> bool,
    likely: impl Fn(&Slot) -> bool,
    most: usize,
) -> Option<Task> {
    let registry = slot.registry();
    for victim in victims(registry, slot) {
        if victim.tasks.len() == 0 || !likely(victim) {
            continue;
        }
        let mut unwanted = 0;
        while unwanted < most
            && let Some(task) = victim.tasks.steal()
        {
            if wanted(&task) {
                slot.counters.stolen.add(1);
                return Some(task);
            }
            registry.stray(task);
            unwanted += 1;
        }
    }
    for _ in 0..registry.strays.len().min(most) {
        let task = registry.strays.steal()?;
        if wanted(&task) {
            return Some(task);
        }
        registry.stray(task);
    }
    None
}
