//! The loop of all maps: `join` splits the input in halves, down to pieces that are worth a fork.
//!
//! A fork costs a few nanoseconds. A piece should take a few hundred times as long and no longer, so that a cluster of costly items is not one piece. The
//! cost of items is measured: each thread keeps a [`GrainSize`], the number of items that took about [`PIECE`] when the thread last read the clock.
//!
//! While the size is unknown, a thread peels pieces off the front, the first of one item; the rest can be stolen meanwhile. Once the size is known, the
//! thread halves its part, and reads the clock at every eighth piece. A thief begins with a size of its own, because items elsewhere can have another cost.
//! It halves the part that it has stolen once before it peels, so that it leaves half of the part to the next thief. A part that is only peeled would go
//! from thief to thief as a whole.

use super::Source;
use crate::fork::join;
use crate::pool::{Registry, context, worker};
use crate::ring::Ring;
use crate::sync::{
    Ordering,
    hint::{AtomicBool, AtomicUsize},
};
use crate::sys;
use std::iter::Take;
use std::marker::PhantomData;

/// How long a piece should take, in [`sys::ticks`]: about 1 us, which is some 300 forks (bench `map`, 2026-11).
const PIECE: u64 = sys::TICKS_PER_MICROSECOND;

/// A piece that takes longer than this has costlier items than those by which it was sized.
const LATE: u64 = 4 * PIECE;

/// The cost of reading the clock twice, in ticks. A shorter piece cannot be measured.
const CLOCK: u64 = 16 * sys::TICKS_PER_MICROSECOND / 1_000;

/// The greatest factor by which a size grows at a time, because one cheap item says little about the next.
const GROWTH: usize = 32;

/// The least number of items of a piece that runs in eighths.
const EIGHTHS: usize = 32;

/// How many pieces are not timed after each one that is, once the size is known.
const TIMED_TURN: usize = 7;

/// A part of the input: `len` items, the first of which is number `offset` of the whole input.
pub(super) struct Part<S> {
    source: S,
    pub(super) offset: usize,
    pub(super) len: usize,
}

impl<S: Source> Part<S> {
    /// Returns an iterator over at most `len` items, even if the source yields more.
    pub(super) fn items(self) -> Take<S::Iter> {
        self.source.into_seq().take(self.len)
    }

    fn split_at(self, index: usize) -> (Self, Self) {
        let (left, right) = self.source.split_at(index);
        let left = Part {
            source: left,
            offset: self.offset,
            len: index,
        };
        let right = Part {
            source: right,
            offset: self.offset + index,
            len: self.len - index,
        };
        (left, right)
    }
}

/// Runs all items of `source` on the calling thread and whichever threads of the pool take part.
///
/// `piece` runs a part that is not split further, `merge` combines the outputs of neighbours, and `skip` returns the output of a part that begins
/// at an offset and need not run any more. The closures are dropped while the output still has an owner: if a destructor panics, the output is
/// dropped rather than leaked.
pub(super) fn drive<S, R, P, M, K>(registry: &Registry, source: S, piece: P, merge: M, skip: K) -> R
where
    S: Source,
    R: Send,
    P: Fn(Part<S>) -> R + Sync,
    M: Fn(R, R) -> R + Sync,
    K: Fn(usize) -> Option<R> + Sync,
{
    let plan = Plan {
        piece,
        merge,
        skip,
        min: source.min_len(),
        max: source.max_len(),
        marker: PhantomData,
    };
    let out = worker::as_part(registry, |_| {
        let part = Part {
            offset: 0,
            len: source.len(),
            source,
        };
        plan.halve(part, &GrainSize::new())
    });
    drop(plan);
    out
}

/// What [`drive`] does with the parts, and the bounds on their lengths.
struct Plan<S, P, M, K> {
    piece: P,
    merge: M,
    skip: K,
    min: usize,
    max: usize,
    marker: PhantomData<fn(S)>,
}

impl<S, R, P, M, K> Plan<S, P, M, K>
where
    S: Source,
    R: Send,
    P: Fn(Part<S>) -> R + Sync,
    M: Fn(R, R) -> R + Sync,
    K: Fn(usize) -> Option<R> + Sync,
{
    fn halve(&self, part: Part<S>, grain: &GrainSize) -> R {
        if let Some(out) = (self.skip)(part.offset) {
            return out;
        }
        let len = part.len;
        let whole = len <= grain.items() && len <= self.max;
        if whole || len < 2 || len / 2 < self.min {
            let (out, rest) = grain.time(len, || self.run(part));
            return match rest {
                None => out,
                Some(rest) => {
                    // A thread asks for work, and the piece has taken longer than expected: measure again.
                    grain.forget();
                    (self.merge)(out, self.halve(rest, grain))
                }
            };
        }
        let middle = if grain.is_known() || grain.is_fresh() {
            len / 2
        } else {
            grain.items().clamp(self.min, len / 2)
        };
        let (left, right) = part.split_at(middle);
        if let Some(line) = context::line() {
            line.hint(len.ilog2());
        }
        let (left, right) = join(
            || self.halve(left, grain),
            || {
                if grain.is_here() {
                    self.halve(right, grain)
                } else {
                    self.halve(right, &GrainSize::of_stolen())
                }
            },
        );
        (self.merge)(left, right)
    }

    /// Runs a piece; one of many items in eighths. If the piece takes much longer than it should and a thread asks for work, the rest is returned.
    fn run(&self, part: Part<S>) -> (R, Option<Part<S>>) {
        let block = (part.len / 8).max(self.min);
        if part.len < EIGHTHS || part.len / 2 < block {
            return ((self.piece)(part), None);
        }
        let start = sys::ticks();
        let (first, mut rest) = part.split_at(block);
        let mut out = (self.piece)(first);
        while rest.len / 2 >= block {
            let asked = context::ring_in_use().is_some_and(Ring::owner_sees_request);
            if asked && sys::ticks().saturating_sub(start) > LATE {
                return (out, Some(rest));
            }
            let (next, after) = rest.split_at(block);
            out = (self.merge)(out, (self.piece)(next));
            rest = after;
        }
        ((self.merge)(out, (self.piece)(rest)), None)
    }
}

/// The number of items that make a piece, as one thread has measured it.
///
/// The fields are atomic only because the closure that can be stolen holds a reference. A thief creates a size of its own.
struct GrainSize {
    /// The address of the ring of the thread that measures.
    home: usize,
    items: AtomicUsize,
    /// The number of pieces until one is timed, or [`LEARNING`].
    turns: AtomicUsize,
    /// Whether the thread has not yet halved the part that it has stolen.
    fresh: AtomicBool,
}

/// The size is unknown, so each piece is timed.
const LEARNING: usize = usize::MAX;

impl GrainSize {
    fn new() -> Self {
        GrainSize {
            home: Self::here(),
            items: AtomicUsize::new(1),
            turns: AtomicUsize::new(LEARNING),
            fresh: AtomicBool::new(false),
        }
    }

    fn of_stolen() -> Self {
        GrainSize {
            fresh: AtomicBool::new(true),
            ..Self::new()
        }
    }

    /// Returns whether this is the first part of a thief. Returns true once.
    fn is_fresh(&self) -> bool {
        self.fresh.load(Ordering::Relaxed) && {
            self.fresh.store(false, Ordering::Relaxed);
            true
        }
    }

    fn here() -> usize {
        context::ring_in_use().map_or(0, |ring| std::ptr::from_ref(ring).addr())
    }

    fn is_here(&self) -> bool {
        self.home == Self::here()
    }

    fn items(&self) -> usize {
        self.items.load(Ordering::Relaxed)
    }

    fn is_known(&self) -> bool {
        self.turns.load(Ordering::Relaxed) != LEARNING
    }

    fn forget(&self) {
        self.items.store(1, Ordering::Relaxed);
        self.turns.store(LEARNING, Ordering::Relaxed);
    }

    /// Runs a piece of `len` items, and adjusts the size by its duration if the piece is timed.
    #[inline(always)]
    fn time<R>(&self, len: usize, piece: impl FnOnce() -> R) -> R {
        let turns = self.turns.load(Ordering::Relaxed);
        if turns != LEARNING && (turns > 0 || len < self.items() / 2) {
            self.turns.store(turns.saturating_sub(1), Ordering::Relaxed);
            return piece();
        }
        let start = sys::ticks();
        let result = piece();
        self.learn(len, sys::ticks().saturating_sub(start));
        result
    }

    fn learn(&self, len: usize, took: u64) {
        let most = self.items().saturating_mul(GROWTH);
        // At least 1, because a piece can take less time than reading the clock.
        let cost = took.saturating_sub(CLOCK).max(1);
        let fitting = (len as u64).saturating_mul(PIECE) / cost;
        let items = usize::try_from(fitting).unwrap_or(most).clamp(1, most);
        let known = items < most || took > PIECE / 4;
        self.items.store(items, Ordering::Relaxed);
        let turns = if known { TIMED_TURN } else { LEARNING };
        self.turns.store(turns, Ordering::Relaxed);
    }
}
