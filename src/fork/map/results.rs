//! Where maps put what their closures return: results in a buffer, states by thread, the hit with the smallest index.

use super::Source;
use super::drive::Part;
use crate::pool::context;
use crate::sync::{Mutex, lock};
use crate::sync::{Ordering, hint::AtomicUsize};
use std::marker::PhantomData;
use std::mem;

/// Adjacent results in a buffer, owned until the buffer's owner takes them over.
pub(super) struct Filled<R> {
    start: *mut R,
    len: usize,
    marker: PhantomData<R>,
}

// SAFETY: the value owns its results, which are `Send`, and nothing else.
unsafe impl<R: Send> Send for Filled<R> {}

impl<R> Filled<R> {
    /// Writes one more result.
    ///
    /// # Safety
    /// The buffer has a place behind the last result, and nothing else writes to that place.
    #[inline(always)]
    unsafe fn push(&mut self, result: R) {
        // SAFETY: the place is in the buffer, as the caller asserts.
        let place = unsafe { self.start.add(self.len) };
        // SAFETY: the place is in the buffer and nothing else writes to it, as the caller asserts. It holds no value that would have to be dropped.
        unsafe { place.write(result) };
        self.len += 1;
    }

    /// Takes over the results of the right neighbour.
    pub(super) fn append(mut self, right: Self) -> Self {
        assert!(
            std::ptr::eq(self.start.wrapping_add(self.len), right.start),
            "heist: internal error: parts of a map do not touch"
        );
        self.len += right.release();
        self
    }

    /// Gives the results up to the owner of the buffer, and returns how many there are.
    pub(super) fn release(self) -> usize {
        mem::ManuallyDrop::new(self).len
    }

    /// Checks that a source has yielded as many items as it promised.
    fn complete(self, len: usize) -> Self {
        assert!(
            self.len == len,
            "heist: a Source yielded {} items where its len promised {len}",
            self.len
        );
        self
    }
}

impl<R> Drop for Filled<R> {
    fn drop(&mut self) {
        let results = std::ptr::slice_from_raw_parts_mut(self.start, self.len);
        // SAFETY: (1) `push` has written each of these places. (2) This value owns the results: none has been given away.
        unsafe { std::ptr::drop_in_place(results) };
    }
}

/// A buffer of `len` places for results, which outlives the map.
pub(super) struct Buffer<R> {
    start: *mut R,
    len: usize,
}

// SAFETY: threads write `Send` values to disjoint places, each place through one `Filled`.
unsafe impl<R: Send> Sync for Buffer<R> {}

impl<R> Buffer<R> {
    /// Returns the first `len` places behind the results of a vector, which has room for them.
    pub(super) fn of(results: &mut Vec<R>, len: usize) -> Self {
        let room = results.spare_capacity_mut();
        assert!(room.len() >= len);
        Buffer {
            start: room.as_mut_ptr().cast(),
            len,
        }
    }

    /// Returns no results, to be followed by up to `len` from `offset` on.
    pub(super) fn part(&self, offset: usize, len: usize) -> Filled<R> {
        assert!(offset + len <= self.len);
        Filled {
            // SAFETY: by the assertion, the offset is within the buffer or at its end.
            start: unsafe { self.start.add(offset) },
            len: 0,
            marker: PhantomData,
        }
    }

    /// Maps the items of `part` with `f` into the places of their indices.
    pub(super) fn fill<S: Source>(
        &self,
        part: Part<S>,
        mut f: impl FnMut(S::Item) -> R,
    ) -> Filled<R> {
        let len = part.len;
        let mut filled = self.part(part.offset, len);
        part.items().for_each(|item| {
            let result = f(item);
            // SAFETY: (1) `items` yields at most `len` items: it uses only `next` of a user's iterator, because `try_fold` cannot be overridden in
            // stable Rust. (2) Parts do not overlap: `drive` divides offset and length itself.
            unsafe { filled.push(result) };
        });
        filled.complete(len)
    }

    /// Maps the items of `part` with `f` up to the first error, which `first` keeps.
    pub(super) fn try_fill<S: Source, E>(
        &self,
        part: Part<S>,
        first: &FirstHit<E>,
        f: impl Fn(S::Item) -> Result<R, E>,
    ) -> Filled<R> {
        let (offset, len) = (part.offset, part.len);
        let mut filled = self.part(offset, len);
        for item in part.items() {
            match f(item) {
                // SAFETY: (1) `items` yields at most `len` items. (2) Parts do not overlap: `drive` divides offset and length itself.
                Ok(result) => unsafe { filled.push(result) },
                Err(error) => {
                    first.keep(offset + filled.len, error);
                    return filled;
                }
            }
        }
        filled.complete(len)
    }
}

/// One state for each participating thread, found by the address of the thread's ring.
///
/// A thread takes its state out while it runs a piece. A piece that runs within another one (under `Waits::Any`) finds none and creates a second state.
pub(super) struct States<T>(Mutex<Vec<(usize, T)>>);

impl<T> States<T> {
    pub(super) fn new() -> Self {
        States(Mutex::new(Vec::new()))
    }

    pub(super) fn with<R>(&self, init: impl FnOnce() -> T, f: impl FnOnce(&mut T) -> R) -> R {
        let here = context::ring_in_use().map_or(0, |ring| std::ptr::from_ref(ring).addr());
        let kept = {
            let mut states = lock(&self.0);
            let place = states.iter().position(|&(thread, _)| thread == here);
            place.map(|place| states.swap_remove(place).1)
        };
        let mut state = kept.unwrap_or_else(init);
        let result = f(&mut state);
        lock(&self.0).push((here, state));
        result
    }
}

/// The hit with the smallest index: an item that was looked for, or an error.
pub(super) struct FirstHit<T> {
    /// The index of the hit, or `usize::MAX` if there is none. It is a hint to skip later items.
    index: AtomicUsize,
    hit: Mutex<Option<(usize, T)>>,
}

impl<T> FirstHit<T> {
    pub(super) fn new() -> Self {
        FirstHit {
            index: AtomicUsize::new(usize::MAX),
            hit: Mutex::new(None),
        }
    }

    /// Returns whether there is a hit before `index`.
    pub(super) fn is_before(&self, index: usize) -> bool {
        // ORDERING: Relaxed, a hint to skip; the hit itself is behind the lock.
        self.index.load(Ordering::Relaxed) < index
    }

    /// Returns whether there is a hit.
    pub(super) fn exists(&self) -> bool {
        self.is_before(usize::MAX)
    }

    pub(super) fn keep(&self, index: usize, value: T) {
        let mut hit = lock(&self.hit);
        let loser = match &*hit {
            Some((first, _)) if *first < index => Some((index, value)),
            _ => {
                self.index.store(index, Ordering::Relaxed);
                hit.replace((index, value))
            }
        };
        drop(hit);
        // Not under the lock, because the destructor is the user's.
        drop(loser);
    }

    pub(super) fn take(&self) -> Option<T> {
        lock(&self.hit).take().map(|(_, value)| value)
    }
}
