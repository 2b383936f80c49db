//! Processes: coming from Python's `ProcessPoolExecutor`, and when processes pay off.
//!
//! # Row by row
//!
//! | Python | heist |
//! |---|---|
//! | a function at the top level of a module | a function with [`#[heist::task]`](macro@crate::task), anywhere |
//! | `if __name__ == "__main__":` | [`#[heist::main]`](macro@crate::main), or [`heist::init()`](crate::init()) first in `main` |
//! | `ProcessPoolExecutor(n)` | [`ProcessPool::builder().num_workers(n).build()?`](crate::ProcessPool::builder) |
//! | `with executor:` | the block that owns the pool |
//! | `submit(f, a, b)` | [`submit(f::TASK, (a, b))`](crate::Executor::submit) |
//! | `map(f, items)` | [`imap(f::TASK, items)`](crate::Executor::imap), also without a chunk size |
//! | `map(f, xs, ys)` | `imap(f::TASK, xs.zip(ys))` |
//! | `chunksize=n`, `buffersize=n`, `timeout=t` | [`.chunk(n)`](crate::TaskImap::chunk), [`.window(n)`](crate::TaskImap::window), [`.timeout(t)`](crate::TaskImap::timeout) |
//! | `initializer=f, initargs=(x,)` | [`.init(f::TASK, x)`](crate::ProcessPoolBuilder::init) |
//! | `max_tasks_per_child=n` | [`.max_tasks(n)`](crate::ProcessPoolBuilder::max_tasks) |
//! | `BrokenProcessPool`: every future fails, and the pool is unusable | [`JoinError::lost`](crate::JoinError::lost) of the one task that ran; the pool goes on |
//! | `future.cancel()`, which is impossible once the task runs | [`cancel()`](crate::JoinHandle::cancel), which asks the task to stop and then kills its process |
//! | `future.result(timeout)`, after which the task goes on | [`join_timeout`](crate::JoinHandle::join_timeout); to end the task, [`.timeout(t)`](crate::CallBuilder::timeout) |
//! | `terminate_workers()`, `kill_workers()` | [`shutdown_now()`](crate::Executor::shutdown_now) |
//! | `shutdown(wait=True)` | [`shutdown()`](crate::Executor::shutdown), or the end of the block |
//! | `as_completed(fs)`, `wait(fs)` | [`as_completed`](crate::as_completed), [`wait`](crate::wait()): the handles are those of threads |
//! | `ThreadPoolExecutor` in its place | [`&impl Executor`](crate::Executor), or [`heist::open`](crate::open) |
//!
//! Start a pool and call functions in it:
//!
//! ```
//! use heist::{Executor, ProcessPool};
//!
//! #[heist::task]
//! fn power(base: u64, exponent: u32) -> u64 {
//!     base.pow(exponent)
//! }
//!
//! #[heist::main]
//! fn main() -> Result<(), heist::BuildError> {
//!     let pool = ProcessPool::builder().num_workers(2).build()?;
//!     let future = pool.submit(power::TASK, (2, 10));
//!     assert_eq!(future.join().unwrap(), 1024);
//!     let powers = pool.imap(power::TASK, (0..100).zip(std::iter::repeat(2)));
//!     assert_eq!(powers.map(Result::unwrap).sum::<u64>(), 328_350);
//!     assert_eq!(power(2, 3), 8); // still a function
//!     Ok(())
//! } // runs what is queued, and ends the workers
//! ```
//!
//! Prepare each worker once, and keep what it has loaded in a static:
//!
//! ```
//! use heist::{Executor, ProcessPool};
//! use std::collections::HashMap;
//! use std::sync::OnceLock;
//!
//! static MODEL: OnceLock<HashMap<String, u32>> = OnceLock::new();
//!
//! #[heist::task]
//! fn load(words: Vec<String>) {
//!     MODEL.set(words.into_iter().zip(0..).collect()).unwrap();
//! }
//!
//! #[heist::task]
//! fn look_up(word: String) -> Option<u32> {
//!     MODEL.get()?.get(&word).copied()
//! }
//!
//! heist::init();
//! let words = vec!["to".to_owned(), "be".to_owned()];
//! let pool = ProcessPool::builder().num_workers(2).init(load::TASK, words).build()?;
//! assert_eq!(pool.submit(look_up::TASK, "be".to_owned()).join().unwrap(), Some(1));
//! # Ok::<(), heist::BuildError>(())
//! ```
//!
//! A task that ends its process is one error, not the end of the pool. One that may have effects only once is not
//! started again unless it says so:
//!
//! ```
//! use heist::{Executor, ProcessPool};
//!
//! #[heist::task(tries = 3, timeout = "30s")]
//! fn fragile(n: u32) -> u32 {
//!     if n == 7 {
//!         std::process::exit(3);
//!     }
//!     n
//! }
//!
//! heist::init();
//! let pool = ProcessPool::builder().num_workers(2).build()?;
//! for (n, result) in pool.imap(fragile::TASK, 0..20).enumerate() {
//!     match result {
//!         Ok(value) => assert_eq!(value as usize, n),
//!         Err(error) => {
//!             let lost = error.lost().expect("its process has ended");
//!             assert_eq!((n, lost.code, lost.starts), (7, Some(3), 3));
//!         }
//!     }
//! }
//! # Ok::<(), heist::BuildError>(())
//! ```
//!
//! A task that hangs is killed; one that looks at its token can stop in good order:
//!
//! ```
//! use heist::{Executor, ProcessPool};
//! use std::time::Duration;
//!
//! #[heist::task]
//! fn hangs() {
//!     loop {
//!         std::thread::park();
//!     }
//! }
//!
//! #[heist::task]
//! fn polite() {
//!     while !heist::current_token().is_cancelled() {
//!         std::thread::sleep(Duration::from_millis(1));
//!     }
//! }
//!
//! heist::init();
//! let pool = ProcessPool::builder().num_workers(2).build()?;
//! let late = pool.task().timeout(Duration::from_millis(50)).submit(hangs::TASK, ());
//! assert!(late.join().unwrap_err().is_timeout());
//! let handle = pool.submit(polite::TASK, ());
//! assert!(handle.cancel());
//! assert!(handle.join().unwrap_err().is_cancelled());
//! # Ok::<(), heist::BuildError>(())
//! ```
//!
//! # When processes pay off
//!
//! Python needs processes to compute in parallel. Rust does not: threads share data without copies, and a task
//! costs well below a microsecond there. A process gives what a thread cannot:
//!
//! - A crash stays in it. Code that calls C libraries on untrusted input can end by a signal, and costs one task.
//! - It can be killed, so a task that hangs or has become useless ends.
//! - It can leak. With [`max_tasks`](crate::ProcessPoolBuilder::max_tasks) its memory goes back to the system.
//! - It has limits and state of its own: memory limits, the working directory, the locale, libraries that may be
//!   used once in a process.
//!
//! What it costs: a round trip of some tens of microseconds, the serialisation of arguments and results, and a
//! copy of all that the program loads. Therefore pass names of files rather than their contents, let
//! [`imap`](crate::Executor::imap) put cheap items into chunks, and give large byte arrays the types of the crate
//! `serde_bytes`: a `Vec<u8>` is serialised byte by byte, which takes many times as long.
//!
//! # What differs from Python
//!
//! - The task is `power::TASK`; `power` is the function. The two have different namespaces, so a function remains a
//!   function in every respect. Passing `power` itself does not compile, and the error says what to write.
//! - Arguments are values. A closure cannot be a task, because its captures cannot be found in another process.
//! - Workers are this program, started again, never a copy of its memory as after `fork`. What is before
//!   `heist::init()` in `main` runs in each of them.
//! - A panic is the error of its task, with its message and place. The worker goes on.
//! - In a chunk, an item that fails, is lost or is late costs only itself. With Python's `chunksize`, it costs the chunk.
//! - [`is_running`](crate::JoinHandle::is_running) is true while a worker runs the task, and not while the task only
//!   waits behind another one.
