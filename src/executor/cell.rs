//! The heap block of a submitted task: header, then the closure, in whose place the outcome is written.
//!
//! What only the header is needed for is written once for all tasks ([`TaskRef`]); what knows the types stands in [`Ops`].
//!
//! **Invariant.** The phase says what the cell holds (see [`state`](super::state)): whoever has moved it there owns that.

use super::error::{Cause, JoinError, TaskId};
use super::extra::{Callback, Drops, Extra, List, Refuse, Waiter, wake_all};
use super::location;
use super::state::{Birth, Detach, End, Overtake, Stake, State};
use super::{timer, token};
use crate::blocks::{self, Blocks};
use crate::counters::{Count, Counters};
use crate::job::{Fate, Task, TaskHeader};
use crate::pool::worker::Event;
use crate::pool::{self, Registry, SWEEP_LEAST, Seat, Slot, context};
use crate::sleep::Parker;
use crate::sync::{Arc, AtomicPtr, Ordering, lock, now};
use crate::sys;
use crate::unwind::{self, Payload};
use std::alloc::Layout;
use std::cell::UnsafeCell;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};

/// What any task's block begins with. 56 bytes.
#[repr(C)]
pub(super) struct Header {
    task: TaskHeader,
    state: State,
    ops: &'static Ops,
    /// Made once, freed with the block.
    extra: AtomicPtr<Extra>,
    /// The number of its pool, which it does not keep alive.
    pool: u64,
    id: TaskId,
}

const _: () = assert!(crate::sync::MODEL || size_of::<Header>() <= 56);

#[repr(C)]
struct Cell<F, T> {
    header: Header,
    stage: UnsafeCell<Stage<F, T>>,
}

union Stage<F, T> {
    /// While queued.
    closure: ManuallyDrop<F>,
    /// Once settled. Written and read through the address.
    #[expect(dead_code, reason = "it gives the union its size")]
    outcome: ManuallyDrop<Result<T, JoinError>>,
}

/// How a run went.
#[derive(Debug)]
enum Ran {
    Completed,
    Panicked,
    /// The deadline came first: the outcome has been dropped.
    Late(Option<Payload>),
}

/// What has to know the types. Each function is unsafe: the header is a `Cell`'s of these types, in the phase that is said.
struct Ops {
    layout: Layout,
    /// Running: takes the closure, runs it and writes the outcome.
    run: unsafe fn(NonNull<Header>) -> Ran,
    /// Settling, unrun: drops the closure. What that throws comes back.
    drop_closure: unsafe fn(NonNull<Header>) -> Option<Payload>,
    /// Settling, unrun: takes the closure, to be dropped somewhere else.
    evict: unsafe fn(NonNull<Header>) -> Refuse,
    /// Settling: writes an error as the outcome.
    fail: unsafe fn(NonNull<Header>, JoinError),
    /// Settled: the outcome's address.
    outcome: unsafe fn(NonNull<Header>) -> NonNull<()>,
    /// Settled: takes the outcome and drops it. The task's panic, or that of the drop, comes back.
    discard: unsafe fn(NonNull<Header>) -> Option<Payload>,
    /// Calls back with an error that is not in the cell. Any phase.
    call: unsafe fn(Callback, JoinError),
}

struct OpsOf<F, T>(PhantomData<(F, T)>);

impl<F, T> OpsOf<F, T>
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    const OPS: Ops = Ops {
        layout: Layout::new::<Cell<F, T>>(),
        run: Self::run,
        drop_closure: Self::drop_closure,
        evict: Self::evict,
        fail: Self::fail,
        outcome: Self::outcome,
        discard: Self::discard,
        call: Self::call,
    };

    fn stage(header: NonNull<Header>) -> *mut Stage<F, T> {
        let cell = header.cast::<Cell<F, T>>().as_ptr();
        // SAFETY: the header is the first field of such a cell.
        let stage = unsafe { &raw const (*cell).stage };
        UnsafeCell::raw_get(stage)
    }

    unsafe fn take(header: NonNull<Header>) -> F {
        // SAFETY: by the caller the cell holds the closure, which is the caller's to take, once.
        unsafe { Self::stage(header).cast::<F>().read() }
    }

    unsafe fn write(header: NonNull<Header>, outcome: Result<T, JoinError>) {
        // SAFETY: by the caller nothing is in the cell, and nobody else looks.
        unsafe {
            Self::stage(header)
                .cast::<Result<T, JoinError>>()
                .write(outcome)
        };
    }

    unsafe fn run(header: NonNull<Header>) -> Ran {
        // SAFETY: the runner has a reference.
        let head = unsafe { header.as_ref() };
        // SAFETY: running, and not taken: the closure is the runner's.
        let closure = unsafe { Self::take(header) };
        // The runner's own reference stays the runner's.
        let own = ManuallyDrop::new(TaskRef(header));
        if head.state.is_timed() && head.state.taken() {
            own.expire();
        }
        let result = unwind::catch(closure);
        if head.state.is_timed() && !own.settle_in_time() {
            let lost = match result {
                Ok(value) => unwind::catch(|| drop(value)).err(),
                panic => panic.err(),
            };
            return Ran::Late(lost);
        }
        let (outcome, ran) = match result {
            Ok(value) => (Ok(value), Ran::Completed),
            Err(payload) => (Err(head.panicked(payload)), Ran::Panicked),
        };
        // SAFETY: the closure is gone; nobody else writes, since no deadline is set or it has lost.
        unsafe { Self::write(header, outcome) };
        ran
    }

    unsafe fn drop_closure(header: NonNull<Header>) -> Option<Payload> {
        // SAFETY: forwarded.
        let closure = unsafe { Self::take(header) };
        unwind::catch(|| drop(closure)).err()
    }

    unsafe fn evict(header: NonNull<Header>) -> Refuse {
        // SAFETY: forwarded.
        let closure = unsafe { Self::take(header) };
        let boxed: Box<dyn Drops + Send + '_> = Box::new(closure);
        // SAFETY: only the lifetime changes. Deadlines, for which this is called, are for tasks that borrow nothing.
        unsafe { std::mem::transmute::<Box<dyn Drops + Send + '_>, Refuse>(boxed) }
    }

    unsafe fn fail(header: NonNull<Header>, error: JoinError) {
        // SAFETY: forwarded.
        unsafe { Self::write(header, Err(error)) };
    }

    unsafe fn outcome(header: NonNull<Header>) -> NonNull<()> {
        NonNull::new(Self::stage(header).cast()).expect("a cell has an address")
    }

    unsafe fn discard(header: NonNull<Header>) -> Option<Payload> {
        let outcome = Self::stage(header).cast::<Result<T, JoinError>>();
        // SAFETY: by the caller the outcome is there and the caller's.
        match unsafe { outcome.read() } {
            Ok(value) => unwind::catch(|| drop(value)).err(),
            Err(error) => error.try_into_panic().ok(),
        }
    }

    unsafe fn call(callback: Callback, error: JoinError) {
        let outcome: Result<T, JoinError> = Err(error);
        callback(NonNull::from(&outcome).cast());
    }
}

impl Header {
    fn extra(&self) -> Option<&Extra> {
        // ORDERING: Acquire pairs with the Release in `extra_or_new`.
        let extra = self.extra.load(Ordering::Acquire);
        // SAFETY: null, or a block that is freed with the cell.
        unsafe { extra.as_ref() }
    }

    fn extra_or_new(&self) -> &Extra {
        if let Some(extra) = self.extra() {
            return extra;
        }
        let fresh = Box::into_raw(Box::<Extra>::default());
        let set = self.extra.compare_exchange(
            ptr::null_mut(),
            fresh,
            Ordering::AcqRel,
            Ordering::Acquire,
        );
        let extra = match set {
            Ok(_) => fresh,
            Err(other) => {
                // SAFETY: made above, and nobody else has seen it.
                drop(unsafe { Box::from_raw(fresh) });
                other
            }
        };
        // SAFETY: freed with the cell.
        unsafe { &*extra }
    }

    fn name(&self) -> Option<std::sync::Arc<str>> {
        self.extra().and_then(|extra| extra.name.clone())
    }

    fn panicked(&self, payload: Payload) -> JoinError {
        let location = location::of(&payload);
        JoinError::panicked(payload, self.id, self.name()).at(location)
    }
}

/// One of those who point at a task's cell. The last one frees it.
pub(super) struct TaskRef(NonNull<Header>);

// SAFETY: the header is `Sync` by its parts; what the stage holds is `Send`, and only the one whom the phase names touches it.
unsafe impl Send for TaskRef {}
// SAFETY: likewise.
unsafe impl Sync for TaskRef {}

impl Clone for TaskRef {
    fn clone(&self) -> Self {
        self.head().state.retain();
        TaskRef(self.0)
    }
}

impl Drop for TaskRef {
    #[inline]
    fn drop(&mut self) {
        if self.head().state.release() {
            let blocks = context::slot().map(Slot::blocks);
            // SAFETY: the last reference, so the cell is ours, and its stage is empty.
            unsafe { free(self.0, blocks) };
        }
    }
}

/// # Safety
/// Nobody points at the cell any more, and nothing is in its stage.
unsafe fn free(header: NonNull<Header>, blocks: Option<&Blocks>) {
    // SAFETY: by the caller the header is ours.
    let head = unsafe { header.as_ref() };
    let (extra, layout) = (head.extra.load(Ordering::Acquire), head.ops.layout);
    if !extra.is_null() {
        // SAFETY: made by `Box::into_raw`, freed once, here.
        unwind::drop_quietly(unsafe { Box::from_raw(extra) });
    }
    // SAFETY: as said; a model's atomics have destructors.
    #[cfg(any(loom, shuttle))]
    unsafe {
        header.drop_in_place();
    }
    // SAFETY: allocated by `make` with this layout.
    unsafe { blocks::release(header.cast(), layout, blocks) };
}

/// Makes a task that is queued, in memory from `blocks` if the caller owns some, with the reference that a queue will own and, if `birth` says so, a handle's.
///
/// # Safety
/// What `closure` and its result borrow outlives the task.
#[inline]
pub(super) unsafe fn make<F, T>(
    pool: u64,
    birth: Birth,
    extra: Option<Box<Extra>>,
    blocks: Option<&Blocks>,
    closure: F,
) -> (Task, NonNull<Header>)
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    let memory = blocks::allocate(Layout::new::<Cell<F, T>>(), blocks);
    let cell = Cell::<F, T> {
        header: Header {
            task: TaskHeader::new(resolve, ptr::null()),
            state: State::new(birth),
            ops: &OpsOf::<F, T>::OPS,
            extra: AtomicPtr::new(extra.map_or(ptr::null_mut(), Box::into_raw)),
            pool,
            id: super::next_id(),
        },
        stage: UnsafeCell::new(Stage {
            closure: ManuallyDrop::new(closure),
        }),
    };
    // SAFETY: allocated for this layout.
    unsafe { memory.cast::<Cell<F, T>>().write(cell) };
    let header = memory.cast::<Header>();
    // SAFETY: the header is the cell's first field, and begins with the task's; `resolve` ends it.
    let task = unsafe { Task::from_header(header.cast()) };
    (task, header)
}

/// What stands in the cell of a promise for a closure, and never runs.
type NoClosure<T> = fn() -> T;

/// Makes the cell of a promise, which is in no queue and belongs to no pool: the promise's reference and the handle's. See [`TaskRef::fulfil`].
pub(super) fn make_promise<T: Send + 'static>() -> (TaskRef, TaskRef) {
    let birth = Birth {
        handle: true,
        ungated: true,
        uncounted: true,
        ..Birth::default()
    };
    let closure: NoClosure<T> = || unreachable!("heist: a promise has nothing to run");
    // SAFETY: closure and result borrow nothing.
    let (task, header) = unsafe { make(NO_POOL, birth, None, None, closure) };
    // SAFETY: the birth counts a handle's reference, and here it is.
    (TaskRef::of(task), unsafe { TaskRef::from_header(header) })
}

/// The pool of a promise: pools are counted from 1.
const NO_POOL: u64 = 0;

/// Ends a task that comes out of a queue.
unsafe fn resolve(task: NonNull<TaskHeader>, fate: Fate, _: Option<&Blocks>) -> bool {
    // The queue's reference.
    let task = TaskRef(task.cast());
    let live = match fate {
        Fate::Run => {
            let live = task.claim();
            if live {
                let slot = context::slot().expect("heist: a task ran outside its pool");
                slot.registry().gate.leave();
                task.run_claimed(slot);
                return true;
            }
            live
        }
        Fate::Drop => task.cancel_here(Cause::ShutDown),
    };
    if !live {
        task.swept_up();
        if fate == Fate::Run {
            note_nothing_run();
        }
    }
    live
}

/// The current thread has taken a block out of a queue to run it, and there was nothing to run.
pub(super) fn note_nothing_run() {
    if let Some(slot) = context::slot() {
        slot.counters.not_executed.add(1);
    }
}

impl TaskRef {
    /// # Safety
    /// The caller owns one reference to this cell, and gives it away.
    pub(super) unsafe fn from_header(header: NonNull<Header>) -> Self {
        TaskRef(header)
    }

    #[inline]
    fn head(&self) -> &Header {
        // SAFETY: a reference keeps the cell alive.
        unsafe { self.0.as_ref() }
    }

    pub(super) fn id(&self) -> TaskId {
        self.head().id
    }

    pub(super) fn name(&self) -> Option<&str> {
        self.head().extra()?.name.as_deref()
    }

    pub(super) fn is_queued(&self) -> bool {
        self.head().state.is_queued()
    }

    pub(super) fn is_running(&self) -> bool {
        self.head().state.is_running()
    }

    pub(super) fn is_finished(&self) -> bool {
        self.head().state.is_finished()
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.head().state.is_cancelled()
    }

    /// The queue's reference of a task that is in no queue.
    pub(super) fn of(task: Task) -> Self {
        let header = task.header().cast();
        std::mem::forget(task);
        TaskRef(header)
    }

    /// [`tasks`](Self::tasks) of a task that was just made.
    pub(super) fn tasks_of(task: &Task) -> u64 {
        // The task's own reference stays the task's.
        ManuallyDrop::new(TaskRef(task.header().cast())).tasks()
    }

    /// A task that was just made is about to be queued in one of the pool's lanes.
    pub(super) fn set_in_lane(task: &Task) {
        // The task's own reference stays the task's.
        ManuallyDrop::new(TaskRef(task.header().cast()))
            .head()
            .state
            .set_in_lane();
    }

    /// The wait of a task that is about to be queued is measured.
    #[cold]
    pub(super) fn sample(task: &Task, registry: &Registry) {
        // The task's own reference stays the task's.
        let own = ManuallyDrop::new(TaskRef(task.header().cast()));
        let head = own.head();
        if registry.waits.begin(head.id.0.get(), registry.now_ns()) {
            head.state.set_sampled();
        }
    }

    /// A task that was queued will not run.
    fn leave_sample(&self, registry: &Registry) {
        let head = self.head();
        if head.state.is_sampled() {
            registry.waits.leave(head.id.0.get());
        }
    }

    /// The token and the timer learn of a task that is about to be queued. A token that is cancelled cancels it.
    pub(super) fn enrol(task: &Task) {
        // The task's own reference stays the task's.
        let own = ManuallyDrop::new(TaskRef(task.header().cast()));
        if let Some(extra) = own.head().extra()
            && !extra.enrol(&own)
        {
            own.cancel(Cause::Asked);
        }
    }

    /// Takes a queued task of this pool out of the hands of its queue. False: it has begun, or is another pool's.
    pub(super) fn claim_of(&self, registry: &Registry) -> bool {
        let ours = registry.id == self.head().pool && self.claim();
        if ours && self.head().state.is_gated() {
            registry.gate.leave();
            registry.count(|counters| &counters.left_behind, 1);
        }
        ours
    }

    /// Runs the task here and now if nobody has begun it, and it is `slot`'s pool's. False: it is not for us. To be called for a handle.
    pub(super) fn run_queued(&self, slot: &Slot) -> bool {
        let ours = self.claim_of(slot.registry());
        if ours {
            slot.counters.executed.add(1);
            self.run(slot, Stake::Kept);
        }
        ours
    }

    /// How much it adds to the pool's counts.
    pub(super) fn tasks(&self) -> u64 {
        u64::from(self.head().state.is_counted())
    }

    /// Queued becomes running. False: somebody else has the task, or its deadline has passed.
    #[inline]
    pub(super) fn claim(&self) -> bool {
        let state = &self.head().state;
        if state.is_timed() {
            self.expire_if_overdue();
        }
        state.claim()
    }

    /// Running becomes settling. False: the deadline has passed.
    #[cold]
    fn settle_in_time(&self) -> bool {
        self.expire_if_overdue();
        self.head().state.settle()
    }

    /// Does what the timer does, whose thread may be late, or could not be started.
    #[cold]
    fn expire_if_overdue(&self) {
        let deadline = self.head().extra().and_then(|extra| extra.deadline);
        if deadline.is_some_and(|deadline| now() >= deadline) {
            self.expire();
        }
    }

    /// Runs a task that was let in and is in no queue, unless it has been cancelled.
    pub(super) fn run_unqueued(self, slot: &Slot) {
        if self.claim() {
            slot.registry().gate.leave();
            self.run_claimed(slot);
            slot.helped();
        } else {
            self.swept_up();
        }
    }

    /// Whether this is the task in that block.
    pub(super) fn is(&self, task: &Task) -> bool {
        task.header() == self.0.cast()
    }

    /// Whether the task in that block, which comes from a detached deque, needs nothing any more.
    pub(super) fn is_dead(task: &Task) -> bool {
        let header = task.header().cast::<Header>();
        // Deques hold other blocks too: those of `run` come from the lanes. They are alive.
        // SAFETY: a cell, and the task holds a reference.
        task.is_ended_by(resolve) && !unsafe { header.as_ref() }.state.is_queued()
    }

    /// Runs a task that the caller has claimed, on `slot`, which is its pool's.
    #[inline]
    pub(super) fn run_claimed(self, slot: &Slot) {
        let task = ManuallyDrop::new(self);
        if let Stake::Kept = task.run(slot, Stake::Given) {
            drop(ManuallyDrop::into_inner(task));
        }
    }

    /// The same. Returns what became of the reference by which it was called: given away only if it was offered.
    #[inline]
    fn run(&self, slot: &Slot, stake: Stake) -> Stake {
        let head = self.head();
        if head.state.is_sampled() {
            let registry = slot.registry();
            registry.waits.end(head.id.0.get(), registry.now_ns());
        }
        let outer = slot.running.begin(head.id.0.get());
        let extra = head
            .extra()
            .filter(|extra| extra.name.is_some() || extra.token.is_some());
        let token = token::enter(extra.and_then(|extra| extra.token.as_ref()));
        let name = extra.and_then(|extra| extra.name.clone());
        // An unnamed one hides the name of the one further down the stack.
        let named = name.is_some() || (outer != 0 && slot.running.is_named());
        let outer_name = if named {
            slot.running.set_name(name)
        } else {
            None
        };
        // SAFETY: claimed by the caller: running.
        let ran = unsafe { (head.ops.run)(self.0) };
        if named {
            slot.running.set_name(outer_name);
        }
        drop(token);
        // The last of what this thread does with the task: see `Registry::is_idle`.
        let stake = self.settle(slot, ran, stake);
        slot.running.back(outer);
        stake
    }

    /// A run is over.
    #[inline]
    fn settle(&self, slot: &Slot, ran: Ran, stake: Stake) -> Stake {
        let head = self.head();
        match ran {
            Ran::Completed => slot.counters.completed.add(self.tasks()),
            Ran::Panicked => slot.counters.failed.add(self.tasks()),
            Ran::Late(lost) => {
                lose(lost, Some(slot.registry()));
                return Stake::Kept;
            }
        }
        if head.state.is_timed() {
            self.serve(Some(slot.registry()));
            return Stake::Kept;
        }
        match head.state.end(stake) {
            // That took a reference that was offered: the cell may be gone.
            End::Handed => stake,
            End::Alone => {
                self.discard(Some(slot.registry()));
                // SAFETY: nobody else points at the cell, and its stage is empty.
                unsafe { free(self.0, Some(slot.blocks())) };
                Stake::Given
            }
            End::Settle => {
                self.serve(Some(slot.registry()));
                Stake::Kept
            }
        }
    }

    /// Drops the task unrun if nobody has begun it. Returns whether that was so. Its block stays in the queue.
    pub(super) fn cancel(&self, cause: Cause) -> bool {
        let cancelled = self.cancel_here(cause);
        if cancelled {
            self.left_behind();
        }
        cancelled
    }

    /// The same for a task that is in no queue.
    pub(super) fn cancel_here(&self, cause: Cause) -> bool {
        let head = self.head();
        if !head.state.intercept(true) {
            return false;
        }
        // SAFETY: settling and unrun, by us.
        let lost = unsafe { (head.ops.drop_closure)(self.0) };
        // SAFETY: the closure is gone.
        unsafe { (head.ops.fail)(self.0, self.error(Why::Cancelled(cause))) };
        let registry = pool::pool(head.pool);
        if let Some(registry) = &registry {
            let entered = cause != Cause::Refused && cause != Cause::Full;
            if entered && head.state.is_gated() {
                registry.gate.leave();
            }
            self.leave_sample(registry);
            registry.count(|counters| &counters.cancelled, self.tasks());
        }
        lose(lost, registry.as_deref());
        self.serve(registry.as_deref());
        if let Some(registry) = registry {
            registry.look_idle();
        }
        true
    }

    /// Somebody has ended the task, and its block is still in a queue.
    fn left_behind(&self) {
        self.note_block(|counters| &counters.left_behind);
        self.bury();
    }

    /// Such a block has come out of its queue.
    fn swept_up(&self) {
        self.note_block(|counters| &counters.swept_up);
    }

    fn note_block(&self, which: impl Fn(&Counters) -> &Count) {
        if self.head().state.is_gated() {
            pool::with_pool(self.pool(), |registry| {
                if let Some(registry) = registry {
                    registry.count(which, 1);
                }
            });
        }
    }

    /// Somebody has begun or ended the task, and its block is still in a queue: now and then such blocks are swept out, so that a loop does not
    /// leave one for each task. The own deques hold what this thread has queued there, the lanes the rest.
    fn bury(&self) {
        let head = self.head();
        match context::slot().filter(|slot| slot.registry().id == head.pool) {
            Some(slot) => self.bury_from(slot),
            // Of a scope's tasks none lies in a lane.
            None if !head.state.is_gated() => {}
            None => pool::with_pool(head.pool, |registry| {
                if let Some(registry) = registry {
                    registry.bury(1, Self::is_dead);
                }
            }),
        }
    }

    /// [`bury`](Self::bury) on a thread that acts from this slot of the task's pool.
    #[inline]
    pub(super) fn bury_from(&self, slot: &Slot) {
        if self.head().state.is_in_lane() && slot.role() != Seat::Guest {
            slot.registry().bury(1, Self::is_dead);
        } else if slot.bury() {
            Self::sweep(slot);
        }
    }

    #[cold]
    fn sweep(slot: &Slot) {
        slot.sweep(|task| Self::is_dead(task) || super::scoped::is_dead(task));
        if slot.role() == Seat::Guest {
            // A guest has nothing but its scopes' tasks in its deques.
            slot.registry().bury(SWEEP_LEAST as u64, Self::is_dead);
        }
    }

    /// The deadline has come. On the timer's thread, or on the runner's, which the timer has met in the middle of its beginning: what is
    /// the user's is handed to the pool.
    pub(super) fn expire(&self) {
        let head = self.head();
        let closure = if head.state.intercept(false) {
            // SAFETY: settling and unrun, by us.
            Some(unsafe { (head.ops.evict)(self.0) })
        } else {
            match head.state.overtake() {
                Overtake::Settling => None,
                Overtake::Told | Overtake::Late => return,
            }
        };
        self.end_abroad(closure, Why::Timeout);
        if let Some(token) = head.extra().and_then(|extra| extra.token.as_ref()) {
            for task in token.raise() {
                task.cancel_abroad();
            }
        }
    }

    /// [`cancel`](Self::cancel) on the timer's thread.
    fn cancel_abroad(&self) {
        let head = self.head();
        if head.state.intercept(true) {
            // SAFETY: settling and unrun, by us.
            let closure = unsafe { (head.ops.evict)(self.0) };
            self.end_abroad(Some(closure), Why::Cancelled(Cause::Asked));
        }
    }

    fn error(&self, why: Why) -> JoinError {
        let head = self.head();
        match why {
            Why::Cancelled(cause) => JoinError::cancelled(cause, head.id, head.name()),
            Why::Timeout => JoinError::timed_out(head.id, head.name()),
        }
    }

    /// Settling, by a thread that is to run nothing of the user's: finishes with an error; the pool drops the closure and calls back.
    fn end_abroad(&self, closure: Option<Refuse>, why: Why) {
        let head = self.head();
        // SAFETY: settling, and the closure is gone.
        unsafe { (head.ops.fail)(self.0, self.error(why)) };
        let registry = pool::pool(head.pool);
        if let Some(registry) = &registry {
            if closure.is_some() {
                registry.gate.leave();
                self.left_behind();
                self.leave_sample(registry);
            }
            if let Why::Timeout = why {
                registry.count(|counters| &counters.timed_out, self.tasks());
            }
            // Before the end is counted: until the rest is done the pool is not idle.
            registry.count(|counters| &counters.deferred, 1);
            registry.count(
                |counters| match why {
                    Why::Timeout => &counters.failed,
                    Why::Cancelled(_) => &counters.cancelled,
                },
                self.tasks(),
            );
        }
        let extra = head.extra_or_new();
        extra.leave(head.id);
        let (waiters, wanted) = {
            let mut list = lock(&extra.list);
            // Callbacks that come later join the queue as long as there is one.
            list.called_abroad = !list.callbacks.is_empty();
            (std::mem::take(&mut list.waiters), head.state.finish())
        };
        wake_all(waiters);
        if !wanted {
            self.discard(registry.as_deref());
        }
        let has_rest = closure.is_some() || lock(&extra.list).called_abroad;
        match registry {
            Some(registry) if has_rest => {
                let task = self.clone();
                super::submit::run_soon(&registry, move || {
                    task.rest_abroad(closure, why);
                    task.rest_done();
                });
            }
            Some(_) => self.rest_done(),
            None if has_rest => self.rest_abroad(closure, why),
            None => {}
        }
    }

    /// Nothing is left of what a deadline has deferred.
    fn rest_done(&self) {
        pool::with_pool(self.pool(), |registry| {
            if let Some(registry) = registry {
                registry.count(|counters| &counters.deferred_done, 1);
                registry.look_idle();
            }
        });
    }

    /// What [`end_abroad`](Self::end_abroad) has left to the pool.
    fn rest_abroad(&self, closure: Option<Refuse>, why: Why) {
        let registry = pool::pool(self.head().pool);
        lose(unwind::catch(|| drop(closure)).err(), registry.as_deref());
        let extra = self.head().extra_or_new();
        loop {
            let callbacks = {
                let mut list = lock(&extra.list);
                list.called_abroad = !list.callbacks.is_empty();
                std::mem::take(&mut list.callbacks)
            };
            if callbacks.is_empty() {
                return;
            }
            for callback in callbacks {
                let (call, error) = (self.head().ops.call, self.error(why));
                // SAFETY: the callback is of this cell's type, as `call` is.
                let called = unwind::catch(|| unsafe { call(callback, error) });
                lose(called.err(), registry.as_deref());
            }
        }
    }

    /// Settling, and the outcome is there: calls back, finishes, wakes.
    fn serve(&self, registry: Option<&Registry>) {
        let head = self.head();
        let mut waiters = Vec::new();
        let wanted = head.state.finish_plain().unwrap_or_else(|| {
            let extra = head.extra_or_new();
            extra.leave(head.id);
            loop {
                let mut list = lock(&extra.list);
                let callbacks = std::mem::take(&mut list.callbacks);
                if callbacks.is_empty() {
                    waiters = std::mem::take(&mut list.waiters);
                    // Under the lock: who comes now finds the task finished.
                    break head.state.finish();
                }
                drop(list);
                // SAFETY: settling, by us: the outcome is there.
                let outcome = unsafe { (head.ops.outcome)(self.0) };
                for callback in callbacks {
                    lose(unwind::catch(|| callback(outcome)).err(), registry);
                }
            }
        });
        // First: a scope among the waiters outlives what its task has returned.
        if !wanted {
            self.discard(registry);
        }
        wake_all(waiters);
    }

    /// Drops an outcome that nobody will look at. A panic goes to the pool's handler.
    fn discard(&self, registry: Option<&Registry>) {
        // SAFETY: the caller has found that the outcome is there, and has no handle's.
        let lost = unsafe { (self.head().ops.discard)(self.0) };
        lose(lost, registry);
    }

    /// Adds to what is done at the end. False, and `add` is not called: the task has finished.
    pub(super) fn at_end(&self, add: impl FnOnce(&mut List)) -> bool {
        let head = self.head();
        if head.state.is_finished() {
            return false;
        }
        let extra = head.extra_or_new();
        let mut list = lock(&extra.list);
        if !head.state.add_extra() {
            return false;
        }
        add(&mut list);
        true
    }

    pub(super) fn forget(&self, which: impl Fn(&Waiter) -> bool) {
        if let Some(extra) = self.head().extra() {
            extra.forget(which);
        }
    }

    /// Ends a promise. Gives the outcome back if the handle has cancelled it before.
    ///
    /// # Safety
    /// The cell is one of [`make_promise::<T>`](make_promise).
    pub(super) unsafe fn fulfil<T: Send>(
        &self,
        outcome: Result<T, JoinError>,
    ) -> Option<Result<T, JoinError>> {
        let head = self.head();
        if !head.state.claim() {
            return Some(outcome);
        }
        // SAFETY: a promise's cell has these types, and claimed it is ours to write. The closure, a plain function, needs no drop.
        unsafe { OpsOf::<NoClosure<T>, T>::write(self.0, outcome) };
        // Nothing else ends a running promise: it has no deadline.
        let ours = head.state.settle();
        debug_assert!(ours, "heist: a promise was ended twice");
        self.serve(None);
        None
    }

    /// The handle's: address of the outcome of a finished task.
    pub(super) fn outcome(&self) -> NonNull<()> {
        assert!(
            self.is_finished(),
            "heist: the outcome of an unfinished task"
        );
        // SAFETY: finished; what is there is the handle's.
        unsafe { (self.head().ops.outcome)(self.0) }
    }

    /// The handle goes, with its reference.
    pub(super) fn detach(self) {
        match self.head().state.detach() {
            // That took the reference.
            Detach::Left => std::mem::forget(self),
            Detach::Outcome => self.discard(pool::pool(self.head().pool).as_deref()),
        }
    }

    /// A callback that came too late to be in the list has panicked.
    pub(super) fn lost_callback(&self, payload: Payload) {
        lose(Some(payload), pool::pool(self.head().pool).as_deref());
    }

    /// Queues a callback behind those that the pool is calling since a deadline. False: there are none.
    pub(super) fn call_abroad(&self, callback: &mut Option<Callback>) -> bool {
        let Some(extra) = self.head().extra() else {
            return false;
        };
        let mut list = lock(&extra.list);
        if list.called_abroad {
            list.callbacks.extend(callback.take());
        }
        list.called_abroad
    }

    /// Before a wait.
    ///
    /// # Panics
    /// In a forked child, where nobody will end it.
    pub(super) fn check_fork(&self) {
        // A process that is nobody's child in this sense need not look further.
        if sys::forks() != 0 && !self.is_finished() && self.pool() != NO_POOL {
            pool::check_fork_of(self.head().pool);
        }
    }

    /// The number of its pool.
    pub(super) fn pool(&self) -> u64 {
        self.head().pool
    }
}

/// It has finished.
impl Event for TaskRef {
    fn is_set(&self) -> bool {
        self.is_finished()
    }

    fn register(&self, parker: &Arc<Parker>) -> bool {
        self.at_end(|list| list.waiters.push(Waiter::Parker(Arc::clone(parker))))
    }

    fn unregister(&self, parker: &Arc<Parker>) {
        self.forget(|waiter| matches!(waiter, Waiter::Parker(other) if Arc::ptr_eq(other, parker)));
    }
}

/// Why a task ends without having run to its end.
#[derive(Clone, Copy, Debug)]
enum Why {
    Cancelled(Cause),
    Timeout,
}

/// A panic that no handle will see goes to the pool's handler.
fn lose(payload: Option<Payload>, registry: Option<&Registry>) {
    match (payload, registry) {
        (None, _) => {}
        (Some(payload), Some(registry)) => registry.lost_panic(payload),
        (Some(payload), None) => unwind::drop_quietly(payload),
    }
}

/// Waits for a task; see [`timer::block`].
pub(super) fn wait(task: &TaskRef, deadline: Option<std::time::Instant>) -> bool {
    task.check_fork();
    timer::block(task, deadline)
}
