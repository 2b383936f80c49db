//! A worker as its program sees it.

use super::link;
use super::options::Options;
use super::station::{Settings, Station};
use crate::{Backend, BuildError, Executor, ProcessPool, Task, ThreadPool};
use std::ffi::OsString;
use std::fmt;
use std::time::Duration;
use tokio::runtime::Runtime;

/// Runs the tasks of a queue.
///
/// A worker takes as many tasks as it has places, and asks for more when it has run them. Any number of workers, on any
/// computers, serve one queue; they can come and go at any time.
///
/// Its program is usually the one that submits, or one that links the same tasks. A crate of which a program uses
/// nothing is not linked: `use thumbs as _;` links it.
///
/// ```no_run
/// use heist::nats::Worker;
///
/// #[heist::task]
/// fn square(n: u64) -> u64 {
///     n * n
/// }
///
/// #[heist::main]
/// fn main() -> Result<(), heist::BuildError> {
///     Worker::connect("nats://127.0.0.1:4222/numbers")?.places(8).isolate(true).run()
/// }
/// ```
///
/// # Ending it
///
/// On SIGTERM or SIGINT a worker takes no more tasks, gives back those that have not begun, finishes those that run, and
/// [`run`](Self::run) returns. A second signal of the kind, or the [drain timeout](Self::drain_timeout), ends those that
/// run: their processes are killed, and they are lost or run elsewhere, as their tries say. Tasks in threads are given up.
#[must_use = "a worker does nothing until `run`"]
pub struct Worker {
    runtime: Runtime,
    link: link::Link,
    settings: Settings,
}

impl Options {
    /// Connects as a worker.
    ///
    /// # Errors
    ///
    /// Returns an error where [`Worker::connect`] does.
    pub fn worker(self) -> Result<Worker, BuildError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime =
            runtime.map_err(|error| BuildError::of_backend(format!("no runtime: {error}")))?;
        let connected = runtime.block_on(link::connect(&self, "heist worker"));
        let (link, _) = connected.map_err(BuildError::of_backend)?;
        let settings = Settings {
            places: 0,
            claims_ahead: 4,
            isolate: false,
            grace: Duration::from_secs(1),
            drain_timeout: Duration::from_secs(30),
            unknown_for: Duration::from_secs(60),
            version: String::new(),
            worker_args: Vec::new(),
        };
        Ok(Worker {
            runtime,
            link,
            settings,
        })
    }
}

impl Worker {
    /// Connects to a queue, and creates it if it is new. See [`Options::new`] for the address.
    ///
    /// # Errors
    ///
    /// Returns an error where [`Cluster::connect`](super::Cluster::connect) does.
    pub fn connect(address: &str) -> Result<Self, BuildError> {
        Options::new(address)?.worker()
    }

    /// Sets how many tasks run at the same time. If it is 0, the default, it is the number of processors that this process
    /// may use.
    pub fn places(mut self, count: usize) -> Self {
        self.settings.places = count;
        self
    }

    /// Sets how many tasks shorter than 200 microseconds the worker claims before there is a place for them. The default is 4.
    ///
    /// A claim takes longer than such a task runs, so claims ahead make them several times as fast. They count as begun: if the worker dies,
    /// those tasks are [lost](crate::JoinError::lost) or use up one of their tries, although they may not have begun. And they wait for
    /// the task that runs, even if it takes longer than those before it. With 0, the death of a worker costs what it runs and what has ended and was not stored yet.
    /// The death of an isolated task costs none of those claimed ahead in either case: they run in the process that takes its place.
    pub fn claims_ahead(mut self, tasks: usize) -> Self {
        self.settings.claims_ahead = tasks;
        self
    }

    /// Sets whether tasks run in processes of their own, as in a [`ProcessPool`], or in threads, which is the default.
    ///
    /// With processes, a task that crashes is lost at once and the worker lives, and time limits and cancels end
    /// running tasks. With threads, a crash ends the worker, and all tasks that it runs are lost when the server notices.
    pub fn isolate(mut self, isolate: bool) -> Self {
        self.settings.isolate = isolate;
        self
    }

    /// Makes a task known that was not made by `#[heist::task]`. See [`heist::register`](crate::register()), which also serves isolated tasks.
    pub fn task<T: Task>(self, task: T) -> Self {
        crate::register(task);
        self
    }

    /// Sets how long an isolated task that was cancelled may take to return before its process is killed. The default is one
    /// second.
    pub fn grace(mut self, time: Duration) -> Self {
        self.settings.grace = time;
        self
    }

    /// Sets how long running tasks may take to end after SIGTERM. The default is 30 seconds.
    pub fn drain_timeout(mut self, time: Duration) -> Self {
        self.settings.drain_timeout = time;
        self
    }

    /// Sets how long tasks that this worker does not know wait for one that does. Then they are refused. The default is
    /// one minute.
    pub fn unknown_for(mut self, time: Duration) -> Self {
        self.settings.unknown_for = time;
        self
    }

    /// Sets the version of the program, which [`Cluster::stats`](super::Cluster::stats) shows and errors name.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.settings.version = version.into();
        self
    }

    /// Sets the arguments with which this program is started for isolated tasks. See
    /// [`ProcessPoolBuilder::worker_args`](crate::ProcessPoolBuilder::worker_args).
    pub fn worker_args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.settings.worker_args = args.into_iter().map(Into::into).collect();
        self
    }

    /// Runs tasks until a signal ends the worker.
    ///
    /// A server that is away is waited for.
    ///
    /// # Errors
    ///
    /// Returns an error if two tasks have the same name, or the threads or processes cannot be started.
    pub fn run(mut self) -> Result<(), BuildError> {
        crate::process::check_names().map_err(BuildError::of_backend)?;
        if self.settings.places == 0 {
            self.settings.places = std::thread::available_parallelism().map_or(1, usize::from);
        }
        let backend: Box<dyn Backend> = if self.settings.isolate {
            let pool = ProcessPool::builder()
                .num_workers(self.settings.places)
                .grace(self.settings.grace)
                .worker_args(self.settings.worker_args.clone());
            Box::new(pool.build()?)
        } else {
            // Threads cannot be stopped, so what still runs in the end is left behind.
            let pool = ThreadPool::builder()
                .num_threads(self.settings.places)
                .wait_on_drop(false);
            Box::new(pool.build()?)
        };
        let Worker {
            runtime,
            link,
            settings,
        } = self;
        let ended = runtime.block_on(async {
            let station = Station::new(link, backend, settings);
            let ended = station.run().await;
            (station, ended)
        });
        runtime.shutdown_background();
        let (station, ended) = ended;
        ended.map_err(BuildError::of_backend)?;
        if station.settings.isolate {
            station.backend.shutdown_now();
        }
        Ok(())
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("queue", &self.link.names.queue)
            .field("places", &self.settings.places)
            .field("isolate", &self.settings.isolate)
            .finish_non_exhaustive()
    }
}
