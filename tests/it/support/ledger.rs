//! Values that count their drops.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// The book in which tickets are entered when made and struck out when dropped.
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
    /// So that a ticket owns memory, and tools see a drop too many.
    _memory: Box<usize>,
}

impl Ledger {
    /// A book for tickets `0..len`.
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

    /// All tickets, each once.
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

    /// Each ticket that was made was made once and dropped once.
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
    /// Its number. A method, so that a closure that asks captures the ticket and not a field.
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
