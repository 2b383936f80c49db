//! A work-stealing scheduler: fork-join at about the cost of a plain call, and data-parallel maps over borrowed data.
#![deny(unsafe_op_in_unsafe_fn)]

mod sync;

mod barrier;
mod blocks;
mod counters;
mod job;
mod latch;
mod ring;
mod sleep;
mod sys;
mod unwind;

#[cfg(test)]
mod testing;

mod fork;
mod pool;
mod stats;

pub use fork::map::{IntoSource, Limited, Owned, OwnedIter, Source};
pub use fork::{Scope, current_thread_index, join, scope, spawn, yield_now};
pub use pool::{BuildError, Start, ThreadPool, ThreadPoolBuilder, Waits, global};
pub use stats::{PoolStats, SchedulerStats, WorkerStats};
