//! Stress tests of the ring with real threads: each item is taken once, by one of them.

use super::{CAPACITY, Popped, Ring, Steal};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

struct Item {
    taken: AtomicU64,
    done: AtomicBool,
}

fn item() -> Item {
    Item {
        taken: AtomicU64::new(0),
        done: AtomicBool::new(false),
    }
}

/// A recursion of forks of this depth, as `join` makes them. Returns how many items were stolen.
fn forks(ring: &Ring<Item>, depth: u32) -> u64 {
    if depth == 0 {
        return 0;
    }
    let item = item();
    let index = ring.push(std::ptr::from_ref(&item).cast_mut());
    if ring.must_answer(index) {
        ring.share();
    }
    let mut stolen = forks(ring, depth - 1);
    match ring.pop(index) {
        Popped::Ours => assert_eq!(item.taken.fetch_add(1, Ordering::Relaxed), 0),
        Popped::Stolen => {
            while !item.done.load(Ordering::Acquire) {
                std::thread::yield_now();
            }
            ring.reset(index);
            stolen += 1;
        }
    }
    assert_eq!(item.taken.load(Ordering::Relaxed), 1);
    stolen + forks(ring, depth - 1)
}

#[test]
fn every_item_is_taken_once_beside_thieves_and_forcers() {
    let ring = Ring::<Item>::boxed();
    let stop = AtomicBool::new(false);
    let taken = AtomicU64::new(0);
    let take = |found: Steal<Item>| {
        if let Steal::Item(item, _) = found {
            // SAFETY: the owner keeps the item alive until it is marked as done.
            let item = unsafe { item.as_ref() };
            assert_eq!(item.taken.fetch_add(1, Ordering::Relaxed), 0);
            taken.fetch_add(1, Ordering::Relaxed);
            item.done.store(true, Ordering::Release);
        }
    };
    let stolen = std::thread::scope(|threads| {
        for thief in 0..3 {
            let (ring, stop, take) = (&ring, &stop, &take);
            threads.spawn(move || {
                let mut turn = thief;
                while !stop.load(Ordering::Relaxed) {
                    turn += 1;
                    match turn % 3 {
                        0 => take(ring.steal(|_| true)),
                        1 => {
                            ring.request();
                        }
                        _ => take(ring.force(|_| turn % 7 != 0)),
                    }
                }
            });
        }
        let stolen: u64 = (0..20).map(|_| forks(&ring, 12)).sum();
        stop.store(true, Ordering::Relaxed);
        stolen
    });
    assert_eq!(taken.load(Ordering::Relaxed), stolen);
    assert_eq!(ring.depth(), 0);
}

#[test]
fn what_is_not_allowed_stays() {
    let ring = Ring::<Item>::boxed();
    let items = [item(), item()];
    for item in &items {
        ring.push(std::ptr::from_ref(item).cast_mut());
    }
    ring.share();
    assert_eq!(ring.oldest(), Some(0));
    assert!(matches!(ring.steal(|index| index > 0), Steal::Empty));
    assert!(matches!(ring.steal(|index| index == 0), Steal::Item(_, 0)));
    assert_eq!(ring.oldest(), Some(1));
}

#[test]
fn a_push_beyond_the_capacity_is_noticed() {
    let ring = Ring::<Item>::boxed();
    let item = item();
    for _ in 0..CAPACITY {
        ring.push(std::ptr::from_ref(&item).cast_mut());
    }
    ring.share();
    let index = ring.push(std::ptr::from_ref(&item).cast_mut());
    assert_eq!(index, CAPACITY);
    assert!(ring.must_answer(index));
}
