//! The one loop under `map` and its kin: cut in halves by `join`, down to pieces that are worth a fork.
//!
//! A fork costs a few nanoseconds, so a piece should take a few hundred times that and no longer, lest a costly cluster of items
//! lie in one piece. What items cost is measured: each thread keeps a [`Pace`], the number of items that took
//! about [`PIECE`] when it last looked at the clock, and looks at every eighth piece. It starts with one item, and from there
//! whenever a thread has stolen: items in another place may cost something else.

use super::Source;
use crate::fork::join;
use crate::pool::context;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// What a piece should take: some 300 forks, so that forks cost less than 1 % (measured 2026-11 by the bench `map`).
const PIECE: Duration = Duration::from_nanos(1_000);

/// A pace grows at most by this factor at a time: a clock's tick says little about one cheap item.
const GROWTH: usize = 16;

/// One piece in so many is timed while the pace is steady.
const TIMED_TURN: usize = 8;

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
        return pace.time(len, || plan.piece(source, offset, len));
    }
    let middle = len / 2;
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
                halve(right, bounds, plan, &Pace::new())
            }
        },
    );
    plan.merge(left, right)
}

/// How many items make a piece, as one thread has learned it. Atomics only because the closure that may be stolen
/// holds a reference; whoever steals makes a pace of its own.
struct Pace {
    /// The ring of the thread that the pace belongs to.
    home: usize,
    items: AtomicUsize,
    /// Pieces until the next look at the clock.
    turns: AtomicUsize,
}

impl Pace {
    fn new() -> Self {
        Pace {
            home: Self::here(),
            items: AtomicUsize::new(1),
            turns: AtomicUsize::new(0),
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

    /// Runs a piece of `len` items, and sometimes learns from it.
    #[inline(always)]
    fn time<R>(&self, len: usize, piece: impl FnOnce() -> R) -> R {
        let items = self.items();
        let turns = self.turns.load(Ordering::Relaxed);
        if turns > 0 || len < items / 2 {
            self.turns.store(turns.saturating_sub(1), Ordering::Relaxed);
            return piece();
        }
        let start = Instant::now();
        let result = piece();
        self.learn(len, items, start.elapsed());
        result
    }

    #[cold]
    fn learn(&self, len: usize, items: usize, took: Duration) {
        let nanos = usize::try_from(took.as_nanos())
            .unwrap_or(usize::MAX)
            .max(1);
        let fitting = len.saturating_mul(PIECE.as_nanos() as usize) / nanos;
        let items = fitting.clamp(1, items * GROWTH);
        let steady = fitting <= items;
        self.items.store(items, Ordering::Relaxed);
        self.turns.store(
            if steady && items > 1 { TIMED_TURN } else { 0 },
            Ordering::Relaxed,
        );
    }
}
