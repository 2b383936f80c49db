//! How long tasks have waited.

use crate::pool::Registry;
use std::time::Duration;

/// How long tasks waited in a pool's queues, from their submission until they began. Part of [`PoolStats`](crate::PoolStats).
///
/// It is measured on a sample of what `submit`, `spawn` and streams queue: all of the first 64 tasks that each thread of the pool submits, and of
/// the first 64 from outside; then one of 256. A task that never begins is not in it, nor is a task of a scope, or one that a full pool has its submitter run. While
/// 32 tasks of the sample wait, further ones may go unmeasured.
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
    /// The longest wait that was measured.
    pub max: Duration,
    /// All waits that were measured, added up.
    pub total: Duration,
    /// How many waits took from 2^n to below 2^(n + 1) nanoseconds, where n is the index. The first has those of 0 too, the last all longer ones.
    pub buckets: Vec<u64>,
}

impl QueueWait {
    pub(super) fn of(registry: &Registry) -> Self {
        let waits = &registry.waits;
        QueueWait {
            max: Duration::from_nanos(waits.longest_ns()),
            total: Duration::from_nanos(waits.total_ns()),
            buckets: waits.buckets().to_vec(),
        }
    }

    /// How many waits were measured.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The mean of the waits that were measured; zero if there were none.
    pub fn mean(&self) -> Duration {
        let count = u128::from(self.count().max(1));
        let nanos = self.total.as_nanos() / count;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// A time that the share `q` of the measured waits did not exceed: the median for 0.5. It is at most twice the exact value. Zero if nothing was
    /// measured; a `q` outside 0 to 1 counts as the nearer end.
    pub fn quantile(&self, q: f64) -> Duration {
        // The cast makes 0 of NaN.
        let rank = ((q.clamp(0.0, 1.0) * self.count() as f64).ceil() as u64).max(1);
        let mut seen = 0;
        for (n, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank {
                let end = Duration::from_nanos(2_u64.saturating_pow(n as u32 + 1));
                return if n + 1 == self.buckets.len() {
                    self.max
                } else {
                    end.min(self.max)
                };
            }
        }
        self.max
    }
}
