//! A work-stealing scheduler: fork-join at about the cost of a plain call, scopes, data-parallel maps over borrowed data, and an
//! executor with handles, streams and cancellation, on one pool of threads.
//!
//! ```
//! let text = ["to be", "or not", "to be"];
//! let lengths = heist::map(&text, |line| line.len());
//! assert_eq!(lengths, [5, 6, 5]);
//!
//! let (first, last) = heist::join(|| text[0].to_uppercase(), || text[2].to_uppercase());
//! assert_eq!(first, last);
//!
//! let handle = heist::submit(|| "a task of its own".len());
//! assert_eq!(handle.join().unwrap(), 17);
//! ```
//!
//! The free functions use the pool of the current thread, else the [`global`] one, which starts its threads when work first
//! needs them. A [`ThreadPool`] of one's own has them as methods, and more.
//!
//! # What to use
//!
//! | I want to | use |
//! |---|---|
//! | run two things at the same time, recursively | [`join`]; no cut-off is needed, and the first closure runs on the caller |
//! | start any number of tasks that borrow, and wait for them | [`scope()`]; if they can fail, or be cancelled: [`try_scope()`] |
//! | change every item into another one, in order | [`map()`]; with a buffer for each thread: [`map_init`](ThreadPool::map_init) |
//! | do something with every item | [`for_each`]; with a buffer for each thread: [`for_each_init`](ThreadPool::for_each_init) |
//! | sum, find the longest, merge | [`map_reduce`]; the same sum of floats each time: [`map_reduce_deterministic`](ThreadPool::map_reduce_deterministic) |
//! | stop at the first error | [`try_map`](ThreadPool::try_map), [`try_for_each`](ThreadPool::try_for_each) |
//! | find something | [`find_any`](ThreadPool::find_any), [`find_map_any`](ThreadPool::find_map_any), [`find_first`](ThreadPool::find_first) |
//! | map over a collection of my own | implement [`Source`] |
//! | go through a long or endless input, with a bound on what is under way | [`imap`]; as they come: [`imap_unordered`](ThreadPool::imap_unordered) |
//! | start something and get its result, wait for at most so long, cancel it, `.await` it | [`submit`] and its [`JoinHandle`]; inside a scope [`Scope::submit`] |
//! | have it cancelled when I return early | [`JoinHandle::abort_on_drop`] |
//! | give a task a name, a priority, a deadline, a token | [`ThreadPool::task`] |
//! | start something that nobody waits for | [`spawn`] |
//! | get a handle for what happens elsewhere | [`promise()`] |
//! | wait for all, for the first, for the first error, for each as it comes | [`try_join_all`], [`first_finished`], [`first_ok`], [`wait()`], [`wait_results`], [`as_completed`], [`JoinSet`] |
//! | hold back those who submit too fast | [`queue_capacity`](ThreadPoolBuilder::queue_capacity) and [`when_full`](ThreadPoolBuilder::when_full); or [`try_submit`](ThreadPool::try_submit) |
//! | make the free functions use a pool of mine | [`install`](ThreadPool::install); for good: [`build_global`](ThreadPoolBuilder::build_global) |
//! | run on a thread of the pool, for its stack or its thread-locals | [`run`](ThreadPool::run); once on each: [`broadcast`](ThreadPool::broadcast) |
//! | choose the number of threads, their names, stacks and hooks | [`ThreadPool::with_threads`], [`ThreadPool::builder`], or the variable `HEIST_NUM_THREADS` |
//! | see what the pool does | [`ThreadPool::stats`], which prints a table |
//!
//! # Waiting
//!
//! A thread that waits in `join`, `scope` or a map runs what it waits for and whatever descends from that: the forks, scopes and maps inside, and
//! the forks, scopes and maps inside those, on whichever threads they lie. It runs nothing else, so that a lock may be held across a wait where it
//! might in the serial program; and no thread waits while there is work that it may run. The exceptions are [`yield_now`], the closures of
//! [`broadcast`](ThreadPool::broadcast), and pools built with [`Waits::Any`]. Waits for handles run only the task that they wait for.
//!
//! # Panics
//!
//! A panic in a closure goes on in the one who waits for it, after everything that could still use the borrowed data has ended. No panic
//! aborts the process or costs a worker. A task's panic is its handle's error; one that no handle sees goes to the
//! [`panic_handler`](ThreadPoolBuilder::panic_handler), and is counted. [`record_panic_locations`] has errors say in which line it was.
//!
//! # Cancellation
//!
//! A task that has not begun can be dropped: by [`JoinHandle::cancel`], by [`JoinSet::cancel_all`] or the set's drop, by a [`CancelToken`], by its deadline, by
//! [`shutdown_now`](ThreadPool::shutdown_now). Its handle then resolves to a [`JoinError`] that says which. No thread is ever stopped in the middle of a closure: a task that
//! runs is asked to stop by its token or its deadline, and finds that by [`current_token`]; in a [`try_scope()`] by [`TryScope::is_cancelled`]. A `join`, a scope or a
//! map that has begun always completes.
//!
//! ```
//! let pool = heist::ThreadPool::new()?;
//! let token = heist::CancelToken::new();
//! let rounds = pool.task().token(&token).submit(|| {
//!     let token = heist::current_token();
//!     (0_u64..).take_while(|_| !token.is_cancelled()).count()
//! });
//! token.cancel();
//! // It was dropped before it began, or has counted until it was asked to stop.
//! assert!(rounds.join().map_or_else(|error| error.is_cancelled(), |_| true));
//! # Ok::<(), heist::BuildError>(())
//! ```
//!
//! # Shutdown
//!
//! When the last handle of a pool is dropped outside the pool, its queued tasks run, its threads end, and the drop returns.
//! [`shutdown`](ThreadPool::shutdown) does the same while handles are left, [`shutdown_now`](ThreadPool::shutdown_now) drops what has not begun, and
//! [`shutdown_timeout`](ThreadPool::shutdown_timeout) says which tasks still run. After that a `submit` gives a handle that resolves to an error, and joins, scopes and maps run on
//! their callers. [`wait_idle`](ThreadPool::wait_idle) waits for the tasks and leaves the pool open. Tasks of the [`global`] pool that are under way when `main` returns end
//! with the process: wait for their handles.
//!
//! # Features
//!
//! - `serde`: [`PoolStats`] and its parts are `Serialize`. Off by default.
//!
//! The crate is for 64-bit systems, and needs Rust 1.88 or later.

// The modules, bottom up: each uses those above its line only (tests/layers.rs).
mod sync;

#[cfg(test)]
mod testing;

mod sys;

mod unwind;

mod counters;

mod blocks;

mod chunks;

mod barrier;

mod ring;

mod sleep;

mod latch;

mod lineage;

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
