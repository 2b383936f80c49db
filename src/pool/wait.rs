//! Waiting: helping, spinning, parking; and yields, which run one piece of other work.

use super::activity::show_outside;
use super::awaited::{Awaited, Look, take_below};
use super::backoff::{Spin, WIDE_ROUND};
use super::config::Waits;
use super::context::{self, Member};
use super::member::{as_guest, own_member, stand_in_for};
use super::park::{park_bound, park_open};
use super::slot::{Role, Slot};
use super::steal::{find_any, find_task, oldest_task, steal_fork, take_own_fork, waits_any};
use super::work::Work;
use crate::job::{ForkHeader, ForkState, Task};
use crate::latch::Latch;
use crate::lineage::Origin;
use crate::record::{Entry, Recorder, Wait};
use crate::sleep::{Event, Parker, Waited};
use crate::sync::{Arc, MODEL, Mutex, lock, now, yield_thread};
use crate::unwind;
use std::cell::Cell;
use std::time::{Duration, Instant};

/// Waits: helps, spins, parks. Runs no unrelated work unless the pool is built with [`Waits::Any`].
///
/// `help` is whether the wait may run what it waits for. It may not while the thread unwinds: code that ran then would find `thread::panicking()`
/// true, and a lock whose holder panicked would not be poisoned. Under [`Waits::Any`] it runs other work even then, because there may be no
/// other thread to run it.
pub(crate) fn wait(member: Member<'_>, awaited: &impl Awaited, help: bool) {
    wait_until(member, awaited, help, None);
}

/// Waits as [`wait`] does, at most until `deadline`. Returns whether `awaited` has come.
fn wait_until(
    member: Member<'_>,
    awaited: &impl Awaited,
    help: bool,
    deadline: Option<Instant>,
) -> bool {
    let _paused = context::pause_line();
    let mut record = WaitRecord::new(member);
    let come = wait_recorded(member, awaited, help, deadline, &mut record);
    record.end();
    come
}

/// The record of a wait, which begins when the wait first finds nothing to run.
struct WaitRecord<'a> {
    recorder: Option<&'a Recorder>,
    begun: bool,
}

impl<'a> WaitRecord<'a> {
    fn new(member: Member<'a>) -> Self {
        let recorder = member.slot.recorder();
        if let Some(recorder) = recorder {
            recorder.begins_to_help();
        }
        WaitRecord {
            recorder,
            begun: false,
        }
    }

    /// Begins the wait if it has not begun.
    fn begin(&mut self, awaited: &impl Awaited) {
        if let Some(recorder) = self.recorder
            && !std::mem::replace(&mut self.begun, true)
        {
            let (on, id) = awaited.kind();
            recorder.put(Entry::WaitBegin { on, id: id as u32 });
        }
    }

    fn end(self) {
        match self.recorder {
            Some(recorder) if self.begun => recorder.put(Entry::WaitEnd),
            Some(recorder) => recorder.has_helped(),
            None => {}
        }
    }
}

fn wait_recorded(
    member: Member<'_>,
    awaited: &impl Awaited,
    help: bool,
    deadline: Option<Instant>,
    record: &mut WaitRecord<'_>,
) -> bool {
    let registry = member.registry;
    let _place = BackInPlace::new();
    // With a deadline the wait runs nothing unrelated, which could take longer than the time that is left.
    let any = waits_any(registry) && deadline.is_none();
    let below = awaited.below().filter(|_| help);
    let base = member.position();
    let mut spin = Spin::new(help);
    let mut has_helped = false;
    while !awaited.is_done() {
        registry.check_fork();
        let look = Look::Spinning(spin.round);
        let helped = if any {
            (help && awaited.help(member, look)) || run_pending(member, base, look)
        } else {
            let below = below.filter(|_| spin.round >= WIDE_ROUND);
            run_own_inbox()
                || (help && awaited.help(member, look))
                || member.run_found(below.and_then(|b| take_below(member, awaited, b, look)))
        };
        if helped {
            spin.restart();
            has_helped = true;
            continue;
        }
        if record.recorder.is_some() {
            if awaited.is_done() {
                continue;
            }
            record.begin(awaited);
        }
        // There is nothing left to help with for now, and this wait may still take long.
        if std::mem::take(&mut has_helped) {
            member.look_idle_after_help();
        }
        if deadline.is_some_and(|deadline| now() >= deadline) {
            return awaited.is_done();
        }
        if spin.goes_on() && !awaited.is_asleep(member) {
            continue;
        }
        cool_home_down();
        if awaited.announce(&member) {
            let shown = member.show(awaited.waited(), awaited.left());
            let open = any && member.role() != Role::Guest;
            let work = if open {
                park_open(member, awaited, deadline)
            } else {
                park_bound(member, awaited, below, deadline)
            };
            drop(shown);
            awaited.withdraw(&member);
            spin.restart();
            if let Some(work) = work {
                if open && !is_below(member, &work, below) {
                    member.run_unrelated(work);
                } else {
                    member.run(work);
                }
                has_helped = true;
            }
        } else {
            yield_thread();
        }
    }
    spin.end();
    if has_helped {
        member.look_idle_after_help();
    }
    true
}

/// Queues the hot task of the current thread where others look for it, whatever the thread acts as at the moment.
fn cool_home_down() {
    if let Some(home) = context::home() {
        home.cool_down();
    }
}

/// Whether the work is a task that descends from `below`.
fn is_below(member: Member<'_>, work: &Work, below: Option<Origin>) -> bool {
    match (work.task_origin(), below) {
        (Some(origin), Some(below)) => member.registry.descends(origin, below),
        _ => false,
    }
}

/// Runs a broadcast task of this thread's inbox, also while the thread unwinds: what the wait waits for may depend on the broadcast.
fn run_own_inbox() -> bool {
    let taken = context::home().and_then(|home| Some((home, home.inbox.take()?)));
    let run = |(home, task): (Member<'_>, _)| home.on_fresh_ring(|member| member.run_task(task));
    taken.map(run).is_some()
}

/// Runs anything, in the middle of a wait under [`Waits::Any`]: the newest task of this thread, then a broadcast task, then what others have. The
/// thread's scope tasks are those above `base`, the position of its own deque when the wait began.
fn run_pending(member: Member<'_>, base: usize, look: Look) -> bool {
    let own = (member.position() > base)
        .then(|| member.pop_task())
        .flatten()
        .or_else(|| member.pop_detached());
    member.run_unrelated_found(own.map(Work::task))
        || run_own_inbox()
        || member.run_unrelated_found(find_any(member, look.may_force()))
}

impl Member<'_> {
    /// Runs what the thread has found, which belongs to what it waits for. Returns whether there was anything.
    fn run_found(self, found: Option<Work>) -> bool {
        found.map(|work| self.run(work)).is_some()
    }

    /// Runs what the thread has found, which is unrelated to what the thread is in the middle of. Returns whether there was anything.
    fn run_unrelated_found(self, found: Option<Work>) -> bool {
        found.map(|work| self.run_unrelated(work)).is_some()
    }

    /// Runs work that is unrelated to what the thread is in the middle of. If little stack is left, another thread runs the work on its own stack,
    /// while this one waits.
    fn run_unrelated(self, work: Work) {
        let work = if context::is_deep() && !MODEL {
            run_on_fresh_stack(self, work)
        } else {
            Some(work)
        };
        if let Some(work) = work {
            match self.registry.config.waits {
                Waits::Own => self.on_fresh_ring(|member| member.run(work)),
                Waits::Any => self.run(work),
            }
        }
    }

    /// Runs a task that is unrelated to what the thread is in the middle of.
    pub(crate) fn run_unrelated_task(self, task: Task) {
        self.run_unrelated(Work::task(task));
    }
}

/// Work that another thread is given to run.
struct Handed(Mutex<Option<Work>>);

// SAFETY: the mutex lets one thread at a time move the work out, and both kinds of work may change threads. (1) A task is `Send`. (2) The closure
// and the result of a stolen fork are `Send`, and the frame of its owner waits until the fork is done, whichever thread runs it.
unsafe impl Sync for Handed {}

/// Lets a new thread run the work as a guest, and waits for it. Returns the work if the thread cannot be started.
#[cold]
fn run_on_fresh_stack(member: Member<'_>, work: Work) -> Option<Work> {
    let registry = member.registry;
    let Some(shared) = registry.this.upgrade() else {
        return Some(work);
    };
    let (handed, done) = (Handed(Mutex::new(Some(work))), Latch::new(1));
    let stack = registry.config.stack_size_or_default();
    let stands_in = stand_in_for(registry);
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new()
            .name("heist-deep".to_owned())
            .stack_size(stack);
        let (handed, ended) = (&handed, done.clone());
        let started = builder.spawn_scoped(scope, move || {
            context::begin_fresh_stack(stack / 2, stands_in);
            as_guest(&shared, |member| {
                if let Some(work) = lock(&handed.0).take() {
                    member.run(work);
                }
            });
            ended.count_down();
        });
        match started {
            // A wait with a deadline runs nothing unrelated, for which this stack has no room. The deadline is never reached.
            Ok(_) => while !block(&done, now().checked_add(LONG)) {},
            Err(_) => registry.start_failures.add_shared(1),
        }
    });
    lock(&handed.0).take()
}

/// A time longer than any program waits.
const LONG: Duration = Duration::from_secs(1 << 32);

/// A stolen fork for which its owner waits.
struct StolenFork<'a> {
    job: &'a ForkHeader,
    /// The origin under the fork's place.
    origin: Origin,
    /// The state of the job when the owner announced that it parks.
    seen: Cell<ForkState>,
}

/// The most tasks that a wait for a fork takes out of one queue without being allowed to run them. Each of them goes to the end of the scope
/// injector.
const UNWANTED: usize = 2;

impl Awaited for StolenFork<'_> {
    fn is_done(&self) -> bool {
        self.job.state() == ForkState::Done
    }

    fn kind(&self) -> (Wait, u64) {
        (Wait::Fork, 0)
    }

    fn waited(&self) -> Waited {
        self.origin.waited()
    }

    fn below(&self) -> Option<Origin> {
        Some(self.origin)
    }

    /// Steals from the thief, which most likely has something.
    fn help(&self, member: Member<'_>, look: Look) -> bool {
        let ForkState::Running { slot: thief } = self.job.state() else {
            return false;
        };
        let registry = member.registry;
        let thief = registry.slot(thief);
        let allowed = |index| {
            registry.descends(thief.origin_at(index), self.origin) && !look.is_crowded(registry)
        };
        member.run_found(steal_fork(
            member,
            thief,
            &allowed,
            &|_| true,
            look.may_force(),
        ))
    }

    /// Whether the thief is parked in a wait of its own.
    fn is_asleep(&self, member: Member<'_>) -> bool {
        match self.job.state() {
            ForkState::Running { slot: thief } => member.registry.slot(thief).is_helper(),
            ForkState::Taken | ForkState::Done => false,
        }
    }

    fn find_task(&self, member: Member<'_>, look: Look) -> Option<Task> {
        let registry = member.registry;
        if look.is_crowded(registry) {
            return None;
        }
        // A slot on which no descendant runs has few descendants. Taking other tasks away would help no thread, and the owners of their scopes
        // find them where they are.
        let likely = |victim: &Slot| registry.descends(victim.lineage.innermost(), self.origin);
        let wanted = |task: &Task| registry.descends(task.origin(), self.origin);
        find_task(member, wanted, likely, UNWANTED)
    }

    fn announce(&self, slot: &Slot) -> bool {
        self.seen.set(self.job.state());
        self.job.announce_wait(self.seen.get(), slot.id)
    }

    fn withdraw(&self, slot: &Slot) {
        self.job.withdraw_wait(self.seen.get(), slot.id);
    }
}

/// Blocks the current thread, in a pool or not, until the event comes or the deadline passes. Returns whether the event has come.
///
/// While a thread that takes part in a pool is blocked, there is room for another thread of that pool.
pub(crate) fn block(event: &impl Event, deadline: Option<Instant>) -> bool {
    match context::member() {
        Some(member) => wait_until(member, event, false, deadline),
        None => block_outside(event, deadline),
    }
}

/// Spins until the event comes, for a moment. Returns whether it has come.
pub(crate) fn await_briefly(event: &impl Event) -> bool {
    let mut spin = Spin::new(false);
    while !event.is_set() {
        if !spin.goes_on() {
            return event.is_set();
        }
    }
    spin.end();
    true
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
        let _shown = show_outside(event.waited());
        // A new parker each time. One in a thread-local could not be used while the thread-locals are destroyed.
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

/// Runs `f`, which blocks the current thread. While it runs, there is room for another thread of the pool, and one is woken or started if there is work.
pub(crate) fn leave_place<R>(f: impl FnOnce() -> R) -> R {
    let home = context::home();
    let recorder = home
        .filter(|_| !context::is_gone())
        .and_then(|home| home.slot.recorder());
    let place = home.and_then(LeftPlace::new);
    let _shown = place
        .as_ref()
        .map(|place| place.0.show(Waited::BLOCKING, 0));
    if let Some(recorder) = recorder {
        let (on, id) = (Wait::Blocking, 0);
        recorder.put(Entry::WaitBegin { on, id });
    }
    let _wait = recorder.map(BlockingWait);
    f()
}

/// Ends the record of a blocking call.
struct BlockingWait<'a>(&'a Recorder);

impl Drop for BlockingWait<'_> {
    fn drop(&mut self) {
        self.0.put(Entry::WaitEnd);
    }
}

/// The place of a pool thread that blocks.
struct LeftPlace<'a>(Member<'a>);

impl<'a> LeftPlace<'a> {
    /// Returns `None` if the thread has left its place further down on its stack.
    fn new(home: Member<'a>) -> Option<Self> {
        (!home.set_left(true)).then(|| {
            leave(home);
            LeftPlace(home)
        })
    }
}

impl Drop for LeftPlace<'_> {
    fn drop(&mut self) {
        self.0.set_left(false);
        self.0.registry.sleep.resume_bound(false);
    }
}

fn leave(home: Member<'_>) {
    home.cool_down();
    if home.registry.sleep.park_bound(false) {
        home.registry.wake_for_capacity();
    }
}

/// The place of a pool thread that waits in the middle of code for which it has left its place. It takes the place back for the wait, which leaves it itself when it
/// parks.
struct BackInPlace<'a>(Member<'a>);

impl BackInPlace<'_> {
    fn new() -> Option<Self> {
        let home = context::home()?;
        home.set_left(false).then(|| {
            home.registry.sleep.resume_bound(false);
            BackInPlace(home)
        })
    }
}

impl Drop for BackInPlace<'_> {
    fn drop(&mut self) {
        self.0.set_left(true);
        leave(self.0);
    }
}

/// Waits until the thief of the fork at `index` has finished, and unbinds the place.
#[cold]
#[inline(never)]
pub(crate) fn wait_stolen(job: &ForkHeader, index: usize) {
    let member = own_member();
    let fork = StolenFork {
        job,
        origin: member.own_origin(index),
        seen: Cell::new(ForkState::Taken),
    };
    wait(member, &fork, !unwind::panicking());
    member.ring.reset(index);
}

/// Runs one task of the current thread's pool, of any kind. Tasks that the thread has queued itself and broadcast tasks for it come first.
pub(crate) fn yield_now() -> bool {
    yield_to(|member| run_own(member) || member.run_unrelated_found(find_any(member, false)))
}

/// Runs one task that the current thread has queued itself, or a broadcast task for it.
pub(crate) fn yield_local() -> bool {
    yield_to(run_own)
}

fn yield_to(run: impl FnOnce(Member<'_>) -> bool) -> bool {
    let Some(member) = context::member() else {
        return false;
    };
    member.registry.check_fork();
    let _paused = context::pause_line();
    cool_home_down();
    let ran = run(member);
    if ran {
        member.look_idle_after_help();
    }
    ran
}

/// Runs one piece of the thread's own work. Under [`Waits::Any`] the newest detached task comes before older ones, and broadcast tasks come last,
/// in a yield as in a wait.
fn run_own(member: Member<'_>) -> bool {
    let fork = || member.run_unrelated_found(take_own_fork(member));
    let newest = || member.run_unrelated_found(member.pop_detached().map(Work::task));
    let oldest = || member.run_unrelated_found(oldest_task(member));
    match member.registry.config.waits {
        Waits::Own => run_own_inbox() || fork() || oldest(),
        Waits::Any => fork() || newest() || oldest() || run_own_inbox(),
    }
}
