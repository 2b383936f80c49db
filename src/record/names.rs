//! The names that the user gave to tasks, by number.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The most names that a record keeps. Further tasks are named after their closures.
const MOST: usize = 1 << 14;

/// The most bytes of a name that a record keeps.
const MOST_BYTES: usize = 256;

/// The names of a record. The lock is of std in models too: nothing waits for it.
#[derive(Debug, Default)]
pub(crate) struct Names(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    numbers: HashMap<Arc<str>, u32>,
    names: Vec<Arc<str>>,
}

impl Names {
    /// The number of a name. `None` if there are too many already, or if the name is too long.
    pub(super) fn number(&self, name: &Arc<str>) -> Option<u32> {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(&number) = table.numbers.get(name) {
            return Some(number);
        }
        if table.names.len() == MOST || name.len() > MOST_BYTES {
            return None;
        }
        let number = table.names.len() as u32;
        table.names.push(Arc::clone(name));
        table.numbers.insert(Arc::clone(name), number);
        Some(number)
    }

    /// The names by number.
    pub(crate) fn all(&self) -> Vec<Arc<str>> {
        let table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.names.clone()
    }
}
