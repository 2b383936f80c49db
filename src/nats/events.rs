//! Who works for a queue, and what happens there.

use super::link::Link;
use super::record::Record;
use crate::sync::{Mutex, lock};
use async_nats::SubscribeError;
use bytes::Bytes;
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

/// How often a client asks who is there.
const INTERVAL: Duration = Duration::from_secs(3);

/// A worker that has not answered for so long is lost.
const LOST: Duration = Duration::from_secs(10);

/// How long answers to a question to all workers are collected.
const PATIENCE: Duration = Duration::from_millis(200);

/// A worker of a queue. Part of [`ClusterStats`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ClusterWorker {
    /// The worker's name. No other worker has the same name.
    pub name: String,
    /// The name of the computer on which the worker runs.
    pub host: String,
    /// The id of the worker's process.
    pub pid: u32,
    /// The number of tasks that the worker can run at the same time.
    pub places: usize,
    /// The number of tasks that the worker runs now.
    pub running: usize,
    /// The number of tasks that the worker has run.
    pub done: u64,
    /// The number of tasks on this worker that panicked, were lost, or exceeded their time limit.
    pub failed: u64,
    /// The version that the worker [was given](super::Worker::version).
    pub version: String,
    /// The number of tasks that are registered in the worker's program.
    pub tasks: usize,
    /// The time since the worker started, in seconds.
    pub seconds: u64,
}

/// A task that runs in a cluster. See [`Cluster::running`](super::Cluster::running).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ClusterTask {
    /// The session and the number of the call, or `id.` and the id that it was given.
    pub key: String,
    /// The name of the task.
    pub task: String,
    /// The name of the worker that runs the task.
    pub worker: String,
    /// How many times the task was started.
    pub start: u32,
    /// How long the task has run, in milliseconds.
    pub milliseconds: u64,
}

/// What a worker says of itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Notice {
    pub(super) worker: ClusterWorker,
    #[serde(default)]
    pub(super) is_leaving: bool,
    #[serde(default)]
    pub(super) running: Vec<ClusterTask>,
}

/// What a queue holds, and who works for it. See [`Cluster::stats`](super::Cluster::stats).
///
/// `Display` prints a table with a row for each worker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ClusterStats {
    /// The workers that have answered, by name.
    pub workers: Vec<ClusterWorker>,
    /// The number of tasks of high priority that no worker has.
    pub queued_high: u64,
    /// The number of tasks of normal priority that no worker has.
    pub queued_normal: u64,
    /// The number of tasks of low priority that no worker has.
    pub queued_low: u64,
    /// The number of tasks that workers have.
    pub under_way: usize,
    /// The number of tasks under way that were given to a worker more than once.
    pub redelivered: usize,
    /// The number of results that are kept.
    pub results: u64,
}

impl fmt::Display for ClusterStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let queued = self.queued_high + self.queued_normal + self.queued_low;
        writeln!(
            f,
            "queued  {queued}: {} high, {} normal, {} low",
            self.queued_high, self.queued_normal, self.queued_low
        )?;
        write!(
            f,
            "tasks   {} under way ({} given out again), {} results kept",
            self.under_way, self.redelivered, self.results
        )?;
        if !self.workers.is_empty() {
            write!(
                f,
                "\n{:<24} {:<16} {:>8} {:>8} {:>10} {:>8} {:>9}  version",
                "worker", "host", "process", "running", "done", "failed", "seconds"
            )?;
        }
        for worker in &self.workers {
            let running = format!("{}/{}", worker.running, worker.places);
            write!(
                f,
                "\n{:<24} {:<16} {:>8} {running:>8} {:>10} {:>8} {:>9}  {}",
                worker.name,
                worker.host,
                worker.pid,
                worker.done,
                worker.failed,
                worker.seconds,
                worker.version
            )?;
        }
        Ok(())
    }
}

/// What happens in a cluster. See [`Cluster::events`](super::Cluster::events).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A worker has come, or was seen for the first time.
    WorkerJoined(ClusterWorker),
    /// A worker has ended in good order.
    WorkerLeft(ClusterWorker),
    /// A worker has not answered for some seconds.
    WorkerLost(ClusterWorker),
    /// A task of this client was lost: its name, and the name of the worker that says so.
    TaskLost {
        /// The name of the task.
        task: String,
        /// The name of the worker that has reported the loss.
        noticed_by: String,
    },
    /// The connection to the server has ended.
    ServerAway,
    /// The client is connected to the server again.
    ServerBack,
}

/// The events of a cluster, as they happen. See [`Cluster::events`](super::Cluster::events).
///
/// The iterator waits for the next event. It ends when the client ends.
#[derive(Debug)]
pub struct Events(Receiver<Event>);

impl Events {
    /// Waits for the next event, for at most `time`.
    pub fn next_timeout(&self, time: Duration) -> Option<Event> {
        self.0.recv_timeout(time).ok()
    }
}

impl Iterator for Events {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        self.0.recv().ok()
    }
}

/// What a client knows of the workers.
pub(super) struct Watch {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    workers: HashMap<String, (ClusterWorker, Instant)>,
    listeners: Vec<Sender<Event>>,
    is_away: bool,
}

impl Watch {
    pub(super) fn new() -> Self {
        Watch {
            inner: Mutex::new(Inner::default()),
        }
    }

    /// The number of workers, and of the tasks that they can run and do run.
    pub(super) fn size(&self) -> (usize, usize, usize) {
        let inner = lock(&self.inner);
        let places = inner
            .workers
            .values()
            .map(|(worker, _)| worker.places)
            .sum();
        let running = inner
            .workers
            .values()
            .map(|(worker, _)| worker.running)
            .sum();
        (inner.workers.len(), places, running)
    }

    pub(super) fn listen(&self) -> Events {
        let (sender, receiver) = mpsc::channel();
        lock(&self.inner).listeners.push(sender);
        Events(receiver)
    }

    /// Ends all streams of events.
    pub(super) fn end(&self) {
        lock(&self.inner).listeners.clear();
    }

    pub(super) fn task_lost(&self, record: &Record) {
        let (task, noticed_by) = (record.task.clone(), record.worker.clone());
        lock(&self.inner).tell(Event::TaskLost { task, noticed_by });
    }

    /// Notes whether there is a connection.
    pub(super) fn server(&self, is_there: bool) {
        let mut inner = lock(&self.inner);
        let was_away = std::mem::replace(&mut inner.is_away, !is_there);
        match (was_away, is_there) {
            (false, false) => inner.tell(Event::ServerAway),
            (true, true) => inner.tell(Event::ServerBack),
            _ => {}
        }
    }

    fn notice(&self, notice: Notice) {
        let mut inner = lock(&self.inner);
        let worker = notice.worker;
        if notice.is_leaving {
            if inner.workers.remove(&worker.name).is_some() {
                inner.tell(Event::WorkerLeft(worker));
            }
            return;
        }
        let known = inner
            .workers
            .insert(worker.name.clone(), (worker.clone(), Instant::now()));
        if known.is_none() {
            inner.tell(Event::WorkerJoined(worker));
        }
    }

    /// Forgets those that have not answered, unless the server is away.
    fn forget_lost(&self) {
        let mut inner = lock(&self.inner);
        if inner.is_away {
            for (_, seen) in inner.workers.values_mut() {
                *seen = Instant::now();
            }
        }
        let lost = inner
            .workers
            .values()
            .filter(|(_, seen)| seen.elapsed() > LOST);
        let lost: Vec<_> = lost.map(|(worker, _)| worker.clone()).collect();
        for worker in lost {
            inner.workers.remove(&worker.name);
            inner.tell(Event::WorkerLost(worker));
        }
    }
}

impl Inner {
    fn tell(&mut self, event: Event) {
        self.listeners
            .retain(|listener| listener.send(event.clone()).is_ok());
    }
}

/// Asks again and again who is there.
pub(super) async fn watch(link: Link, watch: Arc<Watch>) {
    if let Err(error) = try_watch(&link, &watch).await {
        // A connection that ends for good ends the client too.
        drop::<SubscribeError>(error);
    }
}

async fn try_watch(link: &Link, watch: &Watch) -> Result<(), SubscribeError> {
    let nats = &link.client;
    let inbox = nats.new_inbox();
    let mut answers = nats.subscribe(inbox.clone()).await?;
    let mut notices = nats.subscribe(link.names.subject("here")).await?;
    let mut tick = tokio::time::interval(INTERVAL);
    loop {
        let message = tokio::select! {
            message = answers.next() => message,
            message = notices.next() => message,
            _ = tick.tick() => {
                watch.forget_lost();
                let ping = link.names.subject("ping");
                let _ = nats.publish_with_reply(ping, inbox.clone(), Bytes::new()).await;
                continue;
            }
        };
        let Some(message) = message else {
            return Ok(());
        };
        if let Ok(notice) = serde_json::from_slice(&message.payload) {
            watch.notice(notice);
        }
    }
}

/// Asks all workers, and collects their answers for a moment.
pub(super) async fn ask_all(link: &Link) -> Vec<Notice> {
    let inbox = link.client.new_inbox();
    let mut notices = Vec::new();
    let Ok(mut answers) = link.client.subscribe(inbox.clone()).await else {
        return notices;
    };
    let ping = link.names.subject("ping");
    if link
        .client
        .publish_with_reply(ping, inbox, Bytes::from_static(b"running"))
        .await
        .is_err()
    {
        return notices;
    }
    let end = tokio::time::Instant::now() + PATIENCE;
    while let Ok(Some(answer)) = tokio::time::timeout_at(end, answers.next()).await {
        if let Ok(notice) = serde_json::from_slice::<Notice>(&answer.payload) {
            notices.push(notice);
        }
    }
    notices.sort_by(|a, b| a.worker.name.cmp(&b.worker.name));
    notices
}
