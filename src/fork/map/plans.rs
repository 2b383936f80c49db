//! What each kind of map does with a piece.
//!
//! A plan owns the closures: it is dropped while the results still have an owner, for what a function returns is leaked when its
//! locals panic as they are dropped.

use super::Source;
use super::drive::Plan;
use crate::pool::context;
use crate::sync::{Mutex, lock};
use std::marker::PhantomData;
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Results in a part of a buffer, owned until they are all there.
pub(super) struct Filled<R> {
    start: *mut R,
    len: usize,
    marker: PhantomData<R>,
}

// SAFETY: it owns its results and nothing else.
unsafe impl<R: Send> Send for Filled<R> {}

impl<R> Filled<R> {
    /// Writes one more.
    ///
    /// # Safety
    /// The buffer has room for it that no other part writes to.
    #[inline(always)]
    unsafe fn push(&mut self, result: R) {
        // SAFETY: within the buffer, by the caller.
        let place = unsafe { self.start.add(self.len) };
        // SAFETY: the place is this part's and holds nothing.
        unsafe { place.write(result) };
        self.len += 1;
    }

    /// The right neighbour's results become this one's.
    fn append(&mut self, right: Self) {
        assert!(
            std::ptr::eq(self.start.wrapping_add(self.len), right.start),
            "heist: internal error: parts of a map do not touch"
        );
        self.len += right.len;
        mem::forget(right);
    }

    /// Gives the results up to whoever owns the buffer. Returns how many there are.
    pub(super) fn release(self) -> usize {
        let len = self.len;
        mem::forget(self);
        len
    }
}

impl<R> Drop for Filled<R> {
    fn drop(&mut self) {
        let results = std::ptr::slice_from_raw_parts_mut(self.start, self.len);
        // SAFETY: all written, none given away.
        unsafe { std::ptr::drop_in_place(results) };
    }
}

/// Where the results go: a buffer of `len` places, which outlives the map.
pub(super) struct Buffer<R> {
    start: *mut R,
    len: usize,
}

// SAFETY: parts write to disjoint places, each through the one `Filled` for it.
unsafe impl<R: Send> Sync for Buffer<R> {}

impl<R> Buffer<R> {
    /// The spare room of a vector.
    pub(super) fn of(results: &mut Vec<R>, len: usize) -> Self {
        let room = results.spare_capacity_mut();
        assert!(room.len() >= len);
        Buffer {
            start: room.as_mut_ptr().cast(),
            len,
        }
    }

    /// Runs the first `len` items of `part` through `f` into the places from `offset` on.
    fn fill<S: Source>(
        &self,
        part: S,
        offset: usize,
        len: usize,
        mut f: impl FnMut(S::Item) -> R,
    ) -> Filled<R> {
        assert!(offset + len <= self.len);
        let mut filled = Filled {
            // SAFETY: within the buffer, or at its end if there is nothing to write.
            start: unsafe { self.start.add(offset) },
            len: 0,
            marker: PhantomData,
        };
        part.into_seq().take(len).for_each(|item| {
            let result = f(item);
            // SAFETY: `take` yields at most `len` (on a user's iterator it can go by `next` only: its `try_fold` cannot be
            // overridden in stable Rust), and parts do not overlap: `drive` cuts offset and length, not the source.
            unsafe { filled.push(result) };
        });
        assert!(
            filled.len == len,
            "heist: a Source yielded {} items where its len promised {len}",
            filled.len
        );
        filled
    }
}

/// `map`.
pub(super) struct Map<R, F> {
    pub(super) buffer: Buffer<R>,
    pub(super) f: F,
}

impl<S, R, F> Plan<S> for Map<R, F>
where
    S: Source,
    R: Send,
    F: Fn(S::Item) -> R + Sync,
{
    type Out = Filled<R>;

    fn piece(&self, part: S, offset: usize, len: usize) -> Filled<R> {
        self.buffer.fill(part, offset, len, &self.f)
    }

    fn merge(&self, mut left: Filled<R>, right: Filled<R>) -> Filled<R> {
        left.append(right);
        left
    }

    fn skip(&self, _: usize) -> Option<Filled<R>> {
        None
    }
}

/// `map_init`.
pub(super) struct MapInit<R, T, I, F> {
    pub(super) buffer: Buffer<R>,
    pub(super) states: States<T>,
    pub(super) init: I,
    pub(super) f: F,
}

/// One state for each thread that takes part, by its ring. A thread takes its state out for the time of a piece, so that a piece within a
/// piece (under `Waits::Any`) finds none and makes another.
pub(super) struct States<T>(Mutex<Vec<(usize, T)>>);

impl<T> States<T> {
    pub(super) fn new() -> Self {
        States(Mutex::new(Vec::new()))
    }

    fn with<R>(&self, init: impl FnOnce() -> T, f: impl FnOnce(&mut T) -> R) -> R {
        let here = context::ring().map_or(0, |ring| std::ptr::from_ref(ring).addr());
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

impl<S, R, T, I, F> Plan<S> for MapInit<R, T, I, F>
where
    S: Source,
    R: Send,
    T: Send,
    I: Fn() -> T + Sync,
    F: Fn(&mut T, S::Item) -> R + Sync,
{
    type Out = Filled<R>;

    fn piece(&self, part: S, offset: usize, len: usize) -> Filled<R> {
        self.states.with(&self.init, |state| {
            self.buffer
                .fill(part, offset, len, |item| (self.f)(state, item))
        })
    }

    fn merge(&self, mut left: Filled<R>, right: Filled<R>) -> Filled<R> {
        left.append(right);
        left
    }

    fn skip(&self, _: usize) -> Option<Filled<R>> {
        None
    }
}

/// `for_each`.
pub(super) struct ForEach<'a, F>(pub(super) &'a F);

impl<S, F> Plan<S> for ForEach<'_, F>
where
    S: Source,
    F: Fn(S::Item) + Sync,
{
    type Out = ();

    fn piece(&self, part: S, _: usize, len: usize) {
        part.into_seq().take(len).for_each(self.0);
    }

    fn merge(&self, (): (), (): ()) {}

    fn skip(&self, _: usize) -> Option<()> {
        None
    }
}

/// `map_reduce`.
pub(super) struct MapReduce<M, I, D> {
    pub(super) map: M,
    pub(super) identity: I,
    pub(super) reduce: D,
}

impl<S, R, M, I, D> Plan<S> for MapReduce<M, I, D>
where
    S: Source,
    R: Send,
    M: Fn(S::Item) -> R + Sync,
    I: Fn() -> R + Sync,
    D: Fn(R, R) -> R + Sync,
{
    type Out = R;

    fn piece(&self, part: S, _: usize, len: usize) -> R {
        let mapped = part.into_seq().take(len).map(&self.map);
        mapped.reduce(&self.reduce).unwrap_or_else(&self.identity)
    }

    fn merge(&self, left: R, right: R) -> R {
        (self.reduce)(left, right)
    }

    fn skip(&self, _: usize) -> Option<R> {
        None
    }
}

/// `try_map`.
pub(super) struct TryMap<R, E, F> {
    pub(super) buffer: Buffer<R>,
    pub(super) failed: AtomicBool,
    pub(super) error: Mutex<Option<(usize, E)>>,
    pub(super) f: F,
}

impl<R, E, F> TryMap<R, E, F> {
    fn nothing(&self) -> Filled<R> {
        Filled {
            start: self.buffer.start,
            len: 0,
            marker: PhantomData,
        }
    }

    /// Keeps the error of the smallest index.
    fn fail(&self, index: usize, error: E) {
        let mut first = lock(&self.error);
        if first.as_ref().is_none_or(|&(other, _)| index < other) {
            *first = Some((index, error));
        }
        // ORDERING: Relaxed, a hint to skip; the error itself is behind the lock.
        self.failed.store(true, Ordering::Relaxed);
    }
}

impl<S, R, E, F> Plan<S> for TryMap<R, E, F>
where
    S: Source,
    R: Send,
    E: Send,
    F: Fn(S::Item) -> Result<R, E> + Sync,
{
    type Out = Filled<R>;

    fn piece(&self, part: S, offset: usize, len: usize) -> Filled<R> {
        assert!(offset + len <= self.buffer.len);
        let mut filled = Filled {
            // SAFETY: within the buffer, or at its end if there is nothing to write.
            start: unsafe { self.buffer.start.add(offset) },
            len: 0,
            marker: PhantomData,
        };
        for item in part.into_seq().take(len) {
            match (self.f)(item) {
                // SAFETY: `take` yields at most `len`, and parts do not overlap.
                Ok(result) => unsafe { filled.push(result) },
                Err(error) => {
                    self.fail(offset + filled.len, error);
                    return filled;
                }
            }
        }
        assert!(
            filled.len == len,
            "heist: a Source yielded {} items where its len promised {len}",
            filled.len
        );
        filled
    }

    fn merge(&self, mut left: Filled<R>, right: Filled<R>) -> Filled<R> {
        if self.failed.load(Ordering::Relaxed) {
            // Gaps: what both hold is dropped, here and by the caller.
            drop(right);
        } else {
            left.append(right);
        }
        left
    }

    fn skip(&self, _: usize) -> Option<Filled<R>> {
        self.failed.load(Ordering::Relaxed).then(|| self.nothing())
    }
}

/// `find_any`.
pub(super) struct FindAny<T, F> {
    pub(super) hit: AtomicBool,
    pub(super) found: Mutex<Option<T>>,
    pub(super) predicate: F,
}

impl<S, F> Plan<S> for FindAny<S::Item, F>
where
    S: Source,
    S::Item: Send,
    F: Fn(&S::Item) -> bool + Sync,
{
    type Out = ();

    fn piece(&self, part: S, _: usize, len: usize) {
        if let Some(item) = part.into_seq().take(len).find(&self.predicate) {
            *lock(&self.found) = Some(item);
            // ORDERING: Relaxed, a hint to skip; the item itself is behind the lock.
            self.hit.store(true, Ordering::Relaxed);
        }
    }

    fn merge(&self, (): (), (): ()) {}

    fn skip(&self, _: usize) -> Option<()> {
        self.hit.load(Ordering::Relaxed).then_some(())
    }
}

/// `find_map_any`.
pub(super) struct FindMapAny<R, F> {
    pub(super) hit: AtomicBool,
    pub(super) found: Mutex<Option<R>>,
    pub(super) f: F,
}

impl<S, R, F> Plan<S> for FindMapAny<R, F>
where
    S: Source,
    R: Send,
    F: Fn(S::Item) -> Option<R> + Sync,
{
    type Out = ();

    fn piece(&self, part: S, _: usize, len: usize) {
        if let Some(result) = part.into_seq().take(len).find_map(&self.f) {
            let other = lock(&self.found).replace(result);
            // ORDERING: Relaxed, a hint to skip; the result itself is behind the lock.
            self.hit.store(true, Ordering::Relaxed);
            // Not under the lock: its destructor is the user's.
            drop(other);
        }
    }

    fn merge(&self, (): (), (): ()) {}

    fn skip(&self, _: usize) -> Option<()> {
        self.hit.load(Ordering::Relaxed).then_some(())
    }
}

/// Of all hits, the one with the smallest index.
pub(super) struct FirstHit<T> {
    /// Its index; `usize::MAX`: there is none yet. A hint to skip what comes later.
    index: AtomicUsize,
    hit: Mutex<Option<(usize, T)>>,
}

impl<T> Default for FirstHit<T> {
    fn default() -> Self {
        FirstHit {
            index: AtomicUsize::new(usize::MAX),
            hit: Mutex::new(None),
        }
    }
}

impl<T> FirstHit<T> {
    /// Whether there is a hit before this index.
    fn is_before(&self, index: usize) -> bool {
        // ORDERING: Relaxed, a hint to skip; the hit itself is behind the lock.
        self.index.load(Ordering::Relaxed) < index
    }

    fn keep(&self, index: usize, value: T) {
        let mut hit = lock(&self.hit);
        let loser = match &*hit {
            Some((first, _)) if *first < index => Some((index, value)),
            _ => {
                self.index.store(index, Ordering::Relaxed);
                hit.replace((index, value))
            }
        };
        drop(hit);
        // Not under the lock: its destructor is the user's.
        drop(loser);
    }

    pub(super) fn take(self) -> Option<T> {
        let hit = self.hit.into_inner();
        let hit = hit.unwrap_or_else(|poison| poison.into_inner());
        hit.map(|(_, value)| value)
    }
}

/// `find_first`.
pub(super) struct FindFirst<T, F> {
    pub(super) first: FirstHit<T>,
    pub(super) predicate: F,
}

impl<S, F> Plan<S> for FindFirst<S::Item, F>
where
    S: Source,
    S::Item: Send,
    F: Fn(&S::Item) -> bool + Sync,
{
    type Out = ();

    fn piece(&self, part: S, offset: usize, len: usize) {
        for (index, item) in (offset..).zip(part.into_seq().take(len)) {
            if self.first.is_before(index) {
                return;
            }
            if (self.predicate)(&item) {
                return self.first.keep(index, item);
            }
        }
    }

    fn merge(&self, (): (), (): ()) {}

    fn skip(&self, offset: usize) -> Option<()> {
        self.first.is_before(offset).then_some(())
    }
}

/// `try_for_each`.
pub(super) struct TryForEach<E, F> {
    pub(super) first: FirstHit<E>,
    pub(super) f: F,
}

impl<S, E, F> Plan<S> for TryForEach<E, F>
where
    S: Source,
    E: Send,
    F: Fn(S::Item) -> Result<(), E> + Sync,
{
    type Out = ();

    fn piece(&self, part: S, offset: usize, len: usize) {
        for (index, item) in (offset..).zip(part.into_seq().take(len)) {
            if let Err(error) = (self.f)(item) {
                return self.first.keep(index, error);
            }
        }
    }

    fn merge(&self, (): (), (): ()) {}

    fn skip(&self, _: usize) -> Option<()> {
        // After an error nothing more is begun, whether it comes before or behind.
        self.first.is_before(usize::MAX).then_some(())
    }
}

/// `for_each_init`.
pub(super) struct ForEachInit<T, I, F> {
    pub(super) states: States<T>,
    pub(super) init: I,
    pub(super) f: F,
}

impl<S, T, I, F> Plan<S> for ForEachInit<T, I, F>
where
    S: Source,
    T: Send,
    I: Fn() -> T + Sync,
    F: Fn(&mut T, S::Item) + Sync,
{
    type Out = ();

    fn piece(&self, part: S, _: usize, len: usize) {
        self.states.with(&self.init, |state| {
            let items = part.into_seq().take(len);
            items.for_each(|item| (self.f)(state, item));
        });
    }

    fn merge(&self, (): (), (): ()) {}

    fn skip(&self, _: usize) -> Option<()> {
        None
    }
}
