//! The table of slots.

use crate::pool::slot::Slot;
use crate::sync::{AtomicUsize, OnceLock, Ordering};

/// Slots by id: grows, never moves, never shrinks. Chunk `k` holds `8 << k`.
pub(super) struct SlotTable {
    chunks: [OnceLock<Box<[OnceLock<Slot>]>>; 20],
    /// Slots with a lower id are there. Written under the registry's lock.
    len: AtomicUsize,
}

impl Default for SlotTable {
    fn default() -> Self {
        SlotTable {
            chunks: [const { OnceLock::new() }; 20],
            len: AtomicUsize::new(0),
        }
    }
}

impl SlotTable {
    fn place(id: usize) -> (usize, usize) {
        let chunk = (id / 8 + 1).ilog2() as usize;
        (chunk, id - 8 * ((1 << chunk) - 1))
    }

    pub(super) fn len(&self) -> usize {
        // ORDERING: Acquire pairs with the Release in `push`: a slot below the length is there.
        self.len.load(Ordering::Acquire)
    }

    pub(super) fn get(&self, id: usize) -> Option<&Slot> {
        let (chunk, place) = Self::place(id);
        self.chunks.get(chunk)?.get()?.get(place)?.get()
    }

    /// Not to be called by two threads at once.
    pub(super) fn push(&self, slot: impl FnOnce(usize) -> Slot) -> usize {
        let id = self.len.load(Ordering::Relaxed);
        let (chunk, place) = Self::place(id);
        let chunk = self.chunks[chunk]
            .get_or_init(|| (0..8usize << chunk).map(|_| OnceLock::new()).collect());
        chunk[place].get_or_init(|| slot(id));
        self.len.store(id + 1, Ordering::Release);
        id
    }
}
