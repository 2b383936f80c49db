//! What a worker has: places, tasks in hand, tasks that it answers for.

use super::events::{ClusterTask, ClusterWorker, Notice};
use super::link::{Link, fresh_name};
use super::names::Key;
use crate::sync::{Mutex, lock};
use crate::{Backend, CancelToken};
use async_nats::{Message, Subject};
use bytes::Bytes;
use std::collections::{HashMap, VecDeque};
use std::ffi::OsString;
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

/// What a worker is told.
pub(super) struct Settings {
    pub(super) places: usize,
    /// How many short tasks are claimed before there is a place for them.
    pub(super) claims_ahead: usize,
    pub(super) isolate: bool,
    pub(super) grace: Duration,
    pub(super) drain_timeout: Duration,
    pub(super) unknown_for: Duration,
    pub(super) version: String,
    pub(super) worker_args: Vec<OsString>,
}

/// A task that the server has delivered.
pub(super) struct Delivery {
    pub(super) key: Key,
    pub(super) message: Message,
    /// How many times it was delivered, as far as the server remembers.
    pub(super) times: u64,
    pub(super) came: Instant,
    /// How many times the task may be started.
    pub(super) tries: u32,
}

/// A task that is claimed or runs.
pub(super) struct Running {
    pub(super) token: CancelToken,
    /// Where its end is acknowledged.
    pub(super) reply: Option<Subject>,
    pub(super) task: String,
    pub(super) start: u32,
    since: Instant,
}

/// The tasks that were asked for and have not come.
#[derive(Clone, Copy, Default)]
pub(super) struct Asked {
    pub(super) count: usize,
    /// When none of the requests can wait any more.
    pub(super) until: Option<Instant>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) hand: [VecDeque<Delivery>; 3],
    pub(super) running: HashMap<Key, Running>,
    /// The number of tasks that are served.
    pub(super) busy: usize,
    pub(super) asked: [Asked; 3],
    /// Whether a lane had more when it was last heard of.
    pub(super) has_more: [bool; 3],
    /// How long tasks run, as a moving average.
    pub(super) mean: Option<Duration>,
    /// Tasks that were cancelled lately.
    pub(super) cancelled: HashMap<Key, Instant>,
    /// Tasks that this worker does not know, and since when they wait.
    pub(super) unknown: HashMap<Key, Instant>,
    pub(super) is_leaving: bool,
    /// What runs is to end now.
    pub(super) is_forced: bool,
    pub(super) done: u64,
    pub(super) failed: u64,
}

pub(super) struct Station {
    pub(super) link: Link,
    pub(super) backend: Box<dyn Backend>,
    pub(super) settings: Settings,
    pub(super) name: String,
    host: String,
    begin: Instant,
    state: Mutex<State>,
    pub(super) wake: tokio::sync::Notify,
}

impl State {
    /// Whether the worker has nothing to do for any task.
    pub(super) fn is_idle(&self) -> bool {
        self.busy == 0 && self.running.is_empty()
    }
}

impl Station {
    pub(super) fn new(link: Link, backend: Box<dyn Backend>, settings: Settings) -> Arc<Self> {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let plain = |c: &char| c.is_ascii_alphanumeric() || *c == '-';
        let short: String = host.trim().chars().filter(plain).take(24).collect();
        let unique = fresh_name(&link);
        let end = unique.len().saturating_sub(6);
        Arc::new(Station {
            name: format!("{short}-{}-{}", std::process::id(), &unique[end..]),
            host: host.trim().to_owned(),
            link,
            backend,
            settings,
            begin: Instant::now(),
            state: Mutex::default(),
            wake: tokio::sync::Notify::new(),
        })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub(super) async fn reply(&self, reply: Subject, word: &'static [u8]) {
        let _ = self
            .link
            .client
            .publish(reply, Bytes::from_static(word))
            .await;
    }

    pub(super) fn notice(&self, is_leaving: bool, with_tasks: bool) -> Notice {
        let state = self.lock();
        let running = state
            .running
            .iter()
            .filter(|_| with_tasks)
            .map(|(key, running)| ClusterTask {
                key: key.to_string(),
                task: running.task.clone(),
                worker: self.name.clone(),
                start: running.start,
                milliseconds: u64::try_from(running.since.elapsed().as_millis())
                    .unwrap_or(u64::MAX),
            });
        Notice {
            running: running.collect(),
            is_leaving,
            worker: ClusterWorker {
                name: self.name.clone(),
                host: self.host.clone(),
                pid: std::process::id(),
                places: self.settings.places,
                running: state.running.len(),
                done: state.done,
                failed: state.failed,
                version: self.settings.version.clone(),
                tasks: crate::tasks().len(),
                seconds: self.begin.elapsed().as_secs(),
            },
        }
    }

    /// Whether what runs was ended because the worker ends.
    pub(super) fn is_forced(&self) -> bool {
        self.lock().is_forced
    }

    /// Notes that a task is about to be claimed. From now on this worker answers for it.
    pub(super) fn hold(&self, delivery: &Delivery, task: &str) -> CancelToken {
        let token = CancelToken::new();
        let running = Running {
            token: token.clone(),
            reply: delivery.message.reply.clone(),
            task: task.to_owned(),
            start: 0,
            since: Instant::now(),
        };
        let mut state = self.lock();
        if state.cancelled.contains_key(&delivery.key) {
            token.cancel();
        }
        state.running.insert(Arc::clone(&delivery.key), running);
        token
    }

    /// Notes that this worker does not answer for a task any more, and says a last word about it to the server.
    pub(super) async fn release(&self, key: &str, word: Bytes) {
        let (reply, may_end) = {
            let mut state = self.lock();
            let running = state.running.remove(key);
            (
                running.and_then(|running| running.reply),
                state.is_leaving && state.is_idle(),
            )
        };
        if let Some(reply) = reply {
            let _ = self.link.client.publish(reply, word).await;
        }
        // The end of a task concerns the loop only when the worker waits for its last one: the place was free before.
        if may_end {
            self.wake.notify_one();
        }
    }

    /// Takes the time into account that a task has run.
    pub(super) fn note_time(&self, ran: Duration) {
        let mut state = self.lock();
        state.mean = Some(state.mean.map_or(ran, |mean| (mean * 7 + ran) / 8));
    }
}

/// A place of a worker. It is free again when this is dropped.
pub(super) struct Place(pub(super) Arc<Station>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.lock().busy -= 1;
        self.0.wake.notify_one();
    }
}

/// How many times a message was delivered, and how many wait behind it, from the subject of its acknowledgement: `$JS.ACK.stream.consumer.times.sequence.sequence.time.pending`, or with
/// a domain and an account before the stream.
pub(super) fn delivery_of(reply: &str) -> (u64, u64) {
    let parts: Vec<&str> = reply.split('.').collect();
    let first = if parts.len() > 9 { 6 } else { 4 };
    let number = |index: usize| parts.get(index).and_then(|part| part.parse().ok());
    (number(first).unwrap_or(1), number(first + 4).unwrap_or(0))
}
