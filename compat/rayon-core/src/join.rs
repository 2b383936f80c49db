//! `join` and `join_context`.

use crate::global::global;
use std::marker::PhantomData;

/// Tells a closure of [`join_context`] where it runs.
#[derive(Debug)]
pub struct FnContext {
    migrated: bool,
    /// Makes the type neither `Send` nor `Sync`.
    marker: PhantomData<*mut ()>,
}

impl FnContext {
    #[inline]
    fn new(migrated: bool) -> Self {
        FnContext {
            migrated,
            marker: PhantomData,
        }
    }

    /// Returns whether the closure runs on another thread than the caller of [`join_context`].
    #[inline]
    pub fn migrated(&self) -> bool {
        self.migrated
    }
}

/// Runs both closures, possibly at the same time. Each runs even if the other one panics.
///
/// ```
/// let (a, b) = rayon_core::join(|| 1, || 2);
/// assert_eq!(a + b, 3);
/// ```
#[inline]
pub fn join<A, B, RA, RB>(oper_a: A, oper_b: B) -> (RA, RB)
where
    A: FnOnce() -> RA + Send,
    B: FnOnce() -> RB + Send,
    RA: Send,
    RB: Send,
{
    join_context(|_| oper_a(), |_| oper_b())
}

/// Runs both closures like [`join`] and tells each whether it has migrated to another thread.
#[inline]
pub fn join_context<A, B, RA, RB>(oper_a: A, oper_b: B) -> (RA, RB)
where
    A: FnOnce(FnContext) -> RA + Send,
    B: FnOnce(FnContext) -> RB + Send,
    RA: Send,
    RB: Send,
{
    if heist::in_pool() {
        join_here(oper_a, oper_b, false)
    } else {
        join_elsewhere(oper_a, oper_b)
    }
}

/// Joins on the current thread. `injected` says that the caller of `join_context` is another thread.
#[inline(always)]
fn join_here<A, B, RA, RB>(oper_a: A, oper_b: B, injected: bool) -> (RA, RB)
where
    A: FnOnce(FnContext) -> RA,
    B: FnOnce(FnContext) -> RB + Send,
    RB: Send,
{
    heist::join_context(
        || oper_a(FnContext::new(injected)),
        move |stolen| oper_b(FnContext::new(injected || stolen)),
    )
}

#[cold]
fn join_elsewhere<A, B, RA, RB>(oper_a: A, oper_b: B) -> (RA, RB)
where
    A: FnOnce(FnContext) -> RA + Send,
    B: FnOnce(FnContext) -> RB + Send,
    RA: Send,
    RB: Send,
{
    global().run(|| join_here(oper_a, oper_b, true))
}
