//! The clock of a record: the time stamp counter where all processors agree on it, or else the clock of the system. All records of a process count from
//! the same moment.

use crate::sys;
use std::sync::OnceLock;

/// Two readings at the same moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    /// The clock of the record.
    pub(crate) ticks: u64,
    /// The system's monotonic clock in nanoseconds.
    pub(crate) nanos: u64,
}

/// A clock, and the reading at which it began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    /// What the counter showed at tick 0.
    origin: u64,
    uses_counter: bool,
    /// The monotonic clock at tick 0.
    nanos: u64,
}

/// How often a pair of readings is tried. The one that took least time counts.
const TRIES: usize = 5;

impl Clock {
    /// The clock of this process.
    pub(super) fn get() -> Clock {
        static CLOCK: OnceLock<Clock> = OnceLock::new();
        *CLOCK.get_or_init(|| {
            let clock = Clock {
                origin: 0,
                uses_counter: sys::counter_is_steady(),
                nanos: 0,
            };
            let begin = clock.reading();
            Clock {
                origin: begin.ticks,
                nanos: begin.nanos,
                ..clock
            }
        })
    }

    /// The time in ticks.
    #[inline]
    pub(super) fn now(&self) -> u64 {
        let now = if self.uses_counter {
            sys::ticks()
        } else {
            sys::monotonic_ns()
        };
        now.wrapping_sub(self.origin)
    }

    /// Reads both clocks.
    pub(super) fn reading(&self) -> Reading {
        let tries = (0..TRIES).map(|_| {
            let before = self.now();
            let nanos = sys::monotonic_ns();
            let after = self.now();
            let ticks = before + after.wrapping_sub(before) / 2;
            (after.wrapping_sub(before), Reading { ticks, nanos })
        });
        let (_, best) = tries
            .min_by_key(|&(took, _)| took)
            .expect("more than no try");
        best
    }

    /// A function from ticks to nanoseconds of the monotonic clock, which is exact at `end`.
    pub(super) fn scale(&self, end: Reading) -> impl Fn(u64) -> u64 + use<> {
        let (ticks, nanos) = (end.ticks.max(1), end.nanos.saturating_sub(self.nanos));
        let (uses_counter, base) = (self.uses_counter, self.nanos);
        move |at| {
            if !uses_counter {
                return base + at;
            }
            let passed = u128::from(at) * u128::from(nanos) / u128::from(ticks);
            base + u64::try_from(passed).unwrap_or(u64::MAX)
        }
    }

    /// About how many ticks a duration in nanoseconds has.
    pub(super) fn ticks_of(&self, nanos: u64) -> u64 {
        if !self.uses_counter {
            return nanos;
        }
        (u128::from(nanos) * u128::from(sys::TICKS_PER_MICROSECOND) / 1_000) as u64
    }
}
