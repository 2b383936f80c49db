//! The one loop under `map` and its kin: cut in halves by `join`, down to pieces that are worth a fork.
//!
//! A fork costs a few nanoseconds, so a piece should take a few hundred times that and no longer, lest a costly cluster of items
//! lie in one piece. What items cost is measured: each thread keeps a [`Pace`], the number of items that took
//! about [`PIECE`] when it last looked at the clock. A new pace peels pieces off the front, the first of one item, until it knows;
//! the rest can be stolen meanwhile. Then it halves, and looks at the clock at every eighth piece. A thread that
//! steals begins a pace of its own: items in another place may cost something else. It halves the part that it has stolen once before it peels,
//! so that each steal leaves half of what there was to the next thief: parts that are only peeled go from thief to thief as one.

use super::Source;
use crate::fork::join;
use crate::pool::context;
use crate::ring::Ring;
use crate::sys;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// What a piece should take, in [`sys::ticks`]: about 1 us, some 300 forks (measured 2026-11 by the bench `map`).
const PIECE: u64 = sys::TICKS_PER_MICROSECOND;

/// A piece that takes this long has met other items than those it was measured by.
const LATE: u64 = 4 * PIECE;

/// What looking at the clock twice costs, in ticks. A piece that seems to take less says only that it is short.
const CLOCK: u64 = 16 * sys::TICKS_PER_MICROSECOND / 1_000;

/// A pace grows at most by this factor at a time: one cheap item says little about the next.
const GROWTH: usize = 32;

/// A piece of so many items is run in eighths.
const EIGHTHS: usize = 32;

/// So many pieces are not timed after one that was, once the pace is known.
const TIMED_TURN: usize = 7;

/// What becomes of the pieces.
pub(super) trait Plan<S: Source>: Sync {
    /// What a piece yields.
    type Out: Send;

    /// Runs the first `len` items of `part`, the first of which is number `offset` of all.
    fn piece(&self, part: S, offset: usize, len: usize) -> Self::Out;

    /// Puts neighbours together.
    fn merge(&self, left: Self::Out, right: Self::Out) -> Self::Out;

    /// Instead of a piece, if nothing more needs to run.
    fn skip(&self, offset: usize) -> Option<Self::Out>;
}

/// Runs all items of `source`.
pub(super) fn drive<S: Source, P: Plan<S>>(source: S, plan: &P) -> P::Out {
    let len = source.len();
    let bounds = Bounds {
        min: source.min_len(),
        max: source.max_len(),
    };
    let part = Part {
        source,
        offset: 0,
        len,
    };
    halve(part, bounds, plan, &Pace::new())
}

#[derive(Clone, Copy)]
struct Bounds {
    min: usize,
    max: usize,
}

struct Part<S> {
    source: S,
    offset: usize,
    len: usize,
}

fn halve<S: Source, P: Plan<S>>(part: Part<S>, bounds: Bounds, plan: &P, pace: &Pace) -> P::Out {
    let Part {
        source,
        offset,
        len,
    } = part;
    if let Some(out) = plan.skip(offset) {
        return out;
    }
    let whole = len <= pace.items() && len <= bounds.max;
    if whole || len < 2 || len / 2 < bounds.min {
        let part = Part {
            source,
            offset,
            len,
        };
        let (out, rest) = pace.time(len, || piece(part, bounds, plan));
        return match rest {
            None => out,
            Some(rest) => {
                // Somebody wants work while what looked like a piece still has some: find out again what items cost.
                pace.forget();
                plan.merge(out, halve(rest, bounds, plan, pace))
            }
        };
    }
    let middle = if pace.is_known() || pace.is_fresh() {
        len / 2
    } else {
        pace.items().clamp(bounds.min, len / 2)
    };
    let (left, right) = source.split_at(middle);
    let left = Part {
        source: left,
        offset,
        len: middle,
    };
    let right = Part {
        source: right,
        offset: offset + middle,
        len: len - middle,
    };
    let (left, right) = join(
        || halve(left, bounds, plan, pace),
        || {
            if pace.is_here() {
                halve(right, bounds, plan, pace)
            } else {
                halve(right, bounds, plan, &Pace::of_stolen())
            }
        },
    );
    plan.merge(left, right)
}

/// Runs a piece, one of many items in eighths: when somebody asks for work although the piece has lasted much longer than it
/// should, the rest is returned.
fn piece<S: Source, P: Plan<S>>(
    part: Part<S>,
    bounds: Bounds,
    plan: &P,
) -> (P::Out, Option<Part<S>>) {
    let Part {
        mut source,
        mut offset,
        mut len,
    } = part;
    let block = (len / 8).max(bounds.min);
    if len < EIGHTHS || len / 2 < block {
        return (plan.piece(source, offset, len), None);
    }
    let start = sys::ticks();
    let (first, rest) = source.split_at(block);
    let mut out = plan.piece(first, offset, block);
    (source, offset, len) = (rest, offset + block, len - block);
    while len / 2 >= block {
        let asked = context::ring().is_some_and(Ring::is_asked);
        if asked && sys::ticks().saturating_sub(start) > LATE {
            let rest = Part {
                source,
                offset,
                len,
            };
            return (out, Some(rest));
        }
        let (next, rest) = source.split_at(block);
        out = plan.merge(out, plan.piece(next, offset, block));
        (source, offset, len) = (rest, offset + block, len - block);
    }
    (plan.merge(out, plan.piece(source, offset, len)), None)
}

/// How many items make a piece, as one thread has learned it. Atomics only because the closure that may be stolen
/// holds a reference; whoever steals makes a pace of its own.
struct Pace {
    /// The ring of the thread that the pace belongs to.
    home: usize,
    items: AtomicUsize,
    /// Pieces until the next look at the clock; [`LEARNING`]: the next one.
    turns: AtomicUsize,
    /// A stolen part that has not been halved yet.
    fresh: AtomicBool,
}

/// The pace is not known yet.
const LEARNING: usize = usize::MAX;

impl Pace {
    fn new() -> Self {
        Pace {
            home: Self::here(),
            items: AtomicUsize::new(1),
            turns: AtomicUsize::new(LEARNING),
            fresh: AtomicBool::new(false),
        }
    }

    fn of_stolen() -> Self {
        Pace {
            fresh: AtomicBool::new(true),
            ..Self::new()
        }
    }

    /// Whether this is the first part of a thief, which asks once.
    fn is_fresh(&self) -> bool {
        self.fresh.load(Ordering::Relaxed) && {
            self.fresh.store(false, Ordering::Relaxed);
            true
        }
    }

    fn here() -> usize {
        context::ring().map_or(0, |ring| std::ptr::from_ref(ring).addr())
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

    /// Runs a piece of `len` items, and sometimes learns from it.
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
        // A piece that takes less than the look at it may be of any number of items.
        let cost = took.saturating_sub(CLOCK).max(1);
        let fitting = (len as u64).saturating_mul(PIECE) / cost;
        let items = usize::try_from(fitting).unwrap_or(most).clamp(1, most);
        let known = items < most || took > PIECE / 4;
        self.items.store(items, Ordering::Relaxed);
        let turns = if known { TIMED_TURN } else { LEARNING };
        self.turns.store(turns, Ordering::Relaxed);
    }
}
