//! Starting and joining the pool's own threads.

use super::backoff::note_wake;
use super::config::Hook;
use super::context::{self, Member};
use super::member::as_guest;
use super::registry::{Registry, Upcalls};
use super::slot::{Role, Slot};
use super::worker;
use crate::job::Task;
use crate::record::Entry;
use crate::sleep::Presence;
use crate::sync::{Arc, MODEL, Ordering, ThreadHandle, fence, lock, spawn_thread};
use crate::{sys, unwind};
use std::{fmt, io};

/// The arguments of a new thread: the registry, which the thread keeps alive, and the slot that was acquired for the thread.
struct ThreadArgs {
    registry: Arc<Registry>,
    slot: usize,
}

/// A worker of a pool created by [`ThreadPoolBuilder::build_on`](super::ThreadPoolBuilder::build_on), which has no thread yet.
///
/// If it is dropped without [`run`](Self::run), the pool goes on without this worker.
#[must_use = "the pool lacks this worker until `run` is called on a thread of its own"]
pub struct PoolThread {
    registry: Arc<Registry>,
    slot: usize,
    index: usize,
    begun: bool,
}

impl PoolThread {
    /// Returns the worker's index.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Runs the worker on the current thread. Returns when the pool has ended.
    ///
    /// # Panics
    ///
    /// Panics if the thread already takes part in a pool.
    pub fn run(mut self) {
        assert!(
            context::slot().is_none(),
            "heist: a pool's worker must run on a thread that takes part in no pool"
        );
        self.begun = true;
        self.registry.sleep.adopt(self.index);
        live(ThreadArgs {
            registry: Arc::clone(&self.registry),
            slot: self.slot,
        });
    }
}

impl Drop for PoolThread {
    fn drop(&mut self) {
        if !self.begun {
            let slot = self.registry.slot(self.slot);
            self.registry.sleep.expect(self.index, false);
            self.registry.ended(slot);
            self.registry.run_inbox(slot);
        }
    }
}

impl fmt::Debug for PoolThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolThread")
            .field("index", &self.index)
            .finish_non_exhaustive()
    }
}

/// The functions of this module and of `rescue` that the registry calls.
pub(super) static UPCALLS: Upcalls = Upcalls {
    start: Registry::start,
    run_stranded: Registry::run_stranded,
};

impl Registry {
    /// Starts a thread that is already counted awake and searching.
    pub(crate) fn start(&self, role: Role) -> io::Result<()> {
        let slot = self.acquire(role);
        // The end of the thread lowers the count.
        self.count_alive(role, 1);
        let started = if self.forked() {
            Err(io::Error::other("the pool is the parent process's"))
        } else {
            spawn(self, slot)
        };
        match started {
            Ok(handle) => {
                self.count(|counters| &counters.wakeups, 1);
                self.record(Entry::Wake {
                    whom: slot.id as u32,
                });
                let handles = &mut lock(&self.threads).handles;
                // Detaches the spares and surplus workers that have ended, whose stacks the system would keep.
                #[cfg(not(any(heist_loom, heist_shuttle)))]
                handles.retain(|handle| !handle.is_finished());
                handles.push(handle);
                note_wake();
                Ok(())
            }
            Err(error) => {
                self.start_failures.add_shared(1);
                self.not_started(slot);
                Err(error)
            }
        }
    }

    /// Undoes the start of a thread, which has failed, on the slot that was acquired for it.
    fn not_started(&self, slot: &Slot) {
        self.count_alive(slot.kind, usize::MAX);
        self.release(slot);
        self.sleep.start_failed(slot.kind.worker());
        self.wake_leavers();
        self.look_idle();
        // The thread is available again and no thread searches, so that the next push must try to start one. Threads that relied on it in the
        // meantime get another one that exists. If the kernel refuses fences, threads only nap, so that nothing is lost.
        if let Ok(Some(need)) = self.final_recheck(None) {
            self.dispatch(self.sleep.claim_parked_thread(need));
        }
        self.run_inbox(slot);
        // If two starts fail at the same time, the fences let at least one thread see that the start of the other is over.
        fence(Ordering::SeqCst);
        self.run_stranded();
    }

    /// Returns the worker with this index, for which the caller of the library provides a thread.
    pub(crate) fn caller_thread(&self, index: usize) -> PoolThread {
        let role = Role::Worker(index);
        let slot = self.acquire(role).id;
        self.count_alive(role, 1);
        self.sleep.expect(index, true);
        PoolThread {
            registry: self.this.upgrade().expect("heist: the pool is in use"),
            slot,
            index,
            begun: false,
        }
    }

    /// Makes the current thread worker 0, which does not search for work.
    pub(crate) fn adopt_current_thread(&self) {
        let slot = self.acquire(Role::Worker(0));
        if self.config.caller_threads {
            self.sleep.adopt(0);
        } else {
            self.sleep.settle(0);
        }
        let registry = self;
        let member = Member { registry, slot };
        context::set_home(member);
        slot.activity.begin_thread();
        // The thread acts as this member for the rest of its life.
        std::mem::forget(context::enter(member));
        // Nothing tells when the thread stops using its slot, so that the registry is never freed.
        std::mem::forget(self.this.upgrade());
        self.hand_off_search();
    }

    /// Releases the slot of a pool thread that has done all its work.
    fn ended(&self, slot: &Slot) {
        self.release(slot);
        self.count_alive(slot.kind, usize::MAX);
        self.look_idle();
        // Runs what was queued while the thread was about to leave, if no other thread can be started for it.
        // ORDERING: Store-load pair: {alive; fence; injector} here, {injector; fence (in `published`); alive} in `injected`.
        fence(Ordering::SeqCst);
        self.run_last();
    }

    /// Lets the worker with this index run a broadcast task, and starts its thread if there is none. If the start fails, the caller runs the
    /// task.
    pub(crate) fn deliver(&self, index: usize, task: Task) {
        if context::is_naming(self) {
            return self.run_broadcast_task(task);
        }
        let slot_of_worker = || lock(&self.threads).workers.get(index).copied().flatten();
        let claimed = slot_of_worker().is_none() && self.sleep.claim_worker(index);
        if claimed && self.start(Role::Worker(index)).is_err() {
            return self.run_broadcast_task(task);
        }
        let slot = loop {
            // A worker that another thread is just starting gets its slot in a moment.
            if let Some(id) = slot_of_worker() {
                break self.slot(id);
            }
            // After a shutdown there is none.
            if !self.sleep.is_present(index) {
                return self.run_broadcast_task(task);
            }
            crate::sync::yield_thread();
        };
        slot.inbox.post(task);
        slot.parker.unpark();
        slot.inbox.wake_elsewhere();
        note_wake();
        // If the worker has left, or its start has failed in the meantime, no other thread would run the task.
        match self.sleep.claim_if_absent(index) {
            Presence::Present => {}
            Presence::Claimed => drop(self.start(Role::Worker(index))),
            Presence::Absent => self.run_inbox(slot),
        }
    }
}

/// Starts a thread on `slot`, which was acquired for it and is counted awake and searching.
fn spawn(registry: &Registry, slot: &Slot) -> io::Result<ThreadHandle> {
    let args = ThreadArgs {
        registry: registry.this.upgrade().expect("heist: the pool is in use"),
        slot: slot.id,
    };
    let stack_size = registry.config.stack_size;
    let start = || spawn_thread(name(registry, slot), stack_size, move || begin(args));
    // A start can happen in the middle of a push, which no panic of the name's closure, or over the name, may unwind.
    unwind::catch(start).unwrap_or_else(|payload| {
        unwind::drop_quietly(payload);
        Err(io::Error::other(
            "the thread_name closure panicked, or its name holds a nul",
        ))
    })
}

/// The name of the thread on `slot`. The pool's closure runs as a guest, so that the calling thread itself does what the closure waits for.
fn name(registry: &Registry, slot: &Slot) -> String {
    match (slot.kind, &registry.config.thread_name) {
        // A loom model's names do not use the pool, and a guest would take more executions.
        (Role::Worker(index), Some(name)) if cfg!(heist_loom) => name(index),
        (Role::Worker(index), Some(name)) => {
            context::naming(registry, || as_guest(registry, |_| name(index)))
        }
        (Role::Worker(index), None) => format!("heist-{index}"),
        _ => "heist-spare".to_owned(),
    }
}

/// Runs a thread that the pool has started, with the settings of the thread that built the pool.
///
/// The new thread adapts its own settings. If the starting thread, which can belong to other code, changed its settings for the new one to
/// inherit, signal handlers and other observers could see them meanwhile. A thread kept for starting others would cost more than these
/// system calls.
fn begin(args: ThreadArgs) {
    if !MODEL && let Some(settings) = &args.registry.config.thread_settings {
        settings.apply();
    }
    live(args);
}

/// Runs a pool thread until it leaves the pool.
fn live(args: ThreadArgs) {
    let registry = &*args.registry;
    let slot = registry.slot(args.slot);
    let member = Member { registry, slot };
    // Bit 0 belongs to the model's first thread.
    #[cfg(heist_loom)]
    let _interrupted = crate::barrier::enter_owner(slot.id + 1);
    let index = slot.kind.worker();
    let hook = |hook: &Option<Hook>| {
        if let (Some(hook), Some(index)) = (hook, index)
            && let Err(payload) = unwind::catch(|| hook(index))
        {
            registry.report_lost_panic(payload);
        }
    };
    // Runs a hook as a part of the pool. A hook can take long, so the thread does not count as searching meanwhile.
    let hook_inside = |which: &Option<Hook>| {
        if which.is_some() && index.is_some() {
            {
                let _context = context::enter(member);
                registry.stop_searching();
                hook(which);
            }
            registry.sleep.begin_search();
        }
    };
    context::set_home(member);
    slot.activity.begin_thread();
    if !sys::KNOWS_STACKS {
        context::set_floor(registry.config.stack_size_or_default() / 2);
    }
    if let Some(recorder) = slot.recorder() {
        recorder.thread_begins();
    }
    hook_inside(&registry.config.on_thread_start);
    worker::work(member);
    let exit = &registry.config.on_thread_exit;
    match index {
        // No other thread ever gets the index of a caller-provided thread.
        Some(index) if registry.config.caller_threads && exit.is_some() => {
            registry.sleep.adopt(index);
            hook_inside(exit);
            // Runs what the hook has left on the slot, and leaves again.
            worker::work(member);
        }
        // Another thread may have been started for this index, and own the slot.
        _ => hook(exit),
    }
    slot.activity.end_thread();
    registry.ended(slot);
    // The registry can be freed with `args`, before the destructors of thread-locals run.
    context::leave_home();
    context::set_gone(false);
}
