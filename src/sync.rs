//! The seam between the crate and its threads: std's atomics, locks and thread-locals in a build for
//! users, loom's in a build for the model checker.
//!
//! **Invariant.** Whatever a wait, a wake-up or a hand-over depends on goes through here; what the models check is therefore what
//! ships. Files that take atomics straight from std say why: theirs carry counts or hints, no order.

#[cfg(not(loom))]
pub(crate) use std::sync::{
    Condvar, Mutex,
    atomic::{AtomicBool, AtomicI64, AtomicPtr, AtomicU64, AtomicUsize, Ordering, fence},
};

#[cfg(loom)]
pub(crate) use loom::sync::{
    Condvar, Mutex,
    atomic::{AtomicBool, AtomicI64, AtomicPtr, AtomicU64, AtomicUsize, Ordering},
};

#[cfg(loom)]
pub(crate) use model::fence;

/// Loom changes threads before an access to a word, never before a fence: what others do between a store and the fence that follows
/// it goes untried. A model may ask for that, at the price of more executions.
#[cfg(loom)]
pub(crate) mod model {
    use super::{AtomicUsize, Ordering};
    use std::cell::Cell;

    loom::lazy_static! {
        static ref TURN: AtomicUsize = AtomicUsize::new(0);
    }

    std::thread_local! {
        static SWITCH: Cell<bool> = const { Cell::new(false) };
    }

    /// For models: whether threads change at fences, from now on. All threads of a model share it.
    #[cfg(test)]
    pub(crate) fn switch_at_fences(switch: bool) {
        SWITCH.set(switch);
    }

    pub(crate) fn fence(ordering: Ordering) {
        if SWITCH.get() {
            // Relaxed: it orders nothing that the fences do not.
            TURN.fetch_add(1, Ordering::Relaxed);
        }
        loom::sync::atomic::fence(ordering);
    }
}

pub(crate) use std::sync::{Arc, OnceLock};

/// Locks, ignoring poison: every critical section of this crate leaves its data valid at each point where it
/// could unwind, so a panic elsewhere is no reason to refuse the lock.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poison| poison.into_inner())
}

#[cfg(not(loom))]
pub(crate) use std::sync::MutexGuard;

#[cfg(loom)]
pub(crate) use loom::sync::MutexGuard;

/// One turn of a bounded spin.
#[cfg(not(loom))]
#[inline]
pub(crate) fn spin_hint() {
    std::hint::spin_loop();
}

/// Gives the core to another thread that is ready.
#[inline]
pub(crate) fn yield_thread() {
    #[cfg(not(loom))]
    std::thread::yield_now();
    #[cfg(loom)]
    loom::thread::yield_now();
}
