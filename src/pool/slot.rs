//! A slot: the place from which one thread takes part in one pool.

use super::queue::{Local, Stealer};
use super::registry::Registry;
use crate::blocks::Blocks;
use crate::counters::Counters;
use crate::job::{ForkHeader, Group, Task};
use crate::ring::Ring;
use crate::sleep::{Need, Parker};
use crate::sync::{Arc, AtomicBool, AtomicU64, Mutex, Ordering, lock};
use crossbeam_utils::CachePadded;
/// A cell of which loom knows who touches it: the models see a slot that changes hands without order.
#[cfg(loom)]
use loom::cell::Cell as Tracked;
use std::cell::Cell;
#[cfg(not(loom))]
use std::cell::Cell as Tracked;
use std::collections::VecDeque;
use std::ptr;

/// Which kind of thread a slot is for. It never changes: slots are used again for the same kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seat {
    /// The worker of this index.
    Worker(usize),
    /// A thread that stands in for blocked workers.
    Spare,
    /// A thread from outside, for the time of a call; or a second ring of any thread.
    Guest,
}

impl Seat {
    /// The worker's index.
    pub(crate) fn worker(self) -> Option<usize> {
        match self {
            Seat::Worker(index) => Some(index),
            Seat::Spare | Seat::Guest => None,
        }
    }
}

/// From how many dead blocks on the own deques are swept, if they make up half of what is there. A model is content with the first.
pub(crate) const SWEEP_LEAST: usize = if cfg!(loom) { 1 } else { 64 };

/// Ring, deques, parker and counters at a fixed address, owned by one thread at a time, freed with the pool.
pub(crate) struct Slot {
    pub(crate) ring: Box<Ring<ForkHeader>>,
    pub(crate) id: usize,
    pub(crate) seat: Seat,
    registry: *const Registry,
    pub(crate) parker: Arc<Parker>,
    /// Tasks of scopes. Their waiters look here.
    pub(crate) tasks: Stealer,
    /// Detached tasks. Only free workers look here, and handles that wait for one.
    pub(crate) detached: Stealer,
    mail: Mailbox,
    /// The owner waits for a scope's tasks, parked or about to look for them once more.
    awaits_tasks: AtomicBool,
    /// The submitted task that runs here.
    pub(crate) running: Running,
    pub(crate) counters: CachePadded<Counters>,
    /// The owner's side. Touched by the owner only.
    owner: CachePadded<Owner>,
}

/// What only the owner of a slot touches.
struct Owner {
    /// As what the owning thread takes part: the seat itself, but for a second ring, which a worker may own.
    role: Tracked<Seat>,
    deque: Local,
    detached: Local,
    /// Pushes minus successful pops on the deque: the last entry's position, however many thieves took from the
    /// other end.
    position: Cell<usize>,
    /// The group of the running task or scope body.
    group: Cell<*const Group>,
    /// Memory of tasks that have ended here, for those that are spawned here.
    blocks: Blocks,
    /// State of the victim picker.
    random: Cell<u32>,
    /// Tasks run by their handles since the last sweep, whose blocks may lie in the own deques.
    buried: Cell<usize>,
    /// Looks for work so far.
    turns: Cell<u32>,
    /// Its thread has slept on the idle list since it last searched in vain.
    has_slept: Cell<bool>,
}

// SAFETY: `owner` is reached through methods that only the owning thread calls (the one whose context holds the
// slot); the registry outlives its slots; everything else is `Sync` by itself.
unsafe impl Sync for Slot {}
// SAFETY: a slot changes its thread only by way of the registry's lists, whose locks order the hand-over.
unsafe impl Send for Slot {}

impl Slot {
    pub(crate) fn new(id: usize, seat: Seat, registry: *const Registry) -> Self {
        let (deque, detached) = (Local::new(), Local::new());
        Slot {
            ring: Ring::boxed(),
            id,
            seat,
            registry,
            parker: Arc::default(),
            tasks: deque.stealer(),
            detached: detached.stealer(),
            mail: Mailbox::default(),
            awaits_tasks: AtomicBool::new(false),
            running: Running::default(),
            counters: CachePadded::default(),
            owner: CachePadded::new(Owner {
                role: Tracked::new(seat),
                deque,
                detached,
                position: Cell::new(0),
                group: Cell::new(ptr::null()),
                blocks: Blocks::default(),
                random: Cell::new(0x9e37_79b9 ^ (id as u32 + 1).wrapping_mul(0x85eb_ca6b)),
                buried: Cell::new(0),
                turns: Cell::new(0),
                has_slept: Cell::new(false),
            }),
        }
    }

    pub(crate) fn registry(&self) -> &Registry {
        // SAFETY: the registry owns the slot, so it is alive while the slot is.
        unsafe { &*self.registry }
    }

    // ---- owner only ----

    /// Owner: as what this thread is counted.
    pub(crate) fn role(&self) -> Seat {
        self.owner.role.get()
    }

    /// Owner: see [`Slot::role`].
    pub(crate) fn set_role(&self, role: Seat) {
        self.owner.role.set(role);
    }

    /// Owner: pushes a detached task and looks whether somebody wants to know.
    #[inline]
    pub(crate) fn push_detached(&self, task: Task) {
        self.owner.detached.push(task);
        if self.ring.attention_due(self.ring.depth()) {
            self.attend(Need::Worker);
        }
    }

    /// Owner, free: the newest detached task of the own deque.
    pub(crate) fn pop_detached(&self) -> Option<Task> {
        self.owner.detached.pop()
    }

    /// Owner: pushes a scope's task and looks whether somebody wants to know.
    #[inline]
    pub(crate) fn push_task(&self, task: Task) {
        self.owner.position.set(self.owner.position.get() + 1);
        self.owner.deque.push(task);
        // A deque push asks the ring's question: its `limit` is 0 if a sleeper announced itself. The depth is below any
        // restored limit unless the ring is full, and then one look too many does no harm.
        if self.ring.attention_due(self.ring.depth()) {
            self.attend(Need::Help);
        }
    }

    /// Owner: the newest scope's task of the own deque.
    #[inline]
    pub(crate) fn pop_task(&self) -> Option<Task> {
        let task = self.owner.deque.pop()?;
        self.owner.position.set(self.owner.position.get() - 1);
        Some(task)
    }

    /// Owner: a task whose block is in a queue, most likely an own deque, was run by its handle. True: there may be so many that it is
    /// worth a [`sweep`](Self::sweep).
    pub(crate) fn bury(&self) -> bool {
        let buried = self.owner.buried.get() + 1;
        let due = buried >= SWEEP_LEAST && 2 * buried >= self.tasks.len() + self.detached.len();
        self.owner.buried.set(if due { 0 } else { buried });
        due
    }

    /// Owner: takes out of the own deques what needs nothing any more; the rest stays in its order.
    ///
    /// Entries keep their positions: those that are gone count as taken by thieves.
    #[cold]
    pub(crate) fn sweep(&self, is_dead: impl Fn(&Task) -> bool) {
        let mut waiters = Vec::new();
        for deque in [&self.owner.deque, &self.owner.detached] {
            let mut alive = Vec::new();
            while let Some(task) = deque.pop() {
                if !is_dead(&task) {
                    waiters.extend(task.waiter());
                    alive.push(task);
                }
            }
            while let Some(task) = alive.pop() {
                deque.push(task);
            }
        }
        // In transit they were in no queue: who looked then may sleep now, free or waiting for one of them.
        self.attend(Need::Worker);
        waiters.sort_unstable();
        waiters.dedup();
        for waiter in waiters {
            self.registry().wake_for_task(waiter);
        }
    }

    /// Owner: the position of the newest entry. Entries above a position were pushed after it was read.
    pub(crate) fn position(&self) -> usize {
        self.owner.position.get()
    }

    /// Owner: the group of what runs now.
    pub(crate) fn group(&self) -> *const Group {
        self.owner.group.get()
    }

    /// Owner: enters a group; dropping the guard leaves it.
    pub(crate) fn enter_group(&self, group: *const Group) -> GroupGuard<'_> {
        GroupGuard {
            slot: self,
            outer: self.owner.group.replace(group),
        }
    }

    /// Owner: where tasks get their memory.
    pub(crate) fn blocks(&self) -> &Blocks {
        &self.owner.blocks
    }

    /// Owner: a number to begin a round of victims with.
    pub(crate) fn random(&self) -> usize {
        let mut x = self.owner.random.get();
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        self.owner.random.set(x);
        x as usize
    }

    /// Owner: counts its calls.
    pub(crate) fn turn(&self) -> u32 {
        let turn = self.turns().wrapping_add(1);
        self.owner.turns.set(turn);
        turn
    }

    /// Owner: how often it has counted.
    pub(crate) fn turns(&self) -> u32 {
        self.owner.turns.get()
    }

    /// Owner: its thread has slept on the idle list.
    pub(crate) fn note_sleep(&self) {
        self.owner.has_slept.set(true);
    }

    /// Owner: whether it has, since this was last asked.
    pub(crate) fn has_slept(&self) -> bool {
        self.owner.has_slept.take()
    }

    // ---- anybody ----

    /// Whether a free thread could find a fork or a scope's task here.
    pub(crate) fn has_help(&self) -> bool {
        !self.ring.is_empty() || self.tasks.len() > 0
    }

    /// Owner: set before the last look for tasks, cleared after parking.
    pub(crate) fn set_awaits_tasks(&self, awaits: bool) {
        // ORDERING: Relaxed: Dekker with `Registry::stray`, {flag; heavy; look} here, {push; fence; flag} there.
        self.awaits_tasks.store(awaits, Ordering::Relaxed);
    }

    pub(crate) fn awaits_tasks(&self) -> bool {
        self.awaits_tasks.load(Ordering::Relaxed)
    }

    pub(crate) fn mail(&self) -> &Mailbox {
        &self.mail
    }
}

/// See [`Slot::enter_group`].
pub(crate) struct GroupGuard<'a> {
    slot: &'a Slot,
    outer: *const Group,
}

impl Drop for GroupGuard<'_> {
    fn drop(&mut self) {
        self.slot.owner.group.set(self.outer);
    }
}

/// Which submitted task runs: for those who ask what a shutdown waits for.
#[derive(Debug, Default)]
pub(crate) struct Running {
    /// Its number; 0: none.
    id: AtomicU64,
    name: Mutex<Option<std::sync::Arc<str>>>,
    /// There is a name. Spares the owner the lock.
    named: AtomicBool,
}

impl Running {
    /// Owner: begins a task; [`Running::back`] ends it. Returns the number of the one further down the stack.
    #[inline]
    pub(crate) fn begin(&self, id: u64) -> u64 {
        // ORDERING: Relaxed: told to people, no more.
        let outer = self.id.load(Ordering::Relaxed);
        self.id.store(id, Ordering::Relaxed);
        outer
    }

    /// Owner: the task of this number goes on, or none.
    #[inline]
    pub(crate) fn back(&self, outer: u64) {
        // ORDERING: Release pairs with the Acquire in `is_some`: who finds that nothing runs sees what the task has done.
        self.id.store(outer, Ordering::Release);
    }

    /// Whether a task runs.
    pub(crate) fn is_some(&self) -> bool {
        self.id.load(Ordering::Acquire) != 0
    }

    /// Owner: whether a task has a name here.
    pub(crate) fn is_named(&self) -> bool {
        self.named.load(Ordering::Relaxed)
    }

    /// Owner: names the running task. Returns the name before.
    pub(crate) fn set_name(
        &self,
        name: Option<std::sync::Arc<str>>,
    ) -> Option<std::sync::Arc<str>> {
        self.named.store(name.is_some(), Ordering::Relaxed);
        std::mem::replace(&mut *lock(&self.name), name)
    }

    /// Number and name of what runs.
    pub(crate) fn get(&self) -> Option<(u64, Option<std::sync::Arc<str>>)> {
        let id = self.id.load(Ordering::Relaxed);
        (id != 0).then(|| (id, lock(&self.name).clone()))
    }
}

/// Tasks addressed to one worker: broadcast closures.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    /// Spares the owner the lock. Set and cleared under it.
    full: AtomicBool,
    letters: Mutex<VecDeque<Task>>,
    /// Where the owner waits if not at its own slot: as a guest of another pool, or from a second ring.
    elsewhere: Mutex<Option<Arc<Parker>>>,
}

impl Mailbox {
    pub(crate) fn post(&self, task: Task) {
        let mut letters = lock(&self.letters);
        letters.push_back(task);
        // ORDERING: Release pairs with the Acquire in `take`; that the owner wakes up is the parker's business.
        self.full.store(true, Ordering::Release);
    }

    /// The owner waits at this parker from now on; None: at its own.
    pub(crate) fn forward(&self, parker: Option<Arc<Parker>>) {
        *lock(&self.elsewhere) = parker;
    }

    /// Wakes the owner where it waits elsewhere. After a post: whoever forwards looks at its mail afterwards.
    pub(crate) fn wake_elsewhere(&self) {
        // The lock is free again before the owner runs, who takes it.
        let parker = lock(&self.elsewhere).clone();
        if let Some(parker) = parker {
            parker.unpark();
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.full.load(Ordering::Acquire)
    }

    pub(crate) fn take(&self) -> Option<Task> {
        if self.is_empty() {
            return None;
        }
        let mut letters = lock(&self.letters);
        let letter = letters.pop_front();
        self.full.store(!letters.is_empty(), Ordering::Release);
        letter
    }
}
