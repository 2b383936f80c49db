//! The table of slots, and which of them are worth a look.
//!
//! Slots are never freed while the pool lives. Those that no thread uses and that hold no work are out of *use*: looks skip them, so that a pool
//! which had many guests at once is as fast as before. A slot comes into use and goes out of it under the registry's lock.
//!
//! A slot that comes into use while a thread parks is not missed. The thread changes the sleep word, fences, and reads which slots are in use. If it
//! does not find the slot, then the owner, which has sent itself a share request, reads the changed word at its first push.
//!
//! Searches also skip the slots of threads that are parked free, which hold no work either. Which these are is a hint: a search that misses work is
//! followed by the look of a thread that parks.

use super::slot::Slot;
use crate::chunks::Chunks;
use crate::sync::{AtomicU64, AtomicUsize, OnceLock, Ordering};
use crossbeam_utils::CachePadded;
// From std: a hint.
use crate::sync::hint::AtomicU64 as HintWord;

/// The slots of a pool by id. The table grows and never shrinks, and slots never move.
#[derive(Default)]
pub(super) struct SlotTable {
    slots: Chunks<OnceLock<Slot>>,
    /// The slots in use, by id.
    used: Chunks<Used>,
    /// The slots that searches do not skip, by id.
    active: Chunks<Active>,
    /// Written under the registry's lock.
    table: CachePadded<Table>,
}

#[derive(Default)]
struct Table {
    /// All slots with a lower id exist.
    len: AtomicUsize,
    /// How often the set of slots in use has begun or ended to change: odd while it changes.
    version: AtomicUsize,
}

/// One bit for each of 64 slots: whether the slot is in use. Written under the registry's lock.
#[derive(Default)]
struct Used(AtomicU64);

/// One bit for each of 64 slots: whether a search looks at the slot. Written by the owners of the slots.
#[derive(Default)]
struct Active(HintWord);

/// A part of a set of slots.
pub(super) trait Word {
    fn bits(&self) -> u64;
}

impl Word for Used {
    #[inline]
    fn bits(&self) -> u64 {
        // ORDERING: Acquire pairs with the Release in `set_used`.
        self.0.load(Ordering::Acquire)
    }
}

impl Word for Active {
    #[inline]
    fn bits(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The number of slots in a word.
const BITS: usize = u64::BITS as usize;

/// The bit of a slot in its word.
fn bit(id: usize) -> u64 {
    1 << (id % BITS)
}

impl SlotTable {
    pub(super) fn len(&self) -> usize {
        // ORDERING: Acquire pairs with the Release in `push`: a slot below the length exists.
        self.table.len.load(Ordering::Acquire)
    }

    pub(super) fn get(&self, id: usize) -> Option<&Slot> {
        self.slots.get(id)?.get()
    }

    /// All slots.
    pub(super) fn all(&self) -> impl Iterator<Item = &Slot> {
        (0..self.len()).filter_map(|id| self.get(id))
    }

    /// The slots in use, in a circle that begins at the place given by a random number.
    pub(super) fn used(&self, random: usize) -> impl Iterator<Item = &Slot> {
        self.circle(&self.used, random)
    }

    /// The slots in which a search looks, in a circle that begins at the place given by a random number.
    pub(super) fn active(&self, random: usize) -> impl Iterator<Item = &Slot> {
        self.circle(&self.active, random)
    }

    fn circle<'a, W>(&'a self, set: &'a Chunks<W>, random: usize) -> Circle<'a, W> {
        let len = self.len();
        let first = random % len.max(1);
        Circle {
            slots: &self.slots,
            set,
            len,
            words: len.div_ceil(BITS),
            first,
            at: first / BITS,
            rest: &[],
            base: 0,
            bits: 0,
        }
    }

    /// A number that tells this set of slots in use from any earlier one. `None` while the set changes. Slots that were read between two calls with the
    /// same result are the whole set.
    pub(super) fn version(&self) -> Option<usize> {
        // ORDERING: Acquire pairs with the last Release in `set_used`: a set that is at least as new as the version is read next. A thread that has
        // read a bit of a newer set, with Acquire, reads a newer version here.
        let version = self.table.version.load(Ordering::Acquire);
        version.is_multiple_of(2).then_some(version)
    }

    /// Adds a slot and returns its id. The caller holds the registry's lock, so that no two threads do so at once.
    pub(super) fn push(&self, slot: impl FnOnce(usize) -> Slot) -> usize {
        let id = self.table.len.load(Ordering::Relaxed);
        self.slots.get_or_grow(id).get_or_init(|| slot(id));
        // The words exist before the slot does, for those that read them.
        self.used.get_or_grow(id / BITS);
        self.active.get_or_grow(id / BITS);
        self.table.len.store(id + 1, Ordering::Release);
        id
    }

    /// Brings a slot into use or takes it out of use. The caller holds the registry's lock.
    pub(super) fn set_used(&self, id: usize, is_used: bool) {
        let word = &self.used.get_or_grow(id / BITS).0;
        let bits = word.load(Ordering::Relaxed);
        if (bits & bit(id) != 0) != is_used {
            let version = self.table.version.load(Ordering::Relaxed);
            self.table.version.store(version + 1, Ordering::Relaxed);
            // ORDERING: Release pairs with the Acquire in `bits`: the slot exists, and the version has changed.
            word.store(bits ^ bit(id), Ordering::Release);
            // ORDERING: Release: see `version`.
            self.table.version.store(version + 2, Ordering::Release);
        }
    }

    /// Lets searches look at a slot or skip it. Called by the slot's owner, or under the registry's lock.
    pub(super) fn set_active(&self, id: usize, is_active: bool) {
        // ORDERING: Relaxed, a hint.
        let word = &self.active.get_or_grow(id / BITS).0;
        if is_active {
            word.fetch_or(bit(id), Ordering::Relaxed);
        } else {
            word.fetch_and(!bit(id), Ordering::Relaxed);
        }
    }
}

/// The slots of a set, in a circle.
struct Circle<'a, W> {
    slots: &'a Chunks<OnceLock<Slot>>,
    set: &'a Chunks<W>,
    /// The number of slots, and the number of words that have bits for them.
    len: usize,
    words: usize,
    first: usize,
    /// The place of the next word, counted on beyond the last one. The word of the first slot comes twice, for the slots from there on and for those
    /// before.
    at: usize,
    /// Words that follow one another from there on.
    rest: &'a [W],
    /// The slots of the last word that are to come, and the id that its lowest bit stands for.
    bits: u64,
    base: usize,
}

impl<W: Word + Default> Circle<'_, W> {
    #[inline]
    fn next_word(&mut self) -> Option<u64> {
        let (begin, before_first) = (self.first / BITS, bit(self.first) - 1);
        let end = begin + self.words;
        if self.at > end || (self.at == end && before_first == 0) {
            return None;
        }
        let mask = match self.at {
            at if at == begin => !before_first,
            at if at == end => before_first,
            _ => !0,
        };
        if self.at == self.words {
            self.rest = &[];
        }
        let place = self.at - if self.at < self.words { 0 } else { self.words };
        if self.rest.is_empty() {
            self.rest = self.set.tail(place);
        }
        let (word, rest) = self.rest.split_first()?;
        self.rest = rest;
        self.at += 1;
        self.base = place * BITS;
        Some(word.bits() & mask)
    }
}

impl<'a, W: Word + Default> Iterator for Circle<'a, W> {
    type Item = &'a Slot;

    #[inline]
    fn next(&mut self) -> Option<&'a Slot> {
        loop {
            while self.bits == 0 {
                self.bits = self.next_word()?;
            }
            let id = self.base + self.bits.trailing_zeros() as usize;
            self.bits &= self.bits - 1;
            // A slot that was added since the length was read is left out.
            if id < self.len {
                return self.slots.get(id)?.get();
            }
        }
    }
}
