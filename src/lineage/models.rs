//! Loom models of who may take what: owners whose runs begin and end, against a thief that asks whose the oldest item is and then takes it.
//!
//! What the thief gets must descend from what it waits for; and what does, and lies there, must not be taken for anything else.

use super::{Lineage, Origin, descends};
use crate::barrier::{self, Flavour};
use crate::ring::{Popped, Ring, Steal};
use crate::sync::Arc;
use crate::testing;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;

/// Three slots, without anything that the models do not need.
struct Slots {
    rings: [Box<Ring<u8>>; 3],
    lineages: [Lineage; 3],
    /// What rings hold addresses of.
    items: [u8; 4],
    /// A thief has the item, and is done with it.
    done: [AtomicBool; 4],
}

/// The slot of the thread that waits, and the two that work.
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

    /// The fork that the waiter waits for, or another one of its slot.
    fn awaited(&self, index: usize) -> Origin {
        self.origin_at(WAITER, index)
    }

    fn push(&self, slot: usize, item: usize) -> usize {
        let ring = &self.rings[slot];
        let index = ring.push(std::ptr::from_ref(&self.items[item]).cast_mut());
        if ring.attention_due(index) {
            ring.attend();
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

    /// A thief is done with what it got. Which item that was.
    fn finish(&self, found: Steal<u8>) -> Option<usize> {
        let Steal::Item(item, _) = found else {
            return None;
        };
        let item = item.as_ptr().addr() - self.items.as_ptr().addr();
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

    /// The waiter's step: takes the oldest item of a slot if that descends from its fork. Which item it got.
    fn help(&self, slot: usize, by_force: bool) -> Option<usize> {
        let below = self.awaited(0);
        let ring = &self.rings[slot];
        let allowed = |index| self.descends(self.origin_at(slot, index), below);
        self.finish(if by_force {
            ring.force(allowed)
        } else {
            ring.steal(allowed)
        })
    }
}

/// Runs `owner` beside a thread that helps; both get the slots.
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

/// A run that descends from the awaited fork pushes item 0 and takes it back; then a run of something else pushes item 1 at the same place.
fn two_runs_at_one_level(slots: &Slots) {
    let run = slots.lineages[ONE].begin(slots.awaited(0), 0);
    let index = slots.push(ONE, 0);
    slots.pop(ONE, index, 0);
    drop(run);
    let run = slots.lineages[ONE].begin(slots.awaited(1), 0);
    let index = slots.push(ONE, 1);
    slots.pop(ONE, index, 1);
    drop(run);
}

/// The other order: first what the waiter may not run.
fn two_runs_the_other_way_round(slots: &Slots) {
    let run = slots.lineages[ONE].begin(slots.awaited(1), 0);
    let index = slots.push(ONE, 1);
    slots.pop(ONE, index, 1);
    drop(run);
    let run = slots.lineages[ONE].begin(slots.awaited(0), 0);
    let index = slots.push(ONE, 0);
    slots.pop(ONE, index, 0);
    drop(run);
}

/// Item 1, of something else, lies in the ring while a run begins on top of it, as in a scope's wait, that descends from the awaited fork. Its
/// level has been used before, with a lower base.
fn a_run_on_top_of_a_fork(slots: &Slots) {
    let lineage = &slots.lineages[ONE];
    let run = lineage.begin(slots.awaited(1), 0);
    drop(lineage.begin(slots.awaited(2), 0));
    let index = slots.push(ONE, 1);
    slots.rings[ONE].attend();
    drop(lineage.begin(slots.awaited(0), index + 1));
    slots.pop(ONE, index, 1);
    drop(run);
}

/// The awaited fork runs on slot 1; its item 2 was stolen by slot 2, whose run of it pushes item 0. Both are one thread here: what slot 1 wrote
/// is ordered before, as by the steal.
fn a_chain_of_two(slots: &Slots) {
    loom::stop_exploring();
    let one = slots.lineages[ONE].begin(slots.awaited(0), 0);
    let origin = slots.origin_at(ONE, 0);
    loom::explore();
    let two = slots.lineages[TWO].begin(origin, 0);
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

/// Whoever takes an item has seen its ancestors before.
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
        if slots.finish(found).is_some() {
            assert!(seen.get(), "the item's ancestors were not to be seen");
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
