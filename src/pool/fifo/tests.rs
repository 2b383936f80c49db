//! Tests of the queue with threads of the system.

use super::{Fifo, LAP, PLACES};
use std::ptr::NonNull;
use std::sync::Barrier;
use std::thread;

fn item(n: usize) -> NonNull<u64> {
    NonNull::new(std::ptr::without_provenance_mut((n + 1) * 8)).unwrap()
}

fn number(item: NonNull<u64>) -> usize {
    item.addr().get() / 8 - 1
}

#[test]
fn items_come_out_in_order_and_are_counted() {
    let fifo = Fifo::new();
    let (mut pushed, mut popped) = (0, 0);
    for round in 0..500 {
        for _ in 0..round % 150 {
            fifo.push(item(pushed));
            pushed += 1;
            assert_eq!(fifo.len(), pushed - popped);
        }
        for _ in 0..round % 140 {
            match fifo.pop() {
                Some(first) => {
                    assert_eq!(number(first), popped);
                    popped += 1;
                }
                None => assert_eq!(pushed, popped),
            }
            assert_eq!(fifo.len(), pushed - popped);
            assert_eq!(fifo.is_empty(), pushed == popped);
        }
    }
    assert!(pushed > 10 * PLACES && LAP == PLACES + 1);
}

#[test]
fn every_item_is_taken_once_and_those_of_a_thread_in_order() {
    const EACH: usize = 20_000;
    let (fifo, start) = (Fifo::new(), Barrier::new(4));
    let taken: Vec<Vec<usize>> = thread::scope(|scope| {
        for pusher in 0..2 {
            let (fifo, start) = (&fifo, &start);
            scope.spawn(move || {
                start.wait();
                (0..EACH).for_each(|n| fifo.push(item(pusher * EACH + n)));
            });
        }
        let takers = [0, 1].map(|_| {
            scope.spawn(|| {
                start.wait();
                let mut taken = Vec::new();
                while taken.len() < EACH {
                    match fifo.pop() {
                        Some(item) => taken.push(number(item)),
                        None => thread::yield_now(),
                    }
                }
                taken
            })
        });
        takers
            .into_iter()
            .map(|taker| taker.join().unwrap())
            .collect()
    });
    for taken in &taken {
        for pusher in [0, 1] {
            let own = taken.iter().filter(|n| *n / EACH == pusher);
            assert!(own.is_sorted());
        }
    }
    let mut all = taken.concat();
    all.sort_unstable();
    assert!(all.into_iter().eq(0..2 * EACH));
    assert!(fifo.is_empty());
}
