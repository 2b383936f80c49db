//! The distribution of the times that tasks spent in queues.

use crate::pool::Registry;
use std::time::Duration;

/// A histogram of how long tasks waited in a pool's queues, from their submission until they began. Part of
/// [`PoolStats`](crate::PoolStats).
///
/// It is measured on a sample of the tasks of `submit`, `spawn` and streams: all of the first 64 that each
/// thread of the pool submits, all of the first 64 from outside, and then one in 256. The sample leaves out
/// tasks that never begin, tasks of scopes, and tasks that the submitter runs because the queue is full. While
/// 32 tasks of the sample wait, further ones are not always measured.
///
/// ```
/// let pool = heist::ThreadPool::new()?;
/// pool.submit(|| ()).join().unwrap();
/// let wait = pool.stats().queue_wait;
/// assert_eq!(wait.count(), 1);
/// assert!(wait.quantile(0.5) <= wait.max);
/// # Ok::<(), heist::BuildError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct QueueWait {
    /// The longest measured wait.
    pub max: Duration,
    /// The sum of the measured waits.
    pub total: Duration,
    /// The number of waits of at least 2^n and less than 2^(n + 1) nanoseconds, where n is the index. The
    /// first includes waits of 0, the last all longer ones.
    pub buckets: Vec<u64>,
}

impl QueueWait {
    pub(super) fn of(registry: &Registry) -> Self {
        let waits = &registry.queue_waits;
        QueueWait {
            max: Duration::from_nanos(waits.longest_ns()),
            total: Duration::from_nanos(waits.total_ns()),
            buckets: waits.buckets().to_vec(),
        }
    }

    /// Returns how many waits were measured.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Returns the mean of the measured waits, or zero if there are none.
    pub fn mean(&self) -> Duration {
        let count = u128::from(self.count().max(1));
        let nanos = self.total.as_nanos() / count;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// Returns a time that the fraction `q` of the measured waits did not exceed: for 0.5 the median.
    ///
    /// It is at most twice the exact value, and zero if nothing was measured. A `q` below 0 counts as 0, and one
    /// above 1 as 1.
    pub fn quantile(&self, q: f64) -> Duration {
        // The cast makes 0 of NaN.
        let rank = ((q.clamp(0.0, 1.0) * self.count() as f64).ceil() as u64).max(1);
        let mut seen = 0;
        let bucket = self.buckets.iter().position(|count| {
            seen += count;
            seen >= rank
        });
        match bucket {
            Some(n) if n + 1 < self.buckets.len() => {
                Duration::from_nanos(2_u64.saturating_pow(n as u32 + 1)).min(self.max)
            }
            _ => self.max,
        }
    }
}
