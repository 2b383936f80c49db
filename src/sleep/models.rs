//! Loom models of the sleep protocol: threads that park for real, with nothing but [`Sleep`], a parker each and one queue.
//!
//! Whoever takes the last item closes; so a model ends only if every item is taken. A wake-up that is lost leaves every thread
//! blocked, which loom reports as a deadlock. At the end the word must have counted everybody.

use super::{Counts, Need, Park, Parker, Recruit, Sleep};
use crate::barrier;
use crate::sync::{Arc, AtomicUsize, Ordering};
use crate::testing::{model, small_model};
use loom::thread;
// Tallies are no part of what is modelled.
use std::sync::atomic::{AtomicUsize as Tally, Ordering::Relaxed};

/// A pool in little.
struct Bench {
    sleep: Sleep,
    parkers: Vec<Parker>,
    /// Items that nobody has taken. No lock: a lock would order the words around it.
    queue: AtomicUsize,
    /// How many items there will be.
    items: usize,
    taken: Tally,
    /// What an item does, given how many were taken before it.
    run: fn(&Bench, usize),
    /// Where an item may wait for another one.
    gate: Parker,
    /// The threads of spares.
    spares: std::sync::Mutex<Vec<thread::JoinHandle<()>>>,
}

/// How many slots a bench has: two workers', a spare's.
const SLOTS: usize = 3;
const SPARE: usize = 2;

impl Bench {
    fn new(target: usize, spares: usize, items: usize, run: fn(&Bench, usize)) -> Arc<Self> {
        Arc::new(Bench {
            sleep: Sleep::new(target, spares),
            parkers: (0..SLOTS).map(|_| Parker::default()).collect(),
            queue: AtomicUsize::new(0),
            items,
            taken: Tally::new(0),
            run,
            gate: Parker::default(),
            spares: std::sync::Mutex::default(),
        })
    }

    /// A worker's thread, from its start: awake and searching.
    fn worker(self: &Arc<Self>, slot: usize) -> thread::JoinHandle<()> {
        assert!(self.sleep.claim_worker(slot));
        self.spawn(move |bench| bench.work(slot))
    }

    /// The thread of worker 0, from the middle of something that then waits.
    fn waiter(self: &Arc<Self>) -> thread::JoinHandle<()> {
        assert!(self.sleep.claim_worker(0));
        self.found();
        self.spawn(|bench| {
            bench.wait_bound(0);
            bench.sleep.search();
            bench.work(0);
        })
    }

    fn spawn(
        self: &Arc<Self>,
        f: impl FnOnce(&Arc<Self>) + Send + 'static,
    ) -> thread::JoinHandle<()> {
        let bench = Arc::clone(self);
        thread::spawn(move || f(&bench))
    }

    fn publish(self: &Arc<Self>, need: Need) {
        self.queue.fetch_add(1, Ordering::Release);
        self.dispatch(self.sleep.published(need));
    }

    fn dispatch(self: &Arc<Self>, recruit: Recruit) {
        match recruit {
            Recruit::None => {}
            Recruit::Unpark(slot) => self.parkers[slot].unpark(),
            // No bench has another worker that starts: this one cannot.
            Recruit::StartWorker(index) => {
                self.sleep.start_failed(Some(index));
                if self.look() {
                    self.dispatch(self.sleep.recruit_parked(Need::Worker));
                }
            }
            Recruit::Helper { .. } => unreachable!("no bench has a helper"),
            Recruit::StartSpare => {
                let spare = self.spawn(|bench| bench.work(SPARE));
                self.spares.lock().unwrap().push(spare);
            }
        }
    }

    /// As `pool::worker::work`.
    fn work(self: &Arc<Self>, slot: usize) {
        loop {
            let worker = (slot != SPARE).then_some(slot);
            while !self.sleep.is_surplus(worker) && self.take() {
                self.found();
                self.run();
                self.sleep.search();
            }
            match self.sleep.park_free(slot, worker) {
                Park::Leave => {
                    if !(self.look() && self.sleep.rejoin(worker)) {
                        return;
                    }
                    continue;
                }
                Park::Surplus => {
                    if self.look() {
                        self.dispatch(self.sleep.recruit(Need::Worker));
                    }
                    return;
                }
                Park::Now => self.parkers[slot].park(),
                Park::AfterLook => {
                    if !(self.look() && self.sleep.still_wanted(Need::Worker)) {
                        self.parkers[slot].park();
                    }
                }
            }
            self.sleep.unpark_self(slot);
        }
    }

    /// As `pool::worker::wait`, once, by a worker that is busy: parks until an item wakes it.
    fn wait_bound(self: &Arc<Self>, slot: usize) {
        if self.sleep.park_bound(false) && self.look() {
            self.dispatch(self.sleep.recruit(Need::Worker));
        }
        self.parkers[slot].park();
        self.sleep.resume_bound(false);
    }

    fn found(self: &Arc<Self>) {
        let look = || (self.queue.load(Ordering::Relaxed) > 0).then_some(Need::Worker);
        self.dispatch(self.sleep.found(look));
    }

    fn leave_guest(self: &Arc<Self>) {
        if self.sleep.leave_guest().vacancy && self.look() {
            self.dispatch(self.sleep.recruit(Need::Help));
        }
    }

    /// As `Registry::set_num_threads`.
    fn resize(self: &Arc<Self>, target: usize) {
        for slot in self.sleep.set_target(target).1 {
            self.parkers[slot].unpark();
        }
        if self.look() {
            self.dispatch(self.sleep.recruit(Need::Worker));
        }
    }

    fn look(&self) -> bool {
        barrier::heavy() && self.queue.load(Ordering::Relaxed) > 0
    }

    fn take(&self) -> bool {
        let mut items = self.queue.load(Ordering::Relaxed);
        while items > 0 {
            match self
                .queue
                .compare_exchange(items, items - 1, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => return true,
                Err(now) => items = now,
            }
        }
        false
    }

    fn run(&self) {
        let before = self.taken.fetch_add(1, Relaxed);
        if before + 1 == self.items {
            for slot in self.sleep.close() {
                self.parkers[slot].unpark();
            }
        }
        (self.run)(self, before);
    }

    /// After everybody's end.
    fn check(&self, threads: impl IntoIterator<Item = thread::JoinHandle<()>>) {
        for thread in threads {
            thread.join().unwrap();
        }
        while let Some(spare) = { self.spares.lock().unwrap().pop() } {
            spare.join().unwrap();
        }
        assert_eq!(self.taken.load(Relaxed), self.items);
        let counts = self.sleep.counts();
        let Counts {
            workers,
            guests,
            searching,
            ..
        } = counts;
        assert_eq!((workers, guests, searching), (0, 0, 0), "{counts:?}");
    }
}

fn nothing(_: &Bench, _: usize) {}

/// The publisher does not wake, for the searcher is awake; the searcher parks, for it has looked: not both.
#[test]
fn last_searcher_against_publisher() {
    small_model(|| {
        let bench = Bench::new(1, 0, 1, nothing);
        let worker = bench.worker(0);
        bench.publish(Need::Worker);
        bench.check([worker]);
    });
}

/// A sleeper whose last look sees the work leaves the list by itself while a second publisher takes it from there.
#[test]
fn last_look_against_recruiter() {
    small_model(|| {
        let bench = Bench::new(1, 0, 2, nothing);
        let worker = bench.worker(0);
        bench.publish(Need::Worker);
        bench.publish(Need::Worker);
        bench.check([worker]);
    });
}

/// All items are taken, though each publisher wakes one thread at most and none while one searches.
#[test]
fn two_publishers_and_two_sleepers() {
    model(|| {
        let bench = Bench::new(2, 0, 2, nothing);
        let workers = [bench.worker(0), bench.worker(1)];
        let publisher = bench.spawn(|bench| bench.publish(Need::Worker));
        bench.publish(Need::Help);
        bench.check(workers.into_iter().chain([publisher]));
    });
}

/// The pool becomes smaller while an item is published: whichever worker was to take it, one does.
#[test]
fn a_smaller_pool_against_a_publisher() {
    model(|| {
        let bench = Bench::new(2, 0, 1, nothing);
        let workers = [bench.worker(0), bench.worker(1)];
        let publisher = bench.spawn(|bench| bench.publish(Need::Worker));
        bench.resize(1);
        bench.check(workers.into_iter().chain([publisher]));
    });
}

/// Of two items the first is busy until the second has begun. Nobody is woken for the second while the finder of the first
/// searches; so that one must pass the search on.
#[test]
fn a_finder_passes_the_search_on() {
    model(|| {
        let bench = Bench::new(2, 0, 2, |bench, before| match before {
            0 => bench.gate.park(),
            _ => bench.gate.unpark(),
        });
        let workers = [bench.worker(0), bench.worker(1)];
        bench.publish(Need::Worker);
        bench.publish(Need::Worker);
        bench.check(workers);
    });
}

/// What a bound waiter waits for is published while another worker goes to sleep: the item finds that one, though the waiter's is
/// the parker that is used more recently.
#[test]
fn a_bound_waiter_beside_a_free_sleeper() {
    model(|| {
        let bench = Bench::new(2, 0, 1, |bench, _| bench.parkers[0].unpark());
        let sleeper = bench.worker(1);
        let waiter = bench.waiter();
        bench.publish(Need::Help);
        bench.check([waiter, sleeper]);
    });
}

/// Work is published while the only worker is busy: there is no room. Then that worker parks in a wait for the work: a spare
/// must be started.
#[test]
fn a_vacancy_is_filled_by_a_spare() {
    small_model(|| {
        let bench = Bench::new(1, 1, 1, |bench, _| bench.parkers[0].unpark());
        let waiter = bench.waiter();
        bench.publish(Need::Help);
        bench.check([waiter]);
    });
}

/// Work is published while a guest takes the only place. Then the guest leaves: the sleeper must be woken.
#[test]
fn a_guest_leaves_while_work_is_pending() {
    model(|| {
        let bench = Bench::new(1, 0, 1, nothing);
        bench.sleep.enter_guest();
        let worker = bench.worker(0);
        let guest = bench.spawn(Bench::leave_guest);
        bench.publish(Need::Help);
        bench.check([worker, guest]);
    });
}

/// A worker that parks while the pool closes leaves or is woken.
#[test]
fn close_against_park() {
    small_model(|| {
        let bench = Bench::new(2, 0, 0, nothing);
        let workers = [bench.worker(0), bench.worker(1)];
        for slot in bench.sleep.close() {
            bench.parkers[slot].unpark();
        }
        bench.check(workers);
    });
}

/// Two publishers, a sleeper, and a second worker that cannot be started. While it is being started it counts as searching, so that
/// nobody else is woken: the failure must make up for that.
#[test]
fn a_start_that_fails_loses_no_wake_up() {
    model(|| {
        let bench = Bench::new(2, 0, 3, |_, _| thread::yield_now());
        let worker = bench.worker(0);
        bench.publish(Need::Worker);
        let publisher = bench.spawn(|bench| bench.publish(Need::Worker));
        thread::yield_now();
        bench.publish(Need::Worker);
        bench.check([worker, publisher]);
    });
}

mod parker {
    use super::*;

    /// A token that is left before the sleeper comes is kept.
    #[test]
    fn token_before_park() {
        small_model(|| {
            let parker = Parker::default();
            parker.unpark();
            parker.park();
        });
    }

    /// The sleeper is woken whenever the token comes.
    #[test]
    fn unpark_against_park() {
        small_model(|| {
            let parker = Arc::new(Parker::default());
            let waker = Arc::clone(&parker);
            let thread = thread::spawn(move || waker.unpark());
            parker.park();
            thread.join().unwrap();
        });
    }

    /// Two wake-ups count as one or two, so a waiter that looks at what it waits for after each of them sees both causes.
    #[test]
    fn two_unparks() {
        small_model(|| {
            let parker = Arc::new(Parker::default());
            let causes = Arc::new(AtomicUsize::new(0));
            let threads: Vec<_> = (0..2)
                .map(|_| {
                    let (parker, causes) = (Arc::clone(&parker), Arc::clone(&causes));
                    thread::spawn(move || {
                        causes.fetch_add(1, Ordering::Relaxed);
                        parker.unpark();
                    })
                })
                .collect();
            while causes.load(Ordering::Relaxed) < 2 {
                parker.park();
            }
            for thread in threads {
                thread.join().unwrap();
            }
        });
    }
}

/// A ring's owner and a worker that parks: the protocol by way of the ring's `limit`, in a paired ring.
mod rings {
    use super::*;
    use crate::barrier::Flavour;
    use crate::ring::{self, Popped, Ring, Steal};
    use crate::testing::sharp_model;

    struct Bench {
        sleep: Sleep,
        ring: Box<Ring<u8>>,
        parker: Parker,
        /// The last item has been taken.
        taken: Parker,
    }

    impl Bench {
        /// As `pool::Slot::push_task`, from a push on. A worker that is recruited is there.
        fn attend(&self, due: bool) {
            if due {
                self.ring.attend();
                if self.sleep.published(Need::Help) != Recruit::None {
                    self.parker.unpark();
                }
            }
        }

        fn push(&self) -> usize {
            let index = self.ring.push(std::ptr::dangling_mut());
            self.attend(self.ring.attention_due(index));
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

        /// As `Registry::last_look`.
        fn look(&self) -> bool {
            ring::announce(std::iter::once(&*self.ring));
            barrier::heavy() && !self.ring.is_empty()
        }

        fn work(&self) {
            while !self.steal() {
                match self.sleep.park_free(0, Some(0)) {
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

    /// The owner's `pops` forks come back to it; then it pushes one that it does not pop until it has been taken.
    fn parks_meanwhile(pops: usize) {
        sharp_model(move || {
            barrier::set_flavour(Flavour::Paired);
            let bench = Arc::new(Bench {
                sleep: Sleep::new(1, 0),
                ring: Ring::boxed(),
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

    /// The only push announces itself, or is seen by the last look.
    #[test]
    fn a_push_against_park() {
        parks_meanwhile(0);
    }

    /// The owner answers a request just before the worker parks. The worker must not take that request, which it may still read, for its
    /// announcement.
    #[test]
    fn an_answer_against_park() {
        parks_meanwhile(1);
    }
}
