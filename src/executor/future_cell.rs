//! The cell of a submitted future: the header, then the future, in whose place the outcome is written when it is ready.
//!
//! A future without a deadline stays where it is until it is dropped, so it is *pinned* in its cell. A deadline writes the outcome at its time, and the future is dropped
//! later. A future with a deadline is therefore in a box of its own, which is *movable*: its runner moves the box out of the cell for each poll, as the runner of a
//! closure moves the closure out.

use super::cell::{self, OpsOf, handle_of};
use super::extra::{self, Extra};
use super::handle::JoinHandle;
use super::late::DeferredDrop;
use super::state::{DEADLINE, FUTURE, HANDLE, InitialFlags};
use super::suspend::{FutureHeader, FutureKind, FuturePart, with_waker};
use super::task::{Header, NewTask, Ops, Ran, TaskRef};
use super::{cancel, complete};
use crate::blocks::Blocks;
use crate::record::Named;
use crate::unwind::{self, Payload};
use std::alloc::Layout;
use std::future::Future;
use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::ptr::{self, NonNull};
use std::task::{Context, Poll};

/// The result of one poll, or of several in a row.
type Polled<T> = Poll<Result<T, Payload>>;

/// Polls a future until it is ready or another thread has to wake it.
fn poll<F: Future>(task: &TaskRef, mut future: Pin<&mut F>) -> Polled<F::Output> {
    let mut polls = 0;
    with_waker(task, |waker| {
        let mut context = Context::from_waker(waker);
        loop {
            match unwind::catch(|| future.as_mut().poll(&mut context)) {
                Ok(Poll::Pending) if task.is_polled_again(&mut polls) => {}
                Ok(Poll::Pending) => return Poll::Pending,
                Ok(Poll::Ready(value)) => return Poll::Ready(Ok(value)),
                Err(payload) => return Poll::Ready(Err(payload)),
            }
        }
    })
}

/// The result of a future that was dropped after it was ready: a panic of its destructor counts as its own.
fn after_drop<T>(result: Result<T, Payload>, dropped: Result<(), Payload>) -> Result<T, Payload> {
    match (result, dropped) {
        (Ok(value), Err(payload)) => {
            unwind::drop_quietly(value);
            Err(payload)
        }
        (result, dropped) => {
            unwind::drop_quietly(dropped);
            result
        }
    }
}

/// The operations on a future that is pinned in its cell.
impl<F: Future<Output = T> + Send, T: Send> OpsOf<FutureHeader, F, T> {
    const PINNED: Ops = Ops {
        layout: Layout::new::<cell::Cell<FutureHeader, F, T>>(),
        site: Named::<F>::FUTURE,
        run: Self::poll_pinned,
        drop_closure: Self::drop_pinned,
        defer_drop: Self::not_movable,
        fail: Self::fail,
        outcome: Self::outcome,
        discard: Self::discard,
        call: Self::call,
        cancel: cancel::stop,
        expire: cancel::expire,
        drop_extra: extra::drop_extra,
    };

    unsafe fn poll_pinned(header: NonNull<Header>) -> Ran {
        // SAFETY: (1) the header begins a live cell, as the caller asserts. (2) The caller keeps its reference: this one is never dropped.
        let task = ManuallyDrop::new(unsafe { TaskRef::from_header(header) });
        let future = Self::stage(header).cast::<F>();
        // SAFETY: the task is running, as the caller asserts, so (1) the future is there, and (2) the runner alone uses it.
        let future_ref = unsafe { &mut *future };
        // SAFETY: the future stays in its cell until it is dropped there.
        let pinned = unsafe { Pin::new_unchecked(future_ref) };
        let Poll::Ready(result) = poll(&task, pinned) else {
            return Ran::Pending;
        };
        // SAFETY: (1) the task is running, so the future is there and belongs to the runner, which no longer uses the reference to it. (2) It is dropped once, because
        // its place holds the outcome from then on.
        let dropped = unwind::catch(|| unsafe { future.drop_in_place() });
        // SAFETY: (1) the future is gone. (2) Nobody else writes: there is no deadline.
        unsafe { Self::end_ready(&task, after_drop(result, dropped)) }
    }

    /// Writes the outcome of a future that is ready or has panicked.
    ///
    /// # Safety
    /// (1) The cell holds nothing that must be dropped. (2) Nobody else reads or writes it.
    unsafe fn end_ready(task: &TaskRef, result: Result<T, Payload>) -> Ran {
        task.leave_roster();
        task.state.forget_stop();
        let (outcome, ran) = match result {
            Ok(value) => (Ok(value), Ran::Completed),
            Err(payload) => (Err(cell::panicked(task, payload)), Ran::Panicked),
        };
        // SAFETY: as the caller asserts, (1) the cell holds nothing that must be dropped, and (2) nobody else reads or writes it.
        unsafe { Self::write(task.header(), outcome) };
        ran
    }

    unsafe fn drop_pinned(header: NonNull<Header>) -> Option<Payload> {
        // SAFETY: (1) the header begins a live cell, as the caller asserts. (2) The caller keeps its reference: this one is never dropped.
        let task = ManuallyDrop::new(unsafe { TaskRef::from_header(header) });
        task.leave_roster();
        let future = Self::stage(header).cast::<F>();
        // SAFETY: the task is completing, as the caller asserts, so (1) the future is there, and (2) it belongs to the caller, which drops it once.
        unwind::catch(|| unsafe { future.drop_in_place() }).err()
    }

    unsafe fn not_movable(_: NonNull<Header>) -> Option<DeferredDrop> {
        unreachable!("heist: a future without a deadline was ended by one")
    }
}

/// The operations on a future with a deadline, which is movable because it is boxed.
impl<F: Future<Output = T> + Send + Unpin, T: Send> OpsOf<FutureHeader, F, T> {
    const MOVABLE: Ops = Ops {
        run: Self::poll_movable,
        defer_drop: Self::defer_drop_movable,
        ..Self::PINNED
    };

    unsafe fn poll_movable(header: NonNull<Header>) -> Ran {
        // SAFETY: (1) the header begins a live cell, as the caller asserts. (2) The caller keeps its reference: this one is never dropped.
        let task = ManuallyDrop::new(unsafe { TaskRef::from_header(header) });
        // SAFETY: (1) the task is running, as the caller asserts, so the cell holds the future. (2) The caller is its runner, which moves it out only here.
        let mut future = unsafe { Self::take(header) };
        if task.state.taken() {
            task.expire();
            return Self::late(&task, unwind::catch(|| drop(future)));
        }
        let Poll::Ready(result) = poll(&task, Pin::new(&mut future)) else {
            if !task.state.put_back() {
                return Self::late(&task, unwind::catch(|| drop(future)));
            }
            let place = Self::stage(header).cast::<F>();
            // SAFETY: (1) the cell is empty. (2) Only the runner writes it: the deadline leaves a future that was put back to the runner.
            unsafe { place.write(future) };
            return Ran::Pending;
        };
        let result = after_drop(result, unwind::catch(|| drop(future)));
        if !task.complete_in_time() {
            return Self::late(
                &task,
                result.and_then(|value| unwind::catch(|| drop(value))),
            );
        }
        // SAFETY: (1) the future was moved out. (2) Nobody else writes: the runner has moved the task to completing before the deadline.
        unsafe { Self::end_ready(&task, result) }
    }

    /// Ends a run whose deadline has passed first. `dropped` has the panic of the destructor of the future or of its result, if there was one.
    fn late(task: &TaskRef, dropped: Result<(), Payload>) -> Ran {
        task.leave_roster();
        Ran::Late(dropped.err())
    }

    unsafe fn defer_drop_movable(header: NonNull<Header>) -> Option<DeferredDrop> {
        // SAFETY: (1) the header begins a live cell, as the caller asserts. (2) The caller keeps its reference: this one is never dropped.
        let task = ManuallyDrop::new(unsafe { TaskRef::from_header(header) });
        task.leave_roster();
        // SAFETY: the task is completing and was not ready, as the caller asserts, so (1) the future is there, and (2) it belongs to the caller.
        let future = unsafe { Self::take(header) };
        let boxed: Box<dyn FnOnce() + Send + '_> = Box::new(move || drop(future));
        // SAFETY: only the lifetime changes. The function is called for tasks with a deadline, which borrow nothing.
        Some(unsafe { std::mem::transmute::<Box<dyn FnOnce() + Send + '_>, DeferredDrop>(boxed) })
    }
}

/// Makes a task of a future, in the phase queued. It belongs to the group in `extra`, or is detached.
///
/// # Safety
/// What `future` and its result borrow outlives the task.
pub(super) unsafe fn make<F: Future<Output = T> + Send, T: Send>(
    pool: u64,
    kind: FutureKind,
    flags: InitialFlags,
    extra: Option<Box<Extra>>,
    blocks: Option<&Blocks>,
    future: F,
) -> NewTask {
    let is_movable = flags & DEADLINE != 0;
    let extra = extra.map_or(ptr::null_mut(), Extra::into_raw);
    let flags = flags | FUTURE;
    let header = |ops| {
        move |home| FutureHeader {
            header: Header::new(complete::resolve_future, flags, ops, extra, home),
            future: FuturePart::new(kind),
        }
    };
    let header = if is_movable {
        let header = header(&OpsOf::<FutureHeader, Pin<Box<F>>, T>::MOVABLE);
        cell::allocate::<_, _, T>(pool, blocks, header, Box::pin(future))
    } else {
        let header = header(&OpsOf::<FutureHeader, F, T>::PINNED);
        cell::allocate::<_, _, T>(pool, blocks, header, future)
    };
    // SAFETY: (1) the header is one. (2) `complete::resolve_future` ends such a cell. (3) The state counts the queue's reference, which is given away here.
    unsafe { NewTask::new(header) }
}

/// Makes a task as [`make`] does, and a handle for it.
///
/// # Safety
/// What `future` and its result borrow outlives the task.
pub(super) unsafe fn make_joinable<F: Future<Output = T> + Send, T: Send>(
    pool: u64,
    kind: FutureKind,
    flags: InitialFlags,
    extra: Option<Box<Extra>>,
    blocks: Option<&Blocks>,
    future: F,
) -> (NewTask, JoinHandle<T>) {
    // SAFETY: what `future` and its result borrow outlives the task, as the caller asserts.
    let task = unsafe { make(pool, kind, flags | HANDLE, extra, blocks, future) };
    // SAFETY: (1) the task was made with the flag, and this is the only call. (2) Its result is a `T`.
    let handle = unsafe { handle_of(&task) };
    (task, handle)
}
