//! A slot: the memory through which one thread takes part in one pool, and into which the others look.

use super::activity::Activity;
use super::credits::Credits;
use super::hot::Hot;
use super::inbox::Inbox;
use super::queue::{Local, Stealer};
use super::running::Running;
use super::shards::STAY;
use crate::blocks::Blocks;
use crate::counters::Counters;
use crate::job::{ForkHeader, Task};
use crate::lineage::{Lineage, Origin, Place, Run, Token};
use crate::profile::mark::Mark;
use crate::record::Recorder;
use crate::ring::{self, Ring};
use crate::sleep::Parker;
// From std in models too: models record nothing.
use crate::sync::hint::AtomicPtr;
use crate::sync::{Arc, AtomicBool, AtomicU64, MODEL, Ordering};
use crate::timings::Timings;
use crossbeam_utils::CachePadded;
/// A cell whose accesses loom tracks: a model fails if a slot changes hands without order.
#[cfg(heist_loom)]
use loom::cell::Cell as Tracked;
use std::cell::Cell;
#[cfg(not(heist_loom))]
use std::cell::Cell as Tracked;
use std::mem::offset_of;
use std::ptr;

/// The part that a thread plays in a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The worker of this index.
    Worker(usize),
    /// A thread that stands in for blocked workers.
    Spare,
    /// A thread from outside, during a call. A slot of this kind also serves as the second ring of any thread.
    Guest,
}

impl Role {
    /// The worker's index.
    pub(crate) fn worker(self) -> Option<usize> {
        match self {
            Role::Worker(index) => Some(index),
            Role::Spare | Role::Guest => None,
        }
    }
}

/// A thread's own deques are swept when the number of tombstones that may have come into them is at least this, and at least half the number of
/// their entries. In a model the first tombstone is enough.
pub(crate) const SWEEP_LEAST: usize = if cfg!(heist_loom) { 1 } else { 64 };

/// How often in a row a thread takes its hot task before others get their turn.
const HOT_RUNS: u32 = 64;

/// One in this many searches takes the oldest ready future before the thread's other tasks.
const READY_INTERVAL: u32 = 32;

/// The ring, deques, parker and counters of one thread, at a fixed address. A slot has one owner at a time and is freed with the pool.
pub(crate) struct Slot {
    pub(crate) ring: Box<Ring<ForkHeader>>,
    /// The slot's number in the registry. Slots are numbered in the order of their first use, and guests and second rings have slots too, so this is
    /// no worker's index.
    pub(crate) id: usize,
    /// The kind of thread that the slot is for. A slot is only reused for the same kind.
    pub(crate) kind: Role,
    pub(crate) parker: Arc<Parker>,
    /// The owner's scope tasks. Threads that wait for one look here.
    pub(crate) tasks: Stealer,
    /// The owner's detached tasks. Only free workers look here, and handles that wait for one.
    pub(crate) detached: Stealer,
    /// The futures that were woken during their own poll on this thread, or that were woken by this thread and gave way to a newer one.
    pub(crate) ready: Stealer,
    // The fields above are written once, and every thief reads them. Those below are written again and again, each on lines of its own.
    pub(crate) inbox: CachePadded<Inbox>,
    /// The future that this thread has woken last.
    pub(super) hot: CachePadded<Hot>,
    waits: CachePadded<WaitFlags>,
    /// The runs on this slot, and what they descend from.
    pub(crate) lineage: CachePadded<Lineage>,
    /// The submitted task that runs on this slot.
    pub(crate) running: CachePadded<Running>,
    pub(crate) counters: CachePadded<Counters>,
    /// What the thread waits for.
    pub(crate) activity: CachePadded<Activity>,
    /// Which forks a profile does not measure where they are made.
    pub(crate) mark: CachePadded<Mark>,
    /// The measured times of tasks that ran here. Made for the first one. From std: it is not modelled.
    timings: std::sync::OnceLock<Box<Timings>>,
    /// Accessed by the owner only, except `recorder`.
    owner: CachePadded<Owner>,
}

/// What the owner says about its waits.
#[derive(Default)]
struct WaitFlags {
    /// The owner waits for a scope's tasks: it is parked, or about to look for them once more.
    awaits_tasks: AtomicBool,
    /// While the owner is parked as a helper, the word of the place whose descendants it may run, together with [`GUEST`] if it is a guest. 0 while
    /// it is not parked, and after another thread has claimed it.
    helps_below: AtomicU64,
}

/// The size of what a `CachePadded` value has for itself.
const LINE: usize = align_of::<CachePadded<u8>>();

/// What thieves read at each look shares no line with what is written.
const _: () = {
    let read = [
        offset_of!(Slot, ring),
        offset_of!(Slot, id),
        offset_of!(Slot, tasks),
        offset_of!(Slot, detached),
    ];
    let written = [
        (offset_of!(Slot, inbox), size_of::<CachePadded<Inbox>>()),
        (offset_of!(Slot, waits), size_of::<CachePadded<WaitFlags>>()),
        (offset_of!(Slot, lineage), size_of::<CachePadded<Lineage>>()),
        (offset_of!(Slot, running), size_of::<CachePadded<Running>>()),
        (
            offset_of!(Slot, counters),
            size_of::<CachePadded<Counters>>(),
        ),
        (
            offset_of!(Slot, activity),
            size_of::<CachePadded<Activity>>(),
        ),
        (offset_of!(Slot, mark), size_of::<CachePadded<Mark>>()),
        (offset_of!(Slot, owner), size_of::<CachePadded<Owner>>()),
    ];
    let mut pair = 0;
    while pair < read.len() * written.len() {
        let (offset, (begin, size)) = (read[pair / written.len()], written[pair % written.len()]);
        assert!(begin % LINE == 0 && size % LINE == 0);
        assert!(offset / LINE < begin / LINE || offset / LINE >= (begin + size) / LINE);
        pair += 1;
    }
};

/// The part of a slot that only its owner accesses.
struct Owner {
    /// What records the slot's events, or null. It lives as long as the registry. Written by a thread that starts or stops a recording, and by the owner, which
    /// lends the recorder of one slot to another one of its own.
    recorder: AtomicPtr<Recorder>,
    /// The role of the owning thread. It equals the slot's kind, except on a second ring, which a worker can own.
    role: Tracked<Role>,
    deque: Local,
    detached: Local,
    /// The number of pushes to `deque` minus the number of successful pops. This is the position of the newest entry. Thieves take entries at the
    /// other end and change no position.
    position: Cell<usize>,
    /// The number of scopes that are open on this slot.
    scopes: Cell<usize>,
    credits: Credits,
    /// The memory of tasks that ended here, for tasks that are spawned here.
    blocks: Blocks,
    /// The state of the random generator that picks victims.
    random: Cell<u32>,
    /// The number of tombstones that this thread's own deques may have received since the last sweep.
    tombstones: Cell<usize>,
    /// The number of searches so far. See [`Slot::turn`].
    turns: Cell<u32>,
    ready: Local,
    /// Whether this thread has ever queued a woken future here.
    has_futures: Cell<bool>,
    /// How often in a row the thread has taken the hot task.
    hot_runs: Cell<u32>,
    /// Whether the last task yielded, so that what is in the injector comes next.
    yielded: Cell<bool>,
    /// Whether the thread is counted out while it runs the user's code, which blocks.
    has_left: Cell<bool>,
}

// SAFETY: (1) `owner` is private, and only the owning thread, whose context holds the slot, calls the methods that access it, except `recorder`, which is
// `Sync`. (2) Every other field is `Sync`.
unsafe impl Sync for Slot {}
// SAFETY: a slot goes from one thread to another through the registry only: under its lock, or by a Release compare-and-swap and an
// Acquire swap of the cached guest slot. Either orders the accesses of the two threads.
unsafe impl Send for Slot {}

impl Slot {
    pub(crate) fn new(id: usize, kind: Role) -> Self {
        let (deque, detached, ready) = (Local::new(), Local::new(), Local::new_fifo());
        Slot {
            ring: Ring::boxed(),
            id,
            kind,
            parker: Arc::default(),
            tasks: deque.stealer(),
            detached: detached.stealer(),
            ready: ready.stealer(),
            inbox: CachePadded::default(),
            hot: CachePadded::default(),
            waits: CachePadded::default(),
            lineage: CachePadded::default(),
            running: CachePadded::default(),
            counters: CachePadded::default(),
            activity: CachePadded::default(),
            mark: CachePadded::default(),
            timings: std::sync::OnceLock::new(),
            owner: CachePadded::new(Owner {
                recorder: AtomicPtr::new(ptr::null_mut()),
                role: Tracked::new(kind),
                deque,
                detached,
                position: Cell::new(0),
                scopes: Cell::new(0),
                credits: Credits::default(),
                blocks: Blocks::default(),
                random: Cell::new(0x9e37_79b9 ^ (id as u32 + 1).wrapping_mul(0x85eb_ca6b)),
                tombstones: Cell::new(0),
                turns: Cell::new(if MODEL { 0 } else { id as u32 * STAY }),
                ready,
                has_futures: Cell::new(false),
                hot_runs: Cell::new(0),
                yielded: Cell::new(false),
                has_left: Cell::new(false),
            }),
        }
    }

    // ---- the record ----

    /// Owner: what records the slot's events, if they are recorded.
    #[inline(always)]
    pub(crate) fn recorder(&self) -> Option<&Recorder> {
        // ORDERING: Acquire pairs with the Release in `set_recorder`.
        let recorder = self.owner.recorder.load(Ordering::Acquire);
        // SAFETY: the pointer is null, or that of a recorder of the registry's recording, which is freed together with this slot.
        unsafe { recorder.as_ref() }
    }

    /// Sets or removes the [`recorder`](Self::recorder), which must live as long as the slot. Returns the address of the previous one.
    pub(super) fn set_recorder(&self, recorder: *const Recorder) -> *const Recorder {
        let recorder = recorder.cast_mut();
        // ORDERING: Release pairs with the Acquire in `recorder`.
        self.owner.recorder.swap(recorder, Ordering::AcqRel)
    }

    // ---- owner only ----

    /// Owner: the role in which this thread is counted.
    pub(crate) fn role(&self) -> Role {
        self.owner.role.get()
    }

    /// Owner: sets the [`role`](Self::role).
    pub(crate) fn set_role(&self, role: Role) {
        self.owner.role.set(role);
    }

    /// Whether the thread is in the first part of a `join`, or in something that another thread waits for, so that it looks at no queue before that has ended. A
    /// hint to other threads.
    pub(crate) fn is_in_forks(&self) -> bool {
        self.ring.depth() > 0 || self.lineage.innermost().place().is_some()
    }

    /// Owner: queues a detached task. Returns whether the owner must answer a share request.
    #[inline]
    #[must_use]
    pub(super) fn put_detached(&self, task: Task) -> bool {
        self.owner.detached.push(task);
        self.ring.must_answer(self.ring.depth())
    }

    /// Owner: takes the newest detached task of this thread's own deque.
    pub(crate) fn pop_detached(&self) -> Option<Task> {
        self.owner.detached.pop()
    }

    /// Owner: queues a scope task. Returns whether the owner must answer a share request.
    #[inline]
    #[must_use]
    pub(super) fn put_task(&self, task: Task) -> bool {
        self.owner.position.update(|position| position + 1);
        self.owner.deque.push(task);
        // A thread that goes to sleep sets the ring's `limit` to 0. A push to the deque must answer that too, and therefore checks the limit. While
        // the limit is not 0, it is above the depth unless the ring is full. Then the answer is not needed, and does no harm.
        self.ring.must_answer(self.ring.depth())
    }

    /// Owner: whether this thread's own deques are empty.
    pub(super) fn has_nothing_in_deques(&self) -> bool {
        let owner = &self.owner;
        owner.ready.is_empty() && owner.deque.is_empty() && owner.detached.is_empty()
    }

    /// Owner: takes the newest scope task of this thread's own deque.
    #[inline]
    pub(crate) fn pop_task(&self) -> Option<Task> {
        let task = self.owner.deque.pop()?;
        self.owner.position.update(|position| position - 1);
        Some(task)
    }

    /// Owner: counts a tombstone, most likely in one of this thread's own deques: a queued task was run by its handle. Returns whether a
    /// [`sweep`](super::context::Member::sweep) is worthwhile.
    pub(crate) fn add_tombstone(&self) -> bool {
        let tombstones = self.owner.tombstones.get() + 1;
        let due = tombstones >= SWEEP_LEAST
            && 2 * tombstones >= self.tasks.len() + self.detached.len() + self.ready.len();
        self.owner.tombstones.set(if due { 0 } else { tombstones });
        due
    }

    /// Owner: removes the tombstones from this thread's own deques and keeps the order of the other tasks. Returns the slots that wait for tasks which
    /// were in no queue meanwhile.
    ///
    /// The other entries keep their positions, as if thieves had taken the tombstones.
    pub(super) fn sweep_deques(&self, is_tombstone: impl Fn(&Task) -> bool) -> Vec<usize> {
        let mut waiters = Vec::new();
        for deque in [&self.owner.deque, &self.owner.detached] {
            let entries = std::iter::from_fn(|| deque.pop());
            let tasks: Vec<_> = entries.filter(|task| !is_tombstone(task)).collect();
            waiters.extend(tasks.iter().filter_map(Task::waiter));
            tasks.into_iter().rev().for_each(|task| deque.push(task));
        }
        let ready = &self.owner.ready;
        let futures: Vec<_> = std::iter::from_fn(|| ready.pop()).collect();
        let futures = futures.into_iter().filter(|task| !is_tombstone(task));
        futures.for_each(|task| ready.push(task));
        waiters.sort_unstable();
        waiters.dedup();
        waiters
    }

    /// Owner: the position of the newest entry of this thread's own deque of scope tasks. Entries above a position were pushed after it was read.
    pub(crate) fn position(&self) -> usize {
        self.owner.position.get()
    }

    /// Owner: begins a run that descends from `origin` and has this token. It ends when the guard is dropped.
    #[inline(always)]
    pub(super) fn begin(&self, origin: Origin, token: Token) -> Run<'_> {
        self.lineage.begin(origin, token, self.ring.depth())
    }

    /// Owner: gives the innermost run another token until the guard is dropped.
    pub(crate) fn change_token(&self, token: Token) -> Run<'_> {
        let origin = self.lineage.innermost();
        self.lineage.begin(origin, token, self.ring.depth())
    }

    /// Owner: the origin under the place that the innermost run has made under this number: that of a fork whose thief has not finished, of an open
    /// scope, or of a `join` that continues in a deeper ring.
    pub(crate) fn own_origin(&self, index: usize) -> Origin {
        self.lineage.origin(self.lineage.own_place(self.id, index))
    }

    /// Owner: opens a scope, which is closed when the guard is dropped.
    pub(crate) fn open_scope(&self) -> OpenScope<'_> {
        let scopes = self.owner.scopes.get();
        self.owner.scopes.set(scopes + 1);
        OpenScope {
            slot: self,
            // A number above those of all forks, and above that of a join that continues in a deeper ring.
            origin: self.own_origin(ring::CAPACITY + 1 + scopes),
        }
    }

    /// Owner: the credits by which it counts tasks of the scope for which it works.
    #[inline]
    pub(crate) fn credits(&self) -> &Credits {
        &self.owner.credits
    }

    /// Owner: the memory for new tasks.
    pub(crate) fn blocks(&self) -> &Blocks {
        &self.owner.blocks
    }

    /// Owner: a random number, by which a thief chooses the slot at which it begins to look.
    pub(crate) fn random(&self) -> usize {
        let mut x = self.owner.random.get();
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        self.owner.random.set(x);
        x as usize
    }

    /// Owner: the measured times, in which it counts.
    pub(crate) fn own_timings(&self) -> &Timings {
        self.timings.get_or_init(Box::default)
    }

    /// Owner: counts a search. Returns its number.
    pub(crate) fn turn(&self) -> u32 {
        let turn = self.turns().wrapping_add(1);
        self.owner.turns.set(turn);
        turn
    }

    /// Owner: the number of searches counted by [`turn`](Self::turn).
    pub(crate) fn turns(&self) -> u32 {
        self.owner.turns.get()
    }

    /// Owner: sets whether the thread is counted out while it runs the user's code. Returns whether it was.
    pub(super) fn set_left(&self, left: bool) -> bool {
        self.owner.has_left.replace(left)
    }

    /// Owner: queues a future behind those that are ready. Returns whether the owner must answer a share request.
    #[must_use]
    pub(super) fn put_ready(&self, task: Task) -> bool {
        self.owner.has_futures.set(true);
        self.owner.ready.push(task);
        self.ring.must_answer(self.ring.depth())
    }

    /// Owner: records that the task which is about to be queued has yielded.
    pub(super) fn note_yield(&self) {
        self.owner.yielded.set(true);
    }

    /// Owner: makes a future the hot one. Returns the one that was hot before.
    pub(super) fn put_hot(&self, task: Task) -> Option<Task> {
        self.owner.has_futures.set(true);
        self.hot.replace(task)
    }

    /// Owner: whether it has ever queued a woken future here, so that [`next_with_futures`](Self::next_with_futures) is to be asked.
    #[inline]
    pub(super) fn has_futures(&self) -> bool {
        self.owner.has_futures.get()
    }

    /// Owner: whether [`next_with_futures`](Self::next_with_futures) may take a future before a scope task in this search, or the last task has yielded.
    pub(super) fn may_offer_future(&self, turn: u32) -> bool {
        let owner = &self.owner;
        !self.hot.is_empty()
            || owner.yielded.get()
            || (turn.is_multiple_of(READY_INTERVAL) && !owner.ready.is_empty())
    }

    /// Owner: whether the last task has yielded, which is forgotten.
    pub(super) fn take_yield(&self) -> bool {
        self.owner.yielded.replace(false)
    }

    /// Owner: takes the next task of this thread's own deques or the hot one.
    pub(super) fn next_with_futures(&self) -> Option<Task> {
        let hot_runs = self.owner.hot_runs.replace(0);
        if self.turns().is_multiple_of(READY_INTERVAL)
            && let Some(task) = self.owner.ready.pop()
        {
            return Some(task);
        }
        if hot_runs < HOT_RUNS
            && let Some(task) = self.hot.take()
        {
            self.owner.hot_runs.set(hot_runs + 1);
            return Some(task);
        }
        self.pop_task()
            .or_else(|| self.pop_detached())
            .or_else(|| self.owner.ready.pop())
            .or_else(|| self.hot.take())
    }

    /// Owner: takes a future from those of another slot that are ready, and some more for itself.
    pub(super) fn steal_ready(&self, victim: &Slot) -> Option<Task> {
        let task = victim.ready.steal_some(&self.owner.ready)?;
        self.owner.has_futures.set(true);
        Some(task)
    }

    // ---- anybody ----

    /// The measured times of the tasks that ran here, if there are any.
    pub(crate) fn timings(&self) -> Option<&Timings> {
        self.timings.get().map(|timings| &**timings)
    }

    /// The place of the fork at `index` of the ring. [`crate::lineage`] states when the answer can be trusted.
    pub(crate) fn place_at(&self, index: usize) -> Place {
        self.lineage.place_at(self.id, index)
    }

    /// The origin under the place of the fork at `index` of the ring. [`crate::lineage`] states when the answer can be trusted.
    pub(crate) fn origin_at(&self, index: usize) -> Origin {
        self.lineage.origin(self.place_at(index))
    }

    /// The origin under the place of the fork that a thief would take here.
    pub(crate) fn oldest_fork(&self) -> Option<Origin> {
        self.ring.oldest().map(|index| self.origin_at(index))
    }

    /// Owner: offers to run what descends from `origin` while it is parked in a wait.
    pub(crate) fn offer_help(&self, origin: Origin, guest: bool) {
        let word = origin.place().map_or(0, Place::word);
        let word = if guest { word | GUEST } else { word };
        // ORDERING: Relaxed: a heavy fence follows, which pairs with the fence of a publisher.
        self.waits.helps_below.store(word, Ordering::Relaxed);
    }

    /// Owner: withdraws the offer to help. Returns `false` if another thread has claimed it and counted this thread as awake and searching.
    pub(crate) fn withdraw_help(&self) -> bool {
        // ORDERING: Acquire pairs with the Release in `claim_help`: the claimant's count is raised before this thread lowers it.
        self.waits.helps_below.swap(0, Ordering::Acquire) != 0
    }

    /// The offer by which to claim the owner, if it is parked and may run what descends from `place`.
    pub(crate) fn helps(&self, place: Place) -> Option<Helping> {
        let word = self.waits.helps_below.load(Ordering::Relaxed);
        (word & !GUEST == place.word()).then_some(Helping(word))
    }

    /// Whether the owner is parked in a wait and offers help. A hint.
    pub(crate) fn is_helper(&self) -> bool {
        self.waits.helps_below.load(Ordering::Relaxed) != 0
    }

    /// Claims a helper. Returns `false` if it has woken by itself or another thread has claimed it.
    pub(crate) fn claim_help(&self, helping: Helping) -> bool {
        // ORDERING: Release pairs with the Acquire in `withdraw_help`.
        self.waits
            .helps_below
            .compare_exchange(helping.0, 0, Ordering::Release, Ordering::Relaxed)
            .is_ok()
    }

    /// Whether a free thread could find a fork or a scope task here.
    pub(crate) fn has_help(&self) -> bool {
        !self.ring.is_empty() || self.tasks.len() > 0
    }

    /// Whether there is a task here that only a worker runs. `used` says whether the pool was ever given a future.
    pub(super) fn has_detached(&self, used: bool) -> bool {
        self.detached.len() > 0 || (used && self.ready.len() > 0)
    }

    /// Whether there is any work here.
    pub(crate) fn has_work(&self) -> bool {
        self.has_help() || self.detached.len() > 0 || self.ready.len() > 0
    }

    /// Owner: says whether it waits for a scope's tasks. Set before the final look for them, cleared after parking.
    pub(crate) fn set_awaits_tasks(&self, awaits: bool) {
        // ORDERING: Relaxed. Store-load pair: {flag; heavy; look} in the wait that parks, {push; fence; flag} in `Registry::wake_for_task`.
        self.waits.awaits_tasks.store(awaits, Ordering::Relaxed);
    }

    pub(crate) fn awaits_tasks(&self) -> bool {
        self.waits.awaits_tasks.load(Ordering::Relaxed)
    }
}

/// A bit of [`WaitFlags::helps_below`]: the thread is counted as a guest.
const GUEST: u64 = 1 << 63;

/// A parked thread's offer to help. See [`Slot::helps`].
#[derive(Clone, Copy)]
pub(crate) struct Helping(u64);

impl Helping {
    /// Whether the thread is counted as a guest.
    pub(crate) fn is_guest(self) -> bool {
        self.0 & GUEST != 0
    }
}

/// An open scope. See [`Slot::open_scope`].
pub(crate) struct OpenScope<'a> {
    slot: &'a Slot,
    /// The origin of the scope's tasks.
    pub(crate) origin: Origin,
}

impl Drop for OpenScope<'_> {
    fn drop(&mut self) {
        self.slot.owner.scopes.update(|scopes| scopes - 1);
    }
}
