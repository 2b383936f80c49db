//! An array with gaps: items that keep their index until they are removed, in memory that is freed when few are left.
//!
//! The memory consists of chunks. Nothing in a chunk moves, so growth copies no items. A chunk without items is freed, except for one that is kept for the next
//! items. New items fill the chunks with low indices first, so that those with high indices run empty.

use std::collections::BTreeSet;

/// No index.
pub(super) const NONE: u32 = u32::MAX;

/// The most bytes in a chunk: large enough to make allocations rare, and small enough that long-lived items hold little memory.
const CHUNK_BYTES: usize = 16 << 10;

enum Cell<T> {
    /// The index in the chunk of the next free cell, or [`NONE`].
    Free(u32),
    Used(T),
}

struct Chunk<T> {
    /// Without capacity if the chunk is vacant. Cells beyond the length were never used.
    cells: Vec<Cell<T>>,
    /// The first free cell, or [`NONE`].
    free: u32,
    used: u32,
}

pub(super) struct Slab<T> {
    chunks: Vec<Chunk<T>>,
    /// The chunks that have memory, and room in it.
    open: BTreeSet<u32>,
    /// The chunks without memory.
    vacant: Vec<u32>,
    /// The chunk that ran empty last. It keeps its memory until another one runs empty.
    spare: u32,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Slab {
            chunks: Vec::new(),
            open: BTreeSet::new(),
            vacant: Vec::new(),
            spare: NONE,
        }
    }
}

impl<T> Slab<T> {
    /// The number of items in a chunk, a power of two.
    const CHUNK: usize = 1 << (CHUNK_BYTES / size_of::<Cell<T>>()).ilog2();

    /// The chunk and the index in it.
    fn split(index: u32) -> (usize, usize) {
        let index = index as usize;
        (index / Self::CHUNK, index % Self::CHUNK)
    }

    /// Adds an item and returns its index.
    ///
    /// # Panics
    ///
    /// Panics if there are almost 2^32 items.
    pub(super) fn insert(&mut self, item: T) -> u32 {
        let number = match self.open.first() {
            Some(&number) => number,
            None => self.open_chunk(),
        };
        let chunk = &mut self.chunks[number as usize];
        let at = chunk.free;
        let at = if at == NONE {
            chunk.cells.push(Cell::Used(item));
            chunk.cells.len() as u32 - 1
        } else {
            let cell = &mut chunk.cells[at as usize];
            if let Cell::Free(next) = *cell {
                chunk.free = next;
            }
            *cell = Cell::Used(item);
            at
        };
        chunk.used += 1;
        if chunk.used as usize == Self::CHUNK {
            self.open.remove(&number);
        }
        number * Self::CHUNK as u32 + at
    }

    #[cold]
    fn open_chunk(&mut self) -> u32 {
        let cells = Vec::with_capacity(Self::CHUNK);
        let number = match self.vacant.pop() {
            Some(number) => {
                self.chunks[number as usize].cells = cells;
                number
            }
            None => {
                let number = self.chunks.len();
                assert!(
                    number < NONE as usize / Self::CHUNK,
                    "heist: too many deadlines are pending: 2^32"
                );
                let (free, used) = (NONE, 0);
                self.chunks.push(Chunk { cells, free, used });
                number as u32
            }
        };
        self.open.insert(number);
        number
    }

    /// Removes the item with this index, and returns it if there was one.
    pub(super) fn remove(&mut self, index: u32) -> Option<T> {
        let (number, at) = Self::split(index);
        let chunk = self.chunks.get_mut(number)?;
        let cell = chunk.cells.get_mut(at)?;
        if let Cell::Free(_) = cell {
            return None;
        }
        let old = std::mem::replace(cell, Cell::Free(chunk.free));
        chunk.free = at as u32;
        chunk.used -= 1;
        if chunk.used as usize == Self::CHUNK - 1 {
            self.open.insert(number as u32);
        }
        if chunk.used == 0 {
            self.ran_empty(number as u32);
        }
        match old {
            Cell::Used(item) => Some(item),
            Cell::Free(_) => None,
        }
    }

    /// Keeps the memory of this chunk, and frees that of the one that ran empty before it.
    #[cold]
    fn ran_empty(&mut self, number: u32) {
        let before = std::mem::replace(&mut self.spare, number);
        if before == number || before == NONE {
            return;
        }
        let chunk = &mut self.chunks[before as usize];
        if chunk.used == 0 && chunk.cells.capacity() > 0 {
            chunk.cells = Vec::new();
            chunk.free = NONE;
            self.open.remove(&before);
            self.vacant.push(before);
        }
    }

    pub(super) fn get(&self, index: u32) -> Option<&T> {
        let (number, at) = Self::split(index);
        match self.chunks.get(number)?.cells.get(at)? {
            Cell::Used(item) => Some(item),
            Cell::Free(_) => None,
        }
    }

    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        let (number, at) = Self::split(index);
        match self.chunks.get_mut(number)?.cells.get_mut(at)? {
            Cell::Used(item) => Some(item),
            Cell::Free(_) => None,
        }
    }
}

#[cfg(all(test, not(any(heist_loom, heist_shuttle))))]
mod tests {
    use crate::executor::slab::Slab;
    use std::collections::HashMap;

    fn chunks_with_memory<T>(slab: &Slab<T>) -> usize {
        let chunks = slab.chunks.iter();
        chunks.filter(|chunk| chunk.cells.capacity() > 0).count()
    }

    #[test]
    fn an_item_keeps_its_index_until_it_is_removed() {
        let mut slab = Slab::default();
        let mut model = HashMap::new();
        let mut random = 1_u64;
        for n in 0..20_000_u32 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            // Grows to some thousand items, then shrinks.
            let add = if n < 10_000 { 6 } else { 1 };
            if random >> 61 < add {
                assert_eq!(model.insert(slab.insert(n), n), None);
            } else if let Some(&index) = model.keys().next() {
                assert_eq!(slab.remove(index), model.remove(&index));
                assert_eq!(slab.remove(index), None);
                assert_eq!(slab.get(index), None);
            }
        }
        for (&index, n) in &mut model {
            assert_eq!(slab.get(index), Some(&*n));
            assert_eq!(slab.get_mut(index), Some(n));
        }
    }

    #[test]
    fn memory_is_freed_and_reused() {
        let mut slab = Slab::default();
        for round in 0..3 {
            let items = 0..10 * Slab::<usize>::CHUNK;
            let all: Vec<_> = items.map(|n| slab.insert(n)).collect();
            assert_eq!(slab.chunks.len(), 10, "round {round}");
            // One item keeps one chunk, and another one is kept for the next items.
            for &index in &all[1..] {
                assert!(slab.remove(index).is_some());
            }
            assert!(chunks_with_memory(&slab) <= 2);
            assert!(slab.remove(all[0]).is_some());
            assert!(chunks_with_memory(&slab) <= 2);
        }
    }

    #[test]
    fn an_item_that_comes_and_goes_allocates_nothing() {
        let mut slab = Slab::default();
        for _ in 0..Slab::<()>::CHUNK {
            slab.insert(());
        }
        let first = slab.insert(());
        for _ in 0..10 {
            slab.remove(first);
            assert_eq!(chunks_with_memory(&slab), 2);
            assert_eq!(slab.insert(()), first);
        }
    }
}
