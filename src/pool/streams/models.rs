//! Loom models of the queues of streams: their items against workers that park.

use crate::barrier::Flavour;
use crate::job::Task;
use crate::pool::models::{Gate, end, pool, small_model};

/// An item meets one worker that parks when it finds nothing. The consumer uses one of the pool's places itself, so that it wakes no thread while the worker is
/// awake, and does not come back. The worker takes the item.
#[test]
fn an_item_against_park() {
    small_model(Flavour::Strict, || {
        let pool = pool(1, 0);
        let registry = pool.registry();
        let queue = registry.open_stream();
        queue.enter(0, true);
        queue.begin_wait();
        // The worker has a thread, which may be about to park.
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
