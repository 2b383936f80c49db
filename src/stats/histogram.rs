//! Distributions of durations.

use crate::pool::Registry;
use crate::timings::{BUCKETS, Durations, Timings, bucket_of, least_of};
use std::fmt;
use std::time::Duration;

/// How often durations of each length were measured: [`queue_wait`](crate::PoolStats::queue_wait) and
/// [`run_time`](crate::PoolStats::run_time) of a pool.
///
/// Durations are counted in buckets, eight for each power of two of nanoseconds, up to 18 minutes. What is read from
/// a bucket is therefore at most 12.5 % above the exact value. A histogram takes less than 3 KiB.
///
/// ```
/// let pool = heist::ThreadPool::new()?;
/// pool.submit(|| ()).join().unwrap();
/// let wait = pool.stats().queue_wait;
/// assert_eq!(wait.count(), 1);
/// assert!(wait.quantile(0.5) <= wait.max);
/// # Ok::<(), heist::BuildError>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Histogram {
    /// The longest duration.
    pub max: Duration,
    /// The sum of the durations.
    pub total: Duration,
    /// The counts by bucket, as far as the last one that is not 0.
    #[cfg_attr(feature = "serde", serde(serialize_with = "serialize_buckets"))]
    #[cfg_attr(feature = "serde", serde(rename = "buckets"))]
    counts: Vec<u64>,
}

/// A range of durations in a [`Histogram`], and how many durations lie in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Bucket {
    /// The shortest duration of the bucket.
    pub from: Duration,
    /// The shortest duration above the bucket.
    pub below: Duration,
    /// The number of durations.
    pub count: u64,
}

impl Histogram {
    /// Creates a histogram without durations.
    pub fn new() -> Self {
        Self::default()
    }

    pub(super) fn of(registry: &Registry, which: fn(&Timings) -> &Durations) -> Self {
        let mut sum = Histogram::default();
        let slots = registry.all_slots().filter_map(|slot| slot.timings());
        slots.for_each(|timings| sum.add(which(timings)));
        sum
    }

    fn add(&mut self, durations: &Durations) {
        // The counts are read before the maximum, which is written before the counts.
        for (bucket, count) in durations.buckets.iter().enumerate() {
            self.count_in(bucket, count.get());
        }
        self.total += Duration::from_nanos(durations.total_ns.get());
        self.max = self.max.max(Duration::from_nanos(durations.max_ns.get()));
    }

    fn count_in(&mut self, bucket: usize, count: u64) {
        if count > 0 {
            if self.counts.len() <= bucket {
                self.counts.resize(bucket + 1, 0);
            }
            self.counts[bucket] += count;
        }
    }

    /// Adds a duration.
    ///
    /// ```
    /// use std::time::Duration;
    /// let mut times = heist::Histogram::new();
    /// times.record(Duration::from_millis(3));
    /// assert_eq!((times.count(), times.max), (1, Duration::from_millis(3)));
    /// ```
    pub fn record(&mut self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.count_in(bucket_of(nanos), 1);
        self.total = self.total.saturating_add(duration);
        self.max = self.max.max(duration);
    }

    /// Adds the durations of another histogram, for example of another pool.
    ///
    /// ```
    /// let pools = [heist::ThreadPool::new()?, heist::ThreadPool::new()?];
    /// pools.iter().for_each(|pool| pool.submit(|| ()).join().unwrap());
    /// let mut waits = heist::Histogram::new();
    /// pools.iter().for_each(|pool| waits.merge(&pool.stats().queue_wait));
    /// assert_eq!(waits.count(), 2);
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn merge(&mut self, other: &Histogram) {
        for (bucket, &count) in other.counts.iter().enumerate() {
            self.count_in(bucket, count);
        }
        self.total = self.total.saturating_add(other.total);
        self.max = self.max.max(other.max);
    }

    /// Returns how many durations were measured.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Returns the mean duration, or zero if there is none.
    pub fn mean(&self) -> Duration {
        let count = u128::from(self.count().max(1));
        let nanos = self.total.as_nanos() / count;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// Returns a duration that the fraction `q` of the measured ones did not exceed: for 0.5 the median.
    ///
    /// The answer is at most 12.5 % above the exact value, and zero if nothing was measured. A `q` below 0 counts as 0, and one
    /// above 1 as 1.
    pub fn quantile(&self, q: f64) -> Duration {
        // The cast makes 0 of NaN.
        let rank = ((q.clamp(0.0, 1.0) * self.count() as f64).ceil() as u64).max(1);
        let mut seen = 0;
        let bucket = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank
        });
        match bucket {
            Some(bucket) => self.max.min(last_of(bucket)),
            None => self.max,
        }
    }

    /// Returns the buckets that are not empty, the shortest durations first.
    ///
    /// ```
    /// use std::time::Duration;
    /// let mut times = heist::Histogram::new();
    /// [10, 10, 1_000].map(|us| times.record(Duration::from_micros(us)));
    /// let counts: Vec<_> = times.buckets().map(|bucket| bucket.count).collect();
    /// assert_eq!(counts, [2, 1]);
    /// ```
    pub fn buckets(&self) -> impl Iterator<Item = Bucket> {
        let counts = self.counts.iter().enumerate();
        let counts = counts.filter(|&(_, &count)| count > 0);
        counts.map(|(bucket, &count)| Bucket {
            from: Duration::from_nanos(least_of(bucket)),
            below: last_of(bucket).saturating_add(Duration::from_nanos(1)),
            count,
        })
    }

    /// The number of durations below a bound that is a power of two of nanoseconds.
    pub(super) fn count_below(&self, power: u32) -> u64 {
        let end = bucket_of(1 << power).min(self.counts.len());
        self.counts[..end].iter().sum()
    }
}

/// The longest duration of a bucket.
fn last_of(bucket: usize) -> Duration {
    match bucket + 1 {
        BUCKETS => Duration::MAX,
        next => Duration::from_nanos(least_of(next) - 1),
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Histogram")
            .field("count", &self.count())
            .field("mean", &self.mean())
            .field("p50", &self.quantile(0.5))
            .field("p99", &self.quantile(0.99))
            .field("max", &self.max)
            .finish_non_exhaustive()
    }
}

/// Writes the counts as a list of [`Bucket`]s.
#[cfg(feature = "serde")]
fn serialize_buckets<S: serde::Serializer>(counts: &[u64], to: S) -> Result<S::Ok, S::Error> {
    let histogram = Histogram {
        counts: counts.to_vec(),
        ..Histogram::default()
    };
    to.collect_seq(histogram.buckets())
}

#[cfg(all(test, not(any(heist_loom, heist_shuttle))))]
mod tests {
    use super::Histogram;
    use proptest::prelude::*;
    use std::time::Duration;

    /// The sample of this rank in a sorted list.
    fn exact(sorted: &[u64], q: f64) -> u64 {
        let rank = ((q * sorted.len() as f64).ceil() as usize).max(1);
        sorted[rank - 1]
    }

    fn of(samples: &[u64]) -> Histogram {
        let mut histogram = Histogram::new();
        let samples = samples.iter().copied().map(Duration::from_nanos);
        samples.for_each(|sample| histogram.record(sample));
        histogram
    }

    /// Nanoseconds of any magnitude that the buckets tell apart.
    fn nanos() -> impl Strategy<Value = u64> {
        (0..40_u32, any::<u64>()).prop_map(|(bits, random)| random % (1 << bits))
    }

    proptest! {
        #[test]
        fn a_quantile_is_at_most_an_eighth_above_the_sorted_sample(
            mut samples in prop::collection::vec(nanos(), 1..300), q in 0.0..=1.0_f64,
        ) {
            let histogram = of(&samples);
            samples.sort_unstable();
            let (exact, read) = (exact(&samples, q), histogram.quantile(q).as_nanos() as u64);
            prop_assert!(read >= exact && read <= exact + exact / 8, "{read} for {exact}");
            prop_assert_eq!(histogram.quantile(1.0), histogram.max);
            prop_assert_eq!(histogram.count(), samples.len() as u64);
            prop_assert_eq!(histogram.max.as_nanos() as u64, *samples.last().unwrap());
            prop_assert_eq!(histogram.total.as_nanos() as u64, samples.iter().sum::<u64>());
            let mut seen = 0;
            for bucket in histogram.buckets() {
                let inside = |&&nanos: &&u64| (bucket.from..bucket.below).contains(&Duration::from_nanos(nanos));
                prop_assert_eq!(samples.iter().filter(inside).count() as u64, bucket.count);
                seen += bucket.count;
            }
            prop_assert_eq!(seen, histogram.count());
        }

        #[test]
        fn a_merged_histogram_is_that_of_all_samples(
            a in prop::collection::vec(nanos(), 0..100), b in prop::collection::vec(nanos(), 0..100),
        ) {
            let mut merged = of(&a);
            merged.merge(&of(&b));
            prop_assert!(merged == of(&[a, b].concat()));
        }

        #[test]
        fn counts_below_a_power_of_two_are_exact(samples in prop::collection::vec(nanos(), 0..100), power in 3..40_u32) {
            let below = samples.iter().filter(|&&nanos| nanos < 1 << power).count();
            prop_assert_eq!(of(&samples).count_below(power), below as u64);
        }
    }

    #[test]
    fn the_longest_durations_count() {
        let mut histogram = of(&[u64::MAX, 1 << 41]);
        histogram.record(Duration::MAX);
        assert_eq!((histogram.count(), histogram.max), (3, Duration::MAX));
        assert_eq!(histogram.quantile(0.1), Duration::MAX);
        assert_eq!(histogram.buckets().count(), 1);
    }

    #[test]
    fn an_empty_histogram_has_zeros() {
        let empty = Histogram::new();
        assert_eq!(
            (empty.count(), empty.mean(), empty.quantile(0.5)),
            (0, Duration::ZERO, Duration::ZERO)
        );
    }
}
