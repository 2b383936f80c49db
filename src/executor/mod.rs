//! The executor: tasks with handles, ways to wait for many of them, streams, cancellation, shutdown.
//!
//! # A task
//!
//! `submit` makes one block ([`cell`]): a header ([`task`]) with the state word, then the closure, in whose place the outcome is written. A queue
//! of the scheduler holds one reference to the block, the handle another. One compare-and-swap on the state word ([`state`]) decides each race: who runs the
//! task, who cancels it, whether the deadline was first, who drops the outcome. What only some tasks need (name, token, deadline, callbacks, waiters) is in a
//! second block ([`extra`]).
//!
//! A task ends in one of three ways. A runner runs it ([`complete`]). A cancel drops its closure before it begins: `cancel_unrun` in [`complete`] does that, and
//! [`cancel`] notes that the queue still holds its entry. A deadline ends it before or during its run ([`cancel`]). [`token`] and [`timer`] are lower modules and
//! reach these through the operations in the header.
//!
//! # Waiting
//!
//! A thread that waits for a handle first runs the task itself if it may ([`help`]), then waits in [`worker::block`](crate::pool::worker::block) until the last
//! step of the task wakes it. A wait for several tasks is a wait for a set of them ([`pending`]), which lists those that have finished ([`arrivals`]).
//!
//! **Invariant.** A cell does not keep its pool alive. A queued or running task belongs to its pool, and a pool that is dropped ends what is queued. Other code
//! finds the pool by its number.
//!
//! **Invariant.** Imports among the files of this folder form no circle: `tests/layers.rs` lists the files, lowest first.

mod arrivals;
mod awaited;
mod cancel;
mod cell;
mod complete;
mod entry;
mod error;
mod extra;
mod future_cell;
mod future_entry;
mod futures;
mod guard;
mod handle;
pub(crate) mod help;
mod join_set;
mod late;
mod location;
mod options;
mod pending;
mod promise;
mod recorded;
#[cfg(all(feature = "process", target_os = "linux"))]
pub(crate) mod remote;
mod scoped;
mod several;
mod slab;
mod sleep;
#[cfg(feature = "tracing")]
mod spans;
mod state;
mod suspend;
mod task;
pub(crate) mod timer;
mod token;
mod tombstones;
mod wheel;

// The documentation of `ThreadPool` shows the methods in the order of these modules. The empty lines keep rustfmt from sorting them.
mod submit;

mod stream;

mod shutdown;

#[cfg(all(test, heist_loom))]
mod models;

// Each of these modules marks as `pub` what users see.
pub use error::*;
pub use futures::*;
pub use guard::*;
pub use handle::*;
pub use join_set::*;
pub use location::*;
pub use promise::*;
pub use scoped::*;
pub use several::*;
pub use shutdown::*;
pub use sleep::*;
pub use stream::*;
pub use submit::*;
pub use token::*;
