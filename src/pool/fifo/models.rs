//! Loom models of the queue.

use super::{Fifo, PLACES, Segment};
use crate::sync::{Arc, AtomicUsize, Ordering, fence, yield_thread};
use crate::testing::{model, sharp_model, small_model};
use loom::cell::UnsafeCell;
use loom::thread;
use std::ptr::NonNull;

/// What an item points at. Loom checks that its pusher's write comes before its taker's.
type Item = UnsafeCell<usize>;

fn item(n: usize) -> NonNull<Item> {
    NonNull::from(Box::leak(Box::new(UnsafeCell::new(n))))
}

/// Takes an item apart.
fn number(item: NonNull<Item>) -> usize {
    assert!(item.addr().get() > 1, "the place was not cleared");
    // SAFETY: the item comes from `item` and was taken once, as the models check.
    let item = unsafe { Box::from_raw(item.as_ptr()) };
    // SAFETY: loom checks that no other thread accesses it.
    item.with_mut(|n| unsafe { std::mem::replace(&mut *n, usize::MAX) })
}

/// A segment is freed after all other accesses to its places.
impl<T> Drop for Segment<T> {
    fn drop(&mut self) {
        for place in &mut self.places {
            place.with_mut(|_| ());
        }
    }
}

/// A queue whose next push gets this place of a segment.
fn queue_at(place: usize) -> Arc<Fifo<Item>> {
    let queue = Fifo::new();
    for n in 0..place {
        queue.push(item(n));
        assert_eq!(queue.pop().map(number), Some(n));
    }
    Arc::new(queue)
}

/// Takes an item, for which it waits.
fn pop(queue: &Fifo<Item>) -> usize {
    loop {
        match queue.pop() {
            Some(item) => return number(item),
            None => yield_thread(),
        }
    }
}

/// Two threads push and take, at the end of a segment.
#[test]
fn two_pushers_and_two_takers_at_a_border() {
    model(|| {
        let queue = queue_at(PLACES - 1);
        let other = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || {
                queue.push(item(1));
                pop(&queue)
            })
        };
        queue.push(item(2));
        let own = pop(&queue);
        assert_eq!(own + other.join().unwrap(), 3);
        assert!(queue.is_empty());
    });
}

/// Two threads take the last item of a segment, and go on, while one of them pushes beyond the next segment. The first segment is used again.
#[test]
fn a_segment_is_reused() {
    const ITEMS: usize = PLACES + 2;
    model(|| {
        let queue = queue_at(PLACES - 1);
        for n in 0..PLACES {
            queue.push(item(n));
        }
        let other = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || {
                let taken = queue.pop().map_or(0, number);
                (PLACES..ITEMS).for_each(|n| queue.push(item(n)));
                taken
            })
        };
        let take = |_| queue.pop().map(number);
        let own: usize = (1..ITEMS).filter_map(take).sum();
        let others = other.join().unwrap();
        let rest: usize = (1..ITEMS).filter_map(take).sum();
        assert_eq!(own + others + rest, (0..ITEMS).sum::<usize>());
        assert!(queue.is_empty());
    });
}

/// Two threads take the last item of a segment and all of the next one. The first segment is kept. The second one is freed when both threads have read
/// their places in it.
#[test]
fn a_taker_is_late() {
    const ITEMS: usize = PLACES + 1;
    model(|| {
        let queue = queue_at(PLACES - 1);
        for n in 0..ITEMS {
            queue.push(item(n));
        }
        let taker = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || pop(&queue) + pop(&queue))
        };
        let own = pop(&queue) + pop(&queue);
        assert_eq!(own + taker.join().unwrap(), ITEMS * (ITEMS - 1) / 2);
        assert!(queue.is_empty());
    });
}

/// A thread adds an item before it takes one, so that the queue is never empty. It never looks so.
#[test]
fn a_queue_that_is_never_empty() {
    small_model(|| {
        let queue = queue_at(0);
        queue.push(item(1));
        let other = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || {
                queue.push(item(2));
                pop(&queue)
            })
        };
        assert!(!queue.is_empty());
        let own = queue.pop().map(number).expect("a queue that looks empty");
        assert_eq!(own + other.join().unwrap(), 3);
    });
}

/// A thread pushes and looks for sleepers; another one declares that it sleeps and looks at the queue. Not both miss the other.
#[test]
fn a_push_against_a_final_look() {
    for place in [0, PLACES - 1] {
        sharp_model(move || {
            let queue = queue_at(place);
            let sleepers = Arc::new(AtomicUsize::new(0));
            let pusher = {
                let (queue, sleepers) = (Arc::clone(&queue), Arc::clone(&sleepers));
                thread::spawn(move || {
                    queue.push(item(1));
                    fence(Ordering::SeqCst);
                    sleepers.load(Ordering::Relaxed) == 1
                })
            };
            sleepers.store(1, Ordering::Relaxed);
            fence(Ordering::SeqCst);
            let is_seen = !queue.is_empty();
            let is_woken = pusher.join().unwrap();
            assert!(is_seen || is_woken);
            assert_eq!(queue.pop().map(number), Some(1));
        });
    }
}
