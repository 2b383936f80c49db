//! What a pool of processes shares: its state behind a lock, and the ways to wait for changes and to cause them.

use super::call::{Ends, Job, Outcome};
use super::codec::Format;
use super::member::{Launch, Member};
use super::options::Defaults;
use super::state::{Depth, Effects, Finished, Gate, State, What};
use super::wire::Inbox;
use crate::sync::{Mutex, lock};
use crate::{TaskId, sys, unwind};
use std::cell::Cell;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, MutexGuard, OnceLock};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

pub(super) struct Shared {
    state: Mutex<State>,
    /// Notified when there is room in the queue.
    room: Condvar,
    /// Notified when the pool is idle, when the first worker is ready or has failed, and when the thread has ended.
    changed: Condvar,
    /// Wakes the thread.
    wake: UnixStream,
    /// Whether it was woken and has not looked yet.
    woken: AtomicBool,
    /// Calls whose handles were cancelled while they were under way.
    cancelled: Mutex<Vec<TaskId>>,
    /// The number of workers that there should be, for those who must not lock.
    size: AtomicUsize,
    /// The number of forks between the first process and that which built the pool.
    forks: u64,
    /// The thread for input and output.
    pub(super) thread: OnceLock<ThreadId>,
    pub(super) launch: Launch,
    pub(super) defaults: Defaults,
    pub(super) start_timeout: Duration,
}

thread_local! {
    /// Whether this thread sends jobs and so holds the lock of a pool. A handle that was cancelled just before calls back then.
    static HAS_LOCK: Cell<bool> = const { Cell::new(false) };
}

impl Shared {
    pub(super) fn new(
        state: State,
        wake: UnixStream,
        launch: Launch,
        defaults: Defaults,
        start_timeout: Duration,
    ) -> Self {
        Shared {
            size: AtomicUsize::new(state.target),
            state: Mutex::new(state),
            room: Condvar::new(),
            changed: Condvar::new(),
            wake,
            woken: AtomicBool::new(false),
            cancelled: Mutex::new(Vec::new()),
            forks: sys::fork_generation(),
            thread: OnceLock::new(),
            launch,
            defaults,
            start_timeout,
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub(super) fn num_workers(&self) -> usize {
        self.size.load(Ordering::Relaxed)
    }

    /// Sets the number of workers that there should be. Returns the previous one.
    pub(super) fn set_num_workers(&self, count: usize) -> usize {
        let mut state = self.lock();
        self.size.store(count, Ordering::Relaxed);
        std::mem::replace(&mut state.target, count)
    }

    /// Whether this process is a fork of that which built the pool. It has no thread of the pool.
    pub(super) fn is_forked(&self) -> bool {
        self.forks != sys::fork_generation()
    }

    pub(super) fn is_own_thread(&self) -> bool {
        self.thread.get() == Some(&thread::current().id())
    }

    pub(super) fn wake(&self) {
        // ORDERING: AcqRel pairs with the swap in `was_woken`: what was changed before is seen after it.
        if !self.woken.swap(true, Ordering::AcqRel) {
            // A socket that is full holds bytes that wake the thread.
            let _ = (&self.wake).write(&[1]);
        }
    }

    /// Called by the thread after it has read the bytes that have woken it, and before it looks at what was changed.
    pub(super) fn was_woken(&self) {
        self.woken.swap(false, Ordering::AcqRel);
    }

    pub(super) fn take_cancelled(&self) -> Vec<TaskId> {
        std::mem::take(&mut *lock(&self.cancelled))
    }

    /// Notifies those that wait for room, and those that wait for a change.
    pub(super) fn notify(&self) {
        self.room.notify_all();
        self.changed.notify_all();
    }

    pub(super) fn wait_for_room<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let waited = self.room.wait(state);
        waited.unwrap_or_else(|poison| poison.into_inner())
    }

    /// Waits until `done` is true, or the time has come. Returns whether it is true.
    pub(super) fn wait_until<'a>(
        &self,
        mut state: MutexGuard<'a, State>,
        until: Option<Instant>,
        done: impl Fn(&State) -> bool,
    ) -> (MutexGuard<'a, State>, bool) {
        while !done(&state) {
            let Some(until) = until else {
                let waited = self.changed.wait(state);
                state = waited.unwrap_or_else(|poison| poison.into_inner());
                continue;
            };
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return (state, false);
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(|poison| poison.into_inner()).0;
        }
        (state, true)
    }

    /// Sends queued jobs to workers.
    pub(super) fn dispatch(
        self: &Arc<Self>,
        state: &mut State,
        depth: Depth,
        effects: &mut Effects,
    ) {
        let outer = HAS_LOCK.replace(true);
        state.dispatch(depth, effects, &|ends| {
            let id = ends.id();
            let [shared, asked] = [Arc::downgrade(self), Arc::downgrade(self)];
            let on_cancel = move || {
                if let Some(shared) = shared.upgrade() {
                    shared.cancel(id);
                }
            };
            let runs = move || asked.upgrade().is_some_and(|shared| shared.runs(id));
            ends.watch(Box::new(on_cancel), Some(Arc::new(runs)));
        });
        HAS_LOCK.set(outer);
    }

    /// Whether a call runs now.
    fn runs(&self, id: TaskId) -> bool {
        !self.is_forked() && self.lock().runs(id)
    }

    /// Called when the handle of a call is cancelled that was sent to a worker. The call does not begin after this has returned.
    fn cancel(&self, id: TaskId) {
        if self.is_forked() {
            return;
        }
        if HAS_LOCK.get() {
            // The pool's thread does the rest.
            lock(&self.cancelled).push(id);
        } else {
            self.lock().cancel(id);
        }
        self.wake();
    }

    /// Queues a job and sends it if a worker is free. Returns a job that was not queued.
    pub(super) fn submit(self: &Arc<Self>, job: Job) -> Result<(), (Job, Refusal)> {
        let mut effects = Effects::default();
        let result = self.submit_locked(job, &mut effects);
        self.settle(effects, None);
        result
    }

    fn submit_locked(
        self: &Arc<Self>,
        job: Job,
        effects: &mut Effects,
    ) -> Result<(), (Job, Refusal)> {
        let mut state = self.lock();
        loop {
            if state.gate != Gate::Open {
                state.count_refused(job.items());
                return Err((job, Refusal::Closed));
            }
            // The thread never waits for itself.
            if !state.is_full(effects) || self.is_own_thread() {
                break;
            }
            if state.settings.rejects {
                state.count_refused(job.items());
                return Err((job, Refusal::Full));
            }
            state = self.wait_for_room(state);
        }
        let is_high = job.priority == crate::Priority::High;
        let is_timed = job.timeout().is_some();
        state.enqueue(job);
        if is_high {
            state.rebalance();
        }
        self.dispatch(&mut state, Depth::Idle, effects);
        let waits = state.members.iter().any(Member::wants_to_write);
        let is_watched = state.is_watched;
        drop(state);
        if waits || is_timed || !is_watched {
            self.wake();
        }
        Ok(())
    }

    /// Reports what has ended. Not called under the lock: callbacks of handles run here.
    pub(super) fn settle(&self, effects: Effects, inbox: Option<&Inbox>) {
        let ended = effects.ended;
        for finished in effects.finished {
            unwind::catch(|| finish(finished, inbox)).unwrap_or_else(unwind::drop_quietly);
        }
        unwind::drop_quietly(effects.trash);
        if ended > 0 {
            let mut state = self.lock();
            state.open -= ended;
            if state.open == 0 {
                drop(state);
                self.changed.notify_all();
                self.wake_if_draining();
            }
        }
    }

    fn wake_if_draining(&self) {
        if self.lock().gate == Gate::Draining {
            self.wake();
        }
    }
}

/// Why a job was not queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Closed,
    Full,
}

fn finish(finished: Finished, inbox: Option<&Inbox>) {
    let Finished {
        ends,
        index,
        what,
        name,
        entry,
    } = finished;
    let ends: Arc<dyn Ends> = ends;
    let name = || name.clone().unwrap_or_else(|| entry.name().into());
    match what {
        What::Ran(time) => ends.ran(time),
        What::Failure(failure) => ends.end(index, Outcome::Failure(failure), &name),
        What::Saved(tag, bytes) => {
            ends.end(index, Outcome::Sent(Format::Compact, tag, &bytes), &name)
        }
        What::Sent(tag, place) => {
            let bytes = inbox.map_or(&[][..], |inbox| inbox.get(place));
            ends.end(index, Outcome::Sent(Format::Compact, tag, bytes), &name);
        }
    }
}
