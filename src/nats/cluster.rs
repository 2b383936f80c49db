//! A cluster as its clients see it.

use super::client::{Client, Gate, Open};
use super::drive::Settings;
use super::events::{self, ClusterStats, ClusterTask, Events};
use super::names::{Key, key_of, key_of_id};
use super::options::Options;
use super::remote::Remote;
use super::submit;
use crate::executor::remote::promise_with;
use crate::pool::WhenFull;
use crate::process::{entry, one_end};
use crate::sync::{Mutex, lock};
use crate::{
    Backend, BuildError, Call, Close, ExecutorStats, JoinHandle, ShutdownTimeout, Task, TaskEntry,
};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// How long the end of a client waits until the server has what was submitted.
const FAREWELL: Duration = Duration::from_secs(5);

/// A queue on a NATS server, and the workers that serve it: a back end that begins where one computer ends.
///
/// The methods that start tasks are those of [`Executor`](crate::Executor), which has to be in scope, and handles are those
/// of threads. [`Worker`](super::Worker) is the other side. See the [module](super) for what is promised.
///
/// It is a handle: clones share the connection. When the last one is dropped, it waits until the server has stored
/// what was submitted, for at most 5 seconds. The tasks then run without the client, handles that are kept still
/// resolve, and results stay on the server.
///
/// ```no_run
/// use heist::{Executor, nats::Cluster};
///
/// #[heist::task]
/// fn square(n: u64) -> u64 {
///     n * n
/// }
///
/// let cluster = Cluster::connect("nats://127.0.0.1:4222/numbers")?;
/// assert_eq!(cluster.submit(square::TASK, 7).join().unwrap(), 49);
/// let squares: Result<Vec<_>, _> = cluster.imap(square::TASK, 0..1000).collect();
/// assert_eq!(squares.unwrap().len(), 1000);
/// # Ok::<(), heist::BuildError>(())
/// ```
#[derive(Clone)]
pub struct Cluster {
    handle: Arc<Handle>,
}

struct Handle {
    client: Arc<Client>,
    thread: Mutex<Option<thread::JoinHandle<()>>>,
}

/// The name of a client's calls on the server. It prints itself, and can be read from text.
///
/// With it, another client finds the calls by their numbers: see [`Cluster::attach`] and [`ClusterBuilder::session`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SessionId(Arc<str>);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for SessionId {
    type Err = BuildError;

    fn from_str(text: &str) -> Result<Self, BuildError> {
        let is_plain =
            (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if is_plain && text != "id" {
            Ok(SessionId(text.into()))
        } else {
            Err(BuildError::of_backend(
                "a session is made of 1 to 64 letters and digits, and is not the word `id`",
            ))
        }
    }
}

/// The server knows neither the call nor a result of it: it was never stored, or is not kept any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownTask(String);

impl fmt::Display for UnknownTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UnknownTask {}

/// The settings of a new [`Cluster`]. See [`Options::client`].
#[derive(Debug)]
#[must_use = "a builder does nothing until `connect`"]
pub struct ClusterBuilder {
    options: Options,
    session: Option<SessionId>,
    when_full: WhenFull,
    tries: u32,
}

impl ClusterBuilder {
    /// Continues a session: the first call of this client is the session's first one, and so on.
    ///
    /// A program that was interrupted and runs again with its session, and submits the same calls in the same order, gets the
    /// results of those that have ended, and waits for those that are under way. Only what is missing is sent. Two
    /// clients of one session at a time get the same results.
    ///
    /// A session that was not given here cannot always be continued. A client that is built without this method gets a
    /// [session](Cluster::session) of its own, and cheap items of its streams travel in chunks. Another run of the
    /// program would make other chunks, so that session cannot be continued once a chunk was sent. Give a program
    /// that is to be continued a session from its first run on. Any word is one.
    ///
    /// With a session that is given here, the items of streams travel one by one, even if
    /// [`chunk`](crate::TaskImap::chunk) is set. This costs a message an item.
    ///
    /// # Errors
    ///
    /// [`connect`](Self::connect) returns an error if the session has sent items in chunks.
    pub fn session(mut self, session: SessionId) -> Self {
        self.session = Some(session);
        self
    }

    /// Sets what happens to a call if the queue is full. The default is [`WhenFull::Block`].
    ///
    /// [`WhenFull::CallerRuns`] is an error of [`connect`](Self::connect).
    pub fn when_full(mut self, when_full: WhenFull) -> Self {
        self.when_full = when_full;
        self
    }

    /// Sets how many times a task may be started, if its worker ends, for tasks and calls that do not say so themselves.
    /// The default is 1: a task may have had effects before its worker ended.
    pub fn tries(mut self, tries: u32) -> Self {
        self.tries = tries.max(1);
        self
    }

    /// Connects.
    ///
    /// # Errors
    ///
    /// Returns an error where [`Cluster::connect`] does.
    pub fn connect(self) -> Result<Cluster, BuildError> {
        if self.when_full == WhenFull::CallerRuns {
            return Err(BuildError::of_backend(
                "a cluster cannot run a task on its caller: use WhenFull::Block or WhenFull::Reject",
            ));
        }
        let settings = Settings {
            session: self.session.map(|session| session.0),
            rejects: self.when_full == WhenFull::Reject,
            tries: self.tries,
        };
        let (client, thread) =
            Client::start(self.options, settings).map_err(BuildError::of_backend)?;
        let handle = Handle {
            client,
            thread: Mutex::new(Some(thread)),
        };
        Ok(Cluster {
            handle: Arc::new(handle),
        })
    }
}

impl Options {
    /// Connects as a client with the default settings.
    ///
    /// # Errors
    ///
    /// Returns an error where [`Cluster::connect`] does.
    pub fn cluster(self) -> Result<Cluster, BuildError> {
        self.client().connect()
    }

    /// Returns a builder for a client.
    pub fn client(self) -> ClusterBuilder {
        ClusterBuilder {
            options: self,
            session: None,
            when_full: WhenFull::default(),
            tries: 1,
        }
    }
}

impl Cluster {
    /// Connects to a queue, and creates it if it is new.
    ///
    /// The address is `nats://host:4222/queue`: see [`Options::new`].
    ///
    /// # Blocking
    ///
    /// Waits for the server, for at most 5 seconds.
    ///
    /// # Errors
    ///
    /// Returns an error if the address is wrong, no server answers, it refuses the login, it has no JetStream, or is older
    /// than 2.11.
    pub fn connect(address: &str) -> Result<Self, BuildError> {
        Options::new(address)?.cluster()
    }

    /// Returns the session of this client: the one that was given to [`ClusterBuilder::session`], or a new one.
    ///
    /// A new one cannot be continued by another client once items of a stream have travelled in a chunk.
    pub fn session(&self) -> SessionId {
        SessionId(Arc::clone(&self.handle.client.session))
    }

    /// Returns a handle for the call with this number of a session. Calls are numbered from 0 in the order in which they
    /// were submitted; each item of a stream counts, and calls with an [id](crate::CallBuilder::id) do not.
    ///
    /// An item of a stream that travelled in a chunk cannot be attached to, because only the chunk has a result. The first item
    /// of the chunk gives a handle that resolves to an error, and the others are unknown. To attach to items, send each alone:
    /// with [`chunk(1)`](crate::TaskImap::chunk), or in a session that was given to [`ClusterBuilder::session`].
    ///
    /// The result has to be of the type `R` with which the call was submitted. If it cannot be read as one, the
    /// handle resolves to an error.
    ///
    /// # Blocking
    ///
    /// Waits until the server has answered.
    ///
    /// # Errors
    ///
    /// Returns an error if the server does not know the call, or it is an item within a chunk.
    ///
    /// ```no_run
    /// use heist::nats::{Cluster, SessionId};
    ///
    /// let cluster = Cluster::connect("nats://127.0.0.1:4222/thumbs")?;
    /// let session: SessionId = std::fs::read_to_string("session").unwrap().parse()?;
    /// let first = cluster.attach::<u64>(&session, 0).unwrap();
    /// println!("{:?}", first.join());
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn attach<R>(&self, session: &SessionId, number: u64) -> Result<JoinHandle<R>, UnknownTask>
    where
        R: serde::de::DeserializeOwned + Send + 'static,
    {
        let key = key_of(&session.0, number);
        let what = format!("the call {number} of the session {session}");
        self.attach_to(key, &what, entry::<Remote>())
    }

    /// Returns a handle for the call that was submitted with this [id](crate::CallBuilder::id).
    ///
    /// # Blocking
    ///
    /// Waits until the server has answered.
    ///
    /// # Errors
    ///
    /// Returns an error if the server does not know the call.
    pub fn find<T: Task>(&self, task: T, id: &str) -> Result<JoinHandle<T::Output>, UnknownTask> {
        let _ = task;
        self.attach_to(
            key_of_id(id),
            &format!("the call with the id `{id}`"),
            entry::<T>(),
        )
    }

    fn attach_to<R>(
        &self,
        key: Key,
        what: &str,
        entry: &'static TaskEntry,
    ) -> Result<JoinHandle<R>, UnknownTask>
    where
        R: serde::de::DeserializeOwned + Send + 'static,
    {
        let client = &self.handle.client;
        let (look, at) = (Arc::clone(client), Arc::clone(&key));
        let known = client.ask(async move { submit::is_known(&look, &at).await });
        match known {
            Some(true) => {}
            Some(false) => {
                return Err(UnknownTask(format!(
                    "the server does not know {what}: it was not stored, or its result is not kept any more"
                )));
            }
            None => {
                return Err(UnknownTask(
                    "the server cannot be asked in a callback, and not after the end of the client"
                        .to_owned(),
                ));
            }
        }
        let (promise, handle) = promise_with(None, None);
        let call = Open {
            ends: one_end(promise),
            index: 0,
            items: 1,
            name: Some(what.into()),
            entry,
            stored: Some(Instant::now()),
            is_cancelled: false,
            others: Vec::new(),
        };
        client.adopt(key, call);
        Ok(handle)
    }

    /// Returns what the queue holds, and who works for it.
    ///
    /// This is the view of all clients. That of this client is [`Backend::stats`].
    ///
    /// # Blocking
    ///
    /// Waits for the server's answers, and 200 ms for those of the workers. While the server is away, it waits.
    pub fn stats(&self) -> ClusterStats {
        let client = Arc::clone(&self.handle.client);
        let stats = self.handle.client.ask(async move {
            let notices = events::ask_all(&client.link).await;
            let (lanes, results) = super::link::insist(|| client.link.counts()).await;
            ClusterStats {
                workers: notices.into_iter().map(|notice| notice.worker).collect(),
                queued_high: lanes[0].0,
                queued_normal: lanes[1].0,
                queued_low: lanes[2].0,
                under_way: lanes.iter().map(|lane| lane.1).sum(),
                redelivered: lanes.iter().map(|lane| lane.2).sum(),
                results,
            }
        });
        stats.unwrap_or_default()
    }

    /// Returns the tasks that run, as far as their workers answer within 200 ms.
    pub fn running(&self) -> Vec<ClusterTask> {
        let client = Arc::clone(&self.handle.client);
        let notices = self
            .handle
            .client
            .ask(async move { events::ask_all(&client.link).await });
        let notices = notices.unwrap_or_default().into_iter();
        notices.flat_map(|notice| notice.running).collect()
    }

    /// Returns what happens from now on: workers that come and go, lost tasks, a server that is away.
    pub fn events(&self) -> Events {
        self.handle.client.watch.listen()
    }
}

const FORKED: &str =
    "this process is a fork of the one that has connected to the cluster: connect again";

impl Backend for Cluster {
    fn start(&self, call: Call<'_>) {
        let client = &self.handle.client;
        if client.is_forked() {
            return call.refuse(FORKED);
        }
        let refused = call.encode(&client.defaults, &mut |job| client.submit(job));
        if refused > 0 {
            let mut state = client.lock();
            state.totals.submitted += u64::from(refused);
            state.totals.cancelled += u64::from(refused);
        }
    }

    /// Returns how many tasks the workers can run at the same time that have answered in the last seconds.
    fn num_workers(&self) -> usize {
        let (_, places, _) = self.handle.client.watch.size();
        places
    }

    /// Ends this client. The workers go on.
    ///
    /// [`Close::Now`] cancels the calls that have no result, also those that run.
    fn close(&self, how: Close) -> Result<usize, ShutdownTimeout> {
        let client = &self.handle.client;
        assert!(
            !client.is_own_thread(),
            "heist: a shutdown in a callback of a cluster would wait for itself: call it from another thread"
        );
        assert!(!client.is_forked(), "heist: a shutdown: {FORKED}");
        client.leave();
        let dropped = match how {
            Close::Now => client.drop_all(),
            _ => 0,
        };
        let until = match how {
            Close::Graceful => None,
            Close::Now => Instant::now().checked_add(FAREWELL),
            Close::Within(time) => Instant::now().checked_add(time),
        };
        if client.wait_until(until, |state| state.gate == Gate::Over) {
            self.handle.join_thread();
            return Ok(dropped);
        }
        match how {
            Close::Within(time) => Err(ShutdownTimeout::remote(
                time,
                Vec::new(),
                client.lock().open.len(),
            )),
            // The server is away. The thread goes on trying.
            _ => Ok(dropped),
        }
    }

    fn wait_idle(&self) {
        let client = &self.handle.client;
        assert!(
            !client.is_own_thread(),
            "heist: wait_idle in a callback of a cluster would wait for itself: call it from another thread"
        );
        assert!(!client.is_forked(), "heist: wait_idle: {FORKED}");
        client.wait_until(None, |state| {
            state.open.is_empty() || state.gate == Gate::Over
        });
    }

    /// Returns what this client has done. The number of workers and of those that are active is that of places, of the last
    /// seconds.
    fn stats(&self) -> ExecutorStats {
        let client = &self.handle.client;
        let (_, places, running) = client.watch.size();
        let state = client.lock();
        let totals = state.totals;
        ExecutorStats {
            workers: places,
            active: running,
            queued: state.open.len().saturating_sub(running),
            submitted: totals.submitted,
            completed: totals.completed,
            failed: totals.failed,
            timed_out: totals.timed_out,
            lost: totals.lost,
            cancelled: totals.cancelled,
            retried: totals.retried,
            ..ExecutorStats::default()
        }
    }
}

impl Handle {
    fn join_thread(&self) {
        if let Some(thread) = lock(&self.thread).take() {
            // A panic of the thread is a panic of a callback, which is caught before.
            let _ = thread.join();
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.client.is_forked() {
            return;
        }
        self.client.leave();
        if self.client.is_own_thread() {
            return;
        }
        let until = Instant::now().checked_add(FAREWELL);
        let is_stored = |state: &super::client::State| {
            state.gate == Gate::Over || (state.unstored == 0 && state.unsaid == 0)
        };
        self.client.wait_until(until, is_stored);
        if self
            .client
            .wait_until(Some(Instant::now()), |state| state.open.is_empty())
        {
            self.join_thread();
        }
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("queue", &self.handle.client.link.names.queue)
            .field("session", &self.handle.client.session)
            .finish_non_exhaustive()
    }
}
