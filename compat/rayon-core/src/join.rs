//! `join` and `join_context`.

use crate::global::global;
use std::marker::PhantomData;

/// What a closure of [`join_context`] is told.
#[derive(Debug)]
pub struct FnContext {
    migrated: bool,
    /// Neither `Send` nor `Sync`.
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

    /// Whether the closure runs on another thread than the one that gave it.
    #[inline]
    pub fn migrated(&self) -> bool {
        self.migrated
    }
}

/// Runs both closures, possibly at the same time. Both run, whatever the other does.
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

/// [`join`] that tells both closures whether they have migrated.
#[inline]
pub fn join_context<A, B, RA, RB>(oper_a: A, oper_b: B) -> (RA, RB)
where
    A: FnOnce(FnContext) -> RA + Send,
    B: FnOnce(FnContext) -> RB + Send,
    RA: Send,
    RB: Send,
{
    if heist::takes_part() {
        join_here(oper_a, oper_b, false)
    } else {
        join_elsewhere(oper_a, oper_b)
    }
}

/// `injected`: both come from a thread outside the pool.
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
