//! The time in nanoseconds, for measurements: one clock for all threads and pools of the process, which orders nothing.
//!
//! On x86-64 the clock counts ticks of the processor, which takes about half as long as asking the system. The length of a tick is measured
//! against the system's clock. Until that is known, and where the ticks are no measure of time, the system's clock is read.

#[cfg(all(target_arch = "x86_64", not(any(miri, heist_shuttle))))]
pub(crate) use ticks::now_ns;

/// The time since some moment in the life of the process.
#[cfg(not(all(target_arch = "x86_64", not(any(miri, heist_shuttle)))))]
pub(crate) use crate::sys::ticks as now_ns;

#[cfg(all(target_arch = "x86_64", not(any(miri, heist_shuttle))))]
mod ticks {
    use crate::sys::{TICKS_PER_MICROSECOND, ticks};
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::{Duration, Instant};

    /// The length of a tick in nanoseconds, times 2^32. 0 while it is not known.
    static TICK: AtomicU64 = AtomicU64::new(0);

    /// The ticks at the beginning. Written before `TICK`.
    static BEGIN: AtomicU64 = AtomicU64::new(0);

    static START: OnceLock<Start> = OnceLock::new();

    struct Start {
        time: Instant,
        ticks: u64,
        /// Whether ticks measure time.
        is_steady: bool,
    }

    /// A tick is measured over at least this time, so that its error is below 1 in 10,000.
    const BASELINE: Duration = Duration::from_millis(20);

    /// The two clocks have been read at the same time if no more ticks have passed meanwhile.
    const TOGETHER: u64 = TICKS_PER_MICROSECOND;

    /// The time since some moment in the life of the process.
    #[inline]
    pub(crate) fn now_ns() -> u64 {
        // ORDERING: Acquire pairs with the Release in `measure`: `BEGIN` is visible.
        let tick = TICK.load(Ordering::Acquire);
        if tick == 0 {
            return measure();
        }
        let passed = ticks().wrapping_sub(BEGIN.load(Ordering::Relaxed));
        ((u128::from(passed) * u128::from(tick)) >> 32) as u64
    }

    /// Reads both clocks. Returns `None` if the thread was interrupted between the readings.
    fn read_both() -> (Instant, Option<u64>) {
        let before = ticks();
        let time = Instant::now();
        let after = ticks();
        let together = after.wrapping_sub(before) < TOGETHER;
        (time, together.then_some(before))
    }

    #[cold]
    fn measure() -> u64 {
        let start = START.get_or_init(|| {
            let mut read = read_both();
            for _ in 0..16 {
                if read.1.is_some() {
                    break;
                }
                read = read_both();
            }
            Start {
                time: read.0,
                ticks: read.1.unwrap_or(0),
                is_steady: read.1.is_some() && is_invariant(),
            }
        });
        let (time, ticks) = read_both();
        let passed = time.saturating_duration_since(start.time);
        let nanos = u64::try_from(passed.as_nanos()).unwrap_or(u64::MAX);
        if let Some(ticks) = ticks
            && start.is_steady
            && passed >= BASELINE
        {
            let ticks = ticks.wrapping_sub(start.ticks).max(1);
            let tick = (u128::from(nanos) << 32) / u128::from(ticks);
            BEGIN.store(start.ticks, Ordering::Relaxed);
            // Another thread may have measured it. The first one counts, so that the clock does not go backwards. ORDERING: Release pairs with the
            // Acquire in `now_ns`.
            let tick = u64::try_from(tick).unwrap_or(0);
            let _ = TICK.compare_exchange(0, tick, Ordering::Release, Ordering::Relaxed);
        }
        nanos
    }

    /// Whether the ticks have the same length in all states of the processor.
    #[allow(
        unused_unsafe,
        reason = "the function is unsafe in Rust 1.88 and safe in newer versions"
    )]
    fn is_invariant() -> bool {
        const POWER: u32 = 0x8000_0007;
        // SAFETY: every x86-64 processor has the instruction, and it returns zeros for leaves that it does not know.
        let highest = unsafe { core::arch::x86_64::__cpuid(0x8000_0000) };
        if highest.eax < POWER {
            return false;
        }
        // SAFETY: every x86-64 processor has the instruction.
        let power = unsafe { core::arch::x86_64::__cpuid(POWER) };
        power.edx & (1 << 8) != 0
    }
}

#[cfg(all(test, not(any(heist_loom, heist_shuttle))))]
mod tests {
    use std::time::{Duration, Instant};

    /// A clock that is read by the processor's ticks agrees with that of the system.
    #[test]
    fn it_keeps_time() {
        super::now_ns();
        std::thread::sleep(Duration::from_millis(25));
        super::now_ns();
        let (start, time) = (super::now_ns(), Instant::now());
        std::thread::sleep(Duration::from_millis(20));
        let (end, passed) = (super::now_ns(), time.elapsed());
        let measured = Duration::from_nanos(end - start);
        assert!(measured >= Duration::from_micros(19_900), "{measured:?}");
        assert!(
            measured <= passed + Duration::from_secs(1),
            "{measured:?} {passed:?}"
        );
    }
}
