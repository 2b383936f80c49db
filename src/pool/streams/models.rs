//! Loom models of the queues of streams: their items against workers that park, and against the end of the pool.

use crate::barrier::Flavour;
use crate::job::Task;
use crate::pool::models::{Gate, end, outsider, pool, small_model};
use crate::sync::Arc;
// The tallies are not a part of what is modelled.
use std::sync::atomic::{AtomicUsize as Tally, Ordering::Relaxed};

/// An item meets one worker that parks when it finds nothing. The consumer uses one of the pool's places itself, so that it wakes no thread while the worker is
/// awake, and does not come back. The worker takes the item.
#[test]
fn an_item_against_park() {
    small_model(Flavour::Strict, || {
        let pool = pool(1, 0);
        let registry = pool.registry();
        let queue = registry.open_stream();
        queue.enter(0);
        queue.begin_wait();
        // The worker has a thread, which is perhaps about to park.
        pool.spawn(|| ());
        let over = Gate::default();
        let after = over.clone();
        // SAFETY: (1) the closure borrows nothing. (2) There is no group.
        let item = unsafe { Task::new(std::ptr::null(), None, move |_| after.open()) };
        registry.enqueue_item(None, &queue, item);
        over.pass();
        registry.close_stream(&queue);
        end(pool);
    });
}

/// The last thread of a closing pool against an item. Either it sees the item, or the consumer sees that it has gone.
#[test]
fn an_item_against_the_end_of_the_pool() {
    small_model(Flavour::Strict, || {
        let pool = Arc::new(pool(1, 0));
        let queue = pool.registry().open_stream();
        queue.enter(0);
        queue.begin_wait();
        let closing = {
            let pool = Arc::clone(&pool);
            outsider(0, move || pool.shutdown())
        };
        let ends = Arc::new(Tally::new(0));
        let ended = Arc::clone(&ends);
        if pool.registry().admission.enter(false).is_ok() {
            // SAFETY: (1) the closure borrows nothing. (2) There is no group.
            let item = unsafe {
                Task::new(std::ptr::null(), None, move |_| {
                    drop(ended.fetch_add(1, Relaxed))
                })
            };
            pool.registry().enqueue_item(None, &queue, item);
        } else {
            ends.fetch_add(1, Relaxed);
        }
        closing.join().unwrap();
        assert_eq!(ends.load(Relaxed), 1);
        pool.registry().close_stream(&queue);
        end(pool);
    });
}
