//! What tests of the modules above the pool need of its inside.

use super::directory;
use super::registry::Registry;
use crate::sync::lock;

/// Calls `f` while the current thread holds the locks of the pool, of its slots, and of the directory of pools.
pub(crate) fn with_locks_held<R>(registry: &Registry, f: impl FnOnce() -> R) -> R {
    let _pools = directory::hold();
    let _threads = lock(&registry.threads);
    let _idle = lock(&registry.idle_parkers);
    let _stranded = lock(&registry.stranded);
    let _looks = registry.looks.lock();
    let _queues = registry.injector.streams.hold();
    let _parts = registry.roster.hold();
    let _names: Vec<_> = registry
        .all_slots()
        .map(|slot| slot.running.hold())
        .collect();
    f()
}
