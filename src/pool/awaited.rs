//! What a wait waits for, and what it may run in the meantime.

use super::context::Member;
use super::registry::Registry;
use super::slot::Slot;
use super::steal::{sees_fork_below, steal_fork_below};
use super::work::Work;
use crate::job::Task;
use crate::lineage::Origin;
use crate::record::Wait;
use crate::sleep::{Event, Need, Waited};
use crate::sync::MODEL;

/// Something that a member of a pool waits for.
pub(crate) trait Awaited {
    /// Whether it has come.
    fn is_done(&self) -> bool;

    /// What a record says about a wait for it, with the number of the task, or 0.
    fn kind(&self) -> (Wait, u64);

    /// What the wait may run, from any slot: the work that descends from this origin. `None` if the wait runs nothing.
    fn below(&self) -> Option<Origin> {
        None
    }

    /// Runs something that the wait may run and that is close at hand. Returns whether there was anything.
    fn help(&self, _: Member<'_>, _: Look) -> bool {
        false
    }

    /// Whether the thread that is to bring it about sleeps, so that it cannot come soon. Then the wait does not spin.
    fn is_asleep(&self, _: Member<'_>) -> bool {
        false
    }

    /// Whether it depends on tasks for which there may be no other thread.
    fn must_find_tasks(&self) -> bool {
        false
    }

    /// Takes a task that the wait may run.
    fn find_task(&self, _: Member<'_>, _: Look) -> Option<Task> {
        None
    }

    /// What a report calls it.
    fn waited(&self) -> Waited;

    /// How many tasks of a scope are left, for a report.
    fn left(&self) -> u64 {
        0
    }

    /// Called before parking. From now on, the thread that completes it wakes `slot`. Returns `false` if the caller must look again instead.
    fn announce(&self, slot: &Slot) -> bool;

    /// Called after parking. Undoes `announce`, unless it has come.
    fn withdraw(&self, slot: &Slot);
}

impl<E: Event> Awaited for E {
    fn is_done(&self) -> bool {
        self.is_set()
    }

    fn kind(&self) -> (Wait, u64) {
        Event::kind(self)
    }

    fn waited(&self) -> Waited {
        Event::waited(self)
    }

    fn announce(&self, slot: &Slot) -> bool {
        self.register(&slot.parker)
    }

    fn withdraw(&self, slot: &Slot) {
        self.unregister(&slot.parker);
    }
}

/// How a wait looks for work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// Awake, in this round since it last found something.
    Spinning(u32),
    /// A final time before it parks, not counted as awake.
    Parking,
    /// After it was woken for work.
    Woken,
}

impl Look {
    /// Whether a fork may be taken by force.
    pub(super) fn may_force(self) -> bool {
        match self {
            // In a model time does not pass between the request and the force.
            Look::Spinning(round) => !MODEL || round > 0,
            Look::Parking | Look::Woken => true,
        }
    }

    /// Whether there is no room for this thread: as many others are awake as the pool wants. The wait then leaves forks to them, and takes only
    /// tasks for which there may be no other thread. A thread that makes room later looks for helpers.
    pub(super) fn is_crowded(self, registry: &Registry) -> bool {
        match self {
            Look::Spinning(_) => registry.sleep.overcommitted(),
            Look::Parking => !registry.sleep.has_room(Need::Help),
            Look::Woken => false,
        }
    }
}

/// Takes work that descends from `below`, from any slot.
pub(super) fn take_below(
    member: Member<'_>,
    awaited: &impl Awaited,
    below: Origin,
    look: Look,
) -> Option<Work> {
    let fork = (!look.is_crowded(member.registry))
        .then(|| steal_fork_below(member, below, look.may_force(), || awaited.is_done()))
        .flatten();
    fork.or_else(|| awaited.find_task(member, look).map(Work::task))
}

/// Whether there is a fork that [`take_below`] failed to take, and that another attempt can take.
pub(super) fn sees_below(member: Member<'_>, below: Origin, look: Look) -> bool {
    !look.is_crowded(member.registry) && sees_fork_below(member, below)
}
