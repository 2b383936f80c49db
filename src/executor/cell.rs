//! The heap block of a submitted task: the header, then the closure, in whose place the outcome is written.
//!
//! Only this module knows the types of closure and outcome. All others use the operations in the header's [`Ops`].
//!
//! **Invariant.** The phase says what the cell holds (see [`state`](super::state)). The thread that has moved the task into a phase owns what the cell holds then.

use super::error::JoinError;
use super::extra::{self, Extra};
use super::handle::JoinHandle;
use super::late::DeferredDrop;
use super::state::{HANDLE, InitialFlags, UNCOUNTED, UNGATED};
use super::task::{Callback, Header, Home, NO_POOL, NewTask, Ops, Ran, TaskRef};
use super::{cancel, complete, location};
use crate::blocks::Blocks;
use crate::pages;
use crate::record::Named;
use crate::unwind::{self, Payload};
use std::alloc::Layout;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};

/// A cell. The header `H` is a [`Header`] or begins with one.
#[repr(C)]
pub(super) struct Cell<H, F, T> {
    header: H,
    /// Read and written through its address only: a reference to a cell is one to its header.
    stage: Stage<F, T>,
}

pub(super) union Stage<F, T> {
    /// Initialized while the task is queued, and until a runner or canceller moves it out.
    closure: ManuallyDrop<F>,
    /// Initialized from when the outcome is written until it is taken. Accessed through its address only.
    #[expect(dead_code, reason = "it gives the union its size")]
    outcome: ManuallyDrop<Result<T, JoinError>>,
}

/// The functions of [`Ops`] for cells of these types.
pub(super) struct OpsOf<H, F, T>(PhantomData<(H, F, T)>);

impl<F: FnOnce() -> T + Send, T: Send> OpsOf<Header, F, T> {
    const OPS: Ops = Ops {
        layout: Layout::new::<Cell<Header, F, T>>(),
        site: Named::<F>::TASK,
        run: Self::run,
        drop_closure: Self::drop_closure,
        defer_drop: Self::defer_drop,
        fail: Self::fail,
        outcome: Self::outcome,
        discard: Self::discard,
        call: Self::call,
        cancel: cancel::cancel,
        expire: cancel::expire,
        drop_extra: extra::drop_extra,
    };

    unsafe fn run(header: NonNull<Header>) -> Ran {
        // SAFETY: (1) the header begins a live cell, as the caller asserts. (2) The caller keeps its reference: this one is never dropped.
        let task = ManuallyDrop::new(unsafe { TaskRef::from_header(header) });
        // SAFETY: (1) the task is running, as the caller asserts, so the cell holds the closure. (2) The caller is its runner, which moves it out only here.
        let closure = unsafe { Self::take(header) };
        let state = &task.state;
        if state.is_timed() && state.taken() {
            task.expire();
        }
        let result = unwind::catch(closure);
        if state.is_timed() && !task.complete_in_time() {
            let dropped = result.and_then(|value| unwind::catch(|| drop(value)));
            return Ran::Late(dropped.err());
        }
        let (outcome, ran) = match result {
            Ok(value) => (Ok(value), Ran::Completed),
            Err(payload) => (Err(panicked(&task, payload)), Ran::Panicked),
        };
        // SAFETY: (1) the closure was moved out. (2) Nobody else writes: there is no deadline, or the runner has moved the task to completing before it.
        unsafe { Self::write(header, outcome) };
        ran
    }

    unsafe fn drop_closure(header: NonNull<Header>) -> Option<Payload> {
        // SAFETY: the task is completing and was not run, as the caller asserts, so (1) the closure is there, and (2) it belongs to the caller.
        let closure = unsafe { Self::take(header) };
        unwind::catch(|| drop(closure)).err()
    }

    unsafe fn defer_drop(header: NonNull<Header>) -> Option<DeferredDrop> {
        if !std::mem::needs_drop::<F>() {
            return None;
        }
        // SAFETY: the task is completing and was not run, as the caller asserts, so (1) the closure is there, and (2) it belongs to the caller.
        let closure = unsafe { Self::take(header) };
        let boxed: Box<dyn FnOnce() + Send + '_> = Box::new(move || drop(closure));
        // SAFETY: only the lifetime changes. The function is called for tasks with a deadline or a token, which borrow nothing.
        Some(unsafe { std::mem::transmute::<Box<dyn FnOnce() + Send + '_>, DeferredDrop>(boxed) })
    }
}

impl<H, F, T: Send> OpsOf<H, F, T> {
    pub(super) fn stage(header: NonNull<Header>) -> *mut Stage<F, T> {
        let cell = header.cast::<Cell<H, F, T>>().as_ptr();
        // SAFETY: the header is the first field of such a cell, so the place is within the block, and no reference is made.
        unsafe { &raw mut (*cell).stage }
    }

    /// Moves the closure or future out of the cell.
    pub(super) unsafe fn take(header: NonNull<Header>) -> F {
        // SAFETY: as the caller asserts, (1) the cell holds it, and (2) the caller owns it and moves it out once.
        unsafe { Self::stage(header).cast::<F>().read() }
    }

    pub(super) unsafe fn write(header: NonNull<Header>, outcome: Result<T, JoinError>) {
        // SAFETY: as the caller asserts, (1) the cell holds nothing that must be dropped, and (2) nobody else reads or writes it.
        unsafe {
            Self::stage(header)
                .cast::<Result<T, JoinError>>()
                .write(outcome)
        };
    }

    pub(super) unsafe fn fail(header: NonNull<Header>, error: JoinError) {
        // SAFETY: as the caller asserts, (1) the closure is gone, and (2) the task is completing, so nobody else reads or writes the cell.
        unsafe { Self::write(header, Err(error)) };
    }

    pub(super) unsafe fn outcome(header: NonNull<Header>) -> NonNull<()> {
        NonNull::new(Self::stage(header).cast()).expect("a cell has an address")
    }

    pub(super) unsafe fn discard(header: NonNull<Header>) -> Option<Payload> {
        let outcome = Self::stage(header).cast::<Result<T, JoinError>>();
        // SAFETY: as the caller asserts, (1) the outcome is there, and (2) the caller owns it and takes it once.
        match unsafe { outcome.read() } {
            Ok(value) => unwind::catch(|| drop(value)).err(),
            Err(error) => error.try_into_panic().ok(),
        }
    }

    pub(super) unsafe fn call(callback: Callback, error: JoinError) {
        let outcome: Result<T, JoinError> = Err(error);
        callback(NonNull::from(&outcome).cast());
    }
}

/// Makes the error of a task that has panicked.
pub(super) fn panicked(task: &TaskRef, payload: Payload) -> JoinError {
    let location = location::of(&payload);
    JoinError::panicked(payload, task.id, task.shared_name()).at(location)
}

/// Makes a task in the phase queued, in memory from `blocks`, or from a page if the current thread has no slot. The task has one reference for the queue and, with the flag `HANDLE`, one for the
/// handle.
///
/// # Safety
/// What `closure` and its result borrow outlives the task.
#[inline]
pub(super) unsafe fn make<F: FnOnce() -> T + Send, T: Send>(
    pool: u64,
    flags: InitialFlags,
    extra: Option<Box<Extra>>,
    blocks: Option<&Blocks>,
    closure: F,
) -> NewTask {
    let extra = extra.map_or(ptr::null_mut(), Extra::into_raw);
    let ops = &OpsOf::<Header, F, T>::OPS;
    let header = |home| Header::new(complete::resolve, flags, ops, extra, home);
    // SAFETY: (1) the header is one. (2) `complete::resolve` ends a cell. (3) The state counts the queue's reference, which is given away here.
    unsafe { NewTask::new(allocate::<Header, F, T>(pool, blocks, header, closure)) }
}

/// Allocates a cell.
#[inline]
pub(super) fn allocate<H, F, T>(
    pool: u64,
    blocks: Option<&Blocks>,
    header: impl FnOnce(Home) -> H,
    closure: F,
) -> NonNull<Header> {
    let (memory, place) = pages::allocate(Layout::new::<Cell<H, F, T>>(), blocks);
    let header = header(Home::new(pool, place));
    let closure = ManuallyDrop::new(closure);
    let stage = Stage { closure };
    // SAFETY: the memory was allocated for this layout, and nobody else knows it.
    unsafe { memory.cast::<Cell<H, F, T>>().write(Cell { header, stage }) };
    memory.cast()
}

/// Makes a task as [`make`] does, and a handle for it.
///
/// # Safety
/// What `closure` and its result borrow outlives the task.
#[inline]
pub(super) unsafe fn make_joinable<F: FnOnce() -> T + Send, T: Send>(
    pool: u64,
    flags: InitialFlags,
    extra: Option<Box<Extra>>,
    blocks: Option<&Blocks>,
    closure: F,
) -> (NewTask, JoinHandle<T>) {
    // SAFETY: what `closure` and its result borrow outlives the task, as the caller asserts.
    let task = unsafe { make(pool, flags | HANDLE, extra, blocks, closure) };
    // SAFETY: (1) because of `HANDLE` the state counts a reference that nobody has taken yet. (2) The task's result is a `T`.
    let handle = unsafe { handle_of(&task) };
    (task, handle)
}

/// Returns the handle of a new task.
///
/// # Safety
/// (1) The task was made with the flag `HANDLE`, and this is the only call for it. (2) Its result is a `T`.
#[inline]
pub(super) unsafe fn handle_of<T: Send>(task: &NewTask) -> JoinHandle<T> {
    // SAFETY: (1) the header begins a cell. (2) The state counts a reference for the handle, which nobody has taken yet, as the caller asserts.
    let handle = unsafe { TaskRef::from_header(task.get().header()) };
    // SAFETY: (1) `handle` owns the handle's reference. (2) The task's result is a `T`, as the caller asserts.
    unsafe { JoinHandle::new(handle) }
}

/// The closure in the cell of a promise, which never runs.
type NoClosure<T> = fn() -> T;

/// Makes the cell of a promise, which is in no queue and belongs to no pool. Returns the promise's reference, for [`TaskRef::fulfil`], and the handle.
pub(super) fn make_promise<T: Send + 'static>() -> (TaskRef, JoinHandle<T>) {
    make_promise_with(0, None)
}

/// Makes the cell of a promise that has a second block from the beginning. `flags` is then `EXTRA`.
pub(super) fn make_promise_with<T: Send + 'static>(
    flags: InitialFlags,
    extra: Option<Box<Extra>>,
) -> (TaskRef, JoinHandle<T>) {
    let closure: NoClosure<T> = || unreachable!("heist: a promise has nothing to run");
    // SAFETY: closure and result borrow nothing.
    let (task, handle) =
        unsafe { make_joinable(NO_POOL, flags | UNGATED | UNCOUNTED, extra, None, closure) };
    (task.into_ref(), handle)
}

impl TaskRef {
    /// Ends a promise. Returns the outcome if the handle has cancelled it before.
    ///
    /// # Safety
    /// [`make_promise::<T>`](make_promise) has made the cell.
    pub(super) unsafe fn fulfil<T: Send>(
        &self,
        outcome: Result<T, JoinError>,
    ) -> Option<Result<T, JoinError>> {
        let state = &self.state;
        if !state.claim() {
            return Some(outcome);
        }
        // SAFETY: (1) the cell has these types, as the caller asserts. (2) The current thread has moved it to running, so nobody else reads or writes it. (3) It holds a
        // plain function, which needs no drop.
        unsafe { OpsOf::<Header, NoClosure<T>, T>::write(self.header(), outcome) };
        // A promise has no deadline, so nothing else ends it while it is running.
        let ours = state.begin_completing();
        debug_assert!(ours, "heist: a promise was ended twice");
        self.serve(None);
        None
    }
}
