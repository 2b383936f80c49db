//! The wheel against an ordered map, and the limits that it promises.

use super::{BATCH, Key, LEVELS, Next, SLOTS, Wheel};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// The most steps without an item that are made for each item in the wheel: one move for each level, alone in each step.
const STEPS: usize = LEVELS + 1;

/// A wheel, and an ordered map with the same items. An item is its number.
#[derive(Default)]
struct Pair {
    wheel: Wheel<u64>,
    model: BTreeMap<(u64, u64), Key>,
    now: u64,
    last: u64,
    /// The smallest time that was returned since the last step: it must not be later than the first deadline.
    next: Option<u64>,
}

impl Pair {
    fn insert(&mut self, deadline: u64) {
        self.last += 1;
        let (key, next) = self.wheel.insert(deadline, self.last);
        assert!(next <= deadline);
        self.model.insert((deadline, self.last), key);
        self.next = Some(self.next.map_or(next, |before| before.min(next)));
    }

    /// Removes the item at a place in the order of the deadlines.
    fn remove(&mut self, at: usize) {
        let at = at % self.model.len().max(1);
        if let Some((&(deadline, number), &key)) = self.model.iter().nth(at) {
            assert_eq!(self.wheel.get_mut(key).copied(), Some(number));
            assert_eq!(self.wheel.remove(key), Some(number));
            assert_eq!(self.wheel.remove(key), None);
            assert_eq!(self.wheel.get_mut(key), None);
            self.model.remove(&(deadline, number));
        }
    }

    /// Makes one step. All items that it returns are due and the first of all, in order of deadlines.
    fn step(&mut self) -> Next {
        let mut due = Vec::new();
        let next = self.wheel.step(self.now, &mut due);
        assert!(due.len() <= BATCH);
        // Items with the same deadline come in any order.
        for number in due {
            let (&(first, _), _) = self.model.first_key_value().expect("an item too many");
            let key = self.model.remove(&(first, number));
            let key = key.unwrap_or_else(|| panic!("{number} came before the first, {first}"));
            assert!(first <= self.now);
            assert_eq!(self.wheel.remove(key), None);
        }
        next
    }

    /// Makes steps until nothing is to be done.
    fn run(&mut self) {
        let mut left = (self.model.len() + 1) * STEPS;
        let next = loop {
            match self.step() {
                Next::Now => left = left.checked_sub(1).expect("too many steps"),
                next => break next,
            }
        };
        let first = self.model.keys().next();
        match (next, first) {
            (Next::Never, None) => self.next = None,
            (Next::At(time), Some(&(first, _))) => {
                assert!(self.now < time && time <= first);
                self.next = Some(time);
            }
            other => panic!("the next step and the first item: {other:?}"),
        }
        assert_eq!(self.wheel.is_empty(), self.model.is_empty());
    }

    /// Moves the time to the next step, as the thread of the timer does.
    fn sleep(&mut self) {
        self.now = self.now.max(self.next.unwrap_or(self.now));
        self.run();
    }
}

#[derive(Clone, Debug)]
enum Act {
    /// Inserts items at a time from now, with a distance from each to the next.
    Insert(u64, u64, usize),
    /// Inserts items before now.
    Late(u64),
    /// Inserts an item at an absolute time.
    At(u64),
    Remove(usize, usize),
    Step,
    Sleep,
    /// Moves the time.
    Pass(u64),
}

/// Numbers of all magnitudes.
fn any_magnitude() -> impl Strategy<Value = u64> {
    (any::<u64>(), 0..64_u32).prop_map(|(number, bits)| number >> bits)
}

fn act() -> impl Strategy<Value = Act> {
    // Most times are close enough that many items fall together.
    let time = || {
        prop_oneof![
            0..1_000_u64,
            0..1_000_000_u64,
            0..1_u64 << 36,
            any_magnitude()
        ]
    };
    let distance = prop_oneof![Just(0), 1..4_u64, 0..100_000_u64, any_magnitude()];
    prop_oneof![
        3 => (time(), distance, 1..300_usize).prop_map(|(time, distance, n)| Act::Insert(time, distance, n)),
        1 => time().prop_map(Act::Late),
        1 => prop_oneof![Just(u64::MAX), Just(0), any::<u64>()].prop_map(Act::At),
        2 => (any::<usize>(), 1..200_usize).prop_map(|(at, n)| Act::Remove(at, n)),
        3 => Just(Act::Step),
        3 => Just(Act::Sleep),
        2 => time().prop_map(Act::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_wheel_is_an_ordered_map(acts in vec(act(), 1..60)) {
        let mut pair = Pair::default();
        for act in acts {
            match act {
                Act::Insert(time, distance, n) => {
                    let first = pair.now.saturating_add(time);
                    for n in 0..n as u64 {
                        pair.insert(first.saturating_add(distance.saturating_mul(n)));
                    }
                }
                Act::Late(time) => pair.insert(pair.now.saturating_sub(time)),
                Act::At(time) => pair.insert(time),
                Act::Remove(at, n) => (0..n).for_each(|n| pair.remove(at.wrapping_add(n * 7))),
                Act::Step => drop(pair.step()),
                Act::Sleep => pair.sleep(),
                Act::Pass(time) => {
                    pair.now = pair.now.saturating_add(time);
                    pair.run();
                }
            }
        }
        pair.now = u64::MAX;
        pair.run();
        prop_assert!(pair.model.is_empty());
    }
}

/// Runs until the wheel is empty. Returns how often the thread of the timer wakes.
fn sleeps(pair: &mut Pair) -> usize {
    pair.run();
    let mut count = 0;
    while !pair.model.is_empty() {
        pair.sleep();
        count += 1;
    }
    count
}

#[test]
fn a_few_deadlines_take_no_other_wake_ups() {
    for time in [1, 1_000, 1_234_567, 3_600_000_000_123, 1 << 60] {
        let mut pair = Pair {
            now: 123_456_789,
            ..Pair::default()
        };
        for n in 1..=10 {
            pair.insert(pair.now + time * n / 4);
        }
        assert!(sleeps(&mut pair) <= 10);
    }
}

/// Each large slot takes at most one wake-up of its own.
#[test]
fn many_deadlines_take_few_other_wake_ups() {
    let mut pair = Pair::default();
    let mut last = 0;
    for n in 0..5_000 {
        pair.insert((1 << 33) + n * 1_000_003);
        last = (1 << 33) + n * 1_000_003;
    }
    // Slots of 2^32 ns have four thousand items, and slots of 2^24 ns have 17.
    let slots = (last >> 32) as usize + 1;
    assert!(sleeps(&mut pair) <= 5_000 + 2 * slots);
}

/// The first items of a large slot are returned at their deadlines: the slot is drained before its time begins.
#[test]
fn a_large_slot_is_prepared_before_its_time() {
    let mut pair = Pair::default();
    let start = 1 << 36;
    // Every 2 us around the beginning of a slot of level 4, which has 40,000 of them.
    for n in 0..50_000_u64 {
        pair.insert(start - 20_000_000 + 2_000 * n);
    }
    pair.run();
    let mut moved = false;
    while let Some(&(first, _)) = pair.model.keys().next() {
        let next = pair.next.expect("items are left");
        if next == first {
            // At a deadline, one step or two return the item.
            pair.now = next;
            let before = pair.model.len();
            assert_eq!(pair.step(), Next::Now);
            let _next = pair.step();
            assert!(pair.model.len() < before, "an item was late");
        } else {
            moved = true;
        }
        pair.sleep();
    }
    assert!(moved);
}

/// A machine that was suspended: one step for each group of items, and none for the time that has passed.
#[test]
fn a_jump_of_the_clock_takes_no_time() {
    let mut pair = Pair::default();
    pair.insert(1_000);
    pair.insert(u64::MAX - 1);
    pair.run();
    pair.now = u64::MAX - 2;
    assert_eq!(pair.step(), Next::Now);
    pair.run();
    assert_eq!(pair.model.len(), 1);
}

#[test]
fn a_million_items_with_one_deadline() {
    let mut wheel = Wheel::default();
    for n in 0..1_000_000_u64 {
        wheel.insert(1 << 40, n);
    }
    let (mut due, mut steps, mut longest) = (Vec::new(), 0, 0);
    while wheel.step(1 << 40, &mut due) == Next::Now {
        steps += 1;
        longest = longest.max(due.len());
        due.clear();
    }
    assert!(wheel.is_empty() && longest == BATCH);
    assert!(steps <= (LEVELS + 1) * 1_000_000 / BATCH + SLOTS);
}

#[test]
fn memory_is_given_back() {
    let mut wheel = Wheel::default();
    let keys: Vec<_> = (0..100_000_u64)
        .map(|n| wheel.insert((1 << 40) + n * 977, n).0)
        .collect();
    for (n, &key) in keys.iter().enumerate().skip(1) {
        assert_eq!(wheel.remove(key), Some(n as u64));
    }
    let mut due = Vec::new();
    while wheel.step(1 << 41, &mut due) == Next::Now {}
    assert_eq!(due, [0]);
    // A key of an item that is gone finds no other one in its place.
    let (new, _) = wheel.insert(1, 7);
    assert!(keys.iter().all(|&key| wheel.remove(key).is_none()));
    assert_eq!(wheel.remove(new), Some(7));
}
