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
    atomic::{AtomicBool, AtomicI64, AtomicPtr, AtomicU64, AtomicUsize, Ordering, fence},
};

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
