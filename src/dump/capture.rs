//! Copies what the threads of a pool show, without a lock that another thread holds.

use super::model::{
    PoolDump, QueueDump, SystemState, TaskDump, ThreadDump, ThreadRole, ThreadState,
};
use crate::clock;
use crate::lineage::Place;
use crate::pool::{Looks, Registry, Role, Seen, Slot};
use crate::sleep::Waited;
use crate::sync::Arc;
use crate::sys;
use std::sync::TryLockError;
use std::time::Duration;

/// A pool, and the slots of the threads in its dump.
pub(super) struct Capture {
    pub(super) registry: Arc<Registry>,
    pub(super) dump: PoolDump,
    pub(super) slots: Vec<Shown>,
}

/// What the slot of a thread shows.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    pub(super) slot: usize,
    pub(super) seen: Seen,
    /// The ids of the tasks that the thread is in the middle of.
    pub(super) tasks: Vec<u64>,
}

impl Capture {
    pub(super) fn new(registry: Arc<Registry>) -> Self {
        let now_ns = clock::now_ns();
        let forked = registry.forked();
        let mut looks = match registry.looks.try_lock() {
            Ok(looks) => Some(looks),
            Err(TryLockError::Poisoned(poison)) => Some(poison.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        };
        let mut found = Vec::new();
        for slot in registry.all_slots().filter(|_| !forked) {
            let seen = slot.activity.see();
            let same = same_for(looks.as_deref_mut(), slot, now_ns);
            found.extend(thread(&registry, slot, seen, same, now_ns));
        }
        let order = |role| match role {
            ThreadRole::Worker(index) => (0, index),
            ThreadRole::Spare => (1, 0),
            ThreadRole::Guest => (2, 0),
        };
        found.sort_by_key(|(thread, shown)| (order(thread.role), shown.slot));
        let (threads, slots) = found.into_iter().unzip();
        let queues = queues(&registry, looks.as_deref_mut(), now_ns);
        drop(looks);
        let counts = registry.sleep.counts();
        let total = |which: fn(&Slot) -> u64| registry.all_slots().map(which).sum::<u64>();
        let outside = registry.outside.iter();
        let resumed = total(|slot| slot.counters.resumed.get())
            + outside.map(|counters| counters.resumed.get()).sum::<u64>();
        let suspended = total(|slot| slot.counters.suspended.get());
        let dump = PoolDump {
            number: registry.id,
            workers: registry.sleep.target(),
            awake: counts.workers + counts.guests,
            threads,
            queues,
            suspended: usize::try_from(suspended.saturating_sub(resumed)).unwrap_or(0),
            is_closed: registry.admission.is_closed(),
            is_of_parent: forked,
        };
        Capture {
            registry,
            dump,
            slots,
        }
    }
}

/// For how long the thread of a slot is known to be in the middle of the same.
fn same_for(looks: Option<&mut Looks>, slot: &Slot, now_ns: u64) -> Duration {
    let signature = [slot.running.id(), slot.counters.executed.get(), 0, 0];
    let same_ns = looks.map(|looks| looks.same_for(slot.id, signature, now_ns));
    Duration::from_nanos(same_ns.unwrap_or(0))
}

fn queues(registry: &Registry, looks: Option<&mut Looks>, now_ns: u64) -> QueueDump {
    let ([low, normal, high, woken], items) = registry.injector.lens();
    let scope_tasks = registry.scope_injector.len();
    let (entries, runs) = (registry.try_queued(), registry.runs());
    let oldest_ns = looks.map(|looks| looks.queued_for(entries, runs, now_ns));
    QueueDump {
        high,
        normal,
        low,
        woken,
        items,
        scope_tasks,
        oldest: Duration::from_nanos(oldest_ns.unwrap_or(0)),
    }
}

/// What the thread of a slot does. `None` if the slot has no thread, or that of a caller that does nothing in the pool.
fn thread(
    registry: &Registry,
    slot: &Slot,
    seen: Seen,
    same: Duration,
    now_ns: u64,
) -> Option<(ThreadDump, Shown)> {
    let (joins, task) = (slot.ring.depth(), slot.running.id());
    let is_busy = slot.counters.busy_since_ns.get() != 0 || task != 0 || slot.is_in_forks();
    let is_there = match slot.kind {
        Role::Worker(_) | Role::Spare => seen.thread != 0,
        Role::Guest => is_busy || seen.waited.is_some(),
    };
    if !is_there {
        return None;
    }
    let does = state(seen, is_busy);
    let (since_at_least, since_at_most) = match does {
        ThreadState::Running => running_for(registry, slot, seen, same),
        ThreadState::Searching => (Duration::ZERO, None),
        _ => {
            let waited = Duration::from_nanos(now_ns.saturating_sub(seen.since_ns));
            (waited, Some(waited))
        }
    };
    let mut tasks = slot.running.outer();
    let outer_tasks = tasks.clone();
    tasks.extend((task != 0).then_some(task));
    let name = || slot.running.try_name().map(|name| name.to_string());
    let role = match slot.kind {
        Role::Worker(index) => ThreadRole::Worker(index),
        Role::Spare => ThreadRole::Spare,
        Role::Guest => ThreadRole::Guest,
    };
    let dump = ThreadDump {
        role,
        name: sys::thread::name(seen.thread).unwrap_or_default(),
        os_id: seen.thread,
        does,
        since_at_least,
        since_at_most,
        task: (task != 0).then(|| TaskDump {
            id: task,
            name: name(),
        }),
        outer_tasks,
        system: SystemState::Unknown,
        joins,
        stolen: slot.ring.top().min(joins),
        queued: slot.tasks.len() + slot.detached.len() + slot.ready.len(),
    };
    let shown = Shown {
        slot: slot.id,
        seen,
        tasks,
    };
    Some((dump, shown))
}

fn state(seen: Seen, is_busy: bool) -> ThreadState {
    let Some(waited) = seen.waited else {
        return if is_busy {
            ThreadState::Running
        } else {
            ThreadState::Searching
        };
    };
    if let Some(task) = waited.as_task() {
        return ThreadState::WaitingForTask(task);
    }
    if let Some(place) = waited.as_place().and_then(Place::from_word) {
        return match place.is_scope() {
            true => ThreadState::WaitingForScope(seen.left),
            false => ThreadState::WaitingForJoin,
        };
    }
    match waited {
        Waited::WORK => ThreadState::Idle,
        Waited::SEVERAL => ThreadState::WaitingForSeveral,
        Waited::ROOM => ThreadState::WaitingForRoom,
        Waited::WAKER => ThreadState::WaitingForWaker,
        Waited::BLOCKING => ThreadState::Blocking,
        _ => ThreadState::Waiting,
    }
}

/// For how long the thread has been in the middle of the same, at least and at most.
fn running_for(
    registry: &Registry,
    slot: &Slot,
    seen: Seen,
    same: Duration,
) -> (Duration, Option<Duration>) {
    let since_ns = slot.counters.busy_since_ns.get();
    if since_ns == 0 {
        return (same, None);
    }
    let busy = Duration::from_nanos(registry.now_ns().saturating_sub(since_ns));
    // The first thing that has run since then goes on.
    let is_first = slot.counters.executed.get() <= seen.busy_runs + 1;
    (if is_first { busy } else { same.min(busy) }, Some(busy))
}
