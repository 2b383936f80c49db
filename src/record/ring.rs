//! A ring of events with one writer, which never waits, and any number of readers.
//!
//! An event is two words. The writer stores them into the place of the oldest event, and then raises `head`, the number of events written so far. A reader
//! reads `head`, copies what is there, and reads `head` again: what the writer may have overwritten in the meantime, it drops. While `head` is `n`, the
//! writer may be writing the event of number `n`, over the event of number `n - capacity`. So the reader keeps the events above that one.
//!
//! The words are atomic, so that copying them while they are written is no data race. A reader that has read a word of the event of number `n` reads a
//! `head` of at least `n` afterwards: see the orderings in [`Ring::write`] and [`Ring::read`].

use crate::sync::{AtomicU64, MODEL, Ordering, fence};

/// The number of words of an event.
const WORDS: usize = 2;

/// The size of an event in bytes.
pub(crate) const EVENT_SIZE: usize = WORDS * size_of::<u64>();

/// A ring of events. One without room only counts them.
pub(super) struct Ring {
    words: Box<[AtomicU64]>,
    /// The capacity, a power of two, minus one.
    mask: u64,
    /// The number of events written. Written by the writer only.
    head: AtomicU64,
}

/// What a reader has copied.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Copied {
    /// The number of the first event that was kept. Those before it are lost.
    pub(crate) first: u64,
    /// The number of events written.
    pub(crate) end: u64,
    /// The events from `first` to `end`.
    pub(crate) events: Vec<[u64; WORDS]>,
}

impl Ring {
    /// Creates a ring with room for `capacity` events: none, or a power of two.
    pub(super) fn new(capacity: usize) -> Self {
        debug_assert!(capacity == 0 || capacity.is_power_of_two());
        Ring {
            words: zeroed(capacity * WORDS),
            mask: (capacity as u64).saturating_sub(1),
            head: AtomicU64::new(0),
        }
    }

    pub(super) fn capacity(&self) -> usize {
        self.words.len() / WORDS
    }

    /// The number of events written so far.
    pub(super) fn written(&self) -> u64 {
        self.head.load(Ordering::Relaxed)
    }

    /// Writes an event. Called by the writer only.
    #[inline]
    pub(super) fn write(&self, event: [u64; WORDS]) {
        let head = self.head.load(Ordering::Relaxed);
        let place = (head & self.mask) as usize * WORDS;
        if let Some([first, second]) = self.words.get(place..place + WORDS) {
            // ORDERING: Release pairs with the Acquire fence in `read`: a reader that reads one of these words afterwards reads at least this `head`.
            first.store(event[0], Ordering::Release);
            second.store(event[1], Ordering::Release);
        }
        // ORDERING: Release pairs with the first load in `read`: the event is visible.
        self.head.store(head + 1, Ordering::Release);
    }

    /// Copies the events from number `from` on that the ring still has. Makes the writer wait for nothing.
    pub(super) fn read(&self, from: u64) -> Copied {
        let capacity = self.capacity() as u64;
        // ORDERING: Acquire pairs with the Release of `head` in `write`.
        let end = self.head.load(Ordering::Acquire);
        let begin = end.saturating_sub(capacity).max(from).min(end);
        let mut events: Vec<_> = (begin..end)
            .map(|number| {
                let place = (number & self.mask) as usize * WORDS;
                let word = |word: usize| self.words[place + word].load(Ordering::Relaxed);
                std::array::from_fn(word)
            })
            .collect();
        // ORDERING: Acquire pairs with the Release of the words in `write`.
        fence(Ordering::Acquire);
        let head = self.head.load(Ordering::Relaxed);
        let first = (head + 1).saturating_sub(capacity).clamp(begin, end);
        events.drain(..(first - begin) as usize);
        Copied { first, end, events }
    }
}

/// Words that are zero, of whose memory the system makes pages when they are first written.
fn zeroed(len: usize) -> Box<[AtomicU64]> {
    if MODEL || cfg!(miri) {
        return (0..len).map(|_| AtomicU64::new(0)).collect();
    }
    const { assert!(MODEL || size_of::<AtomicU64>() == size_of::<u64>()) };
    const { assert!(MODEL || align_of::<AtomicU64>() == align_of::<u64>()) };
    let words = Box::into_raw(vec![0_u64; len].into_boxed_slice());
    // SAFETY: (1) outside models an `AtomicU64` has the size, alignment and validity of a `u64`. (2) The box was given up just before.
    unsafe { Box::from_raw(words as *mut [AtomicU64]) }
}

#[cfg(test)]
mod tests;

#[cfg(all(test, heist_loom))]
mod models;
