//! A handle in each state that a task can have.

use self::State::*;
use super::{Gate, Held, LONG, SOON, hold_all, spin_until};
use heist::{JoinError, JoinHandle, ThreadPool};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Queued,
    Running,
    Finished,
    Panicked,
    Cancelled,
    TimedOut,
}

pub const ALL: [State; 6] = [Queued, Running, Finished, Panicked, Cancelled, TimedOut];

/// The value that the closure captures and returns.
pub type Thing = Arc<()>;

/// A handle in some state.
pub struct Case {
    pub state: State,
    pub handle: JoinHandle<Thing>,
    pub held: Held,
    /// Alive as long as the closure or the result.
    pub thing: Weak<()>,
}

pub fn case(pool: &ThreadPool, state: State) -> Case {
    let thing: Thing = Arc::new(());
    let weak = Arc::downgrade(&thing);
    let held = match state {
        Queued | Cancelled | TimedOut => hold_all(pool),
        _ => Held(Gate::default()),
    };
    let gate = held.0.clone();
    let closure = move || {
        if state == Running {
            gate.pass();
        }
        assert!(state != Panicked, "boom");
        thing
    };
    let task = pool.task().name("thing");
    let handle = match state {
        TimedOut => task.deadline(SOON).submit(closure),
        _ => task.submit(closure),
    };
    match state {
        Queued => {}
        Running => spin_until(|| handle.is_running()),
        Finished | Panicked => spin_until(|| handle.is_finished()),
        Cancelled => assert!(handle.cancel()),
        TimedOut => assert!(handle.wait_timeout(LONG)),
    }
    Case {
        state,
        handle,
        held,
        thing: weak,
    }
}

impl Case {
    pub fn is_open(&self) -> bool {
        matches!(self.state, Queued | Running)
    }
}

#[track_caller]
pub fn check(state: State, outcome: &Result<Thing, JoinError>) {
    match (state, outcome) {
        (Queued | Running | Finished, outcome) => assert!(outcome.is_ok(), "{state:?}"),
        (Panicked, Err(error)) => assert!(error.is_panic()),
        (Cancelled, Err(error)) => assert!(error.is_cancelled()),
        (TimedOut, Err(error)) => assert!(error.is_timeout()),
        (_, Ok(_)) => panic!("{state:?} gave a result"),
    }
    if let Err(error) = outcome {
        let kinds = [error.is_panic(), error.is_cancelled(), error.is_timeout()];
        assert_eq!(kinds.iter().filter(|kind| **kind).count(), 1);
        assert_eq!(error.name(), Some("thing"));
        assert!(error.to_string().contains("\"thing\""), "{error}");
    }
}

/// Waits until some thread has dropped the thing.
pub fn goes(thing: &Weak<()>) {
    spin_until(|| thing.strong_count() == 0);
}

pub fn poll<T>(handle: &mut JoinHandle<T>, waker: &Waker) -> Poll<Result<T, JoinError>> {
    Pin::new(handle).poll(&mut Context::from_waker(waker))
}
