//! The executor: tasks with handles, ways to wait for many of them, streams, cancellation, shutdown.
//!
//! # A task
//!
//! `submit` makes one block ([`cell`]): header, state word, and the closure, in whose place the outcome is written. The queues of
//! the scheduler hold one reference to it, the handle another. The state word ([`state`]) decides every race by one
//! compare-and-swap: who runs the task, who cancels it, whether the deadline was first, who drops the outcome. What only some tasks
//! need (name, token, deadline, callbacks, waiters) stands in a second block ([`extra`]).
//!
//! # Waiting
//!
//! A handle's waiter first runs the task itself where it may, then waits as every wait does ([`worker::block`](crate::pool::worker::block)):
//! the task's last step wakes it. Waiting for any of several tasks is waiting for the next entry in a list ([`arrivals`]); the waiter begins
//! a task of the set only where no other thread can ([`pending`]).
//!
//! **Invariant.** A cell does not keep its pool alive: a task that is queued or runs is in its pool's hands, and a pool
//! that goes ends what is queued. Whoever else needs the pool finds it by number.

mod arrivals;
mod cell;
mod error;
mod extra;
mod guard;
mod handle;
mod location;
mod pending;
mod promise;
mod scoped;
mod several;
mod state;
mod timer;
mod token;

// In the order in which the documentation of `ThreadPool` shows their methods, hence the empty lines.
mod submit;

mod stream;

mod close;

#[cfg(all(test, loom))]
mod models;

pub use close::{RunningTask, ShutdownTimeout};
pub use error::{JoinError, TaskId, TrySubmitError};
pub use guard::AbortOnDrop;
pub use handle::JoinHandle;
pub use location::{PanicLocation, note_panic, record_panic_locations};
pub use promise::{Promise, promise};
pub use scoped::ScopedJoinHandle;
pub use several::{
    AsCompleted, JoinSet, JoinSetTask, Joined, TaskError, WaitFor, Waited, as_completed,
    first_finished, first_ok, try_join_all, wait, wait_results,
};
pub use stream::{Imap, ImapUnordered};
pub use submit::{TaskBuilder, imap, spawn, submit};
pub use token::{CancelToken, current_token};

use std::cell::Cell;
use std::num::NonZeroU64;
// Numbers order nothing.
use std::sync::atomic::{AtomicU64, Ordering};

/// The next task's number. Threads take them in blocks.
fn next_id() -> TaskId {
    const BLOCK: u64 = 1 << 12;
    static NEXT: AtomicU64 = AtomicU64::new(1);
    thread_local! {
        static OWN: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
    }
    let id = OWN.with(|own| {
        let (mut next, mut end) = own.get();
        if next == end {
            next = NEXT.fetch_add(BLOCK, Ordering::Relaxed);
            end = next + BLOCK;
        }
        own.set((next + 1, end));
        next
    });
    TaskId(NonZeroU64::new(id).expect("64 bits are enough for ever"))
}
