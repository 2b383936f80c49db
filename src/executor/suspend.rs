//! How a future that is not ready is suspended, and how its waker queues it again.
//!
//! While a task is suspended, no queue holds it. The pool's [`Roster`](crate::pool::Roster) owns a reference to it, and so does each of its wakers. A wake-up moves the
//! task to queued, by the step of [`State::wake`](super::state::State::wake) that one waker wins, and queues it. A wake-up during a poll is recorded, and the thread
//! that polls queues the task afterwards.
//!
//! A thread of the pool that wakes a task polls it next ([`Member::push_hot`]), unless the thread is in the middle of forks or others wait for too long already. A task that was woken during its own poll lets
//! others run: it goes behind those that are ready on its thread, and what is in the injector comes first. All other wake-ups use the injector.

use super::error::TaskId;
use super::extra::Waiter;
use super::future_entry::{into_ref, into_task};
use super::state::{RunnerRef, Suspend};
use super::task::{Header, TaskRef};
use crate::job::Task;
use crate::pool::{self, Member, Priority, Registry, context};
use crate::sync::lock;
use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::task::{RawWaker, RawWakerVTable, Waker};

/// The first bytes of the cell of a future.
#[repr(C)]
pub(super) struct FutureHeader {
    /// It is the first field, so a pointer to a `FutureHeader` is one to a `Header`.
    pub(super) header: Header,
    pub(super) future: FuturePart,
}

/// What the thread that owns the phase of a future reads and writes.
pub(super) struct FuturePart {
    /// The future's index in the roster, or [`NOT_LISTED`], or [`IN_SCOPE`].
    roster_index: Cell<u32>,
    kind: FutureKind,
}

/// What is fixed when a future is submitted.
#[derive(Clone, Copy)]
pub(super) struct FutureKind {
    /// The queue of the injector to which the future returns.
    pub(super) priority: Priority,
    /// Whether the future ends with the pool.
    pub(super) is_daemon: bool,
}

/// The index of a future that is not in the roster.
const NOT_LISTED: u32 = u32::MAX;

/// The index of a future of a scope, which ends with its scope and not with the pool. The scope keeps it alive.
const IN_SCOPE: u32 = u32::MAX - 1;

const _: () = assert!(crate::sync::MODEL || size_of::<FutureHeader>() <= 56);

impl FuturePart {
    pub(super) fn new(kind: FutureKind) -> Self {
        let roster_index = Cell::new(NOT_LISTED);
        FuturePart { roster_index, kind }
    }
}

/// How often a future that wakes itself is polled again in place, while nothing else is queued on the thread.
const REPOLLS: u32 = 64;

impl TaskRef {
    /// The part of a future that belongs to the thread that owns its phase, or else is fixed.
    fn future(&self) -> &FuturePart {
        debug_assert!(self.state.is_future(), "heist: no future");
        let header = self.header().cast::<FutureHeader>();
        // SAFETY: (1) the cell of a task with the flag `FUTURE` begins with a `FutureHeader`. (2) This reference keeps it alive. (3) Nobody has a `&mut` to it.
        &unsafe { header.as_ref() }.future
    }

    /// Returns whether the future that the current thread polls is to be polled again at once: it has woken itself, and the thread has nothing else to do. `polls`
    /// counts the polls.
    pub(super) fn is_polled_again(&self, polls: &mut u32) -> bool {
        *polls += 1;
        let alone = || context::member().is_some_and(|member| member.has_nothing_queued());
        *polls < REPOLLS && self.state.is_woken() && alone() && self.state.repoll()
    }

    /// Suspends a future after a poll on `member` that was not ready, or queues it again if it was woken. Another thread may run it from then on.
    pub(super) fn suspend(&self, member: Member<'_>, runner: RunnerRef) -> Suspend {
        if !self.enter_roster(member) {
            return Suspend::Stopped;
        }
        let (is_scoped, priority) = (self.is_scoped(), self.future().kind.priority);
        // Before another thread can wake the task, so that a wake-up is never counted before its suspension.
        member.counters.suspended.add(1);
        let header = self.header();
        let is_at_home = priority == Priority::Normal && member.is_at_home();
        let suspend = self.state.suspend(runner, !is_scoped && !is_at_home);
        if suspend != Suspend::Suspended {
            member.counters.suspended.take_back(1);
        }
        if suspend == Suspend::Woken {
            // SAFETY: (1) the header begins a live cell. (2) The state counts a reference for this entry.
            let entry = unsafe { TaskRef::from_header(header) };
            entry.record_made_if_recorded(member.registry);
            let joiners = entry.joiners();
            let entry = entry.into_entry();
            if !is_scoped && is_at_home {
                member.push_yielded(entry);
            } else {
                queue(member.registry, entry, is_scoped, priority);
            }
            joiners.into_iter().for_each(Waiter::note_due);
        }
        suspend
    }

    /// The threads that join the future and poll it themselves if they find it in a queue.
    fn joiners(&self) -> Vec<Waiter> {
        match self.extra() {
            Some(extra) if self.state.is_joined() => {
                let list = lock(&extra.list);
                list.waiters.iter().filter_map(Waiter::joiner).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Queues a future that is left, and wakes the threads that join it.
    pub(super) fn queue_left(&self, registry: &Registry) {
        // The entry counts as a tombstone. The entry of a future of a scope is where the scope finds it.
        self.count_tombstone(|counters| &counters.tombstones);
        let (joiners, entry) = (self.joiners(), self.clone().into_entry());
        if self.is_scoped() {
            registry.inject_scope_task(entry);
        } else {
            registry.inject([entry], Priority::High);
        }
        joiners.into_iter().for_each(Waiter::note_due);
    }

    /// Adds the future to its pool's roster if it is not there. Returns false if the pool drops its futures.
    fn enter_roster(&self, member: Member<'_>) -> bool {
        let FuturePart { roster_index, kind } = self.future();
        if roster_index.get() != NOT_LISTED {
            return true;
        }
        let own = into_task(self.clone());
        if self.is_scoped() {
            std::mem::forget(own);
            roster_index.set(IN_SCOPE);
            return true;
        }
        match member
            .registry
            .roster
            .insert(member.id, own, kind.is_daemon)
        {
            Ok(index) => {
                roster_index.set(index);
                true
            }
            Err(own) => {
                drop(into_ref(own));
                false
            }
        }
    }

    /// Removes a future that is ending from the roster.
    pub(super) fn leave_roster(&self) {
        let index = self.future().roster_index.replace(NOT_LISTED);
        match index {
            NOT_LISTED => {}
            // SAFETY: (1) the header begins a live cell. (2) The reference is the one that `enter_roster` has counted and forgotten.
            IN_SCOPE => drop(unsafe { TaskRef::from_header(self.header()) }),
            index => {
                let removed =
                    pool::with_pool(self.pool(), |registry| registry.roster.remove(index));
                drop(removed.flatten().map(into_ref));
            }
        }
    }

    /// Queues the future if it is suspended. `consumed` says whether the reference that `self` is belongs to the entry then.
    fn wake(&self, consumed: bool) -> bool {
        let member = context::member().filter(|member| member.registry.id == self.pool());
        let hot = member.filter(|member| {
            self.future().kind.priority == Priority::Normal
                && member.is_at_home()
                && !member.is_in_forks()
        });
        let is_scoped = self.is_scoped();
        if !self.state.wake(!is_scoped && hot.is_none(), consumed) {
            return false;
        }
        let (id, priority) = (self.pool(), self.future().kind.priority);
        let joiners = self.joiners();
        // SAFETY: (1) the header begins a live cell. (2) The state counts a reference for this entry, or the caller gives its own away.
        let entry = unsafe { TaskRef::from_header(self.header()) }.into_entry();
        if let Some(member) = member {
            self.record_made_if_recorded(member.registry);
        }
        match (member, hot) {
            (Some(member), Some(_)) if !is_scoped => {
                member.counters.resumed.add(1);
                member.push_hot(entry);
            }
            (Some(member), _) => {
                member.counters.resumed.add(1);
                queue(member.registry, entry, is_scoped, priority);
            }
            (None, _) => {
                let mut entry = Some(entry);
                pool::with_pool(id, |registry| {
                    registry.outside.own().resumed.add_shared(1);
                    self.record_made_if_recorded(registry);
                    if let Some(entry) = entry.take() {
                        queue(registry, entry, is_scoped, priority);
                    }
                });
                // In a forked child the pool is not there. The entry is then dropped, which ends the task.
            }
        }
        joiners.into_iter().for_each(Waiter::note_due);
        true
    }
}

/// The ids and names of the suspended futures of a pool.
pub(super) fn suspended(registry: &Registry) -> Vec<(TaskId, Option<Arc<str>>)> {
    let mut found = Vec::new();
    registry.roster.each(|entry| {
        // SAFETY: (1) the entry is that of a future, so its header begins a live cell. (2) No reference is given away, since this one is not dropped.
        let task = ManuallyDrop::new(unsafe { TaskRef::from_header(entry.header().cast()) });
        if task.state.is_suspended() {
            found.push((task.id, task.shared_name()));
        }
    });
    found
}

/// Queues a task that was woken, behind others.
fn queue(registry: &Registry, entry: Task, is_scoped: bool, priority: Priority) {
    if is_scoped {
        registry.inject_scope_task(entry);
        return;
    }
    if priority == Priority::Normal {
        registry.inject_woken(entry);
    } else {
        registry.inject([entry], priority);
    }
    registry.attend_futures();
}

// ---- the waker ----

/// A `static`, because wakers are compared by the address of their table ([`Waker::will_wake`]), and each use of a constant can have its own.
static VTABLE: RawWakerVTable =
    RawWakerVTable::new(clone_waker, wake_waker, wake_waker_by_ref, drop_waker);

/// Calls `f` with a waker of the task, which does not count as a reference.
pub(super) fn with_waker<R>(task: &TaskRef, f: impl FnOnce(&Waker) -> R) -> R {
    let data = task.header().as_ptr().cast_const().cast();
    // SAFETY: (1) the functions of the table are given the address of a future's header. (2) The task lives during the call, and the waker, which owns no reference,
    // is not dropped.
    let waker = ManuallyDrop::new(unsafe { Waker::new(data, &VTABLE) });
    f(&waker)
}

/// The task of a waker, without the waker's reference.
///
/// # Safety
/// `data` is that of a waker of [`VTABLE`], which lives as long as the result.
unsafe fn task_of(data: *const ()) -> ManuallyDrop<TaskRef> {
    let header = NonNull::new(data.cast_mut().cast::<Header>());
    let header = header.expect("heist: a waker without a task");
    // SAFETY: (1) the waker keeps the cell alive. (2) No reference is given away, since the result is not dropped.
    ManuallyDrop::new(unsafe { TaskRef::from_header(header) })
}

/// The future that the waker wakes, if it is one of this crate's tasks.
pub(super) fn task_of_waker(waker: &Waker) -> Option<TaskRef> {
    // SAFETY: (1) a waker with this table has the data of one. (2) The waker keeps the task alive, and is borrowed.
    ptr::eq(waker.vtable(), &VTABLE).then(|| unsafe { (*task_of(waker.data())).clone() })
}

unsafe fn clone_waker(data: *const ()) -> RawWaker {
    // SAFETY: the waker lives during the call.
    unsafe { task_of(data) }.state.retain();
    RawWaker::new(data, &VTABLE)
}

unsafe fn wake_waker(data: *const ()) {
    // SAFETY: the waker gives its reference away, and lives as long as that.
    let task = unsafe { task_of(data) };
    if !task.wake(true) {
        drop(ManuallyDrop::into_inner(task));
    }
}

unsafe fn wake_waker_by_ref(data: *const ()) {
    // SAFETY: the waker lives during the call.
    unsafe { task_of(data) }.wake(false);
}

unsafe fn drop_waker(data: *const ()) {
    // SAFETY: the waker gives its reference away.
    drop(ManuallyDrop::into_inner(unsafe { task_of(data) }));
}
