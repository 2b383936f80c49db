//! An array that grows and never moves.

use crate::sync::{OnceLock, SHORT};

/// An array of elements in chunks, which are allocated on first use: chunk `k` holds `FIRST << k` elements. An element stays at its address
/// until the array is dropped. A look-up costs a few instructions and takes no lock.
#[derive(Debug)]
pub(crate) struct Chunks<T> {
    chunks: [OnceLock<Box<[T]>>; CHUNKS],
}

/// The number of elements of the first chunk.
const FIRST: usize = if SHORT { 2 } else { 8 };

/// The number of chunks, which have room for eight million elements.
const CHUNKS: usize = 20;

impl<T> Default for Chunks<T> {
    fn default() -> Self {
        Chunks {
            chunks: [const { OnceLock::new() }; CHUNKS],
        }
    }
}

impl<T: Default> Chunks<T> {
    /// The chunk of an index, and the element's place in it.
    fn place(index: usize) -> (usize, usize) {
        let chunk = (index / FIRST + 1).ilog2() as usize;
        (chunk, index - FIRST * ((1 << chunk) - 1))
    }

    /// The element at this index, if its chunk exists.
    #[inline]
    pub(crate) fn get(&self, index: usize) -> Option<&T> {
        let (chunk, place) = Self::place(index);
        self.chunks.get(chunk)?.get()?.get(place)
    }

    /// The elements from this index on that are in the same chunk, if that exists.
    #[inline]
    pub(crate) fn tail(&self, index: usize) -> &[T] {
        let (chunk, place) = Self::place(index);
        let chunk = self.chunks.get(chunk).and_then(OnceLock::get);
        chunk
            .and_then(|elements| elements.get(place..))
            .unwrap_or(&[])
    }

    /// The element at this index. If its chunk does not exist, it is filled with default elements.
    pub(crate) fn get_or_grow(&self, index: usize) -> &T {
        let (chunk, place) = Self::place(index);
        let chunk =
            &self.chunks[chunk].get_or_init(|| (0..FIRST << chunk).map(|_| T::default()).collect());
        &chunk[place]
    }
}

#[cfg(all(test, not(any(heist_loom, heist_shuttle))))]
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
