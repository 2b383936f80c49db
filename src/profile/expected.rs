//! What a thread expects of a `join`, by its place and depth.

use super::site::mixed;
use std::cell::RefCell;

/// The number of places and depths that a thread remembers.
const KEYS: usize = 1 << KEY_BITS;
const KEY_BITS: u32 = 10;

/// Of this many short joins, one is measured in full.
const SAMPLE: u32 = 1024;

/// A join is not skipped before so many of its kind were measured.
const LEARNT: u32 = 3;

/// After a join that takes so many times the resolution, the next ones of its kind are measured, and so many of them.
const SURPRISE: u64 = 8;
const PATIENCE: u32 = 64;

/// What is known of the joins at one place and depth.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    tag: u64,
    /// The expected work in nanoseconds.
    work: u64,
    /// How many were measured.
    seen: u32,
    /// How many are measured before one is skipped.
    patience: u32,
    /// The work and the span of the measured ones.
    measured: (u64, u64),
}

struct Table {
    /// The number of the profile that the table belongs to.
    profile: u64,
    known: Box<[Known; KEYS]>,
    /// How many joins were left unmeasured.
    skipped: u32,
}

std::thread_local! {
    static TABLE: RefCell<Option<Table>> = const { RefCell::new(None) };
}

/// A place and a depth.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key(u64);

/// What to do with a join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    Measure,
    /// Measure it and all joins in it.
    MeasureInFull,
    /// Run it as one strand.
    Skip,
}

impl Key {
    pub(super) fn new(site: u64, depth: u32) -> Self {
        // Not 0, which is the tag of an empty place.
        Key(mixed(site, u64::from(depth)) | 1)
    }

    fn index(self) -> usize {
        (self.0 >> (u64::BITS - KEY_BITS)) as usize
    }

    fn with<R>(self, profile: u64, f: impl FnOnce(&mut Known, &mut u32) -> R) -> Option<R> {
        TABLE
            .try_with(|table| {
                let mut table = table.try_borrow_mut().ok()?;
                if table.as_ref().is_none_or(|table| table.profile != profile) {
                    *table = Some(Table {
                        profile,
                        known: Box::new([Known::default(); KEYS]),
                        skipped: 0,
                    });
                }
                let table = table.as_mut()?;
                let known = &mut table.known[self.index()];
                if known.tag != self.0 {
                    let tag = self.0;
                    *known = Known {
                        tag,
                        ..Known::default()
                    };
                }
                Some(f(known, &mut table.skipped))
            })
            .ok()
            .flatten()
    }

    /// What to do with a join that is to be measured if it takes at least `resolution` nanoseconds.
    #[inline]
    pub(super) fn decide(self, profile: u64, resolution: u64) -> Decision {
        let decision = self.with(profile, |known, skipped| {
            if known.seen < LEARNT || known.patience > 0 || known.work >= resolution {
                return Decision::Measure;
            }
            *skipped = skipped.wrapping_add(1);
            if skipped.is_multiple_of(SAMPLE) {
                Decision::MeasureInFull
            } else {
                Decision::Skip
            }
        });
        decision.unwrap_or(Decision::Measure)
    }

    /// Learns from a join that was measured.
    #[inline]
    pub(super) fn measured(self, profile: u64, resolution: u64, work: u64, span: u64) {
        self.with(profile, |known, _| {
            known.work = if known.seen == 0 {
                work
            } else {
                mean(known.work, work)
            };
            known.seen = known.seen.saturating_add(1);
            known.patience = if work > SURPRISE * resolution {
                PATIENCE
            } else {
                known.patience.saturating_sub(1)
            };
            known.measured.0 += work;
            known.measured.1 += span;
        });
    }

    /// Learns from a join that ran as one strand. Returns an estimate of its span.
    #[inline]
    pub(super) fn skipped(self, profile: u64, work: u64, resolution: u64) -> u64 {
        let span = self.with(profile, |known, _| {
            known.work = mean(known.work, work);
            if work > SURPRISE * resolution {
                known.patience = PATIENCE;
            }
            let (measured, span) = known.measured;
            if measured == 0 {
                return work;
            }
            share(work, span, measured)
        });
        span.unwrap_or(work).min(work)
    }
}

/// A mean in which new values count an eighth.
fn mean(old: u64, new: u64) -> u64 {
    old - old / 8 + new / 8
}

/// `time * part / whole`, at most `time`. `part` is at most `whole`.
#[inline]
pub(super) fn share(time: u64, part: u64, whole: u64) -> u64 {
    ((time as f64 * (part as f64 / whole as f64)) as u64).min(time)
}
