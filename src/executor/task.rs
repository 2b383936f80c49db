//! References to submitted tasks, and the header with which the block of each task begins.
//!
//! A task is one heap block, its *cell*: a [`Header`], then the closure, in whose place the outcome is written later. This module counts references and answers
//! questions. What depends on the types of closure and outcome, and what the modules above this one add, is reached through the pointers in [`Ops`].
//!
//! **Invariant.** The phase in the header's [`State`] says what the cell holds. The thread that has moved the task into a phase owns what the cell holds then.

use super::error::{Cause, JoinError, TaskId};
use super::late::DeferredDrop;
use super::state::{InitialFlags, State};
use crate::blocks::Blocks;
use crate::job::{Resolve, Task, TaskHeader};
use crate::pages;
use crate::pool::{self, Slot, context};
use crate::record::SiteInfo;
use crate::sync::{AtomicPtr, Ordering};
use crate::sys;
use crate::unwind::Payload;
use std::alloc::Layout;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::ptr::{self, NonNull};

/// The first 48 bytes of the block of each task.
#[repr(C)]
pub(super) struct Header {
    /// What the queues of the scheduler see of the task, and its [`Home`]. It is the first field, so a pointer to a `Header` is one to a `TaskHeader`.
    base: TaskHeader,
    pub(super) state: State,
    pub(super) ops: &'static Ops,
    /// The address of the second block, an [`Extra`](super::extra::Extra), which is set once and freed with the cell. Or a [`stamp`], or null.
    pub(super) extra: AtomicPtr<()>,
    pub(super) id: TaskId,
    /// Makes loom fail a model that does not free the cell.
    #[cfg(heist_loom)]
    _tracked: loom::alloc::Track<()>,
}

const _: () = assert!(crate::sync::MODEL || size_of::<Header>() <= 48);

/// The word of a task without a second block that was queued at this time, in nanoseconds. It is odd, which no block's address is.
pub(super) fn stamp(queued_ns: u64) -> *mut () {
    ptr::without_provenance_mut((queued_ns as usize) << 1 | 1)
}

/// The time at which a task without a second block was queued, if it is measured.
#[inline]
pub(super) fn stamp_of(extra: *mut ()) -> Option<u64> {
    (extra.addr() & 1 != 0).then(|| (extra.addr() >> 1) as u64)
}

/// The second block.
#[inline]
pub(super) fn block_of(extra: *mut ()) -> Option<NonNull<()>> {
    NonNull::new(extra).filter(|extra| extra.addr().get() & 1 == 0)
}

/// The pool number of a promise. Pools are numbered from 1.
pub(super) const NO_POOL: u64 = 0;

/// The number of a task's pool, and the place of its cell in a [page](crate::pages), packed into a word. A task does not keep its pool alive.
#[derive(Clone, Copy)]
pub(super) struct Home(u64);

/// The bits of the pool's number in a [`Home`]: a process cannot live for as long as it takes to create so many pools.
const POOL_BITS: u32 = 48;

impl Home {
    #[inline]
    pub(super) fn new(pool: u64, place: usize) -> Self {
        Home(pool | (place as u64) << POOL_BITS)
    }

    fn pool(self) -> u64 {
        self.0 & ((1 << POOL_BITS) - 1)
    }

    fn place(self) -> usize {
        (self.0 >> POOL_BITS) as usize
    }
}

/// A callback of a task with a result of type `T`. Its argument is the address of a `Result<T, JoinError>`.
pub(super) type Callback = Box<dyn FnOnce(NonNull<()>) + Send>;

/// How a run ended.
#[derive(Debug)]
pub(super) enum Ran {
    Completed,
    Panicked,
    /// The deadline passed first, and the outcome was dropped. A panic of the closure or of that destructor is lost for the handle.
    Late(Option<Payload>),
    /// A future is not ready. It is in the cell.
    Pending,
}

/// Operations that depend on the types of closure and outcome, or on modules above this one.
///
/// The caller of an unsafe function asserts that the header begins a cell with these types, that the task is in the phase which the comment of the function names
/// first, and that the current thread owns what the cell holds in that phase.
pub(super) struct Ops {
    pub(super) layout: Layout,
    /// The closure or the future, for records.
    pub(super) site: &'static SiteInfo,
    /// Running: moves the closure out, runs it and writes the outcome. Of a future: polls it, and writes the outcome if it is ready.
    pub(super) run: unsafe fn(NonNull<Header>) -> Ran,
    /// Completing, not run, or a future that was not ready: drops the closure. Returns the panic of its destructor.
    pub(super) drop_closure: unsafe fn(NonNull<Header>) -> Option<Payload>,
    /// Completing, not run, or a future that was not ready: moves the closure out, so that another thread drops it. Returns `None` if it has no destructor.
    pub(super) defer_drop: unsafe fn(NonNull<Header>) -> Option<DeferredDrop>,
    /// Completing, with the closure gone: writes an error as the outcome.
    pub(super) fail: unsafe fn(NonNull<Header>, JoinError),
    /// Any phase: returns the address of the outcome, which is initialized from when it is written until it is taken.
    pub(super) outcome: unsafe fn(NonNull<Header>) -> NonNull<()>,
    /// Any phase in which the outcome is there: takes and drops it. Returns the task's panic, or the panic of the destructor.
    pub(super) discard: unsafe fn(NonNull<Header>) -> Option<Payload>,
    /// Any phase: calls a callback of this cell with an error that is not in the cell.
    pub(super) call: unsafe fn(Callback, JoinError),
    /// Cold: see [`TaskRef::cancel`].
    pub(super) cancel: fn(&TaskRef, Cause) -> bool,
    /// Cold: see [`TaskRef::expire`].
    pub(super) expire: fn(&TaskRef),
    /// Cold: frees the second block. The address comes from [`Header::extra`], and nobody uses the block any more.
    pub(super) drop_extra: unsafe fn(NonNull<()>),
}

impl Header {
    #[inline]
    pub(super) fn new(
        resolve: Resolve,
        flags: InitialFlags,
        ops: &'static Ops,
        extra: *mut (),
        home: Home,
    ) -> Self {
        Header {
            base: TaskHeader::detached(resolve, home.0),
            state: State::new(flags),
            ops,
            extra: AtomicPtr::new(extra),
            id: TaskId::next(),
            #[cfg(heist_loom)]
            _tracked: loom::alloc::Track::new(()),
        }
    }

    /// The number of the task's pool, or [`NO_POOL`].
    pub(super) fn pool(&self) -> u64 {
        self.home().pool()
    }

    fn home(&self) -> Home {
        Home(self.base.number())
    }
}

/// A task that was just made and is in no queue. Dropping it cancels the task.
pub(super) struct NewTask(Task);

impl NewTask {
    /// # Safety
    /// (1) `header` begins a live cell. (2) Its `resolve` ends such a cell. (3) The caller owns one reference to the cell and gives it away.
    #[inline]
    pub(super) unsafe fn new(header: NonNull<Header>) -> Self {
        // SAFETY: (1) a `Header` begins with a `TaskHeader`. (2) The cell's `resolve` ends it, and the reference is given away, as the caller asserts.
        NewTask(unsafe { Task::from_header(header.cast()) })
    }

    /// Returns a reference to the task that is not counted and must not be dropped.
    #[inline]
    pub(super) fn get(&self) -> ManuallyDrop<TaskRef> {
        ManuallyDrop::new(TaskRef(self.0.header().cast()))
    }

    /// Converts the task into an entry of a queue.
    #[inline]
    pub(super) fn into_task(self) -> Task {
        self.0
    }

    /// Converts the task into a reference, for a caller that ends it without a queue.
    pub(super) fn into_ref(self) -> TaskRef {
        let header = self.0.header().cast();
        std::mem::forget(self.0);
        TaskRef(header)
    }
}

/// A counted reference to a task's cell. Dropping the last one frees the cell.
pub(super) struct TaskRef(NonNull<Header>);

// SAFETY: (1) the header is `Sync` by its parts. (2) Closure and outcome are `Send`. (3) Only the thread that has moved the task into its phase touches them.
unsafe impl Send for TaskRef {}
// SAFETY: (1) the header is `Sync` by its parts. (2) A `&TaskRef` gives access to closure and outcome only to the thread that has moved the task into its phase.
unsafe impl Sync for TaskRef {}

impl Clone for TaskRef {
    fn clone(&self) -> Self {
        self.state.retain();
        TaskRef(self.0)
    }
}

impl Drop for TaskRef {
    #[inline]
    fn drop(&mut self) {
        if self.state.release() {
            let blocks = context::slot().map(Slot::blocks);
            // SAFETY: (1) that was the last reference, and it is not used afterwards. (2) The owner of the outcome has taken or dropped it before.
            unsafe { self.free(blocks) };
        }
    }
}

impl Deref for TaskRef {
    type Target = Header;

    #[inline]
    fn deref(&self) -> &Header {
        // SAFETY: (1) the address is that of a header. (2) This reference keeps its cell alive. (3) Nobody has a `&mut` to a header.
        unsafe { self.0.as_ref() }
    }
}

impl TaskRef {
    /// # Safety
    /// (1) `header` begins a live cell. (2) The caller owns one reference to the cell and gives it away.
    #[inline]
    pub(super) unsafe fn from_header(header: NonNull<Header>) -> Self {
        TaskRef(header)
    }

    /// The address of the header, for the functions in [`Ops`].
    #[inline]
    pub(super) fn header(&self) -> NonNull<Header> {
        self.0
    }

    /// Frees the cell: into `blocks` if there is room and it lies in no page.
    ///
    /// # Safety
    /// (1) Nobody else refers to the cell. (2) The caller does not use the cell afterwards. (3) The cell holds neither closure nor outcome.
    #[inline]
    pub(super) unsafe fn free(&self, blocks: Option<&Blocks>) {
        // ORDERING: Acquire pairs with the Release that has set the pointer.
        let (extra, ops) = (self.extra.load(Ordering::Acquire), self.ops);
        let place = self.home().place();
        if let Some(extra) = block_of(extra) {
            // SAFETY: (1) the address comes from the header. (2) The block is reached through the cell alone, which nobody uses any more, as the caller
            // asserts.
            unsafe { (ops.drop_extra)(extra) };
        }
        // A model's atomics have destructors. SAFETY: the header is initialized, and nobody uses it any more, as the caller asserts.
        #[cfg(any(heist_loom, heist_shuttle))]
        unsafe {
            self.0.drop_in_place();
        }
        // SAFETY: (1) `cell::make` has allocated the block with this layout, at this place. (2) Nothing in it is used any more, as the caller asserts.
        unsafe { pages::release(self.0.cast(), place, ops.layout, blocks) };
    }

    /// Returns whether this is the task that the queue entry `task` stands for.
    pub(super) fn is(&self, task: &Task) -> bool {
        task.header() == self.0.cast()
    }

    /// Returns for how many tasks the task counts in the pool's statistics: one, or none if its closure counts them itself.
    #[inline]
    pub(super) fn tasks(&self) -> u64 {
        u64::from(self.state.is_counted())
    }

    /// Returns the address of the outcome of a finished task, for the handle.
    ///
    /// # Panics
    ///
    /// Panics if the task has not finished.
    pub(super) fn outcome(&self) -> NonNull<()> {
        assert!(
            self.state.is_finished(),
            "heist: the outcome of an unfinished task"
        );
        // SAFETY: (1) the operations are those of this cell. (2) The function may be called in any phase.
        unsafe { (self.ops.outcome)(self.0) }
    }

    /// Cancels the task if it has not begun, and returns whether it did. The task's block stays in its queue.
    pub(super) fn cancel(&self, cause: Cause) -> bool {
        (self.ops.cancel)(self, cause)
    }

    /// Ends the task with an error, if it has no outcome yet, because its deadline has passed. Runs none of the user's code.
    #[cold]
    pub(super) fn expire(&self) {
        (self.ops.expire)(self);
    }

    /// Called before a wait for the task.
    ///
    /// # Panics
    ///
    /// Panics in a forked child, where no thread would end the task.
    pub(super) fn check_fork(&self) {
        // In a process that was never forked one load is enough.
        if sys::forks() != 0 && !self.state.is_finished() && self.pool() != NO_POOL {
            pool::check_fork_of(self.pool());
        }
    }
}
