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
