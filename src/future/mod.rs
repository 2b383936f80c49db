//! Futures: a bridge between threads and futures, futures that wait for time or for a permit, and calls that block.
//!
//! Everything here stands on the tasks of [`executor`](crate::executor) and on its timer. There is no reactor: sockets and files come from the reactor of another
//! crate, whose wakers queue a task of a pool like any other waker.

// Polling a future together with something else.
mod beside;

// Running a future on the current thread.
mod block_on;

// Limiting the time of a future.
mod timeout;

// Letting others run.
mod yields;

// Closures that run later, or repeatedly.
mod periodic;

// Closures that run after a task.
mod then;

// A number of permits.
mod semaphore;

// A pool with a limit on how many futures have begun.
mod async_pool;

// Calls that block their thread.
mod blocking;

// Streams of futures.
#[cfg(feature = "futures")]
mod streams;

// The pool as an executor of other crates.
#[cfg(any(feature = "futures", feature = "hyper"))]
mod spawners;

#[cfg(all(test, heist_loom))]
mod models;

pub use async_pool::*;
pub use block_on::*;
pub use blocking::*;
pub use periodic::*;
pub use semaphore::*;
#[cfg(feature = "futures")]
pub use streams::*;
pub use timeout::*;
pub use yields::*;
