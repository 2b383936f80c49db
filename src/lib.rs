//! A work-stealing scheduler: fork-join at about the cost of a plain call, scopes, data-parallel maps over borrowed data, and an
//! executor with handles, streams and cancellation, on one pool of threads.
//!
//! - [`join`] runs two closures, possibly at the same time. A recursion that forks at every call needs no cut-off.
//! - [`scope()`] runs any number of tasks that borrow from the caller's frame.
//! - [`ThreadPool::map`] and its kin go through ranges, slices and vectors; no chunk size has to be chosen.
//! - [`ThreadPool::submit`] gives a handle: join it, wait for it for so long, cancel it, call back, `.await` it. [`as_completed`], [`wait`] and
//!   [`JoinSet`] wait for several.
//! - [`ThreadPool::imap`] goes through long inputs lazily, in order, with a bound on what is under way.
//!
//! The free functions use the pool of the current thread, else the [`global`] one, which starts its threads when work first
//! needs them. A [`ThreadPool`] of one's own has the same as methods.
//!
//! ```
//! let text = ["to be", "or not", "to be"];
//! let pool = heist::ThreadPool::new()?;
//! let lengths = pool.map(&text, |line| line.len());
//! assert_eq!(lengths, [5, 6, 5]);
//!
//! let (first, last) = heist::join(|| text[0].to_uppercase(), || text[2].to_uppercase());
//! assert_eq!(first, last);
//! # Ok::<(), heist::BuildError>(())
//! ```
//!
//! # Waiting
//!
//! A thread that waits in `join`, `scope` or a map runs what it waits for and what that has forked, nothing else. So a
//! lock may be held across a wait where it might in the serial program. The exceptions are [`yield_now`], the closures of
//! [`broadcast`](ThreadPool::broadcast), and pools built with [`Waits::Any`].
//!
//! # Panics
//!
//! A panic in a closure goes on in the one who waits for it, after everything that could still use the borrowed data has ended. No panic
//! aborts the process or costs a worker.

// The modules, bottom up: each uses those above its line only (tests/layers.rs).
mod sync;

#[cfg(test)]
mod testing;

mod sys;

mod unwind;

mod counters;

mod blocks;

mod barrier;

mod ring;

mod sleep;

mod latch;

mod job;

mod pool;

mod fork;

mod executor;

mod stats;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub use executor::{
    AbortOnDrop, AsCompleted, CancelToken, Imap, ImapUnordered, JoinError, JoinHandle, JoinSet,
    JoinSetTask, Joined, PanicLocation, Promise, RunningTask, ScopedJoinHandle, ShutdownTimeout,
    TaskBuilder, TaskError, TaskId, TrySubmitError, WaitFor, Waited, as_completed, current_token,
    first_finished, first_ok, imap, note_panic, promise, record_panic_locations, spawn, submit,
    try_join_all, wait, wait_results,
};
pub use fork::map::{IntoSource, Limited, Owned, OwnedIter, Source, for_each, map, map_reduce};
pub use fork::{
    Scope, TryScope, current_num_threads, current_thread_index, has_pending_tasks, join,
    join_context, scope, takes_part, try_scope, yield_local, yield_now,
};
pub use pool::{
    BuildError, PoolThread, Priority, Start, ThreadPool, ThreadPoolBuilder, Waits, WhenFull, global,
};
pub use stats::{PoolStats, QueueWait, SchedulerStats, WorkerStats};
