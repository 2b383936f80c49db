use crate::trace::forms::histogram::{Histogram, bucket_of, lowest_of};

#[test]
fn buckets_follow_each_other_and_hold_their_durations() {
    for bucket in 0..496 {
        let lowest = lowest_of(bucket);
        assert_eq!(bucket_of(lowest), bucket);
        if bucket > 0 {
            assert_eq!(bucket_of(lowest - 1), bucket - 1);
        }
    }
    assert_eq!(bucket_of(u64::MAX), 495);
}

#[test]
fn quantiles_are_at_most_an_eighth_above_the_exact_ones() {
    let mut histogram = Histogram::default();
    for duration in 1..=10_000 {
        histogram.add(duration, 1);
    }
    for q in [0.01, 0.5, 0.9, 0.99, 1.0] {
        let exact = 10_000.0 * q;
        let found = histogram.quantile(q) as f64;
        assert!((exact..=exact * 1.125).contains(&found), "{q}: {found}");
    }
    assert_eq!((histogram.max, histogram.mean()), (10_000, 5_000));
}
