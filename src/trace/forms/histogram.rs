//! Counts of durations in buckets of equal ratio.

/// A histogram of nanoseconds: eight buckets for each power of two.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Histogram {
    /// Grows up to the largest duration.
    buckets: Vec<u64>,
    pub(super) count: u64,
    pub(super) max: u64,
    pub(super) total: u64,
}

impl Histogram {
    pub(super) fn add(&mut self, duration: u64, times: u64) {
        let bucket = bucket_of(duration);
        if bucket >= self.buckets.len() {
            self.buckets.resize(bucket + 1, 0);
        }
        self.buckets[bucket] += times;
        self.count += times;
        self.max = self.max.max(duration);
        self.total = self.total.saturating_add(duration.saturating_mul(times));
    }

    pub(super) fn mean(&self) -> u64 {
        self.total / self.count.max(1)
    }

    /// A duration that the fraction `q` did not exceed, at most an eighth above the exact one.
    pub(super) fn quantile(&self, q: f64) -> u64 {
        let rank = ((q * self.count as f64).ceil() as u64).max(1);
        let mut seen = 0;
        let bucket = self.buckets.iter().position(|count| {
            seen += count;
            seen >= rank
        });
        bucket.map_or(0, |bucket| (lowest_of(bucket + 1) - 1).min(self.max))
    }

    /// The buckets that hold something: least duration, least duration of the next bucket, count.
    pub(super) fn filled(&self) -> impl Iterator<Item = (u64, u64, u64)> {
        let filled = self.buckets.iter().enumerate().filter(|(_, n)| **n > 0);
        filled.map(|(bucket, n)| (lowest_of(bucket), lowest_of(bucket + 1), *n))
    }
}

pub(super) fn bucket_of(duration: u64) -> usize {
    if duration < 8 {
        return duration as usize;
    }
    let power = 63 - duration.leading_zeros() as usize;
    (power - 2) * 8 + ((duration >> (power - 3)) & 7) as usize
}

pub(super) fn lowest_of(bucket: usize) -> u64 {
    if bucket < 8 {
        return bucket as u64;
    }
    let power = bucket / 8 + 2;
    let lowest = (8 + bucket as u128 % 8) << (power - 3);
    u64::try_from(lowest).unwrap_or(u64::MAX)
}
