//! Lineages: which work descends from which, and so what a waiting thread may run.
//!
//! # Runs and places
//!
//! A *run* is a stolen fork, or a task from a queue, that executes on some slot. Runs nest: a thread that waits in one run can begin
//! another. The nesting depth on that slot is the run's *level*. Level 0 stands for what the slot's thread does outside of any run.
//!
//! A *place* is where work comes from: a slot, the level of the run that made the work there, and a number. For a fork the number is its
//! place in the slot's ring. The number of an open scope is above all of those. A place belongs to one fork or scope while a thread waits for
//! that.
//!
//! An [`Origin`] is a place and its *depth*, the number of places in the chain from it to the root. The *origin under a place* is that place with its
//! depth. All work that descends directly from a place has the origin under it: the run of a stolen fork has the origin under the fork's place, and a
//! scope task has the origin under the scope's place. A place itself descends from the run that made it. So the ancestors of any work are a chain of
//! origins, from slot to slot:
//!
//! ```text
//!   slot 2, level 1: runs the fork of (slot 1, level 1, place 4)   depth 2
//!   slot 1, level 1: runs the fork of (slot 0, level 0, place 7)   depth 1
//!   slot 0, level 0: root
//! ```
//!
//! A thread that waits for the fork or scope of a place may run all work that has this place among its ancestors ([`ancestors`]).
//!
//! # Words
//!
//! Each slot keeps one [`Lineage`]. It holds the innermost level, and for each level the origin of its run, the run's [`Token`], and the depth of
//! the slot's ring when the run began (the *base*). The owner writes these words when a run begins or ends, never at a fork. The level of a
//! fork follows from its place in the ring: it is the highest level whose base is not above that place ([`Lineage::place_at`]).
//!
//! # Why a reader can trust what it reads
//!
//! The reader is about to take an item by a compare-and-swap that fails if the item has changed hands in the meantime.
//!
//! - *While an item is in a ring, the run that pushed it goes on, and so do all ancestors of that run*, because each of them waits for what it
//!   has forked. The words of their levels therefore do not change.
//! - These words were written before the item was pushed. The reader has acquired the push: through `ts`, through `bottom`, or through a deque.
//!   Each steal on the way acquired the push that it took, so that the words of all ancestors are visible too.
//! - *Newer* words of the same level are written after the end of the run, thus after the item has left the ring. A reader whose
//!   compare-and-swap succeeds has read none of them.
//! - Levels above that of the item can change at any time. Their bases are above the item while it is in the ring, so that the reader passes over
//!   them.
//!
//! A reader whose compare-and-swap fails, or that only looks for a hint, may read words of different runs. Its walk ends all the same, because
//! depths decrease strictly along a chain.

use crate::chunks::Chunks;
use crate::sleep::Waited;
use crate::sync::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::num::NonZeroU64;
use std::ptr;

#[cfg(all(test, heist_loom))]
mod models;
#[cfg(all(test, not(any(heist_loom, heist_shuttle))))]
mod tests;

/// The cancel token of a task, as an address. Only the layers above know what is there. All work that the task forks has the same token, on whichever
/// thread that work runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token(*const ());

// SAFETY: a token is an address, which this module never dereferences.
unsafe impl Send for Token {}
// SAFETY: a shared token only returns its address.
unsafe impl Sync for Token {}

impl Token {
    /// The token of work that has none.
    pub(crate) const NONE: Token = Token(ptr::null());

    pub(crate) fn new(address: *const ()) -> Self {
        Token(address)
    }

    /// The address, which is null if there is no token.
    pub(crate) fn address(self) -> *const () {
        self.0
    }
}

/// The place from which a run or a scope task descends directly, and the depth of that place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// `None` at the root.
    place: Option<Place>,
    /// The number of places in the chain down to the root, this one included.
    depth: u32,
}

/// A packed place: a slot (23 bits), a level (16 bits), a number (23 bits), and a bit that is always set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place(NonZeroU64);

const NUMBER_BITS: u32 = 23;
const LEVEL_BITS: u32 = 16;
const SLOT_SHIFT: u32 = NUMBER_BITS + LEVEL_BITS;
const IS_PLACE: NonZeroU64 = NonZeroU64::new(1 << 62).unwrap();

/// The highest level. Runs that nest deeper are not recorded and count as a part of the last recorded one, so that less may be run on their behalf
/// than is permitted. A stack that holds so many runs would be very large.
const MAX_LEVEL: usize = (1 << LEVEL_BITS) - 1;

const BASE_BITS: u32 = 16;
const _: () = assert!(crate::ring::CAPACITY < 1 << BASE_BITS);

impl Place {
    fn new(slot: usize, number: usize, level: usize) -> Self {
        debug_assert!(number < 1 << NUMBER_BITS && level <= MAX_LEVEL);
        let rest = (slot as u64) << SLOT_SHIFT | (level as u64) << NUMBER_BITS | number as u64;
        Place(IS_PLACE | rest)
    }

    /// Whether the place is that of a scope, whose number is above those of forks.
    pub(crate) fn is_scope(self) -> bool {
        self.number() > crate::ring::CAPACITY
    }

    /// The slot of the place.
    pub(crate) fn slot(self) -> usize {
        ((self.0.get() & !IS_PLACE.get()) >> SLOT_SHIFT) as usize
    }

    /// The number of the place: the index of a fork in the ring of its slot.
    pub(crate) fn number(self) -> usize {
        (self.0.get() & ((1 << NUMBER_BITS) - 1)) as usize
    }

    fn level(self) -> usize {
        (self.0.get() >> NUMBER_BITS) as usize & MAX_LEVEL
    }

    /// The place as a word that is at least 2^62, and whose highest bit is free.
    pub(crate) fn word(self) -> u64 {
        self.0.get()
    }

    /// The place that has this word. `None` for 0.
    pub(crate) fn from_word(word: u64) -> Option<Self> {
        NonZeroU64::new(word).map(Place)
    }
}

impl Origin {
    /// The origin of work that descends from nothing.
    pub(crate) const ROOT: Origin = Origin {
        place: None,
        depth: 0,
    };

    #[inline]
    pub(crate) fn is_root(self) -> bool {
        self.place.is_none()
    }

    /// What a report calls it if a thread waits for what descends from this origin.
    pub(crate) fn waited(self) -> Waited {
        self.place
            .map_or(Waited::EVENT, |place| Waited::place(place.word()))
    }

    /// The place, or `None` at the root.
    pub(crate) fn place(self) -> Option<Place> {
        self.place
    }
}

/// The runs of one slot. See the module.
#[derive(Default)]
pub(crate) struct Lineage {
    /// The innermost level. Written by the owner only.
    innermost: AtomicUsize,
    /// Level 1, the only level of a thread that runs nothing in its waits.
    first: Level,
    /// The levels from 2 on.
    further: Chunks<Level>,
}

/// The words of one run. Written by the owner only, when the run begins.
#[derive(Default)]
struct Level {
    /// The place of the run's origin.
    parent: AtomicU64,
    /// The depth of the run's origin, and in the lowest [`BASE_BITS`] the run's base.
    extent: AtomicU64,
    /// The run's token.
    token: AtomicPtr<()>,
}

impl Lineage {
    // ---- the owner ----

    /// Owner: begins a run that descends from `origin` and has this token, while the slot's ring has `base` places in use. The run ends when the
    /// guard is dropped.
    #[inline(always)]
    pub(crate) fn begin(&self, origin: Origin, token: Token, base: usize) -> Run<'_> {
        let outer = self.innermost.load(Ordering::Relaxed);
        if outer > 0 {
            return self.begin_nested(origin, token, base, outer);
        }
        if origin.is_root() && token == Token::NONE {
            return Run(None);
        }
        self.begin_at(&self.first, origin, token, base, outer)
    }

    #[cold]
    fn begin_nested(&self, origin: Origin, token: Token, base: usize, outer: usize) -> Run<'_> {
        if outer == MAX_LEVEL {
            return Run(None);
        }
        let level = self.further.get_or_grow(outer - 1);
        self.begin_at(level, origin, token, base, outer)
    }

    #[inline(always)]
    fn begin_at(
        &self,
        level: &Level,
        origin: Origin,
        token: Token,
        base: usize,
        outer: usize,
    ) -> Run<'_> {
        let parent = origin.place.map_or(0, Place::word);
        let extent = u64::from(origin.depth) << BASE_BITS | base as u64;
        // ORDERING: Relaxed: the pushes of the run publish the words to the threads that acquire these pushes.
        level.parent.store(parent, Ordering::Relaxed);
        level.extent.store(extent, Ordering::Relaxed);
        level.token.store(token.0.cast_mut(), Ordering::Relaxed);
        // ORDERING: Release pairs with the Acquire in `place_at`: a thread that reads the level sees its base, or a later one.
        self.innermost.store(outer + 1, Ordering::Release);
        Run(Some((self, outer)))
    }

    /// Owner: the place of the fork or scope that the innermost run makes on this slot under this number.
    pub(crate) fn own_place(&self, slot: usize, number: usize) -> Place {
        Place::new(slot, number, self.innermost.load(Ordering::Relaxed))
    }

    // ---- anybody ----

    /// The place of the fork at `index` of the slot's ring. The module states when the answer can be trusted.
    pub(crate) fn place_at(&self, slot: usize, index: usize) -> Place {
        // ORDERING: Acquire pairs with the Release in `begin`.
        let mut level = self.innermost.load(Ordering::Acquire);
        while level > 0 && self.run(level).is_none_or(|(_, base)| base > index) {
            level -= 1;
        }
        Place::new(slot, index, level)
    }

    /// The token of work that was made at a place of this slot.
    pub(crate) fn token(&self, place: Place) -> Token {
        let level = self.level(place.level());
        level.map_or(Token::NONE, |level| {
            Token(level.token.load(Ordering::Relaxed))
        })
    }

    /// The origin under a place of this slot.
    pub(crate) fn origin(&self, place: Place) -> Origin {
        let run = self.run(place.level());
        let depth = run.map_or(0, |(origin, _)| origin.depth);
        Origin {
            place: Some(place),
            depth: depth + 1,
        }
    }

    /// The origin of the innermost run. A hint to anybody but the owner.
    pub(crate) fn innermost(&self) -> Origin {
        let level = self.innermost.load(Ordering::Acquire);
        self.run(level).map_or(Origin::ROOT, |(origin, _)| origin)
    }

    /// The origins of the runs that go on, the outermost first. A hint to anybody but the owner.
    pub(crate) fn runs(&self) -> impl Iterator<Item = Origin> {
        let innermost = self.innermost.load(Ordering::Acquire);
        (1..=innermost).filter_map(|level| Some(self.run(level)?.0))
    }

    /// The words of a level. Level 0 has none.
    fn level(&self, level: usize) -> Option<&Level> {
        match level {
            0 => None,
            1 => Some(&self.first),
            _ => self.further.get(level - 2),
        }
    }

    /// The origin and the base of the run of a level. Level 0 has none.
    fn run(&self, level: usize) -> Option<(Origin, usize)> {
        let level = self.level(level)?;
        let extent = level.extent.load(Ordering::Relaxed);
        let origin = Origin {
            place: NonZeroU64::new(level.parent.load(Ordering::Relaxed)).map(Place),
            depth: (extent >> BASE_BITS) as u32,
        };
        Some((origin, extent as usize & ((1 << BASE_BITS) - 1)))
    }
}

/// A run that goes on: its slot's lineage and the level outside of it, or nothing if no level was used for it. See [`Lineage::begin`].
pub(crate) struct Run<'a>(Option<(&'a Lineage, usize)>);

impl Drop for Run<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Some((lineage, outer)) = self.0 {
            // ORDERING: Relaxed: the next push publishes it.
            lineage.innermost.store(outer, Ordering::Relaxed);
        }
    }
}

/// `origin` and all origins from which it descends, the nearest first, without the root.
pub(crate) fn ancestors<'a>(
    origin: Origin,
    lineage: impl Fn(usize) -> Option<&'a Lineage>,
) -> impl Iterator<Item = Origin> {
    let known = |origin: &Origin| !origin.is_root();
    std::iter::successors(
        Some(origin).filter(known),
        move |&Origin { place, depth }| {
            let place = place?;
            let (parent, _) = lineage(place.slot())?.run(place.level())?;
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
