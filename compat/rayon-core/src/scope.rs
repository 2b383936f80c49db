//! Scopes. Rayon's scope types wrap heist's scope.

use crate::broadcast::BroadcastContext;
use crate::global::{global, in_pool};
use crate::settings::is_breadth_first;
use std::fmt;
use std::ptr;

/// A scope, in which tasks that borrow are spawned. See [`scope`].
#[repr(transparent)]
pub struct Scope<'scope> {
    inner: heist::Scope<'scope>,
}

/// A scope in which tasks of one thread begin in the order of spawning. See [`scope_fifo`].
#[repr(transparent)]
pub struct ScopeFifo<'scope> {
    inner: heist::Scope<'scope>,
}

/// Runs `op` on a thread of the current pool and waits for all tasks of the scope.
///
/// ```
/// let (mut left, mut right) = (0, 0);
/// rayon_core::scope(|s| {
///     s.spawn(|_| left = 1);
///     s.spawn(|_| right = 2);
/// });
/// assert_eq!(left + right, 3);
/// ```
pub fn scope<'scope, OP, R>(op: OP) -> R
where
    OP: FnOnce(&Scope<'scope>) -> R + Send,
    R: Send,
{
    in_pool(|| heist::scope(|s| op(Scope::of(s))))
}

/// Runs `op` like [`scope`]; tasks that one thread spawns begin in the order of spawning.
pub fn scope_fifo<'scope, OP, R>(op: OP) -> R
where
    OP: FnOnce(&ScopeFifo<'scope>) -> R + Send,
    R: Send,
{
    in_pool(|| heist::scope(|s| op(ScopeFifo::of(s))))
}

/// Runs `op` on the current thread and waits for all tasks of the scope, which run on threads of the pool.
pub fn in_place_scope<'scope, OP, R>(op: OP) -> R
where
    OP: FnOnce(&Scope<'scope>) -> R,
{
    in_place(None, |s| op(Scope::of(s)))
}

/// Runs `op` like [`in_place_scope`]; tasks that one thread spawns begin in the order of spawning.
pub fn in_place_scope_fifo<'scope, OP, R>(op: OP) -> R
where
    OP: FnOnce(&ScopeFifo<'scope>) -> R,
{
    in_place(None, |s| op(ScopeFifo::of(s)))
}

/// Opens a scope in `pool`, or else in the current pool, and runs `op` on the current thread.
pub(crate) fn in_place<'scope, R>(
    pool: Option<&heist::ThreadPool>,
    op: impl FnOnce(&heist::Scope<'scope>) -> R,
) -> R {
    match pool {
        Some(pool) => pool.scope_on_workers(op),
        None if heist::in_pool() => heist::scope(op),
        None => global().scope_on_workers(op),
    }
}

impl<'scope> Scope<'scope> {
    pub(crate) fn of<'a>(inner: &'a heist::Scope<'scope>) -> &'a Self {
        // SAFETY: `&*` needs a pointer that is aligned, non-null and points to a valid `Self` for `'a`. It comes from a reference of lifetime `'a`,
        // and `Self` is a `repr(transparent)` wrapper of the referent's type.
        unsafe { &*ptr::from_ref(inner).cast::<Self>() }
    }

    /// Spawns a task in the scope. A thread runs the newest of its own tasks first.
    pub fn spawn<BODY>(&self, body: BODY)
    where
        BODY: FnOnce(&Scope<'scope>) + Send + 'scope,
    {
        if is_breadth_first() {
            self.inner.spawn_fifo(|s| body(Scope::of(s)));
        } else {
            self.inner.spawn(|s| body(Scope::of(s)));
        }
    }

    /// Spawns one task on each thread of the scope's pool.
    pub fn spawn_broadcast<BODY>(&self, body: BODY)
    where
        BODY: Fn(&Scope<'scope>, BroadcastContext<'_>) + Send + Sync + 'scope,
    {
        self.inner.spawn_broadcast(move |s, index| {
            body(Scope::of(s), BroadcastContext::new(index, s.num_threads()))
        });
    }
}

impl<'scope> ScopeFifo<'scope> {
    pub(crate) fn of<'a>(inner: &'a heist::Scope<'scope>) -> &'a Self {
        // SAFETY: `&*` needs a pointer that is aligned, non-null and points to a valid `Self` for `'a`. It comes from a reference of lifetime `'a`,
        // and `Self` is a `repr(transparent)` wrapper of the referent's type.
        unsafe { &*ptr::from_ref(inner).cast::<Self>() }
    }

    /// Spawns a task in the scope. A thread runs the oldest of its own tasks first.
    pub fn spawn_fifo<BODY>(&self, body: BODY)
    where
        BODY: FnOnce(&ScopeFifo<'scope>) + Send + 'scope,
    {
        self.inner.spawn_fifo(|s| body(ScopeFifo::of(s)));
    }

    /// Spawns one task on each thread of the scope's pool.
    pub fn spawn_broadcast<BODY>(&self, body: BODY)
    where
        BODY: Fn(&ScopeFifo<'scope>, BroadcastContext<'_>) + Send + Sync + 'scope,
    {
        self.inner.spawn_broadcast(move |s, index| {
            body(
                ScopeFifo::of(s),
                BroadcastContext::new(index, s.num_threads()),
            )
        });
    }
}

impl fmt::Debug for Scope<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl fmt::Debug for ScopeFifo<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopeFifo").finish_non_exhaustive()
    }
}
