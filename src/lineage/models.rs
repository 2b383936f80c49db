//! Loom models of lineages: owners whose runs begin and end, against a thief that looks up the ancestors of the oldest item and then takes it.
//!
//! An item that the thief takes must descend from what the thief waits for, and have the token of the run that pushed it. An item that descends
//! from it must not be mistaken for one that does not.

use super::{Lineage, Origin, Run, Token, descends};
use crate::barrier::{self, Flavour};
use crate::ring::{Popped, Ring, Steal};
use crate::sync::Arc;
use crate::testing;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;

/// Three slots, reduced to what the models need.
struct Slots {
    rings: [Box<Ring<u8>>; 3],
    lineages: [Lineage; 3],
    /// The items whose addresses the rings hold.
    items: [u8; 4],
    /// For each item, whether a thief has taken it and finished with it.
    done: [AtomicBool; 4],
}

/// The slot of the thread that waits, and the slots of the two that work.
const WAITER: usize = 0;
const ONE: usize = 1;
const TWO: usize = 2;

impl Slots {
    fn new() -> Self {
        Slots {
            rings: std::array::from_fn(|_| Ring::boxed()),
            lineages: std::array::from_fn(|_| Lineage::default()),
            items: [0; 4],
            done: std::array::from_fn(|_| AtomicBool::new(false)),
        }
    }

    /// The origin of the fork at `index` of the waiter's slot. The waiter waits for the fork at 0.
    fn awaited(&self, index: usize) -> Origin {
        self.origin_at(WAITER, index)
    }

    fn push(&self, slot: usize, item: usize) -> usize {
        let ring = &self.rings[slot];
        let index = ring.push(std::ptr::from_ref(&self.items[item]).cast_mut());
        if ring.must_answer(index) {
            ring.share();
        }
        index
    }

    /// Takes an item back, or waits for its thief.
    fn pop(&self, slot: usize, index: usize, item: usize) {
        if self.rings[slot].pop(index) == Popped::Stolen {
            while !self.done[item].load(Ordering::Acquire) {
                barrier::light();
                thread::yield_now();
            }
            self.rings[slot].reset(index);
        }
    }

    /// Begins a run that pushes this item. The token of the run is the address of the item.
    fn begin(&self, slot: usize, origin: Origin, base: usize, item: usize) -> Run<'_> {
        self.lineages[slot].begin(origin, self.token(item), base)
    }

    fn token(&self, item: usize) -> Token {
        Token::new(std::ptr::from_ref(&self.items[item]).cast())
    }

    /// Marks the item that a thief has taken from this slot as done. Returns its number.
    fn finish(&self, slot: usize, found: Steal<u8>) -> Option<usize> {
        let Steal::Item(item, index) = found else {
            return None;
        };
        let item = item.as_ptr().addr() - self.items.as_ptr().addr();
        let lineage = &self.lineages[slot];
        let token = lineage.token(lineage.place_at(slot, index));
        assert_eq!(token, self.token(item), "an item without its token");
        self.done[item].store(true, Ordering::Release);
        Some(item)
    }

    fn origin_at(&self, slot: usize, index: usize) -> Origin {
        let lineage = &self.lineages[slot];
        lineage.origin(lineage.place_at(slot, index))
    }

    fn descends(&self, origin: Origin, ancestor: Origin) -> bool {
        descends(origin, ancestor, |slot| self.lineages.get(slot))
    }

    /// Takes the oldest item of a slot, as the waiter does, if it descends from the awaited fork. Returns its number.
    fn help(&self, slot: usize, by_force: bool) -> Option<usize> {
        let below = self.awaited(0);
        let ring = &self.rings[slot];
        let allowed = |index| self.descends(self.origin_at(slot, index), below);
        let found = if by_force {
            ring.force(allowed)
        } else {
            ring.steal(allowed)
        };
        self.finish(slot, found)
    }
}

/// Runs `owner` beside a thread that helps. Both get the slots.
fn model(
    flavour: Flavour,
    owner: fn(&Slots),
    helper: fn(&Slots),
    explore: fn(Box<dyn Fn() + Send + Sync>),
) {
    explore(Box::new(move || {
        barrier::set_flavour(flavour);
        let slots = Arc::new(Slots::new());
        let interrupted = barrier::enter_owner(0);
        let other = {
            let slots = Arc::clone(&slots);
            thread::spawn(move || {
                barrier::set_flavour(flavour);
                helper(&slots);
            })
        };
        owner(&slots);
        drop(interrupted);
        other.join().unwrap();
    }));
}

fn small(body: Box<dyn Fn() + Send + Sync>) {
    testing::small_model(body);
}

fn sharp(body: Box<dyn Fn() + Send + Sync>) {
    testing::sharp_model(body);
}

/// A run that descends from the awaited fork pushes item 0 and takes it back. Then an unrelated run pushes item 1 at the same place.
fn two_runs_at_one_level(slots: &Slots) {
    let run = slots.begin(ONE, slots.awaited(0), 0, 0);
    let index = slots.push(ONE, 0);
    slots.pop(ONE, index, 0);
    drop(run);
    let run = slots.begin(ONE, slots.awaited(1), 0, 1);
    let index = slots.push(ONE, 1);
    slots.pop(ONE, index, 1);
    drop(run);
}

/// An unrelated run pushes item 1 and takes it back. Then a run that descends from the awaited fork pushes item 0 at the same place.
fn two_runs_the_other_way_round(slots: &Slots) {
    let run = slots.begin(ONE, slots.awaited(1), 0, 1);
    let index = slots.push(ONE, 1);
    slots.pop(ONE, index, 1);
    drop(run);
    let run = slots.begin(ONE, slots.awaited(0), 0, 0);
    let index = slots.push(ONE, 0);
    slots.pop(ONE, index, 0);
    drop(run);
}

/// Item 1 of an unrelated run is in the ring while a run that descends from the awaited fork begins on top of it, as it does in a scope's wait.
/// The level of the second run has been used before, with a lower base.
fn a_run_on_top_of_a_fork(slots: &Slots) {
    let run = slots.begin(ONE, slots.awaited(1), 0, 1);
    drop(slots.begin(ONE, slots.awaited(2), 0, 2));
    let index = slots.push(ONE, 1);
    slots.rings[ONE].share();
    drop(slots.begin(ONE, slots.awaited(0), index + 1, 0));
    slots.pop(ONE, index, 1);
    drop(run);
}

/// The awaited fork runs on slot 1. Its item 2 was stolen by slot 2, whose run of it pushes item 0. One thread acts for both slots, so that what
/// slot 1 wrote is ordered before, as it is by a steal.
fn a_chain_of_two(slots: &Slots) {
    loom::stop_exploring();
    let one = slots.begin(ONE, slots.awaited(0), 0, 2);
    let origin = slots.origin_at(ONE, 0);
    loom::explore();
    let two = slots.begin(TWO, origin, 0, 0);
    let index = slots.push(TWO, 0);
    slots.pop(TWO, index, 0);
    drop(two);
    drop(one);
}

fn helps_itself(slots: &Slots) {
    if let Some(item) = slots.help(ONE, false) {
        assert_eq!(item, 0, "an item that descends from something else");
    }
}

fn helps_itself_by_force(slots: &Slots) {
    if let Some(item) = slots.help(ONE, true) {
        assert_eq!(item, 0, "an item that descends from something else");
    }
}

/// A thief that takes an item has seen its ancestors before.
fn sees_the_chain(slots: &Slots) {
    let below = slots.awaited(0);
    for by_force in [false, true] {
        let seen = std::cell::Cell::new(false);
        let look = |index| {
            seen.set(slots.descends(slots.origin_at(TWO, index), below));
            true
        };
        let ring = &slots.rings[TWO];
        let found = if by_force {
            ring.force(look)
        } else {
            ring.steal(look)
        };
        if slots.finish(TWO, found).is_some() {
            assert!(seen.get(), "the ancestors of the item were not visible");
            return;
        }
    }
}

macro_rules! both_flavours {
    ($($(#[$doc:meta])* $name:ident: $explore:ident, $owner:ident, $helper:ident;)*) => {
        mod strict { use super::*; $( $(#[$doc])* #[test] fn $name() {
            model(Flavour::Strict, $owner, $helper, $explore);
        } )* }
        mod paired { use super::*; $( $(#[$doc])* #[test] fn $name() {
            model(Flavour::Paired, $owner, $helper, $explore);
        } )* }
    };
}

both_flavours! {
    a_level_is_used_again: small, two_runs_at_one_level, helps_itself;
    a_level_is_used_again_the_other_way_round: small, two_runs_the_other_way_round, helps_itself;
    a_level_is_used_again_by_force: sharp, two_runs_at_one_level, helps_itself_by_force;
    a_level_is_used_again_the_other_way_round_by_force: sharp, two_runs_the_other_way_round, helps_itself_by_force;
    a_run_begins_above_an_item: small, a_run_on_top_of_a_fork, helps_itself;
    a_run_begins_above_an_item_by_force: sharp, a_run_on_top_of_a_fork, helps_itself_by_force;
    a_chain_is_seen_whole: small, a_chain_of_two, sees_the_chain;
}
