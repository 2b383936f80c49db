//! Values that count their drops.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Counts the creations and the drops of tickets.
#[derive(Clone)]
pub struct Ledger {
    entries: Arc<[Entry]>,
}

#[derive(Default)]
struct Entry {
    made: AtomicU32,
    dropped: AtomicU32,
}

/// A value that is neither `Copy` nor `Clone` and knows its number.
pub struct Ticket {
    index: usize,
    ledger: Ledger,
    /// Memory that the ticket owns, by which tools notice a second drop.
    _memory: Box<usize>,
}

impl Ledger {
    /// A ledger for tickets `0..len`.
    pub fn new(len: usize) -> Ledger {
        Ledger {
            entries: (0..len).map(|_| Entry::default()).collect(),
        }
    }

    /// Makes ticket `index`.
    pub fn ticket(&self, index: usize) -> Ticket {
        self.entries[index].made.fetch_add(1, Ordering::Relaxed);
        Ticket {
            index,
            ledger: self.clone(),
            _memory: Box::new(index),
        }
    }

    /// Makes each ticket once.
    pub fn tickets(&self) -> Vec<Ticket> {
        (0..self.entries.len()).map(|i| self.ticket(i)).collect()
    }

    /// How many tickets were made.
    pub fn made(&self) -> usize {
        self.sum(|entry| &entry.made)
    }

    /// How many tickets were dropped.
    pub fn dropped(&self) -> usize {
        self.sum(|entry| &entry.dropped)
    }

    /// Checks that each ticket that was made was made once and dropped once.
    #[track_caller]
    pub fn assert_settled(&self) {
        for (index, entry) in self.entries.iter().enumerate() {
            let made = entry.made.load(Ordering::Acquire);
            let dropped = entry.dropped.load(Ordering::Acquire);
            assert!(
                made <= 1 && dropped == made,
                "ticket {index} was made {made} times and dropped {dropped} times"
            );
        }
    }

    fn sum(&self, field: impl Fn(&Entry) -> &AtomicU32) -> usize {
        self.entries
            .iter()
            .map(|entry| field(entry).load(Ordering::Acquire) as usize)
            .sum()
    }
}

impl Ticket {
    /// The number of the ticket. This is a method so that a closure captures the ticket and not a field.
    pub fn index(&self) -> usize {
        self.index
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.ledger.entries[self.index]
            .dropped
            .fetch_add(1, Ordering::AcqRel);
    }
}
