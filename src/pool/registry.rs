//! The registry: what the threads and handles of one pool share. Its methods on slots and counts are here; other modules of `pool` add those on
//! waking ([`notify`](super::notify)), queues ([`queueing`](super::queueing)), idleness ([`idle`](super::idle)) and the end
//! ([`shutdown`](super::shutdown)).

use super::admission::Admission;
use super::backoff::Budget;
use super::config::Config;
use super::injector::{PriorityQueues, Tombstones};
use super::looks::Looks;
use super::measure::Sampling;
use super::queue::Injector;
use super::roster::Roster;
use super::shards::Shards;
use super::slot::{Role, Slot};
use super::slots::SlotTable;
use crate::barrier;
use crate::counters::{Count, Counters};
use crate::record::{Recording, TraceSettings};
use crate::ring::Announcements;
use crate::sleep::{Parker, Sleep};
use crate::sync::{
    Arc, AtomicBool, AtomicPtr, AtomicUsize, Mutex, Ordering, SHORT, ThreadHandle, lock, now,
};
use crate::sys;
use crossbeam_utils::CachePadded;
use std::any::Any;
use std::sync::Weak;
use std::time::Instant;
use std::{io, ptr};

/// Everything that a pool's threads and handles share. A registry that is dropped leaves the [`directory`](super::directory).
pub(crate) struct Registry {
    /// Read by all threads. Nothing that is written lies beside it.
    pub(crate) config: CachePadded<Config>,
    /// Itself, for new threads and handles.
    pub(crate) this: Weak<Registry>,
    pub(super) upcalls: &'static Upcalls,
    pub(super) slots: SlotTable,
    /// The pool's number. No two pools of a process ever have the same one.
    pub(crate) id: u64,
    /// Detached tasks from outside, and those with a priority.
    pub(crate) injector: PriorityQueues,
    /// Decides whether detached tasks may be queued.
    pub(crate) admission: Admission,
    /// The futures that have been suspended.
    pub(crate) roster: Roster,
    /// The pool's threads have ended and no new one starts. Remaining work runs on its callers.
    pub(super) retired: AtomicBool,
    /// The last handle was dropped without waiting, so that the pool closes when nothing is queued or running. While this is set,
    /// [`Sleep::is_idle_awaited`] is true.
    pub(super) leaving: AtomicBool,
    /// The number of closures of late tasks that have not been dropped yet.
    pub(super) late: AtomicUsize,
    /// The parkers of threads that wait until nothing is queued or running. If there are any, [`Sleep::is_idle_awaited`] is true.
    pub(super) idle_parkers: Mutex<Vec<Arc<Parker>>>,
    /// Scope tasks that are in no deque: those spawned from outside, and those that a waiter took and may not run.
    pub(crate) scope_injector: Injector,
    pub(super) scope_tombstones: Tombstones,
    /// Held by the thread that runs *stranded* tasks: queued tasks of a pool that has no thread and can start none.
    pub(super) stranded: Mutex<()>,
    pub(crate) sleep: Sleep,
    pub(super) announcements: Announcements,
    /// The budget for the heavy fences of guests that leave.
    pub(super) exits: Budget,
    /// Whether a thread of the pool is taking a fork by force at the moment. From std: a hint.
    pub(super) forcing: CachePadded<crate::sync::hint::AtomicBool>,
    pub(super) threads: CachePadded<Mutex<Threads>>,
    /// Free guest slots, each taken by swap. The first one is usually the one used last.
    guests: [CachePadded<AtomicPtr<Slot>>; CACHED],
    /// Whether the consumer of a stream has reserved a guest slot.
    reserved: AtomicBool,
    /// The number of [`ThreadPool`](super::ThreadPool) handles.
    pub(crate) handles: AtomicUsize,
    /// The number of pool threads that have been started and have not ended, spares included.
    pub(super) alive: AtomicUsize,
    /// The number of spares that have been started and have not ended.
    pub(super) spares: AtomicUsize,
    /// Counts of events that belong to no slot. Each submission from outside writes here.
    pub(crate) outside: Shards<Counters>,
    pub(crate) start_failures: Count,
    /// What the threads have done, if it is recorded.
    pub(crate) recording: CachePadded<Recording>,
    /// Which tasks are measured.
    pub(crate) sampling: Sampling,
    /// What dumps have seen before. From std: only who can lock it at once uses it.
    pub(crate) looks: std::sync::Mutex<Looks>,
    created: Instant,
    /// The process's count of forks when the pool was created.
    forks: u64,
}

/// The number of threads from outside that can enter and leave a pool at the same time without a lock.
const CACHED: usize = if SHORT { 1 } else { 4 };

/// What the registry calls in the modules above it: the registry starts threads, and these threads use the registry. Each call is rare.
pub(super) struct Upcalls {
    /// Starts a thread that is already counted awake and searching.
    pub(super) start: fn(&Registry, Role) -> io::Result<()>,
    /// Runs the queued tasks on the calling thread, if the pool has no thread and can start none.
    pub(super) run_stranded: fn(&Registry),
}

/// The slots by use, and the handles of the pool's threads. Locked when a thread starts, ends, or comes from outside.
#[derive(Default)]
pub(super) struct Threads {
    /// The slot of each worker index that has ever had a thread.
    pub(super) workers: Vec<Option<usize>>,
    /// Spare slots without a thread.
    free_spares: Vec<usize>,
    /// Guest slots without a thread.
    free_guests: Vec<usize>,
    pub(super) handles: Vec<ThreadHandle>,
}

impl Registry {
    /// Creates the registry of the pool with this number.
    pub(super) fn new(id: u64, config: Config, upcalls: &'static Upcalls) -> Arc<Self> {
        barrier::flavour();
        Arc::new_cyclic(|this| Registry {
            this: this.clone(),
            upcalls,
            id,
            slots: SlotTable::default(),
            injector: PriorityQueues::new(config.num_threads),
            admission: Admission::new(config.queue_capacity, config.when_full),
            roster: Roster::default(),
            retired: AtomicBool::new(false),
            late: AtomicUsize::new(0),
            idle_parkers: Mutex::default(),
            scope_injector: Injector::new(),
            scope_tombstones: Tombstones::default(),
            reserved: AtomicBool::new(false),
            stranded: Mutex::new(()),
            sleep: Sleep::new(config.num_threads, config.spares(), config.caller_threads),
            leaving: AtomicBool::new(false),
            announcements: Announcements::default(),
            exits: Budget::default(),
            forcing: CachePadded::default(),
            threads: CachePadded::default(),
            guests: std::array::from_fn(|_| CachePadded::default()),
            handles: AtomicUsize::new(1),
            alive: AtomicUsize::new(0),
            spares: AtomicUsize::new(0),
            outside: Shards::new(config.num_threads, Counters::default),
            start_failures: Count::default(),
            recording: CachePadded::default(),
            sampling: Sampling::new(config.timing),
            looks: std::sync::Mutex::default(),
            created: now(),
            forks: sys::fork_generation(),
            config: CachePadded::new(config),
        })
    }

    // ---- slots ----

    pub(crate) fn slot(&self, id: usize) -> &Slot {
        self.slots.get(id).expect("heist: no such slot")
    }

    /// The slots that are in use. All others hold no work.
    pub(crate) fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.slots.used(0)
    }

    /// All slots, also those that only keep counts.
    pub(crate) fn all_slots(&self) -> impl Iterator<Item = &Slot> {
        self.slots.all()
    }

    /// Returns a free slot for this role. A worker's index has one slot, which all threads that ever have the index use.
    pub(super) fn acquire(&self, role: Role) -> &Slot {
        let mut threads = lock(&self.threads);
        // The lock is held, so slots are added one at a time, and a recording that starts finds the slot or is found by it.
        let add = || {
            let id = self.slots.push(|id| Slot::new(id, role));
            self.record_slot(self.slot(id));
            id
        };
        let slot = self.slot(match role {
            Role::Worker(index) => {
                if threads.workers.len() <= index {
                    threads.workers.resize(index + 1, None);
                }
                *threads.workers[index].get_or_insert_with(add)
            }
            Role::Spare => threads.free_spares.pop().unwrap_or_else(add),
            Role::Guest => threads.free_guests.pop().unwrap_or_else(add),
        });
        // A thread that parks and does not find the slot in use relies on this request: see `slots`.
        slot.ring.request();
        self.slots.set_used(slot.id, true);
        self.slots.set_active(slot.id, true);
        slot
    }

    /// Takes back a slot. It remains in use if it holds work, or if another thread may own it already, as is possible for a worker's slot.
    pub(super) fn release(&self, slot: &Slot) {
        let mut threads = lock(&self.threads);
        let free = match slot.kind {
            Role::Worker(_) => return,
            Role::Spare => &mut threads.free_spares,
            Role::Guest => &mut threads.free_guests,
        };
        free.push(slot.id);
        self.slots.set_active(slot.id, slot.has_work());
        self.slots.set_used(slot.id, slot.has_work());
    }

    /// Returns a slot for a thread from outside, or for a second ring.
    #[inline]
    pub(crate) fn acquire_guest(&self) -> &Slot {
        self.take_guest(&self.guests[0])
            .unwrap_or_else(|| self.acquire_other_guest())
    }

    #[cold]
    fn acquire_other_guest(&self) -> &Slot {
        let mut others = self.guests[1..].iter().filter(|cell| !is_empty(cell));
        let Some(slot) = others.find_map(|cell| self.take_guest(cell)) else {
            return self.acquire(Role::Guest);
        };
        self.slots.set_active(slot.id, true);
        slot
    }

    #[inline]
    fn take_guest(&self, cell: &AtomicPtr<Slot>) -> Option<&Slot> {
        // ORDERING: Acquire pairs with the Release in `put_guest`: the slot's owner side is handed over.
        let cached = cell.swap(ptr::null_mut(), Ordering::Acquire);
        // SAFETY: the pointer is null or comes from `put_guest`, which is called with slots of this registry only. They are never moved or
        // freed while the registry lives, and the returned reference borrows the registry.
        unsafe { cached.as_ref() }
    }

    /// Reserves a guest slot for the consumer of a stream, unless another one has a slot. Returns the number of the slot.
    pub(crate) fn reserve_guest(&self) -> Option<usize> {
        // ORDERING: Relaxed: the slot is handed over by `acquire_guest`.
        let is_free =
            !self.reserved.load(Ordering::Relaxed) && !self.reserved.swap(true, Ordering::Relaxed);
        is_free.then(|| self.acquire_guest().id)
    }

    /// Gives back a slot that [`reserve_guest`](Self::reserve_guest) has returned.
    pub(crate) fn return_guest(&self, id: usize) {
        self.release_guest(self.slot(id));
        self.reserved.store(false, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn release_guest(&self, slot: &Slot) {
        if !put_guest(&self.guests[0], slot) {
            self.release_other_guest(slot);
        }
    }

    #[cold]
    fn release_other_guest(&self, slot: &Slot) {
        // Searches skip the slots of guests that are not there, except one.
        self.slots.set_active(slot.id, slot.has_work());
        let mut others = self.guests[1..].iter().filter(|cell| is_empty(cell));
        if !others.any(|cell| put_guest(cell, slot)) {
            self.release(slot);
        }
    }

    /// Whether this process was forked after the pool was created, so that it has the pool's memory but not its threads.
    #[inline]
    pub(crate) fn forked(&self) -> bool {
        sys::forks() != self.forks
    }

    /// # Panics
    /// Panics in a forked child.
    #[inline]
    pub(crate) fn check_fork(&self) {
        if self.forked() {
            forked_child();
        }
    }

    // ---- the recording ----

    /// Attaches a recorder to a slot, if there is a recording.
    pub(super) fn record_slot(&self, slot: &Slot) {
        if self.recording.is_active() {
            let runs_work_only = match slot.kind {
                Role::Worker(index) => index > 0 || !self.config.current_thread,
                Role::Spare => true,
                Role::Guest => false,
            };
            let recorder = self.recording.attach(Some(slot.id), runs_work_only);
            slot.set_recorder(recorder.map_or(ptr::null(), |recorder| Arc::as_ptr(&recorder)));
        }
    }

    /// Starts a recording, in place of the current one if there is one. `before` comes with the snapshots.
    pub(crate) fn start_recording(
        &self,
        settings: TraceSettings,
        before: Option<Box<dyn Any + Send>>,
    ) {
        let _threads = lock(&self.threads);
        for slot in self.all_slots() {
            slot.set_recorder(ptr::null());
        }
        let threads = self.config.num_threads;
        self.recording.start(settings, threads, before);
        for slot in self.all_slots() {
            self.record_slot(slot);
        }
    }

    /// Ends the recording.
    pub(crate) fn stop_recording(&self) {
        let _threads = lock(&self.threads);
        for slot in self.all_slots() {
            slot.set_recorder(ptr::null());
        }
        self.recording.stop();
    }

    // ---- counts ----

    /// The time since the pool was created in nanoseconds, at least 1.
    pub(crate) fn now_ns(&self) -> u64 {
        let nanos = (now() - self.created).as_nanos();
        u64::try_from(nanos).unwrap_or(u64::MAX).max(1)
    }
}

/// Puts the slot into a cell of the guest slots if that is empty. Returns whether it was.
#[inline]
fn put_guest(cell: &AtomicPtr<Slot>, slot: &Slot) -> bool {
    let slot = ptr::from_ref(slot).cast_mut();
    cell.compare_exchange(ptr::null_mut(), slot, Ordering::Release, Ordering::Relaxed)
        .is_ok()
}

fn is_empty(cell: &AtomicPtr<Slot>) -> bool {
    // ORDERING: Relaxed, a hint.
    cell.load(Ordering::Relaxed).is_null()
}

#[cold]
pub(super) fn forked_child() -> ! {
    panic!(
        "heist: this thread pool was made before fork(), and its threads stayed in the parent: make a new pool in \
         the child, or call fork() before the first use of a pool"
    )
}
