//! The builder of pools of processes.

use super::call;
use super::codec::Format;
use super::member::Launch;
use super::options::Defaults;
use super::pool::{self, MAX_WORKERS, ProcessPool, START_TIMEOUT};
use super::registry;
use super::shared::Shared;
use super::state::{Settings, State};
use super::task::{Task, entry};
use super::{wire, worker};
use crate::BuildError;
use crate::pool::WhenFull;
use std::ffi::OsString;
use std::fmt;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// The settings of a new [`ProcessPool`].
///
/// ```
/// use heist::{Executor, ProcessPool};
/// use std::time::Duration;
///
/// #[heist::task]
/// fn prepare(text: String) {
///     println!("a worker begins: {text}");
/// }
///
/// #[heist::task]
/// fn square(n: u64) -> u64 {
///     n * n
/// }
///
/// #[heist::main]
/// fn main() -> Result<(), heist::BuildError> {
///     let pool = ProcessPool::builder()
///         .num_workers(2)
///         .init(prepare::TASK, "hello".to_owned())
///         .timeout(Duration::from_secs(60))
///         .max_tasks(1000)
///         .build()?;
///     assert_eq!(pool.submit(square::TASK, 7).join().unwrap(), 49);
///     Ok(())
/// }
/// ```
#[must_use = "a builder does nothing until `build`"]
pub struct ProcessPoolBuilder {
    num_workers: usize,
    launch: Launch,
    defaults: Defaults,
    start_timeout: Duration,
    settings: Settings,
    when_full: WhenFull,
    /// Why the pool cannot be built.
    trouble: Option<String>,
}

impl Default for ProcessPoolBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl ProcessPoolBuilder {
    /// Creates a builder with the default settings.
    pub fn new() -> Self {
        ProcessPoolBuilder {
            num_workers: 0,
            launch: Launch::default(),
            defaults: Defaults::default(),
            start_timeout: START_TIMEOUT,
            settings: Settings {
                max_tasks: u64::MAX,
                grace: Duration::from_secs(1),
                capacity: None,
                rejects: false,
                preparation: Vec::new(),
            },
            when_full: WhenFull::default(),
            trouble: None,
        }
    }

    /// Sets the number of worker processes. If it is 0, the default, there is one for each processor that the
    /// affinity and the cgroup quota leave to this process. At most it is 4,096.
    pub fn num_workers(mut self, count: usize) -> Self {
        self.num_workers = count;
        self
    }

    /// Sets a task that each worker runs before all others, with these arguments. It can fill statics, which the
    /// worker's tasks then find.
    ///
    /// If it panics or its process ends, the worker is not used. [`build`](Self::build) returns an error if that
    /// happens to the first worker. The text of the panic is in the error.
    pub fn init<T: Task<Output = ()>>(mut self, task: T, args: T::Args) -> Self {
        let _ = task;
        let mut body = Vec::new();
        wire::put_name(&mut body, entry::<T>().name());
        if let Err(text) = call::put(Format::Compact, &args, &mut body) {
            self.trouble = Some(format!(
                "the arguments of `init` cannot be serialised: {text}"
            ));
        }
        self.settings.preparation = body;
        self
    }

    /// Sets how many tasks a worker runs at most, at least 1. Then it ends, and another takes its place. By
    /// default there is no limit. It bounds what a task that leaks can accumulate.
    pub fn max_tasks(mut self, tasks: usize) -> Self {
        self.settings.max_tasks = tasks.max(1) as u64;
        self
    }

    /// Limits the time that each task runs, unless the task or the call says otherwise. See
    /// [`CallBuilder::timeout`](crate::CallBuilder::timeout).
    pub fn timeout(mut self, time: Duration) -> Self {
        self.defaults.timeout = Some(time);
        self
    }

    /// Sets how many times a task may be started, if its process ends, for tasks and calls that do not say so
    /// themselves. The default is 1: a task may have had effects before its process ended.
    pub fn tries(mut self, tries: u32) -> Self {
        self.defaults.tries = tries.max(1);
        self
    }

    /// Sets how long a running task that was cancelled may take to return before its process is killed. The
    /// default is one second.
    pub fn grace(mut self, time: Duration) -> Self {
        self.settings.grace = time;
        self
    }

    /// Sets how many calls may wait, at least 1, beside those that workers have. By default there is no limit.
    pub fn queue_capacity(mut self, calls: usize) -> Self {
        self.settings.capacity = Some(calls.max(1));
        self
    }

    /// Sets what happens to a call if the queue is full. The default is [`WhenFull::Block`].
    ///
    /// [`WhenFull::CallerRuns`] is an error of [`build`](Self::build): the task would run in this process, which
    /// it could crash.
    pub fn when_full(mut self, when_full: WhenFull) -> Self {
        self.when_full = when_full;
        self
    }

    /// Sets the most bytes that the arguments or the result of a task may take up. The default is 1 GiB, and at most
    /// it is 2 GiB.
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.defaults.max_message = bytes.clamp(1, 2 << 30);
        self
    }

    /// Sets how long a worker may take until it is ready, its [`init`](Self::init) included. The default is
    /// 30 seconds.
    pub fn start_timeout(mut self, time: Duration) -> Self {
        self.start_timeout = time;
        self
    }

    /// Sets the arguments with which this program is started as a worker. The default is none.
    ///
    /// Only what runs before [`heist::init`](crate::init()) sees them. In a test binary, whose `main` belongs to the
    /// harness, they choose a test that calls it:
    ///
    /// ```no_run
    /// #[test]
    /// fn heist_worker() {
    ///     heist::init();
    /// }
    ///
    /// # fn build() -> Result<heist::ProcessPool, heist::BuildError> {
    /// heist::init();
    /// heist::ProcessPool::builder()
    ///     .worker_args(["heist_worker", "--exact", "--nocapture", "--quiet"])
    ///     .build()
    /// # }
    /// ```
    pub fn worker_args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.launch.args = args.into_iter().map(Into::into).collect();
        self
    }

    /// Sets an environment variable of the workers, beside those of this process.
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.launch.env.push((name.into(), value.into()));
        self
    }

    /// Creates the pool, starts its workers, and waits until the first one is ready.
    ///
    /// # Errors
    ///
    /// Returns an error
    ///
    /// - if this program did not call [`heist::init`](crate::init()) before;
    /// - in a worker process: a task cannot build a pool of processes;
    /// - if two tasks have the same name, or a setting is out of its range;
    /// - if the first worker cannot be started, ends before it is ready, or its [`init`](Self::init) fails.
    pub fn build(self) -> Result<ProcessPool, BuildError> {
        if worker::is_worker() {
            return Err(BuildError::of_backend(
                "a worker process cannot build a process pool: build it in the program, and pass data to its tasks",
            ));
        }
        if !worker::is_initialised() {
            return Err(BuildError::of_backend(
                "this program did not begin with heist::init(): put #[heist::main] on main, or call heist::init() as \
                 its first statement",
            ));
        }
        if self.when_full == WhenFull::CallerRuns {
            return Err(BuildError::of_backend(
                "a process pool cannot run a task on its caller: use WhenFull::Block or WhenFull::Reject",
            ));
        }
        registry::check_names().map_err(BuildError::of_backend)?;
        if let Some(trouble) = self.trouble {
            return Err(BuildError::of_backend(trouble));
        }
        let size = pool::size(self.num_workers);
        if size > MAX_WORKERS {
            return Err(BuildError::of_backend(format!(
                "{size} workers are more than {MAX_WORKERS}: ask for fewer"
            )));
        }
        let mut settings = self.settings;
        if settings.preparation.len() > self.defaults.max_message {
            return Err(BuildError::of_backend(
                "the arguments of `init` are longer than a message may be: pass a path, or raise `max_message`",
            ));
        }
        settings.rejects = self.when_full == WhenFull::Reject;
        let task = std::mem::take(&mut settings.preparation);
        settings.preparation = (self.defaults.max_message as u64).to_le_bytes().to_vec();
        if task.is_empty() {
            wire::put_name(&mut settings.preparation, "");
        }
        settings.preparation.extend(task);
        let sockets = || -> std::io::Result<_> {
            let (wake, woken) = UnixStream::pair()?;
            wake.set_nonblocking(true)?;
            woken.set_nonblocking(true)?;
            Ok((wake, woken))
        };
        let (wake, woken) = sockets().map_err(|error| {
            BuildError::of_backend(format!(
                "no process pool: the system refused a socket: {error}"
            ))
        })?;
        let state = State::new(size, settings);
        let shared = Shared::new(state, wake, self.launch, self.defaults, self.start_timeout);
        pool::launch(shared, woken)
    }
}

impl fmt::Debug for ProcessPoolBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessPoolBuilder")
            .field("num_workers", &self.num_workers)
            .finish_non_exhaustive()
    }
}

/// # Building a pool
impl ProcessPool {
    /// Creates a pool with the default settings, which has one worker for each processor that the process may use.
    ///
    /// # Errors
    ///
    /// Returns an error where [`ProcessPoolBuilder::build`] does.
    pub fn new() -> Result<Self, BuildError> {
        Self::builder().build()
    }

    /// Returns a builder, which sets the properties of a pool and creates it.
    pub fn builder() -> ProcessPoolBuilder {
        ProcessPoolBuilder::new()
    }
}
