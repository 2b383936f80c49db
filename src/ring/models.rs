//! Loom models of the ring. Each item must be taken exactly once, by the owner's pop or by one thief, and a thief that takes it must see what the
//! owner wrote into it.
//!
//! Each model exists in two flavours: strict (real fences in the slow paths) and paired (the light fence is a poll point, and the heavy one
//! waits for the owner to pass it).

use super::{Popped, Ring, Steal};
use crate::barrier::{self, Flavour};
use crate::sync::Arc;
use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;
// The tallies are not a part of what is modelled.
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The item to which a place points.
struct Item {
    /// Written by the owner before the push, read by the thread that takes the item.
    value: UnsafeCell<usize>,
    taken: AtomicUsize,
    /// Set by a thief when it has finished with the item.
    done: AtomicBool,
}

/// A ring and the items that its owner will push.
struct Bench {
    ring: Box<Ring<Item>>,
    items: Vec<Item>,
    /// Whether the job runs whose descendants helpers may take. Only item 0 is one.
    running: AtomicBool,
}

impl Bench {
    fn new(items: usize) -> Arc<Self> {
        Arc::new(Bench {
            ring: Ring::boxed(),
            items: (0..items)
                .map(|_| Item {
                    value: UnsafeCell::new(0),
                    taken: AtomicUsize::new(0),
                    done: AtomicBool::new(false),
                })
                .collect(),
            running: AtomicBool::new(true),
        })
    }

    /// Owner: fills in and pushes item `n`, as `join` does.
    fn push(&self, n: usize) -> usize {
        let item = &self.items[n];
        // SAFETY: no other thread has access to the item until it is pushed.
        item.value.with_mut(|value| unsafe { *value = n + 1 });
        let index = self.ring.push(std::ptr::from_ref(item).cast_mut());
        if self.ring.must_answer(index) {
            self.ring.share();
        }
        index
    }

    /// Owner: takes item `n` back from `index`, or waits for its thief.
    fn pop(&self, n: usize, index: usize) {
        match self.ring.pop(index) {
            Popped::Ours => self.take(n),
            Popped::Stolen => {
                while !self.items[n].done.load(Ordering::Acquire) {
                    barrier::light();
                    thread::yield_now();
                }
                self.ring.reset(index);
            }
        }
    }

    fn take(&self, n: usize) {
        let item = &self.items[n];
        // SAFETY: no other thread has access to an item after it has been taken. Loom reports a violation.
        item.value
            .with(|value| assert_eq!(unsafe { *value }, n + 1));
        assert_eq!(item.taken.fetch_add(1, Relaxed), 0, "item {n} twice");
    }

    /// Owner: ends the job. Item 1, which comes later, does not descend from it.
    fn end_job(&self) {
        self.running.store(false, Ordering::Release);
    }

    /// Helper: what it checks before it takes an item.
    fn is_running(&self) -> bool {
        self.running.load(Ordering::Acquire)
    }

    /// Helper: finishes with the item that it took, which must be a descendant.
    fn finish_help(&self, stolen: Steal<Item>) {
        if let Steal::Item(item, _) = stolen {
            let descendant = std::ptr::eq(&self.items[0], item.as_ptr());
            assert!(descendant, "an item of another job");
            self.finish(stolen);
        }
    }

    /// Thief: finishes with the item that it took.
    fn finish(&self, stolen: Steal<Item>) {
        if let Steal::Item(item, _) = stolen {
            let n = self
                .items
                .iter()
                .position(|other| std::ptr::eq(other, item.as_ptr()))
                .expect("an item that was never pushed");
            self.take(n);
            self.items[n].done.store(true, Ordering::Release);
        }
    }

    fn steal(&self) {
        self.finish(self.ring.steal(|_| true));
    }

    fn force(&self) {
        self.finish(self.ring.force(|_| true));
    }

    /// Owner: waits until a thief has finished with item `n`.
    fn await_thief(&self, n: usize) {
        while !self.items[n].done.load(Ordering::Acquire) {
            thread::yield_now();
        }
    }

    /// Owner: takes an interrupt that is due.
    fn interrupt(&self) {
        thread::yield_now();
        barrier::light();
    }

    fn check(&self) {
        for (n, item) in self.items.iter().enumerate() {
            assert_eq!(item.taken.load(Relaxed), 1, "item {n}");
        }
        assert_eq!(self.ring.depth(), 0);
        assert!(self.ring.is_empty());
    }
}

type Role = fn(&Bench);

/// Runs `owner` beside the thieves, in every order within the bound.
fn model(flavour: Flavour, items: usize, owner: Role, thieves: &'static [Role]) {
    crate::testing::model(run(flavour, items, owner, thieves));
}

/// Runs `owner` beside the thieves, for few operations, with a bound of 3 and switches at fences.
fn sharp_model(flavour: Flavour, items: usize, owner: Role, thieves: &'static [Role]) {
    crate::testing::sharp_model(run(flavour, items, owner, thieves));
}

fn run(
    flavour: Flavour,
    items: usize,
    owner: Role,
    thieves: &'static [Role],
) -> impl Fn() + Sync + Send + 'static {
    move || {
        barrier::set_flavour(flavour);
        let bench = Bench::new(items);
        let interrupted = barrier::enter_owner(0);
        let threads: Vec<_> = thieves
            .iter()
            .map(|&thief| {
                let bench = Arc::clone(&bench);
                thread::spawn(move || {
                    barrier::set_flavour(flavour);
                    thief(&bench);
                })
            })
            .collect();
        owner(&bench);
        drop(interrupted);
        for thread in threads {
            thread.join().unwrap();
        }
        bench.check();
    }
}

macro_rules! both_flavours {
    ($($(#[$doc:meta])* $name:ident: $model:ident, $items:expr, $owner:expr, $thieves:expr;)*) => {
        mod strict { use super::*; $( $(#[$doc])* #[test] fn $name() {
            $model(Flavour::Strict, $items, $owner, $thieves);
        } )* }
        mod paired { use super::*; $( $(#[$doc])* #[test] fn $name() {
            $model(Flavour::Paired, $items, $owner, $thieves);
        } )* }
    };
}

/// Three pushes and pops, the second place used twice.
fn push_pop_thrice(bench: &Bench) {
    let a = bench.push(0);
    let b = bench.push(1);
    bench.pop(1, b);
    let c = bench.push(2);
    bench.pop(2, c);
    bench.pop(0, a);
}

/// Two nested items that are pending at the same time, with an answered share request in between.
fn publish_between(bench: &Bench) {
    let a = bench.push(0);
    let b = bench.push(1);
    bench.ring.share();
    bench.pop(1, b);
    bench.pop(0, a);
}

/// Two private items: the share request was answered before there was an item.
fn private_pair(bench: &Bench) {
    bench.ring.share();
    let a = bench.push(0);
    let b = bench.push(1);
    bench.pop(1, b);
    bench.pop(0, a);
}

/// One private item, then another at the same place.
fn private_twice(bench: &Bench) {
    bench.ring.share();
    let a = bench.push(0);
    bench.pop(0, a);
    let b = bench.push(1);
    bench.pop(1, b);
}

/// Two private items, each of which is made public while a thief may be forcing.
fn publish_twice(bench: &Bench) {
    bench.ring.share();
    let a = bench.push(0);
    bench.ring.share();
    let b = bench.push(1);
    bench.ring.share();
    bench.pop(1, b);
    bench.pop(0, a);
}

/// The owner takes back a public descendant. Then another job pushes a public item at the same place.
fn two_public_lives(bench: &Bench) {
    let a = bench.push(0);
    bench.ring.share();
    bench.pop(0, a);
    bench.end_job();
    let b = bench.push(1);
    bench.ring.share();
    bench.pop(1, b);
}

/// The owner takes back a private descendant. Then another job pushes a private item at the same place.
fn two_private_lives(bench: &Bench) {
    bench.ring.share();
    let a = bench.push(0);
    bench.pop(0, a);
    bench.end_job();
    let b = bench.push(1);
    bench.pop(1, b);
}

fn help_to_public(bench: &Bench) {
    bench.finish_help(bench.ring.steal(|_| bench.is_running()));
}

fn help_by_force(bench: &Bench) {
    bench.finish_help(bench.ring.force(|_| bench.is_running()));
}

/// One private item.
fn one_private(bench: &Bench) {
    bench.ring.share();
    let a = bench.push(0);
    bench.pop(0, a);
}

/// One item, made public.
fn one_public(bench: &Bench) {
    let a = bench.push(0);
    bench.ring.share();
    bench.pop(0, a);
}

/// One item, which a thief takes before the owner looks.
fn stolen_then_reset(bench: &Bench) {
    let a = bench.push(0);
    bench.ring.share();
    bench.await_thief(0);
    bench.pop(0, a);
}

/// Takes a public item, and then tries force on the place in which it was.
fn steal_then_force(bench: &Bench) {
    while bench.items[0].taken.load(Relaxed) == 0 {
        bench.steal();
        thread::yield_now();
    }
    bench.force();
}

/// Takes the item that a forcing thief has made public, if there is one.
fn steal_the_second(bench: &Bench) {
    bench.finish(bench.ring.steal(|index| index >= 1));
}

/// Private items, where the second place is filled again after an interrupt. A thief may have read that there are three items.
fn refill_a_neighbour(bench: &Bench) {
    loom::stop_exploring();
    bench.ring.share();
    let a = bench.push(0);
    let b = bench.push(1);
    let c = bench.push(2);
    bench.pop(2, c);
    bench.pop(1, b);
    loom::explore();
    bench.interrupt();
    let d = bench.push(3);
    bench.pop(3, d);
    bench.pop(0, a);
}

/// The first place is filled again after an interrupt, and a thief may read the index that a pop leaves. It may have read `bottom` when the place
/// held its first item.
fn refill_and_pop(bench: &Bench) {
    loom::stop_exploring();
    bench.ring.share();
    let a = bench.push(0);
    bench.pop(0, a);
    loom::explore();
    bench.interrupt();
    let b = bench.push(1);
    let c = bench.push(2);
    bench.pop(2, c);
    bench.pop(1, b);
}

both_flavours! {
    two_public_steals: model, 3, push_pop_thrice, &[|b| { b.steal(); b.steal(); }];
    public_steals_of_two_thieves: model, 2, publish_between, &[Bench::steal, Bench::steal];
    force_takes_a_private_item_once: model, 2, private_twice, &[Bench::force];
    force_against_nested_pops: model, 2, private_pair, &[Bench::force];
    two_public_steals_and_one_forced: model, 3, push_pop_thrice, &[|b| { b.steal(); b.steal(); }, Bench::force];
    two_forcers: model, 2, private_pair, &[Bench::force, Bench::force];
    force_then_steal_what_it_published: model, 2, private_pair, &[|b| { b.force(); b.steal(); }];
    publish_against_force: model, 2, publish_twice, &[Bench::force];
    publish_against_force_and_steal: model, 2, publish_twice, &[Bench::force, Bench::steal];
    two_forces_of_one_thief: model, 2, private_twice, &[|b| { b.force(); b.force(); }];
    two_forcers_of_a_place_used_twice: model, 2, private_twice, &[Bench::force, Bench::force];
    help_takes_public_descendants_only: model, 2, two_public_lives, &[help_to_public];
    help_takes_private_descendants_only: model, 2, two_private_lives, &[help_by_force];
    one_private_item: sharp_model, 1, one_private, &[Bench::force];
    one_public_item: sharp_model, 1, one_public, &[Bench::steal];
    reset_against_force: sharp_model, 1, stolen_then_reset, &[steal_then_force];
    force_pins_a_place_filled_after_its_fence: sharp_model, 4, refill_a_neighbour, &[|b| { b.force(); b.steal(); }];
    a_forced_neighbour_is_published: model, 4, refill_a_neighbour, &[Bench::force, steal_the_second];
    force_reads_the_bottom_that_a_pop_left: sharp_model, 3, refill_and_pop, &[Bench::force];
    help_asks_when_the_item_is_pinned: sharp_model, 2, two_private_lives, &[help_by_force];
}
