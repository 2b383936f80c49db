//! A list of the tasks of a set that have finished, for one thread that waits for any of them.

use crate::sleep::{Event, Parker, Waited};
use crate::sync::{Arc, Mutex, lock};
use crate::unwind;
use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

/// Indices of finished tasks, in the order in which they finished.
#[derive(Default)]
pub(super) struct Arrivals {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    arrived: VecDeque<usize>,
    waiter: Option<Arc<Parker>>,
    waker: Option<Waker>,
}

impl Arrivals {
    /// Adds a finished task, and wakes the waiter.
    pub(super) fn arrive(&self, index: usize) {
        let (waiter, waker) = {
            let mut state = lock(&self.state);
            state.arrived.push_back(index);
            (state.waiter.take(), state.waker.take())
        };
        if let Some(waiter) = waiter {
            waiter.unpark();
        }
        // A waker is the user's code. Its panic must not reach the thread that ends the task.
        if let Some(waker) = waker {
            unwind::catch(|| waker.wake()).unwrap_or_else(unwind::drop_quietly);
        }
    }

    /// Returns whether a task has finished. If not, the waker is called when one does.
    pub(super) fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
        // Cloned before the lock is taken and dropped after it is released, because a waker's methods are the user's code.
        let mut waker = Some(context.waker().clone());
        let mut state = lock(&self.state);
        if !state.arrived.is_empty() {
            return Poll::Ready(());
        }
        std::mem::swap(&mut state.waker, &mut waker);
        drop(state);
        Poll::Pending
    }

    /// Calls `f` with the waker that is woken when a task finishes, if there is one.
    pub(super) fn with_waker<R>(&self, f: impl FnOnce(&Waker) -> R) -> Option<R> {
        lock(&self.state).waker.as_ref().map(f)
    }

    /// Takes the task that finished first.
    pub(super) fn next(&self) -> Option<usize> {
        lock(&self.state).arrived.pop_front()
    }
}

/// The event that a finished task is in the list.
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

    fn waited(&self) -> Waited {
        Waited::SEVERAL
    }
}
