//! Models of a ring's owner against a worker that parks: the sleep protocol by way of the `limit` of a paired ring.

use super::*;
use crate::barrier::Flavour;
use crate::ring::{Announcements, Popped, Ring, Steal};
use crate::testing::sharp_model;
use std::cell::Cell;

struct Bench {
    sleep: Sleep,
    ring: Box<Ring<u8>>,
    announcements: Announcements,
    parker: Parker,
    /// Unparked when the last item has been taken.
    taken: Parker,
}

impl Bench {
    /// Answers a share request that is due after a push, as `Member::share` does. A worker that is claimed has a thread.
    fn share(&self, due: bool) {
        if due {
            self.ring.share();
            if self.sleep.published(Need::Help) != Wakeup::None {
                self.parker.unpark();
            }
        }
    }

    fn push(&self) -> usize {
        let index = self.ring.push(std::ptr::dangling_mut());
        self.share(self.ring.must_answer(index));
        index
    }

    fn steal(&self) -> bool {
        let found = match self.ring.steal(|_| true) {
            Steal::Empty if !self.ring.request() && !self.ring.is_empty() => {
                self.ring.force(|_| true)
            }
            found => found,
        };
        matches!(found, Steal::Item(..))
    }

    /// Makes the final re-check, as `Registry::final_recheck` does.
    fn look(&self) -> bool {
        let rings = || std::iter::once(&*self.ring);
        self.announcements
            .announce(|| Some(0), rings, barrier::heavy)
            && !self.ring.is_empty()
    }

    fn work(&self) {
        while !self.steal() {
            match self.sleep.park_free(0, Some(0), || false) {
                Park::AfterLook if self.look() && self.sleep.still_wanted(Need::Help) => {
                    thread::yield_now();
                }
                _ => self.parker.park(),
            }
            self.sleep.unpark_self(0);
        }
        self.taken.unpark();
    }
}

/// The owner pushes and pops `pops` forks. Then it pushes one that it does not pop before a thief has taken it.
fn parks_meanwhile(pops: usize) {
    sharp_model(move || {
        barrier::set_flavour(Flavour::Paired);
        let bench = Arc::new(Bench {
            sleep: Sleep::new(1, 0, false),
            ring: Ring::boxed(),
            announcements: Announcements::default(),
            parker: Parker::default(),
            taken: Parker::default(),
        });
        assert!(bench.sleep.claim_worker(0));
        let interrupted = barrier::enter_owner(0);
        let worker = {
            let bench = Arc::clone(&bench);
            thread::spawn(move || bench.work())
        };
        let mut index = bench.push();
        for _ in 0..pops {
            if bench.ring.pop(index) == Popped::Stolen {
                drop(interrupted);
                worker.join().unwrap();
                return;
            }
            index = bench.push();
        }
        bench.taken.park();
        assert_eq!(bench.ring.pop(index), Popped::Stolen);
        drop(interrupted);
        worker.join().unwrap();
    });
}

/// The only push wakes the worker, or the worker's final re-check sees it.
#[test]
fn a_push_against_park() {
    parks_meanwhile(0);
}

/// The owner answers a share request just before the worker parks. The worker may still read that request, and must not take it for its own
/// announcement.
#[test]
fn an_answer_against_park() {
    parks_meanwhile(1);
}

/// Announces to one ring of a set with this version. Returns whether that took a heavy fence.
fn announces(to: &Announcements, ring: &Ring<u8>, version: impl Fn() -> usize) -> bool {
    let heavy = Cell::new(false);
    let rings = || std::iter::once(ring);
    let ordered = to.announce(
        || Some(version()),
        rings,
        || {
            heavy.set(true);
            true
        },
    );
    assert!(ordered);
    heavy.get()
}

/// One ring takes another's place, and has answered as many requests. The next announcement needs a heavy fence all the same, and so does one after a
/// set that changed while it was read.
#[test]
fn announcements_to_a_set_that_changes() {
    sharp_model(|| {
        barrier::set_flavour(Flavour::Paired);
        let announcements = Announcements::default();
        let rings = [(); 2].map(|()| Ring::<u8>::boxed());
        for ring in &rings {
            ring.share();
            ring.request();
        }
        assert!(announces(&announcements, &rings[0], || 2));
        assert!(!announces(&announcements, &rings[0], || 2));
        assert!(announces(&announcements, &rings[1], || 4));
        let version = Cell::new(4);
        let next = || version.replace(version.get() + 2);
        assert!(announces(&announcements, &rings[0], next));
        assert!(announces(&announcements, &rings[1], || 4 + 2));
        assert!(announces(&announcements, &rings[1], || 4 + 4));
    });
}
