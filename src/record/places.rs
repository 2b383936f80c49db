//! Where in the program the work of each name is made: the calls of `submit` and the like.

use super::event::Name;
use std::collections::HashMap;
use std::panic::Location;
use std::sync::{Mutex, PoisonError};

/// A call in the program.
pub(crate) type Place = &'static Location<'static>;

/// The most names whose places a record keeps.
const MOST: usize = 1 << 14;

/// The places of a record by name: `None` for what is made in several places. The lock is of std in models too: nothing waits for it.
#[derive(Debug, Default)]
pub(crate) struct Places(Mutex<HashMap<Name, Option<Place>>>);

impl Places {
    /// Notes that work of this name is made at `place`. Returns the place that is known now, or `None` if there are several.
    pub(super) fn note(&self, name: Name, place: Place) -> Option<Place> {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = table.len() == MOST;
        match table.get_mut(&name) {
            Some(known) => {
                *known = known.filter(|known| *known == place);
                *known
            }
            None if is_full => None,
            None => {
                table.insert(name, Some(place));
                Some(place)
            }
        }
    }

    /// The places by name.
    pub(crate) fn all(&self) -> HashMap<Name, Option<Place>> {
        let table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.clone()
    }
}
