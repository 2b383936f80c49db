//! Loom models of the queues of streams: their items against workers that park.

use crate::barrier::Flavour;
use crate::job::Task;
use crate::pool::models::{Gate, end, pool, small_model};
use crate::pool::{RawItems, StreamQueue};
use crate::sync::{Arc, Mutex, lock};

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

/// One raw item, as its task.
#[derive(Debug)]
struct OneRaw(Mutex<Option<Task>>, Arc<StreamQueue>);

impl RawItems for OneRaw {
    fn len(&self) -> usize {
        usize::from(lock(&self.0).is_some())
    }

    fn submit(&self, push: &mut dyn FnMut(Task)) {
        let mut task = lock(&self.0);
        task.take().into_iter().for_each(push);
        self.1.raw_count.clear();
    }
}

/// A raw item meets one worker that parks when it finds nothing. The consumer does not come back. The worker makes a task of the item, and runs it.
#[test]
fn a_raw_item_against_park() {
    small_model(Flavour::Strict, || {
        let pool = pool(1, 0);
        let registry = pool.registry();
        let queue = registry.open_stream();
        let raw = Arc::new(OneRaw(Mutex::new(None), Arc::clone(&queue)));
        queue.set_raw(Arc::clone(&raw) as Arc<dyn RawItems>);
        // The worker has a thread, which may be about to park.
        pool.spawn(|| ());
        let over = Gate::default();
        let after = over.clone();
        // SAFETY: (1) the closure borrows nothing. (2) There is no group.
        let item = unsafe { Task::new(std::ptr::null(), None, move |_| after.open()) };
        let mut place = lock(&raw.0);
        *place = Some(item);
        queue.raw_count.change(1);
        drop(place);
        registry.added_raw();
        over.pass();
        registry.close_stream(&queue);
        end(pool);
    });
}
