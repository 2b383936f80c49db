//! An array that grows and never moves.

use crate::sync::{MODEL, OnceLock};

/// Elements by index, in chunks that are allocated on first use: chunk `k` holds `FIRST << k` of them. An element stays at its address
/// until the array is dropped. A look-up costs a few instructions and no lock.
pub(crate) struct Chunks<T> {
    chunks: [OnceLock<Box<[T]>>; CHUNKS],
}

/// How many elements the first chunk holds.
const FIRST: usize = if MODEL { 2 } else { 8 };

/// Enough for eight million elements.
const CHUNKS: usize = 20;

impl<T> Default for Chunks<T> {
    fn default() -> Self {
        Chunks {
            chunks: [const { OnceLock::new() }; CHUNKS],
        }
    }
}

impl<T: Default> Chunks<T> {
    /// The chunk of an index, and the place in it.
    fn place(index: usize) -> (usize, usize) {
        let chunk = (index / FIRST + 1).ilog2() as usize;
        (chunk, index - FIRST * ((1 << chunk) - 1))
    }

    /// The element, if its chunk is there.
    #[inline]
    pub(crate) fn get(&self, index: usize) -> Option<&T> {
        let (chunk, place) = Self::place(index);
        self.chunks.get(chunk)?.get()?.get(place)
    }

    /// The element, whose chunk is made of default elements if it is not there.
    pub(crate) fn get_or_grow(&self, index: usize) -> &T {
        let (chunk, place) = Self::place(index);
        let chunk =
            &self.chunks[chunk].get_or_init(|| (0..FIRST << chunk).map(|_| T::default()).collect());
        &chunk[place]
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::Chunks;
    use std::cell::Cell;

    #[test]
    fn elements_stay_where_they_are() {
        let chunks = Chunks::<Cell<usize>>::default();
        assert!(chunks.get(0).is_none());
        let addresses: Vec<_> = (0..1_000)
            .map(|index| {
                let element = chunks.get_or_grow(index);
                element.set(index);
                std::ptr::from_ref(element)
            })
            .collect();
        for (index, address) in addresses.into_iter().enumerate() {
            let element = chunks.get(index).unwrap();
            assert_eq!(element.get(), index);
            assert!(std::ptr::eq(element, address));
        }
        assert!(chunks.get(1 << 40).is_none());
    }
}
