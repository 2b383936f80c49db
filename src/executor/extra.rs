//! The second block of a task, for what only some tasks have: a name, a token, a deadline, callbacks and waiters. It is made when it is first needed.

use super::arrivals::Arrivals;
use super::error::{Cause, TaskId};
use super::task::{Callback, TaskRef, block_of, stamp, stamp_of};
use super::timer::{self, Key};
use super::token::CancelToken;
use crate::clock;
use crate::fork::ScopePtr;
use crate::job::Group;
use crate::record::Wait;
use crate::sleep::{Event, Parker, Waited};
use crate::sync::hint::AtomicU64;
use crate::sync::{Arc, Mutex, Ordering, lock};
use crate::unwind;
use std::ptr::{self, NonNull};
use std::sync::OnceLock;
use std::task::Waker;
use std::time::Instant;

/// The second block of a task. What is fixed at the submission is outside the lock.
#[derive(Default)]
pub(super) struct Extra {
    pub(super) name: Option<std::sync::Arc<str>>,
    pub(super) token: Option<CancelToken>,
    pub(super) deadline: Option<Instant>,
    /// When the task was queued, in nanoseconds, if it is measured and has not begun; or else 0. From std in models too: the queues order the accesses.
    pub(super) queued_ns: AtomicU64,
    /// The entry in the timer, which is set before the task is queued. From std in models too: the queues order the accesses, except for the timer's own, which
    /// needs no entry any more.
    pub(super) timed: OnceLock<Key>,
    /// Of a future of a scope: a copy of the scope's group. The queues read it as long as they hold the future's cell, which can be after the end of the scope.
    pub(super) group: Option<Group>,
    pub(super) list: Mutex<List>,
}

/// What is done when the task ends.
#[derive(Default)]
pub(super) struct List {
    pub(super) callbacks: Vec<Callback>,
    pub(super) waiters: Vec<Waiter>,
    /// Whether a deadline has ended the task and the pool is about to call the callbacks.
    pub(super) deferred: bool,
    /// Of a promise whose work runs in another process: whether it runs now.
    #[cfg(all(feature = "process", target_os = "linux"))]
    pub(super) probe: Option<Probe>,
}

/// Tells whether the work of a promise runs now. Called without a lock.
#[cfg(all(feature = "process", target_os = "linux"))]
pub(crate) type Probe = std::sync::Arc<dyn Fn() -> bool + Send + Sync>;

/// Something that is notified when the task has ended.
pub(super) enum Waiter {
    Parker(Arc<Parker>),
    Waker(Waker),
    /// A set of tasks that a thread waits for, and the index of this task in the set.
    Set(Arc<Arrivals>, usize),
    /// The scope of a task that began or ended elsewhere than from the scope's queue entry.
    Scope(ScopePtr<'static>),
}

impl Waiter {
    /// A copy of what [`note_due`](Self::note_due) is called with, if a thread waits that can poll a future.
    pub(super) fn joiner(&self) -> Option<Waiter> {
        match self {
            Waiter::Parker(parker) => Some(Waiter::Parker(Arc::clone(parker))),
            Waiter::Set(arrivals, index) => Some(Waiter::Set(Arc::clone(arrivals), *index)),
            Waiter::Waker(_) | Waiter::Scope(_) => None,
        }
    }

    /// Wakes a thread that joins the future, which is queued or left now.
    pub(super) fn note_due(self) {
        match self {
            Waiter::Parker(parker) => parker.unpark(),
            Waiter::Set(arrivals, index) => arrivals.note_due(index),
            Waiter::Waker(_) | Waiter::Scope(_) => {}
        }
    }

    /// Calls `f` with the waker that is woken at the end, if there is one.
    pub(super) fn with_waker<R>(&self, f: impl FnOnce(&Waker) -> R) -> Option<R> {
        match self {
            Waiter::Waker(waker) => Some(f(waker)),
            Waiter::Set(arrivals, _) => arrivals.with_waker(f),
            Waiter::Parker(_) | Waiter::Scope(_) => None,
        }
    }

    pub(super) fn wake(self) {
        match self {
            Waiter::Parker(parker) => parker.unpark(),
            // A waker is the user's code. Its panic must not reach the thread that ends the task.
            Waiter::Waker(waker) => {
                unwind::catch(|| waker.wake()).unwrap_or_else(unwind::drop_quietly)
            }
            Waiter::Set(arrivals, index) => arrivals.arrive(index),
            // SAFETY: (1) the scope's entry for the task has left the pointer here instead of counting itself down, so the scope still waits. (2) This is the
            // only call for that entry. (3) The current thread has just ended the task, so it takes part in the pool or keeps it alive.
            Waiter::Scope(scope) => unsafe { scope.end_one() },
        }
    }
}

impl Extra {
    /// Converts the block into the address that [`Header::extra`](super::task::Header::extra) holds.
    pub(super) fn into_raw(self: Box<Self>) -> *mut () {
        Box::into_raw(self).cast()
    }

    /// Removes a task that is ending from its token and from the timer.
    pub(super) fn deregister(&self, task: TaskId) {
        if let Some(&key) = self.timed.get() {
            timer::remove(key);
        }
        if let Some(token) = &self.token {
            token.deregister(task);
        }
    }
}

/// Frees a second block.
///
/// # Safety
/// (1) [`Extra::into_raw`] has returned the address. (2) Nobody uses the block any more, and it is freed once.
pub(super) unsafe fn drop_extra(extra: NonNull<()>) {
    // SAFETY: as the caller asserts, (1) the address comes from a box of this type, and (2) nobody else uses or frees the block.
    unwind::drop_quietly(unsafe { Box::from_raw(extra.cast::<Extra>().as_ptr()) });
}

impl TaskRef {
    /// The second block, if there is one.
    #[inline]
    pub(super) fn extra(&self) -> Option<&Extra> {
        // ORDERING: Acquire pairs with the Release in `extra_or_new`.
        let extra = block_of(self.extra.load(Ordering::Acquire))?;
        // SAFETY: (1) `into_raw` has returned the address. (2) The block is freed with the cell, which this reference keeps alive. (3) Nobody has a `&mut` to a
        // block that was published.
        Some(unsafe { extra.cast().as_ref() })
    }

    /// The second block, which is made if there is none.
    pub(super) fn extra_or_new(&self) -> &Extra {
        if let Some(extra) = self.extra() {
            return extra;
        }
        // The word is null or a stamp until there is a block. The runner of a future removes a stamp.
        let mut word = self.extra.load(Ordering::Relaxed);
        loop {
            let mut fresh = Box::<Extra>::default();
            *fresh.queued_ns.get_mut() = stamp_of(word).unwrap_or(0);
            let fresh = fresh.into_raw();
            let set = self
                .extra
                .compare_exchange(word, fresh, Ordering::AcqRel, Ordering::Acquire);
            if let Err(other) = set {
                // SAFETY: (1) `into_raw` has made the address from a box of this type. (2) It was not published, so nobody else uses the block.
                drop(unsafe { Box::from_raw(fresh.cast::<Extra>()) });
                word = other;
            }
            if let Some(extra) = self.extra() {
                return extra;
            }
        }
    }

    /// Notes the time at which the task is queued, so that it is measured. Called before it is queued.
    pub(super) fn measure(&self) {
        let now_ns = clock::now_ns();
        match self.extra() {
            Some(extra) => extra.queued_ns.store(now_ns, Ordering::Relaxed),
            // ORDERING: Relaxed: the queue publishes the word.
            None => self.extra.store(stamp(now_ns), Ordering::Relaxed),
        }
    }

    /// Runner: the time at which a measured task was queued, if it has not been taken before.
    pub(super) fn take_queued(&self) -> Option<u64> {
        // Models measure nothing, which saves them a step.
        if crate::sync::MODEL {
            return None;
        }
        let word = self.extra.load(Ordering::Relaxed);
        if let Some(queued_ns) = stamp_of(word) {
            // A closure begins once. The stamp of a future is removed, if it has not moved to a block meanwhile.
            let none = ptr::null_mut();
            let swap = |word| {
                let (success, failure) = (Ordering::Relaxed, Ordering::Relaxed);
                self.extra.compare_exchange(word, none, success, failure)
            };
            if !self.state.is_future() || swap(word).is_ok() {
                return Some(queued_ns);
            }
        }
        let queued_ns = &self.extra()?.queued_ns;
        let taken = queued_ns.load(Ordering::Relaxed);
        if taken != 0 {
            queued_ns.store(0, Ordering::Relaxed);
        }
        (taken != 0).then_some(taken)
    }

    /// The task's name, for an owner that outlives the task.
    pub(super) fn shared_name(&self) -> Option<std::sync::Arc<str>> {
        self.extra()?.name.clone()
    }

    /// Adds a task that is about to be queued to its token and to the timer. A token that is cancelled already cancels the task.
    #[inline]
    pub(super) fn register_cancellers(&self) {
        // ORDERING: Relaxed: the current thread has made the task.
        if !self.extra.load(Ordering::Relaxed).is_null() {
            self.register_cancellers_slow();
        }
    }

    fn register_cancellers_slow(&self) {
        let Some(extra) = self.extra() else { return };
        if let Some(deadline) = extra.deadline {
            let _first = extra.timed.set(timer::add(deadline, self.clone()));
        }
        if let Some(token) = &extra.token
            && !token.register(self.clone())
        {
            self.cancel(Cause::Cancelled);
        }
    }

    /// Calls `add` with the list of what is done when the task ends. Returns false, without a call, if the task has finished.
    pub(super) fn at_end(&self, add: impl FnOnce(&mut List)) -> bool {
        if self.state.is_finished() {
            return false;
        }
        let mut list = lock(&self.extra_or_new().list);
        if !self.state.add_extra() {
            return false;
        }
        add(&mut list);
        true
    }

    /// Whether another process runs the work of this promise.
    #[cfg(all(feature = "process", target_os = "linux"))]
    pub(super) fn runs_elsewhere(&self) -> bool {
        let Some(extra) = self.extra() else {
            return false;
        };
        let probe = lock(&extra.list).probe.clone();
        probe.is_some_and(|probe| !self.state.is_finished() && probe())
    }

    #[cfg(not(all(feature = "process", target_os = "linux")))]
    pub(super) fn runs_elsewhere(&self) -> bool {
        false
    }

    /// Removes the waiters for which `which` returns true.
    pub(super) fn remove_waiters(&self, which: impl Fn(&Waiter) -> bool) {
        let Some(extra) = self.extra() else { return };
        let gone: Vec<_> = lock(&extra.list)
            .waiters
            .extract_if(.., |waiter| which(waiter))
            .collect();
        // A waker's destructor is the user's code, so it runs after the lock is released.
        unwind::drop_quietly(gone);
    }

    /// Adds a callback to those that the pool is about to call on behalf of the timer. Returns false if there are none.
    pub(super) fn defer_callback(&self, callback: &mut Option<Callback>) -> bool {
        let Some(extra) = self.extra() else {
            return false;
        };
        let mut list = lock(&extra.list);
        if list.deferred {
            list.callbacks.extend(callback.take());
        }
        list.deferred
    }
}

/// The event that the task has finished.
impl Event for TaskRef {
    fn is_set(&self) -> bool {
        self.state.is_finished()
    }

    fn kind(&self) -> (Wait, u64) {
        (Wait::Handle, self.id.0.get())
    }

    fn register(&self, parker: &Arc<Parker>) -> bool {
        self.at_end(|list| list.waiters.push(Waiter::Parker(Arc::clone(parker))))
    }

    fn unregister(&self, parker: &Arc<Parker>) {
        self.remove_waiters(
            |waiter| matches!(waiter, Waiter::Parker(other) if Arc::ptr_eq(other, parker)),
        );
    }

    fn waited(&self) -> Waited {
        Waited::task(self.id.0.get())
    }
}
