//! What a ring keeps.

use super::*;

fn ring_with(capacity: usize, events: u64) -> Ring {
    let ring = Ring::new(capacity);
    (0..events).for_each(|n| ring.write([n, !n]));
    ring
}

#[test]
#[cfg_attr(
    any(heist_loom, heist_shuttle),
    ignore = "uses the types of a model outside of one"
)]
fn what_is_kept_and_what_is_lost_is_what_was_written() {
    for capacity in [0, 1, 2, 8] {
        for events in 0..40 {
            for from in 0..=events {
                let copied = ring_with(capacity, events).read(from);
                assert_eq!(copied.end, events);
                assert!(copied.first >= from);
                assert_eq!(copied.first + copied.events.len() as u64, events);
                let expected = (copied.first..events).map(|n| [n, !n]);
                assert!(copied.events.iter().copied().eq(expected));
                let room = (capacity as u64).saturating_sub(1);
                assert!(copied.events.len() as u64 >= room.min(events - from));
            }
        }
    }
}
