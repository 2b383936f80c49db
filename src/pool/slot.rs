//! A slot: the place from which one thread takes part in one pool.

use super::queue::{Local, Stealer};
use super::registry::Registry;
use crate::blocks::Blocks;
use crate::counters::Counters;
use crate::job::{ForkHeader, Task};
use crate::lineage::{Lineage, Origin, Place, Run};
use crate::ring::{self, Ring};
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
    /// The owner is parked in a wait: the word of the place below which it may run what it finds, and [`GUEST`]. 0: it is not, or it has been
    /// claimed to be woken.
    helps_below: AtomicU64,
    /// What runs here, and what that descends from.
    pub(crate) lineage: CachePadded<Lineage>,
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
    /// How many scopes are open on this slot.
    scopes: Cell<usize>,
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
            helps_below: AtomicU64::new(0),
            lineage: CachePadded::default(),
            running: Running::default(),
            counters: CachePadded::default(),
            owner: CachePadded::new(Owner {
                role: Tracked::new(seat),
                deque,
                detached,
                position: Cell::new(0),
                scopes: Cell::new(0),
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
        self.attend(Need::Help);
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

    /// Owner: a run begins that descends from `origin`, until the guard is dropped.
    #[inline(always)]
    pub(crate) fn begin(&self, origin: Origin) -> Run<'_> {
        let run = self.lineage.begin(origin, self.ring.depth());
        // A helper that parked before was told of what this thread pushed in other runs.
        // ORDERING: Dekker: {limit, which was answered; this count} here, {count; fence; limit} in a helper that parks.
        if !origin.is_root() && self.registry().sleep.wants_helpers() {
            self.ring.request();
        }
        run
    }

    /// Owner: what descends from the fork at `index`, whose thief has not ended, or from what a deeper ring goes on from.
    pub(crate) fn origin_of(&self, index: usize) -> Origin {
        self.lineage.origin(self.lineage.place_of(self.id, index))
    }

    /// Owner: a scope is opened, until the guard is dropped.
    pub(crate) fn open_scope(&self) -> OpenScope<'_> {
        let scopes = self.owner.scopes.get();
        self.owner.scopes.set(scopes + 1);
        OpenScope {
            slot: self,
            // Above all forks, and above the place that a deeper ring goes on from.
            origin: self.origin_of(ring::CAPACITY + 1 + scopes),
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

    /// The place of the fork at `index` of the ring. See [`crate::lineage`] for when it can be trusted.
    pub(crate) fn place_at(&self, index: usize) -> Place {
        self.lineage.place_at(self.id, index)
    }

    /// What the fork at `index` of the ring descends from, likewise.
    pub(crate) fn origin_at(&self, index: usize) -> Origin {
        self.lineage.origin(self.place_at(index))
    }

    /// What the fork descends from that a thief would get here.
    pub(crate) fn oldest_fork(&self) -> Option<Origin> {
        self.ring.oldest().map(|index| self.origin_at(index))
    }

    /// Owner: parks in a wait, and may run what descends from `origin`.
    pub(crate) fn offer_help(&self, origin: Origin, guest: bool) {
        let word = origin.place().map_or(0, Place::word);
        // ORDERING: Relaxed: a heavy fence follows, against the fence of a publisher.
        self.helps_below
            .store(word | if guest { GUEST } else { 0 }, Ordering::Relaxed);
    }

    /// Owner: no longer. False: somebody has claimed it, and counts it awake and searching.
    pub(crate) fn withdraw_help(&self) -> bool {
        // ORDERING: Acquire pairs with the Release in `claim_help`: the count is up before it goes down.
        self.helps_below.swap(0, Ordering::Acquire) != 0
    }

    /// Whether the owner is parked and may run what descends from `place`: then the word by which to claim it.
    pub(crate) fn helps(&self, place: Place) -> Option<Helping> {
        let word = self.helps_below.load(Ordering::Relaxed);
        (word & !GUEST == place.word()).then_some(Helping(word))
    }

    /// Whether the owner is parked in a wait in which it could help. A hint.
    pub(crate) fn is_helper(&self) -> bool {
        self.helps_below.load(Ordering::Relaxed) != 0
    }

    /// Claims it. False: it has woken by itself, or somebody else was first.
    pub(crate) fn claim_help(&self, helping: Helping) -> bool {
        let claimed = self.helps_below.compare_exchange(
            helping.0,
            0,
            // ORDERING: Release: see `withdraw_help`.
            Ordering::Release,
            Ordering::Relaxed,
        );
        claimed.is_ok()
    }

    /// Whether a free thread could find a fork or a scope's task here.
    pub(crate) fn has_help(&self) -> bool {
        !self.ring.is_empty() || self.tasks.len() > 0
    }

    /// Owner: set before the last look for tasks, cleared after parking.
    pub(crate) fn set_awaits_tasks(&self, awaits: bool) {
        // ORDERING: Relaxed: Dekker with `Registry::wake_for_task`: {flag; heavy; look} in the wait that parks, {push; fence; flag} there.
        self.awaits_tasks.store(awaits, Ordering::Relaxed);
    }

    pub(crate) fn awaits_tasks(&self) -> bool {
        self.awaits_tasks.load(Ordering::Relaxed)
    }

    pub(crate) fn mail(&self) -> &Mailbox {
        &self.mail
    }
}

/// In [`Slot::helps_below`]: the thread is counted as a guest.
const GUEST: u64 = 1 << 63;

/// How a thread has offered to help. See [`Slot::helps`].
#[derive(Clone, Copy)]
pub(crate) struct Helping(u64);

impl Helping {
    /// Whether it is counted as a guest.
    pub(crate) fn is_guest(self) -> bool {
        self.0 & GUEST != 0
    }
}

/// See [`Slot::open_scope`].
pub(crate) struct OpenScope<'a> {
    slot: &'a Slot,
    /// What the scope's tasks descend from.
    pub(crate) origin: Origin,
}

impl Drop for OpenScope<'_> {
    fn drop(&mut self) {
        let scopes = &self.slot.owner.scopes;
        scopes.set(scopes.get() - 1);
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
