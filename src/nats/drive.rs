//! The client's thread, and what other threads start on it.

use super::client::{Client, Gate, Item, Open, State, Totals, WINDOW, end, finish};
use super::events::{self, Watch};
use super::link::{self, News, fresh_name};
use super::names::{Key, key_of, key_of_id, lane_of};
use super::options::Options;
use super::record::{self, Record};
use super::remote::Blob;
use super::submit;
use crate::executor::remote::Failure;
use crate::process::{Defaults, Ends, Format, Job, Outcome};
use crate::sync::Mutex;
use crate::sys;
use async_nats::{HeaderMap, Message, Subscriber};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use std::collections::HashMap;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Condvar, OnceLock};
use std::thread;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

/// How often the client looks up calls whose outcomes have not come, and how many at a time.
const SWEEP: Duration = Duration::from_secs(2);
const SWEEP_MAX: usize = 512;

/// The most bytes of arguments in the message of a chunk.
const CHUNK_BYTES: usize = 256 << 10;

/// How the items of a session's streams travel. The first client that needs to know decides.
const CHUNKS: &str = "chunks";
const SINGLE: &str = "single";

/// The most calls that the thread takes from the outbox at a time, and the most outcomes from the subscription.
const BATCH: usize = 64;

/// What the client's thread listens to.
struct Inputs {
    calls: mpsc::UnboundedReceiver<Item>,
    news: mpsc::UnboundedReceiver<News>,
    results: Subscriber,
}

/// What a client is told.
pub(super) struct Settings {
    pub(super) session: Option<Arc<str>>,
    pub(super) rejects: bool,
    pub(super) tries: u32,
}

impl Client {
    /// Connects on a thread of its own.
    pub(super) fn start(
        options: Options,
        settings: Settings,
    ) -> Result<(Arc<Self>, thread::JoinHandle<()>), String> {
        let (sender, ready) = std::sync::mpsc::channel();
        let thread = thread::Builder::new()
            .name("heist-nats".to_owned())
            .spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build();
                let runtime = match runtime {
                    Ok(runtime) => runtime,
                    Err(error) => return drop(sender.send(Err(format!("no runtime: {error}")))),
                };
                runtime.block_on(async {
                    match Client::connect(&options, settings).await {
                        Ok((client, inputs)) => {
                            let _ = sender.send(Ok(Arc::clone(&client)));
                            client.run(inputs).await;
                        }
                        Err(text) => drop(sender.send(Err(text))),
                    }
                });
                // The runtime does not wait for file reads and host name lookups that are still under way.
                runtime.shutdown_background();
            });
        let thread = thread.map_err(|error| format!("no thread for the cluster: {error}"))?;
        match ready.recv() {
            Ok(Ok(client)) => Ok((client, thread)),
            Ok(Err(text)) => Err(text),
            Err(_) => Err("the cluster's thread has ended".to_owned()),
        }
    }

    async fn connect(options: &Options, settings: Settings) -> Result<(Arc<Self>, Inputs), String> {
        let (link, news) = link::connect(options, "heist client").await?;
        let resumed = settings.session.is_some();
        let session = settings.session.unwrap_or_else(|| fresh_name(&link));
        if resumed && !link.agree(&session, SINGLE).await {
            return Err(format!(
                "the session {session} cannot be continued, because items of its streams travelled in chunks: give a session \
                 that is to be continued its name when the program first connects"
            ));
        }
        let subject = link.names.done(&format!("{session}.*"));
        let results = link
            .client
            .subscribe(subject)
            .await
            .map_err(|error| error.to_string())?;
        let watch = Arc::new(Watch::new());
        let (outbox, calls) = mpsc::unbounded_channel();
        let client = Arc::new(Client {
            link,
            session,
            resumed,
            chunks: OnceLock::new(),
            rejects: settings.rejects,
            defaults: Defaults {
                tries: settings.tries,
                timeout: None,
                max_message: 1 << 30,
                format: Format::Named,
                takes_ids: true,
            },
            state: Mutex::new(State {
                next: 0,
                open: HashMap::new(),
                unstored: 0,
                unsaid: 0,
                is_full: false,
                waiters: 0,
                gate: Gate::Open,
                totals: Totals::default(),
            }),
            changed: Condvar::new(),
            runtime: Handle::current(),
            outbox,
            thread: thread::current().id(),
            forks: sys::fork_generation(),
            turn: tokio::sync::Mutex::new(()),
            sweeping: tokio::sync::Mutex::new(()),
            to_sweep: AtomicUsize::new(0),
            watch,
            stop: tokio::sync::Notify::new(),
        });
        Ok((
            client,
            Inputs {
                calls,
                news,
                results,
            },
        ))
    }

    /// Takes in a handle for a call that the server has.
    pub(super) fn adopt(self: &Arc<Self>, key: Key, call: Open) {
        let ends = Arc::clone(&call.ends);
        let mut state = self.lock();
        state.totals.submitted += 1;
        match state.open.get_mut(&key) {
            Some(open) => open.others.push(call),
            None => drop(state.open.insert(Arc::clone(&key), call)),
        }
        drop(state);
        self.watch_handle(&*ends, [Arc::clone(&key)].into());
        self.spawn(submit::follow(Arc::clone(self), key));
    }

    /// Takes a job: each of its items becomes a task in the cluster.
    pub(super) fn submit(self: &Arc<Self>, mut job: Job) {
        let mut keys = Vec::new();
        let ends = Arc::clone(&job.ends);
        while job.items() > 0 {
            if !self.wait_for_room() {
                self.lock().totals.cancelled += u64::from(job.items());
                self.lock().totals.submitted += u64::from(job.items());
                job.refuse(|| Failure::Closed);
                break;
            }
            let own_id = job.own_id();
            let mut headers = headers(&job);
            let (index, lane) = (job.next, lane_of(job.priority));
            let body = self.take_items(&mut job, &mut headers);
            let items = job.next - index;
            let mut state = self.lock();
            state.totals.submitted += u64::from(items);
            let key = match &own_id {
                Some(id) => key_of_id(id),
                None => {
                    let number = state.next;
                    state.next += u64::from(items);
                    key_of(&self.session, number)
                }
            };
            let call = Open {
                ends: Arc::clone(&job.ends),
                index,
                items,
                name: job.own_name(),
                entry: job.entry,
                stored: None,
                is_cancelled: false,
                others: Vec::new(),
            };
            if state.open.contains_key(&key) {
                state.totals.cancelled += 1;
                drop(state);
                let text = format!(
                    "a call with the id `{}` is under way",
                    own_id.unwrap_or_default()
                );
                end(call, |_| {
                    Outcome::Failure(Failure::Refused(text.as_str().into()))
                });
                continue;
            }
            state.open.insert(Arc::clone(&key), call);
            state.unstored += 1;
            drop(state);
            keys.push(Arc::clone(&key));
            let item = Item {
                key,
                lane,
                headers,
                body,
                is_unsure: self.resumed || own_id.is_some(),
                is_foreign: own_id.is_some(),
            };
            // The thread has ended only if the client takes no calls any more.
            let _ = self.outbox.send(item);
        }
        self.watch_handle(&*ends, keys.into());
    }

    /// Makes the handle of calls tell this client when it is cancelled, and ask it whether the call runs.
    fn watch_handle(self: &Arc<Self>, ends: &dyn Ends, keys: Arc<[Key]>) {
        let (client, cancelled) = (Arc::downgrade(self), Arc::clone(&keys));
        let on_cancel = Box::new(move || {
            if let Some(client) = client.upgrade() {
                client.cancel(&cancelled);
            }
        });
        let client = Arc::downgrade(self);
        let runs = move || {
            let client = client.upgrade();
            client.is_some_and(|client| keys.iter().any(|key| client.runs(key)))
        };
        ends.watch(on_cancel, Some(Arc::new(runs)));
    }

    /// Takes the next items of a job for one message: all that fit, if they may travel together, or else one. Returns the body of the message.
    fn take_items(self: &Arc<Self>, job: &mut Job, headers: &mut HeaderMap) -> Bytes {
        if job.items() == 1 || !self.may_chunk() {
            let body = Bytes::copy_from_slice(job.item());
            job.advance();
            return body;
        }
        let (mut items, mut bytes) = (Vec::new(), 0);
        while job.items() > 0 && (items.is_empty() || bytes + job.item().len() <= CHUNK_BYTES) {
            bytes += job.item().len();
            items.push(Blob(job.item().to_vec()));
            job.advance();
        }
        if let [Blob(item)] = &mut items[..] {
            return std::mem::take(item).into();
        }
        headers.insert(record::ITEMS, items.len().to_string());
        let mut body = Vec::with_capacity(bytes + 8 * items.len());
        // Bytes always become MessagePack.
        let _ = rmp_serde::encode::write(&mut body, &items);
        body.into()
    }

    /// Whether items may travel in chunks: not in a session that is or will be continued, since another run of the program would make other chunks.
    fn may_chunk(self: &Arc<Self>) -> bool {
        if self.resumed {
            return false;
        }
        if let Some(may) = self.chunks.get() {
            return *may;
        }
        let client = Arc::clone(self);
        let asked = self.ask(async move { client.link.agree(&client.session, CHUNKS).await });
        match asked {
            Some(may) => *self.chunks.get_or_init(|| may),
            None => false,
        }
    }

    /// Waits until a call may be sent. Returns whether calls are taken.
    fn wait_for_room(&self) -> bool {
        let has_room =
            |state: &State| state.gate != Gate::Open || (state.unstored < WINDOW && !state.is_full);
        let state = self.lock();
        if has_room(&state) {
            return state.gate == Gate::Open;
        }
        drop(state);
        // The client's thread must not wait for room, because only that thread makes room.
        if !self.is_own_thread() {
            self.wait_until(None, has_room);
        }
        self.lock().gate == Gate::Open
    }

    /// Gives calls up whose handle was cancelled.
    pub(super) fn cancel(self: &Arc<Self>, keys: &[Key]) {
        for key in keys {
            let mut state = self.lock();
            let Some(open) = state.open.get_mut(key) else {
                continue;
            };
            if std::mem::replace(&mut open.is_cancelled, true) {
                continue;
            }
            // The future that stores a call (`submit::carry`) gives the call up if it is cancelled before it is stored.
            if open.stored.is_none() {
                continue;
            }
            state.unsaid += 1;
            drop(state);
            self.give_up(key);
            self.spawn(submit::say_cancelled(Arc::clone(self), Arc::clone(key)));
        }
    }

    /// The client's thread: takes outcomes in, and looks up what has not come.
    async fn run(self: Arc<Self>, inputs: Inputs) {
        let Inputs {
            mut calls,
            mut news,
            mut results,
        } = inputs;
        let mut batch = Vec::new();
        let mut sweep = tokio::time::interval(SWEEP);
        let watching = tokio::spawn(events::watch(self.link.clone(), Arc::clone(&self.watch)));
        loop {
            tokio::select! {
                message = results.next() => match message {
                    Some(message) => {
                        self.result(message);
                        let ready = std::iter::from_fn(|| results.next().now_or_never().flatten());
                        ready.take(BATCH).for_each(|message| self.result(message));
                    }
                    None => break,
                },
                _ = calls.recv_many(&mut batch, BATCH) => {
                    for item in batch.drain(..) {
                        self.spawn(submit::carry(Arc::clone(&self), item));
                    }
                }
                report = news.recv() => match report {
                    Some(News::Disconnected) => self.watch.server(false),
                    Some(report) => {
                        if report == News::Connected {
                            self.watch.server(true);
                        }
                        self.spawn(submit::sweep(Arc::clone(&self), usize::MAX));
                    }
                    None => break,
                },
                _ = sweep.tick() => self.spawn(submit::sweep(Arc::clone(&self), SWEEP_MAX)),
                () = self.stop.notified() => {
                    let state = self.lock();
                    let is_done = state.open.is_empty() && state.unstored == 0 && state.unsaid == 0;
                    if state.gate == Gate::Leaving && is_done {
                        break;
                    }
                }
            }
        }
        watching.abort();
        let _ = tokio::time::timeout(Duration::from_secs(1), self.link.client.flush()).await;
        self.lock().gate = Gate::Over;
        self.watch.end();
        self.changed.notify_all();
    }

    /// Takes an outcome in that somebody has sent to the stream. If there may be another one, it is no more than a hint.
    fn result(self: &Arc<Self>, message: Message) {
        let Some(key) = self.link.names.read("done", &message.subject) else {
            return;
        };
        let record = Record::parse(message.headers.as_ref(), message.payload);
        match record {
            Some(record) if !record.has_rivals() && record.blob.is_none() => {
                self.finish(key, &record)
            }
            _ => self.spawn(submit::fetch(Arc::clone(self), key.into())),
        }
    }

    /// Ends all open calls. Returns their number.
    pub(super) fn drop_all(self: &Arc<Self>) -> usize {
        let keys: Vec<Key> = self.lock().open.keys().cloned().collect();
        let mut dropped = 0;
        for key in keys {
            let mut state = self.lock();
            let Some(open) = state.open.get_mut(&key) else {
                continue;
            };
            dropped += open.items as usize;
            if open.stored.is_none() {
                // The future that stores the call (`submit::carry`) sees the flag and gives the call up.
                open.is_cancelled = true;
                let (ends, name, entry) = (Arc::clone(&open.ends), open.name.clone(), open.entry);
                let indices = open.index..open.index + open.items;
                drop(state);
                for index in indices {
                    let outcome = Outcome::Failure(Failure::ShutDown);
                    finish(&*ends, index, outcome, name.clone(), entry);
                }
                continue;
            }
            state.unsaid += 1;
            drop(state);
            self.fail(&key, Failure::ShutDown);
            self.spawn(submit::say_cancelled(Arc::clone(self), key));
        }
        dropped
    }
}

fn headers(job: &Job) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(record::TASK, job.entry.name());
    headers.insert(record::SIGNATURE, job.entry.signature());
    headers.insert(record::TRIES, job.tries.to_string());
    headers.insert(record::VERSION, record::PROTOCOL);
    if let Some(timeout) = job.timeout() {
        headers.insert(record::TIMEOUT, timeout.as_millis().to_string());
    }
    headers
}
