//! Which of several tasks have finished, for one thread that waits for any of them.

use crate::pool::worker::Event;
use crate::sleep::Parker;
use crate::sync::{Arc, Mutex, lock};
use std::collections::VecDeque;

/// Indices of finished tasks, in the order in which they finished.
#[derive(Default)]
pub(super) struct Arrivals {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    arrived: VecDeque<usize>,
    waiter: Option<Arc<Parker>>,
}

impl Arrivals {
    pub(super) fn arrive(&self, index: usize) {
        let waiter = {
            let mut state = lock(&self.state);
            state.arrived.push_back(index);
            state.waiter.take()
        };
        if let Some(waiter) = waiter {
            waiter.unpark();
        }
    }

    pub(super) fn next(&self) -> Option<usize> {
        lock(&self.state).arrived.pop_front()
    }
}

/// One has arrived and was not taken yet.
impl Event for Arrivals {
    fn is_set(&self) -> bool {
        !lock(&self.state).arrived.is_empty()
    }

    fn register(&self, parker: &Arc<Parker>) -> bool {
        let mut state = lock(&self.state);
        let empty = state.arrived.is_empty();
        if empty {
            state.waiter = Some(Arc::clone(parker));
        }
        empty
    }

    fn unregister(&self, _: &Arc<Parker>) {
        lock(&self.state).waiter = None;
    }
}
