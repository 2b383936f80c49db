//! `join`: runs two closures, possibly at the same time.
//!
//! The second closure is put into the calling thread's ring, where idle threads find it. Then the first closure runs. Then the second one is taken back and
//! runs on the same thread, unless another thread has stolen it; in that case the caller waits for its result. If no thread steals it, nothing is allocated,
//! no lock is taken and no atomic read-modify-write is executed. The cost is a few stores and two comparisons.

use super::measured::{self, First};
use crate::job::{ForkHeader, ForkJob};
use crate::pool::worker::{self, PushOutcome};
use crate::pool::{ThreadPool, context, global};
use crate::profile::forks::Way;
use crate::profile::line::Line;
use crate::profile::site::JoinSites;
use crate::ring::{Popped, Ring};
use crate::unwind::{self, Payload};
use std::mem::{self, ManuallyDrop};
use std::panic::Location;

/// Runs two closures, possibly in parallel, and returns both results.
///
/// `a` runs first, on the calling thread. `b` waits where idle threads find it. If none has taken it when `a`
/// returns, it runs on the calling thread too. Prefer as `a` the part whose data is at hand, such as the
/// child that is adjacent in memory, and as `b` the part that is worth moving to another thread.
///
/// On a thread that takes part in a pool, `join` uses that pool; elsewhere it uses the [`global`] one. If `b` is
/// not taken, it costs a few nanoseconds more than two plain calls, so only a recursion whose leaves take a
/// nanosecond needs a cut-off. Its depth is limited only by the caller's stack. For more than two closures see [`scope`](crate::scope()); for collections see
/// [`map`](crate::map()).
///
/// # Panics
///
/// If either closure panics, the panic resumes in the caller after the other closure has finished or was
/// dropped without having run. If both panic, the caller gets the payload of `a`.
///
/// # Blocking
///
/// If another thread has taken `b`, the caller waits for it. Meanwhile it runs forks and tasks that descend
/// from `b`, on whichever thread they were created, and nothing else. A lock may therefore be held across a
/// `join` wherever the serial program could hold it. The waiting thread needs at most the stack that the
/// serial program needs at its deepest point, and one frame for each stolen fork on the way there.
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
#[track_caller]
pub fn join<A, B, RA, RB>(a: A, b: B) -> (RA, RB)
where
    A: FnOnce() -> RA,
    B: FnOnce() -> RB + Send,
    RB: Send,
{
    join_here(a, b, Location::caller())
}

/// Runs two closures as [`join`] does, and tells `b` whether another thread has taken it.
///
/// Use it in code that divides work adaptively: a part that was taken shows that a thread was idle, so it is
/// worth dividing further. Unlike with `join`, `b` runs even if `a` panics. The cost is that of `join` and of
/// one [`catch_unwind`](std::panic::catch_unwind) around `a`.
///
/// # Panics
///
/// If either closure panics, the panic resumes in the caller after both have ended. If both panic, the caller
/// gets the payload of `a`.
///
/// ```
/// let (a, taken) = heist::join_context(|| 1, |taken| taken);
/// println!("{a}, and b ran {}", if taken { "elsewhere" } else { "here" });
/// ```
#[inline(always)]
#[track_caller]
pub fn join_context<A, B, RA, RB>(a: A, b: B) -> (RA, RB)
where
    A: FnOnce() -> RA,
    B: FnOnce(bool) -> RB + Send,
    RB: Send,
{
    match context::ring() {
        Some(ring) => join_context_on::<_, _, _, _, B>(ring, a, b),
        None => join_context_as_guest(a, b, Location::caller()),
    }
}

impl ThreadPool {
    /// Runs two closures, possibly in parallel, on this pool. See [`join`](crate::join).
    ///
    /// ```
    /// let pool = heist::ThreadPool::new()?;
    /// let words = ["alpha", "beta"];
    /// let (a, b) = pool.join(|| words[0].len(), || words[1].len());
    /// assert_eq!(a + b, 9);
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    #[inline]
    #[track_caller]
    pub fn join<A, B, RA, RB>(&self, a: A, b: B) -> (RA, RB)
    where
        A: FnOnce() -> RA,
        B: FnOnce() -> RB + Send,
        RB: Send,
    {
        let at = Location::caller();
        worker::as_part(self.registry(), |_| join_here(a, b, at))
    }
}

/// Joins two closures on a thread that takes part in a pool.
#[inline(always)]
fn join_here<A, B, RA, RB>(a: A, b: B, at: &'static Location<'static>) -> (RA, RB)
where
    A: FnOnce() -> RA,
    B: FnOnce() -> RB + Send,
    RB: Send,
{
    match context::ring() {
        Some(ring) => join_on::<_, _, _, _, B>(ring, a, |_| b()),
        None => join_as_guest(a, b, at),
    }
}

/// Joins two closures on a thread that takes part in no pool, or one whose joins are measured.
#[cold]
#[inline(never)]
fn join_as_guest<A, B, RA, RB>(a: A, b: B, at: &'static Location<'static>) -> (RA, RB)
where
    A: FnOnce() -> RA,
    B: FnOnce() -> RB + Send,
    RB: Send,
{
    match context::line() {
        None => worker::as_part(global().registry(), |member| {
            join_on::<_, _, _, _, B>(&member.ring, a, |_| b())
        }),
        Some(line) => join_measured(line, a, b, at),
    }
}

/// Joins two closures by [`join_on`], and measures them.
#[inline(always)]
fn join_measured<A, B, RA, RB>(
    line: &Line<'_>,
    a: A,
    b: B,
    at: &'static Location<'static>,
) -> (RA, RB)
where
    A: FnOnce() -> RA,
    B: FnOnce() -> RB + Send,
    RB: Send,
{
    // SAFETY: a thread that is on a line takes part in a pool.
    let ring = unsafe { context::own_ring() };
    match line.fork(JoinSites::of::<A, B>(at)) {
        Way::Skipped(skipped) => {
            measured::skip(skipped, || join_on::<_, _, _, _, B>(ring, a, |_| b()))
        }
        Way::Measured(fork) => {
            let second = measured::second(fork.start(), |_| b());
            let first = || {
                let _first = First(&fork);
                a()
            };
            let (ra, (rb, report)) = join_on::<_, _, _, _, B>(ring, first, second);
            fork.end(report);
            (ra, rb)
        }
    }
}

#[cold]
#[inline(never)]
fn join_context_as_guest<A, B, RA, RB>(a: A, b: B, at: &'static Location<'static>) -> (RA, RB)
where
    A: FnOnce() -> RA,
    B: FnOnce(bool) -> RB + Send,
    RB: Send,
{
    let Some(line) = context::line() else {
        return worker::as_part(global().registry(), |member| {
            join_context_on::<_, _, _, _, B>(&member.ring, a, b)
        });
    };
    // SAFETY: a thread that is on a line takes part in a pool.
    let ring = unsafe { context::own_ring() };
    match line.fork(JoinSites::of::<A, B>(at)) {
        Way::Skipped(skipped) => {
            measured::skip(skipped, || join_context_on::<_, _, _, _, B>(ring, a, b))
        }
        Way::Measured(fork) => {
            let second = measured::second(fork.start(), b);
            let first = || {
                let _first = First(&fork);
                a()
            };
            let (ra, (rb, report)) = join_context_on::<_, _, _, _, B>(ring, first, second);
            fork.end(report);
            (ra, rb)
        }
    }
}

/// Continues in another ring, because this one is full. Thieves see both.
#[cold]
#[inline(never)]
fn join_deeper<A, B, RA, RB, N>(a: A, b: B) -> (RA, RB)
where
    A: FnOnce() -> RA,
    B: FnOnce(bool) -> RB + Send,
    RB: Send,
{
    worker::own_member().on_deeper_ring(|member| join_on::<_, _, _, _, N>(&member.ring, a, b))
}

/// Joins two closures on the thread that owns `ring`. A record names the second one after the type `N`.
#[inline(always)]
fn join_on<A, B, RA, RB, N>(ring: &Ring<ForkHeader>, a: A, b: B) -> (RA, RB)
where
    A: FnOnce() -> RA,
    B: FnOnce(bool) -> RB + Send,
    RB: Send,
{
    let b = ManuallyDrop::new(b);
    // SAFETY: exactly one copy is used, and the ring decides which. If the push is undone or `pop` returns `Ours`, no thief has run the job or will run it,
    // and this function does not access the job again. If `pop` returns `Stolen`, the thief uses the job, and `b` stays a `ManuallyDrop` that is not read.
    let job = unsafe { ForkJob::copy_of::<N>(&*b) };
    let index = ring.push(job.as_ptr());
    if ring.must_answer(index) && worker::share_after_push(index) == PushOutcome::Full {
        return join_deeper::<_, _, _, _, N>(a, ManuallyDrop::into_inner(b));
    }
    // From here on the ring points into this frame, so neither a return nor an unwind may leave it before the place is empty.
    let forked = Forked { job: &job, index };
    let ra = a();
    mem::forget(forked);
    // The thread-local is read again, so that no register holds the ring while `a` runs: see `RING_AFTER` in `pool/context.rs`.
    // SAFETY: the thread takes part in a pool, as it did when it pushed above. `a` has left each other pool that it has entered, so this is the same ring.
    match unsafe { context::own_ring() }.pop(index) {
        Popped::Ours => (ra, ManuallyDrop::into_inner(b)(false)),
        Popped::Stolen => (ra, stolen(&job, index)),
    }
}

/// Joins two closures on the thread that owns `ring`, as [`join_context`] does. A record names the second one after the type `N`.
#[inline(always)]
fn join_context_on<A, B, RA, RB, N>(ring: &Ring<ForkHeader>, a: A, b: B) -> (RA, RB)
where
    A: FnOnce() -> RA,
    B: FnOnce(bool) -> RB + Send,
    RB: Send,
{
    let b = ManuallyDrop::new(b);
    // SAFETY: exactly one copy is used, and the ring decides which. If the push is undone or `pop` returns `Ours`, no thief has run the job or will run it,
    // and this function does not access the job again. If `pop` returns `Stolen`, the thief uses the job, and `b` stays a `ManuallyDrop` that is not read.
    let job = unsafe { ForkJob::copy_of::<N>(&*b) };
    let index = ring.push(job.as_ptr());
    if ring.must_answer(index) && worker::share_after_push(index) == PushOutcome::Full {
        return join_context_deeper::<_, _, _, _, N>(a, ManuallyDrop::into_inner(b));
    }
    // From here on the ring points into this frame. The function does not return before the place is empty, and nothing unwinds.
    let ra = unwind::catch(a);
    // SAFETY: the thread takes part in a pool, as it did when it pushed above. `a` has left each other pool that it has entered, so this is the same ring.
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

/// Continues a `join_context` in another ring, because this one is full.
#[cold]
#[inline(never)]
fn join_context_deeper<A, B, RA, RB, N>(a: A, b: B) -> (RA, RB)
where
    A: FnOnce() -> RA,
    B: FnOnce(bool) -> RB + Send,
    RB: Send,
{
    worker::own_member()
        .on_deeper_ring(|member| join_context_on::<_, _, _, _, N>(&member.ring, a, b))
}

/// Calls `then`, whose panics are dropped, and resumes the panic with `payload`.
#[cold]
#[inline(never)]
pub(super) fn after_panic(payload: Payload, then: impl FnOnce()) -> ! {
    unwind::catch(then).unwrap_or_else(unwind::drop_quietly);
    unwind::resume(payload)
}

/// Waits for a stolen job and returns its result, or resumes its panic.
#[cold]
#[inline(never)]
fn stolen<B, RB>(job: &ForkJob<B, RB>, index: usize) -> RB
where
    B: FnOnce(bool) -> RB + Send,
    RB: Send,
{
    worker::wait_stolen(job.header(), index);
    // SAFETY: (1) the wait ends when the header says `Done`. (2) The outcome is taken once.
    match unsafe { job.take_outcome() } {
        Ok(result) => result,
        Err(payload) => unwind::resume(payload),
    }
}

/// A fork whose first closure runs. It is dropped only if that closure panics.
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

/// Drops `b` after `a` has panicked, if no thread has stolen it. Otherwise waits for it and drops the outcome.
#[cold]
#[inline(never)]
fn abandon<B, RB>(job: &ForkJob<B, RB>, index: usize)
where
    B: FnOnce(bool) -> RB + Send,
    RB: Send,
{
    // SAFETY: the thread takes part in a pool, as it did when it pushed. The panic has left each other pool that `a` has entered, so this is the same ring.
    match unsafe { context::own_ring() }.pop(index) {
        // SAFETY: (1) no thief has run the job, and none can get it any more. (2) The other copy is a `ManuallyDrop`, over which the panic passes without a
        // drop.
        Popped::Ours => unwind::drop_quietly(unsafe { job.take_closure() }),
        Popped::Stolen => {
            worker::wait_stolen(job.header(), index);
            // SAFETY: (1) the wait ends when the header says `Done`. (2) The outcome is taken once.
            unwind::drop_quietly(unsafe { job.take_outcome() });
        }
    }
}
