//! A thread as a member of a pool: how a guest enters and leaves, and how a member queues, shares and runs work.

use super::activity::Shown;
use super::config::Waits;
use super::context::{self, Member};
use super::injector::is_turn_of_scopes;
use super::registry::Registry;
use super::slot::Role;
use super::streams::{StreamQueue, rough_now};
use super::work::{Taken, Work};
use crate::job::{Fate, ForkHeader, Group, Task};
use crate::lineage::{Place, Token};
use crate::profile::line::Line;
use crate::record::{Entry, Name, Recorder, SiteInfo, SiteWord, Work as Recorded};
use crate::ring::{CAPACITY, Popped};
use crate::sleep::{Left, Need, Waited};
use crate::sync::{Ordering, fence};
use crate::sys::TICKS_PER_MICROSECOND;
use crate::unwind::{self, Payload};
use std::ptr::NonNull;

// ---- who the current thread is ----

/// The member as which the current thread acts. The caller knows that it takes part in a pool.
pub(crate) fn own_member<'a>() -> Member<'a> {
    context::member().expect("heist: a fork was made outside a pool")
}

/// Whether the current thread is one of the pool's own, whatever it acts as at the moment.
pub(crate) fn is_pool_thread(registry: &Registry) -> bool {
    context::home_in(registry).is_some()
}

/// Whether the current thread runs by itself what only the pool's threads run. It does in three cases: it is one of them; one of them has started it
/// to run something, and waits for that and for nothing else; or it is about to start one of them.
pub(crate) fn acts_for_pool_thread(registry: &Registry) -> bool {
    is_pool_thread(registry) || context::stands_in() == registry.id || context::is_naming(registry)
}

/// The number of the pool if the current thread runs by itself what only the pool's threads run, or else 0. The current thread passes it to a thread
/// that it starts and waits for, which then does the same: see [`context::begin_fresh_stack`].
pub(crate) fn stand_in_for(registry: &Registry) -> u64 {
    if acts_for_pool_thread(registry) {
        registry.id
    } else {
        0
    }
}

/// The index of the current thread if it is a worker of this pool, whatever it acts as at the moment.
pub(crate) fn home_index(registry: &Registry) -> Option<usize> {
    context::home_in(registry)?.kind.worker()
}

/// The index of the current thread if it acts as a worker.
pub(crate) fn current_index() -> Option<usize> {
    context::slot()?.role().worker()
}

// ---- guests and second rings ----

/// Runs `f` on this thread as a member of the pool: from the slot that it has in the pool, or else from a guest slot.
#[inline]
pub(crate) fn as_part<R>(registry: &Registry, f: impl FnOnce(Member<'_>) -> R) -> R {
    match context::member_of(registry) {
        Some(member) => f(member),
        None => as_guest(registry, f),
    }
}

/// Runs `f` on this thread from a guest slot.
pub(crate) fn as_guest<R>(registry: &Registry, f: impl FnOnce(Member<'_>) -> R) -> R {
    as_guest_of(registry, None, None, f)
}

/// Runs `f`, an item of a stream, on the stream's consumer, which is not a member of the pool, from a guest slot: from the one with the number `reserved`, which the consumer
/// keeps, if it has reserved one.
pub(crate) fn as_consumer<R>(
    registry: &Registry,
    stream: &StreamQueue,
    reserved: Option<usize>,
    f: impl FnOnce(Member<'_>) -> R,
) -> R {
    as_guest_of(registry, Some(stream), reserved, f)
}

#[inline]
fn as_guest_of<R>(
    registry: &Registry,
    stream: Option<&StreamQueue>,
    reserved: Option<usize>,
    f: impl FnOnce(Member<'_>) -> R,
) -> R {
    registry.check_fork();
    let slot = match reserved {
        Some(id) => registry.slot(id),
        None => registry.acquire_guest(),
    };
    slot.set_role(Role::Guest);
    registry.sleep.enter_guest();
    let member = Member { registry, slot };
    let _guest = Guest {
        member,
        stream,
        keeps_slot: reserved.is_some(),
    };
    let _context = context::enter(member);
    if let Some(recorder) = member.recorder() {
        recorder.put(Entry::GuestEnter);
    }
    let token = context::token();
    let _run = (token != Token::NONE).then(|| member.change_token(token));
    f(member)
}

/// A thread from outside while it takes part in a pool.
struct Guest<'a> {
    member: Member<'a>,
    /// The stream whose consumer the thread is.
    stream: Option<&'a StreamQueue>,
    /// Whether the thread has reserved the slot.
    keeps_slot: bool,
}

/// The longest stay of a consumer after which it leaves the look for work to others, in ticks.
const BRIEF_STAY: u64 = 200 * TICKS_PER_MICROSECOND;

impl Guest<'_> {
    /// Finds a thread for the room that the guest has made, and wakes those that wait for an idle moment.
    ///
    /// It is cold, so that the exit of a guest that makes no room saves no registers for this call.
    #[cold]
    fn tell_others(&self, left: Left) {
        let registry = self.member.registry;
        if left.capacity && !self.leave_look_to_others(left) {
            registry.guest_left(left.is_last);
        }
        if left.awaited {
            registry.tell_idle_waiters();
        }
    }

    /// Leaves the look for work to the worker that watches, if the guest is about to come back and enough others are awake. Returns whether it did.
    ///
    /// The guest owes the look from then on. The worker that watches looks within a millisecond, as long as one look is owed or the consumer is near.
    fn leave_look_to_others(&self, left: Left) -> bool {
        let registry = self.member.registry;
        let Some(stream) = self.stream else {
            return false;
        };
        let is_brief = stream.has_raw()
            || stream.is_near() && rough_now().wrapping_sub(stream.seen()) < BRIEF_STAY;
        let enough = left.workers >= registry.sleep.target().saturating_sub(1).max(1)
            && registry.injector.streams.is_watched();
        if is_brief && enough {
            registry.request_all();
            stream.owe_look();
        }
        is_brief && enough
    }
}

impl Drop for Guest<'_> {
    fn drop(&mut self) {
        let Member { registry, slot } = self.member;
        debug_assert_eq!(slot.ring.depth(), 0, "a guest left forks behind");
        if registry.forked() {
            // The process was forked during the call. In the child no thread waits, and locks may be held forever.
            return;
        }
        if let Some(recorder) = slot.recorder() {
            recorder.put(Entry::GuestLeave);
        }
        if !self.keeps_slot {
            registry.release_guest(slot);
        }
        if let Some(left) = registry.sleep.leave_guest() {
            self.tell_others(left);
        }
    }
}

/// The second ring of a thread that already takes part in the pool, while the thread acts from there. Meanwhile it records on the recorder of the first one, in
/// place of the slot's own.
struct SecondRing<'a>(Member<'a>, Option<*const Recorder>);

impl<'a> SecondRing<'a> {
    fn new(outer: Member<'_>, second: Member<'a>) -> Self {
        let lent = outer.recorder().filter(|_| !context::is_gone());
        let lent = lent.map(std::ptr::from_ref);
        SecondRing(second, lent.map(|lent| second.slot.set_recorder(lent)))
    }
}

impl Drop for SecondRing<'_> {
    fn drop(&mut self) {
        // If another recording has started or ended in the meantime, this brings back the slot's earlier recorder. It is still there, and nothing else writes to it.
        // The slot is then not recorded, or it is if the new recording uses that recorder again.
        if let Some(own) = self.1 {
            self.0.slot.set_recorder(own);
        }
        self.0.registry.release_guest(self.0.slot);
    }
}

impl<'a> Member<'a> {
    /// Runs `f` from another slot of the same pool, as a part of what runs on this one. A join deeper than a ring uses this.
    #[inline(always)]
    pub(crate) fn on_deeper_ring<R>(self, f: impl FnOnce(Member<'_>) -> R) -> R {
        self.on_another_ring::<R, true>(f)
    }

    /// Runs `f` from another slot of the same pool, as unrelated work, which descends from nothing that runs on this one.
    #[inline(always)]
    pub(super) fn on_fresh_ring<R>(self, f: impl FnOnce(Member<'_>) -> R) -> R {
        self.on_another_ring::<R, false>(f)
    }

    #[cold]
    fn on_another_ring<R, const IS_DEEPER: bool>(self, f: impl FnOnce(Member<'_>) -> R) -> R {
        let slot = self.registry.acquire_guest();
        let second = SecondRing::new(self, Member { slot, ..self });
        slot.set_role(self.role());
        let _context = context::enter(second.0);
        let _run = IS_DEEPER.then(|| second.0.begin(self.own_origin(CAPACITY), context::token()));
        f(second.0)
    }

    // ---- running ----

    #[inline]
    pub(super) fn run(self, work: Work) {
        match work.take() {
            Taken::Fork(job, place) => self.run_fork(job, place),
            Taken::Task(task) => self.run_task(task),
        }
    }

    /// Runs what a free worker has found. After a scope's task it also runs the tasks of scopes that the thread has queued meanwhile.
    #[inline]
    pub(super) fn run_free(self, work: Work) {
        let mut next = match work.take() {
            Taken::Fork(job, place) => return self.run_fork(job, place),
            Taken::Task(task) => Some(task),
        };
        while let Some(task) = next {
            next = match task.countable() {
                Some(group) => self.run_group(group, task),
                None => {
                    self.run_task(task);
                    None
                }
            };
        }
    }

    /// Runs a task of a scope, and then those of the same scope that the thread has queued meanwhile. It counts them by [credits](super::credits). Returns a
    /// task that it has taken and not run.
    ///
    /// That task must run next. If it were queued again, its own waiter would have to be woken, which may have looked for it meanwhile.
    fn run_group(self, group: *const Group, mut task: Task) -> Option<Task> {
        let begun = self.begin(task.origin(), task.token());
        let base = self.position();
        self.credits().open(group);
        let other = loop {
            self.run_in_place(task);
            match self.next_own(base) {
                // A future of the scope is no such task: its wakers run after its end, and can wait for the end of the scope.
                Some(next) if next.countable() == Some(group) => task = next,
                other => break other,
            }
        };
        let credits = self.credits().close();
        if credits > 0 {
            // SAFETY: (1) `countable` returned the pointer. (2) The count includes the credits, and they are given back here only.
            unsafe { Group::give_back(group, credits) };
        }
        drop(begun);
        other
    }

    /// Takes the newest scope task of the thread's own deque, down to the position `base`, unless a free worker may have to do something else first.
    #[inline]
    fn next_own(self, base: usize) -> Option<Task> {
        if self.position() <= base || self.others_come_first() {
            return None;
        }
        let task = self.pop_task()?;
        self.turn();
        // As at the beginning of each run.
        if self.registry.sleep.wants_helpers() {
            self.ring.request();
        }
        Some(task)
    }

    /// Whether a free worker may have to leave, or to take something else before the newest scope task of its own deque.
    #[inline]
    fn others_come_first(self) -> bool {
        let registry = self.registry;
        let next_turn = self.turns().wrapping_add(1);
        registry.sleep.is_surplus(self.kind.worker())
            || (registry.config.waits == Waits::Own && !self.inbox.is_empty())
            || (registry.injector).may_offer_first(next_turn, &registry.sleep)
            || (is_turn_of_scopes(next_turn) && !registry.scope_injector.is_empty())
            || (self.has_futures() && self.may_offer_future(next_turn))
    }

    /// Runs a stolen fork.
    #[inline(never)]
    fn run_fork(self, job: NonNull<ForkHeader>, place: Place) {
        self.counters.executed.add(1);
        let victim = self.registry.slot(place.slot());
        let (origin, token) = (victim.lineage.origin(place), victim.lineage.token(place));
        // SAFETY: this thread has taken the fork, and reports its end below.
        let orphans = unsafe { victim.mark.orphans(place.number()) };
        let line = orphans.map(|orphans| Line::new(orphans.begin()));
        let followed = line.as_ref().map(context::follow);
        let begun = self.begin(origin, token);
        // SAFETY: (1) this thread stole `job` from a ring: `Work::fork` is called by thieves only. (2) It has not run: `Work` is not `Clone`, and
        // it is consumed here. (3) The job is not touched afterwards.
        let waiter = unsafe { ForkHeader::execute(job, self.id, self.slot.recorder()) };
        drop(begun);
        drop(followed);
        if let Some((orphans, line)) = orphans.zip(line) {
            orphans.end(line);
        }
        if let Some(waiter) = waiter {
            self.registry.wake(waiter);
        }
    }

    /// Runs a task taken from a queue.
    #[inline(always)]
    pub(crate) fn run_task(self, task: Task) {
        let begun = self.begin(task.origin(), task.token());
        self.run_in_place(task);
        drop(begun);
    }

    /// Runs a task as a part of what already runs, which waits for the task.
    #[inline]
    pub(crate) fn run_in_place(self, task: Task) {
        self.counters.executed.add(1);
        let fate = match self.recorder() {
            None => Fate::Run,
            Some(_) => Fate::RunRecorded,
        };
        task.resolve(fate, Some(self.blocks()));
    }

    /// Notifies the threads that wait for idleness, after the member has run a task in the middle of something else, which may still take
    /// long.
    #[inline]
    pub(crate) fn look_idle_after_help(self) {
        // The pool is not idle while a submitted task runs.
        if !self.running.is_some() {
            self.registry.look_idle();
        }
    }

    /// Shows what the thread waits for until the guard is dropped.
    pub(super) fn show(self, waited: Waited, left: u64) -> Shown<'a> {
        let (runs, is_guest) = (self.counters.executed.get(), self.kind == Role::Guest);
        let shown = self.slot.activity.show(waited, left, runs, is_guest);
        if waited != Waited::WORK {
            self.arm_watch();
        }
        shown
    }

    /// Arms the watch over stalls, if there is one, after the thread has begun to be busy or to wait.
    #[inline]
    pub(super) fn arm_watch(self) {
        if let Some(watcher) = &self.registry.config.watcher {
            // Store-load pair: {busy; fence; whether the watch is armed} here, {not armed; fence; busy} in a watch that ends.
            fence(Ordering::SeqCst);
            watcher.arm(self.registry.id);
        }
    }

    // ---- queueing and sharing ----

    /// Whether nothing is queued that this thread would take before it looks at the work of others.
    pub(crate) fn has_nothing_queued(self) -> bool {
        self.has_nothing_in_deques()
            && self.hot.is_empty()
            && self.inbox.is_empty()
            && self.registry.injector.offers_none(&self.registry.sleep)
            && self.registry.scope_injector.is_empty()
    }

    /// Queues a detached task in this thread's own deque, and answers a share request.
    #[inline]
    pub(crate) fn push_detached(self, task: Task) {
        if self.put_detached(task) {
            self.share(Need::Worker);
        }
    }

    /// Queues a scope task in this thread's own deque, and answers a share request.
    #[inline]
    pub(crate) fn push_task(self, task: Task) {
        if self.put_task(task) {
            self.share(Need::Help);
        }
    }

    /// Whether this member is the thread itself, rather than a second ring or a guest, so that it comes back to what is queued here.
    pub(crate) fn is_at_home(self) -> bool {
        self.kind != Role::Guest
    }

    /// Queues a future that this thread has woken, so that it comes next.
    pub(crate) fn push_hot(self, task: Task) {
        if let Some(before) = self.put_hot(task) {
            self.push_ready(before);
        }
    }

    /// Queues a future that was woken during its own poll, behind all others.
    pub(crate) fn push_yielded(self, task: Task) {
        self.note_yield();
        self.push_ready(task);
    }

    fn push_ready(self, task: Task) {
        if self.put_ready(task) {
            self.share(Need::Worker);
        }
    }

    /// Queues the hot task where other threads look for it, before this thread sleeps or blocks.
    #[inline]
    pub(super) fn cool_down(self) {
        if let Some(hot) = self.hot.take() {
            self.push_ready(hot);
        }
    }

    /// Removes the tombstones from this thread's own deques.
    #[cold]
    pub(crate) fn sweep(self, is_tombstone: impl Fn(&Task) -> bool) {
        let waiters = self.sweep_deques(is_tombstone);
        // The other tasks were in no queue for a moment. A thread that looked then may sleep now, free or waiting for one of them.
        self.share(Need::Worker);
        self.share(Need::Help);
        for waiter in waiters {
            self.registry.wake_for_task(waiter);
        }
        self.registry.after_put_back();
    }

    /// Shows `is_tombstone` the tasks that are queued in the pool, and removes tombstones. Some tasks are in no queue for a moment.
    #[cold]
    pub(crate) fn visit_queued(self, is_tombstone: impl Fn(&Task) -> bool) {
        // The hot task of the thread's own slot, which this one need not be.
        if let Some(home) = context::home() {
            home.cool_down();
        }
        self.sweep(&is_tombstone);
        self.registry.visit_queued_beside(self.slot, is_tombstone);
    }

    /// Answers a share request: makes some of this thread's own work public, and finds a thread for it if none searches.
    #[cold]
    pub(crate) fn share(self, need: Need) {
        self.counters.share_requests.add(1);
        self.ring.share();
        self.registry.published(need, self.lineage.innermost());
        self.registry.attend_futures();
        if need == Need::Worker && self.registry.sleep.wants_helpers() {
            // The request was answered for a task that no helper may run, so that the next push must answer it again.
            self.ring.request();
        }
    }
}

/// Runs `f` as a run that the current thread records, if the task's fate says so.
pub(crate) fn recorded<R>(
    fate: Fate,
    what: Recorded,
    site: &'static SiteInfo,
    f: impl FnOnce() -> Result<R, Payload>,
) -> Result<R, Payload> {
    let recorder = (fate == Fate::RunRecorded)
        .then(|| context::slot()?.recorder())
        .flatten();
    if let Some(recorder) = recorder {
        recorder.run_begins(what, 0, Name::Site(SiteWord::of(site)));
    }
    let outcome = f();
    if let Some(recorder) = recorder {
        recorder.ends(outcome.is_err());
    }
    outcome
}

/// The outcome of a push that the owner had to answer a share request for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PushOutcome {
    Pushed,
    /// The ring was full, and the item is not in it.
    Full,
}

/// Owner: answers a share request after the push at `index`, or undoes the push if the ring is full.
#[cold]
#[inline(never)]
pub(crate) fn share_after_push(index: usize) -> PushOutcome {
    let member = own_member();
    if member.registry.forked() {
        // No thief can have taken it, since the child has no other threads.
        let _ = member.ring.pop(index);
        member.registry.check_fork();
    }
    if index == CAPACITY && member.ring.pop(index) == Popped::Ours {
        return PushOutcome::Full;
    }
    // The ring points into the frame of the caller, so that nothing may unwind from here on.
    let guard = unwind::AbortOnUnwind("a wake-up panicked");
    member.share(Need::Help);
    std::mem::forget(guard);
    PushOutcome::Pushed
}
