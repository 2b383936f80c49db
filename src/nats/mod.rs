//! Clusters: the same tasks on any number of computers, through a queue on a NATS server. With the feature `nats`, on Linux.
//!
//! A program that has outgrown its computer keeps its tasks and its handles. [`Cluster`] takes the place of a pool,
//! and [`Worker`]s, started anywhere, run what it submits. Between them is a [NATS](https://nats.io) server with
//! JetStream, which stores tasks and results. Clients, workers and the server can end at any time and come back.
//!
//! # A first cluster
//!
//! Start a server, `nats-server -js -sd /var/lib/nats`, version 2.11 or later. A worker is a program with the tasks:
//!
//! ```no_run
//! #[heist::task]
//! fn count(text: String) -> usize {
//!     text.split_whitespace().count()
//! }
//!
//! #[heist::main]
//! fn main() -> Result<(), heist::BuildError> {
//!     heist::nats::Worker::connect("nats://127.0.0.1:4222/words")?.isolate(true).run()
//! }
//! ```
//!
//! A client submits them. The program need not be asynchronous:
//!
//! ```no_run
//! use heist::{Executor, nats::Cluster};
//!
//! # #[heist::task]
//! # fn count(text: String) -> usize {
//! #     text.len()
//! # }
//! let cluster = Cluster::connect("nats://127.0.0.1:4222/words")?;
//! let counts = cluster.imap(count::TASK, ["to be".to_owned(), "or not".to_owned()]);
//! println!("{}", counts.map(Result::unwrap).sum::<usize>());
//! # Ok::<(), heist::BuildError>(())
//! ```
//!
//! [`heist::open`](crate::open) takes the same address, so that configuration chooses between threads, processes and a
//! cluster. The example `pages` of the repository does that, and is its own worker with `--worker`.
//!
//! # What is promised
//!
//! | what happens | what a handle says |
//! |---|---|
//! | a worker dies while it runs a task | [lost](crate::JoinError::lost), or the task runs again, if its [tries](crate::CallBuilder::tries) allow it |
//! | a worker dies that was given tasks and has not claimed them | nothing: others run them |
//! | a worker loses its connection, or is stopped for longer than [`ack_wait`](Options::ack_wait) | as if it had died; a result that it sends later is refused |
//! | the server dies and comes back | nothing: everyone waits for it; a worker that does not come back with it is as if it had died |
//! | the client dies | results stay on the server: see [`Cluster::attach`], [`Cluster::find`] and [`ClusterBuilder::session`] |
//! | a worker gets SIGTERM | nothing: it gives back what has not begun and finishes the rest |
//!
//! - **A task starts at most as often as its tries say**, 1 by default, whatever is killed. A worker claims each start at the server before it
//!   begins, and the server accepts each claim once.
//! - Each handle resolves as long as the server comes back and the queue has a worker. With no worker, tasks wait.
//! - The outcome that is stored first is the only one.
//! - A worker runs as many tasks at a time as it has [places](Worker::places). Its death costs what it ran, and what had ended and was not stored yet. Of tasks
//!   that take less than 200 microseconds it claims up to four more, which are lost with it: see [`claims_ahead`](Worker::claims_ahead).
//! - Cheap items of an [`imap`](crate::Executor::imap) travel in chunks of about a millisecond. A chunk is one task to the cluster: it is lost, cancelled and tried
//!   again as a whole. [`chunk(1)`](crate::TaskImap::chunk) sends each item alone. So does a client that was given a
//!   [session](ClusterBuilder::session). Without a given session, items in a chunk cannot be [attached to](Cluster::attach), and a session that has sent
//!   chunks cannot be continued.
//! - A call whose handle is [cancelled](crate::JoinHandle::cancel) is removed from the queue, or its worker is told: the token of the task is
//!   cancelled, and an isolated task is killed after the [grace](Worker::grace). Threads cannot be stopped. The cancel concerns the
//!   handle at once; if the task had ended already, its result is kept all the same.
//!
//! What is not promised: a server that loses its disk loses the queue. And by default the server writes to the disk every two minutes, so a
//! power failure can undo the last ones: see [`operating`].
//!
//! # Arguments, results and versions
//!
//! Values travel in MessagePack with the names of fields, and each message has the name and the signature of its task. So workers of
//! several versions can serve one queue while programs are replaced:
//!
//! - a new task waits until a worker knows it. After [`unknown_for`](Worker::unknown_for) it is refused with a text that says which versions
//!   were asked;
//! - a task whose parameters were changed is refused with both signatures. Give it a new name: `#[heist::task(name = "resize.v2")]`;
//! - a field that was added to a struct needs `#[serde(default)]`. The order of fields has no meaning.
//!
//! What does not fit into a message of the server, usually 1 MiB, travels as an object of the server's object store. It costs more, so
//! prefer names of files in a common file system. Large byte arrays need the types of the crate `serde_bytes`.
//!
//! See [`operating`] for the server's settings, limits, users, and what to watch.

mod client;
mod cluster;
mod drive;
mod duty;
mod events;
mod link;
mod names;
pub mod operating;
mod options;
mod record;
mod remote;
mod serve;
mod station;
mod submit;
mod worker;

#[cfg(test)]
mod tests;

pub use cluster::{Cluster, ClusterBuilder, SessionId, UnknownTask};
pub use events::{ClusterStats, ClusterTask, ClusterWorker, Event, Events};
pub use options::Options;
pub use worker::Worker;
