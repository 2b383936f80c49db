//! How long tasks of one thread waited in queues, and how long they ran: counts by duration, with one writer.
//!
//! A bucket holds the durations of an eighth of a power of two, so that what is read from a bucket is at most 12.5 % off.

use crate::counters::Count;

/// The number of buckets for each power of two.
const PARTS: u64 = 8;
const PART_BITS: u32 = PARTS.ilog2();

/// The durations from 2^40 ns on, which is more than 18 minutes, are in the last bucket.
const POWERS: u32 = 40;

/// The number of buckets.
pub(crate) const BUCKETS: usize = ((POWERS - PART_BITS + 1) as u64 * PARTS) as usize;

/// The bucket of a duration.
#[inline]
pub(crate) fn bucket_of(nanos: u64) -> usize {
    let Some(power) = nanos.checked_ilog2().filter(|&power| power >= PART_BITS) else {
        return nanos as usize;
    };
    let part = (nanos >> (power - PART_BITS)) % PARTS;
    let bucket = u64::from(power - PART_BITS + 1) * PARTS + part;
    (bucket as usize).min(BUCKETS - 1)
}

/// The shortest duration of a bucket.
pub(crate) fn least_of(bucket: usize) -> u64 {
    let (power, part) = (bucket as u64 / PARTS, bucket as u64 % PARTS);
    match power {
        0 => part,
        _ => (PARTS + part) << (power - 1),
    }
}

/// Counts of durations. One writer at a time.
#[derive(Debug)]
pub(crate) struct Durations {
    pub(crate) buckets: [Count; BUCKETS],
    pub(crate) total_ns: Count,
    pub(crate) max_ns: Count,
}

impl Default for Durations {
    fn default() -> Self {
        Durations {
            buckets: std::array::from_fn(|_| Count::default()),
            total_ns: Count::default(),
            max_ns: Count::default(),
        }
    }
}

impl Durations {
    /// Owner: counts a duration.
    #[inline]
    pub(crate) fn add(&self, nanos: u64) {
        // Before the count, so that who reads the count reads a maximum that is at least as new.
        if nanos > self.max_ns.get() {
            self.max_ns.set(nanos);
        }
        self.total_ns.add(nanos);
        self.buckets[bucket_of(nanos)].add(1);
    }
}

/// The measured times of the tasks that ran on one slot.
#[derive(Debug, Default)]
pub(crate) struct Timings {
    pub(crate) queue_wait: Durations,
    pub(crate) run_time: Durations,
}

#[cfg(all(test, not(any(heist_loom, heist_shuttle))))]
mod tests {
    use super::{BUCKETS, bucket_of, least_of};

    #[test]
    fn a_bucket_begins_where_the_one_before_ends() {
        assert_eq!(bucket_of(0), 0);
        for bucket in 1..BUCKETS {
            let least = least_of(bucket);
            assert_eq!(bucket_of(least), bucket);
            assert_eq!(bucket_of(least - 1), bucket - 1);
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }
}
