//! The table of slots.

use crate::chunks::Chunks;
use crate::pool::slot::Slot;
use crate::sync::{AtomicUsize, OnceLock, Ordering};

/// Slots by id: grows, never moves, never shrinks.
#[derive(Default)]
pub(super) struct SlotTable {
    slots: Chunks<OnceLock<Slot>>,
    /// Slots with a lower id are there. Written under the registry's lock.
    len: AtomicUsize,
}

impl SlotTable {
    pub(super) fn len(&self) -> usize {
        // ORDERING: Acquire pairs with the Release in `push`: a slot below the length is there.
        self.len.load(Ordering::Acquire)
    }

    pub(super) fn get(&self, id: usize) -> Option<&Slot> {
        self.slots.get(id)?.get()
    }

    /// Not to be called by two threads at once.
    pub(super) fn push(&self, slot: impl FnOnce(usize) -> Slot) -> usize {
        let id = self.len.load(Ordering::Relaxed);
        self.slots.get_or_grow(id).get_or_init(|| slot(id));
        self.len.store(id + 1, Ordering::Release);
        id
    }
}
