//! The clock of measurements and records: one for all threads and pools of the process, which orders nothing.
//!
//! The clock counts ticks of the processor where these have the same length at all times, which takes about half as long as asking the system, and else
//! the system's nanoseconds. There are two ways to read it. [`Clock::now`] returns ticks, at the least cost: a record keeps them, and learns their
//! length from a second [`Reading`] when it is copied. [`now_ns`] returns nanoseconds at once, for durations that are wanted immediately. It
//! measures the length of a tick against the system's clock, and until that is known it asks the system.

use crate::sys;
use std::sync::OnceLock;

/// Two readings at the same moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    /// The clock, in ticks.
    pub(crate) ticks: u64,
    /// The system's monotonic clock, in nanoseconds.
    pub(crate) nanos: u64,
}

/// The clock, and the reading at which it began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
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
    pub(crate) fn get() -> Clock {
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
    pub(crate) fn now(&self) -> u64 {
        let now = if self.uses_counter {
            sys::ticks()
        } else {
            sys::monotonic_ns()
        };
        now.wrapping_sub(self.origin)
    }

    /// Reads both clocks.
    pub(crate) fn reading(&self) -> Reading {
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
    pub(crate) fn scale(&self, end: Reading) -> impl Fn(u64) -> u64 + use<> {
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
    pub(crate) fn ticks_of(&self, nanos: u64) -> u64 {
        if !self.uses_counter {
            return nanos;
        }
        (u128::from(nanos) * u128::from(sys::TICKS_PER_MICROSECOND) / 1_000) as u64
    }
}

#[cfg(all(target_arch = "x86_64", not(any(miri, heist_shuttle))))]
pub(crate) use scaled::now_ns;

/// The time in nanoseconds since some moment in the life of the process.
#[cfg(not(all(target_arch = "x86_64", not(any(miri, heist_shuttle)))))]
pub(crate) use crate::sys::ticks as now_ns;

#[cfg(all(target_arch = "x86_64", not(any(miri, heist_shuttle))))]
mod scaled {
    use super::Clock;
    use crate::sys;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// The length of a tick in nanoseconds, times 2^32. 0 while it is not known.
    static TICK: AtomicU64 = AtomicU64::new(0);

    /// The clock's origin. Written before `TICK`.
    static ORIGIN: AtomicU64 = AtomicU64::new(0);

    /// A tick is measured over at least this time, in nanoseconds, so that its error is below 1 in 10,000.
    const BASELINE: u64 = 20_000_000;

    /// The time in nanoseconds since some moment in the life of the process.
    #[inline]
    pub(crate) fn now_ns() -> u64 {
        // ORDERING: Acquire pairs with the Release in `measure`: `ORIGIN` is visible.
        let tick = TICK.load(Ordering::Acquire);
        if tick == 0 {
            return measure();
        }
        let passed = sys::ticks().wrapping_sub(ORIGIN.load(Ordering::Relaxed));
        ((u128::from(passed) * u128::from(tick)) >> 32) as u64
    }

    /// Asks the system, and measures the length of a tick if enough time has passed.
    #[cold]
    fn measure() -> u64 {
        let clock = Clock::get();
        let since_begin = |nanos: u64| nanos.saturating_sub(clock.nanos);
        let passed = since_begin(sys::monotonic_ns());
        if !clock.uses_counter || passed < BASELINE {
            return passed;
        }
        let now = clock.reading();
        let passed = since_begin(now.nanos);
        let tick = (u128::from(passed) << 32) / u128::from(now.ticks.max(1));
        ORIGIN.store(clock.origin, Ordering::Relaxed);
        // Another thread may have measured it. The first one counts, so that the clock does not go backwards. ORDERING: Release pairs with the Acquire in
        // `now_ns`.
        let tick = u64::try_from(tick).unwrap_or(0);
        let _ = TICK.compare_exchange(0, tick, Ordering::Release, Ordering::Relaxed);
        passed
    }
}

#[cfg(all(test, not(any(heist_loom, heist_shuttle))))]
mod tests {
    use super::{Clock, now_ns};
    use std::time::{Duration, Instant};

    /// Whichever way the clock is read, it agrees with that of the system.
    #[test]
    fn it_keeps_time() {
        now_ns();
        std::thread::sleep(Duration::from_millis(25));
        now_ns();
        let clock = Clock::get();
        let (start, time, begin) = (now_ns(), Instant::now(), clock.now());
        std::thread::sleep(Duration::from_millis(20));
        let (stop, end, passed) = (clock.now(), now_ns(), time.elapsed());
        let nanos = clock.scale(clock.reading());
        for nanos in [end - start, nanos(stop) - nanos(begin)] {
            let measured = Duration::from_nanos(nanos);
            assert!(measured >= Duration::from_micros(19_900), "{measured:?}");
            let most = passed + Duration::from_secs(1);
            assert!(measured <= most, "{measured:?} {passed:?}");
        }
    }
}
