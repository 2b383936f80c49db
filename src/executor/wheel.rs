//! A hierarchical timing wheel: items with deadlines, which come out in the exact order of their deadlines. Adding and removing one takes constant time.
//!
//! Times are nanoseconds from a moment that the user of the wheel chooses. The wheel never looks at a clock.
//!
//! # Places
//!
//! A time is a number of eight digits of eight bits. The wheel has a level for each digit, with a slot for each value, and a slot holds a list of items. The
//! *origin* is a time to which no deadline in a slot is lower. An item is at the level of the highest digit in which its deadline differs from the origin, in the
//! slot of that digit. So the deadlines of one slot precede those of higher slots at its level, and those of all higher levels. A slot at level 0 is one
//! nanosecond.
//!
//! # Steps
//!
//! [`Wheel::step`] does a bounded amount of work, so that its caller can release a lock between two steps. It looks at the first slot that has items:
//!
//! - A slot with few items is *small*. Those that are due are sorted and returned. The origin moves up to the current time, and the other items move to lower levels.
//! - A slot with many items is *drained*: the origin moves to the beginning of the slot, and its items move to lower levels. This takes several steps.
//!
//! Each move takes an item to a lower level, so an item moves at most seven times.
//!
//! # Ahead of time
//!
//! If a large slot were drained when its time begins, its first deadlines would be missed. Therefore it is drained some time earlier, in proportion to the number
//! of its items. The origin is then later than the current time. Items with deadlines before the origin are *early*: they are in an ordered map, and so are the
//! items of small slots before the one that is drained. All early items precede all items in slots, so they are returned on time while a slot is drained.

use super::slab::{NONE, Slab};
use std::collections::BTreeMap;
use std::num::NonZeroU64;

/// The number of bits in a digit.
const BITS: u32 = 8;

const SLOTS: usize = 1 << BITS;

/// The words of a level that have a bit for each slot.
const WORDS: usize = SLOTS / u64::BITS as usize;

const LEVELS: usize = u64::BITS.div_ceil(BITS) as usize;

/// The most items in a small slot, and the most that move or are returned in one step.
pub(super) const BATCH: usize = 128;

/// How long before its time a slot is drained, in nanoseconds for each item. A move takes 20 to 80 ns.
const AHEAD_NS: u64 = 128;

/// The number of a slot, which is the level times 256 plus the digit, or [`EARLY`].
type Place = u16;

/// The place of the items in the ordered map.
const EARLY: Place = (LEVELS * SLOTS) as Place;

/// Identifies an item, and no other item ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    number: NonZeroU64,
    index: u32,
}

/// What a step found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Another step is to be made now.
    Now,
    /// No item is due, and nothing is to be done before this time.
    At(u64),
    /// There are no items.
    Never,
}

struct Node<T> {
    deadline: u64,
    number: NonZeroU64,
    /// The block that lists the node, and the index in it, or [`NONE`] if the node is early.
    block: u32,
    at: u32,
    item: T,
}

/// The number of nodes that a block lists.
const BLOCK: usize = 10;

/// A part of the list of a slot. Moving the items of a slot reads blocks and writes nodes, so the processor waits for none of the nodes, which are anywhere.
struct Block {
    place: Place,
    /// The next block of the slot, or [`NONE`].
    next: u32,
    deadlines: [u64; BLOCK],
    nodes: [u32; BLOCK],
}

/// A list of nodes in no order. All of its blocks but the first are full.
#[derive(Clone, Copy)]
struct Slot {
    /// The first block, or [`NONE`].
    block: u32,
    len: u32,
}

impl Slot {
    const EMPTY: Slot = Slot {
        block: NONE,
        len: 0,
    };

    /// The number of nodes in the first block.
    fn in_first(&self) -> usize {
        (self.len as usize).wrapping_sub(1) % BLOCK + 1
    }

    fn is_small(&self) -> bool {
        self.len as usize <= BATCH
    }
}

pub(super) struct Wheel<T> {
    nodes: Slab<Node<T>>,
    blocks: Slab<Block>,
    slots: Box<[Slot]>,
    /// For each level, a bit for each slot that has items.
    occupied: [[u64; WORDS]; LEVELS],
    origin: u64,
    /// The items with deadlines before the origin, by deadline and number.
    early: BTreeMap<(u64, NonZeroU64), u32>,
    /// The slot whose items are moving to lower levels. It begins at the origin, and gets no new items.
    draining: Option<Place>,
    /// The number of the last item.
    last: u64,
    /// The items of a small slot, between two uses empty.
    scratch: Vec<(u64, NonZeroU64, u32)>,
}

impl<T> Default for Wheel<T> {
    fn default() -> Self {
        Wheel {
            nodes: Slab::default(),
            blocks: Slab::default(),
            slots: vec![Slot::EMPTY; LEVELS * SLOTS].into_boxed_slice(),
            occupied: [[0; WORDS]; LEVELS],
            origin: 0,
            early: BTreeMap::new(),
            draining: None,
            last: 0,
            scratch: Vec::new(),
        }
    }
}

fn level(place: Place) -> usize {
    usize::from(place) / SLOTS
}

/// Where the bit of a slot is: the level, the word and the bit.
fn occupancy(place: Place) -> (usize, usize, u64) {
    let digit = usize::from(place) % SLOTS;
    (level(place), digit / 64, 1 << (digit % 64))
}

/// The bits of the digits below this level.
fn below(level: usize) -> u64 {
    let bits = BITS * level as u32;
    u64::MAX.checked_shl(bits).map_or(u64::MAX, |above| !above)
}

impl<T> Wheel<T> {
    /// Adds an item. Returns its key, and a time: the next step must not be later than that.
    pub(super) fn insert(&mut self, deadline: u64, item: T) -> (Key, u64) {
        self.last += 1;
        let number = NonZeroU64::new(self.last).expect("heist: deadlines have overflowed");
        let place = self.place(deadline);
        let index = self.nodes.insert(Node {
            deadline,
            number,
            block: NONE,
            at: 0,
            item,
        });
        let latest = if place == EARLY {
            self.early.insert((deadline, number), index);
            deadline
        } else {
            self.push(place, deadline, index);
            self.plan(place).unwrap_or(deadline)
        };
        (Key { number, index }, latest)
    }

    /// Removes an item. Returns `None` if it was removed before, or returned by a step.
    pub(super) fn remove(&mut self, key: Key) -> Option<T> {
        let node = self.nodes.get(key.index)?;
        if node.number != key.number {
            return None;
        }
        let (block, at) = (node.block, node.at as usize);
        if block == NONE {
            self.early.remove(&(node.deadline, node.number));
        } else {
            self.unlink(block, at);
        }
        Some(self.nodes.remove(key.index)?.item)
    }

    /// The item with this key, if it is still there.
    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let node = self.nodes.get_mut(key.index)?;
        (node.number == key.number).then_some(&mut node.item)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.early.is_empty() && self.first().is_none()
    }

    /// Appends to `due` up to [`BATCH`] items whose deadlines have come, in order, or prepares to do so.
    ///
    /// # Complexity
    ///
    /// Takes, moves or looks at no more than [`BATCH`] items. Time that passes without deadlines costs nothing.
    pub(super) fn step(&mut self, now: u64, due: &mut Vec<T>) -> Next {
        if self.take_early(now, due) {
            return Next::Now;
        }
        if let Some(place) = self.draining {
            self.drain(place);
            return Next::Now;
        }
        let Some(first) = self.first() else {
            self.origin = self.origin.max(now);
            return self.next_early();
        };
        let start = self.start(first);
        let in_time = start > now;
        let planned = self.plan(first);
        // Whether a large slot at a higher level must be drained soon.
        let urgent = in_time && self.plan_above(first).is_some_and(|time| time <= now);
        if planned.is_some() && (urgent || planned <= Some(now)) {
            self.origin = start;
            self.draining = Some(first);
        } else if !in_time {
            self.take(first, now, due);
        } else if urgent {
            self.flush(first);
        } else {
            self.origin = self.origin.max(now);
            return self.next(first);
        }
        Next::Now
    }

    // ---- what a step does ----

    /// Takes early items that are due. Returns whether there were any.
    fn take_early(&mut self, now: u64, due: &mut Vec<T>) -> bool {
        let before = due.len();
        while due.len() - before < BATCH
            && let Some(first) = self.early.first_entry()
            && first.key().0 <= now
        {
            let index = first.remove();
            due.extend(self.nodes.remove(index).map(|node| node.item));
        }
        due.len() > before
    }

    /// Moves items of the slot at the origin to lower levels.
    fn drain(&mut self, place: Place) {
        self.touch(place);
        for _ in 0..BATCH {
            let Some((deadline, index)) = self.pop(place) else {
                self.draining = None;
                return;
            };
            self.put(deadline, index);
        }
    }

    /// Reads the nodes that the first blocks of a slot list. Only few instructions are between two reads, so the processor waits for many nodes at once.
    fn touch(&self, place: Place) {
        let slot = self.slots[usize::from(place)];
        let (mut number, mut len, mut left, mut sum) = (slot.block, slot.in_first(), BATCH, 0);
        while left > 0
            && let Some(block) = self.blocks.get(number)
        {
            let nodes = block.nodes[..len].iter();
            sum ^= nodes.fold(0, |sum, &index| {
                sum ^ self.nodes.get(index).map_or(0, |node| node.at)
            });
            (number, len, left) = (block.next, BLOCK, left.saturating_sub(len));
        }
        std::hint::black_box(sum);
    }

    /// Takes the due items of a slot, which is small or at level 0 and has begun, and moves the others to lower levels.
    fn take(&mut self, place: Place, now: u64, due: &mut Vec<T>) {
        let last = self.start(place) | below(level(place));
        self.touch(place);
        let mut all = std::mem::take(&mut self.scratch);
        all.extend((0..BATCH).map_while(|_| {
            let (deadline, index) = self.pop(place)?;
            Some((deadline, self.nodes.get(index)?.number, index))
        }));
        // Unless the slot is at level 0 and has more items with its time, it is now empty.
        self.origin = self.origin.max(now.min(last));
        all.sort_unstable();
        for (deadline, _, index) in all.drain(..) {
            if deadline <= now {
                due.extend(self.nodes.remove(index).map(|node| node.item));
            } else {
                self.put(deadline, index);
            }
        }
        self.scratch = all;
    }

    /// Moves the items of a slot, which is small or at level 0, to the early ones.
    fn flush(&mut self, place: Place) {
        self.origin = self.start(place) | below(level(place));
        for _ in 0..BATCH {
            let Some((deadline, index)) = self.pop(place) else {
                return;
            };
            if let Some(node) = self.nodes.get_mut(index) {
                node.block = NONE;
                self.early.insert((deadline, node.number), index);
            }
        }
    }

    // ---- what is next ----

    fn next_early(&self) -> Next {
        let first = self.early.first_key_value();
        first.map_or(Next::Never, |(&(deadline, _), _)| Next::At(deadline))
    }

    /// The time of the next step, if none is to be made now and `first` is the first slot.
    fn next(&self, first: Place) -> Next {
        let own = match self.plan(first) {
            Some(time) => time,
            None if level(first) == 0 => self.start(first),
            None => self.least(first),
        };
        let time = self.plan_above(first).map_or(own, |above| above.min(own));
        match self.next_early() {
            Next::At(early) => Next::At(early.min(time)),
            _ => Next::At(time),
        }
    }

    /// The first deadline in a small slot.
    fn least(&self, place: Place) -> u64 {
        let slot = self.slots[usize::from(place)];
        let (mut least, mut number, mut len) = (u64::MAX, slot.block, slot.in_first());
        while let Some(block) = self.blocks.get(number) {
            least = block.deadlines[..len].iter().fold(least, |a, &b| a.min(b));
            (number, len) = (block.next, BLOCK);
        }
        least
    }

    /// When a slot is to be drained, or `None` if it is small or at level 0.
    fn plan(&self, place: Place) -> Option<u64> {
        let slot = self.slots[usize::from(place)];
        if slot.is_small() || level(place) == 0 {
            return None;
        }
        // The length is rounded up to a power of two. An insertion therefore seldom changes the time at which the slot is drained, and seldom wakes the
        // timer's thread to wait anew.
        let ahead = AHEAD_NS * u64::from(slot.len).next_power_of_two();
        Some(self.start(place).saturating_sub(ahead))
    }

    /// The first plan of the levels above that of `first`. Plans of later slots are later: if not, items are due faster than they can be returned.
    fn plan_above(&self, first: Place) -> Option<u64> {
        let levels = level(first) + 1..LEVELS;
        levels
            .filter_map(|level| self.plan(self.first_at(level)?))
            .min()
    }

    /// The first slot that has items.
    fn first(&self) -> Option<Place> {
        (0..LEVELS).find_map(|level| self.first_at(level))
    }

    fn first_at(&self, level: usize) -> Option<Place> {
        let words = &self.occupied[level];
        let word = words.iter().position(|&word| word != 0)?;
        let digit = word * 64 + words[word].trailing_zeros() as usize;
        Some((level * SLOTS + digit) as Place)
    }

    // ---- places ----

    /// Where a new item with this deadline goes.
    fn place(&self, deadline: u64) -> Place {
        if deadline < self.origin {
            return EARLY;
        }
        let different = (deadline ^ self.origin) | 1;
        let level = different.ilog2() / BITS;
        let digit = (deadline >> (BITS * level)) as usize % SLOTS;
        (level as usize * SLOTS + digit) as Place
    }

    /// The first time that belongs to a slot.
    fn start(&self, place: Place) -> u64 {
        let level = level(place);
        let digit = usize::from(place) % SLOTS;
        (self.origin & !below(level + 1)) | (digit as u64) << (BITS * level as u32)
    }

    // ---- lists ----

    /// Puts a node, which is in no list and not early, where its deadline belongs.
    fn put(&mut self, deadline: u64, index: u32) {
        debug_assert!(deadline >= self.origin, "heist: a deadline was passed over");
        self.push(self.place(deadline), deadline, index);
    }

    /// Adds a node to a slot.
    fn push(&mut self, place: Place, deadline: u64, index: u32) {
        let slot = &mut self.slots[usize::from(place)];
        let at = slot.len as usize % BLOCK;
        if at == 0 {
            slot.block = self.blocks.insert(Block {
                place,
                next: slot.block,
                deadlines: [0; BLOCK],
                nodes: [NONE; BLOCK],
            });
            let (level, word, bit) = occupancy(place);
            self.occupied[level][word] |= bit;
        }
        slot.len += 1;
        let number = slot.block;
        if let Some(block) = self.blocks.get_mut(number) {
            (block.deadlines[at], block.nodes[at]) = (deadline, index);
        }
        self.note(index, number, at);
    }

    /// Notes in a node where it is listed.
    fn note(&mut self, index: u32, block: u32, at: usize) {
        if let Some(node) = self.nodes.get_mut(index) {
            (node.block, node.at) = (block, at as u32);
        }
    }

    /// Takes a node out of a slot. Returns its deadline and its index.
    fn pop(&mut self, place: Place) -> Option<(u64, u32)> {
        let slot = &mut self.slots[usize::from(place)];
        let at = slot.in_first() - 1;
        let block = self.blocks.get(slot.block)?;
        let (deadline, index, next) = (block.deadlines[at], block.nodes[at], block.next);
        slot.len -= 1;
        if at == 0 {
            let emptied = std::mem::replace(&mut slot.block, next);
            if next == NONE {
                let (level, word, bit) = occupancy(place);
                self.occupied[level][word] &= !bit;
            }
            let _emptied = self.blocks.remove(emptied);
        }
        Some((deadline, index))
    }

    /// Takes the node at this index of a block out of its slot. Another node of the slot takes its place in the block.
    fn unlink(&mut self, number: u32, at: usize) {
        let Some(place) = self.blocks.get(number).map(|block| block.place) else {
            return;
        };
        let Some((deadline, index)) = self.pop(place) else {
            return;
        };
        // If the block is gone, the node was its last.
        if let Some(block) = self.blocks.get_mut(number) {
            if block.nodes[at] == index {
                return;
            }
            (block.deadlines[at], block.nodes[at]) = (deadline, index);
            self.note(index, number, at);
        }
    }
}

#[cfg(all(test, not(any(heist_loom, heist_shuttle))))]
mod tests;
