//! `join`: two closures, possibly at the same time.
//!
//! The second closure is put into the calling thread's ring, where idle threads find it; the first runs; the second is
//! taken back and runs too, unless it was stolen: then its result is waited for. When nobody steals, nothing is
//! allocated, no lock and no atomic read-modify-write is executed: the cost is a few stores and two compares.

use crate::job::{ForkHeader, ForkJob};
use crate::pool::worker::{self, Attended};
use crate::pool::{ThreadPool, context, global};
use crate::ring::{Popped, Ring};
use crate::unwind::{self, Payload};
use std::mem::{self, ManuallyDrop};

/// Runs both closures, `b` possibly on another thread at the same time, and returns both results.
///
/// On a thread that takes part in a pool it uses that pool, elsewhere the [`global`] one. `a` runs first, on the calling thread; then `b`,
/// if no other thread has taken it meanwhile. So let `a` be the part whose data is at hand (on a tree that was
/// built depth first, often the child that lies next in memory) and `b` the part that is worth taking away.
///
/// The cost is near that of two plain calls; recursion needs no cut-off. No depth is too great for the pool; the stack is
/// the caller's.
///
/// # Panics
/// When either closure panics, the panic goes on here, after the other one has finished or was dropped unrun; when both do, it is
/// `a`'s payload.
///
/// # Blocking
/// While it waits for a stolen `b`, the thread runs what descends from `b`: forks and tasks that `b` has made, or that those have, wherever they
/// lie. It runs nothing else. So `join(item, rest)` keeps every thread busy: each takes an item from the rest of the rest. The stack that a waiting
/// thread uses for that is at most what the serial program uses at its deepest, and a frame for each fork that was stolen on the way down.
///
/// ```
/// fn fib(n: u32) -> u64 {
///     if n < 2 {
///         return n.into();
///     }
///     let (a, b) = heist::join(|| fib(n - 1), || fib(n - 2));
///     a + b
/// }
/// assert_eq!(fib(20), 6765);
/// ```
#[inline(always)]
pub fn join<A, B, RA, RB>(a: A, b: B) -> (RA, RB)
where
    A: FnOnce() -> RA,
    B: FnOnce() -> RB + Send,
    RB: Send,
{
    match context::ring() {
        Some(ring) => join_on(ring, a, |_| b()),
        None => join_as_guest(a, b),
    }
}

/// [`join`] for those who must know more: `b` is told whether another thread has taken it away, and it runs even if `a` panics.
///
/// Who divides work can divide on when a part was taken: somebody has time. The cost is that of `join` and of one
/// [`catch_unwind`](std::panic::catch_unwind) around `a`.
///
/// # Panics
/// When either closure panics, the panic goes on here after both have ended; when both do, it is `a`'s payload.
///
/// ```
/// let (a, taken) = heist::join_context(|| 1, |taken| taken);
/// println!("{a}, and b ran {}", if taken { "elsewhere" } else { "here" });
/// ```
#[inline(always)]
pub fn join_context<A, B, RA, RB>(a: A, b: B) -> (RA, RB)
where
    A: FnOnce() -> RA,
    B: FnOnce(bool) -> RB + Send,
    RB: Send,
{
    match context::ring() {
        Some(ring) => join_context_on(ring, a, b),
        None => join_context_as_guest(a, b),
    }
}

impl ThreadPool {
    /// [`join`], on this pool.
    ///
    /// ```
    /// let pool = heist::ThreadPool::new()?;
    /// let words = ["alpha", "beta"];
    /// let (a, b) = pool.join(|| words[0].len(), || words[1].len());
    /// assert_eq!(a + b, 9);
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    #[inline]
    pub fn join<A, B, RA, RB>(&self, a: A, b: B) -> (RA, RB)
    where
        A: FnOnce() -> RA,
        B: FnOnce() -> RB + Send,
        RB: Send,
    {
        worker::as_part(self.registry(), |slot| join_on(&slot.ring, a, |_| b()))
    }
}

#[cold]
#[inline(never)]
fn join_as_guest<A, B, RA, RB>(a: A, b: B) -> (RA, RB)
where
    A: FnOnce() -> RA,
    B: FnOnce() -> RB + Send,
    RB: Send,
{
    global().join(a, b)
}

#[cold]
#[inline(never)]
fn join_context_as_guest<A, B, RA, RB>(a: A, b: B) -> (RA, RB)
where
    A: FnOnce() -> RA,
    B: FnOnce(bool) -> RB + Send,
    RB: Send,
{
    worker::as_part(global().registry(), |slot| {
        join_context_on(&slot.ring, a, b)
    })
}

/// The ring is full: goes on in another one, which thieves see just as well.
#[cold]
#[inline(never)]
fn join_deeper<A, B, RA, RB>(a: A, b: B) -> (RA, RB)
where
    A: FnOnce() -> RA,
    B: FnOnce(bool) -> RB + Send,
    RB: Send,
{
    worker::on_deeper_ring(worker::own_slot(), |slot| join_on(&slot.ring, a, b))
}

#[inline(always)]
fn join_on<A, B, RA, RB>(ring: &Ring<ForkHeader>, a: A, b: B) -> (RA, RB)
where
    A: FnOnce() -> RA,
    B: FnOnce(bool) -> RB + Send,
    RB: Send,
{
    let b = ManuallyDrop::new(b);
    // SAFETY: the ring decides which copy is used: `Popped::Ours` means that no thief has or will run the job, and then it is
    // never looked at again; `Stolen` means that `b` here is left alone.
    let job = unsafe { ForkJob::copy_of(&*b) };
    let index = ring.push(job.as_ptr());
    if ring.attention_due(index) && worker::attend_push(index) == Attended::Full {
        return join_deeper(a, ManuallyDrop::into_inner(b));
    }
    // From here on the ring points into this frame: neither return nor unwinding may pass before the place is empty.
    let forked = Forked { job: &job, index };
    let ra = a();
    mem::forget(forked);
    // Asked for again rather than kept in a register: see `RING_AFTER`.
    // SAFETY: the thread forked in its ring above, and whatever `a` entered it has left again.
    match unsafe { context::own_ring() }.pop(index) {
        Popped::Ours => (ra, ManuallyDrop::into_inner(b)(false)),
        Popped::Stolen => (ra, stolen(&job, index)),
    }
}

#[inline(always)]
fn join_context_on<A, B, RA, RB>(ring: &Ring<ForkHeader>, a: A, b: B) -> (RA, RB)
where
    A: FnOnce() -> RA,
    B: FnOnce(bool) -> RB + Send,
    RB: Send,
{
    let b = ManuallyDrop::new(b);
    // SAFETY: as in `join_on`.
    let job = unsafe { ForkJob::copy_of(&*b) };
    let index = ring.push(job.as_ptr());
    if ring.attention_due(index) && worker::attend_push(index) == Attended::Full {
        return join_context_deeper(a, ManuallyDrop::into_inner(b));
    }
    // As in `join_on`; nothing unwinds from here.
    let ra = unwind::catch(a);
    // SAFETY: as in `join_on`.
    match unsafe { context::own_ring() }.pop(index) {
        Popped::Ours => {
            let b = ManuallyDrop::into_inner(b);
            match ra {
                Ok(ra) => (ra, b(false)),
                Err(payload) => after_panic(payload, || drop(b(false))),
            }
        }
        Popped::Stolen => match ra {
            Ok(ra) => (ra, stolen(&job, index)),
            Err(payload) => after_panic(payload, || drop(stolen(&job, index))),
        },
    }
}

/// As `join_deeper`.
#[cold]
#[inline(never)]
fn join_context_deeper<A, B, RA, RB>(a: A, b: B) -> (RA, RB)
where
    A: FnOnce() -> RA,
    B: FnOnce(bool) -> RB + Send,
    RB: Send,
{
    worker::on_deeper_ring(worker::own_slot(), |slot| join_context_on(&slot.ring, a, b))
}

/// Goes on with `a`'s panic once `b` has ended.
#[cold]
#[inline(never)]
fn after_panic(payload: Payload, b: impl FnOnce()) -> ! {
    if let Err(second) = unwind::catch(b) {
        unwind::drop_quietly(second);
    }
    unwind::resume(payload)
}

/// The result of a job that a thief has.
#[cold]
#[inline(never)]
fn stolen<B, RB>(job: &ForkJob<B, RB>, index: usize) -> RB
where
    B: FnOnce(bool) -> RB + Send,
    RB: Send,
{
    worker::wait_stolen(job.header(), index);
    // SAFETY: the wait is over, so the outcome is there; taken once.
    match unsafe { job.take_outcome() } {
        Ok(result) => result,
        Err(payload) => unwind::resume(payload),
    }
}

/// A fork whose first half runs. Dropped only when that half panics.
struct Forked<'a, B, RB>
where
    B: FnOnce(bool) -> RB + Send,
    RB: Send,
{
    job: &'a ForkJob<B, RB>,
    index: usize,
}

impl<B, RB> Drop for Forked<'_, B, RB>
where
    B: FnOnce(bool) -> RB + Send,
    RB: Send,
{
    #[inline(always)]
    fn drop(&mut self) {
        abandon(self.job, self.index);
    }
}

/// `a` panics: drops `b` if nobody has begun it, else waits for its end and drops the outcome.
#[cold]
#[inline(never)]
fn abandon<B, RB>(job: &ForkJob<B, RB>, index: usize)
where
    B: FnOnce(bool) -> RB + Send,
    RB: Send,
{
    // SAFETY: as in `join_on`.
    match unsafe { context::own_ring() }.pop(index) {
        // SAFETY: no thief has it, and the panic passes over the other copy without a drop.
        Popped::Ours => unwind::drop_quietly(unsafe { job.take_closure() }),
        Popped::Stolen => {
            worker::wait_stolen(job.header(), index);
            // SAFETY: the wait is over, so the outcome is there; taken once.
            match unsafe { job.take_outcome() } {
                Ok(result) => unwind::drop_quietly(result),
                Err(payload) => unwind::drop_quietly(payload),
            }
        }
    }
}
