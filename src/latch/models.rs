//! Loom models of the latch: a waiting thread is woken after the last count, and sees what was done before each count.

use super::Latch;
use crate::sleep::{Event, Parker};
use crate::sync::Arc;
use crate::testing::{Place, small_model};
use loom::thread;

/// A latch, and the places to which the counting threads write before they count down.
struct Work {
    latch: Latch,
    done: [Place<bool>; 2],
}

impl Work {
    fn new() -> Arc<Self> {
        Arc::new(Work {
            latch: Latch::new(2),
            done: Default::default(),
        })
    }

    fn counter(self: &Arc<Self>, n: usize) -> thread::JoinHandle<()> {
        let (work, latch) = (Arc::clone(self), self.latch.clone());
        thread::spawn(move || {
            work.done[n].set(true);
            latch.count_down();
        })
    }

    /// Checks what was written. The caller has found the latch set.
    fn check(&self) {
        assert!(self.done.iter().all(Place::get));
    }
}

/// Two counts against a thread that registers and parks.
#[test]
fn two_counts_against_park() {
    small_model(|| {
        let work = Work::new();
        let threads = [work.counter(0), work.counter(1)];
        let parker = Arc::new(Parker::default());
        while work.latch.register(&parker) {
            parker.park();
        }
        work.check();
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

/// A thread that looks instead of parking finds the latch set only after both counts, and sees what was written before them.
#[test]
fn two_counts_against_a_look() {
    small_model(|| {
        let work = Work::new();
        let threads = [work.counter(0), work.counter(1)];
        if work.latch.is_set() {
            work.check();
        }
        for thread in threads {
            thread.join().unwrap();
        }
        assert!(work.latch.is_set());
    });
}

/// A thread registers, is woken for another reason, and withdraws, as a waiting thread of a pool may. A wake-up that was on its way leaves a
/// token too many, which does no harm.
#[test]
fn a_waiter_that_withdraws() {
    small_model(|| {
        let work = Work::new();
        let threads = [work.counter(0), work.counter(1)];
        let parker = Arc::new(Parker::default());
        if work.latch.register(&parker) {
            work.latch.unregister(&parker);
        }
        while !work.latch.is_set() {
            if work.latch.register(&parker) {
                parker.park();
            }
        }
        work.check();
        for thread in threads {
            thread.join().unwrap();
        }
    });
}
