//! A list of the tasks of a set that have finished, for one thread that waits for any of them. If that thread takes part in a pool, it is also told which futures of
//! the set can be polled.

use crate::sleep::{Event, Parker, Waited};
use crate::sync::{Arc, Mutex, lock};
use crate::unwind;
use std::collections::{BTreeSet, VecDeque};
use std::task::{Context, Poll, Waker};

/// Indices of finished tasks, in the order in which they finished.
#[derive(Default)]
pub(crate) struct Arrivals {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    arrived: VecDeque<usize>,
    /// The futures that were queued or left since the waiter began to [join](super::state::State::set_joined) them.
    due: BTreeSet<usize>,
    /// Due futures with indices from here on come next, so that each has its turn.
    turn: usize,
    waiter: Option<Arc<Parker>>,
    /// Whether the waiter is woken for a future that is due.
    polls: bool,
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

    /// Notes that a future is queued or left, and wakes the waiter if it can poll it.
    pub(super) fn note_due(&self, index: usize) {
        let waiter = {
            let mut state = lock(&self.state);
            state.due.insert(index);
            if state.polls {
                state.waiter.take()
            } else {
                None
            }
        };
        if let Some(waiter) = waiter {
            waiter.unpark();
        }
    }

    /// Takes a future that is due.
    pub(super) fn next_due(&self) -> Option<usize> {
        let mut state = lock(&self.state);
        let next = state.due.range(state.turn..).next();
        let index = *next.or(state.due.first())?;
        state.due.remove(&index);
        state.turn = index + 1;
        Some(index)
    }

    fn register_parker(&self, parker: &Arc<Parker>, polls: bool) -> bool {
        let mut state = lock(&self.state);
        let waits = state.arrived.is_empty() && (state.due.is_empty() || !polls);
        if waits {
            state.waiter = Some(Arc::clone(parker));
            state.polls = polls;
        }
        waits
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
        self.register_parker(parker, false)
    }

    fn unregister(&self, _: &Arc<Parker>) {
        lock(&self.state).waiter = None;
    }

    fn waited(&self) -> Waited {
        Waited::SEVERAL
    }
}

/// The event that a finished task is in the list, or that a future is due.
pub(super) struct Due<'a>(pub(super) &'a Arrivals);

impl Event for Due<'_> {
    fn is_set(&self) -> bool {
        let state = lock(&self.0.state);
        !(state.arrived.is_empty() && state.due.is_empty())
    }

    fn register(&self, parker: &Arc<Parker>) -> bool {
        self.0.register_parker(parker, true)
    }

    fn unregister(&self, parker: &Arc<Parker>) {
        self.0.unregister(parker);
    }

    fn waited(&self) -> Waited {
        self.0.waited()
    }
}
