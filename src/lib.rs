//! A work-stealing scheduler: fork-join at a few nanoseconds, scopes, data-parallel maps over borrowed data,
//! and an executor with handles, streams and cancellation, on one thread pool.
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
//! The free functions that start work, such as [`join`], [`map()`] and [`submit`], use the pool of the current
//! thread, or else the [`global`] one, whose threads start when work first needs them. They are also methods of
//! [`ThreadPool`], which has more.
//!
//! # What to use
//!
//! | I want to | use |
//! |---|---|
//! | run two closures in parallel, recursively | [`join`]; no cut-off is needed |
//! | spawn tasks that borrow, and wait for all of them | [`scope()`]; if they can fail or be cancelled, [`try_scope()`] |
//! | transform every item, in order | [`map()`]; with per-thread state, [`map_init`](ThreadPool::map_init) |
//! | do something with every item | [`for_each`]; with per-thread state, [`for_each_init`](ThreadPool::for_each_init) |
//! | sum, merge, find the longest | [`map_reduce`]; for reproducible sums of floats, [`map_reduce_deterministic`](ThreadPool::map_reduce_deterministic) |
//! | stop at the first error | [`try_map`](ThreadPool::try_map), [`try_for_each`](ThreadPool::try_for_each) |
//! | find an item | [`find_any`](ThreadPool::find_any), [`find_map_any`](ThreadPool::find_map_any), [`find_first`](ThreadPool::find_first) |
//! | map over a collection of my own | implement [`Source`] |
//! | process a long or endless iterator with bounded memory | [`imap`], whose items are `Result<R, JoinError>`; to borrow, [`Scope::imap`]; in completion order, [`imap_unordered`](ThreadPool::imap_unordered). Its [window](Imap::window) is four items a worker by default |
//! | start a task and get its result: wait, time out, `.await` | [`submit`] and its [`JoinHandle`]; in a scope, [`Scope::submit`] |
//! | stop a task | before it begins, [`JoinHandle::cancel`]; while it runs, [`CancelToken::cancel`] of the token it was submitted with, which it sees by [`current_token`]: see [Cancellation](#cancellation) |
//! | wait for several tasks | [`try_join_all`], [`first_finished`], [`first_ok`], [`wait()`], [`wait_results`], [`as_completed`], [`JoinSet`] |
//! | give a task a name, a priority, a deadline, a token | [`ThreadPool::task`] |
//! | start a task that nobody waits for | [`spawn`] |
//! | cancel a task when its submitter returns early | [`JoinHandle::abort_on_drop`] |
//! | get a handle for a result that comes from elsewhere | [`promise()`] |
//! | limit the queue | [`queue_capacity`](ThreadPoolBuilder::queue_capacity), for tasks from outside, which block by default ([`when_full`](ThreadPoolBuilder::when_full)); [`try_submit`](ThreadPool::try_submit) |
//! | limit unread results | [`imap`] with a [window](Imap::window) |
//! | make the free functions use a certain pool | [`install`](ThreadPool::install), on the calling thread; for the whole process, [`build_global`](ThreadPoolBuilder::build_global) |
//! | run on a thread of the pool, or once on each worker | [`run`](ThreadPool::run); [`broadcast`](ThreadPool::broadcast) |
//! | wait for a condition that other tasks make true | a loop of [`yield_now`], without holding a lock |
//! | run futures on the same threads | [`submit_async`], [`spawn_async`]; in a scope, [`Scope::submit_async`]; from a thread, [`block_on`] |
//! | wait for time in a future; let others run | [`sleep`], [`timeout`]; [`yield_async`] |
//! | limit how many futures are under way | [`AsyncPool`], [`Semaphore`] |
//! | consume a stream of results in async code | [`imap_async`](ThreadPool::imap_async), [`JoinSet::next`], [`AsCompleted::next_async`] |
//! | run something later, repeatedly, after a task | [`ThreadPool::delay`], [`ThreadPool::every`], [`JoinHandle::then`] |
//! | call something that blocks its thread | [`blocking`]; at most [`spare_threads`](ThreadPoolBuilder::spare_threads) such calls at a time are replaced, by default as many as there are workers |
//! | survive tasks that crash, leak or hang | `ProcessPool`, with the feature `process` |
//! | use several computers | `nats::Cluster`, with the feature `nats` |
//! | finish | see [Shutdown](#shutdown) |
//! | choose the number of threads, their names, stacks and hooks | [`ThreadPool::with_threads`], [`ThreadPool::builder`], or the variable `HEIST_NUM_THREADS` |
//! | see what the pool does | [`ThreadPool::stats`], which prints a table |
//! | see what each thread did and when | [`ThreadPool::trace`], with [`span`] and [`mark`]; of any program by the variable `HEIST_TRACE`: see [`trace`] |
//! | see what the pool does | [`ThreadPool::stats`], which prints a table and writes text for Prometheus |
//! | find out on how many processors a program gains, and what to make faster | [`ThreadPool::profile`] |
//! | find out why nothing goes on | [`ThreadPool::dump`]; [`stall_after`](ThreadPoolBuilder::stall_after) |
//!
//! # Waiting
//!
//! A thread that waits in `join`, `scope` or a map runs what it waits for and work that descends from that,
//! on whichever threads it is, and nothing else. A lock may therefore be held across a wait wherever the
//! serial program could hold it. The exceptions are [`yield_now`], the closures of
//! [`broadcast`](ThreadPool::broadcast), and pools built with [`Waits::Any`]. A wait for a handle runs only the
//! task that it waits for.
//!
//! A thread that has found nothing to run sleeps, and is woken for work that it may run. In a few cases, which
//! `benches/RESULTS.md` of the repository lists, it is woken late, or another thread runs the work.
//!
//! # Panics
//!
//! A panic in a closure resumes in the waiting caller once nothing can still use the borrowed data. A panic
//! never kills a worker. It aborts the process only where it aborts a serial program: in a destructor during
//! unwinding. The panic of a task is its handle's error. A panic that no handle sees goes to the
//! [`panic_handler`](ThreadPoolBuilder::panic_handler) and is counted. After a call of
//! [`record_panic_locations`], errors say where the task panicked.
//!
//! # Cancellation
//!
//! A task that has not begun can be dropped: by [`JoinHandle::cancel`], by a [`JoinSet`], by a
//! [`CancelToken`], by its deadline, or by [`shutdown_now`](ThreadPool::shutdown_now). Its handle then
//! resolves to a [`JoinError`] that gives the reason. A future is dropped between two polls, even after it has
//! begun. A [deadline](TaskBuilder::deadline) resolves the handle of a running task too, on time: the closure
//! goes on, sees its [`current_token`] cancelled, and its result is dropped. No thread is ever stopped in the
//! middle of a closure or of a poll. A running task is asked to stop: it checks [`current_token`], or
//! [`TryScope::is_cancelled`] in a [`try_scope()`]. Cancelling a task cuts no `join`, [`scope()`] or [`map()`] short that the task has begun:
//! their parts all run, unless one panics. A [`try_scope()`] drops its tasks that have not begun if it is
//! cancelled, and [`try_map`](ThreadPool::try_map) begins no more items after an error.
//!
//! ```
//! let pool = heist::ThreadPool::new()?;
//! let token = heist::CancelToken::new();
//! let rounds = pool.task().token(&token).submit(|| {
//!     let token = heist::current_token();
//!     (0_u64..).take_while(|_| !token.is_cancelled()).count()
//! });
//! token.cancel();
//! // The task was dropped before it began, or counted until it was asked to stop.
//! assert!(rounds.join().map_or_else(|error| error.is_cancelled(), |_| true));
//! # Ok::<(), heist::BuildError>(())
//! ```
//!
//! # Sockets
//!
//! heist has no reactor, but its futures can use the sockets and timers of another crate, whose wakers may be
//! called on any thread. Those of async-io need nothing else. Those of tokio look for their runtime in a
//! thread-local variable: the runtime must run somewhere, and a future that creates such a socket must be polled
//! inside `Handle::enter`. The file
//! `examples/REACTORS.md` of the repository has an adapter of a few lines for that, and `examples/serve` is a
//! service on top of async-io and hyper.
//!
//! # Shutdown
//!
//! Dropping the last clone of a [`ThreadPool`], on a thread outside the pool, runs the queued tasks and waits
//! until the threads have ended. [`shutdown`](ThreadPool::shutdown) does the same while other clones exist. Both
//! also wait for delayed closures and suspended futures, so a future that is never woken makes them wait
//! forever. [`shutdown_now`](ThreadPool::shutdown_now) drops those and all tasks that have not begun, and
//! [`shutdown_timeout`](ThreadPool::shutdown_timeout) reports which tasks still run.
//! [`close`](ThreadPool::close) and [`close_now`](ThreadPool::close_now) do not wait, so a task may call
//! them. After a shutdown, handles of new tasks resolve to an error, and joins, scopes and maps run on their
//! callers. [`wait_idle`](ThreadPool::wait_idle) waits for the tasks and leaves the pool open.
//!
//! Tasks of the [`global`] pool that run when `main` returns end with the process: wait for their handles.
//!
//! # Features
//!
//! All are off by default except `trace`.
//!
//! - `trace`: the forms of a [`Trace`]: a page of HTML, Perfetto, flame graphs, a summary; and the variable `HEIST_TRACE`.
//! - `serde`: [`PoolStats`], [`Dump`], [`StallReport`] and their parts are `Serialize`.
//! - `futures`: `Stream` for [`JoinSet`], [`AsyncImap`] and [`AsyncImapUnordered`], `AsCompleted::into_stream`, `stream_map`, and `futures_task::Spawn` for [`ThreadPool`].
//! - `hyper`: `hyper::rt::Executor` for [`ThreadPool`].
//! - `tracing`: what is submitted, closure or future, runs in the span of the crate `tracing` in which it was submitted. If a subscriber
//!   wants the spans `runtime.spawn`, each task has one, within the submitter's: tokio-console shows a task for each. Forks, maps and
//!   tasks of [`Scope::spawn`] enter no span: enter one in the closure.
//! - `process`: `ProcessPool`, tasks that can run in it, and `Executor`, one interface for threads and processes. On
//!   Linux. The module `processes` is the guide.
//! - `nats`: `nats::Cluster` and `nats::Worker`, the same tasks on any number of computers, through a NATS server. It includes
//!   `process`. On Linux. The module `nats` is the guide.
//!
//! The crate supports 64-bit systems and needs Rust 1.88 or later.

// The modules in reading order, from the bottom up: each uses only those above it (tests/layers.rs).

// Atomics, locks, threads and clock: of std, or of the model checkers loom and shuttle.
mod sync;

// What the models and tests of several modules share.
#[cfg(test)]
mod testing;

// The operating system: memory barriers, fork detection, thread settings, stack bounds.
mod sys;

// The time in nanoseconds, for measurements.
mod clock;

// Catching panics, dropping quietly, aborting.
mod unwind;

// Event counts of one thread, for statistics.
mod counters;

// What one thread did and when, in a ring of bounded size.
mod record;
// How long the tasks of one thread waited and ran.
mod timings;

// Free memory blocks of one thread, for tasks.
mod blocks;

// Memory for the tasks of threads from outside, a page at a time.
mod pages;

// An array that grows and never moves.
mod chunks;

// A fence pair that costs on one side only.
mod barrier;

// The queue of forks: one owner, many thieves.
mod ring;

// Which threads sleep, and who wakes them.
mod sleep;

// A count that one thread waits for.
mod latch;

// Which work descends from which.
mod lineage;

// Closures without their types: forks and tasks.
mod job;

// The work and the span of a program, and what follows from them.
mod profile;

// Threads, their queues, and the search for work.
mod pool;

// `join`, `scope`, `broadcast` and maps: work that borrows.
mod fork;

// Tasks with handles, streams, tokens and deadlines.
mod executor;

// Futures: time, permits, blocking calls.
mod future;

// Snapshots of what a pool does.
mod stats;

// What a pool did: a record of its threads, and the forms in which a program can show it.
pub mod trace;
// What the threads of a pool do, and who waits for whom.
mod dump;

// Watching over stalls.
mod stall;

// Pools of processes, and one interface for them and threads.
#[cfg(all(feature = "process", target_os = "linux"))]
mod process;

// Clusters: clients submit the tasks of `process` to a queue on a NATS server, and workers on any number of computers run them.
#[cfg(all(feature = "nats", target_os = "linux"))]
pub mod nats;

// The ranks of an MPI program: the tasks of `process` run on the other ranks than 0.
#[cfg(all(feature = "mpi", target_os = "linux"))]
pub mod mpi;

// `open`, which creates a back end from an address.
#[cfg(all(feature = "process", target_os = "linux"))]
mod open;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// Called when a pool was made. Its modules cannot import this, which is above them.
const POOL_MADE: fn(&pool::Registry) = trace::pool_made;

/// Called when a pool has ended.
const POOL_ENDS: fn(&pool::Registry) = trace::pool_ends;

pub use dump::{
    CallerDump, Dump, PoolDump, QueueDump, SystemState, TaskDump, ThreadDump, ThreadRef,
    ThreadRole, ThreadState, WaitCycle, WaitEdge,
};
pub use executor::{
    AbortOnDrop, AsCompleted, AsyncImap, AsyncImapUnordered, CancelToken, Imap, ImapUnordered,
    JoinError, JoinHandle, JoinSet, JoinSetTask, Joined, Lost, PanicLocation, Promise, RunningTask,
    ScopedJoinHandle, ShutdownTimeout, Sleep, TaskBuilder, TaskError, TaskId, TrySubmitError,
    WaitFor, Waited, as_completed, current_token, first_finished, first_ok, imap, note_panic,
    promise, record_panic_locations, sleep, sleep_until, spawn, spawn_async, submit, submit_async,
    try_join_all, wait, wait_results,
};
pub use fork::map::{IntoSource, Limited, Owned, OwnedIter, Source, for_each, map, map_reduce};
pub use fork::{
    Scope, TryScope, current_num_threads, current_thread_index, has_pending_tasks, in_pool, join,
    join_context, scope, try_scope, yield_local, yield_now,
};
pub use future::{
    Acquire, AsyncPool, Elapsed, Every, Permit, Semaphore, YieldAsync, block_on, blocking, timeout,
    yield_async,
};
#[cfg(feature = "futures")]
pub use future::{
    CompletedStream, StreamMap, StreamMapUnordered, stream_map, stream_map_unordered,
};
#[cfg(all(feature = "process", target_os = "linux"))]
pub use heist_macros::{main, task};
#[cfg(all(feature = "process", target_os = "linux"))]
pub use open::open;
pub use pool::{
    BuildError, PoolThread, Priority, Start, ThreadPool, ThreadPoolBuilder, Timing, Waits,
    WhenFull, global,
};
#[cfg(all(feature = "process", target_os = "linux"))]
pub use process::guide as processes;
#[cfg(all(feature = "process", target_os = "linux"))]
pub use process::{
    Backend, Call, CallBuilder, Close, Executor, ExecutorStats, ProcessPool, ProcessPoolBuilder,
    ProcessStats, Task, TaskEntry, TaskImap, TaskImapUnordered, init, is_worker, register, tasks,
};
pub use profile::{Interval, Profile, ProfilePoint, ProfileSettings, ProfileSite};
pub use stall::{StallKind, StallReport};
pub use stats::{Bucket, Histogram, PoolStats, SchedulerStats, WorkerStats};
#[cfg(heist_lines)]
#[doc(hidden)]
pub use sync::lines;
pub use trace::{Span, mark, span};
#[doc(no_inline)]
pub use trace::{Trace, TraceSettings};

/// What the code that `#[heist::task]` writes needs.
#[cfg(all(feature = "process", target_os = "linux"))]
#[doc(hidden)]
pub mod __private {
    pub use crate::process::TASKS;
    pub use linkme;
}
