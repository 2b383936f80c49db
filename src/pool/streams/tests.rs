//! Tests of who runs the items of a stream.

use super::*;

/// The counts of a pool of so many workers, all of them awake.
fn all_awake(workers: usize) -> Sleep {
    let sleep = Sleep::new(workers, 0, false);
    for index in 0..workers {
        assert!(sleep.claim_worker(index));
    }
    sleep
}

/// Whether a worker has a place while a consumer from outside is in `next`.
fn has_place(queue: &StreamQueue, sleep: &Sleep) -> bool {
    queue.enter(queue.leave(), true);
    queue.has_place(sleep, 0)
}

#[test]
fn a_consumer_that_is_near_has_one_of_the_places() {
    let (queue, sleep) = (StreamQueue::default(), all_awake(3));
    let first = queue.begin_item(true);
    assert!(has_place(&queue, &sleep));
    let second = queue.begin_item(true);
    assert!(!has_place(&queue, &sleep));
    drop(second);
    // This thread has just ended an item.
    assert!(has_place(&queue, &sleep));
    drop(first);
}

#[test]
fn a_worker_that_is_blocked_leaves_its_place() {
    let (queue, sleep) = (StreamQueue::default(), all_awake(2));
    let running = queue.begin_item(true);
    assert!(!has_place(&queue, &sleep));
    let _ = sleep.park_bound(false);
    assert!(has_place(&queue, &sleep));
    drop(running);
}

#[test]
fn a_consumer_that_sleeps_or_is_away_leaves_its_place() {
    let (queue, sleep) = (StreamQueue::default(), all_awake(2));
    let running = queue.begin_item(true);
    assert!(!has_place(&queue, &sleep));
    queue.sleep();
    assert!(queue.has_place(&sleep, 0));
    queue.enter(queue.leave(), true);
    queue.leave();
    let start = ticks();
    while ticks().wrapping_sub(start) <= NEAR_TIME {
        std::hint::spin_loop();
    }
    assert!(queue.has_place(&sleep, 0));
    drop(running);
}

#[test]
fn a_consumer_that_is_a_worker_needs_no_further_place() {
    let (queue, sleep) = (StreamQueue::default(), all_awake(2));
    queue.enter(queue.leave(), false);
    assert!(queue.has_place(&sleep, 0));
    let on_consumer = queue.begin_item(true);
    assert!(queue.has_place(&sleep, 0));
    drop(on_consumer);
}
