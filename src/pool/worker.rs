//! A thread at work: what a free worker does next, how a wait is spent, how a guest comes and goes.

use super::context;
pub(crate) use super::registry::UNORDERED_NAP;
use super::registry::{Registry, Unordered, sleep_free};
use super::slot::{Seat, Slot};
use crate::job::{Fate, ForkHeader, ForkState, Group, Task};
use crate::latch::Latch;
use crate::ring::{Popped, Ring, Steal};
use crate::sleep::{Need, Park, Parker};
#[cfg(not(any(loom, shuttle)))]
use crate::sync::spin_hint;
use crate::sync::{Arc, MODEL, now, yield_thread};
use crate::unwind;
use std::ptr::NonNull;
use std::time::{Duration, Instant};

/// How long a worker that found nothing keeps looking before it parks. A wake-up costs 7-17 us on the waker's side
/// and 17-90 us until the woken thread runs (measured 2026-11, 2 cores), so a gap shorter than that is better waited out.
const SEARCH_TIME: Duration = Duration::from_micros(50);

/// How long a bound waiter spins before it parks.
const WAIT_TIME: Duration = Duration::from_micros(20);

/// How often a thread from outside looks again before it asks for the time.
const UNTIMED_ROUNDS: u32 = 6;

/// From which round of unanswered requests a thief forces: about 1 us after the first.
const FORCE_ROUND: u32 = if MODEL { 1 } else { 5 };

/// Something to run, already taken.
enum Work {
    Fork(NonNull<ForkHeader>),
    Task(Task),
}

// ---- running ----

fn run(slot: &Slot, work: Work) {
    match work {
        Work::Fork(job) => run_fork(slot, job),
        Work::Task(task) => run_task(slot, task),
    }
}

/// Runs a stolen fork.
fn run_fork(slot: &Slot, job: NonNull<ForkHeader>) {
    slot.counters.executed.add(1);
    let _group = slot.enter_group(std::ptr::null());
    // SAFETY: `job` was stolen by this thread and is run here, once.
    let waiter = unsafe { ForkHeader::execute(job, slot.id, slot.ring.depth()) };
    if let Some(waiter) = waiter {
        slot.registry().wake(waiter);
    }
}

/// Runs a task taken from a queue.
pub(crate) fn run_task(slot: &Slot, task: Task) {
    slot.counters.executed.add(1);
    let _group = slot.enter_group(task.group());
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
                next_in_lane(registry, slot).or_else(|| raid_all(registry, slot, 0))
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
    let any = registry.config.waits_any;
    if !any && let Some(letter) = slot.mail().take() {
        return Some(Work::Task(letter));
    }
    let first = registry.lanes.steal_first(slot.turn());
    let task = first.or_else(|| slot.pop_task().or_else(|| slot.pop_detached()));
    let task = task.or_else(|| any.then(|| slot.mail().take()).flatten());
    task.map(Work::Task)
}

/// What only workers run: from the lanes, or from another worker's deque.
fn steal_detached(registry: &Registry, slot: &Slot) -> Option<Work> {
    let others = || {
        let others = registry.slots().filter(|victim| victim.id != slot.id);
        let mut stolen = others.filter_map(|victim| victim.detached.steal());
        stolen.next().inspect(|_| slot.counters.stolen.add(1))
    };
    let task = registry.lanes.steal_next().or_else(others);
    task.or_else(|| registry.lanes.steal_last()).map(Work::Task)
}

/// While there are tasks in the lanes a worker looks at what others have only now and then: a look at every ring for each small
/// task costs more than the task.
const RAID_TURN: u32 = 8;

fn next_in_lane(registry: &Registry, slot: &Slot) -> Option<Work> {
    let task = (!slot.turns().is_multiple_of(RAID_TURN)).then(|| registry.lanes.steal_next());
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
        if let Some(work) = own_work(registry, slot).or_else(|| raid_all(registry, slot, round)) {
            return Some(work);
        }
        if others > 0 && round > FORCE_ROUND {
            return None;
        }
        pause(round);
        round += 1;
        if MODEL || (round > FORCE_ROUND && start.elapsed() > SEARCH_TIME) {
            return None;
        }
    }
}

/// Longer with each round, up to about a microsecond; now and then the core goes to whoever else is ready.
#[cfg(not(any(loom, shuttle)))]
fn pause(round: u32) {
    if round.is_multiple_of(8) {
        yield_thread();
    }
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

/// One look at everybody else's work: public forks, then tasks, then what is detached.
fn raid_all(registry: &Registry, slot: &Slot, round: u32) -> Option<Work> {
    let count = registry.num_slots();
    let first = slot.random() % count;
    let victims = || {
        (0..count)
            .map(|n| registry.slot((first + n) % count))
            .filter(|victim| victim.id != slot.id)
    };
    for victim in victims() {
        if let Some(job) = raid_ring(slot, victim, 0, &|| true, round) {
            return Some(Work::Fork(job));
        }
    }
    for victim in victims() {
        if let Some(task) = victim.tasks.steal() {
            slot.counters.stolen.add(1);
            return Some(Work::Task(task));
        }
    }
    let stray = registry.strays.steal().map(Work::Task);
    stray.or_else(|| steal_detached(registry, slot))
}

/// Takes a fork at or above `floor` from a victim: what is public, else by asking, else, after some rounds, by force.
fn raid_ring(
    slot: &Slot,
    victim: &Slot,
    floor: usize,
    allowed: &dyn Fn() -> bool,
    round: u32,
) -> Option<NonNull<ForkHeader>> {
    let ring: &Ring<ForkHeader> = &victim.ring;
    let mut found = ring.steal(floor, allowed);
    if matches!(found, Steal::Empty) && !ring.request() && round >= FORCE_ROUND && !ring.is_empty()
    {
        slot.counters.forces.add(1);
        found = ring.force(floor, allowed);
    }
    match found {
        Steal::Item(item) => {
            slot.counters.stolen.add(1);
            Some(item)
        }
        Steal::Retry => {
            slot.counters.conflicts.add(1);
            None
        }
        Steal::Empty => None,
    }
}

// ---- waiting ----

/// What a wait waits for.
pub(crate) trait Awaited {
    /// It has come.
    fn is_done(&self) -> bool;

    /// Runs something that the wait may run: what it waits for and that's descendants.
    fn help(&self, slot: &Slot, round: u32) -> bool;

    /// Before parking: from now on, whoever completes it wakes `slot`. False: look again instead.
    fn announce(&self, slot: &Slot) -> bool;

    /// After parking: undoes `announce`, if it is not done.
    fn withdraw(&self, slot: &Slot);
}

/// Waits: helps, spins, parks. Runs nobody else's work unless the pool is built with `Waits::Any`.
///
/// `help`: whether it may run what it waits for. While unwinding nothing else runs in any case: that code would find
/// `thread::panicking()` true, and a lock whose holder panics there is not poisoned.
pub(crate) fn wait(slot: &Slot, awaited: &impl Awaited, help: bool) {
    wait_until(slot, awaited, help, None);
}

/// The same, at most until `deadline`. Returns whether what was awaited has come.
pub(crate) fn wait_until(
    slot: &Slot,
    awaited: &impl Awaited,
    help: bool,
    deadline: Option<Instant>,
) -> bool {
    let registry = slot.registry();
    let any = waits_any(registry);
    let base = slot.position();
    let mut since: Option<Instant> = None;
    let (mut round, mut has_helped) = (0, false);
    while !awaited.is_done() {
        registry.check_fork();
        let helped = if any {
            (help && awaited.help(slot, round)) || run_pending(registry, slot, base, round)
        } else {
            answer_mail() || (help && awaited.help(slot, round))
        };
        if helped {
            (since, round, has_helped) = (None, 0, true);
            continue;
        }
        // Done with what there was to help with, for now: also where this waits on for long.
        if std::mem::take(&mut has_helped) {
            slot.helped();
        }
        if deadline.is_some_and(|deadline| now() >= deadline) {
            return awaited.is_done();
        }
        pause(round.min(6));
        round += 1;
        let spun = !MODEL && since.get_or_insert_with(now).elapsed() < WAIT_TIME;
        if (spun || round <= FORCE_ROUND + 1) && !MODEL {
            continue;
        }
        if awaited.announce(slot) {
            let ready = || awaited.is_done() || has_mail();
            let work = if any && slot.role() != Seat::Guest {
                park_open(registry, slot, &ready, deadline)
            } else {
                park_bound(registry, slot, &ready, deadline);
                None
            };
            awaited.withdraw(slot);
            (since, round) = (None, 0);
            if let Some(work) = work {
                run_stranger(slot, work);
                has_helped = true;
            }
        } else {
            yield_thread();
        }
    }
    if has_helped {
        slot.helped();
    }
    true
}

/// Letters are for the worker, from wherever it acts at the moment.
fn has_mail() -> bool {
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

/// Whether a wait of the current thread may run anything.
pub(crate) fn waits_any(registry: &Registry) -> bool {
    registry.config.waits_any && !unwind::panicking()
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

/// The own deques are taken from at the thieves' end: at the other one, positions below a scope's base would be given out again.
fn find_any(registry: &Registry, slot: &Slot, round: u32) -> Option<Work> {
    let own = slot.tasks.steal().or_else(|| slot.detached.steal());
    own.map(Work::Task)
        .or_else(|| raid_all(registry, slot, round))
}

/// Runs what has nothing to do with what runs further down the stack.
fn run_stranger(slot: &Slot, work: Work) {
    context::as_stranger(|| {
        if slot.registry().config.waits_any {
            run(slot, work);
        } else {
            on_fresh_ring(slot, |slot| run(slot, work));
        }
    });
}

/// The same of a task.
pub(crate) fn run_strangers_task(slot: &Slot, task: Task) {
    run_stranger(slot, Work::Task(task));
}

/// Sleeps until a token comes, on the idle list: whoever publishes can have this thread. Returns what it found when it was woken.
fn park_open(
    registry: &Registry,
    slot: &Slot,
    ready: &dyn Fn() -> bool,
    deadline: Option<Instant>,
) -> Option<Work> {
    let elsewhere = context::home().filter(|home| !std::ptr::eq(*home, slot));
    if let Some(home) = elsewhere {
        home.mail().forward(Some(slot.parker.clone()));
    }
    registry.sleep.search();
    let (mut ordered, mut wanted) = (true, false);
    if registry.sleep.park_waiter(slot.id) == Park::AfterLook {
        match registry.last_look() {
            Ok(need) => wanted = need.is_some_and(|need| registry.sleep.still_wanted(need)),
            Err(Unordered) => ordered = false,
        }
    }
    slot.counters.parks.add(1);
    if !wanted && !ready() {
        if ordered {
            slot.parker.park_until(deadline);
        } else {
            slot.parker.park_timeout(UNORDERED_NAP);
        }
    }
    if let Some(home) = elsewhere {
        home.mail().forward(None);
    }
    // Recruited, or not: from now on counted awake and searching.
    registry.sleep.unpark_self(slot.id);
    let work = if ready() {
        None
    } else {
        find_any(registry, slot, 0)
    };
    registry.pass_on();
    work
}

/// Sleeps until a token comes, leaving a vacancy.
fn park_bound(
    registry: &Registry,
    slot: &Slot,
    ready: &dyn Fn() -> bool,
    deadline: Option<Instant>,
) {
    let guest = slot.role() == Seat::Guest;
    let elsewhere = context::home().filter(|home| !std::ptr::eq(*home, slot));
    if let Some(home) = elsewhere {
        home.mail().forward(Some(slot.parker.clone()));
    }
    let mut ordered = !registry.sleep.park_bound(guest) || registry.fill_vacancy();
    // A worker that waits in another pool leaves a vacancy in its own.
    let abroad = elsewhere.map(Slot::registry);
    let abroad = abroad.filter(|home| !std::ptr::eq(*home, registry));
    if let Some(home) = abroad {
        ordered &= !home.sleep.park_bound(false) || home.fill_vacancy();
    }
    slot.counters.parks.add(1);
    if !ready() {
        if ordered {
            slot.parker.park_until(deadline);
        } else {
            slot.parker.park_timeout(UNORDERED_NAP);
        }
    }
    if let Some(home) = elsewhere {
        home.mail().forward(None);
    }
    if let Some(home) = abroad {
        home.sleep.resume_bound(false);
    }
    registry.sleep.resume_bound(guest);
}

/// A stolen fork, as its owner waits for it.
struct StolenFork<'a> {
    job: &'a ForkHeader,
    /// What the thief said when we announced ourselves.
    seen: std::cell::Cell<ForkState>,
}

impl Awaited for StolenFork<'_> {
    fn is_done(&self) -> bool {
        self.job.state() == ForkState::Done
    }

    fn help(&self, slot: &Slot, round: u32) -> bool {
        let state = self.job.state();
        let ForkState::Running { slot: thief, start } = state else {
            return false;
        };
        let thief = slot.registry().slot(thief);
        let stolen = raid_ring(slot, thief, start, &|| self.job.is(state), round);
        stolen.map(|job| run_fork(slot, job)).is_some()
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

    fn help(&self, _: &Slot, _: u32) -> bool {
        false
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
    let mut since: Option<Instant> = None;
    let mut round = 0;
    while !event.is_set() {
        // The clock costs as much as a small task.
        if !MODEL && round < UNTIMED_ROUNDS && deadline.is_none() {
            pause(round);
            round += 1;
            continue;
        }
        let time = now();
        if deadline.is_some_and(|deadline| time >= deadline) {
            return event.is_set();
        }
        if !MODEL && time - *since.get_or_insert(time) < WAIT_TIME {
            pause(round);
            round += 1;
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
    let seen = std::cell::Cell::new(ForkState::Taken);
    wait(slot, &StolenFork { job, seen }, !unwind::panicking());
    slot.ring.reset(index);
}

/// One task, any, of the pool of the current thread.
pub(crate) fn yield_now() -> bool {
    let Some(slot) = context::slot() else {
        return false;
    };
    slot.registry().check_fork();
    let ran = answer_mail() || run_own_fork(slot) || run_any(slot.registry(), slot, 0);
    if ran {
        slot.helped();
    }
    ran
}

/// The same of what the current thread has queued itself, or gets by mail.
pub(crate) fn yield_local() -> bool {
    let Some(slot) = context::slot() else {
        return false;
    };
    slot.registry().check_fork();
    let own = || slot.detached.steal().or_else(|| slot.tasks.steal());
    let ran = answer_mail()
        || run_own_fork(slot)
        || own()
            .map(|task| run_stranger(slot, Work::Task(task)))
            .is_some();
    if ran {
        slot.helped();
    }
    ran
}

/// Runs the oldest fork of the own ring, in the middle of a later one: somebody may wait for it who does not know.
fn run_own_fork(slot: &Slot) -> bool {
    let mut stolen = slot.ring.steal(0, || true);
    if matches!(stolen, Steal::Empty) && !slot.ring.is_empty() {
        // Makes some of them public. As after any answered request, somebody may sleep who wants to know.
        slot.attend(Need::Help);
        stolen = slot.ring.steal(0, || true);
    }
    let Steal::Item(job) = stolen else {
        return false;
    };
    slot.counters.stolen.add(1);
    run_stranger(slot, Work::Fork(job));
    true
}

/// Takes a task of `group` or below from another slot's deque or from the strays; others that it meets become strays,
/// where their own waiters find them.
pub(crate) fn find_task(slot: &Slot, group: *const Group) -> Option<Task> {
    let registry = slot.registry();
    let first = slot.random() % registry.num_slots();
    for n in 0..registry.num_slots() {
        let victim = registry.slot((first + n) % registry.num_slots());
        if victim.id == slot.id {
            continue;
        }
        while let Some(task) = victim.tasks.steal() {
            if task.belongs_to(group) {
                slot.counters.stolen.add(1);
                return Some(task);
            }
            registry.stray(task);
        }
    }
    for _ in 0..registry.strays.len() {
        let task = registry.strays.steal()?;
        if task.belongs_to(group) {
            return Some(task);
        }
        registry.stray(task);
    }
    None
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
        self.registry().published(need);
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

// ---- guests ----

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

/// Runs `f` from another slot of the same pool: for joins deeper than a ring, and for strangers, whose forks must be out of reach
/// of those who help with what lies below.
#[cold]
pub(crate) fn on_fresh_ring<R>(slot: &Slot, f: impl FnOnce(&Slot) -> R) -> R {
    let registry = slot.registry();
    let fresh = FreshRing {
        slot: registry.acquire_guest(),
        registry,
    };
    fresh.slot.set_role(slot.role());
    let _context = context::enter(fresh.slot);
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
