//! Pools of processes, tasks that can run in them, and one interface for threads and processes. With the feature `process`.
//!
//! A *call* ([`call`]) is a task with its arguments on its way to a back end ([`backend`]). A pool of threads takes it as it is ([`threads`]). A pool of processes
//! encodes it as a *job* of one or more items and sends it to a *member*, its view of a worker ([`member`]). [`state`] decides who gets what and what the end of a
//! worker means ([`fate`]), under one lock ([`shared`]), and never waits. One thread ([`io`]) starts workers, reads their messages ([`wire`]) and keeps the time. Threads that
//! submit write to the worker's socket themselves if a worker is free.
//!
//! [`worker`] is the other side, and says how a death at any moment is told from another.
//!
//! **Invariant.** Nothing of the user's runs under the lock, and nothing under the lock waits: effects are collected and carried out after it ([`state::Effects`]).
//!
//! **Invariant.** An item is claimed on the shared page before it begins, and its outcome is sent or saved there before the next one is claimed.

mod backend;
mod balance;
mod builder;
mod call;
mod codec;
mod executor;
mod fate;
pub mod guide;
mod imap;
mod io;
mod member;
mod options;
mod os;
mod pool;
mod registry;
mod shared;
mod state;
mod task;
mod threads;
mod wire;
mod worker;

/// The tags of outcomes.
#[cfg(any(feature = "nats", feature = "mpi"))]
pub(crate) mod tag {
    pub(crate) use super::wire::{BAD_ARGS, UNKNOWN, VALUE};
    #[cfg(feature = "nats")]
    pub(crate) use super::wire::{BAD_RESULT, PANIC};
}

#[cfg(test)]
mod tests;

#[cfg(feature = "nats")]
pub(crate) use call::{Ends, one_end};
#[cfg(any(feature = "nats", feature = "mpi"))]
pub(crate) use call::{Job, Outcome};
#[cfg(any(feature = "nats", feature = "mpi"))]
pub(crate) use codec::Format;
#[cfg(any(feature = "nats", feature = "mpi"))]
pub(crate) use options::Defaults;
#[cfg(any(feature = "nats", feature = "mpi"))]
pub(crate) use registry::{by_name, check_names};
#[cfg(feature = "nats")]
pub(crate) use task::entry;

pub use backend::{Backend, Close, ExecutorStats, ProcessStats};
pub use builder::ProcessPoolBuilder;
pub use call::Call;
pub use executor::{CallBuilder, Executor};
pub use imap::{TaskImap, TaskImapUnordered};
pub use pool::ProcessPool;
pub use registry::{TASKS, register, tasks};
pub use task::{Task, TaskEntry};
pub use worker::{init, is_worker};
