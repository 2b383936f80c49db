//! How a task ends: a runner runs it, or it is dropped without a run. Then its callbacks are called and its waiters woken.

use super::error::{Cause, JoinError, Kind};
use super::extra::{Extra, Waiter};
use super::state::{Detach, End, RunnerRef, Suspend};
use super::task::{Header, Ran, TaskRef};
use super::token;
use crate::blocks::Blocks;
use crate::clock;
use crate::counters::{Count, Counters};
use crate::job::{Fate, TaskHeader};
use crate::pool::{self, Member, Registry, context, worker};
use crate::record::Entry;
use crate::sync::{Ordering, lock, now};
use crate::unwind::{self, Payload};
use std::ptr::NonNull;

/// Ends a task that comes out of a queue. Returns whether it did: the task may have begun or ended before.
///
/// # Safety
/// (1) `task` begins a live cell. (2) The caller owns the queue's reference to it and gives it away.
pub(super) unsafe fn resolve(task: NonNull<TaskHeader>, fate: Fate, _: Option<&Blocks>) -> bool {
    // SAFETY: as the caller asserts, (1) the header begins a live cell, and (2) a reference to it is given away.
    let task = unsafe { TaskRef::from_header(task.cast::<Header>()) };
    let live = match fate {
        Fate::Run | Fate::RunRecorded if task.claim_closure() => {
            let member = context::member().expect("heist: a task ran outside its pool");
            member.registry.admission.leave();
            task.run_claimed(member);
            return true;
        }
        Fate::Run | Fate::RunRecorded => false,
        Fate::Drop | Fate::Evict => task.cancel_unrun(Cause::ShutDown),
    };
    if !live {
        task.count_tombstone(|counters| &counters.tombstones_removed);
        if fate.runs() {
            note_nothing_run();
        }
    }
    live
}

/// Ends, or polls, the future of an entry that comes out of a queue. Returns whether there was something to do: the task may have ended, or have been polled by way of
/// another entry.
///
/// # Safety
/// (1) `task` begins the live cell of a future. (2) The caller owns the entry's reference to it and gives it away.
pub(super) unsafe fn resolve_future(
    task: NonNull<TaskHeader>,
    fate: Fate,
    _: Option<&Blocks>,
) -> bool {
    // SAFETY: as the caller asserts, (1) the header begins a live cell, and (2) a reference to it is given away.
    let task = unsafe { TaskRef::from_header(task.cast::<Header>()) };
    match fate {
        Fate::Run | Fate::RunRecorded => {
            let Some(begin) = task.claim() else {
                task.count_tombstone(|counters| &counters.tombstones_removed);
                note_nothing_run();
                return task.finish_left();
            };
            let member = context::member().expect("heist: a task ran outside its pool");
            match begin {
                Begin::First if task.state.is_gated() => member.registry.admission.leave(),
                Begin::First => {}
                Begin::Again => member.counters.executed.take_back(1),
            }
            task.run_claimed(member);
            true
        }
        Fate::Drop => {
            // This counts a tombstone, since elsewhere the entry would stay in its queue.
            let live = task.cancel(Cause::ShutDown);
            if !live {
                task.pass_on();
            }
            task.count_tombstone(|counters| &counters.tombstones_removed);
            live
        }
        Fate::Evict => task.cancel(Cause::ShutDown),
    }
}

/// Whether a task that was claimed has begun before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begin {
    First,
    /// A future that was polled before.
    Again,
}

/// Corrects the count of runs, after the current thread has taken a block out of a queue and found nothing to run.
pub(super) fn note_nothing_run() {
    if let Some(member) = context::member() {
        member.counters.executed.take_back(1);
    }
}

/// Passes a panic that no handle will see to the pool's panic handler.
pub(super) fn report_lost_panic(payload: Option<Payload>, registry: Option<&Registry>) {
    match (payload, registry) {
        (None, _) => {}
        (Some(payload), Some(registry)) => registry.report_lost_panic(payload),
        (Some(payload), None) => unwind::drop_quietly(payload),
    }
}

/// Counts how long a measured task was queued, and returns the time at which it begins.
#[inline(never)]
pub(super) fn begin_measured(member: Member<'_>, queued_ns: u64) -> u64 {
    let now_ns = clock::now_ns();
    let wait_ns = now_ns.saturating_sub(queued_ns);
    member.own_timings().queue_wait.add(wait_ns);
    now_ns
}

/// Counts how long a measured task has run.
#[inline(never)]
pub(super) fn end_measured(member: Member<'_>, begun_ns: u64) {
    let run_ns = clock::now_ns().saturating_sub(begun_ns);
    member.own_timings().run_time.add(run_ns);
}

impl TaskRef {
    /// Makes the error of a task that ends without a result.
    pub(super) fn error(&self, cause: Cause) -> JoinError {
        JoinError::new(Kind::Ended(cause), self.id, self.shared_name())
    }

    // ---- a run ----

    /// Moves a closure from queued to running. Returns false if it is no longer queued, or if its deadline has passed.
    #[inline]
    pub(super) fn claim_closure(&self) -> bool {
        if self.state.is_timed() {
            self.expire_if_overdue();
        }
        self.state.claim()
    }

    /// Moves the task from queued to running. Returns `None` if it is not queued, or if its deadline has passed.
    pub(super) fn claim(&self) -> Option<Begin> {
        if !self.state.is_future() {
            return self.claim_closure().then_some(Begin::First);
        }
        if self.state.is_timed() {
            self.expire_if_overdue();
        }
        let is_first = self.state.claim_poll()?;
        Some(if is_first { Begin::First } else { Begin::Again })
    }

    /// Claims a queued task of this pool, whose block stays in the queue. Returns `None` if it is not queued, or belongs to another pool.
    pub(super) fn claim_of(&self, registry: &Registry) -> Option<Begin> {
        let begin = (registry.id == self.pool())
            .then(|| self.claim())
            .flatten()?;
        if self.state.is_gated() {
            if begin == Begin::First {
                registry.admission.leave();
            }
            registry.count(|counters| &counters.tombstones, 1);
        }
        Some(begin)
    }

    /// Runs the task on behalf of its handle, if it has not begun and belongs to `member`'s pool. Returns whether it did.
    pub(super) fn run_queued(&self, member: Member<'_>) -> bool {
        let begin = self.claim_of(member.registry);
        if let Some(begin) = begin {
            if begin == Begin::First {
                member.counters.executed.add(1);
            }
            self.run(member, RunnerRef::Retained);
        }
        begin.is_some()
    }

    /// Runs a claimed task on `member`, which belongs to the task's pool.
    #[inline]
    pub(super) fn run_claimed(self, member: Member<'_>) {
        let task = std::mem::ManuallyDrop::new(self);
        if let RunnerRef::Retained = task.run(member, RunnerRef::Consumed) {
            drop(std::mem::ManuallyDrop::into_inner(task));
        }
    }

    /// Runs a task that the current thread has claimed. `runner` says whether the run may consume the reference that `self` is. Returns whether it did.
    #[inline]
    fn run(&self, member: Member<'_>, runner: RunnerRef) -> RunnerRef {
        // ORDERING: Relaxed: the queue has published what is there since the submission, and a block that is made later does not matter to the run.
        if self.extra.load(Ordering::Relaxed).is_null() {
            self.run_with(member, runner, None, None)
        } else {
            self.run_with_extra(member, runner)
        }
    }

    #[inline(never)]
    fn run_with_extra(&self, member: Member<'_>, runner: RunnerRef) -> RunnerRef {
        let queued_ns = self.take_queued();
        let begun_ns = queued_ns.map(|queued_ns| begin_measured(member, queued_ns));
        self.run_with(member, runner, self.extra(), begun_ns)
    }

    /// Runs the task. `begun_ns` is the time if its run time is measured.
    #[inline(always)]
    fn run_with(
        &self,
        member: Member<'_>,
        runner: RunnerRef,
        extra: Option<&Extra>,
        begun_ns: Option<u64>,
    ) -> RunnerRef {
        let outer = member.running.begin(self.id.0.get());
        let recorder = member.slot.recorder();
        if let Some(recorder) = recorder {
            self.record_begin(recorder);
        }
        let token = token::enter(member.slot, extra.and_then(|extra| extra.token.as_ref()));
        let name = extra.and_then(|extra| extra.name.clone());
        // A task without a name hides the name of a task further down on the stack.
        let named = name.is_some() || (outer != 0 && member.running.is_named());
        let outer_name = named.then(|| member.running.set_name(name)).flatten();
        // SAFETY: (1) the operations are those of this cell. (2) The current thread has claimed the task, so the task is running, and its closure belongs to
        // this thread.
        let ran = unsafe { (self.ops.run)(self.header()) };
        if let Some(recorder) = recorder {
            recorder.run_ends(ran.outcome());
        }
        if let Some(begun_ns) = begun_ns {
            end_measured(member, begun_ns);
        }
        if named {
            member.running.set_name(outer_name);
        }
        drop(token);
        if let Ran::Pending = ran {
            member.running.back(outer);
            return self.after_poll(member, runner);
        }
        // `complete_run` counts the end. It comes before `back`, after which the task no longer counts as running on this thread: see `Registry::is_idle`.
        let runner = self.complete_run(member, ran, runner);
        member.running.back(outer);
        runner
    }

    /// Counts a run that has ended, and ends the task. Returns whether the runner's reference was consumed.
    #[inline(always)]
    fn complete_run(&self, member: Member<'_>, ran: Ran, runner: RunnerRef) -> RunnerRef {
        match ran {
            Ran::Completed => member.counters.completed.add(self.tasks()),
            Ran::Panicked => member.counters.failed.add(self.tasks()),
            Ran::Late(lost) => {
                report_lost_panic(lost, Some(member.registry));
                return RunnerRef::Retained;
            }
            Ran::Pending => unreachable!("heist: a future that is not ready has ended"),
        }
        if self.state.is_timed() {
            self.serve(Some(member.registry));
            return RunnerRef::Retained;
        }
        match self.state.end(runner) {
            // A consumed reference has been released: the cell may be gone.
            End::Handed => runner,
            End::Alone => {
                self.discard(Some(member.registry));
                // SAFETY: (1) `Alone` says that nobody else refers to the cell. (2) The caller learns that its reference is consumed. (3) The closure was moved
                // out and the outcome was dropped.
                unsafe { self.free(Some(member.blocks())) };
                RunnerRef::Consumed
            }
            End::Complete => {
                self.serve(Some(member.registry));
                RunnerRef::Retained
            }
        }
    }

    /// Suspends a future that was not ready, or ends it if it was stopped. Returns whether the runner's reference was consumed.
    #[inline(never)]
    fn after_poll(&self, member: Member<'_>, runner: RunnerRef) -> RunnerRef {
        let suspend = self.suspend(member, runner);
        if let Suspend::Suspended | Suspend::Woken = suspend {
            // A consumed reference has been given away: the cell may be gone.
            return runner;
        }
        // The task runs again until its callbacks have been called, so that the pool is not idle before.
        let outer = member.running.begin(self.id.0.get());
        match suspend {
            Suspend::Suspended | Suspend::Woken => {}
            Suspend::Stopped => {
                let ours = self.state.complete_stopped();
                debug_assert!(ours, "heist: a stopped future was ended twice");
                let roster = &member.registry.roster;
                let cause = if roster.is_closed() && !self.is_scoped() {
                    roster.count_dropped();
                    Cause::ShutDown
                } else {
                    Cause::Cancelled
                };
                self.finish_unrun(cause);
            }
            Suspend::Expired => {
                // SAFETY: (1) the operations are those of this cell. (2) The current thread is still the runner, and the future is in the cell.
                let ran = unsafe { (self.ops.run)(self.header()) };
                let _retained = self.complete_run(member, ran, RunnerRef::Retained);
            }
        }
        member.running.back(outer);
        RunnerRef::Retained
    }

    /// Moves a task with a deadline from running to completing, for its runner. Returns false if the deadline has passed.
    #[cold]
    pub(super) fn complete_in_time(&self) -> bool {
        self.expire_if_overdue();
        self.state.begin_completing()
    }

    /// Expires the task if its deadline has passed. The timer's thread may lag behind, or may not have been started.
    #[cold]
    fn expire_if_overdue(&self) {
        let deadline = self.extra().and_then(|extra| extra.deadline);
        if deadline.is_some_and(|deadline| now() >= deadline) {
            self.expire();
        }
    }

    // ---- an end without a run ----

    /// Cancels the task if it has not begun, and returns whether it did. A queue entry for the task, if there is one, stays in its queue.
    pub(super) fn cancel_unrun(&self, cause: Cause) -> bool {
        if self.state.claim_unrun().is_none() {
            return false;
        }
        if cause != Cause::Refused && cause != Cause::Full {
            self.release_admission();
        }
        self.finish_unrun(cause);
        true
    }

    /// Releases the task's admission. Its queue entry, if there is one, stays behind.
    pub(super) fn release_admission(&self) {
        pool::with_pool(self.pool(), |registry| {
            if self.state.is_gated() {
                registry.admission.leave();
            }
        });
    }

    /// Drops the closure or the future, and finishes the task with an error. The current thread has moved the task to completing.
    pub(super) fn finish_unrun(&self, cause: Cause) {
        // SAFETY: (1) the operations are those of this cell. (2) The current thread has moved the task to completing, and the cell holds the closure.
        let lost = unsafe { (self.ops.drop_closure)(self.header()) };
        // SAFETY: (1) the operations are those of this cell. (2) The current thread has moved the task to completing, and the closure is gone.
        unsafe { (self.ops.fail)(self.header(), self.error(cause)) };
        let registry = pool::pool(self.pool());
        if let Some(registry) = &registry {
            registry.count(|counters| &counters.cancelled, self.tasks());
            registry.record(Entry::Cancelled {
                id: self.record_id(),
            });
        }
        report_lost_panic(lost, registry.as_deref());
        self.serve(registry.as_deref());
        if let Some(registry) = registry {
            registry.look_idle();
        }
    }

    /// Drops and finishes a future that was left. Returns whether it was.
    pub(super) fn finish_left(&self) -> bool {
        let Some(is_shut_down) = self.state.take_left() else {
            return false;
        };
        self.finish_unrun(match is_shut_down {
            true => Cause::ShutDown,
            false => Cause::Cancelled,
        });
        pool::with_pool(self.pool(), |registry| {
            registry.count(|counters| &counters.deferred_done, 1);
            registry.look_idle();
        });
        true
    }

    /// The entry of this future was taken out of a queue that is emptied. If the future is left, it is queued again for a thread of the pool, or dropped at once if
    /// there is no pool or this is one of its threads.
    fn pass_on(&self) {
        if !self.state.is_left() {
            return;
        }
        match pool::pool(self.pool()) {
            Some(registry) if !worker::is_pool_thread(&registry) => self.queue_left(&registry),
            _ => {
                self.finish_left();
            }
        }
    }

    /// Counts a tombstone: one that a queue holds from now on, or one that has come out of its queue.
    pub(super) fn count_tombstone(&self, which: impl Fn(&Counters) -> &Count) {
        if self.state.is_gated() {
            pool::with_pool(self.pool(), |registry| registry.count(which, 1));
        }
    }

    // ---- the end ----

    /// Calls the callbacks, finishes the task and wakes its waiters. The current thread has moved the task to completing and has written the outcome.
    pub(super) fn serve(&self, registry: Option<&Registry>) {
        let mut waiters = Vec::new();
        let wanted = self.state.finish_plain().unwrap_or_else(|| {
            let extra = self.extra_or_new();
            extra.deregister(self.id);
            loop {
                let mut list = lock(&extra.list);
                let callbacks = std::mem::take(&mut list.callbacks);
                if callbacks.is_empty() {
                    waiters = std::mem::take(&mut list.waiters);
                    // Under the lock: a thread that adds a waiter afterwards finds the task finished.
                    break self.state.finish();
                }
                drop(list);
                // SAFETY: (1) the operations are those of this cell. (2) The function may be called in any phase.
                let outcome = unsafe { (self.ops.outcome)(self.header()) };
                for callback in callbacks {
                    report_lost_panic(unwind::catch(|| callback(outcome)).err(), registry);
                }
            }
        });
        // The outcome is dropped before the waiters are woken. If a scope is among them, the outcome may borrow what ends after the scope.
        if !wanted {
            self.discard(registry);
        }
        if let Some(registry) = registry.filter(|_| !waiters.is_empty()) {
            registry.with_recorder(|recorder| recorder.finished(self.record_id()));
        }
        waiters.into_iter().for_each(Waiter::wake);
    }

    /// Drops an outcome that no handle takes. The caller has found that it is there and belongs to no handle.
    pub(super) fn discard(&self, registry: Option<&Registry>) {
        report_lost_panic(self.drop_outcome(), registry);
    }

    /// Drops the outcome as [`discard`](Self::discard) does. Returns the panic that nobody has seen.
    fn drop_outcome(&self) -> Option<Payload> {
        // SAFETY: (1) the operations are those of this cell. (2) The outcome is there and belongs to the caller, as the caller has found. It is dropped once.
        unsafe { (self.ops.discard)(self.header()) }
    }

    /// Drops the handle's reference, and the outcome if it is there.
    pub(super) fn detach(self) {
        match self.state.detach() {
            // `State::detach` has released the reference.
            Detach::Left => std::mem::forget(self),
            // The pool is looked up for a panic only: the look-up takes a lock of the process.
            Detach::Outcome => {
                if let Some(payload) = self.drop_outcome() {
                    report_lost_panic(Some(payload), pool::pool(self.pool()).as_deref());
                }
            }
        }
    }
}
