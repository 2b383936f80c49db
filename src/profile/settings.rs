//! How a profile is made.

use std::time::Duration;

/// How a [profile](crate::Profile) is made. See [`ThreadPool::profile_with`](crate::ThreadPool::profile_with).
///
/// ```
/// use heist::{ProfileSettings, ThreadPool};
/// use std::time::Duration;
/// let pool = ThreadPool::new()?;
/// let in_full = ProfileSettings::new().resolution(Duration::ZERO);
/// let ((), profile) = pool.profile_with(in_full, || { heist::join(|| (), || ()); });
/// assert_eq!(profile.span().low, profile.span().high);
/// # Ok::<(), heist::BuildError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "settings measure nothing until they are passed to `profile_with`"]
pub struct ProfileSettings {
    pub(super) resolution: Duration,
    pub(super) clock: Option<fn() -> u64>,
}

/// A join that is expected to be shorter is not measured, unless something else is asked for: about 40 times the cost of measuring one.
const RESOLUTION: Duration = Duration::from_micros(4);

impl ProfileSettings {
    /// Returns the default settings.
    pub fn new() -> Self {
        ProfileSettings {
            resolution: RESOLUTION,
            clock: None,
        }
    }

    /// Sets how long a `join` must be expected to take to be measured, with all that is in it. 4 microseconds by default.
    ///
    /// Shorter ones run at full speed as one strand. What to expect is learnt from those at the same place and depth of
    /// the program. One of 1,024 short ones is measured in full, which gives the [estimate](crate::Interval::estimate) for the
    /// others. With zero every `join` is measured: the span is exact, and a program of very short joins takes ten to
    /// forty times as long: the clock is read three times for each `join`.
    pub fn resolution(mut self, time: Duration) -> Self {
        self.resolution = time;
        self
    }

    /// Measures by another clock, which returns nanoseconds.
    ///
    /// The clock can count anything that adds up: the processor time of the thread, allocated bytes, steps of a test. It
    /// must not decrease on a thread. Times on different threads are never compared, and moments at which a thread waits do not
    /// count.
    ///
    /// ```
    /// use heist::{ProfileSettings, ThreadPool};
    /// use std::cell::Cell;
    /// thread_local! { static STEPS: Cell<u64> = const { Cell::new(0) }; }
    /// fn step(steps: u64) {
    ///     STEPS.set(STEPS.get() + steps);
    /// }
    /// let pool = ThreadPool::new()?;
    /// let steps = ProfileSettings::new().clock(|| STEPS.get()).resolution(std::time::Duration::ZERO);
    /// let (_, profile) = pool.profile_with(steps, || {
    ///     step(10);
    ///     heist::join(|| step(30), || step(20));
    /// });
    /// assert_eq!(profile.work().as_nanos(), 60);
    /// assert_eq!(profile.span().estimate.as_nanos(), 40);
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn clock(mut self, clock: fn() -> u64) -> Self {
        self.clock = Some(clock);
        self
    }
}

impl Default for ProfileSettings {
    fn default() -> Self {
        Self::new()
    }
}
