//! Models of a reader that copies while the writer laps it.

use super::Ring;
use crate::sync::Arc;
use crate::testing::model;
use loom::thread;

/// A reader that copies at any moment gets whole events, in order, and no event twice.
#[test]
fn a_reader_keeps_whole_events_only() {
    model(|| {
        let ring = Arc::new(Ring::new(2));
        ring.write([1, !1]);
        ring.write([2, !2]);
        let writer = thread::spawn({
            let ring = Arc::clone(&ring);
            move || {
                ring.write([3, !3]);
                ring.write([4, !4]);
            }
        });
        let copied = ring.read(0);
        assert_eq!(copied.first + copied.events.len() as u64, copied.end);
        for (event, number) in copied.events.iter().zip(copied.first + 1..) {
            assert_eq!(*event, [number, !number]);
        }
        writer.join().unwrap();
    });
}

/// What was written before a reader comes is there.
#[test]
fn a_reader_finds_what_was_written_before() {
    model(|| {
        let ring = Arc::new(Ring::new(4));
        let writer = thread::spawn({
            let ring = Arc::clone(&ring);
            move || {
                ring.write([1, !1]);
                ring.write([2, !2]);
            }
        });
        let copied = ring.read(0);
        assert_eq!(copied.first, 0);
        let expected = (1..=copied.end).map(|number| [number, !number]);
        assert!(copied.events.iter().copied().eq(expected));
        writer.join().unwrap();
    });
}
