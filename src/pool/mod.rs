//! The pool: handles, slots and threads, and how a thread finds work, waits and sleeps.
//!
//! [`worker`] is the loop of a thread and a good place to start reading. The modules below are in reading order: each uses only those above it
//! (`tests/layers.rs`).

// The settings.
mod config;

// How long threads search and spin.
mod backoff;

// A queue that any thread uses at both ends.
mod fifo;

// Deques, by crossbeam-deque, and injectors.
mod queue;

// Queues and counts in parts, for many threads.
mod shards;

// Whether a task may be queued.
mod admission;

// What one thread waits for, for reports.
mod activity;

// The broadcast tasks of one worker.
mod inbox;

// The future that a thread polls next.
mod hot;

// The task that runs on a slot.
mod running;

// How a worker counts the tasks of a scope.
pub(crate) mod credits;

// What one thread shows to the others.
mod slot;

// The queues of streams.
mod streams;

// The queues of tasks from outside.
mod injector;

// Which tasks are measured.
mod measure;

// The futures that have been suspended.
mod roster;

// For how long what was seen in a pool has not changed.
mod looks;

// The table of the slots.
mod slots;

// What the threads of a pool share.
mod registry;

// As which member the current thread acts.
pub(crate) mod context;

// Recording what a thread does.
mod recording;

// What a thread has taken.
mod work;

// Entering and leaving, queueing, running.
mod member;

// What a thread takes from others.
mod steal;

// What a wait waits for, and may run.
mod awaited;

// All pools of the process.
mod directory;

// The handle of a pool.
mod thread_pool;

// Waking threads for work.
mod notify;

// How a thread parks.
mod park;

// Waits and yields.
mod wait;

// The loop of a free worker.
pub(crate) mod worker;

// Starting and ending threads.
mod threads;

// The builder and the global pool.
mod builder;

// Waiting until nothing is queued or running.
mod idle;

// Queueing, counting and removing tasks.
mod queueing;

// Running tasks where no thread can be started.
mod rescue;

// The end of a pool.
mod shutdown;

#[cfg(all(test, heist_loom))]
pub(crate) mod models;

#[cfg(all(test, not(any(heist_loom, heist_shuttle))))]
pub(crate) mod tests;

pub(crate) use activity::{Seen, Waiter, outside};
pub(crate) use admission::Refusal;
pub use builder::{BuildError, ThreadPoolBuilder, global};
pub(crate) use builder::{is_global, with_current};
pub(crate) use config::Watcher;
pub use config::{Priority, Start, Timing, Waits, WhenFull};
pub(crate) use context::Member;
#[cfg(feature = "trace")]
pub(crate) use directory::try_all;
pub(crate) use directory::{check_fork_of, others, pool, with_pool};
pub(crate) use looks::{Looks, Signature};
pub(crate) use queue::Injector;
pub(crate) use registry::Registry;
pub(crate) use slot::{Role, SWEEP_LEAST, Slot};
pub(crate) use streams::{RawItems, RunningItem, StreamQueue};
pub use thread_pool::ThreadPool;
pub use threads::PoolThread;
