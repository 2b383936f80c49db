//! Which work descends from which: what a thread that waits may run.
//!
//! # Runs and places
//!
//! A *run* is a stolen fork, or a task from a queue, that executes on some slot. Runs nest: a thread that waits in one run may begin
//! another. The nesting depth on that slot is the run's *level*; level 0 stands for whatever the slot's thread does outside of any run.
//!
//! A *place* is where work comes from: a slot, the level of the run that made the work there, and a number. For a fork the number is its
//! place in the slot's ring; an open scope has one above all those. A place belongs to one fork or scope as long as somebody waits for that.
//!
//! An [`Origin`] is a place and its *depth*: how many places lie between it and a root. A stolen fork descends from its own place, a scope's
//! task from the scope's, and a place from the run that made it. So the ancestors of any work are a chain of origins, from slot to slot:
//!
//! ```text
//!   slot 2, level 1: runs the fork of (slot 1, level 1, place 4)   depth 2
//!   slot 1, level 1: runs the fork of (slot 0, level 0, place 7)   depth 1
//!   slot 0, level 0: root
//! ```
//!
//! A thread that waits for the fork or scope of a place may run whatever has that place among its ancestors ([`ancestors`]).
//!
//! # Words
//!
//! Each slot keeps one [`Lineage`]: for each level the origin of its run and where the slot's ring stood when the run began (its *base*),
//! and the innermost level. The owner writes them when a run begins or ends, never at a fork. A fork's level follows from its place in the
//! ring: it is the highest level whose base is not above that place ([`Lineage::place_at`]).
//!
//! # Why a reader may trust what it reads
//!
//! The reader is a thief, or somebody about to take an item by a compare-and-swap that fails if the item was touched meanwhile.
//!
//! - *While an item lies in a ring, the run that pushed it goes on, and so do all ancestors of that run*: each of them waits for what it
//!   has forked. So their levels stand, and the words of those levels do not change.
//! - The words were written before the item was pushed. The reader has acquired the push: through `ts`, through `bottom`, or through a deque. Each
//!   steal on the way acquired the push that it took, so all ancestors' words are visible too.
//! - *Newer* words of the same level come after the end of the run, thus after the item has left the ring. A reader whose compare-and-swap
//!   succeeds has read none of them.
//! - Levels above the item's may change at any time. Their bases are above the item as long as it lies there, so they are passed over.
//!
//! A reader whose compare-and-swap fails, or who only wants to know whether a look is worth while, may read words of different runs. Depths
//! decrease strictly along a chain, so that such a walk ends.

use crate::chunks::Chunks;
use crate::sync::{AtomicU64, AtomicUsize, Ordering};
use std::num::NonZeroU64;

#[cfg(all(test, loom))]
mod models;
#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;

/// What a run, or a scope's task, descends from directly: a place and its depth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// None at the root.
    place: Option<Place>,
    depth: u32,
}

/// A slot (23 bits), a number on it (23 bits), the level that made it (16 bits), and a bit that is always set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place(NonZeroU64);

const NUMBER_BITS: u32 = 23;
const LEVEL_BITS: u32 = 16;
const SLOT_SHIFT: u32 = NUMBER_BITS + LEVEL_BITS;
const IS_PLACE: NonZeroU64 = NonZeroU64::new(1 << 62).unwrap();

/// Runs that nest deeper count as the one below them: less may be run on their behalf than is permitted. Each takes more of the thread's stack
/// than this has bytes.
const MAX_LEVEL: usize = (1 << LEVEL_BITS) - 1;

const BASE_BITS: u32 = 16;
const _: () = assert!(crate::ring::CAPACITY < 1 << BASE_BITS);

impl Place {
    fn new(slot: usize, number: usize, level: usize) -> Self {
        debug_assert!(number < 1 << NUMBER_BITS && level <= MAX_LEVEL);
        let rest = (slot as u64) << SLOT_SHIFT | (level as u64) << NUMBER_BITS | number as u64;
        Place(IS_PLACE | rest)
    }

    /// The slot on which it is.
    pub(crate) fn slot(self) -> usize {
        ((self.0.get() & !IS_PLACE.get()) >> SLOT_SHIFT) as usize
    }

    fn level(self) -> usize {
        (self.0.get() >> NUMBER_BITS) as usize & MAX_LEVEL
    }

    /// As a word that is not 0, with its highest bit free.
    pub(crate) fn word(self) -> u64 {
        self.0.get()
    }
}

impl Origin {
    /// Of work that descends from nothing.
    pub(crate) const ROOT: Origin = Origin {
        place: None,
        depth: 0,
    };

    #[inline]
    pub(crate) fn is_root(self) -> bool {
        self.place.is_none()
    }

    /// None at the root.
    pub(crate) fn place(self) -> Option<Place> {
        self.place
    }
}

/// The runs of one slot. See the module.
#[derive(Default)]
pub(crate) struct Lineage {
    /// The innermost level. Written by the owner only.
    innermost: AtomicUsize,
    /// Level 1, the only one of a thread that does not run anything in its waits.
    first: Level,
    /// From level 2 on.
    further: Chunks<Level>,
}

/// One run. Written by the owner only, when the run begins.
#[derive(Default)]
struct Level {
    /// The place of its origin.
    parent: AtomicU64,
    /// The depth of its origin, and its base in the lowest [`BASE_BITS`].
    extent: AtomicU64,
}

impl Lineage {
    // ---- the owner ----

    /// Owner: a run begins that descends from `origin`, while the slot's ring has `base` places in use. It ends when the guard is dropped.
    #[inline(always)]
    pub(crate) fn begin(&self, origin: Origin, base: usize) -> Run<'_> {
        let outer = self.innermost.load(Ordering::Relaxed);
        if outer > 0 {
            return self.begin_nested(origin, base, outer);
        }
        if origin.is_root() {
            return Run {
                lineage: None,
                outer,
            };
        }
        self.begin_at(&self.first, origin, base, outer)
    }

    #[cold]
    fn begin_nested(&self, origin: Origin, base: usize, outer: usize) -> Run<'_> {
        if outer == MAX_LEVEL {
            return Run {
                lineage: None,
                outer,
            };
        }
        self.begin_at(self.further.get_or_grow(outer - 1), origin, base, outer)
    }

    #[inline(always)]
    fn begin_at(&self, level: &Level, origin: Origin, base: usize, outer: usize) -> Run<'_> {
        let parent = origin.place.map_or(0, Place::word);
        let extent = u64::from(origin.depth) << BASE_BITS | base as u64;
        // ORDERING: Relaxed: published by the pushes of the run, to those who acquire them.
        level.parent.store(parent, Ordering::Relaxed);
        level.extent.store(extent, Ordering::Relaxed);
        // ORDERING: Release pairs with the Acquire in `place_at`: who reads the level finds its base, or a later one.
        self.innermost.store(outer + 1, Ordering::Release);
        Run {
            lineage: Some(self),
            outer,
        }
    }

    /// Owner: the place of what the innermost run makes at `number` of the slot.
    pub(crate) fn place_of(&self, slot: usize, number: usize) -> Place {
        Place::new(slot, number, self.innermost.load(Ordering::Relaxed))
    }

    // ---- anybody ----

    /// The place of the fork that lies at `index` of the slot's ring. See the module for when it can be trusted.
    pub(crate) fn place_at(&self, slot: usize, index: usize) -> Place {
        // ORDERING: Acquire pairs with the Release in `begin`.
        let mut level = self.innermost.load(Ordering::Acquire);
        while level > 0 && self.level(level).is_none_or(|(_, base)| base > index) {
            level -= 1;
        }
        Place::new(slot, index, level)
    }

    /// What work descends from that is made at a place of this slot.
    pub(crate) fn origin(&self, place: Place) -> Origin {
        let depth = self
            .level(place.level())
            .map_or(0, |(origin, _)| origin.depth);
        Origin {
            place: Some(place),
            depth: depth + 1,
        }
    }

    /// The origin of the innermost run. A hint to anybody but the owner.
    pub(crate) fn innermost(&self) -> Origin {
        let level = self.innermost.load(Ordering::Acquire);
        self.level(level).map_or(Origin::ROOT, |(origin, _)| origin)
    }

    /// Origin and base of the run of a level; none at level 0.
    fn level(&self, level: usize) -> Option<(Origin, usize)> {
        let level = match level {
            0 => return None,
            1 => &self.first,
            _ => self.further.get(level - 2)?,
        };
        let extent = level.extent.load(Ordering::Relaxed);
        let origin = Origin {
            place: NonZeroU64::new(level.parent.load(Ordering::Relaxed)).map(Place),
            depth: (extent >> BASE_BITS) as u32,
        };
        Some((origin, extent as usize & ((1 << BASE_BITS) - 1)))
    }
}

/// A run that goes on. See [`Lineage::begin`].
pub(crate) struct Run<'a> {
    lineage: Option<&'a Lineage>,
    outer: usize,
}

impl Drop for Run<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Some(lineage) = self.lineage {
            // ORDERING: Relaxed: what is pushed from now on publishes it.
            lineage.innermost.store(self.outer, Ordering::Relaxed);
        }
    }
}

/// `origin` and all from which it descends, the nearest first, without the root.
pub(crate) fn ancestors<'a>(
    origin: Origin,
    lineage: impl Fn(usize) -> Option<&'a Lineage>,
) -> impl Iterator<Item = Origin> {
    let known = |origin: &Origin| !origin.is_root();
    std::iter::successors(
        Some(origin).filter(known),
        move |&Origin { place, depth }| {
            let place = place?;
            let (parent, _) = lineage(place.slot())?.level(place.level())?;
            (parent.depth < depth).then_some(parent).filter(known)
        },
    )
}

/// Whether `origin` is `ancestor` or descends from it.
pub(crate) fn descends<'a>(
    origin: Origin,
    ancestor: Origin,
    lineage: impl Fn(usize) -> Option<&'a Lineage>,
) -> bool {
    ancestors(origin, lineage)
        .take_while(|origin| origin.depth >= ancestor.depth)
        .any(|origin| origin == ancestor)
}
