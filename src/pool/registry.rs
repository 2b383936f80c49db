//! The shared part of a pool: its slots and counts here; who is woken or started ([`wake`]), tasks that come from anywhere ([`tasks`]),
//! idleness and the end ([`ending`]), and the pools of a process by number ([`table`]).

use super::builder::Config;
use super::context;
use super::gate::Gate;
use super::lanes::Lanes;
use super::queue::Injector;
use super::queue_wait::QueueWaits;
use super::slot::{Seat, Slot};
use super::threads;
use crate::counters::{Count, Counters};
use crate::sleep::{Parker, Sleep};
use crate::sync::{Arc, AtomicBool, AtomicPtr, AtomicUsize, Mutex, Ordering, lock, now};
use crate::sys;
use crate::{barrier, unwind};
use crossbeam_utils::CachePadded;
use std::ptr;
use std::sync::Weak;
use std::time::Instant;

mod ending;
mod slots;
mod table;
mod tasks;
mod wake;

use slots::SlotTable;
pub(crate) use table::{check_fork_of, pool, with_pool};
pub(crate) use wake::Unordered;

/// Everything that a pool's threads and handles share.
pub(crate) struct Registry {
    pub(crate) config: Config,
    /// Itself, for new threads and handles.
    pub(crate) this: Weak<Registry>,
    slots: SlotTable,
    /// Its number, of which there is one for each pool that ever was.
    pub(crate) id: u64,
    /// Detached tasks from outside, and those with a priority.
    pub(crate) lanes: Lanes,
    /// Who may queue such tasks.
    pub(crate) gate: Gate,
    /// Its threads have ended and no new one starts: what is left runs on its callers.
    retired: AtomicBool,
    /// The last handle is gone without waiting: to be closed when nothing is queued or runs. Then [`Sleep::is_awaited`] too.
    leaving: AtomicBool,
    /// Threads that wait until nothing is queued or runs. [`Sleep::is_awaited`] if there are any.
    idle_parkers: Mutex<Vec<Arc<Parker>>>,
    /// Tasks of scopes that are in no deque: spawned from outside, or met by somebody who may not run them.
    pub(crate) strays: Injector,
    /// Held by whoever runs detached tasks because no thread can be started.
    stranded: Mutex<()>,
    pub(crate) sleep: Sleep,
    threads: Mutex<Threads>,
    /// A guest slot that is free, most likely the one that was used last. Taken by swap.
    guest: CachePadded<AtomicPtr<Slot>>,
    /// How many [`super::ThreadPool`] handles there are.
    pub(crate) handles: AtomicUsize,
    /// How many of the pool's threads have been started and not ended.
    alive: AtomicUsize,
    /// Of those, spares.
    spares: AtomicUsize,
    /// Counts of events that belong to no slot.
    pub(crate) outside: Counters,
    pub(crate) start_failures: Count,
    /// How long detached tasks wait until they begin.
    pub(crate) waits: QueueWaits,
    born: Instant,
    forks: u64,
}

/// Who is where. Behind a mutex: looked at when threads start, end, or come from outside.
#[derive(Default)]
struct Threads {
    /// Slot of each worker index that was ever started.
    workers: Vec<Option<usize>>,
    /// Spare and guest slots without a thread.
    free_spares: Vec<usize>,
    free_guests: Vec<usize>,
    handles: Vec<threads::Handle>,
}

impl Registry {
    pub(crate) fn new(config: Config) -> Arc<Self> {
        barrier::flavour();
        let (threads, spares) = (config.num_threads, config.spare_threads);
        Arc::new_cyclic(|this| Registry {
            this: this.clone(),
            id: table::register(this),
            slots: SlotTable::default(),
            lanes: Lanes::new(),
            gate: Gate::new(config.queue_capacity, config.when_full),
            retired: AtomicBool::new(false),
            idle_parkers: Mutex::default(),
            strays: Injector::new(),
            stranded: Mutex::new(()),
            sleep: match config.foreign {
                false => Sleep::new(threads, spares),
                true => Sleep::foreign(threads),
            },
            leaving: AtomicBool::new(false),
            threads: Mutex::new(Threads::default()),
            guest: CachePadded::new(AtomicPtr::new(ptr::null_mut())),
            handles: AtomicUsize::new(1),
            alive: AtomicUsize::new(0),
            spares: AtomicUsize::new(0),
            outside: Counters::default(),
            start_failures: Count::default(),
            waits: QueueWaits::new(),
            born: now(),
            forks: sys::fork_generation(),
            config,
        })
    }

    // ---- slots ----

    pub(crate) fn slot(&self, id: usize) -> &Slot {
        self.slots.get(id).expect("heist: no such slot")
    }

    pub(crate) fn slots(&self) -> impl Iterator<Item = &Slot> {
        (0..self.slots.len()).map(|id| self.slot(id))
    }

    pub(crate) fn num_slots(&self) -> usize {
        self.slots.len()
    }

    /// A free slot of this kind. A worker's index has one slot, for all threads that ever have the index.
    fn acquire(&self, seat: Seat) -> &Slot {
        let mut threads = lock(&self.threads);
        let used = match seat {
            Seat::Worker(index) => {
                if threads.workers.len() <= index {
                    threads.workers.resize(index + 1, None);
                }
                threads.workers[index]
            }
            Seat::Spare => threads.free_spares.pop(),
            Seat::Guest => threads.free_guests.pop(),
        };
        let id = used.unwrap_or_else(|| {
            // Under the lock: slots are added one at a time.
            self.slots.push(|id| Slot::new(id, seat, self))
        });
        if let Seat::Worker(index) = seat {
            threads.workers[index] = Some(id);
        }
        self.slot(id)
    }

    fn release(&self, slot: &Slot) {
        let mut threads = lock(&self.threads);
        match slot.seat {
            Seat::Worker(_) => {}
            Seat::Spare => threads.free_spares.push(slot.id),
            Seat::Guest => threads.free_guests.push(slot.id),
        }
    }

    /// A slot for a thread from outside.
    pub(crate) fn acquire_guest(&self) -> &Slot {
        // ORDERING: Acquire pairs with the Release in `release_guest`: the slot's owner side is handed over.
        let cached = self.guest.swap(ptr::null_mut(), Ordering::Acquire);
        // SAFETY: only slots of this registry are put there, and they live as long as it does.
        match unsafe { cached.as_ref() } {
            Some(slot) => slot,
            None => self.acquire(Seat::Guest),
        }
    }

    pub(crate) fn release_guest(&self, slot: &Slot) {
        let kept = self.guest.compare_exchange(
            ptr::null_mut(),
            ptr::from_ref(slot).cast_mut(),
            Ordering::Release,
            Ordering::Relaxed,
        );
        if kept.is_err() {
            self.release(slot);
        }
    }

    /// The stack of a pool's thread, in bytes, as far as is known.
    pub(crate) fn stack_size(&self) -> usize {
        threads::stack_size(self)
    }

    /// Whether this is a child process that has the pool's memory but not its threads.
    #[inline]
    pub(crate) fn forked(&self) -> bool {
        sys::forks() != self.forks
    }

    /// # Panics
    /// In a forked child.
    #[inline]
    pub(crate) fn check_fork(&self) {
        if self.forked() {
            forked_child();
        }
    }

    // ---- counts ----

    /// Adds to a count of the current thread's slot in this pool, or to the shared one.
    pub(crate) fn count(&self, which: impl Fn(&Counters) -> &Count, n: u64) {
        match context::slot() {
            Some(slot) if ptr::eq(slot.registry(), self) => which(&slot.counters).add(n),
            _ => which(&self.outside).add_shared(n),
        }
    }

    /// Nanoseconds since the pool was made, never 0.
    pub(crate) fn now_ns(&self) -> u64 {
        let nanos = (now() - self.born).as_nanos();
        u64::try_from(nanos).unwrap_or(u64::MAX).max(1)
    }

    /// A panic that no handle and no scope will see.
    pub(crate) fn lost_panic(&self, payload: unwind::Payload) {
        self.count(|counters| &counters.lost_panics, 1);
        match &self.config.panic_handler {
            Some(handler) => {
                if let Err(second) = unwind::catch(|| handler(payload)) {
                    unwind::drop_quietly(second);
                }
            }
            None => unwind::drop_quietly(payload),
        }
    }
}

#[cold]
fn forked_child() -> ! {
    panic!(
        "heist: this thread pool was made before fork(), and its threads stayed in the parent: make a new pool in \
         the child, or call fork() before the first use of a pool"
    )
}

impl Drop for Registry {
    fn drop(&mut self) {
        // Tasks that nobody ran (a forked child, or none): their wrappers resolve them.
        self.cancel_queued();
        table::pools().by_id.remove(&self.id);
    }
}
