//! The directory: the pools of this process by number.

use super::context;
use super::registry::{Registry, forked_child};
use crate::sync::{Arc, Ordering};
use crate::sys::PerProcess;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, MutexGuard, TryLockError, Weak};

static POOLS: PerProcess<Mutex<Pools>> = PerProcess::new();

/// Locks the directory if no other thread has.
fn try_pools() -> Option<MutexGuard<'static, Pools>> {
    match POOLS.get().try_lock() {
        Ok(pools) => Some(pools),
        Err(TryLockError::Poisoned(poison)) => Some(poison.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// Locks the directory. It serves those that must not keep a pool alive and rarely need it. Its lock is std's in models too: nothing waits for it.
fn pools() -> MutexGuard<'static, Pools> {
    let pools = POOLS.get().lock();
    pools.unwrap_or_else(|poison| poison.into_inner())
}

/// The pools of this process.
struct Pools {
    by_id: BTreeMap<u64, Weak<Registry>>,
    /// Pools with lower numbers were created before a `fork()`.
    first: u64,
}

static NEXT_POOL: AtomicU64 = AtomicU64::new(1);

impl Default for Pools {
    fn default() -> Self {
        Pools {
            by_id: BTreeMap::new(),
            first: NEXT_POOL.load(Ordering::Relaxed),
        }
    }
}

/// Holds the directory's lock, for a test.
#[cfg(all(test, not(any(heist_loom, heist_shuttle))))]
pub(super) fn hold() -> impl Drop {
    pools()
}

/// Creates a pool, to whose number `make` is applied, and adds it to the directory.
pub(super) fn register(make: impl FnOnce(u64) -> Arc<Registry>) -> Arc<Registry> {
    // The directory is created first, because its creation reads the next number.
    drop(pools());
    let id = NEXT_POOL.fetch_add(1, Ordering::Relaxed);
    let registry = make(id);
    pools().by_id.insert(id, Arc::downgrade(&registry));
    registry
}

impl Drop for Registry {
    fn drop(&mut self) {
        // Resolves the tasks that no thread ran.
        self.cancel_queued();
        crate::POOL_ENDS(self);
        pools().by_id.remove(&self.id);
    }
}

/// # Panics
/// Panics if the pool with this number was created by the process of which this one is a forked child.
pub(crate) fn check_fork_of(id: u64) {
    let first = pools().first;
    if id < first {
        forked_child();
    }
}

/// The pools of this process except the one with this number. `None` if another thread holds the directory's lock.
pub(crate) fn others(id: u64) -> Option<Vec<Arc<Registry>>> {
    let pools = try_pools()?;
    let others = pools.by_id.iter().filter(|&(&other, _)| other != id);
    Some(others.filter_map(|(_, pool)| pool.upgrade()).collect())
}

/// Calls `f` with the pool with this number, if it still exists. A thread that takes part in that pool looks nothing up.
pub(crate) fn with_pool<R>(id: u64, f: impl FnOnce(&Registry) -> R) -> Option<R> {
    match context::member().map(|member| member.registry) {
        Some(registry) if registry.id == id => Some(f(registry)),
        _ => pool(id).as_deref().map(f),
    }
}

/// All pools, unless another thread holds the lock of the directory.
#[cfg(feature = "trace")]
pub(crate) fn try_all() -> Option<Vec<Arc<Registry>>> {
    let pools = POOLS.get().try_lock().ok()?;
    Some(pools.by_id.values().filter_map(Weak::upgrade).collect())
}

/// The pool with this number, if it still exists.
pub(crate) fn pool(id: u64) -> Option<Arc<Registry>> {
    let pool = pools().by_id.get(&id).cloned();
    pool?.upgrade()
}
