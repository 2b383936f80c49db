//! Loom models of the sleep protocol: threads that really park, with only [`Sleep`], a parker for each thread and one queue.
//!
//! The thread that takes the last item closes the pool, so that a model ends only if every item is taken. A lost wake-up leaves every thread
//! blocked, which loom reports as a deadlock. At the end the counts of the word must be zero.

use super::{Counts, Need, Park, Parker, Sleep, Wakeup};
use crate::barrier;
use crate::sync::{Arc, AtomicBool, AtomicUsize, Ordering};
use crate::testing::{model, sharp_model, small_model};
use loom::thread;
// The tallies are not a part of what is modelled.
use std::sync::atomic::{AtomicUsize as Tally, Ordering::Relaxed};

mod parker;
mod rings;

/// A small pool.
struct Bench {
    sleep: Sleep,
    parkers: Vec<Parker>,
    /// The number of items that no thread has taken. There is no lock, which would order the accesses around it.
    queue: AtomicUsize,
    /// The number of items that there will be.
    items: usize,
    taken: Tally,
    /// What an item does, given the number of items taken before it.
    run: fn(&Bench, usize),
    /// Where an item may wait for another one.
    gate: Parker,
    /// For each slot, whether its worker has a call to answer, which no other thread can answer.
    calls: [AtomicBool; SLOTS],
    answered: Tally,
    /// Whether items are worth a thread beyond the number that the pool wants.
    exceeds: bool,
    /// The threads of spares.
    spares: std::sync::Mutex<Vec<thread::JoinHandle<()>>>,
}

/// The number of slots of a bench: two for workers, one for a spare.
const SLOTS: usize = 3;
const SPARE: usize = 2;

impl Bench {
    fn new(target: usize, spares: usize, items: usize, run: fn(&Bench, usize)) -> Arc<Self> {
        Arc::new(Bench::with(false, target, spares, items, run))
    }

    fn with(
        exceeds: bool,
        target: usize,
        spares: usize,
        items: usize,
        run: fn(&Bench, usize),
    ) -> Self {
        Bench {
            sleep: Sleep::new(target, spares, false),
            parkers: (0..SLOTS).map(|_| Parker::default()).collect(),
            queue: AtomicUsize::new(0),
            items,
            taken: Tally::new(0),
            run,
            gate: Parker::default(),
            calls: std::array::from_fn(|_| AtomicBool::new(false)),
            answered: Tally::new(0),
            exceeds,
            spares: std::sync::Mutex::default(),
        }
    }

    /// Starts the thread of a worker, which is awake and searching.
    fn worker(self: &Arc<Self>, slot: usize) -> thread::JoinHandle<()> {
        assert!(self.sleep.claim_worker(slot));
        self.spawn(move |bench| bench.work(slot))
    }

    /// Starts the thread of worker 0 in the middle of something that then waits.
    fn waiter(self: &Arc<Self>) -> thread::JoinHandle<()> {
        assert!(self.sleep.claim_worker(0));
        self.found();
        self.spawn(|bench| {
            bench.wait_bound(0);
            bench.sleep.begin_search();
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
        self.exceed();
    }

    /// Wakes a thread beyond the number that the pool wants for an item, as `Registry::attend_futures` does.
    fn exceed(self: &Arc<Self>) {
        if self.exceeds {
            let is_needed = || self.queue.load(Ordering::Relaxed) > 0;
            self.dispatch(self.sleep.claim_extra(is_needed));
        }
    }

    fn dispatch(self: &Arc<Self>, wakeup: Wakeup) {
        match wakeup {
            Wakeup::None => {}
            Wakeup::Unpark(slot) => self.parkers[slot].unpark(),
            // In a bench only the first workers start. The start of any other one fails.
            Wakeup::StartWorker(index) => {
                self.sleep.start_failed(Some(index));
                self.wake_leavers();
                if self.look() {
                    self.dispatch(self.sleep.claim_parked_thread(Need::Worker));
                }
            }
            Wakeup::Helper { .. } => unreachable!("no bench has a helper"),
            Wakeup::StartSpare => {
                let spare = self.spawn(|bench| bench.work(SPARE));
                self.spares.lock().unwrap().push(spare);
            }
        }
    }

    /// Calls a worker that has a thread, as `Registry::deliver` does.
    fn call(&self, slot: usize) {
        self.calls[slot].store(true, Ordering::Release);
        self.parkers[slot].unpark();
    }

    fn is_called(&self, slot: usize) -> bool {
        self.calls[slot].load(Ordering::Acquire)
    }

    /// Answers the call of this slot, if there is one.
    fn answer(&self, slot: usize) -> bool {
        let called = self.is_called(slot);
        if called {
            self.calls[slot].store(false, Ordering::Relaxed);
            self.answered.fetch_add(1, Relaxed);
        }
        called
    }

    /// Runs a worker, as `pool::worker::work` does.
    fn work(self: &Arc<Self>, slot: usize) {
        let mut called = false;
        loop {
            let worker = (slot != SPARE).then_some(slot);
            if called {
                self.answer(slot);
            } else {
                loop {
                    let answered = self.answer(slot);
                    if !answered && (self.sleep.is_surplus(worker) || !self.take()) {
                        break;
                    }
                    self.found();
                    if !answered {
                        self.run();
                    }
                    self.sleep.begin_search();
                }
            }
            let park = match worker {
                Some(index) if called => self.sleep.park_called(slot, index, || false),
                _ => self.sleep.park_free(slot, worker, || false),
            };
            match park {
                Park::Leave { look } => {
                    self.wake_leavers();
                    // Possibly no other thread is started for the index to answer the call.
                    self.answer(slot);
                    if look && self.look() {
                        self.dispatch(self.sleep.claim_thread(Need::Worker));
                    }
                    return;
                }
                Park::Stay => unreachable!("nothing is queued"),
                Park::Now => {
                    self.exceed();
                    self.parkers[slot].park();
                }
                Park::AfterLook => {
                    if !(self.look() && self.sleep.still_wanted(Need::Worker)) {
                        self.parkers[slot].park();
                    }
                }
            }
            called = self.is_called(slot) && self.sleep.unpark_called(slot);
            if !called {
                self.sleep.unpark_self(slot);
            }
        }
    }

    /// Parks a busy worker until an item wakes it, as `pool::worker::wait` does once.
    fn wait_bound(self: &Arc<Self>, slot: usize) {
        if self.sleep.park_bound(false) && self.look() {
            self.dispatch(self.sleep.claim_thread(Need::Worker));
        }
        self.parkers[slot].park();
        self.sleep.resume_bound(false);
    }

    fn wake_leavers(&self) {
        for slot in self.sleep.departed() {
            self.parkers[slot].unpark();
        }
    }

    fn found(self: &Arc<Self>) {
        let look = || (self.queue.load(Ordering::Relaxed) > 0).then_some(Need::Worker);
        self.dispatch(self.sleep.end_search_found(look));
    }

    fn leave_guest(self: &Arc<Self>) {
        let left = self.sleep.leave_guest();
        if left.is_some_and(|left| left.capacity) && self.look() {
            self.dispatch(self.sleep.claim_thread(Need::Help));
        }
    }

    /// Changes the size of the pool, as `Registry::set_num_threads` does.
    fn resize(self: &Arc<Self>, target: usize) {
        for slot in self.sleep.set_target(target).1 {
            self.parkers[slot].unpark();
        }
        if self.look() {
            self.dispatch(self.sleep.claim_thread(Need::Worker));
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

    /// Joins the threads, and checks the counts after their end.
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

/// Never both: the publisher wakes no thread, because the searcher is awake, and the searcher parks, because it has found nothing.
#[test]
fn last_searcher_against_publisher() {
    small_model(|| {
        let bench = Bench::new(1, 0, 1, nothing);
        let worker = bench.worker(0);
        bench.publish(Need::Worker);
        bench.check([worker]);
    });
}

/// A sleeper whose final re-check sees the work takes itself off the list while a second publisher claims it.
#[test]
fn final_recheck_against_a_claim() {
    small_model(|| {
        let bench = Bench::new(1, 0, 2, nothing);
        let worker = bench.worker(0);
        bench.publish(Need::Worker);
        bench.publish(Need::Worker);
        bench.check([worker]);
    });
}

/// All items are taken, although each publisher wakes at most one thread, and none while one searches.
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

/// The pool becomes smaller while an item is published. One of the workers takes the item.
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

/// A worker is called while it searches, parks or sleeps. If an item is published while it answers, there is no room for a thread, so that the
/// worker must look when it parks again.
#[test]
fn a_called_worker_against_a_publisher() {
    small_model(|| {
        let bench = Bench::new(1, 0, 1, nothing);
        let worker = bench.worker(0);
        bench.call(0);
        bench.publish(Need::Worker);
        bench.check([worker]);
        assert_eq!(bench.answered.load(Relaxed), 1);
    });
}

/// One of two workers is called. The other one is busy with an item that lasts until a second item has begun, so that the called worker
/// must take the second item.
#[test]
fn a_called_worker_takes_no_turn_from_another() {
    model(|| {
        let bench = Bench::new(2, 0, 2, |bench, before| match before {
            0 => bench.gate.park(),
            _ => bench.gate.unpark(),
        });
        let workers = [bench.worker(0), bench.worker(1)];
        bench.publish(Need::Worker);
        bench.call(0);
        bench.publish(Need::Worker);
        bench.check(workers);
        assert_eq!(bench.answered.load(Relaxed), 1);
    });
}

/// Two threads wake a third one, which sleeps until both have come. The second wake-up is not omitted because of the first.
#[test]
fn two_tokens_for_a_sleeper() {
    small_model(|| {
        let shared = Arc::new((Parker::default(), AtomicUsize::new(0)));
        let wakers = [(); 2].map(|()| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                shared.1.fetch_add(1, Ordering::Release);
                shared.0.unpark();
            })
        });
        while shared.1.load(Ordering::Acquire) < 2 {
            shared.0.park();
        }
        for waker in wakers {
            waker.join().unwrap();
        }
    });
}

/// The first of two items lasts until the second has begun. No thread is woken for the second item while the finder of the first
/// one searches, so that the finder must hand the search off.
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

/// Two items are published while the only worker is in the middle of something that lasts until they are taken. The thread beyond the number that the pool wants
/// parks after the first item, and the publisher of the second one finds it awake or wakes it.
#[test]
fn a_thread_beyond_the_number_parks_against_a_publisher() {
    small_model(|| {
        let bench = Arc::new(Bench::with(true, 1, 1, 2, |bench, before| {
            if before == 1 {
                bench.gate.unpark();
            }
        }));
        assert!(bench.sleep.claim_worker(0));
        bench.found();
        let worker = bench.spawn(|bench| {
            bench.gate.park();
            bench.sleep.begin_search();
            bench.work(0);
        });
        bench.publish(Need::Worker);
        bench.publish(Need::Worker);
        bench.check([worker]);
    });
}

/// The item for which a bound waiter waits is published while another worker goes to sleep. The other worker is woken for it, although the
/// waiter has parked more recently.
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

/// Work is published while the only worker is busy, so that there is no room. Then the worker parks in a wait for the work, and a spare
/// must be started.
#[test]
fn idle_capacity_starts_a_spare() {
    small_model(|| {
        let bench = Bench::new(1, 1, 1, |bench, _| bench.parkers[0].unpark());
        let waiter = bench.waiter();
        bench.publish(Need::Help);
        bench.check([waiter]);
    });
}

/// Work is published while a guest takes up the only room. Then the guest leaves, and the sleeper must be woken.
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

/// A guest leaves, which makes room, while a thread parks that may help with pending work. Either the guest sees that there is a helper, and
/// looks for it, or the helper sees the room. No other thread is available.
#[test]
fn a_guest_leaves_while_a_helper_parks() {
    sharp_model(|| {
        let sleep = Arc::new(Sleep::new(2, 0, false));
        assert!(sleep.claim_worker(0) && sleep.claim_worker(1));
        for _ in 0..2 {
            assert_eq!(sleep.end_search_found(|| None), Wakeup::None);
        }
        sleep.enter_guest();
        let guests = Arc::clone(&sleep);
        let guest = thread::spawn(move || guests.leave_guest().is_some_and(|left| left.capacity));
        // The parking thread would look here for the work that the guest sees.
        let _ = sleep.park_bound(false);
        sleep.register_helper();
        assert!(barrier::heavy());
        let has_room = sleep.has_room(Need::Help);
        assert!(guest.join().unwrap() || has_room);
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

/// Two publishers meet a sleeper and a second worker whose start fails. While the second worker is being started it counts as searching, so that
/// no other thread is woken. The failure must make up for that.
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
