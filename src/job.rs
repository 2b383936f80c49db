//! Type-erased closures: the fork job, in the stack frame of its `join`, and the task, on the heap.

use crate::blocks::{self, Blocks};
use crate::lineage::{Origin, Place, Token};
use crate::record::{Named, Recorder};
use crate::sync::{AtomicPtr, Ordering};
use crate::unwind::{self, Payload};
use std::alloc::Layout;
use std::cell::UnsafeCell;
use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};

#[cfg(all(test, heist_loom))]
mod models;

const _: () = assert!(
    usize::BITS == 64,
    "heist packs a slot beside a tag into one word and needs 64 bits"
);

/// The function of a fork job: it takes the closure out, runs it, and writes the outcome in its place. It never unwinds.
type Run = unsafe fn(NonNull<ForkHeader>, Option<&Recorder>);

/// The first word of a fork job. It is both the function to run and the state, so that a fork that is not stolen stores nothing for a thief.
///
/// | word | written by | next |
/// |---|---|---|
/// | the function | the owner, before the push | `Running` by the thief |
/// | `Running` (the thief's slot) | the thief | `Waiting` by the owner, `Done` by the thief |
/// | `Waiting` (the owner's slot) | the owner, before it parks | `Running` by the owner, `Done` by the thief |
/// | `Done` | the thief, by swap | |
#[repr(C)]
#[derive(Debug)]
pub(crate) struct ForkHeader {
    word: AtomicPtr<()>,
}

/// The state that the owner of a stolen fork job reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ForkState {
    /// Stolen, but the thief has not written its slot yet.
    Taken,
    /// Run by the thread of this slot.
    Running { slot: usize },
    /// Finished, with the outcome in the job.
    Done,
}

/// A bit that no function's address has, because user space ends below.
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
    /// Owner: the state of the job, which has been stolen.
    pub(crate) fn state(&self) -> ForkState {
        // ORDERING: Acquire pairs with the swap in `execute`: the outcome is visible.
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

    /// Owner: changes `Running` to `Waiting`, so that the thief wakes the thread of the slot `owner`. Returns `false` if the job is done, or was not
    /// running in `state`.
    pub(crate) fn announce_wait(&self, state: ForkState, owner: usize) -> bool {
        self.exchange(state, |expected| (expected, waiting(owner)))
    }

    /// Owner: changes `Waiting` back to `Running`. Returns `false` if the job is done, or was not running in `state`.
    pub(crate) fn withdraw_wait(&self, state: ForkState, owner: usize) -> bool {
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
        // ORDERING: AcqRel: the thief's swap acquires what came before the wait. A failure acquires the outcome.
        self.word
            .compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// Thief: runs the job on `slot`, whose recorder is given. Returns the slot of an owner that waits and must be woken.
    ///
    /// # Safety
    /// The caller has stolen `job` from a ring, and has not run it. It must not access the job after this returns, when the job may be gone.
    pub(crate) unsafe fn execute(
        job: NonNull<Self>,
        slot: usize,
        recorder: Option<&Recorder>,
    ) -> Option<usize> {
        // SAFETY: the owner keeps the job alive until it reads `Done`, which is written by the last access in this function.
        let header = unsafe { job.as_ref() };
        // ORDERING: Relaxed: the steal has acquired the job.
        let function = header.word.load(Ordering::Relaxed);
        // ORDERING: Relaxed: the owner that reads this learns only in which ring to look. What it takes from that ring it acquires by the steal.
        header.word.store(running(slot), Ordering::Relaxed);
        // SAFETY: the word of a job that has not run is a `Run`, which `ForkJob::copy_of` wrote.
        let run = unsafe { std::mem::transmute::<*mut (), Run>(function) };
        // SAFETY: (1) `copy_of` wrote the function for this type of job. (2) The caller has stolen the job, and (3) has not run it.
        unsafe { run(job, recorder) };
        // The last access to the job.
        // ORDERING: AcqRel: Release pairs with the Acquire in `state` and publishes the outcome. Acquire pairs with the Release in `exchange`.
        let before = header.word.swap(DONE, Ordering::AcqRel);
        (before.addr() & WAITING != 0).then(|| before.addr() & !(TAG | WAITING))
    }
}

/// The second closure of a `join`, in the frame of the `join`.
#[repr(C)]
pub(crate) struct ForkJob<F, R> {
    header: ForkHeader,
    body: UnsafeCell<Body<F, R>>,
}

union Body<F, R> {
    /// Valid until a thief runs it or the owner takes it.
    closure: ManuallyDrop<F>,
    /// Valid once the header says `Done`.
    outcome: ManuallyDrop<Result<R, Payload>>,
}

/// The argument of the closure is whether it was stolen.
impl<F, R> ForkJob<F, R>
where
    F: FnOnce(bool) -> R + Send,
    R: Send,
{
    /// Creates a job with a bitwise copy of `closure`. Only one of the two copies may be used. A record names the job after the type `N`.
    ///
    /// # Safety
    /// If a thief runs the job, the caller must not use its own copy. If not, it must not use the job's copy.
    #[inline(always)]
    pub(crate) unsafe fn copy_of<N: ?Sized>(closure: &F) -> Self {
        let run: Run = run::<F, R, N>;
        ForkJob {
            header: ForkHeader {
                word: AtomicPtr::new(run as *mut ()),
            },
            body: UnsafeCell::new(Body {
                // SAFETY: (1) the reference points to a valid value. (2) Only one of the two copies is used, as the caller asserts.
                closure: ManuallyDrop::new(unsafe { ptr::read(closure) }),
            }),
        }
    }

    #[inline(always)]
    pub(crate) fn header(&self) -> &ForkHeader {
        &self.header
    }

    /// The pointer for the ring. It is derived from the whole job, so that the thief may access the body.
    #[inline(always)]
    pub(crate) fn as_ptr(&self) -> *mut ForkHeader {
        ptr::from_ref(self).cast::<ForkHeader>().cast_mut()
    }

    /// Takes the closure of a job that has not run.
    ///
    /// # Safety
    /// The job has not run and is in no ring any more, this is called once, and the other copy is never used.
    pub(crate) unsafe fn take_closure(&self) -> F {
        // SAFETY: the job is in no ring, as the caller asserts, so that no other thread accesses the body.
        let body = unsafe { &mut *self.body.get() };
        // SAFETY: the job has not run, as the caller asserts, so that the body is a closure.
        let closure = unsafe { &mut body.closure };
        // SAFETY: the caller calls this once and never uses the other copy.
        unsafe { ManuallyDrop::take(closure) }
    }

    /// Takes the outcome that the thief has written.
    ///
    /// # Safety
    /// The header said `Done`, and this is called once.
    pub(crate) unsafe fn take_outcome(&self) -> Result<R, Payload> {
        // SAFETY: after `Done`, as the caller asserts, the thief does not access the job any more.
        let body = unsafe { &mut *self.body.get() };
        // SAFETY: after `Done` the body is an outcome.
        let outcome = unsafe { &mut body.outcome };
        // SAFETY: the caller calls this once.
        unsafe { ManuallyDrop::take(outcome) }
    }
}

/// The [`Run`] of a `ForkJob<F, R>`.
///
/// # Safety
/// `job` is the header of a live `ForkJob<F, R>`, which the caller has stolen and runs for the first time.
unsafe fn run<F, R, N: ?Sized>(job: NonNull<ForkHeader>, recorder: Option<&Recorder>)
where
    F: FnOnce(bool) -> R + Send,
    R: Send,
{
    let job = job.cast::<ForkJob<F, R>>();
    // SAFETY: the job has this type and is alive, as the caller asserts. The reference is shared, because the owner reads the header meanwhile.
    let job = unsafe { job.as_ref() };
    // SAFETY: the owner does not access the body before `Done`, and only one thief has stolen the job.
    let body = unsafe { &mut *job.body.get() };
    // SAFETY: the job has not run, as the caller asserts, so that the body is a closure.
    let closure = unsafe { &mut body.closure };
    // SAFETY: the job runs once, as the caller asserts, so that the closure is taken once.
    let closure = unsafe { ManuallyDrop::take(closure) };
    if let Some(recorder) = recorder {
        recorder.fork_begins(Named::<N>::JOIN);
    }
    let outcome = unwind::catch(|| closure(true));
    if let Some(recorder) = recorder {
        recorder.fork_ends(outcome.is_err());
    }
    body.outcome = ManuallyDrop::new(outcome);
}

/// What is done with a task when it is resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It runs.
    Run,
    /// The task runs, and the thread records that.
    RunRecorded,
    /// It is dropped without being run.
    Drop,
    /// It is dropped without being run, wherever it is. Only a future gets this, from the [roster](crate::pool::Roster) of its pool.
    Evict,
}

impl Fate {
    /// Whether the task runs.
    #[inline]
    pub(crate) fn runs(self) -> bool {
        matches!(self, Fate::Run | Fate::RunRecorded)
    }
}

/// The group to which tasks belong: the core of a scope.
#[derive(Debug)]
pub(crate) struct Group {
    /// The origin of the group's tasks: the scope's place on the slot of the thread that waits for them, or the root if that thread takes part
    /// in no pool.
    origin: Origin,
    /// The token of the work that opened the scope.
    token: Token,
    /// Of a [copy](Group::copy): the address of the group that was copied. Otherwise 0.
    copy_of: usize,
    give_back: GiveBack,
}

/// Subtracts from the count of a group's tasks. This is the caller's last access to the group.
pub(crate) type GiveBack = unsafe fn(*const Group, i64);

impl Group {
    pub(crate) fn new(origin: Origin, token: Token, give_back: GiveBack) -> Self {
        Group {
            origin,
            token,
            copy_of: 0,
            give_back,
        }
    }

    /// Subtracts `tasks` from the count of the group's tasks.
    ///
    /// # Safety
    /// The pointer comes from [`Task::countable`] of a task of this group, and the count still includes these `tasks`. They are subtracted once.
    pub(crate) unsafe fn give_back(group: *const Group, tasks: i64) {
        // SAFETY: the group outlives the tasks that its count includes.
        let give_back = unsafe { (*group).give_back };
        // SAFETY: as the caller asserts. The function is that of the group.
        unsafe { give_back(group, tasks) };
    }

    /// A copy for a task whose block can still be in a queue when the scope has ended.
    pub(crate) fn copy(&self) -> Self {
        Group {
            copy_of: ptr::from_ref(self).addr(),
            ..*self
        }
    }

    /// The origin of the group's tasks.
    pub(crate) fn origin(&self) -> Origin {
        self.origin
    }
}

/// Resolves a task: runs it or drops it. Returns whether to count it: `false` if it had been resolved before, so that only its block was left.
pub(crate) type Resolve = unsafe fn(NonNull<TaskHeader>, Fate, Option<&Blocks>) -> bool;

/// The first words of a task on the heap.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct TaskHeader {
    resolve: Resolve,
    /// The group to which the task belongs. For a detached task null, or an odd number, which has no meaning here.
    group: *const Group,
}

const _: () = assert!(align_of::<Group>() > 1, "no group has an odd address");

/// A task, which owns a heap block. A task is resolved once. Dropping it resolves it as [`Fate::Drop`].
#[derive(Debug)]
pub(crate) struct Task(NonNull<TaskHeader>);

// SAFETY: (1) `new` requires a closure that is `Send`. (2) The block of `from_header` can be resolved on any thread, as its caller asserts. (3) The
// group is only read.
unsafe impl Send for Task {}

#[repr(C)]
struct TaskBlock<F> {
    header: TaskHeader,
    closure: F,
}

impl TaskHeader {
    /// Creates the header of a task of `group`, or of a detached task if that is null.
    pub(crate) fn new(resolve: Resolve, group: *const Group) -> Self {
        TaskHeader { resolve, group }
    }

    /// Creates the header of a detached task, in which the caller keeps a number below 2^63.
    #[inline]
    pub(crate) fn detached(resolve: Resolve, number: u64) -> Self {
        let group = ptr::without_provenance((number << 1 | 1) as usize);
        TaskHeader { resolve, group }
    }

    /// The number with which the header was created by [`detached`](Self::detached).
    #[inline]
    pub(crate) fn number(&self) -> u64 {
        self.group.addr() as u64 >> 1
    }
}

impl Task {
    /// Creates a task in a block that the caller has made.
    ///
    /// # Safety
    /// `header` is the first field of a block that its function `resolve` can resolve on any thread. The caller creates one task for the block, and
    /// the header's group is null or outlives the task.
    #[inline]
    pub(crate) unsafe fn from_header(header: NonNull<TaskHeader>) -> Self {
        Task(header)
    }

    /// The address of the block, which the task continues to own.
    pub(crate) fn header(&self) -> NonNull<TaskHeader> {
        self.0
    }

    /// Creates a task in a block of memory, which comes from `blocks` if that is given. `closure` is called with the fate of the task and must not
    /// unwind.
    ///
    /// # Safety
    /// Everything that `closure` borrows outlives the task, and so does `group`, unless it is null.
    #[inline]
    pub(crate) unsafe fn new<F: FnOnce(Fate) + Send>(
        group: *const Group,
        blocks: Option<&Blocks>,
        closure: F,
    ) -> Self {
        let header = TaskHeader::new(resolve::<F>, group);
        let block = blocks::allocate(Layout::new::<TaskBlock<F>>(), blocks).cast();
        // SAFETY: `blocks::allocate` returned the memory for the layout of a `TaskBlock<F>`, and nothing else refers to it.
        unsafe { block.write(TaskBlock { header, closure }) };
        Task(block.cast())
    }

    /// The origin of the task, which is the root if it is detached.
    pub(crate) fn origin(&self) -> Origin {
        self.group().map_or(Origin::ROOT, Group::origin)
    }

    /// The token of the task's group, if it has a group.
    pub(crate) fn token(&self) -> Token {
        self.group().map_or(Token::NONE, |group| group.token)
    }

    /// The group whose count includes this task until it ends. `None` for a detached task, and for a task with a copy of its group, because such a task may
    /// have ended although its block was in a queue.
    #[inline]
    pub(crate) fn countable(&self) -> Option<*const Group> {
        let is_copy = self.group()?.copy_of != 0;
        // SAFETY: the task owns the block, which begins with an initialised header.
        let group = unsafe { self.0.as_ref() }.group;
        (!is_copy).then_some(group)
    }

    #[inline]
    fn group(&self) -> Option<&Group> {
        // SAFETY: the task owns the block, which begins with an initialised header.
        let group = unsafe { self.0.as_ref() }.group;
        if group.addr() & 1 == 1 {
            return None;
        }
        // SAFETY: the pointer is null, or the group outlives the task, as the creator of the task asserted.
        unsafe { group.as_ref() }
    }

    /// Whether the task belongs to this group, which may have ended.
    pub(crate) fn is_of(&self, group: *const Group) -> bool {
        // SAFETY: the task owns the block, which begins with an initialised header.
        let own = unsafe { self.0.as_ref() }.group;
        let is_copy = |own: &Group| own.copy_of == group.addr();
        ptr::eq(own, group) || self.group().is_some_and(is_copy)
    }

    /// Whether the task is resolved by this function, so that its block has the layout that the function expects. `false` can be wrong, because one
    /// function can have several addresses.
    pub(crate) fn is_ended_by(&self, resolve: Resolve) -> bool {
        // SAFETY: the task owns the block, which begins with an initialised header.
        ptr::fn_addr_eq(unsafe { self.0.as_ref() }.resolve, resolve)
    }

    /// The slot of the thread that waits for the task and may run it, if there is one.
    pub(crate) fn waiter(&self) -> Option<usize> {
        self.origin().place().map(Place::slot)
    }

    /// Runs or drops the task. Its memory goes to `blocks` if that is given. Returns `false` if the task had been resolved before.
    #[inline]
    pub(crate) fn resolve(self, fate: Fate, blocks: Option<&Blocks>) -> bool {
        let task = ManuallyDrop::new(self);
        // SAFETY: the task owns the block, which begins with an initialised header.
        let resolve = unsafe { task.0.as_ref() }.resolve;
        // SAFETY: (1) the function belongs to the block, as the creator of the task asserted. (2) The task is consumed without being dropped, so
        // that it is resolved once.
        unsafe { resolve(task.0, fate, blocks) }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        Task(self.0).resolve(Fate::Drop, None);
    }
}

/// The [`Resolve`] of a `TaskBlock<F>`.
///
/// # Safety
/// `task` is the header of a block that [`Task::new`] has made for an `F`. It is resolved for the first time.
unsafe fn resolve<F: FnOnce(Fate) + Send>(
    task: NonNull<TaskHeader>,
    fate: Fate,
    blocks: Option<&Blocks>,
) -> bool {
    let block = task.cast::<TaskBlock<F>>();
    // SAFETY: the block holds a `TaskBlock<F>`, as the caller asserts. The value is moved out once, and the memory is released without being dropped.
    let TaskBlock { closure, .. } = unsafe { block.read() };
    // Released before the closure runs, so that what it spawns first gets this memory, which is still in the cache.
    // SAFETY: (1) `Task::new` allocated the memory for this layout. (2) It is not used any more, since the value was moved out.
    unsafe { blocks::release(block.cast(), Layout::new::<TaskBlock<F>>(), blocks) };
    let guard = unwind::AbortOnUnwind("a task's wrapper panicked");
    closure(fate);
    std::mem::forget(guard);
    // The result says what to count. A task that is dropped here is in no count of submitted tasks, and so in no count of cancelled ones.
    fate.runs()
}
