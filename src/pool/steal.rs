//! What a thread takes from others, and in which order it looks.
//!
//! A free worker takes anything ([`steal_any`]). A thread that waits takes what descends from what it waits for, wherever that is: forks
//! by [`steal_fork_below`], tasks by [`find_task`]. The order of the sources depends on the pool's [`Waits`]. Each function where it does has a
//! `match`:
//!
//! | | [`Waits::Own`] | [`Waits::Any`], as in rayon |
//! |---|---|---|
//! | [`own_work`] | inbox, first in the injector, the thread's own deques | first in the injector, the thread's own deques, inbox |
//! | [`steal_detached`] | injector, deques of others | deques of others, injector |
//! | [`next_in_injector`] | injector, in most searches | nothing |
//! | [`find_any`], only called under `Any` or by a yield | its own deques, all others | its own deques, all others, its own forks |
//!
//! First in the injector are the tasks of high priority. In four of every 128 searches something else comes before them: in one
//! search the queue of normal tasks, in one the woken futures, in one the items of the streams, and in one the queue of low priority. In four
//! others the scope tasks that are in no deque come before the thread's own.
//!
//! Under `Any` the pool ends what it has begun before it begins anything else, so that the injector comes late. A broadcast task then shows
//! that what its worker had queued before has begun, so that the inbox comes late too.

use super::backoff::patience;
use super::config::Waits;
use super::context::{self, Member};
use super::injector::is_turn_of_scopes;
use super::queue::Stealer;
use super::registry::Registry;
use super::slot::Slot;
use super::work::Work;
use crate::job::{ForkHeader, Task};
use crate::lineage::Origin;
use crate::ring::{Ring, Steal};
use crate::sleep::Need;
use crate::sync::MODEL;
use crate::sys::{TICKS_PER_MICROSECOND, ticks};
use std::sync::atomic::Ordering;

/// Whether a wait in this pool may run anything.
pub(crate) fn waits_any(registry: &Registry) -> bool {
    registry.config.waits == Waits::Any
}

/// The slots of others in which a search looks, beginning at a random place. They may not be all that hold work.
fn victims<'a>(member: Member<'a>) -> impl Iterator<Item = &'a Slot> {
    let slots = member.registry.slots.active(member.random());
    slots.filter(move |victim| victim.id != member.id)
}

/// The slots of others that can hold work, beginning at a random place.
fn others<'a>(member: Member<'a>) -> impl Iterator<Item = &'a Slot> {
    let slots = member.registry.slots.used(member.random());
    slots.filter(move |other| other.id != member.id)
}

// ---- anything ----

/// Looks once at the work of all others: forks and scope tasks, then detached tasks. Private forks are taken only if `may_force`.
pub(super) fn steal_any(member: Member<'_>, may_force: bool) -> Option<Work> {
    let (used, mut has_detached) = (member.registry.roster.is_used(), false);
    let found = victims(member).find_map(|victim| {
        has_detached |= victim.detached.len() > 0 || (used && victim.ready.len() > 0);
        steal_fork(member, victim, &|_| true, &|_| true, may_force)
            .or_else(|| steal_task(member, &victim.tasks).map(Work::task))
    });
    found
        .or_else(|| steal_scope_task(member))
        .or_else(|| steal_detached_if(member, has_detached))
}

/// Whether there may be more that [`steal_any`] could take.
pub(super) fn sees_any(member: Member<'_>) -> bool {
    !member.registry.injector.offers_none(&member.registry.sleep)
        || victims(member).any(Slot::has_work)
}

/// Takes the oldest task of another slot's deque.
fn steal_task(member: Member<'_>, deque: &Stealer) -> Option<Task> {
    deque.steal().inspect(|_| member.counters.stolen.add(1))
}

/// Takes the oldest future that is ready on another slot, and some more for this thread's own slot.
fn steal_ready(member: Member<'_>, worthwhile: bool) -> Option<Task> {
    if !worthwhile || !member.registry.roster.is_used() {
        return None;
    }
    let mut victims = victims(member);
    let task = if member.is_at_home() {
        victims.find_map(|victim| member.steal_ready(victim))
    } else {
        victims.find_map(|victim| victim.ready.steal())
    };
    task.inspect(|_| member.counters.stolen.add(1))
}

/// Takes a scope task that is in no deque.
pub(super) fn steal_scope_task(member: Member<'_>) -> Option<Work> {
    member.registry.scope_injector.steal().map(Work::task)
}

/// Takes a detached task, which only workers run, from the injector or from another worker's deque.
pub(super) fn steal_detached(member: Member<'_>) -> Option<Work> {
    steal_detached_if(member, true)
}

/// Takes a detached task, from the deques of others only if that is `worthwhile`.
fn steal_detached_if(member: Member<'_>, worthwhile: bool) -> Option<Work> {
    let registry = member.registry;
    let others = || {
        let in_deque = victims(member)
            .filter(|_| worthwhile)
            .find_map(|victim| steal_task(member, &victim.detached));
        in_deque.or_else(|| steal_ready(member, worthwhile))
    };
    let injector = || {
        registry
            .injector
            .steal_next(member.turns(), &registry.sleep)
    };
    let task = match registry.config.waits {
        Waits::Own => injector().or_else(others),
        Waits::Any => others().or_else(injector),
    };
    task.or_else(|| registry.injector.steal_last())
        .map(Work::task)
}

/// Takes a broadcast task, a task that comes before all others, or a task of this thread's own deques.
#[inline]
pub(super) fn own_work(member: Member<'_>) -> Option<Work> {
    let inbox = || member.inbox.take().map(Work::broadcast);
    let queued = || {
        let turn = member.turn();
        let first = member
            .registry
            .injector
            .steal_first(turn, &member.registry.sleep);
        let first = first.or_else(|| {
            let scopes = &member.registry.scope_injector;
            is_turn_of_scopes(turn).then(|| scopes.steal()).flatten()
        });
        let own = || {
            if member.has_futures() {
                return own_with_futures(member);
            }
            member.pop_task().or_else(|| member.pop_detached())
        };
        first.or_else(own).map(Work::task)
    };
    let is_own = member.registry.config.waits == Waits::Own;
    let broadcast = is_own.then(inbox).flatten();
    broadcast.or_else(queued).or_else(inbox)
}

/// Takes a task of this thread's own deques or the hot one. After a yield, what is in the injector comes first.
#[inline(never)]
fn own_with_futures(member: Member<'_>) -> Option<Task> {
    let yielded = member.take_yield();
    let first = || {
        member
            .registry
            .injector
            .steal_next(member.turns(), &member.registry.sleep)
    };
    let first = yielded.then(first).flatten();
    first.or_else(|| member.next_with_futures())
}

/// For how long a thief watches an owner that has a hot task and runs something else, before it takes the hot task.
const HOT_TIME: u64 = 5 * TICKS_PER_MICROSECOND;

/// An owner with a hot task, as a thief has first seen it.
pub(super) struct Watched {
    slot: usize,
    /// How many futures the owner had suspended.
    suspended: u64,
    since: u64,
}

/// Takes the hot task of another slot whose owner has been running one task all the time since it was first `watched`.
pub(super) fn steal_hot(member: Member<'_>, watched: &mut Option<Watched>) -> Option<Work> {
    if !member.registry.roster.is_used() {
        return None;
    }
    let victim = victims(member).find(|victim| !victim.hot.is_empty())?;
    let (slot, suspended) = (victim.id, victim.counters.suspended.get());
    let seen = watched.as_ref();
    match seen.filter(|seen| seen.slot == slot && seen.suspended == suspended) {
        None => {
            let since = ticks();
            *watched = Some(Watched {
                slot,
                suspended,
                since,
            });
            None
        }
        Some(seen) if !MODEL && ticks().wrapping_sub(seen.since) < HOT_TIME => None,
        Some(_) => {
            let task = victim.hot.take()?;
            member.counters.stolen.add(1);
            Some(Work::task(task))
        }
    }
}

/// While there are tasks in the injector, a worker looks at the work of others only once in this many searches: a look at every ring for
/// each small task costs more than the task.
const STEAL_INTERVAL: u32 = 8;

/// Takes a task from the injector before a look at the work of others, in most searches.
pub(super) fn next_in_injector(member: Member<'_>) -> Option<Work> {
    let registry = member.registry;
    if waits_any(registry) || member.turns().is_multiple_of(STEAL_INTERVAL) {
        return None;
    }
    registry
        .injector
        .steal_next(member.turns(), &registry.sleep)
        .map(Work::task)
}

/// Takes anything, in the middle of other work.
///
/// Under [`Waits::Any`] this thread's own forks come last. It takes them because there may be no other thread that does, and what it waits for
/// depends on them. Deep in the stack it takes none, and a final re-check then does not count them either.
pub(super) fn find_any(member: Member<'_>, may_force: bool) -> Option<Work> {
    let own_fork = || {
        let wanted = waits_any(member.registry) && !context::is_deep();
        wanted.then(|| take_own_fork(member)).flatten()
    };
    oldest_task(member)
        .or_else(|| steal_any(member, may_force))
        .or_else(own_fork)
}

/// Takes the oldest task of this thread's own deques, as a thief does. A pop would take the newest one, possibly from below the position where an
/// open scope began. The scope's next task would then get that position, and the scope would not find it there.
pub(super) fn oldest_task(member: Member<'_>) -> Option<Work> {
    let task = member.tasks.steal().or_else(|| member.detached.steal());
    task.or_else(|| member.ready.steal()).map(Work::task)
}

/// Takes the oldest fork of this thread's own ring, although the thread is in the middle of that fork's `join`. Another thread may wait for what
/// the fork brings about, and be unable to run it.
pub(super) fn take_own_fork(member: Member<'_>) -> Option<Work> {
    let mut stolen = member.ring.steal(|_| true);
    if matches!(stolen, Steal::Empty) && !member.ring.is_empty() {
        // Makes some forks public, and wakes a sleeper that wants them, as any answer to a share request does.
        member.share(Need::Help);
        stolen = member.ring.steal(|_| true);
    }
    let Steal::Item(job, index) = stolen else {
        return None;
    };
    member.counters.stolen.add(1);
    Some(Work::fork(job, member.place_at(index)))
}

// ---- one victim ----

/// Takes a fork whose index is `allowed` from a victim. If no fork is public, it sends the owner a share request, provided that `requests` permits
/// that for the index. If a request has stood unanswered for [`patience`], it takes a private fork by force, provided that `may_force`.
pub(super) fn steal_fork(
    member: Member<'_>,
    victim: &Slot,
    allowed: &dyn Fn(usize) -> bool,
    requests: &dyn Fn(usize) -> bool,
    may_force: bool,
) -> Option<Work> {
    let ring: &Ring<ForkHeader> = &victim.ring;
    let mut found = ring.steal(allowed);
    if matches!(found, Steal::Empty) {
        match ring.unanswered() {
            // A request is sent even if the ring has no private fork: to find out means to read the cache line that a busy owner keeps writing.
            None if requests(ring.top()) => {
                ring.request();
            }
            Some(age) if may_force && age >= patience() && ring.oldest().is_some_and(allowed) => {
                found = force(member, ring, allowed);
            }
            _ => {}
        }
    }
    match found {
        Steal::Item(job, index) => {
            member.counters.stolen.add(1);
            // Until this thread is done with the fork, its place stays bound, and the run that made it goes on.
            Some(Work::fork(job, victim.place_at(index)))
        }
        Steal::Retry => {
            member.counters.conflicts.add(1);
            None
        }
        Steal::Empty => None,
    }
}

/// Takes a private fork by force, unless another thread of the pool is doing so: each force interrupts all of them.
#[cold]
fn force(
    member: Member<'_>,
    ring: &Ring<ForkHeader>,
    allowed: &dyn Fn(usize) -> bool,
) -> Steal<ForkHeader> {
    // ORDERING: Relaxed: a hint. If two threads force at once, the only cost is an extra heavy fence.
    let forcing = &member.registry.forcing;
    if forcing.swap(true, Ordering::Relaxed) {
        return Steal::Empty;
    }
    member.counters.forces.add(1);
    let found = ring.force(allowed);
    forcing.store(false, Ordering::Relaxed);
    found
}

// ---- what a wait may run ----

/// Takes a fork that descends from `below` from any other slot. Sends no share request to an owner whose forks do not descend from it. Looks at no
/// further slot once `is_over`: in a large pool that is sooner than the last slot.
pub(super) fn steal_fork_below(
    member: Member<'_>,
    below: Origin,
    may_force: bool,
    is_over: impl Fn() -> bool,
) -> Option<Work> {
    let registry = member.registry;
    victims(member)
        .take_while(|_| !is_over())
        .find_map(|victim| {
            let allowed = |index| registry.descends(victim.origin_at(index), below);
            steal_fork(member, victim, &allowed, &allowed, may_force)
        })
}

/// Whether another slot has a fork that descends from `below`.
pub(super) fn sees_fork_below(member: Member<'_>, below: Origin) -> bool {
    let registry = member.registry;
    others(member)
        .filter_map(Slot::oldest_fork)
        .any(|origin| registry.descends(origin, below))
}

/// Takes a task that is `wanted` from the deque of another slot that is `likely` to have one, or from the scope injector. It moves the
/// unwanted tasks that it meets into the scope injector, where their own waiters find them, and goes on to the next queue after `most` of them.
pub(crate) fn find_task(
    member: Member<'_>,
    wanted: impl Fn(&Task) -> bool,
    likely: impl Fn(&Slot) -> bool,
    most: usize,
) -> Option<Task> {
    let registry = member.registry;
    for victim in others(member) {
        if victim.tasks.len() == 0 || !likely(victim) {
            continue;
        }
        let mut unwanted = 0;
        while unwanted < most
            && let Some(task) = victim.tasks.steal()
        {
            if wanted(&task) {
                member.counters.stolen.add(1);
                return Some(task);
            }
            registry.inject_scope_task(task);
            unwanted += 1;
        }
    }
    for _ in 0..registry.scope_injector.len().min(most) {
        let task = registry.scope_injector.steal()?;
        if wanted(&task) {
            return Some(task);
        }
        registry.inject_scope_task(task);
    }
    None
}
