//! How a wait is spent.

use super::park::{park_bound, park_open};
use super::spin::Spin;
use super::steal::{find_task, sees_fork_below, steal_any, steal_fork, steal_fork_below};
use super::{FORCE_ROUND, Work, as_guest, on_fresh_ring, run, run_task};
use crate::job::{ForkHeader, ForkState, Task};
use crate::latch::Latch;
use crate::lineage::Origin;
use crate::pool::context;
use crate::pool::registry::Registry;
use crate::pool::slot::{Seat, Slot};
use crate::ring::Steal;
use crate::sleep::{Need, Parker};
use crate::sync::{Arc, MODEL, Mutex, lock, now, yield_thread};
use crate::unwind;
use std::time::{Duration, Instant};

/// How a wait looks for work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// So many times since it last found something.
    Spinning(u32),
    /// Once more before it parks, not counted as awake.
    Parking,
    /// After it was woken for work.
    Woken,
}

impl Look {
    fn round(self) -> u32 {
        match self {
            Look::Spinning(round) => round,
            // The rings have been asked.
            Look::Parking | Look::Woken => FORCE_ROUND,
        }
    }

    /// Whether as many threads are awake without this one as the pool is to have: then it takes only what nobody else may come for. Whoever makes
    /// room later looks for helpers.
    fn is_crowded(self, registry: &Registry) -> bool {
        match self {
            Look::Spinning(_) => registry.sleep.overcommitted(),
            Look::Parking => !registry.sleep.has_room(Need::Help),
            Look::Woken => false,
        }
    }
}

/// From which round on a wait looks at others than its thief, about 0.3 us after its begin: in a fine-grained program what it waits for has come
/// by then, and each look at others costs as much as a small task.
const WIDE_ROUND: u32 = if MODEL { 0 } else { 4 };

/// What a wait waits for.
pub(crate) trait Awaited {
    /// It has come.
    fn is_done(&self) -> bool;

    /// What the wait may run besides, wherever it lies: what descends from here. `None`: nothing.
    fn below(&self) -> Option<Origin> {
        None
    }

    /// Runs something that the wait may run and that is near at hand.
    fn help(&self, _: &Slot, _: Look) -> bool {
        false
    }

    /// Whether it cannot come soon: who is to bring it about sleeps. Then the wait does not spin.
    fn is_far(&self, _: &Slot) -> bool {
        false
    }

    /// Whether nobody else may come for the tasks that it waits for.
    fn must_find_tasks(&self) -> bool {
        false
    }

    /// Takes a task that the wait may run.
    fn find_task(&self, _: &Slot, _: Look) -> Option<Task> {
        None
    }

    /// Before parking: from now on, whoever completes it wakes `slot`. False: look again instead.
    fn announce(&self, slot: &Slot) -> bool;

    /// After parking: undoes `announce`, if it is not done.
    fn withdraw(&self, slot: &Slot);
}

/// Waits: helps, spins, parks. Runs nobody else's work unless the pool is built with `Waits::Any`.
///
/// `help`: whether it may run what it waits for. Code that runs while unwinding finds `thread::panicking()` true, and a lock whose holder
/// panics there is not poisoned. Under `Waits::Any` it runs all the same: nobody might stand in for this thread.
pub(crate) fn wait(slot: &Slot, awaited: &impl Awaited, help: bool) {
    wait_until(slot, awaited, help, None);
}

/// The same, at most until `deadline`. Returns whether what was awaited has come.
fn wait_until(slot: &Slot, awaited: &impl Awaited, help: bool, deadline: Option<Instant>) -> bool {
    let registry = slot.registry();
    // What it ran besides could take longer than the time it has.
    let any = waits_any(registry) && deadline.is_none();
    let below = awaited.below().filter(|_| help);
    let base = slot.position();
    let mut spin = Spin::new(help);
    let mut has_helped = false;
    while !awaited.is_done() {
        registry.check_fork();
        let look = Look::Spinning(spin.round);
        let helped = if any {
            (help && awaited.help(slot, look)) || run_pending(registry, slot, base, spin.round)
        } else {
            answer_mail()
                || (help && awaited.help(slot, look))
                || (spin.round >= WIDE_ROUND && help_below(slot, awaited, below, look))
        };
        if helped {
            spin.restart();
            has_helped = true;
            continue;
        }
        // Done with what there was to help with, for now: also where this waits on for long.
        if std::mem::take(&mut has_helped) {
            slot.helped();
        }
        if deadline.is_some_and(|deadline| now() >= deadline) {
            return awaited.is_done();
        }
        if spin.goes_on() && !awaited.is_far(slot) {
            continue;
        }
        if awaited.announce(slot) {
            let open = any && slot.role() != Seat::Guest;
            let work = if open {
                park_open(registry, slot, awaited, deadline)
            } else {
                park_bound(registry, slot, awaited, below, deadline)
            };
            awaited.withdraw(slot);
            spin.restart();
            if let Some(work) = work {
                if open && !is_below(slot, &work, below) {
                    run_stranger(slot, work);
                } else {
                    run(slot, work);
                }
                has_helped = true;
            }
        } else {
            yield_thread();
        }
    }
    spin.end();
    if has_helped {
        slot.helped();
    }
    true
}

/// Runs something that descends from `below`, from anywhere.
fn help_below(slot: &Slot, awaited: &impl Awaited, below: Option<Origin>, look: Look) -> bool {
    below
        .and_then(|below| take_below(slot, awaited, below, look))
        .map(|work| run(slot, work))
        .is_some()
}

/// Takes something that descends from `below`, from anywhere.
pub(super) fn take_below(
    slot: &Slot,
    awaited: &impl Awaited,
    below: Origin,
    look: Look,
) -> Option<Work> {
    let fork = (!look.is_crowded(slot.registry()))
        .then(|| steal_fork_below(slot, below, look.round()))
        .flatten();
    fork.or_else(|| awaited.find_task(slot, look).map(Work::Task))
}

/// Whether it is a task that descends from `below`.
fn is_below(slot: &Slot, work: &Work, below: Option<Origin>) -> bool {
    match (work, below) {
        (Work::Task(task), Some(below)) => slot.registry().descends(task.origin(), below),
        _ => false,
    }
}

/// Whether there is a fork that [`take_below`] did not get, and may get if it tries again.
pub(super) fn sees_below(slot: &Slot, below: Origin, look: Look) -> bool {
    !look.is_crowded(slot.registry()) && sees_fork_below(slot, below)
}

/// Letters are for the worker, from wherever it acts at the moment.
pub(super) fn has_mail() -> bool {
    context::home().is_some_and(|home| !home.mail().is_empty())
}

/// Runs a letter, while unwinding too: its sender may be what the wait waits for.
fn answer_mail() -> bool {
    let Some(home) = context::home() else {
        return false;
    };
    let letter = home.mail().take();
    letter
        .map(|letter| {
            context::as_stranger(|| on_fresh_ring(home, |slot| run_task(slot, letter)));
        })
        .is_some()
}

/// Whether a wait in this pool may run anything.
pub(crate) fn waits_any(registry: &Registry) -> bool {
    registry.config.waits_any
}

/// Anything, in the middle of a wait under `Waits::Any` that began with the own deque at `base`: the own newest task, then letters, then
/// whatever there is.
fn run_pending(registry: &Registry, slot: &Slot, base: usize, round: u32) -> bool {
    let above = (slot.position() > base).then(|| slot.pop_task()).flatten();
    let own = above.or_else(|| slot.pop_detached());
    if let Some(task) = own {
        run_stranger(slot, Work::Task(task));
        return true;
    }
    answer_mail() || run_any(registry, slot, round)
}

/// Anything, in the middle of something else.
fn run_any(registry: &Registry, slot: &Slot, round: u32) -> bool {
    find_any(registry, slot, round)
        .map(|work| run_stranger(slot, work))
        .is_some()
}

/// Under `Waits::Any` the own forks come last: nobody else may come for them, while this thread waits for what they bring about. Deep in the
/// stack they are left alone; a look before parking then does not count them either.
pub(super) fn find_any(registry: &Registry, slot: &Slot, round: u32) -> Option<Work> {
    let own_fork = || {
        let wanted = waits_any(registry) && !context::is_deep();
        wanted.then(|| take_own_fork(slot)).flatten()
    };
    oldest_task(slot)
        .map(Work::Task)
        .or_else(|| steal_any(registry, slot, round))
        .or_else(own_fork)
}

/// The own deques are taken from at the thieves' end: at the other one, positions below a scope's base would be given out again.
fn oldest_task(slot: &Slot) -> Option<Task> {
    slot.tasks.steal().or_else(|| slot.detached.steal())
}

/// Runs what has nothing to do with what runs further down the stack. Where little of that is left, another thread runs it, with a stack of its own,
/// while this one waits.
fn run_stranger(slot: &Slot, work: Work) {
    let work = if context::is_deep() && !MODEL {
        match run_on_fresh_stack(slot, work) {
            None => return,
            Some(work) => work,
        }
    } else {
        work
    };
    context::as_stranger(|| {
        if slot.registry().config.waits_any {
            run(slot, work);
        } else {
            on_fresh_ring(slot, |slot| run(slot, work));
        }
    });
}

/// What another thread is given to run.
struct Handed(Mutex<Option<Work>>);

// SAFETY: tasks are `Send`; a stolen fork's closure and result are, and its owner's frame waits for whoever runs it.
unsafe impl Sync for Handed {}

/// Has a new thread run the work, as a guest. Gives the work back if the thread cannot be started.
#[cold]
fn run_on_fresh_stack(slot: &Slot, work: Work) -> Option<Work> {
    let registry = slot.registry();
    let Some(shared) = registry.this.upgrade() else {
        return Some(work);
    };
    let (handed, done) = (Handed(Mutex::new(Some(work))), Latch::new(1));
    let stack = registry.stack_size();
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new()
            .name("heist-deep".to_owned())
            .stack_size(stack);
        let (handed, ended) = (&handed, done.clone());
        let started = builder.spawn_scoped(scope, move || {
            context::set_floor(stack / 2);
            as_guest(&shared, |slot| {
                if let Some(work) = lock(&handed.0).take() {
                    run(slot, work);
                }
            });
            ended.count_down();
        });
        match started {
            // With a limit, though one that is never reached, the wait runs nothing else on this stack.
            Ok(_) => while !block(&done, now().checked_add(LONG)) {},
            Err(_) => registry.start_failures.add_shared(1),
        }
    });
    lock(&handed.0).take()
}

/// Longer than any program waits.
const LONG: Duration = Duration::from_secs(1 << 32);

/// The same of a task.
pub(crate) fn run_strangers_task(slot: &Slot, task: Task) {
    run_stranger(slot, Work::Task(task));
}

/// A stolen fork, as its owner waits for it.
struct StolenFork<'a> {
    job: &'a ForkHeader,
    /// Its place.
    origin: Origin,
    /// What the thief said when we announced ourselves.
    seen: std::cell::Cell<ForkState>,
}

/// How many tasks that it may not run a wait for a fork meets in a deque, or among the strays, before it lets the rest be. Each goes to the end of
/// the strays.
const UNWANTED: usize = 2;

impl Awaited for StolenFork<'_> {
    fn is_done(&self) -> bool {
        self.job.state() == ForkState::Done
    }

    fn below(&self) -> Option<Origin> {
        Some(self.origin)
    }

    /// From the thief, which most likely has something.
    fn help(&self, slot: &Slot, look: Look) -> bool {
        let ForkState::Running { slot: thief } = self.job.state() else {
            return false;
        };
        let registry = slot.registry();
        let allowed = |index| {
            let origin = registry.slot(thief).origin_at(index);
            registry.descends(origin, self.origin) && !look.is_crowded(registry)
        };
        steal_fork(
            slot,
            registry.slot(thief),
            &allowed,
            &|_| true,
            look.round(),
        )
        .map(|work| run(slot, work))
        .is_some()
    }

    /// The thief is parked in a wait of its own.
    fn is_far(&self, slot: &Slot) -> bool {
        match self.job.state() {
            ForkState::Running { slot: thief } => slot.registry().slot(thief).is_helper(),
            ForkState::Taken | ForkState::Done => false,
        }
    }

    fn find_task(&self, slot: &Slot, look: Look) -> Option<Task> {
        let registry = slot.registry();
        if look.is_crowded(registry) {
            return None;
        }
        // Most tasks that lie where no descendant runs are none: to take them away would help nobody. Their scope's owner finds them.
        let likely = |victim: &Slot| registry.descends(victim.lineage.innermost(), self.origin);
        let wanted = |task: &Task| registry.descends(task.origin(), self.origin);
        find_task(slot, wanted, likely, UNWANTED)
    }

    fn announce(&self, slot: &Slot) -> bool {
        self.seen.set(self.job.state());
        self.job.wait(self.seen.get(), slot.id)
    }

    fn withdraw(&self, slot: &Slot) {
        self.job.unwait(self.seen.get(), slot.id);
    }
}

/// What comes once and wakes whoever has left a parker there. Any thread can wait for it, by [`block`].
pub(crate) trait Event {
    fn is_set(&self) -> bool;

    /// From now on, whoever sets it wakes `parker`. False: it is set, nothing is left there.
    fn register(&self, parker: &Arc<Parker>) -> bool;

    /// Takes back what `register` left.
    fn unregister(&self, parker: &Arc<Parker>);
}

impl Event for Latch {
    fn is_set(&self) -> bool {
        Latch::is_set(self)
    }

    fn register(&self, parker: &Arc<Parker>) -> bool {
        Latch::register(self, parker)
    }

    fn unregister(&self, _: &Arc<Parker>) {
        Latch::unregister(self);
    }
}

impl<E: Event> Awaited for E {
    fn is_done(&self) -> bool {
        self.is_set()
    }

    fn announce(&self, slot: &Slot) -> bool {
        self.register(&slot.parker)
    }

    fn withdraw(&self, slot: &Slot) {
        self.unregister(&slot.parker);
    }
}

/// Blocks the current thread, whatever it is, until the event or the deadline. Returns whether the event has come.
///
/// A thread that takes part in a pool leaves a vacancy there.
pub(crate) fn block(event: &impl Event, deadline: Option<Instant>) -> bool {
    match context::slot() {
        Some(slot) => wait_until(slot, event, false, deadline),
        None => block_outside(event, deadline),
    }
}

fn block_outside(event: &impl Event, deadline: Option<Instant>) -> bool {
    let mut spin = Spin::new(false);
    while !event.is_set() {
        if deadline.is_some_and(|deadline| now() >= deadline) {
            return event.is_set();
        }
        if spin.goes_on() {
            continue;
        }
        // A new one each time: a parker of the thread's own would have to outlive its thread-locals' destructors.
        let parker = Arc::new(Parker::default());
        while event.register(&parker) {
            parker.park_until(deadline);
            event.unregister(&parker);
            if deadline.is_some_and(|deadline| now() >= deadline) {
                return event.is_set();
            }
        }
    }
    spin.end();
    true
}

/// The current thread's slot, where it is known to take part in a pool.
pub(crate) fn own_slot<'a>() -> &'a Slot {
    context::slot().expect("heist: a fork was made outside a pool")
}

/// Waits until the thief of the fork at `index` is done with it, and unbinds the place.
#[cold]
#[inline(never)]
pub(crate) fn wait_stolen(job: &ForkHeader, index: usize) {
    let slot = own_slot();
    let fork = StolenFork {
        job,
        origin: slot.origin_of(index),
        seen: std::cell::Cell::new(ForkState::Taken),
    };
    wait(slot, &fork, !unwind::panicking());
    slot.ring.reset(index);
}

/// One task, any, of the pool of the current thread; what it has queued itself, or gets by mail, comes first.
pub(crate) fn yield_now() -> bool {
    yield_to(|slot| run_own(slot) || run_any(slot.registry(), slot, 0))
}

/// Runs one task that the current thread has queued itself, or that was addressed to it.
pub(crate) fn yield_local() -> bool {
    yield_to(run_own)
}

fn yield_to(run: impl FnOnce(&Slot) -> bool) -> bool {
    let Some(slot) = context::slot() else {
        return false;
    };
    slot.registry().check_fork();
    let ran = run(slot);
    if ran {
        slot.helped();
    }
    ran
}

fn run_own(slot: &Slot) -> bool {
    let oldest = || {
        oldest_task(slot)
            .map(|task| run_stranger(slot, Work::Task(task)))
            .is_some()
    };
    if waits_any(slot.registry()) {
        run_own_fork(slot) || run_newest(slot) || oldest() || answer_mail()
    } else {
        answer_mail() || run_own_fork(slot) || oldest()
    }
}

/// Runs the newest detached task of the own deque. Under `Waits::Any` it comes before older ones and before letters, in a yield as in a wait.
fn run_newest(slot: &Slot) -> bool {
    let task = slot.pop_detached();
    task.map(|task| run_stranger(slot, Work::Task(task)))
        .is_some()
}

/// Runs the oldest fork of the own ring, in the middle of a later one: somebody may wait for it who does not know.
fn run_own_fork(slot: &Slot) -> bool {
    take_own_fork(slot)
        .map(|fork| run_stranger(slot, fork))
        .is_some()
}

fn take_own_fork(slot: &Slot) -> Option<Work> {
    let mut stolen = slot.ring.steal(|_| true);
    if matches!(stolen, Steal::Empty) && !slot.ring.is_empty() {
        // Makes some of them public. As after any answered request, somebody may sleep who wants to know.
        slot.attend(Need::Help);
        stolen = slot.ring.steal(|_| true);
    }
    let Steal::Item(job, index) = stolen else {
        return None;
    };
    slot.counters.stolen.add(1);
    Some(Work::Fork(job, slot.place_at(index)))
}
