//! Loom models of the latch: whoever waits is woken once the last count is there, and sees what was done before each.

use super::Latch;
use crate::sleep::Parker;
use crate::sync::Arc;
use crate::testing::{Place, small_model};
use loom::thread;

/// What the counters write, one place each, before they count down.
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

    /// After the latch was found set.
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

/// Who looks instead of parking sees the set latch only after both counts, and with what they did.
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

/// A pool's waiter: it registers, is woken for another reason, takes its name back and goes on. A wake-up that
/// was on its way is a token too many, no more.
#[test]
fn a_waiter_that_withdraws() {
    small_model(|| {
        let work = Work::new();
        let threads = [work.counter(0), work.counter(1)];
        let parker = Arc::new(Parker::default());
        if work.latch.register(&parker) {
            work.latch.unregister();
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
