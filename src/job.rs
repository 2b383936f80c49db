//! Erased closures: the fork job, which lives in its joiner's frame, and the task, which lives on the heap.

use crate::blocks::{self, Blocks};
use crate::lineage::{Origin, Place};
use crate::sync::{AtomicPtr, Ordering};
use crate::unwind::{self, Payload};
use std::alloc::Layout;
use std::cell::UnsafeCell;
use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};

#[cfg(all(test, loom))]
mod models;

const _: () = assert!(
    usize::BITS == 64,
    "heist packs a slot beside a tag into one word and needs 64 bits"
);

/// Function of a fork job: takes the closure out, runs it, leaves the outcome in its place. Never unwinds.
type Run = unsafe fn(NonNull<ForkHeader>);

/// First word of a fork job. It is the function to run and the state in one, so that a fork that nobody steals
/// stores nothing for the thief's sake.
///
/// | word | written by | next |
/// |---|---|---|
/// | the function | the owner, at the push | `Running` by the thief |
/// | `Running` (the thief's slot) | the thief | `Waiting` by the owner, `Done` by the thief |
/// | `Waiting` (the owner's slot) | the owner, before it parks | `Running` by the owner, `Done` by the thief |
/// | `Done` | the thief, by swap | |
#[repr(C)]
#[derive(Debug)]
pub(crate) struct ForkHeader {
    word: AtomicPtr<()>,
}

/// What the owner of a stolen fork job reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ForkState {
    /// Stolen, the thief is about to say so.
    Taken,
    /// The thread of that slot runs it.
    Running { slot: usize },
    /// The outcome is there.
    Done,
}

/// No function's address has it: user space ends below.
const TAG: usize = 1 << 63;
const WAITING: usize = 1 << 62;
const DONE: *mut () = ptr::without_provenance_mut(usize::MAX);

fn running(slot: usize) -> *mut () {
    ptr::without_provenance_mut(TAG | slot)
}

fn waiting(slot: usize) -> *mut () {
    ptr::without_provenance_mut(TAG | WAITING | slot)
}

impl ForkHeader {
    /// Owner, while the job is stolen and it is not itself `Waiting`.
    pub(crate) fn state(&self) -> ForkState {
        // ORDERING: Acquire pairs with the swap in `finish`: the outcome is visible.
        let word = self.word.load(Ordering::Acquire);
        if word == DONE {
            ForkState::Done
        } else if word.addr() & TAG == 0 {
            ForkState::Taken
        } else {
            ForkState::Running {
                slot: word.addr() & !(TAG | WAITING),
            }
        }
    }

    /// Owner: `Running` becomes `Waiting`. False: it is done.
    pub(crate) fn wait(&self, state: ForkState, owner: usize) -> bool {
        self.exchange(state, |expected| (expected, waiting(owner)))
    }

    /// Owner: `Waiting` becomes `Running` again. False: it is done.
    pub(crate) fn unwait(&self, state: ForkState, owner: usize) -> bool {
        self.exchange(state, |expected| (waiting(owner), expected))
    }

    fn exchange(
        &self,
        state: ForkState,
        words: impl FnOnce(*mut ()) -> (*mut (), *mut ()),
    ) -> bool {
        let ForkState::Running { slot } = state else {
            return false;
        };
        let (from, to) = words(running(slot));
        // ORDERING: AcqRel: the thief's swap reads the waiter; a failure acquires the outcome.
        self.word
            .compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// Thief: runs the job on `slot`. Returns the slot that waits and must be woken.
    ///
    /// # Safety
    /// `job` was stolen from a ring by the caller and has not been run. When this returns, the job may be gone.
    pub(crate) unsafe fn execute(job: NonNull<Self>, slot: usize) -> Option<usize> {
        // SAFETY: the owner keeps the job alive until it reads `Done`.
        let header = unsafe { job.as_ref() };
        // ORDERING: Relaxed: the steal has acquired the job.
        let function = header.word.load(Ordering::Relaxed);
        // ORDERING: Relaxed: a helper that reads it goes on to the ring's own Acquire.
        header.word.store(running(slot), Ordering::Relaxed);
        // SAFETY: an unstarted job's word is a `Run`, written by `ForkJob::new`.
        let run = unsafe { std::mem::transmute::<*mut (), Run>(function) };
        // SAFETY: forwarded: stolen by us, not run before.
        unsafe { run(job) };
        // ORDERING: AcqRel: Release publishes the outcome; Acquire meets the waiter. The last touch of the job.
        let before = header.word.swap(DONE, Ordering::AcqRel);
        (before.addr() & WAITING != 0).then(|| before.addr() & !(TAG | WAITING))
    }
}

/// The second closure of a `join`, in the joiner's frame.
#[repr(C)]
pub(crate) struct ForkJob<F, R> {
    header: ForkHeader,
    body: UnsafeCell<Body<F, R>>,
}

union Body<F, R> {
    /// Until a thief runs it, or the owner does.
    closure: ManuallyDrop<F>,
    /// Once the header says `Done`.
    outcome: ManuallyDrop<Result<R, Payload>>,
}

/// The closure is told whether it was stolen.
impl<F, R> ForkJob<F, R>
where
    F: FnOnce(bool) -> R + Send,
    R: Send,
{
    /// A bitwise copy of `closure`: of the two, exactly one may be used.
    ///
    /// # Safety
    /// If a thief runs the job, the caller must not touch its own copy; if not, it must not touch the job's.
    #[inline(always)]
    pub(crate) unsafe fn copy_of(closure: &F) -> Self {
        let run: Run = run::<F, R>;
        ForkJob {
            header: ForkHeader {
                word: AtomicPtr::new(run as *mut ()),
            },
            body: UnsafeCell::new(Body {
                // SAFETY: a valid value; the caller answers for its being used once.
                closure: ManuallyDrop::new(unsafe { ptr::read(closure) }),
            }),
        }
    }

    #[inline(always)]
    pub(crate) fn header(&self) -> &ForkHeader {
        &self.header
    }

    /// What a ring holds. Derived from the whole job, so that the thief may reach the body.
    #[inline(always)]
    pub(crate) fn as_ptr(&self) -> *mut ForkHeader {
        ptr::from_ref(self).cast::<ForkHeader>().cast_mut()
    }

    /// The closure of a job that nobody has run.
    ///
    /// # Safety
    /// Nobody has run it and nobody can any more, and the other copy is never used.
    pub(crate) unsafe fn take_closure(&self) -> F {
        // SAFETY: nobody else looks.
        let body = unsafe { &mut *self.body.get() };
        // SAFETY: not run: the body is a closure.
        let closure = unsafe { &mut body.closure };
        // SAFETY: taken once.
        unsafe { ManuallyDrop::take(closure) }
    }

    /// The outcome that the thief left.
    ///
    /// # Safety
    /// The header said `Done`, and this is called once.
    pub(crate) unsafe fn take_outcome(&self) -> Result<R, Payload> {
        // SAFETY: the thief is done, so nobody else looks.
        let body = unsafe { &mut *self.body.get() };
        // SAFETY: `Done` says that the body is an outcome.
        let outcome = unsafe { &mut body.outcome };
        // SAFETY: taken once.
        unsafe { ManuallyDrop::take(outcome) }
    }
}

unsafe fn run<F, R>(job: NonNull<ForkHeader>)
where
    F: FnOnce(bool) -> R + Send,
    R: Send,
{
    let job = job.cast::<ForkJob<F, R>>();
    // SAFETY: alive until `Done`, which comes later. A shared reference: the owner looks at the header.
    let job = unsafe { job.as_ref() };
    // SAFETY: the owner leaves the body alone until `Done`.
    let body = unsafe { &mut *job.body.get() };
    // SAFETY: the body is a closure until it has run.
    let closure = unsafe { &mut body.closure };
    // SAFETY: stolen once, so taken once.
    let closure = unsafe { ManuallyDrop::take(closure) };
    body.outcome = ManuallyDrop::new(unwind::catch(|| closure(true)));
}

/// What may become of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It runs.
    Run,
    /// It is dropped unrun.
    Drop,
}

/// What tasks belong to: the core of a scope.
#[derive(Debug)]
pub(crate) struct Group {
    /// The scope's place, on the slot of the thread that waits for its tasks; the root if that thread takes part in no pool.
    origin: Origin,
}

impl Group {
    pub(crate) fn new(origin: Origin) -> Self {
        Group { origin }
    }

    /// What the group's tasks descend from.
    pub(crate) fn origin(&self) -> Origin {
        self.origin
    }
}

/// Ends a task. False: somebody else had ended it before, only its block was left.
pub(crate) type Resolve = unsafe fn(NonNull<TaskHeader>, Fate, Option<&Blocks>) -> bool;

/// First word of a task on the heap.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct TaskHeader {
    resolve: Resolve,
    /// Whose task it is; null: nobody's, detached.
    group: *const Group,
}

/// A task in a queue: an owned heap block. It must be resolved; dropping it drops the closure unrun.
#[derive(Debug)]
pub(crate) struct Task(NonNull<TaskHeader>);

// SAFETY: a task is made from a `Send` closure only.
unsafe impl Send for Task {}

#[repr(C)]
struct TaskBlock<F> {
    header: TaskHeader,
    closure: F,
}

impl TaskHeader {
    /// Of a task of `group`; null: a detached one.
    pub(crate) fn new(resolve: Resolve, group: *const Group) -> Self {
        TaskHeader { resolve, group }
    }
}

impl Task {
    /// A task in a block of the caller's making.
    ///
    /// # Safety
    /// `header` is the first field of a block that its `resolve` can end, once, on any thread.
    #[inline]
    pub(crate) unsafe fn from_header(header: NonNull<TaskHeader>) -> Self {
        Task(header)
    }

    /// Where the block is. It stays this task's.
    pub(crate) fn header(&self) -> NonNull<TaskHeader> {
        self.0
    }

    /// One block of memory, from `blocks` if the caller owns some. `closure` gets what becomes of the task and must not unwind.
    ///
    /// # Safety
    /// What `closure` borrows outlives the task, and so does `group`.
    #[inline]
    pub(crate) unsafe fn new<F: FnOnce(Fate) + Send>(
        group: *const Group,
        blocks: Option<&Blocks>,
        closure: F,
    ) -> Self {
        let header = TaskHeader::new(resolve::<F>, group);
        let block = blocks::allocate(Layout::new::<TaskBlock<F>>(), blocks).cast();
        // SAFETY: allocated for this layout.
        unsafe { block.write(TaskBlock { header, closure }) };
        Task(block.cast())
    }

    /// What it descends from; the root if it is detached.
    pub(crate) fn origin(&self) -> Origin {
        // SAFETY: the block is alive as long as the task.
        let group = unsafe { self.0.as_ref() }.group;
        // SAFETY: a pending task keeps its scope waiting, and the group with it.
        unsafe { group.as_ref() }.map_or(Origin::ROOT, Group::origin)
    }

    /// Whether it is one of this group's own.
    pub(crate) fn is_of(&self, group: &Group) -> bool {
        // SAFETY: the block is alive as long as the task.
        ptr::eq(unsafe { self.0.as_ref() }.group, group)
    }

    /// Whether this is what ends it: then its block is built as that function expects. A false no is possible.
    pub(crate) fn is_ended_by(&self, resolve: Resolve) -> bool {
        // SAFETY: the block is alive as long as the task.
        ptr::fn_addr_eq(unsafe { self.0.as_ref() }.resolve, resolve)
    }

    /// The slot of the thread that waits for it and may run it, if any does.
    pub(crate) fn waiter(&self) -> Option<usize> {
        self.origin().place().map(Place::slot)
    }

    /// Ends the task. Its memory goes to `blocks` if the caller owns some. False: there was nothing left to end.
    #[inline]
    pub(crate) fn resolve(self, fate: Fate, blocks: Option<&Blocks>) -> bool {
        let task = ManuallyDrop::new(self);
        // SAFETY: the block is alive, its header says how it is built.
        let resolve = unsafe { task.0.as_ref() }.resolve;
        // SAFETY: owned and not dropped: resolved once.
        unsafe { resolve(task.0, fate, blocks) }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        Task(self.0).resolve(Fate::Drop, None);
    }
}

unsafe fn resolve<F: FnOnce(Fate) + Send>(
    task: NonNull<TaskHeader>,
    fate: Fate,
    blocks: Option<&Blocks>,
) -> bool {
    let block = task.cast::<TaskBlock<F>>();
    // SAFETY: made by `Task::new::<F>`, resolved once: the value is moved out, the memory is given back.
    let TaskBlock { closure, .. } = unsafe { block.read() };
    // Before the closure runs: what it spawns first gets the same memory, still in the cache.
    // SAFETY: allocated for this layout by `Task::new`, and its value was moved out.
    unsafe { blocks::release(block.cast(), Layout::new::<TaskBlock<F>>(), blocks) };
    let guard = unwind::AbortOnUnwind("a task's wrapper panicked");
    closure(fate);
    std::mem::forget(guard);
    // What is dropped here is no task that anybody counts.
    matches!(fate, Fate::Run)
}
