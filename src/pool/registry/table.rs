//! The pools of this process, by number.

use super::{Registry, forked_child};
use crate::pool::context;
use crate::pool::slot::Slot;
use crate::sync::{Arc, Ordering};
use crate::sys::PerProcess;
use std::collections::BTreeMap;
use std::sync::Weak;

/// All pools, by number: for those who must not keep one alive, and rarely need it. Not of the loom seam: nothing waits for it.
pub(super) fn pools() -> std::sync::MutexGuard<'static, Pools> {
    static POOLS: PerProcess<std::sync::Mutex<Pools>> = PerProcess::new();
    POOLS
        .get()
        .lock()
        .unwrap_or_else(|poison| poison.into_inner())
}

/// The pools of this process.
pub(super) struct Pools {
    pub(super) by_id: BTreeMap<u64, Weak<Registry>>,
    /// Those with lower numbers were made before a `fork()`.
    first: u64,
}

static NEXT_POOL: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);

impl Default for Pools {
    fn default() -> Self {
        Pools {
            by_id: BTreeMap::new(),
            first: NEXT_POOL.load(Ordering::Relaxed),
        }
    }
}

pub(super) fn register(registry: &Weak<Registry>) -> u64 {
    let mut pools = pools();
    let id = NEXT_POOL.fetch_add(1, Ordering::Relaxed);
    pools.by_id.insert(id, registry.clone());
    id
}

/// # Panics
/// If the pool of this number was made by the process of which this one is a forked child.
pub(crate) fn check_fork_of(id: u64) {
    let first = pools().first;
    if id < first {
        forked_child();
    }
}

/// Calls `f` with the pool of this number, if it is still there: at hand on a thread that takes part in it, else looked up.
pub(crate) fn with_pool<R>(id: u64, f: impl FnOnce(Option<&Registry>) -> R) -> R {
    match context::slot().map(Slot::registry) {
        Some(registry) if registry.id == id => f(Some(registry)),
        _ => f(pool(id).as_deref()),
    }
}

/// The pool of this number, if it is still there.
pub(crate) fn pool(id: u64) -> Option<Arc<Registry>> {
    let pool = pools().by_id.get(&id).cloned();
    pool?.upgrade()
}
