//! Which tasks are measured: how long they wait in a queue, and how long they run.
//!
//! A measured task carries the time at which it was queued in its own block, and its runner counts on its own slot. So a task that is not measured
//! costs a test of a word that its runner reads anyway.

use super::config::Timing;
use crate::sync::MODEL;

/// With [`Timing::Sampled`], one task in this many is measured, once its submitter has submitted [`FIRST`]. A measurement takes three readings of
/// the clock and some stores, 15 to 20 ns.
const SAMPLE: u64 = 16;

/// The first this many tasks of each thread of the pool, and of all threads outside together, are all measured, so that a program with few
/// tasks sees something.
const FIRST: u64 = 64;

/// The rule by which a pool chooses the tasks that it measures.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sampling {
    /// The tasks with lower numbers are measured.
    first: u64,
    /// The later tasks are measured if these bits of their numbers are all set.
    mask: u64,
}

impl Sampling {
    pub(super) fn new(timing: Timing) -> Self {
        // Models have no time to measure.
        let (first, mask) = match timing {
            _ if MODEL => (0, u64::MAX),
            Timing::Off => (0, u64::MAX),
            Timing::Sampled => (FIRST, SAMPLE - 1),
            Timing::All => (u64::MAX, 0),
        };
        Sampling { first, mask }
    }

    /// Whether to measure a task. `before` is the number of tasks that were submitted before it, by the same thread of the pool or by all
    /// threads outside.
    #[inline]
    pub(crate) fn measures(self, before: u64) -> bool {
        before < self.first || before & self.mask == self.mask
    }

    /// Whether to measure the task of this number in a batch, which counts from 0.
    #[inline]
    pub(crate) fn measures_in_batch(self, number: usize) -> bool {
        self.first > 0 && number as u64 & self.mask == 0
    }

    /// Whether every task is measured.
    pub(crate) fn measures_all(self) -> bool {
        self.mask == 0
    }
}
