//! Tests of who runs the items of a stream.

use super::*;

/// A queue in a pool with so many places.
fn in_pool(threads: usize) -> StreamQueue {
    let queue = StreamQueue::default();
    queue.threads.store(threads, Ordering::Relaxed);
    queue
}

/// Whether there is a place while the consumer is in `next`.
fn has_place(queue: &StreamQueue) -> bool {
    queue.enter(queue.leave());
    queue.has_place()
}

#[test]
fn a_consumer_that_is_near_has_one_of_the_places() {
    let queue = in_pool(3);
    let first = queue.begin_item(true);
    assert!(has_place(&queue));
    let second = queue.begin_item(true);
    assert!(!has_place(&queue));
    drop(second);
    // This thread has just ended an item.
    assert!(has_place(&queue));
    drop(first);
}

#[test]
fn a_consumer_that_sleeps_leaves_its_place() {
    let queue = in_pool(2);
    let running = queue.begin_item(true);
    assert!(!has_place(&queue));
    queue.sleep();
    assert!(queue.has_place());
    drop(running);
}

#[test]
fn a_consumer_that_is_away_leaves_its_place() {
    let queue = in_pool(2);
    let running = queue.begin_item(true);
    queue.enter(queue.leave());
    queue.leave();
    let start = ticks();
    while ticks().wrapping_sub(start) <= NEAR_TIME {
        std::hint::spin_loop();
    }
    assert!(queue.has_place());
    drop(running);
}

#[test]
fn an_item_on_a_guest_or_on_the_consumer_takes_no_place_of_workers() {
    let queue = in_pool(2);
    let on_guest = queue.begin_item(false);
    assert!(has_place(&queue));
    queue.set_consumer_runs(true);
    let on_consumer = queue.begin_item(true);
    assert!(has_place(&queue));
    drop((on_guest, on_consumer));
}
